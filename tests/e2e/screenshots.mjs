// Pictures of every state of the pages, in both languages and three sizes, for people to look at. Asserts nothing.
//
//   node screenshots.mjs DIRECTORY      files: LANGUAGE-STATE-WIDTHxHEIGHT.png

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Chromium } from "./lib/browsers.mjs";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "./lib/lab.mjs";
import { sleep } from "./lib/wait.mjs";

const directory = process.argv[2] ?? "target/screenshots";
const SCENE = readFileSync(new URL("lib/scene.js", import.meta.url), "utf8");
const SIZES = [
  { width: 360, height: 740 },
  { width: 768, height: 1024 },
  { width: 1366, height: 768 },
];
/** Transitions, and a new layer of the picture after the window changed. */
const SETTLE_MS = 900;

const opened = [];
const looks = (person) => ({ devices: { ...person, width: 960, height: 540, fps: 10 }, script: SCENE });

async function seat(browser, options) {
  const made = await browser.seat(options);
  opened.push(made);
  return made;
}

async function picture(language, state, { page }) {
  for (const size of SIZES) {
    await page.setViewportSize(size);
    await sleep(SETTLE_MS);
    await page.screenshot({ path: join(directory, `${language}-${state}-${size.width}x${size.height}.png`) });
  }
  console.log(`${language} ${state}`);
}

async function before(language) {
  const booked = await book(language);
  const blocked = await Chromium.launch("a", { granted: false });
  const refused = await blocked.seat({ devices: null });
  await refused.open(booked.patient.link);
  await refused.showsWithin(".help[data-problem]");
  await picture(language, "preview-blocked", refused);
  await blocked.close();

  const lost = await seat(lab.a, { script: languageOf(language) });
  await lost.open(new URL("/join", lab.server.base).href);
  await lost.phase("failed");
  await picture(language, "no-link", lost);
  await lost.open(new URL("/join#not-a-token", lab.server.base).href);
  await sleep(1000);
  await picture(language, "bad-link", lost);
}

/** Pages without a consultation speak the browser's language. */
const languageOf = (language) => `Object.defineProperty(navigator, "language", { get: () => "${language}" });`;

const book = (language) =>
  lab.server.book(
    [{ role: "practitioner", display_name: "Dr Ada Martin" }, { role: "patient", display_name: "Noé Petit" }],
    language,
  );

async function call(language) {
  const booked = await book(language);
  const patient = await seat(lab.b, looks(PATIENT));
  const practitioner = await seat(lab.a, looks(PRACTITIONER));
  await patient.open(booked.patient.link);
  await patient.phase("preview");
  await picture(language, "preview-patient", patient);
  await patient.press("enter");
  await patient.phase("waiting");
  await picture(language, "waiting", patient);
  await practitioner.open(booked.practitioner.link);
  await practitioner.phase("preview");
  await picture(language, "preview-practitioner", practitioner);
  await practitioner.press("enter");
  await practitioner.phase("in_call");
  await picture(language, "practitioner-someone-waits", practitioner);
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await patient.phase("in_call");
  await sleep(2500);
  await picture(language, "call-practitioner", practitioner);
  await picture(language, "call-patient", patient);
  await patient.press("camera");
  await patient.press("microphone");
  await picture(language, "call-practitioner-patient-muted", practitioner);
  await picture(language, "call-patient-muted", patient);
  await patient.press("camera");
  await patient.press("microphone");

  const third = await lab.server.invite(booked.id, { role: "companion", display_name: "Lou Petit", admitted: true });
  const companion = await seat(lab.b, looks(COMPANION));
  await companion.enter(third.link);
  await companion.phase("in_call");
  await sleep(2500);
  await picture(language, "three-practitioner", practitioner);
  await picture(language, "three-companion", companion);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("leave");
  await picture(language, "question", practitioner);
  await practitioner.press("cancel");

  await lab.link.cut();
  await patient.phase("reconnecting");
  await picture(language, "reconnecting-patient", patient);
  await picture(language, "reconnecting-practitioner", practitioner);
  await lab.link.heal();
  await patient.phase("in_call");
  await companion.press("leave");
  await companion.press("confirm-leave");
  await companion.phase("left");
  await picture(language, "left", companion);
  const second = await patient.newTab();
  await second.enter(booked.patient.link);
  await patient.phase("replaced");
  await picture(language, "replaced", patient);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("leave");
  await practitioner.press("confirm-end");
  await second.phase("ended");
  await picture(language, "ended", second);
}

async function removed(language) {
  const booked = await book(language);
  const patient = await seat(lab.b, looks(PATIENT));
  await patient.enter(booked.patient.link);
  await patient.phase("waiting");
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/remove`);
  await patient.phase("removed");
  await picture(language, "removed", patient);
}

async function portal() {
  const booked = await book("fr");
  const practitioner = await seat(lab.a, looks(PRACTITIONER));
  await practitioner.open(new URL("/examples/portal.html", lab.server.base).href);
  await practitioner.page.locator("#token").fill(booked.practitioner.link);
  await practitioner.page.locator("#open button").click();
  await practitioner.phase("preview");
  await practitioner.press("enter");
  const patient = await seat(lab.b, looks(PATIENT));
  await patient.enter(booked.patient.link);
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await patient.phase("in_call");
  await sleep(2500);
  await picture("fr", "portal", practitioner);
}

try {
  await lab.open({ firefox: false });
  for (const language of ["fr", "en"]) {
    for (const scenes of [before, call, removed]) {
      await scenes(language);
      await Promise.all(opened.splice(0).map((made) => made.close()));
    }
  }
  await portal();
} finally {
  await lab.close();
}

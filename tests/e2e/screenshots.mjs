// Pictures of every state of the pages, in both languages and three sizes, for people to look at. Asserts nothing.
//
//   node screenshots.mjs DIRECTORY [SCENES]      files: LANGUAGE-STATE-WIDTHxHEIGHT.png

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Chromium } from "./lib/browsers.mjs";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "./lib/lab.mjs";
import { sleep } from "./lib/wait.mjs";

const directory = process.argv[2] ?? "target/screenshots";
/** Scenes by name, to look again at what was mended. */
const ONLY = new RegExp(process.argv[3] ?? "");
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

const CARD = {
  title: "Dr",
  name: "Ada Martin",
  specialty: "Dermatologie et vénéréologie",
  rpps: "10003456789",
  address: "12 rue des Lilas, 97200 Fort-de-France",
  fee: "30 €",
};

/** Everything that is asked, as a patient of a teleconsultation goes through it; another one who refuses. */
async function gates(language) {
  const seats = [{ role: "practitioner", display_name: "Dr Ada Martin", card: CARD }, { role: "patient", display_name: "Noé Petit" }];
  const booked = await lab.server.bookAs({ language, seats });
  const patient = await seat(lab.b, looks(PATIENT));
  await patient.enter(booked.patient.link);
  await patient.phase("gates");
  const practitioner = await seat(lab.a, looks(PRACTITIONER));
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  await picture(language, "practitioner-questions-pending", practitioner);
  for (const action of ["card-read", "consent", "accompanied", "prefer-video"]) {
    await picture(language, `gate-${await patient.gate()}`, patient);
    await patient.press(action);
  }
  await patient.phase("waiting");
  await practitioner.press("lock");
  await practitioner.press("admit", await patient.seatId());
  await patient.phase("in_call");
  await sleep(2000);
  await practitioner.press("people");
  await picture(language, "locked-practitioner", practitioner);
  await practitioner.press("people");
  await patient.press("menu");
  await picture(language, "menu-patient", patient);
  await patient.press("withdraw");
  await picture(language, "withdraw-patient", patient);
  await patient.press("confirm-decline");
  await patient.phase("declined");
  await picture(language, "declined", patient);
  await patient.open("about:blank");
  await patient.open(booked.patient.link);
  await patient.phase("failed");
  await picture(language, "declined-before", patient);
}

/** Messages, a card that comes later, an aside, an invitation and a hand-over. */
async function professionals(language) {
  const none = { consent: { asked: [], text: "1" }, third_person: [] };
  const seats = [{ role: "practitioner", display_name: "Dr Ada Martin", card: CARD }, { role: "patient", display_name: "Noé Petit" }];
  const booked = await lab.server.bookAs({ act: "tele_expertise", language, seats, gates: { ...none, card: ["patient"] } });
  const practitioner = await seat(lab.a, looks(PRACTITIONER));
  const patient = await seat(lab.b, looks(PATIENT));
  await practitioner.enter(booked.practitioner.link);
  await patient.enterThroughGates(booked.patient.link);
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await patient.phase("in_call");
  const { name, fee } = { name: "Omar Nadir", fee: "60 €" };
  const invited = await lab.server.invite(booked.id, { role: "expert", display_name: "Pr Omar Nadir", card: { title: "Pr", name, fee } });
  const expert = await seat(lab.a, looks(COMPANION));
  await expert.enter(invited.link);
  await patient.showsWithin("dialog[data-dialog=card]");
  await picture(language, "late-card-patient", patient);
  await patient.page.keyboard.press("Escape");
  await picture(language, "late-card-unread-patient", patient);
  await patient.press("card");
  await patient.locator("dialog [data-action=card-read]").click();
  await sleep(2000);
  await patient.press("messages");
  await patient.locator(".write input").fill(language === "fr" ? "Bonjour, m’entendez-vous ?" : "Hello, can you hear me?");
  await patient.press("send");
  await practitioner.press("messages");
  await practitioner.locator("input[type=file]").setInputFiles({ name: "compte-rendu.pdf", mimeType: "", buffer: Buffer.alloc(20_000, 1) });
  await patient.showsWithin("[data-file=done]");
  await picture(language, "messages-patient", patient);
  await picture(language, "messages-practitioner", practitioner);
  await patient.press("vitals");
  await picture(language, "vitals-form-patient", patient);
  for (const spo2 of [96, 97, 95, 97]) {
    await patient.page.evaluate((value) => probe.call().call.exchanges.sendVitals({ spo2: value, heart_rate: 70 + value / 10 }), spo2);
  }
  await patient.press("cancel");
  await practitioner.press("messages");
  await picture(language, "vitals-practitioner", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("people");
  await practitioner.press("aside");
  await patient.showsWithin(".apart");
  await picture(language, "aside-patient", patient);
  await picture(language, "aside-practitioner", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("end-aside");
  await practitioner.press("invite");
  await picture(language, "invite", practitioner);
  await practitioner.press("confirm-invite");
  await practitioner.showsWithin("#invited-link");
  await picture(language, "invited", practitioner);
  await practitioner.press("cancel");
  // Who is invited is a professional too: the patient reads that card first.
  await patient.locator("dialog [data-action=card-read]").click();
  await practitioner.press("hand-over");
  await picture(language, "hand-over", practitioner);
  await practitioner.press("confirm-hand-over");
  await patient.showsWithin("[data-notice=hand-over]");
  await patient.press("messages");
  await sleep(300);
  await picture(language, "handed-over-patient", patient);
}

/** The waiting room of a queue; the seat on another device; the next patient, and nobody left. */
async function queue(language) {
  const gates = { card: [], consent: { asked: [], text: "1" }, third_person: [], preference: [] };
  const soon = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();
  const bookings = [];
  for (const [index, name] of ["Noé Petit", "Jeanne Le Goff-Delacroix"].entries()) {
    const seats = [{ role: "practitioner", display_name: "Dr Ada Martin" }, { role: "patient", display_name: name }];
    bookings.push(await lab.server.bookAs({ language, queue: `shots-${language}`, starts_at: soon(index * 15 + 5), seats, gates }));
  }
  const [first, second] = [await seat(lab.b, looks(PATIENT)), await seat(lab.b, looks(COMPANION))];
  await first.enter(bookings[0].patient.link);
  await second.enter(bookings[1].patient.link);
  await second.showsWithin(".place");
  await picture(language, "waiting-queue", second);
  const practitioner = await seat(lab.a, looks(PRACTITIONER));
  await practitioner.enter(bookings[0].practitioner.link);
  await practitioner.press("admit", await first.seatId());
  await first.phase("in_call");
  const other = await seat(lab.b, looks(PATIENT));
  await other.enter(bookings[0].patient.link);
  await first.phase("moved");
  await picture(language, "moved", first);
  await picture(language, "waiting-other-device", other);
  await picture(language, "practitioner-other-device", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("next");
  await second.phase("in_call");
  await sleep(2000);
  await practitioner.press("next");
  await practitioner.showsWithin("[data-notice=next]");
  await picture(language, "nobody-next", practitioner);
}

/**
 * Every state of a telephone, as the server would tell it: a person's own in the waiting room and in the call, then another's as the host
 * sees it. The calls themselves are the telephone tests'; here the pages are told by hand, because each state is to stand still.
 */
async function telephone(language) {
  const booked = await book(language);
  const [patient, practitioner] = [await seat(lab.b, looks(PATIENT)), await seat(lab.a, looks(PRACTITIONER))];
  await patient.enter(booked.patient.link);
  await patient.phase("waiting");
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  const id = await patient.seatId();
  const tells = (page, ...messages) =>
    page.page.evaluate((all) => all.forEach((message) => probe.call().call.apply({ kind: "server", message })), messages);
  const phone = (state, cause = null, more = {}) =>
    ({ type: "phone", seat: id, state, cause, number_ending: "78", matches_file: null, seconds: null, ...more });
  const dialIn = { type: "dial_in", number: "+33123456789", pin: "471100815" };
  await tells(patient, dialIn, phone("ready"));
  await picture(language, "phone-waiting", patient);
  await patient.press("phone");
  await picture(language, "phone-dialog", patient);
  await patient.press("cancel");
  for (const [state, cause] of [["ringing"], ["confirming"], ["waiting"], ["failed", "not_confirmed"]]) {
    await tells(patient, phone(state, cause));
    await picture(language, `phone-waiting-${state}`, patient);
  }
  await tells(practitioner, phone("ready"), phone("waiting", null, { matches_file: true }));
  await picture(language, "phone-host-arrived", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("people");
  await tells(practitioner, phone("waiting", null, { matches_file: false }));
  await picture(language, "phone-host-notice-arrived", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("people");
  await tells(practitioner, phone("waiting", "encryption_ends", { matches_file: false }));
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("phone-encryption");
  await picture(language, "phone-host-encryption", practitioner);
  await practitioner.press("cancel");
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await patient.phase("in_call");
  await tells(patient, phone("ready"));
  for (const [state, cause] of [["calling", "another_line"], ["waiting"], ["in"], ["silent", "no_sound"], ["lost"], ["left", "line_dead"]]) {
    await tells(patient, phone(state, cause));
    await tells(practitioner, phone(state, state === "in" ? "encryption_ends" : cause));
    await picture(language, `phone-call-${state}`, patient);
    await picture(language, `phone-host-${state}`, practitioner);
  }
  await tells(patient, phone("in", "nothing_sent"));
  await picture(language, "phone-call-nothing-sent", patient);
  await tells(practitioner, phone("idle"), { ...phone("waiting"), seat: await practitioner.seatId() });
  await picture(language, "phone-host-own-waiting", practitioner);
  await tells(practitioner, { ...phone("idle"), seat: await practitioner.seatId() });
  await tells(patient, phone("planned", null, { seconds: 30 }));
  await tells(practitioner, phone("planned", null, { seconds: 30 }));
  await picture(language, "phone-call-planned", patient);
  await picture(language, "phone-host-planned", practitioner);
  await practitioner.page.setViewportSize(SIZES[2]);
  await practitioner.press("people");
  for (const [state, cause] of [["planned"], ["waiting"], ["ringing"], ["silent", "no_sound"], ["failed", "no_answer"]]) {
    await tells(practitioner, phone(state, cause, { seconds: state === "planned" ? 30 : null }));
    await picture(language, `phone-host-notice-${state}`, practitioner);
  }
  await tells(patient, phone("failed", "no_answer"));
  await picture(language, "phone-call-failed", patient);
  await tells(patient, phone("idle"), phone("ready", null, { seconds: 15 }));
  await lab.link.cut();
  await patient.phase("reconnecting");
  await patient.showsWithin("[data-notice=phone-awaited]", 15_000);
  await picture(language, "phone-awaited", patient);
  await tells(patient, phone("ready"));
  await picture(language, "phone-reconnecting", patient);
  await lab.link.heal();
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
    for (const scenes of [before, call, gates, professionals, queue, telephone, removed].filter(({ name }) => ONLY.test(name))) {
      await scenes(language);
      await Promise.all(opened.splice(0).map((made) => made.close()));
    }
  }
  if (ONLY.test("portal")) await portal();
} finally {
  await lab.close();
}

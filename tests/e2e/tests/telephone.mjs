// A real softphone and real pages: who dials in is admitted and heard, who asks to be called is one person in two places.
//
// Hearing is judged by tones: on the page from what it plays, on the telephone from what it recorded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { CALLER, DOCTOR, PERSON, callWithNumber, dialsIn, goes, hears, isOnePerson, seatOf, softphone } from "../lib/telephone.mjs";
import { sleep, until } from "../lib/wait.mjs";

test("a telephone dials in, waits, is let in on the page, and both hear each other", { timeout: 90_000 }, async (t) => {
  const booked = await lab.server.book([DOCTOR, PERSON]);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  const patient = await seatOf(practitioner, "patient");
  const phone = await softphone(t, booked);
  phone.dial(booked.patient.dial_in);
  await phone.sees("CALL_ESTABLISHED");
  await phone.keys(booked.patient.pin);
  await practitioner.showsWithin(`[data-list=waiting] .phone-line[data-seat="${patient}"][data-phone=waiting]`, 20_000);
  await practitioner.reads(".phone-line", /number on file ending in 78.*date of birth/s);
  await practitioner.press("admit", patient);
  await practitioner.showsWithin(`figure.tile[data-seat="${patient}"][data-phone=yes][data-picture=off]`, 20_000);
  await hears(practitioner, patient, CALLER);
  // Longer than the words that say that one is in.
  await sleep(4000);
  await isOnePerson(practitioner, patient);
  await practitioner.press("hang-up-phone", patient);
  await phone.sees("CALL_CLOSED");
  await until("the page shows nobody by telephone", async () => !(await practitioner.shows('figure.tile[data-phone="yes"]')));
  await sleep(300);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1.5, `the telephone heard the practitioner for ${seconds} s`);
  assert.equal(phone.heard(CALLER.hz), 0, "and not itself");
});

test("call me rings the telephone, key 1 joins, the page is silent meanwhile, and takes over again", { timeout: 90_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t);
  const phone = await softphone(t, booked);
  await patient.press("phone");
  await patient.reads("dialog .answers", /78/);
  await patient.press("call-me");
  await phone.sees("CALL_INCOMING");
  await patient.showsWithin("[data-notice=phone][data-phone=ringing]");
  phone.accept();
  await patient.showsWithin("[data-notice=phone][data-phone=confirming]");
  await sleep(1000);
  await phone.keys("1");
  await patient.showsWithin("[data-notice=phone][data-phone=in]", 20_000);
  await practitioner.showsWithin(`figure.tile[data-seat="${id}"][data-phone=yes]`);
  const page = await patient.page.evaluate(() => ({
    microphone: probe.call().call.local.microphone.on,
    loud: [...probe.call().shadowRoot.querySelectorAll("figure.tile video")].some((video) => !video.muted),
  }));
  assert.deepEqual(page, { microphone: false, loud: false }, "no echo");
  await hears(practitioner, id, CALLER);
  await isOnePerson(practitioner, id);
  await sleep(1500);
  await practitioner.watch(id);
  let both;
  await until("the picture goes on", async () => (both = await practitioner.seen(id)).shows(PATIENT), { describe: () => `(${both})` });
  assert.ok(!both.sounds(PATIENT), `the page's own voice is off: ${both}`);

  await patient.press("hang-up-phone");
  await phone.sees("CALL_CLOSED");
  await until("the page's microphone is on again", () => patient.page.evaluate(() => probe.call().call.local.microphone.on));
  await hears(practitioner, id, PATIENT);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1, `the telephone heard the practitioner for ${seconds} s`);
});

test("who dials in beside the own page waits, is hung up on alone or let in by the host, and is one person", { timeout: 120_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t);
  const phone = await softphone(t, booked);
  const waits = `[data-list=waiting] .phone-line[data-seat="${id}"][data-phone=waiting]`;
  await dialsIn(phone, booked.patient);
  await practitioner.showsWithin(waits, 20_000);
  await practitioner.reads(waits, /number on file ending in 78.*date of birth/s);
  await patient.reads("[data-notice=phone][data-phone=waiting]", /practitioner will let you in/);
  await practitioner.press("hang-up-phone", id);
  await phone.sees("CALL_CLOSED");
  await goes(practitioner, waits);
  await practitioner.seesAndHears(id, PATIENT);

  await dialsIn(phone, booked.patient);
  await practitioner.showsWithin(waits, 20_000);
  // As on a narrow screen, where the list is closed.
  await practitioner.press("people");
  await practitioner.reads("[data-notice=waiting]", /Noé Petit is waiting on the telephone, number on file ending in 78\..*date of birth/s);
  await practitioner.locator("[data-notice=waiting] [data-action=admit]").click();
  await patient.showsWithin("[data-notice=phone][data-phone=in]", 20_000);
  await goes(practitioner, "[data-notice=waiting]");
  await hears(practitioner, id, CALLER);
  await isOnePerson(practitioner, id);
  await sleep(4000);
  await patient.press("hang-up-phone");
  await phone.sees("CALL_CLOSED", 2);
  await sleep(300);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1.5, `the telephone heard the practitioner for ${seconds} s`);
});

test("a practitioner lets the own telephone in on the own page", { timeout: 90_000 }, async (t) => {
  const { booked, practitioner, patient } = await callWithNumber(t);
  const own = await practitioner.seatId();
  const phone = await softphone(t, booked);
  await dialsIn(phone, booked.practitioner);
  const notice = "[data-notice=phone][data-phone=waiting]";
  await practitioner.reads(notice, /waiting with your code, number withheld or unknown.*let it in/s);
  assert.equal(await patient.shows("[data-action=admit]"), false);
  await practitioner.locator(`${notice} [data-action=admit]`).click();
  await practitioner.showsWithin("[data-notice=phone][data-phone=in]", 20_000);
  await hears(patient, own, CALLER);
  await sleep(4000);
  await practitioner.press("hang-up-phone");
  await phone.sees("CALL_CLOSED");
  await patient.seesAndHears(own, PRACTITIONER);
  const seconds = phone.heard(PATIENT.hz);
  assert.ok(seconds >= 1.5, `the telephone heard the patient for ${seconds} s`);
});

// A telephone among pages: encryption that ends for it, keys, what a host does with it, a colleague who takes over, a line without sound.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { CALLER, DOCTOR, NUMBER, PERSON, callWithNumber, dialsInAndIsLetIn, goes, hears, isOnePerson, joinsByKey, seatOf, softphone } from "../lib/telephone.mjs";
import { sleep, until } from "../lib/wait.mjs";

const OWN = "[data-notice=phone]";

test("where encryption is preferred the practitioner agrees first, and everybody sees it as long as it lasts", { timeout: 90_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t, { e2ee: "preferred" });
  const phone = await softphone(t, booked);
  await patient.press("phone");
  await patient.press("call-me");
  await patient.reads(`${OWN}[data-phone=failed]`, /ends end-to-end encryption: the practitioner has to agree/);
  assert.equal(phone.count("CALL_INCOMING"), 0, "nothing rings before");
  await practitioner.press("phone-encryption", id);
  await practitioner.reads("dialog", /whole consultation is not.*Everybody is told/s);
  await practitioner.press("confirm-encryption");
  await joinsByKey(phone, practitioner, id);
  await practitioner.reads("[data-notice=encryption]", /Noé Petit.*no longer end-to-end encrypted/);
  await patient.reads(`${OWN}[data-phone=in]`, /no longer end-to-end encrypted/);
  await hears(practitioner, id, CALLER);
  await practitioner.press("hang-up-phone", id);
  await phone.sees("CALL_CLOSED");
  await Promise.all([goes(practitioner, "[data-notice=encryption]"), goes(patient, `${OWN}[data-phone=in]`)]);
});

test("where encryption is required there is no telephone, neither by the page nor by the code", { timeout: 90_000 }, async (t) => {
  const other = await lab.server.book([DOCTOR, PERSON]);
  const booked = await lab.server.book([DOCTOR, PERSON], "en", { e2ee: "required" });
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  const patient = await seatOf(practitioner, "patient");
  const phone = await softphone(t, other);
  phone.dial(other.patient.dial_in);
  await phone.sees("CALL_ESTABLISHED");
  await phone.keys(booked.patient.pin);
  await phone.sees("CALL_CLOSED", 1, 30_000);
  assert.equal(await practitioner.shows(`figure.tile[data-seat="${patient}"]`), false);
  assert.equal(await practitioner.shows("[data-list=waiting] .person"), false, "nobody waits");

  const page = await lab.seat(t, lab.b, { devices: PATIENT });
  await page.enter(booked.patient.link);
  await page.phase("waiting");
  await page.reads(OWN, /call did not work.*telephone is not possible/s);
  await page.press("dismiss");
  await page.press("phone");
  await page.reads("dialog", /end-to-end encrypted: the telephone is not possible/);
  assert.equal(await page.shows("dialog [data-action=call-me]"), false, "no button, a reason");
  assert.equal(await page.shows("dialog [data-notice=dial-in]"), false, "and no number to dial");
  await practitioner.showsWithin(`[data-list=waiting] .person[data-seat="${patient}"]`);
  assert.equal(await practitioner.shows("[data-action=call-phone]"), false);
});

test("keys raise a hand and mute, a colleague takes over, and the host mutes and removes", { timeout: 120_000 }, async (t) => {
  const booked = await lab.server.book([DOCTOR, PERSON]);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  const patient = await seatOf(practitioner, "patient");
  const phone = await softphone(t, booked);
  await dialsInAndIsLetIn(phone, booked, practitioner, patient);
  await hears(practitioner, patient, CALLER);
  const tile = `figure.tile[data-seat="${patient}"]`;
  await phone.keys("*9");
  await practitioner.showsWithin(`.phone-line[data-seat="${patient}"] .hand`);
  await practitioner.showsWithin(`${tile} .hand`);
  await phone.keys("*9");
  await goes(practitioner, `${tile} .hand`);
  await phone.keys("*6");
  await practitioner.showsWithin(`${tile} figcaption .state`);
  await phone.keys("*6");
  await goes(practitioner, `${tile} figcaption .state`);

  const { link } = await lab.server.invite(booked.id, { role: "practitioner", display_name: "Dr Omar Nadir" });
  const colleague = await lab.seat(t, lab.b, { devices: COMPANION });
  await colleague.enter(link);
  await colleague.phase("in_call");
  await practitioner.press("hand-over");
  await practitioner.press("confirm-hand-over");
  await colleague.showsWithin("[data-notice=hand-over]");
  await until("the giver's rights go", async () => !(await practitioner.shows("[data-action=end]")));
  await hears(colleague, patient, CALLER);
  await isOnePerson(colleague, patient);
  await colleague.press("mute", patient);
  await colleague.showsWithin(`${tile} figcaption .state`);
  await silent(colleague, patient);
  await colleague.press("mute", patient);
  await hears(colleague, patient, CALLER);
  await colleague.press("remove", patient);
  await colleague.press("confirm-remove");
  await phone.sees("CALL_CLOSED");
  await goes(colleague, tile);
  const seconds = phone.heard(COMPANION.hz);
  assert.ok(seconds >= 1, `the telephone heard the colleague for ${seconds} s`);
});

test("a practitioner whose own sound fails goes on by telephone, and leaves by keys", { timeout: 90_000 }, async (t) => {
  const { booked, practitioner, patient } = await callWithNumber(t, {}, {}, { phone: NUMBER });
  const own = await practitioner.seatId();
  const phone = await softphone(t, booked);
  await practitioner.locator(".panel [data-action=phone]").click();
  await practitioner.press("call-me");
  await joinsByKey(phone, patient, own);
  await practitioner.showsWithin(`${OWN}[data-phone=in]`);
  await hears(patient, own, CALLER);
  assert.equal(await practitioner.page.evaluate(() => probe.call().call.local.microphone.on), false, "no echo");
  await sleep(500);
  await phone.keys("##");
  await phone.sees("CALL_CLOSED");
  await practitioner.showsWithin(`${OWN}[data-phone=left]`);
  await until("the page's microphone is on again", () => practitioner.page.evaluate(() => probe.call().call.local.microphone.on));
  await patient.seesAndHears(own, PRACTITIONER);
});

test("that no sound comes from a telephone any more is said, and is over when it comes", { timeout: 90_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t);
  const phone = await softphone(t, booked);
  await practitioner.press("call-phone", id);
  await joinsByKey(phone, practitioner, id);
  await hears(practitioner, id, CALLER);
  const line = (state) => `.phone-line[data-seat="${id}"][data-phone=${state}]`;
  const silentAt = Date.now();
  phone.speak(false);
  await Promise.all([practitioner.showsWithin(line("silent"), 15_000), patient.showsWithin(`${OWN}[data-phone=silent]`, 15_000)]);
  t.diagnostic(`said after ${Date.now() - silentAt} ms`);
  await patient.reads(OWN, /hear nothing from your telephone/);
  await practitioner.reads(line("silent"), /nothing is heard/);
  phone.speak(true);
  await Promise.all([practitioner.showsWithin(line("in"), 15_000), patient.showsWithin(`${OWN}[data-phone=in]`, 15_000)]);
  await hears(practitioner, id, CALLER);
});

/** Waits until nothing of a seat is heard for a while. */
async function silent(page, seat) {
  await until("silence", async () => (await page.observe(seat, 1000)).toneShare(CALLER) === 0, { ms: 15_000 });
}

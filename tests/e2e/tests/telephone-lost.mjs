// The page is gone, and the server calls by itself: what everybody is told before, what rings, and that a "no" counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { CALLER, callWithNumber, goes, hears, isOnePerson, joinsByKey, softphone } from "../lib/telephone.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** From the last sign of life to the call. */
const GONE_MS = 15_000;
/** From the decision to the ringing, with room for a machine that does everything at once. */
const RINGING_MS_MAX = 10_000;
const CONSENTS = { phone_consent: true };
const OWN = "[data-notice=phone]";
const planned = (seat) => `[data-notice=phone-other][data-phone=planned]:has([data-action=hang-up-phone][data-seat="${seat}"])`;

test("who loses the network is called without a touch, goes on by telephone, and comes back to the page", { timeout: 120_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t, {}, CONSENTS);
  t.after(() => lab.link.heal());
  const phone = await softphone(t, booked);
  const cutAt = Date.now();
  await lab.link.cut();
  await patient.showsWithin("[data-notice=phone-awaited]", 15_000);
  await patient.reads("[data-notice=phone-awaited]", /number ending in 78.*will ring/s);
  await practitioner.showsWithin(planned(id), 15_000);
  await practitioner.reads(`${planned(id)} colloque-countdown`, /^\d$/);
  await phone.sees("CALL_INCOMING", 1, GONE_MS + RINGING_MS_MAX);
  const rangAfter = Date.now() - cutAt;
  t.diagnostic(`rings ${rangAfter} ms after the cable was cut`);
  assert.ok(rangAfter <= GONE_MS + RINGING_MS_MAX, `${rangAfter} ms`);
  await joinsByKey(phone, practitioner, id);
  await hears(practitioner, id, CALLER);
  await sleep(2000);
  await isOnePerson(practitioner, id);
  assert.equal(phone.count("CALL_INCOMING"), 1, "called once");

  await lab.link.heal();
  await patient.phase("in_call");
  await patient.showsWithin(`${OWN}[data-phone=in]`, 20_000);
  await until("the page's microphone is off", () => patient.page.evaluate(() => !probe.call().call.local.microphone.on));
  await practitioner.seesAndHears(id, { ...PATIENT, hz: CALLER.hz }, 20_000);
  await isOnePerson(practitioner, id);
  await patient.press("hang-up-phone");
  await phone.sees("CALL_CLOSED");
  await until("the page's microphone is on again", () => patient.page.evaluate(() => probe.call().call.local.microphone.on));
  await practitioner.seesAndHears(id, PATIENT);
  await isOnePerson(practitioner, id);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1, `the telephone heard the practitioner for ${seconds} s`);
  const record = await lab.server.request("GET", `/v1/consultations/${booked.id}/record`);
  const { telephone, video } = record.with_patient.seconds;
  t.diagnostic(`in the record: ${telephone} s by telephone, ${video} s by video`);
  assert.ok(telephone >= 1 && video >= 1, JSON.stringify(record.with_patient));
});

test("a planned call that is called off does not come; had at once, it rings at once", { timeout: 120_000 }, async (t) => {
  const { booked, practitioner, patient, id } = await callWithNumber(t, {}, CONSENTS);
  t.after(() => lab.link.heal());
  const phone = await softphone(t, booked);
  // Media is gone, signalling is not.
  const cut = () => lab.link.set("both", { loss: 100, udponly: 1 });
  const cutAt = Date.now();
  await cut();
  await patient.showsWithin(`${OWN}[data-phone=planned]`, 15_000);
  const text = await patient.text(`${OWN}[data-phone=planned]`);
  await patient.press("hang-up-phone");
  assert.match(text, /^\d\s.*number ending in 78/s, "counts down, and says which telephone");
  await Promise.all([goes(patient, `${OWN}[data-phone=planned]`), goes(practitioner, planned(id))]);
  await sleep(cutAt + GONE_MS + 4000 - Date.now());
  assert.equal(phone.count("CALL_INCOMING"), 0, "whoever says no is not called");

  await lab.link.heal();
  await patient.phase("in_call");
  await practitioner.seesAndHears(id, PATIENT, 20_000);
  // The server looks once a second whether the page is well.
  await sleep(2500);
  await cut();
  await practitioner.locator(`${planned(id)} [data-action=call-phone]`).click();
  await phone.sees("CALL_INCOMING");
  await patient.showsWithin(`${OWN}[data-phone=ringing]`);
  await patient.press("hang-up-phone");
  await phone.sees("CALL_CLOSED");
  await goes(patient, `${OWN}[data-phone=ringing]`);
});

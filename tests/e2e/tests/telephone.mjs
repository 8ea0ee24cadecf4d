// A real softphone and real pages: who dials in is admitted and heard, who asks to be called is one person in two places.
//
// Hearing is judged by tones: on the page from what it plays, on the telephone from what it recorded.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { Softphone } from "../lib/softphone.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** Neither of the pages' tones. */
const CALLER = { hz: 1400 };
const NUMBER = "+33612345678";
const SEATS = [
  { role: "practitioner", display_name: "Dr Ada Martin" },
  { role: "patient", display_name: "Noé Petit", phone: NUMBER },
];

async function softphone(t, booked) {
  const address = /^sip:(?:\w+@)?([\d.]+):\d+$/.exec(booked.patient.dial_in)?.[1];
  assert.ok(address, `a SIP address to dial in: ${booked.patient.dial_in}`);
  const phone = await Softphone.start({ namespace: "sfu", address, number: NUMBER, hz: CALLER.hz });
  t.after(() => phone.stop());
  return phone;
}

/** Waits until a page hears a tone of a seat that may have no picture. */
async function hears(page, seat, who) {
  await page.watch(seat);
  let sighting;
  const describe = () => `(${sighting}; ${page.problems.join("; ")})`;
  await until(`hears ${who.hz} Hz`, async () => (sighting = await page.seen(seat)).sounds(who), { ms: 15_000, every: 200, describe });
}

const seatOf = (page, role) => page.page.evaluate((wanted) => probe.call().state.seats.find((info) => info.role === wanted).seat, role);

test("a telephone dials in, waits, is let in on the page, and both hear each other", { timeout: 90_000 }, async (t) => {
  const booked = await lab.server.book(SEATS);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(booked.practitioner.link);
  await practitioner.phase("in_call");
  const patient = await seatOf(practitioner, "patient");
  const phone = await softphone(t, booked);
  phone.dial(booked.patient.dial_in);
  await phone.sees("CALL_ESTABLISHED");
  await phone.keys(booked.patient.pin);
  await practitioner.showsWithin(`[data-list=waiting] .phone-line[data-seat="${patient}"][data-phone=waiting]`, 20_000);
  await practitioner.reads(".phone-line", /number ending in 78, calls from the number on file.*date of birth/s);
  await practitioner.press("admit", patient);
  const tile = `figure.tile[data-seat="${patient}"]`;
  await practitioner.showsWithin(`${tile}[data-phone=yes][data-picture=off]`, 20_000);
  await hears(practitioner, patient, CALLER);
  // Longer than the words that say that one is in.
  await sleep(4000);
  const tiles = await practitioner.page.evaluate((wanted) => probe.call().shadowRoot.querySelectorAll(wanted).length, tile);
  assert.equal(tiles, 1, "one person is one picture");
  await practitioner.press("hang-up-phone", patient);
  await phone.sees("CALL_CLOSED");
  await until("the page shows nobody by telephone", async () => !(await practitioner.shows('figure.tile[data-phone="yes"]')));
  await sleep(300);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1.5, `the telephone heard the practitioner for ${seconds} s`);
  assert.equal(phone.heard(CALLER.hz), 0, "and not itself");
});

test("call me rings the telephone, key 1 joins, the page is silent meanwhile, and takes over again", { timeout: 90_000 }, async (t) => {
  const booked = await lab.server.book(SEATS);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  await Promise.all([practitioner.enter(booked.practitioner.link), patient.enter(booked.patient.link)]);
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await Promise.all([practitioner.phase("in_call"), patient.phase("in_call")]);
  const id = await patient.seatId();
  await practitioner.seesAndHears(id, PATIENT);

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
  const tiles = await practitioner.page.evaluate((wanted) => probe.call().shadowRoot.querySelectorAll(wanted).length, `figure.tile[data-seat="${id}"]`);
  assert.equal(tiles, 1, "one person is one picture");
  await sleep(1500);
  const both = await practitioner.observe(id, 1500);
  assert.ok(both.shows(PATIENT), `the picture goes on: ${both}`);
  assert.ok(!both.sounds(PATIENT), `the page's own voice is off: ${both}`);

  await patient.press("hang-up-phone");
  await phone.sees("CALL_CLOSED");
  await until("the page's microphone is on again", () => patient.page.evaluate(() => probe.call().call.local.microphone.on));
  await hears(practitioner, id, PATIENT);
  const seconds = phone.heard(PRACTITIONER.hz);
  assert.ok(seconds >= 1, `the telephone heard the practitioner for ${seconds} s`);
});

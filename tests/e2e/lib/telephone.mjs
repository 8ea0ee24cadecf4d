// What the tests of the telephone share: who is called, a softphone beside the server, and how it is seen and heard on a page.

import assert from "node:assert/strict";
import { PATIENT, PRACTITIONER, lab } from "./lab.mjs";
import { Softphone } from "./softphone.mjs";
import { sleep, until } from "./wait.mjs";

/** Neither of the pages' tones. */
export const CALLER = { hz: 1400 };
export const NUMBER = "+33612345678";
export const DOCTOR = { role: "practitioner", display_name: "Dr Ada Martin" };
export const PERSON = { role: "patient", display_name: "Noé Petit", phone: NUMBER };

/** A telephone where the server's calls arrive; `booked` says how to dial in. */
export async function softphone(t, booked) {
  const address = /^sip:(?:\w+@)?([\d.]+):\d+$/.exec(booked.patient.dial_in)?.[1];
  assert.ok(address, `a SIP address to dial in: ${booked.patient.dial_in}`);
  const phone = await Softphone.start({ namespace: "sfu", address, number: NUMBER, hz: CALLER.hz });
  t.after(() => phone.stop());
  return phone;
}

/** A practitioner and a patient in a call, the patient behind the link, both with names and the patient with a number. */
export async function callWithNumber(t, more = {}, patient = {}, practitioner = {}) {
  const booked = await lab.server.book([{ ...DOCTOR, ...practitioner }, { ...PERSON, ...patient }], "en", more);
  // Or who agreed to be called is called once the pages are closed.
  t.after(() => lab.server.request("DELETE", `/v1/consultations/${booked.id}`));
  const doctor = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const person = await lab.seat(t, lab.b, { devices: PATIENT });
  await Promise.all([doctor.enter(booked.practitioner.link), person.enter(booked.patient.link)]);
  await lab.server.request("POST", `/v1/consultations/${booked.id}/seats/${booked.patient.id}/admit`);
  await Promise.all([doctor.phase("in_call"), person.phase("in_call")]);
  const id = await person.seatId();
  await doctor.seesAndHears(id, PATIENT);
  return { booked, practitioner: doctor, patient: person, id };
}

/** Picks up what rings and presses 1 for as long as it is asked for. */
export async function joinsByKey(phone, page, seat) {
  await phone.sees("CALL_INCOMING", phone.answered + 1, 30_000);
  phone.accept();
  await phone.sees("CALL_ESTABLISHED", phone.answered);
  const isIn = () => page.shows(`figure.tile[data-seat="${seat}"][data-phone=yes]`);
  await until("the telephone in the room", async () => (await isIn()) || (await phone.keys("1"), await sleep(1500), isIn()), { ms: 25_000 });
}

/** Dials in with a seat's code. */
export async function dialsIn(phone, { dial_in, pin }) {
  const calls = phone.count("CALL_ESTABLISHED");
  phone.dial(dial_in);
  await phone.sees("CALL_ESTABLISHED", calls + 1);
  await phone.keys(pin);
}

/** Dials in with the seat's code and is let in on the host's page. */
export async function dialsInAndIsLetIn(phone, booked, host, seat) {
  await dialsIn(phone, booked.patient);
  await host.showsWithin(`[data-list=waiting] .phone-line[data-seat="${seat}"][data-phone=waiting]`, 20_000);
  await host.press("admit", seat);
  await host.showsWithin(`figure.tile[data-seat="${seat}"][data-phone=yes]`, 20_000);
}

/** Waits until a page hears a tone of a seat that may have no picture. */
export async function hears(page, seat, who) {
  await page.watch(seat);
  let sighting;
  const describe = () => `(${sighting}; ${page.problems.join("; ")})`;
  await until(`hears ${who.hz} Hz`, async () => (sighting = await page.seen(seat)).sounds(who), { ms: 15_000, every: 200, describe });
}

/** Waits until something is not on the page any more. */
export const goes = (page, selector, ms = 15_000) => until(`${selector} goes`, async () => !(await page.shows(selector)), { ms });

export const seatOf = (page, role) => page.page.evaluate((wanted) => probe.call().state.seats.find((info) => info.role === wanted)?.seat ?? null, role);

/** One person is one picture, whatever they speak by. */
export async function isOnePerson(page, seat) {
  const count = (selector) => page.page.evaluate((wanted) => probe.call().shadowRoot.querySelectorAll(wanted).length, selector);
  assert.equal(await count(`figure.tile[data-seat="${seat}"]`), 1, "one person is one picture");
  assert.equal(await count("figure.tile[data-role=patient]"), 1, "and one patient");
}

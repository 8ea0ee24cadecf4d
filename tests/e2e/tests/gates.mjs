// What is asked before media, and what happens to those who say no. The server holds the doors: the pages here press only what
// people press, and the tests look at what arrives.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { sleep, until } from "../lib/wait.mjs";

const CARD = {
  title: "Dr",
  name: "Ada Martin",
  specialty: "Dermatologie",
  rpps: "10003456789",
  address: "12 rue des Lilas, 97200 Fort-de-France",
  fee: "30 €",
};
const ASKED = { card: ["patient"], consent: { asked: ["patient"], text: "1" }, third_person: ["patient"], preference: ["patient"] };

const book = () =>
  lab.server.bookAs({
    gates: ASKED,
    seats: [
      { role: "practitioner", display_name: "Dr Ada Martin", card: CARD },
      { role: "patient", display_name: "Noé Petit" },
    ],
  });

test("a teleconsultation begins when the patient has answered and is let in", { timeout: 60_000 }, async (t) => {
  const booked = await book();
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  await Promise.all([practitioner.enter(booked.practitioner.link), patient.enter(booked.patient.link)]);
  await patient.phase("gates");
  const id = await patient.seatId();

  await until("the card", async () => (await patient.gate()) === "card");
  const card = await patient.text(".card");
  for (const known of ["Dr Ada Martin", CARD.specialty, CARD.rpps, CARD.address, CARD.fee]) assert.ok(card.includes(known), `${known} in ${card}`);
  await practitioner.showsWithin(`[data-list=waiting] .person[data-seat="${id}"] .tags`);
  // Let in before the answers: the door stays closed until they are there.
  await practitioner.press("admit", id);
  await patient.press("card-read");
  await until("consent", async () => (await patient.gate()) === "consent");
  await patient.press("consent");
  await until("who else is there", async () => (await patient.gate()) === "third_person");
  await patient.press("accompanied");
  await until("the choice", async () => (await patient.gate()) === "preference");
  await sleep(500);
  assert.equal(await patient.page.evaluate(() => probe.call().call.nativeConnection), null, "no media before the last answer");
  assert.equal(await practitioner.shows(`figure.tile[data-seat="${id}"]`), false, "not in the room either");
  await patient.press("prefer-video");
  await patient.phase("in_call");
  await Promise.all([practitioner.seesAndHears(id, PATIENT), patient.seesAndHears(await practitioner.seatId(), PRACTITIONER)]);
  await practitioner.reads(`[data-list=present] .person[data-seat="${id}"] .tags`, /somebody is with/);

  // Consent may be withdrawn at any time, and that is the end of this seat.
  await patient.press("menu");
  await patient.press("withdraw");
  await patient.press("confirm-decline");
  await patient.phase("declined");
  await until("the patient's picture goes", async () => !(await practitioner.shows(`figure.tile[data-seat="${id}"]`)));
});

test("a refused consent sends no packet, and the link says so afterwards", { timeout: 60_000 }, async (t) => {
  const booked = await book();
  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  const before = await lab.server.counter("rtp_in");
  await patient.enter(booked.patient.link);
  await until("the card", async () => (await patient.gate()) === "card");
  await patient.press("card-read");
  await until("consent", async () => (await patient.gate()) === "consent");
  await patient.press("refuse-consent");
  await patient.press("cancel");
  assert.equal(await patient.gate(), "consent", "asked once more, and taken back");
  await patient.press("refuse-consent");
  await patient.press("confirm-decline");
  await patient.phase("declined");
  await patient.reads("h1", /refused the consultation/);
  assert.equal((await lab.server.counter("rtp_in")) - before, 0, "the server received no media");
  await patient.open("about:blank");
  await patient.open(booked.patient.link);
  await patient.phase("failed");
  await patient.reads("h1", /chosen not to be seen by video/);
});

test("who prefers the telephone is told what happens now", { timeout: 60_000 }, async (t) => {
  const booked = await lab.server.bookAs({
    gates: { ...ASKED, card: [], consent: { asked: [], text: "1" }, third_person: [] },
    seats: [{ role: "practitioner" }, { role: "patient" }],
  });
  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  await patient.enter(booked.patient.link);
  await until("the choice", async () => (await patient.gate()) === "preference");
  await patient.press("prefer-phone");
  await patient.press("confirm-decline");
  await patient.phase("declined");
  await patient.reads("h1", /rather use the telephone/);
});

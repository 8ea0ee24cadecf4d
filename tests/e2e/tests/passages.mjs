// Ways in and on: an instant link without a waiting room, another device, the next patient.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";

test("an anonymous caller of a regulation is seen without waiting", { timeout: 60_000 }, async (t) => {
  const booked = await lab.server.bookAs({ act: "regulation", seats: [{ role: "regulator" }, { role: "caller" }] });
  const regulator = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const caller = await lab.seat(t, lab.b, { devices: PATIENT });
  await regulator.enter(booked.regulator.link);
  const tapped = Date.now();
  await caller.enter(booked.caller.link);
  await caller.phase("in_call");
  const seen = await regulator.seesAndHears(await caller.seatId(), PATIENT);
  t.diagnostic(`picture ${seen.frames[0].at - tapped} ms after the tap`);
  await regulator.reads("figure.tile figcaption", /^Caller$/);
});

test("a link opened on another device waits there again, and the first page says so", { timeout: 60_000 }, async (t) => {
  const { booked, practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const other = await lab.seat(t, lab.b, { devices: COMPANION });
  await other.enter(booked.patient.link);
  await other.phase("waiting");
  await other.reads("[data-notice=other-device]", /another device/);
  await patient.phase("moved");
  await practitioner.reads(`[data-list=waiting] .person[data-seat="${ids.patient}"] .tags`, /on another device/);
  await practitioner.press("admit", ids.patient);
  await other.phase("in_call");
  await practitioner.seesAndHears(ids.patient, COMPANION);
});

test("three patients are seen one after another without a reload and without a trace", { timeout: 120_000 }, async (t) => {
  const queue = `e2e-${Date.now()}`;
  const small = { width: 320, height: 180, fps: 10 };
  const people = [
    { name: "Noé Petit", who: PATIENT },
    { name: "Jeanne Le Goff", who: COMPANION },
    { name: "Awa Diallo", who: { id: 55, hz: 2400 } },
  ];
  for (const person of people) {
    const seats = [{ role: "practitioner", display_name: "Dr Ada Martin" }, { role: "patient", display_name: person.name }];
    person.booked = await lab.server.bookAs({ queue, seats, gates: NOTHING_ASKED });
    person.seat = await lab.seat(t, lab.b, { devices: { ...person.who, ...small } });
    await person.seat.enter(person.booked.patient.link);
    await person.seat.phase("waiting");
    person.id = await person.seat.seatId();
  }
  await people[2].seat.reads(".place", /people are before you/);

  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(people[0].booked.practitioner.link);
  await practitioner.page.evaluate(() => (globalThis.sameDocument = true));
  await practitioner.press("admit", people[0].id);
  await practitioner.seesAndHears(people[0].id, people[0].who);
  await people[0].seat.press("messages");
  await until("a message", async () => {
    await people[0].seat.locator(".write input").fill("My secret");
    await people[0].seat.press("send");
    return practitioner.page.evaluate(() => probe.call().call.exchanges.notes.length > 0);
  });

  for (const [index, person] of people.entries()) {
    if (index === 0) continue;
    const before = people[index - 1];
    await practitioner.press("next");
    await before.seat.phase("ended");
    await person.seat.phase("in_call");
    await practitioner.seesAndHears(person.id, person.who);
    assert.ok(await practitioner.page.evaluate(() => globalThis.sameDocument), "no reload");
    const left = await practitioner.page.evaluate(residue);
    for (const trace of [before.name, "My secret", before.id, before.booked.id, before.booked.practitioner.token]) {
      assert.ok(!left.includes(trace), `no trace of ${trace}`);
    }
    assert.equal((await practitioner.seen(person.id)).ids.join(), `${person.who.id}`, "the right person is on the screen");
  }
  await practitioner.press("next");
  await practitioner.showsWithin("[data-notice=next]");
  await practitioner.phase("in_call");
});

const NOTHING_ASKED = { card: [], consent: { asked: [], text: "1" }, third_person: [], preference: [] };

/** Everything of the page in which a patient could have left something: what is shown, the state, the storage, the address. */
function residue() {
  const element = probe.call();
  const { state, exchanges, slots, credentials } = element.call;
  const known = { state, notes: exchanges.notes, transfers: exchanges.transfers, slots: slots.length, credentials };
  return [element.shadowRoot.innerHTML, JSON.stringify(known), JSON.stringify({ ...sessionStorage }), location.href].join("\n");
}

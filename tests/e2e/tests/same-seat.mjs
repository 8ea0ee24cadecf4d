// The seat belongs to the person, not to the tab: a reload keeps it, a second tab takes it over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";

test("a reload goes straight back into the call", { timeout: 60_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const before = Date.now();
  await patient.reload();
  await patient.phase("in_call");
  assert.equal(await patient.seatId(), ids.patient, "the same seat");
  await patient.seesAndHears(ids.practitioner, PRACTITIONER);
  const seen = await practitioner.seesAndHears(ids.patient, PATIENT);
  t.diagnostic(`seen again ${seen.frames[0].at - before} ms after the reload began`);
  assert.equal(await practitioner.shows("[data-list=waiting] .person"), false, "nobody has to be admitted again");
});

test("a second tab takes the seat over, and the first one says so", { timeout: 60_000 }, async (t) => {
  const { booked, practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const second = await patient.newTab();
  await second.enter(booked.patient.link);
  await second.phase("in_call");
  await patient.phase("replaced");
  assert.equal(await second.seatId(), ids.patient, "the same seat");
  await second.seesAndHears(ids.practitioner, PRACTITIONER);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  assert.equal(await practitioner.shows("[data-list=waiting] .person"), false, "nobody has to be admitted again");
});

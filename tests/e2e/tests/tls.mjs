// HTTPS and WSS by the server itself, as in a clinic without a proxy; the certificate is made by `demo --tls`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { Server } from "../lib/server.mjs";

test("a call over HTTPS and WSS connects in both browsers", { timeout: 60_000 }, async (t) => {
  const server = await Server.start({ tls: true, port: 8443, mediaPort: 41_000 });
  t.after(() => server.stop());
  assert.match(server.base, /^https:/);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.c, { devices: PATIENT });
  await patient.enterThroughGates(server.facts.patient_url);
  await patient.phase("waiting");
  await practitioner.enter(server.facts.practitioner_url);
  const ids = { practitioner: await practitioner.seatId(), patient: await patient.seatId() };
  await practitioner.press("admit", ids.patient);
  await Promise.all([
    practitioner.seesAndHears(ids.patient, PATIENT, 20_000),
    patient.seesAndHears(ids.practitioner, PRACTITIONER, 20_000),
  ]);
});

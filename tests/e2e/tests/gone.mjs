// A tab that is killed without a word: the seat is kept and shown as reconnecting. What becomes of it when nobody comes
// back is looked at when the grace period is over, at the end of the suite (gone-for-good.mjs).

import { test } from "node:test";
import { PATIENT, lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";

/** The seat that was left, and when. */
export const gone = { consultation: null, seat: null, at: 0 };

test("a killed tab is shown as reconnecting", { timeout: 60_000 }, async (t) => {
  const { consultation, booked, practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  await patient.close();
  await practitioner.showsWithin(`figure.tile[data-seat="${ids.patient}"][data-reconnecting="yes"]`, 5000);
  await until("presence reconnecting", async () => (await lab.server.presence(consultation, booked.patient.id)) === "reconnecting");
  Object.assign(gone, { consultation, seat: booked.patient.id, at: Date.now() });
});

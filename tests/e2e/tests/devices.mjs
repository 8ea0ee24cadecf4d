// Joining without a camera, a microphone or the permission to use them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chromium } from "../lib/browsers.mjs";
import { PRACTITIONER, lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";

test("a person who gives no camera and microphone still sees and hears", { timeout: 60_000 }, async (t) => {
  const browser = await Chromium.launch("b", { granted: false });
  t.after(() => browser.close());
  const booked = await lab.server.book([{ role: "practitioner" }, { role: "patient", admitted: true }]);
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await practitioner.enter(booked.practitioner.link);

  const patient = await browser.seat({ devices: null });
  await patient.open(booked.patient.link);
  await patient.phase("preview");
  await patient.showsWithin(".help[data-problem]");
  await patient.press("enter");
  await patient.phase("in_call");

  const candidates = await until("candidates of the patient", () =>
    patient.page.evaluate(() => {
      const lines = (probe.call().call.nativeConnection?.localDescription?.sdp ?? "").match(/^a=candidate:.*$/gm);
      return lines?.filter((line) => / udp /i.test(line)) ?? null;
    }),
  );
  t.diagnostic(candidates.join(" | "));
  assert.ok(candidates.every((line) => line.includes(".local ")), "only names that the server cannot resolve");

  const seen = await patient.seesAndHears(await practitioner.seatId(), PRACTITIONER);
  assert.deepEqual(seen.ids, [PRACTITIONER.id]);
  const seat = await patient.seatId();
  await practitioner.showsWithin(`figure.tile[data-seat="${seat}"][data-picture="off"]`);
});

// A clinic's portal that embeds the element and learns what happens in it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";

test("a portal embeds the call and is told its phases", { timeout: 60_000 }, async (t) => {
  const booked = await lab.server.book([{ role: "practitioner" }, { role: "patient", admitted: true }]);
  const portal = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await portal.open(new URL("/examples/portal.html", lab.server.base).href);
  await portal.page.locator("#token").fill(booked.practitioner.link);
  await portal.page.locator("#open button").click();
  await portal.phase("preview");
  await portal.press("enter");

  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  await patient.enter(booked.patient.link);
  await portal.phase("in_call");
  await portal.seesAndHears(await patient.seatId(), PATIENT);
  await patient.seesAndHears(await portal.seatId(), PRACTITIONER);

  await portal.press("leave");
  await portal.press("confirm-leave");
  const lines = await until("the portal is told the end", async () => {
    const told = await portal.page.locator("#events li").allTextContents();
    return told.some((line) => line.startsWith("colloque-ended")) ? told : null;
  });
  for (const expected of [/^colloque-phase .*"preview"/, /^colloque-phase .*"in_call"/, /^colloque-seats .*"patient"/, /^colloque-ended .*"left"/]) {
    assert.ok(lines.some((line) => expected.test(line)), `${expected} among\n${lines.join("\n")}`);
  }
  assert.ok(!lines.some((line) => line.includes("display_name")), "no names");
});

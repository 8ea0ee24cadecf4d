// Several professionals in one consultation: a card that comes later, an aside, somebody invited in mid-call, a hand-over.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { sleep, until } from "../lib/wait.mjs";

const EXPERT = { id: 44, hz: 2000 };
/** Far longer than anything takes that is still on its way. */
const SETTLED_MS = 700;
const WATCHED_MS = 1500;

test("an expert is seen once the card is read, and heard alone in an aside", { timeout: 90_000 }, async (t) => {
  const booked = await lab.server.bookAs({
    act: "tele_expertise",
    gates: { card: ["patient"], consent: { asked: [], text: "1" }, third_person: [] },
    seats: [
      { role: "practitioner", display_name: "Dr Ada Martin", card: { name: "Ada Martin" } },
      { role: "patient", display_name: "Noé Petit" },
    ],
  });
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.b, { devices: PATIENT });
  await practitioner.enter(booked.practitioner.link);
  await patient.enterThroughGates(booked.patient.link);
  const ids = { practitioner: await practitioner.seatId(), patient: await patient.seatId() };
  await practitioner.press("admit", ids.patient);
  await patient.seesAndHears(ids.practitioner, PRACTITIONER);

  const invited = await lab.server.invite(booked.id, { role: "expert", display_name: "Pr Omar Nadir", card: { name: "Omar Nadir", fee: "60 €" } });
  const expert = await lab.seat(t, lab.c, { devices: EXPERT });
  await patient.watch(invited.id);
  await expert.enter(invited.link);
  ids.expert = await expert.seatId();
  await patient.showsWithin("dialog[data-dialog=card]");
  await patient.reads("dialog .card", /Omar Nadir.*60 €/s);
  await patient.watch(ids.expert);
  await sleep(WATCHED_MS);
  assert.deepEqual((await patient.seen(ids.expert)).ids, [], "nothing of the expert before the card is read");
  await patient.locator("dialog [data-action=card-read]").click();
  await patient.seesAndHears(ids.expert, EXPERT);
  await practitioner.seesAndHears(ids.expert, EXPERT);

  await practitioner.press("aside");
  await patient.showsWithin(".apart[data-notice=aside]");
  await practitioner.showsWithin("[data-notice=aside]");
  await sleep(SETTLED_MS);
  const before = await patient.packetsReceived();
  await Promise.all([practitioner.watch(ids.patient), practitioner.watch(ids.expert)]);
  await sleep(WATCHED_MS);
  assert.equal((await patient.packetsReceived()) - before, 0, "the patient receives no packet of anybody");
  assert.deepEqual((await practitioner.seen(ids.patient)).toneShare(PATIENT), 0, "nor do they hear the patient");
  assert.ok((await practitioner.seen(ids.expert)).shows(EXPERT), "the professionals go on");
  await practitioner.press("end-aside");
  await until("the notice goes", async () => !(await patient.shows(".apart")));
  await Promise.all([patient.seesAndHears(ids.expert, EXPERT), practitioner.seesAndHears(ids.patient, PATIENT)]);
});

test("a colleague is invited in mid-call and takes the consultation over", { timeout: 90_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  await practitioner.press("invite");
  await practitioner.locator("#invite-role").selectOption("practitioner");
  await practitioner.locator("#invite-name").fill("Dr Omar Nadir");
  await practitioner.press("confirm-invite");
  await practitioner.showsWithin("#invited-link");
  const link = await practitioner.locator("#invited-link").inputValue();
  await practitioner.press("cancel");

  await practitioner.press("hand-over");
  await practitioner.locator("#hand-over-reason").selectOption("specialty");
  await practitioner.press("confirm-hand-over");
  await patient.reads("[data-notice=hand-over]", /Dr Omar Nadir is going to take over.*another specialty/);
  assert.ok(await practitioner.shows("[data-action=end]"), "the giver keeps it until the colleague is there");

  const colleague = await lab.seat(t, lab.c, { devices: COMPANION });
  await colleague.enter(link);
  await colleague.phase("in_call");
  await patient.reads("[data-notice=hand-over]", /Dr Omar Nadir has taken over/);
  await patient.reads("[data-notice=arrived]", /Dr Omar Nadir, Practitioner/);
  await until("the giver's rights go", async () => !(await practitioner.shows("[data-action=end]")));
  await colleague.showsWithin("[data-action=end]");
  await Promise.all([
    patient.seesAndHears(await colleague.seatId(), COMPANION),
    patient.seesAndHears(ids.practitioner, PRACTITIONER),
    colleague.seesAndHears(ids.patient, PATIENT),
  ]);
});

test("messages, files and points go from page to page", { timeout: 60_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  await patient.press("messages");
  await until("the channel is open", async () => {
    await patient.locator(".write input").fill("Mon ordonnance");
    await patient.press("send");
    return (await patient.text(".notes"))?.includes("Mon ordonnance");
  });
  await practitioner.reads("[data-action=messages] .badge", /1/);
  await practitioner.press("messages");
  await practitioner.reads(".notes", /Noé Petit\s*Mon ordonnance/);

  const content = Buffer.alloc(40_000, "colloque");
  await patient.locator("input[type=file]").setInputFiles({ name: "ordonnance.pdf", mimeType: "application/pdf", buffer: content });
  await practitioner.showsWithin("[data-file=done] a[download]");
  const [download] = await Promise.all([practitioner.page.waitForEvent("download"), practitioner.locator("[data-file=done] a").click()]);
  assert.equal(download.suggestedFilename(), "ordonnance.pdf");
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(content), "byte for byte");

  await practitioner.locator(`figure.tile[data-seat="${ids.patient}"] [data-action=point]`).click();
  await practitioner.locator(`figure.tile[data-seat="${ids.patient}"] colloque-media`).click({ position: { x: 60, y: 120 } });
  await patient.showsWithin(".self-tile .ring", 2000);
});

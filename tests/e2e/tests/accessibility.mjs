// axe-core on every state of the pages, in both languages: nothing serious or critical. It sees a part of what matters;
// keyboard, focus and target sizes have tests of their own beside the pages.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { Chromium } from "../lib/browsers.mjs";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "RGAAv4"];
const PHONE = { width: 360, height: 740 };

for (const language of ["fr", "en"]) {
  test(`no state of the pages has a serious barrier (${language})`, { timeout: 60_000 }, async (t) => {
    const found = [];
    const check = async (state, seat) => found.push(...(await violations(seat)).map((text) => `${state}: ${text}`));
    const booked = await lab.server.book(
      [{ role: "practitioner", display_name: "Dr Ada Martin" }, { role: "patient", display_name: "Noé Petit" }],
      language,
    );
    const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
    const patient = await lab.seat(t, lab.b, { devices: PATIENT, viewport: PHONE });

    await patient.open(booked.patient.link);
    await patient.phase("preview");
    await check("preview, telephone", patient);
    await patient.press("enter");
    await patient.phase("waiting");
    await check("waiting room, telephone", patient);

    await practitioner.open(booked.practitioner.link);
    await practitioner.phase("preview");
    await check("preview of the practitioner", practitioner);
    await practitioner.press("enter");
    await practitioner.phase("in_call");
    const id = await patient.seatId();
    await practitioner.showsWithin(`[data-action=admit][data-seat="${id}"]`);
    await check("alone, a person waits", practitioner);
    await practitioner.press("admit", id);
    await patient.phase("in_call");
    await practitioner.showsWithin(`figure.tile[data-seat="${id}"]`);
    await check("in a call", practitioner);
    await check("in a call, telephone", patient);
    await practitioner.press("people");
    await check("in a call, without the list", practitioner);
    await practitioner.press("leave");
    await check("question before leaving", practitioner);
    await practitioner.press("cancel");
    await patient.press("leave");
    await patient.press("confirm-leave");
    await patient.phase("left");
    await check("left, telephone", patient);
    await practitioner.press("leave");
    await practitioner.press("confirm-end");
    await practitioner.phase("ended");
    await check("ended", practitioner);
    await practitioner.open(new URL("/join#not-a-token", lab.server.base).href);
    await practitioner.phase("failed");
    await check("a link that is not good", practitioner);
    assert.deepEqual(found, []);
  });
}

test("no state of a telephone has a serious barrier", { timeout: 90_000 }, async (t) => {
  const found = [];
  const check = async (state, seat) => found.push(...(await violations(seat)).map((text) => `${state}: ${text}`));
  const { practitioner, patient, ids } = await lab.call(t);
  await patient.page.setViewportSize(PHONE);
  // As the server would tell it; each state stands still while it is looked at.
  const tell = (state, cause, more = {}) =>
    Promise.all(
      [practitioner, patient].map(({ page }) =>
        page.evaluate((message) => probe.call().call.apply({ kind: "server", message }), {
          ...{ type: "phone", seat: ids.patient, state, cause, number_ending: "78", matches_file: null, seconds: null },
          ...more,
        }),
      ),
    );
  await tell("ready", null);
  await patient.page.evaluate(() =>
    probe.call().call.apply({ kind: "server", message: { type: "dial_in", number: "+33123456789", pin: "471100815" } }),
  );
  await patient.press("phone");
  await check("how to go on by telephone", patient);
  await patient.press("cancel");
  const states = [["planned", null], ["ringing", null], ["confirming", null], ["waiting", "encryption_ends"], ["in", "encryption_ends"], ["silent", "no_sound"], ["lost", null], ["failed", "no_answer"]];
  const live = "[role=status]";
  for (const [state, cause] of states) {
    const before = await Promise.all([practitioner, patient].map((seat) => seat.text(live)));
    await tell(state, cause, state === "planned" ? { seconds: 8 } : {});
    for (const [index, seat] of [practitioner, patient].entries()) {
      await until(`a screen reader hears that it is ${state}`, async () => ![before[index], ""].includes(await seat.text(live)));
    }
    for (const action of state === "planned" ? ["call-me", "hang-up-phone"] : []) await reachedByKeys(patient, action);
    for (const action of state === "planned" ? ["call-phone", "hang-up-phone"] : []) await reachedByKeys(practitioner, action);
    await check(`${state}, to the patient`, patient);
    await check(`${state}, to the host`, practitioner);
  }
  await practitioner.press("people");
  await practitioner.showsWithin("[data-notice=phone-other][data-phone=failed]");
  await check("failed, to the host whose list is closed", practitioner);
  await practitioner.press("people");
  await tell("failed", "encryption_ends");
  await practitioner.press("phone-encryption");
  await check("question before encryption ends", practitioner);
  assert.deepEqual(found, []);
});

test("no question, panel or dialog has a serious barrier", { timeout: 90_000 }, async (t) => {
  const found = [];
  const check = async (state, seat) => found.push(...(await violations(seat)).map((text) => `${state}: ${text}`));
  const card = { title: "Dr", name: "Ada Martin", specialty: "Dermatologie", fee: "30 €" };
  const booked = await lab.server.bookAs({
    act: "tele_expertise",
    gates: { card: ["patient"], consent: { asked: ["patient"], text: "1" }, third_person: ["patient"], preference: ["patient"] },
    seats: [{ role: "practitioner", display_name: "Dr Ada Martin", card }, { role: "patient", display_name: "Noé Petit" }, { role: "expert" }],
  });
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.b, { devices: PATIENT, viewport: PHONE });
  await Promise.all([practitioner.enter(booked.practitioner.link), patient.enter(booked.patient.link)]);
  await patient.phase("gates");
  const id = await patient.seatId();
  await practitioner.press("admit", id);
  for (const action of ["card-read", "consent", "accompanied", "prefer-video"]) {
    const gate = await patient.gate();
    await check(`question ${gate}`, patient);
    assert.equal(await focused(patient), "H1", `a screen reader begins with the title of ${gate}`);
    await patient.press(action);
    if (action !== "prefer-video") await until("the next question", async () => ![gate, null].includes(await patient.gate()));
  }
  await patient.phase("in_call");
  for (const action of ["menu", "withdraw"]) {
    await patient.press(action);
    await check(action, patient);
  }
  await patient.press("cancel");
  await patient.press("messages");
  await check("messages", patient);
  await patient.press("vitals");
  await check("vital signs", patient);
  await patient.press("cancel");
  for (const action of ["invite", "hand-over"]) {
    await practitioner.press(action);
    await check(action, practitioner);
    await practitioner.press("cancel");
  }
  const expert = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  await expert.enter(booked.expert.link);
  await expert.phase("in_call");
  await practitioner.press("aside");
  await patient.showsWithin(".apart");
  await check("outside of an aside", patient);
  await check("inside of an aside", practitioner);
  assert.deepEqual(found, []);
});

/** A button is come by with the tabulator alone. */
async function reachedByKeys({ page }, action) {
  for (let pressed = 0; pressed < 40; pressed += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => probe.call().shadowRoot.activeElement?.dataset.action === wanted, action)) return;
  }
  assert.fail(`${action} is not reached by keys`);
}

/** What has the focus inside of the element. */
const focused = (seat) => seat.page.evaluate(() => probe.call().shadowRoot.activeElement?.tagName ?? null);

test("the help for a blocked camera has no serious barrier", { timeout: 60_000 }, async (t) => {
  const browser = await Chromium.launch("a", { granted: false });
  t.after(() => browser.close());
  const booked = await lab.server.book([{ role: "practitioner" }, { role: "patient" }]);
  const patient = await browser.seat({ devices: null, viewport: PHONE });
  await patient.open(booked.patient.link);
  await patient.phase("preview");
  await patient.showsWithin(".help[data-problem]");
  assert.deepEqual(await violations(patient), []);
});

async function violations(seat) {
  // Defines `axe` in the page; not as a script element, which the page's own policy would rightly refuse.
  await seat.page.evaluate(AXE);
  const result = await seat.page.evaluate(
    (values) => axe.run(document, { runOnly: { type: "tag", values }, resultTypes: ["violations"] }),
    TAGS,
  );
  return result.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, impact, help, nodes }) => nodes.map(({ target }) => `${impact} ${id} (${help}) at ${JSON.stringify(target)}`));
}

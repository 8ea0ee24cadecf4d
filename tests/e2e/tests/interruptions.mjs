// What breaks on the way and must mend by itself: the network, and the WebSocket alone.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { inside } from "../lib/network.mjs";
import { sleep, until } from "../lib/wait.mjs";

const CUT_MS = 20_000;
/** From the network's return to the first new picture at the far end. */
const BACK_MS_MAX = 1500;

test("after 20 s without a network the call goes on within 1.5 s", { timeout: 60_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  t.after(() => lab.link.heal());
  await Promise.all([
    practitioner.seesAndHears(ids.patient, PATIENT),
    patient.seesAndHears(ids.practitioner, PRACTITIONER),
  ]);
  const cutAt = Date.now();
  await lab.link.cut();
  await practitioner.showsWithin(`figure.tile[data-seat="${ids.patient}"][data-reconnecting="yes"]`, CUT_MS);
  t.diagnostic(`shown as reconnecting after ${Date.now() - cutAt} ms`);
  await patient.phase("reconnecting");
  await sleep(Math.max(0, cutAt + CUT_MS - Date.now()));
  await Promise.all([practitioner.watch(ids.patient), patient.watch(ids.practitioner)]);
  // So that the picture that stands still is noted before the first new one.
  await sleep(300);
  const backAt = Date.now();
  await lab.link.heal();
  const back = {
    practitioner: await firstFrame(practitioner, ids.patient, backAt),
    patient: await firstFrame(patient, ids.practitioner, backAt),
  };
  await patient.phase("in_call");
  const voices = [await practitioner.seen(ids.patient), await patient.seen(ids.practitioner)];
  const [toPractitioner, toPatient] = voices.map((seen) => seen.firstToneAfter(backAt) - backAt);
  t.diagnostic(`at the practitioner's: picture after ${back.practitioner} ms, voice after ${toPractitioner} ms`);
  t.diagnostic(`at the patient's: picture after ${back.patient} ms, voice after ${toPatient} ms; in the call again`);
  await until("no longer shown as reconnecting", () =>
    practitioner.shows(`figure.tile[data-seat="${ids.patient}"][data-reconnecting="no"]`),
  );
  assert.equal(await practitioner.shows("[data-list=waiting] .person"), false, "nobody has to be admitted again");
  assert.ok(back.practitioner <= BACK_MS_MAX, `the practitioner sees the patient after ${back.practitioner} ms`);
  assert.ok(back.patient <= BACK_MS_MAX, `the patient sees the practitioner after ${back.patient} ms`);
});

test("a lost WebSocket is resumed by its ticket while the media goes on", { timeout: 60_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const before = resumptions(await lab.server.metrics());
  await practitioner.watch(ids.patient);
  killTcp("b");
  await until("resumption counted", async () => resumptions(await lab.server.metrics()) > before);
  await patient.phase("in_call");
  await sleep(1000);
  const seen = await practitioner.seen(ids.patient);
  t.diagnostic(`${seen}, longest freeze ${seen.longestFreeze()} ms`);
  assert.ok(seen.longestFreeze() < 1000, `the picture goes on: ${seen.longestFreeze()} ms`);
  // What is said after the resumption arrives: the session is alive, not only the socket.
  await patient.press("microphone");
  await practitioner.showsWithin(`figure.tile[data-seat="${ids.patient}"] figcaption .state`);
});

async function firstFrame(seat, other, since) {
  const at = await until(`picture of ${other}`, async () => (await seat.seen(other)).firstFrameAfter(since), { every: 50 });
  return at - since;
}

/** Resets every TCP connection of a namespace, as a router that forgot them does. */
function killTcp(name) {
  const [command, rest] = inside(name, "ss", "--kill", "--tcp", "state", "established");
  const { status, stderr } = spawnSync(command, rest, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

const resumptions = (metrics) => Number(/^colloque_resumptions_total (\d+)/m.exec(metrics)?.[1] ?? 0);

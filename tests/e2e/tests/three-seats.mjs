// The first call as people make it: two links, a waiting room, a click, and a third person invited in mid-call.

import assert from "node:assert/strict";
import { test } from "node:test";
import { COMPANION, PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { sleep } from "../lib/wait.mjs";

/** People notice from about 125 ms on; the measurement adds the length of an audio buffer and of a frame. */
const LIPS_MS_MAX = 200;

test("three people in two kinds of browser see and hear the right others", { timeout: 60_000 }, async (t) => {
  const { server } = lab;
  const practitioner = await lab.seat(t, lab.a, { devices: PRACTITIONER });
  const patient = await lab.seat(t, lab.b, { devices: { ...PATIENT, busy: true } });
  const companion = await lab.seat(t, lab.c, { devices: { ...COMPANION, busy: true } });

  await patient.enterThroughGates(server.facts.patient_url);
  await patient.phase("waiting");
  const ids = { patient: await patient.seatId() };
  assert.equal(await patient.page.evaluate(() => probe.call().call.nativeConnection), null, "no media before admission");

  await practitioner.enter(server.facts.practitioner_url);
  ids.practitioner = await practitioner.seatId();
  await practitioner.press("admit", ids.patient);
  await Promise.all([patient.phase("in_call"), practitioner.phase("in_call")]);

  const invited = await server.invite(server.facts.consultation_id, { role: "companion", display_name: "Lou" });
  await companion.enter(invited.link);
  await companion.phase("waiting");
  ids.companion = await companion.seatId();
  await practitioner.press("admit", ids.companion);
  await companion.phase("in_call");

  const people = [
    { name: "practitioner", seat: practitioner, who: PRACTITIONER },
    { name: "patient", seat: patient, who: PATIENT },
    { name: "companion", seat: companion, who: COMPANION },
  ];
  const pairs = people.flatMap((watcher) =>
    people.filter((other) => other !== watcher).map((other) => ({ watcher, other, id: ids[other.name] })),
  );
  await Promise.all(pairs.map(({ watcher, other, id }) => watcher.seat.seesAndHears(id, other.who, 20_000)));
  for (const { watcher, id } of pairs) await watcher.seat.watch(id);
  const padded = await server.counter("rtp_padded");
  await sleep(4000);
  const paddedMeanwhile = (await server.counter("rtp_padded")) - padded;
  t.diagnostic(`${paddedMeanwhile} packets padded`);
  assert.ok(paddedMeanwhile > 0, "what they see came in padded packets too");
  for (const { watcher, other, id } of pairs) {
    const seen = await watcher.seat.seen(id);
    t.diagnostic(`${watcher.name} of ${other.name}: ${seen}`);
    assert.deepEqual(seen.ids, [other.who.id], `${watcher.name} sees ${other.name} and nobody else`);
    assert.ok(seen.monotonic, `${watcher.name} sees ${other.name} move forwards`);
    assert.ok(seen.fps > 5, `${watcher.name} sees ${other.name} move: ${seen}`);
    assert.ok(seen.toneShare(other.who) > 0.6, `${watcher.name} hears ${other.name}: ${seen}`);
  }
  for (const { name, seat } of people) await checkTransport(t, name, seat);
  checkLog(t, [invited.token, ...[server.facts.patient_url, server.facts.practitioner_url].map((url) => url.split("#")[1])]);
});

/** Browsers do not tell the group of the key exchange, the server's log does; and nothing about people. */
function checkLog(t, tokens) {
  const log = lab.server.log();
  if (log === null) return t.diagnostic("the log is on the terminal: not checked");
  const groups = [...log.matchAll(/leg connected.*dtls_group="?([\w-]+)/g)].map(([, group]) => group);
  t.diagnostic(`key exchange: ${groups.join(", ")}`);
  assert.ok(groups.length >= 3, "every handshake is logged");
  assert.ok(groups.every((group) => group === "X25519MLKEM768"), `post-quantum key exchange with everybody: ${groups}`);
  for (const secret of ["Lou", "Ada", "10.99.1.2", "10.99.2.2", "10.99.3.2", ...tokens]) {
    assert.ok(!log.includes(secret), "no name, address or token in the log");
  }
}

async function checkTransport(t, name, seat) {
  const stats = await seat.stats();
  const { tlsVersion, srtpCipher, dtlsCipher, selectedCandidatePairId } = stats.transport;
  t.diagnostic(`${name}: DTLS ${tlsVersion}, ${dtlsCipher}, ${srtpCipher}, pair ${selectedCandidatePairId}`);
  assert.equal(tlsVersion, "FEFC", `${name} speaks DTLS 1.3`);
  assert.match(srtpCipher, /AEAD_AES_\d+_GCM/, `${name}'s media is under an AEAD`);
}

test("lips and voice are played together", { timeout: 60_000 }, async (t) => {
  const { practitioner, ids } = await lab.call(t, { patient: { beat: true } });
  await practitioner.seesAndHears(ids.patient, PATIENT);
  // Browsers move towards synchrony in steps, once both streams have had a sender report.
  await sleep(5000);
  const { voice, picture } = await practitioner.page.evaluate((id) => probe.lips(id, 8000), ids.patient);
  const [heard, seen] = [median(voice), median(picture)];
  t.diagnostic(`voice ${heard} ms old (${voice.length} beats), picture ${seen} ms old`);
  assert.ok(voice.length >= 5, "the beat is heard");
  assert.ok(Math.abs(heard - seen) <= LIPS_MS_MAX, `voice ${heard} ms, picture ${seen} ms old`);
});

const median = (values) => values.sort((one, other) => one - other)[Math.floor(values.length / 2)];

// A bad line: every twentieth packet lost in each direction.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, PRACTITIONER, lab } from "../lib/lab.mjs";
import { sleep } from "../lib/wait.mjs";

const WATCH_MS = 12_000;
const FREEZE_MS_MAX = 2000;
/** Share of the voice that the receiver had to make up; 5 % of loss with retransmission leaves well under this. */
const CONCEALED_MAX = 0.08;

test("with 5 % loss each way pictures move and voices are whole", { timeout: 60_000 }, async (t) => {
  const { practitioner, patient, ids } = await lab.call(t);
  t.after(() => lab.link.heal());
  await Promise.all([
    practitioner.seesAndHears(ids.patient, PATIENT),
    patient.seesAndHears(ids.practitioner, PRACTITIONER),
  ]);
  await lab.link.set("both", { loss: 5, delay: 15 });
  await sleep(1500);
  const ways = [
    { name: "practitioner", seat: practitioner, other: ids.patient, who: PATIENT },
    { name: "patient", seat: patient, other: ids.practitioner, who: PRACTITIONER },
  ];
  const before = await Promise.all(ways.map(({ seat }) => voice(seat)));
  await Promise.all(ways.map(({ seat, other }) => seat.watch(other)));
  await sleep(WATCH_MS);
  for (const [index, { name, seat, other, who }] of ways.entries()) {
    const seen = await seat.seen(other);
    const now = await voice(seat);
    const concealed = (now.concealed - before[index].concealed) / Math.max(1, now.samples - before[index].samples);
    t.diagnostic(`${name}: ${seen}, longest freeze ${seen.longestFreeze()} ms, concealed ${(concealed * 100).toFixed(1)} %`);
    assert.deepEqual(seen.ids, [who.id]);
    assert.ok(seen.monotonic, "moves forwards");
    assert.ok(seen.longestFreeze() < FREEZE_MS_MAX, `${name}'s picture stood still for ${seen.longestFreeze()} ms`);
    assert.ok(seen.toneShare(who) > 0.7, `${name} hears: ${seen}`);
    assert.ok(concealed < CONCEALED_MAX, `${name}: ${(concealed * 100).toFixed(1)} % of the voice made up`);
  }
});

async function voice(seat) {
  const entries = (await seat.stats()).of("inbound-rtp", "audio");
  const sum = (key) => entries.reduce((total, entry) => total + (entry[key] ?? 0), 0);
  return { concealed: sum("concealedSamples") - sum("silentConcealedSamples"), samples: sum("totalSamplesReceived") };
}

// Each receives the size that its page shows, in whichever codec the sender's browser has.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PATIENT, lab } from "../lib/lab.mjs";
import { sleep, until } from "../lib/wait.mjs";

/** Of 255 in each channel: what coding and rounding cost. */
const COLOUR_ERROR_MAX = 10;
const LARGE = { width: 1280, height: 800 };
/** Small enough for the lowest of 180, 360 and 720 lines. */
const SMALL = { width: 300, height: 460 };

test("a smaller picture on the page is a smaller picture on the wire, and back", { timeout: 60_000 }, async (t) => {
  const { practitioner, ids } = await lab.call(t, { patient: { width: 1280, height: 720, fps: 12 } });
  await practitioner.page.setViewportSize(LARGE);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const height = () => receivedHeight(practitioner);
  const large = await until("a large picture", async () => ((await height()) >= 360 ? height() : null), {
    ms: 20_000,
    describe: height,
  });

  await practitioner.watch(ids.patient);
  await practitioner.page.setViewportSize(SMALL);
  const small = await until("a smaller picture", async () => ((await height()) < large ? height() : null), { describe: height });
  await sleep(1500);
  await practitioner.page.setViewportSize(LARGE);
  const again = await until("the large picture again", async () => ((await height()) > small ? height() : null), { describe: height });
  await sleep(500);
  const seen = await practitioner.seen(ids.patient);
  t.diagnostic(`heights ${large}, ${small}, ${again}; ${seen}; longest freeze ${seen.longestFreeze()} ms`);
  assert.ok(seen.monotonic, "no picture twice or backwards over the switches");
  assert.ok(seen.longestFreeze() < 1500, `no stand-still at a switch: ${seen.longestFreeze()} ms`);
});

test("colours arrive as they were sent", { timeout: 60_000 }, async (t) => {
  const { practitioner, ids } = await lab.call(t);
  await practitioner.seesAndHears(ids.patient, PATIENT);
  const { sent, shown } = await practitioner.page.evaluate(([seat, id]) => probe.colours(seat, id), [ids.patient, PATIENT.id]);
  t.diagnostic(`sent ${sent}, shown ${shown}`);
  // A picture of full range that is taken for one of limited range is off by 20 and more: skin looks feverish.
  const error = Math.max(...sent.map((value, channel) => Math.abs(value - shown[channel])));
  assert.ok(error <= COLOUR_ERROR_MAX, `sent ${sent}, shown ${shown}`);
});

// Browsers cut a frame into packets that differ by a byte; the server pads them to one size.
for (const codec of ["vp8", "h264", "vp9", "av1"]) {
  test(`two people see each other in ${codec.toUpperCase()}`, { timeout: 60_000 }, async (t) => {
    const small = { width: 640, height: 360, fps: 12 };
    const { practitioner, ids } = await lab.call(t, { patient: { ...small, busy: true }, practitioner: small, codec });
    await practitioner.seesAndHears(ids.patient, PATIENT, 15_000);
    const padded = await lab.server.counter("rtp_padded");
    const seen = await practitioner.observe(ids.patient);
    const paddedMeanwhile = (await lab.server.counter("rtp_padded")) - padded;
    const mimes = await receivedCodecs(practitioner);
    t.diagnostic(`${mimes}: ${seen}; ${paddedMeanwhile} packets padded`);
    // AV1 comes in equal packets with a shorter last one: nothing to pad.
    if (codec !== "av1") assert.ok(paddedMeanwhile > 0, "padded packets were among them");
    assert.deepEqual(mimes, [`video/${codec}`]);
    assert.deepEqual(seen.ids, [PATIENT.id]);
    assert.ok(seen.monotonic && seen.fps > 5, `moves: ${seen}`);
  });
}

async function receivedHeight(seat) {
  const heights = (await seat.stats()).of("inbound-rtp", "video").map(({ frameHeight }) => frameHeight ?? 0);
  return Math.max(0, ...heights);
}

async function receivedCodecs(seat) {
  const stats = await seat.stats();
  const used = stats.of("inbound-rtp", "video").filter(({ framesDecoded }) => framesDecoded > 0).map(({ codecId }) => codecId);
  return stats.of("codec").filter(({ id }) => used.includes(id)).map(({ mimeType }) => mimeType.toLowerCase());
}

import assert from "node:assert/strict";
import { test } from "node:test";

import { BURSTS, LOAD_MAX, bounds, fit, load, points, residuals, rooms, table } from "./capacity.mjs";

const KNOWN = { packet: { consultation: 6, audio: 11 }, share: 0.08, half: 900 };
/** Packets a second of a room of two. */
const EACH = { consultation: 355, audio: 100 };

/** A run of a worker that behaves as the formula says, times an error. */
function run(scenario, size, { server = "colloque", round = 1, error = 1, constants = KNOWN } = {}) {
  const rate = EACH[scenario] * size;
  const share = load(constants, scenario, rate, BURSTS[scenario] * 2 * size);
  const report = {
    seconds: 10,
    participants: 2 * size,
    packets_received: rate * 10,
    server_cpu_ns_per_forwarded_packet: (share / rate) * 1e9 * error,
  };
  return { case: `${scenario}-${size}`, server, round, report };
}

const curve = (scenario, sizes, more) => sizes.map((size) => run(scenario, size, more));

function near(actual, expected, share = 0.01) {
  assert.ok(Math.abs(actual / expected - 1) <= share, `${actual} is not ${expected}`);
}

test("a worker that behaves as the formula says gives its constants back", () => {
  const measured = points([...curve("consultation", [1, 5, 10, 20, 40, 60]), ...curve("audio", [10, 50, 100])]);
  const constants = fit(measured);
  near(constants.packet.consultation, 6);
  near(constants.packet.audio, 11);
  near(constants.share, 0.08);
  near(constants.half, 900);
  assert.ok(residuals(constants, measured).every(({ off }) => Math.abs(off) < 0.001));
});

test("a point that is off is shown to be off", () => {
  const runs = [...curve("consultation", [1, 5, 10, 20, 60]), run("consultation", 40, { error: 1.3 })];
  const measured = points(runs);
  const compared = residuals(fit(measured), measured);
  const [worst] = [...compared].sort((a, b) => Math.abs(b.off) - Math.abs(a.off));
  assert.equal(worst.rooms, 40);
  assert.ok(worst.off < -0.08, `${worst.off}`);
  assert.match(table(fit(measured), measured), /worst residual 1\d\.\d %/);
});

test("medians over rounds are what is fitted, of one worker and of scenarios that the formula knows", () => {
  const rounds = [0.9, 1, 5].map((error, at) => run("consultation", 20, { error, round: at + 1 }));
  const others = [
    run("consultation", 20, { server: "colloque-workers2", error: 9 }),
    run("consultation", 40, { server: "janus", error: 9 }),
    { ...run("consultation", 30), case: "webinar-30" },
  ];
  const measured = points([...rounds, ...others]);
  assert.equal(measured.length, 1);
  near(measured[0].micros, run("consultation", 20).report.server_cpu_ns_per_forwarded_packet / 1000);
});

test("a worker that was full says nothing about what it would have cost", () => {
  const [within, beyond] = [rooms(KNOWN, points([run("audio", 50)]), "audio", 0.9), 900];
  assert.deepEqual(points([run("audio", within), run("audio", beyond)]).map((point) => point.rooms), [within]);
});

test("the rooms that fill a core are those at which the formula reaches the limit", () => {
  const measured = points(curve("consultation", [1, 5, 10, 20, 40, 60]));
  const count = rooms(KNOWN, measured, "consultation");
  const at = (size) => load(KNOWN, "consultation", EACH.consultation * size, BURSTS.consultation * 2 * size);
  assert.ok(at(count) <= LOAD_MAX && at(count + 1) > LOAD_MAX, `${count}`);
});

test("leaving sizes out shows how far one bad point carries", () => {
  const sound = points(curve("consultation", [1, 5, 10, 20, 40, 60]));
  const exact = bounds(sound, "consultation");
  near(exact.max, exact.min, 0.01);
  const bad = [...curve("consultation", [1, 5, 10, 20, 40]), run("consultation", 60, { error: 1.3 })];
  const wide = bounds(points(bad), "consultation");
  assert.ok(wide.max > 1.2 * wide.min, `${wide.min} to ${wide.max}`);
  assert.equal(bounds(sound.slice(0, 4), "consultation"), undefined, "four sizes spare none");
});

test("too few sizes are refused, because any three constants would explain them", () => {
  assert.throws(() => fit(points(curve("consultation", [1, 20, 60]))), /too few/);
});

test("one size of a scenario beside the curve of another is taken, and told to be untested", () => {
  const measured = points([...curve("consultation", [1, 5, 10, 20, 40]), run("audio", 50)]);
  const constants = fit(measured);
  near(constants.packet.audio, 11, 0.02);
  assert.match(table(constants, measured), /audio: \d+ rooms .* untested/);
  assert.doesNotMatch(table(constants, measured), /consultation: .* untested/);
});

// How many rooms a core carries, from measured runs: a formula of three constants, its fit and its residuals.
//
//   node scripts/capacity.mjs [FILE...]       docs/performance/scaling.json otherwise; lists of runs of compare.sh
//
// What arrives while the worker sleeps wakes it; what arrives while it works shares the turn. So a core's load at L
// packets forwarded a second, in rooms of two, which arrive in E bursts (a voice's packet, a picture's frame), is
//
//   load = P * L + S * E / (E + H)
//
// P: what a forwarded packet costs once the worker is awake, different for each scenario, because packets of one burst
// share the kernel's work. S: what all wake-ups together cost at most, as a share of a core. H: the bursts a second at which
// half of that is reached, so that S / H is what waking costs an idle worker. S and H belong to worker and machine and are
// the same for all scenarios.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

import { spread } from "./compare.mjs";

/** Bursts a second of one who is there: 50 packets of voice, 30 frames. */
export const BURSTS = { consultation: 80, audio: 50 };
/** A core that is busier has no room for a room's worth of handshakes and keyframes. */
export const LOAD_MAX = 0.8;
/** Above that the worker is full, and what it forwards is not what it was asked to. */
const MEASURED_LOAD_MAX = 0.95;
const HALF_MIN = 10;
const HALF_MAX = 100_000;
const HALF_STEPS = 2_000;

/** One point for each size of each scenario, medians over the rounds; one worker, nothing else. */
export function points(runs) {
  const cases = new Map();
  for (const run of runs) {
    const [scenario, rooms] = [run.case.replace(/-\d+$/, ""), Number(run.case.match(/\d+$/))];
    const nanos = run.report.server_cpu_ns_per_forwarded_packet;
    if (run.server !== "colloque" || !(scenario in BURSTS) || !rooms || !nanos) continue;
    const rate = run.report.packets_received / run.report.seconds;
    if ((rate * nanos) / 1e9 > MEASURED_LOAD_MAX) continue;
    const bursts = BURSTS[scenario] * run.report.participants;
    cases.set(run.case, [...(cases.get(run.case) ?? []), { scenario, rooms, rate, bursts, micros: nanos / 1e3 }]);
  }
  const median = (all, key) => spread(all.map((one) => one[key])).median;
  return [...cases.values()]
    .map((all) => ({ ...all[0], rate: median(all, "rate"), micros: median(all, "micros") }))
    .sort((a, b) => a.scenario.localeCompare(b.scenario) || a.rooms - b.rooms);
}

/** The constants that leave the least squares of relative residuals: `packet` in us by scenario, `share`, `half`. */
export function fit(measured) {
  const scenarios = [...new Set(measured.map((point) => point.scenario))];
  if (measured.length < scenarios.length + 3) {
    throw new Error(`${measured.length} sizes are too few: at least 4 of one scenario, any number of others beside it`);
  }
  let best;
  for (let step = 0; step <= HALF_STEPS; step++) {
    const half = HALF_MIN * (HALF_MAX / HALF_MIN) ** (step / HALF_STEPS);
    // Linear in the other constants: microseconds a packet = P + S * 1e6 * E / (E + H) / L, each line divided by its
    // measured value, so that residuals are relative.
    const rows = measured.map(({ scenario, rate, bursts, micros }) => {
      const wakes = (1e6 * bursts) / (bursts + half) / rate;
      return [...scenarios.map((one) => (one === scenario ? 1 : 0)), wakes].map((x) => x / micros);
    });
    const solved = leastSquares(rows);
    if (!solved || solved.some((constant) => constant < 0)) continue;
    const error = rows.reduce((sum, row) => sum + (row.reduce((all, x, at) => all + x * solved[at], 0) - 1) ** 2, 0);
    if (!best || error < best.error) {
      const packet = Object.fromEntries(scenarios.map((scenario, at) => [scenario, solved[at]]));
      best = { packet, share: solved.at(-1), half, error };
    }
  }
  if (!best) throw new Error("no constants above zero explain these points");
  const { error, ...constants } = best;
  return constants;
}

/** Solves rows * x = 1 in the least-squares sense, by the normal equations; undefined when they are singular. */
function leastSquares(rows) {
  const size = rows[0].length;
  const matrix = Array.from({ length: size }, (_, i) => [
    ...Array.from({ length: size }, (_, j) => rows.reduce((sum, row) => sum + row[i] * row[j], 0)),
    rows.reduce((sum, row) => sum + row[i], 0),
  ]);
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let row = column + 1; row < size; row++) {
      if (Math.abs(matrix[row][column]) > Math.abs(matrix[pivot][column])) pivot = row;
    }
    [matrix[column], matrix[pivot]] = [matrix[pivot], matrix[column]];
    if (Math.abs(matrix[column][column]) < Number.EPSILON * matrix[column][size]) return undefined;
    for (let row = 0; row < size; row++) {
      const factor = row === column ? 0 : matrix[row][column] / matrix[column][column];
      for (let at = column; at <= size; at++) matrix[row][at] -= factor * matrix[column][at];
    }
  }
  return matrix.map((row, at) => row[size] / row[at]);
}

/** Share of a core at so many packets a second in so many bursts. */
export function load({ packet, share, half }, scenario, rate, bursts) {
  return (packet[scenario] * rate) / 1e6 + (share * bursts) / (bursts + half);
}

/** What the formula says of each point, and how far it is off. */
export function residuals(constants, measured) {
  return measured.map((point) => {
    const by = (1e6 * load(constants, point.scenario, point.rate, point.bursts)) / point.rate;
    return { ...point, by, off: by / point.micros - 1, load: (point.rate * point.micros) / 1e6 };
  });
}

/** Rooms that fill a core to `load_max`; loads grow with every room, so halving finds them. */
export function rooms(constants, measured, scenario, load_max = LOAD_MAX) {
  const own = measured.filter((point) => point.scenario === scenario);
  const each = spread(own.map((point) => point.rate / point.rooms)).median;
  const bursts = spread(own.map((point) => point.bursts / point.rooms)).median;
  let [low, high] = [0, 1];
  const fits = (count) => load(constants, scenario, each * count, bursts * count) <= load_max;
  while (fits(high)) [low, high] = [high, high * 2];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** The fewest and the most rooms that a fit finds when one size or another is left out: how far one bad point carries. */
export function bounds(measured, scenario) {
  const counts = measured.flatMap((left_out) => {
    const others = measured.filter((point) => point !== left_out);
    if (!others.some((point) => point.scenario === scenario)) return [];
    try {
      return [rooms(fit(others), others, scenario)];
    } catch {
      return [];
    }
  });
  return counts.length > 0 ? spread(counts) : undefined;
}

/** For people. */
export function table(constants, measured) {
  const compared = residuals(constants, measured);
  const worst = Math.max(...compared.map(({ off }) => Math.abs(off)));
  const percent = (value) => `${value < 0 ? "" : "+"}${(100 * value).toFixed(1)} %`;
  const row = (...cells) => cells.map((cell, at) => `${cell}`[at ? "padStart" : "padEnd"](at ? 14 : 20)).join("");
  const lines = [row("", "packets/s", "core", "us measured", "us by formula", "off")];
  for (const { scenario, rooms: count, rate, load: busy, micros, by, off } of compared) {
    const core = `${(100 * busy).toFixed(1)} %`;
    lines.push(row(`${scenario}-${count}`, rate.toFixed(0), core, micros.toFixed(2), by.toFixed(2), percent(off)));
  }
  const { packet, share, half } = constants;
  lines.push("", "load = P * packets/s + S * bursts/s / (bursts/s + H)");
  for (const [scenario, micros] of Object.entries(packet)) lines.push(`  P = ${micros.toFixed(2)} us, ${scenario}`);
  lines.push(`  S = ${(100 * share).toFixed(1)} % of a core for wake-ups at most, H = ${half.toFixed(0)} bursts/s`);
  lines.push(`  waking an idle worker: ${((1e6 * share) / half).toFixed(0)} us; worst residual ${(100 * worst).toFixed(1)} %`, "");
  for (const scenario of Object.keys(packet)) {
    const own = compared.filter((point) => point.scenario === scenario);
    const count = rooms(constants, measured, scenario);
    const wide = bounds(measured, scenario);
    const furthest = own.at(-1);
    lines.push(
      `${scenario}: ${count} rooms of two fill ${(100 * LOAD_MAX).toFixed(0)} % of a core` +
        (wide ? ` (${wide.min} to ${wide.max} with any one size left out)` : "") +
        `; measured up to ${furthest.rooms} rooms, ${(100 * furthest.load).toFixed(0)} %` +
        (own.length < 2 ? "; its P stands on one size and is untested" : ""),
    );
  }
  return lines.join("\n") + "\n";
}

function main(files) {
  const runs = files.flatMap((file) => JSON.parse(readFileSync(file, "utf8")));
  const measured = points(runs);
  process.stdout.write(table(fit(measured), measured));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const files = process.argv.slice(2);
  main(files.length > 0 ? files : ["docs/performance/scaling.json"]);
}

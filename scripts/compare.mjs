// Sums up runs of `scripts/compare.sh`.
//
//   node scripts/compare.mjs keep REPORT CASE SERVER ROUND FILE   keeps one run's figures
//   node scripts/compare.mjs table DIR|FILE                       prints what the runs there say
//   node scripts/compare.mjs collect DIR FILE                     writes all runs of DIR into one file
//
// Servers were loaded in turn, so that each round of one has a neighbour in time of the other: ratios are made within
// a round, and only then is their median taken. Whatever slows the whole machine for a while cancels out.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** What the other server must cost at least, in units of ours. */
export const AIMS = { webinar: 6, consultation: 4, audio: 4 };

/** One run, from the generator's report and what the script knows. */
export function keep(report, name, server, round) {
  return { case: name, server, round, report };
}

/** The figures of a run that are compared; smaller is better in each. */
export function figures(run) {
  const { report } = run;
  return {
    cpu: report.server_cpu_ns_per_forwarded_packet,
    memory: (report.server_rss_bytes - report.server_rss_before_bytes) / report.participants,
    p50: report.latency_us.p50,
    p99: report.latency_us.p99,
    lost: report.lost / Math.max(report.packets_forwarded_expected, 1),
  };
}

export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { min: sorted[0], median, max: sorted[sorted.length - 1] };
}

/** By case, in the order of the first run: spreads of each server, and ratios of the others to Colloque. */
export function summarise(runs) {
  const cases = new Map();
  for (const run of runs) {
    const servers = cases.get(run.case) ?? new Map();
    cases.set(run.case, servers.set(run.server, [...(servers.get(run.server) ?? []), run]));
  }
  return [...cases].map(([name, servers]) => {
    const ours = servers.get("colloque") ?? [];
    return {
      case: name,
      servers: [...servers].map(([server, all]) => ({
        server,
        rounds: all.length,
        profiles: [...new Set(all.map((run) => run.report.srtp_profile ?? "not told"))],
        missed: all.flatMap((run) => run.report.missed ?? []),
        warnings: all.flatMap((run) => run.report.warnings ?? []),
        ...spreads(all.map(figures)),
        ratios: server === "colloque" ? undefined : ratios(ours, all),
      })),
    };
  });
}

function spreads(all) {
  return Object.fromEntries(Object.keys(all[0]).map((key) => [key, spread(all.map((one) => one[key]))]));
}

function ratios(ours, theirs) {
  const pairs = theirs.flatMap((run) => {
    const neighbour = ours.find((other) => other.round === run.round);
    return neighbour ? [[figures(neighbour), figures(run)]] : [];
  });
  if (pairs.length === 0) return undefined;
  return Object.fromEntries(
    ["cpu", "memory", "p50", "p99"].map((key) => [key, spread(pairs.map(([our, their]) => their[key] / our[key]))]),
  );
}

/** For people. */
export function table(summary) {
  const lines = [];
  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "-");
  const three = ({ min, median, max }, scale, digits) => {
    const [least, middle, most] = [min, median, max].map((value) => number(value / scale, digits));
    return least === most ? middle : `${middle} (${least} to ${most})`;
  };
  const row = (...cells) => lines.push(cells.map((cell, index) => `${cell}`.padEnd(WIDTHS[index])).join(" ").trimEnd());
  for (const one of summary) {
    lines.push("", `${one.case}: median (least to greatest) of ${one.servers[0].rounds} rounds`);
    row("", "CPU us/packet", "KiB/participant", "p50 us", "p99 us", "lost", "SRTP");
    for (const server of one.servers) {
      const lost = `${number(server.lost.max * 100, 3)} %`;
      row(server.server, three(server.cpu, 1000, 2), three(server.memory, 1024, 0), three(server.p50, 1, 0),
        three(server.p99, 1, 0), lost, server.profiles.join(", "));
    }
    for (const { server, ratios: of } of one.servers) {
      if (!of) continue;
      row(`${server} / colloque`, three(of.cpu, 1, 1), three(of.memory, 1, 1), three(of.p50, 1, 1), three(of.p99, 1, 1));
      const aim = AIMS[one.case.replace(/-\d+$/, "")];
      if (aim) lines.push(`  CPU ratio: aim at least ${aim}, median ${number(of.cpu.median, 1)}: ${of.cpu.median >= aim ? "met" : "NOT MET"}`);
    }
    for (const server of one.servers) {
      for (const missed of new Set(server.missed)) lines.push(`  ${server.server}: ${missed}`);
      for (const warning of new Set(server.warnings)) lines.push(`  ${server.server}: WARNING: ${warning}`);
    }
  }
  return lines.join("\n").trimStart() + "\n";
}

const WIDTHS = [24, 24, 20, 20, 26, 8, 0];

function read(path) {
  if (path.endsWith(".json")) return JSON.parse(readFileSync(path, "utf8"));
  const files = readdirSync(path).filter((name) => name.endsWith(".json"));
  return inOrder(files.map((name) => JSON.parse(readFileSync(join(path, name), "utf8"))));
}

/** Orders runs by scenario, size, server and round. */
export function inOrder(runs) {
  const text = (run) => run.case.replace(/\d+$/, "");
  const size = (run) => Number(run.case.match(/\d+$/));
  return [...runs].sort(
    (a, b) =>
      text(a).localeCompare(text(b)) || size(a) - size(b) || a.server.localeCompare(b.server) || a.round - b.round,
  );
}

function main([action, ...rest]) {
  if (action === "keep") {
    const [report, name, server, round, file] = rest;
    const run = keep(JSON.parse(readFileSync(report, "utf8")), name, server, Number(round));
    writeFileSync(file, JSON.stringify(run, null, 1) + "\n");
    const { cpu, p99 } = figures(run);
    const cost = cpu === null ? "no CPU figure" : `${(cpu / 1000).toFixed(2)} us CPU a packet`;
    console.error(`${name} round ${round} ${server}: ${cost}, p99 ${p99} us, lost ${run.report.lost}`);
  } else if (action === "table") {
    process.stdout.write(table(summarise(read(rest[0]))));
  } else if (action === "collect") {
    const [directory, file] = rest;
    writeFileSync(file, `[\n${read(directory).map((run) => JSON.stringify(run)).join(",\n")}\n]\n`);
  } else {
    console.error("keep, table or collect");
    process.exitCode = 2;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main(process.argv.slice(2));

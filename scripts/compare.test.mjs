import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { figures, inOrder, keep, spread, summarise, table } from "./compare.mjs";

function run(server, round, cpu, { lost = 0, name = "webinar-30", missed = [], warnings } = {}) {
  const report = {
    participants: 10,
    server_cpu_ns_per_forwarded_packet: cpu,
    server_rss_before_bytes: 20 << 20,
    server_rss_bytes: 30 << 20,
    latency_us: { p50: 100, p99: 1000 },
    lost,
    packets_forwarded_expected: 1000,
    srtp_profile: "SRTP_AEAD_AES_128_GCM",
    missed,
    warnings,
  };
  return keep(report, name, server, round);
}

test("a spread is smallest, middle and largest, whatever the order", () => {
  assert.deepEqual(spread([3, 1, 2]), { min: 1, median: 2, max: 3 });
  assert.deepEqual(spread([4, 1]), { min: 1, median: 2.5, max: 4 });
});

test("memory is what the load added, shared by those who are there", () => {
  assert.equal(figures(run("janus", 1, 1)).memory, (10 << 20) / 10);
});

test("ratios are made within a round, so that a slow minute of the machine cancels out", () => {
  const runs = [run("colloque", 1, 1000), run("janus", 1, 8000), run("colloque", 2, 3000), run("janus", 2, 24000)];
  const janus = summarise(runs)[0].servers.find((one) => one.server === "janus");
  assert.deepEqual(janus.ratios.cpu, { min: 8, median: 8, max: 8 });
});

test("a round without a neighbour makes no ratio", () => {
  assert.equal(summarise([run("colloque", 1, 1000), run("janus", 2, 8000)])[0].servers[1].ratios, undefined);
});

test("the table tells the aim, the worst loss and thresholds that were not met", () => {
  const runs = [run("colloque", 1, 2000), run("janus", 1, 8000, { lost: 7, missed: ["7 of 1000 packets lost"] })];
  const text = table(summarise(runs));
  assert.match(text, /aim at least 6, median 4\.0: NOT MET/);
  assert.match(text, /0\.700 %/);
  assert.match(text, /janus: 7 of 1000 packets lost/);
  assert.match(table(summarise([run("colloque", 1, 1000), run("janus", 1, 8000)])), /median 8\.0: met/);
});

test("the table tells when the generator had no time left", () => {
  const runs = [run("colloque", 1, 1000), run("janus", 1, 8000, { warnings: ["a media thread was busy"] })];
  assert.match(table(summarise(runs)), /janus: WARNING: a media thread was busy/);
});

test("runs are kept and collected whole, with the distribution of their latency", () => {
  const directory = mkdtempSync(join(tmpdir(), "compare-"));
  try {
    const report = { ...run("colloque", 1, 1000).report, latency_curve: [[0.5, 100], [0.999, 900]] };
    const path = (name) => join(directory, name);
    writeFileSync(path("report"), JSON.stringify(report));
    const script = fileURLToPath(new URL("compare.mjs", import.meta.url));
    const compare = (...words) => execFileSync(process.execPath, [script, ...words], { stdio: "pipe" });
    for (const round of ["2", "1"]) compare("keep", path("report"), "webinar-30", "colloque", round, path(`${round}.json`));
    compare("collect", directory, path("all"));
    const collected = JSON.parse(readFileSync(path("all"), "utf8"));
    assert.deepEqual(collected.map((one) => one.round), [1, 2]);
    assert.deepEqual(collected[0].report.latency_curve, report.latency_curve);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("cases stay apart", () => {
  const summary = summarise([run("colloque", 1, 1000), run("colloque", 1, 1000, { name: "audio-50" })]);
  assert.deepEqual(summary.map((one) => one.case), ["webinar-30", "audio-50"]);
});

test("sizes are ordered as numbers", () => {
  const runs = ["audio-100", "webinar-2", "audio-50"].map((name) => run("colloque", 1, 1, { name }));
  assert.deepEqual(inOrder(runs).map((one) => one.case), ["audio-50", "audio-100", "webinar-2"]);
});

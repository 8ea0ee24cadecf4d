// Starts `colloque demo --json` in its namespace and speaks the clinic's side of the API.

import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { SERVER_ADDRESS, inside } from "./network.mjs";

const DEFAULT_BINARY = fileURLToPath(new URL("../../../target/debug/colloque", import.meta.url));
const BINARY = process.env.COLLOQUE_BIN ?? DEFAULT_BINARY;
const START_MS_MAX = 20_000;
/** For tests of other things than the questions before media. */
const NO_GATES = { card: [], consent: { asked: [], text: "1" }, third_person: [], preference: [] };

export class Server {
  /** `tls`: HTTPS and WSS with a certificate made for this run. */
  static async start({ tls = false, port = 8080, mediaPort = 40_000, env = {} } = {}) {
    const directory = mkdtempSync(join(process.env.E2E_DIRECTORY ?? tmpdir(), "server-"));
    const flags = ["demo", "--json", "--http-addr", `${SERVER_ADDRESS}:${port}`, "--admin-addr", `${SERVER_ADDRESS}:${port + 1}`];
    flags.push("--media-addr", SERVER_ADDRESS, "--media-port", String(mediaPort), "--data-dir", directory);
    if (tls) flags.push("--tls");
    const log = join(directory, "log");
    const child = spawn(...inside("sfu", BINARY, ...flags), {
      stdio: ["ignore", "pipe", process.env.E2E_VERBOSE ? "inherit" : openSync(log, "w")],
      env: { ...process.env, COLLOQUE_BIN: undefined, COLLOQUE_LOG: "info,colloque=debug", ...env },
    });
    const timer = setTimeout(() => child.kill(), START_MS_MAX);
    const { value, done } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    clearTimeout(timer);
    if (done) throw new Error(`${BINARY} ended without a word`);
    child.stdout.resume();
    return new Server(child, JSON.parse(value), log);
  }

  constructor(child, facts, log) {
    this.child = child;
    this.logFile = log;
    this.facts = facts;
    this.base = facts.base_url;
  }

  async request(method, path, body, key = this.facts.api_key) {
    const response = await fetch(new URL(path, this.base), {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** Books seats of a teleconsultation that asks nothing before media; the answer's seats by role. */
  book(seats, language = "en", more = {}) {
    return this.bookAs({ seats, language, gates: NO_GATES, ...more });
  }

  /** Books whatever is asked for; where `gates` are not named, they are the act's own. */
  async bookAs({ act = "teleconsultation", language = "en", ...rest }) {
    const created = await this.request("POST", "/v1/consultations", { act, language, ...rest });
    return { id: created.id, ...Object.fromEntries(created.seats.map((seat) => [seat.role, seat])) };
  }

  invite(consultation, seat) {
    return this.request("POST", `/v1/consultations/${consultation}/seats`, seat);
  }

  async presence(consultation, seat) {
    const { seats } = await this.request("GET", `/v1/consultations/${consultation}`);
    return seats.find(({ id }) => id === seat)?.presence;
  }

  async metrics() {
    return (await fetch(new URL("/metrics", this.facts.admin_url))).text();
  }

  /** A counter of the media workers, all of them together. */
  async counter(name) {
    const lines = [...(await this.metrics()).matchAll(new RegExp(`^colloque_${name}_total\\{[^}]*\\} (\\d+)$`, "gm"))];
    if (lines.length === 0) throw new Error(`no worker counts ${name}`);
    return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  }

  /** What it logged so far, without colours; null when the log went to the terminal. */
  log() {
    return process.env.E2E_VERBOSE ? null : readFileSync(this.logFile, "utf8").replaceAll(/\x1b\[[0-9;]*m/g, "");
  }

  /** SIGTERM drains, a second one ends it now. */
  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    if (this.child.exitCode !== null) return;
    this.child.kill("SIGTERM");
    this.child.kill("SIGTERM");
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 3000))]);
    this.child.kill("SIGKILL");
  }
}

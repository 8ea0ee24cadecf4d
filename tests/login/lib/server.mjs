// Starts `colloque demo --json` with a login, and speaks the clinic's and the page's side of the API.

import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.COLLOQUE_BIN ?? fileURLToPath(new URL("../../../target/debug/colloque", import.meta.url));
const START_MS_MAX = 20_000;

export class Server {
  /** `login`: the settings of `[login]`, by key. */
  static async start(login, flags = []) {
    const directory = mkdtempSync(join(tmpdir(), "colloque-login-"));
    const settings = Object.entries(login).flatMap(([key, value]) => [`--login-${key.replaceAll("_", "-")}`, value]);
    const addresses = ["--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"];
    const media = ["--media-addr", "127.0.0.1", "--media-port", "0", "--workers", "1"];
    const log = join(directory, "log");
    const child = spawn(BINARY, ["demo", "--json", "--data-dir", directory, ...addresses, ...media, ...settings, ...flags], {
      stdio: ["ignore", "pipe", openSync(log, "w")],
      env: { PATH: process.env.PATH, COLLOQUE_LOG: "info" },
    });
    const timer = setTimeout(() => child.kill(), START_MS_MAX);
    const { value, done } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
    clearTimeout(timer);
    if (done) throw new Error(`the server ended without a word: ${readFileSync(log, "utf8")}`);
    child.stdout.resume();
    return new Server(child, JSON.parse(value), directory, log);
  }

  constructor(child, facts, directory, log) {
    Object.assign(this, { child, facts, directory, logFile: log });
  }

  get callback() {
    return `${this.facts.base_url}/v1/login/callback`;
  }

  async request(method, path, body, headers = { authorization: `Bearer ${this.facts.api_key}` }) {
    const response = await fetch(new URL(path, this.facts.base_url), {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? null : JSON.parse(text) };
  }

  async must(method, path, body) {
    const { status, body: answer } = await this.request(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** A practitioner's seat and a patient's; `more` completes the practitioner's. `login`: nobody runs it without one. */
  async book(more = {}, login = false) {
    const seats = [{ role: "practitioner", ...more }, { role: "patient" }];
    const created = await this.must("POST", "/v1/consultations", { act: "teleconsultation", language: "fr", login, seats });
    return { id: created.id, ...Object.fromEntries(created.seats.map((seat) => [seat.role, seat])) };
  }

  /** A page's session for a seat. */
  async join(seat, device = "laptop") {
    const { session } = await this.must("POST", "/v1/join", { token: seat.token, device });
    return session;
  }

  /** Where the page of this session sends its person. */
  async begin(session) {
    const { url } = await this.must("POST", "/v1/login", { session });
    return url;
  }

  /** What the callback page does with the address it was opened at. */
  finish(session, address) {
    const answer = new URL(address).searchParams;
    const body = { session, code: answer.get("code"), state: answer.get("state") };
    if (answer.has("iss")) body.iss = answer.get("iss");
    return this.request("POST", "/v1/login/finish", body, {});
  }

  /** What the clinic is told of a consultation. */
  async facts_of(consultation) {
    const told = [];
    for (let page = { cursor: "0", more: true }; page.more; ) {
      page = await this.must("GET", `/v1/events?after=${page.cursor}&limit=500`);
      told.push(...page.events);
    }
    return told.filter((event) => event.consultation === consultation);
  }

  log() {
    return readFileSync(this.logFile, "utf8");
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

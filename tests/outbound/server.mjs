// A real `colloque serve` with a clinic of its own, and what the tests ask of it. Not here: receivers (receivers.mjs).
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

// The variable is ours, not the server's.
const { COLLOQUE_BIN: BINARY = 'target/debug/colloque', ...surroundings } = process.env;
const env = { ...surroundings, NO_COLOR: '1' };

export class Server {
  /** `settings` is TOML: top-level keys first, then tables. */
  constructor(settings, clinic = 'Maison de santé') {
    this.directory = mkdtempSync(join(tmpdir(), 'colloque-outbound-'));
    this.config = join(this.directory, 'colloque.toml');
    this.log = '';
    writeFileSync(this.config, `http_addr = "127.0.0.1:0"
admin_addr = "127.0.0.1:0"
media_addr = ["127.0.0.1"]
media_port = 0
workers = 1
data_dir = "${this.directory}/data"
${settings}`);
    try {
      const command = ['clinic', 'add', clinic, '--config', this.config];
      this.key = execFileSync(BINARY, command, { encoding: 'utf8', env, stdio: 'pipe' }).trim();
    } catch (error) {
      rmSync(this.directory, { recursive: true, force: true });
      throw error;
    }
  }

  async start() {
    this.child = spawn(BINARY, ['serve', '--config', this.config], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    let heard = '';
    this.child.stderr.setEncoding('utf8').on('data', (text) => { heard += text; this.log += text; });
    const address = (name) => heard.match(new RegExp(`${name}="?(http://127.0.0.1:\\d+)`))?.[1];
    await until(() => address('url') || this.child.exitCode !== null, 'the server to start');
    this.url = address('url');
    this.admin = address('admin');
    if (!this.url) throw new Error(`the server did not start: ${heard}`);
    return this;
  }

  /** Ends at once, in the middle of whatever it does. */
  async kill() {
    const ended = new Promise((resolve) => { this.child.once('exit', resolve); });
    this.child.kill('SIGKILL');
    await ended;
  }

  async remove() {
    if (this.child?.exitCode === null && this.child.signalCode === null) await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** A call of the clinic: status and body. */
  async api(method, path, body) {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : null };
  }

  async wanted(method, path, body) {
    const answer = await this.api(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  book(patient = {}, more = {}) {
    const seats = [{ role: 'practitioner' }, { role: 'patient', ...patient }];
    return this.wanted('POST', '/v1/consultations', { act: 'teleconsultation', language: 'fr', seats, ...more });
  }

  /** The whole feed after a cursor. */
  async events(after) {
    const events = [];
    for (let more = true; more;) {
      const page = await this.wanted('GET', `/v1/events?limit=500${after ? `&after=${after}` : ''}`);
      events.push(...page.events);
      ({ cursor: after, more } = page);
    }
    return events;
  }

  metric(line) {
    return fetch(`${this.admin}/metrics`).then((response) => response.text())
      .then((text) => Number(text.split('\n').find((each) => each.startsWith(`${line} `))?.split(' ')[1] ?? 0));
  }
}

/** Waits until `condition` gives something true, and gives that. */
export async function until(condition, what, seconds = 60) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(50)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`waited ${seconds} s in vain for ${what}`);
}

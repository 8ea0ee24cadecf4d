// A real softphone (baresip) with a tone for a voice and a recording for an ear. Where it runs, the server takes its calls.
//
// It is driven over baresip's control socket (JSON in netstrings). What it heard is a WAV file that is whole once it has hung up; `heard`
// tells the level of a tone in it.

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { inside } from "./network.mjs";
import { sleep, until } from "./wait.mjs";

const RATE = 8000;
const MODULES = ["g711.so", "aufile.so", "aubridge.so", "sndfile.so"];
const APPLICATIONS = ["account.so", "contact.so", "menu.so", "ctrl_tcp.so"];

export class Softphone {
  /** `namespace`: where; `address`, `number`: its own; `hz`: its voice; `port`: for SIP, `control`: for this class. */
  static async start({ namespace, address, number, hz, port = 5060, control = 4444 }) {
    const directory = mkdtempSync(join(process.env.E2E_DIRECTORY ?? tmpdir(), "softphone-"));
    const recordings = join(directory, "recordings");
    mkdirSync(recordings);
    const voice = join(directory, "voice.wav");
    writeFileSync(voice, wav(tone(hz, 120)));
    writeFileSync(join(directory, "accounts"), `<sip:${number}@${address}:${port}>;regint=0;answermode=manual;audio_codecs=PCMA\n`);
    writeFileSync(join(directory, "contacts"), "");
    writeFileSync(
      join(directory, "config"),
      [
        `sip_listen ${address}:${port}`,
        "poll_method epoll",
        `audio_source aufile,${voice}`,
        "audio_player aubridge,ear",
        "audio_alert aubridge,bell",
        "audio_buffer 20-160",
        `ctrl_tcp_listen ${address}:${control}`,
        `snd_path ${recordings}`,
        "module_path /usr/lib/baresip/modules",
        ...MODULES.map((name) => `module ${name}`),
        ...APPLICATIONS.map((name) => `module_app ${name}`),
        "",
      ].join("\n"),
    );
    const child = spawn(...inside(namespace, "baresip", "-f", directory), { stdio: ["ignore", "pipe", "ignore"] });
    const said = [];
    createInterface({ input: child.stdout }).on("line", (line) => said.push(line));
    const wire = spawn(...inside(namespace, "python3", "-c", RELAY, address, String(control)), { stdio: ["pipe", "pipe", "inherit"] });
    const phone = new Softphone(child, wire, { recordings, said, voice });
    await until("the softphone's control socket", () => phone.connected, { describe: () => said.slice(-3).join(" | ") });
    return phone;
  }

  constructor(child, wire, places) {
    Object.assign(this, { child, wire, ...places, events: [], connected: false, answered: 0 });
    createInterface({ input: wire.stdout }).on("line", (line) => {
      if (line === "connected") this.connected = true;
      else this.events.push(JSON.parse(line));
    });
  }

  command(command, params = "") {
    this.wire.stdin.write(`${JSON.stringify({ command, params })}\n`);
  }

  /** Events of a kind so far, as CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED. */
  count(type) {
    return this.events.filter((event) => event.event && event.type === type).length;
  }

  async sees(type, count = 1, ms = 20_000) {
    const describe = () => `(${this.events.map(({ type, param, data }) => [type ?? data, param].filter(Boolean).join(" ")).join(", ")})`;
    await until(`${type} of the softphone`, () => this.count(type) >= count, { ms, describe });
  }

  dial(address) {
    this.command("dial", address);
  }

  accept() {
    this.answered += 1;
    this.command("accept");
  }

  /** Sends its voice in the call that runs, or no packet at all: a bridge with nothing at its other end gives no sound. */
  speak(on) {
    this.command("ausrc", on ? `aufile,${this.voice}` : "aubridge,nothing");
  }

  hangUp() {
    this.command("hangup");
  }

  /** One key after the other, as slowly as a person. */
  async keys(keys) {
    for (const key of keys) {
      this.command("sndcode", key);
      await sleep(250);
    }
  }

  /** Seconds in which a tone stood out in what this phone heard during its last call, once that is over. */
  heard(hz) {
    const files = readdirSync(this.recordings).filter((name) => name.includes("dec")).sort();
    if (files.length === 0) return 0;
    return secondsOf(hz, readFileSync(join(this.recordings, files.at(-1))));
  }

  stop() {
    this.wire.kill();
    this.child.kill();
  }
}

/** The control socket is in another namespace: lines here, netstrings there. */
const RELAY = `
import json, socket, sys, threading, time
address = (sys.argv[1], int(sys.argv[2]))
for _ in range(200):
    try:
        wire = socket.create_connection(address)
        break
    except OSError:
        time.sleep(0.05)
print("connected", flush=True)
def read():
    data = b""
    while True:
        more = wire.recv(65536)
        if not more:
            return
        data += more
        while b":" in data:
            head, rest = data.split(b":", 1)
            if len(rest) <= int(head):
                break
            print(rest[:int(head)].decode().replace("\\n", " "), flush=True)
            data = rest[int(head) + 1:]
threading.Thread(target=read, daemon=True).start()
for line in sys.stdin:
    text = line.strip().encode()
    wire.sendall(str(len(text)).encode() + b":" + text + b",")
`;

function tone(hz, seconds) {
  return Int16Array.from({ length: RATE * seconds }, (_, at) => Math.round(8000 * Math.sin((2 * Math.PI * hz * at) / RATE)));
}

function wav(samples) {
  const data = Buffer.from(samples.buffer);
  const head = Buffer.alloc(44);
  head.write("RIFF", 0);
  head.writeUInt32LE(36 + data.length, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(RATE, 24);
  head.writeUInt32LE(RATE * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write("data", 36);
  head.writeUInt32LE(data.length, 40);
  return Buffer.concat([head, data]);
}

/** By Goertzel over 100 ms pieces: those in which the tone carries more than half of the energy, and is not silence. */
function secondsOf(hz, file) {
  const rate = file.readUInt32LE(24);
  const at = file.indexOf("data") + 8;
  const samples = new Int16Array(file.buffer.slice(file.byteOffset + at, file.byteOffset + at + ((file.length - at) & ~1)));
  const size = rate / 10;
  const turn = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let pieces = 0;
  for (let start = 0; start + size <= samples.length; start += size) {
    let [one, two, energy] = [0, 0, 0];
    for (const sample of samples.subarray(start, start + size)) {
      [one, two] = [sample + turn * one - two, one];
      energy += sample * sample;
    }
    const power = one * one + two * two - turn * one * two;
    const loud = energy / size > 100 ** 2;
    if (loud && (2 * power) / size > energy / 2) pieces += 1;
  }
  return pieces / 10;
}

// The laboratory's network from the tests' side: names of the namespaces, and the link whose quality can be changed.
// The namespaces themselves are made and removed by scripts/e2e.sh, whatever happens in here.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const PREFIX = process.env.E2E_PREFIX ?? "colloque";
const IMPAIR = fileURLToPath(new URL("../../netlab/impair.py", import.meta.url));

/** The server's address, reached from every seat. */
export const SERVER_ADDRESS = "10.99.0.1";

/** `sfu`, `link`, or a seat: `a` and `b` for Chromium (b behind the link), `c` for Firefox and the tests. */
export const namespaceOf = (name) => `${PREFIX}-${name}`;

/** Arguments that run a command inside a namespace. */
export const inside = (name, command, ...rest) => ["ip", ["netns", "exec", namespaceOf(name), command, ...rest]];

/** The link of seat b. Directions: `up` from the browser to the server, `down` back, `both`. */
export class Link {
  static async open() {
    const child = spawn(...inside("link", "python3", IMPAIR, "seat", "server", "--seed", "7"), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    return new Link(child, lines);
  }

  constructor(child, lines) {
    this.child = child;
    this.lines = lines;
  }

  async set(direction, settings) {
    const names = { up: "ab", down: "ba", both: "both" };
    const text = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
    this.child.stdin.write(`${names[direction]} ${text.join(",")}\n`);
    await this.lines.next();
  }

  /** Nothing passes, neither media nor TCP. */
  cut() {
    return this.set("both", { loss: 100, udponly: 0 });
  }

  heal() {
    return this.set("both", { loss: 0, delay: 0, udponly: 1 });
  }

  close() {
    this.child.stdin.end();
  }
}

// Runs every end-to-end test in one process, because the browsers are started once and shared. One after the other:
// two cores are just enough for three browsers and a server. Started by scripts/e2e.sh, which made the namespaces.

import { after, before } from "node:test";
import { lab } from "./lib/lab.mjs";

before(() => lab.open(), { timeout: 60_000 });
after(() => lab.close(), { timeout: 20_000 });

// First what must be looked at again at the end.
await import("./tests/gone.mjs");
await import("./tests/three-seats.mjs");
await import("./tests/gates.mjs");
await import("./tests/professionals.mjs");
await import("./tests/passages.mjs");
await import("./tests/devices.mjs");
await import("./tests/same-seat.mjs");
await import("./tests/interruptions.mjs");
await import("./tests/layers.mjs");
await import("./tests/loss.mjs");
await import("./tests/embedding.mjs");
await import("./tests/telephone.mjs");
await import("./tests/telephone-lost.mjs");
await import("./tests/telephone-room.mjs");
await import("./tests/accessibility.mjs");
await import("./tests/tls.mjs");
await import("./tests/gone-for-good.mjs");

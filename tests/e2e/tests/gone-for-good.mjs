// The end of what gone.mjs began: after the grace period the seat is empty.

import { test } from "node:test";
import { lab } from "../lib/lab.mjs";
import { until } from "../lib/wait.mjs";
import { gone } from "./gone.mjs";

const GRACE_MS = 120_000;

test("a seat to which nobody comes back is absent after the grace period", { timeout: 150_000 }, async (t) => {
  if (gone.seat === null) return t.skip("its first half did not run");
  const left = Math.max(0, gone.at + GRACE_MS - Date.now());
  const absent = async () => (await lab.server.presence(gone.consultation, gone.seat)) === "absent";
  await until("presence absent", absent, { ms: left + 8000, every: 500 });
});

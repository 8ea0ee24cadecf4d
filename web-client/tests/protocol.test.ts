// The golden fixtures that the Rust tests read too: every server message there is understood here, and every message
// this page sends has the shape of its fixture.

import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import type { ClientMessage, ServerMessage } from "../src/protocol/generated.ts";
import { INITIAL_STATE, reduce } from "../src/sdk/call-state.ts";
import { parseEnvelope } from "../src/sdk/signalling.ts";

const FIXTURES = new URL("../../signaling/fixtures/", import.meta.url);
const names = readdirSync(FIXTURES).filter((name) => name.endsWith(".json"));
const read = (name: string) => readFileSync(new URL(name, FIXTURES), "utf8");

/** Exhaustive: a message added in Rust does not compile here until it is listed. */
const SERVER_TYPES: Record<ServerMessage["type"], true> = {
  welcome: true,
  resumed: true,
  admitted: true,
  roster: true,
  answer: true,
  slots: true,
  speaker: true,
  muted: true,
  gates: true,
  queue: true,
  arrived: true,
  locked: true,
  invited: true,
  hand_over: true,
  aside: true,
  permissions: true,
  next: true,
  acts: true,
  phone: true,
  dial_in: true,
  declined: true,
  moved_device: true,
  media: true,
  replaced: true,
  removed: true,
  ended: true,
  error: true,
  pong: true,
};
const CLIENT_TYPES: Record<ClientMessage["type"], true> = {
  join: true,
  offer: true,
  sending: true,
  view: true,
  admit: true,
  remove: true,
  mute: true,
  gate: true,
  lock: true,
  invite: true,
  hand_over: true,
  aside: true,
  call: true,
  hang_up: true,
  next: true,
  end: true,
  leave: true,
  ack: true,
  ping: true,
};

test.each(names.filter((name) => name.startsWith("server-")))("%s is an envelope that the reducer takes", (name) => {
  const envelope = parseEnvelope(read(name));
  expect(envelope).not.toBeNull();
  if (envelope === null) return;
  expect(Object.keys(SERVER_TYPES)).toContain(envelope.type);
  expect(reduce(INITIAL_STATE, { kind: "server", message: envelope }).phase).toEqual(expect.any(String));
});

test("there is a fixture of every message, both ways", () => {
  const types = (prefix: string) =>
    new Set(names.filter((name) => name.startsWith(prefix)).map((name) => (JSON.parse(read(name)) as { type: string }).type));
  expect([...types("server-")].sort()).toEqual(Object.keys(SERVER_TYPES).sort());
  expect([...types("client-")].sort()).toEqual(Object.keys(CLIENT_TYPES).sort());
});

test.each(["", "null", "[]", "{}", '{"type":"ended"}', '{"seq":1}', '{"seq":"1","type":"ended"}', "{"])(
  "%j is not an envelope",
  (text) => expect(parseEnvelope(text)).toBeNull(),
);

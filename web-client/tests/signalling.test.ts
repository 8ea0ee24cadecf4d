import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ClientMessage, ServerMessage } from "../src/protocol/generated.ts";
import { Signalling } from "../src/sdk/signalling.ts";

class FakeSocket {
  readyState = 0;
  sent: ClientMessage[] = [];
  closed = false;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  say(seq: number, message: ServerMessage) {
    this.onmessage?.({ data: JSON.stringify({ seq, ...message }) });
  }

  lose() {
    this.readyState = 3;
    this.onclose?.();
  }

  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }

  close() {
    this.readyState = 3;
    this.closed = true;
  }
}

const WELCOME = { type: "welcome", ticket: "first" } as ServerMessage;
let sockets: FakeSocket[];
let heard: string[];
let signalling: Signalling;
const last = () => sockets.at(-1) as FakeSocket;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  heard = [];
  signalling = new Signalling(
    "ws://server/ws",
    "session",
    {
      message: (message) => heard.push(message.type),
      open: (resumed) => heard.push(resumed ? "open again" : "open"),
      lost: () => heard.push("lost"),
    },
    () => {
      sockets.push(new FakeSocket());
      return last() as unknown as WebSocket;
    },
  );
  signalling.connect();
  last().open();
});

afterEach(() => {
  signalling.close();
  vi.useRealTimers();
});

test("joins first and sends nothing else before the welcome", () => {
  expect(signalling.send({ type: "end" })).toBe(false);
  expect(last().sent).toEqual([{ type: "join", version: 1, session: "session" }]);
  last().say(1, WELCOME);
  expect(signalling.send({ type: "end" })).toBe(true);
});

test("resumes by ticket with the number of the last message it read", () => {
  last().say(1, WELCOME);
  last().say(2, { type: "admitted" });
  last().lose();
  vi.advanceTimersByTime(100);
  last().open();
  expect(last().sent[0]).toMatchObject({ type: "join", resume: { ticket: "first", received: 2 } });
  last().say(0, { type: "resumed", ticket: "second" });
  last().say(2, { type: "admitted" });
  last().say(3, { type: "roster", seats: [] });
  expect(heard).toEqual(["welcome", "open", "admitted", "lost", "resumed", "open again", "roster"]);
});

test("keeps what a person decided while the socket was away, within a bound", () => {
  last().say(1, WELCOME);
  last().lose();
  for (let count = 0; count < 50; count += 1) signalling.command({ type: "admit", seat: `${count}` });
  vi.advanceTimersByTime(100);
  last().open();
  last().say(0, { type: "resumed", ticket: "second" });
  expect(last().sent.filter((message) => message.type === "admit")).toHaveLength(32);
});

test("a socket that does not open in time is replaced", () => {
  last().lose();
  vi.advanceTimersByTime(100);
  const stuck = last();
  vi.advanceTimersByTime(3000);
  expect(stuck.closed).toBe(true);
  expect(sockets.length).toBeGreaterThan(2);
});

/** How long the present attempt, which never opens, is waited for; the next one has begun then. */
function openWait(): number {
  const stuck = last();
  let wait = 0;
  for (; !stuck.closed; wait += 100) vi.advanceTimersByTime(100);
  vi.advanceTimersByTime(1);
  expect(last()).not.toBe(stuck);
  return wait;
}

test("gives an attempt longer after each that did not open in time, and no longer than needed after one that did", () => {
  last().lose();
  vi.advanceTimersByTime(100);
  expect([1, 2, 3, 4, 5].map(openWait)).toEqual([2500, 5000, 10_000, 15_000, 15_000]);
  // A server that takes its time to answer is as slow as a network that takes its time.
  last().open();
  expect(openWait()).toBe(15_000);
  last().open();
  last().say(1, WELCOME);
  last().lose();
  vi.advanceTimersByTime(100);
  expect(openWait()).toBe(2500);
});

test("a refused attempt does not give the next one longer", () => {
  last().lose();
  vi.advanceTimersByTime(100);
  last().lose();
  vi.advanceTimersByTime(400);
  expect(openWait()).toBe(2500);
});

test("on another network the first attempt is short again", () => {
  last().lose();
  vi.advanceTimersByTime(100);
  openWait();
  signalling.retryNow();
  expect(openWait()).toBe(2500);
});

test("waits longer after each failure, never more than two seconds, and from the start after a success", () => {
  const pauses: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    last().lose();
    const count = sockets.length;
    let pause = 0;
    for (; sockets.length === count; pause += 100) vi.advanceTimersByTime(100);
    pauses.push(pause);
  }
  expect(pauses).toEqual([100, 400, 800, 1200, 2000, 2000, 2000]);
  last().open();
  last().say(1, WELCOME);
  last().lose();
  vi.advanceTimersByTime(100);
  expect(sockets).toHaveLength(9);
});

test("an unanswered ping means a dead socket, an answered one does not", () => {
  last().say(1, WELCOME);
  const first = last();
  vi.advanceTimersByTime(10_000);
  const ping = first.sent.at(-1);
  expect(ping?.type).toBe("ping");
  first.say(0, { type: "pong", id: 1 });
  vi.advanceTimersByTime(5000);
  expect(sockets).toHaveLength(1);
  signalling.probe(1500);
  vi.advanceTimersByTime(1700);
  expect(sockets).toHaveLength(2);
});

test("acknowledges a burst once", () => {
  last().say(1, WELCOME);
  for (let seq = 2; seq < 20; seq += 1) last().say(seq, { type: "roster", seats: [] });
  vi.advanceTimersByTime(600);
  expect(last().sent.filter((message) => message.type === "ack")).toEqual([{ type: "ack", received: 19 }]);
});

test.each<ServerMessage>([
  { type: "replaced" },
  { type: "moved_device" },
  { type: "declined", choice: "phone" },
  { type: "next", token: "t" },
  { type: "removed" },
  { type: "ended" },
  { type: "error", code: "bad_session", message: "" } as ServerMessage,
])("does not come back after %o", (message) => {
  last().say(1, WELCOME);
  last().say(2, message);
  last().lose();
  vi.advanceTimersByTime(60_000);
  expect(sockets).toHaveLength(1);
});

test("text that is no message is ignored", () => {
  last().say(1, WELCOME);
  last().onmessage?.({ data: "<html>" });
  expect(heard).toEqual(["welcome", "open"]);
});

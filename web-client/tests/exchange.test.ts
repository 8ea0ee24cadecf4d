// Two pages and the server between them, which stamps the sender and may leave messages out.

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Exchange, NOTE_LEN_MAX, readVitals } from "../src/sdk/exchange.ts";
import { FILE_BYTES_MAX, PIECE_BYTES, fileName } from "../src/sdk/files.ts";

interface Sent {
  kind: string;
  id?: string;
  to?: string;
  body: Record<string, unknown>;
}

let sent: { from: string; message: Sent; length: number }[];
let lost: (message: Sent) => boolean;
let backlog: number;
let ann: Exchange;
let bob: Exchange;

function page(name: string, other: () => Exchange): Exchange {
  const send = (text: string) => {
    const message = JSON.parse(text) as Sent;
    sent.push({ from: name, message, length: text.length });
    const { to, ...rest } = message;
    if (!lost(message) && (to === undefined || to !== name)) other().handle(JSON.stringify({ from: name, ...rest }));
    return true;
  };
  return new Exchange({ send, backlog: () => backlog }, () => undefined);
}

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  lost = () => false;
  backlog = 0;
  ann = page("ann", () => bob);
  bob = page("bob", () => ann);
});

afterEach(() => {
  ann.clear();
  bob.clear();
  vi.useRealTimers();
});

describe("messages", () => {
  test("reach the other with the sender that the server stamped", () => {
    expect(ann.write("  Bonjour ")).toBe(true);
    expect(ann.notes).toMatchObject([{ from: null, text: "Bonjour" }]);
    expect(bob.notes).toMatchObject([{ from: "ann", text: "Bonjour" }]);
    expect(bob.unread).toBe(1);
    bob.markRead();
    expect(bob.unread).toBe(0);
  });

  test("are not empty, not endless, and do not turn the text around", () => {
    expect(ann.write(" \u202e ")).toBe(false);
    ann.write("x".repeat(5000));
    expect(bob.notes[0]?.text).toHaveLength(NOTE_LEN_MAX);
    ann.write("\u{1F600}".repeat(NOTE_LEN_MAX));
    expect(Math.max(...sent.map(({ length }) => length))).toBeLessThan(8 * 1024);
  });

  test("are forgotten with the call", () => {
    ann.write("one");
    bob.clear();
    expect([bob.notes, bob.transfers, bob.unread, bob.vitals.size]).toEqual([[], [], 0, 0]);
  });

  test.each(["", "null", "[]", '{"kind":"chat","body":{"text":"x"}}', '{"from":"a","kind":"chat","body":null}', '{"from":"a","kind":"hologram","body":{}}'])(
    "%j from the server is ignored",
    (text) => {
      bob.handle(text);
      expect(bob.notes).toEqual([]);
    },
  );
});

describe("files", () => {
  const bytes = (length: number) => Uint8Array.from({ length }, (_, index) => index % 251);
  const file = (length: number, name = "letter.pdf") => new File([bytes(length)], name, { type: "text/html" });
  let saved: Blob[];

  beforeEach(() => {
    saved = [];
    vi.spyOn(URL, "createObjectURL").mockImplementation((blob) => `blob:${saved.push(blob as Blob)}`);
    vi.spyOn(URL, "revokeObjectURL").mockImplementation(() => undefined);
  });

  test("arrive whole, as nothing that a browser would run", async () => {
    expect(ann.sendFile(file(3 * PIECE_BYTES + 5))).toBe(true);
    await vi.advanceTimersByTimeAsync(2000);
    expect(ann.transfers).toMatchObject([{ from: null, status: "done", progress: 1, url: null }]);
    expect(bob.transfers).toMatchObject([{ from: "ann", name: "letter.pdf", status: "done", url: "blob:1" }]);
    expect(new Uint8Array(await (saved[0] as Blob).arrayBuffer())).toEqual(bytes(3 * PIECE_BYTES + 5));
    expect(saved[0]?.type).toBe("application/octet-stream");
    expect(Math.max(...sent.map(({ length }) => length))).toBeLessThan(16 * 1024);
  });

  test("leave more slowly than the server takes them", async () => {
    ann.sendFile(file(40 * PIECE_BYTES));
    await vi.advanceTimersByTimeAsync(4000);
    const size = sent.reduce((sum, { length }) => sum + length, 0);
    expect(size / 4).toBeLessThan(64 * 1024);
    expect(sent.length / 4).toBeLessThan(16);
  });

  test("wait while the line is full", async () => {
    backlog = 100_000;
    ann.sendFile(file(2 * PIECE_BYTES));
    await vi.advanceTimersByTimeAsync(3000);
    expect(sent.map(({ message }) => message.body.type)).toEqual(["offer"]);
    backlog = 0;
    await vi.advanceTimersByTimeAsync(1000);
    expect(bob.transfers[0]?.status).toBe("done");
  });

  test("pieces that were left out are asked for again, from the sender alone", async () => {
    lost = ({ to, body }) => body.type === "piece" && to === undefined && body.n !== 0;
    ann.sendFile(file(3 * PIECE_BYTES));
    await vi.advanceTimersByTimeAsync(4000);
    expect(sent.filter(({ from }) => from === "bob").map(({ message }) => [message.to, message.body])).toEqual([
      ["ann", { type: "again", pieces: [1, 2] }],
    ]);
    expect(bob.transfers[0]?.status).toBe("done");
  });

  test("a lost end is noticed, a sender who is gone too", async () => {
    lost = ({ body }) => body.type === "end" || (body.type === "piece" && body.n === 1);
    ann.sendFile(file(2 * PIECE_BYTES));
    await vi.advanceTimersByTimeAsync(5000);
    lost = () => true;
    expect(bob.transfers[0]?.status).toBe("moving");
    await vi.advanceTimersByTimeAsync(60_000);
    expect(bob.transfers[0]?.status).toBe("failed");
    lost = () => false;
    ann.sendFile(file(10));
    await vi.advanceTimersByTimeAsync(1000);
    expect(bob.transfers[1]?.status).toBe("done");
  });

  test("too large, empty and too many are refused before anything is sent", () => {
    expect(ann.sendFile(file(0))).toBe(false);
    expect(ann.sendFile({ size: FILE_BYTES_MAX + 1, name: "x" } as File)).toBe(false);
    expect([1, 2, 3, 4].map((length) => ann.sendFile(file(length)))).toEqual([true, true, true, false]);
  });

  test("what a stranger makes up takes no memory", () => {
    const offer = (id: string, body: object) => bob.handle(JSON.stringify({ from: "x", kind: "file", id, body: { type: "offer", ...body } }));
    offer("a", { name: "x", size: 1e12, pieces: 1e8 });
    offer("b", { name: "x", size: 10, pieces: 1e8 });
    offer("c", { name: "x", size: -1, pieces: 1 });
    expect(bob.transfers).toEqual([]);
    for (let count = 0; count < 20; count += 1) offer(`${count}`, { name: "x", size: 10, pieces: 1 });
    expect(bob.transfers).toHaveLength(4);
    const piece = (from: string, body: object) => bob.handle(JSON.stringify({ from, kind: "file", id: "0", body: { type: "piece", ...body } }));
    piece("y", { n: 0, data: btoa("0123456789") });
    piece("x", { n: 1, data: btoa("0123456789") });
    piece("x", { n: 0, data: btoa("01234567890") });
    piece("x", { n: 0, data: "?" });
    expect(bob.transfers[0]?.progress).toBe(0);
    piece("x", { n: 0, data: btoa("0123456789") });
    expect(bob.transfers[0]?.status).toBe("done");
  });

  test.each([
    ["../../etc/passwd", "_.._etc_passwd"],
    ["a\u202Egpj.exe", "a_gpj.exe"],
    ["", "file"],
    [`${"x".repeat(200)}.pdf`, `${"x".repeat(80)}…${"x".repeat(15)}.pdf`],
  ])("the name %j is saved as %j", (name, expected) => expect(fileName(name)).toBe(expected));
});

describe("pointing and vital signs", () => {
  test("a point is shown for a moment, and a moving hand is not sent more often than it is seen", () => {
    for (let step = 0; step < 50; step += 1) {
      ann.point("bob", "camera", step / 50, 0.5);
      vi.advanceTimersByTime(10);
    }
    expect(sent.length).toBeLessThanOrEqual(10);
    expect(bob.pointings).toMatchObject([{ from: "ann", seat: "bob", source: "camera", y: 0.5 }]);
    vi.advanceTimersByTime(3000);
    expect([bob.pointings, ann.pointings]).toEqual([[], []]);
  });

  test.each([{ seat: 1 }, { source: "microphone" }, { x: 2 }, { y: "0" }, { x: Number.NaN }])("a point with %o is ignored", (wrong) => {
    const body = { seat: "bob", source: "camera", x: 0.5, y: 0.5, ...wrong };
    bob.handle(JSON.stringify({ from: "ann", kind: "pointer", body }));
    expect(bob.pointings).toEqual([]);
  });

  test("the last readings of each value are kept by seat, impossible ones are not", () => {
    for (let value = 0; value < 200; value += 1) ann.sendVitals({ spo2: 90 + (value % 10), heart_rate: 72 });
    expect(bob.vitals.get("ann")?.spo2).toHaveLength(120);
    expect(bob.vitals.get("ann")?.heart_rate?.at(-1)).toBe(72);
    expect(ann.sendVitals({ spo2: 170 })).toBe(false);
    expect(readVitals({ spo2: "97", heart_rate: Number.POSITIVE_INFINITY, weight: 71.5, name: "x" })).toEqual({ weight: 71.5 });
  });
});

describe("the examples of PROTOCOL.md", () => {
  const fixture = (name: string) => {
    const path = new URL(`../../signaling/fixtures/data-${name}.json`, import.meta.url);
    return JSON.parse(readFileSync(path, "utf8")) as Sent & { from?: string };
  };
  const comes = (name: string) => ann.handle(JSON.stringify({ from: "s-4rk9", ...fixture(name) }));

  test("are understood", () => {
    comes("relayed-chat");
    expect(ann.notes).toMatchObject([{ from: "s-4rk9", text: fixture("sent-chat").body.text }]);
    comes("sent-pointer");
    expect(ann.pointings).toMatchObject([{ from: "s-4rk9", seat: "s-4rk9", source: "camera", x: 0.5, y: 0.25 }]);
    comes("sent-vitals");
    expect(ann.vitals.get("s-4rk9")).toEqual({ spo2: [97], heart_rate: [72], systolic: [128], diastolic: [81] });
    comes("sent-file-offer");
    expect(ann.transfers).toMatchObject([{ id: "f-1", name: "ordonnance.pdf", size: 23000, status: "moving" }]);
    comes("sent-file-end");
    const { id, to } = fixture("sent-file-again");
    expect(sent.at(-1)?.message).toEqual({ kind: "file", id, to, body: { type: "again", pieces: [0, 1, 2] } });
  });

  test("are what this page sends", () => {
    const last = () => sent.at(-1)?.message;
    ann.write(fixture("sent-chat").body.text as string);
    expect(last()).toEqual(fixture("sent-chat"));
    ann.point("s-4rk9", "camera", 0.5, 0.25);
    expect(last()).toEqual(fixture("sent-pointer"));
    ann.sendVitals({ spo2: 97, heart_rate: 72, systolic: 128, diastolic: 81 });
    expect(last()).toEqual(fixture("sent-vitals"));
  });
});

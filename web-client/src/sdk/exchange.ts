// What seats exchange beside pictures and voices: messages, files, where somebody points, vital signs. One per call.
//
//   out: {"kind": "chat", "body": {"text": "…"}}        in: {"from": "SEAT", "kind": "chat", "body": {"text": "…"}}
//
// The server stamps the sender, checks size and rate of each kind and never looks at a body (signaling/PROTOCOL.md); so
// everything in a body is checked here, where it is read. Nothing is kept beyond the call: `clear` forgets it all. Not
// here: the channel itself (`MediaConnection`), the pieces of a file (`files.ts`), how it looks.

import type { MediaSource } from "../protocol/generated.ts";
import { FileExchange, type Transfer } from "./files.ts";

export interface Note {
  /** Null for one's own. */
  readonly from: string | null;
  readonly text: string;
  /** When it came or was written, ms since the epoch by this device. */
  readonly at: number;
}

/** Where a seat points: on whose picture, as shares of its width and height. */
export interface Pointing {
  readonly from: string | null;
  readonly seat: string;
  readonly source: MediaSource;
  readonly x: number;
  readonly y: number;
}

export const VITAL_NAMES = ["spo2", "heart_rate", "systolic", "diastolic", "temperature", "weight"] as const;
export type VitalName = (typeof VITAL_NAMES)[number];
/** %, beats a minute, mmHg twice, °C, kg. */
export type Vitals = Readonly<Partial<Record<VitalName, number>>>;

export interface ExchangeChannel {
  /** False when the channel is not open. */
  send(text: string): boolean;
  /** Bytes that have not left this device yet. */
  backlog(): number;
}

export type Kind = "chat" | "file" | "pointer" | "vitals";

/** Longest line of text: with its envelope it stays under the server's 8 KiB in any script. */
export const NOTE_LEN_MAX = 1500;
/** Lines kept on the page; a longer conversation belongs elsewhere. */
const NOTES_MAX = 300;
/** Last readings kept of each value, for a small curve. */
const READINGS_MAX = 120;
/** Seats whose readings are kept; more than sit in a room. */
const VITAL_SEATS_MAX = 16;
/** How long a point stays to be seen. */
const POINT_SHOWN_MS = 2500;
/** A hand moves smoothly at this rate; the server takes 40 a second. */
const POINT_EVERY_MS = 50;

export class Exchange {
  notes: readonly Note[] = [];
  /** Messages and files that came since the person last looked. */
  unread = 0;
  pointings: readonly Pointing[] = [];
  /** By seat; each value's last readings, oldest first. */
  vitals: ReadonlyMap<string, Readonly<Partial<Record<VitalName, readonly number[]>>>> = new Map();
  private readonly files: FileExchange;
  private readonly fading = new Map<string, ReturnType<typeof setTimeout>>();
  private pointedAt = 0;

  constructor(
    private readonly channel: ExchangeChannel,
    private readonly changed: () => void,
  ) {
    this.files = new FileExchange({
      send: (id, body, to) => this.send("file", body, { id, ...(to === undefined ? {} : { to }) }),
      backlog: () => channel.backlog(),
      changed,
      arrived: () => (this.unread += 1),
    });
  }

  get transfers(): readonly Transfer[] {
    return this.files.transfers;
  }

  /** False when it is empty or the channel is shut. */
  write(text: string): boolean {
    const line = plain(text).slice(0, NOTE_LEN_MAX);
    if (line === "" || !this.send("chat", { text: line })) return false;
    this.addNote({ from: null, text: line, at: Date.now() });
    return true;
  }

  /** False when it is too large, or too many are on their way. */
  sendFile(file: File): boolean {
    return this.files.offer(file);
  }

  /** Often enough for a moving hand, not more. */
  point(seat: string, source: MediaSource, x: number, y: number): void {
    const now = Date.now();
    this.showPoint({ from: null, seat, source, x, y });
    if (now - this.pointedAt < POINT_EVERY_MS) return;
    this.pointedAt = now;
    this.send("pointer", { seat, source, x: round(x), y: round(y) });
  }

  sendVitals(vitals: Vitals): boolean {
    const body = readVitals(vitals);
    return Object.keys(body).length > 0 && this.send("vitals", body);
  }

  markRead(): void {
    if (this.unread === 0) return;
    this.unread = 0;
    this.changed();
  }

  /** What came on the channel; anything that is not of the form above is ignored. */
  handle(text: string): void {
    const message = parse(text);
    if (message === null) return;
    const { from, kind, id, body } = message;
    if (kind === "chat" && typeof body.text === "string") {
      this.unread += 1;
      this.addNote({ from, text: plain(body.text).slice(0, NOTE_LEN_MAX), at: Date.now() });
    } else if (kind === "file" && id !== null) {
      this.files.handle(from, id, body);
    } else if (kind === "pointer") {
      const pointing = readPointing(from, body);
      if (pointing !== null) this.showPoint(pointing);
    } else if (kind === "vitals") {
      this.addVitals(from, readVitals(body));
    }
  }

  clear(): void {
    for (const timer of this.fading.values()) clearTimeout(timer);
    this.fading.clear();
    this.files.clear();
    this.notes = this.pointings = [];
    this.vitals = new Map();
    this.unread = 0;
    this.changed();
  }

  private send(kind: Kind, body: unknown, more: { id?: string; to?: string } = {}): boolean {
    return this.channel.send(JSON.stringify({ kind, ...more, body }));
  }

  private addNote(note: Note): void {
    this.notes = [...this.notes, note].slice(-NOTES_MAX);
    this.changed();
  }

  private showPoint(pointing: Pointing): void {
    const key = pointing.from ?? "";
    clearTimeout(this.fading.get(key));
    this.fading.set(key, setTimeout(() => this.hidePoint(pointing.from), POINT_SHOWN_MS));
    this.pointings = [...this.pointings.filter(({ from }) => from !== pointing.from), pointing];
    this.changed();
  }

  private hidePoint(seat: string | null): void {
    this.fading.delete(seat ?? "");
    this.pointings = this.pointings.filter(({ from }) => from !== seat);
    this.changed();
  }

  private addVitals(seat: string, vitals: Vitals): void {
    if (!this.vitals.has(seat) && this.vitals.size >= VITAL_SEATS_MAX) return;
    const readings: Partial<Record<VitalName, readonly number[]>> = { ...this.vitals.get(seat) };
    for (const name of VITAL_NAMES) {
      const value = vitals[name];
      if (value !== undefined) readings[name] = [...(readings[name] ?? []), value].slice(-READINGS_MAX);
    }
    if (Object.keys(readings).length === 0) return;
    this.vitals = new Map(this.vitals).set(seat, readings);
    this.changed();
  }
}

interface Incoming {
  readonly from: string;
  readonly kind: string;
  readonly id: string | null;
  readonly body: Record<string, unknown>;
}

function parse(text: string): Incoming | null {
  try {
    const value = JSON.parse(text) as Record<string, unknown> | null;
    const { from, kind, id = null, body } = value ?? {};
    if (typeof from !== "string" || typeof kind !== "string" || typeof body !== "object" || body === null) return null;
    return { from, kind, id: typeof id === "string" ? id : null, body: body as Record<string, unknown> };
  } catch {
    return null;
  }
}

function readPointing(from: string, { seat, source, x, y }: Record<string, unknown>): Pointing | null {
  const share = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1;
  if (typeof seat !== "string" || (source !== "camera" && source !== "screen") || !share(x) || !share(y)) return null;
  return { from, seat, source, x, y };
}

/** Numbers that a device may measure on a living person; anything else is left out. */
const POSSIBLE: Readonly<Record<VitalName, readonly [number, number]>> = {
  spo2: [0, 100],
  heart_rate: [0, 400],
  systolic: [0, 400],
  diastolic: [0, 400],
  temperature: [10, 50],
  weight: [0, 700],
};

export function readVitals(body: Readonly<Record<string, unknown>>): Vitals {
  const entries = VITAL_NAMES.flatMap((name) => {
    const value = body[name];
    const [lowest, highest] = POSSIBLE[name];
    return typeof value === "number" && value >= lowest && value <= highest ? [[name, value] as const] : [];
  });
  return Object.fromEntries(entries);
}

/** Without the characters that turn text around or hide it. */
export function plain(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "").trim();
}

function round(share: number): number {
  return Math.round(Math.min(1, Math.max(0, share)) * 1e4) / 1e4;
}

// Files from one seat to the others, in pieces on the data channel. Relayed by the server and stored nowhere: the receiver
// has it in memory until the call is over, and saves it by its own choice.
//
//   offer {name, size, pieces} → piece {n, data} ... → end {}        back, when some are missing: again {pieces: [n]}
//
// The server leaves out pieces for a receiver whose line is full; that one asks for them again after `end`. Not here: the
// envelope (`exchange.ts`), choosing and saving (the elements).

export interface Transfer {
  readonly id: string;
  /** Null for one's own. */
  readonly from: string | null;
  /** When it was offered, ms since the epoch by this device. */
  readonly at: number;
  readonly name: string;
  readonly size: number;
  /** 0 to 1. */
  readonly progress: number;
  readonly status: "moving" | "done" | "failed";
  /** Where the received file can be saved from. */
  readonly url: string | null;
}

export interface FileHandlers {
  send(id: string, body: unknown, to?: string): boolean;
  backlog(): number;
  changed(): void;
  /** A file is offered by somebody. */
  arrived(): void;
}

/** Letters, prescriptions and photographs fit; an MRI series belongs into another system. */
export const FILE_BYTES_MAX = 10 * 1024 * 1024;
/** In base64 with its envelope under the server's 16 KiB. */
export const PIECE_BYTES = 11_250;
/** One piece after another at the server's 64 KiB a second. */
const PIECE_EVERY_MS = 260;
/** More unsent bytes than this, and the line is slower than that: wait, voices come first. */
const BACKLOG_MAX = 48 * 1024;
/** One's own files at the same time; the next has to wait for one to end. */
const SENDING_MAX = 3;
/** Others' unfinished files: bounds what strangers make this page hold in memory. */
const RECEIVING_MAX = 4;
/** Files listed in all, finished ones too. */
const LISTED_MAX = 50;
/** Nothing of a file for so long: its end was lost. After some in a row its sender is gone. */
const SILENCE_MS_MAX = 8000;
const SILENCES_MAX = 4;
/** Own files whose pieces may still be asked for again. */
const KEPT_MAX = 5;
/** Pieces asked for again at once, and how many times. */
const AGAIN_PIECES_MAX = 64;
const AGAIN_TIMES_MAX = 20;

interface Outgoing {
  readonly bytes: Uint8Array;
  readonly pieces: number;
  /** To be sent: first all of them to all, later what somebody misses. */
  queue: { n: number; to?: string }[];
}

interface Incoming {
  readonly from: string;
  readonly pieces: (Uint8Array<ArrayBuffer> | undefined)[];
  received: number;
  asked: number;
  silences: number;
  timer: ReturnType<typeof setTimeout> | undefined;
}

export class FileExchange {
  transfers: readonly Transfer[] = [];
  private readonly outgoing = new Map<string, Outgoing>();
  private readonly incoming = new Map<string, Incoming>();
  private timer: ReturnType<typeof setInterval> | undefined;
  /** What is read from a disk when the call ends belongs to no call any more. */
  private era = 0;

  constructor(private readonly handlers: FileHandlers) {}

  offer(file: File): boolean {
    const moving = this.transfers.filter(({ from, status }) => from === null && status === "moving");
    if (file.size === 0 || file.size > FILE_BYTES_MAX || moving.length >= SENDING_MAX) return false;
    const id = `f-${crypto.getRandomValues(new Uint32Array(2)).join("")}`;
    this.list({ id, from: null, at: Date.now(), name: fileName(file.name), size: file.size, progress: 0, status: "moving", url: null });
    const { era } = this;
    void file.arrayBuffer().then(
      (buffer) => era === this.era && this.begin(id, new Uint8Array(buffer)),
      () => this.update(id, { status: "failed" }),
    );
    return true;
  }

  handle(from: string, id: string, body: Readonly<Record<string, unknown>>): void {
    if (body.type === "offer") this.handleOffer(from, id, body);
    else if (body.type === "piece") this.handlePiece(from, id, body);
    else if (body.type === "end") this.askAgain(from, id);
    else if (body.type === "again") this.handleAgain(from, id, body.pieces);
  }

  clear(): void {
    this.era += 1;
    clearInterval(this.timer);
    this.timer = undefined;
    for (const { timer } of this.incoming.values()) clearTimeout(timer);
    for (const { url } of this.transfers) if (url !== null) URL.revokeObjectURL(url);
    this.outgoing.clear();
    this.incoming.clear();
    this.transfers = [];
  }

  private begin(id: string, bytes: Uint8Array): void {
    const pieces = Math.ceil(bytes.length / PIECE_BYTES);
    const name = this.transfers.find((transfer) => transfer.id === id)?.name;
    if (!this.handlers.send(id, { type: "offer", name, size: bytes.length, pieces })) {
      this.update(id, { status: "failed" });
      return;
    }
    const [oldest] = [...this.outgoing].filter(([, { queue }]) => queue.length === 0);
    if (oldest !== undefined && this.outgoing.size >= KEPT_MAX) this.outgoing.delete(oldest[0]);
    this.outgoing.set(id, { bytes, pieces, queue: Array.from({ length: pieces }, (_, n) => ({ n })) });
    this.timer ??= setInterval(() => this.sendPiece(), PIECE_EVERY_MS);
  }

  /** One piece of the first file that has any left, when the line takes it. */
  private sendPiece(): void {
    if (this.handlers.backlog() > BACKLOG_MAX) return;
    for (const [id, file] of this.outgoing) {
      const next = file.queue[0];
      if (next === undefined) continue;
      const data = toBase64(file.bytes.subarray(next.n * PIECE_BYTES, (next.n + 1) * PIECE_BYTES));
      if (!this.handlers.send(id, { type: "piece", n: next.n, data }, next.to)) return;
      file.queue.shift();
      if (next.to === undefined) this.update(id, { progress: (next.n + 1) / file.pieces });
      const [following] = file.queue;
      if (following !== undefined && following.to === next.to) return;
      this.handlers.send(id, { type: "end" }, next.to);
      if (next.to === undefined) this.update(id, { status: "done" });
      return;
    }
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private handleOffer(from: string, id: string, { name, size, pieces }: Readonly<Record<string, unknown>>): void {
    if (typeof name !== "string" || !isCount(size, FILE_BYTES_MAX) || this.incoming.size >= RECEIVING_MAX) return;
    if (pieces !== Math.ceil(size / PIECE_BYTES) || this.transfers.some((transfer) => transfer.id === id)) return;
    if (!this.list({ id, from, at: Date.now(), name: fileName(name), size, progress: 0, status: "moving", url: null })) return;
    this.incoming.set(id, { from, pieces: Array.from({ length: pieces }), received: 0, asked: 0, silences: 0, timer: undefined });
    this.watch(id);
    this.handlers.arrived();
    this.handlers.changed();
  }

  private handlePiece(from: string, id: string, { n, data }: Readonly<Record<string, unknown>>): void {
    const file = this.incoming.get(id);
    const transfer = this.transfers.find((other) => other.id === id);
    if (file === undefined || transfer === undefined || file.from !== from || typeof data !== "string") return;
    if (typeof n !== "number" || !Number.isInteger(n) || n < 0 || n >= file.pieces.length || file.pieces[n] !== undefined) return;
    const bytes = fromBase64(data);
    if (bytes?.length !== Math.min(PIECE_BYTES, transfer.size - n * PIECE_BYTES)) return;
    file.pieces[n] = bytes;
    file.received += 1;
    file.silences = 0;
    this.watch(id);
    if (file.received < file.pieces.length) this.update(id, { progress: file.received / file.pieces.length });
    else this.finish(id, file);
  }

  private finish(id: string, file: Incoming): void {
    this.forget(id, file);
    // Never as what its sender says it is: a page among pictures would run with this page's rights.
    const blob = new Blob(file.pieces as Uint8Array<ArrayBuffer>[], { type: "application/octet-stream" });
    this.update(id, { progress: 1, status: "done", url: URL.createObjectURL(blob) });
  }

  private askAgain(from: string, id: string): void {
    const file = this.incoming.get(id);
    if (file === undefined || file.from !== from) return;
    const missing = file.pieces.flatMap((piece, n) => (piece === undefined ? [n] : [])).slice(0, AGAIN_PIECES_MAX);
    file.asked += 1;
    if (file.asked > AGAIN_TIMES_MAX) this.fail(id);
    else this.handlers.send(id, { type: "again", pieces: missing }, from);
  }

  private handleAgain(to: string, id: string, pieces: unknown): void {
    const file = this.outgoing.get(id);
    if (file === undefined || !Array.isArray(pieces) || pieces.length > AGAIN_PIECES_MAX) return;
    // A second wish of the same seat replaces the first: bounds the queue by the number of seats.
    file.queue = file.queue.filter((item) => item.to !== to);
    for (const n of new Set(pieces)) if (typeof n === "number" && n >= 0 && n < file.pieces) file.queue.push({ n, to });
    this.timer ??= setInterval(() => this.sendPiece(), PIECE_EVERY_MS);
  }

  private watch(id: string): void {
    const file = this.incoming.get(id);
    if (file === undefined) return;
    clearTimeout(file.timer);
    file.timer = setTimeout(() => this.handleSilence(id, file), SILENCE_MS_MAX);
  }

  private handleSilence(id: string, file: Incoming): void {
    file.silences += 1;
    if (file.silences > SILENCES_MAX) {
      this.fail(id);
      return;
    }
    this.askAgain(file.from, id);
    this.watch(id);
  }

  private fail(id: string): void {
    const file = this.incoming.get(id);
    if (file !== undefined) this.forget(id, file);
    this.update(id, { status: "failed" });
  }

  private forget(id: string, file: Incoming): void {
    clearTimeout(file.timer);
    this.incoming.delete(id);
  }

  private list(transfer: Transfer): boolean {
    if (this.transfers.length >= LISTED_MAX) return false;
    this.transfers = [...this.transfers, transfer];
    this.handlers.changed();
    return true;
  }

  private update(id: string, change: Partial<Transfer>): void {
    this.transfers = this.transfers.map((transfer) => (transfer.id === id ? { ...transfer, ...change } : transfer));
    this.handlers.changed();
  }
}

function isCount(value: unknown, max: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value > 0 && value <= max;
}

/** A name and nothing that a system would take for a path, a command or the end of a line. */
export function fileName(name: string): string {
  const clean = name.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069"*/:<>?\\|]/g, "_").replace(/^\.+/, "");
  return clean.length <= 100 ? clean || "file" : `${clean.slice(0, 80)}…${clean.slice(-19)}`;
}

function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    const decoded = atob(text);
    return Uint8Array.from(decoded, (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}

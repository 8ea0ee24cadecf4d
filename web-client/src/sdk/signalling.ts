// The socket to the server: joins, resumes by ticket after a loss, acknowledges what it read, notices silence.
//
// Knows nothing of media or of the call's state. Commands given while the socket is away are kept (bounded) and sent
// after the resumption; facts that age (offers, sizes, what is sent) are not: whoever owns them sends the current ones.

import { VERSION } from "../protocol/generated.ts";
import type { ClientMessage, ServerEnvelope, ServerMessage } from "../protocol/generated.ts";

/** The first pause is short because most losses are; the last keeps a waking server from a thousand pages at once. */
const RETRY_MS = [100, 400, 800, 1200, 2000] as const;
/**
 * An attempt that has not opened by then is given up: behind a dead network TCP would wait ever longer itself. Each
 * that timed out gives the next one longer, because TCP, TLS and the upgrade over a satellite take seconds.
 */
const OPEN_MS_MAX = [2500, 5000, 10_000, 15_000] as const;
/** Silence longer than this is worth a ping; shorter would keep a phone's radio awake. */
const PING_EVERY_MS = 10_000;
/** A pong later than this means a dead socket; lower cuts satellite links off (600 ms and queues). */
const PONG_MS_MAX = 4000;
/** Reading is acknowledged after this pause, so that a burst costs one message. */
const ACK_MS = 500;
/** Commands kept while the socket is away; a person cannot press more buttons than that and mean it. */
const PENDING_MAX = 32;

export interface SignallingHandlers {
  message(message: ServerMessage): void;
  /** The socket is open and the server took the session (`resumed`: with everything that was missed following). */
  open(resumed: boolean): void;
  lost(): void;
}

export type SocketFactory = (url: string) => WebSocket;

export class Signalling {
  private socket: WebSocket | null = null;
  private ticket: string | null = null;
  private received = 0;
  private acknowledged = 0;
  private attempts = 0;
  /** Attempts in a row that did not open in their time. */
  private timeouts = 0;
  private pingId = 0;
  private ready = false;
  private closed = false;
  private pending: ClientMessage[] = [];
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private openTimer: ReturnType<typeof setTimeout> | undefined;
  private pingTimer: ReturnType<typeof setTimeout> | undefined;
  private pongTimer: ReturnType<typeof setTimeout> | undefined;
  private ackTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly url: string,
    private readonly session: string,
    private readonly handlers: SignallingHandlers,
    private readonly openSocket: SocketFactory = (url) => new WebSocket(url),
  ) {}

  connect(): void {
    if (this.closed) return;
    this.drop();
    const socket = this.openSocket(this.url);
    this.socket = socket;
    this.openTimer = setTimeout(() => this.handleOpenTimeout(socket), step(OPEN_MS_MAX, this.timeouts));
    socket.onopen = () => this.handleOpen(socket);
    socket.onmessage = (event) => this.handleText(socket, String(event.data));
    socket.onclose = () => this.handleLoss(socket);
  }

  /** True when it went out now. */
  send(message: ClientMessage): boolean {
    if (!this.ready || this.socket?.readyState !== OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** For what a person decided: kept and sent later when the socket is away. */
  command(message: ClientMessage): void {
    if (!this.send(message) && this.pending.length < PENDING_MAX) this.pending.push(message);
  }

  /** Asks at once whether the server is there; a dead socket is replaced `waitMs` later. */
  probe(waitMs: number): void {
    if (this.closed) return;
    if (!this.ready) {
      if (this.retryTimer !== undefined) this.retryNow();
      return;
    }
    this.ping(waitMs);
  }

  /** The network is known to be back (or another one): the old socket is not worth waiting for. */
  retryNow(): void {
    if (this.closed) return;
    this.attempts = this.timeouts = 0;
    if (this.ready) this.probe(1000);
    else this.connect();
  }

  close(): void {
    this.closed = true;
    const socket = this.socket;
    this.drop();
    socket?.close(1000);
  }

  private handleOpen(socket: WebSocket): void {
    if (socket !== this.socket) return;
    const resume = this.ticket === null ? {} : { resume: { ticket: this.ticket, received: this.received } };
    const join: ClientMessage = { type: "join", version: VERSION, session: this.session, ...resume };
    socket.send(JSON.stringify(join));
  }

  private handleOpenTimeout(socket: WebSocket): void {
    this.timeouts += 1;
    // It has waited long enough already: on a network that is just coming back, a pause on top would be felt.
    this.handleLoss(socket, 0);
  }

  private handleText(socket: WebSocket, text: string): void {
    if (socket !== this.socket) return;
    const envelope = parseEnvelope(text);
    if (envelope === null) return;
    this.restartPing();
    if (envelope.type === "pong") {
      clearTimeout(this.pongTimer);
      this.pongTimer = undefined;
      return;
    }
    if (envelope.type === "welcome") this.received = 0;
    if (envelope.seq > 0) {
      if (envelope.seq <= this.received) return;
      this.received = envelope.seq;
      this.ackTimer ??= setTimeout(() => this.acknowledge(), ACK_MS);
    }
    this.handleMessage(envelope);
  }

  private handleMessage(envelope: ServerEnvelope): void {
    const joined = envelope.type === "welcome" || envelope.type === "resumed";
    if (joined) {
      this.ticket = envelope.ticket;
      this.attempts = this.timeouts = 0;
      this.ready = true;
      clearTimeout(this.openTimer);
    }
    if (envelope.type === "error" && envelope.code === "too_many") this.attempts = RETRY_MS.length;
    if (isFinal(envelope)) this.closed = true;
    this.handlers.message(envelope);
    if (!joined) return;
    this.handlers.open(envelope.type === "resumed");
    for (const message of this.pending.splice(0)) this.send(message);
  }

  private handleLoss(socket: WebSocket, pauseMax = Infinity): void {
    if (socket !== this.socket) return;
    this.drop();
    if (this.closed) return;
    this.handlers.lost();
    const pause = Math.min(step(RETRY_MS, this.attempts), pauseMax);
    this.attempts += 1;
    this.retryTimer = setTimeout(() => this.connect(), pause);
  }

  private acknowledge(): void {
    this.ackTimer = undefined;
    if (this.acknowledged !== this.received && this.send({ type: "ack", received: this.received })) {
      this.acknowledged = this.received;
    }
  }

  private restartPing(): void {
    clearTimeout(this.pingTimer);
    this.pingTimer = setTimeout(() => this.ping(PONG_MS_MAX), PING_EVERY_MS);
  }

  private ping(waitMs: number): void {
    const socket = this.socket;
    if (socket === null || this.pongTimer !== undefined) return;
    this.pingId += 1;
    this.send({ type: "ping", id: this.pingId });
    this.pongTimer = setTimeout(() => this.handleLoss(socket), waitMs);
  }

  private drop(): void {
    for (const timer of [this.retryTimer, this.openTimer, this.pingTimer, this.pongTimer, this.ackTimer]) {
      clearTimeout(timer);
    }
    this.retryTimer = this.pongTimer = this.ackTimer = undefined;
    this.ready = false;
    const socket = this.socket;
    this.socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

/** `WebSocket.OPEN`, by value, because tests run where there is no WebSocket. */
const OPEN = 1;

/** The value for this many failures; the last one for all that follow. */
function step(values: readonly [number, ...number[]], failures: number): number {
  return values[Math.min(failures, values.length - 1)] ?? values[0];
}

const FINAL_TYPES: readonly ServerMessage["type"][] = ["replaced", "moved_device", "removed", "declined", "ended"];

function isFinal(message: ServerMessage): boolean {
  if (message.type === "error") return message.code === "bad_session" || message.code === "bad_version";
  return FINAL_TYPES.includes(message.type) || (message.type === "next" && message.token !== null);
}

/** Null for anything that is not an envelope: a broken proxy's text must not break the page. */
export function parseEnvelope(text: string): ServerEnvelope | null {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return null;
    const { type, seq } = value as Record<string, unknown>;
    return typeof type === "string" && typeof seq === "number" ? (value as ServerEnvelope) : null;
  } catch {
    return null;
  }
}

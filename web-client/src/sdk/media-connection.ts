// The one module that touches RTCPeerConnection: one connection, one offer and answer at join, ICE restarts after that.
//
//   sections of the offer:  microphone | camera (simulcast) | screen | slot 0 audio, video | slot 1 audio, video | ...
//
// Senders start with a null track and are filled by `replaceTrack`, so changing a device or muting negotiates nothing.
// Receive slots are pairs; the server says in `slots` whose media is on which. It offers only when `send` can reach
// the server; the server has a public address and all its candidates in the answer (ICE-lite), so nothing is trickled.

import type { ClientMessage, MediaSource, MediaState, SenderInfo } from "../protocol/generated.ts";

/** A receive slot: what an element plays. The stream lives as long as the connection. */
export interface ReceiveSlot {
  readonly index: number;
  readonly stream: MediaStream;
}

export type MediaStatus = "connecting" | "connected" | "interrupted";

export interface MediaHandlers {
  /** False when the socket is away; the connection offers again after `handleSocketOpen`. */
  send(message: ClientMessage): boolean;
  status(status: MediaStatus): void;
  /** Slots were added, or all of them are new after a fresh connection. */
  slots(slots: readonly ReceiveSlot[]): void;
  /** Text on the data channel. */
  data(text: string): void;
  /** The connection is interrupted: is the socket still alive? */
  probeSocket(): void;
}

/** Pairs in the first offer: a patient, a professional and two more without negotiating again. */
export const SLOTS_INITIAL = 4;
/** Bounds what a wrong roster can make a phone decode. */
export const SLOTS_MAX = 12;
/** Browsers leave `disconnected` by themselves after a short gap; a restart before that would cost a round trip. */
const INTERRUPTED_MS_MAX = 2000;
/** An unanswered offer is sent again; lower would double offers over a satellite. */
const ANSWER_MS_MAX = 4000;
/** While nothing is heard, try again this often. */
const RESTART_EVERY_MS = 4000;
/** After this many restarts in vain the connection is made anew. */
const RESTARTS_MAX = 3;

/** Low, middle, high: 720p30 speech looks good at 1.7 Mbit/s, and a third of that is enough for each step down. */
const CAMERA_ENCODINGS: RTCRtpEncodingParameters[] = [
  { rid: "q", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "h", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "f", scaleResolutionDownBy: 1, maxBitrate: 1_700_000 },
];
const SCREEN_BITRATE_MAX = 2_500_000;
/** Letters need no more pictures than that; an ultrasound does. */
const SCREEN_FRAMERATE_MAX = { detail: 15, motion: 30 };

/** How the act wants media: what the shared screen is tuned for, and whether delay counts more than smoothness. */
export interface ConnectionHints {
  readonly motion: boolean;
  readonly lowDelay: boolean;
}

export class MediaConnection {
  private connection: RTCPeerConnection | null = null;
  private readonly transceivers = new Map<MediaSource, RTCRtpTransceiver>();
  private readonly tracks = new Map<MediaSource, MediaStreamTrack | null>();
  private slotTransceivers: Array<[RTCRtpTransceiver, RTCRtpTransceiver]> = [];
  private receiveSlots: ReceiveSlot[] = [];
  private channel: RTCDataChannel | null = null;
  private hints: ConnectionHints = { motion: false, lowDelay: false };
  private offerId = 0;
  private awaiting: number | null = null;
  private offerDue = false;
  private offering = false;
  /** An offer found no socket. Until there is one, nothing is tried: the old path may come back by itself meanwhile. */
  private unsent = false;
  private restarts = 0;
  private interruptedTimer: ReturnType<typeof setTimeout> | undefined;
  private answerTimer: ReturnType<typeof setTimeout> | undefined;
  private restartTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly handlers: MediaHandlers,
    private readonly create: () => RTCPeerConnection = () => new RTCPeerConnection({ bundlePolicy: "max-bundle" }),
    private readonly codecs: VideoCodec[] = preferredVideoCodecs(),
  ) {}

  get slots(): readonly ReceiveSlot[] {
    return this.receiveSlots;
  }

  /** For statistics and tests; null before the seat is admitted. */
  get native(): RTCPeerConnection | null {
    return this.connection;
  }

  /** Makes the connection and offers. Called again, it starts from nothing with the same local tracks. */
  start(slots = Math.max(SLOTS_INITIAL, this.receiveSlots.length)): void {
    this.stop();
    const connection = this.create();
    this.connection = connection;
    connection.onconnectionstatechange = () => this.handleConnectionState(connection);
    connection.oniceconnectionstatechange = () => this.handleConnectionState(connection);
    this.channel = connection.createDataChannel("colloque", { ordered: true });
    this.channel.onmessage = ({ data }) => typeof data === "string" && this.handlers.data(data);
    this.addSender(connection, "microphone", {});
    this.addSender(connection, "camera", { sendEncodings: cameraEncodings(this.codecs) });
    this.addSender(connection, "screen", { sendEncodings: [this.screenEncoding()] });
    this.addSlots(slots);
    this.handlers.status("connecting");
    this.offer(false);
  }

  stop(): void {
    for (const timer of [this.interruptedTimer, this.answerTimer, this.restartTimer]) clearTimeout(timer);
    this.interruptedTimer = this.answerTimer = this.restartTimer = undefined;
    this.awaiting = null;
    this.offerDue = this.offering = this.unsent = false;
    this.restarts = 0;
    this.transceivers.clear();
    this.slotTransceivers = [];
    this.receiveSlots = [];
    const connection = this.connection;
    this.connection = this.channel = null;
    connection?.close();
  }

  /** On the data channel; false while it is not open. */
  sendData(text: string): boolean {
    if (this.channel?.readyState !== "open") return false;
    this.channel.send(text);
    return true;
  }

  /** Bytes given to the data channel that have not left yet. */
  get dataBacklog(): number {
    return this.channel?.bufferedAmount ?? 0;
  }

  /** Fills or empties a sending section; nothing is negotiated. */
  async setTrack(source: MediaSource, track: MediaStreamTrack | null): Promise<void> {
    this.tracks.set(source, track);
    await this.transceivers.get(source)?.sender.replaceTrack(track);
  }

  /** Before `start`; what stands already keeps what it has. */
  setHints(hints: ConnectionHints): void {
    this.hints = hints;
  }

  private screenEncoding(): RTCRtpEncodingParameters {
    const maxFramerate = SCREEN_FRAMERATE_MAX[this.hints.motion ? "motion" : "detail"];
    return { maxBitrate: SCREEN_BITRATE_MAX, maxFramerate };
  }

  /** The room grew: adds receive slots and offers again. */
  ensureSlots(count: number): void {
    const wanted = Math.min(count, SLOTS_MAX);
    if (this.connection === null || wanted <= this.receiveSlots.length) return;
    this.addSlots(wanted - this.receiveSlots.length);
    this.offer(false);
  }

  async handleAnswer(id: number, sdp: string): Promise<void> {
    const connection = this.connection;
    if (connection === null || id !== this.awaiting) return;
    this.awaiting = null;
    clearTimeout(this.answerTimer);
    try {
      await connection.setRemoteDescription({ type: "answer", sdp });
    } catch {
      if (connection === this.connection) this.start();
      return;
    }
    if (this.offerDue && connection === this.connection) this.offer(false);
  }

  handleOfferRefused(id: number): void {
    if (id !== this.awaiting) return;
    this.awaiting = null;
    clearTimeout(this.answerTimer);
    this.scheduleRestart();
  }

  handleMediaState(state: MediaState): void {
    if (this.connection === null) return;
    if (state === "silent") this.restartIce();
    if (state === "gone") this.start();
  }

  /** The socket is back: what was asked in vain is asked again. */
  handleSocketOpen(): void {
    const connection = this.connection;
    if (connection === null) return;
    this.unsent = false;
    if (this.awaiting !== null || this.offerDue) {
      // The answer may be among the messages that follow a resumption; give it a moment before asking again.
      clearTimeout(this.answerTimer);
      this.answerTimer = setTimeout(() => this.offer(!isConnected(connection)), this.awaiting === null ? 0 : 500);
    } else if (!isConnected(connection)) {
      this.restartIce();
    }
  }

  /** Another network, or the old one again: its addresses are new in any case. */
  handleNetworkChange(): void {
    if (this.connection !== null && this.awaiting === null) this.restartIce();
  }

  restartIce(): void {
    if (this.connection === null) return;
    this.scheduleRestart();
    if (!this.unsent) this.offer(true);
  }

  private addSender(connection: RTCPeerConnection, source: MediaSource, init: RTCRtpTransceiverInit): void {
    const kind = source === "microphone" ? "audio" : "video";
    const transceiver = connection.addTransceiver(kind, { direction: "sendonly", ...init });
    if (kind === "video") preferCodecs(transceiver, this.codecs);
    this.transceivers.set(source, transceiver);
    const track = this.tracks.get(source);
    if (track) void transceiver.sender.replaceTrack(track);
  }

  private addSlots(count: number): void {
    const connection = this.connection;
    if (connection === null) return;
    for (let added = 0; added < count; added += 1) {
      const audio = connection.addTransceiver("audio", { direction: "recvonly" });
      const video = connection.addTransceiver("video", { direction: "recvonly" });
      if (this.hints.lowDelay) for (const { receiver } of [audio, video]) shortenBuffer(receiver);
      const stream = new MediaStream([audio.receiver.track, video.receiver.track]);
      this.slotTransceivers.push([audio, video]);
      this.receiveSlots = [...this.receiveSlots, { index: this.receiveSlots.length, stream }];
    }
    this.handlers.slots(this.receiveSlots);
  }

  private offer(restart: boolean): void {
    const connection = this.connection;
    if (connection === null) return;
    if (restart) connection.restartIce();
    if (this.offering || (this.awaiting !== null && !restart)) {
      this.offerDue = true;
      return;
    }
    this.offering = true;
    this.offerDue = false;
    this.createOffer(connection)
      .catch(() => {
        if (connection === this.connection) this.start();
      })
      .finally(() => {
        if (connection === this.connection) this.offering = false;
      });
  }

  private async createOffer(connection: RTCPeerConnection): Promise<void> {
    // An offer that was never answered is replaced by the new one, which a second setLocalDescription does.
    await connection.setLocalDescription(await connection.createOffer());
    if (connection !== this.connection) return;
    this.offerId += 1;
    const sdp = connection.localDescription?.sdp ?? "";
    const sent = this.handlers.send({ type: "offer", id: this.offerId, sdp, senders: this.senders() });
    this.awaiting = sent ? this.offerId : null;
    this.offerDue = this.unsent = !sent;
    clearTimeout(this.answerTimer);
    if (sent) this.answerTimer = setTimeout(() => this.handleNoAnswer(), ANSWER_MS_MAX);
  }

  private handleNoAnswer(): void {
    this.awaiting = null;
    this.handlers.probeSocket();
    this.offer(this.connection !== null && !isConnected(this.connection));
  }

  private senders(): SenderInfo[] {
    const senders: SenderInfo[] = [];
    for (const [source, transceiver] of this.transceivers) {
      if (transceiver.mid !== null) senders.push({ mid: transceiver.mid, source });
    }
    return senders;
  }

  private handleConnectionState(connection: RTCPeerConnection): void {
    if (connection !== this.connection) return;
    if (isConnected(connection)) this.handleConnected();
    else if (connection.iceConnectionState === "disconnected") this.handleInterrupted();
    else if (connection.connectionState === "failed" || connection.iceConnectionState === "failed") this.handleFailed();
  }

  private handleConnected(): void {
    clearTimeout(this.interruptedTimer);
    clearTimeout(this.restartTimer);
    this.interruptedTimer = this.restartTimer = undefined;
    this.restarts = 0;
    this.handlers.status("connected");
  }

  private handleInterrupted(): void {
    this.handlers.status("interrupted");
    this.handlers.probeSocket();
    this.interruptedTimer ??= setTimeout(() => {
      this.interruptedTimer = undefined;
      this.restartIce();
    }, INTERRUPTED_MS_MAX);
  }

  private handleFailed(): void {
    this.handlers.status("interrupted");
    this.handlers.probeSocket();
    if (this.restarts >= RESTARTS_MAX && !this.unsent) this.start();
    else this.restartIce();
  }

  /** Tries again until the connection stands; a restart whose answer was lost must not be the last one. */
  private scheduleRestart(): void {
    clearTimeout(this.restartTimer);
    this.restartTimer = setTimeout(() => {
      const connection = this.connection;
      if (connection === null || isConnected(connection)) return;
      if (!this.unsent) this.restarts += 1;
      this.handleFailed();
    }, RESTART_EVERY_MS);
  }
}

/** The shortest buffer that the browser thinks it can play from; more stalls, and hands that follow what is said. */
function shortenBuffer(receiver: RTCRtpReceiver): void {
  const name = "jitterBufferTarget" in receiver ? "jitterBufferTarget" : "playoutDelayHint";
  if (name in receiver) Object.assign(receiver, { [name]: 0 });
}

function isConnected(connection: RTCPeerConnection): boolean {
  const ice = connection.iceConnectionState;
  return connection.connectionState === "connected" && (ice === "connected" || ice === "completed");
}

type VideoCodec = ReturnType<typeof RTCRtpSender.getCapabilities> extends infer C
  ? NonNullable<C> extends { codecs: Array<infer Codec> }
    ? Codec
    : never
  : never;

const CODEC_ORDER = ["video/vp8", "video/h264", "video/vp9", "video/av1"];

/** VP8 first because every browser and device decodes it; retransmission and the like follow unchanged. */
export function orderCodecs<Codec extends { mimeType: string }>(codecs: readonly Codec[]): Codec[] {
  const rank = ({ mimeType }: Codec) => {
    const place = CODEC_ORDER.indexOf(mimeType.toLowerCase());
    return place < 0 ? CODEC_ORDER.length : place;
  };
  return [...codecs].sort((one, other) => rank(one) - rank(other));
}

function preferredVideoCodecs(): VideoCodec[] {
  if (typeof RTCRtpSender === "undefined") return [];
  return orderCodecs(RTCRtpSender.getCapabilities("video")?.codecs ?? []);
}

/** VP9 and AV1 send a single layer unless each encoding names its mode; VP8 and H.264 must not be given one. */
export function cameraEncodings(codecs: readonly { mimeType: string }[]): RTCRtpEncodingParameters[] {
  const first = codecs[0]?.mimeType.toLowerCase();
  const scalable = first === "video/vp9" || first === "video/av1";
  return CAMERA_ENCODINGS.map((encoding) => (scalable ? { ...encoding, scalabilityMode: "L1T3" } : { ...encoding }));
}

function preferCodecs(transceiver: RTCRtpTransceiver, codecs: VideoCodec[]): void {
  if (codecs.length === 0) return;
  try {
    transceiver.setCodecPreferences(codecs);
  } catch {
    // A browser that refuses the list keeps its own order; the server answers with VP8 when it is there.
  }
}

// A call without a user interface: the state, the commands a person can give, the local tracks and the receive slots.
//
//   const call = new Call({ baseUrl: location.origin });
//   call.addEventListener("state", () => render(call.state));
//   await call.exchange(token);          // phase: preview
//   await call.openDevices();            // optional: local.microphone, local.camera
//   call.enter();                        // phase: gates and waiting, then joining, then in_call
//   call.answer({ gate: "consent", text: "1", accepted: true });
//
// It wires `Signalling`, `MediaConnection` and `reduce` together and decides nothing about looks. Events: "state" after
// every change, "local" when a local track or its problem changed, "slots" when the receive streams are other ones,
// "exchange" when a message, file, point or vital sign came or went.

import type { ClientMessage, GateAnswer, HandOverReason, MediaHints, MediaSource, Role, ServerMessage } from "../protocol/generated.ts";
import { INITIAL_STATE, couldTakeOver, isHost, isOver, othersPresent, reduce, slotsNeeded, speaksByPhone } from "./call-state.ts";
import type { CallEvent, CallState, Passing, SessionFacts } from "./call-state.ts";
import { facesAway, isHandheld, openBoth, openCamera, openMicrophone, openRearCamera, openScreen } from "./devices.ts";
import type { DeviceChoice, DeviceProblem, Opened } from "./devices.ts";
import { Exchange } from "./exchange.ts";
import { MediaConnection, type ReceiveSlot } from "./media-connection.ts";
import { judge, readStats, type Reading } from "./quality.ts";
import { JoinRefused, exchangeToken, loginAddress, socketAddress, type Session } from "./session.ts";
import { Signalling, type SocketFactory } from "./signalling.ts";

export interface CallOptions {
  readonly baseUrl: string;
  readonly fetcher?: typeof fetch;
  readonly openSocket?: SocketFactory;
  readonly createConnection?: () => RTCPeerConnection;
}

/** One local source: what is open, whether it is meant to be heard or seen, and what went wrong. */
export interface LocalSource {
  readonly track: MediaStreamTrack | null;
  readonly on: boolean;
  readonly problem: DeviceProblem | null;
}

const CLOSED: LocalSource = { track: null, on: false, problem: null };
/** How often the connection's quality is judged: often enough to help, seldom enough not to flicker. */
const QUALITY_EVERY_MS = 4000;
/** So long a page must have been good before the voice is offered back to it: a shorter spell is often none. */
const STEADY_MS = 20_000;
/** A socket that comes back knows of no telephone until it is told again: not so soon is the microphone on. */
const BACK_MS = 500;

export class Call extends EventTarget {
  state: CallState = INITIAL_STATE;
  local: Readonly<Record<MediaSource, LocalSource>> = { microphone: CLOSED, camera: CLOSED, screen: CLOSED };
  /** In phase `next`: the call that goes on, with the same devices and nothing else of this one; `token` is for it. */
  following: { readonly call: Call; readonly token: string } | null = null;
  /** Messages, files, pointing and vital signs; event "exchange". */
  readonly exchanges: Exchange;
  private session: Session | null = null;
  private token: string | null = null;
  private hinted = false;
  private exchangedAgain = false;
  private watching = false;
  private signalling: Signalling | null = null;
  private readonly media: MediaConnection;
  private readonly views = new Map<number, { width: number; height: number }>();
  private qualityTimer: ReturnType<typeof setInterval> | undefined;
  private backTimer: ReturnType<typeof setTimeout> | undefined;
  private steadyTimer: ReturnType<typeof setTimeout> | undefined;
  /** The microphone was on when the telephone took over: it is on again when the telephone has left. */
  private spokeBefore = false;
  private lastReading: Reading | null = null;
  private readonly listening = new AbortController();

  constructor(private readonly options: CallOptions) {
    super();
    this.exchanges = new Exchange(
      { send: (text) => this.media.sendData(text), backlog: () => this.media.dataBacklog },
      () => this.dispatchEvent(new Event("exchange")),
    );
    this.media = new MediaConnection(
      {
        send: (message) => this.signalling?.send(message) ?? false,
        status: (media) => this.apply({ kind: "media", media }),
        slots: () => this.dispatchEvent(new Event("slots")),
        data: (text) => this.exchanges.handle(text),
        probeSocket: () => this.signalling?.probe(1500),
      },
      options.createConnection,
    );
  }

  get slots(): readonly ReceiveSlot[] {
    return this.media.slots;
  }

  /** The session, for a page that wants to survive a reload. */
  get credentials(): Session | null {
    const { consentText } = this.state;
    return this.session === null ? null : { ...this.session, ...(consentText === null ? {} : { consentText }) };
  }

  /** The browser's own connection, for statistics; null before admission. */
  get nativeConnection(): RTCPeerConnection | null {
    return this.media.native;
  }

  async exchange(token: string): Promise<void> {
    this.token = token;
    try {
      this.useSession(await exchangeToken(this.options.baseUrl, token, this.options.fetcher));
    } catch (error) {
      this.apply({ kind: "failed", reason: error instanceof JoinRefused ? error.reason : "unreachable" });
    }
  }

  /** A session that the embedding page already holds; `token` lets it be renewed once when it has expired. */
  useSession(session: Session, token: string | null = this.token): void {
    this.session = session;
    this.token = token;
    const { seat, role, consultation, language, consentText }: SessionFacts = session;
    this.apply({ kind: "session", facts: { seat, role, consultation, language, consentText } });
  }

  fail(reason: NonNullable<CallState["failure"]>): void {
    this.apply({ kind: "failed", reason });
  }

  async openDevices(choice: DeviceChoice = {}): Promise<void> {
    const { microphone, camera } = await openBoth(choice);
    this.replaceLocal("microphone", microphone, true);
    this.replaceLocal("camera", camera, true);
  }

  /** Opens the socket and takes the seat. */
  enter(): void {
    if (this.session === null || this.signalling !== null) return;
    this.apply({ kind: "entering" });
    const url = socketAddress(this.options.baseUrl, this.session.ws_url);
    this.signalling = new Signalling(
      url,
      this.session.session,
      {
        message: (message) => this.handleMessage(message),
        open: (resumed) => this.handleOpen(resumed),
        lost: () => this.apply({ kind: "socket", open: false }),
      },
      this.options.openSocket,
    );
    if (!this.watching) this.watchNetwork();
    this.signalling.connect();
  }

  async setMicrophone(on: boolean, device?: string): Promise<void> {
    await this.setSource("microphone", on, device, openMicrophone);
  }

  async setCamera(on: boolean, device?: string): Promise<void> {
    await this.setSource("camera", on, device, openCamera);
  }

  async setScreen(on: boolean): Promise<void> {
    const hint = this.state.hints?.screen === "motion" ? "motion" : "detail";
    await this.setSource("screen", on, undefined, () => openScreen(hint));
  }

  /** The size a slot is shown at, in device pixels; 0 by 0 when it is hidden. */
  setView(slot: number, width: number, height: number): void {
    const view = { width: pixels(width), height: pixels(height) };
    const before = this.views.get(slot);
    if (before?.width === view.width && before.height === view.height) return;
    this.views.set(slot, view);
    if (this.state.slots.some((info) => info.slot === slot)) this.signalling?.send({ type: "view", slot, ...view });
  }

  /** Admits whom the roster showed there (its `arrival`): nobody who opened the link on another device since. */
  admit(seat: string, arrival = this.state.seats.find((info) => info.seat === seat)?.arrival): void {
    this.command(arrival == null ? { type: "admit", seat } : { type: "admit", seat, arrival });
  }

  remove(seat: string): void {
    this.command({ type: "remove", seat });
  }

  mute(seat: string, source: MediaSource, muted: boolean): void {
    this.command({ type: "mute", seat, source, muted });
    if (source === "microphone") this.apply({ kind: "silenced", seat, silenced: muted });
  }

  /** Answers a question before media. Refusing consent, or choosing anything but video, closes the seat for good. */
  answer(answer: GateAnswer): void {
    this.command({ type: "gate", answer });
    if (!isRefusal(answer)) this.apply({ kind: "answered", gate: answer.gate });
  }

  /** Consent may be withdrawn at any time; the seat closes for good. */
  withdrawConsent(): void {
    this.answer({ gate: "consent", text: this.state.consentText ?? "1", accepted: false });
  }

  /** Where the professional logs in, or null when the server does not say; this page must be left for it. */
  loginAddress(): Promise<string | null> {
    if (this.session === null) return Promise.resolve(null);
    return loginAddress(this.options.baseUrl, this.session.session, this.options.fetcher);
  }

  lock(locked: boolean): void {
    this.command({ type: "lock", locked });
  }

  /** The answer is `state.invited`, with the link to give to the person. */
  invite(role: Role, name: string): void {
    const display_name = name.trim();
    this.command({ type: "invite", role, ...(display_name === "" ? {} : { display_name }) });
  }

  handOver(to: string, reason: HandOverReason): void {
    this.command({ type: "hand_over", to, reason });
  }

  setAside(on: boolean): void {
    this.command({ type: "aside", on });
  }

  /** Ends this consultation for the next one of the queue: phase `next` and `following`, or `state.next` is `nobody`. */
  nextPatient(): void {
    this.command({ type: "next" });
    this.apply({ kind: "asked_next" });
  }

  /** The person has read it: it goes from the state. `seat`: whose telephone, for `phone`. */
  dismiss(what: Passing, seat: string | null = this.state.seat): void {
    this.apply({ kind: "read", what, seat });
  }

  /**
   * Has a seat's telephone called: one's own, or as a host another's. `encryptionEnds`: the host agrees that end-to-end encryption ends
   * with it; lets one in that waits for that already. How it goes is in `state.phones`.
   */
  callPhone(seat: string | null = this.state.seat, encryptionEnds = false): void {
    if (seat !== null) this.command({ type: "call", seat, encryption_ends: encryptionEnds });
  }

  /** Calls the call off, or hangs up; when it is one's own telephone in the room, this page takes over again. */
  hangUpPhone(seat: string | null = this.state.seat): void {
    if (seat !== null) this.command({ type: "hang_up", seat });
  }

  endForEveryone(): void {
    this.command({ type: "end" });
  }

  leave(): void {
    this.signalling?.send({ type: "leave" });
    this.apply({ kind: "left" });
  }

  /** Lets go of everything; the seat is kept by the server for its grace period. */
  close(): void {
    this.listening.abort();
    clearInterval(this.qualityTimer);
    clearTimeout(this.steadyTimer);
    clearTimeout(this.backTimer);
    this.signalling?.close();
    this.media.stop();
    this.exchanges.clear();
    for (const source of Object.values(this.local)) source.track?.stop();
    this.local = { microphone: CLOSED, camera: CLOSED, screen: CLOSED };
    this.dispatchEvent(new Event("local"));
  }

  private command(message: ClientMessage): void {
    this.signalling?.command(message);
  }

  private handleMessage(message: ServerMessage): void {
    if (message.type === "error" && message.code === "bad_session" && this.renewSession()) return;
    if (message.type === "next" && message.token !== null) this.prepareFollowing(message.token);
    this.apply({ kind: "server", message });
    switch (message.type) {
      case "welcome":
        this.followHints(message.media);
        if (message.admitted) this.media.start();
        else this.media.stop();
        break;
      case "admitted":
        this.media.start();
        break;
      case "answer":
        void this.media.handleAnswer(message.id, message.sdp);
        break;
      case "media":
        this.media.handleMediaState(message.state);
        break;
      case "roster":
        this.media.ensureSlots(slotsNeeded(this.state));
        break;
      case "slots":
        this.sendViews();
        break;
      case "muted":
        if (message.muted) void this.setSource(message.source, false);
        break;
      case "error":
        if (message.id != null) this.media.handleOfferRefused(message.id);
        break;
    }
  }

  private handleOpen(resumed: boolean): void {
    this.apply({ kind: "socket", open: true });
    this.sendSending();
    this.sendViews();
    if (resumed) this.media.handleSocketOpen();
  }

  /** How the act begins: without pictures, or with the camera at the back. Once; afterwards the person chooses. */
  private followHints(hints: MediaHints | undefined): void {
    if (hints === undefined) return;
    this.media.setHints({ motion: hints.screen === "motion", lowDelay: hints.low_delay });
    if (this.hinted) return;
    this.hinted = true;
    if (hints.start !== "video") void this.setCamera(false);
    else if (hints.camera === "rear" && !isHost(this.state.role) && isHandheld()) void this.turnCamera();
  }

  /** To the device's other camera: from the face to the back, or from the back to the face. */
  async turnCamera(): Promise<void> {
    const { track, on } = this.local.camera;
    if (!on || track === null) return;
    const away = facesAway(track);
    // A phone opens one camera at a time.
    track.onended = null;
    track.stop();
    const rear = away ? null : await openRearCamera();
    this.replaceLocal("camera", rear ?? (await openCamera()), true);
  }

  /** Camera and microphone go on without a new question to the person; a shared screen may show the patient's papers. */
  private prepareFollowing(token: string): void {
    const call = new Call(this.options);
    call.hinted = true;
    call.local = { ...this.local, screen: CLOSED };
    call.adoptTracks();
    this.local.screen.track?.stop();
    this.local = { microphone: CLOSED, camera: CLOSED, screen: CLOSED };
    this.following = { call, token };
  }

  private adoptTracks(): void {
    for (const source of ["microphone", "camera"] as const) {
      const { track, on } = this.local[source];
      if (track === null) continue;
      track.onended = () => this.handleEnded(source, track);
      void this.media.setTrack(source, on ? track : null);
    }
    const { microphone, camera } = this.local;
    this.apply({ kind: "sending", sending: { microphone: microphone.on, camera: camera.on, screen: false } });
  }

  /** A kept session may have expired over night while its link is still good: once, quietly, ask for a new one. */
  private renewSession(): boolean {
    if (this.token === null || this.exchangedAgain) return false;
    this.exchangedAgain = true;
    this.signalling?.close();
    this.signalling = null;
    void this.exchange(this.token).then(() => {
      if (!isOver(this.state.phase)) this.enter();
    });
    return true;
  }

  private async setSource(
    source: MediaSource,
    on: boolean,
    device?: string,
    open?: (device?: string) => Promise<Opened>,
  ): Promise<void> {
    const current = this.local[source];
    if (!on) {
      // The microphone stays open while muted, so that speaking again is immediate; pictures go dark and their lamp out.
      if (source === "microphone") this.setLocal(source, { ...current, on: false });
      else this.replaceLocal(source, { track: null, problem: null }, false);
      return;
    }
    // By telephone and from the page at once, a voice would be heard twice.
    if (source === "microphone" && speaksByPhone(this.state)) return;
    if (this.state.stopped.includes(source)) return;
    if (current.track !== null && device === undefined) this.setLocal(source, { ...current, on: true });
    else if (open !== undefined) this.replaceLocal(source, await open(device), true, current);
  }

  private replaceLocal(source: MediaSource, opened: Opened, on: boolean, fallback: LocalSource = CLOSED): void {
    const old = this.local[source].track;
    if (opened.track === null && fallback.track !== null) {
      this.setLocal(source, { ...fallback, problem: opened.problem });
      return;
    }
    if (isOver(this.state.phase)) {
      opened.track?.stop();
      return;
    }
    if (old !== opened.track) old?.stop();
    const track = opened.track;
    if (track !== null) track.onended = () => this.handleEnded(source, track);
    // Cancelling the browser's own choice of a screen is not a problem to report.
    const problem = source === "screen" ? null : opened.problem;
    this.setLocal(source, { track, on: on && track !== null, problem });
  }

  /** Unplugged, taken by a telephone call, or "stop sharing" in the browser's own bar. */
  private handleEnded(source: MediaSource, track: MediaStreamTrack): void {
    if (this.local[source].track !== track) return;
    const problem = source === "screen" ? null : "busy";
    this.setLocal(source, { track: null, on: false, problem });
  }

  private setLocal(source: MediaSource, wanted: LocalSource): void {
    // A device that is opened meanwhile, as after a reload: it is on once the telephone has left.
    const held = source === "microphone" && wanted.on && speaksByPhone(this.state);
    if (held) this.spokeBefore = true;
    const local = held ? { ...wanted, on: false } : wanted;
    this.local = { ...this.local, [source]: local };
    if (local.track !== null) local.track.enabled = local.on;
    void this.media.setTrack(source, local.on ? local.track : null).catch(() => undefined);
    const { microphone, camera, screen } = this.local;
    const before = this.state.sending;
    const sending = { microphone: microphone.on, camera: camera.on, screen: screen.on };
    this.dispatchEvent(new Event("local"));
    const same = (Object.keys(sending) as MediaSource[]).every((name) => before[name] === sending[name]);
    if (same) return;
    this.apply({ kind: "sending", sending });
    this.sendSending();
  }

  private sendSending(): void {
    if (this.state.seat !== null) this.signalling?.send({ type: "sending", ...this.state.sending });
  }

  /** Only for occupied slots: the others are not known to the server yet. */
  private sendViews(): void {
    for (const { slot } of this.state.slots) {
      const view = this.views.get(slot);
      if (view !== undefined) this.signalling?.send({ type: "view", slot, ...view });
    }
  }

  private watchNetwork(): void {
    this.watching = true;
    const { signal } = this.listening;
    const back = () => {
      this.signalling?.retryNow();
      this.media.handleNetworkChange();
    };
    globalThis.addEventListener?.("online", back, { signal });
    globalThis.addEventListener?.("offline", () => this.signalling?.probe(500), { signal });
    const awake = () => {
      if (document.visibilityState === "visible") this.signalling?.probe(1500);
    };
    globalThis.document?.addEventListener("visibilitychange", awake, { signal });
    // Wi-Fi to 4G is announced by Chromium alone; elsewhere the `disconnected` state tells it two seconds later.
    const network = (globalThis.navigator as { connection?: EventTarget } | undefined)?.connection;
    let kind = networkKind(network);
    const change = () => {
      if (networkKind(network) === kind) return;
      kind = networkKind(network);
      back();
    };
    network?.addEventListener?.("change", change, { signal });
  }

  private apply(event: CallEvent): void {
    const before = this.state;
    this.state = reduce(before, event);
    if (this.state === before) return;
    if (before.phase !== this.state.phase) this.handlePhase();
    this.followPhone(before);
    this.dispatchEvent(new Event("state"));
  }

  /** While the telephone speaks, the page's microphone is off; afterwards it is what it was. */
  private followPhone(before: CallState): void {
    const phoned = speaksByPhone(this.state);
    if (phoned && !speaksByPhone(before)) {
      this.spokeBefore = this.local.microphone.on;
      void this.setSource("microphone", false);
      clearTimeout(this.backTimer);
    } else if (!phoned && speaksByPhone(before) && this.spokeBefore) {
      this.backTimer = setTimeout(() => isOver(this.state.phase) || void this.setMicrophone(true), BACK_MS);
    }
    const calm = couldTakeOver(this.state);
    if (calm === (this.steadyTimer !== undefined)) return;
    clearTimeout(this.steadyTimer);
    this.steadyTimer = calm ? setTimeout(() => this.apply({ kind: "steady" }), STEADY_MS) : undefined;
  }

  private handlePhase(): void {
    if (isOver(this.state.phase)) this.close();
    else if (this.state.phase === "in_call") this.qualityTimer ??= setInterval(() => void this.judge(), QUALITY_EVERY_MS);
  }

  private async judge(): Promise<void> {
    const connection = this.media.native;
    if (connection === null || othersPresent(this.state).length === 0) return;
    const reading = readStats(await connection.getStats());
    if (this.lastReading !== null) this.apply({ kind: "quality", quality: judge(this.lastReading, reading) });
    this.lastReading = reading;
  }
}

function isRefusal(answer: GateAnswer): boolean {
  return (answer.gate === "consent" && !answer.accepted) || (answer.gate === "preference" && answer.choice !== "video");
}

function networkKind(network: EventTarget | undefined): unknown {
  return (network as { type?: unknown } | undefined)?.type;
}

/** What fits the protocol's 16 bits. */
function pixels(length: number): number {
  return Math.min(65_535, Math.max(0, Math.round(length)));
}

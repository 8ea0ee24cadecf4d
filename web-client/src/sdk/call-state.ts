// The state of a call as one value, and the one function that changes it.
//
// Not here: sockets, media, timers, the DOM. Facts come in as `CallEvent`s, out comes the next state; the element
// renders it and nothing else decides what a person sees. An unknown message leaves the state untouched.

import type {
  Card,
  Choice,
  ErrorCode,
  Gate,
  HandOverReason,
  Language,
  MediaHints,
  MediaSource,
  Permissions,
  Role,
  SeatInfo,
  ServerMessage,
  SlotInfo,
} from "../protocol/generated.ts";
import { isIn, reducePhone, withoutOutcome, type DialIn, type Phone, type Phones } from "./phones.ts";

export type Phase =
  | "connecting" // the link is being exchanged for a session, or the socket opened for the first time
  | "preview" // camera and microphone are tried out; nothing is sent
  | "gates" // questions before media: login, card, consent, third person, preference
  | "waiting" // in the waiting room
  | "joining" // admitted; media is being set up
  | "in_call"
  | "reconnecting" // was in the call, the connection is lost, the seat is kept
  | "replaced" // opened elsewhere
  | "moved" // opened on another device, which waits to be admitted there
  | "removed" // by a host
  | "declined" // consent refused or withdrawn, or another way than video chosen
  | "ended" // for everyone
  | "next" // this consultation is over, the host goes on with the next one: see `Call.following`
  | "left" // by oneself
  | "failed";

export type FailureReason =
  | "no_link" // the page was opened without a token
  | "link_refused" // unknown, expired or revoked
  | "seat_removed" // a host has put this seat out
  | "seat_declined" // this person has refused the consultation at a distance
  | "over" // the consultation has ended
  | "session_over" // the server no longer knows the session
  | "page_outdated" // the protocol moved on: reload
  | "full" // the server holds as many as it can
  | "draining" // the server is about to restart
  | "unavailable" // it cannot at the moment, and does not say more
  | "unreachable" // no answer from the server
  | "unsupported"; // no WebRTC here, or not over HTTPS

export type Quality = "good" | "weak" | "poor";

export interface Sending {
  readonly microphone: boolean;
  readonly camera: boolean;
  readonly screen: boolean;
}

/** While waiting: how many are before oneself, and by whom one is awaited. */
export interface Queue {
  readonly ahead: number;
  readonly expectedSeconds: number | null;
  readonly practitioner: string | null;
}

/** The consultation is being given to a colleague (`done` false), or has been. */
export interface HandOver {
  readonly from: string;
  readonly to: string;
  readonly toName: string | null;
  readonly reason: HandOverReason;
  readonly done: boolean;
}

export interface Invitation {
  readonly seat: string;
  readonly role: Role;
  readonly link: string;
}

/** What the page tells once and the person reads or closes. */
export type Passing = "arrived" | "handOver" | "invited" | "acts" | "next" | "refusal" | "phone";

export interface CallState {
  readonly phase: Phase;
  readonly failure: FailureReason | null;
  readonly socket: "idle" | "open" | "lost";
  readonly media: "none" | "connecting" | "connected" | "interrupted";
  readonly seat: string | null;
  readonly role: Role | null;
  readonly consultation: string | null;
  readonly language: Language | null;
  readonly admitted: boolean;
  readonly permissions: Permissions;
  /** Which act, and how media begins in it. */
  readonly act: string | null;
  readonly hints: MediaHints | null;
  /** Still to be answered, in this order; in the call: the card of a professional who came later. */
  readonly gates: readonly Gate[];
  /** How many there were in the most, so that a page can say "2 of 4". */
  readonly gatesTotal: number;
  /** The consent text that this person was shown, for withdrawing. */
  readonly consentText: string | null;
  readonly queue: Queue | null;
  readonly locked: boolean;
  /** Professionals speak apart: `inside` it, or `outside` where nothing is seen, heard or sent meanwhile. */
  readonly aside: "none" | "inside" | "outside";
  readonly handOver: HandOver | null;
  /** The last seat that this one invited. */
  readonly invited: Invitation | null;
  /** Who came into the room last. */
  readonly arrived: Pick<SeatInfo, "seat" | "role" | "display_name"> | null;
  /** The patient's yearly number of acts, when it is close to the clinic's limit. */
  readonly acts: { readonly count: number; readonly limit: number } | null;
  /** The host asked for the next patient, or learned that nobody waits. */
  readonly next: "none" | "asked" | "nobody";
  /** How the person wants to be seen instead; null for a refused consent. */
  readonly choice: Choice | null;
  readonly seats: readonly SeatInfo[];
  readonly slots: readonly SlotInfo[];
  readonly speaker: string | null;
  readonly sending: Sending;
  /** Own sources that a host stopped. */
  readonly stopped: readonly MediaSource[];
  /** Other seats whose voice this seat stopped, so that it can let them speak again. */
  readonly silenced: readonly string[];
  readonly quality: Quality;
  /** The telephones that this page may know of, by seat; its own one first of all. */
  readonly phones: Phones;
  /** How this seat comes in by telephone; nothing on a server without one. */
  readonly dialIn: DialIn | null;
  /** The person is on the telephone, and this page has been good for so long that it could take over again. */
  readonly steady: boolean;
  /** The last request the server refused, until the next one is accepted. */
  readonly refusal: ErrorCode | null;
}

/** What the exchange of a link tells before the socket is open; also given by a page that kept it over a reload. */
export interface SessionFacts {
  readonly seat?: string;
  readonly role?: Role;
  readonly consultation?: string;
  readonly language?: Language;
  readonly consentText?: string;
}

export type CallEvent =
  | { readonly kind: "session"; readonly facts: SessionFacts }
  | { readonly kind: "entering" }
  | { readonly kind: "failed"; readonly reason: FailureReason }
  | { readonly kind: "socket"; readonly open: boolean }
  | { readonly kind: "media"; readonly media: CallState["media"] }
  | { readonly kind: "sending"; readonly sending: Sending }
  | { readonly kind: "silenced"; readonly seat: string; readonly silenced: boolean }
  | { readonly kind: "quality"; readonly quality: Quality }
  | { readonly kind: "steady" }
  | { readonly kind: "answered"; readonly gate: Gate["gate"] }
  | { readonly kind: "asked_next" }
  | { readonly kind: "read"; readonly what: Passing; readonly seat?: string | null }
  | { readonly kind: "left" }
  | { readonly kind: "server"; readonly message: ServerMessage };

const NOTHING_ALLOWED: Permissions = {
  microphone: false,
  camera: false,
  screen: false,
  see: false,
  hear: false,
  chat: false,
  files: false,
  point: false,
  vitals: false,
  admit: false,
  remove: false,
  mute: false,
  invite: false,
  hand_over: false,
  aside: false,
  end: false,
};

export const INITIAL_STATE: CallState = {
  phase: "connecting",
  failure: null,
  socket: "idle",
  media: "none",
  seat: null,
  role: null,
  consultation: null,
  language: null,
  admitted: false,
  permissions: NOTHING_ALLOWED,
  act: null,
  hints: null,
  gates: [],
  gatesTotal: 0,
  consentText: null,
  queue: null,
  locked: false,
  aside: "none",
  handOver: null,
  invited: null,
  arrived: null,
  acts: null,
  next: "none",
  choice: null,
  seats: [],
  slots: [],
  speaker: null,
  sending: { microphone: false, camera: false, screen: false },
  stopped: [],
  silenced: [],
  quality: "good",
  phones: {},
  dialIn: null,
  steady: false,
  refusal: null,
};

const FINAL_PHASES: readonly Phase[] = ["replaced", "moved", "removed", "declined", "ended", "next", "left", "failed"];

/** Nothing leads out of such a phase but a new page. */
export function isOver(phase: Phase): boolean {
  return FINAL_PHASES.includes(phase);
}

/** The stage with the others' pictures is shown. */
export function isOnStage(phase: Phase): boolean {
  return phase === "joining" || phase === "in_call" || phase === "reconnecting";
}

export function reduce(state: CallState, event: CallEvent): CallState {
  if (isOver(state.phase)) return state;
  const next = reduceEvent(state, event);
  return next.steady && !couldTakeOver(next) ? { ...next, steady: false } : next;
}

function reduceEvent(state: CallState, event: CallEvent): CallState {
  switch (event.kind) {
    case "session":
      return { ...state, ...withoutUndefined(event.facts), phase: "preview" };
    case "entering":
      return { ...state, phase: "connecting" };
    case "failed":
      return { ...state, phase: "failed", failure: event.reason };
    case "answered":
      // The next question comes at once; the server's own list replaces this one.
      return settle({ ...state, gates: state.gates.filter(({ gate }) => gate !== event.gate) });
    case "asked_next":
      return { ...state, next: "asked" };
    case "read":
      if (event.what === "phone") return event.seat == null ? state : { ...state, phones: withoutOutcome(state.phones, event.seat) };
      return { ...state, [event.what]: event.what === "next" ? "none" : null };
    case "left":
      return { ...state, phase: "left", socket: "idle", media: "none" };
    case "socket":
      return settle({ ...state, socket: event.open ? "open" : "lost" });
    case "media":
      return settle({ ...state, media: event.media });
    case "sending":
      return { ...state, sending: event.sending };
    case "silenced":
      return { ...state, silenced: withOrWithout(state.silenced, event.seat, event.silenced) };
    case "quality":
      return event.quality === state.quality ? state : { ...state, quality: event.quality };
    case "steady":
      return { ...state, steady: true };
    case "server":
      return reduceMessage(state, event.message);
  }
}

function reduceMessage(state: CallState, message: ServerMessage): CallState {
  switch (message.type) {
    case "welcome":
      return settle(welcomed(state, message));
    case "admitted":
      return settle({ ...state, admitted: true, queue: null });
    case "gates":
      return settle(asked(state, message.pending));
    case "roster":
      return { ...state, seats: message.seats, refusal: null };
    case "slots":
      return { ...state, slots: message.slots };
    case "speaker":
      return { ...state, speaker: message.seat ?? null };
    case "muted":
      return { ...state, stopped: withOrWithout(state.stopped, message.source, message.muted) };
    case "permissions":
      return { ...state, permissions: message.permissions };
    case "error":
      // An error with an id answers an offer: the media connection tries again, the seat is as good as before.
      return message.id == null ? reduceError(state, message.code) : { ...state, refusal: message.code };
    default:
      return reduceEnd(reduceNews(state, message), message);
  }
}

/** What is told once: who came, who takes over, who waits how long. */
function reduceNews(state: CallState, message: ServerMessage): CallState {
  switch (message.type) {
    case "queue": {
      const { ahead, expected_seconds: expectedSeconds, practitioner } = message;
      return { ...state, queue: { ahead, expectedSeconds, practitioner } };
    }
    case "locked":
      return { ...state, locked: message.locked };
    case "arrived": {
      const { seat, role, display_name } = message;
      return seat === state.seat ? state : { ...state, arrived: { seat, role, display_name } };
    }
    case "invited":
      return { ...state, invited: { seat: message.seat, role: message.role, link: message.link } };
    case "hand_over": {
      const { from, to, to_name: toName, reason, done } = message;
      return { ...state, handOver: { from, to, toName, reason, done } };
    }
    case "aside":
      return { ...state, aside: message.on ? (message.outside ? "outside" : "inside") : "none" };
    case "phone":
      return { ...state, phones: reducePhone(state.phones, message) };
    case "dial_in":
      return { ...state, dialIn: { number: message.number, pin: message.pin } };
    case "acts":
      return { ...state, acts: { count: message.count, limit: message.limit } };
    default:
      return state;
  }
}

function reduceEnd(state: CallState, message: ServerMessage): CallState {
  switch (message.type) {
    case "replaced":
    case "removed":
    case "ended":
      return { ...state, phase: message.type };
    case "moved_device":
      return { ...state, phase: "moved" };
    case "declined":
      return { ...state, phase: "declined", choice: message.choice };
    case "next":
      // Nothing of this consultation may be left on the page when the next patient is on it.
      return message.token === null ? { ...state, next: "nobody" } : { ...INITIAL_STATE, phase: "next" };
    default:
      return state;
  }
}

function welcomed(state: CallState, message: Extract<ServerMessage, { type: "welcome" }>): CallState {
  const { seat, role, consultation, language, admitted, permissions, act, media } = message;
  const { gates, gatesTotal, queue, locked, aside, handOver, slots, seats, speaker, stopped, phones } = INITIAL_STATE;
  const fresh = { gates, gatesTotal, queue, locked, aside, handOver, slots, seats, speaker, stopped, phones };
  // A server of an earlier version says nothing of the act.
  const known = { seat, role, consultation, language, admitted, permissions, act: act ?? null, hints: media ?? null };
  return { ...state, ...fresh, ...known, phase: admitted ? state.phase : "waiting" };
}

function asked(state: CallState, gates: readonly Gate[]): CallState {
  const gatesTotal = gates.length === 0 ? 0 : Math.max(state.gatesTotal, gates.length);
  const consent = gates.find((gate) => gate.gate === "consent");
  return { ...state, gates, gatesTotal, consentText: consent?.text ?? state.consentText };
}

function reduceError(state: CallState, code: ErrorCode): CallState {
  switch (code) {
    case "bad_session":
      return { ...state, phase: "failed", failure: "session_over" };
    case "bad_version":
      return { ...state, phase: "failed", failure: "page_outdated" };
    case "unavailable":
      // A seat that was in already keeps trying: its server may be restarting.
      return state.phase === "connecting" ? { ...state, phase: "failed", failure: "unavailable" } : { ...state, refusal: code };
    default:
      return { ...state, refusal: code };
  }
}

/** Derives the phase once the seat has its welcome: the same facts always show the same thing. */
function settle(state: CallState): CallState {
  if (state.admitted) return { ...state, phase: admittedPhase(state) };
  if (state.phase !== "waiting" && state.phase !== "gates") return state;
  return { ...state, phase: state.gates.length > 0 ? "gates" : "waiting" };
}

function admittedPhase({ phase, socket, media }: CallState): Phase {
  const wasInCall = phase === "in_call" || phase === "reconnecting";
  if (media === "connected" && socket === "open") return "in_call";
  return wasInCall ? "reconnecting" : "joining";
}

/** The other seats that are in the room, hosts first. */
export function othersPresent(state: CallState): SeatInfo[] {
  return state.seats.filter(
    (info) => info.seat !== state.seat && (info.presence === "present" || info.presence === "reconnecting"),
  );
}

/** Whoever is to be let in: nobody of the seat is inside, or a telephone waits beside its page. */
export function seatsWaiting(state: CallState): SeatInfo[] {
  return state.seats.filter((info) => info.seat !== state.seat && (info.presence === "waiting" || waitsBesidePage(state, info)));
}

/** A telephone waits on a seat that is inside: it is let in or hung up on alone, for it may be somebody else's. */
export function waitsBesidePage({ phones }: CallState, { seat, presence }: SeatInfo): boolean {
  return phones[seat]?.doing === "waiting" && (presence === "present" || presence === "reconnecting");
}

/** The cards of professionals that are still to be read. */
export function cardsPending(state: CallState): readonly Card[] {
  return state.gates.flatMap((gate) => (gate.gate === "card" ? gate.cards : []));
}

/** Runs the consultation and is inside it: the own telephone waits for this person too. */
export function letsIn({ admitted, permissions }: CallState): boolean {
  return admitted && permissions.admit;
}

/** This person's own telephone. */
export function ownPhone({ seat, phones }: CallState): Phone | undefined {
  return seat === null ? undefined : phones[seat];
}

/** The person is in the room by telephone: the page's microphone and sound are off, or they would hear themselves. */
export function speaksByPhone(state: CallState): boolean {
  return isIn(ownPhone(state));
}

/** On the telephone, with a page that works: the voice could come back to it. */
export function couldTakeOver(state: CallState): boolean {
  return speaksByPhone(state) && state.phase === "in_call" && state.quality !== "poor";
}

/** The page alone will not do, for now: what the telephone is for. */
export function isStruggling({ phase, socket, quality }: CallState): boolean {
  return phase === "reconnecting" || socket === "lost" || (phase === "in_call" && quality === "poor");
}

/** The server cannot be reached, and will call this person by itself when that lasts: unless they said that it should not. */
export function isCallAwaited(state: CallState): boolean {
  const phone = ownPhone(state);
  const hosted = othersPresent(state).some(({ role }) => isHost(role));
  return state.phase === "reconnecting" && state.socket === "lost" && hosted && phone?.callable === true && phone.alone !== null && phone.cause !== "cancelled";
}

/** Whom a host may see who is not here, and could have called or is on the line already. */
export function seatsAbsentWithPhone(state: CallState): SeatInfo[] {
  const known = ({ seat }: SeatInfo) => state.phones[seat]?.callable === true || state.phones[seat]?.doing != null;
  return state.seats.filter((info) => info.seat !== state.seat && info.presence === "absent" && known(info));
}

export function isHost(role: Role | null): boolean {
  return role === "practitioner" || role === "regulator";
}

/** How many receive slots the room needs: a pair for each other seat, one more for each screen. */
export function slotsNeeded(state: CallState): number {
  return othersPresent(state).reduce((count, info) => count + (info.screen ? 2 : 1), 0);
}

function withOrWithout<T>(list: readonly T[], item: T, wanted: boolean): readonly T[] {
  const others = list.filter((other) => other !== item);
  return wanted ? [...others, item] : others;
}

function withoutUndefined(facts: SessionFacts): Partial<CallState> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

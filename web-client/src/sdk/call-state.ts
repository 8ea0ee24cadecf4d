// The state of a call as one value, and the one function that changes it.
//
// Not here: sockets, media, timers, the DOM. Facts come in as `CallEvent`s, out comes the next state; the element
// renders it and nothing else decides what a person sees. An unknown message leaves the state untouched.

import type {
  ErrorCode,
  Language,
  MediaSource,
  Permissions,
  Role,
  SeatInfo,
  ServerMessage,
  SlotInfo,
} from "../protocol/generated.ts";

export type Phase =
  | "connecting" // the link is being exchanged for a session, or the socket opened for the first time
  | "preview" // camera and microphone are tried out; nothing is sent
  | "waiting" // in the waiting room
  | "joining" // admitted; media is being set up
  | "in_call"
  | "reconnecting" // was in the call, the connection is lost, the seat is kept
  | "replaced" // opened elsewhere
  | "removed" // by a host
  | "ended" // for everyone
  | "left" // by oneself
  | "failed";

export type FailureReason =
  | "no_link" // the page was opened without a token
  | "link_refused" // unknown, expired or revoked
  | "session_over" // the server no longer knows the session
  | "page_outdated" // the protocol moved on: reload
  | "unavailable" // full or draining
  | "unreachable" // no answer from the server
  | "unsupported"; // no WebRTC here, or not over HTTPS

export type Quality = "good" | "weak" | "poor";

export interface Sending {
  readonly microphone: boolean;
  readonly camera: boolean;
  readonly screen: boolean;
}

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
  readonly seats: readonly SeatInfo[];
  readonly slots: readonly SlotInfo[];
  readonly speaker: string | null;
  readonly sending: Sending;
  /** Own sources that a host stopped. */
  readonly stopped: readonly MediaSource[];
  /** Other seats whose voice this seat stopped, so that it can let them speak again. */
  readonly silenced: readonly string[];
  readonly quality: Quality;
  /** The last request the server refused, until the next one is accepted. */
  readonly refusal: ErrorCode | null;
}

/** What the exchange of a link tells before the socket is open; also given by a page that kept it over a reload. */
export interface SessionFacts {
  readonly seat?: string;
  readonly role?: Role;
  readonly consultation?: string;
  readonly language?: Language;
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
  seats: [],
  slots: [],
  speaker: null,
  sending: { microphone: false, camera: false, screen: false },
  stopped: [],
  silenced: [],
  quality: "good",
  refusal: null,
};

const FINAL_PHASES: readonly Phase[] = ["replaced", "removed", "ended", "left", "failed"];

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
  switch (event.kind) {
    case "session":
      return { ...state, ...withoutUndefined(event.facts), phase: "preview" };
    case "entering":
      return { ...state, phase: "connecting" };
    case "failed":
      return { ...state, phase: "failed", failure: event.reason };
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
    case "server":
      return reduceMessage(state, event.message);
  }
}

function reduceMessage(state: CallState, message: ServerMessage): CallState {
  switch (message.type) {
    case "welcome":
      return settle({
        ...state,
        seat: message.seat,
        role: message.role,
        consultation: message.consultation,
        language: message.language,
        admitted: message.admitted,
        permissions: message.permissions,
        seats: [],
        slots: [],
        speaker: null,
        stopped: [],
        phase: message.admitted ? state.phase : "waiting",
      });
    case "admitted":
      return settle({ ...state, admitted: true });
    case "roster":
      return { ...state, seats: message.seats, refusal: null };
    case "slots":
      return { ...state, slots: message.slots };
    case "speaker":
      return { ...state, speaker: message.seat ?? null };
    case "muted":
      return { ...state, stopped: withOrWithout(state.stopped, message.source, message.muted) };
    case "replaced":
      return { ...state, phase: "replaced" };
    case "removed":
      return { ...state, phase: "removed" };
    case "ended":
      return { ...state, phase: "ended" };
    case "error":
      // An error with an id answers an offer: the media connection tries again, the seat is as good as before.
      return message.id == null ? reduceError(state, message.code) : { ...state, refusal: message.code };
    default:
      return state;
  }
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

/** Derives the phase once the seat is admitted: the same facts always show the same thing. */
function settle(state: CallState): CallState {
  if (!state.admitted) return state;
  return { ...state, phase: admittedPhase(state) };
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

export function seatsWaiting(state: CallState): SeatInfo[] {
  return state.seats.filter((info) => info.seat !== state.seat && info.presence === "waiting");
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

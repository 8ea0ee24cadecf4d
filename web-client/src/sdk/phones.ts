// The seats' telephones as the page knows them: whether they can be called, what they do, and why. Pure.
//
// A seat has one telephone at most; it is the same seat as its page. Not here: words (elements), who may call whom (the server).

import type { PhoneCause, PhoneState, ServerMessage } from "../protocol/generated.ts";

/** What a telephone does; `ready` and `unavailable` say instead whether the server can call it, `idle` that it does nothing. */
export type PhoneDoing = Exclude<PhoneState, "ready" | "unavailable" | "idle">;

export interface Phone {
  /** The server can call it. */
  readonly callable: boolean;
  /** Why it cannot. */
  readonly obstacle: PhoneCause | null;
  /** The last digits of its number; the rest never comes to a page. */
  readonly ending: string | null;
  /** Null while it has done nothing, or nothing that is still worth telling. */
  readonly doing: PhoneDoing | null;
  readonly cause: PhoneCause | null;
  /** `planned`: the server calls so many seconds after it said so. */
  readonly seconds: number | null;
  /** The server calls one's own by itself when the page has been gone for so many seconds; null: it would not. */
  readonly alone: number | null;
  /** Who called in did so from the number of the file, or from another; null: not known. */
  readonly matchesFile: boolean | null;
  /** End-to-end encryption ends when it is in, and is over as long as it is. */
  readonly encryptionEnds: boolean;
}

export type Phones = Readonly<Record<string, Phone>>;

/** How this seat comes in by telephone. Kept for when nothing else works any more. */
export interface DialIn {
  readonly number: string;
  readonly pin: string;
}

const UNKNOWN: Phone = {
  callable: false,
  obstacle: null,
  ending: null,
  doing: null,
  cause: null,
  seconds: null,
  alone: null,
  matchesFile: null,
  encryptionEnds: false,
};

export function reducePhone(phones: Phones, message: Extract<ServerMessage, { type: "phone" }>): Phones {
  const { seat, state, cause, number_ending, matches_file, seconds, encryption_ends } = message;
  const before = phones[seat] ?? UNKNOWN;
  const ending = number_ending ?? before.ending;
  // A server of an earlier version says no seconds, and of encryption only as a cause.
  const encryptionEnds = encryption_ends || (state === "in" && cause === "encryption_ends");
  const after =
    state === "ready" || state === "unavailable"
      ? { ...before, ending, callable: state === "ready", obstacle: cause, alone: seconds ?? null }
      : {
          ...before,
          ending,
          doing: state === "idle" ? null : state,
          cause,
          seconds: seconds ?? null,
          matchesFile: matches_file ?? null,
          encryptionEnds,
        };
  return { ...phones, [seat]: after };
}

/** How a call ended has been read. */
export function withoutOutcome(phones: Phones, seat: string): Phones {
  const phone = phones[seat];
  return phone === undefined || !isOutcome(phone) ? phones : { ...phones, [seat]: { ...phone, doing: null, cause: null } };
}

/** The call has come to nothing, or is over. */
export function isOutcome({ doing }: Phone): boolean {
  return doing === "failed" || doing === "left";
}

/** Its person is in the room by telephone. */
export function isIn(phone: Phone | undefined): boolean {
  return phone?.doing === "in" || phone?.doing === "silent" || phone?.doing === "lost";
}

/** It would end end-to-end encryption: a host has to agree first. */
export function endsEncryption({ doing, cause }: Phone): boolean {
  return cause === "encryption_ends" && (doing === "waiting" || doing === "failed");
}

/** What becomes of end-to-end encryption with it, for everybody: it will be over, or it is. Null: nothing. */
export function encryptionWith(phone: Phone | undefined): "ending" | "over" | null {
  if (phone?.encryptionEnds !== true) return null;
  return isIn(phone) ? "over" : "ending";
}

/** The server is calling it, and it is not in yet. */
export function isBeingCalled(phone: Phone | undefined): boolean {
  return phone?.doing === "calling" || phone?.doing === "ringing" || phone?.doing === "confirming";
}

/** There is a line, or somebody is making one: it cannot be called once more. */
export function isBusy(phone: Phone | undefined): boolean {
  return isIn(phone) || isBeingCalled(phone) || phone?.doing === "waiting";
}

/**
 * What a telephone dials by one touch: a plain number, then a pause, then the PIN. Null for what a telephone cannot dial. The pause
 * is a comma, which telephones know and RFC 3966 does not; the hash at the end must not be read as the address's fragment.
 */
export function dialLink({ number, pin }: DialIn): string | null {
  const digits = number.replaceAll(/[\s.()-]/g, "");
  if (/^\+?\d{3,15}$/.test(digits)) return `tel:${digits},,${encodeURIComponent(`${pin}#`)}`;
  return /^sips?:/i.test(number) ? number : null;
}

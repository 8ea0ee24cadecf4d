// Which sentence belongs to which state and cause of a telephone. Pure; the sentences are in words/.

import type { PhoneCause } from "../protocol/generated.ts";
import { letsIn, type CallState } from "../sdk/call-state.ts";
import { endsEncryption, type Phone } from "../sdk/phones.ts";
import type { Strings } from "./strings.ts";

/** A newer server may know causes that this page does not. */
export function causeText(cause: PhoneCause, { phone }: Strings): string {
  return phone.causes[cause] ?? phone.causes.fault;
}

/** What one's own telephone does before anything has gone wrong, and what to do. */
export function ownText(phone: Phone, state: CallState, strings: Strings): readonly [string, string] {
  const { phone: words } = strings;
  if (phone.doing === "waiting" && letsIn(state)) return [words.ownWaits(numberText(phone, strings)), words.ownWaitsText];
  return words.own[phone.doing as keyof typeof words.own];
}

/** What is wrong with one's own telephone, which goes on. */
export function ownCauseText(cause: PhoneCause, strings: Strings): string {
  const said = causeText(cause, strings);
  return cause === "nothing_sent" ? `${said} ${strings.phone.comeBack}` : said;
}

const NEXT: Partial<Record<PhoneCause, "soon" | "later" | "pickUp">> = {
  too_often: "later",
  too_many_at_once: "soon",
  lines_busy: "soon",
  no_line: "soon",
  draining: "soon",
  fault: "soon",
  line_dead: "soon",
  busy: "pickUp",
  no_answer: "pickUp",
  refused: "pickUp",
  not_confirmed: "pickUp",
};
/** Nothing went wrong, or it is not for the person to mend. */
const NO_NEXT: readonly PhoneCause[] = ["cancelled", "hung_up", "back_to_page", "removed", "declined", "over", "encryption_ends", "encryption_required"];

/** Whoever could not come in at all was not on the telephone before. */
export function outcomeTitle({ doing, cause }: Phone, { phone }: Strings): string {
  return phone.outcome[doing === "left" && cause !== "encryption_required" ? "left" : "failed"];
}

/** Why one's own call ended, and what to do about it. */
export function outcomeText({ cause }: Phone, dialsIn: boolean, strings: Strings): string {
  if (cause === null) return "";
  const said = causeText(cause, strings);
  if (NO_NEXT.includes(cause)) return said;
  return `${said} ${strings.phone.next[NEXT[cause] ?? (dialsIn ? "dial" : "practice")]}`;
}

/** Whose number a telephone shows. A hidden one is never written as the file's: that is how an impostor would call. */
export function numberText({ matchesFile, ending }: Phone, { phone }: Strings): string {
  if (matchesFile === null) return phone.numberUnknown;
  return matchesFile ? phone.numberMatches(ending) : phone.numberDiffers;
}

/** To whoever may let it in: who waits on the telephone, by which number, and what to ask. */
export function waitsText(name: string, phone: Phone, strings: Strings): string {
  return `${strings.phone.waitsByPhone(name, numberText(phone, strings))} ${strings.phone.askIdentity}`;
}

/** What another's telephone does, as it stands beside a name. */
export function otherPhoneText(phone: Phone, strings: Strings): string {
  const { doing, cause } = phone;
  if (doing === null) return "";
  const words = strings.phone;
  if (doing === "calling" && cause === "busy") return words.busyAgain;
  const said = words.others[doing];
  if (endsEncryption(phone)) return `${said}, ${words.wouldEnd}`;
  return cause === null || (doing === "in" && cause === "encryption_ends") ? said : `${said} (${causeText(cause, strings).replace(/\.$/, "")})`;
}

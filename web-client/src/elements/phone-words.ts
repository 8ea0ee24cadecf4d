// Which sentence belongs to which state and cause of a telephone. Pure; the sentences are in words/.

import type { PhoneCause } from "../protocol/generated.ts";
import { endsEncryption, type Phone } from "../sdk/phones.ts";
import type { Strings } from "./strings.ts";

/** A newer server may know causes that this page does not. */
export function causeText(cause: PhoneCause, { phone }: Strings): string {
  return phone.causes[cause] ?? phone.causes.fault;
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

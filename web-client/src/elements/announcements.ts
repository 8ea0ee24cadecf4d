// What a screen reader is told when the call goes from one state to the next. Pure; the element puts the sentences into
// its live region. Never announced: who speaks (it would talk over the person) and small changes of quality.

import type { Permissions, SeatInfo } from "../protocol/generated.ts";
import { isCallAwaited, isOnStage, isOver, othersPresent, seatsWaiting, speaksByPhone } from "../sdk/call-state.ts";
import type { CallState } from "../sdk/call-state.ts";
import { endsEncryption, isOutcome } from "../sdk/phones.ts";
import { otherPhoneText, outcomeText, outcomeTitle, ownCauseText, ownText, waitsText } from "./phone-words.ts";
import type { Strings } from "./strings.ts";

export function seatName(info: Pick<SeatInfo, "display_name" | "role">, strings: Strings): string {
  return info.display_name ?? strings.roles[info.role];
}

export function announcements(before: CallState, now: CallState, strings: Strings): string[] {
  const said = [...phaseChange(before, now, strings), ...news(before, now, strings), ...ownSources(before, now, strings)];
  if (before.seat === now.seat && !isOver(now.phase)) {
    said.push(...seatChanges(before, now, strings), ...phoneChanges(before, now, strings));
  }
  if (now.refusal === "not_permitted" && now.refusal !== before.refusal) said.push(strings.saidRefusal);
  if (now.quality === "poor" && before.quality !== "poor") said.push(strings.quality.poor);
  return said;
}

function phaseChange(before: CallState, now: CallState, strings: Strings): string[] {
  if (before.phase === now.phase) return [];
  switch (now.phase) {
    case "waiting":
      return [strings.waitingTitle];
    case "joining":
      return before.phase === "waiting" ? [strings.saidAdmitted] : [strings.joiningTitle];
    case "in_call":
      return [before.phase === "reconnecting" ? strings.saidBack : strings.saidConnected];
    case "reconnecting":
      return [`${strings.reconnectingTitle}. ${strings.reconnectingText}`];
    default:
      // The other phases move the focus to their title, which is read then.
      return [];
  }
}

/** What concerns the consultation as a whole, the person's own place in it first. */
function news(before: CallState, now: CallState, strings: Strings): string[] {
  const said: string[] = [];
  if (isOver(now.phase) || before.seat !== now.seat) return said;
  if (now.handOver !== null && now.handOver !== before.handOver) said.push(handOverText(now, strings));
  if (now.aside !== before.aside) {
    if (now.aside === "outside") said.push(`${strings.asideTitle}. ${strings.asideText}`);
    else if (now.aside === "inside") said.push(`${strings.asideInside} ${strings.asideInsideText}`);
    else said.push(strings.asideOver);
  }
  if (now.phase === "waiting") {
    const ahead = now.queue?.ahead;
    if (ahead !== undefined && ahead !== before.queue?.ahead) said.push(ahead === 0 ? strings.queueNext : strings.queueAhead(ahead));
    if (now.locked && !before.locked) said.push(strings.waitingLocked);
  } else if (now.locked && !before.locked && now.permissions.admit) {
    said.push(strings.lockedNotice);
  }
  if (now.acts !== null && now.acts !== before.acts) said.push(strings.acts(now.acts.count, now.acts.limit));
  if (now.next === "nobody" && before.next !== "nobody") said.push(strings.nextNobody);
  if (isOnStage(before.phase) && rightsChanged(before, now)) said.push(strings.saidPermissions);
  return said;
}

export function handOverText({ seat, handOver }: CallState, strings: Strings): string {
  if (handOver === null) return "";
  const { to, toName, reason, done } = handOver;
  const name = toName ?? strings.colleague;
  if (to === seat) return done ? strings.handOverDoneYou : strings.handOverSoonYou;
  return done ? strings.handOverDone(name) : strings.handOverSoon(name, strings.reasons[reason]);
}

function rightsChanged(before: CallState, now: CallState): boolean {
  const names = Object.keys(now.permissions) as Array<keyof Permissions>;
  return names.some((name) => before.permissions[name] !== now.permissions[name]);
}

function ownSources(before: CallState, now: CallState, strings: Strings): string[] {
  const said: string[] = [];
  const sentences = {
    microphone: strings.saidStoppedMicrophone,
    camera: strings.saidStoppedCamera,
    screen: strings.saidStoppedScreen,
  };
  for (const source of now.stopped) if (!before.stopped.includes(source)) said.push(sentences[source]);
  if (before.stopped.some((source) => !now.stopped.includes(source))) said.push(strings.saidAllowed);
  return said;
}

/** Every step of one's own telephone, and of others' as far as the page knows them. */
function phoneChanges(before: CallState, now: CallState, strings: Strings): string[] {
  const said: string[] = [];
  const { phone: words } = strings;
  for (const [seat, phone] of Object.entries(now.phones)) {
    const old = before.phones[seat];
    if (phone === old) continue;
    if (phone.doing === null) {
      if (old?.doing === "planned") said.push(words.planOver);
      continue;
    }
    const info = now.seats.find((other) => other.seat === seat);
    const name = info === undefined ? words.title : seatName(info, strings);
    if (phone.doing === old?.doing && phone.cause === old?.cause) continue;
    if (seat !== now.seat) {
      const admits = phone.doing === "waiting" && now.permissions.admit && !endsEncryption(phone);
      said.push(admits ? waitsText(name, phone, strings) : words.saidOther(name, otherPhoneText(phone, strings)));
      if (phone.doing === "in" && phone.cause === "encryption_ends") said.push(words.encryptionOver(name));
    } else if (isOutcome(phone)) {
      said.push(`${outcomeTitle(phone, strings)} ${outcomeText(phone, now.dialIn !== null, strings)}`);
    } else {
      said.push(ownText(phone, now, strings).join(" "));
      if (phone.cause !== null) said.push(ownCauseText(phone.cause, strings));
      if (phone.seconds !== null) said.push(words.inSeconds(phone.seconds));
    }
  }
  if (isCallAwaited(now) && !isCallAwaited(before)) said.push(words.awaited);
  if (now.steady && !before.steady && speaksByPhone(now)) said.push(`${words.steady} ${words.back}.`);
  return said;
}

function seatChanges(before: CallState, now: CallState, strings: Strings): string[] {
  const said: string[] = [];
  const waitedBefore = new Set(seatsWaiting(before).map((info) => info.seat));
  const presentBefore = new Map(othersPresent(before).map((info) => [info.seat, info]));
  const presentNow = new Set(othersPresent(now).map((info) => info.seat));
  for (const info of seatsWaiting(now)) {
    // Of who waits by telephone, `phoneChanges` says more.
    if (!waitedBefore.has(info.seat) && now.phones[info.seat]?.doing !== "waiting") said.push(strings.saidWaiting(seatName(info, strings)));
  }
  for (const info of othersPresent(now)) {
    const name = seatName(info, strings);
    const old = presentBefore.get(info.seat);
    if (old === undefined) said.push(strings.saidArrived(name, strings.roles[info.role]));
    else if (info.presence === "reconnecting" && old.presence === "present") said.push(strings.saidLost(name));
    if (info.telephone?.hand && !old?.telephone?.hand) said.push(strings.phone.saidHand(name));
    if (info.screen && old !== undefined && !old.screen) said.push(strings.saidScreen(name));
  }
  for (const info of presentBefore.values()) {
    if (!presentNow.has(info.seat)) said.push(strings.saidLeft(seatName(info, strings)));
  }
  return said;
}

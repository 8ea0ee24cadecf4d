// What is wrong or new in a call, in words above the pictures: the connection, who waits, who has come, who takes over.
// Each stays until it is over or the person has read it; a screen reader hears the same from `announcements`.

import { html, nothing, type TemplateResult } from "lit";
import type { ErrorCode } from "../protocol/generated.ts";
import { cardsPending, isCallAwaited, seatsWaiting, waitsBesidePage, type Passing } from "../sdk/call-state.ts";
import { endsEncryption } from "../sdk/phones.ts";
import { handOverText, seatName } from "./announcements.ts";
import { cardName } from "./gates.ts";
import { ICONS } from "./icons.ts";
import { waitsText } from "./phone-words.ts";
import { hangUpButton, othersPhoneNotice, ownPhoneNotice } from "./telephone.ts";
import type { View } from "./view.ts";

export function noticeList(view: View): TemplateResult {
  const { strings, state } = view;
  const stopped = [
    state.stopped.includes("microphone") ? strings.saidStoppedMicrophone : null,
    state.stopped.includes("camera") ? strings.saidStoppedCamera : null,
  ].filter((sentence) => sentence !== null);
  return html`${connection(view)} ${ownPhoneNotice(view)} ${othersPhoneNotice(view)} ${asideNotice(view)} ${soundNotice(view)}
    ${stopped.map((sentence) => html`<div class="notice">${ICONS.microphoneOff}<span>${sentence}</span></div>`)}
    ${cardNotice(view)} ${handOverNotice(view)} ${arrivedNotice(view)} ${hostNotices(view)} ${waitingNotice(view)}`;
}

function connection({ strings, state }: View): TemplateResult | typeof nothing {
  if (state.phase === "joining" && state.seats.length > 1) {
    return html`<div class="notice" data-notice="joining">
      <span class="spinner" aria-hidden="true"></span><span>${strings.joiningTitle}</span>
    </div>`;
  }
  // That one will be called says it too, and a small telephone has no room for both.
  if (state.phase === "reconnecting" && !isCallAwaited(state)) {
    return html`<div class="notice strong" data-notice="reconnecting">
      <span class="spinner" aria-hidden="true"></span>
      <span><strong>${strings.reconnectingTitle}</strong> ${strings.reconnectingText}</span>
    </div>`;
  }
  if (state.quality === "good" || state.phase !== "in_call") return nothing;
  return html`<div class="notice" data-notice="quality-${state.quality}">
    ${ICONS.signal}<span>${strings.quality[state.quality]}</span>
  </div>`;
}

function asideNotice({ strings, state, call }: View): TemplateResult | typeof nothing {
  if (state.aside !== "inside") return nothing;
  return html`<div class="notice arrival" data-notice="aside">
    <span><strong>${strings.asideInside}</strong> ${strings.asideInsideText}</span>
    ${state.permissions.aside
      ? html`<button class="primary" data-action="end-aside" @click=${() => call.setAside(false)}>${strings.asideEnd}</button>`
      : nothing}
  </div>`;
}

function soundNotice({ strings, soundBlocked, actions }: View): TemplateResult | typeof nothing {
  if (!soundBlocked) return nothing;
  return html`<button class="primary" data-action="play" @click=${() => actions.playAll()}>${ICONS.sound}${strings.playBlocked}</button>`;
}

function cardNotice({ strings, state, dialog, actions }: View): TemplateResult | typeof nothing {
  const [card] = cardsPending(state);
  if (card === undefined || dialog?.kind === "card") return nothing;
  return html`<div class="notice arrival" data-notice="card">
    <span><strong>${cardName(card, strings)}</strong> ${strings.cardLateText}</span>
    <button class="primary" data-action="card" @click=${() => actions.openDialog({ kind: "card" })}>${strings.cardLateOpen}</button>
  </div>`;
}

function handOverNotice(view: View): TemplateResult | typeof nothing {
  const { strings, state } = view;
  return state.handOver === null ? nothing : told(view, "handOver", "hand-over", handOverText(state, strings));
}

function arrivedNotice(view: View): TemplateResult | typeof nothing {
  const { strings, state } = view;
  if (state.arrived === null) return nothing;
  return told(view, "arrived", "arrived", strings.saidArrived(seatName(state.arrived, strings), strings.roles[state.arrived.role]));
}

function hostNotices(view: View): TemplateResult {
  const { strings, state } = view;
  return html`${state.acts === null ? nothing : told(view, "acts", "acts", strings.acts(state.acts.count, state.acts.limit))}
    ${state.next === "nobody" ? told(view, "next", "next", strings.nextNobody) : nothing}
    ${REFUSALS.includes(state.refusal) ? told(view, "refusal", "refusal", strings.saidRefusal) : nothing}
    ${state.locked && state.permissions.admit
      ? html`<div class="notice" data-notice="locked">${ICONS.lock}<span>${strings.lockedNotice}</span></div>`
      : nothing}`;
}

/** What a person asked for and did not get; the others concern the page alone. */
const REFUSALS: readonly (ErrorCode | null)[] = ["not_permitted", "not_found"];

/** Told once: goes when the person has read it. */
function told({ strings, call }: View, what: Passing, kind: string, text: string): TemplateResult {
  return html`<div class="notice told" data-notice=${kind}>
    <span>${text}</span>
    <button class="bare" data-action="dismiss" aria-label=${strings.understood} title=${strings.understood} @click=${() => call.dismiss(what)}>
      ${ICONS.close}
    </button>
  </div>`;
}

function waitingNotice(view: View): TemplateResult | typeof nothing {
  const { strings, state, call, panel, actions } = view;
  const waiting = seatsWaiting(state);
  const [first] = waiting;
  if (!state.permissions.admit || panel === "people" || first === undefined) return nothing;
  const phone = state.phones[first.seat];
  if (waiting.length > 1 || (phone !== undefined && endsEncryption(phone))) {
    return html`<div class="notice arrival" data-notice="waiting">
      <span>${strings.peopleWaiting(waiting.length)}</span>
      <button class="primary" @click=${() => actions.togglePanel("people")}>${strings.people}</button>
    </div>`;
  }
  const name = seatName(first, strings);
  return html`<div class="notice arrival" data-notice="waiting">
    <span>${phone?.doing === "waiting" ? waitsText(name, phone, strings) : strings.saidWaiting(name)}</span>
    <button class="primary" data-action="admit" data-seat=${first.seat} @click=${() => call.admit(first.seat, first.arrival)}>${strings.admit}</button>
    ${waitsBesidePage(state, first) ? hangUpButton(view, first) : nothing}
  </div>`;
}

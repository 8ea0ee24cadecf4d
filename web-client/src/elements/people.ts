// For hosts: who waits and who is in the room, and what a host may do about it. Shows only what the permissions allow;
// the server enforces them all the same.

import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import type { SeatInfo } from "../protocol/generated.ts";
import { othersPresent, seatsAbsentWithPhone, seatsWaiting, waitsBesidePage } from "../sdk/call-state.ts";
import { endsEncryption } from "../sdk/phones.ts";
import { seatName } from "./announcements.ts";
import { ICONS } from "./icons.ts";
import type { Strings } from "./strings.ts";
import { hangUpButton, phoneButton, phoneLine } from "./telephone.ts";
import { initials } from "./tiles.ts";
import type { View } from "./view.ts";

export function peoplePanel(view: View): TemplateResult {
  const { strings, state, actions } = view;
  const waiting = seatsWaiting(state);
  const present = othersPresent(state);
  return html`<section class="panel" part="people" aria-labelledby="people-title">
    <header>
      <h2 id="people-title">${strings.people}</h2>
      <button class="bare" data-action="close-people" aria-label=${strings.close} @click=${() => actions.togglePanel("people")}>
        ${ICONS.close}
      </button>
    </header>
    ${state.permissions.admit
      ? html`<h3>${strings.waitingList}</h3>
          ${waiting.length === 0 ? html`<p class="none">${strings.waitingNobody}</p>` : nothing}
          <ul data-list="waiting">
            ${repeat(waiting, ({ seat }) => seat, (info) => waitingRow(view, info))}
          </ul>`
      : nothing}
    <h3>${strings.inRoom}</h3>
    <ul data-list="present">
      ${repeat(present, ({ seat }) => seat, (info) => presentRow(view, info))}
      <li class="person">
        ${identity(strings.you, state.role === null ? "" : strings.roles[state.role])}
      </li>
    </ul>
    ${absent(view)} ${hostActions(view)}
  </section>`;
}

/** Who has not come, or has gone, and could be called. */
function absent(view: View): TemplateResult | typeof nothing {
  const { strings, state } = view;
  const seats = state.permissions.admit ? seatsAbsentWithPhone(state) : [];
  if (seats.length === 0) return nothing;
  return html`<h3>${strings.phone.notHere}</h3>
    <ul data-list="absent">
      ${repeat(seats, ({ seat }) => seat, (info) => html`<li class="person" data-seat=${info.seat}>
        ${identity(seatName(info, strings), strings.roles[info.role])} ${phoneLine(view, info)}
      </li>`)}
    </ul>`;
}

/** What concerns the whole room; each only for whom it is allowed. */
function hostActions(view: View): TemplateResult {
  const { strings, state, call, actions } = view;
  const { admit, invite, hand_over: handOver, aside, end } = state.permissions;
  const apart = state.aside === "inside";
  const button = (action: string, text: string, act: () => void) =>
    html`<button class="secondary" data-action=${action} @click=${act}>${text}</button>`;
  const open = (kind: "invite" | "hand_over") => () => {
    call.dismiss("invited");
    actions.openDialog({ kind });
  };
  // Where the list lies over the pictures, it would cover the sign that the others hear nothing.
  const speakApart = () => {
    call.setAside(!apart);
    actions.uncover();
  };
  return html`<div class="room-actions">
    ${invite ? button("invite", strings.invite, open("invite")) : nothing}
    ${admit ? button("lock", state.locked ? strings.unlock : strings.lock, () => call.lock(!state.locked)) : nothing}
    ${aside ? button("aside", apart ? strings.asideEnd : strings.asideBegin, speakApart) : nothing}
    ${handOver ? button("hand-over", strings.handOver, open("hand_over")) : nothing}
    ${end && admit
      ? html`<button class="secondary" data-action="next" ?disabled=${state.next === "asked"} @click=${() => call.nextPatient()}>
          ${strings.nextPatient}
        </button>`
      : nothing}
    ${phoneButton(view, "secondary")}
    ${end
      ? html`<button class="end" data-action="end" @click=${() => actions.openDialog({ kind: "leave" })}>
          ${strings.endForAll}
        </button>`
      : nothing}
  </div>`;
}

/** What the host should know before letting somebody in, or while they are there. */
function tags(info: SeatInfo, strings: Strings): TemplateResult | typeof nothing {
  const words = [
    info.other_device ? strings.tagOtherDevice : null,
    info.gates_pending ? strings.tagGatesPending : null,
    info.third_person ? strings.tagThirdPerson : null,
  ].filter((word) => word !== null);
  return words.length === 0 ? nothing : html`<ul class="tags">${words.map((word) => html`<li>${word}</li>`)}</ul>`;
}

function waitingRow(view: View, info: SeatInfo): TemplateResult {
  const { strings, state, call, actions } = view;
  const name = seatName(info, strings);
  const phone = state.phones[info.seat];
  // Where a telephone would end encryption, that is asked first; beside a page there is nothing else to ask.
  const ends = phone !== undefined && endsEncryption(phone);
  const beside = waitsBesidePage(state, info);
  return html`<li class="person waits" data-seat=${info.seat}>
    ${identity(name, strings.roles[info.role])} ${tags(info, strings)} ${phoneLine(view, info)}
    <div class="row">
      ${ends && beside
        ? nothing
        : html`<button
            class=${ends ? "secondary" : "primary"}
            data-action="admit"
            data-seat=${info.seat}
            aria-label=${strings.admitName(name)}
            @click=${() => call.admit(info.seat, info.arrival)}
          >
            ${ICONS.check}${strings.admit}
          </button>`}
      ${beside ? hangUpButton(view, info) : nothing}
      ${state.permissions.remove && !beside
        ? html`<button
            class="secondary"
            data-action="refuse"
            data-seat=${info.seat}
            aria-label=${strings.refuseName(name)}
            @click=${() => actions.openDialog({ kind: "remove", seat: info.seat, name, waiting: true })}
          >
            ${strings.refuse}
          </button>`
        : nothing}
    </div>
  </li>`;
}

function presentRow(view: View, info: SeatInfo): TemplateResult {
  const { strings, state, call, actions } = view;
  const name = seatName(info, strings);
  const silenced = state.silenced.includes(info.seat);
  const mutes = info.microphone || silenced;
  return html`<li class="person" data-seat=${info.seat} data-presence=${info.presence}>
    ${identity(name, info.presence === "reconnecting" ? strings.seatReconnecting : strings.roles[info.role])}
    <div class="marks">
      ${state.permissions.mute
        ? html`<button
            class="bare ${silenced ? "off" : ""}"
            data-action="mute"
            data-seat=${info.seat}
            ?disabled=${!mutes}
            title=${silenced ? strings.unmuteName(name) : strings.muteName(name)}
            aria-label=${silenced ? strings.unmuteName(name) : strings.muteName(name)}
            @click=${() => call.mute(info.seat, "microphone", !silenced)}
          >
            ${info.microphone && !silenced ? ICONS.microphone : ICONS.microphoneOff}
          </button>`
        : nothing}
      ${state.permissions.remove
        ? html`<button
            class="bare"
            data-action="remove"
            data-seat=${info.seat}
            title=${strings.removeName(name)}
            aria-label=${strings.removeName(name)}
            @click=${() => actions.openDialog({ kind: "remove", seat: info.seat, name, waiting: false })}
          >
            ${ICONS.remove}
          </button>`
        : nothing}
    </div>
    ${tags(info, strings)} ${state.permissions.admit && waitsBesidePage(state, info) ? nothing : phoneLine(view, info)}
  </li>`;
}

function identity(name: string, role: string): TemplateResult {
  return html`<span class="monogram" aria-hidden="true">${initials(name)}</span>
    <span class="who"><span class="name">${name}</span>${role === name ? nothing : html`<span class="role">${role}</span>`}</span>`;
}

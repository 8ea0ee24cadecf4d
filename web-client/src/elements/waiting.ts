// The waiting room: says where one is, that nothing else is to be done, that nobody listens, and how to call for help.

import { html, nothing, type TemplateResult } from "lit";
import { ICONS } from "./icons.ts";
import { selfPicture } from "./preview.ts";
import { ownPhoneNotice, phoneButton } from "./telephone.ts";
import type { View } from "./view.ts";

export function waitingScreen(view: View): TemplateResult {
  const { strings, state } = view;
  // Before admission the roster holds nobody but oneself and those who may admit, whatever their role.
  const hostHere = state.seats.some((info) => info.seat !== state.seat && info.presence === "present");
  const name = state.queue?.practitioner ?? null;
  const here = name === null ? strings.waitingText : strings.waitingFor(name);
  return html`<main class="screen waiting" part="waiting" data-host-present=${hostHere ? "yes" : "no"}>
    <div class="intro">
      <div class="breath">${ICONS.clock}</div>
      <h1 tabindex="-1">${strings.waitingTitle}</h1>
      <p class="lead">${hostHere || name !== null ? here : strings.waitingTextAlone}</p>
      ${queue(view)}
      <p>${strings.waitingStay}</p>
      ${reason(view)}
      ${state.socket === "lost"
        ? html`<p class="notice" role="status">${ICONS.signal}<span>${strings.reconnectingShort}</span></p>`
        : nothing}
    </div>
    <div class="waiting-phone">${ownPhoneNotice(view)} ${phoneButton(view)}</div>
    <aside class="emergency">
      <div>
        <strong>${strings.emergencyTitle}</strong>
        <span>${strings.emergencyText}</span>
      </div>
      <a href="tel:15" aria-label=${strings.emergencyCall}>${ICONS.phone}15</a>
    </aside>
    <div class="waiting-self">
      ${selfPicture(view)}
      <p class="quiet">${ICONS.lock}<span>${strings.waitingPrivate}</span></p>
    </div>
    <button class="secondary" data-action="leave" @click=${() => view.actions.openDialog({ kind: "leave" })}>
      ${strings.leaveWaiting}
    </button>
  </main>`;
}

/** The place in the queue, and when it is one's turn, as far as the clinic's queue can say. */
function queue({ strings, state }: View): TemplateResult | typeof nothing {
  if (state.queue === null) return nothing;
  const { ahead, expectedSeconds } = state.queue;
  return html`<p class="place" data-ahead=${ahead}>
    <strong>${ahead === 0 ? strings.queueNext : strings.queueAhead(ahead)}</strong>
    ${expectedSeconds === null ? nothing : html`<span>${strings.queueExpected(Math.round(expectedSeconds / 60))}</span>`}
  </p>`;
}

/** Why one waits though one was in already, or though the others are in. */
function reason({ strings, state }: View): TemplateResult | typeof nothing {
  const own = state.seats.find((info) => info.seat === state.seat);
  const text = own?.other_device ? strings.waitingOtherDevice : state.locked ? strings.waitingLocked : null;
  if (text === null) return nothing;
  const kind = own?.other_device ? "other-device" : "locked";
  return html`<p class="notice" data-notice=${kind}>${own?.other_device ? ICONS.screen : ICONS.lock}<span>${text}</span></p>`;
}

// The waiting room: says where one is, that nothing else is to be done, that nobody listens, and how to call for help.

import { html, nothing, type TemplateResult } from "lit";
import { ICONS } from "./icons.ts";
import { selfPicture } from "./preview.ts";
import type { View } from "./view.ts";

export function waitingScreen(view: View): TemplateResult {
  const { strings, state } = view;
  // Before admission the roster holds nobody but oneself and those who may admit, whatever their role.
  const hostHere = state.seats.some((info) => info.seat !== state.seat && info.presence === "present");
  return html`<main class="screen waiting" part="waiting" data-host-present=${hostHere ? "yes" : "no"}>
    <div class="intro">
      <div class="breath">${ICONS.clock}</div>
      <h1 tabindex="-1">${strings.waitingTitle}</h1>
      <p class="lead">${hostHere ? strings.waitingText : strings.waitingTextAlone}</p>
      <p>${strings.waitingStay}</p>
      ${state.socket === "lost"
        ? html`<p class="notice" role="status">${ICONS.signal}<span>${strings.reconnectingShort}</span></p>`
        : nothing}
    </div>
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

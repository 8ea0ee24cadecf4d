// The screens with nothing to do but read: connecting, and every way in which a call is over. And the two questions
// that are asked before something that cannot be undone.

import { html, nothing, type SVGTemplateResult, type TemplateResult } from "lit";
import { isOnStage } from "../sdk/call-state.ts";
import { ICONS } from "./icons.ts";
import type { OpenDialog, View } from "./view.ts";

interface Closing {
  readonly icon: SVGTemplateResult;
  readonly title: string;
  readonly text: string;
  readonly button?: string;
  readonly calm?: boolean;
}

export function connectingScreen({ strings, state }: View): TemplateResult {
  return html`<main class="screen message" part="message">
    <span class="spinner large" aria-hidden="true"></span>
    <h1 tabindex="-1">${strings.connectingTitle}</h1>
    <p class="lead">${state.socket === "lost" ? strings.connectingAgain : strings.connectingText}</p>
  </main>`;
}

export function closingScreen(view: View): TemplateResult {
  const { icon, title, text, button, calm } = closingOf(view);
  return html`<main class="screen message" part="message">
    <div class="emblem ${calm ? "calm" : ""}">${icon}</div>
    <h1 tabindex="-1">${title}</h1>
    <p class="lead">${text}</p>
    ${button === undefined
      ? nothing
      : html`<button class="primary large" data-action="restart" @click=${() => view.actions.restart()}>${button}</button>`}
  </main>`;
}

function closingOf({ strings, state }: View): Closing {
  switch (state.phase) {
    case "ended":
      return { icon: ICONS.check, title: strings.endedTitle, text: strings.endedText, calm: true };
    case "left":
      return { icon: ICONS.check, title: strings.leftTitle, text: strings.leftText, button: strings.rejoin, calm: true };
    case "removed":
      return { icon: ICONS.lock, title: strings.removedTitle, text: strings.removedText };
    case "replaced":
      return { icon: ICONS.screen, title: strings.replacedTitle, text: strings.replacedText, button: strings.takeBack };
    default: {
      const reason = state.failure ?? "unreachable";
      const [title, text] = strings.failures[reason];
      const again = reason === "unreachable" || reason === "unavailable" || reason === "page_outdated";
      const icon = reason === "no_link" ? ICONS.link : ICONS.alert;
      return { icon, title, text, calm: reason === "no_link", ...(again ? { button: strings.reload } : {}) };
    }
  }
}

export function dialogView(view: View): TemplateResult | typeof nothing {
  const { dialog, actions } = view;
  if (dialog === null) return nothing;
  return html`<dialog
    part="dialog"
    aria-labelledby="dialog-title"
    data-dialog=${dialog.kind}
    @close=${() => actions.closeDialog()}
    @click=${(event: Event) => event.target === event.currentTarget && actions.closeDialog()}
  >
    <div class="dialog">${dialog.kind === "leave" ? leaveQuestion(view) : removeQuestion(view, dialog)}</div>
  </dialog>`;
}

function leaveQuestion({ strings, state, actions }: View): TemplateResult {
  const endsAll = state.permissions.end && isOnStage(state.phase);
  return html`<h2 id="dialog-title">${isOnStage(state.phase) ? strings.leaveTitle : strings.leaveWaitingTitle}</h2>
    <p>${strings.leaveText}${endsAll ? html`<br />${strings.endText}` : nothing}</p>
    <div class="answers">
      ${endsAll
        ? html`<button class="danger" data-action="confirm-end" @click=${() => actions.end()}>${strings.endConfirm}</button>`
        : nothing}
      <button class=${endsAll ? "secondary" : "danger"} data-action="confirm-leave" @click=${() => actions.leave()}>
        ${endsAll ? strings.leaveOnly : strings.leaveConfirm}
      </button>
      <button class="secondary" data-action="cancel" autofocus @click=${() => actions.closeDialog()}>${strings.cancel}</button>
    </div>`;
}

function removeQuestion(
  { strings, call, actions }: View,
  { seat, name, waiting }: Extract<OpenDialog, { kind: "remove" }>,
): TemplateResult {
  const confirm = () => {
    call.remove(seat);
    actions.closeDialog();
  };
  return html`<h2 id="dialog-title">${waiting ? strings.refuseTitle(name) : strings.removeTitle(name)}</h2>
    ${waiting ? nothing : html`<p>${strings.removeText}</p>`}
    <div class="answers">
      <button class="danger" data-action="confirm-remove" data-seat=${seat} @click=${confirm}>
        ${waiting ? strings.refuseConfirm : strings.removeConfirm}
      </button>
      <button class="secondary" data-action="cancel" autofocus @click=${() => actions.closeDialog()}>${strings.cancel}</button>
    </div>`;
}

// The screens with nothing to do but read: connecting, and every way in which a call is over.

import { html, nothing, type SVGTemplateResult, type TemplateResult } from "lit";
import type { Choice } from "../protocol/generated.ts";
import type { FailureReason } from "../sdk/call-state.ts";
import { ICONS } from "./icons.ts";
import type { View } from "./view.ts";

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
    case "moved":
      return { icon: ICONS.screen, title: strings.movedTitle, text: strings.movedText, button: strings.takeBack };
    case "declined": {
      const [title, text] = strings.declined[declinedAs(state.choice)];
      return { icon: ICONS.check, title, text, calm: true };
    }
    case "replaced":
      return { icon: ICONS.screen, title: strings.replacedTitle, text: strings.replacedText, button: strings.takeBack };
    default: {
      const reason = state.failure ?? "unreachable";
      const [title, text] = strings.failures[reason];
      const icon = reason === "no_link" ? ICONS.link : CALM.includes(reason) ? ICONS.check : ICONS.alert;
      const again = AGAIN.includes(reason) ? { button: strings.reload } : {};
      return { icon, title, text, calm: CALM.includes(reason), ...again };
    }
  }
}

function declinedAs(choice: Choice | null): "consent" | "in_person" | "phone" {
  return choice === "in_person" || choice === "phone" ? choice : "consent";
}

/** Nothing went wrong: the person chose so, or has not begun yet. */
const CALM: readonly FailureReason[] = ["no_link", "over", "seat_declined"];
/** Worth another try from here. */
const AGAIN: readonly FailureReason[] = ["unreachable", "unavailable", "full", "draining", "page_outdated"];

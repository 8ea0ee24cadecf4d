// What is asked before media, one question on a screen: log in, who one is going to see, consent, who else is there, and
// how one wants to be seen. Refusing is asked once more, because it cannot be taken back.

import { html, nothing, type TemplateResult } from "lit";
import type { Card, Gate } from "../protocol/generated.ts";
import { cardsPending } from "../sdk/call-state.ts";
import { ICONS } from "./icons.ts";
import type { Strings } from "./strings.ts";
import type { Refusal, View } from "./view.ts";

export function gateScreen(view: View): TemplateResult {
  const { strings, state } = view;
  const [gate] = state.gates;
  const step = state.gatesTotal - state.gates.length + 1;
  return html`<main class="screen gate" part="gate" data-gate=${gate?.gate ?? ""}>
    ${state.gatesTotal > 1 ? html`<p class="step">${strings.gateStep(step, state.gatesTotal)}</p>` : nothing}
    ${gate === undefined ? nothing : question(view, gate)}
    ${state.socket === "lost"
      ? html`<p class="notice" role="status">${ICONS.signal}<span>${strings.reconnectingShort}</span></p>`
      : nothing}
    <p class="quiet">${ICONS.lock}<span>${strings.gatePrivate}</span></p>
  </main>`;
}

function question(view: View, gate: Gate): TemplateResult {
  switch (gate.gate) {
    case "login":
      return loginQuestion(view);
    case "card":
      return cardQuestion(view);
    case "consent":
      return consentQuestion(view, gate.text);
    case "third_person":
      return thirdPersonQuestion(view);
    case "preference":
      return preferenceQuestion(view);
  }
}

function loginQuestion({ strings, actions, login }: View): TemplateResult {
  return html`<h1 tabindex="-1">${strings.loginTitle}</h1>
    <p class="lead">${strings.loginText}</p>
    ${login === "failed" ? html`<p class="notice" role="alert">${ICONS.alert}<span>${strings.loginFailed}</span></p>` : nothing}
    <div class="answers">
      <button class="primary large" data-action="login" ?disabled=${login === "asked"} @click=${() => actions.login()}>
        ${strings.login}
      </button>
    </div>`;
}

function cardQuestion(view: View): TemplateResult {
  const { strings } = view;
  return html`<h1 tabindex="-1">${strings.cardTitle}</h1>
    <p>${strings.cardText}</p>
    ${cardList(view)}
    <div class="answers">${cardButton(view)}</div>`;
}

export function cardButton({ strings, call, state }: View): TemplateResult {
  const seats = cardsPending(state).map(({ seat }) => seat);
  return html`<button class="primary large" data-action="card-read" @click=${() => call.answer({ gate: "card", seats })}>
    ${strings.cardRead}
  </button>`;
}

/** Every card that is still to be read: what is known of it, in words. */
export function cardList({ strings, state }: View): TemplateResult {
  return html`<ul class="cards">
    ${cardsPending(state).map((card) => html`<li class="card" data-seat=${card.seat}>${cardBody(card, strings)}</li>`)}
  </ul>`;
}

export function cardName({ title, name }: Card, strings: Strings): string {
  return [title, name].filter((part) => part !== null && part !== "").join(" ") || strings.roles.practitioner;
}

function cardBody(card: Card, strings: Strings): TemplateResult {
  const rows: ReadonlyArray<readonly [string, string | null]> = [
    [strings.cardSpecialty, card.specialty],
    [strings.cardAddress, card.address],
    [strings.cardRpps, card.rpps],
    [strings.cardFee, card.fee],
  ];
  return html`<h2>${cardName(card, strings)}</h2>
    <dl>
      ${rows.map(([label, value]) => (value ? html`<dt>${label}</dt><dd>${value}</dd>` : nothing))}
    </dl>`;
}

function consentQuestion({ strings, call, actions, consentTexts }: View, text: string): TemplateResult {
  const points = consentTexts?.[text] ?? strings.consentTexts[text] ?? strings.consentTexts["1"] ?? [];
  return html`<h1 tabindex="-1">${strings.consentTitle}</h1>
    <ul class="points" data-text=${text}>
      ${points.map((point) => html`<li>${point}</li>`)}
    </ul>
    <div class="answers">
      <button class="primary large" data-action="consent" @click=${() => call.answer({ gate: "consent", text, accepted: true })}>
        ${strings.consentAccept}
      </button>
      <button class="secondary large" data-action="refuse-consent" @click=${() => actions.openDialog({ kind: "decline", refusal: "consent" })}>
        ${strings.consentRefuse}
      </button>
    </div>`;
}

function thirdPersonQuestion({ strings, call }: View): TemplateResult {
  const answer = (present: boolean) => () => call.answer({ gate: "third_person", present });
  return html`<h1 tabindex="-1">${strings.thirdTitle}</h1>
    <p class="lead">${strings.thirdText}</p>
    <div class="answers">
      <button class="secondary large" data-action="alone" @click=${answer(false)}>${strings.thirdAlone}</button>
      <button class="secondary large" data-action="accompanied" @click=${answer(true)}>${strings.thirdPresent}</button>
    </div>`;
}

function preferenceQuestion({ strings, call, actions }: View): TemplateResult {
  const other = (refusal: "in_person" | "phone") =>
    html`<button class="secondary large" data-action="prefer-${refusal}" @click=${() => actions.openDialog({ kind: "decline", refusal })}>
      ${strings.choices[refusal]}
    </button>`;
  return html`<h1 tabindex="-1">${strings.preferenceTitle}</h1>
    <p class="lead">${strings.preferenceText}</p>
    <div class="answers">
      <button class="primary large" data-action="prefer-video" @click=${() => call.answer({ gate: "preference", choice: "video" })}>
        ${strings.choices.video}
      </button>
      ${other("in_person")} ${other("phone")}
    </div>`;
}

export function declineQuestion({ strings, call, state, actions }: View, refusal: Refusal): TemplateResult {
  const withdraws = refusal === "withdraw";
  const decline = () => {
    actions.closeDialog();
    if (refusal === "withdraw") call.withdrawConsent();
    else if (refusal === "consent") call.answer({ gate: "consent", text: state.consentText ?? "1", accepted: false });
    else call.answer({ gate: "preference", choice: refusal });
  };
  return html`<h2 id="dialog-title">${withdraws ? strings.withdrawTitle : strings.declineTitles[refusal]}</h2>
    <p>${withdraws ? strings.withdrawText : strings.declineText}</p>
    <div class="answers">
      <button class="danger" data-action="confirm-decline" @click=${decline}>
        ${withdraws ? strings.withdrawConfirm : strings.declineConfirms[refusal]}
      </button>
      <button class="secondary" data-action="cancel" autofocus @click=${() => actions.closeDialog()}>
        ${withdraws ? strings.withdrawCancel : strings.declineBack}
      </button>
    </div>`;
}

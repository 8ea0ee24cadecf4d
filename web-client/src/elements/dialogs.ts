// What opens over a screen and asks one thing: before something that cannot be undone, the card of a professional who came
// later, whom to invite, to whom to hand over. One dialog at a time.

import { html, nothing, type TemplateResult } from "lit";
import type { HandOverReason, Role, SeatInfo } from "../protocol/generated.ts";
import { cardsPending, isOnStage } from "../sdk/call-state.ts";
import { seatName } from "./announcements.ts";
import { cardButton, cardList, declineQuestion } from "./gates.ts";
import { ICONS } from "./icons.ts";
import { vitalsQuestion } from "./messages.ts";
import { encryptionQuestion, phoneDialog } from "./telephone.ts";
import { mayWithdraw, type OpenDialog, type View } from "./view.ts";

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
    <div class="dialog">${content(view, dialog)}</div>
  </dialog>`;
}

function content(view: View, dialog: OpenDialog): TemplateResult {
  switch (dialog.kind) {
    case "leave":
      return leaveQuestion(view);
    case "remove":
      return removeQuestion(view, dialog);
    case "decline":
      return declineQuestion(view, dialog.refusal);
    case "card":
      return lateCard(view);
    case "menu":
      return menu(view);
    case "phone":
      return phoneDialog(view);
    case "encryption":
      return encryptionQuestion(view, dialog);
    case "vitals":
      return vitalsQuestion(view);
    case "invite":
      return view.state.invited === null ? inviteQuestion(view) : invitedLink(view, view.state.invited);
    case "hand_over":
      return handOverQuestion(view);
  }
}

/** A professional came into the call: that one's picture and voice stay closed until the card is read. */
function lateCard(view: View): TemplateResult {
  return html`<h2 id="dialog-title" tabindex="-1" autofocus>${view.strings.cardLateTitle}</h2>
    <p>${view.strings.cardLateText}</p>
    ${cardList(view)}
    <div class="answers">${cardButton(view)}</div>`;
}

function menu({ strings, state, actions }: View): TemplateResult {
  return html`<h2 id="dialog-title">${strings.more}</h2>
    <div class="answers">
      ${cardsPending(state).length > 0
        ? html`<button class="secondary" data-action="card" @click=${() => actions.openDialog({ kind: "card" })}>
            ${strings.cardLateOpen}
          </button>`
        : nothing}
      ${mayWithdraw(state)
        ? html`<button
            class="secondary"
            data-action="withdraw"
            @click=${() => actions.openDialog({ kind: "decline", refusal: "withdraw" })}
          >
            ${strings.withdraw}
          </button>`
        : nothing}
      <button class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>${strings.close}</button>
    </div>`;
}

/** Whom one may bring in; a caller comes by the regulation's own link. */
const INVITED_ROLES: readonly Role[] = ["practitioner", "expert", "nurse", "interpreter", "companion", "patient", "trainee", "guest"];

function inviteQuestion({ strings, call, state, actions }: View): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    call.invite(form.get("role") as Role, String(form.get("name") ?? ""));
  };
  return html`<h2 id="dialog-title">${strings.invite}</h2>
    <form class="answers" @submit=${submit}>
      <label for="invite-role">${strings.inviteRole}</label>
      <select id="invite-role" name="role">
        ${INVITED_ROLES.map((role) => html`<option value=${role}>${strings.roles[role]}</option>`)}
      </select>
      <label for="invite-name">${strings.inviteName}</label>
      <input id="invite-name" name="name" maxlength="80" autocomplete="off" />
      ${state.refusal === "not_permitted" ? html`<p class="notice" role="alert">${strings.saidRefusal}</p>` : nothing}
      <button class="primary" data-action="confirm-invite">${strings.inviteSend}</button>
      <button type="button" class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>${strings.cancel}</button>
    </form>`;
}

function invitedLink({ strings, actions, copied }: View, invited: { role: Role; link: string }): TemplateResult {
  const all = (event: Event) => (event.target as HTMLInputElement).select();
  return html`<h2 id="dialog-title">${strings.invitedTitle}</h2>
    <p>${strings.invitedText(strings.roles[invited.role])}</p>
    <div class="answers">
      <input id="invited-link" readonly aria-label=${strings.invitedLink} .value=${invited.link} @focus=${all} />
      <button class="primary" data-action="copy" @click=${() => actions.copy(invited.link)}>
        ${copied ? ICONS.check : ICONS.link}<span role="status">${copied ? strings.copied : strings.copy}</span>
      </button>
      <button class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>${strings.finished}</button>
    </div>`;
}

/** Roles that run consultations, a nurse where the act says so; the server decides. */
const COLLEAGUES: readonly Role[] = ["practitioner", "regulator", "nurse"];
const REASONS: readonly HandOverReason[] = ["shift_end", "specialty", "emergency", "technical", "other"];

function colleagues({ state }: View): SeatInfo[] {
  return state.seats.filter((info) => info.seat !== state.seat && COLLEAGUES.includes(info.role));
}

function handOverQuestion(view: View): TemplateResult {
  const { strings, call, state, actions } = view;
  const found = colleagues(view);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    call.handOver(String(form.get("to")), form.get("reason") as HandOverReason);
    actions.closeDialog();
  };
  const cancel = html`<button type="button" class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>
    ${strings.cancel}
  </button>`;
  if (found.length === 0) {
    return html`<h2 id="dialog-title">${strings.handOverTitle}</h2>
      <p>${strings.handOverNobody}</p>
      <div class="answers">
        ${state.permissions.invite
          ? html`<button class="primary" data-action="invite" @click=${() => actions.openDialog({ kind: "invite" })}>
              ${strings.invite}
            </button>`
          : nothing}
        ${cancel}
      </div>`;
  }
  return html`<h2 id="dialog-title">${strings.handOverTitle}</h2>
    <form class="answers" @submit=${submit}>
      <select name="to" aria-labelledby="dialog-title">
        ${found.map((info) => html`<option value=${info.seat}>${colleagueText(info, view)}</option>`)}
      </select>
      <label for="hand-over-reason">${strings.handOverReason}</label>
      <select id="hand-over-reason" name="reason">
        ${REASONS.map((reason) => html`<option value=${reason}>${strings.reasons[reason]}</option>`)}
      </select>
      <button class="primary" data-action="confirm-hand-over">${strings.handOverConfirm}</button>
      ${cancel}
    </form>`;
}

function colleagueText(info: SeatInfo, { strings }: View): string {
  const name = seatName(info, strings);
  const role = info.display_name === null ? "" : `, ${strings.roles[info.role]}`;
  return `${name}${role}${info.presence === "absent" ? ` (${strings.absent.toLowerCase()})` : ""}`;
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

// The telephone on the page: one's own (call me, how to dial in, what it does now, back to the page) and what a host sees and may
// do of another's. Words for every state and cause; numbers are masked, but for the one that is dialled to come in.

import { html, nothing, type TemplateResult } from "lit";
import type { PhoneCause, SeatInfo } from "../protocol/generated.ts";
import { isCallAwaited, isStruggling, letsIn, othersPresent, ownPhone, type CallState } from "../sdk/call-state.ts";
import { dialLink, endsEncryption, isBeingCalled, isBusy, isIn, isOutcome, type DialIn, type Phone } from "../sdk/phones.ts";
import { seatName } from "./announcements.ts";
import "./countdown.ts";
import { ICONS } from "./icons.ts";
import { causeText, numberText, otherPhoneText, outcomeText, outcomeTitle, ownCauseText, ownText } from "./phone-words.ts";
import { mayManage, type View } from "./view.ts";

/** There is something to say about this person's own telephone: it can be called, or calls, or it is said why not. */
export function mayPhone(state: CallState): boolean {
  const phone = ownPhone(state);
  return state.dialIn !== null || phone?.callable === true || isBusy(phone) || phone?.obstacle === "encryption_required";
}

/** The way to the dialog, in the waiting room and in a host's list of people. */
export function phoneButton({ strings, state, actions }: View, looks = "secondary large"): TemplateResult | typeof nothing {
  // What it does, or how it ended, has its own notice with its own buttons.
  if (!mayPhone(state) || ownPhone(state)?.doing != null) return nothing;
  return html`<button class=${looks} data-action="phone" @click=${() => actions.openDialog({ kind: "phone" })}>
    ${ICONS.phone}${strings.phone.title}
  </button>`;
}

export function phoneDialog(view: View): TemplateResult {
  const { strings, state, actions } = view;
  const { phone: words } = strings;
  const own = ownPhone(state);
  const ending = own?.ending ?? null;
  return html`<h2 id="dialog-title" tabindex="-1" autofocus>${words.title}</h2>
    <div class="answers">
      ${own?.callable && !isBusy(own)
        ? html`${callButton(view, "primary large", words.callMe)}
          ${ending === null ? nothing : html`<p>${words.callMeOn(ending)}</p>`}`
        : nothing}
      ${own?.obstacle == null || own.obstacle === "number_missing" ? nothing : html`<p>${causeText(own.obstacle, strings)}</p>`}
      ${state.dialIn === null ? nothing : dialCard(view, state.dialIn)}
      <button class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>${strings.close}</button>
    </div>`;
}

function callButton({ call, actions }: View, looks: string, text: string): TemplateResult {
  const press = () => {
    actions.closeDialog();
    call.callPhone();
  };
  return html`<button class=${looks} data-action="call-me" @click=${press}>${ICONS.phone}${text}</button>`;
}

/** To be read off the screen or touched: a telephone dials the code too. */
function dialCard({ strings }: View, dialIn: DialIn): TemplateResult {
  const { phone: words } = strings;
  const link = dialLink(dialIn);
  const number = spaced(dialIn.number);
  return html`<section class="dial" data-notice="dial-in" aria-label=${words.dialTitle}>
    <p>${words.dialTitle}</p>
    ${link === null
      ? html`<strong class="number">${number}</strong>`
      : html`<a class="button number" href=${link} aria-label=${words.dialName(number)}>${ICONS.phone}${number}</a>`}
    <p>${words.dialCode}</p>
    <strong class="number pin">${grouped(dialIn.pin)}</strong>
    <p class="hint">${words.dialPrivate}</p>
  </section>`;
}

/** By threes from the left, as people read numbers out. */
function grouped(digits: string): string {
  return digits.replace(/(\d{3})(?=\d)/g, "$1\u00a0");
}

/** French numbers by pairs, which is how they are known; others as the operator wrote them. */
function spaced(number: string): string {
  const french = /^\+33([1-9])(\d{8})$/.exec(number);
  return french === null ? number : `0${french[1]} ${french[2]?.match(/../g)?.join(" ")}`.replaceAll(" ", "\u00a0");
}

/** What one's own telephone does, or that it could help: above the pictures, and in the waiting room. */
export function ownPhoneNotice(view: View): TemplateResult | typeof nothing {
  const { state } = view;
  const phone = ownPhone(state);
  if (phone?.doing == null) return isStruggling(state) ? phoneOffer(view) : nothing;
  if (phone.doing === "planned") return planned(view, phone);
  return isOutcome(phone) ? outcome(view, phone) : progress(view, phone);
}

/** The server calls by itself in a moment. Where it cannot be reached there is nothing to press, and the call comes all the same. */
function planned({ strings, state, call }: View, phone: Phone): TemplateResult {
  const { phone: words } = strings;
  const [title, text] = words.own.planned;
  return html`<div class="notice phone" data-notice="phone" data-phone="planned">
    ${countdown(phone)}
    <span><strong>${phone.ending === null ? title : words.willCallOn(phone.ending)}</strong> ${text}</span>
    ${state.socket === "open"
      ? html`<div class="row">
          <button class="primary" data-action="call-me" @click=${() => call.callPhone()}>${ICONS.phone}${words.callMeNow}</button>
          <button class="secondary" data-action="hang-up-phone" @click=${() => call.hangUpPhone()}>${words.doNotCallMe}</button>
        </div>`
      : nothing}
  </div>`;
}

function countdown({ seconds }: Phone): TemplateResult {
  return html`<colloque-countdown class="key" aria-hidden="true" .seconds=${seconds ?? 0}></colloque-countdown>`;
}

function phoneOffer(view: View): TemplateResult | typeof nothing {
  const { strings, state } = view;
  const reachable = ownPhone(state)?.callable === true && state.socket === "open";
  if (!reachable && state.dialIn === null) return nothing;
  const { ending = null } = ownPhone(state) ?? {};
  const awaited = isCallAwaited(state) && ending !== null;
  return html`<div class="notice phone" data-notice=${awaited ? "phone-awaited" : "phone-offer"}>
    ${awaited ? html`<span class="spinner" aria-hidden="true"></span>` : ICONS.phone}
    <span>
      <strong>${awaited ? strings.phone.willCallOn(ending) : strings.phone.offer}</strong> ${awaited ? strings.phone.awaited : nothing}
    </span>
    ${reachable
      ? html`<div class="row">
          ${callButton(view, "primary", strings.phone.callMe)} ${state.dialIn === null ? nothing : otherWay(view)}
        </div>`
      : nothing}
    ${!reachable && state.dialIn !== null ? dialCard(view, state.dialIn) : nothing}
  </div>`;
}

function otherWay({ strings, actions }: View): TemplateResult {
  return html`<button class="secondary" data-action="phone" @click=${() => actions.openDialog({ kind: "phone" })}>
    ${strings.phone.otherWay}
  </button>`;
}

function progress(view: View, phone: Phone): TemplateResult {
  const { strings, state, call } = view;
  const { phone: words } = strings;
  const { doing } = phone;
  const [plain, text] = ownText(phone, state, strings);
  const title = doing === "calling" && phone.ending !== null ? words.callMeOn(phone.ending) : plain;
  const busyAgain = doing === "calling" && phone.cause === "busy";
  const told = busyAgain ? words.busyAgain : phone.cause === null || doing === "silent" ? text : ownCauseText(phone.cause, strings);
  const inside = isIn(phone);
  const steady = inside && state.steady;
  const action = isBeingCalled(phone) ? words.cancelCall : inside ? words.back : words.hangUp;
  return html`<div class="notice phone" data-notice="phone" data-phone=${doing}>
    ${doing === "confirming" ? html`<span class="key" aria-hidden="true">1</span>` : ICONS.phone}
    <span>
      <strong>${title}</strong> ${inside && phone.cause === "encryption_ends" ? html`${text} ${words.encryptionOverOwn}` : told}
      ${steady ? html`<strong>${words.steady}</strong>` : nothing}
    </span>
    <div class="row">
      ${ownAdmission(view, phone)}
      <button class=${steady ? "primary" : "secondary"} data-action="hang-up-phone" @click=${() => call.hangUpPhone()}>${action}</button>
    </div>
  </div>`;
}

/** How it ended and what to do next, until it is read. */
function outcome(view: View, phone: Phone): TemplateResult {
  const { strings, state, call } = view;
  const { phone: words } = strings;
  const dials = state.dialIn !== null && phone.doing === "failed";
  const admission = ownAdmission(view, phone);
  const again = phone.callable && phone.cause !== "encryption_ends" && phone.cause !== "back_to_page";
  return html`<div class="notice phone" data-notice="phone" data-phone=${phone.doing} data-cause=${phone.cause ?? ""}>
    ${ICONS.phone}
    <span><strong>${outcomeTitle(phone, strings)}</strong> ${outcomeText(phone, state.dialIn !== null, strings)}</span>
    ${dismissal(view, () => call.dismiss("phone"))}
    ${again || dials || admission !== nothing
      ? html`<div class="row">
          ${admission} ${again ? callButton(view, "primary", words.callMeAgain) : nothing} ${dials ? otherWay(view) : nothing}
        </div>`
      : nothing}
  </div>`;
}

/** Whoever runs the consultation lets the own telephone in too: a code can be overheard, and a voice has no face. */
function ownAdmission(view: View, phone: Phone): TemplateResult | typeof nothing {
  const { strings, state, call } = view;
  const own = state.seats.find(({ seat }) => seat === state.seat);
  if (own === undefined || !letsIn(state)) return nothing;
  if (endsEncryption(phone)) return hostButtons(view, own, phone);
  if (phone.doing !== "waiting") return nothing;
  return html`<button class="primary" data-action="admit" data-seat=${own.seat} @click=${() => call.admit(own.seat, own.arrival)}>
    ${strings.admit}
  </button>`;
}

/** What others' telephones do and whoever is in the room should know at once; what the list of people says already is not said twice. */
export function othersPhoneNotice(view: View): TemplateResult {
  const found = othersPresent(view.state).flatMap((info) => {
    const phone = view.state.phones[info.seat];
    return phone === undefined ? [] : [otherNotice(view, info, phone)];
  });
  return html`${found}`;
}

function otherNotice(view: View, info: SeatInfo, phone: Phone): TemplateResult | typeof nothing {
  const { strings, call, panel } = view;
  const { phone: words } = strings;
  const name = seatName(info, strings);
  if (isIn(phone) && phone.cause === "encryption_ends") {
    return html`<div class="notice" data-notice="encryption">${ICONS.lock}<span>${words.encryptionOver(name)}</span></div>`;
  }
  const { doing } = phone;
  // What somebody here has just done is no news; whoever waits has a notice of their own.
  const known = doing === null || doing === "in" || doing === "waiting" || phone.cause === "cancelled" || phone.cause === "back_to_page";
  if (known || (doing !== "planned" && panel === "people")) return nothing;
  return html`<div class="notice phone" data-notice="phone-other" data-phone=${doing}>
    ${doing === "planned" ? countdown(phone) : ICONS.phone}
    <span><strong>${name}</strong> <span class="said">${otherPhoneText(phone, strings)}</span></span>
    ${isOutcome(phone) ? dismissal(view, () => call.dismiss("phone", info.seat)) : nothing}
    ${view.state.permissions.admit ? html`<div class="row">${hostButtons(view, info, phone)}</div>` : nothing}
  </div>`;
}

function dismissal({ strings }: View, act: () => void): TemplateResult {
  return html`<button class="bare" data-action="dismiss" aria-label=${strings.understood} title=${strings.understood} @click=${act}>
    ${ICONS.close}
  </button>`;
}

/** In the list of people: what a telephone does, and what a host may do about it. */
export function phoneLine(view: View, info: SeatInfo): TemplateResult | typeof nothing {
  const { strings, state } = view;
  const phone = state.phones[info.seat];
  if (phone === undefined) return nothing;
  const { phone: words } = strings;
  const waits = phone.doing === "waiting";
  const text = phone.doing === null ? obstacleOf(phone.obstacle, info, view) : otherPhoneText(phone, strings);
  // Whose number it is, hosts alone are told.
  const number = waits && state.permissions.admit ? numberText(phone, strings) : null;
  return html`<div class="phone-line" data-seat=${info.seat} data-phone=${phone.doing ?? (phone.callable ? "ready" : "unavailable")}>
    ${text === null
      ? nothing
      : html`<p>${ICONS.phone}<span>${[text, number].filter((part) => part !== null).join(", ")}</span></p>`}
    ${waits && state.permissions.admit ? html`<p class="hint">${words.askIdentity}</p>` : nothing}
    ${info.telephone?.hand ? html`<p class="hand">${ICONS.hand}<span>${words.hand}</span></p>` : nothing}
    ${state.permissions.admit && phone.doing !== "planned" ? hostButtons(view, info, phone) : nothing}
  </div>`;
}

/** That there is no number is no news; that a number will not do is, for whoever is not here. */
function obstacleOf(obstacle: PhoneCause | null, { presence }: SeatInfo, { strings }: View): string | null {
  return obstacle === null || presence === "present" || obstacle === "number_missing" || obstacle === "switched_off" ? null : causeText(obstacle, strings);
}

/** What was planned has its buttons in the notice, which is shown beside the list as well. */
function hostButtons(view: View, info: SeatInfo, phone: Phone): TemplateResult | typeof nothing {
  const { strings, call, actions } = view;
  const { seat } = info;
  const { phone: words } = strings;
  const name = seatName(info, strings);
  const button = (action: string, text: string, act: () => void, looks = "secondary") =>
    html`<button class=${looks} data-action=${action} data-seat=${seat} aria-label=${`${text} (${name})`} @click=${act}>${text}</button>`;
  if (endsEncryption(phone)) {
    return button("phone-encryption", words.encryptionAccept, () => actions.openDialog({ kind: "encryption", seat, name }));
  }
  if (phone.doing === "planned") {
    return html`${button("call-phone", words.callNow, () => call.callPhone(seat), "primary")}
      ${button("hang-up-phone", words.doNotCall, () => call.hangUpPhone(seat))}`;
  }
  if (isBeingCalled(phone)) return button("hang-up-phone", words.cancelCall, () => call.hangUpPhone(seat));
  if (isIn(phone)) return hangUpButton(view, info);
  if (phone.doing === "waiting" || !phone.callable) return nothing;
  return button("call-phone", isOutcome(phone) ? words.callAgain : words.call, () => call.callPhone(seat));
}

/** Ends the call alone: whoever is on the seat by a page stays. */
export function hangUpButton({ strings, call }: View, { seat, ...info }: SeatInfo): TemplateResult {
  const text = strings.phone.hangUpTheirs;
  return html`<button
    class="secondary"
    data-action="hang-up-phone"
    data-seat=${seat}
    aria-label=${`${text} (${seatName(info, strings)})`}
    @click=${() => call.hangUpPhone(seat)}
  >
    ${text}
  </button>`;
}

/** The practitioner alone says that encryption may end; everybody is told then. */
export function encryptionQuestion({ strings, call, actions }: View, { seat, name }: { seat: string; name: string }): TemplateResult {
  const { phone: words } = strings;
  const confirm = () => {
    call.callPhone(seat, true);
    actions.closeDialog();
  };
  return html`<h2 id="dialog-title">${words.encryptionTitle}</h2>
    <p>${words.encryptionText(name)}</p>
    <div class="answers">
      <button class="danger" data-action="confirm-encryption" @click=${confirm}>${words.encryptionConfirm}</button>
      <button class="secondary" data-action="cancel" autofocus @click=${() => actions.closeDialog()}>${strings.cancel}</button>
    </div>`;
}

/** On the picture of who speaks by telephone; in place of the sign that the page's microphone is off. */
export function phoneMark({ strings, state }: View, seat: string | null): TemplateResult | typeof nothing {
  const telephone = state.seats.find((info) => info.seat === seat)?.telephone;
  if (telephone == null) return nothing;
  return html`<span class="by-phone">${ICONS.phone}<span>${strings.phone.others.in}</span></span>
    ${telephone.hand ? html`<span class="hand">${ICONS.hand}<span class="unseen">${strings.phone.hand}</span></span>` : nothing}`;
}

/**
 * The control in the call: the dialog, or nothing while the telephone is in use and its notice says all. Who sees the list of people has it
 * there: a seventh control would stand alone in a second row of a narrow window.
 */
export function phoneControl({ strings, state, actions }: View): TemplateResult | typeof nothing {
  if (!mayPhone(state) || isBusy(ownPhone(state)) || mayManage(state)) return nothing;
  return html`<button data-action="phone" title=${strings.phone.title} @click=${() => actions.openDialog({ kind: "phone" })}>
    <span class="disc">${ICONS.phone}</span>
    <span class="word" aria-hidden="true">${strings.phone.word}</span>
    <span class="unseen">${strings.phone.title}</span>
  </button>`;
}

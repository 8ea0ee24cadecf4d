// Messages and files of this consultation, and the readings that a patient or a nurse sends. All of it goes from page to page
// and is gone with the call; this says so where people write.

import { html, nothing, type TemplateResult } from "lit";
import { NOTE_LEN_MAX, VITAL_NAMES, readVitals, type Note, type VitalName } from "../sdk/exchange.ts";
import { FILE_BYTES_MAX, type Transfer } from "../sdk/files.ts";
import { seatName } from "./announcements.ts";
import { ICONS } from "./icons.ts";
import type { View } from "./view.ts";

export function messagesPanel(view: View): TemplateResult {
  const { strings, state, call, actions } = view;
  const lines = [...call.exchanges.notes, ...call.exchanges.transfers].sort((one, other) => one.at - other.at);
  return html`<section class="panel messages" part="messages" aria-labelledby="messages-title">
    <header>
      <h2 id="messages-title">${strings.messages}</h2>
      <button class="bare" data-action="close-messages" aria-label=${strings.close} @click=${() => actions.togglePanel("messages")}>
        ${ICONS.close}
      </button>
    </header>
    <p class="hint">${strings.messagesGo}</p>
    <ul class="notes" role="log" aria-label=${strings.messages} tabindex="0">
      ${lines.map((line) => ("text" in line ? noteRow(view, line) : fileRow(view, line)))}
    </ul>
    ${state.permissions.chat ? noteForm(view) : nothing}
    <div class="row">
      ${state.permissions.files
        ? html`<label class="button secondary">
            ${ICONS.file}${strings.sendFile}
            <input class="unseen" type="file" data-action="file" @change=${(event: Event) => chosen(view, event)} />
          </label>`
        : nothing}
      ${state.permissions.vitals
        ? html`<button class="secondary" data-action="vitals" @click=${() => actions.openDialog({ kind: "vitals" })}>
            ${strings.sendVitals}
          </button>`
        : nothing}
    </div>
    ${view.fileRefused ? html`<p class="notice" role="alert">${strings.fileRefused(FILE_BYTES_MAX / 1024 / 1024)}</p>` : nothing}
  </section>`;
}

function noteRow(view: View, { from, text }: Note): TemplateResult {
  return html`<li class="note ${from === null ? "own" : ""}"><strong>${senderName(view, from)}</strong><span>${text}</span></li>`;
}

function fileRow(view: View, { from, name, progress, status, url }: Transfer): TemplateResult {
  const { strings } = view;
  const percent = Math.floor(progress * 100);
  const words = { moving: strings.fileMoving(percent), done: from === null ? strings.fileSent : "", failed: strings.fileFailed }[status];
  return html`<li class="note ${from === null ? "own" : ""}" data-file=${status}>
    <strong>${senderName(view, from)}</strong>
    <span class="file">${ICONS.file}${name}</span>
    ${url === null ? html`<span class="hint">${words}</span>` : html`<a class="button primary" href=${url} download=${name}>${strings.saveFile}</a>`}
  </li>`;
}

function senderName({ state, strings }: View, from: string | null): string {
  if (from === null) return strings.you;
  const info = state.seats.find(({ seat }) => seat === from);
  return info === undefined ? strings.roles.guest : seatName(info, strings);
}

function noteForm({ strings, call }: View): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const input = (event.target as HTMLFormElement).elements.namedItem("note") as HTMLInputElement;
    if (call.exchanges.write(input.value)) input.value = "";
  };
  return html`<form class="write" @submit=${submit}>
    <input name="note" maxlength=${NOTE_LEN_MAX} autocomplete="off" enterkeyhint="send" aria-label=${strings.yourMessage} placeholder=${strings.yourMessage} />
    <button class="primary" data-action="send">${strings.send}</button>
  </form>`;
}

function chosen({ call, actions }: View, event: Event): void {
  const input = event.target as HTMLInputElement;
  const [file] = input.files ?? [];
  if (file !== undefined) actions.fileRefused(!call.exchanges.sendFile(file));
  input.value = "";
}

export function vitalsQuestion({ strings, call, actions }: View): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const typed = VITAL_NAMES.map((name) => [name, parseFloat(String(form.get(name)).replace(",", "."))]);
    if (call.exchanges.sendVitals(readVitals(Object.fromEntries(typed)))) actions.closeDialog();
  };
  return html`<h2 id="dialog-title">${strings.sendVitals}</h2>
    <form class="answers" @submit=${submit}>
      ${VITAL_NAMES.map(
        (name) =>
          html`<label for="vital-${name}">${strings.vitals[name][0]} (${strings.vitals[name][1]})</label>
            <input id="vital-${name}" name=${name} inputmode="decimal" autocomplete="off" maxlength="6" />`,
      )}
      <button class="primary" data-action="confirm-vitals">${strings.send}</button>
      <button type="button" class="secondary" data-action="cancel" @click=${() => actions.closeDialog()}>${strings.cancel}</button>
    </form>`;
}

/** The last value of each reading of a seat, with a small curve of those before. */
export function vitalsOf({ strings, call, state }: View, seat: string): TemplateResult | typeof nothing {
  const readings = call.exchanges.vitals.get(seat);
  if (readings === undefined) return nothing;
  const number = new Intl.NumberFormat(state.language ?? "fr", { maximumFractionDigits: 1 });
  const row = (name: VitalName) => {
    const values = readings[name];
    const last = values?.at(-1);
    if (values === undefined || last === undefined) return nothing;
    const [label, unit] = strings.vitals[name];
    return html`<div data-vital=${name}><dt>${label}</dt><dd>${number.format(last)} ${unit}</dd>${curve(values)}</div>`;
  };
  return html`<dl class="vitals">${VITAL_NAMES.map(row)}</dl>`;
}

function curve(values: readonly number[]): TemplateResult | typeof nothing {
  if (values.length < 3) return nothing;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const points = values.map((value, index) => {
    const x = (index * 60) / (values.length - 1);
    return `${x.toFixed(1)},${(15 - (14 * (value - low)) / (high - low || 1)).toFixed(1)}`;
  });
  return html`<svg viewBox="0 0 60 16" aria-hidden="true"><polyline points=${points.join(" ")} /></svg>`;
}

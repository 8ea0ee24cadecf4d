// Before anything is sent: one's own picture, the level of one's voice, the choice of devices, and plain help when the
// browser gives none.

import { html, nothing, type TemplateResult } from "lit";
import { isHost } from "../sdk/call-state.ts";
import type { DeviceProblem } from "../sdk/devices.ts";
import { ICONS } from "./icons.ts";
import type { Strings } from "./strings.ts";
import type { View } from "./view.ts";

export function previewScreen(view: View): TemplateResult {
  const { strings, state } = view;
  return html`<main class="screen preview" part="preview">
    <div class="intro">
      <h1 tabindex="-1">${isHost(state.role) ? strings.previewTitleHost : strings.previewTitle}</h1>
      <p class="quiet">${ICONS.lock}<span>${strings.previewText}</span></p>
    </div>
    ${selfPicture(view)}
    <div class="settings">
      ${help(view)} ${view.asking ? nothing : [deviceRow(view, "camera"), deviceRow(view, "microphone")]}
      <button class="primary large" data-action="enter" @click=${() => view.actions.enter()}>${enterText(view)}</button>
    </div>
  </main>`;
}

/** One's own picture, mirrored as people know it; used in the waiting room too. */
export function selfPicture(view: View): TemplateResult {
  const { strings, call, preview, asking } = view;
  const shown = call.local.camera.on;
  return html`<div class="self-picture" data-camera=${shown ? "on" : "off"} data-asking=${asking ? "yes" : "no"}>
    <colloque-media class="mirrored" .shape=${"fill"} .muted=${true} .stream=${preview} .label=${strings.previewLabel}></colloque-media>
    ${shown
      ? nothing
      : html`<div class="cover">
          ${asking
            ? html`<strong>${strings.allowTitle}</strong><span>${strings.allowText}</span>`
            : html`${ICONS.cameraOff}<span>${strings.cameraOffText}</span>`}
        </div>`}
    <div class="over-picture">${roundToggle(view, "microphone")} ${roundToggle(view, "camera")}</div>
  </div>`;
}

function roundToggle(view: View, source: "microphone" | "camera"): TemplateResult {
  const { strings, call, actions } = view;
  const { on, track, problem } = call.local[source];
  const words = on
    ? { microphone: strings.microphoneIsOn, camera: strings.cameraIsOn }
    : { microphone: strings.microphoneIsOff, camera: strings.cameraIsOff };
  const icons = on
    ? { microphone: ICONS.microphone, camera: ICONS.camera }
    : { microphone: ICONS.microphoneOff, camera: ICONS.cameraOff };
  return html`<button
    class="round ${on ? "" : "off"}"
    data-action=${source}
    title=${words[source]}
    aria-label=${words[source]}
    ?disabled=${track === null && problem === null && view.asking}
    @click=${() => actions.toggle(source)}
  >
    ${icons[source]}
  </button>`;
}

function deviceRow(view: View, source: "camera" | "microphone"): TemplateResult | typeof nothing {
  const { strings, devices, call } = view;
  const list = source === "camera" ? devices.cameras : devices.microphones;
  const { problem, track } = call.local[source];
  // The help above says it already.
  if (track === null && problem === "refused") return nothing;
  const chosen = view.chosen[source] ?? track?.getSettings().deviceId;
  return html`<div class="device">
    <label for=${source}>${strings[source]}</label>
    ${list.length === 0
      ? html`<p class="none">${strings.problems[problem ?? "missing"]}</p>`
      : html`<select
          id=${source}
          @change=${(event: Event) => view.actions.chooseDevice(source, (event.target as HTMLSelectElement).value)}
        >
          ${list.map(
            (device) =>
              html`<option value=${device.deviceId} ?selected=${device.deviceId === chosen}>${device.label}</option>`,
          )}
        </select>`}
    ${source === "microphone" && track !== null ? level(strings) : nothing}
  </div>`;
}

/** The element fills the bar itself, fifteen times a second, without drawing the page anew. */
function level(strings: Strings): TemplateResult {
  return html`<div class="level" data-live="no" role="img" aria-label=${strings.level}><div class="level-bar"></div></div>
    <p class="hint">${strings.speakNow}</p>`;
}

function enterText({ strings, state, call, asking }: View): string {
  const { microphone, camera } = call.local;
  if (!asking && microphone.problem !== null && camera.problem !== null) return strings.enterListening;
  if (!asking && camera.problem !== null) return strings.enterAnyway;
  return isHost(state.role) ? strings.enterCall : strings.enterWaiting;
}

function help(view: View): TemplateResult | typeof nothing {
  const { strings, call, asking } = view;
  const problem = call.local.camera.problem ?? call.local.microphone.problem;
  if (asking || problem === null) return nothing;
  const { title, steps } = helpFor(problem, strings);
  return html`<section class="help" data-problem=${problem} role="alert">
    <h2>${ICONS.alert}${title}</h2>
    <ol>
      ${steps.map((step) => html`<li>${step}</li>`)}
    </ol>
    <button class="secondary" data-action="retry-devices" @click=${() => view.actions.retryDevices()}>
      ${strings.retry}
    </button>
  </section>`;
}

function helpFor(problem: DeviceProblem, strings: Strings): { title: string; steps: readonly string[] } {
  switch (problem) {
    case "refused":
      return { title: strings.helpRefusedTitle, steps: strings.helpRefused };
    case "busy":
      return { title: strings.helpBusyTitle, steps: strings.helpBusy };
    case "missing":
      return { title: strings.helpMissingTitle, steps: strings.helpMissing };
    case "unsupported":
      return { title: strings.helpUnsupportedTitle, steps: strings.helpUnsupported };
  }
}

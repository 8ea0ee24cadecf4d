// The call itself: the others large, oneself small, what one can do underneath, and what is wrong in words on top.

import { html, nothing, type TemplateResult } from "lit";
import { repeat } from "lit/directives/repeat.js";
import { seatsWaiting, speaksByPhone } from "../sdk/call-state.ts";
import { facesAway } from "../sdk/devices.ts";
import { seatName } from "./announcements.ts";
import { ICONS } from "./icons.ts";
import type { Point } from "./media-view.ts";
import { messagesPanel, vitalsOf } from "./messages.ts";
import { noticeList } from "./notices.ts";
import { peoplePanel } from "./people.ts";
import { phoneControl, phoneMark } from "./telephone.ts";
import { initials, stageOf, type Tile } from "./tiles.ts";
import { mayExchange, mayManage, mayWithdraw, type View } from "./view.ts";

export function stageScreen(view: View): TemplateResult {
  const { strings, state } = view;
  const { screens, seats } = stageOf(state);
  const layout = screens.length > 0 ? "screen" : "faces";
  const title = state.phase === "joining" ? strings.joiningTitle : strings.brand;
  return html`<main class="stage" part="stage" data-panel=${view.panel === null ? "closed" : "open"} data-aside=${state.aside}>
    <h1 class="unseen" tabindex="-1">${title}</h1>
    <div class="notices">${noticeList(view)}</div>
    <div class="tiles" data-layout=${layout} data-count=${seats.length + screens.length}>
      ${seats.length + screens.length === 0 ? alone(view) : nothing}
      ${repeat([...screens, ...seats], ({ key }) => key, (tile) => tileView(view, tile))} ${selfTile(view)}
      ${state.aside === "outside" ? apart(view) : nothing}
    </div>
    ${view.panel === "people" ? peoplePanel(view) : nothing} ${view.panel === "messages" ? messagesPanel(view) : nothing}
    ${controls(view)}
  </main>`;
}

function alone({ strings, state }: View): TemplateResult {
  const joining = state.phase === "joining";
  return html`<div class="alone">
    <div class="breath">${ICONS.people}</div>
    <p class="alone-title">${joining ? strings.joiningTitle : strings.aloneTitle}</p>
    ${joining ? nothing : html`<p>${strings.aloneText}</p>`}
  </div>`;
}

/** In place of the pictures, which stand still meanwhile: that one is shut out, and that it will be over. */
function apart({ strings }: View): TemplateResult {
  return html`<div class="apart" data-notice="aside">
    <div class="breath">${ICONS.clock}</div>
    <p class="alone-title">${strings.asideTitle}</p>
    <p>${strings.asideText}</p>
  </div>`;
}

function tileView(view: View, tile: Tile): TemplateResult {
  const { strings, call, state } = view;
  const name = seatName({ display_name: tile.displayName, role: tile.role }, strings);
  const screen = tile.source === "screen";
  const stream = tile.slot === null ? null : (call.slots[tile.slot]?.stream ?? null);
  const picture = tile.picture && !tile.codecMissing && stream !== null;
  const points = state.permissions.point && picture;
  const pointing = points && view.pointingAt === tile.key;
  return html`<figure
    class="tile"
    part="tile"
    data-seat=${tile.seat}
    data-source=${tile.source}
    data-role=${tile.role}
    data-picture=${picture ? "on" : "off"}
    data-speaking=${tile.speaking && !screen ? "yes" : "no"}
    data-reconnecting=${tile.reconnecting ? "yes" : "no"}
    data-phone=${tile.phone ? "yes" : "no"}
  >
    <colloque-media
      .muted=${speaksByPhone(state)}
      .shape=${screen ? "whole" : "fit"}
      .label=${screen ? strings.screenOf(name) : name}
      .onView=${view.actions.reportView}
      .slotNumber=${tile.slot}
      .onBlocked=${() => view.actions.playBlocked()}
      .stream=${stream}
      .points=${pointsOn(view, tile.seat, tile.source)}
      .onPoint=${pointing ? (x: number, y: number) => call.exchanges.point(tile.seat, tile.source, x, y) : null}
    ></colloque-media>
    ${screen ? nothing : vitalsOf(view, tile.seat)}
    ${points
      ? html`<button
          class="round point"
          data-action="point"
          aria-pressed=${pointing ? "true" : "false"}
          title=${strings.point}
          aria-label=${strings.point}
          @click=${() => view.actions.togglePointing(tile.key)}
        >
          ${ICONS.point}
        </button>`
      : nothing}
    ${picture ? nothing : html`<div class="avatar" aria-hidden="true"><span>${initials(name)}</span></div>`}
    ${tile.codecMissing ? html`<p class="tile-note">${strings.codecMissing}</p>` : nothing}
    ${tile.reconnecting ? html`<p class="tile-note">${strings.seatReconnecting}</p>` : nothing}
    <figcaption>
      <span class="name">${screen ? strings.screenOf(name) : name}</span>
      ${screen || tile.displayName === null ? nothing : html`<span class="role">${strings.roles[tile.role]}</span>`}
      ${screen ? nothing : phoneMark(view, tile.seat)}
      ${tile.microphone || screen
        ? nothing
        : html`<span class="state">${ICONS.microphoneOff}<span class="unseen">${strings.microphoneOff}</span></span>`}
    </figcaption>
  </figure>`;
}

function pointsOn({ call }: View, seat: string | null, source: "camera" | "screen" | "microphone"): readonly Point[] {
  return call.exchanges.pointings.filter((pointing) => pointing.seat === seat && pointing.source === source);
}

function selfTile(view: View): TemplateResult {
  const { strings, call, preview } = view;
  const { camera, microphone } = call.local;
  return html`<figure class="self-tile" part="self" data-camera=${camera.on ? "on" : "off"}>
    <colloque-media
      class=${facesAway(camera.track) ? "" : "mirrored"}
      .muted=${true}
      .stream=${preview}
      .label=${strings.previewLabel}
      .points=${pointsOn(view, view.state.seat, "camera")}
    ></colloque-media>
    ${camera.on ? nothing : html`<div class="avatar" aria-hidden="true">${ICONS.cameraOff}</div>`}
    <figcaption>
      <span class="name">${strings.you}</span>
      ${phoneMark(view, view.state.seat)}
      ${microphone.on || speaksByPhone(view.state)
        ? nothing
        : html`<span class="state">${ICONS.microphoneOff}<span class="unseen">${strings.microphoneOff}</span></span>`}
    </figcaption>
    ${camera.on && view.cameraTurns
      ? html`<button
          class="round turn"
          data-action="turn-camera"
          title=${strings.turnCamera}
          aria-label=${strings.turnCamera}
          @click=${() => void call.turnCamera()}
        >
          ${ICONS.turn}
        </button>`
      : nothing}
  </figure>`;
}

function controls(view: View): TemplateResult {
  const { strings, state, actions } = view;
  const waiting = seatsWaiting(state).length;
  const { unread } = view.call.exchanges;
  return html`<div class="controls" part="controls" role="group" aria-label=${strings.controls}>
    ${state.permissions.microphone ? sourceButton(view, "microphone") : nothing}
    ${state.permissions.camera ? sourceButton(view, "camera") : nothing}
    ${state.permissions.screen && view.screenPossible ? sourceButton(view, "screen") : nothing}
    ${mayManage(state)
      ? html`<button
          data-action="people"
          aria-expanded=${view.panel === "people" ? "true" : "false"}
          @click=${() => actions.togglePanel("people")}
        >
          <span class="disc">${ICONS.people}</span>
          <span class="word">${strings.people}</span>
          ${waiting > 0
            ? html`<span class="badge" aria-hidden="true">${waiting}</span>
                <span class="unseen">${strings.peopleWaiting(waiting)}</span>`
            : nothing}
        </button>`
      : nothing}
    ${mayExchange(state)
      ? html`<button
          data-action="messages"
          aria-expanded=${view.panel === "messages" ? "true" : "false"}
          @click=${() => actions.togglePanel("messages")}
        >
          <span class="disc">${ICONS.messages}</span>
          <span class="word">${strings.messages}</span>
          ${unread > 0
            ? html`<span class="badge" aria-hidden="true">${unread}</span><span class="unseen">${strings.unread(unread)}</span>`
            : nothing}
        </button>`
      : nothing}
    ${phoneControl(view)}
    ${mayWithdraw(state)
      ? html`<button data-action="menu" @click=${() => actions.openDialog({ kind: "menu" })}>
          <span class="disc">${ICONS.more}</span>
          <span class="word">${strings.more}</span>
        </button>`
      : nothing}
    <button class="danger" data-action="leave" @click=${() => actions.openDialog({ kind: "leave" })}>
      <span class="disc">${ICONS.leave}</span>
      <span class="word">${strings.leave}</span>
    </button>
  </div>`;
}

function sourceButton(view: View, source: "microphone" | "camera" | "screen"): TemplateResult {
  const { strings, state, call, actions } = view;
  const { on, problem } = call.local[source];
  const phoned = source === "microphone" && speaksByPhone(state);
  const stopped = phoned || state.stopped.includes(source);
  const words = {
    microphone: [strings.microphoneOn, strings.microphoneIsOn, strings.microphoneIsOff, strings.microphoneStopped],
    camera: [strings.cameraOn, strings.cameraIsOn, strings.cameraIsOff, strings.cameraStopped],
    screen: [strings.screen, strings.screenIsOn, strings.screenIsOff, strings.screenStopped],
  }[source];
  const icons = {
    microphone: [ICONS.microphone, ICONS.microphoneOff],
    camera: [ICONS.camera, ICONS.cameraOff],
    screen: [ICONS.screenOff, ICONS.screen],
  }[source];
  const action = phoned ? strings.phone.microphone : stopped ? words[3] : on ? words[1] : words[2];
  const does = problem === null ? action : `${action}. ${strings.problems[problem]}`;
  // A screen is off as a rule, so only the other two warn by their colour.
  const tone = source === "screen" ? (on ? "active" : "") : on ? "" : "off";
  return html`<button
    class=${tone}
    data-action=${source}
    data-on=${on ? "yes" : "no"}
    title=${does ?? ""}
    aria-disabled=${stopped ? "true" : "false"}
    @click=${() => actions.toggle(source)}
  >
    <span class="disc">${icons[on ? 0 : 1]}</span>
    <span class="word">${words[0]}</span>
    <span class="unseen">${does}</span>
  </button>`;
}

// <colloque-call>: a whole consultation in one element. The patient's page, the practitioner's page and a clinic's
// portal are this element with a token; what a person sees follows from the seat's role and permissions.
//
//   <colloque-call token="…" language="fr"></colloque-call>
//
// Attributes: `token` (out of a join link) or `session` (already exchanged), `base-url` (default: the script's own
// server), `language` (fr, en). Events, all composed: `colloque-phase`, `colloque-seats`, `colloque-ended`,
// `colloque-problem`. Holds no rules of the call itself: those are in `Call` and its reducer.

import { LitElement, html, type PropertyValues, type TemplateResult } from "lit";
import type { Language } from "../protocol/generated.ts";
import { INITIAL_STATE, isOnStage, isOver, type CallState } from "../sdk/call-state.ts";
import { Call } from "../sdk/call.ts";
import { canShareScreen, listDevices, watchLevel, type DeviceLists } from "../sdk/devices.ts";
import type { Session } from "../sdk/session.ts";
import { announcements } from "./announcements.ts";
import { closingScreen, connectingScreen, dialogView } from "./closing.ts";
import { ICONS } from "./icons.ts";
import { MediaView } from "./media-view.ts";
import { previewScreen } from "./preview.ts";
import { stageScreen } from "./stage.ts";
import { STRINGS, isLanguage, type Strings } from "./strings.ts";
import { STYLES } from "./styles.ts";
import type { Actions, OpenDialog, View } from "./view.ts";
import { waitingScreen } from "./waiting.ts";

/** From this width on, the list of people is beside the pictures instead of over them. */
const WIDE_PIXELS = 900;

export class ColloqueCall extends LitElement {
  static override properties = {
    token: { type: String },
    session: { type: String },
    baseUrl: { type: String, attribute: "base-url" },
    language: { type: String },
  };
  static override styles = STYLES;

  declare token: string | null;
  declare session: string | null;
  declare baseUrl: string;
  declare language: string | null;
  /** A session kept over a reload, in place of the `session` attribute; `enter` goes straight back into the call. */
  resumption: { readonly session: Session; readonly enter: boolean } | null = null;
  /** The call without its looks: state, local tracks, receive streams, statistics. */
  call: Call = this.newCall();

  private readonly resizes = new ResizeObserver(([entry]) => this.handleWidth(entry?.contentRect.width ?? 0));
  private devices: DeviceLists = { microphones: [], cameras: [] };
  private chosen: { microphone?: string; camera?: string } = {};
  private preview: MediaStream | null = null;
  private asking = false;
  private wide = false;
  private panelChoice: boolean | null = null;
  private soundBlocked = false;
  private dialog: OpenDialog | null = null;
  private shown: CallState = INITIAL_STATE;
  private said: readonly string[] = [];
  private levelTrack: MediaStreamTrack | null = null;
  private stopLevel: (() => void) | null = null;
  private switched: Language | null = null;

  constructor() {
    super();
    this.token = null;
    this.session = null;
    this.baseUrl = new URL(import.meta.url).origin;
    this.language = null;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.resizes.observe(this);
    navigator.mediaDevices?.addEventListener?.("devicechange", this.refreshDevices);
    void this.begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.resizes.disconnect();
    navigator.mediaDevices?.removeEventListener?.("devicechange", this.refreshDevices);
    this.stopLevel?.();
    this.stopLevel = this.levelTrack = null;
    this.call.close();
    this.call = this.newCall();
  }

  /** The call's state, for the embedding page. */
  get state(): CallState {
    return this.call.state;
  }

  private newCall(): Call {
    const call = new Call({ baseUrl: this.baseUrl ?? new URL(import.meta.url).origin });
    call.addEventListener("state", () => this.call === call && this.handleState());
    call.addEventListener("local", () => this.call === call && this.handleLocal());
    call.addEventListener("slots", () => this.call === call && this.requestUpdate());
    return call;
  }

  private async begin(): Promise<void> {
    // Attributes set right after the element was made are part of the same wish.
    await Promise.resolve();
    this.call = this.newCall();
    const { call } = this;
    const resumption = this.resumption;
    if (typeof RTCPeerConnection === "undefined") call.fail("unsupported");
    else if (resumption !== null) call.useSession(resumption.session, this.token);
    else if (this.session) call.useSession({ session: this.session }, this.token);
    else if (this.token) await call.exchange(this.token);
    else call.fail("no_link");
    if (call !== this.call || call.state.phase !== "preview") return;
    if (resumption?.enter) call.enter();
    await this.openDevices();
  }

  private readonly actions: Actions = {
    enter: () => this.call.enter(),
    restart: () => this.restart(),
    retryDevices: () => void this.openDevices(),
    chooseDevice: (source, device) => void this.chooseDevice(source, device),
    toggle: (source) => void this.toggle(source),
    togglePanel: () => this.togglePanel(),
    playAll: () => this.playAll(),
    playBlocked: () => this.change(() => (this.soundBlocked = true)),
    reportView: (slot, width, height) => this.call.setView(slot, width, height),
    switchLanguage: () => this.switchLanguage(),
    openDialog: (dialog) => this.change(() => (this.dialog = dialog)),
    closeDialog: () => this.closeDialog(),
    leave: () => this.leave(),
    end: () => {
      this.closeDialog();
      this.call.endForEveryone();
    },
  };

  private change(what: () => void): void {
    what();
    this.requestUpdate();
  }

  private leave(): void {
    this.closeDialog();
    this.call.leave();
  }

  private restart(): void {
    if (this.call.state.failure === "page_outdated") {
      location.reload();
      return;
    }
    const session = this.call.credentials;
    this.resumption = session === null ? null : { session, enter: false };
    this.call.close();
    void this.begin();
  }

  private async openDevices(): Promise<void> {
    const { call } = this;
    this.change(() => (this.asking = true));
    await call.openDevices(this.chosen);
    this.change(() => (this.asking = false));
    for (const device of ["microphone", "camera"] as const) {
      const { problem } = call.local[device];
      if (problem !== null) this.tell("colloque-problem", { device, problem });
    }
    await this.refreshDevices();
  }

  private readonly refreshDevices = async (): Promise<void> => {
    const devices = await listDevices();
    this.change(() => (this.devices = devices));
  };

  private async chooseDevice(source: "microphone" | "camera", device: string): Promise<void> {
    this.chosen = { ...this.chosen, [source]: device };
    if (source === "camera") await this.call.setCamera(true, device);
    else await this.call.setMicrophone(true, device);
  }

  private async toggle(source: "microphone" | "camera" | "screen"): Promise<void> {
    const on = !this.call.local[source].on;
    if (source === "screen") await this.call.setScreen(on);
    else if (source === "camera") await this.call.setCamera(on, this.chosen.camera);
    else await this.call.setMicrophone(on, this.call.local.microphone.track === null ? this.chosen.microphone : undefined);
  }

  private togglePanel(): void {
    this.change(() => (this.panelChoice = !this.panelOpen));
    if (this.panelOpen) return;
    void this.updateComplete.then(() => this.find<HTMLElement>("[data-action=people]")?.focus());
  }

  private get panelOpen(): boolean {
    return this.panelChoice ?? this.wide;
  }

  private playAll(): void {
    this.change(() => (this.soundBlocked = false));
    for (const media of this.renderRoot.querySelectorAll<MediaView>("colloque-media")) void media.play();
  }

  private switchLanguage(): void {
    this.switched = this.words === STRINGS.fr ? "en" : "fr";
    this.language = this.switched;
    this.tell("colloque-language", { language: this.switched });
  }

  private closeDialog(): void {
    if (this.dialog === null) return;
    this.find<HTMLDialogElement>("dialog")?.close();
    this.change(() => (this.dialog = null));
  }

  private get spoken(): Language {
    if (isLanguage(this.language)) return this.language;
    return this.call.state.language ?? (navigator.language.startsWith("en") ? "en" : "fr");
  }

  private get words(): Strings {
    return STRINGS[this.spoken];
  }

  private handleWidth(width: number): void {
    if (this.wide !== width >= WIDE_PIXELS) this.change(() => (this.wide = width >= WIDE_PIXELS));
  }

  private handleState(): void {
    const { state } = this.call;
    const before = this.shown;
    this.shown = state;
    const said = announcements(before, state, this.words);
    if (said.length > 0) this.said = said;
    if (before.phase !== state.phase) {
      if (isOver(state.phase)) this.dialog = null;
      this.tell("colloque-phase", { phase: state.phase, failure: state.failure });
      if (isOver(state.phase)) this.tell("colloque-ended", { reason: state.failure ?? state.phase });
    }
    if (before.seats !== state.seats) {
      this.tell("colloque-seats", { seats: state.seats.map(({ seat, role, presence }) => ({ seat, role, presence })) });
    }
    this.requestUpdate();
  }

  private handleLocal(): void {
    const { camera, microphone } = this.call.local;
    if (this.preview?.getVideoTracks()[0] !== (camera.track ?? undefined)) {
      this.preview = camera.track === null ? null : new MediaStream([camera.track]);
    }
    if (this.levelTrack !== microphone.track) this.followLevel(microphone.track);
    this.requestUpdate();
  }

  private followLevel(track: MediaStreamTrack | null): void {
    this.stopLevel?.();
    this.levelTrack = track;
    const shown = track !== null && this.call.state.phase === "preview";
    this.stopLevel = shown ? watchLevel(track, (level) => this.showLevel(level)) : null;
  }

  private showLevel(level: number | null): void {
    const bar = this.find<HTMLElement>(".level-bar");
    if (bar === null) return;
    bar.parentElement?.setAttribute("data-live", level === null ? "no" : "yes");
    bar.style.setProperty("transform", `scaleX(${(level ?? 0).toFixed(2)})`);
  }

  private tell(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }

  private find<E extends Element>(selector: string): E | null {
    return this.renderRoot.querySelector<E>(selector);
  }

  override updated(changed: PropertyValues<this>): void {
    const { phase } = this.call.state;
    const before = this.dataset.phase;
    this.dataset.phase = phase;
    this.dataset.language = this.spoken;
    this.lang = this.spoken;
    const dialog = this.find<HTMLDialogElement>("dialog");
    if (dialog !== null && !dialog.open) dialog.showModal();
    if (before !== undefined && screenOf(before) !== screenOf(phase)) this.moveFocus();
    if (phase !== "preview" && this.stopLevel !== null) this.followLevel(this.levelTrack);
    // A framework may set the attributes after it has put the element into the page.
    if (before !== undefined && (changed.has("token") || changed.has("session"))) this.restart();
  }

  /** A new screen is read from its title, unless the person is busy elsewhere on an embedding page. */
  private moveFocus(): void {
    const active = document.activeElement;
    if (active !== null && active !== document.body && active !== this) return;
    this.find<HTMLElement>("h1")?.focus({ preventScroll: true });
  }

  override render(): TemplateResult {
    const view = this.view();
    const { strings, state } = view;
    return html`<div class="frame ${isOnStage(state.phase) ? "dark" : "light"}">
        <header class="bar" part="header">
          <span class="brand"><span class="dot" aria-hidden="true"></span>${strings.brand}</span>
          <button
            class="bare language"
            data-action="language"
            lang=${this.spoken === "fr" ? "en" : "fr"}
            aria-label=${`${strings.otherLanguage}: ${strings.otherLanguageLabel}`}
            @click=${() => this.actions.switchLanguage()}
          >
            ${ICONS.language}${strings.otherLanguage}
          </button>
        </header>
        ${this.screen(view)} ${dialogView(view)}
      </div>
      <div class="unseen" role="status" aria-live="polite">${this.said.map((sentence) => html`<p>${sentence}</p>`)}</div>`;
  }

  private screen(view: View): TemplateResult {
    switch (view.state.phase) {
      case "connecting":
        return connectingScreen(view);
      case "preview":
        return previewScreen(view);
      case "waiting":
        return waitingScreen(view);
      case "joining":
      case "in_call":
      case "reconnecting":
        return stageScreen(view);
      default:
        return closingScreen(view);
    }
  }

  private view(): View {
    return {
      call: this.call,
      state: this.call.state,
      strings: this.words,
      actions: this.actions,
      devices: this.devices,
      chosen: this.chosen,
      preview: this.preview,
      asking: this.asking,
      panelOpen: this.panelOpen,
      soundBlocked: this.soundBlocked,
      dialog: this.dialog,
      screenPossible: canShareScreen(),
    };
  }
}

/** Phases that share a screen do not move the focus. */
function screenOf(phase: string): string {
  return isOnStage(phase as CallState["phase"]) ? "stage" : phase;
}

if (customElements.get("colloque-call") === undefined) customElements.define("colloque-call", ColloqueCall);

declare global {
  interface HTMLElementTagNameMap {
    "colloque-call": ColloqueCall;
    "colloque-media": MediaView;
  }
}

// <colloque-call>: a whole consultation in one element. The patient's page, the practitioner's page and a clinic's
// portal are this element with a token; what a person sees follows from the seat's role and permissions.
//
//   <colloque-call token="…" language="fr"></colloque-call>
//
// Attributes: `token` (out of a join link) or `session` (already exchanged), `base-url` (default: the script's own
// server), `language` (fr, en). Events, all composed: `colloque-phase`, `colloque-seats`, `colloque-ended`,
// `colloque-phone`, `colloque-problem`, `colloque-login`. Holds no rules of the call itself: those are in `Call` and its reducer.

import { LitElement, html, type PropertyValues, type TemplateResult } from "lit";
import type { Language } from "../protocol/generated.ts";
import { INITIAL_STATE, cardsPending, isOnStage, isOver, othersPresent, seatsWaiting, type CallState } from "../sdk/call-state.ts";
import { Call } from "../sdk/call.ts";
import { canShareScreen, isHandheld, listDevices, watchLevel, type DeviceLists } from "../sdk/devices.ts";
import type { Session } from "../sdk/session.ts";
import { announcements } from "./announcements.ts";
import { chime } from "./chime.ts";
import { dialogView } from "./dialogs.ts";
import { ICONS } from "./icons.ts";
import { MediaView } from "./media-view.ts";
import { screen, screenName } from "./screens.ts";
import { STRINGS, isLanguage, type Strings } from "./strings.ts";
import { STYLES } from "./styles.ts";
import { mayExchange, mayManage, type Actions, type OpenDialog, type Panel, type View } from "./view.ts";

/** From this width on, the list of people is beside the pictures instead of over them. */
const WIDE_PIXELS = 900;
/** Long enough to read who has come, short enough not to cover the picture. */
const ARRIVAL_SHOWN_MS = 10_000;

export class ColloqueCall extends LitElement {
  static override properties = {
    token: { type: String },
    session: { type: String },
    baseUrl: { type: String, attribute: "base-url" },
    language: { type: String },
    consentTexts: { attribute: false },
  };
  static override styles = STYLES;

  declare token: string | null;
  declare session: string | null;
  declare baseUrl: string;
  declare language: string | null;
  /** A clinic's own consent texts: by the version that its act names, then by language; one sentence or two a point. */
  declare consentTexts: Readonly<Record<string, Readonly<Record<Language, readonly string[]>>>> | null;
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
  private panelChoice: Panel | "closed" | null = null;
  private soundBlocked = false;
  private dialog: OpenDialog | null = null;
  private login: View["login"] = "idle";
  private copied = false;
  private fileRefused = false;
  private pointingAt: string | null = null;
  private unread = 0;
  private logLength = 0;
  private usedToken: string | null = null;
  private shownScreen: string | null = null;
  private arrivalTimer: ReturnType<typeof setTimeout> | undefined;
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
    this.consentTexts = null;
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
    clearTimeout(this.arrivalTimer);
    this.call.close();
    this.call = this.newCall();
  }

  /** The call's state, for the embedding page. */
  get state(): CallState {
    return this.call.state;
  }

  private newCall(): Call {
    return this.watch(new Call({ baseUrl: this.baseUrl ?? new URL(import.meta.url).origin }));
  }

  private watch(call: Call): Call {
    call.addEventListener("state", () => this.call === call && this.handleState());
    call.addEventListener("local", () => this.call === call && this.handleLocal());
    call.addEventListener("exchange", () => this.call === call && this.handleExchange());
    call.addEventListener("slots", () => this.call === call && this.requestUpdate());
    return call;
  }

  private async begin(): Promise<void> {
    // Attributes set right after the element was made are part of the same wish.
    await Promise.resolve();
    this.call = this.newCall();
    this.usedToken = this.token;
    this.login = "idle";
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
    togglePanel: (panel) => this.togglePanel(panel),
    uncover: () => this.wide || this.change(() => (this.panelChoice = "closed")),
    playAll: () => this.playAll(),
    playBlocked: () => this.change(() => (this.soundBlocked = true)),
    reportView: (slot, width, height) => this.call.setView(slot, width, height),
    switchLanguage: () => this.switchLanguage(),
    openDialog: (dialog) => this.openDialog(dialog),
    closeDialog: () => this.closeDialog(),
    leave: () => this.leave(),
    end: () => {
      this.closeDialog();
      this.call.endForEveryone();
    },
    login: () => void this.goToLogin(),
    copy: (text) => void this.copy(text),
    fileRefused: (refused) => this.change(() => (this.fileRefused = refused)),
    togglePointing: (tile) => this.change(() => (this.pointingAt = this.pointingAt === tile ? null : tile)),
  };

  private change(what: () => void): void {
    what();
    this.requestUpdate();
  }

  /** One dialog follows another in the same element, so that the focus is not lost between them. */
  private openDialog(dialog: OpenDialog): void {
    this.change(() => {
      this.dialog = dialog;
      this.copied = false;
    });
    void this.updateComplete.then(() => {
      const first = this.find<HTMLElement>("dialog [autofocus]") ?? this.find<HTMLElement>("dialog :is(select, input, button)");
      first?.focus();
    });
  }

  /** The next patient: the same device and person, and nothing of the one before. */
  private async goOn(call: Call, token: string): Promise<void> {
    this.call = this.watch(call);
    this.token = this.usedToken = token;
    this.session = this.resumption = null;
    this.shown = call.state;
    this.said = [];
    this.dialog = null;
    this.pointingAt = null;
    this.soundBlocked = this.copied = this.fileRefused = false;
    this.handleLocal();
    await call.exchange(token);
    if (call === this.call) call.enter();
  }

  /** Away to the provider's page; whoever embeds this element may open it elsewhere instead. */
  private async goToLogin(): Promise<void> {
    this.change(() => (this.login = "asked"));
    const url = await this.call.loginAddress();
    if (url === null) {
      this.change(() => (this.login = "failed"));
      return;
    }
    if (this.tell("colloque-login", { url }, true)) location.assign(url);
  }

  private async copy(text: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Not over HTTPS, or forbidden in this frame: by way of the field that shows it.
      this.find<HTMLInputElement>("#invited-link")?.select();
      if (!document.execCommand("copy")) return;
    }
    this.change(() => (this.copied = true));
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

  private togglePanel(panel: Panel): void {
    this.change(() => (this.panelChoice = this.panel === panel ? "closed" : panel));
    if (this.panel === "messages") this.handleExchange();
    if (this.panel !== null) return;
    void this.updateComplete.then(() => this.find<HTMLElement>(`[data-action=${panel}]`)?.focus());
  }

  private get panel(): Panel | null {
    const { state } = this.call;
    // Shut out of an aside there is one thing to read, and it must not be covered.
    if (state.aside === "outside") return null;
    const choice = this.panelChoice ?? (this.wide ? "people" : "closed");
    if (choice === "people") return mayManage(state) ? "people" : null;
    return choice === "messages" && mayExchange(state) ? "messages" : null;
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
    if (callsBack(before, state)) chime();
    this.followCards(before, state);
    if (state.arrived !== null && before.arrived !== state.arrived) {
      clearTimeout(this.arrivalTimer);
      this.arrivalTimer = setTimeout(() => this.call.dismiss("arrived"), ARRIVAL_SHOWN_MS);
    }
    if (before.phase !== state.phase) {
      if (isOver(state.phase)) this.dialog = null;
      this.tell("colloque-phase", { phase: state.phase, failure: state.failure });
      if (isOver(state.phase)) this.tell("colloque-ended", { reason: state.failure ?? state.phase });
    }
    if (before.phones !== state.phones) this.tellPhones(before, state);
    if (before.seats !== state.seats) {
      this.tell("colloque-seats", { seats: state.seats.map(({ seat, role, presence }) => ({ seat, role, presence })) });
    }
    this.requestUpdate();
    const { following } = this.call;
    if (state.phase === "next" && following !== null) void this.goOn(following.call, following.token);
  }

  /** To the embedding page: no numbers, no PINs. */
  private tellPhones(before: CallState, now: CallState): void {
    for (const [seat, { doing, cause }] of Object.entries(now.phones)) {
      const old = before.phones[seat];
      if (doing !== null && (doing !== old?.doing || cause !== old?.cause)) this.tell("colloque-phone", { seat, state: doing, cause });
    }
  }

  /** The card of a professional who came later opens by itself, and closes once it is read. */
  private followCards(before: CallState, now: CallState): void {
    const seats = (state: CallState) => cardsPending(state).map(({ seat }) => seat);
    const known = seats(before);
    const fresh = seats(now).some((seat) => !known.includes(seat));
    if (isOnStage(now.phase) && fresh && this.dialog === null) this.openDialog({ kind: "card" });
    if (this.dialog?.kind === "card" && seats(now).length === 0) this.closeDialog();
  }

  /** What comes while the messages are open has been seen; otherwise it is said that there is something. */
  private handleExchange(): void {
    const { exchanges } = this.call;
    if (this.panel === "messages" && exchanges.unread > 0) exchanges.markRead();
    if (exchanges.unread > this.unread) this.said = [this.words.unread(exchanges.unread)];
    this.unread = exchanges.unread;
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

  /** False when a listener prevented what comes by default. */
  private tell(type: string, detail: unknown, cancelable = false): boolean {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable }));
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
    const shown = screenName(this.call.state);
    if (this.shownScreen !== null && this.shownScreen !== shown) this.moveFocus();
    this.shownScreen = shown;
    const log = this.find<HTMLElement>(".notes");
    if (log !== null && log.childElementCount !== this.logLength) log.scrollTop = log.scrollHeight;
    this.logLength = log?.childElementCount ?? 0;
    if (phase !== "preview" && this.stopLevel !== null) this.followLevel(this.levelTrack);
    // A framework may set the attributes after it has put the element into the page.
    const other = changed.has("token") && this.token !== this.usedToken;
    if (before !== undefined && (other || (changed.has("session") && this.session !== null))) this.restart();
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
        ${screen(view)} ${dialogView(view)}
      </div>
      <div class="unseen" role="status" aria-live="polite">${this.said.map((sentence) => html`<p>${sentence}</p>`)}</div>`;
  }

  private ownConsentTexts(): View["consentTexts"] {
    if (this.consentTexts === null) return null;
    return Object.fromEntries(Object.entries(this.consentTexts).map(([version, texts]) => [version, texts[this.spoken]]));
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
      panel: this.panel,
      soundBlocked: this.soundBlocked,
      dialog: this.dialog,
      screenPossible: canShareScreen(),
      cameraTurns: isHandheld() && this.devices.cameras.length > 1,
      login: this.login,
      consentTexts: this.ownConsentTexts(),
      fileRefused: this.fileRefused,
      pointingAt: this.pointingAt,
      copied: this.copied,
    };
  }
}

/** Who looked away while waiting is called back: a patient who is let in, a host to whom the first one comes. */
function callsBack(before: CallState, now: CallState): boolean {
  if (before.phase === "waiting" && now.phase === "joining") return true;
  const alone = isOnStage(now.phase) && othersPresent(now).length === 0;
  return alone && seatsWaiting(now).length > seatsWaiting(before).length;
}

if (customElements.get("colloque-call") === undefined) customElements.define("colloque-call", ColloqueCall);

declare global {
  interface HTMLElementTagNameMap {
    "colloque-call": ColloqueCall;
    "colloque-media": MediaView;
  }
}

// What every part of the element's picture is drawn from: the state, the words, and the things a person can do.

import type { CallState } from "../sdk/call-state.ts";
import type { Call } from "../sdk/call.ts";
import type { DeviceLists } from "../sdk/devices.ts";
import type { Strings } from "./strings.ts";

/** What cannot be taken back: consent refused or withdrawn, another way than video. */
export type Refusal = "consent" | "withdraw" | "in_person" | "phone";

export type OpenDialog =
  | { readonly kind: "leave" }
  | { readonly kind: "decline"; readonly refusal: Refusal }
  | { readonly kind: "card" }
  | { readonly kind: "menu" }
  | { readonly kind: "phone" }
  | { readonly kind: "encryption"; readonly seat: string; readonly name: string }
  | { readonly kind: "vitals" }
  | { readonly kind: "invite" }
  | { readonly kind: "hand_over" }
  | { readonly kind: "remove"; readonly seat: string; readonly name: string; readonly waiting: boolean };

export interface Actions {
  enter(): void;
  restart(): void;
  retryDevices(): void;
  chooseDevice(source: "microphone" | "camera", device: string): void;
  toggle(source: "microphone" | "camera" | "screen"): void;
  togglePanel(panel: Panel): void;
  /** Closes a panel that lies over the pictures. */
  uncover(): void;
  playAll(): void;
  playBlocked(): void;
  reportView(slot: number, width: number, height: number): void;
  switchLanguage(): void;
  openDialog(dialog: OpenDialog): void;
  closeDialog(): void;
  leave(): void;
  end(): void;
  login(): void;
  copy(text: string): void;
  fileRefused(refused: boolean): void;
  /** Begins or stops pointing on a tile. */
  togglePointing(tile: string): void;
}

export type Panel = "people" | "messages";

export interface View {
  readonly call: Call;
  readonly state: CallState;
  readonly strings: Strings;
  readonly actions: Actions;
  readonly devices: DeviceLists;
  readonly chosen: Readonly<{ microphone?: string; camera?: string }>;
  readonly preview: MediaStream | null;
  /** The question about camera and microphone has not been answered yet. */
  readonly asking: boolean;
  readonly panel: Panel | null;
  readonly soundBlocked: boolean;
  readonly dialog: OpenDialog | null;
  readonly screenPossible: boolean;
  /** This device has one camera before and one behind. */
  readonly cameraTurns: boolean;
  /** On the way to the login page, or back from it in vain. */
  readonly login: "idle" | "asked" | "failed";
  /** Consent texts of the embedding clinic by version, in the language shown. */
  readonly consentTexts: Readonly<Record<string, readonly string[]>> | null;
  /** The last file was too large, or too many are on their way. */
  readonly fileRefused: boolean;
  /** The tile on which the person points. */
  readonly pointingAt: string | null;
  /** The invitation's link is on the clipboard. */
  readonly copied: boolean;
}

/** May do something about others: sees the list of people. */
export function mayManage({ permissions }: CallState): boolean {
  const { admit, mute, remove, end, invite, hand_over, aside } = permissions;
  return admit || mute || remove || end || invite || hand_over || aside;
}

/** Was asked for consent, or is one who is: may withdraw it. */
export function mayWithdraw(state: CallState): boolean {
  return state.consentText !== null;
}

/** May write, send files or readings: sees the messages. */
export function mayExchange({ permissions, aside }: CallState): boolean {
  return aside !== "outside" && (permissions.chat || permissions.files || permissions.vitals);
}

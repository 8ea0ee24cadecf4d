// What every part of the element's picture is drawn from: the state, the words, and the things a person can do.

import type { CallState } from "../sdk/call-state.ts";
import type { Call } from "../sdk/call.ts";
import type { DeviceLists } from "../sdk/devices.ts";
import type { Strings } from "./strings.ts";

export type OpenDialog =
  | { readonly kind: "leave" }
  | { readonly kind: "remove"; readonly seat: string; readonly name: string; readonly waiting: boolean };

export interface Actions {
  enter(): void;
  restart(): void;
  retryDevices(): void;
  chooseDevice(source: "microphone" | "camera", device: string): void;
  toggle(source: "microphone" | "camera" | "screen"): void;
  togglePanel(): void;
  playAll(): void;
  playBlocked(): void;
  reportView(slot: number, width: number, height: number): void;
  switchLanguage(): void;
  openDialog(dialog: OpenDialog): void;
  closeDialog(): void;
  leave(): void;
  end(): void;
}

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
  readonly panelOpen: boolean;
  readonly soundBlocked: boolean;
  readonly dialog: OpenDialog | null;
  readonly screenPossible: boolean;
}

/** May do something about others: sees the list of people. */
export function mayManage({ permissions }: CallState): boolean {
  return permissions.admit || permissions.mute || permissions.remove || permissions.end;
}

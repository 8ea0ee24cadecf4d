// Which pictures are on the stage, from the state alone: a tile for every other seat in the room, one more for each
// shared screen. Pure; keeps a seat's tile in its place so that people do not jump about.

import type { MediaSource, Role } from "../protocol/generated.ts";
import { othersPresent } from "../sdk/call-state.ts";
import type { CallState } from "../sdk/call-state.ts";

export interface Tile {
  readonly key: string;
  readonly seat: string;
  readonly source: MediaSource;
  /** Null until the server gives it a receive slot. */
  readonly slot: number | null;
  readonly displayName: string | null;
  readonly role: Role;
  readonly picture: boolean;
  readonly microphone: boolean;
  readonly speaking: boolean;
  readonly reconnecting: boolean;
  readonly codecMissing: boolean;
  /** Speaks by telephone. */
  readonly phone: boolean;
}

export interface Stage {
  /** Shared screens: shown large while there are any. */
  readonly screens: readonly Tile[];
  readonly seats: readonly Tile[];
}

export function stageOf(state: CallState): Stage {
  const screens: Tile[] = [];
  const seats: Tile[] = [];
  for (const info of othersPresent(state)) {
    const common = {
      seat: info.seat,
      displayName: info.display_name ?? null,
      role: info.role,
      microphone: info.microphone,
      speaking: state.speaker === info.seat,
      reconnecting: info.presence === "reconnecting",
      phone: info.telephone != null,
    };
    const face = slotOf(state, info.seat, "camera");
    seats.push({ ...common, ...face, key: info.seat, source: "camera", picture: info.camera });
    if (!info.screen) continue;
    const screen = slotOf(state, info.seat, "screen");
    screens.push({ ...common, ...screen, key: `${info.seat} screen`, source: "screen", picture: true });
  }
  return { screens, seats };
}

function slotOf(state: CallState, seat: string, source: MediaSource): Pick<Tile, "slot" | "codecMissing"> {
  const found = state.slots.find((slot) => slot.seat === seat && slot.source === source);
  return { slot: found?.slot ?? null, codecMissing: found?.codec_missing ?? false };
}

/** Two letters to show where there is no picture. */
export function initials(name: string): string {
  const words = name.replace(/^(dr|pr|mme|m|mr|mrs|ms)\.?\s+/i, "").split(/[\s-]+/);
  const letters = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase();
}

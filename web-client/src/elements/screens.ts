// Which screen a person sees at which point of their visit. Not here: what stands on each of them.

import type { TemplateResult } from "lit";
import { isOnStage, type CallState } from "../sdk/call-state.ts";
import { closingScreen, connectingScreen } from "./closing.ts";
import { gateScreen } from "./gates.ts";
import { previewScreen } from "./preview.ts";
import { stageScreen } from "./stage.ts";
import type { View } from "./view.ts";
import { waitingScreen } from "./waiting.ts";

export function screen(view: View): TemplateResult {
  switch (view.state.phase) {
    case "connecting":
    case "next":
      return connectingScreen(view);
    case "preview":
      return previewScreen(view);
    case "gates":
      return gateScreen(view);
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

/** States that share a screen do not move the focus; each question is a screen of its own. */
export function screenName({ phase, gates }: CallState): string {
  if (phase === "gates") return `gate ${gates[0]?.gate ?? ""}`;
  return isOnStage(phase) ? "stage" : phase;
}

// The look: warm paper before and after the call, a dark stage during it. One file a noun, in styles/; no rules here.
//
// The screens share one shadow root, so this is the one list of all its rules. The order matters: of two rules of equal
// weight the later wins, so plain HTML comes first, then what several screens share, then the screens.

import type { CSSResultGroup } from "lit";
import { BASE } from "./styles/base.ts";
import { CLOSING } from "./styles/closing.ts";
import { CONTROLS } from "./styles/controls.ts";
import { FRAME } from "./styles/frame.ts";
import { GATES } from "./styles/gates.ts";
import { MESSAGES } from "./styles/messages.ts";
import { PEOPLE } from "./styles/people.ts";
import { PICTURE } from "./styles/picture.ts";
import { PREVIEW } from "./styles/preview.ts";
import { SIGNS } from "./styles/signs.ts";
import { STAGE } from "./styles/stage.ts";
import { TELEPHONE } from "./styles/telephone.ts";
import { TOKENS } from "./styles/tokens.ts";
import { WAITING } from "./styles/waiting.ts";

export const STYLES: CSSResultGroup = [
  TOKENS,
  BASE,
  FRAME,
  SIGNS,
  PICTURE,
  PREVIEW,
  GATES,
  WAITING,
  CLOSING,
  STAGE,
  CONTROLS,
  PEOPLE,
  MESSAGES,
  TELEPHONE,
];

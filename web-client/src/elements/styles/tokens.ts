// The colours by name, and the element itself: a box that everything inside is measured by (container queries, so that
// it looks right in a portal's column too), with text that follows the person's own text size (rem).
//
// Contrast of every pair used in these files is at least 4.5:1 for text and 3:1 for the edges of controls.

import { css } from "lit";

export const TOKENS = css`
  :host {
    --paper: #f6f3ec;
    --card: #fffdf9;
    --ink: #1c2b2a;
    --ink-soft: #4c5c5a;
    --edge: #7b8784;
    --accent: #0f5e59;
    --accent-deep: #0a4743;
    --accent-tint: #e2efec;
    --warm: #ffd9a0;
    --alarm: #b3261e;
    --alarm-deep: #8c1d16;
    --alarm-tint: #fdecea;
    --amber-tint: #fff2d9;
    --amber-line: #d99a2b;
    --night: #0e1c1b;
    --night-card: #1a2c2a;
    --night-ink: #f2f5f3;
    --night-soft: #b9c9c5;
    display: block;
    position: relative;
    min-height: 24rem;
    container-type: inline-size;
    font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
    font-size: 1.125rem;
    line-height: 1.5;
    color: var(--ink);
    -webkit-text-size-adjust: 100%;
  }

  :host([hidden]) {
    display: none;
  }
`;

// The look: warm paper before and after the call, a dark stage during it. Sizes follow the element's own width
// (container queries), so that it looks right in a portal's column too; text follows the person's own text size (rem).
//
// Contrast of every pair used here is at least 4.5:1 for text and 3:1 for the edges of controls.

import { css } from "lit";

export const STYLES = css`
  :host {
    --paper: #f6f3ec;
    --card: #fffdf9;
    --ink: #1c2b2a;
    --ink-soft: #4c5c5a;
    --line: #d9d3c6;
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
    --night-line: #35504c;
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

  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }

  h1,
  h2,
  h3,
  p,
  ul,
  ol,
  figure {
    margin: 0;
    padding: 0;
  }

  h1 {
    font-size: 1.65rem;
    line-height: 1.2;
    font-weight: 650;
    letter-spacing: -0.01em;
    text-wrap: balance;
  }

  :is(h1, h2, p, li, label, button) {
    overflow-wrap: break-word;
    hyphens: auto;
  }

  h1:focus {
    outline: none;
  }

  ul {
    list-style: none;
  }

  .icon {
    width: 1.5em;
    height: 1.5em;
    flex: none;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.8;
    stroke-linecap: round;
    stroke-linejoin: round;
  }

  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }

  /* Buttons */

  button,
  select,
  a {
    font: inherit;
    color: inherit;
  }

  button {
    max-width: 100%;
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    min-height: 3rem;
    min-width: 3rem;
    padding: 0.5rem 1.15rem;
    border: 2px solid transparent;
    border-radius: 0.9rem;
    background: none;
    font-weight: 600;
    line-height: 1.25;
    cursor: pointer;
    touch-action: manipulation;
    -webkit-tap-highlight-color: transparent;
  }

  button:disabled,
  button[aria-disabled="true"] {
    opacity: 0.55;
    cursor: default;
  }

  :is(button, select, a):focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 3px;
  }

  .dark :is(button, select, a):focus-visible {
    outline-color: var(--warm);
  }

  button.primary {
    background: var(--accent);
    color: #fff;
  }

  button.primary:hover {
    background: var(--accent-deep);
  }

  button.secondary {
    border-color: var(--edge);
    background: var(--card);
    color: var(--ink);
  }

  button.secondary:hover {
    background: var(--accent-tint);
  }

  button.danger {
    background: var(--alarm);
    color: #fff;
  }

  button.danger:hover {
    background: var(--alarm-deep);
  }

  button.large {
    min-height: 3.75rem;
    width: 100%;
    font-size: 1.2rem;
    border-radius: 1.1rem;
  }

  button.bare {
    padding: 0.5rem;
  }

  /* Frame */

  .frame {
    position: absolute;
    inset: 0;
    display: flex;
    flex-direction: column;
    overflow: auto;
    overscroll-behavior: contain;
  }

  .light {
    background: radial-gradient(60rem 30rem at 50% -12rem, #fffdf8, transparent), var(--paper);
  }

  .dark {
    background: var(--night);
    color: var(--night-ink);
  }

  .bar {
    flex: none;
    display: flex;
    align-items: center;
    justify-content: space-between;
    flex-wrap: wrap;
    gap: 0 1rem;
    padding: 0.4rem 1rem 0.4rem max(1rem, env(safe-area-inset-left));
    font-size: 1rem;
  }

  .brand {
    min-width: 0;
    overflow-wrap: anywhere;
    display: inline-flex;
    align-items: center;
    gap: 0.55rem;
    font-weight: 650;
  }

  .dot {
    width: 0.8rem;
    height: 0.8rem;
    border-radius: 50%;
    background: var(--accent);
    box-shadow: 0.42rem 0 0 -0.12rem var(--amber-line);
    margin-right: 0.25rem;
  }

  .dark .dot {
    background: #4fb3a9;
  }

  .language {
    font-weight: 500;
  }

  .light .language {
    color: var(--accent);
  }

  .screen {
    width: 100%;
    max-width: 34rem;
    margin: auto;
    padding: 0.75rem 1.25rem max(1.5rem, env(safe-area-inset-bottom));
    display: flex;
    flex-direction: column;
    gap: 1.25rem;
  }

  .intro {
    display: flex;
    flex-direction: column;
    gap: 0.5rem;
  }

  .lead {
    font-size: 1.2rem;
  }

  .preview .settings:not(:has(.help)) > .primary {
    position: sticky;
    z-index: 1;
    bottom: 0.75rem;
    box-shadow: 0 0 0 0.75rem rgb(246 243 236 / 92%);
  }

  .quiet {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    color: var(--ink-soft);
    font-size: 1rem;
  }

  .quiet .icon {
    width: 1.25em;
    height: 1.25em;
    color: var(--accent);
  }

  .hint,
  .none {
    color: var(--ink-soft);
    font-size: 1rem;
  }

  /* One's own picture */

  colloque-media {
    display: block;
    width: 100%;
    height: 100%;
    overflow: hidden;
  }

  colloque-media video {
    display: block;
    width: 100%;
    height: 100%;
    object-fit: cover;
  }

  colloque-media.mirrored video {
    transform: scaleX(-1);
  }

  .self-picture {
    position: relative;
    aspect-ratio: 16 / 10;
    max-height: 24rem;
    border-radius: 1.4rem;
    overflow: hidden;
    background: var(--night-card);
    color: var(--night-ink);
    box-shadow: 0 0.6rem 1.8rem rgb(20 40 38 / 14%);
  }

  .preview .self-picture[data-camera="off"][data-asking="no"] {
    aspect-ratio: 16 / 9;
  }

  .cover {
    position: absolute;
    inset: 0 0 3.5rem;
    display: flex;
    flex-direction: column;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    padding: 1rem;
    text-align: center;
  }

  .cover .icon {
    width: 2.5rem;
    height: 2.5rem;
    color: var(--night-soft);
  }

  .over-picture {
    position: absolute;
    inset: auto 0 0.8rem;
    display: flex;
    justify-content: center;
    gap: 0.9rem;
  }

  .round {
    width: 52px;
    height: 52px;
    min-height: 52px;
    padding: 0;
    border-radius: 50%;
    background: rgb(14 28 27 / 82%);
    border-color: rgb(255 255 255 / 75%);
    color: #fff;
  }

  .round:focus-visible {
    outline-color: var(--warm);
  }

  .round.off {
    background: var(--alarm);
  }

  /* Preview */

  .settings {
    display: flex;
    flex-direction: column;
    gap: 1rem;
  }

  .device {
    display: grid;
    gap: 0.3rem;
  }

  .device label {
    font-weight: 600;
    font-size: 1rem;
  }

  select {
    width: 100%;
    min-height: 3rem;
    padding: 0.4rem 0.8rem;
    border: 2px solid var(--edge);
    border-radius: 0.9rem;
    background: var(--card);
    color: var(--ink);
    text-overflow: ellipsis;
  }

  .level {
    height: 0.75rem;
    margin-top: 0.35rem;
    border-radius: 0.4rem;
    background: #e4dfd3;
    overflow: hidden;
  }

  .level[data-live="no"],
  .level[data-live="no"] + .hint {
    display: none;
  }

  .level-bar {
    height: 100%;
    border-radius: inherit;
    background: linear-gradient(90deg, #2f8f7f, var(--accent));
    transform: scaleX(0);
    transform-origin: left;
    transition: transform 80ms linear;
  }

  .help {
    display: grid;
    gap: 0.75rem;
    padding: 1.1rem 1.25rem;
    border: 1px solid var(--amber-line);
    border-left-width: 0.4rem;
    border-radius: 0.9rem;
    background: var(--amber-tint);
  }

  .help h2 {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    font-size: 1.15rem;
    line-height: 1.3;
  }

  .help h2 .icon {
    color: #8a5a00;
  }

  .help ol {
    padding-left: 1.5rem;
  }

  .help li + li {
    margin-top: 0.3rem;
  }

  .help button {
    justify-self: start;
  }

  /* Waiting room */

  .breath {
    display: grid;
    place-items: center;
    width: 3.25rem;
    height: 3.25rem;
    margin: 0.5rem 0.5rem 0.35rem;
    border-radius: 50%;
    background: var(--accent);
    color: #fff;
    animation: breathe 4.5s ease-in-out infinite;
  }

  .breath .icon {
    width: 1.7rem;
    height: 1.7rem;
  }

  @keyframes breathe {
    0%,
    100% {
      box-shadow: 0 0 0 0.3rem rgb(15 94 89 / 16%);
    }
    50% {
      box-shadow: 0 0 0 0.85rem rgb(15 94 89 / 8%);
    }
  }

  .waiting-self {
    display: grid;
    gap: 0.75rem;
  }

  .waiting .self-picture {
    aspect-ratio: 16 / 9;
    max-height: 12rem;
  }

  .emergency {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 1rem;
    padding: 0.9rem 1.1rem;
    border-radius: 1rem;
    background: var(--alarm-tint);
    border: 1px solid #e9b5b0;
  }

  .emergency div {
    text-wrap: pretty;
  }

  .emergency strong,
  .emergency span {
    display: block;
  }

  .emergency a {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.45rem;
    flex: none;
    min-height: 3.25rem;
    padding: 0 1.2rem;
    border-radius: 0.9rem;
    background: var(--alarm);
    color: #fff;
    font-size: 1.35rem;
    font-weight: 700;
    text-decoration: none;
  }

  .emergency a:focus-visible {
    outline-color: var(--alarm);
  }

  /* Messages */

  .message {
    align-items: center;
    text-align: center;
    gap: 1rem;
    padding-block: 2rem 4rem;
  }

  .message button {
    width: auto;
    min-width: min(18rem, 100%);
    margin-top: 0.5rem;
  }

  .emblem {
    display: grid;
    place-items: center;
    width: 5rem;
    height: 5rem;
    border-radius: 50%;
    background: var(--amber-tint);
    color: #8a5a00;
  }

  .emblem.calm {
    background: var(--accent-tint);
    color: var(--accent);
  }

  .emblem .icon {
    width: 2.4rem;
    height: 2.4rem;
  }

  .spinner {
    flex: none;
    width: 1.4rem;
    height: 1.4rem;
    border: 3px solid currentColor;
    border-right-color: transparent;
    border-radius: 50%;
    animation: turn 1s linear infinite;
  }

  .spinner.large {
    width: 3.5rem;
    height: 3.5rem;
    border-width: 5px;
    color: var(--accent);
  }

  @keyframes turn {
    to {
      transform: rotate(1turn);
    }
  }

  /* Stage */

  .dark .bar {
    padding-block: 0.1rem;
    color: var(--night-soft);
  }

  .stage {
    position: relative;
    flex: 1 0 auto;
    display: grid;
    grid-template: "notices" auto "tiles" minmax(140px, 1fr) "controls" auto / minmax(0, 1fr);
  }

  .tiles {
    grid-area: tiles;
    position: relative;
    min-height: 140px;
    overflow: hidden;
    display: grid;
    gap: 0.5rem;
    padding: 0 0.5rem;
    grid-auto-rows: minmax(0, 1fr);
    grid-template-columns: minmax(0, 1fr);
  }

  .tiles:not([data-count="0"]) {
    contain: size;
  }

  .tile {
    position: relative;
    container-type: size;
    min-height: 0;
    border-radius: 1.1rem;
    overflow: hidden;
    background: var(--night-card);
    transition: box-shadow 200ms;
  }

  .tile[data-speaking="yes"] {
    box-shadow: inset 0 0 0 4px #63c7ba;
  }

  .tile[data-speaking="yes"] colloque-media {
    clip-path: inset(4px round 0.85rem);
  }

  .tile[data-picture="off"] colloque-media {
    opacity: 0;
  }

  .tile[data-reconnecting="yes"] colloque-media {
    opacity: 0.35;
  }

  .avatar {
    position: absolute;
    inset: 0;
    display: grid;
    place-items: center;
  }

  .avatar span {
    display: grid;
    place-items: center;
    width: clamp(3rem, 40cqmin, 7.5rem);
    height: clamp(3rem, 40cqmin, 7.5rem);
    margin-bottom: 1.5rem;
    border-radius: 50%;
    background: #2c4945;
    color: #dff1ed;
    font-size: clamp(1.1rem, 14cqmin, 2.5rem);
    font-weight: 600;
  }

  figcaption {
    position: absolute;
    left: 0.6rem;
    bottom: 0.6rem;
    max-width: calc(100% - 1.2rem);
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0 0.55rem;
    padding: 0.25rem 0.75rem;
    border-radius: 0.8rem;
    background: rgb(10 22 21 / 82%);
    color: #fff;
    font-size: 1rem;
    line-height: 1.35;
  }

  figcaption .name {
    font-weight: 600;
    overflow-wrap: anywhere;
  }

  figcaption .role {
    color: #cfdcd9;
  }

  figcaption .state {
    display: inline-flex;
    color: #ffb4ab;
  }

  figcaption .icon {
    width: 1.2em;
    height: 1.2em;
  }

  @container (max-width: 13rem) {
    .tile figcaption {
      left: 0.3rem;
      bottom: 0.3rem;
      max-width: calc(100% - 0.6rem);
      padding: 0.05rem 0.5rem;
      font-size: 0.875rem;
    }

    .tile figcaption .role,
    .tile-note ~ .avatar,
    .avatar:has(~ .tile-note) {
      display: none;
    }

    .tile-note.tile-note {
      inset: 0.25rem 0.25rem auto;
      padding: 0.15rem 0.4rem;
      font-size: 0.875rem;
      line-height: 1.2;
    }
  }

  .tile-note {
    position: absolute;
    inset: 0.5rem 0.5rem auto;
    padding: 0.3rem 0.7rem;
    border-radius: 0.8rem;
    background: rgb(10 22 21 / 82%);
    text-align: center;
    font-size: 1rem;
    line-height: 1.3;
  }

  .alone {
    grid-row: 1 / -1;
    grid-column: 1 / -1;
    align-self: center;
    display: grid;
    justify-items: center;
    gap: 0.4rem;
    padding: 1rem;
    text-align: center;
    color: var(--night-soft);
  }

  .alone-title {
    font-size: 1.3rem;
    font-weight: 600;
    color: var(--night-ink);
  }

  .self-tile {
    position: absolute;
    z-index: 1;
    right: 1rem;
    top: 0.5rem;
    width: clamp(80px, 26cqi, 120px);
    max-height: calc(100% - 1rem);
    aspect-ratio: 3 / 4;
    border-radius: 0.9rem;
    overflow: hidden;
    background: #24403c;
    border: 2px solid rgb(255 255 255 / 70%);
  }

  .self-tile figcaption {
    left: 0.3rem;
    bottom: 0.3rem;
    max-width: calc(100% - 0.6rem);
    flex-wrap: nowrap;
    gap: 0.25rem;
    padding: 0.05rem 0.5rem;
    font-size: 0.875rem;
    border-radius: 0.6rem;
  }

  /* Three and more share the stage as equals, oneself among them. */

  .tiles:not([data-count="0"], [data-count="1"]) {
    grid-template-columns: repeat(2, minmax(0, 1fr));
  }

  .tiles:not([data-count="0"], [data-count="1"]) .self-tile {
    position: relative;
    inset: auto;
    width: auto;
    min-height: 0;
    aspect-ratio: auto;
    border: 0;
    border-radius: 1.1rem;
  }

  .tiles:is([data-count="2"], [data-count="4"], [data-count="6"]) > .tile:first-of-type,
  .tiles[data-layout="screen"] > .tile[data-source="screen"] {
    grid-column: 1 / -1;
  }

  .tiles[data-layout="screen"] {
    grid-template-rows: minmax(0, 1.6fr);
  }

  .self-tile .avatar {
    color: var(--night-soft);
  }

  .notices {
    grid-area: notices;
    display: grid;
    justify-items: center;
    gap: 0.5rem;
    padding: 0 0.5rem;
  }

  .notices > * {
    margin-bottom: 0.5rem;
  }

  .notice {
    display: flex;
    align-items: center;
    gap: 0.75rem;
    max-width: 36rem;
    padding: 0.65rem 1rem;
    border-radius: 0.9rem;
    background: var(--amber-tint);
    color: var(--ink);
    font-size: 1rem;
    line-height: 1.35;
  }

  .light .notice {
    border: 1px solid var(--amber-line);
  }

  .notice strong {
    display: block;
  }

  .notice.arrival {
    flex-wrap: wrap;
    justify-content: center;
    background: var(--card);
    font-weight: 600;
  }

  .arrival button,
  .person .row button {
    white-space: nowrap;
  }

  .controls {
    grid-area: controls;
    display: flex;
    flex-wrap: wrap;
    justify-content: center;
    gap: 0.15rem;
    padding: 0.5rem 0.25rem max(0.5rem, env(safe-area-inset-bottom));
  }

  .controls button {
    position: relative;
    flex: 1 1 0;
    min-width: min-content;
    max-width: 6.5rem;
    flex-direction: column;
    gap: 0.25rem;
    padding: 0.25rem 0.1rem;
    color: var(--night-ink);
    background: none;
    border-radius: 1rem;
    font-weight: 500;
  }

  .disc {
    display: grid;
    place-items: center;
    width: 54px;
    height: 54px;
    border-radius: 50%;
    background: #2b4642;
    transition: background 150ms;
  }

  .word {
    font-size: 0.875rem;
    line-height: 1.2;
    text-align: center;
  }

  .controls button:hover .disc {
    background: #3b5c57;
  }

  .controls .off .disc {
    background: #fff;
    color: var(--alarm);
  }

  .controls .active .disc {
    background: #63c7ba;
    color: var(--night);
  }

  .controls .danger .disc,
  .controls .danger:hover .disc {
    background: #c9352b;
    color: #fff;
  }

  .badge {
    position: absolute;
    top: 0;
    right: calc(50% - 32px);
    min-width: 1.6rem;
    padding: 0 0.35rem;
    border-radius: 0.8rem;
    background: var(--warm);
    color: #3a2600;
    font-size: 1rem;
    font-weight: 700;
    line-height: 1.6rem;
    text-align: center;
  }

  /* People */

  .panel {
    position: absolute;
    z-index: 3;
    inset: auto 0.5rem 0;
    max-height: 100%;
    overflow: auto;
    grid-column: tiles;
    grid-row: notices / tiles;
    align-self: end;
    display: flex;
    flex-direction: column;
    gap: 0.6rem;
    padding: 0.6rem 1rem 1rem;
    border-radius: 1.1rem;
    background: var(--card);
    color: var(--ink);
    box-shadow: 0 -0.4rem 2rem rgb(0 0 0 / 35%);
  }

  .panel :is(button, a):focus-visible {
    outline-color: var(--accent);
  }

  .panel header {
    display: flex;
    align-items: center;
    justify-content: space-between;
  }

  .panel h2 {
    font-size: 1.2rem;
  }

  .panel h3 {
    font-size: 0.95rem;
    font-weight: 600;
    color: var(--ink-soft);
  }

  .panel ul {
    display: grid;
    gap: 0.5rem;
  }


  .person {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr) auto;
    align-items: center;
    gap: 0.5rem 0.75rem;
    min-height: 3.25rem;
  }

  .person.waits {
    padding: 0.8rem;
    border-radius: 0.9rem;
    background: var(--amber-tint);
    border: 1px solid #ecc988;
  }

  .person .row {
    grid-column: 1 / -1;
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
  }

  .person .row button {
    flex: 1 1 auto;
    padding-inline: 0.8rem;
  }

  .monogram {
    display: grid;
    place-items: center;
    width: 2.75rem;
    height: 2.75rem;
    border-radius: 50%;
    background: var(--accent-tint);
    color: var(--accent-deep);
    font-size: 1rem;
    font-weight: 650;
  }

  .who {
    display: grid;
    line-height: 1.3;
  }

  .who .name {
    font-weight: 600;
    overflow-wrap: anywhere;
  }

  .who .role {
    color: var(--ink-soft);
    font-size: 1rem;
  }

  .marks {
    display: flex;
  }

  .marks .off {
    color: var(--alarm);
  }

  .panel .end {
    margin-top: 0.5rem;
    border-color: var(--alarm);
    color: var(--alarm);
  }

  .panel .end:hover {
    background: var(--alarm-tint);
  }

  /* Questions */

  dialog {
    width: min(27rem, calc(100vw - 2rem));
    padding: 0;
    border: 0;
    border-radius: 1.3rem;
    background: var(--card);
    color: var(--ink);
    box-shadow: 0 1rem 4rem rgb(0 0 0 / 45%);
  }

  dialog::backdrop {
    background: rgb(8 18 17 / 66%);
  }

  dialog button:focus-visible {
    outline-color: var(--accent) !important;
  }

  .dialog {
    display: grid;
    gap: 0.75rem;
    padding: 1.5rem;
  }

  .dialog h2 {
    font-size: 1.35rem;
    line-height: 1.25;
  }

  .answers {
    display: grid;
    gap: 0.7rem;
    margin-top: 0.5rem;
  }

  .answers button {
    min-height: 3.25rem;
  }

  /* Very large text */

  @container (max-width: 15rem) {
    .person .monogram,
    .person .row .icon {
      display: none;
    }

    .arrival button,
    .person .row button {
      white-space: normal;
    }
  }

  /* Two columns where there is room */

  @container (min-width: 46rem) {
    .screen.preview {
      max-width: 60rem;
      display: grid;
      grid-template: "intro intro" auto "picture settings" auto / minmax(0, 1.25fr) minmax(0, 1fr);
      gap: 1.25rem 2rem;
      align-items: start;
    }

    .preview .intro {
      grid-area: intro;
    }

    .preview .self-picture {
      grid-area: picture;
      aspect-ratio: 4 / 3;
    }

    .preview .settings {
      grid-area: settings;
    }

    .screen.waiting {
      max-width: 60rem;
      display: grid;
      grid-template: "intro self" auto "emergency self" auto "leave self" 1fr / minmax(0, 1.2fr) minmax(0, 1fr);
      gap: 1.25rem 2.5rem;
      align-items: start;
    }

    .waiting .intro {
      grid-area: intro;
    }

    .waiting .waiting-self {
      grid-area: self;
    }

    .waiting .emergency {
      grid-area: emergency;
    }

    .waiting > button {
      grid-area: leave;
      justify-self: start;
    }

    .waiting .self-picture {
      aspect-ratio: 4 / 3;
      max-height: none;
    }

    .breath {
      width: 4rem;
      height: 4rem;
      margin-bottom: 0.75rem;
    }

    h1 {
      font-size: 2rem;
    }

    .tiles {
      padding: 0 0.75rem;
    }

    .tiles[data-count="2"] > .tile:first-of-type {
      grid-column: 1;
      grid-row: 1 / span 2;
    }

    .tiles:is([data-count="4"], [data-count="6"]) > .tile:first-of-type {
      grid-column: auto;
    }

    .tiles:not([data-count="0"], [data-count="1"], [data-count="2"], [data-count="3"]) {
      grid-template-columns: repeat(3, minmax(0, 1fr));
    }

    .tiles.tiles[data-layout="screen"] {
      grid-template-columns: minmax(0, 1fr) clamp(9.5rem, 20cqi, 13rem);
      grid-template-rows: none;
      grid-auto-rows: minmax(0, 12rem);
      align-content: center;
    }

    .tiles.tiles[data-layout="screen"] > .tile[data-source="screen"] {
      position: absolute;
      inset: 0 calc(clamp(9.5rem, 20cqi, 13rem) + 1.25rem) 0 0.75rem;
    }

    .tiles.tiles[data-layout="screen"] > :is(.self-tile, .tile:not([data-source="screen"])) {
      grid-column: 2;
    }

    .self-tile {
      top: auto;
      bottom: 0.6rem;
      right: 1.35rem;
      width: clamp(9rem, 17cqi, 14rem);
      aspect-ratio: 4 / 3;
    }

    .controls {
      gap: 0.75rem;
    }
  }

  @container (min-width: 900px) {
    .stage[data-panel="open"] {
      grid-template:
        "notices panel" auto
        "tiles panel" minmax(140px, 1fr)
        "controls panel" auto / minmax(0, 1fr) 22rem;
    }

    .panel {
      grid-area: panel;
      align-self: stretch;
      inset: 0;
      max-height: none;
      margin: 0 0.75rem 0.75rem 0;
      box-shadow: none;
    }

    .panel .end {
      margin-top: auto;
    }
  }

  @container (max-width: 24rem) {
    .word {
      font-size: 0.8125rem;
    }

    .controls {
      gap: 0;
      padding-inline: 0;
    }

    .controls button {
      padding-inline: 0;
    }

    .person .row button {
      flex-basis: 8rem;
    }

    .screen {
      padding-inline: 1rem;
    }

    h1 {
      font-size: 1.45rem;
    }
  }

  @media (prefers-reduced-motion: reduce) {
    *,
    *::before,
    *::after {
      animation: none !important;
      transition: none !important;
    }
  }

  @media (forced-colors: active) {
    .tile[data-speaking="yes"] {
      outline: 3px solid Highlight;
    }

    button {
      border-color: ButtonText;
    }
  }
`;

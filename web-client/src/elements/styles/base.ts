// Plain HTML: headings, lists, the few kinds of button, the focus ring, icons, words for screen readers only. Knows no
// screen. Also what a person has asked of the system: no motion anywhere, forced colours for buttons.

import { css } from "lit";

export const BASE = css`
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

  :is(h1, h2):focus {
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

  button,
  select,
  input,
  a {
    font: inherit;
    color: inherit;
  }

  :is(button, .button) {
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

  :is(button, select, input, a, .notes):focus-visible,
  label:has(:focus-visible) {
    outline: 3px solid var(--accent);
    outline-offset: 3px;
  }

  .dark :is(button, select, input, a, .notes):focus-visible,
  .dark label:has(:focus-visible) {
    outline-color: var(--warm);
  }

  .primary {
    background: var(--accent);
    color: #fff;
    text-decoration: none;
  }

  .primary:hover {
    background: var(--accent-deep);
  }

  .secondary {
    border-color: var(--edge);
    background: var(--card);
    color: var(--ink);
  }

  .secondary:hover {
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

  @container (min-width: 46rem) {
    h1 {
      font-size: 2rem;
    }
  }

  @container (max-width: 24rem) {
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
    button {
      border-color: ButtonText;
    }
  }
`;

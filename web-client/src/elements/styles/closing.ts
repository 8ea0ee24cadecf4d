// The screens with nothing to do but read, and the questions asked before something that cannot be undone.

import { css } from "lit";

export const CLOSING = css`
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

  dialog :is(button, select, input):focus-visible {
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

  .answers label {
    margin-bottom: -0.45rem;
    font-size: 1rem;
    font-weight: 600;
  }

  .answers button {
    min-height: 3.25rem;
  }
`;

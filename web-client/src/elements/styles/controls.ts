// What one can do in a call: a row of round buttons, each with its word, and how many wait on the one for people.

import { css } from "lit";

export const CONTROLS = css`
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

  @container (min-width: 46rem) {
    .controls {
      gap: 0.75rem;
    }
  }

  @container (max-width: 24rem) {
    .word {
      font-size: 0.8125rem;
    }

    /* Six in one row: a last one alone below reads like something else. */
    .controls:has(> button:nth-child(6)) {
      gap: 0;
    }

    .controls:has(> button:nth-child(6)) .disc {
      width: 48px;
      height: 48px;
    }

    .controls:has(> button:nth-child(6)) .word {
      font-size: 0.75rem;
    }

    .controls {
      gap: 0;
      padding-inline: 0;
    }

    .controls button {
      padding-inline: 0;
    }
  }
`;

// Signs that more than one screen shows: the calm circle of waiting, the spinner, the notice. The element's animations
// are here; base.ts stops them for people who want no motion.

import { css } from "lit";

export const SIGNS = css`
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

  .notice.told {
    padding-block: 0.35rem;
    padding-right: 0.3rem;
  }

  .arrival button {
    white-space: nowrap;
  }

  @container (max-width: 15rem) {
    .notice.told {
    padding-block: 0.1rem;
    padding-right: 0.2rem;
  }

  .arrival button {
      white-space: normal;
    }
  }

  @container (min-width: 46rem) {
    .breath {
      width: 4rem;
      height: 4rem;
      margin-bottom: 0.75rem;
    }
  }
`;

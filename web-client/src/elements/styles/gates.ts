// The questions before media, and the card of a professional. One column; the answers are as large as buttons get.

import { css } from "lit";

export const GATES = css`
  .gate {
    gap: 1rem;
  }

  .step {
    color: var(--ink-soft);
    font-size: 1rem;
    font-weight: 600;
  }

  .cards {
    display: grid;
    gap: 0.75rem;
  }

  .card {
    padding: 1rem 1.2rem;
    border: 1px solid var(--edge);
    border-radius: 1rem;
    background: var(--card);
  }

  .card h2 {
    font-size: 1.25rem;
    line-height: 1.3;
  }

  .card dl {
    display: grid;
    gap: 0.6rem;
    margin: 0.6rem 0 0;
  }

  .card dt {
    color: var(--ink-soft);
    font-size: 1rem;
    line-height: 1.3;
  }

  .card dd {
    margin: 0;
    overflow-wrap: anywhere;
  }

  .card dt + dd {
    margin-top: -0.55rem;
  }

  .points {
    display: grid;
    gap: 0.7rem;
  }

  .points li {
    padding-left: 1rem;
    border-left: 0.25rem solid var(--accent);
  }

  @container (min-width: 46rem) {
    .card dl {
      grid-template-columns: auto minmax(0, 1fr);
      gap: 0.4rem 1.2rem;
    }

    .card dt {
      line-height: 1.5;
    }

    .card dt + dd {
      margin-top: 0;
    }
  }
`;

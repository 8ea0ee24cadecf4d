// What is around and between everything else: light before and after the call, dark during it, the bar on top, and the
// one column of text that every screen but the stage is.

import { css } from "lit";

export const FRAME = css`
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

  .dark .bar {
    padding-block: 0.1rem;
    color: var(--night-soft);
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

  @container (max-width: 24rem) {
    .screen {
      padding-inline: 1rem;
    }
  }
`;

// The telephone: what it does as a notice, the number to call and its code large enough to be read across a table, and the line
// about it in the list of people.

import { css } from "lit";

export const TELEPHONE = css`
  .notice.phone {
    flex-wrap: wrap;
    justify-content: center;
    background: var(--card);
  }

  .notice.phone > span:not(.spinner) {
    flex: 1 1 11rem;
  }

  .notice.phone .said {
    display: block;
  }

  .notice.phone .row {
    flex: 1 0 100%;
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
  }

  .notice.phone .row button {
    flex: 1 1 auto;
  }

  .notice.phone :is(button, a):focus-visible {
    outline-color: var(--accent);
  }

  .notice.phone > .icon {
    color: var(--accent);
  }

  .notice.phone .key {
    flex: none;
    display: grid;
    place-items: center;
    width: 3rem;
    height: 3rem;
    border-radius: 0.7rem;
    background: var(--accent);
    color: #fff;
    font-size: 1.8rem;
    font-weight: 700;
  }

  .waiting-phone {
    display: grid;
    gap: 0.75rem;
  }

  .waiting-phone:not(:has(*)) {
    display: none;
  }

  .dial {
    flex: 1 0 100%;
    display: grid;
    justify-items: center;
    gap: 0.2rem;
    padding: 0.75rem;
    border-radius: 1rem;
    background: var(--accent-tint);
    color: var(--ink);
    text-align: center;
  }

  .dial .number {
    padding-inline: 0.75rem;
    font-size: 1.5rem;
    font-weight: 700;
    line-height: 1.3;
    font-variant-numeric: tabular-nums;
    overflow-wrap: anywhere;
  }

  .dial a.number {
    width: 100%;
    min-height: 3.75rem;
    background: var(--accent);
    color: #fff;
    text-decoration: none;
  }

  .dial .pin {
    font-size: 1.8rem;
    letter-spacing: 0.06em;
  }

  .phone-line {
    grid-column: 1 / -1;
    display: grid;
    gap: 0.35rem;
  }

  .phone-line:not(:has(*)) {
    display: none;
  }

  .phone-line p {
    display: flex;
    align-items: center;
    gap: 0.4rem;
    font-size: 1rem;
    line-height: 1.35;
  }

  .notice.phone .said::first-letter,
  .phone-line p span::first-letter {
    text-transform: uppercase;
  }

  .phone-line .icon {
    width: 1.2em;
    height: 1.2em;
    color: var(--accent);
  }

  .phone-line .hand {
    font-weight: 600;
  }

  .phone-line:is([data-phone="silent"], [data-phone="lost"], [data-phone="failed"]) p .icon {
    color: var(--alarm);
  }

  .by-phone,
  figcaption .hand {
    display: inline-flex;
    align-items: center;
    gap: 0.3rem;
    color: #a8e0d8;
  }

  figcaption .hand {
    color: var(--warm);
  }

  .self-tile .by-phone span {
    display: none;
  }

  @container (max-width: 13rem) {
    .tile .by-phone span {
      display: none;
    }
  }

  @container (min-width: 46rem) {
    .waiting .waiting-phone {
      grid-area: phone;
    }
  }
`;

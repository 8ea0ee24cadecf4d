// Messages and files in the column that the list of people has too, and what lies over a picture: readings, the ring of
// somebody who points.

import { css } from "lit";

export const MESSAGES = css`
  .notes.notes {
    flex: 1 1 auto;
    align-content: end;
    min-height: 4rem;
    max-height: 18rem;
    overflow-y: auto;
  }

  .note {
    display: grid;
    justify-items: start;
    justify-self: start;
    max-width: 92%;
    padding: 0.4rem 0.8rem;
    border-radius: 0.9rem;
    background: var(--accent-tint);
    line-height: 1.4;
    overflow-wrap: anywhere;
    white-space: pre-line;
  }

  .note.own {
    justify-self: end;
    background: #efe9dc;
  }

  .note strong {
    font-size: 1rem;
  }

  .note .file {
    display: flex;
    gap: 0.4rem;
  }

  .messages .row,
  .write {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
  }

  .messages .row > * {
    flex: 1 1 auto;
  }

  .write input {
    flex: 1 1 8rem;
    width: 0;
    min-width: 0;
  }

  .vitals {
    position: absolute;
    inset: 0.5rem auto auto 0.5rem;
    display: grid;
    gap: 0.15rem;
    max-width: calc(100% - 1rem);
    margin: 0;
    padding: 0.35rem 0.75rem;
    border-radius: 0.8rem;
    background: rgb(10 22 21 / 82%);
    color: #fff;
    font-size: 1rem;
    line-height: 1.35;
  }

  .vitals div {
    display: flex;
    align-items: center;
    gap: 0.5rem;
  }

  .vitals dd {
    margin: 0;
    font-weight: 650;
  }

  .vitals svg {
    width: 3.75rem;
    height: 1rem;
    fill: none;
    stroke: #63c7ba;
    stroke-width: 1.5;
  }

  colloque-media {
    position: relative;
  }

  colloque-media.pointed {
    cursor: crosshair;
    touch-action: none;
  }

  .ring {
    position: absolute;
    width: 56px;
    height: 56px;
    margin: -28px 0 0 -28px;
    border: 5px solid #ffd9a0;
    border-radius: 50%;
    outline: 3px solid #0e1c1b;
    box-shadow: inset 0 0 0 3px #0e1c1b;
    pointer-events: none;
  }

  .tile .point {
    position: absolute;
    right: 0.5rem;
    top: calc(50% - 26px);
  }

  .tile .point[aria-pressed="true"] {
    background: var(--warm);
    color: #3a2600;
  }

  @container (min-width: 900px) {
    .notes.notes {
      max-height: none;
      flex-basis: 0;
    }
  }
`;

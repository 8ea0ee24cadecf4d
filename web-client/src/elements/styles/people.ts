// The list of who waits and who is in the room: over the pictures from below on a narrow element, a column beside them
// on a wide one. The column itself is the stage's grid.

import { css } from "lit";

export const PEOPLE = css`
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

  .panel :is(button, input, a, .notes):focus-visible,
  .panel label:has(:focus-visible) {
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
    min-width: min-content;
    padding-inline: 0.8rem;
    white-space: nowrap;
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

  .tags.tags {
    grid-column: 1 / -1;
    display: flex;
    flex-wrap: wrap;
    gap: 0.35rem;
  }

  .tags li {
    padding: 0.1rem 0.6rem;
    border: 1px solid var(--amber-line);
    border-radius: 0.6rem;
    background: var(--card);
    font-size: 1rem;
    line-height: 1.4;
  }

  .room-actions {
    display: grid;
    gap: 0.5rem;
    margin-top: 0.5rem;
  }

  .panel .end {
    grid-column: 1 / -1;
    border-color: var(--alarm);
    color: var(--alarm);
  }

  .panel .end:hover {
    background: var(--alarm-tint);
  }

  @container (max-width: 15rem) {
    .person .monogram,
    .person .row .icon {
      display: none;
    }

    .person .row button {
      white-space: normal;
    }
  }

  @container (min-width: 900px) {
    .panel {
      grid-area: panel;
      align-self: stretch;
      inset: 0;
      max-height: none;
      margin: 0 0.75rem 0.75rem 0;
      box-shadow: none;
    }

    .room-actions {
      grid-template-columns: repeat(2, minmax(0, 1fr));
      margin-top: auto;
    }

    /* Alone in its row. */
    .room-actions button:nth-child(odd):has(+ .end) {
      grid-column: 1 / -1;
    }

    .room-actions button {
      padding-inline: 0.5rem;
      font-size: 1rem;
    }
  }

  @container (max-width: 24rem) {
    .person .row button {
      flex-basis: 8rem;
    }
  }
`;

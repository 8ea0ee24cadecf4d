// The pictures of a call, notices above them. With one other person oneself is a small picture in the corner; three and
// more share the stage as equals, oneself among them. The grid follows `data-count` (the others' tiles) and
// `data-layout`, and leaves a column where the list of people is open beside it.
//
// A tile is a container of its own: what is written on it follows the tile's size, not the element's.

import { css } from "lit";

export const STAGE = css`
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

  .apart {
    position: absolute;
    z-index: 2;
    inset: 0;
    display: grid;
    align-content: center;
    justify-items: center;
    gap: 0.5rem;
    padding: 1.25rem;
    overflow: auto;
    background: var(--night);
    text-align: center;
    text-wrap: balance;
  }

  .stage[data-aside="outside"] .tile {
    visibility: hidden;
  }

  .self-tile .turn {
    position: absolute;
    right: 0.2rem;
    top: 0.2rem;
    width: 44px;
    min-width: 44px;
    height: 44px;
    min-height: 44px;
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

  @container (min-width: 46rem) {
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
  }

  @container (min-width: 900px) {
    .stage[data-panel="open"] {
      grid-template:
        "notices panel" auto
        "tiles panel" minmax(140px, 1fr)
        "controls panel" auto / minmax(0, 1fr) 22rem;
    }
  }

  @media (forced-colors: active) {
    .tile[data-speaking="yes"] {
      outline: 3px solid Highlight;
    }
  }
`;

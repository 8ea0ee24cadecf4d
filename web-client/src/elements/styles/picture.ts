// One's own picture before the call, with its two round buttons, and how any <colloque-media> fills its box. Sizes that
// differ between preview and waiting room are in their files.

import { css } from "lit";

export const PICTURE = css`
  colloque-media {
    display: block;
    width: 100%;
    height: 100%;
    overflow: hidden;
  }

  colloque-media video {
    display: block;
    width: 100%;
    height: 100%;
    object-fit: cover;
  }

  colloque-media.mirrored video {
    transform: scaleX(-1);
  }

  .self-picture {
    position: relative;
    aspect-ratio: 16 / 10;
    max-height: 24rem;
    border-radius: 1.4rem;
    overflow: hidden;
    background: var(--night-card);
    color: var(--night-ink);
    box-shadow: 0 0.6rem 1.8rem rgb(20 40 38 / 14%);
  }

  .cover {
    position: absolute;
    inset: 0 0 3.5rem;
    display: flex;
    flex-direction: column;
    align-items: center;
    justify-content: center;
    gap: 0.5rem;
    padding: 1rem;
    text-align: center;
  }

  .cover .icon {
    width: 2.5rem;
    height: 2.5rem;
    color: var(--night-soft);
  }

  .over-picture {
    position: absolute;
    inset: auto 0 0.8rem;
    display: flex;
    justify-content: center;
    gap: 0.9rem;
  }

  .round {
    width: 52px;
    height: 52px;
    min-height: 52px;
    padding: 0;
    border-radius: 50%;
    background: rgb(14 28 27 / 82%);
    border-color: rgb(255 255 255 / 75%);
    color: #fff;
  }

  .round:focus-visible {
    outline-color: var(--warm);
  }

  .round.off {
    background: var(--alarm);
  }
`;

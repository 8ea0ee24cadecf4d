// The screen before anything is sent: devices, the level of one's voice, help when the browser gives none. In one
// column on a phone, in two where there is room.

import { css } from "lit";

export const PREVIEW = css`
  .preview .self-picture[data-camera="off"][data-asking="no"] {
    aspect-ratio: 16 / 9;
  }

  .settings {
    display: flex;
    flex-direction: column;
    gap: 1rem;
  }

  .preview .settings:not(:has(.help)) > .primary {
    position: sticky;
    z-index: 1;
    bottom: 0.75rem;
    box-shadow: 0 0 0 0.75rem rgb(246 243 236 / 92%);
  }

  .device {
    display: grid;
    gap: 0.3rem;
  }

  .device label {
    font-weight: 600;
    font-size: 1rem;
  }

  :is(select, input) {
    width: 100%;
    min-height: 3rem;
    padding: 0.4rem 0.8rem;
    border: 2px solid var(--edge);
    border-radius: 0.9rem;
    background: var(--card);
    color: var(--ink);
    text-overflow: ellipsis;
  }

  .level {
    height: 0.75rem;
    margin-top: 0.35rem;
    border-radius: 0.4rem;
    background: #e4dfd3;
    overflow: hidden;
  }

  .level[data-live="no"],
  .level[data-live="no"] + .hint {
    display: none;
  }

  .level-bar {
    height: 100%;
    border-radius: inherit;
    background: linear-gradient(90deg, #2f8f7f, var(--accent));
    transform: scaleX(0);
    transform-origin: left;
    transition: transform 80ms linear;
  }

  .help {
    display: grid;
    gap: 0.75rem;
    padding: 1.1rem 1.25rem;
    border: 1px solid var(--amber-line);
    border-left-width: 0.4rem;
    border-radius: 0.9rem;
    background: var(--amber-tint);
  }

  .help h2 {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    font-size: 1.15rem;
    line-height: 1.3;
  }

  .help h2 .icon {
    color: #8a5a00;
  }

  .help ol {
    padding-left: 1.5rem;
  }

  .help li + li {
    margin-top: 0.3rem;
  }

  .help button {
    justify-self: start;
  }

  @container (min-width: 46rem) {
    .screen.preview {
      max-width: 60rem;
      display: grid;
      grid-template: "intro intro" auto "picture settings" auto / minmax(0, 1.25fr) minmax(0, 1fr);
      gap: 1.25rem 2rem;
      align-items: start;
    }

    .preview .intro {
      grid-area: intro;
    }

    .preview .self-picture {
      grid-area: picture;
      aspect-ratio: 4 / 3;
    }

    .preview .settings {
      grid-area: settings;
    }
  }
`;

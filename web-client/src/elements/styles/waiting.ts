// The waiting room and the emergency number in it. In one column on a phone, in two where there is room.

import { css } from "lit";

export const WAITING = css`
  .place {
    display: grid;
    padding: 0.7rem 1rem;
    border-radius: 0.9rem;
    background: var(--accent-tint);
  }

  .waiting-self {
    display: grid;
    gap: 0.75rem;
  }

  .waiting .self-picture {
    aspect-ratio: 16 / 9;
    max-height: 12rem;
  }

  .emergency {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 1rem;
    padding: 0.9rem 1.1rem;
    border-radius: 1rem;
    background: var(--alarm-tint);
    border: 1px solid #e9b5b0;
  }

  .emergency div {
    text-wrap: pretty;
  }

  .emergency strong,
  .emergency span {
    display: block;
  }

  .emergency a {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.45rem;
    flex: none;
    min-height: 3.25rem;
    padding: 0 1.2rem;
    border-radius: 0.9rem;
    background: var(--alarm);
    color: #fff;
    font-size: 1.35rem;
    font-weight: 700;
    text-decoration: none;
  }

  .emergency a:focus-visible {
    outline-color: var(--alarm);
  }

  @container (min-width: 46rem) {
    .screen.waiting {
      max-width: 60rem;
      display: grid;
      grid-template: "intro self" auto "phone self" auto "emergency self" auto "leave self" 1fr / minmax(0, 1.2fr) minmax(0, 1fr);
      gap: 1.25rem 2.5rem;
      align-items: start;
    }

    .waiting .intro {
      grid-area: intro;
    }

    .waiting .waiting-self {
      grid-area: self;
    }

    .waiting .emergency {
      grid-area: emergency;
    }

    .waiting > button {
      grid-area: leave;
      justify-self: start;
    }

    .waiting .self-picture {
      aspect-ratio: 4 / 3;
      max-height: none;
    }
  }
`;

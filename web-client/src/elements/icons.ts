// Line icons drawn for this element, on a 24 by 24 grid. Decoration: the words beside them carry the meaning.

import { svg, type SVGTemplateResult } from "lit";

function icon(paths: SVGTemplateResult): SVGTemplateResult {
  return svg`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">${paths}</svg>`;
}

export const ICONS = {
  microphone: icon(svg`<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>`),
  microphoneOff: icon(
    svg`<path d="M9 9V6a3 3 0 0 1 6 0v5.5M15 14.2A3 3 0 0 1 9 12M5.5 11.5A6.5 6.5 0 0 0 16.6 16M18.5 11.5c0 1-.2 1.9-.6 2.7M12 18v3M4 3.5l16 17"/>`,
  ),
  camera: icon(svg`<rect x="2.5" y="6" width="13" height="12" rx="3"/><path d="m15.5 11 4.6-2.9a.6.6 0 0 1 .9.5v6.8a.6.6 0 0 1-.9.5L15.5 13"/>`),
  cameraOff: icon(
    svg`<path d="M6 6H5.5a3 3 0 0 0-3 3v6a3 3 0 0 0 3 3h7a3 3 0 0 0 2.9-2.2M10 6h2.5a3 3 0 0 1 3 3v2l4.6-2.9a.6.6 0 0 1 .9.5v6.8M4 3.5l16 17"/>`,
  ),
  screen: icon(svg`<rect x="2.5" y="4" width="19" height="13" rx="2.5"/><path d="M8.5 20.5h7M12 14V8m-2.8 2.5L12 7.7l2.8 2.8"/>`),
  screenOff: icon(svg`<rect x="2.5" y="4" width="19" height="13" rx="2.5"/><path d="M8.5 20.5h7M9.5 8l5 5m0-5-5 5"/>`),
  people: icon(
    svg`<circle cx="9" cy="8" r="3.5"/><path d="M2.5 19.5a6.5 6.5 0 0 1 13 0M16 5a3.5 3.5 0 0 1 0 6.5M18 14.2a6.5 6.5 0 0 1 3.5 5.3"/>`,
  ),
  leave: icon(
    svg`<path d="M3 14.5c0-2 3.8-4 9-4s9 2 9 4v1.7a1 1 0 0 1-1.2 1l-3.3-.7a1 1 0 0 1-.8-.9l-.2-1.6a12 12 0 0 0-7 0l-.2 1.6a1 1 0 0 1-.8.9l-3.3.7a1 1 0 0 1-1.2-1z"/>`,
  ),
  close: icon(svg`<path d="m6 6 12 12M18 6 6 18"/>`),
  check: icon(svg`<path d="m5 12.5 4.5 4.5L19 7.5"/>`),
  remove: icon(svg`<circle cx="9.5" cy="8" r="3.5"/><path d="M3 19.5a6.5 6.5 0 0 1 11.5-4.2M15.5 19.5l5-5m0 5-5-5"/>`),
  language: icon(svg`<circle cx="12" cy="12" r="9"/><path d="M3 12h18M12 3c5 5 5 13 0 18M12 3c-5 5-5 13 0 18"/>`),
  phone: icon(
    svg`<path d="M5.2 3.5h3l1.7 4.3-2 1.7a12.5 12.5 0 0 0 6.6 6.6l1.7-2 4.3 1.7v3a1.7 1.7 0 0 1-1.8 1.7A16.5 16.5 0 0 1 3.5 5.3a1.7 1.7 0 0 1 1.7-1.8z"/>`,
  ),
  lock: icon(svg`<rect x="4.5" y="10.5" width="15" height="10" rx="2.5"/><path d="M8 10.5V7.5a4 4 0 0 1 8 0v3"/>`),
  sound: icon(svg`<path d="M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11"/>`),
  signal: icon(svg`<path d="M5 19v-3M10 19v-7M15 19V8M20 19V4"/>`),
  clock: icon(svg`<circle cx="12" cy="12" r="9"/><path d="M12 7v5.3l3.5 2"/>`),
  more: icon(svg`<path d="M5.5 12h.01M12 12h.01M18.5 12h.01" stroke-width="3.2"/>`),
  turn: icon(svg`<path d="M4 9.5a8 8 0 0 1 14.2-2.2M20 14.5a8 8 0 0 1-14.2 2.2M18.8 3.5v4h-4M5.2 20.5v-4h4"/>`),
  point: icon(svg`<path d="M9 11.5V4.8a1.6 1.6 0 0 1 3.2 0V10l5.3 1.1a2.2 2.2 0 0 1 1.7 2.5l-.8 4.6a2.8 2.8 0 0 1-2.8 2.3h-3.4a3 3 0 0 1-2.3-1.1L5.6 14.7a1.6 1.6 0 0 1 2.3-2.2z"/>`),
  hand: icon(svg`<path d="M7.5 13V6.2a1.4 1.4 0 0 1 2.8 0V11V4.4a1.4 1.4 0 0 1 2.8 0V11V5.4a1.4 1.4 0 0 1 2.8 0V12V8a1.3 1.3 0 0 1 2.6 0v6.5a6.5 6.5 0 0 1-12 3.4l-2.8-4.6a1.4 1.4 0 0 1 2.3-1.5z"/>`),
  messages: icon(svg`<path d="M4 5.5h16a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1h-9l-4.5 4v-4H4a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1z"/>`),
  file: icon(svg`<path d="M6.5 3h7.5l4.5 4.5V20a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM13.5 3v5h5"/>`),
  link: icon(svg`<path d="M10 14a4 4 0 0 0 5.7 0l3.6-3.6a4 4 0 0 0-5.7-5.7l-1.3 1.3M14 10a4 4 0 0 0-5.7 0l-3.6 3.6a4 4 0 0 0 5.7 5.7l1.3-1.3"/>`),
  alert: icon(svg`<path d="M12 4 2.8 19.5h18.4zM12 10v4.5M12 17v.2"/>`),
};

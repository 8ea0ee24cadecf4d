// Whole seconds, counted down from what the server said, beginning when it is drawn. Decoration for the eye: a screen reader hears the
// number once, in the sentence beside it, and not every second.

const TICK_MS = 250;

export class Countdown extends HTMLElement {
  private end = 0;
  private ticks: ReturnType<typeof setInterval> | undefined;

  set seconds(seconds: number) {
    this.end = performance.now() + seconds * 1000;
    this.show();
  }

  connectedCallback(): void {
    this.ticks = setInterval(() => this.show(), TICK_MS);
  }

  disconnectedCallback(): void {
    clearInterval(this.ticks);
  }

  private show(): void {
    this.textContent = String(Math.max(0, Math.ceil((this.end - performance.now()) / 1000)));
  }
}

if (customElements.get("colloque-countdown") === undefined) customElements.define("colloque-countdown", Countdown);

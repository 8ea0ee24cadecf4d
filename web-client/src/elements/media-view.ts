// A picture with its sound: one <video> that plays a stream, fits it without cutting faces, and reports the size at
// which it is shown, so that the server sends no larger layer than the eye can use.

/** Share of the picture that may be cut at the sides; faces sit in the middle. */
const CUT_SIDES_MAX = 0.6;
/** Share that may be cut above and below; more would take foreheads off. */
const CUT_HEIGHT_MAX = 0.18;
/** Resizing windows reports many sizes; only the one they come to rest at matters. */
const SETTLE_MS = 200;

/** `contain` when filling the box would cut too much of the picture away. */
export function fit(box: { width: number; height: number }, picture: { width: number; height: number }): "cover" | "contain" {
  if (box.width * box.height * picture.width * picture.height === 0) return "cover";
  const boxShape = box.width / box.height;
  const pictureShape = picture.width / picture.height;
  const cut = 1 - Math.min(boxShape, pictureShape) / Math.max(boxShape, pictureShape);
  return cut <= (pictureShape > boxShape ? CUT_SIDES_MAX : CUT_HEIGHT_MAX) ? "cover" : "contain";
}

/** As shares of the picture's width and height, whatever of it is shown. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Where the whole picture lies in relation to its box; partly outside when it is cut. */
export function placeOf(
  box: { width: number; height: number },
  picture: { width: number; height: number },
  filled: boolean,
): { left: number; top: number; width: number; height: number } {
  const scales = [box.width / (picture.width || 1), box.height / (picture.height || 1)];
  const scale = filled ? Math.max(...scales) : Math.min(...scales);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { left: (box.width - width) / 2, top: (box.height - height) / 2, width, height };
}

export class MediaView extends HTMLElement {
  /** Called with the receive slot and device pixels; 0 by 0 when nothing is seen. */
  onView: ((slot: number, width: number, height: number) => void) | null = null;
  /** Called while the person presses on the picture, with the place as shares of it. */
  private pointed: ((x: number, y: number) => void) | null = null;
  private rings: HTMLElement[] = [];
  private shownPoints: readonly Point[] = [];
  /** The browser wants a touch before it plays sound. */
  onBlocked: (() => void) | null = null;
  /** A shared screen is never cut (`whole`), one's own picture may be (`fill`); others' as far as `fit` allows. */
  shape: "fit" | "whole" | "fill" = "fit";
  private readonly video = document.createElement("video");
  private source: MediaStream | null = null;
  private slotIndex: number | null = null;
  private settleTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly observer = new ResizeObserver(() => this.handleResize());
  private readonly handleVisibility = () => this.reportView();

  constructor() {
    super();
    this.video.autoplay = true;
    this.video.playsInline = true;
    this.video.disablePictureInPicture = true;
    this.addEventListener("pointerdown", (event) => this.handlePoint(event));
    this.addEventListener("pointermove", (event) => event.buttons > 0 && this.handlePoint(event));
    this.video.addEventListener("resize", () => this.applyFit());
    this.video.addEventListener("loadedmetadata", () => this.applyFit());
  }

  get stream(): MediaStream | null {
    return this.source;
  }

  set stream(stream: MediaStream | null) {
    if (stream === this.source) return;
    this.source = stream;
    this.video.srcObject = stream;
    if (stream !== null) void this.play();
  }

  /** Which receive slot is played here; null for one's own picture. */
  get slotNumber(): number | null {
    return this.slotIndex;
  }

  set slotNumber(slot: number | null) {
    if (slot === this.slotIndex) return;
    this.slotIndex = slot;
    this.scheduleReport();
  }

  get muted(): boolean {
    return this.video.muted;
  }

  set muted(muted: boolean) {
    this.video.muted = muted;
  }

  set onPoint(report: ((x: number, y: number) => void) | null) {
    this.pointed = report;
    this.classList.toggle("pointed", report !== null);
  }

  /** Where others point on this picture. */
  set points(points: readonly Point[]) {
    if (points.length === 0 && this.shownPoints.length === 0) return;
    this.shownPoints = points;
    this.drawPoints();
  }

  set label(label: string) {
    this.video.setAttribute("aria-label", label);
  }

  async play(): Promise<void> {
    try {
      await this.video.play();
    } catch (error) {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.onBlocked?.();
    }
  }

  connectedCallback(): void {
    this.append(this.video);
    this.observer.observe(this);
    document.addEventListener("visibilitychange", this.handleVisibility);
    // An element that was moved in the page comes back paused.
    if (this.source !== null) void this.play();
  }

  disconnectedCallback(): void {
    clearTimeout(this.settleTimer);
    this.observer.disconnect();
    document.removeEventListener("visibilitychange", this.handleVisibility);
    this.report(0, 0);
  }

  private handleResize(): void {
    this.applyFit();
    this.scheduleReport();
  }

  private scheduleReport(): void {
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => this.reportView(), SETTLE_MS);
  }

  private applyFit(): void {
    const box = { width: this.clientWidth, height: this.clientHeight };
    const picture = { width: this.video.videoWidth, height: this.video.videoHeight };
    this.video.style.objectFit = { whole: "contain", fill: "cover", fit: fit(box, picture) }[this.shape];
    if (this.shownPoints.length > 0) this.drawPoints();
  }

  private place(): { left: number; top: number; width: number; height: number } {
    const box = { width: this.clientWidth, height: this.clientHeight };
    const picture = { width: this.video.videoWidth, height: this.video.videoHeight };
    return placeOf(box, picture, this.video.style.objectFit === "cover");
  }

  private handlePoint(event: PointerEvent): void {
    if (this.pointed === null) return;
    const { left, top, width, height } = this.place();
    const box = this.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left - left) / width, (event.clientY - box.top - top) / height];
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1) this.pointed(x, y);
  }

  /** By hand, because positions written into markup are refused by the page's own policy. */
  private drawPoints(): void {
    for (const ring of this.rings.splice(0)) ring.remove();
    const { left, top, width, height } = this.place();
    const mirrored = this.classList.contains("mirrored");
    for (const { x, y } of this.shownPoints) {
      const ring = document.createElement("span");
      ring.className = "ring";
      ring.style.left = `${left + (mirrored ? 1 - x : x) * width}px`;
      ring.style.top = `${top + y * height}px`;
      this.rings.push(ring);
    }
    this.append(...this.rings);
  }

  private reportView(): void {
    const shown = document.visibilityState === "visible" && this.clientWidth > 0;
    const scale = shown ? devicePixelRatio : 0;
    this.report(this.clientWidth * scale, this.clientHeight * scale);
  }

  private report(width: number, height: number): void {
    if (this.slotIndex !== null) this.onView?.(this.slotIndex, width, height);
  }
}

if (customElements.get("colloque-media") === undefined) customElements.define("colloque-media", MediaView);

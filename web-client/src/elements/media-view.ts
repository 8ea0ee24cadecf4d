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

export class MediaView extends HTMLElement {
  /** Called with the receive slot and device pixels; 0 by 0 when nothing is seen. */
  onView: ((slot: number, width: number, height: number) => void) | null = null;
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

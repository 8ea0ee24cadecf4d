// This device's cameras, microphones and screen: asks for them, names what went wrong, measures the voice's level.
//
// Nothing here is sent anywhere. A person without a camera, or who refuses it, joins with the voice alone, and one
// without either joins to see and hear.

export type DeviceProblem =
  | "refused" // by the person or by a policy
  | "missing" // no such device
  | "busy" // another program holds it
  | "unsupported"; // not over HTTPS, or a browser without cameras

export interface DeviceChoice {
  readonly microphone?: string;
  readonly camera?: string;
}

export interface Opened {
  readonly track: MediaStreamTrack | null;
  readonly problem: DeviceProblem | null;
}

/** 720p is what the top simulcast layer carries; asking for more would only heat the phone. */
const CAMERA: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const VOICE: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

export function problemOf(error: unknown): DeviceProblem {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") return "refused";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "missing";
  if (name === "NotReadableError" || name === "AbortError") return "busy";
  return "unsupported";
}

export function openMicrophone(device?: string): Promise<Opened> {
  return open({ audio: { ...VOICE, ...exactly(device) } }, device === undefined ? null : { audio: VOICE });
}

export function openCamera(device?: string): Promise<Opened> {
  const wanted = device === undefined ? { facingMode: "user" } : exactly(device);
  return open({ video: { ...CAMERA, ...wanted } }, { video: true });
}

/** What the hands do, where a device has a camera at its back; null where it has none. */
export async function openRearCamera(): Promise<Opened | null> {
  const rear = await open({ video: { ...CAMERA, facingMode: { exact: "environment" } } }, null);
  return rear.track === null ? null : rear;
}

export function facesAway(track: MediaStreamTrack | null): boolean {
  return track?.getSettings?.().facingMode === "environment";
}

/** Both by one question to the person; when that fails, each by itself, so that one missing device costs only itself. */
export async function openBoth(choice: DeviceChoice): Promise<{ microphone: Opened; camera: Opened }> {
  if (choice.microphone === undefined && choice.camera === undefined) {
    try {
      const stream = await media().getUserMedia({ audio: VOICE, video: { ...CAMERA, facingMode: "user" } });
      return { microphone: opened(stream.getAudioTracks()[0]), camera: opened(stream.getVideoTracks()[0]) };
    } catch (error) {
      if (problemOf(error) === "unsupported") {
        return { microphone: failed("unsupported"), camera: failed("unsupported") };
      }
    }
  }
  const microphone = await openMicrophone(choice.microphone);
  const camera = await openCamera(choice.camera);
  return { microphone, camera };
}

/** `detail`: letters and X-rays stay sharp at few pictures a second; `motion`: an ultrasound moves. */
export async function openScreen(hint: "detail" | "motion" = "detail"): Promise<Opened> {
  try {
    const frameRate = { max: hint === "detail" ? 15 : 30 };
    const stream = await media().getDisplayMedia({ video: { frameRate }, audio: false });
    const track = stream.getVideoTracks()[0];
    if (track) track.contentHint = hint;
    return opened(track);
  } catch (error) {
    return failed(problemOf(error));
  }
}

/** A phone or a tablet: has a camera at its back. */
export function isHandheld(): boolean {
  return typeof matchMedia === "function" && matchMedia("(pointer: coarse)").matches;
}

/** Phones have the function but not the use; there the button is not shown. */
export function canShareScreen(): boolean {
  return !isHandheld() && typeof navigator.mediaDevices?.getDisplayMedia === "function";
}

export interface DeviceLists {
  readonly microphones: readonly MediaDeviceInfo[];
  readonly cameras: readonly MediaDeviceInfo[];
}

export async function listDevices(): Promise<DeviceLists> {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  const named = all.filter((device) => device.deviceId !== "");
  return {
    microphones: named.filter((device) => device.kind === "audioinput"),
    cameras: named.filter((device) => device.kind === "videoinput"),
  };
}

/**
 * Calls back with the voice's level, 0 to 1, about fifteen times a second, until the returned function is called. Null
 * while the browser keeps its audio asleep until a first touch: a bar at zero would look like a broken microphone.
 */
export function watchLevel(track: MediaStreamTrack, report: (level: number | null) => void): () => void {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    report(context.state === "running" ? levelOf(samples) : null);
  }, 66);
  const wake = () => void context.resume().catch(() => undefined);
  document.addEventListener("pointerdown", wake);
  return () => {
    clearInterval(timer);
    document.removeEventListener("pointerdown", wake);
    void context.close().catch(() => undefined);
  };
}

/** Loudness of the samples on a scale where quiet speech is visible: -60 dB is 0, full scale is 1. */
export function levelOf(samples: Float32Array): number {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(1, samples.length);
  const decibels = 10 * Math.log10(power + 1e-12);
  return Math.min(1, Math.max(0, (decibels + 60) / 60));
}

async function open(first: MediaStreamConstraints, second: MediaStreamConstraints | null): Promise<Opened> {
  try {
    return firstTrack(await media().getUserMedia(first));
  } catch (error) {
    const problem = problemOf(error);
    // A remembered device may be unplugged, and a camera may know no size: ask for any.
    if (second === null || problem !== "missing") return failed(problem);
  }
  try {
    return firstTrack(await media().getUserMedia(second));
  } catch (error) {
    return failed(problemOf(error));
  }
}

function media(): MediaDevices {
  const devices = navigator.mediaDevices as MediaDevices | undefined;
  if (devices === undefined) throw new TypeError("no media devices in an insecure context");
  return devices;
}

function firstTrack(stream: MediaStream): Opened {
  return opened(stream.getTracks()[0]);
}

function opened(track: MediaStreamTrack | undefined): Opened {
  return track === undefined ? failed("missing") : { track, problem: null };
}

function failed(problem: DeviceProblem): Opened {
  return { track: null, problem };
}

function exactly(device: string | undefined): MediaTrackConstraints {
  return device === undefined ? {} : { deviceId: { exact: device } };
}

// The call as an embedding page drives it, with a socket and a connection of the test's own.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ClientMessage, Gate, ServerMessage } from "../src/protocol/generated.ts";
import { INITIAL_STATE } from "../src/sdk/call-state.ts";
import { Call } from "../src/sdk/call.ts";

class FakeSocket {
  readyState = 1;
  sent: ClientMessage[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  private seq = 0;

  say(message: ServerMessage) {
    this.onmessage?.({ data: JSON.stringify({ seq: (this.seq += 1), ...message }) });
  }

  send(text: string) {
    this.sent.push(JSON.parse(text) as ClientMessage);
  }

  close() {
    this.readyState = 3;
  }
}

class FakeTrack {
  enabled = true;
  stopped = false;
  onended: (() => void) | null = null;
  constructor(
    readonly kind: string,
    private readonly facingMode: string | undefined = undefined,
  ) {}
  getSettings() {
    return { facingMode: this.facingMode };
  }
  stop() {
    this.stopped = true;
  }
}

const WELCOME: ServerMessage = {
  type: "welcome",
  seat: "me",
  role: "patient",
  consultation: "c",
  language: "fr",
  ticket: "t",
  grace_seconds: 120,
  admitted: false,
  permissions: INITIAL_STATE.permissions,
  act: "teleconsultation",
  media: { start: "video", camera: "front", cameras: 1, screen: "motion", low_delay: false },
};
const GATES: Gate[] = [{ gate: "consent", text: "7" }, { gate: "preference" }];

let sockets: FakeSocket[];
let opened: FakeTrack[];
let handheld: boolean;
const last = () => sockets.at(-1) as FakeSocket;
const answers = () => last().sent.filter((message) => message.type === "gate");

function device(kind: string, constraints: MediaTrackConstraints | boolean | undefined): FakeTrack[] {
  if (!constraints) return [];
  const facing = (constraints as MediaTrackConstraints).facingMode;
  const track = new FakeTrack(kind, typeof facing === "object" ? "environment" : (facing as string | undefined));
  opened.push(track);
  return [track];
}

beforeEach(() => {
  sockets = [];
  opened = [];
  handheld = false;
  vi.stubGlobal("matchMedia", () => ({ matches: handheld }));
  vi.stubGlobal("navigator", {
    mediaDevices: {
      getUserMedia: ({ audio, video }: MediaStreamConstraints) => {
        const tracks = { audio: device("audio", audio), video: device("video", video) };
        return Promise.resolve({
          getTracks: () => [...tracks.audio, ...tracks.video],
          getAudioTracks: () => tracks.audio,
          getVideoTracks: () => tracks.video,
        });
      },
    },
  });
});

afterEach(() => vi.unstubAllGlobals());

async function entered(welcome: Partial<Extract<ServerMessage, { type: "welcome" }>> = {}): Promise<Call> {
  const call = new Call({
    baseUrl: "https://clinic.example",
    openSocket: () => {
      sockets.push(new FakeSocket());
      return last() as unknown as WebSocket;
    },
  });
  call.useSession({ session: "s" });
  await call.openDevices();
  call.enter();
  last().onopen?.();
  last().say({ ...WELCOME, ...welcome } as ServerMessage);
  return call;
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

test("an answer shows the next question; a refusal waits for the server's word", async () => {
  const call = await entered();
  last().say({ type: "gates", pending: GATES });
  call.answer({ gate: "consent", text: "7", accepted: true });
  expect(call.state.gates.map(({ gate }) => gate)).toEqual(["preference"]);
  call.answer({ gate: "preference", choice: "phone" });
  expect(call.state.phase).toBe("gates");
  expect(answers()).toHaveLength(2);
  last().say({ type: "declined", choice: "phone" });
  expect(call.state).toMatchObject({ phase: "declined", choice: "phone" });
  expect(opened.every(({ stopped }) => stopped)).toBe(true);
  call.close();
});

test("consent is withdrawn for the text that was shown, also after a reload", async () => {
  const call = await entered();
  last().say({ type: "gates", pending: GATES });
  const kept = call.credentials;
  expect(kept).toMatchObject({ session: "s", consentText: "7" });
  call.close();
  const again = await entered();
  again.useSession(kept ?? { session: "" });
  again.withdrawConsent();
  expect(answers()).toEqual([{ type: "gate", answer: { gate: "consent", text: "7", accepted: false } }]);
  again.close();
});

test("an act without pictures begins without them, once; then the person chooses", async () => {
  const media = { ...(WELCOME as Extract<ServerMessage, { type: "welcome" }>).media, start: "telephone" };
  const call = await entered({ media });
  expect([call.local.microphone.on, call.local.camera.on]).toEqual([true, false]);
  await call.setCamera(true);
  last().say({ ...WELCOME, media } as ServerMessage);
  expect(call.local.camera.on).toBe(true);
  call.close();
});

test("where hands are guided, a phone shows what its back sees, except to whoever guides them", async () => {
  handheld = true;
  const media = { ...(WELCOME as Extract<ServerMessage, { type: "welcome" }>).media, camera: "rear" };
  for (const [role, facing] of [["patient", "environment"], ["practitioner", "user"]] as const) {
    const call = await entered({ media, role });
    await settled();
    expect((call.local.camera.track as unknown as FakeTrack).getSettings().facingMode).toBe(facing);
    call.close();
  }
});

test("the next consultation gets camera and microphone, and nothing else", async () => {
  const call = await entered({ role: "practitioner" });
  last().say({ type: "roster", seats: [] });
  call.exchanges.handle(JSON.stringify({ from: "p", kind: "chat", body: { text: "secret" } }));
  const { microphone, camera } = call.local;
  call.nextPatient();
  expect(call.state.next).toBe("asked");
  last().say({ type: "next", token: "T2" });
  expect(call.state).toEqual({ ...INITIAL_STATE, phase: "next" });
  expect(call.following?.token).toBe("T2");
  const next = call.following?.call as Call;
  expect([next.local.microphone.track, next.local.camera.track]).toEqual([microphone.track, camera.track]);
  expect(opened.some(({ stopped }) => stopped)).toBe(false);
  expect(next.state).toMatchObject({ seat: null, seats: [], sending: { microphone: true, camera: true, screen: false } });
  expect([call.exchanges.notes, next.exchanges.notes, call.local.camera.track]).toEqual([[], [], null]);
  next.close();
  expect(opened.every(({ stopped }) => stopped)).toBe(true);
});

test("without anybody waiting the consultation goes on", async () => {
  const call = await entered({ role: "practitioner" });
  call.nextPatient();
  last().say({ type: "next", token: null });
  expect([call.state.next, call.following]).toEqual(["nobody", null]);
  call.dismiss("next");
  expect(call.state.next).toBe("none");
  call.close();
});

test("a name that is only spaces is no name", async () => {
  const call = await entered();
  call.invite("interpreter", "  ");
  call.invite("expert", " Dr Nadir ");
  expect(last().sent.filter(({ type }) => type === "invite")).toEqual([
    { type: "invite", role: "interpreter" },
    { type: "invite", role: "expert", display_name: "Dr Nadir" },
  ]);
  call.close();
});

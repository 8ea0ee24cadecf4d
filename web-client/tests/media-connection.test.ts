import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ClientMessage } from "../src/protocol/generated.ts";
import { MediaConnection, cameraEncodings, orderCodecs } from "../src/sdk/media-connection.ts";

interface FakeTransceiver {
  kind: string;
  direction: string;
  sendEncodings?: { rid?: string }[];
  mid: string | null;
  sender: { track: unknown; replaceTrack(track: unknown): Promise<void> };
  receiver: { track: object };
}

/** Just enough of an RTCPeerConnection: sections get mids at setLocalDescription, states are set by the test. */
class FakeConnection {
  transceivers: FakeTransceiver[] = [];
  channels: string[] = [];
  restarts = 0;
  closed = false;
  connectionState = "new";
  iceConnectionState = "new";
  localDescription: { sdp: string } | null = null;
  answers: string[] = [];
  onconnectionstatechange: (() => void) | null = null;
  oniceconnectionstatechange: (() => void) | null = null;

  addTransceiver(kind: string, init: { direction: string; sendEncodings?: { rid?: string }[] }): FakeTransceiver {
    const sender = {
      track: null as unknown,
      replaceTrack(track: unknown) {
        this.track = track;
        return Promise.resolve();
      },
    };
    const transceiver = { kind, ...init, mid: null, sender, receiver: { track: {} } };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  createDataChannel(label: string) {
    this.channels.push(label);
    return {};
  }

  createOffer() {
    return Promise.resolve({ type: "offer", sdp: `offer ${this.restarts}` });
  }

  setLocalDescription(description: { sdp: string }) {
    this.localDescription = description;
    this.transceivers.forEach((transceiver, index) => (transceiver.mid = `${index}`));
    return Promise.resolve();
  }

  setRemoteDescription({ sdp }: { sdp: string }) {
    this.answers.push(sdp);
    return Promise.resolve();
  }

  restartIce() {
    this.restarts += 1;
  }

  close() {
    this.closed = true;
  }

  become(state: "connected" | "disconnected" | "failed") {
    this.iceConnectionState = state;
    this.connectionState = state;
    this.oniceconnectionstatechange?.();
    this.onconnectionstatechange?.();
  }
}

let made: FakeConnection[];
let sent: ClientMessage[];
let statuses: string[];
let reachable: boolean;
let media: MediaConnection;
const connection = () => made.at(-1) as FakeConnection;
const offers = () => sent.filter((message) => message.type === "offer");
const settle = () => vi.advanceTimersByTimeAsync(0);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("MediaStream", class {});
  made = [];
  sent = [];
  statuses = [];
  reachable = true;
  media = new MediaConnection(
    {
      send: (message) => reachable && sent.push(message) > 0,
      status: (status) => statuses.push(status),
      slots: () => undefined,
      data: () => undefined,
      probeSocket: () => undefined,
    },
    () => {
      made.push(new FakeConnection());
      return connection() as unknown as RTCPeerConnection;
    },
    [],
  );
});

afterEach(() => {
  media.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function connected() {
  media.start();
  await settle();
  await media.handleAnswer(offers().length, "answer");
  connection().become("connected");
}

test("offers senders without tracks, then pairs of receive slots, and a data channel, once", async () => {
  media.start();
  await settle();
  const sections = connection().transceivers.map(({ kind, direction }) => `${kind} ${direction}`);
  const pair = ["audio recvonly", "video recvonly"];
  expect(sections).toEqual(["audio sendonly", "video sendonly", "video sendonly", ...pair, ...pair, ...pair, ...pair]);
  expect(connection().transceivers[1]?.sendEncodings?.map(({ rid }) => rid)).toEqual(["q", "h", "f"]);
  expect(connection().channels).toEqual(["colloque"]);
  expect(offers()).toHaveLength(1);
  expect(offers()[0]).toMatchObject({
    senders: [
      { mid: "0", source: "microphone" },
      { mid: "1", source: "camera" },
      { mid: "2", source: "screen" },
    ],
  });
});

test("changing a track negotiates nothing, and a fresh connection keeps it", async () => {
  await connected();
  const track = {} as MediaStreamTrack;
  await media.setTrack("camera", track);
  expect(connection().transceivers[1]?.sender.track).toBe(track);
  expect(offers()).toHaveLength(1);
  media.handleMediaState("gone");
  await settle();
  expect(made).toHaveLength(2);
  expect(made[0]?.closed).toBe(true);
  expect(connection().transceivers[1]?.sender.track).toBe(track);
  expect(offers()).toHaveLength(2);
});

test("takes only the answer to its newest offer", async () => {
  media.start();
  await settle();
  await media.handleAnswer(99, "someone else's");
  expect(connection().answers).toEqual([]);
  await media.handleAnswer(1, "ours");
  expect(connection().answers).toEqual(["ours"]);
});

test("restarts ICE when the server hears nothing", async () => {
  await connected();
  media.handleMediaState("silent");
  await settle();
  expect(connection().restarts).toBe(1);
  expect(offers()).toHaveLength(2);
});

test("restarts ICE after two seconds without connection, not before", async () => {
  await connected();
  connection().become("disconnected");
  await vi.advanceTimersByTimeAsync(1900);
  expect(connection().restarts).toBe(0);
  await vi.advanceTimersByTimeAsync(200);
  expect(connection().restarts).toBe(1);
  expect(statuses.at(-1)).toBe("interrupted");
});

test("a short gap that heals by itself restarts nothing", async () => {
  await connected();
  connection().become("disconnected");
  await vi.advanceTimersByTimeAsync(1000);
  connection().become("connected");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(connection().restarts).toBe(0);
  expect(offers()).toHaveLength(1);
});

test("makes a new connection when restarts are in vain", async () => {
  await connected();
  connection().become("failed");
  await vi.advanceTimersByTimeAsync(20_000);
  expect(made.length).toBeGreaterThan(1);
});

test("an offer that could not leave goes out when the socket is back", async () => {
  reachable = false;
  media.start();
  await settle();
  expect(offers()).toHaveLength(0);
  reachable = true;
  media.handleSocketOpen();
  await vi.advanceTimersByTimeAsync(10);
  expect(offers()).toHaveLength(1);
});

test("while the socket is away the old path is kept, because it may come back by itself", async () => {
  await connected();
  reachable = false;
  connection().become("disconnected");
  await vi.advanceTimersByTimeAsync(2000);
  expect(connection().restarts).toBe(1);
  connection().become("failed");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(made).toHaveLength(1);
  expect(connection().restarts).toBe(1);
  connection().become("connected");
  expect(statuses.at(-1)).toBe("connected");
});

test("an offer without an answer is asked again", async () => {
  media.start();
  await vi.advanceTimersByTimeAsync(4100);
  expect(offers().map((offer) => offer.type === "offer" && offer.id)).toEqual([1, 2]);
});

test("adds slots when the room grows, up to a bound", async () => {
  await connected();
  media.ensureSlots(3);
  expect(media.slots).toHaveLength(4);
  media.ensureSlots(6);
  await settle();
  expect(media.slots).toHaveLength(6);
  expect(offers()).toHaveLength(2);
  media.ensureSlots(1000);
  expect(media.slots).toHaveLength(12);
});

test("prefers VP8, and names a mode only to codecs that need it", () => {
  const codecs = ["video/AV1", "video/rtx", "video/VP9", "video/VP8", "video/H264"].map((mimeType) => ({ mimeType }));
  const ordered = orderCodecs(codecs).map(({ mimeType }) => mimeType);
  expect(ordered).toEqual(["video/VP8", "video/H264", "video/VP9", "video/AV1", "video/rtx"]);
  expect(cameraEncodings([{ mimeType: "video/VP8" }]).every((encoding) => !("scalabilityMode" in encoding))).toBe(true);
  expect(cameraEncodings([{ mimeType: "video/VP9" }])).toMatchObject(Array(3).fill({ scalabilityMode: "L1T3" }));
});

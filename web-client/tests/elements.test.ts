// @vitest-environment jsdom

import { beforeAll, describe, expect, test, vi } from "vitest";
import type { SeatInfo } from "../src/protocol/generated.ts";
import { INITIAL_STATE, type CallState } from "../src/sdk/call-state.ts";
import { levelOf, problemOf } from "../src/sdk/devices.ts";
import { judge } from "../src/sdk/quality.ts";
import { exchangeToken, loginAddress, socketAddress } from "../src/sdk/session.ts";
import { announcements } from "../src/elements/announcements.ts";
import { STRINGS } from "../src/elements/strings.ts";
import { initials, stageOf } from "../src/elements/tiles.ts";

function seat(name: string, more: Partial<SeatInfo> = {}): SeatInfo {
  return { seat: name, role: "patient", display_name: name, presence: "present", microphone: true, camera: true, screen: false, gates_pending: false, other_device: false, third_person: null, ...more };
}

const state = (more: Partial<CallState>): CallState => ({ ...INITIAL_STATE, phase: "in_call", seat: "me", ...more });

describe("the words", () => {
  const paths = (value: unknown, path = ""): string[] => {
    if (typeof value !== "object" || value === null) return [path];
    return Object.entries(value).flatMap(([key, inner]) => paths(inner, `${path}.${key}`));
  };
  const at = (dictionary: unknown, path: string) =>
    path.slice(1).split(".").reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], dictionary);

  test("are complete in both languages", () => {
    expect(paths(STRINGS.en)).toEqual(paths(STRINGS.fr));
  });

  test("are not empty and differ where the languages do", () => {
    const empty = paths(STRINGS.en).filter((path) => path !== ".quality.good");
    for (const path of empty) {
      expect(at(STRINGS.fr, path), path).not.toBe("");
      expect(at(STRINGS.en, path), path).not.toBe("");
    }
    const same = empty.filter((path) => typeof at(STRINGS.fr, path) === "string" && at(STRINGS.fr, path) === at(STRINGS.en, path));
    expect(same.sort()).toEqual([
      ".absent",
      ".messages",
      ".roles.expert",
      ".roles.patient",
      ".vitals.spo2.0",
      ...["spo2", "heart_rate", "systolic", "diastolic", "temperature", "weight"].map((name) => `.vitals.${name}.1`),
    ].sort());
  });

  test("keep French signs on the line of their word, and have no straight quotes", () => {
    const written = (word: unknown) => (typeof word === "function" ? (word("7", "7") as string) : String(word));
    const wrong = paths(STRINGS.fr).map((path) => written(at(STRINGS.fr, path))).filter((text) => / [?!;:»%]|« |['"]|\S[?!;»]/.test(text.replaceAll("\u00a0", "_").replaceAll(/_([?!;»])/g, "")));
    expect(wrong).toEqual([]);
  });
});

describe("the stage", () => {
  test("shows the others with their slots, screens first, never oneself", () => {
    const stage = stageOf(
      state({
        seats: [seat("me"), seat("a", { screen: true }), seat("b", { presence: "waiting" }), seat("c", { presence: "reconnecting" })],
        slots: [
          { slot: 2, seat: "a", source: "camera", codec_missing: true },
          { slot: 0, seat: "a", source: "screen", codec_missing: false },
        ],
        speaker: "a",
      }),
    );
    expect(stage.screens.map(({ seat: name, slot }) => [name, slot])).toEqual([["a", 0]]);
    expect(stage.seats.map(({ seat: name, slot }) => [name, slot])).toEqual([
      ["a", 2],
      ["c", null],
    ]);
    expect(stage.seats[0]).toMatchObject({ speaking: true, codecMissing: true });
    expect(stage.seats[1]).toMatchObject({ reconnecting: true });
  });

  test.each([
    ["Dr Claire Lemoine", "CL"],
    ["Jeanne", "J"],
    ["Paul Morel-Delacroix", "PD"],
    ["", ""],
  ])("initials of %j are %j", (name, letters) => expect(initials(name)).toBe(letters));
});

describe("announcements", () => {
  const said = (before: Partial<CallState>, now: Partial<CallState>) => announcements(state(before), state(now), STRINGS.en);

  test("tell who waits, arrives, is lost and leaves", () => {
    expect(said({}, { seats: [seat("Ann", { presence: "waiting" })] })).toEqual(["Ann is waiting to come in."]);
    expect(said({}, { seats: [seat("Ann")] })).toEqual(["Ann, Patient, has arrived."]);
    expect(said({ seats: [seat("Ann")] }, { seats: [seat("Ann", { presence: "reconnecting" })] })).toEqual([
      "Ann has lost the connection.",
    ]);
    expect(said({ seats: [seat("Ann")] }, { seats: [seat("Ann", { presence: "absent" })] })).toEqual(["Ann has left."]);
  });

  test("tell that a host stopped the microphone, and that the connection is back", () => {
    expect(said({}, { stopped: ["microphone"] })).toEqual([STRINGS.en.saidStoppedMicrophone]);
    expect(said({ phase: "reconnecting" }, {})).toEqual([STRINGS.en.saidBack]);
  });

  test("tell who takes over, to whom it concerns most", () => {
    const handOver = { from: "me", to: "b", toName: "Dr Nadir", reason: "shift_end", done: false } as const;
    expect(said({}, { handOver })).toEqual([STRINGS.en.handOverSoon("Dr Nadir", "End of shift")]);
    expect(said({ handOver }, { handOver: { ...handOver, done: true } })).toEqual([STRINGS.en.handOverDone("Dr Nadir")]);
    expect(said({ seat: "b" }, { seat: "b", handOver })).toEqual([STRINGS.en.handOverSoonYou]);
  });

  test("tell an aside to those outside and inside, and its end to both", () => {
    expect(said({}, { aside: "outside" })[0]).toContain(STRINGS.en.asideText);
    expect(said({}, { aside: "inside" })[0]).toContain(STRINGS.en.asideInsideText);
    expect(said({ aside: "outside" }, {})).toEqual([STRINGS.en.asideOver]);
  });

  test("tell the place in the queue when it changes, and nothing of a new estimate", () => {
    const at = (ahead: number, expectedSeconds: number) => ({ phase: "waiting", queue: { ahead, expectedSeconds, practitioner: null } }) as const;
    expect(said(at(2, 900), at(1, 600))).toEqual([STRINGS.en.queueAhead(1)]);
    expect(said(at(1, 600), at(0, 0))).toEqual([STRINGS.en.queueNext]);
    expect(said(at(1, 600), at(1, 500))).toEqual([]);
  });

  test("say nothing about who speaks", () => expect(said({}, { speaker: "Ann" })).toEqual([]));
});

describe("the picture's fit", () => {
  let fit: typeof import("../src/elements/media-view.ts").fit;
  beforeAll(async () => {
    vi.stubGlobal("ResizeObserver", class {});
    ({ fit } = await import("../src/elements/media-view.ts"));
  });

  test.each([
    ["a camera on an upright phone is filled from its middle", [344, 586], [640, 480], "cover"],
    ["an upright phone's picture on a desktop is shown whole", [990, 614], [480, 854], "contain"],
    ["foreheads are not cut off in a flat box", [1000, 300], [640, 480], "contain"],
    ["the same shape fills", [640, 360], [1280, 720], "cover"],
  ] as const)("%s", (_, [width, height], [pictureWidth, pictureHeight], expected) => {
    expect(fit({ width, height }, { width: pictureWidth, height: pictureHeight })).toBe(expected);
  });
});

describe("where the whole picture lies, for pointing", () => {
  let placeOf: typeof import("../src/elements/media-view.ts").placeOf;
  beforeAll(async () => void ({ placeOf } = await import("../src/elements/media-view.ts")));

  test.each([
    ["cut at the sides", [400, 400], true, [-160, 0, 720, 400]],
    ["shown whole", [400, 400], false, [0, 88.89, 400, 222.22]],
    ["the same shape", [900, 500], true, [0, 0, 900, 500]],
  ] as const)("%s", (_, [width, height], filled, [left, top, across, down]) => {
    const place = placeOf({ width, height }, { width: 1800, height: 1000 }, filled);
    expect(place.left).toBeCloseTo(left, 1);
    expect(place.top).toBeCloseTo(top, 1);
    expect(place.width).toBeCloseTo(across, 1);
    expect(place.height).toBeCloseTo(down, 1);
  });
});

describe("the connection in words", () => {
  const reading = { received: 0, lost: 0, lostUpstream: 0, roundTripSeconds: 0.05 };
  test.each([
    ["good", { received: 99, lost: 1 }],
    ["weak", { received: 93, lost: 7 }],
    ["poor", { received: 80, lost: 20 }],
    ["poor", { lostUpstream: 0.2 }],
    ["weak", { roundTripSeconds: 0.6 }],
    ["good", {}],
  ] as const)("is %s for %o", (quality, now) => expect(judge(reading, { ...reading, ...now })).toBe(quality));
});

describe("the exchange of a link", () => {
  const answering = (status: number, body: unknown) =>
    vi.fn(() => Promise.resolve(new Response(JSON.stringify(body), { status }))) as unknown as typeof fetch;

  test("posts the token in the body, with a lasting name of the device", async () => {
    const fetcher = answering(200, { session: "s", ws_url: "/ws", role: "patient" });
    expect(await exchangeToken("https://clinic.example", "t", fetcher)).toMatchObject({ session: "s" });
    await exchangeToken("https://clinic.example", "t", fetcher);
    const calls = vi.mocked(fetcher).mock.calls;
    const bodies = calls.map(([, init]) => JSON.parse(String(init?.body)) as { token: string; device: string });
    expect(String(calls[0]?.[0])).toBe("https://clinic.example/v1/join");
    expect(bodies[0]?.device).toMatch(/^[0-9a-f]{32}$/);
    expect(bodies[1]).toEqual(bodies[0]);
  });

  test.each([
    [401, {}, "link_refused"],
    [404, {}, "link_refused"],
    [403, { type: "urn:colloque:problem:seat-declined" }, "seat_declined"],
    [403, { type: "urn:colloque:problem:seat-removed" }, "seat_removed"],
    [410, { type: "urn:colloque:problem:consultation-over" }, "over"],
    [503, { type: "urn:colloque:problem:full" }, "full"],
    [503, { type: "urn:colloque:problem:draining" }, "draining"],
    [503, { type: "urn:colloque:problem:store-unavailable" }, "unavailable"],
    [502, null, "unavailable"],
    [429, {}, "unavailable"],
  ])("status %i with %o means %s", async (status, body, reason) => {
    await expect(exchangeToken("https://clinic.example", "t", answering(status, body))).rejects.toMatchObject({ reason });
  });

  test.each([
    [200, { url: "https://login.example/authorize?x" }, "https://login.example/authorize?x"],
    [200, { url: "javascript:alert(1)" }, null],
    [200, {}, null],
    [404, { url: "https://login.example/" }, null],
  ])("the way to the login page: status %i with %o is %s", async (status, body, url) => {
    expect(await loginAddress("https://clinic.example", "s", answering(status, body))).toBe(url);
  });

  test("an answer without a session is no session", async () => {
    await expect(exchangeToken("https://clinic.example", "t", answering(200, {}))).rejects.toMatchObject({
      reason: "unreachable",
    });
  });

  test.each([
    ["https://clinic.example", undefined, "wss://clinic.example/ws"],
    ["http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080/ws"],
    ["https://clinic.example", "/other", "wss://clinic.example/other"],
  ])("the socket of %s and %s is %s", (base, named, expected) => expect(socketAddress(base, named)).toBe(expected));
});

test.each([
  ["NotAllowedError", "refused"],
  ["NotFoundError", "missing"],
  ["NotReadableError", "busy"],
  ["TypeError", "unsupported"],
])("a %s of the camera is told as %s", (name, problem) => {
  expect(problemOf(new DOMException("", name))).toBe(problem);
});

test("the level of silence is 0, of a full-scale tone nearly 1", () => {
  expect(levelOf(new Float32Array(64))).toBe(0);
  expect(levelOf(Float32Array.from({ length: 64 }, (_, index) => Math.sin(index)))).toBeGreaterThan(0.9);
});

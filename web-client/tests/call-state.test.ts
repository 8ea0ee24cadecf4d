import { describe, expect, test } from "vitest";
import type { SeatInfo, ServerMessage } from "../src/protocol/generated.ts";
import { INITIAL_STATE, othersPresent, reduce, slotsNeeded, type CallEvent, type CallState } from "../src/sdk/call-state.ts";

const WELCOME: ServerMessage = {
  type: "welcome",
  seat: "me",
  role: "patient",
  consultation: "c",
  language: "fr",
  ticket: "t",
  grace_seconds: 120,
  admitted: false,
  permissions: { ...INITIAL_STATE.permissions, microphone: true, camera: true },
};

const said = (message: ServerMessage): CallEvent => ({ kind: "server", message });
const after = (...events: CallEvent[]): CallState => events.reduce(reduce, INITIAL_STATE);

const WAITING: CallEvent[] = [
  { kind: "session", facts: { role: "patient" } },
  { kind: "entering" },
  said(WELCOME),
  { kind: "socket", open: true },
];
const IN_CALL: CallEvent[] = [...WAITING, said({ type: "admitted" }), { kind: "media", media: "connected" }];

function seat(name: string, more: Partial<SeatInfo> = {}): SeatInfo {
  return {
    seat: name,
    role: "patient",
    display_name: null,
    presence: "present",
    microphone: true,
    camera: true,
    screen: false,
    ...more,
  };
}

describe("a patient's way into the call", () => {
  test("goes from the link over the preview and the waiting room to the call", () => {
    const phases = IN_CALL.map((_, index) => after(...IN_CALL.slice(0, index + 1)).phase);
    expect(phases).toEqual(["preview", "connecting", "waiting", "waiting", "joining", "in_call"]);
  });

  test("stays joining until the socket and the media are both there", () => {
    expect(after(...WAITING, said({ type: "admitted" }), { kind: "media", media: "connecting" }).phase).toBe("joining");
    expect(after(...WAITING.slice(0, 3), said({ type: "admitted" }), { kind: "media", media: "connected" }).phase).toBe(
      "joining",
    );
  });

  test("an admitted welcome needs no waiting room", () => {
    const admitted = { ...WELCOME, admitted: true } as ServerMessage;
    expect(after({ kind: "session", facts: {} }, { kind: "entering" }, said(admitted)).phase).toBe("joining");
  });

  test("a lost socket in the waiting room leaves the person there", () => {
    const state = after(...WAITING, { kind: "socket", open: false });
    expect(state.phase).toBe("waiting");
    expect(state.socket).toBe("lost");
  });
});

describe("a connection that breaks in the call", () => {
  test.each<[string, CallEvent]>([
    ["socket", { kind: "socket", open: false }],
    ["media", { kind: "media", media: "interrupted" }],
  ])("shows reconnecting when the %s is lost", (_, loss) => {
    expect(after(...IN_CALL, loss).phase).toBe("reconnecting");
  });

  test("is back only when both are", () => {
    const lost = [...IN_CALL, { kind: "socket", open: false }, { kind: "media", media: "interrupted" }] as CallEvent[];
    expect(after(...lost, { kind: "socket", open: true }).phase).toBe("reconnecting");
    expect(after(...lost, { kind: "socket", open: true }, { kind: "media", media: "connected" }).phase).toBe("in_call");
  });

  test("a resumption keeps everybody, a fresh welcome forgets them", () => {
    const known = [...IN_CALL, said({ type: "roster", seats: [seat("other")] })];
    expect(after(...known, said({ type: "resumed", ticket: "u" })).seats).toHaveLength(1);
    expect(after(...known, said({ ...WELCOME, admitted: true } as ServerMessage)).seats).toHaveLength(0);
  });

  test("a seat taken back to the waiting room waits", () => {
    expect(after(...IN_CALL, said(WELCOME)).phase).toBe("waiting");
  });
});

describe("the end", () => {
  test.each<[ServerMessage, string]>([
    [{ type: "replaced" }, "replaced"],
    [{ type: "removed" }, "removed"],
    [{ type: "ended" }, "ended"],
  ])("%o is final", (message, phase) => {
    const over = after(...IN_CALL, said(message));
    expect(over.phase).toBe(phase);
    expect(reduce(over, said({ type: "admitted" }))).toBe(over);
    expect(reduce(over, { kind: "socket", open: false })).toBe(over);
  });

  test.each([
    ["bad_session", "session_over"],
    ["bad_version", "page_outdated"],
  ] as const)("%s fails for %s", (code, failure) => {
    const state = after(...WAITING, said({ type: "error", code, message: "" } as ServerMessage));
    expect(state).toMatchObject({ phase: "failed", failure });
  });

  test("a full server fails a newcomer, but never somebody who is in the call", () => {
    const full = said({ type: "error", code: "unavailable", message: "" } as ServerMessage);
    expect(after({ kind: "session", facts: {} }, { kind: "entering" }, full).phase).toBe("failed");
    expect(after(...IN_CALL, full).phase).toBe("in_call");
  });

  test("an offer that was refused is not the end", () => {
    const refused = said({ type: "error", id: 1, code: "bad_offer", message: "" });
    expect(after(...IN_CALL, refused).phase).toBe("in_call");
  });
});

describe("the room", () => {
  test("counts a receive slot for each other seat and one more for its screen", () => {
    const seats = [
      seat("me"),
      seat("a"),
      seat("b", { screen: true, presence: "reconnecting" }),
      seat("c", { presence: "waiting" }),
      seat("d", { presence: "absent" }),
    ];
    const state = after(...IN_CALL, said({ type: "roster", seats }));
    expect(othersPresent(state).map((info) => info.seat)).toEqual(["a", "b"]);
    expect(slotsNeeded(state)).toBe(3);
  });

  test("remembers what a host stopped until it is lifted", () => {
    const stopped = [...IN_CALL, said({ type: "muted", source: "microphone", muted: true })];
    expect(after(...stopped, ...stopped.slice(-1)).stopped).toEqual(["microphone"]);
    expect(after(...stopped, said({ type: "muted", source: "microphone", muted: false })).stopped).toEqual([]);
  });

  test("a message of a later version changes nothing", () => {
    const before = after(...IN_CALL);
    expect(reduce(before, said({ type: "hologram" } as unknown as ServerMessage))).toBe(before);
  });
});

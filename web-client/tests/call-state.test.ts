import { describe, expect, test } from "vitest";
import type { Card, Gate, SeatInfo, ServerMessage } from "../src/protocol/generated.ts";
import { INITIAL_STATE, cardsPending, othersPresent, reduce, slotsNeeded, type CallEvent, type CallState } from "../src/sdk/call-state.ts";

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
  act: "teleconsultation",
  media: { start: "video", camera: "front", cameras: 1, screen: "motion", low_delay: false },
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
    gates_pending: false,
    other_device: false,
    third_person: null,
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

const CARD: Card = { seat: "doctor", title: "Dr", name: "Ada Martin", specialty: null, rpps: null, address: null, fee: "30 €" };
const GATES: Gate[] = [{ gate: "card", cards: [CARD] }, { gate: "consent", text: "7" }, { gate: "third_person" }];
const asks = (pending: Gate[]) => said({ type: "gates", pending });

describe("questions before media", () => {
  test("come before the waiting room, one after another, and count up", () => {
    const asked = after(...WAITING, asks(GATES));
    expect(asked).toMatchObject({ phase: "gates", gatesTotal: 3, consentText: "7" });
    expect(after(...WAITING, asks(GATES), asks(GATES.slice(1)))).toMatchObject({ phase: "gates", gatesTotal: 3 });
    expect(after(...WAITING, asks(GATES), asks([]))).toMatchObject({ phase: "waiting", gatesTotal: 0, consentText: "7" });
  });

  test("an answer shows the next question at once, and the server's own list counts", () => {
    const answered: CallEvent = { kind: "answered", gate: "card" };
    const state = after(...WAITING, asks(GATES), answered);
    expect(state.gates.map(({ gate }) => gate)).toEqual(["consent", "third_person"]);
    expect(reduce(state, asks(GATES)).gates).toEqual(GATES);
    expect(after(...WAITING, asks(GATES.slice(0, 1)), answered).phase).toBe("waiting");
  });

  test("the card of a professional who comes later does not end the call", () => {
    const state = after(...IN_CALL, asks(GATES.slice(0, 1)));
    expect(state.phase).toBe("in_call");
    expect(cardsPending(state)).toEqual([CARD]);
    expect(cardsPending(reduce(state, asks([])))).toEqual([]);
  });

  test("admission opens the call whatever came before", () => {
    expect(after(...WAITING, asks(GATES), asks([]), said({ type: "admitted" })).phase).toBe("joining");
  });

  test("a seat that has to wait again forgets what it was asked", () => {
    expect(after(...IN_CALL, asks(GATES.slice(0, 1)), said(WELCOME))).toMatchObject({ phase: "waiting", gates: [], aside: "none" });
  });
});

describe("news of the consultation", () => {
  const told = (message: ServerMessage) => after(...IN_CALL, said(message));

  test("an aside has an inside and an outside, and an end", () => {
    expect(told({ type: "aside", on: true, outside: true }).aside).toBe("outside");
    expect(told({ type: "aside", on: true, outside: false }).aside).toBe("inside");
    expect(reduce(told({ type: "aside", on: true, outside: true }), said({ type: "aside", on: false, outside: false })).aside).toBe("none");
  });

  test("who came is told until it is read, and never of oneself", () => {
    const arrived = told({ type: "arrived", seat: "a", role: "nurse", display_name: "Lou" });
    expect(arrived.arrived).toEqual({ seat: "a", role: "nurse", display_name: "Lou" });
    expect(reduce(arrived, { kind: "read", what: "arrived" }).arrived).toBeNull();
    expect(told({ type: "arrived", seat: "me", role: "patient", display_name: null }).arrived).toBeNull();
  });

  test("rights that changed replace the old ones", () => {
    expect(told({ type: "permissions", permissions: { ...INITIAL_STATE.permissions, hear: true } }).permissions).toEqual({
      ...INITIAL_STATE.permissions,
      hear: true,
    });
  });

  test("the next patient leaves nothing of this consultation in the state", () => {
    const full = [...IN_CALL, said({ type: "roster", seats: [seat("a", { display_name: "Noé" })] })];
    const gone = after(...full, said({ type: "acts", count: 5, limit: 5 }), said({ type: "next", token: "t" }));
    expect(gone).toEqual({ ...INITIAL_STATE, phase: "next" });
    expect(after(...full, { kind: "asked_next" }, said({ type: "next", token: null }))).toMatchObject({ phase: "in_call", next: "nobody" });
  });

  test("the place in the queue is forgotten once one is in", () => {
    const queue: ServerMessage = { type: "queue", ahead: 2, expected_seconds: 90, practitioner: "Dr Ada Martin" };
    expect(after(...WAITING, said(queue)).queue).toEqual({ ahead: 2, expectedSeconds: 90, practitioner: "Dr Ada Martin" });
    expect(after(...WAITING, said(queue), said({ type: "admitted" })).queue).toBeNull();
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
    [{ type: "moved_device" }, "moved"],
    [{ type: "declined", choice: null }, "declined"],
    [{ type: "next", token: "t" }, "next"],
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

// @vitest-environment jsdom

// The telephone: what the page knows of it, what it does about its own microphone and sound, and what it says.

import { render } from "lit";
import { beforeAll, beforeEach, afterEach, describe, expect, test, vi } from "vitest";
import type { ClientMessage, PhoneCause, PhoneState, SeatInfo, ServerMessage } from "../src/protocol/generated.ts";
import { INITIAL_STATE, othersPresent, reduce, seatsWaiting, type CallEvent, type CallState } from "../src/sdk/call-state.ts";
import { dialLink, type Phone } from "../src/sdk/phones.ts";
import { Call } from "../src/sdk/call.ts";
import { announcements } from "../src/elements/announcements.ts";
import { STRINGS } from "../src/elements/strings.ts";
import type { View } from "../src/elements/view.ts";

const said = (message: ServerMessage): CallEvent => ({ kind: "server", message });
const phone = (state: PhoneState, cause: PhoneCause | null = null, more: Partial<Extract<ServerMessage, { type: "phone" }>> = {}) =>
  said({ type: "phone", seat: "me", state, cause, number_ending: "78", matches_file: null, seconds: null, ...more });
const IN_CALL: CallState = { ...INITIAL_STATE, phase: "in_call", socket: "open", media: "connected", admitted: true, seat: "me" };
const after = (...events: CallEvent[]): CallState => events.reduce(reduce, IN_CALL);

function seat(name: string, more: Partial<SeatInfo> = {}): SeatInfo {
  return { seat: name, role: "patient", display_name: name, presence: "present", microphone: false, camera: false, screen: false, gates_pending: false, other_device: false, third_person: null, ...more };
}

describe("what the page knows", () => {
  test("that it can be called stays known whatever the telephone does", () => {
    const state = after(phone("ready"), phone("calling", null, { number_ending: null }), phone("ringing"));
    expect(state.phones.me).toMatchObject({ callable: true, ending: "78", doing: "ringing" });
    expect(after(phone("ringing"), phone("unavailable", "minutes_used")).phones.me).toMatchObject({
      callable: false,
      obstacle: "minutes_used",
      doing: "ringing",
    });
  });

  test("how it ended goes when it is read, a call that runs does not", () => {
    const read: CallEvent = { kind: "read", what: "phone", seat: "me" };
    expect(after(phone("failed", "busy"), read).phones.me?.doing).toBeNull();
    expect(after(phone("ringing"), read).phones.me?.doing).toBe("ringing");
  });

  test("what was planned is over when the server says so, and why stays known", () => {
    const planned = after(phone("ready", null, { seconds: 15 }), phone("planned", null, { seconds: 8 }));
    expect(planned.phones.me).toMatchObject({ doing: "planned", seconds: 8, alone: 15, callable: true });
    expect(reduce(planned, phone("idle", "cancelled")).phones.me).toMatchObject({ doing: null, cause: "cancelled", seconds: null, alone: 15 });
    expect(reduce(planned, phone("calling")).phones.me).toMatchObject({ doing: "calling", seconds: null });
  });

  test("a new welcome forgets the telephones and keeps the way to dial in", () => {
    const dialIn = { number: "+33123456789", pin: "471100815" };
    const welcome = { type: "welcome", seat: "me", role: "patient", consultation: "c", language: "fr", ticket: "t", grace_seconds: 1, admitted: true, permissions: INITIAL_STATE.permissions, act: "a", media: { start: "video", camera: "front", cameras: 1, screen: "motion", low_delay: false } } as const;
    const state = after(phone("in"), said({ type: "dial_in", ...dialIn }), said(welcome));
    expect(state.phones).toEqual({});
    expect(state.dialIn).toEqual(dialIn);
  });

  test("a telephone waits to be let in also beside a page that is inside or was just lost, and one's own is not in the list", () => {
    const seats = [seat("me"), seat("there"), seat("lost", { presence: "reconnecting" }), seat("gone", { presence: "absent" }), seat("page", { presence: "waiting" })];
    const before = after(said({ type: "roster", seats }));
    const waiting = (state: CallState) => seatsWaiting(state).map((info) => info.seat);
    expect(waiting(before)).toEqual(["page"]);
    const state = ["me", "there", "lost", "gone"].reduce((now, name) => reduce(now, phone("waiting", null, { seat: name })), before);
    expect(waiting(state)).toEqual(["there", "lost", "page"]);
    expect(othersPresent(state).map((info) => info.seat), "the page stays where it is").toEqual(["there", "lost"]);
    expect(waiting(reduce(state, phone("in", null, { seat: "there" })))).toEqual(["lost", "page"]);
  });

  test("the voice is offered back while the page is good and the telephone is in, and not otherwise", () => {
    const steady: CallEvent = { kind: "steady" };
    expect(after(phone("in"), steady).steady).toBe(true);
    expect(after(phone("in"), steady, { kind: "quality", quality: "poor" }).steady).toBe(false);
    expect(after(phone("in"), steady, { kind: "socket", open: false }).steady).toBe(false);
    expect(after(phone("in"), steady, phone("left", "hung_up")).steady).toBe(false);
    expect(after(steady).steady).toBe(false);
  });

  test.each([
    ["+33 1 23 45 67 89", "tel:+33123456789,,471100815%23"],
    ["01.23.45.67.89", "tel:0123456789,,471100815%23"],
    ["sip:colloque@10.0.0.1", "sip:colloque@10.0.0.1"],
    ["colloque@10.0.0.1", null],
    ["javascript:alert(1)", null],
    ["tel:1", null],
  ])("%s is dialled by %s", (number, link) => expect(dialLink({ number, pin: "471100815" })).toBe(link));
});

describe("words", () => {
  const heard = (before: CallState, event: CallEvent) => announcements(before, reduce(before, event), STRINGS.en);

  test("every state and cause of one's own telephone is said, and in both languages", () => {
    const states: PhoneState[] = ["planned", "calling", "ringing", "confirming", "waiting", "in", "silent", "lost", "left", "failed"];
    for (const state of states) expect(heard(IN_CALL, phone(state)).join(" "), state).toMatch(/\w{4}/);
    for (const cause of Object.keys(STRINGS.fr.phone.causes) as PhoneCause[]) {
      expect(heard(IN_CALL, phone("failed", cause)).join(" "), cause).toContain(STRINGS.en.phone.causes[cause]);
    }
    expect(heard(IN_CALL, phone("failed", "of_tomorrow" as PhoneCause)).join(" ")).toContain(STRINGS.en.phone.causes.fault);
  });

  test("the same again is not said twice", () => {
    expect(heard(after(phone("ringing")), phone("ringing"))).toEqual([]);
    expect(heard(IN_CALL, phone("ready"))).toEqual([]);
  });

  test("a planned call is said with its seconds, and that it is off; that one is awaited when nothing can be heard any more", () => {
    const planned = after(phone("ready"), phone("planned", null, { seconds: 8 }));
    expect(heard(after(phone("ready")), phone("planned", null, { seconds: 8 })).join(" ")).toContain("In 8 seconds.");
    expect(heard(planned, phone("idle", "back_to_page"))).toEqual([STRINGS.en.phone.planOver]);
    const doctor = said({ type: "roster", seats: [seat("doctor", { role: "practitioner" })] });
    const callable = after(doctor, phone("ready", null, { seconds: 15 }));
    expect(heard(callable, { kind: "socket", open: false })).toContain(STRINGS.en.phone.awaited);
    expect(heard(after(phone("ready", null, { seconds: 15 })), { kind: "socket", open: false })).not.toContain(STRINGS.en.phone.awaited);
  });

  test("a host hears who waits by telephone, by which number, and what to ask: once, and also of the own one", () => {
    const admits: CallState = { ...IN_CALL, permissions: { ...INITIAL_STATE.permissions, admit: true }, seats: [seat("a", { display_name: "Noé" })] };
    const waits = phone("waiting", null, { seat: "a", matches_file: false });
    expect(heard(admits, waits)).toEqual(["Noé is waiting on the telephone, another number than the one on file. Ask for name and date of birth."]);
    const roster = said({ type: "roster", seats: [seat("a", { display_name: "Noé", presence: "waiting" })] });
    expect(heard(reduce({ ...admits, seats: [] }, waits), roster)).toEqual([]);
    expect(heard(admits, phone("waiting")).join(" ")).toMatch(/with your code, number withheld or unknown.*let it in/);
    expect(heard(IN_CALL, phone("waiting")).join(" ")).toContain("the practitioner will let you in");
  });

  test("who hears nothing on the telephone is told what to do", () => {
    expect(heard(after(phone("in")), phone("in", "nothing_sent")).join(" ")).toContain("Come back to this page, or hang up and call again.");
    expect(heard(IN_CALL, phone("in", "nothing_sent", { seat: "a" })).join(" ")).not.toContain("Come back");
  });

  test("others' telephones and hands are said by name", () => {
    const room = reduce(IN_CALL, said({ type: "roster", seats: [seat("a", { display_name: "Noé" })] }));
    const inside = reduce(room, phone("in", "encryption_ends", { seat: "a", number_ending: null }));
    expect(announcements(room, inside, STRINGS.en)).toEqual(["Noé: on the telephone.", STRINGS.en.phone.encryptionOver("Noé")]);
    const raised = said({ type: "roster", seats: [seat("a", { display_name: "Noé", telephone: { hand: true } })] });
    expect(heard(inside, raised)).toEqual(["Noé has raised a hand."]);
  });
});

describe("the pages", () => {
  let telephone: typeof import("../src/elements/telephone.ts");
  let people: typeof import("../src/elements/people.ts");
  let notices: typeof import("../src/elements/notices.ts");
  const calls: unknown[] = [];
  const call = { admit: (...args: unknown[]) => calls.push(["admit", ...args]), callPhone: (...args: unknown[]) => calls.push(["call", ...args]), hangUpPhone: (...args: unknown[]) => calls.push(["hang up", ...args]), dismiss: (...what: string[]) => calls.push(["read", ...what]) };
  const dialogs: unknown[] = [];
  const view = (state: CallState): View =>
    ({ state, call, strings: STRINGS.en, actions: { openDialog: (dialog: unknown) => dialogs.push(dialog), closeDialog: () => undefined } }) as unknown as View;
  const drawn = (result: unknown): HTMLElement => {
    const box = document.createElement("div");
    render(result, box);
    return box;
  };
  const press = (box: HTMLElement, action: string) => box.querySelector<HTMLElement>(`[data-action=${action}]`)?.click();
  const text = (box: HTMLElement) => box.textContent?.replaceAll(/\s+/g, " ").trim() ?? "";

  beforeAll(async () => {
    telephone = await import("../src/elements/telephone.ts");
    people = await import("../src/elements/people.ts");
    notices = await import("../src/elements/notices.ts");
  });
  beforeEach(() => {
    calls.length = dialogs.length = 0;
  });

  test("say nothing of a telephone that the server does not have", () => {
    for (const state of [IN_CALL, { ...IN_CALL, quality: "poor" as const }, after(phone("unavailable", "number_missing"))]) {
      expect(text(drawn(telephone.phoneControl(view(state)))) + text(drawn(telephone.ownPhoneNotice(view(state))))).toBe("");
    }
  });

  test("offer it when the connection is bad: by a touch, or the number and code where the server is out of reach", () => {
    const known = after(phone("ready"), said({ type: "dial_in", number: "+33123456789", pin: "471100815" }));
    expect(text(drawn(telephone.ownPhoneNotice(view(known))))).toBe("");
    const poor = drawn(telephone.ownPhoneNotice(view({ ...known, quality: "poor" })));
    press(poor, "call-me");
    expect(calls).toEqual([["call"]]);
    const lost = drawn(telephone.ownPhoneNotice(view(reduce(known, { kind: "socket", open: false }))));
    expect(lost.querySelector("[data-action=call-me]")).toBeNull();
    expect(lost.querySelector("a")?.getAttribute("href")).toBe("tel:+33123456789,,471100815%23");
    expect(text(lost)).toContain("471 100 815");
  });

  test("a planned call counts down, may be had at once or called off, and has nothing to press where the server is out of reach", () => {
    const state = after(phone("ready"), phone("planned", null, { seconds: 8 }));
    const box = drawn(telephone.ownPhoneNotice(view(state)));
    expect(text(box)).toMatch(/^8 We are about to call your number ending in 78\./);
    press(box, "call-me");
    press(box, "hang-up-phone");
    expect(calls).toEqual([["call"], ["hang up"]]);
    expect(box.querySelectorAll("button.primary")).toHaveLength(1);
    const lost = drawn(telephone.ownPhoneNotice(view(reduce(state, { kind: "socket", open: false }))));
    expect(lost.querySelector("button")).toBeNull();
    expect(text(lost)).toContain("78");
  });

  test("without a connection, whoever will be called is told so beside the number, unless they called it off", () => {
    const dialIn = said({ type: "dial_in", number: "+33123456789", pin: "471100815" });
    const doctor = said({ type: "roster", seats: [seat("doctor", { role: "practitioner" })] });
    const known = after(doctor, dialIn, phone("ready", null, { seconds: 15 }));
    const offline: CallEvent = { kind: "socket", open: false };
    const awaited = text(drawn(telephone.ownPhoneNotice(view(reduce(known, offline)))));
    expect(awaited).toContain("your number ending in 78");
    expect(awaited).toContain("471 100 815");
    for (const state of [after(doctor, dialIn, phone("ready")), after(dialIn, phone("ready", null, { seconds: 15 })), reduce(known, phone("idle", "cancelled"))]) {
      expect(text(drawn(telephone.ownPhoneNotice(view(reduce(state, offline)))))).not.toContain("78.");
    }
  });

  test("cancel a call that rings and come back from one that is in, by one press", () => {
    for (const [state, label] of [["ringing", STRINGS.en.phone.cancelCall], ["in", STRINGS.en.phone.back]] as const) {
      const box = drawn(telephone.ownPhoneNotice(view(after(phone("ready"), phone(state)))));
      expect(text(box)).toContain(label);
      press(box, "hang-up-phone");
    }
    expect(calls).toEqual([["hang up"], ["hang up"]]);
  });

  test("a failure says why, what to do, and offers it again where that makes sense", () => {
    const failed = drawn(telephone.ownPhoneNotice(view(after(phone("ready"), phone("failed", "no_answer")))));
    expect(text(failed)).toContain("Nobody answered. Keep your telephone close");
    press(failed, "call-me");
    press(failed, "dismiss");
    expect(calls).toEqual([["call"], ["read", "phone"]]);
    const ends = drawn(telephone.ownPhoneNotice(view(after(phone("ready"), phone("failed", "encryption_ends")))));
    expect(ends.querySelector("[data-action=call-me]")).toBeNull();
  });

  const host: CallState = { ...IN_CALL, permissions: { ...INITIAL_STATE.permissions, admit: true }, seats: [seat("a")] };
  const line = (state: PhoneState, cause: PhoneCause | null = null, more = {}, from = host) => {
    const events = [phone("ready", null, { seat: "a" }), phone(state, cause, { seat: "a", ...more })];
    return drawn(telephone.phoneLine(view(events.reduce(reduce, from)), seat("a")));
  };

  test("a host calls, cancels and hangs up, as the telephone allows", () => {
    press(line("ready"), "call-phone");
    press(line("ringing"), "hang-up-phone");
    press(line("in"), "hang-up-phone");
    press(line("failed", "busy"), "call-phone");
    expect(calls).toEqual([["call", "a"], ["hang up", "a"], ["hang up", "a"], ["call", "a"]]);
    for (const state of ["calling", "ringing", "confirming", "waiting", "in", "silent", "lost"] as const) {
      expect(line(state).querySelector("[data-action=call-phone]"), state).toBeNull();
    }
    expect(line("in", null, {}, { ...host, permissions: INITIAL_STATE.permissions }).querySelector("button")).toBeNull();
  });

  test("whoever is inside sees above the pictures what another's telephone does, and a host acts on it there", () => {
    const notice = (state: PhoneState, cause: PhoneCause | null = null, panel: string | null = null, from = host) => {
      const events = [phone("ready", null, { seat: "a" }), phone(state, cause, { seat: "a", seconds: 8 })];
      return drawn(telephone.othersPhoneNotice({ ...view(events.reduce(reduce, from)), panel } as View));
    };
    for (const panel of [null, "people"]) {
      const planned = notice("planned", null, panel);
      expect(text(planned)).toMatch(/^8 a connection lost/);
      press(planned, "call-phone");
      press(planned, "hang-up-phone");
    }
    expect(calls).toEqual([["call", "a"], ["hang up", "a"], ["call", "a"], ["hang up", "a"]]);
    expect(text(notice("ringing"))).toContain("the telephone is ringing");
    expect(text(notice("ringing", null, "people")), "the list says it").toBe("");
    expect(notice("planned", null, null, { ...host, permissions: INITIAL_STATE.permissions }).querySelector("button")).toBeNull();
    for (const known of [notice("in"), notice("left", "back_to_page"), notice("failed", "cancelled")]) expect(text(known)).toBe("");
    press(notice("failed", "busy"), "dismiss");
    expect(calls.at(-1)).toEqual(["read", "phone", "a"]);
  });

  test("who waits by telephone is announced as that, with the number's ending, and the host is told to ask", () => {
    expect(text(line("waiting", null, { matches_file: true }))).toBe(
      "is waiting on the telephone, number on file ending in 78 Ask for name and date of birth.",
    );
    const other = text(line("waiting", null, { matches_file: false }));
    expect(other).toContain("another number");
    expect(other).not.toContain("78");
  });

  test("a withheld number is never shown as the file's, in the list or above the pictures, and only hosts are told of it", () => {
    const hidden = text(line("waiting", null, { matches_file: null }));
    expect(hidden).toContain("number withheld or unknown");
    expect(hidden).not.toContain("78");
    expect(text(line("waiting", null, { matches_file: null }, { ...host, permissions: INITIAL_STATE.permissions }))).toBe("is waiting on the telephone");
    const notice = (matches_file: boolean | null) => {
      const waits = [phone("ready", null, { seat: "a" }), phone("waiting", null, { seat: "a", matches_file })].reduce(reduce, host);
      return text(drawn(notices.noticeList({ ...view(waits), panel: null } as View)));
    };
    expect(notice(true)).toContain("a is waiting on the telephone, number on file ending in 78. Ask for name");
    expect(notice(false)).toContain("another number than the one on file");
    expect(notice(null)).toContain("number withheld or unknown");
    expect(notice(false) + notice(null)).not.toContain("78");
  });

  const waitingBeside = (cause: PhoneCause | null = null, page: Partial<SeatInfo> = {}): CallState => {
    const permissions = { ...INITIAL_STATE.permissions, admit: true, remove: true };
    return reduce({ ...host, permissions, seats: [seat("a", { arrival: 7, ...page })] }, phone("waiting", cause, { seat: "a" }));
  };
  const actions = (box: HTMLElement) => [...box.querySelectorAll<HTMLElement>("[data-action]")].map((found) => found.dataset.action);

  test("a telephone beside a page is let in or hung up on alone, in the list and above the pictures; the page is not put out for it", () => {
    for (const presence of ["present", "reconnecting"] as const) {
      calls.length = 0;
      const list = drawn(people.peoplePanel({ ...view(waitingBeside(null, { presence })), panel: "people" } as View));
      const row = list.querySelector<HTMLElement>("[data-list=waiting] li")!;
      expect(actions(row)).toEqual(["admit", "hang-up-phone"]);
      expect(text(row)).toContain("Ask for name");
      press(row, "admit");
      press(row, "hang-up-phone");
      expect(list.querySelectorAll(".phone-line"), "said once").toHaveLength(1);
      expect(actions(list.querySelector<HTMLElement>("[data-list=present] li")!)).toContain("remove");
      const above = drawn(notices.noticeList({ ...view(waitingBeside(null, { presence })), panel: null } as View));
      press(above, "admit");
      press(above, "hang-up-phone");
      expect(calls).toEqual([["admit", "a", 7], ["hang up", "a"], ["admit", "a", 7], ["hang up", "a"]]);
    }
    const alone = drawn(people.peoplePanel({ ...view(waitingBeside(null, { presence: "waiting" })), panel: "people" } as View));
    expect(actions(alone.querySelector<HTMLElement>("[data-list=waiting] li")!)).toEqual(["admit", "refuse"]);
  });

  test("a telephone beside a page that would end encryption is agreed to or hung up on", () => {
    const list = drawn(people.peoplePanel({ ...view(waitingBeside("encryption_ends")), panel: "people" } as View));
    expect(actions(list.querySelector<HTMLElement>("[data-list=waiting] li")!)).toEqual(["phone-encryption", "hang-up-phone"]);
  });

  test("a host lets the own telephone in, and agrees to it where encryption ends; whoever is no host, or is outside, does not", () => {
    const own = { ...host, seats: [seat("me", { role: "practitioner", arrival: 3 })] };
    const box = drawn(telephone.ownPhoneNotice(view(reduce(own, phone("waiting")))));
    expect(text(box)).toContain("A telephone is waiting with your code, number withheld or unknown. If it is you who is calling, let it in.");
    press(box, "admit");
    press(box, "hang-up-phone");
    expect(calls).toEqual([["admit", "me", 3], ["hang up"]]);
    for (const state of ["waiting", "failed"] as const) {
      const asks = drawn(telephone.ownPhoneNotice(view(reduce(own, phone(state, "encryption_ends")))));
      expect(actions(asks)).not.toContain("admit");
      press(asks, "phone-encryption");
    }
    expect(dialogs).toHaveLength(2);
    for (const state of [{ ...own, admitted: false }, { ...own, permissions: INITIAL_STATE.permissions }]) {
      const waits = drawn(telephone.ownPhoneNotice(view(reduce(state, phone("waiting")))));
      expect(actions(waits)).toEqual(["hang-up-phone"]);
      expect(text(waits)).toContain("You are waiting on the telephone.");
    }
  });

  test("that encryption ends is asked before anything is called", () => {
    for (const state of ["failed", "waiting"] as const) press(line(state, "encryption_ends"), "phone-encryption");
    expect(calls).toEqual([]);
    expect(dialogs).toHaveLength(2);
    press(drawn(telephone.encryptionQuestion(view(host), { seat: "a", name: "Noé" })), "confirm-encryption");
    expect(calls).toEqual([["call", "a", true]]);
  });

  test("no number and no code is written where others could read them", () => {
    const known: Phone = { callable: true, obstacle: null, ending: "78", doing: "in", cause: null, seconds: null, alone: null, matchesFile: null };
    const seats = [seat("a", { telephone: { hand: true } })];
    const mark = drawn(telephone.phoneMark(view({ ...host, seats, phones: { a: known } }), "a"));
    expect(text(mark)).toBe("on the telephone hand raised");
  });
});

describe("the page's own microphone", () => {
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
    send(sent: string) {
      this.sent.push(JSON.parse(sent) as ClientMessage);
    }
    close() {
      this.readyState = 3;
    }
  }
  let socket: FakeSocket;
  let call: Call;
  const tells = (state: PhoneState) =>
    socket.say({ type: "phone", seat: "me", state, cause: null, number_ending: "78", matches_file: null, seconds: null });

  beforeEach(async () => {
    vi.useFakeTimers();
    const track = { kind: "audio", enabled: true, stop: () => undefined, onended: null, getSettings: () => ({}), addEventListener: () => undefined };
    const stream = { getAudioTracks: () => [track], getVideoTracks: () => [], getTracks: () => [track] };
    Object.defineProperty(navigator, "mediaDevices", { configurable: true, value: { getUserMedia: async () => stream } });
    call = new Call({ baseUrl: "https://colloque.test", openSocket: () => (socket = new FakeSocket()) as unknown as WebSocket });
    call.useSession({ session: "s" });
    call.enter();
    socket.onopen?.();
    socket.say({ type: "welcome", seat: "me", role: "patient", consultation: "c", language: "fr", ticket: "t", grace_seconds: 120, admitted: false, permissions: { ...INITIAL_STATE.permissions, microphone: true }, act: "a", media: { start: "video", camera: "front", cameras: 1, screen: "motion", low_delay: false } });
    await call.setMicrophone(true);
  });
  afterEach(() => {
    call.close();
    vi.useRealTimers();
  });

  test("is off while the telephone speaks, cannot be turned on meanwhile, and is on again afterwards", async () => {
    expect(call.local.microphone.on).toBe(true);
    tells("in");
    expect(call.local.microphone).toMatchObject({ on: false, track: { enabled: false } });
    await call.setMicrophone(true);
    expect(call.local.microphone.on).toBe(false);
    tells("silent");
    expect(call.local.microphone.on).toBe(false);
    tells("left");
    await vi.advanceTimersByTimeAsync(600);
    expect(call.local.microphone.on).toBe(true);
  });

  test("stays off afterwards when it was off before", async () => {
    await call.setMicrophone(false);
    tells("in");
    tells("left");
    await vi.advanceTimersByTimeAsync(600);
    expect(call.local.microphone.on).toBe(false);
  });

  test("a call for oneself and for another, and the host's agreement, travel as such", () => {
    call.callPhone();
    call.hangUpPhone();
    call.callPhone("a", true);
    expect(socket.sent.slice(-3)).toEqual([
      { type: "call", seat: "me", encryption_ends: false },
      { type: "hang_up", seat: "me" },
      { type: "call", seat: "a", encryption_ends: true },
    ]);
  });
});

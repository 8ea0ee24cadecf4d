// Generated from signaling/src/message.rs by the tests of the signaling crate. Do not edit.
// To write it anew: COLLOQUE_WRITE_GENERATED=1 cargo test -p colloque-signaling typescript

/** The protocol version that these types describe. */
export const VERSION = 1;

/** A seat's function in the consultation. */
export type Role = "practitioner" | "patient" | "nurse" | "companion" | "interpreter" | "expert" | "trainee" | "regulator" | "caller" | "guest";

/** Interface language of a consultation. */
export type Language = "fr" | "en";

/** What a media source is. */
export type MediaSource = "microphone" | "camera" | "screen";

/** Where a seat is in its visit. */
export type Presence = "absent" | "waiting" | "present" | "reconnecting";

/** State of a seat's media connection. */
export type MediaState = "connected" | "silent" | "gone";

/** What the telephone of a seat does. */
export type PhoneState = "ready" | "unavailable" | "planned" | "idle" | "calling" | "ringing" | "confirming" | "waiting" | "in" | "silent" | "lost" | "left" | "failed";

/** What others may know of a seat that takes part by telephone. Its voice is in `microphone`. */
export type PhoneInfo = {
  /** Its person has raised a hand by key. */
  hand: boolean };

/** Why a telephone does what it does. One at a time; pages have words for each. */
export type PhoneCause = "switched_off" | "number_missing" | "number_unreadable" | "number_short" | "number_premium" | "number_emergency" | "number_not_allowed" | "encryption_required" | "encryption_ends" | "over" | "too_often" | "too_many_at_once" | "lines_busy" | "minutes_used" | "time_up" | "another_line" | "no_line" | "not_in_service" | "no_answer" | "busy" | "refused" | "not_confirmed" | "cancelled" | "no_sound" | "nothing_sent" | "line_dead" | "hung_up" | "removed" | "declined" | "back_to_page" | "draining" | "fault";

/** Stable error codes. */
export type ErrorCode = "bad_message" | "bad_session" | "bad_version" | "out_of_order" | "not_permitted" | "bad_offer" | "not_found" | "too_many" | "unavailable";

/** What others may know of a seat. */
export type SeatInfo = {
  /** Public identifier. */
  seat: string,
  /** Function. */
  role: Role,
  /** Name to show, as the clinic gave it. */
  display_name: string | null,
  /** Where it is. */
  presence: Presence,
  /** Sends its voice. */
  microphone: boolean,
  /** Sends its camera. */
  camera: boolean,
  /** Shares its screen. */
  screen: boolean,
  /** It still has to answer what its act asks before media. */
  gates_pending: boolean,
  /** It was opened on another device than the first, and waits for that reason. */
  other_device: boolean,
  /** What it declared of a third person in the room with it; nothing when it was not asked. */
  third_person: boolean | null,
  /** There when its person takes part by telephone. */
  telephone?: PhoneInfo | null,
  /** For those who may admit: names the device that opened the seat's link last, another one each time. */
  arrival?: number | null };

/** What this seat may do; the page shows only what is allowed, the server enforces it all the same. */
export type Permissions = {
  /** May send its voice. */
  microphone: boolean,
  /** May send its camera. */
  camera: boolean,
  /** May share its screen. */
  screen: boolean,
  /** Receives the others' pictures. */
  see: boolean,
  /** Receives the others' voices. */
  hear: boolean,
  /** May write messages on the data channel. */
  chat: boolean,
  /** May send files on the data channel. */
  files: boolean,
  /** May point at what is shown. */
  point: boolean,
  /** May send vital signs on the data channel. */
  vitals: boolean,
  /** May admit from the waiting room. */
  admit: boolean,
  /** May remove others. */
  remove: boolean,
  /** May mute others. */
  mute: boolean,
  /** May invite one more seat. */
  invite: boolean,
  /** May give the consultation to a colleague. */
  hand_over: boolean,
  /** May speak with the other professionals apart from the patient. */
  aside: boolean,
  /** May end the consultation for everyone. */
  end: boolean };

/** Which seat is on which receive slot. */
export type SlotInfo = {
  /** Index of the pair of receiving sections in the offer, from 0 in offer order. */
  slot: number,
  /** Whose media. */
  seat: string,
  /** `camera` for a voice and camera pair, `screen` for a shared screen. */
  source: MediaSource,
  /** This page cannot decode the picture's codec; the voice still flows. */
  codec_missing: boolean };

/** What a sending section of an offer carries. */
export type SenderInfo = {
  /** `a=mid` of the section. */
  mid: string,
  /** What it carries. */
  source: MediaSource };

/** A page that comes back after its socket was lost. */
export type Resume = {
  /** From the last `welcome` or `resumed`. */
  ticket: string,
  /** Sequence number of the last server message it read; 0 for none. */
  received: number };

/** Who a professional is and what the consultation costs, shown before media (HAS good practice; CSS L. 1111-3-2). */
export type Card = {
  /** Whose seat; stamped by the server. */
  seat: string,
  /** `Dr`, `Pr` and so on. */
  title: string | null,
  /** Family name and given name. */
  name: string | null,
  /** As the profession's register writes it. */
  specialty: string | null,
  /** National number of health professionals, 11 digits. */
  rpps: string | null,
  /** Of the practice. */
  address: string | null,
  /** What the patient will pay, in words, with the currency. */
  fee: string | null };

/** What must be passed before media opens: by the person in front of the page, and refused by them too. */
export type Gate = { "gate": "login" }
  | { "gate": "card",
  /** In the order of their seats. */
  cards: Array<Card> }
  | { "gate": "consent",
  /** Version of the text; the pages hold the text in both languages. */
  text: string }
  | { "gate": "third_person" }
  | { "gate": "preference" };

/** How a person wants to be seen. */
export type Choice = "video" | "in_person" | "phone";

/** An answer to a gate. */
export type GateAnswer = { "gate": "card",
  /** Those of the gate's cards. */
  seats: Array<string> }
  | { "gate": "consent",
  /** The version that was shown. */
  text: string,
  /** Given. */
  accepted: boolean }
  | { "gate": "third_person",
  /** Somebody else is in the room. */
  present: boolean }
  | { "gate": "preference",
  /** How the person wants to be seen. */
  choice: Choice };

/** Why a consultation is handed over. No free text: it would end up in the audit log. */
export type HandOverReason = "shift_end" | "specialty" | "emergency" | "technical" | "other";

/** How media begins, from the act. */
export type MediaHints = {
  /** `video`, `audio` or `telephone`: the rung on which the page begins. */
  start: string,
  /** `front` or `rear`: the camera that a mobile device offers first. */
  camera: string,
  /** Cameras that one seat may show at the same time. */
  cameras: number,
  /** `motion` or `detail`: what a shared screen is tuned for. */
  screen: string,
  /** Shorter buffers at the price of more stalls. */
  low_delay: boolean };

/** From the page to the server. */
export type ClientMessage = { "type": "join",
  /** Protocol version. */
  version: number,
  /** From `POST /v1/join`. */
  session: string,
  /** When coming back. */
  resume?: Resume | null }
  | { "type": "offer",
  /** Chosen by the page; the `answer` or `error` repeats it. */
  id: number,
  /** The offer. */
  sdp: string,
  /** What each sending section is, by mid. */
  senders: Array<SenderInfo> }
  | { "type": "sending",
  /** Voice on. */
  microphone: boolean,
  /** Camera on. */
  camera: boolean,
  /** Screen shared. */
  screen: boolean }
  | { "type": "view",
  /** Which slot. */
  slot: number,
  /** Pixels across. */
  width: number,
  /** Pixels down. */
  height: number }
  | { "type": "admit",
  /** Which. */
  seat: string,
  /** From the roster: refused when another device has come since. Without it, whoever is there is admitted. */
  arrival?: number | null }
  | { "type": "remove",
  /** Which. */
  seat: string }
  | { "type": "mute",
  /** Which. */
  seat: string,
  /** What. */
  source: MediaSource,
  /** True to stop it, false to lift the stop. */
  muted: boolean }
  | { "type": "gate",
  /** The answer. */
  answer: GateAnswer }
  | { "type": "lock",
  /** True to lock. */
  locked: boolean }
  | { "type": "invite",
  /** Its function. */
  role: Role,
  /** Name to show. */
  display_name?: string | null }
  | { "type": "hand_over",
  /** The colleague's seat. */
  to: string,
  /** Why. */
  reason: HandOverReason }
  | { "type": "aside",
  /** True to begin. */
  on: boolean }
  | { "type": "call",
  /** Whose. */
  seat: string,
  /** The practitioner agrees that end-to-end encryption ends with the telephone; lets one in that waits for that already. */
  encryption_ends: boolean }
  | { "type": "hang_up",
  /** Whose. */
  seat: string }
  | { "type": "next" }
  | { "type": "end" }
  | { "type": "leave" }
  | { "type": "ack",
  /** Sequence number. */
  received: number }
  | { "type": "ping",
  /** Repeated in `pong`. */
  id: number };

/** From the server to the page. */
export type ServerMessage = { "type": "welcome",
  /** Own seat. */
  seat: string,
  /** Own role. */
  role: Role,
  /** Consultation's public identifier. */
  consultation: string,
  /** Language the clinic chose. */
  language: Language,
  /** For coming back; replaced by every `welcome` and `resumed`. */
  ticket: string,
  /** How long the seat is kept without a connection. */
  grace_seconds: number,
  /** Whether the seat may send its offer: admitted, and past every gate. */
  admitted: boolean,
  /** What this seat may do. */
  permissions: Permissions,
  /** Which act, by name. */
  act: string,
  /** How media begins. */
  media: MediaHints }
  | { "type": "resumed",
  /** New ticket. */
  ticket: string }
  | { "type": "admitted" }
  | { "type": "gates",
  /** In the order in which to ask. */
  pending: Array<Gate> }
  | { "type": "queue",
  /** Waiting seats that will be seen before; 0 for the next one. */
  ahead: number,
  /** Expected begin, seconds from now, when that can be said. */
  expected_seconds: number | null,
  /** Name of the practitioner, as the clinic gave it. */
  practitioner: string | null }
  | { "type": "arrived",
  /** Seat. */
  seat: string,
  /** Function. */
  role: Role,
  /** Name to show. */
  display_name: string | null }
  | { "type": "locked",
  /** True when locked. */
  locked: boolean }
  | { "type": "invited",
  /** Seat. */
  seat: string,
  /** Function. */
  role: Role,
  /** To be given to the person. */
  link: string }
  | { "type": "hand_over",
  /** Who gives. */
  from: string,
  /** Who takes. */
  to: string,
  /** Name of who takes. */
  to_name: string | null,
  /** Why. */
  reason: HandOverReason,
  /** Whether the colleague has it now. */
  done: boolean }
  | { "type": "aside",
  /** True while it lasts. */
  on: boolean,
  /** Whether this seat is shut out of it. */
  outside: boolean }
  | { "type": "permissions",
  /** All of them. */
  permissions: Permissions }
  | { "type": "next",
  /** To be exchanged like a link's. */
  token: string | null }
  | { "type": "phone",
  /** Whose. */
  seat: string,
  /** What it does. */
  state: PhoneState,
  /** Why, when there is something to say. */
  cause: PhoneCause | null,
  /** The last digits of the number; to the seat itself and to hosts alone. */
  number_ending: string | null,
  /** Whether it is that number, or another one; to hosts alone. Nothing when the call shows none, or none is on file: say so rather than showing `number_ending`. */
  matches_file: boolean | null,
  /** With `planned`: the server calls in so many. With `ready`, to the seat itself: the server calls by itself when its page has been gone for so many; nothing when it would not. */
  seconds: number | null,
  /** End-to-end encryption, which the consultation prefers, ends when this telephone is in, and is over as long as it is: said from its first sign on, whatever the cause says. */
  encryption_ends: boolean }
  | { "type": "dial_in",
  /** A telephone number or a SIP address. */
  number: string,
  /** To be typed there. */
  pin: string }
  | { "type": "acts",
  /** This one included. */
  count: number,
  /** The clinic's limit. */
  limit: number }
  | { "type": "declined",
  /** The choice, when it was one. */
  choice: Choice | null }
  | { "type": "moved_device" }
  | { "type": "roster",
  /** All of them; replaces the list before. */
  seats: Array<SeatInfo> }
  | { "type": "answer",
  /** The offer's id. */
  id: number,
  /** The answer. */
  sdp: string }
  | { "type": "slots",
  /** Occupied slots. */
  slots: Array<SlotInfo> }
  | { "type": "speaker",
  /** Seat. */
  seat: string | null }
  | { "type": "muted",
  /** What. */
  source: MediaSource,
  /** True when stopped. */
  muted: boolean }
  | { "type": "media",
  /** State. */
  state: MediaState }
  | { "type": "replaced" }
  | { "type": "removed" }
  | { "type": "ended" }
  | { "type": "error",
  /** The offer's id when it concerns one. */
  id?: number | null,
  /** Stable code. */
  code: ErrorCode,
  /** For developers, English, without personal data. */
  message: string }
  | { "type": "pong",
  /** The ping's id. */
  id: number };

/** A server message with its number on this session, from 1. Numbers go on across resumptions. */
export type ServerEnvelope = {
  /** Sequence number; 0 for messages that are not kept for resumption (`resumed`, `pong`, an `error` before `welcome` or with which the socket closes). */
  seq: number } & ServerMessage;

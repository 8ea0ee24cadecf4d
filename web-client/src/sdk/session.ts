// Exchanges a join link's token for a session by `POST /v1/join`. The token never travels in an address that a server
// logs or a mail scanner fetches: it comes out of the fragment and goes into a body.

import type { FailureReason, SessionFacts } from "./call-state.ts";

export interface Session extends SessionFacts {
  readonly session: string;
  readonly ws_url?: string;
}

/** Why no session came; `reason` is what the person is told. */
export class JoinRefused extends Error {
  constructor(readonly reason: FailureReason) {
    super(`join refused: ${reason}`);
  }
}

export async function exchangeToken(
  baseUrl: string,
  token: string,
  fetcher: typeof fetch = (input, init) => fetch(input, init),
): Promise<Session> {
  let response: Response;
  try {
    response = await fetcher(new URL("/v1/join", baseUrl), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token, device: deviceIdentifier() }),
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch {
    throw new JoinRefused("unreachable");
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new JoinRefused(reasonOf(response.status, body));
  if (!isSession(body)) throw new JoinRefused("unreachable");
  return body;
}

/** By the problem document's stable type; by the status when there is none, as from a proxy. */
const REASONS: Readonly<Record<string, FailureReason>> = {
  "seat-removed": "seat_removed",
  "seat-declined": "seat_declined",
  "consultation-over": "over",
  full: "full",
  draining: "draining",
};

function reasonOf(status: number, body: unknown): FailureReason {
  const type = (body as { type?: unknown } | null)?.type;
  const name = typeof type === "string" ? type.replace(/^urn:colloque:problem:/, "") : "";
  return REASONS[name] ?? (status >= 500 || status === 429 ? "unavailable" : "link_refused");
}

/** Where the professional of a seat logs in; afterwards the browser comes back to this page. */
export async function loginAddress(
  baseUrl: string,
  session: string,
  fetcher: typeof fetch = (input, init) => fetch(input, init),
): Promise<string | null> {
  try {
    const response = await fetcher(new URL("/v1/login", baseUrl), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ session }),
      credentials: "same-origin",
      cache: "no-store",
    });
    const { url } = (await response.json()) as { url?: unknown };
    // Nothing but a web address may be followed, whatever the answer says.
    return response.ok && typeof url === "string" && /^https?:$/.test(new URL(url, baseUrl).protocol) ? url : null;
  } catch {
    return null;
  }
}

const DEVICE_KEY = "colloque-device";

/**
 * A random name for this browser, so that a link works again on the device that used it first. It says nothing about
 * the person; where storage is switched off there is none, and the server treats each visit as a new device.
 */
function deviceIdentifier(): string {
  try {
    const known = localStorage.getItem(DEVICE_KEY);
    if (known !== null) return known;
    const random = crypto.getRandomValues(new Uint8Array(16));
    const fresh = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
    localStorage.setItem(DEVICE_KEY, fresh);
    return fresh;
  } catch {
    return "";
  }
}

function isSession(body: unknown): body is Session {
  return typeof body === "object" && body !== null && typeof (body as Session).session === "string";
}

/** The socket's address: the one the server named, seen from where the page was loaded, else `/ws`. */
export function socketAddress(baseUrl: string, named?: string): string {
  const address = new URL(named ?? "/ws", baseUrl);
  address.protocol = address.protocol.replace(/^http/, "ws");
  return address.href;
}

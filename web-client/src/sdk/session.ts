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
  if (!response.ok) throw new JoinRefused(isOverloaded(response.status) ? "unavailable" : "link_refused");
  const body: unknown = await response.json().catch(() => null);
  if (!isSession(body)) throw new JoinRefused("unreachable");
  return body;
}

function isOverloaded(status: number): boolean {
  return status >= 500 || status === 429;
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

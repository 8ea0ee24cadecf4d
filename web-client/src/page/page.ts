// The shell that the server serves at / and /join: takes the token out of the address, remembers it for a reload of
// this tab (and only this tab), and gives the element the window.

import type { ColloqueCall } from "../elements/colloque-call.ts";
import "../elements/colloque-call.ts";
import { isLanguage } from "../elements/strings.ts";
import type { Language } from "../protocol/generated.ts";
import { isOver, type Phase } from "../sdk/call-state.ts";
import type { Session } from "../sdk/session.ts";

interface Kept {
  readonly token: string;
  readonly session?: Session;
  /** The person had entered: after a reload they go straight back. */
  readonly entered?: boolean;
  readonly language?: Language;
}

const KEY = "colloque";

function takeToken(): string | null {
  const token = decodeURIComponent(location.hash.slice(1)).replace(/^token=/, "");
  if (token === "") return null;
  history.replaceState(null, "", location.pathname + location.search);
  return token;
}

/** Storage may be switched off; then a reload asks for the link again, and nothing else suffers. */
function read(): Kept | null {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return typeof kept === "object" && kept !== null && typeof (kept as Kept).token === "string" ? (kept as Kept) : null;
  } catch {
    return null;
  }
}

function write(kept: Kept): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // See `read`.
  }
}

function open(kept: Kept | null): void {
  const call = document.createElement("colloque-call");
  call.baseUrl = location.origin;
  call.token = kept?.token ?? null;
  call.language = kept?.language ?? null;
  if (kept?.session) call.resumption = { session: kept.session, enter: kept.entered === true };
  call.addEventListener("colloque-phase", (event) => remember(call, (event as CustomEvent<{ phase: Phase }>).detail.phase));
  call.addEventListener("colloque-language", () => remember(call, call.state.phase));
  document.body.append(call);
  title(call);
}

function remember(call: ColloqueCall, phase: Phase): void {
  title(call);
  if (call.token === null) return;
  const session = phase === "failed" ? null : call.call.credentials;
  const before = read();
  const entered = phase === "preview" || isOver(phase) ? false : phase === "connecting" ? before?.entered : true;
  write({
    token: call.token,
    ...(session === null ? {} : { session }),
    ...(entered === undefined ? {} : { entered }),
    ...(isLanguage(call.language) ? { language: call.language } : {}),
  });
}

function title(call: ColloqueCall): void {
  void call.updateComplete.then(() => {
    document.documentElement.lang = call.lang;
    document.title = call.lang === "en" ? "Teleconsultation" : "Téléconsultation";
  });
}

const token = takeToken();
if (token !== null) write({ token });
open(read() ?? (token === null ? null : { token }));
// Another link opened in this tab changes the fragment only, and loads nothing by itself.
addEventListener("hashchange", () => location.reload());

// The provider's redirect ends here. The answer leaves the address at once; it is worth something only together with the
// session that this tab began with, which the page of the call keeps for a reload.

const answer = new URLSearchParams(location.search);
history.replaceState(null, "", location.pathname);

function sessionOfThisTab() {
  try {
    return JSON.parse(sessionStorage.getItem("colloque") ?? "null")?.session?.session ?? null;
  } catch {
    return null;
  }
}

function say(id) {
  document.getElementById("status").hidden = true;
  document.getElementById(id).hidden = false;
  document.getElementById("back").hidden = id === "elsewhere";
}

async function finish(session) {
  const body = { session, code: answer.get("code"), state: answer.get("state") };
  if (answer.has("iss")) body.iss = answer.get("iss");
  const headers = { "content-type": "application/json" };
  const response = await fetch("/v1/login/finish", { method: "POST", headers, body: JSON.stringify(body) });
  if (response.ok) return null;
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) return "elsewhere";
  if (response.status >= 500) return "unavailable";
  return problem.type === "urn:colloque:problem:login-other-person" ? "other-person" : "refused";
}

const session = sessionOfThisTab();
if (session === null) {
  say("elsewhere");
} else if (!answer.has("code") || !answer.has("state")) {
  say("refused");
} else {
  const refusal = await finish(session).catch(() => "unavailable");
  if (refusal === null) location.replace("/join");
  else say(refusal);
}

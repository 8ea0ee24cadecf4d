// How a clinic's portal embeds a consultation: load /colloque-call.js, give the element the seat's token, listen.
// The token comes from the clinic's own back end, out of the answer to POST /v1/consultations.

const form = document.querySelector("#open");
const place = document.querySelector("#place");
const events = document.querySelector("#events");

/** A whole join link works as well as its token alone. */
function tokenOf(text) {
  const hash = text.indexOf("#");
  return (hash < 0 ? text : text.slice(hash + 1)).replace(/^token=/, "").trim();
}

function record(event) {
  const line = document.createElement("li");
  line.textContent = `${event.type} ${JSON.stringify(event.detail)}`;
  events.append(line);
}

form.addEventListener("submit", (submission) => {
  submission.preventDefault();
  const call = document.createElement("colloque-call");
  call.setAttribute("language", document.documentElement.lang);
  for (const name of ["colloque-phase", "colloque-seats", "colloque-ended", "colloque-problem"]) {
    call.addEventListener(name, record);
  }
  call.setAttribute("token", tokenOf(form.elements.token.value));
  place.replaceChildren(call);
});

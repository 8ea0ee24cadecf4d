// The way back belongs to the page that began: whoever lures somebody to a login, or brings an answer elsewhere, gets nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { HostileProvider, authorize } from "../lib/hostile-provider.mjs";
import { Server } from "../lib/server.mjs";

let provider;
let server;
before(async () => {
  provider = await HostileProvider.start();
  server = await Server.start({ issuer: provider.issuer, client_id: "colloque" });
});
after(async () => {
  await server.stop();
  await provider.close();
});

async function practitioner(device) {
  const { practitioner: seat } = await server.book();
  return { seat, session: await server.join(seat, device) };
}

const ok = async (session, address) => (await server.finish(session, address)).status === 204;

test("another seat's answer logs nobody in, and its own page can still use it", async () => {
  const [mine, theirs] = [await practitioner(), await practitioner()];
  await server.begin(mine.session);
  const address = await authorize(await server.begin(theirs.session));
  assert.equal(await ok(mine.session, address), false);
  assert.equal(await ok(theirs.session, address), true);
});

test("the address that the provider redirects to does nothing by itself", async () => {
  const { session } = await practitioner();
  const address = await authorize(await server.begin(session));
  const page = await fetch(address);
  const plain = await fetch(server.callback);
  assert.equal(await page.text(), await plain.text());
  assert.equal(page.headers.get("referrer-policy"), "no-referrer");
  assert.equal(page.headers.get("cache-control"), "no-store");
  assert.equal(page.headers.getSetCookie().length, 0);
  assert.match(page.headers.get("content-security-policy"), /script-src 'self'/);
  assert.equal(await ok(session, address), true, "it was not used up");
});

test("another device of the same seat cannot finish what the first began", async () => {
  const { seat, session } = await practitioner("laptop");
  const address = await authorize(await server.begin(session));
  const moved = await server.join(seat, "telephone");
  assert.equal(await ok(moved, address), false);
  assert.equal((await server.finish(session, address)).status, 401, "the first one's session is over");
});

test("a second beginning makes the first one's answer worthless", async () => {
  const { session } = await practitioner();
  const first = await authorize(await server.begin(session));
  await server.begin(session);
  assert.equal(await ok(session, first), false);
});

test("state and code are worth something once, and only together", async () => {
  const { session } = await practitioner();
  const good = new URL(await authorize(await server.begin(session)));
  const changed = (name, value) => {
    const address = new URL(good);
    address.searchParams.set(name, value);
    return address.href;
  };
  assert.equal(await ok(session, changed("state", "")), false);
  assert.equal(await ok(session, changed("state", "A".repeat(43))), false);
  assert.equal(await ok(session, changed("code", "guessed")), false);
  assert.equal(await ok(session, good.href), false, "a wrong code used it up");
  const again = await authorize(await server.begin(session));
  assert.equal(await ok(session, again), true);
  assert.equal(await ok(session, again), false, "replayed");
});

test("a revoked seat's login does not come back", async () => {
  const { id, practitioner: seat } = await server.book();
  const session = await server.join(seat);
  const address = await authorize(await server.begin(session));
  await server.must("POST", `/v1/consultations/${id}/seats/${seat.id}/revoke`);
  assert.equal((await server.finish(session, address)).status, 401);
});

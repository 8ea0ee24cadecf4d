// A real OpenID provider, in the shape of Pro Santé Connect and of others.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RPPS, RealProvider, logInAt } from "../lib/real-provider.mjs";
import { Server } from "../lib/server.mjs";

const SECRET = "a secret: with a colon/and a slash";
const PSC = { acr_values: "eidas1", scopes: "openid scope_all" };

/** A server and a provider that know each other, for the length of a test. */
async function withProvider({ login = {}, client = {}, options = {} }, act) {
  const provider = await RealProvider.listen();
  const secret = client.token_endpoint_auth_method === "none" ? {} : { client_secret: SECRET };
  const server = await Server.start({ issuer: provider.issuer, client_id: "colloque", ...secret, ...login });
  try {
    await provider.register(server.callback, client, options);
    await act(server, provider);
  } finally {
    await server.stop();
    await provider.close();
  }
}

const FORMS = {
  "secret in the header, RS256": {},
  "secret in the body, PS256, signed user info": {
    token_endpoint_auth_method: "client_secret_post",
    id_token_signed_response_alg: "PS256",
    userinfo_signed_response_alg: "PS256",
  },
  "no secret, ES256": { token_endpoint_auth_method: "none", id_token_signed_response_alg: "ES256" },
  "EdDSA, signed user info": { id_token_signed_response_alg: "EdDSA", userinfo_signed_response_alg: "RS256" },
};

for (const [form, client] of Object.entries(FORMS)) {
  test(`a professional logs in: ${form}`, { timeout: 60_000 }, () =>
    withProvider({ login: PSC, client: { ...client } }, async (server) => {
      const { id, practitioner } = await server.book({ card: { rpps: RPPS } });
      const session = await server.join(practitioner);
      const back = await logInAt(await server.begin(session), server.callback);
      assert.deepEqual(await server.finish(session, back), { status: 204, body: null });

      const told = (await server.facts_of(id)).filter(({ kind }) => kind === "seat.logged_in");
      assert.deepEqual(told.map(({ seat, data }) => ({ seat, data })), [{ seat: practitioner.id, data: { level: "eidas1" } }]);
      assert.equal((await server.finish(session, back)).status, 403, "the same answer again");
      assert.doesNotMatch(server.log(), /PLANTED|10001234567|a secret/);
    }));
}

test("whoever the booking does not name is refused", { timeout: 60_000 }, () =>
  withProvider({ login: PSC }, async (server) => {
    const { id, practitioner } = await server.book({ card: { rpps: "10009999999" } });
    const session = await server.join(practitioner);
    const { status, body } = await server.finish(session, await logInAt(await server.begin(session), server.callback));
    assert.equal(status, 403);
    assert.equal(body.type, "urn:colloque:problem:login-other-person");
    assert.ok((await server.facts_of(id)).every(({ kind }) => kind !== "seat.logged_in"));
    assert.doesNotMatch(JSON.stringify(body) + server.log(), /1000/);
  }));

test("a login of a lower level than demanded is refused", { timeout: 60_000 }, () =>
  withProvider({ login: { ...PSC, acr_values: "eidas2" }, options: { acr: "eidas1" } }, async (server) => {
    const session = await server.join((await server.book()).practitioner);
    // The provider may refuse the level itself; then the person comes back without a code.
    const back = await logInAt(await server.begin(session), server.callback).catch(() => `${server.callback}?code=&state=`);
    assert.equal((await server.finish(session, back)).status, 403);
  }));

test("whoever gives up at the provider comes back without a login and may try again", { timeout: 60_000 }, () =>
  withProvider({ login: PSC }, async (server) => {
    const session = await server.join((await server.book()).practitioner);
    const back = await logInAt(await server.begin(session), server.callback, "wrong");
    assert.equal(new URL(back).searchParams.get("error"), "access_denied");
    const again = await logInAt(await server.begin(session), server.callback);
    assert.equal((await server.finish(session, again)).status, 204);
  }));

test("patients have no login, and nobody without a session", { timeout: 60_000 }, () =>
  withProvider({ login: PSC }, async (server) => {
    const { patient } = await server.book();
    const session = await server.join(patient);
    assert.equal((await server.request("POST", "/v1/login", { session })).status, 403);
    for (const bad of ["", "x", patient.token]) {
      assert.equal((await server.request("POST", "/v1/login", { session: bad })).status, 401);
    }
  }));

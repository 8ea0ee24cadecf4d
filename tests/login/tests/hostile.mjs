// Whatever a provider or somebody in between does wrong: nobody is logged in, and the server goes on.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { UnsecuredJWT, SignJWT } from "jose";
import { HONEST, HostileProvider, authorize, key, sign } from "../lib/hostile-provider.mjs";
import { Server } from "../lib/server.mjs";

let provider;
let server;
let other;
before(async () => {
  provider = await HostileProvider.start();
  await provider.addKey("ES256", "two");
  await provider.addKey("RS256", "three");
  await provider.addKey("RS512", "four");
  // Keys of kinds that mean nothing here, one under a known name: they must not hide the others.
  provider.strangeKeys = [{ kty: "oct", k: "AAAA", kid: "one" }, { kty: "XYZ" }, 7, null];
  other = await key("RS256", "other");
  server = await Server.start({ issuer: provider.issuer, client_id: "colloque", acr_values: "eidas1 eidas2" });
});
after(async () => {
  await server.stop();
  await provider.close();
});

async function outcome(mischief) {
  provider.mischief = HONEST;
  const { id, practitioner } = await server.book();
  const session = await server.join(practitioner);
  const url = await server.begin(session);
  provider.mischief = mischief;
  const { status, body } = await server.finish(session, await authorize(url));
  const logged = (await server.facts_of(id)).some(({ kind }) => kind === "seat.logged_in");
  return { status, kind: body?.type ?? null, logged };
}

const REFUSED = { status: 403, kind: "urn:colloque:problem:login-refused", logged: false };
const UNAVAILABLE = { status: 503, kind: "urn:colloque:problem:login-unavailable", logged: false };
const DONE = { status: 204, kind: null, logged: true };

const claims = (change) => ({ claims: change });
const signedWith = (secretOf, alg = "HS256") => ({
  sign: (said, own) => new SignJWT(said).setProtectedHeader({ alg, kid: own.kid }).sign(Buffer.from(secretOf(own))),
});

const HARMLESS = {
  "nothing wrong": HONEST,
  "another of its keys": { key: 1 },
  "no key id, where one key fits": { key: 1, sign: (said, { alg, privateKey }) => sign(said, { alg, kid: undefined, privateKey }) },
  "an audience in a list": claims(() => ({ aud: ["colloque"] })),
  "several audiences, and we are the authorized party": claims(() => ({ aud: ["colloque", "x"], azp: "colloque" })),
  "a clock half a minute ahead": claims((now) => ({ iat: now + 30, nbf: now + 30 })),
  "level and number in the user info": { without: ["acr", "SubjectNameID"], userInfo: { acr: "eidas2", SubjectNameID: "x" } },
};

const MUTANTS = {
  "alg none": { sign: (said) => new UnsecuredJWT(said).encode() },
  "alg none with the signature of another": {
    sign: async (said, own) => `${Buffer.from('{"alg":"none"}').toString("base64url")}.${(await sign(said, own)).split(".").slice(1).join(".")}`,
  },
  "HS256 with the public key in PEM": signedWith(({ spki }) => spki),
  "HS256 with the public modulus": signedWith(({ jwk }) => Buffer.from(jwk.n, "base64url")),
  "HS256 with the client's name": signedWith(() => "colloque"),
  "HS512 with the public key": signedWith(({ spki }) => spki, "HS512"),
  "signed by another key under a known key id": { sign: (said, own) => sign(said, { ...other, kid: own.kid }) },
  "signed by an unknown key": { sign: (said) => sign(said, other) },
  "its own key beside the token": { sign: (said) => sign(said, { ...other, kid: "new" }, { jwk: other.jwk }) },
  "its own key by address": { sign: (said) => sign(said, { ...other, kid: "new" }, { jku: "http://127.0.0.1:9/jwks" }) },
  "no key id, where two keys might fit": { sign: (said, own) => sign(said, { ...own, kid: undefined }) },
  "the id of a key of another kind": { key: 1, sign: (said, own) => sign(said, { ...own, kid: "one" }) },
  "an algorithm that is not on the list": { key: 3 },
  "an extension that it demands": {
    sign: async (said, own) => {
      const [, payload, signature] = (await sign(said, own)).split(".");
      return `${Buffer.from(JSON.stringify({ alg: "RS256", kid: own.kid, crit: ["b64"], b64: false })).toString("base64url")}.${payload}.${signature}`;
    },
  },
  "a changed claim": {
    sign: async (said, own) => {
      const [header, , signature] = (await sign(said, own)).split(".");
      return `${header}.${Buffer.from(JSON.stringify({ ...said, acr: "eidas2" })).toString("base64url")}.${signature}`;
    },
  },
  "a signature cut off": { sign: async (said, own) => (await sign(said, own)).replace(/\.[^.]*$/, ".") },
  "five parts": { sign: async (said, own) => `${await sign(said, own)}.AAAA.AAAA` },
  "no token at all": { tokens: { id_token: "x" } },
  "the access token in its place": { tokens: { id_token: "access" } },
  "another nonce": claims(() => ({ nonce: "another" })),
  "no nonce": { without: ["nonce"] },
  "a nonce that is no text": claims(() => ({ nonce: ["x"] })),
  "another audience": claims(() => ({ aud: "somebody else" })),
  "an audience beside ours, and no authorized party": claims(() => ({ aud: ["colloque", "somebody else"] })),
  "another authorized party": claims(() => ({ azp: "somebody else" })),
  "no audience": { without: ["aud"] },
  "another issuer": claims(() => ({ iss: "https://elsewhere.example" })),
  "its issuer among others": claims(() => ({ iss: [provider.issuer, "https://elsewhere.example"] })),
  "no issuer": { without: ["iss"] },
  expired: claims((now) => ({ exp: now - 120 })),
  "no expiry": { without: ["exp"] },
  "an expiry that is no number": claims(() => ({ exp: "tomorrow" })),
  "not valid yet": claims((now) => ({ nbf: now + 300 })),
  "issued in the future": claims((now) => ({ iat: now + 300 })),
  "no time of issue": { without: ["iat"] },
  "nobody": { without: ["sub"] },
  "another access token": claims(() => ({ at_hash: "AAAAAAAAAAAAAAAAAAAAAA" })),
  "a level that is not asked for": claims(() => ({ acr: "eidas0" })),
  "no level": { without: ["acr"] },
  "the user info of somebody else": { without: ["acr"], userInfo: { sub: "somebody else", acr: "eidas1" } },
  "the answer of another issuer": { redirect: { iss: "https://elsewhere.example" } },
  "the code refused": { raw: { "/token": (response) => response.writeHead(400).end("{}") } },
};

const BROKEN = {
  "an error": (response) => response.writeHead(500).end(),
  "no JSON": (response) => response.end("<html>"),
  "a redirect elsewhere": (response) => response.writeHead(302, { location: "http://127.0.0.1:9/" }).end(),
  "half an answer": (response) => response.writeHead(200, { "content-length": "100" }).end("{", () => response.destroy()),
  "a megabyte": (response) => response.end(JSON.stringify({ access_token: "x".repeat(1 << 20) })),
  "no answer": (response) => response.destroy(),
};

for (const [name, mischief] of Object.entries(HARMLESS)) {
  test(`accepted: ${name}`, async () => assert.deepEqual(await outcome(mischief), DONE));
}

for (const [name, mischief] of Object.entries(MUTANTS)) {
  test(`refused: ${name}`, async () => {
    assert.deepEqual(await outcome(mischief), REFUSED);
    assert.deepEqual(await outcome(HONEST), DONE, "and the next one gets in");
  });
}

for (const [name, answer] of Object.entries(BROKEN)) {
  test(`the token endpoint gives ${name}`, async () => {
    assert.deepEqual(await outcome({ raw: { "/token": answer } }), UNAVAILABLE);
  });
}

test("after a rotation the provider's new key is asked for, and invented ones not without end", async () => {
  const fresh = await HostileProvider.start();
  const own = await Server.start({ issuer: fresh.issuer, client_id: "colloque" });
  try {
    const logIn = async () => {
      const session = await own.join((await own.book()).practitioner);
      return (await own.finish(session, await authorize(await own.begin(session)))).status;
    };
    fresh.mischief = { sign: (said) => sign(said, other) };
    for (let attempt = 0; attempt < 5; attempt += 1) assert.equal(await logIn(), 403);
    assert.ok(fresh.asked.get("/jwks") <= 2, `asked ${fresh.asked.get("/jwks")} times`);
    assert.equal(fresh.asked.get("/.well-known/openid-configuration"), 1);
  } finally {
    await own.stop();
    await fresh.close();
  }
});

const LIES = {
  "another issuer": { issuer: "https://elsewhere.example" },
  "no PKCE with S256": { code_challenge_methods_supported: ["plain"] },
  "an authorization address without HTTPS or host": { authorization_endpoint: "javascript:alert(1)" },
};

for (const [name, metadata] of Object.entries(LIES)) {
  test(`metadata with ${name} is not used`, async () => {
    const lying = await HostileProvider.start();
    lying.mischief = { metadata };
    const own = await Server.start({ issuer: lying.issuer, client_id: "colloque" });
    try {
      const session = await own.join((await own.book()).practitioner);
      const { status, body } = await own.request("POST", "/v1/login", { session });
      assert.deepEqual([status, body.type], [503, "urn:colloque:problem:login-unavailable"]);
    } finally {
      await own.stop();
      await lying.close();
    }
  });
}

test("nothing is sent to hosts that the operator did not name", async () => {
  const lying = await HostileProvider.start();
  const stranger = await HostileProvider.start();
  const elsewhere = stranger.issuer.replace("127.0.0.1", "localhost");
  lying.mischief = { metadata: { token_endpoint: `${elsewhere}/token`, jwks_uri: `${elsewhere}/jwks` } };
  const own = await Server.start({ issuer: lying.issuer, client_id: "colloque" });
  try {
    const session = await own.join((await own.book()).practitioner);
    assert.equal((await own.finish(session, await authorize(await own.begin(session)))).status, 503);
    assert.equal(stranger.asked.size, 0);
  } finally {
    await own.stop();
    await lying.close();
    await stranger.close();
  }
});

// An OpenID provider that answers as one should, but for what a test tells it to do wrong.

import { createServer } from "node:http";
import { createHash, randomBytes } from "node:crypto";
import { SignJWT, exportJWK, exportSPKI, generateKeyPair } from "jose";

export const HONEST = Object.freeze({});

export class HostileProvider {
  static async start() {
    const provider = new HostileProvider();
    provider.keys = [await key("RS256", "one")];
    provider.http = createServer((request, response) => {
      provider.answer(request, response).catch((error) => response.writeHead(500).end(String(error)));
    });
    await new Promise((resolve) => provider.http.listen(0, "127.0.0.1", resolve));
    provider.issuer = `http://127.0.0.1:${provider.http.address().port}`;
    return provider;
  }

  constructor() {
    this.mischief = HONEST;
    this.strangeKeys = [];
    /** Requests by path. */
    this.asked = new Map();
  }

  async addKey(alg, kid) {
    this.keys.push(await key(alg, kid));
  }

  /** Publishes another key, as after a rotation. */
  async rotate(kid) {
    this.keys = [await key("RS256", kid)];
  }

  async answer(request, response) {
    const url = new URL(request.url, this.issuer);
    this.asked.set(url.pathname, (this.asked.get(url.pathname) ?? 0) + 1);
    const { mischief } = this;
    const json = (body, status = 200) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    };
    if (mischief.raw?.[url.pathname] !== undefined) return mischief.raw[url.pathname](response);
    switch (url.pathname) {
      case "/.well-known/openid-configuration":
        return json({ ...this.metadata(), ...mischief.metadata });
      case "/jwks":
        return json({ keys: [...this.strangeKeys, ...this.keys.map(({ jwk }) => jwk)] });
      case "/authorize":
        return this.authorize(url, response);
      case "/token": {
        const form = new URLSearchParams(await text(request));
        const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
        if (form.get("code") !== this.code || challenge !== this.asked_with?.get("code_challenge")) {
          return json({ error: "invalid_grant" }, 400);
        }
        this.code = null;
        return json(await this.tokens());
      }
      case "/userinfo":
        return json({ sub: "professional", ...mischief.userInfo });
      default:
        return json({ error: "not_found" }, 404);
    }
  }

  metadata() {
    const at = (path) => `${this.issuer}${path}`;
    return {
      issuer: this.issuer,
      authorization_endpoint: at("/authorize"),
      token_endpoint: at("/token"),
      userinfo_endpoint: at("/userinfo"),
      jwks_uri: at("/jwks"),
      code_challenge_methods_supported: ["S256"],
    };
  }

  authorize(url, response) {
    this.asked_with = url.searchParams;
    this.code = randomBytes(16).toString("base64url");
    const back = new URL(url.searchParams.get("redirect_uri"));
    back.searchParams.set("code", this.code);
    back.searchParams.set("state", url.searchParams.get("state"));
    for (const [name, value] of Object.entries(this.mischief.redirect ?? {})) back.searchParams.set(name, value);
    response.writeHead(302, { location: back.href }).end();
  }

  async tokens() {
    const { mischief } = this;
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: this.issuer,
      aud: this.asked_with.get("client_id"),
      sub: "professional",
      nonce: this.asked_with.get("nonce"),
      iat: now,
      exp: now + 300,
      acr: "eidas1",
      SubjectNameID: "810001234567",
      ...mischief.claims?.(now),
    };
    for (const name of mischief.without ?? []) delete claims[name];
    const id_token = await (mischief.sign ?? sign)(claims, this.keys[mischief.key ?? 0]);
    return { access_token: "access", token_type: "Bearer", expires_in: 300, id_token, ...mischief.tokens };
  }

  close() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }
}

/** Signs as a provider should. */
export function sign(claims, { alg, kid, privateKey }, header = {}) {
  return new SignJWT(claims).setProtectedHeader({ alg, kid, ...header }).sign(privateKey);
}

/** A key pair with its public form. */
export async function key(alg, kid) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), alg, use: "sig", kid };
  const spki = alg.startsWith("EdDSA") ? null : await exportSPKI(publicKey);
  return { alg, kid, privateKey, jwk, spki };
}

async function text(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The address to which the provider's redirect leads. */
export async function authorize(url) {
  const response = await fetch(url, { redirect: "manual" });
  return response.headers.get("location");
}

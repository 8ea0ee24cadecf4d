// A real OpenID provider (oidc-provider) with the claims of Pro Santé Connect: one professional, one password.

import { createServer } from "node:http";
import { exportJWK, generateKeyPair } from "jose";

export const RPPS = "10001234567";
const PASSWORD = "right";

export class RealProvider {
  /** Listens before it knows its client, whose address depends on the server that is told of this one. */
  static async listen() {
    const provider = new RealProvider();
    provider.http = createServer((request, response) => provider.answer(request, response));
    await new Promise((resolve) => provider.http.listen(0, "127.0.0.1", resolve));
    provider.issuer = `http://127.0.0.1:${provider.http.address().port}`;
    return provider;
  }

  /** `client`: what the registration says beyond name and address; `acr`: the level that a login gets. */
  async register(redirectUri, client = {}, { acr = "eidas1" } = {}) {
    console.warn = console.info = () => {};
    const { default: Provider } = await import("oidc-provider");
    const keys = [];
    for (const alg of ["RS256", "PS256", "ES256", "EdDSA"]) {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      keys.push({ ...(await exportJWK(privateKey)), alg, use: "sig", kid: `key-${alg}` });
    }
    this.acr = acr;
    this.provider = new Provider(this.issuer, {
      clients: [
        {
          client_id: "colloque",
          client_secret: "a secret: with a colon/and a slash",
          redirect_uris: [redirectUri],
          response_types: ["code"],
          grant_types: ["authorization_code"],
          ...client,
        },
      ],
      jwks: { keys },
      scopes: ["openid", "scope_all"],
      claims: { scope_all: ["SubjectNameID", "preferred_username", "SubjectRefPro"], acr: null },
      acrValues: ["eidas1", "eidas2"],
      pkce: { required: () => true },
      features: { devInteractions: { enabled: false }, jwtUserinfo: { enabled: true } },
      enabledJWA: {
        idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA"],
        userinfoSigningAlgValues: ["RS256", "PS256"],
      },
      interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
      findAccount: (_ctx, id) => ({ accountId: id, claims: () => accountClaims(id) }),
      cookies: { keys: ["a key for cookies of this test"] },
    });
    this.callback = this.provider.callback();
    return this;
  }

  async answer(request, response) {
    if (!request.url.startsWith("/interaction/")) return this.callback(request, response);
    if (request.method === "GET") {
      response.setHeader("content-type", "text/html");
      response.end('<!doctype html><form method="post"><input name="password" type="password"><button>Connexion</button></form>');
      return;
    }
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const typed = new URLSearchParams(Buffer.concat(chunks).toString()).get("password");
    const details = await this.provider.interactionDetails(request, response);
    const result = typed === PASSWORD ? await this.granted(details) : { error: "access_denied" };
    await this.provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }

  async granted({ params }) {
    const accountId = `f:550dc1c8-d97b-4b1e-ac8c-8eb4471cf9dd:8${RPPS}`;
    const grant = new this.provider.Grant({ accountId, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    return { login: { accountId, acr: this.acr }, consent: { grantId: await grant.save() } };
  }

  close() {
    this.http.closeAllConnections();
    return new Promise((resolve) => this.http.close(resolve));
  }
}

function accountClaims(sub) {
  return {
    sub,
    SubjectNameID: `8${RPPS}`,
    preferred_username: `8${RPPS}`,
    SubjectRefPro: {
      codeCivilite: "M",
      exercices: [{ codeProfession: "10", nomDexercice: "PLANTED", prenomDexercice: "PIERRE", activities: [] }],
    },
  };
}

/** A person with a browser that has cookies and no scripts: follows the provider up to this server's callback. */
export async function logInAt(url, callback, password = PASSWORD) {
  const jar = new Map();
  let next = { url, method: "GET", body: undefined };
  for (let step = 0; step < 12; step += 1) {
    if (next.url.startsWith(callback)) return next.url;
    const response = await fetch(next.url, {
      method: next.method,
      body: next.body,
      redirect: "manual",
      headers: {
        cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
        ...(next.body === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" }),
      },
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie);
      if (value === "") jar.delete(name);
      else jar.set(name, value);
    }
    const location = response.headers.get("location");
    if (location !== null) next = { url: new URL(location, next.url).href, method: "GET" };
    else if (response.ok && next.method === "GET") next = { url: next.url, method: "POST", body: `password=${password}` };
    else throw new Error(`${next.method} ${next.url}: ${response.status} ${await response.text()}`);
  }
  throw new Error("too many redirects");
}

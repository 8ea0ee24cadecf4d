// The whole way in a real browser: the page of the call, the provider's own form, the callback page and back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { RPPS, RealProvider } from "../lib/real-provider.mjs";
import { Server } from "../lib/server.mjs";

const SECRET = "a secret: with a colon/and a slash";
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];

async function inBrowser(act) {
  const provider = await RealProvider.listen();
  const server = await Server.start({ issuer: provider.issuer, client_id: "colloque", client_secret: SECRET, scopes: "scope_all" });
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", headless: true, args: FLAGS });
  try {
    await provider.register(server.callback);
    await act(server, browser);
  } finally {
    await browser.close();
    await server.stop();
    await provider.close();
  }
}

/** Opens a seat's link, and asks from within the page where to log in: what the page's button does, without going there. */
async function loginAddress(page, seat) {
  await page.goto(seat.link);
  await page.waitForFunction(() => JSON.parse(sessionStorage.getItem("colloque") ?? "null")?.session?.session);
  return page.evaluate(async () => {
    const { session } = JSON.parse(sessionStorage.getItem("colloque")).session;
    const headers = { "content-type": "application/json" };
    const response = await fetch("/v1/login", { method: "POST", headers, body: JSON.stringify({ session }) });
    return (await response.json()).url;
  });
}

async function logIn(page, address) {
  await page.goto(address);
  await answerProvider(page);
}

async function answerProvider(page) {
  await page.fill("input[name=password]", "right");
  await page.click("button");
}

test("a professional logs in and is back in the call", { timeout: 90_000 }, () =>
  inBrowser(async (server, browser) => {
    const { id, practitioner } = await server.book({ card: { rpps: RPPS } }, true);
    const page = await browser.newPage();
    const addresses = [];
    page.on("request", (request) => addresses.push(request.url()));
    await page.goto(practitioner.link);
    await page.locator("colloque-call [data-action=enter]").click();
    await page.locator("colloque-call [data-gate=login] [data-action=login]").click();
    await answerProvider(page);
    await page.waitForURL((url) => url.pathname === "/join");
    // Straight back into the consultation: nothing is asked a second time.
    await page.waitForSelector("colloque-call:is([data-phase=joining], [data-phase=in_call])");
    assert.ok((await server.facts_of(id)).some(({ kind, seat }) => kind === "seat.logged_in" && seat === practitioner.id));
    assert.ok(addresses.every((address) => !address.split("#")[0].includes(practitioner.token)), "no token in an address");
    assert.doesNotMatch(page.url(), /code|state/);
  }));

test("whoever is lured to another's login is told to open their own link", { timeout: 90_000 }, () =>
  inBrowser(async (server, browser) => {
    const { id, practitioner } = await server.book();
    const attacker = await (await browser.newContext()).newPage();
    const victim = await (await browser.newContext()).newPage();
    // What an attacker would send: the beginning of a login that is bound to the attacker's own page.
    await logIn(victim, await loginAddress(attacker, practitioner));
    await victim.waitForSelector("#elsewhere:not([hidden])");
    assert.equal(new URL(victim.url()).search, "");
    assert.ok((await server.facts_of(id)).every(({ kind }) => kind !== "seat.logged_in"));
  }));

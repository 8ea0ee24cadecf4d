// The browsers: each in its own network namespace, none with a route to anywhere but the server.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { SERVER_ADDRESS, namespaceOf } from "./network.mjs";
import { Seat } from "./seat.mjs";

const PROBE = readFileSync(new URL("probe.js", import.meta.url), "utf8");
const CHROMIUM = fileURLToPath(new URL("chromium-in-namespace.sh", import.meta.url));

const CHROMIUM_FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
  // Several pages at once: none may be treated as one that nobody looks at.
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  "--ignore-certificate-errors",
  `--unsafely-treat-insecure-origin-as-secure=http://${SERVER_ADDRESS}:8080`,
];
/** Devices that are granted without a question; also switches the hiding of addresses behind mDNS names off. */
const GRANTED = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

const FIREFOX_PREFERENCES = {
  "dom.securecontext.allowlist": SERVER_ADDRESS,
  "media.devices.insecure.enabled": true,
  "media.getusermedia.insecure.enabled": true,
  "media.autoplay.default": 0,
  "media.autoplay.blocking_policy": 0,
  "app.update.enabled": false,
  "browser.safebrowsing.downloads.enabled": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.update.enabled": false,
  "media.gmp-manager.updateEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,",
  "toolkit.telemetry.enabled": false,
};

/** What the page finds in place of a camera and a microphone. */
const DEVICES = { id: 1, hz: 600, width: 640, height: 360, fps: 15 };

/** The script that runs before the page's own. `devices: null` leaves the browser's own devices alone. */
function initScript({ devices = {}, codec = null, script = "" }) {
  const install = devices === null ? "" : `probe.installDevices(${JSON.stringify({ ...DEVICES, ...devices })});`;
  const choose = codec === null ? "" : `probe.onlyCodec(${JSON.stringify(codec)});`;
  return [PROBE, script, install, choose].join("\n");
}

export class Chromium {
  /** `granted: false`: nobody answers the question for camera and microphone, so they stay refused. */
  static async launch(namespace, { granted = true } = {}) {
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      headless: true,
      args: [...CHROMIUM_FLAGS, ...(granted ? GRANTED : [])],
      env: { ...process.env, E2E_NAMESPACE: namespaceOf(namespace) },
    });
    return new Chromium(browser);
  }

  constructor(browser) {
    this.browser = browser;
  }

  /** A new person: own storage, own page. `seat.newTab()` opens another page of the same person. */
  async seat({ viewport = { width: 1280, height: 720 }, ...options } = {}) {
    const context = await this.browser.newContext({ viewport, ignoreHTTPSErrors: true });
    context.setDefaultTimeout(15_000);
    await context.addInitScript({ content: initScript(options) });
    return new Seat(await context.newPage(), { context, options });
  }

  close() {
    return this.browser.close();
  }
}

export class Firefox {
  /** In the namespace of the tests themselves, because its remote control listens on loopback. */
  static async launch() {
    const browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: "/usr/bin/firefox-esr",
      headless: true,
      protocol: "webDriverBiDi",
      acceptInsecureCerts: true,
      extraPrefsFirefox: FIREFOX_PREFERENCES,
    });
    return new Firefox(browser);
  }

  constructor(browser) {
    this.browser = browser;
  }

  async seat({ viewport = { width: 1280, height: 720 }, ...options } = {}) {
    const page = await this.browser.newPage();
    await page.setViewport(viewport);
    await page.evaluateOnNewDocument(initScript(options));
    return new Seat(page, { options });
  }

  close() {
    return this.browser.close();
  }
}

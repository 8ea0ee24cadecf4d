// A person at a page: opens a link, presses buttons, and tells what is seen and heard. The same for both browsers.
//
// Buttons are found by the hooks that the web client documents (data-action, data-seat) and pressed as a person would,
// so that a covered or disabled button fails the test.

import { Sighting } from "./sighting.mjs";
import { sleep, until } from "./wait.mjs";

export class Seat {
  constructor(page, { context = null, options = {} } = {}) {
    this.page = page;
    this.context = context;
    this.options = options;
    this.problems = [];
    page.on("pageerror", (error) => this.problems.push(`page error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error" && !/favicon/.test(message.text())) this.problems.push(message.text());
    });
  }

  /** Another page of the same person, with its storage shared but for the tab's own. */
  async newTab() {
    return new Seat(await this.context.newPage(), { context: this.context, options: this.options });
  }

  async open(link) {
    await this.page.goto(link, { waitUntil: "load" });
  }

  /** Opens the link and takes the seat from the preview. */
  async enter(link) {
    await this.open(link);
    await this.phase("preview");
    await this.press("enter");
    await this.phase("gates", "waiting", "joining", "in_call");
    return this;
  }

  /** Opens the link and answers what is asked before media, with yes wherever that is possible. */
  async enterThroughGates(link) {
    await this.enter(link);
    await this.passGates();
    return this;
  }

  async passGates() {
    const answers = { card: "card-read", consent: "consent", third_person: "alone", preference: "prefer-video" };
    await this.phase("gates");
    while ((await this.currentPhase()) === "gates") {
      const gate = await this.gate();
      if (answers[gate] === undefined) continue;
      await this.press(answers[gate]);
      await until(`the question after ${gate}`, async () => (await this.gate()) !== gate);
    }
  }

  /** The question that is asked now; null when there is none. */
  gate() {
    return this.page.evaluate(() => probe.call()?.shadowRoot?.querySelector("[data-gate]")?.dataset.gate ?? null);
  }

  /** What is written where a selector finds something, or null. */
  text(selector) {
    return this.page.evaluate((wanted) => probe.call()?.shadowRoot?.querySelector(wanted)?.textContent?.trim() ?? null, selector);
  }

  /** Waits until some text is to be read there. */
  async reads(selector, pattern, ms = 10_000) {
    await until(`${pattern} in ${selector}`, async () => pattern.test((await this.text(selector)) ?? ""), {
      ms,
      describe: async () => `(reads ${await this.text(selector)})`,
    });
  }

  locator(selector) {
    return this.page.locator(`colloque-call ${selector}`).first();
  }

  /** Packets of others' media that reached this page so far. */
  async packetsReceived() {
    const entries = (await this.stats()).of("inbound-rtp");
    return entries.reduce((sum, { packetsReceived = 0 }) => sum + packetsReceived, 0);
  }

  async press(action, seat = null) {
    const selector = `[data-action="${action}"]${seat === null ? "" : `[data-seat="${seat}"]`}`;
    if (this.context !== null) {
      await this.page.locator(`colloque-call ${selector}`).first().click();
      return;
    }
    const button = await until(`button ${selector}`, () => this.page.$(`>>> ${selector}`));
    await button.click();
  }

  /** Waits for one of the phases. */
  phase(...wanted) {
    return until(
      `phase ${wanted.join(" or ")}`,
      async () => wanted.includes(await this.currentPhase()),
      { describe: async () => `(is ${await this.currentPhase()}; ${this.problems.join("; ")})` },
    );
  }

  /** Null while there is none, as in the moment when one page gives way to the next. */
  currentPhase() {
    return this.page.evaluate(() => probe.call()?.dataset.phase ?? null).catch(() => null);
  }

  /** This person's own public seat identifier. */
  seatId() {
    return this.page.evaluate(() => probe.call().state.seat);
  }

  /** Whether something is on the page. */
  shows(selector) {
    return this.page.evaluate((wanted) => probe.call()?.shadowRoot?.querySelector(wanted) != null, selector);
  }

  async showsWithin(selector, ms = 10_000) {
    await until(`${selector} on the page`, () => this.shows(selector), { ms });
  }

  /** Looks and listens at another's tile for a while. */
  async observe(seat, ms = 3000) {
    await this.watch(seat);
    await sleep(ms);
    return this.seen(seat);
  }

  watch(seat) {
    return this.page.evaluate((id) => probe.watch(id), seat);
  }

  async seen(seat) {
    return new Sighting(await this.page.evaluate((id) => probe.report(id), seat));
  }

  /** Waits until a seat's picture moves and its tone is there. */
  async seesAndHears(seat, who, ms = 12_000) {
    await this.watch(seat);
    let sighting;
    await until(
      `sees and hears seat ${who.id}`,
      async () => {
        sighting = await this.seen(seat);
        return sighting.shows(who) && sighting.sounds(who);
      },
      { ms, every: 200, describe: async () => `(${sighting}; phase ${await this.currentPhase()}; ${this.problems.join("; ")})` },
    );
    return sighting;
  }

  /** getStats of the page's connection: entries by type. */
  async stats() {
    const found = await this.page.evaluate(() => probe.stats());
    if (found === null) throw new Error("the page has no connection");
    const of = (type, kind = null) =>
      found.entries.filter((entry) => entry.type === type && (kind === null || entry.kind === kind));
    return { state: found.state, ice: found.ice, of, transport: of("transport")[0] ?? {} };
  }

  reload() {
    return this.page.reload();
  }

  async close() {
    await (this.context ?? this.page).close();
  }
}

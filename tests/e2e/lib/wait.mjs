// Waiting for a fact with a limit, and saying what was seen instead when it does not come.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is truthy, and gives it. `describe` tells what was the case in the end. */
export async function until(what, ask, { ms = 15_000, every = 100, describe = () => "" } = {}) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms ${await describe()}`);
    await sleep(every);
  }
}

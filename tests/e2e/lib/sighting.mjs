// What a watcher saw and heard of one seat, as facts that a test can assert.

const TONE_TOLERANCE_HZ = 30;

export class Sighting {
  constructor({ frames, tones, unreadable, since, until }) {
    Object.assign(this, { frames, tones, unreadable, since, until });
  }

  /** Everybody whose picture was seen; a test wants exactly one. */
  get ids() {
    return [...new Set(this.frames.map(({ id }) => id))];
  }

  /** Distinct frames a second. */
  get fps() {
    const [first, last] = [this.frames[0], this.frames.at(-1)];
    return first === undefined || last.at === first.at ? 0 : ((this.frames.length - 1) * 1000) / (last.at - first.at);
  }

  /** Whether the frame counter only went up; it wraps after an hour. */
  get monotonic() {
    return this.frames.every(({ frame }, index) => index === 0 || frame > this.frames[index - 1].frame);
  }

  /** The longest stand-still of the picture from `from` on, in ms, the end of watching included. */
  longestFreeze(from = this.frames[0]?.at ?? this.since) {
    let before = from;
    let longest = 0;
    for (const { at } of [...this.frames.filter((seen) => seen.at > from), { at: this.until }]) {
      longest = Math.max(longest, at - before);
      before = at;
    }
    return longest;
  }

  /** Glass to glass, in ms. */
  get age() {
    const sorted = this.frames.map(({ age }) => age).sort((one, other) => one - other);
    return sorted[Math.floor(sorted.length / 2)] ?? null;
  }

  get height() {
    return this.frames.at(-1)?.height ?? 0;
  }

  /** The tone that was there most of the time, and for which share. */
  get tone() {
    const counts = new Map();
    for (const [, hz] of this.tones) if (hz !== null) counts.set(hz, (counts.get(hz) ?? 0) + 1);
    const [hz, count] = [...counts].sort((one, other) => other[1] - one[1])[0] ?? [null, 0];
    return { hz, share: this.tones.length === 0 ? 0 : count / this.tones.length };
  }

  /** The share of samples with this person's tone. */
  toneShare({ hz }) {
    const heard = this.tones.filter(([, tone]) => tone !== null && Math.abs(tone - hz) <= TONE_TOLERANCE_HZ);
    return this.tones.length === 0 ? 0 : heard.length / this.tones.length;
  }

  shows({ id }, frames = 8) {
    return this.frames.filter((seen) => seen.id === id).length >= frames;
  }

  sounds({ hz }, samples = 8) {
    const heard = this.tones.filter(([, tone]) => tone !== null && Math.abs(tone - hz) <= TONE_TOLERANCE_HZ);
    return heard.length >= samples;
  }

  /** The first new picture after an instant (ms since the epoch), or null. */
  firstFrameAfter(instant) {
    return this.frames.find(({ at }) => at >= instant)?.at ?? null;
  }

  /** The first moment after an instant at which anything was heard, or null. */
  firstToneAfter(instant) {
    return this.tones.find(([at, hz]) => at >= instant && hz !== null)?.[0] ?? null;
  }

  toString() {
    const { hz, share } = this.tone;
    const tone = hz === null ? "silence" : `${hz} Hz in ${Math.round(share * 100)} %`;
    return `ids [${this.ids}], ${this.frames.length} frames, ${this.fps.toFixed(1)} fps, ${this.height}p, age ${this.age} ms, ${tone}`;
  }
}

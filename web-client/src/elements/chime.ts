// Two soft tones that call back somebody who looked away while waiting. Made here: nothing to load, no file. Silent where the
// browser wants a touch first; what it means is on the screen and is said by screen readers in any case.

const TONES_HZ = [659, 880] as const;
const TONE_SECONDS = 0.35;
/** Heard in a quiet room, startles nobody. */
const VOLUME = 0.12;

export function chime(): void {
  if (typeof AudioContext === "undefined") return;
  const audio = new AudioContext();
  TONES_HZ.forEach((hz, index) => {
    const begin = audio.currentTime + index * TONE_SECONDS * 0.6;
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.frequency.value = hz;
    gain.gain.setValueAtTime(0, begin);
    gain.gain.linearRampToValueAtTime(VOLUME, begin + 0.03);
    gain.gain.exponentialRampToValueAtTime(0.001, begin + TONE_SECONDS);
    tone.connect(gain).connect(audio.destination);
    tone.start(begin);
    tone.stop(begin + TONE_SECONDS);
  });
  setTimeout(() => void audio.close().catch(() => undefined), 2000 * TONE_SECONDS * TONES_HZ.length);
}

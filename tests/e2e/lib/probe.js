// Runs inside the page, before its own scripts: a camera and a microphone whose content can be recognised at the far
// end, and watchers that recognise it in what the page really plays.
//
// Sent: a canvas whose top eighths carry a barcode (marker 2 bits, id 6, frame counter 16, clock 20 bits of ms) and a
// tone of the sender's own frequency. Received: the barcode is read off the decoded picture of a <video>, the tone off
// the same element's stream. So a test proves who is seen and heard, that it moves, and how old it is.
"use strict";
(() => {
  const COLUMNS = 22;
  const ROWS = 2;
  const CLOCK = 0x100000;
  const SAMPLE_MS = 30;
  const BEAT_SECONDS = 0.15;

  function bitsOf(id, frame, clock) {
    const bits = [1, 0];
    const put = (value, count) => {
      for (let bit = count - 1; bit >= 0; bit -= 1) bits.push((value >>> bit) & 1);
    };
    put(id & 63, 6);
    put(frame & 0xffff, 16);
    put(clock & (CLOCK - 1), 20);
    return bits;
  }

  const groundOf = (id) => `hsl(${(id * 67) % 360} 60% 45%)`;

  /** A scene that is drawn instead of the coloured ground and the barcode: `globalThis.probeScene` (for pictures). */
  function drawFrame(context, { id, width, height, busy }, frame) {
    if (globalThis.probeScene !== undefined) {
      globalThis.probeScene(context, { id, width, height }, frame);
      return;
    }
    const rowHeight = Math.round(height / 8);
    context.fillStyle = groundOf(id);
    context.fillRect(0, 0, width, height);
    context.fillStyle = "#fff";
    context.fillRect((frame * 9) % width, height * 0.6, width / 12, height * 0.2);
    context.font = `${height / 9}px sans-serif`;
    context.fillText(`seat ${id}, frame ${frame}`, width * 0.1, height * 0.5);
    if (busy) drawLeaves(context, width, height);
    bitsOf(id, frame, Date.now()).forEach((bit, index) => {
      context.fillStyle = bit ? "#fff" : "#000";
      const left = Math.round(((index % COLUMNS) * width) / COLUMNS);
      context.fillRect(left, Math.floor(index / COLUMNS) * rowHeight, Math.ceil(width / COLUMNS), rowHeight);
    });
  }

  /** What changes everywhere in every frame takes several packets a frame, as most of what real cameras see. */
  function drawLeaves(context, width, height) {
    const size = 8;
    for (let y = Math.round(height * 0.88); y < height; y += size) {
      for (let x = 0; x < width; x += size) {
        context.fillStyle = `hsl(${Math.random() * 360} 70% ${20 + Math.random() * 60}%)`;
        context.fillRect(x, y, size, size);
      }
    }
  }

  function camera({ id, width, height, fps, busy = false }) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    let frame = 0;
    const draw = () => drawFrame(context, { id, width, height, busy }, (frame += 1));
    draw();
    setInterval(draw, 1000 / fps);
    return canvas.captureStream(fps).getVideoTracks()[0];
  }

  function microphone({ hz, beat = false }) {
    const audio = new AudioContext();
    const oscillator = audio.createOscillator();
    oscillator.frequency.value = hz;
    const gain = audio.createGain();
    gain.gain.value = 0.3;
    const out = audio.createMediaStreamDestination();
    oscillator.connect(gain).connect(out);
    oscillator.start();
    void audio.resume();
    if (beat) setInterval(() => scheduleBeat(audio, gain), 500);
    return out.stream.getAudioTracks()[0];
  }

  /** Silence for a moment at the start of every second of the wall clock: what `lips` measures the voice's age by. */
  function scheduleBeat(audio, gain) {
    const wall = Date.now();
    const next = audio.currentTime + (1000 - (wall % 1000)) / 1000;
    gain.gain.cancelScheduledValues(next - 0.3);
    gain.gain.setValueAtTime(0.3, next - 0.3);
    gain.gain.setValueAtTime(0, next);
    gain.gain.setValueAtTime(0.3, next + BEAT_SECONDS);
  }

  /** Replaces the devices by ones that can be recognised. One of each, cloned for whoever asks. */
  function installDevices(options) {
    const tracks = {};
    const open = (kind, make) => (tracks[kind] ??= make(options)).clone();
    navigator.mediaDevices.getUserMedia = async ({ audio, video }) => {
      const wanted = [];
      if (audio) wanted.push(open("audio", microphone));
      if (video) wanted.push(open("video", camera));
      return new MediaStream(wanted);
    };
    navigator.mediaDevices.enumerateDevices = async () =>
      [["audioinput", "Microphone of the test"], ["videoinput", "Camera of the test"]].map(([kind, label]) => ({
        kind,
        label,
        deviceId: kind,
        groupId: "test",
        toJSON: () => ({ kind, label }),
      }));
  }

  /** Leaves this one video codec (and retransmission) for what the page sends. */
  function onlyCodec(name) {
    const all = RTCRtpSender.getCapabilities.bind(RTCRtpSender);
    RTCRtpSender.getCapabilities = (kind) => {
      const found = all(kind);
      if (kind !== "video") return found;
      const keep = ({ mimeType }) => [`video/${name}`, "video/rtx"].includes(mimeType.toLowerCase());
      return { ...found, codecs: found.codecs.filter(keep) };
    };
  }

  const scratch = document.createElement("canvas");
  Object.assign(scratch, { width: COLUMNS * 8, height: 64 });
  const reader = scratch.getContext("2d", { willReadFrequently: true });

  /** What the barcode on the picture says, or null. */
  function readFrame(video) {
    if (video.videoWidth === 0) return null;
    // Before its first picture an element draws nothing: what was read last, of whomever, must not be read again.
    reader.clearRect(0, 0, scratch.width, scratch.height);
    reader.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / 4, 0, 0, scratch.width, scratch.height);
    const { data } = reader.getImageData(0, 0, scratch.width, scratch.height);
    const bits = [];
    for (let index = 0; index < COLUMNS * ROWS; index += 1) {
      const x = (index % COLUMNS) * 8 + 4;
      const y = Math.floor(index / COLUMNS) * 32 + 16;
      const at = (y * scratch.width + x) * 4;
      bits.push(data[at] + data[at + 1] + data[at + 2] > 384 ? 1 : 0);
    }
    if (bits[0] !== 1 || bits[1] !== 0) return null;
    const number = (from, count) => bits.slice(from, from + count).reduce((value, bit) => (value << 1) | bit, 0);
    const age = ((Date.now() & (CLOCK - 1)) - number(24, 20) + CLOCK) % CLOCK;
    return { id: number(2, 6), frame: number(8, 16), age, height: video.videoHeight };
  }

  const listening = new AudioContext();

  /** Reads the loudest tone of a stream. */
  function ear(stream) {
    void listening.resume();
    const analyser = listening.createAnalyser();
    analyser.fftSize = 4096;
    analyser.smoothingTimeConstant = 0.2;
    const source = listening.createMediaStreamSource(stream);
    source.connect(analyser);
    const levels = new Float32Array(analyser.frequencyBinCount);
    return {
      stream,
      read() {
        analyser.getFloatFrequencyData(levels);
        let loudest = 1;
        for (let bin = 2; bin < levels.length; bin += 1) if (levels[bin] > levels[loudest]) loudest = bin;
        return levels[loudest] < -60 ? null : Math.round((loudest * listening.sampleRate) / analyser.fftSize);
      },
      close: () => source.disconnect(),
    };
  }

  const call = () => document.querySelector("colloque-call");

  /** The element that plays a seat's camera, found anew each time: the page may replace it. */
  function videoOf(seat) {
    return call()?.shadowRoot?.querySelector(`figure.tile[data-seat="${seat}"][data-source="camera"] video`) ?? null;
  }

  const watchers = new Map();

  /** From now on, notes every new frame and the tone of a seat as this page plays them. */
  function watch(seat) {
    unwatch(seat);
    const watcher = { frames: [], tones: [], unreadable: 0, ear: null, since: Date.now() };
    const sample = () => {
      const video = videoOf(seat);
      const stream = video?.srcObject ?? null;
      if (watcher.ear !== null && watcher.ear.stream !== stream) {
        watcher.ear.close();
        watcher.ear = null;
      }
      if (stream === null) return;
      watcher.ear ??= ear(stream);
      const seen = readFrame(video);
      const last = watcher.frames.at(-1);
      if (seen === null) watcher.unreadable += 1;
      else if (last === undefined || last.frame !== seen.frame || last.id !== seen.id) {
        watcher.frames.push({ at: Date.now(), ...seen });
      }
      watcher.tones.push([Date.now(), watcher.ear.read()]);
    };
    watcher.timer = setInterval(sample, SAMPLE_MS);
    watchers.set(seat, watcher);
  }

  function unwatch(seat) {
    const watcher = watchers.get(seat);
    if (watcher === undefined) return;
    clearInterval(watcher.timer);
    watcher.ear?.close();
    watchers.delete(seat);
  }

  function report(seat) {
    const { frames, tones, unreadable, since } = watchers.get(seat);
    return { frames, tones, unreadable, since, until: Date.now() };
  }

  /** For a while, how old the voice (by its beat) and the picture of a seat are when they are played, in ms. */
  async function lips(seat, ms) {
    const video = videoOf(seat);
    const analyser = listening.createAnalyser();
    analyser.fftSize = 256;
    listening.createMediaStreamSource(video.srcObject).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const voice = [];
    const picture = [];
    let loud = false;
    const end = Date.now() + ms;
    while (Date.now() < end) {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((highest, sample) => Math.max(highest, Math.abs(sample)), 0);
      if (loud && peak < 0.03) voice.push(Date.now() % 1000);
      loud = peak > 0.1 || (loud && peak >= 0.03);
      const seen = readFrame(video);
      if (seen !== null) picture.push(seen.age);
      await new Promise((resolve) => setTimeout(resolve, 8));
    }
    return { voice, picture };
  }

  /** The ground's colour (left, near the bottom) as it was sent by somebody with this id, and as it is shown here. */
  function colours(seat, id) {
    const pixel = (context, y) => [...context.getImageData(5, y, 1, 1).data].slice(0, 3);
    const video = videoOf(seat);
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
    const context = canvas.getContext("2d");
    context.drawImage(video, 0, 0);
    const shown = pixel(context, canvas.height - 10);
    context.fillStyle = groundOf(id);
    context.fillRect(0, 0, 20, 20);
    return { sent: pixel(context, 5), shown };
  }

  async function stats() {
    const connection = call()?.call.nativeConnection ?? null;
    if (connection === null) return null;
    const entries = [];
    (await connection.getStats()).forEach((entry) => entries.push(JSON.parse(JSON.stringify(entry))));
    return { state: connection.connectionState, ice: connection.iceConnectionState, entries };
  }

  globalThis.probe = { installDevices, onlyCodec, watch, unwatch, report, lips, colours, stats, videoOf, call };
})();

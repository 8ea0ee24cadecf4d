"""A device that speaks WHIP or WHEP by aiortc: sends or receives one voice and one picture, and ends its session.

What it sends can be recognised: a picture with a colour of its own and a bar code of the frame number, and a tone of
its own. What it receives is decoded, and kept as facts for the tests.
"""
import array
import asyncio
import fractions
import math
import time
import urllib.error
import urllib.request

from aiortc import AudioStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, FPS = 320, 240, 15
BITS = 16
RATE, SAMPLES = 48_000, 960


class Pattern(VideoStreamTrack):
    """One colour (the U plane's value) and, in the upper half, the frame number as black and white stripes."""

    def __init__(self, colour):
        super().__init__()
        self.colour = colour
        self.number = 0
        self.started = time.monotonic()

    async def recv(self):
        self.number += 1
        due = self.started + self.number / FPS
        await asyncio.sleep(max(0, due - time.monotonic()))
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        stripe = WIDTH // BITS
        code = b"".join(bytes([235 if self.number >> bit & 1 else 16]) * stripe for bit in reversed(range(BITS)))
        fill(frame.planes[0], [code] * (HEIGHT // 2) + [bytes([120]) * WIDTH] * (HEIGHT // 2))
        fill(frame.planes[1], [bytes([self.colour]) * (WIDTH // 2)] * (HEIGHT // 2))
        fill(frame.planes[2], [bytes([128]) * (WIDTH // 2)] * (HEIGHT // 2))
        frame.pts = self.number * 90_000 // FPS
        frame.time_base = fractions.Fraction(1, 90_000)
        return frame


class Tone(AudioStreamTrack):
    """A sine."""

    def __init__(self, hertz):
        super().__init__()
        self.hertz = hertz
        self.sample = 0
        self.started = time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self.started + self.sample / RATE - time.monotonic()))
        step = 2 * math.pi * self.hertz / RATE
        wave = (int(8000 * math.sin(step * (self.sample + index))) for index in range(SAMPLES))
        frame = AudioFrame(format="s16", layout="mono", samples=SAMPLES)
        frame.planes[0].update(array.array("h", wave).tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self.sample, RATE, fractions.Fraction(1, RATE)
        self.sample += SAMPLES
        return frame


def fill(plane, rows):
    padding = bytes(plane.line_size - len(rows[0]))
    plane.update(b"".join(row + padding for row in rows))


def read_picture(frame):
    """The colour and the frame number of a decoded picture."""
    frame = frame.reformat(width=WIDTH, height=HEIGHT, format="yuv420p")
    luma, chroma = frame.planes[0], frame.planes[1]
    row = bytes(luma)[luma.line_size * (HEIGHT // 4) :]
    stripe = WIDTH // BITS
    number = 0
    for bit in range(BITS):
        number = number << 1 | (row[bit * stripe + stripe // 2] > 120)
    colour = bytes(chroma)[chroma.line_size * (HEIGHT // 2 - HEIGHT // 8) + WIDTH // 4]
    return colour, number


def strength(samples, hertz):
    """Share of the samples' power at one frequency (Goertzel)."""
    factor = 2 * math.cos(2 * math.pi * hertz / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    power = before * before + last * last - factor * before * last
    total = sum(sample * sample for sample in samples) * len(samples) / 2
    return power / total if total > 0 else 0.0


class Refused(Exception):
    """An answer that is not 201."""

    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.status = status


def request(method, url, token, body=None, kind="application/sdp"):
    """One HTTP request: status, headers, text."""
    headers = {"authorization": f"Bearer {token}"}
    if body is not None:
        headers["content-type"] = kind
    message = urllib.request.Request(url, body.encode() if body else None, headers, method=method)
    try:
        with urllib.request.urlopen(message, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


class Device:
    """One leg: `publish` or `play`, then `close`."""

    def __init__(self, base, token):
        self.base, self.token = base, token
        # Without servers: the default would ask one on the internet.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.resource = None
        self.pictures = []
        self.sounds = []
        self.tasks = []

    async def publish(self, colour, hertz, codec=None):
        self.connection.addTransceiver(Tone(hertz), direction="sendonly")
        video = self.connection.addTransceiver(Pattern(colour), direction="sendonly")
        if codec is not None:
            from aiortc import RTCRtpSender

            wanted = [one for one in RTCRtpSender.getCapabilities("video").codecs if one.mimeType.lower() == f"video/{codec}"]
            video.setCodecPreferences(wanted)
        await self.offer("/whip")

    async def play(self):
        @self.connection.on("track")
        def on_track(track):
            self.tasks.append(asyncio.ensure_future(self.follow(track)))

        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.addTransceiver("video", direction="recvonly")
        await self.offer("/whep")

    async def offer(self, path):
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp = self.connection.localDescription.sdp
        status, headers, answer = await asyncio.to_thread(request, "POST", self.base + path, self.token, sdp)
        if status != 201:
            raise Refused(status)
        self.resource, self.etag = self.base + headers["location"], headers["etag"]
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def follow(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if track.kind == "video":
                self.pictures.append((time.monotonic(), *read_picture(frame)))
            else:
                samples = array.array("h", bytes(frame.planes[0]))[:: len(frame.layout.channels)]
                self.sounds.append(samples[: frame.samples])

    async def connected(self, seconds=10):
        end = time.monotonic() + seconds
        while self.connection.connectionState != "connected":
            if time.monotonic() > end:
                raise TimeoutError(f"connection is {self.connection.connectionState}")
            await asyncio.sleep(0.05)

    def security(self):
        """Version of DTLS and SRTP profile."""
        secure = self.connection.getTransceivers()[0].sender.transport._ssl
        return secure.get_protocol_version_name(), secure.get_selected_srtp_profile().decode()

    async def delete(self):
        status, _, _ = await asyncio.to_thread(request, "DELETE", self.resource, self.token)
        return status

    async def close(self):
        await self.connection.close()
        for task in self.tasks:
            task.cancel()

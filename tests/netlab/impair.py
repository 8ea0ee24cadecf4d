#!/usr/bin/env python3
"""A bad network in userspace: bridges two interfaces with delay, jitter, loss, reordering, duplicates and a rate.

    impair.py IF_A IF_B [--ab KEY=VALUE,...] [--ba KEY=VALUE,...] [--seed N]

Keys: delay and jitter (ms), loss (%), burst (mean packets lost in a row), reorder (%), dup (%), rate (kbit/s),
queue (ms, the longest wait for the rate), udponly (1: TCP and ARP are only delayed; 0: they suffer like UDP).
A line `ab loss=5` or `both loss=100,udponly=0` on stdin changes a direction while it runs, and is answered by `ok`;
`stats` is answered by the counters. Needs root and neither netem nor packages. Ends with its stdin.

Not a model of Wi-Fi or of a mobile network: single effects, repeatable by the seed.
"""
import argparse
import heapq
import random
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, VNET_HEADER_LEN = 263, 15, 10
PACKET_OUTGOING = 4
ETHERTYPE_IPV4, ETHERTYPE_IPV6, PROTOCOL_UDP = b"\x08\x00", b"\x86\xdd", 17
DEFAULTS = dict(delay=0.0, jitter=0.0, loss=0.0, burst=1.0, reorder=0.0, dup=0.0, rate=0.0, queue=300.0, udponly=1.0)


def open_interface(name):
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    # With the virtio header, checksums that the kernel left to the hardware survive the crossing.
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    packets.bind((name, 0))
    packets.setblocking(False)
    return packets


def is_udp(frame):
    ethernet = frame[VNET_HEADER_LEN:]
    kind = ethernet[12:14]
    return (kind == ETHERTYPE_IPV4 and ethernet[23] == PROTOCOL_UDP) or (kind == ETHERTYPE_IPV6 and ethernet[20] == PROTOCOL_UDP)


class Direction:
    """One way over the link: what happens to a frame, and when it leaves."""

    def __init__(self, out):
        self.out = out
        self.settings = dict(DEFAULTS)
        self.rate_free_at = 0.0
        self.last_departure = 0.0
        self.in_burst = False
        self.seen = self.lost = self.overflowed = 0

    def set(self, text):
        for pair in filter(None, text.split(",")):
            key, value = pair.split("=")
            if key not in self.settings:
                raise ValueError(f"unknown key {key}")
            self.settings[key] = float(value)

    def loses_next(self):
        loss, burst = self.settings["loss"] / 100, self.settings["burst"]
        if loss <= 0:
            return False
        if loss >= 1 or burst <= 1:
            return random.random() < loss
        # Gilbert's model: the mean length of a burst as asked for, the mean loss unchanged.
        leave = 1 / burst
        enter = loss * leave / (1 - loss)
        self.in_burst = random.random() >= leave if self.in_burst else random.random() < enter
        return self.in_burst

    def departures(self, frame, now):
        """When this frame leaves: no time at all, one, or two when it is doubled."""
        self.seen += 1
        settings = self.settings
        suffers = not settings["udponly"] or is_udp(frame)
        if suffers and self.loses_next():
            self.lost += 1
            return []
        at = now
        if settings["rate"] > 0:
            start = max(now, self.rate_free_at)
            if (start - now) * 1000 > settings["queue"]:
                self.overflowed += 1
                return []
            self.rate_free_at = start + len(frame) * 8 / (settings["rate"] * 1000)
            at = self.rate_free_at
        delay = settings["delay"]
        if suffers and settings["jitter"]:
            delay = max(0.0, random.gauss(delay, settings["jitter"] / 2))
        if suffers and random.random() * 100 < settings["reorder"]:
            # Overtakes what was delayed before it.
            return [at]
        at = self.last_departure = max(at + delay / 1000, self.last_departure)
        doubled = suffers and random.random() * 100 < settings["dup"]
        return [at, at + 0.001] if doubled else [at]


class Link:
    """Both directions, and the frames on their way."""

    def __init__(self, a, b):
        self.inputs = {a: "ab", b: "ba"}
        self.directions = {"ab": Direction(b), "ba": Direction(a)}
        self.on_the_way = []
        self.count = 0

    def send_due(self, now):
        while self.on_the_way and self.on_the_way[0][0] <= now:
            _, _, out, frame = heapq.heappop(self.on_the_way)
            try:
                out.send(frame)
            except OSError:
                pass  # the interface is down: lost, as on a cable that was pulled

    def wait(self, now):
        return min(0.2, max(0.0, self.on_the_way[0][0] - now)) if self.on_the_way else 0.2

    def receive(self, packets):
        direction = self.directions[self.inputs[packets]]
        while True:
            try:
                frame, address = packets.recvfrom(70_000)
            except BlockingIOError:
                return
            except OSError:
                return  # the interface is down
            if address[2] == PACKET_OUTGOING:
                continue
            for at in direction.departures(frame, time.monotonic()):
                self.count += 1
                heapq.heappush(self.on_the_way, (at, self.count, direction.out, frame))

    def command(self, line):
        which, _, text = line.strip().partition(" ")
        if which == "stats":
            return {name: (way.seen, way.lost, way.overflowed) for name, way in self.directions.items()}
        for name, way in self.directions.items():
            if which in (name, "both"):
                way.set(text)
        return "ok"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("a")
    arguments.add_argument("b")
    arguments.add_argument("--ab", default="")
    arguments.add_argument("--ba", default="")
    arguments.add_argument("--seed", type=int)
    options = arguments.parse_args()
    random.seed(options.seed)
    link = Link(open_interface(options.a), open_interface(options.b))
    link.directions["ab"].set(options.ab)
    link.directions["ba"].set(options.ba)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        link.send_due(now)
        readable, _, _ = select.select([*link.inputs, sys.stdin], [], [], link.wait(now))
        for source in readable:
            if source is not sys.stdin:
                link.receive(source)
                continue
            line = sys.stdin.readline()
            if not line:
                return
            print(link.command(line), flush=True)


if __name__ == "__main__":
    main()

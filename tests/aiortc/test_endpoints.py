"""WHIP and WHEP with an implementation that shares no line with ours."""
import asyncio
import json
import os
import time
import unittest
from unittest import mock

from aiortc import rtcdtlstransport

import device
from device import Device, Refused, strength

FACTS = json.loads(os.environ["COLLOQUE_FACTS"])
BASE = FACTS["base_url"]


def book(*seats):
    """A consultation; its seats in order."""
    body = json.dumps({"act": "teleconsultation", "language": "en", "seats": seats})
    status, _, text = device.request(
        "POST", BASE + "/v1/consultations", FACTS["api_key"], body, kind="application/json"
    )
    assert status == 201, (status, text)
    return json.loads(text)["seats"]


def admitted(role):
    return {"role": role, "admitted": True}


async def until(fact, seconds=10):
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


class Endpoints(unittest.IsolatedAsyncioTestCase):
    async def device(self, seat):
        made = Device(BASE, seat["token"])
        self.addAsyncCleanup(made.close)
        return made

    async def pair(self, colour=200, hertz=700, codec=None):
        """A publisher and another seat that plays it, both connected."""
        sender, receiver = await asyncio.to_thread(book, admitted("patient"), admitted("practitioner"))
        publisher, player = await self.device(sender), await self.device(receiver)
        await publisher.publish(colour, hertz, codec)
        await publisher.connected()
        await player.play()
        await player.connected()
        return publisher, player

    def assert_sees(self, player, colour):
        colours = [seen for _, seen, _ in player.pictures]
        numbers = [number for _, _, number in player.pictures]
        self.assertGreater(len(numbers), 20)
        self.assertLess(max(abs(seen - colour) for seen in colours[5:]), 12, "the publisher's own colour")
        self.assertEqual(numbers, sorted(numbers), "frames in order")
        self.assertGreater(len(set(numbers)), 20, "a picture that moves")

    def assert_hears(self, player, hertz):
        heard = [strength(samples, hertz) for samples in player.sounds[-50:]]
        self.assertGreater(sum(share > 0.8 for share in heard), 30, "the publisher's own tone")

    async def test_what_one_seat_publishes_another_plays(self):
        publisher, player = await self.pair(colour=200, hertz=700)
        self.assertTrue(await until(lambda: len(player.pictures) > 30 and len(player.sounds) > 100))
        self.assert_sees(player, 200)
        self.assert_hears(player, 700)
        self.assertEqual(publisher.security()[0], "DTLSv1.2")
        self.assertIn("GCM", publisher.security()[1])
        print("\n ", *publisher.security())

    async def test_h264_is_forwarded_too(self):
        _, player = await self.pair(colour=60, hertz=900, codec="h264")
        self.assertTrue(await until(lambda: len(player.pictures) > 30 and len(player.sounds) > 100))
        self.assert_sees(player, 60)
        self.assert_hears(player, 900)

    async def test_a_device_that_knows_only_counter_mode_is_served(self):
        only = [rtcdtlstransport.SRTP_AES128_CM_SHA1_80]
        with mock.patch.object(rtcdtlstransport, "SRTP_PROFILES", only):
            publisher, player = await self.pair(colour=90, hertz=500)
            self.assertTrue(await until(lambda: len(player.pictures) > 30 and len(player.sounds) > 100))
            self.assertEqual(publisher.security()[1], "SRTP_AES128_CM_SHA1_80")
        self.assert_sees(player, 90)
        self.assert_hears(player, 500)

    async def test_each_plays_the_other_and_nobody_plays_itself(self):
        seats = await asyncio.to_thread(book, admitted("patient"), admitted("practitioner"))
        looks = [(200, 700), (60, 1100)]
        players = []
        for seat, (colour, hertz) in zip(seats, looks):
            publisher = await self.device(seat)
            await publisher.publish(colour, hertz)
            await publisher.connected()
        for seat in seats:
            player = await self.device(seat)
            await player.play()
            await player.connected()
            players.append(player)
        for player, (colour, hertz) in zip(players, reversed(looks)):
            self.assertTrue(await until(lambda: len(player.pictures) > 30 and len(player.sounds) > 100))
            self.assert_sees(player, colour)
            self.assert_hears(player, hertz)

    async def test_a_seat_in_the_waiting_room_is_refused(self):
        seat, _ = await asyncio.to_thread(book, {"role": "patient"}, admitted("practitioner"))
        for way in ("publish", "play"):
            made = await self.device(seat)
            with self.assertRaises(Refused) as refusal:
                await (made.publish(200, 700) if way == "publish" else made.play())
            self.assertEqual(refusal.exception.status, 403, way)

    async def test_a_token_that_is_not_ours_is_refused(self):
        made = await self.device({"token": "not-a-token"})
        with self.assertRaises(Refused) as refusal:
            await made.publish(200, 700)
        self.assertEqual(refusal.exception.status, 401)

    async def test_delete_ends_the_leg_and_only_once(self):
        publisher, player = await self.pair()
        self.assertTrue(await until(lambda: len(player.pictures) > 10))
        self.assertEqual(await publisher.delete(), 200)
        self.assertEqual(await publisher.delete(), 404)
        await asyncio.sleep(1)
        before = len(player.pictures)
        await asyncio.sleep(1)
        self.assertEqual(len(player.pictures), before, "nothing is forwarded any more")


if __name__ == "__main__":
    unittest.main()

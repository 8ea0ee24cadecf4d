"""A server that is killed in the middle of a call: its next run's record counts up to its last sign of life, and says why."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

import test_record as record


class Killed(unittest.TestCase):
    def start(self, data):
        command = [record.BINARY, "demo", "--json", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]
        command += ["--media-port", "0", "--media-addr", "127.0.0.1", "--data-dir", data]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        return server, json.loads(server.stdout.readline())

    def test_a_killed_server_counts_up_to_its_last_sign_of_life(self):
        with tempfile.TemporaryDirectory() as data:
            first, facts = self.start(data)
            key = facts["api_key"]
            base, record.BASE = record.BASE, facts["base_url"]
            self.addCleanup(setattr, record, "BASE", base)
            seats = [{"role": "practitioner", "admitted": True}, {"role": "patient", "admitted": True}]
            body = {"act": "teleconsultation", "seats": seats}
            booked = json.loads(record.call("POST", "/v1/consultations", body, key=key)[1])
            pages = [record.Page(seat) for seat in booked["seats"]]
            joined = time.time()
            time.sleep(11.5)
            os.kill(first.pid, signal.SIGKILL)
            killed = time.time()
            for page in pages:
                page.close()
            time.sleep(4)

            _, facts = self.start(data)
            record.BASE = facts["base_url"]
            told = json.loads(record.call("GET", f"/v1/consultations/{booked['id']}/record", key=key)[1])
            self.assertEqual(told["status"], "in_progress")
            self.assertLessEqual(told["duration_seconds"], killed - joined + 2)
            self.assertGreaterEqual(told["duration_seconds"], 1, "a note every ten seconds: one fell into the call")
            self.assertEqual(told["statement"]["incidents"], {"server_stopped": 2})
            again = json.loads(record.call("GET", f"/v1/consultations/{booked['id']}/record", key=key)[1])
            self.assertEqual(again["signed_statement"], told["signed_statement"], "time goes on, the count does not")


if __name__ == "__main__":
    unittest.main()

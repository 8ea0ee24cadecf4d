"""The legal record, judged by libraries that know nothing of this server: JSON Schema (jsonschema), FHIR (fhir.resources), JOSE
(joserfc) and openssl. A running server is named by COLLOQUE_FACTS, its program by COLLOQUE_BIN (scripts/record.sh)."""

import copy
import json
import os
import re
import subprocess
import tempfile
import time
import unittest
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from fhir.resources.R4B.encounter import Encounter
from joserfc import jws
from joserfc.jwk import KeySet
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
FACTS = json.loads(os.environ["COLLOQUE_FACTS"])
BASE = FACTS["base_url"]
BINARY = os.environ["COLLOQUE_BIN"]
FIXTURES = ROOT / "tests" / "fixtures" / "record"


def call(method, path, body=None, accept="application/json", key=FACTS["api_key"]):
    request = urllib.request.Request(BASE + path, method=method)
    request.add_header("Accept", accept)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    with urllib.request.urlopen(request, data=data, timeout=20) as answer:
        text = answer.read().decode()
        return answer.headers, text


def fetch(path, **more):
    return json.loads(call("GET", path, **more)[1])


def validator(name):
    schema = fetch(f"/v1/schemas/{name}.json", key=None)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


class Page:
    """A person's page: exchanges the link's token and holds the socket."""

    def __init__(self, seat):
        session = json.loads(call("POST", "/v1/join", {"token": seat["token"], "device": ""}, key=None)[1])
        self.open = ExitStack()
        self.socket = self.open.enter_context(connect(session["ws_url"], origin=BASE))
        self.say({"type": "join", "version": 1, "session": session["session"]})
        self.hear("welcome")

    def say(self, message):
        self.socket.send(json.dumps(message))

    def hear(self, kind):
        while True:
            message = json.loads(self.socket.recv(timeout=10))
            if message["type"] == kind:
                return message

    def close(self):
        self.open.close()


def held_consultation():
    """Doctor and device together for two seconds, then ended by the clinic. Gives the consultation's identifier."""
    seats = [
        {"role": "practitioner", "display_name": "Dr Césaire Aimée", "admitted": True},
        {"role": "patient", "display_name": "Patricia Planted", "admitted": True},
    ]
    booked = json.loads(call("POST", "/v1/consultations", {"act": "teleconsultation", "seats": seats})[1])
    doctor, patient = Page(booked["seats"][0]), Page(booked["seats"][1])
    time.sleep(2.2)
    call("DELETE", f"/v1/consultations/{booked['id']}")
    doctor.close()
    patient.close()
    return booked["id"]


class Judged(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.consultation = held_consultation()
        path = f"/v1/consultations/{cls.consultation}/record"
        for _ in range(50):
            cls.text = call("GET", path)[1]
            cls.record = json.loads(cls.text)
            if cls.record["status"] == "finished":
                break
            time.sleep(0.1)
        cls.headers, encounter = call("GET", path, accept="application/fhir+json")
        cls.encounter = json.loads(encounter)
        cls.directory = tempfile.TemporaryDirectory()
        cls.scratch = Path(cls.directory.name)
        (cls.scratch / "record.json").write_text(cls.text)
        (cls.scratch / "keys.json").write_text(call("GET", "/v1/keys", key=None)[1])

    @classmethod
    def tearDownClass(cls):
        cls.directory.cleanup()

    def verify(self, record, *more):
        (self.scratch / "judged.json").write_text(record)
        command = [BINARY, "record", "verify", str(self.scratch / "judged.json"), *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def test_a_record_fits_the_published_schema(self):
        judge = validator("record")
        judge.validate(self.record)
        judge.validate(json.loads((FIXTURES / "record.json").read_text()))
        validator("statement").validate(self.record["statement"])

    def test_the_schema_refuses_what_is_no_record(self):
        judge = validator("record")
        faults = [
            lambda record: record.pop("status"),
            lambda record: record.update(status="almost"),
            lambda record: record.update(duration_seconds=-1),
            lambda record: record["with_patient"]["seconds"].pop("video"),
            lambda record: record["participants"][0]["authentication"].update(method="handshake"),
            lambda record: record["statement"].update(name="Planted"),
            lambda record: record.update(incidents=[{"at": "2026-01-01T00:00:00Z", "seat": None, "cause": "weather"}]),
            lambda record: record.update(failed_joins=[{"at": "2026-01-01T00:00:00Z", "seat": None}]),
        ]
        for number, fault in enumerate(faults):
            record = copy.deepcopy(self.record)
            fault(record)
            with self.assertRaises(ValidationError, msg=f"fault {number}"):
                judge.validate(record)

    def test_a_live_record_says_what_happened(self):
        record = self.record
        self.assertEqual(record["status"], "finished")
        self.assertTrue(record["complete"])
        self.assertGreaterEqual(record["with_patient"]["seconds"]["silent"], 2)
        self.assertEqual(record["with_patient"]["seconds"]["video"], 0)
        self.assertEqual([who["authentication"]["method"] for who in record["participants"]], ["vouched", "vouched"])
        self.assertTrue(all(who["present_seconds"] >= 2 for who in record["participants"]))

    def test_an_encounter_is_valid_fhir(self):
        self.assertTrue(self.headers["Content-Type"].startswith("application/fhir+json"))
        for resource in (self.encounter, json.loads((FIXTURES / "encounter.json").read_text())):
            parsed = Encounter.model_validate_json(json.dumps(resource))
            self.assertEqual(parsed.status, "finished")
            # Read and written again, nothing is lost: no element was unknown.
            again = json.loads(parsed.model_dump_json())
            self.assertEqual(len(again["participant"]), len(resource["participant"]))
            self.french_profile(resource)

    def judge(self, resource):
        """The second opinion, by FHIR's own definitions."""
        command = ["node", str(ROOT / "tests" / "record" / "judge.mjs")]
        return subprocess.run(command, input=json.dumps(resource), capture_output=True, text=True, timeout=60)

    def test_a_second_library_finds_nothing_either(self):
        for resource in (self.encounter, json.loads((FIXTURES / "encounter.json").read_text())):
            verdict = self.judge(resource)
            self.assertEqual((verdict.returncode, verdict.stdout), (0, ""), verdict.stderr)
        for fault in ({"status": "almost"}, {"class": None}, {"period": {"begin": "2026"}}, {"participants": []}):
            resource = {name: value for name, value in {**self.encounter, **fault}.items() if value is not None}
            self.assertEqual(self.judge(resource).returncode, 1, fault)

    def test_the_fhir_library_refuses_what_is_no_encounter(self):
        for fault in ({"status": None}, {"class": "VR"}, {"period": {"begin": "2026"}}, {"participants": []}):
            with self.assertRaises(ValueError, msg=str(fault)):
                Encounter.model_validate_json(json.dumps({**self.encounter, **fault}))

    def french_profile(self, encounter):
        """What fr-core-encounter 2.2 adds to FHIR R4."""
        self.assertGreaterEqual(len(encounter["identifier"]), 1)
        for identifier in encounter["identifier"]:
            self.assertEqual(identifier["type"]["coding"][0]["code"], "VN")
            self.assertTrue(identifier["system"] and identifier["value"])
        self.assertEqual(encounter["class"]["system"], "http://terminology.hl7.org/CodeSystem/v3-ActCode")
        self.assertEqual(encounter["class"]["code"], "VR")
        self.assertLessEqual(len(encounter["type"]), 1)
        self.assertIn("start", encounter["period"])
        for practitioner in encounter.get("contained", []):
            for identifier in practitioner.get("identifier", []):
                code = identifier["type"]["coding"][0]["code"]
                systems = {"RPPS": "https://rpps.esante.gouv.fr", "IDNPS": "urn:oid:1.2.250.1.71.4.2.1"}
                self.assertEqual(identifier["system"], systems[code])
        # dom-3: whatever is contained is referred to.
        contained = {"#" + resource["id"] for resource in encounter.get("contained", [])}
        referred = {who["individual"].get("reference") for who in encounter["participant"]}
        self.assertEqual(contained, referred - {None})
        for resource_id in [encounter["id"], *(resource["id"] for resource in encounter.get("contained", []))]:
            self.assertRegex(resource_id, r"^[A-Za-z0-9\-.]{1,64}$")

    def test_a_jose_library_verifies_the_statement(self):
        keys = KeySet.import_key_set(json.loads((self.scratch / "keys.json").read_text()))
        signed = jws.deserialize_compact(self.record["signed_statement"], keys, algorithms=["EdDSA"])
        self.assertEqual(json.loads(signed.payload), self.record["statement"])
        self.assertNotIn("Planted", signed.payload.decode())
        again = fetch(f"/v1/consultations/{self.consultation}/record")
        self.assertEqual(again["signed_statement"], self.record["signed_statement"], "the same each time")

    def test_the_command_says_whether_it_is_genuine(self):
        key = ["--key", str(self.scratch / "keys.json")]
        good = self.verify(self.text, *key)
        self.assertEqual(good.returncode, 0, good.stderr)
        self.assertIn("genuine", good.stdout)
        self.assertIn(self.consultation, good.stdout)
        alone = self.verify(self.record["signed_statement"], *key)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        changed = copy.deepcopy(self.record)
        changed["statement"]["with_patient"]["minutes"]["video"] = 20
        header, payload, signature = self.record["signed_statement"].split(".")
        forged = f"{header}.{payload[:-4]}AAAA.{signature}"
        for record in (json.dumps(changed), forged, "{}", "", "nonsense"):
            bad = self.verify(record, *key)
            self.assertEqual(bad.returncode, 1, record[:40])
            self.assertNotIn("genuine:", bad.stdout)

    def test_openssl_verifies_as_the_documentation_says(self):
        text = (ROOT / "docs" / "record.md").read_text()
        block = re.search(r"openssl 3 alone:\n\n((?:    .*\n)+)", text).group(1)
        script = "set -euo pipefail\n" + "".join(line[4:] for line in block.splitlines(keepends=True))
        run = ["bash", "-c", script]
        environment = {**os.environ, "URL": BASE}
        good = subprocess.run(run, cwd=self.scratch, env=environment, capture_output=True, text=True, timeout=30)
        self.assertIn("Signature Verified Successfully", good.stdout + good.stderr)
        (self.scratch / "record.json").write_text(self.text.replace(self.record["signed_statement"][:60], "e" * 60))
        bad = subprocess.run(run, cwd=self.scratch, env=environment, capture_output=True, text=True, timeout=30)
        (self.scratch / "record.json").write_text(self.text)
        self.assertNotEqual(bad.returncode, 0)

    def test_capabilities_fit_their_schema_and_say_that_nothing_is_recorded(self):
        capabilities = fetch("/capabilities", key=None)
        judge = validator("capabilities")
        judge.validate(capabilities)
        self.assertEqual(capabilities["recording"], "absent")
        with self.assertRaises(ValidationError):
            judge.validate({**capabilities, "recording": "cloud"})

    def test_usage_fits_its_schema_and_tells_no_small_number(self):
        usage = fetch("/v1/usage?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z")
        validator("usage").validate(usage)
        self.assertEqual(len(usage["months"]), 12)
        self.assertTrue(all(month["cells"] == [] and month["total"] is None for month in usage["months"]))


if __name__ == "__main__":
    unittest.main()

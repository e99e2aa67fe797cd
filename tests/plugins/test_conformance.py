"""A plugin that does not conform is told in what, so that its author can mend it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from carriers.dhl import DHL
from carriers.fedex import FedEx
from carriers.purolator import Purolator
from tracker.domain.facts import Payload, Report
from tracker.plugin.conformance import documents, example_settings, for_carrier
from tracker.plugin.conformance.shown import differences
from tracker.plugin.payloads import decode
from tracker.plugin.xml import XSI_TYPE, decode_xml

ROOT = Path(__file__).parents[2]


def test_a_failure_names_the_value_that_differs_also_in_a_package_of_its_own(tmp_path: Path) -> None:
    fixtures = shutil.copytree(ROOT / "tests" / "fixtures" / "fedex", tmp_path / "fixtures")
    told = json.loads((fixtures / "exceptions.poll.expected.json").read_text())
    told[0]["scans"][-1]["place"], right = "Atlantis", told[0]["scans"][-1]["place"]
    (fixtures / "exceptions.poll.expected.json").write_text(json.dumps(told))
    (tmp_path / "acme.py").write_text(
        '"""Acme."""\nfrom carriers import fedex\n\nclass Acme(fedex.FedEx):\n    docs = "http://acme.example"\n'
    )
    (tmp_path / "test_acme.py").write_text(
        "from pathlib import Path\nfrom tracker.plugin.conformance import for_carrier\n"
        'TestAcme = for_carrier("acme", fixtures=Path(__file__).parent / "fixtures")\n'
    )
    (tmp_path / "none.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "none.ini", "-k", "class or fixture_reads"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "CI": ""},
    )  # fmt: skip

    place = f"$[0].scans[{len(told[0]['scans']) - 1}].place"
    assert "2 failed" in done.stdout
    assert "AssertionError: exceptions.poll.json" in done.stdout
    assert f" {place}: read {right!r}, expected 'Atlantis'" in done.stdout
    assert "'http://acme.example'.startswith" in done.stdout  # pytest tells the parts of what is not so


class Careless(FedEx):
    """It reads what may be missing as if it were there."""

    def normalize(self, payload: Payload):
        for result in decode(payload.body)["output"]["completeTrackResults"]:
            result["trackResults"][0]["scanEvents"]
        return super().normalize(payload)


class Guessing(FedEx):
    """It makes a code of whatever stands there."""

    def normalize(self, payload: Payload):
        for report in super().normalize(payload):
            if isinstance(report, Report):
                scans = [
                    replace(scan, code=replace(scan.code, code=scan.code.code.replace("missing", "None")))
                    for scan in report.scans
                ]
                report = replace(report, scans=tuple(scans))
            yield report


class TwoWorlds(DHL):
    """It reads another code in polls."""

    def normalize(self, payload: Payload):
        body = payload.body.replace(b"NOT_HOME", b"NOT_THERE") if payload.kind == "poll" else payload.body
        return super().normalize(Payload(payload.account, payload.kind, (body,), payload.received_at, payload.headers))


class Pasting(FedEx):
    """It pastes what others wrote into a path."""

    batch = 1

    def fetch(self, client, query):
        for parcel in query.parcels:
            yield client.send(self._get(f"/track/{parcel.number}"))

    def _get(self, path: str):
        from tracker.plugin.calls import Request

        return Request("GET", f"{self.settings.base_url}{path}")


class CarelessOfXml(Purolator):
    """It reads what may be missing as if it were there."""

    def normalize(self, payload: Payload):
        answer = decode_xml(payload.body)["Envelope"]["Body"]["TrackPackagesByPinResponse"]
        answer["TrackingInformationList"]["TrackingInformation"][1]["Scans"]["Scan"]
        return super().normalize(payload)


class InSilence(Purolator):
    """It says nothing of what it leaves out."""

    def normalize(self, payload: Payload):
        return [item for item in super().normalize(payload) if isinstance(item, Report)]


@pytest.mark.parametrize(
    ("plugin", "name", "test", "said"),
    [
        (CarelessOfXml, "purolator", "an_unreadable_body_is_a_bad_payload_with_its_path", "this body: KeyError: 'Envelope'; nothing but BadPayload"),
        (CarelessOfXml, "purolator", "a_cut_or_changed_fixture_never_crashes", "several.poll.xml as b'<"),
        (CarelessOfXml, "purolator", "one_broken_element_of_a_list_takes_nothing_from_the_others", "; nothing but BadPayload may leave `normalize`"),
        (InSilence, "purolator", "one_broken_element_of_a_list_takes_nothing_from_the_others", ": left out in silence"),
        (Careless, "fedex", "an_unreadable_body_is_a_bad_payload_with_its_path", "this body: KeyError: 'output'; nothing but BadPayload"),
        (Careless, "fedex", "a_cut_or_changed_fixture_never_crashes", "as b'{\"output\": null}': TypeError: 'NoneType'"),
        (Careless, "fedex", "one_broken_element_of_a_list_takes_nothing_from_the_others", "; nothing but BadPayload may leave `normalize`"),
        (Guessing, "fedex", "one_broken_element_of_a_list_takes_nothing_from_the_others", "['None'] is what Python prints of it, and nobody's"),
        (TwoWorlds, "dhl", "poll_and_webhook_of_one_scan_share_their_fingerprint", "one of the webhook: same-not-home; it is made of"),
        (Pasting, "fedex", "what_somebody_else_wrote_leaves_the_address_where_it_is", ": it goes into a path by `segment`, or into `params`"),
    ],
)  # fmt: skip
def test_who_does_not_conform_is_told_what_to_do(plugin: type, name: str, test: str, said: str) -> None:
    suite = for_carrier(f"carriers.{name}", fixtures=ROOT / "tests" / "fixtures" / name)()
    more = (b"<a/>" if issubclass(plugin, Purolator) else b"{}", "poll") if test.startswith("an_unreadable") else ()
    with pytest.raises(AssertionError) as told:
        getattr(suite, f"test_{test}")(plugin("account", example_settings(plugin)), *more)

    assert said in str(told.value)


def test_a_document_of_xml_is_printed_as_it_was_read() -> None:
    for file in sorted((ROOT / "tests" / "fixtures" / "purolator").glob("*.xml")):
        body = file.read_bytes()

        assert decode_xml(documents.printed(documents.read(body)), XSI_TYPE) == decode_xml(body, XSI_TYPE)
    odd = documents.Xml({"a": {"@b": "1", "c": ["@no character@", "@no UTF-8@", "@no entity@"], "d": None}})
    assert decode_xml(documents.printed(odd)) == {
        "a": {"c": ["a\ufffd\ufffdz", "a\ufffdz", "a&nobody; & z"], "d": None}
    }


def test_differences_are_told_value_by_value() -> None:
    assert differences([{"a": 1, "b": [1, 2]}], [{"a": 1, "b": [1, 2]}]) == []
    assert differences([{"a": 1, "b": [1, 2]}, 3], [{"b": [1, "2", None], "c": "x"}]) == [
        "$[0].a: read 1, expected nothing",
        "$[0].b[1]: read 2, expected '2'",
        "$[0].b[2]: read nothing, expected None",
        "$[0].c: read nothing, expected 'x'",
        "$[1]: read 3, expected nothing",
    ]
    assert differences({"a": []}, {"a": {}}) == ["$.a: read [], expected {}"]

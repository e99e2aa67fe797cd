"""FedEx: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from pathlib import Path

from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.fedex", fixtures=Path(__file__).parents[1] / "fixtures" / "fedex")
HOST = "https://apis.fedex.com"


def test_thirty_numbers_go_into_one_call(world, make) -> None:
    token = world.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    track = world.post(f"{HOST}/track/v1/trackingnumbers").respond(json={"output": {"completeTrackResults": []}})
    source, client = make("carriers.fedex")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("fedex", f"{i:012}") for i in range(31)))))

    assert len(pages) == 2
    assert b"grant_type=client_credentials&client_id=canary-client_id" in token.calls[0].request.content
    bodies = [json.loads(c.request.content) for c in track.calls]
    assert [len(b["trackingInfo"]) for b in bodies] == [30, 1]
    assert bodies[0]["includeDetailedScans"] is True
    source.ping(client)


def _result(make, **result):
    source, _ = make("carriers.fedex")
    body = {"output": {"completeTrackResults": [{"trackingNumber": "1", "trackResults": [result]}]}}
    (report,) = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))
    return report


def test_an_error_that_is_not_not_found_is_an_error_of_tracking(make) -> None:
    assert _result(make, error={"code": "SYSTEM.UNAVAILABLE"}).tracking == "error"


def test_a_delivered_parcel_has_no_estimate(make) -> None:
    dates = [{"type": "ESTIMATED_DELIVERY", "dateTime": "2024-05-03T12:00:00"}]

    assert _result(make, dateAndTimes=dates).edd.begins.hour == 12
    assert _result(make, dateAndTimes=[*dates, {"type": "ACTUAL_DELIVERY", "dateTime": "2024-05-03"}]).edd is None
    assert _result(make).edd is None


def test_a_scan_without_a_date_is_kept(make) -> None:
    assert _result(make, scanEvents=[{"eventType": "OD", "date": ""}]).scans[0].local is None


def test_a_scan_without_an_event_type_is_kept(make) -> None:
    scans = _result(make, scanEvents=[{"derivedStatusCode": "IT"}, {"eventType": 7}]).scans

    assert [scan.code.code for scan in scans] == ["IT", "missing"]


def test_links_may_come_as_value_or_values(make) -> None:
    more = {
        "packageIdentifiers": [{"type": "OUTBOUND_LINK_TO_RETURN", "value": "9"}, {"type": "INVOICE", "value": "1"}, 7]
    }

    assert [link.number for link in _result(make, additionalTrackingInfo=more).links] == ["9"]

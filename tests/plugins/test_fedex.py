"""FedEx: conformance, requests, and what is its own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from tests.plugins.signing import digest
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
)
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Report, Unread, fingerprint
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.fedex", fixtures=Path(__file__).parents[1] / "fixtures" / "fedex")
HOST = "https://apis.fedex.com"
TRACK = f"{HOST}/track/v1/trackingnumbers"


def signed(body: bytes) -> dict[str, str]:
    return {"fdx-signature": base64.b64encode(digest(body)).decode()}


def test_thirty_numbers_go_into_one_call(outside, make) -> None:
    token = outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    track = outside.post(TRACK).respond(json={"output": {"completeTrackResults": []}})
    source, client = make("carriers.fedex")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("fedex", f"{i:012}") for i in range(31)))))

    assert len(pages) == 2
    assert b"grant_type=client_credentials&client_id=canary-client_id" in token.calls[0].request.content
    bodies = [json.loads(c.request.content) for c in track.calls]
    assert [len(b["trackingInfo"]) for b in bodies] == [30, 1]
    assert bodies[0]["includeDetailedScans"] is True
    source.ping(client)


def test_the_letter_with_the_signature_is_asked_for_by_the_number_and_its_unique_id(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    letter = base64.b64encode(b"%PDF-1.4 signed").decode()
    route = outside.post(f"{HOST}/track/v1/trackingdocuments").respond(json={"output": {"document": [letter]}})
    source, client = make("carriers.fedex")

    found = source.proof(client, Parcel("fedex", "794644790131"), "1~794644790131~FDEG")

    assert (found.kind, found.content) == ("application/pdf", b"%PDF-1.4 signed")
    assert json.loads(route.calls[0].request.content) == {
        "trackDocumentDetail": {"documentType": "SIGNATURE_PROOF_OF_DELIVERY", "documentFormat": "PDF"},
        "trackDocumentSpecification": [
            {"trackingNumberInfo": {"trackingNumber": "794644790131", "trackingNumberUniqueId": "1~794644790131~FDEG"}}
        ],
    }


@pytest.mark.parametrize(
    ("output", "said"),
    [({"alerts": [{"code": "TRACKING.DATA.NOTFOUND"}]}, "TRACKING.DATA.NOTFOUND"), ({"document": []}, "no document")],
)
def test_where_there_is_no_letter_its_alert_says_why(outside, make, output, said) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    outside.post(f"{HOST}/track/v1/trackingdocuments").respond(json={"output": output})
    source, client = make("carriers.fedex")

    with pytest.raises(NotFound, match=said):
        source.proof(client, Parcel("fedex", "794644790131"), None)


def test_documents_are_asked_for_one_kind_after_the_other_until_there_is_one(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    picture = base64.b64encode(b"\xff\xd8\xff a picture").decode()
    route = outside.post(f"{HOST}/track/v1/trackingdocuments")
    gone = {"errors": [{"code": "TRACKING.TRACKINGNUMBER.NOTFOUND", "message": "no letter"}]}
    route.side_effect = [
        httpx.Response(400, json=gone), httpx.Response(200, json={"output": {"document": [picture]}}),
        httpx.Response(400, json=gone), httpx.Response(400, json=gone),
    ]  # fmt: skip
    kinds = ["SIGNATURE_PROOF_OF_DELIVERY", "PICTURE_PROOF_OF_DELIVERY"]
    source, client = make("carriers.fedex", proof_types=kinds)

    assert source.proof(client, Parcel("fedex", "794644790131"), None).kind == "image/jpeg"
    with pytest.raises(NotFound, match=r"TRACKING\.TRACKINGNUMBER\.NOTFOUND: no letter"):
        source.proof(client, Parcel("fedex", "794644790131"), None)
    asked = [json.loads(call.request.content)["trackDocumentDetail"]["documentType"] for call in route.calls]
    assert asked == kinds * 2
    source, client = make("carriers.fedex", proof_types=[])
    with pytest.raises(NotFound, match="`proof_types` is empty"):
        source.proof(client, Parcel("fedex", "794644790131"), None)


@pytest.mark.parametrize(
    ("token", "track", "error", "said"),
    [
        ((200, {"access_token": "t"}), (200, {"output": {"completeTrackResults": []}}), None, ""),
        ((200, {"access_token": "t"}), (400, {"errors": [{"code": "TRACKING.TRACKINGNUMBER.NOTFOUND"}]}), None, ""),
        ((200, {}), (200, {}), Transient, "without access_token"),
        ((401, {"errors": [{"code": "NOT.AUTHORIZED.ERROR", "message": "The given client credentials were not valid."}]}),
         (200, {}), CredentialsRejected, "NOT.AUTHORIZED.ERROR: The given client credentials were not valid"),
        ((403, {}), (200, {}), RateLimited, "gives this address no tokens for a while: FedEx: HTTP 403"),
        ((200, {"access_token": "t"}), (403, {"errors": [{"code": "FORBIDDEN.ERROR", "message": "No."}]}), CredentialsRejected,
         r"FORBIDDEN.ERROR: No. \(add the Track API to the project\)"),
        ((200, {"access_token": "t"}), (200, {"output": {}}), BadPayload, "completeTrackResults: is missing"),
        ((200, {"access_token": "t"}), (200, {"ok": True}), BadPayload, "output"),
    ],
)  # fmt: skip
def test_an_account_is_believed_only_by_an_answer_of_the_track_api(outside, make, token, track, error, said) -> None:
    outside.post(f"{HOST}/oauth/token").respond(token[0], json=token[1])
    outside.post(TRACK).respond(track[0], json=track[1])
    source, client = make("carriers.fedex")

    if error is None:
        source.ping(client)
    else:
        with pytest.raises(error, match=said):
            source.ping(client)


def _all(make, *results, number="1"):
    source, _ = make("carriers.fedex")
    body = {"output": {"completeTrackResults": [{"trackingNumber": number, "trackResults": list(results)}]}}
    items = source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def _result(make, **result):
    (report,), unread = _all(make, result)
    assert unread == []
    return report


def test_an_error_that_is_not_not_found_is_an_error_of_tracking(make) -> None:
    assert _result(make, error={"code": "SYSTEM.UNAVAILABLE"}).tracking == "error"
    assert _result(make, error={"code": ""}).tracking == "active"


def test_a_delivered_parcel_has_no_estimate(make) -> None:
    dates = [{"type": "ESTIMATED_DELIVERY", "dateTime": "2024-05-03T12:00:00"}]

    assert _result(make, dateAndTimes=dates).edd.begins.hour == 12
    assert _result(make, dateAndTimes=[*dates, {"type": "ACTUAL_DELIVERY", "dateTime": "2024-05-03"}]).edd is None
    assert _result(make).edd is None


def span(edd) -> list[str]:
    return [edd.begins.isoformat(), edd.ends.isoformat()]


def test_midnight_in_an_estimate_without_a_window_is_the_day_in_its_own_offset(make) -> None:
    dates = [{"type": "ESTIMATED_DELIVERY", "dateTime": "2026-08-28T00:00:00-06:00"}]
    window = {"window": {"begins": "2026-08-28T00:00:00-06:00", "ends": "2026-08-28T12:00:00-06:00"}}

    assert span(_result(make, dateAndTimes=dates).edd) == ["2026-08-28T00:00:00-06:00", "2026-08-29T00:00:00-06:00"]
    assert (
        span(_result(make, dateAndTimes=dates, estimatedDeliveryTimeWindow=window).edd)[1]
        == "2026-08-28T12:00:00-06:00"
    )


def test_a_scan_without_a_date_is_kept(make) -> None:
    assert _result(make, scanEvents=[{"eventType": "OD", "date": ""}]).scans[0].local is None


def test_a_scan_without_an_event_type_is_kept(make) -> None:
    (report,), unread = _all(make, {"scanEvents": [{"derivedStatusCode": "IT"}, {"eventType": 7}, {}]})

    assert [scan.code.code for scan in report.scans] == ["IT", "missing", "missing"]
    assert [one.where[-9:] for one in unread] == ["eventType"]


def test_links_may_come_as_value_or_values(make) -> None:
    more = {
        "packageIdentifiers": [
            {"type": "OUTBOUND_LINK_TO_RETURN", "value": "9"}, {"type": "INVOICE", "value": "1"}, 7,
            {"type": "OUTBOUND_LINK_TO_RETURN", "values": ["10", 11, ""]}, {"type": "OUTBOUND_LINK_TO_RETURN", "values": "12"},
        ]
    }  # fmt: skip

    (report,), unread = _all(make, {"additionalTrackingInfo": more})

    assert [link.number for link in report.links] == ["9", "10"]
    assert [one.where.partition("packageIdentifiers")[2] for one in unread] == ["[2]", "[3].values", "[4].values"]


@pytest.mark.parametrize(
    ("code", "text", "means"),
    [
        ("DE:07", "", ("exception", "refused")),  # the leading zeros are part of the code: three things
        ("DE:007", "", ("delivery_attempted", "recipient_unavailable")),
        ("DE:7", "", ("delivery_attempted", "unspecified")),
        ("DE:7", "Customer not available or business closed", ("delivery_attempted", "recipient_unavailable")),
        ("DE:08", "", ("delivery_attempted", "recipient_unavailable")),
        ("DE:17", "", ("in_transit", "delivery_rescheduled")),
        ("DE:03", "", ("exception", "address_incorrect")),
        ("SE:03", "", ("exception", "address_incorrect")),
        ("DE:083", "", ("delayed", "external")),
        ("SE:099", "", ("delivery_failed", "undeliverable")),
        ("SE:A25", "Delayed by weather", ("delayed", "weather")),
        ("SE:A25", "Nobody knows", ("exception", "unspecified")),
        ("SE:84", "Delay beyond our control", ("delayed", "external")),
        ("DE", "Refused", ("delivery_attempted", "unspecified")),
        ("CD", "", ("on_hold", "customs_hold")),
    ],
)
def test_a_reason_is_read_as_it_is_printed(make, code, text, means) -> None:
    source, _ = make("carriers.fedex")
    meaning = source.meaning(Code("track", code, text))

    assert (meaning.status, meaning.reason) == means


def test_a_code_that_nobody_knows_has_no_reason_either(make) -> None:
    source, _ = make("carriers.fedex")

    assert source.meaning(Code("track", "QQ:07")) is None


def head(code, **more):
    return {"code": code, "derivedCode": code, "statusByLocale": code, **more}


OD = {"date": "2026-08-28T04:44:00-05:00", "eventType": "OD", "derivedStatusCode": "IT"}
WHEN = [{"type": "ACTUAL_DELIVERY", "dateTime": "2026-08-28T09:10:00-05:00"}]


@pytest.mark.parametrize(
    ("latest", "dates", "scan"),
    [
        (head("DL"), WHEN, ("DL", "2026-08-28T09:10:00", Zone.OFFSET, Precision.SECOND)),
        (head("DL"), [{**WHEN[0], "dateTime": "2026-08-28T00:00:00-05:00"}], ("DL", "2026-08-28T00:00:00", Zone.OFFSET, Precision.DATE)),
        (head("DL"), [{**WHEN[0], "dateTime": "2026-08-28"}], ("DL", "2026-08-28T00:00:00", Zone.UNKNOWN, Precision.DATE)),
        (head("DL"), [], ("DL", None, Zone.UNKNOWN, Precision.SECOND)),
        (head("HL"), WHEN, ("HL", None, Zone.UNKNOWN, Precision.SECOND)),  # the delivery's time is not its own
        (head("QQ"), [], ("QQ", None, Zone.UNKNOWN, Precision.SECOND)),  # UNKNOWN, as in a scan
        ({"derivedCode": "DL"}, WHEN, ("DL", "2026-08-28T09:10:00", Zone.OFFSET, Precision.SECOND)),
        (head("DE", ancillaryDetails=[{"reason": "07"}]), [], ("DE:07", None, Zone.UNKNOWN, Precision.SECOND)),
        (head("DE", ancillaryDetails=[{}]), [], ("DE", None, Zone.UNKNOWN, Precision.SECOND)),
        (head("SE"), [], ("SE", None, Zone.UNKNOWN, Precision.SECOND)),
        (head("OD"), [], None),  # the newest event
        (head("IT"), [], None),  # what FedEx derives from the newest event
        (head("ED"), [], None),  # another word for the same status
        (head("SP"), [], None),  # says nothing of where it is
        ({}, [], None),
    ],
)  # fmt: skip
def test_a_status_at_the_head_becomes_a_scan_where_no_event_carries_it(make, latest, dates, scan) -> None:
    report = _result(make, latestStatusDetail=latest, dateAndTimes=dates, scanEvents=[OD])

    assert [s.code.code for s in report.scans] == ["OD", *([scan[0]] if scan else [])]
    if scan:
        made = report.scans[-1]
        assert (made.local.isoformat() if made.local else None, made.zone, made.precision) == scan[1:]


def test_what_fedex_derives_from_an_event_that_nobody_knows_is_told_by_the_head(make) -> None:
    event = {**OD, "eventType": "XX", "derivedStatusCode": "DL"}
    report = _result(make, latestStatusDetail=head("DL"), dateAndTimes=WHEN, scanEvents=[event])

    assert [scan.code.code for scan in report.scans] == ["XX", "DL"]


def test_of_a_window_that_lacks_an_end_the_other_is_the_estimate(make) -> None:
    window = {"window": {"ends": "2026-08-28T00:00:00-06:00"}}

    assert span(_result(make, estimatedDeliveryTimeWindow=window).edd)[0] == "2026-08-28T00:00:00-06:00"
    assert _result(make, estimatedDeliveryTimeWindow=window, dateAndTimes=WHEN).edd is None  # it was delivered


def test_the_scan_of_a_head_is_the_scan_that_the_event_makes(make) -> None:
    at = {"city": "AUSTIN", "countryCode": "US"}
    real = {"date": WHEN[0]["dateTime"], "eventType": "DL", "eventDescription": "Delivered", "scanLocation": at}

    early = _result(make, latestStatusDetail=head("DL", scanLocation=at), dateAndTimes=WHEN)
    late = _result(make, latestStatusDetail=head("DL", scanLocation=at), dateAndTimes=WHEN, scanEvents=[real])

    assert [fingerprint(scan) for scan in early.scans] == [fingerprint(scan) for scan in late.scans]
    assert (early.complete, late.complete) == (False, True)


def test_each_odd_piece_of_a_result_costs_itself_only(make) -> None:
    odd = {
        "trackingNumberInfo": {"trackingNumberUniqueId": 5}, "error": "none", "deliveryDetails": 1, "latestStatusDetail": [],
        "scanEvents": [OD, {**OD, "date": "yesterday"}, {**OD, "scanLocation": "AUSTIN"}, None],
        "dateAndTimes": [{"type": "ESTIMATED_DELIVERY", "dateTime": "Pending"}, {"type": "SHIP", "dateTime": "-"}, 1],
        "estimatedDeliveryTimeWindow": {"window": {"begins": "now", "ends": "later"}}, "additionalTrackingInfo": "none",
    }  # fmt: skip

    (first, second), unread = _all(make, odd, {"scanEvents": [OD]}, 9)

    assert ([scan.code.code for scan in first.scans], first.edd, first.complete) == (["OD"] * 3, None, False)
    assert (len(second.scans), second.complete) == (1, True)
    results = "$.output.completeTrackResults[0].trackResults"
    names = (
        "trackingNumberInfo.trackingNumberUniqueId", "scanEvents[1].date", "scanEvents[2].scanLocation", "scanEvents[3]",
        "error", "dateAndTimes[0].dateTime", "dateAndTimes[2]", "latestStatusDetail", "deliveryDetails",
        "estimatedDeliveryTimeWindow.window.begins", "estimatedDeliveryTimeWindow.window.ends", "additionalTrackingInfo",
    )  # fmt: skip
    assert [one.where for one in unread] == [*(f"{results}[0].{name}" for name in names), f"{results}[2]"]
    assert {one.subject for one in unread} == {"1"}


def test_a_number_of_which_nothing_is_told_is_named(make) -> None:
    source, _ = make("carriers.fedex")
    numbers = [{"trackingNumber": "1", "trackResults": [{}]}, {"trackingNumber": "2"}, {"trackResults": []}]
    body = json.dumps({"output": {"completeTrackResults": numbers}}).encode()

    one, *unread = source.normalize(Payload("a", "poll", (body,), AT, {}))

    assert one.number == "1"
    at = "$.output.completeTrackResults"
    assert [(u.where, u.subject, u.lacks) for u in unread] == [
        (f"{at}[1].trackResults", "2", ""), (f"{at}[2].trackingNumber", "", "all"),
    ]  # fmt: skip


@pytest.mark.parametrize("output", [None, {}, {"completeTrackResults": 7}, {"alerts": "x"}])
def test_an_answer_that_tells_nothing_is_not_no_news(make, output) -> None:
    source, _ = make("carriers.fedex")

    with pytest.raises(BadPayload, match=r"\$\.output"):
        source.normalize(Payload("a", "poll", (json.dumps({"output": output}).encode(),), AT, {}))


def test_an_error_that_comes_with_200_is_an_error(make) -> None:
    source, _ = make("carriers.fedex")
    body = {"transactionId": "t", "errors": [{"code": "SERVICE.UNAVAILABLE.ERROR", "message": "Try later"}]}

    with pytest.raises(Transient, match=r"HTTP 200 with an error: SERVICE\.UNAVAILABLE\.ERROR: Try later"):
        source.raise_for_status(Response(200, {}, json.dumps(body).encode(), AT))


# errors


def refused(status: int, code: str = "", message: str = "", headers: dict[str, str] | None = None) -> Response:
    body = {"transactionId": "t", "errors": [{"code": code, "message": message}]} if code else {}
    return Response(status, headers or {}, json.dumps(body).encode(), AT)


DAILY = "Daily transaction quota exceeded. Retry after 12:00AM GMT"


@pytest.mark.parametrize(
    ("response", "rest"),
    [
        (refused(429, "TOO.MANY.REQUESTS", "We have received too many requests in a short duration."), "0:00:10"),
        (refused(429), "0:00:10"),
        (refused(429, headers={"retry-after": "3"}), "0:00:03"),
        (refused(429, "TOO.MANY.REQUESTS", DAILY), "12:00:00"),
    ],
)
def test_a_throttle_rests_until_its_window_ends_and_a_spent_day_until_midnight(make, response, rest) -> None:
    source, _ = make("carriers.fedex")

    assert AT.isoformat().endswith("T12:00:00+00:00")
    with pytest.raises(RateLimited) as caught:
        source.raise_for_status(response)
    assert str(caught.value.after) == rest


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (401, "NOT.AUTHORIZED.ERROR", CredentialsRejected, "FedEx: HTTP 401: NOT.AUTHORIZED.ERROR: why"),
        (403, "FORBIDDEN.ERROR", CredentialsRejected, "FedEx: HTTP 403: FORBIDDEN.ERROR: why"),
        (400, "BAD.REQUEST.ERROR", Refused, "FedEx: HTTP 400: BAD.REQUEST.ERROR: why"),
        (404, "NOT.FOUND.ERROR", NotFound, "FedEx: HTTP 404: NOT.FOUND.ERROR: why"),
        (500, "INTERNAL.SERVER.ERROR", Transient, "HTTP 500"),
        (503, "SERVICE.UNAVAILABLE.ERROR", Transient, "HTTP 503"),
    ],
)
def test_each_error_of_track_json_is_said_in_its_own_words(make, status, code, error, said) -> None:
    source, _ = make("carriers.fedex")

    with pytest.raises(error) as caught:
        source.raise_for_status(refused(status, code, "why"))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("TRACKING.TRACKINGNUMBER.NOTFOUND", "not_found"),
        ("TRACKING.DATA.NOTFOUND", "not_found"),
        ("TRACKING.TCN.NOTFOUND", "not_found"),
        ("TRACKING.REFERENCENUMBER.NOTFOUND", "not_found"),
        ("TRACKING.TRACKINGNUMBER.EMPTY", "error"),
        ("TRACKING.REFERENCETYPE.INVALID", "error"),
        ("", "error"),
    ],
)
def test_each_error_about_one_number_inside_200_is_of_that_number(make, code, state) -> None:
    report = _result(make, error={"code": code, "message": "Why"})

    assert (report.tracking, report.said) == (state, f"{code}: Why" if code else "Why")
    assert _result(make, error={"code": "", "message": ""}, scanEvents=[OD]).tracking == "active"
    assert (
        len(_result(make, error={"code": code, "message": "Why"}, scanEvents=[OD]).scans) == 1
    )  # it tells all the same


def test_a_number_that_an_answer_about_several_leaves_out_is_told(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    results = [{"trackingNumber": "11", "trackResults": [{"scanEvents": [OD]}]}]
    outside.post(TRACK).respond(json={"output": {"completeTrackResults": results}})
    source, client = make("carriers.fedex")
    (page,) = source.fetch(client, Parcels((Parcel("fedex", "11"), Parcel("fedex", "12"))))
    report, told = source.normalize(Payload("a", "poll", page.parts, AT, {}))

    assert (report.number, report.complete) == ("11", True)
    assert (told.subject, told.problem) == ("12", "tells nothing of a number that was asked about")


def test_a_number_for_which_fedex_refuses_the_whole_call_costs_itself_only(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})

    def answer(request: httpx.Request) -> httpx.Response:
        asked = [i["trackingNumberInfo"]["trackingNumber"] for i in json.loads(request.content)["trackingInfo"]]
        if "13" in asked:
            return httpx.Response(400, json={"errors": [{"code": "TRACKING.TRACKINGNUMBER.NOTFOUND"}]})
        told = [{"trackingNumber": n, "trackResults": [{"scanEvents": [OD]}]} for n in asked]
        return httpx.Response(200, json={"output": {"completeTrackResults": told}})

    track = outside.post(TRACK)
    track.side_effect = answer
    source, client = make("carriers.fedex")
    pages = list(source.fetch(client, Parcels(tuple(Parcel("fedex", str(i)) for i in range(10, 40)))))
    reports = [r for page in pages for r in source.normalize(Payload("a", "poll", page.parts, AT, {}))]

    assert [r.number for r in reports] == [str(i) for i in range(10, 40)]
    assert {r.number: r.tracking for r in reports if not r.scans} == {"13": "not_found"}
    assert len(track.calls) == 11  # in halves: ten beside the one that was refused


def test_an_address_that_is_none_is_no_missing_number(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    outside.post(TRACK).respond(404, json={"errors": [{"code": "NOT.FOUND.ERROR"}]})
    source, client = make("carriers.fedex")

    with pytest.raises(Transient, match=r"nothing answers at https://apis\.fedex\.com/track/v1"):
        list(source.fetch(client, Parcels((Parcel("fedex", "1"),))))


def test_an_answer_of_alerts_alone_is_not_no_news(make) -> None:
    source, _ = make("carriers.fedex")
    output = {"completeTrackResults": [], "alerts": [{"code": "TRACKING.DATA.NOTFOUND", "alertType": "NOTE"}]}

    with pytest.raises(BadPayload, match=r"completeTrackResults: is empty: no reason given"):
        source.normalize(Payload("a", "poll", (b'{"output": {"completeTrackResults": []}}',), AT, {}))
    with pytest.raises(BadPayload, match=r"completeTrackResults: is empty: TRACKING\.DATA\.NOTFOUND"):
        source.normalize(Payload("a", "poll", (json.dumps({"output": output}).encode(),), AT, {}))

"""EasyPost: conformance, signature vectors, requests, and what is its own."""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from pathlib import Path

import httpx
import pytest

from tests.plugins.signing import digest
from tracker.domain.errors import BadPayload, CredentialsRejected, Transient, WebhookRejected
from tracker.domain.facts import Code, Missed, Page, Parcel, Parcels, Payload, Report, Unread
from tracker.domain.vocabulary import Leg, ShippingStatus, TrackingState
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.easypost", fixtures=Path(__file__).parents[1] / "fixtures" / "easypost")
HOST = "https://api.easypost.com/v2"
BODY = b'{"id":"evt_1","result":{"weight":614.4}}'


def sign(body: bytes, secret: str, form: str = "NFKD") -> dict[str, str]:
    key = unicodedata.normalize(form, secret).encode()
    return {"x-hmac-signature": "hmac-sha256-hex=" + hmac.new(key, body, hashlib.sha256).hexdigest()}


def signed(body: bytes) -> dict[str, str]:
    return {"x-hmac-signature": f"hmac-sha256-hex={digest(body).hex()}"}


def check(make, headers: dict[str, str], body: bytes = BODY) -> int:
    source, _ = make("carriers.easypost", webhook_secrets=["sécret", "other-secret"])
    return source.verify(Payload("a", "webhook", (body,), AT, headers))


def test_the_secret_is_normalised_as_easypost_does(make) -> None:
    check(make, sign(BODY, "sécret"))
    with pytest.raises(WebhookRejected):
        check(make, sign(BODY, "sécret", "NFC"))


def test_a_trailing_newline_is_another_body(make) -> None:
    with pytest.raises(WebhookRejected):
        check(make, sign(BODY + b"\n", "sécret"))


def test_one_changed_byte_of_the_body_is_refused(make) -> None:
    headers = sign(BODY, "sécret")
    for i in range(len(BODY)):
        with pytest.raises(WebhookRejected):
            check(make, headers, BODY[:i] + bytes([BODY[i] ^ 1]) + BODY[i + 1 :])


def test_the_old_secret_verifies_while_it_is_rotated(make) -> None:
    assert check(make, sign(BODY, "other-secret")) == 1


def test_the_event_id_is_the_dedupe_key(make) -> None:
    source, _ = make("carriers.easypost")

    assert source.dedupe_key(Payload("a", "webhook", (BODY,), AT, {})) == "evt_1"
    assert source.dedupe_key(Payload("a", "webhook", (b"{",), AT, {})) == hashlib.sha256(b"{").hexdigest()


def test_a_known_tracker_is_asked_by_id_and_another_by_number(outside, make) -> None:
    by_id = outside.get(f"{HOST}/trackers/trk_1").respond(json={})
    by_number = outside.get(f"{HOST}/trackers").respond(json={"trackers": []})
    source, client = make("carriers.easypost")

    list(source.fetch(client, Parcels((Parcel("usps", "N1", their_ref="trk_1"), Parcel(None, "N2")))))

    assert by_id.called
    assert by_number.calls[0].request.url.params["tracking_code"] == "N2"
    assert by_id.calls[0].request.headers["authorization"].startswith("Basic ")


def test_registering_makes_a_tracker_and_keeps_its_id(outside, make) -> None:
    made = outside.post(f"{HOST}/trackers").respond(201, json={"id": "trk_9"})
    source, client = make("carriers.easypost")

    answers = source.register(client, Parcels((Parcel("usps", "N1"), Parcel("unheard", "N2"))))

    assert [a.their_ref for a in answers] == ["trk_9", "trk_9"]
    assert [json.loads(c.request.content) for c in made.calls] == [
        {"tracker": {"tracking_code": "N1", "carrier": "USPS"}},
        {"tracker": {"tracking_code": "N2"}},
    ]


def test_a_wrong_key_fails_the_ping(outside, make) -> None:
    outside.get(f"{HOST}/trackers").respond(401)
    source, client = make("carriers.easypost")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize(
    ("code", "status", "leg"),
    [
        ("delivered/arrived_at_destination", "delivered", Leg.OUTBOUND),
        ("in_transit/arrived_at_destination", "in_transit", Leg.OUTBOUND),
        ("pre_transit/status_update", "pre_transit", Leg.OUTBOUND),
        ("out_for_delivery", "out_for_delivery", Leg.OUTBOUND),
        ("return_to_sender/arrived_at_facility", "returning", Leg.RETURN_TO_SENDER),
        ("return_to_sender/delayed", "delayed", Leg.RETURN_TO_SENDER),
        ("in_transit/damaged", "exception", Leg.OUTBOUND),
    ],
)
def test_the_detail_speaks_first_and_the_status_where_it_says_nothing(make, code: str, status: str, leg: Leg) -> None:
    source, _ = make("carriers.easypost")
    meaning = source.meaning(Code("tracker", code))

    assert (meaning.status, meaning.leg) == (status, leg)


def test_a_status_nobody_knows_is_unknown(make) -> None:
    source, _ = make("carriers.easypost")

    assert source.meaning(Code("tracker", "teleported/in_transit")).status is ShippingStatus.IN_TRANSIT
    assert source.meaning(Code("tracker", "teleported/teleported")) is None


def _all(make, *trackers):
    source, _ = make("carriers.easypost")
    body = json.dumps({"trackers": list(trackers)}).encode()
    items = source.normalize(Payload("a", "poll", (body,), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def _tracker(make, **values):
    tracker = {"tracking_code": "N1", "carrier": "USPS", "status": "unknown", "tracking_details": [], **values}
    (report,), unread = _all(make, tracker)
    assert unread == []
    return report


def test_what_is_said_of_the_tracker_is_not_said_of_the_parcel(make) -> None:
    detail = {"status": "in_transit", "status_detail": "in_transit", "datetime": None}

    assert _tracker(make, status="error").tracking is TrackingState.ERROR
    assert _tracker(make, status="in_transit", status_detail="expired").tracking is TrackingState.EXPIRED
    assert _tracker(make, tracking_details=[detail]).tracking is TrackingState.ACTIVE


def test_a_return_label_of_the_customer_travels_on_its_own_leg(make) -> None:
    detail = {"status": "in_transit", "datetime": "2025-01-01T00:00:00Z"}
    report = _tracker(make, is_return=True, tracking_details=[detail], updated_at="2025-01-01T00:00:00")

    assert report.scans[0].leg is Leg.CUSTOMER_RETURN
    assert report.as_of is not None


@pytest.mark.parametrize(
    ("head", "codes"),
    [
        ({"status": "delivered", "status_detail": "arrived_at_destination"}, ["in_transit", "delivered/arrived_at_destination"]),
        ({"status": "failure"}, ["in_transit", "failure"]),
        ({"status": "teleported"}, ["in_transit", "teleported"]),  # nobody knows it: UNKNOWN, as in a scan
        ({"status": "in_transit", "status_detail": "departed_facility"}, ["in_transit"]),
        ({"status": "unknown"}, ["in_transit"]),
        ({"status": "error"}, ["in_transit"]),
        ({"status": None}, ["in_transit"]),
    ],
)  # fmt: skip
def test_a_status_at_the_head_becomes_a_scan_where_no_detail_carries_it(make, head, codes) -> None:
    detail = {"status": "in_transit", "datetime": "2025-01-01T00:00:00Z"}

    scans = _tracker(make, **head, tracking_details=[detail]).scans

    assert [scan.code.code for scan in scans] == codes
    assert all((scan.local, scan.occurred_at) == (None, None) for scan in scans[1:])


def test_an_estimate_is_the_day_in_its_own_offset(make) -> None:
    for given, begins, ends in (
        ("2025-05-12T00:00:00Z", "2025-05-12T00:00:00+00:00", "2025-05-13T00:00:00+00:00"),
        ("2025-05-12", "2025-05-12T00:00:00+00:00", "2025-05-13T00:00:00+00:00"),
        ("2025-05-12T00:00:00-06:00", "2025-05-12T00:00:00-06:00", "2025-05-13T00:00:00-06:00"),
        (
            "2025-05-12T17:51:57Z",
            "2025-05-12T17:51:57+00:00",
            "2025-05-12T17:51:57+00:00",
        ),  # as the test mode prints it
    ):
        edd = _tracker(make, est_delivery_date=given).edd
        assert (edd.begins.isoformat(), edd.ends.isoformat()) == (begins, ends)


def test_each_odd_piece_of_a_tracker_costs_itself_only(make) -> None:
    detail = {"status": "in_transit", "status_detail": "in_transit", "datetime": "2025-01-01T10:00:00Z"}
    good = {"tracking_code": "N1", "carrier": "USPS", "status": "in_transit", "tracking_details": [detail]}
    odd = {
        "tracking_code": "N2", "carrier": ["USPS"], "status": 1, "updated_at": "just now", "est_delivery_date": "soon",
        "tracking_details": [
            {**detail, "datetime": "9999-12-31T23:59:59-14:00"}, {**detail, "status": 1, "status_detail": {}},
            {**detail, "tracking_location": "AUSTIN"}, "moved",
        ],
    }  # fmt: skip

    (first, second), unread = _all(make, good, odd, {"status": "in_transit"})

    assert (first.number, len(first.scans), first.complete) == ("N1", 1, True)
    assert [scan.code.code for scan in second.scans] == ["in_transit/in_transit", "missing", "in_transit/in_transit"]
    assert second.scans[0].local is None
    assert (second.carrier, second.complete, second.as_of, second.edd) == ("unknown", False, None, None)
    assert [(one.where, one.subject, one.lacks) for one in unread] == [
        *((f"$.trackers[1].{name}", "N2", "") for name in (
            "tracking_details[0].datetime", "tracking_details[1].status", "tracking_details[1].status_detail",
            "tracking_details[2].tracking_location", "tracking_details[3]", "updated_at", "carrier", "status",
            "est_delivery_date",
        )),
        ("$.trackers[2].tracking_code", "", "all"),
    ]  # fmt: skip


@pytest.mark.parametrize("body", [{"trackers": None}, {"trackers": [7]}, {"result": 7}, {"result": {}}])
def test_an_answer_that_tells_nothing_is_not_no_news(make, body) -> None:
    source, _ = make("carriers.easypost")

    with pytest.raises(BadPayload):
        source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))


def test_an_error_that_comes_with_200_is_an_error(make) -> None:
    source, _ = make("carriers.easypost")

    with pytest.raises(Transient, match=r"HTTP 200 with an error: TRACKER\.SLOW: later"):
        source.raise_for_status(Response(200, {}, b'{"error": {"code": "TRACKER.SLOW", "message": "later"}}', AT))
    source.raise_for_status(Response(200, {}, b'{"trackers": [{"status": "error"}]}', AT))


def test_at_its_destination_a_delivered_parcel_is_delivered_and_another_is_where_the_detail_says(make) -> None:
    from carriers import easypost

    easypost._meaning.cache_clear()  # what another test asked says nothing of this one's lines
    source, _ = make("carriers.easypost", webhook_secrets=["s"])
    delivered = source.meaning(Code("status", "delivered/arrived_at_destination"))
    other = source.meaning(Code("status", "in_transit/arrived_at_destination"))

    assert delivered is not None and delivered.status is ShippingStatus.DELIVERED
    assert other is not None and other.status is not ShippingStatus.DELIVERED


def _json(body: dict) -> httpx.Response:
    return httpx.Response(200, json=body)


def _event(ref: str, at: str = "2026-11-02T10:00:00.000Z", description: str = "tracker.updated") -> dict[str, str]:
    return {"id": ref, "object": "Event", "description": description, "created_at": at}


def test_what_was_sent_in_a_span_is_asked_for_event_by_event_newest_first(outside, make) -> None:
    source, client = make("carriers.easypost")
    pages = outside.get(f"{HOST}/events").mock(
        side_effect=[
            _json({"events": [_event("evt_4"), _event("evt_3", description="batch.updated")], "has_more": True}),
            _json({"events": [_event("evt_2"), _event("evt_1", "2026-11-02T07:59:59.000Z")], "has_more": True}),
        ]
    )
    outside.get(f"{HOST}/events/evt_4/payloads").respond(
        json={"payloads": [{"request_body": '{"id":"evt_4"}'}, {"request_body": "x"}]}
    )
    outside.get(f"{HOST}/events/evt_2/payloads").respond(404)
    since, until = AT.replace(hour=8), AT.replace(hour=11)

    told = list(source.resend(client, Missed(since, until, "evt_9")))

    assert told == [Page((b'{"id":"evt_4"}',), "evt_4"), Page((), "evt_3"), Page((), "evt_2")]  # what is older ends it
    first, second = (dict(call.request.url.params) for call in pages.calls)
    span = {"page_size": "100", "start_datetime": "2026-11-02T08:00:00Z", "end_datetime": "2026-11-02T11:00:00Z"}
    assert (first, second) == (span | {"before_id": "evt_9"}, span | {"before_id": "evt_3"})


def test_a_list_of_events_that_is_none_ends_nothing_in_silence(outside, make) -> None:
    source, client = make("carriers.easypost")
    outside.get(f"{HOST}/events").respond(json={"events": [{"id": "evt_1", "created_at": "soon"}]})

    with pytest.raises(BadPayload, match=r"\$\.events\[\]\.created_at"):
        list(source.resend(client, Missed(AT, AT)))


def test_missed_events_end_where_the_list_says_that_there_are_no_more(outside, make) -> None:
    event = {"id": "evt_1", "created_at": AT.isoformat(), "description": "batch.created"}
    asked = outside.get(f"{HOST}/events").respond(json={"events": [event], "has_more": False})
    source, client = make("carriers.easypost")

    assert list(source.resend(client, Missed(AT, AT))) == [Page((), "evt_1")]
    assert asked.call_count == 1

"""UPS: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient, WebhookRejected
from tracker.domain.facts import Parcel, Parcels, Payload, Report, Unread
from tracker.domain.vocabulary import Precision
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

from .conftest import NOW

TestConformance = for_carrier("carriers.ups", fixtures=Path(__file__).parents[1] / "fixtures" / "ups")
HOST = "https://onlinetools.ups.com"
TOKEN = {"token_type": "Bearer", "access_token": "t1", "expires_in": "14399", "issued_at": "1"}


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("ups", n) for n in numbers))


def test_a_poll_asks_for_a_token_once_and_for_each_number(outside, make) -> None:
    token = outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = outside.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(json={"trackResponse": {}})
    source, client = make("carriers.ups", merchant_id="123456")

    assert len(list(source.fetch(client, ask("1Z204W4R0308071865", "1z 999")))) == 2

    assert token.call_count == 1
    sent = token.calls[0].request
    assert sent.content == b"grant_type=client_credentials"
    assert sent.headers["x-merchant-id"] == "123456"
    assert sent.headers["authorization"].startswith("Basic ")
    assert [call.request.url.path for call in track.calls] == [
        "/api/track/v1/details/1Z204W4R0308071865",
        "/api/track/v1/details/1Z999",
    ]
    assert track.calls[0].request.headers["authorization"] == "Bearer t1"
    assert track.calls[0].request.headers["transid"] != track.calls[1].request.headers["transid"]


def test_an_expired_token_is_renewed_once(outside, make) -> None:
    tokens = iter(["t1", "t2"])
    outside.post(f"{HOST}/security/v1/oauth/token").mock(
        side_effect=lambda _: httpx.Response(200, json={**TOKEN, "access_token": next(tokens)})
    )
    outside.get(url__startswith=HOST, headers={"authorization": "Bearer t1"}).respond(401)
    outside.get(url__startswith=HOST, headers={"authorization": "Bearer t2"}).respond(json={"trackResponse": {}})
    source, client = make("carriers.ups")

    assert len(list(source.fetch(client, ask("1Z204W4R0308071865")))) == 1


def test_a_token_that_is_refused_twice_parks_the_account(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.get(url__startswith=HOST).respond(401)
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        list(source.fetch(client, ask("1Z204W4R0308071865")))


def test_a_wrong_client_secret_is_told_as_such(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(400, json={"response": {"errors": [{"code": "10400"}]}})
    source, client = make("carriers.ups")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


@pytest.mark.parametrize(
    ("body", "error"),
    [({}, Transient), ({"access_token": ""}, BadPayload), ({"error": {"message": "later"}}, Transient),
     ({"access_token": "x", "expires_in": "soon"}, BadPayload)],
)  # fmt: skip
def test_a_token_answer_without_its_token_may_pass_and_one_that_cannot_be_read_is_told(
    outside, make, body, error
) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=body)
    source, client = make("carriers.ups")

    with pytest.raises(error):
        source.ping(client)


def test_throttling_says_how_long(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.get(url__startswith=HOST).respond(429, headers={"Retry-After": "7"})
    source, client = make("carriers.ups")

    with pytest.raises(RateLimited) as error:
        list(source.fetch(client, ask("1Z204W4R0308071865")))
    assert error.value.after == timedelta(seconds=7)


def test_registering_splits_what_ups_takes_from_what_it_refuses(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    good, bad = "1Z204W4R0308071865", "1Z204W4R0308071866"
    subscribe = outside.post(f"{HOST}/api/track/v2/subscription/standard/package").respond(
        json={"validTrackingNumbers": [good], "invalidTrackingNumbers": [bad]}
    )
    source, client = make("carriers.ups")

    answers = {a.number: a for a in source.register(client, ask(good, bad, "K1506235620"))}

    assert json.loads(subscribe.calls[0].request.content) == {
        "locale": "en_US", "countryCode": "US", "trackingNumberList": [good, bad],
    }  # fmt: skip
    assert answers[good].until == NOW + timedelta(days=14)
    assert answers[good].refused is None
    assert answers[bad].refused
    assert "1Z and 1R" in answers["K1506235620"].refused


def test_registering_only_what_ups_never_takes_asks_nobody(outside, make) -> None:
    source, client = make("carriers.ups")

    assert [bool(a.refused) for a in source.register(client, ask("K1506235620"))] == [True]


def test_a_subscription_refused_for_all_numbers_is_an_answer_about_each(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    number = "1Z204W4R0308071866"
    outside.post(url__regex=".*/subscription/.*").respond(400, json={"invalidTrackingNumbers": [number]})
    source, client = make("carriers.ups")

    (answer,) = source.register(client, ask(number))
    assert answer.refused


def test_a_subscription_refused_as_a_whole_is_refused(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    outside.post(url__regex=".*/subscription/.*").respond(400, json={"response": {"errors": []}})
    source, client = make("carriers.ups")

    with pytest.raises(Refused):
        source.register(client, ask("1Z204W4R0308071866"))


@pytest.mark.parametrize("secret", ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"])
def test_both_credentials_verify_while_one_is_rotated(make, secret: str) -> None:
    source, _ = make("carriers.ups")

    source.verify(Payload("a", "webhook", (b"{}",), AT, {"credential": secret}))
    with pytest.raises(WebhookRejected):
        source.verify(Payload("a", "webhook", (b"{}",), AT, {"credential": secret + "x"}))


def test_the_credential_may_come_as_a_bearer_token(make) -> None:
    source, _ = make("carriers.ups", webhook_header="Authorization")

    source.verify(Payload("a", "webhook", (b"{}",), AT, {"authorization": "Bearer new-secret-0123456789abcdef"}))


def test_a_scan_without_any_code_is_kept_and_unknown(make) -> None:
    source, _ = make("carriers.ups")
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": {"type": "I"}}
    package = {"trackingNumber": "1Z204W4R0308071865", "activity": [{"date": "20240423"}]}
    poll = {"trackResponse": {"shipment": [{"package": [package]}]}}

    for one in (body, poll):
        (report,) = source.normalize(Payload("a", "webhook", (json.dumps(one).encode(),), AT, {}))
        assert report.scans[0].code.code == "missing"
        assert source.meaning(report.scans[0].code) is None


def test_an_integer_status_code_is_padded(make) -> None:
    source, _ = make("carriers.ups")
    body = {"trackingNumber": "1Z204W4R0308071865", "activityStatus": {"type": "D", "descriptionCode": 11}}

    (report,) = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))
    assert report.scans[0].code.code == "011"


def test_an_alert_with_an_impossible_date_keeps_its_code_and_tells_the_path(make) -> None:
    source, _ = make("carriers.ups")
    body = {
        "trackingNumber": "1Z204W4R0308071865", "localActivityDate": "20240231",
        "activityStatus": {"type": "D", "descriptionCode": "011"},
    }  # fmt: skip

    report, unread = source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {}))

    assert (report.scans[0].code.code, report.scans[0].local, report.scans[0].occurred_at) == ("011", None, None)
    assert (unread.where, unread.subject, unread.lacks) == ("$.localActivityDate", "1Z204W4R0308071865", "")


def test_an_alert_without_a_status_says_nothing(make) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(BadPayload, match="activityStatus"):
        source.normalize(Payload("a", "webhook", (b'{"trackingNumber": "1Z204W4R0308071865"}',), AT, {}))


def poll(make, *packages, inquiry="1Z204W4R0308071865", kind="poll"):
    source, _ = make("carriers.ups")
    body = {"trackResponse": {"shipment": [{"inquiryNumber": inquiry, "package": list(packages)}]}}
    items = source.normalize(Payload("a", kind, (json.dumps(body).encode(),), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def test_an_alternate_number_is_a_last_mile_link_and_an_odd_one_costs_itself(make) -> None:
    package = {
        "trackingNumber": "1Z204W4R0308071865",
        "alternateTrackingNumber": [{"number": "92", "type": "USPS_PIC"}, "x", {}, {"number": 7}],
        "deliveryInformation": {"deliveryPhoto": {"photo": "x"}},
    }  # fmt: skip

    (report,), unread = poll(make, package)

    assert [(link.number, link.relation) for link in report.links] == [("92", "last_mile")]
    assert report.proof.photo
    at = "$.trackResponse.shipment[0].package[0].alternateTrackingNumber"
    assert [one.where for one in unread] == [f"{at}[1]", f"{at}[3].number"]


def activity(code: str, time: str = "112456", **more) -> dict:
    return {"status": {"type": "I", "statusCode": code, "description": code}, "date": "20260821", "time": time, **more}


def test_each_odd_piece_of_a_package_costs_itself_only(make) -> None:
    good = {"trackingNumber": "1Z204W4R0308071865", "activity": [activity("021")]}
    odd = {
        "trackingNumber": "1Z204W4R0308071866",
        "activity": [
            activity("021", location="RENO"),
            activity("005", location={"address": 7}),
            {**activity("003"), "status": "on its way"},
            {**activity("003"), "gmtDate": "00010101", "gmtTime": "112456"},
            {**activity("003"), "status": {"type": "I", "code": "MP", "statusCode": ["003"]}},
            7,
        ],
        "deliveryDate": [{"type": "SDD", "date": "soon"}, {"type": "RDD", "date": "20260822"}],
        "deliveryInformation": "Front Door",
    }  # fmt: skip

    (first, second), unread = poll(make, good, odd)

    assert ([scan.code.code for scan in first.scans], first.complete) == (["021"], True)
    assert [(scan.code.space, scan.code.code) for scan in second.scans] == [
        ("status", "021"), ("status", "005"), ("none", "missing"), ("status", "003"), ("I", "MP"),
    ]  # fmt: skip
    assert [scan.local.hour for scan in second.scans] == [11] * 5
    assert not second.complete  # what it lacks is not withdrawn
    assert second.edd.ends == datetime(2026, 8, 23, tzinfo=UTC)
    at = "$.trackResponse.shipment[0].package[1]"
    assert [one.where for one in unread] == [
        f"{at}.activity[0].location", f"{at}.activity[1].location.address", f"{at}.activity[2].status",
        f"{at}.activity[3].gmtDate", f"{at}.activity[4].status.statusCode", f"{at}.activity[5]",
        f"{at}.deliveryDate[0].date", f"{at}.deliveryInformation",
    ]  # fmt: skip
    assert {one.subject for one in unread} == {"1Z204W4R0308071866"}


def test_a_package_without_a_number_is_the_one_that_was_asked_for_only_where_it_stands_alone(make) -> None:
    (alone,), _ = poll(make, {"activity": [activity("021")]})
    (told,), unread = poll(make, {"activity": [activity("021")]}, {"trackingNumber": "1Z204W4R0308071866"})

    assert alone.number == "1Z204W4R0308071865"
    assert told.number == "1Z204W4R0308071866"
    assert [(one.where, one.lacks) for one in unread] == [
        ("$.trackResponse.shipment[0].package[0].trackingNumber", "all")
    ]


@pytest.mark.parametrize(
    "body", [{"trackResponse": {}}, {"trackResponse": []}, {"trackResponse": {"shipment": "none"}}, {"trackResponse": {"shipment": [{}]}}]
)  # fmt: skip
def test_an_answer_that_tells_nothing_is_not_no_news(make, body) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(BadPayload, match=r"\$\.trackResponse"):
        source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))


DELIVERED = {
    "trackingNumber": "1Z204W4R0308071865",
    "currentStatus": {"type": "D", "code": "FS", "statusCode": "011", "description": "DELIVERED"},
    "deliveryDate": [{"type": "DEL", "date": "20260821"}],
    "deliveryTime": {"type": "DEL", "endTime": "112456"},
}


def test_a_status_that_only_the_head_tells_becomes_a_scan_with_the_time_of_the_delivery(make) -> None:
    (report,), _ = poll(make, {**DELIVERED, "activity": [activity("021", "080000")]})

    assert [(scan.code.code, scan.local) for scan in report.scans] == [
        ("021", datetime(2026, 8, 21, 8)),
        ("011", datetime(2026, 8, 21, 11, 24, 56)),
    ]
    assert report.edd is None


@pytest.mark.parametrize(
    ("time", "odd"),
    [
        (None, []),
        ({"type": "CMT", "endTime": "120000"}, []),
        ("noon", ["deliveryTime"]),
        ({"type": "DEL", "endTime": "noon"}, ["deliveryTime.endTime"]),
    ],
)
def test_a_head_without_the_hour_of_the_delivery_tells_its_day(make, time, odd) -> None:
    (report,), unread = poll(make, {**DELIVERED, "deliveryTime": time})

    assert [(scan.local, scan.precision) for scan in report.scans] == [(datetime(2026, 8, 21), Precision.DATE)]
    assert [one.where for one in unread] == [f"$.trackResponse.shipment[0].package[0].{name}" for name in odd]


def test_a_head_may_hold_the_digits_where_activities_have_letters(make) -> None:
    (report,), _ = poll(make, {**DELIVERED, "currentStatus": {"code": "021", "description": "Out for Delivery"}})

    assert [(scan.code.space, scan.code.code, scan.local) for scan in report.scans] == [("status", "021", None)]


@pytest.mark.parametrize(
    ("current", "codes"),
    [
        ({"type": "D", "statusCode": "011"}, ["011"]),  # the newest scan says it
        ({"type": "D", "code": "M1"}, ["011"]),  # another word for the same status
        ({"type": "X", "code": "ZZ"}, ["011", "ZZ"]),  # nobody knows it: UNKNOWN, as in a scan
        ({"statusCode": "000"}, ["011"]),  # says nothing of where it is
        ("delivered", ["011"]),
    ],
)  # fmt: skip
def test_a_head_makes_a_scan_only_where_it_tells_more_than_the_scans(make, current, codes) -> None:
    (report,), _ = poll(make, {"trackingNumber": "1Z1", "currentStatus": current, "activity": [activity("011")]})

    assert [scan.code.code for scan in report.scans] == codes


def test_a_number_with_a_path_in_it_is_one_segment_or_nothing(outside, make) -> None:
    outside.post(f"{HOST}/security/v1/oauth/token").respond(json=TOKEN)
    track = outside.get(url__startswith=f"{HOST}/api/track/v1/details/").respond(json={"trackResponse": {}})
    source, client = make("carriers.ups")

    list(source.fetch(client, ask("a/b?c")))
    with pytest.raises(Refused):
        list(source.fetch(client, ask("..")))

    assert [call.request.url.raw_path for call in track.calls] == [b"/api/track/v1/details/A%2FB%3FC?locale=en_US"]


@pytest.mark.parametrize(
    "body",
    [b'{"response": {"errors": [{"code": "10429", "message": "Too Many Requests"}]}}', b"\xef\xbb\xbf<html>", b"away"],
)
def test_an_error_that_comes_with_200_is_an_error(make, body) -> None:
    source, _ = make("carriers.ups")

    with pytest.raises(Transient, match="HTTP 200"):
        source.raise_for_status(Response(200, {}, body, AT))

"""ShipRocket: its login, what it is asked, and proofs of delivery."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from tests.plugins.shiprocket import AWB, AWBS, LOGIN, NOTHING, ask, read, told
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Parcel, Proof
from tracker.domain.vocabulary import TrackingState
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT


@pytest.fixture
def logged_in(outside):
    return outside.post(LOGIN).respond(json={"id": 1, "email": "a@b.c", "token": "jwt-1"})


# the login


def test_it_logs_in_once_for_ten_days_and_asks_about_fifty_at_once(outside, logged_in, make) -> None:
    track = outside.post(AWBS).respond(json={"A1": told(("42", "PICKED UP"))})
    source, client = make("carriers.shiprocket", email="api@shop.example", password=SecretStr("p w"))

    pages = list(source.fetch(client, ask(*(f"a{n}" for n in range(51)))))

    assert (len(pages), logged_in.call_count, track.call_count) == (2, 1, 2)
    assert json.loads(logged_in.calls[0].request.content) == {"email": "api@shop.example", "password": "p w"}
    first = track.calls[0].request
    assert (first.headers["authorization"], first.headers["content-type"]) == ("Bearer jwt-1", "application/json")
    assert json.loads(first.content) == {"awbs": [f"A{n}" for n in range(50)]}
    assert source._grant(client).ends_at == client.now() + timedelta(days=10) == client.now() + source.token_lasts


def test_a_token_that_ended_is_asked_anew_once(outside, make) -> None:
    tokens = iter(["t1", "t2"])
    login = outside.post(LOGIN).mock(side_effect=lambda _: httpx.Response(200, json={"token": next(tokens)}))
    outside.post(AWBS, headers={"authorization": "Bearer t1"}).respond(401, json={"message": "Token has expired"})
    outside.post(AWBS, headers={"authorization": "Bearer t2"}).respond(json={})
    source, client = make("carriers.shiprocket")

    assert len(list(source.fetch(client, ask("A1")))) == 1
    assert login.call_count == 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"message": "Invalid email and password combination.", "status_code": 400}),
        (401, {"message": "Unauthorized"}),
        (403, {"message": "Forbidden"}),
        (422, {"message": "Oops! Invalid Data.", "errors": {"email": ["required"]}}),
        (200, {"message": "Invalid email and password combination.", "status_code": 400}),
        (200, {"message": "User blocked due to too many failed login attempts"}),
    ],
)
def test_a_login_that_is_refused_is_of_the_credentials_and_not_tried_again(outside, make, status, body) -> None:
    login = outside.post(LOGIN).respond(status, json=body)
    source, client = make("carriers.shiprocket", email="api@shop.example", password=SecretStr("canary-p"))

    with pytest.raises(CredentialsRejected, match=r"refuses the login of api@shop\.example") as error:
        source.ping(client)

    assert login.call_count == 1
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "error"), [(404, Unavailable), (429, RateLimited), (500, Transient), (503, Transient)]
)
def test_a_login_that_nobody_answers_says_nothing_of_the_credentials(outside, make, status, error) -> None:
    login = outside.post(LOGIN).respond(status, json={"message": "no", "status_code": status})
    source, client = make("carriers.shiprocket")

    with pytest.raises(error):
        source.ping(client)
    assert login.call_count == 1


def test_an_api_user_that_may_not_track_is_told_which_module_it_needs(outside, logged_in, make) -> None:
    outside.post(AWBS).respond(403, json={"message": "You are not allowed"})
    source, client = make("carriers.shiprocket")

    with pytest.raises(CredentialsRejected, match=r"You are not allowed: the panel .* says which modules"):
        source.ping(client)


def test_a_ping_is_believed_by_an_answer_about_awbs_only(outside, logged_in, make) -> None:
    track = outside.post(AWBS)
    source, client = make("carriers.shiprocket")
    for fine in ({}, [], {"0": NOTHING}):
        track.respond(json=fine)
        source.ping(client)
    for other in ({"status": "ok"}, {"message": "hello"}, [1]):
        track.respond(json=other)
        with pytest.raises(Transient):
            source.ping(client)
    track.respond(404, json={"message": "404 Not Found", "status_code": 404})
    with pytest.raises(Transient, match="for 1 AWBs together"):
        source.ping(client)
    one = outside.get(f"{AWB}0")
    source, client = make("carriers.shiprocket", numbers_per_call=1)
    for fine in ({"json": NOTHING}, {"status_code": 404, "json": {"message": "404 Not Found"}}):
        one.respond(**fine)
        source.ping(client)


# asking


def test_who_is_not_known_is_left_out_of_an_answer_and_told_all_the_same(outside, logged_in, make) -> None:
    outside.post(AWBS).respond(json={"A1": told(("42", "PICKED UP")), "A2": NOTHING})
    source, client = make("carriers.shiprocket")

    (page,) = source.fetch(client, ask("A1", "A2", "a-3"))
    reports, unread = read(source, page.parts[0], "poll", *page.parts[1:])

    assert [(one.number, one.carrier, one.tracking, len(one.scans)) for one in reports] == [
        ("A1", "delhivery", TrackingState.ACTIVE, 1),
        ("A2", "unknown", TrackingState.NOT_FOUND, 0),
        ("A-3", "unknown", TrackingState.NOT_FOUND, 0),
    ]
    assert (reports[1].said, unread) == ("Aahh! There is no activities found in our DB.", [])


@pytest.mark.parametrize("body", [{}, []])
def test_an_empty_answer_is_of_nobody_and_no_error(outside, logged_in, make, body) -> None:
    outside.post(AWBS).respond(json=body)
    source, client = make("carriers.shiprocket")

    (page,) = source.fetch(client, ask("A1", "A2"))

    assert page.parts == (b'{"asked":["A1","A2"]}',) * 2
    assert [one.tracking for one in read(source, page.parts[0], "poll", page.parts[1])[0]] == [
        TrackingState.NOT_FOUND
    ] * 2


def test_one_at_a_time_nothing_and_404_are_no_errors(outside, logged_in, make) -> None:
    outside.get(f"{AWB}A1").respond(json=NOTHING)
    outside.get(f"{AWB}A%2F2").respond(404, json={"message": "404 Not Found", "status_code": 404})
    outside.get(f"{AWB}A3").respond(json={"message": "404 Not Found", "status_code": 404})
    source, client = make("carriers.shiprocket", numbers_per_call=1)

    pages = list(source.fetch(client, ask("A1", "A/2", "A3")))

    found = [report for page in pages for report in read(source, page.parts[0], "poll", *page.parts[1:])[0]]
    assert [(one.number, one.tracking) for one in found] == [(n, TrackingState.NOT_FOUND) for n in ("A1", "A/2", "A3")]


def test_a_refusal_of_several_does_not_say_whose_so_each_is_asked_about_alone(outside, logged_in, make) -> None:
    outside.post(AWBS).respond(422, json={"message": "Oops! Invalid Data."})
    alone = outside.get(url__startswith=AWB).respond(json=NOTHING)
    source, client = make("carriers.shiprocket")

    assert len(list(source.fetch(client, ask("A1", "A2")))) == 2
    assert alone.call_count == 2
    invalid = httpx.Response(422, json={"message": "Oops! Invalid Data."})
    alone.mock(side_effect=[invalid, httpx.Response(200, json=NOTHING)])
    pages = list(source.fetch(client, ask("A1", "A2")))
    found = [report for page in pages for report in read(source, page.parts[0], "poll", *page.parts[1:])[0]]
    assert {one.number: one.said for one in found}["A1"] == "HTTP 422: Oops! Invalid Data."
    assert {one.number for one in found} == {"A1", "A2"}, "what is refused of one costs itself only"
    alone.mock(side_effect=[invalid, invalid])
    with pytest.raises(Refused, match="Oops! Invalid Data"):
        list(source.fetch(client, ask("A1", "A2")))
    with pytest.raises(Refused, match="Oops! Invalid Data"):
        list(source.fetch(client, ask("A1")))


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, CredentialsRejected), ("401", CredentialsRejected), (403, CredentialsRejected), (404, Transient), (422, Refused), (429, RateLimited), (500, Transient), (None, Transient), ("x", Transient)],
)  # fmt: skip
def test_an_error_that_comes_with_200_is_one(outside, logged_in, make, status, error) -> None:
    outside.post(AWBS).respond(json={"message": "no", "status_code": status})
    outside.get(url__startswith=AWB).respond(json={"message": "no", "status_code": status})
    source, client = make("carriers.shiprocket")

    with pytest.raises(error, match="no"):
        list(source.fetch(client, ask("A1")))


def test_what_is_no_error_body_is_left_to_the_parser(make) -> None:
    source, _ = make("carriers.shiprocket")
    for body in (b'{"message": ""}', b'["message"]', b'[{"tracking_data": {"message": "a"}}]'):
        source.raise_for_status(Response(200, {}, body, AT))
    with pytest.raises(Unavailable):
        source.raise_for_status(Response(200, {"content-type": "text/html"}, b"<html>", AT))
    with pytest.raises(BadPayload):
        source.raise_for_status(Response(200, {}, b'{"message": ', AT))


# the proof

KEPT = "https://s3-ap-southeast-1.amazonaws.com/kr-shipmultichannel/courier/51/pod/A1.png"


def proven(**track):
    return {"tracking_data": {"track_status": 1, "shipment_status": 7, "shipment_track": [{"awb_code": "A1", **track}]}}


def test_a_proof_is_fetched_from_where_they_are_kept_without_our_token(outside, logged_in, make) -> None:
    track = outside.get(f"{AWB}A1").respond(json=proven(pod="Available", pod_status=KEPT))
    kept = outside.get(KEPT).respond(content=b"\x89PNG\r\n\x1a\nx", headers={"content-type": "text/plain"})
    source, client = make("carriers.shiprocket")

    document = source.proof(client, Parcel("xpressbees", "A1"), None)

    assert (document.kind, document.content[:4], track.call_count) == ("image/png", b"\x89PNG", 1)
    assert "authorization" not in kept.calls[0].request.headers
    (report,), _ = read(source, proven(pod=KEPT, pod_status="OTP Based Delivery"))
    assert report.proof == Proof(photo=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x.png", "http://s3-ap-southeast-1.amazonaws.com/kr-shipmultichannel/x.png",
        "https://s3-ap-southeast-1.amazonaws.com/another-bucket/x.png",
        "https://s3-ap-southeast-1.amazonaws.com.evil.example/kr-shipmultichannel/x.png",
        "https://s3-ap-southeast-1.amazonaws.com@evil.example/kr-shipmultichannel/x.png", "https://",
    ],
)  # fmt: skip
def test_from_anywhere_else_none_is_fetched(outside, logged_in, make, url) -> None:
    outside.get(f"{AWB}A1").respond(json=proven(pod_status=url))
    source, client = make("carriers.shiprocket")

    with pytest.raises(Refused, match="from where none is fetched: pod_urls"):
        source.proof(client, Parcel("xpressbees", "A1"), None)


def test_none_yet_and_what_is_no_picture(outside, logged_in, make) -> None:
    track = outside.get(f"{AWB}A1")
    source, client = make("carriers.shiprocket")
    for body in (proven(pod="Not Available", pod_status=""), NOTHING, {"tracking_data": {"shipment_track": "x"}}):
        track.respond(json=body)
        with pytest.raises(NotFound):
            source.proof(client, Parcel("xpressbees", "A1"), None)
    track.respond(json=proven(pod_status=KEPT))
    for content in (b"<html>", b"", b"\x89PNG\r\n\x1a\n" + b"x\n" * (11 << 20)):
        outside.get(KEPT).respond(content=content, headers={"content-length": str(len(content))})
        with pytest.raises(BadPayload):
            source.proof(client, Parcel("xpressbees", "A1"), None)


def test_where_proofs_are_kept_is_a_whole_address(make) -> None:
    assert make("carriers.shiprocket", pod_urls=("https://pods.example/",))[0].stream_hosts == ("pods.example",)
    for wrong in (
        "https://pods.example",
        "pods.example/",
        "ftp://pods.example/",
        "https://a@pods.example/",
        "https://pods.example/?x",
    ):
        with pytest.raises(ValidationError, match="is no https://host/"):
            make("carriers.shiprocket", pod_urls=(wrong,))

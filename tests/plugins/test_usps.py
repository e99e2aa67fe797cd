"""USPS: conformance, the token and its scope, requests of both versions, errors, subscriptions, callbacks and their challenge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins.conftest import NOW
from tests.plugins.signing import SECRET
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    WebhookRejected,
)
from tracker.domain.facts import Parcel, Parcels, Payload, Refs, Report
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.usps", fixtures=Path(__file__).parents[1] / "fixtures" / "usps")
HOST = "https://apis.usps.com"
NUMBER, OTHER = "9400111206206406260787", "9400111206206406260794"
TOKEN = {"access_token": "t", "expires_in": "28799", "scope": "tracking subscriptions-tracking"}
HOOK = "0123456789abcdef0123456789ABCDEF"


def wrapped(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return an envelope around any data, in three parts: only the middle one is signed."""
    before, after = b'{"subscriptionId":"s","timestamp":"2026-11-20T19:03:00Z","payload":"', b'","links":[]}'
    return before, base64.b64encode(data), after


def signed(body: bytes, secret: bytes = SECRET) -> dict[str, str]:
    envelope = json.loads(body)
    text = f"{envelope['timestamp']}{envelope['payload']}".encode()
    return {"x-hmac": base64.b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode()}


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("usps", n) for n in numbers))


def error(code: str, said: str = "said") -> dict[str, Any]:
    return {"apiVersion": "x", "error": {"code": "400", "message": said, "errors": [{"status": "400", "code": code}]}}


@pytest.fixture
def token(outside):
    given = itertools.count(1)
    return outside.post(f"{HOST}/oauth2/v3/token").mock(
        side_effect=lambda _: httpx.Response(200, json={**TOKEN, "access_token": f"t{next(given)}"})
    )


def test_v3_asks_for_the_details_of_one_number_a_call(outside, token, make) -> None:
    asked = outside.get(f"{HOST}/tracking/v3/tracking/{NUMBER}").respond(json={"trackingNumber": NUMBER})
    source, client = make("carriers.usps")

    assert len(list(source.fetch(client, ask(NUMBER, NUMBER)))) == 2
    assert json.loads(token.calls[0].request.content) == {
        "client_id": "canary-client_id", "client_secret": "canary-client_secret", "grant_type": "client_credentials", "scope": "tracking",
    }  # fmt: skip
    assert (token.call_count, source.batch) == (1, 1)
    assert dict(asked.calls[0].request.url.params) == {"expand": "DETAIL"}
    assert asked.calls[0].request.headers["authorization"] == "Bearer t1"


def test_v3r2_asks_about_35_numbers_a_call_and_says_nothing_else(outside, token, make) -> None:
    asked = outside.post(f"{HOST}/tracking/v3r2/tracking").respond(207, json=[{"trackingNumber": NUMBER}])
    source, client = make("carriers.usps", version="v3r2")
    numbers = [f"94001112062064{i:08}" for i in range(36)]

    assert len(list(source.fetch(client, ask(*numbers)))) == 2
    assert [len(json.loads(call.request.content)) for call in asked.calls] == [35, 1]
    assert json.loads(asked.calls[1].request.content) == [{"trackingNumber": numbers[-1]}]
    assert source.batch == 35


@pytest.mark.parametrize("scope", ["", "prices labels"])
def test_a_token_without_the_scope_for_tracking_is_told_plainly(outside, make, scope: str) -> None:
    outside.post(f"{HOST}/oauth2/v3/token").respond(json={**TOKEN, "scope": scope})
    source, client = make("carriers.usps")

    with pytest.raises(
        CredentialsRejected, match=r"not tracking: ask USPS for the API product Tracking: developers.usps.com"
    ):
        source.ping(client)


def test_a_token_that_names_no_scope_is_taken_and_the_number_that_nobody_has_tells(outside, make) -> None:
    outside.post(f"{HOST}/oauth2/v3/token").respond(json={"access_token": "t", "expires_in": 28799})
    asked = outside.get(f"{HOST}/tracking/v3/tracking/9400100000000000000006").respond(400, json=error("150002"))
    source, client = make("carriers.usps", **PUSH)
    source.ping(client)
    assert asked.call_count == 1
    assert list(source.look_around(client)) == [], "which scopes it has is not told"


@pytest.mark.parametrize(
    ("version", "status", "answer", "raised", "said"),
    [
        ("v3", 200, {"trackingNumber": "9400100000000000000006", "statusCategory": "Delivered"}, None, ""),
        ("v3", 400, error("150010"), None, ""), ("v3r2", 404, error("150006"), None, ""),
        ("v3r2", 207, [{"trackingNumber": "9400100000000000000006", "statusCode": "404", **error("150001")}], None, ""),
        ("v3", 400, {"error": {"code": "OASValidation", "message": "x"}}, CredentialsRejected, "try the other `version`"),
        ("v3", 401, {}, CredentialsRejected, "HTTP 401; the token was given, so the product may be missing: ask USPS for the API product Tracking"),
        ("v3", 403, {"error": {"message": "Insufficient scope"}}, CredentialsRejected, "Insufficient scope: ask USPS for the API product Tracking"),
        ("v3", 404, {}, Transient, "is the `base_url` right"), ("v3", 200, {"ok": True}, BadPayload, "trackingEvents: is missing"),
        ("v3", 200, [], BadPayload, "tells nothing of a number that was asked about"),
    ],
)  # fmt: skip
def test_a_ping_is_believed_by_an_answer_about_a_number_alone(
    outside, token, make, version: str, status: int, answer: Any, raised: type[Exception] | None, said: str
) -> None:
    outside.route(url__regex=".*/tracking/v3.*").respond(status, json=answer)
    source, client = make("carriers.usps", version=version)
    if raised is None:
        source.ping(client)
        return
    with pytest.raises(raised, match=said):
        source.ping(client)


def test_a_wrong_secret_is_told_as_one_and_no_product_is_asked_for(outside, make) -> None:
    said = {"error": {"code": "401", "message": "The client application identifier is invalid."}}
    outside.post(f"{HOST}/oauth2/v3/token").respond(401, json=said)
    source, client = make("carriers.usps")
    for ask_it in (source.ping, lambda c: list(source.fetch(c, ask(NUMBER)))):
        with pytest.raises(
            CredentialsRejected, match=r"^token endpoint: USPS: 401: The client application identifier is invalid.$"
        ):
            ask_it(client)


def test_pushes_without_their_product_are_told_by_tracker_check(outside, make) -> None:
    outside.post(f"{HOST}/oauth2/v3/token").respond(json={**TOKEN, "scope": "tracking prices"})
    outside.get(url__regex=".*/tracking/v3/.*").respond(400, json=error("150001"))
    source, client = make("carriers.usps", **PUSH)
    source.ping(client)
    (note,) = source.look_around(client)
    assert "no scope subscriptions-tracking" in note
    assert "ask USPS for the API product Subscriptions - Tracking" in note
    assert list(make("carriers.usps")[0].look_around(client)) == []


@pytest.mark.parametrize(
    ("settings", "needs"),
    [({}, "webhook_secrets"), ({"webhook_secrets": ["s"]}, "callback_url"), ({"callback_url": "https://x", "webhook_secrets": ["s"]}, "")],
)  # fmt: skip
def test_pushes_need_an_address_and_a_secret(make, settings: dict[str, Any], needs: str) -> None:
    assert make("carriers.usps", **{"webhook_secrets": [], **settings})[0].webhooks_need() == needs


def test_a_revoked_token_is_asked_anew_once(outside, token, make) -> None:
    outside.get(url__regex=".*/tracking/.*").mock(
        side_effect=[httpx.Response(401, json={}), httpx.Response(200, json={"trackingNumber": NUMBER})]
    )
    source, client = make("carriers.usps")
    list(source.fetch(client, ask(NUMBER)))

    assert token.call_count == 2


@pytest.mark.parametrize("code", ["150001", "150002", "150003", "150004", "150009"])
def test_a_number_that_is_not_yet_known_is_a_400_and_no_failure(outside, token, make, code: str) -> None:
    outside.get(url__regex=".*/tracking/.*").respond(400, json=error(code))
    source, client = make("carriers.usps")
    with pytest.raises(NotFound):
        list(source.fetch(client, ask(NUMBER)))


def test_a_400_for_a_whole_batch_says_of_nobody_that_he_is_unknown(outside, token, make) -> None:
    outside.post(url__regex=".*/v3r2/tracking").respond(400, json=error("150001"))
    source, client = make("carriers.usps", version="v3r2")
    with pytest.raises(Transient, match="for 2 numbers together"):
        list(source.fetch(client, ask(NUMBER, OTHER)))
    with pytest.raises(NotFound):
        list(source.fetch(client, ask(NUMBER)))
    outside.post(url__regex=".*/v3r2/tracking").respond(400, json=error("150008"))
    with pytest.raises(Transient, match="for 2 numbers together"):
        list(source.fetch(client, ask(NUMBER, OTHER)))


def test_a_404_of_v3r2_says_that_no_number_is_known_yet(outside, token, make) -> None:
    """USPS/api-examples, issue 82: an empty message, the words in the detail, with tags; the code is that of another thing in v3."""
    detail = "A status update is not yet available for your package. Sign up for Informed Delivery<SUP>&reg;</SUP>"
    body = error("150006", "")
    body["error"]["errors"][0]["detail"] = detail
    body["error"]["errors"].insert(0, None)
    outside.post(url__regex=".*/v3r2/tracking").respond(404, json=body)
    source, client = make("carriers.usps", version="v3r2")
    with pytest.raises(
        NotFound,
        match=r"USPS: 150006: A status update is not yet available for your package. Sign up for Informed Delivery&reg;",
    ):
        list(source.fetch(client, ask(NUMBER, OTHER)))


def test_fraudulent_postage_is_news_of_its_parcel(outside, token, make) -> None:
    outside.get(url__regex=".*/tracking/.*").respond(400, json=error("150012", "Fraudulent postage"))
    source, client = make("carriers.usps")
    (page,) = source.fetch(client, ask(NUMBER))
    (report,) = source.normalize(Payload("a", "poll", page.parts, AT))

    assert isinstance(report, Report)
    assert (report.number, report.tracking) == (NUMBER, "error")
    meaning = source.meaning(report.scans[0].code)
    assert (meaning.status, meaning.reason) == ("exception", "seized")


@pytest.mark.parametrize(
    ("code", "state"),
    [("150006", "unsupported"), ("150007", "unsupported"), ("150008", "unsupported"), ("150010", "error"), ("150011", "unsupported")],
)  # fmt: skip
def test_what_a_400_says_of_a_number_is_told_of_it_and_moves_nothing(
    outside, token, make, code: str, state: str
) -> None:
    outside.get(url__regex=".*/tracking/.*").respond(400, json=error(code, "It may belong to another shipper"))
    source, client = make("carriers.usps")
    (page,) = source.fetch(client, ask(NUMBER))
    (report,) = source.normalize(Payload("a", "poll", page.parts, AT))
    assert (report.number, str(report.tracking), report.scans) == (NUMBER, state, ())
    assert "another shipper" in report.said


def test_a_number_of_a_list_of_which_nothing_is_told_is_told(outside, token, make) -> None:
    outside.post(f"{HOST}/tracking/v3r2/tracking").respond(json=[{"trackingNumber": NUMBER, "trackingEvents": []}])
    source, client = make("carriers.usps", version="v3r2")
    (page,) = source.fetch(client, ask(NUMBER, OTHER))
    report, unread = source.normalize(Payload("a", "poll", page.parts, AT))

    assert (report.number, unread.subject) == (NUMBER, OTHER)
    assert unread.problem == "tells nothing of a number that was asked about"


@pytest.mark.parametrize("version", ["v3", "v3r2"])
def test_a_number_that_comes_back_without_its_420_and_zip_code_is_the_one_that_was_asked(
    outside, token, make, version
) -> None:
    body: Any = {"trackingNumber": NUMBER, "trackingEvents": [{"eventCode": "10"}]}
    outside.route(url__regex=".*/tracking/v3.*").respond(json=[body] if version == "v3r2" else body)
    source, client = make("carriers.usps", version=version)
    (page,) = source.fetch(client, ask(f"42002540{NUMBER}"))
    (report,) = source.normalize(Payload("a", "poll", page.parts, AT))
    assert report.number == f"42002540{NUMBER}"


def test_a_number_that_v3r2_would_not_take_keeps_no_other_one_back(outside, token, make) -> None:
    """Copies of its contract: 4 to 34 letters and digits; another is refused with the whole batch."""
    asked = outside.post(f"{HOST}/tracking/v3r2/tracking").respond(
        json=[{"trackingNumber": NUMBER, "trackingEvents": []}]
    )
    source, client = make("carriers.usps", version="v3r2")
    pages = list(source.fetch(client, ask("A.1_B", NUMBER, "9" * 40)))
    reports = [one for page in pages for one in source.normalize(Payload("a", "poll", page.parts, AT))]

    assert json.loads(asked.calls[0].request.content) == [{"trackingNumber": NUMBER}]
    assert {one.number: str(one.tracking) for one in reports} == {
        "A.1_B": "invalid_number", "9" * 40: "invalid_number", NUMBER: "active",
    }  # fmt: skip
    assert "4 to 34 letters and digits" in reports[0].said
    assert [one.parts for one in source.fetch(client, ask("A.1_B"))] == [pages[0].parts]
    assert asked.call_count == 1


@pytest.mark.parametrize(
    ("status", "body", "raised", "said"),
    [
        (400, error("140001", "The request is wrong"), Refused, "The request is wrong"), (400, {}, Refused, "HTTP 400"),
        (400, {"error": {"code": "OASValidation", "message": "x"}}, CredentialsRejected, "try the other `version`"),
        (401, {"error": {"message": "The client application identifier is invalid."}}, CredentialsRejected, "identifier is invalid"),
        (401, {}, CredentialsRejected, "HTTP 401"),
        (401, {"error": {"message": "Insufficient OAuth scope"}}, CredentialsRejected, "ask USPS for the API product Tracking"),
        (403, {}, CredentialsRejected, "HTTP 403"), (404, {}, Transient, "is the `base_url` right"), (404, error("150001", "no such"), NotFound, "no such"),
        (200, error("150001", "not yet"), NotFound, "not yet"), (429, {}, RateLimited, "HTTP 429"), (503, {}, Transient, "HTTP 503"),
        (200, {"error": {"message": "busy"}}, Transient, "busy"),
    ],
)  # fmt: skip
def test_what_an_error_says(outside, token, make, status: int, body: dict, raised: type[Exception], said: str) -> None:
    outside.get(url__regex=".*/tracking/.*").respond(status, json=body)
    source, client = make("carriers.usps")
    with pytest.raises(raised, match=said):
        list(source.fetch(client, ask(NUMBER)))


def test_too_many_requests_rest_as_long_as_it_says(outside, token, make) -> None:
    body = {"error": {"code": "429", "errors": [{"title": "Too Many Requests.", "source": {"APIProduct": "x"}}]}}
    outside.get(url__regex=".*/tracking/.*").respond(429, json=body, headers={"Retry-After": "1200"})
    source, client = make("carriers.usps")
    with pytest.raises(RateLimited) as raised:
        list(source.fetch(client, ask(NUMBER)))
    assert raised.value.after == timedelta(minutes=20)


PUSH = {"callback_url": "https://t.example/usps", "webhook_secrets": [HOOK]}


def test_a_mailer_id_is_subscribed_once_for_all_its_parcels_and_again_before_30_days(outside, token, make) -> None:
    made = outside.post(f"{HOST}/subscriptions-tracking/v3/subscriptions").respond(201, json={"subscriptionId": "s1"})
    source, client = make("carriers.usps", **PUSH, mid="900000001", admin_email="ops@shop.example")
    for numbers in ((NUMBER, OTHER), ("9400111206206406260800",)):
        answers = source.register(client, ask(*numbers))
        assert [(a.number, a.until) for a in answers] == [(n, NOW + timedelta(days=30)) for n in numbers]

    assert [json.loads(call.request.content) for call in made.calls] == [
        {
            "listenerURL": "https://t.example/usps", "secret": HOOK, "adminNotification": [{"email": "ops@shop.example"}],
            "filterProperties": {"MID": "900000001", "trackingEventTypes": ["ALL"]},
        }
    ]  # fmt: skip
    assert json.loads(token.calls[0].request.content)["scope"] == "tracking subscriptions-tracking"
    source._subscribed_until = NOW + timedelta(days=1)
    source.register(client, ask(NUMBER))
    assert made.call_count == 2


def test_without_a_mailer_id_each_number_is_subscribed_as_the_settings_say(outside, token, make) -> None:
    made = outside.post(f"{HOST}/subscriptions-tracking/v3r2/subscriptions").respond(200, content=b"")
    path = "/subscriptions-tracking/v3r2/subscriptions"
    source, client = make("carriers.usps", **PUSH, subscriptions_path=path, event_types=["ALL_UPDATES"])
    (answer,) = source.register(client, ask(NUMBER))

    assert json.loads(made.calls[0].request.content)["filterProperties"] == {
        "trackingNumber": NUMBER, "trackingEventTypes": ["ALL_UPDATES"],
    }  # fmt: skip
    assert (answer.their_ref, answer.refused) == (None, None)


def test_polls_go_on_where_the_subscription_is_not_in_the_scope(outside, token, make) -> None:
    said = {"error": {"message": "Insufficient OAuth scope"}}
    outside.post(url__regex=".*/subscriptions").respond(401, json=said)
    source, client = make("carriers.usps", **PUSH)
    with pytest.raises(
        Refused, match="Insufficient OAuth scope: ask USPS for the API product Subscriptions - Tracking"
    ):
        source.register(client, ask(NUMBER))
    assert token.call_count == 1, "another token would have no more scopes"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**PUSH}, []),
        ({**PUSH, "webhook_secrets": ["short"]}, ["webhook_secrets"]),
        ({"webhook_secrets": ["short"]}, []),
    ],
)
def test_a_secret_that_usps_does_not_take_is_told_before_each_number_is_refused_for_it(make, settings, told) -> None:
    source, _ = make("carriers.usps", **settings)
    remarks = list(source.examine(lambda _: b"", {}))

    assert [(remark.place[0], remark.wrong) for remark in remarks] == [(key, False) for key in told]
    assert not any("short" in remark.said for remark in remarks)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [({}, None), ({"callback_url": "https://x"}, "exactly 32"), ({**PUSH, "webhook_secrets": []}, None)],
)
def test_registering_asks_nobody_without_an_address_and_a_secret_of_32_characters(make, settings, refused) -> None:
    source, client = make("carriers.usps", **settings)
    if refused:
        with pytest.raises(Refused, match=refused):
            source.register(client, ask(NUMBER))
    else:
        assert [a.until for a in source.register(client, ask(NUMBER))] == [None]
    assert source.register(client, Refs(("x",))) == []


@pytest.mark.parametrize("reply", ["text", "json"])
def test_a_challenge_is_echoed_by_get_and_by_post(make, reply: str) -> None:
    source, _ = make("carriers.usps", challenge_reply=reply)
    echoed = b"abc-1" if reply == "text" else b'{"challenge":"abc-1"}'
    for body, query in ((b"", {"challenge": "abc-1"}), (b'{"challenge": "abc-1"}', {})):
        assert source.handshake(Payload("a", "webhook", (body,), AT, {}, query)).body == echoed
    for body, query in (
        (b'{"challenge": "x", "payload": "y"}', {}),
        (b"", {}),
        (b'{"challenge": 1}', {}),
        (b"", {"challenge": "x" * 201}),
    ):
        assert source.handshake(Payload("a", "webhook", (body,), AT, {}, query)) is None


VECTOR = (
    '{"subscriptionId":"0b8f","subscriptionType":"TRACKING","timestamp":"2026-11-20T19:03:00Z","payload":'
    '"{\\"trackingNumber\\":\\"9400100000000000000000\\",\\"eventCity\\":\\"SAN JOSÉ\\"}","links":[]}'
).encode()


def check(make, body: bytes, headers: dict[str, str]) -> int:
    source, _ = make("carriers.usps", webhook_secrets=[HOOK, "old"])
    return source.verify(Payload("a", "webhook", (body,), AT, headers))


def test_the_payload_is_signed_as_it_came_whatever_stands_around_it(make) -> None:
    proof = signed(VECTOR, HOOK.encode())
    again = VECTOR.replace(b',"', b', "').replace(b"0b8f", b"ffff")
    assert (
        check(make, VECTOR, proof)
        == check(make, VECTOR, {"hmac-header": proof["x-hmac"]})
        == check(make, again, proof)
        == 0
    )
    assert check(make, VECTOR, signed(VECTOR, b"old")) == 1
    source, _ = make("carriers.usps")
    assert len({source.dedupe_key(Payload("a", "webhook", (body,), AT)) for body in (VECTOR, again)}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        VECTOR.replace(b"19:03:00", b"19:03:01"), VECTOR.replace(b"9400100", b"9400101"), VECTOR.replace(b'"timestamp"', b'"when"'),
        VECTOR.replace(b'\\":', b'\\": '), b"[]", b"{", b"{}",
    ],
)  # fmt: skip
def test_a_changed_time_or_payload_is_refused(make, changed: bytes) -> None:
    with pytest.raises(WebhookRejected):
        check(make, changed, signed(VECTOR, HOOK.encode()))


def test_a_challenge_in_a_broken_body_is_not_echoed(make) -> None:
    source, _ = make("carriers.usps")

    assert source.handshake(Payload("a", "webhook", (b'{"challenge": "abc"',), AT, {}, {})) is None


def test_what_no_body_can_hold_is_left_out_of_a_number(outside, token, make) -> None:
    asked = outside.post(f"{HOST}/tracking/v3r2/tracking").respond(207, json=[{"trackingNumber": NUMBER}])
    source, client = make("carriers.usps", version="v3r2")

    list(source.fetch(client, ask(f"{NUMBER}\ud800")))
    assert json.loads(asked.calls[0].request.content) == [{"trackingNumber": NUMBER}]


def test_a_400_that_cannot_be_read_is_refused(make) -> None:
    source, _ = make("carriers.usps")

    with pytest.raises(Refused, match="HTTP 400"):
        source.raise_for_status(Response(400, {}, b'{"error": ', AT))

"""FedEx's pushes (Advanced Integrated Visibility): who sent them, which are the same, and how they are told again after an outage."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import httpx
import pytest

from tests.plugins.test_fedex import HOST, OD, signed
from tracker.domain.errors import Refused, WebhookRejected
from tracker.domain.facts import Missed, Payload
from tracker.plugin.conformance import AT

BODY = b'{"trackResults": []}'


def check(make, body: bytes, headers: dict[str, str]) -> int:
    source, _ = make("carriers.fedex", webhook_secrets=["token", "older"])
    return source.verify(Payload("a", "webhook", (body,), AT, headers))


def sign(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()


def test_a_push_is_proved_in_base64_or_in_hexadecimal_by_the_new_token_or_the_older(make) -> None:
    assert check(make, BODY, {"fdx-signature": base64.b64encode(sign(BODY, b"token")).decode()}) == 0
    assert check(make, BODY, {"fdx-signature": sign(BODY, b"older").hex()}) == 1


@pytest.mark.parametrize("given", ["", "x" * 64, "x" * 44, sign(b"other", b"token").hex(), sign(BODY, b"theirs").hex()])
def test_a_push_of_somebody_else_is_refused(make, given) -> None:
    with pytest.raises(WebhookRejected, match="fdx-signature"):
        check(make, BODY, {"fdx-signature": given} if given else {})


def test_that_pushes_are_signed_in_hexadecimal_is_told_once(make) -> None:
    source, _ = make("carriers.fedex")

    assert (
        source.odd({"fdx-signature": sign(BODY, b"t").hex()}) == "its pushes are signed in hexadecimal, not in base64"
    )
    assert source.odd(signed(BODY)) == ""
    assert source.odd({"content-type": "application/json"}) is None  # an answer to a call tells nothing of it


def test_another_attempt_to_deliver_a_push_is_the_same_push(make) -> None:
    source, _ = make("carriers.fedex")

    def key(body: bytes) -> str:
        return source.dedupe_key(Payload("a", "webhook", (body,), AT, {}))

    first = b'{"outputMetaData":[{"attempt":1}],"output":{"completeTrackResults":[]}}'
    again = b'{"transactionId":"2","outputMetaData":[{"attempt":2}], "output":{"completeTrackResults":[]}}'
    assert key(first) == key(again) == key(b'{"output":{"completeTrackResults":[]}}')
    assert key(b'{"output":{"completeTrackResults":[1]}}') != key(first)
    assert key(b"no json") != key(b"no json either")


def test_a_push_withdraws_nothing_and_a_bare_result_names_its_own_number(make) -> None:
    source, _ = make("carriers.fedex")
    results = [{"trackingNumberInfo": {"trackingNumber": "1"}, "scanEvents": [OD]}, {"scanEvents": [OD]}]
    body = json.dumps({"trackResults": results}).encode()

    report, unread = source.normalize(Payload("a", "webhook", (body,), AT, {}))

    assert (report.number, report.complete, len(report.scans)) == ("1", False, 1)
    assert (unread.where, unread.lacks) == ("$.trackResults[1].trackingNumberInfo.trackingNumber", "all")


def test_an_odd_piece_of_a_bare_result_is_told_with_its_number(make) -> None:
    source, _ = make("carriers.fedex")
    results = [{"trackingNumberInfo": {"trackingNumber": "1"}, "scanEvents": [{**OD, "date": "soon"}]}]

    _, unread = source.normalize(Payload("a", "webhook", (json.dumps({"trackResults": results}).encode(),), AT, {}))

    assert (unread.subject, unread.where) == ("1", "$.trackResults[0].scanEvents[0].date")


def test_after_an_outage_a_person_is_told_how_fedex_sends_again(make) -> None:
    source, client = make("carriers.fedex")

    assert source.resends.days == 7
    assert make("carriers.fedex", webhook_secrets=[])[0].resends is None  # an account that only polls missed nothing
    with pytest.raises(Refused, match="starts the retry on the webhook project in its Developer Portal"):
        list(source.resend(client, Missed(AT, AT)))


def test_where_the_project_has_a_call_for_it_fedex_is_had_to_send_again(outside, make) -> None:
    outside.post(f"{HOST}/oauth/token").respond(json={"access_token": "t", "expires_in": 3600})
    told = {"output": {"completeTrackResults": [{"trackingNumber": "1"}]}}
    route = outside.post(f"{HOST}/retry")
    route.side_effect = [httpx.Response(200, json={"output": {"jobId": "7"}}), httpx.Response(200, json=told)]
    source, client = make("carriers.fedex", retry_path="/retry")

    (asked,), (answered,) = (list(source.resend(client, Missed(AT, AT))) for _ in range(2))

    assert asked.parts == ()  # it comes to our address
    assert json.loads(answered.parts[0]) == told

"""What a rejection says: the log is all that an operator has, for the sender learns nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload
from tracker.plugin.signatures import (
    hashed_challenge,
    hmac_base64,
    hmac_hex,
    shared_secret,
    signed_time,
    standard_webhooks,
    whsec_key,
    within,
)

AT = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
KEYS = (SecretStr("new"), SecretStr("old"))
STAMP = str(int(AT.timestamp()))


def delivery(at: datetime = AT, **headers: str) -> Payload:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    told = {"webhook-id": "m1", "webhook-timestamp": STAMP, "webhook-signature": "v1,x", **given}
    return Payload("a", "webhook", (b"body",), at, {name: value for name, value in told.items() if value})


def signed(key: bytes, stamp: str = STAMP) -> str:
    return "v1," + base64.b64encode(hmac.new(key, b"m1." + stamp.encode() + b".body", hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda: hmac_hex(KEYS, b"", None, name="x-sig"), "header x-sig is missing"),
        (lambda: hmac_hex(KEYS, b"", "", name="x-sig"), "header x-sig is missing"),
        (lambda: hmac_hex(KEYS, b"", "00", name="x-sig"), "header x-sig does not match"),
        (lambda: hmac_hex([SecretStr("")], b"", "00", name="x-sig"), "an empty secret verifies nothing"),
        (lambda: hmac_base64(KEYS, b"", None, name="x-sig"), "header x-sig is missing"),
        (lambda: hmac_base64(KEYS, b"", "00", name="x-sig"), "header x-sig does not match"),
        (lambda: shared_secret(KEYS, None, name="x-sig"), "header x-sig is missing"),
        (lambda: shared_secret(KEYS, "00", name="x-sig"), "header x-sig does not match"),
        (lambda: within(AT, AT + timedelta(minutes=5, seconds=1)), "the signed time is too far from now"),
        (lambda: within(AT + timedelta(minutes=5, seconds=1), AT), "the signed time is too far from now"),
        *((lambda v=v: signed_time(v, name="x-at"), "header x-at is no time") for v in ("-1", "\u00b2", "\u0663", "1" * 12)),
        (lambda: signed_time("", name="x-at"), "header x-at is missing"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_id="")), "header webhook-id is missing"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_timestamp="")), "header webhook-timestamp is missing"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_signature="")), "header webhook-signature is missing"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_timestamp="soon")), "header webhook-timestamp is no time"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_timestamp="1" * 12)), "header webhook-timestamp is no time"),
        (lambda: standard_webhooks([b"k"], delivery(webhook_timestamp="1" * 11)), "the signed time is too far from now"),
        (lambda: standard_webhooks([b"k"], delivery()), "header webhook-signature does not match"),
        (lambda: standard_webhooks([b""], delivery()), "an empty secret verifies nothing"),
        (lambda: standard_webhooks([b"k"], delivery(AT + timedelta(minutes=6))), "the signed time is too far from now"),
    ],
)  # fmt: skip
def test_a_rejection_says_which_header_and_what_is_wrong_with_it(check: Callable[[], int], said: str) -> None:
    with pytest.raises(WebhookRejected) as told:
        check()
    assert str(told.value) == said


def test_a_signed_time_is_whole_seconds() -> None:
    assert signed_time(f" {STAMP} ", name="x-at") == AT


def test_the_place_of_the_secret_that_fits_is_told() -> None:
    for place, key in enumerate((b"new", b"old")):
        hexadecimal = hmac.new(key, b"body", hashlib.sha256)
        assert hmac_hex(KEYS, b"body", hexadecimal.hexdigest(), name="x") == place
        assert hmac_hex(KEYS, b"body", f"sha256={hexadecimal.hexdigest()}", name="x", prefix="sha256=") == place
        assert hmac_base64(KEYS, b"body", f" {base64.b64encode(hexadecimal.digest()).decode()} ", name="x") == place
        assert shared_secret(KEYS, key.decode(), name="x") == place
        assert shared_secret(KEYS, f"Bearer {key.decode()}", name="x", prefix="Bearer ") == place
        assert standard_webhooks([b"new", b"old"], delivery(webhook_signature=signed(key))) == place


def test_a_list_of_signatures_is_read_to_the_twentieth() -> None:
    """Standard Webhooks 1.0: one space between signatures; a sender that rotates keys sends some, nobody sends many."""
    others = ["v1,x"] * 19
    assert standard_webhooks([b"k"], delivery(webhook_signature=" ".join([*others, signed(b"k")]))) == 0
    with pytest.raises(WebhookRejected, match="does not match"):
        standard_webhooks([b"k"], delivery(webhook_signature=" ".join([*others, "v1,y", signed(b"k")])))
    with pytest.raises(WebhookRejected, match="does not match"):
        standard_webhooks([b"k"], delivery(webhook_signature=f"v1,x\t{signed(b'k')}"))


def test_a_signed_time_is_good_to_the_fifth_minute_in_both_directions() -> None:
    for minutes in (-5, 5):
        within(AT, AT + timedelta(minutes=minutes))
        assert standard_webhooks([b"k"], delivery(AT + timedelta(minutes=minutes), webhook_signature=signed(b"k"))) == 0


def test_a_whsec_secret_is_decoded_and_a_broken_one_verifies_nothing() -> None:
    assert whsec_key(SecretStr("whsec_" + base64.b64encode(b"key").decode())) == b"key"
    assert whsec_key(SecretStr("plain")) == b"plain"
    assert whsec_key(SecretStr("whsec_!")) == b""


def test_the_answer_to_a_challenge_is_of_code_token_and_address_in_this_order() -> None:
    said = hashed_challenge("a", SecretStr("b"), "c")

    assert said == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of "abc" (FIPS 180-4)
    assert hashed_challenge("a", SecretStr("b"), "c/") != said

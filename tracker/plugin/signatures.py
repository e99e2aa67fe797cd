"""Prove who sent a webhook: on the raw bytes, in constant time, with several secrets for rotation.

Every function raises WebhookRejected and nothing else, whatever the headers hold (even reference verifiers crash on
malformed ones). Each returns the place of the secret that fits: 0 is the newest, more is one that is being rotated out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload


def _given(value: str | None, name: str) -> bytes:
    if not value:
        raise WebhookRejected(f"header {name} is missing")
    return value.strip().encode("utf-8", "replace")


def _match(expected: Iterable[bytes], given: Sequence[bytes], name: str) -> int:
    fits = [
        any([hmac.compare_digest(one, sent) for sent in given]) for one in expected
    ]  # lists: each costs the same time
    if True not in fits:
        raise WebhookRejected(f"header {name} does not match")
    return fits.index(True)


def _key(secret: SecretStr, *, nfkd: bool = False) -> bytes:
    value = secret.get_secret_value()
    if not value:
        raise WebhookRejected("an empty secret verifies nothing")
    return (unicodedata.normalize("NFKD", value) if nfkd else value).encode()


def hmac_hex(
    secrets: Iterable[SecretStr], body: bytes, given: str | None, *, name: str, prefix: str = "", nfkd: bool = False
) -> int:
    """Check `prefix` + hexadecimal HMAC-SHA256 of the body. `nfkd`: the secret is Unicode-normalised first."""
    expected = [
        prefix.encode() + hmac.new(_key(s, nfkd=nfkd), body, hashlib.sha256).hexdigest().encode() for s in secrets
    ]
    return _match(expected, [_given(given, name)], name)


def hmac_base64(secrets: Iterable[SecretStr], body: bytes, given: str | None, *, name: str) -> int:
    """Check the base64 HMAC-SHA256 of the body."""
    expected = [base64.b64encode(hmac.new(_key(s), body, hashlib.sha256).digest()) for s in secrets]
    return _match(expected, [_given(given, name)], name)


def hash_hex(secrets: Iterable[SecretStr], body: bytes, given: str | None, *, name: str, joined: bytes) -> int:
    """Check the hexadecimal SHA-256 of the body, `joined` and the secret: a plain hash, whose secret stands at its end."""
    expected = [hashlib.sha256(body + joined + _key(s)).hexdigest().encode() for s in secrets]
    return _match(expected, [_given(given, name)], name)


def shared_secret(secrets: Iterable[SecretStr], given: str | None, *, name: str, prefix: str = "") -> int:
    """Check that the sender knows a secret. It proves nothing about the body."""
    return _match([prefix.encode() + _key(s) for s in secrets], [_given(given, name)], name)


def signed_time(given: str | None, *, name: str) -> datetime:
    """Return the time that a header says and a signature covers: whole seconds since 1970."""
    stamp = _given(given, name)
    if not stamp.isdigit() or len(stamp) > 11:  # more digits are no year that a date can hold
        raise WebhookRejected(f"header {name} is no time")
    return datetime.fromtimestamp(int(stamp), UTC)


def within(at: datetime, received_at: datetime, tolerance: timedelta = timedelta(minutes=5)) -> None:
    """Refuse a signed time that is too far from now, in either direction."""
    if abs(received_at - at) > tolerance:
        raise WebhookRejected("the signed time is too far from now")


def standard_webhooks(keys: Iterable[bytes], payload: Payload, tolerance: timedelta = timedelta(minutes=5)) -> int:
    """Check a delivery by Standard Webhooks 1.0 (standardwebhooks.com, read 2026-11).

    Signed is `id.timestamp.body`; `webhook-signature` is a list of `v1,<base64 of HMAC-SHA256>`. `keys` are bytes:
    `whsec_` secrets come decoded (`whsec_key`).
    """
    id_ = _given(payload.headers.get("webhook-id"), "webhook-id")
    stamp = _given(payload.headers.get("webhook-timestamp"), "webhook-timestamp")
    given = _given(payload.headers.get("webhook-signature"), "webhook-signature").split(b" ")
    within(signed_time(stamp.decode(), name="webhook-timestamp"), payload.received_at, tolerance)
    text = b".".join((id_, stamp, payload.body))
    known = [key for key in keys if key]
    if not known:
        raise WebhookRejected("an empty secret verifies nothing")
    expected = [b"v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()) for key in known]
    return _match(expected, given[:20], "webhook-signature")


def hashed_challenge(code: str, token: SecretStr, address: str) -> str:
    """Return what eBay's challenge of an endpoint is answered with: hexadecimal SHA-256 (developer.ebay.com, read 2026-11).

    `address` is the URL exactly as it is registered there; a slash more is another one.
    """
    return hashlib.sha256(f"{code}{token.get_secret_value()}{address}".encode("utf-8", "replace")).hexdigest()


def whsec_key(secret: SecretStr) -> bytes:
    """Return the key of a `whsec_` secret; another text is used as it is."""
    value = secret.get_secret_value()
    if not value.startswith("whsec_"):
        return value.encode()
    try:
        return base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except ValueError:
        return b""

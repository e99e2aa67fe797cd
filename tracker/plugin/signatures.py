"""Prove who sent a webhook: on the raw bytes, in constant time, with several secrets for rotation.

Every function raises WebhookRejected and nothing else, whatever the headers hold (RELIABILITY 1.3: even reference
verifiers crash on malformed headers).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import SecretStr

from tracker.domain.errors import WebhookRejected


def _given(value: str | None, name: str) -> bytes:
    if not value:
        raise WebhookRejected(f"header {name} is missing")
    return value.strip().encode("utf-8", "replace")


def _any_match(expected: Iterable[bytes], given: bytes, name: str) -> None:
    if not any([hmac.compare_digest(one, given) for one in expected]):  # a list: every secret costs the same time
        raise WebhookRejected(f"header {name} does not match")


def _key(secret: SecretStr, *, nfkd: bool = False) -> bytes:
    value = secret.get_secret_value()
    if not value:
        raise WebhookRejected("an empty secret verifies nothing")
    return (unicodedata.normalize("NFKD", value) if nfkd else value).encode()


def hmac_hex(
    secrets: Iterable[SecretStr], body: bytes, given: str | None, *, name: str, prefix: str = "", nfkd: bool = False
) -> None:
    """Check `prefix` + hexadecimal HMAC-SHA256 of the body. `nfkd`: the secret is Unicode-normalised first."""
    expected = [
        prefix.encode() + hmac.new(_key(s, nfkd=nfkd), body, hashlib.sha256).hexdigest().encode() for s in secrets
    ]
    _any_match(expected, _given(given, name), name)


def hmac_base64(secrets: Iterable[SecretStr], body: bytes, given: str | None, *, name: str) -> None:
    """Check the base64 HMAC-SHA256 of the body."""
    expected = [base64.b64encode(hmac.new(_key(s), body, hashlib.sha256).digest()) for s in secrets]
    _any_match(expected, _given(given, name), name)


def shared_secret(secrets: Iterable[SecretStr], given: str | None, *, name: str, prefix: str = "") -> None:
    """Check that the sender knows a secret. It proves nothing about the body."""
    _any_match([prefix.encode() + _key(s) for s in secrets], _given(given, name), name)


def within(at: datetime, received_at: datetime, tolerance: timedelta = timedelta(minutes=5)) -> None:
    """Refuse a signed time that is too far from now, in either direction."""
    if abs(received_at - at) > tolerance:
        raise WebhookRejected("the signed time is too far from now")

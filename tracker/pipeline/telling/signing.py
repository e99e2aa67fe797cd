"""Standard Webhooks: the headers by which who is told knows that it was us (https://www.standardwebhooks.com; its own library verifies them in the tests)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from pydantic import SecretStr

from tracker.config.telling import key


def headers(secrets: Sequence[SecretStr], id_: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the id, the time of this try and a signature by each secret: `v1,` and HMAC-SHA256 over `id.timestamp.body` in base64."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join((id_.encode(), timestamp.encode(), body))
    signatures = (base64.b64encode(hmac.new(key(one), signed, hashlib.sha256).digest()).decode() for one in secrets)
    return {
        "webhook-id": id_, "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }  # fmt: skip

"""Bodies signed with the newest secret of example settings. A plugin whose webhooks are signed has `signed` in its test."""

from __future__ import annotations

import base64
import hashlib
import hmac

from tracker.plugin.conformance import AT

SECRET = b"new-secret-0123456789abcdef"


def digest(body: bytes) -> bytes:
    """Return the HMAC-SHA256 of a body."""
    return hmac.new(SECRET, body, hashlib.sha256).digest()


def standard(body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks."""
    stamp = str(int(AT.timestamp()))
    proof = base64.b64encode(digest(b".".join((b"msg_1", stamp.encode(), body)))).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1,{proof}"}

"""What an answer of Shopify says beside its data: what went wrong, and when the bucket of cost points holds enough again."""

from __future__ import annotations

from datetime import timedelta

from adapters.shopify.partly import is_partly
from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient, Unavailable
from tracker.plugin.answers import AWAY, not_html, raise_by_status, retry_after, said_by
from tracker.plugin.calls import Response
from tracker.plugin.graphql import first_error
from tracker.plugin.payloads import decode, text


class Denied(CredentialsRejected):
    """The token is good, and the app was not granted what it asks for."""


REST = timedelta(seconds=1)
RESERVE = 60  # cost points kept for the largest operation of ours


def raise_for(response: Response) -> None:
    """GraphQL tells its errors in HTTP 200; a frozen, locked or missing shop says so in HTTP (shopify.dev, status codes)."""
    not_html(response)
    if response.status in (402, 404, 423, 430):
        why = said_by(response.body, AWAY.get(response.status, "no shop answers there"))
        raise Unavailable(f"HTTP {response.status}: {why}", retry_after(response))
    raise_by_status(response)
    if is_partly(response):
        return  # of single orders: their reader tells it
    if (first := first_error(response)) is None:
        return
    extensions = first.get("extensions")
    code = text(extensions.get("code")) if isinstance(extensions, dict) else ""
    needs = text(extensions.get("requiredAccess")) if isinstance(extensions, dict) else ""
    said = f"{code or 'GraphQL error'}: {text(first.get('message')) or said_by(response.body)}"
    if needs and needs not in said:
        said += f" (needs {needs})"
    if code == "THROTTLED":
        raise RateLimited(said, max(rest_of(response) or REST, REST))
    if code == "ACCESS_DENIED":
        raise Denied(said)
    if code == "SHOP_INACTIVE" or not first:
        raise Unavailable(said)
    if code in ("", "INTERNAL_SERVER_ERROR", "TIMEOUT"):
        raise Transient(said)
    raise Refused(said)


def rest_of(response: Response) -> timedelta | None:
    """Return how long until the bucket holds our largest operation again (shopify.dev, rate limits); None where it does."""
    if b"throttleStatus" not in response.body:
        return None
    try:
        status = decode(response.body)["extensions"]["cost"]["throttleStatus"]
        missing = min(RESERVE, float(status["maximumAvailable"])) - float(status["currentlyAvailable"])
        return timedelta(seconds=missing / float(status["restoreRate"])) if missing > 0 else None
    except (BadPayload, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None

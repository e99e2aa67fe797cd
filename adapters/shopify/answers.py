"""What an answer of Shopify says beside its data: what went wrong, and whether it may be asked again."""

from __future__ import annotations

from datetime import timedelta

from adapters.shopify.pacing import FOLLOWS, requested, status_of
from adapters.shopify.partly import odd_of
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, Transient, Unavailable
from tracker.plugin.answers import AWAY, not_html, raise_by_status, retry_after, said_by
from tracker.plugin.calls import Response
from tracker.plugin.graphql import first_error
from tracker.plugin.payloads import text


class Denied(CredentialsRejected):
    """The token is good, and the app was not granted what it asks for."""


REST = timedelta(seconds=1)
TOO_DEAR = "MAX_COST_EXCEEDED"  # no rest helps: it is asked for in smaller pieces, or told


def raise_for(response: Response) -> None:
    """GraphQL tells its errors in HTTP 200; a frozen, locked or missing shop says so in HTTP (shopify.dev, status codes)."""
    not_html(response)
    if response.status in (402, 404, 423, 430):
        why = said_by(response.body, AWAY.get(response.status, "no shop answers there"))
        raise Unavailable(f"HTTP {response.status}: {why}", retry_after(response))
    raise_by_status(response)
    if odd_of(response):
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
        raise _throttled(response, said)
    if code == "ACCESS_DENIED":
        raise Denied(said)
    if code == "SHOP_INACTIVE" or not first:
        raise Unavailable(said)
    if code in ("", "INTERNAL_SERVER_ERROR", "TIMEOUT"):
        raise Transient(said)
    raise Refused(said)


def _throttled(response: Response, said: str) -> RateLimited | Refused:
    """Return how long it rests: until the bucket holds what was asked for; what it never holds must be asked for in smaller pieces."""
    status, cost = status_of(response), requested(response)
    if status is not None and cost is not None and cost > status.most:
        return Refused(f"{TOO_DEAR}: it costs {cost:g} points, and the bucket never holds more than {status.most:g}")
    rest = status.rest(FOLLOWS if cost is None else cost) if status is not None else None
    return RateLimited(said, max(rest or REST, REST))

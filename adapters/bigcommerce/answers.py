"""What BigCommerce's answers say beside what was asked: errors, limits, and lists that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient
from tracker.plugin import tracked
from tracker.plugin.answers import header_number, holding, not_html, raise_by_status, retry_after, said_by
from tracker.plugin.calls import Response
from tracker.plugin.payloads import BOM, decode, document, text

RESERVE = 0.1  # of the quota is left to the store's other apps
Decode = Callable[[bytes], dict[str, Any]]


class Forbidden(CredentialsRejected):
    """403: the token is good, and may not do this."""


def raise_for(response: Response) -> None:
    """Raise by status. 429 says in its own headers how long to wait; without them, as a 500, it is load of the platform."""
    not_html(response)
    said = f"HTTP {response.status}"
    if response.status == 429:
        reset = header_number(response, "x-rate-limit-time-reset-ms")
        again = header_number(response, "x-retry-after")
        waits = [timedelta(milliseconds=reset or 0), timedelta(seconds=again or 0), retry_after(response)]
        raise RateLimited(said, max(filter(None, waits), default=None))
    if response.status in (401, 403):
        error = CredentialsRejected if response.status == 401 else Forbidden
        raise error(f"{said}: {said_by(response.body)}")
    if response.status in (400, 409, 413, 422):
        raise Refused(f"{said}: {_why(response.body)}")
    if response.status == 423:
        raise Transient(f"{said}: the order is locked")
    raise_by_status(response)


def rest_of(response: Response) -> timedelta | None:
    """Rest until the window ends once only the reserve is left."""
    left = header_number(response, "x-rate-limit-requests-left")
    quota = header_number(response, "x-rate-limit-requests-quota")
    reset = header_number(response, "x-rate-limit-time-reset-ms")
    if left is None or quota is None or reset is None or left > quota * RESERVE:
        return None
    return timedelta(milliseconds=min(reset, 60_000))


def rows(body: bytes, decode: Decode) -> list[Any]:
    """Decode a list; V2 answers with bare lists, V3 with one under `data`. Raises BadPayload for anything else."""
    if not is_object(body):
        return tracked.rows(body, decode)
    found = decode(body).get("data")
    if not isinstance(found, list):
        raise BadPayload("$.data", "must be a list")
    return found


def is_object(body: bytes) -> bool:
    """Say whether a body begins as an object of JSON: an order of V2, any answer of V3."""
    return body.removeprefix(BOM).lstrip()[:1] == b"{"


def listed(response: Response, error: type[Transient]) -> list[Any]:
    """Return the list of V2 that was asked for; nothing (204) is an empty one. Raises `error` where something else came."""
    return [] if response.status == 204 else tracked.listed(response, error)


def collected(response: Response, what: str) -> tuple[list[Any], int]:
    """Return the list of V3 that was asked for, and of how many pages it is one. Raises Transient where there is none."""
    body = decode(holding(response.body, "data"))
    found = body.get("data")
    if not isinstance(found, list):
        raise Transient(f"{what} came without its list")
    at: Any = body
    for name in ("meta", "pagination", "total_pages"):
        at = at.get(name) if isinstance(at, dict) else None
    return found, at if isinstance(at, int) and not isinstance(at, bool) else 1


def _why(body: bytes) -> str:
    """Say why something was refused. V2 tells each bad line by itself: what is left of it says more than the words."""
    try:
        told = document(body)
    except BadPayload:
        return said_by(body)
    lines = []
    for row in told if isinstance(told, list) else ():
        details = row.get("details") if isinstance(row, dict) else None
        if isinstance(details, dict) and isinstance(left := details.get("available_quantity"), int):
            ref = details.get("order_product_id")
            lines.append(f"line {ref if isinstance(ref, int) else text(ref) or '?'}: {left} left to ship")
    return "; ".join([said_by(body), *lines])

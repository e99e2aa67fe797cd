"""What USPS says instead of a history, and which numbers an answer is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Page, Report, Unread
from tracker.domain.vocabulary import TrackingState
from tracker.plugin.answers import said_by
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode, document, leniently, text, told

# Error Inventory (USPS/api-examples, read 2026-11), all with HTTP 400: the number may come to be known
NOT_YET = frozenset({"150001", "150002", "150003", "150004", "150009"})
FRAUD = "150012"  # the postage is fraudulent: USPS keeps the parcel
NO_NUMBER = "no number"  # ours, of what v3r2 would not take
OF_A_NUMBER = {  # what else is said of a number: slips of a delivery notice, a country that tells nothing, another's parcel, a pick-up
    "150006": TrackingState.UNSUPPORTED, "150007": TrackingState.UNSUPPORTED, "150008": TrackingState.UNSUPPORTED,
    "150010": TrackingState.ERROR, "150011": TrackingState.UNSUPPORTED, FRAUD: TrackingState.ERROR,
    NO_NUMBER: TrackingState.INVALID_NUMBER,
}  # fmt: skip
_TAG = re.compile(r"<[^<>]{1,20}>")


def body_of(numbers: Sequence[str]) -> bytes:
    """Print numbers as v3r2 is asked about them."""
    return orjson.dumps([{"trackingNumber": mine} for mine in numbers])


REFUSED = orjson.dumps(
    {"error": {"code": NO_NUMBER, "message": "not asked: USPS takes 4 to 34 letters and digits for a number"}}
)


def page(response: Response, numbers: Sequence[str]) -> Page:
    """Make a page of an answer; beside it what was asked and is not printed in it: a number without its 420 and ZIP code, an error."""
    missing = [mine for mine in numbers if f'"{mine}"'.encode() not in response.body]
    return Page((response.body, body_of(missing))) if missing else Page((response.body,))


def asked(parts: tuple[bytes, ...]) -> list[str]:
    """Return the numbers that `page` put beside an answer."""
    beside = document(parts[1]) if len(parts) > 1 else []
    return [mine for one in beside if isinstance(one, dict) and (mine := text(one.get("trackingNumber")))]


def as_asked(reports: Sequence[Report], asked: Sequence[str], unread: list[Unread]) -> list[Report | Unread]:
    """Give reports the numbers under which they were asked for, and tell of whom nothing is told."""
    if asked:
        whole = {mine: report.number for mine in asked for report in reports if _is_whole(mine, report.number)}
        back = {number: mine for mine, number in whole.items()}
        reports = [replace(one, number=back.get(one.number, one.number)) for one in reports]
        numbers = {report.number for report in reports}
        unread += [
            Unread("$", "tells nothing of a number that was asked about", mine) for mine in asked if mine not in numbers
        ]
    return told(reports, unread)


def _is_whole(mine: str, number: str) -> bool:
    """Say whether a number is that of an answer with the 420 and ZIP code before it (GS1 application identifier 420)."""
    return mine.startswith("420") and mine.endswith(number) and len(mine) - len(number) in (8, 12)


def signed_of(body: bytes) -> bytes | None:
    """Return what of the envelope of a callback is signed: timestamp and payload; None where it lacks one. Raises BadPayload."""
    envelope = decode(body)
    at, inner = envelope.get("timestamp"), envelope.get("payload")
    return f"{at}{inner}".encode("utf-8", "replace") if isinstance(at, str) and isinstance(inner, str) else None


def codes_of(body: bytes) -> frozenset[str]:
    """Return the codes of an error body; nothing where it is none."""
    return codes(leniently(body))


def codes(body: dict[str, Any]) -> frozenset[str]:
    """Return the codes of an error: that of its own, and code and status of each of its errors; nothing where there is no error."""
    error = body.get("error")
    error = error if isinstance(error, dict) else {}
    many = error.get("errors") if isinstance(error.get("errors"), list) else body.get("errors")
    found = [error, *(one for one in many if isinstance(one, dict))] if isinstance(many, list) else [error]
    return frozenset(
        str(code)
        for one in found
        for name in ("code", "status")
        if isinstance(code := one.get(name), str | int) and code != ""
    )


def said(body: bytes, otherwise: str = "no reason given") -> str:
    """Say what an error says; v3r2 leaves the message empty, and says it in the detail of its first error."""
    try:
        error = decode(body).get("error")
    except BadPayload:
        return otherwise
    if isinstance(error, dict) and not text(error.get("message")) and isinstance(many := error.get("errors"), list):
        for one in many:
            if isinstance(one, dict) and (detail := text(one.get("detail")) or text(one.get("title"))):
                return ": ".join(filter(None, (text(one.get("code")), _TAG.sub("", detail))))[:200]
    return said_by(body, otherwise)

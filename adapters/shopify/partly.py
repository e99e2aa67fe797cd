"""Answers that hold errors beside their data: what went wrong with one order takes nothing from the others.

GraphQL names the place of an error by its path; a field that may be null is null there (GraphQL specification, October 2021, section 6.4.4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tracker.domain.errors import BadPayload, CredentialsRejected, SourceError, Transient
from tracker.domain.facts import Unread
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode, text

# Nothing that is written depends on these: an order is told without them.
DETAILS = frozenset(
    {"shippingAddress", "shippingLine", "customerLocale", "sourceName", "cancelReason", "closedAt", "risk"}
)

DENIED = "ACCESS_DENIED"


class Odd(NamedTuple):
    """An error of one order: the field in which it happened, or nothing, and what was said."""

    field: str
    code: str
    said: str


def odd_nodes(body: dict[str, Any]) -> dict[int, list[Odd]] | None:
    """Return the errors of an answer by the order they belong to; None where one of them belongs to none, so that nothing holds."""
    errors, data = body.get("errors"), body.get("data")
    if not errors:
        return {}
    root = next((name for name in ("orders", "nodes") if isinstance(data, dict) and data.get(name) is not None), None)
    if root is None or not isinstance(errors, list):
        return None
    found: dict[int, list[Odd]] = {}
    for error in errors:
        path = error.get("path") if isinstance(error, dict) else None
        begins = 2 if root == "orders" else 1  # orders.nodes[3], nodes[3]
        if not isinstance(path, list) or len(path) <= begins or path[0] != root or type(path[begins]) is not int:
            return None
        extensions = error.get("extensions")
        code = text(extensions.get("code")) if isinstance(extensions, dict) else ""
        said = f"{code or 'GraphQL error'}: {text(error.get('message'))}"
        found.setdefault(path[begins], []).append(
            Odd(text(path[begins + 1]) if len(path) > begins + 1 else "", code, said)
        )
    return found


def odd_of(response: Response) -> dict[int, list[Odd]]:
    """Return the errors of single orders, where an answer holds no others: the other orders can be read. Empty where there are none."""
    if b'"errors"' not in response.body:
        return {}
    try:
        return odd_nodes(decode(response.body)) or {}
    except BadPayload:
        return {}


def told(where: str, ref: str, odd: list[Odd]) -> tuple[list[Unread], bool]:
    """Return what went wrong with an order, and whether the order can be told without it."""
    unread = [
        Unread(f"{where}.{one.field}" if one.field else where, one.said, ref, "" if ref else "all") for one in odd
    ]
    return unread, all(one.field in DETAILS for one in odd)


def error_of(odd: list[Odd]) -> SourceError:
    """Return what is wrong with an order that was asked for alone."""
    first = odd[0]
    return CredentialsRejected(first.said) if first.code == DENIED else Transient(first.said)

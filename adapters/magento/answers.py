"""Judge what Magento answers: its messages with their parameters filled in, and what a refusal of our rights means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient
from tracker.plugin.answers import not_html, raise_by_status, retry_after
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode, text

WAIT = timedelta(seconds=5)  # after a 429 that says nothing (AdobeDocs, server-to-server.md)
MOST = 400
NOT_OF_STATE = "order status history"  # of the message for a status that does not belong to the order's state (OrderService.addComment)
_PLACE = re.compile(r"%(\w+)")


def filled(message: Any, parameters: Any) -> str:
    """Fill a message: `%1` by the parameters' places, `%name` by their names; what has none stays as it is."""
    if isinstance(parameters, list):
        known = {str(at): value for at, value in enumerate(parameters, start=1)}
    else:
        known = dict(parameters) if isinstance(parameters, dict) else {}

    def fill(found: re.Match[str]) -> str:
        value = known.get(found[1])
        return text(value) if isinstance(value, str) else str(value) if isinstance(value, int | float) else found[0]

    return _PLACE.sub(fill, text(message))[:MOST]


def said(body: bytes) -> str:
    """Say what an error body says: its message, and those of its errors; empty where it says nothing. Never its trace."""
    try:
        told = decode(body)
    except BadPayload:
        return ""
    errors = told.get("errors")
    parts = [told, *(one for one in errors if isinstance(one, dict))] if isinstance(errors, list) else [told]
    words = [filled(one.get("message"), one.get("parameters")) for one in parts]
    return "; ".join(filter(None, words))[:MOST]


def resources(body: bytes) -> str:
    """Return the rights that a refused call takes; empty where it was not refused for them."""
    try:
        parameters = decode(body).get("parameters")
    except BadPayload:
        return ""
    return text(parameters.get("resources")) if isinstance(parameters, Mapping) else ""


class NotAllowed(Refused):
    """The call takes a right that our credentials lack: what reads is in vain then, and of what writes it is this write."""


def judge(response: Response, hint: str) -> None:
    """Raise from the error tree unless it is an answer. `hint`: what else a refused credential may mean here."""
    not_html(response)
    status = response.status
    words = said(response.body)
    told = f"HTTP {status}: {words}" if words else f"HTTP {status}"
    if status == 429:
        raise RateLimited(told, retry_after(response) or WAIT)
    if status in (401, 403):
        if "nonce" in words.lower():
            raise Transient(told)  # of OAuth 1.0a: an earlier try arrived, and its answer was lost
        if needs := resources(response.body):
            raise NotAllowed(f"{told} The role must have {needs} (System > Integrations > API){hint}")
        raise CredentialsRejected(f"{told}{hint}")
    if status in (400, 405, 409, 413, 422):
        raise Refused(told)
    raise_by_status(response)

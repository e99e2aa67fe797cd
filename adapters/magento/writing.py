"""What is written to Magento: comments, by which a status is set, and corrected tracks. Orders and shipments are never saved.

No mail: `is_customer_notified` and `is_visible_on_front` are 0. Each write bears a mark, by which it is seen to be there already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from adapters.magento import asking
from adapters.magento.answers import NOT_OF_STATE
from adapters.magento.events import is_id
from tracker.domain.errors import NotFound, Refused, Transient
from tracker.domain.facts import Action, Receipt
from tracker.plugin.calls import Response, segment
from tracker.plugin.payloads import decode, listing, mapping, text, word
from tracker.plugin.tracked import renumbered

Call = Callable[..., Response]  # method, path, params, body
ASSIGN = "Stores > Settings > Order Status > Assign Status to State"


def comment(call: Call, action: Action, status: str | None) -> Receipt:
    """Add a comment that says a note, or sets a status; nothing where this write is there already.

    A status that does not belong to the state is refused: its comment is added without it, once, and Refused says what the merchant must do.
    """
    mark = _mark(action)
    there = _ours(call, action.order, mark)
    if there and (status is None or any(text(one.get("status")) == status for one in there)):
        return Receipt(action.order, already_there=True, proof=status or "note")
    words = (
        action.text
        if status is None
        else f"{action.target}: {', '.join(p.number for p in action.parcels)}".rstrip(": ")
    )
    comment = f"{words} {mark}".strip()
    if status is None:
        _post(call, action.order, comment, None)
        return Receipt(action.order, proof="note")
    try:
        _post(call, action.order, comment, status)
    except Refused as error:
        if NOT_OF_STATE not in str(error) and f'"{status}"' not in str(error):
            raise
        if not there:
            _post(call, action.order, comment, None)
        raise Refused(
            f"{status!r} is not assigned to the state of the order ({ASSIGN}); the comment stands without it. {error}"
        ) from None
    return Receipt(action.order, proof=status)


def _ours(call: Call, order: str, mark: str) -> list[dict[str, Any]]:
    """Return the comments of a write that are there already: an answer may have been lost."""
    path = f"/orders/{segment(order)}/comments"
    told = decode(call("GET", path).body)
    if "items" not in told:
        raise Transient("GET /orders/.../comments answered without its list")
    rows = listing(told["items"], "$.items")
    return [row for row in rows if isinstance(row, dict) and mark in str(row.get("comment"))]


def _post(call: Call, order: str, comment: str, status: str | None) -> None:
    """POST a comment that mails nobody. Raises Transient where the answer is not `true`."""
    history: dict[str, Any] = {
        "comment": comment, "is_customer_notified": 0, "is_visible_on_front": 0, "parent_id": int(order),
    }  # fmt: skip
    if status is not None:
        history["status"] = status
    response = call("POST", f"/orders/{segment(order)}/comments", body={"statusHistory": history})
    if response.body.strip() != b"true":
        raise Transient("POST /orders/.../comments did not answer that it was added")


def renumber(call: Call, action: Action) -> Receipt:
    """Add a track with the new number, then delete the one with the old: a track cannot be changed (devdocs 9196).

    Ours bears a mark in its description: where we died between the two calls, only the second is made.
    """
    rows = _shipments(call, action.fulfilment) if is_id(action.fulfilment) else []
    if not rows or str(rows[0].get("order_id")) != action.order:
        raise Refused("the shipment is not there")
    tracks = [mapping(track, "$.tracks[]") for track in listing(rows[0].get("tracks"), "$.tracks")]
    mark = _mark(action)
    ours = {text(track.get("track_number")) for track in tracks if mark in text(track.get("description"))}
    others = [track for track in tracks if mark not in text(track.get("description"))]
    numbers, new = [text(track.get("track_number")) for track in others], action.parcels[1].number
    if ours and not any(action.parcels[0].number in number for number in numbers):
        return Receipt(action.fulfilment, already_there=True, proof=new)
    corrected = renumbered(numbers, action)
    if corrected is None:
        return Receipt(action.fulfilment, already_there=True, proof=new)
    for track, number, said in zip(others, numbers, corrected, strict=True):
        if said == number:
            continue
        if said not in ours:
            _add_track(call, action, track, said, mark)
        with suppress(NotFound):  # somebody else took it away
            path = f"/shipment/track/{segment(word(track.get('entity_id'), '$.entity_id'))}"
            if call("DELETE", path).body.strip() != b"true":
                raise Transient("DELETE /shipment/track/... did not answer that it is deleted")
    return Receipt(action.fulfilment, proof=new)


def _add_track(call: Call, action: Action, like: Mapping[str, Any], number: str, mark: str) -> None:
    entity = {
        "order_id": int(action.order), "parent_id": int(action.fulfilment), "track_number": number, "title": text(like.get("title")),
        "carrier_code": text(like.get("carrier_code")), "weight": like.get("weight") or 0, "qty": like.get("qty") or 0,
        "description": mark,
    }  # fmt: skip
    made = decode(call("POST", "/shipment/track", body={"entity": entity}).body)
    if text(made.get("track_number")) != number:
        raise Transient("POST /shipment/track did not answer with its track")


def _shipments(call: Call, ref: str) -> list[dict[str, Any]]:
    query = asking.criteria("shipments", ("entity_id", "eq", ref))
    return asking.listed(call("GET", "/shipments", query).body, "shipments", 0).rows


def _mark(action: Action) -> str:
    """Return what tells a write of ours from any other: in a comment, or in a track's description."""
    return f"[trackwright {hashlib.sha256(action.key.encode('utf-8', 'replace')).hexdigest()[:16]}]"

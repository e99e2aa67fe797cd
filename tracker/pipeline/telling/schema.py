"""The description of what endpoints are told, for who receives it: OpenAPI 3.1 with `webhooks`, a schema and an example of each event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tracker.config.telling import EVENTS, Event
from tracker.domain.vocabulary import (
    Act,
    DriftKind,
    FindingKind,
    NoticeClass,
    OrderStatus,
    Reason,
    Severity,
    ShippingStatus,
)
from tracker.pipeline.telling import events, samples

SAID: Mapping[Event, str] = {
    "shipment.status_changed": "The shipping status of a parcel that an order names is another one. Not told: what was so before its store was connected.",
    "order.drift_opened": "Shop and carrier disagree about an order, for longer than a write takes. Not told: since before its store was connected.",
    "order.drift_closed": "They agree again, or differ in another way.",
    "order.written": "We wrote a status, a field, a tag, a note or a number to the shop.",
    "finding.opened": "There is something that a person must look at.",
    "finding.closed": "A finding is closed: by itself, or by a person.",
    "notice": "A customer is to be told something: who tells him words it.",
}
_SAMPLED = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
_TEXT: dict[str, Any] = {"type": "string"}
_TRUE: dict[str, Any] = {"type": "boolean"}
_AT: dict[str, Any] = {"type": "string", "format": "date-time"}
_OPEN: dict[str, Any] = {"type": "object"}


def _or_null(kind: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [dict(kind), {"type": "null"}]}


def _words(words: type[StrEnum]) -> dict[str, Any]:
    """Return a closed list of words, each with its sentence."""
    told = "; ".join(f"{one}: {getattr(one, 'sentence', '')}" for one in words)
    return {"type": "string", "enum": [str(one) for one in words], "description": told}


def _object(optional: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Return an object with all of these keys; more may be added to it without another version."""
    return {"type": "object", "required": [*keys], "properties": {**keys, **(optional or {})}}


def _list(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(of)}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parts() -> dict[str, Any]:
    return {
        "Order": _object(store=_TEXT, number=_TEXT, ref=_TEXT, status=_ref("OrderStatus")),
        "Parcel": _object({"generation": {"type": "integer"}}, carrier=_TEXT, number=_TEXT),
        "OrderStatus": _words(OrderStatus), "ShippingStatus": _words(ShippingStatus), "Reason": _words(Reason),
        "DriftKind": _words(DriftKind), "FindingKind": _words(FindingKind), "Severity": _words(Severity), "Act": _words(Act),
        "NoticeClass": _words(NoticeClass),
    }  # fmt: skip


def data_of(event: Event) -> dict[str, Any]:
    """Return the schema of what an event says. `details` is there where an endpoint has `details: true`."""
    details, why = {"details": _OPEN}, {**_TEXT, "description": "Why, in a sentence."}
    shipping, status = _ref("ShippingStatus"), _ref("OrderStatus")
    if event == "shipment.status_changed":
        span = _object(begins=_AT, ends=_AT)
        return _object(
            details, orders=_list(_ref("Order")), parcel=_ref("Parcel"), before=shipping, status=shipping,
            reason=_or_null(_ref("Reason")), leg=_TEXT, since=_or_null(_AT), last_scan_at=_or_null(_AT), estimate=_or_null(span),
            why=why,
        )  # fmt: skip
    if event in ("order.drift_opened", "order.drift_closed"):
        drift = _object(
            kind=_ref("DriftKind"), order_status=status, shipping_status=shipping, parcel=_ref("Parcel"),
            would_agree_as=_or_null(_TEXT), since=_AT, closed_at=_or_null(_AT),
        )  # fmt: skip
        return _object(details, order=_ref("Order"), drift=drift, why=why)
    parcels = _list(_ref("Parcel"))
    if event == "order.written":
        write = _object(
            kind=_TEXT, status=_TEXT, before=_or_null(status), already_there=_TRUE, rules=_list(_TEXT), parcels=parcels,
            happened_at=_AT,
        )  # fmt: skip
        return _object(details, order=_ref("Order"), write=write, why=why)
    if event == "notice":
        notice = {
            "class": _ref("NoticeClass"), "status": shipping, "parcels": parcels, "happened_at": _AT, "estimate": _or_null(_AT),
            "rules": _list(_TEXT),
        }  # fmt: skip
        return _object(details, order=_ref("Order"), notice=_object(**notice), why=why)
    finding = _object(
        id={"type": "integer"}, kind=_ref("FindingKind"), severity=_ref("Severity"), act=_ref("Act"), subject=_TEXT, since=_AT,
        opened_at=_AT, closed_at=_or_null(_AT), closed_by=_or_null({"enum": ["a person", "itself"]}),
    )  # fmt: skip
    return _object({**details, "order": _ref("Order")}, finding=finding, why=why)


def schema_of(event: Event) -> dict[str, Any]:
    """Return the schema of an event as it is sent."""
    return _object(type={"const": event}, version={"const": events.VERSION}, timestamp=_AT, data=data_of(event))


def document() -> dict[str, Any]:
    """Return the whole description."""
    kept = {
        name: {"name": name, "in": "header", "required": True, "schema": _TEXT, "description": said}
        for name, said in (
            ("webhook-id", "The same at each try: who has it already says 204 and does nothing."),
            ("webhook-timestamp", "Seconds since 1970, of this try: refuse what is older than five minutes."),
            (
                "webhook-signature",
                "v1,<base64 of HMAC-SHA256 over id.timestamp.body>, one for each secret, with blanks between.",
            ),
        )
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "What Trackwright tells", "version": events.VERSION,
            "description": "Webhooks as Standard Webhooks has them (https://www.standardwebhooks.com). Told at least once; those of one "
            "parcel, and of one order, in their order. Answer 2xx within 20 s; 410 ends it. Keys may be added; what goes or changes its "
            "meaning raises the version.",
        },
        "webhooks": {
            event: {
                "post": {
                    "summary": SAID[event], "parameters": [*kept.values()],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": schema_of(event), "example": samples.event_of(event, _SAMPLED)}
                        },
                    },
                    "responses": {"2XX": {"description": "It is taken."}, "410": {"description": "Send nothing here any more."}},
                }
            }
            for event in EVENTS
        },
        "components": {"schemas": _parts()},
    }  # fmt: skip

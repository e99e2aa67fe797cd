"""One example of each event, and of what a target is told: sent by `tracker hooks test`, and shown in the description of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy.engine import Row

from tracker.config.telling import EndpointPart, Event, TargetPart
from tracker.domain.drift import Drift
from tracker.domain.facts import Action, Edd, Parcel, Shipment, Summary
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
from tracker.pipeline.ingest.shipments import LockedShipment
from tracker.pipeline.telling import events, forms

_H = timedelta(hours=1)


def sample(name: str, whom: EndpointPart | TargetPart, event: str | None, now: datetime) -> str:
    """Return the body of an example, in the form of its destination; of an endpoint by default of the first event that it wants."""
    if isinstance(whom, EndpointPart):
        return events.encoded(event_of(cast(Event, event) if event else whom.events[0], now))
    row = _finding(now)
    made = forms.compose(name, whom, forms.News([row], [], {1: _order()}, {}), now)
    return events.encoded(made[0].body)


def event_of(type_: Event, now: datetime) -> dict[str, Any]:
    """Return an example of an event, as it is sent: made by what makes the real ones."""
    told = _told(now)[type_]
    orders = list(told.orders or ())
    named = {"orders": orders} if type_ == "shipment.status_changed" else {"order": orders[0]}
    return {"type": type_, "version": events.VERSION, "timestamp": now, "data": {**named, **told.data}}


def _told(now: datetime) -> Mapping[Event, events.Told]:
    row, since = _order(), now - 2 * _H
    summary = Summary(ShippingStatus.OUT_FOR_DELIVERY, Reason.ON_VEHICLE, since=since, last_scan_at=since)
    shipment = Shipment("ups", "1Z999AA10123456784", 1, replace(summary, status=ShippingStatus.DELIVERED))
    drift = Drift(
        DriftKind.SHOP_BEHIND,
        OrderStatus.SHIPPED,
        "Shipped",
        ShippingStatus.DELIVERED,
        shipment,
        since,
        "ups",
        OrderStatus.DELIVERED,
    )
    parcels = (Parcel("ups", "1Z999AA10123456784"),)
    action = Action(
        "order_status",
        "sample",
        "shop",
        "ref",
        happened_at=since,
        rules=("publish:mirror",),
        target=OrderStatus.DELIVERED,
        before=OrderStatus.SHIPPED,
        parcels=parcels,
    )
    parcel = LockedShipment(
        1, "ups", "1Z999AA10123456784", 1, since, None, True, summary, Edd(now, now + 4 * _H), None,
        told=ShippingStatus.IN_TRANSIT,
    )  # fmt: skip
    old = SimpleNamespace(
        kind="shop_behind", shop="shipped", shop_said="Shipped", status="delivered", carrier="ups", number="1Z999AA10123456784",
        wanted="delivered", since=since,
    )  # fmt: skip
    told = [
        events.moved_to(parcel, [row], now), events.drift_opened(row, drift, now), events.drift_closed(row, cast(Row[Any], old), now),
        events.written(row, action, parcels, False, now), events.found(_finding(now), row, closed=False), events.found(_finding(now, closed=True), row, closed=True),
        events.noticed(row, replace(action, kind="notice", notice=NoticeClass.OUT_FOR_DELIVERY, status=ShippingStatus.OUT_FOR_DELIVERY), now),
    ]  # fmt: skip
    return {one.type: one for one in told}


def _order() -> Row[Any]:
    return cast(Row[Any], SimpleNamespace(id=1, store="shop", number="#1001", ref="1001", status="shipped"))


def _finding(now: datetime, *, closed: bool = False) -> Row[Any]:
    row = SimpleNamespace(
        id=1, order_id=1, store="shop", subject="shop/#1001/ups/1Z999AA10123456784", kind=FindingKind.STUCK,
        severity=Severity.WARNING, act=Act.FOLLOW_UP, evidence={"order": "#1001", "parcel": "ups 1Z999AA10123456784"},
        since=now - 72 * _H, opened_at=now - _H, closed_at=now if closed else None, closed_by="decision" if closed else None,
        closed_reason=None, proposal="This is a test of Trackwright: there is nothing to do.", assigned_to=None,
    )  # fmt: skip
    return cast(Row[Any], row)

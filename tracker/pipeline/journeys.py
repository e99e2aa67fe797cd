"""Several shipments under one number in one answer: which of them is the parcel that the shop means.

Another division of the carrier, or an earlier use of the number, may share it. They are never put together: the one that
fits is told, by the shop's own words, by the dates, or because it is the one that was told before; where nobody can know,
none is believed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.domain.facts import Finding, Report, Scan, StoredScan
from tracker.domain.numbers import clean
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import Act, FindingKind, Severity, ShippingStatus
from tracker.store.tables import fulfilment_shipments, fulfilments, orders

_WORD = re.compile(r"[a-z0-9]+")


class Journey(NamedTuple):
    """What an answer tells of one shipment: its reports, the fingerprints of their scans, and where they lead."""

    reports: tuple[Report, ...]
    prints: frozenset[str]
    piece: str  # a service or a unique id, as the carrier prints it; empty where it prints none
    first: datetime
    newest: datetime
    status: ShippingStatus


class Named(NamedTuple):
    """The order that a parcel belongs to, and all that the shop says of its way: carrier, service, delivery method."""

    id: int
    store: str
    number: str
    words: frozenset[str]


def split_journeys(reports: Iterable[Report], read: Callable[[Scan], StoredScan]) -> list[Journey]:
    """Tell the journeys of one number apart: reports that share a scan are of one."""
    found: list[tuple[list[Report], dict[str, StoredScan]]] = []
    for report in reports:
        told = {one.fingerprint: one for one in map(read, report.scans)}
        mine = next((some for some in found if some[1].keys() & told.keys()), None)
        if mine is None:
            found.append(([report], told))
        else:
            mine[0].append(report)
            mine[1].update(told)
    return [_journey(some, told) for some, told in found]


def _journey(reports: Sequence[Report], told: dict[str, StoredScan]) -> Journey:
    instants = sorted(one.instant for one in told.values())
    piece = next((report.piece for report in reports if report.piece), "")
    return Journey(
        tuple(reports), frozenset(told), piece, instants[0], instants[-1], summarize(told.values()).status,
    )  # fmt: skip


def named(piece: str, words: Collection[str]) -> bool:
    """Say whether the shop's words name a service: `DHL Express` names `express`, `DHL Parcel` names `parcel-de`."""
    mine = _WORD.findall(piece.casefold())
    return bool(mine) and mine[0] in words


def choose(
    found: Sequence[Journey], words: Collection[str], begins: datetime | None, goes_on: Collection[Journey], told: str
) -> tuple[Journey | None, bool]:
    """Choose the journey that is the parcel's; the second value says whether that is known, and not only likely.

    `words` are the shop's. `begins`: what ended before it is another's. `goes_on`: those that were told before; where none
    was, `told` is the piece that was, and only the shop's word makes another of it.
    """
    fits = [one for one in found if named(one.piece, words)] or list(found)
    fits = [one for one in fits if begins is None or one.newest >= begins]
    if told and not goes_on:
        fits = [one for one in fits if named(one.piece, words) and not named(told, words)]
    if len(fits) == 1:
        return fits[0], True
    before = [one for one in fits if one in goes_on]
    return (before[0] if len(before) == 1 else None), False


def order_of(connection: Connection, shipment_id: int, number: str) -> Named | None:
    """Return the newest order that names a parcel, with the shop's words for how it travels."""
    o, f = orders.c, fulfilments.c
    row = connection.execute(
        sa.select(o.id, o.store, o.number, o.facts)
        .join(fulfilments, f.order_id == o.id)
        .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == f.id)
        .where(fulfilment_shipments.c.shipment_id == shipment_id)
        .order_by(o.id.desc())
        .limit(1)
    ).one_or_none()
    return Named(row.id, row.store, row.number, _words(row.facts, number)) if row is not None else None


def _words(facts: dict[str, Any], number: str) -> frozenset[str]:
    said = [facts.get("service"), facts.get("method")]
    for fulfilment in facts.get("fulfilments", ()):
        parcels = [p for p in fulfilment.get("parcels", ()) if clean(p.get("number") or "") == number]
        if parcels:
            said += [fulfilment.get("service"), *(p.get(name) for p in parcels for name in ("company", "typed"))]
    return frozenset(_WORD.findall(" ".join(filter(None, said)).casefold()))


def disagree(
    account: str, carrier: str, number: str, found: Sequence[Journey], chosen: Journey | None, order: Named | None
) -> Finding:
    """Say that several shipments stand under one number, and which of them is believed."""
    evidence = {
        "account": account, "parcel": f"{carrier} {number}", **({"order": order.number} if order else {}),
        "services": ", ".join(one.piece or "not told" for one in found),
        "statuses": ", ".join(str(one.status) for one in found),
        "newest": ", ".join(f"{one.newest:%Y-%m-%d %H:%M}Z" for one in found),
        "believed": (chosen.piece or str(chosen.status)) if chosen is not None else "none",
    }  # fmt: skip
    proposal = "say which one it is: by the service in the shop's word for the carrier, or in the account's settings"
    subject = f"parcel/{account}/{number}"
    return Finding(FindingKind.SOURCES_DISAGREE, subject, Severity.WARNING, Act.ACT, evidence, proposal=proposal)

"""What a plugin told, in the plain form that expected files are written in, and where it differs from them."""

from __future__ import annotations

from datetime import UTC
from itertools import zip_longest
from typing import Any

import orjson
from pydantic import TypeAdapter

from tracker.domain.cadence import DEFAULT, next_poll
from tracker.domain.facts import (
    UNMAPPED,
    ChangeNotice,
    Checkout,
    Order,
    Report,
    Scan,
    StoredScan,
    Summary,
    Unread,
    fingerprint,
)
from tracker.domain.timeline import place_in_time, summarize
from tracker.plugin.conformance.given import AT
from tracker.plugin.contracts import Carrier, Source


def facts(items: list[Report | Order | ChangeNotice | Checkout | Unread], plugin: Source) -> list[dict[str, Any]]:
    """Put facts into the plain form that expected files are written in: what is empty or default is left out."""
    found: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, Unread):
            said = {"unread": item.where, "problem": item.problem, "subject": item.subject, "lacks": item.lacks}
            found.append({name: value for name, value in said.items() if value})
        elif isinstance(item, ChangeNotice):
            found.append({"hint": item.ref})
        elif isinstance(item, Checkout):
            found.append({"checkout": item.ref, "contact": item.contact, "recovered": item.recovered})
        elif isinstance(item, Report):
            assert isinstance(plugin, Carrier)
            found.append(_report(item, plugin))
        else:
            found.append(_order(item))
    return found


def _report(report: Report, plugin: Carrier) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "carrier": report.carrier,
        "number": report.number,
        "scans": [_scan(scan, plugin) for scan in report.scans],
    }
    if report.tracking != "active":
        shown["tracking"] = str(report.tracking)
    if report.complete:
        shown["complete"] = True
    if report.edd:
        shown["edd"] = [report.edd.begins.isoformat(), report.edd.ends.isoformat()]
    if report.proof and (report.proof.signed or report.proof.photo):
        shown["proof"] = [name for name in ("signed", "photo") if getattr(report.proof, name)]
    if report.links:
        shown["links"] = [[link.relation, link.number] for link in report.links]
    if report.piece:
        shown["piece"] = report.piece
    if report.said:
        shown["said"] = report.said
    return shown


def _scan(scan: Scan, plugin: Carrier) -> dict[str, Any]:
    meaning = plugin.meaning(scan.code)
    said = "UNKNOWN" if meaning is None else f"{meaning.status or '='}/{meaning.reason or '-'}"
    return {
        "code": f"{scan.code.space}:{scan.code.code}",
        "means": said,
        "at": scan.occurred_at.astimezone(UTC).isoformat() if scan.occurred_at else None,
        "local": scan.local.isoformat() if scan.local else None,
        "zone": str(scan.zone),
        "place": str(scan.place),
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order": order.number,
        "ref": order.ref,
        "status": str(order.status),
        "raw_status": order.raw_status,
        "payment": str(order.payment),
        "fulfilments": [
            {
                "ref": f.ref,
                "live": f.live,
                "parcels": [[p.carrier, p.number] for p in f.parcels],
                "shown": f.published.raw if f.published else None,
            }
            for f in order.fulfilments
        ],
    }


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()


def differences(read: Any, expected: Any, where: str = "$") -> list[str]:
    """Say where two plain forms differ, value by value: `$[0].scans[1].means: read 'a', expected 'b'`."""
    if isinstance(read, dict) and isinstance(expected, dict):
        pairs = [(f"{where}.{key}", read.get(key, _NOTHING), expected.get(key, _NOTHING)) for key in read | expected]
    elif isinstance(read, list) and isinstance(expected, list):
        both = enumerate(zip_longest(read, expected, fillvalue=_NOTHING))
        pairs = [(f"{where}[{index}]", one, other) for index, (one, other) in both]
    else:
        return [] if read == expected else [f"{where}: read {read!r}, expected {expected!r}"]
    return [line for at, one, other in pairs for line in differences(one, other, at)]


def size(items: list[Any]) -> int:
    """Count what is told: orders and their lines, parcels and their scans."""
    told = [item for item in items if not isinstance(item, Unread)]
    return len(told) + sum(len(getattr(item, name, ())) for item in told for name in ("scans", "items", "fulfilments"))


def printed(items: list[Report | Order | ChangeNotice | Checkout | Unread]) -> list[str]:
    """Return the codes and words that `str` made of what is no text: they look like a code that nobody knows."""
    words = [scan.code.code for item in items if isinstance(item, Report) for scan in item.scans]
    words += [item.raw_status for item in items if isinstance(item, Order)]
    return [word for word in words if word in ("None", "True", "False") or word.startswith(("{", "["))]


def go_on(plugin: Source, items: list[Any]) -> None:
    """Do what the core does next with what a parser told. Raises nothing for facts that it can work with and store."""
    for item in items:
        if isinstance(item, Report):
            assert isinstance(plugin, Carrier)
            told = []
            for scan in item.scans:
                instant, zone = place_in_time(scan, plugin.default_zone, AT)
                assert instant.utcoffset() is not None
                meaning = plugin.meaning(scan.code) or UNMAPPED
                printed = fingerprint(scan, text_matters=plugin.text_matters)
                told.append(
                    StoredScan(
                        printed, scan.code.space, scan.code.code, meaning, instant, zone, scan.precision, scan.place
                    )
                )
                _storable(instant.astimezone(UTC).isoformat())
            summary = summarize(told)
            next_poll(summary, item.tracking, DEFAULT, AT, number=item.number, began=AT, edd=item.edd)
            for at in (item.as_of, *([item.edd.begins, item.edd.ends] if item.edd else [])):
                assert at is None or at.astimezone(UTC)
            _storable(_SUMMARY.dump_python(summary, mode="json"))
        _storable(_ADAPTERS[type(item)].dump_python(item, mode="json"))


_SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
_ADAPTERS: dict[type, TypeAdapter[Any]] = {
    one: TypeAdapter(one) for one in (Report, Order, ChangeNotice, Checkout, Unread)
}


def _storable(value: Any) -> None:
    """Demand what every database takes: no NUL, no half a character, no number of more than 64 bits."""
    assert b"\\u0000" not in orjson.dumps(value)

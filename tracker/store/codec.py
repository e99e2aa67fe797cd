"""Domain facts as JSON and back; the values of enums are what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from tracker.domain.facts import Action, Finding, Order, Proof, Receipt, Summary

ORDER: TypeAdapter[Order] = TypeAdapter(Order)
ACTION: TypeAdapter[Action] = TypeAdapter(Action)
SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)
RECEIPT: TypeAdapter[Receipt] = TypeAdapter(Receipt)
PROOF: TypeAdapter[Proof] = TypeAdapter(Proof)


def dump(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Return the JSON form of a fact."""
    return adapter.dump_python(value, mode="json")


def dump_order(order: Order) -> Any:
    """Return the JSON form of an order as it was read: without its history and what people said of it.

    What came with this version and says nothing is left out: an order that a version before stored is not a changed one.
    """
    stored = dump(ORDER, replace(order, history=(), statements=()))
    _leave_out(stored, "gone")
    _leave_out(stored, "partial")
    for fulfilment in stored["fulfilments"]:
        _leave_out(fulfilment, "unreadable")
        for parcel in fulfilment["parcels"]:
            _leave_out(parcel, "typed")
    return stored


def _leave_out(stored: dict[str, Any], key: str) -> None:
    if not stored[key]:
        del stored[key]


def plain(text: str, most: int = 200) -> str:
    """Return a text as any database takes it: clipped, without NUL, without half a character."""
    return text[:most].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()

"""Domain facts as JSON and back; the values of enums are what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from tracker.domain.facts import Action, Finding, Order, Proof, Receipt, Summary
from tracker.domain.policy import Policy

ORDER: TypeAdapter[Order] = TypeAdapter(Order)
ACTION: TypeAdapter[Action] = TypeAdapter(Action)
SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
FINDING: TypeAdapter[Finding] = TypeAdapter(Finding)
RECEIPT: TypeAdapter[Receipt] = TypeAdapter(Receipt)
PROOF: TypeAdapter[Proof] = TypeAdapter(Proof)
POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)

_LATER = (
    "gone",
    "partial",
    "shown",
    "label",
    "test",
    "cancel_reason",
    "channel",
    "risk",
    "closed_at",
)  # than the first stored orders
EXACT = "exact"  # the key of a stored policy under which it stands whole


def dump(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Return the JSON form of a fact."""
    return adapter.dump_python(value, mode="json")


def dump_order(order: Order) -> Any:
    """Return the JSON form of an order as it was read: without its history and what people said of it.

    What came with this version and says nothing is left out: an order that a version before stored is not a changed one.
    """
    stored = dump(ORDER, replace(order, history=(), statements=()))
    for name in _LATER:
        _leave_out(stored, name)
    for fulfilment in stored["fulfilments"]:
        _leave_out(fulfilment, "unreadable")
        for parcel in fulfilment["parcels"]:
            _leave_out(parcel, "typed")
    return stored


def without_persons(facts: dict[str, Any]) -> dict[str, Any]:
    """Return an order's stored facts without what may name a person: what was bought, and what people typed into tracking fields."""

    def but(told: dict[str, Any], key: str) -> dict[str, Any]:
        return {name: value for name, value in told.items() if name != key}

    parts = [
        but(part, "unreadable") | {"parcels": [but(one, "typed") for one in part["parcels"]]}
        for part in facts["fulfilments"]
    ]
    return {**facts, "items": [{**item, "name": ""} for item in facts["items"]], "fulfilments": parts}


def _leave_out(stored: dict[str, Any], key: str) -> None:
    if not stored[key]:
        del stored[key]


def plain(text: str, most: int = 200) -> str:
    """Return a text as any database takes it: clipped, without NUL, without half a character."""
    return text[:most].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def dump_policy(policy: Policy) -> Any:
    """Return the JSON form of a policy, whole: what it makes can be asked again when another one is in force."""
    names = policy.__dataclass_fields__
    plain: dict[str, Any] = {n: dict(value) for n in names if isinstance(value := getattr(policy, n), Mapping)}
    return dump(POLICY, replace(policy, **plain))

"""What each plugin can do, read from its code: `tracker plugins`, and the matrix of README."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path
from typing import Any

from tracker.plugin.contracts import Carrier, Platform, Source

# what each platform must tell of an order, and no row of a matrix says
ALWAYS = frozenset(
    {"store", "ref", "number", "status", "raw_status", "payment", "raw_payment", "placed_at", "updated_at", "cancelled_at", "fulfilments"}
)  # fmt: skip
CARRIERS = (
    "plugin",
    "tells of",
    "asked",
    "hears",
    "proves",
    "documents",
    "codes",
    "times without a zone",
    "unverified",
)
COLUMNS = ("platform", "reads beside status, payment and tracking", "sweeps", "hears", "proves", "writes", "unverified")


def row(name: str, plugin: type[Source]) -> dict[str, Any]:
    """Return what a plugin can do, and what of its platform or carrier no document tells, as `tracker plugins --json` prints it."""
    platform = issubclass(plugin, Platform)
    return {
        "plugin": name,
        "kind": "carrier" if issubclass(plugin, Carrier) else "platform",
        "carriers": list(getattr(plugin, "carriers", ())),
        "vocabulary": list(plugin.vocabulary),
        "makes_hooks": plugin.make_hook is not Source.make_hook,
        "asks": sorted(ask.__name__ for ask in plugin.asks) + ["files"] * getattr(plugin, "files", False),
        "webhooks": plugin.webhooks,
        "trust": str(plugin.trust) if plugin.webhooks else None,
        "registers": getattr(plugin, "registers", None),
        "registers_first": getattr(plugin, "registers_first", None),
        "numbers_a_call": getattr(plugin, "batch", None),
        "codes": len(getattr(plugin, "codes", ())) or None,
        "order_words": len(plugin.statuses) if issubclass(plugin, Platform) else None,
        "reads": list(told_of_orders(plugin)) if platform else None,
        "writes": written(plugin) if issubclass(plugin, Platform) else None,
        "unverified": list(plugin.unverified),
        "docs": plugin.docs,
        "documents": getattr(plugin, "proves", None),
        "zone": getattr(plugin, "default_zone", None),
    }


def shown_carrier(told: dict[str, Any]) -> tuple[str, ...]:
    """Return a carrier's row of the matrix, in the order of CARRIERS."""
    ways = [
        ("Parcels" in told["asks"], f"{told['numbers_a_call']} a call" if told["numbers_a_call"] > 1 else "one a call"),
        ("Since" in told["asks"], "a feed of what changed"),
        ("files" in told["asks"], "files"),
    ]
    hears = "registers numbers" if told["registers"] else "webhooks" if told["webhooks"] else "-"
    return (
        told["plugin"],
        ", ".join(told["carriers"]) or "any carrier",
        ", ".join(said for is_so, said in ways if is_so) or "-",
        f"{hears}, webhooks" if told["registers"] and told["webhooks"] else hears,
        told["trust"] or "-",
        "yes" if told["documents"] else "-",
        f"{told['codes']:,}" if told["codes"] else "yours",
        told["zone"],
        "; ".join(told["unverified"]) or "-",
    )


def shown(told: dict[str, Any]) -> tuple[str, ...]:
    """Return a platform's row of the matrix, in the order of COLUMNS."""
    hears = "no webhooks" if not told["webhooks"] else "webhooks, made by us" if told["makes_hooks"] else "webhooks"
    return (
        told["plugin"],
        ", ".join(told["reads"]) or "nothing",
        "what changed" if "Since" in told["asks"] else "no",
        hears,
        told["trust"] or "-",
        ", ".join(told["writes"]) or "nothing",
        "; ".join(told["unverified"]) or "-",
    )


def actors(plugin: type[Platform]) -> str:
    """Say where the platform does not tell who set an order's status; empty where it tells of each."""
    if "actor" not in told_of_orders(plugin):
        return "the platform does not tell who set an order's status: none is put back (restore_from)"
    return plugin.actors


def written(plugin: type[Platform]) -> list[str]:
    """Name what `push` takes; what of it a store has written its policy says."""
    takes = {
        "order status": plugin.order_status_map is not Platform.order_status_map,
        "shipping status": plugin.status_map is not Platform.status_map,
        "a field": plugin.takes_fields,
        "a tag": plugin.takes_tags,
        "notes": plugin.takes_notes,
        "a number (a person only)": plugin.takes_numbers,
    }
    return [kind for kind, is_so in takes.items() if is_so]


@cache
def told_of_orders(plugin: type[Source]) -> tuple[str, ...]:
    """Return the facts that a plugin tells of orders, beside what each must: the names that its code gives to `Order(...)`.

    A constant (`owner=Owner.UNKNOWN`) tells nothing.
    """
    file = Path(inspect.getfile(plugin))
    files = file.parent.glob("*.py") if plugin.__module__.count(".") > 1 else [file]
    found: dict[str, None] = {}
    for tree in (ast.parse(one.read_text(encoding="utf-8")) for one in sorted(files)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Order":
                told = [one for one in node.keywords if one.arg and not _constant(one.value)]
                found |= dict.fromkeys(str(one.arg).replace("_", " ") for one in told if one.arg not in ALWAYS)
    return tuple(found)


def _constant(value: ast.expr) -> bool:
    """Say whether a value is the same for each order: a literal, or a word of an enumeration."""
    word = isinstance(value, ast.Attribute) and value.attr.isupper()
    return word or isinstance(value, ast.Constant)

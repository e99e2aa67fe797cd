"""The columns of the matrix: a platform, in the settings that a merchant would give it, and what can be said there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from tracker.config.presets import bind
from tracker.config.yamlfile import Document
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.conformance.given import example_settings, plugin_of
from tracker.plugin.contracts import Platform

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("platforms.yaml")


@dataclass(frozen=True)
class Column:
    """A platform of the matrix. `reads`: the shop's word of each order status; `writes`: those that the worker may set."""

    name: str
    uses: str
    native: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    entry: str = ""
    reads: Mapping[OrderStatus, str] = field(default_factory=dict)
    writes: Mapping[OrderStatus, str] = field(default_factory=dict)
    payments: Mapping[str, str] = field(default_factory=dict)
    sets: bool = True
    ships: bool = False
    names: str = "#{}"
    store: Mapping[str, Any] = field(default_factory=dict)
    companies: Mapping[str, str] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    has: frozenset[str] = frozenset()


@cache
def columns() -> dict[str, Column]:
    """Return the columns by name, as the file and the plugins say."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: _column(name, told) for name, told in found.items()}


def _column(name: str, told: dict[str, Any]) -> Column:
    settings = dict(told.get("settings") or {})
    if told.get("statuses") and not told.get("entry"):
        settings["statuses"] = told["statuses"]
    if told.get("entry"):
        shown = yaml.safe_load((ROOT / told["entry"]).read_text(encoding="utf-8"))["stores"]
        (entry,) = shown.values()
        statuses: Mapping[str, Any] = {**told.get("statuses", {}), **entry["statuses"]}
        writes = {OrderStatus(status): word for status, word in entry["writes"]["status"]["words"].items()}
    elif told.get("native"):
        statuses, writes = {}, {}
    else:
        plugin = platform(told["uses"], settings)
        statuses, writes = {**plugin.statuses, **settings.get("statuses", {})}, dict(plugin.order_status_map())
    reads = dict(writes)
    for word, status in statuses.items():
        reads.setdefault(OrderStatus(status), word)
    return Column(
        name, told["uses"], bool(told.get("native")), settings, told.get("entry", ""), reads, writes,
        told.get("payments") or {}, told.get("sets", True), told.get("ships", False), told.get("names", "#{}"),
        told.get("store") or {}, told.get("companies") or {}, tuple(told.get("named", ())), frozenset(told.get("has", ())),
    )  # fmt: skip


def platform(uses: str, settings: Mapping[str, Any]) -> Platform:
    """Return a platform's plugin, bound to these settings and to invented ones where it needs more."""
    plugin = plugin_of(f"adapters.{uses}")
    return cast(Platform, plugin("shop", example_settings(plugin, **settings)))


def policy_of(given: Mapping[str, Any], words: str) -> Policy:
    """Return a store's whole policy, as a scenario that names a `rest` store in these words has it."""
    rest = platform("rest", {"words": words} if words != "own" else {})
    return bind(given, rest, (), Document("a scenario")).policy

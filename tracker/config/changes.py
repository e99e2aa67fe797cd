"""What a new configuration changes: which accounts and stores, which of their keys, and what of the root needs a restart. Never a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel

from tracker.config.model import Account, Config
from tracker.config.presets import policy_values

MOST_TOLD = 20
# what of the root is looked at while we run; anything else is when a process starts
LIVE = (
    "cadence", "stuck_after", "retention", "notices", "telling", "mail", "watch", "api.token", "api.tokens", "page.token", "page.tokens", "mcp.token", "mcp.tokens", "web.public_url", "web.max_body", "web.header_timeout",
    "web.request_timeout", "web.connections_per_address",
)  # fmt: skip
_WITH_TOKEN = ("api", "page", "mcp")  # each listens from the start on, where it has a token then
_OF_FILE = {"accounts", "stores", "include", "defaults"}
_NO_KEYS = {
    "name",
    "source",
    "credentials",
    "policy",
    "policy_hash",
    "policy_sources",
    "cadence_sources",
    "limit_sources",
}
_CALLED = {
    "webhook_tokens": "webhook_token", "ships_with": "accounts", "side_by_side": "budget.side_by_side", "tokens": "budget.tokens",
}  # fmt: skip


@dataclass(frozen=True)
class Changes:
    """What differs between two configurations: names such as `stores.shop`, keys such as `policy.stuck_after`."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[str, ...]] | None = None
    suspended: tuple[str, ...] = ()  # that were right before, or were not there
    as_before: tuple[str, ...] = ()  # whose secrets are away: they go on by their settings of before
    mended: tuple[str, ...] = ()
    root: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()  # those of the root that are looked at at start only

    def row(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "added": list(self.added), "removed": list(self.removed),
            "changed": {name: list(keys) for name, keys in (self.changed or {}).items()}, "suspended": list(self.suspended),
            "as_before": list(self.as_before), "mended": list(self.mended), "root": list(self.root), "needs_restart": list(self.needs_restart),
        }  # fmt: skip


def told(row: Mapping[str, Any]) -> str:
    """Say changes (as `Changes.row` gives them) in one line."""
    changed = [f"{name} ({', '.join(keys)})" for name, keys in row["changed"].items()]
    parts = {**row, "changed": changed}
    words = {
        "added": "added", "removed": "removed", "changed": "changed", "suspended": "suspended", "as_before": "going on by their settings of before", "mended": "mended", "root": "of the root",
        "needs_restart": "taken at the next start only",
    }  # fmt: skip
    said = [f"{word} {_some(parts[key])}" for key, word in words.items() if parts[key]]
    return "; ".join(said) or "nothing changed"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else ""
    return ", ".join(names[:MOST_TOLD]) + more


def changes(before: Config, after: Config) -> Changes:
    """Compare two configurations."""
    old, new = _names(before), _names(after)
    changed: dict[str, tuple[str, ...]] = {}
    rules: dict[str, dict[str, Any]] = {}  # of each policy: many stores have the same
    for name in sorted(new.keys() & old.keys(), key=lambda one: new[one]):
        one, other = before.accounts.get(name), after.accounts.get(name)
        if one is not None and other is not None and (keys := tuple(_keys(one, other, rules))):
            changed[new[name]] = keys
    root = _root(before, after)
    live = tuple(key for key in LIVE if key.partition(".")[0] not in set(_opened(before, after)))
    return Changes(
        tuple(sorted(new[name] for name in new.keys() - old.keys())),
        tuple(sorted(old[name] for name in old.keys() - new.keys())),
        changed,
        tuple(sorted(new[name] for name in after.suspended if name not in before.suspended)),
        tuple(sorted(new[name] for name in after.as_before)),
        tuple(
            sorted(
                new[name]
                for name in (*before.suspended, *before.as_before)
                if name in after.accounts and name not in after.as_before
            )
        ),
        root,
        tuple(key for key in root if not any(key == one or key.startswith(f"{one}.") for one in live)),
    )


def _opened(before: Config, after: Config) -> Iterator[str]:
    """Name the parts that have a token now, and had none before."""
    for name in _WITH_TOKEN:
        one, other = getattr(before.root, name), getattr(after.root, name)
        if (other.token is not None or other.tokens) and one.token is None and not one.tokens:
            yield name


def _names(config: Config) -> dict[str, str]:
    """Return all entries by name, those that are suspended too, each with its section."""
    stores = {name: account.is_store for name, account in config.accounts.items()}
    stores |= {name: wrong.is_store for name, wrong in config.suspended.items()}
    return {name: f"{'stores' if is_store else 'accounts'}.{name}" for name, is_store in stores.items()}


def _keys(one: Account, other: Account, rules: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Name the keys of an entry whose values differ."""
    for field in fields(Account):
        if field.name not in _NO_KEYS and getattr(one, field.name) != getattr(other, field.name):
            yield _CALLED.get(field.name, field.name)
    settings, others = _flat(one.source.settings), _flat(other.source.settings)
    yield from sorted(key for key in settings.keys() | others.keys() if settings.get(key) != others.get(key))
    if one.policy_hash != other.policy_hash:
        for account in (one, other):
            if account.policy_hash not in rules:
                rules[account.policy_hash] = policy_values(account.policy)
        was, now = rules[one.policy_hash], rules[other.policy_hash]
        yield from (f"policy.{key}" for key in now if was.get(key) != now[key])


def _flat(settings: BaseModel) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in type(settings).model_fields}


def _root(before: Config, after: Config) -> tuple[str, ...]:
    one, other = (dict(_leaves(config.root.model_dump(exclude=_OF_FILE))) for config in (before, after))
    return tuple(key for key in other if one.get(key) != other[key]) + tuple(key for key in one if key not in other)


def _leaves(value: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, f"{place}{key}.")
        else:
            yield f"{place}{key}", inner

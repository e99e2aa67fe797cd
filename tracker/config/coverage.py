"""What is covered: how news of each carrier's parcels comes by each account, and what is read and written of each store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracker.config.besides import besides
from tracker.config.model import Account, Config
from tracker.config.presets import spell
from tracker.domain.facts import Parcels, Refs, Since
from tracker.domain.vocabulary import Trust
from tracker.plugin.contracts import Source

FEW = 20  # accounts or stores of which each has a line of its own
NAMED = 3  # of those that are told together
Row = Mapping[str, str]


def coverage(config: Config) -> dict[str, list[Row]]:
    """Return a row a carrier and account, a row a store, and a row for what writes do beside, as the file has them. No secret is in them; what is missing is said."""
    return {
        "accounts": [row for account in config.carrier_accounts() for row in _of_account(account)],
        "stores": [_of_store(account) for account in config.store_accounts()],
        "side_effects": [row for account in config.store_accounts() for row in besides(account)],
    }


def together(rows: Iterable[Row], name: str) -> Iterator[dict[str, Any]]:
    """Tell once what is alike, where there are more than a few: with how many there are, and some names (under `name`)."""
    rows = list(rows)
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for row in rows if len(rows) > FEW else ():
        alike.setdefault(tuple((key, value) for key, value in row.items() if key != name), []).append(row[name])
    for values, names in alike.items():
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        yield {name: f"{', '.join(names[:NAMED])}{more}", **dict(values)}
    yield from (dict(row) for row in rows if len(rows) <= FEW)


def _of_account(account: Account) -> Iterator[Row]:
    source = account.carrier
    each = f"by number ({source.batch} a call)" if source.batch > 1 else "by number"
    ways = {
        each: Parcels in source.asks, f"feed every {spell(account.sweep_every)}": Since in source.asks,
        "files of its folder": account.folder is not None, "files by sftp": account.sftp is not None,
    }  # fmt: skip
    poll = ", ".join(way for way, there in ways.items() if there)
    push, signed = _hooks(source, "polls only" if source.asks & {Parcels, Since} else "files only")
    limits = [f"{account.budget.calls:,} calls in {spell(account.budget.per)}"] if account.budget else []
    limits += [f"{account.side_by_side} side by side"] if account.side_by_side is not None else []
    for carrier in account.speaks or ("any",):
        yield {
            "carrier": carrier, "account": account.name, "uses": account.uses, "poll": poll or "no", "push": push, "signed": signed,
            "limit": ", ".join(limits) or "none stated",
        }  # fmt: skip


def _of_store(account: Account) -> Row:
    source = account.platform
    ways = [f"sweep every {spell(account.sweep_every)}"] if Since in source.asks else []
    ways += ["order by id"] if Refs in source.asks else []
    push, signed = _hooks(source, "sweeps only")
    return {
        "store": account.name, "uses": account.uses, "reads": ", ".join(ways) or "none", "hooks": signed or push,
        "writes": _writes(account),
    }  # fmt: skip


def _hooks(source: Source, without: str) -> tuple[str, str]:
    """Say whether pushes come and whether they are signed, which is empty where none come; `without`: what is left then."""
    if not source.webhooks:
        return f"none: {without}", ""
    if missing := source.webhooks_need():
        return f"none: {missing} unset; {without}", ""
    return "yes", "signed" if source.trust is Trust.SIGNED else "unsigned: address token"


def _writes(account: Account) -> str:
    """Say what may be written to a store, by its mode and its policy."""
    if account.mode != "write":
        return f"none ({account.mode})"
    if not account.writes_per_hour:
        return "none (writes_per_hour is 0)"
    policy = account.policy
    ways = ["shipping status"] if policy.words else []
    targets = {status for one in policy.writes.values() for status in one} & {*policy.order_words} - {*policy.withheld}
    if targets:
        ways.append(f"order status ({', '.join(sorted(targets))})")
    ways += [f"field {policy.status_field}"] if policy.status_field else []
    ways += [f"tag {policy.status_tag}:..."] if policy.status_tag else []
    ways += ["notes"] if account.platform.takes_notes else []
    ways += ["corrected numbers"] if account.platform.takes_numbers else []
    return ", ".join(ways) or "none (by its policy)"

"""How carriers, lanes and accounts did: from the counts that are kept by day, so that no parcel is read for them.

What each number means is said once, in MEANINGS; `parcels_of` lists the parcels of any of them (support/report_parcels.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from tracker.domain.errors import TrackerError
from tracker.domain.performance import SLOW_HOOK, percentile
from tracker.domain.policy import Policy
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import account_days, accounts, report_days, report_state, shipments

ALL = "*"
REPORTS = ("carriers", "lanes", "exceptions", "accounts")
BY = ("service", "store", "carrier", "month", "week")
MOST_DAYS = 3660
COUNTED_TO = 10_000  # parcels that wait are counted so far
FEW = 5  # a percentile of fewer parcels is told with how many they are
MEANINGS = {
    "parcels": "parcels that an order names (test orders do not count), on the day their carrier took them over; before that on the day they began",
    "handed_over": "of them, those that their carrier has or had",
    "open": "whose journey is not over",
    "delivered": "delivered to the recipient",
    "returned": "on their way back to the sender, or back",
    "lost": "lost or destroyed",
    "cancelled": "whose label was voided",
    "estimated": "of which an estimate was heard before the delivery was, and is known to be the first",
    "on_time": "there by the end of the first estimate that was heard; a day without an hour ends where the parcel is delivered",
    "late": "not there by then, whatever became of them",
    "on_time_share": "on_time / (on_time + late)",
    "not_due": "whose first estimate is not over yet",
    "no_estimate": "of which none was heard before the delivery was, or whose label was voided",
    "not_known": "of which the first estimate, or the moment of the delivery, is not known",
    "last_on_time": "there by the end of the last estimate that was heard before the delivery was",
    "last_late": "not there by then",
    "last_on_time_share": "last_on_time / (last_on_time + last_late)",
    "days_p50": "business days from the day of the hand-over to that of the delivery, by the store's calendar: the median",
    "days_p95": "and what 95 of 100 do not exceed",
    "days_of": "of how many parcels both days are known",
    "first_attempt": "delivered at the first attempt",
    "first_attempt_of": "of how many that is known",
    "first_attempt_share": "first_attempt / first_attempt_of",
    "exceptions": "that were held, delayed, given up, lost or had another problem on their way out",
    "silent": "of which nothing was told for too long while their carrier had them (`stuck_after` of the store's policy)",
    "webhook_delay_p50": "seconds from a scan to the webhook that told it first, where its moment is sure: at most so many, the median",
    "webhook_delay_p95": "and what 95 of 100 do not exceed",
    "webhook_delay_of": "of how many webhooks",
    "slow_webhooks": f"of them, those that took more than {SLOW_HOOK // 60} minutes",
}  # fmt: skip
MISSES = {
    "webhook_told": "scans that a webhook told, an hour after a poll did at the latest; of the day (UTC) on which we heard of them",
    "only_polled": "scans that no webhook told by then, although it was to",
    "miss_rate": "only_polled / (webhook_told + only_polled)",
}


class WrongQuestion(TrackerError):
    """A report that cannot be made: what is wrong with what was asked."""


@dataclass(frozen=True)
class Asked:
    """What a report is about. `since`, `until`: days, both of them in it. `store`: one, some (a set), or all (None)."""

    since: date
    until: date
    store: queries.Stores = None
    carrier: str | None = None
    account: str | None = None
    service: str | None = None
    lane: tuple[str, str] | None = None
    by: str | None = None


def asked(
    ctx: AppContext, *, since: str | None = None, until: str | None = None, lane: str | None = None, **more: Any
) -> Asked:
    """Read what is asked: days as `2026-11-01` or how far back (`30d`, `4w`, `6m`). Raises WrongQuestion."""
    now_there = today(ctx, more.get("store"))
    last = _day(until, now_there, "until") if until is not None else now_there
    first = _day(since, last, "since") if since is not None else last - timedelta(days=29)
    if first > now_there:
        raise WrongQuestion(f"since {first} lies ahead: today is {now_there} ({zone(ctx, more.get('store'))})")
    if last < first:
        raise WrongQuestion(f"until {last} lies before since {first}")
    if (last - first).days > MOST_DAYS:
        raise WrongQuestion(f"from {first} to {last} are more than ten years")
    return Asked(first, last, lane=_lane(lane), **more)


def _day(text: str, today_: date, name: str) -> date:
    if back := re.fullmatch(r"(\d{1,4})([dwm])", text):
        many, unit = int(back[1]), back[2]
        days = many * {"d": 1, "w": 7, "m": 30}[unit]
        return today_ - timedelta(days=max(0, min(days, 100 * 365) - 1))
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise WrongQuestion(
            f"{name} {text!r}: a day such as 2026-11-01, or how far back, such as 30d, 4w or 6m"
        ) from None


def _lane(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    ends = re.fullmatch(r"([A-Za-z]{2}|\?)-([A-Za-z]{2}|\?)", text)
    if ends is None:
        raise WrongQuestion(f"lane {text!r}: two countries such as DE-FR, ? for one that is not known")
    return ends[1].upper().replace("?", ""), ends[2].upper().replace("?", "")


def zone(ctx: AppContext, store: queries.Stores) -> str:
    """Return by whose midnight days are told: the store's zone, or that each store has its own."""
    found = _zones(ctx, store)
    return found.pop() if len(found) == 1 else "the zone of each store"


def today(ctx: AppContext, store: queries.Stores) -> date:
    """Return the day that it is in the stores; where it is two, the later one."""
    return max(ctx.now().astimezone(ZoneInfo(name)).date() for name in _zones(ctx, store))


def _zones(ctx: AppContext, store: queries.Stores) -> set[str]:
    names = ctx.config.store_names() if store is None else [store] if isinstance(store, str) else sorted(store)
    found = {one.policy.calendar.zone for name in names if (one := ctx.config.account(name)) is not None}
    return found or {Policy().calendar.zone}


def report(ctx: AppContext, what: str, ask: Asked) -> dict[str, Any]:
    """Make a report (of REPORTS): plain data, with what its numbers rest on and how far was counted.

    `rows`: what is told apart and the numbers of MEANINGS; of `exceptions` `status`, `reason`, `parcels`, `of` and `share`;
    of `accounts`, where no store, carrier, service or lane is asked for and nothing told apart further, those of MISSES. `total`: the same of all of them. `counted`: `as_of`,
    `waiting`, `whole`, `said`. `known`: the first and last day of which anything is known.
    """
    keys = _keys(what, ask)
    with ctx.store.read() as connection:
        groups = _added(connection.execute(_days(ask, by_store=ask.by == "store")), list(keys.values()))
        if ask.by == "store":  # a parcel that two of them ship counts once
            total = _added(connection.execute(_days(ask, by_store=False)), []).get((), {})
        else:
            total = _sum(groups.values())
        misses = _misses(connection, ask) if what == "accounts" and _of_all(ask) else None
        known = connection.execute(_known(ask)).one()
        counted = _counted(connection, alone=isinstance(ask.store, frozenset))
    named = [dict(zip(keys, group, strict=True)) for group in groups]
    if what == "exceptions":
        rows = [row for name, counts in zip(named, groups.values(), strict=True) for row in _problems(name, counts)]
        rows.sort(key=lambda row: (-row["parcels"], *(str(row[key]) for key in (*keys, "status", "reason"))))
    else:
        rows = [{**name, **measures(counts)} for name, counts in zip(named, groups.values(), strict=True)]
        rows.sort(
            key=lambda row: (
                *(row[key] for key in keys if key in ("month", "week")),
                -row["parcels"],
                *(str(row[key]) for key in keys),
            )
        )
    if misses is not None:
        rows = _with_misses(rows, misses)
    return {
        "report": what, "by": ask.by, "since": ask.since, "until": ask.until, "zone": zone(ctx, ask.store),
        "store": sorted(ask.store) if isinstance(ask.store, frozenset) else ask.store, "carrier": ask.carrier, "account": ask.account,
        "service": ask.service, "lane": "-".join(end or "?" for end in ask.lane) if ask.lane else None, "rows": rows,
        "total": measures(total), "known": {"since": known[0], "until": known[1]}, "counted": counted,
    }  # fmt: skip


def _added(rows: Iterable[Any], keys: Sequence[Callable[[Any], str]]) -> dict[tuple[str, ...], dict[str, int]]:
    """Add up the counts of days by what is told apart: a Counter's own `update` takes three times as long, and a year has many rows."""
    groups: dict[tuple[str, ...], dict[str, int]] = {}
    for row in rows:
        group = groups.setdefault(tuple([one(row) for one in keys]), {})
        for name, many in row.counts.items():
            group[name] = group.get(name, 0) + many
    return groups


def _sum(groups: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in groups:
        total.update(counts)
    return total


def _keys(what: str, ask: Asked) -> dict[str, Callable[[Any], str]]:
    """Return what the rows of a report tell apart, and how each is read of a row of counts."""
    known: dict[str, Callable[[Any], str]] = {
        "carrier": lambda row: row.carrier, "account": lambda row: row.account, "service": lambda row: row.service,
        "store": lambda row: row.store, "lane": lambda row: f"{row.origin or '?'}-{row.destination or '?'}",
        "month": lambda row: row.day[:7], "week": lambda row: "{}-W{:02}".format(*date.fromisoformat(row.day).isocalendar()[:2]),
    }  # fmt: skip
    first = {"carriers": "carrier", "lanes": "lane", "exceptions": "carrier", "accounts": "account"}[what]
    return {name: known[name] for name in (first, ask.by) if name is not None}


def _days(ask: Asked, *, by_store: bool) -> sa.Select[Any]:
    """Select the counts of the days that are asked for; of all stores together where they are not told apart."""
    d = report_days.c
    columns = (d.day, d.store, d.carrier, d.account, d.service, d.origin, d.destination, d.counts)
    if ask.store is None:
        where: list[Any] = [d.store != ALL if by_store else d.store == ALL]
    else:
        where = queries.of_stores(d.store, ask.store)
    where += [d.day >= str(ask.since), d.day <= str(ask.until)]
    named = ((d.carrier, ask.carrier), (d.account, ask.account), (d.service, ask.service))
    where += [column == value for column, value in named if value is not None]
    if ask.lane is not None:
        where += [d.origin == ask.lane[0], d.destination == ask.lane[1]]
    return sa.select(*columns).where(*where)


def _known(ask: Asked) -> sa.Select[Any]:
    d = report_days.c
    here = [d.store == ALL] if ask.store is None else queries.of_stores(d.store, ask.store)
    return sa.select(sa.func.min(d.day), sa.func.max(d.day)).where(*here)


def _counted(connection: sa.Connection, *, alone: bool) -> dict[str, Any]:
    """Say how far was counted: a number that is not whole is never told as one.

    `alone`: to who sees some stores only, and so is not told how many parcels there are in all: those numbers are None.
    """
    state = connection.execute(sa.select(report_state)).first()
    s = shipments.c
    marked = sa.select(s.id).where(s.recount.is_(True)).limit(COUNTED_TO).subquery()
    waiting = connection.execute(sa.select(sa.func.count()).select_from(marked)).scalar_one()
    if state is None:
        return {"as_of": None, "waiting": None if alone else waiting, "whole": False, "walked_to": 0, "walk_ends": None,
                "said": "nothing is counted yet: the scheduler (tracker up) does it"}  # fmt: skip
    whole = state.whole_at is not None
    many = f"{waiting:,}{' or more' if waiting >= COUNTED_TO else ''} parcel{'' if waiting == 1 else 's'} changed since"
    many = "some parcels changed since" if alone else many
    if not whole:
        share = 100 * state.walked_to // max(state.walk_ends, 1)
        far = f"{share} %" if alone else f"parcels up to number {state.walked_to:,} of {state.walk_ends:,} ({share} %)"
        said = f"still counting: {far}; the rest is missing in these numbers"
    else:
        said = f"counted as of {state.counted_at or state.whole_at:%Y-%m-%d %H:%M}Z" + (f"; {many}" if waiting else "")
    return {
        "as_of": state.counted_at if whole else None, "waiting": None if alone else waiting, "whole": whole,
        "walked_to": None if alone else state.walked_to, "walk_ends": None if alone else state.walk_ends, "said": said,
    }  # fmt: skip


def measures(counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the numbers of MEANINGS of what was counted; None where nothing is known."""

    def of(name: str) -> int:
        return counts.get(name, 0)

    days, delays = _histogram(counts, "days/"), _histogram(counts, "delay/")
    first, last = (of("first/on_time"), of("first/late")), (of("last/on_time"), of("last/late"))
    tried = of("attempt/yes") + of("attempt/no")
    return {
        "parcels": of("parcels"), "handed_over": of("handed_over"), "open": of("end/open"), "delivered": of("end/delivered"),
        "returned": of("returned"), "lost": of("end/lost") + of("end/destroyed"), "cancelled": of("end/cancelled"),
        "estimated": sum(first) + of("first/not_due"), "on_time": first[0], "late": first[1], "on_time_share": share(*first),
        "not_due": of("first/not_due"), "no_estimate": of("first/no_estimate"), "not_known": of("first/unknown"),
        "last_on_time": last[0], "last_late": last[1], "last_on_time_share": share(*last),
        "days_p50": percentile(days, 0.5), "days_p95": percentile(days, 0.95), "days_of": sum(days.values()),
        "first_attempt": of("attempt/yes"), "first_attempt_of": tried,
        "first_attempt_share": share(of("attempt/yes"), of("attempt/no")), "exceptions": of("exceptions"), "silent": of("silent"),
        "webhook_delay_p50": percentile(delays, 0.5), "webhook_delay_p95": percentile(delays, 0.95),
        "webhook_delay_of": sum(delays.values()), "slow_webhooks": sum(n for bound, n in delays.items() if bound > SLOW_HOOK),
    }  # fmt: skip


def share(good: int, other: int) -> float | None:
    """Return which share of both is good, to a thousandth; None where there is neither."""
    return round(good / (good + other), 3) if good + other else None


def _histogram(counts: Mapping[str, int], prefix: str) -> dict[int, int]:
    return {int(name.removeprefix(prefix)): many for name, many in counts.items() if name.startswith(prefix)}


def _problems(name: Mapping[str, str], counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return a row for each problem that parcels of a group had, by the carrier's status and reason."""
    found = []
    for key, many in counts.items():
        if key.startswith("problem/"):
            status, _, reason = key.removeprefix("problem/").partition("/")
            of = counts["parcels"]
            found.append(
                {**name, "status": status, "reason": reason, "parcels": many, "of": of, "share": share(many, of - many)}
            )
    return found


def _of_all(ask: Asked) -> bool:
    """Say whether all that accounts tell is asked for: which webhooks were missed is counted by account and day only."""
    return ask.store is None and not (ask.by or ask.carrier or ask.service or ask.lane)


def _misses(connection: sa.Connection, ask: Asked) -> dict[str, tuple[int, int]]:
    """Return how many scans of accounts a webhook told and how many only a poll did although they push; of days of UTC."""
    a = account_days.c
    here = [a.day >= str(ask.since), a.day <= str(ask.until)]
    here += [a.account == ask.account] if ask.account is not None else []
    added = sa.select(a.account, sa.func.sum(a.pushed_first), sa.func.sum(a.polled_first)).where(*here)
    carriers = sa.select(accounts.c.name).where(accounts.c.kind == "carrier")
    rows = connection.execute(added.where(a.account.in_(carriers)).group_by(a.account))
    return {name: (int(pushed), int(polled)) for name, pushed, polled in rows}


def _with_misses(rows: list[dict[str, Any]], told: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Put beside each account the numbers of MISSES; one that told of scans and of no parcel first has a row too."""
    found = []
    others = sorted(told.keys() - {row["account"] for row in rows})
    rows = [*rows, *({"account": name, **measures({})} for name in others if any(told[name]))]
    for row in rows:
        pushed, polled = told.get(row["account"], (0, 0))
        found.append({**row, "webhook_told": pushed, "only_polled": polled, "miss_rate": share(polled, pushed)})
    return found

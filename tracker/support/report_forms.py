"""A report to be read: as the columns of a table, as CSV, as one page of HTML that needs nothing else."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tracker.domain.performance import LONGER
from tracker.domain.vocabulary import Reason, ShippingStatus
from tracker.support.reports import FEW, MEANINGS, MISSES

_FORMULAS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\uff1d",
    "\uff0b",
    "\uff0d",
    "\uff20",
)  # wide ones as well: East Asian spreadsheets
Row = Mapping[str, Any]

# of a report: the columns that follow what its rows tell apart, and what each is made of (`_shown`)
_DID = (
    ("parcels", "parcels"), ("on time, first estimate", "on_time"), ("last estimate", "last_on_time"),
    ("business days p50", "days_p50"), ("p95", "days_p95"), ("first attempt", "first_attempt"), ("exceptions", "exceptions"),
    ("returned", "returned"), ("lost", "lost"), ("silent", "silent"), ("under way", "open"),
)  # fmt: skip
_HEARD = (
    ("parcels", "parcels"), ("webhook delay p50", "webhook_delay_p50"), ("p95", "webhook_delay_p95"), ("over 1 h", "slow_webhooks"),
    ("webhook told", "webhook_told"), ("only a poll", "only_polled"), ("missed", "miss_rate"), ("silent parcels", "silent"),
)  # fmt: skip
_WENT_WRONG = (("problem", "problem"), ("which means", "meaning"), ("parcels", "parcels"), ("of all", "share"))
COLUMNS = {"carriers": _DID, "lanes": _DID, "exceptions": _WENT_WRONG, "accounts": _HEARD}
PARCELS = (
    ("id", "id"), ("parcel", "parcel"), ("order", "orders"), ("store", "store"), ("handed over", "began"),
    ("first estimate", "first_estimate"), ("last estimate", "last_estimate"), ("delivered", "delivered"), ("days", "days"),
    ("attempts", "attempts"), ("status", "status"), ("problems", "problems"),
)  # fmt: skip


def table(told: Row) -> tuple[list[str], list[list[str]]]:
    """Return the heads and lines of a report's table, the line of all together last where it has several."""
    apart = [
        key for key in ("carrier", "lane", "account", told["by"]) if key and told["rows"] and key in told["rows"][0]
    ]
    apart = list(dict.fromkeys(apart))
    columns = [(key, key) for key in apart] + list(COLUMNS[told["report"]])
    if told["rows"] and "miss_rate" not in told["rows"][0]:
        columns = [one for one in columns if one[1] not in MISSES]
    lines = [[shown(key, row) for _, key in columns] for row in told["rows"]]
    if len(lines) > 1 and told["report"] != "exceptions":
        lines.append(
            ["all" if key in apart[:1] else "" if key in apart else shown(key, told["total"]) for _, key in columns]
        )
    return [name for name, _ in columns], lines


def shown(key: str, row: Row) -> str:
    """Write a number as a person reads it, with what it rests on; `-` where nothing is known."""
    value = row.get(key)
    if key in ("on_time", "last_on_time", "first_attempt"):
        known = {"on_time": row["on_time"] + row["late"], "last_on_time": row["last_on_time"] + row["last_late"]}
        of = known.get(key, row["first_attempt_of"])
        return f"{_percent(int(row[key]), of)} of {of:,}" if of else "-"
    if key in ("days_p50", "days_p95"):
        return "-" if value is None else f"{value}{_few(row['days_of'])}"
    if key in ("webhook_delay_p50", "webhook_delay_p95"):
        return "-" if value is None else f"{_at_most(value)}{_few(row['webhook_delay_of'])}"
    if key == "share":
        return "-" if value is None else _percent(row["parcels"], row["of"])
    if key == "miss_rate":
        return "-" if value is None else _percent(row["only_polled"], row["webhook_told"] + row["only_polled"])
    if key == "problem":
        return f"{row['status']}/{row['reason']}"
    if key == "meaning":
        return f"{ShippingStatus(row['status']).sentence} {Reason(row['reason']).sentence}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) and key != "id" else "-" if value in (None, "") else str(value)


def _percent(good: int, of: int) -> str:
    """Write a share: none and all of them are told apart from nearly none and nearly all."""
    if good in (0, of):
        return "100 %" if good else "0 %"
    tenths = round(1000 * good / of)
    return "< 0.1 %" if not tenths else "> 99.9 %" if tenths == 1000 else f"{tenths / 10} %"


def _few(many: int) -> str:
    return f" (of {many})" if many < FEW else ""


def _at_most(seconds: int) -> str:
    if seconds >= LONGER:
        return "> 7 d"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"≤ {seconds // size} {unit}"
    return f"≤ {seconds} s"


def sentences(told: Row) -> list[str]:
    """Say what a report is about, what it rests on and what is not known."""
    total, known = told["total"], told["known"]
    days = f"{told['since']} to {told['until']} (days of {told['zone']})"
    if not total["parcels"] and not told["rows"]:
        of = f"; known are the days from {known['since']} to {known['until']}" if known["since"] else ""
        return [f"no parcel of {days}{of}", told["counted"]["said"]]
    untold = told["report"] == "accounts" and told["rows"] and "miss_rate" not in told["rows"][0]
    return [
        f"{total['parcels']:,} parcel{'' if total['parcels'] == 1 else 's'}, {days}, by the day their carrier took them over; {total['parcels'] - total['handed_over']:,} of them not handed over yet",
        f"{total['estimated']:,} of {total['parcels']:,} had an estimate that we heard before they were there"
        + (f"; of {total['not_known']:,} it is not known" if total["not_known"] else ""),
        f"business days are those of the store's calendar, known of {total['days_of']:,} of {total['delivered']:,} delivered parcels",
        *(
            [
                "which webhooks were missed is counted by account and day only: it is told where nothing else is asked for"
            ]
            if untold
            else []
        ),
        told["counted"]["said"],
    ]


def as_csv(rows: Sequence[Row], keys: Sequence[str]) -> str:
    """Write rows as CSV with a head; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(keys)
    writer.writerows([safe_cell(row.get(key)) for key in keys] for row in rows)
    return page.getvalue()


def safe_cell(value: Any) -> Any:
    """Return a value as a cell of CSV; moments as ISO 8601, lists joined by `|`."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return str(value)
    if isinstance(value, list | tuple):
        value = "|".join(map(str, value))
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return "" if value is None else value


def keys_of(told: Row) -> list[str]:
    """Return the keys of a report's rows, in the order in which they are told; those of an empty one too."""
    apart = {"carriers": "carrier", "lanes": "lane", "exceptions": "carrier", "accounts": "account"}[told["report"]]
    first = list(dict.fromkeys(key for key in (apart, told["by"]) if key))
    if told["report"] == "exceptions":
        return [*first, "status", "reason", "parcels", "of", "share"]
    more = [key for key in MISSES if told["rows"] and key in told["rows"][0]]
    return [*first, *MEANINGS, *more]


def meanings(told: Row) -> dict[str, str]:
    """Return what each number of a report means."""
    if told["report"] == "exceptions":
        return {}
    return MEANINGS | (MISSES if told["rows"] and "miss_rate" in told["rows"][0] else {})


@cache
def _pages() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def as_html(told: Row, made_at: datetime) -> str:
    """Write a report as one page that needs nothing else: it has no script, can be printed, and is dark where the reader's screen is."""
    heads, lines = table(told)
    most = max((row["parcels"] for row in told["rows"]), default=0) or 1
    bars = [_bar(row, most) for row in told["rows"]]
    return _pages().get_template("report.html").render(
        told=told, heads=heads, lines=lines, bars=bars, sentences=sentences(told), made_at=f"{made_at:%Y-%m-%d %H:%M}Z",
        meanings=meanings(told),
    )  # fmt: skip


def _bar(row: Row, most: int) -> dict[str, Any]:
    """Return a bar of 300 units a row: how many parcels, and how many of them were late or had what is told."""
    whole = round(300 * row["parcels"] / most)
    bad = row.get("late", 0)
    return {
        "whole": whole,
        "bad": round(whole * bad / row["parcels"]) if row["parcels"] else 0,
        "late": bad,
        "parcels": row["parcels"],
    }

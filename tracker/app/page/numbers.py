"""How carriers, lanes and accounts did, as the reports tell it: each number leads to the parcels that it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracker.app.page.look import ROWS, Look, Shown, Wrong, listed
from tracker.domain.texts import command
from tracker.pipeline.context import AppContext
from tracker.support import report_forms, report_parcels, reports

WIDTH = 160  # of a bar
# what is asked of a report and goes on to its parcels; what tells rows apart, and is asked then
_ON = ("since", "store", "carrier", "account", "service", "lane")
_APART = ("carrier", "account", "lane", "service", "store")
_SHOWS = {"days_p50": "days", "days_p95": "days"}


def carriers(ctx: AppContext, look: Look) -> Shown:
    """Show a report."""
    what = look.one_of("report", list(reports.REPORTS)) or "carriers"
    by = look.one_of("by", list(reports.BY))
    ask = _asked(ctx, look, by)
    told = reports.report(ctx, what, ask)
    heads, lines = report_forms.table(told)
    keys = [dict(report_forms.COLUMNS[what]).get(head, head) for head in heads]
    linked = [_line(line, keys, row, look) for line, row in zip(lines, [*told["rows"], {}], strict=False)]
    most = max((row["parcels"] for row in told["rows"]), default=0) or 1
    return Shown(
        "carriers.html",
        {
            "what": what, "reports": reports.REPORTS, "by": reports.BY, "heads": heads, "lines": linked, "sentences": report_forms.sentences(told),
            "bars": [_bar(row, most) for row in told["rows"]] if what in ("carriers", "lanes") else [],
            "meanings": report_forms.meanings(told), **listed(ctx, look),
        },
    )  # fmt: skip


def parcels(ctx: AppContext, look: Look) -> Shown:
    """List the parcels that a number counts."""
    show = look.query.get("show", "parcels")
    ask = _asked(ctx, look, None)
    try:
        rows = report_parcels.parcels_of(ctx, show, ask, after=look.number("after"), limit=ROWS)
    except reports.WrongQuestion as error:
        raise Wrong(str(error)) from None
    columns = [(name, key) for name, key in report_forms.PARCELS if key != "id"]
    shown = [
        {"id": row["id"], "cells": [(key, report_forms.shown(key, row)) for _, key in columns], "proof": _proof(row)}
        for row in rows
    ]
    said = reports.MEANINGS.get(show, show)
    values = {
        "show": show,
        "said": f"{said}: {ask.since} to {ask.until}",
        "heads": [name for name, _ in columns],
        "rows": shown,
    }
    return Shown("parcels.html", values | listed(ctx, look))


def _asked(ctx: AppContext, look: Look, by: str | None) -> reports.Asked:
    more = {name: look.query.get(name) or None for name in _ON if name not in ("store", "since")}
    try:
        return reports.asked(ctx, since=look.query.get("since") or "30d", store=look.stores, by=by, **more)
    except reports.WrongQuestion as error:
        raise Wrong(str(error)) from None


def _line(
    line: list[str], keys: list[str], row: Mapping[str, Any], look: Look
) -> list[tuple[str, dict[str, str] | None]]:
    """Return the cells of a line, each with what is asked for its parcels; of a month or a week nothing is."""
    apart = {key: str(row[key]) for key in _APART if row.get(key) and key in keys}
    asked = {name: look.query[name] for name in _ON if look.query.get(name)} | apart
    parted = "month" in keys or "week" in keys

    def link(key: str) -> dict[str, str] | None:
        show = f"{row['status']}/{row['reason']}" if key == "problem" and row else _SHOWS.get(key, key)
        known = show in report_parcels.SHOWS or (key == "problem" and row and row["status"] in report_parcels.PROBLEMS)
        return {**asked, "show": show} if known and not parted else None

    return [(text, link(key) if text != "-" else None) for text, key in zip(line, keys, strict=True)]


def _bar(row: Mapping[str, Any], most: int) -> tuple[int, int, str]:
    whole = round(WIDTH * row["parcels"] / most)
    bad = round(whole * row["late"] / row["parcels"]) if row["parcels"] else 0
    return whole, bad, f"{row['parcels']:,} parcels, {row['late']:,} late"


def _proof(row: Mapping[str, Any]) -> str:
    what = row["orders"][0] if row["orders"] else (row["parcel"] or "NUMBER").rpartition(" ")[2]
    return f"`{command('tracker', 'evidence', what, '-o', 'pack.zip')}`"

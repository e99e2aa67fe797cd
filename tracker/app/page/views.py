"""What each view of the page shows: read in one of its threads, given to a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Row

from tracker.app.page import numbers
from tracker.app.page.look import ROWS, Look, Missing, Shown, View, Wrong, listed
from tracker.app.page.picture import draw
from tracker.app.tokens import leave_out
from tracker.domain.masking import mask_bytes
from tracker.domain.numbers import candidates
from tracker.domain.texts import command
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.context import AppContext
from tracker.pipeline.receive import KEPT_HEADERS
from tracker.store.tables import accounts, inbox
from tracker.support import explain, lists, planned, report_forms, reports
from tracker.support.knowledge import knowledge
from tracker.support.status import status as status_of
from tracker.support.story import Moment, Story, cut, orders_of_parcel, story, story_of_parcel, words

FEW = 10
MOST_ROWS = 100  # stores and accounts of the first view
MOST_TROUBLES = 50
MOST_SHOWN = 64 << 10  # bytes of a payload
MOST_INDENTED = 20  # levels
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s"{}\[\]:,]+')
DAYS = "7d"
MOST_ACCOUNTS = 1000
FIGURES = ("webhook_told", "only_polled", "miss_rate", "webhook_delay_p50", "webhook_delay_p95")


def status(ctx: AppContext, look: Look) -> Shown:
    """Say whether all is well, what is wrong first, and how each part stands."""
    listed(ctx, look)  # of a store that nobody knows, nothing is fine
    told = status_of(ctx, store=look.stores)
    told["troubles"] = told["troubles"][:MOST_TROUBLES]
    lateness = (
        [{**told["lateness"], "account": "all"}, *told["lateness"]["accounts"]] if told["lateness"]["open"] else []
    )
    stores = sorted(told["stores"], key=lambda row: (row["state"] == "fine", row["store"]))
    accounts = sorted(told.get("accounts", ()), key=lambda row: (row["state"] == "fine", row["account"]))
    values = {
        "told": told, "queues": [row for row in told["queues"] if row["count"]], "drift": [row for row in told["drift"] if row["open"]], "lateness": lateness,
        "stores": [{**row, "writes": _share(row["writes_hour"], "done", "of")} for row in stores[:MOST_ROWS]],
        "accounts": [{**row, "left": _share(row["budget"], "left", "calls")} for row in accounts[:MOST_ROWS]],
        "left": max(0, len(stores) - MOST_ROWS), "whole": look.stores is None,
    }  # fmt: skip
    return Shown("status.html", values)


def _share(row: Mapping[str, Any] | None, part: str, of: str) -> str | None:
    return f"{row[part]:,} of {row[of]:,}" if row and row[part] is not None and row[of] is not None else None


def drift(ctx: AppContext, look: Look) -> Shown:
    """List where shop and carrier disagree."""
    kinds = [str(kind) for kind in lists.DRIFT]
    kind, after = look.one_of("kind", kinds), look.number("after")
    rows = lists.drift(ctx, store=look.stores, kind=kind, after=after, limit=ROWS)
    none = "no such drift" if kind else "no drift"
    sentence = knowledge(ctx, store=look.stores).sentence("no more drift" if rows or after else none)
    return Shown("drift.html", {"rows": rows, "kinds": kinds, "sentence": sentence, **listed(ctx, look)})


def findings(ctx: AppContext, look: Look) -> Shown:
    """List what a person must look at."""
    kinds = [str(kind) for kind in FindingKind]
    kind, severity, after = (
        look.one_of("kind", kinds),
        look.one_of("severity", ["urgent", "warning", "info"]),
        look.number("after"),
    )
    rows = lists.list_findings(
        ctx, kinds=[kind] if kind else (), store=look.stores, severity=severity,
        closed=look.query.get("closed") == "true", snoozed=look.query.get("snoozed") == "true", after=after, limit=ROWS,
        urgent_first=True,
    )  # fmt: skip
    none = "no such finding" if kind or severity else "no finding"
    sentence = knowledge(ctx, store=look.stores).sentence("no more findings" if rows or after else none)
    return Shown("findings.html", {"rows": _findings(rows), "kinds": kinds, "sentence": sentence, **listed(ctx, look)})


def _findings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put beside findings what is said of them: the sentence of the kind, the evidence in words, what heals them, how they are set aside."""
    return [
        row
        | {
            "sentence": FindingKind(row["kind"]).sentence,
            "known": ", ".join(f"{words(name)}: {value}" for name, value in row["evidence"].items()) or row["subject"],
            "heals": lists.next_step(row),
            "aside": None if row["closed_at"] else f"`tracker dismiss {row['id']} --reason WHY` or `tracker snooze {row['id']} --for 1d`",
        }
        for row in rows
    ]  # fmt: skip


def find(ctx: AppContext, look: Look) -> Shown:
    """Find orders and parcels by number; one alone is shown at once."""
    what = look.query.get("q", "").strip()
    if not what:
        raise Wrong("q: name an order or a tracking number")
    store = look.query.get("store")
    with ctx.store.read() as connection:
        found, parcels = explain.find(connection, what)
    mine = [row for row in found if look.sees(row.store) and store in (None, "", row.store)]
    parcels = [row for row in parcels if look.holder.stores is None or _linked(ctx, look, row.id)]
    if len(mine) == 1 and not parcels:
        return Shown("", {}, f"/orders/{mine[0].id}")
    if len(parcels) == 1 and len(mine) <= 1:
        return Shown("", {}, f"/parcels/{parcels[0].id}")
    return Shown("found.html", {"orders": mine, "parcels": parcels, "could_be": list(candidates(what))})


def _linked(ctx: AppContext, look: Look, shipment_id: int) -> list[Row[Any]]:
    """Return the orders of a parcel that may be seen."""
    return [row for row in orders_of_parcel(ctx, shipment_id) if look.sees(row.store)]


def order(ctx: AppContext, look: Look) -> Shown:
    """Show an order: its picture, and the same as a table."""
    names = look.query.get("names") == "shown"
    told = story(ctx, look.id, names=names)
    if told is None or not look.sees(told.order.store):
        raise Missing("No order of this number is here.")
    row = told.order
    found = explain.explanation(ctx, row.number, stores=frozenset({row.store}))["orders"]
    answer: list[str] = next((one["answer"] for one in found if one["id"] == row.id), [])
    values = {
        "order": row, "story": told, "names": names, "answer": answer,
        "why": f"`{command('tracker', 'explain', row.number)}` or `{command('tracker', 'evidence', row.number, '-o', 'pack.zip')}`",
    }  # fmt: skip
    return Shown("order.html", values | _drawn(told, look, f"Order {cut(row.number)} of {row.store}"))


def parcel(ctx: AppContext, look: Look) -> Shown:
    """Show a parcel: who is asked about it, its picture, and the same as a table."""
    names = look.query.get("names") == "shown"
    found = story_of_parcel(ctx, look.id, names=names)
    linked = _linked(ctx, look, look.id)
    if found is None or (look.holder.stores is not None and not linked):
        raise Missing("No parcel of this number is here.")
    row, told = found
    with ctx.store.read() as connection:
        watched = explain.watched(connection, row.id)
    if look.holder.stores is not None:
        leave_out(watched, look.holder.stores)
    values = {"parcel": row, "orders": linked, "story": told, "names": names, "watched": watched}
    return Shown("parcel.html", values | _drawn(told, look, f"Parcel {row.carrier} {row.number}"))


def _drawn(told: Story, look: Look, title: str) -> dict[str, Any]:
    def payloads(one: Moment) -> bool:
        return look.holder.stores is None or (one.kind == "version" and one.payload is not None)

    many = len(told.moments)
    desc = f"{many} moments in {len(told.lanes)} lanes: {', '.join(lane.title for lane in told.lanes)}. The table below says the same."
    return {"picture": draw(told), "title": title, "desc": desc, "payloads": payloads}


def payload(ctx: AppContext, look: Look) -> Shown:
    """Show a payload as it came: to who sees all, or the store that it is of."""
    with ctx.store.read() as connection:
        row = connection.execute(sa.select(inbox).where(inbox.c.id == look.id)).one_or_none()
    if row is None or not look.sees(row.account):
        raise Missing("No payload of this number is here.")
    body, sizes = row.body or b"", row.part_sizes or [len(row.body or b"")]
    parts, at, indented = [], 0, False
    for size in (size for size in sizes if size) if body else ():
        if at >= MOST_SHOWN:
            break
        part, at = body[at : at + size], at + size
        text = _indented(part) if size <= MOST_SHOWN else None
        indented = indented or text is not None
        parts.append(text if text is not None else _text(part[:MOST_SHOWN]))
    headers = [(name, value) for name, value in sorted(row.headers.items()) if name in KEPT_HEADERS]
    return Shown(
        "payload.html",
        {
            "row": row, "headers": headers, "parts": parts, "indented": indented, "cut": len(body) > min(at, MOST_SHOWN), "most": MOST_SHOWN,
            "why": "`tracker evidence ORDER -o pack.zip`",
        },
    )  # fmt: skip


def _indented(part: bytes) -> str | None:
    """Return JSON so that it can be read, None: it is none. Each number and each key stays as it came: parsed, a long number would be another."""
    plain = mask_bytes(part)
    try:
        orjson.loads(plain)
    except orjson.JSONDecodeError:
        return None
    said, depth, before = list[bytes](), 0, b""
    for token in _TOKENS.findall(plain):
        closes = token in (b"}", b"]")
        depth -= closes
        if (before in (b"{", b"[")) != closes or before == b",":
            said.append(b"\n" + b"  " * min(depth, MOST_INDENTED))
        said.append(orjson.dumps(orjson.loads(token)) if token[:1] == b'"' else token)
        if token == b":":
            said.append(b" ")
        depth += token in (b"{", b"[")
        before = token
    return _text(b"".join(said))


def _text(part: bytes) -> str:
    text = mask_bytes(part).decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def codes(ctx: AppContext, _look: Look) -> Shown:
    """List codes without a meaning, with what their words suggest."""
    rows = lists.suggest(ctx, limit=4 * ROWS)
    for row in rows:
        row["meaning"] = row["suggested"]["status"] if row["suggested"] else None
        to = row["meaning"] or "STATUS"
        told = command("tracker", "codes", "--accept", f"{row['code_key']}={to}", "--account", row["account"])
        row["accept"] = f"`{told}`"
    return Shown("codes.html", {"rows": rows})


def accounts_(ctx: AppContext, _look: Look) -> Shown:
    """Show accounts: what is asked of them, how their webhooks are, how fresh what they tell is."""
    a = accounts.c
    told = (
        sa.select(a.name, a.last_webhook_at, a.failing_since, a.failing_why, a.suspended_reason, a.paused_at)
        .order_by(a.name)
        .limit(MOST_ACCOUNTS)
    )
    with ctx.store.read() as connection:
        rows = connection.execute(told).all()
    did = reports.report(ctx, "accounts", reports.asked(ctx, since=DAYS))
    by_account = {row["account"]: {key: report_forms.shown(key, row) for key in FIGURES} for row in did["rows"]}
    none = dict.fromkeys(FIGURES)
    heard = [{**row._mapping, "account": row.name, **by_account.get(row.name, none)} for row in rows]
    wrong = [cut(str(one)) for one in ctx.config.suspended.values()][:FEW]
    plan, fresh = planned.by_account(ctx), lists.freshness(ctx)
    return Shown(
        "accounts.html",
        {"plan": plan, "fresh": fresh, "heard": heard, "wrong": wrong, "counted": did["counted"]["said"]},
    )


# address -> (its name in the bar, "": it is not there; what shows it; whether who sees some stores only may look)
VIEWS: dict[str, tuple[str, View, bool]] = {
    "/": ("Status", status, True),
    "/drift": ("Drift", drift, True),
    "/findings": ("Findings", findings, True),
    "/accounts": ("Accounts", accounts_, False),
    "/carriers": ("Carriers", numbers.carriers, True),
    "/carriers/parcels": ("", numbers.parcels, True),
    "/codes": ("Codes", codes, False),
    "/find": ("", find, True),
    "/orders/{id:int}": ("", order, True),
    "/parcels/{id:int}": ("", parcel, True),
    "/payloads/{id:int}": ("", payload, True),
}

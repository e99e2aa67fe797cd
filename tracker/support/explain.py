"""Read what is known of an order or a number, and why: scans, meanings, summary, rules, writes, findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.domain.answer import Standing, Subject
from tracker.domain.drift import compare
from tracker.domain.facts import UNIDENTIFIED, Action, Order, Shipment
from tracker.domain.numbers import candidates, clean, doubtful
from tracker.domain.reconcile import reconcile
from tracker.pipeline import state
from tracker.pipeline.context import AppContext
from tracker.pipeline.state import InForce
from tracker.store import queries
from tracker.store.codec import ACTION, ORDER, dump
from tracker.store.tables import (
    accounts,
    decisions,
    estimates,
    findings,
    fulfilment_shipments,
    fulfilments,
    order_versions,
    orders,
    outbox,
    proofs,
    scans,
    shipments,
    statements,
    watches,
)
from tracker.support import answer as answers
from tracker.support.knowledge import not_read
from tracker.support.one_order import of_order

MOST_ENTRIES = 20
_SHOWN = (
    "label",
    "status_reason",
    "method",
    "service",
    "location",
    "address",
    "pays_by",
    "channel",
    "risk",
    "cancel_reason",
    "closed_at",
    "test",
)


def find(connection: Connection, what: str, stores: queries.Stores = None) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Find orders (of some stores) by number, ref or tracking number, and the shipments of a tracking number.

    Who may see some stores only is told of no parcel but by their orders.
    """
    names = {what, f"#{what.lstrip('#')}"}
    mine = queries.of_stores(orders.c.store, stores)
    named = sa.or_(orders.c.number.in_(names), orders.c.ref == what)
    found = list(connection.execute(sa.select(orders).where(named, *mine).order_by(orders.c.id)))
    parcels = list(connection.execute(sa.select(shipments).where(shipments.c.number == clean(what))))
    if parcels and not found:
        linked = (
            sa.select(orders)
            .join(fulfilments, fulfilments.c.order_id == orders.c.id)
            .join(fulfilment_shipments, fulfilment_shipments.c.fulfilment_id == fulfilments.c.id)
            .where(fulfilment_shipments.c.shipment_id.in_([p.id for p in parcels]), *mine)
            .order_by(orders.c.id)
        )
        found = list({row.id: row for row in connection.execute(linked)}.values())
    return found, parcels if stores is None else []


def overview(ctx: AppContext, what: str, *, stores: queries.Stores = None) -> dict[str, Any]:
    """Return everything an operator asks first about an order or number (of some stores); empty lists where nothing is known.

    `not_read`: where nothing is, the stores that may know of it all the same: their orders are not read now.
    """
    with ctx.store.read() as connection:
        found, parcels = find(connection, what, stores)
        shown = [_order(ctx, connection, row) for row in found]
        linked = {one["id"] for order in shown for parcel in order["parcels"] for one in (parcel, *parcel["last_mile"])}
        loose = [_parcel(connection, row) for row in parcels if row.id not in linked]
        unread = [] if shown or loose else not_read(ctx, connection, stores)
    return {
        "asked": what, "orders": shown, "parcels_without_order": loose, "could_be": list(candidates(what)),
        "not_read": unread,
    }  # fmt: skip


def explanation(
    ctx: AppContext, what: str, *, at: datetime | None = None, stores: queries.Stores = None
) -> dict[str, Any]:
    """Return the answer in sentences, and for each order found scans -> meanings -> summary -> rules -> writes, and its history.

    `answer` is a list of sentences, of all that was found; each order has its own, and `rules`: each that fired, with its sentence.

    `at`: as of an earlier moment, from what was known by then: what was told later, decided later or done later is left
    out, and the rules are those that fire on the state of then, under the policy and mode of then.
    """
    told = overview(ctx, what, stores=stores)
    with ctx.store.read() as connection:
        states = state.account_rows(connection)
        past = state.Past(connection)
        for order in told["orders"]:
            row = connection.execute(sa.select(orders).where(orders.c.id == order["id"])).one()
            order |= _history(connection, row, at)
            account = ctx.account(row.store)
            known = state.read_orders(connection, [row], until=at).get(row.id)
            then = None
            if account is not None:
                then = (
                    past.in_force(account, at)
                    if at is not None
                    else InForce(account.policy, account.policy_hash, account.mode)
                )
            if at is None:
                parcels = state.read_shipments(connection, [row.id])[row.id]
            else:
                parcels = state.shipments_at(connection, [row.id], at)[row.id]
                _as_of(order, known, parcels, at)
                if known is not None and then is not None:
                    order["owner"] = str(then.policy.owner_of(known)[0])
                last = connection.execute(_decided(row, at).limit(1)).first()
                _findings_of(order["findings"], last.findings if last else ())
            if then is not None and known is not None:
                quiet = state.quiet_until(states, row)
                subject = _subject(known, parcels, then, at or ctx.now(), quiet)
                order["now"] = _now(subject, then)
                standing = answers.standing(ctx, connection, row, order, states.get(row.store), then.mode, quiet, at)
                order |= answers.told(replace(subject, standing=standing))
            else:
                order |= answers.not_told(row, order, at, read=known is not None)
    if at is not None:
        told["at"] = at
        told["orders"] = [order for order in told["orders"] if order["placed_at"] <= at]
    told["where"], told["answer"] = answers.of_all(told, "where"), answers.of_all(told)
    told["rules"] = [rule for order in told["orders"] for rule in order["rules"]]
    return told


def _subject(
    known: Order, parcels: Sequence[Shipment], then: InForce, moment: datetime, quiet: datetime | None
) -> Subject:
    """Decide about an order as it stood at a moment."""
    decision = reconcile(known, parcels, then.policy, moment, connected_at=quiet)
    return Subject(
        known, parcels, then.policy, decision, compare(known, parcels, then.policy, moment), Standing(now=moment)
    )


def _now(subject: Subject, then: InForce) -> dict[str, Any]:
    """Return what is decided about an order, and under what."""
    decision = subject.decision
    return {
        "because": list(decision.because),
        "would_write": [_what(a) for a in decision.actions],
        "drift": [
            {"drift": d.kind, "shop": d.shop, "carrier": d.carrier, "since": d.since, "caused_by": d.caused_by}
            for d in subject.compared.drifts
        ],
        "look_again_at": decision.look_again_at,
        "mode": then.mode,
        "policy": f"{then.policy.name} {then.hash[:8]}",
        "policy_kept": then.kept,
    }


def _decided(row: Row[Any], at: datetime | None) -> sa.Select[Any]:
    """Select what was decided of an order until a moment, the newest first."""
    decided = sa.select(decisions).where(decisions.c.order_id == row.id).order_by(decisions.c.id.desc())
    return decided if at is None else decided.where(decisions.c.at <= at)


def _history(connection: Connection, row: Row[Any], at: datetime | None) -> dict[str, Any]:
    """Return what was decided of an order until a moment, and what it said."""
    seen = sa.select(order_versions).where(order_versions.c.order_id == row.id)
    if at is not None:
        seen = seen.where(order_versions.c.seen_at <= at)
    return {
        "decisions": [
            {
                "at": d.at, "order_version": d.order_version, "policy": d.policy_hash[:8], "because": d.because,
                "writes": [_what(ACTION.validate_python(a)) for a in d.actions],
                "findings": [f["kind"] for f in d.findings],
            }
            for d in connection.execute(_decided(row, at).limit(MOST_ENTRIES))
        ],
        "versions": [
            {"version": v.version, "seen_at": v.seen_at, "previous_read_at": v.previous_read_at, "actor": v.actor,
             "status": v.status, "raw_status": v.raw_status, "payment": v.payment}
            for v in connection.execute(seen.order_by(order_versions.c.version.desc()).limit(MOST_ENTRIES))
        ],
    }  # fmt: skip


def _as_of(order: dict[str, Any], known: Order | None, parcels: Sequence[Shipment], at: datetime) -> None:
    """Take out of an overview what was not known at a moment, and what is known by now."""
    del order["known"]
    order["gone"] = order["gone"] if order["gone"] and order["gone"]["since"] <= at else None
    if known is not None:
        order |= {
            "status": known.status, "raw_status": known.raw_status, "payment": known.payment, "actor": known.actor,
            "raw_payment": known.raw_payment, **_facts(dump(ORDER, known)),
        }  # fmt: skip
    seen = [version for version in order["versions"] if version["seen_at"] <= at]
    order |= {"read_at": None, "version": seen[0]["version"] if seen else None, "urgent": None}
    then = {(p.carrier, p.number, p.generation): p for p in parcels}
    kept = []
    for parcel in order["parcels"]:
        shipment = then.get((parcel["carrier"], parcel["number"], parcel["generation"]))
        if shipment is None:
            continue
        summary = shipment.summary
        parcel |= {
            "status": summary.status, "reason": summary.reason, "since": summary.since, "place": str(summary.place),
            "last_scan_at": summary.last_scan_at, "disputed": summary.disputed,
            "taken_over_at": summary.custody_at, "attempts": summary.attempts, "delivered_at": summary.delivered_at,
            "edd": shipment.edd.ends if shipment.edd else None,
            "estimates": [one for one in parcel["estimates"] if one["told_at"] <= at],
            "proof": parcel["proof"] if summary.delivered_at is not None else None,
            "document": document if (document := parcel["document"]) and document["fetched_at"] and document["fetched_at"] <= at else None,
            "scans": [_scan_of(s, at) for s in parcel["scans"] if s["first_seen_at"] <= at],
            "watched_by": [],  # what accounts knew of it then is not kept
            "last_mile": [
                leg | {"status": None, "watched_by": []} for leg in parcel["last_mile"] if leg["since"] <= at
            ],
        }  # fmt: skip
        kept.append(parcel)
    order["parcels"] = kept
    order["findings"] = [f for f in order["findings"] if f["opened_at"] <= at]
    for finding in order["findings"]:
        finding["snoozed_until"] = None
        if finding["closed_at"] is not None and finding["closed_at"] > at:
            finding |= {"closed_at": None, "closed_by": None, "closed_reason": None}
    order["writes"] = [_write_of(w, at) for w in order["writes"] if w["created_at"] <= at]
    order["statements"] = [s for s in order["statements"] if s["at"] <= at]


def _scan_of(scan: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return a scan as it was known at a moment: confirmed and withdrawn only where it was so by then."""
    confirmed, withdrawn = scan["confirmed_at"], scan["withdrawn_at"]
    return scan | {
        "confirmed": confirmed is not None and confirmed <= at,
        "withdrawn": withdrawn is not None and withdrawn <= at,
        "confirmed_at": confirmed if confirmed is not None and confirmed <= at else None,
        "withdrawn_at": withdrawn if withdrawn is not None and withdrawn <= at else None,
    }


def _write_of(write: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return a write as it stood at a moment: what was done later had not been done."""
    if write["ended_at"] is None or write["ended_at"] <= at:
        return write
    waited = write["state"] not in ("observed", "superseded")
    return write | {"state": "pending" if waited else write["state"], "receipt": None, "error": None, "ended_at": None}


def _findings_of(told: Sequence[dict[str, Any]], decided: Sequence[dict[str, Any]]) -> None:
    """Give findings the words that the last decision of then had for them: they are refreshed while they are open."""
    words = {(f["subject"], f["kind"]): f for f in decided}
    for finding in told:
        then = words.get((finding["subject"], finding["kind"]))
        if then is not None:
            finding |= {key: then[key] for key in ("severity", "act", "evidence")}
            finding["proposal"] = then["proposal"] or None


def first_writes(ctx: AppContext, store: str, limit: int = MOST_ENTRIES) -> tuple[int, list[dict[str, Any]]]:
    """Preview what a store would write first, were it allowed to: how many, and the first of them."""
    account = ctx.config.accounts[store]
    shown: list[dict[str, Any]] = []
    total = last = 0
    while True:
        with ctx.store.read() as connection:
            rows = list(
                connection.execute(
                    sa.select(orders)
                    .where(orders.c.store == store, orders.c.id > last)
                    .order_by(orders.c.id)
                    .limit(200)
                )
            )
            if not rows:
                return total, shown
            known = state.read_orders(connection, rows)
            parcels = state.read_shipments(connection, [row.id for row in rows])
            states = state.account_rows(connection)
        for row in rows:
            decision = reconcile(
                known[row.id], parcels[row.id], account.policy, ctx.now(),
                connected_at=state.quiet_until(states, row),
            )  # fmt: skip
            for action in decision.actions:
                total += 1
                if len(shown) < limit:
                    shown.append({"order": row.number, "status": _what(action), "happened_at": action.happened_at})
        last = rows[-1].id


def _what(action: Action) -> str:
    """Say a write in one word: the status it shows or sets, or the notice it is."""
    if action.kind == "tag":
        return action.text
    if action.kind == "field":
        return f"{action.field} = {action.text}"
    if action.kind == "number":
        return " -> ".join(parcel.number for parcel in action.parcels)
    return str(action.target or action.notice or (action.kind if action.kind == "order_note" else action.status))


def _order(ctx: AppContext, connection: Connection, row: Row[Any]) -> dict[str, Any]:
    parcels = connection.execute(
        sa.select(shipments, fulfilments.c.ref.label("fulfilment"))
        .join(fulfilment_shipments, fulfilment_shipments.c.shipment_id == shipments.c.id)
        .join(fulfilments, fulfilments.c.id == fulfilment_shipments.c.fulfilment_id)
        .where(fulfilments.c.order_id == row.id)
        .order_by(shipments.c.id)
    ).all()
    here = {parcel.id for parcel in parcels}
    legs = {parcel.id: parcel for parcel in parcels if parcel.leg_of in here}  # they tell of a parcel that is named
    typed = {p["number"]: p["typed"] for f in row.facts["fulfilments"] for p in f["parcels"] if p.get("typed")}
    return {
        "id": row.id,
        "store": row.store,
        "number": row.number,
        "ref": row.ref,
        "status": row.status,
        "raw_status": row.raw_status,
        "payment": row.payment,
        "raw_payment": row.raw_payment,
        "owner": _owner(ctx, connection, row),
        "placed_at": row.placed_at,
        "read_at": row.read_at,
        "known": of_order(ctx, connection, row),
        "gone": {"since": row.gone_at, "why": row.gone_why} if row.gone_at else None,
        "version": row.version,
        "urgent": row.urgent,
        "actor": row.facts.get("actor"),
        **_facts(row.facts),
        "statements": [
            {"kind": s.kind, "text": s.text, "by": s.by, "at": s.at, "status": s.status, "override": s.override}
            for s in connection.execute(
                sa.select(statements).where(statements.c.order_id == row.id).order_by(statements.c.id)
            )
        ],
        "parcels": [
            _parcel(connection, one, typed.get(one.number), [leg for leg in legs.values() if leg.leg_of == one.id])
            for one in parcels
            if one.id not in legs
        ],
        "findings": [_finding(f) for f in _findings(connection, row.id)],
        "writes": [
            {
                "status": _what(ACTION.validate_python(w.action)), "kind": w.kind, "id": w.id, "created_at": w.created_at, "state": w.state, "happened_at": w.action["happened_at"],
                "attempts": w.attempts, "error": w.error, "held_by": w.held_by, "receipt": (w.receipt or {}).get("ref"), "rules": w.rules, "ended_at": w.ended_at,
            }
            for w in connection.execute(
                sa.select(outbox).where(outbox.c.order_id == row.id).order_by(outbox.c.id.desc()).limit(MOST_ENTRIES)
            )
        ],
    }  # fmt: skip


def _facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is shown of an order's facts beside its statuses."""
    return {
        **{name: facts.get(name) or None for name in _SHOWN},
        "items": [
            {k: item.get(k) for k in ("ref", "name", "ordered", "removed", "shippable", "short")} for item in facts["items"]
        ],
        "fulfilments": [
            {"ref": f["ref"], "status": f["status"], "shown": (f["published"] or {}).get("raw"),
             "pieces": dict(f.get("quantities") or ()), "unreadable": f.get("unreadable") or []}
            for f in facts["fulfilments"]
        ],
    }  # fmt: skip


def _owner(ctx: AppContext, connection: Connection, row: Row[Any]) -> str:
    """Say who dispatches, by the policy in force."""
    account = ctx.account(row.store)
    return str(account.policy.owner_of(state.read_orders(connection, [row])[row.id])[0]) if account else row.owner


def _findings(connection: Connection, order_id: int) -> Sequence[Row[Any]]:
    return connection.execute(
        sa.select(findings).where(findings.c.order_id == order_id).order_by(findings.c.id.desc()).limit(MOST_ENTRIES)
    ).all()


def _finding(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id, "kind": row.kind, "subject": row.subject, "severity": row.severity, "act": row.act, "opened_at": row.opened_at,
        "proposal": row.proposal or None, "snoozed_until": row.snoozed_until, "closed_reason": row.closed_reason,
        "closed_at": row.closed_at, "closed_by": row.closed_by, "evidence": row.evidence,
    }  # fmt: skip


def _document(connection: Connection, row: Row[Any]) -> dict[str, Any] | None:
    """Return what became of a parcel's document; None: nobody wanted it."""
    columns = (
        proofs.c.state,
        proofs.c.account,
        proofs.c.kind,
        proofs.c.size,
        proofs.c.fetched_at,
        proofs.c.next_at,
        proofs.c.error,
    )
    found = connection.execute(sa.select(*columns).where(proofs.c.shipment_id == row.id)).one_or_none()
    return dict(found._mapping) if found is not None else None


def _parcel(
    connection: Connection, row: Row[Any], typed: str | None = None, legs: Sequence[Row[Any]] = ()
) -> dict[str, Any]:
    """Return a parcel with all that was told of it; of its last miles too, each scan with whose it is."""
    told_of = {one.id: f"{one.carrier} {one.number}" for one in (row, *legs)}
    told = connection.execute(
        sa.select(scans).where(scans.c.shipment_id.in_(list(told_of))).order_by(scans.c.instant, scans.c.id).limit(500)
    )
    unknown = row.carrier.startswith(UNIDENTIFIED)
    return {
        "id": row.id,
        "carrier": row.carrier,
        "number": row.number,
        "typed": typed,
        "doubtful": doubtful(None if unknown else row.carrier, row.number),
        "generation": row.generation,
        "status": row.status,
        "reason": row.summary["reason"],
        "since": row.summary["since"],
        "last_scan_at": row.summary["last_scan_at"],
        "place": ", ".join(p for p in (row.summary["place"][k] for k in ("city", "region", "country")) if p),
        "taken_over_at": row.summary["custody_at"], "attempts": row.summary["attempts"], "delivered_at": row.summary["delivered_at"],
        "edd": row.edd_ends,
        "estimates": _estimates(connection, list(told_of)),
        "proof": row.proof,
        "document": _document(connection, row),
        "disputed": row.summary["disputed"],
        "scans": [
            {
                "at": s.instant, "local": s.local, "zone": s.zone, "space": s.space, "code": s.code, "text": s.text,
                "status": s.status, "reason": s.reason, "leg": s.leg,
                "place": ", ".join(p for p in (s.city, s.region, s.country) if p),
                "of": told_of[s.shipment_id], "account": s.account, "inbox": s.inbox_id, "first_seen_at": s.first_seen_at,
                "confirmed": s.confirmed_at is not None, "withdrawn": s.withdrawn_at is not None,
                "confirmed_at": s.confirmed_at, "withdrawn_at": s.withdrawn_at,
            }
            for s in told
        ],
        "watched_by": watched(connection, row.id),
        "last_mile": [
            {
                "id": leg.id, "carrier": leg.carrier, "number": leg.number, "generation": leg.generation, "status": leg.status,
                "since": leg.linked_at, "watched_by": watched(connection, leg.id),
            }
            for leg in legs
        ],
    }  # fmt: skip


def _estimates(connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return when a parcel was estimated to arrive, by whom, and since when we knew of each estimate, the first one first."""
    e = estimates.c
    told = sa.select(e.begins, e.ends, e.account, e.told_at, e.inbox_id.label("inbox"))
    return [dict(row._mapping) for row in connection.execute(told.where(e.shipment_id.in_(ids)).order_by(e.id))]


def watched(connection: Connection, shipment_id: int) -> list[dict[str, Any]]:
    """Return what each account knows of a shipment, who is asked about it first."""
    watched = connection.execute(
        sa.select(watches, accounts.c.suspended_reason, accounts.c.paused_at)
        .outerjoin(accounts, accounts.c.name == watches.c.account)
        .where(watches.c.shipment_id == shipment_id)
        .order_by(watches.c.chosen.is_(None), watches.c.account)
    )
    return [
        {
            "account": t.account, "state": t.tracking_state, "checked_at": t.checked_at,
            "next_poll_at": t.next_poll_at, "registered_until": t.registered_until, "rejected": t.rejected_reason,
            "suspended": t.suspended_reason, "paused": t.paused_at, "asked_because": t.chosen, "asked_for": t.store, "urgent": t.urgent,
            "fed_at": t.fed_at, "said": t.said,
        }
        for t in watched
    ]  # fmt: skip

"""The documents that prove deliveries: each is fetched once from its carrier, where the order's store keeps them, and kept for a while.

A row of `proofs` is one parcel's: `wanted` until its carrier gave it, or said often enough that there is none. It is asked for behind all else that is due.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account, Config
from tracker.domain.errors import (
    BadPayload,
    BudgetSpent,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
)
from tracker.domain.facts import UNIDENTIFIED, Parcel, ProofDocument
from tracker.domain.masking import mask
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline import backoff
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.places import POLLS, GaveWay, Place, Room
from tracker.pipeline.poll.calls import hold_oldest
from tracker.pipeline.poll.due import Ready
from tracker.store import queries
from tracker.store.codec import SUMMARY, plain
from tracker.store.engine import database_now
from tracker.store.tables import fulfilment_shipments, fulfilments, orders, proofs, shipments, watches

LATELY = timedelta(days=7)  # what was delivered before is history: the first sync of a store asks for none of it
LOOKS = [timedelta(hours=hours) for hours in (1, 6, 24, 72)]  # after each "none yet": a signature may come a day later
MOST_FAILURES = 8  # of other kinds, in a row
MOST_BYTES = 4 << 20  # of a document
AT_ONCE = 500
_P = proofs.c


def who_fetch(
    connection: Connection, config: Config, parcels: Sequence[Any], name: str | None = None
) -> dict[int, Account]:
    """Return who can fetch the documents of parcels, by their ids (`name`: only that account); who has nobody is left out.

    Who is asked about a parcel comes first, then who told of it, then who speaks for its carrier.
    """
    able = [one for one in config.carrier_accounts() if one.carrier.proves and name in (None, one.name)]
    known = [row for row in parcels if not row.carrier.startswith(UNIDENTIFIED)] if able else []
    t, watching = watches.c, defaultdict[int, list[str]](list)
    if known:
        here = queries.among(connection, t.shipment_id, [row.id for row in known])
        told = sa.select(t.shipment_id, t.account).where(here).order_by(t.chosen.is_(None), t.id)
        for shipment_id, account in connection.execute(told):
            watching[shipment_id].append(account)
    found = {}
    for row in known:
        names = watching[row.id]
        fit = [one for one in able if one.name in names or row.carrier in one.speaks]
        if fit:
            found[row.id] = min(fit, key=lambda one: names.index(one.name) if one.name in names else len(names))
    return found


def want(
    ctx: AppContext, connection: Connection, delivered: Collection[int], changed: Collection[int], now: datetime
) -> None:
    """Want the documents of parcels that were `delivered` just now, and of delivered ones that orders which `changed` name.

    Only where the store keeps them, and of none that is erased.
    """
    keepers = sorted(one.name for one in ctx.config.store_accounts() if one.keeps_proofs)
    if not keepers or not (delivered or changed):
        return
    o, s, fs = orders.c, shipments.c, fulfilment_shipments.c
    named = (
        sa.select(fs.shipment_id)
        .join(fulfilments, fulfilments.c.id == fs.fulfilment_id)
        .join(orders, o.id == fulfilments.c.order_id)
        .where(queries.among(connection, o.store, keepers))
    )
    ways = [(fs.shipment_id, delivered), (o.id, changed)]  # one select each: over both at once there is no index
    selects = [named.where(queries.among(connection, column, some)) for column, some in ways if some]
    rows = connection.execute(
        sa.select(s.id, s.carrier, s.summary)
        .outerjoin(proofs, _P.shipment_id == s.id)
        .where(
            s.id.in_(sa.union(*selects)), s.status == ShippingStatus.DELIVERED, _P.id.is_(None), s.erased_at.is_(None)
        )
        .order_by(s.id)
    ).all()
    accounts, wanted = who_fetch(connection, ctx.config, rows), []
    for row in rows:
        at = SUMMARY.validate_python(row.summary).delivered_at
        if row.id in accounts and at is not None and at >= now - LATELY:
            values = {"state": "wanted", "next_at": now, "attempts": 0, "failures": 0}
            wanted.append({"shipment_id": row.id, "account": accounts[row.id].name, **values})
    queries.put(connection, proofs, wanted)
    if wanted:
        ctx.notify("poll")


def claim(
    connection: Connection, ready: Mapping[str, Ready], room: Room, now: datetime, business: datetime
) -> list[tuple[Account, Row[Any], Place]]:
    """Claim the oldest document that is due of each account that may be asked and has nothing else due."""
    claimed: list[tuple[Account, Row[Any], Place]] = []
    for name, one in ready.items():
        if not one.row.proofs or min(one.left, one.others) <= 0 or not one.account.carrier.proves:
            continue
        if held := hold_oldest(connection, proofs, name, room, POLLS, now, business):
            claimed.append((one.account, *held))
    return claimed


def _ours(row: Row[Any]) -> sa.ColumnElement[bool]:
    """Return the condition that a claimed row is still ours."""
    return sa.and_(_P.id == row.id, _P.attempts == row.attempts + 1)


def work(ctx: AppContext, account: Account, row: Row[Any]) -> SourceError | None:
    """Ask for the document of a claimed row, and keep it. Returns what went wrong."""
    with ctx.leases.holding(proofs, {row.id: row.attempts + 1}):
        error: SourceError | None = None
        document: ProofDocument | None = None
        with ctx.store.read() as connection:
            s = shipments.c
            parcel = connection.execute(sa.select(s.carrier, s.number, s.piece).where(s.id == row.shipment_id)).one()
        try:
            document = account.carrier.proof(ctx.client(account), Parcel(parcel.carrier, parcel.number), parcel.piece)
        except SourceError as problem:
            error = problem
        except Exception as problem:  # a plugin's bug must not stop the others
            error = SourceError(type(problem).__name__)
        crash_at("proof_after_call")
        _end(ctx, account, row, document, error)
    return error


def _end(
    ctx: AppContext, account: Account, row: Row[Any], document: ProofDocument | None, error: SourceError | None
) -> None:
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        values = kept(document, business) if document is not None else _later(row, error, business)
        ended = connection.execute(proofs.update().where(_ours(row)).values(claimed_until=None, **values)).rowcount
        if ended and values.get("next_at") is None and values.get("document") is None and "state" in values:
            ctx.log.info(
                "proof_not_had",
                account=account.name,
                shipment=row.shipment_id,
                state=values["state"],
                said=values["error"],
            )
        if not isinstance(error, GaveWay):
            backoff.hear(ctx, connection, account, [error], now, business)


def kept(document: ProofDocument, now: datetime) -> dict[str, Any]:
    """Return the values of a row that keeps a document; one that is too large is told, and not kept."""
    size = len(document.content)
    told = {
        "next_at": None, "fetched_at": now, "kind": document.kind, "size": size,
        "sha256": hashlib.sha256(document.content).hexdigest(),
    }  # fmt: skip
    if size > MOST_BYTES:
        return {**told, "state": "too_large", "error": f"has {size:,} bytes, more than {MOST_BYTES:,} are not kept"}
    return {**told, "state": "kept", "error": None, "document": document.content}


def _later(row: Row[Any], error: SourceError | None, business: datetime) -> dict[str, Any]:
    """Return the values of a row whose document did not come: when it is asked for again, or why not any more."""
    if isinstance(error, GaveWay | BudgetSpent | CredentialsRejected):
        return {}  # nothing was learnt of it
    said, failures = plain(mask(str(error))) or type(error).__name__, row.failures + 1
    if isinstance(error, NotFound):
        if failures > len(LOOKS):
            return {"state": "none", "next_at": None, "error": said, "failures": failures}
        return {"next_at": business + LOOKS[failures - 1], "error": said, "failures": failures}
    if (isinstance(error, Refused | BadPayload) and failures >= MOST_FAILURES // 2) or failures >= MOST_FAILURES:
        return {"state": "refused", "next_at": None, "error": said, "failures": failures}
    rest = (error.after if isinstance(error, RateLimited) else None) or queries.backoff(failures + 4)
    return {"next_at": business + rest, "error": said, "failures": failures}


def keep(connection: Connection, shipment_id: int, account: str, document: ProofDocument, now: datetime) -> None:
    """Keep a document that a person had fetched, as if it had been wanted."""
    values = {
        "shipment_id": shipment_id, "account": account, "attempts": 0, "failures": 0, "claimed_until": None,
        **kept(document, now),
    }  # fmt: skip
    insert = queries.upsert(connection, proofs).values(**values)
    connection.execute(
        insert.on_conflict_do_update(index_elements=[_P.shipment_id], set_={**values, "attempts": _P.attempts + 1})
    )


def prune(connection: Connection, before: datetime) -> int:
    """Drop the documents that were fetched before a moment; that they were there, with their hash, stays. Returns how many."""
    old = sa.select(_P.id).where(_P.document.isnot(None), _P.fetched_at < before).limit(AT_ONCE)
    return connection.execute(
        proofs.update().where(_P.id.in_(old.scalar_subquery())).values(document=None, state="dropped")
    ).rowcount

"""Documents that prove a delivery: a person has one fetched into a file of theirs, or one that is kept is handed out. Who asked is noted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import CredentialsRejected, NotFound, Refused, SourceError, TrackerError
from tracker.domain.facts import Parcel, ProofDocument
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import ShippingStatus, StatementKind
from tracker.pipeline.context import AppContext
from tracker.pipeline.proofs import keep, who_fetch
from tracker.store import queries
from tracker.store.tables import accounts, orders, proofs, shipments
from tracker.support.statements import record_statement


@dataclass(frozen=True)
class Wanted:
    """A parcel of which somebody wants the document, the account that is asked, how many other parcels had its number, and what is kept."""

    parcel: Row[Any]
    account: Account
    others: int
    kept: Row[Any] | None = None

    @property
    def document(self) -> ProofDocument | None:
        """Return the document, where it is kept."""
        kept = self.kept
        return ProofDocument(kept.document, kept.kind) if kept is not None and kept.document is not None else None

    @property
    def name(self) -> str:
        """Name the parcel as people know it."""
        return f"{self.parcel.carrier} {self.parcel.number}"


def find_parcel(ctx: AppContext, number: str, account: str | None) -> Wanted:
    """Find the parcel of a number, and who is asked for its document: the account, else the one that is asked about it.

    Raises TrackerError where nothing is known of the number, where it is of parcels of several carriers (say `account`), where no account can
    fetch its document, and where its account may not be asked just now.
    """
    with ctx.store.read() as connection:
        known = connection.execute(sa.select(shipments).where(shipments.c.number == clean(number))).all()
        if not known:
            raise TrackerError(f"nothing is known of {number!r}")
        able = who_fetch(connection, ctx.config, known, account)
        mine = [(row, able[row.id]) for row in known if row.id in able]
        if not mine:
            who = f"{account} fetches" if account is not None else "no account fetches"
            carriers = ", ".join(sorted({row.carrier.partition(":")[0] for row in known}))
            raise TrackerError(
                f"{who} no documents of its parcels ({carriers})" if account else f"{who} documents of {carriers}"
            )
        if len({row.carrier for row, _ in mine}) > 1:
            told = ", ".join(sorted(f"{row.carrier} ({found.name})" for row, found in mine))
            raise TrackerError(f"several parcels have the number {number}: {told}; say --account")
        parcel, found = max(mine, key=lambda one: (one[0].linked, one[0].generation))
        kept = connection.execute(sa.select(proofs).where(proofs.c.shipment_id == parcel.id)).one_or_none()
        wanted = Wanted(parcel, found, len(mine) - 1, kept)
        if wanted.document is None:
            _may_be_asked(connection, ctx, found)
    return wanted


def fetch(ctx: AppContext, wanted: Wanted) -> ProofDocument:
    """Return the document that is kept, else ask the carrier. Raises TrackerError, which says whether there is none yet, it was refused, or nobody answers."""
    parcel, account = wanted.parcel, wanted.account
    if wanted.document is not None:
        return wanted.document
    try:
        return account.carrier.proof(ctx.client(account), Parcel(parcel.carrier, parcel.number), parcel.piece)
    except NotFound as error:
        yet = (
            ""
            if parcel.status in (ShippingStatus.DELIVERED, ShippingStatus.RETURNED)
            else f" yet: it is {parcel.status}"
        )
        raise TrackerError(f"{account.name} has no document of {wanted.name}{yet} ({error})") from None
    except (CredentialsRejected, Refused) as error:
        raise TrackerError(f"{account.name} refuses the document of {wanted.name}: {error}") from None
    except SourceError as error:
        raise TrackerError(f"{account.name} does not give the document of {wanted.name} now: {error}") from None


def note_fetch(ctx: AppContext, wanted: Wanted, document: ProofDocument, by: str) -> list[str]:
    """Note at each order of the parcel who fetched its document. Returns the numbers of these orders."""
    with ctx.store.read() as connection:
        linked = queries.linked_to(connection, [wanted.parcel.id], orders.c.id)
        ids = {order_id for _, order_id in connection.execute(linked)}
        rows = connection.execute(sa.select(orders).where(orders.c.id.in_(ids)).order_by(orders.c.id)).all()
    source = f"fetched from {wanted.account.name}"
    if wanted.kept is not None and wanted.document is not None:
        source = f"handed out as it was fetched from {wanted.kept.account}"
    said = f"proof of delivery of {wanted.name} {source} ({document.kind}, {len(document.content):,} bytes)"
    for row in rows:
        record_statement(ctx, row, StatementKind.NOTE, said, by)
    return [row.number for row in rows]


def document_of(
    ctx: AppContext, shipment_id: int, *, at: datetime | None = None
) -> tuple[dict[str, Any], bytes | None]:
    """Return what is known of a delivered parcel's document, and the document: the kept one, else its carrier is asked once and it is kept.

    Where there is none `missing` says why. `at`: only what was kept by then; nobody is asked.
    """
    with ctx.store.read() as connection:
        parcel = connection.execute(sa.select(shipments).where(shipments.c.id == shipment_id)).one()
        row = connection.execute(sa.select(proofs).where(proofs.c.shipment_id == shipment_id)).one_or_none()
        if row is not None and row.fetched_at is not None and (at is None or row.fetched_at <= at):
            told = {
                "kind": row.kind, "size": row.size, "sha256": row.sha256, "fetched_at": row.fetched_at, "from": row.account,
            }  # fmt: skip
            lost = row.error or f"kept until its retention was over: {row.size:,} bytes, SHA-256 {row.sha256}"
            return (told if row.document is not None else {**told, "missing": lost}), row.document
        account = who_fetch(connection, ctx.config, [parcel]).get(shipment_id)
        if account is None or at is not None:
            return {"missing": "no account fetches it" if account is None else "it was not fetched by then"}, None
        wanted = Wanted(parcel, account, 0)
        try:
            _may_be_asked(connection, ctx, account)
        except TrackerError as error:
            return {"missing": str(error)}, None
    try:
        document = fetch(ctx, wanted)
    except TrackerError as error:
        return {"missing": str(error)}, None
    with ctx.store.write() as connection:
        keep(connection, shipment_id, account.name, document, ctx.now())
    return document_of(ctx, shipment_id)


def _may_be_asked(connection: Connection, ctx: AppContext, account: Account) -> None:
    a = accounts.c
    columns = sa.select(a.suspended_reason, a.paused_at, a.rests_until)
    row = connection.execute(columns.where(a.name == account.name)).one_or_none()
    if row is None:
        return
    if row.paused_at is not None:
        raise TrackerError(f"{account.name} is paused: nothing is asked of it (`tracker resume {account.name}`)")
    if row.suspended_reason is not None:
        raise TrackerError(f"{account.name} is suspended: {row.suspended_reason}")
    if row.rests_until is not None and row.rests_until > ctx.now():
        raise TrackerError(f"{account.name} rests until {row.rests_until:%Y-%m-%d %H:%M}Z, as it was away")

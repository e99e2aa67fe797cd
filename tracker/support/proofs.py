"""Documents that prove a delivery: a person asks a carrier for one. It goes into a file of theirs, and nothing of it is kept here but who asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account
from tracker.domain.errors import CredentialsRejected, NotFound, Refused, SourceError, TrackerError
from tracker.domain.facts import UNIDENTIFIED, Parcel, ProofDocument
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import ShippingStatus, StatementKind
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import accounts, orders, shipments, watches
from tracker.support.statements import record_statement


@dataclass(frozen=True)
class Wanted:
    """A parcel of which somebody wants the document, the account that is asked, and how many other parcels had its number."""

    parcel: Row[Any]
    account: Account
    others: int

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
        able = [one for one in ctx.config.carrier_accounts() if one.carrier.proves and account in (None, one.name)]
        mine = [(row, found) for row in known if (found := _asked(connection, able, row)) is not None]
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
        _may_be_asked(connection, ctx, found)
    return Wanted(parcel, found, len(mine) - 1)


def fetch(ctx: AppContext, wanted: Wanted) -> ProofDocument:
    """Ask the carrier for the document. Raises TrackerError, which says whether there is none yet, it was refused, or nobody answers."""
    parcel, account = wanted.parcel, wanted.account
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
    said = f"proof of delivery of {wanted.name} fetched from {wanted.account.name} ({document.kind}, {len(document.content):,} bytes)"
    for row in rows:
        record_statement(ctx, row, StatementKind.NOTE, said, by)
    return [row.number for row in rows]


def _asked(connection: Connection, able: Sequence[Account], row: Row[Any]) -> Account | None:
    """Return who can fetch a parcel's document: who is asked about it comes first, then who told of it, then who speaks for its carrier."""
    if row.carrier.startswith(UNIDENTIFIED):
        return None
    t = watches.c
    watching = sa.select(t.account).where(t.shipment_id == row.id).order_by(t.chosen.is_(None), t.id)
    names = list(connection.execute(watching).scalars())
    fit = [one for one in able if one.name in names or row.carrier in one.speaks]
    return min(fit, key=lambda one: names.index(one.name) if one.name in names else len(names), default=None)


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

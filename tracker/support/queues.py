"""What waits: of each queue how many rows, and since when its oldest is due; each by an index, counted exactly up to `COUNTED_TO`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.pipeline.context import AppContext
from tracker.pipeline.mails import queue as mails
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    change_notices,
    destinations,
    inbox,
    messages,
    orders,
    outbox,
    proofs,
    resends,
    watches,
)
from tracker.support.gaps import COUNTED_TO

_A, _I, _O, _W, _T, _R = accounts.c, inbox.c, orders.c, outbox.c, watches.c, change_notices.c
_M, _D = messages.c, destinations.c


@dataclass(frozen=True)
class Waits:
    """How many rows wait, and since when the oldest is due (that of rows that died: since when it is there)."""

    count: int
    since: datetime | None


# name -> (what its rows are, the command that lists or explains them)
QUEUES: dict[str, tuple[str, str]] = {
    "inbox": ("payloads that are due to be read", "tracker inbox --state pending"),
    "inbox dead": ("payloads that could not be read", "tracker inbox --state dead"),
    "inbox partly": ("payloads of which a piece could not be read", "tracker inbox --partly"),
    "notices": ("orders that changed in the shop and are due to be read again", "tracker drift"),
    "sweeps": ("stores and feeds whose list is due to be read", "tracker heal"),
    "poll": ("parcels that are due to be asked about", "tracker plan"),
    "register": ("parcels that their carrier is due to be told of", "tracker plan"),
    "resend": ("senders that are due to tell again what we missed", "tracker outages"),
    "proofs": ("documents of deliveries that are due to be fetched", "tracker plan"),
    "decide": ("orders that are due to be compared", "tracker drift"),
    "push": ("writes that are due", "tracker outbox --state pending"),
    "push held": ("writes that a brake holds", "tracker outbox --state held"),
    "push refused": ("writes that the shop refused", "tracker outbox --state refused"),
    "mail": ("mails to customers that are due", "tracker notify list --state pending"),
    "push dead": ("writes that were given up", "tracker outbox --state dead"),
    "tell": ("messages that are due to be told", "tracker hooks sent --state pending"),
    "tell dead": ("messages that were given up", "tracker hooks sent --state dead"),
}
OF_STORES = (
    "notices",
    "sweeps",
    "decide",
    "push",
    "push held",
    "push refused",
    "push dead",
)  # whose rows are of a store
BY_ACCOUNT = ("notices", "poll", "register", "resend", "proofs", "push")


class Waiting:
    """What waits at one moment: in all (`of`), and of each account or store (`by_account`, by queue and name)."""

    def __init__(self, ctx: AppContext, connection: Connection, store: queries.Stores = None) -> None:
        """Look. `store`: only what is of some stores; of what is of none nothing is told."""
        self._connection, self._store = connection, store
        self._now, self._business = database_now(connection), ctx.now()
        self.names = tuple(QUEUES) if store is None else OF_STORES
        self.by_account: dict[tuple[str, str], Waits] = {}
        self._look_by_account()
        self.of = {name: Waits(0, None) for name in self.names} | self._in_all()
        for (name, _), waits in self.by_account.items():
            before = self.of[name]
            since = min((at for at in (before.since, waits.since) if at is not None), default=None)
            self.of[name] = Waits(before.count + waits.count, since)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row a queue: count, `more` (counted no further), since when its oldest is due, its age in seconds, and what lists it."""
        return [
            {
                "queue": name, "what": QUEUES[name][0], "count": waits.count, "more": waits.count >= COUNTED_TO,
                "oldest": waits.since, "oldest_seconds": self.age(name, waits.since), "see": QUEUES[name][1],
            }
            for name, waits in self.of.items()
        ]  # fmt: skip

    def age(self, name: str, since: datetime | None) -> float | None:
        """Return for how many seconds a queue's row is due since a moment, by the clock that is its; None: none is."""
        if since is None:
            return None
        now = self._now if name in _BY_DATABASE else self._business
        return max(0.0, (now - since).total_seconds())

    def _in_all(self) -> dict[str, Waits]:
        """Look at the queues that have an index of their own."""
        mine, writes = queries.of_stores(_O.store, self._store), queries.of_stores(_W.store, self._store)
        swept = (
            sa.or_(_A.suspended_reason.is_(None), _A.suspended_reason == ""),
            *queries.of_stores(_A.name, self._store),
        )
        parts: dict[str, sa.Select[Any]] = {
            "inbox": sa.select(_I.due_at.label("at")).where(_I.state == "pending", _I.due_at <= self._now).order_by(_I.due_at),
            "inbox dead": sa.select(_I.received_at.label("at")).where(_I.state == "dead").order_by(_I.id),
            "inbox partly": sa.select(_I.received_at.label("at")).where(_I.unread.is_not(sa.null())).order_by(_I.id),
            "sweeps": sa.select(_A.next_sweep_at.label("at")).where(_A.next_sweep_at <= self._business, *swept),
            "decide": sa.select(_O.reconcile_at.label("at")).where(_O.reconcile_at <= self._business, *mine).order_by(_O.reconcile_at),
            "mail": mails.waiting(self._now, self._business),
            "push held": sa.select(_W.created_at.label("at")).where(_W.state == "held", *writes),
            "push refused": sa.select(_W.created_at.label("at")).where(_W.state == "refused", *writes).order_by(_W.id),
            "tell": sa.select(_M.due_at.label("at")).where(_M.state == "pending", _M.due_at <= self._now, _M.destination.in_(sa.select(_D.name).where(_D.disabled_at.is_(None)))),
            "tell dead": sa.select(_M.created_at.label("at")).where(_M.state == "dead", _M.destination.in_(sa.select(_D.name))),
            "push dead": sa.select(_W.created_at.label("at")).where(_W.state == "dead", *writes).order_by(_W.id),
        }  # fmt: skip
        names, asked = [name for name in parts if name in self.names], []
        for number, name in enumerate(names):
            some = parts[name].limit(COUNTED_TO).subquery()
            counted = sa.func.count().label("many"), sa.func.min(some.c.at).label("since")
            asked.append(sa.select(sa.literal(number).label("part"), *counted).select_from(some))
        told = self._connection.execute(sa.union_all(*asked))
        return {names[row.part]: Waits(int(row.many), row.since) for row in told}

    def _look_by_account(self) -> None:
        """Look at the queues whose index begins with the account: as many statements for any number of them."""
        due = _T.account == _A.name, _T.next_poll_at <= self._business
        self._count(
            "carrier",
            ("poll", sa.select(_T.next_poll_at.label("at")).where(*due, _T.urgent == sa.true()).order_by(_T.next_poll_at)),
            ("poll", sa.select(_T.next_poll_at.label("at")).where(*due, _T.urgent == sa.false()).order_by(_T.next_poll_at)),
            ("register", sa.select(_T.register_at.label("at")).where(_T.account == _A.name, _T.register_at <= self._business).order_by(_T.register_at)),
            ("resend", sa.select(resends.c.next_at.label("at")).where(resends.c.account == _A.name, resends.c.ended_at.is_(None), resends.c.next_at <= self._business).order_by(resends.c.next_at)),
            ("proofs", sa.select(proofs.c.next_at.label("at")).where(proofs.c.account == _A.name, proofs.c.next_at <= self._business).order_by(proofs.c.next_at)),
        )  # fmt: skip
        notices = (
            _R.account == _A.name,
            _R.due_at <= self._now,
            sa.or_(_R.not_before.is_(None), _R.not_before <= self._business),
        )
        self._count(
            "store",
            ("notices", sa.select(_R.due_at.label("at")).where(*notices).order_by(_R.due_at)),
            ("push", sa.select(_W.due_at.label("at")).where(_W.store == _A.name, _W.state == "pending", _W.due_at <= self._now).order_by(_W.due_at)),
        )  # fmt: skip

    def _count(self, kind: str, *parts: tuple[str, sa.Select[Any]]) -> None:
        some = [(name, part) for name, part in parts if name in self.names]
        if not some:
            return
        columns: list[sa.ScalarSelect[Any]] = []
        for _, part in some:
            counted = part.limit(COUNTED_TO).correlate(accounts).subquery()
            columns.append(sa.select(sa.func.count()).select_from(counted).scalar_subquery())
            columns.append(
                part.with_only_columns(part.selected_columns[0]).limit(1).correlate(accounts).scalar_subquery()
            )
        asked = sa.select(_A.name, *columns).where(_A.kind == kind, *queries.of_stores(_A.name, self._store))
        for account, *told in self._connection.execute(asked):
            for (name, _), count, since in zip(some, told[::2], told[1::2], strict=True):
                if count:
                    before = self.by_account.get((name, account), Waits(0, None))
                    oldest = min(at for at in (before.since, since) if at is not None)
                    self.by_account[name, account] = Waits(before.count + int(count), oldest)


_BY_DATABASE = ("inbox", "notices", "push", "mail")  # their rows fall due by the database's clock

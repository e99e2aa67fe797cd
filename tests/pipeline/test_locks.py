"""Transactions that meet: with PostgreSQL's own locks, at every statement of the one, nobody waits for who waits for him."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from tests.conftest import _database as database
from tests.conftest import wait_for
from tests.lab import DHL, START, UPS, H, Lab, lab, wanting
from tracker.config.model import Budget
from tracker.domain.budget import Calls
from tracker.domain.errors import BudgetSpent, NotFound, Transient
from tracker.domain.facts import Order, Receipt
from tracker.pipeline import budgets, decide, push, whose
from tracker.pipeline.context import AppContext
from tracker.pipeline.ingest import step
from tracker.pipeline.ingest.parse import Parsed, parse
from tracker.pipeline.poll import step as poll
from tracker.pipeline.poll.calls import POLL, READ, Call
from tracker.pipeline.poll.changed import Read
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.codec import ACTION
from tracker.upkeep import maintenance, settle

Transaction = Callable[[AppContext], object]
Meetings = tuple[AppContext, dict[str, Transaction]]
WAITS = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
MEET = {  # who has rows in common; each begins within the other
    "claim": ("attempted", "sent", "later", "refused", "poll", "decide", "monitors", "settle", "backfill"),
    "poll": ("sent", "later", "ingest", "ingest_backwards", "decide", "expire", "settle", "backfill", "monitors"),
    "ingest": ("ingest_backwards", "sent", "decide", "expire", "settle", "choose"),
    "choose": ("poll", "ingest_backwards", "expire", "choose_backwards"),
    "refused": ("sent", "decide"),
    "later": ("attempted",),
    "settle": ("backfill", "decide"),
    "orders": ("orders_backwards",),
}


@dataclass
class Undone:
    """A store whose transactions are taken back, so that each meeting finds the same rows; `after` is called after each statement."""

    store: Any
    after: Callable[[], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    @contextmanager
    def write(self, *, first: bool = False) -> Iterator[sa.Connection]:
        with self.store.engine.connect() as connection, connection.begin() as transaction:
            sa.event.listen(connection, "after_cursor_execute", lambda *_: self.after())
            yield connection
            transaction.rollback()


@dataclass
class Actor:
    """Somebody who runs a transaction, and stands still after so many statements of it until he is let go."""

    ctx: AppContext
    run: Transaction
    stops_after: int = 0
    said: int = 0
    error: BaseException | None = None
    stands: threading.Event = field(default_factory=threading.Event)
    goes: threading.Event = field(default_factory=threading.Event)

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work)
        thread.start()
        return thread

    def _work(self) -> None:
        try:
            self.run(replace(self.ctx, store=Undone(self.ctx.store, self._after)))  # type: ignore[arg-type]
        except BaseException as error:  # it is told by the test
            self.error = error
        self.stands.set()

    def _after(self) -> None:
        self.said += 1
        if self.said == self.stops_after:
            self.stands.set()
            assert self.goes.wait(30)


def meet(ctx: AppContext, one: Transaction, other: Transaction) -> list[tuple[int, str]]:
    """Let `other` begin after each statement of `one`, as far as it gets. Returns what went wrong, by statement."""
    wrong: list[tuple[int, str]] = []
    with ctx.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watcher:
        for statement in range(1, 200):
            first, second = Actor(ctx, one, statement), Actor(ctx, other)
            threads = [first.start()]
            assert first.stands.wait(30)
            threads.append(second.start())
            wait_for(lambda: second.stands.is_set() or watcher.execute(WAITS).scalar_one())  # noqa: B023
            first.goes.set()
            for thread in threads:
                thread.join(30)
            wrong += [(statement, str(actor.error)) for actor in (first, second) if actor.error is not None]
            if first.said < statement:
                return wrong
    raise AssertionError("it never ends")


@pytest.fixture(scope="module")
def met(postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meetings]:
    """Return a lab in which two orders are read, polled, written, missed, decided and given up at once; and who does so."""
    with database(postgres, template=template) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE \"{sa.make_url(url).database}\" SET deadlock_timeout = '20ms'".encode())
        with lab(url, tmp_path_factory.mktemp("locks"), rest="{preset: kingston-courier}") as made:
            wanting(lambda: made)
            made.order("#1002", DHL, UPS, company="Royal Mail")
            made.order("#1003")
            made.order("#1004")
            made.work()
            yield made.ctx, transactions(made)


def read_again(made: Lab, now: datetime) -> tuple[list[Parsed], list[Parsed]]:
    """Claim what the shop said twice more, for two batches of stage A."""
    with made.ctx.store.write() as connection:
        here = sa.and_(t.inbox.c.account == "shop", t.inbox.c.body.isnot(None))
        for way, row in product((1, 2), connection.execute(sa.select(t.inbox).where(here)).all()):
            new = {"id": row.id + 1000 * way, "dedupe_key": f"{way} {row.id}".encode(), "asked_at": now + H}
            connection.execute(
                t.inbox.insert(), {**row._mapping, **new, "state": "pending", "attempts": 0, "crashes": 0}
            )
        claimed = queries.claim(connection, t.inbox, 1000)
    read = [parse(made.ctx, one) for one in sorted(claimed, key=lambda one: int(one.id))]
    return read[: len(read) // 2], read[len(read) // 2 :]


def without_parcels(read: list[Parsed]) -> list[Parsed]:
    """Return what was read of two orders that share no parcel's lock."""
    wanted = ("#1003", "#1004")
    return [replace(p, items=[x]) for p in read for x in p.items if isinstance(x, Order) and x.number in wanted]


def transactions(made: Lab) -> dict[str, Transaction]:
    """Give each transaction something to do with the same orders, their parcels, their store and its findings."""
    account, now = made.ctx.config.accounts["shop"], made.clock()
    order, write, mine = made.rows(t.orders)[0], made.rows(t.outbox)[0], t.accounts.c.name == "shop"
    given_up = {"id": write.id + 100, "key": "given up", "kind": push.NOTICE, "crashes": queries.MOST_CRASHES + 1}
    made.change(t.outbox.update().values(state="pending", ended_at=None, claimed_until=None, due_at=START))
    made.change(t.outbox.insert().values({**made.rows(t.outbox)[0]._mapping, **given_up}))  # holds back no write
    made.change(t.outbox.update().where(t.outbox.c.id == write.id).values(key="wanted no more"))
    made.change(t.change_notices.delete())
    missed = {"account": "shop", "ref": order.ref, "noticed_at": now, "due_at": now, "missed_at": now - 2 * H}
    made.change(t.change_notices.insert().values(attempts=0, **missed))
    missing = made.one(t.change_notices)
    made.change(t.change_notices.update().values(attempts=1))
    made.change(t.accounts.update().where(mine).values(answered_at=now, failures=3, failing_since=now - H))
    made.change(t.accounts.update().where(t.accounts.c.kind == "store").values(policy_hash="before"))
    made.change(t.orders.update().values(reconcile_at=now, decision_hash=None))
    unknown = t.shipments.c.number.in_([DHL, UPS])
    made.change(t.shipments.update().where(unknown).values(starts_at=now - timedelta(days=90)))
    due_ones = sa.select(t.watches, t.shipments.c.carrier, t.shipments.c.starts_at).join(t.shipments).where(unknown)
    with made.ctx.store.read() as connection:
        asked = connection.execute(due_ones.order_by(t.watches.c.id)).all()
    expiring = {"tracking_state": "pending", "next_poll_at": None, "attempts": t.watches.c.attempts + 1}
    made.change(t.watches.update().where(t.watches.c.id.in_([watch.id for watch in asked])).values(expiring))
    with made.ctx.store.write() as connection:
        (row,) = queries.claim(connection, t.outbox, 1, t.outbox.c.id == write.id)
    action, states = ACTION.validate_python(row.action), {state.name: state for state in made.rows(t.accounts)}
    first, last = read_again(made, now)

    def polled(ctx: AppContext) -> None:
        calls = [
            Call(POLL, ctx.config.accounts[watch.account], [watch], lambda: None, error=NotFound(str(watch.id)))
            for watch in reversed(asked)
        ]
        for call in calls:
            call.asked, call.failing = (now, now), states[call.account.name].failures is not None
        read = Call(READ, account, [missing], lambda: None, result=Read([], set()), asked=(now, now))
        poll._store(ctx, [*calls, read])

    return {
        "claim": push._claim,
        "attempted": lambda ctx: push._attempted(ctx, row),
        "sent": lambda ctx: push._sent(ctx, account, row, action, Receipt("r", already_there=False)),
        "later": lambda ctx: push._later(ctx, account, row, Transient("away")),
        "refused": lambda ctx: push._refused(ctx, account, row, action, "no"),
        "poll": polled,
        "ingest": lambda ctx: step._commit(ctx, first),
        "ingest_backwards": lambda ctx: step._commit(ctx, last[::-1]),
        "orders": lambda ctx: step._commit(ctx, without_parcels(first)),
        "orders_backwards": lambda ctx: step._commit(ctx, without_parcels(last)[::-1]),
        "choose": lambda ctx: whose.choose_anew(ctx, [watch.shipment_id for watch in asked]),
        "choose_backwards": lambda ctx: whose.choose_anew(ctx, [watch.shipment_id for watch in reversed(asked)]),
        "decide": decide.run,
        "monitors": maintenance.run_monitors,
        "expire": maintenance.expire,
        "settle": settle.settle_accounts,
        "backfill": lambda ctx: maintenance.backfill(ctx, "shop"),
    }


@pytest.mark.parametrize(("one", "other"), [(one, other) for one, others in MEET.items() for other in others])
def test_two_transactions_that_meet_both_come_to_their_end(met: Meetings, one: str, other: str) -> None:
    ctx, who = met

    assert meet(ctx, who[one], who[other]) == []
    assert meet(ctx, who[other], who[one]) == []


def test_two_charges_that_meet_never_take_the_same_call_of_a_budget(met: Meetings) -> None:
    ctx, _ = met
    account = replace(ctx.config.accounts["dhl"], budget=Budget(calls=1, per=H))
    ctx = replace(ctx, config=replace(ctx.config, accounts={**ctx.config.accounts, "dhl": account}))
    here, told = t.accounts.c.name == "dhl", list[str]()

    def second() -> None:
        try:
            budgets.charge(ctx, "dhl")
            told.append("asked")
        except BudgetSpent:
            told.append("spent")

    other = threading.Thread(target=second)
    with ctx.store.write() as connection:
        connection.execute(t.accounts.update().where(here).values(spent=Calls(1, H, None, ctx.now()).take()))
        other.start()
        wait_for(lambda: connection.execute(WAITS).scalar_one())
    other.join(30)
    with ctx.store.write() as connection:
        connection.execute(t.accounts.update().where(here).values(spent=None))

    assert told == ["spent"]

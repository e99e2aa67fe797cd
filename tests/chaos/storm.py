"""Random faults from one seed under a steady stream of scans, then a check of everything that was acknowledged.

The stream: orders with a parcel each; every parcel gets scans until it is delivered, each scan posted as a signed webhook,
many of them doubled, until it was answered 200. The checker then compares three records that know nothing of each other:
the posts that were answered 200 (and the scans in them), the database, and the shop's own log of what was written to it.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import redis
import sqlalchemy as sa

from tests.chaos.faults import Faults
from tests.chaos.rig import Rig
from tests.conftest import wait_for
from tracker.clock import system_now
from tracker.sandbox.base import Outgoing
from tracker.store import tables as t
from tracker.store.engine import Store

SETTLED_WITHIN = 240.0  # seconds for a sender to end, and without a change until we call it stuck
JOURNEY = (
    ("pre_transit", "label_created"),
    ("in_transit", "arrived_at_facility"),
    ("in_transit", "departed_facility"),
    ("out_for_delivery", "out_for_delivery"),
    ("delivered", "arrived_at_destination"),
)


@dataclass
class Report:
    """What one storm did and what came of it."""

    seed: int
    faults: int = 0
    by_fault: dict[str, int] = field(default_factory=dict)
    posts: int = 0  # answered 200
    refused: int = 0  # answered 503, or not at all; posted again
    wrong_answers: int = 0  # any other answer
    parcels: int = 0
    scans: int = 0  # distinct, acknowledged
    scans_lost: int = 0
    payloads_lost: int = 0
    shipments_wrong: int = 0
    actions: int = 0
    never_sent: int = 0
    double_calls: int = 0
    rows_left: int = 0
    revived: int = 0  # processes that had ended without our doing
    slowest_answer: float = 0.0  # seconds, of a 200
    settled_in: float = 0.0  # seconds after the last fault

    @property
    def problems(self) -> list[str]:
        """Say what broke a promise; empty: all held."""
        zero = ("wrong_answers", "scans_lost", "payloads_lost", "shipments_wrong", "never_sent", "rows_left", "revived")
        found = [f"{name}={getattr(self, name)}" for name in zero if getattr(self, name)]
        if self.double_calls > 1 + self.actions / 500 + self.faults / 5:
            found.append(f"double_calls={self.double_calls}")
        if not self.faults or not self.scans or not self.actions:
            found.append("nothing was tried")
        return found


class Storm:
    """One seed, so many seconds of faults."""

    journey = JOURNEY
    without: frozenset[str] = frozenset()  # faults that are left out

    def __init__(self, seed: int, seconds: float, rate: float = 20.0) -> None:
        self.random = random.Random(seed)
        self.seconds, self.rate = seconds, rate
        self.report = Report(seed)
        self._told: dict[str, int] = defaultdict(int)
        self._told_at: dict[str, datetime] = {}
        self._acked: dict[str, set[tuple[str, datetime]]] = defaultdict(set)
        self._keys: set[str] = set()
        self._pending: list[tuple[Outgoing, str | None, set[tuple[str, datetime]]]] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def run(self, say: Callable[[str], None] = lambda _: None) -> Report:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trackwright-storm-")))
            self.rig = Rig(folder, stack, more="threads: 4\n")
            self.rig.start_all()
            site = self.rig.site
            wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)), 60)
            senders = [threading.Thread(target=self._send, args=(i,), daemon=True) for i in range(4)]
            teller = threading.Thread(target=self._tell, daemon=True)
            for thread in (*senders, teller):
                thread.start()
            self._faults(say)
            teller.join()
            self._calm()
            began = time.monotonic()
            for sender in senders:
                sender.join(SETTLED_WITHIN)
            self._settle(began)
            self._check()
            if self.report.problems:
                say(site.logs()[-6000:])
        return self.report

    # the stream

    def _tell(self) -> None:
        """Place orders, ship them, scan them; each scan becomes a post, some of them twice."""
        shop, easypost = self.rig.site.shop, self.rig.site.easypost
        choose = random.Random(self.report.seed + 1)
        until = time.monotonic() + self.seconds
        journey = len(self.journey)
        numbers: list[str] = []  # of parcels under way
        made = 0
        while time.monotonic() < until:
            if len(numbers) < 2 * journey or choose.random() < 1 / journey:  # as many begin as end
                number = f"94001{made:017}"
                with self._lock:
                    shop.place(f"#{made}", system_now(), "PAID")
                    shop.ship(f"#{made}", system_now(), [{"company": "USPS", "number": number}], partly=False)
                    self._hand_over_hooks()
                numbers.append(number)
                made += 1
            number = choose.choice(numbers)
            self._scan(number, copies=1 + (choose.random() < 0.2))
            if self._told[number] == journey:
                numbers.remove(number)
            time.sleep(1 / self.rate)
        for number in numbers:  # every journey ends
            while self._told[number] < journey:
                self._scan(number, copies=1)
        self.report.parcels = made
        assert easypost.history
        self._over.set()

    def _scan(self, number: str, *, copies: int) -> None:
        status, code = self.journey[self._told[number]]
        self._told[number] += 1
        easypost = self.rig.site.easypost
        # EasyPost prints whole seconds: each scan is at least one after the one before, and after the store was connected
        at = max(system_now(), self._told_at.get(number, system_now())) + timedelta(seconds=2)
        self._told_at[number] = at
        with self._lock:
            easypost.history[number].append(
                {"at": at, "type": status, "code": code, "text": code, "city": "RENO", "region": "NV", "country": "US"}
            )
            event = easypost.event(number)
            held = {(scan["code"], scan["at"].replace(microsecond=0)) for scan in easypost.history[number]}
            self._pending += [(event, number, held)] * copies

    def _hand_over_hooks(self) -> None:
        shop = self.rig.site.shop
        while shop.outgoing:
            self._pending.append((shop.outgoing.pop(0), None, set()))

    def _send(self, which: int) -> None:
        """Post until it is answered 200, as a patient carrier would."""
        choose = random.Random(self.report.seed * 100 + which)
        http = httpx.Client(timeout=15, trust_env=False)
        base = f"http://127.0.0.1:{self.rig.site.port}/webhooks"
        while True:
            with self._lock:
                self._hand_over_hooks()
                one = self._pending.pop(choose.randrange(len(self._pending))) if self._pending else None
            if one is None:
                if self._over.is_set():
                    break
                time.sleep(0.02)
                continue
            outgoing, number, held = one
            began = time.monotonic()
            try:
                status = http.post(
                    f"{base}/{outgoing.account}", content=outgoing.body, headers=outgoing.headers
                ).status_code
            except httpx.TransportError:
                status = 0
            took = time.monotonic() - began
            with self._lock:
                if status == 200:
                    self.report.posts += 1
                    self.report.slowest_answer = max(self.report.slowest_answer, took)
                    if number is not None:
                        self._acked[number] |= held
                        self._keys.add(_event_id(outgoing))
                    continue
                if status in (0, 503):
                    self.report.refused += 1
                else:
                    self.report.wrong_answers += 1
                self._pending.append(one)
            time.sleep(0.1)
        http.close()

    # the faults

    def _faults(self, say: Callable[[str], None]) -> None:
        rig, choose = self.rig, self.random
        client = redis.Redis(port=rig.redis.port, socket_timeout=2)
        until = time.monotonic() + self.seconds
        faults = [(name, fault) for name, fault in Faults(rig, choose, client).all() if name not in self.without]
        order: list[tuple[str, Callable[[], None]]] = []
        counted: Counter[str] = Counter()
        while time.monotonic() < until:
            time.sleep(choose.uniform(0.4, 1.2))
            if not order:  # every kind once, in any order, before any comes again
                order = choose.sample(faults, len(faults))
            name, fault = order.pop()
            fault()
            counted[name] += 1
            self.report.revived += rig.revive()
            say(f"  {name}")
        self.report.faults, self.report.by_fault = counted.total(), dict(counted)
        client.close()

    def _calm(self) -> None:
        self.rig.site.shop.faults.left.clear()
        self.rig.revive()
        wait_for(self.rig.site.alive, 60)

    # the check

    def _settle(self, began: float) -> None:
        """Wait until nothing is pending for a moment, or nothing has moved for SETTLED_WITHIN: the shop sets the pace."""
        site = self.rig.site

        def busy() -> tuple[int, ...]:
            site.send()
            return (
                len(site.rows(t.inbox, t.inbox.c.state == "pending")),
                len(site.rows(t.outbox, t.outbox.c.state == "pending")),
                len(site.rows(t.change_notices)),
                len(site.rows(t.orders, t.orders.c.reconcile_at <= system_now())),
            )

        still, before, moved = 0, busy(), time.monotonic()
        while still < 3 and time.monotonic() - moved < SETTLED_WITHIN:
            time.sleep(0.3)
            now = busy()
            still = 0 if any(now) else still + 1
            if now != before:
                before, moved = now, time.monotonic()
        self.report.settled_in = round(time.monotonic() - began, 1)

    def _check(self) -> None:
        report, site = self.report, self.rig.site
        store: Store = site.store
        with store.read() as connection:
            stored: dict[str, set[tuple[str, datetime]]] = defaultdict(set)
            for row in connection.execute(
                sa.select(t.shipments.c.number, t.scans.c.code, t.scans.c.instant).join(
                    t.scans, t.scans.c.shipment_id == t.shipments.c.id
                )
            ):
                stored[row.number].add((row.code.split("/")[-1], row.instant.replace(microsecond=0)))
            shipments = {row.number: row.status for row in connection.execute(sa.select(t.shipments))}
            count = sa.func.count()
            keys = set(
                connection.execute(sa.select(t.inbox.c.dedupe_key).where(t.inbox.c.account == "easypost")).scalars()
            )
            report.rows_left = (
                connection.execute(
                    sa.select(count).select_from(t.inbox).where(t.inbox.c.state.in_(["pending", "dead"]))
                ).scalar_one()
                + connection.execute(
                    sa.select(count).select_from(t.outbox).where(t.outbox.c.state.in_(["pending", "dead", "refused"]))
                ).scalar_one()
            )
            report.actions = connection.execute(
                sa.select(count).select_from(t.outbox).where(t.outbox.c.state == "sent")
            ).scalar_one()
        for number, held in self._acked.items():
            report.scans += len(held)
            report.scans_lost += len(held - stored[number])
            report.shipments_wrong += shipments.get(number) != "delivered"
        report.payloads_lost = len(self._keys - keys)
        shown: dict[str, Counter[str]] = defaultdict(Counter)
        for entry in site.shop.log:
            shown[entry["order"]][entry["event"]] += 1
        for i in range(report.parcels):
            report.never_sent += shown[f"#{i}"]["DELIVERED"] == 0
        report.double_calls = sum(count - 1 for events in shown.values() for count in events.values() if count > 1)


def _event_id(outgoing: Outgoing) -> str:
    import orjson

    return str(orjson.loads(outgoing.body)["id"])


def as_row(report: Report) -> dict[str, object]:
    """Return a report as plain data."""
    return {**asdict(report), "problems": report.problems}

"""The course of a play: its clock, what is planned, and when everything that is due has been worked."""

from __future__ import annotations

import heapq
import itertools
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from tracker.app.daemon import Daemon
from tracker.clock import PlayClock
from tracker.config.load import load_config
from tracker.config.model import Config
from tracker.domain.errors import ConfigError, TrackerError
from tracker.pipeline.context import QUEUES
from tracker.sandbox.base import Outgoing, Server
from tracker.sandbox.player.due import due_work
from tracker.sandbox.player.stage import Stage
from tracker.sandbox.scenario import Scenario
from tracker.store.engine import database_now
from tracker.upkeep import maintenance

PATIENCE = 60.0
EACH = 0.5  # seconds more for each thing that happens at one moment: hundreds may, on a machine that has other work
WAITS = timedelta(minutes=2)  # by the database's clock, at one moment of the play: tries that follow each other
A_TICK = timedelta(seconds=1)
GIVE_UP = timedelta(milliseconds=400)  # after which a call that hangs is given up: a play takes no minutes
JITTER = tuple(timedelta(minutes=late) for late in (0, 0, 5, 40, 180))  # how late a shuffled webhook is sent
NOTIFY_AGAIN_AFTER = 0.05  # seconds after which a role that is still busy is notified once more


@dataclass
class Result:
    """What came of a play."""

    differences: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)  # where something differs: what we ourselves say went wrong
    log: list[dict[str, Any]] = field(default_factory=list)
    webhooks: int = 0
    rejected: int = 0
    polls: int = 0
    seconds: float = 0.0


class Course:
    """A play while it runs. `seed` shuffles: copies of webhooks and their delays (None: exactly as written)."""

    daemon: Daemon

    def __init__(self, scenario: Scenario, *, seed: int | None, database: str | None, broker: str) -> None:
        """Prepare; nothing runs yet."""
        self.scenario = scenario
        self.result = Result()
        self.clock = PlayClock(scenario.start)
        self.stage = Stage(scenario, self.clock, database=database, broker=broker)
        self.random = random.Random(seed) if seed is not None else None
        self._waited = timedelta(0)
        self._planned: list[tuple[datetime, bool, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._http = httpx.Client(timeout=30, trust_env=False)

    def open(self, stack: ExitStack) -> None:
        """Open the stage and bring up the daemon, which does not work yet; what must be closed goes onto the stack."""
        stack.callback(self.stage.close)
        stack.callback(self._http.close)
        self.stage.open()
        config = self._configuration()
        if any(step.fault is not None and step.fault.kind == "hang" for step in self.scenario.steps):
            network = config.root.network.model_copy(update={"timeout": GIVE_UP})
            config = replace(config, root=config.root.model_copy(update={"network": network}))
        self.daemon = Daemon(config, now=self.clock, ahead=self.ahead)
        stack.callback(self.daemon.stop)
        self.daemon.connect()
        for server in self.stage.servers.values():
            server.waited = self._more

    @property
    def late(self) -> timedelta:
        """How much later than written news may come: a shuffled webhook is late, and a poll may tell of it no sooner."""
        return max(JITTER) if self.random is not None else timedelta(0)

    def _configuration(self) -> Config:
        """Read our YAML of the play. Raises ConfigError with the keys of what is wrong: who plays never sees the file."""
        try:
            return load_config(self.stage.path)
        except ConfigError as error:
            place = re.compile(rf"^{re.escape(str(self.stage.path))}(:\d+)*: ")
            raise ConfigError(*(f"the play's configuration: {place.sub('', one)}" for one in error.problems)) from None

    def plan(self, when: datetime, action: Callable[[], object], *, last: bool = False) -> None:
        """Plan something; `last`: after everything else of that moment, webhooks included (expectations)."""
        heapq.heappush(self._planned, (when, last, next(self._order), action))

    def ahead(self) -> timedelta:
        """How far the database's clock counts as ahead: as far as the play went, and a little more where it waited."""
        return max(self.clock() - self.scenario.start, self._waited)

    def _more(self) -> timedelta:
        """How far the database's clock is ahead of the play's."""
        return self.ahead() - (self.clock() - self.scenario.start)

    def run(self, end: datetime, watch: Callable[[], None] | None = None) -> None:
        """Jump from moment to moment until `end`; `watch` is called after each."""
        while True:
            now = self.clock()
            due = min(filter(None, (maintenance.next_business_time(self.daemon.ctx), self._rested())), default=None)
            happens = self._planned[0][0] if self._planned else None
            moments = [m for m in (due, happens) if m is not None and m > now]
            if happens is not None and happens <= now:
                moments = [now]
            target = min(moments, default=end)
            if target >= end and not (happens is not None and happens <= end):
                self.clock.move_to(end)
                self.settle()
                return
            self.clock.move_to(target)
            happened = 0
            while self._planned and self._planned[0][0] <= target:
                heapq.heappop(self._planned)[3]()
                happened += 1
            maintenance.expire(self.daemon.ctx)
            maintenance.run_monitors(self.daemon.ctx)
            self.settle(happened)
            if watch is not None:
                watch()

    def settle(self, happened: int = 0) -> None:
        """Wait until everything that is due at this moment has been worked, of the things that happened in it.

        What waits a little by the database's clock (a call is tried again, an account rests) is waited for by moving that
        clock; what waits longer waits for the play.
        """
        until = time.monotonic() + PATIENCE + EACH * happened
        for queue in QUEUES:
            self.daemon.notifier.notify(queue)
        calm, notified, rung_at = 0, "", 0.0
        while calm < 2:
            sent = self._flush()
            self.daemon.notifier.wait(NOTIFY_AGAIN_AFTER)
            why, waits = due_work(self.daemon.ctx)
            calm = 0 if why or sent else calm + 1
            if time.monotonic() > until:
                raise TrackerError(f"the play does not settle at {self.clock():%Y-%m-%d %H:%M}: {why}")
            if why or sent:  # who was notified works until nothing is left: again only where that takes long
                if sent or why != notified or time.monotonic() - rung_at > NOTIFY_AGAIN_AFTER:
                    notified, rung_at = why or "ingest", time.monotonic()
                    self.daemon.notifier.notify(notified)
            elif waits is not None:
                with self.daemon.store.read() as connection:
                    wait = waits - database_now(connection)
                if self.ahead() + wait <= self.clock() - self.scenario.start + WAITS:
                    self._waited, calm = self.ahead() + max(wait, timedelta(0)), 0
                    until += EACH  # a platform that lets few calls through is waited for in many small steps
            time.sleep(0.002)

    def _rested(self) -> datetime | None:
        """Return the moment at which the database's clock alone makes something due."""
        waits = due_work(self.daemon.ctx)[1]
        if waits is None:
            return None
        with self.daemon.store.read() as connection:
            wait = waits - database_now(connection)
        return max(self.scenario.start + self.ahead() + wait, self.clock() + A_TICK)

    def deliver(self, server: Server, outgoing: Outgoing) -> None:
        """Send a webhook of a server, with the copies that a fault asks for; again later, as long as its sender does."""
        again = server.heard(outgoing, 0 if server.faults.take("unreachable") else self.post(outgoing))
        if again is not None:
            later = replace(outgoing, tries=outgoing.tries + 1)
            self.plan(self.clock() + again, lambda: self.deliver(server, server.sent(later)))

    def post(self, outgoing: Outgoing) -> int:
        """Post a webhook: again until it is taken, three times."""
        assert self.daemon.servers is not None
        port, config = self.daemon.servers.ports()[0], self.daemon.ctx.config
        path = urlsplit(config.hook_address(config.accounts[outgoing.account])).path
        url = f"http://127.0.0.1:{port}{path}/{self.stage.tokens[outgoing.account]}"
        status = 0
        for _ in range(3):
            status = self._http.post(url, content=outgoing.body, headers=outgoing.headers).status_code
            if status < 500:
                break
        self.result.webhooks += 1
        self.result.rejected += status == 401
        return status

    def _flush(self) -> bool:
        """Send what the servers have to say of their own; returns whether there was anything."""
        sent = False
        for server in self.stage.servers.values():
            while server.outgoing:
                for outgoing in self._copies(server, server.outgoing.pop(0)):
                    self.deliver(server, outgoing)
                sent = True
        return sent

    def _copies(self, server: Server, outgoing: Outgoing) -> Iterator[Outgoing]:
        """Yield a hook as often as the faults say: byte for byte the same, or as of so many changes in one second."""
        copies, storm = (server.faults.left.pop(kind, 0) for kind in ("duplicate_hooks", "storm"))
        yield from [outgoing] * max(copies, 2 if server.faults.take("duplicate_hooks") else 1)
        for _ in range(storm - 1):
            yield server.afresh(outgoing)

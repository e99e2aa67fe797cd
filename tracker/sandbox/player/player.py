"""Play a scenario through real HTTP and the real roles, and compare what came of it with what had to.

Time is the scenario's: the clock jumps to the next thing that happens or falls due, and stands still until everything
that is due has been worked. What the shop was told is read from the sandbox platform's own log, not from ours.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial

from tracker.sandbox.player.actions import do
from tracker.sandbox.player.checks import check
from tracker.sandbox.player.course import Course, Result
from tracker.sandbox.player.load import load_scenario
from tracker.sandbox.player.why import why
from tracker.sandbox.scenario import Scenario

__all__ = ["Player", "Result", "load_scenario"]

Watch = Callable[["Player"], None]


class Player(Course):
    """One play. `seed` shuffles: copies of webhooks and their delays (None: exactly as written)."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        database: str | None = None,
        broker: str = "none",
        watch: Watch | None = None,
        page: bool = False,
    ) -> None:
        """Prepare; nothing runs yet. `page`: with the page to look at, by the token of `stage.page_token`."""
        super().__init__(scenario, seed=seed, database=database, broker=broker)
        self.stage.page_token = secrets.token_urlsafe(24) if page else None
        self._watch = partial(watch, self) if watch is not None else None

    def play(self, *, keep: Callable[[], None] | None = None) -> Result:
        """Play to the end and check. `keep` is called before everything is stopped."""
        began = time.monotonic()
        with ExitStack() as stack:
            self.open(stack)
            self._play()
            self.result.seconds = time.monotonic() - began
            if keep is not None:
                keep()
        return self.result

    def _play(self) -> None:
        happens = self.scenario.happens
        steps = list(happens)
        if any(store.existing for store in self.scenario.stores.values()):
            there = [s for s in steps if s.expect is None and s.says is None]
            for step in [s for s in there if self.scenario.moment(s.at) <= self.scenario.start]:
                do(self, step)
                steps.remove(step)
            for shop in self.stage.shops.values():
                shop.outgoing.clear()
        self.daemon.start()
        self.settle()
        for step in steps:
            last = step.expect is not None or step.says is not None
            self.plan(self.scenario.moment(step.at), partial(do, self, step), last=last)
        end = max((self.scenario.moment(step.at) for step in happens), default=self.scenario.start)
        self.run(end + (self.scenario.lasts or timedelta(hours=1)), self._watch)
        self.result.differences += check(self, self.scenario.expect)
        for name, server in self.stage.servers.items():
            self.result.differences += [f"{name} refused a call: {said}" for said in dict.fromkeys(server.complaints)]
            untrue = dict.fromkeys(server.untrue)
            self.result.differences += [
                f"the fake {name} answered what the real one never does: {said}" for said in untrue
            ]
        if self.result.differences:
            self.result.hints = why(self.daemon.ctx)
        self.result.polls = sum(server.calls["track"] for server in self.stage.servers.values())

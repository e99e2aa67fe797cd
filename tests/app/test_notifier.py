"""Whoever is told that there is work: threads, Redis, and a Redis that is away."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy.exc import OperationalError

from tests.conftest import wait_for
from tracker.app import notifier
from tracker.pipeline.context import QUEUES
from tracker.pipeline.drain import STEPS


def test_threads_take_up_what_is_rung_and_survive_a_drain_that_raises() -> None:
    woken = notifier.ThreadNotifier()
    heard: list[str] = []

    def drain(queue: str, _stop: Any) -> int:
        heard.append(queue)
        if queue == "poll":
            raise OperationalError("", {}, Exception())
        return 0

    woken.start(drain)
    woken.notify("push")
    woken.notify("poll")
    wait_for(lambda: {"push", "poll"} <= set(heard))
    woken.stop()
    assert woken.problem() is None


def test_each_queue_that_there_is_has_a_thread_that_drains_it() -> None:
    woken = notifier.make_notifier("none", threads=4)
    heard: set[str] = set()
    woken.start(lambda queue, _stop: heard.add(queue) or 0)  # type: ignore[func-returns-value]
    for queue in QUEUES:
        woken.notify(queue)
    wait_for(lambda: heard == set(QUEUES))
    woken.stop()


def test_redis_bells_wake_a_drain_and_never_two_thirds_of_the_threads(redis_server) -> None:
    woken = notifier.make_notifier(redis_server.url, threads=4)
    going, most, gate = [0], [0], threading.Event()

    def drain(queue: str, _stop: Any) -> int:
        going[0] += 1
        most[0] = max(most[0], going[0])
        gate.wait(10)
        going[0] -= 1
        return 0

    woken.start(drain)
    for _ in range(20):
        woken.notify("ingest")
        woken._wake.set()  # type: ignore[attr-defined]
    wait_for(lambda: going[0])
    gate.set()
    woken.stop()
    assert most[0] <= 2


def test_a_redis_that_is_away_is_told_and_the_drain_runs_all_the_same() -> None:
    woken = notifier.make_notifier("redis://127.0.0.1:1/0", threads=2)
    heard: list[str] = []

    def drain(queue: str, _stop: Any) -> int:
        heard.append(queue)
        raise RuntimeError("and the drain may raise")

    woken.start(drain)
    try:
        woken.notify("ingest")
        wait_for(lambda: set(heard) == set(STEPS))
        assert woken.problem() == "ConnectionError"
    finally:
        woken.stop()

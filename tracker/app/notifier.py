"""Wake-ups: "there is work in this queue". They carry nothing; a lost, doubled or late one changes nothing.

`ThreadNotifier` waits in this process; `RedisNotifier` notifies through Dramatiq. With Redis the middleware is ours alone: retry state is
a row, so no Retries, AgeLimit, TimeLimit, Callbacks or Pipelines (DECISIONS.md 11).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import dramatiq
import redis
import structlog
from dramatiq.brokers.redis import RedisBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from tracker.app.telemetry import place
from tracker.pipeline.context import QUEUES

log = structlog.get_logger()
Drain = Callable[[str, Callable[[], bool]], int]
IDLE = 1.0
FALLBACK = 2.0


class Notifier(Protocol):
    """How work is announced and taken up."""

    def notify(self, queue: str) -> None:
        """Announce work; never raises, never waits for long."""

    def start(self, drain: Drain) -> None:
        """Take up work in this process."""

    def stop(self) -> None:
        """Stop taking up work and wait for what is being done."""

    def problem(self) -> str | None:
        """Say why notifying fails at the moment, None when it works."""

    def wait(self, seconds: float) -> None:
        """Wait until all that was notified has been taken up and worked, where this process can know it, or for so long."""


class ThreadNotifier:
    """A thread a queue (two where it waits for networks), each waiting for its wake-up or a second."""

    def __init__(self, threads: dict[str, int] | None = None) -> None:
        """Choose how many threads a queue gets; one by default."""
        self._counts = threads or dict.fromkeys(QUEUES, 1)
        self._events = {queue: threading.Event() for queue in QUEUES}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._at_work = 0
        self._changed = threading.Condition()

    def notify(self, queue: str) -> None:
        """Wake the queue's threads."""
        self._events[queue].set()

    def start(self, drain: Drain) -> None:
        """Start the threads."""
        for queue, count in self._counts.items():
            for i in range(count):
                thread = threading.Thread(target=self._run, args=(queue, drain), name=f"{queue}-{i}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Stop claiming, wait for the batches at hand (25 s at most)."""
        self._stopping.set()
        for event in self._events.values():
            event.set()
        until = time.monotonic() + 25
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def problem(self) -> str | None:
        """Nothing can fail."""
        return None

    def wait(self, seconds: float) -> None:
        """Wait until nobody is to wake up and no thread works, or for so long."""
        with self._changed:
            self._changed.wait_for(
                lambda: not (any(event.is_set() for event in self._events.values()) or self._at_work), seconds
            )

    def _works(self, more: int) -> None:
        with self._changed:
            self._at_work += more
            self._changed.notify_all()

    def _run(self, queue: str, drain: Drain) -> None:
        event = self._events[queue]
        while not self._stopping.is_set():
            event.wait(IDLE)
            self._works(1)  # before the event is cleared: it is never both clear and not taken up
            event.clear()
            try:
                drain(queue, self._stopping.is_set)
            except Exception as error:  # the database may be away: say so, and try again at the next second
                log.warning("drain_failed", queue=queue, error=type(error).__name__, at=place(error))
                self._stopping.wait(IDLE)
            finally:
                self._works(-1)


class RedisNotifier:
    """Wake-ups over Redis. Its loss loses nothing: the scheduler notifies again while rows are due."""

    def __init__(self, url: str, *, threads: int = 4) -> None:
        """Connect lazily. `threads` drain in this process, at most half of them one queue."""
        self._client = redis.Redis.from_url(
            url, socket_timeout=2.0, socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0), health_check_interval=10
        )
        self._broker = RedisBroker(  # type: ignore[no-untyped-call]
            client=self._client, middleware=[], namespace="trackwright", heartbeat_timeout=30_000,
            maintenance_chance=20_000,
        )  # fmt: skip
        self._threads = threads
        self._actors: dict[str, Any] = {}
        self._worker: dramatiq.Worker | None = None
        self._stopping = threading.Event()
        self._problem: str | None = None
        self._unsent: Exception | None = None  # why the last wake-up was not sent
        self._pending: set[str] = set()
        self._wake = threading.Event()
        self._sender: threading.Thread | None = None
        self._room = {queue: threading.Semaphore(max(1, threads // 2)) for queue in QUEUES}
        for queue in QUEUES:
            self._broker.declare_queue(queue)

    def notify(self, queue: str) -> None:
        """Note the wake-up; a thread of its own sends it, so that a frozen Redis delays nobody."""
        self._pending.add(queue)
        self._wake.set()
        if self._sender is None:
            self._sender = threading.Thread(target=self._send, name="notifier", daemon=True)
            self._sender.start()

    def _send(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(5)
            self._wake.clear()
            for queue in sorted(self._pending):
                self._pending.discard(queue)
                try:
                    self._broker.enqueue(
                        dramatiq.Message(queue_name=queue, actor_name=f"drain_{queue}", args=(), kwargs={}, options={})
                    )
                    self._unsent = None
                    self._heard(None)  # a receiver has no other way to learn that wake-ups come through again
                except Exception as error:
                    self._unsent = error
                    self._heard(error)
                    self._stopping.wait(0.5)

    def start(self, drain: Drain) -> None:
        """Embed one Dramatiq worker; each actor's whole body is a drain."""

        def body(queue: str) -> Callable[[], None]:
            def run() -> None:
                self._take_up(queue, drain)

            return run

        for queue in QUEUES:
            self._actors[queue] = dramatiq.Actor(
                body(queue), broker=self._broker, actor_name=f"drain_{queue}", queue_name=queue, priority=0, options={}
            )
        fallback = threading.Thread(target=self._without, args=(drain,), name="fallback", daemon=True)
        fallback.start()
        self._worker = dramatiq.Worker(self._broker, worker_threads=self._threads, worker_timeout=500)
        self._worker.start()

    def _without(self, drain: Drain) -> None:
        """Work without wake-ups while they do not come through: slower, and nothing stands still.

        A Redis that is full, or read-only after a failover, answers PING and takes no wake-up: the last one counts too.
        """
        while not self._stopping.wait(FALLBACK):
            error: Exception | None = self._unsent
            try:
                self._client.ping()
            except Exception as problem:  # this thread is what is left when wake-ups are broken
                error = problem
            self._heard(error)
            if error is not None:
                for queue in QUEUES:
                    self._take_up(queue, drain)
                self.notify(QUEUES[0])  # tells whether wake-ups come through again

    def _take_up(self, queue: str, drain: Drain) -> None:
        """Drain a queue, unless half of the threads are on it already: then it is woken already."""
        if not self._room[queue].acquire(blocking=False):
            return
        try:
            drain(queue, self._stopping.is_set)
        except Exception as error:  # nothing may land in Dramatiq's dead letters
            log.warning("drain_failed", queue=queue, error=type(error).__name__, at=place(error))
        finally:
            self._room[queue].release()

    def _heard(self, error: Exception | None) -> None:
        """Tell once when the broker goes away, and once when it is back."""
        was, self._problem = self._problem, type(error).__name__ if error else None
        if error is not None and was is None:
            log.warning("broker_away", error=type(error).__name__)
        elif error is None and was is not None:
            log.info("broker_back")

    def stop(self) -> None:
        """Stop the worker and hand back what it fetched."""
        self._stopping.set()
        self._wake.set()
        if self._worker is not None:
            self._worker.stop(timeout=25_000)
        if self._sender is not None:
            self._sender.join(3)
        self._client.close()

    def problem(self) -> str | None:
        """Say why notifying fails."""
        return self._problem

    def wait(self, seconds: float) -> None:
        """Nobody here knows what another process has taken up: wait a moment."""
        self._stopping.wait(min(seconds, 0.002))


def make_notifier(broker: str, *, threads: int) -> Notifier:
    """Return the wake-ups that the configuration names."""
    if broker == "none":
        return ThreadNotifier()
    return RedisNotifier(broker, threads=threads)

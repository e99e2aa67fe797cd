"""The composition root: the only place where everything meets."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError, ProgrammingError, SQLAlchemyError

from tracker import GARBAGE, __version__
from tracker.app.client import Clients, kept_tokens
from tracker.app.files import needed, settle_files
from tracker.app.notifier import Notifier, make_notifier
from tracker.app.presence import Presence
from tracker.app.readiness import MOST_TOLD, Readiness
from tracker.app.scrape import Names, Scrape
from tracker.app.sftp import open_server
from tracker.app.smtp import open_mailer
from tracker.app.telemetry import Metrics, place
from tracker.clock import SharedClock
from tracker.config.changes import changes, told
from tracker.config.coverage import coverage, together
from tracker.config.load import loose_files, word_coverage
from tracker.config.model import Config, Root
from tracker.config.plugins import packaged
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.masking import mask
from tracker.pipeline import budgets, oddities
from tracker.pipeline.context import AppContext
from tracker.pipeline.drain import AT_WORK, STEPS, drain
from tracker.pipeline.leases import RENEW_EVERY
from tracker.pipeline.places import Places
from tracker.pipeline.tokens import close_anew
from tracker.store.engine import Store, database_now
from tracker.store.migrate import current, head, migrate
from tracker.store.seal import Seal
from tracker.support.measures import Sample
from tracker.upkeep import counting, erase, maintenance
from tracker.upkeep.settle import settle_accounts

if TYPE_CHECKING:
    from tracker.app.servers import Servers
    from tracker.app.tracing import Exporting

log = structlog.get_logger()
ROLES = frozenset({"web", "worker", "scheduler"})
TICK = 1.0
HEAL_EVERY = 60.0
BATCHES = 3  # that reports count a second, while they are behind
EXIT_DATABASE = 3
EXIT_STUCK = EXIT_DEFECT = 70
WATCH_EVERY = 2.0
POLITE = 0.0005  # seconds after which a thread that reloads lets another one go on


def rest_memory() -> None:
    """Keep what start-up made out of garbage collection, and collect seldom: its pauses are the tail of the receiver's answers."""
    gc.freeze()  # without a collection before it: that holds up the first event for 55 ms, and frees little
    gc.set_threshold(*GARBAGE)


class DatabaseAway(TrackerError):
    """The database could not be reached for as long as the configuration says to try."""


class Daemon:
    """One process in one or more roles."""

    def __init__(
        self,
        config: Config,
        roles: frozenset[str] = ROLES,
        *,
        now: Callable[[], datetime] | None = None,
        ahead: Callable[[], timedelta] | None = None,
        notifier: Notifier | None = None,
        ops: tuple[str, int] | None = None,
        traces: Exporting | None = None,
    ) -> None:
        """Compose; nothing runs yet and nothing is connected.

        `now`: business time, where it is not the real one; `ahead`: how far the database's clock counts as ahead (plays).
        `ops`: where /metrics listens, in any role; None: as the configuration says, in the role web only.
        `traces`: who sends spans to a collector; ended with the daemon.
        """
        root = config.root
        self.clock = SharedClock()
        self.roles = roles
        self._ops, self._traces = ops, traces
        self.metrics = Metrics(Names(lambda: self.ctx))
        self.notifier = notifier or make_notifier(root.broker, threads=root.threads)
        self.store = Store(root.database, pool_size=max(10, root.threads + 4), ahead=ahead)
        self._played = ahead is not None
        self.clients = self._way_out(root, ahead)
        self.ctx = AppContext(
            store=self.store,
            config=config,
            now=now or self.clock,
            notify=lambda queue: self.store.when_committed(lambda: self.notifier.notify(queue)),
            client=self.clients,
            log=log,
            places=Places(root.poll_threads),
            count=self.metrics.count,
            observe=self.metrics.observe,
            traces=traces,
            poster=self.clients.post,
            mailer=lambda mail: open_mailer(
                mail, allow=self.ctx.config.root.network.allow, timeout=root.network.timeout.total_seconds()
            ),
            sftp=partial(open_server, allow=root.network.allow, timeout=root.network.timeout.total_seconds()),
        )
        self.ctx.places.most_of = lambda name: getattr(self.ctx.account(name), "side_by_side", None)
        self._scrape = Scrape(self.ctx, roles, self._own_gauges)
        for places in (self.ctx.places, self.ctx.tells):
            places.failed = lambda error: log.warning("call_not_kept", error=type(error).__name__, at=place(error))
        self.servers: Servers | None = None
        self._few_files: str | None = None
        self._kept: str | None = None  # why the newest configuration was not taken
        self._told: dict[str, object] = {}  # what came of the last reload
        self._presence = Presence(self.store, roles)
        self._readiness = Readiness(self.ctx, roles)
        self._asked: datetime | None = None  # when somebody wished that we reload
        self._again = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self.ctx.stopping = self._stopping.is_set

    def _way_out(self, root: Root, ahead: Callable[[], timedelta] | None) -> Clients:
        vault, tokens = kept_tokens(
            self.store, root, unreadable=lambda account: log.warning("token_unreadable", account=account)
        )
        return Clients(
            allow=root.network.allow,
            timeout=root.network.timeout.total_seconds(),
            now=self.clock if ahead is None else lambda: self.clock() + ahead(),
            elapsed=time.monotonic if ahead is None else lambda: time.monotonic() + ahead().total_seconds(),
            vault=vault,
            charge=lambda account: budgets.charge(self.ctx, account),
            tokens=tokens,
            heard=lambda account, headers: oddities.heard(self.ctx, account, headers),
            called=self._called,
        )

    def connect(self) -> None:
        """Wait for the database (as long as `database_wait`), bring its schema up to date, settle the accounts.

        Raises DatabaseAway, and ConfigError where the schema is too old and the database role may not change it.
        """
        wait = self.ctx.config.root.database_wait.total_seconds()
        until = time.monotonic() + wait
        told = False
        while True:
            try:
                if current(self.store) != head() and (found := migrate(self.store)) != head():
                    log.warning("schema_is_newer", revision=found, version=__version__)
                self._settle()
                break
            except ProgrammingError as error:
                if current(self.store) == head():
                    raise
                # a role without DDL, as it should be, and a schema that is older
                raise ConfigError(
                    f"database: the schema is at {current(self.store) or 'nothing'}, this version needs {head()}, and the "
                    "database role may not change it: run `tracker migrate` as the role that owns the schema (deploy/roles.sql)"
                ) from error
            except OperationalError as error:
                said = mask(str(error.orig)).strip().splitlines()[0][:200] if error.orig else "cannot be reached"
                where = mask(self.ctx.config.root.database)
                if not told:
                    log.warning("database_away", database=where, said=said)
                    told = True
                if time.monotonic() >= until:
                    raise DatabaseAway(f"the database {where} could not be reached for {wait:g} s: {said}") from None
                self._stopping.wait(min(1.0, max(0.05, until - time.monotonic())))
        for said, _ in loose_files(self.ctx.config):
            log.warning("open_to_others", said=said)

    def _settle(self) -> None:
        """Bring the rows in line with this process; again and whole where the database goes away meanwhile."""
        if self.store.sqlite and self.roles == ROLES:
            maintenance.release_claims(self.ctx)
        self._set_clock()
        keys = [key.get_secret_value() for key in self.ctx.config.root.vault_key]
        if len(keys) > 1 and (count := close_anew(self.store, Seal(*keys))):
            log.info("tokens_closed_anew", count=count)
        settle_accounts(self.ctx)

    def start(self) -> None:
        """Start the roles. The database must be connected."""
        if said := settle_files(needed(self.ctx.config.root, self.roles)):
            log.warning("few_files", said=said)
        self._few_files = said
        if "web" in self.roles or self._ops is not None:
            from tracker.app.servers import Servers  # a worker that nobody scrapes has no HTTP to serve

            ready = self.not_ready if "web" in self.roles else None
            self.servers = Servers(self.ctx, ready, lambda: self.metrics.render(self.gauges()), ops=self._ops)
            self._spawn("web", self.servers.run)
            if not self.servers.started():
                raise ConfigError(self.servers.problem or "web: nothing listens after 10 s")
        if "scheduler" in self.roles:  # before anybody works: what comes after an outage is catching up
            self._do(("heartbeat", lambda: maintenance.heartbeat(self.ctx, self.clock())))
        if "worker" in self.roles:
            steps = STEPS if self._played else AT_WORK  # a play goes on when all that is due was worked, in its order
            self.notifier.start(lambda queue, stop: self._drain(queue, stop, steps))
        self._spawn("keeper", self._keep)
        if "scheduler" in self.roles:
            self._spawn("scheduler", self._schedule)
        if "scheduler" in self.roles:
            for said in packaged().broken:  # none that is used: the configuration would not have been read
                log.warning("plugin_broken", said=said)
            if not self.ctx.config.accounts and not self.ctx.config.suspended:
                log.warning("nothing_configured")  # it runs, and tracks nothing: most likely another file was meant
            covered = coverage(self.ctx.config)
            for row in together(covered["accounts"], "account"):
                log.info("account_covered", **row)
            for row in together(covered["stores"], "store"):
                log.info("store_covered", **row)
            alike: dict[str, list[str]] = {}  # stores of one platform mostly lack the same words
            for store, words in word_coverage(self.ctx.config).items():
                missing = [status for status, word in words.items() if word is None and status != "unknown"]
                if missing:
                    alike.setdefault(", ".join(missing), []).append(store)
            for statuses, stores in alike.items():
                log.info("statuses_without_a_word", store=stores[0], count=len(stores), statuses=statuses)
        log.info("started", role=",".join(sorted(self.roles)), version=__version__)

    def _drain(self, queue: str, stop: Callable[[], bool], steps: Mapping[str, Callable[[AppContext], int]]) -> int:
        try:
            return drain(self.ctx, queue, stop, steps)
        except Exception:  # who drains says so, and tries again
            self.metrics.count("tracker_drains_failed_total", queue=queue)
            raise

    def stop(self) -> None:
        """Finish or hand back what is held, within 25 s."""
        self._stopping.set()
        if self.servers is not None:
            self.servers.stop()
        self.notifier.stop()
        for thread in self._threads:
            thread.join(5)
        self.ctx.places.close()
        self.ctx.tells.close()
        self.clients.close()
        self.store.close()
        log.info("stopped", role=",".join(sorted(self.roles)))
        if self._traces is not None:
            self._traces.close()

    def run(self, *, reload: Callable[[], Config] | None = None) -> int:
        """Run until SIGTERM or SIGINT; SIGHUP reloads, and keeps the old configuration where the new one is wrong.

        Returns the exit code: EXIT_DEFECT where what listens ended by itself.
        """
        done = threading.Event()

        def on_stop(_number: int, _frame: FrameType | None) -> None:
            done.set()

        def on_reload(_number: int, _frame: FrameType | None) -> None:
            self._again.set()

        signal.signal(signal.SIGTERM, on_stop)
        signal.signal(signal.SIGINT, on_stop)
        signal.signal(signal.SIGHUP, on_reload)
        self._watch()
        self.start()
        if reload is not None:
            self.be_seen()
        rest_memory()
        watched = time.monotonic()
        code = 0
        while not done.wait(0.2):
            if time.monotonic() - watched >= WATCH_EVERY:
                watched = time.monotonic()
                self._watch()
            if self._again.is_set() and reload is not None:
                self._again.clear()
                asked = self._asked
                self.reload(reload)
                answer = partial(self._presence.answer, asked) if asked is not None else self._presence.tell
                self._do(("answer", partial(answer, self._told)))
            if self.servers is not None and self.servers.ended:
                code = EXIT_DEFECT  # alive and deaf would be worse: whoever supervises starts another
                done.set()
        faulthandler.cancel_dump_traceback_later()
        self.stop()
        return code

    def be_seen(self) -> None:
        """Say that this process runs, now and once a second."""
        self._do(("presence", self._look_for_wish))
        self._spawn("presence", self._look_for_wishes)

    def _look_for_wishes(self) -> None:
        """Look once a second whether somebody wishes that we reload (`tracker reload`)."""
        while not self._stopping.is_set():
            self._do(("presence", self._look_for_wish))
            self._stopping.wait(TICK)
        with suppress(SQLAlchemyError):
            self._presence.end()

    def _look_for_wish(self) -> None:
        try:
            asked = self._presence.look()
        except SQLAlchemyError:
            self._readiness.written(False)
            raise
        self._readiness.written(True)
        if asked is not None and asked != self._asked:
            self._asked = asked
            self._again.set()

    def _watch(self) -> None:
        """End this process where a payload is read for too long; the traces of its threads go to standard error.

        Claims count attempts before they run, so such a payload ends `dead` after a few starts. The timer of faulthandler is a
        thread of C: it also ends a process whose interpreter stands still (a regular expression without end).
        """
        limit = self.ctx.config.root.stuck_after.total_seconds()
        took = self.ctx.leases.reading_for()
        if took > limit:
            log.error("stuck", seconds=round(took))
            faulthandler.dump_traceback()
            os._exit(EXIT_STUCK)
        faulthandler.dump_traceback_later(limit + WATCH_EVERY, exit=True)

    def reload(self, read: Callable[[], Config]) -> bool:
        """Take a new configuration, as a whole or not at all; whatever goes wrong, the old one goes on. Returns whether it was taken.

        Accounts, stores and policies change at once; ports, database and broker need a restart.
        """
        patience = sys.getswitchinterval()
        sys.setswitchinterval(POLITE)  # a second of work in this thread: posts must not wait for it again and again
        try:
            return self._reload(read)
        finally:
            sys.setswitchinterval(patience)

    def _reload(self, read: Callable[[], Config]) -> bool:
        before = self.ctx.config
        try:
            config = read().after(before)
            self.ctx.config = config  # before orders are marked: whoever decides them then does so by the new one
            settle_accounts(self.ctx, before if "worker" in self.roles else None)  # who decided by it
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            self.ctx.config = before
            problems = (
                error.problems if isinstance(error, ConfigError) else (f"{type(error).__name__} at {place(error)}",)
            )
            self._kept = (
                f"configuration not taken at {self.clock():%Y-%m-%d %H:%M}Z, the one before goes on: {problems[0]}"
            )
            log.warning("config_kept", problems=len(problems), said=problems[0])
            self._told = {"taken": False, "said": problems[0]}
            return False
        self._kept = None
        self._readiness.forget()
        for wrong in [*config.as_before.values()][:MOST_TOLD]:
            log.warning("config_kept", account=wrong.name, problems=len(wrong.problems), said=wrong.problems[0])
        found = changes(before, config).row()
        self._told = {"taken": True, "changes": found}
        log.info("config_reloaded", file=config.file, said=told(found))
        return True

    def not_ready(self) -> list[str]:
        """Say why this process is not ready, or what else is wrong; an empty list: all is well."""
        why = list(self._readiness.said())
        if self.clock.off:
            seconds = self.clock.off.total_seconds()
            why.append(
                f"this machine's clock is off by {seconds:+.0f} s: the database's is used; mend its time service"
            )
        if problem := self.notifier.problem():
            why.append(f"broker away ({problem}): working without wake-ups")
        why += [said for said in (self._few_files, self._kept) if said is not None]
        return why

    def gauges(self) -> list[Sample]:
        """Read what /metrics shows beside the counters."""
        return self._scrape.samples()

    def _called(self, account: str, operation: str, result: str, seconds: float) -> None:
        self.metrics.called(account, operation, result, seconds)
        if self._traces is not None:
            self._traces.called(account, operation, result, seconds)

    def _own_gauges(self) -> dict[str, float]:
        return {
            "tracker_broker_up": float(self.notifier.problem() is None),
            "tracker_config_kept": float(self._kept is not None),
            "tracker_clock_off_seconds": self.clock.off.total_seconds(),
        }

    def _spawn(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _do(self, *steps: tuple[str, Callable[[], object]]) -> None:
        """Do what a thread of ours does again and again: a step that fails says so, and ends neither the others nor the thread."""
        for name, step in steps:
            if self._stopping.is_set():
                return
            try:
                step()
            except Exception as error:
                away = isinstance(error, SQLAlchemyError)
                (log.warning if away else log.error)(
                    "step_failed", step=name, error=type(error).__name__, at=place(error)
                )
                if away:
                    with suppress(SQLAlchemyError):
                        self.store.engine.dispose()

    def _keep(self) -> None:
        """Prolong the claims that are being worked; keep the clock right."""
        while not self._stopping.wait(RENEW_EVERY.total_seconds()):
            self._do(
                ("renew", lambda: self.ctx.leases.renew(self.store)),
                ("clock", self._set_clock),
                ("tidy", self.clients.tidy),
            )

    def _set_clock(self) -> None:
        if self._played:  # its clocks are driven
            return
        before = self.clock.off
        with self.store.read() as connection:
            self.clock.settle(lambda: database_now(connection))
        if self.clock.off and not before:
            log.warning("clock_off", seconds=round(self.clock.off.total_seconds()))

    def _schedule(self) -> None:
        """Notify while rows are due; maintain once a minute."""
        healed = float("-inf")
        behind = False

        def count() -> None:
            nonlocal behind
            behind = all(counting.count(self.ctx) for _ in range(BATCHES))

        while not self._stopping.wait(TICK):
            self._do(("notify", self._notify_due))
            if behind:
                behind = False  # where it fails, in a minute again
                self._do(("count", count))
            if time.monotonic() - healed >= HEAL_EVERY:
                healed = time.monotonic()
                self._do(
                    ("heartbeat", lambda: maintenance.heartbeat(self.ctx, self.clock())), ("expire", lambda: maintenance.expire(self.ctx)),
                    ("run_monitors", lambda: maintenance.run_monitors(self.ctx)), ("prune", lambda: maintenance.prune(self.ctx)),
                    ("erase", lambda: erase.by_age(self.ctx)),
                    ("count", count),
                )  # fmt: skip

    def _notify_due(self) -> None:
        for queue in maintenance.due_queues(self.ctx):
            self.notifier.notify(queue)

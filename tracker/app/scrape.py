"""What a scrape of /metrics finds beside the counters of this process: how it is, and how the installation is.

Every process tells its own counters and histograms. How the installation is says the database: processes in the role web or
scheduler read it, at most once in `KEPT` seconds each, and all say the same; a fleet of workers does not ask it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import structlog
from sqlalchemy.exc import SQLAlchemyError

from tracker import __version__
from tracker.config.model import Config
from tracker.pipeline.context import AppContext
from tracker.store.migrate import current, head
from tracker.support.measures import MOST_NAMED, Sample, disk, measure

log = structlog.get_logger()
KEPT = 5.0
OTHER = "other"


class Names:
    """By which name an account's histograms go: its own where there are few of its kind, else `other`, for all of them together."""

    def __init__(self, ctx: Callable[[], AppContext]) -> None:
        """`ctx` is asked when there is a first name to give."""
        self._ctx = ctx
        self._of: tuple[Config, frozenset[str]] | None = None  # the stores of a configuration: each call to a shop asks

    def __call__(self, account: str) -> str:
        """Return the label of an account or store."""
        config = self._ctx().config
        if len(config.accounts) <= MOST_NAMED:
            return account
        of = self._of
        if of is None or of[0] is not config:
            of = self._of = config, frozenset(config.store_names())
        stores = of[1]
        kind = len(stores) if account in stores else len(config.accounts) - len(stores)
        return OTHER if kind > MOST_NAMED else account


class Scrape:
    """Reads the gauges, for as many scrapers as there are."""

    def __init__(self, ctx: AppContext, roles: frozenset[str], process: Callable[[], Mapping[str, float]]) -> None:
        """`process` says how this process is, by the names of OF_PROCESS."""
        self._ctx, self._process = ctx, process
        self._asks = bool(roles & {"web", "scheduler"})
        self._build = {"version": __version__, "role": ",".join(sorted(roles)), "schema": head()}
        self._lock = threading.Lock()
        self._kept: list[Sample] = []
        self._read_at = float("-inf")
        self._there = False

    def samples(self) -> list[Sample]:
        """Return every gauge. Where the database is away, those of this process say so, and the others are left out."""
        with self._lock:  # one reads, and the others have the same
            if time.monotonic() - self._read_at >= KEPT:
                try:
                    self._kept, self._there = list(self._read()), True
                except SQLAlchemyError as error:
                    self._kept, self._there = [], False
                    log.warning("scrape_without_database", error=type(error).__name__)
                self._read_at = time.monotonic()
            own = {"tracker_database_up": float(self._there), **self._process()}
            return [
                Sample("tracker_build_info", self._build, 1),
                *(Sample(name, {}, value) for name, value in own.items()),
                *self._kept,
            ]

    def _read(self) -> Iterator[Sample]:
        revision = current(self._ctx.store)  # a worker asks no more than this: whether the database is there
        if not self._asks:
            return
        yield Sample("tracker_schema_info", {"revision": revision or ""}, 1)
        yield from measure(self._ctx)
        yield from disk(self._ctx.store)

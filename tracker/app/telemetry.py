"""Logs (JSON lines, no personal data, no secrets), metrics (Prometheus conventions)."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tracker.domain.masking import MASK, is_token, mask

# The keys a log line may have. A key that is not here is dropped: personal data cannot slip in by a new call.
ALLOWED = frozenset(
    {
        "event", "level", "timestamp", "account", "store", "order", "status", "already", "queue", "rows", "seconds",
        "error", "said", "inbox", "outbox", "pages", "cursor", "reason", "role", "host", "port", "version", "revision",
        "due", "file", "problems", "at", "id", "step", "signal", "worker", "database", "broker", "mode", "count", "finding", "statuses", "policy",
        "carrier", "uses", "poll", "push", "signed", "limit", "reads", "hooks", "writes",  # what is covered
    }
)  # fmt: skip
# What a log line holds of others' words may hold what nobody told us is a secret: credentials by their names (in JSON too),
# query strings, and tokens in paths.
_SECRET = re.compile(
    r"(?i)((?:token|key|secret|password|passwd)[\"']?\s*[=:]\s*[\"']?(?:bearer\s+|basic\s+)?|\b(?:bearer|basic)\s+)[^\s&\"',;]+"
)
_ROOT = f"{Path(__file__).parents[2]}/"
_ROOMS = tuple(f"{_ROOT}{room}/" for room in ("tracker", "carriers", "adapters"))
_QUERY = re.compile(r"\?[^\s\"']+")
_SEGMENT = re.compile(r"(?<=/)[\w-]{22,}")


def scrub(value: Any) -> Any:
    """Mask a text for the log: what is known to be secret, and what looks like a credential or a query string."""
    if not isinstance(value, str):
        return value
    told = _QUERY.sub("?...", _SECRET.sub(rf"\1{MASK}", mask(value)))
    return _SEGMENT.sub(lambda part: MASK if is_token(part[0]) else part[0], told)[:500]


def _clean(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: scrub(value) for key, value in line.items() if key in ALLOWED}


def configure_logs(stream: TextIO | None = None, *, level: str = "info") -> None:
    """Write JSON lines to a stream (standard error by default); the JSON escapes line breaks and terminal codes."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _clean,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


@contextmanager
def logs_to(stream: TextIO) -> Iterator[None]:
    """Write log lines to a stream for a while (plays write theirs to a file)."""
    before = structlog.get_config()
    configure_logs(stream)
    try:
        yield
    finally:
        structlog.configure(**before)


def place(error: BaseException) -> str:
    """Say where an error came from, without any value: the innermost line of ours, or of whoever raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_ROOMS)] or frames
    return f"{ours[-1].filename.removeprefix(_ROOT)}:{ours[-1].lineno}" if ours else "an unknown place"


def tell_threads() -> None:
    """Log a thread that ends by an error, in one line; Python would print all its values."""

    def ended(told: threading.ExceptHookArgs) -> None:
        if told.exc_value is not None:
            name = told.thread.name if told.thread is not None else ""
            structlog.get_logger().error(
                "thread_ended", step=name, error=type(told.exc_value).__name__, at=place(told.exc_value)
            )

    threading.excepthook = ended


COUNTERS = {
    "tracker_webhooks_total": ("Webhooks by how they ended", ("account", "result")),
    "tracker_webhooks_old_secret_total": ("Webhooks proved by a secret that is not the newest", ("account",)),
    "tracker_inbox_failures_total": ("Payloads that raised in stage A", ("account",)),
    "tracker_inbox_dead_total": ("Payloads that could not be read", ("account",)),
    "tracker_unread_total": ("Pieces of payloads that could not be read", ("account",)),
    "tracker_unmapped_codes_total": ("Scans whose code has no meaning", ("carrier",)),
    "tracker_scans_withdrawn_total": ("Scans that a carrier took back", ()),
    "tracker_decisions_total": ("Decisions that said something new", ("store",)),
    "tracker_writes_total": ("Writes by how they ended", ("store", "state")),
    "tracker_brakes_total": ("Brakes put on, as the ends that an account tells leapt", ("account",)),
    "tracker_source_errors_total": ("Failed calls by what to do next", ("account", "error")),
    "tracker_alerts_total": ("Findings told to the alert address", ()),
    "tracker_registrations_refused_total": ("Numbers a carrier would not watch", ("account",)),
    "tracker_drains_failed_total": ("Drains that raised", ("queue",)),
}
WAITING = (
    "inbox_pending",
    "inbox_dead",
    "outbox_pending",
    "outbox_held",
    "outbox_dead",
    "change_notices",
    "findings_open",
)


class Metrics:
    """One registry a process."""

    def __init__(self) -> None:
        """Make every metric at zero."""
        self.registry = CollectorRegistry()
        self._counters = {
            name: Counter(name.removesuffix("_total"), text, labels, registry=self.registry)
            for name, (text, labels) in COUNTERS.items()
        }
        self._labelled: dict[tuple[str, ...], Counter] = {}  # looking one up takes longer than counting
        self._waiting = Gauge("tracker_rows", "Rows that wait or need a person", ("what",), registry=self.registry)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, *labels.values())
        counter = self._labelled.get(key)
        if counter is None:
            counter = self._counters[name]
            counter = self._labelled[key] = counter.labels(**labels) if labels else counter
        counter.inc(amount)

    def total(self, name: str) -> float:
        """Return the sum of a counter over its labels (for the demo and tests)."""
        return sum(
            sample.value
            for metric in self._counters[name].collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )

    def render(self, gauges: Mapping[str, int]) -> bytes:
        """Return the exposition text; `gauges` are the counts read just now."""
        for name in WAITING:
            self._waiting.labels(what=name).set(gauges.get(name, 0))
        return generate_latest(self.registry)

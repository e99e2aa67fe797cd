"""Logs (JSON lines, no personal data, no secrets), metrics (Prometheus conventions)."""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily

from tracker.domain.masking import MASK, is_token, mask
from tracker.support.measures import Sample

disable_created_metrics()  # type: ignore[no-untyped-call]  # when each series began: twice the size, and nobody asks

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


_SEND_TO: list[Callable[[Mapping[str, Any]], None]] = []  # who sends log lines elsewhere too, if anybody


def send_logs(to: Callable[[Mapping[str, Any]], None] | None) -> None:
    """Have log lines, clean as they are printed, sent elsewhere too; None: no more."""
    _SEND_TO[:] = [] if to is None else [to]


def _send(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    for send in _SEND_TO:
        send(line)
    return line


def configure_logs(stream: TextIO | None = None, *, level: str = "info") -> None:
    """Write JSON lines to a stream (standard error by default); the JSON escapes line breaks and terminal codes."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _clean,
            _send,
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
    "tracker_mails_total": ("Mails to customers by how they ended", ("store", "state")),
    "tracker_alerts_total": ("Messages about findings that targets took", ()),
    "tracker_messages_total": ("Messages to endpoints and targets by how a try ended", ("destination", "state")),
    "tracker_registrations_refused_total": ("Numbers a carrier would not watch", ("account",)),
    "tracker_page_logins_total": ("Tries to log in to the page by how they ended", ("result",)),
    "tracker_drains_failed_total": ("Drains that raised", ("queue",)),
    "tracker_calls_total": ("Calls to carriers and shops by what came of them", ("account", "operation", "result")),
}
_QUICK = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
HISTOGRAMS = {
    "tracker_webhook_applied_seconds": (
        "From a carrier's webhook received to its status applied", ("account",), _QUICK,
    ),
    "tracker_write_delay_seconds": (
        "From a decision to its write in the shop", ("store",), (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
    ),
    "tracker_call_seconds": (
        "Calls to carriers and shops, tries included", ("account", "operation"), (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60),
    ),
    "tracker_look_late_seconds": (
        "How late parcels were asked about", ("account",), (60, 300, 900, 3600, 10800, 21600, 43200, 86400, 259200),
    ),
}  # fmt: skip
# Of the process that is scraped.
OF_PROCESS = {
    "tracker_build_info": ("The version that runs, its roles, and the schema that it was made for", ("version", "role", "schema")),
    "tracker_database_up": ("Whether this process can read the database", ()),
    "tracker_broker_up": ("Whether wake-ups reach this process; 1 where there is no broker", ()),
    "tracker_config_kept": ("Whether the newest configuration was refused and the one before goes on", ()),
    "tracker_clock_off_seconds": ("How far this machine's clock is off the database's", ()),
}  # fmt: skip
# Of the installation, read from the database: every process in the role web or scheduler says the same, so they are never added up.
OF_INSTALLATION = {
    "tracker_rows": ("Rows that wait or need a person; 10000 says at least", ("what",)),
    "tracker_queue_age_seconds": ("For how long the oldest row of a queue is due", ("queue",)),
    "tracker_look_lag_seconds": ("For how long the parcel that waits longest was to be asked about", ("account",)),
    "tracker_overdue_parcels": ("Parcels that were to be asked about a quarter of an hour ago; 10000 says at least", ("account",)),
    "tracker_accounts": ("Accounts by how they are", ("kind", "state")),
    "tracker_account_away_seconds": ("For how long an account does not work", ("account", "kind", "state")),
    "tracker_last_webhook_timestamp_seconds": ("When an account last sent a webhook", ("account",)),
    "tracker_last_sweep_timestamp_seconds": ("As of when the list of an account is known", ("account",)),
    "tracker_quota_left": ("Numbers that may still be registered", ("account",)),
    "tracker_brake_on": ("A brake holds what an account tells of ends", ("account", "carrier")),
    "tracker_budget_left": ("Calls that a budget still gives now", ("account",)),
    "tracker_budget_limit": ("Calls that a budget gives in a span", ("account",)),
    "tracker_token_expiry_timestamp_seconds": ("When the access token of an account ends", ("account",)),
    "tracker_findings_open": ("Open findings, without those that are snoozed or were there at a first sync", ("kind", "severity")),
    "tracker_heartbeat_timestamp_seconds": ("When a periodic work was last done", ("work",)),
    "tracker_processes": ("Processes that live, by role", ("role",)),
    "tracker_schema_info": ("The schema of the database", ("revision",)),
    "tracker_database_bytes": ("Size of the database's file (SQLite)", ()),
    "tracker_disk_free_bytes": ("What the disk of the database's file has left (SQLite)", ()),
    "tracker_disk_size_bytes": ("Size of the disk of the database's file (SQLite)", ()),
}  # fmt: skip
GAUGES = {**OF_PROCESS, **OF_INSTALLATION}


class _Gauges:
    """What was read just now, as prometheus_client collects it."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for sample in self._samples:
            text, labels = GAUGES[sample.name]
            if (family := families.get(sample.name)) is None:
                family = families[sample.name] = GaugeMetricFamily(sample.name, text, labels=labels)
            family.add_metric([sample.labels[label] for label in labels], sample.value)
        yield from families.values()


class Metrics:
    """One registry a process."""

    def __init__(self, named: Callable[[str], str] = str) -> None:
        """Make every metric at zero. `named` gives the name by which an account's histograms go: many are told together."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._named = named
        self._counters = {
            name: Counter(name.removesuffix("_total"), text, labels, registry=self.registry)
            for name, (text, labels) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(name, text, labels, registry=self.registry, buckets=buckets)
            for name, (text, labels, buckets) in HISTOGRAMS.items()
        }
        self._labelled: dict[tuple[str, ...], Any] = {}  # looking one up takes longer than counting

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        key = (name, *labels.values())
        counter = self._labelled.get(key)
        if counter is None:
            counter = self._counters[name]
            counter = self._labelled[key] = counter.labels(**labels) if labels else counter
        counter.inc(amount)

    def observe(self, name: str, seconds: float, account: str, **labels: str) -> None:
        """Put a duration into a histogram; `account` is the account or store, the first of its labels."""
        key = (name, account, *labels.values())
        histogram = self._labelled.get(key)
        if histogram is None:
            first = HISTOGRAMS[name][1][0]
            histogram = self._labelled[key] = self._histograms[name].labels(**{first: self._named(account)}, **labels)
        histogram.observe(max(0.0, seconds))

    def called(self, account: str, operation: str, result: str, seconds: float) -> None:
        """Count a call to a carrier or shop."""
        self.count("tracker_calls_total", account=self._named(account), operation=operation, result=result)
        self.observe("tracker_call_seconds", seconds, account, operation=operation)

    def total(self, name: str) -> float:
        """Return the sum of a counter over its labels (for the demo and tests)."""
        return sum(
            sample.value
            for metric in self._counters[name].collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        )

    def render(self, gauges: Iterable[Sample] = ()) -> bytes:
        """Return the exposition text; `gauges` are read just now."""
        return generate_latest(self.registry) + generate_latest(cast(CollectorRegistry, _Gauges(gauges)))

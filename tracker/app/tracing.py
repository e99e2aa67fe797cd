"""Traces and log lines to a collector by OTLP/HTTP, where its endpoint is set: an optional extra, imported only then.

`OTEL_EXPORTER_OTLP_ENDPOINT` and the other variables of OpenTelemetry's specification say where to, with which headers and how
much (`OTEL_TRACES_SAMPLER`). A thread of the SDK sends batches out of bounded queues: while the collector is away nothing waits
for it, and what does not fit is dropped. Attributes are those that log lines may have, masked as these are.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import structlog

from tracker import __version__
from tracker.app.telemetry import ALLOWED, scrub, send_logs
from tracker.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan

log = structlog.get_logger()
ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)  # fmt: skip
WITHIN = 5.0  # seconds in which what is still queued is sent at the end
TELL_EVERY = 60.0
ABOUT = ALLOWED | {"kind", "operation", "result"}  # the attributes that a span may have
_TRACEPARENT = "00-{:032x}-{:016x}-{:02x}"


def wanted() -> bool:
    """Say whether the environment names a collector."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not off and any(os.environ.get(name, "").strip() for name in ENDPOINTS)


def problem() -> str | None:
    """Say why nothing is sent although a collector is named; None where all is well, or none is."""
    if not wanted():
        return None
    if not _installed():
        return "a collector is named (OTEL_EXPORTER_OTLP_ENDPOINT) and nothing is sent to it: the extra `telemetry` is not installed (pip install 'trackwright[telemetry]')"
    spoken = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() or "http/protobuf"
    if spoken != "http/protobuf":
        return f"OTEL_EXPORTER_OTLP_PROTOCOL is {spoken[:40]!r} and nothing is sent: only http/protobuf is spoken (port 4318)"
    return None


def _installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except (ImportError, ValueError):  # a package above it is not there
        return False


def start(roles: Iterable[str]) -> Exporting | None:
    """Begin to send; None where no collector is named, or where nothing can be sent, which the log says.

    Raises ConfigError where a variable of OpenTelemetry cannot be used.
    """
    if not wanted():
        return None
    if (why := problem()) is not None:
        log.warning("telemetry_off", reason=why)
        return None
    try:
        return Exporting(roles)
    except ValueError as error:
        raise ConfigError(f"a variable of OpenTelemetry (OTEL_...) cannot be used: {scrub(str(error))}") from None


class Exporting:
    """The spans and log lines of this process, on their way to the collector."""

    def __init__(self, roles: Iterable[str]) -> None:
        """Import, and begin to send."""
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        _tell_once()
        about = {
            "service.version": __version__,
            "service.instance.id": os.urandom(8).hex(),
            "trackwright.roles": ",".join(sorted(roles)),
        }
        named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        resource = Resource.create(about | ({} if named else {"service.name": "trackwright"}))
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._lines = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._lines.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._tracer = self._spans.get_tracer("trackwright", __version__)
        self._logger = self._lines.get_logger("trackwright", __version__)
        send_logs(self._say)

    def begin(self, name: str, came: str | None, **about: str) -> Step:
        """Begin a step that came of others (`traceparent`s), or of none."""
        from opentelemetry.trace import Link, SpanKind

        parents = [_context(one) for one in (came or "").split()]
        links = [Link(_told(one)) for one in parents[1:]]
        kind = SpanKind.SERVER if name == "receive" else SpanKind.CONSUMER if came else SpanKind.INTERNAL
        first = parents[0] if parents else _nothing()
        return Step(self._tracer.start_span(name, first, kind, _masked(about), links))

    @contextmanager
    def within(self, came: str | None) -> Iterator[None]:
        """Let this thread's log lines belong to what a row came of."""
        with _made_current(_context(came.split()[0])) if came else nullcontext():
            yield

    def called(self, account: str, operation: str, result: str, seconds: float) -> None:
        """Tell of a call that ended just now, where it belongs to a step."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span

        if not get_current_span().get_span_context().is_valid:
            return
        ended = time.time_ns()
        about = _masked({"account": account, "operation": operation, "result": result})
        span = self._tracer.start_span(
            "call", kind=SpanKind.CLIENT, attributes=about, start_time=ended - int(seconds * 1e9)
        )
        if result != "ok":
            span.set_status(Status(StatusCode.ERROR, result))
        span.end(ended)

    def _say(self, line: Mapping[str, Any]) -> None:
        """Send a log line, as it is printed: masked, and of the keys that may be."""
        from opentelemetry._logs import LogRecord, SeverityNumber
        from opentelemetry.context import get_current

        level = str(line.get("level", "info")).upper()
        number = {"DEBUG": SeverityNumber.DEBUG, "WARNING": SeverityNumber.WARN, "ERROR": SeverityNumber.ERROR}
        more = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in line.items()}
        event = str(more.pop("event", ""))
        for key in ("level", "timestamp"):
            more.pop(key, None)
        self._logger.emit(
            LogRecord(
                timestamp=time.time_ns(), context=get_current(), severity_text=level,
                severity_number=number.get(level, SeverityNumber.INFO), body=event, attributes=more,
            )
        )  # fmt: skip

    def close(self) -> None:
        """Send what is queued, for WITHIN seconds at most: a collector that is away holds up no stop."""
        send_logs(None)
        ends = [threading.Thread(target=one.shutdown, daemon=True) for one in (self._spans, self._lines)]
        until = time.monotonic() + WITHIN
        for thread in ends:
            thread.start()
        for thread in ends:
            thread.join(max(0.0, until - time.monotonic()))


class Step:
    """A span that is under way (`pipeline.traces.Span`)."""

    def __init__(self, span: OtelSpan) -> None:
        """Take a span that has begun."""
        self._span = span

    @property
    def parent(self) -> str:
        """Return its `traceparent`."""
        told = self._span.get_span_context()
        return _TRACEPARENT.format(told.trace_id, told.span_id, told.trace_flags)

    def inside(self) -> AbstractContextManager[object]:
        """Make it what this thread's calls and log lines belong to."""
        from opentelemetry.trace import use_span

        return use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)

    def end(self, error: str | None) -> None:
        """End it; what was raised is told by its name only."""
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


def _context(came: str) -> Context:
    """Return what a `traceparent` names; a text that is none names nothing, and a root is begun."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": came}, _nothing())


def _nothing() -> Context:
    from opentelemetry.context import Context

    return Context()


def _told(context: Context) -> Any:
    from opentelemetry.trace import get_current_span

    return get_current_span(context).get_span_context()


@contextmanager
def _made_current(context: Context) -> Iterator[None]:
    from opentelemetry.context import attach, detach

    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def _masked(about: Mapping[str, str]) -> dict[str, Any]:
    return {key: scrub(value) for key, value in about.items() if key in ABOUT}


class _Telling(logging.Handler):
    """Says, once a minute, that something could not be sent; what the SDK prints holds addresses and headers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told_at = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Say so, unless it was said just now."""
        if time.monotonic() - self._told_at >= TELL_EVERY:
            self._told_at = time.monotonic()
            log.warning("telemetry_not_sent", step=record.name.removeprefix("opentelemetry."))


def _tell_once() -> None:
    theirs = logging.getLogger("opentelemetry")
    if not any(isinstance(one, _Telling) for one in theirs.handlers):
        theirs.addHandler(_Telling())
    theirs.propagate = False

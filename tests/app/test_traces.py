"""One trace from a webhook to its write, read by a collector that speaks OTLP/HTTP; and what becomes of it when there is none."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.app.site import Site
from tests.app.test_processes import journey
from tests.app.test_web import WEB, Receiver
from tests.cli.serving import serving
from tests.conftest import wait_for
from tests.lab import USPS, Lab, shipped
from tracker.app import tracing
from tracker.app.telemetry import logs_to
from tracker.domain.errors import ConfigError
from tracker.pipeline.traces import spans_of
from tracker.store import tables as t

Make = Callable[..., Lab]


class Collected:
    """What came to the collector."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.lines: list[Any] = []
        self.resources: list[dict[str, str]] = []

    def of(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for told in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(attributes(told.resource))
                self.spans += [span for scope in told.scope_spans for span in scope.spans]
        else:
            assert path == "/v1/logs"
            for lines in ExportLogsServiceRequest.FromString(body).resource_logs:
                self.lines += [line for scope in lines.scope_logs for line in scope.log_records]


def attributes(one: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in one.attributes}


@contextmanager
def collector(status: int = 200) -> Iterator[tuple[Collected, str]]:
    """Serve a collector on loopback; gives what comes, and its address."""
    came = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.take(self.path, self.rfile.read(int(self.headers["content-length"])))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with serving(Handler, 20) as port:
        yield came, f"http://127.0.0.1:{port}"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    with collector() as (came, address):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        yield came


def test_one_trace_leads_from_webhooks_to_the_write_through_the_database(
    make_lab: Make, endpoint: Collected, tmp_path: Path
) -> None:
    lab = shipped(make_lab, yaml=WEB)
    exporting = tracing.start({"web", "worker"})
    assert exporting is not None
    lab.ctx.traces = lab.daemon._traces = exporting
    with ExitStack() as stack, open(tmp_path / "log", "w") as log, logs_to(log):
        receiver = Receiver(lab, stack)
        for code in ("departed_facility", "arrived_facility"):
            lab.scan(lab.easypost, USPS, "in_transit", code, city="CANARYTOWN")
            lab.post_raw("dhl", b"{")  # a payload that cannot be read, beside it
            body = lab.easypost.event(USPS).body
            assert receiver.post(body).status_code == 200
        wait_for(lambda: len(lab.rows(t.inbox, t.inbox.c.trace.isnot(None))) == 2)
        lab.work("ingest", "decide")
        assert [row.trace for row in lab.rows(t.orders)] == [None]  # its decision was made
        lab.work()
        exporting.close()

    first, second = endpoint.of("receive")
    read = {span.parent_span_id: span for span in endpoint.of("ingest") if span.parent_span_id}
    (decided,) = (span for span in endpoint.of("decide") if span.parent_span_id == read[first.span_id].span_id)
    assert [link.span_id for link in decided.links] == [read[second.span_id].span_id]
    (pushed,) = (span for span in endpoint.of("push") if span.parent_span_id == decided.span_id)
    calls = [span for span in endpoint.of("call") if span.parent_span_id == pushed.span_id]
    assert calls and {attributes(span)["account"] for span in calls} == {"shop"}
    chain = [first, read[first.span_id], decided, pushed, *calls]
    assert len({span.trace_id for span in chain}) == 1 and not first.parent_span_id
    assert all(a.start_time_unix_nano <= b.start_time_unix_nano for a, b in itertools.pairwise(chain))
    assert attributes(decided) == {"store": "shop", "order": "#1001"}
    (written,) = (line for line in endpoint.lines if line.body.string_value == "written")
    assert (written.trace_id, written.span_id) == (pushed.trace_id, pushed.span_id)
    assert attributes(written)["store"] == "shop" and written.severity_text == "INFO"
    assert (
        endpoint.resources[0]["service.name"] == "trackwright"
        and endpoint.resources[0]["trackwright.roles"] == "web,worker"
    )
    everything = "".join(map(str, endpoint.spans + endpoint.lines))
    assert not any(hidden in everything for hidden in (USPS, "CANARY", "hmac"))
    assert next(row.trace for row in lab.rows(t.outbox)).split("-")[2] == decided.span_id.hex()


def test_without_a_collector_nothing_is_imported_and_no_row_carries_a_trace(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*tracing.ENDPOINTS, "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    assert (tracing.wanted(), tracing.problem(), tracing.start({"web"})) == (False, None, None)
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.work()
    assert {row.trace for table in (t.inbox, t.orders, t.outbox) for row in lab.rows(table)} == {None}
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing.wanted()


def test_a_collector_without_the_extra_or_with_another_protocol_is_one_clear_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:canary@127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert "only http/protobuf" in (tracing.problem() or "")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_PROTOCOL")
    assert tracing.problem() is None
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-5")
    with pytest.raises(ConfigError, match=r"a variable of OpenTelemetry"):
        tracing.start({"web"})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with open(tmp_path / "log", "w") as log, logs_to(log):
        assert tracing.start({"web"}) is None
    (line,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert (line["event"], line["level"]) == ("telemetry_off", "warning")
    assert "pip install 'trackwright[telemetry]'" in line["reason"] and "canary" not in str(line)


def test_a_collector_that_is_away_holds_up_nothing_and_what_waits_for_it_is_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=canary")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "50")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with open(tmp_path / "log", "w") as log, logs_to(log):
        exporting = tracing.start({"worker"})
        assert exporting is not None
        for number in range(1000):
            step = exporting.begin("ingest", None, account="ups", secret="canary", said=f"token=canary{number}")
            with step.inside():
                exporting.called("ups", "poll", "transient", 0.1)
            step.end("ValueError")
        queued = exporting._spans._active_span_processor._span_processors[0]._batch_processor._queue
        assert len(queued) <= 100
        exporting.close()
    told = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in told] == ["telemetry_not_sent"]
    assert "canary" not in str(told)


def test_what_a_row_carries_that_is_no_trace_begins_a_new_one(endpoint: Collected) -> None:
    exporting = tracing.start({"worker"})
    assert exporting is not None
    with exporting.within("nonsense"), exporting.within(None):
        exporting.called("ups", "poll", "ok", 0.1)  # belongs to no step: it is counted, and no span
        step = exporting.begin("ingest", "nonsense", kind="webhook")
    step.end(None)
    exporting.close()
    (span,) = endpoint.spans
    assert (span.name, span.parent_span_id, span.status.code) == ("ingest", b"", 0)


@pytest.mark.process
def test_a_process_sends_what_it_did_when_it_stops(endpoint: Collected, tmp_path: Path) -> None:
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    with ExitStack() as stack:
        site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
        process = site.start()
        wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))
        journey(site)
        site.scan("in_transit", "departed_facility")
        wait_for(lambda: site.send() and "IN_TRANSIT" in site.shown(), 40)
        process.send_signal(signal.SIGTERM)
        assert process.wait(26) == 0
    pushed = {span.trace_id for span in endpoint.of("push")}
    assert endpoint.of("receive") and pushed & {span.trace_id for span in endpoint.of("ingest")}
    assert "stopped" in {line.body.string_value for line in endpoint.lines}


def test_a_step_that_raises_ends_with_the_name_of_the_error_and_no_more(endpoint: Collected) -> None:
    exporting = tracing.start({"worker"})
    row = type("Row", (), {"id": 1, "trace": None, "account": "ups"})
    with (
        pytest.raises(ValueError, match="canary"),
        spans_of(exporting, "ingest", [row], {"account": "account"}, roots=True),
    ):
        raise ValueError("canary")
    with spans_of(exporting, "decide", [row], {"account": "account"}) as spans:
        assert spans == {}  # nothing led to it
    assert exporting is not None
    exporting.close()
    (span,) = endpoint.spans
    assert (span.status.code, span.status.message) == (2, "ValueError")
    assert "canary" not in str(span)

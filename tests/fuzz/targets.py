"""What strangers can send us, as functions of bytes that raise only on a defect of ours.

Three users: Hypothesis (`test_any_input.py`), the kept corpus (`test_corpus.py`) and the coverage-guided fuzzer (`make fuzz`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tracker.app.receiver import Connection, Receiver
from tracker.config.load import load_text
from tracker.config.plugins import names
from tracker.config.yamlfile import parse
from tracker.domain.errors import BadPayload, ConfigError, SourceError, WebhookRejected
from tracker.domain.facts import ChangeNotice, Checkout, Code, Order, Payload, Report, Unread, fingerprint
from tracker.domain.timeline import place_in_time
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, KINDS, Everywhere, example_settings, go_on, plugin_of, read_all

HERE = Path(__file__).parent
BOTH = frozenset(names("carriers")) & frozenset(names("adapters"))  # a carrier and a platform of one name
MODULES = [f"{room}.{name}" for room in ("carriers", "adapters") for name in names(room)]


def source_of(module: str, **settings: Any) -> Any:
    """Make the plugin of a module with these settings, and invented ones."""
    plugin = plugin_of(module)
    return plugin("account", example_settings(plugin, **settings))


SOURCES = {module: source_of(module) for module in MODULES}


def named(module: str) -> str:
    """Return what the targets of a plugin are called: its name, and its room where two have it."""
    room, _, name = module.partition(".")
    return f"{name}_{room}" if name in BOTH else name


def storable(value: str) -> None:
    """Demand a text that PostgreSQL and SQLite take."""
    assert "\x00" not in value
    value.encode()


def read(module: str, kind: str, body: bytes) -> None:
    """Read a payload: facts of a sound shape, or BadPayload with a path."""
    source = SOURCES[module]
    payload = Payload("account", kind, (body,), AT, {})
    assert len(source.dedupe_key(payload)) > 0
    storable(source.dedupe_key(payload))
    try:
        items = read_all(source, kind, (body,))
    except BadPayload as error:
        assert error.where.startswith("$")
        storable(str(error))
        return
    go_on(source, items)
    for item in items:
        if isinstance(item, Report):
            _report(source, item)
        else:
            assert isinstance(item, Order | ChangeNotice | Checkout | Unread)
            storable(repr(item))


def _report(source: Any, report: Report) -> None:
    storable(repr(report))
    assert report.number == report.number.strip() and 0 < len(report.number) <= 64
    for scan in report.scans:
        assert isinstance(scan.code, Code)
        assert len(fingerprint(scan)) == 32
        meaning = source.meaning(scan.code)
        assert meaning is None or meaning.status is None or meaning.status.value
        instant, _ = place_in_time(scan, source.default_zone, AT)
        assert instant.tzinfo is not None


def prove(module: str, data: bytes) -> None:
    """Verify a webhook whose headers are junk: WebhookRejected and nothing else."""
    value, _, body = data.partition(b"\n")
    headers = Everywhere(value.decode("latin-1"))
    headers["webhook-timestamp"] = str(int((AT + timedelta(seconds=len(body) % 700 - 350)).timestamp()))
    payload = Payload("account", "webhook", (body,), AT, headers)
    try:
        SOURCES[module].verify(payload)
    except WebhookRejected:
        return
    raise AssertionError("junk was proof enough")


def raise_for_status(module: str, data: bytes) -> None:
    """Judge an answer of any status, headers and body: an error of the tree, or good."""
    status = 100 + int.from_bytes(data[:2].ljust(2, b"\x00"), "big") % 500
    name, _, body = data[2:].partition(b"\n")
    text = name.decode("latin-1")
    headers = {"retry-after": text, "x-ratelimit-reset": text, "x-rate-limit-time-reset-ms": text, "content-type": text}
    try:
        SOURCES[module].raise_for_status(Response(status, headers, body, AT))
    except SourceError as error:
        storable(str(error))


def yaml(data: bytes) -> None:
    """Read a configuration file."""
    try:
        parse(data, "tracker.yaml", Path("/nowhere"))
    except ConfigError as error:
        assert error.problems


def config(data: bytes) -> None:
    """Read and check a whole configuration."""
    try:
        load_text(data.decode("utf-8", "replace"))
    except ConfigError as error:
        assert error.problems


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.said, self.closed = b"", False
        self.reading: list[bool] = []  # what we were told to do

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.said += data

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)


class _Still(asyncio.AbstractEventLoop):
    """A loop where no time passes and everything is done at once."""

    def time(self) -> float:
        return 0.0

    def run_in_executor(self, _executor: Any, function: Callable[..., Any], *given: Any) -> Any:
        done: Future[Any] = Future()
        done.set_result(function(*given))
        return done


_NOBODY: Any = SimpleNamespace(
    config=load_text("database: sqlite:///x.db\nweb: {max_body: 1024}"), account=lambda _name: None, now=lambda: AT,
    count=lambda *_, **__: None,
)  # fmt: skip


def connect(wire: Wire) -> Connection:
    """Connect to a receiver that knows no account."""
    connection = Connection(Receiver(_NOBODY, list), _Still())
    connection.connection_made(wire)
    return connection


def http(data: bytes) -> None:
    """Receive bytes in two pieces: answers of a sound shape, or the end of the connection."""
    wire = Wire()
    connection = connect(wire)
    half = data[0] if data else 0
    for part in (data[:half], data[half:]):
        if part:
            connection.data_received(part)
    connection.late()
    connection.connection_lost(None)
    ends = rb"content-length: \d+\r\n(connection: close\r\n)?\r\n"
    assert re.fullmatch(
        rb"(HTTP/1\.1 (100 Continue\r\n\r\n|(200|400|401|404|405|408|413|415) [A-Za-z ]+\r\n((allow: POST, GET\r\n)?"
        + ends
        + rb"|content-type: text/plain; charset=utf-8\r\n"
        + ends
        + rb"(ok|ready)?"
        + rb"|content-type: application/json\r\n"
        + ends
        + rb"(\{\"error\":\"unauthorized\"\})?)))*",
        wire.said,
    ), wire.said


def _targets() -> Iterator[tuple[str, Callable[[bytes], None]]]:
    for module in MODULES:
        name = named(module)
        for kind in KINDS:
            yield f"{name}-{kind}", lambda data, m=module, k=kind: read(m, k, data)
        yield f"{name}-verify", lambda data, m=module: prove(m, data)
        yield f"{name}-judge", lambda data, m=module: raise_for_status(m, data)
    yield "http", http
    yield "yaml", yaml
    yield "config", config


TARGETS: dict[str, Callable[[bytes], None]] = dict(_targets())


def seeds(target: str) -> list[Path]:
    """Return what a target starts from: the fixtures of its plugin, the example configuration, and what once hurt."""
    name, _, kind = target.partition("-")
    plain, _, room = name.rpartition("_") if name.endswith(("_carriers", "_adapters")) else (name, "", "")
    fixtures = (HERE.parent / "fixtures" / plain / room).glob(f"*.{kind}.*") if kind in KINDS else ()
    found = [file for file in fixtures if ".expected." not in file.name]
    if target in ("yaml", "config"):
        found.append(HERE.parents[1] / "deploy" / "tracker.example.yaml")
    return sorted(found) + sorted((HERE / "corpus" / target).glob("*"))

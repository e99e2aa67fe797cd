"""The composition root: what a reload takes, what ends a thread or the process, and when it is ready."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from sqlalchemy.exc import OperationalError

from tests.lab import UPS, USPS, lab, shipped
from tracker.app.daemon import Daemon
from tracker.app.telemetry import logs_to, tell_threads
from tracker.config.load import load_config, load_text
from tracker.domain.errors import ConfigError, TrackerError
from tracker.pipeline.tokens import DatabaseVault
from tracker.store import tables as t
from tracker.store.seal import Seal


def test_a_rotating_token_is_stored_encrypted(make_lab) -> None:
    lab = make_lab()
    told: list[str] = []
    vault = DatabaseVault(lab.daemon.store, "shop", Seal(Fernet.generate_key().decode()), told.append)

    assert vault.load() is None
    vault.store("canary-token")
    assert vault.load() == "canary-token"
    assert "canary" not in lab.one(t.accounts, t.accounts.c.name == "shop").token
    assert told == []
    assert DatabaseVault(lab.daemon.store, "shop", Seal(Fernet.generate_key().decode()), told.append).load() is None
    assert told == ["shop"]
    with pytest.raises(ConfigError, match="vault_key"):
        Seal("short")


def test_a_wrong_configuration_is_not_taken_on_reload(make_lab) -> None:
    lab = make_lab()
    before = lab.ctx.config

    def wrong() -> Any:
        raise ConfigError("x:1:1: a: b")

    assert lab.daemon.reload(wrong) is False
    assert lab.ctx.config is before
    assert lab.daemon.reload(lambda: load_text(lab.yaml)) is True
    assert lab.ctx.config is not before


@pytest.mark.parametrize(
    "error",
    [
        ValueError("canary"),
        RecursionError(),
        KeyError("canary"),
        OSError(5, "canary"),
        SystemExit("canary"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["read", "settle"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_whatever_a_reload_raises_the_old_configuration_goes_on_and_says_so(
    make_lab, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    lab = make_lab()
    before, rows = lab.ctx.config, lab.rows(t.accounts)

    def fails(*_: Any) -> Any:
        raise error

    stream = io.StringIO()
    with logs_to(stream):
        if where == "read":
            assert lab.daemon.reload(fails) is False
        else:
            monkeypatch.setattr("tracker.upkeep.settle._note_uses", fails)  # late in the transaction
            assert lab.daemon.reload(lambda: load_text(lab.yaml.replace("mode: write", "mode: observe"))) is False
            monkeypatch.undo()

    (line,) = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "config_kept"]
    assert lab.ctx.config is before
    assert lab.rows(t.accounts) == rows
    assert line["said"].startswith(f"{type(error).__name__} at ")
    (why,) = lab.daemon.not_ready()
    assert why.startswith("configuration not taken at 2")
    assert why.endswith(f"the one before goes on: {line['said']}")
    assert "canary" not in why + stream.getvalue()

    assert lab.daemon.reload(lambda: load_text(lab.yaml)) is True
    assert lab.daemon.not_ready() == []


class Rounds:
    """An event that ends a loop after some rounds, without any waiting."""

    def __init__(self, rounds: int) -> None:
        self.left = rounds

    def wait(self, _seconds: float) -> bool:
        self.left -= 1
        return self.left < 0

    def is_set(self) -> bool:
        return False


@pytest.mark.parametrize("error", [RuntimeError("canary"), OperationalError("canary", {}, Exception("canary"))])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_step_that_fails_ends_neither_its_thread_nor_the_other_steps(
    make_lab, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    lab = make_lab()
    done: list[str] = []

    def fails(name: str) -> Any:
        def step(*_: Any) -> Any:
            done.append(name)
            raise error

        return step

    for name in ("heartbeat", "expire", "run_monitors", "prune", "due_queues"):
        monkeypatch.setattr(f"tracker.app.daemon.maintenance.{name}", fails(name))
    monkeypatch.setattr("tracker.app.daemon.HEAL_EVERY", 0)
    monkeypatch.setattr(lab.ctx.leases, "renew", fails("renew"))
    monkeypatch.setattr(lab.daemon, "_set_clock", fails("clock"))
    stream = io.StringIO()
    with logs_to(stream):
        for loop in (lab.daemon._schedule, lab.daemon._keep):
            monkeypatch.setattr(lab.daemon, "_stopping", Rounds(2))
            loop()
        monkeypatch.setattr(lab.daemon, "_stopping", threading.Event())

    assert done == 2 * ["due_queues", "heartbeat", "expire", "run_monitors", "prune"] + 2 * ["renew", "clock"]
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["step_failed"] * 14
    assert {line["error"] for line in lines} == {type(error).__name__}
    assert "canary" not in stream.getvalue()


def test_what_reports_have_not_counted_yet_is_counted_each_second_until_it_is(
    make_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = shipped(make_lab, UPS, USPS, company="UPS")
    lab.ctx.store.batch = 1
    monkeypatch.setattr("tracker.app.daemon.BATCHES", 1)
    monkeypatch.setattr(lab.daemon, "_stopping", Rounds(9))
    lab.daemon._schedule()
    monkeypatch.setattr(lab.daemon, "_stopping", threading.Event())

    assert lab.one(t.report_state).whole_at == lab.clock()
    assert len(lab.rows(t.parcel_facts)) == 2


def test_a_thread_that_ends_by_an_error_is_one_line_without_values() -> None:
    def ends() -> None:
        raise ValueError("canary")

    stream, before = io.StringIO(), threading.excepthook
    with logs_to(stream):
        tell_threads()
        thread = threading.Thread(target=ends, name="some")
        thread.start()
        thread.join()
    threading.excepthook = before

    line = json.loads(stream.getvalue())
    assert (line["event"], line["step"], line["error"]) == ("thread_ended", "some", "ValueError")
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_daemon_whose_ports_ended_ends_too_and_says_why(make_lab, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio
    import signal

    lab = make_lab(yaml="web: {port: 0, ops_port: 0}\n")
    daemon = Daemon(load_text(lab.yaml), frozenset({"web"}), notifier=lab.notifier)
    daemon.connect()
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]

    serving = threading.Event()
    monkeypatch.setattr("tracker.app.daemon.rest_memory", serving.set)

    async def wait(_event: object) -> None:
        while not serving.is_set():
            await asyncio.sleep(0.01)
        raise RuntimeError("canary")

    monkeypatch.setattr(asyncio.Event, "wait", wait)
    stream = io.StringIO()
    with logs_to(stream):
        assert daemon.run() == 70
    for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), handlers, strict=True):
        signal.signal(number, handler)

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["error"] for line in lines if line["event"] == "listening_failed"] == ["RuntimeError"]
    assert "canary" not in stream.getvalue()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_a_connection_raises_is_one_line_and_the_others_are_served(
    make_lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from tracker.app.receiver import Connection

    lab = make_lab(yaml="web: {port: 0, ops_port: 0}\n")
    daemon = Daemon(load_text(lab.yaml), frozenset({"web"}), notifier=lab.notifier)
    daemon.connect()

    def fails(*_: Any) -> None:
        raise ValueError("canary")

    stream = io.StringIO()
    with logs_to(stream):
        daemon.start()
        assert daemon.servers is not None
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Connection, "pause_writing", fails)
            patched.setattr(Connection, "data_received", fails)
            with socket.create_connection(("127.0.0.1", daemon.servers.ports()[0]), timeout=10) as peer:
                peer.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
                assert peer.recv(100) == b""
        with socket.create_connection(("127.0.0.1", daemon.servers.ports()[0]), timeout=10) as peer:
            peer.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert b"200 OK" in peer.recv(1000)
        daemon.stop()

    (line,) = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "connection_failed"]
    assert line["error"] == "ValueError"
    assert "canary" not in stream.getvalue()


def test_a_store_that_may_write_now_has_every_order_looked_at_again(make_lab) -> None:
    lab = make_lab(store="mode: observe")
    lab.work()
    lab.order("#1001", USPS)
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.daemon.reload(lambda: load_text(lab.yaml.replace("mode: observe", "mode: write")))
    lab.work()

    assert lab.writes() == [("#1001", "IN_TRANSIT")]


CUT = (
    "CREATE SEQUENCE cuts",  # counts on although what it was counted in is undone
    "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('cuts') = 1 THEN "
    "PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN NULL; END $$",
    "CREATE TRIGGER cut BEFORE INSERT ON accounts FOR EACH STATEMENT EXECUTE FUNCTION cut()",
)


def test_a_start_whose_connection_is_cut_is_tried_again(new_postgres: str, tmp_path: Path) -> None:
    with psycopg.connect(new_postgres) as connection:
        for statement in CUT:
            connection.execute(statement.encode())
    with lab(new_postgres, tmp_path) as started:
        assert {row.name for row in started.rows(t.accounts)} == set(started.ctx.config.accounts)
        with started.daemon.store.read() as reading:
            assert reading.exec_driver_sql("SELECT last_value FROM cuts").scalar_one() > 1


def test_the_receiver_that_cannot_listen_says_so(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon(load_text(f"database: sqlite:///{tmp_path}/x.db\nweb: {{port: {taken.getsockname()[1]}}}"))
        daemon.connect()
        with pytest.raises((TrackerError, SystemExit)):
            daemon.start()
        daemon.stop()


def test_readiness_says_why_not(make_lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = make_lab()
    monkeypatch.setattr("tracker.app.readiness.KEPT", 0.0)
    assert lab.daemon.not_ready() == []
    monkeypatch.setattr(lab.notifier, "problem", lambda: "ConnectionError")
    assert lab.daemon.not_ready() == ["broker away (ConnectionError): working without wake-ups"]

    def away() -> Any:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(lab.daemon.store, "read", away)
    assert lab.daemon.not_ready()[0] == "database away"


def test_a_file_is_enough_to_compose_a_daemon(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(f"database: sqlite:///{tmp_path}/x.db\n")
    daemon = Daemon(load_config(path))
    daemon.connect()
    daemon.stop()

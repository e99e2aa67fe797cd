"""The composition root, wake-ups, logs and the vault."""

from __future__ import annotations

import io
import json
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from alembic.script import ScriptDirectory
from cryptography.fernet import Fernet
from sqlalchemy.exc import OperationalError

from tests.conftest import wait_for
from tests.lab import UPS, USPS, Lab
from tracker.app import notifier
from tracker.app.daemon import Daemon, DatabaseVault
from tracker.app.telemetry import configure_logs, logs_to, scrub, tell_threads
from tracker.clock import PlayClock, system_now
from tracker.config.load import load_config, load_text
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.masking import hide
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import alembic_config, current, head, migrate, revisions


def test_a_rotating_token_is_stored_encrypted(make_lab) -> None:
    lab = make_lab()
    key = Fernet.generate_key().decode()
    vault = DatabaseVault(lab.daemon.store, "shop", key)

    assert vault.load() is None
    vault.store("canary-token")
    assert vault.load() == "canary-token"
    assert "canary" not in lab.one(t.accounts, t.accounts.c.name == "shop").token
    assert DatabaseVault(lab.daemon.store, "shop", Fernet.generate_key().decode()).load() is None
    with pytest.raises(ConfigError, match="vault_key"):
        DatabaseVault(lab.daemon.store, "shop", "short")


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
            monkeypatch.setattr("tracker.upkeep.maintenance._not_expressible", fails)  # late in the transaction
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


# wake-ups


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
    woken.notify("ingest")
    wait_for(lambda: len(set(heard)) == 4)
    assert woken.problem() == "ConnectionError"
    woken.stop()


# logs


def test_a_log_line_is_json_of_allowed_keys_and_holds_no_secret() -> None:
    stream = io.StringIO()
    configure_logs(stream)
    try:
        structlog.get_logger().info(
            "fact",
            account="ups\n\x1b[31m",
            email="canary@example.com",
            said="GET https://x/?token=canary Authorization: Bearer canary password=canary",
        )
    finally:
        configure_logs(io.StringIO())
    line = stream.getvalue()

    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "canary" not in line
    assert set(json.loads(line)) == {"event", "account", "said", "level", "timestamp"}


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:canary@h/x", "redis://:canary@h:1/0", "redis://:can/ary@h", "https://canary@h/x", "api_key=canary",
        "Basic canary", "secret: canary", '{"access_token":"canary","x":1}', "{'refresh_token': 'canary'}",
        '"password" : "canary"', "Authorization: Bearer canary", "https://h/x?sig=canary", "client_secret=canary&x=1",
        "POST https://h/services/T0/0a1b2c3d4e5f6canary7a8b9", "/webhooks/ups/Abcdefghijk-canary-1234567",
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    assert "canary" not in scrub(f"it said {text}, and went")
    assert "can/ary" not in scrub(text)
    assert scrub(5) == 5


@pytest.mark.parametrize(
    "text",
    ["parcel 9400111206206406260787 at /details/9400111206206406260787", "x-hmac-signature: is missing", "a@b.example"],
)
def test_what_is_no_credential_stays_in_the_log(text: str) -> None:
    assert scrub(text) == text


def test_a_secret_is_masked_before_a_line_is_cut() -> None:
    hidden = hide("canary-" * 10)

    assert "canary" not in scrub("x" * 470 + " " + "canary-" * 10)
    assert hidden


def test_files_that_others_can_read_are_told_at_start(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir(mode=0o755)
    text = f"database: sqlite:///{tmp_path}/db/x.db\n"
    stream = io.StringIO()
    with logs_to(stream):
        for mode in (0o600, 0o644):
            daemon = Daemon(load_text(text))
            daemon.connect()
            daemon.stop()
            (tmp_path / "db" / "x.db").chmod(mode)
            (tmp_path / "db").chmod(0o700)
        daemon = Daemon(load_text(text))
        daemon.connect()
        daemon.stop()

    said = [
        line["said"] for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "open_to_others"
    ]
    assert len(said) == 4  # the file, and what SQLite keeps beside it
    assert "can be looked into by others" in said[0]
    assert f"{tmp_path}/db/x.db can be read or changed by others" in said[1]


def test_a_whole_round_leaves_no_secret_in_the_logs(make_lab) -> None:
    stream = io.StringIO()
    configure_logs(stream, level="debug")
    try:
        lab = make_lab()
        lab.shop.key = "wrong"
        lab.work()
        lab.order("#1001", UPS, company="UPS")
        lab.work()
        lab.later(5)
    finally:
        configure_logs(io.StringIO())

    for secret in ("0123456789012345678901234567890123456789", "Bearer", "hmac"):
        assert secret not in stream.getvalue()
    assert "account_parked" in stream.getvalue()


# store and clock


def test_the_migrations_make_exactly_the_tables_of_the_code(database: str, empty_postgres: str, tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    url = f"sqlite:///{tmp_path}/new.db" if database.startswith("sqlite") else empty_postgres
    store = Store(url)
    assert current(store) is None
    assert migrate(store) == head() == migrate(store)
    assert head() == ScriptDirectory.from_config(alembic_config()).get_current_head(), (
        "the newest file is the newest revision"
    )
    assert revisions() == sorted(s.revision for s in ScriptDirectory.from_config(alembic_config()).walk_revisions())
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, t.METADATA) == []
    store.close()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_versions_kept_before_have_their_stand_after_the_migration(
    database: str, empty_postgres: str, tmp_path: Path
) -> None:
    from alembic import command

    from tracker.store.migrate import alembic_config

    store = Store(f"sqlite:///{tmp_path}/old.db" if database == "sqlite" else empty_postgres)
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        at = "'2026-11-02 08:00:00'"
        connection.exec_driver_sql(
            "INSERT INTO orders (id, store, ref, number, status, raw_status, payment, raw_payment, owner, placed_at, facts, version,"
            f" read_at) VALUES (1, 's', 'R', '#1', 'shipped', 'Shipped', 'paid', 'PAID', 'courier', {at}, '{{}}', 1, {at})"
        )
        facts = '{"status": "shipped", "raw_status": "Shipped", "payment": "paid"}'
        connection.exec_driver_sql(
            f"INSERT INTO order_versions (order_id, version, seen_at, actor, facts) VALUES (1, 1, {at}, 'seller', '{facts}')"
        )
    migrate(store)
    with store.read() as connection:
        row = connection.exec_driver_sql("SELECT status, raw_status, payment FROM order_versions").one()
    store.close()

    assert tuple(row) == ("shipped", "Shipped", "paid")


def test_two_processes_may_migrate_at_once(empty_postgres: str) -> None:
    stores = [Store(empty_postgres) for _ in range(3)]
    threads = [threading.Thread(target=migrate, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {current(store) for store in stores} == {head()}
    for store in stores:
        store.close()


def test_a_naive_moment_never_reaches_the_database(store: Store) -> None:
    from datetime import datetime

    with pytest.raises(Exception, match="naive"), store.write() as connection:
        connection.execute(t.policies.insert(), {"hash": "h", "body": {}, "first_seen_at": datetime(2026, 1, 1)})


def test_the_receiver_goes_first_at_the_lock() -> None:
    from tracker.store.engine import _FirstLock

    lock, order = _FirstLock(), []
    lock.acquire(first=False)
    threads = [
        threading.Thread(target=lambda first=first: (lock.acquire(first=first), order.append(first), lock.release()))
        for first in (False, False, True)
    ]
    for thread in threads:
        thread.start()
    wait_for(lambda: lock._first == 1)
    lock.release()
    for thread in threads:
        thread.join()
    assert order[0] is True


def test_the_play_clock_never_goes_back() -> None:
    now = system_now()
    clock = PlayClock(now)
    clock.move_to(now.replace(year=2020))

    assert clock() == now


def test_F26_a_schema_of_a_newer_version_is_left_as_it_is(database: str, tmp_path: Path) -> None:
    store = Store(database)
    migrate(store)
    with store.write() as connection:  # what a newer version would have left: it only adds
        connection.execute(sa.text("ALTER TABLE orders ADD COLUMN hologram VARCHAR"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert migrate(store) == "9999"
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    store.close()
    with ExitStack() as stack:
        lab = Lab(database, tmp_path, stack)
        lab.order("#1001", "9400111206206406260787")
        lab.scan(lab.easypost, "9400111206206406260787", "delivered", "arrived_at_destination")
        lab.work()
        assert ("#1001", "DELIVERED") in lab.writes()

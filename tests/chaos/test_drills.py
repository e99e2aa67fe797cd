"""The faults of the table (README.md here) that need real processes or real sockets, one by one, each with its outcome."""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa

from tests.app.site import NUMBER, Site
from tests.chaos.rig import Cluster, Proxy
from tests.conftest import RedisServer, wait_for
from tests.lab import USPS, Lab, detail, tracker_body
from tracker.app.client import AccountClient, NoVault
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import Transient
from tracker.pipeline.ingest import step as ingest
from tracker.plugin.conformance import example_settings, plugin_of
from tracker.plugin.contracts import Request
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import current, head, migrate

pytestmark = pytest.mark.process


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def journey(site: Site) -> None:
    """Place an order and ship it; what the shop has to say of it arrives."""
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)), 60)
    site.shop.place("#1001", system_now(), "PAID")
    site.shop.ship("#1001", system_now(), [{"company": "USPS", "number": NUMBER}], partly=False)
    wait_for(lambda: site.send() and site.rows(t.watches), 60)


def arrives(site: Site, seconds: float = 60) -> None:
    """Demand that a delivery scan reaches the shop, once, and that nothing is left."""
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered, seconds)
    wait_for(lambda: not site.rows(t.inbox, t.inbox.c.state == "pending"), seconds)
    assert site.shown().count("DELIVERED") == 1
    assert [row.status for row in site.rows(t.shipments)] == ["delivered"]
    assert not site.rows(t.inbox, t.inbox.c.state == "dead")


def sqlite_site(tmp_path: Path, stack: ExitStack) -> Site:
    return Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)


def post(site: Site, body: bytes) -> int:
    one = site.easypost.signed(body)
    try:
        return site.http.post(
            f"http://127.0.0.1:{site.port}/webhooks/easypost", content=one.body, headers=one.headers, timeout=30
        ).status_code
    except Exception:
        return 0


# Redis


@pytest.mark.parametrize("hang", [False, True], ids=["cut", "hung"])
def test_F09_lost_replies_of_redis_strand_nothing(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack, hang: bool
) -> None:
    proxy = Proxy(redis_server.port)
    stack.callback(proxy.close)
    site = Site(new_postgres, tmp_path, stack, broker=f"redis://127.0.0.1:{proxy.port}/0")
    for role in ("web", "worker", "scheduler"):
        site.start(role)
    journey(site)
    proxy.lose(rb"(?i)evalsha", 5, hang=hang)  # enqueue, fetch and ack are all scripts
    arrives(site)

    assert proxy.lost


@pytest.mark.parametrize("trouble", ["out of memory", "read only", "another password"])
def test_F10_a_redis_that_refuses_is_told_and_work_goes_on(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack, trouble: str
) -> None:
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    site.start()
    journey(site)
    client = redis.Redis(port=redis_server.port)
    stack.callback(client.close)
    if trouble == "out of memory":
        client.config_set("maxmemory", "1")
    elif trouble == "read only":
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    else:
        client.config_set("requirepass", "changed")
        client.execute_command("AUTH", "changed")
        client.client_kill_filter(_type="normal", skipme=True)
    arrives(site)
    wait_for(lambda: "broker away" in site.ready() or '"broker_away"' in site.logs())


def test_F11_a_failover_to_a_replica_that_lags_loses_nothing(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica")
    replica.start()
    stack.callback(replica.kill)
    proxy = Proxy(redis_server.port)
    stack.callback(proxy.close)
    with redis.Redis(port=replica.port) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(redis_server.port))
        site = Site(new_postgres, tmp_path, stack, broker=f"redis://127.0.0.1:{proxy.port}/0")
        for role in ("web", "worker", "scheduler"):
            site.start(role)
        journey(site)
        client.execute_command("REPLICAOF", "NO", "ONE")  # the link is cut: what is sent now is on the master only
    site.scan("in_transit", "departed_facility")
    wait_for(site.send)
    proxy.retarget(replica.port)
    redis_server.kill()
    arrives(site)


# clocks


def test_F12_clocks_that_are_two_minutes_off_double_nothing_and_delay_nothing(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    off = """
import time
from datetime import timedelta
import tracker.clock
real_time, real_now = time.time, tracker.clock.system_now
time.time = lambda: real_time() + ({0})
tracker.clock.system_now = lambda: real_now() + timedelta(seconds={0})
"""
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    site.start("web", patched=off.format(-120))
    site.start("worker", patched=off.format(120))
    site.start("worker")
    site.start("scheduler", patched=off.format(-120))
    journey(site)
    site.shop.faults.left["error"] = 3
    for status, code in (("in_transit", "departed_facility"), ("out_for_delivery", "out_for_delivery")):
        site.scan(status, code)
        wait_for(site.send)
    arrives(site)

    assert all(count == 1 for count in map(site.shown().count, set(site.shown())))
    assert '"clock_off"' in site.logs()
    assert "clock is off by -120 s" in site.ready()


# PostgreSQL


def test_F14_a_database_that_crashes_is_a_503_and_comes_back_without_a_restart_of_ours(
    tmp_path: Path, stack: ExitStack
) -> None:
    cluster = Cluster()
    stack.callback(cluster.remove)
    cluster.start()
    site = Site(cluster.url, tmp_path, stack)
    process = site.start()
    journey(site)
    cluster.crash()

    assert post(site, tracker_body(NUMBER)) == 503
    assert "database away" in site.ready()
    assert process.poll() is None
    cluster.start()
    arrives(site)
    assert process.poll() is None


def test_F15_no_free_connection_is_a_503_at_worst(tmp_path: Path, stack: ExitStack) -> None:
    cluster = Cluster(connections=24)
    stack.callback(cluster.remove)
    cluster.start()
    site = Site(cluster.url, tmp_path, stack)
    process = site.start()
    journey(site)
    with ExitStack() as taken:
        with pytest.raises(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(cluster.url))
        answers = {post(site, tracker_body(NUMBER, detail("in_transit", f"2026-11-02T0{i}:00:00Z"))) for i in range(5)}
        assert answers <= {200, 503}
    assert process.poll() is None
    arrives(site)


@pytest.mark.parametrize("code", ["40P01", "40001", "55P03"], ids=["deadlock", "serialization", "lock time-out"])
def test_F15_what_the_database_gives_up_is_tried_again(
    new_postgres: str, tmp_path: Path, stack: ExitStack, code: str
) -> None:
    lab = Lab(new_postgres, tmp_path, stack)
    lab.order("#1001", USPS)
    lab.work()
    lab.change(sa.text("CREATE SEQUENCE given_up"))  # a sequence counts on although the transaction is rolled back
    lab.change(
        sa.text(
            "CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('given_up') <= 3 THEN "
            f"RAISE EXCEPTION 'given up' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$"
        )
    )
    lab.change(sa.text("CREATE TRIGGER give_up BEFORE INSERT ON scans FOR EACH ROW EXECUTE FUNCTION give_up()"))
    lab.post_raw("easypost", tracker_body(USPS, detail("delivered", "2026-11-02T08:00:00Z")))
    for _ in range(4):
        lab.work()
        lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=lab.clock()))

    assert lab.parcel(USPS).status == "delivered"
    assert {row.state for row in lab.rows(t.inbox)} <= {"done", "ignored"}


def test_F20_two_workers_with_a_poll_and_a_webhook_of_one_scan_make_one(
    new_postgres: str, tmp_path: Path, stack: ExitStack
) -> None:
    lab = Lab(new_postgres, tmp_path, stack)
    lab.order("#1001", USPS)
    lab.work()
    lab.daemon.store.batch = 1  # each thread takes one of the two
    body = tracker_body(USPS, detail("in_transit", "2026-11-02T08:00:00Z"))
    for round_ in range(5):
        for copy in range(2):
            lab.post_raw("easypost", body.replace(b'"object"', b'"round": %d, "object"' % (2 * round_ + copy), 1))
        barrier = threading.Barrier(2)

        def take(barrier: threading.Barrier = barrier) -> None:
            barrier.wait(10)
            ingest.run(lab.ctx)

        threads = [threading.Thread(target=take) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    lab.work()

    assert len(lab.rows(t.scans)) == 1
    assert [event for _, event in lab.writes()] == ["IN_TRANSIT"]
    assert {row.state for row in lab.rows(t.inbox)} <= {"done", "ignored"}


# disks and files


def test_F16_a_full_disk_is_a_503_and_the_process_goes_on_once_there_is_room(tmp_path: Path, stack: ExitStack) -> None:
    site = sqlite_site(tmp_path, stack)
    process = site.start()
    journey(site)
    largest = max(file.stat().st_size for file in (tmp_path / "db").iterdir())
    unlimited = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest + (256 << 10), unlimited[1]))
    answers = []
    for i in range(60):
        answers.append(post(site, b'{"id": "evt_%d", "padding": "%s"}' % (i, b"x" * 100_000)))
        if answers[-1] != 200:
            break
    accepted = answers.count(200)

    assert answers[-1] == 503
    assert process.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_for(lambda: post(site, b'{"id": "evt_room"}') == 200)
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered, 60)
    stored = [row for row in site.rows(t.inbox) if (row.dedupe_key or "").startswith("evt_") and row.size > 90_000]
    assert len(stored) >= accepted
    sound(site)


def sound(site: Site) -> None:
    with sqlite3.connect(str(site.store.url.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_F17_a_writer_that_holds_the_file_is_waited_for_and_then_told_as_503(tmp_path: Path, stack: ExitStack) -> None:
    site = sqlite_site(tmp_path, stack)
    site.start()
    journey(site)
    other = sqlite3.connect(str(site.store.url.database), isolation_level=None)
    stack.callback(other.close)
    other.execute("BEGIN IMMEDIATE")
    assert post(site, b'{"id": "evt_held"}') == 503
    other.execute("ROLLBACK")
    wait_for(lambda: post(site, b'{"id": "evt_held"}') == 200)
    arrives_with_dead(site)
    sound(site)


def arrives_with_dead(site: Site) -> None:
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered, 60)


def test_F17_killed_in_a_commit_the_file_is_sound(tmp_path: Path, stack: ExitStack) -> None:
    site = sqlite_site(tmp_path, stack)
    choose = random.Random(7)
    acked: set[str] = set()
    for round_ in range(3):
        process = site.start()
        killer = threading.Timer(choose.uniform(0.2, 0.6), lambda p=process: os.killpg(p.pid, signal.SIGKILL))
        killer.start()
        i = 0
        while process.poll() is None:
            name = f"evt_{round_}_{i}"
            i += 1
            if post(site, f'{{"id": "{name}"}}'.encode()) == 200:
                acked.add(name)
        killer.join()
    sound(site)

    assert acked
    assert acked <= {row.dedupe_key for row in site.rows(t.inbox)}


# the outside world


@pytest.mark.parametrize("wrong", ["host", "date", "issuer"])
def test_F22_a_certificate_that_is_wrong_ends_the_call_before_anything_is_sent(tmp_path: Path, wrong: str) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    ends = system_now() + timedelta(days=-1 if wrong == "date" else 1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(ends - timedelta(days=10)).not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("elsewhere" if wrong == "host" else "localhost")]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    listening = socket.create_server(("127.0.0.1", 0))
    got: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
                with context.wrap_socket(peer, server_side=True) as secured:
                    got.append(secured.recv(100))
            except ssl.SSLError:
                continue
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    plugin = plugin_of("carriers.dhl")
    source: Any = plugin("account", example_settings(plugin))
    client = AccountClient(
        Account("account", "dhl", source), NoVault(), allow=frozenset({"localhost"}), timeout=5, now=system_now
    )
    if wrong != "issuer":  # trusted, so that only the other thing is wrong
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        http = client._take()
        http._transport._pool._ssl_context = trusting  # type: ignore[attr-defined]
        client._give_back(http)
    said = {"host": "Hostname mismatch", "date": "expired", "issuer": "self-signed"}[wrong]
    with pytest.raises(Transient, match=said):
        client.send(Request("GET", f"https://localhost:{listening.getsockname()[1]}/x"))
    client.close()
    listening.close()

    assert got == [] or got == [b""]


# poison

WAYS_TO_DIE = (
    "os._exit(137)",
    "while True: pass",
    "re.match('(a+)+$', 'a' * 64 + 'b')",  # holds the interpreter's lock: no thread of ours runs any more
)


def test_F24_a_payload_that_kills_or_hangs_its_process_ends_dead_and_holds_back_nobody(
    database: str, tmp_path: Path, stack: ExitStack
) -> None:
    def kills(how: str) -> str:
        return f"""
import os, re
import carriers.easypost
plugin = carriers.easypost.EasyPost
real = plugin.normalize
def normalize(self, payload):
    if b"POISON" in payload.body:
        {how}
    return real(self, payload)
plugin.normalize = normalize
"""

    site = Site(database, tmp_path, stack)
    site.file.write_text(site.file.read_text() + "stuck_after: 4s\n")  # a busy machine may take 1 s
    ways = itertools.cycle(WAYS_TO_DIE)
    process = site.start(patched=kills(next(ways)))
    journey(site)
    assert post(site, b'{"id": "evt_POISON"}') == 200
    site.scan("delivered", "arrived_at_destination")
    deaths = 0

    def over() -> bool:
        nonlocal process, deaths
        if process.poll() is not None:
            deaths += 1
            site.expire_claims()
            process = site.start(patched=kills(next(ways)))
        site.send()
        return bool(site.rows(t.inbox, t.inbox.c.state == "dead")) and site.delivered()

    wait_for(over, 120)
    (dead,) = site.rows(t.inbox, t.inbox.c.state == "dead")
    assert dead.dedupe_key == "evt_POISON"
    assert dead.reason == "crashed too often"
    assert 5 <= deaths <= 7
    assert site.shown().count("DELIVERED") == 1


# processes


def test_F25_SIGTERM_under_load_exits_with_0_and_every_200_is_stored(
    database: str, tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(database, tmp_path, stack)
    process = site.start()
    acked: list[set[str]] = [set() for _ in range(4)]
    over = threading.Event()

    def send(which: int) -> None:
        i = 0
        while not over.is_set():
            name = f"evt_{which}_{i}"
            i += 1
            if post(site, f'{{"id": "{name}"}}'.encode()) == 200:
                acked[which].add(name)

    threads = [threading.Thread(target=send, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: sum(map(len, acked)) > 100)
    process.send_signal(signal.SIGTERM)
    code = process.wait(26)
    over.set()
    for thread in threads:
        thread.join(40)

    assert code == 0
    assert set().union(*acked) <= {row.dedupe_key for row in site.rows(t.inbox)}


DIES = """
import os, signal
from sqlalchemy import event
from sqlalchemy.engine import Engine
left = int(os.environ["DIE_AT"])
@event.listens_for(Engine, "before_cursor_execute")
def die(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_F26_a_migration_that_is_killed_is_taken_up_again(
    empty_postgres: str, tmp_path: Path, stack: ExitStack
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DIES)
    for number, url in enumerate((f"sqlite:///{tmp_path}/fresh/x.db", empty_postgres)):
        file = tmp_path / f"migrate-{number}.yaml"
        file.write_text(f"database: {url}\n")
        ends = []
        for at in (2, 9, 20, 45, 90, 180, 100_000):  # statements; what it had done stays, or is undone whole
            environment = {**os.environ, "PYTHONPATH": str(tmp_path), "DIE_AT": str(at)}
            done = subprocess.run(
                [sys.executable, "-m", "tracker.cli", "migrate", "-c", str(file)], env=environment, check=False,
                capture_output=True, text=True,
            )  # fmt: skip
            ends.append(done.returncode)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert ends.count(-signal.SIGKILL) >= 3, "it was hardly killed: little was tried"
        assert ends[-1] == 0
        store = Store(url)
        stack.callback(store.close)
        assert migrate(store) == head() == current(store)


def test_F27_a_secret_that_is_missing_on_reload_keeps_the_old_configuration_and_shows_no_value(
    tmp_path: Path, stack: ExitStack
) -> None:
    site = sqlite_site(tmp_path, stack)
    process = site.start()
    site.file.write_text(site.file.read_text().replace('api_key: "${file:s}"', 'api_key: "${file:gone}"'))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config_kept" in site.logs())
    journey(site)
    arrives(site)

    assert "gone" in site.logs()
    assert "hook" not in site.logs().replace("webhook", "")

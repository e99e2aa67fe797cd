"""The faults of the table (README.md here) that are of Redis, of clocks or of PostgreSQL, one by one, each with its outcome."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa

from tests.app.site import NUMBER, Site
from tests.chaos.drill import arrives, journey, post
from tests.chaos.rig import Cluster, Proxy
from tests.conftest import RedisServer, wait_for
from tests.lab import USPS, Lab, detail, tracker_body
from tracker.pipeline.ingest import step as ingest
from tracker.store import tables as t

pytestmark = pytest.mark.process


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
    site.expire_claims()  # what was claimed when it crashed is claimed for half a minute
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

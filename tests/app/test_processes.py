"""Real processes: killed at every failpoint, stopped under load, started without their database or broker."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.app.site import NUMBER, Site
from tests.conftest import RedisServer, free_port, wait_for
from tracker.clock import system_now
from tracker.pipeline import failpoints
from tracker.sandbox.fakes.bigcommerce import BigCommerceServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t

pytestmark = pytest.mark.process
READ = re.compile('"config_kept"|"config_reloaded"')


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def journey(site: Site) -> None:
    """An order, shipped, and its parcel delivered."""
    site.shop.place("#1001", __import__("tracker.clock", fromlist=["x"]).system_now(), "PAID")
    site.shop.ship(
        "#1001",
        __import__("tracker.clock", fromlist=["x"]).system_now(),
        [{"company": "USPS", "number": NUMBER}],
        partly=False,
    )


@pytest.mark.parametrize("name", failpoints.NAMES)
def test_F4_a_process_killed_at_any_failpoint_loses_nothing(
    database: str, tmp_path: Path, stack: ExitStack, name: str
) -> None:
    site = Site(database, tmp_path, stack)
    process = site.start(crash_at=name)

    def play_on() -> bool:
        if process.poll() is not None:
            return True
        site.send()
        return site.delivered()

    wait_for(lambda: process.poll() is not None or any(row.synced_at for row in site.rows(t.accounts)))
    journey(site)
    wait_for(lambda: process.poll() is not None or (site.send() and site.rows(t.watches)))
    site.scan("delivered", "arrived_at_destination")
    wait_for(play_on)
    assert process.wait(30) == 137, "the failpoint was never reached"

    site.expire_claims()
    site.start()
    wait_for(site.delivered)
    wait_for(
        lambda: (
            not site.rows(t.inbox, t.inbox.c.state == "pending")
            and not site.rows(t.outbox, t.outbox.c.state == "pending")
        )
    )

    assert site.shown().count("DELIVERED") <= 2  # at most one double call a kill; here the shop looks before it writes
    assert site.shown().count("DELIVERED") == 1
    assert [row.status for row in site.rows(t.shipments)] == ["delivered"]
    assert not site.rows(t.inbox, t.inbox.c.state == "dead")


@pytest.mark.parametrize("name", failpoints.OF_HOOKS)
def test_F4_a_process_killed_while_it_makes_hooks_makes_none_twice(
    database: str, tmp_path: Path, stack: ExitStack, name: str
) -> None:
    big = BigCommerceServer("big", system_now, key="s", hook="hook")
    servers = FakeServers([big])
    stack.callback(servers.stop)
    store = f"base_url: 'http://127.0.0.1:{servers.start()}/big', access_token: '${{file:s}}', webhook_secrets: '${{file:hook}}'"
    site = Site(database, tmp_path, stack, more=f"  big: {{uses: bigcommerce, store_hash: sandbox, {store}}}\n")
    said = site.file.read_text().replace("web: {", 'web: {public_url: "https://t.example", ')
    site.file.write_text(said.replace("uses: shopify,", "uses: shopify, hooks: app,"))  # nobody else makes any
    mine = t.accounts.c.name == "big"

    assert site.start(crash_at=name).wait(30) == 137, "the failpoint was never reached"
    later = system_now()
    with site.store.write() as connection:  # a quarter of an hour later
        connection.execute(t.accounts.update().where(mine).values(hooks_due_at=later))
    site.start()
    wait_for(lambda: site.rows(t.accounts, mine, t.accounts.c.hooks_checked_at >= later))

    assert len(big.hooks) == len({hook["scope"] for hook in big.hooks.values()}) == 7
    assert (big.calls["hook made"], big.calls["hook mended"]) == (7, 0)


def test_F1_killed_again_and_again_it_goes_on(database: str, tmp_path: Path, stack: ExitStack) -> None:
    site = Site(database, tmp_path, stack)
    process = site.start()
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))
    journey(site)
    wait_for(lambda: site.send() and site.rows(t.watches))
    for status, code in (
        ("in_transit", "departed_facility"),
        ("out_for_delivery", "out_for_delivery"),
        ("delivered", "arrived_at_destination"),
    ):
        site.scan(status, code)
        site.send()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        site.expire_claims()
        process = site.start()
    wait_for(site.delivered)

    assert [row.status for row in site.rows(t.shipments)] == ["delivered"]
    assert len(site.rows(t.scans)) == 3


def test_SIGTERM_finishes_and_exits_with_0(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    process = site.start()
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))
    journey(site)
    site.send()
    process.send_signal(signal.SIGTERM)

    assert process.wait(26) == 0
    assert '"stopped"' in site.logs()
    assert not [row for row in site.rows(t.inbox) if row.state == "pending" and row.crashes]


def test_SIGHUP_takes_a_good_configuration_and_keeps_the_old_one_otherwise(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    process = site.start()
    good = site.file.read_text()
    site.file.write_text(good.replace("mode: write", "mode: observe") + "threads: none\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config_kept" in site.logs())
    assert "threads: " in site.logs()
    assert [row.mode for row in site.rows(t.accounts, t.accounts.c.name == "shop")] == ["write"]
    assert site.alive()

    site.file.write_text(good.replace("mode: write", "mode: observe"))
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "config_reloaded" in site.logs())
    assert [row.mode for row in site.rows(t.accounts, t.accounts.c.name == "shop")] == ["observe"]


def test_no_configuration_file_ends_a_daemon_that_reads_it_again(tmp_path: Path, stack: ExitStack) -> None:
    """Each of these once raised something else than a wrong configuration, or made the reader wait for ever."""
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    process = site.start()
    good = site.file.read_text()
    files = [
        good.replace("uses: easypost", f"uses: 0x{'f' * 5000}").encode(), good.replace("file:s", "file:a\\0b").encode(),
        good.encode() + b"stuck_after: 999999999999d\n", good.encode() + b"# \xff", None,
    ]  # fmt: skip
    for count, text in enumerate(files, 1):
        if text is None:
            site.file.unlink()
            os.mkfifo(site.file)
        else:
            site.file.write_bytes(text)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda count=count: len(READ.findall(site.logs())) == count or process.poll() is not None)  # type: ignore[misc]
        assert process.poll() is None, text
    assert "configuration not taken at" in site.ready()
    assert "is no regular file" in site.ready()

    site.file.unlink()
    site.file.write_text(good)
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: site.ready() == "ready")
    assert "Traceback" not in site.logs()


def test_a_reload_that_is_asked_for_before_the_roles_run_ends_nothing(tmp_path: Path, stack: ExitStack) -> None:
    site = Site("postgresql://nobody@127.0.0.1:1/none", tmp_path, stack)
    process = site.start(wait=False)
    wait_for(lambda: "database_away" in site.logs() or process.poll() is not None)
    process.send_signal(signal.SIGHUP)

    assert process.wait(30) == 3


def test_a_database_that_is_away_at_start_is_told_once_waited_for_and_ends_with_3(
    tmp_path: Path, stack: ExitStack
) -> None:
    site = Site("postgresql://nobody@127.0.0.1:1/none", tmp_path, stack)
    process = site.start(wait=False)

    assert process.wait(30) == 3
    assert "could not be reached for 3 s" in site.logs()
    assert site.logs().count('"database_away"') == 1


def test_a_wrong_configuration_ends_with_2_and_names_the_place(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, more="brocker: none\n")
    process = site.start(wait=False)

    assert process.wait(30) == 2
    assert "unknown key; did you mean 'broker'?" in site.logs()


def test_separate_roles_need_a_broker(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)

    assert site.start("worker", wait=False).wait(30) == 2
    assert "tracker up" in site.logs()


def roles(site: Site) -> dict[str, Any]:
    """Start the roles apart, each with /metrics of its own."""
    ports = {"web": site.ops, "worker": free_port(), "scheduler": free_port()}
    site.scraped = lambda role: site.http.get(f"http://127.0.0.1:{ports[role]}/metrics").text
    return {role: site.start(role, ops=port) for role, port in ports.items()}


def test_F5_separate_roles_work_and_a_wiped_redis_loses_nothing(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    started = roles(site)
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)))
    journey(site)
    wait_for(lambda: site.send() and site.rows(t.watches))

    redis_server.kill()  # nothing is kept on disk: it comes back empty
    site.scan("in_transit", "departed_facility")
    wait_for(site.send)  # 200 all the while
    wait_for(lambda: "IN_TRANSIT" in site.shown(), 40)
    wait_for(lambda: "broker away" in site.ready())
    redis_server.start()
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered, 40)
    wait_for(lambda: site.ready() == "ready")
    worked, watched, received = map(site.scraped, ("worker", "scheduler", "web"))
    assert 'tracker_writes_total{state="sent",store="shop"}' in worked and 'operation="push",result="ok"' in worked
    assert (
        "tracker_database_up 1.0" in worked and "tracker_processes{" not in worked
    )  # a fleet does not ask for all of it
    assert 'tracker_processes{role="worker"} 1.0' in watched and 'result="stored"' in received

    for process in started.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(26) for process in started.values()] == [0, 0, 0]


def test_a_broker_that_is_away_at_start_is_told_and_work_is_done(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    redis_server.kill()
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    site.start()
    wait_for(lambda: any(row.synced_at for row in site.rows(t.accounts)), 40)
    journey(site)
    site.scan("delivered", "arrived_at_destination")
    wait_for(site.delivered, 40)

    assert "broker away" in site.ready()
    assert '"broker_away"' in site.logs()


def test_a_frozen_redis_delays_no_answer(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    site.start()
    redis_server.freeze()
    site.scan("in_transit", "departed_facility")
    try:
        assert site.send()  # the client's time-out is 10 s; a wake-up has a thread of its own
    finally:
        redis_server.thaw()

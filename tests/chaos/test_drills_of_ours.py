"""The faults of the table (README.md) that are of the machine, of a payload or of our own processes."""

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
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.app.site import Site
from tests.certificates import serving
from tests.chaos.drill import arrives, journey, post, sqlite_site
from tests.conftest import wait_for
from tracker.app.client import AccountClient, NoVault
from tracker.app.connections import Connections
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import Transient
from tracker.plugin.calls import Request
from tracker.plugin.conformance import example_settings, plugin_of
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import current, head, migrate

pytestmark = pytest.mark.process


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
    ends = system_now() + timedelta(days=-1 if wrong == "date" else 1)
    context = serving(tmp_path, "elsewhere" if wrong == "host" else "localhost", ends)
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
    connections, host = Connections({"localhost"}), f"https://localhost:{listening.getsockname()[1]}"
    client = AccountClient(
        Account("account", "dhl", source), NoVault(), connections=connections, timeout=5, now=system_now
    )
    if wrong != "issuer":  # trusted, so that only the other thing is wrong
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        http = connections.take(host)
        http._transport._pool._ssl_context = trusting  # type: ignore[attr-defined]
        connections.give_back(host, http)
    said = {"host": "Hostname mismatch", "date": "expired", "issuer": "self-signed"}[wrong]
    with pytest.raises(Transient, match=said):
        client.send(Request("GET", f"{host}/x"))
    connections.close()
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
    told = site.logs().replace("webhook", "").replace('"hooks":', "")  # what is covered says whether hooks come
    assert "hook" not in told

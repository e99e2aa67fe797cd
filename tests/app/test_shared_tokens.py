"""One token an account: three processes of eight threads, a real server that gives tokens, a revoked one, a stopped holder."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from tests.app.peer import Peer
from tests.app.token_users import LIFE, THREADS, Clock, TokenServer, User
from tests.conftest import wait_for
from tracker.app.client import AccountClient, NoVault
from tracker.app.connections import Connections
from tracker.clock import system_now
from tracker.config.model import Account
from tracker.domain.errors import Transient
from tracker.pipeline import tokens
from tracker.plugin.calls import Request, Token
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.seal import Seal

pytestmark = pytest.mark.process
KEY = Fernet.generate_key().decode()


class Site:
    """A server, a database, and processes that share a token."""

    def __init__(self, database: str, folder: Path, stack: ExitStack) -> None:
        self.database, self.file, self._stack = database, folder / "clock", stack
        self.clock = Clock(self.file)
        self.server = TokenServer(self.clock)
        stack.callback(self.server.close)
        self.store = Store(database, pool_size=1)
        stack.callback(self.store.close)
        self.users: list[User] = []

    def start(self, count: int = 3, key: str = KEY) -> list[User]:
        new = [User(self.database, self.server.port, self.file, key) for _ in range(count)]
        for user in new:
            self._stack.callback(user.end)
        self.users += new
        return new

    def all_call(self, calls: int = 2) -> None:
        """Have every thread call; no call fails."""
        for user in self.users:
            user.go(calls)
        self.all_done(calls)

    def all_done(self, calls: int = 2) -> None:
        for user in self.users:
            assert user.join() == {"done": THREADS * calls}

    def row(self) -> sa.Row[tuple[object, ...]]:
        with self.store.read() as connection:
            return connection.execute(sa.select(t.tokens)).one()

    def nothing_is_held(self) -> None:
        """Wait for a moment in which no process has a connection, and none of the database's is in a transaction.

        Who waits looks at the database now and then; a transaction that is open while somebody asks would never end here.
        """
        wait_for(lambda: sum(user.held() for user in self.users) == 0)
        if not self.store.sqlite:
            open_ = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
            with self.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                wait_for(lambda: connection.exec_driver_sql(open_).scalar_one() == 0)


@pytest.fixture
def site(database: str, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(database, tmp_path, stack)


def test_three_processes_of_eight_threads_ask_once_each_expiry_also_where_a_token_is_revoked_or_its_holder_stopped(
    site: Site,
) -> None:
    server = site.server
    server.let.clear()
    users = site.start()
    for user in users:
        user.go()
    assert server.holds.acquire(timeout=60)  # one asks, all others wait
    site.nothing_is_held()
    server.let.set()
    site.all_done()
    assert server.asked == 1
    for expiry in (2, 3):  # it ended
        site.clock.move(seconds=LIFE + 1)
        site.all_call()
        assert server.asked == expiry

    server.let.clear()  # near its end one renews, and nobody waits for that
    site.clock.move(seconds=LIFE - 60)
    for user in users:
        user.go()
    assert server.holds.acquire(timeout=60)
    wait_for(lambda: server.called >= (3 * 3 + 3) * THREADS * 2 - 3)
    site.nothing_is_held()
    server.let.set()
    site.all_done()
    assert (server.asked, server.refused) == (4, 0)

    site.clock.move(minutes=10)  # one is revoked
    server.revoke()
    site.all_call()
    assert server.asked == 5
    assert server.refused <= 3 * THREADS
    assert "canary" not in str(site.row())


def test_a_holder_that_is_stopped_while_it_asks_costs_one_request_more_and_overwrites_nothing_when_it_wakes_up(
    site: Site,
) -> None:
    server = site.server
    first, *others = users = site.start()
    site.all_call()
    site.clock.move(seconds=LIFE + 1)
    server.let.clear()
    first.go()
    assert server.holds.acquire(timeout=60)  # its request is sent
    first.signal(signal.SIGSTOP)
    for user in others:
        user.go()
    server.let.set()
    site.clock.move(seconds=31)  # its lease ends
    for user in others:
        assert user.join() == {"done": THREADS * 2}
    assert server.asked == 3
    kept = site.row()
    first.signal(signal.SIGCONT)

    assert first.join() == {"done": THREADS * 2}
    assert site.row() == kept
    site.all_call()
    assert server.asked == 3
    assert server.refused == 0
    assert len(users) == 3


def test_a_holder_that_was_stopped_before_it_asked_asks_nobody_when_it_wakes_up(store: Store, monkeypatch) -> None:
    """Its claim is another's by then: `WITHIN` is over, whatever its call may take."""
    monkeypatch.setattr(tokens, "WITHIN", -1.0)
    peer, connections = Peer(), Connections({"127.0.0.1"})
    account = Account("account", "dhl", cast(Any, object()), credentials="x")
    shared = tokens.AccessTokens(tokens.TokenRows(store, Seal(KEY), print))
    client = AccountClient(account, NoVault(), connections=connections, timeout=5, now=system_now, tokens=shared)

    def ask() -> Token:
        client.send(Request("POST", f"http://127.0.0.1:{peer.port}/token"))
        raise AssertionError("it asked")

    with pytest.raises(Transient, match="the total deadline has passed"):
        client.token(ask)
    assert peer.requests == []
    connections.close()
    peer.close()

"""Public keys from outside: a process that receives, one that works, and a shop that signs; on both databases."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.app.site import Site
from tests.conftest import wait_for
from tracker.clock import system_now
from tracker.sandbox.base import Outgoing
from tracker.sandbox.fakes.saleor import SaleorServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t

BODY = b'{"issuedAt": "2026-11-02T08:00:00Z", "order": {"id": "T3JkZXI6MQ=="}, "n": %d}'


def test_no_hook_is_lost_and_none_makes_us_ask_at_will(database: str, tmp_path: Path, request: Any) -> None:
    apart = not database.startswith("sqlite")  # roles in processes of their own, as many as one likes
    broker = request.getfixturevalue("redis_server").url if apart else "none"
    saleor = SaleorServer("saleor", system_now, key="s")
    with ExitStack() as stack:
        servers = FakeServers([saleor])
        base = f"http://127.0.0.1:{servers.start()}/saleor"
        stack.callback(servers.stop)
        entry = f'  saleor: {{uses: saleor, base_url: "{base}", app_token: "${{file:s}}", sweep_every: 10h}}\n'
        site = Site(database, tmp_path, stack, broker=broker, more=entry)

        def post(hook: Outgoing) -> int:
            url = f"http://127.0.0.1:{site.port}/webhooks/saleor"
            return site.http.post(url, content=hook.body, headers=hook.headers).status_code

        def may_ask_now() -> None:
            with site.store.write() as connection:
                past = t.accounts.update().where(t.accounts.c.name == "saleor")
                connection.execute(past.values(keys_due_at=datetime(2026, 1, 1, tzinfo=UTC)))

        web = site.start("web" if apart else "up")
        first = saleor.signed(BODY % 1)
        assert post(first) == 503  # before there is any key
        if apart:
            assert saleor.calls["keys"] == 0  # who receives asks nobody
            site.start("worker")
            site.start("scheduler")  # who wakes the worker when a minute is over: no hook does
        wait_for(lambda: post(first) == 200)
        assert saleor.calls["keys"] == 1

        web.send_signal(signal.SIGKILL)
        web.wait()
        site.start("web" if apart else "up")
        assert post(saleor.signed(BODY % 2)) == 200  # a process that begins finds the key in the database
        assert saleor.calls["keys"] == 1

        saleor.renew_key()
        other = saleor.signed(BODY % 3)
        assert post(other) == 503
        may_ask_now()
        wait_for(lambda: post(other) == 200)
        assert saleor.calls["keys"] == 2

        forged = saleor.signed(BODY % 4, secret="nobody's")
        assert {post(saleor.signed(BODY % n, secret="nobody's")) for n in range(10, 40)} == {503}
        assert post(forged) == 503
        assert saleor.calls["keys"] == 2  # asked a moment ago: not again within a minute
        may_ask_now()
        wait_for(lambda: post(forged) == 401)
        assert saleor.calls["keys"] == 3

        assert _stored(site) == {BODY % 1, BODY % 2, BODY % 3}
        assert "nobody's" not in site.logs()


def _stored(site: Site) -> set[bytes]:
    inbox: sa.Table = t.inbox
    rows: Any = site.rows(inbox, inbox.c.account == "saleor", inbox.c.kind == "webhook")
    return {row.body for row in rows}

"""ShipRocket through real processes: whoever knows the address and the token can say Delivered, and nothing is written before its API says so."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.app.site import Site
from tests.conftest import wait_for
from tracker.clock import system_now
from tracker.config.model import hook_id
from tracker.sandbox import scenario
from tracker.sandbox.base import Outgoing
from tracker.sandbox.fakes.shiprocket import ShipRocketServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t

AWB, TOKEN = "19041424751540", "0123456789abcdef0123456789abcdef"


def scan(number: str, word: str, seconds: float) -> dict[str, Any]:
    """A scan of so long ago (below 0: whole seconds on, so that it is never before the shop was connected)."""
    at = system_now().replace(microsecond=0) - timedelta(seconds=seconds)
    more = dict.fromkeys(("letters", "text", "region", "country"), "")
    return {"at": at, "code": number, "type": word, "city": "Pune", "service": "parcel-de", "head": False, **more}


@pytest.mark.process
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # how a hint waits is proved on both by tests/pipeline
def test_a_forged_delivered_with_the_right_token_is_asked_about_and_never_written(
    database: str, tmp_path: Path
) -> None:
    courier = ShipRocketServer("shiprocket-main", system_now, key="s", hook="hook")
    with ExitStack() as stack:
        servers = FakeServers([courier])
        base = f"http://127.0.0.1:{servers.start()}/shiprocket-main"
        stack.callback(servers.stop)
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "token").chmod(0o600)
        (tmp_path / "more.yaml").write_text(
            f'accounts:\n  shiprocket-main: {{uses: shiprocket, base_url: "{base}", email: api@shop.example, password: "${{file:s}}", '
            'webhook_secrets: "${file:hook}", webhook_token: "${file:token}"}\n'
        )
        site = Site(database, tmp_path, stack, more="include: [more.yaml]\n")
        site.start()
        wait_for(lambda: bool(site.rows(t.accounts, t.accounts.c.name == "shop", t.accounts.c.cursor.isnot(None))))

        def push(one: Outgoing, address: str = hook_id("shiprocket-main"), token: str = TOKEN) -> int:
            url = f"http://127.0.0.1:{site.port}/webhooks/{address}/{token}"
            return site.http.post(url, content=one.body, headers=one.headers).status_code

        def pushed(told: dict[str, Any]) -> Outgoing:
            made = courier.webhook(scenario.Scan(account="shiprocket-main", number=AWB), told)
            assert made is not None
            return made

        courier.history[AWB].append(scan("42", "PICKED UP", -2))
        site.shop.on_place(scenario.Place(order="#1"), system_now())
        site.shop.on_ship(scenario.Ship(order="#1", company="Delhivery", numbers=(AWB,)), system_now())
        wait_for(lambda: (site.send(), "CARRIER_PICKED_UP" in site.shown())[1])

        asked = courier.calls["track"]
        forged = pushed(scan("7", "DELIVERED", -3))
        courier.history[AWB] = [one for one in courier.history[AWB] if one["code"] != "7"]
        assert push(forged, token="0" * 32) == 401
        assert push(Outgoing("x", forged.body, {"x-api-key": "hook "[:3]})) == 401
        assert push(forged) == 200
        wait_for(lambda: courier.calls["track"] > asked)  # it is a hint: the API is asked at once
        wait_for(lambda: all(row.state == "done" for row in site.rows(t.inbox, t.inbox.c.account == "shiprocket-main")))
        (hint,) = site.rows(t.scans, t.scans.c.code == "7")
        assert hint.confirmed_at is None
        assert "DELIVERED" not in site.shown()

        courier.history[AWB].append(scan("7", "DELIVERED", -4))
        true = pushed(courier.history[AWB][-1])
        assert push(true, "shiprocket-main") == 200  # by its name, too
        wait_for(lambda: "DELIVERED" in site.shown())
        assert (courier.complaints, courier.calls["login"]) == ([], 1)

"""What every drill needs: an order whose parcel is on its way, its delivery that arrives, and a payload from outside."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.app.site import NUMBER, Site
from tests.conftest import wait_for
from tracker.clock import system_now
from tracker.store import tables as t


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

"""An installation with two shops whose page is looked at over real HTTP."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from tests.lab import TOKEN, UPS, USPS, Lab
from tracker.app.servers import Servers
from tracker.store import tables as t
from tracker.upkeep import counting

HOSTILE = "<script>alert(1)</script>\"'{{7*7}}<img src=//evil.example onerror=x>\x1b[31m\u202egnp"
KART = "kart-token-of-24-characters"
PAGE = """
page: {port: 0, token: "${file:FOLDER/token}", tokens: {kart: {token: "${file:FOLDER/kart}", stores: kart}}}
"""
ONE = pytest.mark.parametrize("site", ["sqlite"], indirect=True)


class Site:
    """An installation with two shops, and browsers that look at it."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self.lab = lab
        self.servers = Servers(lab.ctx, list, lambda: b"")
        thread = threading.Thread(target=self.servers.run, daemon=True)
        thread.start()
        assert self.servers.started(), self.servers.problem
        stack.callback(thread.join, 5)
        stack.callback(self.servers.stop)
        self._stack = stack
        self.url = f"http://127.0.0.1:{self.servers.ports()[-1]}"

    def browser(self, address: str = "127.0.0.1") -> httpx.Client:
        way = httpx.HTTPTransport(local_address=address)
        return self._stack.enter_context(httpx.Client(base_url=self.url, trust_env=False, timeout=20, transport=way))

    def looker(self, token: str = TOKEN) -> httpx.Client:
        browser = self.browser()
        assert browser.post("/login", data={"token": token}).status_code == 303
        return browser

    def order(self, number: str) -> Any:
        return self.lab.one(
            t.orders, t.orders.c.number == number, t.orders.c.store == ("kart" if number == "#7" else "shop")
        )


def play(lab: Lab) -> Lab:
    lab.work()
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.order("#7", USPS)
    lab.order("#8", "00340434161094042557", company="DHL")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.scan(lab.ups, UPS, "I", "998", hours=1, text=HOSTILE + " signed by MARGARET SMITH")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.later(8)
    lab.rest.set("#7", "seller", status="Delivered")
    lab.shop.set("#7", cancelledAt="2026-11-02T08:00:00Z")
    lab.work()
    lab.later(26)
    counting.count(lab.ctx)
    return lab


class Reader(HTMLParser):
    """Reads a page as a browser does: its elements, and the texts that are shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [str(attrs["href"]) for tag, attrs in self.tags if tag == "a" and attrs.get("href")]


def addresses(site: Site) -> list[str]:
    payload = site.lab.rows(t.inbox)[0].id
    parcel = site.lab.parcel(UPS).id
    return [
        "/", "/drift", "/findings?closed=true", "/accounts", "/codes", "/find?q=7", f"/orders/{site.order('#7').id}", f"/parcels/{parcel}",
        f"/payloads/{payload}", "/carriers", "/carriers/parcels?show=handed_over",
    ]  # fmt: skip

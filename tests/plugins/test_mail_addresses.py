"""Each platform tells to whom an order's mails go, when it is asked, from a shop that refuses what its API does not know."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.lab import START
from tracker.app.client import Clients, NoVault
from tracker.clock import PlayClock
from tracker.config.load import load_text
from tracker.config.model import Account
from tracker.domain.errors import NotFound, Refused, Transient
from tracker.plugin.calls import Request, Response
from tracker.sandbox import find
from tracker.sandbox.scenario import Place
from tracker.sandbox.servers import FakeServers

ANNA = "anna@example.net"
NAMES = ["shopify", "rest", "bigcommerce", "woocommerce", "magento", "saleor", "generic"]
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples"
ACCOUNTS: dict[str, Account] = {}


@contextmanager
def shops(tmp_path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Account], Clients]]:
    """Put up a shop of each platform, with two orders in it: #1 names a customer, #2 nobody."""
    clock = PlayClock(START)
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("secret-of-the-shop-0123456789")
    fakes = {name: find.fakes()[name](name, clock, key="secret-of-the-shop-0123456789", hook="") for name in NAMES}
    servers = FakeServers(list(fakes.values()))
    port = servers.start()
    stores = {}
    try:
        for name, fake in fakes.items():
            for number in ("#1", "#2"):
                fake.on_place(Place(order=number), clock())
            fake.addresses |= {"#1": ANNA, "#2": None}
            stores[name] = {
                "uses": name,
                **fake.settings(f"http://127.0.0.1:{port}/{name}", f"${{file:{key}}}", f"${{file:{key}}}"),
            }
        entry = (EXAMPLE / "ecwid.yaml").read_text().split("stores:\n  ecwid:\n")[1]
        said = {**_yaml(entry), **stores["generic"]}
        said |= {"secrets": {"key": f"${{file:{key}}}"}}
        for part in (said["read"], said["sweep"], said["webhook"], *said["writes"].values()):
            part["sample"] = str(EXAMPLE / part["sample"])
        said["webhook_secrets"] = f"${{file:{key}}}"
        said["webhook_token"] = f"${{file:{key}}}"
        stores["generic"] = said
        config = load_text(json.dumps({"network": {"allow": ["127.0.0.1"]}, "stores": stores}))
        clients = Clients(allow=["127.0.0.1"], timeout=5.0, now=lambda: datetime.now(UTC), vault=lambda _: NoVault())
        yield fakes, dict(config.accounts), clients
        clients.close()
    finally:
        servers.stop()


def _yaml(text: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load("\n".join(line[4:] for line in text.splitlines()))
    return found


def test_each_shop_tells_to_whom_an_orders_mails_go_or_that_it_names_nobody(tmp_path: Path) -> None:
    with shops(tmp_path) as (fakes, accounts, clients):
        for name in NAMES:
            platform, client = accounts[name].platform, clients(accounts[name])
            assert platform.tells_address, name
            refs = [
                str(fakes[name].orders[number][key])
                for number in ("#1", "#2")
                for key in ("id", "ref", "entity_id")
                if key in fakes[name].orders[number]
            ][:2]
            if name == "generic":
                refs = [fakes[name].orders[number]["id"] for number in ("#1", "#2")]
            assert platform.mail_address(client, refs[0]) == ANNA, name
            assert platform.mail_address(client, refs[1]) == "", name
            other = {"shopify": "gid://shopify/Order/9", "saleor": "T3JkZXI6eHg="}.get(name, "99999")
            with pytest.raises(NotFound):
                platform.mail_address(client, other)
        for name, said in (("shopify", "ACCESS_DENIED"), ("rest", "without a contact")):
            fakes[name].hides_addresses = True
            with pytest.raises(Refused, match=said):
                accounts[name].platform.mail_address(
                    clients(accounts[name]), str(fakes[name].orders["#1"].get("id") or fakes[name].orders["#1"]["ref"])
                )


class Answers:
    """A client to which a shop answers this, whatever is asked."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def send(self, _request: Request) -> Response:
        return Response(200, {"content-type": "application/json"}, self._body, START)

    def now(self) -> datetime:
        return START

    def token(self, ask: Callable[[], Any], refused: str | None = None) -> str:
        return "token"


def test_an_answer_without_what_was_asked_for_is_never_an_order_without_an_address(tmp_path: Path) -> None:
    with shops(tmp_path) as (_, accounts, _clients):
        for name in ("rest", "bigcommerce", "woocommerce", "magento", "generic"):
            with pytest.raises(Transient):
                accounts[name].platform.mail_address(Answers(b'{"order": []}' if name == "rest" else b'{"x": 1}'), "1")  # type: ignore[arg-type]
        described = accounts["generic"].platform
        facts = described.settings.facts.model_copy(update={"email": None})
        other = type(described)("generic", described.settings.model_copy(update={"facts": facts}))
        assert not other.tells_address
        with pytest.raises(Refused, match=r"facts\.email"):
            other.mail_address(Answers(b"{}"), "1")  # type: ignore[arg-type]
        with pytest.raises(Refused, match="this plugin cannot tell"):
            super(type(described), described).mail_address(Answers(b"{}"), "1")  # type: ignore[arg-type, misc]

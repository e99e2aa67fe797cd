"""A Magento store as its operator meets it: events through real processes, the answer that a merchant's action waits for, and what `check` says."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from tests.app.press import Pressed
from tests.app.site import Site
from tests.app.test_web import WEB, Receiver
from tests.conftest import wait_for
from tests.key_pairs import pair, pem
from tracker.clock import system_now
from tracker.sandbox.fakes.magento import MagentoServer
from tracker.sandbox.servers import FakeServers
from tracker.sandbox.used import StoreUsed
from tracker.store import tables as t

CLIENT = "0123456789abcdef0123456789abcdef"
HOOK = "x-adobe-commerce-webhook-signature"
BODY = b'{"data":{"order":{"entity_id":%d}}}'


def proof(body: bytes) -> dict[str, str]:
    made = pair("hook").sign(base64.b64encode(body), padding.PKCS1v15(), hashes.SHA256())
    return {HOOK: base64.b64encode(made).decode()}


def test_a_webhook_is_answered_at_once_so_that_the_merchants_action_goes_on_and_only_where_it_is_stored(
    make_lab: Any,
) -> None:
    key = pem(pair("hook")).replace("\n", "\\n")
    store = f'  mg: {{uses: magento, base_url: "https://m.example", access_token: "${{file:FOLDER/s}}", webhook_key: "{key}"}}'
    lab = make_lab(yaml=f"{store}\n{WEB}")
    with ExitStack() as stack:
        receiver = Receiver(lab, stack)

        def post(body: bytes, headers: dict[str, str]) -> tuple[int, bytes, str]:
            told = receiver.http.post("/webhooks/mg", content=body, headers=headers)
            return told.status_code, told.content, told.headers.get("content-type", "")

        one = BODY % 42
        assert post(one, proof(one)) == (200, b'{"op":"success"}', "application/json")
        assert post(one, proof(one)) == (200, b'{"op":"success"}', "application/json")  # a repeated one
        assert post(one, proof(BODY % 43))[0] == 401
        assert post(one, {})[0] == 401
        assert receiver.http.get("/webhooks/mg?challenge=abc").status_code == 401  # no I/O events are set up
        assert {row.account for row in lab.rows(t.inbox, t.inbox.c.kind == "webhook")} == {"mg"}


@pytest.mark.process
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # keys on both: test_keys_of_processes
def test_an_event_waits_for_its_key_and_then_its_order_is_read(database: str, tmp_path: Path) -> None:
    used = StoreUsed(uses="magento", settings={"events_client_id": CLIENT})
    shop = MagentoServer("mg", system_now, key="s", used=used)
    with ExitStack() as stack:
        servers = FakeServers([shop])
        base = f"http://127.0.0.1:{servers.start()}/mg"
        stack.callback(servers.stop)
        entry = (
            f'  mg: {{uses: magento, base_url: "{base}", access_token: "${{file:s}}", events_client_id: "{CLIENT}", '
            f'events_keys_url: "{base}", sweep_every: 10h}}\n'
        )
        site = Site(database, tmp_path, stack, more=entry)
        site.start()
        wait_for(lambda: bool(shop.calls["shipments"]))  # the first sweep, of an empty shop
        order = shop.place("000000101", system_now(), "processing", [("cup", 1, True)])
        event = shop.outgoing.pop()

        def post() -> int:
            url = f"http://127.0.0.1:{site.port}/webhooks/mg"
            return site.http.post(url, content=event.body, headers=event.headers).status_code

        assert post() == 503
        wait_for(lambda: post() == 200)  # by the second of two keys: the first was taken away
        wait_for(lambda: bool(site.rows(t.orders, t.orders.c.ref == str(order["entity_id"]))))
        assert shop.complaints == []


@pytest.mark.process
def test_check_says_which_way_in_is_closed_and_what_the_merchant_must_do(tmp_path: Path) -> None:
    shop = MagentoServer("mg", system_now, key="another")
    servers = FakeServers([shop])
    base = f"http://127.0.0.1:{servers.start()}/mg"
    (tmp_path / "s").write_text("s")
    (tmp_path / "s").chmod(0o600)
    (tmp_path / "tracker.yaml").write_text(
        f"database: sqlite:///{tmp_path}/x.db\nbroker: none\nnetwork: {{allow: [127.0.0.1]}}\naccounts: {{}}\n"
        f'stores:\n  mg: {{uses: magento, base_url: "{base}", access_token: "${{file:s}}", statuses: {{delivered: delivered}}, '
        "policy: {preset: marketplace-guide}}\n"
    )
    try:
        code, said = _ended(tmp_path, "check", str(tmp_path / "tracker.yaml"))
    finally:
        servers.stop()
    assert code == 1
    assert "access Magento_Sales::actions_view" in said
    assert "oauth/consumer/enable_integration_as_bearer" in said
    assert "adds a comment that only staff see" in said


def _ended(folder: Path, *words: str) -> tuple[int, str]:
    log = folder / "log"
    code = Pressed([*words], {"PATH": "", "HOME": "/", "USER": "ada"}, log).wait(60)
    return code, log.read_text()

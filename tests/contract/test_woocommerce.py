"""WooCommerce against what is told of it: signature vectors, the documentation's example orders, and each request of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import SecretStr

from tests.contract.test_key_vectors import vector
from tests.contract.test_shared import SHARED
from tracker.domain.errors import SourceError, WebhookRejected
from tracker.domain.facts import Action, Order, Parcel, Payload, Refs, Since
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.calls import Request
from tracker.plugin.conformance import AT, Recorder, example_settings, plugin_of
from tracker.plugin.hooks import Hook

SPECS = SHARED / "platforms" / "specs"
pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the shared folder is not here")


def shop(**settings: Any) -> Any:
    plugin = plugin_of("adapters.woocommerce")
    return plugin("s", example_settings(plugin, **settings))


def test_the_signature_vectors_pass_and_their_twins_fail() -> None:
    told = vector("woocommerce-twins")
    first = next(
        one
        for one in json.loads((SPECS / "signature-vectors.json").read_text())["vectors"]
        if one["scheme"] == "woocommerce"
    )
    header = told["request"]["headers"]["X-WC-Webhook-Signature"]
    assert (first["secret"], first["expected"]) == (told["key"]["secret"], header)

    def check(secret: str, wrong: Any) -> int:
        request = {**told["request"], **wrong}
        headers = {name.lower(): value for name, value in request["headers"].items()}
        source = shop(webhook_secrets=[SecretStr(secret)])
        return int(source.verify(Payload("s", "webhook", (request["body_utf8"].encode(),), AT, headers)))

    for secret in (told["key"]["secret"], told["key"]["secret_as_stored_by_shop"]):
        assert check(secret, {}) == 0
        assert len(told["must_fail"]) == 3
        for wrong in told["must_fail"]:
            with pytest.raises(WebhookRejected):
                check(secret, wrong)
    ping = Payload("s", "webhook", (told["must_fail"][2]["body_utf8"].encode(),), AT)
    assert shop().handshake(ping) is not None


def test_the_documentations_example_orders_are_read() -> None:
    samples: list[Any] = json.loads((SPECS / "woocommerce" / "samples" / "orders.json").read_text())
    rows = [
        row
        for one in samples
        for row in (one if isinstance(one, list) else [one])
        if isinstance(row, dict) and "order_key" in row
    ]
    assert len(rows) > 3
    for row in rows:
        (found,) = [
            one
            for one in shop().normalize(Payload("s", "read", (json.dumps(row).encode(), b"[]", b"[]"), AT))
            if isinstance(one, Order)
        ]
        assert (found.ref, found.number, len(found.items)) == (str(row["id"]), row["number"], len(row["line_items"]))
        assert found.status is not OrderStatus.UNKNOWN
    refunds = json.loads((SPECS / "woocommerce" / "samples" / "order-refunds.json").read_text())[2]
    row = {**rows[0], "line_items": [{"id": 311, "quantity": 2, "name": "Album"}],
           "refunds": [{"id": one["id"], "total": f"-{one['amount']}"} for one in refunds]}  # fmt: skip
    parts = tuple(json.dumps(part).encode() for part in (row, [], [], refunds))
    (one,) = shop().normalize(Payload("s", "read", parts, AT))
    assert [(item.ref, item.removed) for item in one.items] == [("311", 1)]


def requests() -> Iterator[Request]:
    """Yield every kind of request that the plugin makes."""
    source = shop(statuses={"shipped": "shipped"})
    rows = (b'{"id": 727, "refunds": [{"id": 1}], "meta_data": []}', b"[]", b'{"namespaces": ["wc/v3"]}', b"[]")
    before = next(iter(source.normalize(Payload("s", "read", _order(), AT))))
    parcels = (Parcel("ups", "1Z999AA10123456784"), Parcel("ups", "1Z999AA10123456793"))
    fulfilment = json.dumps({"status": "fulfilled", "meta_data": [{"id": 1, "key": "_tracking_number", "value": parcels[0].number},
                                                                  {"id": 2, "key": "_items", "value": [{"item_id": 1, "qty": 1}]}]})  # fmt: skip
    hook = Hook("order.updated", "https://t.example/x", {"name": "n"}, "8")
    told = [
        (rows, lambda c: list(source.fetch(c, Refs(("727",))))), ((b"[]",), lambda c: list(source.fetch(c, Since("2026-11-01T00:00:00+00:00||")))),
        ((b"[]",), source.ping), ((b"[]",), lambda c: list(source.look_around(c))), ((b"[]",), source.hooks_there),
        ((b'{"id": 8}',), lambda c: source.make_hook(c, hook)), ((b'{"id": 8}',), lambda c: source.mend_hook(c, hook)),
        ((b'{"id": 727, "status": "shipped"}',), lambda c: source.push(c, Action("order_status", "k", "s", "727", target=OrderStatus.SHIPPED), before)),
        ((b"[]", b'{"id": 1}'), lambda c: source.push(c, Action("order_note", "k", "s", "727", text="x"), before)),
        ((rows[0],), lambda c: source.push(c, Action("field", "k", "s", "727", field="_f", text="x"), before)),
        ((fulfilment.encode(),), lambda c: source.push(c, Action("number", "k", "s", "727", "1", parcels=parcels), before)),
    ]  # fmt: skip
    for bodies, ask in told:
        client = Recorder(*bodies)
        with suppress(SourceError):
            ask(client)
        yield from client.sent


def _order() -> tuple[bytes, ...]:
    row = json.loads((SPECS / "woocommerce" / "samples" / "orders.json").read_text())[0]
    return tuple(json.dumps(part).encode() for part in (row, [], []))


def test_every_request_is_one_that_the_api_describes() -> None:
    document = yaml.load(
        (SPECS / "woocommerce" / "wc-v3.openapi-3.0.generated-2021.yml").read_text(), Loader=yaml.CSafeLoader
    )
    derived = json.loads((SPECS / "woocommerce" / "order-fulfillments.derived.schema.json").read_text())
    seen = set()
    for request in requests():
        path = request.url.partition("/wp-json/")[2].removeprefix("wc/v3")
        if not path:  # the index of WordPress
            continue
        shape = path.replace("/727", "/{id}").replace("/0/", "/{id}/").replace("webhooks/8", "webhooks/{id}")
        body = json.loads(request.content) if request.content else {}
        if "/fulfillments" in shape:
            assert "/wp-json/wc/v3/orders/{order_id}/fulfillments" in derived["x-paths"]
            if body:
                jsonschema.validate(body, {**derived, "$ref": "#/$defs/update"})
            continue
        shape = shape if shape in document["paths"] else shape.replace("{id}", "{order_id}")
        told = document["paths"][shape][request.method.lower()]
        known = {one["name"] for one in told.get("parameters", ()) if one["in"] == "query"}
        assert {*request.params} <= known, shape
        if body:
            schema = told["requestBody"]["content"]["application/json"]["schema"]
            assert {*body} <= {*schema["properties"]}
            if body.get("status") == "shipped":
                body.pop("status")  # the file knows the statuses of one shop
            jsonschema.validate(body, schema)
        seen.add((request.method, shape))
    assert len(seen) == 11, sorted(seen)

"""Magento: what it is asked and told is what its official schemas take, in 2.4.6, 2.4.9 and the Cloud Service; and Adobe's signature vectors."""

from __future__ import annotations

import gzip
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import adapters.magento as magento
from adapters.magento import asking
from tests.contract.test_key_vectors import good, vector
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Action, Order, Parcel, Payload, Refs, Since
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT, Recorder, example_settings

SPECS = Path(__file__).parents[3] / "shared" / "platforms" / "specs" / "magento"
FILES = ("admin-schema-2.4.6.yaml.gz", "admin-schema-2.4.9.yaml", "accs-schema.yaml.gz")
pytestmark = pytest.mark.skipif(not SPECS.is_dir(), reason="the shared folder is not here")
LIST = {"items": [{"entity_id": 31, "order_id": 42, "updated_at": "2026-11-02 08:00:00", "tracks": [{"entity_id": 7, "track_number": "1ZR589390357567121"}]}],
        "total_count": 1}  # fmt: skip


@cache
def blocks(file: str) -> dict[str, str]:
    """Return the text of each path and definition: to read all of a megabyte takes seconds, and we need a dozen of them."""
    body = (SPECS / file).read_bytes()
    text = (gzip.decompress(body) if file.endswith(".gz") else body).decode()
    parts = re.split(r'^  (?="?[\w/][^ ]*:$)', text, flags=re.MULTILINE)
    return {part.partition("\n")[0].strip('":'): part for part in parts}


@cache
def one(file: str, name: str) -> Any:
    """Return a path or a definition."""
    block = re.split(r"\n(?=\S)", blocks(file)[name])[0]
    ((_, told),) = yaml.safe_load(f"  {block}").items()
    return told


def definitions(file: str, *names: str) -> dict[str, Any]:
    """Return definitions, with what they refer to."""
    found: dict[str, Any] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = one(file, name)
            waiting += re.findall(r"#/definitions/([\w-]+)", json.dumps(found[name]))
    return found


def ref(node: dict[str, Any]) -> str:
    return str(node["$ref"]).rpartition("/")[2]


def shop(cloud: bool) -> Any:
    more = {"access_token": None, "client_id": "c", "client_secret": "s", "ims_org_id": "o"} if cloud else {}
    return magento.Magento("s", example_settings(magento.Magento, **more))


def asked(cloud: bool) -> list[Any]:
    """Return every request that reading and writing make."""
    before = Order("s", "42", "42", OrderStatus.SHIPPED, "complete", PaymentStatus.PAID, "paid", AT, AT)
    parcels = Parcel("ups", "1ZR589390357567121"), Parcel("ups", "1ZR589400357568494")
    actions = [
        Action("order_status", "k", "s", "42", target=OrderStatus.DELIVERED), Action("order_note", "k", "s", "42", text="x"),
        Action("number", "k", "s", "42", fulfilment="31", parcels=parcels),
    ]  # fmt: skip
    found: list[Any] = []
    token = [b'{"access_token": "t"}'] if cloud else []
    lists = json.dumps(LIST).encode()
    for action in actions:
        made = (
            [lists, b'{"track_number": "1ZR589400357568494"}', b"true"] if action.kind == "number" else [lists, b"true"]
        )
        client = Recorder(*token, *made)
        shop(cloud).push(client, action, before)
        found += client.sent
    for query in (Refs(("42",)), Since(json.dumps({"orders": "2026-11-02T08:00:00+00:00"}))):
        client = Recorder(*token, lists)
        list(shop(cloud).fetch(client, query))
        found += client.sent
    return [one for one in found if "/ims/" not in one.url]


@pytest.mark.parametrize("file", FILES)
def test_every_request_is_one_that_the_official_schema_takes(file: str) -> None:
    seen = set()
    paths = [name for name in blocks(file) if name.startswith("/V1/")]
    for request in asked(file.startswith("accs")):
        path = "/V1" + request.url.partition("/V1")[2]
        shape = next(p for p in paths if re.fullmatch(re.sub(r"\{\w+\}", r"[0-9]+", p), path))
        operation = one(file, shape)[request.method.lower()]
        seen.add(f"{request.method} {shape}")
        known = {told["name"] for told in operation.get("parameters", ()) if told["in"] == "query"}
        given = {re.sub(r"\[\d+\]", "[0]", name) for name in request.params} - {"fields"}
        assert given <= known, given - known
        bodies = [told["schema"] for told in operation.get("parameters", ()) if told["in"] == "body"]
        assert bool(request.content) == bool(bodies)
        if request.content:
            ((_, wrapped),) = bodies[0]["properties"].items()
            all_of_it = definitions(file, ref(wrapped))
            jsonschema.validate(json.loads(request.content), {**bodies[0], "definitions": all_of_it})
            ((_, inner),) = json.loads(request.content).items()
            assert {*inner} <= {*all_of_it[ref(wrapped)]["properties"]}
    assert seen == {
        "GET /V1/orders", "GET /V1/orders/{id}", "GET /V1/shipments", "GET /V1/orders/{id}/comments", "POST /V1/orders/{id}/comments",
        "POST /V1/shipment/track", "DELETE /V1/shipment/track/{id}",
    }  # fmt: skip


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("fields", "name"),
    [(asking.ORDER, "sales-data-order-interface"), (asking.SHIPMENT, "sales-data-shipment-interface")],
)
def test_every_field_that_is_asked_for_is_one_of_the_official_schema(file: str, fields: str, name: str) -> None:
    holders, known = [one(file, name)], ""
    for sign in re.findall(r"[\[\],]|[^\[\],]+", fields):
        if sign == "[":
            inner = holders[-1]["properties"][known]
            holders.append(one(file, ref(inner.get("items") or inner)))
        elif sign == "]":
            holders.pop()
        elif sign != ",":
            known = sign
            assert known in holders[-1]["properties"], known
    assert len(holders) == 1


def test_adobes_events_are_proved_as_the_vectors_say() -> None:
    told = vector("adobe-io-events")

    def check(wrong: Any) -> list[Any]:
        ours = wrong.get("client_id", told["key"]["client_id"])
        source = magento.Magento("s", example_settings(magento.Magento, events_client_id=ours))
        gone = wrong.get("unavailable_paths", ())
        source.keys = {path: key for path, key in told["key"]["keys"].items() if path not in gone}
        headers, body = good(told, {name: value for name, value in wrong.items() if name in ("headers", "body_utf8")})
        payload = Payload("s", "webhook", (body,), AT, headers)
        source.verify(payload)
        return list(source.normalize(payload))

    for right in ({}, *told["must_pass"]):
        assert [told_of.ref for told_of in check(right)] == ["42"]
    assert told["must_fail"]
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)
    assert re.fullmatch(told["key"]["path_pattern"], next(iter(told["key"]["keys"])))


def test_commerces_webhooks_are_proved_as_the_vectors_say() -> None:
    told = vector("adobe-commerce-webhook")
    source = magento.Magento("s", example_settings(magento.Magento, webhook_key=told["key"]["public_key_pem"]))

    def check(wrong: Any) -> Payload:
        headers, body = good(told, wrong)
        payload = Payload("s", "webhook", (body,), AT, headers)
        source.verify(payload)
        return payload

    assert [told_of.ref for told_of in source.normalize(check({}))] == ["42"]
    assert told["must_fail"]
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)

"""Against the official contracts in ../shared, where they are at hand (CI); skipped with a reason where they are not."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tracker.domain.facts import Action, Order, Parcel, Parcels, Payload, Refs, Report, Since
from tracker.domain.formats import FORMATS
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason, ShippingStatus
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, example_settings, plugin_of

SHARED = Path(__file__).resolve().parents[3] / "shared"
pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
SPECS = SHARED / "carriers" / "specs"


class Recorder:
    """A client that keeps what it is asked to send and answers what the contract answers."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.sent: list[Request] = []
        self._bodies = list(bodies)

    def now(self) -> Any:
        return AT

    def token(self, ask: Any, refused: str | None = None) -> str:
        return str(ask().value)

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        body = self._bodies.pop(0) if self._bodies else {}
        return Response(200, {}, json.dumps(body).encode(), AT)


def plugin(module: str, **settings: Any) -> Any:
    found = plugin_of(module)
    return found("account", example_settings(found, **settings))


# carriers: our requests against their OpenAPI


def _openapi(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8").replace("\t", " "))
    return found


def _resolve(document: dict[str, Any], node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def test_the_ups_poll_is_what_tracking_yaml_describes() -> None:
    document = _openapi(SPECS / "ups" / "Tracking.yaml")
    client = Recorder({"access_token": "t", "expires_in": "10"})
    list(plugin("carriers.ups").fetch(client, Parcels((Parcel("ups", "1Z5R89390357567127"),))))
    sent = client.sent[1]
    path = next(
        p for p in document["paths"] if "/details/{inquiryNumber}" in p and "reference" not in p and "shipment" not in p
    )
    operation = document["paths"][path]["get"]
    parameters = [_resolve(document, p) for p in operation["parameters"]]

    assert sent.url.endswith("/track/v1/details/1Z5R89390357567127")
    assert {p["name"].lower() for p in parameters if p["in"] == "header" and p.get("required")} <= {
        h.lower() for h in sent.headers
    }
    assert set(sent.params) <= {p["name"] for p in parameters if p["in"] == "query"}


def test_the_ups_subscription_is_what_track_alert_describes() -> None:
    import jsonschema

    document = _openapi(SPECS / "ups" / "UPSTrackAlert.yaml")
    client = Recorder({"access_token": "t", "expires_in": "10"}, {"validTrackingNumbers": []})
    plugin("carriers.ups").register(client, Parcels((Parcel("ups", "1Z5R89390357567127"),)))
    body = json.loads(client.sent[1].content or b"")
    schema = {**document, "$ref": "#/components/schemas/PackageSubscriptionRequest"}

    jsonschema.Draft202012Validator(schema).validate(body)
    assert client.sent[1].url.endswith("/track/v2/subscription/standard/package")


def test_the_ups_token_call_is_what_the_oauth_contract_describes() -> None:
    document = _openapi(SPECS / "ups" / "OAuthClientCredentials.yaml")
    client = Recorder({"access_token": "t", "expires_in": "10"})
    plugin("carriers.ups").ping(client)

    assert "/security/v1/oauth/token" in document["paths"]
    assert client.sent[0].url == "https://onlinetools.ups.com/security/v1/oauth/token"
    assert client.sent[0].basic is not None


def test_the_sample_answers_of_ups_and_easypost_are_read() -> None:
    files = {
        "carriers.ups": [SPECS / "ups" / "sample_tracking_success.json"],
        "carriers.easypost": [
            SPECS / "easypost" / f
            for f in ("event-body.json", "trackers-create.json", "trackers-list.json", "trackers-retrieve.json")
        ],
    }
    for module, paths in files.items():
        source = plugin(module)
        for path in paths:
            reports = list(source.normalize(Payload("a", "poll", (path.read_bytes(),), AT, {})))

            assert reports, path
            assert any(r.scans for r in reports if isinstance(r, Report)), path
            for report in reports:
                for scan in report.scans:
                    meaning = source.meaning(scan.code)
                    assert meaning is not None or scan.code.code == "missing", (path, scan.code)


def test_the_easypost_requests_are_those_of_the_official_cassettes() -> None:
    client = Recorder({"id": "trk_1"})
    plugin("carriers.easypost").register(client, Parcels((Parcel("usps", "EZ1000000001"),)))

    assert client.sent[0].url == "https://api.easypost.com/v2/trackers"
    assert json.loads(client.sent[0].content or b"") == {
        "tracker": {"tracking_code": "EZ1000000001", "carrier": "USPS"}
    }


# code tables: every code of the carriers' own lists has a row


def _codes(carrier: str, file: str = "direct_carriers.csv") -> list[dict[str, str]]:
    with (SPECS / "_status_maps" / file).open(encoding="utf-8", newline="") as opened:
        found = [row for row in csv.DictReader(opened) if row["carrier"] == carrier]
    assert found, carrier
    return found


def test_every_easypost_word_has_a_row() -> None:
    maps = json.loads((SPECS / "aggregators" / "status-map.json").read_text())["maps"]
    table = plugin_of("carriers.easypost").codes  # type: ignore[attr-defined]
    for name, space in (("easypost.status", "status"), ("easypost.status_detail", "detail")):
        ours = {code: said["status"] for code, said in maps[name].items() if said["status"] in set(ShippingStatus)}
        assert set(ours.values()) - {"unknown"}, name
        assert set(maps[name]) <= {code for kind, code in table if kind == space}
        for code, status in ours.items():
            if status != "unknown":
                assert table[space, code].status == status, code


# vectors and numbers


def test_the_official_signature_vectors() -> None:
    from tracker.domain.errors import WebhookRejected

    vectors = json.loads((SPECS / "aggregators" / "webhook-signature-vectors.json").read_text())["vectors"]
    vector = next(v for v in vectors if v["name"] == "easypost-official")
    body = (SPECS / vector["body_file"]).read_bytes().rstrip(b"\n")
    source = plugin("carriers.easypost", webhook_secrets=[vector["secret"]])

    source.verify(Payload("a", "webhook", (body,), AT, {"x-hmac-signature": vector["value"]}))
    assert vector["must_fail"]
    for wrong in vector["must_fail"].values():
        with pytest.raises(WebhookRejected):
            source.verify(Payload("a", "webhook", (body,), AT, {"x-hmac-signature": wrong}))

    told = json.loads((SHARED / "platforms" / "specs" / "signature-vectors.json").read_text())["vectors"]
    of_shopify = [v for v in told if v["scheme"] == "shopify"]
    assert of_shopify
    for v in of_shopify:
        shop = plugin("adapters.shopify", webhook_secrets=[v["secret"]])
        shop.verify(Payload("s", "webhook", (v["body_utf8"].encode(),), AT, {"x-shopify-hmac-sha256": v["expected"]}))


def test_every_number_of_the_data_set_is_recognized_as_it_says() -> None:
    known = {shape.name: shape for shape in FORMATS}
    checked = 0
    for file in sorted((SHARED / "carriers" / "tracking_number_data").glob("*.json")):
        for entry in json.loads(file.read_text(encoding="utf-8"))["tracking_numbers"]:
            shape = known.get(entry["name"])
            if shape is None:
                continue
            for kind in ("valid", "invalid"):
                for number in entry["test_numbers"][kind]:
                    match = shape.pattern.fullmatch(clean(number))
                    fits = match is not None and (shape.check is None or shape.check(match["s"], match["c"]))
                    assert fits == (kind == "valid"), (entry["name"], number)
                    checked += 1
    assert checked > 150


def test_the_vocabulary_holds_every_reason_of_the_design() -> None:
    import re

    text = (SHARED / "design" / "VOCABULARY.md").read_text(encoding="utf-8")
    section = text.split("Reasons (grouped")[1].split("Extra flags")[0]
    named = {n.strip() for m in re.finditer(r"^- (?:`\w+`|any status): (.+)$", section, re.M) for n in m[1].split(",")}

    assert len(named) == 156
    assert named <= set(Reason)


def test_every_ask_is_answered_by_a_page() -> None:
    source = plugin("adapters.shopify")
    page = {"data": {"orders": {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": []}, "nodes": []}}

    assert list(source.fetch(Recorder(page), Since(None)))
    assert list(source.fetch(Recorder(page), Refs(("gid://shopify/Order/1",))))


# BigCommerce: orders V2 and the webhook samples


@pytest.fixture(scope="module")
def orders_v2() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        (SHARED / "platforms" / "specs" / "bigcommerce" / "orders.v2.oas2.yml").read_text(encoding="utf-8")
    )
    return document


def resolved(document: dict[str, Any], node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def properties(document: dict[str, Any], node: Any) -> set[str]:
    node = resolved(document, node)
    found = set(node.get("properties", {}))
    for part in node.get("allOf", []):
        found |= properties(document, part)
    return found


def big(**settings: Any) -> Any:
    return plugin("adapters.bigcommerce", store_hash="abc", base_url="https://api.bigcommerce.com", **settings)


def test_the_bigcommerce_requests_are_those_of_orders_v2(orders_v2: dict[str, Any]) -> None:
    source = big(completed_is_delivered=True)
    row = {"id": 250, "date_modified": "Mon, 02 Nov 2026 09:00:00 +0000"}

    class Rows(Recorder):
        def send(self, request: Request) -> Response:
            self.sent.append(request)
            listed = request.url.endswith(("/orders", "/products", "/shipments"))
            told = {**row, **json.loads(request.content or b"{}")}  # a write shows what it wrote
            return Response(200, {}, json.dumps([row] if listed else told).encode(), AT)

    client = Rows()
    list(source.fetch(client, Since(None)))
    list(source.fetch(client, Refs(("250",))))
    before = Order(
        "s", "250", "#250", OrderStatus.CONFIRMED, "Awaiting Fulfillment", PaymentStatus.PAID, "captured", AT, AT
    )
    source.push(client, Action("order_status", "k", "s", "250", target=OrderStatus.DELIVERED), before)
    templates = {"/orders/250": "/orders/{order_id}", "/orders/250/products": "/orders/{order_id}/products",
                 "/orders/250/shipments": "/orders/{order_id}/shipments"}  # fmt: skip
    for request in client.sent:
        path = request.url.partition("/v2")[2]
        operation = orders_v2["paths"][templates.get(path, path)][request.method.lower()]
        item = orders_v2["paths"][templates.get(path, path)]
        known = {
            resolved(orders_v2, p)["name"] for p in [*operation.get("parameters", []), *item.get("parameters", [])]
        }
        assert set(request.params) <= known | {"limit"}, (path, request.params)
        if request.content:
            schema = resolved(orders_v2, operation["requestBody"])["content"]["application/json"]["schema"]
            assert set(json.loads(request.content)) == {"status_id"} <= properties(orders_v2, schema)
    assert [json.loads(r.content)["status_id"] for r in client.sent if r.content] == [2, 10]


def test_every_bigcommerce_status_of_the_contract_is_read(orders_v2: dict[str, Any]) -> None:
    from adapters.bigcommerce.words import LABELS

    text = json.dumps(orders_v2, default=str)
    assert all(label in text for label in LABELS.values())


def test_every_bigcommerce_webhook_sample_hints_at_its_order() -> None:
    folder = SHARED / "platforms" / "specs" / "bigcommerce" / "webhook-samples"
    files = sorted(folder.glob("*.json"))
    assert files
    for file in files:
        body = file.read_bytes()
        (hint,) = big().normalize(Payload("a", "webhook", (body,), AT))
        data = json.loads(body)["data"]
        assert hint.ref == str(data.get("orderId") or data.get("order_id") or data["id"]), file.name


def test_the_standard_webhooks_vectors() -> None:
    from datetime import UTC, datetime

    vectors = json.loads((SHARED / "platforms" / "specs" / "signature-vectors.json").read_text(encoding="utf-8"))[
        "vectors"
    ]
    done = 0
    for vector in vectors:
        if (
            "standard" not in vector["scheme"]
            or "expected" not in vector
            or "webhook-signature" not in vector["expected"]
        ):
            continue
        module = "adapters.bigcommerce" if vector["scheme"].startswith("bigcommerce") else "adapters.rest"
        source = plugin(
            module,
            webhook_secrets=[vector["secret"]],
            **({"hook_key": None, "store_hash": "abc123"} if "big" in module else {}),
        )
        headers = {**vector["headers"], **vector["expected"]}
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        source.verify(Payload("a", "webhook", (vector["body_utf8"].encode(),), at, headers))
        done += 1
    assert done >= 2

"""The inputs of selling platforms, each with its right value."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tracker.domain.facts import Fulfilment, Order, Payload
from tracker.plugin.conformance import AT, example_settings, plugin_of

HERE = Path(__file__).parent
NUMBERS = yaml.safe_load((HERE / "numbers.yaml").read_text(encoding="utf-8"))


def source(module: str, **settings: Any) -> Any:
    plugin = plugin_of(module)
    return plugin("shop", example_settings(plugin, **settings))


def orders(module: str, *parts: bytes, kind: str = "read", **settings: Any) -> list[Order]:
    found: Iterable[Any] = source(module, **settings).normalize(Payload("shop", kind, parts, AT, {}))
    return [item for item in found if isinstance(item, Order)]


def tracks(fulfilment: Fulfilment) -> list[str]:
    return [f"{parcel.carrier} {parcel.number}" for parcel in fulfilment.parcels]


# numbers as people type them


def by_rest(typed: Any, company: str) -> Fulfilment:
    row = {
        "ref": "R1", "number": "#1", "status": "Shipped", "placed_at": "2026-11-02T08:00:00Z", "updated_at": "2026-11-02T08:00:00Z",
        "fulfilments": [{"ref": "F1", "tracking": [{"carrier": company, "number": typed}]}],
    }  # fmt: skip
    (order,) = orders("adapters.rest", json.dumps({"order": row}).encode())
    return order.fulfilments[0]


def by_shopify(typed: Any, company: str) -> Fulfilment:
    node = {
        "id": "gid://shopify/Order/1", "name": "#1", "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-02T10:00:00Z",
        "displayFulfillmentStatus": "FULFILLED", "displayFinancialStatus": "PAID",
        "fulfillments": [{"id": "gid://shopify/Fulfillment/9", "status": "SUCCESS", "createdAt": "2026-11-01T12:00:00Z",
                          "trackingInfo": [{"company": company, "number": typed}], "events": {"nodes": []}}],
    }  # fmt: skip
    (order,) = orders("adapters.shopify", json.dumps({"data": {"nodes": [node]}}).encode())
    return order.fulfilments[0]


def by_bigcommerce(typed: Any, company: str) -> Fulfilment:
    date = "Mon, 02 Nov 2026 08:00:00 +0000"
    row = {"id": 250, "status_id": 2, "date_created": date, "date_modified": date}
    carrier = {"DHL Express": "dhl"}.get(company, company.lower())
    shipment = {"id": 9, "date_created": date, "tracking_number": typed, "tracking_carrier": carrier}
    (order,) = orders("adapters.bigcommerce", json.dumps(row).encode(), b"[]", json.dumps([shipment]).encode())
    return order.fulfilments[0]


@pytest.mark.parametrize("read", [by_rest, by_shopify, by_bigcommerce])
@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: repr(case["typed"])[:40])
def test_every_platform_reads_numbers_alike(read: Any, case: dict[str, Any]) -> None:
    found = read(case["typed"], case["company"])

    assert tracks(found) == case["tracks"]
    assert found.unreadable == (() if case["tracks"] else (case["typed"],))
    assert all(parcel.typed in ("", case["typed"]) for parcel in found.parcels)


@pytest.mark.parametrize("read", [by_rest, by_shopify, by_bigcommerce])
@pytest.mark.parametrize(
    ("printed", "tracks_", "unreadable"),
    [
        ("9400111206206406260787", ["usps 9400111206206406260787"], ()),
        ("1.23456789012e11", ["usps 123456789012"], ()),
        ("123456789012.0", ["usps 123456789012"], ()),
        ("[9400111206206406260787, 123456789012]", ["usps 9400111206206406260787", "usps 123456789012"], ()),
        ("1.23457e+11", [], ("1.23457e+11",)),
        ("9" * 70, [], ("9" * 64,)),
    ],
)  # fmt: skip
def test_a_number_keeps_all_of_its_digits(
    read: Any, printed: str, tracks_: list[str], unreadable: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps = json.dumps
    monkeypatch.setattr(json, "dumps", lambda value: dumps(value).replace('"PRINTED"', printed))

    found = read("PRINTED", "USPS")

    assert (tracks(found), found.unreadable) == (tracks_, unreadable)


def test_a_json_number_is_a_number() -> None:
    (order,) = orders("adapters.rest", (HERE / "rest-number-as-json-number.read.json").read_bytes())

    assert tracks(order.fulfilments[0]) == ["fedex 123456789012"]


def test_a_character_that_nobody_sees_hides_no_number() -> None:
    (order,) = orders("adapters.shopify", (HERE / "shopify-invisible-character.read.json").read_bytes())

    assert tracks(order.fulfilments[0]) == ["ups 1ZR589390357567121"]
    assert order.fulfilments[0].parcels[0].typed == "1ZR589390357567121\u200b"

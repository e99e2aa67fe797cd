"""A BigCommerce store for tests, and what may stand in an answer of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from tracker.domain.facts import Order, Payload
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bigcommerce"
BASE = "https://api.bigcommerce.com/stores/abc/v2"
V3 = BASE.replace("/v2", "/v3")
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
ROW = json.loads((FIXTURES / "order.read.json").read_text(encoding="utf-8"))
PRODUCTS = [
    {"id": 501, "name": "A cup", "quantity": 2, "quantity_refunded": 1, "quantity_shipped": 1, "type": "physical"},
    {"id": 502, "name": "A code", "quantity": 1, "type": "digital"},
]
SHIPMENTS = [
    {
        "id": 9, "order_id": 250, "date_created": "Tue, 20 Nov 2012 01:00:00 +0000", "tracking_number": "1Z R58", "tracking_carrier": "ups",
        "shipping_provider": "", "shipping_method": "Ground", "items": [{"order_product_id": 501, "quantity": 1}],
    },
    {"id": 10, "order_id": 250, "date_created": "Tue, 20 Nov 2012 01:00:00 +0000", "tracking_number": "", "items": None},
]  # fmt: skip


def store(make, **more):
    return make(
        "adapters.bigcommerce",
        **{"store_hash": "abc", "base_url": "https://api.bigcommerce.com", "hook_key": None, **more},
    )


def read(source, row=ROW, *, whole: bool = True, told=(), products=PRODUCTS, shipments=SHIPMENTS, **more):
    """Read an order; `told`: lists of V3 that came with it."""
    parts = [json.dumps({**row, **more}).encode()]
    parts += [json.dumps(products).encode(), json.dumps(shipments).encode()] if whole else []
    parts += [json.dumps({"data": rows, "meta": {}}).encode() for rows in told]
    return list(source.normalize(Payload("s", "read", tuple(parts), AT)))


def order(status: OrderStatus, raw: str) -> Order:
    return Order("s", "250", "#250", status, raw, PaymentStatus.PAID, "captured", T0, T0)

"""A store that speaks the order API, for tests, and what may stand in an answer of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import yaml

from tracker.domain.facts import Order, Payload
from tracker.plugin.conformance import AT

FIXTURES = Path(__file__).parents[1] / "fixtures" / "rest"
DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "order-api.openapi.yaml").read_text(encoding="utf-8"))
BASE = "https://shop.example/api"
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


def shop(make, **more):
    return make("adapters.rest", **{"base_url": BASE, "words": "kingston", **more})


def schema(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def order_row(**more) -> dict:
    row = {
        "ref": "R1",
        "number": "#1",
        "status": "Processing",
        "placed_at": "2026-11-01T08:00:00Z",
        "updated_at": "2026-11-02T08:00:00Z",
    }
    return {**row, **more}


def read(source, **more) -> Order:
    body = json.dumps({"order": order_row(**more)}).encode()
    (order,) = source.normalize(Payload("s", "read", (body,), AT))
    return order

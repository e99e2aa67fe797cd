"""Saleor: every operation validates against the official schema, and each of its words has a translation."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

import adapters.saleor as saleor

SCHEMA = Path(__file__).parents[3] / "shared" / "platforms" / "specs" / "saleor" / "schema.graphql.gz"
pytestmark = pytest.mark.skipif(not SCHEMA.is_file(), reason="the shared folder is not here")


@pytest.fixture(scope="module")
def schema() -> Any:
    from graphql import build_schema

    return build_schema(gzip.decompress(SCHEMA.read_bytes()).decode(), assume_valid=True)


@pytest.mark.parametrize("name", ["ORDERS", "READ", "PING", "NOTES", "ADD_NOTE", "SET_FIELD"])
def test_every_operation_validates_against_the_official_schema(schema: Any, name: str) -> None:
    from graphql import parse, validate

    assert validate(schema, parse(getattr(saleor, name))) == []


def test_the_subscription_that_we_ask_for_is_one_and_names_every_event_that_is_read(schema: Any) -> None:
    from graphql import parse, validate

    told = saleor.__doc__ or ""
    subscription = told[told.index("subscription {") :]
    assert validate(schema, parse(subscription)) == []
    for event in ("OrderUpdated", "OrderCancelled", "FulfillmentTrackingNumberUpdated"):
        assert f"... on {event} " in subscription


def test_every_word_of_the_schema_has_a_translation(schema: Any) -> None:
    def words(name: str) -> set[str]:
        return set(schema.type_map[name].values)

    assert words("OrderStatus") == set(saleor.Saleor.statuses)
    assert words("PaymentChargeStatusEnum") == set(saleor.PAYMENTS)
    assert words("FulfillmentStatus") == saleor.DEAD | {"FULFILLED", "WAITING_FOR_APPROVAL"}
    assert "SUCCESS" in words("OrderGrantedRefundStatusEnum")
    assert {"FULL", "OVERCHARGED"} <= words("OrderChargeStatusEnum")

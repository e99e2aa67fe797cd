"""Shopify: every operation and event that we send is one that the official schema takes, and each of its words has a translation."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.contract.test_shared import SHARED, Recorder, plugin
from tracker.domain.facts import Action, Order, Place
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, Reason
from tracker.plugin.conformance import AT

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)


@pytest.fixture(scope="module")
def schemas() -> list[Any]:
    from graphql import build_client_schema, build_schema

    folder = SHARED / "platforms" / "specs" / "shopify"
    introspection = json.loads(gzip.decompress((folder / "admin_2026-04.introspection.json.gz").read_bytes()))
    return [
        build_client_schema(introspection.get("data", introspection), assume_valid=True),
        build_schema(
            gzip.decompress((folder / "admin_2026-01.schema.graphql.gz").read_bytes()).decode(), assume_valid=True
        ),
    ]


def documents() -> dict[str, str]:
    """Every operation that we send, by its name."""
    from adapters.shopify import queries, reads

    return {
        name: text
        for module in (queries, reads)
        for name, text in vars(module).items()
        if isinstance(text, str) and text.startswith(("query ", "mutation ")) and "%s" not in text
    }


def test_every_shopify_operation_validates_against_the_official_schema(schemas: list[Any]) -> None:
    from graphql import parse, validate

    found = documents()
    assert {
        "ORDERS",
        "READ",
        "LINES",
        "ROUTES",
        "ROUTE_LINES",
        "PART_IDS",
        "PARTS_BY_ID",
        "PART",
        "CREATE",
        "START",
    } <= set(found)
    for name, text in found.items():
        for schema in schemas:
            assert validate(schema, parse(text)) == [], name


def cost(schema: Any, text: str, variables: dict[str, int]) -> int:
    """Requested cost by the published rule: an object 1, a connection 2 and each node that may come, a scalar 0 (shopify.dev, rate limits).

    A plain list is counted like a connection here, which is more than the rule says.
    """
    from graphql import FieldNode, get_named_type, parse

    def of(selections: Any, type_: Any) -> int:
        return sum(
            of_field(one, type_) if isinstance(one, FieldNode)
            else of(one.selection_set, schema.type_map[one.type_condition.name.value])
            for one in selections.selections
        )  # fmt: skip

    def of_field(field: FieldNode, type_: Any) -> int:
        inner = get_named_type(type_.fields[field.name.value].type)
        if not field.selection_set:
            return 0
        wanted = [one.value for one in field.arguments or () if one.name.value in ("first", "ids")]
        size = next((int(variables[v.name.value] if v.kind == "variable" else v.value) for v in wanted), 1)  # type: ignore[attr-defined]
        if not inner.name.endswith("Connection"):
            return size * (1 + of(field.selection_set, inner))
        parts: list[Any] = list(field.selection_set.selections)
        rows = [
            size * (1 + of(one.selection_set, get_named_type(inner.fields["nodes"].type)))
            for one in parts
            if one.name.value == "nodes"
        ]
        return 2 + sum(rows) + len(parts) - len(rows)

    definition: Any = parse(text).definitions[0]
    return of(definition.selection_set, schema.query_type)


def test_no_query_asks_for_more_than_a_single_one_may_cost(schemas: list[Any]) -> None:
    from adapters.shopify import reads

    sizes = {"first": reads.PAGE, "ids": reads.PAGE, "most": reads.MOST}
    for schema in schemas:
        costs = {
            name: cost(schema, text, {**sizes, **({"ids": reads.CHUNK} if name == "PARTS_BY_ID" else {})})
            for name, text in documents().items() if text.startswith("query ")
        }  # fmt: skip
        assert max(costs.values()) <= 1_000, costs
        assert (costs["ORDERS"], costs["READ"]) == (987, 984)  # one order more would be too many
        assert max(cost_ for name, cost_ in costs.items() if name not in ("ORDERS", "READ")) < 510, costs


def test_the_bulk_query_is_one_that_shopify_takes(schemas: list[Any]) -> None:
    """Valid, edges and nodes only, five connections at most, two levels below the root, none below a plain list (bulk operations guide)."""
    from graphql import (
        FieldNode,
        TypeInfo,
        TypeInfoVisitor,
        Visitor,
        get_nullable_type,
        is_list_type,
        parse,
        validate,
        visit,
    )

    from adapters.shopify.reads import BULK_FIELD, bulk

    class Connections(Visitor):
        def __init__(self, types: Any) -> None:
            super().__init__()
            self.types, self.inside, self.depths = types, [], []

        def enter_field(self, node: FieldNode, *_: Any) -> None:
            told = get_nullable_type(self.types.get_type())
            is_connection = str(told).endswith("Connection")
            if is_connection:
                assert "plain list" not in self.inside
                self.depths.append(self.inside.count("connection"))
                fields = {one.name.value for one in node.selection_set.selections} if node.selection_set else set()
                assert fields == {"edges"}
            plain = is_list_type(told) and node.name.value != "edges"
            self.inside.append("connection" if is_connection else "plain list" if plain else "")

        def leave_field(self, *_: Any) -> None:
            self.inside.pop()

    for schema in schemas:
        span = " created_at:>='2026-10-02' created_at:<'2026-11-02'"
        for said in (bulk(), bulk(span), bulk(field=BULK_FIELD % ("custom", "shipping_status"))):
            document = parse(said)
            assert validate(schema, document) == []
            types = TypeInfo(schema)
            found = Connections(types)
            visit(document, TypeInfoVisitor(types, found))
            assert (found.depths, len(document.definitions[0].selection_set.selections)) == ([0, 1, 1, 2], 1)


def test_the_states_of_a_bulk_operation_are_those_of_the_schema(schemas: list[Any]) -> None:
    for schema in schemas:
        assert set(schema.type_map["BulkOperationStatus"].values) == {
            "CREATED", "RUNNING", "CANCELING", "COMPLETED", "EXPIRED", "FAILED", "CANCELED",
        }  # fmt: skip
        assert set(schema.type_map["BulkOperationUserErrorCode"].values) >= {"OPERATION_IN_PROGRESS", "LIMIT_REACHED"}
        assert "DELIVERED" in schema.type_map["FulfillmentDisplayStatus"].values


def test_the_fulfilment_event_we_send_is_what_the_schema_takes(schemas: list[Any]) -> None:
    from graphql.utilities import validate_input_value

    source = plugin("adapters.shopify")
    events = {"data": {"fulfillment": {"id": "f", "events": {"nodes": []}}}}
    made = {"data": {"fulfillmentEventCreate": {"fulfillmentEvent": {"id": "e"}, "userErrors": []}}}
    for status in source.status_map():
        client = Recorder(events, made)
        action = Action(
            "fulfilment_event",
            "k",
            "s",
            "o",
            "gid://shopify/Fulfillment/9",
            status,
            Reason.WEATHER,
            AT,
            Place("A", "B", "C", "US"),
            AT,
        )
        source.push(client, action, Order("s", "o", "#1", OrderStatus.SHIPPED, "", PaymentStatus.PAID, "", AT, AT))
        sent = json.loads(client.sent[-1].content or b"")["variables"]["e"]
        problems: list[Any] = []
        validate_input_value(
            sent, schemas[0].type_map["FulfillmentEventInput"], lambda *said, found=problems: found.append(said)
        )

        assert problems == [], status


def test_every_order_and_payment_word_of_the_schema_has_a_translation(schemas: list[Any]) -> None:
    from adapters.shopify import Shopify
    from adapters.shopify.words import PAYMENTS, READS, WORDS

    words = set(schemas[0].type_map["OrderDisplayFulfillmentStatus"].values)
    paid = set(schemas[0].type_map["OrderDisplayFinancialStatus"].values)
    shown = set(schemas[0].type_map["FulfillmentEventStatus"].values)

    assert words <= set(Shopify.statuses)
    assert paid <= set(PAYMENTS)
    assert shown == set(READS)
    assert set(WORDS.values()) <= shown


def test_every_word_of_routes_addresses_and_holds_is_one_of_the_schema(schemas: list[Any]) -> None:
    from adapters.shopify.reading import ADDRESSES
    from adapters.shopify.routing import BY_PARCEL, NO_PARCEL, OVER

    for schema in schemas:
        assert set(schema.type_map["DeliveryMethodType"].values) == BY_PARCEL | NO_PARCEL
        assert set(schema.type_map["MailingAddressValidationResult"].values) == set(ADDRESSES)
        assert set(schema.type_map["FulfillmentOrderStatus"].values) > OVER | {"SCHEDULED", "ON_HOLD"}
        assert "INCORRECT_ADDRESS" in schema.type_map["FulfillmentHoldReason"].values
        assert {"attributeToApp", "attributeToUser", "action", "createdAt"} <= set(schema.type_map["Event"].fields)

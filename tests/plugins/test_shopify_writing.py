"""Shopify: the shipping status in a metafield and in a tag; looked at before, proved after, refused in the shop's words."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from tests.plugins.shopify import GID, T0, URL, node, shop
from tracker.domain.errors import BadPayload, Refused, Transient
from tracker.domain.facts import Action, Order, Payload, Receipt, Refs
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus

REF = f"{GID}1"
FIELD = Action("field", "k", "s", REF, status=ShippingStatus.DELIVERED, field="acme.shipping", text="delivered")
TAG = Action("tag", "k", "s", REF, status=ShippingStatus.DELIVERED, field="shipping", text="shipping:delivered")


def before(**more) -> Order:
    return Order("s", REF, "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0, **more)


def asked(outside, *bodies: dict):
    answers = iter(bodies)
    return outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))


def told(mutation: str, *problems: str, **made) -> dict:
    return {"data": {mutation: {**made, "userErrors": [{"field": ["id"], "message": said} for said in problems]}}}


def tagged(mutation: str, *tags: str) -> dict:
    return told(mutation, node={"id": REF, "tags": list(tags)})


def variables(call) -> dict:
    return json.loads(call.request.content)["variables"]


def test_a_metafield_is_set_under_the_namespace_and_key_of_the_policy(outside, make) -> None:
    calls = asked(
        outside, told("metafieldsSet", metafields=[{"namespace": "acme", "key": "shipping", "value": "delivered"}])
    )
    source, client = shop(make)

    assert source.push(client, FIELD, before(shown="in_transit")) == Receipt("acme.shipping", proof="delivered")
    value = {"namespace": "acme", "key": "shipping", "value": "delivered", "type": "single_line_text_field"}
    assert variables(calls.calls[0]) == {"m": [{"ownerId": REF, **value}]}


def test_a_metafield_that_shows_it_already_is_not_written(outside, make) -> None:
    source, client = shop(make)

    assert source.push(client, FIELD, before(shown="delivered")).already_there


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (told("metafieldsSet", "Value must be one of the choices", metafields=None), Refused),
        (told("metafieldsSet", metafields=[]), Transient),
        (told("metafieldsSet", metafields=[{"value": "other"}, None]), Transient),
        ({"data": {}}, BadPayload),
    ],
)
def test_a_metafield_that_the_answer_does_not_show_is_not_written(outside, make, answer, error) -> None:
    asked(outside, answer)
    source, client = shop(make)

    with pytest.raises(error):
        source.push(client, FIELD, before())


def test_the_metafield_that_the_policy_names_is_read_and_asked_for(outside, make) -> None:
    source, client = shop(make)
    source.status_field = "shipping_status"
    calls = asked(outside, {"data": {"nodes": [node(1, shown={"value": "in_transit"}), node(2, shown=None)]}})
    (page,) = source.fetch(client, Refs((REF, f"{GID}2")))
    one, other = source.normalize(Payload("a", "read", page.parts, datetime(2026, 11, 3, tzinfo=UTC)))

    assert (one.shown, other.shown) == ("in_transit", "")
    assert variables(calls.calls[0]) == {
        "ids": [REF, f"{GID}2"], "namespace": "custom", "key": "shipping_status", "named": True,
        "addressed": True, "routed": True, "acted": True,
    }  # fmt: skip


def test_our_tag_is_added_first_and_our_former_ones_are_taken_away_then(outside, make) -> None:
    calls = asked(
        outside,
        tagged("tagsAdd", "Shipping:In_Transit", "shipping:delivered", "shipping:free", "vip"),
        tagged("tagsRemove", "shipping:delivered", "shipping:free", "vip"),
    )
    source, client = shop(make)
    receipt = source.push(client, TAG, before(tags=("Shipping:In_Transit", "shipping:free", "vip")))

    assert receipt == Receipt("shipping:delivered", proof="shipping:delivered")
    assert [variables(call)["tags"] for call in calls.calls] == [["shipping:delivered"], ["Shipping:In_Transit"]]


def test_a_tag_that_stands_there_in_any_case_is_not_added_again(outside, make) -> None:
    calls = asked(outside, tagged("tagsRemove", "SHIPPING:DELIVERED"))
    source, client = shop(make)

    assert source.push(client, TAG, before(tags=("SHIPPING:DELIVERED", "vip"))).already_there
    source.push(client, TAG, before(tags=("SHIPPING:DELIVERED", "shipping:in_transit")))
    assert [variables(call)["tags"] for call in calls.calls] == [["shipping:in_transit"]]  # the removal that was lost


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([told("tagsAdd", "is too long", node=None)], Refused),
        ([tagged("tagsAdd", "vip")], Transient),
        ([told("tagsAdd", node=None)], BadPayload),
        ([tagged("tagsAdd", "shipping:delivered"), told("tagsRemove", "no", node=None)], Refused),
        ([tagged("tagsAdd", "shipping:delivered"), tagged("tagsRemove", "shipping:picked_up")], Transient),
    ],
)
def test_a_tag_that_the_answer_does_not_show_or_shows_still_is_no_success(outside, make, answers, error) -> None:
    calls = asked(outside, *answers)
    source, client = shop(make)

    with pytest.raises(error):
        source.push(client, TAG, before(tags=("shipping:picked_up",)))
    assert len(calls.calls) == len(answers)  # who refuses the new tag keeps the former one


# notes

NOTE = Action(
    "order_note",
    "k",
    "s",
    REF,
    happened_at=datetime(2026, 11, 3, 9, 30, 5, tzinfo=UTC),
    text="Rang twice,\n nobody there",
)
LINE = "[2026-11-03 09:30:05Z] Rang twice, nobody there"


def noted(note: str | None) -> dict:
    return {"data": {"order": {"id": REF, "note": note}}}


def shown(note: str | None, *problems: str) -> dict:
    return told("orderUpdate", *problems, order={"id": REF, "note": note})


@pytest.mark.parametrize(
    ("there", "whole"),
    [
        (None, LINE),
        ("  ", LINE),
        ("Please gift-wrap\nThank you!\n", f"Please gift-wrap\nThank you!\n{LINE}"),
        (
            LINE.replace("09:30:05", "09:30:04"),
            f"{LINE.replace('09:30:05', '09:30:04')}\n{LINE}",
        ),  # the same words, said before
    ],
)
def test_a_note_is_a_line_below_what_the_merchant_and_the_buyer_wrote(outside, make, there, whole) -> None:
    calls = asked(outside, noted(there), shown(whole))
    source, client = shop(make)

    assert source.push(client, NOTE, before()) == Receipt(REF, proof="note")
    assert variables(calls.calls[1]) == {"i": {"id": REF, "note": whole}}


def test_the_same_note_twice_is_one_line(outside, make) -> None:
    asked(outside, noted(f"Please gift-wrap\n{LINE}\nand ring"))
    source, client = shop(make)

    assert source.push(client, NOTE, before()).already_there


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ([noted("x" * 4990)], Refused, "would have 5038 characters, and 5000 is the most"),
        ([{"data": {"order": None}}], Refused, "the order is not there"),
        ([noted("mine"), shown("mine")], Transient, "does not show it"),
        ([noted("mine"), shown(None, "is too long")], Refused, "is too long"),
        ([noted(7)], BadPayload, "must be a text"),
    ],
)
def test_a_note_never_cuts_what_stands_there_and_is_proved_by_the_answer(outside, make, answers, error, said) -> None:
    calls = asked(outside, *answers)
    source, client = shop(make)

    with pytest.raises(error, match=said):
        source.push(client, NOTE, before())
    assert len(calls.calls) == len(answers)

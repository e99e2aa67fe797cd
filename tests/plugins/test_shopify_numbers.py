"""Shopify: a number that a person corrects. The mutation replaces all of a fulfilment's, so all are sent, and nobody is mailed."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.plugins.shopify import GID, T0, URL, shop
from tracker.domain.errors import BadPayload, Refused, Transient
from tracker.domain.facts import Action, Order, Parcel, Receipt
from tracker.domain.vocabulary import OrderStatus, PaymentStatus

REF, OLD, NEW = "gid://shopify/Fulfillment/9", "1ZR589390357567121", "1ZR589400357568494"
ACTION = Action("number", "k", "s", f"{GID}1", REF, parcels=(Parcel("ups", OLD), Parcel("ups", NEW)))
BEFORE = Order("s", f"{GID}1", "#1", OrderStatus.SHIPPED, "FULFILLED", PaymentStatus.PAID, "PAID", T0, T0)
LINK = "https://ups.example/track?n="


def there(*rows: tuple, status: str = "SUCCESS") -> dict:
    told = [{"company": company, "number": number, "url": url} for company, number, url in rows]
    return {"data": {"fulfillment": {"id": REF, "status": status, "trackingInfo": told}}}


def made(*numbers: str, problems: tuple[str, ...] = ()) -> dict:
    found = {"id": REF, "trackingInfo": [{"number": number} for number in numbers]}
    errors = [{"field": None, "message": said} for said in problems]
    return {"data": {"fulfillmentTrackingInfoUpdate": {"fulfillment": found, "userErrors": errors}}}


def pushed(outside, make, *bodies: dict, action: Action = ACTION) -> tuple[Receipt, list[dict]]:
    answers = iter(bodies)
    route = outside.post(URL).mock(side_effect=lambda _: httpx.Response(200, json=next(answers)))
    source, client = shop(make)
    receipt = source.push(client, action, BEFORE)
    return receipt, [json.loads(call.request.content) for call in route.calls]


def test_the_full_list_is_sent_with_the_company_and_the_links_and_nobody_is_mailed(outside, make) -> None:
    rows = ("UPS", "1Z999AA10123456784", f"{LINK}1"), ("UPS", OLD, f"{LINK}{OLD}")
    receipt, sent = pushed(outside, make, there(*rows), made("1Z999AA10123456784", NEW))

    assert receipt == Receipt(REF, proof=NEW)
    assert sent[1]["variables"]["notify"] is False
    info = {"numbers": ["1Z999AA10123456784", NEW], "urls": [f"{LINK}1", f"{LINK}{NEW}"], "company": "UPS"}
    assert sent[1]["variables"]["t"] == info


@pytest.mark.parametrize(
    ("rows", "info"),
    [
        ([("", OLD, None)], {"numbers": [NEW]}),
        ([("UPS", OLD, "https://shop.example/track")], {"numbers": [NEW], "company": "UPS"}),
        ([("UPS", OLD, f"{LINK}{OLD}"), (None, "see mail", None)], {"numbers": [NEW, "see mail"], "company": "UPS"}),
        ([("UPS", f"{OLD}, 1Z999AA10123456784", None)], {"numbers": [f"{NEW}, 1Z999AA10123456784"], "company": "UPS"}),
        ([("UPS", f"UPS: {OLD}", None)], {"numbers": [NEW], "company": "UPS"}),
    ],
)
def test_what_others_typed_stays_and_a_link_without_the_old_number_is_left_to_shopify(
    outside, make, rows, info
) -> None:
    _, sent = pushed(outside, make, there(*rows), made(*info["numbers"]))

    assert sent[1]["variables"]["t"] == info


def test_a_number_that_was_corrected_already_is_not_written_again(outside, make) -> None:
    receipt, sent = pushed(outside, make, there(("UPS", NEW, None)))

    assert (receipt.already_there, len(sent)) == (True, 1)


@pytest.mark.parametrize(
    ("answers", "error", "said"),
    [
        ([there(("UPS", "1Z999AA10123456784", None))], Refused, "does not stand there any more"),
        ([there(("UPS", OLD, None), ("UPS", NEW, None))], Refused, "stands beside"),
        ([there(("UPS", f"{OLD} {OLD} 1Z999AA10123456784", None))], Refused, "only a person can correct"),
        ([there(("UPS", OLD, None), status="CANCELLED")], Refused, "the fulfilment is cancelled"),
        ([there(*[("UPS", f"N{i}", None) for i in range(250)])], Refused, "250 numbers or more"),
        ([{"data": {"fulfillment": None}}], Transient, "not there"),
        ([{"data": {}}], BadPayload, "fulfillment"),
        ([there(("UPS", OLD, None)), made(OLD)], Transient, "does not show them"),
        ([there(("UPS", OLD, None)), made(NEW, problems=("Tracking is locked",))], Refused, "Tracking is locked"),
    ],
)
def test_what_cannot_be_corrected_is_refused_and_what_is_not_shown_is_tried_again(
    outside, make, answers, error, said
) -> None:
    with pytest.raises(error, match=said):
        pushed(outside, make, *answers)

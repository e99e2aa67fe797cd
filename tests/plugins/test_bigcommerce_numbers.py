"""BigCommerce: a number that a person corrects, alone: neither the pieces nor the carrier of the shipment are touched."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.plugins.bigcommerce import BASE, SHIPMENTS, order, store
from tracker.domain.errors import BadPayload, NotFound, Refused, Transient
from tracker.domain.facts import Action, Parcel, Receipt
from tracker.domain.vocabulary import OrderStatus

OLD, NEW = "1ZR589390357567121", "1ZR589400357568494"
ACTION = Action("number", "k", "s", "250", "9", parcels=(Parcel("ups", OLD), Parcel("ups", NEW)))
SHIPMENT = f"{BASE}/orders/250/shipments/9"


def pushed(outside, make, answer=None, **row):
    """Correct the number of a shipment; `answer`: what a write is answered, where that is not what was written."""
    outside.get(SHIPMENT).respond(json={**SHIPMENTS[0], "tracking_number": OLD, **row})

    def written(request: httpx.Request) -> httpx.Response:
        return answer or httpx.Response(200, json={**SHIPMENTS[0], **json.loads(request.content)})

    asked = outside.put(SHIPMENT).mock(side_effect=written)
    source, client = store(make)
    receipt = source.push(client, ACTION, order(OrderStatus.SHIPPED, "Shipped"))
    return receipt, [json.loads(call.request.content) for call in asked.calls]


@pytest.mark.parametrize(
    ("row", "body"),
    [
        ({}, {"tracking_number": NEW}), ({"tracking_number": f"{OLD}, X123456789"}, {"tracking_number": f"{NEW}, X123456789"}),
        ({"tracking_link": f"https://t.example/{OLD}"}, {"tracking_number": NEW, "tracking_link": f"https://t.example/{NEW}"}),
        ({"tracking_link": "https://t.example/"}, {"tracking_number": NEW}), ({"tracking_link": None}, {"tracking_number": NEW}),
    ],
)  # fmt: skip
def test_the_number_is_written_alone_and_stands_in_the_merchants_link_too(outside, make, row, body) -> None:
    receipt, sent = pushed(outside, make, **row)

    assert (receipt, sent) == (Receipt("9", proof=NEW), [body])


def test_a_number_that_was_corrected_already_is_not_written_again(outside, make) -> None:
    receipt, sent = pushed(outside, make, tracking_number=NEW)

    assert (receipt.already_there, sent) == (True, [])


@pytest.mark.parametrize(
    ("row", "answer", "error", "said"),
    [
        ({"tracking_number": "X123456789"}, None, Refused, "does not stand there any more"), ({"tracking_number": None}, None, BadPayload, "must be a text"),
        ({"tracking_number": 7}, None, Refused, "does not stand"), ({"tracking_number": True}, None, BadPayload, "must be a text"),
        ({"tracking_number": f"{OLD} {OLD}, X123456789"}, None, Refused, "only a person can correct"),
        ({"tracking_number": f"{OLD}, {'X123456789 ' * 5}"}, None, Refused, "50 characters at most"),
        ({}, httpx.Response(200, json={"tracking_number": OLD}), Transient, "does not show it"), ({}, httpx.Response(404), NotFound, "HTTP 404"),
        ({}, httpx.Response(400, json=[{"status": 400, "message": "The field is invalid."}]), Refused, "is invalid"),
    ],
)  # fmt: skip
def test_what_cannot_be_corrected_is_refused_and_what_is_not_shown_comes_again(
    outside, make, row, answer, error, said
) -> None:
    with pytest.raises(error, match=said):
        pushed(outside, make, answer, **row)

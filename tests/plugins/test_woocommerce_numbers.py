"""A person corrects a tracking number in a WooCommerce shop: in a fulfilment, in Shipment Tracking, in AST."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.plugins.test_woocommerce import fulfilment, read, shop
from tests.plugins.test_woocommerce_requests import API, NO_ORDER, ORDER, made
from tracker.domain.errors import BadPayload, Refused, Transient
from tracker.domain.facts import Action, Parcel

OLD, NEW = "1Z999AA10123456784", "1Z999AA10123456793"
CORE, PLUGIN, AST = f"{ORDER}/fulfillments/1", "wc-shipment-tracking/v3", "wc-ast/v3"


def action(ref: str = "1") -> Action:
    return Action("number", "k", "s", "727", ref, parcels=(Parcel("ups", OLD), Parcel("ups", NEW)))


def told(number: str, **more: Any) -> dict[str, Any]:
    meta = {"_tracking_number": number, "_shipment_provider": "ups", "_tracking_url": f"https://u.example/{number}"}
    return fulfilment(**{**meta, "_items": [{"item_id": 315, "qty": 2}], "_ours": 7, **more})


def push(make: Any, what: Action, **settings: Any) -> Any:
    source, client = made(make, **{"tracking": ["fulfillments"], **settings})
    return source.push(client, what, read(shop(), [], []))


def test_all_of_a_fulfilments_meta_is_sent_as_what_is_left_out_is_deleted_and_it_is_read_once_more(
    make, outside
) -> None:
    outside.get(CORE).mock(side_effect=[httpx.Response(200, json=told(number)) for number in (OLD, NEW)])
    put = outside.put(CORE).respond(json=told(NEW))

    assert push(make, action()).proof == NEW
    sent = put.calls[0].request
    assert json.loads(sent.content) == {"status": "fulfilled", "meta_data": told(NEW)["meta_data"]}
    assert sent.url.params["notify_customer"] == "false"


def test_a_number_that_is_corrected_already_is_not_written_again(make, outside) -> None:
    outside.get(CORE).respond(json=told(NEW))
    assert push(make, action()).already_there


@pytest.mark.parametrize(
    ("there", "kind", "said"),
    [
        (told(OLD, _is_locked=True, _lock_message="Label was bought"), Refused, "locked: Label was bought"),
        (told(OLD, _is_locked="1"), Refused, "locked: no reason given"), ({**told(OLD), "date_deleted": "2026-11-02"}, Refused, "deleted"),
        (told("1Z999AA10123456700"), Refused, "does not stand there"), ({**told(OLD), "meta_data": [7]}, BadPayload, "must be an object"),
        ({**told(OLD), "status": "packed"}, Transient, "does not show it"),  # stored nothing, and answered that it did
    ],
)  # fmt: skip
def test_a_fulfilment_that_is_locked_gone_or_keeps_its_number_is_told(
    make, outside, there: Any, kind: Any, said: str
) -> None:
    outside.get(CORE).respond(json=there)
    put = outside.put(CORE).respond(json=there)
    with pytest.raises(kind, match=said):
        push(make, action())
    assert all("status" not in json.loads(call.request.content) for call in put.calls)


def row(number: str, ref: str = "a1", **more: Any) -> dict[str, Any]:
    return {
        "tracking_id": ref,
        "tracking_provider": "UPS",
        "tracking_number": number,
        "date_shipped": "2026-11-02",
        **more,
    }


CUSTOM = {"custom_tracking_provider": "Acme", "custom_tracking_link": f"https://a.example/{OLD}"}


@pytest.mark.parametrize(
    ("namespace", "more", "sent"),
    [
        (PLUGIN, {}, {"tracking_provider": "UPS", "date_shipped": "2026-11-02"}), (PLUGIN, {"date_shipped": "02.11.2026"}, {"tracking_provider": "UPS"}),
        (PLUGIN, {**CUSTOM, "date_shipped": ""}, {"custom_tracking_provider": "Acme", "custom_tracking_link": f"https://a.example/{NEW}"}),
        (AST, {}, {"tracking_provider": "UPS", "status_shipped": 0, "replace_tracking": 0}),
    ],
)  # fmt: skip
def test_a_plugin_gets_the_right_tracking_before_the_wrong_one_is_deleted(
    make, outside, namespace: str, more: Any, sent: Any
) -> None:
    path = f"{API}/{namespace}/orders/727/shipment-trackings"
    outside.get(path).respond(json=[row(OLD, **more), 7])
    posted = outside.post(path).respond(201, json=row(NEW, "b2"))
    deleted = outside.delete(f"{path}/a1").respond(json=row(OLD))

    name = "ast" if namespace == AST else "shipment_tracking"
    assert push(make, action("t-a1"), tracking=[name]).proof == NEW
    assert json.loads(posted.calls[0].request.content) == {"tracking_number": NEW, **sent}
    assert deleted.call_count == 1


def test_a_correction_that_ended_half_way_goes_on_where_it_was(make, outside) -> None:
    path = f"{API}/{PLUGIN}/orders/727/shipment-trackings"
    posted = outside.post(path).respond(201, json=row("", "b2"))
    outside.get(path).respond(json=[row(OLD), row(NEW, "b2")])
    deleted = outside.delete(f"{path}/a1").respond(404, json=NO_ORDER)
    settings = {"tracking": ["shipment_tracking"]}

    assert push(make, action("t-a1"), **settings).proof == NEW  # the answer to the first call was lost
    assert (posted.call_count, deleted.call_count) == (0, 1)
    outside.get(path).respond(json=[row(NEW, "b2")])
    assert push(make, action("t-a1"), **settings).already_there
    outside.get(path).respond(json=[row(NEW)])
    assert push(make, action("t-a1"), **settings).already_there
    outside.get(path).respond(json=[])
    with pytest.raises(Refused, match="any more"):
        push(make, action("t-a1"), **settings)
    outside.get(path).respond(json=[row(OLD)])
    with pytest.raises(Transient, match="does not show it"):
        push(make, action("t-a1"), **settings)


def test_what_stands_in_a_meta_key_or_in_a_plugin_that_is_gone_is_corrected_by_no_one_but_its_plugin(make) -> None:
    for ref, said in (("m-727", "meta key"), ("t-a1", "answers here any more")):
        with pytest.raises(Refused, match=said):
            push(make, action(ref))

"""The plain way: a payload to a scan, to a summary, to a decision, to a write."""

from __future__ import annotations

from tests.lab import UPS, USPS, shipped
from tracker.store import tables as t


def test_a_signed_webhook_alone_leads_to_scan_summary_decision_and_write(make_lab) -> None:
    lab = shipped(make_lab)
    lab.change(t.watches.update().values(next_poll_at=None))
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.work()

    assert lab.parcel(USPS).status == "in_transit"
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.outbox).state == "sent"
    assert lab.one(t.outbox).receipt["ref"].startswith("gid://shopify/FulfillmentEvent/")
    assert lab.rows(t.decisions)[0].because
    assert {row.state for row in lab.rows(t.inbox)} == {"done", "ignored"}


def test_what_we_wrote_is_read_back_and_changes_nothing_more(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(4)

    order = lab.one(t.orders)
    assert order.facts["fulfilments"][0]["published"]["raw"] == "IN_TRANSIT"
    lab.later(4)
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.orders).version == order.version
    assert "trackwright" in {row.actor for row in lab.rows(t.order_versions)}


def test_a_scan_told_by_a_shared_secret_waits_for_the_poll_it_causes(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "D", "011")
    outgoing = lab.ups.alert(UPS, scan)
    lab.ups.history.clear()  # a forger who knows the secret: polls do not see it
    lab.post(outgoing)
    lab.work("ingest")

    assert lab.parcel(UPS).status == "unknown"
    assert lab.one(t.watches).next_poll_at == lab.clock()
    lab.work()
    assert lab.writes() == []

    lab.ups.history[UPS].append(scan)
    lab.later(1)
    lab.later(6)
    assert lab.parcel(UPS).status == "delivered"
    assert lab.writes() == [("#1001", "DELIVERED")]


def test_an_unconfirmed_scan_moves_the_parcel_but_writes_nothing(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "I", "021")
    lab.ups.history.clear()
    lab.post(lab.ups.alert(UPS, scan))
    lab.work("ingest", "decide", "push")

    assert lab.parcel(UPS).status == "out_for_delivery"
    rule = f"waits_for_confirmation:{lab.shop.orders['#1001']['fulfillments'][0]['id']}"
    assert rule in lab.rows(t.decisions)[-1].because
    assert lab.writes() == []

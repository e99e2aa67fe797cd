"""Numbers as people type them: doubted, told, and asked of nobody where they are none."""

from __future__ import annotations

from tests.lab import UPS, Lab, Make
from tracker.store import tables as t


def test_a_number_whose_check_digit_is_wrong_is_asked_about_and_doubted_until_the_carrier_knows_it(
    make_lab: Make,
) -> None:
    lab: Lab = make_lab()
    lab.work()
    wrong = UPS[:-1] + "2"
    lab.order("#1", wrong, company="UPS")
    lab.order("#2", UPS, company="UPS")
    lab.work()
    (doubt,) = lab.rows(t.findings, t.findings.c.kind == "tracking_number_doubtful")
    assert (doubt.subject, doubt.closed_at) == (f"shop/#1/ups/{wrong}", None)

    lab.scan(lab.ups, wrong, "I", "038")
    lab.later(7)
    assert lab.parcel(wrong).status == "picked_up"
    assert "tracking_number_doubtful" not in lab.open_findings()


def test_that_a_carrier_answers_with_an_error_that_it_does_not_know_a_number_is_news_of_its_order(
    make_lab: Make,
) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", "1234567890", company="DHL")  # DHL answers 404: no payload tells of it
    lab.work()

    assert {row.tracking_state for row in lab.rows(t.watches)} == {"not_found"}
    assert "tracking_number_doubtful" in lab.open_findings()


def test_what_is_no_number_is_asked_of_nobody_and_told_until_it_is_mended(make_lab: Make) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", "picked up in store", "n/a", company="")
    lab.work()
    (found,) = lab.rows(t.findings)
    assert (found.kind, found.store) == ("tracking_number_unreadable", "shop")
    assert found.evidence["typed"] == "picked up in store"
    assert lab.rows(t.shipments) == []

    lab.shop.retrack("#1", [{"company": "UPS", "number": UPS}])
    lab.work()
    assert lab.open_findings() == set()
    assert lab.parcel(UPS).linked


def test_a_number_that_can_be_part_of_no_address_is_told_and_not_asked_about_again(make_lab: Make) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.change(t.shipments.update().values(number=".."))  # as an older version stored it
    lab.change(t.watches.update().values(tracking_state="pending", next_poll_at=lab.clock()))
    asked = lab.ups.calls["track"]
    lab.work("poll")
    row = lab.one(t.watches)

    assert (row.tracking_state, row.next_poll_at, lab.ups.calls["track"]) == ("invalid_number", None, asked)
    assert lab.one(t.orders).reconcile_at == lab.clock()  # its order is looked at again

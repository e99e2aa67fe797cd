"""What is kept of an order once a write came through, and what the read after it tells."""

from __future__ import annotations

from tests.lab import UPS, Make, wanting
from tracker.domain.vocabulary import StatementKind
from tracker.store import tables as t
from tracker.support import statements


def test_a_parcel_that_came_just_before_a_write_is_known_once_the_order_is_read_again(make_lab: Make) -> None:
    lab = wanting(make_lab)
    lab.shop.ship("#1001", lab.clock(), [{"company": "UPS", "number": UPS}], partly=False)
    lab.shop.outgoing.clear()  # and no hook told us
    lab.work("push")
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    lab.work()

    assert lab.one(t.watches, t.watches.c.account == "ups").shipment_id == lab.parcel(UPS).id


def test_a_note_that_came_through_makes_nobody_elses_change_of_the_status_ours(make_lab: Make) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.rest.place("R1", lab.clock(), status="Processing")
    lab.work()
    lab.rest.set("R1", "seller", status="On Hold")
    lab.rest.outgoing.clear()  # and no hook told us
    statements.record_statement(lab.ctx, lab.one(t.orders), StatementKind.NOTE, "called", "ann", to_shop=True)
    lab.work("push")
    assert lab.one(t.outbox).state == "sent"
    lab.work()

    stands = [(row.raw_status, row.actor) for row in lab.rows(t.order_versions)]
    assert stands == [("Processing", "system"), ("On Hold", "seller")]

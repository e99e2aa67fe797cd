"""A status that was written is looked at once more a while later, where the platform may save an old copy of the order over it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.lab import UPS, H, Lab, Make
from tracker.pipeline.poll import changed
from tracker.plugin.conformance import plugin_of
from tracker.store import tables as t
from tracker.upkeep.maintenance import next_business_time

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lab(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A shop whose order we just set to Shipped; none of its hooks is heard from now on."""
    monkeypatch.setattr(plugin_of("adapters.rest"), "looks_again", MINUTE, raising=False)
    made: Lab = make_lab(rest="{preset: kingston-courier}")
    made.rest.place("R1", made.clock(), status="Processing", delivery={"method": "courier"})
    made.work()
    made.rest.ship("R1", made.clock(), [{"company": "UPS", "number": UPS}], items={})
    made.work()
    made.scan(made.ups, UPS, "I", "038", hours=1)
    made.clock.move_to(made.clock() + 6 * H)
    made.work("poll", "ingest", "decide", "push")
    assert made.rest.orders["R1"]["status"] == "Dispatched/Shipped"
    made.rest.outgoing.clear()
    return made


def reads(lab: Lab) -> int:
    return lab.rest.calls["read"]


def test_it_is_read_at_once_and_once_more_a_minute_later_whatever_was_read_between(lab: Lab) -> None:
    wrote = lab.one(t.change_notices).again_at - MINUTE
    lab.work("poll", "ingest")
    at_once = reads(lab)
    assert lab.one(t.change_notices).not_before == wrote + MINUTE
    assert next_business_time(lab.ctx) == wrote + MINUTE
    lab.rest.set("R1", "seller", tags=["gift"])  # its hook has it read at once, and ends nothing
    lab.work()
    assert reads(lab) == at_once + 1
    assert lab.one(t.change_notices).not_before == wrote + MINUTE

    lab.clock.move_to(wrote + MINUTE)
    lab.work()
    assert reads(lab) == at_once + 2
    assert lab.rows(t.change_notices) == []
    assert [row.kind for row in lab.rows(t.findings) if row.kind == "write_refused"] == []


def test_a_status_that_was_saved_over_is_found_by_that_look_told_once_and_not_written_again(lab: Lab) -> None:
    lab.work("poll", "ingest")
    lab.rest.set("R1", "unknown", status="Processing")
    lab.rest.outgoing.clear()  # and no hook told us
    lab.work()
    assert lab.one(t.orders).raw_status == "Dispatched/Shipped"
    lab.clock.move_to(lab.one(t.change_notices).not_before)
    lab.work()

    (told,) = [row for row in lab.rows(t.findings) if row.kind == "write_refused"]
    assert (lab.one(t.orders).raw_status, told.evidence["shop"], told.closed_at) == ("Processing", "Processing", None)
    lab.later(50)
    assert lab.rest.orders["R1"]["status"] == "Processing"
    assert len(lab.rows(t.outbox)) == 1


def test_a_write_while_the_order_is_being_read_keeps_its_later_look(lab: Lab) -> None:
    before = lab.one(t.change_notices)
    lab.change(t.change_notices.update().values(again_at=None))
    lab.change(t.change_notices.update().values(noticed_at=before.noticed_at - MINUTE))
    with lab.ctx.store.write() as connection:
        read = connection.execute(t.change_notices.select()).one()
        connection.execute(t.change_notices.update().values(noticed_at=before.noticed_at, again_at=before.again_at))
        changed._done(connection, read, lab.clock())
    assert lab.one(t.change_notices).again_at == before.again_at

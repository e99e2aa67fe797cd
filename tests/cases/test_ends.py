"""An end that was not one, or is disputed; and the three cases, played to their own end."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.cases.plays import play
from tests.lab import START, UPS, H, Lab, Make
from tracker.store import tables as t

D = timedelta(days=1)


@pytest.mark.parametrize("name", ["withdrawn", "disputed", "unwatched"])
def test_the_case_ends_as_it_must(name: str) -> None:
    play(name)


def test_the_customer_hears_of_a_delivery_once_whatever_becomes_of_it(make_lab: Make, tmp_path: Path) -> None:
    sink = tmp_path / "notices.jsonl"
    lab: Lab = make_lab(
        yaml=f"notices: {{file: {sink}}}\n", store="mode: write, policy: {preset: mirror, notices: [delivered]}"
    )
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038")
    wrong = lab.scan(lab.ups, UPS, "D", "011", hours=1)
    lab.later(7)
    assert (lab.parcel(UPS).closed_at is None, sink.read_bytes().count(b"\n")) == (False, 1)
    lab.ups.history[UPS].remove(wrong)
    lab.later(13)
    lab.later(1)
    parcel = lab.parcel(UPS)
    assert (parcel.status, parcel.closed_at) == ("picked_up", None)
    looked = lab.one(t.watches).next_poll_at - lab.clock()
    assert 4 * H <= looked <= 4.4 * H

    lab.scan(lab.ups, UPS, "D", "011", hours=2)
    lab.later(7)
    assert (lab.parcel(UPS).status, lab.parcel(UPS).closed_at is None) == ("delivered", False)
    assert sink.read_bytes().count(b"\n") == 1


def test_a_disputed_parcel_is_neither_closed_nor_expired_while_it_is_looked_at(make_lab: Make) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.change(t.watches.update().values(register_at=None))
    lab.scan(lab.ups, UPS, "I", "038")
    lab.scan(lab.ups, UPS, "D", "011", hours=1)
    lab.later(7)
    lab.scan(lab.ups, UPS, "I", "005", hours=3)
    lab.later(13)
    parcel = lab.parcel(UPS)
    assert (parcel.status, parcel.summary["disputed"], parcel.closed_at) == ("delivered", True, None)

    lab.change(t.shipments.update().values(starts_at=START - 40 * D))  # it was under way for long
    looks = lab.ups.calls["track"]
    for _ in range(10):
        lab.later(26)
    assert lab.ups.calls["track"] - looks == 10
    assert lab.one(t.watches).tracking_state == "active"
    lab.later(30 * 24)
    lab.later(1)
    assert lab.one(t.watches).tracking_state == "expired"  # after a month without news
    assert lab.ups.calls["track"] - looks == 11

"""Two storms, each from its printed seed; and proof that the checker sees what it is there to see."""

from __future__ import annotations

import os

import pytest
import sqlalchemy as sa

from tests.chaos.soak import Soak
from tests.chaos.storm import Report, Storm
from tracker.store import tables as t

pytestmark = pytest.mark.process
SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))


class Sabotaged(Storm):
    """Checks twice: as it is, and after somebody took a scan, a payload, a status and a line of the shop's log away."""

    def _check(self) -> None:
        super()._check()
        self.honest, self.report = self.report, Report(self.report.seed)
        self.report.parcels, self.report.faults = self.honest.parcels, self.honest.faults
        with self.rig.site.store.write() as connection:
            scan = connection.execute(sa.select(t.scans.c.id, t.scans.c.inbox_id).order_by(t.scans.c.id)).first()
            assert scan is not None
            connection.execute(t.scans.delete().where(t.scans.c.id == scan.id))
            gone = connection.execute(
                sa.select(t.inbox.c.id).where(t.inbox.c.account == "easypost", t.inbox.c.kind == "webhook")
            ).scalars().first()  # fmt: skip
            connection.execute(t.inbox.delete().where(t.inbox.c.id == gone))
            number = next(iter(self._acked))
            connection.execute(t.shipments.update().where(t.shipments.c.number == number).values(status="in_transit"))
        log = self.rig.site.shop.log
        log.remove(next(entry for entry in log if entry["event"] == "DELIVERED"))
        super()._check()
        self.report, self.sabotaged = self.honest, self.report


def test_a_storm_loses_nothing_and_sends_everything() -> None:
    report = Storm(1, SECONDS).run(print)

    assert report.problems == []


def test_a_storm_of_another_seed_and_the_checker_sees_what_was_taken_away() -> None:
    storm = Sabotaged(2, SECONDS)
    report = storm.run(print)

    assert report.problems == []
    seen = storm.sabotaged
    assert (seen.scans_lost, seen.payloads_lost, seen.shipments_wrong, seen.never_sent) == (1, 1, 1, 1)


def test_a_soak_tells_what_grew_between_its_second_tenth_and_its_last() -> None:
    soak = Soak(1, 100)
    warm = [(0.05, 10.0), (0.12, 100.0), (0.15, 101.0), (0.18, 500.0), (0.5, 900.0)]
    soak.seen["worker 1: MB"] += [*warm, (0.95, 111.0), (0.97, 112.0), (0.99, 112.0)]
    soak.seen["web 0: MB"] += [*warm, (0.95, 111.0)]
    soak.seen["web 0: open files"] += [(0.15, 20), (0.95, 26)]
    soak.seen["connections"] += [(0.15, 20), (0.95, 25)]

    assert soak.growth() == [
        ("connections", 20, 25, False), ("web 0: MB", 101.0, 111.0, False), ("web 0: open files", 20, 26, True),
        ("worker 1: MB", 101.0, 112.0, True),
    ]  # fmt: skip

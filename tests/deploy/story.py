"""Days of an installation: what is backed up, upgraded and erased in the tests beside. Each part of it leaves a row of its own kind."""

from __future__ import annotations

from typing import Any

from tests.lab import DHL, UPS, USPS, H, Lab
from tracker.domain.vocabulary import OrderStatus, StatementKind
from tracker.support import statements

NAMES = ("#1001", "#1002", "#1003", "#7")
NOTE = "called Mrs Canary-Note, she waits"
WORDS = "LEFT WITH MR CANARY-SCAN"


def outside(lab: Lab) -> None:
    """Let the shops have the orders, and the carriers their parcels' first scans."""
    lab.order("#1001", UPS, company="UPS")
    lab.order("#1002", USPS)
    lab.order("#1003", DHL, company="DHL")
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.scan(lab.dhl, DHL, "transit", "OOPS", hours=1, text=WORDS)


def play(lab: Lab) -> None:
    """Play two days: one order delivered and written, one on its way, one with an unknown code, one whose write waits; a dead payload, a note."""
    lab.work()
    outside(lab)
    lab.work()
    lab.later(4)
    lab.scan(lab.ups, UPS, "D", "011", text="SIGNED BY CANARY-SIGNER")
    lab.later(8)
    lab.post_raw("easypost", b'{"canary')
    lab.work()
    order = statements.find_order(lab.ctx, "1003")
    statements.record_statement(lab.ctx, order, StatementKind.NOTE, NOTE, "ana")
    statements.may(lab.ctx, order, OrderStatus.CANCELLED, reason="Mr Canary-Reason asked", by="ana")
    lab.work()
    waiting(lab)


def waiting(lab: Lab) -> None:
    """Let one write be decided and not be sent."""
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.clock.move_to(lab.clock() + 5 * H)
    lab.work("poll", "ingest", "decide")


def counted(lab: Any, tables: Any) -> dict[str, int]:
    """Count the rows of each table."""
    return {table.name: len(lab.rows(table)) for table in tables.METADATA.sorted_tables}

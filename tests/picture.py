"""The order whose picture README shows: a play in which all is fixed. `python -m tests.picture` draws it anew."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from tests.lab import DHL, UPS, USPS, Lab
from tracker.app.page.picture import draw
from tracker.app.page.rendering import templates
from tracker.app.page.site import STATIC
from tracker.domain.vocabulary import StatementKind
from tracker.pipeline.context import AppContext
from tracker.store import tables as t
from tracker.support import statements
from tracker.support.story import story

NL = {"region": "", "country": "NL", "service": "parcel-nl"}
FILE = Path(__file__).parents[1] / "deploy" / "order.svg"


def play(lab: Lab) -> int:
    """Let an order live through a week: two parcels, a last mile, a return, a refused write, an estimate that moves. Returns its id."""
    lab.work()
    lab.shop.place("#1001", lab.clock(), "PAID")
    lab.work()
    lab.later(6)
    lab.shop.ship("#1001", lab.clock(), [{"company": "UPS", "number": UPS}], partly=True)
    lab.shop.ship("#1001", lab.clock(), [{"company": "DHL", "number": DHL}], partly=False)
    lab.work()
    lab.scan(
        lab.ups, UPS, "M", "003", letters="MP", text="Shipper created a label", edd=lab.clock() + timedelta(days=3)
    )
    lab.later(5)
    lab.scan(
        lab.ups,
        UPS,
        "I",
        "038",
        letters="OR",
        text="Picked Up by UPS",
        last_mile=USPS,
        edd=lab.clock() + timedelta(days=4),
    )
    lab.scan(lab.dhl, DHL, "transit", "transit", text="Processed in the parcel center", city="Utrecht", **NL)
    lab.later(12)
    lab.shop.faults.left["refuse_write"] = 1
    lab.scan(lab.ups, UPS, "D", "137", letters="F7", text="Transferred to UPS Delivery Partner")
    lab.scan(lab.dhl, DHL, "transit", "transit", text="Arrived at the delivery base", city="Delft", **NL)
    lab.later(10)
    lab.scan(lab.easypost, USPS, "in_transit", "arrived_at_facility", text="Arrived at USPS facility", city="SPARKS")
    lab.scan(lab.dhl, DHL, "failure", "failure", text="The recipient was not at home", city="Delft", **NL)
    lab.later(14)
    statements.record_statement(
        lab.ctx, lab.rows(t.orders)[0], StatementKind.NOTE, "The customer asks where the second parcel is", "ana"
    )
    for status, why, city in (
        ("in_transit", "departed_facility", "SPARKS"), ("out_for_delivery", "out_for_delivery", "RENO"), ("out_for_delivery", "out_for_delivery", "SUN VALLEY"),
    ):  # fmt: skip
        lab.scan(lab.easypost, USPS, status, why, text=why.replace("_", " "), city=city, hours=-0.2)
    lab.later(8)
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination", text="Delivered, in or at mailbox", city="RENO")
    lab.later(20)
    lab.scan(
        lab.dhl,
        DHL,
        "failure",
        "ADDRESS_UNKNOWN",
        text="Address details unknown or incorrect, return to sender",
        city="Delft",
        **NL,
    )
    lab.later(26)
    return int(lab.rows(t.orders)[0].id)


def drawn(ctx: AppContext, order_id: int) -> str:
    """Return the picture of an order as a file of its own."""
    told = story(ctx, order_id)
    assert told is not None
    title = f"Order {told.order.number} of {told.order.store}"
    style = (STATIC / "picture.css").read_text(encoding="utf-8")
    desc = f"{len(told.moments)} moments in {len(told.lanes)} lanes"
    return str(templates().picture(draw(told), title=title, desc=desc, alone=True, style=style))


def main() -> None:
    """Draw it, and write it where README shows it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        Path(folder).chmod(0o700)
        lab = Lab(f"sqlite:///{folder}/x.db", Path(folder), stack)
        FILE.write_text(drawn(lab.ctx, play(lab)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Compare the shop's truth with the carriers', and answer what to write and what a person must look at.

`entry` asks the parts in turn: `shown` (what the shop shows of a parcel), `order_status` (the order's own status, by
`goal`), `order_checks`, `parcel_checks` and `clocks` (what a person must look at), `customer` (what the customer is told).
"""

from tracker.domain.reconcile.case import US
from tracker.domain.reconcile.customer import notice
from tracker.domain.reconcile.entry import apply, reconcile
from tracker.domain.reconcile.findings import TOLD_BY
from tracker.domain.reconcile.orders import aggregate, began, by_number, covers, shipped_quantities, still_moves

__all__ = [
    "TOLD_BY",
    "US",
    "aggregate",
    "apply",
    "began",
    "by_number",
    "covers",
    "notice",
    "reconcile",
    "shipped_quantities",
    "still_moves",
]

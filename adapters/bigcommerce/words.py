"""BigCommerce's words, and what they mean here. Statuses are decided by their ids: 2 is Shipped whatever the merchant calls it."""

from __future__ import annotations

from tracker.domain.vocabulary import OrderStatus, PaymentStatus

O, P = OrderStatus, PaymentStatus

LABELS = {
    0: "Incomplete", 1: "Pending", 2: "Shipped", 3: "Partially Shipped", 4: "Refunded", 5: "Cancelled", 6: "Declined",
    7: "Awaiting Payment", 8: "Awaiting Pickup", 9: "Awaiting Shipment", 10: "Completed", 11: "Awaiting Fulfillment",
    12: "Manual Verification Required", 13: "Disputed", 14: "Partially Refunded",
}  # fmt: skip
IDS = {label: id_ for id_, label in LABELS.items()}
INCOMPLETE, SHIPPED, PARTIALLY_SHIPPED, COMPLETED = 0, 2, 3, 10
# 4, 13 and 14 say something of the money; what was shipped says the rest
STATUSES = {
    1: O.AWAITING_CONFIRMATION, 2: O.SHIPPED, 3: O.PARTIALLY_SHIPPED, 5: O.CANCELLED, 6: O.CANCELLED,
    7: O.AWAITING_CONFIRMATION, 8: O.READY_FOR_DISPATCH, 9: O.READY_FOR_DISPATCH, 10: O.SHIPPED, 11: O.CONFIRMED,
    12: O.ON_HOLD,
}  # fmt: skip
MONEY = {4: P.REFUNDED, 6: P.FAILED, 13: P.DISPUTED, 14: P.PARTIALLY_REFUNDED}
REFUNDED = frozenset({4, 14})
PAYMENTS = {
    "authorized": P.AUTHORIZED, "captured": P.PAID, "paid": P.PAID, "declined": P.FAILED, "void": P.FAILED,
    "refunded": P.REFUNDED, "partially refunded": P.PARTIALLY_REFUNDED, "pending": P.PENDING, "capture pending": P.PENDING,
    "held for review": P.PENDING, "void pending": P.PENDING,
}  # fmt: skip
NOT_SHIPPED = frozenset({"digital", "giftcertificate"})
SCOPES = (  # that tell all of an order's way: metafields, messages and transactions are no news of it
    "store/order/created", "store/order/updated", "store/order/archived", "store/order/refund/created",
    "store/shipment/created", "store/shipment/updated", "store/shipment/deleted",
)  # fmt: skip
# The only statuses that are left, for each that is written. 0, 1, 4 to 7 and 12 to 14 are never written: they are of money and of people.
MAY_COME_FROM = {SHIPPED: {11, 9, 8, 3}, PARTIALLY_SHIPPED: {11, 9, 8}, COMPLETED: {SHIPPED}}

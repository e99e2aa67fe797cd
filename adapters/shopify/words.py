"""Shopify's words: for the events that show a shipping status, and for money."""

from __future__ import annotations

from tracker.domain.vocabulary import PaymentStatus, ShippingStatus

S, P = ShippingStatus, PaymentStatus

# What shows each shipping status (FulfillmentEventStatus 2026-04). on_hold and exception have no better word than
# IN_TRANSIT; returning, returned, lost and destroyed none but FAILURE. `words:` in the YAML overrides.
WORDS = {
    S.PRE_TRANSIT: "LABEL_PURCHASED",
    S.PICKED_UP: "CARRIER_PICKED_UP",
    S.IN_TRANSIT: "IN_TRANSIT",
    S.ON_HOLD: "IN_TRANSIT",
    S.EXCEPTION: "IN_TRANSIT",
    S.DELAYED: "DELAYED",
    S.OUT_FOR_DELIVERY: "OUT_FOR_DELIVERY",
    S.DELIVERY_ATTEMPTED: "ATTEMPTED_DELIVERY",
    S.AVAILABLE_FOR_PICKUP: "READY_FOR_PICKUP",
    S.DELIVERED: "DELIVERED",
    S.DELIVERY_FAILED: "FAILURE",
    S.RETURNING: "FAILURE",
    S.RETURNED: "FAILURE",
    S.LOST: "FAILURE",
    S.DESTROYED: "FAILURE",
}
READS = {
    "LABEL_PURCHASED": S.PRE_TRANSIT, "LABEL_PRINTED": S.PRE_TRANSIT, "CONFIRMED": S.PRE_TRANSIT,
    "CARRIER_PICKED_UP": S.PICKED_UP, "IN_TRANSIT": S.IN_TRANSIT, "DELAYED": S.DELAYED,
    "OUT_FOR_DELIVERY": S.OUT_FOR_DELIVERY, "ATTEMPTED_DELIVERY": S.DELIVERY_ATTEMPTED,
    "READY_FOR_PICKUP": S.AVAILABLE_FOR_PICKUP, "DELIVERED": S.DELIVERED, "FAILURE": S.DELIVERY_FAILED,
}  # fmt: skip
PAYMENTS = {
    "PENDING": P.PENDING, "AUTHORIZED": P.AUTHORIZED, "PARTIALLY_PAID": P.PENDING, "PAID": P.PAID,
    "PARTIALLY_REFUNDED": P.PARTIALLY_REFUNDED, "REFUNDED": P.REFUNDED, "VOIDED": P.FAILED, "EXPIRED": P.FAILED,
}  # fmt: skip
FULFILMENTS = frozenset({"SUCCESS", "OPEN", "PENDING", "CANCELLED", "ERROR", "FAILURE"})  # FulfillmentStatus
UNSHIPPED = ("CANCELLED", "ERROR", "FAILURE")  # what a fulfilment is that is none (FulfillmentStatus)

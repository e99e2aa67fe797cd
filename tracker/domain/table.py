"""The decision table of a policy, made by asking the code that decides: for a merchant to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tracker.domain.facts import Fulfilment, Order, Parcel, Shipment, Summary
from tracker.domain.policy import Policy
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def decision_table(policy: Policy) -> list[dict[str, str]]:
    """Ask, for each owner the policy knows, each order status and each parcel status, what is written and found.

    Rows in which nothing is written and nothing is found are left out. The order is paid, its address is confirmed, and
    it has one parcel, whose last scan is a minute old.
    """
    rows = []
    for owner in policy.means:
        for status in OrderStatus:
            for parcel in ShippingStatus:
                order, shipment = _case(status, parcel)
                fixed = _with_owner(policy, owner)
                decision = reconcile(order, [shipment], fixed, _AT + timedelta(minutes=1))
                written = [
                    f"write {policy.order_words.get(a.target, a.target)}"
                    if a.target
                    else f"show {policy.words[a.status]}"
                    for a in decision.actions
                    if a.kind != "notice"
                ]
                found = [f"finding {f.kind} ({f.act})" for f in decision.findings]
                if not written and not found:
                    continue
                rule = next((r for r in reversed(decision.because) if not r.startswith("owner:")), "")
                rows.append(
                    {
                        "dispatched by": str(owner), "order is": str(status), "parcel is": str(parcel),
                        "then": "; ".join(written + found), "rule": rule,
                    }
                )  # fmt: skip
    return rows


def _with_owner(policy: Policy, owner: Owner) -> Policy:
    from dataclasses import replace

    return replace(policy, ownership=(), otherwise=owner)


def _case(status: OrderStatus, parcel: ShippingStatus) -> tuple[Order, Shipment]:
    known = parcel is not ShippingStatus.UNKNOWN
    handed = parcel.custody or parcel in (ShippingStatus.LOST, ShippingStatus.DESTROYED)
    handed = handed or parcel in (ShippingStatus.ON_HOLD, ShippingStatus.DELAYED, ShippingStatus.EXCEPTION)
    summary = Summary(
        status=parcel,
        run="run" if known else "",
        since=_AT if known else None,
        last_scan_at=_AT if known else None,
        custody_at=_AT if handed else None,
        delivered_at=_AT if parcel is ShippingStatus.DELIVERED else None,
        scans=int(known),
    )
    shipment = Shipment("carrier", "N", 1, summary, linked_at=_AT)
    fulfilment = Fulfilment("F", "shipped", (Parcel("carrier", "N", "Carrier"),))
    order = Order(
        "store", "R", "#1", status, str(status), PaymentStatus.PAID, "paid", _AT, _AT, fulfilments=(fulfilment,),
        status_at=_AT, address="confirmed", verified=True,
    )  # fmt: skip
    return order, shipment

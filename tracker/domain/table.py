"""The decision table of a policy, made by asking the code that decides: for a merchant to read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tracker.domain.facts import Fulfilment, Order, Parcel, Shipment, Summary
from tracker.domain.policy import Policy
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_PARCEL = Shipment("carrier", "N", 1, Summary(), linked_at=_AT)
_ORDER = Order(
    "store", "R", "#1", OrderStatus.UNKNOWN, "", PaymentStatus.PAID, "paid", _AT, _AT, status_at=_AT,
    fulfilments=(Fulfilment("F", "shipped", (Parcel("carrier", "N"),)),), address="confirmed", verified=True,
)  # fmt: skip
_S = ShippingStatus
_HANDED_OVER = {s for s in _S if s.custody} | {_S.LOST, _S.DESTROYED, _S.ON_HOLD, _S.DELAYED, _S.EXCEPTION}


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
                fixed = replace(policy, ownership=(), otherwise=owner)
                decision = reconcile(order, [shipment], fixed, _AT + timedelta(minutes=1))
                written = [
                    f"write {policy.order_words.get(a.target, a.target)}"
                    if a.target
                    else f"{a.field} = {a.text}"
                    if a.kind == "field"
                    else f"tag {a.text}"
                    if a.kind == "tag"
                    else f"show {policy.words[a.status]}"
                    for a in decision.actions
                    if a.kind != "notice"
                ]
                found = [f"finding {f.kind} ({f.act})" for f in decision.findings]
                if not written and not found:
                    continue
                rows.append(
                    {
                        "dispatched by": str(owner), "order is": str(status), "parcel is": str(parcel),
                        "then": "; ".join(written + found), "rule": decision.because[-1],
                    }
                )  # fmt: skip
    return rows


def _case(status: OrderStatus, parcel: ShippingStatus) -> tuple[Order, Shipment]:
    at = None if parcel is ShippingStatus.UNKNOWN else _AT
    summary = Summary(status=parcel, since=at, last_scan_at=at, custody_at=_AT if parcel in _HANDED_OVER else None)
    return replace(_ORDER, status=status), replace(_PARCEL, summary=summary)

"""Any order, with any parcels, under any policy: made by hand for one case, or by Hypothesis for all."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

from tracker.config.load import load_text
from tracker.config.presets import presets
from tracker.domain.facts import (
    Decision,
    Edd,
    Fulfilment,
    Item,
    Order,
    Parcel,
    Shipment,
    Statement,
    StatusSnapshot,
    Summary,
    TakenBack,
)
from tracker.domain.policy import Policy
from tracker.domain.reconcile import apply
from tracker.domain.vocabulary import FindingKind, Leg, OrderStatus, Owner, PaymentStatus, ShippingStatus, StatementKind

S, K, O, P = ShippingStatus, FindingKind, OrderStatus, PaymentStatus
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H, D = timedelta(hours=1), timedelta(days=1)
EXAMPLES = int(os.environ.get("EXAMPLES", "600"))  # the same ones in each run; more for a hunt
HELD = {O.CANCELLED, O.ON_HOLD}
MONEY_BACK = {P.REFUNDED, P.DISPUTED}
METHODS = {Owner.PLATFORM: "platform", Owner.SELLER: "seller", Owner.COURIER: "courier", Owner.UNKNOWN: "?"}
ACTORS = ["system", "seller", "unknown", "trackwright"]


@cache
def policy(preset: str, platform: str = "own") -> Policy:
    os.environ["TRACKWRIGHT_TEST_SECRET"] = "x" * 30
    text = f"stores: {{s: {{uses: rest, base_url: 'https://x.example', api_token: '${{env:TRACKWRIGHT_TEST_SECRET}}', policy: {{preset: {preset}}}}}}}"
    found = load_text(text).accounts["s"].policy
    return found if platform == "own" else replace(found, order_words={O.SHIPPED: "Shipped"})


def parcel(status: S, *, number: str = "N1", at: datetime = T0, **more: Any) -> Shipment:
    known = status is not S.UNKNOWN
    edd = more.pop("edd", None)
    handed = status.custody or status in (S.LOST, S.DESTROYED)
    values: dict[str, Any] = {
        "status": status, "run": f"run-{number}" if known else "", "since": at if known else None,
        "last_scan_at": at if known else None, "custody_at": at if handed else None,
        "delivered_at": at if status is S.DELIVERED else None, "scans": int(known),
        "leg": Leg.RETURN_TO_SENDER if status in (S.RETURNING, S.RETURNED) else Leg.OUTBOUND,
    }  # fmt: skip
    if more.get("corrected"):
        values["taken_back"] = TakenBack(S.DELIVERED, at - timedelta(hours=1), by=status, by_at=at)
    return Shipment("ups", number, 1, Summary(**{**values, **more}), edd=edd, linked_at=T0)


def order(
    status: O = O.PROCESSING,
    *,
    payment: P = P.PAID,
    owner: Owner = Owner.COURIER,
    actor: str = "system",
    numbers: tuple[str, ...] = ("N1",),
    before: tuple[tuple[O, str], ...] = ((O.PROCESSING, "system"),),
    **more: Any,
) -> Order:
    stands = [
        StatusSnapshot(T0 - D + i * H, s, str(s), payment, a, T0 - D + (i - 1) * H) for i, (s, a) in enumerate(before)
    ]
    if not stands or stands[-1].status is not status:
        stands.append(StatusSnapshot(T0 - D + len(stands) * H, status, str(status), payment, actor, T0 - D))
    values: dict[str, Any] = {
        "fulfilments": tuple(Fulfilment(f"F{n}", "open", (Parcel("ups", n, "UPS"),)) for n in numbers),
        "history": tuple(stands), "actor": stands[-1].actor, "method": METHODS[owner], "address": "confirmed",
    }  # fmt: skip
    return Order("s", "R1", "#1", status, str(status), payment, str(payment), T0 - 2 * D, T0, **{**values, **more})


def keys(decision: Decision) -> set[str]:
    return {action.key for action in decision.actions}


def written(decision: Decision) -> list[O]:
    return [a.target for a in decision.actions if a.kind == "order_status" and a.target is not None]


def kinds(decision: Decision) -> set[K]:
    return {finding.kind for finding in decision.findings}


def applied(before: Order, decision: Decision, rules: Policy) -> Order:
    after = before
    for action in decision.actions:
        word = rules.order_words.get(action.target, "") if action.target else ""
        after = apply(after, action, word)
    return after


statuses = st.sampled_from(list(S))
hours = st.integers(-72, 72)


@st.composite
def cases(draw: Any) -> tuple[Order, list[Shipment], Policy, datetime]:
    rules = replace(
        policy(draw(st.sampled_from(presets()))),
        status_field=draw(st.sampled_from(["", "shipping_status"])),
        status_tag=draw(st.sampled_from(["", "shipping"])),
    )
    count = draw(st.integers(0, 4))
    parcels, fulfilments, items = [], [], []
    for n in range(count):
        at = T0 + draw(hours) * H
        told = draw(statuses)
        custody = at if told.custody else draw(st.sampled_from([None, at]))
        parcels.append(
            parcel(
                told, number=f"N{n}", at=at, confirmed=draw(st.booleans()), disputed=draw(st.booleans()),
                corrected=draw(st.booleans()), custody_at=custody, unmapped=draw(st.integers(0, 1)),
                edd=draw(st.sampled_from([None, Edd(T0, T0 + D)])),
            )
        )  # fmt: skip
        quantities = (((f"I{n}", draw(st.integers(0, 3))),)) if draw(st.booleans()) else ()
        fulfilments.append(
            Fulfilment(f"F{n}", "open", (Parcel("ups", f"N{n}", "UPS"),), quantities, live=draw(st.booleans()))
        )
        if draw(st.booleans()):
            ordered = draw(st.integers(1, 3))
            items.append(Item(f"I{n}", ordered, draw(st.integers(0, ordered)), draw(st.booleans())))
    before = tuple(
        (draw(st.sampled_from(list(O))), draw(st.sampled_from(ACTORS))) for _ in range(draw(st.integers(0, 4)))
    )
    said = tuple(
        Statement(draw(st.sampled_from(list(StatementKind))), "why", "ann", T0 + draw(hours) * H,
                  draw(st.sampled_from([None, *O])), draw(st.booleans()))
        for _ in range(draw(st.integers(0, 2)))
    )  # fmt: skip
    one = order(
        draw(st.sampled_from(list(O))), payment=draw(st.sampled_from(list(P))), owner=draw(st.sampled_from(list(Owner))),
        actor=draw(st.sampled_from(ACTORS)), before=before, fulfilments=tuple(fulfilments), items=tuple(items),
        statements=said, address=draw(st.sampled_from(["", "confirmed", "missing"])),
        shown=draw(st.sampled_from(["", "in_transit", "delivered", "a person's word"])),
    )  # fmt: skip
    return one, parcels, rules, T0 + draw(st.integers(0, 40)) * D

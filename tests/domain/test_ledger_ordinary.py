"""A thousand ordinary orders on each platform and preset: shop and carriers agree at each moment, so the ledger is silent.

What the worker writes is written, and what the preset leaves to the seller the seller sets. The presets' own tests say
what is written; here only the ledger is asked.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache

import pytest

from tests.domain.whole import T0, H
from tracker.config.load import load_text
from tracker.config.presets import presets
from tracker.domain.drift import compare
from tracker.domain.facts import Fulfilment, Item, Meaning, Order, Parcel, Shipment, StatusSnapshot, StoredScan
from tracker.domain.policy import Policy
from tracker.domain.reconcile import apply, reconcile
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import (
    Leg,
    OrderStatus,
    PaymentStatus,
    ShippingStatus,
    TrackingState,
    Zone,
)

S, O, P = ShippingStatus, OrderStatus, PaymentStatus
PLATFORMS = {
    "shopify": "uses: shopify, shop: x.myshopify.com, access_token: '${env:ORDINARY_SECRET}'",
    "bigcommerce": "uses: bigcommerce, store_hash: x, access_token: '${env:ORDINARY_SECRET}', webhook_secrets: '${env:ORDINARY_SECRET}'",
    "bigcommerce completed": "uses: bigcommerce, store_hash: x, access_token: '${env:ORDINARY_SECRET}', completed_is_delivered: true,"
    " webhook_secrets: '${env:ORDINARY_SECRET}'",
    **{
        f"rest {words or 'own'}": "uses: rest, base_url: 'https://x.example', api_token: '${env:ORDINARY_SECRET}'"
        + (f", words: {words}" if words else "")
        for words in ("", "kingston", "kartrocket", "marketplace-guide")
    },
}  # fmt: skip
METHODS = ("platform", "seller", "courier")

# What carriers tell of one parcel, hour by hour.
MOVES = {
    "plain": "pre_transit picked_up in_transit out_for_delivery delivered",
    "no pick-up scan": "pre_transit in_transit in_transit out_for_delivery delivered",
    "first scan at the end": "unknown unknown pre_transit pre_transit delivered",
    "tried twice": "pre_transit picked_up out_for_delivery delivery_attempted out_for_delivery delivered",
    "back at the depot": "picked_up in_transit out_for_delivery in_transit out_for_delivery delivered",
    "tried and back": "picked_up out_for_delivery delivery_attempted in_transit out_for_delivery delivered",
    "held, late, mended": "picked_up in_transit on_hold delayed exception in_transit out_for_delivery delivered",
    "collected": "picked_up in_transit available_for_pickup available_for_pickup delivered",
    "collected after a try": "picked_up out_for_delivery delivery_attempted available_for_pickup delivered",
    "given up, then delivered": "picked_up out_for_delivery delivery_failed out_for_delivery delivered",
    "came back": "picked_up in_transit delivery_attempted delivery_failed returning returning returned",
    "lost": "picked_up in_transit exception lost",
}  # fmt: skip
TOGETHER = {  # parcels of one order: which move, and how many steps later
    "one": [("plain", 0)],
    **{name: [(name, 0)] for name in MOVES if name != "plain"},
    "two in step": [("plain", 0), ("plain", 0)],
    "two, one late": [("plain", 0), ("held, late, mended", 2)],
    "three, one tried": [("plain", 1), ("tried twice", 0), ("no pick-up scan", 3)],
}


@cache
def policy(platform: str, preset: str) -> Policy:
    os.environ["ORDINARY_SECRET"] = "x" * 30
    text = f"stores: {{s: {{{PLATFORMS[platform]}, mode: write, policy: {{preset: {preset}}}}}}}"
    return load_text(text).accounts["s"].policy


@dataclass
class Life:
    """One order, its shop, its seller and its carriers. `parted`: each parcel is a fulfilment of its own."""

    rules: Policy
    method: str
    parted: bool
    marks: str  # when the seller, or the platform itself, marks it shipped: label | custody | each step of the way too
    numbers: tuple[str, ...]
    told: dict[str, list[StoredScan]] = field(default_factory=dict)
    now: datetime = T0

    def __post_init__(self) -> None:
        items = tuple(Item(f"i{n}", 1) for n in range(len(self.numbers) or 1))
        status = next(s for s in (O.PROCESSING, O.CONFIRMED, O.AWAITING_CONFIRMATION) if s in self.rules.says)
        self.order = Order(
            "s", "R", "#1", status, status, P.PAID, "paid", T0, T0, items=items, method=self.method, address="confirmed",
            verified=True, history=(StatusSnapshot(T0, status, status, P.PAID, "seller"),),
        )  # fmt: skip

    def set(self, status: O, **more: object) -> None:
        """Let the seller, or his shop, set the order's status: where it has a word for that."""
        if status in self.rules.says and status is not self.order.status:
            actor = "system" if self.method == "platform" else "seller"
            stand = StatusSnapshot(self.now, status, status, self.order.payment, actor)
            self.order = replace(
                self.order, status=status, raw_status=status, actor=actor, status_at=self.now,
                history=(*self.order.history, stand), **more,
            )  # type: ignore[arg-type]  # fmt: skip

    def ship(self, count: int) -> None:
        """Make labels for the first `count` parcels."""
        parts = [(n,) for n in self.numbers[:count]] if self.parted else [self.numbers[:count]]
        self.order = replace(
            self.order,
            fulfilments=tuple(
                Fulfilment(
                    f"F{i}", "open", tuple(Parcel("ups", n) for n in part),
                    tuple((f"i{self.numbers.index(n)}", 1) for n in part), shipped_at=self.now,
                )
                for i, part in enumerate(parts)
            ),
        )  # fmt: skip
        whole = count == len(self.numbers)
        if self.rules.words or self.marks == "label":  # Shopify says Fulfilled by itself
            self.set(O.SHIPPED if whole else O.PARTIALLY_SHIPPED)

    def scan(self, number: str, status: S) -> None:
        if status is not S.UNKNOWN:
            leg = Leg.RETURN_TO_SENDER if status in (S.RETURNING, S.RETURNED) else Leg.OUTBOUND
            name = f"{len(self.told.get(number, ())):02}{number}"
            one = StoredScan(name, "s", status, Meaning(status, None, leg), self.now, Zone.OFFSET)
            self.told.setdefault(number, []).append(one)

    def parcels(self) -> list[Shipment]:
        named = [p.number for f in self.order.fulfilments for p in f.parcels]
        return [
            Shipment("ups", n, 1, summarize(self.told.get(n, ())), TrackingState.ACTIVE, linked_at=T0) for n in named
        ]

    def seller(self) -> None:
        """Set what the policy leaves to the seller."""
        summaries = [p.summary for p in self.parcels()]
        if not summaries or self.order.status is O.CANCELLED:
            return
        whole = len(summaries) == len(self.numbers)
        rank = self.order.status.rank or 0
        if whole and all(s.status is S.DELIVERED for s in summaries):
            if rank < 100:
                self.set(O.DELIVERED if O.DELIVERED in self.rules.says else O.SHIPPED)
        elif whole and all(s.status is S.RETURNED for s in summaries):
            self.set(O.RETURNED)
        elif whole and all(s.custody_at for s in summaries):
            if rank < 50:
                self.set(O.SHIPPED)
            if self.marks == "each step" and rank < 70:
                told = {s.status for s in summaries}
                self.set(O.OUT_FOR_DELIVERY if S.OUT_FOR_DELIVERY in told else O.IN_TRANSIT)
        elif any(s.custody_at for s in summaries) and rank < 40:
            self.set(O.PARTIALLY_SHIPPED)

    def settle(self) -> None:
        """Let the worker write what it wants, then the seller what is left to him."""
        for _ in range(4):
            decision = reconcile(self.order, self.parcels(), self.rules, self.now)
            writes = [a for a in decision.actions if a.kind != "notice"]
            for action in writes:
                word = self.rules.order_words[action.target] if action.target else self.rules.words[action.status]
                self.order = apply(self.order, action, word)
            if not writes:
                break
        self.seller()

    def silent(self) -> None:
        found = compare(self.order, self.parcels(), self.rules, self.now).drifts
        assert not found, (self.rules.name, self.order.status, self.order.actor, found)


def lives() -> Iterator[tuple[str, bool, str, list[tuple[str, int]]]]:
    for name, moves in TOGETHER.items():
        for parted, marks in itertools.product((False, True), ("label", "custody", "each step")):
            yield name, parted, marks, moves


@pytest.mark.no_cover
@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("platform", PLATFORMS)
def test_ordinary_orders_are_no_drift_at_any_moment(platform: str, preset: str) -> None:
    rules = policy(platform, preset)
    for method, (_, parted, marks, moves) in itertools.product(METHODS, lives()):
        life = Life(rules, method, parted, marks, tuple(f"N{i}" for i in range(len(moves))))
        steps = [MOVES[name].split() for name, _ in moves]
        lasts = max(late + len(step) for (_, late), step in zip(moves, steps, strict=True))
        for hour in range(lasts):
            life.now = T0 + (hour + 1) * 3 * H
            shipped = sum(late <= hour for _, late in moves)
            if not life.parted:
                shipped = len(moves)
            if len(life.order.fulfilments) < (shipped if life.parted else 1):
                life.ship(shipped)
                life.settle()
                life.silent()
            for number, (_, late), step in zip(life.numbers, moves, steps, strict=True):
                if 0 <= hour - late < len(step):
                    life.scan(number, S(step[hour - late]))
            life.settle()
            life.silent()


@pytest.mark.parametrize("preset", presets())
@pytest.mark.parametrize("platform", PLATFORMS)
def test_orders_without_a_tracked_parcel_cancelled_in_time_or_sent_back_later_are_no_drift(
    platform: str, preset: str
) -> None:
    rules = policy(platform, preset)
    for method in METHODS:
        local = Life(rules, method, False, "label", ())  # own delivery: no number
        local.order = replace(local.order, fulfilments=(Fulfilment("F0", "open", (), (("i0", 1),)),))
        for status in (O.SHIPPED, O.OUT_FOR_DELIVERY, O.DELIVERED):
            local.now += H
            local.set(status)
            local.settle()
            local.silent()
        digital = Life(rules, method, False, "label", ())
        digital.order = replace(digital.order, items=(Item("i0", 1, shippable=False),))
        digital.set(O.SHIPPED)
        digital.settle()
        digital.silent()
        for voided in (S.PRE_TRANSIT, S.CANCELLED):
            early = Life(rules, method, False, "custody", ("N0",))
            early.ship(1)
            early.scan("N0", S.PRE_TRANSIT)
            early.now += H
            early.set(O.CANCELLED, cancelled_at=early.now)
            early.scan("N0", voided)
            early.settle()
            early.silent()
        back = Life(rules, method, False, "label", ("N0",))
        back.ship(1)
        for status in ("picked_up", "delivered"):
            back.now += 3 * H
            back.scan("N0", S(status))
            back.settle()
            back.silent()
        back.now += timedelta(days=6)
        back.told["N0"].append(
            StoredScan("ret", "s", "r", Meaning(S.IN_TRANSIT, None, Leg.CUSTOMER_RETURN), back.now, Zone.OFFSET)
        )
        for payment, status in ((P.PAID, O.RETURNED), (P.REFUNDED, O.RETURNED)):
            back.order = replace(back.order, payment=payment)
            back.set(status)
            back.settle()
            back.silent()

"""When a number may be corrected in the shop: OLD stands there, NEW does not, and the order is one that lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tracker.domain.facts import Action, Fulfilment, Order, Parcel
from tracker.domain.renumber import places_of, why_not, why_not_now
from tracker.domain.vocabulary import OrderStatus, PaymentStatus

T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
A, B, C = "1Z1", "1Z2", "1Z3"


def part(ref: str, *numbers: str, live: bool = True) -> Fulfilment:
    return Fulfilment(ref, "open", tuple(Parcel("ups", number) for number in numbers), live=live)


def order(*parts: Fulfilment, **more) -> Order:
    made = Order("s", "R", "#1", OrderStatus.SHIPPED, "Shipped", PaymentStatus.PAID, "paid", T0, T0, fulfilments=parts)
    return replace(made, **more)


def now(fulfilment: str = "f1") -> Action:
    return Action("number", "k", "s", "R", fulfilment, parcels=(Parcel("ups", A), Parcel("ups", B)))


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (order(part("f1", A)), ""),
        (order(part("f1", A, C), part("f2", A, live=False)), ""),
        (order(part("f1", C)), "1Z1 stands in no fulfilment of it: it has 1Z3"),
        (order(), "1Z1 stands in no fulfilment of it: it has no number"),
        (order(part("f1", A, live=False)), "the fulfilment in which 1Z1 stands is cancelled"),
        (order(part("f1", A), part("f2", B)), "1Z2 stands in it already"),
        (order(part("f1", A), status=OrderStatus.CANCELLED), "the order is cancelled"),
        (order(part("f1", A), gone="deleted"), "the shop holds the order no more"),
        (order(part("f1", A), test=True), "it is a test order"),
    ],
)
def test_a_correction_is_refused_with_the_reason(known: Order, said: str) -> None:
    assert why_not(known, A, B) == said


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (order(part("f1", A, C)), ""),
        (order(part("f1", B)), ""),  # it is done: the platform looks and says so
        (order(part("f1", A), part("f2", B)), ""),  # the other fulfilment under this number was corrected first
        (order(part("f1", C)), "1Z1 does not stand there any more"),
        (order(part("f1", A, B)), "1Z2 stands beside 1Z1 now"),
        (order(part("f1", A, live=False)), "the fulfilment in which 1Z1 stood is cancelled"),
        (order(part("f2", A)), "the fulfilment in which 1Z1 stood is not there any more"),
        (order(part("f1", A), status=OrderStatus.CANCELLED), "the order is cancelled"),
    ],
)
def test_a_correction_is_looked_at_again_just_before_it_is_written(known: Order, said: str) -> None:
    assert why_not_now(known, now()) == said


def test_a_number_may_stand_in_several_fulfilments() -> None:
    assert [one.ref for one in places_of(order(part("f1", A), part("f2", C), part("f3", A)), A)] == ["f1", "f3"]

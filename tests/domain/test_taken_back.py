"""What was told and is not true any more: a delivery that is gone, contradicted or taken back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.domain.scans import T0, H, S, told
from tests.domain.test_timeline import journey
from tracker.domain.facts import StoredScan, TakenBack
from tracker.domain.timeline import Kept, Missing, missing_of, summarize
from tracker.domain.vocabulary import Leg


def gone(status: S, hours: float, since: float, **more: Any) -> StoredScan:
    return told(status, hours, gone=since, **more)


def test_a_delivery_that_disappeared_is_taken_back_and_the_parcel_is_where_it_was() -> None:
    summary = summarize([*journey((S.PICKED_UP, 5)), gone(S.DELIVERED, 10, 22)])

    assert (summary.status, summary.custody_at, summary.delivered_at) == (S.PICKED_UP, T0 + 5 * H, None)
    assert summary.taken_back == TakenBack(S.DELIVERED, T0 + 10 * H, T0 + 22 * H)
    assert (summary.corrected, summary.doubted_at) == (True, T0 + 22 * H)
    assert (summary.scans, summary.last_scan_at) == (1, T0 + 5 * H)


def test_a_delivery_that_words_contradict_is_taken_back_and_a_new_one_does_not_unsay_that() -> None:
    steps = [(S.DELIVERED, 11), (S.OUT_FOR_DELIVERY, 14), (S.DELIVERY_ATTEMPTED, 29)]
    back = TakenBack(S.DELIVERED, T0 + 11 * H, None, "delivery_attempted", T0 + 29 * H)
    summary = summarize(journey(*steps))
    again = summarize(journey(*steps, (S.DELIVERED, 36)))

    assert (summary.taken_back, summary.corrected, summary.doubted_at) == (back, True, T0 + 29 * H)
    assert (again.status, again.taken_back, again.corrected) == (S.DELIVERED, back, False)


def test_the_first_contradiction_puts_a_delivery_in_doubt_and_takes_nothing_back() -> None:
    summary = summarize(journey((S.DELIVERED, 11), (S.OUT_FOR_DELIVERY, 14)))

    assert (summary.disputed, summary.doubted_at, summary.taken_back) == (True, T0 + 14 * H, None)


@pytest.mark.parametrize(
    ("scans", "back"),
    [
        # told anew, at another hour, before the look that missed it: it was never taken back
        ([(S.DELIVERED, 10, 22), (S.DELIVERED, 11, None)], None),
        ([(S.DELIVERED, 9, None), (S.DELIVERED, 10, 22)], None),
        # delivered later: it was gone in between
        ([(S.DELIVERED, 10, 22), (S.DELIVERED, 30, None)], TakenBack(S.DELIVERED, T0 + 10 * H, T0 + 22 * H)),
        # one end told by two scans that both are gone
        ([(S.DELIVERED, 10, 22), (S.DELIVERED, 11, 23)], TakenBack(S.DELIVERED, T0 + 10 * H, T0 + 22 * H)),
        # gone twice: new evidence
        (
            [(S.DELIVERED, 10, 22), (S.DELIVERED, 30, 40)],
            TakenBack(S.DELIVERED, T0 + 30 * H, T0 + 40 * H),
        ),
        ([(S.RETURNED, 10, 22)], TakenBack(S.RETURNED, T0 + 10 * H, T0 + 22 * H)),
        ([(S.DESTROYED, 10, 22)], TakenBack(S.DESTROYED, T0 + 10 * H, T0 + 22 * H)),
        ([(S.LOST, 9, None), (S.DELIVERED, 10, 22)], TakenBack(S.DELIVERED, T0 + 10 * H, T0 + 22 * H)),
        # what never was the parcel's status was not told
        ([(S.RETURNED, 9, None), (S.DELIVERED, 10, 22)], None),
        ([(S.LOST, 10, 22)], None),
        ([(S.CANCELLED, 10, 22)], None),
        ([(S.IN_TRANSIT, 10, 22)], None),
    ],
)
def test_an_end_is_taken_back_where_it_was_the_parcels_and_no_other_scan_of_then_tells_it(
    scans: list[tuple[S, float, float | None]], back: TakenBack | None
) -> None:
    assert summarize([told(status, at, gone=since) for status, at, since in scans]).taken_back == back


def test_an_end_that_was_only_told_anew_leaves_no_doubt_but_that_of_others() -> None:
    anew = [gone(S.DELIVERED, 10, 22), told(S.OUT_FOR_DELIVERY, 11), told(S.DELIVERED, 12)]
    before = [told(S.DELIVERED, 1), told(S.OUT_FOR_DELIVERY, 2), told(S.OUT_FOR_DELIVERY, 3)]
    after = told(S.OUT_FOR_DELIVERY, 30)

    assert (summarize(anew).taken_back, summarize(anew).doubted_at) == (None, None)
    assert summarize([*before, *anew]).doubted_at == T0 + 3 * H
    assert summarize([*anew, after]).doubted_at == T0 + 30 * H


def test_a_customers_return_and_what_nobody_vouches_for_take_nothing_back() -> None:
    delivered = told(S.DELIVERED, 1)
    back = gone(S.DELIVERED, 300, 310, leg=Leg.CUSTOMER_RETURN)

    assert summarize([delivered, back]).taken_back is None
    assert summarize([told(S.IN_TRANSIT, 1), gone(S.DELIVERED, 2, 9, confirmed=False)]).taken_back is None


def test_an_end_that_corrected_another_end_and_is_gone_is_taken_back() -> None:
    summary = summarize([told(S.RETURNED, 1), gone(S.DELIVERED, 2, 9, correction=True)])

    assert (summary.status, summary.corrected) == (S.RETURNED, False)
    assert summary.taken_back == TakenBack(S.DELIVERED, T0 + 2 * H, T0 + 9 * H)


def test_on_the_way_back_a_delivery_that_is_gone_was_a_return() -> None:
    summary = summarize([told(S.RETURNING, 1), gone(S.DELIVERED, 2, 9)])

    assert summary.taken_back == TakenBack(S.RETURNED, T0 + 2 * H, T0 + 9 * H)


KEPT = {"label": 0.0, "pickup": 5.0, "transit": 9.0, "delivered": 30.0, "signed": 30.0}
BUT_DELIVERED = ("label", "pickup", "transit", "signed")


def waits(noted: tuple[int, ...], hours: float, *, an_end: bool = True, gone: tuple[int, ...] = ()) -> Missing:
    return Missing(noted, gone, T0 + hours * H, an_end)


@pytest.mark.parametrize(
    ("there", "hours", "missing_since", "found"),
    [
        # the first look notes, one an hour later is sure
        (BUT_DELIVERED, 40, {}, waits((3,), 41)),
        (BUT_DELIVERED, 40.9, {"delivered": 40}, waits((), 41)),
        (BUT_DELIVERED, 41, {"delivered": 40}, Missing((), (3,))),
        # a look that was asked for before the first one proves nothing
        (BUT_DELIVERED, 39, {"delivered": 40}, waits((), 41)),
        # what happened at the same moment is not older
        (("label", "pickup", "transit"), 40, {}, waits((3, 4), 41)),
        # nothing, or a history that begins later: cut, not withdrawn
        ((), 40, {}, Missing()),
        (("delivered", "signed"), 40, {}, Missing()),
        (("pickup", "transit", "signed"), 40, {}, Missing()),
        # what comes after something that is missed waits for it; that an end waits too is said
        (("label", "pickup", "signed"), 40, {}, waits((2,), 41)),
        (("label", "pickup", "delivered"), 40, {}, waits((2,), 41, an_end=False)),
        (("label", "pickup"), 41, {"transit": 40}, waits((3, 4), 42, gone=(2,))),
        # what was told (after 31 hours) after the question was put
        (("label",), 30, {}, Missing()),
        (tuple(KEPT), 40, {}, Missing()),
    ],
)
def test_what_a_full_history_lacks_is_gone_after_two_looks_that_hold_all_that_is_older(
    there: tuple[str, ...], hours: float, missing_since: dict[str, float], found: Missing
) -> None:
    kept = [
        Kept(
            i, name, T0 + at * H, T0 + 31 * H, T0 + missing_since[name] * H if name in missing_since else None,
            name == "delivered",
        )
        for i, (name, at) in enumerate(KEPT.items())
    ]  # fmt: skip

    assert missing_of(reversed(kept), set(there), T0 + hours * H) == found

"""A summary is a function of the set of scans."""

from __future__ import annotations

import hashlib
import inspect
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scans import T0, H, S, told
from tracker.domain import timeline
from tracker.domain.facts import Meaning, Place, StoredScan, Summary
from tracker.domain.timeline import MOST_SCANS, RULES, read_on, summarize
from tracker.domain.vocabulary import Leg, Precision, Reason, Zone

scans = st.builds(
    told,
    st.sampled_from([None, *S]),
    st.integers(0, 400),
    reason=st.sampled_from([None, Reason.UNMAPPED, Reason.MOVING]),
    zone=st.sampled_from(list(Zone)),
    leg=st.sampled_from(list(Leg)),
    correction=st.booleans(),
    confirmed=st.booleans(),
    precision=st.sampled_from(list(Precision)),
    gone=st.sampled_from([None, None, 100, 300, 500]),
)


@given(st.lists(scans, max_size=12), st.randoms(use_true_random=False))
def test_any_order_and_any_duplicates_give_the_same_summary(
    given_scans: list[StoredScan], chance: random.Random
) -> None:
    shuffled = given_scans + [chance.choice(given_scans) for _ in given_scans]
    chance.shuffle(shuffled)

    assert summarize(shuffled) == summarize(given_scans)


@given(st.lists(scans, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_reading_on_gives_what_reading_all_gives(given_scans: list[StoredScan], first: int, second: int) -> None:
    ordered = sorted(given_scans, key=timeline._key)
    one, two = sorted((first, second))
    before = summarize(ordered[:one])

    halfway = read_on(before, reversed(ordered[one:two]))
    assert halfway is not None
    after = read_on(halfway, ordered[two:])
    assert after is not None
    whole = summarize(ordered)

    assert (after, after.checkpoint) == (whole, whole.checkpoint)
    assert read_on(after, []) is after


def test_an_end_that_was_gone_and_is_told_anew_leaves_no_doubt_wherever_the_reading_paused() -> None:
    ordered = [told(S.IN_TRANSIT, 0), told(S.DELIVERED, 5, gone=100), told(S.DELIVERED, 5)]
    halfway = summarize(ordered[:2])
    assert halfway.doubted_at == T0 + 100 * H

    after = read_on(halfway, ordered[2:])
    assert after is not None and after.doubted_at is None
    assert after == summarize(ordered)

    twice = summarize([*ordered[:2], told(S.DELIVERED, 5.5, gone=200), told(S.DELIVERED, 6)])
    assert (twice.taken_back, twice.doubted_at) == (None, T0 + 200 * H)  # that another one went later is still a doubt


@given(st.lists(scans, min_size=2, max_size=12), st.data())
def test_a_scan_that_is_not_the_latest_is_not_read_on(given_scans: list[StoredScan], data: st.DataObject) -> None:
    ordered = sorted(given_scans, key=timeline._key)
    late = data.draw(st.integers(0, len(ordered) - 2))
    before = summarize(ordered[:late] + ordered[late + 1 :])

    assert read_on(before, [ordered[late]]) is None
    assert read_on(before, [ordered[late], told(S.DELIVERED, 500)]) is None


def test_what_another_version_read_and_a_very_long_history_are_not_read_on() -> None:
    before = summarize([told(S.IN_TRANSIT, 0)])
    assert before.checkpoint is not None
    later = [told(S.DELIVERED, 1)]
    long = summarize(told(S.IN_TRANSIT, i) for i in range(MOST_SCANS - 1))

    assert read_on(before, later) is not None
    assert read_on(replace(before, checkpoint=replace(before.checkpoint, rules=RULES - 1)), later) is None
    assert read_on(replace(before, checkpoint=None), later) is None
    gone = told(S.DELIVERED, 2, gone=9)
    assert read_on(summarize([gone]), [replace(gone, gone=None)]) is None
    assert read_on(replace(summarize([]), checkpoint=None), later) is not None
    assert read_on(long, [told(S.DELIVERED, 600)]) is not None
    assert read_on(long, [told(S.DELIVERED, 600), told(S.DELIVERED, 601)]) is None


def test_whoever_changes_how_scans_are_read_says_so_in_RULES() -> None:
    """Summaries are read on from release to release: what an older fold made must not be mixed with a newer one's.

    Where this fails: does any set of scans give another summary than before? Then add 1 to RULES. In any case, write
    the new digest here.
    """
    functions = (timeline._fold, timeline._read, timeline._contradicts, timeline._key, timeline._ended, timeline._same)
    parts = (*functions, timeline._later, timeline._Reading)
    source = "".join(inspect.getsource(part) for part in parts)
    source += repr(
        (sorted(timeline._ON_RETURN.items()), timeline.VETO, sorted(timeline._UNSURE), sorted(timeline._ENDS))
    )
    source += repr([sorted(some) for some in (timeline._LEFT_AT_ONCE, timeline._NEAR, timeline._TO_THE_SENDER)])
    source += repr(sorted((status, sorted(usual)) for status, usual in timeline._USUAL.items()))
    source += repr([(s, s.rank, s.terminal, s.custody) for s in S])

    assert (RULES, hashlib.sha256(source.encode()).hexdigest()[:16]) == (3, "c1051100d6e72c22")


@given(st.lists(scans, max_size=12), scans)
def test_an_unknown_scan_never_moves_a_parcel(given_scans: list[StoredScan], extra: StoredScan) -> None:
    unknown = replace(extra, meaning=Meaning(S.UNKNOWN, Reason.UNMAPPED))
    before, after = summarize(given_scans), summarize([*given_scans, unknown])

    assert (after.status, after.run, after.since, after.reason) == (
        before.status,
        before.run,
        before.since,
        before.reason,
    )
    assert after.unmapped == before.unmapped + (unknown.gone is None)


@given(st.lists(scans, max_size=12))
def test_a_parcel_never_goes_back_to_pre_transit(given_scans: list[StoredScan]) -> None:
    summary = summarize(given_scans)
    moved = [t for t in given_scans if t.meaning.status not in (None, S.UNKNOWN, S.PRE_TRANSIT) and not t.gone]
    if summary.status is S.PRE_TRANSIT:
        head = next(t for t in given_scans if t.fingerprint == summary.run)
        later = [t for t in moved if t.instant > head.instant and t.confirmed and not t.meaning.status.terminal]  # type: ignore[union-attr]
        assert not [t for t in later if t.meaning.leg is not Leg.CUSTOMER_RETURN]


@given(st.lists(scans, max_size=12))
def test_scans_that_are_gone_move_nothing(given_scans: list[StoredScan]) -> None:
    whole, live = summarize(given_scans), summarize(t for t in given_scans if t.gone is None)
    doubt = {"taken_back": None, "doubted_at": None, "corrected": False}

    assert replace(whole, **doubt) == replace(live, **doubt)
    assert (whole.corrected, live.corrected) in ((True, True), (False, False), (True, False))
    assert whole.corrected is False or whole.taken_back is not None


def journey(*steps: tuple[S, float]) -> list[StoredScan]:
    return [told(status, hours) for status, hours in steps]


def test_the_plain_journey_ends_delivered() -> None:
    summary = summarize(
        journey((S.PRE_TRANSIT, 0), (S.PICKED_UP, 5), (S.IN_TRANSIT, 9), (S.OUT_FOR_DELIVERY, 30), (S.DELIVERED, 34))
    )

    assert summary.status is S.DELIVERED
    assert summary.custody_at == T0 + 5 * H
    assert summary.delivered_at == summary.since == T0 + 34 * H
    assert (summary.unusual, summary.refused, summary.attempts) == (0, 0, 0)


def test_nothing_known_is_unknown() -> None:
    assert summarize([]) == Summary()


def test_a_parcel_may_come_back_to_the_depot() -> None:
    assert summarize(journey((S.OUT_FOR_DELIVERY, 0), (S.IN_TRANSIT, 40))).status is S.IN_TRANSIT


def test_a_late_scan_does_not_move_a_delivered_parcel() -> None:
    summary = summarize(journey((S.OUT_FOR_DELIVERY, 0), (S.DELIVERED, 4), (S.IN_TRANSIT, 5)))

    assert summary.status is S.DELIVERED
    assert summary.disputed


def test_two_contradictions_correct_a_delivery() -> None:
    summary = summarize(journey((S.DELIVERED, 4), (S.IN_TRANSIT, 5), (S.OUT_FOR_DELIVERY, 30)))

    assert summary.status is S.OUT_FOR_DELIVERY
    assert summary.corrected
    assert summary.delivered_at is None


def test_one_explicit_correction_corrects_a_delivery() -> None:
    summary = summarize([*journey((S.DELIVERED, 4)), told(S.DELIVERY_ATTEMPTED, 5, correction=True)])

    assert summary.status is S.DELIVERY_ATTEMPTED
    assert summary.corrected


def test_a_contradiction_of_unsure_zone_counts_for_nothing() -> None:
    summary = summarize(
        [*journey((S.DELIVERED, 0)), *(told(S.IN_TRANSIT, 40 + i, zone=Zone.ASSUMED) for i in range(3))]
    )

    assert summary.status is S.DELIVERED
    assert not summary.disputed


def test_a_data_event_does_not_contradict_a_delivery() -> None:
    assert summarize(journey((S.DELIVERED, 0), (S.EXCEPTION, 1), (S.ON_HOLD, 2))).status is S.DELIVERED


@pytest.mark.parametrize("gone", [S.LOST, S.CANCELLED])
def test_a_lost_or_voided_parcel_that_is_scanned_moves_again(gone: S) -> None:
    summary = summarize(journey((gone, 0), (S.IN_TRANSIT, 5)))

    assert summary.status is S.IN_TRANSIT
    assert (summary.corrected, summary.taken_back) == (False, None)  # lost may reappear, a void label be used anyway


def test_on_the_way_back_delivered_means_returned() -> None:
    summary = summarize(
        journey(
            (S.DELIVERY_FAILED, 0), (S.RETURNING, 5), (S.IN_TRANSIT, 9), (S.OUT_FOR_DELIVERY, 30), (S.DELIVERED, 34)
        )
    )

    assert (summary.status, summary.reason, summary.leg) == (
        S.RETURNED,
        Reason.RECEIVED_BY_SENDER,
        Leg.RETURN_TO_SENDER,
    )


def test_a_delivery_marked_as_return_leg_is_a_return_even_alone() -> None:
    assert summarize([told(S.DELIVERED, 1, leg=Leg.RETURN_TO_SENDER)]).status is S.RETURNED


def test_on_the_way_back_a_correction_may_deliver() -> None:
    summary = summarize([*journey((S.RETURNING, 0)), told(S.DELIVERED, 5, correction=True)])

    assert summary.status is S.DELIVERED


def test_a_customer_return_leaves_the_delivery_alone() -> None:
    summary = summarize(
        [*journey((S.DELIVERED, 0)), *(told(S.IN_TRANSIT, 300 + i, leg=Leg.CUSTOMER_RETURN) for i in range(3))]
    )

    assert summary.status is S.DELIVERED
    assert not summary.disputed


def test_scans_of_unsure_zone_within_26_hours_do_not_lower_the_rank() -> None:
    near = summarize([told(S.OUT_FOR_DELIVERY, 0), told(S.IN_TRANSIT, 25, zone=Zone.ASSUMED)])
    far = summarize([told(S.OUT_FOR_DELIVERY, 0), told(S.IN_TRANSIT, 27, zone=Zone.ASSUMED)])
    day = summarize([told(S.OUT_FOR_DELIVERY, 0), told(S.IN_TRANSIT, 2, precision=Precision.DATE)])

    assert (near.status, far.status, day.status) == (S.OUT_FOR_DELIVERY, S.IN_TRANSIT, S.OUT_FOR_DELIVERY)
    assert near.refused == 1


def test_the_same_instant_is_ordered_by_rank() -> None:
    assert summarize(journey((S.DELIVERED, 1), (S.OUT_FOR_DELIVERY, 1))).status is S.DELIVERED


def test_an_unconfirmed_terminal_scan_moves_nothing() -> None:
    summary = summarize([told(S.IN_TRANSIT, 0), told(S.DELIVERED, 5, confirmed=False)])

    assert summary.status is S.IN_TRANSIT


def test_an_unconfirmed_run_says_so_until_any_scan_of_it_is_confirmed() -> None:
    one = told(S.IN_TRANSIT, 5, confirmed=False)

    assert not summarize([told(S.PICKED_UP, 0), one]).confirmed
    assert summarize([told(S.PICKED_UP, 0), one, told(S.IN_TRANSIT, 6)]).confirmed


def test_attempts_are_counted() -> None:
    summary = summarize(
        journey(
            (S.DELIVERY_ATTEMPTED, 0), (S.DELIVERY_ATTEMPTED, 30), (S.OUT_FOR_DELIVERY, 50), (S.DELIVERY_ATTEMPTED, 55)
        )
    )

    assert summary.attempts == 3


def test_an_unusual_move_is_counted_and_taken() -> None:
    summary = summarize(journey((S.PRE_TRANSIT, 0), (S.DESTROYED, 5)))

    assert (summary.status, summary.unusual) == (S.DESTROYED, 1)


def test_information_keeps_the_status_and_moves_the_place() -> None:
    summary = summarize(
        [told(S.IN_TRANSIT, 0, place=Place("Köln", country="DE")), told(None, 5, place=Place("Bonn", country="DE"))]
    )

    assert summary.status is S.IN_TRANSIT
    assert str(summary.place) == "Bonn, DE"
    assert str(summary.run_place) == "Köln, DE"
    assert summary.last_scan_at == T0 + 5 * H


def test_unusual_steps_are_added_up() -> None:
    back = (S.PICKED_UP, S.AVAILABLE_FOR_PICKUP) * 2  # from the counter back to a pick-up is no usual way
    steps = [(status, hours) for hours, status in enumerate((*back, S.PICKED_UP, S.IN_TRANSIT))]
    assert summarize([told(status, hours) for status, hours in steps]).unusual == 2


@pytest.mark.parametrize(
    ("before", "passed_over"),
    [
        ([], told(None, 2)),
        ([], told(S.UNKNOWN, 2, reason=Reason.UNMAPPED)),
        ([told(S.DELIVERED, 1)], told(S.IN_TRANSIT, 2, leg=Leg.CUSTOMER_RETURN)),
        ([], told(S.DELIVERED, 2, confirmed=False)),
        ([told(S.IN_TRANSIT, 1)], told(S.IN_TRANSIT, 2)),
        ([told(S.IN_TRANSIT, 1)], told(S.PRE_TRANSIT, 2)),
        ([told(S.OUT_FOR_DELIVERY, 1)], told(S.IN_TRANSIT, 2, zone=Zone.UNKNOWN)),
        ([told(S.DELIVERED, 1)], told(S.IN_TRANSIT, 2, zone=Zone.UNKNOWN)),
    ],
)
def test_what_is_passed_over_keeps_nothing_that_follows_from_counting(before: list[Any], passed_over: Any) -> None:
    after = told(S.RETURNED, 60, correction=True)
    summary = summarize([*before, passed_over, after])
    assert (summary.status, summary.last_scan_at, summary.scans) == (S.RETURNED, after.instant, len(before) + 2)

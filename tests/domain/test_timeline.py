"""A summary is a function of the set of scans."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain import timeline
from tracker.domain.facts import Code, Meaning, Place, Scan, Summary, TakenBack, Told, fingerprint
from tracker.domain.timeline import (
    MOST_SCANS,
    RULES,
    Kept,
    Missing,
    begins_anew,
    first_of,
    missing_of,
    place_in_time,
    read_on,
    summarize,
    zone_of,
)
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, Zone

S = ShippingStatus
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H = timedelta(hours=1)
_COUNT = iter(range(10**9))


def told(
    status: S | None,
    hours: float,
    *,
    reason: Reason | None = None,
    zone: Zone = Zone.UTC,
    leg: Leg = Leg.OUTBOUND,
    correction: bool = False,
    confirmed: bool = True,
    precision: Precision = Precision.SECOND,
    place: Place | None = None,
    gone: float | None = None,
) -> Told:
    meaning = Meaning(status, reason, leg, correction)
    name = f"{next(_COUNT):032x}"
    since = None if gone is None else T0 + gone * H
    return Told(name, "s", str(status), meaning, T0 + hours * H, zone, precision, place or Place(), confirmed, since)


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
def test_any_order_and_any_duplicates_give_the_same_summary(given_scans: list[Told], chance: random.Random) -> None:
    shuffled = given_scans + [chance.choice(given_scans) for _ in given_scans]
    chance.shuffle(shuffled)

    assert summarize(shuffled) == summarize(given_scans)


@given(st.lists(scans, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_reading_on_gives_what_reading_all_gives(given_scans: list[Told], first: int, second: int) -> None:
    ordered = sorted(given_scans, key=timeline._key)
    one, two = sorted((first, second))
    before = summarize(ordered[:one])

    halfway = read_on(before, reversed(ordered[one:two]))
    assert halfway is not None
    after = read_on(halfway, ordered[two:])
    assert after is not None
    whole = summarize(ordered)

    assert (after, after.mark) == (whole, whole.mark)
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
def test_a_scan_that_is_not_the_latest_is_not_read_on(given_scans: list[Told], data: st.DataObject) -> None:
    ordered = sorted(given_scans, key=timeline._key)
    late = data.draw(st.integers(0, len(ordered) - 2))
    before = summarize(ordered[:late] + ordered[late + 1 :])

    assert read_on(before, [ordered[late]]) is None
    assert read_on(before, [ordered[late], told(S.DELIVERED, 500)]) is None


def test_what_another_version_read_and_a_very_long_history_are_not_read_on() -> None:
    before = summarize([told(S.IN_TRANSIT, 0)])
    assert before.mark is not None
    later = [told(S.DELIVERED, 1)]
    long = summarize(told(S.IN_TRANSIT, i) for i in range(MOST_SCANS - 1))

    assert read_on(before, later) is not None
    assert read_on(replace(before, mark=replace(before.mark, rules=RULES - 1)), later) is None
    assert read_on(replace(before, mark=None), later) is None
    gone = told(S.DELIVERED, 2, gone=9)
    assert read_on(summarize([gone]), [replace(gone, gone=None)]) is None
    assert read_on(replace(summarize([]), mark=None), later) is not None
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

    assert (RULES, hashlib.sha256(source.encode()).hexdigest()[:16]) == (3, "3a7dfb62d834c024")


@given(st.lists(scans, max_size=12), scans)
def test_an_unknown_scan_never_moves_a_parcel(given_scans: list[Told], extra: Told) -> None:
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
def test_a_parcel_never_goes_back_to_pre_transit(given_scans: list[Told]) -> None:
    summary = summarize(given_scans)
    moved = [t for t in given_scans if t.meaning.status not in (None, S.UNKNOWN, S.PRE_TRANSIT) and not t.gone]
    if summary.status is S.PRE_TRANSIT:
        head = next(t for t in given_scans if t.fingerprint == summary.run)
        later = [t for t in moved if t.instant > head.instant and t.confirmed and not t.meaning.status.terminal]  # type: ignore[union-attr]
        assert not [t for t in later if t.meaning.leg is not Leg.CUSTOMER_RETURN]


@given(st.lists(scans, max_size=12))
def test_scans_that_are_gone_move_nothing(given_scans: list[Told]) -> None:
    whole, live = summarize(given_scans), summarize(t for t in given_scans if t.gone is None)
    doubt = {"taken_back": None, "doubted_at": None, "corrected": False}

    assert replace(whole, **doubt) == replace(live, **doubt)
    assert (whole.corrected, live.corrected) in ((True, True), (False, False), (True, False))
    assert whole.corrected is False or whole.taken_back is not None


def journey(*steps: tuple[S, float]) -> list[Told]:
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


# one number, several journeys

PARAMUS, RENO = Place("PARAMUS", "NJ", "", "US"), Place("RENO", "NV", "", "US")
ENDED = journey((S.PRE_TRANSIT, 0), (S.PICKED_UP, 5), (S.OUT_FOR_DELIVERY, 30))


def anew(status: S | None, days: float, *, end: S = S.DELIVERED, more: Sequence[Told] = (), **how: Any) -> bool:
    """Say whether a scan some days after the end begins another journey."""
    before = [*ENDED, told(end, 34, place=PARAMUS), *more]
    return begins_anew(summarize(before), told(status, 34 + 24 * days, **how))


@pytest.mark.parametrize("status", [S.PRE_TRANSIT, S.PICKED_UP])
@pytest.mark.parametrize("end", [S.DELIVERED, S.RETURNED, S.DESTROYED])
def test_a_label_or_a_pick_up_after_an_end_is_another_parcels(status: S, end: S) -> None:
    assert anew(status, 20, end=end, place=RENO)
    assert anew(status, 3, end=end, place=RENO)
    assert not anew(status, 2.9, end=end, place=RENO)  # a label that is printed late, a correction
    assert anew(status, 20, end=end)  # its place is not told


@pytest.mark.parametrize("status", [S.IN_TRANSIT, S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.DELIVERED, S.RETURNING])
def test_any_other_custody_is_another_parcels_after_a_month_only(status: S) -> None:
    assert not anew(status, 29)
    assert anew(status, 31)


@pytest.mark.parametrize("end", [S.LOST, S.CANCELLED])
def test_what_was_lost_may_reappear_and_a_void_label_be_used_for_a_month(end: S) -> None:
    assert not anew(S.PICKED_UP, 20, end=end)
    assert anew(S.PICKED_UP, 31, end=end)


@pytest.mark.parametrize(
    "how",
    [
        {"leg": Leg.RETURN_TO_SENDER}, {"leg": Leg.CUSTOMER_RETURN}, {"leg": Leg.EXCHANGE}, {"correction": True},
        {"zone": Zone.UNKNOWN}, {"zone": Zone.FUTURE},
    ],
)  # fmt: skip
@pytest.mark.parametrize("days", [20, 40])
def test_a_return_a_correction_and_a_scan_without_a_day_show_nothing(how: dict[str, Any], days: int) -> None:
    assert not anew(S.PICKED_UP, days, **how)


def test_a_pick_up_where_the_parcel_was_delivered_or_by_a_partner_may_be_a_return() -> None:
    assert not anew(S.PICKED_UP, 20, place=Place("Paramus", "NJ", "", "US"))
    assert anew(S.PICKED_UP, 20, place=Place("Paramus", "", "", "CA"))
    assert not anew(S.PICKED_UP, 20, place=RENO, reason=Reason.HANDED_TO_PARTNER)


@pytest.mark.parametrize("status", [None, S.UNKNOWN, S.EXCEPTION, S.ON_HOLD, S.LOST])
@pytest.mark.parametrize("days", [20, 40])
def test_what_is_no_custody_shows_nothing(status: S | None, days: int) -> None:
    assert not anew(status, days)


def test_a_journey_that_goes_on_has_no_other_after_it() -> None:
    assert not begins_anew(summarize(ENDED), told(S.PRE_TRANSIT, 900))
    assert not begins_anew(summarize([]), told(S.PRE_TRANSIT, 900))
    back = [told(S.OUT_FOR_DELIVERY, 50), told(S.DELIVERY_ATTEMPTED, 52)]
    assert not anew(S.PICKED_UP, 20, more=back)


def test_days_count_from_all_that_was_said_about_the_end() -> None:
    later = [told(S.DELIVERED, 34 + 24 * 2)]
    speaks = [told(S.IN_TRANSIT, 34 + 24 * 2)]
    assert anew(S.PICKED_UP, 5, more=later)
    assert not anew(S.PICKED_UP, 4, more=later)
    assert not anew(S.PICKED_UP, 4, more=speaks)
    assert anew(S.PICKED_UP, 5, more=speaks)


@pytest.mark.parametrize(
    ("starts", "end", "first"),
    [
        (20, 5, 17),  # first scans may come some days before the shop tells
        (9, 5, 8),  # but not in the days after the end of the parcel before
        (7, 5, 7),
        (5, 7, 5),  # a ship date before the end
        (20, None, 17),
    ],
)
def test_scans_around_the_start_of_a_journey_are_its_own_or_the_other_ones(
    starts: float, end: float | None, first: float
) -> None:
    before = summarize(ENDED if end is None else [told(S.DELIVERED, 24 * end)])

    assert first_of(T0 + timedelta(days=starts), before) == T0 + timedelta(days=first)


# what was told and is not true any more


def gone(status: S, hours: float, since: float, **more: Any) -> Told:
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


# time


def test_a_time_with_offset_is_taken_as_it_is() -> None:
    at = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)

    assert place_in_time(Scan(Code("s", "c"), None, at, Zone.OFFSET), "UTC", at) == (at, Zone.OFFSET)


def test_a_time_from_the_future_is_marked_and_bounded_to_when_it_was_told() -> None:
    soon, later = T0 + timedelta(minutes=10), T0 + timedelta(minutes=11)

    assert place_in_time(Scan(Code("s", "c"), None, soon, Zone.OFFSET), "UTC", T0) == (soon, Zone.OFFSET)
    assert place_in_time(Scan(Code("s", "c"), None, later, Zone.OFFSET), "UTC", T0) == (T0, Zone.FUTURE)
    assert place_in_time(Scan(Code("s", "c"), datetime(2999, 1, 1)), "UTC", T0) == (T0, Zone.FUTURE)


def test_a_local_time_is_placed_by_its_place() -> None:
    scan = Scan(Code("s", "c"), datetime(2026, 7, 1, 12, 0), place=Place("Köln", country="DE"))

    assert place_in_time(scan, "UTC", T0) == (datetime(2026, 7, 1, 10, 0, tzinfo=UTC), Zone.BY_PLACE)


def test_a_local_time_of_nowhere_is_assumed_and_says_so() -> None:
    scan = Scan(Code("s", "c"), datetime(2026, 7, 1, 12, 0))

    assert place_in_time(scan, "America/New_York", T0) == (datetime(2026, 7, 1, 16, 0, tzinfo=UTC), Zone.ASSUMED)


def test_a_scan_without_time_is_placed_when_it_came_and_says_so() -> None:
    assert place_in_time(Scan(Code("s", "c")), "UTC", T0) == (T0, Zone.UNKNOWN)


@pytest.mark.parametrize(
    "scan",
    [
        Scan(Code("s", "c"), None, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), Zone.OFFSET),
        Scan(Code("s", "c"), None, datetime(1, 6, 1, tzinfo=UTC), Zone.OFFSET),
        Scan(Code("s", "c"), datetime(1, 6, 1)),
        Scan(Code("s", "c"), None, datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14))), Zone.OFFSET),
    ],
)
def test_a_year_that_no_clock_shows_is_no_time(scan: Scan) -> None:
    assert place_in_time(scan, "UTC", T0) == (T0, Zone.UNKNOWN)


def test_a_scan_of_1970_keeps_its_time() -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC)

    assert place_in_time(Scan(Code("s", "c"), None, at, Zone.OFFSET), "UTC", T0) == (at, Zone.OFFSET)


@pytest.mark.parametrize("year", [1, 9999])
def test_the_ends_of_the_calendar_do_not_crash(year: int) -> None:
    at = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 23 if year > 1 else 0, 59)

    assert (
        place_in_time(Scan(Code("s", "c"), at), "Asia/Tokyo" if year == 1 else "America/New_York", T0)[1]
        is Zone.UNKNOWN
    )


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        (datetime(2026, 3, 8, 2, 30), datetime(2026, 3, 8, 7, 30, tzinfo=UTC)),  # in the gap: read as before it
        (datetime(2026, 11, 1, 1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # twice: the first
        (datetime(2028, 2, 29, 12, 0), datetime(2028, 2, 29, 17, 0, tzinfo=UTC)),
    ],
)
def test_gaps_overlaps_and_leap_days_of_the_clock(local: datetime, utc: datetime) -> None:
    scan = Scan(Code("s", "c"), local, place=Place("New York", "NY", country="US"))

    assert place_in_time(scan, "UTC", max(T0, utc)) == (utc, Zone.BY_PLACE)


def test_a_state_with_two_zones_is_not_guessed() -> None:
    assert zone_of(Place("Nashville", "TN", country="US")) is None
    assert str(zone_of(Place("Reno", "nv", country="US"))) == "None"
    assert str(zone_of(Place("Sydney", "NSW", country="AU"))) == "Australia/Sydney"


# identity


def test_a_naive_instant_is_refused() -> None:
    naive = Scan(Code("s", "c"), occurred_at=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="aware"):
        place_in_time(naive, "UTC", T0)


def test_the_fingerprint_knows_what_was_said_not_who_said_it_or_in_which_spelling() -> None:
    at = datetime(2026, 11, 2, 9, 15, 19)
    one = Scan(Code("s", "c", "Out for Delivery"), at, place=Place("Charlotte", "NC", "1", "US"))
    other = Scan(
        Code("s", "c", "OUT FOR DELIVERY"), at, at.replace(tzinfo=UTC), Zone.UTC, place=Place("CHARLOTTE", "", "", "US")
    )

    assert fingerprint(one) == fingerprint(other)
    assert fingerprint(one, text_matters=True) != fingerprint(other, text_matters=True)


@pytest.mark.parametrize(
    "other",
    [
        Scan(Code("t", "c"), datetime(2026, 11, 2)),
        Scan(Code("s", "d"), datetime(2026, 11, 2)),
        Scan(Code("s", "c"), datetime(2026, 11, 3)),
        Scan(Code("s", "c"), datetime(2026, 11, 2), place=Place("X")),
        Scan(Code("s", "c"), datetime(2026, 11, 2), place=Place(country="X")),
        Scan(Code("s", "c"), datetime(2026, 11, 2), event_id="1"),
        Scan(Code("s", "c")),
    ],
)
def test_what_differs_in_fact_differs_in_fingerprint(other: Scan) -> None:
    assert fingerprint(other) != fingerprint(Scan(Code("s", "c"), datetime(2026, 11, 2)))


def test_the_fingerprint_is_as_fine_as_the_time_was_told() -> None:
    def at(second: int, minute: int, precision: Precision) -> str:
        return fingerprint(Scan(Code("s", "c"), datetime(2026, 11, 2, 9, minute, second), precision=precision))

    assert at(1, 1, Precision.MINUTE) == at(2, 1, Precision.MINUTE)
    assert at(1, 1, Precision.MINUTE) != at(1, 2, Precision.MINUTE)
    assert at(1, 1, Precision.DATE) == at(2, 2, Precision.DATE)
    assert at(1, 1, Precision.SECOND) != at(2, 1, Precision.SECOND)


def test_an_event_id_is_the_whole_identity() -> None:
    one = Scan(Code("s", "c"), datetime(2026, 11, 2), event_id="e1")

    assert fingerprint(one) == fingerprint(Scan(Code("x", "y"), event_id="e1"))

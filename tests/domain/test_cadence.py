"""When a parcel is asked about next: sooner near what is expected, more rarely when it is quiet, and never for ever."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scans import told
from tracker.domain.cadence import DEFAULT, Cadence, Pace, is_urgent, looks_after, next_poll
from tracker.domain.facts import Edd, Summary
from tracker.domain.timeline import summarize
from tracker.domain.vocabulary import ShippingStatus, TrackingState

S, T = ShippingStatus, TrackingState
T0 = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
H = timedelta(hours=1)


def at(
    status: S, *, now: datetime = T0, state: T = T.ACTIVE, edd: Edd | None = None, last: datetime | None = T0
) -> timedelta | None:
    summary = Summary(status, since=last, last_scan_at=last)
    moment = next_poll(summary, state, DEFAULT, now, number="N1", began=T0, edd=edd)
    return None if moment is None else moment - now


def test_sooner_when_out_for_delivery_than_when_moving_than_before_pick_up() -> None:
    out, moving, label = at(S.OUT_FOR_DELIVERY), at(S.IN_TRANSIT), at(S.PRE_TRANSIT)

    assert out is not None
    assert moving is not None
    assert label is not None
    assert out < moving < label


def test_sooner_near_the_estimated_delivery() -> None:
    near = at(S.IN_TRANSIT, edd=Edd(T0 + 3 * H, T0 + 9 * H))

    assert near is not None
    assert near < H * 1.2


def test_slower_when_quiet() -> None:
    quiet, fresh = at(S.IN_TRANSIT, now=T0 + 80 * H), at(S.IN_TRANSIT)

    assert quiet is not None
    assert fresh is not None
    assert quiet > fresh * 1.9


def test_a_delivered_parcel_is_looked_at_ever_more_rarely_for_a_week() -> None:
    now, looks = T0, []
    while (wait := at(S.DELIVERED, now=now)) is not None:
        now += wait
        looks.append(round((now - T0) / H / SPREAD))

    assert looks == [12, 36, 84, 168]


@pytest.mark.parametrize(
    ("hours", "looks"),
    [
        (0, []), (6, [6]), (12, [12]), (13, [13]), (24, [12, 24]), (84, [12, 36, 84]), (100, [12, 36, 100]),
        (14 * 24, [12, 36, 84, 180, 336]),
    ],
)  # fmt: skip
def test_looks_after_the_end_go_on_for_as_long_as_is_wished_and_no_longer(hours: int, looks: list[int]) -> None:
    assert [look / H for look in looks_after(hours * H)] == looks


SPREAD = 1 + (zlib.crc32(b"N1") % 1000) / 10_000


def doubted(status: S, hours: float, *, disputed: bool = False, silent: float = 0) -> float | None:
    """Return how long the next look is away, `hours` after an end was contradicted; the last scan lies further back."""
    summary = Summary(status, since=T0, last_scan_at=T0 - silent * H, disputed=disputed, doubted_at=T0)
    moment = next_poll(summary, T.ACTIVE, DEFAULT, T0 + hours * H, number="N1", began=T0 - silent * H, edd=None)
    return None if moment is None else round((moment - T0 - hours * H) / H / SPREAD, 1)


@pytest.mark.parametrize(
    ("status", "hours", "disputed", "wait"),
    [
        (S.DELIVERED, 0, True, 4.0),  # contradicted: as one on its way ...
        (S.DELIVERED, 71, True, 4.0),
        (S.DELIVERED, 72, True, 24.0),  # ... for three days, then once a day
        (S.DELIVERED, 29 * 24, True, 24.0),
        (S.DELIVERED, 30 * 24, True, None),  # expired
        (S.RETURNING, 71, False, 4.0),  # withdrawn: as one on its way, then at its status's own cadence
        (S.RETURNING, 73, False, 24.0),
        (S.OUT_FOR_DELIVERY, 1, False, 0.5),  # never slower for it
        (S.DELIVERED, 0, False, 12.0),  # delivered again: it is over
    ],
)
def test_a_parcel_whose_end_is_in_doubt_is_looked_at_like_one_on_its_way(
    status: S, hours: float, disputed: bool, wait: float | None
) -> None:
    assert doubted(status, hours, disputed=disputed) == wait


def test_an_end_that_is_withdrawn_after_a_month_of_silence_is_news_and_does_not_expire() -> None:
    assert doubted(S.IN_TRANSIT, 1, silent=40 * 24) == 4.0


def test_a_lost_parcel_is_asked_for_until_it_expires() -> None:
    assert at(S.LOST) is not None
    assert at(S.LOST, now=T0 + timedelta(days=30)) is None


def test_thirty_days_of_silence_end_it() -> None:
    assert at(S.IN_TRANSIT, now=T0 + timedelta(days=29)) is not None
    assert at(S.IN_TRANSIT, now=T0 + timedelta(days=30)) is None
    assert at(S.UNKNOWN, now=T0 + timedelta(days=30), last=None) is None


@pytest.mark.parametrize("state", [T.STOPPED, T.INVALID_NUMBER, T.UNSUPPORTED])
def test_what_cannot_be_tracked_is_not_asked(state: T) -> None:
    assert at(S.IN_TRANSIT, state=state) is None


@given(st.text(min_size=1, max_size=30), st.sampled_from(list(S)))
def test_the_jitter_comes_from_the_number_and_is_small(number: str, status: S) -> None:
    summary = Summary(status, since=T0, last_scan_at=T0)
    one = next_poll(summary, T.ACTIVE, DEFAULT, T0, number=number, began=T0, edd=None)
    two = next_poll(summary, T.ACTIVE, DEFAULT, T0, number=number, began=T0, edd=None)

    assert one == two
    assert one is None or T0 < one <= T0 + timedelta(days=1) * 1.1


# vocabulary


def polled_after(now: datetime, *, pace: float = 1.0, edd: Edd | None = None) -> timedelta:
    """Return the interval, of a parcel in transit that was scanned at T0."""
    cadence = Cadence(intervals={S.IN_TRANSIT: 10 * H}, near_delivery=H, pace=pace)
    summary = summarize([told(S.IN_TRANSIT, 0)])
    began = summary.last_scan_at or T0
    number = next(f"N{i}" for i in range(10_000) if zlib.crc32(f"N{i}".encode()) % 1000 == 0)  # not stretched
    at = next_poll(summary, TrackingState.ACTIVE, cadence, began + (now - T0), number=number, began=began, edd=edd)
    assert at is not None
    return at - (began + (now - T0))


def test_polls_are_dense_from_six_hours_before_the_estimate_until_six_after_it() -> None:
    began = told(S.IN_TRANSIT, 0).instant
    edd = Edd(began + 10 * H, began + 12 * H)
    minute = timedelta(minutes=1)
    waits = [polled_after(T0 + at, edd=edd) / H for at in (4 * H - minute, 4 * H, 18 * H, 18 * H + minute)]
    assert waits == [10, 1, 1, 10]


def test_what_is_quiet_is_asked_about_half_as_often_but_never_more_often_than_before() -> None:
    quiet = Summary(S.IN_TRANSIT, since=T0, last_scan_at=T0)
    number = next(f"N{i}" for i in range(10_000) if zlib.crc32(f"N{i}".encode()) % 1000 == 0)  # not stretched
    for every, slowest, waits in ((4, 24, 8), (20, 24, 24), (48, 24, 48)):
        cadence = Cadence(intervals={S.IN_TRANSIT: every * H}, slowest=slowest * H)
        now = T0 + timedelta(days=4)
        at = next_poll(quiet, TrackingState.ACTIVE, cadence, now, number=number, began=T0, edd=None)
        assert at == now + waits * H


def test_an_account_with_webhooks_is_asked_less_often_by_its_pace() -> None:
    assert polled_after(T0 + H, pace=3.0) == 30 * H


def test_what_is_on_its_last_way_near_its_estimate_in_doubt_or_disputed_goes_before_others() -> None:
    def urgent(status: S, *, edd: Edd | None = None, **more: object) -> bool:
        return is_urgent(replace(Summary(status, since=T0, last_scan_at=T0), **more), DEFAULT, T0, edd=edd)  # type: ignore[arg-type]

    assert urgent(S.OUT_FOR_DELIVERY)
    assert not urgent(S.IN_TRANSIT)
    assert urgent(S.IN_TRANSIT, edd=Edd(T0 + 3 * H, T0 + 9 * H))
    assert not urgent(S.IN_TRANSIT, edd=Edd(T0 + 30 * H, T0 + 39 * H))
    assert not urgent(S.PRE_TRANSIT, edd=Edd(T0 + 3 * H, T0 + 9 * H)), "its carrier does not have it"
    assert urgent(S.DELIVERED, disputed=True)
    assert urgent(S.IN_TRANSIT, doubted_at=T0 - H)
    assert not urgent(S.IN_TRANSIT, doubted_at=T0 - DEFAULT.doubted_for)


def test_a_feed_makes_looks_as_rare_as_they_get_whatever_the_status() -> None:
    for status in (S.OUT_FOR_DELIVERY, S.IN_TRANSIT, S.PICKED_UP):
        assert Pace(status, near=True, doubted=True, fed=True).interval(DEFAULT) == DEFAULT.slowest
    assert str(Pace(S.IN_TRANSIT, near=True, fed=True)) == "in_transit, and a feed tells what becomes of it"


def test_a_pace_says_each_reason_that_it_has() -> None:
    assert str(Pace(S.IN_TRANSIT)) == "in_transit"
    assert str(Pace(S.IN_TRANSIT, quiet=True, near=True)) == "in_transit, near its estimate, quiet for days"

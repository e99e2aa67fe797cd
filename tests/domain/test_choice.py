"""Whose parcel is it: one account is chosen, always the same, and another only where something speaks against it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.choice import Candidate, choose, pick

SINCE = datetime(2026, 11, 9, 8, 0, tzinfo=UTC)
A, B, C = (Candidate(name, f"named by the store: {name}") for name in ("ups-a", "ups-b", "easypost"))
names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True)


def chosen(*, suspended: str = "", unknown: str = "") -> tuple[str, str]:
    found = choose((A, B, C), suspended.split(), dict.fromkeys(unknown.split(), SINCE))
    assert found is not None
    return found.account, found.why


def test_the_first_is_asked_and_the_next_only_where_that_is_suspended_or_does_not_know_the_parcel() -> None:
    assert chosen() == ("ups-a", A.why)
    assert chosen(suspended="ups-b", unknown="easypost") == ("ups-a", A.why)
    assert chosen(suspended="ups-a") == ("ups-b", "ups-a is suspended")
    assert chosen(unknown="ups-a") == ("ups-b", "ups-a does not know it since 2026-11-09 08:00Z")
    assert chosen(suspended="ups-b", unknown="ups-a") == (
        "easypost", "ups-a does not know it since 2026-11-09 08:00Z, ups-b is suspended",
    )  # fmt: skip


def test_where_nobody_knows_it_the_first_that_may_be_asked_is_asked_on() -> None:
    account, why = chosen(suspended="ups-a", unknown="ups-b easypost")
    assert (account, why.partition(":")[0]) == ("ups-b", "nobody knows it")
    account, why = chosen(suspended="ups-a ups-b easypost")
    assert (account, why.partition(":")[0]) == ("ups-a", "all are suspended")
    assert choose((), (), {}) is None


def test_why_stays_readable_where_many_are_passed_over() -> None:
    many = [Candidate(f"ups-{i:03}", "named") for i in range(200)]
    found = choose(many, {one.account for one in many[:-1]}, {})
    assert found is not None
    assert found.why == "ups-000 is suspended, ups-001 is suspended, ups-002 is suspended, and 196 more"


@given(store=st.text(max_size=8), names=names)
def test_a_store_that_names_none_gets_the_same_account_in_whatever_order_they_are_written(
    store: str, names: list[str]
) -> None:
    assert pick(store, names) == pick(store, sorted(names)) == pick(store, names[::-1])


@given(store=st.text(max_size=8), names=names, more=st.text(min_size=1, max_size=8))
def test_an_account_more_takes_parcels_only_for_itself(store: str, names: list[str], more: str) -> None:
    assert pick(store, [*names, more]) in (pick(store, names), more)


def test_stores_are_spread_over_the_accounts() -> None:
    accounts = [f"ups-{i}" for i in range(20)]
    counted = Counter(pick(f"store-{i:04}", accounts) for i in range(2_000))

    assert set(counted) == set(accounts)
    assert max(counted.values()) < 160  # 100 each, by and large

"""The small things of the domain: its vocabulary, hashes, spans, errors and payloads."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from tests.domain.scans import T0, H
from tracker.domain import vocabulary
from tracker.domain.errors import ConfigError, RateLimited
from tracker.domain.facts import Payload
from tracker.domain.policy import Calendar, Span
from tracker.domain.vocabulary import ShippingStatus, TrackingState
from tracker.hashing import digest


@pytest.mark.parametrize(
    "words",
    [
        vocabulary.ShippingStatus, vocabulary.Reason, vocabulary.Leg, vocabulary.TrackingState, vocabulary.OrderStatus,
        vocabulary.PaymentStatus, vocabulary.Owner, vocabulary.Zone, vocabulary.Precision, vocabulary.Trust,
        vocabulary.Severity, vocabulary.Act, vocabulary.FindingKind,
    ],
)  # fmt: skip
def test_every_word_has_one_sentence(words: type) -> None:
    for word in words:  # type: ignore[attr-defined]
        assert word.sentence.endswith("."), word
        assert word == word.value == str(word)


def test_there_are_17_statuses_and_13_tracking_states() -> None:
    assert len(ShippingStatus) == 17
    assert len(TrackingState) == 13


def test_custody_begins_at_the_nine_statuses_that_the_requirements_name() -> None:
    named = "picked_up in_transit out_for_delivery delivery_attempted available_for_pickup delivered delivery_failed returning returned"

    assert {s for s in ShippingStatus if s.custody} == set(named.split())


def test_equal_data_has_equal_hashes() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_the_body_of_a_payload_is_its_first_part() -> None:
    assert Payload("a", "poll", (b"1", b"2"), T0).body == b"1"


def test_a_digest_is_of_sorted_tight_json() -> None:
    assert digest({"b": [1, 2], "a": "x"}) == hashlib.sha256(b'{"a":"x","b":[1,2]}').hexdigest()[: len(digest({}))]


def test_a_span_ends_after_it_began() -> None:
    assert Span(elapsed=2 * H).end(T0, Calendar()) == T0 + 2 * H
    assert Span(business_days=1).end(T0, Calendar()) == datetime(2026, 11, 4, tzinfo=UTC)  # T0 is a Monday
    assert Span().end(T0, Calendar()) == T0


def test_errors_say_what_they_know() -> None:
    assert str(ConfigError("a: wrong", "b: wrong")) == "a: wrong\nb: wrong"
    assert RateLimited("slow down", H).after == H
    assert RateLimited("slow down").after is None

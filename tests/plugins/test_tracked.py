"""Tracking fields of shops: what is kept of what people typed, and what is told."""

from __future__ import annotations

import pytest

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Parcel, Unread
from tracker.plugin.tracked import MOST_TYPED, exactly, parcels


def test_what_people_typed_stays_beside_the_number_that_was_read() -> None:
    unread: list[Unread] = []

    assert parcels(" DHL AWB# 1234567890 ", "dhl", "DHL", "$.n", unread) == (
        [Parcel("dhl", "1234567890", "DHL", typed="DHL AWB# 1234567890")], [],
    )  # fmt: skip
    assert parcels(" 1234567890 ", "dhl", "DHL", "$.n", unread) == ([Parcel("dhl", "1234567890", "DHL")], [])
    assert unread == []


def test_what_is_not_read_of_a_field_is_told() -> None:
    unread: list[Unread] = []
    found, _ = parcels(", ".join(str(10**11 + i) for i in range(60)), "fedex", "FedEx", "$.n", unread)

    assert len(found) == 50
    assert len(found[0].typed) == MOST_TYPED
    assert unread == [Unread("$.n", "of 60 numbers the first 50 were kept", lacks="line")]


def test_what_is_kept_can_be_stored_and_shown() -> None:
    _, unreadable = parcels("\ud800 in store \0", None, "", "$.n", [])

    assert unreadable == ["? in store \ufffd"]


def test_what_the_exact_reader_cannot_read_is_a_bad_payload() -> None:
    with pytest.raises(BadPayload):
        exactly(lambda decode: parcels(1.5 if decode.__name__ == "decode" else decode(b"["), None, "", "$.n", []))


@pytest.mark.parametrize("body", [b'{"a": [0.0, Infinity]}', b'{"a": -Infinity}'])
def test_a_number_without_end_is_no_tracking_number(body: bytes) -> None:
    found, unreadable = exactly(lambda decode: parcels(decode(body)["a"], None, "", "$", []))

    assert found == []
    assert [text.strip("\ufffd") for text in unreadable] == [body.decode().rpartition(" ")[2].strip("]}")]

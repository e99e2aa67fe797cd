"""What a mail to a customer may be: when it is quiet, what is an address, what no text may say."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from tests.domain.guide import GUIDE, H, O, S, actions, told
from tests.domain.test_reconcile import T0, shipment
from tracker.domain.mails import Quiet, forbidden, is_address, masked_address, without_addresses
from tracker.domain.reconcile import reconcile
from tracker.domain.vocabulary import Leg

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Quiet(time(21), time(8), "Europe/Berlin")
NOON = Quiet(time(12), time(13, 30), "UTC")


def at(text: str, zone: object = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quiet", "now", "until"),
    [
        (NIGHT, at("2026-11-05T20:59"), None),
        (NIGHT, at("2026-11-05T21:00"), at("2026-11-06T08:00")),
        (NIGHT, at("2026-11-06T00:30"), at("2026-11-06T08:00")),
        (NIGHT, at("2026-11-06T08:00"), None),
        (NIGHT, at("2026-11-05T20:30", UTC), at("2026-11-06T08:00")),
        (NIGHT, at("2026-03-28T23:00"), at("2026-03-29T08:00")),  # the night in which an hour is missing
        (NOON, at("2026-11-05T12:10", UTC), at("2026-11-05T13:30", UTC)),
        (NOON, at("2026-11-05T11:59", UTC), None),
    ],
)
def test_quiet_hours_end_when_their_zone_says_so_also_past_midnight(
    quiet: Quiet, now: datetime, until: datetime | None
) -> None:
    assert quiet.until(now) == until


@pytest.mark.parametrize("text", ["a@b.example", "änne.o'neil+x@bücher.example", "A_b-c@sub.domain.example"])
def test_an_address_is_one(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["", "a", "a@b", "a b@c.example", "a@b.example ", "a@b.example\n", "a@-b.example", "a@b..example", "<a@b.example>", "a@b@c.example", "=?utf-8?q?x?=@b.example", "a\ufffd@b.example"])  # fmt: skip
def test_what_is_no_address_is_none(text: str) -> None:
    assert not is_address(text)


def test_an_address_is_shown_by_its_first_letter_and_nothing_of_it_is_left_in_what_a_server_says() -> None:
    assert masked_address("anna.smith@example.com") == "a***@example.com"
    said = "5.1.1 <anna.smith@example.com>: anna.smith unknown\r\nsee bob@other.example"
    assert without_addresses(said, "anna.smith@example.com") == "5.1.1 <***>: *** unknown  see ***"
    assert without_addresses("no such user an", "an@example.com") == "no such user an"  # two letters stand in any word


def test_no_text_guarantees_or_blames_and_the_line_is_told() -> None:
    assert list(forbidden("Hello\nWe guarantee it will arrive", "en")) == [(2, "guarantee"), (2, "will arrive")]
    assert list(forbidden("Ihre Schuld, spätestens morgen", "de")) == [(1, "Schuld"), (1, "spätestens")]
    assert list(forbidden("Versicherung, Fehlerfreiheit geprüft"[:12], "de")) == []


def test_a_parcel_that_comes_back_is_told_once_as_that_and_never_as_delivered() -> None:
    def notices(status: S, leg: Leg) -> list[str]:
        parcel = shipment(status, at=T0 + H, custody_at=T0, leg=leg)
        found = actions(reconcile(told(O.SHIPPED), [parcel], GUIDE, T0 + 2 * H), "notice")
        return [str(a.notice) for a in found if a.parcels]

    assert notices(S.RETURNING, Leg.RETURN_TO_SENDER) == ["returning"]
    assert notices(S.RETURNED, Leg.RETURN_TO_SENDER) == ["returning"]
    assert notices(S.IN_TRANSIT, Leg.RETURN_TO_SENDER) == []
    assert notices(S.RETURNED, Leg.CUSTOMER_RETURN) == []
    assert notices(S.AVAILABLE_FOR_PICKUP, Leg.OUTBOUND) == ["shipped", "ready_for_pickup"]
    assert notices(S.DELIVERY_ATTEMPTED, Leg.OUTBOUND) == ["shipped", "attempted"]
    assert notices(S.EXCEPTION, Leg.OUTBOUND) == ["shipped", "problem"]

"""Which carriers a number can be of: what speaks for each decides their order, and only one that stands alone is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.numbers import candidates
from tracker.domain.recognition import LIKELY, believed, recognize

SHARED = "9261290289999123456783"  # USPS's IMpb by its check digit, as FedEx, UPS and DHL print them for it
TWELVE = "100000000735"  # the check digits of FedEx Express and of Purolator fit
S10 = "RB123456785GB"


def carriers(number: str, **more: object) -> list[str]:
    return [guess.carrier for guess in recognize(number, **more) if guess.possible]  # type: ignore[arg-type]


def test_a_number_whose_check_digit_fits_one_format_is_believed() -> None:
    assert believed("1Z5R89390357567127") == "ups"
    assert believed("1z 5R89390357567127") == "ups"
    assert believed("1Z5R89390357567127", spoken={*LIKELY}) == "ups", (
        "a shape that nobody documents contests no check digit"
    )


def test_a_wrong_check_digit_is_of_no_carrier_and_is_still_told() -> None:
    assert carriers("1Z5R89390357567128") == []
    (guess,) = recognize("1Z5R89390357567128")
    assert (guess.carrier, guess.check) == ("ups", "wrong")


def test_a_few_digits_prove_nothing_where_somebody_tells_of_any_carrier() -> None:
    for number, carrier in (
        ("788829354408", "fedex"),
        ("19041424751540", "dhl"),
    ):  # both are AWBs of ShipRocket's samples
        assert believed(number) == carrier
        assert believed(f" {number} ", any_carrier=True) is None
        assert believed(number, any_carrier=True, spoken={carrier}) == carrier, "an account speaks for it"
    for number, carrier in (("1Z5R89390357567127", "ups"), (SHARED, "usps"), (S10, "royalmail")):
        assert believed(number, any_carrier=True) == carrier


def test_two_carriers_whose_check_digits_fit_both_stay_possible() -> None:
    assert carriers(TWELVE) == list(candidates(TWELVE))
    assert believed(TWELVE) is None


def test_what_the_store_ships_with_ranks_carriers_that_fit_equally() -> None:
    assert set(carriers(TWELVE)[:2]) == {"fedex", "purolator"}
    assert carriers(TWELVE, habit={"purolator": 7})[0] == "purolator"
    assert carriers(TWELVE, habit={"fedex": 7, "purolator": 2})[0] == "fedex"
    assert "open parcels of the store that are of it: 7" in recognize(TWELVE, habit={"fedex": 7})[0].why


def test_the_service_of_the_order_comes_before_habit() -> None:
    assert carriers(TWELVE, habit={"fedex": 7}, named={"purolator"})[0] == "purolator"


def test_a_consolidators_number_is_the_posts_and_its_own_where_both_have_an_account() -> None:
    assert carriers(SHARED) == ["usps"]
    assert carriers(SHARED, spoken={"usps", "fedex"}) == ["usps", "fedex"]
    assert believed(SHARED, spoken={"usps", "fedex"}) is None
    assert believed(SHARED, spoken={"usps"}) == "usps"


def test_an_s10_number_is_of_the_post_of_its_country_and_of_that_where_the_order_goes() -> None:
    assert believed(S10) == "royalmail"
    assert carriers(S10, country="US", spoken={"usps", "royalmail"}) == ["royalmail", "usps"]
    assert believed(S10, country="US", spoken={"usps"}) is None
    assert believed(S10, country="US") == "royalmail", "nobody could be asked in the US"
    assert believed(S10, country="GB", spoken={"royalmail"}) == "royalmail"


@pytest.mark.parametrize("carrier", sorted(LIKELY))
def test_a_shape_that_no_document_tells_counts_only_with_an_account_and_is_never_believed_alone(carrier: str) -> None:
    number = {
        "postnl": "3SDEVC100000001", "gls": "12345678902", "evri": "H00ABCDEFGH12345", "hermes_germany": "12345678901234",
        "australiapost": "7XX1000634011427", "delhivery": "12345678902", "bluedart": "123456789", "royalmail": "123456789012345678901",
        "dhl": "00340434161094042557", "dpd": "05222000000011",
    }[carrier]  # fmt: skip
    assert carrier in carriers(number, spoken={carrier})
    assert carrier not in carriers(number)
    assert believed(number, spoken={carrier}) != carrier


@pytest.mark.parametrize(
    ("number", "carrier"),
    [
        ("00340434161094042557", "dhl"), ("JD014600003889018475", "dhl"), ("05301000000031", "dpd"),
        ("H9746130018743501086", "hermes_germany"),
    ],
)  # fmt: skip
def test_numbers_as_documents_of_the_carriers_print_them_may_be_theirs(number: str, carrier: str) -> None:
    assert carrier in carriers(number, spoken={*LIKELY})
    assert carriers(number, spoken={carrier, "australiapost"})[-1] != carrier, (
        "what nearly every number fits is asked last"
    )


@given(st.text(max_size=40), st.sampled_from(["", "US", "GB", "XX"]), st.sets(st.sampled_from(sorted(LIKELY))))
def test_whatever_is_asked_each_carrier_is_told_once_and_what_is_believed_is_possible(
    number: str, country: str, spoken: set[str]
) -> None:
    found = recognize(number, country=country, spoken=spoken)
    assert len({guess.carrier for guess in found}) == len(found)
    sure = believed(number, country=country, spoken=spoken)
    assert sure is None or [guess.carrier for guess in found if guess.possible] == [sure]
    assert set(candidates(number)) <= {guess.carrier for guess in found if guess.possible}

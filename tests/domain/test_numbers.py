"""What people type into a tracking field: the numbers in it, what is none, and what can be read in two ways."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from tracker.domain.numbers import MOST_NUMBERS, MOST_READ, Printed, Typed, candidates, clean, doubtful, numbers_in

UPS, UPS2, UPS_ODD = "1ZR589390357567121", "1ZR589400357568494", "1ZR589390357567122"
USPS, USPS2 = "9400111206206406260787", "9400111206206406260794"
S10 = "RB123456785GB"
CASES = yaml.safe_load((Path(__file__).parents[1] / "cases" / "numbers.yaml").read_text(encoding="utf-8"))
COMPANIES = {"UPS": "ups", "DHL Express": "dhl", "FedEx": "fedex", "": None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["typed"])[:40])
def test_what_people_typed_is_tracked(case: dict[str, Any]) -> None:
    carrier = COMPANIES[case["company"]]

    assert [f"{carrier} {number}" for number in numbers_in(case["typed"], carrier).numbers] == case["tracks"]


@pytest.mark.parametrize(
    ("typed", "carrier", "numbers"),
    [
        # several in one field
        (f"{UPS};{UPS2}|{UPS}", "ups", [UPS, UPS2]),
        (f"{UPS} and {UPS2}", None, [UPS, UPS2]),
        (f"{UPS} & {UPS2}", None, [UPS, UPS2]),
        (f"{UPS}\t{UPS2}", None, [UPS, UPS2]),
        (f"{UPS}\r\n{UPS2}\r\n", None, [UPS, UPS2]),
        (f"{UPS} {UPS2}", None, [UPS, UPS2]),
        (f"{UPS} - {UPS2}", None, [UPS, UPS2]),
        (f"{USPS}-{USPS2}", None, [USPS, USPS2]),
        (f"{UPS}\u200b{UPS2}", None, [UPS, UPS2]),
        ("12345678\u200b90123456", None, ["1234567890123456"]),
        ("123456789012 123456789013", None, ["123456789012", "123456789013"]),
        ("123456789012-123456789013", None, ["123456789012", "123456789013"]),
        ("1234567890 1234567891", "dhl", ["1234567890", "1234567891"]),
        ("1234567892 9876540002", None, ["1234567892", "9876540002"]),  # together they fit USPS by chance
        ("12345, 12346", None, ["12345", "12346"]),
        (f"2 boxes: {UPS}, {UPS2}", None, [UPS, UPS2]),
        (f"Box 1/2 {UPS}; Box 2/2 {UPS2}", None, [UPS, UPS2]),
        (f"{UPS}, 12345678", "ups", [UPS, "12345678"]),
        (f"{UPS} (2)", None, [UPS]),
        ("12345678 (2)", None, ["12345678"]),
        ("#☠1☢\n---\n4321\n", None, ["4321"]),  # Shopify's own sample
        # words around
        (f"Tracking no: {UPS}.", None, [UPS]),
        ("Tracking no: 12345", None, ["12345"]),
        ("Nr.123456", None, ["123456"]),
        ("№1234567890", None, ["1234567890"]),
        ("DHL-1234567890", None, ["1234567890"]),
        ("1234567890-DHL", None, ["1234567890"]),
        (f"UPS-{UPS}", None, [UPS]),
        (f"{UPS}, picked up in store", "ups", [UPS]),
        (f"order 12345678 {UPS}", "ups", [UPS]),
        (f"{UPS} order 12345678", "ups", [UPS]),
        ("left with Spring 323211234567", None, ["323211234567"]),
        ("运单号：YT1234567890123", None, ["YT1234567890123"]),
        (f"me@shop.example {UPS}", None, [UPS]),
        ("AWB 123456789", "purolator", ["123456789"]),
        ("no 1234567890", None, ["1234567890"]),
        ("KYV 009956937", "purolator", ["KYV009956937"]),
        # links
        (f"https://www.ups.com/track?tracknum={UPS}", "ups", [UPS]),
        (f"https://tools.usps.com/go/TrackConfirmAction?tLabels={USPS}%2C{USPS2}%2C", "usps", [USPS, USPS2]),
        (f"https://www.ups.com/track?loc=en_US&tracknum={UPS}%0D%0A{UPS2}", None, [UPS, UPS2]),
        (f"https://www.ups.com/track?InquiryNumber1={UPS}&InquiryNumber2={UPS2}", None, [UPS, UPS2]),
        ("https://www.fedex.com/fedextrack/?trknbr=123456789012&trkqual=12029~123456789012~FDEG", "fedex", ["123456789012"]),
        ("https://www.dhl.com/en/express/tracking.html?AWB=1234567890&brand=DHL", "dhl", ["1234567890"]),
        (f"https://www.royalmail.com/track-your-item#/tracking-results/{S10}", None, [S10]),
        (f"https://x.aftership.com/ups/{UPS}?lang=en", None, [UPS]),
        ("https://track.example.com/t/AB123456/", None, ["AB123456"]),
        (f"https://example.com/?weird={UPS}&when=1698765432", None, [UPS]),
        (f"ups.com/track?loc=en_US&tracknum={UPS}", None, [UPS]),
        (f"Track it:https://www.ups.com/track?tracknum={UPS}", None, [UPS]),
        (f'<a href="https://www.ups.com/track?tracknum={UPS}">{UPS2}</a>', None, [UPS, UPS2]),
        # digits in groups, hyphens
        ("9400 1112 0620 6406 2607 87", None, [USPS]),
        ("9400-1112-0620-6406-2607-87", "usps", [USPS]),
        ("9400 1112 0620 6406 2607 88", "usps", ["9400111206206406260788"]),
        ("9400 1112 0620 6406 2607 88", None, ["9400111206206406260788"]),
        ("9400 1112 0620 6406 2607 87 9400 1112 0620 6406 2607 94", "usps", [USPS, USPS2]),
        ("1Z R58 939 03 5756 7121", None, [UPS]),
        ("1Z R58 939 03 5756 7122", None, [UPS_ODD]),
        ("1Z R58 939 03 5756 7121 1Z R58 940 03 5756 8494", "ups", [UPS, UPS2]),
        ("RB 123 456 785 GB", None, [S10]),
        ("RB 123 456 785 NO", None, ["RB123456785NO"]),
        ("GM 2 9 5 117 32 25 1 7 44 9 4", None, ["GM295117322517449" "4"]),
        ("1234 5678 9012 3456", "fedex", ["1234567890123456"]),  # its first twelve digits fit FedEx by shape alone
        ("9865 7878 8855 3456", "fedex", ["9865787888553456"]),  # ... and with their check digit
        ("9865 7878 8855 9865 7878 8856 11", None, ["9865787888559865787888" "5611"]),
        ("9865 7878 8855 9865 7878 8855", "fedex", ["986578788855"]),
        ("12345678 90", "dhl", ["1234567890"]),
        ("(00)340434292135100056", "dhl", ["00340434292135100056"]),
        (f"42012345 {USPS}", "usps", [f"42012345{USPS}"]),
        ("020-12345678", None, ["02012345678"]),
        # numbers of no known format keep their form
        ("VAN-1", None, ["VAN-1"]),
        ("ham-cb-6103921", "dhl", ["HAM-CB-6103921"]),
        ("1-254346763_1", "dhl", ["1-254346763_1"]),
        (" x1 ", None, ["X1"]),
        ("AB12 CD34 EF56", None, ["AB12CD34EF56"]),
        # characters that nobody sees, and digits of other scripts
        ("1Z\u00adR589\u200e390357567121\ufeff\x00", None, [UPS]),
        ("1ZR58\u00a0939\u202f0357567121", None, [UPS]),
        ("１ＺＲ５８９３９０３５７５６７１２１", None, [UPS]),
        ("1Z‑R58939–0357567121", None, [UPS]),
        ("٠٣٤٥٦٧٨٩١٢٣٤", None, ["034567891234"]),
        # JSON
        (Printed("123456789012"), "fedex", ["123456789012"]),
        (Printed("1.23456789012e11"), "fedex", ["123456789012"]),
        (Printed("123456789012.0"), "fedex", ["123456789012"]),
        (Printed("123456789012.000"), "fedex", ["123456789012"]),
        (Printed("1.234567890120E+11"), "fedex", ["123456789012"]),
        ("123456789012.0", "fedex", ["123456789012"]),
        (9400111206206406260787, "usps", [USPS]),
        ([UPS, [UPS2, None, 123456789012]], None, [UPS, UPS2, "123456789012"]),
    ],
)  # fmt: skip
def test_numbers_are_found_as_people_type_them(typed: Any, carrier: str | None, numbers: list[str]) -> None:
    found = numbers_in(typed, carrier)

    assert (list(found.numbers), found.unreadable, found.rest) == (numbers, (), "")


@pytest.mark.parametrize(
    "typed",
    [
        "picked up in store", "no tracking", "order 1001 picked up", "picked up 2026-11-02 14:30", "2026-11-02", "02.11.2026",
        "11/28/2026", "2026-11-02T14:30:00Z", "picked up by John, call +49 171 1234567", "+49 171 1234567", "two of 3", "left in WAREHOUSE12",
        "已于11月02日自提", "Größe42x", "me12345678@shop.example", "see https://example.com/help", "https://example.com/v2?page=12345678",
        "12345678 90", "1234567 89012345 6", "A-1 B-2", "left with Bob 12345678 90", "9.40011E+21", "1.23457E+11", "1,2E11", "x" * 65 + "1", "ab-1-" * 30,
        "1234567 " * 10,
    ],
)  # fmt: skip
def test_what_is_no_number_is_told(typed: str) -> None:
    assert numbers_in(typed) == Typed({}, (typed,))


@pytest.mark.parametrize(
    "typed", [None, "", " ", "-", "--", "n/a", "N.A.", "none", "null", "tbd", "0", "0000", 0, "\u200b", "☠", []]
)
def test_a_placeholder_is_nothing(typed: Any) -> None:
    assert numbers_in(typed) == Typed()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (True, "true"), (-5, "-5"), (1.5, "1.5"), (9.400111206206407e21, "9.400111206206407e+21"), ({"a": 1}, "an object"),
        (Printed("1.23457E+11"), "1.23457E+11"), (Printed("12345678.5"), "12345678.5"), (Printed("-12345678.0"), "-12345678.0"),
        (Printed("1e999"), "1e999"), ("\ufffd1e400", "1e400"), ("\ufffd-1.5E+400", "-1.5E+400"), ("\ufffd" + "9" * 40, "9" * 40), ("\ufffdNaN", "NaN"),
        (10**64, "more than 64 digits"),
    ],
)  # fmt: skip
def test_a_value_that_lost_its_digits_or_never_had_any_is_told(typed: Any, shown: str) -> None:
    assert numbers_in(typed) == Typed({}, (shown,))


def test_a_part_that_lost_its_digits_is_told_beside_the_number() -> None:
    found = numbers_in(f"{UPS}, 9.40011E+21")

    assert (list(found.numbers), found.unreadable) == ([UPS], ("9.40011E+21",))


def test_what_was_typed_stays_beside_its_number() -> None:
    assert numbers_in([f"UPS {UPS}", UPS2]).numbers == {UPS: f"UPS {UPS}", UPS2: UPS2}


def test_fifty_numbers_are_kept_and_the_rest_is_told() -> None:
    found = numbers_in(", ".join(str(10**11 + i) for i in range(60)))

    assert list(found.numbers)[-1] == str(10**11 + 49)
    assert found.rest == "of 60 numbers the first 50 were kept"
    assert len(found.numbers) == MOST_NUMBERS


def test_a_long_text_is_read_up_to_a_separator_and_the_rest_is_told() -> None:
    typed = f"{UPS}, {UPS2} " * 200

    found = numbers_in(typed)

    assert list(found.numbers) == [UPS, UPS2]
    assert re.fullmatch(r"of 7800 characters the first 49\d\d were read", found.rest)
    assert numbers_in("9" * (MOST_READ + 1)).unreadable == ("9" * (MOST_READ + 1),)


@pytest.mark.parametrize(
    "piece",
    ["1 ", "1-", "9", "12345678 ", "a.b.", "1Z R58 ", ",", "\u0301", "№", "http://", "www.a=1&", "420123", "a@", "1.1,", "\0",
     "(", "٣", "\ufdfa", "1/1/", "x=1;", " \x02"],
)  # fmt: skip
def test_a_hostile_text_of_100_kb_costs_nothing(piece: str) -> None:
    text = piece * (100_000 // len(piece))

    found = numbers_in(text)

    assert len(found.numbers) <= MOST_NUMBERS
    assert found.rest
    clean(text)


@pytest.mark.parametrize(
    ("carrier", "number", "said"),
    [
        ("ups", UPS_ODD, True), ("ups", UPS, False), ("ups", "1Z R58939 0357567122", True), ("ups", "X1", False),
        ("dhl", "1234567890", True), ("dhl", "3318810025", False), ("dhl", "12345678901234", False),  # no check digit there
        ("royalmail", "RB123456786GB", True), ("royalmail", S10, False), ("ups", S10, False), ("fedex", "123456789013", True),
    ],
)  # fmt: skip
def test_a_number_is_doubtful_where_its_carrier_has_its_shape_and_no_check_digit_fits(
    carrier: str, number: str, said: bool
) -> None:
    assert doubtful(carrier, number) is said


def test_a_single_number_is_cleaned_as_it_is_read() -> None:
    assert clean("1z-r58939-0357567121") == clean(f"UPS {UPS}") == UPS
    assert clean(" van-1 ") == "VAN-1"
    assert clean("picked up\u200b") == "PICKEDUP"
    assert clean(f"{UPS} {UPS2}") == UPS + UPS2
    assert candidates("1ZR589390357567121\u200b") == ("ups",)


# properties

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.floats().map(str).map(Printed),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
NOISE = st.text(st.sampled_from("0123456789 -._/,#:()AZ1Rr\u200b\u00a0\u5355é№\n+&@"), max_size=60)
KNOWN = st.sampled_from([UPS, UPS2, USPS, USPS2, S10, "986578788855", "1ZR589390357567122"])
CARRIERS = st.sampled_from([None, "ups", "usps", "fedex", "dhl", "purolator", "nobody"])


@given(VALUES, CARRIERS)
def test_any_value_can_be_read(value: Any, carrier: str | None) -> None:
    found = numbers_in(value, carrier)

    assert all(isinstance(text, str) for text in (*found.numbers, *found.unreadable))


@given(NOISE, CARRIERS)
@example("_0.1", None)
def test_a_number_that_was_found_reads_as_itself(text: str, carrier: str | None) -> None:
    for number in numbers_in(text, carrier).numbers:
        assert 0 < len(number) <= 64
        assert number.isascii()
        assert re.search("[0-9]", number)
        assert number == number.upper() == clean(number)
        assert list(numbers_in(number).numbers) == [number]


@given(NOISE, CARRIERS)
def test_a_text_with_digits_is_never_dropped_in_silence(text: str, carrier: str | None) -> None:
    found = numbers_in(text, carrier)

    if re.search("[1-9]", text):
        assert found.numbers or found.unreadable


@given(
    st.lists(KNOWN, min_size=1, max_size=5), st.sampled_from([", ", ";", "\n", " / ", "|", "\t", " and ", " & ", " "])
)
def test_several_numbers_are_found_each_once_in_their_order(numbers: list[str], between: str) -> None:
    assert list(numbers_in(between.join(numbers)).numbers) == list(dict.fromkeys(numbers))


@given(KNOWN, st.lists(st.tuples(st.integers(0, 21), st.sampled_from("\u200b\u200e\ufeff\u00ad\u2060\0")), max_size=4))
def test_what_nobody_sees_changes_nothing(number: str, hidden: list[tuple[int, str]]) -> None:
    text = number
    for at, character in hidden:
        text = text[:at] + character + text[at:]

    assert list(numbers_in(text).numbers) == [number]


@given(KNOWN, st.integers(3, 6), st.sampled_from(" -\u00a0\u2011"))
def test_a_number_typed_in_groups_is_one(number: str, size: int, between: str) -> None:
    text = between.join(number[at : at + size] for at in range(0, len(number), size))

    assert list(numbers_in(text).numbers) == [number]


def test_the_parameter_of_a_link_may_be_json_text() -> None:
    assert numbers_in(json.dumps({"number": UPS})).numbers == {UPS: json.dumps({"number": UPS})}


@pytest.mark.parametrize(
    ("number", "fits"),
    [("RB123456785GB", True), ("RB123456784GB", False), ("RR000000005GB", True), ("RA000000020GB", False)],
)
def test_the_check_digit_of_s10_is_five_for_rest_zero_and_none_for_rest_one(number: str, fits: bool) -> None:
    """UPU S10: 11 - (8a+6b+4c+2d+3e+5f+9g+7h mod 11); 10 becomes 0, 11 becomes 5."""
    weights, digits = (8, 6, 4, 2, 3, 5, 9, 7), [int(c) for c in number[2:10]]
    rest = 11 - sum(w * d for w, d in zip(weights, digits, strict=True)) % 11
    assert ({10: 0, 11: 5}.get(rest, rest) == int(number[10])) is fits
    assert (candidates(number)[:1] == ("royalmail",)) is fits


# examples of github.com/jkeen/tracking_number_data @ b79ce4b


@pytest.mark.parametrize(
    ("number", "first"),
    [
        ("1Z5R89390357567127", "ups"), ("K1506235620", "ups"), ("1R12345678912345", "ups"), ("986578788855", "fedex"),
        ("041441760228964", "fedex"), ("9400111206206406260787", "usps"), ("0073938000549297", "canadapost"),
        ("320595463938", "purolator"), ("KYV009956937", "purolator"), ("RB123456785GB", "royalmail"),
        ("RB123456785FR", "post_fr"), ("GM2951173225174494", "dhl"), ("09980000020033F", "dpd"), ("3318810025", "dhl"), ("03071790000523483741", "usps"), ("JJD0002257639032011", "yodel"), ("C11031500001879", "ontrac"), ("D10011354453707", "ontrac"),
    ],
)  # fmt: skip
def test_a_number_is_recognized(number: str, first: str) -> None:
    assert first in candidates(number)


def test_spaces_case_and_direction_marks_do_not_matter() -> None:
    assert candidates("１Ｚ5R89390357567127") == ("ups",)  # full-width digits are digits
    assert candidates("\u200f 1z 5R89390357567127\u200e") == candidates("1Z5R89390357567127") == ("ups",)


@pytest.mark.parametrize(
    "number",
    [
        "",
        "1Z5R89390357567128",
        "996578788855",
        "RB123456785XX",
        "'; DROP TABLE scans; --",
        "a" * 4096,
        "\r\nX",
    ],
)
def test_what_is_no_number_has_no_candidate(number: str) -> None:
    assert candidates(number) == ()


def test_a_check_digit_ranks_before_a_mere_shape() -> None:
    assert candidates("04144176022896")[0] != ""
    assert clean(" a b ") == "AB"


@given(st.text(max_size=60))
def test_recognition_is_total(text: str) -> None:
    assert isinstance(candidates(text), tuple)

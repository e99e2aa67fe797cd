"""Reading untrusted JSON: what can be read is read, what cannot is told with its path, and nothing else is raised."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Code, Meaning, Scan, Unread
from tracker.domain.vocabulary import Precision, Reason, ShippingStatus, Zone
from tracker.plugin.payloads import (
    MOST_TOLD,
    about,
    decode,
    estimate,
    flag,
    optional,
    piece,
    pieces,
    printed,
    term,
    told,
    with_head,
    word,
)
from tracker.plugin.tracked import orders


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "x\\ud800y", "b": "\\ud83d\\ude00", "\\udfff": 1}', {"a": "x\ufffdy", "b": "\U0001f600", "\ufffd": 1}),
        (b'{"a": "M\xfcnchen"}', {"a": "M\ufffdnchen"}),
        (b'{"a": ["x\\u0000y"], "\\u0000": "\\\\u0000"}', {"a": ["x\ufffdy"], "\ufffd": "\\u0000"}),
        (b'{"a": "x\x00\ty"}', {"a": "x\ufffd\ty"}),
        (b'{"a": NaN, "b": [-Infinity, 1e400, 1.5, 7]}', {"a": "\ufffdNaN", "b": ["\ufffd-Infinity", "\ufffd1e400", 1.5, 7]}),
        (b'{"a": ' + b"9" * 401 + b"}", {"a": "\ufffd" + "9" * 40}),
        (b'{"n": 9400111206206406260787, "a": 1e400}', {"n": "9400111206206406260787", "a": "\ufffd1e400"}),
    ],
)  # fmt: skip
def test_one_odd_character_or_number_costs_itself_only(body: bytes, value: object) -> None:
    assert decode(body) == value


@pytest.mark.parametrize(
    "body", [b"", b"\xef\xbb\xbf", b"[]", b"null", b"<html>", b'{"a": ', b'{"a":' * 100_000, b"[" * 100_000]
)
def test_what_is_no_object_is_a_bad_payload(body: bytes) -> None:
    with pytest.raises(BadPayload, match=r"^\$: "):
        decode(body)


def _number(item: dict[str, object], unread: list[Unread], plus: int) -> int:
    optional(word, item.get("note"), "$.note", unread)
    value = item.get("n")
    if not isinstance(value, int):
        raise BadPayload("$.n", "must be a number")
    return value + plus


def test_a_piece_costs_itself_only_and_its_path_is_whole() -> None:
    unread: list[Unread] = []
    items = [{"n": 1}, 7, {"n": "x"}, {"n": 2, "note": []}, {"n": 3, "note": ""}, None]

    assert pieces(items, "$.a", _number, unread, 10, lacks="line") == [11, 12, 13]
    assert piece({"n": 4}, "$.b", _number, unread, 0) == 4
    assert piece("x", "$.c", _number, unread, 0) is None
    assert pieces("x", "$.d", _number, unread, 0, lacks="all") == []
    assert pieces(None, "$.e", _number, unread, 0) == []

    assert [(one.where, one.lacks) for one in unread] == [
        ("$.a[1]", "line"), ("$.a[2].n", "line"), ("$.a[3].note", ""), ("$.a[5]", "line"), ("$.c", ""), ("$.d", "all"),
    ]  # fmt: skip
    about("N1", unread)
    about("N2", unread)
    assert {one.subject for one in unread} == {"N1"}


def test_of_very_many_pieces_that_cannot_be_read_the_first_are_told_and_the_others_counted() -> None:
    unread: list[Unread] = []
    odd: list[Any] = [0, {"n": "x"}] * MOST_TOLD

    assert pieces([*odd, {"n": 1}], "$.a", _number, unread, 10, lacks="line") == [11]
    assert len(unread) == MOST_TOLD + 1
    assert unread[-1] == Unread("$.a", "1000 more pieces could not be read", lacks="line")
    assert orders([0] * 2000, "$.o", lambda *_: None, "ref", left := []) == []  # type: ignore[arg-type, return-value]
    assert (len(left), left[-1].problem) == (MOST_TOLD + 1, "1000 more pieces could not be read")


def test_a_payload_is_bad_only_where_nothing_of_it_was_read() -> None:
    missed = Unread("$.a[1]", "is none")

    assert told([1], []) == [1]
    assert told([], []) == []
    assert told([1], [missed]) == [1, missed]
    with pytest.raises(BadPayload, match=r"\$\.a\[1\]: is none"):
        told([], [missed])


def test_a_term_that_is_no_text_is_told() -> None:
    unread: list[Unread] = []

    assert [term(value, "$.a", unread) for value in (" x ", "", None, 7, ["x"])] == ["x", "", "", "", ""]
    assert [one.problem for one in unread] == ["must be a text, is a int", "must be a text, is a list"]


@pytest.mark.parametrize(
    ("value", "local", "zone", "precision", "problem"),
    [
        ("2026-08-28T09:10:00-05:00", "2026-08-28T09:10:00", Zone.OFFSET, Precision.SECOND, ""),
        (" 2026-08-28T09:10:00 ", "2026-08-28T09:10:00", Zone.UNKNOWN, Precision.SECOND, ""),
        ("2026-08-28", "2026-08-28T00:00:00", Zone.UNKNOWN, Precision.DATE, ""),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00", Zone.OFFSET, Precision.SECOND, ""),
        (None, None, Zone.UNKNOWN, Precision.SECOND, ""),
        ("", None, Zone.UNKNOWN, Precision.SECOND, ""),
        ("0001-01-01T00:00:00+14:00", None, Zone.UNKNOWN, Precision.SECOND, "is no year"),
        ("9999-12-31T23:59:59-14:00", None, Zone.UNKNOWN, Precision.SECOND, "is no year"),
        ("yesterday", None, Zone.UNKNOWN, Precision.SECOND, "is no ISO 8601"),
        (0, None, Zone.UNKNOWN, Precision.SECOND, "must be a date and time, is a int"),
        ([], None, Zone.UNKNOWN, Precision.SECOND, "must be a date and time, is a list"),
    ],
)
def test_a_time_is_read_or_left_out(value, local, zone, precision, problem) -> None:
    unread: list[Unread] = []

    at, instant, how, fine = printed(value, "$.a", unread)

    assert (at.isoformat() if at else None, how, fine) == (local, zone, precision)
    assert (instant is not None) is (zone is Zone.OFFSET)
    assert [one.problem.startswith(problem) for one in unread] == ([True] if problem else [])


@pytest.mark.parametrize(
    ("begins", "ends", "last"),
    [
        (datetime(2026, 8, 28), None, "2026-08-29T00:00:00+00:00"),
        (datetime(2026, 8, 28, 17), None, "2026-08-28T17:00:00+00:00"),
        (datetime(2026, 8, 28, 9), datetime(2026, 8, 28, 12, tzinfo=UTC), "2026-08-28T12:00:00+00:00"),
        (datetime(2026, 8, 28, 9), datetime(2026, 8, 27), "2026-08-28T09:00:00+00:00"),
        (datetime(2026, 8, 28), datetime(2026, 8, 28), "2026-08-29T00:00:00+00:00"),
    ],
)
def test_an_estimate_is_a_window_a_moment_or_a_day(begins, ends, last) -> None:
    edd = estimate(begins, ends)

    assert (edd.begins, edd.ends.isoformat()) == (begins.replace(tzinfo=UTC), last)


MEANINGS = {
    "out": Meaning(ShippingStatus.OUT_FOR_DELIVERY), "van": Meaning(ShippingStatus.OUT_FOR_DELIVERY),
    "tried": Meaning(ShippingStatus.DELIVERY_ATTEMPTED), "note": Meaning(None, Reason.INFORMATION_ONLY),
}  # fmt: skip


def scan(code: str, hour: int | None = None, *, instant: bool = False) -> Scan:
    at = datetime(2026, 8, 28, hour) if hour is not None else None
    return Scan(Code("s", code), None if instant else at, at.replace(tzinfo=UTC) if at and instant else None)


@pytest.mark.parametrize(
    ("scans", "head", "added"),
    [
        ([], scan("out"), True),
        ([scan("tried", 9)], scan("out"), True),
        ([scan("van", 9)], scan("out"), False),
        ([scan("tried", 9)], scan("note"), False),
        ([scan("tried", 9)], scan("new"), True),
        ([scan("new", 9)], scan("new"), False),
        ([scan("new", 9)], scan("tried"), True),
        ([scan("out", 8), scan("tried", 9)], scan("out", 10), True),
        ([scan("out", 8, instant=True), scan("tried", 9)], scan("out", 10), True),
        ([scan("out", 8), scan("tried", 9)], scan("out", 9), False),
        ([scan("tried", 8), scan("out", 9)], scan("out", 10), False),
        ([scan("out"), scan("tried", 9)], scan("out", 10), False),
        ([scan("out")], scan("out", 10), False),
    ],
)
def test_a_head_becomes_a_scan_where_no_scan_carries_it(scans, head, added) -> None:
    found = with_head(scans, head, lambda code: MEANINGS.get(code.code))

    assert found == (*scans, *([head] if added else []))


@pytest.mark.parametrize(
    ("value", "stands", "problem"),
    [
        (True, True, ""), (1, True, ""), ("1", True, ""), (" True ", True, ""), ("yes", True, ""),
        (False, False, ""), (0, False, ""), ("0", False, ""), ("no", False, ""), ("", False, ""), (None, False, ""),
        ("perhaps", False, "is no yes or no: 'perhaps'"), (2, False, "is no yes or no, is a int"), ([], False, "is no yes or no, is a list"),
    ],
)  # fmt: skip
def test_a_flag_is_read_however_it_is_printed_and_what_says_neither_is_told(
    value: object, stands: bool, problem: str
) -> None:
    unread: list[Unread] = []

    assert flag(value, "$.back", unread) is stands
    assert unread == ([Unread("$.back", problem)] if problem else [])

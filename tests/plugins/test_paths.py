"""JMESPath to what an answer holds: what is missing is null, what is of another type is told, and nothing takes long."""

from __future__ import annotations

import json
import time

import jmespath
import pytest

from tracker.domain.facts import Unread
from tracker.plugin.paths import MOST_EXPRESSION, Path, Reading
from tracker.plugin.payloads import MOST_TOLD

ANSWER = {
    "sets": [{"parcels": [{"n": "A", "at": {"city": "Oslo"}}, {"n": "B", "at": ["Oslo"]}]}, {"parcels": "none"}, 7],
    "list": [1, 2],
    "word": "x",
    "none": None,
    "empty": "",
}


def one(text: str, value: object = ANSWER) -> tuple[object, list[tuple[str, str]]]:
    unread: list[Unread] = []
    found = Reading().one(Path(text), value, unread)
    return found, [(told.where, told.problem) for told in unread]


@pytest.mark.parametrize(
    "text",
    ["a", "a.b", "a[0]", "a[-1].b", "a[]", "a[].b", "a[*].b", "a[].b[]", "a[?b=='c'].d | [0]", "a || b", "length(a)",
     "[a, b]", "{x: a}", "a[1:3]", "*.b", "@", "join('-', [a, b])", "sort_by(a, &b)[0].b", "a.b.c[0].d"],
)  # fmt: skip
@pytest.mark.parametrize(
    "value",
    [
        {"a": [{"b": "c", "d": 1}, {"b": "e", "d": 2}]},
        {"a": {"b": {"c": [{"d": 4}]}}, "b": "t"},
        {"a": "x", "b": "y"},
        {"a": [], "b": None},
        {},
    ],
)
def test_what_it_finds_is_what_the_library_finds(text: str, value: dict) -> None:
    try:
        wanted = jmespath.search(text, value)
    except jmespath.exceptions.JMESPathError:
        wanted = None

    assert one(text, value)[0] == wanted


@pytest.mark.parametrize(
    "text", ["none", "none.a.b", "empty.a", "absent", "absent[0].b", "list[9]", "absent[?a=='b'] | [0]"]
)
def test_what_is_missing_is_nothing_and_no_problem(text: str) -> None:
    found, told = one(text)

    assert not found
    assert told == []


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("word.a", "$.word", "must be an object, is a text"),
        ("list.a", "$.list", "must be an object, is a list"),
        ("word[0]", "$.word", "must be a list, is a text"),
        ("sets[1].parcels.x", "$.sets[1].parcels", "must be an object, is a text"),
        ("word || absent", None, None),
        ("join('', [word.a, word])", "$.(join('', [word.a, word]))", "cannot be read: In function join()"),
        ("word.a || word", "$.(word.a || word)", "a: must stand in an object, not in a text"),
        ("sets[].parcels[].at.city", "$.(sets[].parcels[].at.city)", "parcels: must stand in an object, not in a int"),
        ("word[?a=='b']", "$.(word[?a=='b'])", "must be a list, is a text"),
        ("list[?@ == 'b']", "$.(list[?@ == 'b'])", "compares a int with a text"),
        ("length(list) == '2'", "$.(length(list) == '2')", "compares a int with a text"),
        ("sum(sets)", "$.(sum(sets))", "cannot be read: In function sum()"),
        ("word.*", "$.(word.*)", "must be an object, is a text"),
        ("list.*.a", "$.(list.*.a)", "must be an object, is a list"),
        ("word[0:2]", "$.(word[0:2])", "a slice must be of a list, not of a text"),
        ("ceil(to_number('1e999'))", "$.(ceil(to_number('1e999')))", "cannot be read: OverflowError"),
    ],
)
def test_what_is_of_another_type_is_told_with_its_place(text: str, where: str | None, problem: str | None) -> None:
    told = one(text)[1]

    if where is None:
        assert told == []
    else:
        assert any(at == where and said.startswith(str(problem)) for at, said in told), told


def test_lists_are_found_each_with_its_place_and_what_is_none_is_told() -> None:
    unread: list[Unread] = []
    found = Reading().lists(Path("sets[].parcels[]"), ANSWER, unread, "all")

    assert [where for _, where in found] == ["$.sets[0].parcels", "$.sets[1].parcels"]
    assert [(one.where, one.problem, one.lacks) for one in unread] == [
        ("$.sets[2]", "must be an object, is a int", "all")
    ]
    assert Reading().lists(Path("none"), ANSWER, unread, "all") == []


def test_of_very_many_that_are_none_the_first_are_told() -> None:
    unread: list[Unread] = []
    Reading().lists(Path("a[].b[]"), {"a": [7] * 50_000}, unread, "all")

    assert len(unread) == MOST_TOLD + 1
    assert unread[-1].problem == "more pieces could not be read"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a..b", "is no JMESPath: "),
        ("a[", "is no JMESPath: "),
        ("frobnicate(a)", "is no JMESPath: there is no function frobnicate()"),
        ("(" * 250 + "a" + ")" * 249, "is "),
        ("a" * (MOST_EXPRESSION + 1), f"must be a JMESPath of {MOST_EXPRESSION} characters at most"),
    ],
)
def test_what_is_no_jmespath_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Path(text)

    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    "text", ["(" * 249 + "a" + ")" * 249, "[" * 249 + "a" + "]" * 249, "!" * 499 + "a", "a" + ".a" * 249]
)
def test_an_expression_that_is_nested_deep_is_refused_or_read(text: str) -> None:
    try:
        Path(text)
    except ValueError as refused:
        said = str(refused)
    else:
        said = "is nested too deep" if one(text, {"a": 1}) else ""

    assert said == "is nested too deep"


DOUBLES = " | ".join(["[@, @][]"] * 40)
WORDS = " | ".join(["join('', [@, @])"] * 25)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (DOUBLES, [1]),
        (WORDS, "x" * 1000),
        ("a[].a[].a[].a[]", {"a": [{"a": [{"a": [{"a": [1] * 50}] * 50}] * 50}] * 50}),
        ("[?a[?b[?c]]]", [{"a": [{"b": [{"c": 1}] * 60}] * 60}] * 60),
        ("*.*.*.*", {str(a): {str(b): {str(c): {"d": 1} for c in range(60)} for b in range(60)} for a in range(60)}),
        ("map(&length(to_string(@)), @)", [[1] * 1000] * 3000),
        ("sort_by(@, &a)[].a | join('', @)", [{"a": "9" * 100} for _ in range(40_000)]),
        ("to_number(@)", "9" * 1_000_000),
    ],
    ids=[
        "lists that double",
        "texts that double",
        "nested lists",
        "filters in filters",
        "values",
        "texts of lists",
        "sorted",
        "digits",
    ],
)
def test_no_expression_takes_long_on_whatever_comes(text: str, value: object) -> None:
    path, size = Path(text), len(json.dumps(value))
    began = time.thread_time()
    one(str(path), value)

    assert time.thread_time() - began < 4.0, f"{text[:60]} on {size} bytes"

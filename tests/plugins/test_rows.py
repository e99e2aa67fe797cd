"""What is read by a learned expression is what lxml reads of it: whatever stands there, and whatever was learned before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.errors import BadPayload
from tracker.plugin.rows import MARKS, MOST_SHAPES, MOST_TRIES, Rows, rows_of
from tracker.plugin.xml import XSI, XSI_TYPE, decode_xml

ASKED = ("code", XSI_TYPE)
SCAN = "<s><t>a</t><p><v>1</v></p><d><n>X, Y</n><m> </m></d><c/><e></e></s>"
NEWER = SCAN.replace("<t>", "<z/><t>")


def read(body: bytes, *attributes: str, rows: str = "") -> object:
    """Read a document, or return its error."""
    try:
        return decode_xml(body, *attributes, rows=rows)
    except BadPayload as error:
        return str(error)


def same(body: str | bytes, *attributes: str) -> bool:
    """Say whether a document reads the same with shapes, those of others included, and without."""
    printed = body if isinstance(body, bytes) else body.encode()
    once = read(printed, *attributes)
    return all(read(printed, *attributes, rows="s") == once for _ in range(3))


def known(*attributes: str) -> Rows:
    return rows_of("s", attributes)


@pytest.fixture(autouse=True)
def _none_known() -> None:
    rows_of.cache_clear()


def taken(rows: Rows, body: str) -> int:
    """Return how many elements of a document are read by shapes."""
    found = rows.taken_out(body.encode())
    return sum(len(run) for runs in found[1].values() for run in runs) if found else 0


def test_a_shape_is_learned_from_one_document_and_reads_the_next() -> None:
    document = f"<a><b>{SCAN * 3}</b>\n<b>{SCAN}\n{SCAN}<x/>{SCAN}</b></a>"

    assert same(document)
    assert taken(known(), document) == 6
    one = {"t": "a", "p": {"v": "1"}, "d": {"n": "X, Y", "m": " "}, "c": "", "e": ""}
    assert decode_xml(document.encode(), rows="s") == {"a": {"b": [{"s": [one] * 3}, {"s": [one] * 3, "x": ""}]}}


def test_attributes_that_are_asked_for_are_told_and_others_are_not() -> None:
    scan = '<s code="1" b="2"><c code="3" b="4"/><t b="x">y</t></s>'
    document = f"<a>{scan * 2}</a>"

    assert same(document, "code")
    assert taken(known("code"), document) == 2
    assert decode_xml(document.encode(), "code", rows="s")["a"]["s"][0] == {"@code": "1", "c": {"@code": "3"}, "t": "y"}
    flat = '<s name="s"><s code="1" b="2"/><s code="3" b=""/></s>'
    assert same(flat, "code") and taken(known("code"), flat) == 2


@pytest.mark.parametrize(
    "odd",
    [
        "<s/>", "<s>x</s>", "<s></s>", "<s><t>a</t>x</s>", "<s>x<t>a</t></s>", "<s><t>a &amp; b</t></s>", "<s><t>a > b</t></s>",
        "<s><t>1</t><t>2</t></s>", "<s><s><t>1</t></s></s>", "<s><t><![CDATA[a]]></t></s>", "<s><!-- --><t>a</t></s>",
        "<s><?pi?><t>a</t></s>", "<s><t>a\r\nb</t></s>", "<s><t>\u00fc\u4e2d\U0001f600</t></s>", f"<s><t>{MARKS[0]}</t></s>",
        "<s><t>\uffff</t></s>", "<s><t>\x01</t></s>", "<s><t code='1'>a</t></s>", "<s code='1'><t/></s>", '<s code="1"></s>',
        '<s code="1"><t/></s>', '<s code="a&#10;b"><t/></s>', '<s code="a\tb"/>', '<s code="1" code="2"/>', '<s code="1">x</s>',
        f'<s xmlns:i="{XSI}" i:type="x"><t>a</t></s>', f'<s><t xmlns:i="{XSI}" i:nil="true"/></s>', '<s xmlns="urn:x"><t/></s>',
        "<n:s><t>a</t></n:s>", '<n:s xmlns:n="urn:n"><n:t>a</n:t></n:s>', "<s><t>a</s></t>", "<s><t>a</t>", "<s><t>a", "<s", "</s>",
        "<t" * 40, "<s>" + "<t>" * 12 + "</t>" * 12 + "</s>", "<s ><t >a</t></s>", "<s><t /></s>", "<s-x><t/></s-x>", "<s\u00b2/>",
        "&#xE000;", "<s>&#057344;</s>", "<s><t>&#233;</t></s>", "<t>]]></t>", "<s><t>a</t ></s>",
    ],
)  # fmt: skip
def test_whatever_else_stands_there_is_read_as_lxml_reads_it(odd: str) -> None:
    for among in (odd, odd * 2, SCAN + odd + SCAN, SCAN * 2 + odd * 3 + NEWER * 2, f"<b>{odd}</b>{SCAN * 2}"):
        for prolog in (
            "",
            '<?xml version="1.0" encoding="utf-8"?>\n',
            "\ufeff",
            '<?xml version="1.0"?><!-- -->',
            "<?pi?>",
        ):
            assert same(f"{prolog}<a>{among}</a>", *ASKED)


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "utf-16", "us-ascii", "nobody-knows"])
def test_another_encoding_is_read_as_it_says(encoding: str) -> None:
    for text in ("a", "M\u00fcnchen"):
        document = f'<?xml version="1.0" encoding="{encoding}"?><a>{SCAN.replace(">a<", f">{text}<") * 2}</a>'
        for printed in {document.encode("utf-8"), document.encode("cp1252"), document.encode("utf-16")}:
            assert same(printed)


def test_elements_with_a_prefix_are_read_where_it_is_declared() -> None:
    scan = SCAN.replace("</", "</n:").replace("<", "<n:").replace("<n:/n:", "</n:")

    assert same(f'<a xmlns:n="urn:n">{scan * 2}</a>') and len(known().shapes) == 1
    assert same(f"<a>{scan * 2}</a>") and "not XML" in str(read(f"<a>{scan * 2}</a>".encode(), rows="s"))


def test_how_it_is_indented_is_no_matter_and_what_is_no_utf_8_is_marked() -> None:
    indented = SCAN.replace("><", ">\n\t <")

    assert same(f"<a>{indented * 2}</a>") and taken(known(), f"<a>{SCAN}{indented}</a>") == 2
    assert same(f"<a>{SCAN * 2}{indented}</a>".encode().replace(b"X, Y", b"M\xfcnchen"))


def test_a_shape_that_is_known_is_not_learned_again_and_has_its_own_mark() -> None:
    rows = Rows("s", ())
    rows.taken_out(f"<a>{SCAN * 2}</a>".encode())
    (shape,) = rows.shapes
    rows._add(shape.pattern, shape.fields, "s")  # as a thread that learned it at the same moment
    rows.taken_out(f"<a>{NEWER * 2}</a>".encode())

    assert [one.mark for one in rows.shapes] == list(MARKS[:2])


def test_an_element_that_lies_deep_in_others_of_its_name_is_learned() -> None:
    event = '<s code="1" at="2"/>'
    document = f"<s><s code='x'><s><s a='1'>{event * 4}</s></s></s></s>"

    assert same(document, "code", "at") and taken(known("code", "at"), document) == 4


def test_the_whole_document_may_be_such_an_element() -> None:
    assert same(f"<a>{SCAN * 2}</a>") and same(SCAN) and taken(known(), SCAN) == 1


def test_what_never_has_a_shape_is_not_looked_at_for_ever_and_there_are_only_so_many() -> None:
    rows = Rows("s", ())
    for _ in range(MOST_TRIES):
        assert rows.taken_out(b"<a><s>x</s><s>y</s></a>") is None
    assert rows.tries <= 0 and rows.taken_out(f"<a>{SCAN * 2}</a>".encode()) is None

    many = Rows("s", ())
    for number in range(MOST_SHAPES + 3):
        many.taken_out(f"<a>{SCAN.replace('t>', f't{number}>') * 2}</a>".encode())
    assert len(many.shapes) == MOST_SHAPES


@given(
    st.lists(st.sampled_from(["<s>", "</s>", "<t>", "</t>", "<c/>", "x", " ", "&lt;", '<s code="1">', "<n:s>", SCAN, NEWER]), max_size=30),
    st.integers(0, 200), st.binary(max_size=2),
)  # fmt: skip
def test_any_mixture_reads_the_same(parts: list[str], at: int, odd: bytes) -> None:
    printed = f'<a xmlns:n="urn:n">{SCAN * 2}{NEWER * 2}{"".join(parts)}</a>'.encode()

    assert same(printed, *ASKED)
    assert same(printed[:at] + odd + printed[at:], *ASKED)

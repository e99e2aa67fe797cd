"""Reading untrusted XML: the same partial reading as JSON, and no entity, document type, file or network."""

from __future__ import annotations

import time

import pytest

from tracker.domain.errors import BadPayload, Refused
from tracker.domain.facts import Unread
from tracker.plugin.payloads import pieces, section, term
from tracker.plugin.xml import XSI, XSI_TYPE, decode_xml, escaped, many, print_xml


def test_elements_are_objects_lists_and_texts_by_their_local_names() -> None:
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?><!-- c --><s:a xmlns:s="urn:s" xmlns="urn:d" xmlns:i="%b">'
        b'<b>1</b><c>x<!-- c -->y<?pi z?></c><c> </c><s:d><e i:nil="true"/><f/><g i:nil="false"/></s:d><b><![CDATA[<&]]></b></s:a>'
    ) % XSI.encode()

    assert decode_xml(body) == {"a": {"b": ["1", "<&"], "c": ["xy", " "], "d": {"e": None, "f": "", "g": ""}}}


def test_an_attribute_is_kept_where_it_is_asked_for_and_its_element_is_no_text() -> None:
    body = (
        b'<a code="1" other="2"><b code="3"/><c code="4">text</c><d code="5"><e/></d><f x:type="t" xmlns:x="%b"/></a>'
    )
    body = body.replace(b"%b", XSI.encode())

    assert decode_xml(body) == {"a": {"b": "", "c": "text", "d": {"e": ""}, "f": ""}}
    told = {"a": {"@code": "1", "b": {"@code": "3"}, "c": "text", "d": {"@code": "5", "e": ""}, "f": {"@type": "t"}}}
    assert decode_xml(body, "code", XSI_TYPE) == told


def test_one_or_many_elements_are_a_list() -> None:
    assert [many(value) for value in (None, "", "x", {"a": ""}, ["x", ""])] == [[], [""], ["x"], [{"a": ""}], ["x", ""]]


def test_what_cannot_be_read_has_the_paths_that_json_has() -> None:
    unread: list[Unread] = []
    body = decode_xml(b"<a><b><n>1</n></b><b>x</b><b><n><o/></n></b><b><n>2</n></b><c>y</c></a>")["a"]

    assert pieces(many(body["b"]), "$.a.b", lambda one, left: term(one.get("n"), "$.n", left), unread) == ["1", "", "2"]
    assert section(body["c"], "$.a.c", unread) == {}
    assert [one.where for one in unread] == ["$.a.b[1]", "$.a.b[2].n", "$.a.c"]


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf<a>x</a>", "x"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<a>x</a>', "x"),
        (b' \n<?xml version="1.0"?><a>x</a>', "x"),
        (b"<a>M\xfcnchen</a>", "M\ufffdnchen"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>M\xfcnchen</a>', "M\u00fcnchen"),
        (b"<?xml version='1.0' encoding='windows-1252'?><a>\x80&#0;</a>", "\u20ac\ufffd"),
        (b'<?xml version="1.0" encoding="utf-16"?><a>M\xc3\xbcnchen</a>', "M\u00fcnchen"),  # .NET says so of UTF-8
        (b'<?xml version="1.0" encoding="UTF-7"?><a>+AGE-</a>', "+AGE-"),
        (b'<?xml version="1.0" encoding="nobody-knows"?><a>x</a>', "x"),
        ('<?xml version="1.0" encoding="utf-16"?><a>M\u00fcnchen</a>'.encode("utf-16"), "M\u00fcnchen"),
        (b"<a>x\x00y\x01</a>", "x\ufffdy\ufffd"),
        (b"<a>x&#0;&#xD800;&#1114112;&#x9;&#65;</a>", "x\ufffd\ufffd\ufffd\tA"),
        (b"<a>Bed & Bath &amp; &nbsp;&lt; &#; &#x;</a>", "Bed & Bath & &nbsp;< &#; &#x;"),
        (b"<a><![CDATA[A & B &amp;]]> & C<![CDATA[\x00]]></a>", "A & B &amp; & C\ufffd"),
        (b"<a>" + b"x" * 1_000_000 + b"</a>", "x" * 1_000_000),
    ],
)
def test_one_odd_character_costs_itself_only(body: bytes, value: str) -> None:
    assert decode_xml(body) == {"a": value}


LAUGHS = b"".join(b'<!ENTITY %c "%b">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE a><a/>",
        b'<?xml version="1.0"?><!-- <b> --> <!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY a "ha">' + LAUGHS + b"]><a>&j;</a>",
        b'<!DOCTYPE a [<!ENTITY a "ha">' + LAUGHS + b']><a b="&j;"/>',
        b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>',
        b'<!DOCTYPE a [<!ENTITY % a SYSTEM "http://127.0.0.1:9/a.dtd"> %a;]><a/>',
        '<!DOCTYPE a [<!ENTITY a "ha">]><a>&a;</a>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY a "ha">]><a>&a;</a>',
        b"\xef\xbb\xbf \n<!DOCTYPE a [<!ENTITY a 'ha'>]><a>&a;&b;</a>",
        b"<!--" * 2 + b"--><!DOCTYPE a><a/>",
    ],
)
def test_a_doctype_is_refused_before_anything_of_it_is_done(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadPayload, match=r"^\$: "):
        decode_xml(body)
    assert time.process_time() - began < 1.0


def test_a_doctype_that_is_text_is_text() -> None:
    body = b"<a><!-- <!DOCTYPE b> --><b><![CDATA[<!DOCTYPE html><html>]]></b></a>"

    assert decode_xml(body) == {"a": {"b": "<!DOCTYPE html><html>"}}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"\xef\xbb\xbf", b"{}", b"x", b"<a>", b"<a></b>", b"<a/><b/>", b"<a/>x", b"<a b=1/>", b"<a><![CDATA[x</a>", b"<a b='1' b='2'/>",
        b"<?xml", b"<!--", b"<!-- a", b"<1/>", b"\xff\xfe", b"\x00", b"<x:a/>"[:5], b"<a>" * 257 + b"</a>" * 257, b"<a>" * 200_000, b"<a>" + b"x" * 10_500_000 + b"</a>",
    ],
)  # fmt: skip
def test_what_is_no_xml_or_too_much_of_it_is_a_bad_payload(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadPayload, match=r"^\$: not XML: "):
        decode_xml(body)
    assert time.process_time() - began < 5.0


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"<a></b>"])
def test_the_place_of_what_is_no_xml_is_told_once(body: bytes) -> None:
    with pytest.raises(BadPayload) as caught:
        decode_xml(body)
    assert (caught.value.problem.count("column"), caught.value.problem[-1]) == (1, ")")


@pytest.mark.parametrize(
    "body",
    [
        b"<a>" + b"<b/>" * 60_000 + b"</a>", b"<a>" + b"&" * 200_000 + b"</a>", b"<a>" + b"<![CDATA[" * 100_000 + b"</a>",
        b"<a>" + b"<!--" * 200_000, b"<" + b"<!-- -->" * 100_000, b"<a>" + b"&#x1;" * 60_000 + b"</a>", b"<?" * 300_000,
        b"<a " + b"".join(b"x%d='' " % i for i in range(20_000)) + b"/>",
    ],
)  # fmt: skip
def test_hostile_input_costs_as_much_as_it_is_long(body: bytes) -> None:
    began = time.process_time()
    try:
        decode_xml(body)
    except BadPayload:
        pass
    assert time.process_time() - began < 5.0  # a tenth of it here; what is quadratic takes minutes


def test_what_is_printed_is_read_back() -> None:
    document = {"a": {"b": ["1", {"c": "<&>\"' ]]> \r\n\t\u20ac"}], "d": "", "e": None}}

    assert decode_xml(print_xml(document).encode()) == document
    assert print_xml({"x:a": {"@xmlns:x": 'u"<', "@b": "1", "#text": "t", "c": [True, 2]}}) == (
        '<x:a xmlns:x="u&quot;&lt;" b="1">t<c>true</c><c>2</c></x:a>'
    )


@pytest.mark.parametrize("value", ["\x00", "\x1f", "\ud800", "\ufffe"])
def test_a_character_that_no_document_can_hold_is_refused(value: str) -> None:
    with pytest.raises(Refused):
        escaped(f"a{value}")
    with pytest.raises(Refused):
        print_xml({"a": {"@b": value}})
    with pytest.raises(Refused):
        print_xml({f"a{value}": "x"})


def test_a_doctype_in_an_encoding_that_only_the_parser_sees_is_refused_too() -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        body = '<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE a [<!ENTITY b "ha">]><a>&b;</a>'.encode(encoding)
        with pytest.raises(BadPayload, match=r"^\$: "):
            decode_xml(body)
    with pytest.raises(BadPayload, match="has a DOCTYPE"):
        decode_xml('<?xml version="1.0"?><!DOCTYPE a><a>x</a>'.encode("utf-16-le"))


@pytest.mark.parametrize("body", [b"<!-- <!DOCTYPE a><a/>", b"<?xml <!DOCTYPE a><a/>"])
def test_a_doctype_in_what_never_ends_is_no_xml(body: bytes) -> None:
    with pytest.raises(BadPayload, match=r"^\$: not XML: "):
        decode_xml(body)


@pytest.mark.parametrize("name", ["@a b", "@", '@a="1" b', "@1"])
def test_a_name_of_an_attribute_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="is no name of an attribute"):
        print_xml({"a": {name: "1"}})

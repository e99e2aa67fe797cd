"""SOAP: hostile values stay inside of their element, and a fault means what its code says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tracker.domain.errors import (
    CredentialsRejected,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.plugin.answers import holding, not_html
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT
from tracker.plugin.soap import ENVELOPE, raise_unless_soap, soap_call
from tracker.plugin.xml import decode_xml


@pytest.mark.parametrize("value", ["]]>", "a&b", "<Value>2</Value>", "&amp;", "</soap:Body>", '"', "<!--", "\u20ac"])
def test_a_hostile_value_stays_inside_of_its_element(value: str) -> None:
    request = soap_call("https://x.example/t", "urn:do", {"Do": {"@xmlns": "urn:x", "Value": value}}, {"H": value})

    assert request.headers == {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '"urn:do"'}
    assert request.method == "POST"
    assert request.content is not None
    assert decode_xml(request.content) == {"Envelope": {"Header": {"H": value}, "Body": {"Do": {"Value": value}}}}


def test_an_envelope_without_a_header_has_none() -> None:
    content = soap_call("https://x.example/t", "urn:do", {"Do": ""}).content or b""

    assert decode_xml(content) == {"Envelope": {"Body": {"Do": ""}}}
    assert ENVELOPE.encode() in content


def fault(code: str, words: str = "no") -> bytes:
    inner = f"<s:Fault><faultcode>{code}</faultcode><faultstring>{words}</faultstring><detail/></s:Fault>"
    return f'<?xml version="1.0"?><s:Envelope xmlns:s="{ENVELOPE}"><s:Body>{inner}</s:Body></s:Envelope>'.encode()


@pytest.mark.parametrize("status", [500, 200, 400])
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (fault("s:Server"), Transient), (fault("Server.Busy"), Transient), (fault(""), Transient), (fault("s:Own"), Transient),
        (fault("s:Client"), Refused), (fault("s:Client.Version"), Refused), (fault("s:VersionMismatch"), Refused),
        (fault("s:MustUnderstand"), Refused), (fault("s:Client.Authentication"), CredentialsRejected),
        (fault("wsse:FailedAuthentication"), CredentialsRejected), (fault("wsse:InvalidSecurityToken"), CredentialsRejected),
        (fault("s:Server", "Request was throttled"), RateLimited), (fault("s:Client", "Too many requests"), RateLimited),
    ],
)  # fmt: skip
def test_a_fault_means_what_its_code_says_whatever_its_status(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"HTTP {status} with a SOAP fault: ") as raised:
        raise_unless_soap(Response(status, {}, body, AT))
    assert type(raised.value) is error


def test_a_fault_that_says_when_is_a_wait() -> None:
    with pytest.raises(RateLimited) as raised:
        raise_unless_soap(Response(500, {"retry-after": "7"}, fault("s:Server"), AT))
    assert raised.value.after == timedelta(seconds=7)


PAGE = b"<!DOCTYPE html><html><body>Just a moment</body></html>"
XHTML = b'<?xml version="1.0"?>\n<!-- x -->\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x"><html xmlns="x"/>'
QUOTES = b'<s:Envelope xmlns:s="x"><s:Body><A><![CDATA[<!doctype html><html>]]></A></s:Body></s:Envelope>'


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, PAGE, Unavailable), (200, XHTML, Unavailable), (404, XHTML, Transient), (200, b"{}", Transient),
        (200, b"busy", Transient), (401, fault("s:Server"), CredentialsRejected), (404, fault("s:Server"), Unavailable),
        (429, fault("s:Client"), RateLimited), (503, PAGE, Transient), (500, b"<a/>", Transient), (500, b"Fault", Transient),
        (500, fault("s:Client")[:-20], Transient), (400, b"", Refused), (200, QUOTES, None), (200, b"", None),
        (200, b"\xef\xbb\xbf<a/>", None), (200, fault("s:Client")[:-20], None), (200, "<a/>".encode("utf-16"), None),
        (200, b"<a><Fault>x</Fault></a>", None),
    ],
)  # fmt: skip
def test_an_answer_is_a_document_of_xml_or_an_error(status: int, body: bytes, error: type[SourceError] | None) -> None:
    if error is None:
        raise_unless_soap(Response(status, {}, body, AT))
        return
    with pytest.raises(error) as raised:
        raise_unless_soap(Response(status, {}, body, AT))
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (XHTML, True), (b"<html>", True), (b"<HTML lang='x'>", True), (b"<h:html xmlns:h='x'>", True), (b"<!-- <a> --><html>", True),
        (b"<script></script><html>", True), (b"<head/><html>", True), (QUOTES, False), (b"<?xml version='1.0'?><a><html/></a>", False),
        (b"<a xmlns='x'>&lt;html <html/></a>", False), (b"<?xml version='1.0'?><rss><b><![CDATA[<html>]]></b></rss>", False),
    ],
)  # fmt: skip
def test_a_document_of_xml_is_no_page_whatever_it_quotes(body: bytes, page: bool) -> None:
    if page:
        with pytest.raises(Unavailable):
            not_html(Response(200, {}, body, AT))
    else:
        not_html(Response(200, {}, body, AT))


def test_an_answer_of_xml_holds_an_element_of_the_name_not_a_word() -> None:
    for body in (b"<a><b/></a>", b"<a><x:b c='1'>y</x:b></a>", b"\xef\xbb\xbf<b>\n</b>", b"<a", b"<a><c>"):
        assert holding(body, "b") == body
    for body in (b"<a>b</a>", b"<a><bc/></a>", b'<a b="b">"b"</a>', b"{}"):
        with pytest.raises(Transient, match="an answer without b"):
            holding(body, "b")


def test_a_fault_that_is_a_text_has_no_code_and_says_its_text() -> None:
    body = f'<s:Envelope xmlns:s="{ENVELOPE}"><s:Body><s:Fault>it broke</s:Fault></s:Body></s:Envelope>'.encode()

    with pytest.raises(Transient, match=r"^HTTP 500 with a SOAP fault: no code: it broke$"):
        raise_unless_soap(Response(500, {}, body, AT))

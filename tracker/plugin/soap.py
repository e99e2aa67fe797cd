"""SOAP 1.1 (w3.org/TR/2000/NOTE-SOAP-20000508, read 2026-11): an envelope around a call, and what a fault means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
from tracker.plugin.answers import not_html, raise_by_status, retry_after
from tracker.plugin.calls import Request, Response
from tracker.plugin.payloads import text
from tracker.plugin.xml import decode_xml, many, print_xml

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_SECURITY = (
    "FailedAuthentication",
    "FailedCheck",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "SecurityTokenUnavailable",
)
_THROTTLED = ("throttl", "too many request", "rate limit", "quota")  # a wait is all that follows from a wrong reading


class Fault(NamedTuple):
    """What a fault says: its faultcode, its faultstring, and what its `detail` holds by name."""

    code: str
    words: str
    detail: Mapping[str, Any]


def soap_call(
    url: str, action: str, body: Mapping[str, Any], header: Mapping[str, Any] | None = None, *,
    basic: tuple[str, str] | None = None,
) -> Request:  # fmt: skip
    """Return the POST of a SOAP 1.1 call; `body` and `header` as `print_xml` prints them, `@xmlns` in their outermost.

    Raises Refused for a character that no XML document can hold.
    """
    inner = {"soap:Header": header, "soap:Body": body} if header else {"soap:Body": body}
    envelope = print_xml({"soap:Envelope": {"@xmlns:soap": ENVELOPE, **inner}})
    return Request(
        "POST",
        url,
        headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": f'"{action}"'},
        content=f'<?xml version="1.0" encoding="utf-8"?>{envelope}'.encode(),
        basic=basic,
    )


def raise_unless_soap(response: Response, meant: Callable[[Fault], SourceError | None] | None = None) -> None:
    """Raise unless it is the answer of a source that speaks nothing but SOAP: a fault with whatever status, a page, JSON.

    A fault comes with 500 (SOAP 1.1, 6.2), and with 200 where a server does not keep to it. It means by its faultcode
    (4.4.1): `Server` may work later, `Client.Authentication` and those of WS-Security 1.1 (12) are our credentials, any
    other says that the call itself is wrong. One that speaks of throttling says so, whatever its code. 401, 403, 429
    and what is away keep what their status says; 404 is no service at this address, and tells of no number. `meant`: what a fault of this source means by its detail; None: as SOAP says.
    """
    not_html(response)
    if response.status == 500 or response.status < 300 or response.status == 400:
        if b"Fault" in response.body and (fault := _fault(response.body)) is not None:
            raise (meant(fault) if meant is not None else None) or _meant(fault, response)
    if response.status == 404:
        raise Unavailable("HTTP 404: no SOAP service answers at this address")
    raise_by_status(response)
    body = response.body
    if body.strip() and not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"\xff\xfe", b"\xfe\xff")):
        raise Transient(f"HTTP {response.status} with something that is no XML")


def _fault(body: bytes) -> Fault | None:
    """Return a fault; None where there is none, or nothing that can be read."""
    try:
        envelope = decode_xml(body).get("Envelope")
    except BadPayload:
        return None  # stored as it came, and told by the parser
    inside = envelope.get("Body") if isinstance(envelope, dict) else None
    fault = inside.get("Fault") if isinstance(inside, dict) else None
    if fault is None:
        return None
    said = many(fault)[0]
    if not isinstance(said, dict):
        return Fault("", text(said), {})
    detail = said.get("detail")
    return Fault(text(said.get("faultcode")), text(said.get("faultstring")), detail if isinstance(detail, dict) else {})


def throttled(words: str) -> bool:
    """Say whether what a fault says speaks of too many calls."""
    return any(word in words.lower() for word in _THROTTLED)


def _meant(fault: Fault, response: Response) -> SourceError:
    code, words = fault.code.rpartition(":")[2], fault.words
    said = f"HTTP {response.status} with a SOAP fault: {code or 'no code'}: {words[:200] or 'no reason given'}"
    after = retry_after(response)
    if after is not None or throttled(words):
        return RateLimited(said, after)
    first, _, finer = code.partition(".")
    if code in _SECURITY or (first == "Client" and finer.startswith("Authentication")):
        return CredentialsRejected(said)
    return Refused(said) if first in ("Client", "MustUnderstand", "VersionMismatch") else Transient(said)

"""Judge what came back: an error by HTTP status, a page of HTML, an error body that came with a good status."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.plugin.calls import Response
from tracker.plugin.payloads import BOM, document, leniently, text

AWAY = {402: "frozen or unpaid", 423: "locked", 430: "shut out for a while"}  # an account, as a whole


def raise_by_status(response: Response) -> None:
    """Raise from the error tree by HTTP status (RFC 9110; 429: RFC 6585); what is Refused says why, where the body does."""
    status = response.status
    if 200 <= status < 300:
        return
    said = f"HTTP {status}"
    if status in (401, 403):
        raise CredentialsRejected(said)
    if status == 404:
        raise NotFound(said)
    if status in AWAY:
        raise Unavailable(f"{said}: {AWAY[status]}", retry_after(response))
    if status == 429:
        raise RateLimited(said, retry_after(response))
    if status in (408, 425) or status >= 500:
        after = retry_after(response)
        raise RateLimited(said, after) if after else Transient(said)
    words = said_by(response.body, "")
    raise Refused(f"{said}: {words}" if words else said)


_BY_STATUS = (401, 408, 414, 425, 429, 431, *range(500, 600))  # say enough, whatever comes with them


_PROLOG = re.compile(rb"(?:\s|<\?[^>]*>|<!--(?:[^-]|-(?!->))*-->)*")
_PAGE = re.compile(rb"<(?:!doctype\s+html|(?:[\w.-]+:)?html)\b")
_TAG = re.compile(rb"<(?:[\w.-]{1,100}:)?([\w.-]{1,100})[\s/>]")
_XML = re.compile(rb"<\?xml|<[\w.-]+:[\w.-]|<[^>]*\bxmlns\b")  # what no page for people begins with


def not_html(response: Response) -> None:
    """Raise Transient where a page of HTML came: of a proxy, a firewall, a shop under repair. It is no answer to us.

    Where an answer was due (2xx) it is Unavailable: all of them get that page. So a page with 200 is never "no news", one
    with 404 never "no such parcel", one with 403 never "the key is wrong". 401, 429 and failures of the server keep what
    they say. XHTML is such a page; any other XML is none, whatever page it quotes.
    """
    if response.status not in _BY_STATUS and _is_page(response.body):
        error = Unavailable if 200 <= response.status < 300 else Transient
        raise error(f"HTTP {response.status} with a page of HTML instead of an answer")


def _is_page(body: bytes) -> bool:
    begins = body[:1000].removeprefix(BOM).lstrip().lower()
    if begins[:1] != b"<" or not (b"<html" in begins or b":html" in begins or b"<!doctype html" in begins):
        return False
    prolog = _PROLOG.match(begins)
    assert prolog is not None
    return bool(_PAGE.match(begins, prolog.end())) or not _XML.match(begins)


def holding(body: bytes, *names: str) -> bytes:
    """Return a body that has one of the names in it, that without which it tells nothing: of JSON, or of an element.

    Raises Transient where it has none: an error body of whatever shape with a good status, an empty one, a list. What is
    neither JSON nor XML is stored as it came, and told by the parser.
    """
    if names and not _has(body, names) and (_is_xml(body) or _is_json(body)):
        raise Transient(f"an answer without {' or '.join(names)}: {said_by(body)}")
    return body


def _has(body: bytes, names: Sequence[str]) -> bool:
    if begins_as_xml(body):
        return any(tag[1].decode() in names for tag in _TAG.finditer(body))
    return any(_is_key(f'"{name}"'.encode(), body) for name in names)


def _is_key(quoted: bytes, body: bytes) -> bool:
    """Say whether a quoted name stands before a colon somewhere: as a value it is no field."""
    at = body.find(quoted)
    while at >= 0:
        after = at + len(quoted)
        if body[after : after + 100].lstrip()[:1] == b":":
            return True
        at = body.find(quoted, after)
    return False


def begins_as_xml(body: bytes) -> bool:
    """Say whether a body begins as XML does, behind a mark of byte order and white space: no JSON begins so."""
    return body[:100].removeprefix(BOM).lstrip()[:1] == b"<"


def _is_xml(body: bytes) -> bool:
    if not begins_as_xml(body):
        return False
    from tracker.plugin.xml import decode_xml  # who speaks JSON never loads a parser of XML

    try:
        decode_xml(body)
    except BadPayload:
        return False
    return True


def raise_unless_json(response: Response, errors: Sequence[str] = ()) -> None:
    """Raise unless it is the answer of a source that speaks nothing but JSON: by HTTP status, and by what came.

    Raises Transient for a body that is no JSON at all, and for an error body that comes with a good status: one that has
    something at the path `errors`. An empty body is fine here: `holding` refuses it where it must not be.
    """
    not_html(response)
    raise_by_status(response)
    body = response.body.removeprefix(BOM).lstrip()
    if body and body[:1] not in (b"{", b"["):
        raise Transient(f"HTTP {response.status} with something that is no JSON")
    if errors and f'"{errors[-1]}"'.encode() in body:
        try:
            said: Any = document(body)
        except BadPayload:
            return  # it is stored, and told by the parser
        for name in errors:
            said = said.get(name) if isinstance(said, dict) else None
        if said:
            raise Transient(f"HTTP {response.status} with an error: {_words(said) or 'no reason given'}")


def raise_by_problem(response: Response, *holds: str) -> None:
    """Raise as `raise_by_status` does, by what an error body says that comes with a good status: title and status (RFC 9457).

    `holds`: the names of what answers have and errors have not. A 404 that has a title says so, which one of somebody else's does not.
    """
    title = ""
    if b'"title"' in response.body and not _has(response.body, holds):
        problem = leniently(response.body)
        title = text(problem.get("title")) or ("no title" if "title" in problem else "")
        if response.status < 300 and re.fullmatch(r"[1-5]\d\d", status := str(problem.get("status")), re.ASCII):
            response = replace(response, status=int(status))
    if response.status == 404 and title:
        raise NotFound(f"HTTP 404: {title}")
    raise_by_status(response)
    if title:
        raise Transient(f"HTTP {response.status} with an error: {title}")


def in_own_words(error: NotFound, source: str) -> None:
    """Raise Transient where a 404 has no word of the source itself, so that it proves no key: it may be somebody else's."""
    if str(error) == "HTTP 404":  # as `raise_by_status` says
        raise Transient(f"HTTP 404 without a word of {source}'s: base_url may lead elsewhere") from None


def _is_json(body: bytes) -> bool:
    """Say whether a body is JSON, or nothing."""
    try:
        document(body.strip() or b"null")
    except BadPayload:
        return False
    return True


def said_by(body: bytes, otherwise: str = "no reason given") -> str:
    """Say what an error body of any shape says, and nothing else of it: its code and message, or those of its first error.

    `otherwise`: what is said where it says nothing.
    """
    try:
        said = document(body)
    except BadPayload:
        return otherwise
    inner: list[Any] = []  # UPS: {"response": {"errors": [...]}}
    for holder in (said, said.get("response")) if isinstance(said, dict) else ():
        inner += [holder.get("error"), holder.get("errors")] if isinstance(holder, dict) else []
    return next(filter(None, map(_words, [*inner, said])), otherwise)


def _words(error: Any) -> str:
    """Return what an error says: the first one's code and message, or what there is."""
    first = error[0] if isinstance(error, list) and error else error
    parts = (
        map(text, map(first.get, ("code", "message", "title", "errorMessage")))
        if isinstance(first, dict)
        else [text(first)]
    )
    return ": ".join(filter(None, parts))[:200]


def header_number(response: Response, name: str) -> int | None:
    """Read a whole number of a header, whose name is in lower case; None for anything else."""
    value = response.headers.get(name)
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 12 else None


def retry_after(response: Response, most: timedelta = timedelta(hours=1)) -> timedelta | None:
    """Read Retry-After (seconds or HTTP date, RFC 9110 10.2.3), capped at `most`; None where it says nothing usable."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=min(int(value[:9]), 10**6)), most)
    try:
        at = parsedate_to_datetime(value)
        return max(timedelta(0), min(at - response.received_at, most))
    except (ValueError, TypeError):
        return None

"""Read untrusted XML into what `payloads` reads, and print such documents as XML.

An element with elements in it is an object by their local names, one that stands there several times is a list, any other
is its text; `xsi:nil` is nothing. So `pieces`, `section`, `term` and the others read XML as they read JSON, and name the
same paths: `$.Envelope.Body.Scans.Scan[1].ScanDate`. Namespaces, comments and processing instructions say nothing here.

No document type, entity or file is ever read: a DOCTYPE is refused, libxml2 (through lxml) resolves no entity, asks no
network, and refuses what is nested deeper than 256 elements or a text of more than ten million bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lxml import etree

from tracker.domain.errors import BadPayload, Refused
from tracker.plugin.payloads import BOM, MARK
from tracker.plugin.rows import Runs, rows_of

XSI = "http://www.w3.org/2001/XMLSchema-instance"
ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})
XSI_TYPE = f"{{{XSI}}}type"
_NIL = f"{{{XSI}}}nil"
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
    remove_comments=True, remove_pis=True, collect_ids=False,
)  # fmt: skip
_DECLARED = re.compile(rb"<\?xml[^>]{1,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DECLARATION = re.compile(r"<\?xml[^>]{0,200}\?>")
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2
_REFERENCE = re.compile(r"&(?:(lt|gt|amp|quot|apos);|#([0-9]{1,7});|#x([0-9A-Fa-f]{1,6});)?")
_NAME = re.compile(r"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?")


def decode_xml(body: bytes, *attributes: str, rows: str = "") -> dict[str, Any]:
    """Decode an XML document: an object with one name, that of its root; one odd character takes nothing from the rest.

    `attributes`: those that matter (`code`, `XSI_TYPE`): an element that has one, and no text of its own, is an object, and
    holds it under `@` and its local name. A character that cannot be kept (none of its encoding, NUL, `&#0;`) becomes U+FFFD; an `&` that begins
    no reference is itself, so an entity is never looked for. `rows`: the local name of the element of which an answer holds
    many; they are read several times as fast, and nothing else changes. Raises BadPayload for a DOCTYPE, for what is nested too deep,
    and for anything that is no XML.
    """
    declared = _DECLARED.match(body[:300].removeprefix(BOM)) if b"encoding" in body[:300] else None
    known = declared is None or declared[1].decode().lower() in ENCODINGS
    if known and body[:1] in b"<\xef" and body:
        try:
            if rows and (found := rows_of(rows, attributes).taken_out(body)) is not None:
                try:
                    return _object(etree.fromstring(found[0], _PARSER), attributes, found[1])
                except etree.XMLSyntaxError:
                    pass  # its error, with the place where it is
            return _object(_parsed(body), attributes)
        except etree.XMLSyntaxError:
            pass
    try:
        return _object(_parsed(_patiently(body, declared[1].decode() if declared and known else "utf-8")), attributes)
    except etree.XMLSyntaxError as error:
        line, column = error.position
        said = (error.msg or "nothing").removesuffix(f", line {line}, column {column}")
        raise BadPayload("$", f"not XML: {said[:100]} (line {line}, column {column})") from None


def _parsed(body: bytes) -> etree._Element:
    if _has_doctype(body):
        raise BadPayload("$", "has a DOCTYPE, which is not read")
    root = etree.fromstring(body, _PARSER)
    if root.getroottree().docinfo.internalDTD is not None:
        raise BadPayload("$", "has a DOCTYPE, which is not read")
    return root


def _has_doctype(body: bytes) -> bool:
    """Say whether a DOCTYPE stands before the root, before anything of it is parsed."""
    at = len(BOM) if body.startswith(BOM) else 0
    while b"<!DOCTYPE" in body:
        at += len(body[at:]) - len(body[at:].lstrip())
        if body.startswith(b"<?", at):
            end, skip = body.find(b"?>", at), 2
        elif body.startswith(b"<!--", at):
            end, skip = body.find(b"-->", at + 4), 3
        else:
            return body.startswith(b"<!DOCTYPE", at)
        if end < 0:
            return False  # no XML
        at = end + skip
    return False


def _patiently(body: bytes, encoding: str) -> bytes:
    """Return a document that the parser refuses as a whole with its odd characters marked."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    text = body.removeprefix(BOM).decode(encoding, "replace").lstrip()
    text = _DECLARATION.sub("", text, count=1) if text.startswith("<?xml") else text
    outside, *sections = text.split("<![CDATA[")
    parts = [_REFERENCE.sub(_reference, outside)]
    for section in sections:
        inside, end, outside = section.partition("]]>")
        parts.append(f"<![CDATA[{inside}{end}{_REFERENCE.sub(_reference, outside)}")
    return _NO_CHARACTER.sub(MARK, "".join(parts)).encode()


def _reference(found: re.Match[str]) -> str:
    """Return a reference as it may stand in XML: an `&` that begins none is itself, a character that is none is marked."""
    known, decimal, hexadecimal = found.groups()
    if known:
        return found[0]
    if decimal or hexadecimal:
        code = int(decimal) if decimal else int(hexadecimal, 16)
        return found[0] if code < 0x110000 and not _NO_CHARACTER.match(chr(code)) else MARK
    return f"&amp;{found[0][1:]}"


def _object(root: etree._Element, attributes: tuple[str, ...], runs: Runs | None = None) -> dict[str, Any]:
    return {_local(root.tag): _value(root, attributes, runs or {})}


@lru_cache(maxsize=2_000)  # the names of an API are few, and come again and again
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _value(element: etree._Element, attributes: tuple[str, ...], runs: Runs) -> Any:
    found: dict[str, Any] = _asked(element, attributes) if attributes and element.keys() else {}
    if not len(element):
        if element.text:
            return next(runs[element.text])[0] if element.text in runs else element.text
        return found or (None if element.get(_NIL) in ("true", "1") else "")
    for child in element:
        name, value = _local(child.tag), child.text
        if value is None or len(child):
            value = _value(child, attributes, runs)
        elif value in runs:
            run = next(runs[value])
            if name in found:
                before = found[name]
                found[name] = [*(before if before.__class__ is list else [before]), *run]
            else:
                found[name] = run if len(run) > 1 else run[0]
            continue
        if name not in found:
            found[name] = value
        elif (before := found[name]).__class__ is list:
            before.append(value)
        else:
            found[name] = [before, value]
    return found


def _asked(element: etree._Element, attributes: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in attributes:
        if (told := element.get(name)) is not None:
            found[f"@{_local(name)}"] = told
    return found


def many(value: Any) -> list[Any]:
    """Return the elements of one name as a list: none, the one that stands there, or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def print_xml(document: Mapping[str, Any]) -> str:
    """Print a document as `decode_xml` reads it: names with their prefixes, attributes as `@name`, an object's text as `#text`.

    A list is an element several times, None one with `xsi:nil`. Texts are escaped. Raises Refused for a character that no
    XML document can hold (NUL, half a surrogate), and for a name that is none.
    """
    return "".join(_element(name, value) for name, value in document.items())


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, one) for one in value)
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r:.80} is no name of an element")
    if value is None:
        return f'<{name} xmlns:xsi="{XSI}" xsi:nil="true"/>'
    if not isinstance(value, Mapping):
        return f"<{name}>{escaped(value)}</{name}>"
    attributes, inner = "", ""
    for key, one in value.items():
        if key == "#text":
            inner += escaped(one)
        elif not key.startswith("@"):
            inner += _element(key, one)
        elif _NAME.fullmatch(key, 1):
            attributes += f' {key[1:]}="{escaped(one)}"'
        else:
            raise Refused(f"{key!r:.80} is no name of an attribute")
    return f"<{name}{attributes}>{inner}</{name}>"


def escaped(value: Any) -> str:
    """Return a text as it stands in XML, in an element or an attribute: `&`, `<`, `>` and quotes are references.

    Raises Refused for a character that no XML document can hold.
    """
    if value is True or value is False:
        return "true" if value else "false"
    text = str(value)
    if _NO_CHARACTER.search(text):
        raise Refused(f"{text!r:.80} can be no part of an XML document")
    for character, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;")):
        text = text.replace(character, reference)
    return text

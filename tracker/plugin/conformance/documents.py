"""Fixtures as documents: read, changed in one place, and printed again as JSON or XML."""

from __future__ import annotations

import json
from typing import Any

from tracker.plugin.payloads import BOM
from tracker.plugin.xml import print_xml


class Xml(dict[str, Any]):
    """A document of XML: names with their prefixes, attributes as `@name`, the text beside them as `#text`."""


class Raw(str):
    """Stands for what no printer of JSON or XML prints."""


RAW_JSON = {
    Raw("@1e400@"): b"1e400",
    Raw("@10^400@"): b"1" + b"0" * 400,
    Raw("@NaN@"): b"NaN",
    Raw("@lone surrogate@"): b'"a\\ud800z"',
}
RAW_XML = {
    Raw("@no character@"): b"a&#0;&#xD800;z",
    Raw("@no UTF-8@"): b"a\xffz",
    Raw("@no entity@"): b"a&nobody; & z",
}


def read(body: bytes) -> Any:
    """Read a fixture, which is trusted. Raises ValueError where it is neither JSON nor XML."""
    if body.removeprefix(BOM).lstrip()[:1] != b"<":
        return json.loads(body)
    from lxml import etree

    try:
        root = etree.fromstring(body)
    except etree.XMLSyntaxError as error:
        raise ValueError(str(error)) from None
    return Xml({_name(root): _node(root, {})})


def _name(element: Any) -> str:
    local = element.tag.rpartition("}")[2]
    return f"{element.prefix}:{local}" if element.prefix else local


def _node(element: Any, outside: dict[str | None, str]) -> Any:
    spaces = element.nsmap
    found: dict[str, Any] = {
        f"@xmlns:{prefix}" if prefix else "@xmlns": space
        for prefix, space in spaces.items()
        if outside.get(prefix) != space
    }
    prefixes = {space: prefix for prefix, space in spaces.items() if prefix}
    for name, value in element.attrib.items():
        space, _, local = name.rpartition("}")
        found[f"@{prefixes[space[1:]]}:{local}" if space else f"@{name}"] = value
    children = [child for child in element if isinstance(child.tag, str)]
    for child in children:
        name, inner = _name(child), _node(child, spaces)
        if name in found:
            before = found[name]
            found[name] = [*before, inner] if isinstance(before, list) else [before, inner]
        else:
            found[name] = inner
    if children:
        return found
    return {**found, "#text": element.text or ""} if found else element.text or ""


def printed(document: Any) -> bytes:
    """Print a document, with what no printer prints in its places."""
    if isinstance(document, Xml):
        body = print_xml(document).encode()
        for mark, raw in RAW_XML.items() if b"@" in body else ():
            body = body.replace(str(mark).encode(), raw)
        return body
    body = json.dumps(document).encode()
    for mark, raw in RAW_JSON.items() if b'"@' in body else ():
        body = body.replace(f'"{mark}"'.encode(), raw)
    return body

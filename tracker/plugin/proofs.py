"""Documents that prove a delivery, as carriers hand them out: base64 inside of an answer or bytes, and what it is by its first bytes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from tracker.domain.errors import BadPayload
from tracker.domain.facts import ProofDocument
from tracker.plugin.calls import Client
from tracker.plugin.payloads import kind as kind_of

KINDS = {
    b"GIF8": "image/gif", b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"%PDF-": "application/pdf",
    b"II*\0": "image/tiff", b"MM\0*": "image/tiff", b"BM": "image/bmp",
}  # fmt: skip
MOST_DOCUMENT = 10 << 20  # bytes of a document that comes by itself
ENDINGS = {
    "image/gif": "gif", "image/png": "png", "image/jpeg": "jpg", "application/pdf": "pdf", "image/tiff": "tif",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
}  # fmt: skip


def read_document(value: Any, where: str) -> ProofDocument:
    """Read a document that is printed as base64. Raises BadPayload for what is none, or neither an image nor a PDF.

    Documents of carriers say of themselves what they are, and not always rightly: the first bytes tell.
    """
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a text, is {kind_of(value)}")
    try:
        content = base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadPayload(where, "is no base64") from None
    return bytes_document(content, where)


def bytes_document(content: bytes, where: str) -> ProofDocument:
    """Take a document that came as bytes. Raises BadPayload for one that is too large, or neither an image nor a PDF."""
    if len(content) > MOST_DOCUMENT:
        raise BadPayload(where, f"is larger than {MOST_DOCUMENT} bytes")
    kind = next((kind for begins, kind in KINDS.items() if content.startswith(begins)), None)
    if kind is None:
        raise BadPayload(where, "is neither an image nor a PDF")
    return ProofDocument(content, kind)


def kept_document(client: Client, url: str, where: str) -> ProofDocument:
    """Fetch a document from the address that stands at `where`. Raises as `bytes_document` does, and what `Client.stream` raises."""
    with client.stream(url) as file:
        return bytes_document(file.read(MOST_DOCUMENT + 1), where)


_DRAWING = re.compile(r"<svg\b[^>]*>(?:\s*<(?:g|path|polyline|line|rect|circle)\b[^<>]*>|\s*</\w+>)*\s*")
_ACTS = re.compile(r"\son\w+\s*=|javascript:|url\(|href", re.IGNORECASE)


def svg_document(value: Any, where: str) -> ProofDocument:
    """Take a signature that is printed as SVG, in quotes or not. Raises BadPayload for what is none, or does more than draw lines."""
    if not isinstance(value, str):
        raise BadPayload(where, f"must be a text, is {kind_of(value)}")
    drawn = value.strip().strip('"').replace('\\"', '"').strip()
    if len(drawn) > MOST_DOCUMENT or not _DRAWING.fullmatch(drawn) or _ACTS.search(drawn):
        raise BadPayload(where, "is no SVG, or one that does more than draw lines")
    return ProofDocument(drawn.encode(), "image/svg+xml")

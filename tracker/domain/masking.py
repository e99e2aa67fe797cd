"""The one function that masks: every value that came from a reference, and what a URL says to its server alone.

Whatever is shown, logged, kept as an error or handed out passes `mask`. It finds a value wherever it stands, in every spelling that
our libraries and the other side give it (percent-encoded, escaped, inside a Basic credential), in time that grows with the text and
not with the number of secrets.

Who reads a secret hides it (`Hidden`). It stays hidden for as long as somebody holds that object, so that what a configuration of
before hid is forgotten with the last who worked by it.
"""

from __future__ import annotations

import base64
import html
import json
import re
import weakref
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import quote, quote_plus, unquote

MASK = "********"
SHORTEST = 4  # characters; fewer stand in every other word: told by `tracker check`, not searched for
LONG = 8  # a value of so many is masked inside a word too, a shorter one only where it stands alone
TOKEN = 22  # characters of base64url that hold 128 bits
WEB = ("http", "https")  # where a user without a password is a token
DIGITS = 4  # so many stand in any hexadecimal number of that length
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")  # letters that no encoding but base64 changes
_RUN = re.compile(r"[^\s\"'<>]+")
_IN_A_WORD = frozenset("-_")
_TELLING = ("pass", "pwd", "token", "key", "secret", "sig", "auth", "code", "cred")


class Hidden:
    """Values that nobody may see, for as long as this object is held."""

    live: ClassVar[tuple[weakref.ref[Hidden], ...]] = ()

    def __init__(self) -> None:
        """Hide nothing yet."""
        # how it begins -> how long it is -> spellings, and how much of each may be shown: a thousand tokens of one kind begin alike
        self._index: dict[str, dict[int, dict[str, int]]] = {}

    def add(self, value: str) -> bool:
        """Hide a value, each longer line of it, and what it says to a server where it is a URL.

        Tells whether it is long enough to be searched for.
        """
        if len(value) < SHORTEST:
            return False
        for one in {value, *(line for line in value.splitlines() if len(line) >= LONG)}:
            for spelling in _spellings(one):
                self._add(spelling)
        self.add_url(value)
        return True

    def add_url(self, value: str, *, path: bool = False) -> None:
        """Hide what a URL says to its server alone: its password, a token in its path, the secrets of its query.

        `path`: all that follows the host, for an address that is a secret itself.
        """
        scheme, found, rest = value.partition("://")
        if not found:
            return
        userinfo, rest = _userinfo(rest)
        name, colon, password = userinfo.partition(":")
        secrets = [password] if colon else [name] if scheme in WEB else []  # a database's user alone is no secret
        for pair in rest.partition("?")[2].partition("#")[0].split("&"):
            key, _, given = pair.partition("=")
            if path or is_token(given) or any(word in key.casefold() for word in _TELLING):
                secrets.append(given)
        if scheme in WEB:
            host = _authority(rest)
            secrets += [part for part in re.split(r"[/?#]", rest[len(host) :]) if is_token(part)]
            if path and len(rest) > len(host) + 1:
                self._add(rest, len(host) + 1)
        for secret in secrets:
            for one in {secret, unquote(secret)}:
                self.add(one)

    def _add(self, spelling: str, shown: int = 0) -> None:
        if not self._index:
            Hidden.live = (*(one for one in Hidden.live if one() is not None), weakref.ref(self))
        begin, length = spelling[:SHORTEST], len(spelling)
        alike = self._index.get(begin, {})
        if length not in alike:
            self._index[begin] = alike = {**alike, length: {}}  # anew: another thread may be walking it
        alike[length][spelling] = shown

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Find where the values stand in a text: each from and to; they may overlap."""
        index = self._index
        for i in [i for i in range(len(text) - SHORTEST + 1) if text[i : i + SHORTEST] in index]:
            for length, alike in index[text[i : i + SHORTEST]].items():
                spelling = text[i : i + length]
                shown = alike.get(spelling)
                if shown is not None and _stands(text, i, spelling):
                    yield i + shown, i + length


def hide(value: str) -> Hidden:
    """Hide one value for as long as what this returns is held."""
    hidden = Hidden()
    hidden.add(value)
    return hidden


def mask(text: str) -> str:
    """Return a text without any value that came from a reference, and without the passwords of URLs."""
    found: list[tuple[int, int]] = []  # all, before anything is masked: a short value may be a part of a longer one
    for one in Hidden.live:
        if (hidden := one()) is not None:
            found += hidden.spans(text)
    said, done = "", 0
    for begin, end in sorted(found):
        if begin >= done:
            said += text[done:begin] + MASK
        done = max(done, end)
    text = said + text[done:]
    return _RUN.sub(_without_passwords, text) if "://" in text and "@" in text else text


def mask_bytes(body: bytes) -> bytes:
    """Return a body without any value that came from a reference, otherwise as it came."""
    return mask(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def is_token(text: str) -> bool:
    """Tell whether a part of an address looks like a secret: 128 bits of letters and digits mixed, as no name mixes them."""
    plain = text.replace("-", "").replace("_", "")
    if len(text) < TOKEN or not (plain.isascii() and plain.isalnum()) or plain.isalpha() or plain.isdigit():
        return False
    return (plain != plain.lower() and plain != plain.upper()) or sum(sign.isdigit() for sign in plain) >= DIGITS


def _stands(text: str, at: int, spelling: str) -> bool:
    """Tell whether a spelling at a place is the value, and not a part of a longer word."""
    if len(spelling) >= LONG:
        return True
    around = text[at - 1 : at] + text[at + len(spelling) : at + len(spelling) + 1]
    return not any(sign.isalnum() or sign in _IN_A_WORD for sign in around)


def _spellings(value: str) -> set[str]:
    raw = value.encode("utf-8", "replace")
    found = {value} if _UNRESERVED.fullmatch(value) else _written(value, raw)
    for before in range(3):  # inside a longer text, such as user:password, a value begins at any third of a group
        encoded = base64.b64encode(b"\0" * before + raw).rstrip(b"=").decode()
        inner = encoded[(8 * before + 5) // 6 : 8 * (before + len(raw)) // 6]
        found |= {inner, inner.replace("+", "-").replace("/", "_")} if len(inner) >= LONG else set()
    return {one for one in found if len(one) >= SHORTEST}


def _written(value: str, raw: bytes) -> set[str]:
    """Return a value as libraries and the other side may write it."""
    escaped = quote(value, safe="", errors="replace")
    found = {
        value, escaped, escaped.replace("%2F", "/"), quote_plus(value, errors="replace"), quote(value, "!$&'()*+,;=:@/?", errors="replace"),
        json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], repr(raw)[2:-1],
        html.escape(value),
    }  # fmt: skip
    return found | {_small_escapes(one) for one in found if "%" in one}


def _small_escapes(text: str) -> str:
    head, *parts = text.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in parts)])


def _without_passwords(run: re.Match[str]) -> str:
    head, *urls = run[0].split("://")
    return "://".join([head, *map(_without_password, urls)])


def _without_password(url: str) -> str:
    userinfo, rest = _userinfo(url)
    if not userinfo:
        return url
    name, colon, _ = userinfo.partition(":")
    return f"{name}:{MASK}@{rest}" if colon else f"{MASK}@{rest}"


def _userinfo(url: str) -> tuple[str, str]:
    """Split what follows `://` into its user and password, and the rest; a password may hold a / that nobody encoded."""
    host = _authority(url)
    port = host.rpartition(":")[2] if ":" in host else "0"
    end = (host if "@" in host or port.isdecimal() else url).rfind("@")
    return (url[:end], url[end + 1 :]) if end >= 0 else ("", url)


def _authority(url: str) -> str:
    return re.split(r"[/?#]", url, maxsplit=1)[0]

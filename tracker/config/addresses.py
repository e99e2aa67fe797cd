"""The addresses that a configuration names: where they stand, and whether each is what is meant."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tracker.config.yamlfile import Document, Path_

MEMORY = ":memory:"  # as SQLAlchemy calls no file
Texts = Iterable[tuple[Path_, str]]


def texts_of(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Walk all texts of a tree, each with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts_of(item, (*path, key))


def check_addresses(texts: Texts, document: Document) -> None:
    """Refuse what is no URL, or another one than was meant: it would fail later, in an error that shows a part of it."""
    for path, text in texts:
        if path == ("database",):
            fits, example = (
                _is_database(text),
                "such as sqlite:///var/trackwright.db (three slashes, four before a path from /) or postgresql://user@host/name",
            )
        elif path == ("broker",):
            fits, example = (
                text == "none" or _is_url(text, "redis", "rediss", "unix"),
                "such as redis://host:6379/0, or none",
            )
        elif str(path[-1]).endswith("_url"):
            fits, example = _is_url(text, "http", "https"), "such as https://host/path"
        else:
            continue
        if not fits:
            document.problem(
                path, f"must be a URL, {example}; write % / ? # @ : in a user or password as %25 %2F %3F %23 %40 %3A"
            )


def reached(url: str) -> str:
    """Return an address of ours that shops and carriers post to, without a slash at its end.

    Raises ValueError for one in clear, of this machine or network, or with more than a path.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not host or parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be https://host[/path]: shops and carriers post to it")
    if not _is_public(host):
        raise ValueError(f"{host} is no public host: shops and carriers cannot post to it")
    return url.rstrip("/")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        name = host.rstrip(".")
        return "." in name and not name.endswith((".localhost", ".local", ".internal", ".lan"))


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # what it says shows a part of a password
        return False
    named = parts.hostname or (parts.scheme == "unix" and parts.path)
    beside = parts.netloc.rpartition("@")[0] + parts.path + parts.query + parts.fragment
    return bool(
        parts.scheme in schemes and named and port != 0 and "@" not in beside and text.isprintable() and " " not in text
    )


def _is_database(text: str) -> bool:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return False
    kind = url.drivername.partition("+")[0]
    if kind == "sqlite":  # a file: sqlite://var/x.db would be one on a machine called var
        return not url.host and (url.database or MEMORY) != MEMORY
    return kind in ("postgresql", "postgres") and "@" not in (url.host or "")

"""What a plugin is given: settings, a client that sends nothing, fixtures, and bodies that hurt."""

from __future__ import annotations

import importlib
import inspect
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, SecretStr

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Payload, Unread
from tracker.plugin.calls import Request, Response, Token, Vault
from tracker.plugin.contracts import Carrier, Platform, Source, defined_in
from tracker.plugin.files import LINE

AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
KINDS = ("webhook", "poll", "read", "sweep", "file")
BAD_BODIES = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"12",
    "truncated": b'{"a": [',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a list nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a 5,000 digit integer": b'{"a": ' + b"9" * 5000 + b"}",
    "NaN": b'{"a": NaN}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "a billion laughs": b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><a>&b;</a>',
    "an entity from outside": b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>',
    "elements nested 100,000 deep": b"<a>" * 100_000 + b"</a>" * 100_000,
    "truncated XML": b'<?xml version="1.0"?><a><b>',
    "an empty element": b"<a/>",
    "html": b"<html><body>Service Unavailable</body></html>",
    "an empty object": b"{}",
}


TOKEN = b'{"access_token": "t", "expires_in": 3600}'
PAGES = (
    b"<!DOCTYPE html><html><body>Just a moment...</body></html>",
    b"\xef\xbb\xbf\n <HTML><head><title>Sorry</title></head></HTML>",
)


class Recorder:
    """A client that sends nothing: it keeps each request, and answers with one body after the other, the last for ever."""

    def __init__(self, *bodies: bytes) -> None:
        self.sent: list[Request] = []
        self.vault: Vault = _Forgetful()
        self._bodies = bodies or (TOKEN,)
        self._token: str | None = None

    def send(self, request: Request) -> Response:
        """Keep the request."""
        self.sent.append(request)
        return Response(200, {}, self._bodies[min(len(self.sent), len(self._bodies)) - 1], AT)

    @contextmanager
    def stream(self, url: str, size: int | None = None) -> Iterator[BinaryIO]:
        """Keep that it was asked for, and open an empty result."""
        self.sent.append(Request("GET", url))
        yield io.BytesIO()

    def token(self, ask: Callable[[], Token], refused: str | None = None) -> str:
        """Ask for a token once, and again where it is refused."""
        if self._token is None or self._token == refused:
            self._token = ask().value
        return self._token

    def now(self) -> datetime:
        """Return the moment that all fixtures are read at."""
        return AT


class Everywhere(dict[str, str]):
    """Headers that hold one value under every name, but for those that are set."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __missing__(self, name: str) -> str:
        return self._value

    def get(self, name: str, default: Any = None) -> Any:
        """Return what stands under a name: there is something under every one."""
        return self[name]


class _Forgetful:
    """A vault that holds nothing."""

    def load(self) -> str | None:
        return None

    def store(self, value: str) -> None:
        """Forget it."""


def plugin_of(module: str) -> type[Source]:
    """Return the one plugin class of a module or package. Raises AssertionError where there is not exactly one."""
    loaded = importlib.import_module(module)
    found = {
        value
        for value in vars(loaded).values()
        if inspect.isclass(value) and issubclass(value, Carrier | Platform) and defined_in(value, module)
    }
    assert len(found) == 1, f"{module} must define exactly one plugin, defines {found}"
    return found.pop()


def example_settings(plugin: type[Source], **more: Any) -> BaseModel:
    """Make settings of its `example`, with an invented value for every other field that needs one, and two webhook secrets."""
    values: dict[str, Any] = dict(plugin.example)
    for name, field in plugin.Settings.model_fields.items():
        if name in values:
            continue
        if name == "webhook_secrets":
            values[name] = ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"]
        elif field.is_required() or field.annotation in (SecretStr, SecretStr | None):
            values[name] = f"canary-{name}"
    return plugin.Settings(**{**values, **more})


def cases(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (case, kind, file) of the fixtures in a folder."""
    for file in sorted(folder.iterdir()) if folder.exists() else ():
        parts = file.name.split(".")
        if len(parts) >= 3 and parts[-3:-1] != ["expected"] and parts[1] in KINDS and "expected" not in parts:
            yield parts[0], parts[1], file


def parts_of(file: Path) -> tuple[bytes, ...]:
    """Return the parts of the payload that a fixture is: one, or those of a list; of a file that is cut, the whole of it."""
    body = file.read_bytes()
    if file.name.endswith(".parts.json"):
        return tuple(json.dumps(part).encode() for part in json.loads(body))
    return (body,)


def read_all(plugin: Source, kind: str, parts: tuple[bytes, ...]) -> list[Any]:
    """Read a payload; where it is a file of a plugin that reads files, all payloads that it is cut into.

    Raises BadPayload where nothing of it can be read.
    """
    if kind != "file" or not isinstance(plugin, Carrier) or not plugin.files:
        return list(plugin.normalize(Payload("account", kind, parts, AT, {})))
    found: list[Any] = []
    failed: list[BadPayload] = []
    for cut in plugin.cut(io.BytesIO(parts[0])):
        try:
            found += plugin.normalize(Payload("account", kind, cut.parts, AT, {LINE: str(cut.line)}))
        except BadPayload as error:  # of this part: the others are payloads of their own
            failed.append(error)
    if failed and not found:
        raise failed[0]
    return found + [Unread(error.where, error.problem, lacks="all") for error in failed]

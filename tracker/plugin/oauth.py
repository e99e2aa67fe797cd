"""Access tokens: fetched when needed, kept while they live, renewed once when refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tracker.domain.errors import BadPayload, CredentialsRejected, Refused
from tracker.domain.masking import Hidden, hide
from tracker.plugin.answers import holding
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.payloads import decode

MARGIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it ends; None: it does not."""

    value: str
    ends_at: datetime | None


class Tokens:
    """One token an account, shared by its threads. `grant` asks for a new one (OAuth 2, RFC 6749 4.4)."""

    def __init__(self, grant: Callable[[Client], Token]) -> None:
        """Keep how to ask; nothing is asked yet."""
        self._grant = grant
        self._token: Token | None = None
        self._hidden: list[Hidden] = []
        self._lock = threading.Lock()

    def get(self, client: Client) -> str:
        """Return a token that still lives."""
        with self._lock:
            token = self._token
            if token is None or (token.ends_at is not None and token.ends_at - MARGIN <= client.now()):
                token = self._token = self._grant(client)
                self._hidden = [*self._hidden[-1:], hide(token.value)]  # an error may still speak of the one before
            return token.value

    def forget(self, value: str) -> None:
        """Drop a token that was refused, unless another thread renewed it already."""
        with self._lock:
            if self._token is not None and self._token.value == value:
                self._token = None

    def send(self, client: Client, request: Request, header: Callable[[str], Mapping[str, str]]) -> Response:
        """Send with the token; a refused token is renewed once. Raises what the client raises."""
        value = self.get(client)
        try:
            return client.send(replace(request, headers={**request.headers, **header(value)}))
        except CredentialsRejected:
            self.forget(value)
            renewed = self.get(client)
            if renewed == value:
                raise
        return client.send(replace(request, headers={**request.headers, **header(renewed)}))


def bearer(value: str) -> Mapping[str, str]:
    """Return the header of RFC 6750."""
    return {"Authorization": f"Bearer {value}"}


def ask_token(client: Client, request: Request) -> tuple[Token, dict[str, Any]]:
    """Ask a token endpoint; returns the token and the whole answer.

    `expires_in` may be a text (UPS sends all values as texts). A refusal (400, 401) is CredentialsRejected: the key
    is wrong, whatever status says so.
    """
    try:
        response = client.send(request)
    except Refused as error:
        raise CredentialsRejected(f"token endpoint: {error}") from None
    body = decode(holding(response.body, "access_token"))
    value = body.get("access_token")
    if not isinstance(value, str) or not value:
        raise BadPayload("$.access_token", "is missing")
    try:
        ends_at = client.now() + timedelta(seconds=int(body["expires_in"])) if "expires_in" in body else None
    except (TypeError, ValueError, OverflowError):
        raise BadPayload("$.expires_in", "must be seconds") from None
    return Token(value, ends_at), body

"""Access tokens: how one is asked for, and how it goes into a request. One an account is kept by the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tracker.domain.errors import BadPayload, CredentialsRejected, Refused
from tracker.plugin.answers import holding
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.payloads import decode


class Tokens:
    """How an account's access token is asked for (OAuth 2, RFC 6749 4.4) and how it goes into a request; the core keeps it."""

    def __init__(self, grant: Callable[[Client], Token]) -> None:
        """Keep how to ask; nothing is asked yet."""
        self._grant = grant

    def get(self, client: Client, refused: str | None = None) -> str:
        """Return a token that still lives, another one than that which was refused. Raises what `grant` raises."""
        return client.token(lambda: self._grant(client), refused)

    def send(self, client: Client, request: Request, header: Callable[[str], Mapping[str, str]]) -> Response:
        """Send with the token; a refused token is asked anew once. Raises what the client raises."""
        value = self.get(client)
        try:
            return client.send(replace(request, headers={**request.headers, **header(value)}))
        except CredentialsRejected as said:
            try:
                renewed = self.get(client, refused=value)
            except CredentialsRejected as error:
                raise CredentialsRejected(f"{said}; {error}") from None
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

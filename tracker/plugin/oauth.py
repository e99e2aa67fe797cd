"""Access tokens: how one is asked for, and how it goes into a request; one an account is kept by the core. And requests that are signed instead."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Unavailable
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
        """Send with the token in a header; a refused token is asked anew once. Raises what the client raises."""
        return self.ask(client, lambda value: replace(request, headers={**request.headers, **header(value)}))

    def ask(self, client: Client, request: Callable[[str], Request]) -> Response:
        """Send a request that holds the token somewhere; as `send` does."""
        value = self.get(client)
        try:
            return client.send(request(value))
        except CredentialsRejected as said:
            try:
                renewed = self.get(client, refused=value)
            except CredentialsRejected as error:
                raise CredentialsRejected(f"{said}; {error}") from None
        return client.send(request(renewed))


def bearer(value: str) -> Mapping[str, str]:
    """Return the header of RFC 6750."""
    return {"Authorization": f"Bearer {value}"}


def token_call(
    url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None,
    basic: tuple[str, str] | None = None, idempotent: bool = True,
) -> Request:  # fmt: skip
    """Return the POST to a token endpoint: what is asked for stands in a form (RFC 6749 4.4.2), with Basic where `basic` says so."""
    said = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return Request("POST", url, headers=said, content=urlencode(form).encode(), basic=basic, idempotent=idempotent)


def ask_token(client: Client, request: Request, *, named: str = "access_token") -> tuple[Token, dict[str, Any]]:
    """Ask a token endpoint; returns the token, which the answer has by the name `named`, and the whole answer.

    `expires_in` may be a text (UPS sends all values as texts). A refusal (400, 401) is CredentialsRejected: the key
    is wrong, whatever status says so. 404 is Unavailable: nothing was asked about a number, so none is unknown.
    """
    try:
        response = client.send(request)
    except NotFound as error:
        raise Unavailable(f"token endpoint: {error}: nothing answers at this address") from None
    except Refused as error:
        raise CredentialsRejected(f"token endpoint: {error}") from None
    body = decode(holding(response.body, named))
    value = body.get(named)
    if not isinstance(value, str) or not value:
        raise BadPayload(f"$.{named}", "is missing")
    try:
        ends_at = client.now() + timedelta(seconds=int(body["expires_in"])) if "expires_in" in body else None
    except (TypeError, ValueError, OverflowError):
        raise BadPayload("$.expires_in", "must be seconds") from None
    return Token(value, ends_at), body


def oauth1(
    request: Request, consumer: tuple[str, str], token: tuple[str, str], now: datetime, nonce: str = ""
) -> Request:
    """Sign a request by OAuth 1.0a (RFC 5849 3), in its Authorization header, with HMAC-SHA256; each try needs a nonce of its own.

    `consumer` and `token` are an id and its secret each; `now` is our clock, which the other side compares with its own. A body is
    not signed unless it is a form (RFC 5849 3.4.1.3.1): of JSON the method, the address and its parameters are.
    """
    from oauthlib import oauth1 as scheme  # who signs nothing so never loads it

    signer = scheme.Client(
        consumer[0], consumer[1], token[0], token[1], signature_method=scheme.SIGNATURE_HMAC_SHA256,
        timestamp=str(int(now.timestamp())), nonce=nonce or secrets.token_hex(16),
    )  # fmt: skip
    said = [
        (name, one) for name, value in request.params.items() for one in ((value,) if isinstance(value, str) else value)
    ]
    query = urlencode(said, quote_via=quote, safe="~")
    method: Any = request.method  # its types know a few
    _, headers, _ = signer.sign(f"{request.url}?{query}" if query else request.url, method)
    return replace(request, headers={**request.headers, "Authorization": headers["Authorization"]})

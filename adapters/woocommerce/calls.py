"""One call to a WooCommerce shop: where it goes, how it proves who asks, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, Unavailable
from tracker.plugin.answers import not_html, raise_by_status, said_by
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.payloads import decode, document, text

NO_API = (
    "no REST API answers below /wp-json/: Settings > Permalinks must be anything but Plain, WooCommerce must be active, and no security "
    "plugin may block it"
)
MAY_NOT_WRITE = ("woocommerce_rest_cannot_create", "woocommerce_rest_cannot_edit", "woocommerce_rest_cannot_delete")


class NoRoute(Unavailable):
    """The site knows no such route (`rest_no_route`): a feature that is off, a plugin that is not there, or no WooCommerce at all."""


class Api:
    """The REST API of one site, with its keys."""

    def __init__(self, settings: Any) -> None:
        """Keep where it is and what proves us."""
        self._settings = settings

    def get(self, client: Client, path: str, params: Mapping[str, str] | None = None) -> Response:
        """Read what stands at a path below `/wp-json/`."""
        return self._send(client, "GET", path, params or {}, None)

    def write(
        self,
        client: Client,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str] | None = None,
    ) -> Response:
        """Write. It is never repeated by the wire: each write can mail, and a note, a hook and a tracking are made twice."""
        return self._send(client, method, path, params or {}, orjson.dumps(body) if body is not None else None)

    def _send(
        self, client: Client, method: str, path: str, params: Mapping[str, str], content: bytes | None
    ) -> Response:
        own = self._settings
        key, secret = own.consumer_key.get_secret_value(), own.consumer_secret.get_secret_value()
        in_query = own.keys_in == "query"
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content is not None else {})
        return client.send(
            Request(
                method,
                f"{own.base_url.rstrip('/')}/wp-json/{path}",
                params={**params, "consumer_key": key, "consumer_secret": secret} if in_query else params,
                headers=headers,
                content=content,
                basic=None if in_query else (key, secret),
                idempotent=method == "GET",
            )
        )


def raise_for_status(response: Response) -> None:
    """Judge an answer by its status and WooCommerce's own code; one without a code is of the host or a firewall before it.

    A 404 of the site itself is none of an order: it is said plainly what is missing there.
    """
    status, code = response.status, _code(response.body)
    if status == 404 and not code:
        raise Unavailable(f"HTTP 404: {NO_API}")
    not_html(response)
    said = _said(response, code)
    if code == "rest_no_route":
        raise NoRoute(f"HTTP {status}: rest_no_route: {NO_API}")
    if status in (401, 403):
        _refused(status, code, said)
    if status == 404:
        raise NotFound(said)
    if code and status in (400, 409, 410, 422):
        raise Refused(said)
    raise_by_status(response)


def _refused(status: int, code: str, said: str) -> None:
    """Tell who may not: the key, its user, or nobody as a firewall stands before the shop."""
    if not code:
        if status == 401:
            raise CredentialsRejected("HTTP 401 without WooCommerce's own words: the site itself asks for a password")
        raise Unavailable("HTTP 403 without WooCommerce's own words: a firewall or security plugin refuses us")
    if code in MAY_NOT_WRITE or "write permission" in said:
        raise Refused(f"{said}; the key needs Read/Write, and its user must be a shop manager")
    raise CredentialsRejected(
        f"{said}; the key's user must be a shop manager, and where the server drops the header Authorization, `keys_in: query` helps"
    )


def _error(body: bytes) -> Mapping[str, Any]:
    try:
        found = document(body)
    except BadPayload:
        return {}
    return found if isinstance(found, dict) else {}


def _code(body: bytes) -> str:
    code = _error(body[:100_000]).get("code")
    return str(code) if isinstance(code, int) and not isinstance(code, bool) else text(code)


def _said(response: Response, code: str) -> str:
    """Return the code and message of an error, and which arguments were wrong."""
    if 200 <= response.status < 300 or not code:
        return f"HTTP {response.status}"
    data = _error(response.body).get("data")
    params = data.get("params") if isinstance(data, dict) else None
    wrong = "; ".join(filter(None, map(text, params.values()))) if isinstance(params, dict) else ""
    return f"HTTP {response.status}: {said_by(response.body)}{f' ({wrong[:200]})' if wrong else ''}"


def told_by(response: Response) -> dict[str, Any]:
    """Return the object that a write answers with. Raises Transient where it is none: it shows nothing of what was written."""
    try:
        return decode(response.body)
    except BadPayload:
        raise Transient(f"HTTP {response.status} without what was written: {said_by(response.body)}") from None

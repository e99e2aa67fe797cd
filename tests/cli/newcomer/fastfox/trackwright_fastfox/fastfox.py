"""Fast Fox parcels (poll, and webhooks with a signature).

Fast Fox API v2: Shipments, Webhooks; a carrier that is made up, as a newcomer would write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import SecretStr

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Code, Page, Parcels, Payload, Place, Query, Report, Scan, Unread
from tracker.plugin import contracts
from tracker.plugin.answers import raise_unless_json
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.payloads import (
    about,
    decode,
    estimate,
    moment,
    number,
    optional,
    piece,
    pieces,
    printed,
    section,
    term,
    text,
    told,
    word,
)
from tracker.plugin.signatures import hmac_hex, signed_time, within


class Settings(contracts.Settings):
    """One account. `base_url` is where its API is, `api_key` proves who asks, `webhook_secrets` who sends."""

    base_url: str = "https://api.fastfox.example"
    api_key: SecretStr
    webhook_secrets: Secrets = ()


class FastfoxCarrier(contracts.Carrier):
    """Fast Fox parcels."""

    docs = "https://fastfox.example/docs"
    contract = 2
    asks = frozenset({Parcels})
    webhooks = True
    carriers = ("fastfox",)
    companies: ClassVar[Mapping[str, str]] = {"fast fox": "fastfox"}
    response_keys = ("shipment",)
    default_zone = "Europe/London"  # it prints the time of the place, without an offset
    codes = read_codes(__file__)
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check the HMAC of `time.body`, and that the time is now."""
        stamp, given = payload.headers.get("x-fox-time"), payload.headers.get("x-fox-signature")
        within(signed_time(stamp, name="x-fox-time"), payload.received_at)
        signed = f"{stamp}.".encode() + payload.body
        return hmac_hex(self.settings.webhook_secrets, signed, given, name="x-fox-signature")

    def dedupe_key(self, payload: Payload) -> str:
        """Use the event's id, which stays the same over retries."""
        try:
            return word(decode(payload.body).get("id"), "$.id")
        except BadPayload:
            return super().dedupe_key(payload)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer or an event: both hold one shipment."""
        body = decode(payload.body)
        if body.get("shipment") is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.shipment", "is missing")
        unread: list[Unread] = []
        one = piece(body["shipment"], "$.shipment", _shipment, unread, lacks="all")
        return told([one] if one else [], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error may come with 200."""
        raise_unless_json(response, errors=("error",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /v2/shipments/{number}."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            yield Page((client.send(self._get(f"/v2/shipments/{segment(parcel.number)}")).body,))

    def ping(self, client: Client) -> None:
        """GET /v2/me."""
        client.send(self._get("/v2/me"))

    def _get(self, path: str) -> Request:
        headers = {"X-Fox-Key": self.settings.api_key.get_secret_value()}
        return Request("GET", f"{self.settings.base_url}{path}", headers=headers)


def _shipment(row: dict[str, Any], unread: list[Unread]) -> Report:
    mine = number(row.get("trackingNo"), "$.trackingNo")
    scans = pieces(row.get("events"), "$.events", _event, unread)
    whole = not unread  # a history that lacks a scan, or the time of one, withdraws none
    day = optional(moment, row.get("promised"), "$.promised", unread)
    about(mine, unread)
    return Report("fastfox", mine, tuple(scans), complete=whole, edd=estimate(day) if day else None)


def _event(row: dict[str, Any], unread: list[Unread]) -> Scan:
    code = Code("event", term(row.get("status"), "$.status", unread) or "missing", text(row.get("message")))
    local, instant, zone, precision = printed(row.get("timestamp"), "$.timestamp", unread)
    town = section(row.get("location"), "$.location", unread).get("town")
    return Scan(code, local, instant, zone, precision, Place(text(town), country="GB"))

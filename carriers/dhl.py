"""DHL Shipment Tracking - Unified (poll) and Unified Push v1.

Samples and error bodies: netresearch dhl/sdk-api-unified-tracking; statuses: DHL's list by service, `dhl.csv`;
limits and push body: developer.dhl.com and support-developer.dhl.com; all read 2026-11. The push handshake and its
scopes come from third parties: hence `push_url`.

`statusCode` is coarse and can be wrong for a merchant ("delivered" also means "at the parcel shop" or "back at the
sender"), so a status that the list knows for its service speaks first; the coarse code only where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound
from tracker.domain.facts import (
    Ask,
    Code,
    Edd,
    Hint,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    Refs,
    Registered,
    Report,
    Scan,
)
from tracker.domain.vocabulary import Trust
from tracker.plugin import contracts
from tracker.plugin.contracts import Client, Request, Secrets, read_codes
from tracker.plugin.payloads import decode, each, inside, moment, number, printed, text
from tracker.plugin.signatures import shared_secret

LOCAL = {"parcel-de": "DE", "post-de": "DE", "svb": "DE", "parcel-nl": "NL", "parcel-pl": "PL"}  # prints local times
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class Settings(contracts.Settings):
    """One DHL developer app. `service` is sent when known: another division's parcel may share the number."""

    base_url: str = "https://api-eu.dhl.com"
    push_url: str = "https://api-eu.dhl.com/tracking/push/v1"
    api_key: SecretStr
    service: str | None = None
    language: str = "en"
    callback_url: str | None = None
    webhook_header: str = "DHL-Hook-Token"
    webhook_secrets: Secrets = ()


class DHL(contracts.Carrier):
    """DHL parcels of all divisions."""

    docs = "https://developer.dhl.com/api-reference/shipment-tracking"
    trust = Trust.SHARED  # a header that we chose ourselves; nothing covers the body
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    register_batch = 10
    carriers = ("dhl",)
    codes = read_codes(__file__)
    default_zone = "Europe/Berlin"
    budget = (250, timedelta(days=1))  # starter quota (developer.dhl.com)
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check the header and token that we chose when we subscribed."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the status for its service, else the coarse statusCode (space is `service/statusCode`)."""
        return _meaning(code.space, code.code)

    def normalize(self, payload: Payload) -> Iterable[Report | Hint]:
        """Read a tracking answer or a push; a push that asks for validation becomes a hint to answer it."""
        body = decode(payload.body)
        scope = body.get("scope")
        if isinstance(scope, str) and scope != "subscription.push":
            if scope != "subscription.validate":
                return ()
            ref = text(body.get("self")).rstrip("/").rpartition("/")[2]
            secret = text(body.get("secret"))
            if not _ID.fullmatch(ref) or not secret:
                raise BadPayload("$.self", "names no subscription to validate")
            return (Hint(f"{ref}:{secret}"),)
        if "shipments" not in body:
            raise BadPayload("$.shipments", "is missing")
        full = payload.kind != "webhook"  # field sets of a push differ by division
        return each(body["shipments"], "$.shipments", _shipment, full)

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """GET /track/shipments; one number a call."""
        assert isinstance(ask, Parcels)
        for parcel in ask.parcels:
            params = {"trackingNumber": parcel.number, "language": self.settings.language}
            if self.settings.service:
                params["service"] = self.settings.service
            request = Request(
                "GET", f"{self.settings.base_url}/track/shipments", params=params, headers=self._key_header()
            )
            yield Page((client.send(request).body,))

    def register(self, client: Client, ask: Parcels | Refs) -> list[Registered]:
        """Subscribe to pushes (10 numbers a call), or confirm a subscription that asked for validation."""
        if isinstance(ask, Refs):
            for ref in ask.refs:
                subscription, _, secret = ref.partition(":")
                headers = {**self._key_header(), "DHL-API-Hook-Secret": secret}
                client.send(Request("POST", f"{self.settings.push_url}/subscription/{subscription}", headers=headers))
            return []
        settings = self.settings
        if not settings.callback_url or not settings.webhook_secrets:
            return [Registered(p.number) for p in ask.parcels]  # polls only
        registered = []
        for start in range(0, len(ask.parcels), 10):
            numbers = [p.number for p in ask.parcels[start : start + 10]]
            answer = client.send(
                Request(
                    "POST",
                    f"{settings.push_url}/subscription",
                    headers={**self._key_header(), "Content-Type": "application/json"},
                    content=orjson.dumps(self._subscription(numbers)),
                )
            )
            made = text(decode(answer.body).get("subscriptionId")) or None
            registered += [Registered(n, their_ref=made) for n in numbers]
        return registered

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: 404 proves the key."""
        with suppress(NotFound):
            list(self.fetch(client, Parcels((Parcel("dhl", "00340434000000000000"),))))

    def _subscription(self, numbers: list[str]) -> dict[str, Any]:
        settings = self.settings
        body = {
            "hook": {
                "uri": settings.callback_url,
                "authentication": {
                    "type": "ApiKeyAuthentication",
                    "header": settings.webhook_header,
                    "token": settings.webhook_secrets[0].get_secret_value(),
                },
            },
            "format": "Default",
            "type": "Shipment",
            "events": ["Pre-Transit", "Transit", "Delivered", "Failure", "Unknown"],
            "shipmentIDs": numbers,
        }
        return {**body, "service": settings.service} if settings.service else body

    def _key_header(self) -> dict[str, str]:
        return {"DHL-API-Key": self.settings.api_key.get_secret_value()}


@lru_cache(maxsize=1000)
def _meaning(space: str, code: str) -> Meaning | None:
    service, _, coarse = space.partition("/")
    return DHL.codes.get((service, code)) or DHL.codes.get(("statusCode", coarse))


def _shipment(shipment: dict[str, Any], full: bool) -> Report:
    service = text(shipment.get("service"))
    scans = each(shipment.get("events"), "$.events", _event, service)
    complete = full and bool(scans)
    if not scans and shipment.get("status") is not None:
        scans = [inside(shipment["status"], "$.status", _event, service)]
    proof = None
    details = shipment.get("details")
    if isinstance(details, dict) and isinstance(pod := details.get("proofOfDelivery"), dict):
        proof = Proof(signed=bool(pod.get("signed") or pod.get("signatureUrl")))
    return Report(
        "dhl",
        number(shipment.get("id"), "$.id"),
        tuple(scans),
        complete=complete,
        edd=_estimate(shipment),
        proof=proof,
    )


def _event(event: dict[str, Any], service: str) -> Scan:
    get = event.get
    coarse = text(get("statusCode"))[:100]  # some divisions leave it out
    status, description = text(get("status")), text(get("description"))
    fine = (
        "" if " " in status or status.islower() else status
    )  # a code (`NOT_HOME`, `599`, `56-611`, `PU`), no sentence
    location = get("location")
    if isinstance(location, dict) and isinstance(address := location.get("address"), dict):
        at = address.get
        country = text(at("countryCode")) or LOCAL.get(service, "")
        place = Place(text(at("addressLocality")), "", text(at("postalCode")), country)
    else:
        place = Place(country=LOCAL.get(service, ""))
    code = Code(f"{service}/{coarse}", fine[:100] or coarse or "missing", description or status)
    if not (stamp := get("timestamp")):
        return Scan(code, place=place)
    local, instant, zone, precision = printed(stamp, "$.timestamp")
    return Scan(code, local, instant, zone, precision, place)


def _estimate(shipment: dict[str, Any]) -> Edd | None:
    frame = shipment.get("estimatedDeliveryTimeFrame")
    ends: list[datetime] = []
    if isinstance(frame, dict) and frame.get("estimatedFrom") and frame.get("estimatedThrough"):
        at = "$.estimatedDeliveryTimeFrame"
        ends = [moment(frame["estimatedFrom"], at), moment(frame["estimatedThrough"], at)]
    elif shipment.get("estimatedTimeOfDelivery"):
        ends = [moment(shipment["estimatedTimeOfDelivery"], "$.estimatedTimeOfDelivery")] * 2
    if not ends:
        return None
    begins, through = (m if m.tzinfo else m.replace(tzinfo=UTC) for m in ends)
    return Edd(begins, max(begins, through))

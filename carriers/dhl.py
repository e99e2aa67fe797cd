"""DHL Shipment Tracking - Unified (poll) and Unified Push v1.

Samples and error bodies: netresearch dhl/sdk-api-unified-tracking; statuses: DHL's list by service, `dhl.csv`;
limits and push body: developer.dhl.com and support-developer.dhl.com; all read 2026-11. The push handshake and its
scopes come from third parties: hence `push_url`.

`statusCode` is coarse and can be wrong for a merchant ("delivered" also means "at the parcel shop" or "back at the
sender"), so a status that the list knows for its service speaks first; the coarse code only where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Refused, Transient
from tracker.domain.facts import (
    ChangeNotice,
    Code,
    Edd,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    Query,
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.vocabulary import Trust
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_by_status
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Secrets
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
    with_head,
)
from tracker.plugin.signatures import shared_secret

LOCAL = {"parcel-de": "DE", "post-de": "DE", "svb": "DE", "parcel-nl": "NL", "parcel-pl": "PL"}  # prints local times
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,500}")  # goes into a header


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
    response_keys = ("shipments",)
    codes = read_codes(__file__)
    default_zone = "Europe/Berlin"
    limits = Limits(250, timedelta(days=1))  # starter quota (developer.dhl.com)
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check the header and token that we chose when we subscribed."""
        name = self.settings.webhook_header.lower()
        return shared_secret(self.settings.webhook_secrets, payload.headers.get(name), name=name)

    def webhooks_need(self) -> str:
        """Name what a subscription carries, our address and the token of its header: without both none is made."""
        needed = ("callback_url", "webhook_secrets")
        return " and ".join(name for name in needed if not getattr(self.settings, name))

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the status for its service, else the coarse statusCode (space is `service/statusCode`)."""
        return _meaning(code.space, code.code)

    def normalize(self, payload: Payload) -> Iterable[Report | ChangeNotice | Unread]:
        """Read a tracking answer or a push; a push that asks for validation becomes a change notice, so that it is answered."""
        body = decode(payload.body)
        scope = body.get("scope")
        if isinstance(scope, str) and scope != "subscription.push":
            if scope != "subscription.validate":
                return ()
            ref = text(body.get("self")).rstrip("/").rpartition("/")[2]
            secret = text(body.get("secret"))
            if not _ID.fullmatch(ref) or not _SECRET.fullmatch(secret):
                raise BadPayload("$.self", "names no subscription to validate")
            return (ChangeNotice(f"{ref}:{secret}"),)
        if body.get("shipments") is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.shipments", "is missing")
        unread: list[Unread] = []
        full = payload.kind != "webhook"  # field sets of a push differ by division
        reports = pieces(body["shipments"], "$.shipments", _shipment, unread, full, lacks="all")
        return told(self._ours(reports) if len(reports) > 1 else reports, unread)

    def _ours(self, reports: list[Report]) -> list[Report]:
        """Leave out other divisions' shipments of a number, where one is of the service that the account is set to."""
        service = self.settings.service
        mine = {report.number for report in reports if service and report.piece == service}
        return [report for report in reports if report.number not in mine or report.piece == service]

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error body (problem JSON: title, status) means the same when it comes with a good status."""
        not_html(response)
        raise_by_status(response)
        if b'"title"' not in response.body or b'"shipments"' in response.body:
            return
        with suppress(BadPayload):  # it is stored, and told by the parser
            problem = decode(response.body)
            if isinstance(status := problem.get("status"), int):
                raise_by_status(replace(response, status=status))
            if "title" in problem:
                raise Transient(f"HTTP {response.status} with an error: {text(problem['title'])}")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /track/shipments; one number a call."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            params = {"trackingNumber": parcel.number, "language": self.settings.language}
            if self.settings.service:
                params["service"] = self.settings.service
            request = Request(
                "GET", f"{self.settings.base_url}/track/shipments", params=params, headers=self._key_header()
            )
            yield Page((client.send(request).body,))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """Subscribe to pushes (10 numbers a call), or confirm a subscription that asked for validation."""
        if isinstance(query, Refs):
            for ref in query.refs:
                subscription, _, secret = ref.partition(":")
                if not _SECRET.fullmatch(secret):
                    raise Refused("a handshake whose secret can stand in no header")
                headers = {**self._key_header(), "DHL-API-Hook-Secret": secret}
                url = f"{self.settings.push_url}/subscription/{segment(subscription)}"
                client.send(Request("POST", url, headers=headers))
            return []
        settings = self.settings
        if not settings.callback_url or not settings.webhook_secrets:
            return [Registered(p.number) for p in query.parcels]  # polls only
        registered = []
        for start in range(0, len(query.parcels), 10):
            numbers = [p.number for p in query.parcels[start : start + 10]]
            response = client.send(
                Request(
                    "POST",
                    f"{settings.push_url}/subscription",
                    headers={**self._key_header(), "Content-Type": "application/json"},
                    content=orjson.dumps(self._subscription(numbers)),
                )
            )
            made = text(decode(holding(response.body, "subscriptionId")).get("subscriptionId")) or None
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


def _reading(code: Code) -> Meaning | None:
    return _meaning(code.space, code.code)


def _shipment(shipment: dict[str, Any], unread: list[Unread], full: bool) -> Report:
    get = shipment.get
    mine = number(get("id"), "$.id")
    service = text(get("service")) or term(get("service"), "$.service", unread)
    events: Any = get("events")
    scans: Sequence[Scan] = pieces(events, "$.events", _event, unread, service)
    whole = full and bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    status = get("status")
    if status is not None and not (scans and status == events[0]):  # newest first, as a rule
        head = piece(status, "$.status", _event, unread, service)
        scans = with_head(scans, head, _reading) if head is not None else scans
    proof = None
    details: Any = get("details")
    if details and (pod := section(details, "$.details", unread).get("proofOfDelivery")) is not None:
        pod = section(pod, "$.details.proofOfDelivery", unread)
        proof = Proof(signed=bool(pod.get("signed") or pod.get("signatureUrl")))
    frame, at = get("estimatedDeliveryTimeFrame"), get("estimatedTimeOfDelivery")
    edd = _estimate(frame, at, unread) if frame is not None or at is not None else None
    if unread:
        about(mine, unread)
    return Report("dhl", mine, tuple(scans), complete=whole, edd=edd, proof=proof, piece=service or None)


def _event(event: dict[str, Any], unread: list[Unread], service: str) -> Scan:
    get = event.get
    coarse, status = text(get("statusCode")), text(get("status"))  # some divisions leave one of them out
    if not (status and coarse):
        term(get("status"), "$.status", unread)
        term(get("statusCode"), "$.statusCode", unread)
    location = get("location")
    if isinstance(location, dict) and isinstance(address := location.get("address"), dict):
        at = address.get
        country = text(at("countryCode")) or LOCAL.get(service, "")
        place = Place(text(at("addressLocality")), "", text(at("postalCode")), country)
    else:
        place = Place(country=LOCAL.get(service, ""))
        if location is not None:
            section(section(location, "$.location", unread).get("address"), "$.location.address", unread)
    local, instant, zone, precision = printed(get("timestamp"), "$.timestamp", unread)
    return Scan(_code(service, coarse, status, text(get("description"))), local, instant, zone, precision, place)


@lru_cache(maxsize=2_000)  # events of all parcels say the same few hundred things
def _code(service: str, coarse: str, status: str, description: str) -> Code:
    # a code (`NOT_HOME`, `599`, `56-611`, `PU`), no sentence
    fine = "" if " " in status or status.islower() else status[:100]
    coarse = coarse[:100]
    return Code(f"{service}/{coarse}", fine or coarse or "missing", description or status)


def _estimate(frame: Any, at: Any, unread: list[Unread]) -> Edd | None:
    """Take the estimated frame, else the estimated moment."""
    where = "$.estimatedDeliveryTimeFrame"
    get = section(frame, where, unread).get
    begins = optional(moment, get("estimatedFrom"), f"{where}.estimatedFrom", unread)
    ends = optional(moment, get("estimatedThrough"), f"{where}.estimatedThrough", unread)
    if begins is None or ends is None:
        begins, ends = optional(moment, at, "$.estimatedTimeOfDelivery", unread), None
    return estimate(begins, ends) if begins is not None else None

"""EasyPost trackers: signed snapshots by webhook, polls, and registration.

Contract: docs.easypost.com/docs/trackers and the official client libraries (easypost-python @ 8fcf5e4b,
easypost-csharp @ 3a298ca0), read 2026-11. Codes: `easypost.csv`.

Every push holds the whole tracker, so snapshots are compared by `updated_at`. EasyPost prints `Z` also when it does not
know the zone, so `Z` proves nothing: the time counts as local to the place, flagged. The finer `status_detail` speaks
first; `status_update` and `unknown` leave it to `status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload
from tracker.domain.facts import (
    NOWHERE,
    Ask,
    Code,
    Edd,
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
from tracker.domain.vocabulary import Leg, ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.contracts import Client, Request, Secrets, read_codes
from tracker.plugin.payloads import decode, each, inside, mapping, moment, number, printed, text, word
from tracker.plugin.signatures import hmac_hex

NAMES = {  # EasyPost's names for carriers; others are used in lower case
    "dhlexpress": "dhl", "dhlecs": "dhl", "dhlpaket": "dhl", "dhl": "dhl", "fedex": "fedex",
    "fedexsmartpost": "fedex", "ups": "ups", "upsdap": "ups", "upsmailinnovations": "ups", "upssurepost": "ups",
    "usps": "usps", "canadapost": "canadapost", "royalmail": "royalmail", "australiapost": "australiapost",
}  # fmt: skip
THEIRS = {"dhl": "DHLExpress", "fedex": "FedEx", "ups": "UPS", "usps": "USPS", "canadapost": "CanadaPost"}
_ASSUMED = Zone.ASSUMED
STATES = {
    "unknown": TrackingState.NOT_FOUND,
    "error": TrackingState.ERROR,
    "expired": TrackingState.EXPIRED,
}


class Settings(contracts.Settings):
    """One EasyPost API key."""

    base_url: str = "https://api.easypost.com/v2"
    api_key: SecretStr
    webhook_secrets: Secrets = ()


class EasyPost(contracts.Carrier):
    """Parcels of many carriers, told by EasyPost."""

    docs = "https://docs.easypost.com/docs/trackers"
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    codes = read_codes(__file__)
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check `X-Hmac-Signature: hmac-sha256-hex=...` with the NFKD-normalised secret."""
        name = "x-hmac-signature"
        return hmac_hex(
            self.settings.webhook_secrets, payload.body, payload.headers.get(name),
            name=name, prefix="hmac-sha256-hex=", nfkd=True,
        )  # fmt: skip

    def dedupe_key(self, payload: Payload) -> str:
        """Use the event id (`evt_...`), which stays the same over retries."""
        try:
            return word(decode(payload.body).get("id"), "$.id")
        except BadPayload:
            return super().dedupe_key(payload)

    def meaning(self, code: Code) -> Meaning | None:
        """Read `status/status_detail`: the detail first, the status where the detail says nothing of its own."""
        return _meaning(code.code)

    def normalize(self, payload: Payload) -> Iterable[Report]:
        """Read an event, a tracker or a list of trackers."""
        body = decode(payload.body)
        kind = body.get("object")
        if kind == "Event" or "result" in body:
            result = mapping(body.get("result"), "$.result")
            if result.get("object", "Tracker") != "Tracker":
                return ()  # events about other things than trackers
            return (inside(result, "$.result", _tracker),)
        if "trackers" in body:
            return each(body["trackers"], "$.trackers", _tracker)
        return (_tracker(body),)

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """GET /trackers/{id}, or the list by number where no tracker of ours is known."""
        assert isinstance(ask, Parcels)
        for parcel in ask.parcels:
            if parcel.their_ref:
                request = Request("GET", f"{self.settings.base_url}/trackers/{parcel.their_ref}", basic=self._basic())
            else:
                params = {"tracking_code": parcel.number, "page_size": "5"}
                request = Request("GET", f"{self.settings.base_url}/trackers", params=params, basic=self._basic())
            yield Page((client.send(request).body,))

    def register(self, client: Client, ask: Parcels | Refs) -> list[Registered]:
        """POST /trackers; the same number within three months answers with the tracker that exists."""
        assert isinstance(ask, Parcels)
        return [self._register(client, parcel) for parcel in ask.parcels]

    def ping(self, client: Client) -> None:
        """Ask for one tracker."""
        params = {"page_size": "1"}
        client.send(Request("GET", f"{self.settings.base_url}/trackers", params=params, basic=self._basic()))

    def _register(self, client: Client, parcel: Parcel) -> Registered:
        tracker = {"tracking_code": parcel.number}
        if parcel.carrier in THEIRS:
            tracker["carrier"] = THEIRS[parcel.carrier]
        request = Request(
            "POST",
            f"{self.settings.base_url}/trackers",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps({"tracker": tracker}),
            basic=self._basic(),
        )
        return Registered(parcel.number, their_ref=text(decode(client.send(request).body).get("id")) or None)

    def _basic(self) -> tuple[str, str]:
        return (self.settings.api_key.get_secret_value(), "")


@lru_cache(maxsize=1000)
def _meaning(code: str) -> Meaning | None:
    codes = EasyPost.codes
    status, _, detail = code.partition("/")
    parent = codes.get(("status", status))
    if detail == "arrived_at_destination" and status == "delivered":
        return parent  # "at destination" of a delivered parcel is the delivery itself
    fine = codes.get(("detail", detail)) if detail else None
    if fine is None or fine.status is None:
        return parent  # a new detail: the status beside it is still one of the ten official words
    if parent is not None and parent.status is ShippingStatus.RETURNING and not fine.status.terminal:
        return parent if fine.status.custody else Meaning(fine.status, fine.reason, Leg.RETURN_TO_SENDER)
    return fine


def _tracker(tracker: dict[str, Any]) -> Report:
    named = text(tracker.get("carrier"))
    carrier = NAMES.get(named.lower(), named.lower()) or "unknown"
    leg = Leg.CUSTOMER_RETURN if tracker.get("is_return") is True else None
    details = tracker.get("tracking_details")
    scans = tuple(each(details, "$.tracking_details", _detail, leg))
    status, detail = text(tracker.get("status")), text(tracker.get("status_detail"))
    state = STATES.get(detail) if detail == "expired" else STATES.get(status)
    if state is TrackingState.NOT_FOUND and scans:
        state = None
    updated = tracker.get("updated_at")
    as_of = moment(updated, "$.updated_at") if updated else None
    if as_of is not None and as_of.tzinfo is None:
        as_of = as_of.replace(tzinfo=UTC)
    return Report(
        carrier,
        number(tracker.get("tracking_code"), "$.tracking_code"),
        scans,
        tracking=state or TrackingState.ACTIVE,
        complete=True,
        as_of=as_of,
        edd=_estimate(tracker.get("est_delivery_date"), "$.est_delivery_date"),
        proof=Proof(signed=True) if tracker.get("signed_by") else None,
    )


def _detail(detail: dict[str, Any], leg: Leg | None) -> Scan:
    get = detail.get
    status = text(get("status")) or "missing"  # a scan without a status is kept, as UNKNOWN
    fine = text(get("status_detail"))
    code = Code("tracker", f"{status}/{fine}" if fine else status, text(get("message")))
    place = NOWHERE
    if isinstance(location := get("tracking_location"), dict):
        at = location.get
        place = Place(text(at("city")), text(at("state")), text(at("zip")), text(at("country")))
    if not (stamp := get("datetime")):
        return Scan(code, place=place, leg=leg)
    local, instant, zone, _ = printed(stamp, "$.datetime")
    if instant is None or not instant.utcoffset():
        instant, zone = datetime.combine(local, local.time(), UTC), _ASSUMED
    return Scan(code, local, instant, zone, place=place, leg=leg)


def _estimate(value: Any, where: str) -> Edd | None:
    """Read a date dressed as midnight Z: the whole day."""
    if not value:
        return None
    day: datetime = moment(value, where).replace(tzinfo=UTC)
    return Edd(day, day + timedelta(days=1))

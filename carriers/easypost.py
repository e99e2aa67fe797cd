"""EasyPost trackers: signed snapshots by webhook, polls, and registration.

Contract: docs.easypost.com/docs/trackers and the official client libraries (easypost-python @ 8fcf5e4b,
easypost-csharp @ 3a298ca0), read 2026-11. Codes: `easypost.csv`.

Every push holds the whole tracker, so snapshots are compared by `updated_at`. EasyPost prints `Z` also when it does not
know the zone, so `Z` proves nothing: the time counts as local to the place, flagged. The finer `status_detail` speaks
first; `status_update` and `unknown` leave it to `status`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, NotFound
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Meaning,
    Missed,
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
from tracker.domain.vocabulary import Leg, ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Secrets
from tracker.plugin.payloads import (
    about,
    decode,
    estimate,
    listing,
    mapping,
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
    word,
)
from tracker.plugin.signatures import hmac_hex

_ASSUMED, _combine = Zone.ASSUMED, datetime.combine
STATES = {
    "unknown": TrackingState.NOT_FOUND,
    "error": TrackingState.ERROR,
    "expired": TrackingState.EXPIRED,
}


class Settings(contracts.Settings):
    """One EasyPost API key. `events_kept_days`: how far back events are asked for after an outage of ours."""

    base_url: str = "https://api.easypost.com/v2"
    api_key: SecretStr
    webhook_secrets: Secrets = ()
    events_kept_days: int = Field(30, ge=1, le=365)


class EasyPost(contracts.Carrier):
    """Parcels of many carriers, told by EasyPost."""

    docs = "https://docs.easypost.com/docs/trackers"
    unverified = ("how long its events are kept: `events_kept_days`",)
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    response_keys = ("trackers", "tracking_code")
    vocabulary = ("easypost",)
    codes = read_codes(__file__)
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self.resends = timedelta(days=self.settings.events_kept_days)

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

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an event, a tracker or a list of trackers."""
        body = decode(payload.body)
        unread: list[Unread] = []
        if body.get("object") == "Event" or "result" in body:
            result = mapping(body.get("result"), "$.result")
            if result.get("object", "Tracker") != "Tracker":
                return ()  # events about other things than trackers
            one = piece(result, "$.result", _tracker, unread, self, lacks="all")
            return told([one] if one is not None else [], unread)
        if "trackers" not in body:
            return told([_tracker(body, unread, self)], unread)
        if body["trackers"] is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.trackers", "is missing")
        return told(pieces(body["trackers"], "$.trackers", _tracker, unread, self, lacks="all"), unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error body (`error`, docs.easypost.com/docs/errors) stays one when it comes with 200."""
        raise_unless_json(response, errors=("error",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /trackers/{id}, or the list by number where no tracker of ours is known."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            if parcel.their_ref:
                url = f"{self.settings.base_url}/trackers/{segment(parcel.their_ref)}"
                request = Request("GET", url, basic=self._basic())
            else:
                params = {"tracking_code": parcel.number, "page_size": "5"}
                request = Request("GET", f"{self.settings.base_url}/trackers", params=params, basic=self._basic())
            yield Page((client.send(request).body,))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """POST /trackers; the same number within three months answers with the tracker that exists."""
        assert isinstance(query, Parcels)
        return [self._register(client, parcel) for parcel in query.parcels]

    def resend(self, client: Client, query: Missed) -> Iterator[Page]:
        """GET /events, newest first, and of each about a tracker GET /events/{id}/payloads: the body as it was sent (docs.easypost.com/docs/events).

        The list tells what happened and not to what. An event whose payloads are gone costs itself only.
        """
        before, more = query.cursor, True
        while more:
            params = {"page_size": "100", "start_datetime": _utc(query.since), "end_datetime": _utc(query.until)}
            answer = self._get(client, "events", "events", params | ({"before_id": before} if before else {}))
            events = [mapping(event, "$.events[]") for event in listing(answer.get("events"), "$.events")]
            for event in events:
                before = word(event.get("id"), "$.events[].id")
                at = moment(event.get("created_at"), "$.events[].created_at")
                if (at if at.tzinfo else at.replace(tzinfo=UTC)) < query.since:
                    return
                sent = self._sent(client, before) if text(event.get("description")).startswith("tracker.") else b""
                yield Page((sent,) if sent else (), before)
            more = bool(events) and answer.get("has_more") is True

    def _sent(self, client: Client, event: str) -> bytes:
        """Return the body of an event as it was sent first; nothing where it was sent to nobody."""
        payloads: Any = None
        with suppress(NotFound):
            payloads = self._get(client, f"events/{segment(event)}/payloads", "payloads", {}).get("payloads")
        bodies = [one.get("request_body") for one in listing(payloads, "$.payloads") if isinstance(one, dict)]
        return next((body.encode() for body in bodies if isinstance(body, str) and body), b"")

    def _get(self, client: Client, path: str, holds: str, params: dict[str, str]) -> dict[str, Any]:
        request = Request("GET", f"{self.settings.base_url}/{path}", params=params, basic=self._basic())
        return decode(holding(client.send(request).body, holds))

    def ping(self, client: Client) -> None:
        """Ask for one tracker."""
        params = {"page_size": "1"}
        client.send(Request("GET", f"{self.settings.base_url}/trackers", params=params, basic=self._basic()))

    def _register(self, client: Client, parcel: Parcel) -> Registered:
        tracker = {"tracking_code": parcel.number}
        if (word := self.word_for(parcel.carrier)) is not None:
            tracker["carrier"] = word
        request = Request(
            "POST",
            f"{self.settings.base_url}/trackers",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps({"tracker": tracker}),
            basic=self._basic(),
        )
        return Registered(
            parcel.number, their_ref=text(decode(holding(client.send(request).body, "id")).get("id")) or None
        )

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


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _reading(code: Code) -> Meaning | None:
    return _meaning(code.code)


def _tracker(tracker: dict[str, Any], unread: list[Unread], source: EasyPost) -> Report:
    get = tracker.get
    mine = number(get("tracking_code"), "$.tracking_code")
    leg = Leg.CUSTOMER_RETURN if get("is_return") is True else None
    details: Any = get("tracking_details")
    scans: Sequence[Scan] = pieces(details, "$.tracking_details", _detail, unread, leg)
    as_of = optional(moment, get("updated_at"), "$.updated_at", unread)
    if as_of is not None and as_of.tzinfo is None:
        as_of = as_of.replace(tzinfo=UTC)
    whole = not unread  # a history that lacks a scan, or whose age is not known, withdraws none
    named = text(get("carrier")) or term(get("carrier"), "$.carrier", unread)
    carrier = source.carrier_of(named) or named.lower() or "unknown"
    status = text(get("status")) or term(get("status"), "$.status", unread)
    detail = text(get("status_detail"))
    state = STATES.get(detail) if detail == "expired" else STATES.get(status)
    if state is TrackingState.NOT_FOUND and scans:
        state = None
    if status and not (scans and _status(details[-1]) == status):  # newest last, as a rule
        scans = with_head(scans, Scan(Code("tracker", f"{status}/{detail}" if detail else status), leg=leg), _reading)
    edd = None
    date = get("est_delivery_date")
    if date is not None and (day := optional(moment, date, "$.est_delivery_date", unread)) is not None:
        edd = estimate(day)  # a date dressed as midnight Z: the whole day; trackers of the test mode have a moment
    if unread:
        about(mine, unread)
    return Report(
        carrier,
        mine,
        scans=tuple(scans),
        tracking=state or TrackingState.ACTIVE,
        said=detail if state is TrackingState.ERROR else "",
        complete=whole,
        as_of=as_of,
        edd=edd,
        proof=Proof(signed=True) if get("signed_by") else None,
    )


def _status(detail: Any) -> Any:
    return detail.get("status") if isinstance(detail, dict) else None


def _detail(detail: dict[str, Any], unread: list[Unread], leg: Leg | None) -> Scan:
    get = detail.get
    # a scan without a status is kept, as UNKNOWN
    status = text(get("status")) or term(get("status"), "$.status", unread) or "missing"
    fine = text(get("status_detail"))
    if not fine:
        term(get("status_detail"), "$.status_detail", unread)
    code = Code("tracker", f"{status}/{fine}" if fine else status, text(get("message")))
    place = NOWHERE
    if isinstance(location := get("tracking_location"), dict):
        at = location.get
        place = Place(text(at("city")), text(at("state")), text(at("zip")), text(at("country")))
    elif location is not None:
        section(location, "$.tracking_location", unread)
    local, instant, zone, _ = printed(get("datetime"), "$.datetime", unread)
    if local is not None and (instant is None or not instant.utcoffset()):
        instant, zone = _combine(local, local.time(), UTC), _ASSUMED
    return Scan(code, local, instant, zone, place=place, leg=leg)

"""17TRACK Tracking API v2.2, an aggregator: register first, then signed pushes and polls of up to 40 numbers a call.

Contract: asset.17track.net/api/document/v2.2_en and help.17track.net (error codes, webhooks), as a public research note of 2026
tells them, and independent public programs; read 2026-11. Codes: `seventeen_track.csv`. A unit of the quota is spent for each number
that is registered, once: so it is looked for first. `email` and `lang` are never sent: the one mails the customer, the other costs
a second unit. Unverified: that `gettrackinfo` answers without a carrier (the note denies it, several programs do it); where it does not,
registering again is answered with "already registered", which costs nothing either.

A record is a number with a carrier of theirs: `their_ref`. Several carriers may tell of one (first and last mile): their events are one
history, the space of each code is the number of the one that told it. Milestones are no events. `sub_status` speaks before `stage` and
`status`. Where `time_raw` has no zone, the offset of `time_iso` was found by 17TRACK and counts as derived from the place; where there is
`time_raw` only, the time stays without one, and the core marks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient
from tracker.domain.facts import (
    Code,
    Edd,
    Link,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Query,
    Quota,
    Refs,
    Registered,
    Report,
    Scan,
    Unread,
)
from tracker.domain.vocabulary import Precision, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_by_status
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Secrets
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
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
from tracker.plugin.signatures import hash_hex

Ours = Callable[[str], str | None]  # our name for a carrier's number

STATES = {
    "NotFound": TrackingState.NOT_FOUND,
    "NotFound_Other": TrackingState.NOT_FOUND,
    "NotFound_InvalidCode": TrackingState.INVALID_NUMBER,
    "Expired": TrackingState.EXPIRED,
    "Expired_Other": TrackingState.EXPIRED,
}
ALREADY, NOT_REGISTERED, NOT_STOPPED, NOT_TRACKED, NOTHING_YET = -18019901, -18019902, -18019904, -18019906, -18019909
_REJECTED = {  # who is asked about was registered: it was deleted there, so it is tracked again as what they stopped, or told
    NOTHING_YET: TrackingState.NOT_FOUND, NOT_REGISTERED: TrackingState.STOPPED,
}  # fmt: skip
_SPENT = frozenset({-18019907, -18019908})  # the day's limit, the quota
_KEY = frozenset({-18010001, -18010002, -18010004, -18010005})  # whitelist, key, account, rights
_LATER = frozenset({-18010003, -18019815, -18019816, 500, 503})  # theirs, or their carrier's
_OFFSET = re.compile(r"Z|[+-]\d\d:?\d\d")
_AT_ONCE = 40


class Settings(contracts.Settings):
    """One 17TRACK access key. It signs their webhooks too.

    `webhook_secrets`: keys of before, while webhooks that they signed may still come. `params`: what a carrier wants beside the number, by
    17TRACK's number of the carrier, such as the last digits of the sender's phone.
    """

    base_url: str = "https://api.17track.net/track/v2.2"
    api_key: SecretStr
    webhook_secrets: Secrets = ()
    params: Mapping[str, str] = {}


class SeventeenTrack(contracts.Carrier):
    """Parcels of many carriers, told by 17TRACK."""

    docs = "https://asset.17track.net/api/document/v2.2_en/index.html"
    unverified = ("that gettrackinfo answers without a carrier",)
    asks = frozenset({Parcels})
    webhooks = True
    registers = True
    registers_first = True
    limits = Limits(3, timedelta(seconds=1), side_by_side=1)
    stops = True
    register_batch = _AT_ONCE
    register_calls = 2  # the look, and the registration
    batch = _AT_ONCE
    response_keys = ("accepted", "rejected")
    codes = read_codes(__file__)
    vocabulary = ("seventeen_track",)  # their numbers for carriers
    Settings = Settings

    def verify(self, payload: Payload) -> int:
        """Check `sign`: the hexadecimal SHA-256 of body, a slash and the access key. No time is signed, and none is checked."""
        keys = (self.settings.api_key, *self.settings.webhook_secrets)
        return hash_hex(keys, payload.body, payload.headers.get("sign"), name="sign", joined=b"/")

    def webhooks_need(self) -> str:
        """Nothing: the access key verifies them."""
        return ""

    def dedupe_key(self, payload: Payload) -> str:
        """Use the hash of the body; with the day where it says that they stopped: that says the same each time, and they retry for an hour."""
        key = super().dedupe_key(payload)
        return f"{key}-{payload.received_at:%Y-%m-%d}" if b"TRACKING_STOPPED" in payload.body[:200] else key

    def meaning(self, code: Code) -> Meaning | None:
        """Read a `sub_status`, a stage or a status; a new sub status means what the status it begins with does."""
        return _meaning(code.code)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an event, or an answer of gettrackinfo."""
        body = decode(payload.body)
        unread: list[Unread] = []
        if "event" in body:
            event = word(body["event"], "$.event")
            if event not in ("TRACKING_UPDATED", "TRACKING_STOPPED"):
                return ()
            read = _tracked if event == "TRACKING_UPDATED" else _stopped
            one = piece(body.get("data"), "$.data", read, unread, self.carrier_of, True, lacks="all")
            return told([one] if one is not None else [], unread)
        data = mapping(body.get("data"), "$.data")
        if data.get("accepted") is None and data.get("rejected") is None:
            raise BadPayload("$.data.accepted", "is missing")
        reports = pieces(data.get("accepted"), "$.data.accepted", _tracked, unread, self.carrier_of, False, lacks="all")
        reports += pieces(data.get("rejected"), "$.data.rejected", _rejected, unread, self.carrier_of, lacks="all")
        return told(reports, unread)

    def raise_for_status(self, response: Response) -> None:
        """By the code of the envelope, else as HTTP says: most errors come with 200, 401 tells of the whitelist too.

        A quota that is used up is no error of the call: `register` tells it.
        """
        not_html(response)
        code, said = _envelope(response.body)
        if code in _KEY:
            raise CredentialsRejected(said)
        if code == 429:
            raise RateLimited(said)
        raise_by_status(response)
        if code in _LATER:
            raise Transient(said)
        if code and code not in _SPENT:
            raise Refused(said)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST /gettrackinfo, 40 numbers a call, each with the carrier under which it is registered."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), _AT_ONCE):
            some = query.parcels[start : start + _AT_ONCE]
            yield Page((client.send(self._request("gettrackinfo", list(map(_record, some)))).body,))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        """Look which numbers are registered (that costs nothing), then POST /register for the others."""
        assert isinstance(query, Parcels)
        there = self._there(client, query.parcels)
        found = [
            Registered(p.number, their_ref=there[p.number.upper()]) for p in query.parcels if p.number.upper() in there
        ]
        left = [p for p in query.parcels if p.number.upper() not in there]
        if not left:
            return found
        data = self._data(client, "register", list(map(self._new, left)))
        if data.get("accepted") is None and data.get("rejected") is None:  # the whole call, as the quota is used up
            return found + [Registered(p.number, spent=True) for p in left]
        return found + _answers(data, left, {ALREADY}, self.word_for)

    def quota(self, client: Client) -> Quota:
        """POST /getquota, which costs nothing."""
        data = self._data(client, "getquota", [], "quota_remain")
        left, of = data.get("quota_remain"), data.get("quota_total")
        if not isinstance(left, int):
            raise Transient("an answer of getquota without quota_remain")
        return Quota(max(0, left), of if isinstance(of, int) else None)

    def stop(self, client: Client, query: Parcels) -> list[Registered]:
        """POST /stoptrack. They stop by themselves 30 days after the last news, and 15 days after an end."""
        data = self._data(client, "stoptrack", list(map(_record, query.parcels)))
        return _answers(data, query.parcels, {NOT_TRACKED, NOT_REGISTERED})

    def track_again(self, client: Client, query: Parcels) -> list[Registered]:
        """POST /retrack, which they do once in the life of a number."""
        data = self._data(client, "retrack", list(map(_record, query.parcels)))
        return _answers(data, query.parcels, {NOT_STOPPED})

    def ping(self, client: Client) -> None:
        """Ask for the quota."""
        self.quota(client)

    def _there(self, client: Client, parcels: Sequence[Parcel]) -> dict[str, str | None]:
        """Return the numbers that are registered, in upper case, each with their carrier of it where that is told."""
        data = self._data(client, "gettrackinfo", [{"number": parcel.number} for parcel in parcels])
        found: dict[str, str | None] = {}
        for item in _dicts(data.get("accepted")):
            found.setdefault(_upper(item), _theirs(item))
        for item in _dicts(data.get("rejected")):
            if _refusal(item)[0] == NOTHING_YET:
                found.setdefault(_upper(item), _theirs(item))
        return found

    def _new(self, parcel: Parcel) -> dict[str, Any]:
        item: dict[str, Any] = {"number": parcel.number}
        if (carrier := self.word_for(parcel.carrier)) is not None:
            item["carrier"] = int(carrier)
            if (param := self.settings.params.get(carrier)) is not None:
                item["param"] = param
        return item

    def _data(self, client: Client, path: str, items: list[dict[str, Any]], *keys: str) -> dict[str, Any]:
        """Call, and return the `data` of the answer, which holds one of the keys or the errors of the whole call."""
        response = client.send(self._request(path, items))
        body = holding(response.body, *(keys or ("accepted", "rejected")), "errors")
        return mapping(decode(body).get("data"), "$.data")

    def _request(self, path: str, items: list[dict[str, Any]]) -> Request:
        return Request(
            "POST",
            f"{self.settings.base_url}/{path}",
            headers={"17token": self.settings.api_key.get_secret_value(), "Content-Type": "application/json"},
            content=orjson.dumps(items),
        )


@lru_cache(maxsize=1000)
def _meaning(code: str) -> Meaning | None:
    codes = SeventeenTrack.codes
    return codes.get(("stage", code)) or codes.get(("stage", code.partition("_")[0]))


def _reading(code: Code) -> Meaning | None:
    return _meaning(code.code)


# what they answer to what is asked of them


def _record(parcel: Parcel) -> dict[str, Any]:
    theirs = parcel.their_ref or ""
    return {"number": parcel.number, "carrier": int(theirs)} if theirs.isdecimal() else {"number": parcel.number}


def _envelope(body: bytes) -> tuple[int, str]:
    """Return the code of the whole call, 0 where it tells none, and what it says."""
    try:
        answer = decode(body) if body.lstrip()[:1] == b"{" else {}
    except BadPayload:
        return 0, ""
    code, data = answer.get("code"), answer.get("data")
    if not isinstance(code, int) or isinstance(code, bool):
        return 0, ""
    errors = _dicts(data.get("errors")) if isinstance(data, dict) else []
    said = next((text(error.get("message")) for error in errors), "")
    return code, f"{code}: {said or 'no reason given'}"


def _answers(
    data: dict[str, Any],
    parcels: Sequence[Parcel],
    fine: Collection[int],
    word_for: Callable[[str | None], str | None] = lambda _: None,
) -> list[Registered]:
    """Read what became of each number; one that may be taken later is left out. `word_for`: the carrier that was named with it."""
    mine = {parcel.number.upper(): parcel for parcel in parcels}
    found: list[Registered] = []
    for item in _dicts(data.get("accepted")):
        if (parcel := mine.get(_upper(item))) is not None:
            found.append(Registered(parcel.number, their_ref=_theirs(item)))
    for item in _dicts(data.get("rejected")):
        parcel, (code, said) = mine.get(_upper(item)), _refusal(item)
        if parcel is None or code in _LATER:
            continue
        if code in fine:
            found.append(Registered(parcel.number, their_ref=parcel.their_ref or word_for(parcel.carrier)))
        elif code in _SPENT:
            found.append(Registered(parcel.number, spent=True))
        else:
            found.append(Registered(parcel.number, refused=said))
    return found


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _upper(item: dict[str, Any]) -> str:
    return text(item.get("number")).upper()


def _theirs(item: dict[str, Any]) -> str | None:
    carrier = item.get("carrier")
    return str(carrier) if isinstance(carrier, int) and not isinstance(carrier, bool) and carrier > 0 else None


def _refusal(item: dict[str, Any]) -> tuple[int, str]:
    error = item.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(code, int):
        return 0, "rejected without a reason"
    return code, f"{code}: {text(error.get('message')) or 'no reason given'}"


# what they tell of parcels


def _ours(value: Any, where: str, unread: list[Unread], of: Ours) -> str:
    """Return our name for their carrier: `unknown` where we have none, or they told none (0)."""
    return of(optional(word, value, where, unread) or "") or "unknown"


def _stopped(data: dict[str, Any], unread: list[Unread], of: Ours, _pushed: bool) -> Report:
    mine = number(data.get("number"), "$.number")
    carrier = _ours(data.get("carrier"), "$.carrier", unread, of)
    if unread:
        about(mine, unread)
    return Report(carrier, mine, tracking=TrackingState.STOPPED)


def _rejected(item: dict[str, Any], unread: list[Unread], of: Ours) -> Report:
    mine = number(item.get("number"), "$.number")
    error = mapping(item.get("error"), "$.error")
    code = error.get("code")
    if not isinstance(code, int) or isinstance(code, bool):
        raise BadPayload("$.error.code", "must be a number")
    state = _REJECTED.get(code, TrackingState.ERROR)
    carrier = _ours(item.get("carrier"), "$.carrier", unread, of)
    if unread:
        about(mine, unread)
    return Report(carrier, mine, tracking=state, said=_refusal(item)[1])


def _tracked(item: dict[str, Any], unread: list[Unread], of: Ours, pushed: bool) -> Report:
    mine = number(item.get("number"), "$.number")
    theirs = optional(word, item.get("carrier"), "$.carrier", unread) or "0"
    carrier = of(theirs) or "unknown"
    if item.get("track_info") is None:  # it was registered just now
        if unread:
            about(mine, unread)
        return Report(carrier, mine, tracking=TrackingState.NOT_FOUND)
    info, at = mapping(item["track_info"], "$.track_info"), "$.track_info"
    tracking = section(info.get("tracking"), f"{at}.tracking", unread)
    providers = pieces(tracking.get("providers"), f"{at}.tracking.providers", _provider, unread, theirs)
    scans: Sequence[Scan] = [scan for provider in providers for scan in provider[0]]
    synced = all(provider[1] for provider in providers)
    latest = section(info.get("latest_status"), f"{at}.latest_status", unread)
    status = term(latest.get("status"), f"{at}.latest_status.status", unread)
    fine = term(latest.get("sub_status"), f"{at}.latest_status.sub_status", unread)
    whole = bool(scans) and synced and not unread  # a history that lacks a scan, or a provider's part, withdraws none
    state = STATES.get(fine) or STATES.get(status)
    if state in (TrackingState.NOT_FOUND, TrackingState.INVALID_NUMBER) and scans:
        state = None
    if fine or status:
        scans = with_head(scans, Scan(Code(theirs, fine or status, text(latest.get("sub_status_descr")))), _reading)
    edd = _estimate(section(info.get("time_metrics"), f"{at}.time_metrics", unread), unread)
    link = _last_mile(mine, section(info.get("misc_info"), f"{at}.misc_info", unread), unread, of)
    as_of = max((provider[2] for provider in providers if provider[2] is not None), default=None) if pushed else None
    if unread:
        about(mine, unread)
    return Report(
        carrier, mine, tuple(scans), tracking=state or TrackingState.ACTIVE, complete=whole, as_of=as_of, edd=edd,
        links=(link,) if link is not None else (),
    )  # fmt: skip


def _provider(provider: dict[str, Any], unread: list[Unread], theirs: str) -> tuple[list[Scan], bool, datetime | None]:
    """Return what one carrier told, whether they reached it at the last try, and when that was."""
    get = provider.get
    key = optional(word, section(get("provider"), "$.provider", unread).get("key"), "$.provider.key", unread)
    scans = pieces(get("events"), "$.events", _event, unread, key or theirs)
    synced = term(get("latest_sync_status"), "$.latest_sync_status", unread) in ("", "Success")
    at = optional(moment, get("latest_sync_time"), "$.latest_sync_time", unread)
    return scans, synced, at if at is not None and at.tzinfo is not None else None


def _event(event: dict[str, Any], unread: list[Unread], provider: str) -> Scan:
    get = event.get
    code = term(get("sub_status"), "$.sub_status", unread) or term(get("stage"), "$.stage", unread) or "none"
    at = section(get("address"), "$.address", unread).get
    city = text(at("city")) or ("" if at("country") else text(get("location")))
    place = Place(city, text(at("state")), text(at("postal_code")), text(at("country")))
    local, instant, zone, precision = _when(event, unread)
    return Scan(Code(provider, code, text(get("description"))), local, instant, zone, precision, place)


def _when(event: dict[str, Any], unread: list[Unread]) -> tuple[datetime | None, datetime | None, Zone, Precision]:
    """Return the time of an event as its carrier printed it; a zone that the carrier did not print is marked, never invented."""
    raw: Any = event.get("time_raw")
    zoned = True
    if isinstance(raw, dict):
        zoned = not absent(raw.get("timezone"))
    elif not absent(raw) and not isinstance(raw, str):
        section(raw, "$.time_raw", unread)
    if not absent(event.get("time_iso")):
        local, instant, zone, precision = printed(event["time_iso"], "$.time_iso", unread)
        if local is not None:
            return local, instant, zone if zoned or instant is None else Zone.BY_PLACE, precision
    if isinstance(raw, str) and raw:
        return printed(raw, "$.time_raw", unread)
    if isinstance(raw, dict) and (day := term(raw.get("date"), "$.time_raw.date", unread)):
        hour = term(raw.get("time"), "$.time_raw.time", unread)
        offset = term(raw.get("timezone"), "$.time_raw.timezone", unread)
        if offset and not _OFFSET.fullmatch(offset):
            unread.append(Unread("$.time_raw.timezone", "is no offset"))
            offset = ""
        return printed(f"{day}T{hour}{offset}" if hour else day, "$.time_raw", unread)
    at = optional(moment, event.get("time_utc"), "$.time_utc", unread)
    if at is None:
        return None, None, Zone.UNKNOWN, Precision.SECOND
    return None, at if at.tzinfo is not None else at.replace(tzinfo=UTC), Zone.UTC, Precision.SECOND


def _estimate(metrics: dict[str, Any], unread: list[Unread]) -> Edd | None:
    where = "$.track_info.time_metrics.estimated_delivery_date"
    told_ = section(metrics.get("estimated_delivery_date"), where, unread)
    begins = optional(moment, told_.get("from"), f"{where}.from", unread)
    ends = optional(moment, told_.get("to"), f"{where}.to", unread)
    first, last = begins or ends, ends or begins
    return estimate(first, last) if first is not None else None


def _last_mile(mine: str, misc: dict[str, Any], unread: list[Unread], of: Ours) -> Link | None:
    """Return the number under which the last carrier has the parcel, where it is another."""
    where = "$.track_info.misc_info"
    other = optional(number, misc.get("local_number"), f"{where}.local_number", unread)
    if other is None or other == mine:
        return None
    ours = _ours(misc.get("local_key"), f"{where}.local_key", unread, of)
    return Link(other, ours if ours != "unknown" else None, "last_mile")

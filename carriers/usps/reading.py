"""Read what USPS tells of a number: its events, their times, and when it is expected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from carriers.usps.answers import FRAUD, NOT_YET, OF_A_NUMBER, codes, said
from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Edd, Meaning, Place, Proof, Report, Scan, Unread
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Precision, TrackingState, Zone
from tracker.plugin.countries import named
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    estimate,
    moment,
    number,
    optional,
    pieces,
    section,
    term,
    text,
    word,
)

Means = Callable[[Code], Meaning | None]

MOST_EVENTS = 99  # of an answer (tracking.yaml): one of so many may lack the oldest
QUARTER = timedelta(minutes=15)  # by which zones differ
BY_CATEGORY = frozenset({"17", "43"})
_HERE = frozenset({"", "US", "USA", "UNITED STATES", "UNITED STATES OF AMERICA"})
_PIECES = ("uniqueMailPieceId", "uniqueTrackingID", "uniqueTrackingId")  # of v3, of v3r2, of v3 before: one value
_EXPECTED = (
    "expectedDeliveryTimeStamp",
    "expectedDeliveryDate",
    "guaranteedDeliveryTimeStamp",
    "guaranteedDeliveryDate",
)
_WASHINGTON = ZoneInfo("America/New_York")
_NEVER = datetime(1, 1, 1)
_UTC, _OFFSET, _SECOND = Zone.UTC, Zone.OFFSET, Precision.SECOND  # 0.08 us a look-up
_iso, _combine = datetime.fromisoformat, datetime.combine


def inside(payload: str) -> dict[str, Any]:
    """Read the payload of a callback: JSON in a text."""
    try:
        return decode(payload.encode("utf-8", "replace"))
    except BadPayload as error:
        raise BadPayload(f"$.payload{error.where[1:]}", error.problem) from None


def parcel(body: dict[str, Any], unread: list[Unread], meaning: Means, complete: bool = False) -> Report:
    """Read what is told of one number: its history, one event of it, or that there is none."""
    get = body.get
    mine = number(get("trackingNumber"), "$.trackingNumber")
    if (get("error") or get("errors")) and (failed := codes(body)):
        return _without_history(mine, failed, body)
    events: Any = get("trackingEvents")
    if events.__class__ is dict and "eventCode" in events:  # one event instead of a list of one
        events = [events]
    category = term(get("statusCategory"), "$.statusCategory", unread)
    alone = absent(events) and not absent(get("eventCode"))
    scans = [_event(body, unread)] if alone else pieces(events, "$.trackingEvents", _event, unread)
    if not scans and not category and absent(events):
        raise BadPayload("$.trackingEvents", "is missing")
    # a history that lacks a scan, or the time of one, withdraws none
    whole = complete and not alone and not unread and 0 < len(scans) < MOST_EVENTS
    named: list[Any] = events if isinstance(events, list) else [body]
    signed = any(isinstance(one, dict) and (text(one.get("name")) or text(one.get("recipientName"))) for one in named)
    if category and (head := _head(scans, category, text(get("status")), meaning)) is not None:
        scans = [*scans, head]
    piece = next((found for name in _PIECES if (found := optional(word, get(name), f"$.{name}", unread))), None)
    edd = _estimate(body, unread)
    if unread:
        about(mine, unread)
    proof = Proof(signed=True) if signed else None
    return Report("usps", mine, tuple(scans), complete=whole, edd=edd, proof=proof, piece=piece)


def _head(scans: list[Scan], category: str, status: str, meaning: Means) -> Scan | None:
    """Make a scan of the category, at the time of the newest event that says anything; None where that is known by its code.

    Events come newest first, and nobody promises it: the time counts. Of several at one time the first is the newest.
    """
    newest = max(scans, key=_clock_of, default=None)
    if newest is not None and not _is_known(newest, meaning):
        telling = [one for one in scans if one.code.code in BY_CATEGORY or _tells(meaning(one.code))]
        newest = max(telling or scans, key=_clock_of)
    if newest is not None and _is_known(newest, meaning):
        return None
    if category.isupper() or category.islower():
        category = category.title().replace(" For ", " for ")  # as the list of categories spells it
    code = Code("category", " ".join(category.split())[:100], status)
    if newest is None:
        return Scan(code)
    return Scan(code, newest.local, newest.occurred_at, newest.zone, newest.precision, newest.place)


def _is_known(scan: Scan, meaning: Means) -> bool:
    says = meaning(scan.code)
    return says is not None and says.status is not None and scan.code.code not in BY_CATEGORY


def _tells(says: Meaning | None) -> bool:
    return says is None or says.status is not None


def _clock_of(scan: Scan) -> datetime:
    return scan.local or (scan.occurred_at.replace(tzinfo=None) if scan.occurred_at else _NEVER)


def _without_history(mine: str, found: frozenset[str], body: dict[str, Any]) -> Report:
    words = said(orjson.dumps(body, default=str), ", ".join(sorted(found)))
    if found & NOT_YET or "404" in found:
        return Report("usps", mine, tracking=TrackingState.NOT_FOUND, said=words)
    state = next((OF_A_NUMBER[code] for code in sorted(found) if code in OF_A_NUMBER), TrackingState.ERROR)
    scans = (Scan(Code("error", FRAUD, words)),) if FRAUD in found else ()
    return Report("usps", mine, scans, tracking=state, said=words)


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    code, kind = get("eventCode"), get("eventType")
    if code.__class__ is str and kind.__class__ is str:
        said = _code(code, kind)
    else:
        if code.__class__ is int:  # a number has lost its leading zero: all codes of digits have two
            code = f"{code:02}"
        said = _code(term(code, "$.eventCode", unread), text(kind))
    where = get("eventCity"), get("eventState"), get("eventZIP") or get("eventZIPCode"), get("eventCountry")
    try:
        place = _place(*where)
    except TypeError:  # an object, a list
        place = _place(*map(text, where))
    local, instant, zone, fine = _times(event, unread)
    return Scan(said, local, instant, zone, fine, place)


@lru_cache(maxsize=2_000)  # events of all parcels say the same few hundred things
def _code(code: str, kind: str) -> Code:
    return Code("event", text(code)[:20].upper() or "missing", text(kind))


@lru_cache(maxsize=2_000, typed=True)
def _place(city: Any, state: Any, postal: Any, country: Any) -> Place:
    """Read a place. USPS names a country where it is another one; a name that nobody knows is told where a person reads it."""
    city, state, postal, country = text(city), text(state), text(postal), text(country).upper()
    if country in _HERE:
        country = "US" if city or state or postal else ""
    elif len(country) != 2:
        state, country = (state, known) if (known := named(country)) else (state or country, "")
    return Place(city, state, postal, country) if city or state or postal or country else NOWHERE


Told = tuple[datetime | None, datetime | None, Zone, Precision]


def _times(event: dict[str, Any], unread: list[Unread]) -> Told:
    """Return the local time, the instant, how it is known, and how fine.

    A time without a date is none: USPS has printed such (api-examples, issue 15). v3r2 may print a day.
    """
    get = event.get
    stamp: Any = get("eventTimestamp")
    utc: Any = get("GMTTimestamp")
    try:
        here = _iso(stamp)
        if len(stamp) > 10 and 1 < here.year < 9999:
            here = _combine(here, here.time())
            if not utc:
                at = here - _shift(get("GMTOffset"))
                return here, _combine(at, at.time(), UTC), _OFFSET, _SECOND
            at = _iso(utc)
            if at.tzinfo is not None and 1 < at.year < 9999:
                return here, at, _UTC, _SECOND
    except (TypeError, ValueError, BadPayload):
        pass  # slowly, with what is wrong
    printed = optional(moment, stamp, "$.eventTimestamp", unread)
    gmt = optional(moment, utc, "$.GMTTimestamp", unread)
    offset = optional(_offset, get("GMTOffset"), "$.GMTOffset", unread)
    local = _combine(printed, printed.time()) if printed is not None else None
    fine = Precision.DATE if printed is not None and len(str(stamp).strip()) == 10 else _SECOND
    if gmt is not None:
        instant = gmt if gmt.tzinfo is not None else gmt.replace(tzinfo=UTC)
        if local is None or fine is Precision.DATE:
            local = (instant + offset).replace(tzinfo=None) if offset is not None else None
        return local, instant, _UTC, _SECOND
    if fine is _SECOND and local is not None and offset is not None:
        return local, (local - offset).replace(tzinfo=UTC), Zone.OFFSET, fine
    if printed is not None and printed.utcoffset():  # an offset of its own; Z is none
        return local, printed, Zone.OFFSET, fine
    return local, None, Zone.UNKNOWN, fine


def _offset(value: Any, where: str) -> timedelta:
    """Read how far local time is from GMT: minutes (-420, tracking.yaml), or hours and minutes ("-7:00", older documents)."""
    printed = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    sign = -1 if printed.startswith("-") else 1
    hours, colon, minutes = printed.lstrip("+-").partition(":")
    if hours.isascii() and hours.isdigit() and (not colon or (minutes.isascii() and minutes.isdigit())):
        if len(hours) <= 4 and len(minutes) <= 2:
            found = timedelta(hours=int(hours), minutes=int(minutes)) if colon else timedelta(minutes=int(hours))
            if found <= timedelta(hours=14) and not found % QUARTER:  # "-5" may be five hours: no zone is that near
                return sign * found
    raise BadPayload(where, f"is no offset from GMT: {str(value)[:40]!r}")


_shift = lru_cache(maxsize=200, typed=True)(lambda value: _offset(value, "$"))  # a few dozen are in use


def _estimate(body: dict[str, Any], unread: list[Unread]) -> Edd | None:
    """Read when it is expected, in the time of its destination, or that of Washington where it has several: a window, a moment, a day."""
    get = body.get
    inside = get("deliveryDateExpectation")  # of v3r2
    told_in = section(inside, "$.deliveryDateExpectation", unread).get if inside is not None else get
    at = "$.deliveryDateExpectation" if inside is not None else "$"
    country = text(get("destinationCountryCode")) or text(get("destinationCountry")) or "US"
    zone = zone_of(Place(region=text(get("destinationState")), country=country)) or (
        _WASHINGTON if country == "US" else UTC
    )
    if (day := optional(moment, told_in("predictedDeliveryDate"), f"{at}.predictedDeliveryDate", unread)) is not None:
        begins, ends = (
            optional(_clock, told_in(name), f"{at}.{name}", unread)
            for name in ("predictedDeliveryWindowStartTime", "predictedDeliveryWindowEndTime")
        )
        day = datetime.combine(day, time(), zone)
        if begins is not None and ends is not None and begins < ends:
            return Edd(datetime.combine(day, begins, zone), datetime.combine(day, ends, zone))
        if ends is not None:
            return Edd(day, datetime.combine(day, ends, zone))
        return estimate(day)
    for name in _EXPECTED:
        value = told_in(name)
        if name == "guaranteedDeliveryDate" and not text(value)[:4].isdigit():
            continue  # "3 Business Days" (v3r2, GuaranteedDeliveryText)
        if (when := optional(moment, value, f"{at}.{name}", unread)) is not None:
            return estimate(when.replace(tzinfo=zone))  # local, whatever Z it ends with
    return None


def _clock(value: Any, where: str) -> time:
    """Read a time of the day: 13:30, 13:30:00, 1:30 pm, 1:30PM."""
    printed = text(value).upper().replace(".", "")
    for form in ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M%p", "%I %p", "%I%p"):
        try:
            return datetime.strptime(printed, form).time()  # noqa: DTZ007
        except ValueError:
            continue
    raise BadPayload(where, f"is no time of the day: {str(value)[:40]!r}")

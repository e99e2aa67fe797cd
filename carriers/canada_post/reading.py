"""Read what Canada Post tells of a number, by the names of either API: XML's, and their copies in camel case."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Edd, Link, Place, Proof, Report, Scan, Unread
from tracker.domain.timeline import zone_of
from tracker.domain.vocabulary import Precision, TrackingState, Zone
from tracker.plugin.answers import begins_as_xml
from tracker.plugin.canada import MOSTLY, PROVINCES
from tracker.plugin.countries import named
from tracker.plugin.payloads import (
    about,
    absent,
    document,
    estimate,
    mapping,
    moment,
    number,
    optional,
    pieces,
    term,
    text,
)
from tracker.plugin.xml import decode_xml, many

NO_HISTORY = "004"  # No PIN History
TORONTO = ZoneInfo("America/Toronto")
OFFSETS = {  # standard and daylight time of Canada's zones
    name: timezone(timedelta(hours=hours))
    for name, hours in {
        "NST": -3.5, "NDT": -2.5, "AST": -4, "ADT": -3, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
        "PST": -8, "PDT": -7, "UTC": 0, "GMT": 0,
    }.items()
}  # fmt: skip
BY_POSTCODE = {  # the first letter of a postal code (Canada Post, addressing guidelines); X is of two territories
    letter: province
    for province, letters in {
        "NL": "A", "NS": "B", "PE": "C", "NB": "E", "QC": "GHJ", "ON": "KLMNP", "MB": "R", "SK": "S", "AB": "T", "BC": "V", "YT": "Y",
    }.items()
    for letter in letters
}  # fmt: skip


class Names(NamedTuple):
    """What an API calls what it tells: of a parcel, and of an event in the order of `_EVENT`."""

    events: str
    newest: str
    at: str
    kind: str
    place: str
    who: str
    signed: str
    archived: str
    back: str
    changed: str
    expected: str
    province: str
    postal: str
    event: tuple[str, ...]
    pick: Callable[[dict[str, Any]], tuple[Any, ...]]


_EVENT = (
    "event-identifier", "event-description", "event-date", "event-time", "event-time-zone", "event-site", "event-province",
)  # fmt: skip


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return "".join((first, *map(str.title, rest)))


def _names(spelt: Callable[[str], str]) -> Names:
    event = tuple(map(spelt, _EVENT))
    return Names(
        events=spelt("significant-events"), newest=spelt("event-description"), at=spelt("event-date-time"), kind=spelt("event-type"),
        place=spelt("event-location"), who=spelt("signatory-name"), signed=spelt("signature-image-exists"),
        archived=spelt("archive-exists"), back=spelt("return-pin"), changed=spelt("changed-expected-date"),
        expected=spelt("expected-delivery-date"), province=spelt("destination-province"), postal=spelt("destination-postal-id"),
        event=event, pick=itemgetter(*event),
    )  # fmt: skip


_XML, _JSON = _names(str), _names(_camel)


def error_of(body: bytes) -> tuple[str, str]:
    """Return code and words of an error body: `messages` of either API, `error` or `errors` of the portal, a gateway's own."""
    try:
        found = read(body)[0]
    except BadPayload:
        return "", ""
    for one in found if isinstance(found, list) else [found]:
        if isinstance(one, dict) and (told_of := _said(one)) != ("", ""):
            return told_of
    return "", ""


def _said(body: dict[str, Any]) -> tuple[str, str]:
    for error in (body.get("error"), body.get("messages"), body.get("errors"), body if "httpCode" in body else None):
        first = error[0] if isinstance(error, list) and error else error
        if isinstance(first, dict):
            get = first.get
            code = next(
                (str(found) for name in _CODES if isinstance(found := get(name), str | int) and found != ""), ""
            )
            return code.strip(), ": ".join(dict.fromkeys(filter(None, (text(get(name)) for name in _WORDS))))[:200]
        if text(first):
            return "", ": ".join(filter(None, (text(first), text(body.get("error_description")))))[:200]
    return "", ""


_CODES = ("code", "errorCode")
_WORDS = ("description", "descEn", "message", "httpMessage", "moreInformation")


def read(body: bytes) -> tuple[Any, str, Names]:
    """Return what an answer of either API holds, and where: a parcel, summaries of several, or messages."""
    if not begins_as_xml(body):
        return document(body), "$", _JSON
    tree = decode_xml(body, rows="occurrence")
    root = next(iter(tree))
    found: Any = tree[root]
    if root == "tracking-detail":
        return found, "$.tracking-detail", _XML
    if root == "tracking-summary":
        return many(mapping(found, "$.tracking-summary").get("pin-summary")), "$.tracking-summary.pin-summary", _XML
    if root == "messages":
        return {"messages": many(found.get("message")) if isinstance(found, dict) else []}, "$", _XML
    raise BadPayload("$", f"holds {root[:40]}, which is no answer about a number")


def report_of(body: dict[str, Any], unread: list[Unread], names: Names, asked: str) -> Report:
    """Read what is told of one number: all its events, the newest in a summary, or what is said instead."""
    get = body.get
    printed, listed = get("pin"), get(names.events)
    mine = number(asked if asked else printed, "$.pin")
    code, words = _said(body)
    if code or (words and listed is None):
        state = TrackingState.NOT_FOUND if code == NO_HISTORY else TrackingState.ERROR
        return Report("canadapost", mine, tracking=state, said=": ".join(filter(None, (code, words))))
    where = f"$.{names.events}"
    if isinstance(listed, dict):  # the XML's, and a copy of it
        listed, where = many(listed.get("occurrence")), f"{where}.occurrence"
    if listed is None:
        if absent(get(names.newest)):
            raise BadPayload(where, "is missing")
        scans = [_summary(body, names, unread)]
    else:
        scans = pieces([] if listed == "" else listed, where, _event, unread, names)
    whole = isinstance(listed, list) and bool(scans) and not unread and str(get(names.archived)).lower() != "true"
    named = [one.get(names.who) for one in ((scans and listed) or [body]) if one.__class__ is dict]
    signed = any(map(text, filter(None, named))) or str(get(names.signed)).lower() in ("true", "1")
    links = (
        [Link(back, "canadapost", "return")]
        if (back := optional(number, get(names.back), f"$.{names.back}", unread))
        else []
    )
    if asked and (other := optional(number, printed, "$.pin", unread)) not in (None, mine):
        links.append(Link(str(other), "canadapost", "main"))
    edd = _estimate(get, names, unread)
    if unread:
        about(mine, unread)
    proof = Proof(signed=True) if signed else None
    return Report("canadapost", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=tuple(links))


_iso, _combine = datetime.fromisoformat, datetime.combine
_SECOND, _OFFSET, _UNKNOWN, _ASSUMED = Precision.SECOND, Zone.OFFSET, Zone.UNKNOWN, Zone.ASSUMED


def _event(event: dict[str, Any], unread: list[Unread], names: Names) -> Scan:
    try:
        identifier, said, date, at, zone, site, province = names.pick(event)
        code = _code(identifier, said)
        place, offset = _where(zone, site, province)
        if len(at) == 8 and len(date) == 10:
            local = _iso(f"{date}T{at}")
            if 1 < local.year < 9999:
                if offset is None:
                    return Scan(code, local, None, _UNKNOWN, _SECOND, place)
                known = _ASSUMED if offset.__class__ is ZoneInfo else _OFFSET
                return Scan(code, local, _combine(local, local.time(), offset), known, _SECOND, place)
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    return _slowly(event, unread, names)


def _slowly(event: dict[str, Any], unread: list[Unread], names: Names) -> Scan:
    """Read an event that lacks something, or holds something else than it should: a day without a time is a day."""
    identifier, said, date, at, zone, site, province = map(event.get, names.event)
    if identifier.__class__ is int:  # a number has lost its leading zeros
        identifier = str(identifier)
    code = _code(term(identifier, f"$.{names.event[0]}", unread), text(said))
    zone, province = term(zone, f"$.{names.event[4]}", unread), term(province, f"$.{names.event[6]}", unread)
    place, offset = _where(zone, text(site), province)
    stamp = event.get("eventDateTime") if absent(date) else None
    if stamp is not None:
        local, fine = _stamp(stamp, "$.eventDateTime", unread), _SECOND
    else:
        local, fine = _printed(date, at, names, unread)
    if local is None or fine is Precision.DATE or offset is None:
        return Scan(code, local, None, _UNKNOWN, fine, place)
    known = _ASSUMED if isinstance(offset, ZoneInfo) else _OFFSET
    return Scan(code, local, _combine(local, local.time(), offset), known, fine, place)


@lru_cache(maxsize=2_000)  # events of all parcels say the same few hundred things
def _code(identifier: str | None, said: str | None) -> Code:
    """Return the code of an event: its identifier in four digits."""
    printed = (identifier or "").strip()
    return Code("event", printed.zfill(4)[:20] if printed else "missing", text(said))


@lru_cache(maxsize=2_000)
def _where(zone: str | None, site: str | None, province: str | None) -> tuple[Place, tzinfo | None]:
    """Read where an event was, and its time: the offset that is printed, else the zone that most of its province has.

    A country may stand where the zone would: the core knows the time of those that have one.
    """
    city, region = text(site), (province or "").strip().upper()[:100]
    country = "CA" if region in PROVINCES else named(zone or "") or named(region)
    before, _, last = city.rpartition(",")
    if before and region not in PROVINCES and (there := named(last)):  # `ILTLVA,Israel`
        city, country = before.strip(), there
    place = Place(city, region, "", country) if city or region else NOWHERE
    return place, OFFSETS.get((zone or "").strip().upper()) or MOSTLY.get(region)


def _printed(date: Any, at: Any, names: Names, unread: list[Unread]) -> tuple[datetime | None, Precision]:
    """Read a date and a time of other forms: without separators or seconds, without the time, or with something that is none."""
    day = optional(moment, date, f"$.{names.event[2]}", unread)
    if day is None:
        return None, _SECOND
    day = day.replace(tzinfo=None)
    if absent(at):
        return day, Precision.DATE if len(str(date).strip()) <= 10 else _SECOND
    try:
        printed = _iso(f"{day:%Y-%m-%d}T{str(at).strip()}")
        if printed.tzinfo is None and isinstance(at, str):
            return printed, Precision.MINUTE if len(at.strip()) == 5 else _SECOND
    except ValueError:
        pass
    unread.append(Unread(f"$.{names.event[3]}", f"is no time of the day: {str(at)[:40]!r}"))
    return day, Precision.DATE


def _stamp(value: Any, where: str, unread: list[Unread]) -> datetime | None:
    """Read `yyyymmdd:hhmmss`."""
    printed = value.replace(":", "T", 1) if isinstance(value, str) and len(value) == 15 else value
    at = optional(moment, printed, where, unread)
    return at.replace(tzinfo=None) if at is not None else None


def _summary(body: dict[str, Any], names: Names, unread: list[Unread]) -> Scan:
    """Read the newest event of a summary: it has no identifier, and nobody tells what its types mean."""
    get = body.get
    kind = term(get(names.kind), f"$.{names.kind}", unread)[:100] or "missing"
    local, site = _stamp(get(names.at), f"$.{names.at}", unread), text(get(names.place))
    return Scan(Code("type", kind, text(get(names.newest))), local, place=Place(site) if site else NOWHERE)


def _estimate(get: Callable[[str], Any], names: Names, unread: list[Unread]) -> Edd | None:
    """Read the day on which it is expected, as it was changed last, in the time of its destination."""
    for name in (names.changed, names.expected):
        if not absent(printed := get(name)):
            try:
                return _day(printed, text(get(names.province)), text(get(names.postal)))
            except (BadPayload, TypeError):
                optional(moment, printed, f"$.{name}", unread)  # told, with its place
    return None


@lru_cache(maxsize=500)
def _day(printed: str, province: str, postal: str) -> Edd:
    province = province.upper() or BY_POSTCODE.get(postal[:1].upper(), "")
    zone = MOSTLY.get(province) or zone_of(Place(region=province, country="CA")) or TORONTO
    return estimate(moment(printed, "$").replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone))

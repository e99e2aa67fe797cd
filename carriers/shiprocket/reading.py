"""Read what ShipRocket tells of an AWB: in answers to polls, and in pushes that nobody vouches for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from carriers.shiprocket.statuses import BACK, CODES, NOTHING, Status, found, reason, shown_as, status
from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Edd, Link, Place, Proof, Report, Scan, Unread
from tracker.domain.vocabulary import Precision, ShippingStatus, TrackingState, Zone
from tracker.plugin.contracts import Carrier
from tracker.plugin.payloads import (
    about,
    absent,
    estimate,
    flag,
    mapping,
    number,
    optional,
    pieces,
    section,
    term,
    text,
    told,
    with_head,
    word,
)
from tracker.plugin.times import Told

ZERO = "0000-00-00"  # a date that is not there
_UNKNOWN, _SECOND = Zone.UNKNOWN, Precision.SECOND
_DELIVERED = frozenset(key for key, means in CODES.items() if means.status is ShippingStatus.DELIVERED)
_LOOKED_INTO = frozenset({"21", *(code for _, code in _DELIVERED)})  # codes beside which the courier's words count
# what a courier says of a parcel that its seller has again
_BACK = re.compile(r"\brto\b|\breturn|\bback to\b|\bto (?:the )?(?:seller|shipper|sender|consignor)\b", re.IGNORECASE)
_NEVER: Told = (None, None, _UNKNOWN, _SECOND)
_iso = datetime.fromisoformat


def of_none(body: dict[str, Any], unread: list[Unread]) -> list[Report | Unread]:
    """Say that an answer tells nothing, and not of whom; raises BadPayload where it is another one that cannot be read."""
    data = body["tracking_data"]
    if isinstance(data, dict) and _is_nothing(data):
        said = text(data.get("error")) or "nothing yet"
        return [Unread("$.tracking_data", f"tells of no AWB: {said}", lacks="nothing")]
    return told([], unread)


def _is_nothing(data: dict[str, Any]) -> bool:
    """Say whether nothing is told yet: `track_status` 0 or an error, no scan, no status."""
    nothing = data.get("track_status") in (0, "0") or not absent(data.get("error"))
    return nothing and not data.get("shipment_track_activities") and shown_as(data.get("shipment_status")) in NOTHING


def head_of(data: dict[str, Any], unread: list[Unread]) -> dict[str, Any]:
    """Return the head of an answer: the first of a list, or the object alone."""
    track = data.get("shipment_track")
    if isinstance(track, list):
        track = track[0] if track else None
    return section(track, "$.tracking_data.shipment_track[0]", unread)


def answer(body: dict[str, Any], unread: list[Unread], source: Carrier, asked: str | None) -> Report:
    """Read what a poll tells of one AWB: its history, newest first, and the status at its head."""
    at, first = "$.tracking_data", "$.tracking_data.shipment_track[0]"
    data = mapping(body.get("tracking_data"), at)
    track = head_of(data, unread)
    get, awb = track.get, track.get("awb_code")
    mine = number(asked or awb, f"{first}.awb_code")
    other = optional(number, awb, f"{first}.awb_code", unread) if asked and awb != asked else None
    carrier = _carrier(track, first, unread, source)
    activities = data.get("shipment_track_activities")
    back = _back(data, at, unread) if not absent(data.get("is_return")) else _back(track, first, unread)
    head = status(data.get("shipment_status"), get("current_status"), f"{at}.shipment_status", unread, back)
    if head is None and _is_nothing(data):
        return Report(carrier, mine, tracking=TrackingState.NOT_FOUND, said=text(data.get("error")))
    if head is None and absent(activities):
        raise BadPayload(f"{at}.shipment_track_activities", "is missing")
    scans: Sequence[Scan] = pieces(
        None if absent(activities) else activities, f"{at}.shipment_track_activities", _scan, unread, back
    )
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    if head is not None and not _told_of(head, scans):
        ended = _printed_at(get("delivered_date"), f"{first}.delivered_date", unread)
        says = CODES.get(head[:2])
        when = ended if says is not None and says.status is ShippingStatus.DELIVERED else _NEVER
        scans = with_head(scans, Scan(Code(*head[:3]), *when, leg=head[3]), source.meaning)
    day = _estimated(data.get("etd"), f"{at}.etd", unread, source)
    day = day or _estimated(get("edd"), f"{first}.edd", unread, source)
    links = [Link(other, None, "replaces")] if other is not None and other != mine else []
    for name in ("rto_awb", "return_awb_code"):  # of orders, and of what tells about an AWB
        other_way = optional(number, get(name), f"{first}.{name}", unread)
        if other_way is not None and other_way != mine and all(other_way != link.number for link in links):
            links.append(Link(other_way, None, "return"))
    if unread:
        about(mine, unread)
    proof = Proof(photo=True) if picture(track) else None
    return Report(carrier, mine, tuple(scans), complete=whole, edd=day, links=tuple(links), proof=proof)


def pushed(body: dict[str, Any], unread: list[Unread], source: Carrier) -> list[Report | Unread]:
    """Read a push: scans, and the status at their head. Nobody vouches for it: its proof is left to the poll that it causes."""
    get = body.get
    if absent(get("awb")) and not absent(get("sr_order_id")):
        return [Unread("$.awb", "is empty: its order has no parcel yet", lacks="nothing")]
    mine = number(get("awb"), "$.awb")
    carrier, back = _carrier(body, "$", unread, source), _back(body, "$", unread)
    scans: Sequence[Scan] = pieces(get("scans"), "$.scans", _scan, unread, back)
    head = status(get("shipment_status_id"), get("shipment_status"), "$.shipment_status_id", unread, back)
    if head is None and not scans:
        label = get("current_status")  # without it the number says nothing: which of both lists it is of nobody knows
        theirs = None if absent(label) else get("current_status_id")
        head = status(theirs, label, "$.current_status_id", unread, back, "order")
        if head is None:
            raise BadPayload("$.shipment_status_id", "is missing")
    if head is not None and not _told_of(head, scans):
        when = _printed_at(get("current_timestamp"), "$.current_timestamp", unread)
        scans = with_head(scans, Scan(Code(*head[:3]), *when, leg=head[3]), source.meaning)
    day = _estimated(get("etd"), "$.etd", unread, source)
    if unread:
        about(mine, unread)
    return told([Report(carrier, mine, tuple(scans), edd=day)], unread)


def _carrier(track: dict[str, Any], where: str, unread: list[Unread], source: Carrier) -> str:
    """Return the carrier of a courier's name, else of its number at ShipRocket; `unknown` where neither is told."""
    named = term(track.get("courier_name"), f"{where}.courier_name", unread)
    if named:
        return source.carrier_of(named) or named.lower()
    theirs = optional(word, track.get("courier_company_id"), f"{where}.courier_company_id", unread)
    return (source.carrier_of(theirs) if theirs is not None else None) or "unknown"


def _back(data: dict[str, Any], at: str, unread: list[Unread]) -> bool:
    """Say whether a customer sends it back: then "Delivered" means to the seller."""
    return flag(data.get("is_return"), f"{at}.is_return", unread)


def _scan(scan: dict[str, Any], unread: list[Unread], back: bool) -> Scan:
    """Read a scan. ShipRocket gives some none of its statuses (`NA`): those move nothing; what says none at all is UNKNOWN."""
    get = scan.get
    given, label, said, location = get("sr-status"), get("sr-status-label"), get("activity"), get("location")
    said = said.strip() if said.__class__ is str and len(said) < 500 else text(said)
    if given.__class__ is str and label.__class__ is str:  # without a call more
        told_ = found(given, label, back, "shipment")
    else:
        told_ = status(given, label, "$.sr-status", unread, back)
    if told_ is not None:
        space, code, word_, leg = told_
        if code in _LOOKED_INTO:
            space, code = _looked_into(space, code, said, text(get("status")))
    else:
        none = absent(given) and absent(label)
        space, code = ("courier", text(get("status"))[:100] or "missing") if none else ("shipment", "NA")
        word_, leg = "", BACK if back else None
    place = _place(location) if location.__class__ is str else NOWHERE
    date: Any = get("date")
    try:
        at = _iso(date)
        if len(date) == 19 and date[10] == " " and 1 < at.year < 9999:
            return Scan(Code(space, code, said or word_), at, None, _UNKNOWN, _SECOND, place, None, leg)
    except (TypeError, ValueError):
        pass
    local, instant, zone, precision = _printed_at(date, "$.date", unread)
    return Scan(Code(space, code, said or word_), local, instant, zone, precision, place, leg=leg)


@lru_cache(maxsize=4000)
def _looked_into(space: str, code: str, said: str, theirs: str) -> tuple[str, str]:
    """Return the space and code of a scan by what its courier says of it: why a delivery failed, or that it was none."""
    if code == "21" and space == "shipment" and (why := reason(said)):
        return "ndr", why
    if (space, code) in _DELIVERED and (_BACK.search(said) or _BACK.search(theirs)):
        return "pair", f"{code} RTO"  # the courier says otherwise than ShipRocket: nobody knows
    return space, code


@lru_cache(maxsize=4000)
def _place(location: str) -> Place:
    return NOWHERE if location.strip().upper() in NOTHING else Place(text(location))


def _told_of(head: Status, scans: Sequence[Scan]) -> bool:
    """Say whether a scan at an end of the history is the head, or one has its number beside a word that says otherwise.

    `Delivered` at the head of `7 RTO DELIVERED` is none.
    """
    for scan in (scans[0], scans[-1]) if scans else ():
        if (scan.code.space, scan.code.code) == head[:2]:
            return True
    return any(scan.code.space == "pair" and scan.code.code.startswith(f"{head[1]} ") for scan in scans)


# times


def _printed_at(value: Any, where: str, unread: list[Unread]) -> Told:
    """Return a time as a scan holds it: local, of a zone that nobody printed. `YYYY-MM-DD HH:MM:SS`, in pushes `DD MM YYYY HH:MM:SS` too."""
    found = _read_time(value, where, unread)
    if found is None:
        return _NEVER
    if found.tzinfo is not None:  # not seen yet
        return found.replace(tzinfo=None), found, Zone.OFFSET, _SECOND
    return found, None, _UNKNOWN, Precision.DATE if len(value.strip()) == 10 else _SECOND


def _read_time(value: Any, where: str, unread: list[Unread]) -> datetime | None:
    """Read a time. With spaces the day comes first, as the documents show it; of any other form which is the month is not guessed."""
    try:
        at = _iso(value)
        if len(value) == 19 and value[10] == " " and 1 < at.year < 9999:
            return at
    except (TypeError, ValueError):
        if absent(value) or (value.__class__ is str and (value.startswith(ZERO) or value.upper() in NOTHING)):
            return None
    try:
        if value[2:3] == " " and value[5:6] == " ":
            day, month, year, *clock = value.split()
            if len(year) == 4:
                value = f"{year}-{month}-{day} {clock[0]}" if clock else f"{year}-{month}-{day}"
        at = _iso(value.strip())
        if 1 < at.year < 9999 and value.strip()[4:5] == "-":
            return at
    except (TypeError, ValueError, AttributeError):
        pass
    unread.append(Unread(where, f"is no time of a form that ShipRocket's documents show: {str(value)[:40]!r}"))
    return None


def _estimated(value: Any, where: str, unread: list[Unread], source: Carrier) -> Edd | None:
    """Return when it is expected; at midnight: that day."""
    at = _read_time(value, where, unread)
    return estimate(at if at.tzinfo else at.replace(tzinfo=ZoneInfo(source.default_zone))) if at is not None else None


def picture(track: dict[str, Any]) -> str:
    """Return the address of the proof: it stands in `pod_status` beside `pod: Available`, or in `pod`."""
    for name in ("pod_status", "pod"):
        if (found := text(track.get(name))).startswith(("https://", "http://")):
            return found
    return ""

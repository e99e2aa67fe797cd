"""Answers of getTrackingData: stages of a parcel's life, those that lie ahead too, with dates as a language prints them."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any

from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Payload, Place, Report, Scan, Unread
from tracker.domain.vocabulary import Leg, Precision, TrackingState
from tracker.plugin.asked import whose
from tracker.plugin.payloads import (
    about,
    absent,
    mapping,
    number,
    piece,
    pieces,
    section,
    term,
    text,
    told,
)
from tracker.plugin.payloads import printed as as_iso
from tracker.plugin.xml import decode_xml, many

ANSWER = "$.Envelope.Body.getTrackingDataResponse"
_PLACE = re.compile(r"(.*)\(([A-Z]{2})\)")
_DATE = re.compile(
    r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?:,?\s+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AaPp])\.?[Mm]\.?)?)?", re.ASCII
)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}  # xs:boolean
_RETURN = re.compile(r"\bDPD (?:SHOP )?RETURN\b", re.IGNORECASE)  # DPD BE's names of the services 300 and 332


def read(payload: Payload, month_first: bool, sure: bool) -> list[Report | Unread]:
    """Read an answer: the report of one number. `month_first`: in a date with slashes or dashes; `sure`: the account says so."""
    answer = decode_xml(payload.body, rows="statusInfo")
    result = result_of(answer)
    printed = mapping(answer["Envelope"], "$.Envelope").get("asked")
    mine = None if absent(printed) else number(printed, "$.Envelope.asked")
    where, unread = f"{ANSWER}.trackingresult", list[Unread]()
    info = section(result.get("shipmentInfo"), f"{where}.shipmentInfo", unread)
    leg = Leg.RETURN_TO_SENDER if _is_return(info.get("serviceDescription")) else None
    stages = pieces(many(result.get("statusInfo")), f"{where}.statusInfo", _stage, unread, month_first, sure, leg)
    if info.get("status") and info.get(
        "date"
    ):  # the order data is a stage of its own, of which mostly no date is printed
        stages.append(piece(info, f"{where}.shipmentInfo", _stage, unread, month_first, sure, leg))
    scans = [scan for scan in stages if scan is not None]
    errors = [said for item in many(info.get("errorItems")) if (said := _words(item))]
    state = TrackingState.ACTIVE
    if not stages and not unread:
        state = TrackingState.ERROR if errors else TrackingState.NOT_FOUND
    if mine is None:  # a recorded answer
        mine = whose(payload, unread)
    if unread:
        about(mine, unread)
    said = errors[0] if errors and not scans else ""
    return told([Report("dpd", mine, tuple(scans), tracking=state, said=said)], unread)


def inside(answer: dict[str, Any], *names: str) -> tuple[dict[str, Any], str]:
    """Return the element that stands below these, and its path. Raises BadPayload where one of them holds no elements."""
    where = "$"
    for name in names:
        where = f"{where}.{name}"
        answer = mapping(answer.get(name), where)
    return answer, where


def result_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the trackingresult of an answer; an empty one is empty. Raises BadPayload for anything but an answer."""
    response, _ = inside(answer, "Envelope", "Body", "getTrackingDataResponse")
    result = response.get("trackingresult", response.get("trackingResult"))  # the XSD's spelling, and DPD NL's
    if result is None:  # it says nothing, which is not "no news"
        raise BadPayload(f"{ANSWER}.trackingresult", "is missing")
    if isinstance(result, str) and not result.strip():
        return {}
    return mapping(result, f"{ANSWER}.trackingresult")


def _stage(stage: dict[str, Any], unread: list[Unread], month_first: bool, sure: bool, leg: Leg | None) -> Scan | None:
    """Read a stage that was reached, or where the parcel is now: DPD prints one without the other. None: it lies ahead."""
    get = stage.get
    reached = _flag(get("statusHasBeenReached"), "$.statusHasBeenReached", unread)
    current = _flag(get("isCurrentStatus"), "$.isCurrentStatus", unread)
    if not (reached or current):
        if absent(get("statusHasBeenReached")) and absent(get("isCurrentStatus")):
            raise BadPayload("$.statusHasBeenReached", "is missing: nobody knows whether this was reached")
        return None
    code = Code(
        "status", term(get("status"), "$.status", unread)[:100] or "missing", _line(get("label"), "$.label", unread)
    )
    place = _place(_line(get("location"), "$.location", unread))
    printed = _line(get("date"), "$.date", unread)
    if not printed:
        return Scan(code, place=place, leg=leg)
    if printed[4:5] == "-":
        return Scan(code, *as_iso(printed, "$.date.content", unread), place, leg=leg)
    local, precision, problem = _time(printed, month_first, sure)
    if problem:
        unread.append(Unread("$.date.content", problem))
    return Scan(code, local, precision=precision, place=place, leg=leg)


def _flag(value: Any, where: str, unread: list[Unread]) -> bool | None:
    """Read an xs:boolean; None where it is missing, or told where it is none."""
    if value.__class__ is str and (known := _FLAGS.get(value)) is not None:
        return known
    if (known := _FLAGS.get(text(value).lower())) is not None:
        return known
    if not absent(value):
        unread.append(Unread(where, f"is neither true nor false: {str(value)[:20]!r}"))
    return None


def _line(value: Any, where: str, unread: list[Unread]) -> str:
    """Read what a ContentLine says."""
    content = value.get("content") if value.__class__ is dict else section(value, where, unread).get("content")
    return text(content) if content.__class__ is str else term(content, f"{where}.content", unread)


def _words(item: Any) -> str:
    """Return the first words of a ContentItem; nothing depends on them."""
    lines = many(item.get("content")) if isinstance(item, dict) else []
    return next((said for line in lines if isinstance(line, dict) and (said := text(line.get("content")))), "")


def _is_return(description: Any) -> bool:
    lines = many(description.get("content")) if isinstance(description, dict) else []
    return any(isinstance(line, dict) and _RETURN.search(text(line.get("content"))) for line in lines)


@lru_cache(maxsize=2_000)
def _place(printed: str) -> Place:
    """Read a place such as `Leeds (GB)`: a depot's city and country, in DPD's own printed answers."""
    if not printed:
        return NOWHERE
    found = _PLACE.fullmatch(printed)
    return Place(found[1].rstrip(), country=found[2]) if found else Place(printed)


@lru_cache(maxsize=2_000)
def _time(printed: str, month_first: bool, sure: bool) -> tuple[datetime | None, Precision, str]:
    """Read a date as DPD prints it, and how fine it is; or say what is wrong with it.

    Three forms are known: `DD.MM.YYYY, HH:MM`, `DD/MM/YYYY, HH:MM`, and `M/D/YYYY h:mm:ss AM`. A date with slashes that can be read in
    two ways is believed where its form (AM or PM: the month first) and the language agree, or where the account is sure.
    """
    found = _DATE.fullmatch(printed)
    if found is None:
        return None, Precision.SECOND, f"is no date that DPD is known to print: {printed[:40]!r}"
    printed_first, separator, printed_second, year, hour, minute, seconds, half = found.groups()
    first, second, hours = int(printed_first), int(printed_second), int(hour or 0)
    if half is not None:
        hours = hours % 12 + 12 * (half in "Pp") if 1 <= hours <= 12 else 99
    if separator == "." or first > 12 or first == second:
        day, month = first, second
    elif second > 12 or (month_first and (sure or half is not None)):
        day, month = second, first
    elif sure or not (month_first or half is not None):
        day, month = first, second
    else:
        return None, Precision.SECOND, f"can be read in two ways, say which by `dates`: {printed[:40]!r}"
    precision = Precision.SECOND if seconds else Precision.MINUTE if minute else Precision.DATE
    try:
        at = datetime(int(year), month, day, hours, int(minute or 0), int(seconds or 0))
        if 1 < at.year < 9999:
            return at, precision, ""
    except ValueError:
        pass
    return None, Precision.SECOND, f"is no date and time: {printed[:40]!r}"

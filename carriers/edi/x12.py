"""Read an X12 214 or 240: pyx12's X12Reader parts the segments and counts them, the loops are ours.

`LX { AT7 MS1? } L11* MAN* {CD3 L11* {AT7 MS1} MAN*}`: what identifies the parcels of a loop comes after its scans. A number of
the package (CD3) counts before one of the loop (LX), that before one of the message.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pyx12.errors import X12Error
from pyx12.segment import Segment
from pyx12.x12file import X12Reader

from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Edd, Place, Report, Scan, Unread
from tracker.domain.vocabulary import Precision, Zone
from tracker.plugin.payloads import MARK, estimate, number, text, word

if TYPE_CHECKING:
    from carriers.edi import Edi

MESSAGES = ("214", "240")
OLD = "003070"  # the one release before 004010 whose AT7 we know: AT705 YYMMDD, AT706 century, AT707 time, AT708 zone
REASONS = {"SD", "A3", "AH", "AP", "A7", "D1"}  # statuses whose reason is a part of the code
NORMAL = ("", "NS", "NA")
ESTIMATES = ("AG", "X2")  # of the delivery, of the arrival at the consignee
APPOINTED = ("AB", "AC", "X9")  # of the appointments (AT703) those of the delivery
COUNTRIES = {"USA": "US", "CAN": "CA", "MEX": "MX"}
FIXED = {  # element 623: hours from UTC; 01 to 24 beside these
    "ES": -5, "ED": -4, "CS": -6, "CD": -5, "MS": -7, "MD": -6, "PS": -8, "PD": -7, "AS": -9, "AD": -8, "HS": -10, "HD": -9,
    "TS": -4, "TD": -3, "NS": -3.5, "ND": -2.5, "GM": 0, "UT": 0,
}  # fmt: skip
NAMED = {  # with daylight saving: this reading is ours, so such an instant counts as assumed
    "ET": "America/New_York", "CT": "America/Chicago", "MT": "America/Denver", "PT": "America/Los_Angeles",
    "AT": "America/Anchorage", "TT": "America/Halifax", "NT": "America/St_Johns",
}  # fmt: skip


@dataclass
class _Loop:
    """A message, a stop (LX) or a package (CD3): how it names its parcels, and what happened to them."""

    refs: dict[str, list[str]] = field(default_factory=dict)
    scans: list[tuple[Segment, Segment | None, str]] = field(default_factory=list)  # AT7, the MS1 after it, where
    above: _Loop | None = None

    def add(self, qualifier: str, value: str) -> None:
        """Note a reference, once."""
        held = self.refs.setdefault(qualifier, [])
        if value and value not in held:
            held.append(value)

    def numbers(self, wanted: tuple[str, ...]) -> list[str]:
        """Return what is the tracking number by the partner's choice: of this loop, else of the one around it."""
        for name in wanted:
            if self.refs.get(name):
                return self.refs[name]
        return self.above.numbers(wanted) if self.above is not None else []


def read(source: Edi, head: bytes, body: bytes, where: str, unread: list[Unread]) -> list[Report]:
    """Read one message. Raises BadPayload where it is none of ours, not whole, or names no carrier."""
    segments = _segments(head, body, where)
    kind = segments[2].get_value("ST01") or ""
    if kind not in MESSAGES:
        unread.append(Unread(where, f"is a {kind[:6]!r}, no status message", lacks="nothing"))
        return []
    release = (segments[1].get_value("GS08") or "")[:6]
    if release < "004" and release != OLD:
        raise BadPayload(f"{where}.GS08", f"the layout of the release {release!r} is not known")
    loops, scac = _loops(segments[3:-1], where)
    carrier = source.settings.carrier or _carrier(source, scac, where)
    found: dict[str, tuple[list[Scan], list[Edd]]] = {}
    for loop in loops:
        _read_loop(source, loop, release == OLD, where, found, unread)
    return [
        Report(carrier, mine, tuple(scans), edd=edds[-1] if edds else None) for mine, (scans, edds) in found.items()
    ]


def _segments(head: bytes, body: bytes, where: str) -> list[Segment]:
    """Part a message in its envelope: ISA, GS, ST ... SE. Raises BadPayload where it is not whole by its own count."""
    text_ = (head + body).decode("utf-8", "replace").replace("\0", MARK)
    if not head.isascii():
        raise BadPayload(f"{where}.ISA", "is not ASCII")
    text_ = f"{text_[:84]}00401{text_[89:]}"  # the reader knows no other version, and they differ in repetition only
    try:
        reader = X12Reader(io.StringIO(text_))
        found = list(reader)
        errors = [error for error in reader.pop_errors() if error[0] == "st"]
    except (X12Error, IndexError, ValueError, TypeError, AttributeError) as error:
        raise BadPayload(where, f"is no X12: {type(error).__name__}") from None
    names = [one.get_seg_id() for one in found]
    if names[:3] != ["ISA", "GS", "ST"] or names[-1] != "SE" or len(names) != 2 + body.count(text_[105:106].encode()):
        raise BadPayload(where, "is not one message from ST to SE")
    if errors:
        raise BadPayload(f"{where}.SE", f"{errors[0][2]}: nothing of the message is read")
    return found


def _loops(segments: list[Segment], where: str) -> tuple[list[_Loop], str]:
    """Put scans and references where they belong; returns the loops, and the SCAC of B10."""
    message = _Loop()
    loops, at, stop, scac = [message], message, message, ""
    for i, one in enumerate(segments):
        name = one.get_seg_id()
        if name == "LX":
            at = stop = _Loop(above=message)
            loops.append(at)
        elif name == "CD3":
            at = _Loop(above=stop)
            loops.append(at)
        elif name == "B10":
            message.add("B1001", _at(one, 1))
            scac = _at(one, 3)
        elif name == "L11":
            at.add(_at(one, 2), _at(one, 1))
        elif name == "MAN":
            at.add("MAN", _at(one, 2))
        elif name == "AT7":
            after = segments[i + 1] if i + 1 < len(segments) else None
            place = after if after is not None and after.get_seg_id() == "MS1" else None
            at.scans.append((one, place, f"{where}.AT7[{i + 1}]"))
    return loops, scac


def _at(segment: Segment, element: int) -> str:
    """Return an element of a segment; what is not there is empty."""
    return text(segment.get_value(f"{segment.get_seg_id()}{element:02}") or "")


def _carrier(source: Edi, scac: str, where: str) -> str:
    if (carrier := source.carrier_of(scac)) is None:
        raise BadPayload(
            f"{where}.B10", f"names no carrier that we know: {scac[:10]!r} (`carrier` in the YAML says whose it is)"
        )
    return carrier


def _read_loop(
    source: Edi,
    loop: _Loop,
    old: bool,
    where: str,
    found: dict[str, tuple[list[Scan], list[Edd]]],
    unread: list[Unread],
) -> None:
    """Read the scans of a loop, once for each parcel that it names."""
    if not loop.scans:
        return
    mine: list[str] = []
    for printed in loop.numbers(source.settings.x12_numbers):
        try:
            mine.append(number(printed, where))
        except BadPayload as error:
            unread.append(Unread(error.where, error.problem, lacks="all"))
    if not mine:
        unread.append(Unread(loop.scans[0][2], "of no parcel that is named", lacks="all"))
        return
    for segment, place, at in loop.scans:
        try:
            scan, edd = _scan(segment, place, old, at, unread, mine[0])
        except BadPayload as error:
            unread += [Unread(error.where, error.problem, one, "all") for one in mine]
            continue
        for one in mine:
            scans, edds = found.setdefault(one, ([], []))
            scans.append(scan)
            edds += [edd] if edd is not None else []


def _scan(
    segment: Segment, place: Segment | None, old: bool, where: str, unread: list[Unread], mine: str
) -> tuple[Scan, Edd | None]:
    """Read an AT7 and the MS1 after it: a scan, and what it promises. An appointment (AT703; AT701 is empty) moves nothing."""
    status, why, space = _at(segment, 1), _at(segment, 2), "AT701"
    promises = status in ESTIMATES
    if not status:
        status, why, space = _at(segment, 3), _at(segment, 4), "AT703"
        if not status:
            raise BadPayload(where, "says neither a status nor an appointment")
        promises = status in APPOINTED
    code = word(status, where)
    if space == "AT701" and code in REASONS and why not in NORMAL:
        code = f"{code}:{word(why, where)}"
    local, fine = _time(segment, old, where)
    there = _place(place, unread, where, mine)
    instant, zone = _instant(local, _at(segment, 8 if old else 7), unread, where, mine)
    said = Code(space, code, "" if why in NORMAL else f"reason {why}")
    scan = Scan(said, local, instant, zone, fine, there)
    if not promises:
        return scan, None
    begins = instant or local
    return scan, estimate(begins.replace(hour=0, minute=0) if fine is Precision.DATE else begins)


def _time(segment: Segment, old: bool, where: str) -> tuple[datetime, Precision]:
    """Read date and time: CCYYMMDD HHMM[SS[DD]]; before 004010 YYMMDD, and the century apart. Raises BadPayload."""
    day, clock = _at(segment, 5), _at(segment, 7 if old else 6)
    if old:
        century = _at(segment, 6)
        day = f"{century}{day}" if len(century) == 2 else ""
    try:
        if not (day + clock).isascii() or len(day) != 8 or len(clock) not in (0, 4, 6, 7, 8):
            raise ValueError
        at = datetime.fromisoformat(f"{day}T{clock[:6]}" if clock else f"{day}T0000")
    except ValueError:
        raise BadPayload(where, f"has no date and time that can be read: {day[:12]!r} {clock[:12]!r}") from None
    if not 1 < at.year < 9999:
        raise BadPayload(where, f"is no year that can be: {day!r}")
    return at, Precision.DATE if not clock else Precision.MINUTE if len(clock) == 4 else Precision.SECOND


def _instant(local: datetime, code: str, unread: list[Unread], where: str, mine: str) -> tuple[datetime | None, Zone]:
    """Read a zone code (element 623): 01-12 are hours before UTC, 13-24 UTC-12 to -1; LT, or none, is local to the place."""
    if code in ("", "LT"):
        return None, Zone.UNKNOWN
    if code.isascii() and code.isdecimal() and 1 <= int(code) <= 24:
        hours: float = int(code) if int(code) <= 12 else int(code) - 25
        return local.replace(tzinfo=timezone(timedelta(hours=hours))), Zone.OFFSET
    if code in FIXED:
        return local.replace(tzinfo=timezone(timedelta(hours=FIXED[code])) if FIXED[code] else UTC), Zone.OFFSET
    if code in NAMED:
        return local.replace(tzinfo=ZoneInfo(NAMED[code])), Zone.ASSUMED
    unread.append(Unread(where, f"has a zone that we do not know: {code[:6]!r}", mine))
    return None, Zone.UNKNOWN


def _place(segment: Segment | None, unread: list[Unread], where: str, mine: str) -> Place:
    if segment is None:
        return NOWHERE
    country = _at(segment, 3).upper()
    country = COUNTRIES.get(country, country)
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        unread.append(Unread(where, f"MS103 is no country: {country[:6]!r}", mine))
        country = ""
    return Place(_at(segment, 1), _at(segment, 2), "", country)

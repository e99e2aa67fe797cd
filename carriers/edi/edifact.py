"""Read an EDIFACT IFTSTA: pydifact parts the segments, the counts and the nesting are ours.

By names and nesting, not by position: directories differ (D.24A has an equipment branch before CNI). CNI opens a consignment,
STS a scan; what follows belongs to it. One STS can speak of many packages (GIN).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pydifact.exceptions import EDISyntaxError
from pydifact.parser import Parser

from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Place, Report, Scan, Unread
from tracker.domain.vocabulary import Precision, ShippingStatus, Zone
from tracker.plugin.payloads import MARK, number, text, word

if TYPE_CHECKING:
    from carriers.edi import Edi

CHARSETS = {  # UNB 0001
    "UNOA": "ascii", "UNOB": "ascii", "UNOC": "iso8859-1", "UNOD": "iso8859-2", "UNOE": "iso8859-5", "UNOF": "iso8859-7",
    "UNOG": "iso8859-3", "UNOH": "iso8859-4", "UNOI": "iso8859-6", "UNOJ": "iso8859-8", "UNOK": "iso8859-9",
}  # fmt: skip
HAPPENED = "334"  # status change, date and time
BY_STATUS = {ShippingStatus.DELIVERED: "35", ShippingStatus.PICKED_UP: "200"}
ACTUAL = ("178", "136", "200", "35")  # arrival, departure, collected, delivered
OF_MESSAGE = "137"
REASONS = {"20", "23", "101", "273"}  # statuses whose reason is a part of the code
PLACES = ("14", "175")  # of the goods, of the activity; else the first that is named
FORMS = {
    "102": ("%Y%m%d", Precision.DATE), "203": ("%Y%m%d%H%M", Precision.MINUTE), "204": ("%Y%m%d%H%M%S", Precision.SECOND),
}  # fmt: skip


@dataclass
class _Segment:
    """A segment: its name, and its elements, each a list of components."""

    name: str
    elements: list[list[str]]

    def at(self, element: int, component: int = 0) -> str:
        """Return a component, by their places after the name; what is not there is empty."""
        found = self.elements[element : element + 1]
        return text(found[0][component]) if found and len(found[0]) > component else ""


@dataclass
class _Status:
    """An STS with what follows it."""

    sts: _Segment
    where: str
    inner: list[_Segment] = field(default_factory=list)

    def all(self, name: str) -> list[_Segment]:
        """Return the segments of a name that belong to it."""
        return [one for one in self.inner if one.name == name]


@dataclass
class _Consignment:
    """A CNI with what follows it."""

    cni: _Segment
    inner: list[_Segment] = field(default_factory=list)
    statuses: list[_Status] = field(default_factory=list)


def read(source: Edi, head: bytes, body: bytes, where: str, unread: list[Unread]) -> list[Report]:
    """Read one message. Raises BadPayload where it is none of ours, not whole, or nobody says whose parcels it tells of."""
    segments = _segments(head, body, where)
    unh = segments[0]
    if unh.at(1) != "IFTSTA":
        unread.append(Unread(where, f"is a {unh.at(1)[:10]!r}, no status message", lacks="nothing"))
        return []
    if not (carrier := source.settings.carrier):
        raise BadPayload(where, "names no carrier: `carrier` in the YAML says whose parcels it tells of")
    old = _is_old(unh.at(1, 2))
    consignments, message = _nested(segments[1:-1], where)
    written = next((one for one in message if one.name == "DTM" and one.at(0) == OF_MESSAGE), None)
    found: dict[str, list[Scan]] = {}
    for consignment in consignments:
        for status in consignment.statuses:
            _read_status(source, consignment, status, written, old, found, unread)
    return [Report(carrier, mine, tuple(scans)) for mine, scans in found.items()]


def _segments(head: bytes, body: bytes, where: str) -> list[_Segment]:
    """Part a message. Raises BadPayload where it is not whole by its own count and number (UNT 0074, 0062)."""
    una, begins = head[:9], head[9:]
    syntax = begins[4:8].decode("latin-1")
    charset = CHARSETS.get(syntax, "utf-8")
    decoded = (una + body).decode(charset, "replace").replace("\0", MARK)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of segments whose definition it has not
            parsed: list[Any] = list(Parser().parse(decoded))
    except (EDISyntaxError, RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError) as error:
        raise BadPayload(where, f"is no EDIFACT: {type(error).__name__}") from None
    found = [
        _Segment(str(one.tag), [[str(c) for c in e] if isinstance(e, list) else [str(e)] for e in one.elements])
        for one in parsed
        if one.tag != "UNA"
    ]
    if len(found) < 2 or found[0].name != "UNH" or found[-1].name != "UNT":
        raise BadPayload(where, "is not one message from UNH to UNT")
    unt = found[-1]
    if not (unt.at(0).isascii() and unt.at(0).isdecimal()) or len(unt.at(0)) > 9 or int(unt.at(0)) != len(found):
        said = f"counts {unt.at(0)[:12]!r} segments, and {len(found)} came: nothing of the message is read"
        raise BadPayload(f"{where}.UNT", said)
    if unt.at(1) != found[0].at(0):
        raise BadPayload(f"{where}.UNT", f"has the number {unt.at(1)[:14]!r}, and UNH {found[0].at(0)[:14]!r}")
    return found


def _is_old(release: str) -> bool:
    """Say whether a directory (`96A`, `01B`) is before D.01A: its status codes are those of element 9011."""
    year = release[:2]
    return year.isascii() and year.isdecimal() and (int(year) > 90 or int(year) < 1)


def _nested(segments: Sequence[_Segment], where: str) -> tuple[list[_Consignment], list[_Segment]]:
    """Put each segment to the status, else to the consignment, else to the message that it stands in."""
    message: list[_Segment] = []
    consignments: list[_Consignment] = []
    at = message
    for i, one in enumerate(segments, 2):
        if one.name == "CNI":
            consignments.append(_Consignment(one))
            at = consignments[-1].inner
        elif one.name == "STS" and consignments:
            consignments[-1].statuses.append(_Status(one, f"{where}.STS[{i}]"))
            at = consignments[-1].statuses[-1].inner
        else:  # a status before the first consignment is one of equipment (D.24A): no parcel's
            at.append(one)
    return consignments, message


def _read_status(
    source: Edi,
    consignment: _Consignment,
    status: _Status,
    written: _Segment | None,
    old: bool,
    found: dict[str, list[Scan]],
    unread: list[Unread],
) -> None:
    """Read one status, once for each parcel that it speaks of."""
    mine: list[str] = []
    for printed in _numbers(source.settings.edifact_numbers, consignment, status):
        try:
            mine.append(number(printed, status.where))
        except BadPayload as error:
            unread.append(Unread(error.where, error.problem, lacks="all"))
    if not mine:
        unread.append(Unread(status.where, "of no parcel that is named", lacks="all"))
        return
    try:
        scan = _scan(source, status, written, old, unread, mine[0])
    except BadPayload as error:
        unread += [Unread(error.where, error.problem, one, "all") for one in mine]
        return
    for one in mine:
        found.setdefault(one, []).append(scan)


def _numbers(wanted: Sequence[str], consignment: _Consignment, status: _Status) -> list[str]:
    """Return the parcels of a status, by the partner's choice: the packages, the consignment, or a reference."""
    for name in wanted:
        if name == "GIN":
            named = [part for gin in status.all("GIN") for e in gin.elements[1:] for part in e if part]
        elif name == "CNI":
            named = [consignment.cni.at(1)]
        else:
            refs = [*status.all("RFF"), *(one for one in consignment.inner if one.name == "RFF")]
            named = [one.at(0, 1) for one in refs if one.at(0) == name][:1]
        if named := list(dict.fromkeys(filter(None, named))):
            return named
    return []


def _scan(source: Edi, status: _Status, written: _Segment | None, old: bool, unread: list[Unread], mine: str) -> Scan:
    sts, where = status.sts, status.where
    category, code = sts.at(0), sts.at(1)
    if category not in source.settings.categories:  # not of transport: what it says is kept, and moves nothing
        said = Code("STS-9015", word(category or "none", where), f"{code} {sts.at(1, 3) or sts.at(2, 3)}".strip())
        local, instant, zone, fine = _time(source, said, status, written)
        return Scan(said, local, instant, zone, fine, _place(status, unread, mine))
    code = word(code, where)
    agency = sts.at(1, 2)
    space = ("STS-9011" if old else "STS") if agency in ("", "6", "9") else "STS-own"
    if code in REASONS and (why := sts.at(2)):
        code = f"{code}:{word(why, where)}"
    said = Code(space, code, sts.at(1, 3) or sts.at(2, 3))
    local, instant, zone, fine = _time(source, said, status, written)
    return Scan(said, local, instant, zone, fine, _place(status, unread, mine))


Time = tuple[datetime | None, datetime | None, Zone, Precision]


def _time(source: Edi, code: Code, status: _Status, written: _Segment | None) -> Time:
    """Return when it happened: 334, else what its status makes of the others, else when the message was written (assumed)."""
    told = {one.at(0): one for one in reversed(status.all("DTM"))}
    meaning = source.meaning(code)
    by_status = BY_STATUS.get(meaning.status) if meaning is not None and meaning.status is not None else None
    actual = [name for name in ACTUAL if name in told]
    chosen = next((name for name in (HAPPENED, by_status, *(actual if len(actual) == 1 else ())) if name in told), None)
    if chosen is not None:
        return _moment(told[chosen], status.where)
    if written is None:
        return None, None, Zone.UNKNOWN, Precision.SECOND
    local, instant, _, fine = _moment(written, status.where)
    return local, instant, Zone.ASSUMED if instant is not None else Zone.UNKNOWN, fine


def _moment(dtm: _Segment, where: str) -> Time:
    """Read a DTM by its format (2379). Raises BadPayload for one that cannot be read."""
    value, form = dtm.at(0, 1), dtm.at(0, 2)
    try:
        if not value.isascii():
            raise ValueError
        if form in FORMS:
            pattern, fine = FORMS[form]
            if len(value) != {"102": 8, "203": 12, "204": 14}[form]:
                raise ValueError
            return _known(datetime.strptime(value, pattern)), None, Zone.UNKNOWN, fine  # noqa: DTZ007
        if form == "205" and len(value) == 17 and value[12] in "+-":
            off = timedelta(hours=int(value[13:15]), minutes=int(value[15:17])) * (-1 if value[12] == "-" else 1)
            local = _known(datetime.strptime(value[:12], "%Y%m%d%H%M"))  # noqa: DTZ007
            return local, local.replace(tzinfo=timezone(off)), Zone.OFFSET, Precision.MINUTE
        if form in ("303", "304"):
            end, pattern = (12, "%Y%m%d%H%M") if form == "303" else (14, "%Y%m%d%H%M%S")
            local = _known(datetime.strptime(value[:end], pattern))  # noqa: DTZ007
            sure = value[end:] in ("UTC", "GMT", "Z")
            fine = Precision.MINUTE if form == "303" else Precision.SECOND
            return local, local.replace(tzinfo=UTC) if sure else None, Zone.OFFSET if sure else Zone.UNKNOWN, fine
    except ValueError:
        pass
    raise BadPayload(where, f"has no time that can be read: {value[:40]!r} in the form {form[:4]!r}")


def _known(at: datetime) -> datetime:
    if not 1 < at.year < 9999:
        raise ValueError
    return at


def _place(status: _Status, unread: list[Unread], mine: str) -> Place:
    """Read where it was: a UN/LOCODE (3055 is 6) begins with its country; any other code is a name."""
    there = status.all("LOC")
    loc = next((one for name in PLACES for one in there if one.at(0) == name), there[0] if there else None)
    if loc is None:
        return NOWHERE
    code, city = loc.at(1), loc.at(1, 3)
    if loc.at(1, 2) != "6":
        return Place(city or code)
    if len(code) == 5 and code.isascii() and code[:2].isalpha():
        return Place(city or code.upper(), country=code[:2].upper())
    unread.append(Unread(status.where, f"is no UN/LOCODE: {code[:10]!r}", mine))
    return Place(city)

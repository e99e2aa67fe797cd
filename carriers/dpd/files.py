"""DPD's bulk files: SCANINFO (DPD BE, every half an hour) and the older STATUSDATA (DPD NL, every quarter), a line a scan.

Columns as DPD BE prints them (it-integration.dpd.be, "EDI via SFTP - SCANINFO"), those of STATUSDATA as a third party does; they are
found by their names, as order and set differ. Codes: DPD NL (integrations.dpd.nl, "Statusdata via SFTP"); read 2026-11.

A parcel of the services 300 (DPD RETURN) and 332 (DPD SHOP RETURN) goes to the merchant: its 13 is no delivery to a customer. Times are those of a
clock at the depot. Which country that is no file says; but scans that by DPD's words happen at the destination depot, and those of the
depot that ROUTE names, are in the receiver's. Any other is placed by the account's zone, and marked.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tracker.domain.errors import BadPayload
from tracker.domain.facts import NOWHERE, Code, Place, Report, Scan, Unread
from tracker.domain.facts import Payload as Lines
from tracker.domain.vocabulary import Leg
from tracker.plugin.payloads import number, text, told, word
from tracker.plugin.tables import Form, Head, records
from tracker.plugin.times import COMPACT, clock

_FORM = Form(";", '"', ("utf-8", "cp1252"))
_TIMES = ("SCAN_DATE_TIME", "EVENT_DATE_TIME")
_RETURNS = frozenset({"300", "332"})
_AT_DESTINATION = frozenset({"02", "03", "04", "08", "09", "13", "14"})  # by the words of DPD's list
_COUNTRIES = {  # RCOUNTRYN (ISO 3166 numeric), where RCOUNTRY is empty
    "040": "AT", "056": "BE", "100": "BG", "191": "HR", "203": "CZ", "208": "DK", "233": "EE", "246": "FI", "250": "FR", "276": "DE",
    "300": "GR", "348": "HU", "372": "IE", "380": "IT", "428": "LV", "438": "LI", "440": "LT", "442": "LU", "528": "NL", "578": "NO",
    "616": "PL", "620": "PT", "642": "RO", "703": "SK", "705": "SI", "724": "ES", "752": "SE", "756": "CH", "826": "GB",
}  # fmt: skip
_when = clock(COMPACT)


class _Columns:
    """Where a head has what a line is read by."""

    def __init__(self, head: bytes) -> None:
        """Find the columns. Raises BadPayload where one is missing without which a line is read wrongly."""
        self.head = Head(_FORM, head)
        self.number = self.head.needed("number", "PARCELNO")
        self.code = self.head.needed("code", "SCAN_CODE")
        self.time = self.head.needed("time", *_TIMES)
        self.service = self.head.needed("return parcels", "SERVICE")
        self.depot, self.route = self.head.place("DEPOT_CODE"), self.head.place("ROUTE")
        self.name, self.said = self.head.place("DEPOTNAME"), self.head.place("INFO_TEXT")
        countries = (self.head.place(name) for name in ("RCOUNTRY", "RCOUNTRYN", "CONSIGNEE_COUNTRY_CODE"))
        self.countries = [place for place in countries if place is not None]


@lru_cache(maxsize=16)  # files of a carrier mostly have the same head
def head_of(head: bytes) -> _Columns:
    """Return where a head has its columns. Raises BadPayload where one is missing that must be there."""
    return _Columns(head)


def read(payload: Lines) -> Iterable[Report | Unread]:
    """Read lines: a report a number, its scans in the order of the lines; a line that cannot be read costs itself only."""
    head, lines = records(payload)
    columns, unread = head_of(head), list[Unread]()
    found: dict[str, list[Scan]] = {}
    for at, line in lines:
        mine = ""
        try:
            fields = columns.head.fields(line, f"$[{at}]")
            mine = number(fields[columns.number], f"$[{at}].PARCELNO")
            scan = _scan(columns, fields, f"$[{at}]")
            found.setdefault(mine, []).append(scan)
        except BadPayload as error:
            unread.append(Unread(error.where, error.problem, mine, "all"))
    return told([Report("dpd", mine, tuple(scans)) for mine, scans in found.items()], unread)


def _scan(columns: _Columns, fields: list[str], where: str) -> Scan:
    code = word(fields[columns.code], f"{where}.SCAN_CODE")
    local, instant, zone, precision = _when(fields[columns.time].strip(), f"{where}.{columns.head.names[columns.time]}")
    said = Code("SCAN_CODE", code, _of(fields, columns.said))
    leg = Leg.RETURN_TO_SENDER if fields[columns.service].strip() in _RETURNS else None
    return Scan(said, local, instant, zone, precision, _place(columns, fields, code), leg=leg)


def _place(columns: _Columns, fields: list[str], code: str) -> Place:
    name, depot = _of(fields, columns.name), _of(fields, columns.depot)
    country = ""
    if code in _AT_DESTINATION or (depot and depot == _of(fields, columns.route)):
        printed = (_of(fields, place).upper() for place in columns.countries)
        country = next((known for one in printed if (known := _country(one))), "")
    return Place(name, country=country) if name or country else NOWHERE


def _country(printed: str) -> str:
    """Return a country of two letters; nothing where it is not known which."""
    if len(printed) == 2 and printed.isascii() and printed.isalpha():
        return printed
    return _COUNTRIES.get(printed.zfill(3), "")


def _of(fields: list[str], place: int | None) -> str:
    return text(fields[place]) if place is not None else ""

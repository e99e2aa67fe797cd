"""Any carrier that tells by CSV files: a line is a scan, its columns are named by the head of the file.

Which column says what, how times are printed and what the codes mean stands in the YAML (`codes:` of the account, keyed
`COLUMN/code` by the name of the column that holds the code). RFC 4180 (read 2026-11), but a record is one line: a line feed
inside of quotes is not read. Example: DPD's SCANINFO and STATUSDATA files, deploy/examples/dpd-files.yaml.

A file is cut after each hundred lines; each payload holds the head too. A line that cannot be read costs itself, and is
told by its number: `$[17].SCAN_CODE`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, BinaryIO, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tracker.domain.errors import BadPayload, Refused
from tracker.domain.facts import Code, Page, Payload, Place, Query, Report, Scan, Unread
from tracker.domain.vocabulary import Leg
from tracker.plugin import contracts
from tracker.plugin.calls import Client
from tracker.plugin.files import Cut
from tracker.plugin.payloads import number, text, told, word
from tracker.plugin.tables import Form, Head, cut, records
from tracker.plugin.times import COMPACT, TimeFormat, ZoneName, clock

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: (v,) if isinstance(v, str) else v, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]


class Columns(BaseModel):
    """Which column says what, by its name in the head of the file; of several names the first that the head has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Names
    code: Names
    time: Names
    text: Names | None = None
    city: Names | None = None
    region: Names | None = None
    postcode: Names | None = None
    country: Names | None = None
    carrier: Names | None = None


class Settings(contracts.Settings):
    """The files of a carrier.

    `carrier` is whose parcels they tell of. `columns` names the columns: `number`, `code` and `time` must be there; `text`,
    `city`, `region`, `postcode` and `country` (two letters) of the scan's place may be, and `carrier` where a file tells of
    several: then `carrier` beside is left out. `delimiter` and `quote` (empty: none)
    are one character. `encoding`: one or several, of which a line is read by the first that fits. `time_format` is `iso` or as
    Python's strptime has it; `zone` counts where neither the time nor the place says one. `returns`: values of a column that
    mark a parcel which a customer sends back.
    """

    carrier: str = Field("", max_length=40)
    columns: Columns
    delimiter: str = Field(";", min_length=1, max_length=1)
    quote: str = Field('"', max_length=1)
    encoding: Names = ("utf-8",)
    time_format: TimeFormat = "iso"
    zone: ZoneName = "UTC"
    returns: Mapping[str, Names] = {}

    @model_validator(mode="after")
    def _whose(self) -> Settings:
        if bool(self.carrier) is bool(self.columns.carrier):
            raise ValueError("carrier or columns.carrier says whose parcels they are: one of the two")
        return self

    @field_validator("encoding")
    @classmethod
    def _known_encodings(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            try:
                plain = codecs.lookup(name).name, "a;\n".encode(name) == b"a;\n"
            except (LookupError, UnicodeError):
                raise ValueError(f"no encoding {name!r:.40}: such as utf-8, cp1252, iso8859-1") from None
            if not plain[1]:
                raise ValueError(f"{name} does not write a line feed as one byte: have the file sent as utf-8")
        return names


class Csv(contracts.Carrier):
    """Scans of a carrier's CSV files."""

    docs = "https://www.rfc-editor.org/rfc/rfc4180"
    files = True
    codes_from_yaml = True
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {  # DPD's files, deploy/examples/dpd-files.yaml
        "carrier": "acme",
        "columns": {
            "number": "PARCELNO", "code": "SCAN_CODE", "time": ["SCAN_DATE_TIME", "EVENT_DATE_TIME"], "text": "INFO_TEXT",
        },
        "time_format": COMPACT, "zone": "Europe/Brussels", "returns": {"SERVICE": ["300", "332"]},
    }  # fmt: skip

    def __init__(self, account: str, settings: Any) -> None:
        """Bind an account: it speaks for the carrier that its settings name."""
        super().__init__(account, settings)
        self.carriers = (settings.carrier,) if settings.carrier else ()
        self.default_zone = settings.zone

    def cut(self, file: BinaryIO) -> Iterator[Cut]:
        """Cut after each hundred lines. Raises BadPayload where the head lacks a column: nothing of such a file can be read."""
        return cut(file, self._reader)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read lines: a report a number, its scans in the order of the lines."""
        head, lines = records(payload)
        read, unread = self._reader(head), list[Unread]()
        found: dict[tuple[str, str], list[Scan]] = {}
        for at, line in lines:
            whose, mine, scan = read(line, at, unread)
            if scan is not None:
                found.setdefault((whose, mine), []).append(scan)
        return told([Report(whose, mine, tuple(scans)) for (whose, mine), scans in found.items()], unread)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Refuse: nobody can be asked."""
        raise Refused("this carrier tells by files only")

    def _reader(self, head: bytes) -> _Reader:
        """Return what reads the lines below a head. Raises BadPayload where it lacks a column."""
        if self._known is None or self._known[0] != head:
            self._known = head, _Reader(self, head)
        return self._known[1]

    _known: tuple[bytes, _Reader] | None = None  # files of a carrier mostly have the same head


class _Reader:
    """Reads the lines below one head."""

    def __init__(self, source: Csv, head: bytes) -> None:
        self._settings: Settings = source.settings
        self._carrier_of = source.carrier_of
        settings = self._settings
        self._head = Head(Form(settings.delimiter, settings.quote, settings.encoding), head)
        self._names = self._head.names
        wanted = settings.columns
        self._at = {key: self._place(key, getattr(wanted, key)) for key in Columns.model_fields}
        self._number, self._code, self._time = (self._at[key] or 0 for key in ("number", "code", "time"))
        self._space = wanted.code[0]
        self._whose = self._at["carrier"]
        self._text, *self._where = (self._at[key] for key in ("text", "city", "region", "postcode", "country"))
        self._returns = [(self._place("returns", (name,)) or 0, values) for name, values in settings.returns.items()]
        self._clock = clock(settings.time_format)

    def _place(self, key: str, wanted: tuple[str, ...] | None) -> int | None:
        """Return which column is meant. Raises BadPayload where the head has none of the names: what it says would be lost."""
        return self._head.needed(key, *wanted) if wanted else None

    def __call__(self, line: bytes, at: int, unread: list[Unread]) -> tuple[str, str, Scan | None]:
        """Read the line with this number: its carrier, parcel and scan; None, and what was wrong with it."""
        where, mine, whose = f"$[{at}]", "", self._settings.carrier
        try:
            fields = self._head.fields(line, where)
            mine = number(fields[self._number], f"{where}.{self._names[self._number]}")
            if self._whose is not None:
                whose = self._carrier(fields[self._whose].strip(), f"{where}.{self._names[self._whose]}")
            code = word(fields[self._code], f"{where}.{self._names[self._code]}")
            local, instant, zone, precision = self._clock(
                fields[self._time].strip(), f"{where}.{self._names[self._time]}"
            )
        except BadPayload as error:
            unread.append(Unread(error.where, error.problem, mine, "all"))
            return whose, mine, None
        said = Code(self._space, code, text(fields[self._text]) if self._text is not None else "")
        back = any(fields[i].strip() in values for i, values in self._returns)
        city, region, postcode, country = ("" if i is None else text(fields[i]) for i in self._where)
        if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
            unread.append(Unread(f"{where}.{self._names[self._where[3] or 0]}", "is no country of two letters", mine))
            country = ""
        place = Place(city, region, postcode, country.upper())
        leg = Leg.CUSTOMER_RETURN if back else None
        return whose, mine, Scan(said, local, instant, zone, precision, place, leg=leg)

    def _carrier(self, word: str, where: str) -> str:
        """Return the carrier that a word means. Raises BadPayload for one that nobody knows."""
        if (carrier := self._carrier_of(word)) is None:
            raise BadPayload(where, f"is no carrier that we know: {word[:40]!r}")
        return carrier

"""Carriers that tell by EDI: X12 214 and 240 (read by pyx12's X12Reader) and EDIFACT IFTSTA (read by pydifact; its counts by us).

X12 004010 and 003070, element 1650, 1651 and 623; UN/EDIFACT directories D.93A to D.24A, UNECE Recommendation 24 revision 6 and
GS1 EANCOM 2002, all as public copies print them, read 2026-11: X12 is licensed. Tables are by agreement between two
partners, so an account is a partner: its `codes:` beat `edi.csv` (DoD's OO and XB, local cartage's X6).

A message whose own count or number is wrong was cut or changed on its way: nothing of it is read, and it is told as a whole.
An interchange or group that counts wrong is told, and its messages that are whole are read. `$.ST[7]` in what is told is a
message by the segment of the file at which it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, ClassVar

from carriers.edi import edifact, x12
from carriers.edi.cutting import cut
from carriers.edi.settings import Settings
from tracker.domain.errors import BadPayload, Refused
from tracker.domain.facts import Code, Meaning, Page, Payload, Query, Report, Unread
from tracker.domain.vocabulary import Reason, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.calls import Client
from tracker.plugin.codes import meant, read_codes
from tracker.plugin.files import LINE, Cut
from tracker.plugin.payloads import told

BY_REASON = {
    ("AT701", "SD"),
    ("AT701", "A3"),
    ("STS", "20"),
    ("STS", "101"),
    ("STS", "273"),
}  # the reason says where it is
WITH_REASON = {("AT701", "AH"), ("AT701", "AP"), ("AT701", "A7"), ("STS", "23")}  # the reason says why only
SHORT = ("AT701", "D1", "S1")  # delivered, with a shortage


class Edi(contracts.Carrier):
    """Status messages of one trading partner."""

    docs = "https://unece.org/trade/uncefact/introducing-unedifact"
    files = True
    vocabulary = ("scac",)
    codes = read_codes(__file__)
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {"carrier": "acme"}

    def __init__(self, account: str, settings: Any) -> None:
        """Bind an account: it speaks for the carrier that its settings name, else for whom its messages name by SCAC."""
        super().__init__(account, settings)
        self.carriers = (settings.carrier,) if settings.carrier else ()
        self.default_zone = settings.zone

    def cut(self, file: BinaryIO) -> Iterator[Cut]:
        """Cut a file by message, with the head of its envelope."""
        return cut(file)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read one message: a report a number, its scans as they come."""
        if len(payload.parts) != 3:
            raise BadPayload("$", "is no message of an EDI file: its envelope, itself, and what is wrong with it")
        head, body, wrong = payload.parts
        number = payload.headers.get(LINE, "1")
        where = f"$.ST[{number if number.isdecimal() else 1}]"
        if wrong:
            raise BadPayload(where, wrong.decode("utf-8", "replace")[:300])
        unread: list[Unread] = []
        syntax = x12 if head.startswith(b"ISA") else edifact
        read = syntax.read(self, head, body, where, unread)
        return unread if not read and {one.lacks for one in unread} == {"nothing"} else told(read, unread)

    def meaning(self, code: Code) -> Meaning | None:
        """Read a status, with its reason where that says more: `SD:BS` is delayed by a refusal.

        An old EDIFACT code (element 9011 until D.00B) means what Recommendation 24 says, but where the old list differs.
        """
        space, (status, _, why) = code.space, code.code.partition(":")
        found = self.codes.get((space, status))
        if found is None and space == "STS-9011":
            space = "STS"
            found = self.codes.get((space, status))
        if found is None or not why:
            return found
        if (space, status, why) == SHORT:
            return Meaning(ShippingStatus.DELIVERED, Reason.PARTIAL)
        reason = self.codes.get(("AT702" if space == "AT701" else "STS-9013", why))
        if reason is None or reason.reason is None:
            return found
        if (space, status) in BY_REASON and reason.status is not None:
            return reason
        return meant(found.status, reason.reason) if (space, status) in WITH_REASON else found

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Refuse: nobody can be asked."""
        raise Refused("this carrier tells by files only")

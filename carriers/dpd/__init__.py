"""DPD in Belgium and the Netherlands: the Shipper web services (SOAP 1.1, one number a call) and the bulk files SCANINFO and STATUSDATA.

Contract: LoginServiceV21.xsd, ParcelLifecycleServiceV20.xsd, Authentication20.xsd; pages of DPD NL (integrations.dpd.nl), DPD BE
(it-integration.dpd.be) and DPD CH (label-print-docs.dpd.ch); read 2026-11. A token lives a day, ten logins a day are allowed, its end
is told in UTC. An answer tells the whole life of a parcel with stages that lie ahead; nothing in it says of which number it is, so
the number that was asked about is put into its envelope (a recorded one may have it in a second part).

An account has its `delis_id` and `password`, or a `folder:` or `sftp:` for its files, or both. They tell of the same parcels and share
one table, so they are one plugin: `polls` reads answers, `files` the lines. DPD UK, Germany's cloud service and the others of the group have
other APIs; what their codes mean stands in the table too, by their spaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, timedelta
from typing import Any, BinaryIO, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from carriers.dpd import files, polls
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, SourceError
from tracker.domain.facts import Code, Meaning, Page, Parcels, Payload, Query, Report, Unread
from tracker.domain.numbers import clean
from tracker.plugin import contracts
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.codes import read_codes
from tracker.plugin.files import Cut
from tracker.plugin.oauth import Tokens
from tracker.plugin.payloads import moment, text
from tracker.plugin.soap import Fault, raise_unless_soap, soap_call, throttled
from tracker.plugin.tables import cut
from tracker.plugin.times import ZoneName
from tracker.plugin.xml import decode_xml, escaped

_COMMON = "http://dpd.com/common/service"
_LOGIN, _LIFE, _PROOF = (
    f"{_COMMON}/types/{name}" for name in ("LoginService/2.1", "ParcelLifeCycleService/2.0", "Authentication/2.0")
)
_TOKENS = (
    "ERR_DELICOM_TOKEN_EXPIRED",
    "ERR_DELICOM_TOKEN_INCORRECT",
    "DELICOM_ERR_AUTHENTICATION",
)  # DPD BE, login service
_ENVELOPE = re.compile(rb"<(?:[\w.-]+:)?Envelope(?:\s[^<>]*[^<>/])?>")
_BARCODE = re.compile(
    r"(?:\d{7}(\d{14})\d{6}|(\d{14}))[0-9A-Z]", re.ASCII
)  # postcode, number, service and country; a check digit
_NOBODYS = "00000000000000"


class Settings(contracts.Settings):
    """One account: the `delis_id` and `password` of the Shipper web services; without both its files alone are read.

    `base_url`: wsshipper.dpd.nl or wsshipper.dpd.be; DPD's test systems track nothing. `login` and `tracking` are the services below it.
    `language` is the messageLanguage of wordings and dates. `dates`: whether the day or the month stands first in a date with slashes or
    dashes; `auto` goes by the language and by the form, and leaves out a date that can be read in two ways. `not_found`: words of
    a fault that say that nothing is known of a number. `zone`: of times whose place says none.
    """

    delis_id: str = Field("", max_length=100)
    password: SecretStr | None = None
    base_url: str = "https://wsshipper.dpd.nl/soap/services"
    login: str = "LoginService/V2_1"
    tracking: str = "ParcelLifeCycleService/V2_0"
    language: str = Field("en_US", pattern=r"^[a-z]{2}_[A-Z]{2}$")
    dates: Literal["auto", "day_first", "month_first"] = "auto"
    not_found: tuple[str, ...] = (
        "not found",
        "not_found",
        "no data",
        "no tracking",
        "unknown parcel",
        "does not exist",
    )
    zone: ZoneName = "Europe/Amsterdam"

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.delis_id) is not bool(self.password and self.password.get_secret_value()):
            raise ValueError("delis_id and password belong together; an account that has files only needs neither")
        return self


class Dpd(contracts.Carrier):
    """DPD parcels."""

    docs = "https://integrations.dpd.nl/dpd-shipper/dpd-shipper-webservices/parcellifecycle-service/"
    unverified = (
        "the addresses of its services below `base_url`: `login`, `tracking`, and the action of getAuth",
        "which fault says that a number is not known: `not_found`",
        "how dates are printed in each `language`: `dates`",
        "the zone of its times: that of the place, else `zone`",
        "statuses that no XSD lists: third parties' lists",
        "codes of its files above 15, and the country of a depot that is neither the parcel's destination nor delivers it",
    )
    asks = frozenset({Parcels})
    files = True
    carriers = ("dpd",)
    response_keys = ("trackingresult", "trackingResult")
    codes = read_codes(__file__)
    folded: ClassVar[Mapping[tuple[str, str], Meaning]] = {
        (space, code.casefold()): meaning for (space, code), meaning in codes.items()
    }
    token_lasts: timedelta | None = timedelta(days=1)
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {"delis_id": "canary-delis-id"}

    def __init__(self, account: str, settings: Any) -> None:
        """Bind an account: without credentials it asks nobody."""
        super().__init__(account, settings)
        self.default_zone = settings.zone
        self._tokens = Tokens(self._grant)
        if not settings.delis_id:
            self.asks, self.token_lasts = frozenset(), None

    def meaning(self, code: Code) -> Meaning | None:
        """Look up a code; DPD's services spell one and the same status `Delivered` and `DELIVERED`."""
        return self.codes.get((code.space, code.code)) or self.folded.get((code.space, code.code.casefold()))

    def cut(self, file: BinaryIO) -> Iterator[Cut]:
        """Cut a file after each hundred lines. Raises BadPayload where its head lacks a column that must be there."""
        return cut(file, files.head_of)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer of getTrackingData, or lines of a file: a line is a scan."""
        if payload.kind == "file":
            return files.read(payload)
        return polls.read(payload, self._month_first(), self.settings.dates != "auto")

    def raise_for_status(self, response: Response) -> None:
        """As SOAP says, but for what stands in the detail of a fault: a login, a number that is not known, or that is refused."""
        raise_unless_soap(response, self._meant)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST getTrackingData with the token of a login: a number a call."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            if asked := clean(parcel.number):
                yield Page((_about(asked, self._ask(client, asked).body),))

    def ping(self, client: Client) -> None:
        """Log in, and ask about a number that nobody has: that it is not known is an answer, anything but one is none."""
        if not self.asks:
            raise Refused("this account has neither delis_id nor password: it tells by files only")
        try:
            answer = self._ask(client, _NOBODYS)
        except (NotFound, NumberRefused):
            return
        polls.result_of(decode_xml(answer.body))

    def _month_first(self) -> bool:
        """Say whether the month stands first: so it does in what DPD prints in English (7/30/2021 9:54:00 AM)."""
        dates = self.settings.dates
        english: bool = self.settings.language.startswith("en")
        return english if dates == "auto" else dates == "month_first"

    def _ask(self, client: Client, number: str) -> Response:
        settings = self.settings
        url, action = (
            f"{settings.base_url}/{settings.tracking}",
            f"{_COMMON}/ParcelLifeCycleService/2.0/getTrackingData",
        )
        body = {"plc:getTrackingData": {"@xmlns:plc": _LIFE, "parcelLabelNumber": _label(number)}}

        def request(token: str) -> Request:
            proof = {
                "@xmlns:auth": _PROOF, "delisId": settings.delis_id, "authToken": token, "messageLanguage": settings.language,
            }  # fmt: skip
            return soap_call(url, action, body, {"auth:authentication": proof})

        return self._tokens.ask(client, request)

    def _grant(self, client: Client) -> Token:
        """Log in (getAuth): DPD allows it ten times a day, and hands out the same token until its end."""
        settings = self.settings
        asked = {
            "@xmlns:login": _LOGIN, "delisId": settings.delis_id, "password": settings.password.get_secret_value(),
            "messageLanguage": settings.language,
        }  # fmt: skip
        action = f"{_COMMON}/LoginService/2.1/getAuth"
        sent = client.send(soap_call(f"{settings.base_url}/{settings.login}", action, {"login:getAuth": asked}))
        answer, where = polls.inside(decode_xml(sent.body), "Envelope", "Body", "getAuthResponse", "return")
        if not (token := text(answer.get("authToken"))):
            raise BadPayload(f"{where}.authToken", "is missing")
        try:
            ends = moment(answer.get("authTokenExpires"), f"{where}.authTokenExpires")
        except BadPayload:
            return Token(token, client.now() + timedelta(days=1))  # "valid for exactly 24 hours"
        return Token(token, ends if ends.tzinfo else ends.replace(tzinfo=UTC))

    def _meant(self, fault: Fault) -> SourceError | None:
        """Say what the detail of a fault means (authenticationFault, faults); None where it has none and its words tell no code."""
        login, code, message = _detail(fault)
        said = f"DPD says: {': '.join(filter(None, (code, message or fault.words)))[:200] or 'no reason given'}"
        words = f"{code} {message} {fault.words}"
        if throttled(words) or "too many" in words.lower():
            return RateLimited(said)
        if login or any(known in words for known in _TOKENS):
            return CredentialsRejected(said)
        if any(word.lower() in words.lower() for word in self.settings.not_found if word):
            return NotFound(said)
        return NumberRefused(said) if code or message else None


class NumberRefused(Refused):
    """DPD refuses to tell of one number, and says why."""


def _detail(fault: Fault) -> tuple[bool, str, str]:
    """Return whether the detail of a fault is about a login, and its code and message."""
    for name, said in fault.detail.items():
        if isinstance(said, dict):
            code, message = (
                next((text(said[key]) for key in keys if text(said.get(key))), "")
                for keys in (("errorCode", "faultCode"), ("errorMessage", "message"))
            )
            return name == "authenticationFault", code, message
    return False, "", ""


def _label(number: str) -> str:
    """Return the 14 digits by which DPD's services know a parcel, of a barcode (28) or of what is printed below it (15)."""
    found = _BARCODE.fullmatch(number)
    return (found[1] or found[2]) if found else number


def _about(number: str, answer: bytes) -> bytes:
    """Return an answer whose envelope says about which number was asked: nothing else in it does."""
    if answer[:2] in (b"\xff\xfe", b"\xfe\xff"):
        answer = re.sub(rb"<\?xml[^>]{0,200}\?>", b"", answer.decode("utf-16", "replace").encode(), count=1)
    asked = f"<asked>{escaped(number)}</asked>".encode()
    return _ENVELOPE.sub(lambda found: found[0] + asked, answer, count=1)

"""GLS Group: Track And Trace V1 (poll; up to 10 numbers a call).

Contract: ecitrackandtrace.yaml 1.0.7 and authentication-service-v2.yaml (dev-portal.gls-group.net), read 2026-11. An event's code has two
halves (`DELIVD.PARCELSHOP`, and `INTIAL.PREADVICE`, spelt so). Of the codes the contract prints a few; of the others third parties tell what the
first half means (space `prefix`). The status at the head says it more coarsely: it counts where no event that is known tells as much.
What was brought to a parcel shop waits there (DELIVEREDPS). Data that was deleted (CANCEL) is no cancellation: such parcels go on. Errors about
one number come inside HTTP 200. Times carry an offset without a colon. The national companies of GLS have APIs of their own, which are not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import NOWHERE, Code, Meaning, Page, Parcels, Payload, Query, Report, Scan, Unread
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import TrackingState
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json, retry_after
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits
from tracker.plugin.oauth import Tokens, ask_token, bearer, token_call
from tracker.plugin.payloads import (
    about,
    coded,
    decode,
    leniently,
    listing,
    located,
    mapping,
    number,
    optional,
    pieces,
    printed,
    scanned_at,
    several,
    term,
    text,
    told,
    with_head,
    word,
)

Reading = Callable[[Code], Meaning | None]

_COARSE = frozenset({"PREADVICE", "INTRANSIT", "INWAREHOUSE"})  # say less than any event does
# brought there, or collected there? and who has it again was not its recipient
_AT_A_SHOP = re.compile(r"shop|locker|parcel ?box|paketbox|packstation|\bsender|return", re.IGNORECASE)
_DELETED = ("CANCEL", "43.0")  # codes of data that was deleted
_NEW_CODES = 5  # that `tracker check` names


class Settings(contracts.Settings):
    """One app of GLS' developer portal, with the APIs Authentication and Track And Trace V1: its `client_id` and `client_secret`.

    `base_url`: https://api-sandbox.gls-group.net answers test data. `token_path`: the two contracts name different versions of it
    (/oauth2/v1/token in that of Track And Trace: unverified). `language` of the words that come with scans.
    """

    base_url: str = "https://api.gls-group.net"
    token_path: str = "/oauth2/v2/token"
    client_id: str
    client_secret: SecretStr
    language: str = Field("EN", pattern=r"^[A-Z]{2}$")


class GLS(contracts.Carrier):
    """GLS parcels."""

    docs = "https://dev-portal.gls-group.net/"
    unverified = (
        "what event codes mean that its contract does not print: third parties' words for their first half",
        "the version of its token call: `token_path`",
    )
    asks = frozenset({Parcels})
    carriers = ("gls",)
    response_keys = ("parcels", ASKED)
    batch = 10
    codes = read_codes(__file__)
    default_zone = "Europe/Berlin"
    limits = Limits(500, timedelta(days=1), tokens="free")  # tokens: 100,000 a day of their own
    token_lasts = timedelta(hours=4)
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code, of an event whose second half is not known the first half.

        Not of a delivery that is about a shop, a locker or the sender: it may wait there, be collected, or be back; the status beside it decides.
        """
        known = self.codes.get((code.space, code.code))
        return known if known is not None else self._by_half(code)

    def _by_half(self, code: Code) -> Meaning | None:
        get, said = self.codes.get, code.code.upper()
        known = get((code.space, said))
        if known is not None or code.space != "event":
            return known
        first = said.partition(".")[0]
        if first == "DELIVD" and (self.settings.language != "EN" or _AT_A_SHOP.search(f"{said} {code.text}")):
            return None  # in another language a shop may be called anything
        return get(("prefix", first))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer: one report a parcel; a number of a notification card may stand for several."""
        unread: list[Unread] = []
        found = pieces(_listed(payload.body, "parcels"), "$.parcels", _parcel, unread, self.meaning, lacks="all")
        reports = [report for of_one in found for report in of_one]
        reports += [Report("gls", one, tracking=TrackingState.NOT_FOUND) for one in left_out(payload, reports, unread)]
        return told(reports, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; a fault of the gateway stays one when it comes with 200, and a quota that is used up is one whatever its status.

        Who may not call this API is told so by 401 with a page of HTML (third parties); 404 is a call that GLS does not serve, as what is
        not known of a number stands inside the answer.
        """
        body = response.body
        if b"policies.ratelimit" in body and response.status >= 400:
            raise RateLimited(f"HTTP {response.status}: {_fault(body)}", retry_after(response))
        if response.status == 401:
            said = (
                _fault(body)
                or "GLS does not let this app call it: add Track And Trace V1 to it in the developer portal"
            )
            raise CredentialsRejected(f"HTTP 401: {said}")
        if response.status == 404 and b"No static resource" in body:
            raise Refused("HTTP 404: GLS serves no such call: is `base_url` right?")
        if response.status < 300 and (said := _fault(body)):
            raise Transient(f"HTTP {response.status} with an error: {said}")
        raise_unless_json(response, errors=("fault",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /track-and-trace-v1/tracking/simple/trackids/{numbers}, with all events."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), self.batch):
            numbers = [clean(parcel.number) for parcel in query.parcels[start : start + self.batch]]
            try:
                body = self._get(client, f"simple/trackids/{','.join(map(segment, numbers))}").body
            except NotFound as error:  # "Wrong Call", and no number's: what is not known of one is said with 200
                raise Transient(f"{error}: nothing of GLS answers there: is `base_url` right?") from None
            yield Page((body, beside(numbers)))

    def ping(self, client: Client) -> None:
        """Ask for the list of event codes: it needs what a poll needs."""
        self._event_codes(client)

    def look_around(self, client: Client) -> Iterator[str]:
        """Tell which of the event codes that GLS lists have no meaning here."""
        new = [code for code in self._event_codes(client) if self.meaning(code) is None]
        if new:
            some = ", ".join(f"{code.code} ({code.text})" for code in new[:_NEW_CODES])
            more = f", and {len(new) - _NEW_CODES} more" if len(new) > _NEW_CODES else ""
            yield f"event codes of GLS without a meaning: {some}{more}; say one by `codes: {{event/{new[0].code}: {{status: ...}}}}`"

    def _event_codes(self, client: Client) -> list[Code]:
        """GET /tracking/events/codes: all that GLS may say. Raises Transient for an answer that is no list of them."""
        body = holding(self._get(client, "events/codes").body, "eventsCodes")
        rows = [mapping(row, "$.eventsCodes") for row in _listed(body, "eventsCodes")]
        return [Code("event", text(row.get("code")), text(row.get("description"))) for row in rows]

    def _get(self, client: Client, path: str) -> Response:
        headers = {"Accept": "application/json", "Accept-Language": self.settings.language}
        url = f"{self.settings.base_url}/track-and-trace-v1/tracking/{path}"
        return self._tokens.send(client, Request("GET", url, headers=headers), bearer)

    def _grant(self, client: Client) -> Token:
        """POST the token call, with Basic (authentication-service-v2.yaml)."""
        settings = self.settings
        url, form = f"{settings.base_url}{settings.token_path}", {"grant_type": "client_credentials"}
        basic = (settings.client_id, settings.client_secret.get_secret_value())
        return ask_token(client, token_call(url, form, basic=basic))[0]


def _listed(body: bytes, name: str) -> list[Any]:
    """Return the list of an answer. Raises BadPayload where it is none: that says nothing, which is not "no news"."""
    found = several(decode(body).get(name))
    if found is None:
        raise BadPayload(f"$.{name}", "is missing")
    return listing(found, f"$.{name}")


def _fault(body: bytes) -> str:
    """Return what the gateway says (`fault.faultstring`), or nothing."""
    fault = leniently(body).get("fault")
    return text(fault.get("faultstring")) if isinstance(fault, dict) else ""


def _parcel(parcel: dict[str, Any], unread: list[Unread], meaning: Reading) -> list[Report]:
    get = parcel.get
    asked, theirs = get("requested"), get("unitno")
    mine = number(asked or theirs, "$.requested")
    piece = None  # of a track id, or a card that may stand for several: its own number
    if theirs != asked and (own := optional(number, theirs, "$.unitno", unread)) != mine:
        piece = own
    scans: Sequence[Scan] = pieces(several(get("events")), "$.events", _event, unread)
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    status = term(get("status"), "$.status", unread)
    error = term(get("errorCode"), "$.errorCode", unread)
    why = ": ".join(filter(None, (error, text(get("errorMessage"))))) if error else ""
    said = ""
    state = TrackingState.ACTIVE
    if status:
        head = Scan(Code("status", status[:100]), *printed(get("statusDateTime"), "$.statusDateTime", unread))
        scans = with_head(scans, head, meaning) if _tells_more(head, scans, meaning) else scans
        said = "" if scans else status  # FINAL, and nothing of what it was
        whole = whole and status != "FINAL"  # which takes the place of the status that was told before
    elif error and not scans:
        state = TrackingState.NOT_FOUND if error.startswith("E_404") else TrackingState.ERROR
        said = why
    elif not scans:
        if not unread:
            unread.append(Unread("$.events", "is missing"))
        about(mine, unread)
        return []
    if error and scans:
        unread.append(Unread("$.errorCode", f"says {why:.80} beside what is told"))
    if unread:
        about(mine, unread)
    return [Report("gls", mine, tuple(scans), tracking=state, complete=whole, piece=piece, said=said)]


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    try:
        said = coded("event", get("code"), get("description"))
        place = located(get("city"), None, get("postalCode"), get("country"))
    except TypeError:  # one of them is an object or a list
        said, place = None, NOWHERE
    return Scan(said or _odd_code(event, unread), *printed(get("eventDateTime"), "$.eventDateTime", unread), place)


def _odd_code(event: dict[str, Any], unread: list[Unread]) -> Code:
    """Take the number of an older interface where there is no code; a scan without any is kept, as UNKNOWN."""
    space, code = "event", optional(word, event.get("code"), "$.code", unread)
    if not code and (code := optional(word, event.get("codeNo"), "$.codeNo", unread)):
        space = "codeNo"
    if not code and not unread:
        unread.append(Unread("$.code", "is missing"))
    return Code(space, code or "missing", text(event.get("description")))


def _tells_more(head: Scan, scans: Sequence[Scan], meaning: Reading) -> bool:
    """Say whether the status tells what no event does: the newest is not known, or all are older and it is no coarse one.

    Events that move nothing do not count: the status is told on beside them.
    """
    if scans and _newest_tells(head, scans, meaning):
        return False
    stands = head.code.code.upper()
    if stands == "CANCELED" and any(scan.code.code.upper().startswith(_DELETED) for scan in scans):
        return False  # the data was deleted, which ends no journey
    read = [(scanned_at(scan), meaning(scan.code)) for scan in scans]
    told_by = [(at, says is None) for at, says in read if says is None or says.status is not None]
    if not told_by:
        return True
    newest, unknown = max(told_by)
    return unknown or (stands not in _COARSE and scanned_at(head) > newest)


def _newest_tells(head: Scan, scans: Sequence[Scan], meaning: Reading) -> bool:
    """Say whether the first event alone, usually the newest, shows that the status tells nothing more."""
    says, at = meaning(scans[0].code), scanned_at(scans[0])
    alone = len(scans) == 1 or scanned_at(scans[1]) < at
    return alone and says is not None and says.status is not None and scanned_at(head) <= at

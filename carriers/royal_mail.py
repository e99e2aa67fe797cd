"""Royal Mail Tracking API v2 (poll: summaries of up to 30 numbers a call, the events of one; signatures).

Contract: tracking-v2-swagger.yaml 1.0.36 (developer.royalmail.net), read 2026-11; event codes: third parties' lists, `royal_mail.csv`. A summary
tells the newest event of each number, and its own error inside HTTP 200. So of several numbers the summary is asked for, and the events
of those whose newest event is another than is known; a summary withdraws nothing. Event names are texts for customers ("In Transit" for five codes):
the codes are read. Scans at a mail centre come after a delivery while the summary still says delivered (printed by docs.digitalgenius.com): they move
nothing (space `after`). Times are ISO 8601 with an offset. `locationName` may be null. No limit of calls is published, and no push.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, time
from functools import lru_cache, partial
from typing import Any, Literal
from zoneinfo import ZoneInfo

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
    Link,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Proof,
    ProofDocument,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Reason, ShippingStatus, TrackingState
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_unless_json, retry_after
from tracker.plugin.asked import ASKED, asked, beside
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.payloads import (
    about,
    absent,
    coded,
    decode,
    estimate,
    leniently,
    located,
    moment,
    number,
    objects,
    odd_code,
    optional,
    pieces,
    printed,
    scanned_at,
    section,
    several,
    text,
    told,
    with_head,
    word,
)
from tracker.plugin.proofs import read_document, svg_document

_ZONE = ZoneInfo("Europe/London")
_NOT_YET = frozenset({"E1142", "E1307", "E1308"})  # not recognised, no update yet: normal in the first hours
_NEVER = frozenset({"E1283", "E1284"})  # tracking is not available for this product
_NO_PROOF = frozenset({"E1144", "E1145"})
_OF_A_NUMBER = _NOT_YET | _NEVER | _NO_PROOF
_TOO_MANY = "E0010"
_MOVEMENT = frozenset({ShippingStatus.IN_TRANSIT, ShippingStatus.EXCEPTION})  # of mail centres and offices
_AFTER = Meaning(None, Reason.POST_DELIVERY_EVENT)
_BARCODES = ("oneDBarcode", "uniqueItemId")
_EXAMPLE = "FQ087430672GB"  # the number of the contract's own examples


class Settings(contracts.Settings):
    """One application of Royal Mail's developer portal that is subscribed to the Tracking API v2: its `client_id` and `client_secret`."""

    base_url: str = "https://api.royalmail.net"
    client_id: str
    client_secret: SecretStr


class RoyalMail(contracts.Carrier):
    """Royal Mail's letters and parcels."""

    docs = "https://developer.royalmail.net/"
    unverified = ("what its event codes mean: third parties' lists", "how many calls it allows: no document says it")
    asks = frozenset({Parcels})
    carriers = ("royalmail",)
    response_keys = ("mailPieces", "errors", ASKED)
    batch = 30
    proves = True
    codes = read_codes(__file__)
    default_zone = "Europe/London"
    Settings = Settings

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code; a scan of a movement after the delivery moves nothing."""
        known = self.codes.get((code.space, code.code))
        if known is not None:
            return known
        if code.space == "after":
            return _AFTER if ("event", code.code) in self.codes else None
        return self.codes.get((code.space, code.code.upper()))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read a summary (a list), the events of one number (an object), or the error about one, which is named in the second part."""
        body, unread = decode(payload.body), list[Unread]()
        if len(payload.parts) > 1:  # an error says nothing of its number: that is told beside it
            body = {**body, **decode(payload.parts[1])}
        said = _errors(body.get("errors"))
        found, wanted = several(body.get("mailPieces")), frozenset(asked(payload))
        if found is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.mailPieces", "is missing")
        where = "$.mailPieces"
        return told(pieces(found, where, partial(_piece, self, said, wanted), unread, lacks="all"), unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error that is about one number is news of it, and an answer where it names its numbers.

        Raises NotFound for a number that is not known (E1142) or has no update yet (E1307, E1308), and for a proof that is not there;
        RateLimited for E0010, whatever its status.
        """
        status, body = response.status, response.body
        said = {}
        if b'"errorCode"' in body and (status >= 400 or b'"mailPieces"' not in body):
            not_html(response)
            answer = leniently(body)
            said = _errors(answer.get("errors"))
            if said and said.keys() <= _OF_A_NUMBER and (answer.get("mailPieces") or said.keys() <= _NEVER):
                return
        words = _words(said)
        if _TOO_MANY in said:
            raise RateLimited(words, retry_after(response))
        if said and said.keys() <= _OF_A_NUMBER:
            raise NotFound(words)
        if status == 400 and words:
            raise Refused(f"HTTP 400: {words}")
        if status == 404 and not said:  # of the gateway: whatever is not known of a number has its code
            raise Transient("HTTP 404 without an error of Royal Mail: is `base_url` right?")
        if status in (401, 403):
            not_html(response)
            gateway = leniently(body)
            why = words or text(gateway.get("moreInformation")) or text(gateway.get("httpMessage"))
            known = (
                "is the application subscribed to Royal Mail Tracking v2?"
                if status == 403
                else "is the client secret right?"
            )
            raise CredentialsRejected(f"HTTP {status}: {why.rstrip('.') or 'no reason given'}: {known}")
        raise_unless_json(response, errors=("httpCode",))
        raise_unless_json(response, errors=("errors",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /mailpieces/v2/summary?mailPieceId=..., then GET /mailpieces/v2/{mailPieceId}/events of those that have news; of one alone its events."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), self.batch):
            parcels = query.parcels[start : start + self.batch]
            if len(parcels) == 1:
                yield self._events(client, clean(parcels[0].number))
                continue
            numbers = [clean(parcel.number) for parcel in parcels]
            newest: dict[str, datetime | Literal[False] | None] = {}
            with suppress(NotFound):  # of whom it speaks is not said: each is asked about alone
                body = self._get(client, "summary", {"mailPieceId": ",".join(numbers)}).body
                yield Page((body, beside(numbers)))
                newest = _newest(body)
            for parcel, mine in zip(parcels, numbers, strict=True):
                at = newest.get(mine)
                if at is False or (at is not None and at == parcel.last_scan_at):
                    continue
                try:
                    yield self._events(client, mine)
                except NotFound:
                    if mine not in newest:  # else what the summary tells of it is read
                        yield Page((orjson.dumps({"mailPieces": [{"mailPieceId": mine, "status": "404"}]}),))

    def _events(self, client: Client, mine: str) -> Page:
        response = self._get(client, f"{segment(mine)}/events", {})
        if response.status < 400:
            return Page((response.body, beside([mine])))
        return Page((response.body, orjson.dumps({"mailPieces": [{"mailPieceId": mine}]})))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """GET /mailpieces/v2/{mailPieceId}/signature: a drawing as SVG, or a PNG in base64."""
        where = "$.mailPieces.signature"
        body = decode(self._get(client, f"{segment(clean(parcel.number))}/signature", {}).body)
        mine = several(body.get("mailPieces"))
        first = mine[0] if isinstance(mine, list) and mine else None
        found = first.get("signature") if isinstance(first, dict) else None
        if not isinstance(found, dict) or not found.get("image"):
            raise NotFound("the answer holds no signature")
        if "svg" in text(found.get("imageFormat")):
            return svg_document(found["image"], f"{where}.image")
        return read_document(found["image"], f"{where}.image")

    def ping(self, client: Client) -> None:
        """Ask for the summary of the contract's own example: whether it is known or not, an answer about it proves the key."""
        with suppress(NotFound):  # in its own words
            holding(self._get(client, "summary", {"mailPieceId": _EXAMPLE}).body, "mailPieces")

    def _get(self, client: Client, path: str, params: dict[str, str | tuple[str, ...]]) -> Response:
        settings = self.settings
        headers = {
            "Accept": "application/json",
            "X-IBM-Client-Id": settings.client_id,
            "X-IBM-Client-Secret": settings.client_secret.get_secret_value(),
            "X-Accept-RMG-Terms": "yes",
        }
        return client.send(Request("GET", f"{settings.base_url}/mailpieces/v2/{path}", params, headers))


def _errors(value: Any) -> dict[str, str]:
    """Return what errors say, by code: a list of them, or one."""
    return {code: text(one.get("errorDescription")) for one in objects(value) if (code := text(one.get("errorCode")))}


def _words(said: dict[str, str]) -> str:
    return "; ".join(f"{code}: {words}" if words else code for code, words in said.items())


def _newest(body: bytes) -> dict[str, datetime | Literal[False] | None]:
    """Return when the newest event of each number was that a summary tells of: None where it does not say, False where nothing is known of it."""
    newest: dict[str, datetime | Literal[False] | None] = {}
    for one in objects(leniently(body).get("mailPieces")):
        summary, mine = one.get("summary"), text(one.get("mailPieceId")).upper()
        newest[mine] = False
        if isinstance(summary, dict) and summary:
            newest[mine] = optional(moment, summary.get("lastEventDateTime"), "$", [])
    return newest


def _piece(
    source: RoyalMail, said: dict[str, str], wanted: frozenset[str], piece: dict[str, Any], unread: list[Unread]
) -> Report:
    get = piece.get
    mine = number(get("mailPieceId"), "$.mailPieceId")
    summary = section(get("summary"), "$.summary", unread)
    if wanted and mine not in wanted:  # a piece has two barcodes, and is told of by either
        both = (text(summary.get(name)).upper() for name in _BARCODES)
        mine = next((one for one in both if one in wanted), mine)
    scans: Sequence[Scan] = pieces(several(get("events")), "$.events", _event, unread)
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    if not summary and not scans:
        return _without_history(mine, piece, said, unread)
    head = _head(summary, unread) if summary else None
    if head is not None:
        if text(summary.get("statusCategory")).upper() == "DELIVERED":  # it was delivered before that
            head = _after(head, source)
        scans = _with_head(scans, head, source) if scans else (head,)
    elif not scans and not unread:
        unread.append(Unread("$.summary.lastEventCode", "is missing"))
    signed = get("signature") is not None and _signed(section(get("signature"), "$.signature", unread))
    edd = _estimate(section(get("estimatedDelivery"), "$.estimatedDelivery", unread), unread)
    unique = optional(number, summary.get("uniqueItemId"), "$.summary.uniqueItemId", unread)
    links: tuple[Link, ...] = ()
    if (provider := summary.get("internationalPostalProvider")) is not None:
        links = _links(section(provider, "$.summary.internationalPostalProvider", unread), mine, source)
    if unread:
        about(mine, unread)
    return Report(
        "royalmail", mine, tuple(scans), complete=whole, edd=edd, proof=Proof(signed=True) if signed else None, links=links,
        piece=unique if unique != mine else None,
    )  # fmt: skip


def _without_history(mine: str, piece: dict[str, Any], said: dict[str, str], unread: list[Unread]) -> Report:
    """Read why nothing is told of a number: by its own error, by that of the whole answer, by its status."""
    own = _errors(piece.get("error")) or _errors(piece.get("errors")) or said
    status = text(piece.get("status")) or str(piece.get("status") or "")
    if own.keys() & _NOT_YET or (status == "404" and not own.keys() & _NEVER):
        state = TrackingState.NOT_FOUND
    elif own.keys() & _NEVER:
        state = TrackingState.UNSUPPORTED
    elif own or status not in ("", "200"):
        state = TrackingState.ERROR
    else:
        raise BadPayload("$.summary", "is missing")
    if unread:
        about(mine, unread)
    return Report("royalmail", mine, tracking=state, said=_words(own) or f"status {status}")


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    try:
        said, place = coded("event", get("eventCode"), get("eventName")), located(get("locationName"))
    except TypeError:  # one of them is an object or a list
        said, place = None, NOWHERE
    if said is None:  # an event need not hold one (eventsEventsDef), but what it was is not known
        said = Code("event", odd_code(get("eventCode"), "$.eventCode", unread), text(get("eventName")))
    return Scan(said, *printed(get("eventDateTime"), "$.eventDateTime", unread), place)


def _head(summary: dict[str, Any], unread: list[Unread]) -> Scan | None:
    """Read the newest event as the summary tells it; None where it tells none."""
    get = summary.get
    code = optional(word, get("lastEventCode"), "$.summary.lastEventCode", unread)
    when = printed(get("lastEventDateTime"), "$.summary.lastEventDateTime", unread)
    if code is None and when[0] is None:
        return None
    return Scan(
        Code("event", code or "missing", text(get("lastEventName"))), *when, located(text(get("lastEventLocationName")))
    )


def _with_head(scans: Sequence[Scan], head: Scan, source: RoyalMail) -> Sequence[Scan]:
    """Add what the summary tells beyond the events; where it stands at an end, movements after it are no movements."""
    says, at = source.meaning(head.code), scanned_at(head)
    if says is not None and says.status is not None and says.status.terminal and head.local is not None:
        if any(scanned_at(scan) > at for scan in scans):
            scans = [_after(scan, source) if scanned_at(scan) > at else scan for scan in scans]
    if any(scan.code.code == head.code.code and scan.local == head.local for scan in scans):
        return scans
    return with_head(scans, head, source.meaning)


def _after(scan: Scan, source: RoyalMail) -> Scan:
    says = source.meaning(scan.code)
    if says is None or says.status not in _MOVEMENT:
        return scan
    return replace(scan, code=replace(scan.code, space="after"))


def _signed(signature: dict[str, Any]) -> bool:
    return any(signature.get(name) for name in ("recipientName", "imageId", "signatureDateTime"))


def _estimate(told_so: dict[str, Any], unread: list[Unread]) -> Edd | None:
    """Read the estimated day, and its window where there is one; a window that cannot be read is told, and costs itself only."""
    get = told_so.get
    if absent(day := get("date")):
        return None
    try:
        return _span(day, get("startOfEstimatedWindow"), get("endOfEstimatedWindow"))
    except TypeError:  # an object or a list
        unread.append(Unread("$.estimatedDelivery", "must hold texts"))
        return None
    except BadPayload as error:
        unread.append(Unread(error.where, error.problem))
        return None if error.where.endswith(".date") else _span(day, None, None)


@lru_cache(maxsize=1_000)
def _span(day: Any, begins: Any, ends: Any) -> Edd:
    """Return an estimate as it is printed: `2017-02-20`, `08:00:00+01:00`. Raises BadPayload, TypeError for what is no text."""
    at = "$.estimatedDelivery"
    date = moment(day, f"{at}.date").date()
    clocks = [
        moment(clock if not isinstance(clock, str) else f"{date}T{clock}", f"{at}.{name}")
        for name, clock in (("startOfEstimatedWindow", begins), ("endOfEstimatedWindow", ends))
        if not absent(clock)
    ]
    found = [one if one.tzinfo else one.replace(tzinfo=_ZONE) for one in clocks]
    if absent(begins):
        found.insert(0, datetime.combine(date, time(), _ZONE))
    return estimate(*found)


def _links(provider: dict[str, Any], mine: str, source: RoyalMail) -> tuple[Link, ...]:
    """Link to the post that goes on with it abroad, under the same number (S10), where its name is known."""
    carrier = source.carrier_of(text(provider.get("title"))) if provider else None
    return (Link(mine, carrier, "last_mile"),) if carrier not in (None, "royalmail") else ()

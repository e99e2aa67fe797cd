"""FedEx Track v1: polls of up to 30 numbers, signed pushes of Advanced Integrated Visibility (AIV), proofs of delivery.

Contract: track.json and authorization_v1.json; codes: tracking_status_codes.csv and webhook_event_codes.csv of the reference guides,
`fedex.csv`; pushes, retries and limits: developer.fedex.com (shipment-visibility-webhook/docs, guides/ratelimits); read 2026-11.
Errors about one number come inside HTTP 200, or with 400 for the whole call. `DE` and `SE` mean little without the exception code
beside them, whose leading zeros are part of it: `07` and `007` are two things. Freight has a space of its own: parcels' exception
codes are not read there. A push is an answer of Track v1 in an envelope that counts its attempts. Times without offset are local to
the scan's place, never UTC. `latestStatusDetail` is the status at the head; its time stands in `dateAndTimes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Edd,
    Link,
    Meaning,
    Missed,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    ProofDocument,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import Precision, ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_unless_json, retry_after, said_by
from tracker.plugin.asked import ASKED, asked, beside
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Secrets
from tracker.plugin.oauth import Tokens, ask_token, bearer, token_call
from tracker.plugin.payloads import (
    about,
    decode,
    estimate,
    listing,
    mapping,
    moment,
    number,
    optional,
    piece,
    pieces,
    printed,
    section,
    term,
    text,
    told,
    with_head,
)
from tracker.plugin.proofs import read_document
from tracker.plugin.signatures import hmac_base64, hmac_hex

Reading = Callable[[Code], Meaning | None]

_BY_REASON = frozenset({"DE", "SE"})
_REFINED = _BY_REASON | {"DD", "DY"}  # a delay may say of which kind it is
_FREIGHT = frozenset({"FXFR", "FEDEX_FREIGHT", "FDFR"})  # carrierCode of track.json
_MIDNIGHT = time()
_WHEN = {  # dateAndTimes[].type that tells when the head's status began (track.json, TrackingDateAndTime)
    ShippingStatus.PICKED_UP: "ACTUAL_PICKUP",
    ShippingStatus.DELIVERY_ATTEMPTED: "ATTEMPTED_DELIVERY",
    ShippingStatus.DELIVERED: "ACTUAL_DELIVERY",
}
_READ = frozenset({*_WHEN.values(), "ESTIMATED_DELIVERY"})
_RELATIONS = {  # packageIdentifiers[].type (track.json, PackageIdentifier); None: the partner is not named
    "RETURNED_TO_SHIPPER_TRACKING_NUMBER": ("return", "fedex"),
    "OUTBOUND_LINK_TO_RETURN": ("return", "fedex"),
    "REROUTE_TRACKING_NUMBER": ("replaces", "fedex"),
    "STANDARD_MPS": ("main", "fedex"),
    "PARTNER_CARRIER_NUMBER": ("last_mile", None),
}
SIGNATURE = "fdx-signature"
_OF_THE_ATTEMPT = frozenset({"outputMetaData", "transactionId", "customerTransactionId"})
WINDOW = timedelta(seconds=10)  # 1,400 transactions of a project in it
SHUT_OUT = timedelta(minutes=10)  # an address that asks for tokens too often
KNOWN = "122816215025810"  # a number of the reference guide's mock list: what production says of it does not matter
AGAIN = (
    "FedEx keeps what it could not push for seven days and sends it again once somebody starts the retry on the webhook project in"
    " its Developer Portal; the setting `retry_path` does it where the project has a call for it. Polls ask about each parcel meanwhile"
)


class Settings(contracts.Settings):
    """One FedEx project. `base_url`: https://apis-sandbox.fedex.com answers canned data.

    `webhook_secrets`: the security token of the webhook project (Advanced Integrated Visibility). `retry_path`: the call that has
    FedEx send again what it could not push, if the project has one: its pages name none (unverified), it is started in the portal.
    `proof_types`: the documents that are asked for as proof of a delivery, until there is one; the letter with the signature is the
    one that track.json names (pictures come by pushes; whether they can be asked for is unverified: PICTURE_PROOF_OF_DELIVERY).
    """

    base_url: str = "https://apis.fedex.com"
    client_id: str
    client_secret: SecretStr
    locale: str = "en_US"
    webhook_secrets: Secrets = ()
    retry_path: str = ""
    proof_types: tuple[str, ...] = ("SIGNATURE_PROOF_OF_DELIVERY",)


class FedEx(contracts.Carrier):
    """FedEx parcels."""

    docs = "https://developer.fedex.com/api/en-us/catalog/track/v1/docs.html"
    unverified = (
        "which call has its queue of missed events sent again: `retry_path`",
        "whether the picture of a delivery can be asked for: `proof_types`",
        "that freight speaks the list of Track v1, and what its exception codes are",
    )
    asks = frozenset({Parcels})
    carriers = ("fedex",)
    response_keys = ("completeTrackResults", "errors", "trackingNumber", ASKED)
    webhooks = True
    max_body = 8 << 20  # a push with the picture of a delivery in it
    batch = 30
    proves = True
    codes = read_codes(__file__)
    default_zone = "America/Chicago"
    limits = Limits(1400, WINDOW, tokens="counted")
    token_lasts = timedelta(hours=1)
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)
        self.resends = timedelta(days=7) if self.settings.webhook_secrets else None

    def verify(self, payload: Payload) -> int:
        """Check `fdx-signature`, the base64 HMAC-SHA256 of the raw body; its guide says hexadecimal once, so that is taken too."""
        given = payload.headers.get(SIGNATURE, "").strip()
        check = hmac_hex if len(given) == 64 else hmac_base64  # base64 of 32 bytes has 44
        return check(self.settings.webhook_secrets, payload.body, given, name=SIGNATURE)

    def odd(self, headers: Mapping[str, str]) -> str | None:
        """Say that a push is signed in hexadecimal: the guide's example is base64."""
        given = headers.get(SIGNATURE)
        odd = "its pushes are signed in hexadecimal, not in base64"
        return None if given is None else odd if len(given.strip()) == 64 else ""

    def dedupe_key(self, payload: Payload) -> str:
        """Hash what the body tells, without `outputMetaData` (it counts the attempts) and ids of a transaction; there is no event id."""
        try:
            body = decode(payload.body)
        except BadPayload:
            return super().dedupe_key(payload)
        told_so = {name: value for name, value in body.items() if name not in _OF_THE_ATTEMPT}
        return hashlib.sha256(orjson.dumps(told_so)).hexdigest()

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code; of `DE` and `SE` the reason beside it, then its wording; customs codes have a space of their own.

        Codes that pushes use for something else than polls (`DY` is "Delay" or "Delivery updated") are told apart by their words.
        """
        base, _, why = code.code.partition(":")
        get = self.codes.get
        if not why:
            said = get(("said", f"{base}:{code.text.casefold()}")) if base in _TWICE and code.text else None
            return said or get(("track", base)) or get(("regulatory", base))
        if base not in _BY_REASON:
            return get(("delay", why)) or get(("track", base))
        known = get(("reason", why)) if code.space == "track" else None
        return known or _by_wording(code.text) or get(("delay", why)) or get(("track", base))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read a Track answer or a push: one report a result; a re-used number has several. A push tells no whole history."""
        body, unread = decode(payload.body), list[Unread]()
        push = payload.kind == "webhook"
        if len(payload.parts) > 1 and b'"trackingNumber"' in payload.parts[1]:  # an error names none: beside it
            mine = number(decode(payload.parts[1]).get("trackingNumber"), "$.trackingNumber")
            first = listing(body.get("errors"), "$.errors")[:1]
            return [_told(mapping(error, "$.errors[0]"), mine, None) for error in first]
        if "output" not in body and "trackResults" in body:  # as third parties receive pushes
            return told(_complete(body, unread, self.meaning, push), unread)
        output = mapping(body.get("output"), "$.output")
        where, found = "$.output.completeTrackResults", output.get("completeTrackResults")
        if found is None:  # it says nothing, which is not "no news"
            raise BadPayload(where, "is missing")
        if found == []:
            raise BadPayload(where, f"is empty: {said_by(orjson.dumps({'errors': output.get('alerts')}))}")
        results = pieces(found, where, _complete, unread, self.meaning, push, lacks="all")
        unread += [Unread(where, "tells nothing of a number that was asked about", mine) for mine in asked(payload)]
        return told([report for of_one_number in results for report in of_one_number], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, with FedEx's own words; an error body (`errors`, track.json ErrorResponseVO) stays one when it comes with 200.

        400 with a code of tracking (`TRACKING.TRACKINGNUMBER.NOTFOUND`) is an answer about the numbers. 429 rests until the window of
        ten seconds ends, or until midnight GMT where the day's quota is spent (guides/ratelimits).
        """
        status = response.status
        if status in (400, 401, 403, 404, 429):
            not_html(response)
            said = said_by(response.body, "")
            words = f"FedEx: HTTP {status}: {said}" if said else f"FedEx: HTTP {status}"
            if status in (400, 404):
                if said.startswith("TRACKING."):
                    return
                raise Refused(words) if status == 400 else NotFound(words)
            if status == 429:
                raise RateLimited(words, _rest(response))
            raise _Forbidden(words) if status == 403 else CredentialsRejected(words)
        raise_unless_json(response, errors=("errors",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST /track/v1/trackingnumbers with detailed scans."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), self.batch):
            yield from self._ask(client, [clean(p.number) for p in query.parcels[start : start + self.batch]])

    def _ask(self, client: Client, numbers: Sequence[str]) -> Iterator[Page]:
        """Ask about numbers together; where one of them makes FedEx refuse all, in halves until it stands alone."""
        try:
            response = self._tokens.send(client, self._inquiry(numbers), bearer)
        except NotFound as error:  # NOT.FOUND.ERROR is of the call, whatever `base_url` says, and no parcel's
            raise Transient(f"{error}: nothing answers at {self.settings.base_url}/track/v1") from None
        if response.status not in (400, 404):
            missing = [mine for mine in numbers if f'"{mine}"'.encode() not in response.body]
            yield Page((response.body, beside(missing)) if missing else (response.body,))
        elif len(numbers) == 1:
            yield Page((response.body, orjson.dumps({"trackingNumber": numbers[0]})))
        else:
            half = len(numbers) // 2
            yield from self._ask(client, numbers[:half])
            yield from self._ask(client, numbers[half:])

    def _inquiry(self, numbers: Sequence[str]) -> Request:
        infos = [{"trackingNumberInfo": {"trackingNumber": mine}} for mine in numbers]
        return self._post("/track/v1/trackingnumbers", {"includeDetailedScans": True, "trackingInfo": infos})

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """POST /track/v1/trackingdocuments (track.json, Full_Schema_SPOD): the letter with the signature, as a PDF in base64."""
        info = {"trackingNumber": clean(parcel.number)} | ({"trackingNumberUniqueId": piece} if piece else {})
        why = ["no document is asked for: `proof_types` is empty"]
        for kind in self.settings.proof_types:
            asked = {
                "trackDocumentDetail": {"documentType": kind, "documentFormat": "PDF"},
                "trackDocumentSpecification": [{"trackingNumberInfo": info}],
            }
            answer = decode(self._tokens.send(client, self._post("/track/v1/trackingdocuments", asked), bearer).body)
            if answer.get("errors"):  # 400 about the number
                why = [said_by(orjson.dumps(answer))]
                continue
            output = mapping(answer.get("output"), "$.output")
            if documents := listing(output.get("document"), "$.output.document"):
                return read_document(documents[0], "$.output.document[0]")
            alerts = listing(output.get("alerts"), "$.output.alerts")
            why = [text(alert.get("code")) for alert in alerts if isinstance(alert, dict)]
        raise NotFound(", ".join(filter(None, why)) or "the answer holds no document")

    def resend(self, client: Client, query: Missed) -> Iterator[Page]:
        """Have FedEx send again what it could not push: to our address, as its page on failures says; what the answer holds is a push too.

        Raises Refused, which says what a person must do, where no call for it is configured.
        """
        if not self.settings.retry_path:
            raise Refused(AGAIN)
        body = self._tokens.send(client, self._post(self.settings.retry_path, {}), bearer).body
        yield Page((body,) if b'"completeTrackResults"' in body else ())

    def _post(self, call: str, asked: Mapping[str, Any]) -> Request:
        headers = {"Content-Type": "application/json", "X-locale": self.settings.locale}
        return Request("POST", f"{self.settings.base_url}{call}", headers=headers, content=orjson.dumps(asked))

    def ping(self, client: Client) -> None:
        """Ask for a token, and with it about a number: only that tells whether the project has the Track API."""
        request = self._inquiry([KNOWN])
        request = replace(request, headers={**request.headers, **bearer(self._grant(client).value)})
        try:
            answer = decode(client.send(request).body)
        except _Forbidden as error:
            raise CredentialsRejected(f"{error} (add the Track API to the project)") from None
        if "errors" not in answer and "completeTrackResults" not in mapping(answer.get("output"), "$.output"):
            raise BadPayload("$.output.completeTrackResults", "is missing")

    def _grant(self, client: Client) -> Token:
        """POST /oauth/token, credentials in the form (authorization_v1.json): wrong ones are 401, an address that asks too often 403."""
        secret = self.settings.client_secret.get_secret_value()
        form = {"grant_type": "client_credentials", "client_id": self.settings.client_id, "client_secret": secret}
        try:
            return ask_token(client, token_call(f"{self.settings.base_url}/oauth/token", form))[0]
        except _Forbidden as error:
            raise RateLimited(f"FedEx gives this address no tokens for a while: {error}", SHUT_OUT) from None


class _Forbidden(CredentialsRejected):
    """403: a call that the project may not make; of the token service, an address that asked too often."""


_TWICE = frozenset(code.partition(":")[0] for space, code in FedEx.codes if space == "said")


def _rest(response: Response) -> timedelta:
    """Return how long to rest after 429: until midnight GMT where its words are of the daily quota, else until the window ends."""
    words = said_by(response.body, "").casefold()
    if not ("quota" in words or "daily" in words):
        return retry_after(response) or WINDOW
    at = response.received_at.astimezone(UTC)
    return (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0) - at


def _told(error: Mapping[str, Any], mine: str, unique: str | None) -> Report:
    said = text(error.get("code"))
    state = TrackingState.NOT_FOUND if "NOTFOUND" in said.replace(".", "") else TrackingState.ERROR
    words = ": ".join(filter(None, (said, text(error.get("message")))))
    return Report("fedex", mine, tracking=state, piece=unique, said=words)


@lru_cache(maxsize=1000)
def _by_wording(said: str) -> Meaning | None:
    """Read the exception's own words, for the many reason codes that no list tells (English, as `locale` asks by default)."""
    said = said.casefold()
    return next((m for (space, words), m in FedEx.codes.items() if space == "wording" and words in said), None)


def _complete(complete: dict[str, Any], unread: list[Unread], meaning: Reading, push: bool) -> list[Report]:
    """Read what is told of one number. A push may lack the number here: each result holds it too."""
    given = complete.get("trackingNumber")
    mine = "" if push and given is None else number(given, "$.trackingNumber")
    if not (results := complete.get("trackResults")) and results in (None, []):
        unread.append(Unread("$.trackResults", "is missing, or empty"))
    reports = pieces(results, "$.trackResults", _result, unread, mine, meaning, push, lacks="" if mine else "all")
    if unread and mine:
        about(mine, unread)
    return reports


def _result(result: dict[str, Any], unread: list[Unread], mine: str, meaning: Reading, push: bool) -> Report:
    get = result.get
    space, unique = "track", None
    if (info := get("trackingNumberInfo")) is not None:
        at = "$.trackingNumberInfo"
        info = section(info, at, unread)
        unique = term(info.get("trackingNumberUniqueId"), f"{at}.trackingNumberUniqueId", unread) or None
        space = "freight" if text(info.get("carrierCode")) in _FREIGHT else space
    if not mine:
        mine = number((info or {}).get("trackingNumber"), "$.trackingNumberInfo.trackingNumber")
    events: Any = get("scanEvents")
    scans: Sequence[Scan] = pieces(events, "$.scanEvents", _event, unread, space)
    whole = bool(scans) and not unread and not push  # a history that lacks a scan, or the time of one, withdraws none
    if (error := get("error")) is not None and any(map(text, section(error, "$.error", unread).values())) and not scans:
        return _told(error, mine, unique)
    dates = dict(pieces(get("dateAndTimes"), "$.dateAndTimes", _dated, unread))
    latest = get("latestStatusDetail")
    if latest is not None and not (scans and _same(latest, events[0], meaning)):
        head = piece(latest, "$.latestStatusDetail", _head, unread, dates, meaning, space)
        scans = with_head(scans, head, meaning) if head is not None else scans
    proof = _proof(get("deliveryDetails"), get("availableImages"), unread)
    frame = get("estimatedDeliveryTimeWindow")
    edd = _estimate(frame, dates, unread) if frame is not None or dates else None
    more = get("additionalTrackingInfo")
    links = _links(more, unread, mine) if more is not None else ()
    if unread:
        about(mine, unread)
    return Report("fedex", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=links, piece=unique)


def _proof(details: Any, images: Any, unread: list[Unread]) -> Proof | None:
    """Say what proves the delivery: a name that signed, documents that can be asked for. "Signature not required" is no name."""
    names: list[str] = []
    if details is not None:
        given = section(details, "$.deliveryDetails", unread).get
        names = [text(given("receivedByName")), text(given("signedByName"))]
    signed = any(name and not name.casefold().startswith("signature") for name in names)
    read: Callable[..., str] = lambda image, unread: term(image.get("type"), "$.type", unread)  # noqa: E731
    kinds = pieces(images, "$.availableImages", read, unread) if images is not None else []
    photo = any("PICTURE" in kind for kind in kinds)
    return Proof(signed=signed, photo=photo) if signed or photo or "SIGNATURE_PROOF_OF_DELIVERY" in kinds else None


def _same(latest: Any, newest: Any, meaning: Reading) -> bool:
    """Say whether the newest event alone tells the head: its code, no reason; what is derived counts where the event means something."""
    code = latest.get("code") if isinstance(latest, dict) and isinstance(newest, dict) else None
    if not isinstance(code, str) or code in _BY_REASON:
        return False
    event, derived = newest.get("eventType"), newest.get("derivedStatusCode")
    return event == code or (derived == code and meaning(Code("track", text(event))) is not None)


def _dated(entry: dict[str, Any], unread: list[Unread]) -> tuple[str, datetime | None]:
    kind = text(entry.get("type"))
    return kind, optional(moment, entry.get("dateTime"), "$.dateTime", unread) if kind in _READ else None


def _event(event: dict[str, Any], unread: list[Unread], space: str) -> Scan:
    get = event.get
    code = get("eventType")
    if not isinstance(code, str) or not 0 < len(code) <= 20:
        code = _odd_code(event, unread)
    if code in _REFINED:
        code = _refined(code, get("exceptionCode"), get("delayDetail"), unread)
    place = NOWHERE
    if isinstance(location := get("scanLocation"), dict):
        at = location.get
        place = Place(
            text(at("city")), text(at("stateOrProvinceCode")), text(at("postalCode")), text(at("countryCode"))
        )  # fmt: skip
    elif location is not None:
        section(location, "$.scanLocation", unread)
    told_so = Code(space, code, text(get("exceptionDescription") or get("eventDescription")))
    return Scan(told_so, *printed(get("date"), "$.date", unread), place)


def _refined(code: str, why: Any, delay: Any, unread: list[Unread]) -> str:
    """Put the exception code beside `DE` and `SE` as it is printed, zeros and all; without one, the kind of a delay beside a delay."""
    reason = term(why, "$.exceptionCode", unread) if code in _BY_REASON else ""
    if not reason and delay is not None and code != "DE":
        said = section(delay, "$.delayDetail", unread).get
        if text(said("status")) in ("", "DELAYED"):  # ON_TIME and EARLY are no delay (track.json, DelayDetail)
            reason = term(said("type"), "$.delayDetail.type", unread)
    return f"{code}:{reason}"[:100] if reason else code


def _odd_code(event: dict[str, Any], unread: list[Unread]) -> str:
    """Take the derived status where there is no event type; a scan without any is kept, as UNKNOWN."""
    term(event.get("eventType"), "$.eventType", unread)
    return text(event.get("derivedStatusCode"))[:20] or "missing"


def _head(
    latest: dict[str, Any], unread: list[Unread], dates: dict[str, datetime | None], meaning: Reading, space: str
) -> Scan | None:
    """Read the latest status; None where it has no code."""
    code = term(latest.get("code"), "$.code", unread) or term(latest.get("derivedCode"), "$.derivedCode", unread)
    if not code:
        return None
    words = text(latest.get("description")) or text(latest.get("statusByLocale"))
    if code in _REFINED:
        details = pieces(latest.get("ancillaryDetails"), "$.ancillaryDetails", _reason, unread)
        why, said = next(filter(any, details), ("", ""))
        code, words = _refined(code, why, latest.get("delayDetail"), unread), said or words
    at = section(latest.get("scanLocation"), "$.scanLocation", unread).get
    place = Place(text(at("city")), text(at("stateOrProvinceCode")), text(at("postalCode")), text(at("countryCode")))
    told_so = Code(space, code[:100], words)
    says = meaning(told_so)
    when = dates.get(_WHEN.get(says.status, "")) if says is not None and says.status is not None else None
    if when is None:
        return Scan(told_so, place=place)
    local = when.replace(tzinfo=None)
    precision = Precision.DATE if local.time() == _MIDNIGHT else Precision.SECOND  # FedEx prints a day as midnight
    if when.tzinfo is None:
        return Scan(told_so, local, precision=precision, place=place)
    return Scan(told_so, local, when, Zone.OFFSET, precision, place)


def _reason(detail: dict[str, Any], unread: list[Unread]) -> tuple[str, str]:
    return term(detail.get("reason"), "$.reason", unread), text(detail.get("reasonDescription"))


def _links(more: Any, unread: list[Unread], mine: str) -> tuple[Link, ...]:
    where = "$.additionalTrackingInfo"
    identifiers = section(more, where, unread).get("packageIdentifiers")
    found = pieces(identifiers, f"{where}.packageIdentifiers", _link, unread, mine)
    return tuple(link for of_one_identifier in found for link in of_one_identifier)


def _link(identifier: dict[str, Any], unread: list[Unread], mine: str) -> list[Link]:
    known = _RELATIONS.get(text(identifier.get("type")))
    if known is None:
        return []
    one = identifier.get("value")  # a text, or a list (track.json), as `values`
    values = identifier.get("values") or (one if isinstance(one, list) else [one])
    numbers = [term(value, "$.values", unread) for value in listing(values, "$.values")]
    relation, carrier = known
    return [Link(other, carrier, relation) for other in numbers if other and other != mine]


def _estimate(frame: Any, dates: dict[str, datetime | None], unread: list[Unread]) -> Edd | None:
    """Take the estimated window, else the estimated moment; naive ones are widened to a day of unknown zone."""
    at = "$.estimatedDeliveryTimeWindow"
    window = section(section(frame, at, unread).get("window"), f"{at}.window", unread)
    begins = optional(moment, window.get("begins"), f"{at}.window.begins", unread)
    ends = optional(moment, window.get("ends"), f"{at}.window.ends", unread)
    if begins is None or ends is None:  # the other end may be missing
        one = dates.get("ESTIMATED_DELIVERY") or begins or ends
        if "ACTUAL_DELIVERY" in dates or one is None:
            return None
        begins = ends = one
    return estimate(begins, ends if ends.tzinfo else ends + timedelta(days=1))

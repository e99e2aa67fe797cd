"""FedEx Track API v1 (poll; up to 30 numbers a call).

Contract: developer.fedex.com track.json and authorization_v1.json; codes: tracking_status_codes.csv of the reference
guide, `fedex.csv`; read 2026-11. Errors about one number come inside HTTP 200. `DE` and `SE` mean little without the
exception code beside them, whose leading zeros are part of it: `07` and `007` are two things. Times without offset are
local to the scan's place, never UTC. `latestStatusDetail` is the status at the head; its time stands in `dateAndTimes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound
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
from tracker.plugin.answers import raise_unless_json
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.codes import read_codes
from tracker.plugin.oauth import Tokens, ask_token, bearer
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

Reading = Callable[[Code], Meaning | None]

_BY_REASON = frozenset({"DE", "SE"})
_MIDNIGHT = time()
_WHEN = {  # dateAndTimes[].type that tells when the head's status began (track.json, TrackingDateAndTime)
    ShippingStatus.PICKED_UP: "ACTUAL_PICKUP",
    ShippingStatus.DELIVERY_ATTEMPTED: "ATTEMPTED_DELIVERY",
    ShippingStatus.DELIVERED: "ACTUAL_DELIVERY",
}
_READ = frozenset({*_WHEN.values(), "ESTIMATED_DELIVERY"})
_RELATIONS = {"RETURNED_TO_SHIPPER_TRACKING_NUMBER": "return", "OUTBOUND_LINK_TO_RETURN": "return"}


class Settings(contracts.Settings):
    """One FedEx project. `base_url`: https://apis-sandbox.fedex.com answers canned data."""

    base_url: str = "https://apis.fedex.com"
    client_id: str
    client_secret: SecretStr
    locale: str = "en_US"


class FedEx(contracts.Carrier):
    """FedEx parcels."""

    docs = "https://developer.fedex.com/api/en-us/catalog/track/v1/docs.html"
    asks = frozenset({Parcels})
    carriers = ("fedex",)
    response_keys = ("completeTrackResults",)
    batch = 30
    proves = True
    codes = read_codes(__file__)
    default_zone = "America/Chicago"
    token_lasts = timedelta(hours=1)
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code; of `DE` and `SE` the reason beside it, then its wording; customs codes have a space of their own."""
        base, _, why = code.code.partition(":")
        get = self.codes.get
        if why and base in _BY_REASON:
            return get(("reason", why)) or _by_wording(code.text) or get(("track", base))
        return get(("track", base)) or get(("regulatory", base))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read a Track answer: one report a result; a re-used number has several."""
        output = mapping(decode(payload.body).get("output"), "$.output")
        where, unread = "$.output.completeTrackResults", list[Unread]()
        if output.get("completeTrackResults") is None:  # it says nothing, which is not "no news"
            raise BadPayload(where, "is missing")
        results = pieces(output["completeTrackResults"], where, _complete, unread, self.meaning, lacks="all")
        return told([report for of_one_number in results for report in of_one_number], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; an error body (`errors`, track.json ErrorResponseVO) stays one when it comes with 200."""
        raise_unless_json(response, errors=("errors",))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """POST /track/v1/trackingnumbers with detailed scans."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), self.batch):
            parcels = query.parcels[start : start + self.batch]
            asked = {
                "includeDetailedScans": True,
                "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": clean(p.number)}} for p in parcels],
            }
            yield Page((self._tokens.send(client, self._post("trackingnumbers", asked), bearer).body,))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """POST /track/v1/trackingdocuments (track.json, Full_Schema_SPOD): the letter with the signature, as a PDF in base64."""
        info = {"trackingNumber": clean(parcel.number)} | ({"trackingNumberUniqueId": piece} if piece else {})
        asked = {
            "trackDocumentDetail": {"documentType": "SIGNATURE_PROOF_OF_DELIVERY", "documentFormat": "PDF"},
            "trackDocumentSpecification": [{"trackingNumberInfo": info}],
        }
        answer = decode(self._tokens.send(client, self._post("trackingdocuments", asked), bearer).body)
        output = mapping(answer.get("output"), "$.output")
        documents = output.get("document")
        if not documents:
            alerts = [
                text(alert.get("code"))
                for alert in listing(output.get("alerts"), "$.output.alerts")
                if isinstance(alert, dict)
            ]
            raise NotFound(", ".join(filter(None, alerts)) or "the answer holds no document")
        return read_document(listing(documents, "$.output.document")[0], "$.output.document[0]")

    def _post(self, call: str, asked: Mapping[str, Any]) -> Request:
        headers = {"Content-Type": "application/json", "X-locale": self.settings.locale}
        return Request(
            "POST", f"{self.settings.base_url}/track/v1/{call}", headers=headers, content=orjson.dumps(asked)
        )

    def ping(self, client: Client) -> None:
        """Ask for a token."""
        self._grant(client)

    def _grant(self, client: Client) -> Token:
        """POST /oauth/token, credentials in the form (authorization_v1.json)."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret.get_secret_value(),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        request = Request(
            "POST", f"{self.settings.base_url}/oauth/token", headers=headers, content=urlencode(form).encode()
        )
        return ask_token(client, request)[0]


@lru_cache(maxsize=1000)
def _by_wording(said: str) -> Meaning | None:
    """Read the exception's own words, for the many reason codes that no list tells (English, as `locale` asks by default)."""
    said = said.casefold()
    return next((m for (space, words), m in FedEx.codes.items() if space == "wording" and words in said), None)


def _complete(complete: dict[str, Any], unread: list[Unread], meaning: Reading) -> list[Report]:
    mine = number(complete.get("trackingNumber"), "$.trackingNumber")
    results = complete.get("trackResults")
    if results is None:
        unread.append(Unread("$.trackResults", "is missing"))
    reports = pieces(results, "$.trackResults", _result, unread, mine, meaning)
    if unread:
        about(mine, unread)
    return reports


def _result(result: dict[str, Any], unread: list[Unread], mine: str, meaning: Reading) -> Report:
    get = result.get
    events: Any = get("scanEvents")
    scans: Sequence[Scan] = pieces(events, "$.scanEvents", _event, unread)
    whole = bool(scans) and not unread  # a history that lacks a scan, or the time of one, withdraws none
    unique = None
    if (info := get("trackingNumberInfo")) is not None:
        at = "$.trackingNumberInfo"
        unique = term(section(info, at, unread).get("trackingNumberUniqueId"), f"{at}.trackingNumberUniqueId", unread)
    if (error := get("error")) is not None and (said := section(error, "$.error", unread).get("code")):
        missing = "NOTFOUND" in text(said).replace(".", "")
        state = TrackingState.NOT_FOUND if missing else TrackingState.ERROR
        words = ": ".join(filter(None, map(text, (said, error.get("message")))))
        return Report("fedex", mine, tracking=state, piece=unique or None, said=words)
    dates: dict[str, datetime | None] = {}
    if (entries := get("dateAndTimes")) is not None:
        dates = dict(pieces(entries, "$.dateAndTimes", _dated, unread))
    latest = get("latestStatusDetail")
    if latest is not None and not (scans and _same(latest, events[0])):
        head = piece(latest, "$.latestStatusDetail", _head, unread, dates, meaning)
        scans = with_head(scans, head, meaning) if head is not None else scans
    proof = None
    if (details := get("deliveryDetails")) is not None:
        details = section(details, "$.deliveryDetails", unread)
        proof = Proof(signed=True) if details.get("receivedByName") or details.get("signedByName") else None
    frame = get("estimatedDeliveryTimeWindow")
    edd = _estimate(frame, dates, unread) if frame is not None or dates else None
    more = get("additionalTrackingInfo")
    links = _links(more, unread) if more is not None else ()
    return Report("fedex", mine, tuple(scans), complete=whole, edd=edd, proof=proof, links=links, piece=unique or None)


def _same(latest: Any, newest: Any) -> bool:
    """Say whether the newest event alone shows that the head tells nothing more: by its code, where no reason refines it."""
    if not isinstance(latest, dict) or not isinstance(newest, dict):
        return False
    code = latest.get("code")
    told_so = newest.get("eventType"), newest.get("derivedStatusCode")
    return isinstance(code, str) and code not in _BY_REASON and code in told_so


def _dated(entry: dict[str, Any], unread: list[Unread]) -> tuple[str, datetime | None]:
    kind = text(entry.get("type"))
    return kind, optional(moment, entry.get("dateTime"), "$.dateTime", unread) if kind in _READ else None


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    get = event.get
    code = get("eventType")
    if not isinstance(code, str) or not 0 < len(code) <= 20:
        code = _odd_code(event, unread)
    if code in _BY_REASON and (why := text(get("exceptionCode"))):
        code = f"{code}:{why}"
    place = NOWHERE
    if isinstance(location := get("scanLocation"), dict):
        at = location.get
        place = Place(
            text(at("city")), text(at("stateOrProvinceCode")), text(at("postalCode")), text(at("countryCode"))
        )  # fmt: skip
    elif location is not None:
        section(location, "$.scanLocation", unread)
    told_so = Code("track", code, text(get("exceptionDescription") or get("eventDescription")))
    return Scan(told_so, *printed(get("date"), "$.date", unread), place)


def _odd_code(event: dict[str, Any], unread: list[Unread]) -> str:
    """Take the derived status where there is no event type; a scan without any is kept, as UNKNOWN."""
    term(event.get("eventType"), "$.eventType", unread)
    return text(event.get("derivedStatusCode"))[:20] or "missing"


def _head(
    latest: dict[str, Any], unread: list[Unread], dates: dict[str, datetime | None], meaning: Reading
) -> Scan | None:
    """Read the latest status; None where it has no code."""
    code = term(latest.get("code"), "$.code", unread) or term(latest.get("derivedCode"), "$.derivedCode", unread)
    if not code:
        return None
    if code in _BY_REASON:
        details = pieces(latest.get("ancillaryDetails"), "$.ancillaryDetails", _reason, unread)
        code = f"{code}:{details[0]}" if details and details[0] else code
    at = section(latest.get("scanLocation"), "$.scanLocation", unread).get
    place = Place(text(at("city")), text(at("stateOrProvinceCode")), text(at("postalCode")), text(at("countryCode")))
    told_so = Code("track", code[:100], text(latest.get("description") or latest.get("statusByLocale")))
    says = meaning(told_so)
    when = dates.get(_WHEN.get(says.status, "")) if says is not None and says.status is not None else None
    if when is None:
        return Scan(told_so, place=place)
    local = when.replace(tzinfo=None)
    precision = Precision.DATE if local.time() == _MIDNIGHT else Precision.SECOND  # FedEx prints a day as midnight
    if when.tzinfo is None:
        return Scan(told_so, local, precision=precision, place=place)
    return Scan(told_so, local, when, Zone.OFFSET, precision, place)


def _reason(detail: dict[str, Any], unread: list[Unread]) -> str:
    return term(detail.get("reason"), "$.reason", unread)


def _links(more: Any, unread: list[Unread]) -> tuple[Link, ...]:
    where = "$.additionalTrackingInfo"
    found = pieces(section(more, where, unread).get("packageIdentifiers"), f"{where}.packageIdentifiers", _link, unread)
    return tuple(link for of_one_identifier in found for link in of_one_identifier)


def _link(identifier: dict[str, Any], unread: list[Unread]) -> list[Link]:
    relation = _RELATIONS.get(text(identifier.get("type")))
    values = identifier.get("values") or [identifier.get("value")]
    if relation is None:
        return []
    if not isinstance(values, list):
        raise BadPayload("$.values", "must be a list")
    numbers = [term(value, "$.values", unread) for value in values]
    return [Link(number, "fedex", relation) for number in numbers if number]


def _estimate(frame: Any, dates: dict[str, datetime | None], unread: list[Unread]) -> Edd | None:
    """Take the estimated window, else the estimated moment; naive ones are widened to a day of unknown zone."""
    at = "$.estimatedDeliveryTimeWindow"
    window = section(section(frame, at, unread).get("window"), f"{at}.window", unread)
    begins = optional(moment, window.get("begins"), f"{at}.window.begins", unread)
    ends = optional(moment, window.get("ends"), f"{at}.window.ends", unread)
    if begins is None or ends is None:
        if "ACTUAL_DELIVERY" in dates or (begins := dates.get("ESTIMATED_DELIVERY")) is None:
            return None
        ends = begins
    return estimate(begins, ends if ends.tzinfo else ends + timedelta(days=1))

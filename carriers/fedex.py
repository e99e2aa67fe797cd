"""FedEx Track API v1 (poll; up to 30 numbers a call).

Contract: developer.fedex.com track.json and authorization_v1.json; codes: tracking_status_codes.csv of the reference
guide, `fedex.csv`; read 2026-11. Errors about one number come inside HTTP 200. `DE` and `SE` mean little without the
exception code beside them, which is printed with and without leading zeros. Times without offset are local to the
scan's place, never UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from pydantic import SecretStr

from tracker.domain.facts import (
    NOWHERE,
    Ask,
    Code,
    Edd,
    Link,
    Meaning,
    Page,
    Parcels,
    Payload,
    Place,
    Proof,
    Report,
    Scan,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import TrackingState
from tracker.plugin import contracts
from tracker.plugin.contracts import Client, Request, read_codes
from tracker.plugin.oauth import Token, Tokens, ask_token, bearer
from tracker.plugin.payloads import decode, each, listing, mapping, moment, number, printed, text

_BY_REASON = frozenset({"DE", "SE"})
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
    batch = 30
    codes = read_codes(__file__)
    default_zone = "America/Chicago"
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the code with its exception, then without; customs codes have a space of their own."""
        base = code.code.partition(":")[0]
        get = self.codes.get
        return get(("track", code.code)) or get(("track", base)) or get(("regulatory", base))

    def normalize(self, payload: Payload) -> Iterable[Report]:
        """Read a Track answer: one report a result; a re-used number has several."""
        body = decode(payload.body)
        output = mapping(body.get("output"), "$.output")
        results = each(output.get("completeTrackResults"), "$.output.completeTrackResults", _complete)
        return [report for of_one_number in results for report in of_one_number]

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """POST /track/v1/trackingnumbers with detailed scans."""
        assert isinstance(ask, Parcels)
        for start in range(0, len(ask.parcels), self.batch):
            parcels = ask.parcels[start : start + self.batch]
            request = Request(
                "POST",
                f"{self.settings.base_url}/track/v1/trackingnumbers",
                headers={"Content-Type": "application/json", "X-locale": self.settings.locale},
                content=orjson.dumps(
                    {
                        "includeDetailedScans": True,
                        "trackingInfo": [{"trackingNumberInfo": {"trackingNumber": clean(p.number)}} for p in parcels],
                    }
                ),
            )
            yield Page((self._tokens.send(client, request, bearer).body,))

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


def _complete(complete: dict[str, Any]) -> list[Report]:
    mine = number(complete.get("trackingNumber"), "$.trackingNumber")
    return each(complete.get("trackResults"), "$.trackResults", _result, mine)


def _result(result: dict[str, Any], mine: str) -> Report:
    info = result.get("trackingNumberInfo")
    piece = text(info.get("trackingNumberUniqueId")) or None if isinstance(info, dict) else None
    error = result.get("error")
    if isinstance(error, dict) and error.get("code"):
        missing = "NOTFOUND" in text(error["code"]).replace(".", "")
        return Report("fedex", mine, tracking=TrackingState.NOT_FOUND if missing else TrackingState.ERROR, piece=piece)
    scans = tuple(each(result.get("scanEvents"), "$.scanEvents", _event))
    details = result.get("deliveryDetails")
    proof = None
    if isinstance(details, dict) and (details.get("receivedByName") or details.get("signedByName")):
        proof = Proof(signed=True)
    return Report(
        "fedex", mine, scans, complete=bool(scans), edd=_estimate(result), proof=proof,
        links=tuple(_links(result)), piece=piece,
    )  # fmt: skip


def _event(event: dict[str, Any]) -> Scan:
    get = event.get
    code = get("eventType")
    if not isinstance(code, str) or not 0 < len(code) <= 20:
        code = text(get("derivedStatusCode"))[:20] or "missing"  # a scan without a code is kept, as UNKNOWN
    if code in _BY_REASON and (why := text(get("exceptionCode"))):
        code = f"{code}:{why.lstrip('0') or '0'}"
    place = NOWHERE
    if isinstance(location := get("scanLocation"), dict):
        at = location.get
        place = Place(
            text(at("city")), text(at("stateOrProvinceCode")), text(at("postalCode")), text(at("countryCode"))
        )  # fmt: skip
    told = Code("track", code, text(get("exceptionDescription") or get("eventDescription")))
    if not (date := get("date")):
        return Scan(told, place=place)
    return Scan(told, *printed(date, "$.date"), place)


def _links(result: dict[str, Any]) -> Iterator[Link]:
    more = result.get("additionalTrackingInfo")
    if not isinstance(more, dict):
        return
    for identifier in listing(more.get("packageIdentifiers"), "$.additionalTrackingInfo.packageIdentifiers"):
        if isinstance(identifier, dict) and (relation := _RELATIONS.get(text(identifier.get("type")))):
            values = identifier.get("values") or [identifier.get("value")]
            for value in values if isinstance(values, list) else ():
                if text(value):
                    yield Link(text(value), "fedex", relation)


def _estimate(result: dict[str, Any]) -> Edd | None:
    """Take the estimated window, else the estimated moment; naive ones are widened to a day of unknown zone."""
    frame = result.get("estimatedDeliveryTimeWindow")
    window = frame.get("window") if isinstance(frame, dict) else None
    if isinstance(window, dict) and window.get("begins") and window.get("ends"):
        ends = [moment(window[k], f"$.estimatedDeliveryTimeWindow.window.{k}") for k in ("begins", "ends")]
    else:
        told = listing(result.get("dateAndTimes"), "$.dateAndTimes")
        dates = {text(d.get("type")): d.get("dateTime") for d in told if isinstance(d, dict)}
        if dates.get("ACTUAL_DELIVERY") or not dates.get("ESTIMATED_DELIVERY"):
            return None
        ends = [moment(dates["ESTIMATED_DELIVERY"], "$.dateAndTimes")] * 2
    begins, through = (_aware(m) for m in ends)
    return Edd(begins, max(begins, through if ends[1].tzinfo else through + timedelta(days=1)))


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)

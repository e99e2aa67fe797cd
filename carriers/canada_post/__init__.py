"""Canada Post tracking details (polls only, one number a call): the developer portal's JSON, or the XML of before.

Contracts: track.xsd and messages.xsd (XML); "Get Tracking Details - REST", "Get Delivery Confirmation Certificate - REST" and
"Messages and Code Tables" of canadapost.ca's developer pages; of the JSON API third parties tell, who call it (element table and
requests of github.com/Fabiolus2020/Canada-Post-Developer-Portal-API-requests-library); all read 2026-11. It has camel-case copies of
the XML's names. What only third parties tell is a setting, or marked below.

The event's identifier is the code: four digits, as payloads print it (`0174`); a shorter one is padded. A few of them mean something
else by their description ("returned to sender"): those words stand in `canada_post.csv`, space `text`, as `1496 returned to sender`. We
ask in English; the French word for the sender is there too. 0020, 0021 and 2001 come after a delivery and tell of its proof: they move
nothing. 0610 to 0620 say where the item is left, before or with the scan that delivers it: neither do they.

Times are local. The abbreviation beside one (EST, NDT) is its offset; it may be empty, or the name of a country. Without it the province
of the event says the zone, of a province with several its largest city (assumed). The developer pages say that the signature image is
no longer handed out; the delivery confirmation certificate is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import orjson
from pydantic import SecretStr

from carriers.canada_post.reading import NO_HISTORY, error_of, read, report_of
from tracker.domain.errors import CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Code, Meaning, Page, Parcel, Parcels, Payload, ProofDocument, Query, Report, Unread
from tracker.domain.numbers import clean
from tracker.plugin import contracts
from tracker.plugin.answers import begins_as_xml, not_html, raise_by_status, retry_after
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.oauth import Tokens, ask_token, bearer, token_call
from tracker.plugin.payloads import document, mapping, piece, pieces, section, text, told
from tracker.plugin.proofs import bytes_document, read_document
from tracker.plugin.xml import decode_xml

NO_PROOF = frozenset({"003", NO_HISTORY, "007"})  # ... No Signature Image Available, No Delivery Information Available
BLOCKED_FOR = timedelta(
    minutes=1
)  # "blocked for up to 1 minute" (Messages and Code Tables: Server, Rejected by SLM Monitor)
NOBODYS = "0000000000000000"  # asked about by a ping
PORTAL = "https://api.canadapost-postescanada.ca/prod/devportal-portaildesdeveloppeurs"
SERVICES = "https://soa-gw.canadapost.ca"
XML_TYPE = "application/vnd.cpc.track-v2+xml"


class Settings(contracts.Settings):
    """One account of Canada Post: its `key` and `secret`.

    `api`: `json` is the developer portal, where they are the client id and secret of an application; `xml` is the service of before,
    where they are the two halves of the API key (unverified: third parties say that it ended on 2026-04-30). `base_url`: else the
    production host of that API; https://ct.soa-gw.canadapost.ca takes development keys of the XML. `scope`: what the portal's token
    is asked for (unverified). `certificate_path`: where the portal makes the delivery confirmation certificate (unverified).
    """

    api: Literal["json", "xml"] = "json"
    key: str
    secret: SecretStr
    base_url: str | None = None
    scope: str = "merchant"
    certificate_path: str = "/tracking/v1/create-certificate"


class CanadaPost(contracts.Carrier):
    """Canada Post parcels."""

    docs = "https://www.canadapost-postescanada.ca/info/mc/business/productsservices/developers/services/tracking/trackingdetails.jsf"
    unverified = (
        "the JSON API, which only third parties describe: `api`, `scope`, `certificate_path`",
        "what the event identifiers mean: a copy of Canada Post's table by third parties, `codes:` says otherwise",
    )
    asks = frozenset({Parcels})
    carriers = ("canadapost",)
    response_keys = ("pin", "error", "messages")
    codes = read_codes(__file__)
    default_zone = "America/Toronto"
    text_matters = True
    proves = True
    token_lasts = timedelta(hours=1)  # expires_in 3600
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)
        self._base = self.settings.base_url or (PORTAL if self.settings.api == "json" else SERVICES)

    def meaning(self, code: Code) -> Meaning | None:
        """Say what an identifier means, some of them by the words of their description."""
        if (words := _BY_TEXT.get(code.code)) and code.space == "event":
            printed = code.text.casefold().replace("é", "e")  # French comes with its accents, and in capitals without
            for said, means in words:
                if said in printed:
                    return means
        return self.codes.get((code.space, code.code))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read the answer about a number, of either API: its details, what is said of it instead, or a summary."""
        unread: list[Unread] = []
        asked = text(mapping(document(payload.parts[1]), "$").get("pin")) if len(payload.parts) > 1 else ""
        found, where, names = read(payload.body)
        if isinstance(found, list):
            return told(pieces(found, where, report_of, unread, names, asked, lacks="all"), unread)
        report = piece(found, where, report_of, unread, names, asked, lacks="all")
        return told([report] if report is not None else [], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, and as messages say, which come with whatever status: no history yet, a throttle, a key that is wrong."""
        not_html(response)
        body, status = response.body, response.status
        good = 200 <= status < 300
        code, words = error_of(body) if not good or b"message" in body or b'"error' in body else ("", "")
        said = f"Canada Post: {': '.join(filter(None, (code, words)))}" if code or words else f"HTTP {status}"
        if "slm monitor" in words.casefold() or status == 429:
            raise RateLimited(said, retry_after(response) or BLOCKED_FOR)
        if code.startswith("AA") or code == "E002" or status in (401, 403):
            raise CredentialsRejected(f"{said}; is this the `key` of this `api`, and is it of production?")
        if code in NO_PROOF:
            raise NotFound(said)
        if status == 404 and not code and (self.settings.api == "xml" or b'"httpCode"' in body):
            raise Transient(f"{said}, which is no word of the tracking service: is the `base_url` right?")
        if code == "Server":
            raise Transient(said)
        if code and (good or status < 404):
            raise Refused(said)
        raise_by_status(response)
        if body.strip() and body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"[", b"<", b"%"):
            raise Transient(f"HTTP {status} with something that is neither JSON nor XML")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /tracking/v1/pins/{pin}/details, or /vis/track/pin/{pin}/detail."""
        assert isinstance(query, Parcels)
        for parcel in query.parcels:
            mine = clean(parcel.number)
            body = self._ask(client, mine).body
            echoed = f'"{mine}"'.encode() in body or f">{mine}<".encode() in body
            yield Page((body,) if echoed else (body, orjson.dumps({"pin": mine})))

    def ping(self, client: Client) -> None:
        """Ask about a number that nobody has: that it has no history proves key, product and address."""
        if self.settings.api == "json":
            self._grant(client)
        try:
            response = self._ask(client, NOBODYS)
        except NotFound:
            return
        self.normalize(Payload(self.account, "poll", (response.body,), client.now()))

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        """Fetch the delivery confirmation certificate, a PDF: POST /tracking/v1/create-certificate, or GET /vis/certificate/{pin}."""
        mine = clean(parcel.number)
        if self.settings.api == "xml":
            body = self._send(client, Request("GET", f"{self._base}/vis/certificate/{segment(mine)}")).body
        else:
            digits = mine.isdecimal() and mine[0] != "0" and len(mine) < 19
            said: str | int = int(mine) if digits else mine  # a number, as third parties send it
            request = Request(
                "POST",
                f"{self._base}{self.settings.certificate_path}",
                headers={"Content-Type": "application/json"},
                content=orjson.dumps({"pin": said, "language": "en"}),
            )
            body = self._send(client, request).body
        if body.startswith(b"%PDF"):
            return bytes_document(body, "$")
        found: Any = decode_xml(body) if begins_as_xml(body) else document(body)
        holder: Any = found if isinstance(found, dict) else {}
        if "image" not in holder and len(holder) == 1:  # the portal may name what it hands out, as the XML does
            holder = section(next(iter(holder.values())), "$", [])
        return read_document(holder.get("image"), "$.image")

    def _ask(self, client: Client, mine: str) -> Response:
        path = f"/vis/track/pin/{segment(mine)}/detail"
        if self.settings.api == "json":
            path = f"/tracking/v1/pins/{segment(mine)}/details"
        return self._send(client, Request("GET", f"{self._base}{path}"))

    def _send(self, client: Client, request: Request) -> Response:
        """Send with a token or Basic, in English: the words decide what some codes mean."""
        if self.settings.api == "json":
            headers = {"Accept": "application/json", "Accept-Language": "en-CA"}
            return self._tokens.send(client, replace(request, headers={**request.headers, **headers}), bearer)
        basic = (self.settings.key, self.settings.secret.get_secret_value())
        return client.send(replace(request, headers={"Accept": XML_TYPE, "Accept-Language": "en-CA"}, basic=basic))

    def _grant(self, client: Client) -> Token:
        """POST /cpc-api-native-oauth-provider/oauth2/token, a form with the client's id and secret."""
        settings = self.settings
        form = {
            "grant_type": "client_credentials", "scope": settings.scope, "client_id": settings.key,
            "client_secret": settings.secret.get_secret_value(),
        }  # fmt: skip
        url = f"{self._base}/cpc-api-native-oauth-provider/oauth2/token"
        try:
            return ask_token(client, token_call(url, form, headers={"Accept": "application/json"}))[0]
        except CredentialsRejected as error:
            raise CredentialsRejected(f"the portal gives no token for this `key` and `secret`: {error}") from None


_BY_TEXT = {  # identifiers that mean something else by the words of their description
    identifier: tuple(
        (said.partition(" ")[2], means)
        for (space, said), means in CanadaPost.codes.items()
        if space == "text" and said.startswith(f"{identifier} ")
    )
    for identifier in {said.partition(" ")[0] for space, said in CanadaPost.codes if space == "text"}
}

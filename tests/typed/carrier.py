"""A made-up carrier that uses all that a carrier may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, assert_type

from pydantic import SecretStr

from tracker.domain.facts import (
    UNMAPPED,
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
    Quota,
    Refs,
    Registered,
    Report,
    Scan,
    Since,
    Unread,
)
from tracker.domain.vocabulary import Leg, Precision, Reason, ShippingStatus, TrackingState, Trust, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits, Reply, Secrets
from tracker.plugin.files import Cut, lines
from tracker.plugin.payloads import decode, moment, pieces, section, told, word
from tracker.plugin.proofs import read_document
from tracker.plugin.public_keys import read_jwks
from tracker.plugin.signatures import hmac_hex
from tracker.plugin.soap import raise_unless_soap, soap_call
from tracker.plugin.xml import XSI_TYPE, decode_xml, many

COMPANIES = {"acme parcels": "acme"}
CODES = {("event", "PU"): Meaning(ShippingStatus.PICKED_UP, Reason.ACCEPTED)}


class AcmeSettings(contracts.Settings):
    """What the YAML says of one account."""

    base_url: str = "https://api.acme.example"
    api_key: SecretStr
    webhook_secrets: Secrets = ()


class Acme(contracts.Carrier):
    """Parcels of Acme."""

    docs = "https://acme.example/docs"
    contract = 2
    carriers = ("acme",)
    companies = COMPANIES
    limits = Limits(250, timedelta(days=1))
    trust = Trust.SIGNED
    asks = frozenset({Parcels, Refs, Since})
    sweep_every = timedelta(minutes=15)
    sweep_least = timedelta(minutes=5)
    reaches_back = timedelta(days=2)
    proves = True
    webhooks = True
    registers = True
    register_batch = 40
    register_calls = 2
    registers_first = True
    stops = True
    resends = timedelta(days=7)
    batch = 10
    response_keys = ("parcels",)
    codes = CODES
    Settings = AcmeSettings
    settings: AcmeSettings  # so that its keys are typed

    def verify(self, payload: Payload) -> int:
        assert_type(self.settings.webhook_secrets, tuple[SecretStr, ...])
        assert_type(payload.body, bytes)
        return hmac_hex(self.settings.webhook_secrets, payload.body, payload.headers.get("x-acme"), name="x-acme")

    def fetch_keys(self, client: Client, key_id: str) -> Mapping[str, str]:
        assert_type(self.keys, Mapping[str, str])
        return read_jwks(client.send(Request("GET", f"{self.settings.base_url}/jwks.json")).body)

    def handshake(self, payload: Payload) -> Reply | None:
        challenge = payload.query.get("challenge")
        assert_type(challenge, str | None)
        return Reply(challenge.encode(), "text/plain") if challenge is not None else None

    def dedupe_key(self, payload: Payload) -> str:
        return super().dedupe_key(payload)

    def meaning(self, code: Code) -> Meaning | None:
        found = super().meaning(code)
        assert_type(found, Meaning | None)
        return found or (UNMAPPED if code.space == "event" else None)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        unread: list[Unread] = []
        return told(pieces(decode(payload.body)["parcels"], "$.parcels", _report, unread), unread)

    def raise_for_status(self, response: Response) -> None:
        raise_unless_json(response, errors=("error",))

    def throttle_delay(self, response: Response) -> timedelta | None:
        return timedelta(seconds=1) if response.status == 429 else None

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        assert_type(query, Parcels | Refs | Since)
        if isinstance(query, Since):
            assert_type(query.until, datetime | None)
            until = (query.until or client.now()).isoformat()
            between = {"between": (query.cursor or until, until)}
            yield Page((client.send(Request("GET", f"{self.settings.base_url}/changes", between)).body,), until)
            return
        numbers = [one.number for one in query.parcels] if isinstance(query, Parcels) else query.refs
        for number in numbers:
            response = client.send(Request("GET", f"{self.settings.base_url}/{segment(number)}", headers=self._key()))
            assert_type(response, Response)
            yield Page((holding(response.body, "parcels"),))

    def register(self, client: Client, query: Parcels | Refs) -> list[Registered]:
        assert isinstance(query, Parcels)
        return [Registered(parcel.number, until=client.now() + timedelta(days=30)) for parcel in query.parcels]

    def quota(self, client: Client) -> Quota | None:
        return Quota(12, of=200)

    def stop(self, client: Client, query: Parcels) -> list[Registered]:
        return [Registered(parcel.number, spent=False) for parcel in query.parcels]

    def track_again(self, client: Client, query: Parcels) -> list[Registered]:
        return [Registered(parcel.number, refused="once is enough") for parcel in query.parcels]

    def resend(self, client: Client, query: Missed) -> Iterator[Page]:
        assert_type(query.since, datetime)
        assert_type(query.cursor, str | None)
        yield Page((b"{}",), "1")

    def proof(self, client: Client, parcel: Parcel, piece: str | None) -> ProofDocument:
        response = client.send(Request("GET", f"{self.settings.base_url}/{segment(piece or parcel.number)}/proof"))
        return read_document(decode(response.body).get("image"), "$.image")

    def ping(self, client: Client) -> None:
        client.send(Request("GET", self.settings.base_url, headers=self._key()))

    def _key(self) -> dict[str, str]:
        return {"x-api-key": self.settings.api_key.get_secret_value()}


def _report(parcel: dict[str, object], unread: list[Unread]) -> Report:
    at = moment(parcel.get("at"), "$.at")
    scan = Scan(
        Code("event", word(parcel.get("event"), "$.event")), occurred_at=at, zone=Zone.OFFSET, precision=Precision.MINUTE,
        place=Place("Lyon", country="FR"), leg=Leg.OUTBOUND,
    )  # fmt: skip
    unread.append(Unread("$.weight", "is no number", lacks="nothing"))
    number = word(parcel.get("number"), "$.number")
    link = Link("ACME2", None, "return")
    return Report("acme", number, (scan,), TrackingState.ACTIVE, True, edd=Edd(at, at), proof=Proof(at), links=(link,))


def what_an_author_gets() -> None:
    acme = Acme("account", AcmeSettings(api_key=SecretStr("of nobody")))
    assert_type(read_codes(__file__), dict[tuple[str, str], Meaning])
    assert_type(acme.meaning(Code("event", "PU")), Meaning | None)
    assert_type(Parcel("acme", "ACME1").carrier, str | None)


def what_must_stay_a_mistake(acme: Acme) -> None:
    scan = Scan(Code("event", "PU"))
    scan.code = Code("event", "XX")  # type: ignore[misc]  # facts are frozen, if by the type checker alone
    Scan("PU")  # type: ignore[arg-type]  # a code means nothing without its space
    Scan(Code("event", "PU"), status=ShippingStatus.PICKED_UP)  # type: ignore[call-arg]  # a scan holds no status
    Meaning("delivered")  # type: ignore[arg-type]  # a status is a word of the vocabulary
    Report("acme", "ACME1", [scan])  # type: ignore[arg-type]  # facts hold tuples
    Payload("account", "webhook", b"", datetime.now(UTC))  # type: ignore[arg-type]  # a payload has parts
    contracts.Carrier("account", acme.settings)  # type: ignore[abstract]  # a carrier without normalize and fetch


class Mistaken(contracts.Carrier):
    """A carrier whose methods are not those that are asked for."""

    def verify(self, payload: Payload) -> None:  # type: ignore[override]  # it says which secret proved it
        """Prove nothing."""

    def normalize(self, payload: Payload) -> list[str]:  # type: ignore[override]  # statuses are not facts
        return ["delivered"]

    def fetch(self, client: Client, query: Parcels) -> Iterator[Page]:  # type: ignore[override]  # it is asked by refs too
        yield Page((b"",))


class AcmeBySoap(Acme):
    """The same parcels, asked and told in XML."""

    response_keys = ("Parcels",)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        unread: list[Unread] = []
        answer = section(decode_xml(payload.body, XSI_TYPE, "code").get("Envelope"), "$.Envelope", unread)
        return told(pieces(many(answer.get("Parcel")), "$.Envelope.Parcel", _report, unread), unread)

    def raise_for_status(self, response: Response) -> None:
        raise_unless_soap(response)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        assert isinstance(query, Parcels)
        body = {"Ask": {"@xmlns": "urn:acme", "Number": [parcel.number for parcel in query.parcels]}}
        yield Page(
            (client.send(soap_call(self.settings.base_url, "urn:ask", body, {"Key": None}, basic=("u", "p"))).body,)
        )


class AcmeByFiles(Acme):
    """The same parcels, told by files of lines."""

    files = True
    carriers = ("acme",)

    def cut(self, file: BinaryIO) -> Iterator[Cut]:
        for line in lines(file):
            assert_type(line.text, bytes)
            yield Cut((line.text,), line.number, 1, line.end)


class AcmeBadlyCut(Acme):
    """A file is cut into payloads, not into lines."""

    def cut(self, file: BinaryIO) -> Iterator[bytes]:  # type: ignore[override]
        yield file.read()

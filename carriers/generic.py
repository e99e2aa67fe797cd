"""A carrier that the YAML describes: how it is asked, where the facts stand in its answers, what proves its webhooks.

`deploy/examples/README.md` says how an API is described; `deploy/examples/bring.yaml` is one. An account's own `codes:` say what
its codes mean. Each description names documented answers (`sample`), and is read with them before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from tracker.domain.errors import BadPayload, NotFound, SourceError
from tracker.domain.facts import (
    Code,
    Edd,
    Meaning,
    Page,
    Parcel,
    Parcels,
    Payload,
    Place,
    Proof,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.vocabulary import TrackingState
from tracker.plugin import contracts
from tracker.plugin.answers import raise_unless_json
from tracker.plugin.calls import Client, Response
from tracker.plugin.contracts import Remark
from tracker.plugin.described import Call, Described, DescribedSource, Hook, Part, Samples, judge
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import (
    about,
    decode,
    estimate,
    number,
    optional,
    term,
    told,
    word,
)
from tracker.plugin.samples import Asked, calls_are_filled, login_of_samples, never_told, sampled, unmatched
from tracker.plugin.times import TimeFormat, ZoneName, printed_as, time_of


def _an_id(value: str) -> str:
    """Refuse what can be no id of a carrier."""
    if not re.fullmatch(r"[a-z0-9_]+", value):
        raise ValueError(
            f"{value[:40]!r} is no id of a carrier: small letters, digits and _, such as royalmail (tracker plugins --words)"
        )
    return value


CarrierId = Annotated[str, AfterValidator(_an_id)]


class ScanFacts(Part):
    """Where the facts of a scan stand, from the scan on."""

    code: Path
    text: Path | None = None
    time: Path | None = None
    city: Path | None = None
    region: Path | None = None
    postcode: Path | None = None
    country: Path | None = Field(None, description="ISO 3166 alpha-2.")
    id: Path | None = Field(None, description="The event's own id, the same in polls and webhooks.")


class Estimate(Part):
    """Where the estimated delivery stands, from the parcel on."""

    begins: Path
    ends: Path | None = None
    time_format: TimeFormat = "iso"


class Facts(Part):
    """Where the facts of an answer stand. Only `parcels` begins at the answer, the others at a parcel."""

    parcels: Path = Field(Path("@"), description="The list of parcels; @: the answer is the one.")
    number: Path
    not_found: Path | None = Field(None, description="Something stands here where this number is not known.")
    scans: Path | None = Field(
        None, description="Without: it says only that there is news, and the parcel is asked about."
    )
    scan: ScanFacts | None = None
    space: str = Field(
        "status", pattern=r"^[a-z0-9_.-]+$", description="Before the codes in `codes:`, as in status/DELIVERED."
    )
    time_format: TimeFormat = Field("iso", description="iso, unix, unix_ms, or a pattern of strptime.")
    edd: Estimate | None = None
    signed: Path | None = Field(None, description="Something stands here where somebody signed.")

    @model_validator(mode="after")
    def _fits(self) -> Facts:
        if (self.scans is None) is not (self.scan is None):
            raise ValueError("scans: and scan: stand together: where they are, and what stands in each")
        return self


class Poll(Call):
    """How it is asked: `{number}`, or `{numbers}` where it takes several at once."""

    batch: int = Field(1, ge=1, le=1000, description="The most numbers of a call.")
    complete: bool = Field(False, description="An answer holds the whole history.")
    sample: Samples = Field(description="Documented answers, files beside the YAML.")
    facts: Facts


class Webhook(Hook):
    """What it pushes."""

    facts: Facts


class Settings(contracts.Settings, Described):
    """One carrier's API: `carrier` is who it speaks for, `probe` a number to prove the key with, `poll` how it is asked and read, `webhook` what it pushes.

    `base_url` is where; `secrets`, by name, go into the `headers` and the `query` of all calls, `basic` and `login`. `zone` is where
    times without an offset are read. `not_found` and `error` tell such answers with 200; `webhook_secrets` prove webhooks.
    """

    carrier: CarrierId
    zone: ZoneName = Field("UTC", description="Where times are read that say none; they are marked all the same.")
    probe: str = Field(
        "00000000000000", description="The number that `tracker check` asks about: that it is not found is fine."
    )
    poll: Poll
    webhook: Webhook | None = None


class Generic(DescribedSource, contracts.Carrier):
    """A carrier by its description."""

    docs = "https://github.com/trackwright/trackwright/blob/main/deploy/examples/README.md"
    asks = frozenset({Parcels})
    codes_from_yaml = True
    example: ClassVar[Mapping[str, Any]] = {
        "carrier": "acme", "base_url": "https://api.acme.example", "secrets": {"key": "canary-secrets"},
        "headers": {"Authorization": "Bearer {key}"},
        "poll": {
            "path": "/track/{number}", "sample": "acme.json", "complete": True,
            "facts": {
                "parcels": "parcels", "number": "number", "scans": "events", "not_found": "unknown", "signed": "signed_by",
                "scan": {"code": "code", "text": "text", "time": "at", "city": "place.city", "country": "place.country", "id": "id"},
                "edd": {"begins": "due", "time_format": "%Y-%m-%d"},
            },
        },
        "webhook": {
            "scheme": "hmac_hex", "header": "X-Acme-Signature", "prefix": "sha256=", "timestamp": "X-Acme-Time", "id": "id",
            "when": "type == 'parcel'", "sample": "acme.hook.json",
            "facts": {"parcels": "data", "number": "number", "scans": "[@]", "scan": {"code": "code", "time": "at", "id": "id"}},
        },
    }  # fmt: skip
    Settings = Settings

    def __init__(self, account: str, settings: Any) -> None:
        """Bind a description."""
        super().__init__(account, settings)
        self.carriers = (settings.carrier,)
        self.default_zone = settings.zone
        self.batch = settings.poll.batch
        self.pushes_scans = settings.webhook is None or settings.webhook.facts.scans is not None
        facts: Facts = settings.poll.facts
        self.response_keys = tuple(filter(None, (facts.parcels.first or facts.number.first,)))

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer or a webhook by its paths."""
        return self._read(payload, Reading())

    def _read(self, payload: Payload, reading: Reading) -> Iterable[Report | Unread]:
        settings, hook = self.settings, self.settings.webhook
        body = decode(payload.body)
        unread: list[Unread] = []
        if payload.kind == "webhook" and hook is not None:
            if (other := hook.other(body, reading, unread)) is not None:
                return (*unread, other)
            facts, whole = hook.facts, False
        else:
            facts, whole = settings.poll.facts, settings.poll.complete
        found = reading.each(facts.parcels, body, self._parcel, unread, facts, whole, reading, lacks="all")
        if found is None:  # it says nothing, which is not "no news"
            raise BadPayload(facts.parcels.where, "is missing")
        return told(found, unread)

    def _parcel(self, row: dict[str, Any], unread: list[Unread], facts: Facts, whole: bool, reading: Reading) -> Report:
        carrier: str = self.settings.carrier
        mine = number(reading.one(facts.number, row, unread), facts.number.where)
        scans: list[Scan] = []
        if facts.scans is not None and facts.scan is not None:
            scans = reading.each(facts.scans, row, _scan, unread, facts.scan, facts, reading) or []
        if facts.not_found is not None and reading.holds(facts.not_found, row, unread):
            if not scans:
                about(mine, unread)
                return Report(carrier, mine, tracking=TrackingState.NOT_FOUND)
            unread.append(Unread(facts.not_found.where, "says that the number is not known, beside its scans"))
        edd = self._estimate(row, facts.edd, unread, reading) if facts.edd is not None else None
        proof = Proof(signed=True) if reading.holds(facts.signed, row, unread) else None
        whole = whole and bool(scans) and not unread
        if unread:
            about(mine, unread)
        return Report(carrier, mine, tuple(scans), complete=whole, edd=edd, proof=proof)

    def _estimate(self, row: dict[str, Any], facts: Estimate, unread: list[Unread], reading: Reading) -> Edd | None:
        def at(path: Path | None) -> datetime | None:
            if path is None:
                return None
            value = reading.one(path, row, unread)
            found = optional(partial(time_of, form=facts.time_format), value, path.where, unread)
            return (
                found.replace(tzinfo=ZoneInfo(self.settings.zone)) if found is not None and not found.tzinfo else found
            )

        begins, ends = at(facts.begins), at(facts.ends)
        return estimate(begins, ends) if begins is not None else None

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, and as the description does: what is not found, or an error, with a good status."""
        raise_unless_json(response)
        judge(self.settings, response.body, Reading(), one=self.batch == 1)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Make the described call, with one number or several."""
        assert isinstance(query, Parcels)
        poll: Poll = self.settings.poll
        numbers = [parcel.number for parcel in query.parcels]
        for start in range(0, len(numbers), poll.batch):
            some = tuple(numbers[start : start + poll.batch])
            given = {"number": some[0]} if poll.batch == 1 else {"numbers": some}
            yield Page((self._caller.send(client, poll, given).body,))

    def ping(self, client: Client) -> None:
        """Ask about the number to prove the key with: that it is not found proves it too."""
        try:
            list(self.fetch(client, Parcels((Parcel(None, self.settings.probe),))))
        except NotFound:
            return

    def examine(self, read: Callable[[str], bytes], codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Read the samples with the description: each path must find something, and nothing may be left unread."""
        settings: Settings = self.settings
        given = ("number",) if settings.poll.batch == 1 else ("number", "numbers")
        yield from calls_are_filled(settings, {("poll",): Asked(settings.poll, given, ("number|numbers",))})
        yield from login_of_samples(settings, read)
        judged, seen = Reading(), set[tuple[str, str]]()
        parts: list[tuple[str, Poll | Webhook]] = [("poll", settings.poll)]
        parts += [("webhook", settings.webhook)] if settings.webhook is not None else []
        for name, part in parts:
            reading = Reading()
            use = partial(self._use, name, reading, judged, seen)
            if (yield from sampled((name,), part.sample, read, use)):
                yield from unmatched(part, (name,), part.sample, reading)
        yield from never_told(settings, settings.poll.sample, judged)
        for key in sorted(seen - codes.keys()):
            yield Remark(("codes",), f"the samples hold the code {'/'.join(key)}, which means nothing yet", wrong=False)

    def _use(
        self, kind: str, reading: Reading, judged: Reading, seen: set[tuple[str, str]], body: bytes
    ) -> Iterable[Unread]:
        if kind == "poll":
            try:
                judge(self.settings, body, judged, one=self.batch == 1)
            except SourceError:
                return ()  # such an answer is not read
        items = list(self._read(Payload(self.account, kind, (body,), datetime(2026, 1, 1, tzinfo=UTC)), reading))
        reports = [item for item in items if isinstance(item, Report)]
        seen |= {(scan.code.space, scan.code.code) for report in reports for scan in report.scans}
        return [item for item in items if isinstance(item, Unread) and item.lacks != "nothing"]


def _scan(row: dict[str, Any], unread: list[Unread], facts: ScanFacts, of: Facts, reading: Reading) -> Scan:
    def read(path: Path | None) -> str:
        return term(reading.one(path, row, unread), path.where, unread) if path is not None else ""

    code = optional(word, reading.one(facts.code, row, unread), facts.code.where, unread) or "missing"
    when = reading.one(facts.time, row, unread)
    local, instant, zone, precision = printed_as(of.time_format, when, facts.time.where if facts.time else "$", unread)
    id_ = optional(word, reading.one(facts.id, row, unread), facts.id.where, unread) if facts.id is not None else None
    place = Place(read(facts.city), read(facts.region), read(facts.postcode), read(facts.country)[:2].upper())
    return Scan(Code(of.space, code, read(facts.text)), local, instant, zone, precision, place, id_)

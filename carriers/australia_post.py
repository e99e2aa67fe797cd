"""Australia Post and StarTrack: Shipping and Tracking API v1 (poll; up to 10 ids a call).

Documents: auspost.com.au/lodgement/api/documentation and developers.auspost.com.au (reference statuses), read 2026-11; no specification is published, so
shapes and words beyond them are third parties'. There are no codes: an event is a text, and an article has a status in words. Both are read without case;
what no row of `australia_post.csv` says is UNKNOWN. The offset that is printed is that of Australia, for scans abroad too: the moment is right, the
local time is not, so such a scan has none. What is wrong with one id stands inside HTTP 200. A consignment of several articles is as far as the
one that is least far: it is delivered when all are; but where StarTrack tells of the consignment itself (`consignment`), that is what is told of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import Field, SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import (
    NOWHERE,
    Code,
    Link,
    Meaning,
    Page,
    Parcels,
    Payload,
    Place,
    Query,
    Report,
    Scan,
    Unread,
)
from tracker.domain.numbers import clean
from tracker.domain.vocabulary import ShippingStatus, TrackingState, Zone
from tracker.plugin import contracts
from tracker.plugin.answers import header_number, holding, not_html, raise_unless_json, retry_after
from tracker.plugin.asked import ASKED, beside, left_out
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.codes import read_codes
from tracker.plugin.contracts import Limits
from tracker.plugin.payloads import (
    about,
    absent,
    decode,
    leniently,
    number,
    objects,
    optional,
    pieces,
    printed,
    section,
    several,
    term,
    text,
    told,
    with_head,
    word,
)

Reading = Callable[[Code], Meaning | None]

_NOT_FOUND = frozenset({"ESB-10001", "51104"})  # Invalid tracking ID: also of one that is not lodged yet
_NOT_THERE = re.compile(r"invalid track|not found|no track|no events", re.IGNORECASE)
_NOT_TRACKED = re.compile(r"not trackable|cannot be tracked|can't be tracked", re.IGNORECASE)
_TOO_MANY = b'"API_002"'
_EXAMPLE = "7XX1000634011427"  # the id of the documentation's own example
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LONGEST = timedelta(hours=1)
# how a location ends, behind its town
_STATE = re.compile(r"[\s,](NSW|VIC|QLD|SA|WA|TAS|NT|ACT)(?:[\s,]{1,3}(\d{4}))?\Z", re.IGNORECASE)
_COUNTRY = re.compile(r"\(([A-Z]{2})\)\Z")


class Settings(contracts.Settings):
    """One contract of eParcel or StarTrack: its `api_key` and `password`, and the `account_number` of the product family.

    `base_url`: https://digitalapi.auspost.com.au/test is the test environment. `numbers_per_call`: ten are widely quoted, no document says it (unverified).
    """

    base_url: str = "https://digitalapi.auspost.com.au"
    api_key: SecretStr
    password: SecretStr
    account_number: str
    numbers_per_call: int = Field(10, ge=1, le=10)


class AustraliaPost(contracts.Carrier):
    """Parcels of Australia Post and StarTrack."""

    docs = "https://auspost.com.au/lodgement/api/documentation/"
    unverified = (
        "how many ids a call takes: `numbers_per_call`",
        "ten calls a minute, and the headers that tell what is left of them",
        "what texts of events say: third parties' words",
    )
    asks = frozenset({Parcels})
    carriers = ("australiapost",)
    response_keys = ("tracking_results", ASKED)
    batch = 10  # unless `numbers_per_call` says less
    codes = read_codes(__file__)
    default_zone = "Australia/Sydney"
    limits = Limits(10, timedelta(minutes=1))
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind an account."""
        super().__init__(account, settings)
        self.batch = self.settings.numbers_per_call

    def meaning(self, code: Code) -> Meaning | None:
        """Look up the words of a status or an event; those of an event that has a place or a name in it by what they begin and end with."""
        return _by_words(code.space, code.code)

    def normalize(self, payload: Payload) -> Iterable[Report | Unread]:
        """Read an answer: one report an id, and of a consignment of several articles one each beside it."""
        found, unread = several(decode(payload.body).get("tracking_results")), list[Unread]()
        if found is None:  # it says nothing, which is not "no news"
            raise BadPayload("$.tracking_results", "is missing")
        where = "$.tracking_results"
        results = pieces(found, where, _result, unread, self.meaning, lacks="all")
        reports = [report for of_one in results for report in of_one]
        missing = left_out(payload, reports, unread)
        reports += [Report("australiapost", one, tracking=TrackingState.NOT_FOUND) for one in missing]
        return told(reports, unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says; `errors` at the top stay errors when they come with 200.

        Raises NotFound where they say that an id is not known, RateLimited for API_002 (third parties) whatever its status.
        """
        status, body = response.status, response.body
        if _TOO_MANY in body and b'"tracking_results"' not in body:
            raise RateLimited(f"HTTP {status}: API_002", retry_after(response))
        if status in (401, 403):
            not_html(response)
            said = "; ".join(_errors(leniently(body).get("errors"))) or "no reason given"
            look = "are api_key and password right?" if status == 401 else "is account_number one of this key?"
            raise CredentialsRejected(f"HTTP {status}: {said}: {look}")
        if b'"errors"' in body and b'"tracking_results"' not in body:
            not_html(response)
            errors = _errors(leniently(body).get("errors"))
            if errors and all(_is_unknown(one) for one in errors):
                raise NotFound("; ".join(errors))
            if errors and (status < 300 or status == 400):
                raise (Transient if status < 300 else Refused)(f"HTTP {status} with an error: {'; '.join(errors)}")
        if status == 404:
            raise Transient("HTTP 404 without an error of Australia Post: is `base_url` right?")
        raise_unless_json(response, errors=("errors",))

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Answer how long to rest where `X-RateLimit-Remaining-<unit>` is 0: until that unit is over, an hour at most (third parties)."""
        waits = [span for unit, span in _UNITS.items() if header_number(response, f"x-ratelimit-remaining-{unit}") == 0]
        return min(timedelta(seconds=max(waits)), _LONGEST) if waits else None

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /shipping/v1/track?tracking_ids=..."""
        assert isinstance(query, Parcels)
        for start in range(0, len(query.parcels), self.batch):
            yield from self._ask(client, [clean(parcel.number) for parcel in query.parcels[start : start + self.batch]])

    def _ask(self, client: Client, numbers: Sequence[str]) -> Iterator[Page]:
        """Ask about ids together; where all are refused for one that is not known, in halves until it stands alone."""
        try:
            yield Page((self._track(client, numbers), beside(numbers)))
        except NotFound:
            if len(numbers) > 1:
                half = len(numbers) // 2
                yield from self._ask(client, numbers[:half])
                yield from self._ask(client, numbers[half:])
            else:
                yield Page((b'{"tracking_results": []}', beside(numbers)))

    def ping(self, client: Client) -> None:
        """Ask about the documentation's own example: whether it is known or not, an answer about it proves the key."""
        with suppress(NotFound):  # in its own words
            holding(self._track(client, [_EXAMPLE]), "tracking_results")

    def _track(self, client: Client, numbers: Sequence[str]) -> bytes:
        settings = self.settings
        return client.send(
            Request(
                "GET",
                f"{settings.base_url}/shipping/v1/track",
                {"tracking_ids": ",".join(numbers)},
                {"Accept": "application/json", "Account-Number": settings.account_number},
                basic=(settings.api_key.get_secret_value(), settings.password.get_secret_value()),
            )
        ).body


class _Article(NamedTuple):
    """What is told of one article: its own id, where it has one, its scans with its status, whether it has one, whether all could be read."""

    mine: str | None
    scans: tuple[Scan, ...]
    stated: bool
    whole: bool


@lru_cache(maxsize=4_000)  # what is said of parcels is said again and again
def _words(said: str) -> str:
    return " ".join(said.casefold().split()).rstrip(".")


@lru_cache(maxsize=4_000)
def _by_words(space: str, said: str) -> Meaning | None:
    """Look up words as they are printed; of an event also those of a status, and the rows whose `*` stands for a place or a name."""
    codes, said = AustraliaPost.codes, _words(said)
    known = codes.get((space, said))
    if known is not None or space != "event":
        return known
    if (known := codes.get(("status", said))) is not None:
        return known
    for (kind, pattern), meaning in codes.items():
        if kind == "wording":
            begins, _, ends = pattern.partition("*")
            if said.startswith(begins) and said.endswith(ends) and len(said) >= len(begins) + len(ends):
                return meaning
    return None


def _errors(value: Any) -> list[str]:
    """Return what errors say, each as its code and its name."""
    said = [(_code(one.get("code")), text(one.get("name")) or text(one.get("message"))) for one in objects(value)]
    return [": ".join(filter(None, parts)) for parts in said if any(parts)]


def _code(value: Any) -> str:
    return optional(word, value, "$", []) or ""


def _is_unknown(error: str) -> bool:
    return error.partition(":")[0] in _NOT_FOUND or bool(_NOT_THERE.search(error))


def _result(result: dict[str, Any], unread: list[Unread], meaning: Reading) -> list[Report]:
    get = result.get
    mine = number(get("tracking_id"), "$.tracking_id")
    status = term(get("status"), "$.status", unread)
    asked = (get("tracking_id"), mine)
    found = pieces(several(get("trackable_items")), "$.trackable_items", _items, unread, meaning, asked)
    articles = found[0] if len(found) == 1 else [article for some in found for article in some]
    itself = None
    if (consignment := get("consignment")) is not None:
        itself = _consignment(section(consignment, "$.consignment", unread), mine, unread, meaning)
    if not articles and itself is not None:
        articles = [itself]
    if not articles:
        return _without_articles(mine, status, get("errors"), unread, meaning)
    if errors := get("errors"):
        _tell_errors(errors, unread)
    own = next((article for article in articles if article.mine == mine), None)
    if own is None and itself is None and len(articles) == 1:
        own = articles[0]
    if own is not None:
        whole = own.whole and not unread
        scans = own.scans if own.stated else _headed(own.scans, status, meaning)
        if itself is not None and itself is not own:
            scans += tuple(scan for scan in itself.scans if scan not in scans)
        reports = [Report("australiapost", mine, scans, complete=whole)]
    else:
        link = (Link(mine, "australiapost", "main"),)
        first = itself or min(articles, key=_far(meaning))
        reports = [Report("australiapost", mine, first.scans)]
        reports += [
            Report("australiapost", one.mine, one.scans, complete=one.whole, links=link) for one in articles if one.mine
        ]
    if unread:
        about(mine, unread)
    return reports


def _consignment(told_of: dict[str, Any], mine: str, unread: list[Unread], meaning: Reading) -> _Article | None:
    """Read what is told of a consignment itself: its events and its status; None where neither is."""
    status = term(told_of.get("status"), "$.consignment.status", unread)
    scans = pieces(several(told_of.get("events")), "$.consignment.events", _event, unread)
    if not scans and not status:
        return None
    return _Article(mine, _headed(scans, status, meaning), bool(status), bool(scans) and not unread)


def _without_articles(mine: str, status: str, errors: Any, unread: list[Unread], meaning: Reading) -> list[Report]:
    """Read why nothing is told of an id, or its status alone."""
    if status:
        _tell_errors(errors, unread)
        if unread:
            about(mine, unread)
        return [Report("australiapost", mine, _headed((), status, meaning))]
    said = _errors(errors)
    if not said:
        if not unread:
            unread.append(Unread("$.trackable_items", "is missing"))
        about(mine, unread)
        return []
    if unread:
        about(mine, unread)
    if any(map(_is_unknown, said)):
        state = TrackingState.NOT_FOUND
    else:
        state = TrackingState.UNSUPPORTED if any(map(_NOT_TRACKED.search, said)) else TrackingState.ERROR
    return [Report("australiapost", mine, tracking=state, said="; ".join(said))]


def _tell_errors(errors: Any, unread: list[Unread]) -> None:
    """Tell what is wrong with an id of which something is told all the same."""
    if said := _errors(errors):
        unread.append(Unread("$.errors", f"says {'; '.join(said):.80} beside what is told"))


def _items(item: dict[str, Any], unread: list[Unread], meaning: Reading, asked: tuple[Any, str]) -> list[_Article]:
    """Read an item: an article, or another consignment with its articles."""
    nested = item.get("items") or item.get("trackable_items")
    inner = pieces(several(nested), "$.items", _article, unread, meaning, asked) if nested else []
    return inner or [_article(item, unread, meaning, asked)]


def _article(item: dict[str, Any], unread: list[Unread], meaning: Reading, asked: tuple[Any, str]) -> _Article:
    get = item.get
    own = get("article_id")
    mine: str | None = asked[1]
    if own != asked[0]:
        mine = optional(number, get("consignment_id") if absent(own) else own, "$.article_id", unread)
    status = term(get("status"), "$.status", unread)
    events = get("events")
    scans = pieces(several(events), "$.events", _event, unread)
    if not scans and not status and not unread:
        unread.append(Unread("$.events", "is missing"))
    return _Article(mine, _headed(scans, status, meaning), bool(status), bool(scans) and not unread)


@lru_cache(maxsize=1_000)
def _status(said: str) -> Code:
    return Code("status", _words(said)[:100], said)


def _headed(scans: Sequence[Scan], status: str, meaning: Reading) -> tuple[Scan, ...]:
    """Add a status as a scan, where no scan says it. It has no time."""
    if not status:
        return tuple(scans)
    head = _status(status)
    says, newest = meaning(head), meaning(scans[0].code) if scans else None
    if says is not None and newest is not None and says.status is newest.status:
        return tuple(scans)
    return with_head(scans, Scan(head), meaning)


def _far(meaning: Reading) -> Callable[[_Article], tuple[int, int, float]]:
    """Return how far an article is, for comparing: those on their way first, then those that did not arrive, then by when they did."""

    def far(article: _Article) -> tuple[int, int, float]:
        timed = [(scan.occurred_at.timestamp() if scan.occurred_at else 0.0, scan) for scan in article.scans]
        said = [(at, says.status) for at, scan in timed if (says := meaning(scan.code)) is not None and says.status]
        head = next((status for at, status in said if not at), None)  # of a status without a time: it is the newest
        at, newest = max(said, key=lambda one: one[0], default=(0.0, ShippingStatus.UNKNOWN))
        status = head or newest
        return (
            int(status.terminal) + int(status is ShippingStatus.DELIVERED),
            0 if status.terminal else status.rank,
            -at,
        )

    return far


def _event(event: dict[str, Any], unread: list[Unread]) -> Scan:
    try:
        said, place, abroad = _told_by(event["description"], event["location"])
    except (KeyError, TypeError):
        said, place, abroad = _odd(event)
    if said is None:
        if absent(event.get("description")):
            unread.append(Unread("$.description", "is missing"))
        said = Code("event", optional(word, event.get("description"), "$.description", unread) or "missing")
    local, at, zone, fine = printed(event.get("date"), "$.date", unread)
    if abroad and at is not None:  # the offset is Australia's: the moment is right, that clock hangs elsewhere
        local, zone = None, Zone.UTC
    return Scan(said, local, at, zone, fine, place)


def _odd(event: dict[str, Any]) -> tuple[Code | None, Place, bool]:
    """Read an event without a text or a place, or where one of them is an object or a list."""
    try:
        return _told_by(event.get("description"), event.get("location"))
    except TypeError:
        return None, NOWHERE, False


@lru_cache(maxsize=4_000)
def _told_by(description: Any, location: Any) -> tuple[Code | None, Place, bool]:
    """Return an event's text as a code, None for what is no text; its place, `CALOUNDRA WEST QLD`, `Sydney,NSW` or `SYDNEY (AU)`; whether that is none of Australia's.

    Raises TypeError for what cannot be kept.
    """
    words, name = _words(description)[:100] if isinstance(description, str) else "", text(location)
    said = Code("event", words, text(description)) if words else None
    if (abroad := _COUNTRY.search(name)) is not None:
        return said, Place(name[: abroad.start()].strip(), country=abroad[1]), abroad[1] != "AU"
    found = _STATE.search(name)
    if found is None:
        return said, Place(name) if name else NOWHERE, bool(name)
    return said, Place(name[: found.start()].strip(" ,"), found[1].upper(), found[2] or "", "AU"), False

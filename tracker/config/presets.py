"""A store's policy: a preset, and what the merchant overrides in it; checked for what can never be meant.

Presets are YAML files of the same keys, in `policies/`. A mapping (by owner, by deadline) is overridden entry by entry,
everything else as a whole. Holidays come from the `holidays` library and are expanded into dates here, so that the
domain sees dates only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tracker.clock import system_now
from tracker.config.besides import withheld
from tracker.config.yamlfile import MOST_QUOTED, Document, Path_, quoted, read
from tracker.domain.policy import WEEKDAYS, Calendar, Deadline, Owns, Policy, Silence, Span
from tracker.domain.vocabulary import FindingKind, NoticeClass, OrderStatus, Owner, ShippingStatus
from tracker.hashing import digest
from tracker.plugin.contracts import Platform

POLICIES = Path(__file__).parent / "policies"
# a space belongs to the part before it: between parts that may all be missing, spaces would be tried in every way
_DURATION = re.compile(r"(?:(\d{1,9})d\s*)?(?:(\d{1,9})h\s*)?(?:(\d{1,9})m\s*)?(?:(\d{1,9})s)?", re.ASCII)
MOST_DURATION = timedelta(days=36_500)  # so that now and it are a moment
_BUSINESS = re.compile(r"(\d{1,3})\s*business days?")
YEARS_BACK, YEARS_AHEAD = 2, 5
O, S = OrderStatus, ShippingStatus
# what a scan can mean for an order: custody and what follows; a label, a delay, a problem moves nothing (KE-08, KE-12)
CAN_MEAN = (
    O.PARTIALLY_SHIPPED,
    O.SHIPPED,
    O.IN_TRANSIT,
    O.OUT_FOR_DELIVERY,
    O.DELIVERY_FAILED,
    O.DELIVERED,
    O.RETURNED,
)
ONLY_FROM = {
    O.DELIVERED: frozenset({S.DELIVERED}),
    O.RETURNED: frozenset({S.RETURNED}),
    O.OUT_FOR_DELIVERY: frozenset({S.OUT_FOR_DELIVERY, S.AVAILABLE_FOR_PICKUP}),
    O.DELIVERY_FAILED: frozenset({S.DELIVERY_ATTEMPTED, S.DELIVERY_FAILED}),
}
CLOCKS = {
    O.CONFIRMED: FindingKind.CONFIRM_OVERDUE,
    O.PROCESSING: FindingKind.PROCESSING_OVERDUE,
    O.SHIPPED: FindingKind.SHIPPING_OVERDUE,
}


def duration(value: Any) -> Any:
    """Read `10m`, `7d` or `1h 30m`, a hundred years at most. Raises ValueError for anything else."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) and value.strip() else None
    if match is None:
        raise ValueError("must be a duration such as 30s, 10m, 4h, 7d or 1h 30m")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if span > MOST_DURATION:
        raise ValueError(f"must be a duration of {MOST_DURATION.days}d at most")
    return span


def spell(value: timedelta) -> str:
    """Write a duration as the YAML takes it."""
    seconds = int(value.total_seconds())
    parts = [(seconds // 86400, "d"), (seconds % 86400 // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s")]
    return " ".join(f"{n}{unit}" for n, unit in parts if n) or "0s"


def _span(value: Any) -> Any:
    if isinstance(value, str) and (match := _BUSINESS.fullmatch(value.strip())):
        return Span(business_days=int(match[1]))
    if isinstance(value, Span):
        return value
    try:
        return Span(elapsed=duration(value))
    except ValueError:
        raise ValueError("must be a duration such as 24h, or business days such as 3 business days") from None


def _off(value: Any) -> Any:
    return None if value == "off" or value is False else duration(value)


def _words(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _known(value: str) -> str:
    if value not in presets():
        near = difflib.get_close_matches(value[:MOST_QUOTED], presets(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"no preset {quoted(value)}: one of {', '.join(presets())}{hint}")
    return value


@cache
def presets() -> tuple[str, ...]:
    """List the presets."""
    return tuple(sorted(file.stem for file in POLICIES.glob("*.yaml")))


Preset = Annotated[str, AfterValidator(_known)]
Duration = Annotated[timedelta, BeforeValidator(duration, json_schema_input_type=str)]
Switchable = Annotated[timedelta | None, BeforeValidator(_off, json_schema_input_type=str)]
SpanPart = Annotated[Span, BeforeValidator(_span, json_schema_input_type=str)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words, json_schema_input_type=str | list[str])]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OwnsPart(_Part):
    """A rule of ownership; the first that fits names who dispatches. `*`: anything that is told."""

    name: str
    owner: Owner
    service: Words = ()
    method: Words = ()
    location: Words = ()
    tag: Words = ()
    carrier: Words = ()


class DeadlinePart(_Part):
    """A clock: from a status (or `placed`) until another; elapsed (`24h`) or business days (`3 business days`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)
    begins: str = Field(alias="from", description="placed, or an order status.")
    until: OrderStatus
    warn: SpanPart | None = None
    breach: SpanPart | None = None


class CalendarPart(_Part):
    """The business days of the store."""

    zone: str = Field("UTC", description="IANA time zone.")
    country: str | None = Field(None, description="ISO 3166 alpha-2: its public holidays are no business days.")
    region: str | None = Field(None, description="A subdivision of the country, as the holidays library names it.")
    weekend: tuple[str, ...] = ("saturday", "sunday")
    closed: tuple[date, ...] = Field((), description="More days without work.")
    open: tuple[date, ...] = Field((), description="Holidays on which the store works.")


class SilencePart(_Part):
    """How long silence is normal for a carrier, a service, a lane such as US-DE."""

    name: str
    carrier: str = ""
    service: str = ""
    lane: str = Field("", pattern=r"^([A-Z]{2})?(-[A-Z]{2})?$")
    stuck_after: Duration | None = None
    unscanned_after: Duration | None = None


class PolicyPart(_Part):
    """A preset and what the merchant changes in it. Every key of a preset may stand here."""

    preset: Preset = "mirror"
    ownership: tuple[OwnsPart, ...] | None = None
    otherwise: Owner | None = None
    means: Mapping[Owner, Mapping[ShippingStatus, OrderStatus]] | None = None
    writes: Mapping[Owner, tuple[OrderStatus, ...]] | None = None
    only_from: Mapping[OrderStatus, tuple[OrderStatus, ...]] | None = None
    side_effects: tuple[OrderStatus, ...] | None = Field(None, description="Order statuses that are written though the platform mails or moves money then (`tracker check`).")  # fmt: skip
    system: tuple[str, ...] | None = None
    restore_from: tuple[str, ...] | None = None
    restore_processing: bool | None = None
    corrections: bool | None = None
    status_field: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
        description="The name of the order's field (metadata) in which its shipping status is shown, where the platform has such.",
    )  # fmt: skip
    status_tag: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,18}$",
        description="What the order's tag begins with in which its shipping status is shown, before a colon (`shipping:delivered`), where the platform has tags.",
    )  # fmt: skip
    wait_for_confirmation: bool | None = None
    paid_for: tuple[OrderStatus, ...] | None = None
    pay_later: tuple[str, ...] | None = None
    verified_for: tuple[OrderStatus, ...] | None = None
    courier_for: tuple[OrderStatus, ...] | None = None
    address_for: tuple[OrderStatus, ...] | None = None
    cancel_closes: Mapping[Owner, OrderStatus | None] | None = None
    tracking: Mapping[Owner, Literal["required", "warned", "none"]] | None = None
    tracking_grace: Mapping[Owner, Duration] | None = None
    checks: tuple[FindingKind, ...] | None = None
    ahead_after: Switchable | Literal["off"] | None = None
    deadlines: Mapping[str, DeadlinePart | Literal["off"]] | None = None
    calendar: CalendarPart | None = None
    silence: tuple[SilencePart, ...] | None = None
    stuck_after: Duration | None = None
    unscanned_after: Duration | None = None
    overdue_after: Duration | None = None
    pickup_expires_after: Duration | None = None
    expired_after: Duration | None = None
    notices: tuple[NoticeClass, ...] | None = None
    language: Literal["en", "de"] | None = None


MERGED = frozenset({"means", "writes", "only_from", "cancel_closes", "tracking", "tracking_grace", "deadlines"})
KEYS = tuple(key for key in PolicyPart.model_fields if key != "preset")


@dataclass(frozen=True)
class Bound:
    """A policy, and for each of its keys where its value came from."""

    policy: Policy
    sources: Mapping[str, str] = field(default_factory=dict)
    hash: str = ""


def examine(given: Any, path: Path_, document: Document) -> None:
    """Tell what a policy contradicts, though something else of its store is wrong; not where one of its own keys is."""
    depth = len(path)
    if isinstance(given, dict) and not any(problem.path[:depth] == path for problem in document.problems):
        merged, _ = _merged(given, path, document)
        part = PolicyPart.model_validate(merged)
        tuple(_deadlines(part, path, document))
        if part.calendar is not None:
            _calendar(part.calendar, (*path, "calendar"), document)
        _contradictions(part, path, document)


def bind(given: Mapping[str, Any], platform: Platform, path: Path_, document: Document) -> Bound:
    """Merge a preset and the merchant's keys, each valid, into the policy of a store; what they contradict goes to the document."""
    name = str(given.get("preset", "mirror"))
    merged, sources = _merged(given, path, document)
    for key in KEYS:
        sources.setdefault(key, "default")
    says = (
        platform.status_map(),
        platform.order_status_map(),
        platform.says(),
        platform.takes_fields,
        platform.takes_tags,
        withheld(platform, ()),
    )
    alike = repr((name, given, platform.looks_again, says))  # stores of one merchant mostly say the same
    if (made := document.policies.get(alike)) is None:
        part = PolicyPart.model_validate(merged)
        before = len(document.problems)
        policy = _policy(name, part, platform, path, document)
        if len(document.problems) > before:
            return Bound(Policy())
        made = document.policies[alike] = policy, digest(policy_values(policy))
    return Bound(made[0], sources, made[1])


def _merged(given: Mapping[str, Any], path: Path_, document: Document) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a preset and the merchant say together, and where each key of it came from."""
    merged, sources = map(dict, _preset(str(given.get("preset", "mirror"))))
    for key, value in given.items():
        if key == "preset" or value is None:
            continue
        if key in MERGED and isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
            sources[key] = f"{sources.get(key, '')} and {place_of(document, (*path, key))}".removeprefix(" and ")
        else:
            merged[key] = value
            sources[key] = place_of(document, (*path, key))
    return merged, sources


@cache
def _preset(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a preset, and the one it extends, once a process; its own keys replace whole keys of that one."""
    document = read(POLICIES / f"{name}.yaml")
    values = dict(document.value)
    parent = values.pop("extends", None)
    merged, sources = map(dict, _preset(parent)) if parent else ({}, {})
    merged |= values
    sources |= {key: f"preset {name} ({place_of(document, (key,))})" for key in values}
    return merged, sources


def place_of(document: Document, path: Path_) -> str:
    """Return `file:line` of a path, the file without its folder: short enough to stand beside a value."""
    file, _, rest = document.at(path).rpartition("/")
    return (rest or file).rsplit(":", 1)[0]


def _policy(name: str, part: PolicyPart, platform: Platform, path: Path_, document: Document) -> Policy:
    values: dict[str, Any] = {}
    for key in KEYS:
        value = getattr(part, key)
        if value is not None and key not in ("ownership", "deadlines", "calendar", "silence", "means", "writes"):
            values[key] = frozenset(value) if isinstance(value, tuple) else value
    if values.get("ahead_after") == "off":
        values["ahead_after"] = None
    if part.pay_later is not None:
        values["pay_later"] = frozenset(word.casefold() for word in part.pay_later)
    values["ownership"] = tuple(Owns(**rule.model_dump()) for rule in part.ownership or ())
    values["silence"] = tuple(Silence(**rule.model_dump()) for rule in part.silence or ())
    values["means"] = dict(part.means or {})
    values["writes"] = {owner: frozenset(statuses) for owner, statuses in (part.writes or {}).items()}
    values["deadlines"] = tuple(_deadlines(part, path, document))
    if part.calendar is not None:
        values["calendar"] = _calendar(part.calendar, (*path, "calendar"), document)
    values["rewrites"] = platform.looks_again is None
    values["withheld"] = withheld(platform, part.side_effects or ())
    _contradictions(part, path, document)
    if part.status_field and not platform.takes_fields:
        document.problem((*path, "status_field"), "this platform has no field of an order that is written")
    if part.status_tag and not platform.takes_tags:
        document.problem((*path, "status_tag"), "this platform has no tags of an order that are written")
    return Policy(
        name=name, words=platform.status_map(), order_words=platform.order_status_map(), says=platform.says(), **values
    )  # fmt: skip


def _deadlines(part: PolicyPart, path: Path_, document: Document) -> Iterator[Deadline]:
    for name, clock in (part.deadlines or {}).items():
        if clock == "off" or isinstance(clock, str):
            continue
        at = (*path, "deadlines", name)
        kind = CLOCKS.get(clock.until)
        if kind is None:
            document.problem((*at, "until"), f"a clock ends at one of {', '.join(CLOCKS)}")
            continue
        begins = None
        if clock.begins != "placed":
            try:
                begins = OrderStatus(clock.begins)
            except ValueError:
                document.problem((*at, "from"), f"must be placed or one of {', '.join(OrderStatus)}")
                continue
            if begins.rank is None or begins.reaches(clock.until):
                document.problem(at, f"impossible transition: {begins} does not come before {clock.until}")
                continue
        if clock.warn is None and clock.breach is None:
            document.problem(at, "needs warn or breach (or say off)")
        if clock.warn and clock.breach and _longer(clock.warn, clock.breach):
            document.problem(at, "contradiction: the warning comes after the breach")
        yield Deadline(name, kind, begins, clock.until, clock.warn, clock.breach)


def _longer(one: Span, other: Span) -> bool:
    if one.elapsed is not None and other.elapsed is not None:
        return one.elapsed > other.elapsed
    return (one.business_days or 0) > (other.business_days or 0) > 0


def _calendar(part: CalendarPart, path: Path_, document: Document) -> Calendar:
    zones = _zones()
    if part.zone not in zones:
        near = difflib.get_close_matches(part.zone, zones, 3, 0.5)
        document.problem(
            (*path, "zone"), f"no time zone {quoted(part.zone)}: did you mean {' or '.join(near) or 'UTC'}?"
        )
        return Calendar()
    wrong = [day for day in part.weekend if day not in WEEKDAYS]
    if wrong or len(part.weekend) > 6:
        document.problem((*path, "weekend"), f"must be some of {', '.join(WEEKDAYS)}, and leave a day to work on")
        return Calendar()
    days: set[date] = set(part.closed)
    if part.country is not None:
        known = _countries()
        if part.country not in known:
            near = difflib.get_close_matches(part.country.upper(), known, 3, 0.4)
            document.problem(
                (*path, "country"),
                f"no calendar for {quoted(part.country)}: ISO 3166 alpha-2, such as {', '.join(near or ['US', 'DE', 'IN'])}",
            )
            return Calendar()
        if part.region is not None and part.region not in known[part.country]:
            document.problem(
                (*path, "region"),
                f"{part.country} has no region {quoted(part.region)}: {', '.join(known[part.country]) or 'none'}",
            )
            return Calendar()
        days |= _holidays(part.country, part.region, system_now().year)
    return Calendar(part.zone, frozenset(WEEKDAYS.index(day) for day in part.weekend), frozenset(days - set(part.open)))


@cache
def _zones() -> frozenset[str]:
    """Return the names of all time zones; to find them, a folder of six hundred files is walked."""
    return frozenset(available_timezones())


@cache
def _countries() -> dict[str, list[str]]:
    """Return the countries whose holidays are known, each with its regions."""
    import holidays  # a third of a second, for those who name a country

    return holidays.list_supported_countries()


@cache
def _holidays(country: str, region: str | None, year: int) -> frozenset[date]:
    """Return the public holidays around a year: the same for all stores of a region."""
    import holidays

    years = range(year - YEARS_BACK, year + YEARS_AHEAD + 1)
    return frozenset(holidays.country_holidays(country, subdiv=region, years=years))


def _contradictions(part: PolicyPart, path: Path_, document: Document) -> None:
    """Refuse what can never be meant: impossible transitions, and rules that contradict each other."""
    for owner, table in (part.means or {}).items():
        for told, status in table.items():
            at = (*path, "means", str(owner), str(told))
            if status not in CAN_MEAN:
                document.problem(at, f"impossible transition: a scan never sets {status}; one of {', '.join(CAN_MEAN)}")
            elif not told.custody:
                document.problem(at, f"impossible transition: {told} is no custody and moves no order")
            elif told not in ONLY_FROM.get(status, (told,)):
                document.problem(
                    at, f"impossible transition: only {', '.join(sorted(ONLY_FROM[status]))} can mean {status}"
                )
            elif told in (S.RETURNED, S.RETURNING) and status is not O.RETURNED:
                document.problem(at, f"impossible transition: {told} is never {status}")
    for owner, closes in (part.cancel_closes or {}).items():
        if closes is not None and closes.rank is None:
            line = ", ".join(status for status in O if status.rank is not None)
            document.problem((*path, "cancel_closes", str(owner)), f"{closes} is no step of an order: one of {line}")
    meant = {owner: {*table.values(), O.PARTIALLY_SHIPPED} for owner, table in (part.means or {}).items()}
    for owner, statuses in (part.writes or {}).items():
        for status in statuses:
            if status not in meant.get(owner, ()):
                document.problem(
                    (*path, "writes", str(owner)),
                    f"contradiction: {status} is written, and nothing under means says it",
                )
    names: dict[str, int] = {}
    shapes: dict[tuple[Any, ...], OwnsPart] = {}
    for i, rule in enumerate(part.ownership or ()):
        at = (*path, "ownership", i)
        if rule.name in names:
            document.problem(at, f"contradiction: the rule name {quoted(rule.name)} is used twice")
        names[rule.name] = i
        shape = tuple(
            tuple(sorted(word.casefold() for word in getattr(rule, key)))
            for key in ("service", "method", "location", "tag", "carrier")
        )
        if not any(shape):
            document.problem(at, "names no condition: use otherwise: for the rest")
        elif shape in shapes:
            said = "says the same" if shapes[shape].owner is rule.owner else "names another owner"
            document.problem(at, f"contradiction: rule {quoted(shapes[shape].name)} has the same conditions and {said}")
        shapes.setdefault(shape, rule)
    if both := set(part.restore_from or ()) & set(part.system or ("system", "trackwright")):
        document.problem(
            (*path, "restore_from"), f"contradiction: {', '.join(sorted(both))} may set a status and is restored too"
        )
    if "unknown" in (part.restore_from or ()):
        document.problem((*path, "restore_from"), "an unknown actor is never restored (KE-03)")
    if O.PROCESSING in {status for table in (part.means or {}).values() for status in table.values()}:
        document.problem((*path, "means"), "the worker never moves an order forward into Processing (MG-08)")


def policy_values(policy: Policy) -> dict[str, Any]:
    """Return a policy as plain data, as it is stored, hashed and shown."""
    plain: dict[str, Any] = {
        "preset": policy.name,
        "words": {str(k): v for k, v in policy.words.items()},
        "order_words": {str(k): v for k, v in policy.order_words.items()},
        "withheld": {str(k): v for k, v in policy.withheld.items()},
        **({} if policy.rewrites else {"rewrites": False}),
    }
    for key in KEYS:
        plain[key] = _plain(getattr(policy, key))
    plain["calendar"] = {
        "zone": policy.calendar.zone,
        "weekend": [WEEKDAYS[day] for day in sorted(policy.calendar.weekend)],
        "holidays": f"{len(policy.calendar.holidays)} days, {digest(sorted(map(str, policy.calendar.holidays)))[:12]}",
    }
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, Span):
        return f"{value.business_days} business days" if value.business_days is not None else _plain(value.elapsed)
    if isinstance(value, frozenset):
        return sorted(str(item) for item in value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Owns | Deadline | Silence):
        shown = {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
        return {name: item for name, item in shown.items() if item not in (None, "", [])}
    return value if value is None or isinstance(value, bool | int) else str(value)

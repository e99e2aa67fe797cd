"""How often parcels are asked about, as the YAML says it: for all, by carrier, by account; the narrower place wins, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tracker.config.presets import Duration, place_of, spell
from tracker.config.yamlfile import Document, Path_
from tracker.domain.cadence import DEFAULT, Cadence, looks_after
from tracker.domain.vocabulary import ShippingStatus

SHORTEST = timedelta(minutes=1)  # carriers forbid to be asked more often, and our clock ticks no faster
LONGEST, LONGEST_AFTERCARE = timedelta(days=30), timedelta(days=90)
KEYS = ("near_delivery", "quiet_after", "slowest", "aftercare")
_OPEN = tuple(status for status in ShippingStatus if not status.terminal or status is ShippingStatus.LOST)


def _no_end(status: ShippingStatus) -> ShippingStatus:
    if status not in _OPEN:
        raise ValueError(f"{status} is an end: `aftercare` says how long it is looked at")
    return status


def _interval(value: timedelta) -> timedelta:
    if not SHORTEST <= value <= LONGEST:
        raise ValueError(f"must be from {spell(SHORTEST)} to {spell(LONGEST)}")
    return value


def _aftercare(value: timedelta) -> timedelta:
    if value > LONGEST_AFTERCARE:
        raise ValueError(f"must be {spell(LONGEST_AFTERCARE)} or less")
    return value


Open = Annotated[ShippingStatus, AfterValidator(_no_end)]
Interval = Annotated[Duration, AfterValidator(_interval)]


class CadencePart(BaseModel):
    """How often a parcel is asked about; what is left out is as it is said for more."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    every: Mapping[Open, Interval] = Field({}, description="How often, by shipping status.")
    near_delivery: Interval | None = Field(None, description="How often within 6 h of the estimated delivery.")
    quiet_after: Interval | None = Field(
        None, description="Without news for so long a parcel is asked about half as often."
    )
    slowest: Interval | None = Field(None, description="No open parcel is asked about more rarely.")
    aftercare: Annotated[Duration, AfterValidator(_aftercare)] | None = Field(
        None,
        description="Looks after a parcel was delivered go on for so long, ever rarer: carriers correct themselves.",
    )

    def said(self) -> dict[str, timedelta]:
        """Return what it says, by the key of the YAML: `every.in_transit`, `aftercare`, ..."""
        found = {f"every.{status}": interval for status, interval in self.every.items()}
        return found | {key: value for key in KEYS if (value := getattr(self, key)) is not None}


def plain(said: Mapping[str, timedelta | str]) -> dict[str, Any]:
    """Return what is said as it stands in the YAML: `every` is a mapping of its own."""
    found: dict[str, Any] = {}
    for key, value in said.items():
        inner, _, status = key.partition(".")
        where = found.setdefault(inner, {}) if status else found
        where[status or key] = spell(value) if isinstance(value, timedelta) else value
    return found


def written(part: CadencePart, path: Path_, document: Document) -> dict[str, str]:
    """Return where each key of a part is written: `file:line`."""
    return {key: place_of(document, (*path, *key.split("."))) for key in part.said()}


class RootCadence(CadencePart):
    """The same for all parcels, and for those of single carriers."""

    carriers: Mapping[str, CadencePart] = Field({}, description="The same by carrier, such as dhl.")

    def places(self, document: Document) -> dict[str, str]:
        """Return where each key of it is written: `every.in_transit`, `carriers.dhl.aftercare`, ..."""
        found = written(self, ("cadence",), document)
        for carrier, part in self.carriers.items():
            inner = written(part, ("cadence", "carriers", carrier), document)
            found |= {f"carriers.{carrier}.{key}": place for key, place in inner.items()}
        return found

    def shown(self) -> dict[str, Any]:
        """Return it as it is in force, as the YAML would say it."""
        carriers = {carrier: plain(part.said()) for carrier, part in self.carriers.items()}
        return {**plain({key: value for key, value, _ in told(self)}), "carriers": carriers}


def parts_of(root: RootCadence, account: CadencePart | None, carrier: str | None) -> Iterator[tuple[str, CadencePart]]:
    """Yield what is said of an account's parcels of a carrier, the widest first, each with its place: `cadence`, ..."""
    yield "cadence", root
    if carrier is not None and (of_carrier := root.carriers.get(carrier)) is not None:
        yield f"cadence.carriers.{carrier}", of_carrier
    if account is not None:
        yield "account", account


def cadence_of(root: RootCadence, account: CadencePart | None = None, carrier: str | None = None) -> Cadence:
    """Return how often an account is asked about a carrier's parcels."""
    every = dict(DEFAULT.intervals)
    values: dict[str, Any] = {}
    for _, part in parts_of(root, account, carrier):
        every |= part.every
        values |= {key: value for key, value in part.said().items() if key in KEYS}
    if "aftercare" in values:
        values["aftercare"] = looks_after(values["aftercare"])
    return replace(DEFAULT, intervals=MappingProxyType(every), **values)


def told(
    root: RootCadence, account: CadencePart | None = None, carrier: str | None = None
) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a cadence with its value as the YAML spells it, and the part that says it ("" is the default)."""
    cadence = cadence_of(root, account, carrier)
    said = {key: place for place, part in parts_of(root, account, carrier) for key in part.said()}
    values: dict[str, timedelta] = {f"every.{status}": cadence.intervals[status] for status in _OPEN}
    values |= {key: getattr(cadence, key) for key in KEYS if key != "aftercare"}
    values["aftercare"] = cadence.aftercare[-1] if cadence.aftercare else timedelta(0)
    for key, value in values.items():
        yield key, spell(value), said.get(key, "")

"""Read an order by its paths. It is not told without what a write depends on; a line or number that cannot be read makes it partial."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from adapters.generic.settings import Facts, FulfilmentFacts, ItemFacts, PieceFacts, Settings
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Fulfilment, Item, Order, Published, Unread
from tracker.domain.vocabulary import OrderStatus, Owner, ShippingStatus
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import absent, kind, optional, term, text, word
from tracker.plugin.times import time_of
from tracker.plugin.tracked import flag, money, parcels, strict

T = TypeVar("T")
F = TypeVar("F", ItemFacts, FulfilmentFacts, PieceFacts)
MOST_PIECES = 10**9


@dataclass
class Reader:
    """What reads the orders of one payload."""

    store: str
    settings: Settings
    carrier_of: Callable[[str], str | None]
    reading: Reading

    def order(self, row: dict[str, Any], unread: list[Unread]) -> Order:
        """Read an order. Raises BadPayload with the path where it cannot be told."""
        facts: Facts = self.settings.facts
        raw, raw_payment = self._needed(row, facts.status, word), self._needed(row, facts.payment, word)
        status = self.settings.statuses.get(raw) or (
            _status(raw) if not self.settings.statuses else OrderStatus.UNKNOWN
        )
        set_at = self._time(row, facts.status_at, unread)
        cancelled = self._time(row, facts.cancelled, unread)
        moment = partial(_aware, form=facts.time_format)
        return Order(
            store=self.store,
            ref=self._needed(row, facts.ref, word),
            number=self._needed(row, facts.number, word),
            status=status,
            raw_status=raw,
            payment=money(raw_payment, self.settings.payments),
            raw_payment=raw_payment,
            placed_at=self._needed(row, facts.placed, moment),
            updated_at=self._needed(row, facts.updated, moment),
            cancelled_at=cancelled or (set_at if status is OrderStatus.CANCELLED else None),
            owner=Owner.UNKNOWN,
            items=tuple(self._each(row, facts.items, self._item, unread)),
            fulfilments=tuple(self._each(row, facts.fulfilments, self._fulfilment, unread)),
            actor=self._strict(row, facts.actor).lower() or "unknown",
            status_at=set_at,
            method=self._strict(row, facts.method),
            service=self._strict(row, facts.service),
            location=self._strict(row, facts.location),
            tags=tuple(self._tags(row, facts.tags, unread)),
            pays_by=self._strict(row, facts.pays_by),
            ships_to=self._term(row, facts.country, unread).upper()[:2],
            locale=self._term(row, facts.locale, unread),
        )

    def _needed(self, row: dict[str, Any], path: Path, read: Callable[[Any, str], Any]) -> Any:
        """Read what a write depends on; what stands in its way is its own problem."""
        odd: list[Unread] = []
        value = self.reading.one(path, row, odd)
        if odd:
            raise BadPayload(odd[0].where, odd[0].problem)
        return read(value, path.where)

    def _strict(self, row: dict[str, Any], path: Path | None) -> str:
        return self._needed(row, path, strict) if path is not None else ""

    def _term(self, row: dict[str, Any], path: Path | None, unread: list[Unread]) -> str:
        return term(self.reading.one(path, row, unread), path.where, unread) if path is not None else ""

    def _time(self, row: dict[str, Any], path: Path | None, unread: list[Unread]) -> datetime | None:
        if path is None:
            return None
        form = self.settings.facts.time_format
        return optional(partial(_aware, form=form), self.reading.one(path, row, unread), path.where, unread)

    def _each(
        self,
        row: dict[str, Any],
        facts: F | None,
        read: Callable[[dict[str, Any], list[Unread], F], T],
        unread: list[Unread],
    ) -> list[T]:
        """Read the parts of an order; one that cannot be read makes the order partial."""
        if facts is None:
            return []
        return self.reading.each(facts.each, row, read, unread, facts, lacks="line") or []

    def _tags(self, row: dict[str, Any], path: Path | None, unread: list[Unread]) -> Iterator[str]:
        found = self._needed(row, path, _list) if path is not None else []
        for at, one in enumerate(found):
            if (tag := optional(word, one, f"{path.where if path else '$'}[{at}]", unread)) is not None:
                yield tag

    def _item(self, row: dict[str, Any], unread: list[Unread], facts: ItemFacts) -> Item:
        return Item(
            ref=self._needed(row, facts.ref, word),
            ordered=self._needed(row, facts.ordered, _count),
            removed=self._needed(row, facts.removed, _maybe_count) if facts.removed is not None else 0,
            shippable=facts.shippable is None or self._needed(row, facts.shippable, flag) is not False,
            name=self._term(row, facts.name, unread),
        )

    def _fulfilment(self, row: dict[str, Any], unread: list[Unread], facts: FulfilmentFacts) -> Fulfilment:
        odd: list[Unread] = []
        company = self._term(row, facts.company, unread)
        typed = self.reading.one(facts.numbers, row, odd)
        cancelled = self.reading.holds(facts.cancelled, row, odd)
        if odd:
            raise BadPayload(odd[0].where, odd[0].problem)
        found, strange = parcels(typed, self.carrier_of(company), company, facts.numbers.where, unread)
        return Fulfilment(
            ref=self._needed(row, facts.ref, word),
            status=self._term(row, facts.status, unread),
            parcels=tuple(found),
            quantities=tuple(self._each(row, facts.items, self._piece, unread)),
            published=self._published(row, facts, unread),
            live=not cancelled,
            shipped_at=self._time(row, facts.shipped, unread),
            service=self._term(row, facts.service, unread),
            unreadable=tuple(strange),
        )

    def _piece(self, row: dict[str, Any], _unread: list[Unread], facts: PieceFacts) -> tuple[str, int]:
        return self._needed(row, facts.ref, word), self._needed(row, facts.quantity, _count)

    def _published(self, row: dict[str, Any], facts: FulfilmentFacts, unread: list[Unread]) -> Published | None:
        raw = self._needed(row, facts.shows, strict) if facts.shows is not None else ""
        at = self._time(row, facts.shows_at, unread)
        return Published(shown_by(self.settings, raw), raw, at) if raw and at is not None else None


def shown_by(settings: Settings, raw: str) -> ShippingStatus | None:
    """Return the shipping status that a word of the shop shows; None: a word that we do not write."""
    write = settings.writes.shipping
    words = write.words if write is not None else {}
    return next((status for status, spelt in words.items() if spelt == raw), None)


def _status(raw: str) -> OrderStatus:
    """Read a word of a shop that says what we say."""
    try:
        return OrderStatus(raw)
    except ValueError:
        return OrderStatus.UNKNOWN


def _list(value: Any, where: str) -> list[Any]:
    if absent(value):
        return []
    if not isinstance(value, list):
        raise BadPayload(where, f"must be a list, is {kind(value)}")
    return value


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PIECES:
        raise BadPayload(where, "must be a whole number of pieces")
    return value


def _maybe_count(value: Any, where: str) -> int:
    return 0 if value is None else _count(value, where)


def _aware(value: Any, where: str, *, form: str) -> datetime:
    at = time_of(value, where, form)
    if at.tzinfo is None:
        raise BadPayload(where, "must carry an offset, such as Z")
    return at


def texts(value: Any) -> list[str]:
    """Return the texts of a list, or one text."""
    return [text(one) for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]

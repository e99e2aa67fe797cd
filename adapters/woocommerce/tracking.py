"""Where a WooCommerce shop keeps tracking: its own order fulfilments, Shipment Tracking, AST, and meta keys that the merchant names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tracker.domain.errors import BadPayload
from tracker.domain.facts import Fulfilment, Unread
from tracker.plugin.payloads import absent, listing, moment, optional, piece, pieces, term, word
from tracker.plugin.tracked import count, parcels

FULFILLMENTS, SHIPMENT_TRACKING, AST = "fulfillments", "shipment_tracking", "ast"
CORE = "wc/v3"  # below /wp-json/
NAMES = {FULFILLMENTS: "order fulfilments (WooCommerce)", SHIPMENT_TRACKING: "Shipment Tracking", AST: "AST"}
PROVIDER_KEYS = (
    "_shipment_provider",
    "_shipping_provider",
    "_tracking_provider",
)  # the first is written; all three are found
ORDERS_OF_DATES = {"dmy": "%d-%m-%Y", "mdy": "%m-%d-%Y"}
PLUGIN, META = (
    "t-",
    "m-",
)  # begin the refs of what a tracking plugin and meta keys tell; of a fulfilment it is the bare id
_NAMESPACE = re.compile(r"(wc-ast|wc-shipment-tracking)/v\d{1,2}")
_SECONDS = re.compile(r"\d{9,10}")
_TURNED = re.compile(r"(\d{2})[-/.](\d{2})[-/.](\d{4})")


class Place(NamedTuple):
    """One place of a shop that holds tracking: its name in the settings, and the namespace below `/wp-json/`."""

    name: str
    namespace: str

    def path(self, order: str) -> str:
        """Return where the tracking of an order (a segment of a path) is listed, below `/wp-json/`."""
        return f"{self.namespace}/orders/{order}/{FULFILLMENTS if self.name == FULFILLMENTS else 'shipment-trackings'}"


DEFAULTS = (Place(FULFILLMENTS, CORE), Place(SHIPMENT_TRACKING, "wc-shipment-tracking/v3"), Place(AST, "wc-ast/v3"))


def plugin_of(namespaces: list[Any]) -> Place | None:
    """Tell which tracking plugin a site has, by the namespaces of its index: AST answers under Shipment Tracking's too."""
    found = sorted((one for one in namespaces if isinstance(one, str) and _NAMESPACE.fullmatch(one)), reverse=True)
    for name, begins in ((AST, "wc-ast/"), (SHIPMENT_TRACKING, "wc-shipment-tracking/")):
        for namespace in found:
            if namespace.startswith(begins):
                return Place(name, namespace)
    return None


class Reader:
    """Reads what those places tell, by a store's own words for carriers and its order of day and month."""

    def __init__(
        self, carrier_of: Callable[[str], str | None], date_order: str, number_key: str, carrier_key: str
    ) -> None:
        """Keep how this store spells things."""
        self._carrier_of, self._date_order = carrier_of, date_order
        self._number_key, self._carrier_key = number_key, carrier_key

    def all_of(
        self, order: Mapping[str, Any], core: list[Any], plugin: list[Any], unread: list[Unread]
    ) -> tuple[Fulfilment, ...]:
        """Return the fulfilments of an order from each of its places. A number that several tell is told by the first."""
        found = pieces(core, "$.fulfillments", self._fulfilment, unread, lacks="line")
        known = {parcel.number for one in found for parcel in one.parcels}
        others = [*pieces(plugin, "$.trackings", self._tracking, unread, lacks="line"), *self._in_meta(order, unread)]
        for one in others:
            numbers = {parcel.number for parcel in one.parcels}
            if not numbers or not numbers <= known:
                found.append(one)
            known |= numbers
        return tuple(found)

    def _fulfilment(self, row: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        """Read one of WooCommerce's own; of those that were deleted nothing is under way."""
        meta = meta_of(row.get("meta_data"), "$.meta_data")
        given = next((meta[key] for key in PROVIDER_KEYS if not absent(meta.get(key))), None)
        company = term(given, "$.meta_data._shipment_provider", unread)
        if company == "other":
            company = term(meta.get("_provider_name"), "$.meta_data._provider_name", unread)
        number, where = meta.get("_tracking_number"), "$.meta_data._tracking_number"
        found, strange = parcels(number, self._carrier_of(company), company, where, unread)
        items = meta.get("_items")
        if any(not isinstance(one, dict) for one in listing(row.get("meta_data"), "$.meta_data")):
            unread.append(Unread("$.meta_data", "holds what is no entry of it: a number may stand there", lacks="line"))
        return Fulfilment(
            ref=word(row.get("id"), "$.id"),
            status=word(row.get("status"), "$.status"),
            parcels=tuple(found),
            quantities=tuple(pieces(items, "$.meta_data._items", _quantity, unread, lacks="line")),
            live=absent(row.get("date_deleted")),
            shipped_at=optional(gmt, meta.get("_date_fulfilled"), "$.meta_data._date_fulfilled", unread),
            unreadable=tuple(strange),
        )

    def _tracking(self, row: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        """Read one of Shipment Tracking or AST: of the whole order, as far as its documents say."""
        company = term(row.get("tracking_provider"), "$.tracking_provider", unread)
        company = company or term(row.get("custom_tracking_provider"), "$.custom_tracking_provider", unread)
        carrier = self._carrier_of(company)
        found, strange = parcels(row.get("tracking_number"), carrier, company, "$.tracking_number", unread)
        return Fulfilment(
            ref=f"{PLUGIN}{word(row.get('tracking_id'), '$.tracking_id')}",
            status="shipped",
            parcels=tuple(found),
            shipped_at=optional(self._shipped, row.get("date_shipped"), "$.date_shipped", unread),
            unreadable=tuple(strange),
        )

    def _shipped(self, value: Any, where: str) -> datetime:
        """Read a day of shipping: ISO, seconds since 1970, or day and month in the order that the shop's setting says.

        Which of two small numbers is the day nobody can see: without `date_order` it is not read.
        """
        given = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(given, str) and _SECONDS.fullmatch(given.strip()):
            return datetime.fromtimestamp(int(given), UTC)
        turned = _TURNED.fullmatch(given.strip()) if isinstance(given, str) else None
        if turned is None:
            return gmt(given, where)
        orders = [self._date_order] if self._date_order in ORDERS_OF_DATES else [*ORDERS_OF_DATES]
        days = {day for name in orders if (day := _day("-".join(turned.groups()), ORDERS_OF_DATES[name])) is not None}
        if len(days) != 1:
            raise BadPayload(where, f"is a day that `date_order` must tell the order of: {given[:20]!r}")
        return days.pop()

    def _in_meta(self, order: Mapping[str, Any], unread: list[Unread]) -> Iterator[Fulfilment]:
        """Read the meta keys that the merchant names: of the order, and of each of its lines."""
        if not self._number_key:
            return
        yield from piece(order, "$", self._of_meta, unread, False, lacks="line") or ()
        for at, line in enumerate(listing(order.get("line_items"), "$.line_items")):
            if isinstance(line, dict):  # what is no line is told with the lines
                yield from piece(line, f"$.line_items[{at}]", self._of_meta, unread, True, lacks="line") or ()

    def _of_meta(self, row: dict[str, Any], unread: list[Unread], of_line: bool) -> list[Fulfilment]:
        """Read what the named keys say of an order, or of a line and all of its pieces."""
        meta = meta_of(row.get("meta_data"), "$.meta_data")
        value, where = meta.get(self._number_key), f"$.meta_data.{self._number_key}"
        if absent(value):
            return []
        if isinstance(value, list) and any(isinstance(one, dict) for one in value):  # what a plugin keeps there itself
            return pieces(value, where, self._tracking, unread, lacks="line")
        company = (
            term(meta.get(self._carrier_key), f"$.meta_data.{self._carrier_key}", unread) if self._carrier_key else ""
        )
        found, strange = parcels(value, self._carrier_of(company), company, where, unread)
        ref = word(row.get("id"), "$.id")
        quantities = ((ref, count(row.get("quantity"), "$.quantity")),) if of_line else ()
        return [Fulfilment(f"{META}{ref}", "shipped", tuple(found), quantities, unreadable=tuple(strange))]


def meta_of(value: Any, where: str) -> dict[str, Any]:
    """Return the meta of an object by its keys; of a key that stands there twice the last, as WordPress shows it."""
    rows = (row for row in listing(value, where) if isinstance(row, dict))
    return {row["key"]: row.get("value") for row in rows if isinstance(row.get("key"), str)}


def gmt(value: Any, where: str) -> datetime:
    """Read a time of UTC, printed as `2026-03-28T15:00:00`, with a space between, or with its offset."""
    at = moment(value, where)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _day(printed: str, pattern: str) -> datetime | None:
    try:
        at = datetime.strptime(printed, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None
    return at if 1 < at.year < 9999 else None


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    """Read pieces of a line in a fulfilment."""
    given = row.get("qty")
    pieces_ = (
        int(given) if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 10 else given
    )
    return word(row.get("item_id"), "$.item_id"), count(pieces_, "$.qty")

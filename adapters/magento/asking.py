"""How orders and shipments are asked for: search criteria, and a sweep of two lists with a mark each.

Each list is read by `entity_id`, from behind the last one that was told: a list that grows or shrinks meanwhile loses nothing, no page is
far down, and a page past the end, which Magento answers with the last page again, is never asked for. `total_count` says what is left.
`fields` (AdobeDocs, "Retrieve filtered responses") asks for what we read and nothing else: no name, no street, no mail address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tracker.domain.errors import BadPayload, Unavailable
from tracker.plugin.payloads import decode
from tracker.plugin.sweeps import believed

PAGE = 100  # of at most 300, where a shop limits its input
MOST_PAGES = 50  # of the shipments of one order, or of the orders of one page
Filter = tuple[str, str, str]  # field, condition, value

ORDER = (
    "entity_id,increment_id,state,status,created_at,updated_at,is_virtual,grand_total,total_paid,total_due,total_refunded,"
    "shipping_description,items[item_id,parent_item_id,product_type,name,qty_ordered,qty_shipped,qty_refunded,qty_canceled,"
    "is_virtual,locked_do_ship],payment[method,amount_authorized],"
    "extension_attributes[shipping_assignments[shipping[method,address[country_id]]],pickup_location_code]"
)
SHIPMENT = "entity_id,order_id,created_at,updated_at,items[order_item_id,qty],tracks"
FIELDS = {"orders": ORDER, "shipments": SHIPMENT}


def criteria(
    what: str, *filters: Filter, after: int = 0, size: int = PAGE, either: Filter | None = None
) -> dict[str, str]:
    """Return the query of a list: all filters hold (`either` is enough for the first one), sorted by id, behind the one told last."""
    groups = [[one] for one in (*filters, *([("entity_id", "gt", str(after))] if after else []))]
    if either is not None:
        groups[0].append(either)
    query: dict[str, str] = {}
    for at, group in enumerate(groups):
        for n, (name, condition, value) in enumerate(group):
            path = f"searchCriteria[filterGroups][{at}][filters][{n}]"
            query |= {f"{path}[field]": name, f"{path}[value]": value, f"{path}[conditionType]": condition}
    query |= {
        "searchCriteria[sortOrders][0][field]": "entity_id", "searchCriteria[sortOrders][0][direction]": "ASC",
        "searchCriteria[pageSize]": str(size), "searchCriteria[currentPage]": "1",
        "fields": f"items[{FIELDS[what]}],total_count",
    }  # fmt: skip
    return query


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list: its bytes, its rows, how many there are from here on, and the last id (0: there is none)."""

    body: bytes
    rows: list[dict[str, Any]]
    total: int
    last: int

    @property
    def ends(self) -> bool:
        """Say whether nothing follows."""
        return self.total <= len(self.rows)


def listed(body: bytes, what: str, after: int) -> Listed:
    """Read a page as far as paging needs it. Raises Unavailable where it is none, or cannot be gone on from: it is never the end."""
    try:
        told = decode(body)
    except BadPayload:
        told = {}
    rows, total = told.get("items"), told.get("total_count")
    if rows is None and total == 0:
        rows = []
    if not isinstance(rows, list) or isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable(f"GET /{what} answered without its list")
    ids = [row["entity_id"] for row in rows if isinstance(row, dict) and type(row.get("entity_id")) is int]
    if ids != sorted(ids) or (ids and ids[0] <= after):
        raise Unavailable(f"GET /{what} answered out of order: it is asked for by entity_id")
    if total > len(rows) and not ids:
        raise Unavailable(f"GET /{what} says that there are {total}, and tells none")
    return Listed(body, [row for row in rows if isinstance(row, dict)], total, ids[-1] if ids else 0)


def printed(at: datetime, zone: ZoneInfo) -> str:
    """Print a moment as the shop does: without an offset."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def moment(value: Any, where: str, zone: ZoneInfo) -> datetime:
    """Read a moment as the shop prints it. Raises BadPayload for anything else, and for one with an offset: it is in another form."""
    try:
        at = datetime.strptime(value, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - its zone is a setting
    except (TypeError, ValueError):
        raise BadPayload(where, f"must be a time such as 2026-11-02 08:00:00, is {value!r:.40}") from None
    if not 1 < at.year < 9999:
        raise BadPayload(where, f"is no year that can be: {value!r:.40}")
    return at.replace(tzinfo=zone)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a store was swept: each list has its own mark; the list under way has the last id told and its newest change."""

    orders: str = ""
    shipments: str = ""
    kind: str = "orders"
    after: int = 0
    best: str = ""
    began: str = ""  # when the list began to be read, by our clock: its mark never passes that

    @classmethod
    def of(cls, cursor: str | None) -> Cursor:
        """Read a cursor; none is the beginning. Raises ValueError for what is none."""
        return cls(**orjson.loads(cursor)) if cursor else cls()

    def __str__(self) -> str:
        """As it is stored."""
        return orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode()

    @property
    def mark(self) -> str:
        """The mark of the list that is read."""
        return self.orders if self.kind == "orders" else self.shipments

    @property
    def done(self) -> bool:
        """Say whether the sweep is over."""
        return self.kind == "orders" and not self.began

    def begin(self, now: datetime, first: datetime | None) -> Cursor:
        """Begin the list, unless it was begun: from `first` where it has no mark. A mark ahead of our clock is not believed."""
        if self.began:
            return self
        return self._at(believed(self.mark, now) or _iso(first), began=_iso(now))

    def follow(self, page: Listed, zone: ZoneInfo) -> Cursor:
        """Return the cursor that follows a page; a row whose time cannot be read moves nothing."""
        best = max([self.best, *(_stamp(row, zone) for row in page.rows)])
        if not page.ends:
            return replace(self, best=best, after=page.last)
        ended = self._at(min(max(self.mark, best), self.began), began="")
        return replace(ended, kind="shipments" if self.kind == "orders" else "orders", after=0, best="")

    def _at(self, mark: str, began: str) -> Cursor:
        return (
            replace(self, orders=mark, began=began)
            if self.kind == "orders"
            else replace(self, shipments=mark, began=began)
        )


def _iso(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else ""


def _stamp(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    try:
        return _iso(moment(row.get("updated_at"), "$.updated_at", zone))
    except (BadPayload, OverflowError):
        return ""

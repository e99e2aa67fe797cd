"""Ask BigCommerce: for an order in its parts, for what was modified, and for hooks; page by page to the end, or told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import zip_longest
from typing import Any, Protocol

from adapters.bigcommerce.answers import collected, is_object, listed
from adapters.bigcommerce.reading import PAGE, date, is_full
from adapters.bigcommerce.words import REFUNDED
from tracker.domain.errors import NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import Page, Since
from tracker.plugin.calls import Response, segment
from tracker.plugin.payloads import decode
from tracker.plugin.sweeps import Listed, by_id, stamp

MOST = 250  # of a list of an order, in one page
MOST_PAGES = 20
CONSIGNED = {"include": "consignments", "consignment_structure": "object"}  # where it goes, in the order's own answer


class Ask(Protocol):
    """Sends a request to the store: a GET, or with a body a PUT or another method."""

    def __call__(
        self, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None,
        *, version: str = "v2", method: str = "PUT",
    ) -> Response:  # fmt: skip
        """Return the answer. Raises from the error tree."""


def sweep(ask: Ask, query: Since, now: datetime, first: timedelta) -> Iterator[Page]:
    """List what was modified since the cursor (with an overlap), or since `first` before now."""

    def modified(since: datetime | None, page: int) -> Listed:
        assert since is not None  # a store is never read from its beginning
        changed = format_datetime(since.astimezone(UTC))
        params = {"min_date_modified": changed, "sort": "id:asc", "page": str(page), "limit": str(PAGE)}
        response = ask("/orders", params)
        rows = listed(response, Unavailable)
        return Listed(response.body or b"[]", [stamp(row, "date_modified", date) for row in rows], len(rows) < PAGE)

    return by_id(query.cursor, now, now - first, modified)


def one(ask: Ask, ref: str, field: tuple[str, str] | None) -> Page | None:
    """Read an order: its own part, then products and shipments in turn, then refunds where it has some and `field`, page by page.

    None where it is not there. A store that is not there answers with 404 too: so something that each store has is asked for then.
    """
    path = f"/orders/{segment(ref)}"
    try:
        response = ask(path, CONSIGNED)
    except NotFound:
        ask("/order_statuses")
        return None  # not there any more; the others are
    if not is_object(response.body):
        raise Transient("GET /orders/... answered without its order")
    products, lines = _pages(ask, f"{path}/products")
    shipments, _ = _pages(ask, f"{path}/shipments")
    parts = [part for pair in zip_longest(products, shipments, fillvalue=b"[]") for part in pair]
    if _has_refunds(response.body, lines):
        parts += _collection(ask, f"{path}/payment_actions/refunds", {})
    if field is not None:
        parts += _collection(ask, f"{path}/metafields", {"namespace": field[0], "key": field[1]})
    return Page((response.body, *parts))


def hooks(ask: Ask) -> list[Any]:
    """List the hooks (GET /v3/hooks). Raises Refused where the list does not end: what is behind is not known, and may be ours."""
    found: list[Any] = []
    for page in range(1, MOST_PAGES + 1):
        rows, pages = collected(ask("/hooks", {"limit": str(MOST), "page": str(page)}, version="v3"), "GET /hooks")
        again = page > 1 and rows == found[-len(rows) :]
        found += rows
        if not rows or page >= pages:
            return found
        if again:
            raise Refused(
                f"page {page} of the hooks says what page {page - 1} said: whether ours are there is not known"
            )
    raise Refused(f"there are more than {MOST_PAGES * MOST:,} hooks: whether ours are among the rest is not known")


def _pages(ask: Ask, path: str) -> tuple[list[bytes], list[Any]]:
    """Read a list of an order to its end, and return its pages and rows. What is full may go on, by whatever size the store cuts."""
    pages: list[bytes] = []
    found: list[Any] = []
    while len(pages) < MOST_PAGES:
        try:
            response = ask(path, {"limit": str(MOST), "page": str(len(pages) + 1)})
        except NotFound:
            raise Transient(f"{path} is not there, though its order is") from None
        rows, body = listed(response, Transient), response.body or b"[]"
        if pages and all(row in found for row in rows[:1] + rows[-1:]) and rows:
            break  # again the same: the parser sees that the last page is full
        pages.append(body)
        found += rows
        if not is_full(rows):
            break
    return pages, found


def _has_refunds(order: bytes, lines: list[Any]) -> bool:
    """Say whether an order says that something of it was refunded: only then its refunds are asked for."""
    told = (row.get(key) for row in lines if isinstance(row, dict) for key in ("quantity_refunded", "is_refunded"))
    return decode(order).get("status_id") in REFUNDED or any(told)


def _collection(ask: Ask, path: str, params: Mapping[str, str]) -> list[bytes]:
    """Read a list of V3 of an order. Raises Transient where it is not there, or does not end."""
    pages: list[bytes] = []
    while len(pages) < MOST_PAGES:
        more = {"page": str(len(pages) + 1)} if pages else {}
        try:
            response = ask(path, {**params, **more}, version="v3")
        except NotFound:
            raise Transient(f"{path} is not there, though its order is") from None
        rows, of = collected(response, path)
        pages.append(response.body)
        if not rows or len(pages) >= of:
            return pages
    raise Transient(f"{path} goes on behind {MOST_PAGES} pages")

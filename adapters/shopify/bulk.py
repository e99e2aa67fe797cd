"""The first sync of a large shop by one bulk operation: it is started once, waited for, and its result read in pages.

Shopify writes one JSON object a line: an order, or what hangs on one (`__parentId`), in any order. So the result is indexed on disk, and
orders are put together page by page; the cursor says where the next one stands, so that a killed process goes on there. What changed since
the operation began is read by the ordinary sweep, which goes on from that moment by the shop's clock: nothing is lost between the two.

Where Shopify ends an operation without a whole result, none of it is taken (shopify.dev, bulk operations, read 2026-11). One that ran out of
time asks for too much: orders are then read in spans of the days when they were placed, from the youngest on, shorter ones where that is
still too much. One that failed in Shopify is started once more; then, and where a day is too much, pages are read.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, date, timedelta
from typing import Any, BinaryIO, NamedTuple

import orjson

from adapters.shopify.reads import OPERATION, RUNNING, START, bulk
from adapters.shopify.routing import routing_of
from adapters.shopify.words import UNSHIPPED
from adapters.shopify.writing import Ask
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import NotYet, Page, Unread
from tracker.plugin.calls import Client
from tracker.plugin.graphql import data_of
from tracker.plugin.payloads import decode, mapping, text, word
from tracker.plugin.tracked import aware

PAGE = 200  # orders
AGAIN = timedelta(minutes=1)  # between two looks at an operation (shopify.dev: poll about once a minute)
AT_ONCE = timedelta(seconds=1)
BUSY = timedelta(minutes=5)  # where the shop runs as many operations as it may
BY_PAGES = "|"  # the cursor of a first sync that reads page by page from the beginning
FIRST_SPAN = 32  # days
BEGINNING = date(2006, 1, 1)  # there was no Shopify before
_MARK = "bulk"
_GID = re.compile(r"gid://shopify/BulkOperation/[0-9]{1,20}")


class Cursor(NamedTuple):
    """An operation of ours (none: it is to be started), when the first one began by the shop's clock, and where in its result the next order stands.

    It reads the orders placed in so many `days` before `until` (0: all of them; `until` empty: up to now). `tries`: how often
    Shopify failed.
    """

    operation: str
    began: str
    at: int = 0
    until: str = ""
    days: int = 0
    tries: int = 0

    def __str__(self) -> str:
        return "|".join((_MARK, *map(str, self)))

    @classmethod
    def of(cls, cursor: str) -> Cursor:
        """Read a cursor, also of before there were spans."""
        operation, began, at, *more = cursor.split("|")[1:]
        until, days, tries = more if more else ("", "0", "0")
        return cls(operation, began, int(at), until, int(days), int(tries))

    @property
    def since(self) -> date:
        """The first day of its span."""
        until = (
            date.fromisoformat(self.until) if self.until else date.fromisoformat(self.began[:10]) + timedelta(days=1)
        )
        return max(until - timedelta(days=self.days), BEGINNING)

    def query(self, field: str) -> str:
        """Return the operation that reads its span."""
        if not self.days:
            return bulk(field=field)
        begins = f" created_at:>='{self.since.isoformat()}'" if self.since > BEGINNING else ""
        ends = f" created_at:<'{self.until}'" if self.until else ""
        return bulk(begins + ends, field)

    def narrower(self) -> Cursor | None:
        """Return a shorter span to begin with; None where there is none."""
        if self.days == 1:
            return None
        return self._replace(operation="", at=0, days=self.days // 2 or FIRST_SPAN)

    def before(self) -> Cursor | None:
        """Return the span before this one, which is four times as long; None where there are no orders before."""
        if not self.days or self.since <= BEGINNING:
            return None
        return Cursor("", self.began, 0, self.since.isoformat(), self.days * 4)


def goes_on(cursor: str | None) -> bool:
    """Say whether a first sync by an operation is under way: it comes to its end whatever the settings say now."""
    return cursor is not None and cursor.startswith(f"{_MARK}|")


def pages(client: Client, ask: Ask, cursor: str | None, field: str) -> Iterator[Page]:
    """Go on with a first sync: start the operation, look whether it is done, or read its result. `field`: see `reads.bulk`.

    Raises NotFound where the operation or its result is not there any more: it begins anew. CredentialsRejected where the app may
    not read what it asks for.
    """
    at = Cursor.of(cursor) if cursor else Cursor("", "")
    if not at.operation:
        yield _started(ask, at, field)
        return
    told = data_of(ask(OPERATION, {"id": at.operation}), "bulkOperation")["bulkOperation"]
    if told is None:
        raise NotFound("the bulk operation is not there any more")
    told = mapping(told, "$.data.bulkOperation")
    status, error = text(told.get("status")), text(told.get("errorCode"))
    if status in ("CREATED", "RUNNING", "CANCELING"):
        why = f"bulk operation {status}, {text(told.get('objectCount'))} objects"
        yield Page((), str(at), not_yet=NotYet(AGAIN, why))
    elif status == "COMPLETED":
        yield from _result(client, told, at)
    elif status == "EXPIRED":
        raise NotFound("the result of the bulk operation is not there any more")
    elif error == "ACCESS_DENIED":
        raise CredentialsRejected("ACCESS_DENIED: the app may not read all that the bulk operation asks for")
    elif status in ("FAILED", "CANCELED"):
        yield _without_result(at, f"bulk operation {status} {error}".rstrip(), timed_out=error == "TIMEOUT")
    else:
        raise Unavailable(f"the bulk operation is in a state of which nothing is known: {status!r:.40}")


def _without_result(at: Cursor, why: str, *, timed_out: bool) -> Page:
    """Go on without a result: with a shorter span, once more, or by pages."""
    if timed_out:
        next_, how = at.narrower(), "a shorter span of orders is read"
    else:
        next_, how = None if at.tries else at._replace(operation="", at=0, tries=1), "it is started once more"
    if next_ is None:
        return Page((), BY_PAGES, not_yet=NotYet(AT_ONCE, f"{why}: orders are read page by page"))
    return Page((), str(next_), not_yet=NotYet(AT_ONCE, f"{why}: {how}"))


def _started(ask: Ask, at: Cursor, field: str) -> Page:
    """Start an operation, unless one with this query runs: a process may have died between its start and its commit."""
    query = at.query(field)
    listed = data_of(ask(RUNNING, {}), "bulkOperations")["bulkOperations"]
    running = mapping(listed, "$.data.bulkOperations").get("nodes")
    for node in running if isinstance(running, list) else ():
        if isinstance(node, dict) and node.get("query") == query:
            return _waits(at, node, "an operation of ours runs already")
    made = mapping(data_of(ask(START, {"q": query}), "bulkOperationRunQuery")["bulkOperationRunQuery"], "$.data.start")
    refusals = [one for one in made.get("userErrors") or () if isinstance(one, dict)]
    if any(one.get("code") in ("OPERATION_IN_PROGRESS", "LIMIT_REACHED") for one in refusals):
        why = "the shop runs as many bulk operations as it may"
        return Page((), str(at) if at.began else None, not_yet=NotYet(BUSY, why))
    if refusals:
        raise Refused("; ".join(text(one.get("message")) for one in refusals))
    return _waits(at, mapping(made.get("bulkOperation"), "$.data.start.bulkOperation"), "bulk operation started")


def _waits(at: Cursor, operation: Mapping[str, Any], why: str) -> Page:
    began = at.began or aware(operation.get("createdAt"), "$.createdAt").astimezone(UTC).isoformat()
    ref = word(operation.get("id"), "$.id")
    if not _GID.fullmatch(ref):
        raise BadPayload("$.id", "is no bulk operation")
    return Page((), str(at._replace(operation=ref, began=began)), not_yet=NotYet(AGAIN, why))


def _result(client: Client, told: Mapping[str, Any], at: Cursor) -> Iterator[Page]:
    """Read a result from where it stands on. Without a URL there was nothing to tell."""
    before = at.before()
    ends = str(before) if before else f"{at.began}|"
    if told.get("url") is None:
        yield Page((_body([]),), ends)
    else:
        size, total = text(told.get("fileSize")), text(told.get("rootObjectCount"))
        if not size.isdecimal():
            raise Transient("the bulk operation is done and does not say how large its result is")
        with client.stream(word(told.get("url"), "$.url"), int(size)) as file:
            result = _Result(file)
            try:
                where: int | None = at.at
                while where is not None:
                    nodes, where = result.orders(where)
                    next_ = ends if where is None else str(at._replace(at=where))
                    yield Page((_body(nodes),), next_, int(total) if total.isdecimal() else None)
            finally:
                result.close()
    if before:
        yield Page((), ends, not_yet=NotYet(AT_ONCE, f"orders placed before {before.until} are read"))


def _body(nodes: list[Any]) -> bytes:
    return orjson.dumps({"data": {"orders": {"bulk": True, "nodes": nodes}}})


class _Result:
    """A result on disk, and an index of its lines that SQLite keeps on disk too."""

    def __init__(self, file: BinaryIO) -> None:
        """Index it. Raises Transient for what is no such result at all."""
        self._file = file
        self._index = sqlite3.connect("")  # private, and gone when it is closed
        self._index.execute("CREATE TABLE lines (at INTEGER PRIMARY KEY, id TEXT, parent TEXT)")
        self._index.executemany("INSERT INTO lines VALUES (?, ?, ?)", self._lines())
        self._index.execute("CREATE INDEX parents ON lines (parent)")
        self._index.execute("CREATE INDEX ids ON lines (id)")
        # a line of an order that did not come belongs to nobody: it is told beside the orders, as one that cannot be read is
        self._index.execute(
            "UPDATE lines SET parent = NULL, id = NULL WHERE parent IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM lines known WHERE known.id = lines.parent)"
        )

    def close(self) -> None:
        """Forget the index."""
        self._index.close()

    def _lines(self) -> Iterator[tuple[int, str | None, str | None]]:
        at = read = 0
        for line in self._file:
            if line.strip():
                row = _object(line)
                id_, parent = row.get("id"), row.get("__parentId")
                read += bool(row)
                known = isinstance(id_, str) and (parent is None or isinstance(parent, str))
                yield (at, id_, parent) if known else (at, None, None)
            at += len(line)
        if at and not read:
            raise Transient("what came as the result of the bulk operation holds no object at all")

    def orders(self, where: int) -> tuple[list[Any], int | None]:
        """Return a page of orders from a place on, each with its lines, and where the next one stands. None stands for what is none."""
        rows = self._index.execute(
            "SELECT at, id FROM lines WHERE parent IS NULL AND at >= ? ORDER BY at LIMIT ?", (where, PAGE + 1)
        ).fetchall()
        nodes = [self._order(at, id_) if id_ is not None else None for at, id_ in rows[:PAGE]]
        return nodes, rows[PAGE][0] if len(rows) > PAGE else None

    def _order(self, at: int, ref: str) -> dict[str, Any]:
        """Put an order together: its lines, its fulfilment orders, and the lines of these."""
        node = self._at(at)
        lines: list[dict[str, Any]] = []
        routes: list[dict[str, Any]] = []
        for one in self._children(ref):
            if text(one.get("id")).startswith("gid://shopify/FulfillmentOrder/"):
                routes.append({**one, "lineItems": {"nodes": self._children(text(one.get("id")))}})
            else:
                lines.append(one)
        node |= {"lineItems": {"nodes": lines}, "fulfillmentOrders": {"nodes": routes}}
        return _with_parts(node)

    def _children(self, ref: str) -> list[dict[str, Any]]:
        rows = self._index.execute("SELECT at FROM lines WHERE parent = ? ORDER BY at", (ref,)).fetchall()
        found = [self._at(place) for (place,) in rows]
        return [{key: value for key, value in one.items() if key != "__parentId"} for one in found]

    def _at(self, place: int) -> dict[str, Any]:
        self._file.seek(place)
        return _object(self._file.readline())


def _object(line: bytes) -> dict[str, Any]:
    try:
        return decode(line)
    except BadPayload:
        return {}


def _with_parts(node: dict[str, Any]) -> dict[str, Any]:
    """Say of the fulfilments what is certain without their events and lines: that one is over, or that the only one is delivered.

    What the fulfilment orders say was fulfilled is what the only live fulfilment holds, where the numbers agree.
    """
    parts = [one for one in node.get("fulfillments") or () if isinstance(one, dict)]
    live = [one for one in parts if one.get("status") not in UNSHIPPED]
    for part in parts:
        if part.get("status") in UNSHIPPED:
            part |= {"events": {"nodes": []}, "fulfillmentLineItems": {"nodes": []}}
    if len(live) == 1 and live[0].get("displayStatus") == "DELIVERED" and live[0].get("deliveredAt") is not None:
        (part,) = live
        held = _fulfilled(node)
        if held and sum(held.values()) == part.get("totalQuantity"):
            part["events"] = {"nodes": [{"status": "DELIVERED", "happenedAt": part["deliveredAt"]}]}
            lines = [{"quantity": pieces, "lineItem": {"id": ref}} for ref, pieces in held.items()]
            part["fulfillmentLineItems"] = {"nodes": lines}
    return node


def _fulfilled(node: dict[str, Any]) -> dict[str, int]:
    unread: list[Unread] = []
    routing = routing_of(node, unread)  # the list is ours
    return {} if unread else routing.fulfilled()


def under_way(node: Any) -> bool:
    """Say whether an order of a result has to be read by its id: what one of its fulfilments shows, or holds, is not in it."""
    parts = node.get("fulfillments") if isinstance(node, dict) else None
    return isinstance(parts, list) and any(isinstance(part, dict) and "events" not in part for part in parts)

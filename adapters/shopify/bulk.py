"""The first sync of a large shop by one bulk operation: it is started once, waited for, and its result read in pages.

Shopify writes one JSON object a line: an order, or a line of one (`__parentId`), in any order. So the result is indexed on disk, and orders
are put together page by page; the cursor says where the next one stands, so that a killed process goes on there. What changed since the
operation began is read by the ordinary sweep, which goes on from that moment by the shop's clock: nothing is lost between the two.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, timedelta
from typing import Any, BinaryIO, NamedTuple

import orjson

from adapters.shopify.queries import OPERATION, RUNNING, START
from adapters.shopify.words import UNSHIPPED
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import NotYet, Page
from tracker.plugin.calls import Client, Response
from tracker.plugin.graphql import data_of
from tracker.plugin.payloads import decode, mapping, text, word
from tracker.plugin.tracked import aware

PAGE = 200  # orders
AGAIN = timedelta(minutes=1)  # between two looks at an operation (shopify.dev: poll about once a minute)
BUSY = timedelta(minutes=5)  # where the shop runs as many operations as it may
BY_PAGES = "|"  # the cursor of a first sync that reads page by page from the beginning
_MARK = "bulk"
_GID = re.compile(r"gid://shopify/BulkOperation/[0-9]{1,20}")
Asks = Callable[[str, Mapping[str, Any]], Response]


class Cursor(NamedTuple):
    """An operation of ours, when it began by the shop's clock, and where in its result the next order stands."""

    operation: str
    began: str
    at: int = 0

    def __str__(self) -> str:
        return "|".join((_MARK, self.operation, self.began, str(self.at)))


def goes_on(cursor: str | None) -> bool:
    """Say whether a first sync by an operation is under way: it comes to its end whatever the settings say now."""
    return cursor is not None and cursor.startswith(f"{_MARK}|")


def pages(client: Client, ask: Asks, cursor: str | None, query: str) -> Iterator[Page]:
    """Go on with a first sync: start the operation, look whether it is done, or read its result.

    Raises NotFound where the operation or its result is not there any more: it begins anew. CredentialsRejected where the app may
    not read what it asks for. Where Shopify ends an operation without a whole result, none of it is taken, and pages are read.
    """
    if not cursor:
        yield _started(ask, query)
        return
    at = _read(cursor)
    told = data_of(ask(OPERATION, {"id": at.operation}), "bulkOperation")["bulkOperation"]
    if told is None:
        raise NotFound("the bulk operation is not there any more")
    told = mapping(told, "$.data.bulkOperation")
    status, error = text(told.get("status")), text(told.get("errorCode"))
    if status in ("CREATED", "RUNNING", "CANCELING"):
        yield Page(
            (), str(at), not_yet=NotYet(AGAIN, f"bulk operation {status}, {text(told.get('objectCount'))} objects")
        )
    elif status == "COMPLETED":
        yield from _result(client, told, at)
    elif status == "EXPIRED":
        raise NotFound("the result of the bulk operation is not there any more")
    elif error == "ACCESS_DENIED":
        raise CredentialsRejected("ACCESS_DENIED: the app may not read all that the bulk operation asks for")
    elif status in ("FAILED", "CANCELED"):
        why = f"bulk operation {status} {error}".rstrip()
        yield Page((), BY_PAGES, not_yet=NotYet(timedelta(seconds=1), f"{why}: orders are read page by page"))
    else:
        raise Unavailable(f"the bulk operation is in a state of which nothing is known: {status!r:.40}")


def _started(ask: Asks, query: str) -> Page:
    """Start an operation, unless one with this query runs: a process may have died between its start and its commit."""
    listed = data_of(ask(RUNNING, {}), "bulkOperations")["bulkOperations"]
    running = mapping(listed, "$.data.bulkOperations").get("nodes")
    for node in running if isinstance(running, list) else ():
        if isinstance(node, dict) and node.get("query") == query:
            return _waits(node, "an operation of ours runs already")
    made = mapping(data_of(ask(START, {"q": query}), "bulkOperationRunQuery")["bulkOperationRunQuery"], "$.data.start")
    refusals = [one for one in made.get("userErrors") or () if isinstance(one, dict)]
    if any(one.get("code") in ("OPERATION_IN_PROGRESS", "LIMIT_REACHED") for one in refusals):
        return Page((), None, not_yet=NotYet(BUSY, "the shop runs as many bulk operations as it may"))
    if refusals:
        raise Refused("; ".join(text(one.get("message")) for one in refusals))
    return _waits(mapping(made.get("bulkOperation"), "$.data.start.bulkOperation"), "bulk operation started")


def _waits(operation: Mapping[str, Any], why: str) -> Page:
    began = aware(operation.get("createdAt"), "$.createdAt").astimezone(UTC).isoformat()
    ref = word(operation.get("id"), "$.id")
    if not _GID.fullmatch(ref):
        raise BadPayload("$.id", "is no bulk operation")
    return Page((), str(Cursor(ref, began)), not_yet=NotYet(AGAIN, why))


def _read(cursor: str) -> Cursor:
    _, operation, began, at = cursor.split("|")
    return Cursor(operation, began, int(at))


def _result(client: Client, told: Mapping[str, Any], at: Cursor) -> Iterator[Page]:
    """Read a result from where it stands on. Without a URL there was nothing to tell."""
    ends = f"{at.began}|"
    if told.get("url") is None:
        yield Page((_body([]),), ends)
        return
    size = text(told.get("fileSize"))
    if not size.isdecimal():
        raise Transient("the bulk operation is done and does not say how large its result is")
    with client.stream(word(told.get("url"), "$.url"), int(size)) as file:
        result = _Result(file)
        try:
            where: int | None = at.at
            while where is not None:
                nodes, where = result.orders(where)
                yield Page((_body(nodes),), ends if where is None else str(at._replace(at=where)))
        finally:
            result.close()


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
        node = self._at(at)
        lines = self._index.execute("SELECT at FROM lines WHERE parent = ? ORDER BY at", (ref,)).fetchall()
        found = [self._at(place) for (place,) in lines]
        node["lineItems"] = {
            "nodes": [{key: value for key, value in line.items() if key != "__parentId"} for line in found]
        }
        return _with_events(node)

    def _at(self, place: int) -> dict[str, Any]:
        self._file.seek(place)
        return _object(self._file.readline())


def _object(line: bytes) -> dict[str, Any]:
    try:
        return decode(line)
    except BadPayload:
        return {}


def _with_events(node: dict[str, Any]) -> dict[str, Any]:
    """Say what a fulfilment shows where that is certain without its events: it is over, or it is delivered."""
    parts = node.get("fulfillments")
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, dict):
            continue
        if part.get("status") in UNSHIPPED:
            part["events"] = {"nodes": []}
        elif part.get("displayStatus") == "DELIVERED" and part.get("deliveredAt") is not None:
            part["events"] = {"nodes": [{"status": "DELIVERED", "happenedAt": part["deliveredAt"]}]}
    return node


def under_way(node: Any) -> bool:
    """Say whether an order of a result has to be read by its id: what one of its fulfilments shows is not in it."""
    parts = node.get("fulfillments") if isinstance(node, dict) else None
    return isinstance(parts, list) and any(isinstance(part, dict) and "events" not in part for part in parts)

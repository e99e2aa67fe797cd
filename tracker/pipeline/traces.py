"""One trace from a webhook to its write: where it is begun, and how it survives the database between the steps.

A row that waits carries the `traceparent` (W3C Trace Context) of the step that made it; an order that several webhooks told of
carries several, of which the first is the parent and the others are linked. Without a collector there are none: nothing is begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.store import queries
from tracker.store.tables import orders

MOST = 8  # webhooks that one decision is linked to


class Span(Protocol):
    """A step that is under way."""

    @property
    def parent(self) -> str:
        """Return it as what comes after it is handed it: a `traceparent`."""

    def inside(self) -> AbstractContextManager[object]:
        """Make it what this thread's calls and log lines belong to."""

    def end(self, error: str | None) -> None:
        """End it; `error` is the name of what was raised."""


class Traces(Protocol):
    """Where spans go."""

    def begin(self, name: str, came: str | None, **about: str) -> Span:
        """Begin a step that came of others (`traceparent`s, one space between two), or of none."""

    def within(self, came: str | None) -> AbstractContextManager[object]:
        """Let this thread's log lines belong to what a row came of."""


@contextmanager
def spans_of(
    traces: Traces | None, name: str, rows: Iterable[Any], about: Mapping[str, str], *, roots: bool = False
) -> Iterator[dict[int, Span]]:
    """Begin a step of each row that came of a trace (`roots`: of every row), by its id; all end together.

    `about`: attribute -> column of the row.
    """
    if traces is None:
        yield {}
        return
    spans = {
        row.id: traces.begin(name, row.trace, **{key: str(getattr(row, column)) for key, column in about.items()})
        for row in rows
        if roots or row.trace is not None
    }
    error: str | None = None
    try:
        yield spans
    except BaseException as raised:
        error = type(raised).__name__
        raise
    finally:
        for span in spans.values():
            span.end(error)


def inside(span: Span | None) -> AbstractContextManager[object]:
    """Let this thread's calls and log lines belong to a step, where there is one."""
    return nullcontext() if span is None else span.inside()


def hand_on(
    connection: Connection,
    spans: Mapping[int, Span],
    by_shipment: Mapping[int, Iterable[int]],
    by_order: Mapping[int, Iterable[int]],
) -> None:
    """Have orders, which are locked, carry what told of their shipments and of themselves: their next decision belongs to it.

    `by_shipment` and `by_order` name rows of `spans`.
    """
    o = orders.c
    linked = connection.execute(queries.linked_to(connection, list(by_shipment), o.id, o.trace)).all()
    there = connection.execute(sa.select(o.id, o.trace).where(queries.among(connection, o.id, list(by_order)))).all()
    told: dict[int, dict[str, None]] = {}
    for order_id, trace, rows in (
        *((row.id, row.trace, by_shipment[row.shipment_id]) for row in linked),
        *((row.id, row.trace, by_order[row.id]) for row in there),
    ):
        came = told.setdefault(order_id, dict.fromkeys((trace or "").split()))
        came.update(dict.fromkeys(spans[row].parent for row in rows))
    carried = [{"b_id": i, "trace": " ".join([*came][:MOST])} for i, came in sorted(told.items())]
    queries.change(connection, orders, carried)

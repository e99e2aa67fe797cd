"""The transaction of one batch, as every part of the step is handed it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from tracker.pipeline.context import AppContext


@dataclass(frozen=True)
class Transaction:
    """Where a batch reads and writes, and what time it is there: business time, and the database's."""

    ctx: AppContext
    connection: Connection
    now: datetime
    database: datetime

    @property
    def sqlite(self) -> bool:
        """Whether there is one writer at a time; elsewhere rows are locked."""
        return self.ctx.store.sqlite

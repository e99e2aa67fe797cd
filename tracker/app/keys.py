"""Which public keys a process that receives knows, and what becomes of a message that is signed by another one.

The database is looked into at most once a second an account, whoever sends how much; who waits for the same look shares it. A
message of an unknown key is 503 while a worker asks for that key, and refused only where an answer that was asked for after it first came
lacks it. That it came before is remembered by its delivery's id, of the newest 10,000: who is forgotten is told 503 once more.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from tracker.app.telemetry import place
from tracker.config.model import Account
from tracker.pipeline import keys, receive
from tracker.pipeline.context import AppContext
from tracker.pipeline.keys import Known
from tracker.plugin.contracts import Source

if TYPE_CHECKING:
    import asyncio

log = structlog.get_logger()
EVERY = 1.0  # seconds between two looks for a key that is not known
OLD = 60.0  # seconds after which it is looked again, whoever signs: a key may have been taken away
MOST_REMEMBERED = 10_000


@dataclass
class _Ring:
    """What was seen of an account's keys."""

    source: Source | None = None  # to whom they were given: after a reload it is another one
    known: Known | None = None
    began: float = float("-inf")  # when the look began that saw it
    waiting: list[Callable[[bool], None]] = field(default_factory=list)


class Keys:
    """The rings of a process, used by its event loop alone."""

    def __init__(self, ctx: AppContext) -> None:
        """Nothing is known yet."""
        self._ctx = ctx
        self._rings: dict[str, _Ring] = {}
        self._came: OrderedDict[bytes, datetime] = OrderedDict()

    def old(self, account: Account) -> bool:
        """Say whether an account signs by keys that must be looked for again before anything is verified by them."""
        ring = self._rings.get(account.name)
        return ring is not None and (ring.source is not account.source or time.monotonic() - ring.began > OLD)

    def may_look(self, account: Account, key_id: str) -> bool:
        """Say whether it is to be looked for a key: not again within a second, unless nobody has wanted any."""
        ring = self._rings.get(account.name)
        if ring is None or ring.known is None or ring.source is not account.source or ring.waiting:
            return True
        return time.monotonic() - ring.began >= EVERY or (
            ring.known.wanted is None and key_id not in ring.known.lacking
        )

    def look(
        self, loop: asyncio.AbstractEventLoop, account: Account, key_id: str | None, then: Callable[[bool], None]
    ) -> None:
        """Look into the database, give the account what is there, and then go on; with False where it is away."""
        ring = self._rings.setdefault(account.name, _Ring())
        ring.waiting.append(then)
        if len(ring.waiting) > 1:
            return  # somebody looks; a key that he did not want is wanted by the next look
        began = time.monotonic()

        def seen(told: asyncio.Future[Known]) -> None:
            error = None if told.cancelled() else told.exception()
            waiting, ring.waiting = ring.waiting, []
            there = error is None and not told.cancelled()
            if there:
                ring.known, ring.began, ring.source = told.result(), began, account.source
                account.source.keys = ring.known.keys
            elif error is not None:
                log.warning("step_failed", step="keys", error=type(error).__name__, at=place(error))
            for one in waiting:
                try:
                    one(there)
                except Exception as problem:  # one that cannot be answered holds back no other answer
                    log.error("request_failed", error=type(problem).__name__, at=place(problem))

        loop.run_in_executor(None, keys.look, self._ctx, account, key_id).add_done_callback(seen)

    def lacks(self, account: Account, told: receive.Checked, arrived: float) -> bool:
        """Say whether an answer that was asked for after a message first came lacks its key: then it is refused.

        `arrived`: when it came now, by our monotonic clock. What is remembered is the database's time, or a little later.
        """
        ring = self._rings[account.name]
        assert ring.known is not None
        assert told.key_id is not None
        now = ring.known.now + timedelta(seconds=max(0.0, arrived - ring.known.at))
        delivery = f"{account.name}\0{told.key_id}\0{receive.key_of(account, told.payload)}"
        came = self._came.setdefault(hashlib.sha256(delivery.encode()).digest(), now)
        while len(self._came) > MOST_REMEMBERED:
            self._came.popitem(last=False)
        asked = ring.known.lacking.get(told.key_id)
        return asked is not None and asked > came

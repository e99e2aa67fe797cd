"""Places: how many calls this process makes side by side, and whose they are. A neighbour that is slow, or hangs, costs only itself.

A call is claimed only when there is a place for it: what waits in memory is claimed by nobody. Of the places

* an account has few: one until it answered in this process and after it failed, twice as many with each answer, up to a quarter;
* its plugin or the YAML may allow an account fewer (`side_by_side`), of all kinds together; its next one is a write's that waits;
* a host has at most half, however many accounts share it;
* sweeps have at most a quarter, re-reads and polls at most three quarters each, and both together leave one in sixteen;
* the *slow lane*, for accounts that failed or whose last answer took longer than PATIENCE, has at most a quarter.

Writes have places of their own. Where somebody waits for a place, a call of the fast lane that lasts longer than PATIENCE gives way
(sooner where most places are held by calls that stand still, as when many hosts hang at once): its account is asked again in the slow lane, with its whole time.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tracker.domain.errors import SourceError, Transient

READS, POLLS, SWEEPS, WRITES = "reads", "polls", "sweeps", "writes"
MOSTLY = {READS: "read", POLLS: "poll", SWEEPS: "sweep", WRITES: "read"}  # a write begins by reading its order
PATIENCE = 2.0  # seconds that a call may last while somebody waits for its place
HASTE, LEAST = 0.5, 0.1  # where most calls stand still: four times as long as answers take, within these bounds
FEW = 4  # places for writes, where a quarter is less
Work = Callable[[], SourceError | None]
_OTHERS_AT_WORK = 2  # threads that store or claim while every place is taken


class GaveWay(Transient):
    """A call gave its place to somebody who waited: nothing was learnt, it is asked again where it may take its time."""


@dataclass
class _Known:
    """What this process knows of an account: how many calls at once it may have, whether it is slow, and its host."""

    at_once: int = 1
    slow: bool = False
    host: str = ""


@dataclass(eq=False)
class Place:
    """Room for one call of an account, from its claim to its end."""

    places: Places
    kind: str
    account: str
    slow: bool
    host: str
    urgent: bool = True  # whether its calls are; others have less of a small budget
    since: float | None = None  # when the request at hand began
    longest: float = 0.0  # seconds that a request took
    firm: bool = False  # it does not give way
    what: str = ""  # what its calls are for, as metrics tell it

    def __post_init__(self) -> None:
        """Take what calls of its kind are mostly for."""
        self.what = self.what or MOSTLY[self.kind]

    def asks(self, host: str) -> None:
        """Note that a request begins."""
        self.since = time.monotonic()
        self.places.learn_host(self.account, host)

    def heard(self) -> None:
        """Note that the request came to its end."""
        if self.since is not None:
            self.longest, self.since = max(self.longest, time.monotonic() - self.since), None

    def gives_way(self) -> bool:
        """Say whether the request at hand should end now, without its answer."""
        return not self.firm and self.places.wants(self)


class _Here(threading.local):
    place: Place | None = None


_HERE = _Here()


def here() -> Place | None:
    """Return the place of the call that this thread makes; None where it makes none of ours."""
    return _HERE.place


@contextmanager
def staying() -> Iterator[None]:
    """Keep the place of this thread's call whoever wants it: nobody knows what becomes of half a write."""
    if (place := here()) is None:
        yield
        return
    place.firm, before = True, place.what
    if place.kind == WRITES:
        place.what = "push"
    try:
        yield
    finally:
        place.firm, place.what = False, before


@dataclass
class Room:
    """What may begin now: a claim takes its places from it."""

    places: Places
    failing: frozenset[str] = frozenset()  # accounts whose rows say so
    taken: list[Place] = field(default_factory=list)

    def left(self, kind: str, account: str) -> int:
        """Return how many more calls the account itself may have, whoever else holds a place."""
        return self.places.left(kind, account, failing=account in self.failing)

    def free(self, kind: str) -> int:
        """Return how many calls of a kind may begin, whosever they are."""
        return self.places.count_free(kind)

    def take(self, kind: str, account: str) -> Place | None:
        """Take a place; None where there is none. Who waited in vain is remembered, and calls that last long give way."""
        place = self.places.take(kind, account, failing=account in self.failing)
        if place is not None:
            self.taken.append(place)
        return place

    def take_all(self, kind: str, account: str, wanted: int) -> list[Place]:
        """Take so many places, or as many as there are."""
        found: list[Place] = []
        while len(found) < wanted and (place := self.take(kind, account)) is not None:
            found.append(place)
        return found

    def begin(self, place: Place, work: Work, then: Callable[[], None] | None = None) -> None:
        """Do a call in a place that was taken, whatever becomes of the rest of the claim."""
        self.taken.remove(place)
        self.places.start(place, work, then)

    def back(self, places: Iterable[Place]) -> None:
        """Give back places that are not needed."""
        for place in places:
            self.taken.remove(place)
            self.places.free(place)


class Batches:
    """What ended is stored together with all that ended meanwhile: whoever is first stores for the others, nobody waits."""

    def __init__(self) -> None:
        """Nothing ended yet."""
        self._lock = threading.Lock()
        self._ended: list[Any] = []
        self._stores = False

    def add(self, one: Any, store: Callable[[list[Any]], None]) -> None:
        """Store one, and what others add until nothing is left; or leave it to who stores already. `store` must not raise."""
        with self._lock:
            self._ended.append(one)
            if self._stores:
                return
            self._stores = True
        while True:
            with self._lock:
                batch, self._ended = self._ended, []
                if not batch:
                    self._stores = False
                    return
            store(batch)


class Places:
    """The places of a process, and the threads that make its calls."""

    def __init__(self, most: int) -> None:
        """`most` calls at once; threads are made when they are needed."""
        quarter, writes = max(1, most // 4), max(min(most, FEW), most // 4)
        self._most = {True: writes, False: most}  # of writes, of all others
        self._at_once = quarter
        self._shares = {
            READS: max(1, most * 3 // 4), POLLS: max(1, most * 3 // 4), SWEEPS: quarter, WRITES: writes,
        }  # fmt: skip
        self._pool = ThreadPoolExecutor(most + writes + _OTHERS_AT_WORK, "place")
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._held: set[Place] = set()
        self._counts: Counter[object] = Counter()  # of those that are held: by what bounds them
        self._wanted: Counter[object] = Counter()  # who found no place at the last claim: by what was full
        self._short: set[bool] = set()
        self._usual = HASTE / 4  # seconds that an answer takes, of late
        self._hasty_until = float("-inf")
        self._closing = False
        self.ended = Batches()
        self.most_of: Callable[[str], int | None] = lambda _account: None  # how many calls at once an account allows
        self._writes_first: set[str] = set()  # accounts of which a write found none of those few
        self.failed: Callable[[Exception], object] = lambda _problem: None  # told of what a call could not keep

    @contextmanager
    def reserving(self, *, writes: bool = False) -> Iterator[Room]:
        """Give the room for a claim; what it took goes back where the claim fails."""
        with self._lock:
            self._short.discard(writes)
            if writes:
                self._writes_first.clear()
            for full in (writes, *((WRITES,) if writes else (READS, POLLS, SWEEPS))):
                del self._wanted[full]
        room = Room(self)
        try:
            yield room
        except BaseException:
            for place in room.taken:
                self.free(place)
            raise

    def left(self, kind: str, account: str, *, failing: bool) -> int:
        """Return how many more calls of a kind an account may have for all that it is itself."""
        with self._lock:
            return self._left(kind, account, failing)

    def _left(self, kind: str, account: str, failing: bool) -> int:
        known, writes = self._known.setdefault(account, _Known()), kind == WRITES
        most, counts = self._most[writes], self._counts
        left = (1 if failing or kind in (SWEEPS, WRITES) else known.at_once) - counts[_group(kind), account]
        if failing or known.slow:
            left = min(left, max(1, most // 4) - counts["slow", writes])
        if known.host:
            left = min(left, max(1, most // 2) - counts["host", writes, known.host])
        if (most_of := self.most_of(account)) is not None:
            free = most_of - sum(counts[group, account] for group in (READS, SWEEPS, WRITES))
            if writes and left > 0 and free <= 0:
                self._writes_first.add(account)  # reads leave it the next one
                self._short.add(writes)
            left = min(left, free if writes or account not in self._writes_first else 0)
        if left <= 0 and counts[writes]:
            self._short.add(writes)
        return max(left, 0)

    def in_flight(self, account: str) -> int:
        """Return how many calls of an account were claimed and did not end, sweeps and writes apart."""
        with self._lock:
            return self._counts[READS, account]

    def count_free(self, kind: str) -> int:
        """Return how many places of a kind nobody holds."""
        with self._lock:
            writes, counts = kind == WRITES, self._counts
            found = min(self._shares[kind] - counts[kind], self._most[writes] - counts[writes])
            if kind in (READS, POLLS):
                most = self._most[False]
                found = min(found, most - most // 16 - counts[READS] - counts[POLLS])
            return 0 if self._closing else max(0, found)

    def take(self, kind: str, account: str, *, failing: bool) -> Place | None:
        """Take a place for a call of an account, None where there is none."""
        with self._lock:
            if self._closing or not self._left(kind, account, failing):
                return None
            known = self._known[account]
            slow = failing or known.slow
            if (full := self._full(kind)) is not None:
                self._short.add(kind == WRITES)
                if not slow:
                    self._wanted[full] += 1
                return None
            place = Place(self, kind, account, slow, known.host)
            self._held.add(place)
            self._counts.update(_bounds(place))
            return place

    def _full(self, kind: str) -> object | None:
        """Say what leaves no place for a call of this kind: its own share, or all of them; None where there is one."""
        writes, counts = kind == WRITES, self._counts
        if counts[kind] >= self._shares[kind]:
            return kind
        others = self._most[False] // 16 if kind in (READS, POLLS) else 0
        asked = counts[READS] + counts[POLLS]
        if counts[writes] >= self._most[writes] or (others and asked >= self._most[False] - others):
            return writes
        return None

    def start(self, place: Place, work: Work, then: Callable[[], None] | None = None) -> Future[None]:
        """Do a call in its place, in a thread; `work` returns what went wrong. `then` comes when the place is free again."""
        return self._pool.submit(self._work, place, work, then)

    def _work(self, place: Place, work: Work, then: Callable[[], None] | None) -> None:
        _HERE.place = place
        try:
            error, ended = None, False
            try:
                error, ended = work(), True
            finally:
                _HERE.place = None
                self.free(place, ended=ended, error=error)
            if then is not None:
                then()
        except Exception as problem:  # such as a database that is away: nobody else would hear of it
            self.failed(problem)
            raise

    def free(self, place: Place, *, ended: bool = False, error: SourceError | None = None) -> None:
        """Give a place back. Of a call that ended, the account is known by its answer."""
        with self._lock:
            self._held.discard(place)
            self._counts.subtract(_bounds(place))
            if not ended:
                return
            known = self._known[place.account]
            if type(error) in (Transient, GaveWay):
                known.at_once, known.slow = 1, True
            else:
                known.at_once, known.slow = min(known.at_once * 2, self._at_once), place.longest > PATIENCE
                self._usual += (place.longest - self._usual) / 10

    def learn_host(self, account: str, host: str) -> None:
        """Note which host an account asks."""
        with self._lock:
            self._known.setdefault(account, _Known()).host = host

    def wants(self, place: Place) -> bool:
        """Say whether a call should end so that another has its place; so many end as wait."""
        with self._lock:
            if self._closing:
                return True
            writes = place.kind == WRITES
            full = place.kind if self._wanted[place.kind] > 0 else writes
            if place.slow or place.since is None or self._wanted[full] <= 0:
                return False
            now = time.monotonic()
            if (lasts := now - place.since) <= PATIENCE:
                haste = min(HASTE, max(LEAST, 4 * self._usual))
                if lasts <= haste or not (now < self._hasty_until or self._stand_still(writes, now - haste)):
                    return False
                self._hasty_until = now + PATIENCE
            self._wanted[full] -= 1
            return True

    def _stand_still(self, writes: bool, since: float) -> bool:
        """Say whether most places are held by requests that began before: as where many hosts hang at once."""
        beside = [place for place in self._held if (place.kind == WRITES) == writes]
        return 4 * sum(place.since is not None and place.since < since for place in beside) >= 3 * len(beside)

    def short(self, *, writes: bool = False) -> bool:
        """Say whether the last claim left something because of a call that was being made."""
        with self._lock:
            return writes in self._short

    def close(self) -> None:
        """Begin nothing more; calls that only read give way, and what was begun comes to its end."""
        with self._lock:
            self._closing = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def _group(kind: str) -> str:
    """Return the kind whose calls count together for an account: its sweep holds up no read of it."""
    return READS if kind == POLLS else kind


def _bounds(place: Place) -> list[object]:
    """Return by what a place is counted."""
    writes = place.kind == WRITES
    told: list[object] = [place.kind, writes, (_group(place.kind), place.account)]
    if place.slow:
        told.append(("slow", writes))
    if place.host:
        told.append(("host", writes, place.host))
    return told

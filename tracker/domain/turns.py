"""Whose turn it is: how room for work is dealt to stores that wait, so that nobody waits for a stranger.

Of ten pieces of work that are dealt five go to what is urgent, three to the store whose turn it is, its urgent work first, and two
to what is not urgent. Each of the three kinds of turns goes round the stores by itself. So no store gets less than half of its share
while it has work, and what is not urgent gets a fifth, whatever else is urgent. Nothing stays free while somebody waits.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

_URGENT, _STORE, _ORDINARY = range(3)
_TURNS: Final = (_URGENT, _STORE, _URGENT, _ORDINARY, _URGENT, _STORE, _URGENT, _STORE, _ORDINARY, _URGENT)
_CLASSES: Final = {_URGENT: (0,), _STORE: (0, 1), _ORDINARY: (1,)}  # what a turn of a kind is for, the first first
_INSTEAD: Final = {_URGENT: (_URGENT, _ORDINARY), _STORE: (_STORE,), _ORDINARY: (_ORDINARY, _URGENT)}


class Turns:
    """Remembers who had a turn, of one queue or account in this process; a process that begins anew forgets it."""

    def __init__(self) -> None:
        """Nobody had a turn."""
        self._lock = threading.Lock()  # threads of one process share the turns of a queue
        self._made = 0
        self._rounds: tuple[dict[str, None], ...] = ({}, {}, {})

    def deal(
        self, room: int, urgent: Mapping[str, int], ordinary: Mapping[str, int], *, others: int | None = None
    ) -> dict[str, tuple[int, int]]:
        """Return how many of each store's urgent and ordinary pieces are worked next, `room` in all where so many wait.

        `urgent`, `ordinary`: how many wait of each store, who waited longest first. `others`: so many that are ordinary at most.
        """
        with self._lock:
            return self._deal(room, urgent, ordinary, room if others is None else others)

    def _deal(
        self, room: int, urgent: Mapping[str, int], ordinary: Mapping[str, int], others: int
    ) -> dict[str, tuple[int, int]]:
        left = ({k: n for k, n in urgent.items() if n > 0}, {k: n for k, n in ordinary.items() if n > 0})
        dealt: dict[str, list[int]] = {}
        for kind, waits in ((_URGENT, left[0]), (_STORE, {**left[0], **left[1]}), (_ORDINARY, left[1])):
            for name in waits:
                self._rounds[kind].setdefault(name)
        while room > 0 and (left[0] or (left[1] and others > 0)):
            turn, self._made = _TURNS[self._made % len(_TURNS)], self._made + 1
            found = (self._next(kind, left, others > 0) for kind in _INSTEAD[turn])
            name, which = next(one for one in found if one is not None)  # what waits is of one of the two
            dealt.setdefault(name, [0, 0])[which] += 1
            room, others = room - 1, others - which
        return {name: (first, second) for name, (first, second) in dealt.items()}

    def _next(self, kind: int, left: tuple[dict[str, int], dict[str, int]], both: bool) -> tuple[str, int] | None:
        """Take one piece of the store whose turn of this kind it is; None where nothing of the kind waits. Not `both`: an urgent one.

        Who waits and may not be worked now keeps his place.
        """
        round_, classes, gone = self._rounds[kind], _CLASSES[kind], list[str]()
        found: tuple[str, int] | None = None
        for name in round_:
            waits = [which for which in classes if name in left[which]]
            if not waits:
                gone.append(name)
            elif both or waits[0] == 0:
                found = name, waits[0]
                break
        for name in gone:
            del round_[name]
        if found is not None:
            name, which = found
            del round_[name]
            round_[name] = None  # behind all others
            left[which][name] -= 1
            if not left[which][name]:
                del left[which][name]
        return found

"""The picture of an order: one time axis, a lane for the shop, for us and for each parcel; made here, drawn by `picture.svg`.

Marks that stand at one moment stand above each other: none hides another, and each has the number of its row in the table.
Lengths are in the units of the picture, WIDTH of them across.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tracker.support.story import Lane, Moment, Story, words

WIDTH, MARGIN = 1200, 34
MARK = 24  # how much room a mark has
BAND, TITLE, GAP, AXIS = 18, 20, 14, 26
LETTER = 7  # how wide one is in the names of statuses, about
_STEPS = tuple(
    timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688, 5376, 10752, 21504)
)
MOST_TICKS = 12
# how a status is coloured, by what it says: it goes well, it stands or goes wrong, it is over, nobody knows
TONES = {
    "good": ("delivered", "completed"),
    "bad": ("exception", "delivery_failed", "lost", "destroyed", "cancelled", "refused", "dead", "urgent", "disputed", "returned", "returning", "refunded"),
    "wait": ("on_hold", "delayed", "delivery_attempted", "available_for_pickup", "warning", "held", "pending", "unmapped"),
    "none": ("unknown", "superseded", "observed"),
}  # fmt: skip
_TONE = {status: tone for tone, statuses in TONES.items() for status in statuses}
Place = Callable[[datetime], float]  # where a moment stands on the axis


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in the picture: where, what it looks like, and the number of its row."""

    x: float
    y: float
    kind: str
    tone: str
    number: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Band:
    """A status over a time."""

    x: float
    y: float
    width: float
    status: str
    shown: str  # its name, as much as there is room for
    tone: str


@dataclass(frozen=True, slots=True)
class Row:
    """A lane in the picture."""

    key: str
    title: str
    y: float
    height: float
    bands: tuple[Band, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, and how high it is."""

    width: int
    height: float
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    axis: float


def draw(story: Story) -> Picture:
    """Draw a story: every moment of it has its mark."""
    numbered = list(enumerate(story.moments, 1))
    moments = [one.at for one in story.moments] + [at for lane in story.lanes for at, _ in lane.spans]
    first, last = (min(moments), max(moments)) if moments else (story_begins(story), story_begins(story))
    if last - first < timedelta(hours=1):
        last = first + timedelta(hours=1)
    scale = (WIDTH - 2 * MARGIN - MARK) / (last - first).total_seconds()

    def x(at: datetime) -> float:
        return round(MARGIN + MARK / 2 + (at - first).total_seconds() * scale, 1)

    rows, y = [], float(AXIS + GAP)
    for lane in story.lanes:
        mine = [(number, one) for number, one in numbered if one.lane == lane.key]
        row = _row(lane, mine, y, x, WIDTH - MARGIN)
        rows.append(row)
        y += row.height + GAP
    return Picture(WIDTH, round(y, 1), tuple(rows), tuple(_ticks(first, last, x)), float(AXIS))


def story_begins(story: Story) -> datetime:
    """Return where the axis of a story without moments begins."""
    begins: datetime = getattr(story.order, "placed_at", None) or story.order.starts_at
    return begins


def _row(lane: Lane, mine: Sequence[tuple[int, Moment]], y: float, place: Place, end: float) -> Row:
    bands = []
    for i, (at, status) in enumerate(lane.spans):
        if not status:
            continue
        left = place(at)
        right = place(lane.spans[i + 1][0]) if i + 1 < len(lane.spans) else end
        name = words(status)
        room = int((right - left - 6) / LETTER)
        shown = name if len(name) <= room else f"{name[: room - 1]}…" if room > 3 else ""
        bands.append(Band(left, y + TITLE, round(right - left, 1), name, shown, _TONE.get(status, "going")))
    top = y + TITLE + (BAND + 4 if bands else 0)
    marks, ends = [], list[float]()
    for number, one in sorted(mine, key=lambda pair: (pair[1].at, pair[0])):
        where = place(one.at)
        level = next((i for i, taken in enumerate(ends) if taken + MARK <= where), len(ends))
        ends[level : level + 1] = [where]
        tone = _TONE.get(one.status or "", "going")
        marks.append(Mark(where, round(top + MARK * level + MARK / 2, 1), one.kind, tone, number, one.sentence))
    return Row(lane.key, lane.title, y, round(top - y + MARK * max(1, len(ends)), 1), tuple(bands), tuple(marks))


def _ticks(first: datetime, last: datetime, place: Place) -> list[tuple[float, str]]:
    step = next((one for one in _STEPS if (last - first) / one <= MOST_TICKS), (last - first) / MOST_TICKS)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * -(-(first - midnight) // step)
    ticks = []
    while at <= last:
        ticks.append((place(at), f"{at:%d %b}" if step >= timedelta(days=1) else f"{at:%d %b %H:%M}"))
        at += step
    return ticks

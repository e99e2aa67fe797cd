"""The only loop: work a queue in batches until nothing is due, or long enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from tracker.pipeline import decide, push
from tracker.pipeline.context import AppContext
from tracker.pipeline.files import watch
from tracker.pipeline.ingest import step as ingest
from tracker.pipeline.mails import queue as mails
from tracker.pipeline.poll import step as poll
from tracker.pipeline.telling import send

STEPS: dict[str, Callable[[AppContext], int]] = {
    "ingest": ingest.run,
    "decide": decide.run,
    "poll": poll.run,
    "push": push.run,
    "files": watch.run,
    "mail": mails.run,
    "tell": send.run,
}
AT_WORK = {
    **STEPS,
    "poll": poll.begin,
    "push": push.begin,
    "tell": send.begin,
}  # of a process that nobody waits for: its calls go on while it claims more
MOST_BATCHES = 20
MOST_SECONDS = 10.0


def drain(
    ctx: AppContext, queue: str, stop: Callable[[], bool], steps: Mapping[str, Callable[[AppContext], int]] = STEPS
) -> int:
    """Drain a queue; returns how many rows were worked. Notifies again when it ends with work left.

    Looks at `stop` between batches: after it says so nothing is claimed any more.
    """
    step, until, total = steps[queue], time.monotonic() + MOST_SECONDS, 0
    for _ in range(MOST_BATCHES):
        if stop():
            return total
        worked = step(ctx)
        total += worked
        if not worked:
            return total
        if time.monotonic() > until:
            break
    ctx.notify(queue)
    return total

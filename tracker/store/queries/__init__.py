"""The statements that several parts of the pipeline share, one idea a module; said as `queries.claim(...)` by those who use them."""

from tracker.store.queries.accounts import BY_ENTRY, MOST_REASON, block, count_days, suspend, suspended
from tracker.store.queries.at_once import decide_now, poll_now, polled_from, sweep_now
from tracker.store.queries.change_notices import ask_alone, note_changes
from tracker.store.queries.claims import (
    LEASE,
    MOST_BYTES,
    MOST_CRASHES,
    UNTIL_MENDED,
    backoff,
    claim,
    end,
    in_turn,
    release,
    renew,
    set_aside,
    set_aside_for,
    still_ours,
    take_up,
)
from tracker.store.queries.dialect import (
    Stores,
    among,
    in_order,
    is_sqlite,
    locked,
    of_stores,
    oldest,
    one_of,
    skip_locked,
    upsert,
)
from tracker.store.queries.findings import close_findings, open_findings
from tracker.store.queries.payloads import payload_row, store_payloads
from tracker.store.queries.reads import counts, orders_of, parcels_of, recovered
from tracker.store.queries.rows import change, put
from tracker.store.queries.turns import in_turns

__all__ = [
    "BY_ENTRY",
    "LEASE",
    "MOST_BYTES",
    "MOST_CRASHES",
    "MOST_REASON",
    "UNTIL_MENDED",
    "Stores",
    "among",
    "ask_alone",
    "backoff",
    "block",
    "change",
    "claim",
    "close_findings",
    "count_days",
    "counts",
    "decide_now",
    "end",
    "in_order",
    "in_turn",
    "in_turns",
    "is_sqlite",
    "locked",
    "note_changes",
    "of_stores",
    "oldest",
    "one_of",
    "open_findings",
    "orders_of",
    "parcels_of",
    "payload_row",
    "poll_now",
    "polled_from",
    "put",
    "recovered",
    "release",
    "renew",
    "set_aside",
    "set_aside_for",
    "skip_locked",
    "still_ours",
    "store_payloads",
    "suspend",
    "suspended",
    "sweep_now",
    "take_up",
    "upsert",
]

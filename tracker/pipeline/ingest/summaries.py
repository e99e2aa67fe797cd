"""The summary of a shipment: read on from what came, or made anew from all its scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracker.domain.facts import StoredScan, Summary
from tracker.domain.timeline import MOST_SCANS, read_on, summarize
from tracker.pipeline.ingest.scans import select_stored_scans, stored_scan_whole
from tracker.pipeline.ingest.shipments import Shipments
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.codec import SUMMARY, dump
from tracker.store.tables import shipments as table


def update_summaries(
    tx: Transaction, shipments: Shipments, touched: set[int], anew: set[int], fresh: Mapping[int, Sequence[StoredScan]]
) -> set[int]:
    """Read on in the summary of every touched shipment; where that cannot be, make it from all its scans.

    `anew` are those whose stored scans changed, `fresh` the scans that were not stored before, by shipment. Returns the
    shipments whose summaries changed.
    """
    found, again = {}, set(anew)
    for shipment_id in touched - anew:
        summary = read_on(shipments[shipment_id].summary, fresh.get(shipment_id, ()))
        if summary is None:
            again.add(shipment_id)
        else:
            found[shipment_id] = summary
    found |= _made_anew(tx, again)
    moved, changed = set(), []
    for shipment_id, summary in sorted(found.items()):
        parcel = shipments[shipment_id]
        before, parcel.summary = parcel.summary, summary
        if summary != before:
            moved.add(shipment_id)
        elif summary.checkpoint == before.checkpoint:
            continue
        ended = summary.status.terminal and not summary.disputed
        changed.append(
            {"b_id": shipment_id, "summary": dump(SUMMARY, summary), "status": summary.status,
             "last_scan_at": summary.last_scan_at,
             "closed_at": (parcel.closed_at or tx.now) if ended else None}
        )  # fmt: skip
    queries.change(tx.connection, table, changed)
    return moved


def _made_anew(tx: Transaction, shipment_ids: set[int]) -> dict[int, Summary]:
    if not shipment_ids:
        return {}
    told: dict[int, list[StoredScan]] = {shipment_id: [] for shipment_id in shipment_ids}
    rows = tx.connection.execute(select_stored_scans(tx.sqlite), {"ids": list(shipment_ids)})
    for row in (row for part in rows.partitions(500) for row in part):
        if len(known := told[row[0]]) < MOST_SCANS:
            known.append(stored_scan_whole(row))
    return {shipment_id: summarize(known) for shipment_id, known in told.items()}

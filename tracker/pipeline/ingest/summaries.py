"""The summary of a shipment: read on from what came, or made anew from all its scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tracker.domain.facts import StoredScan, Summary
from tracker.domain.legs import as_one
from tracker.domain.timeline import MOST_SCANS, read_on, summarize
from tracker.pipeline.ingest.scans import select_stored_scans, stored_scan_whole
from tracker.pipeline.ingest.shipments import Shipments, is_over
from tracker.pipeline.ingest.transaction import Transaction
from tracker.store import queries
from tracker.store.codec import SUMMARY, dump
from tracker.store.tables import shipments as table


def update_summaries(
    tx: Transaction, shipments: Shipments, touched: set[int], anew: set[int], fresh: Mapping[int, Sequence[StoredScan]]
) -> set[int]:
    """Read on in the summary of every touched shipment; where that cannot be, make it from all its scans.

    `anew` are those whose stored scans changed, `fresh` the scans that were not stored before, by shipment. A parcel with a
    last mile is always made anew, from the scans of both: what one tells changes what the other's mean. Returns the shipments
    whose summaries changed.
    """
    touched = shipments.families(touched | anew)
    found, again = {}, {i for i in touched if i in anew or shipments.legs(i)}
    for shipment_id in touched - again:
        summary = read_on(shipments[shipment_id].summary, fresh.get(shipment_id, ()))
        if summary is None:
            again.add(shipment_id)
        else:
            found[shipment_id] = summary
    found |= _made_anew(tx, shipments, again)
    before = {shipment_id: shipments[shipment_id].summary for shipment_id in found}
    for shipment_id, summary in found.items():
        shipments[shipment_id].summary = summary
    moved, changed = set(), []
    for shipment_id, summary in sorted(found.items()):
        parcel, was = shipments[shipment_id], before[shipment_id]
        closed_at = (parcel.closed_at or tx.now) if is_over(shipments, parcel) else None
        if summary != was:
            moved.add(shipment_id)
        elif (
            summary.checkpoint == was.checkpoint
            and (parcel.leg_of is None or closed_at == parcel.closed_at)
            and shipment_id not in anew  # of these a scan changed that the summary does not show: reports may
        ):
            continue
        parcel.closed_at = closed_at
        changed.append(
            {"b_id": shipment_id, "summary": dump(SUMMARY, summary), "status": summary.status,
             "last_scan_at": summary.last_scan_at, "closed_at": closed_at, "recount": True}
        )  # fmt: skip
    queries.change(tx.connection, table, changed)
    return moved


def _made_anew(tx: Transaction, shipments: Shipments, shipment_ids: set[int]) -> dict[int, Summary]:
    """Make summaries from all scans; `shipment_ids` holds the last miles of each parcel that it holds."""
    if not shipment_ids:
        return {}
    legs = {shipment_id: [leg.id for leg in shipments.legs(shipment_id)] for shipment_id in shipment_ids}
    asked = shipment_ids.union(*legs.values())
    told: dict[int, list[StoredScan]] = {shipment_id: [] for shipment_id in asked}
    rows = tx.connection.execute(select_stored_scans(tx.sqlite), {"ids": list(asked)})
    for row in (row for part in rows.partitions(500) for row in part):
        if len(known := told[row[0]]) < MOST_SCANS:
            known.append(stored_scan_whole(row))
    return {
        shipment_id: summarize(as_one(told[shipment_id], [one for leg in some for one in told[leg]]) if some else told[shipment_id])
        for shipment_id, some in legs.items()
    }  # fmt: skip

"""Inputs of trouble as the whole path takes them: what is stored, what is told, and what is asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab import USPS, detail, tracker_body
from tracker.pipeline.ingest import step as ingest
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import maintenance

HERE = Path(__file__).parent


def take(lab: Any, account: str, kind: str, *parts: bytes) -> Any:
    """Store an input as it came and work it in one round, beside a webhook of another account; returns its row."""
    with lab.daemon.store.write() as connection:
        now = database_now(connection)
        row = queries.payload_row(account, kind, parts, lab.clock(), now, asked_at=now)
        queries.store_payloads(connection, [row])
    ingest.run(lab.ctx)
    return lab.rows(t.inbox)[-1]


def findings(lab: Any, *kinds: str) -> list[Any]:
    return lab.rows(t.findings, t.findings.c.kind.in_(kinds), t.findings.c.closed_at.is_(None))


def test_a_page_with_one_odd_order_stores_the_good_ones_and_has_the_odd_one_asked_for_alone(make_lab: Any) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    page = (HERE / "rest-page-one-odd-order.sweep.json").read_bytes()
    served = {order["ref"]: order for order in json.loads(page)["orders"]}
    lab.rest.orders.update({order["number"]: order for order in served.values()})
    row = take(lab, "kart", "sweep", page)

    assert row.state == "done" and row.unread[0][0] == "$.orders[1].items[0].ref"
    assert {"R1", "R3"} <= {order.ref for order in lab.rows(t.orders)}
    (finding,) = findings(lab, "order_unreadable")
    assert finding.subject == "kart/ref/R2"
    assert (finding.evidence["path"], finding.evidence["payload"]) == ("$.orders[1].items[0].ref", str(row.id))
    assert [hint.ref for hint in lab.rows(t.change_notices)] == ["R2"]
    assert findings(lab, "payload_dead") == []

    lab.work("poll", "ingest")  # alone it is the same: it is asked for later, and told once
    assert len(findings(lab, "order_unreadable")) == 1
    (hint,) = lab.rows(t.change_notices)
    assert hint.ref == "R2" and hint.not_before > lab.clock()

    served["R2"]["items"][0]["ref"] = "L1"  # mended in the shop
    lab.clock.move_to(hint.not_before)
    lab.work("poll", "ingest")
    assert findings(lab, "order_unreadable") == []
    assert lab.rows(t.change_notices) == []
    assert {order.ref for order in lab.rows(t.orders)} == {"R1", "R2", "R3"}


def test_a_scan_of_the_year_one_is_stored_at_once_and_nothing_is_tried_in_vain(make_lab: Any) -> None:
    lab = make_lab()
    row = take(lab, "easypost", "webhook", (HERE / "easypost-year-one.webhook.json").read_bytes())

    assert (row.state, row.attempts, row.crashes) == ("done", 1, 0)
    assert lab.parcel(USPS).summary["scans"] == 1
    maintenance.run_monitors(lab.ctx)
    assert findings(lab, "payload_dead", "parcel_unreadable") == []


def test_a_shipment_without_a_list_of_items_costs_its_batch_mates_nothing(make_lab: Any, tmp_path: Path) -> None:
    """Whether its parser reads the order or not: the row ends at its first try, and those beside it in the same round."""
    told = json.loads((HERE / "bigcommerce-shipment-items-no-list.parts.json").read_bytes())
    secret = f'"${{file:{tmp_path}/s}}"'
    lab = make_lab(yaml=f"  big: {{uses: bigcommerce, store_hash: x, access_token: {secret}, mode: observe}}\n")
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-01T09:00:00Z")))
    row = take(lab, "big", "read", *(json.dumps(part).encode() for part in told))

    assert (row.state in ("done", "dead"), row.attempts, row.crashes) == (True, 1, 0)
    assert lab.parcel(USPS).status == "in_transit"
    assert row.unread or row.reason
    assert findings(lab, "order_unreadable", "payload_dead") != []

"""The evidence pack of an order: what was told, what was decided and done, with the raw payloads and their hashes."""

from __future__ import annotations

import hashlib
import html
import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from tracker.config.files import write_private
from tracker.domain.errors import TrackerError
from tracker.domain.masking import mask_bytes
from tracker.domain.vocabulary import ShippingStatus
from tracker.pipeline.context import AppContext
from tracker.plugin.proofs import ENDINGS
from tracker.store.tables import inbox, order_versions, shipment_links
from tracker.support.explain import explanation
from tracker.support.proofs import document_of

MOST_PAYLOADS = 500
_JSON = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS


class Packed(NamedTuple):
    """What a pack holds, and of which delivered parcels it has no document: each with the reason."""

    payloads: int
    documents: int
    missing: list[str]


def pack(ctx: AppContext, what: str, path: Path, *, at: datetime | None = None) -> Packed:
    """Write the pack of an order as a zip that only we can read, with the documents of its deliveries: those that are not kept are fetched, and kept.

    Raises TrackerError for no such order, OSError where the file cannot be written.
    """
    told = explanation(ctx, what, at=at)
    if not told["orders"]:
        raise TrackerError(f"nothing is known of {what!r}")
    files: dict[str, bytes] = {}
    missing = _documents(ctx, told, files, at)
    documents = len(files)
    with ctx.store.read() as connection:
        for order in told["orders"]:
            parcels = [parcel["id"] for parcel in order["parcels"]]
            named = sa.select(shipment_links).where(shipment_links.c.shipment_id.in_(parcels))
            links = connection.execute(named if at is None else named.where(shipment_links.c.first_seen_at <= at))
            order["links"] = [{"number": r.number, "carrier": r.carrier, "relation": r.relation} for r in links]
            told_by = [one for parcel in order["parcels"] for one in (*parcel["scans"], *parcel["estimates"])]
            ids = {one["inbox"] for one in told_by if one["inbox"]}
            v = order_versions.c
            seen = sa.select(v.inbox_id).where(v.order_id == order["id"], v.inbox_id.isnot(None))
            ids |= set(connection.execute(seen if at is None else seen.where(v.seen_at <= at)).scalars())
            payloads = []
            rows = connection.execute(
                sa.select(inbox).where(inbox.c.id.in_(sorted(ids)[-MOST_PAYLOADS:])).order_by(inbox.c.id)
            )
            for row in rows:
                entry = {
                    "id": row.id,
                    "account": row.account,
                    "kind": row.kind,
                    "received_at": row.received_at,
                    "file": None,
                }
                if row.body is not None:
                    name = f"payloads/{row.id}.{row.kind}.bin"
                    files[name] = body = mask_bytes(row.body)
                    entry |= {"file": name, "sha256": hashlib.sha256(body).hexdigest(), "parts": row.part_sizes}
                    if body != row.body:
                        entry["masked"] = True  # it held a secret of ours: the hash is of what is handed out
                payloads.append(entry)
            order["payloads"] = payloads
    told["made_at"] = ctx.now()
    count = len(files) - documents
    files["evidence.json"] = mask_bytes(orjson.dumps(told, option=_JSON, default=str))
    files["index.html"] = mask_bytes(_page(told).encode())
    sums = "".join(f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(files.items()))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in sorted({**files, "SHA256SUMS": sums.encode()}.items()):
            archive.writestr(name, body)
    write_private(path, packed.getvalue())
    return Packed(count, documents, missing)


def _documents(ctx: AppContext, told: dict[str, Any], files: dict[str, bytes], at: datetime | None) -> list[str]:
    """Put the documents of delivered parcels among the files. Returns what is missing, and why."""
    missing = []
    for parcel in (parcel for order in told["orders"] for parcel in order["parcels"]):
        if parcel["status"] != ShippingStatus.DELIVERED:
            continue
        document, content = document_of(ctx, parcel["id"], at=at)
        parcel["document"] = document
        if content is None:
            missing.append(f"{parcel['carrier']} {parcel['number']}: {document['missing']}")
            continue
        named = "".join(c if c.isalnum() else "_" for c in f"{parcel['carrier']}-{parcel['number']}-{parcel['id']}")
        document["file"] = f"proofs/{named}.{ENDINGS[document['kind']]}"
        files[document["file"]] = content
    return missing


def _page(told: dict[str, Any]) -> str:
    """Render one page that a person can read and print; every value is escaped."""
    body = []
    for order in told["orders"]:
        body.append(f"<h1>Order {_e(order['number'])} at {_e(order['store'])}</h1>")
        body += [f"<p>{_e(sentence)}</p>" for sentence in order["where"]]
        facts = {
            "status": f"{order['status']} (shop: {order['raw_status']})", "payment": order["payment"],
            "dispatched by": order["owner"], "delivery method": order["method"], "placed": order["placed_at"],
        }  # fmt: skip
        body.append(_table(("", ""), list(facts.items())))
        for parcel in order["parcels"]:
            body += _parcel(parcel)
        body.append("<h2>Order status, as it was seen</h2>")
        seen = [
            (v["seen_at"], v["previous_read_at"], v["status"], v["raw_status"], v["payment"], v["actor"])
            for v in order["versions"]
        ]
        stood = ("seen", "something else at", "status", "shop's word", "payment", "set by")
        body.append(_table(stood, seen))
        body.append("<h2>Decisions</h2>")
        decided = [
            (d["at"], ", ".join(d["because"]), ", ".join(d["writes"]), ", ".join(d["findings"]))
            for d in order["decisions"]
        ]
        body.append(_table(("at", "rules, in order", "writes", "findings"), decided))
        body.append("<h2>Writes</h2>")
        wrote = [(w["status"], w["happened_at"], w["state"], w["receipt"] or w["error"]) for w in order["writes"]]
        body.append(_table(("what", "happened", "state", "receipt or error"), wrote))
        body.append("<h2>Findings</h2>")
        found = [(f["kind"], f["severity"], f["opened_at"], f["closed_at"], f["proposal"]) for f in order["findings"]]
        body.append(_table(("finding", "severity", "opened", "closed", "next step"), found))
        body.append("<h2>What people said</h2>")
        said = [(s["at"], s["by"], s["kind"], s["status"], s["text"]) for s in order["statements"]]
        body.append(_table(("at", "who", "what", "status", "text"), said))
        body.append("<h2>Raw payloads</h2>")
        raw = [
            (p["id"], p["account"], p["kind"], p["received_at"], p.get("sha256") or "past its retention")
            for p in order["payloads"]
        ]
        body.append(_table(("id", "account", "kind", "received", "SHA-256"), raw))
    style = "body{font:14px sans-serif;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:3px 8px;text-align:left}"
    return f"<!doctype html><html><head><meta charset=utf-8><title>Evidence</title><style>{style}</style></head><body>{''.join(body)}</body></html>"


def _parcel(parcel: dict[str, Any]) -> list[str]:
    """Return what is told of a parcel: what a claim rests on first, then its estimates and scans."""
    body = []
    body.append(f"<h2>Parcel {_e(parcel['carrier'])} {_e(parcel['number'])}: {_e(parcel['status'])}</h2>")
    if parcel.get("proof"):
        body.append(f"<p>Proof of delivery: {_e(orjson.dumps(parcel['proof']).decode())}</p>")
    if document := parcel.get("document"):
        body.append(f"<p>Document: {_e(document.get('file') or document['missing'])}</p>")
    claim = {
        "taken over by its carrier": parcel["taken_over_at"],
        "attempts to deliver": parcel["attempts"],
        "delivered": parcel["delivered_at"],
    }
    body.append(_table(("", ""), list(claim.items())))
    promised = [(e["ends"], e["told_at"], e["account"], e["inbox"]) for e in parcel["estimates"]]
    if promised:
        body.append(_table(("estimated to arrive by", "heard", "told by", "payload"), promised))
    rows = [
        (s["at"], s["zone"], f"{s['space']}/{s['code']}", s["text"], s["status"] or "(unchanged)", s["place"],
         s["account"], s["inbox"])
        for s in parcel["scans"]
    ]  # fmt: skip
    columns = ("at (UTC)", "time known by", "code", "carrier's words", "meaning", "place", "told by", "payload")
    body.append(_table(columns, rows))
    return body


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{_e(column)}</th>" for column in columns)
    lines = "".join("<tr>" + "".join(f"<td>{_e(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _e(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    return html.escape("-" if value in (None, "") else str(value))

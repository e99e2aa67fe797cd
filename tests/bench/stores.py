"""A configuration of many stores, and what reading it costs: `python -m tests.bench.stores --stores 2000`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.figures import row, verdict
from tests.bench.roles import measure
from tracker.store.engine import Store
from tracker.store.tables import accounts

HEAD = "database: sqlite:///{folder}/t.db\nvault_key: ${{env:BENCH_VAULT}}\n"
VAULT = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ACCOUNTS = (
    "  ups-{i:05}:\n    uses: ups\n    client_id: client-{i}\n    client_secret: ${{env:BENCH_A{i}}}\n"
    '    webhook_secrets: ["${{env:BENCH_B{i}}}"]\n    webhook_token: ${{env:BENCH_C{i}}}\n',
    "  dhl-{i:05}:\n    uses: dhl\n    api_key: ${{env:BENCH_A{i}}}\n    service: parcel-de\n",
    "  easypost-{i:05}:\n    uses: easypost\n    api_key: ${{env:BENCH_A{i}}}\n    webhook_secrets: ${{env:BENCH_B{i}}}\n",
)
POLICY = (
    "    policy: {{preset: mirror, calendar: {{zone: Europe/Berlin, country: DE, region: BY}}, stuck_after: {n}d}}\n"
)
STORES = (
    "  shop-{i:05}:\n    uses: shopify\n    shop: shop-{i}.myshopify.com\n    access_token: ${{env:BENCH_S{i}}}\n"
    "    webhook_secrets: ${{env:BENCH_W{i}}}\n" + POLICY,
    "  big-{i:05}:\n    uses: bigcommerce\n    store_hash: hash{i}\n    access_token: ${{env:BENCH_S{i}}}\n"
    "    hook_key: ${{env:BENCH_W{i}}}\n    mode: observe\n",
    "  rest-{i:05}:\n    uses: rest\n    base_url: https://rest-{i}.example.com\n    api_token: ${{env:BENCH_S{i}}}\n"
    "    webhook_secrets: ${{env:BENCH_W{i}}}\n    policy: {{preset: kingston-courier}}\n",
)


def make(count: int, head: str) -> str:
    """Return the text: a third each of the shops, and as many accounts."""
    parts = [head, "accounts:\n"]
    parts += [ACCOUNTS[i % 3].format(i=i) for i in range(count)]
    parts += ["stores:\n", *(STORES[i % 3].format(i=i, n=i % 9 + 1) for i in range(count))]
    return "".join(parts)


def secrets(count: int) -> dict[str, str]:
    """Return the environment: as shops make their tokens, all of one kind begin alike."""
    begins = {"A": "", "B": "whsec_", "C": "", "S": "shpat_", "W": "shpss_"}
    names = {
        f"BENCH_{kind}{i}": f"{begin}{i:08x}{kind}4f8d1a6b3c9f7e2d"
        for kind, begin in begins.items()
        for i in range(count)
    }
    return {"BENCH_VAULT": VAULT, **names}


def started_with(count: int, file: Path) -> None:
    """Write the rows of all accounts and stores, as the first start does."""
    store = Store(f"sqlite:///{file.parent}/t.db", pool_size=1)
    now = datetime.now(UTC)
    rows = [
        {"name": line.strip(" :"), "kind": kind, "attempts": 0, "mode": "write" if kind == "store" else None, "swept_at": now}
        for kind, parts in (("carrier", ACCOUNTS), ("store", STORES))
        for i in range(count)
        for line in [parts[i % 3].format(i=i, n=1).partition("\n")[0]]
    ]  # fmt: skip
    with store.write() as connection:
        connection.execute(accounts.insert(), rows)
    store.close()


def commands(count: int, file: Path, environment: dict[str, str], runs: int) -> list[dict[str, Any]]:
    """Run commands, each in a process of its own; returns the rows of the table, of the fastest run."""
    rows = []
    for words, goal in (
        (["migrate"], ""),
        (["check", "--offline"], "<= 3"),
        (["findings"], "<= 1.5"),
        (["status"], "<= 1.5"),
    ):
        took = []
        for _ in range(runs):
            began, before = time.perf_counter(), os.times()
            line = [sys.executable, "-m", "tracker.cli", *words, "-c", str(file)]
            done = subprocess.run(line, env=environment, check=False, stdout=subprocess.DEVNULL).returncode
            assert done == (words == ["status"]), words  # no process runs
            after = os.times()
            worked = after.children_user + after.children_system - before.children_user - before.children_system
            took.append((time.perf_counter() - began, worked))
        if words == ["migrate"]:
            started_with(count, file)
        wall, worked = min(took)
        if goal:
            told = f"{worked:.1f} s of a core"
            rows.append(row(f"tracker {' '.join(words)}, {count:,} stores", f"{wall:.1f} s", told, wall, goal))
    return rows


def main() -> None:
    """Print the table; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--roles", action="store_true", help="web, scheduler and worker on PostgreSQL and Redis too")
    options = parser.parse_args()
    rows = []
    for count in options.stores or [500, 2000]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o700)
            file = folder / "tracker.yaml"
            file.write_text(make(count, HEAD.format(folder=folder)))
            environment = {**os.environ, **secrets(count), "PYTHONPATH": os.getcwd()}
            print(f"{count:,} stores, {file.stat().st_size >> 10} KiB; load of the machine {os.getloadavg()[0]:.1f}")
            rows += commands(count, file, environment, options.runs)
            if options.roles:
                rows += measure(count, partial(make, count), folder, environment)
            print(f"load of the machine {os.getloadavg()[0]:.1f}")
    sys.exit(verdict(rows))


if __name__ == "__main__":
    main()

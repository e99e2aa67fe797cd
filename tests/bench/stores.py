"""A configuration of many stores, and what reading it costs: `python -m tests.bench.stores --stores 2000`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.roles import measure

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


def main() -> None:
    """Run each command in a process of its own, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--roles", action="store_true", help="start web, scheduler and worker on PostgreSQL and Redis too"
    )
    options = parser.parse_args()
    for count in options.stores or [500, 2000]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o700)
            file = folder / "tracker.yaml"
            file.write_text(make(count, HEAD.format(folder=folder)))
            print(f"{count} stores, {file.stat().st_size >> 10} KiB")
            tracker = [sys.executable, "-m", "tracker.cli"]
            environment = {**os.environ, **secrets(count), "PYTHONPATH": os.getcwd()}
            for words in (["migrate"], ["check", "--offline"], ["findings"], ["outages"]):
                took, worked = [], []
                for _ in range(options.runs):
                    began, before = time.perf_counter(), os.times()
                    subprocess.run(
                        [*tracker, *words, "-c", str(file)], env=environment, check=True, stdout=subprocess.DEVNULL
                    )
                    after = os.times()
                    took.append(time.perf_counter() - began)
                    worked.append(
                        after.children_user + after.children_system - before.children_user - before.children_system
                    )
                print(f"  tracker {' '.join(words):<20} {min(took):6.2f} s, {min(worked):6.2f} s of a core")
            if options.roles:
                measure(lambda head, count=count: make(count, head), folder, environment)  # type: ignore[misc]


if __name__ == "__main__":
    main()

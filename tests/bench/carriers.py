"""What configured carriers cost a process before anything happens: its start, its memory, and the plugins that it loads; of one and of 25."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench.figures import RUNS, row

EXAMPLE = Path(__file__).parents[2] / "deploy" / "tracker.example.yaml"
MANY = 25
_CHILD = """
import json, sys
from pathlib import Path
from tracker.app.daemon import Daemon
from tracker.config.load import load_text
from tests.memory import resident
daemon = Daemon(load_text(Path(sys.argv[1]).read_text()), frozenset({"worker"}))
loaded = {name.split(".")[1] for name in sys.modules if name.startswith("carriers.")}
print(json.dumps({"memory": resident(), "plugins": sorted(loaded), "accounts": len(daemon.ctx.config.carrier_accounts())}))
"""


def bench_carriers(folder: Path, redis_url: str) -> list[dict[str, Any]]:
    """Start a worker's process up to its composed daemon with one carrier account, and with 25 of all plugins that the example shows."""
    known = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["accounts"]
    names = [f"{name}-{number}" if number else name for number in range(MANY) for name in known][:MANY]
    entries = {name: known[name.rsplit("-", 1)[0] if name not in known else name] for name in names}
    one = {"ups": next(entry for entry in known.values() if entry["uses"] == "ups")}
    few, many = (_measured(folder, redis_url, some) for some in (one, entries))
    used = {entry["uses"] for entry in entries.values()}
    return [
        row("plugins loaded with 1 carrier configured", f"{len(few['plugins'])}", "-", len(few["plugins"]), "<= 1"),
        row(f"plugins loaded with {MANY} accounts", f"{len(many['plugins'])}", f"{len(used)} used", len(many["plugins"]), f"<= {len(used)}"),
        row(f"start of a process, {MANY} accounts beside 1", f"{many['took'] * 1e3:.0f} ms", f"{few['took'] * 1e3:.0f} ms", many["took"] / few["took"], "<= 1.8"),
        row(f"memory of a process, {MANY} accounts beside 1", f"{many['memory']:.0f} MB", f"{few['memory']:.0f} MB", many["memory"] - few["memory"], "<= 40 MB"),
    ]  # fmt: skip


def _measured(folder: Path, redis_url: str, accounts: dict[str, Any]) -> dict[str, Any]:
    """Start a process with these accounts; returns what it says, and the seconds to its end (the median of some)."""
    file, secret = folder / f"carriers-{len(accounts)}.yaml", folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("0123456789012345678901234567890123456789")
    text = json.dumps(
        {"database": f"sqlite:///{folder}/db/carriers.db", "broker": redis_url, "accounts": _filled(accounts, folder)}
    )
    file.write_text(text, encoding="utf-8")
    took, told = [], dict[str, Any]()
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, str(file)],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "PYTHONPATH": "."},
        )
        took.append(time.perf_counter() - began)
        told = json.loads(done.stdout)
    return {**told, "took": statistics.median(took[1:])}


def _filled(value: Any, folder: Path) -> Any:
    """Return a value of the example with our secret for each of its references, and without files that are not there."""
    if isinstance(value, dict):
        return {key: _filled(inner, folder) for key, inner in value.items() if key not in ("folder", "sftp")}
    if isinstance(value, list):
        return [_filled(inner, folder) for inner in value]
    return f"${{file:{folder}/secret}}" if isinstance(value, str) and value.startswith("${") else value

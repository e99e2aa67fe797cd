"""`make chaos SEEDS=n SECONDS=s`: so many storms, one after the other, and a table; exit 1 where a promise broke."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.storm import Storm, as_row

COLUMNS = (
    ("seed", "seed"), ("faults", "faults"), ("posts", "posts"), ("refused", "refused"), ("scans", "scans"),
    ("lost", "scans_lost"), ("wrong", "shipments_wrong"), ("actions", "actions"), ("never sent", "never_sent"),
    ("double", "double_calls"), ("slowest 200", "slowest_answer"), ("settled in", "settled_in"),
)  # fmt: skip


def main() -> int:
    """Run the storms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    rows, broken = [], 0
    kinds: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.seeds):
        print(f"seed {seed}, {options.seconds:g} s", file=sys.stderr, flush=True)
        say = (lambda _: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
        report = Storm(seed, options.seconds).run(say)
        rows.append(as_row(report))
        kinds.update(report.by_fault)
        if report.problems:
            broken += 1
            print(f"seed {seed}: {', '.join(report.problems)}", flush=True)
    print("  ".join(f"{title:>11}" for title, _ in COLUMNS))
    for row in rows:
        print(
            "  ".join(f"{row[key]:>11.1f}" if isinstance(row[key], float) else f"{row[key]:>11}" for _, key in COLUMNS)
        )
    print(f"faults: {', '.join(f'{name} {count}' for name, count in sorted(kinds.items()))}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make fuzz`: coverage-guided fuzzing of every target, one process each; a crash is kept as a seed of that target.

atheris is installed for this alone (`requirements.txt` here): it has no wheel for every system that we run on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# `targets` and all that is ours is imported late, where it can be instrumented: to instrument what is loaded, libraries
# and all, takes a minute and a half a target.
OURS = ["adapters", "carriers", "tests.fuzz", "tracker", "ruamel"]


def one(target: str, seconds: int, corpus: str) -> None:
    """Fuzz one target in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=OURS):
        from tests.fuzz import targets
    run = targets.TARGETS[target]
    kept = targets.HERE / "corpus" / target
    kept.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5", "-rss_limit_mb=1024",
        f"-artifact_prefix={kept}/", "-verbosity=0", "-print_final_stats=1", corpus, str(kept),
    ]  # fmt: skip
    atheris.Setup(arguments, run)
    atheris.Fuzz()


def main() -> int:
    """Fuzz the targets one after the other; exit 1 where one crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    parser.add_argument("--only", metavar="TARGET", help="one target")
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.corpus:
        one(options.only, options.seconds, options.corpus)
    from tests.fuzz import targets

    if options.only not in (None, *targets.TARGETS):
        parser.error(f"no target {options.only}: {', '.join(sorted(targets.TARGETS))}")
    crashed, total = [], 0
    for target in [options.only] if options.only else sorted(targets.TARGETS):
        with tempfile.TemporaryDirectory(prefix="trackwright-fuzz-") as folder:
            for i, seed in enumerate(targets.seeds(target)):
                (Path(folder) / str(i)).write_bytes(seed.read_bytes())
            done = subprocess.run(
                [sys.executable, "-m", "tests.fuzz", "--only", target, "--seconds", str(options.seconds), "--corpus", folder],
                capture_output=True, text=True, errors="replace", check=False,
            )  # fmt: skip
        told = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
        runs = int(told[1]) if told else 0
        total += runs
        bad = done.returncode != 0 or runs == 0  # a fuzzer that tried nothing found nothing
        print(f"{target:<24} {runs:>12,} inputs  {'CRASHED' if bad else 'sound'}", flush=True)
        if bad:
            crashed.append(target)
            print(done.stderr[-3000:], flush=True)
    print(f"{total:,} inputs, {len(crashed)} targets crashed {', '.join(crashed)}")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())

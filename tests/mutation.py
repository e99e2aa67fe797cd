"""`make mutation`: does a test notice when a line of the domain, a verifier or a claim says something else?

mutmut makes the mutants; this takes a random sample of them (its seed is printed), in a copy of the tree, and exits 1 below the
floor. What survived is printed as a diff: each is a missing test, or a mutant that says the same in other words.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOOR = 85  # per cent of the mutants must be killed
TARGETS = {
    "domain": (
        "tracker/domain/*.py tracker/domain/facts/*.py tracker/domain/reconcile/*.py",
        "tests/domain tests/config/test_policy.py",
    ),
    "verifiers": ("tracker/plugin/signatures.py", "tests/plugins tests/fuzz/test_any_input.py"),
    "claims": (
        "tracker/store/queries/*.py tracker/pipeline/leases.py",
        "tests/pipeline/test_queries.py tests/pipeline/test_claims.py tests/pipeline/test_leases.py",
    ),
}
KILLED = (1, 24, 36, -24, 152, 255)  # a failed test, or a mutant that runs for ever
FOLDERS = ("tracker", "carriers", "adapters", "tests", "deploy")
FILES = ("pyproject.toml", "Makefile", "README.md", "SECURITY.md", "requirements.lock")
# kills every mutant of the timeline, for it compares its text
BY_ITS_TEXT = "tests/domain/test_timeline.py::test_whoever_changes_how_scans_are_read_says_so_in_RULES"
CONFIG = f"""
[tool.mutmut]
source_paths = ["tracker"]
only_mutate = {{files}}
also_copy = {{others}}
pytest_add_cli_args_test_selection = {{tests}}
pytest_add_cli_args = ["-p", "no:randomly", "-p", "no:cacheprovider", "--deselect", "{BY_ITS_TEXT}"]
"""


def mutmut(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mutmut in the copy."""
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutation", "PYTHONPATH": str(folder / "mutants")}
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )  # fmt: skip


def verdicts(folder: Path) -> dict[str, int | None]:
    """Return each mutant's exit code; None is not tried."""
    found: dict[str, int | None] = {}
    for file in sorted((folder / "mutants" / "tracker").rglob("*.meta")):
        found.update(json.loads(file.read_text())["exit_code_by_key"])
    return found


def one(target: str, sample: int, seed: int, children: int) -> float:
    """Try a sample of the mutants of one target; returns how many per cent were killed."""
    files, tests = (part.split() for part in TARGETS[target])
    with tempfile.TemporaryDirectory(prefix="trackwright-mutation-") as made:
        folder = Path(made)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in FILES:
            shutil.copy(ROOT / name, folder)
        settings = folder / "pyproject.toml"
        config = {"files": files, "tests": tests, "others": [*FOLDERS[1:], *FILES[1:]]}
        settings.write_text(settings.read_text() + CONFIG.format(**{k: json.dumps(v) for k, v in config.items()}))
        mutmut(folder, "run", "of-no-such-name")  # makes the mutants, and says that none is called so
        names = sorted(verdicts(folder))
        if not names:
            sys.exit(f"{target}: mutmut made no mutants; run it in a copy to see why")
        chosen = random.Random(seed).sample(names, min(sample, len(names)))
        print(f"{target}: {len(names):,} mutants, {len(chosen)} tried (seed {seed})", flush=True)
        done = mutmut(folder, "run", "--max-children", str(children), *chosen)
        after = {name: code for name, code in verdicts(folder).items() if name in set(chosen)}
        untried = [name for name, code in after.items() if code is None]
        if untried:
            sys.exit(f"{target}: {len(untried)} mutants were not tried:\n{(done.stdout + done.stderr)[-3000:]}")
        survived = sorted(name for name, code in after.items() if code not in KILLED)
        for name in survived:
            print(f"-- survived ({after[name]}): {name}")
            print("\n".join(line for line in mutmut(folder, "show", name).stdout.splitlines() if line[:1] in "+-"))
        killed = 100 * (1 - len(survived) / len(after))
        print(f"{target}: {len(after) - len(survived)} of {len(after)} killed, {killed:.1f} %", flush=True)
        return killed


def main() -> int:
    """Try a sample of each target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="mutants of each target")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--only", choices=sorted(TARGETS))
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    targets = [options.only] if options.only else list(TARGETS)
    killed = [one(target, options.sample, options.seed, options.children) for target in targets]
    return 0 if min(killed) >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())

"""Does each release of Python that we name find every wheel of the image, by its hash? `python -m tests.pythons` (`make pythons`).

3.11 is the floor, and runs the suite; of the later ones nothing is run here. Where no registry answers it says so, and passes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).parents[1] / "deploy" / "requirements.lock"
LATER = ("3.12", "3.13", "3.14")


def lacks(version: str) -> str:
    """Return what a registry lacks for a release; empty: nothing."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--dry-run",
            "--quiet",
            "--ignore-installed",
            "--target",
            folder,
        ]
        command += [
            "--python-version",
            version,
            "--only-binary=:all:",
            "--no-deps",
            "--require-hashes",
            "-r",
            str(LOCK),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING")]
    return "\n".join(said) if done.returncode else ""


def main() -> int:
    """Say what is lacking; 0 where nothing is, and where nobody can be asked."""
    if said := lacks(f"{sys.version_info.major}.{sys.version_info.minor}"):
        print(f"the wheels were not looked for: no registry gives those that are installed here: {said[-200:]}")
        return 0
    lacking = {version: said for version in LATER if (said := lacks(version))}
    for version, said in lacking.items():
        print(f"{version}: {said}", file=sys.stderr)
    if not lacking:
        print(f"every wheel is there for {', '.join(LATER)}")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())

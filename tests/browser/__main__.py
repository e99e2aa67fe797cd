"""`make browser`: bring Chromium where apt works, and run the tests in it; 1 where it could be had and they did not run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.tools import bring


def main() -> int:
    """Run them; where no browser can be had, say so."""
    try:
        said = bring("chromium")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    if said is not None:
        print(f"browser: not run: {said}")
        return 0
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "browser",
        str(Path(__file__).parent),
        *sys.argv[1:],
    ]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="")
    ran = re.search(r"(\d+) passed", done.stdout)
    if done.returncode == 0 and (ran is None or "skipped" in done.stdout.splitlines()[-1]):
        print("browser: Chromium is there, and not all tests ran in it", file=sys.stderr)
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())

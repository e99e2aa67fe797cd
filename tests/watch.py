"""`make watch`: when a file is saved, run the tests that belong to it. Whoever wants all of them says `make test`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PYTEST = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-x",
    "-p",
    "no:cacheprovider",
    "-m",
    "not mutants and not process and not matrix",
]


def belong(changed: Path, tests: Mapping[Path, str]) -> list[Path]:
    """Return which tests (path and text) belong to a file: itself, those of its name or its package's, those that import it.

    A table beside a module belongs to the module; `test_ups_times.py` has the name of `ups.py` too. Paths are relative to the
    repository.
    """
    package, name = re.escape(".".join(changed.parent.parts)), re.escape(changed.stem)
    imports = re.compile(rf"\b{package}\.{name}\b|from {package} import (\([^)]*|[^\n(]*)\b{name}\b")
    named = re.compile(rf"test_({name}|{re.escape(changed.parent.name)})(_\w+)?\.py")
    return [
        test for test, text in tests.items() if test == changed or named.fullmatch(test.name) or imports.search(text)
    ]


def stamps() -> dict[Path, float]:
    """Return when each source and table was changed last."""
    files = (file for folder in ("adapters", "carriers", "tests", "tracker") for file in Path(folder).rglob("*.*"))
    return {file: file.stat().st_mtime for file in files if file.suffix in (".py", ".csv")}


def main() -> None:
    """Look each second, for ever."""
    seen = stamps()
    while True:
        time.sleep(1)
        now = stamps()
        changed = [file for file in now if now[file] != seen.get(file)]
        tests = {file: file.read_text() for file in now if changed and file.name.startswith("test_")}
        if chosen := {str(test) for file in changed for test in belong(file, tests)}:
            subprocess.run([*PYTEST, *sorted(chosen)], check=False)
        seen = now


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()

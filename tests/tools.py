"""Programs that the tests use where they are there: brought by apt where apt works. `python -m tests.tools` brings all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {"chromium": "chromium", "promtool": "prometheus"}  # program -> Debian's package


def bring(*programs: str) -> str | None:
    """Install what is missing, None: all is there. Returns why not, where apt does not work here. Raises RuntimeError where it works and brings it not."""
    missing = [name for name in programs if shutil.which(name) is None]
    if not missing:
        return None
    what = ", ".join(missing)
    if shutil.which("apt-get") is None:
        return f"no {what}, and no apt here to bring it"
    way = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if way and (
        shutil.which("sudo") is None or subprocess.run([*way, "true"], capture_output=True, check=False).returncode
    ):
        return f"no {what}, and apt wants root"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "stdin": subprocess.DEVNULL}
    looked = subprocess.run([*way, "apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]
    if looked.returncode:
        return f"no {what}, and apt reaches no archive: {looked.stderr.strip().splitlines()[-1:]}"
    packages = [PACKAGES[name] for name in missing]
    command = [
        *way,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "install",
        "-qq",
        "-y",
        "--no-install-recommends",
        *packages,
    ]
    done = subprocess.run(command, check=False, **quiet)  # type: ignore[call-overload]
    if done.returncode or any(shutil.which(name) is None for name in missing):
        raise RuntimeError(f"apt works, and does not bring {what}: {done.stderr.strip().splitlines()[-1:]}")
    return None


def main() -> int:
    """Bring all; say what cannot be had."""
    try:
        said = bring(*PACKAGES)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(said or f"there: {', '.join(PACKAGES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

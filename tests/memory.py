"""What a process holds in RAM; apart, so that who measures memory loads nothing else."""

from __future__ import annotations

import os
from pathlib import Path


def resident(process: int | str = "self") -> float:
    """Return the memory that a process has in RAM, in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def most_resident() -> float:
    """Return the most memory that this process had in RAM, in MB; what `getrusage` says is that of its parent too."""
    told = Path("/proc/self/status").read_text().split("VmHWM:")[1].split(maxsplit=1)[0]
    return int(told) / 1000

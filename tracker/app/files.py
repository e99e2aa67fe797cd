"""How many files this process may have open: each connection is one, and a process that reaches its limit can call nobody."""

from __future__ import annotations

import resource
from collections.abc import Callable, Collection

from tracker.app.connections import MOST
from tracker.config.model import Root

OF_ITS_OWN = 96  # logs, modules, the broker, the interpreter
Limits = tuple[int, int]


def needed(root: Root, roles: Collection[str]) -> int:
    """Return how many files a process of these roles may come to open."""
    database = 2 * max(10, root.threads + 4)
    calls = MOST if "worker" in roles else 0
    posts = 2 * root.web.connections_per_address if "web" in roles else 0  # two proxies before us
    return OF_ITS_OWN + database + calls + posts


def settle_files(
    wanted: int,
    get: Callable[[int], Limits] = resource.getrlimit,
    take: Callable[[int, Limits], None] = resource.setrlimit,
) -> str | None:
    """Raise the soft limit of open files as far as it is needed and allowed. Returns what is to be done where that does not suffice."""
    soft, hard = get(resource.RLIMIT_NOFILE)
    if _suffices(soft, wanted):
        return None
    most = wanted if _suffices(hard, wanted) else hard
    try:
        take(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    except (OSError, ValueError):  # a system may have a limit of its own
        pass
    if _suffices(soft, wanted):
        return None
    return f"this process may open {soft} files, and may need {wanted}: raise its limit (LimitNOFILE= of systemd, ulimits of Docker)"


def _suffices(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted

"""The provinces and territories of Canada, and their time where several zones share one."""

from __future__ import annotations

from zoneinfo import ZoneInfo

PROVINCES = frozenset(["AB", "BC", "MB", "NB", "NL", "NS", "NT", "NU", "ON", "PE", "QC", "SK", "YT"])
MOSTLY = {  # of provinces that several zones share: that of their largest city; the core knows the others
    name: ZoneInfo(zone)
    for name, zone in {
        "BC": "America/Vancouver", "NL": "America/St_Johns", "NT": "America/Yellowknife", "NU": "America/Iqaluit",
        "ON": "America/Toronto", "YT": "America/Whitehorse",
    }.items()
}  # fmt: skip

"""How DPD's answers and files are read in its tests, and where their parcels are then."""

from __future__ import annotations

from typing import Any

from tracker.domain.facts import Report, StoredScan, Unread
from tracker.domain.timeline import place_in_time, summarize
from tracker.plugin.conformance import AT, example_settings, plugin_of, read_all


def source(**more: Any) -> Any:
    plugin = plugin_of("carriers.dpd")
    return plugin("account", example_settings(plugin, **more))


def read(body: bytes, kind: str = "poll", **more: Any) -> tuple[list[Report], list[Unread]]:
    items = read_all(source(**more), kind, (body,))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def ended(reports: list[Report]) -> dict[str, tuple[str, str]]:
    """Return where each parcel is by its scans."""
    found = {}
    for report in reports:
        stored = []
        for at, scan in enumerate(report.scans):
            meaning = source().meaning(scan.code)
            if meaning is None:
                continue
            instant, zone = place_in_time(scan, source().default_zone, AT)
            meaning = type(meaning)(meaning.status, meaning.reason, scan.leg or meaning.leg)
            stored.append(StoredScan(str(at), scan.code.space, scan.code.code, meaning, instant, zone))
        summary = summarize(stored)
        found[report.number] = (str(summary.status), str(summary.reason))
    return found

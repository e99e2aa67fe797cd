"""easypost: conformance, and what is its own."""

from __future__ import annotations

from pathlib import Path

from tracker.plugin.conformance import for_carrier

TestConformance = for_carrier("carriers.easypost", fixtures=Path(__file__).parents[1] / "fixtures" / "easypost")

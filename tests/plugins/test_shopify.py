"""shopify: conformance, and what is its own."""

from __future__ import annotations

from pathlib import Path

from tracker.plugin.conformance import for_platform

TestConformance = for_platform("adapters.shopify", fixtures=Path(__file__).parents[1] / "fixtures" / "shopify")

"""Delhivery's codes against the lists in ../shared, where these are at hand; there is no official file of its contract."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, _codes

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here: the lists are not shipped")


def pairs() -> list[Listed]:
    found = []
    for row in _codes("delhivery"):
        kind, _, status = row["code"].partition("|")
        found.append(Listed(kind, status, row["carrier_label"]))
    return found


def nsl() -> list[Listed]:
    """The NSL codes, by the type that they come with; and words beyond the pairs of type and status."""
    found = []
    for row in _codes("delhivery", "more_codes.csv"):
        code, _, kind = row["code"].partition(" (")
        space = f"NSL {kind.removesuffix(')') or row['space'].rpartition(' ')[2]}"
        found.append(Listed("word" if row["space"].startswith("status words") else space, code, row["wording"]))
    return found


def test_each_status_of_delhivery_is_decided(record_property: Any) -> None:
    assert len(pairs()) == 19
    decided("delhivery", "_status_maps/direct_carriers.csv", pairs(), record_property)


def test_each_nsl_code_of_delhivery_is_decided(record_property: Any) -> None:
    assert len(nsl()) == 167
    decided("delhivery", "_status_maps/more_codes.csv", nsl(), record_property)
    nothing_stale("delhivery", [*pairs(), *nsl()])

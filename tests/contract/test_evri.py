"""Evri's lists of stages against ../shared, where they are at hand. No document of its API is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, _codes

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here: the lists are not shipped")


def test_each_stage_of_its_lists_is_decided(record_property: Any) -> None:
    lists: dict[str, list[Listed]] = {}
    for file, wording, space in (
        ("direct_carriers.csv", "carrier_label", "stage"),
        ("more_codes.csv", "wording", "return"),
    ):
        rows = _codes("evri", file)
        lists[f"specs/_status_maps/{file}"] = [Listed(space, row["code"], row[wording]) for row in rows]
    assert [len(rows) for rows in lists.values()] == [14, 2]
    for source, listed in lists.items():
        decided("evri", source, listed, record_property)
    nothing_stale("evri", [row for listed in lists.values() for row in listed])

"""Australia Post's lists of words against ../shared, where they are at hand. No specification of its API is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, _codes

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here: the official lists are not shipped")


def test_each_word_of_its_lists_is_decided_and_has_its_fixture(record_property: Any) -> None:
    lists: dict[str, list[Listed]] = {}
    for file, wording in (("direct_carriers.csv", "carrier_label"), ("more_codes.csv", "wording")):
        rows = _codes("australiapost", file)
        lists[f"specs/_status_maps/{file}"] = [Listed("status", row["code"].lower(), row[wording]) for row in rows]
    assert [len(rows) for rows in lists.values()] == [14, 15]
    for source, listed in lists.items():
        decided("australia_post", source, listed, record_property)
    every = [row for rows in lists.values() for row in rows]
    nothing_stale("australia_post", every)
    folder = Path(__file__).parents[1] / "fixtures" / "australia_post"
    told = json.loads((folder / "statuses.poll.json").read_text())["tracking_results"]
    assert {row.code for row in every} <= {one["status"].lower() for one in told}

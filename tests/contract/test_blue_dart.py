"""Blue Dart's codes against the third party's table in ../shared, where it is at hand; the carrier has no public contract."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, _codes, plugin
from tracker.domain.facts import Code

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="../shared is not here: the lists are not shipped")
ENDS = {"delivered", "returned", "cancelled", "lost", "destroyed"}


def listed() -> list[Listed]:
    return [Listed(row["code_space"].split()[1], row["code"], row["carrier_label"]) for row in _codes("bluedart")]


def test_each_code_is_decided(record_property: Any) -> None:
    assert len(listed()) == 229
    decided("blue_dart", "_status_maps/direct_carriers.csv", listed(), record_property)
    nothing_stale("blue_dart", listed())


def test_none_of_them_ends_a_journey_by_itself() -> None:
    source = plugin("carriers.blue_dart")
    for row in listed():
        for words in ("", "closed"):
            says = source.meaning(Code(row.space, row.code, words))
            assert says is None or says.status not in ENDS, row

"""The check of the lists of codes itself: it must see what is left out."""

from __future__ import annotations

import pytest

from tests.contract import code_lists
from tests.contract.code_lists import FOLDER, Listed, undecided, wrong
from tracker.domain.facts import Meaning
from tracker.domain.vocabulary import Leg, Reason, ShippingStatus

MOVES = Meaning(ShippingStatus.IN_TRANSIT, Reason.MOVING, Leg.OUTBOUND)
STILL = Meaning(None, Reason.INFORMATION_ONLY, Leg.OUTBOUND)


def test_a_row_that_is_in_no_table_is_told() -> None:
    assert len(wrong([Listed("a", "1", "Moving")], {}, {})) == 1
    assert not wrong([Listed("a", "1", "Moving")], {("a", "1"): MOVES}, {})
    assert not wrong([Listed("a", "1", "Invoice made")], {}, {("a", "1"): ("not_of_parcels", "an invoice")})


@pytest.mark.parametrize("wording", ["Delivered", "was RETURNED to", "1st attempt", "Lost", "Damage found"])
def test_what_sounds_final_is_never_undecided_and_moves_nothing_only_with_a_reason(wording: str) -> None:
    row, key = [Listed("a", "1", wording)], ("a", "1")

    assert wrong(row, {}, {key: ("ambiguous", "why")})
    assert wrong(row, {key: STILL}, {})
    assert not wrong(row, {key: STILL}, {key: ("moves_nothing", "it is a plan")})


def test_a_row_that_is_decided_is_not_said_to_be_undecided() -> None:
    assert wrong([Listed("a", "1", "Moving")], {("a", "1"): MOVES}, {("a", "1"): ("ambiguous", "why")})


def test_a_reason_that_is_not_in_the_closed_list_is_refused(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(code_lists, "FOLDER", tmp_path)
    (tmp_path / "acme.csv").write_text("space,code,why,because\na,1,hard,too hard\n")

    with pytest.raises(ValueError, match=r"acme\.csv:2"):
        undecided("acme")


def test_each_file_of_undecided_codes_is_read_and_of_a_plugin() -> None:
    from tracker.config.plugins import installed

    plugins = installed("carriers").plugins
    for file in FOLDER.glob("*.csv"):
        assert file.stem in plugins, file
        undecided(file.stem)

"""The matrix itself: how many cells are not played, each by a word that its platform lacks, and some of those that are."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.matrix.cells import Cell, cells, play, scenarios, table
from tests.matrix.columns import ROOT, columns
from tests.matrix.translate import Translation

NOT_PLAYED = {
    "rest": 0,
    "bigcommerce": 42,
    "shopify": 44,
    "saleor": 46,
    "generic": 33,
    "woocommerce": 21,
    "magento": 37,
}  # of 55, on each database


def test_the_number_of_cells_that_are_not_played_is_fixed() -> None:
    found = Counter(cell.column for cell in cells(("sqlite",)) if cell.lacks)

    assert {name: found[name] for name in columns()} == NOT_PLAYED


def test_each_cell_that_is_not_played_names_what_the_platform_has_no_word_for() -> None:
    for cell in cells(("sqlite",)):
        assert all(word.startswith("no ") for word in cell.lacks), f"{cell.id} on {cell.column}: {cell.lacks}"


def test_a_status_payment_and_actor_that_a_platform_lacks_are_named() -> None:
    shop = columns()["bigcommerce"]

    assert {"no word for returned", "no writing of returned"} <= {*Translation(scenarios()["KE-10"], shop).lacks}
    assert "no actor of a change" in Translation(scenarios()["KE-03"], shop).lacks
    assert "no checkouts" in Translation(scenarios()["KR-07"], shop).lacks
    assert "no writing of delivered" in Translation(scenarios()["KR-06"], columns()["shopify"]).lacks
    assert "no order status that is written" in Translation(scenarios()["MG-06"], columns()["shopify"]).lacks
    assert "no payment that is failed" in Translation(scenarios()["MG-03"], columns()["generic"]).lacks


def test_words_of_a_scenario_become_the_platforms_own() -> None:
    told = Translation(scenarios()["MG-06"], columns()["bigcommerce"]).told

    assert told["stores"]["shop"]["uses"] == "bigcommerce"
    assert told["steps"][0]["place"]["status"] == "Awaiting Fulfillment", "it has one word for confirmed and processing"
    assert [write["event"] for write in told["expect"]["writes"]] == ["Completed"], "a shipment makes it Shipped itself"


@pytest.mark.parametrize(
    ("id_", "column"),
    [("MG-06", "bigcommerce"), ("MG-09", "shopify"), ("MG-04", "saleor"), ("KE-01", "generic")],
)
def test_a_cell_ends_as_it_must(id_: str, column: str) -> None:
    assert play(Cell(id_, column, "sqlite")).differences == []


def test_a_cell_that_fails_is_told_and_ends_the_command_with_1() -> None:
    failed, fine = Cell("KE-01", "rest", "sqlite"), Cell("KE-01", "shopify", "sqlite", ["no delivery method"])
    failed.differences = ["order #1: not known"]
    said = table([failed, fine])

    assert failed.failed
    assert "FAILED KE-01 on rest, sqlite: order #1: not known" in said
    assert "  shopify: no delivery method: KE-01" in said
    line = [
        sys.executable,
        "-m",
        "tests.matrix",
        "--only",
        "bigcommerce",
        "--id",
        "KE-11",
        "--id",
        "KE-01",
        "--database",
        "sqlite",
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "1/2" in done.stdout) == (0, True), done.stdout + done.stderr

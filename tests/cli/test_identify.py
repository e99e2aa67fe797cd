"""`tracker identify` says whose a number can be, why, and who would be asked: with a configuration or without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lab import Lab, Make
from tracker.cli.main import cli

SHARED = "9261290289999123456783"
one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def said(*words: str, code: int = 0, given: str = "") -> str:
    done = CliRunner().invoke(cli, ["identify", *words], input=given)
    assert done.exit_code == code, f"{done.output}{done.exception!r}"
    return done.output


def test_without_a_configuration_formats_alone_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "of ups: no other carrier has such numbers" in said("1Z R58-939 03 5756 7121")
    assert "could be of usps, fedex" in said(SHARED)
    assert "of dhl, as the shop says" in said(SHARED, "--company", "DHL Express")
    assert "of ups, as the shop says; its check digit is wrong" in said("1Z5R89390357567128", "--company", "UPS")
    assert "of zz" not in said("ABC", code=1)
    assert not list(tmp_path.iterdir()), "a look writes nothing"


def test_lines_of_standard_input_are_read_each_and_a_text_without_a_number_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(
        said("-", "--json", code=1, given="1ZR589390357567121, 1ZR589400357568494\n\npicked up in store\n")
    )
    assert [one["number"] for one in told] == ["1ZR589390357567121", "1ZR589400357568494", None]
    assert said(*["1"] * 1001, code=2)
    for nothing in (("",), (" ",), ("-",)):
        assert said(*nothing, code=1).strip() == "(nothing): no number in it"


def test_a_file_that_is_named_and_is_not_there_is_an_error() -> None:
    done = CliRunner().invoke(cli, ["identify", SHARED, "-c", "none.yaml"])
    assert "there is no such file" in str(done.exception)


@one_database
def test_of_a_store_its_accounts_its_habit_and_the_words_of_its_order_are_told(make_lab: Make, tmp_path: Path) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1001", "00340434161094042557", company="DHL")
    lab.work()
    file = tmp_path / "t.yaml"
    file.write_text(lab.yaml)
    (told,) = json.loads(said(SHARED, "--json", "-c", str(file)))
    assert [row["carrier"] for row in told["carriers"]] == ["usps", "dhl", "ups"]
    assert "open parcels of the store that are of it: 1" in told["carriers"][1]["why"]
    assert [one["account"] for one in told["asked"]] == ["dhl", "ups", "easypost"]
    assert (told["believed"], told["number"]) == (None, SHARED)

    (told,) = json.loads(said(SHARED, "--json", "-c", str(file), "--service", "UPS Ground Saver"))
    assert told["carriers"][0]["carrier"] == "ups"
    assert "the order's service names it" in told["carriers"][0]["why"]
    (few,) = json.loads(said("788829354408", "--json", "-c", str(file)))
    assert (few["believed"], [one["account"] for one in few["asked"]]) == (None, ["easypost"])
    assert few["verdict"].startswith("could be of fedex, or of another of an account that tells of any carrier: one is")
    shown = said(SHARED, "-c", str(file), "--company", "USPS")
    assert "asked: easypost" in shown
    assert "then: ups" in said(SHARED, "-c", str(file))


def test_a_number_about_which_nobody_could_be_asked_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "0123456789012345678901")
    file = tmp_path / "t.yaml"
    store = 'shop: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}"}'
    ups = 'ups: {uses: ups, client_id: x, client_secret: "${env:SECRET}"}'
    file.write_text(f"database: sqlite:///{tmp_path}/none.db\naccounts: {{{ups}}}\nstores: {{{store}}}\n")
    assert "asked: nobody: no account of shop covers it" in said("3318810025", "-c", str(file))
    assert "nobody" not in said("1Z5R89390357567127", "-c", str(file))


@one_database
def test_a_database_that_is_away_costs_only_the_habit(make_lab: Make, tmp_path: Path) -> None:
    lab: Lab = make_lab()
    file = tmp_path / "t.yaml"
    (tmp_path / "broken.db").write_bytes(b"none" * 1000)
    file.write_text(lab.yaml.replace(str(lab.ctx.config.root.database), f"sqlite:///{tmp_path}/broken.db"))
    assert "what the store ships with now is not counted" in said(SHARED, "-c", str(file))
    file.write_text(lab.yaml.replace(str(lab.ctx.config.root.database), f"sqlite:///{tmp_path}/none.db"))
    assert "could be of" in said(SHARED, "-c", str(file))
    assert not (tmp_path / "none.db").exists()

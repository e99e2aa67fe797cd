"""Who is asked of several accounts of one carrier: each of its divisions may know a parcel, those of the number's shape first."""

from __future__ import annotations

import pytest

from tracker.config.load import load_text
from tracker.config.recognized import may_be_asked, named_in, spoken

ACCOUNTS = """
accounts:
  unified: {uses: dhl, api_key: "${env:SECRET}"}
  express: {uses: dhl_express, username: "${env:SECRET}", password: "${env:SECRET}"}
  any: {uses: easypost, api_key: "${env:SECRET}"}
  ups: {uses: ups, client_id: x, client_secret: "${env:SECRET}"}
stores:
  shop: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}"}
  few: {uses: shopify, shop: b.myshopify.com, access_token: "${env:SECRET}", accounts: [any, ups]}
"""


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "0123456789012345678901234567890123456789")


def asked(number: str) -> list[str]:
    config = load_text(ACCOUNTS)
    return [one.account for one in may_be_asked(config, "dhl", number, "shop")]


def test_each_division_of_a_carrier_may_be_asked_and_one_whose_numbers_look_otherwise_comes_last() -> None:
    assert asked("3318810025") == ["unified", "express", "any"]
    assert asked("00340434161094042557") == ["unified", "any", "express"]


def test_why_each_is_asked_is_told() -> None:
    whys = {one.account: one.why for one in load_text(ACCOUNTS).candidates("dhl", "shop")}
    assert whys["express"] == "the only account of dhl by dhl_express"
    assert {one.why for one in load_text(ACCOUNTS).candidates("ups", "shop")} >= {"the only account of ups"}


def test_a_store_speaks_by_the_accounts_that_it_names() -> None:
    config = load_text(ACCOUNTS)
    assert spoken(config, "few") == {"ups"}
    assert spoken(config, "shop") == {"ups", "dhl"}
    assert [one.account for one in may_be_asked(config, None, "1Z5R89390357567127", "few")] == ["ups", "any"]


def test_a_service_names_a_carrier_only_at_a_store_that_is_there() -> None:
    config = load_text(ACCOUNTS)
    assert named_in(config, "shop", "Next day by DHL Express please") == {"dhl"}
    assert named_in(config, "nobody", "DHL Express") == frozenset()
    assert named_in(config, "shop", "") == frozenset()

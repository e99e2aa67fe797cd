"""The accounts that a store ships with: who may be asked about its parcels, and in which order."""

from __future__ import annotations

import pytest

from tracker.config.load import load_text, masked
from tracker.config.model import Config
from tracker.domain.errors import ConfigError
from tracker.pipeline import whose


def configured(stores: str, *, ups: int = 2, more: str = "") -> Config:
    accounts = "".join(
        f"  own-{i}: {{uses: ups, client_id: i, client_secret: '${{env:S}}'}}\n" for i in range(1, ups + 1)
    )
    aggregators = "".join(f"  {name}: {{uses: easypost, api_key: '${{env:S}}'}}\n" for name in ("easy", "easier"))
    return load_text(f"accounts:\n{aggregators}{accounts}{more}stores:\n{stores}")


def store(name: str, accounts: str = "") -> str:
    said = f", accounts: {accounts}" if accounts else ""
    return f"  {name}: {{uses: rest, base_url: 'https://r.example', api_token: '${{env:S}}'{said}}}\n"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "0123456789012345678901234567890123456789")


def asked(config: Config, carrier: str | None, name: str = "shop") -> list[str]:
    return [one.account for one in config.candidates(carrier, name)]


def test_a_store_names_whom_it_ships_with_and_aggregators_come_after_direct_accounts() -> None:
    config = configured(store("shop", "[easy, own-2, own-1]") + store("one", "own-1"))

    assert asked(config, "ups") == ["own-2", "own-1", "easy"]
    assert [one.why for one in config.candidates("ups", "shop")][:2] == [
        "named first by store shop",
        "named next by store shop",
    ]
    assert asked(config, "usps") == asked(config, None) == ["easy"]
    assert (asked(config, "ups", "one"), asked(config, "usps", "one")) == (["own-1"], []), "it names nobody else"
    assert masked(config)["stores"]["one"]["accounts"] == ["own-1"]


def test_a_store_that_names_none_gets_one_of_each_by_a_rule_that_is_stable() -> None:
    config = configured("".join(store(f"s{i}") for i in range(40)), ups=3)
    found = {name: asked(config, "ups", name) for name in config.store_names()}

    assert {first for first, _ in found.values()} == {"own-1", "own-2", "own-3"}
    assert {second for _, second in found.values()} == {"easy", "easier"}
    assert config.candidates("ups", "s1")[0].why == "by a stable rule: store s1 names none"
    fewer = configured("".join(store(f"s{i}") for i in range(40)), ups=2)
    moved = {name for name in found if asked(fewer, "ups", name) != found[name]}
    assert moved == {name for name, (first, _) in found.items() if first == "own-3"}


def test_the_only_account_of_a_carrier_is_asked_and_one_that_tracks_it_speaks_for_it() -> None:
    config = configured(store("shop"), ups=1, more="  post: {uses: easypost, api_key: '${env:S}', tracks: [usps]}\n")

    assert config.candidates("ups", "shop")[0].why == "the only account of ups"
    assert asked(config, "usps")[0] == "post"
    assert asked(config, None)[0] in ("easy", "easier")
    assert asked(load_text("broker: none"), "ups") == []


@pytest.mark.parametrize(
    ("accounts", "problem"),
    [
        ("[own-1, owm-2]", "<text>:7:94: stores.shop.accounts.1: no carrier account 'owm-2'; did you mean 'own-2'?"),
        ("[own-1, own-1]", "<text>:7:94: stores.shop.accounts.1: 'own-1' is named twice"),
        ("shop", "<text>:7:76: stores.shop.accounts.0: 'shop' is a store, not a carrier account"),
    ],
)
def test_who_is_named_exists_is_a_carrier_account_and_is_named_once(accounts: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        configured(store("shop", accounts))
    assert error.value.problems == (problem,)


def test_that_a_store_names_none_of_several_is_told_in_a_line_a_carrier() -> None:
    config = configured("".join(store(f"s{i}") for i in range(9)) + store("z", "own-1"), ups=5)
    ups, general = sorted(whose.several(config), reverse=True)

    assert ups.startswith(
        "ups: 5 accounts (own-1, own-2, own-3 and 2 more), and s0, s1, s2 and 6 more stores name none"
    )
    assert "webhooks alone" in ups
    assert general.startswith("any carrier: 2 accounts (easy, easier)")
    assert whose.several(configured(store("shop", "[own-1]"))) == []

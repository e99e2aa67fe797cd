"""How often parcels are asked about, as the YAML says it: the narrower place wins key by key, and what cannot be meant is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.config.good import problems
from tracker.config.cadences import cadence_of, told
from tracker.config.load import load_text, masked
from tracker.config.model import Config
from tracker.domain.cadence import DEFAULT, looks_after
from tracker.domain.vocabulary import ShippingStatus

S, H = ShippingStatus, timedelta(hours=1)
CONFIG = """cadence:
  every: {in_transit: 5h, returning: 1d}
  quiet_after: 2d
  carriers:
    dhl: {every: {in_transit: 2h}, aftercare: 1d}
accounts:
  plain: {uses: dhl, api_key: "${env:SECRET}"}
  own:
    uses: dhl
    api_key: "${env:SECRET}"
    cadence: {every: {in_transit: 10m}, near_delivery: 30m, slowest: 2d}
"""


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SECRET", "x" * 30)
    return load_text(CONFIG, "t.yaml")


def test_without_a_word_a_parcel_is_asked_about_as_ever() -> None:
    config = load_text("{}", "t.yaml")

    assert cadence_of(config.root.cadence) == DEFAULT
    assert config.aftercare == timedelta(days=7)


def test_an_accounts_own_word_beats_the_carriers_and_that_the_word_for_all_key_by_key(config: Config) -> None:
    def every(account: str, carrier: str | None, status: ShippingStatus) -> timedelta:
        return config.cadence(account, carrier).intervals[status]

    assert (every("plain", "ups", S.IN_TRANSIT), every("plain", None, S.IN_TRANSIT)) == (5 * H, 5 * H)
    assert every("plain", "dhl", S.IN_TRANSIT) == 2 * H
    assert every("own", "dhl", S.IN_TRANSIT) == timedelta(minutes=10)
    assert every("own", "dhl", S.RETURNING) == 24 * H
    assert every("own", "dhl", S.OUT_FOR_DELIVERY) == H / 2
    own = config.cadence("own", "dhl")
    assert (own.near_delivery, own.quiet_after, own.slowest) == (H / 2, 48 * H, 48 * H)
    assert own.aftercare == looks_after(timedelta(days=1))
    assert config.cadence("own", "ups").aftercare == looks_after(timedelta(days=7))
    assert config.cadence("gone", "dhl").intervals[S.IN_TRANSIT] == 2 * H


def test_the_longest_aftercare_of_all_is_known(config: Config) -> None:
    assert config.aftercare == timedelta(days=7)
    assert load_text("cadence: {aftercare: 1d, carriers: {dhl: {aftercare: 20d}}}", "t.yaml").aftercare == timedelta(20)
    assert load_text("cadence: {aftercare: 0s}", "t.yaml").aftercare == timedelta(0)


def test_each_value_is_told_with_the_part_that_says_it(config: Config) -> None:
    said = {key: (value, part) for key, value, part in told(config.root.cadence, config.accounts["own"].cadence, "dhl")}

    assert said["every.in_transit"] == ("10m", "account")
    assert said["every.returning"] == ("1d", "cadence")
    assert said["aftercare"] == ("1d", "cadence.carriers.dhl")
    assert said["every.lost"] == ("1d", "")
    assert config.accounts["own"].cadence_sources["every.in_transit"] == "t.yaml:11"
    assert config.cadence_sources["every.returning"] == "t.yaml:2"
    assert config.cadence_sources["carriers.dhl.aftercare"] == "t.yaml:5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cadence: {every: {in_transit: 10s}}", "t.yaml:1:19: cadence.every.in_transit: must be from 1m to 30d"),
        ("cadence: {every: {in_transit: soon}}", "t.yaml:1:19: cadence.every.in_transit: must be a duration such as"),
        ("cadence: {every: {moving: 1h}}", "t.yaml:1:19: cadence.every.moving: "),
        ("cadence: {every: {delivered: 1h}}", "t.yaml:1:19: cadence.every.delivered: delivered is an end: `aftercare` says"),
        ("cadence: {slowest: 31d}", "t.yaml:1:11: cadence.slowest: must be from 1m to 30d"),
        ("cadence: {aftercare: 91d}", "t.yaml:1:11: cadence.aftercare: must be 90d or less"),
        ("cadence: {quiet: 1d}", "t.yaml:1:11: cadence.quiet: unknown key"),
        ("cadence: {carriers: {dhl: {carriers: {}}}}", "t.yaml:1:28: cadence.carriers.dhl.carriers: unknown key"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_at_its_place(text: str, said: str) -> None:
    (found,) = problems(text)

    assert str(found).startswith(said)


def test_what_is_in_force_is_shown_as_the_yaml_says_it(config: Config) -> None:
    shown = masked(config)

    assert (shown["cadence"]["every"]["in_transit"], shown["cadence"]["every"]["unknown"]) == ("5h", "3h")
    assert (shown["cadence"]["aftercare"], shown["cadence"]["quiet_after"]) == ("7d", "2d")
    assert shown["cadence"]["carriers"] == {"dhl": {"every": {"in_transit": "2h"}, "aftercare": "1d"}}
    assert shown["accounts"]["own"]["cadence"] == {
        "every": {"in_transit": "10m"},
        "near_delivery": "30m",
        "slowest": "2d",
    }
    assert "cadence" not in shown["accounts"]["plain"]


def test_a_carrier_that_nobody_knows_is_told(config: Config) -> None:
    assert not [note for note in config.notes if "cadence" in note]

    (note,) = load_text("cadence: {carriers: {dlh: {}, postnl: {}}}", "t.yaml").notes
    assert note == "cadence.carriers.dlh: no parcel is of this carrier, so it is never used; did you mean 'dhl'?"

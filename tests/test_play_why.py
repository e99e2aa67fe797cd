"""A play that differs says what the installation itself knows went wrong: the first places to look at."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tests.lab import DHL, UPS
from tracker.cli.main import cli
from tracker.sandbox.player.player import Player, Result, load_scenario

PLAY = """
scenario: everything is wrong
accounts:
  ups: {uses: ups, webhooks: false, secret: wrong}
  dhl:
    uses: dhl
    serves:
      settings: {base_url: "{url}", api_key: "{key}", budget: {calls: 100000, per: 1d}}
      headers: {dhl-api-key: right}
      calls: [{path: /track/shipments, number: query.trackingNumber, unknown: {title: No}, unknown_status: 404}]
steps:
  - {at: +0h, place: {order: "#1"}}
  - {at: +0h, place: {order: "#2"}}
  - {at: +0h, place: {order: "#3"}}
  - {at: +0h, place: {order: "#4"}}
  - {at: +0h, place: {order: "#5"}}
  - {at: +1h, ship: {order: "#1", company: UPS, numbers: ["UPS"]}}
  - {at: +1h, ship: {order: "#2", company: Van of mine, numbers: ["VAN-1"]}}
  - {at: +1h, ship: {order: "#3", company: DHL, numbers: ["DHL"]}}
  - {at: +1h, ship: {order: "#4", company: DHL, numbers: ["00340434161094042588"]}}
  - {at: +1h, ship: {order: "#5", company: DHL, numbers: ["00340434161094042595"]}}
  - {at: +1h, scan: {account: dhl, number: "DHL", body: {shipments: [{id: 7.5}]}}}
  - {at: +1h, scan: {account: dhl, number: "00340434161094042588", body: {shipments: [{id: "00340434161094042599",
      service: parcel-de, estimatedTimeOfDelivery: soon, events: [{timestamp: "2026-11-02T08:00:00", statusCode: transit, status: AE}]}]}}}
lasts: 2h
expect: {EXPECT}
""".replace('"UPS"', f'"{UPS}"').replace('"DHL"', f'"{DHL}"')  # fmt: skip


def played(folder: Path, expect: str, text: str = PLAY) -> Result:
    (folder / "s.yaml").write_text(text.replace("EXPECT", expect))
    return Player(load_scenario(folder / "s.yaml")).play()


def test_each_thing_that_went_wrong_is_told_once(tmp_path: Path) -> None:
    result = played(tmp_path, 'orders: {"#1": {status: cancelled}}')

    assert result.differences == ["order #1: status is shipped, expected cancelled"]
    assert [hint for hint in result.hints if not hint.startswith("finding ")] == [
        "account ups is suspended: HTTP 401",
        "parcel VAN-1 is asked about nowhere: no account speaks for 'Van of mine'",
        "parcel 00340434161094042599 of dhl was told of, and no order names it",
        "dhl has parcel 00340434161094042595 as not_found: no reason given",
        "a poll of dhl could not be read: bad_payload: $.shipments[0].id: must be a text, is a float",
        "a poll of dhl was read in part: $.shipments[0].estimatedTimeOfDelivery: is no ISO 8601 date and time: 'soon'",
        "a poll of dhl was read in part: $.shipments: tells nothing of the number that was asked about",
    ]
    assert any(hint.startswith("finding account_parked of account/ups: ") for hint in result.hints)
    assert len(result.hints) == len(set(result.hints))


def test_a_play_that_ends_as_it_must_has_nothing_to_explain(tmp_path: Path) -> None:
    assert played(tmp_path, 'orders: {"#1": {status: shipped}}').hints == []


def test_the_command_says_them_below_the_differences(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(PLAY.replace("EXPECT", 'orders: {"#1": {status: cancelled}}'))
    said = CliRunner().invoke(cli, ["sandbox", "play", str(tmp_path / "s.yaml"), "--check"])

    assert said.exit_code == 1
    assert "expected cancelled\n  perhaps because: account ups is suspended: HTTP 401\n" in said.output
    assert "Next:" not in said.output

"""`agreement.yaml`: whatever the preset wants, the ledger tells that the shop says Delivered over a picked-up parcel."""

from __future__ import annotations

from pathlib import Path

from tracker.sandbox.player.player import Player, load_scenario

HERE = Path(__file__).parent


def test_a_delivered_over_a_picked_up_parcel_is_drift_in_every_preset() -> None:
    result = Player(load_scenario(HERE / "agreement.yaml")).play()

    assert result.differences == []

"""What the tests of payloads share."""

from __future__ import annotations

import pytest

from tests.lab import Make
from tests.pipeline.payloads import Payloads


@pytest.fixture
def payloads(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> Payloads:
    """Return payloads of a lab that has worked off what it began with."""
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    return Payloads(lab, monkeypatch)

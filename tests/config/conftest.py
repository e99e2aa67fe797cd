"""The secrets that the files of these tests refer to."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary-secret")
    monkeypatch.setenv("OLD", "canary-old")
    monkeypatch.setenv("TOKEN", "0123456789012345678901")

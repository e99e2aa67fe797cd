"""What the tests of shops' answers share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cases.script import KART, Script
from tests.lab import Lab


@pytest.fixture
def kart(make_lab: Callable[..., Lab]) -> tuple[Lab, Script]:
    lab = make_lab(rest=KART)
    return lab, Script(lab)

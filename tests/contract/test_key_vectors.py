"""Handshakes and signatures by public keys against the vectors in ../shared: what must pass does, what must fail does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tracker.plugin.signatures import hashed_challenge

SHARED = Path(__file__).parents[3] / "shared"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared folder is not here")


def vector(id_: str, file: str = "platforms/specs/more-signature-vectors.json") -> Any:
    told = json.loads((SHARED / file).read_text())["vectors"]
    return next(one for one in told if id_ in (one.get("id"), one.get("name")))


def test_the_challenge_of_an_endpoint_is_hashed_as_the_vectors_say() -> None:
    told = vector("ebay-challenge-twins")
    answer = hashed_challenge(told["challenge_code"], SecretStr(told["key"]["secret"]), told["endpoint"])

    assert answer == told["answer"]["challengeResponse"]
    assert told["must_fail"]
    assert answer not in [wrong["answer"]["challengeResponse"] for wrong in told["must_fail"]]

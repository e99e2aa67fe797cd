"""Edi: white space as long as a read, and messages that stand in no group."""

from __future__ import annotations

import io
from typing import Any

from carriers.edi.cutting import READ
from tests.plugins.edi import x12
from tracker.plugin.conformance import example_settings, plugin_of

BODY = x12([["B10*PRO1*S*RDWY", "LX*1", "AT7*D1*NS***20261126*1022*CS"]])


def _cuts(body: bytes) -> list[Any]:
    plugin = plugin_of("carriers.edi")
    return list(plugin("account", example_settings(plugin)).cut(io.BytesIO(body)))


def test_white_space_as_long_as_what_is_read_at_once_ends_no_file() -> None:
    (plain,), (behind,) = _cuts(BODY), _cuts(b"\n" * READ + BODY)

    assert behind.parts == plain.parts


def test_a_message_outside_of_a_group_is_read_and_counted_in_none() -> None:
    start, rest = BODY.split(b"GS*", 1)
    _, message = rest.split(b"~\n", 1)
    cuts = _cuts(start + message.replace(b"GE*1*45~\n", b"").replace(b"IEA*1*", b"IEA*0*"))

    assert b"B10*PRO1" in cuts[0].parts[1]

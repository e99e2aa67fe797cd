"""A log line is JSON of allowed keys, and no secret stands in it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import structlog

from tests.lab import UPS
from tracker.app.daemon import Daemon
from tracker.app.telemetry import configure_logs, logs_to, scrub
from tracker.config.load import load_text
from tracker.domain.masking import hide


def test_a_log_line_is_json_of_allowed_keys_and_holds_no_secret() -> None:
    stream = io.StringIO()
    configure_logs(stream)
    try:
        structlog.get_logger().info(
            "fact",
            account="ups\n\x1b[31m",
            email="canary@example.com",
            said="GET https://x/?token=canary Authorization: Bearer canary password=canary",
        )
    finally:
        configure_logs(io.StringIO())
    line = stream.getvalue()

    assert line.count("\n") == 1
    assert "\x1b" not in line
    assert "canary" not in line
    assert set(json.loads(line)) == {"event", "account", "said", "level", "timestamp"}


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:canary@h/x", "redis://:canary@h:1/0", "redis://:can/ary@h", "https://canary@h/x", "api_key=canary",
        "Basic canary", "secret: canary", '{"access_token":"canary","x":1}', "{'refresh_token': 'canary'}",
        '"password" : "canary"', "Authorization: Bearer canary", "https://h/x?sig=canary", "client_secret=canary&x=1",
        "POST https://h/services/T0/0a1b2c3d4e5f6canary7a8b9", "/webhooks/ups/Abcdefghijk-canary-1234567",
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    assert "canary" not in scrub(f"it said {text}, and went")
    assert "can/ary" not in scrub(text)
    assert scrub(5) == 5


@pytest.mark.parametrize(
    "text",
    ["parcel 9400111206206406260787 at /details/9400111206206406260787", "x-hmac-signature: is missing", "a@b.example"],
)
def test_what_is_no_credential_stays_in_the_log(text: str) -> None:
    assert scrub(text) == text


def test_a_secret_is_masked_before_a_line_is_cut() -> None:
    hidden = hide("canary-" * 10)

    assert "canary" not in scrub("x" * 470 + " " + "canary-" * 10)
    assert hidden


def test_files_that_others_can_read_are_told_at_start(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir(mode=0o755)
    text = f"database: sqlite:///{tmp_path}/db/x.db\n"
    stream = io.StringIO()
    with logs_to(stream):
        for mode in (0o600, 0o644):
            daemon = Daemon(load_text(text))
            daemon.connect()
            daemon.stop()
            (tmp_path / "db" / "x.db").chmod(mode)
            (tmp_path / "db").chmod(0o700)
        daemon = Daemon(load_text(text))
        daemon.connect()
        daemon.stop()

    said = [
        line["said"] for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "open_to_others"
    ]
    assert len(said) == 4  # the file, and what SQLite keeps beside it
    assert "can be looked into by others" in said[0]
    assert f"{tmp_path}/db/x.db can be read or changed by others" in said[1]


def test_a_whole_round_leaves_no_secret_in_the_logs(make_lab) -> None:
    stream = io.StringIO()
    configure_logs(stream, level="debug")
    try:
        lab = make_lab()
        lab.shop.key = "wrong"
        lab.work()
        lab.order("#1001", UPS, company="UPS")
        lab.work()
        lab.later(5)
    finally:
        configure_logs(io.StringIO())

    for secret in ("0123456789012345678901234567890123456789", "Bearer", "hmac"):
        assert secret not in stream.getvalue()
    assert "account_parked" in stream.getvalue()

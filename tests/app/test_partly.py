"""From outside the process: a worker whose parser is broken, what the commands say, and the mended one that reads again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.app.site import NUMBER, Site
from tests.conftest import wait_for
from tracker.store import tables as t

pytestmark = pytest.mark.process

BROKEN = """
import carriers.easypost
from tracker.domain.facts import Unread
plugin = carriers.easypost.EasyPost
real = plugin.normalize
def normalize(self, payload):
    if b"evt_RAISES" in payload.body:
        return {}["it names who ordered what"]
    if b"evt_LOST" in payload.body:
        return [Unread("$.result[0].tracking_code", "must be a text, is an object")]
    return [*real(self, payload), Unread("$.result.est_delivery_date", "is no date: 'Pending'", "NUMBER")]
plugin.normalize = normalize
""".replace("NUMBER", NUMBER)


def tracker(site: Site, *words: str) -> str:
    """Run the installed command; returns what it prints."""
    command = Path(sys.executable).with_name("tracker")
    environment = {**os.environ, "COLUMNS": "300", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([command, *words, "-c", site.file], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def post(site: Site, event: bytes) -> None:
    outgoing = site.easypost.signed(event)
    url = f"http://127.0.0.1:{site.port}/webhooks/easypost"
    assert httpx.post(url, content=outgoing.body, headers=outgoing.headers, trust_env=False).status_code == 200


def test_what_a_broken_parser_did_not_read_is_listed_found_and_read_by_the_mended_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
        process = site.start(patched=BROKEN)
        body = site.easypost.event(NUMBER).body
        for name in (b"evt_FINE", b"evt_RAISES", b"evt_LOST"):
            post(site, body.replace(json.loads(body)["id"].encode(), name))
        easypost = t.inbox.c.account == "easypost"
        wait_for(lambda: len(site.rows(t.inbox, easypost, t.inbox.c.state.in_(["done", "dead"]))) == 3)
        process.send_signal(signal.SIGTERM)
        process.wait()

        listed = tracker(site, "inbox", "--partly")
        for words in (
            "easypost",
            "done",
            "$.result.est_delivery_date",
            "is no date: 'Pending'",
            NUMBER,
            "$.result[0].tracking_code",
        ):
            assert words in listed
        fine, lost = sorted(
            json.loads(tracker(site, "inbox", "--partly", "--json")), key=lambda row: row["state"], reverse=True
        )
        assert fine["unread"] == [
            {"path": "$.result.est_delivery_date", "problem": "is no date: 'Pending'", "subject": NUMBER}
        ]
        assert lost["reason"] == "unread: $.result[0].tracking_code: must be a text, is an object"
        found = {row["kind"]: row for row in json.loads(tracker(site, "findings", "--json"))}
        assert found["payload_dead"]["evidence"]["payloads"] == "1"
        reason = found["payload_dead"]["evidence"]["reason"]
        assert reason.startswith("parser_failed: KeyError") and "who ordered what" not in reason
        assert "tracker replay --state dead --account easypost" in found["payload_dead"]["proposal"]
        assert found["parcel_unreadable"]["subject"] == "account/easypost/$.result[].tracking_code"

        assert "2 payloads are due again" in tracker(site, "replay", "--partly", "--yes")
        assert "1 payloads are due again" in tracker(site, "replay", "--state", "dead", "--yes")
        assert not site.rows(t.findings, t.findings.c.kind == "payload_dead", t.findings.c.closed_at.is_(None))
        site.start()
        wait_for(lambda: not site.rows(t.inbox, t.inbox.c.state == "pending"))
        assert tracker(site, "inbox", "--partly").strip() == "every payload was read whole"
        assert {row.state for row in site.rows(t.inbox, easypost)} == {"done"}

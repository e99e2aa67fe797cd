"""A process that tells and is killed at each step: nothing is lost, and what was told twice has one id."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import USPS, Lab, shipped
from tests.told import Receiver, due_now, endpoint
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import failpoints, tell
from tracker.store import tables as t
from tracker.upkeep import maintenance

TELLS = """
import sys
from tracker.app.daemon import Daemon
from tracker.config.load import load_config
from tracker.pipeline.telling import send
daemon = Daemon(load_config(sys.argv[1]))
daemon.connect()
while send.run(daemon.ctx):
    pass
daemon.stop()
"""


@pytest.mark.process
@pytest.mark.parametrize("name", failpoints.OF_TELLING)
def test_F4_a_process_killed_while_it_tells_loses_nothing_and_tells_no_other_id(
    one_lab: Callable[..., Lab], erp: Receiver, tmp_path: Path, name: str
) -> None:
    url = tmp_path / "ops-url"
    url.touch(mode=0o600)
    url.write_text(erp.url)
    both = f"endpoints: {{{endpoint(erp, tmp_path)}}}, targets: {{ops: {{form: slack, url: '${{file:{url}}}'}}}}"
    lab = shipped(one_lab, yaml=f"telling: {{{both}}}\n")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.work("ingest", "decide", "push")
    with lab.ctx.store.write() as connection:
        finding = Finding(FindingKind.STUCK, "store/shop/1", Severity.URGENT, Act.ACT, {"order": "#1001"})
        tell.report_findings(lab.ctx, connection, [(None, finding)], lab.clock(), by="decision")
    (tmp_path / "tracker.yaml").write_text(lab.yaml)

    killed = subprocess.run(
        [sys.executable, "-c", TELLS, str(tmp_path / "tracker.yaml")], env={**os.environ, "CRASH_AT": name},
        capture_output=True, check=False,
    )  # fmt: skip
    assert killed.returncode == 137, killed.stderr
    maintenance.release_claims(lab.ctx)
    for _ in range(3):
        due_now(lab)
        lab.work("tell")

    told = Counter(post.headers.get("webhook-id", "to people") for post in erp.taken)
    rows = lab.rows(t.messages)
    assert {row.event for row in rows} == {"shipment.status_changed", "order.written", "finding.opened", "findings"}
    assert {row.state for row in rows} == {"sent"} and len(rows) == len(told) == 4
    assert told.total() == (5 if name == "tell_after_call" else 4)

"""The commands about whom we tell, as an operator reads them; mail as a form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.lab import START, USPS, Lab, shipped
from tests.mail_server import mail_server
from tests.told import NEW, OLD, Receiver, due_now, endpoint, receiver
from tracker.cli.main import cli
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.store import tables as t
from tracker.support import told
from tracker.upkeep import erase


@pytest.fixture
def erp() -> Any:
    """A server that is told things."""
    with receiver() as made:
        yield made


def run(lab: Lab, folder: Path, *words: str, **more: Any) -> Result:
    file = folder / "tracker.yaml"
    file.write_text(lab.yaml)
    return CliRunner().invoke(cli, [*words, "-c", str(file)], **more)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_operator_sees_who_takes_what_it_is_told_sends_again_and_tries_one(make_lab: Any, erp: Receiver, tmp_path: Path) -> None:  # fmt: skip
    erp.judge = lambda _post: (500, {}, b"")
    lab = shipped(make_lab, yaml=f"telling: {{endpoints: {{{endpoint(erp, tmp_path, secrets=(NEW, OLD))}}}}}\n")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.work("ingest", "decide", "push")
    fresh = run(lab, tmp_path, "hooks", "endpoints")
    assert fresh.exit_code == 0 and " new " in fresh.output
    lab.work("tell")
    failing = run(lab, tmp_path, "hooks", "endpoints", "--json")
    (row,) = json.loads(failing.output)
    assert (failing.exit_code, row["state"], row["why"], row["waiting"], row["secrets"]) == (
        1,
        "failing",
        "HTTP 500",
        2,
        2,
    )
    checked = run(lab, tmp_path, "check")
    assert (
        checked.exit_code == 1
        and "telling: erp (webhook) is told shipment.status_changed" in checked.output.replace("\n", " ")
    )
    assert "2 secrets sign, as they are since" in checked.output and NEW not in checked.output + failing.output
    assert NEW not in run(lab, tmp_path, "config", "show").output

    lab.change(t.messages.update().values(state="dead", ended_at=START))
    listed = json.loads(run(lab, tmp_path, "hooks", "sent", "erp", "--state", "dead", "--json").output)
    assert [one["event"] for one in listed] == ["order.written", "shipment.status_changed"]
    assert listed[1]["says"] == listed[1]["body"]["data"]["why"] and listed[1]["body"]["type"] == listed[1]["event"]
    asked = run(lab, tmp_path, "hooks", "replay", str(listed[0]["id"]))
    assert (asked.exit_code, "1  order.written to erp" in asked.output) == (2, True)
    for words in (["--since", "9999h"], ["--since", "2020-01-01"], []):
        assert "2 messages would be sent again; without" in run(lab, tmp_path, "hooks", "replay", *words).output
    assert run(lab, tmp_path, "hooks", "replay", "--since", "2099-01-01", "--yes").exit_code == 1
    erp.judge = lambda _post: (200, {}, b"thanks\x1b[31m and more")
    assert "2 messages are sent again" in run(lab, tmp_path, "hooks", "replay", "--yes").output
    due_now(lab)
    lab.work("tell")
    assert len(erp.taken) == 2 and run(lab, tmp_path, "hooks", "endpoints").exit_code == 0

    tried = run(lab, tmp_path, "hooks", "test", "erp", "order.drift_opened")
    assert (tried.exit_code, tried.output) == (0, "erp took it: HTTP 200, and says: thanks [31m and more\n")
    assert erp.told_all()[-1]["type"] == "order.drift_opened" and len(lab.rows(t.messages)) == 2
    refusing = json.loads(run(lab, tmp_path, "hooks", "test", "erp", "--json").output)
    assert (refusing["status"], refusing["taken"]) == (200, True)
    erp.judge = lambda _post: (403, {}, b"")
    assert run(lab, tmp_path, "hooks", "test", "erp").output == "erp did not take it: HTTP 403\n"
    for words in (["replay", "--endpoint", "x"], ["enable", "x"], ["sent", "x"], ["test", "x"]):
        assert "no endpoint or target 'x': erp" in run(lab, tmp_path, "hooks", *words).output

    order = lab.one(t.orders)
    assert erase.erase(lab.ctx, order, "ana").counts["messages"] == 2 and lab.rows(t.messages) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_findings_go_by_mail_and_a_sample_too(make_lab: Any, tmp_path: Path) -> None:
    with mail_server(tmp_path, tls="none") as server:
        mail = f"mail: {{host: 127.0.0.1, port: {server.port}, tls: none, sender: 'Acme <o@acme.example>', per_minute: 60}}\n"
        desk = "telling: {targets: {desk: {form: mail, to: [desk@acme.example, ana@acme.example]}}}\n"
        lab = make_lab(yaml=mail + desk)
        lab.work()
        tried = run(lab, tmp_path, "hooks", "test", "desk")
        assert tried.output == "desk took it: HTTP 200, and says: the mail server took it\n"
        assert [one["Subject"] for one in server.mails] == ["Trackwright: 1 warning finding"] * 2
        assert "has no events" in run(lab, tmp_path, "hooks", "test", "desk", "notice").output
        server.answers["RCPT"] = "550 5.1.1 no such user"
        with lab.ctx.store.write() as connection:
            finding = Finding(FindingKind.STUCK, "store/shop/1", Severity.URGENT, Act.ACT, {"order": "#1001"})
            tell.report_findings(lab.ctx, connection, [(None, finding)], lab.clock(), by="decision")
        lab.work("tell")
        due_now(lab)
        lab.work("tell")
        (row,) = lab.rows(t.messages)
        assert row.state == "dead"
        assert "ana@acme" not in (row.error or "")

        server.answers.clear()
        server.hangs_up = True
        assert told.send_again(lab.ctx, [row.id]) == 1
        for _ in range(3):
            due_now(lab)
            lab.change(t.mail_servers.update().values(blocked_until=None))
            lab.work("tell")
        (row,) = lab.rows(t.messages)
        assert (row.state, row.attempts, "handed over" in (row.error or "")) == ("dead", 2, True)

"""Dead payloads: one finding an account and reason, counted, until they are read or dismissed."""

from __future__ import annotations

from tests.lab import START, UPS, H
from tests.pipeline.payloads import Payloads, a_report
from tracker.domain.errors import BadPayload
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep import maintenance, replay


def test_dead_payloads_are_one_finding_an_account_and_reason_that_counts_them(payloads: Payloads) -> None:
    lab = payloads.lab
    first = payloads.put("ups", BadPayload("$.a[3].b", "must be a text, is a list"))
    payloads.put("ups", BadPayload("$.a[17].b", "must be a text, is an object"))
    payloads.put("ups", BadPayload("$.other", "is missing"))
    payloads.put("dhl", BadPayload("$.a[3].b", "is missing"))
    lab.work("ingest")
    last = payloads.put("ups", BadPayload("$.a[0].b", "is missing"), at=START + H)
    lab.work("ingest")

    found = {row.subject: row for row in payloads.findings("payload_dead")}
    assert set(found) == {
        "account/ups/dead/bad_payload $.a[].b", "account/ups/dead/bad_payload $.other", "account/dhl/dead/bad_payload $.a[].b",
    }  # fmt: skip
    one = found["account/ups/dead/bad_payload $.a[].b"]
    assert one.evidence == {
        "account": "ups", "payloads": "3", "reason": "bad_payload: $.a[0].b: is missing", "payload": str(last),
        "first": "2026-11-02 08:00Z", "last": "2026-11-02 09:00Z",
    }  # fmt: skip
    assert "tracker inbox --state dead --account ups" in one.proposal
    assert "tracker replay --state dead --account ups" in one.proposal
    ids = [row.id for row in payloads.findings("payload_dead")]
    maintenance.run_monitors(lab.ctx)
    assert [(row.id, row.evidence) for row in payloads.findings("payload_dead") if row.id == one.id] == [
        (one.id, one.evidence)
    ]
    assert [row.id for row in payloads.findings("payload_dead")] == ids

    payloads.mend(first, a_report(UPS))
    assert replay.replay(lab.ctx, ids=[first]) == 1
    lab.work("ingest")
    assert next(row for row in payloads.findings("payload_dead") if row.id == one.id).evidence["payloads"] == "2"


def test_a_dismissed_dead_payload_stays_dismissed_until_another_dies_of_the_same(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", BadPayload("$.a", "is missing"))
    lab.work("ingest")
    lists.close(lab.ctx, [row.id for row in payloads.findings("payload_dead")], by="ann", reason="a test of theirs")
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("payload_dead") == []

    payloads.put("ups", BadPayload("$.a", "is missing"))
    lab.work("ingest")
    assert len(payloads.findings("payload_dead")) == 1
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("payload_dead")[0].evidence["payloads"] == "2"


def test_dead_payloads_of_before_are_told_by_the_watch(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("gone", a_report(UPS))
    lab.work("ingest")
    lab.change(t.findings.delete())
    maintenance.run_monitors(lab.ctx)

    (finding,) = payloads.findings("payload_dead")
    assert finding.evidence["reason"] == "no account 'gone' in the configuration"
    lab.change(t.inbox.update().where(t.inbox.c.account == "gone").values(state="done"))
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("payload_dead") == []

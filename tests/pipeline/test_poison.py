"""What goes wrong with one payload is its own: it costs the others nothing."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from tests.lab import START, UPS
from tests.pipeline.payloads import Payloads, a_report, an_order
from tracker.domain.facts import ChangeNotice, Code, Order, Payload, Report, Scan
from tracker.pipeline import receive
from tracker.pipeline.ingest import step as ingest
from tracker.store import tables as t
from tracker.upkeep import replay


def boom(payload: Any) -> Any:
    """Fail as a parser's defect does."""
    return {}[0]


def test_a_parser_that_raises_anything_costs_its_own_payload_at_once_and_the_others_nothing(
    payloads: Payloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = payloads.lab
    first = payloads.put("ups", a_report(UPS))
    poison = payloads.put("ups", a_report("1ZR589390357567122"), TypeError("it says who ordered what"))
    last = payloads.put("ups", a_report("1ZR589390357567123"))
    assert ingest.run(lab.ctx) == 3

    assert [payloads.row(i).state for i in (first, poison, last)] == ["done", "dead", "done"]
    row = payloads.row(poison)
    assert row.reason.startswith("parser_failed: TypeError")
    assert "who ordered" not in row.reason and row.crashes == 0 and row.attempts == 1
    assert lab.parcel("1ZR589390357567122").status == "in_transit", "what was read before it failed is kept"
    (finding,) = payloads.findings("payload_dead")
    assert finding.subject == f"account/ups/dead/{row.reason}"

    payloads.mend(poison, a_report("1ZR589390357567122"))
    assert replay.replay(lab.ctx, state="dead", account="ups") == 1
    assert payloads.findings("payload_dead") == []
    lab.work("ingest")
    assert payloads.row(poison).state == "done"


def test_where_a_parser_failed_is_told_by_its_own_line(payloads: Payloads, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = payloads.lab
    monkeypatch.undo()
    monkeypatch.setattr("carriers.ups.decode", boom)
    lab.post_raw("ups", b"{}")
    lab.work("ingest")

    assert lab.rows(t.inbox)[-1].reason.startswith("parser_failed: KeyError at carriers/ups.py:")


def test_a_parser_that_yields_what_is_no_fact_is_a_parser_that_failed(payloads: Payloads) -> None:
    rows = [payloads.put("ups", said) for said in (None, 7, ("a", "b"), {"number": 1})]
    payloads.lab.work("ingest")

    reasons = {payloads.row(row).reason.rpartition(":")[0] for row in rows}
    assert reasons == {"parser_failed: TypeError at tracker/pipeline/ingest/parse.py"}


def test_a_machine_without_memory_is_no_fault_of_the_payload(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", MemoryError())
    beside = payloads.put("ups", a_report(UPS))
    ingest.run(lab.ctx)

    row = payloads.row(here)
    assert (row.state, row.crashes, row.reason.partition(" ")[0]) == ("pending", 1, "MemoryError")
    assert payloads.row(beside).state == "done"


POISON = [
    a_report(None),  # type: ignore[arg-type]
    a_report("N1", piece="\ud800"),
    Report("ups", "N2", (Scan(Code("status", "x" * 10, "\ud800"), None),)),
    Report("ups", "N3", (Scan(Code("status", "1"), START.replace(tzinfo=None), START.replace(tzinfo=None)),)),  # naive
    an_order("R9", raw_status="\ud800"),
    ChangeNotice("\ud800"),
]


def test_payloads_whose_facts_cannot_be_stored_back_off_alone_and_the_others_go_on_at_once(payloads: Payloads) -> None:
    lab = payloads.lab
    fine, poisoned = [], []
    for i, poison in enumerate(POISON):
        fine.append(payloads.put("ups", a_report(f"1ZR58939035756{i:04}")))
        poisoned.append(payloads.put("kart" if isinstance(poison, Order | ChangeNotice) else "ups", poison))
    assert ingest.run(lab.ctx) == 2 * len(POISON)

    assert {payloads.row(i).state for i in fine} == {"done"}, "at once, in the same round"
    rows = [payloads.row(i) for i in poisoned]
    assert {(row.state, row.crashes, row.attempts) for row in rows} == {("pending", 1, 1)}
    assert all(row.due_at - row.received_at > timedelta(0) for row in rows)
    while lab.rows(t.inbox, t.inbox.c.state == "pending"):
        lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=START, claimed_until=None))
        ingest.run(lab.ctx)
    rows = [payloads.row(i) for i in poisoned]
    assert {(row.state, row.attempts) for row in rows} == {("dead", 6)}
    assert {row.evidence["reason"] for row in payloads.findings("payload_dead")} == {row.reason for row in rows}
    assert all(row.reason.startswith("crashed too often (it said: ") for row in rows)


def test_a_text_that_only_postgresql_refuses_costs_its_own_row(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put(
        "ups", Report("ups", "N1", (Scan(Code("status", "005", "a\0b"), START.replace(tzinfo=None), START),))
    )
    beside = payloads.put("ups", a_report(UPS))
    ingest.run(lab.ctx)

    assert payloads.row(beside).state == "done"
    assert payloads.row(here).state == ("done" if lab.daemon.store.sqlite else "pending")


def test_of_two_poisoned_payloads_each_fails_alone_and_few_commits_are_made(
    payloads: Payloads, monkeypatch: Any
) -> None:
    lab = payloads.lab
    rows = [payloads.put("ups", a_report(f"1ZR58939035756{i:04}")) for i in range(64)]
    poisoned = [payloads.put("ups", POISON[0]) for _ in range(2)]
    commit, made = ingest._commit, []

    def counted_(ctx: Any, parsed: Any) -> None:
        made.append(len(parsed))
        commit(ctx, parsed)

    monkeypatch.setattr(ingest, "_commit", counted_)
    ingest.run(lab.ctx)
    assert {payloads.row(i).state for i in rows} == {"done"}
    assert {payloads.row(i).state for i in poisoned} == {"pending"}
    assert len(made) < 20


def test_a_remap_that_cannot_be_read_is_dead_and_holds_back_nobody(payloads: Payloads) -> None:
    lab = payloads.lab
    bodies = [b"", b"{", b"[]", b"{}", b'{"shipments": 7}', b'{"shipments": ["x"]}', b'{"shipments": [true]}',
              b'{"shipments": [0]}', b'{"shipments": [%d]}' % 2**63]  # fmt: skip
    rows = [payloads.put("ups", kind="remap") for _ in bodies]
    for row, body in zip(rows, bodies, strict=True):
        lab.change(t.inbox.update().where(t.inbox.c.id == row).values(body=body, size=len(body)))
    beside = payloads.put("ups", a_report(UPS))
    ingest.run(lab.ctx)

    assert {payloads.row(row).state for row in rows} == {"dead"} and payloads.row(beside).state == "done"
    assert {payloads.row(row).reason.partition(":")[0] for row in rows} == {"bad_payload", "parser_failed"}


def test_a_kind_that_a_newer_version_stores_is_left_to_it(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", a_report(UPS), kind="forecast")
    assert ingest.run(lab.ctx) == 0
    assert (payloads.row(here).state, payloads.row(here).attempts) == ("pending", 0)


def test_a_webhook_whose_key_cannot_be_made_or_stored_keeps_no_other_from_being_stored(
    payloads: Payloads, monkeypatch: Any
) -> None:
    lab = payloads.lab
    account = lab.ctx.config.accounts["easypost"]
    keys = iter(["a\0b", "\ud800" + "x" * 500, None, "good"])
    monkeypatch.setattr(account.source, "dedupe_key", lambda _payload: next(keys)[:])
    bodies = [f'{{"n": {i}}}'.encode() for i in range(4)]
    receive.commit(lab.ctx, [(account, Payload("easypost", "webhook", (body,), START)) for body in bodies])

    found = [row.dedupe_key for row in lab.rows(t.inbox, t.inbox.c.account == "easypost")]
    assert found == ["a\N{REPLACEMENT CHARACTER}b", "?" + "x" * 199, hashlib.sha256(bodies[2]).hexdigest(), "good"]

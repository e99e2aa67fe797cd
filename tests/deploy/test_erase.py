"""`tracker erase`: what may name a person of an order goes, from every table; facts stay, nothing is written again, and it stays erased."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.deploy import story
from tests.lab import DHL, UPS, USPS, H, Lab, detail, tracker_body
from tracker.config.load import load_text
from tracker.domain.facts import ProofDocument
from tracker.domain.personal import ERASED
from tracker.domain.vocabulary import StatementKind
from tracker.pipeline import proofs
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import lists, statements
from tracker.upkeep import erase, replay

TRACKER = Path(sys.executable).with_name("tracker")
CANARY = "canary"
LAST_MILE = "9400111206206406260794"


def holding(lab: Lab) -> dict[str, int]:
    """Count the rows of each table that hold a canary."""
    found = {}
    for table in t.METADATA.sorted_tables:
        count = sum(CANARY in repr(tuple(row)).casefold() for row in lab.rows(table))
        if count:
            found[table.name] = count
    return found


def personal(lab: Lab) -> None:
    """Play the story, with a person wherever one can stand in what is kept of #1003 and #1001."""
    story.play(lab)
    order = statements.find_order(lab.ctx, "1003")
    lab.post(lab.shop.signed(orjson.dumps({"admin_graphql_api_id": order.ref, "email": "canary@example.com"})))
    (parcel,) = lab.rows(t.shipments, t.shipments.c.number == DHL)
    lab.scan(lab.dhl, DHL, "transit", "AE", text="TO MR CANARY")
    lab.later(5)
    lab.change(
        t.proofs.insert().values(
            shipment_id=parcel.id, account="dhl", state="kept", attempts=1, failures=0, document=b"signature of Canary", kind="image/png",
            sha256="0" * 64, size=19, fetched_at=lab.clock(), error="for Canary",
        )
    )  # fmt: skip
    answers = {"said": "ask Mr Canary", "rejected_reason": "Mr Canary's own"}
    lab.change(t.watches.update().where(t.watches.c.shipment_id == parcel.id).values(**answers))
    facts = order.facts | {"items": [{**item, "name": "Canary's pills"} for item in order.facts["items"]]}
    facts["fulfilments"] = [{**f, "unreadable": ["call Canary"]} for f in facts["fulfilments"]]
    lab.change(t.orders.update().where(t.orders.c.id == order.id).values(facts=facts))
    lab.change(t.order_versions.update().where(t.order_versions.c.order_id == order.id).values(facts=facts))
    finding = {
        "order_id": order.id, "subject": f"order/{order.number}", "kind": "tracking_number_unreadable", "severity": "warning",
        "act": "fix", "evidence": {"typed": "call Canary"}, "evidence_hash": "x", "opened_by": "decision", "opened_at": lab.clock(),
        "digest": False,
    }  # fmt: skip
    lab.change(t.findings.insert().values(**finding))
    lists.close(lab.ctx, [lab.rows(t.findings)[-1].id], by="ana", reason="Mrs Canary called")
    lab.change(t.decisions.update().where(t.decisions.c.order_id == order.id).values(findings=[finding["evidence"]]))
    message = {
        "destination": "crm",
        "key": "1",
        "event": "order.written",
        "subject": f"order/{order.id}",
        "order_id": order.id,
    }
    sent = {"body": "of Canary", "state": "sent", "due_at": lab.clock(), "created_at": lab.clock(), "attempts": 1}
    lab.change(t.messages.insert().values(**message, **sent))
    waiting = {
        "state": "pending",
        "key": "2",
        "body": '{"data":{"details":{"typed":"call Canary"},"why":"\\"details\\":"}}',
    }
    plain = {"state": "pending", "key": "3", "body": '{"data":{"why":"\\"details\\":"}}'}
    for one in (waiting, plain):
        lab.change(t.messages.insert().values(**message | sent | one))
    statements.record_statement(lab.ctx, order, StatementKind.NOTE, "Canary was here", "ana", to_shop=True)


def test_what_may_name_a_person_of_an_order_is_erased_and_facts_stay(make_lab: Any) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    personal(lab)
    before, order = holding(lab), statements.find_order(lab.ctx, "1003")
    assert before.keys() == {
        "inbox", "scans", "statements", "proofs", "watches", "orders", "order_versions", "findings", "decisions", "outbox",
        "messages",
    }  # fmt: skip
    writes, facts = lab.writes(), _facts(lab)

    looked = erase.preview(lab.ctx, order)
    assert holding(lab) == before and looked.waits == 0

    done = erase.erase(lab.ctx, order, "ana")
    assert done == looked
    assert all(done.counts[kind] for kind in erase.KINDS), done.counts
    assert "1 documents" in done.said
    assert {row.body for row in lab.rows(t.messages)} == {
        '{"data":{"why":"\\"details\\":"}}'
    }  # it is still told, without
    _not_in_files(lab)
    left = holding(lab)
    assert left.keys() == {"inbox", "scans"}  # of #1001, and the payload that could not be read
    assert {r.text for r in lab.rows(t.scans, t.scans.c.shipment_id == lab.parcel(DHL).id)} == {ERASED}
    kept = statements.find_order(lab.ctx, "1003")
    assert (kept.erased["by"], kept.erased["counts"]["documents"]) == ("ana", 1)
    assert [r.state for r in lab.rows(t.outbox, t.outbox.c.kind == "order_note")] == ["superseded"]  # it waited
    assert _facts(lab) == facts

    # once more erases nothing; neither a decision, nor other meanings, nor a sweep of all writes anything for it
    again = erase.erase(lab.ctx, kept, "bob")
    assert (again.said, statements.find_order(lab.ctx, "1003").erased["counts"]) == ("nothing", kept.erased["counts"])
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    replay.remap(lab.ctx, "dhl", write=True)
    lab.change(t.accounts.update().values(next_sweep_at=lab.clock(), cursor=None))
    lab.later(1)
    assert (lab.writes(), _facts(lab)) == (writes, facts)
    lab.summaries_are_whole()

    # what comes later of it is kept without such texts
    lab.scan(lab.dhl, DHL, "delivered", "ZU", text="SIGNED BY CANARY")
    lab.shop.touch("#1003", "orders/updated")
    lab.later(13)
    assert lab.parcel(DHL).status == "delivered" and lab.writes()[-1] == ("#1003", "DELIVERED")
    assert {r.text for r in lab.rows(t.scans, t.scans.c.shipment_id == lab.parcel(DHL).id)} == {ERASED}
    assert {item["name"] for item in statements.find_order(lab.ctx, "1003").facts["items"]} == {""}
    fresh = erase.preview(lab.ctx, statements.find_order(lab.ctx, "1003"))
    assert {kind for kind, count in fresh.counts.items() if count} <= {
        "payloads"
    }  # as they came: erased again, or by their age


def _not_in_files(lab: Lab) -> None:
    """Demand that what was erased stands in no free page, and not in the log of the database."""
    if lab.daemon.store.sqlite:
        file = Path(lab.daemon.store.url.database or "")
        kept = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
        assert b"signature of Canary" not in kept and b"call Canary" not in kept and len(kept) > 100_000


def test_of_a_parcel_that_an_erased_order_gets_later_no_text_and_no_document_is_kept(make_lab: Any) -> None:
    lab: Lab = make_lab(store="mode: write, keep_proofs: true")
    lab.work()
    lab.order("#1003", UPS, company="UPS")
    lab.work()
    erase.erase(lab.ctx, statements.find_order(lab.ctx, "1003"), "ana")
    detailed = detail("in_transit", "2026-11-02T07:00:00Z", message="TO MR CANARY")
    lab.post_raw("easypost", tracker_body(USPS, detailed))  # before the shop says whose it is
    lab.work("ingest")
    assert holding(lab).keys() == {"inbox", "scans"}

    lab.shop.ship("#1003", lab.clock(), [{"company": "USPS", "number": USPS}], partly=True)
    lab.work()
    assert {row.order_id for row in lab.rows(t.fulfilments)} == {1} and lab.parcel(USPS).linked
    detailed = detail("delivered", "2026-11-02T07:30:00Z", message="SIGNED BY CANARY")
    lab.post_raw("easypost", tracker_body(USPS, detailed))
    lab.scan(lab.ups, UPS, "I", "038", text="FOR CANARY", last_mile=LAST_MILE)
    lab.later(7)
    lab.scan(lab.easypost, LAST_MILE, "delivered", "arrived_at_destination", text="FOR CANARY")
    lab.later(7)
    assert [lab.parcel(number).status for number in (UPS, USPS)] == ["delivered", "delivered"]
    assert lab.parcel(LAST_MILE).leg_of == lab.parcel(UPS).id
    assert {row.text for row in lab.rows(t.scans)} == {ERASED}
    assert holding(lab).keys() == {"inbox"} and lab.rows(t.proofs) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_document_that_is_fetched_while_its_order_is_erased_is_not_kept(make_lab: Any) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1003", UPS, company="UPS")
    lab.work()
    lab.change(
        t.proofs.insert().values(
            shipment_id=lab.parcel(UPS).id, account="ups", state="wanted", attempts=0, failures=0, next_at=lab.clock()
        )
    )
    claimed = lab.one(t.proofs)
    lab.change(t.proofs.update().values(attempts=1))  # as whoever claims it does
    erase.erase(lab.ctx, statements.find_order(lab.ctx, "1003"), "ana")
    proofs._end(lab.ctx, lab.ctx.config.accounts["ups"], claimed, ProofDocument(b"of Canary", "image/png"), None)
    assert (lab.one(t.proofs).state, holding(lab)) == ("dropped", {})


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_somebody_who_reads_for_long_holds_up_no_writer_and_is_told(make_lab: Any) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1003", UPS, company="UPS")
    lab.work()
    with lab.daemon.store.read() as connection:
        connection.execute(sa.select(t.orders)).all()
        order = statements.find_order(lab.ctx, "1003")
        assert erase.erase(lab.ctx, order, "ana").lingers
    assert not erase.erase(lab.ctx, order, "ana").lingers


def _facts(lab: Lab) -> list[Any]:
    """Return what an erasure must not change."""
    s, o, d = t.scans.c, t.orders.c, t.outbox.c
    found: list[Any] = []
    for columns in (
        (s.shipment_id, s.fingerprint, s.code, s.status, s.instant), (o.number, o.status, o.payment, o.version),
        (t.shipments.c.number, t.shipments.c.status, t.shipments.c.summary), (d.key, d.kind),
    ):  # fmt: skip
        with lab.daemon.store.read() as connection:
            found.append(sorted(map(repr, connection.execute(sa.select(*columns)))))
    return found


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_being_worked_is_told_and_erased_another_time(make_lab: Any) -> None:
    lab: Lab = make_lab()
    story_ = statements.record_statement
    lab.work()
    lab.order("#1003", DHL, company="DHL")
    lab.work()
    order = statements.find_order(lab.ctx, "1003")
    story_(lab.ctx, order, StatementKind.NOTE, "Canary", "ana", to_shop=True)
    with lab.daemon.store.read() as connection:
        soon = database_now(connection) + timedelta(seconds=30)
    lab.change(t.outbox.update().where(t.outbox.c.kind == "order_note").values(claimed_until=soon))
    lab.scan(lab.dhl, DHL, "transit", "AE", text="TO MR CANARY")
    lab.clock.move_to(lab.clock() + 5 * H)
    lab.work("poll")

    assert erase.erase(lab.ctx, order, "ana").waits == 2  # the note, and the answer that nobody read yet

    lab.change(t.outbox.update().values(claimed_until=None))
    lab.work("ingest")
    assert erase.erase(lab.ctx, order, "ana").waits == 0
    assert holding(lab) == {}

    # messages to people may tell of several orders: those that were sent go, one that waits for who is told such texts is told of
    message = {
        "destination": "ops",
        "event": "findings",
        "subject": "x",
        "due_at": lab.clock(),
        "created_at": lab.clock(),
        "attempts": 1,
    }
    for key, state, number in (("1", "sent", "#1003"), ("2", "sent", "#10031"), ("3", "pending", "#1003")):
        body = f'{{"text":"[warning] stuck: order {number} of shop, ana","said":"canary"}}'
        lab.change(t.messages.insert().values(**message, key=key, state=state, body=body))
    lab.change(t.messages.insert().values(**message, key="4", state="dead", body='{"order":"#1003","said":"canary"}'))
    done = erase.erase(lab.ctx, order, "ana")
    assert (done.counts["messages"], done.waits) == (2, 0)
    assert [row.key for row in lab.rows(t.messages)] == ["2", "3"]
    ops = "telling: {targets: {ops: {form: mail, to: a@b.example, details: true}}}\nmail: {host: h.example, sender: a@b.example}\n"
    lab.ctx.config = load_text(lab.yaml + ops)
    assert erase.erase(lab.ctx, order, "ana").waits == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_by_age_what_is_older_is_erased_some_at_a_time_and_by_default_nothing(make_lab: Any) -> None:
    lab: Lab = make_lab(yaml="retention: {personal: 400d}\n", rest="{preset: kingston-courier}")
    personal(lab)
    assert erase.by_age(lab.ctx) == 0  # none is so old
    lab.clock.move_to(lab.clock() + timedelta(days=400))
    assert erase.by_age(lab.ctx) == 4
    assert holding(lab).keys() <= {"inbox"}  # bodies that are linked to nothing go by retention.bodies
    assert {row.body for row in lab.rows(t.inbox, t.inbox.c.state == "dead")} == {None}  # but dead ones, which stay
    assert {row.erased["by"] for row in lab.rows(t.orders)} == {"retention"}
    _not_in_files(lab)
    assert erase.by_age(lab.ctx) == 0
    lab.ctx.config = lab.ctx.config.__class__(
        lab.ctx.config.root.model_copy(
            update={"retention": lab.ctx.config.root.retention.model_copy(update={"personal": None})}
        ),
        lab.ctx.config.accounts,
    )
    assert erase.by_age(lab.ctx) == 0


@pytest.mark.process
def test_the_command_shows_asks_for_the_number_and_erases(tmp_path: Path) -> None:
    with ExitStack() as stack:
        lab = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, rest="{preset: kingston-courier}")
        (tmp_path / "tracker.yaml").write_text(lab.yaml)
        personal(lab)

        def run(*words: str, typed: str | None = None) -> tuple[int, str]:
            if typed is None:
                done = subprocess.run(
                    [TRACKER, "erase", *words],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    check=False,
                )
                return done.returncode, done.stdout + done.stderr
            ours, theirs = pty.openpty()
            started = subprocess.Popen(
                [TRACKER, "erase", *words],
                cwd=tmp_path,
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            os.write(ours, f"{typed}\n".encode())
            said = started.communicate()[0]
            os.close(ours), os.close(theirs)
            return started.returncode, said

        held = holding(lab)
        code, said = run("1003")
        assert code == 2 and "nothing is erased: nobody can be asked here (--yes)" in said
        code, said = run("1003", "--preview")
        assert (
            code == 0 and "#1003 in shop, placed 2026-11-02: " in said and "1 documents" in said and "Backups" in said
        )
        code, said = run("1003", typed="#1001")
        assert code == 1 and "nothing is erased" in said
        assert holding(lab) == held and CANARY not in said.casefold()

        code, said = run("1003", typed="#1003")
        assert code == 0 and "erased of #1003 in shop: " in said
        code, said = run("1001", "--store", "shop", "--yes", "--json")
        assert code == 0 and orjson.loads(said)["erased"]["scans"] >= 1
        assert holding(lab).keys() <= {"inbox"}
        assert (
            UPS
            in subprocess.run(
                [TRACKER, "show", "1001"], cwd=tmp_path, capture_output=True, text=True, check=True
            ).stdout
        )

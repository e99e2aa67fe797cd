"""Orders and parcels that could not be read: told, asked for again, and closed by what could be read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.lab import START, UPS, H
from tests.pipeline.payloads import DAY, OF_PIECES, Payloads, a_report, an_order
from tracker.domain.facts import ChangeNotice, Unread
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep import maintenance, replay


def test_an_odd_order_of_a_page_is_a_finding_and_is_asked_for_alone_at_once(payloads: Payloads) -> None:
    lab = payloads.lab
    odd = Unread("$.orders[1].items[0].ref", "must be a text, is missing", "R2")
    here = payloads.put("kart", an_order("R1"), odd, an_order("R3"), kind="sweep")
    lab.work("ingest")

    assert {row.ref for row in lab.rows(t.orders)} == {"R1", "R3"}
    (finding,) = payloads.findings("order_unreadable")
    assert (finding.subject, finding.order_id, finding.severity) == ("kart/ref/R2", None, "warning")
    assert finding.evidence == {
        "account": "kart", "order": "R2", "path": "$.orders[1].items[0].ref", "problem": "must be a text, is missing",
        "payload": str(here),
    }  # fmt: skip
    assert "tracker replay --partly --account kart" in finding.proposal
    (reread,) = lab.rows(t.change_notices)
    assert (reread.ref, reread.not_before, reread.error) == ("R2", None, "must be a text, is missing")

    payloads.put("kart", an_order("R2"), kind="read")
    lab.work("ingest")
    assert payloads.findings("order_unreadable") == []
    assert lab.rows(t.findings)[-1].closed_reason == "a later answer could be read"


def test_an_order_that_cannot_be_read_alone_either_is_asked_for_in_growing_pauses(payloads: Payloads) -> None:
    lab = payloads.lab
    alone = Unread("$.order.items[0].ref", "is missing", "R2")
    pauses = []
    for hours in (0, 0, 0.1, 1, 10, 100):
        lab.clock.move_to(lab.clock() + hours * H)
        lab.change(t.change_notices.delete())
        payloads.put("kart", alone, kind="read")
        lab.work("ingest")
        (reread,) = lab.rows(t.change_notices)
        pauses.append(reread.not_before - lab.clock())

    minute = timedelta(minutes=1)
    assert pauses == [minute, minute, 12 * minute, 2.2 * H, 22.2 * H, 7 * DAY]
    assert len(payloads.findings("order_unreadable")) == 1


def test_what_is_asked_sooner_stays_so_and_a_page_that_holds_it_again_hurries_nobody(payloads: Payloads) -> None:
    lab = payloads.lab
    odd = Unread("$.orders[0].items[0].ref", "is missing", "R2")

    def page() -> Any:
        payloads.put("kart", odd, an_order("R1"), kind="sweep")
        lab.work("ingest")
        return lab.one(t.change_notices)

    first = page()
    assert (first.not_before, first.error) == (None, "is missing"), "at once, and in a call of its own"
    again = page()
    assert (again.due_at, again.not_before, again.noticed_at > first.noticed_at) == (first.due_at, None, True)

    lab.change(t.change_notices.delete())
    minute = timedelta(minutes=1)
    assert page().not_before == lab.clock() + minute, "it was asked for alone before"
    lab.clock.move_to(START + H)
    assert page().not_before == START + minute
    lab.change(t.change_notices.update().values(not_before=START + 9 * H))
    assert page().not_before == START + 3 * H
    payloads.put("kart", ChangeNotice("R2"), kind="webhook")
    lab.work("ingest")
    assert lab.one(t.change_notices).not_before is None, "a new word is looked for at once"


def test_an_unreadable_order_that_its_shop_holds_no_more_is_no_finding_any_more(payloads: Payloads) -> None:
    lab = payloads.lab
    lab.rest.place("#1", lab.clock(), status="Processing")
    payloads.put("kart", Unread("$.orders[0].items[0].ref", "is missing", "R2"), an_order("R1"), kind="sweep")
    lab.work()
    assert len(payloads.findings("order_unreadable")) == 1, "it was not found once: that may be a mistake"

    for _ in range(12):
        lab.rest.outgoing.clear()
        lab.clock.move_to(lab.clock() + H)
        lab.rested()
        lab.work()
    assert payloads.findings("order_unreadable") == []
    assert (
        lab.rows(t.findings, t.findings.c.kind == "order_unreadable")[-1].closed_reason == "the shop holds it no more"
    )
    assert lab.rows(t.change_notices, t.change_notices.c.ref == "R2") == []


def test_a_dismissed_order_stays_dismissed_while_the_same_piece_is_wrong_wherever_it_stands(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("kart", an_order("R1"), Unread("$.orders[1].items[0].ref", "is missing", "R2"), kind="sweep")
    lab.work("ingest")
    (finding,) = payloads.findings("order_unreadable")
    lists.close(lab.ctx, [finding.id], by="ann", reason="an old test order")

    payloads.put("kart", Unread("$.order.items[0].ref", "is missing", "R2"), kind="read")
    lab.work("ingest")
    assert payloads.findings("order_unreadable") == []
    payloads.put("kart", Unread("$.order.number", "is missing", "R2"), kind="read")
    lab.work("ingest")
    (finding,) = payloads.findings("order_unreadable")
    assert finding.evidence["path"] == "$.order.number"


def test_an_order_that_we_know_is_named_and_one_told_without_a_line_is_told_and_found(payloads: Payloads) -> None:
    lab = payloads.lab
    line = Unread("$.order.items[2]", "must be an object, is a text", "R1", "line")
    detail = Unread("$.order.tags[0]", "must be a text, is an object", "R1")
    payloads.put("kart", an_order("R1"), detail, line, kind="read")
    lab.work("ingest")

    (finding,) = payloads.findings("order_unreadable")
    order = lab.one(t.orders)
    assert (finding.order_id, finding.store, finding.evidence["order"]) == (order.id, "kart", "#R1")
    assert finding.evidence["path"] == "$.order.items[2]"
    payloads.put("kart", an_order("R1"), detail, kind="read")
    lab.work("ingest")
    assert payloads.findings("order_unreadable") == []


def test_an_order_that_cannot_be_had_whole_is_told_until_it_can(payloads: Payloads) -> None:
    lab = payloads.lab
    rest = Unread("$.order.fulfilments", "20 of 25", "R1", "rest")
    payloads.put("kart", an_order("R1"), rest, kind="read")
    lab.work("ingest")

    (finding,) = payloads.findings(*OF_PIECES)
    assert (finding.kind, finding.evidence["problem"]) == ("order_incomplete", "20 of 25")
    assert "look at the order in the shop" in finding.proposal
    assert lab.rows(t.change_notices) == []
    payloads.put("kart", an_order("R1"), kind="read")
    lab.work("ingest")
    assert payloads.findings(*OF_PIECES) == []


def test_what_has_no_name_is_one_finding_a_path_and_ends_when_it_does_not_stand_for_a_day(payloads: Payloads) -> None:
    lab = payloads.lab
    for i in (1, 4):
        payloads.put("kart", an_order("R1"), Unread(f"$.orders[{i}].ref", "is missing"), kind="sweep")
    payloads.put("kart", an_order("R1"), Unread("$.orders[1].fulfilments", "20 of 25", lacks="rest"), kind="sweep")
    lab.work("ingest")
    maintenance.run_monitors(lab.ctx)

    assert [row.subject for row in payloads.findings("order_unreadable")] == [
        "account/kart/$.orders[].fulfilments", "account/kart/$.orders[].ref",
    ]  # fmt: skip
    assert payloads.findings("order_unreadable")[0].evidence["order"] == "its ref could not be read"
    assert lab.rows(t.change_notices) == []
    lab.clock.move_to(START + DAY)
    maintenance.run_monitors(lab.ctx)
    assert len(payloads.findings("order_unreadable")) == 2
    lab.clock.move_to(START + 2 * DAY)
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("order_unreadable") == []


def test_a_parcel_that_a_carrier_tells_unreadably_is_found_with_its_order_and_closed_by_a_later_answer(
    make_lab, monkeypatch
) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    payloads = Payloads(lab, monkeypatch)
    missed = Unread("$.results[1].scans", "must be a list, is a text", UPS.lower())
    payloads.put("ups", a_report("1ZR589390357567122"), missed, at=lab.clock() + H)
    lab.work("ingest")

    (finding,) = payloads.findings("parcel_unreadable")
    order = lab.one(t.orders)
    assert (finding.subject, finding.order_id, finding.store) == (f"parcel/ups/{UPS}", order.id, "shop")
    assert (finding.evidence["parcel"], finding.evidence["order"]) == (UPS.lower(), "#1001")
    payloads.put("easypost", a_report(UPS))
    lab.work("ingest")
    assert len(payloads.findings("parcel_unreadable")) == 1, "another account tells nothing of this one's answers"
    payloads.put("ups", a_report(UPS), at=lab.clock() + H)
    lab.work("ingest")
    assert payloads.findings("parcel_unreadable") == []


def test_in_one_batch_the_last_payload_that_says_anything_counts(payloads: Payloads) -> None:
    lab = payloads.lab
    missed = Unread("$.results[0]", "odd", UPS)
    payloads.put("of nobody")
    payloads.put("ups", missed, a_report("1ZR589390357567122"))
    payloads.put("ups", a_report(UPS))
    lab.work("ingest")
    assert payloads.findings("parcel_unreadable") == []

    later = lab.clock() + H
    payloads.put("ups", a_report(UPS), at=later)
    payloads.put("ups", missed, a_report("1ZR589390357567122"), at=later + H)
    lab.work("ingest")
    assert len(payloads.findings("parcel_unreadable")) == 1


def test_an_old_payload_that_is_read_again_says_nothing_of_what_was_told_since(payloads: Payloads) -> None:
    lab = payloads.lab
    parcel = payloads.put("ups", a_report("1ZR589390357567122"), Unread("$.results[0]", "odd", UPS))
    order = payloads.put("kart", an_order("R1"), Unread("$.orders[0]", "odd", "R2"), kind="sweep")
    lab.work("ingest")
    payloads.put("ups", a_report(UPS), at=lab.clock() + H)
    payloads.put("kart", an_order("R2"), kind="read")
    lab.work("ingest")
    assert payloads.findings(*OF_PIECES) == []

    assert replay.replay(lab.ctx, ids=[parcel, order]) == 2
    lab.work("ingest")
    assert payloads.findings(*OF_PIECES) == []
    assert payloads.row(parcel).unread is not None

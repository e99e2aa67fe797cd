"""What could not be read: kept, counted, told, asked again; and what one payload's failure costs the others. On both databases."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import replace as changed
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, UPS, USPS, H
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Action, Code, Finding, Hint, Meaning, Order, Payload, Report, Scan, Unread
from tracker.domain.vocabulary import Act, FindingKind, OrderStatus, PaymentStatus, Severity, ShippingStatus
from tracker.pipeline import decide, heal, ops, push, receive, replay, unread
from tracker.pipeline.ingest import step as ingest
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.codec import ACTION, dump
from tracker.store.engine import database_now

DAY = timedelta(days=1)


class Payloads:
    """A lab whose payloads say what a test wants. Where `says` holds an exception, the parser raises it there."""

    def __init__(self, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.says, self._keys = lab, {}, itertools.count()
        for account in lab.world.config.accounts.values():
            monkeypatch.setattr(account.source, "normalize", self._reads(account.source.normalize))

    def _reads(self, normalize: Any) -> Any:
        def read(payload: Any) -> Any:
            if payload.body not in self.says:
                yield from normalize(payload)
                return
            for said in self.says[payload.body]:
                if isinstance(said, BaseException):
                    raise said
                yield said

        return read

    def put(self, account: str, *says: Any, kind: str = "poll", at: datetime | None = None) -> int:
        """Store a payload; returns its id."""
        body = f'"{next(self._keys)}"'.encode()
        self.says[body] = says
        with self.lab.daemon.store.write() as connection:
            now = database_now(connection)
            row = queries.payload_row(account, kind, [body], at or self.lab.clock(), now, asked_at=now)
            queries.store_payloads(connection, [row])
        return int(self.lab.rows(t.inbox)[-1].id)

    def mend(self, row_id: int, *says: Any) -> None:
        """Let a payload say something else when it is read again."""
        self.says[self.row(row_id).body] = says

    def row(self, row_id: int) -> Any:
        return self.lab.one(t.inbox, t.inbox.c.id == row_id)

    def findings(self, *kinds: str) -> list[Any]:
        f = t.findings.c
        return self.lab.rows(t.findings, f.closed_at.is_(None), f.kind.in_(kinds))


@pytest.fixture
def lab(make_lab: Any) -> Any:
    made = make_lab(rest="{preset: kingston-courier}")
    made.work()
    return made


@pytest.fixture
def payloads(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Payloads:
    return Payloads(lab, monkeypatch)


def an_order(ref: str, **more: Any) -> Order:
    given: dict[str, Any] = {
        "store": "kart", "ref": ref, "number": f"#{ref}", "status": OrderStatus.PROCESSING, "raw_status": "Processing",
        "payment": PaymentStatus.PAID, "raw_payment": "paid", "placed_at": START, "updated_at": START,
    }  # fmt: skip
    return Order(**{**given, **more})


def a_report(number: str, **more: Any) -> Report:
    scan = Scan(Code("status", "005"), START.replace(tzinfo=None), START)
    return Report("ups", number, (scan,), **more)


ESTIMATE = Unread("$.results[0].estimate", "is no date: 'Pending'", UPS)


# kept and listed


def test_what_was_not_read_stays_with_its_payload_and_is_listed(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), ESTIMATE)
    whole = payloads.put("ups", a_report("1ZR589390357567122"))
    payloads.lab.work("inbox")

    assert (payloads.row(here).state, payloads.row(here).reason) == ("done", "partly: 1 could not be read")
    assert payloads.row(whole).reason is None
    assert payloads.row(here).unread == [["$.results[0].estimate", "is no date: 'Pending'", UPS]]
    assert payloads.row(whole).unread is None
    (listed,) = ops.list_inbox(payloads.lab.world, partly=True)
    assert (listed["id"], listed["unread"]) == (
        here, [{"path": "$.results[0].estimate", "problem": "is no date: 'Pending'", "subject": UPS}],
    )  # fmt: skip
    assert ops.list_inbox(payloads.lab.world, partly=True, account="dhl") == []
    assert ops.list_inbox(payloads.lab.world, partly=True, account="ups", state="done", after=here + 1) == [listed]
    assert payloads.findings(*OF_PIECES) == [], "a detail of what was told is counted and listed"


OF_PIECES = ("order_unreadable", "parcel_unreadable", "order_incomplete")


def test_of_many_pieces_some_are_kept_one_of_each_path_and_the_rest_is_a_number() -> None:
    pieces = [Unread(f"$.a[{i}].x", "bad") for i in range(80)] + [Unread("$.b", "worse")]

    kept = unread.kept(pieces)

    assert len(kept) == unread.MOST_PIECES
    assert [one.where for one in kept[:3]] == ["$.a[0].x", "$.b", "$.a[1].x"]


def test_how_many_pieces_are_not_kept_is_said(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), *(Unread(f"$.scans[{i}]", "bad", UPS) for i in range(70)))
    payloads.lab.work("inbox")

    assert payloads.row(here).unread[50:] == [["...", "and 20 more", ""]]
    assert payloads.lab.daemon.metrics.total("tracker_unread_total") == 70
    (path,) = payloads.lab.rows(t.unread_paths)
    assert (path.path, path.count) == ("$.scans[]", 1)


def test_a_piece_that_no_database_takes_is_kept_as_text(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), Unread("$.a\0", "is \ud800 no date" + "x" * 500, "N\0"))
    payloads.lab.work("inbox")

    ((where, problem, subject),) = payloads.row(here).unread
    assert (where, subject) == ("$.a\N{REPLACEMENT CHARACTER}", "N\N{REPLACEMENT CHARACTER}")
    assert problem.startswith("is ? no date") and len(problem) == 200


def test_a_payload_that_says_nothing_but_what_could_not_be_read_is_dead_and_its_pieces_are_told(
    payloads: Payloads,
) -> None:
    here = payloads.put("ups", Unread("$.results[0].number", "is missing"))
    payloads.lab.work("inbox")

    assert (payloads.row(here).state, payloads.row(here).reason) == ("dead", "unread: $.results[0].number: is missing")
    assert payloads.row(here).unread is not None
    (finding,) = payloads.findings("parcel_unreadable", "payload_dead")
    assert (finding.kind, finding.subject) == ("parcel_unreadable", "account/ups/$.results[].number")
    heal.look_around(payloads.lab.world)
    assert len(payloads.findings("parcel_unreadable", "payload_dead")) == 1, "one fact, one finding"


def test_a_mended_parser_reads_again_what_was_partly_read_and_clears_what_it_opened(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", a_report(UPS), Unread("$.results[1].number", "odd", "1ZR589390357567122"))
    dead = payloads.put("ups", Unread("$.results[0]", "odd", "1ZR589390357567123"))
    other = payloads.put("easypost", Unread("$.x", "odd", USPS))
    lab.work("inbox")
    assert len(payloads.findings("parcel_unreadable")) == 3

    payloads.mend(here, a_report(UPS), a_report("1ZR589390357567122"))
    payloads.mend(dead, a_report("1ZR589390357567123"))
    assert replay.replay(lab.world, partly=True, account="ups") == 2
    lab.work("inbox")

    assert [payloads.row(i).state for i in (here, dead, other)] == ["done", "done", "dead"]
    assert [payloads.row(i).unread for i in (here, dead)] == [None, None]
    assert [row.subject for row in payloads.findings("parcel_unreadable")] == [f"parcel/easypost/{USPS}"]
    assert {row.account for row in lab.rows(t.unread_paths)} == {"easypost"}
    assert {(row.account, row.payloads) for row in lab.rows(t.account_days) if row.account == "ups"} == {("ups", 2)}
    assert lab.parcel("1ZR589390357567122").status == "in_transit"


def test_what_is_still_not_read_after_a_replay_is_counted_once(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS), ESTIMATE)
    lab.work("inbox")
    replay.replay(lab.world, partly=True)
    lab.work("inbox")

    assert [row.count for row in lab.rows(t.unread_paths)] == [1]
    assert [row.payloads for row in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [1]
    assert lab.daemon.metrics.total("tracker_unread_total") == 1


def test_what_concerns_no_order_and_no_parcel_is_listed_and_told_to_nobody(payloads: Payloads) -> None:
    lab = payloads.lab
    alone = payloads.put("kart", Unread("$.type", "a hook of another kind", lacks="nothing"), kind="webhook")
    beside = payloads.put(
        "kart", an_order("R1"), Unread("$.checkouts[0].ref", "is missing", lacks="nothing"), kind="sweep"
    )
    lab.work("inbox")

    assert (payloads.row(alone).state, payloads.row(alone).reason) == ("ignored", "$.type: a hook of another kind")
    assert payloads.row(beside).state == "done"
    assert len(ops.list_inbox(lab.world, partly=True)) == 2
    assert payloads.findings(*OF_PIECES, "payload_dead") == []


# orders and parcels


def test_an_odd_order_of_a_page_is_a_finding_and_is_asked_for_alone_at_once(payloads: Payloads) -> None:
    lab = payloads.lab
    odd = Unread("$.orders[1].items[0].ref", "must be a text, is missing", "R2")
    here = payloads.put("kart", an_order("R1"), odd, an_order("R3"), kind="sweep")
    lab.work("inbox")

    assert {row.ref for row in lab.rows(t.orders)} == {"R1", "R3"}
    (finding,) = payloads.findings("order_unreadable")
    assert (finding.subject, finding.order_id, finding.severity) == ("kart/ref/R2", None, "warning")
    assert finding.evidence == {
        "account": "kart", "order": "R2", "path": "$.orders[1].items[0].ref", "problem": "must be a text, is missing",
        "payload": str(here),
    }  # fmt: skip
    assert "tracker replay --partly --account kart" in finding.proposal
    (reread,) = lab.rows(t.rereads)
    assert (reread.ref, reread.not_before, reread.error) == ("R2", None, "must be a text, is missing")

    payloads.put("kart", an_order("R2"), kind="read")
    lab.work("inbox")
    assert payloads.findings("order_unreadable") == []
    assert lab.rows(t.findings)[-1].closed_reason == "a later answer could be read"


def test_an_order_that_cannot_be_read_alone_either_is_asked_for_in_growing_pauses(payloads: Payloads) -> None:
    lab = payloads.lab
    alone = Unread("$.order.items[0].ref", "is missing", "R2")
    pauses = []
    for hours in (0, 0, 0.1, 1, 10, 100):
        lab.clock.move_to(lab.clock() + hours * H)
        lab.change(t.rereads.delete())
        payloads.put("kart", alone, kind="read")
        lab.work("inbox")
        (reread,) = lab.rows(t.rereads)
        pauses.append(reread.not_before - lab.clock())

    minute = timedelta(minutes=1)
    assert pauses == [minute, minute, 12 * minute, 2.2 * H, 22.2 * H, 7 * DAY]
    assert len(payloads.findings("order_unreadable")) == 1


def test_what_is_asked_sooner_stays_so_and_a_page_that_holds_it_again_hurries_nobody(payloads: Payloads) -> None:
    lab = payloads.lab
    odd = Unread("$.orders[0].items[0].ref", "is missing", "R2")

    def page() -> Any:
        payloads.put("kart", odd, an_order("R1"), kind="sweep")
        lab.work("inbox")
        return lab.one(t.rereads)

    first = page()
    assert (first.not_before, first.error) == (None, "is missing"), "at once, and in a call of its own"
    again = page()
    assert (again.due_at, again.not_before, again.hinted_at > first.hinted_at) == (first.due_at, None, True)

    lab.change(t.rereads.delete())
    minute = timedelta(minutes=1)
    assert page().not_before == lab.clock() + minute, "it was asked for alone before"
    lab.clock.move_to(START + H)
    assert page().not_before == START + minute
    lab.change(t.rereads.update().values(not_before=START + 9 * H))
    assert page().not_before == START + 3 * H
    payloads.put("kart", Hint("R2"), kind="webhook")
    lab.work("inbox")
    assert lab.one(t.rereads).not_before is None, "a new word is looked for at once"


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
    assert lab.rows(t.rereads, t.rereads.c.ref == "R2") == []


def test_a_dismissed_order_stays_dismissed_while_the_same_piece_is_wrong_wherever_it_stands(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("kart", an_order("R1"), Unread("$.orders[1].items[0].ref", "is missing", "R2"), kind="sweep")
    lab.work("inbox")
    (finding,) = payloads.findings("order_unreadable")
    ops.close(lab.world, [finding.id], by="ann", reason="an old test order")

    payloads.put("kart", Unread("$.order.items[0].ref", "is missing", "R2"), kind="read")
    lab.work("inbox")
    assert payloads.findings("order_unreadable") == []
    payloads.put("kart", Unread("$.order.number", "is missing", "R2"), kind="read")
    lab.work("inbox")
    (finding,) = payloads.findings("order_unreadable")
    assert finding.evidence["path"] == "$.order.number"


def test_an_order_that_we_know_is_named_and_one_told_without_a_line_is_told_and_found(payloads: Payloads) -> None:
    lab = payloads.lab
    line = Unread("$.order.items[2]", "must be an object, is a text", "R1", "line")
    detail = Unread("$.order.tags[0]", "must be a text, is an object", "R1")
    payloads.put("kart", an_order("R1"), detail, line, kind="read")
    lab.work("inbox")

    (finding,) = payloads.findings("order_unreadable")
    order = lab.one(t.orders)
    assert (finding.order_id, finding.store, finding.evidence["order"]) == (order.id, "kart", "#R1")
    assert finding.evidence["path"] == "$.order.items[2]"
    payloads.put("kart", an_order("R1"), detail, kind="read")
    lab.work("inbox")
    assert payloads.findings("order_unreadable") == []


def test_an_order_that_cannot_be_had_whole_is_told_until_it_can(payloads: Payloads) -> None:
    lab = payloads.lab
    rest = Unread("$.order.fulfilments", "20 of 25", "R1", "rest")
    payloads.put("kart", an_order("R1"), rest, kind="read")
    lab.work("inbox")

    (finding,) = payloads.findings(*OF_PIECES)
    assert (finding.kind, finding.evidence["problem"]) == ("order_incomplete", "20 of 25")
    assert "look at the order in the shop" in finding.proposal
    assert lab.rows(t.rereads) == []
    payloads.put("kart", an_order("R1"), kind="read")
    lab.work("inbox")
    assert payloads.findings(*OF_PIECES) == []


def test_what_has_no_name_is_one_finding_a_path_and_ends_when_it_does_not_stand_for_a_day(payloads: Payloads) -> None:
    lab = payloads.lab
    for i in (1, 4):
        payloads.put("kart", an_order("R1"), Unread(f"$.orders[{i}].ref", "is missing"), kind="sweep")
    payloads.put("kart", an_order("R1"), Unread("$.orders[1].fulfilments", "20 of 25", lacks="rest"), kind="sweep")
    lab.work("inbox")
    heal.look_around(lab.world)

    assert [row.subject for row in payloads.findings("order_unreadable")] == [
        "account/kart/$.orders[].fulfilments", "account/kart/$.orders[].ref",
    ]  # fmt: skip
    assert payloads.findings("order_unreadable")[0].evidence["order"] == "its ref could not be read"
    assert lab.rows(t.rereads) == []
    lab.clock.move_to(START + DAY)
    heal.look_around(lab.world)
    assert len(payloads.findings("order_unreadable")) == 2
    lab.clock.move_to(START + 2 * DAY)
    heal.look_around(lab.world)
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
    lab.work("inbox")

    (finding,) = payloads.findings("parcel_unreadable")
    order = lab.one(t.orders)
    assert (finding.subject, finding.order_id, finding.store) == (f"parcel/ups/{UPS}", order.id, "shop")
    assert (finding.evidence["parcel"], finding.evidence["order"]) == (UPS.lower(), "#1001")
    payloads.put("easypost", a_report(UPS))
    lab.work("inbox")
    assert len(payloads.findings("parcel_unreadable")) == 1, "another account tells nothing of this one's answers"
    payloads.put("ups", a_report(UPS), at=lab.clock() + H)
    lab.work("inbox")
    assert payloads.findings("parcel_unreadable") == []


def test_in_one_batch_the_last_payload_that_says_anything_counts(payloads: Payloads) -> None:
    lab = payloads.lab
    missed = Unread("$.results[0]", "odd", UPS)
    payloads.put("of nobody")
    payloads.put("ups", missed, a_report("1ZR589390357567122"))
    payloads.put("ups", a_report(UPS))
    lab.work("inbox")
    assert payloads.findings("parcel_unreadable") == []

    later = lab.clock() + H
    payloads.put("ups", a_report(UPS), at=later)
    payloads.put("ups", missed, a_report("1ZR589390357567122"), at=later + H)
    lab.work("inbox")
    assert len(payloads.findings("parcel_unreadable")) == 1


def test_an_old_payload_that_is_read_again_says_nothing_of_what_was_told_since(payloads: Payloads) -> None:
    lab = payloads.lab
    parcel = payloads.put("ups", a_report("1ZR589390357567122"), Unread("$.results[0]", "odd", UPS))
    order = payloads.put("kart", an_order("R1"), Unread("$.orders[0]", "odd", "R2"), kind="sweep")
    lab.work("inbox")
    payloads.put("ups", a_report(UPS), at=lab.clock() + H)
    payloads.put("kart", an_order("R2"), kind="read")
    lab.work("inbox")
    assert payloads.findings(*OF_PIECES) == []

    assert replay.replay(lab.world, ids=[parcel, order]) == 2
    lab.work("inbox")
    assert payloads.findings(*OF_PIECES) == []
    assert payloads.row(parcel).unread is not None


# answers that changed their shape


def counted(lab: Any, path: str, count: int, of: int, day: datetime = START, account: str = "ups") -> None:
    day_ = f"{day:%Y-%m-%d}"
    values = {"account": account, "path": path, "day": day_, "count": count, "problem": "bad", "sample": 7}
    lab.change(t.unread_paths.insert().values(**values))
    lab.change(t.account_days.delete().where(t.account_days.c.account == account, t.account_days.c.day == day_))
    lab.change(t.account_days.insert().values(account=account, day=day_, payloads=of, polled_first=0, pushed_first=0))


def test_a_path_that_is_new_and_frequent_is_an_answer_that_changed_its_shape(payloads: Payloads) -> None:
    lab = payloads.lab
    cases = [  # payloads with it, of how many, days since it was seen before, told as begun on
        (20, 1999, None, "2026-11-02"),
        (20, 2000, None, None),  # 1 % exactly
        (19, 19, None, None),
        (21, 100, 1, "2026-11-01"),  # it began yesterday
        (21, 100, 2, None),
        (21, 100, 7, None),
        (21, 100, 8, "2026-11-02"),  # last seen more than seven days before
    ]
    for i, (count, of, earlier, _) in enumerate(cases):
        counted(lab, "$.a[].b", count, of, account=f"a{i}")
        if earlier is not None:
            counted(lab, "$.a[].b", 5, 100_000, START - earlier * DAY, account=f"a{i}")
    heal.look_around(lab.world)

    found = {row.subject: row for row in payloads.findings("answer_changed_shape")}
    wanted = {f"account/a{i}/$.a[].b": began for i, (*_, began) in enumerate(cases) if began is not None}
    assert {subject: row.evidence["since"] for subject, row in found.items()} == wanted
    one = found["account/a0/$.a[].b"]
    assert (one.evidence["payload"], one.evidence["share"]) == ("7", "1% of the payloads of 2026-11-02")
    assert "tracker replay --partly --account a0" in one.proposal


def test_a_changed_shape_is_told_once_stays_dismissed_and_ends_when_it_does_not_stand_for_a_day(
    payloads: Payloads,
) -> None:
    lab = payloads.lab
    counted(lab, "$.a", 50, 1000)
    heal.look_around(lab.world)
    heal.look_around(lab.world)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"] == "5% of the payloads of 2026-11-02"

    lab.change(t.unread_paths.update().values(count=500))
    heal.look_around(lab.world)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"].startswith("50%")
    ops.close(lab.world, [finding.id], by="ann", reason="known")
    lab.change(t.unread_paths.update().values(count=700))
    heal.look_around(lab.world)
    assert payloads.findings("answer_changed_shape") == []

    counted(lab, "$.other", 50, 1000, account="dhl")
    heal.look_around(lab.world)
    assert len(payloads.findings("answer_changed_shape")) == 1
    lab.clock.move_to(START + 2 * DAY)
    heal.look_around(lab.world)
    assert payloads.findings("answer_changed_shape") == []
    assert lab.rows(t.findings)[-1].closed_reason == "it did not stand for a day"


def test_a_changed_shape_found_in_life_ends_with_the_replay_that_reads_it(payloads: Payloads) -> None:
    lab = payloads.lab
    numbers = [f"1ZR58939035756{i:04}" for i in range(20)]
    rows = [payloads.put("ups", a_report(n), Unread("$.eta", "is no date", n)) for n in numbers]
    lab.work("inbox")
    heal.look_around(lab.world)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"] == "100% of the payloads of 2026-11-02"

    for number, row in zip(numbers, rows, strict=True):
        payloads.mend(row, a_report(number))
    assert replay.replay(lab.world, partly=True) == 20
    lab.work("inbox")
    assert lab.rows(t.unread_paths) == []
    heal.look_around(lab.world)
    assert payloads.findings("answer_changed_shape") == []


def test_a_payload_of_yesterday_counts_for_yesterday_and_old_days_are_dropped(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS), ESTIMATE, at=START - DAY)
    lab.work("inbox")
    (path,) = lab.rows(t.unread_paths)
    assert (path.day, path.count, path.problem) == ("2026-11-01", 1, "is no date: 'Pending'")
    assert [(r.day, r.payloads) for r in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [
        ("2026-11-01", 1)
    ]

    lab.clock.move_to(START + 29 * DAY)
    heal.prune(lab.world)
    assert len(lab.rows(t.unread_paths)) == 1
    lab.clock.move_to(START + 30 * DAY)
    heal.prune(lab.world)
    assert lab.rows(t.unread_paths) == [] and lab.rows(t.account_days, t.account_days.c.account == "ups") == []


def test_a_remap_of_ours_is_no_payload_of_an_account(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS))
    lab.work("inbox")
    assert replay.remap(lab.world, "ups") == 1
    lab.work("inbox")
    assert [r.payloads for r in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [1]


# what goes wrong with one payload is its own


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
    assert ingest.run(lab.world) == 3

    assert [payloads.row(i).state for i in (first, poison, last)] == ["done", "dead", "done"]
    row = payloads.row(poison)
    assert row.reason.startswith("parser_failed: TypeError")
    assert "who ordered" not in row.reason and row.crashes == 0 and row.attempts == 1
    assert lab.parcel("1ZR589390357567122").status == "in_transit", "what was read before it failed is kept"
    (finding,) = payloads.findings("payload_dead")
    assert finding.subject == f"account/ups/dead/{row.reason}"

    payloads.mend(poison, a_report("1ZR589390357567122"))
    assert replay.replay(lab.world, state="dead", account="ups") == 1
    assert payloads.findings("payload_dead") == []
    lab.work("inbox")
    assert payloads.row(poison).state == "done"


def test_where_a_parser_failed_is_told_by_its_own_line(payloads: Payloads, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = payloads.lab
    monkeypatch.undo()
    monkeypatch.setattr("carriers.ups.decode", boom)
    lab.post_raw("ups", b"{}")
    lab.work("inbox")

    assert lab.rows(t.inbox)[-1].reason.startswith("parser_failed: KeyError at carriers/ups.py:")


def test_a_parser_that_yields_what_is_no_fact_is_a_parser_that_failed(payloads: Payloads) -> None:
    rows = [payloads.put("ups", said) for said in (None, 7, ("a", "b"), {"number": 1})]
    payloads.lab.work("inbox")

    reasons = {payloads.row(row).reason.rpartition(":")[0] for row in rows}
    assert reasons == {"parser_failed: TypeError at tracker/pipeline/ingest/parse.py"}


def test_a_machine_without_memory_is_no_fault_of_the_payload(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", MemoryError())
    beside = payloads.put("ups", a_report(UPS))
    ingest.run(lab.world)

    row = payloads.row(here)
    assert (row.state, row.crashes, row.reason.partition(" ")[0]) == ("pending", 1, "MemoryError")
    assert payloads.row(beside).state == "done"


POISON = [
    a_report(None),  # type: ignore[arg-type]
    a_report("N1", piece="\ud800"),
    Report("ups", "N2", (Scan(Code("status", "x" * 10, "\ud800"), None),)),
    Report("ups", "N3", (Scan(Code("status", "1"), START.replace(tzinfo=None), START.replace(tzinfo=None)),)),  # naive
    an_order("R9", raw_status="\ud800"),
    Hint("\ud800"),
]


def test_payloads_whose_facts_cannot_be_stored_back_off_alone_and_the_others_go_on_at_once(payloads: Payloads) -> None:
    lab = payloads.lab
    fine, poisoned = [], []
    for i, poison in enumerate(POISON):
        fine.append(payloads.put("ups", a_report(f"1ZR58939035756{i:04}")))
        poisoned.append(payloads.put("kart" if isinstance(poison, Order | Hint) else "ups", poison))
    assert ingest.run(lab.world) == 2 * len(POISON)

    assert {payloads.row(i).state for i in fine} == {"done"}, "at once, in the same round"
    rows = [payloads.row(i) for i in poisoned]
    assert {(row.state, row.crashes, row.attempts) for row in rows} == {("pending", 1, 1)}
    assert all(row.due_at - row.received_at > timedelta(0) for row in rows)
    while lab.rows(t.inbox, t.inbox.c.state == "pending"):
        lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=START, claimed_until=None))
        ingest.run(lab.world)
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
    ingest.run(lab.world)

    assert payloads.row(beside).state == "done"
    assert payloads.row(here).state == ("done" if lab.daemon.store.sqlite else "pending")


def test_of_two_poisoned_payloads_each_fails_alone_and_few_commits_are_made(
    payloads: Payloads, monkeypatch: Any
) -> None:
    lab = payloads.lab
    rows = [payloads.put("ups", a_report(f"1ZR58939035756{i:04}")) for i in range(64)]
    poisoned = [payloads.put("ups", POISON[0]) for _ in range(2)]
    commit, made = ingest._commit, []

    def counted_(world: Any, parsed: Any) -> None:
        made.append(len(parsed))
        commit(world, parsed)

    monkeypatch.setattr(ingest, "_commit", counted_)
    ingest.run(lab.world)
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
    ingest.run(lab.world)

    assert {payloads.row(row).state for row in rows} == {"dead"} and payloads.row(beside).state == "done"
    assert {payloads.row(row).reason.partition(":")[0] for row in rows} == {"bad_payload", "parser_failed"}


def test_a_kind_that_a_newer_version_stores_is_left_to_it(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", a_report(UPS), kind="forecast")
    assert ingest.run(lab.world) == 0
    assert (payloads.row(here).state, payloads.row(here).attempts) == ("pending", 0)


def test_a_webhook_whose_key_cannot_be_made_or_stored_keeps_no_other_from_being_stored(
    payloads: Payloads, monkeypatch: Any
) -> None:
    lab = payloads.lab
    account = lab.world.config.accounts["easypost"]
    keys = iter(["a\0b", "\ud800" + "x" * 500, None, "good"])
    monkeypatch.setattr(account.source, "dedupe_key", lambda _payload: next(keys)[:])
    bodies = [f'{{"n": {i}}}'.encode() for i in range(4)]
    receive.commit(lab.world, [(account, Payload("easypost", "webhook", (body,), START)) for body in bodies])

    found = [row.dedupe_key for row in lab.rows(t.inbox, t.inbox.c.account == "easypost")]
    assert found == ["a\N{REPLACEMENT CHARACTER}b", "?" + "x" * 199, hashlib.sha256(bodies[2]).hexdigest(), "good"]


# dead payloads


def test_dead_payloads_are_one_finding_an_account_and_reason_that_counts_them(payloads: Payloads) -> None:
    lab = payloads.lab
    first = payloads.put("ups", BadPayload("$.a[3].b", "must be a text, is a list"))
    payloads.put("ups", BadPayload("$.a[17].b", "must be a text, is an object"))
    payloads.put("ups", BadPayload("$.other", "is missing"))
    payloads.put("dhl", BadPayload("$.a[3].b", "is missing"))
    lab.work("inbox")
    last = payloads.put("ups", BadPayload("$.a[0].b", "is missing"), at=START + H)
    lab.work("inbox")

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
    heal.look_around(lab.world)
    assert [(row.id, row.evidence) for row in payloads.findings("payload_dead") if row.id == one.id] == [
        (one.id, one.evidence)
    ]
    assert [row.id for row in payloads.findings("payload_dead")] == ids

    payloads.mend(first, a_report(UPS))
    assert replay.replay(lab.world, ids=[first]) == 1
    lab.work("inbox")
    assert next(row for row in payloads.findings("payload_dead") if row.id == one.id).evidence["payloads"] == "2"


def test_a_dismissed_dead_payload_stays_dismissed_until_another_dies_of_the_same(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", BadPayload("$.a", "is missing"))
    lab.work("inbox")
    ops.close(lab.world, [row.id for row in payloads.findings("payload_dead")], by="ann", reason="a test of theirs")
    heal.look_around(lab.world)
    assert payloads.findings("payload_dead") == []

    payloads.put("ups", BadPayload("$.a", "is missing"))
    lab.work("inbox")
    assert len(payloads.findings("payload_dead")) == 1
    heal.look_around(lab.world)
    assert payloads.findings("payload_dead")[0].evidence["payloads"] == "2"


def test_dead_payloads_of_before_are_told_by_the_watch(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("gone", a_report(UPS))
    lab.work("inbox")
    lab.change(t.findings.delete())
    heal.look_around(lab.world)

    (finding,) = payloads.findings("payload_dead")
    assert finding.evidence["reason"] == "no account 'gone' in the configuration"
    lab.change(t.inbox.update().where(t.inbox.c.account == "gone").values(state="done"))
    heal.look_around(lab.world)
    assert payloads.findings("payload_dead") == []


# stage B: one order's failure is its own


def test_an_order_that_cannot_be_decided_or_kept_holds_back_no_other(payloads: Payloads, monkeypatch: Any) -> None:
    lab = payloads.lab
    payloads.put("kart", *(an_order(f"R{i}") for i in range(5)), kind="read")
    lab.work("inbox")
    keep = decide.keep

    def broken(world: Any, connection: Any, decided: Any, *more: Any) -> None:
        if any(one.row.number == "#R2" for one in decided):
            connection.execute(sa.text("SELECT nothing FROM nowhere"))  # a transaction of PostgreSQL is lost by it
        keep(world, connection, decided, *more)

    monkeypatch.setattr(decide, "keep", broken)
    assert decide.run(lab.world) == 5

    assert {row.order_id for row in lab.rows(t.decisions)} == {
        row.id for row in lab.rows(t.orders, t.orders.c.number != "#R2")
    }
    (finding,) = payloads.findings("reconcile_failed")
    odd = lab.one(t.orders, t.orders.c.number == "#R2")
    assert (finding.order_id, finding.evidence["order"]) == (odd.id, "#R2")
    assert odd.reconcile_at > lab.clock()

    monkeypatch.undo()
    lab.clock.move_to(odd.reconcile_at)
    lab.work("reconcile")
    assert payloads.findings("reconcile_failed") == [], "what is decided at last closes it"


def test_an_order_whose_stored_facts_cannot_be_read_holds_back_no_other(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("kart", an_order("R1"), an_order("R2"), kind="read")
    lab.work("inbox")
    lab.change(t.orders.update().where(t.orders.c.ref == "R1").values(facts={"of": "a newer version"}))
    assert decide.run(lab.world) == 2

    assert len(lab.rows(t.decisions)) == 1
    assert [row.evidence["order"] for row in payloads.findings("reconcile_failed")] == ["#R1"]


def test_a_database_that_is_away_while_orders_are_decided_is_no_fault_of_theirs(
    payloads: Payloads, monkeypatch: Any
) -> None:
    def away(*_: Any) -> int:
        raise RuntimeError("away")

    monkeypatch.setattr(decide, "_decide", away)
    with pytest.raises(RuntimeError, match="away"):
        decide.run(payloads.lab.world)  # none is due: it was not an order
    assert payloads.findings("reconcile_failed") == []


# writes that were given up


@pytest.fixture
def dead_write(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A lab with a write that crashed too often."""
    lab = make_lab()
    lab.work()
    lab.order("#1001", USPS)
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 7 * H)
    lab.work("poll", "inbox", "reconcile")
    monkeypatch.setattr(push, "_push", lambda *_: (_ for _ in ()).throw(RuntimeError("bug")))
    for _ in range(8):
        push.run(lab.world)
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START, claimed_until=None))
    monkeypatch.undo()
    return lab


def test_a_write_that_was_given_up_is_a_finding_until_the_shop_takes_it(dead_write: Any) -> None:
    lab = dead_write
    row, order = lab.one(t.outbox), lab.one(t.orders)
    assert (row.state, row.error) == ("dead", "crashed too often (it said: RuntimeError)")
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "write_dead")
    assert (finding.order_id, finding.store, finding.closed_at) == (order.id, "shop", None)
    assert finding.subject.startswith("shop/#1001/gid://shopify/Fulfillment/")
    assert finding.evidence["status"] == "in_transit" and finding.evidence["write"] == str(row.id)
    assert finding.proposal == f"once its cause is mended: tracker outbox retry {row.id}"
    heal.look_around(lab.world)
    assert len(lab.rows(t.findings, t.findings.c.kind == "write_dead", t.findings.c.closed_at.is_(None))) == 1

    assert ops.retry(lab.world, ids=[row.id]) == 1
    lab.work()
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.findings, t.findings.c.kind == "write_dead").closed_by == "push"


def test_a_dead_write_that_is_tried_again_is_no_finding_and_one_of_before_is_told_by_the_watch(dead_write: Any) -> None:
    lab = dead_write
    lab.change(t.findings.delete())
    heal.look_around(lab.world)
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "write_dead")

    ops.retry(lab.world, state="dead")
    heal.look_around(lab.world)
    assert lab.one(t.findings, t.findings.c.id == finding.id).closed_reason == "tried again"


def test_a_note_that_comes_through_ends_its_own_refusal_and_no_status_of_the_order(payloads: Payloads) -> None:
    lab = payloads.lab
    lab.rest.place("#1", lab.clock(), status="Processing")
    lab.work()
    order = lab.one(t.orders, t.orders.c.number == "#1")
    action = Action("order_note", "kart/n1", "kart", order.ref, number="#1", text="hello")
    for subject in ("kart/#1/order_note", "kart/#1/shipped"):
        finding = Finding(FindingKind.WRITE_REFUSED, subject, Severity.WARNING, Act.ACT, {"said": "no"})
        with lab.daemon.store.write() as connection:
            queries.open_findings(connection, [(order.id, finding)], lab.clock(), by="push")
    lab.change(
        t.outbox.insert().values(
            key="kart/n1", kind="order_note", store="kart", order_id=order.id, action=dump(ACTION, action), state="pending",
            due_at=START, rules=[], created_at=START,
        )
    )  # fmt: skip
    lab.work()
    assert lab.one(t.outbox, t.outbox.c.key == "kart/n1").state == "sent"
    assert [row.subject for row in payloads.findings("write_refused")] == ["kart/#1/shipped"]


# codes without a meaning


def test_a_code_counts_each_scan_once_whoever_tells_it_again(make_lab: Any) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    odd = lab.scan(lab.ups, UPS, "I", "999", text="Drone")
    lab.post(lab.ups.alert(UPS, odd))  # a shared secret tells it, and the poll that it causes confirms it
    lab.work()
    lab.later(7)
    replay.replay(lab.world, state="done", account="ups")
    lab.work()
    replay.remap(lab.world, "ups")
    lab.work()

    (code,) = ops.list_codes(lab.world)
    assert (code["code_key"], code["count"], code["account"], code["carrier"]) == ("status/999", 1, "ups", "ups")
    assert lab.daemon.metrics.total("tracker_unmapped_codes_total") == 1
    lab.change(t.scans.update().values(withdrawn_at=START))
    assert ops.list_codes(lab.world) == []
    lab.change(t.scans.update().values(withdrawn_at=None))


def test_a_code_that_has_a_meaning_now_is_gone_at_once_and_said_until_its_scans_have_it(payloads: Payloads) -> None:
    lab = payloads.lab
    for i, code in enumerate(("900", "901", "901")):
        scan = Scan(Code("status", code, f"odd {code}"), START.replace(tzinfo=None), START)
        payloads.put("ups", Report("ups", f"1ZR58939035756{i:04}", (scan,)))
    lab.work("inbox")
    assert [(row["code"], row["count"], row["text"]) for row in ops.suggest(lab.world)] == [
        ("901", 2, "odd 901"), ("900", 1, "odd 900"),
    ]  # fmt: skip
    assert [row["code"] for row in ops.list_codes(lab.world, limit=1)] == ["901"]

    account = lab.world.config.accounts["ups"]
    codes = {("status", "901"): Meaning(ShippingStatus.IN_TRANSIT)}
    lab.world.config = changed(lab.world.config, accounts={"ups": changed(account, codes=codes)})
    assert [row["code"] for row in ops.list_codes(lab.world)] == ["900"]
    assert [row["code"] for row in ops.suggest(lab.world)] == ["900"]
    (waits,) = ops.list_codes(lab.world, mapped=True)
    assert (waits["code"], waits["count"]) == ("901", 2)

    replay.remap(lab.world, "ups", code=("status", "901"))
    lab.work("inbox")
    assert ops.list_codes(lab.world, mapped=True) == []
    lab.world.config = changed(lab.world.config, accounts={})
    assert [row["account"] for row in ops.list_codes(lab.world)] == ["ups"], "also of an account that is gone"

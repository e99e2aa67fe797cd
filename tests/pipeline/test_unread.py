"""What could not be read: kept, counted, listed; and an answer that changed its shape."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.lab import START, UPS, USPS
from tests.pipeline.payloads import DAY, ESTIMATE, OF_PIECES, Payloads, a_report, an_order
from tracker.domain.facts import Unread
from tracker.pipeline import unread
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep import maintenance, replay


def test_what_was_not_read_stays_with_its_payload_and_is_listed(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), ESTIMATE)
    whole = payloads.put("ups", a_report("1ZR589390357567122"))
    payloads.lab.work("ingest")

    assert (payloads.row(here).state, payloads.row(here).reason) == ("done", "partly: 1 could not be read")
    assert payloads.row(whole).reason is None
    assert payloads.row(here).unread == [["$.results[0].estimate", "is no date: 'Pending'", UPS]]
    assert payloads.row(whole).unread is None
    (listed,) = lists.list_inbox(payloads.lab.ctx, partly=True)
    assert (listed["id"], listed["unread"]) == (
        here, [{"path": "$.results[0].estimate", "problem": "is no date: 'Pending'", "subject": UPS}],
    )  # fmt: skip
    assert lists.list_inbox(payloads.lab.ctx, partly=True, account="dhl") == []
    assert lists.list_inbox(payloads.lab.ctx, partly=True, account="ups", state="done", after=here + 1) == [listed]
    assert payloads.findings(*OF_PIECES) == [], "a detail of what was told is counted and listed"


def test_of_many_pieces_some_are_kept_one_of_each_path_and_the_rest_is_a_number() -> None:
    pieces = [Unread(f"$.a[{i}].x", "bad") for i in range(80)] + [Unread("$.b", "worse")]

    kept = unread.kept(pieces)

    assert len(kept) == unread.MOST_PIECES
    assert [one.where for one in kept[:3]] == ["$.a[0].x", "$.b", "$.a[1].x"]


def test_how_many_pieces_are_not_kept_is_said(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), *(Unread(f"$.scans[{i}]", "bad", UPS) for i in range(70)))
    payloads.lab.work("ingest")

    assert payloads.row(here).unread[50:] == [["...", "and 20 more", ""]]
    assert payloads.lab.daemon.metrics.total("tracker_unread_total") == 70
    (path,) = payloads.lab.rows(t.unread_paths)
    assert (path.path, path.count) == ("$.scans[]", 1)


def test_a_piece_that_no_database_takes_is_kept_as_text(payloads: Payloads) -> None:
    here = payloads.put("ups", a_report(UPS), Unread("$.a\0", "is \ud800 no date" + "x" * 500, "N\0"))
    payloads.lab.work("ingest")

    ((where, problem, subject),) = payloads.row(here).unread
    assert (where, subject) == ("$.a\N{REPLACEMENT CHARACTER}", "N\N{REPLACEMENT CHARACTER}")
    assert problem.startswith("is ? no date") and len(problem) == 200


def test_a_payload_that_says_nothing_but_what_could_not_be_read_is_dead_and_its_pieces_are_told(
    payloads: Payloads,
) -> None:
    here = payloads.put("ups", Unread("$.results[0].number", "is missing"))
    payloads.lab.work("ingest")

    assert (payloads.row(here).state, payloads.row(here).reason) == ("dead", "unread: $.results[0].number: is missing")
    assert payloads.row(here).unread is not None
    (finding,) = payloads.findings("parcel_unreadable", "payload_dead")
    assert (finding.kind, finding.subject) == ("parcel_unreadable", "account/ups/$.results[].number")
    maintenance.run_monitors(payloads.lab.ctx)
    assert len(payloads.findings("parcel_unreadable", "payload_dead")) == 1, "one fact, one finding"


def test_a_mended_parser_reads_again_what_was_partly_read_and_clears_what_it_opened(payloads: Payloads) -> None:
    lab = payloads.lab
    here = payloads.put("ups", a_report(UPS), Unread("$.results[1].number", "odd", "1ZR589390357567122"))
    dead = payloads.put("ups", Unread("$.results[0]", "odd", "1ZR589390357567123"))
    other = payloads.put("easypost", Unread("$.x", "odd", USPS))
    lab.work("ingest")
    assert len(payloads.findings("parcel_unreadable")) == 3

    payloads.mend(here, a_report(UPS), a_report("1ZR589390357567122"))
    payloads.mend(dead, a_report("1ZR589390357567123"))
    assert replay.replay(lab.ctx, partly=True, account="ups") == 2
    lab.work("ingest")

    assert [payloads.row(i).state for i in (here, dead, other)] == ["done", "done", "dead"]
    assert [payloads.row(i).unread for i in (here, dead)] == [None, None]
    assert [row.subject for row in payloads.findings("parcel_unreadable")] == [f"parcel/easypost/{USPS}"]
    assert {row.account for row in lab.rows(t.unread_paths)} == {"easypost"}
    assert {(row.account, row.payloads) for row in lab.rows(t.account_days) if row.account == "ups"} == {("ups", 2)}
    assert lab.parcel("1ZR589390357567122").status == "in_transit"


def test_what_is_still_not_read_after_a_replay_is_counted_once(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS), ESTIMATE)
    lab.work("ingest")
    replay.replay(lab.ctx, partly=True)
    lab.work("ingest")

    assert [row.count for row in lab.rows(t.unread_paths)] == [1]
    assert [row.payloads for row in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [1]
    assert lab.daemon.metrics.total("tracker_unread_total") == 1


def test_what_concerns_no_order_and_no_parcel_is_listed_and_told_to_nobody(payloads: Payloads) -> None:
    lab = payloads.lab
    alone = payloads.put("kart", Unread("$.type", "a hook of another kind", lacks="nothing"), kind="webhook")
    beside = payloads.put(
        "kart", an_order("R1"), Unread("$.checkouts[0].ref", "is missing", lacks="nothing"), kind="sweep"
    )
    lab.work("ingest")

    assert (payloads.row(alone).state, payloads.row(alone).reason) == ("ignored", "$.type: a hook of another kind")
    assert payloads.row(beside).state == "done"
    assert len(lists.list_inbox(lab.ctx, partly=True)) == 2
    assert payloads.findings(*OF_PIECES, "payload_dead") == []


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
    maintenance.run_monitors(lab.ctx)

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
    maintenance.run_monitors(lab.ctx)
    maintenance.run_monitors(lab.ctx)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"] == "5% of the payloads of 2026-11-02"

    lab.change(t.unread_paths.update().values(count=500))
    maintenance.run_monitors(lab.ctx)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"].startswith("50%")
    lists.close(lab.ctx, [finding.id], by="ann", reason="known")
    lab.change(t.unread_paths.update().values(count=700))
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("answer_changed_shape") == []

    counted(lab, "$.other", 50, 1000, account="dhl")
    maintenance.run_monitors(lab.ctx)
    assert len(payloads.findings("answer_changed_shape")) == 1
    lab.clock.move_to(START + 2 * DAY)
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("answer_changed_shape") == []
    assert lab.rows(t.findings)[-1].closed_reason == "it did not stand for a day"


def test_a_changed_shape_found_in_life_ends_with_the_replay_that_reads_it(payloads: Payloads) -> None:
    lab = payloads.lab
    numbers = [f"1ZR58939035756{i:04}" for i in range(20)]
    rows = [payloads.put("ups", a_report(n), Unread("$.eta", "is no date", n)) for n in numbers]
    lab.work("ingest")
    maintenance.run_monitors(lab.ctx)
    (finding,) = payloads.findings("answer_changed_shape")
    assert finding.evidence["share"] == "100% of the payloads of 2026-11-02"

    for number, row in zip(numbers, rows, strict=True):
        payloads.mend(row, a_report(number))
    assert replay.replay(lab.ctx, partly=True) == 20
    lab.work("ingest")
    assert lab.rows(t.unread_paths) == []
    maintenance.run_monitors(lab.ctx)
    assert payloads.findings("answer_changed_shape") == []


def test_a_payload_of_yesterday_counts_for_yesterday_and_old_days_are_dropped(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS), ESTIMATE, at=START - DAY)
    lab.work("ingest")
    (path,) = lab.rows(t.unread_paths)
    assert (path.day, path.count, path.problem) == ("2026-11-01", 1, "is no date: 'Pending'")
    assert [(r.day, r.payloads) for r in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [
        ("2026-11-01", 1)
    ]

    lab.clock.move_to(START + 29 * DAY)
    maintenance.prune(lab.ctx)
    assert len(lab.rows(t.unread_paths)) == 1
    lab.clock.move_to(START + 30 * DAY)
    maintenance.prune(lab.ctx)
    assert lab.rows(t.unread_paths) == [] and lab.rows(t.account_days, t.account_days.c.account == "ups") == []


def test_a_remap_of_ours_is_no_payload_of_an_account(payloads: Payloads) -> None:
    lab = payloads.lab
    payloads.put("ups", a_report(UPS))
    lab.work("ingest")
    assert replay.remap(lab.ctx, "ups") == 1
    lab.work("ingest")
    assert [r.payloads for r in lab.rows(t.account_days, t.account_days.c.account == "ups")] == [1]

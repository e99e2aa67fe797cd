"""The brake: what tells of ends is held where an account's ends leap, and nothing else is; a person lets it go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.lab import START, H, Lab, detail, tracker_body
from tracker.cli.main import cli
from tracker.config.load import load_text
from tracker.domain.facts import Action
from tracker.domain.vocabulary import NoticeClass, OrderStatus, ShippingStatus
from tracker.pipeline import brakes, push
from tracker.pipeline.drain import STEPS
from tracker.store import tables as t
from tracker.store.codec import ACTION
from tracker.support.knowledge import knowledge
from tracker.upkeep import maintenance, replay

NUMBERS = [f"94001112062064062{i:05d}" for i in range(30)]
FEW = "watch: {brake_parcels: 3}\n"


def sold(make_lab: Any, many: int = 8, **more: Any) -> Lab:
    """Return a lab with so many orders that were shipped and read, a parcel each."""
    lab: Lab = make_lab(**{"yaml": FEW, **more})
    lab.work()
    for i in range(many):
        lab.order(f"#{i}", NUMBERS[i])
    lab.work()
    lab.clock.move_to(START + 4 * H)
    return lab


def at(hours: float) -> str:
    return (START + timedelta(hours=hours)).isoformat()


def tell(lab: Lab, which: int, *scans: tuple[str, float]) -> None:
    """Have the carrier tell of a parcel by its webhook: statuses, each with its hour."""
    here = {"city": "Leeds", "country": "GB"}  # whose time is known
    details = [detail(status, at(hours), tracking_location=here) for status, hours in scans]
    lab.post_raw("easypost", tracker_body(NUMBERS[which], *details))


def delivers(lab: Lab, *which: int, hours: float = 3) -> None:
    """Have parcels delivered an hour after their carrier had them: far too soon."""
    for i in which:
        tell(lab, i, ("in_transit", hours - 1), ("delivered", hours))


def carried(lab: Lab, many: int = 8) -> list[str]:
    """Ship so many orders with DHL, and let two days pass; returns the numbers."""
    lab.work()
    numbers = [f"003404341610940{i:05d}" for i in range(many)]
    for i, number in enumerate(numbers):
        lab.order(f"#{i}", number, company="DHL")
    lab.work()
    lab.clock.move_to(START + 48 * H)
    return numbers


def asked(lab: Lab) -> None:
    """Have the carrier asked about every parcel."""
    lab.change(t.watches.update().values(next_poll_at=lab.clock()))
    lab.work()


def told_of_ends(lab: Lab) -> list[str]:
    return [order for order, event in lab.writes() if event == "DELIVERED"]


def states(lab: Lab) -> list[str]:
    return [row.state for row in lab.rows(t.outbox, t.outbox.c.action["status"].as_string() == "delivered")]


def account(lab: Lab) -> Any:
    return lab.one(t.accounts, t.accounts.c.name == "easypost")


def test_ends_that_leap_are_held_before_they_are_written_and_one_urgent_finding_tells_of_them(make_lab) -> None:
    lab = sold(make_lab)
    for i in range(8):  # one by one: each is decided and written before the next comes
        delivers(lab, i)
        lab.work()

    assert told_of_ends(lab) == ["#0", "#1", "#2"]
    assert states(lab) == ["sent"] * 3 + ["held"] * 5
    finding = lab.one(t.findings, t.findings.c.kind == "ends_leapt")
    assert (finding.subject, finding.severity, finding.act) == ("account/easypost/ends/usps", "urgent", "act")
    assert NUMBERS[0] in finding.evidence["parcels"] and NUMBERS[3] in finding.evidence["parcels"]
    assert finding.evidence["codes"] == "tracker/delivered/delivered (4)"
    assert finding.evidence["ended"].startswith("4 of ") and finding.evidence["usual"].startswith("0.")
    assert "tracker resume easypost" in finding.proposal and "tracker remap easypost" in finding.proposal
    said = lab.rows(t.outbox, t.outbox.c.state == "held")[0].error
    assert said.startswith("held by the brake of account easypost for usps since 2026-11-02 12:00Z")
    assert "tracker resume easypost" in said
    assert lab.daemon.metrics.total("tracker_brakes_total") == 1
    assert brakes.count_held(lab.daemon.store.engine.connect(), "easypost/usps") == 5


def test_what_arrives_at_once_is_held_at_once(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(8))
    lab.work()
    assert told_of_ends(lab) == []
    assert states(lab) == ["held"] * 8


def test_what_tells_of_no_end_goes_on_while_the_brake_is_on(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work()
    tell(lab, 7, ("in_transit", 3), ("out_for_delivery", 4))
    lab.work()
    assert lab.writes()[-1] == ("#7", "OUT_FOR_DELIVERY")


def test_resume_lets_go_what_was_held_in_its_order_and_the_same_is_not_asked_again_that_day(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work()
    (done,) = brakes.release(lab.ctx, "easypost")
    assert (done.writes, done.mended, done.brake.carrier) == (6, False, "usps")
    lab.work()

    assert told_of_ends(lab) == [f"#{i}" for i in range(6)]
    finding = lab.one(t.findings, t.findings.c.kind == "ends_leapt")
    assert (finding.closed_by, finding.closed_reason) == ("person", "the brake was released")
    delivers(lab, 6, 7)
    lab.work()
    assert told_of_ends(lab) == [f"#{i}" for i in range(8)]
    assert brakes.release(lab.ctx, "easypost") == []


def test_what_a_person_called_true_is_usual_from_the_next_day_on(make_lab) -> None:
    lab = sold(make_lab, many=20)
    delivers(lab, *range(8))
    lab.work()
    brakes.release(lab.ctx, "easypost")
    lab.clock.move_to(START + 30 * H)
    delivers(lab, *range(8, 20), hours=29)
    lab.work()
    assert len(told_of_ends(lab)) == 20


def test_a_table_that_is_mended_makes_held_writes_fall_away_and_what_was_counted_is_forgotten(make_lab) -> None:
    lab = make_lab(yaml=FEW)
    right = lab.ctx.config
    own = "uses: dhl, codes: {parcel-de/transit/OOPS: {status: delivered}}"
    lab.ctx.config = load_text(lab.yaml.replace("uses: dhl", own, 1))
    parcels = carried(lab)
    for number in parcels:
        lab.scan(lab.dhl, number, "transit", "AE", hours=-30)
        lab.scan(lab.dhl, number, "transit", "OOPS")
    asked(lab)
    assert states(lab) == ["held"] * 8
    finding = lab.one(t.findings, t.findings.c.kind == "ends_leapt")
    assert finding.evidence["stood"] == "by parcel-de/transit/OOPS"

    lab.ctx.config = right
    replay.remap(lab.ctx, "dhl")
    lab.work()
    assert states(lab) == ["superseded"] * 8
    (done,) = brakes.release(lab.ctx, "dhl")
    assert (done.writes, done.mended) == (0, True)
    assert lab.rows(t.endings, t.endings.c.stood.startswith("by ")) == []
    assert lab.one(t.accounts, t.accounts.c.name == "dhl").brakes is None
    lab.work()
    assert told_of_ends(lab) == []


def test_a_write_that_waited_when_the_brake_was_put_on_is_held_too(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, 0)
    lab.work("ingest", "decide")
    assert states(lab) == ["pending"]
    delivers(lab, 1, 2, 3)
    lab.work("ingest")
    assert push.run(lab.ctx) == 1
    assert (told_of_ends(lab), states(lab)) == ([], ["held"])
    lab.work()
    assert states(lab) == ["held"] * 4


def test_two_processes_count_together(make_lab) -> None:
    lab = sold(make_lab)
    other = lab.daemon.ctx.__class__(**{**vars(lab.ctx), "endings": {}})
    for i, ctx in enumerate([lab.ctx, other, lab.ctx, other]):
        delivers(lab, i)
        STEPS["ingest"](ctx)
    assert brakes.of_account("easypost", account(lab).brakes)


def test_what_another_account_tells_too_does_not_rest_on_the_brake(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work("ingest")
    first = lab.rows(t.scans, t.scans.c.status == "delivered")[0]
    lab.change(t.scans.update().where(t.scans.c.id == first.id).values(account="ups"))
    lab.work()
    assert told_of_ends(lab) == ["#0"]
    assert states(lab) == ["sent"] + ["held"] * 5


def test_a_brake_of_one_carrier_holds_nothing_of_another(make_lab) -> None:
    lab = sold(make_lab)
    told = {"since": START.isoformat(), "stood": ["x"], "parcels": []}
    lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(brakes={"ups": told}))
    delivers(lab, 0)
    lab.work()
    assert told_of_ends(lab) == ["#0"]


def test_news_that_are_read_again_are_not_counted(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, 0, 1)
    lab.work()
    before = [tuple(row) for row in lab.rows(t.endings)]
    replay.replay(lab.ctx, state="done", write=True)
    lab.work()
    assert [tuple(row) for row in lab.rows(t.endings)] == before


def test_what_happened_before_an_order_named_the_parcel_never_brakes(make_lab) -> None:
    lab = make_lab(yaml=FEW)
    lab.clock.move_to(START + 10 * H)
    for i in range(8):
        lab.order(f"#{i}", NUMBERS[i])
        lab.scan(lab.easypost, NUMBERS[i], "in_transit", "x", hours=-4)
        lab.scan(lab.easypost, NUMBERS[i], "delivered", "delivered", hours=-3)
    lab.work()
    lab.later(7)
    assert {lab.parcel(number).status for number in NUMBERS[:8]} == {"delivered"}
    assert account(lab).brakes is None and lab.rows(t.endings) == []


def test_catching_up_after_an_outage_of_ours_never_brakes(make_lab) -> None:
    lab = sold(make_lab, many=12)
    for i in range(12):
        tell(lab, i, ("in_transit", 2))
    lab.work()
    alive = lab.daemon.clock()
    maintenance.heartbeat(lab.ctx, alive)
    lab.clock.move_to(START + 5 * H)
    maintenance.heartbeat(lab.ctx, alive + H)
    delivers(lab, *range(8), hours=3)
    lab.work()
    assert account(lab).well_since == START + 5 * H
    assert account(lab).brakes is None
    assert len(told_of_ends(lab)) == 8
    tell(lab, 8, ("in_transit", 4.9))
    lab.work()
    lab.clock.move_to(START + 6 * H)
    delivers(lab, 8, hours=5.5)
    lab.work()
    counted = lab.rows(t.endings, t.endings.c.stood == "by tracker/delivered/delivered")
    assert [row.ends for row in counted] == [1], "what it tells after that is news again"


@pytest.mark.parametrize(("for_", "back"), [(timedelta(hours=2), True), (timedelta(minutes=2), False)])
def test_an_account_that_was_away_for_long_catches_up_first(make_lab, for_: timedelta, back: bool) -> None:
    lab = sold(make_lab)
    values = {"failures": 3, "failing_since": lab.clock() - for_}
    lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(values))
    lab.scan(lab.easypost, NUMBERS[0], "in_transit", "x")
    lab.later(0.1)
    lab.change(t.watches.update().values(next_poll_at=lab.clock()))
    lab.work()
    assert account(lab).failing_since is None
    assert (account(lab).well_since is not None) is back


def test_ends_that_are_taken_back_in_numbers_are_held_too(make_lab) -> None:
    lab = make_lab(yaml=FEW, store="mode: write, policy: {status_tag: tracking, corrections: true}")
    parcels = carried(lab)
    for number in parcels:
        lab.scan(lab.dhl, number, "transit", "AE", hours=-30)
        lab.scan(lab.dhl, number, "delivered", "ZU", hours=-1)
    asked(lab)
    assert states(lab) == ["sent"] * 16, "an event and a tag of each"
    for number in parcels:  # twice: one alone only disputes it
        lab.scan(lab.dhl, number, "transit", "EE", hours=-0.5)
        lab.scan(lab.dhl, number, "transit", "EE", hours=-0.25)
    asked(lab)
    assert lab.one(t.findings, t.findings.c.kind == "ends_leapt").evidence["stood"] == "ended"
    held = lab.rows(t.outbox, t.outbox.c.state == "held")
    assert {row.kind for row in held} == {"tag"} and len(held) == 8
    (done,) = brakes.release(lab.ctx, "dhl")
    assert (done.writes, done.mended) == (8, False)


def test_what_is_held_by_a_brake_that_is_on_no_more_is_let_go(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work()
    lab.change(t.accounts.update().values(brakes=sa.null()))
    maintenance.run_monitors(lab.ctx)
    assert states(lab) == ["pending"] * 6
    maintenance.run_monitors(lab.ctx)
    lab.work()
    assert len(told_of_ends(lab)) == 6


def test_what_nobody_can_write_is_told_where_one_asks_what_is_known(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work()
    (gap,) = [gap for gap in knowledge(lab.ctx).gaps if gap.what == "brake"]
    assert str(gap) == (
        "easypost: 6 writes since 2026-11-02 12:00Z: the ends that it tells of usps leapt: what rests on them is held; "
        "it takes `tracker resume easypost`"
    )
    assert not gap.told


def test_counts_are_dropped_with_the_weeks_that_they_are_compared_with(make_lab) -> None:
    lab = sold(make_lab)
    delivers(lab, 0)
    lab.work()
    lab.clock.move_to(START + timedelta(days=20))
    maintenance.prune(lab.ctx)
    assert lab.rows(t.endings)
    lab.clock.move_to(START + timedelta(days=40))
    maintenance.prune(lab.ctx)
    assert lab.rows(t.endings) == []


WRITE = Action("order_status", "k", "shop", "1", target=OrderStatus.DELIVERED, rules=("carrier:delivered",))


@pytest.mark.parametrize(
    ("action", "tells"),
    [
        (WRITE, True),
        (replace(WRITE, target=OrderStatus.RETURNED), True),
        (replace(WRITE, target=OrderStatus.IN_TRANSIT, before=OrderStatus.DELIVERED), True),
        (replace(WRITE, target=OrderStatus.IN_TRANSIT, before=OrderStatus.SHIPPED), False),
        (replace(WRITE, rules=("correction:ann",)), False),
        (Action("fulfilment_event", "k", "shop", "1", status=ShippingStatus.DELIVERY_FAILED), True),
        (Action("fulfilment_event", "k", "shop", "1", status=ShippingStatus.IN_TRANSIT), False),
        (Action("notice", "k", "shop", "1", notice=NoticeClass.DELIVERED), True),
        (Action("notice", "k", "shop", "1", notice=NoticeClass.REVIEW_REQUEST), True),
        (Action("notice", "k", "shop", "1", notice=NoticeClass.SHIPPED), False),
        (Action("order_note", "k", "shop", "1"), False),
        (Action("number", "k", "shop", "1"), False),
    ],
)
def test_what_tells_of_an_end_is_held_and_nothing_else(action: Action, tells: bool) -> None:
    assert brakes.ends(action) is tells


def test_a_notice_of_an_end_is_held_by_the_brake_of_its_own_parcel_only(make_lab, tmp_path) -> None:
    sink = f"notices: {{file: {tmp_path}/sink.jsonl}}\n"
    lab = sold(make_lab, yaml=FEW + sink, store="mode: write, policy: {notices: [delivered]}")
    delivers(lab, *range(6))
    lab.work()
    assert not (tmp_path / "sink.jsonl").exists()
    held = lab.rows(t.outbox, t.outbox.c.kind == "notice")
    assert [row.state for row in held] == ["held"] * 6
    action = ACTION.validate_python(held[0].action)
    other = replace(action, key="other", parcels=(replace(action.parcels[0], number="another"),))
    with lab.daemon.store.read() as connection:
        on = brakes.on(connection.execute(sa.select(t.accounts)).all())
        asked = [(held[0].order_id, action), (held[0].order_id, other)]
        assert list(brakes.resting(connection, on, asked)) == [action.key]
    brakes.release(lab.ctx, "easypost")
    lab.work()
    assert len((tmp_path / "sink.jsonl").read_text().splitlines()) == 6


def test_an_account_that_is_paused_is_resumed_first_and_its_brake_released_by_a_second_word(
    make_lab, monkeypatch
) -> None:
    lab = sold(make_lab)
    delivers(lab, *range(6))
    lab.work()
    monkeypatch.setattr("tracker.cli.act.glance_config", lambda file: lab.ctx.config)
    monkeypatch.setattr("tracker.cli.act.open_context", lambda config: lab.ctx)

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, list(words))
        assert done.exit_code == 0, done.output
        return done.output

    run("pause", "easypost")
    lab.clock.move_to(lab.clock() + H)
    said = run("resume", "easypost")
    assert "resumed: easypost" in said and "easypost still has its brake on for usps" in said
    assert account(lab).well_since == lab.clock(), "what it tells first is catching up"
    said = run("resume", "easypost")
    assert "released: the brake of easypost for usps, on since 2026-11-02 12:00Z (it is true" in said
    assert "6 writes go on" in said
    assert "still has" not in run("resume", "easypost")

"""`tracker correct-number`: a person corrects a tracking number in the shop; each refusal has its sentence, and a process says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.app.press import Pressed
from tests.lab import UPS, USPS, Lab
from tracker.store import tables as t
from tracker.support import numbers as corrections
from tracker.support import statements

NEW, ELSEWHERE = "1ZR589400357568494", "1Z5338FF0107231059"
SHOP = ("--store", "shop")
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def lab(make_lab: Callable[..., Lab], tmp_path: Path) -> Lab:
    """Order 7 of the shop goes in two parcels, 8 in one, 9 is cancelled; the other shop has an order 7 too."""
    made = make_lab(rest="{preset: kingston-courier}")
    (tmp_path / "tracker.yaml").write_text(made.yaml)
    (tmp_path / "observed.yaml").write_text(made.yaml.replace("mode: write", "mode: observe"))
    made.work()
    made.order("#7", UPS, USPS, company="UPS")
    made.order("#8", ELSEWHERE, company="UPS")
    made.order("#9", "1Z999AA10123456784", company="UPS")
    made.shop.set("#9", cancelledAt="2026-11-02T08:00:00Z")
    made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier"})
    made.work()
    return made


@pytest.fixture
def run(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)

    def ended(*words: str, config: str = "tracker.yaml") -> tuple[int, str]:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        line = [*words, "--config", str(tmp_path / config)]
        code = Pressed(line, {"PATH": "", "HOME": "/", "USER": "ada"}, log).wait(60)
        return code, log.read_text()

    return ended


def numbers(lab: Lab, order: str = "#7") -> list[str]:
    return [one["number"] for part in lab.shop.orders[order]["fulfillments"] for one in part["trackingInfo"]]


def asked(lab: Lab, order: str, old: str, new: str) -> None:
    row = statements.find_order(lab.ctx, order, "shop")
    corrections.ask_for(lab.ctx, row, corrections.prepare(lab.ctx, row, old, new), "ada")


@pytest.mark.process
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what the command asks is the same of both
def test_each_refusal_ends_a_process_with_1_and_its_sentence(lab: Lab, run: Run) -> None:
    for words, said in (
        (("99", UPS, NEW), "no order '99' is known"),
        (("7", UPS, NEW), "'7' names an order in kart, shop: say --store"),
        (("7", UPS, NEW, "--store", "kart"), "kart: its platform takes no corrected numbers: correct it in the shop"),
        (("7", NEW, ELSEWHERE, *SHOP), f"#7: {NEW} stands in no fulfilment of it: it has {UPS}, {USPS}"),
        (("7", UPS, USPS, *SHOP), f"#7: {USPS} stands in it already"),
        (("7", UPS, UPS.lower(), *SHOP), f"{UPS} is the same number"),
        (("7", UPS, "see mail", *SHOP), "is no tracking number"),
        (("7", UPS, ELSEWHERE, *SHOP), f"{ELSEWHERE} stands at #8 in shop already"),
        (("9", "1Z999AA10123456784", NEW), "#9: the order is cancelled"),
        (("7", UPS, NEW, *SHOP), "nothing is written (without a terminal: --yes)"),
    ):
        code, told = run("correct-number", *words)
        assert (code, said in told) == (1, True), told
    code, told = run("correct-number", "7", UPS, NEW, *SHOP, "--yes", config="observed.yaml")
    assert (code, told.strip()) == (1, "shop only observes (mode: observe): correct it in the shop")
    assert lab.rows(t.outbox, t.outbox.c.kind == "number") == lab.rows(t.statements) == []


@pytest.mark.process
def test_a_correction_is_asked_for_by_a_process_and_written_by_the_worker(lab: Lab, run: Run) -> None:
    assert run("pause", "shop")[0] == 0
    code, said = run("correct-number", "7", "1z r5 8939 0357 5671 21", NEW, *SHOP, "--yes", "--by", "ada")
    assert (code, f"{UPS} -> {NEW}" in said, "shop is paused: it is written once `tracker resume shop`" in said) == (
        0,
        True,
        True,
    )
    code, said = run("correct-number", "7", UPS, "1ZR589500357560062", *SHOP, "--yes")
    assert (code, f"{UPS} -> {NEW} waits to be written already" in said) == (1, True), said
    lab.work()
    assert numbers(lab) == [UPS, USPS]

    assert run("resume", "shop")[0] == 0
    lab.work()
    assert numbers(lab) == [NEW, USPS]
    assert lab.shop.complaints == []  # no customer was mailed
    assert lab.one(t.statements).text == f"{UPS} -> {NEW}"
    told = json.loads(run("show", "7", *SHOP[:0], "--json")[1])["orders"]
    (shown,) = (one for one in told if one["store"] == "shop")
    assert [(one["kind"], one["by"]) for one in shown["statements"]] == [("number", "ada")]
    assert [one["number"] for one in shown["parcels"]] == [USPS, NEW]
    (write,) = (one for one in shown["writes"] if one["kind"] == "number")
    assert (write["status"], write["state"], write["rules"]) == (f"{UPS} -> {NEW}", "sent", ["number:ada"])
    assert "number by ada, " in run("show", "7")[1]
    assert f"{UPS} -> {NEW}" in run("explain", "7", "--all")[1]


def test_the_watch_of_the_old_number_ends_and_that_of_the_new_begins(lab: Lab) -> None:
    asked(lab, "8", ELSEWHERE, NEW)
    lab.work()
    lab.scan(lab.ups, NEW, "I", "038")
    lab.scan(lab.ups, ELSEWHERE, "I", "038")
    lab.later(12)

    assert lab.parcel(NEW).status == "picked_up"
    assert ("#8", "CARRIER_PICKED_UP") in lab.writes()
    assert lab.parcel(ELSEWHERE).status == "unknown"  # nobody asks about it any more


def test_an_answer_that_is_lost_causes_no_second_write(lab: Lab) -> None:
    lab.shop.faults.left["apply_then_fail"] = 1
    asked(lab, "7", UPS, NEW)
    lab.work()
    lab.rested()
    lab.change(t.outbox.update().values(due_at=t.outbox.c.created_at))
    lab.work()

    assert [event for _, event in lab.writes() if event.startswith("numbers")] == [f"numbers={NEW},{USPS}"]
    row = lab.one(t.outbox, t.outbox.c.kind == "number")
    assert (row.state, row.receipt["already_there"]) == ("sent", True)


def test_what_changed_since_it_was_asked_for_is_refused_and_told(lab: Lab) -> None:
    asked(lab, "7", UPS, NEW)
    asked(lab, "8", ELSEWHERE, "1Z9999999999999999")
    lab.shop.set("#7", cancelledAt="2026-11-02T08:00:00Z")
    lab.shop.retrack("#8", [{"company": "UPS", "number": "1ZR589500357560062"}])
    lab.work()

    told = lab.rows(t.findings, t.findings.c.kind == "write_refused")
    assert [(row.subject, row.evidence["said"]) for row in told] == [
        ("shop/#7/number", "the order is cancelled"),
        ("shop/#8/number", f"{ELSEWHERE} does not stand there any more"),
    ]
    assert (numbers(lab), numbers(lab, "#8")) == ([UPS, USPS], ["1ZR589500357560062"])

"""Many at once: what a filter finds is shown, confirmed by its number and done in batches; a list is written, and worked off."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.lab import START, UPS, USPS, H, Lab
from tracker.cli import main as main_
from tracker.cli import many as asking
from tracker.domain.vocabulary import StatementKind
from tracker.store import tables as t
from tracker.support import lists, many
from tracker.support.many import FINDINGS, ORDERS, WRITES, Filter

Run = Callable[..., str]
TRACKER = str(Path(sys.executable).with_name("tracker"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("many")
    with ExitStack() as stack:
        lab = Lab(f"sqlite:///{folder}/db/x.db", folder, stack, rest="{preset: kingston-courier}")
        (folder / "tracker.yaml").write_text(lab.yaml)
        lab.folder = folder  # type: ignore[attr-defined]
        lab.work()
        lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier", "address": "confirmed"})
        lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
        lab.order("#7", USPS)
        lab.order("#8")
        lab.work()
        lab.scan(lab.ups, UPS, "I", "038")
        lab.later(7)
        lab.rest.set("#7", "seller", status="Delivered")
        lab.work()
        lab.later(26)
        yield lab


@pytest.fixture
def lab(made: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Twelve findings: nine of two carriers at the shop, one of them urgent, and three at kart, one of them snoozed."""
    monkeypatch.chdir(made.folder)  # type: ignore[attr-defined]
    monkeypatch.setattr("tracker.cli.common.system_now", made.clock)
    made.change(t.findings.delete())
    order = {row.store: row.id for row in made.rows(t.orders, t.orders.c.number == "#7")}
    for n in range(12):
        store, carrier = ("shop", "usps" if n % 2 else "ups") if n < 9 else ("kart", "ups")
        made.change(
            t.findings.insert().values(
                order_id=order[store], store=store, subject=f"{store}/#7/{carrier}/N{n}", kind="stuck" if n < 8 else "delivery_overdue",
                severity="urgent" if n == 8 else "warning", act="act", evidence={}, evidence_hash=str(n), opened_by="x",
                opened_at=made.clock() - n * 24 * H, digest=False, proposal="=cmd|' /C calc'!A0" if n == 0 else "call them",
                snoozed_until=made.clock() + H if n == 11 else None,
            )
        )  # fmt: skip
    return made


@pytest.fixture
def run(lab: Lab) -> Run:
    def invoke(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main_.cli, list(words))
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    return invoke


def open_(lab: Lab) -> list[int]:
    return [row.id for row in lab.rows(t.findings, t.findings.c.closed_at.is_(None))]


def test_without_a_terminal_nothing_is_done_before_somebody_says_yes(lab: Lab, run: Run) -> None:
    words = [TRACKER, "dismiss", "--kind", "stuck", "--carrier", "usps", "--reason", "known", "--by", "ana"]
    refused = subprocess.run(words, cwd=lab.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # type: ignore[attr-defined]
    assert refused.returncode == 2
    assert "4 findings would be dismissed; without a terminal say --yes. Nothing is done" in refused.stderr
    assert "by kind and store" in refused.stdout
    assert len(open_(lab)) == 12

    done = subprocess.run([*words, "--yes"], cwd=lab.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)  # type: ignore[attr-defined]
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "4 findings dismissed")
    assert len(open_(lab)) == 8
    assert {row.closed_by for row in lab.rows(t.findings, t.findings.c.closed_at.isnot(None))} == {"person: ana"}
    again = run("dismiss", "--kind", "stuck", "--carrier", "usps", "--reason", "known", "--yes")
    assert again == "0 findings dismissed\n"  # said again, it does the rest: there is none


@pytest.mark.parametrize(("typed", "code", "left"), [("3", 0, 9), ("2", 1, 12)])
def test_a_person_types_the_number_that_is_shown(lab: Lab, typed: str, code: int, left: int) -> None:
    ours, theirs = pty.openpty()
    os.write(ours, f"{typed}\n".encode())
    words = [TRACKER, "dismiss", "--store", "kart", "--snoozed", "--reason", "known"]
    done = subprocess.run(words, cwd=lab.folder, capture_output=True, text=True, stdin=theirs)  # type: ignore[attr-defined]
    os.close(theirs)
    os.close(ours)
    assert (done.returncode, len(open_(lab))) == (code, left), done
    assert "type 3 to have them dismissed" in done.stderr
    assert ("that is not the number: nothing is done" in done.stdout) is bool(code)


def test_a_number_is_read_from_the_terminal_of_this_process_too(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(ours, b"1,000\n")
        asking.confirm(1000, FINDINGS.name, "dismissed", False)
        os.write(ours, b"no\n")
        with main_.cli.make_context("tracker", ["show", "1"]), pytest.raises(click.exceptions.Exit) as ended:
            asking.confirm(2, FINDINGS.name, "dismissed", False)
        assert ended.value.exit_code == 1
    os.close(ours)


def test_without_any_standard_input_nobody_can_be_asked_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(click.UsageError, match="3 findings would be dismissed; without a terminal say --yes"):
        asking.confirm(3, FINDINGS.name, "dismissed", False)


def test_what_is_meant_is_said_once(lab: Lab, run: Run) -> None:
    assert "Missing option '--reason'" in run("dismiss", "--kind", "stuck", code=2)
    assert "Missing option '--to'" in run("assign", "--kind", "stuck", code=2)
    assert "say which by a filter or --from" in run("dismiss", "--reason", "x", code=2)
    assert "not both" in run("dismiss", "1", "--store", "kart", "--reason", "x", code=2)
    assert "not both" in run("snooze", "1", "--export", "x.csv", code=2)
    assert "no store 'nobody'" in run("assign", "--store", "nobody", "--to", "ana", code=2)
    assert "must be today, a span such as 3d, or a moment" in run("assign", "--since", "soon", "--to", "ana", code=2)
    assert "'prof' cannot be recorded" in run("record", "7", "prof", code=2)
    assert "--carrier goes with `tracker outbox retry`" in run("outbox", "--carrier", "ups", code=2)


def test_findings_are_given_to_a_person_listed_by_him_and_taken_back(lab: Lab, run: Run) -> None:
    assert "8 findings assigned to ana" in run("assign", "--kind", "stuck", "--to", "ana", "--yes")
    first = json.loads(run("findings", "--assigned", "ana", "--json"))
    assert (len(first), {row["assigned_to"] for row in first}, first[0]["assigned_at"] is not None) == (
        8,
        {"ana"},
        True,
    )
    assert len(json.loads(run("findings", "--assigned", "nobody", "--json"))) == 3  # one is snoozed
    assert "ana" in run("findings")
    assert "1 of 1 findings assigned to bo" in run("assign", str(first[0]["id"]), "--to", "bo")
    assert "7 findings taken back" in run("assign", "--assigned", "ana", "--to", "nobody", "--yes")
    assert "8 findings snoozed for 2d" in run("snooze", "--kind", "stuck", "--for", "2d", "--yes")
    assert "must be a name of 1 to 80 characters" in run("assign", "1", "--to", "\x07 ", code=2)
    assert "1 findings dismissed" in run(
        "dismiss", "--severity", "urgent", "--since", (START - 9999 * H).isoformat(), "--reason", "x", "--yes"
    )
    assert "0 findings dismissed" in run("dismiss", "--severity", "warning", "--since", "1h", "--reason", "x", "--yes")
    assert (
        len(json.loads(run("findings", "--since", "10d", "--carrier", "ups", "--json"))) == 2
    )  # the rest is snoozed or older


def test_a_list_is_written_and_worked_off_and_what_is_wrong_in_it_is_told_with_its_line(lab: Lab, run: Run) -> None:
    assert "list.csv: 8 findings; nothing else was done" in run("dismiss", "--kind", "stuck", "--export", "list.csv")
    assert Path("list.csv").stat().st_mode & 0o077 == 0
    rows = list(csv.DictReader(io.StringIO(Path("list.csv").read_text())))
    assert rows[0]["would_heal"].startswith("'=cmd")  # no spreadsheet runs it
    assert (rows[1]["kind"], rows[1]["store"], rows[1]["order"]) == ("stuck", "shop", "#7")
    assert "list.csv is there already" in str(
        CliRunner().invoke(main_.cli, ["snooze", "--kind", "stuck", "--export", "list.csv"]).exception
    )
    assert run("assign", "--kind", "stuck", "--export", "theirs.csv").startswith("theirs.csv: 8 findings")
    assert run("snooze", "--kind", "stuck", "--export", "list.ndjson").startswith("list.ndjson: 8 findings")
    assert len(open_(lab)) == 12

    lists.close(lab.ctx, [int(rows[7]["id"])], by="bo", reason="x")
    text = Path("list.csv").read_text()
    Path("odd.csv").write_text("\ufeff" + text + '\n99999,stuck\n12x,stuck\n"",x\n' + f"{rows[0]['id']},again\n")
    result = CliRunner().invoke(main_.cli, ["assign", "--from", "odd.csv", "--to", "ana", "--yes"])
    assert result.exit_code == 1
    for said in (
        f"odd.csv:9: finding {rows[7]['id']}: there is none, or nothing is to be done to it any more",
        "odd.csv:11: finding 99999: there is none", "odd.csv:12: 12x is no id", "odd.csv:13: - is no id",
        "7 findings assigned to ana; 4 lines of odd.csv name nothing",
    ):  # fmt: skip
        assert said in result.output, (said, result.output)
    Path("many.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(900_000, 900_030)))
    assert "and 10 more lines that name nothing" in run("assign", "--from", "many.csv", "--to", "ana", "--yes", code=1)
    Path("ids.ndjson").write_text(f'\n{{"id": {rows[1]["id"]}, "x": null}}\n')
    assert "1 findings dismissed" in run("dismiss", "--from", "ids.ndjson", "--reason", "x", "--yes")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "id\n1\n", "a.txt: must end in .csv or .ndjson"),
        ("none.csv", None, "none.csv: cannot be read: No such file or directory"),
        ("bin.csv", b"id\n\xff\n", "bin.csv: is not UTF-8, at byte 3"),
        ("empty.csv", "", "empty.csv:1: there is no column 'id': it is empty"),
        ("other.csv", "order\n#7\n", "other.csv:1: there is no column 'id': order"),
        ("nul.csv", 'id\n"' + "x" * 200_000 + '"\n', "nul.csv:2: field larger than field limit"),
        ("a.ndjson", '{"id": 1}\n{"id"', "a.ndjson:2: is no JSON"),
        ("b.ndjson", "[1]\n", "b.ndjson:1: is no object with 'id'"),
    ],
)
def test_a_file_that_is_no_list_is_refused_with_its_place(lab: Lab, run: Run, name: str, text: Any, said: str) -> None:
    if text is not None:
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert said in str(CliRunner().invoke(main_.cli, ["dismiss", "--from", name, "--reason", "x", "--yes"]).exception)
    assert len(open_(lab)) == 12
    assert "must end in .csv or .ndjson" in str(
        CliRunner().invoke(main_.cli, ["dismiss", "--kind", "stuck", "--export", "x.txt", "--reason", "x"]).exception
    )


def test_what_was_ended_between_the_look_and_the_deed_is_told_and_left(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    found = many.find(lab.ctx, FINDINGS, Filter(kinds=("stuck",)))
    lists.close(lab.ctx, found.ids[:2], by="bo", reason="mine")
    assert asking._work(found.ids, FINDINGS, lambda some: lists.close(lab.ctx, some, by="ana", reason="x")) == 6
    assert "2 of 8 were ended or said meanwhile: those are left as they are" in capsys.readouterr().out
    assert {row.closed_by for row in lab.rows(t.findings, t.findings.c.id.in_(found.ids[:2]))} == {"person: bo"}


def test_a_command_that_is_stopped_halfway_says_how_far_it_came_and_finds_the_rest_when_said_again(
    lab: Lab, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(many, "AT_ONCE", 3)
    found = many.find(lab.ctx, FINDINGS, Filter(kinds=("stuck",)))
    told: list[int] = []

    def close(some: Any) -> int:
        if told:
            raise KeyboardInterrupt
        told.extend(some)
        return lists.close(lab.ctx, some, by="ana", reason="x")

    with pytest.raises(KeyboardInterrupt):
        asking._work(found.ids, FINDINGS, close)
    assert "stopped after 3 of 8 findings: said again, the command does the rest" in capsys.readouterr().err
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert asking._work(found.ids[3:], FINDINGS, lambda some: many.assign(lab.ctx, some, "ana")) == 5
    assert b"3 of 5 findings" in os.read(ours, 1000)
    os.close(ours)
    monkeypatch.undo()
    assert many.find(lab.ctx, FINDINGS, Filter(kinds=("stuck",))).ids == found.ids[3:]


def test_statements_are_kept_of_all_orders_that_differ_so_once(lab: Lab, run: Run) -> None:
    lab.later(1)
    words = (
        "record",
        "--kind",
        "shop_ahead",
        "--store",
        "kart",
        "--carrier",
        "ups",
        "--since",
        "30d",
        "accepted",
        "--by",
        "ana",
    )
    assert "1 orders would be recorded as accepted" in CliRunner().invoke(main_.cli, list(words)).output
    accepted = run(*words, "--yes")
    assert "recorded at 1 orders: accepted by ana" in accepted
    assert (
        accepted.count("still open at #7: finding ") == 3 and "`tracker dismiss 10 --reason WHY` closes it" in accepted
    )
    assert "recorded at 0 orders: accepted by ana" in run(*words, "--yes")  # said already
    assert "1 of 1 were ended or said meanwhile" in run(*words, "--yes")
    both = many.find(lab.ctx, ORDERS, Filter(kinds=("stuck", "shop_ahead")))
    assert sorted((kind, store) for kind, store, _ in both.counts) == [("delivered", "kart"), ("shipped", "shop")]
    assert many.find(lab.ctx, ORDERS, Filter(kinds=("withdrawn",))).ids == []
    assert len(many.find(lab.ctx, ORDERS, Filter(kinds=("shop_ahead",), severity="warning")).ids) == 0
    Path("orders.csv").write_text("order,store\n7,\n#7,shop\n99,\n8,shop\n,\n")
    told = run("record", "--from", "orders.csv", "proof", "--by", "bo", "--yes", code=1)
    assert "orders.csv:2: '7' names an order in kart, shop: say --store" in told
    assert "orders.csv:4: no order '99' is known" in told
    assert "2 orders recorded as proof; 2 lines of orders.csv name nothing" in told
    assert "recorded at 7, 8: verified by bo" in run("record", "7", "8", "verified", "--store", "shop", "--by", "bo")
    said = [(row.kind, row.by) for row in lab.rows(t.statements)]
    assert said == [("accepted", "ana"), ("proof", "bo"), ("proof", "bo"), ("verified", "bo"), ("verified", "bo")]
    assert many.record(lab.ctx, [10**9], StatementKind.PROOF, "", "bo") == 0
    assert "recorded as" not in run("record", "--kind", "stuck", "--export", "orders.ndjson", "proof")


def test_writes_and_payloads_are_chosen_by_kind_store_carrier_and_time(lab: Lab, run: Run) -> None:
    o = t.outbox.c
    mine = lab.rows(t.outbox, o.store == "kart")[0]
    lab.change(t.outbox.update().where(o.id == mine.id).values(state="refused", error="no", ended_at=lab.clock()))
    retry = ("outbox", "retry")
    for no in (("--kind", "notice"), ("--carrier", "dhl"), ("--store", "shop"), ("--since", "1h"), ("--state", "dead")):
        assert run(*retry, *no, "--yes").endswith("0 writes are due again\n")
    assert "1 writes would be tried again" in run(*retry, "--all", code=2)
    assert "only refused or dead writes" in run(*retry, "--state", "sent", code=2)
    every = run(*retry, "--kind", "order_status", "--carrier", "ups", "--store", "kart", "--since", "30d", "--yes")
    assert "1 writes are due again" in every
    assert lab.rows(t.outbox, o.id == mine.id)[0].state == "pending"
    assert many.find(lab.ctx, WRITES, Filter()).ids == []
    payloads = json.loads(run("inbox", "--account", "ups", "--json"))
    assert payloads
    assert run("replay", "--account", "ups", "--store", "kart", "--yes").endswith("(--write)\n")
    assert run("replay", "--kind", "webhook", "--account", "ups", "--yes").startswith("0 payloads are due again")
    assert run("replay", "--state", "dead", "--partly", "--since", "1h", "--yes").startswith("0 payloads")
    written = run("replay", "--kind", "poll", "--account", "ups", "--export", "polls.csv")
    count = len(Path("polls.csv").read_text().splitlines()) - 1
    assert written == f"polls.csv: {count} payloads; nothing else was done\n"
    assert f"{count} payloads are due again" in run("replay", "--from", "polls.csv", "--yes")
    assert "no store or account 'nobody'" in run("replay", "--account", "nobody", "--yes", code=2)
    assert "--from names the rows" in run("replay", "--from", "polls.csv", "--state", "done", code=2)

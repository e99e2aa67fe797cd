"""A file becomes payloads: once, whole, from where it was left, beside a worker that runs."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import wait_for
from tests.lab import Lab
from tracker.cli.main import cli
from tracker.pipeline.files.read import DONE, FAILED, Came, File, ReadElsewhere, hashed, read_file
from tracker.store import tables as t

TRACKER = Path(sys.executable).with_name("tracker")
DPD = """
  dpd: {uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}, zone: Europe/Brussels,
        codes: {C/13: {status: delivered}, C/03: {status: out_for_delivery}}}
"""
HEAD = "N;C;T\n"


def lines(count: int, *, first: int = 0) -> str:
    return "".join(
        f"0530{i // 2:010};{('03', '13')[i % 2]};2026-11-02T0{i % 2 + 5}:00:00\n" for i in range(first, first + count)
    )


@pytest.fixture
def dpd(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(accounts=DPD)


def read(lab: Lab, text: str | bytes, name: str = "a.csv", account: str = "dpd", **more: Any) -> Came:
    file = io.BytesIO(text.encode() if isinstance(text, str) else text)
    size, sha256 = hashed(file)
    return read_file(lab.ctx, lab.ctx.config.accounts[account], file, File("/in", name, size, 1, sha256), **more)


def scans(lab: Lab) -> int:
    return len(lab.rows(t.scans))


def test_a_file_is_stored_in_payloads_of_a_hundred_lines_and_each_line_is_a_scan(dpd: Lab) -> None:
    came = read(dpd, HEAD + lines(250))
    dpd.work("ingest")

    assert (came.state, came.lines, came.stored, came.known, came.unread) == (DONE, 250, 3, 0, 0)
    rows = dpd.rows(t.inbox)
    assert [(r.kind, r.state, r.headers) for r in rows] == [
        ("file", "done", {"file": "a.csv", "line": str(at)}) for at in (2, 102, 202)
    ]
    assert scans(dpd) == 250
    (row,) = dpd.rows(t.files)
    assert (row.state, row.read_to, row.size, row.ended_at) == (DONE, came.size, came.size, dpd.clock())


def test_a_file_that_is_read_twice_changes_nothing_and_says_so(dpd: Lab) -> None:
    first, again = (read(dpd, HEAD + lines(150)) for _ in range(2))

    assert (first.before, again.before) == (False, True)
    assert (again.stored, again.known, again.lines) == (0, 2, 150)
    assert len(dpd.rows(t.inbox)) == 2


def test_a_file_that_comes_again_under_another_name_or_longer_adds_only_what_is_new(dpd: Lab) -> None:
    read(dpd, HEAD + lines(150))
    dpd.work("ingest")

    other = read(dpd, HEAD + lines(150), "b.csv")
    longer = read(dpd, HEAD + lines(220), "c.csv")
    dpd.work("ingest")

    assert (other.stored, other.known) == (0, 2)
    assert (longer.stored, longer.known) == (2, 1)  # the half page of before is a whole one now
    assert scans(dpd) == 220


@pytest.mark.process
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("at", ["file_before_commit", "file_after_commit"])
def test_a_process_that_is_killed_half_way_goes_on_from_where_it_was_and_no_line_is_lost_or_doubled(
    dpd: Lab, tmp_path: Path, at: str
) -> None:
    (tmp_path / "dpd.yaml").write_text(dpd.yaml)
    (tmp_path / "a.csv").write_text(HEAD + lines(11_000))
    command = [TRACKER, "ingest", "-c", str(tmp_path / "dpd.yaml"), "--account", "dpd", str(tmp_path / "a.csv")]

    killed = subprocess.run(command, env={**os.environ, "CRASH_AT": at}, capture_output=True, check=False)
    (row,) = dpd.rows(t.files)
    stored = len(dpd.rows(t.inbox))
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)

    assert killed.returncode == 137
    assert (row.state, stored) == ("reading", 100 if at == "file_after_commit" else 0)
    assert (row.read_to > 0) is (stored > 0)
    assert done.returncode == 0, done.stderr
    (came,) = json.loads(done.stdout)
    assert (came["lines"], came["stored"], came["known"], came["state"]) == (11_000, 110, 0, DONE)
    firsts = [int(r.headers["line"]) for r in dpd.rows(t.inbox)]
    assert firsts == list(range(2, 11_002, 100))


def test_who_began_later_has_the_file_and_the_other_stops(dpd: Lab) -> None:
    account = dpd.ctx.config.accounts["dpd"]
    body = (HEAD + lines(11_000)).encode()
    what = File("/in", "a.csv", len(body), 1, hashed(io.BytesIO(body))[1])
    second: list[Came] = []

    def once(_: int) -> None:
        if not second:
            second.append(read_file(dpd.ctx, account, io.BytesIO(body), what))

    with pytest.raises(ReadElsewhere, match="another process reads it now"):
        read_file(dpd.ctx, account, io.BytesIO(body), what, progress=once)
    assert (second[0].lines, second[0].stored) == (11_000, 110)
    assert len(dpd.rows(t.inbox)) == 110


def test_a_process_that_ends_leaves_the_file_where_it_is(dpd: Lab) -> None:
    body = HEAD + lines(11_000)
    dpd.ctx.stopping = lambda: len(dpd.rows(t.inbox)) >= 100
    with pytest.raises(ReadElsewhere, match="this process ends"):
        read(dpd, body)
    dpd.ctx.stopping = lambda: False

    assert read(dpd, body).stored == 110


def test_a_poison_line_costs_itself_and_is_told_with_its_file_and_number(dpd: Lab) -> None:
    came = read(dpd, HEAD + lines(2) + "nonsense\n" + lines(2, first=2))
    dpd.work("ingest")

    assert (came.state, came.unread) == (DONE, 1)
    assert scans(dpd) == 4
    (row,) = dpd.rows(t.inbox)
    assert row.unread == [["$[4]", "has 1 columns, and the head has 3", ""]]
    (finding,) = [f for f in dpd.rows(t.findings) if f.kind == "parcel_unreadable"]
    assert (finding.evidence["file"], finding.evidence["path"]) == ("a.csv", "$[4]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A;B\n1;2\n", "$.head: has no column N (number); it has A, B"),
        (HEAD + "x\n" * 300, "nothing of it can be read: $[2]: has 1 columns, and the head has 3"),
    ],
)
def test_a_file_of_which_nothing_can_be_read_failed_and_may_be_read_again(dpd: Lab, text: str, said: str) -> None:
    assert [(c.state, c.problem) for c in (read(dpd, text), read(dpd, text))] == [(FAILED, said)] * 2


def test_an_empty_file_is_done_and_says_that_it_is_empty(dpd: Lab) -> None:
    assert [(c.state, c.problem) for c in (read(dpd, ""), read(dpd, HEAD, "b"))] == [(DONE, "is empty"), (DONE, None)]


def test_a_plugin_that_fails_while_it_cuts_costs_the_file_only(dpd: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(dpd.ctx.config.accounts["dpd"].carrier, "cut", cut)
    came = read(dpd, HEAD + lines(2))

    assert (came.state, came.problem) == (FAILED, came.problem)
    assert came.problem is not None
    assert came.problem.startswith("cannot be cut: ZeroDivisionError")


def test_a_saved_answer_of_a_carrier_that_reads_no_files_is_one_payload_that_withdraws_nothing(dpd: Lab) -> None:
    fixture = Path(__file__).parents[1] / "fixtures" / "dhl" / "delivered-parcel-de.poll.json"
    came = read(dpd, fixture.read_bytes(), account="dhl")
    dpd.work("ingest")

    assert (came.state, came.stored, came.unread) == (DONE, 1, 0)
    assert scans(dpd) > 0
    big = read(dpd, b" " * ((1 << 20) + 1), "big.json", account="dhl")
    assert (big.state, big.problem) == (FAILED, "$: is larger than 1048576 bytes")


def test_what_a_file_tells_is_worked_in_small_batches_so_that_the_receiver_waits_for_no_thousand_parcels(
    dpd: Lab,
) -> None:
    read(dpd, HEAD + lines(10_000))
    from tracker.pipeline.ingest import step

    assert 0 < step.run(dpd.ctx) <= dpd.ctx.store.batch // 6


def test_an_order_whose_parcel_is_told_by_files_only_is_watched_and_nobody_is_asked(
    make_lab: Callable[..., Lab],
) -> None:
    lab = make_lab(accounts=DPD, store="mode: write, carriers: {DPD: dpd}")
    lab.order("#1", "05300000000000", company="DPD")
    lab.work()
    read(lab, HEAD + lines(2))
    lab.work()

    (watch,) = [w for w in lab.rows(t.watches) if w.account == "dpd"]
    assert (watch.chosen, watch.next_poll_at) == ("the only account of dpd", None)
    assert not [f for f in lab.rows(t.findings) if f.kind == "carrier_not_covered"]


# as a command


def command(lab: Lab, folder: Path, *words: str) -> Result:
    (folder / "dpd.yaml").write_text(lab.yaml)
    return CliRunner().invoke(cli, [words[0], "-c", str(folder / "dpd.yaml"), *words[1:]])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command_says_in_one_line_a_file_what_came_of_it(
    dpd: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text(HEAD + lines(150))
    Path("odd.csv").write_text(HEAD + lines(1) + "nonsense\n")
    Path("bad.csv").write_text("A\n")

    done = command(dpd, tmp_path, "ingest", "--account", "dpd", "good.csv", "odd.csv", "bad.csv", "good.csv", "odd.csv")

    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "good.csv: 150 lines, 2 payloads stored, 0 known already, 0 pieces unread",
        "odd.csv: 2 lines, 1 payloads stored, 0 known already, 1 pieces unread (tracker inbox --partly)",
        "bad.csv: 0 lines, 0 payloads stored, 0 known already, 0 pieces unread; "
        "failed: $.head: has no column N (number); it has A",
        "good.csv: read before: 150 lines, nothing is new",
        "odd.csv: read before: 2 lines, nothing is new, 1 pieces unread (tracker inbox --partly)",
    ]
    listed = command(dpd, tmp_path, "files", "--json")
    assert [(f["name"], f["state"], f["unread"]) for f in json.loads(listed.stdout)] == [
        ("bad.csv", FAILED, 0), ("odd.csv", DONE, 1), ("good.csv", DONE, 0),
    ]  # fmt: skip
    failed = command(dpd, tmp_path, "files", "--state", "failed", "--account", "dpd").stdout
    assert ("bad.csv" in failed, "good.csv" in failed) == (True, False)
    as_json = json.loads(command(dpd, tmp_path, "ingest", "--json", "--account", "dpd", "good.csv").stdout)
    assert [(one["name"], one["before"], one["known"]) for one in as_json] == [("good.csv", True, 2)]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account", "nobody", "a.csv"), "no carrier account 'nobody': dhl, dpd, easypost, ups"),
        (("--account", "shop", "a.csv"), "shop is a store"),
        (("--account", "dpd", "a.csv", "none.csv"), "none.csv: No such file or directory"),
        (("--account", "dpd", "a.csv", "folder"), "folder: is no file"),
        (("--account", "dpd", "pipe"), "pipe: is no file"),
        (("--account", "dpd"), "Missing argument"),
        (("a.csv",), "Missing option '--account'"),
    ],
)
def test_the_command_reads_nothing_where_it_was_asked_wrongly(
    dpd: Lab, tmp_path: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(HEAD + lines(2))
    Path("folder").mkdir()
    os.mkfifo("pipe")

    done = command(dpd, tmp_path, "ingest", *words)

    assert done.exit_code == 2
    assert said in done.stderr
    assert dpd.rows(t.inbox) == []


@pytest.mark.process
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_command_that_is_killed_at_any_moment_loses_no_line(dpd: Lab, tmp_path: Path) -> None:
    (tmp_path / "dpd.yaml").write_text(dpd.yaml)
    (tmp_path / "a.csv").write_text(HEAD + lines(40_000))
    words = [TRACKER, "ingest", "-c", str(tmp_path / "dpd.yaml"), "--account", "dpd", str(tmp_path / "a.csv")]
    reads = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    wait_for(lambda: [row for row in dpd.rows(t.files) if row.read_to])
    reads.send_signal(signal.SIGKILL)
    reads.wait()
    half = len(dpd.rows(t.inbox))

    assert 0 < half <= 400
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    assert sorted(int(r.headers["line"]) for r in dpd.rows(t.inbox)) == list(range(2, 40_002, 100))

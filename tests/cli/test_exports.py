"""`tracker export`: what was heard, decided and found, row by row, whole and gone on with."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.lab import UPS, USPS, H, Lab, shipped
from tracker.cli import exports as command
from tracker.cli.main import cli
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate
from tracker.support import export_files, exports

NAME = "Left with Mrs Smith"


def play(lab: Lab) -> Lab:
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", text="=cmd()")
    lab.scan(lab.ups, UPS, "I", "038", edd=lab.clock() + 20 * H)
    lab.later(7)
    lab.scan(lab.ups, UPS, "D", "011", text=NAME)
    lab.later(30)
    lab.clock.move_to(lab.clock() + 1 * H)
    return lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("exports")
    with ExitStack() as stack:
        store = Store(f"sqlite:///{folder}/x.db")
        migrate(store)
        store.close()
        made = Lab(f"sqlite:///{folder}/x.db", folder, stack)
        (folder / "tracker.yaml").write_text(made.yaml)
        made.work()
        made.order("#1001", USPS)
        made.order("#1002", UPS, company="UPS")
        made.work()
        yield play(made)


def config(lab: Lab) -> str:
    folder = re.search(r"sqlite:///(.*)/x.db", lab.yaml)
    assert folder is not None
    return f"{folder[1]}/tracker.yaml"


def run(lab: Lab, *words: str, ends: int = 0) -> Result:
    done = CliRunner().invoke(cli, ["export", *words, "-c", config(lab)])
    assert done.exit_code == ends, done.output
    return done


def told(lab: Lab, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(lab, *words).stdout.splitlines()]


def wanted(kind: str, **more: Any) -> exports.Wanted:
    return exports.Wanted(kind, **more)


def unchanged(lab: Lab) -> int:
    """Count what orders said without another status, word or payment than before."""
    said: dict[int, Any] = {}
    same = 0
    for row in lab.rows(t.order_versions):
        now = (row.status, row.raw_status, row.payment)
        same += said.get(row.order_id) == now
        said[row.order_id] = now
    assert same
    return same


def test_each_kind_gives_all_its_rows_in_the_order_of_their_ids_on_both_databases(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.order("#1002", USPS)
    lab.work()
    play(lab)
    monkeypatch.setattr(exports, "WINDOW", 2)
    tables = {"scans": [t.scans], "findings": [t.findings], "events": [t.order_versions, t.decisions, t.outbox]}
    moved: list[Any] = []
    for kind in exports.KINDS:
        cursor = exports.Cursor()
        rows = [row for window in exports.rows(lab.ctx, wanted(kind), cursor) for row in window]
        assert cursor.rows == len(rows)
        assert all([*row] == [column.name for column in wanted(kind).columns] for row in rows)
        kept = sum(len(lab.rows(table)) for table in tables[kind])
        if kind == "events":
            kept -= unchanged(lab)
        moves = [row for row in rows if row.get("event") == "parcel_status"]
        assert len(rows) - len(moves) == kept
        again = [row for window in exports.rows(lab.ctx, wanted(kind), cursor) for row in window]
        assert again == []  # nothing twice
        moved += [(row["previous"], row["status"]) for row in moves if row["number"] == UPS]
    assert moved == [(None, "picked_up"), ("picked_up", "delivered")]
    mine = wanted("scans", store="shop")
    assert sum(len(window) for window in exports.rows(lab.ctx, mine, exports.Cursor())) == len(lab.rows(t.scans))
    for kind in exports.KINDS:
        none = [
            row for window in exports.rows(lab.ctx, wanted(kind, store="other"), exports.Cursor()) for row in window
        ]
        assert none == []


def test_what_became_of_a_parcel_is_exported_as_its_journey_is_told_elsewhere(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    for type_, code in (("I", "038"), ("X", "999"), ("X", "064"), ("I", "035"), ("D", "011"), ("D", "011")):
        lab.scan(lab.ups, UPS, type_, code)
        lab.later(7)
    lab.shop.set("#1001", displayFinancialStatus="REFUNDED")
    lab.work()
    lab.later(1)
    rows = [row for window in exports.rows(lab.ctx, wanted("events"), exports.Cursor()) for row in window]

    moved = [(row["previous"], row["status"]) for row in rows if row["event"] == "parcel_status"]
    statuses = [
        "picked_up",
        "exception",
        "returning",
        "returned",
    ]  # an unknown code moves nothing; delivered is to the sender
    assert moved == [*pairwise([None, *statuses])]
    assert lab.parcel(UPS).summary["status"] == statuses[-1]
    orders = [(row["previous"], row["status"], row["payment"]) for row in rows if row["event"] == "order_status"]
    assert orders == [(None, "shipped", "paid"), ("shipped", "shipped", "refunded")]


def test_a_span_begins_and_ends_where_it_is_asked_to_and_the_youngest_wait_for_the_next_one(lab: Lab) -> None:
    kept = lab.rows(t.scans)
    between = kept[-1].first_seen_at
    late = told(lab, "scans", "--since", f"{between:%Y-%m-%dT%H:%M:%SZ}")
    assert [row["id"] for row in late] == [row.id for row in kept if row.first_seen_at >= between]
    early = told(lab, "scans", "--until", f"{between:%Y-%m-%dT%H:%M:%SZ}")
    assert [row["id"] for row in early] == [row.id for row in kept if row.first_seen_at < between]
    assert told(lab, "scans", "--since", "2w") == []  # by the clock of now
    assert len(told(lab, "scans", "--since", "2000-01-01")) == len(kept)

    cursor = exports.Cursor()
    now = lab.ctx.now
    lab.ctx.now = lambda: between + timedelta(seconds=30)
    try:
        rows = [row for window in exports.rows(lab.ctx, wanted("scans"), cursor) for row in window]
    finally:
        lab.ctx.now = now
    assert [row["id"] for row in rows] == [
        row.id for row in kept if row.first_seen_at < between - timedelta(seconds=90)
    ]
    rest = [row["id"] for window in exports.rows(lab.ctx, wanted("scans"), cursor) for row in window]
    assert [*[row["id"] for row in rows], *rest] == [row.id for row in kept]


def test_what_may_name_a_person_is_left_out_unless_it_is_asked_for_and_that_is_said(lab: Lab) -> None:
    done = run(lab, "scans")
    assert NAME not in done.stdout
    assert "postcode" not in done.stdout
    assert "left out, as they may name a person: text, postcode (--with-personal-data)" in done.stderr
    whole = run(lab, "scans", "--with-personal-data")
    assert NAME in whole.stdout
    assert "with columns that may name a person" in whole.stderr
    findings = told(lab, "findings", "--with-personal-data")
    assert not findings or {"closed_by", "closed_reason", "assigned_to"} <= findings[0].keys()


def test_csv_is_read_by_a_spreadsheet_and_ndjson_line_by_line(lab: Lab) -> None:
    scans = list(csv.DictReader(io.StringIO(run(lab, "scans", "--format", "csv", "--with-personal-data").stdout)))
    assert [row["id"] for row in scans] == [str(row["id"]) for row in told(lab, "scans")]
    assert {row["correction"] for row in scans} == {"false"}
    assert "'=cmd()" in {row["text"] for row in scans}
    events = list(csv.DictReader(io.StringIO(run(lab, "events", "--format", "csv").stdout)))
    assert {row["event"] for row in events} == {"parcel_status", "order_status", "decision", "write"}
    findings = list(csv.DictReader(io.StringIO(run(lab, "findings", "--format", "csv").stdout)))
    assert all(json.loads(row["evidence"]) is not None for row in findings)
    assert export_files.lines_of("csv", [exports.Column("x", "json", "")])([{"x": None}]) == '""\n'


def test_an_export_is_gone_on_with_by_id_and_says_from_where(lab: Lab) -> None:
    every = [row["id"] for row in told(lab, "scans")]
    done = run(lab, "scans", "--json")
    end = json.loads(done.stderr)
    assert (end["rows"], end["after"], end["left_out"]) == (len(every), str(every[-1]), ["text", "postcode"])
    assert [row["id"] for row in told(lab, "scans", "--after", str(every[0]))] == every[1:]
    events = run(lab, "events")
    after = re.search(r"--after (\S+) goes on", events.stderr)
    assert after is not None
    assert run(lab, "events", "--after", after[1]).stdout == ""
    assert run(lab, "events", "--after", "decision=0").stdout == events.stdout


def test_the_same_span_goes_on_from_the_moment_at_which_the_export_began(lab: Lab, tmp_path: Path) -> None:
    span = tmp_path / "span.csv"
    run(lab, "scans", "-o", str(span), "--format", "csv", "--since", "520w")
    begun = json.loads(Path(f"{span}.cursor").read_text())["begun"]
    run(
        lab, "scans", "-o", str(span), "--format", "csv", "--since", "520w", "--resume"
    )  # the same words, of a later moment
    run(lab, "scans", "-o", str(span), "--format", "csv", "--resume")
    assert (
        json.loads(Path(f"{span}.cursor").read_text())["begun"] == begun
    )  # what came between the two is not passed over
    other = run(lab, "scans", "-o", str(span), "--format", "csv", "--since", "30d", "--resume", ends=2)
    assert "that export was made with since 520w, not 30d" in other.output


def test_two_never_write_one_export_and_one_that_was_killed_at_once_is_gone_on_with(lab: Lab, tmp_path: Path) -> None:
    lines = export_files.LinesFile(tmp_path / "x", "ndjson", wanted("scans"), resume=False)
    folder = export_files.ParquetFolder(tmp_path / "p", wanted("scans"), resume=False)  # and nothing is put yet
    for form, name in (("ndjson", "x"), ("parquet", "p")):
        again = run(lab, "scans", "--format", form, "-o", str(tmp_path / name), "--resume", ends=2)
        assert f"{tmp_path / name} is being written by another export" in again.output
    lines.close()
    os.close(folder._handle)  # as it is when its process is killed
    (tmp_path / "p/.scans-000001.parquet.part").write_text("PAR1")
    for form, name in (("ndjson", "x"), ("parquet", "p")):
        said = run(lab, "scans", "--format", form, "-o", str(tmp_path / name), "--resume").stdout
        assert said.startswith(f"{len(told(lab, 'scans'))} scans exported"), said
    assert sorted(one.name for one in (tmp_path / "p").iterdir()) == ["cursor.json", "scans-000001.parquet"]


def test_an_export_does_not_go_on_behind_a_database_that_was_put_back(lab: Lab, tmp_path: Path) -> None:
    run(lab, "scans", "-o", str(tmp_path / "x"))
    lab.change(t.accounts.update().values(restored_at=lab.clock()))
    said = run(lab, "scans", "-o", str(tmp_path / "x"), "--resume", ends=2).output
    lab.change(t.accounts.update().values(restored_at=None))
    assert "a backup was put back since, and ids behind it are other rows' now: begin anew" in said


def test_a_span_in_which_nothing_came_is_gone_on_with_from_its_beginning_and_brings_nothing_that_is_older(
    lab: Lab,
) -> None:
    begins = f"{lab.clock() + 2 * H:%Y-%m-%dT%H:%MZ}"
    for kind in ("scans", "events"):
        quiet = run(lab, kind, "--since", begins)
        after = re.search(r"--after (\S+) goes on", quiet.stderr)
        assert quiet.stdout == "" and after is not None
        assert told(lab, kind) and run(lab, kind, "--after", after[1]).stdout == ""
    assert "since 9999-01-01 lies ahead: now it is 2" in run(lab, "scans", "--since", "9999-01-01", ends=2).output


def test_a_file_is_gone_on_with_where_it_was_cut_off_and_no_other_is_touched(
    lab: Lab, tmp_path: Path, monkeypatch
) -> None:
    whole = run(lab, "scans").stdout
    path = tmp_path / "scans.ndjson"
    monkeypatch.setattr(exports, "WINDOW", 1)
    put = export_files.LinesFile.put
    calls: list[int] = []

    def full(self: Any, rows: Any, cursor: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            os.write(self._file.fileno(), b'{"id": 77, "ha')  # the disk took half a line
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        put(self, rows, cursor)

    with monkeypatch.context() as patch:
        patch.setattr(export_files.LinesFile, "put", full)
        cut = CliRunner().invoke(cli, ["export", "scans", "-o", str(path), "-c", config(lab)])
    assert isinstance(cut.exception, OSError)
    assert "1 scans exported, up to 1: --resume goes on from there" in cut.stdout
    assert path.read_text().endswith("ha")
    monkeypatch.setattr(command, "TELL_EVERY", 1)
    done = run(lab, "scans", "-o", str(path), "--resume", "--json")
    assert path.read_text() == whole
    assert json.loads(done.stdout)["rows"] == whole.count("\n") - 1
    assert "2 rows, up to 2" in done.stderr
    assert "0 scans exported" in run(lab, "scans", "-o", str(path), "--resume").stdout  # nothing is new
    assert path.stat().st_mode & 0o077 == 0

    for words, says in (
        (("scans", "-o", str(path)), "is there already: --resume goes on"),
        (("findings", "-o", str(path), "--resume"), "that export was made with kind scans, not findings"),
        (("scans", "-o", str(path), "--resume", "--with-personal-data"), "made with personal_data False, not True"),
    ):
        assert says in run(lab, *words, ends=2).output
    path.write_text("")
    assert "is shorter than when it was left" in run(lab, "scans", "-o", str(path), "--resume", ends=2).output
    Path(f"{path}.cursor").write_text("[]")
    assert "is no cursor of an export" in run(lab, "scans", "-o", str(path), "--resume", ends=2).output
    with pytest.raises(OSError, match="No such file"):
        export_files.LinesFile(tmp_path / "none" / "x", "ndjson", wanted("scans"), resume=False)
    fresh = tmp_path / "fresh.csv"
    fresh.touch()  # the disk was full at once
    run(lab, "scans", "-o", str(fresh), "--resume", "--format", "csv")  # nothing to go on with: it begins
    assert fresh.read_text() == run(lab, "scans", "--format", "csv").stdout
    fresh.write_text("id,par")  # it was killed before the first scan
    Path(f"{fresh}.cursor").unlink()
    export_files.LinesFile(tmp_path / "other.csv", "csv", wanted("scans"), resume=False).close()
    os.replace(tmp_path / "other.csv.cursor", f"{fresh}.cursor")
    run(lab, "scans", "-o", str(fresh), "--resume", "--format", "csv")
    assert fresh.read_text() == run(lab, "scans", "--format", "csv").stdout

    def left(_: Any, *__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(export_files.Lines, "put", left)
    gone = CliRunner().invoke(cli, ["export", "scans", "-c", config(lab)])
    assert isinstance(gone.exception, BrokenPipeError) or gone.exit_code == 1
    assert "goes on from there" not in gone.output


def test_a_disk_that_is_full_is_told_with_the_name_of_the_file(tmp_path: Path) -> None:
    target = export_files.LinesFile(tmp_path / "x", "ndjson", wanted("scans"), resume=False)
    target.close()
    target._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115

    with pytest.raises(OSError, match="No space left") as error:
        target.put([{"id": 1}], exports.Cursor({"": 1}))
    assert error.value.filename == str(tmp_path / "x")
    target.close()


@pytest.mark.skipif(sys.platform != "linux", reason="bounds the size of files")
def test_a_disk_that_is_full_costs_parquet_its_last_part_and_nothing_else_is_told(lab: Lab, tmp_path: Path) -> None:
    folder, rows = tmp_path / "out", len(told(lab, "scans"))
    bounded = f"""
import resource, signal, sys
from tracker.support import export_files, exports
export_files.PART_ROWS = export_files.GROUP_ROWS = exports.WINDOW = 1
begin = export_files.ParquetFolder._begin
def full(self):
    if self._part == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    begin(self)
export_files.ParquetFolder._begin = full
sys.argv = ["tracker", "export", "scans", "--format", "parquet", "-o", {str(folder)!r}, "-c", {config(lab)!r}]
from tracker.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", bounded], capture_output=True, text=True, check=False)
    assert (done.returncode, f"{folder}: File too large" in done.stderr) == (2, True), done.stderr
    assert done.stdout.startswith("1 scans exported, up to 1: --resume") and "Traceback" not in done.stderr
    assert sorted(one.name for one in folder.iterdir()) == ["cursor.json", "scans-000001.parquet"]
    more = run(lab, "scans", "--format", "parquet", "-o", str(folder), "--resume").stdout
    assert more.startswith(f"{rows - 1} scans exported")


def test_parquet_comes_in_whole_parts_that_any_reader_takes(lab: Lab, tmp_path: Path, monkeypatch) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "out"
    monkeypatch.setattr(export_files, "PART_ROWS", 1)
    monkeypatch.setattr(export_files, "GROUP_ROWS", 1)
    monkeypatch.setattr(exports, "WINDOW", 2)
    run(lab, "scans", "--format", "parquet", "-o", str(folder))
    parts = sorted(folder.glob("*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    every = told(lab, "scans")
    assert ([row["id"] for row in rows], len(parts) > 1) == ([row["id"] for row in every], True)
    assert rows[0]["instant"].isoformat() == every[0]["instant"].replace("Z", "+00:00")
    assert pq.read_schema(parts[0]).metadata[b"trackwright.schema"] == b"1"
    run(lab, "scans", "--format", "parquet", "-o", str(folder), "--resume")
    assert sorted(folder.glob("*")) == [*parts, folder / "cursor.json"] or len([*folder.glob("*.parquet")]) == len(
        parts
    )
    assert "is not empty" in run(lab, "scans", "--format", "parquet", "-o", str(folder), ends=2).output
    for kind in ("events", "findings"):
        run(lab, kind, "--format", "parquet", "-o", str(tmp_path / kind))
        found = [row for part in sorted((tmp_path / kind).glob("*.parquet")) for row in pq.read_table(part).to_pylist()]
        assert len(found) == len(told(lab, kind))

    empty = ("--since", "2026-11-01", "--until", "2026-11-02")  # nothing came, and its columns can be read all the same
    run(lab, "scans", "--format", "parquet", "-o", str(tmp_path / "empty"), *empty)
    (part,) = (tmp_path / "empty").glob("*.parquet")
    assert (pq.read_table(part).num_rows, pq.read_schema(part)) == (0, pq.read_schema(parts[0]))

    target = export_files.ParquetFolder(tmp_path / "broken", wanted("scans"), resume=False)
    monkeypatch.setattr(export_files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    (row,) = next(iter(exports.rows(lab.ctx, wanted("scans"), exports.Cursor())))[:1]
    target._held = [row]
    with pytest.raises(OSError, match="No space left") as error:
        target.close()
    assert error.value.filename == str(tmp_path / "broken")
    assert [one.name for one in (tmp_path / "broken").iterdir()] == [
        "cursor.json"
    ]  # no half part is left, and it can be gone on with


def test_without_pyarrow_it_says_how_to_install_it(lab: Lab, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = run(lab, "scans", "--format", "parquet", "-o", str(tmp_path / "x"), ends=2).output
    assert "pip install 'trackwright[parquet]'" in said


def test_what_cannot_be_asked_says_why_and_columns_are_described(lab: Lab) -> None:
    for words, says in (
        (("scans", "--resume"), "--resume needs -o and no --after"),
        (("scans", "--format", "parquet"), "--format parquet needs -o FOLDER"),
        (("scans", "--store", "nobody"), "no store 'nobody'"),
        (("scans", "--since", "soon"), "--since 'soon': must be a moment"),
        (
            ("scans", "--since", "2026-11-02", "--until", "2026-11-01"),
            "until 2026-11-01 is not later than since 2026-11-02",
        ),
        (("scans", "--after", "x"), "after 'x': must be an id"),
        (("events", "--after", "7"), "after '7': must be parcel_status=ID,order_status=ID,decision=ID,write=ID"),
    ):
        assert says in run(lab, *words, ends=2).output
    assert "may name a person" in run(lab, "scans", "--describe").output
    described = json.loads(run(lab, "events", "--describe", "--json").output)
    assert [one["column"] for one in described["columns"]] == [column.name for column in exports.COLUMNS["events"]]


@pytest.mark.process
def test_a_process_that_is_stopped_or_whose_reader_leaves_gives_whole_lines(lab: Lab, tmp_path: Path) -> None:
    tracker = Path(sys.executable).with_name("tracker")
    line = f"{tracker} export scans -c {config(lab)} | head -c 0"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() in ("141", "0")  # it may have been read before the reader left


def test_the_first_Ctrl_C_ends_it_between_two_windows_and_the_second_at_once(
    lab: Lab, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exports, "WINDOW", 1)
    put = export_files.LinesFile.put

    def stopped(self: Any, rows: Any, cursor: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        put(self, rows, cursor)

    path = tmp_path / "x.ndjson"
    with monkeypatch.context() as patch:
        patch.setattr(export_files.LinesFile, "put", stopped)
        done = CliRunner().invoke(cli, ["export", "scans", "-o", str(path), "-c", config(lab)])
    assert (done.exit_code, path.read_text().count("\n")) == (1, 1)  # click's runner: main() makes it 130
    assert "1 scans exported, up to 1" in done.output
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # who runs the tests in the background has it ignored
    try:
        with pytest.raises(KeyboardInterrupt), command._between():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_no_row_could_be_read_no_place_to_go_on_from_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text(f"database: sqlite:///{tmp_path}/none.db\n")
    done = CliRunner().invoke(cli, ["export", "scans", "-c", f"{tmp_path}/empty.yaml"])
    assert "no such table" in str(done.exception)
    assert "goes on from there" not in done.output

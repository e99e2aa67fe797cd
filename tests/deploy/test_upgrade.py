"""An installation of the schema before the newest, with data, is upgraded: nothing is lost, everything answers, the workers go on.

The dumps are `story.play`, played once by the version whose newest schema was 0010, and written by the databases' own tools.
"""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from tests.deploy import story
from tests.lab import USPS, Lab, detail, tracker_body
from tracker.cli import main as main_
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import current, head

DUMPS = Path(__file__).parent / "dumps"
OLD = "0010"
TRACKER = Path(sys.executable).with_name("tracker")
WORDS = (
    ["show", "#1003"], ["explain", "#1001"], ["explain", "#1001", "--at", "2026-11-02T10:00Z"], ["findings"], ["drift"], ["outbox"],
    ["inbox"], ["codes"], ["stuck"], ["freshness"], ["plan"], ["policy", "show", "shop"], ["migrate", "--show"],
)  # fmt: skip
LEFT = datetime.fromisoformat("2026-11-03T01:00:00+00:00")  # where the story's clock stood


def restore(url: str) -> None:
    """Make the database of a dump."""
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    text = gzip.decompress((DUMPS / f"schema_{OLD}.{kind}.sql.gz").read_bytes()).decode()
    if kind == "sqlite":
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with sqlite3.connect(path) as connection:
            connection.executescript(text)
        connection.close()
        return
    with psycopg.connect(url, autocommit=True) as opened:
        opened.execute("\n".join(line for line in text.splitlines() if not line.startswith("\\")).encode())


def content(store: Store, columns: dict[str, list[str]] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, of the columns that are given by table (all); as the database has them."""
    found = {}
    with store.read() as connection:
        for table in t.METADATA.sorted_tables:
            names = (
                [c["name"] for c in sa.inspect(connection).get_columns(table.name)]
                if sa.inspect(connection).has_table(table.name)
                else []
            )
            wanted = columns.get(table.name, []) if columns is not None else names
            if wanted:
                plain = sa.table(table.name, *(sa.column(name) for name in wanted))
                found[table.name] = sorted(map(tuple, connection.execute(sa.select(plain))), key=repr)
    return found


def columns_of(store: Store) -> dict[str, dict[str, Any]]:
    with store.read() as connection:
        look = sa.inspect(connection)
        return {name: {c["name"]: c for c in look.get_columns(name)} for name in look.get_table_names()}


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/db/x.db" if request.param == "sqlite" else request.getfixturevalue("empty_postgres")
    restore(url)
    return str(url)


def test_an_upgrade_keeps_every_row_answers_and_goes_on(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_ = Store(old)
    assert current(before_) == OLD != head()
    columns, before = columns_of(before_), content(before_)
    before_.close()
    assert {name for name, rows in before.items() if rows} >= {
        "orders",
        "scans",
        "inbox",
        "outbox",
        "statements",
        "findings",
        "decisions",
    }

    with ExitStack() as stack:
        lab = Lab(old, tmp_path, stack, rest="{preset: kingston-courier}")
        store = lab.daemon.store
        assert current(store) == head()
        # what start-up notes of accounts is no loss
        kept = content(store, {name: [*told] for name, told in columns.items()})
        assert {name: rows for name, rows in kept.items() if name != "accounts"} == {
            name: rows for name, rows in before.items() if name != "accounts"
        }
        assert len(kept["accounts"]) == len(before["accounts"])

        _an_older_version_may_write_beside_us(lab, columns)

        (tmp_path / "tracker.yaml").write_text(lab.yaml)
        monkeypatch.chdir(tmp_path)
        if store.sqlite:
            for words in WORDS:
                told = CliRunner().invoke(main_.cli, words)
                assert told.exit_code in (0, 1), (words, told.output)
        shown = subprocess.run([TRACKER, "show", "#1003"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert shown.returncode == 0 and "in_transit" in shown.stdout, shown.stderr

        story.outside(lab)  # the shop and the carriers, as they were; that was told then
        for told in (lab.shop, lab.rest):
            told.outgoing.clear()
        lab.clock.move_to(LEFT)
        lab.work()
        assert ("#1002", "OUT_FOR_DELIVERY") in lab.writes()  # what waited was sent
        lab.post_raw("easypost", tracker_body(USPS, detail("delivered", "2026-11-03T00:30:00Z")))
        lab.work()
        assert lab.writes()[-1] == ("#1002", "DELIVERED")
        assert lab.parcel(USPS).status == "delivered"
        lab.summaries_are_whole()


def _an_older_version_may_write_beside_us(lab: Lab, columns: dict[str, dict[str, Any]]) -> None:
    """What is new in a table has a default, or may be left out; `columns`: those that the older version knows."""
    for name, told in columns_of(lab.daemon.store).items():
        if name in columns:
            assert columns[name].keys() <= told.keys(), f"{name}: a column is gone"
            new = {key: c for key, c in told.items() if key not in columns[name]}
            assert [key for key, c in new.items() if not c["nullable"] and c["default"] is None] == [], name
    for table in (t.inbox, t.orders, t.decisions, t.outbox, t.findings, t.scans, t.statements):
        plain = sa.table(table.name, *(sa.column(key) for key in columns[table.name] if key != "id"))
        unlike = {"ref": "new", "key": "new", "dedupe_key": "new", "fingerprint": "new", "subject": "new"}
        values = [sa.literal(unlike[c.key]) if c.key in unlike else c for c in plain.c]
        lab.change(plain.insert().from_select([c.key for c in plain.c], sa.select(*values).select_from(plain).limit(1)))
        lab.change(table.delete().where(table.c.id == lab.rows(table)[-1].id))

"""SECURITY.md says of every column of text what it is: a new one that nobody classified fails here."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa
from sqlmodel.sql.sqltypes import AutoString

from tracker.store import tables as t

PAGE = (Path(__file__).parents[2] / "SECURITY.md").read_text().partition("## What is kept where")[2]


def _named(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_every_column_that_holds_text_is_told_where_it_says_what_is_kept() -> None:
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    told: dict[str, set[str]] = {}
    for tables, personal, others, *_ in rows:
        assert not _named(personal) & _named(others), tables
        told |= {table: _named(personal) | _named(others) for table in _named(tables)}
    there = {
        table.name: {
            c.name for c in table.columns if isinstance(c.type, AutoString | sa.String | sa.JSON | sa.LargeBinary)
        }
        for table in t.METADATA.sorted_tables
    }

    assert {name for name, columns in there.items() if columns} == told.keys()
    for name, columns in there.items():
        assert columns <= told.get(name, set()), f"{name}: put {columns - told[name]} into the table of SECURITY.md"
    known = {column.name for table in t.METADATA.sorted_tables for column in table.columns}
    assert {column for columns in told.values() for column in columns} <= known

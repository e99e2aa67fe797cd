"""`tracker reload` reaches every process of an installation, and tells what each made of it: real processes, from outside."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.app.press import Pressed
from tests.app.site import Site
from tests.conftest import RedisServer, wait_for
from tracker.app import presence
from tracker.app.presence import Presence, ask
from tracker.store import tables as t
from tracker.store.engine import Store, database_now


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    output: str

    @property
    def processes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.output)["processes"]
        return found


def reload(site: Site, *words: str) -> Done:
    path = site.folder / f"told-{len(list(site.folder.glob('told-*')))}"
    process = Pressed(["reload", "-c", str(site.file), *words], {**os.environ, "PYTHONWARNINGS": "ignore"}, path)
    return Done(process.wait(90), path.read_text())


def running(site: Site, count: int) -> bool:
    return len(site.rows(t.processes)) == count


@pytest.mark.process
def test_all_roles_take_a_new_configuration_that_somebody_asks_for(
    new_postgres: str, redis_server: RedisServer, tmp_path: Path, stack: ExitStack
) -> None:
    site = Site(new_postgres, tmp_path, stack, broker=redis_server.url)
    started = {role: site.start(role) for role in ("web", "worker", "scheduler")}
    wait_for(lambda: running(site, 3))
    assert [row.mode for row in site.rows(t.accounts, t.accounts.c.name == "shop")] == ["write"]
    site.file.write_text(site.file.read_text().replace("mode: write", "mode: observe") + "threads: 2\n")
    done = reload(site, "--json")

    assert done.returncode == 0, done.output
    answers = done.processes
    assert [(one["role"], one["state"]) for one in answers] == [
        ("scheduler", "taken"),
        ("web", "taken"),
        ("worker", "taken"),
    ]
    assert {one["pid"] for one in answers} == {process.pid for process in started.values()}
    for one in answers:
        assert one["changes"]["changed"] == {"stores.shop": ["mode"]}
        assert one["changes"]["needs_restart"] == ["threads"]
    assert [row.mode for row in site.rows(t.accounts, t.accounts.c.name == "shop")] == ["observe"]
    assert site.logs().count('"config_reloaded"') == 3
    assert "changed stores.shop (mode); of the root threads; taken at the next start only threads" in site.logs()
    for process in started.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(26) for process in started.values()] == [0, 0, 0]
    assert running(site, 0)


@pytest.mark.process
def test_who_keeps_the_old_one_says_why_and_the_exit_code_tells(tmp_path: Path, stack: ExitStack) -> None:
    site = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
    process = site.start()
    wait_for(lambda: running(site, 1))
    nothing = reload(site)
    assert nothing.returncode == 0
    assert nothing.output.endswith(f", process {process.pid}: took it: nothing changed\n")

    good = site.file.read_text()
    site.file.write_text(good.replace("uses: easypost", "uses: easypostt"))
    suspended = reload(site)
    assert (suspended.returncode, "took it: suspended accounts.easypost" in suspended.output) == (0, True)

    site.file.write_text(good + "thread: 1\n")
    wrong = reload(site)
    assert (wrong.returncode, "thread: unknown key" in wrong.output) == (2, True)

    site.file.write_text(good)
    (tmp_path / "s").unlink()  # of what the command looks at nothing is wrong; all that the process needs is
    kept = reload(site)
    assert kept.returncode == 1
    assert ": kept the old one: " in kept.output and "the secret file" in kept.output

    os.kill(process.pid, signal.SIGSTOP)
    silent = reload(site, "--timeout", "0.5", "--json")
    os.kill(process.pid, signal.SIGCONT)
    assert silent.returncode == 1
    assert [one["state"] for one in silent.processes] == ["silent"]


# the rows


@pytest.fixture
def two(database: str) -> Iterator[tuple[Store, list[Presence]]]:
    store = Store(database)
    yield store, [Presence(store, {"web"}), Presence(store, {"worker", "scheduler"})]
    store.close()


def test_only_who_lives_is_asked_and_who_answers_is_asked_no_more(two: Any) -> None:
    store, (web, worker) = two
    assert web.look() is None and worker.look() is None
    with store.write() as connection:
        late = database_now(connection) - presence.ALIVE - timedelta(seconds=1)
        connection.execute(t.processes.update().where(t.processes.c.role == "web").values(seen_at=late))
    (told,) = ask(store, 0.0)
    assert (told["role"], told["state"]) == ("scheduler,worker", "silent")
    assert web.look() is None
    asked = worker.look()
    assert asked is not None
    worker.answer(asked, {"taken": True, "changes": {}})
    assert worker.look() is None


def test_a_row_that_somebody_took_away_is_there_again_and_an_ended_process_is_not(two: Any) -> None:
    store, (web, worker) = two
    web.look()
    with store.write() as connection:
        connection.execute(t.processes.delete())
    web.look()
    assert [one["role"] for one in ask(store, 0.0)] == ["web"]
    web.end()
    assert ask(store, 0.0) == []
    assert worker.look() is None

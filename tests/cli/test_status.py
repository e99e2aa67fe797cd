"""`tracker status` from outside: a healthy installation, and each thing that can be wrong with one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.app.press import Pressed
from tests.app.site import Site
from tests.conftest import wait_for
from tracker.cli.common import close_context, glance_config, open_context
from tracker.clock import system_now
from tracker.domain.budget import Calls
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.store import tables as t
from tracker.upkeep import maintenance

pytestmark = pytest.mark.process
A, MINUTE = t.accounts.c, timedelta(minutes=1)
NAMED = {"shop": A.name == "shop", "easypost": A.name == "easypost"}
Status = Callable[..., tuple[int, str]]


@pytest.fixture
def site(tmp_path: Path, migrated_file: Path) -> Iterator[Site]:
    """An installation that ran: its process is gone, and its row says that it lives."""
    (tmp_path / "db").mkdir(mode=0o700)
    (tmp_path / "db" / "x.db").write_bytes(migrated_file.read_bytes())
    with ExitStack() as stack:
        made = Site(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
        text = made.file.read_text().replace("uses: easypost,", "uses: easypost, budget: {calls: 10, per: 1h},")
        made.file.write_text(text)
        yield made


@pytest.fixture
def status(site: Site) -> Status:
    """Run the installed command in a process of its own; returns its exit code and what it said."""

    def run(*words: str) -> tuple[int, str]:
        log = site.folder / "status.out"
        log.unlink(missing_ok=True)
        process = Pressed(["status", *words, "-c", str(site.file)], {**os.environ}, log)
        return process.wait(30), log.read_text()

    return run


def change(site: Site, *statements: Any) -> None:
    with site.store.write() as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def with_account(site: Site, name: str, **values: Any) -> Iterator[None]:
    """Let an account or store be otherwise for a while, and the process be alive."""
    (before,) = site.rows(t.accounts, NAMED[name])
    seen = t.processes.update().values(seen_at=system_now())
    change(site, seen, t.accounts.update().where(NAMED[name]).values(**values))
    yield
    change(site, t.accounts.update().where(NAMED[name]).values(**{key: before._mapping[key] for key in values}))


def test_a_healthy_installation_is_well_and_each_thing_that_is_wrong_is_said_first(site: Site, status: Status) -> None:
    process = site.start()
    wait_for(lambda: site.rows(t.processes) and all(row.synced_at for row in site.rows(t.accounts, NAMED["shop"])))

    code, said = status()
    assert (code, said.splitlines()[0][:49]) == (0, "all is well: 1 process, 1 account, 1 store, as of"), said
    assert "scheduler,web,worker at " in said and "nothing waits" in said
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    now = system_now()
    on = {"since": now.isoformat(), "stood": [], "parcels": []}
    spent = Calls(10, timedelta(hours=1), None, now).take()
    spent[0][1] = 10
    wrong: list[tuple[str, dict[str, Any], str, str]] = [
        ("easypost", {"suspended_reason": "401: canary"}, "easypost is suspended: its credentials are refused", "then `tracker reload`"),
        ("shop", {"suspended_reason": "its entry is wrong: t.yaml:3:1: x"}, "shop is suspended: its entry in the configuration is wrong", "`tracker check`"),
        ("easypost", {"rests_until": now + 60 * MINUTE, "failing_since": now, "failing_why": "503"}, "easypost does not answer since", "`tracker heal`"),
        ("easypost", {"paused_at": now}, "easypost is paused since", "do: tracker resume easypost"),
        ("shop", {"paused_at": now}, "shop is paused since", "do: tracker resume shop"),
        ("easypost", {"brakes": {"usps": on}}, "the brake of easypost for usps is on since", "`tracker resume easypost`"),
        ("shop", {"next_sweep_at": now - 60 * MINUTE}, "shop: a sweep was due at", "`tracker heal` sweeps now"),
        ("easypost", {"spent": spent}, "the budget of easypost is spent: 10 calls in 1h", "a larger `budget:`"),
    ]  # fmt: skip
    for name, values, first, act in wrong:
        with with_account(site, name, **values):
            code, said = status()
        line = said.splitlines()[0]
        assert (code, line.startswith(f"WRONG: {first}"), act in line) == (1, True, True), said
    assert status()[0] == 0

    change(site, t.processes.update().values(seen_at=now - MINUTE))
    code, said = status()
    assert (code, said.splitlines()[0][:35]) == (1, "WRONG: no process runs; last seen 2"), said
    assert "do: start it: tracker up" in said.splitlines()[0]


def test_what_died_waits_or_is_urgent_is_wrong_too_and_sorted_by_what_comes_first(site: Site, status: Status) -> None:
    process = site.start()
    wait_for(lambda: site.rows(t.processes) and all(row.synced_at for row in site.rows(t.accounts, NAMED["shop"])))
    wait_for(lambda: not site.rows(t.inbox, t.inbox.c.state == "pending"))  # its first sweep is read
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    now, old = system_now(), system_now() - 60 * MINUTE
    payload = {"account": "easypost", "kind": "webhook", "headers": {}, "size": 2, "received_at": old, "due_at": old}
    order = {
        "id": 1, "store": "shop", "ref": "1", "number": "#1", "status": "shipped", "raw_status": "x", "payment": "paid", "raw_payment": "x",
        "owner": "seller", "placed_at": old, "facts": {}, "version": 1, "read_at": now, "drift": "",
    }  # fmt: skip
    write = {
        "key": "k", "kind": "order_status", "store": "shop", "order_id": 1, "action": {"target": "delivered"}, "state": "dead", "due_at": old,
        "rules": [], "created_at": old, "error": "canary",
    }  # fmt: skip
    change(
        site, t.inbox.insert().values(**payload), t.orders.insert().values(**order), t.outbox.insert().values(**write),
        t.inbox.insert().values(**payload | {"state": "dead", "reason": "bad_payload: $.a: is missing"}),
    )  # fmt: skip
    ctx = open_context(glance_config(site.file))
    maintenance.run_monitors(ctx)
    with ctx.store.write() as connection:
        moving = Finding(FindingKind.CANCELLED_BUT_MOVING, "shop/#1", Severity.URGENT, Act.ACT, {"order": "#1"})
        tell.report_findings(ctx, connection, [(None, moving)], now, by="decision")
    close_context(ctx)

    change(site, t.processes.update().values(seen_at=system_now()))
    code, said = status("--json")
    told = json.loads(said)
    assert (code, told["well"]) == (1, False)
    assert [one["what"] for one in told["troubles"]] == ["urgent", "write_dead", "payload_dead", "payloads_wait"]
    assert told["said"].startswith("WRONG, 4 things; first: 1 urgent finding is open since ")
    assert [one["see"] for one in told["troubles"]][:2] == [
        "tracker findings --severity urgent",
        "tracker outbox --state dead",
    ]
    assert "canary" not in told["said"]
    waits = {row["queue"]: row for row in told["queues"]}
    assert (waits["inbox"]["count"], waits["inbox"]["oldest_seconds"] > 3000) == (1, True)
    assert (waits["inbox dead"]["count"], waits["push dead"]["count"]) == (1, 1)


def test_it_says_so_where_the_database_is_away_and_ctrl_c_ends_the_watch(site: Site, tmp_path: Path) -> None:
    site.file.write_text(site.file.read_text().replace("db/x.db", "db/none.db"))
    (tmp_path / "db" / "none.db").write_text("this is no database, and it is longer than a header of one " * 20)

    def heard() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    tracker = Path(sys.executable).with_name("tracker")
    watch = subprocess.Popen(
        [str(tracker), "status", "--watch", "-c", str(site.file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=heard,
    )  # fmt: skip
    assert watch.stdout is not None
    first = watch.stdout.readline()
    watch.send_signal(signal.SIGINT)
    _, ended = watch.communicate(timeout=30)

    assert first.startswith("WRONG: the database cannot be used: file is not a database; do: mend the database")
    assert (watch.returncode, ended.strip()) == (130, "stopped")

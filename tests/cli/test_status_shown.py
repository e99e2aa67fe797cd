"""What `tracker status`, `outages`, `stuck` and `outbox --today` show, in a terminal and outside of one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from tests.lab import USPS, H, Lab
from tracker.cli import main as main_
from tracker.cli import status as shown
from tracker.store import tables as t
from tracker.store.engine import database_now

Run = Callable[..., Result]
A, D = t.accounts.c, t.findings.c


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A shop with a parcel under way, and a process that lives."""
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
        (tmp_path / "tracker.yaml").write_text(made.yaml)
        made.work()
        made.order("#1001", USPS)
        made.work()
        made.scan(made.easypost, USPS, "in_transit", "departed_facility")
        made.later(7)
        with made.ctx.store.read() as connection:
            now = database_now(connection) + timedelta(minutes=1)
        row = {"name": "x", "role": "scheduler,web,worker", "host": "h", "pid": 7, "started_at": now, "seen_at": now}
        made.change(t.processes.insert().values(version="0.0.9", **row))
        yield made


@pytest.fixture
def run(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)

    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main_.cli, list(words))
        assert result.exit_code == code, f"{result.output}{result.exception!r}"
        return result

    return invoke


def troubled(lab: Lab) -> datetime:
    """Let something be wrong with each account, a parcel be overdue, and findings and a drift be open; returns since when."""
    late, now = lab.clock() - 3 * H, lab.clock()
    values: dict[str, dict[str, Any]] = {
        "easypost": {"failing_since": late, "failing_why": "[canary]\x1b[31m", "failures": 3},
        "ups": {"brakes": {"ups": {"since": now.isoformat(), "stood": [], "parcels": []}}, "last_webhook_at": late},
        "dhl": {"hooks_due_at": now, "hooks": {"hooks": [{"state": "wrong"}]}, "hooks_checked_at": now},
        "shop": {"hooks_due_at": now},
    }
    for name, more in values.items():
        lab.change(t.accounts.update().where(A.name == name).values(**more))
    lab.change(t.watches.update().values(next_poll_at=late))
    drift = {
        "order_id": 1, "store": "shop", "kind": "shop_ahead", "shop": "delivered", "shop_said": "x", "status": "in_transit",
        "carrier": "usps", "number": USPS, "fulfilment": "", "caused_by": "seller", "since": late, "opened_at": late,
    }  # fmt: skip
    lab.change(t.drifts.insert().values(**drift))
    kinds = (
        "tracking_number_unreadable",
        "tracking_number_doubtful",
        "order_incomplete",
        "order_unreadable",
        "unmapped_code",
        "order_out_of_sight",
    )
    one = {
        "severity": "warning",
        "act": "act",
        "evidence": {},
        "evidence_hash": "x",
        "opened_by": "x",
        "opened_at": late,
        "digest": False,
    }
    lab.change(t.findings.insert().values([{**one, "subject": f"shop/{kind}", "kind": kind} for kind in kinds]))
    return late


def test_one_screen_tells_all_and_each_number_has_its_list(run: Run, lab: Lab) -> None:
    assert (
        run("status").output.splitlines()[0] == "all is well: 1 process, 3 accounts, 1 store, as of 2026-11-02 15:00Z"
    )
    late, now = troubled(lab), lab.clock()
    said = run("status", code=1).output
    first = said.splitlines()[0]
    assert first.startswith(
        "WRONG, 2 things; first: the brake of ups is on since 2026-11-02 15:00Z: its ends leapt, and are held; do: look at"
    )
    assert "2. easypost does not answer since 2026-11-02 12:00Z ([canary]\N{REPLACEMENT CHARACTER}[31m)" in said
    assert "process 7: runs for" in said and ", version 0.0.9" in said
    assert "poll   1     3 h 0 min  parcels that are due to be asked about  tracker plan" in said
    assert "findings: 6 warning (tracker findings --severity warning)" in said
    assert "drift: 1 shop ahead (tracker drift --kind shop_ahead)" in said
    assert "looks: 1 parcels, 1 late; p50 3 h 0 min, p95 3 h 0 min, p99 3 h 0 min late (tracker freshness)" in said
    assert "not known of single orders and parcels: 6 (tracker drift)" in said and "and 1 more: --all" in said
    assert "fine, brake on for ups" in said and "0 of 1" in said and "not looked at yet" in said
    assert "and 1 more" not in run("status", "--all", code=1).output
    told = json.loads(run("status", "--json", "--store", "shop", code=1).output)
    assert ([row["what"] for row in told["troubles"]], "accounts" in told) == (["parcels_overdue"], False)
    lab.change(t.watches.update().values(next_poll_at=now + H))
    assert run("status", "--store", "shop").output.startswith("all runs: 1 store, as of")
    lab.change(t.watches.update().values(next_poll_at=late))

    away = run("outages", code=1)
    assert away.output.startswith(
        "easypost does not answer since 2026-11-02 12:00Z ([canary]\N{REPLACEMENT CHARACTER}[31m)"
    )
    assert "1 parcel waits" in away.output
    assert [row["whose"] for row in json.loads(run("outages", "--json", code=1).stdout)] == ["easypost"]


def test_of_many_accounts_those_that_are_not_fine_are_shown_and_troubles_are_told_together(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "FEW", 2)
    now = datetime(2026, 11, 2, tzinfo=UTC)
    rows = [
        {"store": f"s{i}", "state": "paused" if i < 4 else "fine", "why": "x", "since": now, "failures": 0}
        for i in range(9)
    ]
    columns = shown._STORES[:1]
    (table, line) = shown._table("stores", columns, rows, now, every=False)
    assert table.row_count == 2 and str(line) == "stores: 5 of 9 are fine, 2 of 4 others are shown (--all)"
    (table,) = shown._table("stores", columns, rows, now, every=True)
    assert table.row_count == 9
    trouble = {
        "what": "store_paused",
        "said": "x",
        "detail": None,
        "do": "tracker resume",
        "see": "tracker outbox",
        "since": now,
    }
    lines = list(map(str, shown._troubles([{**trouble, "where": f"s{i}"} for i in range(4)], every=False)))
    assert (
        lines[0].endswith("4 stores are paused, such as s0, s1, s2; the first: x")
        and lines[-1].strip() == "--all tells each"
    )
    feeds = [
        {"feed": feed}
        for feed in (
            None,
            {"as_of": None, "whole": False},
            {"as_of": now, "whole": True},
            {"as_of": now, "whole": False},
        )
    ]
    assert [shown._feed(row, now) for row in feeds] == [
        None,
        "not read yet",
        "whole, read 0 s ago",
        "a gap, read 0 s ago",
    ]
    budget = {"budget": {"left": 3, "calls": 5, "verdict": "it suffices"}}
    assert shown._budget(budget, now) == "3 of 5; it suffices"
    assert shown.span(-544_000.0) == "0 s"  # the database's clock was set back
    assert [shown.span(s) for s in (None, 0.0123, 9.99, 100, 3000, 20_000, 900_000)] == [
        None, "0.0123 s", "9.99 s", "100 s", "50 min", "5 h 33 min", "10 d 10 h",
    ]  # fmt: skip


def test_it_is_drawn_again_in_a_terminal_and_block_by_block_elsewhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(shown.time, "sleep", wait)
    said = CliRunner().invoke(main_.cli, ["status", "--watch"]).output
    assert said.count("all is well") == 2
    waited.clear()
    screen = io.StringIO()
    monkeypatch.setattr(shown, "out", Console(file=screen, force_terminal=True, width=120))
    CliRunner().invoke(main_.cli, ["status", "--watch"])
    assert screen.getvalue().count("all is well") == 2 and "\x1b[?1049h" in screen.getvalue()


def test_what_was_written_today_comes_first_and_how_to_stop_it_last(run: Run, lab: Lab) -> None:
    lab.change(t.outbox.update().values(ended_at=lab.clock()))
    lines = run("outbox", "--store", "shop", "--today").output.splitlines()
    assert lines[0] == "1 write went to shop since 2026-11-02 00:00Z, for 1 order: 1 fulfilment event"
    assert "#1001" in lines[3] and "in_transit" in lines[3]
    assert lines[-1] == "`tracker pause shop` stops all writes to shop within 5 seconds; it is not paused now"
    told = json.loads(run("outbox", "--today", "--json").output)
    assert (told["sent"], [row["order"] for row in told["writes"]]) == (1, ["#1001"])
    assert json.loads(run("outbox", "--since", "30m", "--json").output)["writes"][0]["says"] == "in_transit"
    assert json.loads(run("outbox", "--since", "2026-11-03T00:00Z", "--json").output)["writes"] == []
    assert "must be today, a span such as" in run("outbox", "--since", "never", code=2).output
    assert "--today goes with the list" in run("outbox", "retry", "--today", code=2).output
    lab.later(24 * 11)
    said = run("stuck").output
    assert said.startswith(
        "1 parcel is silent and watched, 0 parcels are watched by nobody; the next look is at 2026-11-13"
    )


def test_a_database_that_cannot_be_used_is_the_trouble_and_ends_with_3(run: Run, tmp_path: Path) -> None:
    (tmp_path / "db" / "broken.db").write_text("this is no database, and it is longer than a header of one " * 20)
    (tmp_path / "tracker.yaml").write_text(f"database: sqlite:///{tmp_path}/db/broken.db\n")
    said = run("status", code=3).output
    assert said.startswith("WRONG: the database cannot be used: file is not a database; do: mend the database")
    assert json.loads(run("status", "--json", code=3).output)["troubles"][0]["what"] == "database_away"


def test_a_store_that_nobody_read_yet_and_an_account_with_a_wrong_entry_look_like_neither_agreement_nor_nothing(
    lab: Lab, run: Run, tmp_path: Path
) -> None:
    next_ = f"  next: {{uses: shopify, shop: next.myshopify.com, access_token: '${{file:{tmp_path}/s}}'}}\n"
    more = lab.yaml.replace("\nstores:\n", f"\nstores:\n{next_}").replace("uses: dhl,", "uses: dhl, odd: 1,")
    (tmp_path / "tracker.yaml").write_text(more)
    said = run("drift", code=1).output
    assert said.startswith(
        "no drift among the orders that are known: 1; not known: 0, and what was not read yet of next\n  next: it stands in"
    )
    assert "no process has taken it up: nothing of it was read; it takes `tracker up`, or `tracker reload`" in said
    run("drift", "--store", "shop")
    assert run("drift", "--store", "next", "--json", code=1).stdout == "[]\n"
    assert "next stands in the configuration, and no process has taken it up" in run("status", code=1).output
    for look in ("explain", "show"):
        result = CliRunner().invoke(main_.cli, [look, "99"])
        assert (result.exit_code, "not read now: next (`tracker drift` says why)" in str(result.exception)) == (1, True)
    assert "dhl: its entry in the configuration is wrong" in run("plan", code=1).output
    assert "dhl: its entry in the configuration is wrong" in run("plan", "dhl", code=1).output


def test_a_database_of_an_older_version_is_told_to_be_migrated(lab: Lab, run: Run) -> None:
    with lab.ctx.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts DROP COLUMN restored_at")
    said = run("status", code=3).output
    assert (
        "no such column: accounts.restored_at (has `tracker migrate` or `tracker up` been run?); do: tracker migrate, or"
        in said
    )

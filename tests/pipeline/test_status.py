"""How an installation stands, as plain data: what is wrong, what waits, how long things take, who was away, what was written."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from tests.lab import DHL, UPS, USPS, H, Lab, shipped
from tracker.cli.main import cli
from tracker.domain.budget import Calls
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import away, delays, lists, roles, silent, written
from tracker.support.queues import QUEUES, Waiting
from tracker.support.status import MOST_FINDINGS, status, troubles
from tracker.support.status import away as away_of
from tracker.support.troubles import URGENCY, Trouble, in_order, together

ONE = ["sqlite"]  # where both databases say the same
A = t.accounts.c


def kinds(lab: Lab, **more: Any) -> list[str]:
    return [row["what"] for row in status(lab.ctx, **more)["troubles"]]


def find(lab: Lab, kind: FindingKind, subject: str, *, severity: Severity = Severity.WARNING, **evidence: str) -> None:
    with lab.ctx.store.write() as connection:
        finding = Finding(kind, subject, severity, Act.ACT, evidence, lab.clock() - 2 * H)
        tell.report_findings(lab.ctx, connection, [(None, finding)], lab.clock(), by="watch")


def alive(lab: Lab, *roles_: str, **more: Any) -> None:
    """Let processes be seen just now."""
    with lab.ctx.store.read() as connection:
        now = database_now(connection)
    rows = [
        {"name": f"{role}{i}", "role": role, "host": "h", "pid": i, "started_at": now, "seen_at": now, **more}
        for i, role in enumerate(roles_)
    ]
    lab.change(t.processes.insert().values(rows))


def test_what_is_wrong_is_sorted_by_what_comes_first_and_each_has_an_act_and_a_list(make_lab) -> None:
    lab = shipped(make_lab)
    alive(lab, "scheduler,web,worker", told={"taken": False, "said": "canary: wrong"}, version="0.0.9")
    find(lab, FindingKind.WEBHOOKS_SILENT, "account/ups", account="ups")
    find(lab, FindingKind.FEED_GAP, "account/dhl/feed", account="dhl", why="canary")
    find(lab, FindingKind.FILE_FAILED, "file/dhl/x.csv", file="x.csv")
    find(lab, FindingKind.CANCELLED_BUT_MOVING, "shop/#1`", severity=Severity.URGENT, order="#1")
    find(lab, FindingKind.ENTRY_WRONG, "account/old", severity=Severity.URGENT)
    late = lab.clock() - 2 * H
    lab.change(t.orders.update().values(reconcile_at=late))
    lab.change(
        t.accounts.update()
        .where(A.name == "easypost")
        .values(failing_since=late, failing_why="canary", rests_until=lab.clock() + H)
    )
    lab.change(t.watches.update().values(next_poll_at=late))

    told = status(lab.ctx)
    assert [row["what"] for row in told["troubles"]] == [
        "config_kept", "entry_wrong", "urgent", "away", "feed_gap", "file_failed", "orders_wait", "webhooks_silent",
    ]  # fmt: skip
    assert told["said"].startswith(
        "WRONG, 8 things; first: a process (scheduler,web,worker) goes on by its old configuration; do: mend it"
    )
    by = {row["what"]: row for row in told["troubles"]}
    assert by["config_kept"]["detail"] == "scheduler,web,worker at h, process 0: canary: wrong"
    assert (
        by["urgent"]["said"]
        == "1 urgent finding is open since 2026-11-02 08:00Z: shop/#1 : The order is cancelled and a parcel of it is in custody"
    )
    assert by["feed_gap"]["where"] == "dhl" and "canary" in by["feed_gap"]["detail"]
    assert by["away"]["said"] == "easypost does not answer since 2026-11-02 06:00Z; asked again 09:00Z"
    assert all("canary" not in row["said"] + row["do"] for row in told["troubles"])
    assert all(row["do"] and row["see"].startswith("tracker ") for row in told["troubles"])
    assert troubles(lab.ctx) == told["troubles"]

    queues = {row["queue"]: row for row in told["queues"]}
    assert set(queues) == set(QUEUES)
    assert (queues["decide"]["count"], queues["decide"]["oldest_seconds"]) == (1, 7200.0)
    assert (queues["poll"]["count"], queues["poll"]["oldest"]) == (1, late)
    assert [(row["account"], row["state"], row["due"]) for row in told["accounts"]] == [
        ("dhl", "fine", 0), ("easypost", "away", 1), ("ups", "fine", 0),
    ]  # fmt: skip
    assert [(row["severity"], row["open"]) for row in told["findings"]] == [("urgent", 2), ("warning", 3), ("info", 0)]
    assert told["lateness"]["late"] == 1 and told["lateness"]["p99_seconds"] == 7200.0
    assert told["build"]["schema"] == told["build"]["newest"] and told["processes"][0]["version"] == "0.0.9"

    lab.change(t.findings.update().values(snoozed_until=lab.clock() + H))  # a person knows
    assert kinds(lab) == ["config_kept", "away", "orders_wait"]
    assert kinds(lab, store="shop") == ["orders_wait", "parcels_overdue"]


@pytest.mark.parametrize("database", ONE, indirect=True)
def test_an_older_schema_a_missing_role_and_a_brake_are_told_and_a_store_that_is_read_first_is_fine(make_lab) -> None:
    lab = make_lab(yaml="")
    assert [row["state"] for row in status(lab.ctx)["stores"]] == ["first_sync"]
    lab.work()
    lab.ctx.config.root.__dict__["broker"] = "redis://h/0"  # roles of their own need PostgreSQL too
    assert roles.missing(lab.ctx.config, []) == ["up"]
    lab.ctx.config.root.__dict__["database"] = "postgresql://h/x"
    alive(lab, "web", "worker")
    lab.change(t.processes.update().where(t.processes.c.role == "worker").values(seen_at=lab.clock() - H))
    with lab.ctx.store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0010'")
    on = {"since": lab.clock().isoformat(), "stood": [], "parcels": []}
    lab.change(t.accounts.update().where(A.name == "ups").values(brakes={"ups": on, "usps": on}))
    told = status(lab.ctx)
    assert [(row["what"], row["where"]) for row in told["troubles"]] == [
        ("schema_older", "database"), ("role_away", "scheduler"), ("role_away", "worker"), ("brake", "ups"), ("brake", "ups"),
    ]  # fmt: skip
    assert told["troubles"][1]["said"] == "no scheduler runs"
    assert told["troubles"][2]["said"].startswith("no worker runs; last seen 2026-11-02 07:00Z")


def test_a_limited_reader_sees_its_stores_and_nothing_of_others_or_of_the_configuration(make_lab) -> None:
    lab = shipped(make_lab, rest="{preset: kingston-courier}")
    for name, reason in (
        ("ups", "401: canary"),
        ("kart", "its entry is wrong: canary.yaml:3:1"),
        ("shop", "401: canary"),
    ):
        lab.change(t.accounts.update().where(A.name == name).values(suspended_reason=reason))
    find(lab, FindingKind.WEBHOOKS_SILENT, "account/ups", account="canary")
    told = status(lab.ctx, store=frozenset({"kart"}))

    assert [row["store"] for row in told["stores"]] == ["kart"]
    assert not {"accounts", "processes", "build", "missing"} & set(told)
    assert [(row["what"], row["where"]) for row in told["troubles"]] == [("entry_wrong", "kart")]
    assert "canary" not in str(told) and "ups" not in str(told) and "'shop'" not in str(told)
    assert {row["queue"] for row in told["queues"]} == {
        "notices", "sweeps", "decide", "push", "push held", "push refused", "push dead",
    }  # fmt: skip
    lab.change(t.accounts.update().where(A.name == "kart").values(suspended_reason=None))
    well = status(lab.ctx, store=frozenset({"kart"}))
    assert (well["well"], well["said"]) == (True, "all is well: 1 store, as of 2026-11-02 08:00Z")


@pytest.mark.parametrize("database", ONE, indirect=True)
def test_a_store_that_is_gone_is_no_trouble_and_what_its_account_holds_is_told(make_lab) -> None:
    lab = shipped(make_lab)
    now, row = lab.clock(), lab.one(t.accounts, A.name == "ups")._mapping
    old = {**row, "name": "old", "kind": "store", "next_sweep_at": None, "swept_at": None}
    lab.change(t.accounts.insert().values([old, {**old, "name": "older", "kind": "carrier"}]))
    hooks = {"hooks": [{"topic": "a", "state": "there"}, {"topic": "b", "state": "wrong"}]}
    lab.change(
        t.accounts.update()
        .where(A.name == "shop")
        .values(hooks=hooks, hooks_due_at=now, hooks_checked_at=now, writes_left=990, writes_reset_at=now + 9000 * H)
    )
    lab.change(t.tokens.insert().values(account="ups", ends_at=now + H))
    told = status(lab.ctx)

    assert [row["store"] for row in told["stores"]] == ["shop"]
    assert "old" not in {row["where"] for row in told["troubles"]}
    assert any(note["where"] == "old" for note in told["notes"]) is False  # without orders nothing of it is unknown
    (shop,) = told["stores"]
    assert (shop["hooks"]["there"], shop["hooks"]["wanted"], shop["writes_hour"]) == (1, 2, {"done": 10, "of": 1000})
    assert {row["account"]: row["token_until"] for row in told["accounts"]}["ups"] == now + H


@pytest.mark.parametrize("database", ONE, indirect=True)
def test_what_a_row_of_an_account_or_store_tells_is_wrong_by_itself(make_lab, tmp_path: Path) -> None:
    spender = '  spender: {uses: easypost, api_key: "${file:FOLDER/s}", webhook_secrets: "${file:FOLDER/hook}", budget: {calls: 2, per: 1h}}\n'
    lab = make_lab(accounts=spender.replace("FOLDER", str(tmp_path)))
    lab.work()
    alive(lab, "scheduler,web,worker")
    now = lab.clock()
    spent = Calls(2, H, None, now).take()
    spent[0][1] = 2
    find(lab, FindingKind.BUDGET_TOO_SMALL, "account/spender", seen_every="8 h", wanted_every="2 h")
    lab.change(t.findings.update().values(snoozed_until=now + H))
    assert kinds(lab) == []
    for name, values, what in (
        ("ups", {"suspended_reason": "401: canary"}, "suspended"),
        ("shop", {"suspended_reason": "its entry is wrong: x"}, "entry_wrong"),
        ("ups", {"paused_at": now}, "account_paused"),
        ("shop", {"paused_at": now}, "store_paused"),
        ("shop", {"next_sweep_at": now - H}, "sweep_late"),
        ("shop", {"blocked_until": now + 9000 * H}, None),
        ("spender", {"spent": spent}, "budget_spent"),
        ("ups", {"paused_at": now, "kind": "carrier"}, "account_paused"),
    ):
        before = lab.one(t.accounts, A.name == name)._mapping
        lab.change(t.accounts.update().where(A.name == name).values(**values))
        assert kinds(lab) == ([what] if what else []), what
        if what == "budget_spent":
            (budget,) = (row["budget"] for row in status(lab.ctx)["accounts"] if row["account"] == name)
            assert (budget["left"], budget["calls"], budget["verdict"]) == (
                0,
                2,
                "too small: parcels are seen every 8 h instead of 2 h",
            )
        lab.change(t.accounts.update().where(A.name == name).values(**{key: before[key] for key in values}))
    lab.order("#1001")
    lab.work()
    lab.change(
        t.outbox.insert().values(
            key="h",
            kind="order_status",
            store="shop",
            order_id=1,
            action={},
            state="held",
            held_by="ups/ups",
            due_at=now,
            rules=[],
            created_at=now,
        )
    )
    on = {"ups": {"since": now.isoformat(), "stood": [], "parcels": []}}
    lab.change(t.accounts.update().where(A.name == "ups").values(brakes=on))
    assert status(lab.ctx, store="shop")["said"].startswith(
        "WRONG: 1 write held by a brake since 2026-11-02 08:00Z; do: look at its parcels"
    )
    never = status(lab.ctx, store="never")  # in the file, and the processes still have the one before
    assert never["said"].startswith("WRONG: never stands in the configuration, and no process has taken it up; do: ")
    assert away_of("x")["troubles"][0]["see"] == "tracker check"
    assert away_of("no such table: x (has `tracker migrate` been run?)")["said"].endswith(
        "do: tracker migrate, or the right address in `database:`"
    )


@pytest.mark.parametrize("database", ONE, indirect=True)
def test_what_others_have_uses_up_no_count_and_each_that_no_process_took_up_is_named(make_lab) -> None:
    lab = shipped(make_lab)
    one = {"kind": "order_status", "order_id": 1, "action": {}, "state": "dead", "due_at": lab.clock(), "rules": []}
    for key, store in (("d1", "gone"), ("d2", "shop")):
        lab.change(t.outbox.insert().values(key=key, store=store, created_at=lab.clock(), **one))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracker.support.standing.COUNTED_TO", 1)
        assert status(lab.ctx, store="shop")["stores"][0]["dead"] == 1
    lab.change(t.accounts.delete().where(A.name.in_(["dhl", "shop"])))
    for store, new in ((None, ["dhl", "shop"]), (frozenset({"kart", "shop"}), ["shop"])):
        rows = status(lab.ctx, store=store)["troubles"]
        assert [row["where"] for row in rows if row["what"] == "not_taken"] == new


def test_every_command_that_is_named_beside_a_number_is_one() -> None:
    named = [see for _, see in QUEUES.values()] + [see for *_, see in URGENCY.values()]
    for words in (shlex.split(see.format(where="x"))[1:] for see in named):
        context = click.Context(cli)
        command: click.Command = cli
        while isinstance(command, click.Group) and words:
            name, found, words = command.resolve_command(context, words)
            assert found is not None, name
            command = found
        command.make_context("x", words)


def test_many_of_a_kind_are_told_together_and_every_kind_has_its_words() -> None:
    alike = in_order(Trouble("away", f"s{i}", f"s{i} is away") for i in range(9))
    rows = together([one.row() for one in [*alike, Trouble("role_away", "up", "no process runs")]])
    assert [row["many"] for row in rows] == [9, 1]
    assert rows[0]["said"].startswith("9 accounts and stores do not answer, such as s0, s1, s2; the first: s0 is away")
    for what, (_, act, see) in URGENCY.items():
        assert act and see.startswith("tracker "), what
    assert len(URGENCY) < MOST_FINDINGS


# how long things take


def test_delays_are_those_of_the_newest_and_lateness_is_of_all_open_parcels(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.ups, UPS, "I", "005")
    lab.order("#2", UPS, DHL, company="UPS")
    lab.work()
    now = lab.clock()
    payload = {
        "account": "easypost",
        "kind": "webhook",
        "headers": {},
        "size": 1,
        "state": "done",
        "attempts": 1,
        "due_at": now,
    }
    lab.change(t.inbox.update().values(kind="poll"))
    lab.change(
        t.inbox.insert().values(
            [{**payload, "received_at": now, "ended_at": now + timedelta(seconds=i)} for i in range(100)]
        )
    )
    write = {
        "kind": "order_status", "store": "shop", "order_id": 1, "state": "sent", "due_at": now, "rules": [], "created_at": now,
        "ended_at": now + timedelta(seconds=30),
    }  # fmt: skip
    lab.change(t.outbox.insert().values([
        {**write, "key": "a", "action": {"happened_at": (now - H).isoformat()}}, {**write, "key": "b", "action": {}},
    ]))  # fmt: skip
    lab.change(t.watches.update().values(next_poll_at=now + H, overdue_since=None))
    first = min(row.id for row in lab.rows(t.watches))
    lab.change(t.watches.update().where(t.watches.c.id == first).values(overdue_since=now - 3 * H))
    with lab.ctx.store.read() as connection:
        applied, decided, scanned = delays.delays(lab.ctx, connection)
        only = delays.delays(lab.ctx, connection, "shop")
        late = delays.lateness(lab.ctx, connection)
        waiting = Waiting(lab.ctx, connection, "shop")

    assert (applied["p50_seconds"], applied["p95_seconds"], applied["p99_seconds"]) == (49, 94, 98)
    assert decided["p50_seconds"] == 30 and decided["of"] == 2
    assert (scanned["of"], scanned["p99_seconds"]) == (1, 3630)
    assert [way["way"] for way in only] == ["decision to write", "scan to write"]
    assert (late[None]["late"], late[None]["p50_seconds"], late[None]["p99_seconds"]) == (1, 0.0, 10800.0)
    assert {name for name, one in late.items() if one["late"]} == {None, "easypost"}
    assert set(waiting.names) == set(waiting.of) < set(QUEUES)
    (fresh,) = (row for row in lists.freshness(lab.ctx) if row["account"] == "easypost")
    assert (fresh["late"], fresh["p99_seconds"]) == (1, 10800.0)


# who is away


def test_a_carrier_that_was_away_is_told_with_what_waited_and_what_was_caught_up(make_lab) -> None:
    lab = shipped(make_lab)
    assert away.outages(lab.ctx) == []
    since = lab.clock()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.clock.move_to(since + 3 * H)
    values = {"failing_since": since, "failing_why": "503", "rests_until": lab.clock() + H}
    lab.change(t.accounts.update().where(A.name == "easypost").values(**values))
    (row,) = away.outages(lab.ctx)  # before its finding is there
    assert (row["id"], row["whose"], row["state"], row["from"], row["until"]) == (None, "easypost", "away", since, None)
    find(lab, FindingKind.SOURCE_UNAVAILABLE, "account/easypost", account="easypost", why="503")
    lab.change(t.findings.update().values(since=since))
    lab.change(t.watches.update().values(next_poll_at=lab.clock() - H))
    (row,) = away.outages(lab.ctx)
    assert (row["why"], row["waits"]["parcels"]) == ("503", 1)
    assert row["said"] == "easypost does not answer since 2026-11-02 08:00Z (503); 1 parcel waits"
    assert away.in_short([row], lab.clock()) == row["said"]

    lab.change(t.accounts.update().where(A.name == "easypost").values(failing_since=None, rests_until=None))
    lab.change(t.findings.update().values(closed_at=lab.clock(), closed_by="account"))
    write = {
        "kind": "order_status",
        "store": "shop",
        "order_id": 1,
        "state": "sent",
        "due_at": since,
        "rules": [],
        "action": {},
    }
    lab.change(t.outbox.insert().values(key="w", created_at=since + H, ended_at=lab.clock() + H / 2, **write))
    lab.work()
    (row,) = away.outages(lab.ctx)
    assert (row["state"], row["recovered"], row["written"]) == ("back", 1, 0)
    assert row["said"].endswith(
        "from 2026-11-02 08:00Z to 2026-11-02 11:00Z (503); 1 scan of that time was told after it"
    )
    assert away.in_short([row], lab.clock()).startswith("nobody is away now; the last: easypost did not answer from")
    lab.change(t.findings.update().values(subject="account/shop"))
    assert away.outages(lab.ctx)[0]["said"].endswith("and 1 write that waited was sent")
    lab.change(t.findings.update().values(closed_by="person: ann"))
    assert away.outages(lab.ctx)[0]["state"] == "dismissed"
    lab.clock.move_to(lab.clock() + 9 * 24 * H)
    lab.change(t.findings.update().values(closed_by="account"))
    assert away.outages(lab.ctx)[0]["recovered"] is None
    many = [{**row, "until": None, "from": lab.clock() - i * 24 * H} for i in range(7)]
    assert away.in_short(many, lab.clock()).endswith("(account, 4 d) and 2 more")
    assert "(account, 0 min)" in away.in_short(many, lab.clock())


def test_the_index_of_who_was_away_holds_all_kinds_that_say_so() -> None:
    assert set(re.findall(r"'(\w+)'", t.AWAY)) == {str(kind) for kind in (FindingKind.OUTAGE, *away.KINDS)}


# who is silent, and whom nobody watches


def test_silent_parcels_tell_who_looks_next_and_those_that_nobody_watches_are_listed(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS", store="mode: write, accounts: [ups]")
    lab.scan(lab.ups, UPS, "I", "005")
    lab.later(12)
    lab.order("#1002", USPS)
    lab.order("#1003", "A1B2C3D4E5", company="Nobody's Van")
    lab.work()
    lab.later(24 * 12)
    rows = silent.stuck(lab.ctx)
    stuck, *nobodys = rows
    now, looks = lab.clock(), {row.next_poll_at for row in lab.rows(t.watches, t.watches.c.account == "ups")}

    assert (stuck["why"], stuck["order"], stuck["watched_by"]) == ("stuck", "#1001", "ups")
    assert stuck["next_look"] in looks and "every" in stuck["look_why"]
    assert {(row["why"], row["watched_by"], row["next_look"]) for row in nobodys} == {(silent.NOBODY, None, None)}
    assert {row["parcel"] for row in nobodys} == {f"usps {USPS}", "Nobody's Van A1B2C3D4E5"}
    said = silent.in_short(rows, now)
    assert said.startswith(
        "1 parcel is silent and watched, 2 parcels are watched by nobody; the next look is at 2026-11-1"
    )
    assert silent.in_short(rows, now + 90 * 24 * H).endswith(f"is due now, by ups at ups {UPS}")
    assert silent.in_short(nobodys, now).endswith("2 parcels are watched by nobody; no look is to come")
    assert silent.stuck(lab.ctx, after=stuck["id"]) == []
    assert [row["order"] for row in silent.stuck(lab.ctx, carrier="usps")] == ["#1002"]
    assert silent.stuck(lab.ctx, store=frozenset({"kart"})) == []

    mine = A.name == "ups"
    lab.change(t.accounts.update().where(mine).values(suspended_reason="its entry is wrong: canary"))
    assert "canary" in silent.stuck(lab.ctx)[0]["held"]
    assert silent.stuck(lab.ctx, store=frozenset({"shop"}))[0]["held"] == "its account is suspended"
    assert ", but suspended: its entry is wrong: canary" in silent.in_short(silent.stuck(lab.ctx), now)
    lab.change(t.watches.update().values(next_poll_at=None))
    assert "1 parcel is looked at no more" in silent.in_short(silent.stuck(lab.ctx), now)
    lab.change(t.watches.update().values(chosen=None))
    assert silent.stuck(lab.ctx)[0]["look_why"] == "nobody asks about it"


# what was written


def test_what_was_written_today_is_told_with_how_to_stop_it(make_lab) -> None:
    lab = shipped(make_lab, rest="{preset: kingston-courier, calendar: {zone: America/Jamaica}}")
    day = written.midnight(lab.ctx, None)
    assert written.midnight(lab.ctx, "kart") == day + 5 * H
    write = {
        "kind": "order_status",
        "store": "shop",
        "order_id": 1,
        "due_at": day,
        "rules": [],
        "created_at": day - 48 * H,
        "action": {},
    }
    states = {"sent": day + H, "refused": day + H, "dead": day + H, "pending": None, "held": None}
    rows = [{**write, "key": state, "state": state, "ended_at": at} for state, at in states.items()]
    lab.change(t.outbox.insert().values([*rows, {**write, "key": "old", "state": "sent", "ended_at": day - H}]))

    told = written.written(lab.ctx, "shop", day)
    assert told["said"] == (
        "1 write went to shop since 2026-11-02 00:00Z, for 1 order: 1 order status; 1 refused, 1 given up, 1 waiting, 1 held by a brake"
    )
    assert told["stop"] == (
        "`tracker pause shop` stops all writes to shop within 5 seconds; it is not paused now; "
        "what a brake holds is not written before `tracker resume ACCOUNT` (`tracker status`)"
    )
    assert {row["state"] for row in lists.list_outbox(lab.ctx, since=day)} == set(states)
    assert len(lists.list_outbox(lab.ctx, since=day)) == 5
    assert written.written(lab.ctx, None, day)["stop"].endswith("none is paused now")
    lab.change(t.accounts.update().where(A.name == "shop").values(paused_at=day))
    assert written.written(lab.ctx, "shop", day)["stop"].endswith("nothing is written; `tracker resume shop` goes on")
    assert written.written(lab.ctx, None, day)["stop"].endswith("paused now: shop")
    lab.change(t.accounts.update().where(A.name == "kart").values(mode="observe"))
    told = written.written(lab.ctx, "kart", day)
    assert (told["said"], told["stop"]) == (
        "nothing was written to kart since 2026-11-02 00:00Z",
        "kart is in mode observe: nothing is written to it",
    )
    assert written.written(lab.ctx, "new", day)["stop"].startswith("new was never started with")
    lab.change(t.accounts.update().where(A.name == "shop").values(paused_at=None, failing_since=day))
    assert written.written(lab.ctx, "shop", day)["stop"].endswith("and does not answer since 2026-11-02 00:00Z")
    lab.change(t.accounts.update().where(A.name == "shop").values(suspended_reason="401"))
    assert "shop is suspended (`tracker check` says why)" in written.written(lab.ctx, "shop", day)["stop"]
    lab.change(t.accounts.update().where(A.name == "shop").values(failing_since=None, suspended_reason=None))
    lab.change(t.outbox.delete().where(t.outbox.c.state == "held"))
    assert written.written(lab.ctx, "shop", day)["stop"].endswith("it is not paused now")


def test_findings_come_by_urgency_page_after_page_and_each_says_what_heals_it(make_lab) -> None:
    lab = make_lab()
    with lab.ctx.store.write() as connection:
        for i, severity in enumerate((Severity.WARNING, Severity.URGENT, Severity.INFO, Severity.URGENT)):
            one = Finding(
                FindingKind.ACCOUNT_PARKED if i else FindingKind.BUDGET_TOO_SMALL,
                f"account/a{i}",
                severity,
                Act.ACT,
                {},
            )
            tell.report_findings(lab.ctx, connection, [(None, one)], lab.clock(), by="account")

    def pages(limit: int) -> list[str]:
        found: list[Any] = []
        while rows := lists.list_findings(
            lab.ctx, after=found[-1]["id"] if found else None, limit=limit, urgent_first=True
        ):
            found += rows
        return [row["subject"][-2:] for row in found]

    assert pages(1) == pages(3) == pages(9) == ["a3", "a1", "a0", "a2"]
    assert [row["id"] for row in lists.list_findings(lab.ctx, after=99, urgent_first=True)][:1] == [4]
    rows = lists.list_findings(lab.ctx, urgent_first=True)
    assert lists.findings_in_short(rows, lab.clock()).startswith(
        "4 findings here (2 urgent, 1 warning, 1 info). First: a3: Our credentials"
    )
    assert "tracker reload" in lists.next_step(rows[0])
    assert lists.next_step(rows[2]) == "deploy/RUNBOOK.md tells what to do: budget_too_small"

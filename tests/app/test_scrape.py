"""What /metrics says: every gauge against rows that are known, bounded at any size, and clean by Prometheus's own linter."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.lab import DHL, START, UPS, USPS, H, Lab, shipped
from tracker.app.client import OPERATIONS, RESULTS, AccountClient
from tracker.app.presence import Presence
from tracker.app.scrape import Names, Scrape
from tracker.app.telemetry import COUNTERS, GAUGES, HISTOGRAMS, Metrics
from tracker.domain.errors import BudgetSpent, NotFound, Refused, SourceError
from tracker.pipeline.places import GaveWay
from tracker.plugin.calls import Request
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import measures
from tracker.support.measures import MOST_NAMED, measure

Make = Callable[..., Lab]
AGED = ("inbox", "decide", "poll", "register", "notices", "sweeps", "push", "mail")
BODY = b'{"id":"evt","object":"Event","description":"tracker.updated","result":{"id":"trk"}}'


def values(lab: Lab) -> dict[str, float]:
    """Return the gauges of the installation, by name and sorted labels."""
    found = measure(lab.ctx)
    return {f"{one.name}{sorted(one.labels.items())}": one.value for one in found}


def of(seen: dict[str, float], name: str, **labels: str) -> float | None:
    return seen.get(f"{name}{sorted(labels.items())}")


def test_each_queue_tells_for_how_long_its_oldest_row_is_due_and_nothing_of_what_stands_still(make_lab: Make) -> None:
    lab = shipped(make_lab)
    now = lab.ctx.now()
    with lab.daemon.store.read() as connection:
        database = database_now(connection)
    assert {of(values(lab), "tracker_queue_age_seconds", queue=queue) for queue in AGED} == {0}

    lab.post_raw("easypost", BODY)
    lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=database - H))
    lab.change(t.orders.update().values(reconcile_at=now - 2 * H))
    lab.change(t.watches.update().values(next_poll_at=now - 3 * H, overdue_since=now - 4 * H, register_at=now - 5 * H))
    notice = {"account": "shop", "ref": "1", "noticed_at": database, "due_at": database - 6 * H, "attempts": 0}
    lab.change(t.change_notices.insert().values(notice))
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(next_sweep_at=now - 7 * H))
    write = {
        "key": "k", "kind": "order_note", "store": "shop", "order_id": 1, "action": {}, "attempts": 0, "crashes": 0,
        "state": "pending", "due_at": database - 8 * H, "rules": [], "created_at": now,
    }  # fmt: skip
    lab.change(t.outbox.insert().values(write))
    mail = {name: value for name, value in write.items() if name not in ("kind", "rules")}
    lab.change(t.mails.insert().values({**mail, "due_at": database - 9 * H}))

    seen = values(lab)
    ages = {queue: round((of(seen, "tracker_queue_age_seconds", queue=queue) or 0) / 3600) for queue in AGED}
    assert ages == {"inbox": 1, "decide": 2, "poll": 3, "register": 5, "notices": 6, "sweeps": 7, "push": 8, "mail": 9}
    assert of(seen, "tracker_look_lag_seconds", account="easypost") == 4 * 3600
    assert of(seen, "tracker_overdue_parcels", account="easypost") == 1

    # who is out of service keeps nobody's queue old: its state tells it, and for how long
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=now - H))
    lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(suspended_reason="HTTP 401"))
    seen = values(lab)
    late = {queue for queue in AGED if of(seen, "tracker_queue_age_seconds", queue=queue)}
    assert late == {"inbox", "decide"}
    assert of(seen, "tracker_accounts", kind="store", state="paused") == 1
    assert of(seen, "tracker_accounts", kind="carrier", state="suspended") == 1
    assert of(seen, "tracker_account_away_seconds", account="shop", kind="store", state="paused") == 3600
    assert of(seen, "tracker_look_lag_seconds", account="easypost") is None


def test_accounts_findings_roles_brakes_tokens_and_budgets_are_told_as_their_rows_say(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "k" * 20)
    entry = "{uses: easypost, api_key: '${env:A_KEY}', webhook_secrets: '${env:A_KEY}', budget: {calls: 10, per: 1h}}"
    lab = make_lab(accounts=f"  budgeted: {entry}\n")
    lab.work()
    now, a = lab.ctx.now(), t.accounts
    lab.change(
        a.update().where(a.c.name == "ups").values(failing_since=now - H, rests_until=now + H, failing_why="HTTP 503")
    )
    lab.change(
        a.update()
        .where(a.c.name == "dhl")
        .values(failing_since=now - 2 * H, quota_left=3, brakes={"dhl": {"since": "x"}})
    )
    lab.change(a.update().where(a.c.name == "budgeted").values(spent=[[int(now.timestamp()) * 1000, 4, 0]]))
    lab.change(a.update().where(a.c.name == "easypost").values(suspended_reason="HTTP 401"))
    finding = {
        "subject": "account/easypost", "kind": "account_parked", "severity": "urgent", "act": "act", "evidence": {},
        "evidence_hash": "", "opened_by": "x", "opened_at": now - 3 * H, "digest": False,
    }  # fmt: skip
    beside: list[dict[str, Any]] = [
        {"subject": "snoozed", "snoozed_until": now + H}, {"subject": "digest", "digest": True},
        {"subject": "closed", "closed_at": now}, {"subject": "over", "snoozed_until": now - H, "severity": "warning"},
    ]  # fmt: skip
    for more in ({}, *beside):
        lab.change(t.findings.insert().values({**finding, "kind": "stuck" if more else "account_parked", **more}))
    lab.change(t.tokens.insert().values(account="ups", value="sealed", ends_at=now + H, attempts=1))
    lab.change(t.tokens.insert().values(account="gone", value="sealed", ends_at=now + H, attempts=1))
    lab.change(t.heartbeats.insert().values(name="scheduler", at=now))
    lab.change(
        a.insert().values(name="removed", kind="carrier", attempts=0, suspended_reason="HTTP 401")
    )  # of no entry any more

    seen = values(lab)
    states = {state: of(seen, "tracker_accounts", kind="carrier", state=state) for state in measures.STATES}
    assert states == {"fine": 1, "first_sync": 0, "away": 2, "paused": 0, "suspended": 1}
    assert of(seen, "tracker_account_away_seconds", account="easypost", kind="carrier", state="suspended") == 3 * 3600
    assert of(seen, "tracker_account_away_seconds", account="ups", kind="carrier", state="away") == 3600
    assert of(seen, "tracker_account_away_seconds", account="dhl", kind="carrier", state="away") == 2 * 3600
    assert of(seen, "tracker_quota_left", account="dhl") == 3
    assert of(seen, "tracker_brake_on", account="dhl", carrier="dhl") == 1
    assert of(seen, "tracker_budget_limit", account="budgeted") == 10
    assert of(seen, "tracker_budget_left", account="budgeted") == 6
    assert of(seen, "tracker_findings_open", kind="account_parked", severity="urgent") == 1
    assert of(seen, "tracker_findings_open", kind="stuck", severity="warning") == 1
    assert of(seen, "tracker_findings_open", kind="stuck", severity="urgent") is None
    assert of(seen, "tracker_token_expiry_timestamp_seconds", account="ups") == (now + H).timestamp()
    assert of(seen, "tracker_token_expiry_timestamp_seconds", account="gone") is None
    assert of(seen, "tracker_heartbeat_timestamp_seconds", work="scheduler") == now.timestamp()
    assert not any("removed" in key for key in seen)


def test_a_role_counts_as_there_while_its_processes_were_seen_of_late(make_lab: Make) -> None:
    lab = make_lab()
    for roles in (("worker",), ("worker",), ("web", "scheduler")):
        Presence(lab.daemon.store, roles).look()
    seen = values(lab)
    assert [of(seen, "tracker_processes", role=role) for role in ("web", "worker", "scheduler")] == [1, 2, 1]
    lab.change(t.processes.update().values(seen_at=START - H))
    assert of(values(lab), "tracker_processes", role="web") == 0


def test_a_scrape_is_clean_by_promtool_holds_no_name_of_a_person_and_tells_how_long_things_took(
    make_lab: Make, tmp_path: Path
) -> None:
    lab = shipped(make_lab, USPS)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", city="CANARYTOWN")
    lab.later(7)
    lab.order("#1002", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "DP")
    lab.later(1)
    text = lab.daemon.metrics.render(lab.daemon.gauges()).decode()

    assert re.search(r'tracker_write_delay_seconds_count\{store="shop"\} [1-9]', text)
    assert re.search(r'tracker_call_seconds_count\{account="easypost",operation="poll"\} [1-9]', text)
    assert 'tracker_calls_total{account="easypost",operation="register",result="ok"}' in text
    assert re.search(r'tracker_look_late_seconds_count\{account="easypost"\} [1-9]', text)
    assert 'tracker_build_info{role="scheduler,web,worker"' in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text
    for hidden in (USPS, UPS, "#100", "CANARY", DHL):
        assert hidden not in text
    told = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE tracker_")}
    assert told <= {*COUNTERS, *HISTOGRAMS, *GAUGES}
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian's package prometheus; `make tools`)")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_webhook_counts_until_its_status_is_applied_and_a_replay_does_not(make_lab: Make) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.clock.move_to(lab.clock() + timedelta(seconds=3))
    lab.work("ingest")
    line = re.compile(r'tracker_webhook_applied_seconds_(count|sum)\{account="(\w+)"\} ([\d.]+)')
    first = line.findall(lab.daemon.metrics.render().decode())
    assert sorted(first) == [("count", "easypost", "1.0"), ("sum", "easypost", "3.0")]  # the shop's tell no status
    lab.change(t.inbox.update().where(t.inbox.c.kind == "webhook").values(state="pending"))
    lab.work("ingest")
    assert line.findall(lab.daemon.metrics.render().decode()) == first


def test_with_many_stores_the_worst_are_named_and_all_are_counted(make_lab: Make) -> None:
    lab = make_lab()
    many = [f"s{number:04}" for number in range(MOST_NAMED + 50)]
    entry = lab.ctx.config.accounts["shop"]

    class Crowd(dict[str, Any]):
        def is_store(self, name: str) -> bool:
            return name not in ("ups", "dhl", "easypost")

    from dataclasses import replace

    accounts = Crowd(
        {
            **{name: lab.ctx.config.accounts[name] for name in ("ups", "dhl", "easypost", "shop")},
            **dict.fromkeys(many, entry),
        }
    )
    lab.ctx.config = replace(lab.ctx.config, accounts=accounts)
    now = lab.ctx.now()
    rows = [
        {"name": name, "kind": "store", "attempts": 0, "swept_at": now - number * H, "paused_at": now - number * H}
        for number, name in enumerate(many)
    ]
    lab.change(t.accounts.insert().values(rows))
    seen = values(lab)
    away = [key for key in seen if key.startswith("tracker_account_away_seconds")]
    swept = [key for key in seen if key.startswith("tracker_last_sweep_timestamp_seconds")]
    assert (len(away), len(swept)) == (MOST_NAMED, MOST_NAMED)
    assert of(seen, "tracker_accounts", kind="store", state="paused") == len(many)
    assert not any("s0000" in key for key in away + swept) and any(many[-1] in key for key in away)
    names = Names(lambda: lab.ctx)
    assert (names("s0001"), names("ups")) == ("other", "ups")
    metrics = Metrics(names)
    metrics.called("s0001", "read", "ok", 0.1)
    metrics.called("s0002", "read", "ok", -1)  # a clock that went back is no duration
    text = metrics.render().decode()
    assert 'tracker_calls_total{account="other",operation="read",result="ok"} 2.0' in text
    assert 'tracker_call_seconds_count{account="other",operation="read"} 2.0' in text
    assert "s0001" not in text


@pytest.mark.parametrize(
    ("error", "result"),
    [(NotFound("x"), "not_found"), (Refused("x"), "refused"), (GaveWay("x"), "gave_way"), (SourceError("x"), "other")],
)
def test_a_call_is_counted_by_what_came_of_it(
    error: SourceError, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, str]] = []
    client = AccountClient.__new__(AccountClient)
    account = type("A", (), {"name": "ups"})()
    vars(client).update(_account=account, _called=lambda *one: told.append(one[:3]))
    monkeypatch.setattr(AccountClient, "_may_call", lambda self, url: ("https://x", "x"))

    def raising(*_: object) -> None:
        raise error

    monkeypatch.setattr(AccountClient, "_answered", raising)
    with pytest.raises(SourceError):
        client.send(Request("GET", "https://x"))
    assert told == [("ups", "other", result)]
    told.clear()
    error = BudgetSpent("x", H)  # nobody was called
    with pytest.raises(BudgetSpent):
        client.send(Request("GET", "https://x"))
    assert told == []
    assert {"other", "token", "poll"} <= set(OPERATIONS) and "budget_spent" in RESULTS.values()


def test_what_a_scrape_reads_is_found_by_an_index_however_much_there_is(make_lab: Make) -> None:
    """No large table is read from end to end: by the plan of each statement."""
    lab = shipped(make_lab)
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, _many: bool) -> None:
        seen.append((statement, parameters))

    engine = lab.daemon.store.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    measure(lab.ctx)
    sa.event.remove(engine, "before_cursor_execute", note)
    large = {"inbox", "orders", "watches", "outbox", "findings", "change_notices", "scans", "shipments"}
    with engine.connect() as connection:
        if not lab.daemon.store.sqlite:
            connection.execute(sa.text("SET enable_seqscan = off"))
        for statement, parameters in seen:
            if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
                continue
            if lab.daemon.store.sqlite:
                plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
                whole = [line for line in plan if re.fullmatch(rf"SCAN ({'|'.join(large - {'change_notices'})})", line)]
            else:
                plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)]
                whole = [line for line in plan if re.search(rf"Seq Scan on ({'|'.join(large)})", line)]
            assert whole == [], (statement, plan)


def test_a_drain_that_raises_is_counted_and_raises_on(make_lab: Make) -> None:
    lab = make_lab()

    def raising(_ctx: Any) -> int:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        lab.daemon._drain("decide", lambda: False, {"decide": raising})
    assert 'tracker_drains_failed_total{queue="decide"} 1.0' in lab.daemon.metrics.render().decode()


def test_a_worker_asks_no_more_than_whether_the_database_is_there_and_says_when_it_is_away(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    scrape = Scrape(lab.ctx, frozenset({"worker"}), dict)
    assert [one.name for one in scrape.samples()] == ["tracker_build_info", "tracker_database_up"]

    def away() -> None:
        raise OperationalError("", {}, Exception())

    monkeypatch.setattr(lab.daemon.store, "read", away)
    assert scrape.samples()[1].value == 1  # as of some seconds ago
    fresh = Scrape(lab.ctx, frozenset({"worker"}), dict)
    assert [(one.name, one.value) for one in fresh.samples()][1:] == [("tracker_database_up", 0.0)]

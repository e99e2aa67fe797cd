"""Webhooks that do not arrive: told by the share that polls had to bring, and never where polls are simply first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.lab import START, TOKEN, Lab
from tracker.sandbox.fakes.delhivery import DelhiveryServer
from tracker.sandbox.servers import FakeServers
from tracker.store import tables as t
from tracker.upkeep import maintenance, webhooks

H = timedelta(hours=1)
NUMBERS = [f"94001000000000000000{i:02}" for i in range(12)]


@pytest.fixture
def lab(make_lab) -> Lab:
    """A dozen parcels that EasyPost was asked to push, and one webhook that came: its webhooks are in use."""
    made: Lab = make_lab()
    maintenance.run_monitors(made.ctx)
    made.order("#1", *NUMBERS)
    made.work()
    made.clock.move_to(START + H)
    tell(made, NUMBERS[0], push=True)
    return made


def tell(lab: Lab, number: str, *, push: bool, code: str = "departed_facility", **more: Any) -> None:
    """Let the carrier scan a parcel; its webhook comes, or only the next poll tells."""
    lab.scan(lab.easypost, number, "in_transit", code, **more)
    if push:
        lab.post(lab.easypost.event(number))
        lab.work("ingest")


def polled(lab: Lab) -> None:
    lab.change(t.watches.update().values(next_poll_at=lab.clock()))
    lab.work("poll", "ingest")


def looked(lab: Lab, hours: float = 2) -> None:
    lab.clock.move_to(lab.clock() + hours * H)
    maintenance.run_monitors(lab.ctx)


def missing(lab: Lab) -> Any:
    f = t.findings.c
    return next(iter(lab.rows(t.findings, f.kind == "webhooks_missing", f.closed_at.is_(None))), None)


def counted(lab: Lab) -> tuple[int, int]:
    row = lab.one(t.account_days, t.account_days.c.account == "easypost")
    return row.polled_first, row.pushed_first


def test_half_of_the_webhooks_missing_is_told_with_its_share_and_over_once_they_come(lab) -> None:
    for i, number in enumerate(NUMBERS):
        tell(lab, number, push=i % 2 == 0, code="arrived_at_facility")
    polled(lab)
    assert missing(lab) is None
    looked(lab)

    assert counted(lab) == (6, 7)
    told = missing(lab)
    assert told.subject == "account/easypost"
    assert told.evidence == {"account": "easypost", "share": "45 %", "since": "2026-11-02"}
    assert told.since == datetime(2026, 11, 2, tzinfo=UTC)
    looked(lab, 20)
    assert missing(lab) is not None  # nothing came since that says otherwise
    for number in NUMBERS:
        tell(lab, number, push=True, code="out_for_delivery")
    looked(lab)
    assert missing(lab) is None


def test_it_stands_since_the_first_of_the_days_that_are_as_bad(lab) -> None:
    for day in range(3):
        for i, number in enumerate(NUMBERS):
            tell(lab, number, push=i % 2 == 0, code=f"day{day}", text=f"day {day}", city=f"CITY{day}")
        polled(lab)
        looked(lab, 23)

    assert missing(lab).evidence["since"] == "2026-11-02"


def test_a_poll_that_is_first_by_minutes_is_no_miss(lab) -> None:
    for number in NUMBERS:
        tell(lab, number, push=False, code="arrived_at_facility")
    polled(lab)
    lab.clock.move_to(lab.clock() + H / 2)
    for number in NUMBERS:
        lab.post(lab.easypost.event(number))
    lab.work("ingest")
    looked(lab)

    assert counted(lab) == (0, 13)
    assert missing(lab) is None


def test_a_webhook_that_comes_hours_later_was_missing(lab) -> None:
    for number in NUMBERS:
        tell(lab, number, push=False, code="arrived_at_facility")
    polled(lab)
    looked(lab, 1.5)
    for number in NUMBERS:
        lab.post(lab.easypost.event(number))
    lab.work("ingest")
    looked(lab)

    assert counted(lab) == (12, 1)
    assert missing(lab).evidence["share"] == "90 %"


def test_what_happened_before_we_watched_is_no_webhook_of_ours(make_lab) -> None:
    lab = make_lab()
    maintenance.run_monitors(lab.ctx)
    for number in NUMBERS:
        for hours in (-9, -6, -3):
            tell(lab, number, push=False, code=f"at{-hours}", hours=hours, city=f"CITY{hours}")
    lab.order("#1", *NUMBERS)
    lab.work()
    lab.change(t.accounts.update().values(last_webhook_at=lab.clock()))
    polled(lab)
    looked(lab)

    assert lab.rows(t.account_days, t.account_days.c.polled_first > 0) == []


@pytest.mark.parametrize("why", ["away", "replayed", "old", "not registered", "no webhook ever", "few"])
def test_what_polls_had_to_bring_for_another_reason_is_no_miss(lab, why: str) -> None:
    at = lab.clock()
    for number in NUMBERS[:8] if why == "few" else NUMBERS:
        tell(lab, number, push=False, code="arrived_at_facility", hours=-26 if why == "old" else 0)
    if why == "away":
        f = {
            "subject": "outage/x",
            "kind": "outage",
            "severity": "warning",
            "act": "monitor",
            "evidence_hash": "",
            "opened_by": "watch",
        }
        until = at + 3 * H
        lab.change(
            t.findings.insert().values(
                opened_at=until, evidence={"from": (at - H / 2).isoformat(), "until": until.isoformat()}, **f
            )
        )
    elif why == "not registered":
        lab.change(t.watches.update().values(registered_at=None))
    elif why == "no webhook ever":
        lab.change(t.accounts.update().values(last_webhook_at=None))
    lab.clock.move_to(at + H)
    polled(lab)
    if why == "replayed":
        lab.change(t.inbox.update().values(quiet=True))
    looked(lab)
    looked(lab)

    assert missing(lab) is None


def test_an_account_that_is_told_everything_without_asking_is_counted_from_the_first_look_on(lab, monkeypatch) -> None:
    monkeypatch.setattr(type(lab.ctx.config.accounts["easypost"].source), "registers", False)
    lab.change(t.watches.update().values(registered_at=None))
    for number in NUMBERS:
        tell(lab, number, push=False, code="arrived_at_facility")
    polled(lab)
    looked(lab)

    assert missing(lab).evidence["share"] == "90 %"


def test_all_of_them_missing_for_a_day_is_one_finding(lab) -> None:
    for i in range(3):
        lab.clock.move_to(lab.clock() + 12 * H)
        for number in NUMBERS:
            tell(lab, number, push=False, code=f"at{i}", city=f"CITY{i}")
        polled(lab)
    looked(lab)

    assert {"webhooks_silent", "webhooks_missing"} & lab.open_findings() == {"webhooks_silent"}


def test_what_is_counted_is_counted_once_whatever_the_pauses_between_looks(lab) -> None:
    for i in range(4):
        for number in NUMBERS:
            tell(lab, number, push=i % 2 == 0, code=f"at{i}", city=f"CITY{i}")
        polled(lab)
        looked(lab, 0.02)
        looked(lab, (1, 7, 13)[i % 3])
    looked(lab, 30)
    days = lab.rows(t.account_days, t.account_days.c.account == "easypost")

    assert (sum(d.polled_first for d in days), sum(d.pushed_first for d in days)) == (24, 25)


def test_scans_are_counted_by_their_index(make_lab) -> None:
    lab = make_lab()
    account = lab.ctx.config.accounts["easypost"]
    statement = webhooks._told(account, START, START + H, ())
    with lab.daemon.store.read() as connection:
        if connection.dialect.name == "sqlite":
            compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
            assert any("scans_seen" in step[-1] for step in plan), plan


def test_webhooks_that_say_only_that_there_is_news_miss_no_scan(make_lab, tmp_path) -> None:
    made: list[Lab] = []
    delhivery = DelhiveryServer(
        "delhivery", lambda: made[0].clock() if made else START, key="s", hook="hook-0123456789abcdef"
    )
    servers = FakeServers([delhivery])
    port = servers.start()
    numbers = [f"268057100000{i:02}" for i in range(12)]
    try:
        for name, value in (("key", "s"), ("hook", delhivery.hook), ("token", TOKEN)):
            (tmp_path / f"delhivery-{name}").write_text(value)
            (tmp_path / f"delhivery-{name}").chmod(0o600)
        secrets = {name: f'"${{file:{tmp_path}/delhivery-{name}}}"' for name in ("key", "hook", "token")}
        entry = f"token: {secrets['key']}, webhook_secrets: [{secrets['hook']}], webhook_token: {secrets['token']}"
        lab = make_lab(
            accounts=f'  delhivery: {{uses: delhivery, base_url: "http://127.0.0.1:{port}/delhivery", {entry}}}\n'
        )
        made.append(lab)
        maintenance.run_monitors(lab.ctx)
        lab.order("#1", *numbers, company="Delhivery")
        lab.work()
        lab.clock.move_to(START + H)
        for number in numbers:
            lab.scan(delhivery, number, "UD", "X-PPOM", text="In Transit", city="Delhi_GW", region="Delhi")
            told = {"Status": {"Status": "In Transit", "StatusType": "UD"}, "NSLCode": "X-PPOM", "AWB": number}
            lab.post(delhivery.signed(orjson.dumps({"Shipment": told})))
        lab.work()

        summaries = [row.summary["status"] for row in lab.rows(t.shipments)]
        assert summaries == ["picked_up"] * len(numbers), "each push had its parcel asked about"
        looked(lab)
        looked(lab, 24)

        assert {"webhooks_silent", "webhooks_missing"} & lab.open_findings() == set()
    finally:
        servers.stop()

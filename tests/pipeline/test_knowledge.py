"""What is known, as of when, and what is not: no list is read as agreement where nobody knows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, UPS, USPS, H, Lab, shipped, tracker_body
from tracker.config.load import load_text
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import drifts, tell
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import explain
from tracker.support.answer import unread
from tracker.support.gaps import Gap, Knowledge
from tracker.support.knowledge import knowledge
from tracker.upkeep import maintenance

MINUTES = timedelta(minutes=1)


@pytest.fixture
def lab(make_lab: Any) -> Lab:
    """Two orders of one shop, each with a parcel that was asked about just now."""
    made: Lab = make_lab()
    made.work()
    made.order("#1", USPS)
    made.order("#2", UPS, company="UPS")
    made.work()
    made.scan(made.easypost, USPS, "in_transit", "departed_facility")
    made.scan(made.ups, UPS, "I", "005")
    made.later(7)
    return made


def unknown(lab: Lab, store: str | None = None) -> list[tuple[str, str, int, str]]:
    return [(gap.what, gap.where, gap.count, gap.of) for gap in knowledge(lab.ctx, store=store).gaps]


def account(name: str, **values: Any) -> Any:
    return t.accounts.update().where(t.accounts.c.name == name).values(**values)


def test_all_is_known_as_of_the_oldest_look(lab: Lab) -> None:
    known = knowledge(lab.ctx)

    assert (known.orders, known.unknown, known.gaps, known.whole) == (2, 0, [], True)
    oldest = min(row.checked_at for row in lab.rows(t.watches))
    assert known.as_of == min(oldest, lab.one(t.accounts, t.accounts.c.name == "shop").swept_at)
    assert known.sentence("no drift") == f"no drift: of 2 orders, all known as of {known.as_of:%Y-%m-%d %H:%M}Z"
    assert drifts.list_drifts(lab.ctx) == []


def test_of_no_orders_nothing_is_claimed() -> None:
    assert Knowledge().sentence("no drift") == "no drift: no order is known yet"
    assert Knowledge(orders=1).sentence("no drift") == "no drift: of 1 order, all known"
    many = Knowledge(gaps=[Gap("not_taken", f"s{i}", 0, "orders", "new") for i in range(4)])
    assert (
        many.sentence("no drift")
        == "no drift among the orders that are known: 0; not known: 0, and what was not read yet of 4 stores"
    )
    assert "not read now: 4 stores (`" in unread({"not_read": [gap.where for gap in many.gaps]})
    assert unread({"not_read": ["s1"], "at": START}) == unread({"not_read": []}) == ""


@pytest.mark.parametrize(
    ("change", "what", "why"),
    [
        ({"failing_since": START + 5 * H, "failing_why": "HTTP 402"}, "store_unknown", "does not answer (HTTP 402)"),
        ({"sweep_failing_since": START + 5 * H}, "store_unknown", "does not answer (its list of orders fails)"),
        ({"suspended_reason": "401"}, "store_parked", "refuses our credentials (401)"),
        ({"swept_at": None}, "first_sync", "are read for the first time"),
        ({"next_sweep_at": START + 7 * H - 20 * MINUTES}, "store_unknown", "a sweep was due at 2026-11-02 14:40Z"),
    ],
)
def test_of_a_store_that_does_not_answer_no_order_is_known(
    lab: Lab, change: dict[str, Any], what: str, why: str
) -> None:
    lab.change(account("shop", **change))
    known = knowledge(lab.ctx)

    assert [(gap.what, gap.where, gap.count, gap.of) for gap in known.gaps] == [(what, "shop", 2, "orders")]
    assert why in known.gaps[0].why
    assert (known.unknown, known.whole) == (2, False)
    more = ", and what was not read yet of shop" if what == "first_sync" else ""
    assert known.sentence("no drift") == f"no drift among the orders that are known: 0; not known: 2{more}"
    order = explain.overview(lab.ctx, "#1")["orders"][0]
    assert why in order["known"]["unknown"][0]


def test_a_sweep_that_is_a_little_late_and_a_store_that_answers_again_are_known(lab: Lab) -> None:
    lab.change(account("shop", next_sweep_at=START + 7 * H - 10 * MINUTES))
    assert unknown(lab) == []
    lab.shop.faults.left["error"] = 1_000
    lab.clock.move_to(START + 8 * H)
    lab.work()
    assert unknown(lab)[0] == ("store_unknown", "shop", 2, "orders")
    lab.shop.faults.left["error"] = 0
    for _ in range(3):
        lab.rested()
        lab.clock.move_to(lab.clock() + 15 * MINUTES)
        lab.work()
    assert unknown(lab) == []
    assert knowledge(lab.ctx).as_of is not None


def test_a_store_that_the_configuration_lost_is_told_with_its_orders(lab: Lab) -> None:
    lab.change(t.accounts.insert().values(name="old", kind="store", attempts=0, swept_at=START))
    lab.change(t.orders.update().where(t.orders.c.number == "#2").values(store="old"))

    assert unknown(lab) == [("store_unknown", "old", 1, "orders")]
    assert unknown(lab, "shop") == []
    assert knowledge(lab.ctx).unknown == 1
    assert [row["order"] for row in drifts.list_drifts(lab.ctx, store="old")] == []


# writes


def test_writes_that_wait_and_a_store_that_is_paused(make_lab: Any) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1", USPS)
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 4 * H)
    lab.work("poll", "ingest", "decide")  # and nobody pushes

    assert unknown(lab) == []  # it waits for some seconds
    lab.clock.move_to(START + 4 * H + 20 * MINUTES)
    lab.change(t.watches.update().values(next_poll_at=lab.clock() + H))
    lab.change(account("shop", next_sweep_at=lab.clock() + H))
    lab.change(t.orders.update().values(reconcile_at=None))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.count, gap.of, gap.since) == ("writes_wait", 1, "writes", START + 4 * H)
    assert str(gap) == (
        "shop: 1 write since 2026-11-02 12:00Z: they wait for their turn; it takes a running worker (`tracker up`)"
    )
    lab.change(t.outbox.update().values(error="write budget"))
    later = database_now_of(lab) + H
    lab.change(account("shop", blocked_until=later))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.why, gap.until) == ("write budget", f"the end of its rest at {later:%Y-%m-%d %H:%M}Z")
    lab.change(account("shop", rests_until=lab.clock() + 2 * H))
    (gap,) = knowledge(lab.ctx).gaps
    assert gap.until == "the end of its rest at 2026-11-02 14:20Z"
    lab.change(account("shop", paused_at=lab.clock() - H))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.count, gap.since, gap.until) == ("store_paused", 1, lab.clock() - H, "`tracker resume shop`")


def database_now_of(lab: Lab) -> Any:
    with lab.ctx.store.read() as connection:
        return database_now(connection)


# what waits


def test_payloads_hints_and_orders_that_wait_are_told_once_they_are_late(lab: Lab) -> None:
    old = database_now_of(lab) - 20 * MINUTES
    lab.change(t.inbox.update().where(t.inbox.c.id == 1).values(state="pending", due_at=old))
    assert unknown(lab) == [("payloads_wait", "inbox", 1, "payloads")]
    lab.change(t.inbox.update().values(state="done"))

    ref = lab.one(t.orders, t.orders.c.number == "#1").ref
    hint = {"account": "shop", "ref": ref, "noticed_at": old, "due_at": old, "attempts": 3}
    lab.change(t.change_notices.insert().values(hint))
    assert unknown(lab) == [("orders_unread", "shop", 1, "orders")]
    assert knowledge(lab.ctx).unknown == 1
    lab.change(t.change_notices.update().values(error="HTTP 500"))
    assert "(HTTP 500)" in knowledge(lab.ctx).gaps[0].why
    lab.change(account("shop", suspended_reason="401"))  # told as a whole
    assert unknown(lab) == [("store_parked", "shop", 2, "orders")]
    lab.change(account("shop", suspended_reason=None))
    lab.change(t.change_notices.delete())

    lab.change(t.orders.update().where(t.orders.c.number == "#1").values(reconcile_at=lab.clock() - 20 * MINUTES))
    lab.change(t.orders.update().where(t.orders.c.number == "#2").values(drift=None, reconcile_at=None))
    known = knowledge(lab.ctx, store="shop")
    assert [(gap.what, gap.count) for gap in known.gaps] == [("orders_wait", 2)]
    assert known.unknown == 2
    shown = {o["number"]: o["known"]["unknown"] for n in ("#1", "#2") for o in explain.overview(lab.ctx, n)["orders"]}
    assert shown["#1"] == ["whether shop and carriers still agree: that waits since 2026-11-02 14:40Z"]
    assert shown["#2"] == ["whether shop and carriers agree: nobody compared them yet"]


def test_a_scheduler_that_was_not_heard_of_is_told(lab: Lab) -> None:
    maintenance.heartbeat(lab.ctx, database_now_of(lab))
    assert unknown(lab) == []
    lab.change(t.heartbeats.update().values(at=database_now_of(lab) - 20 * MINUTES))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.where) == ("nobody_works", "scheduler")


# parcels


def test_parcels_that_ought_to_have_been_asked_about_are_told_with_the_reason(lab: Lab) -> None:
    lab.change(t.watches.update().where(t.watches.c.account == "ups").values(next_poll_at=lab.clock() - 20 * MINUTES))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.where, gap.count, gap.of) == ("parcels_overdue", "ups", 1, "parcels")
    assert (gap.since, gap.why) == (lab.clock() - 20 * MINUTES, "they are overdue to be asked about")
    assert knowledge(lab.ctx).unknown == 1
    assert unknown(lab, "shop") == unknown(lab)
    told = explain.overview(lab.ctx, "#2")["orders"][0]["known"]["unknown"]
    assert told == [f"ups {UPS}: it is overdue to be asked about since 2026-11-02 14:40Z"]
    for change, why in (
        ({"failing_since": START, "failing_why": "HTTP 503"}, "the carrier does not answer (HTTP 503)"),
        ({"paused_at": START}, "the account is paused since 2026-11-02 08:00Z"),
        ({"suspended_reason": "401"}, "the carrier refuses our credentials (401)"),
    ):
        lab.change(account("ups", **change))
        assert knowledge(lab.ctx).gaps[0].why == why
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(name="gone"))
    lab.change(t.watches.update().where(t.watches.c.account == "ups").values(account="gone"))
    assert knowledge(lab.ctx).gaps[0].why == "the account is not in the configuration"


def test_polls_that_fail_keep_since_when_they_are_due(lab: Lab) -> None:
    due = lab.one(t.watches, t.watches.c.account == "ups").next_poll_at
    lab.ups.faults.left["error"] = 1_000
    lab.clock.move_to(due + MINUTES)
    for _ in range(4):
        lab.work()
        lab.rested()
        lab.clock.move_to(lab.clock() + 10 * MINUTES)
    watch = lab.one(t.watches, t.watches.c.account == "ups")
    assert watch.overdue_since == due
    gap = next(gap for gap in knowledge(lab.ctx).gaps if gap.what == "parcels_overdue")
    assert (gap.count, gap.since) == (1, due)
    lab.ups.faults.left["error"] = 0
    lab.change(t.watches.update().values(next_poll_at=lab.clock()))
    lab.rested()
    lab.work()
    assert lab.one(t.watches, t.watches.c.account == "ups").overdue_since is None
    assert not [gap for gap in knowledge(lab.ctx).gaps if gap.what == "parcels_overdue"]


def test_parcels_of_a_spent_budget_are_overdue_since_they_were_due(make_lab: Any) -> None:
    yaml = ""
    lab = make_lab(yaml=yaml)
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.order("#2", "1ZR589400357568494", company="UPS")
    config = lab.ctx.config
    from dataclasses import replace

    from tracker.config.model import Budget

    spent = replace(config.accounts["ups"], budget=Budget(calls=1, per="24h"))
    lab.ctx.config = replace(config, accounts={**config.accounts, "ups": spent})
    lab.work()
    lab.clock.move_to(START + 1 * H)
    lab.change(account("shop", next_sweep_at=lab.clock() + H))

    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.count, gap.since) == ("parcels_overdue", 2, START)  # the token took the one call
    assert (gap.why, gap.until) == ("the account's budget is spent", "a larger `budget:`, or its next turn")
    assert knowledge(lab.ctx).unknown == 2
    assert {row.next_poll_at for row in lab.rows(t.watches, t.watches.c.account == "ups")} == {START}


def test_parcels_that_a_carrier_wants_no_more_questions_about(lab: Lab) -> None:
    mine = t.watches.c.account == "ups"
    lab.change(t.watches.update().where(mine).values(tracking_state="invalid_number", next_poll_at=None))
    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.where, gap.count) == ("parcels_given_up", "ups", 1)
    assert gap.why == "the carrier says invalid_number: nobody asks any more"
    assert knowledge(lab.ctx).unknown == 1
    told = explain.overview(lab.ctx, "#2")["orders"][0]["known"]["unknown"]
    assert told == [f"ups {UPS}: nobody asks about it (ups: invalid number)"]
    lab.change(t.fulfilment_shipments.delete())  # the number was replaced in the shop
    assert unknown(lab) == []


def test_parcels_that_no_account_covers_are_told_with_what_would_cover_them(lab: Lab) -> None:
    lab.change(
        t.fulfilment_shipments.update()
        .where(t.fulfilment_shipments.c.fulfilment_id == 1)
        .values(unwatched="shop/hermes")
    )
    (gap,) = knowledge(lab.ctx).gaps

    assert (gap.what, gap.where, gap.count, gap.of) == ("carrier_not_covered", "shop", 1, "parcels")
    assert gap.why == "no account covers hermes: they are watched by nobody"
    assert "add an account that uses " in gap.until
    assert " easypost " in gap.until
    assert knowledge(lab.ctx).unknown == 1
    assert unknown(lab, "kart") == []


def test_findings_that_say_that_something_is_not_known_are_gaps_until_they_are_closed(lab: Lab) -> None:
    order = lab.one(t.orders, t.orders.c.number == "#1")

    def found(
        kind: FindingKind, subject: str, order_id: int | None = None, **evidence: str
    ) -> tuple[int | None, Finding]:
        return order_id, Finding(kind, subject, Severity.WARNING, Act.ACT, evidence, START)

    with lab.ctx.store.write() as connection:
        tell.report_findings(
            lab.ctx, connection,
            [
                found(FindingKind.ORDER_UNREADABLE, "shop/#1", order.id),
                found(FindingKind.UNMAPPED_CODE, "shop/#1/ups/1", order.id),
            ],
            lab.clock(), by="test",
        )  # fmt: skip

    assert unknown(lab) == [
        ("order_unreadable", "findings", 1, "orders"),
        ("unmapped_code", "findings", 1, "parcels"),
    ]  # fmt: skip
    assert knowledge(lab.ctx).unknown == 1
    told = explain.overview(lab.ctx, "#1")["orders"][0]["known"]["unknown"]
    assert "An order, or a line of it, could not be read since 2026-11-02 15:00Z" in told
    lab.change(t.findings.update().where(t.findings.c.kind != "unmapped_code").values(closed_at=lab.clock()))
    known = knowledge(lab.ctx)
    assert (known.whole, len(known.gaps)) == (True, 1)  # how the order stands is known: a scan of it says nothing


# counts


def test_a_count_is_kept_and_stays_right(lab: Lab) -> None:
    maintenance.run_monitors(lab.ctx)  # remembers the newest
    lab.ctx.newest_order = (lab.ctx.newest_order[0], database_now_of(lab) - 2 * MINUTES)  # type: ignore[index]
    maintenance.run_monitors(lab.ctx)
    shop = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert (shop.orders_counted, shop.orders_counted_to) == (2, max(row.id for row in lab.rows(t.orders)))
    lab.order("#3")
    lab.work()
    maintenance.run_monitors(lab.ctx)  # not within the minute
    assert knowledge(lab.ctx).orders == 3
    lab.ctx.newest_order = (shop.orders_counted_to, database_now_of(lab) - 2 * MINUTES)
    maintenance.run_monitors(lab.ctx)
    assert lab.one(t.accounts, t.accounts.c.name == "shop").orders_counted == 2
    assert knowledge(lab.ctx).orders == 3


def test_many_are_said_as_many() -> None:
    assert str(Gap("x", "shop", 10_000, "parcels", "why")) == "shop: 10,000 or more parcels: why"


def test_health_checks_ask_without_counting(lab: Lab) -> None:
    assert knowledge(lab.ctx).gaps == []


def test_it_is_looked_for_in_as_few_statements_however_many_accounts_there_are(lab: Lab) -> None:
    """A part of one statement an account was refused by SQLite from 165 accounts on, and took PostgreSQL 12 s at 4,000."""
    counts = []
    for _ in range(2):
        said: list[str] = []

        def listen(_connection: Any, _cursor: Any, statement: str, *_: Any, said: list[str] = said) -> None:
            said.append(statement)

        sa.event.listen(lab.ctx.store.engine, "before_cursor_execute", listen)
        known = knowledge(lab.ctx)
        sa.event.remove(lab.ctx.store.engine, "before_cursor_execute", listen)
        assert (known.orders, known.gaps) == (2, [])
        counts.append((len(said), sum(map(len, said)) // 100))
        more = [
            {
                "name": f"{kind}-{i}",
                "kind": kind,
                "attempts": 0,
                "swept_at": lab.clock(),
                "next_sweep_at": lab.clock() + H,
            }
            for kind in ("store", "carrier")
            for i in range(1000)
        ]
        if not counts[1:]:
            with lab.ctx.store.write() as connection:
                connection.execute(t.accounts.insert(), more)
            extra = "".join(
                f"  store-{i}: {{uses: rest, base_url: https://x.example.com, api_token: '${{file:FOLDER/s}}'}}\n"
                for i in range(1000)
            )
            folder = lab.yaml.partition("${file:")[2].partition("/s}")[0]
            lab.ctx.config = load_text(lab.yaml + extra.replace("FOLDER", folder))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("status", "asked"), [("", 1), ("unknown", 0)])
def test_a_webhook_that_says_only_that_there_is_news_has_its_parcel_asked_about_at_once(
    make_lab, status, asked
) -> None:
    lab = shipped(make_lab, USPS)
    before = lab.easypost.calls["track"]
    lab.post_raw("easypost", tracker_body(USPS, status=status))
    lab.work()

    assert lab.easypost.calls["track"] - before == asked

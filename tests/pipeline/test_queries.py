"""The statements that several parts of the pipeline share, each alone, against a real database of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from tests.lab import START, H
from tests.pipeline.test_claims import ORDER
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.hashing import digest
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import Store, database_now

MINUTE = timedelta(minutes=1)
LOST = Finding(
    FindingKind.ORDER_BEHIND,
    "shop/order/#1",
    Severity.URGENT,
    Act.ACT,
    {"scan": "lost", "at": "Reno"},
    START,
    "claim it",
)


@pytest.fixture
def connection(store: Store) -> Iterator[Connection]:
    with store.write() as opened:
        yield opened


def put(connection: Connection, *keys: str, due: timedelta = timedelta(), body: bytes = b"{}") -> datetime:
    now = database_now(connection)
    rows = [queries.payload_row("a", "webhook", [body], START, now + due, dedupe_key=key) for key in keys]
    queries.store_payloads(connection, rows)
    return now


def claimed(connection: Connection, limit: int = 10) -> list[Any]:
    return [row.dedupe_key for row in queries.claim(connection, t.inbox, limit)]


def all_of(connection: Connection, table: sa.Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


# payloads and claims


def test_a_backlog_is_claimed_by_walking_its_index_only_as_far_as_a_batch(new_postgres: str) -> None:
    store = Store(new_postgres)
    with store.write() as connection:  # never analyzed: it came just now
        put(connection, *(f"evt-{i}" for i in range(3_000)))
    with store.write() as connection:
        assert len(claimed(connection, 200)) == 200
        fetched = connection.execute(
            sa.text("SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'inbox'")
        ).scalar_one()
    store.close()
    assert 200 <= fetched < 1_000  # to find them, and maybe to take them


def test_a_payload_waits_whole_with_what_came_beside_it() -> None:
    row = queries.payload_row(
        "a", "poll", [b"one", b"", b"three"], START, START + H, headers={"x": "y"}, dedupe_key="k", asked_at=START - H,
        quiet=True,
    )  # fmt: skip
    assert row == {
        "account": "a", "kind": "poll", "dedupe_key": "k", "headers": {"x": "y"}, "body": b"onethree", "part_sizes": [3, 0, 5],
        "size": 8, "state": "pending", "attempts": 0, "crashes": 0, "asked_at": START - H, "quiet": True,
        "due_at": START + H, "received_at": START,
    }  # fmt: skip
    plain = queries.payload_row("a", "webhook", [b"one"], START, START)
    assert (plain["body"], plain["part_sizes"], plain["headers"], plain["quiet"]) == (b"one", None, {}, False)
    assert plain["asked_at"] is plain["dedupe_key"] is None


def test_the_same_delivery_twice_is_one_row(connection: Connection) -> None:
    put(connection, "k", "k")
    put(connection, "k")
    assert [row["dedupe_key"] for row in all_of(connection, t.inbox)] == ["k"]
    queries.store_payloads(connection, [])


def test_payloads_that_are_stored_together_keep_their_own_bodies(connection: Connection) -> None:
    now = database_now(connection)
    parts: dict[str, list[bytes]] = {"one": [b"{}"], "none": [b""], "many": [b"\x00[", b"]\xff"], "last": [b"123"]}
    rows = [queries.payload_row("a", "webhook", body, START, now, dedupe_key=key) for key, body in parts.items()]
    queries.store_payloads(connection, rows)
    found = {row["dedupe_key"]: (row["body"], row["part_sizes"], row["size"]) for row in all_of(connection, t.inbox)}
    assert found == {
        "one": (b"{}", None, 2), "none": (b"", None, 0), "many": (b"\x00[]\xff", [2, 2], 4), "last": (b"123", None, 3),
    }  # fmt: skip


def test_what_is_due_first_is_claimed_first_and_what_is_not_due_is_not(connection: Connection) -> None:
    put(connection, "second", due=-MINUTE)
    put(connection, "first", due=-2 * MINUTE)
    put(connection, "tomorrow", due=24 * H)
    assert claimed(connection, 1) == ["first"]
    put(connection, "third", due=-MINUTE / 2)
    put(connection, "before the third", due=-MINUTE * 3 / 4)
    assert claimed(connection) == ["second", "before the third", "third"]
    assert claimed(connection) == []


def test_a_claim_counts_an_attempt_and_a_crash_and_ends_with_its_lease(connection: Connection) -> None:
    now = put(connection, "k")
    (row,) = queries.claim(connection, t.inbox, 10)
    assert (row.attempts, row.crashes) == (1, 1)
    assert now + queries.LEASE <= row.claimed_until <= database_now(connection) + queries.LEASE
    connection.execute(t.inbox.update().values(claimed_until=now))
    (again,) = queries.claim(connection, t.inbox, 10)
    assert (again.attempts, again.crashes) == (2, 2)


def test_a_row_that_crashed_waits_for_a_claim_of_its_own(connection: Connection) -> None:
    put(connection, "good", due=-3 * MINUTE)
    put(connection, "suspect", due=-2 * MINUTE)
    put(connection, "also good", due=-MINUTE)
    connection.execute(t.inbox.update().where(t.inbox.c.dedupe_key == "suspect").values(crashes=1))
    assert [claimed(connection) for _ in range(4)] == [["good"], ["suspect"], ["also good"], []]


def test_a_row_that_crashed_too_often_ends_dead_and_holds_back_nobody(connection: Connection) -> None:
    put(connection, "poison", due=-MINUTE)
    put(connection, "good")
    connection.execute(t.inbox.update().where(t.inbox.c.dedupe_key == "poison").values(crashes=queries.MOST_CRASHES))
    assert claimed(connection) == ["poison"], "the last try"
    connection.execute(t.inbox.update().where(t.inbox.c.dedupe_key == "poison").values(claimed_until=None))
    assert claimed(connection, 1) == ["good"], "although one row was asked for, and the dead one was the first"
    poison = all_of(connection, t.inbox)[0]
    assert (poison["state"], poison["reason"], poison["claimed_until"]) == ("dead", "crashed too often", None)
    assert poison["ended_at"] is not None


def test_claims_are_cut_by_size_but_one_always_goes(connection: Connection) -> None:
    half = b"x" * (queries.MOST_BYTES // 2)
    put(connection, "whole", due=-4 * MINUTE, body=half + half + b"x")
    put(connection, "a", due=-3 * MINUTE, body=half)
    put(connection, "b", due=-2 * MINUTE, body=half)
    put(connection, "c", due=-MINUTE, body=b"x")
    assert [claimed(connection) for _ in range(4)] == [["whole"], ["a", "b"], ["c"], []]


def test_others_are_passed_over_on_postgresql_and_waited_for_where_it_must_be() -> None:
    class Only:
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    one = sa.select(t.inbox.c.id)
    passing = str(queries.skip_locked(Only, one).compile(dialect=Only.dialect))  # type: ignore[arg-type]
    waiting = str(queries.locked(Only, one).compile(dialect=Only.dialect))  # type: ignore[arg-type]
    assert passing.endswith("FOR UPDATE SKIP LOCKED") and waiting.endswith("FOR UPDATE")


def test_two_workers_never_hold_the_same_row(store: Store) -> None:
    with store.write() as connection:
        put(connection, "a", "b", "c")
    with store.write() as one:
        first = claimed(one, 2)
        if not store.sqlite:  # SQLite has one writer
            with store.write() as other:
                assert claimed(other) == ["c"]
    assert first == ["a", "b"]


def test_the_fence_is_the_claim_that_was_made(connection: Connection) -> None:
    now = put(connection, "a", "b")
    rows = list(queries.claim(connection, t.inbox, 10))
    assert queries.still_ours(connection, t.inbox, rows) == {row.id for row in rows}
    assert queries.renew(connection, t.inbox, rows[0], 2 * H)
    until = all_of(connection, t.inbox)[0]["claimed_until"]
    assert now + 2 * H <= until <= database_now(connection) + 2 * H
    assert all_of(connection, t.inbox)[1]["claimed_until"] == rows[1].claimed_until, "and nobody else's"
    connection.execute(t.inbox.update().where(t.inbox.c.dedupe_key == "a").values(attempts=2))
    assert queries.still_ours(connection, t.inbox, rows) == {rows[1].id}
    assert not queries.renew(connection, t.inbox, rows[0], H)
    queries.end(connection, t.inbox, [rows[1].id], "done", now)
    assert not queries.renew(connection, t.inbox, rows[1], H), "what ended is nobody's"


def test_what_ended_says_when_and_why_and_starts_afresh_if_it_is_replayed(connection: Connection) -> None:
    now = put(connection, "a", "b")
    rows = list(queries.claim(connection, t.inbox, 10))
    queries.end(connection, t.inbox, [rows[0].id], "dead", now, "it cannot be read")
    ended, other = all_of(connection, t.inbox)
    assert {k: ended[k] for k in ("state", "reason", "ended_at", "claimed_until", "crashes", "attempts")} == {
        "state": "dead", "reason": "it cannot be read", "ended_at": now, "claimed_until": None, "crashes": 0, "attempts": 1,
    }  # fmt: skip
    assert (other["state"], other["claimed_until"]) == ("pending", rows[1].claimed_until)


@pytest.mark.parametrize(("crashed", "crashes"), [(True, 1), (False, 0)])
def test_what_is_given_back_waits_and_says_why(connection: Connection, crashed: bool, crashes: int) -> None:
    now = put(connection, "a")
    (row,) = queries.claim(connection, t.inbox, 10)
    queries.release(connection, t.inbox, row, now + H, "e" * 600, crashed=crashed)
    (back,) = all_of(connection, t.inbox)
    assert (back["claimed_until"], back["due_at"], back["crashes"]) == (None, now + H, crashes)
    assert back["reason"] == "e" * 500
    connection.execute(t.inbox.update().values(attempts=9))
    queries.release(connection, t.inbox, row, now, "late", crashed=crashed)
    assert all_of(connection, t.inbox)[0]["reason"] == "e" * 500, "somebody else has it: it is left alone"


def test_the_wait_doubles_up_to_a_quarter_of_an_hour() -> None:
    assert [queries.backoff(n).total_seconds() for n in (1, 2, 3, 9, 10, 1000)] == [2, 4, 8, 512, 900, 900]


@pytest.mark.parametrize("values", [[1, 2, 4], [2], [], [9]])
def test_what_is_among_values_is_found_whatever_their_number(connection: Connection, values: list[int]) -> None:
    put(connection, "k1", "k2", "k3")
    by_id = sa.select(t.inbox.c.id).where(queries.among(connection, t.inbox.c.id, values))
    assert set(connection.execute(by_id).scalars()) == set(values) & {1, 2, 3}
    by_key = sa.select(t.inbox.c.id).where(queries.among(connection, t.inbox.c.dedupe_key, [f"k{n}" for n in values]))
    assert set(connection.execute(by_key).scalars()) == set(values) & {1, 2, 3}


def test_rows_are_put_and_changed_whole_whatever_they_hold(ordered: Connection) -> None:
    east = datetime.fromisoformat("2026-11-02T08:00:00.000005+05:30")
    rows = [
        {"key": f"k{i}", "kind": "order_note", "store": "shop", "order_id": 1, "action": {"text": text, "n": [1, None, True, 0.5]},
         "state": "pending", "attempts": i, "crashes": 0, "due_at": east, "rules": ["KR-01", text], "created_at": START,
         "error": error}
        for i, (text, error) in enumerate([("plain", None), ("\N{SNOWMAN} ' \\ \" %s :x", "a\nb"), ("", "null")])
    ]  # fmt: skip
    assert queries.put(ordered, t.outbox, []) == ()
    queries.put(ordered, t.outbox, rows)
    queries.put(ordered, t.outbox, [{**rows[0], "error": "doubled"}, {**rows[0], "key": "new"}])
    stored = all_of(ordered, t.outbox)
    assert [{name: row[name] for name in rows[0]} for row in stored] == [*rows, {**rows[0], "key": "new"}]
    queries.change(ordered, t.outbox, [])
    queries.change(
        ordered,
        t.outbox,
        [
            {"b_id": stored[0]["id"], "error": "first", "echoed_at": east, "receipt": {"ref": "1"}},
            {"b_id": stored[2]["id"], "error": None, "echoed_at": None, "receipt": None},
        ],
    )
    first, second, third, _ = all_of(ordered, t.outbox)
    assert first == stored[0] | {"error": "first", "echoed_at": east, "receipt": {"ref": "1"}}
    assert (second, third) == (stored[1], stored[2] | {"error": None})


def test_a_naive_moment_never_reaches_the_database(ordered: Connection) -> None:
    row = {"account": "a", "ref": "1", "noticed_at": datetime(2026, 11, 2), "due_at": START, "attempts": 0}
    with pytest.raises((TypeError, sa.exc.StatementError), match=r"naive moment|not JSON serializable: datetime"):
        queries.put(ordered, t.change_notices, [row])


# accounts, hints, findings, counts


def account(connection: Connection, *names: str) -> None:
    connection.execute(t.accounts.insert(), [{"name": name, "kind": "dhl", "attempts": 0} for name in names])


def test_an_account_rests_for_the_longest_time_that_somebody_asked(connection: Connection) -> None:
    account(connection, "a", "b")
    for until in (START + H, START, START + 2 * H):
        queries.block(connection, "a", until)
    assert [row["blocked_until"] for row in all_of(connection, t.accounts)] == [START + 2 * H, None]
    queries.block(connection, "a", START + H)
    assert all_of(connection, t.accounts)[0]["blocked_until"] == START + 2 * H


def test_a_parked_account_says_why(connection: Connection) -> None:
    account(connection, "a", "b")
    queries.suspend(connection, "a", "r" * 400)
    assert [row["suspended_reason"] for row in all_of(connection, t.accounts)] == ["r" * 300, None]


def test_hints_of_one_order_are_one_and_the_newest_says_when(connection: Connection) -> None:
    queries.note_changes(connection, "shop", ["2", "1", "2"], START)
    connection.execute(t.change_notices.update().values(due_at=START + 24 * H, attempts=3))
    queries.note_changes(connection, "shop", ["1"], START + H)
    queries.note_changes(connection, "kart", ["1"], START)
    queries.note_changes(connection, "kart", [], START)
    assert [(r["account"], r["ref"], r["noticed_at"], r["due_at"], r["attempts"]) for r in all_of(connection, t.change_notices)] == [
        ("shop", "1", START + H, START + H, 3), ("shop", "2", START, START + 24 * H, 3), ("kart", "1", START, START, 0),
    ]  # fmt: skip


def opened(connection: Connection, *found: Finding, order: int | None = 1, **more: Any) -> list[dict[str, Any]]:
    queries.open_findings(connection, [(order, one) for one in found], START + H, by="reconcile", **more)
    return all_of(connection, t.findings)


@pytest.fixture
def ordered(connection: Connection) -> Connection:
    connection.execute(t.orders.insert(), [ORDER])
    return connection


def test_a_finding_is_stored_whole(ordered: Connection) -> None:
    assert opened(ordered) == []
    (row,) = opened(ordered, LOST, alert_at=START + 2 * H)
    row.pop("id")
    assert row == {
        "order_id": 1, "store": "shop", "subject": "shop/order/#1", "kind": "order_behind", "severity": "urgent", "act": LOST.act,
        "evidence": {"scan": "lost", "at": "Reno"}, "evidence_hash": digest({"scan": "lost", "at": "Reno"}),
        "opened_by": "reconcile", "opened_at": START + H, "since": START, "digest": False, "snoozed_until": None,
        "closed_at": None, "closed_by": None, "closed_reason": None, "proposal": "claim it", "alert_due_at": START + 2 * H, "told_at": None,
        "assigned_to": None, "assigned_at": None,
    }  # fmt: skip
    *_, other = opened(ordered, replace(LOST, subject="account/dhl"), order=None)
    assert (other["order_id"], other["store"], other["alert_due_at"]) == (None, None, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"evidence": {"scan": "lost", "at": "Elko"}},
        {"severity": Severity.WARNING},
        {"proposal": "ask the carrier"},
        {"evidence": {"scan": "x"}, "severity": Severity.INFO, "proposal": "wait"},
    ],
)
def test_an_open_finding_follows_what_changed_and_is_not_opened_again(ordered: Connection, changed: Any) -> None:
    (before,) = opened(ordered, LOST)
    now_ = replace(LOST, **changed)
    (row,) = opened(ordered, now_)
    assert row == before | {
        "evidence": now_.evidence, "evidence_hash": digest(dict(now_.evidence)), "severity": now_.severity, "proposal": now_.proposal,
    }  # fmt: skip


def test_what_a_person_closed_stays_closed_until_the_evidence_changes(ordered: Connection) -> None:
    opened(ordered, LOST)
    anybody = t.findings.c.kind == "order_behind"
    assert queries.close_findings(ordered, anybody, START + H, "person:ann", "seen") == 1
    assert queries.close_findings(ordered, anybody, START + H, "person:bob", "seen") == 0
    (row,) = opened(ordered, LOST)
    assert (row["closed_at"], row["closed_by"], row["closed_reason"]) == (START + H, "person:ann", "seen")
    assert len(opened(ordered, replace(LOST, evidence={"scan": "found"}))) == 2


def test_findings_that_are_known_do_not_hold_back_those_after_them(ordered: Connection) -> None:
    mine, other, third = (replace(LOST, subject=f"shop/order/#{i}") for i in range(3))
    opened(ordered, mine)
    opened(ordered, other)
    queries.close_findings(ordered, t.findings.c.subject == other.subject, START + H, "person:ann", "seen")

    assert [row["subject"] for row in opened(ordered, mine, other, third)] == [
        mine.subject,
        other.subject,
        third.subject,
    ]


def test_what_closed_by_itself_opens_again(ordered: Connection) -> None:
    opened(ordered, LOST, alert_at=START)
    queries.close_findings(ordered, t.findings.c.kind == "order_behind", START + H, "reconcile")
    first, second = opened(ordered, LOST)
    assert (first["alert_due_at"], first["closed_reason"], second["closed_at"]) == (
        START,
        None,
        None,
    )  # nobody was told yet


def test_the_first_sync_makes_a_digest_that_alerts_nobody(ordered: Connection) -> None:
    digest_before = {1: START + MINUTE}
    (old,) = opened(ordered, LOST, digest_before=digest_before, alert_at=START)
    assert (old["digest"], old["alert_due_at"]) == (True, None)
    news = replace(LOST, subject="shop/order/#2", since=START + MINUTE)
    timeless = replace(LOST, subject="shop/order/#3", since=None)
    _, *others = opened(ordered, news, timeless, digest_before=digest_before, alert_at=START)
    assert [(row["digest"], row["alert_due_at"]) for row in others] == [(False, START)] * 2


@pytest.mark.parametrize(
    ("severity", "least", "told"),
    [
        (Severity.INFO, Severity.WARNING, False),
        (Severity.WARNING, Severity.WARNING, True),
        (Severity.URGENT, Severity.WARNING, True),
        (Severity.WARNING, Severity.URGENT, False),
    ],
)
def test_alerts_are_told_from_a_severity_on(ordered: Connection, severity: Any, least: Any, told: bool) -> None:
    (row,) = opened(ordered, replace(LOST, severity=severity), alert_at=START, alert_from=least)
    assert row["alert_due_at"] == (START if told else None)


def test_an_outage_is_answered_by_what_was_told_within_a_day_after_it(connection: Connection) -> None:
    connection.execute(
        t.shipments.insert(),
        [{"id": i, "carrier": c, "number": f"N{i}", "generation": 1, "status": "unknown", "summary": {}, "starts_at": START,
          "linked": False} for i, c in ((1, "ups"), (2, "dhl"))],
    )  # fmt: skip
    since, until = START, START + 8 * H
    cases = {  # (when it happened, when it was told)
        "hidden": (START + H, until), "first": (since, until + H), "last": (until, until + 23 * H),
        "before": (since - MINUTE, until + H), "after": (until + MINUTE, until + H), "seen": (START + H, until - MINUTE),
        "too late": (START + H, until + 24 * H),
    }  # fmt: skip
    connection.execute(
        t.scans.insert(),
        [{"shipment_id": 1 + i % 2, "fingerprint": code, "account": "a", "space": "s", "code": code, "text": "told", "leg": "outbound",
          "correction": False, "instant": at, "zone": "offset", "precision": "second", "city": "", "region": "", "postcode": "",
          "country": "", "first_seen_at": told} for i, (code, (at, told)) in enumerate(cases.items())],
    )  # fmt: skip
    found = queries.recovered(connection, since, until)
    assert [(row.account, row.carrier, row.number, row.code, row.text, row.instant, row.first_seen_at) for row in found] == [
        ("a", "ups", "N1", "hidden", "told", *cases["hidden"]),
        ("a", "dhl", "N2", "first", "told", *cases["first"]),
        ("a", "ups", "N1", "last", "told", *cases["last"]),
    ]  # fmt: skip


def test_what_waits_and_what_died_is_counted(ordered: Connection) -> None:
    assert set(queries.counts(ordered).values()) == {0}
    now = put(ordered, "a", "b", "c", "d")
    queries.end(ordered, t.inbox, [1], "done", now)
    queries.end(ordered, t.inbox, [2], "dead", now, "bad")
    values = {
        "kind": "order_note", "store": "shop", "order_id": 1, "action": {}, "attempts": 0, "crashes": 0, "due_at": now,
        "rules": [], "created_at": now,
    }  # fmt: skip
    states = ("pending", "dead", "dead", "sent", "refused")
    ordered.execute(t.outbox.insert(), [{**values, "key": f"{i}", "state": state} for i, state in enumerate(states)])
    queries.note_changes(ordered, "shop", ["1"], START)
    opened(ordered, LOST, replace(LOST, subject="shop/order/#2"))
    queries.close_findings(ordered, t.findings.c.subject == LOST.subject, START, "reconcile")
    assert queries.counts(ordered) == {
        "inbox_pending": 2, "inbox_dead": 1, "outbox_pending": 1, "outbox_held": 0, "outbox_dead": 2, "change_notices": 1,
        "findings_open": 1,
    }  # fmt: skip


def test_the_orders_of_parcels_are_told_once_each(ordered: Connection) -> None:
    ordered.execute(t.orders.insert(), [{**ORDER, "id": 2, "ref": "2"}])
    ordered.execute(
        t.fulfilments.insert(),
        [{"id": i, "order_id": order, "ref": f"{i}", "status": "open", "live": True} for i, order in ((1, 1), (2, 1), (3, 2))],
    )  # fmt: skip
    ordered.execute(
        t.shipments.insert(),
        [{"id": i, "carrier": "ups", "number": f"N{i}", "generation": 1, "status": "unknown", "summary": {}, "starts_at": START,
          "linked": True} for i in (1, 2, 3)],
    )  # fmt: skip
    links = [(1, 1), (2, 1), (2, 2), (3, 3)]
    ordered.execute(
        t.fulfilment_shipments.insert(),
        [{"fulfilment_id": f, "shipment_id": s, "linked_at": START} for f, s in links],
    )
    assert sorted(ordered.execute(queries.orders_of(ordered, [1, 2])).scalars()) == [1]
    assert sorted(ordered.execute(queries.orders_of(ordered, [1, 2, 3])).scalars()) == [1, 2]
    assert list(ordered.execute(queries.orders_of(ordered, [])).scalars()) == []


def test_a_moment_is_kept_to_the_microsecond_as_text_that_sorts_and_a_naive_one_is_refused(store: Store) -> None:
    east = datetime.fromisoformat("2026-11-02T08:00:00.000005+05:30")
    with store.write() as connection:
        account(connection, "a")
        queries.block(connection, "a", east)
        kept = connection.execute(sa.select(t.accounts.c.blocked_until)).scalar_one()
        assert kept == east and kept.utcoffset() == timedelta()
        if store.sqlite:
            raw = connection.exec_driver_sql("SELECT blocked_until FROM accounts").scalar_one()
            assert raw == "2026-11-02 02:30:00.000005", "as files of before have it"
        with pytest.raises(sa.exc.StatementError, match="naive moment"):
            queries.block(connection, "a", datetime(2026, 11, 2))

"""Rarer ends of a mail: a refused login, hours that became quiet, a store that hides all addresses, an order that is gone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.lab import START, USPS, H, Lab
from tests.mail_server import PASSWORD, mail_server
from tests.pipeline.test_mails import ANNA, MAIL, Post, make_post
from tracker.app.telemetry import configure_logs
from tracker.config.load import load_text
from tracker.domain.vocabulary import FindingKind, NoticeClass
from tracker.pipeline.mails import queue, server
from tracker.store import tables as t
from tracker.support import mails, statements

SECOND = "9400111206206406263009"


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    with ExitStack() as stack:
        yield make_post(lambda **more: Lab(f"sqlite:///{tmp_path}/post.db", tmp_path, stack, **more), tmp_path, stack)


def waits(one: Post) -> None:
    """Let the parcel be on its way, and the mail of it wait."""
    one.server.answers["MAIL"] = "421 later"
    one.scan("in_transit", "departed_facility")
    one.server.answers.clear()
    assert one.rows() == [("shipped", "pending")]


def configured(one: Post, *changes: tuple[str, str]) -> None:
    """Have the configuration read again, with these in the place of those."""
    for before, after in changes:
        assert before in one.lab.yaml
        one.lab.yaml = one.lab.yaml.replace(before, after)
    one.lab.ctx.config = load_text(one.lab.yaml)


def test_a_login_that_is_refused_suspends_all_mails_and_neither_password_nor_address_is_in_a_log(
    post: Post, tmp_path: Path
) -> None:
    waits(post)
    log = io.StringIO()
    configure_logs(log)
    (tmp_path / "tls").mkdir()
    (tmp_path / "wrong").touch(mode=0o600)
    (tmp_path / "wrong").write_text("wrong-" + PASSWORD)
    with mail_server(tmp_path / "tls") as strict:
        login = (
            f"  host: localhost\n  user: acme\n  password: ${{file:{tmp_path}/wrong}}\n  ca_file: {strict.ca_file}\n"
        )
        configured(
            post, ("allow: [127.0.0.1]", "allow: [127.0.0.1, localhost]"), ("  host: 127.0.0.1\n", login),
            (f"  port: {post.server.port}\n  tls: none\n", f"  port: {strict.port}\n"),
        )  # fmt: skip
        post.again()
        (found,) = post.findings(FindingKind.MAIL_SUSPENDED)
        assert found.evidence["said"].startswith("localhost: login: 535")
        assert (post.rows(), post.lab.one(t.mails).attempts) == ([("shipped", "pending")], 2)
        post.again()
        assert strict.connections == 1  # it is not tried again before something changes

        (tmp_path / "wrong").write_text(PASSWORD)
        post.lab.ctx.config = load_text(post.lab.yaml)
        post.again()
        assert (post.rows(), post.findings(FindingKind.MAIL_SUSPENDED)) == ([("shipped", "sent")], [])
    configure_logs(io.StringIO())
    assert '"mail_suspended"' in log.getvalue()
    assert "canary" not in log.getvalue()


def test_a_retry_that_falls_into_quiet_hours_waits_for_their_end(post: Post) -> None:
    waits(post)
    configured(post, ("tls: none\n", 'tls: none\n  quiet: {begins: "14:00", ends: "20:00", zone: UTC}\n'))
    post.again()
    assert "quiet hours in UTC" in post.lab.one(t.mails).reason
    assert post.lab.one(t.mails).not_before == START + 12 * H
    row = statements.find_order(post.lab.ctx, "#1001")
    assert "nobody is mailed before 2026-11-02 20:00Z" in mails.preview(post.lab.ctx, row)[0]["why"]
    post.lab.later(6)
    post.again()
    assert post.rows() == [("shipped", "sent")]


def test_a_shop_that_hides_addresses_is_asked_once_a_batch(post: Post) -> None:
    post.lab.shop.hides_addresses = True
    post.lab.order("#1002", SECOND)
    for number in (USPS, SECOND):
        post.lab.scan(post.lab.easypost, number, "in_transit", "departed_facility")
    post.server.answers["MAIL"] = "421 later"
    post.lab.later(7)
    asked = post.lab.shop.calls["Contact"]
    post.again()
    assert post.rows() == [("shipped", "pending")] * 2
    calls = post.lab.rows(t.findings, t.findings.c.kind == FindingKind.ADDRESS_UNREAD)
    assert (asked, len(calls)) == (0, 1)


def test_what_is_said_of_a_mail_that_is_no_more_wanted_names_the_reason(post: Post) -> None:
    waits(post)
    ctx, row = post.lab.ctx, statements.find_order(post.lab.ctx, "#1001")
    (one,) = mails.preview(ctx, row, kind=NoticeClass.RETURNING)
    assert (one["sends"], one["why"]) == (False, "the parcel is in transit now")
    configured(post, ("returning, placed]", "placed]"))
    (one,) = mails.preview(post.lab.ctx, row, kind=NoticeClass.RETURNING)
    assert one["why"] == "policy.notices of store shop does not name returning"
    disputed = {**post.lab.parcel(USPS).summary, "disputed": True}
    before = post.lab.parcel(USPS).summary
    post.lab.change(t.shipments.update().values(summary=disputed))
    assert "contradict each other" in mails.preview(post.lab.ctx, row, kind=NoticeClass.SHIPPED)[0]["why"]
    post.lab.change(t.shipments.update().values(summary=before))
    facts = {**post.lab.one(t.orders).facts, "gone": "not_found"}
    post.lab.change(t.orders.update().values(facts=facts))
    post.again()
    assert post.rows() == [("shipped", "superseded")]
    (told,) = mails.list_mails(post.lab.ctx, state="superseded", order="1001", store="shop")
    assert told["reason"] == "the shop shows the order no more (not found)"
    assert mails.list_mails(post.lab.ctx, after=told["id"]) == []
    assert mails.resume(post.lab.ctx) == []


def test_an_order_is_read_again_before_its_customer_is_mailed_so_that_nobody_hears_of_one_that_was_just_cancelled(
    post: Post,
) -> None:
    waits(post)
    shop, order = post.lab.shop, post.lab.shop.orders["#1001"]

    def only_mails() -> Any:
        post.lab.change(t.mails.update().values(due_at=START, state="pending", ended_at=None))
        post.lab.change(t.mail_servers.update().values(blocked_until=None))
        post.lab.rested()
        queue.run(post.lab.ctx)
        row = post.lab.one(t.mails)
        return row.state, row.reason

    asked = shop.calls["Contact"]
    order["cancelledAt"] = "2026-11-02T15:00:00Z"  # no webhook of it came yet
    assert only_mails() == ("superseded", "the order is cancelled, its payment paid: nobody is told")
    order["cancelledAt"] = None
    order["displayFinancialStatus"], paid = 5, order["displayFinancialStatus"]
    state, said = only_mails()
    assert (state, said.partition(":")[0]) == ("pending", "the order cannot be read")
    order["displayFinancialStatus"] = paid
    shop.faults.left["error"] = 9
    state, said = only_mails()
    assert (state, said.partition(":")[0]) == ("pending", "Transient")
    shop.faults.left.clear()
    kept = shop.orders.pop("#1001")
    assert only_mails() == ("superseded", "the order is not there any more")
    shop.orders["#1001"] = kept
    assert shop.calls["Contact"] == asked
    assert only_mails()[0] == "sent"
    assert post.lab.one(t.mails).ended_at == post.lab.clock()  # business time, as all that people read
    assert [str(one["To"]) for one in post.server.mails] == [ANNA]


def test_a_stores_own_sender_that_changed_is_tried_again(post: Post) -> None:
    waits(post)
    configured(post, ("brand: Acme", "brand: Acme, sender: a@else.example"))
    post.server.answers["MAIL"] = "553 no"
    post.again()
    assert [found.subject for found in post.findings(FindingKind.MAIL_SUSPENDED)] == ["store/shop/mail"]
    post.server.answers.clear()
    post.again()
    assert post.rows() == [("shipped", "pending")]
    configured(post, ("a@else.example", "b@else.example"))
    post.again()
    assert post.rows() == [("shipped", "sent")]
    assert post.findings(FindingKind.MAIL_SUSPENDED) == []
    assert post.server.mails[-1]["From"] == "b@else.example"

    def counted() -> int:
        return int(post.lab.rows(t.mail_servers, t.mail_servers.c.name == "server")[0].minute_sent)

    mail = post.lab.ctx.config.root.mail
    assert mail is not None
    with post.lab.ctx.store.write() as connection:
        given = server.take(post.lab.ctx, connection, mail, 3)
        server.give_back(connection, replace(given, minute=START), 1)  # of a minute that is over
    taken = counted()
    with post.lab.ctx.store.write() as connection:
        server.give_back(connection, given, 1)
    assert (given.count, counted()) == (3, taken - 1)
    with post.lab.ctx.store.write() as connection:
        server.give_back(connection, given, 99)
    assert counted() == 0


def test_a_mail_that_ended_elsewhere_meanwhile_is_left_as_it_is(post: Post) -> None:
    waits(post)

    def taken(_recipient: str) -> None:
        post.lab.change(t.mails.update().values(attempts=999, state="superseded", reason="by another"))

    def refused(_recipient: str) -> str:
        post.lab.change(t.mails.update().values(attempts=98))
        return "550 no such user"

    post.server.answers["RCPT"] = refused
    post.again()
    assert post.rows() == [("shipped", "pending")] and post.findings(FindingKind.MAIL_REFUSED) == []
    post.lab.change(t.mails.update().values(claimed_until=None))
    post.server.answers["RCPT"] = taken
    post.again()
    assert post.lab.one(t.mails).reason == "by another"
    assert ANNA not in str(post.lab.rows(t.mails))
    with post.lab.ctx.store.read() as connection:
        silent = replace(post.lab.ctx, config=load_text(post.lab.yaml.replace(MAIL.format(port=post.server.port), "")))
        assert not queue.due(silent, connection, START + 999 * H, START + 999 * H)


def test_a_mail_at_which_the_server_hangs_up_holds_up_no_other(post: Post) -> None:
    post.lab.order("#1002", SECOND)
    post.lab.shop.addresses["#1002"] = "ben@example.net"
    post.lab.work()
    post.server.answers["DATA"] = lambda to: "421 I hang up" if to == ANNA else None
    for number in (USPS, SECOND):
        post.lab.scan(post.lab.easypost, number, "in_transit", "departed_facility", hours=0)
    post.lab.later(7)
    post.lab.change(t.mail_servers.update().values(blocked_until=None))  # its rest is over, and nothing else is
    post.lab.work()
    assert [mail.rcpt_tos for mail in post.server.taken] == [["ben@example.net"]]
    assert sorted(state for _, state in post.rows()) == ["pending", "sent"]
    post.lab.clock.move_to(post.lab.clock() + 25 * H)  # longer than mail.retry_for
    post.again()
    assert sorted(state for _, state in post.rows()) == ["dead", "sent"]
    assert len(post.findings(FindingKind.MAIL_REFUSED)) == 1


def test_a_server_that_takes_mails_and_never_says_so_sends_nobody_a_mail_a_third_time(post: Post) -> None:
    post.server.hangs_up = True
    post.lab.order("#1002", USPS)
    post.lab.shop.addresses["#1002"] = "ben@example.net"
    post.lab.work()
    post.scan("in_transit", "departed_facility")
    assert post.rows() == [("shipped", "pending")] * 2
    for _ in range(5):
        post.again()
    assert [mail.rcpt_tos for mail in post.server.taken] == [[ANNA]] * 2 + [["ben@example.net"]] * 2
    assert post.rows() == [("shipped", "dead")] * 2
    found = post.findings(FindingKind.MAIL_REFUSED)[0]
    assert found.evidence["said"] == "127.0.0.1: no answer to a mail that was handed over: it may have been taken"

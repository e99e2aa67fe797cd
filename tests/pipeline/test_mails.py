"""A customer is mailed once a parcel and class, what is true at that moment, at an address that is asked for and kept nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.lab import START, USPS, H, Lab, shipped
from tests.mail_server import MailServer, mail_server
from tracker.domain.errors import RateLimited, Refused
from tracker.domain.personal import erased, impersonal
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.mails import deliver, queue, server
from tracker.pipeline.mails.send import to_operators
from tracker.store import tables as t
from tracker.support.queues import Waiting
from tracker.upkeep import maintenance

ANNA = "anna.canary@example.net"
ALL = "[shipped, out_for_delivery, ready_for_pickup, attempted, delayed, problem, delivered, returning, placed]"
MAIL = """mail:
  host: 127.0.0.1
  port: {port}
  tls: none
  sender: Acme <orders@acme.example>
"""


class Post:
    """An installation that mails, and the server that takes its mails."""

    def __init__(self, lab: Lab, server: MailServer) -> None:
        self.lab, self.server = lab, server

    def scan(self, type_: str, code: str, *, hours: float = 0, later: float = 7, **more: Any) -> None:
        """Let the carrier scan the parcel, and work all that is due a while later."""
        self.lab.scan(self.lab.easypost, USPS, type_, code, hours=hours, **more)
        self.lab.later(later)

    @property
    def subjects(self) -> list[str]:
        return [str(one["Subject"]) for one in self.server.mails]

    def rows(self) -> list[tuple[str, str]]:
        return [(row.action["notice"], row.state) for row in self.lab.rows(t.mails)]

    def again(self) -> None:
        """Let what waits for the database's clock be due."""
        self.lab.change(t.mails.update().where(t.mails.c.state == "pending").values(due_at=START))
        self.lab.change(t.mail_servers.update().values(blocked_until=None))
        self.lab.work()

    def findings(self, kind: FindingKind) -> list[Any]:
        f = t.findings.c
        return self.lab.rows(t.findings, f.kind == kind, f.closed_at.is_(None))


Make = Callable[..., Post]


def make_post(make: Callable[..., Lab], folder: Path, stack: ExitStack, more: str = "", **given: Any) -> Post:
    server = stack.enter_context(mail_server(folder, tls="none"))
    store = given.pop("store", "")
    text = MAIL.format(port=server.port) + more
    said = f"mode: write, policy: {{preset: mirror, notices: {given.pop('notices', ALL)}}}, mail: {{send: true, brand: Acme{store}}}"
    lab = shipped(make, yaml=text, store=said, **given)
    lab.shop.addresses["#1001"] = ANNA
    return Post(lab, server)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Make]:
    """Make one on SQLite."""
    with ExitStack() as stack:
        yield lambda more="", **given: make_post(
            lambda **lab: Lab(f"sqlite:///{tmp_path}/post.db", tmp_path, stack, **lab), tmp_path, stack, more, **given
        )


def test_each_class_is_mailed_once_a_parcel_and_the_address_is_kept_nowhere(make_lab, tmp_path: Path) -> None:
    with ExitStack() as stack:
        one = make_post(make_lab, tmp_path, stack)
        one.scan("in_transit", "departed_facility", edd="2026-11-05T18:00:00Z")
        one.scan("out_for_delivery", "out_for_delivery")
        one.scan("delivered", "delivered")
        one.scan("delivered", "delivered")
        one.again()

        assert one.subjects == [
            "Your order #1001 is on its way",
            "A parcel of your order #1001 is out for delivery",
            "A parcel of your order #1001 was delivered",
        ]
        assert one.rows() == [("shipped", "sent"), ("out_for_delivery", "sent"), ("delivered", "sent")]
        assert {tuple(mail.rcpt_tos) for mail in one.server.taken} == {(ANNA,)}
        assert one.lab.shop.calls["Contact"] == 3
        shown = "\n".join(
            str(row) for table in t.METADATA.sorted_tables for row in one.lab.rows(table) if table.primary_key.columns
        )
        assert "canary" not in shown
        assert "buyer@" not in shown
        text = next(one.server.mails[0].iter_parts()).get_content()
        assert "handed to USPS" in text
        assert f"Tracking number: {USPS}" in text
        assert [row.state for row in one.lab.rows(t.outbox, t.outbox.c.kind == "notice")] == ["sent"] * 4


def test_what_a_shop_sells_in_german_is_written_in_german(post: Make) -> None:
    one = post()
    one.lab.shop.set("#1001", customerLocale="de-AT")
    one.scan("in_transit", "departed_facility")

    assert one.subjects == ["Ihre Bestellung #1001 ist unterwegs"]


def test_in_quiet_hours_nothing_is_sent_and_then_only_what_is_newest_and_still_true(post: Make) -> None:
    one = post('  quiet: {begins: "14:00", ends: "07:00", zone: UTC}\n')  # it is 08:00
    one.scan("in_transit", "departed_facility", later=7)
    one.scan("out_for_delivery", "out_for_delivery", later=1)
    assert (one.subjects, {state for _, state in one.rows()}) == ([], {"pending"})
    assert one.lab.rows(t.mails)[0].not_before == START + 23 * H
    assert maintenance.next_business_time(one.lab.ctx) <= START + 23 * H
    with one.lab.ctx.store.read() as connection:
        assert Waiting(one.lab.ctx, connection).of["mail"].count == 0

    one.lab.later(6)  # 22:00
    one.scan("delivered", "delivered", later=7)  # 05:00
    one.lab.later(3)

    assert one.subjects == ["A parcel of your order #1001 was delivered"]
    assert one.rows() == [("shipped", "superseded"), ("out_for_delivery", "superseded"), ("delivered", "sent")]
    assert "the parcel is delivered now" in one.lab.rows(t.mails)[1].reason


def test_of_what_piled_up_only_the_newest_is_told_and_a_quiet_hour_that_began_meanwhile_holds(post: Make) -> None:
    one = post('  quiet: {begins: "21:00", ends: "22:00", zone: UTC}\n')
    one.server.answers["MAIL"] = "421 going down"
    one.scan("in_transit", "departed_facility")
    one.scan("out_for_delivery", "out_for_delivery", later=6.5)  # 21:30
    one.server.answers.clear()
    one.again()
    assert one.subjects == []
    one.lab.later(1)
    one.again()

    assert one.subjects == ["A parcel of your order #1001 is out for delivery"]
    assert one.rows() == [("shipped", "superseded"), ("out_for_delivery", "sent")]


def test_a_recipient_that_is_refused_is_told_masked_and_never_tried_again(post: Make) -> None:
    one = post()
    one.server.answers["RCPT"] = f"550 5.1.1 <{ANNA}> unknown"
    one.scan("in_transit", "departed_facility")
    one.again()

    (row,) = one.lab.rows(t.mails)
    assert (row.state, row.attempts) == ("refused", 1)
    (found,) = one.findings(FindingKind.MAIL_REFUSED)
    assert found.evidence["mailbox"] == "a***@example.net"
    assert "example.net" not in str(impersonal(found.evidence)) + str(erased(found.evidence))
    assert found.evidence["order"] == "#1001"
    assert "canary" not in str(found)
    assert found.proposal == f"reach the customer another way, or once it is mended: `tracker notify retry {row.id}`"

    one.server.answers.clear()
    assert queue.retry(one.lab.ctx, [row.id], "shop") == 1
    assert len(one.findings(FindingKind.MAIL_REFUSED)) == 1
    one.again()
    assert (one.rows(), one.findings(FindingKind.MAIL_REFUSED)) == ([("shipped", "sent")], [])


def test_a_recipient_that_is_put_off_is_tried_again_for_so_long_and_then_told(post: Make) -> None:
    one = post("  retry_for: 12h\n")
    one.server.answers["DATA"] = "450 4.2.0 greylisted"
    one.scan("in_transit", "departed_facility", later=4)
    assert one.rows() == [("shipped", "pending")]
    assert one.lab.one(t.mails).reason == "127.0.0.1: mail: 450 4.2.0 greylisted"
    one.lab.later(13)
    one.again()

    assert one.rows() == [("shipped", "dead")]
    assert len(one.findings(FindingKind.MAIL_REFUSED)) == 1


def test_a_server_that_is_away_rests_with_one_finding_and_goes_on(post: Make) -> None:
    one = post()
    port = one.server.port
    one.server.stop()
    one.scan("in_transit", "departed_facility")
    assert one.findings(FindingKind.MAIL_AWAY) == []  # it may pass
    assert queue.run(one.lab.ctx) == 0  # it rests
    one.lab.later(1)
    one.again()
    (found,) = one.findings(FindingKind.MAIL_AWAY)
    assert found.evidence["why"] == "127.0.0.1: ConnectionRefusedError"
    assert one.rows() == [("shipped", "pending")]

    with mail_server(one.server.ca_file.parent, tls="none", port=port) as back:
        one.server = back
        one.again()
    assert one.subjects == ["Your order #1001 is on its way"]
    assert one.findings(FindingKind.MAIL_AWAY) == []


def test_a_sender_that_is_refused_suspends_all_mails_with_one_urgent_finding_until_it_changes(post: Make) -> None:
    one = post()
    one.server.answers["MAIL"] = "550 5.7.1 not your domain"
    one.scan("in_transit", "departed_facility")
    one.again()

    (found,) = one.findings(FindingKind.MAIL_SUSPENDED)
    assert (found.severity, found.subject) == ("urgent", "mail/server")
    assert found.evidence["said"] == "127.0.0.1: sender: 550 5.7.1 not your domain"
    assert one.rows() == [("shipped", "pending")]
    with pytest.raises(RateLimited, match="suspended"):
        to_operators(one.lab.ctx, ["ops@acme.example"], "s", "t", key="k")

    one.server.answers.clear()
    changed = one.lab.ctx.config.root.mail.model_copy(update={"sender": "Acme <post@acme.example>"})
    root = one.lab.ctx.config.root.model_copy(update={"mail": changed})
    one.lab.ctx.config = replace(one.lab.ctx.config, root=root)
    one.again()
    assert one.rows() == [("shipped", "sent")]
    assert one.findings(FindingKind.MAIL_SUSPENDED) == []


def test_a_stores_own_sender_that_is_refused_suspends_that_store_alone(post: Make) -> None:
    one = post(store=", sender: shop@else.example, reply_to: help@else.example")
    one.server.answers["MAIL"] = lambda sender: "553 no" if sender == "shop@else.example" else None
    one.scan("in_transit", "departed_facility")
    one.again()

    (found,) = one.findings(FindingKind.MAIL_SUSPENDED)
    assert (found.subject, found.store) == ("store/shop/mail", "shop")
    assert one.rows() == [("shipped", "pending")]
    to_operators(one.lab.ctx, ["ops@acme.example"], "Still alive", "text", key="k")  # by another sender
    assert one.subjects == ["Still alive"]

    one.server.answers.clear()
    with one.lab.ctx.store.write() as connection:
        server.release(one.lab.ctx, connection, "store/shop", "person")
    one.again()
    assert one.server.mails[-1]["Reply-To"] == "help@else.example"
    assert one.findings(FindingKind.MAIL_SUSPENDED) == []


def test_a_shop_that_hides_addresses_is_told_once_with_what_is_needed(post: Make) -> None:
    one = post()
    one.lab.shop.hides_addresses = True
    one.scan("in_transit", "departed_facility")

    (found,) = one.findings(FindingKind.ADDRESS_UNREAD)
    assert "ACCESS_DENIED: This app is not approved to use the email field" in found.evidence["said"]
    assert "protected customer data" in found.evidence["needs"]
    assert (
        one.lab.rows(t.accounts, t.accounts.c.name == "shop")[0].suspended_reason is None
    )  # the rest of the order is read
    one.lab.shop.hides_addresses = False
    one.again()
    assert one.rows() == [("shipped", "sent")]
    assert one.findings(FindingKind.ADDRESS_UNREAD) == []


def test_an_order_without_an_address_or_with_none_that_is_one_is_mailed_nothing(post: Make) -> None:
    one = post()
    one.lab.shop.addresses["#1001"] = None
    one.scan("in_transit", "departed_facility")
    assert one.lab.one(t.mails).reason == "the order names no mail address"
    assert one.findings(FindingKind.MAIL_REFUSED) == []

    one.lab.shop.addresses["#1001"] = "canary at home"
    one.scan("out_for_delivery", "out_for_delivery")
    assert one.rows() == [("shipped", "refused"), ("out_for_delivery", "refused")]
    (found,) = one.findings(FindingKind.MAIL_REFUSED)
    assert "canary" not in str(found)


def test_a_shop_that_is_away_when_it_is_asked_is_asked_later_and_one_without_the_order_never(post: Make) -> None:
    one = post()
    one.server.answers["MAIL"] = "421 later"
    one.scan("in_transit", "departed_facility")
    one.server.answers.clear()
    one.lab.shop.faults.left["error"] = 9
    one.lab.change(t.mails.update().values(due_at=START))
    one.lab.change(t.mail_servers.update().values(blocked_until=None))
    one.lab.work("mail")
    assert one.lab.one(t.mails).reason.startswith("Transient: ")
    assert one.rows() == [("shipped", "pending")]

    one.lab.shop.faults.left.clear()
    del one.lab.shop.orders["#1001"]
    one.lab.change(t.mails.update().values(due_at=START))
    one.lab.work("mail")
    assert one.rows() == [("shipped", "superseded")]
    assert one.lab.one(t.mails).reason == "the order is not there any more"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"displayFinancialStatus": "REFUNDED"}, "the order is shipped, its payment refunded: nobody is told"),
        ({"cancelledAt": "2026-11-02T09:00:00Z"}, "the order is cancelled, its payment paid: nobody is told"),
        ({"test": True}, "the order was placed to try the shop: nobody is told of it"),
    ],
)
def test_nobody_is_mailed_of_an_order_that_people_ended(post: Make, change: dict[str, Any], why: str) -> None:
    one = post('  quiet: {begins: "09:00", ends: "20:00", zone: UTC}\n')
    one.scan("in_transit", "departed_facility")
    one.lab.shop.set("#1001", **change)
    one.lab.work()
    one.lab.later(6)

    assert (one.subjects, one.rows()) == ([], [("shipped", "superseded")])
    assert one.lab.one(t.mails).reason == why


def test_a_paused_store_mails_nothing_and_what_grew_old_meanwhile_is_never_told(post: Make) -> None:
    one = post()
    one.server.answers["MAIL"] = "421 later"
    one.scan("in_transit", "departed_facility")
    one.server.answers.clear()
    one.lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=START))
    one.again()
    assert (one.subjects, one.rows()) == ([], [("shipped", "pending")])
    with one.lab.ctx.store.read() as connection:
        assert not queue.due(one.lab.ctx, connection, START + 999 * H, one.lab.clock())
    one.lab.clock.move_to(START + 60 * H)
    one.lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=None))
    assert "mail" in maintenance.due_queues(one.lab.ctx)
    with one.lab.ctx.store.read() as connection:
        assert Waiting(one.lab.ctx, connection).of["mail"].count == 1
    one.lab.change(t.mail_servers.update().values(blocked_until=None))
    one.lab.work("mail")

    assert (one.subjects, one.rows()) == ([], [("shipped", "superseded")])
    assert "more than 48 hours ago" in one.lab.one(t.mails).reason


def test_a_mail_rests_on_a_brake_as_every_other_end_does(post: Make) -> None:
    one = post()
    one.server.answers["MAIL"] = "421 later"
    one.scan("delivered", "delivered")
    one.server.answers.clear()
    brake = {"usps": {"since": START.isoformat(), "stood": [], "parcels": []}}
    one.lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(brakes=brake))
    one.again()
    assert one.rows() == [("delivered", "pending")]
    assert "held by the brake of account easypost" in one.lab.one(t.mails).reason
    one.lab.change(t.accounts.update().where(t.accounts.c.name == "easypost").values(brakes=None))
    one.again()
    assert one.rows() == [("delivered", "sent")]


def test_only_so_many_mails_a_minute_and_a_connection(post: Make) -> None:
    one = post("  per_minute: 2\n  per_connection: 1\n")
    one.scan("in_transit", "departed_facility")
    one.scan("out_for_delivery", "out_for_delivery")
    one.scan("delivered", "delivered")
    assert len(one.subjects) == 2
    assert one.server.connections == 2
    one.lab.change(t.mail_servers.update().values(minute_at=START))
    one.again()
    assert len(one.subjects) == 3


def test_a_store_that_does_not_mail_or_no_server_mails_nothing(post: Make) -> None:
    one = post()
    one.server.answers["MAIL"] = "421 later"
    one.scan("in_transit", "departed_facility")
    account = one.lab.ctx.config.accounts["shop"]
    for field, value, why in (
        ("mode", "observe", "only observes"),
        ("mail", account.mail.model_copy(update={"send": False}), "does not mail"),
    ):
        one.lab.change(t.mails.update().values(state="pending", due_at=START))
        one.lab.change(t.mail_servers.update().values(blocked_until=None))
        changed = replace(account, **{field: value})
        one.lab.ctx.config.accounts["shop"] = changed
        one.lab.work("mail")
        assert why in one.lab.one(t.mails).reason
    one.scan("out_for_delivery", "out_for_delivery")
    assert len(one.rows()) == 1
    one.lab.ctx.config = replace(one.lab.ctx.config, root=one.lab.ctx.config.root.model_copy(update={"mail": None}))
    assert queue.run(one.lab.ctx) == 0
    with pytest.raises(Refused, match="no mail: is configured"):
        to_operators(one.lab.ctx, ["ops@acme.example"], "s", "t", key="k")


def test_a_bug_of_ours_ends_that_mail_alone_and_is_told(post: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = post()
    monkeypatch.setattr(type(one.lab.ctx.config.wording), "write", lambda *_: 1 / 0)
    one.scan("in_transit", "departed_facility")
    for _ in range(6):
        one.again()

    assert one.rows() == [("shipped", "dead")]
    assert "ZeroDivisionError" in one.lab.one(t.mails).reason
    assert len(one.findings(FindingKind.MAIL_REFUSED)) == 1


def test_a_mail_that_somebody_else_claimed_meanwhile_is_left_to_him(post: Make) -> None:
    one = post()

    def slow(_sender: str) -> None:
        raise AssertionError("it is not sent")

    address = one.lab.ctx.config.accounts["shop"].platform.mail_address

    def asked(client: Any, ref: str) -> str:
        one.lab.change(t.mails.update().values(attempts=t.mails.c.attempts + 1))
        return str(address(client, ref))

    one.lab.ctx.config.accounts["shop"].platform.mail_address = asked
    one.server.answers["MAIL"] = slow
    one.scan("in_transit", "departed_facility")
    assert (one.subjects, one.rows()) == ([], [("shipped", "pending")])


def test_a_crash_after_the_server_took_a_mail_sends_it_twice_with_one_message_id(
    post: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = post()

    def dies(name: str) -> None:
        if name == "mail_after_send":
            raise SystemExit

    monkeypatch.setattr(deliver, "crash_at", dies)
    with pytest.raises(SystemExit):
        one.scan("in_transit", "departed_facility")
    monkeypatch.undo()
    assert one.rows() == [("shipped", "pending")]
    maintenance.release_claims(one.lab.ctx)
    one.again()
    one.again()

    assert one.rows() == [("shipped", "sent")]
    assert len(one.server.mails) == 2
    assert len({mail["Message-ID"] for mail in one.server.mails}) == 1


def test_a_store_whose_entry_is_gone_keeps_its_mails_and_a_parcel_that_left_its_order_is_told_of_no_more(
    post: Make,
) -> None:
    one = post('  quiet: {begins: "09:00", ends: "20:00", zone: UTC}\n')
    one.scan("in_transit", "departed_facility")
    one.lab.shop.retrack("#1001", [{"company": "USPS", "number": "9400111206206406263009"}])
    one.lab.work()
    account = one.lab.ctx.config.accounts.pop("shop")
    one.lab.clock.move_to(START + 13 * H)
    one.lab.work("mail")
    assert one.lab.one(t.mails).reason == "its store's entry is wrong or gone"

    one.lab.ctx.config.accounts["shop"] = account
    one.lab.change(t.mails.update().values(due_at=START))
    one.lab.work()
    assert one.rows()[0] == ("shipped", "superseded")
    assert one.lab.rows(t.mails)[0].reason == "the order holds no such parcel any more"


def test_each_statement_of_the_queue_has_its_index(post: Make) -> None:
    one = post()
    ready = sa.select(t.mails.c.id).where(t.mails.c.state == "pending", t.mails.c.due_at <= START, *queue.ready(START))
    newer = sa.select(t.mails.c.key).where(t.mails.c.order_id == 1, t.mails.c.state == "pending")
    with one.lab.ctx.store.read() as connection:
        for statement, index in ((ready.limit(1), "mails_due"), (newer, "mails_order")):
            text = statement.compile(one.lab.ctx.store.engine, compile_kwargs={"literal_binds": True})
            plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
            assert index in plan, plan

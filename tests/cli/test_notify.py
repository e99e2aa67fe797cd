"""`tracker notify`: a person sees the very mail before it is sent, and what became of each; no address is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.app.press import Pressed
from tests.lab import USPS, Lab
from tests.pipeline.test_mails import MAIL, Post, make_post
from tracker.domain.errors import TrackerError
from tracker.domain.vocabulary import NoticeClass
from tracker.store import tables as t
from tracker.support import mails, statements

MASKED = "a***@example.net"


class Desk:
    """An installation that mails, and its command line."""

    def __init__(self, post: Post, folder: Path) -> None:
        self.post, self.lab, self._folder = post, post.lab, folder
        (folder / "tracker.yaml").write_text(post.lab.yaml)

    def run(self, *more: str, verb: str = "notify", words: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run the installed command, at the play's moment."""
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        line = [verb, *more, *words, "--config", str(self._folder / "tracker.yaml")]
        at = {"PATH": "", "HOME": "/", "TRACKER_PLAYED": self.lab.clock().isoformat()}
        code = Pressed(line, at, log).wait(60)
        return code, log.read_text().split("Z\n", 1)[-1]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        made = make_post(lambda **more: Lab(f"sqlite:///{tmp_path}/desk.db", tmp_path, stack, **more), tmp_path, stack)
        made.server.answers["DATA"] = "450 4.2.0 greylisted"
        made.scan("in_transit", "departed_facility")
        yield Desk(made, tmp_path)


def test_the_very_mail_is_shown_before_it_is_sent_and_told_afterwards(desk: Desk) -> None:
    code, said = desk.run("preview", "1001", "--json")
    (one,) = json.loads(said)
    assert (code, one["sends"], one["to"], one["why"], one["language"]) == (0, True, MASKED, None, "en")
    assert "canary" not in said

    desk.post.server.answers.clear()
    desk.post.again()
    assert desk.post.server.mails[0]["Subject"] == one["subject"]
    assert next(desk.post.server.mails[0].iter_parts()).get_content().replace("\r\n", "\n") == one["text"]

    code, said = desk.run("preview", "1001", "--language", "de", "--html")
    assert code == 0
    assert "shipped of 9400111206206406260787: was sent: it was sent at 2026-" in said
    assert "Subject: Ihre Bestellung #1001 ist unterwegs" in said
    assert '<html lang="de">' in said

    code, said = desk.run("preview", "1001", "--class", "delivered")
    assert code == 1
    assert f"delivered of {USPS}: is not sent: the parcel is in transit now" in said
    assert f"To: {MASKED}" in said
    assert "Reply-To" not in said


def test_mails_are_listed_and_what_was_refused_is_tried_again_by_a_person(desk: Desk) -> None:
    assert "450 4.2.0 greylisted" in desk.run("list")[1]
    desk.post.server.answers = {"RCPT": "550 5.1.1 no such user"}
    desk.post.again()
    code, said = desk.run("list", "--state", "refused", "--order", "1001", "--json")
    (row,) = json.loads(said)
    assert code == 0
    assert (row["order"], row["parcel"], row["notice"], row["reason"]) == (
        "#1001", USPS, "shipped", "127.0.0.1: recipient: 550 5.1.1 no such user",
    )  # fmt: skip
    code, said = desk.run("preview", "1001")
    assert (code, "it ended refused: 127.0.0.1: recipient: 550" in said) == (1, True)
    assert desk.run("retry")[0] == 2
    assert desk.run("retry", "99") == (1, "0 mails are due again\n")
    assert desk.run("retry", "--all", "--store", "shop") == (0, "1 mails are due again\n")
    assert mails.list_mails(desk.lab.ctx, after=1) == mails.list_mails(desk.lab.ctx, store="kart") == []

    desk.post.server.answers = {"MAIL": "550 not yours"}
    desk.post.again()
    assert desk.run("resume") == (0, "resumed: server\n")
    assert desk.run("resume") == (1, "no mails are suspended\n")


def test_why_nothing_is_mailed_is_said(desk: Desk) -> None:
    code, said = desk.run("preview", "99")
    assert (code, said) == (1, "no order '99' is known\n")
    ctx, row = desk.lab.ctx, statements.find_order(desk.lab.ctx, "#1001")
    desk.lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=desk.lab.clock()))
    assert mails.preview(ctx, row)[0]["why"] == "store shop is paused or suspended: tracker resume shop"
    desk.lab.change(t.accounts.update().values(paused_at=None))
    desk.lab.shop.addresses["#1001"] = None
    (one,) = mails.preview(ctx, row)
    assert (one["sends"], one["why"], one["to"]) == (
        False,
        "the order names no mail address",
        "(the order names no mail address)",
    )
    desk.lab.shop.hides_addresses = True
    assert "not approved to use the email field" in mails.preview(ctx, row)[0]["why"]
    with pytest.raises(TrackerError, match="placed is not mailed: one of attempted"):
        mails.preview(ctx, row, kind=NoticeClass.PLACED)
    desk.lab.shop.set("#1001", cancelledAt="2026-11-02T09:00:00Z")
    desk.lab.work()
    code, said = desk.run("preview", "1001")
    assert (code, said) == (
        1,
        "of order #1001 nothing is told by mail now: `tracker explain 1001` says how it stands\n",
    )
    account = ctx.config.accounts.pop("shop")
    with pytest.raises(TrackerError, match="the entry of store shop is wrong or gone"):
        mails.preview(ctx, row)
    ctx.config.accounts["shop"] = account
    port = desk.post.server.port
    silent = desk.lab.yaml.replace(MAIL.format(port=port), "")
    (Path(desk._folder) / "tracker.yaml").write_text(silent)
    assert desk.run("preview", "1001") == (1, "no mail: is configured, so nobody is mailed\n")


def test_check_logs_in_at_the_mail_server_and_says_whether_the_shop_tells_addresses(desk: Desk) -> None:
    def checked() -> dict[str, list[str]]:
        code, said = desk.run(verb="check", words=("--json",))
        told = json.loads(said[said.index("{") :])
        return {"code": [str(code)], "problems": told["problems"], "notes": told["notes"]}

    told = checked()
    assert "mail: 127.0.0.1 takes mails of Acme <orders@acme.example>" in told["notes"]
    assert "shop (shopify): it tells mail addresses" in told["notes"]
    assert desk.post.subjects == []
    desk.lab.shop.hides_addresses = True
    desk.post.server.stop()
    told = checked()
    assert told["code"] == ["1"]
    assert "mail: 127.0.0.1: ConnectionRefusedError" in told["problems"]
    assert any(
        "it tells no mail addresses, so nobody is mailed: ACCESS_DENIED" in said and "protected customer data" in said
        for said in told["problems"]
    )

    whole = desk.lab.yaml
    (desk._folder / "tracker.yaml").write_text(whole.replace(MAIL.format(port=desk.post.server.port), ""))
    assert "shop: no mail: is configured, so nobody is mailed" in checked()["notes"]
    ctx, account = desk.lab.ctx, desk.lab.ctx.config.accounts["shop"]
    desk.lab.shop.hides_addresses = False
    desk.lab.shop.orders.clear()
    assert mails.proved(ctx, account) == "its newest order is gone: whether it tells mail addresses is not known"
    assert mails.proved(ctx, replace(account, name="kart")).startswith("no order is known yet")
    desk.lab.change(sa.text("ALTER TABLE orders RENAME TO elsewhere"))
    assert mails.proved(ctx, account).startswith("no order is known yet")

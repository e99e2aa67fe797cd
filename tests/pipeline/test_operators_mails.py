"""Operators are mailed at once, whatever the hour: each of them, and who cannot be is told."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.pipeline.test_mails import make_post
from tracker.domain.errors import CredentialsRejected, RateLimited, Refused, Transient
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline.mails.send import to_operators
from tracker.store import tables as t


def test_operators_are_mailed_at_once_each_and_told_who_refuses(tmp_path: Path) -> None:
    with ExitStack() as stack:
        quiet = '  quiet: {begins: "00:00", ends: "23:59", zone: UTC}\n'
        one = make_post(
            lambda **more: Lab(f"sqlite:///{tmp_path}/x.db", tmp_path, stack, **more), tmp_path, stack, quiet
        )
        ctx, to = one.lab.ctx, ["ops@acme.example", "boss@acme.example", "ops@acme.example"]
        to_operators(ctx, to, "Urgent: ends leapt", "text\n", key="finding/1", html="<p>text</p>")
        to_operators(ctx, to[:1], "Urgent: ends leapt", "text\n", key="finding/1")
        assert [mail.rcpt_tos for mail in one.server.taken] == [
            ["ops@acme.example"],
            ["boss@acme.example"],
            ["ops@acme.example"],
        ]
        ids = [mail["Message-ID"] for mail in one.server.mails]
        assert ids[0] == ids[2] != ids[1]  # the same told again is the same mail

        one.lab.change(t.mail_servers.update().values(minute_sent=1_000))  # by those to customers
        to_operators(ctx, to[:1], "Urgent: ends leapt", "text\n", key="finding/1")

        one.server.answers["RCPT"] = lambda who: "550 no such user" if who.startswith("boss") else None
        with pytest.raises(Refused, match=r"b\*\*\*@acme\.example: 127\.0\.0\.1: recipient: 550"):
            to_operators(ctx, to, "s", "t", key="k")
        one.server.answers["RCPT"] = "450 later"
        with pytest.raises(RateLimited, match="recipient: 450"):
            to_operators(ctx, to, "s", "t", key="k")
        one.server.answers["RCPT"] = "421 later"
        with pytest.raises(Transient, match="421"):
            to_operators(ctx, to, "s", "t", key="k")
        with pytest.raises(RateLimited, match="rests"):
            to_operators(ctx, to, "s", "t", key="k")
        one.lab.change(t.mail_servers.update().values(blocked_until=None))
        one.server.answers = {"MAIL": "550 not yours"}
        with pytest.raises(CredentialsRejected):
            to_operators(ctx, to, "s", "t", key="k")
        assert len(one.findings(FindingKind.MAIL_SUSPENDED)) == 1

"""How the server that takes mails answers: it rests where it is away, and is suspended where it refuses our login or sender.

`server` is all of it; `store/NAME` a store whose own sender it refuses, so that the others are mailed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.mail import MailPart
from tracker.config.model import Account
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.hashing import digest
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import findings, mail_servers

SERVER = "server"
TOLD_AFTER = timedelta(minutes=5)  # what passes sooner needs nobody
MINUTE = timedelta(minutes=1)
_M = mail_servers.c


def whose(account: Account | None) -> str:
    """Return whom it concerns that a sender is refused: the store that has its own, else the server as a whole."""
    return f"store/{account.name}" if account is not None and account.mail.sender else SERVER


def credentials(mail: MailPart, account: Account | None) -> str:
    """Return a hash that changes with the settings that a refusal is about."""
    own = account.mail.sender if account is not None else None
    return digest([mail.credentials, own]) if own else mail.credentials


@dataclass(frozen=True)
class Given:
    """How many mails may be sent now, and the minute (when it began) in which they are counted."""

    count: int = 0
    minute: datetime | None = None


def take(ctx: AppContext, connection: Connection, mail: MailPart, most: int, *, at_once: bool = False) -> Given:
    """Say how many mails may be sent now, `most` at most, and count them: none where the server is suspended, rests or had its minute.

    `at_once`: to operators, who do not wait behind customers' mails: they are counted, and go all the same.
    """
    now = database_now(connection)
    row = _locked(connection, SERVER)
    if row is None:
        insert = queries.upsert(connection, mail_servers).on_conflict_do_nothing()
        connection.execute(insert, {"name": SERVER, "credentials": "", "failures": 0, "minute_sent": 0})
        row = _locked(connection, SERVER)
        assert row is not None
    if row.suspended_reason and row.credentials == mail.credentials:
        return Given()
    if row.suspended_reason:
        release(ctx, connection, SERVER, "its settings changed")
    if row.blocked_until is not None and row.blocked_until > now:
        return Given()
    begins, sent = (row.minute_at, row.minute_sent) if row.minute_at and now - row.minute_at < MINUTE else (now, 0)
    given = most if at_once else max(0, min(most, mail.per_minute - sent))
    if given:
        connection.execute(
            mail_servers.update().where(_M.name == SERVER).values(minute_at=begins, minute_sent=sent + given)
        )
    return Given(given, begins)


def give_back(connection: Connection, given: Given, count: int) -> None:
    """Take back what was counted and not sent; nothing where its minute is over, as another one counts its own."""
    left = sa.case((_M.minute_sent > count, _M.minute_sent - count), else_=0)
    here = (_M.name == SERVER, _M.minute_at == given.minute)
    connection.execute(mail_servers.update().where(*here).values(minute_sent=left))


def refused_stores(ctx: AppContext, connection: Connection, mail: MailPart) -> list[str]:
    """Return the stores whose own sender is refused, as it is now; those that changed it are mailed again."""
    rows = connection.execute(sa.select(mail_servers).where(_M.name != SERVER, _M.suspended_reason.isnot(None))).all()
    still = []
    for row in rows:
        store = row.name.partition("/")[2]
        if row.credentials == credentials(mail, ctx.account(store)):
            still.append(store)
        else:
            release(ctx, connection, row.name, "its settings changed")
    return still


def suspend(ctx: AppContext, mail: MailPart, account: Account | None, said: str) -> None:
    """Send nothing more by this login or sender until it changes, and tell a person at once."""
    name = whose(account)
    with ctx.store.write() as connection:
        values = {
            "name": name, "credentials": credentials(mail, account), "suspended_reason": said[: queries.MOST_REASON],
            "failures": 0, "minute_sent": 0,
        }  # fmt: skip
        insert = queries.upsert(connection, mail_servers)
        changed = {key: insert.excluded[key] for key in ("credentials", "suspended_reason")}
        connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=changed), values)
        evidence = {"server": mail.host, "said": said[:200]} | (
            {"store": account.name} if account and name != SERVER else {}
        )
        finding = Finding(
            FindingKind.MAIL_SUSPENDED, _subject(name), Severity.URGENT, Act.ACT, evidence, ctx.now(),
            "mend `mail:` (a changed setting is tried at once), or where the server was wrong: `tracker notify resume`",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(None, finding)], ctx.now(), by="mail")
    ctx.log.warning("mail_suspended", host=mail.host, said=said[:200])


def release(ctx: AppContext, connection: Connection, name: str, why: str) -> None:
    """Let mails go on that were suspended, and close what told of it."""
    connection.execute(mail_servers.update().where(_M.name == name).values(suspended_reason=None, blocked_until=None))
    _close(connection, FindingKind.MAIL_SUSPENDED, name, ctx.now(), why)


def fails(ctx: AppContext, mail: MailPart, said: str) -> None:
    """Note that the server is away: it rests, ever longer, and one finding says so once it lasts."""
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        row = _locked(connection, SERVER)
        failures = (row.failures if row is not None else 0) + 1
        since = (row.failing_since if row is not None else None) or business
        values = {"failures": failures, "failing_since": since, "blocked_until": now + queries.backoff(failures)}
        connection.execute(mail_servers.update().where(_M.name == SERVER).values(**values))
        if business - since >= TOLD_AFTER:
            evidence = {"server": mail.host, "why": said[:200], "since": f"{since:%Y-%m-%d %H:%M}Z"}
            finding = Finding(
                FindingKind.MAIL_AWAY, _subject(SERVER), Severity.WARNING, Act.ACT, evidence, since,
                f"asked again within {max(1, round(queries.backoff(failures) / MINUTE))} minutes; what is to be mailed waits",
            )  # fmt: skip
            tell.report_findings(ctx, connection, [(None, finding)], business, by="mail")
    ctx.log.info("mail_failed", host=mail.host, said=said[:200])


def answers(ctx: AppContext) -> None:
    """Note that the server takes mails."""
    with ctx.store.write() as connection:
        well = {"failures": 0, "failing_since": None, "blocked_until": None}
        failed = mail_servers.update().where(_M.name == SERVER, _M.failures > 0).values(**well)
        if connection.execute(failed).rowcount:
            _close(connection, FindingKind.MAIL_AWAY, SERVER, ctx.now(), "it answers again")


def _locked(connection: Connection, name: str) -> Any:
    found = sa.select(mail_servers).where(_M.name == name)
    return connection.execute(queries.locked(connection, found)).one_or_none()


def _subject(name: str) -> str:
    return f"mail/{name}" if name == SERVER else f"{name}/mail"


def _close(connection: Connection, kind: FindingKind, name: str, business: datetime, why: str) -> None:
    over = sa.and_(findings.c.subject == _subject(name), findings.c.kind == kind)
    queries.close_findings(connection, over, business, "mail", why)

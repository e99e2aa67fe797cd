"""One mail after the other, on one connection: read its order again, is it still true, to whom does it go, write it, send it.

The address is asked for when the mail is written, and forgotten with it. A mail that is not true any more ends `superseded`; one that
the recipient's server refuses ends `refused`, with a finding about the order; one that may be taken later is tried for `mail.retry_for`.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.mail import MailPart
from tracker.config.model import Account
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unanswered,
)
from tracker.domain.facts import Action, Finding, Order
from tracker.domain.mails import masked_address
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import backoff, brakes, tell
from tracker.pipeline.context import AppContext, MailSession
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.mails import letter as letters
from tracker.pipeline.mails import server
from tracker.pipeline.mails.judge import judge, language_of, words
from tracker.pipeline.read_again import Known, known, read_again
from tracker.store import queries
from tracker.store.codec import ACTION
from tracker.store.engine import database_now
from tracker.store.tables import findings, mails, orders

GONE = "the order is not there any more"
HOUR, MINUTE, AT_ONCE = timedelta(hours=1), timedelta(minutes=1), timedelta(0)


class Stop(Exception):
    """The server takes nothing just now, from anybody. `kept`: what becomes of the mail that it was about is kept already."""

    def __init__(self, why: str, *, kept: bool = False) -> None:
        """Say why."""
        super().__init__(why)
        self.kept = kept


class Batch:
    """Some mails and the connection that they share, which is opened for the first that is to be sent."""

    def __init__(self, ctx: AppContext, mail: MailPart) -> None:
        """Nothing is connected yet."""
        self._ctx, self._mail = ctx, mail
        self._stack = ExitStack()
        self._session: MailSession | None = None
        self._unread: dict[str, str] = {}  # stores that do not tell addresses, and why

    def __enter__(self) -> Batch:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._stack.close()

    def deliver(self, row: Row[Any]) -> None:
        """Send a claimed mail, or keep why not. Raises Stop where the server takes none, and what a bug raises."""
        ctx, account = self._ctx, self._ctx.account(row.store)
        action = ACTION.validate_python(row.action)
        if account is None or ctx.config.wording is None:
            return _later(ctx, row, "its store's entry is wrong or gone", HOUR)
        about = self._judged(row, account, action)
        order = self._read(row, account, action) if about is not None else None
        about = self._judged(row, account, action, order) if order is not None else None
        if about is None or not (address := self._address(row, account, action)):
            return None
        said = words(ctx.config.wording, account, action, language_of(self._mail, account, about.order))
        try:
            letter = letters.write(
                sender=account.mail.sender or self._mail.sender, reply_to=account.mail.reply_to or self._mail.reply_to,
                to=address, subject=said.subject, text=said.text, html=said.html, key=row.key, at=ctx.now(),
            )  # fmt: skip
        except Refused as error:
            return self._refused(row, error, "")
        with ctx.store.write() as connection:
            if not queries.renew(connection, mails, row, queries.LEASE):
                return None  # it took so long that somebody else has it
        return self._send(row, account, letter)

    def _judged(self, row: Row[Any], account: Account, action: Action, order: Order | None = None) -> Known | None:
        """Return what is known of the order, `order` as it was just read; None where the mail is not sent now, which is kept."""
        ctx = self._ctx
        paused, braked = brakes.in_force(ctx, row.store)
        with ctx.store.read() as connection:
            about = known(connection, row.order_id)
            if order is not None:
                about = about.as_read(order)
            verdict = judge(connection, self._mail, account, about, action, ctx.now(), braked)
        if verdict.ends:
            _end(ctx, row, "superseded", verdict.why)
        elif paused:
            _later(ctx, row, "the store is paused", MINUTE)
        elif verdict.why:
            _later(ctx, row, verdict.why, AT_ONCE if verdict.until else MINUTE, verdict.until)
        else:
            return about
        return None

    def _read(self, row: Row[Any], account: Account, action: Action) -> Order | None:
        """Read the order again, so that nobody is mailed of one that was cancelled a minute ago; None where it is not read now, which is kept."""
        try:
            return read_again(self._ctx, account, action.order)
        except NotFound:
            _end(self._ctx, row, "superseded", GONE)
        except (Refused, BadPayload) as error:
            _later(self._ctx, row, str(error), HOUR)
        except SourceError as error:
            self._away(row, account, error)
        return None

    def _away(self, row: Row[Any], account: Account, error: SourceError) -> None:
        with self._ctx.store.write() as connection:
            backoff.hear(self._ctx, connection, account, [error], database_now(connection), self._ctx.now())
        after = error.after if isinstance(error, RateLimited) else None
        _later(self._ctx, row, f"{type(error).__name__}: {error}", after or queries.backoff(row.attempts))

    def _address(self, row: Row[Any], account: Account, action: Action) -> str:
        """Ask the shop to whom the mail goes; empty where it is not sent now, which is kept."""
        ctx = self._ctx
        if (why := self._unread.get(row.store)) is not None:
            _later(ctx, row, why, HOUR)
            return ""
        try:
            address = account.platform.mail_address(ctx.client(account), action.order).strip()
        except NotFound:
            _end(ctx, row, "superseded", GONE)
            return ""
        except Refused as refused:
            self._unread[row.store] = str(refused)
            _tell_unread(ctx, account, str(refused))
            _later(ctx, row, str(refused), HOUR)
            return ""
        except SourceError as error:
            self._away(row, account, error)
            return ""
        with ctx.store.write() as connection:
            backoff.hear(ctx, connection, account, [None], database_now(connection), ctx.now())
            over = sa.and_(findings.c.subject == _of(account), findings.c.kind == FindingKind.ADDRESS_UNREAD)
            queries.close_findings(connection, over, ctx.now(), "mail", "the shop tells addresses again")
        if not address:
            _end(ctx, row, "refused", "the order names no mail address")
        return address

    def _send(self, row: Row[Any], account: Account, letter: letters.Letter) -> None:
        ctx, mail, masked = self._ctx, self._mail, masked_address(letter.recipient)
        assert ctx.mailer is not None
        try:
            if self._session is None:
                self._session = self._stack.enter_context(ctx.mailer(mail))
                server.answers(ctx)
        except CredentialsRejected as error:
            server.suspend(ctx, mail, None, str(error))
            raise Stop(str(error)) from None
        except Transient as error:
            server.fails(ctx, mail, str(error))
            raise Stop(str(error)) from None
        try:
            said = self._session.send(letter.message, letter.sender, letter.recipient, utf8=letter.utf8)
        except Refused as error:
            self._refused(row, error, masked)
        except RateLimited as error:
            self._put_off(row, error, masked, max(queries.backoff(row.attempts), MINUTE))
        except CredentialsRejected as error:
            server.suspend(ctx, mail, account, str(error))
            if server.whose(account) == server.SERVER:
                raise Stop(str(error)) from None
            _later(ctx, row, str(error), AT_ONCE)
        except Transient as error:  # of that mail, maybe: the others go before it next time, so that it holds up nobody
            self._put_off(row, error, masked, queries.backoff(row.attempts))
            server.fails(ctx, mail, str(error))
            raise Stop(str(error), kept=True) from None
        else:
            crash_at("mail_after_send")
            _end(ctx, row, "sent", said)

    def _put_off(self, row: Row[Any], error: SourceError, masked: str, after: timedelta) -> None:
        twice = isinstance(error, Unanswered) and row.reason == str(error)  # no customer has it a third time
        if not twice and self._ctx.now() - row.created_at <= self._mail.retry_for:
            _later(self._ctx, row, str(error), after)
        elif _end(self._ctx, row, "dead", str(error)):
            tell_refused(self._ctx, row, str(error), masked)

    def _refused(self, row: Row[Any], error: Refused, masked: str) -> None:
        if _end(self._ctx, row, "refused", str(error)):
            tell_refused(self._ctx, row, str(error), masked)


def _close_refused(ctx: AppContext, connection: Connection, row: Row[Any]) -> None:
    """Close what tells that a mail of an order was refused, once none is any more: a person had it sent again."""
    m, f = mails.c, findings.c
    still = sa.select(m.id).where(m.order_id == row.order_id, m.state.in_(["refused", "dead"])).exists()
    over = sa.and_(f.order_id == row.order_id, f.kind == FindingKind.MAIL_REFUSED, ~still)
    queries.close_findings(connection, over, ctx.now(), "mail", "it was tried again")


def tell_refused(ctx: AppContext, row: Row[Any], said: str, masked: str) -> None:
    """Open a finding about the order of a mail: its customer was not told. `masked`: all that is said of the address."""
    with ctx.store.write() as connection:
        found = sa.select(orders.c.number).where(orders.c.id == row.order_id)
        number = connection.execute(queries.locked(connection, found)).scalar_one()
        evidence = {"order": number, "notice": str(row.action.get("notice")), "said": said[:200]}
        finding = Finding(
            FindingKind.MAIL_REFUSED, f"{row.store}/{number}/mail", Severity.WARNING, Act.ACT,
            evidence | ({"mailbox": masked} if masked else {}), ctx.now(),
            f"reach the customer another way, or once it is mended: `tracker notify retry {row.id}`",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(row.order_id, finding)], ctx.now(), by="mail")


def _of(account: Account) -> str:
    return f"store/{account.name}/address"


def _tell_unread(ctx: AppContext, account: Account, said: str) -> None:
    needs = account.platform.address_needs
    finding = Finding(
        FindingKind.ADDRESS_UNREAD, _of(account), Severity.WARNING, Act.ACT,
        {"store": account.name, "said": said[:200]} | ({"needs": needs} if needs else {}), ctx.now(),
        f"give our credentials {needs or 'the right to read it'}, or switch it off: stores.{account.name}.mail.send: false",
    )  # fmt: skip
    with ctx.store.write() as connection:
        tell.report_findings(ctx, connection, [(None, finding)], ctx.now(), by="mail")


def _later(ctx: AppContext, row: Row[Any], why: str, after: timedelta, not_before: datetime | None = None) -> None:
    """Keep a mail for later: after a while, or (business time) the end of quiet hours."""
    with ctx.store.write() as connection:
        if not_before is not None:
            mine = mails.c.id == row.id, mails.c.attempts == row.attempts
            connection.execute(mails.update().where(*mine).values(not_before=not_before))
        queries.release(connection, mails, row, database_now(connection) + after, why, crashed=False)


def _end(ctx: AppContext, row: Row[Any], state: str, why: str) -> bool:
    """End a mail, unless somebody else has it now, who tells what became of it. Says whether it was ours."""
    with ctx.store.write() as connection:
        ours = row.id in queries.still_ours(connection, mails, [row])
        if ours:
            queries.end(connection, mails, [row.id], state, ctx.now(), why)
            _close_refused(ctx, connection, row)
    if ours:
        ctx.count("tracker_mails_total", store=row.store, state=state)
    return ours

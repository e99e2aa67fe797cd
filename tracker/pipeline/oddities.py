"""What is odd about an account's answers and webhooks, as its plugin says: told when it begins, closed when it is over.

Each answer is looked at, and the database is asked only where the words are others than before: what is odd now is kept by the
process, and which findings stood before it is read once.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from tracker.config.model import Account
from tracker.domain.errors import Transient
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.context import AppContext
from tracker.store import queries
from tracker.store.tables import findings

ANSWERS, WEBHOOKS = "answers", "webhooks"
_KIND = FindingKind.ANSWERS_ODDLY


def heard(ctx: AppContext, account: Account, headers: Mapping[str, str]) -> None:
    """Look at an answer that just came; no transaction is open. Where the database is away the next answer is looked at again."""
    said, subject = account.source.odd(headers), _subject(account, ANSWERS)
    if said is None:
        return
    try:
        if (known := ctx.said_odd) is None:
            with ctx.store.read() as connection:
                known = ctx.said_odd = _open_now(connection)
        if known.get(subject, "") != said:
            with ctx.store.write() as connection:
                _tell(ctx, connection, account, ANSWERS, said)
            known[subject] = said
    except (SQLAlchemyError, Transient):
        return


def came(ctx: AppContext, connection: Connection, account: Account, headers: Mapping[str, str]) -> None:
    """Look at a webhook, in the transaction that takes what it says."""
    said, subject = account.source.odd(headers), _subject(account, WEBHOOKS)
    if said is None:
        return
    if (known := ctx.said_odd) is None:
        known = ctx.said_odd = _open_now(connection)
    if known.get(subject, "") != said:
        _tell(ctx, connection, account, WEBHOOKS, said)
        ctx.store.when_committed(lambda: known.update({subject: said}))


def _subject(account: Account, of: str) -> str:
    return f"account/{account.name}/{of}"


def _open_now(connection: Connection) -> dict[str, str | None]:
    """Return what a process before this one told and nobody closed: whatever is said of it next is news."""
    f = findings.c
    return dict.fromkeys(
        connection.execute(sa.select(f.subject).where(f.kind == _KIND, f.closed_at.is_(None))).scalars()
    )


def _tell(ctx: AppContext, connection: Connection, account: Account, of: str, said: str) -> None:
    subject, business = _subject(account, of), ctx.now()
    if said:
        evidence = {"account": account.name, "of": of, "said": said[:300]}
        finding = Finding(
            _KIND, subject, Severity.WARNING, Act.ACT, evidence, business,
            "what is read may mean something else now: see `tracker inbox --partly`, and follow the change as its maker describes it",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(None, finding)], business, by="account")
        ctx.log.warning("answers_oddly", account=account.name, of=of, said=said)
        return
    here = sa.and_(findings.c.kind == _KIND, findings.c.subject == subject)
    queries.close_findings(connection, here, business, "account", "it answers as it was asked")

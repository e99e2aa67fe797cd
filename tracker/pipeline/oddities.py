"""What is odd about an account's answers and webhooks, as its plugin says: told when it begins, closed when it is over.

Each answer is looked at, and the database is asked only where the words are others than before: what was said last is kept by the
process, and which findings stand is read once.
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
    said = account.source.odd(headers)
    if said is None or ctx.said_odd.get((account.name, ANSWERS)) == said:
        return
    try:
        with ctx.store.write() as connection:
            _tell(ctx, connection, account, ANSWERS, said)
    except (SQLAlchemyError, Transient):
        return
    ctx.said_odd[account.name, ANSWERS] = said


def came(ctx: AppContext, connection: Connection, account: Account, headers: Mapping[str, str]) -> None:
    """Look at a webhook, in the transaction that takes what it says."""
    said = account.source.odd(headers)
    if said is None or ctx.said_odd.get((account.name, WEBHOOKS)) == said:
        return
    _tell(ctx, connection, account, WEBHOOKS, said)
    ctx.store.when_committed(lambda: ctx.said_odd.update({(account.name, WEBHOOKS): said}))


def _tell(ctx: AppContext, connection: Connection, account: Account, of: str, said: str) -> None:
    subject, business = f"account/{account.name}/{of}", ctx.now()
    if said:
        evidence = {"account": account.name, "of": of, "said": said[:300]}
        finding = Finding(
            _KIND, subject, Severity.WARNING, Act.ACT, evidence, business,
            "what is read may mean something else now: see `tracker inbox --partly`, and follow the change as its maker describes it",
        )  # fmt: skip
        tell.report_findings(ctx, connection, [(None, finding)], business, by="account")
        ctx.log.warning("answers_oddly", account=account.name, of=of, said=said)
        return
    f = findings.c
    if (account.name, of) not in ctx.said_odd:  # the first look of this process
        if ctx.odd_before is None:
            open_now = sa.select(f.subject).where(f.kind == _KIND, f.closed_at.is_(None))
            ctx.odd_before = frozenset(connection.execute(open_now).scalars())
        if subject not in ctx.odd_before:
            return
        ctx.odd_before -= {subject}
    here = sa.and_(f.kind == _KIND, f.subject == subject)
    queries.close_findings(connection, here, business, "account", "it answers as it was asked")

"""What customers were mailed, and what they would be: the very mail, without its address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from tracker.config.mail import MailPart
from tracker.config.model import Account
from tracker.domain.errors import NotFound, Refused, SourceError, TrackerError
from tracker.domain.facts import Action
from tracker.domain.mails import MAILED, masked_address
from tracker.domain.reconcile import notice
from tracker.domain.vocabulary import NoticeClass
from tracker.pipeline import brakes
from tracker.pipeline.context import AppContext
from tracker.pipeline.mails import server
from tracker.pipeline.mails.judge import Verdict, judge, language_of, wanted, words
from tracker.pipeline.mails.letter import wire_address
from tracker.pipeline.read_again import Known, known
from tracker.store import queries
from tracker.store.tables import mail_servers, mails, orders

_M = mails.c


def list_mails(
    ctx: AppContext,
    *,
    state: str | None = None,
    store: queries.Stores = None,
    order: str | None = None,
    after: int | None = None,
    limit: int = 50,
) -> list[dict[str, Any]]:
    """Return mails, newest first: of which order and parcel, what they tell, and what became of them."""
    columns = (
        _M.id, _M.store, orders.c.number.label("order"), _M.action, _M.state, _M.attempts, _M.reason, _M.created_at, _M.due_at,
        _M.not_before, _M.ended_at,
    )  # fmt: skip
    found = sa.select(*columns).join(orders, orders.c.id == _M.order_id).where(*queries.of_stores(_M.store, store))
    if state is not None:
        found = found.where(_M.state == state)
    if order is not None:
        found = found.where(sa.or_(orders.c.number.in_([order, f"#{order.lstrip('#')}"]), orders.c.ref == order))
    if after is not None:
        found = found.where(_M.id < after)
    with ctx.store.read() as connection:
        rows = connection.execute(found.order_by(_M.id.desc()).limit(limit)).all()
    told = []
    for row in rows:
        shown = dict(row._mapping)
        action = shown.pop("action")
        parcel = (action.get("parcels") or [{}])[0]
        told.append({**shown, "notice": action.get("notice"), "parcel": parcel.get("number")})
    return told


def preview(
    ctx: AppContext, order: Row[Any], *, kind: NoticeClass | None = None, language: str | None = None
) -> list[dict[str, Any]]:
    """Return what the customer of an order would be mailed now: a row a notice that is true of it, or of each parcel that of a `kind`.

    Each tells whether it would be sent and why not, its language, and the mail as it would be, its address masked. Raises
    TrackerError where nothing is mailed at all.
    """
    account, mail, wording = ctx.account(order.store), ctx.config.root.mail, ctx.config.wording
    if mail is None or wording is None:
        raise TrackerError("no mail: is configured, so nobody is mailed")
    if account is None:
        raise TrackerError(f"the entry of store {order.store} is wrong or gone: tracker check")
    with ctx.store.read() as connection:
        about = known(connection, order.id)
        actions = list(_asked(account, about, kind, ctx))
        told = [(action, *_verdict(ctx, connection, mail, account, about, action)) for action in actions]
    address = _address(ctx, account, about.order.ref) if told else ""
    rows = []
    for action, verdict, sent in told:
        speaks = language or language_of(mail, account, about.order)
        said = words(wording, account, action, speaks)
        sends = not verdict.why and address[:1] != "("
        rows.append(
            {
                "store": order.store, "order": order.number, "parcel": action.parcels[0].number if action.parcels else None,
                "notice": str(action.notice), "sends": sends, "sent": sent,
                "why": verdict.why or (address.strip("()") if not sends else None), "language": speaks,
                "from": account.mail.sender or mail.sender, "reply_to": account.mail.reply_to or mail.reply_to, "to": address,
                "subject": said.subject, "text": said.text, "html": said.html,
            }
        )  # fmt: skip
    return rows


def proved(ctx: AppContext, account: Account) -> str:
    """Say whether the newest known order of a store tells its address. Raises from the error tree, where the shop says no."""
    newest = sa.select(orders.c.ref).where(orders.c.store == account.name).order_by(orders.c.id.desc()).limit(1)
    try:
        with ctx.store.read() as connection:
            ref = connection.execute(newest).scalar_one_or_none()
    except SQLAlchemyError:
        ref = None
    if ref is None:
        return "no order is known yet: whether it tells mail addresses is not"
    try:
        account.platform.mail_address(ctx.client(account), ref)
    except NotFound:
        return "its newest order is gone: whether it tells mail addresses is not known"
    except Refused as error:
        needs = account.platform.address_needs
        raise Refused(
            f"it tells no mail addresses, so nobody is mailed: {error}{f'; needs {needs}' if needs else ''}"
        ) from None
    return "it tells mail addresses"


def resume(ctx: AppContext) -> list[str]:
    """Let mails go on that were suspended as the server refused our login or sender. Returns whose they were."""
    with ctx.store.write() as connection:
        held = sa.select(mail_servers.c.name).where(mail_servers.c.suspended_reason.isnot(None))
        names = sorted(connection.execute(held.order_by(mail_servers.c.name)).scalars())
        for name in names:
            server.release(ctx, connection, name, "a person said so")
    ctx.notify("mail")
    return names


def _asked(account: Account, about: Known, kind: NoticeClass | None, ctx: AppContext) -> Iterator[Action]:
    if kind is None:
        yield from sorted(wanted(account, about, ctx.now()).values(), key=lambda action: action.happened_at)
        return
    if kind not in MAILED:
        raise TrackerError(f"{kind} is not mailed: one of {', '.join(sorted(MAILED))}")
    for parcel in about.parcels:
        at = parcel.summary.since or ctx.now()
        yield notice(about.order, kind, at, parcel, account.policy.name)


def _verdict(
    ctx: AppContext, connection: Connection, mail: MailPart, account: Account, about: Known, action: Action
) -> tuple[Verdict, bool]:
    """Say whether it would be sent now, and whether it was."""
    row = connection.execute(sa.select(mails).where(_M.key == action.key)).one_or_none()
    if row is not None and row.state == "sent":
        return Verdict(f"it was sent at {row.ended_at:%Y-%m-%d %H:%M}Z, and once is enough"), True
    if row is not None and row.state in ("refused", "dead"):
        return Verdict(f"it ended {row.state}: {row.reason} (`tracker notify retry {row.id}`)"), False
    paused, braked = brakes.in_force(ctx, account.name)
    verdict = judge(connection, mail, account, about, action, ctx.now(), braked)
    if paused and not verdict.why:
        verdict = Verdict(f"store {account.name} is paused or suspended: tracker resume {account.name}")
    return verdict, False


def _address(ctx: AppContext, account: Account, ref: str) -> str:
    """Return to whom the mail would go, masked; in brackets, why to nobody."""
    try:
        address = account.platform.mail_address(ctx.client(account), ref).strip()
        return masked_address(wire_address(address)) if address else "(the order names no mail address)"
    except SourceError as error:
        return f"({error})"

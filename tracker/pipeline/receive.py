"""Receiving: verify on the raw bytes, then store before anybody is told "200"."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tracker.config.model import Account
from tracker.domain.errors import WebhookRejected
from tracker.domain.facts import Payload
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.tables import accounts

NOTE_EVERY = timedelta(seconds=30)

# What is kept of a webhook's headers: what identifies and dates it; never a credential or a signature.
KEPT_HEADERS = frozenset(
    {
        "content-type", "user-agent", "x-shopify-topic", "x-shopify-shop-domain", "x-shopify-api-version",
        "x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at", "webhook-id", "webhook-timestamp",
    }
)  # fmt: skip


def check(
    account: Account | None, token: str, headers: Mapping[str, str], body: bytes, received_at: datetime
) -> tuple[Payload, bool]:
    """Return the payload of a webhook that proves who sent it, and whether by a secret that is being rotated out.

    Raises WebhookRejected, with the reason for our log.
    """
    if account is None:
        raise WebhookRejected("unknown account")
    if account.webhook_tokens or token:
        given = token.encode("utf-8", "replace")
        fits = [hmac.compare_digest(t.get_secret_value().encode(), given) for t in account.webhook_tokens]
        if not any(fits):
            raise WebhookRejected("wrong address token")
    payload = Payload(account.name, "webhook", (body,), received_at, headers)
    return payload, account.source.verify(payload) > 0


def _key(account: Account, payload: Payload) -> str:
    """Return what identifies a delivery, as any database takes it; where its plugin fails, the hash of its body.

    One webhook must not keep those that are stored beside it from being stored.
    """
    try:
        return plain(account.source.dedupe_key(payload))
    except Exception:
        return hashlib.sha256(payload.body).hexdigest()


def _note(ctx: AppContext, connection: sa.Connection, heard: Mapping[tuple[bool, str], datetime]) -> None:
    """Note when each account's webhooks were last heard, at most every NOTE_EVERY: it is a sign of life, no log.

    By whether it is a store, and its name: so everybody locks accounts, and who starts or reloads locks many.
    """
    for (_, name), at in sorted(heard.items()):
        noted = ctx.heard.get(name)
        if noted is not None and at - noted < NOTE_EVERY:
            continue
        ctx.heard[name] = at
        connection.execute(accounts.update().where(accounts.c.name == name).values(last_webhook_at=at, poll_news=0))


def commit(ctx: AppContext, payloads: Sequence[tuple[Account, Payload]]) -> None:
    """Store a group of verified payloads in one transaction; those that were stored before change nothing."""
    try:
        _store(ctx, payloads)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        _store(
            ctx, payloads
        )  # the server was restarted since: on a new connection; what was stored is known by its key


def _store(ctx: AppContext, payloads: Sequence[tuple[Account, Payload]]) -> None:
    with ctx.store.write(first=True) as connection:
        rows: list[dict[str, Any]] = [
            queries.payload_row(
                account.name,
                "webhook",
                payload.parts,
                payload.received_at,
                None,
                headers={name: value for name, value in payload.headers.items() if name in KEPT_HEADERS},
                dedupe_key=_key(account, payload),
            )
            for account, payload in payloads
        ]
        queries.store_payloads(connection, rows)
        _note(ctx, connection, {(a.is_store, a.name): payload.received_at for a, payload in payloads})
        crash_at("receive_before_commit")
    crash_at("receive_after_commit")

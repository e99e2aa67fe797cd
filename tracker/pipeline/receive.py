"""Receiving: verify on the raw bytes, then store before anybody is told "200"."""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tracker.config.model import Account
from tracker.domain.errors import KeyUnknown, WebhookRejected
from tracker.domain.facts import Payload
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.plugin.contracts import Reply
from tracker.store import queries
from tracker.store.codec import plain
from tracker.store.engine import database_now
from tracker.store.tables import accounts, inbox

NOTE_EVERY = timedelta(seconds=30)

# What is kept of a webhook's headers: what identifies and dates it; never a credential or a signature.
KEPT_HEADERS = frozenset(
    {
        "content-type", "user-agent", "x-shopify-topic", "x-shopify-shop-domain", "x-shopify-api-version",
        "x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at", "webhook-id", "webhook-timestamp",
    }
)  # fmt: skip
HANDSHAKE = "handshake"  # an inbox row that tells nothing: what came before the news, one an account and day
MOST_KEPT = 4096  # bytes of an unsigned ping


class Checked(NamedTuple):
    """What came to the address of an account, by somebody who may: news, or a handshake with its `reply`."""

    payload: Payload
    aged: bool = False  # proved by a secret that is being rotated out
    reply: Reply | None = None
    key_id: str | None = None  # of the key that signed it, which nobody here knows: it proves nothing yet


def check(
    account: Account | None,
    token: str,
    headers: Mapping[str, str],
    body: bytes | None,
    received_at: datetime,
    query: Mapping[str, str] | None = None,
) -> Checked:
    """Return what came: a webhook that proves who sent it or names a key that is not known, or a handshake.

    `body` is None where somebody asks by GET.

    Raises WebhookRejected, with the reason for our log.
    """
    if account is None:
        raise WebhookRejected("unknown account")
    if account.webhook_tokens or token:
        given = token.encode("utf-8", "replace")
        fits = [hmac.compare_digest(t.get_secret_value().encode(), given) for t in account.webhook_tokens]
        if not any(fits):
            raise WebhookRejected("wrong address token")
    payload = Payload(account.name, "webhook", (body or b"",), received_at, headers, query or {})
    if (reply := account.source.handshake(payload)) is not None:
        return Checked(replace(payload, kind=HANDSHAKE), reply=reply)
    if body is None:
        raise WebhookRejected("its plugin knows no such handshake")
    try:
        return Checked(payload, account.source.verify(payload) > 0)
    except KeyUnknown as unknown:
        if not KeyUnknown.can_be(unknown.key_id):
            raise WebhookRejected("it names no key") from None
        return Checked(payload, key_id=unknown.key_id)


def key_of(account: Account, payload: Payload) -> str:
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


def commit(ctx: AppContext, payloads: Sequence[tuple[Account, Payload]], came: Sequence[str | None] = ()) -> None:
    """Store a group of verified payloads in one transaction; those that were stored before change nothing.

    `came`: the trace of each, where traces are sent.
    """
    try:
        _store(ctx, payloads, came)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        _store(
            ctx, payloads, came
        )  # the server was restarted since: on a new connection; what was stored is known by its key


def _store(ctx: AppContext, payloads: Sequence[tuple[Account, Payload]], came: Sequence[str | None]) -> None:
    news = [(account, payload) for account, payload in payloads if payload.kind != HANDSHAKE]
    with ctx.store.write(first=True) as connection:
        rows: list[dict[str, Any]] = [
            queries.payload_row(
                account.name,
                "webhook",
                payload.parts,
                payload.received_at,
                None,
                headers={name: value for name, value in payload.headers.items() if name in KEPT_HEADERS},
                dedupe_key=key_of(account, payload),
            )
            for account, payload in news
        ]
        if came:
            traced = (trace for trace, (_, payload) in zip(came, payloads, strict=True) if payload.kind != HANDSHAKE)
            rows = [row | {"trace": trace} for row, trace in zip(rows, traced, strict=True)]
        queries.store_payloads(connection, rows)
        _count_handshakes(connection, [payload for _, payload in payloads if payload.kind == HANDSHAKE])
        _note(ctx, connection, {(a.is_store, a.name): payload.received_at for a, payload in news})
        crash_at("receive_before_commit")
    crash_at("receive_after_commit")


def _count_handshakes(connection: sa.Connection, payloads: Sequence[Payload]) -> None:
    """Keep the first handshake of an account and day, and count the others: who asks without a signature fills nothing.

    Of a query only the names are kept: senders put their own secrets there (a token to be compared).
    """
    came: dict[tuple[str, str], list[Payload]] = defaultdict(list)
    for payload in payloads:
        came[payload.account, f"{payload.received_at:%Y-%m-%d}"].append(payload)
    for (account, day), mine in sorted(came.items()):
        first, now = mine[0], database_now(connection)
        kept = plain("&".join(sorted(first.query)), MOST_KEPT).encode() if not first.body else first.body[:MOST_KEPT]
        row = queries.payload_row(
            account, HANDSHAKE, [kept], first.received_at, now, dedupe_key=f"{HANDSHAKE} {day}"
        ) | {"state": "done", "reason": "a handshake, answered", "ended_at": first.received_at, "times": len(mine)}
        again = {"times": inbox.c.times + len(mine), "ended_at": mine[-1].received_at}
        connection.execute(
            queries.upsert(connection, inbox)
            .values(row)
            .on_conflict_do_update(
                index_elements=["account", "dedupe_key"], set_=again, where=inbox.c.kind == HANDSHAKE
            )
        )

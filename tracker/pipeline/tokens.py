"""Access tokens: one an account, asked for by one thread of one process, and used by all of them until it ends.

A process looks at the database only where its own token does not do: it has none, the token is near its end, or it was refused. Who
asks has claimed the account's row for LEASE, which is longer than any call; no transaction is open and no connection held while
somebody asks or waits. Near its end a token is renewed while the others go on with it. Who must wait does so for as long as a call
may take: of a process one thread looks at the database, the others wait for that one. What waited in vain gives way: it is asked again.

A holder that was stopped for longer than its lease finds that the row is another's. It keeps nothing there, and takes the newer token.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import SQLAlchemyError

from tracker.config.model import Account
from tracker.domain.errors import CredentialsRejected, SourceError, Transient
from tracker.domain.masking import Hidden, hide
from tracker.pipeline.places import GaveWay, Place, here, staying
from tracker.plugin.calls import Token
from tracker.store import queries
from tracker.store.engine import Store, database_now
from tracker.store.seal import Seal
from tracker.store.tables import accounts, tokens

LEASE = timedelta(seconds=30)
WITHIN = 25.0  # seconds of its lease in which who claimed must have its answer: the longest `network.timeout`
MARGIN = timedelta(minutes=2)  # so long before its end a token is renewed; a fifth of its life where that is shorter
FRESH = timedelta(
    minutes=1
)  # a token that is refused so soon is refused for what it is; half of its life where that is shorter
RENEW_AGAIN = 15.0  # seconds until a renewal is tried again that failed, or that another process makes
LOOKS = (0.05, 0.5)  # seconds between two looks at the database, at first and later
SLICE = 0.1  # seconds after which who waits looks whether somebody else wants its place
Ask = Callable[[float], Token]  # asks within a monotonic time
_Statement = TypeVar("_Statement", sa.Select[Any], sa.Update)


@dataclass(frozen=True, slots=True)
class Kept:
    """A token as it was given; moments are business time."""

    value: str = field(repr=False)
    given_at: datetime
    ends_at: datetime | None  # None: it does not end
    again: bool  # given because the one before was refused

    def lives(self, now: datetime) -> bool:
        """Say whether it may be used."""
        return self.ends_at is None or now < self.ends_at

    def young(self, now: datetime) -> bool:
        """Say whether it lives and is not yet near its end."""
        return self.ends_at is None or now < self.ends_at - min(MARGIN, (self.ends_at - self.given_at) / 5)

    def fresh(self, now: datetime) -> bool:
        """Say whether it was given just now."""
        half = (self.ends_at - self.given_at) / 2 if self.ends_at is not None else FRESH
        return now - self.given_at < min(FRESH, half)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to ask, told by how often it was claimed."""

    attempts: int
    begun: float  # monotonic


@dataclass(frozen=True, slots=True)
class Busy:
    """Another process asks; what still lives may be used meanwhile."""

    kept: Kept | None


class TokenRows:
    """The tokens in the database, each transaction short and by itself."""

    def __init__(self, store: Store, seal: Seal, unreadable: Callable[[str], object]) -> None:
        """`unreadable` is told of an account whose token another key wrote."""
        self._store, self._seal, self._unreadable = store, seal, unreadable

    def look(self, account: Account, refused: str | None, now: Callable[[], datetime]) -> Kept | Claim | Busy:
        """Return the token that is kept, or claim to ask for one, or say that another asks.

        Raises CredentialsRejected where the token that was refused had just been given in the place of a refused one; Transient
        where the database is away.
        """
        begun = time.monotonic()
        try:
            with self._store.write() as connection:
                row, at, business = self._locked(connection, account), database_now(connection), now()
                kept = self._opened(account, row)
                if kept is not None and kept.value == refused:
                    refuse_again(kept, business)
                    kept = None
                if kept is not None and kept.young(business):
                    return kept
                ours = row.credentials == account.credentials
                if ours and row.claimed_until is not None and row.claimed_until > at:
                    return Busy(kept if kept is not None and kept.lives(business) else None)
                values: dict[str, Any] = {"claimed_until": at + LEASE, "attempts": row.attempts + 1}
                if not ours:  # a token belongs to the credentials that it was given for
                    values |= {"credentials": account.credentials, "value": None}
                connection.execute(_of(tokens.update(), account).values(**values))
                return Claim(row.attempts + 1, begun)
        except SQLAlchemyError as error:
            raise Transient(f"its token cannot be read: {type(error).__name__}") from None

    def keep(self, account: Account, claim: Claim, new: Kept, now: datetime) -> Kept:
        """Keep a token that was given. Returns it, or the newer one where the claim was lost meanwhile."""
        values = {
            "value": self._seal.close(new.value), "given_at": new.given_at, "ends_at": new.ends_at, "again": new.again,
            "claimed_until": None,
        }  # fmt: skip
        try:
            with self._store.write() as connection:
                ours = _of(tokens.update(), account).where(tokens.c.attempts == claim.attempts)
                if connection.execute(ours.values(**values)).rowcount:
                    return new
        except SQLAlchemyError:
            return new  # this process has it all the same; the others ask once the claim ends
        return self.newer(account, new.value, now) or new

    def give_up(self, account: Account, claim: Claim) -> bool:
        """Give a claim back. False: it was lost meanwhile."""
        try:
            with self._store.write() as connection:
                ours = _of(tokens.update(), account).where(tokens.c.attempts == claim.attempts)
                return bool(connection.execute(ours.values(claimed_until=None)).rowcount)
        except SQLAlchemyError:
            return True  # it ends by itself

    def newer(self, account: Account, than: str | None, now: datetime) -> Kept | None:
        """Return the token that is kept where it is another one and lives."""
        try:
            with self._store.read() as connection:
                row = connection.execute(_of(sa.select(tokens), account)).one_or_none()
        except SQLAlchemyError:
            return None
        kept = self._opened(account, row) if row is not None else None
        return kept if kept is not None and kept.value != than and kept.lives(now) else None

    def _locked(self, connection: Connection, account: Account) -> Row[Any]:
        """Return the account's row, made where there is none, and locked."""
        mine = queries.locked(connection, _of(sa.select(tokens), account))
        if (row := connection.execute(mine).one_or_none()) is None:
            new = queries.upsert(connection, tokens).on_conflict_do_nothing()
            connection.execute(
                new, {"account": account.name, "credentials": account.credentials, "again": False, "attempts": 0}
            )
            row = connection.execute(mine).one()
        return row

    def _opened(self, account: Account, row: Row[Any]) -> Kept | None:
        """Return the token of a row, None where it holds none that these credentials were given and this key opens."""
        if row.value is None or row.credentials != account.credentials:
            return None
        if (value := self._seal.open(row.value)) is None:
            self._unreadable(account.name)
            return None
        return Kept(value, row.given_at, row.ends_at, row.again)


def _of(statement: _Statement, account: Account) -> _Statement:
    return statement.where(tokens.c.account == account.name)


def refuse_again(kept: Kept, now: datetime) -> None:
    """Raise CredentialsRejected for a token that is refused although it was just given in the place of a refused one."""
    if kept.again and kept.fresh(now):
        raise CredentialsRejected("a new access token was refused at once, like the one before")


class AccessTokens:
    """The tokens of a process; those of `rows` are shared with the other processes."""

    def __init__(self, rows: TokenRows | None = None, *, alone: bool = False) -> None:
        """None: every process asks for its own (no `vault_key`). `alone`: so it does where the database cannot be read (commands)."""
        self._rows, self._alone = rows, alone
        self._known: dict[str, _OfAccount] = {}
        self._lock = threading.Lock()

    def token(
        self, account: Account, ask: Ask, refused: str | None, *, now: Callable[[], datetime], patience: float
    ) -> str:
        """Return the account's token, asked for by `ask` where there is none that does.

        `refused`: the one that does not do, as the other side said. `patience`: how many seconds to wait for who asks.
        Raises what `ask` raises; GaveWay where who asks took too long; CredentialsRejected where asking again would not help.
        """
        with self._lock:
            mine = self._known.get(account.name)
            if mine is None or mine.account.credentials != account.credentials:
                mine = self._known[account.name] = _OfAccount(account, self._rows, self._alone)
        place = here()
        try:
            return mine.get(ask, refused, now, time.monotonic() + patience, place)
        finally:
            if place is not None:
                place.heard()


class _OfAccount:
    """What a process knows of one account's token, and who of its threads asks."""

    def __init__(self, account: Account, rows: TokenRows | None, alone: bool) -> None:
        self.account, self._rows, self._alone = account, rows, alone
        self._free = threading.Condition()
        self._kept: Kept | None = None
        self._refused: Kept | None = None  # the last one that was
        self._hidden: list[Hidden] = []
        self._asks = False
        self._ended, self._error = 0, (0, SourceError())  # how many asked, and which of them failed
        self._renews_at = float("-inf")

    def get(self, ask: Ask, refused: str | None, now: Callable[[], datetime], until: float, place: Place | None) -> str:
        with self._free:
            while True:
                if self._kept is not None and self._kept.value == refused:
                    self._refused, self._kept = self._kept, None  # nobody else need hear it, call by call
                kept = self._kept
                if kept is not None and not kept.lives(now()):
                    kept = None
                if kept is not None and (self._asks or kept.young(now()) or time.monotonic() < self._renews_at):
                    return kept.value
                if not self._asks:
                    break
                before = self._ended
                self._wait(until, place)
                if self._error[0] > before:
                    raise self._error[1]
            self._asks = True
        return self._lead(ask, refused, kept, now, until, place)

    def _lead(
        self,
        ask: Ask,
        refused: str | None,
        alive: Kept | None,
        now: Callable[[], datetime],
        until: float,
        place: Place | None,
    ) -> str:
        """Look and ask for all threads of this process. `alive`: what they use meanwhile; where that fails, they go on with it."""
        found = error = None
        try:
            found = self._find(ask, refused, alive, now, until, place)
        except SourceError as problem:
            error = None if isinstance(problem, GaveWay) else problem  # the others wait for their own time
            if alive is None:
                raise
        finally:
            with self._free:
                self._asks = False
                self._ended += 1
                if error is not None:
                    self._error = self._ended, error
                self._kept = found or self._kept
                rests = found is None or not found.young(now())
                self._renews_at = time.monotonic() + RENEW_AGAIN if rests else float("-inf")
                self._free.notify_all()
        used = found or alive
        assert used is not None
        return used.value

    def _find(
        self,
        ask: Ask,
        refused: str | None,
        alive: Kept | None,
        now: Callable[[], datetime],
        until: float,
        place: Place | None,
    ) -> Kept:
        rows, (pause, longest) = self._rows, LOOKS
        while rows is not None:
            try:
                found = rows.look(self.account, refused, now)
            except Transient:
                if not self._alone:
                    raise
                rows = None
                break
            if isinstance(found, Claim):
                return self._claimed(rows, found, ask, refused, now)
            kept = found.kept or alive if isinstance(found, Busy) else found
            if kept is not None:
                self._hide(kept)
                return kept
            with self._free:
                self._wait(until, place, pause)
            pause = min(pause * 2, longest)
        if self._refused is not None and self._refused.value == refused:
            refuse_again(self._refused, now())
        return self._asked(ask, refused, now, time.monotonic())

    def _claimed(
        self, rows: TokenRows, claim: Claim, ask: Ask, refused: str | None, now: Callable[[], datetime]
    ) -> Kept:
        """Ask for a token, and keep it for all processes."""
        try:
            new = self._asked(ask, refused, now, claim.begun)
        except BaseException as error:
            if rows.give_up(self.account, claim) or not isinstance(error, SourceError):
                raise
            # it was stopped meanwhile, for longer than its lease: another asked
            if (newer := rows.newer(self.account, refused, now())) is None:
                raise GaveWay("another process asks for the access token meanwhile") from None
            self._hide(newer)
            return newer
        kept = rows.keep(self.account, claim, new, now())
        self._hide(kept)
        return kept

    def _asked(self, ask: Ask, refused: str | None, now: Callable[[], datetime], begun: float) -> Kept:
        """Ask, in a place that does not give way: the request may have been counted."""
        with staying():
            token = ask(begun + WITHIN)
        new = Kept(token.value, now(), token.ends_at, again=refused is not None)
        self._hide(new)
        if new.value == refused:
            raise CredentialsRejected("the access token was refused, and asking again gave the same one")
        return new

    def _wait(self, until: float, place: Place | None, most: float = SLICE) -> None:
        """Wait a little for who asks. Raises GaveWay where it took too long, or somebody else wants the place."""
        left = until - time.monotonic()
        if place is not None and place.since is None:
            place.since = time.monotonic()
        if left <= 0:
            raise GaveWay("who asks for the access token took too long")
        if place is not None and place.gives_way():
            raise GaveWay("others waited while this waited for its access token")
        self._free.wait(min(left, most))

    def _hide(self, kept: Kept) -> None:
        if self._kept is None or kept.value != self._kept.value:
            self._hidden = [*self._hidden[-2:], hide(kept.value)]  # an error may still speak of those before


def written_by_another(connection: Connection, seal: Seal) -> list[str]:
    """Return the accounts of which a token is kept that this key does not open."""
    kept = sa.select(tokens.c.account, tokens.c.value).where(tokens.c.value.is_not(None))
    rotating = sa.select(accounts.c.name, accounts.c.token).where(accounts.c.token.is_not(None))
    rows = [*connection.execute(kept), *connection.execute(rotating)]
    return sorted({name for name, value in rows if seal.open(value) is None})


def close_anew(store: Store, seal: Seal) -> int:
    """Close by the newest key what an older one closed, so that the older one may go. Returns how many tokens that were.

    Locked as everywhere: tokens by their accounts, `accounts` last.
    """
    done = 0
    with store.write() as connection:
        for column, name in ((tokens.c.value, tokens.c.account), (accounts.c.token, accounts.c.name)):
            kept = sa.select(name, column).where(column.is_not(None)).order_by(name)
            for owner, value in connection.execute(queries.locked(connection, kept)).all():
                if (renewed := seal.renew(value)) is not None:
                    table = column.table
                    assert isinstance(table, sa.Table)
                    connection.execute(table.update().where(name == owner).values({column: renewed}))
                    done += 1
    return done


class DatabaseVault:
    """Keeps an account's rotating token in its row, encrypted."""

    def __init__(self, store: Store, account: str, seal: Seal, unreadable: Callable[[str], object]) -> None:
        """Bind an account. `unreadable` is told where another key wrote its token."""
        self._store, self._account, self._seal, self._unreadable = store, account, seal, unreadable
        self._hidden: list[Hidden] = []

    def load(self) -> str | None:
        """Return the token that was stored last; None where another key wrote it: it must be obtained anew."""
        try:
            with self._store.read() as connection:
                mine = sa.select(accounts.c.token).where(accounts.c.name == self._account)
                value = connection.execute(mine).scalar_one_or_none()
        except SQLAlchemyError as error:
            raise Transient(f"its refresh token cannot be read: {type(error).__name__}") from None
        if value is None:
            return None
        if (opened := self._seal.open(value)) is None:
            self._unreadable(self._account)
            return None
        return self._hide(opened)

    def store(self, value: str) -> None:
        """Store a token, committed before it returns."""
        mine = accounts.update().where(accounts.c.name == self._account)
        try:
            with self._store.write() as connection:
                connection.execute(mine.values(token=self._seal.close(self._hide(value))))
        except SQLAlchemyError as error:
            raise Transient(f"its refresh token cannot be kept: {type(error).__name__}") from None

    def _hide(self, value: str) -> str:
        self._hidden = [*self._hidden[-1:], hide(value)]  # an error may still speak of the one before
        return value

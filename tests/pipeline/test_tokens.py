"""The access token of an account: who asks, who waits, what is kept, and what becomes of one that is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from tests.conftest import wait_for
from tracker.config.model import Account
from tracker.domain.errors import BudgetSpent, CredentialsRejected, SourceError, Transient
from tracker.domain.masking import mask
from tracker.pipeline.places import GaveWay, Places
from tracker.pipeline.tokens import LEASE, MARGIN, AccessTokens, Claim, TokenRows
from tracker.plugin.calls import Token
from tracker.plugin.contracts import Carrier
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.seal import Seal

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = Fernet.generate_key().decode()
ACCOUNT = Account("ups", "ups", cast(Carrier, None), credentials="first")


class Giver:
    """Gives tokens that live an hour; `error` instead, where there is one."""

    def __init__(self) -> None:
        self.given, self.now, self.life = 0, NOW, HOUR
        self.error: SourceError | None = None
        self.at_once: str | None = None

    def __call__(self, _until: float) -> Token:
        self.given += 1
        if self.error is not None:
            raise self.error
        return Token(self.at_once or f"canary-{self.given}", self.now + self.life)

    def token(
        self, of: AccessTokens, refused: str | None = None, *, account: Account = ACCOUNT, patience: float = 5.0
    ) -> str:
        return of.token(account, self, refused, now=lambda: self.now, patience=patience)


@pytest.fixture
def giver() -> Giver:
    return Giver()


@pytest.fixture
def process(store: Store) -> Callable[..., AccessTokens]:
    """Return a function that makes what a process knows."""

    def make(key: str = KEY, unreadable: Callable[[str], object] = print, **more: Any) -> AccessTokens:
        return AccessTokens(TokenRows(store, Seal(key), unreadable), **more)

    return make


def row(store: Store) -> Any:
    with store.read() as connection:
        return connection.execute(sa.select(t.tokens)).one_or_none()


def change(store: Store, **values: Any) -> None:
    with store.write() as connection:
        connection.execute(t.tokens.update().values(**values))


def test_a_token_is_kept_encrypted_and_shared_until_near_its_end(giver: Giver, process, store: Store) -> None:
    one, other = process(), process()
    assert giver.token(one) == giver.token(other) == "canary-1"
    assert "canary" not in str(row(store))
    assert mask("Bearer canary-1") == "Bearer ********"
    giver.now += HOUR - MARGIN
    assert giver.token(other) == giver.token(one) == "canary-2"
    assert giver.given == 2


def test_a_token_that_lives_shortly_is_not_asked_anew_each_time(giver: Giver, process) -> None:
    giver.life = timedelta(seconds=60)
    one = process()
    assert giver.token(one) == giver.token(one) == "canary-1"
    giver.now += timedelta(seconds=48)
    assert giver.token(one) == "canary-2"


def test_a_renewal_that_fails_costs_nothing_while_the_token_lives(giver: Giver, process, store: Store) -> None:
    one = process()
    giver.token(one)
    giver.now += HOUR - MARGIN
    for error in (Transient("away"), CredentialsRejected("no"), BudgetSpent("spent")):
        giver.error = error
        assert giver.token(one) == "canary-1"
    assert giver.given == 2, "the next try waits"
    giver.now += MARGIN
    with pytest.raises(BudgetSpent):
        giver.token(one)
    giver.error = None
    assert giver.token(one) == "canary-4"
    assert row(store).claimed_until is None


def test_a_refused_token_is_asked_anew_once_whoever_hears_it(giver: Giver, process) -> None:
    one, other = process(), process()
    giver.token(one), giver.token(other)
    assert giver.token(one, "canary-1") == giver.token(other, "canary-1") == giver.token(one, "canary-1") == "canary-2"
    assert giver.given == 2


@pytest.mark.parametrize("shared", [True, False])
def test_a_token_that_is_refused_at_once_ends_in_rejected_credentials_and_no_loop(
    giver: Giver, process, shared
) -> None:
    one = process() if shared else AccessTokens()
    assert giver.token(one) == "canary-1"
    assert giver.token(one, "canary-1") == "canary-2"
    for asking in (one, process() if shared else one):
        with pytest.raises(CredentialsRejected, match="refused at once"):
            giver.token(asking, "canary-2")
    assert giver.given == 2
    giver.now += timedelta(minutes=2)  # refused later: it may have been revoked
    assert giver.token(one, "canary-2") == "canary-3"


def test_the_same_token_again_is_no_new_one(giver: Giver, process) -> None:
    one, giver.at_once = process(), "canary-same"
    giver.token(one)
    with pytest.raises(CredentialsRejected, match="gave the same one"):
        giver.token(one, "canary-same")


def test_other_credentials_get_another_token(giver: Giver, process, store: Store) -> None:
    one, changed = process(), replace(ACCOUNT, credentials="second")
    giver.token(one)
    assert giver.token(one, account=changed) == "canary-2"
    assert row(store).credentials == "second"
    assert giver.token(process(), account=changed) == "canary-2"


def test_other_credentials_do_not_wait_for_who_asks_by_those_before(giver: Giver, process, store: Store) -> None:
    one = process()
    giver.token(one)
    change(store, value=None, claimed_until=datetime.now(UTC) + HOUR)
    assert giver.token(process(), account=replace(ACCOUNT, credentials="second"), patience=0) == "canary-2"


def test_a_token_of_another_key_is_asked_anew_and_told(giver: Giver, process, store: Store) -> None:
    told: list[str] = []
    giver.token(process())
    other = process(Fernet.generate_key().decode(), told.append)
    assert giver.token(other) == giver.token(other) == "canary-2"
    assert told == ["ups"]


def test_without_a_key_each_process_asks_and_nothing_is_kept(giver: Giver, store: Store) -> None:
    one, other = AccessTokens(), AccessTokens()
    assert [giver.token(of) for of in (one, other, one, other)] == ["canary-1", "canary-2", "canary-1", "canary-2"]
    assert row(store) is None


def test_who_waits_too_long_gives_way_and_asks_once_the_claim_ends(giver: Giver, process, store: Store) -> None:
    process_that_died = TokenRows(store, Seal(KEY), print)
    assert isinstance(process_that_died.look(ACCOUNT, None, lambda: NOW), Claim)
    one = process()
    with pytest.raises(GaveWay, match="took too long"):
        giver.token(one, patience=0.1)
    assert giver.given == 0
    change(store, claimed_until=datetime.now(UTC) - HOUR)
    assert giver.token(one) == "canary-1"


def test_who_waits_gives_his_place_to_others(giver: Giver, process, store: Store) -> None:
    TokenRows(store, Seal(KEY), print).look(ACCOUNT, None, lambda: NOW)
    places, said = Places(1), list[str]()
    one = process()

    def work() -> None:
        try:
            giver.token(one, patience=60)
        except GaveWay as gave:
            said.append(str(gave))

    with places.reserving() as room:
        place = room.take("polls", "ups")
        assert place is not None
        room.begin(place, work)  # type: ignore[arg-type]
    wait_for(lambda: place.since is not None)
    place.since = time.monotonic() - 60
    with places.reserving() as room:
        assert room.take("polls", "dhl") is None
    wait_for(lambda: said)
    places.close()
    assert said == ["others waited while this waited for its access token"]


def test_who_asks_tells_the_others_of_its_process_how_it_ended(giver: Giver) -> None:
    one, asked, go = AccessTokens(), threading.Event(), threading.Event()
    said: list[str] = []

    def ask(_until: float) -> Token:
        asked.set()
        go.wait()
        return giver(_until)

    def call() -> None:
        try:
            said.append(one.token(ACCOUNT, ask, None, now=lambda: NOW, patience=60))
        except Transient as error:
            said.append(str(error))

    for giver.error, told in ((Transient("away"), "away"), (None, "canary-2")):
        asked.clear(), go.clear(), said.clear()
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        asked.wait()
        mine = one._known["ups"]
        wait_for(lambda mine=mine: len(mine._free._waiters) == 3)  # type: ignore[attr-defined]
        go.set()
        for thread in threads:
            thread.join()
        assert said == [told] * 4
    assert giver.given == 2


def test_a_lost_claim_keeps_nothing_and_takes_the_newer_token(giver: Giver, process, store: Store) -> None:
    one, other = process(), process()

    def stopped(until: float) -> Token:
        change(store, claimed_until=datetime.now(UTC) - LEASE)
        assert giver.token(other) == "canary-1"
        return giver(until)

    assert one.token(ACCOUNT, stopped, None, now=lambda: NOW, patience=5) == "canary-1"
    assert giver.token(one) == giver.token(process()) == "canary-1"
    assert giver.given == 2


@pytest.mark.parametrize("other_asks", [True, False])
def test_a_holder_that_wakes_up_without_an_answer_asks_nobody_again(
    giver: Giver, process, store, other_asks: bool
) -> None:
    """Its time is over: it takes what another was given meanwhile, or waits for that one."""

    def stopped(_until: float) -> Token:
        change(store, claimed_until=datetime.now(UTC) - LEASE)
        if other_asks:
            TokenRows(store, Seal(KEY), print).look(ACCOUNT, None, lambda: NOW)
        else:
            giver.token(process())
        raise Transient("the total deadline has passed")

    if other_asks:
        with pytest.raises(GaveWay, match="another process asks"):
            process().token(ACCOUNT, stopped, None, now=lambda: NOW, patience=5)
    else:
        assert process().token(ACCOUNT, stopped, None, now=lambda: NOW, patience=5) == "canary-1"


def test_a_database_that_is_away_is_told_and_a_token_that_lives_needs_none(giver: Giver, tmp_path: Path) -> None:
    away = Store(f"sqlite:///{tmp_path}/none.db")
    rows = TokenRows(away, Seal(KEY), print)
    with pytest.raises(Transient, match="its token cannot be read: OperationalError"):
        giver.token(AccessTokens(rows))
    assert giver.token(AccessTokens(rows, alone=True)) == "canary-1", "a command asks for itself"
    claim = Claim(1, 0.0)
    assert rows.give_up(ACCOUNT, claim)
    assert rows.newer(ACCOUNT, None, NOW) is None
    away.close()


def test_a_token_that_cannot_be_kept_serves_its_own_process(giver: Giver, process, store: Store) -> None:
    def asked(until: float) -> Token:
        with store.write() as connection:
            connection.exec_driver_sql("DROP TABLE tokens")
        return giver(until)

    one = process()
    assert one.token(ACCOUNT, asked, None, now=lambda: NOW, patience=5) == giver.token(one) == "canary-1"
    assert giver.given == 1


def test_while_one_asks_for_another_no_thread_uses_the_refused_one(giver: Giver) -> None:
    one = AccessTokens()
    giver.token(one)
    assert giver.token(one, "canary-1") == giver.token(one) == "canary-2"
    giver.error = Transient("away")
    giver.now += timedelta(minutes=2)
    with pytest.raises(Transient):
        giver.token(one, "canary-2")
    giver.error = None
    assert giver.token(one) == "canary-4"


def test_a_bug_of_the_plugin_leaves_no_claim_behind(giver: Giver, process, store: Store) -> None:
    def wrong(_until: float) -> Token:
        raise KeyError("x")

    one = process()
    with pytest.raises(KeyError):
        one.token(ACCOUNT, wrong, None, now=lambda: NOW, patience=5)
    assert row(store).claimed_until is None
    assert giver.token(one) == "canary-1"

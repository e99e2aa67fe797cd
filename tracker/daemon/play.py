"""Play a scenario through real HTTP and the real roles, and compare what came of it with what had to.

Time is the scenario's: the clock jumps to the next thing that happens or falls due, and stands still until everything
that is due has been worked. What the shop was told is read from the sandbox platform's own log, not from ours.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import orjson
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import ValidationError

from tracker.clock import PLAYED, PlayClock
from tracker.config.load import load_config
from tracker.config.yamlfile import read
from tracker.daemon.app import Daemon
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.vocabulary import FindingKind
from tracker.pipeline import heal, ops, say, state
from tracker.pipeline.explain import overview
from tracker.pipeline.push import NOTICE
from tracker.pipeline.world import QUEUES
from tracker.sandbox import find
from tracker.sandbox import scenario as wanted
from tracker.sandbox.base import Carrier, Outgoing
from tracker.sandbox.scenario import Expect, Scenario, Step
from tracker.sandbox.shop import Shop
from tracker.sandbox.town import Town
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import (
    accounts,
    decisions,
    findings,
    fulfilment_shipments,
    fulfilments,
    inbox,
    orders,
    outbox,
    rereads,
    shipments,
    trackings,
)

PATIENCE = 60.0
WAITS = timedelta(minutes=2)  # by the database's clock, at one moment of the play: tries that follow each other
TICK = timedelta(seconds=1)
GIVE_UP = timedelta(milliseconds=400)  # after which a call that hangs is given up: a play takes no minutes
# the actions that happen at a fake server (its `on_<action>`), and the field that names it
AT_A_SERVER = {
    **dict.fromkeys(("place", "ship", "edit", "cancel", "pay", "refund", "checkout"), "store"), "fault": "server",
}  # fmt: skip
AGAIN = 0.05  # seconds after which a role that is still busy is rung for once more
Watch = Callable[["Player"], None]

# what is due at a moment: asked some ten times a moment, so made once
_NOW, _BUSINESS = sa.bindparam("now", type_=inbox.c.due_at.type), sa.bindparam("business", type_=inbox.c.due_at.type)
_AT_WORK = sa.select(
    sa.or_(
        *(
            sa.exists().where(table.c.claimed_until > _NOW).select_from(table)
            for table in (inbox, outbox, trackings, rereads, accounts)
        )
    ),
    sa.exists().where(orders.c.reconcile_at <= _BUSINESS).select_from(orders),
)
_UNREAD = sa.select(inbox.c.due_at).where(inbox.c.state == "pending")
_USABLE = sa.select(accounts).where(
    accounts.c.parked_reason.is_(None), sa.or_(accounts.c.rests_until.is_(None), accounts.c.rests_until <= _BUSINESS)
)
_UNSENT = (
    sa.select(outbox.c.order_id, outbox.c.kind, outbox.c.store, outbox.c.due_at)
    .where(outbox.c.state == "pending")
    .order_by(outbox.c.id)
)
_TO_READ = sa.select(rereads.c.account, rereads.c.due_at).where(
    sa.or_(rereads.c.not_before.is_(None), rereads.c.not_before <= _BUSINESS)
)
_LOOKS = (
    sa.select(trackings.c.account)
    .where(sa.or_(trackings.c.next_poll_at <= _BUSINESS, trackings.c.register_at <= _BUSINESS))
    .distinct()
)


def load_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises ConfigError with every problem: file:line:column: key: what to do."""
    document = read(path)
    try:
        scenario = Scenario.model_validate(document.value)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            document.problem(tuple(problem["loc"]), problem["msg"].removeprefix("Value error, "))
        raise ConfigError(*document.problems) from None
    for i, step in enumerate(scenario.steps):
        for where, name, known in _named(scenario, step):
            if name not in known:
                document.problem(("steps", i, *where), f"no account or store {name!r}: {', '.join(sorted(known))}")
        for where, said in _ignored(scenario, step):
            document.problem(("steps", i, *where), said)
    for where, said in _absent(scenario):
        document.problem(("steps", *where), said)
    for where, name, known in _expected(scenario, scenario.expect):
        if name not in known:
            document.problem(("expect", *where), f"no account or store {name!r}: {', '.join(sorted(known))}")
    if document.problems:
        raise ConfigError(*document.problems)
    return scenario


def _named(scenario: Scenario, step: Step) -> Iterator[tuple[tuple[str | int, ...], str, set[str]]]:
    """Name the accounts, stores and servers of a step: where they stand, and which there are."""
    both = {*scenario.accounts, *scenario.stores}
    ((name, action),) = ((n, getattr(step, n)) for n in step.model_fields_set - {"at"})
    if name == "expect":
        yield from (((name, *path), called, known) for path, called, known in _expected(scenario, action))
    for field_, known in (("account", set(scenario.accounts)), ("store", set(scenario.stores)), ("server", both)):
        if hasattr(action, field_):
            yield (name, field_), getattr(action, field_), both if name == "wire" else known


def _ignored(scenario: Scenario, step: Step) -> Iterator[tuple[tuple[str, ...], str]]:
    """Name what the server of a step does not know, and would pass over in silence."""
    used = {**{n: a.uses for n, a in scenario.accounts.items()}, **{n: s.uses for n, s in scenario.stores.items()}}
    ((name, action),) = ((n, getattr(step, n)) for n in step.model_fields_set - {"at"})
    whose = next((getattr(action, f) for f in ("account", "store", "server") if hasattr(action, f)), None)
    uses = used.get(whose or "")
    if uses is None:
        return
    if (
        name == "scan"
        and action.via == "webhook"
        and (not find.fakes()[uses].pushes or not scenario.accounts[action.account].webhooks)
    ):
        yield (name, "via"), f"{action.account} sends no webhooks: nobody would be told"
    said = {name: (name,), **{f"{name}.{field_}": (name, field_) for field_ in action.model_fields_set}}
    if name == "fault":
        said[f"fault {action.kind}"] = (name, "kind")
    for key, where in said.items():
        if uses not in (known := find.only().get(key, [uses])):
            yield where, f"{uses} does not know it: only {', '.join(known)}"


def _absent(scenario: Scenario) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Name the orders that a step speaks of before they are placed, and items and fulfilments that they do not have."""
    items: dict[tuple[str, str], set[str]] = {}
    shipped: set[tuple[str, str]] = set()
    for i, step in sorted(enumerate(scenario.steps), key=lambda one: scenario.moment(one[1].at)):
        ((name, action),) = ((n, getattr(step, n)) for n in step.model_fields_set - {"at"})
        if not (hasattr(action, "order") and hasattr(action, "store")):
            continue
        key = (action.store, action.order)
        if name == "place":
            items[key] = {item.ref for item in action.items}
        elif key not in items:
            there = [f"it stands in {store}: say `store: {store}`" for store, order in items if order == action.order]
            said = (
                f"no order {action.order!r} is in {action.store} at that time{'; ' if there else ''}{', '.join(there)}"
            )
            yield (i, name, "order"), said
        elif (item := getattr(action, "item", None)) is not None and item not in items[key]:
            yield (i, name, "item"), f"{action.order} has no item {item!r}: {', '.join(sorted(items[key])) or 'none'}"
        elif name == "edit" and key not in shipped and {"event", "numbers"} & action.model_fields_set:
            yield (i, name), f"nothing of {action.order} was shipped at that time"
        elif name == "ship":
            shipped.add(key)


def _expected(scenario: Scenario, expect: Expect) -> Iterator[tuple[tuple[str | int, ...], str, set[str]]]:
    """Name the servers and stores of an expectation: one that nobody has could never be met, or never fail."""
    for call in expect.calls:
        yield ("calls", call), call.partition("/")[0], {*scenario.accounts, *scenario.stores}
    for name in ("writes", "notices", "findings", "drift"):
        for i, one in enumerate(getattr(expect, name) or ()):
            if one.store is not None:
                yield (name, i, "store"), one.store, set(scenario.stores)


@dataclass
class Result:
    """What came of a play."""

    differences: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    webhooks: int = 0
    rejected: int = 0
    polls: int = 0
    seconds: float = 0.0


class Player:
    """One play. `seed` shuffles: copies of webhooks and their delays (None: exactly as written)."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        database: str | None = None,
        broker: str = "none",
        watch: Watch | None = None,
    ) -> None:
        """Prepare; nothing runs yet."""
        self.scenario = scenario
        self.result = Result()
        self.clock = PlayClock(scenario.start)
        self._waited = timedelta(0)
        self._random = random.Random(seed) if seed is not None else None
        self._folder = tempfile.TemporaryDirectory(prefix="trackwright-")
        self.notices_file = Path(self._folder.name) / "notices.jsonl"
        self._database = database or f"sqlite:///{self._folder.name}/play.db"
        self._broker = broker
        self._watch = watch
        self._queue: list[tuple[datetime, bool, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._tokens = {name: secrets.token_urlsafe(24) for name in (*scenario.accounts, *scenario.stores)}
        self._secrets: dict[str, str] = {}
        self.carriers: dict[str, Carrier] = {}
        self.shops: dict[str, Shop] = {}
        self._http = httpx.Client(timeout=30, trust_env=False)
        self.daemon: Daemon

    # the world around

    @property
    def servers(self) -> dict[str, Carrier | Shop]:
        """All fake servers, by the name of their account or store."""
        return {**self.carriers, **self.shops}

    def _secret(self, name: str, value: str) -> str:
        """Put a secret into a file only we can read; returns the reference to it."""
        path = Path(self._folder.name) / name
        path.touch(mode=0o600)
        path.write_text(value)
        return f"${{file:{path}}}"

    def _build(self) -> Town:
        """Put up the fake servers."""
        self._secrets = {name: secrets.token_urlsafe(24) for name in self._tokens}
        for name, used in self.scenario.accounts.items():
            self.carriers[name] = find.fakes()[used.uses](name, self.clock, hook=self._secrets[name])
        for name, store in self.scenario.stores.items():
            self.shops[name] = find.fakes()[store.uses](name, self.clock, hook=self._secrets[name], used=store)
        return Town([*self.carriers.values(), *self.shops.values()])

    def _config(self, town_port: int, web_port: int) -> dict[str, Any]:
        base = f"http://127.0.0.1:{town_port}"
        return {
            "database": self._database,
            "database_wait": "2s",
            "broker": self._broker,
            "vault_key": self._secret("vault", Fernet.generate_key().decode()),
            "web": {"port": web_port, "ops_port": 0},
            "network": {"allow": ["127.0.0.1"]},
            "accounts": {name: self._account(name, f"{base}/{name}") for name in self.carriers},
            "stores": {name: self._store(name, f"{base}/{name}") for name in self.shops},
            "notices": {"file": str(self.notices_file)},
            **({"watch": self.scenario.watch} if self.scenario.watch else {}),
        }

    def _account(self, name: str, base_url: str) -> dict[str, Any]:
        """Return the section of a carrier in our YAML."""
        used, server = self.scenario.accounts[name], self.carriers[name]
        token, hook = {}, None
        if server.pushes:
            token = {"webhook_token": self._secret(f"{name}.token", self._tokens[name])}
            hook = self._secret(f"{name}.hook", self._secrets[name]) if used.webhooks else None
        key = self._secret(f"{name}.key", used.secret)
        secrets_ = {"webhook_secrets": hook} if hook else {}
        return {"uses": used.uses, **token, **server.settings(base_url, key, hook), **secrets_}

    def _store(self, name: str, base_url: str) -> dict[str, Any]:
        """Return the section of a store in our YAML."""
        store = self.scenario.stores[name]
        hook = self._secret(f"{name}.hook", self._secrets[name])
        return {
            "uses": store.uses,
            **self.shops[name].settings(base_url, self._secret(f"{name}.key", store.secret), hook),
            **({"statuses": store.statuses} if store.statuses else {}),
            **store.settings,
            "webhook_secrets": hook,
            "webhook_token": self._secret(f"{name}.token", self._tokens[name]),
            "mode": store.mode,
            "sweep_every": store.sweep_every,
            "writes_per_hour": store.writes_per_hour,
            **({"policy": store.policy} if store.policy else {}),
        }

    # the play

    def play(self, *, keep: Callable[[], None] | None = None) -> Result:
        """Play to the end and check. `keep` is called before everything is stopped."""
        began = time.monotonic()
        with ExitStack() as stack:
            stack.callback(self._folder.cleanup)
            stack.callback(self._http.close)
            town = self._build()
            stack.callback(town.stop)
            self.path = Path(self._folder.name) / "tracker.yaml"
            self.path.write_bytes(orjson.dumps(self._config(town.start(), 0), option=orjson.OPT_INDENT_2))  # YAML
            config = load_config(self.path)
            if any(step.fault is not None and step.fault.kind == "hang" for step in self.scenario.steps):
                network = config.root.network.model_copy(update={"timeout": GIVE_UP})
                config = replace(config, root=config.root.model_copy(update={"network": network}))
            self.daemon = Daemon(config, now=self.clock, ahead=self.ahead)
            stack.callback(self.daemon.stop)
            self._play()
            self.result.seconds = time.monotonic() - began
            if keep is not None:
                keep()
        return self.result

    def _play(self) -> None:
        self.daemon.connect()
        steps = list(self.scenario.steps)
        if any(store.existing for store in self.scenario.stores.values()):
            there = [s for s in steps if s.expect is None and s.says is None]
            for step in [s for s in there if self.scenario.moment(s.at) <= self.scenario.start]:
                self._do(step)
                steps.remove(step)
            for shop in self.shops.values():
                shop.outgoing.clear()
        self.daemon.start()
        self._settle()
        for step in steps:
            last = step.expect is not None or step.says is not None
            self._at(self.scenario.moment(step.at), lambda step=step: self._do(step), last=last)  # type: ignore[misc]
        end = max((self.scenario.moment(step.at) for step in self.scenario.steps), default=self.scenario.start)
        self._run(end + (self.scenario.lasts or timedelta(hours=1)))
        self.result.differences += self.check(self.scenario.expect)
        self.result.polls = sum(server.calls["track"] for server in self.servers.values())

    def platform_log(self) -> list[dict[str, Any]]:
        """Return what the shops were told, as they logged it, in their order."""
        entries = [entry for shop in self.shops.values() for entry in shop.log]
        return sorted(entries, key=lambda e: e["at"])

    def _at(self, when: datetime, action: Callable[[], None], *, last: bool = False) -> None:
        """Plan something; `last`: after everything else of that moment, webhooks included (expectations)."""
        heapq.heappush(self._queue, (when, last, next(self._order), action))

    def ahead(self) -> timedelta:
        """How far the database's clock counts as ahead: as far as the play went, and a little more where it waited."""
        return max(self.clock() - self.scenario.start, self._waited)

    def _run(self, end: datetime) -> None:
        """Jump from moment to moment until `end`."""
        while True:
            now = self.clock()
            due = min(filter(None, (heal.next_business_time(self.daemon.world), self._rested())), default=None)
            happens = self._queue[0][0] if self._queue else None
            moments = [m for m in (due, happens) if m is not None and m > now]
            if happens is not None and happens <= now:
                moments = [now]
            target = min(moments, default=end)
            if target >= end and not (happens is not None and happens <= end):
                self.clock.move_to(end)
                self._settle()
                return
            self.clock.move_to(target)
            while self._queue and self._queue[0][0] <= target:
                heapq.heappop(self._queue)[3]()
            heal.expire(self.daemon.world)
            heal.look_around(self.daemon.world)
            self._settle()
            if self._watch is not None:
                self._watch(self)

    def _settle(self) -> None:
        """Wait until everything that is due at this moment has been worked.

        What waits a little by the database's clock (a call is tried again, an account rests) is waited for by moving that
        clock; what waits longer waits for the play.
        """
        until = time.monotonic() + PATIENCE
        for queue in QUEUES:
            self.daemon.bells.ring(queue)
        calm, rung, rung_at = 0, "", 0.0
        while calm < 2:
            sent = self._flush()
            why, waits = self._busy()
            calm = 0 if why or sent else calm + 1
            if time.monotonic() > until:
                raise TrackerError(f"the play does not settle at {self.clock():%Y-%m-%d %H:%M}: {why}")
            if why or sent:  # who was rung for works until nothing is left: again only where that takes long
                if sent or why != rung or time.monotonic() - rung_at > AGAIN:
                    rung, rung_at = why or "inbox", time.monotonic()
                    self.daemon.bells.ring(rung)
            elif waits is not None:
                with self.daemon.store.read() as connection:
                    wait = waits - database_now(connection)
                if self.ahead() + wait <= self.clock() - self.scenario.start + WAITS:
                    self._waited, calm = self.ahead() + max(wait, timedelta(0)), 0
            time.sleep(0.002)

    def _rested(self) -> datetime | None:
        """Return the moment at which the database's clock alone makes something due."""
        waits = self._busy()[1]
        if waits is None:
            return None
        with self.daemon.store.read() as connection:
            wait = waits - database_now(connection)
        return max(self.scenario.start + self.ahead() + wait, self.clock() + TICK)

    def _busy(self) -> tuple[str | None, datetime | None]:
        """Name the queue that still has work at this moment, else say when the next work is due by the database's clock."""
        with self.daemon.store.read() as connection:
            now, business = database_now(connection), self.clock()
            times = {"now": now, "business": business}
            at_work, undecided = connection.execute(_AT_WORK, times).one()
            if at_work or undecided:
                return ("poll" if at_work else "reconcile"), None
            due: list[tuple[datetime, str]] = [(at, "inbox") for at in connection.execute(_UNREAD).scalars()]
            usable = {row.name: row for row in connection.execute(_USABLE, times)}
            rests = {name: row.blocked_until or now for name, row in usable.items()}
            first: set[tuple[int, bool]] = set()  # the oldest of an order goes first
            for write in connection.execute(_UNSENT):
                store, whose = usable.get(write.store), (write.order_id, write.kind == NOTICE)
                if store is None or store.paused_at is not None or whose in first:
                    continue
                first.add(whose)
                spent = store.writes_left is not None and store.writes_left <= 0 and store.writes_reset_at is not None
                due.append((max(write.due_at, rests[write.store], store.writes_reset_at if spent else now), "push"))
            for read in connection.execute(_TO_READ, times):
                if read.account in usable:
                    due.append((max(read.due_at, rests[read.account]), "poll"))
            looks = connection.execute(_LOOKS, times).scalars()
            due += [(rests[name], "poll") for name in looks if name in usable]
            for name, row in usable.items():
                if row.kind == "store" and (row.next_sweep_at is None or row.next_sweep_at <= business):
                    due.append((rests[name], "poll"))
        soonest = min(due, default=None)
        if soonest is None:
            return None, None
        return (soonest[1], None) if soonest[0] <= now else (None, soonest[0])

    # what happens

    def _do(self, step: Step) -> None:
        ((name, action),) = ((n, getattr(step, n)) for n in step.model_fields_set - {"at"})
        at = self.scenario.moment(step.at)
        if name in AT_A_SERVER:
            getattr(self.servers[getattr(action, AT_A_SERVER[name])], f"on_{name}")(action, at)
        else:
            getattr(self, f"_{name}")(action, at)

    def _say(self, action: wanted.Say, at: datetime) -> None:
        self._settle()
        world = self.daemon.world
        order = say.find_one(world, action.order, action.store)
        say.say(
            world, order, action.kind, action.text, action.by, status=action.status, override=action.override,
            to_shop=action.to_shop,
        )  # fmt: skip

    def _may(self, action: wanted.May, at: datetime) -> None:
        self._settle()
        world = self.daemon.world
        order = say.find_one(world, action.order, action.store)
        gate = say.may(world, order, action.to, reason=action.reason, by="ops")
        if gate.allowed is not action.allowed or action.rule not in (None, gate.rule):
            wish = f"{'yes' if action.allowed else 'no'}{f' ({action.rule})' if action.rule else ''}"
            self.result.differences.append(
                f"at {at:%m-%d %H:%M}: may {action.order} {action.to}: {'yes' if gate.allowed else 'no'} ({gate.rule}), "
                f"expected {wish}"
            )

    def _dismiss(self, action: wanted.Dismiss, at: datetime) -> None:
        self._settle()
        with self.daemon.store.write() as connection:
            condition = findings.c.kind == action.kind
            if action.order is not None:
                ids = sa.select(orders.c.id).where(orders.c.number == action.order)
                condition = sa.and_(condition, findings.c.order_id.in_(ids))
            closed = queries.close_findings(connection, condition, self.clock(), f"person: {action.by}", action.reason)
        if not closed:
            self.result.differences.append(f"at {at:%m-%d %H:%M}: no open finding {action.kind} to dismiss")

    def _withdraw(self, action: wanted.Withdraw, at: datetime) -> None:
        if not self.carriers[action.account].withdraw(action.number, action.code):
            self.result.differences.append(
                f"at {at:%m-%d %H:%M}: {action.account} told no {action.code!r} of {action.number}: nothing to withdraw"
            )

    def _says(self, action: wanted.Says, at: datetime) -> None:
        """Run a command beside the daemon, as a person would at this moment."""
        self._settle()
        told = {PLAYED: f"{self.clock().isoformat()} {self.ahead().total_seconds()}", "TRACKER_CONFIG": str(self.path)}
        done = subprocess.run(  # noqa: S603  # our own command, without a shell
            [sys.executable, "-m", "tracker.cli", *action.words], env={**os.environ, **told}, cwd=self._folder.name,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            check=False,
        )  # fmt: skip
        label = f"at {at:%m-%d %H:%M}: tracker {action.run}"
        wrong = [f"does not hold {text!r}" for text in action.holds if text not in done.stdout]
        wrong += [f"holds {text!r}" for text in action.lacks if text in done.stdout]
        if done.returncode != action.exit:
            wrong.insert(0, f"ended with {done.returncode}, expected {action.exit}")
        if wrong:
            self.result.differences.append(f"{label}: {'; '.join(wrong)}; it said: {done.stdout.strip()[:1000]}")
        self._settle()

    def _wire(self, action: wanted.Wire, at: datetime) -> None:
        outgoing = self._prove(action.account, action.body.encode(), action.signed)
        status = self._post(outgoing)
        if status != action.status:
            self.result.differences.append(f"wire to {action.account}: answered {status}, expected {action.status}")

    def _prove(self, account: str, body: bytes, signed: str) -> Outgoing:
        if signed == "absent":
            return Outgoing(account, body, {})
        return self.servers[account].signed(body, secret="wrong" if signed == "wrong" else None)

    def _scan(self, action: wanted.Scan, at: datetime) -> None:
        server = self.carriers[action.account]
        sign, hours, minutes = action.offset[0], int(action.offset[1:3]), int(action.offset[4:])
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
        happened = self.scenario.moment(action.happened) if action.happened is not None else at
        scan = {
            "at": happened.astimezone(timezone(offset) if offset else UTC), "code": action.code, "type": action.type,
            "letters": action.letters, "text": action.text, "city": action.city, "region": action.region,
            "country": action.country, "zoned": action.zoned, "service": action.service, "head": action.head,
            "edd": self.scenario.moment(action.edd) if action.edd is not None else None,
        }  # fmt: skip
        if action.via != "webhook":
            server.history[action.number].append(scan)
        tells = self.scenario.accounts[action.account].webhooks and server.pushes
        outgoing = server.webhook(action, scan) if tells and action.via != "poll" and not action.head else None
        if outgoing is None:
            return
        if action.webhook.signed != "right":
            outgoing = self._prove(action.account, outgoing.body, action.webhook.signed)
        times, delay = action.webhook.times, action.webhook.delay
        if self._random is not None and action.webhook.signed == "right":
            times += self._random.choice((0, 0, 1, 2))
        for _ in range(times):
            jitter = timedelta(0)
            if self._random is not None:
                jitter = timedelta(minutes=self._random.choice((0, 0, 5, 40, 180)))
            self._at(at + delay + jitter, lambda: self._deliver(outgoing))

    def _deliver(self, outgoing: Outgoing) -> None:
        self._post(outgoing)

    def _post(self, outgoing: Outgoing) -> int:
        """Post a webhook as its sender does: again until it is taken, three times."""
        assert self.daemon.servers is not None
        port = self.daemon.servers.ports()[0]
        url = f"http://127.0.0.1:{port}/webhooks/{outgoing.account}/{self._tokens[outgoing.account]}"
        status = 0
        for _ in range(3):
            status = self._http.post(url, content=outgoing.body, headers=outgoing.headers).status_code
            if status < 500:
                break
        self.result.webhooks += 1
        self.result.rejected += status == 401
        return status

    def _flush(self) -> bool:
        """Send what the servers have to say of their own; returns whether there was anything."""
        sent = False
        for server in self.servers.values():
            while server.outgoing:
                self._post(server.outgoing.pop(0))
                sent = True
        return sent

    # what must have come of it

    def _expect(self, expect: Expect, at: datetime) -> None:
        self._settle()
        self.result.differences += [f"at {at:%m-%d %H:%M}: {d}" for d in self.check(expect)]

    def check(self, expect: Expect) -> list[str]:
        """Return every difference between what is and what must be."""
        self.result.log = self.platform_log()
        wrong: list[str] = []
        with self.daemon.store.read() as connection:
            for number, order in expect.orders.items():
                wrong += self._check_order(connection, number, order)
            for number, parcel in expect.unmatched.items():
                rows = connection.execute(sa.select(shipments).where(shipments.c.number == number)).all()
                wrong += self._check_parcel(connection, f"parcel {number}", rows, parcel)
                wrong += [f"parcel {number}: is linked to an order" for row in rows if row.linked]
            if expect.findings is not None:
                wrong += self._check_findings(connection, expect.findings)
            if expect.checkouts is not None:
                left = findings.c.kind == FindingKind.ABANDONED_CHECKOUT
                stand = connection.execute(sa.select(findings.c.subject).where(left, findings.c.closed_at.is_(None)))
                refs = {row.subject.rpartition("/")[2] for row in stand}
                wrong += _sets("checkouts", refs, set(expect.checkouts))
            if expect.unmapped is not None:
                codes = {
                    f"{row['carrier']}/{row['code_key']}" for row in ops.list_codes(self.daemon.world, limit=10_000)
                }
                wrong += _sets("unmapped codes", codes, set(expect.unmapped))
        if expect.drift is not None:
            wrong += self._check_drift(expect.drift)
        if expect.notices is not None:
            wrong += self._check_notices(expect.notices)
        if expect.writes is not None:
            wrong += self._check_writes(expect.writes)
        if expect.rejected is not None and expect.rejected != self.result.rejected:
            wrong.append(f"webhooks rejected: {self.result.rejected}, expected {expect.rejected}")
        for name, least in expect.calls.items():
            server, _, operation = name.partition("/")
            made = self.servers[server].calls[operation]
            if made < least:
                wrong.append(f"calls {name}: {made}, expected {least} or more")
        return wrong

    def _check_order(self, connection: sa.Connection, number: str, expect: wanted.OrderExpected) -> list[str]:
        row = connection.execute(sa.select(orders).where(orders.c.number == number)).one_or_none()
        if row is None:
            return [f"order {number}: not known"]
        wrong = []
        checks = (
            ("status", expect.status), ("payment", expect.payment), ("raw_status", expect.raw_status),
            ("urgent", expect.urgent),
        )  # fmt: skip
        for name, value in checks:
            if name == "urgent" and value == "none" and row.urgent is None:
                continue
            if value is not None and getattr(row, name) != value:
                wrong.append(f"order {number}: {name} is {getattr(row, name)}, expected {value}")
        if expect.shows:
            shown = next(o for o in overview(self.daemon.world, number)["orders"] if o["store"] == row.store)
            wrong += [f"order {number}: {said}" for said in _parts(orjson.loads(orjson.dumps(shown)), expect.shows, "")]
        if expect.owner is not None:
            account = self.daemon.world.account(row.store)
            assert account is not None
            owner = account.policy.owner_of(state.orders_of(connection, [row])[row.id])[0]
            if owner is not expect.owner:
                wrong.append(f"order {number}: owner is {owner}, expected {expect.owner}")
        for parcel, what in expect.parcels.items():
            rows = connection.execute(
                sa.select(shipments)
                .join(fulfilment_shipments, fulfilment_shipments.c.shipment_id == shipments.c.id)
                .join(fulfilments, fulfilments.c.id == fulfilment_shipments.c.fulfilment_id)
                .where(fulfilments.c.order_id == row.id, shipments.c.number == parcel)
            ).all()
            wrong += self._check_parcel(connection, f"order {number}, parcel {parcel}", rows, what)
        if expect.rules:
            last = connection.execute(
                sa.select(decisions.c.because)
                .where(decisions.c.order_id == row.id)
                .order_by(decisions.c.id.desc())
                .limit(1)
            ).scalar_one_or_none()
            named = {rule.partition(":")[0] for rule in last or ()} | set(last or ())
            wrong += [
                f"order {number}: rule {rule} did not fire (these did: {', '.join(last or ())})"
                for rule in expect.rules
                if rule not in named
            ]
        return wrong

    def _check_parcel(
        self, connection: sa.Connection, what: str, rows: Iterable[Any], expect: wanted.ParcelExpected
    ) -> list[str]:
        row = max(rows, key=lambda r: int(r.generation), default=None)
        if row is None:
            return [f"{what}: not known"]
        wrong = []
        if expect.status is not None and row.status != expect.status:
            wrong.append(f"{what}: status is {row.status}, expected {expect.status}")
        if expect.scans is not None and row.summary["scans"] != expect.scans:
            wrong.append(f"{what}: {row.summary['scans']} scans, expected {expect.scans}")
        if expect.place is not None and expect.place not in str(row.summary["place"]):
            wrong.append(f"{what}: last place is {row.summary['place']}, expected {expect.place}")
        if expect.tracking is not None:
            states = set(
                connection.execute(
                    sa.select(trackings.c.tracking_state).where(trackings.c.shipment_id == row.id)
                ).scalars()
            )
            if expect.tracking not in states:
                wrong.append(f"{what}: tracking is {', '.join(sorted(states)) or 'none'}, expected {expect.tracking}")
        return wrong

    def _check_findings(self, connection: sa.Connection, expect: Iterable[wanted.FindingExpected]) -> list[str]:
        apart = findings.c.kind != FindingKind.ABANDONED_CHECKOUT
        rows = list(connection.execute(sa.select(findings).where(apart).order_by(findings.c.id)))
        wrong = []
        for one in expect:
            match = next((row for row in rows if self._is(row, one)), None)
            label = f"finding {one.kind}" + (f" of order {one.order}" if one.order else "")
            if match is None:
                near = [r for r in rows if r.kind == one.kind]
                said = (
                    f" (there is one {'open' if near[0].closed_at is None else 'closed'} of {near[0].subject})"
                    if near
                    else ""
                )
                wrong.append(f"{label}, {'open' if one.open else 'closed'}: not there{said}")
                continue
            rows.remove(match)
            for name, part in one.evidence.items():
                if part not in str(match.evidence.get(name, "")):
                    wrong.append(f"{label}: evidence {name} is {match.evidence.get(name)!r}, expected {part!r}")
            if one.proposal is not None and (
                one.proposal not in (match.proposal or "") or (not one.proposal and match.proposal)
            ):
                wrong.append(f"{label}: proposal is {match.proposal!r}, expected {one.proposal!r}")
            for name, when in (("opened_at", one.opened), ("closed_at", one.closed)):
                if when is None:
                    continue
                is_at = getattr(match, name)
                if is_at is None or abs(is_at - self.scenario.moment(when)) > timedelta(hours=1):
                    wrong.append(f"{label}: {name} is {is_at}, expected {self.scenario.moment(when)}")
        wrong += [
            f"finding {row.kind} of {row.subject} ({'open' if row.closed_at is None else 'closed'}): not expected"
            for row in rows
        ]
        return wrong

    def _is(self, row: Any, one: wanted.FindingExpected) -> bool:
        return (
            row.kind == one.kind
            and (row.closed_at is None) == one.open
            and (one.order is None or row.evidence.get("order") == one.order)
            and (one.store is None or row.store == one.store)
            and (one.act is None or row.act == one.act)
            and (one.parcel is None or one.parcel in str(row.evidence.get("parcel", row.subject)))
        )

    def _check_drift(self, expect: Iterable[wanted.DriftExpected]) -> list[str]:
        left = ops.drift(self.daemon.world, limit=10_000)
        wrong = []
        for one in expect:
            match = next((row for row in left if not self._drifts(row, one)), None)
            if match is not None:
                left.remove(match)
                continue
            near = [self._drifts(row, one) for row in left if row["order"] == one.order]
            wrong.append(f"drift of order {one.order}: " + ("; ".join(near[0]) if near else "not there"))
        return wrong + [
            f"drift of order {row['order']} at {row['store']} ({row['drift']}: shop {row['shop']}, carrier {row['carrier']}): "
            "not expected"
            for row in left
        ]

    def _drifts(self, row: dict[str, Any], one: wanted.DriftExpected) -> list[str]:
        """Say in what a row of the ledger is not the expected one."""
        same = (
            ("order", one.order),
            ("shop", one.shop),
            ("carrier", one.carrier),
            ("drift", one.kind),
            ("store", one.store),
        )
        parts = (("parcel", one.parcel), ("caused_by", one.caused_by), ("would_heal", one.heal))
        wrong = [f"{k} is {row[k]}, expected {v}" for k, v in same if v is not None and row[k] != v]
        wrong += [f"{k} is {row[k]!r}, expected {v!r}" for k, v in parts if v is not None and v not in (row[k] or "")]
        if one.since is not None and abs(row["since"] - self.scenario.moment(one.since)) > timedelta(hours=1):
            wrong.append(f"since is {row['since']}, expected {self.scenario.moment(one.since)}")
        return wrong

    def _check_writes(self, expect: Iterable[wanted.WriteExpected]) -> list[str]:
        left = list(self.result.log)
        wrong = []
        for one in expect:
            for _ in range(one.times):
                match = next((entry for entry in left if self._wrote(entry, one)), None)
                if match is not None:
                    left.remove(match)
                elif not one.may:
                    wrong.append(f"write {one.event} for order {one.order}: the platform did not log it")
        wrong += [
            f"write {e['event']} for order {e['order']} at {e['happened_at']:%m-%d %H:%M}: not expected" for e in left
        ]
        return wrong

    def _check_notices(self, expect: Iterable[wanted.NoticeExpected]) -> list[str]:
        lines = self.notices_file.read_bytes().splitlines() if self.notices_file.exists() else []
        told = [
            (e["store"], e["order"], e["notice"], [p["number"] for p in e["parcels"]], e["text"])
            for e in map(orjson.loads, lines)
        ]
        wrong = []
        for one in expect:
            match = next(
                (
                    t
                    for t in told
                    if t[:3] == (one.store, one.order, one.notice)
                    and (one.number is None or one.number in t[3])
                    and one.text in t[4]
                ),
                None,
            )
            if match is None:
                said = [t[4] for t in told if t[1:3] == (one.order, one.notice)]
                wrong.append(
                    f"notice {one.notice} for order {one.order}: the sink does not hold it{f' ({said})' if said else ''}"
                )
            else:
                told.remove(match)
        return wrong + [f"notice {t[2]} for order {t[1]} {' '.join(t[3])}: not expected" for t in told]

    def _wrote(self, entry: dict[str, Any], one: wanted.WriteExpected) -> bool:
        happened = self.scenario.moment(one.happened) if one.happened is not None else None
        return (
            entry["store"] == one.store
            and entry["order"] == one.order
            and entry["event"] == one.event
            and (one.number is None or one.number in entry["numbers"])
            and (one.place is None or one.place in str(entry.get("city")))
            and (happened is None or abs(entry["happened_at"] - happened) < timedelta(seconds=1))
        )


def _parts(there: Any, wanted_: Any, where: str) -> list[str]:
    """Say which parts of what must be there are not: every key of a mapping, each item of a list in its place."""
    if isinstance(wanted_, dict):
        if not isinstance(there, dict):
            return [f"{where} is {there!r}, expected {wanted_!r}"]
        return [said for key, part in wanted_.items() for said in _parts(there.get(key), part, f"{where}.{key}")]
    if isinstance(wanted_, list):
        if not isinstance(there, list) or len(there) != len(wanted_):
            return [f"{where} is {there!r}, expected {wanted_!r}"]
        return [said for i, part in enumerate(wanted_) for said in _parts(there[i], part, f"{where}[{i}]")]
    return [] if there == wanted_ else [f"{where} is {there!r}, expected {wanted_!r}"]


def _sets(what: str, found: set[str], expected: set[str]) -> list[str]:
    return [f"{what}: {x} is not expected" for x in sorted(found - expected)] + [
        f"{what}: {x} is not there" for x in sorted(expected - found)
    ]

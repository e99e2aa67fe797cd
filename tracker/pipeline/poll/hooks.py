"""Hooks: what an account wants of its shop or carrier is compared once a day with what is there; it is made, mended or told.

Only where the YAML says where we are reached (`web.public_url`), and of a plugin that states which hooks it wants. Ours is what posts to
our address, with whatever token; anything else is somebody else's and left alone. What we made or mended at the last look and is undone
at this one is not done again: two who mend in turns would never end. It is told, until a person says `tracker hooks ACCOUNT --mend`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from tracker.config.model import Account, Config
from tracker.domain.errors import BudgetSpent, CredentialsRejected, NotFound, Refused, Resting, SourceError, Transient
from tracker.domain.facts import Finding
from tracker.domain.masking import MASK
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.hashing import digest
from tracker.pipeline import backoff, tell
from tracker.pipeline.context import AppContext
from tracker.pipeline.failpoints import crash_at
from tracker.pipeline.places import SWEEPS, Place, Room, Work
from tracker.pipeline.poll.calls import NEVER
from tracker.pipeline.poll.due import Ready
from tracker.plugin.hooks import Hook
from tracker.store import queries
from tracker.store.engine import database_now
from tracker.store.tables import accounts, findings

EVERY = timedelta(days=1)
AGAIN = timedelta(minutes=15)  # after a call that failed, or a process that died meanwhile
THERE, MADE, MENDED, WRONG = "there", "made", "mended", "wrong"
AT_ONCE = 100
_A = accounts.c
_KIND = FindingKind.HOOK_WRONG


@dataclass(frozen=True)
class Wanted:
    """The hooks that an account wants. `base` is its address without the token; `problem`: why its source would post to none."""

    hooks: tuple[Hook, ...]
    base: str
    problem: str
    hashed: str


@dataclass(frozen=True)
class Compared:
    """A wanted hook, the one there that is ours (None: missing), what is wrong with it, and what a person should know beside."""

    wanted: Hook
    there: Hook | None
    wrong: str
    notes: str


def wanted_of(config: Config, account: Account) -> Wanted | None:
    """Return what an account wants; None where hooks are not ours to make, or would not be taken."""
    if config.root.web.public_url is None or account.source.webhooks_need():
        return None
    base = address = config.hook_address(account)
    if account.webhook_tokens and (token := account.webhook_tokens[0].get_secret_value()):
        address = f"{base}/{token}"
    hooks, problem = tuple[Hook, ...](), ""
    try:
        hooks = tuple(account.source.hooks_wanted(address))
    except Refused as error:
        problem = str(error)
    if not hooks and not problem:
        return None
    told = [[one.topic, one.address, dict(one.headers), *filter(None, (one.fields, one.only))] for one in hooks]
    return Wanted(hooks, base, problem, digest([account.credentials, problem, told]))


def compare(wanted: Wanted, there: Sequence[Hook], before: Mapping[str, Any]) -> Iterator[Compared]:
    """Say of each wanted hook which one there is ours, and what is wrong with it. `before`: what was kept at the last look.

    Ours posts to our address, or did when we last looked: an address of ours may have changed since.
    """
    kept = _rows_of(before)
    moved = before.get("wanted") != wanted.hashed  # what we want is another than it was
    for one in wanted.hooks:
        alike = [hook for hook in there if hook.topic == one.topic]
        ours = sorted((hook for hook in alike if hook.address == one.address), key=lambda hook: not hook.active)
        ours += [
            hook for hook in alike if hook not in ours and f"{hook.address}/".startswith(f"{wanted.base}/")
        ]  # with an older token
        mine = kept.get(one.topic, {})
        former = [hook for hook in alike if hook.ref and hook.ref == mine.get("ref")]
        if not ours and moved:
            ours = [hook for hook in former if digest(hook.address) == mine.get("key")]
        keep = ours[0] if ours else None
        notes = [f"{hook.ref} posts to us too" for hook in ours[1:]]
        if keep is None:
            notes += [f"{hook.ref} was made by us and posts elsewhere now: it is left alone" for hook in former]
        notes += [keep.odd] if keep is not None and keep.odd else []
        yield Compared(one, keep, _wrong(one, keep), "; ".join(notes))


def _wrong(one: Hook, keep: Hook | None) -> str:
    """Say what is wrong with a hook of ours."""
    if keep is None:
        return "it was missing"
    told = {name.lower(): value for name, value in keep.headers.items()}
    wrong = {
        "it was switched off": not keep.active,
        "it had another address of ours": keep.address != one.address,
        "its headers were others": any(told.get(name.lower()) != value for name, value in one.headers.items()),
        "it sent other fields": set(keep.fields) != set(one.fields),
        f"it was filtered by {keep.only!r:.60}": keep.only != one.only,
    }
    return ", ".join(said for said, is_so in wrong.items() if is_so)


def settle(ctx: AppContext) -> None:
    """Have hooks compared now where what is wanted is another than at the last look, and no more where nothing is wanted."""
    with ctx.store.read() as connection:
        if ctx.config.root.web.public_url is None:
            some = sa.select(_A.name).where(_A.hooks_due_at.isnot(None))
            off, due = list(connection.execute(some).scalars()), list[str]()
        else:
            select = sa.select(_A.name, _A.hooks_due_at, _A.hooks["wanted"].as_string().label("wanted"))
            rows = {row.name: row for row in connection.execute(select)}
            off, due = _settled(ctx.config, rows)
    for names, at in ((off, None), (due, ctx.now())):
        for start in range(0, len(names), AT_ONCE):
            with ctx.store.write() as connection:
                here = queries.among(connection, _A.name, names[start : start + AT_ONCE])
                connection.execute(accounts.update().where(here).values(hooks_due_at=at))


def _settled(config: Config, rows: Mapping[str, Row[Any]]) -> tuple[list[str], list[str]]:
    """Return whose hooks are not compared any more, and whose are now."""
    off: list[str] = []
    due: list[str] = []
    for name, account in config.accounts.items():
        if (row := rows.get(name)) is None:
            continue
        wanted = wanted_of(config, account)
        if wanted is None and row.hooks_due_at is not None:
            off.append(name)
        elif wanted is not None and (row.hooks_due_at is None or row.wanted != wanted.hashed):
            due.append(name)
    return off, due


def claim_audits(
    ctx: AppContext, connection: Connection, ready: Mapping[str, Ready], room: Room, business: datetime
) -> Iterator[tuple[Place, Work]]:
    """Claim the accounts whose hooks are due to be compared, as many as there are places: who waited longest first.

    The claim is the next time: who still finds it there holds it.
    """
    due = [one for one in ready.values() if one.row.audits and one.left > 0]
    for one in sorted(due, key=lambda one: (one.row.hooks_due_at or NEVER, one.row.name)):
        if (place := room.take(SWEEPS, one.row.name)) is None:
            continue
        until = business + AGAIN
        where = sa.and_(_A.name == one.row.name, _A.hooks_due_at == one.row.hooks_due_at)
        if connection.execute(accounts.update().where(where).values(hooks_due_at=until)).rowcount:
            yield place, partial(work, ctx, one.account, one.row.hooks or {}, until)
        else:
            room.back([place])


@dataclass
class _Audit:
    """One look at the hooks of an account."""

    ctx: AppContext
    account: Account
    wanted: Wanted
    before: Mapping[str, Any]
    until: datetime
    rows: list[dict[str, Any]] = field(default_factory=list)
    others: int = 0
    lost: bool = False  # another process has it now

    def look(self) -> None:
        """Compare, make and mend."""
        source, client = self.account.source, self.ctx.client(self.account)
        there = list(source.hooks_there(client))
        compared = list(compare(self.wanted, there, self.before))
        ours = {one.there.ref for one in compared if one.there is not None}
        self.others = sum(hook.ref not in ours for hook in there)
        done = _rows_of(self.before) if self.before.get("wanted") == self.wanted.hashed else {}
        for one in compared:
            if not one.wrong:
                self._keep(one, WRONG if one.notes else THERE, one.notes)
            elif (last := done.get(one.wanted.topic, {}).get("done")) and not self.before.get("mend"):
                said = f"{one.wrong} again after we {last} it: somebody undoes it"
                self._keep(one, WRONG, "; ".join(filter(None, (said, one.notes))), done=last)
            elif not self._is_ours():
                self.lost = True
                return
            else:
                self._mend(one)

    def _mend(self, one: Compared) -> None:
        """Make or mend a hook; what the source refuses is told."""
        source, client = self.account.source, self.ctx.client(self.account)
        try:
            if one.there is None:
                ref, done = source.make_hook(client, one.wanted), MADE
            else:
                ref, done = one.there.ref, MENDED
                source.mend_hook(client, replace(one.wanted, ref=ref))
        except (Refused, NotFound) as error:
            self._keep(one, WRONG, f"{one.wrong}, and is refused: {error}")
            return
        crash_at("hooks_after_call")
        self._keep(one, done, "; ".join(filter(None, (one.wrong, one.notes))), ref=ref, done=done)

    def _keep(self, one: Compared, state: str, said: str, *, ref: str = "", done: str = "") -> None:
        before = _rows_of(self.before).get(one.wanted.topic, {})
        same = (before.get("state"), before.get("said")) == (state, said)
        since = before["since"] if same else self.ctx.now().isoformat()
        has_token = one.wanted.address != self.wanted.base
        self.rows.append(
            {
                "topic": one.wanted.topic, "address": f"{self.wanted.base}/{MASK}" if has_token else self.wanted.base,
                "key": digest(one.wanted.address), "ref": ref or (one.there.ref if one.there is not None else ""),
                "state": state, "said": said[:300], "since": since, "done": done,
            }
        )  # fmt: skip

    def _is_ours(self) -> bool:
        """Say whether nobody claimed it since."""
        with self.ctx.store.read() as connection:
            here = sa.select(_A.name).where(_A.name == self.account.name, _A.hooks_due_at == self.until)
            return connection.execute(here).first() is not None


def work(ctx: AppContext, account: Account, before: Mapping[str, Any], until: datetime) -> SourceError | None:
    """Compare the hooks of an account that was claimed. Returns what went wrong."""
    crash_at("hooks_claimed")
    wanted = wanted_of(ctx.config, account)
    if wanted is None:  # a reload came between
        settle(ctx)
        return None
    audit, error = _Audit(ctx, account, wanted, before, until), None
    try:
        if not wanted.problem:
            audit.look()
    except SourceError as problem:
        error = problem
    except Exception as problem:  # a plugin's bug must not stop the other accounts
        error = SourceError(type(problem).__name__)
    if not audit.lost:
        _store(audit, error)
        crash_at("hooks_after_commit")
    return error if isinstance(error, Transient) else None


def _store(audit: _Audit, error: SourceError | None) -> None:
    """Keep what came of a look, and tell what we cannot mend."""
    ctx, account, rows = audit.ctx, audit.account, audit.rows
    passes = isinstance(error, Transient)
    changed = [row for row in rows if row["state"] in (MADE, MENDED)]
    with ctx.store.write() as connection:
        now, business = database_now(connection), ctx.now()
        after = max(getattr(error, "after", None) or AGAIN, AGAIN) if passes else EVERY
        values: dict[str, Any] = {"hooks_due_at": business + after}
        if not passes:
            said = audit.wanted.problem or (str(error) if error is not None else "")
            values |= {"hooks_checked_at": business, "hooks": _kept(audit, said)}
        elif rows:  # what was done is known; it is all compared again, as the look before left it
            values["hooks"] = {**audit.before, "hooks": _kept(audit, "")["hooks"]}
        where = sa.and_(_A.name == account.name, _A.hooks_due_at == audit.until)
        if not connection.execute(accounts.update().where(where).values(**values)).rowcount:
            return
        if passes:
            backoff.hear(ctx, connection, account, [error], now, business)
        if not passes or (isinstance(error, BudgetSpent | Resting) and _is_late(connection, account, business)):
            _tell(audit, connection, error, business)
        if changed and account.is_store and audit.before:  # what it did not send meanwhile is lost there
            queries.sweep_now(connection, _A.name == account.name, business)
    if changed:
        topics = ", ".join(f"{row['topic']} ({row['state']})" for row in changed)
        ctx.log.info("hooks_mended", account=account.name, count=len(changed), said=topics)


def _is_late(connection: Connection, account: Account, business: datetime) -> bool:
    """Say whether no look came to its end for so long that it is told: where nobody may ask when it is due, none is ever done."""
    since = sa.select(sa.func.coalesce(_A.hooks_checked_at, _A.synced_at)).where(_A.name == account.name)
    ended = connection.execute(since).scalar()
    return ended is not None and business - ended >= 2 * EVERY


def _kept(audit: _Audit, said: str) -> dict[str, Any]:
    """Return what is known of an account's hooks from now on; of those that were not looked at, what was known before."""
    looked = {row["topic"] for row in audit.rows}
    rest = [row for topic, row in _rows_of(audit.before).items() if topic not in looked and audit.wanted.hooks]
    return {"wanted": audit.wanted.hashed, "said": said[:300], "others": audit.others, "hooks": [*audit.rows, *rest]}


def _tell(audit: _Audit, connection: Connection, error: SourceError | None, business: datetime) -> None:
    """Open the finding of an account whose hooks are wrong, or close it."""
    account = audit.account
    held = {topic for topic, row in _rows_of(audit.before).items() if row["state"] in (THERE, MADE, MENDED)}
    lost = [row for row in audit.rows if row["topic"] in held and audit.before.get("wanted") == audit.wanted.hashed]
    wrong = _of(audit.rows, WRONG)
    again = {f"{s}, and was {done} again": t for done in (MADE, MENDED) for s, t in _of(lost, done).items()}
    said = [f"{', '.join(topics)}: {words}" for words, topics in {**wrong, **again}.items()]
    said += [audit.wanted.problem] if audit.wanted.problem else []
    said += [str(error)] if error is not None else []
    subject = f"account/{account.name}/hooks"
    if not said:
        over = sa.and_(findings.c.subject == subject, findings.c.kind == _KIND)
        queries.close_findings(connection, over, business, "hooks", "its hooks are as it wants them")
        return
    evidence = {"account": account.name, "hooks": "; ".join(said)[:500]}
    proposal = f"`tracker hooks {account.name}` tells of each; with --mend it is tried again, whoever undid it"
    if isinstance(error, CredentialsRejected):
        evidence["needs"] = account.source.hooks_need or "the right to list and make hooks"
        proposal = f"give our credentials {evidence['needs']}; until then polls and sweeps tell"
    worst, act = Severity.WARNING, Act.ACT
    if error is None and not wrong and not audit.wanted.problem:
        worst, act = Severity.INFO, Act.MONITOR
        proposal = "a source drops hooks that we answered too late or not at all: see `tracker outages`; what it did not send is read"
    finding = Finding(_KIND, subject, worst, act, evidence, proposal=proposal)
    tell.report_findings(audit.ctx, connection, [(None, finding)], business, by="hooks")


def _of(rows: Sequence[Mapping[str, Any]], state: str) -> dict[str, list[str]]:
    """Return the topics of rows of a state, by what is said of them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == state:
            found.setdefault(row["said"], []).append(row["topic"])
    return found


def _rows_of(kept: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["topic"]: row for row in kept.get("hooks", ())}

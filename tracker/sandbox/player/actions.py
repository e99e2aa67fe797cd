"""What happens in a play: by the carriers, the shops, and the people who run commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import sqlalchemy as sa

from tracker.clock import PLAYED
from tracker.sandbox import scenario as wanted
from tracker.sandbox.base import Outgoing
from tracker.sandbox.player.checks import check
from tracker.sandbox.player.course import JITTER, Course
from tracker.sandbox.scenario import Expect, Step
from tracker.store import queries
from tracker.store.tables import (
    findings,
    orders,
)
from tracker.support import statements


def do(course: Course, step: Step) -> None:
    """Let a step happen, now."""
    name, action = step.action
    at = course.scenario.moment(step.at)
    if name in AT_A_SERVER:
        server = course.stage.servers[getattr(action, AT_A_SERVER[name])]
        server.said |= set(_values(action.model_dump(exclude_unset=True)))
        getattr(server, f"on_{name}")(action, at)
    else:
        _OURS[name](course, action, at)


def _values(said: Any) -> Iterator[str]:
    """Yield each value of what a scenario says, as it is spelt in Python."""
    yield repr(said)
    if isinstance(said, dict | tuple | list):
        for one in said.values() if isinstance(said, dict) else said:
            yield from _values(one)


def _say(course: Course, action: wanted.Say, _at: datetime) -> None:
    course.settle()
    ctx = course.daemon.ctx
    order = statements.find_order(ctx, action.order, action.store)
    statements.record_statement(
        ctx, order, action.kind, action.text, action.by, status=action.status, override=action.override,
        to_shop=action.to_shop,
    )  # fmt: skip


def _may(course: Course, action: wanted.May, at: datetime) -> None:
    course.settle()
    ctx = course.daemon.ctx
    order = statements.find_order(ctx, action.order, action.store)
    gate = statements.may(ctx, order, action.to, reason=action.reason, by="ops")
    if gate.allowed is not action.allowed or action.rule not in (None, gate.rule):
        wish = f"{'yes' if action.allowed else 'no'}{f' ({action.rule})' if action.rule else ''}"
        course.result.differences.append(
            f"at {at:%m-%d %H:%M}: may {action.order} {action.to}: {'yes' if gate.allowed else 'no'} ({gate.rule}), "
            f"expected {wish}"
        )


def _dismiss(course: Course, action: wanted.Dismiss, at: datetime) -> None:
    course.settle()
    with course.daemon.store.write() as connection:
        condition = findings.c.kind == action.kind
        if action.order is not None:
            ids = sa.select(orders.c.id).where(orders.c.number == action.order)
            condition = sa.and_(condition, findings.c.order_id.in_(ids))
        closed = queries.close_findings(connection, condition, course.clock(), f"person: {action.by}", action.reason)
    if not closed:
        course.result.differences.append(f"at {at:%m-%d %H:%M}: no open finding {action.kind} to dismiss")


def _withdraw(course: Course, action: wanted.Withdraw, at: datetime) -> None:
    if not course.stage.carriers[action.account].withdraw(action.number, action.code):
        course.result.differences.append(
            f"at {at:%m-%d %H:%M}: {action.account} told no {action.code!r} of {action.number}: nothing to withdraw"
        )


def _says(course: Course, action: wanted.Says, at: datetime) -> None:
    """Run a command beside the daemon, as a person would at this moment."""
    course.settle()
    told = {
        PLAYED: f"{course.clock().isoformat()} {course.ahead().total_seconds()}",
        "TRACKER_CONFIG": str(course.stage.path),
    }
    done = subprocess.run(  # noqa: S603  # our own command, without a shell
        [sys.executable, "-m", "tracker.cli", *action.words], env={**os.environ, **told}, cwd=course.stage.folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        check=False,
    )  # fmt: skip
    label = f"at {at:%m-%d %H:%M}: tracker {action.run}"
    wrong = [f"does not hold {text!r}" for text in action.holds if text not in done.stdout]
    wrong += [f"holds {text!r}" for text in action.lacks if text in done.stdout]
    if done.returncode != action.exit:
        wrong.insert(0, f"ended with {done.returncode}, expected {action.exit}")
    if wrong:
        course.result.differences.append(f"{label}: {'; '.join(wrong)}; it said: {done.stdout.strip()[:1000]}")
    course.settle()


def _wire(course: Course, action: wanted.Wire, _at: datetime) -> None:
    outgoing = _prove(course, action.account, action.body.encode(), action.signed)
    status = course.post(outgoing)
    if status != action.status:
        course.result.differences.append(f"wire to {action.account}: answered {status}, expected {action.status}")


def _file(course: Course, action: wanted.File, _at: datetime) -> None:
    (course.stage.files_of(action.account) / action.name).write_text(action.body)


def _prove(course: Course, account: str, body: bytes, signed: str) -> Outgoing:
    if signed == "absent":
        return Outgoing(account, body, {})
    return course.stage.servers[account].signed(body, secret="wrong" if signed == "wrong" else None)


def _scan(course: Course, action: wanted.Scan, at: datetime) -> None:
    server = course.stage.carriers[action.account]
    sign, hours, minutes = action.offset[0], int(action.offset[1:3]), int(action.offset[4:])
    offset = timedelta(hours=hours, minutes=minutes) * (-1 if sign == "-" else 1)
    happened = course.scenario.moment(action.happened) if action.happened is not None else at
    scan = {
        "at": happened.astimezone(timezone(offset) if offset else UTC), "code": action.code, "type": action.type,
        "letters": action.letters, "text": action.text, "city": action.city, "region": action.region,
        "country": action.country, "zoned": action.zoned, "service": action.service, "head": action.head, "last_mile": action.last_mile,
        "body": action.body, "edd": course.scenario.moment(action.edd) if action.edd is not None else None,
    }  # fmt: skip
    if action.via != "webhook":
        server.history[action.number].append(scan)
    tells = course.scenario.accounts[action.account].webhooks and server.pushes
    outgoing = server.webhook(action, scan) if tells and action.via != "poll" and not action.head else None
    if outgoing is None:
        return
    if action.webhook.signed != "right":
        outgoing = _prove(course, action.account, outgoing.body, action.webhook.signed)

    def send() -> None:
        course.post(server.sent(outgoing) if action.webhook.signed == "right" else outgoing)

    times, delay = action.webhook.times, action.webhook.delay
    if course.random is not None and action.webhook.signed == "right":
        times += course.random.choice((0, 0, 1, 2))
    for _ in range(times):
        jitter = course.random.choice(JITTER) if course.random is not None else timedelta(0)
        course.plan(at + delay + jitter, send)


def _expect(course: Course, expect: Expect, at: datetime) -> None:
    course.settle()
    course.result.differences += [f"at {at:%m-%d %H:%M}: {d}" for d in check(course, expect)]


# the actions that happen at a fake server (its `on_<action>`), and the field that names it
AT_A_SERVER = {
    **dict.fromkeys(("place", "ship", "edit", "cancel", "pay", "refund", "checkout"), "store"), "fault": "server",
}  # fmt: skip
_OURS: dict[str, Callable[[Course, Any, datetime], None]] = {
    "scan": _scan, "withdraw": _withdraw, "wire": _wire, "file": _file, "say": _say, "may": _may, "dismiss": _dismiss, "says": _says,
    "expect": _expect,
}  # fmt: skip

"""What must have come of a play: every difference between what is and what a scenario expects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from tracker.domain.vocabulary import FindingKind
from tracker.pipeline import state
from tracker.sandbox import scenario as wanted
from tracker.sandbox.player.course import Course
from tracker.sandbox.scenario import Expect
from tracker.sandbox.used import CarrierUsed, StoreUsed
from tracker.store.tables import (
    decisions,
    findings,
    fulfilment_shipments,
    fulfilments,
    orders,
    shipments,
    watches,
)
from tracker.support import lists
from tracker.support.explain import overview

HOUR = timedelta(hours=1)


def check(course: Course, expect: Expect) -> list[str]:
    """Return every difference between what is and what must be."""
    course.result.log = course.stage.platform_log()
    wrong: list[str] = []
    with course.daemon.store.read() as connection:
        for number, order in expect.orders.items():
            wrong += _check_order(course, connection, number, order)
        for number, parcel in expect.unmatched.items():
            rows = connection.execute(sa.select(shipments).where(shipments.c.number == number)).all()
            wrong += _check_parcel(connection, f"parcel {number}", rows, parcel)
            wrong += [f"parcel {number}: is linked to an order" for row in rows if row.linked]
        if expect.findings is not None:
            wrong += _check_findings(course, connection, expect.findings)
        if expect.checkouts is not None:
            left = findings.c.kind == FindingKind.ABANDONED_CHECKOUT
            stand = connection.execute(sa.select(findings.c.subject).where(left, findings.c.closed_at.is_(None)))
            refs = {row.subject.rpartition("/")[2] for row in stand}
            wrong += _sets("checkouts", refs, set(expect.checkouts))
        if expect.unmapped is not None:
            codes = {f"{row['carrier']}/{row['code_key']}" for row in lists.list_codes(course.daemon.ctx, limit=10_000)}
            wrong += _sets("unmapped codes", codes, set(expect.unmapped))
    if expect.drift is not None:
        wrong += _check_drift(course, expect.drift)
    if expect.notices is not None:
        wrong += _check_notices(course, expect.notices)
    if expect.writes is not None:
        wrong += _check_writes(course, expect.writes)
    for event, (least, most) in expect.written.items():
        many = sum(entry["event"] == event for entry in course.result.log)
        if not least <= many <= most:
            wrong.append(f"{event} was written {many} times, expected {least} to {most}")
    if expect.rejected is not None and expect.rejected != course.result.rejected:
        wrong.append(f"webhooks rejected: {course.result.rejected}, expected {expect.rejected}")
    for bounds, what in ((expect.calls, "more"), (expect.most_calls, "fewer")):
        for name, bound in bounds.items():
            server, _, operation = name.partition("/")
            made = course.stage.servers[server].calls[operation]
            if made < bound if what == "more" else made > bound:
                wrong.append(f"calls {name}: {made}, expected {bound} or {what}")
    return [*wrong, *_check_budgets(course)]


def _check_budgets(course: Course) -> Iterable[str]:
    """Say where a server's own log holds more requests in a span than its account's budget gives."""
    every: dict[str, CarrierUsed | StoreUsed] = {**course.scenario.accounts, **course.scenario.stores}
    for name, used in every.items():
        if used.budget is None:
            continue
        made, since = course.stage.servers[name].busiest(used.budget.per)
        if since is not None and made > used.budget.calls:
            yield f"{name} was asked {made} times in {used.budget.per} from {since:%m-%d %H:%M:%S}, its budget gives {used.budget.calls}"


def _check_order(course: Course, connection: sa.Connection, number: str, expect: wanted.OrderExpected) -> list[str]:
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
        shown = next(o for o in overview(course.daemon.ctx, number)["orders"] if o["store"] == row.store)
        wrong += [f"order {number}: {said}" for said in _parts(orjson.loads(orjson.dumps(shown)), expect.shows, "")]
    if expect.owner is not None:
        account = course.daemon.ctx.account(row.store)
        assert account is not None
        owner = account.policy.owner_of(state.read_orders(connection, [row])[row.id])[0]
        if owner is not expect.owner:
            wrong.append(f"order {number}: owner is {owner}, expected {expect.owner}")
    for parcel, what in expect.parcels.items():
        rows = connection.execute(
            sa.select(shipments)
            .join(fulfilment_shipments, fulfilment_shipments.c.shipment_id == shipments.c.id)
            .join(fulfilments, fulfilments.c.id == fulfilment_shipments.c.fulfilment_id)
            .where(fulfilments.c.order_id == row.id, shipments.c.number == parcel)
        ).all()
        wrong += _check_parcel(connection, f"order {number}, parcel {parcel}", rows, what)
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
    connection: sa.Connection, what: str, rows: Iterable[Any], expect: wanted.ParcelExpected
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
            connection.execute(sa.select(watches.c.tracking_state).where(watches.c.shipment_id == row.id)).scalars()
        )
        if expect.tracking not in states:
            wrong.append(f"{what}: tracking is {', '.join(sorted(states)) or 'none'}, expected {expect.tracking}")
    return wrong


def _check_findings(course: Course, connection: sa.Connection, expect: Iterable[wanted.FindingExpected]) -> list[str]:
    apart = findings.c.kind != FindingKind.ABANDONED_CHECKOUT
    rows = list(connection.execute(sa.select(findings).where(apart).order_by(findings.c.id)))
    wrong = []
    for one in expect:
        match = next((row for row in rows if _is(row, one)), None)
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
            _unquoted(one.proposal) not in _unquoted(match.proposal or "") or (not one.proposal and match.proposal)
        ):
            wrong.append(f"{label}: proposal is {match.proposal!r}, expected {one.proposal!r}")
        for name, when in (("opened_at", one.opened), ("closed_at", one.closed)):
            if when is None:
                continue
            is_at = getattr(match, name)
            if is_at is None or not _in_time(course, is_at, when):
                wrong.append(f"{label}: {name} is {is_at}, expected {course.scenario.moment(when)}")
    wrong += [
        f"finding {row.kind} of {row.subject} ({'open' if row.closed_at is None else 'closed'}): not expected"
        for row in rows
    ]
    return wrong


def _unquoted(said: str) -> str:
    """Leave out the quotes that a shell needs: whether an order's number has some is not what a play is about."""
    return said.replace("'", "")


def _in_time(course: Course, is_at: datetime, when: timedelta | datetime) -> bool:
    """Say whether something happened when it was expected, to the hour; where webhooks are shuffled it may be as late as they are."""
    late = is_at - course.scenario.moment(when)
    return -HOUR <= late <= HOUR + course.late


def _is(row: Any, one: wanted.FindingExpected) -> bool:
    return (
        row.kind == one.kind
        and (row.closed_at is None) == one.open
        and (one.order is None or row.evidence.get("order") == one.order)
        and (one.store is None or row.store == one.store)
        and (one.act is None or row.act == one.act)
        and (one.parcel is None or one.parcel in str(row.evidence.get("parcel", row.subject)))
    )


def _check_drift(course: Course, expect: Iterable[wanted.DriftExpected]) -> list[str]:
    left = lists.drift(course.daemon.ctx, limit=10_000)
    wrong = []
    for one in expect:
        match = next((row for row in left if not _drifts(course, row, one)), None)
        if match is not None:
            left.remove(match)
            continue
        near = [_drifts(course, row, one) for row in left if row["order"] == one.order]
        wrong.append(f"drift of order {one.order}: " + ("; ".join(near[0]) if near else "not there"))
    return wrong + [
        f"drift of order {row['order']} at {row['store']} ({row['drift']}: shop {row['shop']}, carrier {row['carrier']}): "
        "not expected"
        for row in left
    ]


def _drifts(course: Course, row: dict[str, Any], one: wanted.DriftExpected) -> list[str]:
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
    if one.since is not None and not _in_time(course, row["since"], one.since):
        wrong.append(f"since is {row['since']}, expected {course.scenario.moment(one.since)}")
    return wrong


def _check_writes(course: Course, expect: Iterable[wanted.WriteExpected]) -> list[str]:
    left = list(course.result.log)
    wrong = []
    for one in expect:
        for _ in range(one.times):
            match = next((entry for entry in left if _wrote(course, entry, one)), None)
            if match is not None:
                left.remove(match)
            elif not one.may:
                wrong.append(f"write {one.event} for order {one.order}: the platform did not log it")
    wrong += [
        f"write {e['event']} for order {e['order']} at {e['happened_at']:%m-%d %H:%M}: not expected" for e in left
    ]
    return wrong


def _check_notices(course: Course, expect: Iterable[wanted.NoticeExpected]) -> list[str]:
    lines = course.stage.notices_file.read_bytes().splitlines() if course.stage.notices_file.exists() else []
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


def _wrote(course: Course, entry: dict[str, Any], one: wanted.WriteExpected) -> bool:
    happened = course.scenario.moment(one.happened) if one.happened is not None else None
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

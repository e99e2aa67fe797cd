"""The words in which each form of target is told of findings. Pure: rows in, bodies out.

By what others quote of the vendors' documents, which were not at hand (bounds found so on 2026-11-27): Slack, "Sending messages
using incoming webhooks", "Formatting text for app surfaces" (only & < > are escaped, as entities; <!channel> calls everybody) and
"Reference: blocks" (3,000 characters a section, 50 blocks, 40,000 characters of text); PagerDuty, "Events API v2: Send an alert
event" (summary 1,024, dedup_key 255, an event 512 kB, severity critical, error, warning or info).
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.engine import Row

from tracker.config.telling import ALERT_URL, TargetPart
from tracker.domain.personal import impersonal
from tracker.domain.texts import printable
from tracker.domain.vocabulary import FindingKind, Severity

MANY = 10  # findings that are told one by one; of more only how many
LINE, TEXT, SUMMARY, SECTION, VALUE = 600, 12_000, 1_024, 2_900, 300
CLIENT = "Trackwright"
_PAGER = {Severity.URGENT: "critical", Severity.WARNING: "warning", Severity.INFO: "info"}
_MARK = {Severity.URGENT: ":red_circle:", Severity.WARNING: ":large_yellow_circle:", Severity.INFO: ":white_circle:"}


@dataclass(frozen=True)
class News:
    """What a target is told together: findings that were opened, and that closed of those that it was told of.

    `orders` by id; `known`: under which incident each closed one was told; `standing`: incidents that are not over with these;
    `details`: also texts that others wrote freely.
    """

    opened: Sequence[Row[Any]]
    closed: Sequence[Row[Any]]
    orders: Mapping[int, Row[Any]]
    known: Mapping[int, str | None]
    standing: frozenset[str] = frozenset()
    details: bool = False

    def evidence(self, row: Row[Any]) -> dict[str, Any]:
        """Return the evidence of a finding that is told."""
        told: dict[str, Any] = row.evidence if self.details else impersonal(row.evidence)
        return told


@dataclass(frozen=True)
class Made:
    """One message: its id, what it is, its body, the findings whose opening it tells, and the incident that it begins."""

    key: str
    event: str
    body: Mapping[str, Any]
    opened: Sequence[int] = field(default_factory=tuple)
    incident: str | None = None


def compose(name: str, target: TargetPart, news: News, now: datetime) -> list[Made]:
    """Return the messages in which a target is told; none where there is no news."""
    if not news.opened and not news.closed:
        return []
    if target.form == "pagerduty":
        return _pagerduty(name, news, now)
    if target.form == "json":
        return _json(name, news)
    ids = [row.id for row in news.opened]
    said = subject(news)
    if target.form == "slack":
        return [Made(_key(), "findings", slack(said, lines(news)), ids)]
    return [Made(_key(), "findings", {"subject": said, "text": mail(said, lines(news))}, ids)]


def _key() -> str:
    return f"msg_{uuid.uuid4().hex}"


def _stem(row: Row[Any]) -> str:
    """Name a finding to others: after a backup was put back, another one may have its number, but not its moment as well."""
    return f"finding/{row.id}/{row.opened_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}"


# what is said, in any form


def subject(news: News) -> str:
    """Say how much there is in one line: the worst first."""
    counts = Counter(Severity(row.severity) for row in news.opened)
    said = [f"{counts[one]} {one}" for one in Severity if counts[one]]
    parts = [f"{', '.join(said)} {'finding' if len(news.opened) == 1 else 'findings'}"] if said else []
    parts += [f"{len(news.closed)} closed"] if news.closed else []
    return f"{CLIENT}: {'; '.join(parts)}"


def lines(news: News) -> list[tuple[str, str]]:
    """Return what is said of each finding, or, of many, of each kind: a heading and what it means, the worst first."""
    told = []
    for rows, over in ((news.opened, False), (news.closed, True)):
        ranked = sorted(rows, key=lambda row: (-Severity(row.severity).rank, row.id))
        if len(ranked) > MANY:
            told += _counted(ranked, over)
        else:
            told += [(heading(row, news.orders, over), meaning(news, row, over)) for row in ranked]
    return told


def _counted(rows: Sequence[Row[Any]], over: bool) -> list[tuple[str, str]]:
    kinds = Counter((Severity(row.severity), FindingKind(row.kind)) for row in rows)
    told = []
    for (severity, kind), count in kinds.most_common():
        stores = Counter(row.store for row in rows if row.kind == kind and row.store)
        of = ", ".join(f"{store} {n}" for store, n in stores.most_common(5))
        where = f" ({of}{' ...' if len(stores) > 5 else ''})" if stores else ""
        what = "closed" if over else severity
        told.append((f"{count} x {kind} [{what}]{where}", f"{kind.sentence} List them: tracker findings --kind {kind}"))
    return told


def heading(row: Row[Any], orders: Mapping[int, Row[Any]], over: bool) -> str:
    """Name a finding in a line: how bad, what, of which order or account, and who looks after it."""
    about = orders.get(row.order_id) if row.order_id is not None else None
    of = f"order {about.number} of {about.store}" if about is not None else row.subject
    who = f", {row.assigned_to} looks after it" if row.assigned_to and not over else ""
    return _cut(f"[{'closed' if over else row.severity}] {row.kind.replace('_', ' ')}: {of}{who}", LINE)


def meaning(news: News, row: Row[Any], over: bool) -> str:
    """Say what a finding means, by which evidence, and what is proposed."""
    kind = FindingKind(row.kind)
    if over:
        because = f" {row.closed_reason}" if row.closed_reason and news.details else ""
        return _cut(f"It was open since {row.opened_at:%Y-%m-%d %H:%M} UTC.{because}", LINE)
    evidence = ", ".join(f"{name} {value}" for name, value in news.evidence(row).items() if value)
    since = f"since {row.since or row.opened_at:%Y-%m-%d %H:%M} UTC"
    hint = f" Do: {row.proposal}" if row.proposal else ""
    return _cut(f"{kind.sentence} ({_cut(evidence, VALUE)}; {since}; finding {row.id}){hint}", LINE)


def _cut(text: str, most: int) -> str:
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


# the forms


def slack(said: str, told: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return a message for an incoming webhook: plain text for notifications, and blocks. Nothing in it calls anybody."""
    blocks: list[dict[str, Any]] = [{"type": "section", "text": _mrkdwn(f"*{escaped(said)}*")}]
    for head, what in told[: 2 * MANY]:
        mark = next(
            (_MARK[one] for one in Severity if head.startswith(f"[{one}]")),
            ":white_check_mark:" if head.startswith("[closed]") else "",
        )
        blocks.append({"type": "section", "text": _mrkdwn(f"{mark} *{escaped(head)}*\n{escaped(what)}".strip())})
    if len(told) > 2 * MANY:
        blocks.append({"type": "section", "text": _mrkdwn("and more: `tracker findings`")})
    text = "\n".join([said, *(head for head, _ in told)])
    return {"text": escaped(text)[:TEXT], "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text[:SECTION], "verbatim": True}


def escaped(text: str) -> str:
    """Return a text that holds no link and no mention of Slack's: those begin with <, and an @ alone is none (no link_names)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mail(said: str, told: Sequence[tuple[str, str]]) -> str:
    """Return the text of a mail."""
    return "\n\n".join([said, *(f"{head}\n  {what}" for head, what in told)]) + "\n"


def _pagerduty(name: str, news: News, now: datetime) -> list[Made]:
    """Return events: an incident each, or one for many. An incident is resolved when the last finding of it has closed."""
    made = []
    if len(news.opened) > MANY:
        incident = f"trackwright/{name}/many/{uuid.uuid4().hex}"
        worst = max((Severity(row.severity) for row in news.opened), key=lambda one: one.rank)
        details = dict(lines(News(news.opened, (), news.orders, {})))
        made.append(
            Made(
                _key(),
                "findings",
                _event(incident, "trigger", subject(news), worst, now, details),
                [row.id for row in news.opened],
                incident,
            )
        )
    else:
        for row in news.opened:
            incident = f"trackwright/{name}/{_stem(row)}"
            said = f"{heading(row, news.orders, False)}: {meaning(news, row, False)}"
            details = {
                "subject": row.subject,
                "finding": row.id,
                "assigned_to": row.assigned_to,
                **_evidence(news.evidence(row)),
            }
            body = _event(
                incident,
                "trigger",
                said,
                Severity(row.severity),
                row.since or row.opened_at,
                details,
                row.kind,
                row.store,
            )
            made.append(Made(_key(), "finding.opened", body, [row.id], incident))
    for one in dict.fromkeys(news.known[row.id] for row in news.closed):
        if one and one not in news.standing:
            made.append(Made(_key(), "finding.closed", {"event_action": "resolve", "dedup_key": one[:255]}))
    return made


def _evidence(told: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cut(str(value), VALUE) for name, value in [*told.items()][:50]}


def _event(
    incident: str, action: str, said: str, severity: Severity, at: datetime, details: Mapping[str, Any], kind: str = "", group: str | None = None
) -> dict[str, Any]:  # fmt: skip
    payload = {
        "summary": _cut(said, SUMMARY), "source": group or "trackwright", "severity": _PAGER[severity],
        "timestamp": at.isoformat(), "component": "trackwright", "custom_details": dict(details),
    }  # fmt: skip
    payload |= {"class": kind} if kind else {}
    payload |= {"group": group} if group else {}
    return {"event_action": action, "dedup_key": incident[:255], "client": CLIENT, "payload": payload}


def _json(name: str, news: News) -> list[Made]:
    """Return a body for each finding, as `notices.alert_url` always posted them; one with counts for many."""
    if name != ALERT_URL and len(news.opened) + len(news.closed) > MANY:
        counts = [
            {"kind": kind, "severity": severity, "store": store, "closed": over, "count": count}
            for rows, over in ((news.opened, False), (news.closed, True))
            for (kind, severity, store), count in Counter((r.kind, r.severity, r.store) for r in rows).most_common(100)
        ]
        key = _key()
        body = {"key": key, "kind": "many", "said": subject(news), "counts": counts, "list": "tracker findings"}
        return [Made(key, "findings", body, [row.id for row in news.opened])]
    told = [(row, False) for row in news.opened] + [(row, True) for row in news.closed]
    made = []
    for row, over in told:
        about = news.orders.get(row.order_id) if row.order_id is not None else None
        one: dict[str, Any] = {
            "key": _stem(row), "kind": row.kind, "severity": row.severity, "act": row.act, "store": row.store,
            "subject": row.subject, "order": about.number if about is not None else None, "evidence": news.evidence(row),
            "proposal": row.proposal or None, "opened_at": row.opened_at,
        }  # fmt: skip
        if over:
            one |= {"closed_at": row.closed_at, "closed_reason": row.closed_reason if news.details else None}
        made.append(
            Made(
                _stem(row) if name == ALERT_URL else _key(),
                "finding.closed" if over else "finding.opened",
                one,
                () if over else [row.id],
            )
        )
    return made

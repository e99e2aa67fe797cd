"""Findings to people: Slack, PagerDuty and JSON, urgent at once, the others with a digest, many as one, closed ones told."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.lab import START, Lab
from tests.told import NEW, Answer, Receiver, Taken, due_now, endpoint, standing
from tracker.config.load import load_text
from tracker.config.telling import DigestPart
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Finding
from tracker.domain.vocabulary import Act, FindingKind, Severity
from tracker.pipeline import tell
from tracker.pipeline.telling import findings as giving
from tracker.pipeline.telling import forms
from tracker.pipeline.telling import standing as how
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import maintenance
from tracker.upkeep.settle import settle_accounts

KEY = "0123456789abcdef0123456789abcdef"
HOSTILE = "<!channel> & <https://evil.example|click> " + "long " * 200


def slack(post: Taken) -> Answer | None:
    """Answer as Slack's incoming webhooks do (docs.slack.dev, "Sending messages using incoming webhooks", "Blocks", as others quote them)."""
    body = post.told
    if not isinstance(body.get("text"), str) or not body["text"] or len(body["text"]) > 40_000:
        return 400, {}, b"no_text"
    blocks = body.get("blocks", [])
    texts = [block["text"]["text"] for block in blocks]
    if len(blocks) > 50 or any(not 1 <= len(text) <= 3_000 for text in texts):
        return 400, {}, b"invalid_blocks"
    if any(block["type"] != "section" or block["text"]["type"] != "mrkdwn" for block in blocks):
        return 400, {}, b"invalid_blocks"
    if {*body} - {"text", "blocks", "unfurl_links", "unfurl_media"}:
        return 400, {}, b"invalid_payload"
    mentions = any(re.search(r"<[!@#]|<https?:", text) for text in [body["text"], *texts])
    return (400, {}, b"somebody is called") if mentions else (200, {}, b"ok")


def pagerduty(post: Taken) -> Answer | None:
    """Answer as PagerDuty's Events API v2 does (developer.pagerduty.com, "Send an alert event", as others quote it)."""
    body = post.told
    right = body.get("routing_key") == KEY and body.get("event_action") in ("trigger", "resolve", "acknowledge")
    right &= 0 < len(body.get("dedup_key", "")) <= 255 and len(post.body) <= 512_000
    if body.get("event_action") == "trigger":
        told = body["payload"]
        right &= 0 < len(told["summary"]) <= 1_024 and bool(told["source"])
        right &= told["severity"] in ("critical", "error", "warning", "info")
        datetime.fromisoformat(told["timestamp"])
    if not right:
        return 400, {}, b'{"status":"invalid event","message":"Event object is invalid"}'
    return (
        202,
        {"Content-Type": "application/json"},
        json.dumps({"status": "success", "dedup_key": body["dedup_key"]}).encode(),
    )


def target(erp: Receiver, folder: Path, more: str, name: str = "ops") -> str:
    for file, value in ((f"{name}-url", erp.url), (f"{name}-key", KEY)):
        (folder / file).touch(mode=0o600)
        (folder / file).write_text(value)
    said = more.replace("URL", f'"${{file:{folder}/{name}-url}}"').replace("KEY", f'"${{file:{folder}/{name}-key}}"')
    return f"telling: {{targets: {{{name}: {{{said}}}}}}}\n"


def opened(lab: Lab, count: int = 1, *, severity: Severity = Severity.URGENT, kind: FindingKind = FindingKind.STUCK, start: int = 0, **evidence: str) -> None:  # fmt: skip
    """Open findings of a store, as a decision does."""
    wanted = [
        (
            None,
            Finding(
                kind, f"store/shop/{i}", severity, Act.ACT, {"order": f"#{i}", **evidence}, proposal=f"look at {i}"
            ),
        )
        for i in range(start, start + count)
    ]
    with lab.ctx.store.write() as connection:
        tell.report_findings(lab.ctx, connection, wanted, lab.clock(), by="decision")
    lab.work("tell")


def closed(lab: Lab, *subjects: int) -> None:
    with lab.ctx.store.write() as connection:
        here = t.findings.c.subject.in_([f"store/shop/{i}" for i in subjects])
        queries.close_findings(connection, here, lab.clock(), "decision", "Mr Smith has it")
    lab.work("tell")


def later(lab: Lab) -> None:
    due_now(lab)
    lab.work("tell")


def test_urgent_findings_go_to_slack_at_once_the_others_with_the_digest_and_closings_where_the_opening_was_told(
    make_lab, erp: Receiver, tmp_path: Path
) -> None:
    erp.judge = slack
    lab = make_lab(yaml=target(erp, tmp_path, "form: slack, url: URL, digest: {every: 4h}"))
    lab.work()
    opened(lab, said=HOSTILE, status="<!here> & moved")
    opened(lab, severity=Severity.WARNING, start=1)
    opened(lab, severity=Severity.INFO, start=2)  # below what it is told
    assert erp.posts == []  # it gathers what comes together
    rows = lab.rows(t.tellings)
    assert [row.finding_id for row in rows] == [row.id for row in lab.rows(t.findings)[:2]]
    assert (
        rows[1].due_at - rows[0].due_at > timedelta(seconds=30) and rows[1].due_at.minute == rows[1].due_at.second == 0
    )
    lab.change(t.tellings.update().where(t.tellings.c.finding_id == rows[0].finding_id).values(due_at=START))
    assert "tell" in maintenance.due_queues(lab.ctx)
    lab.work("tell")
    (urgent,) = erp.told_all()
    assert urgent["text"].startswith("Trackwright: 1 urgent finding\n[urgent] stuck: store/shop/0")
    body = urgent["blocks"][1]["text"]["text"]
    assert "&lt;!here&gt; &amp; moved" in body and "look at 0" in body and "evil" not in body
    closed(lab, 0, 1)
    later(lab)
    assert [one["text"].splitlines()[0] for one in erp.told_all()] == [
        "Trackwright: 1 urgent finding",
        "Trackwright: 1 closed",
    ]
    assert "Smith" not in erp.taken[-1].body.decode()
    later(lab)
    assert len(erp.posts) == 2  # of the warning, that closed before its digest, and of what is told nothing more


def test_a_storm_is_one_message_with_counts_and_the_command_and_what_is_away_is_told_once_when_it_is_back(one_lab, erp: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    lab = one_lab(yaml=target(erp, tmp_path, "form: slack, url: URL"))
    lab.work()
    erp.judge = lambda _post: (500, {}, b"rollup_error")
    opened(lab, 1_000, kind=FindingKind.DELIVERY_OVERDUE, severity=Severity.WARNING)
    later(lab)
    opened(lab, 300, start=1_000)  # while it is away
    later(lab)
    later(lab)
    (row,) = lab.rows(t.messages)
    for _ in range(10):
        later(lab)
    with lab.ctx.store.read() as connection:
        left = lab.one(t.messages).due_at - database_now(connection)
    assert timedelta(0) < left <= timedelta(minutes=5)  # people wait for it, so it is tried soon, for days
    assert (lab.one(t.messages).state, lab.one(t.messages).attempts) == ("pending", row.attempts + 10)
    erp.judge = slack
    later(lab)
    later(lab)
    first, second = erp.told_all()
    assert first["text"].splitlines() == [
        "Trackwright: 1000 warning findings",
        "1000 x delivery_overdue [warning] (shop 1000)",
    ]
    assert "tracker findings --kind delivery_overdue" in first["blocks"][1]["text"]["text"]
    assert second["text"].startswith("Trackwright: 300 urgent findings")

    erp.judge = lambda _post: (500, {}, b"rollup_error")
    opened(lab, 1, start=1_500)
    later(lab)
    old = t.messages.c.state == "pending"
    lab.change(t.messages.update().where(old).values(created_at=START - timedelta(days=30), attempts=20))
    later(lab)
    assert lab.rows(t.messages)[-1].state == "dead"
    erp.judge = slack

    monkeypatch.setattr(giving, "AT_ONCE", 2)  # a storm is given piece by piece, and each has a moment of its own
    lab.change(t.destinations.update().values(tells_at=None, blocked_until=None))
    opened(lab, 7, start=2_000)
    first_due = t.tellings.update().where(
        t.tellings.c.due_at == min(row.due_at for row in lab.rows(t.tellings, t.tellings.c.due_at.isnot(None)))
    )
    lab.change(first_due.values(due_at=START))
    lab.work("tell")
    assert erp.told_all()[2]["text"].startswith("Trackwright: 7 urgent findings")
    with lab.ctx.store.write() as connection:
        connection.execute(t.findings.update().where(t.findings.c.told_at.isnot(None)).values(alert_due_at=START))
        connection.execute(t.tellings.update().values(due_at=START))
        connection.execute(t.destinations.update().values(tells_at=None))
    assert giving.give(lab.ctx) == 2 and len(lab.rows(t.messages)) == 4  # nothing is told before all is given


def test_pagerduty_has_an_incident_a_finding_or_one_of_many_and_each_is_resolved_when_all_of_it_has_closed(one_lab, erp: Receiver, tmp_path: Path) -> None:  # fmt: skip
    erp.judge = pagerduty
    lab = one_lab(yaml=target(erp, tmp_path, "form: pagerduty, routing_key: KEY, url: URL"))
    lab.work()
    opened(lab, 2, said=HOSTILE, place="x" * 5_000)
    later(lab)
    later(lab)
    first, second = erp.told_all()
    assert (first["event_action"], first["payload"]["severity"], first["payload"]["class"]) == (
        "trigger",
        "critical",
        "stuck",
    )
    assert first["dedup_key"] != second["dedup_key"] and first["payload"]["group"] == "shop"
    opened(lab, 12, severity=Severity.WARNING, start=2)
    later(lab)
    many = erp.told_all()[-1]
    assert many["payload"]["summary"] == "Trackwright: 12 warning findings" and len(erp.posts) == 3
    closed(lab, 0, *range(2, 13))
    later(lab)
    assert [one["dedup_key"] for one in erp.told_all()[3:]] == [first["dedup_key"]]  # one of the many still stands
    closed(lab, 13)
    later(lab)
    assert [(one["event_action"], one["dedup_key"]) for one in erp.told_all()[4:]] == [("resolve", many["dedup_key"])]
    assert all(KEY not in row.body for row in lab.rows(t.messages))  # the key stands in the configuration only

    erp.judge = lambda _post: (400, {}, b"invalid")  # it would be refused again
    opened(lab, 1, start=50)
    later(lab)
    assert [row.state for row in lab.rows(t.messages)[-1:]] == ["dead"] and standing(lab, "ops").failures == 1


def test_what_opens_and_closes_again_and_again_is_told_once_in_a_while_and_what_rests_when_it_wakes(one_lab, erp: Receiver, tmp_path: Path) -> None:  # fmt: skip
    erp.judge = slack
    lab = one_lab(yaml=target(erp, tmp_path, "form: slack, url: URL, closed: false"))
    lab.work()
    opened(lab)
    later(lab)
    for _ in range(3):
        closed(lab, 0)
        opened(lab)
        lab.change(
            t.tellings.update()
            .where(t.tellings.c.told_at.is_(None), t.tellings.c.due_at.isnot(None))
            .values(due_at=START)
        )
        lab.change(t.destinations.update().values(tells_at=None))
        lab.work("tell")
    assert len(erp.posts) == 1
    lab.change(
        t.tellings.update().where(t.tellings.c.told_at.isnot(None)).values(told_at=START)
    )  # a quarter of an hour later
    later(lab)
    assert len(erp.posts) == 2

    opened(lab, start=7)
    lab.change(
        t.findings.update()
        .where(t.findings.c.closed_at.is_(None))
        .values(snoozed_until=lab.clock() + timedelta(hours=9))
    )
    later(lab)
    assert len(erp.posts) == 2
    (asleep,) = lab.rows(t.tellings, t.tellings.c.told_at.is_(None))
    with lab.ctx.store.read() as connection:
        left = asleep.due_at - database_now(connection)
    assert timedelta(hours=8.9) < left < timedelta(hours=9.1)
    lab.clock.move_to(lab.clock() + timedelta(hours=9))
    later(lab)
    assert len(erp.posts) == 3 and "store/shop/7" in erp.told_all()[-1]["text"]


def test_what_got_worse_while_it_stood_is_told_and_its_end_to_whoever_heard_of_it(one_lab, erp: Receiver, tmp_path: Path) -> None:  # fmt: skip
    both = target(erp, tmp_path, "form: slack, url: URL").strip()[:-2]
    digest = f'json: {{form: json, url: "${{file:{tmp_path}/ops-url}}", least: info}}'
    lab = one_lab(yaml=f"{both}, {digest}}}}}\nnotices: {{alert_url: '{erp.url}', alert_from: info}}\n")
    lab.work()

    def heard() -> list[str]:
        new, erp.taken = erp.told_all(), []
        return sorted(one["text"].splitlines()[0] if "text" in one else one["severity"] for one in new)

    opened(lab, severity=Severity.INFO)  # a deadline comes near
    later(lab)
    assert heard() == ["info", "info"]
    opened(lab, severity=Severity.WARNING)  # and is over
    later(lab)
    assert heard() == ["Trackwright: 1 warning finding", "warning"]  # alert_url is posted each finding once
    opened(lab, severity=Severity.WARNING)
    later(lab)
    opened(lab, severity=Severity.INFO)
    later(lab)
    assert heard() == []
    closed(lab, 0)
    later(lab)
    assert heard() == ["Trackwright: 1 closed", "info"]


def test_an_urgent_finding_does_not_wait_for_the_pause_after_many_others(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    erp.judge = slack
    lab = one_lab(yaml=target(erp, tmp_path, "form: slack, url: URL"))
    lab.work()

    def heard(count: int, severity: Severity, start: int, *, minutes: int | None = None) -> int:
        opened(lab, count, severity=severity, start=start)
        lab.change(t.tellings.update().where(t.tellings.c.told_at.is_(None)).values(due_at=START))
        if minutes is not None:  # of the pause are left
            with lab.ctx.store.write() as connection:
                left = database_now(connection) + timedelta(minutes=minutes)
                connection.execute(t.destinations.update().values(tells_at=left))
        lab.work("tell")
        return len(erp.taken)

    assert heard(12, Severity.WARNING, 0) == 1
    assert heard(1, Severity.URGENT, 20) == 1  # a minute is everybody's
    assert heard(1, Severity.WARNING, 30, minutes=-1) == 2
    assert heard(1, Severity.WARNING, 31, minutes=13) == 2
    assert heard(1, Severity.URGENT, 21) == 3
    assert heard(12, Severity.URGENT, 40, minutes=-1) == 4
    with lab.ctx.store.read() as connection:
        pause = standing(lab, "ops").tells_at - database_now(connection)
    assert pause > timedelta(minutes=28)  # so urgent ones wait a quarter of an hour where they are the storm


def test_a_target_that_comes_back_after_weeks_is_told_no_old_news(one_lab, erp: Receiver, tmp_path: Path) -> None:
    erp.judge = slack
    lab = one_lab(yaml=target(erp, tmp_path, "form: slack, url: URL, digest: {every: 7d}"))
    lab.work()
    opened(lab, 40, severity=Severity.WARNING)
    assert len(lab.rows(t.tellings)) == 40
    there = lab.ctx.config
    lab.ctx.config = load_text(lab.yaml.split("telling:")[0])
    settle_accounts(lab.ctx)
    assert lab.rows(t.tellings) == []
    closed(lab, 3)
    lab.ctx.config = load_text(
        f"{lab.yaml.split('telling:')[0]}telling: {{endpoints: {{{endpoint(erp, tmp_path)}}}}}\n"
    )
    settle_accounts(lab.ctx)
    later(lab)
    lab.ctx.config = there
    settle_accounts(lab.ctx)
    later(lab)
    assert erp.posts == []


def test_no_row_stays_of_what_was_never_told_and_of_what_was_one_stays_until_long_after_it_closed(one_lab, erp: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    erp.judge = slack
    lab = one_lab(yaml=target(erp, tmp_path, "form: slack, url: URL, closed: false"))
    lab.work()
    opened(lab, 3)
    closed(lab, 1)  # before it was told
    later(lab)
    ids = [row.id for row in lab.rows(t.findings)]
    assert [row.finding_id for row in lab.rows(t.tellings)] == [ids[0], ids[2]]

    monkeypatch.setattr(how, "AT_ONCE", 1)  # those that stand for long do not hide the others
    closed(lab, 2)
    later(lab)
    maintenance.prune(lab.ctx)
    assert len(lab.rows(t.tellings)) == 2
    lab.change(t.tellings.update().values(told_at=START - timedelta(days=400)))
    maintenance.prune(lab.ctx)
    assert [row.finding_id for row in lab.rows(t.tellings)] == ids[:1]


def test_the_alert_address_is_posted_each_finding_as_ever_and_again_where_that_failed(one_lab, erp: Receiver) -> None:
    lab = one_lab(yaml=f"notices: {{alert_url: '{erp.url}', alert_from: warning}}\n")
    lab.work()
    erp.judge = lambda post: None if len(erp.posts) > 1 else (503, {}, b"")
    opened(lab, 12, said="their words")
    assert erp.told_all() == []
    later(lab)
    later(lab)
    told = erp.told_all()
    assert len(told) == 12 and {*told[0]} == {"key", "kind", "severity", "act", "store", "subject", "order", "evidence", "proposal", "opened_at"}  # fmt: skip
    assert told[0]["evidence"] == {"order": "#0", "said": "their words"}
    closed(lab, 0)
    later(lab)
    assert len(erp.told_all()) == 12


def test_json_of_our_own_tells_each_its_closing_and_many_as_counts_and_filters_hold(one_lab, erp: Receiver, tmp_path: Path) -> None:  # fmt: skip
    lab = one_lab(yaml=target(erp, tmp_path, "form: json, url: URL, kinds: [stuck], stores: [shop], carriers: [ups]"))
    lab.work()
    opened(lab, parcel="ups 1Z", said="left with Mr Smith")
    opened(lab, parcel="dhl 1", start=1)
    opened(lab, kind=FindingKind.LOST_OR_DESTROYED, parcel="ups 1Z", start=2)
    closed(lab, 0)  # before it was told: nobody hears of either
    opened(lab, parcel="ups 1Z", start=3)
    later(lab)
    (one,) = erp.told_all()
    assert (one["subject"], one["evidence"]) == ("store/shop/3", {"order": "#3", "parcel": "ups 1Z"})
    closed(lab, 3)
    later(lab)
    over = erp.told_all()[1]
    assert (over["key"], over["closed_reason"], bool(over["closed_at"])) == (one["key"], None, True)
    finding = lab.rows(t.findings, t.findings.c.subject == "store/shop/3")[0]
    assert one["key"].startswith(
        f"finding/{finding.id}/20"
    )  # its moment too: numbers begin again where a backup is put back
    opened(lab, 11, parcel="ups 1Z", start=20)
    later(lab)
    assert erp.told_all()[2]["counts"] == [
        {"kind": "stuck", "severity": "urgent", "store": "shop", "closed": False, "count": 11}
    ]


@pytest.mark.parametrize(
    ("digest", "now", "then"),
    [
        (DigestPart(at="08:00", zone="Europe/Berlin"), "2026-11-02T06:59:00", "2026-11-02T07:00:00"),
        (DigestPart(at="08:00", zone="Europe/Berlin"), "2026-11-02T07:00:00", "2026-11-03T07:00:00"),
        (DigestPart(at="08:00", zone="Europe/Berlin"), "2026-03-28T12:00:00", "2026-03-29T06:00:00"),  # clocks change
        (DigestPart(every="4h"), "2026-11-02T06:59:00.5", "2026-11-02T08:00:00"),
    ],
)
def test_a_digest_comes_at_its_time_in_its_zone(digest: DigestPart, now: str, then: str) -> None:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert giving.next_digest(digest, at) == datetime.fromisoformat(then).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("form: slack", "url: is required to form: slack"), ("form: pagerduty, url: URL", "routing_key: is required to form: pagerduty"),
        ("form: slack, url: URL, to: [a@b.example]", "to: does not belong to form: slack"),
        ("form: slack, url: 'https://hooks.example/x'", "a secret must not stand in the file"),
        ("form: slack, url: URL, digest: {}", "needs at or every, one of the two"),
        ("form: slack, url: URL, digest: {at: '25:00'}", "String should match pattern"),
        ("form: slack, url: URL, digest: {at: '08:00', zone: Moon/Base}", "zone: 'Moon/Base' is none, such as Europe/Berlin"),
    ],
)  # fmt: skip
def test_a_target_that_leads_nowhere_is_refused(erp: Receiver, tmp_path: Path, entry: str, said: str) -> None:
    yaml = "network: {allow: [127.0.0.1]}\n" + target(erp, tmp_path, entry)
    with pytest.raises(ConfigError) as refused:
        load_text(yaml, "t.yaml")

    assert any(said in problem and problem.startswith("t.yaml:2:") for problem in refused.value.problems)


def test_a_name_is_that_of_one_destination(erp: Receiver, tmp_path: Path) -> None:
    odd = target(erp, tmp_path, "form: slack, url: URL", name="Ops!")
    (tmp_path / "signing").touch(mode=0o600)
    (tmp_path / "signing").write_text(NEW)
    endpoint = f"endpoints: {{a: {{url: 'https://e.example', secrets: ['${{file:{tmp_path}/signing}}']}}}}"
    both = f"telling: {{{endpoint}, targets: {{a: {{form: mail, to: x@y.example}}}}}}"
    for yaml, said in ((odd, "must be a name of lower-case letters"), (both, "an endpoint has that name too")):
        with pytest.raises(ConfigError) as refused:
            load_text(f"network: {{allow: [127.0.0.1]}}\n{yaml}")
        assert said in str(refused.value.problems)


def test_a_text_for_slack_calls_nobody() -> None:
    assert forms.escaped(HOSTILE).startswith("&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;")
    told = forms.slack("&" * 600, [("&" * 600, "<" * 600)] * 20)
    assert slack(Taken("/", {}, json.dumps(told).encode())) == (200, {}, b"ok")

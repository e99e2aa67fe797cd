"""Outgoing webhooks: what endpoints are told, how they know that it was us, and what becomes of what they do not take."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import standardwebhooks

from tests.conftest import wait_for
from tests.lab import START, UPS, USPS, H, Lab, shipped
from tests.told import NEW, OLD, Receiver, due_now, endpoint, receiver, standing, telling
from tracker.config.load import load_text
from tracker.config.telling import EVENTS
from tracker.domain.errors import ConfigError
from tracker.pipeline.telling import events, samples, schema, send
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.support import told
from tracker.upkeep import maintenance
from tracker.upkeep.settle import settle_accounts

M = t.messages.c


def moved(lab: Lab, *steps: str) -> None:
    """Let USPS tell of steps, each heard by itself."""
    for i, status in enumerate(steps):
        lab.scan(lab.easypost, USPS, status, f"code_{i}", hours=i)
        lab.post(lab.easypost.event(USPS))
        lab.work("ingest", "decide", "push")


def waits(lab: Lab) -> list[tuple[str, int]]:
    return [(row.state, row.attempts) for row in lab.rows(t.messages)]


def test_each_thing_that_happens_is_told_once_signed_and_in_its_order(make_lab, erp: Receiver, tmp_path: Path) -> None:
    preset = "{preset: kingston-courier, notices: [placed]}"
    lab = shipped(
        make_lab,
        yaml=telling(endpoint(erp, tmp_path), endpoint(erp, tmp_path, ", stores: [kart]", name="kart-only")),
        rest=preset,
    )
    moved(lab, "in_transit", "out_for_delivery")
    lab.later(1)  # the shop shows what we wrote
    lab.shop.set("#1001", cancelledAt="2026-11-02T08:00:00Z")  # and is cancelled while its parcel moves
    lab.later(1)
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()
    finding = lab.rows(t.findings)[0]
    with lab.ctx.store.write() as connection:
        queries.close_findings(connection, t.findings.c.id == finding.id, lab.clock(), "person: ana", "Mr Smith has it")
    lab.work()
    lab.work()

    steps = erp.told("shipment.status_changed")
    assert [(one["data"]["before"], one["data"]["status"]) for one in steps] == [
        ("unknown", "in_transit"),
        ("in_transit", "out_for_delivery"),
    ]
    assert steps[0]["data"]["orders"] == [
        {"store": "shop", "number": "#1001", "ref": "gid://shopify/Order/1001", "status": "shipped"}
    ]
    assert steps[0]["data"]["why"].startswith(f"usps says that parcel {USPS} is in transit since 2026-11-02 08:00 UTC")
    writes = erp.told("order.written")
    assert (writes[0]["data"]["write"]["kind"], writes[0]["data"]["write"]["parcels"]) == (
        "fulfilment_event",
        [{"carrier": "usps", "number": USPS}],
    )
    (opened,) = erp.told("order.drift_opened")
    assert opened["data"]["drift"]["kind"] == "cancelled_but_moving" and opened["data"]["order"]["number"] == "#1001"
    assert [one["data"]["notice"]["class"] for one in erp.told("notice")] == ["placed", "placed"]  # to both endpoints
    shut = erp.told("finding.closed")
    assert [(one["data"]["finding"]["id"], one["data"]["finding"]["closed_by"]) for one in shut] == [
        (finding.id, "a person")
    ]
    assert finding.id in [one["data"]["finding"]["id"] for one in erp.told("finding.opened")]

    for one in erp.taken:
        standardwebhooks.Webhook(NEW).verify(one.body, one.headers)
        jsonschema.validate(
            one.told, {**schema.schema_of(one.told["type"]), "components": schema.document()["components"]}
        )
    assert not [
        word for word in ("RENO", "Smith", "ana", "details") if any(word.encode() in one.body for one in erp.taken)
    ]
    ids = [(one.headers["webhook-id"], one.told["type"]) for one in erp.taken]
    assert len(ids) == len(lab.rows(t.messages)) and {one.state for one in lab.rows(t.messages)} == {"sent"}
    kart = [row.event for row in lab.rows(t.messages, M.destination == "kart-only")]
    assert kart == ["notice"]
    lab.change(t.orders.update().values(reconcile_at=START, decision_hash=None))  # decided again: no news
    lab.work()
    assert len(erp.taken) == len(ids)


def test_a_drift_that_ends_is_told_and_details_only_where_they_are_wanted(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    only = (
        ", events: [order.drift_opened, order.drift_closed, shipment.status_changed], details: true, carriers: [usps]"
    )
    lab = shipped(
        one_lab, yaml=telling(endpoint(erp, tmp_path, only)), store="mode: observe, policy: {preset: marketplace-guide}"
    )
    moved(lab, "in_transit", "delivered")
    lab.order("#2", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "DP", hours=1)
    lab.later(2)
    steps, (opened,) = erp.told("shipment.status_changed"), erp.told("order.drift_opened")
    assert len(steps) == 2 and len(lab.rows(t.messages)) == 3  # of usps only
    assert steps[0]["data"]["details"]["place"] == {"city": "RENO", "region": "NV", "country": "US"}
    assert (opened["data"]["drift"]["kind"], opened["data"]["details"]) == ("shop_behind", {"shop_said": "FULFILLED"})
    assert opened["data"]["why"] == (
        f"The carrier says more than the shop does: the shop says that order #1001 is shipped, and usps that parcel {USPS} is "
        "delivered, since 2026-11-02 08:00 UTC."
    )
    lab.shop.set("#1001", cancelledAt="2026-11-02T08:00:00Z")
    lab.later(1)
    (closed,) = erp.told("order.drift_closed")
    assert closed["data"]["why"].startswith("They agree again: order #1001 was shipped by the shop while usps said")
    assert closed["data"]["drift"]["kind"] == "shop_behind" and closed["data"]["drift"]["closed_at"]


def test_a_first_sync_is_no_news_and_what_happens_after_it_is(one_lab, erp: Receiver, tmp_path: Path) -> None:
    lab = one_lab(yaml=telling(endpoint(erp, tmp_path)), store="mode: observe, policy: {preset: marketplace-guide}")
    for i, number in enumerate((USPS, UPS)):
        lab.order(f"#{i}", number, company="USPS" if number == USPS else "UPS")
    lab.scan(lab.easypost, USPS, "delivered", "arrived", hours=1)
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.clock.move_to(START + 30 * H)  # only now it is connected
    lab.work()
    lab.later(2)
    assert [row.kind for row in lab.rows(t.drifts)] == ["shop_behind"] and lab.parcel(UPS).status == "picked_up"
    assert [one["type"] for one in erp.told_all() if "order" in one["data"] or "orders" in one["data"]] == []
    lab.shop.set("#0", cancelledAt=lab.clock().isoformat())  # what nobody was told of ends, and nobody is told of that
    lab.scan(lab.ups, UPS, "D", "011")
    lab.later(7)
    lab.later(2)
    assert [row.number for row in lab.rows(t.drifts)] == [UPS]
    told = [(one["type"], one["data"].get("status")) for one in erp.told_all() if not one["type"].startswith("finding")]
    assert told == [("shipment.status_changed", "delivered"), ("order.drift_opened", None)]


def test_what_was_forged_altered_or_is_old_is_refused_by_those_who_check_and_both_secrets_sign_while_one_is_replaced(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    lab = shipped(one_lab, yaml=telling(endpoint(erp, tmp_path, secrets=(NEW, OLD))))
    moved(lab, "in_transit")
    lab.work("tell")
    post = erp.taken[0]

    for secret in (NEW, OLD):
        standardwebhooks.Webhook(secret).verify(post.body, post.headers)
    assert len(post.headers["webhook-signature"].split()) == 2
    stranger = standardwebhooks.Webhook("whsec_" + base64.b64encode(b"x" * 32).decode())
    late = {**post.headers, "webhook-timestamp": str(int(post.headers["webhook-timestamp"]) - 3600)}
    for check, body, headers in (
        (stranger, post.body, post.headers),
        (standardwebhooks.Webhook(NEW), post.body.replace(b"transit", b"trans1t"), post.headers),
        (standardwebhooks.Webhook(NEW), post.body, late),
        (standardwebhooks.Webhook(NEW), post.body, {**post.headers, "webhook-id": "msg_other"}),
    ):
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            check.verify(body, headers)


def test_what_is_not_taken_is_tried_again_for_days_in_its_order_and_then_listed_as_dead(
    make_lab, erp: Receiver, tmp_path: Path
) -> None:
    answers = {"code": 500, "headers": {}}
    erp.judge = lambda post: (answers["code"], answers["headers"], b"<html>secret of theirs</html>")
    lab = shipped(make_lab, yaml=telling(endpoint(erp, tmp_path, ", events: [shipment.status_changed]")))
    moved(lab, "in_transit", "delivered")
    lab.work("tell")
    assert waits(lab) == [("pending", 1), ("pending", 0)]  # the second of the parcel waits for the first
    assert (standing(lab).failures, standing(lab).failing_why) == (1, "HTTP 500")
    lab.work("tell")
    assert len(erp.posts) == 1  # it rests
    answers |= {"code": 429, "headers": {"Retry-After": "7200"}}
    due_now(lab)
    lab.work("tell")
    with lab.ctx.store.read() as connection:
        now = database_now(connection)
    assert standing(lab).blocked_until > now + timedelta(minutes=119)  # what it asks for is heard
    assert lab.rows(t.messages)[0].due_at > now + timedelta(minutes=119)
    answers |= {"code": 302, "headers": {"Location": "https://elsewhere.example/"}}
    lab.change(t.destinations.update().values(failing_since=now - timedelta(hours=1)))
    for _ in range(8):
        due_now(lab)
        lab.work("tell")
    assert waits(lab) == [("dead", 10), ("pending", 0)]
    assert lab.rows(t.messages)[0].error == "127.0.0.1 answers with a redirect (HTTP 302); redirects are not followed"
    (finding,) = lab.rows(t.findings, t.findings.c.kind == "endpoint_away")
    assert (finding.subject, finding.evidence["endpoint"]) == ("told/erp", "erp")
    (row,) = told.list_destinations(lab.ctx)
    assert (row["state"], row["dead"], row["waiting"]) == ("failing", 1, 1)

    erp.judge = lambda _post: None  # it is back
    due_now(lab)
    lab.work("tell")
    assert waits(lab) == [("dead", 10), ("sent", 1)]
    assert lab.one(t.findings, t.findings.c.id == finding.id).closed_reason == "it takes what it is told"
    again = told.find_again(lab.ctx)
    assert (told.send_again(lab.ctx, again.ids), dict(again.counts)) == (1, {("erp", "shipment.status_changed"): 1})
    lab.work("tell")
    assert [one.told["data"]["status"] for one in erp.taken] == ["delivered", "in_transit"]
    assert {post.headers["webhook-id"] for post in erp.posts} == {
        row.key for row in lab.rows(t.messages)
    }  # the same at each try


def test_an_endpoint_that_says_it_is_gone_is_left_alone_until_a_person_says_so(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    erp.judge = lambda _post: (410, {}, b"")
    lab = shipped(one_lab, yaml=telling(endpoint(erp, tmp_path, ", events: [shipment.status_changed]")))
    moved(lab, "in_transit")
    lab.work("tell")
    due_now(lab)
    moved(lab, "delivered")
    lab.work("tell")

    assert len(erp.posts) == 1 and standing(lab).disabled_at is not None
    assert lab.one(t.findings, t.findings.c.kind == "endpoint_away").proposal.endswith("`tracker hooks enable erp`")
    (row,) = told.list_destinations(lab.ctx)
    assert (row["state"], row["next_at"]) == ("gone", None)
    erp.judge = lambda _post: None
    lab.change(t.messages.update().values(due_at=START + 9_000 * H))  # it failed so often that its next try is far away
    assert told.enable(lab.ctx, "erp") and not told.enable(lab.ctx, "erp")
    lab.work("tell")
    assert [one["data"]["status"] for one in erp.told()] == ["in_transit", "delivered"]
    assert "endpoint_away" not in lab.open_findings()
    lab.change(t.messages.update().values(state="pending", due_at=START + 9_000 * H))
    assert told.list_destinations(lab.ctx)[0]["next_at"] == START + 9_000 * H  # it is fine, and its messages wait
    assert told.enable(lab.ctx, "erp")


def test_one_that_is_slow_or_away_holds_up_no_other_and_nobody_waits_for_it(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    with receiver() as other:
        gone = replace_port(erp)
        both = telling(endpoint(gone, tmp_path, name="away"), endpoint(other, tmp_path, name="fine"))
        lab = shipped(one_lab, yaml=both)
        moved(lab, "in_transit")
        assert "tell" in maintenance.due_queues(lab.ctx)
        assert send.begin(lab.ctx) == 4  # what happened to the parcel and to the order, to both
        wait_for(lambda: len(lab.rows(t.messages, M.state == "sent")) == 2 and standing(lab, "away").failures)
        assert {one["type"] for one in other.told()} == {"shipment.status_changed", "order.written"}
        assert {row.state for row in lab.rows(t.messages, M.destination == "away")} == {"pending"}
        assert "ConnectError" in standing(lab, "away").failing_why


def replace_port(erp: Receiver) -> Receiver:
    """Return where nobody listens."""
    return replace(erp, url="http://127.0.0.1:1/told")


def test_what_waits_for_an_endpoint_that_is_no_more_ends_and_a_new_address_begins_anew(
    one_lab, erp: Receiver, tmp_path: Path
) -> None:
    lab = shipped(one_lab, yaml=telling(endpoint(replace_port(erp), tmp_path)))
    moved(lab, "in_transit")
    lab.work("tell")
    assert standing(lab).failures == 1
    before = lab.ctx.config
    lab.ctx.config = load_text(lab.yaml.replace("127.0.0.1:1/told", erp.url.removeprefix("http://")))
    settle_accounts(lab.ctx, before)
    assert (standing(lab).failures, standing(lab).blocked_until) == (0, None)
    settle_accounts(lab.ctx, before)  # nothing differs any more
    lab.change(t.messages.update().values(due_at=START))
    lab.work("tell")
    assert len(erp.taken) == 2

    moved(lab, "delivered")
    lab.ctx.config = load_text(lab.yaml.split("telling:")[0])
    settle_accounts(lab.ctx)
    assert {(row.state, row.error) for row in lab.rows(t.messages)[2:]} == {("dead", "it is not configured any more")}
    assert lab.rows(t.destinations) == [] and send.run(lab.ctx) == 0
    assert told.find_again(lab.ctx).ids == []


def test_old_messages_are_dropped_and_what_waits_for_weeks_is_given_up(one_lab, erp: Receiver, tmp_path: Path) -> None:
    lab = shipped(one_lab, yaml=telling(endpoint(erp, tmp_path)))
    moved(lab, "in_transit")
    with lab.ctx.store.read() as connection:
        now = database_now(connection)
    first, second = (row.id for row in lab.rows(t.messages))
    lab.change(t.messages.update().where(M.id == first).values(created_at=now - timedelta(days=15)))
    lab.change(t.messages.update().where(M.id == second).values(state="sent", ended_at=now - timedelta(days=31)))
    maintenance.prune(lab.ctx)

    assert [(row.id, row.state, row.error) for row in lab.rows(t.messages)] == [(first, "dead", "nobody took it")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("url: 'http://hooks.example/x', secrets: ['${file:S}']", "telling.endpoints.erp.url: must be https, unless network.allow names the host"),
        ("url: 'https://u:p@hooks.example/x', secrets: ['${file:S}']", "must hold no user"),
        ("url: 'ftp://hooks.example', secrets: ['${file:S}']", "must be a URL"),
        ("url: 'https://hooks.example:99999', secrets: ['${file:S}']", "must be a URL"),
        ("url: 'https://hooks.example', secrets: ['whsec_abc']", "a secret must not stand in the file"),
        ("url: 'https://hooks.example', secrets: ['${file:BAD}']", "must be whsec_ and 24 to 64 random bytes in base64"),
        ("url: 'https://hooks.example', secrets: []", "at least 1 item"),
        ("url: 'https://hooks.example', secrets: ['${file:S}'], events: [order.lost]", "Input should be 'shipment.status_changed'"),
        ("url: 'https://hooks.example', secrets: ['${file:S}'], stores: [nobody]", "there is no store 'nobody'"),
    ],
)  # fmt: skip
def test_an_entry_that_could_not_be_told_is_refused_with_its_place(tmp_path: Path, entry: str, said: str) -> None:
    for name, value in (("S", NEW), ("BAD", "whsec_notbase64!")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(value)
        entry = entry.replace(f"file:{name}", f"file:{tmp_path}/{name}")
    with pytest.raises(ConfigError) as refused:
        load_text(f"telling: {{endpoints: {{erp: {{{entry}}}}}}}\n", "t.yaml")

    problems = refused.value.problems
    assert any(said in problem for problem in problems)
    assert all(problem.startswith("t.yaml:1:") and "notbase64" not in problem for problem in problems)


def test_an_address_inside_is_not_called_whatever_its_name_says(one_lab, erp: Receiver, tmp_path: Path) -> None:
    inside = replace(erp, url=erp.url.replace("http://127.0.0.1", "https://localhost"))
    mapped = replace(erp, url="https://[::ffff:169.254.169.254]/latest")
    lab = shipped(one_lab, yaml=telling(endpoint(inside, tmp_path), endpoint(mapped, tmp_path, name="meta")))
    moved(lab, "in_transit")
    lab.work("tell")

    assert erp.posts == []
    assert "not public: name it under network.allow" in standing(lab).failing_why
    assert "169.254.169.254, which is not public" in standing(lab, "meta").failing_why


def test_every_event_has_an_example_that_fits_its_schema() -> None:
    document = schema.document()

    assert [*document["webhooks"]] == [*EVENTS] == [*schema.SAID]
    for event, one in document["webhooks"].items():
        content = one["post"]["requestBody"]["content"]["application/json"]
        example = json.loads(events.encoded(content["example"]))
        jsonschema.validate(example, {**content["schema"], "components": document["components"]})
        assert example == json.loads(events.encoded(samples.event_of(event, schema._SAMPLED)))
        why = example["data"]["why"]
        assert why.endswith(".") and "_" not in why and "None" not in why and ("#1001" in why or "1Z999" in why)

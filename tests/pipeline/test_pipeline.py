"""Payload to scan to summary to decision to write, on SQLite and PostgreSQL."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.lab import DHL, START, UPS, USPS, H, detail, tracker_body
from tracker.domain.errors import BadPayload, WebhookRejected
from tracker.domain.facts import Meaning, Payload, Report, ShippingStatus, Since, Unread
from tracker.pipeline import decide, heal, ops, push, receive, replay
from tracker.pipeline.drain import STEPS, drain
from tracker.pipeline.ingest import step as ingest
from tracker.store import queries
from tracker.store import tables as t
from tracker.store.engine import database_now


def shipped(make_lab: Any, *numbers: str, company: str = "USPS", **more: Any) -> Any:
    lab = make_lab(**more)
    lab.work()
    lab.order("#1001", *(numbers or (USPS,)), company=company)
    lab.work()
    return lab


def wanting(make_lab: Any) -> Any:
    """Return a lab in which one write waits in the outbox."""
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.clock.move_to(START + 7 * H)
    lab.work("poll", "inbox", "reconcile")
    return lab


# the signed journey


def test_a_signed_webhook_alone_leads_to_scan_summary_decision_and_write(make_lab) -> None:
    lab = shipped(make_lab)
    lab.change(t.trackings.update().values(next_poll_at=None))
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post(lab.easypost.event(USPS))
    lab.work()

    assert lab.parcel(USPS).status == "in_transit"
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.outbox).state == "sent"
    assert lab.one(t.outbox).receipt["ref"].startswith("gid://shopify/FulfillmentEvent/")
    assert lab.rows(t.decisions)[0].because
    assert {row.state for row in lab.rows(t.inbox)} == {"done", "ignored"}


def test_what_we_wrote_is_read_back_and_changes_nothing_more(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(4)

    order = lab.one(t.orders)
    assert order.facts["fulfilments"][0]["published"]["raw"] == "IN_TRANSIT"
    lab.later(4)
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert lab.one(t.orders).version == order.version
    assert "trackwright" in {row.actor for row in lab.rows(t.order_versions)}


def test_a_scan_told_by_a_shared_secret_waits_for_the_poll_it_causes(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "D", "011")
    outgoing = lab.ups.alert(UPS, scan)
    lab.ups.history.clear()  # a forger who knows the secret: polls do not see it
    lab.post(outgoing)
    lab.work("inbox")

    assert lab.parcel(UPS).status == "unknown"
    assert lab.one(t.trackings).next_poll_at == lab.clock()
    lab.work()
    assert lab.writes() == []

    lab.ups.history[UPS].append(scan)
    lab.later(1)
    lab.later(6)
    assert lab.parcel(UPS).status == "delivered"
    assert lab.writes() == [("#1001", "DELIVERED")]


def test_an_unconfirmed_scan_moves_the_parcel_but_writes_nothing(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "I", "021")
    lab.ups.history.clear()
    lab.post(lab.ups.alert(UPS, scan))
    lab.work("inbox", "reconcile", "push")

    assert lab.parcel(UPS).status == "out_for_delivery"
    rule = f"waits_for_confirmation:{lab.shop.orders['#1001']['fulfillments'][0]['id']}"
    assert rule in lab.rows(t.decisions)[-1].because
    assert lab.writes() == []


# duplicates and order (F18, F19)


def test_F18_twenty_copies_and_fifty_at_once_make_one_row(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    outgoing = lab.easypost.event(USPS)
    before = len(lab.rows(t.inbox))
    lab.post(outgoing, times=20)
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: lab.post(outgoing), range(50)))

    assert len(lab.rows(t.inbox)) == before + 1
    lab.work()
    assert lab.parcel(USPS).summary["scans"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_F19_any_order_any_copies_and_any_batching_end_the_same(make_lab, seed: int) -> None:
    lab = make_lab()
    chance = random.Random(seed)
    steps = [
        detail("pre_transit", "2026-11-01T00:00:00Z"), detail("in_transit", "2026-11-01T09:00:00Z"),
        detail("in_transit", "2026-11-01T09:00:00Z", message="twin", status_detail="arrived_at_facility"),
        detail("out_for_delivery", "2026-11-03T09:00:00Z"), detail("delivered", "2026-11-03T15:00:00Z"),
        detail("in_transit", "2026-11-03T16:00:00Z"),
    ]  # fmt: skip
    bodies = [tracker_body(USPS, *steps[: i + 1], updated_at=f"2026-11-0{i + 1}T00:00:00Z") for i in range(len(steps))]
    bodies = [
        orjson.dumps({"id": f"evt_{i}", "object": "Event", "result": orjson.loads(b)}) for i, b in enumerate(bodies)
    ]
    chance.shuffle(bodies)
    for body in bodies + [chance.choice(bodies) for _ in range(4)]:
        lab.post_raw("easypost", body)
        if chance.random() < 0.5:
            lab.work()
    lab.work()

    parcel = lab.parcel(USPS)
    assert (parcel.status, parcel.summary["scans"]) == ("delivered", 6)
    assert len(lab.rows(t.scans)) == 6


def test_a_poll_and_a_webhook_of_one_scan_make_one_scan(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    scan = lab.scan(lab.ups, UPS, "I", "021")
    lab.post(lab.ups.alert(UPS, scan))
    lab.later(7)

    (row,) = lab.rows(t.scans)
    assert row.confirmed_at is not None


# bad input


BAD = [
    b"",
    b"null",
    b"[" * 100_000,
    b'{"a": 1e',
    b"\xff\xfe",
    b'{"id": "evt", "result": 7}',
    b'{"a": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("body", BAD)
def test_an_authentic_body_that_cannot_be_read_is_stored_visible_and_holds_back_nobody(make_lab, body: bytes) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.post_raw("easypost", body)
    lab.post(lab.easypost.event(USPS))
    lab.work()

    (dead,) = lab.rows(t.inbox, t.inbox.c.state == "dead")
    assert dead.reason.startswith("bad_payload: $")
    assert dead.body == body
    assert lab.parcel(USPS).status == "in_transit"


@pytest.mark.parametrize(
    "text", ["\u0000", "a\u0000b", "\r\n\x1b[31m", "'; DROP TABLE scans; --", "x" * 4096, "\u202e\u200f"]
)
def test_hostile_texts_are_kept_as_texts(make_lab, text: str) -> None:
    lab = make_lab()
    place = {"city": text, "state": text, "country": text[:2], "zip": text}
    step = detail("in_transit", "2026-11-01T00:00:00Z", message=text, status_detail=text[:60], tracking_location=place)
    lab.post_raw("easypost", tracker_body(USPS, step))
    lab.work()

    assert lab.parcel(USPS).status == "in_transit"
    assert {row.state for row in lab.rows(t.inbox)} == {"done", "ignored"}


@pytest.mark.parametrize("number", ["", " ", "１２３", "a b", "x" * 65, "\u202e1", "1\r\n2", None, [], 1.5])
def test_what_is_no_tracking_number_is_a_bad_payload(make_lab, number: Any) -> None:
    lab = make_lab()
    lab.post_raw("easypost", orjson.dumps({"tracking_code": number, "carrier": "USPS", "tracking_details": []}))
    lab.work("inbox")

    assert lab.one(t.inbox).state == "dead"
    assert lab.rows(t.shipments) == []


def test_a_mended_parser_reads_dead_payloads_again_without_writing_unless_asked(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    source = lab.world.config.accounts["easypost"].source
    monkeypatch.setattr(source, "normalize", lambda payload: (_ for _ in ()).throw(BadPayload("$.x", "odd")))
    lab.post(lab.easypost.event(USPS))
    lab.work("inbox")
    monkeypatch.undo()
    assert lab.rows(t.inbox)[-1].state == "dead"

    lab.clock.move_to(START + H)
    assert replay.replay(lab.world, state="dead") == 1
    lab.work("inbox", "reconcile", "push")
    assert lab.parcel(USPS).status == "in_transit"
    assert lab.writes() == []

    assert replay.replay(lab.world, state="done", account="easypost", write=True) >= 1
    assert replay.replay(lab.world, ids=[10**9]) == 0
    lab.work()
    assert lab.writes() == []  # it began before the replay: news since then is written again
    lab.later(1)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(5)
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]


# crashes, fences, claims


def test_a_payload_whose_facts_cannot_be_stored_is_tried_again_and_ends_dead(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    poison, fine = lab.easypost.event(USPS), lab.easypost.event(USPS)
    lab.post(poison)
    lab.post(fine)
    commit = ingest._commit

    def broken(world: Any, parsed: Any) -> None:
        if any(p.row.dedupe_key == orjson.loads(poison.body)["id"] for p in parsed):
            raise RuntimeError("poison")
        commit(world, parsed)

    monkeypatch.setattr(ingest, "_commit", broken)
    for _ in range(10):
        lab.work("inbox")
        lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(due_at=START, claimed_until=None))
    lab.work("inbox")

    row = lab.one(t.inbox, t.inbox.c.dedupe_key == orjson.loads(poison.body)["id"])
    assert row.state == "dead"
    assert row.reason.startswith("crashed too often (it said: RuntimeError at tracker/pipeline/ingest/step.py:")
    assert lab.parcel(USPS).status == "in_transit"


def test_a_row_that_crashed_is_claimed_alone(make_lab) -> None:
    lab = make_lab()
    for i in range(4):
        lab.post_raw("easypost", tracker_body(USPS, updated_at=f"2026-11-0{i + 1}T00:00:00Z"))
    ids = [row.id for row in lab.rows(t.inbox)]
    lab.change(t.inbox.update().where(t.inbox.c.id == ids[2]).values(crashes=1))

    def claim() -> list[int]:
        with lab.daemon.store.write() as connection:
            return [row.id for row in queries.claim(connection, t.inbox, 50)]

    assert [claim(), claim(), claim(), claim()] == [ids[:2], ids[2:3], ids[3:], []]


def test_a_claim_that_ended_is_fenced(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-01T00:00:00Z")))
    with lab.daemon.store.write() as connection:
        frozen = [ingest.parse(lab.world, row) for row in queries.claim(connection, t.inbox, 50)]
    lab.change(t.inbox.update().values(claimed_until=START))  # the lease is over: another worker takes it
    lab.work("inbox")
    done = lab.one(t.inbox)
    ingest._commit(lab.world, frozen)  # the frozen worker wakes up

    assert lab.one(t.inbox) == done
    assert len(lab.rows(t.scans)) == 1


def test_a_large_batch_is_cut_at_four_mebibytes(make_lab) -> None:
    lab = make_lab()
    for i in range(3):
        lab.post_raw("easypost", tracker_body(USPS, padding="x" * (2 << 20), updated_at=f"2026-11-0{i + 1}T00:00:00Z"))

    with lab.daemon.store.write() as connection:
        assert len(queries.claim(connection, t.inbox, 50)) == 1


def test_an_account_that_left_the_configuration_leaves_its_payloads_dead_and_told(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().values(account="gone"))
    lab.work("inbox")

    assert "no account 'gone'" in lab.one(t.inbox).reason


def test_a_body_past_its_retention_cannot_be_read_again(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().values(body=None))
    lab.work("inbox")

    assert "retention" in lab.one(t.inbox).reason


def test_a_drain_stops_between_batches_and_rings_again_when_work_is_left(make_lab, monkeypatch) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))

    assert drain(lab.world, "inbox", lambda: True) == 0
    assert drain(lab.world, "inbox", lambda: False) == 1
    monkeypatch.setitem(__import__("tracker.pipeline.drain", fromlist=["STEPS"]).STEPS, "inbox", lambda world: 1)
    lab.bells.rung.clear()
    assert drain(lab.world, "inbox", lambda: False) == 20
    assert lab.bells.rung == ["inbox"]


# numbers, generations, links


def test_a_parcel_without_an_order_is_kept_apart_and_never_polled(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-01T00:00:00Z")))
    lab.work()
    lab.later(48)

    parcel = lab.parcel(USPS)
    assert (parcel.status, parcel.linked) == ("in_transit", False)
    assert lab.easypost.calls["track"] == 0
    assert lab.writes() == []

    lab.later(24 * 50)
    assert heal.prune(lab.world)["unmatched"] == 1
    assert lab.rows(t.shipments) == []


def test_an_order_links_the_parcel_that_was_told_of_before(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-02T08:00:00Z")))
    lab.work()
    lab.order("#1001", USPS)
    lab.work()

    assert len(lab.rows(t.shipments)) == 1
    assert lab.writes() == [("#1001", "IN_TRANSIT")]


def test_a_used_up_number_opens_a_generation_for_a_later_order(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(6)
    lab.later(24 * 20)
    lab.order("#1002", USPS)
    lab.work()

    assert [(row.generation, row.status) for row in lab.rows(t.shipments)] == [(1, "delivered"), (2, "unknown")]
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=1)
    lab.later(8)
    assert [row.status for row in lab.rows(t.shipments)] == ["delivered", "in_transit"]
    assert lab.writes() == [("#1001", "DELIVERED"), ("#1002", "IN_TRANSIT")]


def test_a_parcel_taken_long_after_the_end_is_another_journey(make_lab) -> None:
    lab = make_lab()
    lab.post_raw(
        "easypost", tracker_body(USPS, detail("delivered", "2026-09-01T00:00:00Z"), updated_at="2026-09-01T00:00:00Z")
    )
    lab.work()
    late = detail("in_transit", "2026-11-01T00:00:00Z")
    lab.post_raw(
        "easypost", tracker_body(USPS, detail("delivered", "2026-09-01T00:00:00Z"), late, late | {"message": "again"})
    )
    lab.work()

    assert [(row.generation, row.status) for row in lab.rows(t.shipments)] == [(1, "delivered"), (2, "in_transit")]


def test_an_unidentified_number_takes_the_carrier_of_its_first_scan(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    assert lab.parcel("ABCD1234").carrier.startswith("unidentified:shop/")
    assert lab.one(t.trackings).account == "easypost"  # only an aggregator can look it up

    lab.post_raw(
        "easypost", tracker_body("ABCD1234", detail("in_transit", "2026-11-02T08:00:00Z"), carrier="LaserShip")
    )
    lab.work()

    assert lab.parcel("ABCD1234").carrier == "lasership"
    assert lab.writes() == [("#1001", "IN_TRANSIT")]


def test_an_aggregator_that_names_no_carrier_loses_no_scan(make_lab) -> None:
    lab = shipped(make_lab)
    step = detail("in_transit", "2026-11-02T08:00:00Z")
    lab.post_raw("easypost", tracker_body(USPS, step, carrier=None))
    lab.post_raw("easypost", tracker_body("NEVERSEEN1", step, carrier=None))
    lab.work()

    assert (lab.parcel(USPS).carrier, lab.parcel(USPS).status) == ("usps", "in_transit")
    assert (lab.parcel("NEVERSEEN1").carrier, lab.parcel("NEVERSEEN1").status) == ("unknown", "in_transit")


def test_what_was_told_while_a_poll_was_under_way_is_not_withdrawn_by_it(make_lab) -> None:
    lab = make_lab()
    one, two = detail("in_transit", "2026-11-01T00:00:00Z"), detail("out_for_delivery", "2026-11-02T00:00:00Z")
    lab.clock.move_to(START + H)
    lab.post_raw("easypost", tracker_body(USPS, one, two))
    lab.work()
    with lab.daemon.store.write() as connection:  # the answer to a question that was put before
        row = queries.payload_row("easypost", "poll", [tracker_body(USPS, one)], START, START)
        queries.store_payloads(connection, [row])
    lab.work()

    assert lab.parcel(USPS).status == "out_for_delivery"


def test_two_orders_with_one_unidentified_number_are_a_question_for_a_person(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    lab.order("#1002", "ABCD1234", company="Some Courier")
    lab.work()
    lab.post_raw(
        "easypost", tracker_body("ABCD1234", detail("in_transit", "2026-11-02T08:00:00Z"), carrier="LaserShip")
    )
    lab.work()

    assert "sources_disagree" in lab.open_findings()
    assert lab.writes() == []


def test_a_changed_number_leaves_the_old_parcel_behind(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.retrack("#1001", [{"company": "UPS", "number": UPS}])
    lab.work()

    assert {row.account for row in lab.rows(t.trackings)} == {"easypost", "ups"}
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.scan(lab.ups, UPS, "I", "021")
    lab.later(7)
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]


def test_a_scan_that_a_full_history_no_longer_tells_stops_counting_until_it_is_told_again(make_lab) -> None:
    lab = shipped(make_lab)
    first = lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    wrong = lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination", hours=1)
    lab.later(7)
    assert lab.parcel(USPS).status == "delivered"

    lab.easypost.history[USPS] = [first]
    lab.later(13)
    looked = lab.clock()
    assert lab.parcel(USPS).status == "delivered"  # one look is not enough; the next is due in an hour
    assert [row.missing_since for row in lab.rows(t.scans)] == [None, looked]
    assert lab.one(t.trackings).next_poll_at == looked + H
    lab.later(1)
    assert lab.parcel(USPS).status == "in_transit"
    assert [row.withdrawn_at for row in lab.rows(t.scans)] == [None, looked + H]
    assert lab.parcel(USPS).closed_at is None
    lab.summaries_are_whole()

    lab.easypost.history[USPS] = [first, wrong]
    lab.later(5)
    assert lab.parcel(USPS).status == "delivered"
    assert [(row.missing_since, row.withdrawn_at) for row in lab.rows(t.scans)] == [(None, None)] * 2
    lab.summaries_are_whole()


def told_once(make_lab) -> tuple[Any, list[dict[str, Any]]]:
    """Have a parcel delivered, and look again 13 hours later: UPS does not tell of it any more."""
    lab = shipped(make_lab, UPS, company="UPS")
    history = [lab.scan(lab.ups, UPS, "I", "038"), lab.scan(lab.ups, UPS, "D", "011", hours=1)]
    lab.later(7)
    assert lab.parcel(UPS).status == "delivered"
    lab.ups.history[UPS] = history[:1]
    lab.later(13)
    assert {row.code for row in lab.rows(t.scans) if row.missing_since} == {"011"}
    return lab, history


def test_a_delivery_that_two_looks_do_not_hold_is_a_finding_until_a_person_says_that_he_knows(make_lab) -> None:
    lab, history = told_once(make_lab)
    looked = lab.clock()
    lab.later(1)

    (row,) = lab.rows(t.findings, t.findings.c.kind == "correction_after_delivered")
    assert (row.evidence["told"], row.evidence["told_at"], row.evidence["gone_since"]) == (
        "delivered", f"{START + H:%Y-%m-%d %H:%M}Z", f"{looked:%Y-%m-%d %H:%M}Z",
    )  # fmt: skip
    lab.ups.history[UPS] = list(history)
    lab.later(5)
    assert lab.parcel(UPS).status == "delivered"
    assert lab.parcel(UPS).summary["taken_back"] is None
    assert "correction_after_delivered" in lab.open_findings()  # no decision closes it

    ops.close(lab.world, [row.id], by="ada", reason="the customer has it")
    lab.change(t.orders.update().values(reconcile_at=lab.clock()))
    lab.work()
    assert "correction_after_delivered" not in lab.open_findings()
    lab.ups.history[UPS] = history[:1]  # gone once more: new evidence
    lab.later(36)
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"
    assert "correction_after_delivered" in lab.open_findings()


def test_a_delivery_that_the_next_look_holds_again_was_never_away(make_lab) -> None:
    lab, history = told_once(make_lab)
    lab.ups.history[UPS] = history
    lab.later(1)
    assert [row.missing_since for row in lab.rows(t.scans)] == [None, None]

    lab.ups.history[UPS] = history[:1]
    lab.later(24)
    assert lab.parcel(UPS).status == "delivered"  # it counts from the beginning
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"


@pytest.mark.parametrize("answer", ["empty", "not found", "cut", "failed", "partly read"])
def test_an_answer_that_is_no_full_history_withdraws_nothing(
    make_lab, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    lab, _ = told_once(make_lab)
    source = lab.world.config.accounts["ups"].source
    whole = source.normalize
    if answer == "empty":
        monkeypatch.setattr(source, "normalize", lambda payload: [Report("ups", UPS, (), complete=True)])
    elif answer == "not found":
        lab.ups.history[UPS] = []
    elif answer == "cut":
        lab.ups.history[UPS] = []
        lab.scan(lab.ups, UPS, "I", "021", hours=-9)
    elif answer == "failed":
        lab.ups.faults.left["error"] = 99
    else:
        unread = Unread("$.activity[0]", "has no time", UPS)
        monkeypatch.setattr(source, "normalize", lambda payload: [*whole(payload), unread])
    for _ in range(3):
        lab.rested()
        lab.later(1)

    assert lab.parcel(UPS).status == "delivered"
    assert lab.rows(t.scans, t.scans.c.withdrawn_at.isnot(None)) == []


def test_a_replayed_answer_of_before_brings_nothing_back(make_lab) -> None:
    lab, _ = told_once(make_lab)
    lab.later(1)
    assert lab.parcel(UPS).status == "picked_up"

    assert replay.replay(lab.world, account="ups", write=True) > 2
    lab.work("inbox", "reconcile")
    assert lab.parcel(UPS).status == "picked_up"
    lab.summaries_are_whole()


def test_a_delivery_that_another_account_still_tells_is_not_withdrawn(make_lab) -> None:
    lab, _ = told_once(make_lab)
    printed = detail("delivered", "2026-11-02T09:00:00Z")
    body = tracker_body(UPS, printed, carrier="UPS", updated_at="2026-11-02T09:00:00Z")
    lab.post_raw("easypost", body)
    lab.work()
    lab.later(1)
    lab.later(1)

    assert lab.parcel(UPS).status == "delivered"
    assert "correction_after_delivered" not in lab.open_findings()


def test_an_older_snapshot_withdraws_nothing(make_lab) -> None:
    lab = make_lab()
    one, two = detail("in_transit", "2026-11-01T00:00:00Z"), detail("out_for_delivery", "2026-11-02T00:00:00Z")
    lab.post_raw("easypost", tracker_body(USPS, one, two, updated_at="2026-11-02T00:00:00Z"))
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS, one, updated_at="2026-11-01T00:00:00Z"))
    lab.work()

    assert lab.parcel(USPS).status == "out_for_delivery"


def test_an_unknown_code_is_counted_shown_and_moves_nothing_until_it_has_a_meaning(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.scan(lab.ups, UPS, "I", "038")
    lab.scan(lab.ups, UPS, "I", "999", hours=1, text="Drone")
    lab.later(7)

    (code,) = ops.list_codes(lab.world)
    assert (code["carrier"], code["account"], code["code_key"], code["text"], code["count"]) == (
        "ups", "ups", "status/999", "Drone", 1,
    )  # fmt: skip
    assert lab.parcel(UPS).status == "picked_up"
    assert "unmapped_code" in lab.open_findings()

    account = lab.world.config.accounts["ups"]
    from dataclasses import replace as changed

    meaning = Meaning(ShippingStatus.OUT_FOR_DELIVERY)
    lab.world.config = changed(
        lab.world.config,
        accounts={**lab.world.config.accounts, "ups": changed(account, codes={("status", "999"): meaning})},
    )
    assert replay.remap(lab.world, "ups", code=("status", "999")) == 1
    lab.work("inbox", "reconcile", "push")
    assert lab.parcel(UPS).status == "out_for_delivery"
    assert lab.writes() == [("#1001", "CARRIER_PICKED_UP")]  # without --write nothing is written
    assert "unmapped_code" not in lab.open_findings()
    assert replay.remap(lab.world, "ups", write=True) == 1
    lab.work()


def test_a_remap_beside_news_of_the_same_parcel_sees_one_parcel(make_lab) -> None:
    lab = shipped(make_lab, "ABCD1234", company="Some Courier")
    first = detail("in_transit", "2026-11-02T08:00:00Z")
    lab.post_raw("easypost", tracker_body("ABCD1234", first, carrier=None))
    lab.work()
    assert lab.parcel("ABCD1234").carrier.startswith("unidentified:")

    assert replay.remap(lab.world, "easypost", write=True) == 1
    lab.post_raw("easypost", tracker_body("ABCD1234", first, carrier="LaserShip"))
    lab.work()

    assert lab.parcel("ABCD1234").carrier == "lasership"
    assert len(lab.rows(t.shipments)) == 1
    assert "sources_disagree" not in lab.open_findings()


# writes


def test_a_new_store_observes_and_writes_nothing(make_lab) -> None:
    lab = shipped(make_lab, store="mode: observe")
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(7)

    assert lab.writes() == []
    assert [row.state for row in lab.rows(t.outbox)] == ["observed", "observed"]


def test_what_happened_before_the_store_was_connected_is_a_digest_and_no_write(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", USPS)
    lab.scan(lab.easypost, USPS, "delivery_attempted", "delivery_exception", hours=-20)
    lab.clock.move_to(START + H)
    lab.work()
    lab.later(7)

    assert lab.writes() == []
    finding = lab.one(t.findings)
    assert (finding.kind, finding.digest) == ("attempt_failed", True)
    assert heal.backfill(lab.world, "shop") == 1
    lab.work()
    assert lab.writes() == [("#1001", "ATTEMPTED_DELIVERY")]


def test_a_pause_stops_writes_and_what_was_overtaken_meanwhile_is_never_sent(make_lab) -> None:
    lab = shipped(make_lab)
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=START))
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(7)
    assert lab.writes() == []

    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=None))
    lab.work()
    assert lab.writes() == [("#1001", "OUT_FOR_DELIVERY")]
    assert [row.state for row in lab.rows(t.outbox)] == ["superseded", "sent"]


def waiting(lab: Any, store: str, count: int) -> None:
    """Let so many orders of a store have a write each that is due."""
    with lab.daemon.store.write() as connection:
        due = database_now(connection) - H
        refs = [f"{store}-{i}" for i in range(count)]
        order = {
            "store": store, "status": "shipped", "raw_status": "", "payment": "paid", "raw_payment": "", "owner": "shop",
            "placed_at": START, "facts": {}, "version": 1, "read_at": START,
        }  # fmt: skip
        queries.put(connection, t.orders, [order | {"ref": ref, "number": ref} for ref in refs])
        write = {
            "kind": "order_status", "store": store, "action": {}, "state": "pending", "attempts": 0, "crashes": 0,
            "due_at": due, "rules": [], "created_at": START,
        }  # fmt: skip
        ids = connection.execute(sa.select(t.orders.c.id, t.orders.c.ref).where(t.orders.c.ref.in_(refs))).all()
        queries.put(connection, t.outbox, [write | {"key": row.ref, "order_id": row.id} for row in ids])


def test_stores_write_in_turn_so_a_long_backlog_of_one_holds_back_no_other(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    waiting(lab, "shop", 35)
    waiting(lab, "kart", 1)
    turns = [[row.store for row in push._claim(lab.world)] for _ in range(6)]

    assert sorted(turns[:2], key=len) == [["kart"], ["shop"] * 10]
    assert turns[2:] == [["shop"] * 10, ["shop"] * 10, ["shop"] * 5, []]


@pytest.mark.parametrize(
    "held", [{"paused_at": START}, {"parked_reason": "wrong key"}, {"blocked_until": datetime(2100, 1, 1, tzinfo=UTC)}]
)
def test_writes_of_a_store_that_is_held_back_take_nobodys_turn_and_ring_no_bell(make_lab, held: dict[str, Any]) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    shop = t.accounts.update().where(t.accounts.c.name == "shop")
    waiting(lab, "shop", 1)
    assert "push" in heal.due_queues(lab.world)
    lab.change(shop.values(**held))
    assert "push" not in heal.due_queues(lab.world)
    assert push._claim(lab.world) == []

    waiting(lab, "kart", 1)
    assert [row.store for row in push._claim(lab.world)] == ["kart"]
    assert "push" not in heal.due_queues(lab.world)  # kart's is held by who claimed it
    lab.change(shop.values(**dict.fromkeys(held)))
    assert [row.store for row in push._claim(lab.world)] == ["shop"]


def test_what_a_paused_store_would_write_is_not_looked_at_to_find_what_another_writes(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    waiting(lab, "shop", 3000)
    waiting(lab, "kart", 1)
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(paused_at=START))
    said: list[tuple[str, Any]] = []
    with lab.daemon.store.write() as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda _c, _cursor, text, given, *_: said.append((text, given))
        )
        assert connection.execute(
            queries.in_turn(), {"now": database_now(connection), "business": START}
        ).scalars().all() == ["kart"]
        assert len(queries.claim(connection, t.outbox, 10, t.outbox.c.store == "kart")) == 1
        if not lab.daemon.store.sqlite:
            fetched = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'outbox'"
            assert connection.execute(sa.text(fetched)).scalar_one() < 20
            return
        walks = [(text, given) for text, given in said if text.startswith("SELECT") and "outbox" in text]
        assert len(walks) == 2
        for text, given in walks:
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all()
            assert any("outbox_turn (store=? AND due_at<?)" in step[-1] for step in steps), steps


def test_a_pause_between_claim_and_call_is_kept(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    monkeypatch.setattr(push, "_stopped", lambda world, store: True)
    assert push.run(lab.world) == 1

    assert lab.writes() == []
    assert (lab.one(t.outbox).state, lab.one(t.outbox).crashes) == ("pending", 0)


def test_the_hourly_budget_of_writes_holds_and_says_so(make_lab) -> None:
    lab = shipped(make_lab, USPS, store="mode: write, writes_per_hour: 1")
    lab.order("#1002", "9400111206206406261005")
    lab.work()
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(7)

    assert len(lab.writes()) == 1
    assert "writes_held" in lab.open_findings()
    lab.change(t.accounts.update().values(writes_reset_at=START))
    lab.work()
    assert len(lab.writes()) == 2
    assert "writes_held" not in lab.open_findings()


def test_writes_that_were_handed_back_take_nothing_from_the_hours_budget(make_lab) -> None:
    """A storm of a minute used up the 1,000 writes of an hour with 407 of them: the shop throttled the others."""
    numbers = [USPS, "9400111206206406261005", "9400111206206406261012"]
    lab = shipped(make_lab, USPS, store="mode: write, writes_per_hour: 3")
    for i, number in enumerate(numbers[1:], 2):
        lab.order(f"#100{i}", number)
    lab.work()
    for number in numbers:
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.clock.move_to(START + 7 * H)
    lab.work("poll", "inbox", "reconcile")
    for _ in range(2):
        lab.shop.faults.left["graphql_throttle"] = 1  # the first is told to wait, the others are handed back
        lab.work("push")
        assert lab.writes() == []
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
        lab.rested()
    lab.work("push")

    assert len(lab.writes()) == 3
    assert lab.one(t.accounts, t.accounts.c.name == "shop").writes_left == 0


def test_a_budget_that_another_worker_used_up_between_claim_and_call_holds(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    still_fits = push._still_fits

    def meanwhile(*arguments: Any) -> bool:
        lab.change(t.accounts.update().values(writes_left=0))
        return still_fits(*arguments)

    monkeypatch.setattr(push, "_still_fits", meanwhile)
    lab.work("push")

    assert lab.writes() == []
    assert (lab.one(t.outbox).state, lab.one(t.outbox).error) == ("pending", "write budget")


def test_a_write_the_shop_refuses_is_final_and_told(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.faults.left["refuse_write"] = 1
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.later(7)

    assert lab.writes() == []
    assert lab.one(t.outbox).state == "refused"
    assert "write_refused" in lab.open_findings()


def test_a_write_that_was_applied_although_the_answer_was_lost_is_not_doubled(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.faults.left["apply_then_fail"] = 1
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
    lab.rested()
    lab.work()

    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    row = lab.one(t.outbox)
    assert row.state in ("sent", "superseded")


def test_an_action_that_no_longer_fits_is_dropped_after_the_re_read(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.orders["#1001"]["cancelledAt"] = "2026-11-02T14:00:00Z"  # and no hook told us
    lab.work("push")

    assert lab.writes() == []
    assert lab.one(t.outbox).state == "superseded"
    lab.work()
    assert "cancelled_but_moving" in lab.open_findings()


def test_a_write_whose_claim_ended_meanwhile_is_left_to_whoever_has_it(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    claim = push._claim

    def slow(world: Any) -> Any:
        rows = claim(world)
        lab.change(t.outbox.update().values(attempts=t.outbox.c.attempts + 1))  # another worker claimed it
        return rows

    monkeypatch.setattr(push, "_claim", slow)
    assert push.run(lab.world) == 1
    assert lab.writes() == []


def test_a_write_to_an_order_that_is_not_there_is_no_refusal_and_has_it_looked_for_once_more(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.orders.clear()
    lab.work("push")

    assert lab.one(t.outbox).state == "superseded"
    assert lab.one(t.rereads).missed_at == lab.clock()
    assert "write_refused" not in lab.open_findings()


def test_a_bug_while_pushing_keeps_its_crashes_and_ends_dead(make_lab, monkeypatch) -> None:
    lab = wanting(make_lab)
    monkeypatch.setattr(push, "_push", lambda *_: (_ for _ in ()).throw(RuntimeError("bug")))
    for _ in range(8):
        push.run(lab.world)
        lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START, claimed_until=None))

    assert lab.one(t.outbox).state == "dead"


def test_a_wrong_key_parks_the_store_tells_a_person_and_new_credentials_wake_it(make_lab) -> None:
    lab = shipped(make_lab)
    lab.shop.key = "another"
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.one(t.accounts, t.accounts.c.name == "shop").parked_reason
    assert "account_parked" in lab.open_findings()
    assert any("shop is parked" in why for why in lab.daemon.not_ready())
    assert lab.parcel(USPS).status == "in_transit"  # carriers go on

    lab.shop.key = "s"
    lab.change(t.accounts.update().where(t.accounts.c.name == "shop").values(credentials="older"))
    heal.settle_accounts(lab.world)
    lab.change(t.outbox.update().where(t.outbox.c.state == "pending").values(due_at=START))
    lab.work()
    assert lab.writes() == [("#1001", "IN_TRANSIT")]
    assert "account_parked" not in lab.open_findings()


def test_a_throttled_shop_rests_until_it_said(make_lab) -> None:
    lab = wanting(make_lab)
    lab.shop.faults.left["graphql_throttle"] = 1
    push.run(lab.world)

    state = lab.one(t.accounts, t.accounts.c.name == "shop")
    with lab.daemon.store.read() as connection:
        assert state.blocked_until > database_now(connection)
    assert push.run(lab.world) == 0
    assert lab.one(t.outbox).crashes == 0


# polls, registration, sweeps


def test_a_number_nobody_knows_yet_is_asked_again_and_never_an_exception(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")

    row = lab.one(t.trackings)
    assert row.tracking_state == "not_found"
    assert row.next_poll_at > lab.clock()
    assert row.failures == 0


def test_an_answer_that_says_nothing_new_stores_nothing_but_counts_as_checked(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.later(4)
    polls = len(lab.rows(t.inbox, t.inbox.c.kind == "poll"))
    lab.later(5)

    row = lab.one(t.trackings)
    assert len(lab.rows(t.inbox, t.inbox.c.kind == "poll")) == polls
    assert row.checked_at == lab.clock()


def test_a_failing_carrier_backs_off_and_comes_back(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.dhl.faults.left["error"] = 3  # all tries within one request
    lab.later(4)
    assert lab.one(t.trackings).failures == 1
    lab.rested()
    lab.later(1)

    assert lab.one(t.trackings).failures == 0
    assert lab.parcel(DHL).status == "picked_up"


def test_garbage_from_a_carrier_is_stored_as_dead_and_asked_again(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    lab.scan(lab.dhl, DHL, "transit", "AE")
    lab.dhl.faults.left["garbage"] = 1
    lab.later(4)
    assert [row.state for row in lab.rows(t.inbox, t.inbox.c.kind == "poll")] == ["dead"]
    lab.later(4)

    assert lab.parcel(DHL).status == "picked_up"


def test_a_budget_is_never_overdrawn(make_lab) -> None:
    lab = make_lab()
    from dataclasses import replace as changed

    from tracker.config.model import Budget

    account = changed(lab.world.config.accounts["dhl"], budget=Budget(calls=3, per=timedelta(days=1)))
    lab.world.config = changed(lab.world.config, accounts={**lab.world.config.accounts, "dhl": account})
    lab.work()
    lab.order("#1001", *(f"0034043416109404255{i}" for i in range(6)), company="DHL")
    lab.work()
    for i in range(6):
        lab.scan(lab.dhl, f"0034043416109404255{i}", "transit", "AE")
    lab.later(3.5)
    assert lab.dhl.calls["track"] <= 3
    lab.later(24)

    assert 3 <= lab.dhl.calls["track"] <= 6


def test_a_subscription_is_renewed_before_it_ends(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    first = lab.one(t.trackings)
    assert first.register_at == first.registered_until - timedelta(days=1)
    lab.clock.move_to(first.register_at)
    lab.work("poll")

    assert lab.one(t.trackings).registered_at == lab.clock()


def test_a_number_that_a_carrier_will_not_watch_is_a_finding_and_is_polled(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.ups.faults.left["refuse_number"] = 1
    lab.order("#1001", UPS, company="UPS")
    lab.work()

    row = lab.one(t.trackings)
    assert row.rejected_reason
    assert row.register_at is None
    assert row.next_poll_at is not None
    assert "registration_refused" in lab.open_findings()


def test_a_failed_registration_is_tried_again(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.ups.faults.left["error"] = 9
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    assert lab.one(t.trackings).registered_at is None
    lab.ups.faults.left["error"] = 0
    lab.rested()
    lab.later(1)

    assert lab.one(t.trackings).registered_at is not None


def test_the_push_handshake_of_dhl_is_answered(make_lab) -> None:
    lab = shipped(make_lab, DHL, company="DHL")
    (ref,) = lab.dhl.subscriptions
    lab.post(lab.dhl.validation(ref))
    lab.work()

    assert lab.dhl.subscriptions[ref]["active"]
    lab.scan(lab.dhl, DHL, "transit", "AE")
    pushed = lab.dhl.push(DHL)
    assert pushed is not None
    lab.post(pushed)
    lab.work()
    assert lab.parcel(DHL).status == "picked_up"


def test_without_webhooks_a_sweep_finds_what_changed(make_lab) -> None:
    lab = make_lab()
    lab.work()
    for i in range(23):
        lab.order(f"#{i}", USPS if i == 7 else f"X{i}")
    lab.shop.outgoing.clear()
    lab.later(1)

    assert len(lab.rows(t.orders)) == 23
    assert lab.one(t.accounts, t.accounts.c.name == "shop").synced_at is not None


@pytest.mark.parametrize("store", ["shop", "kart"])
def test_orders_that_change_while_a_sweep_reads_hide_no_other(make_lab, store: str) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    shop, orders = (lab.shop, 35) if store == "shop" else (lab.rest, 250)  # more than two pages of each
    for i in range(orders):
        if store == "shop":
            shop.place(f"#{i}", lab.clock(), "PAID")
        else:
            shop.place(f"#{i}", lab.clock(), status="new")
    account = lab.world.config.accounts[store]
    seen: set[str] = set()
    for page in account.source.fetch(lab.world.client(account), Since("2026-11-02T07:00:00+00:00|")):
        seen |= {item.number for item in account.source.normalize(Payload(store, "sweep", page.parts, lab.clock(), {}))}
        lab.clock.move_to(lab.clock() + timedelta(seconds=1))
        for i in range(3):
            shop.touch(f"#{i}", *(["orders/updated"] if store == "shop" else []))
        if len(seen) == orders:
            break  # those three come again and again

    assert seen == {f"#{i}" for i in range(orders)}


def test_a_sweep_that_fails_comes_back_where_it_was(make_lab) -> None:
    lab = make_lab()
    lab.shop.faults.left["error"] = 3
    lab.order("#1", USPS)
    lab.work()
    state = lab.one(t.accounts, t.accounts.c.name == "shop")
    assert state.synced_at is None
    assert state.next_sweep_at > lab.clock()
    lab.later(1)

    assert len(lab.rows(t.orders)) == 1


def test_a_read_asked_before_what_we_know_changes_nothing_and_is_asked_again(make_lab) -> None:
    lab = shipped(make_lab)
    order = lab.one(t.orders)
    stale = orjson.dumps(
        {"data": {"nodes": [{**lab.shop._node(lab.shop.orders["#1001"]), "displayFulfillmentStatus": "UNFULFILLED"}]}}
    )
    with lab.daemon.store.write() as connection:
        row = queries.payload_row(
            "shop", "read", [stale], lab.clock(), START, asked_at=order.read_at - timedelta(seconds=5)
        )
        queries.store_payloads(connection, [row])
    lab.work("inbox")

    assert lab.one(t.orders).status == "shipped"
    assert len(lab.rows(t.rereads)) == 1
    lab.work()
    assert lab.rows(t.rereads) == []


def test_two_parcels_that_arrive_at_once_cannot_both_miss_delivered(make_lab) -> None:
    lab = shipped(make_lab, USPS, "9400111206206406261005")
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "delivered", "arrived_at_destination")
        lab.post(lab.easypost.event(number))
    with ThreadPoolExecutor(4) as pool:
        for step in (ingest.run, decide.run, ingest.run, decide.run):
            list(pool.map(lambda _, step=step: step(lab.world), range(4)))
    lab.work()

    assert lab.writes() == [("#1001", "DELIVERED")]


def test_an_order_that_cannot_be_decided_gets_a_finding_and_holds_back_nobody(make_lab, monkeypatch) -> None:
    lab = shipped(make_lab)
    lab.order("#1002", "9400111206206406261005")
    lab.work()
    real = decide.reconcile

    def broken(order: Any, *args: Any, **more: Any) -> Any:
        if order.number == "#1001":
            raise RuntimeError("bug")
        return real(order, *args, **more)

    monkeypatch.setattr(decide, "reconcile", broken)
    for number in (USPS, "9400111206206406261005"):
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.writes() == [("#1002", "IN_TRANSIT")]
    assert "reconcile_failed" in lab.open_findings()


# silence and keeping house


def test_thirty_days_of_silence_expire_the_tracking_and_not_the_status(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "out_for_delivery", "out_for_delivery")
    lab.later(4)
    for _ in range(32):
        lab.later(24)

    assert lab.parcel(USPS).status == "out_for_delivery"
    assert lab.one(t.trackings).tracking_state == "expired"
    assert lab.one(t.trackings).next_poll_at is None
    expired = [row for row in lab.rows(t.findings) if row.kind == "tracking_expired"]
    assert len(expired) == 1
    calls = lab.easypost.calls["track"]
    lab.later(24 * 5)
    assert lab.easypost.calls["track"] == calls


def test_bodies_are_dropped_after_their_time_and_proof_is_kept_longer(make_lab) -> None:
    lab = shipped(make_lab)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)
    lab.scan(lab.easypost, USPS, "delivered", "arrived_at_destination")
    lab.later(7)
    lab.clock.move_to(lab.clock() + timedelta(days=31))
    heal.prune(lab.world)

    kept = [row for row in lab.rows(t.inbox) if row.body is not None]
    assert kept
    assert all(row.kind == "poll" for row in kept)
    lab.clock.move_to(lab.clock() + timedelta(days=181))
    heal.prune(lab.world)
    heal.prune(lab.world)
    assert lab.rows(t.inbox) == []
    assert len(lab.rows(t.scans)) == 2


def test_the_scheduler_knows_what_is_due(make_lab) -> None:
    lab = make_lab()
    assert heal.due_queues(lab.world) == {"poll"}
    lab.work()
    assert heal.due_queues(lab.world) == set()
    lab.order("#1001", USPS)
    lab.post(lab.shop.outgoing.pop())
    assert "inbox" in heal.due_queues(lab.world)
    lab.work("inbox")
    assert "poll" in heal.due_queues(lab.world)
    lab.work("poll", "inbox")
    assert "reconcile" in heal.due_queues(lab.world)


# the receiver's checks


@pytest.mark.parametrize("account", [None, "easypost", "ups"])
def test_who_does_not_prove_itself_is_rejected_and_nothing_is_stored(make_lab, account: str | None) -> None:
    lab = make_lab()
    known = lab.world.config.accounts[account] if account else None
    for token in ("", "wrong", "é"):
        with pytest.raises(WebhookRejected):
            receive.check(known, token, {}, b"{}", START)

    assert lab.rows(t.inbox) == []


def test_no_credential_or_signature_is_stored_with_a_payload(make_lab) -> None:
    lab = make_lab()
    lab.post(lab.shop.signed(b'{"id": 1}', "orders/updated"))

    headers = lab.one(t.inbox).headers
    assert "x-shopify-topic" in headers
    assert not {name for name in headers if "hmac" in name or "authorization" in name}


def test_every_index_that_a_claim_needs_is_there(make_lab) -> None:
    lab = make_lab()
    with lab.daemon.store.read() as connection:
        names = {
            i["name"]
            for table in ("inbox", "outbox", "orders", "trackings", "findings")
            for i in sa.inspect(connection).get_indexes(table)
        }

    assert {"inbox_due", "outbox_turn", "outbox_key", "orders_due", "trackings_poll", "findings_open"} <= names


def test_F23_a_carrier_that_is_down_takes_nobodys_turn(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", *[f"94001000000000000000{i:02}" for i in range(20)])
    lab.order("#1002", UPS, company="UPS")
    lab.work("inbox", "reconcile")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "005")
    lab.easypost.calls.clear()
    lab.easypost.faults.left["error"] = 10**6
    lab.later(12)

    assert lab.parcel(UPS).status == "in_transit"
    state = lab.one(t.accounts, t.accounts.c.name == "easypost")
    assert state.blocked_until is not None  # not asked again before it rested
    assert lab.one(t.accounts, t.accounts.c.name == "ups").blocked_until is None


def test_F23_a_shop_that_is_down_is_asked_once_a_batch_and_rests(make_lab) -> None:
    lab = make_lab()
    for i in range(6):
        number = f"94001000000000000001{i:02}"
        lab.order(f"#{i}", number)
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.work("inbox", "poll", "reconcile")
    while lab.shop.outgoing:
        lab.post(lab.shop.outgoing.pop(0))
    lab.work("inbox", "poll", "reconcile", "inbox", "reconcile")
    waiting = len(lab.rows(t.outbox, t.outbox.c.state == "pending"))
    assert waiting >= 6
    lab.shop.faults.left["error"] = 3  # one call, its three tries
    STEPS["push"](lab.world)

    assert lab.shop.faults.left["error"] == 0
    assert lab.one(t.accounts, t.accounts.c.name == "shop").blocked_until is not None
    assert len(lab.rows(t.outbox, t.outbox.c.state == "pending")) == waiting
    assert lab.writes() == []


def test_F26_rows_of_a_kind_that_a_newer_version_stores_are_left_alone(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", USPS)
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS))
    lab.change(t.inbox.update().where(t.inbox.c.state == "pending").values(kind="hologram"))
    lab.work()

    (left,) = lab.rows(t.inbox, t.inbox.c.kind == "hologram")
    assert (left.state, left.attempts) == ("pending", 0)


def test_F30_an_outage_is_found_every_open_parcel_is_asked_and_the_gap_is_told(make_lab) -> None:
    lab = make_lab()
    lab.order("#1001", UPS, company="UPS")
    lab.order("#1002", USPS)
    lab.work()
    heal.beat(lab.world, lab.clock())
    lab.clock.move_to(lab.clock() + 8 * H)  # nobody of ours ran: what carriers posted is lost
    lab.scan(lab.ups, UPS, "I", "005", hours=-5)
    lab.scan(lab.ups, UPS, "I", "012", hours=-3)
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility", hours=-2)
    lab.change(t.trackings.update().values(next_poll_at=lab.clock() + 3 * H))  # a quiet cadence would wait longer
    heal.beat(lab.world, lab.clock())

    assert "outage" in lab.open_findings()
    lab.work()
    assert {lab.parcel(UPS).status, lab.parcel(USPS).status} == {"in_transit"}
    heal.look_around(lab.world)
    assert "outage" not in lab.open_findings()
    (told,) = ops.outages(lab.world)
    assert (told["state"], told["recovered"], told["asked"]) == ("caught up", 3, "2")
    assert {row["parcel"].split()[1] for row in ops.outages(lab.world, scans=True)} == {UPS, USPS}


def test_a_restart_of_a_minute_is_no_outage(make_lab) -> None:
    lab = make_lab()
    heal.beat(lab.world, lab.clock())
    lab.clock.move_to(lab.clock() + 0.1 * H)
    heal.beat(lab.world, lab.clock())

    assert lab.open_findings() == set()


def test_a_play_that_jumps_a_day_is_no_outage(make_lab) -> None:
    lab = make_lab()
    machine = lab.clock()
    heal.beat(lab.world, machine)
    lab.clock.move_to(lab.clock() + 24 * H)
    heal.beat(lab.world, machine + 0.02 * H)

    assert lab.open_findings() == set()


def test_a_claim_is_prolonged_while_it_is_worked_and_not_once_somebody_else_has_it(make_lab) -> None:
    lab = make_lab()
    lab.post_raw("easypost", tracker_body(USPS))
    with lab.daemon.store.write() as connection:
        (row,) = queries.claim(connection, t.inbox, 10)
    with lab.world.held.holding(t.inbox, {row.id: row.attempts}):
        before = lab.one(t.inbox).claimed_until
        assert lab.world.held.renew(lab.daemon.store) == 1
        assert lab.one(t.inbox).claimed_until >= before
        lab.change(t.inbox.update().values(attempts=row.attempts + 1))  # another process claimed it meanwhile
        assert lab.world.held.renew(lab.daemon.store) == 0
    assert lab.world.held.renew(lab.daemon.store) == 0


def test_a_poll_and_a_write_hold_what_they_work_on(make_lab) -> None:
    lab = shipped(make_lab)
    seen: dict[str, int] = {}
    client = lab.world.client

    def asked(account: Any) -> Any:
        seen[account.name] = lab.world.held.renew(lab.daemon.store)
        return client(account)

    lab.world.client = asked
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(7)

    assert lab.writes()
    assert seen["easypost"] >= 1 and seen["shop"] >= 1

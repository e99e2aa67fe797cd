"""The read API: its token, its answers, its document; notices; what the watch finds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lab import START, UPS, USPS, H, detail, tracker_body
from tracker.app.api import PATHS, openapi
from tracker.app.daemon import Daemon
from tracker.config.load import load_text
from tracker.pipeline import push
from tracker.store import tables as t
from tracker.support.explain import explanation
from tracker.upkeep import maintenance

TOKEN = "0123456789012345678901234567890123456789"


@pytest.fixture
def api(make_lab, tmp_path: Path) -> Any:
    lab = make_lab(
        rest="{preset: kingston-courier}",
        yaml=f'api: {{port: 0, token: "${{file:{tmp_path}/token}}"}}\nweb: {{port: 0, ops_port: 0}}\n',
    )
    lab.work()
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()
    lab.later(1)
    lab.scan(lab.ups, UPS, "I", "038")
    lab.later(6)
    daemon = Daemon(load_text(lab.yaml), frozenset({"web"}), now=lab.clock, notifier=lab.notifier)
    daemon.connect()
    daemon.start()
    assert daemon.servers is not None
    with httpx.Client(base_url=f"http://127.0.0.1:{daemon.servers.ports()[2]}", trust_env=False) as client:
        yield client
    daemon.stop()


def test_the_api_answers_only_who_has_the_token_and_writes_nothing(api: httpx.Client) -> None:
    for path in [*PATHS, "/openapi.json"]:
        assert api.get(path.replace("{store}", "kart").replace("{ref}", "7")).status_code == 401
    wrong = {"Authorization": "Bearer nothing"}
    assert api.get("/drift", headers=wrong).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert api.post("/drift", headers=right).status_code == 405


def test_every_path_answers_as_the_document_says(api: httpx.Client) -> None:
    api.headers["Authorization"] = f"Bearer {TOKEN}"
    assert api.get("/openapi.json").json() == openapi()
    for path in ("/drift", "/findings", "/stuck", "/outbox", "/inbox", "/codes", "/freshness"):
        assert isinstance(api.get(path).json(), list), path
    assert api.get("/outbox", params={"store": "kart", "limit": "1"}).json()[0]["state"] == "sent"
    assert api.get("/inbox").json() != [] and api.get("/inbox", params={"partly": "true"}).json() == []
    assert "partly" in {one["name"] for one in openapi()["paths"]["/inbox"]["get"]["parameters"]}
    order = api.get("/orders/kart/7").json()
    assert (order["status"], order["parcels"][0]["status"]) == ("shipped", "picked_up")
    early = api.get("/orders/kart/7", params={"at": (START + H).isoformat()}).json()
    assert early["status"] == "processing"
    assert api.get("/orders/kart/7", params={"at": "2026-11-02T09:00:00"}).status_code == 200
    known = api.get("/knowledge").json()
    assert (known["orders"], known["all_known"], known["unknown"]) == (1, True, [])
    for path in ("/drift", "/findings", "/stuck", "/freshness"):
        headers = api.get(path).headers
        assert headers["trackwright-all-known"] == "true", path
        assert datetime.fromisoformat(headers["trackwright-known-as-of"]) == datetime.fromisoformat(known["as_of"])
    gate = api.get("/orders/kart/7/gate", params={"to": "cancelled", "reason": "x"}).json()
    assert (gate["allowed"], gate["rule"]) == (False, "cancel_in_custody")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/findings?kind=x", 400, "kind: must be one of"), ("/findings?limit=x", 400, "limit: must be a whole number"),
        ("/orders/kart/7/gate", 400, "to: name the status"), ("/orders/kart/7/gate?to=gone", 400, "to: must be one of"),
        ("/orders/kart/99", 404, "no order '99'"), ("/orders/kart/7?at=soon", 400, "at: must be a moment"), ("/orders/kart/7?at=2999-01-01T00:00Z", 400, "at: is still to come"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_told_what_would_be_right(api: httpx.Client, path: str, status: int, said: str) -> None:
    answer = api.get(path, headers={"Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == status
    assert said in answer.json()["error"]


# notices


def test_a_sink_that_cannot_be_written_makes_the_notice_wait(make_lab, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder must be")
    preset = "{preset: kingston-courier, notices: [placed]}"
    lab = make_lab(rest=preset, yaml=f"notices: {{file: {blocked}/notices.jsonl}}\n")
    lab.work()
    lab.clock.move_to(lab.clock() + H)
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work("ingest", "poll", "decide")
    for _ in range(5):
        lab.work("ingest", "poll", "decide")
        while lab.rest.outgoing:
            lab.post(lab.rest.outgoing.pop(0))
    push.run(lab.ctx)

    row = lab.one(t.outbox)
    assert (row.kind, row.state) == ("notice", "pending")
    assert "cannot be written" in row.error
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.later(8)
    assert lab.rest.orders["#7"]["status"] == "Dispatched/Shipped"  # the sink that is away holds back no write


@pytest.mark.parametrize("reader", [True, False])
def test_a_sink_that_is_no_file_makes_the_notice_wait_and_nobody_else(make_lab, tmp_path: Path, reader: bool) -> None:
    import os

    fifo = tmp_path / "notices.jsonl"
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if reader else -1
    lab = make_lab(rest="{preset: kingston-courier, notices: [placed]}", yaml=f"notices: {{file: {fifo}}}\n")
    lab.work()
    lab.clock.move_to(lab.clock() + H)
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()

    row = lab.one(t.outbox)
    assert (row.kind, row.state) == ("notice", "pending")
    assert "is no regular file" in row.error or "cannot be written" in row.error
    if reader:
        os.close(held)


def test_a_new_sink_and_its_folder_are_private(make_lab, tmp_path: Path) -> None:
    sink = tmp_path / "new" / "notices.jsonl"
    lab = make_lab(rest="{preset: kingston-courier, notices: [placed]}", yaml=f"notices: {{file: {sink}}}\n")
    lab.work()
    lab.clock.move_to(lab.clock() + H)
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()

    assert len(sink.read_text().splitlines()) == 1
    assert [path.stat().st_mode & 0o777 for path in (sink.parent, sink)] == [0o700, 0o600]


def test_without_a_sink_a_notice_is_only_observed(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier, notices: [placed]}")
    lab.work()
    lab.clock.move_to(lab.clock() + H)
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.work()

    assert [(row.kind, row.state) for row in lab.rows(t.outbox)] == [("notice", "observed")]
    said = " ".join(explanation(lab.ctx, "#7")["answer"])
    assert (
        "The notice placed of order #7 is told to nobody since 2026-11-02 09:00Z: its store has neither a file" in said
    )


# the watch


def test_an_account_whose_webhooks_stopped_while_polls_bring_news_is_found_until_they_come_again(make_lab) -> None:
    lab = make_lab()
    lab.work()
    numbers = [f"94001112062064062{n:05}" for n in range(6)]
    lab.order("#1", *numbers)
    lab.work()
    lab.post_raw("easypost", tracker_body("9400111206206406269999", detail("in_transit", "2026-11-02T08:00:00Z")))
    lab.work()
    lab.later(20)
    for number in numbers:
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(10)
    maintenance.run_monitors(lab.ctx)
    assert "webhooks_silent" in lab.open_findings()
    maintenance.run_monitors(lab.ctx)
    lab.post(lab.easypost.event(numbers[0]))
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert "webhooks_silent" not in lab.open_findings()


def test_a_slowdown_is_one_finding_and_ends_by_itself(make_lab) -> None:
    lab = make_lab(store="mode: write, policy: {stuck_after: 2d}", yaml="watch: {slow_parcels: 2, slow_after: 3d}\n")
    lab.work()
    numbers = [f"94001112062064062{n:05}" for n in range(3)]
    for n, number in enumerate(numbers):
        lab.order(f"#{n}", number)
    lab.work()
    for number in numbers:
        lab.scan(lab.easypost, number, "in_transit", "departed_facility")
    lab.later(10)
    lab.later(52)
    assert "stuck" in lab.open_findings()
    lab.later(24)
    maintenance.run_monitors(lab.ctx)
    lab.work()
    assert lab.open_findings() == {"carrier_slowdown"}
    for number in numbers:
        lab.scan(lab.easypost, number, "in_transit", "arrived_at_facility")
    lab.later(24)
    maintenance.run_monitors(lab.ctx)
    lab.work()
    assert lab.open_findings() == set()


def test_a_parcel_without_an_order_is_found_after_a_while_and_closed_once_an_order_names_it(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.post_raw("easypost", tracker_body(USPS, detail("in_transit", "2026-11-02T08:00:00Z")))
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert lab.open_findings() == set()
    lab.clock.move_to(lab.clock() + 73 * H)
    maintenance.run_monitors(lab.ctx)
    assert lab.open_findings() == {"parcel_without_order"}
    lab.order("#1", USPS)
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert "parcel_without_order" not in lab.open_findings()


def test_a_number_the_carrier_has_and_the_shop_replaces_is_found(make_lab) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1", USPS)
    lab.order("#2", "9400111206206406261005")
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.later(6)
    for order in ("#1", "#2"):
        lab.shop.retrack(order, [{"company": "USPS", "number": f"940011120620640626900{order[1]}"}])
    lab.work()

    row = lab.one(t.findings, t.findings.c.kind == "tracking_changed")
    assert (row.evidence["was"], row.evidence["now"]) == (f"usps {USPS}", "9400111206206406269001")


def test_our_own_write_comes_back_as_ours_whatever_name_the_shop_gives_it(make_lab) -> None:
    lab = make_lab(rest="{preset: kingston-courier}")
    lab.work()
    lab.rest.place("#7", lab.clock(), status="Processing", delivery={"method": "courier"})
    lab.rest.ship("#7", lab.clock(), [{"company": "UPS", "number": UPS}], items={})
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", hours=1)
    lab.rest.faults.left["apply_then_fail"] = 3  # it is done and nobody told us: the next read shows it
    lab.later(8)

    assert lab.rest.orders["#7"]["status_actor"] == "app"
    actors = [v.actor for v in lab.rows(t.order_versions) if v.status == "shipped"]
    assert set(actors) == {"trackwright"}
    assert len(lab.rest.log) == 1
    assert [(row.kind, row.state) for row in lab.rows(t.outbox)] == [("order_status", "sent")]

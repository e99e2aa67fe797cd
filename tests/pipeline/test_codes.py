"""A code without a meaning: counted, shown, moving nothing, until somebody gives it one."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

from tests.lab import START, UPS, USPS, shipped
from tests.pipeline.payloads import Payloads
from tracker.config.load import load_text
from tracker.domain.facts import Code, Meaning, Report, Scan
from tracker.domain.vocabulary import ShippingStatus
from tracker.store import tables as t
from tracker.support import lists
from tracker.upkeep import replay


def test_an_unknown_code_is_counted_shown_and_moves_nothing_until_it_has_a_meaning(make_lab) -> None:
    lab = shipped(make_lab, UPS, company="UPS")
    lab.scan(lab.ups, UPS, "I", "038")
    lab.scan(lab.ups, UPS, "I", "999", hours=1, text="Drone")
    lab.later(7)

    (code,) = lists.list_codes(lab.ctx)
    assert (code["carrier"], code["account"], code["code_key"], code["text"], code["count"]) == (
        "ups", "ups", "status/999", "Drone", 1,
    )  # fmt: skip
    assert lab.parcel(UPS).status == "picked_up"
    assert "unmapped_code" in lab.open_findings()

    account = lab.ctx.config.accounts["ups"]
    meaning = Meaning(ShippingStatus.OUT_FOR_DELIVERY)
    lab.ctx.config = changed(
        lab.ctx.config,
        accounts={**lab.ctx.config.accounts, "ups": changed(account, codes={("status", "999"): meaning})},
    )
    assert replay.remap(lab.ctx, "ups", code="status/999") == 1
    lab.work("ingest", "decide", "push")
    assert lab.parcel(UPS).status == "out_for_delivery"
    assert lab.writes() == [("#1001", "CARRIER_PICKED_UP")]  # without --write nothing is written
    assert "unmapped_code" not in lab.open_findings()
    assert replay.remap(lab.ctx, "ups", write=True) == 1
    lab.work()


def test_a_code_counts_each_scan_once_whoever_tells_it_again(make_lab: Any) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    odd = lab.scan(lab.ups, UPS, "I", "999", text="Drone")
    lab.post(lab.ups.alert(UPS, odd))  # a shared secret tells it, and the poll that it causes confirms it
    lab.work()
    lab.later(7)
    replay.replay(lab.ctx, state="done", account="ups")
    lab.work()
    replay.remap(lab.ctx, "ups")
    lab.work()

    (code,) = lists.list_codes(lab.ctx)
    assert (code["code_key"], code["count"], code["account"], code["carrier"]) == ("status/999", 1, "ups", "ups")
    assert lab.daemon.metrics.total("tracker_unmapped_codes_total") == 1
    lab.change(t.scans.update().values(withdrawn_at=START))
    assert lists.list_codes(lab.ctx) == []
    lab.change(t.scans.update().values(withdrawn_at=None))


def test_a_code_that_has_a_meaning_now_is_gone_at_once_and_said_until_its_scans_have_it(payloads: Payloads) -> None:
    lab = payloads.lab
    for i, code in enumerate(("900", "901", "901")):
        scan = Scan(Code("status", code, f"odd {code}"), START.replace(tzinfo=None), START)
        payloads.put("ups", Report("ups", f"1ZR58939035756{i:04}", (scan,)))
    lab.work("ingest")
    assert [(row["code"], row["count"], row["text"]) for row in lists.suggest(lab.ctx)] == [
        ("901", 2, "odd 901"), ("900", 1, "odd 900"),
    ]  # fmt: skip
    assert [row["code"] for row in lists.list_codes(lab.ctx, limit=1)] == ["901"]

    account = lab.ctx.config.accounts["ups"]
    codes = {("status", "901"): Meaning(ShippingStatus.IN_TRANSIT)}
    lab.ctx.config = changed(lab.ctx.config, accounts={"ups": changed(account, codes=codes)})
    assert [row["code"] for row in lists.list_codes(lab.ctx)] == ["900"]
    assert [row["code"] for row in lists.suggest(lab.ctx)] == ["900"]
    (waits,) = lists.list_codes(lab.ctx, mapped=True)
    assert (waits["code"], waits["count"]) == ("901", 2)

    replay.remap(lab.ctx, "ups", code="status/901")
    lab.work("ingest")
    assert lists.list_codes(lab.ctx, mapped=True) == []
    lab.ctx.config = changed(lab.ctx.config, accounts={})
    assert [row["account"] for row in lists.list_codes(lab.ctx)] == ["ups"], "also of an account that is gone"


def test_a_code_with_a_slash_gets_the_meaning_that_the_merchant_wrote_as_tracker_codes_prints_it(make_lab: Any) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", USPS)
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "by_drone")
    lab.later(7)
    (code,) = [row["code_key"] for row in lists.list_codes(lab.ctx)] or ["tracker/in_transit/by_drone"]
    mended = lab.yaml.replace("uses: easypost", f"uses: easypost, codes: {{{code}: {{status: out_for_delivery}}}}", 1)
    lab.ctx.config = load_text(mended)
    assert replay.remap(lab.ctx, "easypost", code=code) == 1
    assert replay.remap(lab.ctx, "easypost", code="tracker/other") == 0
    lab.work()
    assert lab.parcel(USPS).status == "out_for_delivery"

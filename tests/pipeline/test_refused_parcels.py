"""A parcel whose source was asked and says that it cannot tell of it: that is no knowledge, and its words are kept."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from tests.lab import START, UPS, USPS, H, Lab, tracker_body
from tests.lab import lab as made
from tracker.cli import main as main_
from tracker.sandbox.base import FaultyResponse
from tracker.store import tables as t
from tracker.support import explain
from tracker.support.knowledge import knowledge

EXPIRED = "PIN has expired"
UNTIL = "the right number in the shop, or another account that may ask about them"


@pytest.fixture
def lab(make_lab: Any) -> Lab:
    """Two orders of one shop that were shipped just now."""
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", USPS)
    lab.order("#2", UPS, company="UPS")
    lab.work()
    return lab


def error(lab: Lab, number: str = USPS) -> None:
    """Have EasyPost push that it cannot tell of a parcel."""
    at = (lab.clock() + H).isoformat()
    result = orjson.loads(tracker_body(number, status="error", status_detail=EXPIRED, updated_at=at))
    event = {"object": "Event", "id": f"evt_{number}", "description": "tracker.updated", "result": result}
    lab.post_raw("easypost", orjson.dumps(event))
    lab.work()


def watch(lab: Lab, account: str) -> Any:
    return lab.one(t.watches, t.watches.c.account == account)


def refuse(lab: Lab) -> None:
    """Have UPS refuse each question about a parcel from now on."""
    body = b'{"response": {"errors": [{"code": "TV9999", "message": "' + EXPIRED.encode() + b'"}]}}'
    lab.ups.faults.told.append(FaultyResponse(1_000_000, path="/ups/api/track", status=400, body=body))


def test_a_parcel_whose_source_tells_an_error_of_it_is_not_known_and_its_words_are_told(lab: Lab) -> None:
    error(lab)

    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.what, gap.where, gap.count, gap.of) == ("parcels_refused", "easypost", 1, "parcels")
    assert gap.why == f"the carrier does not tell of them (usps {USPS}: {EXPIRED})"
    assert gap.until == UNTIL
    known = knowledge(lab.ctx)
    assert (known.unknown, known.whole) == (1, False)
    assert known.sentence("no drift") == "no drift among the orders that are known: 1; not known: 1"
    assert knowledge(lab.ctx, store="shop").gaps == [gap]
    order = explain.overview(lab.ctx, "#1")["orders"][0]
    assert order["known"]["unknown"] == [f"usps {USPS}: easypost does not tell of it: {EXPIRED}"]
    assert order["parcels"][0]["watched_by"][0]["said"] == EXPIRED
    assert explain.overview(lab.ctx, "#2")["orders"][0]["known"]["unknown"] == []


def test_a_parcel_of_which_a_poll_is_refused_is_not_known_and_the_words_are_told(lab: Lab) -> None:
    refuse(lab)
    lab.later(7)

    (gap,) = knowledge(lab.ctx).gaps
    said = watch(lab, "ups").said
    assert EXPIRED in said
    assert (gap.what, gap.where, gap.count) == ("parcels_refused", "ups", 1)
    assert gap.why == f"the carrier does not tell of them (ups {UPS}: {said})"


def test_a_poll_that_is_refused_of_a_parcel_that_was_told_of_is_overdue_and_says_the_words(lab: Lab) -> None:
    lab.scan(lab.ups, UPS, "I", "005")
    lab.later(7)
    refuse(lab)
    for _ in range(3):
        lab.later(4)

    assert (watch(lab, "ups").tracking_state, EXPIRED in watch(lab, "ups").said) == ("active", True)
    assert ("parcels_overdue", "ups") in [(gap.what, gap.where) for gap in knowledge(lab.ctx).gaps]
    (unknown,) = explain.overview(lab.ctx, "#2")["orders"][0]["known"]["unknown"]
    assert "it is overdue to be asked about" in unknown
    assert EXPIRED in unknown
    lab.ups.faults.told.clear()  # the same answer as before the refusals
    lab.later(7)
    assert (knowledge(lab.ctx).gaps, watch(lab, "ups").said) == ([], None)


def test_once_it_tells_of_the_parcel_again_all_is_known_and_the_words_are_gone(lab: Lab) -> None:
    refuse(lab)
    lab.later(7)
    lab.ups.faults.told.clear()
    lab.scan(lab.ups, UPS, "I", "005")
    lab.later(7)

    assert knowledge(lab.ctx).gaps == []
    assert (watch(lab, "ups").tracking_state, watch(lab, "ups").said) == ("active", None)


def test_a_parcel_that_another_account_tells_of_is_known_whoever_refuses(lab: Lab) -> None:
    refuse(lab)
    lab.later(7)
    mine = watch(lab, "ups")
    heard = {"shipment_id": mine.shipment_id, "account": "easypost", "tracking_state": "active"}
    lab.change(t.watches.insert().values(attempts=0, failures=0, urgent=False, **heard))
    assert knowledge(lab.ctx).gaps == []
    assert explain.overview(lab.ctx, "#2")["orders"][0]["known"]["unknown"] == []


def test_a_refused_number_that_was_replaced_in_the_shop_is_no_gap(lab: Lab) -> None:
    error(lab)
    lab.change(t.fulfilment_shipments.delete())
    assert knowledge(lab.ctx).gaps == []


def test_several_refused_parcels_are_one_line_with_one_of_them_as_an_example(lab: Lab) -> None:
    lab.order("#3", "9400111206206406260794")
    lab.work()
    error(lab)
    error(lab, "9400111206206406260794")

    (gap,) = knowledge(lab.ctx).gaps
    assert (gap.count, gap.why) == (2, f"the carrier does not tell of them (such as usps {USPS}: {EXPIRED})")


def test_what_waits_for_a_scan_is_found_although_the_source_refuses_to_tell(lab: Lab) -> None:
    """The clocks of the policy run on: nobody told of a scan, whoever asked."""
    refuse(lab)
    for _ in range(8):
        lab.later(24)
    assert lab.clock() > START + timedelta(days=7)
    mine = lab.rows(t.findings, t.findings.c.closed_at.is_(None), t.findings.c.subject.contains(UPS))
    assert "label_never_scanned" in {row.kind for row in mine}


def test_drift_ends_with_1_and_show_says_the_carriers_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with made(f"sqlite:///{tmp_path}/db/x.db", tmp_path) as lab:
        (tmp_path / "tracker.yaml").write_text(lab.yaml)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)
        lab.work()
        lab.order("#2", UPS, company="UPS")
        lab.work()
        refuse(lab)
        lab.later(7)

        drift = CliRunner().invoke(main_.cli, ["drift"])
        shown = CliRunner().invoke(main_.cli, ["show", "#2"])

    assert drift.exit_code == 1
    assert f"ups: 1 parcel: the carrier does not tell of them (ups {UPS}: HTTP 400: TV9999: {EXPIRED})" in drift.stdout
    assert f"it takes {UNTIL}" in drift.stdout
    assert EXPIRED in " ".join(shown.stdout.split())

"""The carriers' cases of README: what each payload of trouble must be read as."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tracker.domain.errors import Refused
from tracker.domain.facts import Parcel, Parcels, Payload, Report, StoredScan, Unread, fingerprint
from tracker.domain.timeline import place_in_time, summarize
from tracker.domain.vocabulary import ShippingStatus, Zone
from tracker.plugin.conformance import AT, Recorder, example_settings, plugin_of
from tracker.store import tables as t

HERE = Path(__file__).parent


def read(name: str):
    """Read a case: the plugin, its reports and what it could not read."""
    plugin = plugin_of(f"carriers.{name.partition('-')[0]}")
    source = plugin("account", example_settings(plugin))
    body = (HERE / f"{name}.json").read_bytes()
    items = list(source.normalize(Payload("account", name.rpartition(".")[2], (body,), AT, {})))
    return source, [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def status_of(source, report: Report) -> ShippingStatus:
    told = []
    for scan in report.scans:
        instant, zone = place_in_time(scan, source.default_zone, AT)
        told.append(
            StoredScan(fingerprint(scan), scan.code.space, scan.code.code, source.meaning(scan.code), instant, zone)
        )
    return summarize(told).status


def test_of_a_batch_with_one_odd_estimate_both_parcels_are_told() -> None:
    source, (first, second), (odd,) = read("fedex-batch-one-odd.poll")

    assert (first.number, status_of(source, first), first.edd) == ("776094337676", "out_for_delivery", None)
    assert (second.number, status_of(source, second)) == ("776094337687", "delivered")
    assert odd == Unread(
        "$.output.completeTrackResults[0].trackResults[0].dateAndTimes[0].dateTime",
        "is no ISO 8601 date and time: 'Pending'", "776094337676",
    )  # fmt: skip


def test_a_scan_whose_date_is_printed_another_way_is_kept_without_its_time() -> None:
    source, (report,), (odd,) = read("ups-one-odd-scan.poll")
    delivered, out = report.scans

    assert status_of(source, report) is ShippingStatus.DELIVERED
    assert delivered.local.isoformat() == "2026-08-21T11:24:56"
    assert (source.meaning(out.code).status, out.local, out.occurred_at) == ("out_for_delivery", None, None)
    assert (odd.where, odd.subject) == (
        "$.trackResponse.shipment[0].package[0].activity[1].date", "1ZR589390357567121",
    )  # fmt: skip


def test_a_delivery_that_only_the_head_tells_is_a_scan_with_its_time() -> None:
    source, (report,), unread = read("fedex-head-only.poll")
    (scan,) = report.scans

    assert source.meaning(scan.code).status is ShippingStatus.DELIVERED
    assert scan.occurred_at.isoformat() == "2026-08-28T09:10:00-05:00"
    assert unread == []


def test_midnight_in_an_estimate_means_the_day() -> None:
    _, (report,), unread = read("fedex-midnight-estimate.poll")

    assert (report.edd.begins.isoformat(), report.edd.ends.isoformat()) == (
        "2026-08-28T00:00:00-06:00", "2026-08-29T00:00:00-06:00",
    )  # fmt: skip
    assert unread == []


def test_a_scan_of_the_year_one_is_kept_without_a_usable_time() -> None:
    source, (report,), (odd,) = read("easypost-year-one.webhook")
    (scan,) = report.scans

    assert place_in_time(scan, source.default_zone, AT) == (AT, Zone.UNKNOWN)
    assert status_of(source, report) is ShippingStatus.IN_TRANSIT
    assert (odd.where, odd.subject) == ("$.result.tracking_details[0].datetime", "9400111206206406260787")


@pytest.mark.parametrize("case", yaml.safe_load((HERE / "path.yaml").read_text()), ids=lambda case: case["number"])
def test_a_number_is_one_segment_of_the_path_or_nobody_is_asked(case) -> None:
    plugin = plugin_of(f"carriers.{case['uses']}")
    source, client = plugin("account", example_settings(plugin)), Recorder()
    ask = Parcels((Parcel(case["uses"], case["number"]),))

    if case["path"] is None:
        with pytest.raises(Refused):
            list(source.fetch(client, ask))
        assert client.sent == []
    else:
        list(source.fetch(client, ask))
        assert urlsplit(client.sent[-1].url).path == case["path"]
        assert not urlsplit(client.sent[-1].url).query


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\\ud800", "\\u0000"])
def test_what_no_database_takes_is_stored_without_it_and_nothing_is_retried(make_lab, stamp: str) -> None:
    lab = make_lab()
    body = (HERE / "easypost-year-one.webhook.json").read_bytes()
    odd = body.replace(b"0001-01-01T00:00:00+14:00", stamp.encode()).replace(b"Arrived", b"Arrived " + stamp.encode())
    lab.post_raw("easypost", odd)
    lab.work()

    (row,) = lab.rows(t.inbox, t.inbox.c.kind == "webhook")
    (scan,) = lab.rows(t.scans)
    assert (row.state, row.attempts, row.crashes) == ("done", 1, 0)
    assert (scan.status, scan.zone, scan.local) == ("in_transit", "unknown", None)
    assert [where for where, _, _ in row.unread] == ["$.result.tracking_details[0].datetime"]

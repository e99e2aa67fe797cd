"""People speak, ask gates, look at the whole installation, and replay it under other rules."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.lab import START, UPS, USPS, H, Lab
from tracker.cli import listing
from tracker.cli import main as main_
from tracker.cli.matrix import actors
from tracker.config.load import load_config
from tracker.config.plugins import installed
from tracker.domain.errors import TrackerError
from tracker.domain.vocabulary import StatementKind
from tracker.plugin.conformance import plugin_of
from tracker.plugin.contracts import Beside
from tracker.store import tables as t
from tracker.support import lists, statements
from tracker.upkeep import maintenance

Run = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A Kingston courier order whose seller set Delivered by accident while it moves, one at Processing, a left checkout."""
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, rest="{preset: kingston-courier, stuck_after: 3d}")
        (tmp_path / "tracker.yaml").write_text(made.yaml)
        made.work()
        made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier", "address": "confirmed"})
        made.rest.place("#8", made.clock(), status="Processing", delivery={"method": "courier"})
        made.rest.checkout("C1", contact=True, recovered=False)
        made.rest.ship("#7", made.clock(), [{"company": "UPS", "number": UPS}], items={})
        made.work()
        made.later(1)
        made.scan(made.ups, UPS, "I", "038")
        made.scan(made.ups, UPS, "I", "998", text="Out for delivery by drone", hours=0.5)
        made.scan(made.ups, UPS, "I", "997", text="Zweites Zeichen", hours=0.6)
        made.later(6)
        made.rest.set("#7", "seller", status="Delivered")
        made.work()
        made.later(26)
        yield made


@pytest.fixture
def run(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)

    def invoke(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main_.cli, list(words))
        assert result.exit_code == code, f"{result.output}{result.exception!r}"
        return result

    return invoke


def told(run: Run, *words: str, code: int = 0) -> Any:
    return json.loads(run(*words, "--json", code=code).output)


# people


def test_a_note_a_record_and_a_correction_are_kept_with_who_said_them(run: Run, lab: Lab) -> None:
    run("note", "7", "customer called", "--by", "ann", "--to-shop")
    run("record", "#7", "handed_over", "--text", "saw it", "--by", "bob")
    refused = CliRunner().invoke(main_.cli, ["correct", "7", "shipped", "--reason", "clicked by accident"])
    assert refused.exit_code == 1
    assert "no_step_back" in refused.output
    assert "--override goes past it" in refused.output
    run("correct", "7", "shipped", "--reason", "clicked by accident", "--override", "--by", "ann")
    lab.work()

    assert lab.rest.orders["#7"]["status"] == "Dispatched/Shipped"
    assert lab.rest.orders["#7"]["notes"] == ["customer called"]
    shown = run("show", "7").output
    for words in (
        "note by ann",
        "handed_over by bob",
        "correction shipped by ann",
        "clicked by accident",
        "address confirmed",
    ):
        assert words in shown, words
    assert [s["kind"] for s in told(run, "show", "7")["orders"][0]["statements"]] == [
        "note",
        "handed_over",
        "correction",
    ]


def test_a_note_for_a_shop_that_takes_none_is_refused_and_can_be_kept_here(run: Run, lab: Lab) -> None:
    lab.order("#1", USPS)
    lab.work()

    account = lab.ctx.account("shop")
    assert account is not None
    account.platform.takes_notes = False  # as of a shop that an entry describes without its way to take them
    with pytest.raises(TrackerError, match="takes no notes"):
        statements.record_statement(
            lab.ctx, statements.find_order(lab.ctx, "1"), StatementKind.NOTE, "x", "ann", to_shop=True
        )
    run("note", "1", "x")


def test_a_note_for_a_shop_that_is_only_observed_says_that_it_waits(run: Run, lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "tracker.yaml"
    file.write_text(file.read_text().replace("mode: write", "mode: observe"))

    said = run("note", "7", "customer called", "--to-shop").output
    assert "only observes (mode: observe): the shop gets it when mode is write" in said
    assert [row.state for row in lab.rows(t.outbox, t.outbox.c.kind == "order_note")] == ["pending"]


def test_a_correction_tells_what_the_shop_does_beside(run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_of("adapters.rest"), "beside", lambda _self, kind, word: Beside(f"mails at {word}"))

    said = run("correct", "7", "shipped", "--reason", "clicked by accident", "--override").output
    assert said.splitlines()[-1] == "the shop then mails at Dispatched/Shipped"


def test_nothing_is_corrected_out_of_cancelled_not_even_by_override(run: Run, lab: Lab) -> None:
    lab.rest.cancel("#8", "customer")
    lab.work()
    refused = CliRunner().invoke(main_.cli, ["correct", "8", "processing", "--reason", "x", "--override"])

    assert refused.exit_code == 1
    assert "is not written into Processing" in refused.output
    refused = CliRunner().invoke(main_.cli, ["correct", "8", "shipped", "--reason", "x", "--override"])
    assert refused.exit_code == 1
    assert "nothing is written out of it" in refused.output


def test_a_correction_into_a_status_the_shop_has_no_word_for_is_refused_with_the_choices(run: Run, lab: Lab) -> None:
    refused = CliRunner().invoke(main_.cli, ["correct", "8", "partially_shipped", "--reason", "x"])

    assert refused.exit_code == 1
    assert "kart has no word for partially_shipped that may be written; it has: delivered" in refused.output


def test_the_gate_answers_yes_or_no_with_its_rule_and_its_evidence(run: Run, lab: Lab) -> None:
    no = told(run, "may", "7", "cancelled", "--reason", "wrong size", code=1)
    assert (no["allowed"], no["rule"]) == (False, "cancel_in_custody")
    assert no["evidence"]["last_scan"].startswith("picked_up at")
    assert "the parcel back" in run("may", "7", "cancelled", "--reason", "wrong size", code=1).output
    assert told(run, "may", "8", "cancelled", code=1)["rule"] == "reason_required"
    assert "yes" in run("may", "8", "cancelled", "--reason", "bought twice").output
    assert [s.text for s in lab.rows(t.statements, t.statements.c.kind == "gate_reason")][-1].endswith("bought twice")


def test_an_order_that_nobody_knows_and_one_of_two_stores_are_named(run: Run, lab: Lab) -> None:
    assert "no order '99'" in str(CliRunner().invoke(main_.cli, ["note", "99", "x"]).exception)
    lab.order("#7", USPS)
    lab.work()
    both = CliRunner().invoke(main_.cli, ["may", "7", "cancelled"]).exception
    assert "kart, shop: say --store" in str(both)
    assert told(run, "may", "7", "cancelled", "--store", "shop", code=1)["rule"] == "reason_required"


def test_a_finding_is_dismissed_with_a_reason_and_stays_closed_until_its_evidence_changes(run: Run, lab: Lab) -> None:
    (ahead,) = told(run, "findings", "--kind", "order_ahead")
    run("dismiss", str(ahead["id"]), "--reason", "the seller told us", "--by", "ann")
    lab.later(1)
    assert told(run, "findings", "--kind", "order_ahead") == []
    closed = next(f for f in told(run, "findings", "--closed") if f["id"] == ahead["id"])
    assert (closed["closed_by"], closed["closed_reason"]) == ("person: ann", "the seller told us")
    lab.scan(lab.ups, UPS, "I", "005")
    lab.later(8)
    assert told(run, "findings", "--kind", "order_ahead")
    with pytest.raises(TrackerError, match="say why"):
        lists.close(lab.ctx, [1], by="ann", reason=" ")


def test_a_snoozed_finding_stays_open_and_comes_back(run: Run, lab: Lab) -> None:
    (ahead,) = told(run, "findings", "--kind", "order_ahead")
    assert "1 of 1" in run("snooze", str(ahead["id"]), "--for", "4h").output
    assert told(run, "findings", "--kind", "order_ahead") == []
    assert told(run, "findings", "--kind", "order_ahead", "--snoozed")
    lab.later(5)
    assert told(run, "findings", "--kind", "order_ahead")
    assert "must be a duration" in CliRunner().invoke(main_.cli, ["snooze", "1", "--for", "soon"]).output


# the whole installation


def test_drift_shows_both_statuses_its_age_its_cause_and_what_would_heal_it(run: Run, lab: Lab) -> None:
    (row,) = told(run, "drift", code=1)
    assert (row["order"], row["drift"], row["order_status"], row["caused_by"]) == (
        "#7",
        "shop_ahead",
        "Delivered",
        "seller",
    )
    assert (row["shop"], row["carrier"]) == ("delivered", "picked_up")
    assert row["shipping_status"].startswith("picked_up")
    assert row["age"] == "1d 2h"
    assert row["would_heal"] == (
        "a person decides between `tracker record '#7' proof --store kart` and `tracker correct '#7' shipped --reason "
        "'ups says picked_up' --override --store kart`"
    )
    assert told(run, "drift", "--store", "shop") == told(run, "drift", "--kind", "shop_behind") == []
    assert "shop_ahead" in run("drift", code=1).output
    assert told(run, "drift", "--after", str(row["id"])) == []
    assert run("drift", "--after", "0").output == "no more drift\n"


def test_an_empty_list_says_of_how_many_orders_as_of_when_and_what_nobody_knows(run: Run, lab: Lab) -> None:
    assert run("drift", "--store", "shop").output == "no drift: no order is known yet\n"
    run("record", "7", "proof")
    lab.work()
    said = run("drift").output
    assert said.startswith("no drift: of 2 orders, all known as of 2026-11-03 ")
    assert "and this is not known:\n  findings: 1 parcel since" in said  # a code without a meaning: told, and no more
    lab.change(t.accounts.update().where(t.accounts.c.name == "kart").values(suspended_reason="401"))
    said = run("drift", code=1).output
    assert said.startswith("no drift among the orders that are known: 0; not known: 2\n  kart: 2 orders since ")
    assert "the shop refuses our credentials (401); it takes new credentials of kart" in said
    result = run("drift", "--json", code=1)
    assert json.loads(result.stdout) == []
    assert "kart: 2 orders" in result.stderr
    assert "kart: 2 orders" in run("findings", "--severity", "urgent").output
    assert "nothing is stuck among the orders that are known: 0; not known: 2" in run("stuck").output
    assert "not known: the shop's side since" in run("show", "7").output
    lab.change(t.accounts.update().where(t.accounts.c.name == "kart").values(suspended_reason=None))
    assert "by shop and carriers" in run("show", "8").output


def test_an_outage_of_ours_is_listed_with_what_came_late(run: Run, lab: Lab) -> None:
    assert run("outages", code=1).output.startswith("no scheduler of ours has run yet (`tracker up`), so nobody knows")
    assert run("outages", "--json", code=1).stdout == "[]\n"
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.clock.move_to(lab.clock() + 8 * H)
    maintenance.heartbeat(lab.ctx, lab.clock())
    lab.scan(lab.ups, UPS, "I", "005", hours=-2)
    lab.work()
    maintenance.run_monitors(lab.ctx)

    ours, row = told(run, "outages", code=1)  # by the database's clock our scheduler is away, too
    assert (ours["state"], ours["until"], row["state"], row["recovered"]) == ("away", None, "caught up", 1)
    (scan,) = told(run, "outages", "--scans")
    assert (scan["parcel"], scan["code"]) == (f"ups {UPS}", "005")


def test_stuck_freshness_checkouts_and_filters(run: Run, lab: Lab) -> None:
    lab.later(72)
    (row,) = told(run, "stuck")
    assert (row["why"], row["parcel"], row["status"]) == ("stuck", f"ups {UPS}", "picked_up")
    assert told(run, "stuck", "--carrier", "dhl") == []
    for look, none in (("stuck", "nothing is stuck"), ("findings", "no findings")):
        assert run(look, "--carrier", "upss").output.startswith(f"{none} of 'upss', of which no parcel is known")
    assert told(run, "stuck", "--carrier", "ups", "--store", "kart")
    (fresh,) = told(run, "freshness")
    assert (fresh["account"], fresh["open"], fresh["within_24h"]) == ("ups", 1, 100.0)
    (left,) = told(run, "checkouts")
    assert (left["checkout"], left["contact"]) == ("C1", "left in the shop")
    assert told(run, "checkouts", "--store", "shop") == []
    assert not [f for f in told(run, "findings") if f["kind"] == "abandoned_checkout"]
    assert {f["severity"] for f in told(run, "findings", "--severity", "info")} == {"info"}
    assert told(run, "findings", "--store", "kart", "--limit", "1")
    assert "more: --after" not in run("findings").output


def test_a_list_can_be_watched(run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    def stop(_seconds: float) -> None:
        shown.append(1)
        if len(shown) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(listing.time, "sleep", stop)
    result = CliRunner().invoke(main_.cli, ["freshness", "--watch"])

    assert result.output.count("freshness of open parcels") == 2


def test_refused_writes_are_due_again_one_many_or_all(run: Run, lab: Lab) -> None:
    lab.rest.faults.left["refuse_write"] = 1
    lab.rest.ship("#8", lab.clock(), [{"company": "UPS", "number": "1ZR589400357568494"}], items={})
    lab.work()
    lab.scan(lab.ups, "1ZR589400357568494", "I", "038")
    lab.later(8)
    (row,) = told(run, "outbox", "--state", "refused", "--store", "kart")
    assert "the shop does not want that" in row["error"]
    assert "name writes by id" in CliRunner().invoke(main_.cli, ["outbox", "retry"]).output
    assert "0 writes" in run("outbox", "retry", "--all", "--store", "shop").output
    assert "0 writes" in run("outbox", "retry", "--all", "--state", "dead").output
    assert "1 writes are due again" in run("outbox", "retry", str(row["id"])).output
    assert "write_refused" in lab.open_findings()
    lab.work()
    assert lab.rest.orders["#8"]["status"] == "Dispatched/Shipped"
    assert "write_refused" not in lab.open_findings()
    assert told(run, "outbox", "--after", "1") == []


def test_codes_are_suggested_and_accepted_into_the_yaml(run: Run, lab: Lab, tmp_path: Path) -> None:
    rows = {row["code"]: row for row in told(run, "codes", "--suggest")}
    assert rows["998"]["suggested"] == {"status": "out_for_delivery"}
    assert rows["998"]["account"] == "ups"
    assert rows["997"]["suggested"] is None
    assert "out for delivery" in run("codes", "--suggest").output
    said = run("codes", "--accept", "status/998").output
    assert "accounts.ups.codes.status/998: out_for_delivery" in said
    run("codes", "--accept", "status/997=delayed/weather", "--account", "ups")
    found = load_config(tmp_path / "tracker.yaml").accounts["ups"].codes
    assert (found["status", "998"].status, found["status", "997"].reason) == ("out_for_delivery", "weather")
    for words in (
        ["codes"],
        ["codes", "--suggest"],
    ):  # what has a meaning now is no longer listed, and what waits is said
        listed = run(*words).output
        assert "status/998 has a meaning now; 1 stored scans wait for it: tracker remap ups --code status/998" in listed
        assert "every code that was told has a meaning" in listed
        assert told(run, *words) == []
    for wrong in (
        ["--accept", "status/997"], ["--accept", "nothing/1"], ["--accept", "status/998=delivrd"],
        ["--accept", "status/998", "--account", "shop"],
    ):  # fmt: skip
        assert CliRunner().invoke(main_.cli, ["codes", *wrong]).exit_code == 2


def test_accepting_a_code_keeps_the_modes_of_the_yaml_and_its_link(run: Run, lab: Lab, tmp_path: Path) -> None:
    real = tmp_path / "conf" / "real.yaml"
    real.parent.mkdir()
    (tmp_path / "tracker.yaml").rename(real)
    real.chmod(0o640)
    (tmp_path / "tracker.yaml").symlink_to(real)
    run("codes", "--accept", "status/998")

    assert (tmp_path / "tracker.yaml").is_symlink()
    assert real.stat().st_mode & 0o7777 == 0o640
    assert load_config(real).accounts["ups"].codes["status", "998"].status == "out_for_delivery"
    assert [path.name for path in real.parent.iterdir()] == ["real.yaml"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Package not delivered", None),
        ("Return to sender started", "returning"),
        ("Held at customs", "on_hold"),
        ("Hello", None),
    ],
)
def test_a_suggestion_rests_on_words_and_never_on_half_of_them(text: str, status: str | None) -> None:
    assert lists._by_text(text)[0] == status


# policies


def test_the_effective_policy_is_shown_with_where_each_value_came_from(run: Run, lab: Lab) -> None:
    shown = told(run, "policy", "show", "kart")
    assert shown["values"]["stuck_after"] == "3d"
    assert shown["sources"]["stuck_after"].startswith("tracker.yaml:")
    assert shown["sources"]["ahead_after"].startswith("preset kingston-courier (kingston-courier.yaml:")
    assert shown["sources"]["ownership"].startswith("preset kingston-dispatched (")
    assert shown["sources"]["calendar"] == "default"
    text = run("policy", "show", "kart").output
    assert "handed to a courier" in text
    assert (shown["actors"], "who set a status" in text) == (None, False)  # it tells of each
    assert (
        "who set a status: told of what was cancelled and of what was fulfilled" in run("policy", "show", "shop").output
    )
    assert "nobody is told who held an order" in told(run, "policy", "show", "shop")["actors"]
    assert actors(installed("adapters").plugins["saleor"]).startswith("the platform does not tell who set")
    assert "no store or carrier account 'x'" in CliRunner().invoke(main_.cli, ["policy", "show", "x"]).output


def test_the_decision_table_presets_and_coverage_are_printed(run: Run, lab: Lab) -> None:
    assert "write Delivered" in run("policy", "table", "kart").output
    assert {row["dispatched by"] for row in told(run, "policy", "table")["kart"]} == {"platform", "courier", "seller"}
    assert "marketplace-guide" in run("policy", "presets").output
    assert "mirror" in told(run, "policy", "presets")
    matrix = told(run, "policy", "coverage")
    assert matrix["kart"]["delivered"] == "Delivered"
    assert matrix["kart"]["delayed"] is None
    assert matrix["shop"]["delayed"] == "DELAYED"
    assert "out_for_delivery" in run("policy", "coverage").output
    assert "kart: rest has no word for" in run("check", "--offline").output


def test_what_if_reports_what_another_policy_would_change_and_writes_nothing(
    run: Run, lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "new.yaml").write_text(
        lab.yaml.replace(
            "preset: kingston-courier", "preset: kingston-courier, ahead_after: off, writes: {courier: []}"
        )
    )
    before = len(lab.rows(t.decisions)), len(lab.rows(t.outbox))
    answer = told(run, "whatif", "--policy", "new.yaml", code=1)
    changes = {row["change"]: row for row in answer["changes"]}

    assert changes["no more: order_status shipped"]["orders"] == 1
    assert changes["more: finding order_behind"]["samples"][0]["order"] == "#7"
    assert changes["no more: finding order_ahead"]["store"] == "kart"
    assert "Nothing was written" in run("whatif", "--policy", "new.yaml", "--since", "60d", code=1).output
    assert (len(lab.rows(t.decisions)), len(lab.rows(t.outbox))) == before
    same = told(run, "whatif", "--policy", "tracker.yaml", "--store", "kart")
    assert same["changes"] == []
    assert same["moments"] >= 2
    for wrong in (
        [],
        ["--policy", "new.yaml", "--mapping", "new.yaml"],
        ["--policy", "new.yaml", "--since", "x"],
        ["--policy", "new.yaml", "--store", "x"],
    ):
        assert CliRunner().invoke(main_.cli, ["whatif", *wrong]).exit_code == 2


def test_what_if_reports_what_another_mapping_would_change(run: Run, lab: Lab, tmp_path: Path) -> None:
    mapped = lab.yaml.replace("ups: {uses: ups,", "ups: {uses: ups, codes: {status/998: {status: delivered}},", 1)
    (tmp_path / "new.yaml").write_text(mapped)
    answer = told(run, "whatif", "--mapping", "new.yaml", code=1)

    assert "no more: finding order_ahead" in {row["change"] for row in answer["changes"]}


# the past


def test_explain_at_a_moment_knows_only_what_was_known_then(run: Run, lab: Lab) -> None:
    early = told(run, "explain", "7", "--at", (START + H).isoformat())["orders"][0]
    assert (early["status"], early["parcels"][0]["status"], early["writes"], early["findings"]) == (
        "processing",
        "unknown",
        [],
        [],
    )
    assert "not_handed_over" in early["now"]["because"]
    later = told(run, "explain", "7", "--at", (START + 12 * H).isoformat())["orders"][0]
    assert (later["status"], later["parcels"][0]["status"]) == ("delivered", "picked_up")
    assert [w["state"] for w in later["writes"]] == ["sent"]
    assert told(run, "explain", "7")["orders"][0]["findings"]
    assert told(run, "explain", "7", "--at", "2020-01-01", code=1)["orders"] == []
    assert "must be a moment" in CliRunner().invoke(main_.cli, ["explain", "7", "--at", "yesterday"]).output


def test_the_evidence_pack_holds_what_proves_the_story(run: Run, lab: Lab, tmp_path: Path) -> None:
    run("note", "7", "<script>alert(1)</script>")
    said = run("evidence", "7", "-o", "pack.zip").output
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}

    order = json.loads(files["evidence.json"])["orders"][0]
    page = files["index.html"].decode()
    assert "raw payloads" in said
    assert UPS in page
    parcel = order["parcels"][0]
    assert (
        parcel["taken_over_at"][:10] in page.partition("taken over by its carrier</td><td>")[2][:20]
    )  # what a claim rests on
    assert (parcel["attempts"], parcel["delivered_at"]) == (0, None)
    assert "<script>" not in page
    stored = [p for p in order["payloads"] if p["file"]]
    assert stored
    for payload in stored:
        assert hashlib.sha256(files[payload["file"]]).hexdigest() == payload["sha256"]
    for line in files["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(files[name]).hexdigest() == digest
    assert (tmp_path / "pack.zip").stat().st_mode & 0o777 == 0o600
    assert isinstance(CliRunner().invoke(main_.cli, ["evidence", "99", "-o", "x.zip"]).exception, TrackerError)
    refused = CliRunner().invoke(main_.cli, ["evidence", "7", "-o", "/dev/null"])
    assert "is no regular file: '/dev/null'" in str(refused.exception)
    run("evidence", "7", "-o", "then.zip", "--at", (START + H).isoformat())

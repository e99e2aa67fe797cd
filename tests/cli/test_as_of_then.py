"""A look back uses what was known then: the policy and mode in force, the order's words, the scans, the findings."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import UPS, H, Lab
from tracker.cli import main as main_
from tracker.config.load import load_text
from tracker.domain.errors import TrackerError
from tracker.domain.vocabulary import OrderStatus
from tracker.pipeline import state
from tracker.store import tables as t
from tracker.store.codec import EXACT, POLICY, dump_policy
from tracker.support import statements
from tracker.support.whatif import what_if
from tracker.upkeep import settle


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Twelve hours under `mirror`, with a parcel that was picked up; then `kingston-courier`, and all of it moves on."""
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, rest="{preset: mirror}")
        made.work()
        made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier", "address": "confirmed"})
        made.rest.ship("#7", made.clock(), [{"company": "UPS", "number": UPS}], items={})
        made.work()
        made.scan(made.ups, UPS, "I", "038")
        made.later(7)
        made.later(5)
        made.then = made.clock()  # type: ignore[attr-defined]
        made.later(1)
        renewed = made.yaml.replace("{preset: mirror}", "{preset: kingston-courier}").replace(
            "mode: write", "mode: write"
        )
        (tmp_path / "tracker.yaml").write_text(renewed)
        made.ctx.config = load_text(renewed)
        settle.settle_accounts(made.ctx)
        made.work()
        made.scan(made.ups, UPS, "X", "022")
        made.later(5)
        made.later(1)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("tracker.cli.common.system_now", made.clock)
        yield made


def told(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main_.cli, [*words, "--json"])
    assert result.exit_code == code, (result.output, result.exception)
    return json.loads(result.stdout)


def at(lab: Lab) -> str:
    then: datetime = lab.then  # type: ignore[attr-defined]
    return then.isoformat()


def test_the_policy_and_the_words_of_then_explain_what_was_decided_then(lab: Lab) -> None:
    (now,) = told("explain", "7")["orders"]
    (then,) = told("explain", "7", "--at", at(lab))["orders"]

    assert now["now"]["policy"].startswith("kingston-courier ")
    assert "owner:handed to a courier" in now["now"]["because"]
    assert (now["raw_status"], now["owner"]) == ("Dispatched/Shipped", "courier")
    assert then["now"]["policy"].startswith("mirror ")
    assert then["now"]["policy_kept"] is True
    assert then["now"]["because"] == ["owner:otherwise", "worker_writes_it_not"]
    assert (then["raw_status"], then["status"], then["version"]) == ("Processing", "processing", 1)
    assert [d["drift"] for d in then["now"]["drift"]] == ["shop_behind"]
    assert now["now"]["drift"] == []
    assert "known" not in then
    (found,) = then["findings"]
    assert (found["kind"], found["closed_at"]) == ("order_behind", None)
    assert found["evidence"]["carrier"] == "picked_up"
    assert {f["kind"] for f in now["findings"]} == {"order_behind", "attempt_failed"}
    (parcel,) = then["parcels"]
    assert (parcel["status"], len(parcel["scans"]), parcel["watched_by"]) == ("picked_up", 1, [])
    assert then["writes"] == []
    shown = CliRunner().invoke(main_.cli, ["explain", "7", "--at", at(lab), "--all"]).output
    assert "rules that fired for #7 in kart, then, policy mirror " in shown
    assert "The shop (kart) said that order #7 was processing since" in shown
    assert "shop_behind: shop processing, carrier picked_up, since " in shown


def test_the_pack_of_then_holds_nothing_newer(lab: Lab, tmp_path: Path) -> None:
    assert CliRunner().invoke(main_.cli, ["evidence", "7", "-o", "pack.zip", "--at", at(lab)]).exit_code == 0
    (order,) = json.loads(zipfile.ZipFile(tmp_path / "pack.zip").read("evidence.json"))["orders"]

    assert order["now"]["policy"].startswith("mirror ")
    text = json.dumps({key: value for key, value in order.items() if key != "payloads"})
    assert "attempt_failed" not in text
    assert "kingston" not in text
    assert (order["raw_status"], order["writes"]) == ("Processing", [])


def test_a_gate_of_then_answers_by_the_order_and_the_policy_of_then(lab: Lab) -> None:
    now = told("may", "7", "shipped")
    then = told("may", "7", "shipped", "--at", at(lab))
    assert (now["rule"], then["rule"], then["evidence"]["owner_rule"]) == ("already_there", "open", "owner:otherwise")
    assert told("may", "7", "cancelled", "--at", at(lab), "--reason", "x", code=1)["rule"] == "cancel_in_custody"
    assert lab.rows(t.statements) == []  # a question about then is no statement
    refused = CliRunner().invoke(main_.cli, ["may", "7", "shipped", "--at", "2026-01-01T00:00Z"])
    assert "was not known at 2026-01-01 00:00Z" in str(refused.exception)
    assert "must be a moment" in CliRunner().invoke(main_.cli, ["may", "7", "shipped", "--at", "soon"]).output
    for absurd in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert "must be a moment" in CliRunner().invoke(main_.cli, ["explain", "7", "--at", absurd]).output
    for words in (["explain", "7"], ["evidence", "7", "-o", "later.zip"], ["may", "7", "shipped"]):
        assert "is still to come" in CliRunner().invoke(main_.cli, [*words, "--at", "2999-01-01T00:00Z"]).output
    before = CliRunner().invoke(main_.cli, ["explain", "4711", "--at", "2026-01-01T00:00Z"])
    assert "nothing is known of '4711' as of 2026-01-01 00:00Z" in str(before.exception)
    with pytest.raises(TrackerError, match="not known at"):
        statements.may(lab.ctx, statements.find_order(lab.ctx, "7"), OrderStatus.SHIPPED, at=lab.clock() - 9999 * H)


def test_a_what_if_compares_with_the_policy_of_then(lab: Lab) -> None:
    same = load_text(lab.yaml)  # mirror, as it was then
    answer = what_if(lab.ctx, same, lab.then - 24 * H, store="kart")  # type: ignore[attr-defined]

    assert {row["change"] for row in answer.rows()} == {"no more: order_status shipped", "more: finding order_behind"}


def test_since_when_a_policy_is_in_force_is_kept_and_read_back(lab: Lab) -> None:
    uses = lab.rows(t.policy_uses, t.policy_uses.c.store == "kart")
    kart = lab.ctx.config.accounts["kart"]
    assert [use.since for use in uses] == [lab.then - 12 * H, lab.then + H]  # type: ignore[attr-defined]
    assert uses[1].hash == kart.policy_hash
    settle.settle_accounts(lab.ctx)
    assert lab.rows(t.policy_uses, t.policy_uses.c.store == "kart") == uses
    with lab.ctx.store.read() as connection:
        past = state.Past(connection)
        assert past.in_force(kart, lab.clock()).policy is kart.policy
        first = past.in_force(kart, lab.then - 99 * H)  # type: ignore[attr-defined]
        assert (first.policy.name, first.mode, first.kept) == ("mirror", "write", True)
        assert past.in_force(kart, lab.then).policy is first.policy  # type: ignore[attr-defined]


def test_a_policy_that_is_not_kept_whole_is_said_to_be_so(lab: Lab) -> None:
    first = lab.rows(t.policy_uses, t.policy_uses.c.store == "kart")[0]
    lab.change(t.policies.update().where(t.policies.c.hash == first.hash).values(body={}))
    (then,) = told("explain", "7", "--at", at(lab))["orders"]
    assert (then["now"]["policy_kept"], then["now"]["policy"].split()[0]) == (False, "kingston-courier")
    shown = CliRunner().invoke(main_.cli, ["explain", "7", "--at", at(lab)]).output
    assert "which is not kept whole: these are the rules of now" in shown


def test_a_version_before_kept_no_uses_the_first_is_as_old_as_its_policy(lab: Lab) -> None:
    lab.change(t.policy_uses.delete())
    hashed = lab.ctx.config.accounts["kart"].policy_hash
    lab.change(t.policies.update().where(t.policies.c.hash == hashed).values(first_seen_at=lab.then))  # type: ignore[attr-defined]
    settle.settle_accounts(lab.ctx)

    (use,) = lab.rows(t.policy_uses, t.policy_uses.c.store == "kart")
    assert (use.since, use.hash) == (lab.then, hashed)  # type: ignore[attr-defined]


def test_a_policy_comes_back_from_the_table_as_it_was(lab: Lab) -> None:
    kart = lab.ctx.config.accounts["kart"]
    row = lab.one(t.policies, t.policies.c.hash == kart.policy_hash)

    assert POLICY.validate_python(row.body[EXACT]) == kart.policy
    assert POLICY.validate_python(dump_policy(replace(kart.policy, language="de"))).language == "de"

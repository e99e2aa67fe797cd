"""The answer about an order in sentences: of odd orders and stores, of numbers, and of what nobody knows."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.lab import DHL, UPS, USPS, H, Lab, detail, tracker_body
from tracker.cli import main as main_
from tracker.pipeline import gone
from tracker.store import tables as t
from tracker.support.explain import explanation

LOOSE = "9400111206206406263009"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("answer")
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{folder}/db/x.db", folder, stack, rest="{preset: kingston-courier, stuck_after: 3d}")
        made.folder = folder  # type: ignore[attr-defined]
        made.work()
        for name in ("#7", "#8"):
            made.rest.place(name, made.clock(), status="Processing", delivery={"method": "courier"})
        made.rest.ship("#7", made.clock(), [{"company": "UPS", "number": UPS}], items={})
        made.order("#7", DHL, company="DHL")
        made.order("#9", "ODD77", company="Nobody knows it")
        made.order("#10", "see the mail", company="USPS")
        made.order("#11", USPS)
        made.shop.orders["#11"]["test"] = True
        made.order("#12", LOOSE[:-1] + "8")
        made.work()
        made.scan(made.ups, UPS, "I", "038")
        made.later(7)
        made.rest.set("#7", "seller", status="Delivered")
        made.post_raw("easypost", tracker_body(LOOSE, detail("in_transit", "2026-11-02T09:00:00Z")))
        made.work()
        made.later(26)
        with made.ctx.store.write() as connection:
            row = connection.execute(t.orders.select().where(t.orders.c.number == "#12")).one()
            gone.leave(made.ctx, connection, made.ctx.config.accounts["shop"], row, made.clock())
        made.work()
        (folder / "tracker.yaml").write_text(made.yaml)
        yield made


def said(lab: Lab, what: str) -> str:
    return "\n".join(explanation(lab.ctx, what)["answer"])


def test_each_odd_order_has_its_own_answer(lab: Lab) -> None:
    eight = said(lab, "8")
    assert "has no parcel with a tracking number, so no carrier can tell anything of it" in eight
    assert "We have written nothing to order #8." in eight
    assert "Whose number ODD77 is nobody knows yet" in said(lab, "9")
    assert 'what stands there is "see the mail"' in said(lab, "10")
    assert "was placed to try the shop, so nothing is ever written to it" in said(lab, "11")
    gone_ = said(lab, "12")
    assert "The shop holds order #12 no more since 2026-11-03" in gone_
    assert "do not contradict" not in gone_
    seven = said(lab, UPS)
    assert seven.startswith(f"The number {UPS} belongs to order #7 in kart.")
    assert "The shop (kart) says that order #7 is delivered since" in seven
    assert f"The carrier says that ups {UPS} is picked up since 2026-11-02 08:00Z" in seven
    assert "no news since 2026-11-02 08:00Z (asked " in seven
    assert "What would heal it: a person decides between `tracker record '#7' proof --store kart`" in seven
    then = "\n".join(explanation(lab.ctx, UPS, at=lab.clock())["answer"])
    assert f"The carrier said that ups {UPS} was picked up since 2026-11-02 08:00Z" in then
    assert "ups is asked about it again at 2026-11-03" in seven


def test_two_orders_of_a_number_one_that_nobody_knows_and_a_parcel_without_an_order(lab: Lab) -> None:
    assert '2 orders fit "7": #7 in kart (delivered), #7 in shop (shipped); each is told by itself.' in said(lab, "7")
    only = explanation(lab.ctx, "7", stores=frozenset({"shop"}))
    assert ([o["store"] for o in only["orders"]], "kart" in "".join(only["answer"])) == (["shop"], False)
    assert explanation(lab.ctx, LOOSE, stores="shop")["answer"][0].startswith("Nothing is known of")
    assert said(lab, "nix 5") == (
        'Nothing is known of "nix 5": no store that is read tells of such an order, and no carrier of such a number.'
    )
    assert "; as a tracking number it could be of ups." in said(lab, "1ZR589400357568494")
    loose = said(lab, LOOSE)
    assert f"No order that is read names the parcel usps {LOOSE}." in loose
    assert "is in transit since 2026-11-02 09:00Z" in loose
    before = explanation(lab.ctx, "7", at=lab.clock() - 9999 * H)["answer"]
    assert before[0].endswith(f"of such a number, as of {lab.clock() - 9999 * H:%Y-%m-%d %H:%M}Z.")


def test_what_holds_writes_is_told_with_what_would_let_them_go(lab: Lab) -> None:
    lab.change(t.accounts.update().where(t.accounts.c.name == "kart").values(paused_at=lab.clock()))
    assert "All writes to kart are paused since 2026-11-03" in said(lab, "8")
    lab.change(t.accounts.update().values(paused_at=None, suspended_reason="HTTP 401"))
    assert "Nothing is read from or written to kart" in said(lab, "8")
    nobody = f"Nobody is asked about ups {UPS} now: ups is "
    assert nobody + "suspended (`tracker status` says why)." in said(lab, UPS)
    lab.change(t.accounts.update().values(paused_at=lab.clock(), suspended_reason=None))
    assert nobody + "paused, until `tracker resume ups`." in said(lab, UPS)
    lab.change(t.accounts.update().values(paused_at=None))
    lab.change(t.accounts.update().values(suspended_reason=None))
    o = t.outbox.c
    sent = next(row for row in lab.rows(t.outbox, o.store == "kart") if row.state == "sent")
    for state, words in (
        ("refused", f"`tracker outbox retry {sent.id}` tries that write again"),
        ("held", "`tracker resume ups` releases it"),
    ):
        lab.change(t.outbox.update().where(o.id == sent.id).values(state=state, held_by="ups/ups", error='no "way"'))
        assert words in said(lab, "7")
    lab.change(t.outbox.update().where(o.id == sent.id).values(state="sent", held_by=None, error=None))
    account = lab.ctx.config.accounts.pop("kart")
    assert "The store kart is not in the configuration" in said(lab, "8")
    lab.ctx.config.accounts["kart"] = account


def test_the_installed_command_answers_first_and_shows_all_only_when_asked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lab.folder  # type: ignore[attr-defined]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tracker.cli.common.system_now", lab.clock)

    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main_.cli, list(words))
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    asked = [str(Path(sys.executable).with_name("tracker")), "explain", "8"]
    told = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout
    assert told.startswith(
        "The shop (kart) says that order #8 is processing since 2026-11-02 08:00Z, set by the shop itself"
    )
    assert "no_tracked_parcel" in told  # beside its sentence
    assert "decisions, newest first" not in told
    assert "placed 2026-11-02" not in told
    everything = run("explain", "8", "--all")
    assert "decisions, newest first" in everything
    assert "what the shop said, newest first" in everything
    shown = run("show", "8")
    assert shown.startswith("The shop (kart) says that order #8 is processing")
    assert "no_tracked_parcel" not in shown
    js = json.loads(run("explain", "8", "--json"))
    assert js["answer"] == js["orders"][0]["answer"]
    assert js["rules"] == js["orders"][0]["rules"]
    assert js["rules"][0]["rule"].startswith("owner:")
    run("evidence", "8", "-o", "eight.zip")
    assert b"The shop (kart) says that order #8 is processing" in zipfile.ZipFile("eight.zip").read("index.html")
    assert json.loads(run("show", "8", "--json"))["answer"] == js["where"]
    drift = run("drift", code=1)
    assert "1 order disagrees with what its carrier says (1 shop ahead). First: The shop says more of order #7" in drift
    assert "What heals it: a person decides between" in drift
    gate = run("may", "7", "cancelled", "--reason", "x", "--store", "kart", code=1)
    assert (
        "A carrier has, or had, a parcel of order #7, so it is not cancelled before that is back; the shop says delivered"
        in gate
    )
    observed = Path("other.yaml")
    observed.write_text(
        lab.yaml.replace("preset: kingston-courier", "preset: mirror").replace("mode: write", "mode: observe")
    )
    assert "is only observed: `mode: write` in its configuration" in run("explain", "8", "-c", "other.yaml")
    changed = run("whatif", "--policy", "other.yaml", "--since", "3650d", code=1)
    assert changed.startswith("It would change 1 of ")
    assert "Nothing would change: of " in run("whatif", "--policy", "tracker.yaml")

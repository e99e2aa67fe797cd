"""A parcel that no account watches: told, given to who comes later, and left by who goes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from tests.lab import START, UPS, Lab, Make, detail, tracker_body
from tracker.cli.main import cli
from tracker.pipeline import unwatched, whose
from tracker.store import tables as t
from tracker.support import lists
from tracker.support.explain import overview
from tracker.upkeep import maintenance, settle

FEDEX, HAMSTER = "794644790131", "H1234567890123"


def only(lab: Lab, *names: str, tracks: dict[str, tuple[str, ...]] | None = None) -> None:
    """Have only these carrier accounts in the configuration, as a reload does."""
    known = lab.daemon_config
    kept = {name: a for name, a in known.accounts.items() if a.is_store or name in names}
    for name, carriers in (tracks or {}).items():
        kept[name] = replace(kept[name], tracks=carriers)
    lab.ctx.config = replace(known, accounts=kept)
    settle.settle_accounts(lab.ctx)


def parcels_of_nobody(make_lab: Make, *names: str) -> Lab:
    lab: Lab = make_lab()
    lab.daemon_config = lab.ctx.config
    only(lab, *(names or ("ups",)))
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.order("#2", FEDEX, company="FedEx")
    lab.order("#3", HAMSTER, company="  Hamster\tGermany ")
    lab.work()
    return lab


def not_covered(lab: Lab, *, open_: bool = True) -> list[Any]:
    f = t.findings.c
    which = f.closed_at.is_(None) if open_ else f.closed_at.isnot(None)
    return lab.rows(t.findings, f.kind == "carrier_not_covered", which)


def test_a_carrier_that_no_account_covers_is_told_when_its_parcel_is_linked(make_lab: Make) -> None:
    lab = parcels_of_nobody(make_lab)
    fedex, hamster = not_covered(lab)

    assert (fedex.store, fedex.subject, fedex.opened_at) == ("shop", "store/shop/carrier/fedex", START)
    assert fedex.evidence == {
        "store": "shop", "carrier": "fedex", "parcels": "1", "since": f"{START:%Y-%m-%d %H:%M}Z",
        "would_cover": "fedex, easypost (any carrier), seventeen_track (any carrier), shiprocket (any carrier)",
    }  # fmt: skip
    assert (
        fedex.proposal
        == "add an account that uses fedex or easypost or seventeen_track or shiprocket; then reload (SIGHUP)"
    )
    assert (hamster.evidence["company"], hamster.evidence["would_cover"]) == (
        "Hamster Germany",
        "easypost (any carrier), seventeen_track (any carrier), shiprocket (any carrier)",
    )
    assert "stores.shop.carriers: {'Hamster Germany': CARRIER}" in hamster.proposal
    assert [(row["account"], row["open"]) for row in lists.freshness(lab.ctx)] == [
        ("ups", 1), ("nobody (shop: fedex)", 1), ("nobody (shop: Hamster Germany)", 1),
    ]  # fmt: skip
    (order,) = overview(lab.ctx, "#2")["orders"]
    assert order["parcels"][0]["watched_by"] == []


def test_how_many_it_are_is_kept_up_and_one_that_a_person_dismissed_stays_dismissed(make_lab: Make) -> None:
    lab = parcels_of_nobody(make_lab)
    lab.order("#4", "794644790142", company="FedEx")
    lab.work()
    assert [row.evidence["parcels"] for row in not_covered(lab)] == ["1", "1"]
    maintenance.run_monitors(lab.ctx)
    assert [row.evidence["parcels"] for row in not_covered(lab)] == ["2", "1"]

    lists.close(lab.ctx, [row.id for row in not_covered(lab)], by="ada", reason="we do not track those")
    lab.order("#5", "794644790153", company="FedEx")
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert not_covered(lab) == []


def test_a_parcel_that_nobody_asked_about_is_never_blamed_on_its_carrier(make_lab: Make) -> None:
    lab = parcels_of_nobody(make_lab)
    lab.change(t.watches.update().values(register_at=None))  # it would be renewed by the machine's clock
    for _ in range(12):
        lab.later(4 * 24)
        maintenance.run_monitors(lab.ctx)

    kinds = {(row.kind, (row.evidence.get("parcel") or "").partition(" ")[0]) for row in lab.rows(t.findings)}
    assert kinds >= {("label_never_scanned", "ups"), ("carrier_not_covered", "")}
    assert {carrier for _, carrier in kinds} == {"ups", ""}
    assert not_covered(lab) == []  # after a month nobody would have asked any more
    assert len(not_covered(lab, open_=False)) == 2


@pytest.mark.parametrize("at_once", [1, whose.AT_ONCE])
def test_an_account_that_comes_later_watches_what_is_open_and_one_that_goes_leaves_it_to_nobody(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(unwatched, "AT_ONCE", at_once)
    monkeypatch.setattr(whose, "AT_ONCE", at_once)
    lab = parcels_of_nobody(make_lab)
    lab.easypost.carriers[FEDEX] = "FedEx"
    lab.scan(lab.easypost, FEDEX, "in_transit", "departed_facility")
    only(lab, "ups", "easypost")
    assert not_covered(lab) == []
    assert {row.closed_by for row in not_covered(lab, open_=False)} == {"watch"}
    lab.later(1)
    assert lab.parcel(FEDEX).status == "in_transit"
    assert {row.account for row in lab.rows(t.watches)} == {"ups", "easypost"}

    only(lab, "easypost")  # any carrier: it takes over what the other one leaves
    assert not_covered(lab) == []
    assert {row.account for row in lab.rows(t.watches)} == {"easypost"}
    only(lab)
    assert {row.subject for row in not_covered(lab)} == {
        "store/shop/carrier/fedex", "store/shop/carrier/ups", "store/shop/carrier/Hamster Germany",
    }  # fmt: skip
    assert lab.rows(t.watches) == []
    only(lab, "ups")
    assert {row.subject for row in not_covered(lab)} == {
        "store/shop/carrier/fedex",
        "store/shop/carrier/Hamster Germany",
    }


def test_a_start_without_a_change_gives_nothing_to_nobody(make_lab: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = parcels_of_nobody(make_lab)
    monkeypatch.setattr(whose, "walk", lambda ctx, **_: pytest.fail("nothing changed"))
    settle.settle_accounts(lab.ctx)
    maintenance.run_monitors(lab.ctx)

    monkeypatch.undo()
    lab.ctx.config = lab.daemon_config  # a batch that still had the old configuration linked a parcel
    lab.change(t.accounts.update().values(speaks="*"))
    maintenance.run_monitors(lab.ctx)
    assert not_covered(lab) == []


def test_an_account_that_tells_of_a_parcel_that_is_not_its_own_watches_it(make_lab: Make) -> None:
    lab = parcels_of_nobody(make_lab, "ups", "easypost")
    assert not_covered(lab) == []
    only(lab, "ups", "easypost", tracks={"easypost": ("usps",)})
    lab.order("#6", "794644790164", company="FedEx")
    lab.work()
    (fedex,) = not_covered(lab)
    assert fedex.proposal.startswith(
        "add fedex to accounts.easypost.tracks; or add an account that uses fedex or easypost"
    )

    lab.post_raw(
        "easypost", tracker_body("794644790164", detail("in_transit", "2026-11-02T07:00:00Z"), carrier="FedEx")
    )
    lab.work()
    maintenance.run_monitors(lab.ctx)
    assert not_covered(lab) == []


def test_check_says_which_parcels_nobody_watches_or_would_watch(make_lab: Make) -> None:
    lab = parcels_of_nobody(make_lab)

    def notes() -> list[str]:
        with lab.ctx.store.read() as connection:
            return unwatched.left(lab.ctx, connection)

    fedex, hamster = notes()
    assert fedex.startswith("shop: 1 of fedex since 2026-11-02 08:00Z are watched by nobody; add an account that uses")
    assert hamster.startswith("shop: 1 of 'Hamster Germany' since")
    lab.ctx.config = replace(
        lab.daemon_config, accounts={n: a for n, a in lab.daemon_config.accounts.items() if n != "ups"}
    )
    fedex, _, ups = notes()
    assert "by this file an account covers them" in fedex
    assert ups == "accounts.ups is not in this file: it watches 1 open parcels, which lose it"
    store = lab.daemon_config.accounts["shop"]
    words = store.source.settings.model_copy(update={"carriers": {"Own Van": "acme", "Brown": "ups"}})
    store.source.settings = words
    assert unwatched.named(lab.ctx.config) == []  # easypost tells of any
    only(lab, "ups")
    assert unwatched.named(lab.ctx.config) == ["stores.shop.carriers: 'Own Van' is acme, which no account covers"]


def shown(lab: Lab, what: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what `tracker show` prints, without the breaks of its lines."""
    monkeypatch.setattr("tracker.cli.look.glance_config", lambda file: None)
    monkeypatch.setattr("tracker.cli.look.open_context", lambda config: lab.ctx)
    done = CliRunner().invoke(cli, ["show", what], env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_show_says_who_watches_what_was_typed_and_what_is_doubtful(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = parcels_of_nobody(make_lab)
    wrong = UPS[:-1] + "2"
    lab.order("#7", "1Z-R58939-0357567122", "picked up in store", company="UPS")
    lab.work()
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(suspended_reason="wrong key"))

    assert "watched by nobody: no account covers its carrier" in shown(lab, "#2", monkeypatch)
    told = shown(lab, "#7", monkeypatch)
    assert f"parcel ups {wrong} (typed 1Z-R58939-0357567122) doubtful: its check digit is wrong" in told
    assert "no tracking number: picked up in store" in told
    assert "asked: ups for shop (the only account of ups): not_found" in told
    assert "nobody may ask: wrong key" in told
    (order,) = overview(lab.ctx, "#7")["orders"]
    (parcel,) = order["parcels"]
    assert (parcel["typed"], parcel["doubtful"], parcel["watched_by"][0]["suspended"]) == (
        "1Z-R58939-0357567122", True, "wrong key",
    )  # fmt: skip
    assert order["fulfilments"][0]["unreadable"] == ["picked up in store"]
    assert overview(lab.ctx, "#1")["orders"][0]["parcels"][0]["doubtful"] is False

"""What is taken back, disputed, watched by nobody, typed wrongly or used again: the cases, and others of each kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.cases.plays import play
from tests.lab import START, UPS, USPS, H, Lab, detail, tracker_body
from tracker.cli.main import cli
from tracker.pipeline import covered, heal, ops
from tracker.pipeline.explain import overview
from tracker.store import tables as t

D = timedelta(days=1)
FEDEX, HERMES = "794644790131", "H1234567890123"
MakeLab = Any


@pytest.mark.parametrize("name", ["withdrawn", "disputed", "unwatched"])
def test_the_case_ends_as_it_must(name: str) -> None:
    play(name)


# watched by nobody


def only(lab: Lab, *names: str, tracks: dict[str, tuple[str, ...]] | None = None) -> None:
    """Have only these carrier accounts in the configuration, as a reload does."""
    known = lab.daemon_config
    kept = {name: a for name, a in known.accounts.items() if a.is_store or name in names}
    for name, carriers in (tracks or {}).items():
        kept[name] = replace(kept[name], tracks=carriers)
    lab.world.config = replace(known, accounts=kept)
    heal.settle_accounts(lab.world)


def unwatched(make_lab: MakeLab, *names: str) -> Lab:
    lab: Lab = make_lab()
    lab.daemon_config = lab.world.config
    only(lab, *(names or ("ups",)))
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.order("#2", FEDEX, company="FedEx")
    lab.order("#3", HERMES, company="  Hermes\tGermany ")
    lab.work()
    return lab


def not_covered(lab: Lab, *, open_: bool = True) -> list[Any]:
    f = t.findings.c
    which = f.closed_at.is_(None) if open_ else f.closed_at.isnot(None)
    return lab.rows(t.findings, f.kind == "carrier_not_covered", which)


def test_a_carrier_that_no_account_covers_is_told_when_its_parcel_is_linked(make_lab: MakeLab) -> None:
    lab = unwatched(make_lab)
    fedex, hermes = not_covered(lab)

    assert (fedex.store, fedex.subject, fedex.opened_at) == ("shop", "store/shop/carrier/fedex", START)
    assert fedex.evidence == {
        "store": "shop", "carrier": "fedex", "parcels": "1", "since": f"{START:%Y-%m-%d %H:%M}Z",
        "would_cover": "fedex, easypost (any carrier)",
    }  # fmt: skip
    assert fedex.proposal == "add an account that uses fedex or easypost; then reload (SIGHUP)"
    assert (hermes.evidence["company"], hermes.evidence["would_cover"]) == ("Hermes Germany", "easypost (any carrier)")
    assert "stores.shop.carriers: {'Hermes Germany': CARRIER}" in hermes.proposal
    assert [(row["account"], row["open"]) for row in ops.freshness(lab.world)] == [
        ("ups", 1), ("nobody (shop: fedex)", 1), ("nobody (shop: Hermes Germany)", 1),
    ]  # fmt: skip
    (order,) = overview(lab.world, "#2")["orders"]
    assert order["parcels"][0]["watched_by"] == []


def test_how_many_it_are_is_kept_up_and_one_that_a_person_dismissed_stays_dismissed(make_lab: MakeLab) -> None:
    lab = unwatched(make_lab)
    lab.order("#4", "794644790142", company="FedEx")
    lab.work()
    assert [row.evidence["parcels"] for row in not_covered(lab)] == ["1", "1"]
    heal.look_around(lab.world)
    assert [row.evidence["parcels"] for row in not_covered(lab)] == ["2", "1"]

    ops.close(lab.world, [row.id for row in not_covered(lab)], by="ada", reason="we do not track those")
    lab.order("#5", "794644790153", company="FedEx")
    lab.work()
    heal.look_around(lab.world)
    assert not_covered(lab) == []


def test_a_parcel_that_nobody_asked_about_is_never_blamed_on_its_carrier(make_lab: MakeLab) -> None:
    lab = unwatched(make_lab)
    lab.change(t.trackings.update().values(register_at=None))  # it would be renewed by the machine's clock
    for _ in range(12):
        lab.later(4 * 24)
        heal.look_around(lab.world)

    kinds = {(row.kind, (row.evidence.get("parcel") or "").partition(" ")[0]) for row in lab.rows(t.findings)}
    assert kinds >= {("label_never_scanned", "ups"), ("carrier_not_covered", "")}
    assert {carrier for _, carrier in kinds} == {"ups", ""}
    assert not_covered(lab) == []  # after a month nobody would have asked any more
    assert len(not_covered(lab, open_=False)) == 2


@pytest.mark.parametrize("at_once", [1, covered.AT_ONCE])
def test_an_account_that_comes_later_watches_what_is_open_and_one_that_goes_leaves_it_to_nobody(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(covered, "AT_ONCE", at_once)
    lab = unwatched(make_lab)
    lab.easypost.carriers[FEDEX] = "FedEx"
    lab.scan(lab.easypost, FEDEX, "in_transit", "departed_facility")
    only(lab, "ups", "easypost")
    assert not_covered(lab) == []
    assert {row.closed_by for row in not_covered(lab, open_=False)} == {"watch"}
    lab.later(1)
    assert lab.parcel(FEDEX).status == "in_transit"
    assert {row.account for row in lab.rows(t.trackings)} == {"ups", "easypost"}

    only(lab, "easypost")  # any carrier: it takes over what the other one leaves
    assert not_covered(lab) == []
    assert {row.account for row in lab.rows(t.trackings)} == {"easypost"}
    only(lab)
    assert {row.subject for row in not_covered(lab)} == {
        "store/shop/carrier/fedex", "store/shop/carrier/ups", "store/shop/carrier/Hermes Germany",
    }  # fmt: skip
    assert lab.rows(t.trackings) == []
    only(lab, "ups")
    assert {row.subject for row in not_covered(lab)} == {
        "store/shop/carrier/fedex",
        "store/shop/carrier/Hermes Germany",
    }


def test_a_start_without_a_change_gives_nothing_to_nobody(make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = unwatched(make_lab)
    monkeypatch.setattr(covered, "watch", lambda world: pytest.fail("nothing changed"))
    heal.settle_accounts(lab.world)
    heal.look_around(lab.world)

    monkeypatch.undo()
    lab.world.config = lab.daemon_config  # a batch that still had the old configuration linked a parcel
    lab.change(t.accounts.update().values(speaks="*"))
    heal.look_around(lab.world)
    assert not_covered(lab) == []


def test_an_account_that_tells_of_a_parcel_that_is_not_its_own_watches_it(make_lab: MakeLab) -> None:
    lab = unwatched(make_lab, "ups", "easypost")
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
    heal.look_around(lab.world)
    assert not_covered(lab) == []


def test_check_says_which_parcels_nobody_watches_or_would_watch(make_lab: MakeLab) -> None:
    lab = unwatched(make_lab)

    def notes() -> list[str]:
        with lab.world.store.read() as connection:
            return covered.left(lab.world, connection)

    fedex, hermes = notes()
    assert fedex.startswith("shop: 1 of fedex since 2026-11-02 08:00Z are watched by nobody; add an account that uses")
    assert hermes.startswith("shop: 1 of 'Hermes Germany' since")
    lab.world.config = replace(
        lab.daemon_config, accounts={n: a for n, a in lab.daemon_config.accounts.items() if n != "ups"}
    )
    fedex, _, ups = notes()
    assert "by this file an account covers them" in fedex
    assert ups == "accounts.ups is not in this file: it watches 1 open parcels, which lose it"
    store = lab.daemon_config.accounts["shop"]
    words = store.source.settings.model_copy(update={"carriers": {"Own Van": "acme", "Brown": "ups"}})
    store.source.settings = words
    assert covered.named(lab.world.config) == []  # easypost tells of any
    only(lab, "ups")
    assert covered.named(lab.world.config) == ["stores.shop.carriers: 'Own Van' is acme, which no account covers"]


def shown(lab: Lab, what: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what `tracker show` prints, without the breaks of its lines."""
    monkeypatch.setattr("tracker.cli.look.read_config", lambda file: None)
    monkeypatch.setattr("tracker.cli.look.open_world", lambda config: lab.world)
    done = CliRunner().invoke(cli, ["show", what], env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_show_says_who_watches_what_was_typed_and_what_is_doubtful(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = unwatched(make_lab)
    wrong = UPS[:-1] + "2"
    lab.order("#7", "1Z-R58939-0357567122", "picked up in store", company="UPS")
    lab.work()
    lab.change(t.accounts.update().where(t.accounts.c.name == "ups").values(parked_reason="wrong key"))

    assert "watched by nobody: no account covers its carrier" in shown(lab, "#2", monkeypatch)
    told = shown(lab, "#7", monkeypatch)
    assert f"parcel ups {wrong} (typed 1Z-R58939-0357567122) doubtful: its check digit is wrong" in told
    assert "no tracking number: picked up in store" in told
    assert "watched by ups: not_found" in told
    assert "nobody may ask: wrong key" in told
    (order,) = overview(lab.world, "#7")["orders"]
    (parcel,) = order["parcels"]
    assert (parcel["typed"], parcel["doubtful"], parcel["watched_by"][0]["suspended"]) == (
        "1Z-R58939-0357567122", True, "wrong key",
    )  # fmt: skip
    assert order["fulfilments"][0]["unreadable"] == ["picked up in store"]
    assert overview(lab.world, "#1")["orders"][0]["parcels"][0]["doubtful"] is False


# numbers as people type them


def test_a_number_whose_check_digit_is_wrong_is_asked_about_and_doubted_until_the_carrier_knows_it(
    make_lab: MakeLab,
) -> None:
    lab: Lab = make_lab()
    lab.work()
    wrong = UPS[:-1] + "2"
    lab.order("#1", wrong, company="UPS")
    lab.order("#2", UPS, company="UPS")
    lab.work()
    (doubt,) = lab.rows(t.findings, t.findings.c.kind == "tracking_number_doubtful")
    assert (doubt.subject, doubt.closed_at) == (f"shop/#1/ups/{wrong}", None)

    lab.scan(lab.ups, wrong, "I", "038")
    lab.later(7)
    assert lab.parcel(wrong).status == "picked_up"
    assert "tracking_number_doubtful" not in lab.open_findings()


def test_that_a_carrier_answers_with_an_error_that_it_does_not_know_a_number_is_news_of_its_order(
    make_lab: MakeLab,
) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", "1234567890", company="DHL")  # DHL answers 404: no payload tells of it
    lab.work()

    assert {row.tracking_state for row in lab.rows(t.trackings)} == {"not_found"}
    assert "tracking_number_doubtful" in lab.open_findings()


def test_what_is_no_number_is_asked_of_nobody_and_told_until_it_is_mended(make_lab: MakeLab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", "picked up in store", "n/a", company="")
    lab.work()
    (found,) = lab.rows(t.findings)
    assert (found.kind, found.store) == ("tracking_number_unreadable", "shop")
    assert found.evidence["typed"] == "picked up in store"
    assert lab.rows(t.shipments) == []

    lab.shop.retrack("#1", [{"company": "UPS", "number": UPS}])
    lab.work()
    assert lab.open_findings() == set()
    assert lab.parcel(UPS).linked


def test_a_number_that_can_be_part_of_no_address_is_told_and_not_asked_about_again(make_lab: MakeLab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.change(t.shipments.update().values(number=".."))  # as an older version stored it
    lab.change(t.trackings.update().values(tracking_state="pending", next_poll_at=lab.clock()))
    asked = lab.ups.calls["track"]
    lab.work("poll")
    row = lab.one(t.trackings)

    assert (row.tracking_state, row.next_poll_at, lab.ups.calls["track"]) == ("invalid_number", None, asked)
    assert lab.one(t.orders).reconcile_at == lab.clock()  # its order is looked at again


# an end that was not one


def test_the_customer_hears_of_a_delivery_once_whatever_becomes_of_it(make_lab: MakeLab, tmp_path: Path) -> None:
    sink = tmp_path / "notices.jsonl"
    lab: Lab = make_lab(
        yaml=f"notices: {{file: {sink}}}\n", store="mode: write, policy: {preset: mirror, notices: [delivered]}"
    )
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038")
    wrong = lab.scan(lab.ups, UPS, "D", "011", hours=1)
    lab.later(7)
    assert (lab.parcel(UPS).closed_at is None, sink.read_bytes().count(b"\n")) == (False, 1)
    lab.ups.history[UPS].remove(wrong)
    lab.later(13)
    lab.later(1)
    parcel = lab.parcel(UPS)
    assert (parcel.status, parcel.closed_at) == ("picked_up", None)
    looked = lab.one(t.trackings).next_poll_at - lab.clock()
    assert 4 * H <= looked <= 4.4 * H

    lab.scan(lab.ups, UPS, "D", "011", hours=2)
    lab.later(7)
    assert (lab.parcel(UPS).status, lab.parcel(UPS).closed_at is None) == ("delivered", False)
    assert sink.read_bytes().count(b"\n") == 1


def test_a_disputed_parcel_is_neither_closed_nor_expired_while_it_is_looked_at(make_lab: MakeLab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()
    lab.change(t.trackings.update().values(register_at=None))
    lab.scan(lab.ups, UPS, "I", "038")
    lab.scan(lab.ups, UPS, "D", "011", hours=1)
    lab.later(7)
    lab.scan(lab.ups, UPS, "I", "005", hours=3)
    lab.later(13)
    parcel = lab.parcel(UPS)
    assert (parcel.status, parcel.summary["disputed"], parcel.closed_at) == ("delivered", True, None)

    lab.change(t.shipments.update().values(starts_at=START - 40 * D))  # it was under way for long
    looks = lab.ups.calls["track"]
    for _ in range(10):
        lab.later(26)
    assert lab.ups.calls["track"] - looks == 10
    assert lab.one(t.trackings).tracking_state == "active"
    lab.later(30 * 24)
    lab.later(1)
    assert lab.one(t.trackings).tracking_state == "expired"  # after a month without news
    assert lab.ups.calls["track"] - looks == 11


# a number that is used again


def tell(lab: Lab, *steps: tuple[float, str, str], city: str = "RENO", number: str = USPS) -> None:
    """Let EasyPost tell of a parcel: scans at some days after the start, and a webhook with its whole history."""
    for days, status, code in steps:
        lab.scan(lab.easypost, number, status, code, hours=24 * days - (lab.clock() - START) / H, city=city)
    lab.post(lab.easypost.event(number))
    lab.work()


LABEL, PICKUP = ("pre_transit", "label_created"), ("in_transit", "received_at_origin_facility")
MOVES, DRIVES, DELIVERED = (
    ("in_transit", "departed_facility"), ("out_for_delivery", "out_for_delivery"), ("delivered", "arrived_at_destination"),
)  # fmt: skip


def delivered(make_lab: MakeLab) -> Lab:
    """Return a lab whose order #1 was delivered on its second day; it is the 21st day."""
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", USPS)
    lab.work()
    tell(lab, (0, *LABEL), (0.2, *PICKUP))
    lab.clock.move_to(START + 2 * D)
    tell(lab, (1, *DRIVES))
    tell(lab, (1.2, *DELIVERED), city="PARAMUS")
    assert lab.writes()[-1] == ("#1", "DELIVERED")
    lab.clock.move_to(START + 20 * D)
    lab.work()
    return lab


def generations(lab: Lab, number: str = USPS) -> list[tuple[int, str, bool]]:
    return [(r.generation, r.status, r.linked) for r in lab.rows(t.shipments, t.shipments.c.number == number)]


@pytest.mark.parametrize("first", [LABEL, PICKUP])
def test_a_number_that_is_used_again_begins_anew_before_the_shop_tells_of_it(
    make_lab: MakeLab, first: tuple[str, str]
) -> None:
    lab = delivered(make_lab)
    old, writes = lab.parcel(USPS), lab.writes()
    seen = len(lab.rows(t.decisions))
    tell(lab, (19.9, *first))
    assert [(g, linked) for g, _, linked in generations(lab)] == [(1, True), (2, False)]
    tell(lab, (20, *MOVES), city="BOISE")
    assert lab.rows(t.shipments)[0] == old
    assert lab.open_findings() == set()
    assert (lab.writes(), len(lab.rows(t.decisions))) == (writes, seen)

    lab.order("#2", USPS)
    lab.work()
    assert generations(lab) == [(1, "delivered", True), (2, "in_transit", True)]
    assert lab.writes() == [*writes, ("#2", "IN_TRANSIT")]
    lab.clock.move_to(START + 22 * D)
    tell(lab, (21.9, *DELIVERED), city="ELKO")
    assert lab.writes() == [*writes, ("#2", "IN_TRANSIT"), ("#2", "DELIVERED")]
    assert lab.rows(t.shipments)[0].summary == old.summary


def test_scans_that_came_before_the_one_that_shows_it_go_to_the_new_parcel_with_it(make_lab: MakeLab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1", UPS, company="UPS")
    lab.work()

    def alert(days: float, kind: str, code: str, city: str) -> None:
        scan = lab.scan(lab.ups, UPS, kind, code, hours=24 * days - (lab.clock() - START) / H, city=city)
        lab.post(lab.ups.alert(UPS, scan))  # a shared secret vouches for it: a poll confirms
        lab.work()

    alert(0, "I", "038", "RENO")
    lab.clock.move_to(START + 2 * D)
    alert(1, "D", "011", "PARAMUS")
    old = lab.parcel(UPS).summary
    assert (old["status"], lab.writes()[-1]) == ("delivered", ("#1", "DELIVERED"))
    lab.clock.move_to(START + 20 * D)
    lab.work()
    alert(19.5, "I", "005", "BOISE")  # not enough to know
    alert(19.7, "I", "021", "ELKO")
    assert generations(lab, UPS) == [(1, "out_for_delivery", True)]
    assert "correction_after_delivered" in lab.open_findings()

    alert(19.1, "I", "038", "FARGO")
    assert generations(lab, UPS) == [(1, "delivered", True), (2, "out_for_delivery", False)]
    assert lab.rows(t.shipments)[0].summary == old
    lab.summaries_are_whole()
    assert len(lab.rows(t.scans)) == 5
    assert "correction_after_delivered" in lab.open_findings()  # a person knows by now that it was none


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_a_history_of_two_parcels_is_two_journeys_however_it_comes(make_lab: MakeLab, parts: int) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.clock.move_to(START + 30 * D)
    steps = [
        (0, *LABEL), (0.2, *PICKUP), (1, *DRIVES), (1.2, *DELIVERED), (20, *LABEL), (20.2, *PICKUP), (21, *DRIVES),
    ]  # fmt: skip
    size = -(-len(steps) // parts)
    for at in range(0, len(steps), size):
        tell(lab, *steps[at : at + size])

    assert generations(lab) == [(1, "delivered", False), (2, "out_for_delivery", False)]
    lab.order("#2", USPS)
    lab.work()
    assert generations(lab) == [(1, "delivered", False), (2, "out_for_delivery", True)]


@pytest.mark.parametrize(
    "step", [(1.3, *LABEL), (3, *LABEL), (19, *MOVES), (20, "pre_transit", "status_update")], ids=str
)
def test_a_late_label_and_a_lone_scan_begin_no_other_parcel(
    make_lab: MakeLab, step: tuple[float, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = delivered(make_lab)
    if step[0] == 20:  # what is on its way back is no other parcel
        monkeypatch.setattr(lab.easypost, "_tracker", back(lab.easypost._tracker))
    tell(lab, step)

    assert [g for g, _, _ in generations(lab)] == [1]


def back(tracker: Any) -> Any:
    return lambda number: tracker(number) | {"is_return": True}


def test_a_shop_that_tells_of_a_delivered_parcel_late_means_that_parcel(make_lab: MakeLab) -> None:
    lab: Lab = make_lab()
    lab.work()
    lab.order("#1")
    lab.clock.move_to(START + 3 * D)
    tell(lab, (1, *PICKUP), (2, *DELIVERED))
    lab.shop.ship("#1", lab.clock(), [{"company": "USPS", "number": USPS}], partly=False)
    lab.work()
    assert generations(lab) == [(1, "delivered", True)]
    assert lab.writes() == [("#1", "DELIVERED")]

    lab.order("#2", USPS)  # placed after the end: another parcel
    lab.work()
    assert [g for g, _, _ in generations(lab)] == [1, 2]


def test_an_order_whose_ship_date_is_not_told_means_the_parcel_that_had_not_ended(make_lab: MakeLab) -> None:
    lab = delivered(make_lab)
    lab.shop.place("#2", START + 10 * D, "PAID")
    tell(lab, (19.9, *LABEL))
    lab.shop.ship("#2", START + 10 * D, [{"company": "USPS", "number": USPS}], partly=False)
    lab.work()

    assert generations(lab) == [(1, "delivered", True), (2, "pre_transit", True)]
    assert len(lab.rows(t.fulfilment_shipments)) == 2


def test_histories_of_a_number_that_is_used_again_withdraw_nothing_of_the_other_parcel(make_lab: MakeLab) -> None:
    lab = delivered(make_lab)
    tell(lab, (19, *LABEL), (19.2, *PICKUP))
    lab.order("#2", USPS)
    lab.work()
    lab.easypost.history[USPS] = lab.easypost.history[USPS][-2:]  # the old parcel is not told of any more
    for _ in range(4):
        lab.later(5)
    assert generations(lab) == [(1, "delivered", True), (2, "picked_up", True)]
    assert lab.rows(t.scans, t.scans.c.missing_since.isnot(None)) == []


def test_a_new_parcel_of_an_old_number_without_an_order_is_told_once(make_lab: MakeLab) -> None:
    lab = delivered(make_lab)
    tell(lab, (19.9, *LABEL))
    lab.clock.move_to(START + 25 * D)
    for _ in range(3):
        heal.look_around(lab.world)

    assert [row.closed_at for row in lab.rows(t.findings, t.findings.c.kind == "parcel_without_order")] == [None]
    lab.order("#2", USPS)
    lab.work()
    heal.look_around(lab.world)
    assert "parcel_without_order" not in lab.open_findings()

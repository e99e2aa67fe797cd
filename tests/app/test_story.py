"""The story of an order and its picture: nothing that happened is missing, nothing hides another, and each has its sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from typing import Any

import lxml.etree
import pytest

from tests import picture as ours
from tests.lab import DHL, START, UPS, USPS, H, Lab
from tracker.app.page.picture import MARK, WIDTH, Picture, draw
from tracker.domain.facts import Action, Parcel
from tracker.domain.vocabulary import NoticeClass, OrderStatus, ShippingStatus
from tracker.store import tables as t
from tracker.store.codec import ACTION, dump
from tracker.support import story as stories
from tracker.support.story import OURS, SHOP, Lane, Moment, Story, cut, story, story_of_parcel, unnamed


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Story]]:
    folder = tmp_path_factory.mktemp("story")
    with ExitStack() as stack:
        lab = Lab(f"sqlite:///{folder}/x.db", folder, stack)
        told = story(lab.ctx, ours.play(lab))
        assert told is not None
        yield lab, told


def kinds(told: Story, lane: str) -> list[str]:
    return [one.kind for one in told.moments if one.lane == lane]


def test_the_picture_in_readme_is_what_the_code_draws(played: tuple[Lab, Story]) -> None:
    lab, told = played

    assert ours.drawn(lab.ctx, told.order.id) == ours.FILE.read_text(encoding="utf-8"), (
        "python -m tests.picture draws it anew"
    )
    assert "(deploy/order.svg)" in (ours.FILE.parents[1] / "README.md").read_text(encoding="utf-8")
    root = lxml.etree.fromstring(ours.FILE.read_bytes())
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "style",
        "rect",
        "path",
        "text",
        "g",
        "circle",
    }


def test_the_story_tells_all_that_the_tables_hold(played: tuple[Lab, Story]) -> None:
    lab, told = played
    scans = lab.rows(t.scans)

    assert sum(one.kind in ("scan", "withdrawn") for one in told.moments) == len(scans) == 12
    assert kinds(told, OURS).count("decision") == len(lab.rows(t.decisions))
    assert sum(one.kind in ("write", "unsent", "refused") for one in told.moments) == len(lab.rows(t.outbox))
    assert kinds(told, OURS).count("finding") == len(lab.rows(t.findings))
    assert kinds(told, OURS).count("closed") == len(lab.rows(t.findings, t.findings.c.closed_at.isnot(None)))
    assert kinds(told, SHOP).count("version") == len(lab.rows(t.order_versions))
    assert kinds(told, SHOP).count("statement") == 1
    assert sum(one.kind == "estimate" for one in told.moments) == len(lab.rows(t.estimates)) == 2
    assert "refused" in kinds(told, OURS)
    payloads = {row.id for row in lab.rows(t.inbox)}
    assert {one.payload for one in told.moments if one.kind == "scan"} <= payloads
    assert told.left_out == ()


def test_each_lane_is_whose_it_is_the_last_mile_and_the_way_back_too(played: tuple[Lab, Story]) -> None:
    _, told = played

    assert [lane.title for lane in told.lanes] == [
        "shop: shop", "what we did", f"ups {UPS}", f"last mile usps {USPS}", f"dhl {DHL}", f"dhl {DHL}, on its way back",
    ]  # fmt: skip
    assert [[status for _, status in lane.spans] for lane in told.lanes] == [
        ["confirmed", "shipped"], [], ["pre_transit", "picked_up", "in_transit"], ["in_transit", "out_for_delivery", "delivered"],
        ["in_transit", "exception", ""], ["returning"],
    ]  # fmt: skip


def test_each_moment_has_a_sentence_of_words(played: tuple[Lab, Story]) -> None:
    _, told = played
    said = [one.sentence for one in told.moments]

    assert "The shop says confirmed (“UNFULFILLED”), paid" in said
    assert f"ups {UPS}: “Picked Up by UPS” at RENO, NV, US: it is picked up (picked up)" in said
    assert f"dhl {DHL}: “The recipient was not at home” at Delft, NL: it is exception (unspecified)" in said
    assert "We wanted to show delivered in the shop: sent" in said
    assert any(one.startswith("We wanted to show in transit in the shop: the shop refused it: ") for one in said)
    assert "ana said: note: The customer asks where the second parcel is" in said
    assert any("delivery is estimated for 2026-11-05, as ups told 2026-11-02 19:00Z" in one for one in said)
    assert not [one for one in said if "None" in one or re.search(r"(?<![\w/:.])[a-z]+_[a-z_]+\b(?!/)", one)]


def test_an_order_and_a_parcel_that_are_not_there_have_no_story(played: tuple[Lab, Story]) -> None:
    lab, told = played
    assert story(lab.ctx, 987654) is None
    assert story_of_parcel(lab.ctx, 987654) is None
    found = story_of_parcel(lab.ctx, lab.parcel(UPS).id)
    assert found is not None
    assert [lane.title for lane in found[1].lanes] == [f"ups {UPS}", f"last mile usps {USPS}"]
    assert [row.id for row in stories.orders_of_parcel(lab.ctx, lab.parcel(USPS).id)] == [told.order.id]


def test_the_newest_are_shown_and_it_is_said_that_older_ones_are_not(
    played: tuple[Lab, Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, told = played
    monkeypatch.setattr(stories, "MOST", 1)
    short = story(lab.ctx, told.order.id)

    assert short is not None
    assert "the newest 1 decisions are shown; `tracker evidence` has the older ones too" in short.left_out
    assert kinds(short, OURS).count("decision") == 1


# the picture


def marks(drawn: Picture) -> list[Any]:
    return [mark for row in drawn.rows for mark in row.marks]


def apart(drawn: Picture) -> bool:
    """Tell whether no mark covers another one's number, and each lies in its lane and the picture."""
    for row in drawn.rows:
        assert all(row.y <= mark.y <= row.y + row.height and 0 < mark.x < WIDTH for mark in row.marks)
        places = sorted((mark.y, mark.x) for mark in row.marks)
        for (y, x), (other_y, other_x) in pairwise(places):
            if y == other_y and other_x - x < MARK - 0.05:
                return False
    return all(one.y + one.height <= other.y for one, other in pairwise(drawn.rows))


def test_the_picture_holds_every_moment_once_and_none_hides_another(played: tuple[Lab, Story]) -> None:
    _, told = played
    drawn = draw(told)

    assert sorted(mark.number for mark in marks(drawn)) == list(range(1, len(told.moments) + 1))
    assert {mark.number: mark.sentence for mark in marks(drawn)} == {
        i: one.sentence for i, one in enumerate(told.moments, 1)
    }
    assert apart(drawn)
    assert 3 <= len(drawn.ticks) <= 13


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=1), 30 * H, timedelta(days=40), timedelta(days=4000)])
def test_many_scans_at_one_moment_stand_above_each_other(span: timedelta) -> None:
    class Row:
        starts_at = START
        placed_at = None

    at_once = [Moment(START, "p1", "scan", f"scan {i}") for i in range(40)]
    spread = [Moment(START + span * i / 60, "p1", "scan", f"later {i}") for i in range(60)]
    told = Story(Row(), (Lane("p1", "ups 1", ((START, "unknown"),)), Lane("p2", "none")), tuple(at_once + spread))  # type: ignore[arg-type]
    drawn = draw(told)

    assert len(marks(drawn)) == 100
    assert apart(drawn)
    assert len(drawn.ticks) <= 14
    assert draw(Story(Row(), (Lane("p1", "ups 1"),), ())).rows[0].marks == ()  # type: ignore[arg-type]


# sentences of what happens seldom


def test_each_kind_of_write_is_said() -> None:
    def said(**more: Any) -> str:
        return stories._what(dump(ACTION, Action(key="k", store="s", order="o", **more)))

    assert said(kind="order_status", target=OrderStatus.DELIVERED) == "set the order to delivered"
    assert said(kind="fulfilment_event", status=ShippingStatus.IN_TRANSIT) == "show in transit in the shop"
    assert said(kind="notice", notice=NoticeClass.OUT_FOR_DELIVERY) == "tell the customer: out for delivery"
    assert said(kind="order_note", text="x") == "attach a note to the order"
    assert said(kind="number", parcels=(Parcel("ups", "1"), Parcel("ups", "2"))) == "put 2 for 1"
    assert (
        said(kind="field", field="custom.state", status=ShippingStatus.DELIVERED)
        == "show delivered in the field custom.state"
    )


class Stored(dict[str, Any]):
    """A row as a query gives it."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


def test_each_way_in_which_a_shops_answer_differs_is_said() -> None:
    facts = {"tags": [], "updated_at": "2026-11-02T08:00:00Z"}
    before = Stored(status="shipped", raw_status="Shipped", payment="paid", numbers=["1"], actor="seller", facts=facts)
    later, other = facts | {"updated_at": "2026-11-02T09:00:00Z"}, facts | {"tags": ["x"]}

    assert stories._version(before, Stored(before, facts=later)) == "The shop was read again and says the same"
    # whose the status is tells nothing of who changed what else there is
    assert stories._version(before, Stored(before, facts=other)) == "The shop changed something else of the order"
    assert (
        stories._version(before, Stored(before, payment="refunded"))
        == "The shop changed its payment from paid to refunded"
    )
    assert stories._version(before, Stored(before, raw_status="Sent")) == (
        "The shop changed its word from “Shipped” to “Sent”; set by seller"
    )
    assert stories._version(before, Stored(before, status="delivered", raw_status="D", actor="trackwright")) == (
        "The shop took what we wrote: its status from shipped to delivered (“D”)"
    )


def test_a_status_that_no_version_tells_is_that_of_the_order_and_a_scan_that_was_taken_back_says_so() -> None:
    order = Stored(placed_at=START, read_at=START + H, status="shipped")
    assert list(stories._spans(order, [])) == [(START + H, "shipped")]  # type: ignore[arg-type]
    read = stories._Read(None, False)  # type: ignore[arg-type]
    scan = Stored(
        text="",
        code="X1",
        city="",
        region="",
        country="",
        status=None,
        reason=None,
        withdrawn_at=START,
        instant=START,
        inbox_id=None,
        zone="offset",
        precision="second",
        local=None,
    )
    moment = read._scan(scan, "p1", "ups 1")  # type: ignore[arg-type]
    assert (moment.kind, moment.sentence) == (
        "withdrawn",
        "ups 1: “X1”: it changes nothing; the carrier took this back 2026-11-02 08:00Z",
    )
    assert (
        "nobody told us what this code means"
        in read._scan(Stored(scan, reason="unmapped", withdrawn_at=None), "p1", "x").sentence
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "“x”: it changes nothing"), ({"precision": "date"}, "“x”: it changes nothing; only its day was told"),
        ({"zone": "assumed", "local": "2026-11-02T09:00:00"}, "“x”: it changes nothing; its zone is assumed (printed: 2026-11-02T09:00:00)"),
        ({"zone": "unknown"}, "“x”: it changes nothing; it tells no moment that can be placed: this is when we heard it"),
        ({"zone": "future"}, "“x”: it changes nothing; its time lay ahead of ours: this is when we heard it"),
        ({"text": "”: it is delivered “\u202e"}, '“": it is delivered "”: it changes nothing'),
    ],
)  # fmt: skip
def test_a_scan_whose_moment_is_not_sure_says_so_and_its_words_end_where_they_end(
    more: dict[str, str], said: str
) -> None:
    scan = Stored(
        text="x", code="X1", city="", region="", country="", status=None, reason=None, withdrawn_at=None, instant=START, inbox_id=None,
        zone="offset", precision="second", local=None,
    )  # fmt: skip
    told = stories._Read(None, True)._scan(Stored(scan, **more), "p1", "ups 1")  # type: ignore[arg-type]
    assert told.sentence == f"ups 1: {said}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Delivered, signed by: MR SMITH", "Delivered, signed by (a name, not shown)"), ("Left with JONES at no. 4", "Left with (a name, not shown)"),
        ("RECEIVED BY ANA", "RECEIVED BY (a name, not shown)"), ("Recipient: Bo Li", "Recipient: (a name, not shown)"),
        ("Delivered to the mailbox", "Delivered to the mailbox"), ("Handed to agent", "Handed to agent"), ("signed by", "signed by"),
        ("The recipient was not at home", "The recipient was not at home"), ("Departed from facility", "Departed from facility"),
    ],
)  # fmt: skip
def test_a_name_of_a_person_is_left_out_of_a_carriers_words(text: str, shown: str) -> None:
    assert unnamed(text) == shown


def test_a_text_of_others_is_one_line_that_moves_nothing_and_has_an_end() -> None:
    assert cut("a\n\x1b[31mb\u202e  c\x00") == "a [31mb c"
    assert len(cut("x" * 1000)) == stories.MOST_TEXT + 1

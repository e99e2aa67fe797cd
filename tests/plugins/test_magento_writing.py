"""Magento: comments that set a status or say a note, once; corrected tracks; and what is never called."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, Refused, Transient
from tracker.domain.facts import Action, Fulfilment, Order, Parcel, Refs, Since
from tracker.domain.renumber import why_not_now
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.conformance import AT, Recorder

REST = "https://shop.example.com/rest/all/V1"
COMMENTS = f"{REST}/orders/42/comments"
BEFORE = Order("s", "42", "000000042", OrderStatus.SHIPPED, "complete", PaymentStatus.PAID, "paid", AT, AT)
DELIVERED = Action(
    "order_status", "s/42/status/delivered/1", "s", "42", target=OrderStatus.DELIVERED, parcels=(Parcel("ups", "1Z1"), Parcel("ups", "1Z2"))
)  # fmt: skip
NOTE = Action("order_note", "k", "s", "42", text="Rang twice")
NOT_OF_STATE = {
    "message": 'Unable to add comment: The status "%1" is not part of the order status history.',
    "parameters": ["delivered"],
}


def shop(make: Any, **more: Any) -> Any:
    return make("adapters.magento", **more)


class Comments:
    """The comments of an order, as the shop keeps them; `refuses` is answered to a comment with a status."""

    def __init__(self, outside: Any, refuses: Any = None, status: int = 400) -> None:
        self.there: list[dict[str, Any]] = []
        self.posted: list[dict[str, Any]] = []
        self.refuses, self.status, self.lost = refuses, status, False
        outside.get(COMMENTS).mock(
            side_effect=lambda _: httpx.Response(200, json={"items": self.there, "total_count": 0})
        )
        outside.post(COMMENTS).mock(side_effect=self._add)

    def _add(self, request: httpx.Request) -> httpx.Response:
        told = json.loads(request.content)["statusHistory"]
        self.posted.append(told)
        if self.refuses is not None and "status" in told:
            return httpx.Response(self.status, json=self.refuses)
        self.there.append({**told, "status": told.get("status", "processing")})
        return httpx.Response(502) if self.lost else httpx.Response(200, json=True)


def test_a_status_is_set_by_a_comment_that_mails_nobody_and_nobody_sees(make, outside) -> None:
    source, client = shop(make)
    kept = Comments(outside)
    receipt = source.push(client, DELIVERED, BEFORE)

    (told,) = kept.posted
    assert (told["status"], told["parent_id"], told["is_customer_notified"], told["is_visible_on_front"]) == (
        "delivered",
        42,
        0,
        0,
    )
    assert told["comment"].startswith("delivered: 1Z1, 1Z2 [trackwright ")
    assert (receipt.ref, receipt.already_there, receipt.proof) == ("42", False, "delivered")


def test_what_stands_there_already_is_not_written_again(make, outside) -> None:
    source, client = shop(make)
    kept = Comments(outside)
    assert source.push(client, DELIVERED, replace(BEFORE, raw_status="delivered")).already_there
    assert not kept.posted


def test_an_answer_that_was_lost_makes_no_second_comment(make, outside) -> None:
    source, client = shop(make)
    for action in (DELIVERED, NOTE):
        kept = Comments(outside)
        kept.lost = True
        with pytest.raises(Transient):
            source.push(client, action, BEFORE)
        assert source.push(client, action, BEFORE).already_there
        assert len(kept.posted) == 1


def test_two_notes_of_the_same_words_are_two_and_one_of_500_letters_is_known_again(make, outside) -> None:
    source, client = shop(make)
    kept = Comments(outside)
    for key in ("a", "b", "a"):
        source.push(client, replace(NOTE, key=key, text="x" * 600), BEFORE)
    assert len(kept.posted) == 2
    assert "status" not in kept.posted[0]


@pytest.mark.parametrize(
    "refuses", [NOT_OF_STATE, {"message": 'Der Status "%1" geh\u00f6rt nicht zum Verlauf', "parameters": ["delivered"]}]
)
def test_a_status_of_another_state_leaves_its_comment_once_and_says_what_the_merchant_must_do(
    make, outside, refuses: Any
) -> None:
    source, client = shop(make)
    kept = Comments(outside, refuses)
    for _ in range(2):  # and once more by `tracker outbox retry`
        with pytest.raises(Refused) as told:
            source.push(client, DELIVERED, BEFORE)
    assert str(told.value)[:200].startswith(
        "'delivered' is not assigned to the state of the order (Stores > Settings > Order Status > Assign Status to State); the comment stands without it"
    )
    assert [one.get("status") for one in kept.posted] == ["delivered", None, "delivered"]

    kept.refuses = None  # the merchant assigned it
    assert source.push(client, DELIVERED, BEFORE).proof == "delivered"
    assert kept.posted[-1]["status"] == "delivered"


def test_another_refusal_is_one_and_leaves_no_comment(make, outside) -> None:
    source, client = shop(make)
    kept = Comments(outside, {"message": "The order is locked by %1", "parameters": ["ann"]})
    with pytest.raises(Refused, match="HTTP 400: The order is locked by ann"):
        source.push(client, DELIVERED, BEFORE)
    assert len(kept.posted) == 1


def test_a_right_that_is_missing_for_writing_costs_the_write_and_not_the_store(make, outside) -> None:
    source, client = shop(make)
    body = {
        "message": "The consumer isn't authorized to access %resources.",
        "parameters": {"resources": "Magento_Sales::comment"},
    }
    Comments(outside, body, 401)
    with pytest.raises(Refused, match=r"must have Magento_Sales::comment \(System > Integrations > API\)"):
        source.push(client, DELIVERED, BEFORE)
    outside.post(COMMENTS).mock(return_value=httpx.Response(401, json={"message": "Token expired"}))
    with pytest.raises(CredentialsRejected):
        source.push(client, DELIVERED, BEFORE)


@pytest.mark.parametrize(
    ("answer", "there"), [(False, {"items": []}), ({"id": 1}, {"items": None}), (True, {"total_count": 0})]
)
def test_an_answer_that_shows_nothing_is_no_write(make, outside, answer: Any, there: Any) -> None:
    source, client = shop(make)
    outside.get(COMMENTS).mock(return_value=httpx.Response(200, json=there))
    outside.post(COMMENTS).mock(return_value=httpx.Response(200, json=answer))
    with pytest.raises(Transient):
        source.push(client, NOTE, BEFORE)


@pytest.mark.parametrize(
    "action", [replace(NOTE, kind="field"), replace(NOTE, order="x"), replace(NOTE, order="\u0664\u0662")]
)
def test_what_magento_does_not_take_is_refused_without_a_call(make, action: Action) -> None:
    source, client = shop(make)
    with pytest.raises(Refused):
        source.push(client, action, BEFORE)


@pytest.mark.parametrize("status", [OrderStatus.CANCELLED, OrderStatus.ON_HOLD, OrderStatus.UNKNOWN])
def test_an_order_that_was_cancelled_or_stopped_meanwhile_is_left_alone(make, outside, status: OrderStatus) -> None:
    source, client = shop(make)
    kept = Comments(outside)
    with pytest.raises(Refused, match="it is left alone"):
        source.push(client, DELIVERED, replace(BEFORE, status=status, raw_status="canceled"))
    assert not kept.posted


def test_what_a_comment_does_beside_is_said(make) -> None:
    source, _ = shop(make)
    for kind in ("order_status", "order_note"):
        assert "only staff see" in source.beside(kind, "delivered").said
        assert not source.beside(kind, "delivered").asks
    assert source.beside("number", "") is None


# corrected numbers

OLD, NEW = "1ZR589390357567121", "1ZR589400357568494"
CORRECT = Action("number", "n1", "s", "42", fulfilment="31", parcels=(Parcel("ups", OLD), Parcel("ups", NEW)))
TRACK = {"entity_id": 7, "track_number": OLD, "title": "UPS", "carrier_code": "ups", "weight": 1.5, "qty": 1}


class Tracks:
    """The tracks of a shipment; a call of `dies` is done, and its answer lost."""

    def __init__(self, outside: Any, *tracks: dict[str, Any], dies: str = "") -> None:
        self.there, self.log, self.dies = list(tracks), [], dies
        outside.get(url__startswith=f"{REST}/shipments").mock(side_effect=lambda _: self._list())
        outside.post(f"{REST}/shipment/track").mock(side_effect=self._add)
        outside.delete(url__startswith=f"{REST}/shipment/track/").mock(side_effect=self._delete)

    def _list(self) -> httpx.Response:
        rows = [{"entity_id": 31, "order_id": 42, "tracks": self.there}]
        return httpx.Response(200, json={"items": rows, "total_count": 1})

    def _add(self, request: httpx.Request) -> httpx.Response:
        told = {**json.loads(request.content)["entity"], "entity_id": 90 + len(self.log)}
        self.there.append(told)
        self.log.append(f"+{told['track_number']}")
        return self._answer("add", told)

    def _delete(self, request: httpx.Request) -> httpx.Response:
        ref = request.url.path.rpartition("/")[2]
        self.log += [f"-{one['track_number']}" for one in self.there if str(one["entity_id"]) == ref]
        self.there = [one for one in self.there if str(one["entity_id"]) != ref]
        return self._answer("delete", True)

    def _answer(self, what: str, told: Any) -> httpx.Response:
        if self.dies == what:
            self.dies = ""
            return httpx.Response(502)
        return httpx.Response(200, json=told)

    @property
    def numbers(self) -> list[str]:
        return [one["track_number"] for one in self.there]


def test_a_number_is_corrected_by_a_new_track_before_the_old_one_goes(make, outside) -> None:
    source, client = shop(make)
    kept = Tracks(outside, TRACK, {**TRACK, "entity_id": 8, "track_number": "OTHER12345"})
    receipt = source.push(client, CORRECT, BEFORE)
    assert (kept.log, kept.numbers, receipt.proof) == ([f"+{NEW}", f"-{OLD}"], ["OTHER12345", NEW], NEW)
    made = kept.there[-1]
    assert (made["title"], made["carrier_code"], made["parent_id"], made["order_id"], made["weight"]) == (
        "UPS",
        "ups",
        31,
        42,
        1.5,
    )
    assert source.push(client, CORRECT, BEFORE).already_there


@pytest.mark.parametrize("dies", ["add", "delete"])
def test_a_correction_that_died_between_its_two_calls_is_finished_and_never_doubled(make, outside, dies: str) -> None:
    source, client = shop(make)
    kept = Tracks(outside, TRACK, dies=dies)
    with pytest.raises(Transient):
        source.push(client, CORRECT, BEFORE)
    source.push(client, CORRECT, BEFORE)
    assert (kept.numbers, kept.log) == ([NEW], [f"+{NEW}", f"-{OLD}"])


def test_a_correction_that_was_begun_is_looked_at_by_its_plugin_and_one_that_was_not_by_the_rules() -> None:
    both = replace(BEFORE, fulfilments=(Fulfilment("31", "shipped", (Parcel("ups", OLD), Parcel("ups", NEW))),))
    assert "stands beside" in why_not_now(both, CORRECT)
    assert why_not_now(both, CORRECT, tried=True) == ""
    assert "cancelled" in why_not_now(replace(both, status=OrderStatus.CANCELLED), CORRECT, tried=True)
    assert "not there any more" in why_not_now(BEFORE, CORRECT, tried=True)


def test_a_number_that_stands_there_by_somebody_elses_hand_is_done_and_one_that_went_is_refused(make, outside) -> None:
    source, client = shop(make)
    Tracks(outside, {**TRACK, "track_number": NEW})
    assert source.push(client, CORRECT, BEFORE).already_there
    for tracks in (
        [],
        [{**TRACK, "track_number": "OTHER12345"}],
        [TRACK, {**TRACK, "entity_id": 8, "track_number": NEW}],
    ):
        Tracks(outside, *tracks)
        with pytest.raises(Refused):
            source.push(client, CORRECT, BEFORE)
    with pytest.raises(Refused, match="the shipment is not there"):
        source.push(client, replace(CORRECT, fulfilment="x"), BEFORE)


def test_a_track_that_somebody_took_away_meanwhile_is_gone_and_an_answer_that_shows_nothing_is_no_write(
    make, outside
) -> None:
    source, client = shop(make)
    Tracks(outside, TRACK)
    outside.delete(url__startswith=f"{REST}/shipment/track/").mock(return_value=httpx.Response(404, json={}))
    assert source.push(client, CORRECT, BEFORE).proof == NEW
    Tracks(outside, TRACK)
    outside.delete(url__startswith=f"{REST}/shipment/track/").mock(return_value=httpx.Response(200, json=False))
    with pytest.raises(Transient, match="DELETE"):
        source.push(client, CORRECT, BEFORE)
    Tracks(outside, TRACK)
    outside.post(f"{REST}/shipment/track").mock(return_value=httpx.Response(200, json={}))
    with pytest.raises(Transient, match="POST"):
        source.push(client, CORRECT, BEFORE)


# what is never called


def test_no_order_and_no_shipment_is_ever_saved(make) -> None:
    source, _ = shop(make)
    for action in (DELIVERED, NOTE, CORRECT):
        for body in (
            b'{"items": [], "total_count": 0}',
            b"true",
            b'{"items":[{"entity_id":31,"order_id":42,"tracks":[]}],"total_count":1}',
        ):
            client = Recorder(body, b"true")
            with suppress(Refused, Transient, BadPayload):
                source.push(client, action, BEFORE)
            for request in client.sent:
                path = request.url.removeprefix(REST)
                assert request.method == "GET" or (request.method, path) in {
                    ("POST", "/orders/42/comments"), ("POST", "/shipment/track"), ("DELETE", "/shipment/track/7"),
                }, request  # fmt: skip
                assert b'"notify"' not in (request.content or b"")
    for query in (Refs(("42",)), Since(None)):
        client = Recorder(b'{"items": [], "total_count": 0, "entity_id": 42}')
        list(source.fetch(client, query))
        assert {request.method for request in client.sent} == {"GET"}

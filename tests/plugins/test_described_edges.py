"""What a description says wrongly, and what an API answers oddly: each is told, in the words of its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.generic import Generic as Shop
from carriers.generic import Generic as Carrier
from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, Refused, Unavailable
from tracker.domain.facts import Order, Payload, Since, Unread
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.calls import Request, Response
from tracker.plugin.conformance import AT, Recorder, example_settings
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import MOST_TOLD
from tracker.plugin.times import time_of

ROW: Mapping[str, Any] = {
    "ref": "R1", "number": "#1", "status": "processing", "payment": "paid", "placed": "2026-11-02T08:00:00Z",
    "updated": "2026-11-02T09:00:00Z",
}  # fmt: skip
NOTE: Mapping[str, Any] = {**Shop.example["writes"]["note"], "headers": {}}
LOGIN = {"path": "/login", "body": {"password": "{key}"}, "sample": "login.json"}
FILES: Mapping[str, Any] = {
    "order.json": {"order": ROW}, "orders.json": {"orders": [ROW], "next": "2"}, "ok.json": {"ok": True},
    "hook.json": {"type": "order", "order": 1}, "login.json": {"access_token": "T", "expires_in": 60},
}  # fmt: skip


def shop(**more: Any) -> Shop:
    return Shop("shop", example_settings(Shop, **more))


def carrier(**more: Any) -> Carrier:
    return Carrier("acme", example_settings(Carrier, **more))


def read(source: Shop, row: Mapping[str, Any]) -> list[Any]:
    return list(source.normalize(Payload("shop", "read", (json.dumps({"order": row}).encode(),), AT, {})))


def remarks(source: Shop, **files: Any) -> list[tuple[str, str]]:
    """Return what is said of a description, with the documented answers `name.json` of `files` instead."""
    answers = {**FILES, **{f"{name}.json": body for name, body in files.items()}}
    told = source.examine(lambda name: json.dumps(answers[name]).encode(), {})
    return [(".".join(map(str, one.place)), one.said) for one in told]


class Refusing(Recorder):
    """Answers each call with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def send(self, request: Request) -> Response:
        self.sent.append(request)
        raise self.error


# orders


def test_a_fulfilment_whose_numbers_stand_in_no_object_makes_the_order_partial() -> None:
    facts = Shop.example["facts"]
    parcels = {**facts["fulfilments"], "numbers": "label.number"}
    one, odd = read(
        shop(facts={**facts, "fulfilments": parcels}), {**ROW, "parcels": [{"ref": "P1", "label": "torn", "items": []}]}
    )

    assert isinstance(one, Order) and one.partial and one.fulfilments == ()
    assert isinstance(odd, Unread) and "must be an object" in odd.problem


def test_a_word_that_is_none_of_ours_is_unknown_where_the_shop_has_no_words_of_its_own() -> None:
    (one,) = read(shop(statuses={}, writes={}), {**ROW, "status": "frozen"})

    assert (one.status, one.raw_status) == (OrderStatus.UNKNOWN, "frozen")


# what is asked and answered


def test_a_refusal_that_is_no_json_is_told_by_its_status() -> None:
    with pytest.raises(Refused, match="HTTP 409"):
        shop(error="problem.title").raise_for_status(Response(409, {}, b'{"problem": ', AT))


def test_a_shop_is_pinged_by_asking_what_changed_just_now() -> None:
    client = Recorder(b'{"orders": []}')
    shop().ping(client)

    (request,) = client.sent
    assert request.url == "https://api.acme.example/orders" and str(request.params["since"]).startswith("20")


def test_a_ping_of_a_carrier_asks_about_its_probe_and_that_it_is_not_found_proves_the_key() -> None:
    for client in (Recorder(b"{}"), Refusing(NotFound("HTTP 404"))):
        carrier(probe="N0").ping(client)
        assert [request.url for request in client.sent] == ["https://api.acme.example/track/N0"]
    with pytest.raises(CredentialsRejected):
        carrier(probe="N0").ping(Refusing(CredentialsRejected("HTTP 401")))


def test_a_login_that_is_refused_rejects_the_credentials() -> None:
    source = shop(login=LOGIN, headers={"Authorization": "Bearer {token}"})
    with pytest.raises(CredentialsRejected, match="the login: no such user"):
        list(source.fetch(Refusing(Refused("no such user")), Since(None)))


def test_a_login_that_nothing_answers_says_nothing_of_a_number_nor_proves_a_key() -> None:
    source = carrier(probe="N0", login=LOGIN, headers={"Authorization": "Bearer {token}"})
    with pytest.raises(Unavailable, match="the login: HTTP 404: nothing answers at this address"):
        source.ping(Refusing(NotFound("HTTP 404")))


def test_a_page_left_by_link_on_another_host_is_the_first_and_one_that_is_no_address_is_a_failed_answer() -> None:
    source = shop(sweep={**Shop.example["sweep"], "pages": {"by": "link", "next": "next"}})
    left = json.dumps({"page": "https://evil.example/x", "began": AT.isoformat(), "mark": AT.isoformat()})
    client = Recorder(b'{"orders": []}')
    list(source.fetch(client, Since(left)))
    assert client.sent[0].url == "https://api.acme.example/orders"
    with pytest.raises(Unavailable, match="no address"):
        list(source.fetch(Recorder(b'{"orders": [], "next": "https://[x"}'), Since(None)))


def test_a_moment_is_asked_from_in_the_form_that_the_shop_reads() -> None:
    source = shop(sweep={**Shop.example["sweep"], "since_format": "%Y-%m-%d %H:%M:%S"})
    client = Recorder(b'{"orders": []}')
    list(source.fetch(client, Since('{"mark": "2026-11-02T09:00:00+00:00"}')))

    assert client.sent[0].params["since"] == "2026-11-02 08:50:00"


# what a description says


def test_a_shop_without_a_webhook_has_none_and_nothing_is_said_of_one() -> None:
    source = shop(webhook=None)

    assert not source.webhooks
    assert not [place for place, _ in remarks(source) if place.startswith("webhook")]


def test_of_a_sample_that_cannot_be_read_this_is_told_and_not_that_its_paths_find_nothing() -> None:
    told = remarks(shop(), order=[], hook=[], ok=[])
    places = [place for place, _ in told]

    assert {"read.sample", "webhook.sample"} <= set(places)
    assert not [place for place in places if place.startswith("facts")]


def test_a_sample_that_is_an_error_is_not_read_as_an_order() -> None:
    assert not [one for one in remarks(shop(error="problem"), order={"problem": "down"}) if one[0] == "read.sample"]


def test_a_note_needs_a_place_where_notes_stand_or_a_key_that_makes_it_the_same() -> None:
    twice = ("writes.note", "a note could be written twice")
    assert any((place, said[: len(twice[1])]) == twice for place, said in remarks(shop(writes={"note": NOTE})))
    there = shop(writes={"note": {**NOTE, "there": "order.notes[].text"}})
    assert ("writes.note.there", "finds nothing in the sample ok.json") in remarks(there)
    noted = remarks(there, order={"order": {**ROW, "notes": [{"text": "x"}]}})
    assert not [place for place, _ in noted if place.startswith("writes.note")]


def test_a_word_that_would_not_be_read_back_is_told() -> None:
    write = {**Shop.example["writes"]["status"], "words": {"shipped": "gone"}}
    assert "writes.status.words.shipped" in [place for place, _ in remarks(shop(writes={"status": write}))]
    assert not [p for p, _ in remarks(shop(writes={"status": write}, statuses={})) if "words" in p]


@pytest.mark.parametrize(
    ("more", "place", "said"),
    [
        ({"headers": {"X Key": "{key}"}}, "headers.X Key", "is no header"),
        ({"headers": {"X-Key": "ü"}}, "headers.X-Key", "is no header"),
        ({"basic": {"user": "me", "password": "{nobody}"}}, "basic.password", "{nobody}"),
        ({"login": LOGIN}, "login", "nothing uses its {token}"),
        ({"writes": {"note": {**NOTE, "form": {"t": "{text}"}}}}, "writes.note.form", "a form or a body, not both"),
    ],
)
def test_a_call_that_cannot_be_made_as_described_is_told(more: dict[str, Any], place: str, said: str) -> None:
    assert [problem for where, problem in remarks(shop(**more)) if where == place and said in problem]


def test_a_login_is_read_from_its_sample() -> None:
    source = shop(login=LOGIN, headers={"Authorization": "Bearer {token}"})

    assert not [place for place, _ in remarks(source) if place.startswith("login")]
    assert [place for place, _ in remarks(source, login={}) if place.startswith("login")] == ["login.sample"]


def test_a_list_of_several_in_a_body_is_searched_for_placeholders_that_nobody_fills() -> None:
    poll = {**Carrier.example["poll"], "path": "/t", "method": "POST", "batch": 2}
    told = carrier(poll={**poll, "body": [{"a": "{nobody}"}, {"ids": [{"n": "{number}"}]}]}).examine(
        lambda _name: b"{}", {}
    )

    (one,) = [remark for remark in told if remark.place == ("poll", "body")]
    assert "nobody" in one.said


def test_a_secret_has_a_name_that_a_placeholder_can_hold() -> None:
    with pytest.raises(ValidationError, match="'My Key' is no name"):
        shop(secrets={"key": "canary-secrets", "My Key": "canary-other"})


# paths and times


def test_a_path_is_taken_as_a_path_and_an_index_into_no_list_is_told() -> None:
    unread: list[Unread] = []

    path = Path("a.b")
    assert shop(error=path).settings.error is path
    assert Reading().one(Path("a[0] || b"), {"a": "text"}, unread) is None
    assert "must stand in a list" in unread[0].problem


def test_no_more_is_told_of_one_path_than_anyone_reads() -> None:
    unread: list[Unread] = []
    Reading().one(Path("a[?b.c == 'x']"), {"a": [{"b": 7}] * (MOST_TOLD + 5)}, unread)

    assert 0 < len(unread) <= MOST_TOLD


@pytest.mark.parametrize(("value", "form"), [("99991231", "%Y%m%d"), (-62135596800, "unix")])
def test_a_year_that_no_clock_can_hold_is_told(value: Any, form: str) -> None:
    with pytest.raises(BadPayload, match="no year that can be"):
        time_of(value, "at", form)

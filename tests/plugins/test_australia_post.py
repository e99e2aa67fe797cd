"""Australia Post: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Code, Parcel, Parcels, Payload
from tracker.domain.vocabulary import Zone
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier(
    "carriers.australia_post", fixtures=Path(__file__).parents[1] / "fixtures" / "australia_post"
)
TRACK = "https://digitalapi.auspost.com.au/shipping/v1/track"
MINE = "7XX1000634011427"
EARLY, LATE = "2026-11-17T09:00:00+11:00", "2026-11-18T09:00:00+11:00"


def _read(make: Any, *results: Any) -> list[Any]:
    source, _ = make("carriers.australia_post")
    body = json.dumps({"tracking_results": results}).encode()
    return list(source.normalize(Payload("a", "poll", (body,), AT, {})))


def _event(description: Any, at: Any = EARLY, location: Any = "CHULLORA NSW") -> dict[str, Any]:
    return {"description": description, "date": at, "location": location}


def _article(mine: str, *events: Any, status: Any = "") -> dict[str, Any]:
    return {"article_id": mine, "status": status, "events": list(events)}


def _of_one(make: Any, *events: Any, **more: Any) -> Any:
    found = _read(make, {"tracking_id": MINE, "trackable_items": [_article(MINE, *events, **more)]})
    return found[0]


# requests


def test_ten_ids_go_into_one_call_with_the_account_and_its_key(outside, make) -> None:
    route = outside.get(TRACK).respond(json={"tracking_results": []})
    source, client = make("carriers.australia_post")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("australiapost", f"7xx{i:05}") for i in range(11)))))

    request = route.calls[0].request
    assert (len(pages), [len(call.request.url.params["tracking_ids"].split(",")) for call in route.calls]) == (
        2,
        [10, 1],
    )
    assert request.url.params["tracking_ids"].startswith("7XX00000,7XX00001")
    assert request.headers["account-number"] == "canary-account_number"
    assert request.headers["authorization"].startswith("Basic ")


def test_how_many_ids_a_call_takes_is_a_setting(outside, make) -> None:
    route = outside.get(TRACK).respond(json={"tracking_results": []})
    source, client = make("carriers.australia_post", numbers_per_call=2)

    list(source.fetch(client, Parcels(tuple(Parcel("australiapost", f"7XX{i}") for i in range(3)))))

    assert (source.batch, len(route.calls)) == (2, 2)
    for odd in (0, 11):
        with pytest.raises(ValidationError, match="numbers_per_call"):
            make("carriers.australia_post", numbers_per_call=odd)


def test_an_id_for_which_a_whole_call_is_refused_costs_itself_only(outside, make) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params["tracking_ids"].split(",")
        if "7XX3" in asked:
            return httpx.Response(400, json={"errors": [{"code": "51104", "name": "INVALID_TRACKING_ID"}]})
        return httpx.Response(
            200, json={"tracking_results": [{"tracking_id": one, "status": "Delivered"} for one in asked]}
        )

    outside.get(TRACK).mock(side_effect=answer)
    source, client = make("carriers.australia_post")

    pages = list(source.fetch(client, Parcels(tuple(Parcel("australiapost", f"7XX{i}") for i in range(5)))))

    told = [one for page in pages for one in source.normalize(Payload("a", "poll", page.parts, AT, {}))]
    assert {one.number: str(one.tracking) for one in told} == {
        **{f"7XX{i}": "active" for i in range(5)}, "7XX3": "not_found",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "rest"),
    [
        ({"x-ratelimit-remaining-minute": "0"}, timedelta(minutes=1)),
        ({"x-ratelimit-remaining-second": "0", "x-ratelimit-remaining-hour": "0"}, timedelta(hours=1)),
        ({"x-ratelimit-remaining-day": "0"}, timedelta(hours=1)),
        ({"x-ratelimit-remaining-minute": "3", "x-ratelimit-limit-minute": "10"}, None),
        ({"x-ratelimit-remaining-minute": "none"}, None),
        ({}, None),
    ],
)
def test_a_limit_of_which_nothing_is_left_is_waited_for(make, headers, rest) -> None:
    source, _ = make("carriers.australia_post")

    assert source.throttle_delay(Response(200, headers, b"{}", AT)) == rest


# check


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"tracking_results": [{"tracking_id": MINE, "errors": [{"code": "ESB-10001", "name": "Invalid tracking ID"}]}]}),
        (400, {"errors": [{"code": "ESB-10001", "name": "Invalid tracking ID"}]}),
        (400, {"errors": [{"code": "51104", "name": "INVALID_TRACKING_ID"}]}),
    ],
)  # fmt: skip
def test_a_key_is_believed_by_an_answer_about_an_id_known_or_not(outside, make, status, body) -> None:
    outside.get(TRACK).respond(status, json=body)
    source, client = make("carriers.australia_post")

    source.ping(client)


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (200, {}, Transient, "without tracking_results"),
        (404, {"message": "no route"}, Transient, "is `base_url` right"),
        (401, {"errors": [{"code": "API_001", "name": "Unauthenticated"}]}, CredentialsRejected, "API_001: Unauthenticated: are api_key and password right"),
        (403, {"errors": [{"code": "API_003", "message": "not yours"}]}, CredentialsRejected, "API_003: not yours: is account_number"),
        (401, "x", CredentialsRejected, "no reason given"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_work_is_told_with_what_to_look_at(outside, make, status, body, error, said) -> None:
    outside.get(TRACK).respond(status, json=body)
    source, client = make("carriers.australia_post")

    with pytest.raises(error, match=said):
        source.ping(client)


# errors


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (429, {"errors": [{"code": "API_002", "name": "Too many requests"}]}, RateLimited),
        (400, {"errors": [{"code": "API_002", "name": "Too many requests"}]}, RateLimited),
        (200, {"errors": [{"code": "API_002", "name": "Too many requests"}]}, RateLimited),
        (429, {}, RateLimited),
        (200, {"errors": [{"code": "51102", "name": "Try later"}]}, Transient),
        (200, {"errors": ["x"]}, Transient),
        (400, {"errors": [{"code": "44003", "name": "The service is not available"}]}, Refused),
        (404, {"errors": [{"code": "44003", "name": "The service is not available"}]}, Transient),
        (404, {"errors": [{"code": "ESB-10001", "name": "x"}]}, NotFound),
        (503, {}, Transient),
    ],
)
def test_an_error_is_one_whatever_its_status(make, status, body, error) -> None:
    source, _ = make("carriers.australia_post")

    with pytest.raises(error):
        source.raise_for_status(Response(status, {"retry-after": "9"}, json.dumps(body).encode(), AT))


@pytest.mark.parametrize("results", [None, "", {}])
def test_an_answer_without_its_list_is_no_answer(make, results) -> None:
    source, _ = make("carriers.australia_post")
    body = json.dumps({"tracking_results": results}).encode()

    with pytest.raises(BadPayload, match="tracking_results"):
        source.normalize(Payload("a", "poll", (body,), AT, {}))


def test_an_id_of_which_nothing_is_told_is_named(make) -> None:
    fine = {"tracking_id": "1", "status": "Created"}
    report, *unread = _read(
        make, fine, {"tracking_id": "2"}, {"tracking_id": "3", "trackable_items": 7}, {"tracking_id": "4", "status": 7}
    )

    assert report.number == "1"
    assert [(one.where.rpartition(".")[2], one.subject) for one in unread] == [
        ("trackable_items", "2"),
        ("trackable_items", "3"),
        ("status", "4"),
    ]


def test_what_beside_an_error_or_a_status_cannot_be_read_is_told(make) -> None:
    error = {"tracking_id": "1", "trackable_items": 7, "errors": [{"code": "ESB-10001"}]}
    first, second, *unread = _read(make, error, {"tracking_id": "2", "trackable_items": 7, "status": "Created"})

    assert (str(first.tracking), second.scans[0].code.code) == ("not_found", "created")
    assert [one.subject for one in unread] == ["1", "2"]


# words


@pytest.mark.parametrize(
    ("space", "words", "means"),
    [
        ("status", "DELIVERED", ("delivered", "delivered")),
        ("status", "Unsuccessful pickup", ("pre_transit", "pickup_failed")),  # at the sender, no delivery attempt
        ("status", "Track items for detailed delivery information", (None, "information_only")),
        ("status", "arrived at facility", None),  # of an event
        ("event", "  Onboard   with driver for delivery. ", ("out_for_delivery", "on_vehicle")),
        ("event", "With Australia Post for delivery today", ("out_for_delivery", "on_vehicle")),
        ("event", "Processed through Australia Post facility", ("in_transit", "processed")),
        ("event", "Departed facility", ("in_transit", "departed_facility")),
        ("event", "Return to sender - refused", ("returning", "return_initiated")),
        ("event", "Leave in a safe place requested by Receiver", (None, "delivery_instruction")),
        ("event", "Left in a safe place", ("delivered", "safe_place")),
        ("event", "Delivered - to a locker", None),  # it may wait there: the status beside it decides
        ("event", "Cannot be delivered", ("delivery_failed", "undeliverable")),
        ("event", "Unsuccessful delivery - carded", ("delivery_attempted", "unspecified")),
        ("event", "Onboardfor delivery", ("out_for_delivery", "on_vehicle")),
        ("event", "Onboard delivery", None),
        ("event", "Something new", None),
    ],
)
def test_words_are_read_without_case_and_unknown_ones_are_unknown(make, space, words, means) -> None:
    source, _ = make("carriers.australia_post")
    meaning = source.meaning(Code(space, words))

    assert (None if meaning is None else (meaning.status, meaning.reason)) == means


@pytest.mark.parametrize(
    ("status", "heads"),
    [("Delivered", ["delivered"]), ("In transit", []), ("Possible delay", ["possible delay"]), ("Unknown", []), ("", []), ("New", ["new"])],
)  # fmt: skip
def test_a_status_that_no_event_says_is_a_scan(make, status, heads) -> None:
    report = _of_one(make, _event("Arrived at facility", LATE), _event("Delivered - to a locker"), status=status)

    assert [scan.code.code for scan in report.scans if scan.code.space == "status"] == heads


def test_the_status_of_the_whole_counts_only_where_its_one_article_has_none(make) -> None:
    for status, heads in (("Delivered", []), ("", ["in transit"])):
        items = [_article(MINE, _event("Delivered", LATE), status=status)]
        (report,) = _read(make, {"tracking_id": MINE, "status": "In transit", "trackable_items": items})

        assert [scan.code.code for scan in report.scans if scan.code.space == "status"] == heads


# times and places


@pytest.mark.parametrize(
    ("location", "place", "zone"),
    [
        ("CALOUNDRA WEST QLD", "CALOUNDRA WEST, QLD, AU", Zone.OFFSET),
        ("Sydney,nsw", "Sydney, NSW, AU", Zone.OFFSET),
        ("PERTH WA 6000", "PERTH, WA, AU", Zone.OFFSET),
        ("", "", Zone.OFFSET),
        (7, "", Zone.OFFSET),
        ([], "", Zone.OFFSET),
        ("SYDNEY (AU)", "SYDNEY, AU", Zone.OFFSET),
        ("JOHN F. KENNEDY APT/NEW YORK (US)", "JOHN F. KENNEDY APT/NEW YORK, US", Zone.UTC),
        ("LOS ANGELES", "LOS ANGELES", Zone.UTC),  # or Australian without its state: the moment is right all the same
    ],
)
def test_a_scan_that_is_not_in_australia_has_no_local_time(make, location, place, zone) -> None:
    (scan,) = _of_one(make, _event("Arrived at facility", EARLY, location)).scans

    assert (str(scan.place), scan.zone, scan.local is None) == (place, zone, zone is Zone.UTC)
    assert scan.occurred_at.isoformat() == EARLY


@pytest.mark.parametrize(
    ("event", "code", "where"),
    [
        (_event(None), "missing", "description"),
        (_event(""), "missing", "description"),
        (_event(7), "7", None),
        (_event({}), "missing", "description"),
        (_event("Arrived at facility", "soon"), "arrived at facility", "date"),
    ],
)
def test_an_odd_event_costs_itself_only(make, event, code, where) -> None:
    report, *unread = _read(make, {"tracking_id": MINE, "trackable_items": [_article(MINE, event)]})

    assert [scan.code.code for scan in report.scans] == [code]
    assert report.complete is (where is None)
    assert [one.where.rpartition(".")[2] for one in unread] == ([where] if where else [])


# consignments


def test_what_startrack_tells_of_a_consignment_itself_is_told_of_it(make) -> None:
    itself = {
        "status": "Delivered in Full",
        "events": [_event("Item Delivered", LATE), _event("On Board for Delivery")],
    }
    article = _article("A01", _event("Arrived at facility"), status="In transit")

    alone, of_article, without, beside, nothing = (
        _read(make, {"tracking_id": "A", "status": "Delivered", **more})
        for more in (
            {"consignment": itself, "trackable_items": [article]},
            {"consignment": {}, "trackable_items": [article]},
            {"consignment": itself},
            {"consignment": itself, "trackable_items": [_article("A", _event("Delivered", LATE), itself["events"][0])]},
            {"consignment": 7, "trackable_items": [article]},
        )
    )

    assert [(one.number, [scan.code.code for scan in one.scans]) for one in alone] == [
        ("A", ["item delivered", "on board for delivery"]),
        ("A01", ["arrived at facility"]),
    ]
    assert [scan.code.code for scan in of_article[0].scans] == ["arrived at facility"]
    assert [len(one.scans) for one in without] == [2]
    assert [scan.code.code for scan in beside[0].scans] == ["delivered", "item delivered", "on board for delivery"]
    assert [one.where for one in nothing if hasattr(one, "where")] == ["$.tracking_results[0].consignment"]


@pytest.mark.parametrize(
    ("articles", "chosen"),
    [
        ([("Delivered", EARLY, "Delivered"), ("Arrived at facility", EARLY, "")], "arrived at facility"),
        ([("Delivered", EARLY, ""), ("Delivered", LATE, "")], "delivered"),  # the later one, below
        ([("Onboard for delivery", EARLY, ""), ("Arrived at facility", EARLY, "")], "arrived at facility"),
        ([("Delivered", LATE, ""), ("Arrived at facility", EARLY, "Cancelled")], "arrived at facility"),
        ([("Delivered", LATE, ""), ("Something new", EARLY, "")], "something new"),
        ([("Delivered", LATE, ""), ("Leave in a safe place requested by Receiver", EARLY, "")], "leave in a safe place requested by receiver"),
    ],
)  # fmt: skip
def test_a_consignment_is_as_far_as_its_article_that_is_least_far(make, articles, chosen) -> None:
    items = [_article(f"A{i}", _event(said, at), status=status) for i, (said, at, status) in enumerate(articles)]
    whole, *each = _read(make, {"tracking_id": "A", "trackable_items": items})

    assert whole.scans[0].code.code == chosen
    assert (whole.complete, [one.number for one in each]) == (False, ["A0", "A1"])
    if chosen == "delivered":
        assert whole.scans[0].occurred_at.isoformat() == LATE
    assert {(link.number, link.relation) for one in each for link in one.links} == {("A", "main")}


def test_an_article_that_is_asked_for_by_its_own_id_is_told_alone(make) -> None:
    items = [_article("A1", _event("Delivered")), _article(MINE, _event("Arrived at facility"))]
    (report,) = _read(make, {"tracking_id": MINE, "trackable_items": items})

    assert ([scan.code.code for scan in report.scans], report.complete) == (["arrived at facility"], True)


def test_an_article_without_an_id_or_a_history_costs_itself_only(make) -> None:
    items = [_article("", _event("Delivered")), _article("A1"), {"article_id": [], "events": [_event("Delivered")]}, 7]
    whole, named, *unread = _read(make, {"tracking_id": "A", "trackable_items": items})

    assert (whole.number, named.number, named.scans) == ("A", "A1", ())
    assert [one.where for one in unread] == [
        f"$.tracking_results[0].trackable_items[{i}]{rest}" for i, rest in ((1, ".events"), (2, ".article_id"), (3, ""))
    ]


def test_a_number_that_an_answer_leaves_out_is_not_known_yet(make) -> None:
    source, _ = make("carriers.australia_post")
    body = {"tracking_results": [{"tracking_id": "1", "status": "Created"}, {"tracking_id": "2"}]}
    parts = (json.dumps(body).encode(), b'{"asked": ["1", "2", "3"]}')
    told, missing, unread = source.normalize(Payload("a", "poll", parts, AT, {}))

    assert (told.number, missing.number, str(missing.tracking), unread.subject) == ("1", "3", "not_found", "2")


@pytest.mark.parametrize("more", [{"trackable_items": [_article(MINE, status="In transit")]}, {"status": "In transit"}])
def test_what_is_wrong_with_an_id_of_which_something_is_told_is_told_too(make, more) -> None:
    error = {"code": "ESB-20010", "name": "Product is not trackable"}

    report, unread = _read(make, {"tracking_id": MINE, "errors": [error], **more})

    assert report.scans[0].code.code == "in transit"
    assert (unread.where, unread.subject) == ("$.tracking_results[0].errors", MINE)
    assert unread.problem == "says ESB-20010: Product is not trackable beside what is told"


def test_an_error_of_a_whole_call_is_told_in_its_words(make) -> None:
    source, _ = make("carriers.australia_post")
    body = b'{"errors": [{"code": "51101", "name": "TOO_MANY_AP_TRACKING_IDS"}]}'

    for status, error in ((200, Transient), (400, Refused)):
        with pytest.raises(error, match="51101: TOO_MANY_AP_TRACKING_IDS"):
            source.raise_for_status(Response(status, {}, body, AT))

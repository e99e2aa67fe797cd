"""17TRACK: conformance, the signature, requests, and what is its own: registering, the quota, times without a zone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.plugins.signing import SECRET
from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient, WebhookRejected
from tracker.domain.facts import Code, Parcel, Parcels, Payload, Quota, Registered, Report
from tracker.domain.timeline import place_in_time
from tracker.domain.vocabulary import TrackingState, Zone
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

FIXTURES = Path(__file__).parents[1] / "fixtures" / "seventeen_track"
TestConformance = for_carrier("carriers.seventeen_track", fixtures=FIXTURES)
HOST = "https://api.17track.net/track/v2.2"
KEY = "0123456789ABCDEF"
VECTOR = (  # made by hand from the rule of the document: sha256(body + "/" + key), not the sender's own
    b'{"event":"TRACKING_UPDATED","data":{"number":"RR123456789CN","carrier":3011,"tag":null,"track_info":'
    b'{"latest_status":{"status":"Delivered","sub_status":"Delivered_Other","sub_status_descr":null}}}}'
)
SIGN = "ad51145b880b91f0f1846e14d3ad9d86467c377aa279318d98f1acbe3be3dee1"


def signed(body: bytes) -> dict[str, str]:
    return {"sign": hashlib.sha256(body + b"/" + SECRET).hexdigest()}


def rejected(number: str, code: int, said: str = "no") -> dict:
    return {"number": number, "error": {"code": code, "message": said}}


def answer(accepted=(), rejected=()) -> dict:
    return {"code": 0, "data": {"accepted": list(accepted), "rejected": list(rejected)}}


NONE_THERE = answer(rejected=[rejected("N1AAA", -18019902), rejected("N2AAA", -18019902)])


@pytest.fixture
def source(make):
    return make("carriers.seventeen_track", api_key=SecretStr(KEY), webhook_secrets=())


def check(source, sign: str | None, body: bytes = VECTOR) -> int:
    return source.verify(Payload("a", "webhook", (body,), AT, {} if sign is None else {"sign": sign}))


def test_the_signature_is_the_hash_of_body_slash_and_access_key(make) -> None:
    source, _ = make("carriers.seventeen_track", api_key=SecretStr("new"), webhook_secrets=[SecretStr(KEY)])
    newest, _ = make("carriers.seventeen_track", api_key=SecretStr(KEY), webhook_secrets=())

    assert check(newest, SIGN) == 0
    assert check(source, SIGN) == 1  # a key of before is counted
    for sign in (
        None,
        "",
        SIGN[:-1] + "0",
        hashlib.sha256(VECTOR).hexdigest(),
        hashlib.sha256(VECTOR + KEY.encode()).hexdigest(),
    ):
        with pytest.raises(WebhookRejected):
            check(newest, sign)
    with pytest.raises(WebhookRejected):
        check(newest, SIGN, VECTOR + b"\n")


def test_numbers_are_looked_for_first_and_only_the_others_registered(outside, source) -> None:
    look = outside.post(f"{HOST}/gettrackinfo").respond(
        json=answer(
            [{"number": "N1AAA", "carrier": 3011, "track_info": None}],
            [rejected("N2AAA", -18019902), rejected("N3AAA", -18019909)],
        )
    )
    made = outside.post(f"{HOST}/register").respond(json=answer([{"origin": 2, "number": "N2AAA", "carrier": 21051}]))

    told = source[0].register(
        source[1], Parcels((Parcel("dhl", "N1AAA"), Parcel("usps", "N2AAA"), Parcel("dhl", "N3AAA")))
    )

    assert told == [Registered("N1AAA", their_ref="3011"), Registered("N3AAA"), Registered("N2AAA", their_ref="21051")]
    assert json.loads(look.calls[0].request.content) == [{"number": "N1AAA"}, {"number": "N2AAA"}, {"number": "N3AAA"}]
    assert json.loads(made.calls[0].request.content) == [{"number": "N2AAA", "carrier": 21051}]  # no email, no lang
    assert made.calls[0].request.headers["17token"] == KEY


def test_what_is_registered_already_is_not_registered_again(outside, source) -> None:
    outside.post(f"{HOST}/gettrackinfo").respond(json=answer(rejected=[rejected("N1AAA", -18019909)]))

    assert source[0].register(source[1], Parcels((Parcel(None, "N1AAA"),))) == [Registered("N1AAA")]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (-18019901, [Registered("N1AAA", their_ref="100002")]),
        (-18019907, [Registered("N1AAA", spent=True)]),
        (-18019908, [Registered("N1AAA", spent=True)]),
        (-18010003, []),  # asked for again
        (-18019903, [Registered("N1AAA", refused="-18019903: no")]),
        (-18010018, [Registered("N1AAA", refused="-18010018: no")]),
    ],
)
def test_each_number_of_a_batch_has_its_own_answer(outside, source, code: int, told) -> None:
    outside.post(f"{HOST}/gettrackinfo").respond(json=NONE_THERE)
    outside.post(f"{HOST}/register").respond(
        json=answer([{"number": "n2aaa", "carrier": 100003}], [rejected("N1AAA", code), rejected("OTHER", -1), {}])
    )

    found = source[0].register(source[1], Parcels((Parcel("ups", "N1AAA"), Parcel(None, "N2AAA"))))

    assert found == [Registered("N2AAA", their_ref="100003"), *told]


def test_a_quota_that_is_used_up_for_the_whole_call_lets_all_of_it_wait(outside, source) -> None:
    outside.post(f"{HOST}/gettrackinfo").respond(json=NONE_THERE)
    outside.post(f"{HOST}/register").respond(
        json={"code": -18019908, "data": {"errors": [{"code": -18019908, "message": "no quota"}]}}
    )

    assert source[0].register(source[1], Parcels((Parcel(None, "N1AAA"),))) == [Registered("N1AAA", spent=True)]


def test_what_a_carrier_wants_beside_the_number_is_sent(outside, make) -> None:
    outside.post(f"{HOST}/gettrackinfo").respond(json=NONE_THERE)
    made = outside.post(f"{HOST}/register").respond(json=answer())
    source, client = make("carriers.seventeen_track", params={"21051": "1234"})

    source.register(client, Parcels((Parcel("usps", "N1AAA"), Parcel("ups", "N2AAA"))))

    assert json.loads(made.calls[0].request.content) == [
        {"number": "N1AAA", "carrier": 21051, "param": "1234"}, {"number": "N2AAA", "carrier": 100002},
    ]  # fmt: skip


def test_a_poll_names_the_carrier_under_which_a_number_is_registered(outside, source) -> None:
    asked = outside.post(f"{HOST}/gettrackinfo").respond(json=answer())
    parcels = tuple(Parcel("usps", f"N{i:03}", their_ref="21051" if i else None) for i in range(41))

    assert len(list(source[0].fetch(source[1], Parcels(parcels)))) == 2
    first = json.loads(asked.calls[0].request.content)
    assert (len(first), first[:2]) == (40, [{"number": "N000"}, {"number": "N001", "carrier": 21051}])


def test_the_quota_is_asked_for(outside, source) -> None:
    asked = outside.post(f"{HOST}/getquota").respond(
        json={"code": 0, "data": {"quota_total": 200, "quota_used": 190, "quota_remain": 10}}
    )

    assert source[0].quota(source[1]) == Quota(10, 200)
    assert asked.calls[0].request.content == b"[]"


def test_stopping_what_is_stopped_is_success_and_a_second_retrack_is_refused(outside, source) -> None:
    stop = outside.post(f"{HOST}/stoptrack").respond(
        json=answer(rejected=[rejected("N1AAA", -18019906), rejected("N2AAA", -18019902)])
    )
    outside.post(f"{HOST}/retrack").respond(
        json=answer([{"number": "N1AAA", "carrier": 21051}], [rejected("N2AAA", -18019905, "once")])
    )
    parcels = Parcels((Parcel("usps", "N1AAA", their_ref="21051"), Parcel(None, "N2AAA")))

    assert source[0].stop(source[1], parcels) == [Registered("N1AAA", their_ref="21051"), Registered("N2AAA")]
    assert json.loads(stop.calls[0].request.content) == [{"number": "N1AAA", "carrier": 21051}, {"number": "N2AAA"}]
    assert source[0].track_again(source[1], parcels) == [
        Registered("N1AAA", their_ref="21051"), Registered("N2AAA", refused="-18019905: once"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (200, -18010001, CredentialsRejected), (401, -18010002, CredentialsRejected), (200, -18010004, CredentialsRejected),
        (401, 0, CredentialsRejected), (200, 429, RateLimited), (429, 429, RateLimited), (200, -18010003, Transient),
        (500, 500, Transient), (200, -18010013, Refused), (200, -18010014, Refused),
    ],
)  # fmt: skip
def test_an_error_inside_200_is_told_by_its_code(make, status: int, code: int, error: type[Exception]) -> None:
    source, _ = make("carriers.seventeen_track")
    body = json.dumps({"code": code, "data": {"errors": [{"code": code, "message": "why"}]}}).encode()

    with pytest.raises(error, match="why" if code not in (0, 500) else "HTTP"):
        source.raise_for_status(Response(status, {}, body, AT))


def test_an_answer_that_tells_nothing_is_not_no_news(make) -> None:
    source, _ = make("carriers.seventeen_track")

    for body in ({"code": 0, "data": {}}, {"data": {"accepted": [7], "rejected": None}}, {"event": "TRACKING_UPDATED"}):
        with pytest.raises(BadPayload):
            source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {}))
    assert source.normalize(Payload("a", "webhook", (b'{"event": "SOMETHING_NEW"}',), AT, {})) == ()


def _times(make) -> list:
    source, _ = make("carriers.seventeen_track")
    (report,) = source.normalize(Payload("a", "poll", ((FIXTURES / "times.poll.json").read_bytes(),), AT, {}))
    return [place_in_time(scan, source.default_zone, AT) for scan in report.scans]


def test_a_time_without_a_zone_is_marked_and_never_told_as_known(make) -> None:
    (london, day, found, utc, printed, head) = _times(make)

    assert london[1] is Zone.BY_PLACE  # a place is printed: its zone, marked
    assert (day[1], day[0].isoformat()) == (
        Zone.ASSUMED,
        "2026-10-26T00:00:00+00:00",
    )  # nothing is: may be wrong by 26 h
    assert (found[1], found[0].isoformat()) == (
        Zone.BY_PLACE,
        "2026-10-25T11:00:00+00:00",
    )  # 17TRACK found it, not the carrier
    assert (utc[1], printed[1], head[1]) == (Zone.UTC, Zone.OFFSET, Zone.UNKNOWN)


def _one(make, event: dict, **info):
    source, _ = make("carriers.seventeen_track")
    track_info = {
        "latest_status": {},
        "tracking": {"providers": [{"provider": {"key": 21051}, "events": [event]}]},
        **info,
    }
    body = {"data": {"accepted": [{"number": "N1AAA", "carrier": 21051, "track_info": track_info}], "rejected": []}}
    items = list(source.normalize(Payload("a", "poll", (json.dumps(body).encode(),), AT, {})))
    return items[0], items[1:]


@pytest.mark.parametrize(
    ("raw", "local", "at", "missed"),
    [
        (
            {"date": "2026-10-27", "time": "18:30", "timezone": "-0500"},
            "2026-10-27T18:30:00",
            "2026-10-27T23:30:00+00:00",
            0,
        ),
        ({"date": "2026-10-27", "time": "18:30:00", "timezone": "PST"}, "2026-10-27T18:30:00", None, 1),
        ({"date": "27/10/2026", "time": "18:30:00", "timezone": None}, None, None, 1),
        ("2026-10-27 18:30:00", "2026-10-27T18:30:00", None, 0),
        (7, None, None, 1),
        (None, None, None, 0),
    ],
)
def test_what_cannot_be_read_of_a_time_is_told_and_not_guessed(make, raw, local, at, missed: int) -> None:
    report, unread = _one(make, {"stage": "Delivered", "time_raw": raw})
    (scan,) = report.scans

    assert (scan.local.isoformat() if scan.local else None) == local
    assert (scan.occurred_at.astimezone(AT.tzinfo).isoformat() if scan.occurred_at else None) == at
    assert len(unread) == missed


def test_a_new_sub_status_means_what_the_status_it_begins_with_does_and_no_other_is_guessed(make) -> None:
    source, _ = make("carriers.seventeen_track")

    assert source.meaning(Code("3011", "Exception_019")).status == "exception"
    assert source.meaning(Code("3011", "Delivered_Locker")).status == "delivered"
    assert source.meaning(Code("3011", "Teleported_Other")) is None


def test_a_status_at_the_head_is_told_where_no_event_carries_it(make) -> None:
    report, _ = _one(make, {"description": "moved"}, latest_status={"status": "Delivered", "sub_status": None})

    assert [scan.code.code for scan in report.scans] == ["none", "Delivered"]


def test_a_number_with_events_is_known_whatever_the_status_says(make) -> None:
    report, _ = _one(make, {"stage": "Delivered"}, latest_status={"status": "NotFound", "sub_status": "NotFound_Other"})
    fresh, _ = _one(make, {})

    assert (report.tracking, len(report.scans)) == (TrackingState.ACTIVE, 1)
    assert isinstance(fresh, Report)


def test_a_push_is_as_old_as_the_last_answer_of_a_carrier_in_it(make) -> None:
    source, _ = make("carriers.seventeen_track")
    by = {
        kind: next(
            iter(source.normalize(Payload("a", kind, ((FIXTURES / f"same-out.{kind}.json").read_bytes(),), AT, {})))
        )
        for kind in ("webhook", "poll")
    }

    assert by["webhook"].as_of.isoformat() == "2026-10-30T12:00:00+00:00"
    assert by["poll"].as_of is None  # as of now


def test_the_access_key_is_all_that_pushes_need(make) -> None:
    source, _ = make("carriers.seventeen_track", webhook_secrets=())

    assert source.webhooks_need() == ""


@pytest.mark.parametrize("left", ["10", None, 1.5])
def test_a_quota_that_is_no_number_is_told_as_none(outside, source, left) -> None:
    outside.post(f"{HOST}/getquota").respond(json={"code": 0, "data": {"quota_total": 200, "quota_remain": left}})

    with pytest.raises(Transient, match="quota_remain"):
        source[0].ping(source[1])


def test_the_key_is_proved_by_asking_for_the_quota(outside, source) -> None:
    asked = outside.post(f"{HOST}/getquota").respond(json={"code": 0, "data": {"quota_remain": 1}})

    source[0].ping(source[1])
    assert asked.calls[0].request.headers["17token"] == KEY


def test_a_body_that_breaks_off_leaves_an_error_to_its_status(make) -> None:
    source, _ = make("carriers.seventeen_track")

    with pytest.raises(Transient, match="HTTP 500"):
        source.raise_for_status(Response(500, {}, b'{"code": -18010002, "da', AT))


def test_a_number_that_nobody_asked_about_is_not_told_as_stopped(outside, source) -> None:
    outside.post(f"{HOST}/stoptrack").respond(json=answer([{"number": "OTHER"}, {"number": "N1AAA"}]))

    (told,) = source[0].stop(source[1], Parcels((Parcel("dhl_express", "N1AAA"),)))
    assert told == Registered("N1AAA")


@pytest.mark.parametrize("list_of", ["accepted", "rejected"])
def test_a_carrier_that_cannot_be_read_is_told_with_its_number(make, list_of: str) -> None:
    source, _ = make("carriers.seventeen_track")
    item = {**rejected("N1AAA", -18019909), "carrier": [7]}
    report, missed = source.normalize(Payload("a", "poll", (json.dumps(answer(**{list_of: [item]})).encode(),), AT, {}))

    assert (report.carrier, report.number) == ("unknown", "N1AAA")
    assert missed.subject == "N1AAA" and missed.where.endswith("carrier")

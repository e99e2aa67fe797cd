"""DPD: conformance, logins and requests, dates and stages that lie ahead, and its bulk files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from tests.plugins.dpd import ended, read, source
from tests.plugins.tables import LINES
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
)
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.domain.timeline import place_in_time
from tracker.plugin.asked import NOT_TOLD, beside
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier
from tracker.plugin.xml import decode_xml

FIXTURES = Path(__file__).parents[1] / "fixtures" / "dpd"
BASE = "https://wsshipper.dpd.nl/soap/services"
LOGIN, TRACK = f"{BASE}/LoginService/V2_1", f"{BASE}/ParcelLifeCycleService/V2_0"
NUMBER = "05222000000011"

TestConformance = for_carrier("carriers.dpd", fixtures=FIXTURES, form=LINES)


def envelope(body: str) -> bytes:
    return (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{body}</s:Body></s:Envelope>'.encode()
    )


def token(value: str = "t1", ends: str = "2026-11-03T11:00:00.1234567") -> bytes:
    ends = f"<authTokenExpires>{ends}</authTokenExpires>" if ends else ""
    return envelope(
        f"<getAuthResponse><return><authToken>{value}</authToken><depot>0522</depot>{ends}</return></getAuthResponse>"
    )


def answer(*stages: str, more: str = "", asked: str = NUMBER) -> bytes:
    listed = "".join(f"<statusInfo>{one}</statusInfo>" for one in stages)
    told = envelope(
        f"<getTrackingDataResponse><trackingresult>{more}{listed}</trackingresult></getTrackingDataResponse>"
    )
    return told.replace(b"<s:Body>", f"<asked>{asked}</asked><s:Body>".encode()) if asked else told


def stage(
    date: str = "", status: str = "Courier", reached: str = "true", current: str = "false", place: str = ""
) -> str:
    date = f"<date><content>{date}</content></date>" if date else ""
    place = f"<location><content>{place}</content></location>" if place else ""
    return (
        f"<status>{status}</status><statusHasBeenReached>{reached}</statusHasBeenReached>"
        f"<isCurrentStatus>{current}</isCurrentStatus>{place}{date}"
    )


def fault(detail: str, words: str = "Server was unable to process request") -> bytes:
    return envelope(
        f"<s:Fault><faultcode>s:Server</faultcode><faultstring>{words}</faultstring><detail>{detail}</detail></s:Fault>"
    )


def login_fault(code: str, message: str = "no") -> bytes:
    return fault(
        f"<a:authenticationFault xmlns:a='a'><errorCode>{code}</errorCode><errorMessage>{message}</errorMessage></a:authenticationFault>"
    )


def faults(code: str, message: str) -> bytes:
    return fault(f"<f:faults xmlns:f='f'><faultCode>{code}</faultCode><message>{message}</message></f:faults>")


# asking


def test_a_login_is_asked_for_once_and_its_token_goes_into_each_call(outside, make) -> None:
    login = outside.post(LOGIN).respond(content=token())
    track = outside.post(TRACK).respond(content=answer(stage(), asked=""))
    one, client = make("carriers.dpd", delis_id="me&you", language="nl_NL")

    pages = list(one.fetch(client, Parcels(tuple(Parcel("dpd", n) for n in (NUMBER, "]]><a&b", "\x01")))))

    assert (len(login.calls), len(track.calls), len(pages)) == (1, 2, 2)
    asked = decode_xml(login.calls[0].request.content)["Envelope"]["Body"]["getAuth"]
    assert asked == {"delisId": "me&you", "password": "canary-password", "messageLanguage": "nl_NL"}
    assert login.calls[0].request.headers["soapaction"] == '"http://dpd.com/common/service/LoginService/2.1/getAuth"'
    sent = [decode_xml(call.request.content)["Envelope"] for call in track.calls]
    assert [one["Body"]["getTrackingData"] for one in sent] == [
        {"parcelLabelNumber": NUMBER},
        {"parcelLabelNumber": "]]><A&B"},
    ]
    assert sent[0]["Header"]["authentication"] == {"delisId": "me&you", "authToken": "t1", "messageLanguage": "nl_NL"}
    action = '"http://dpd.com/common/service/ParcelLifeCycleService/2.0/getTrackingData"'
    assert {call.request.headers["soapaction"] for call in track.calls} == {action}


@pytest.mark.parametrize(
    ("number", "label"),
    [
        ("05222000000011", "05222000000011"), ("052220000000112", "05222000000011"), ("05222000000011F", "05222000000011"),
        ("000101505222000000011101276A", "05222000000011"), ("00010150522200000001110127", "00010150522200000001110127"), ("KYV009956937", "KYV009956937"),
    ],
)  # fmt: skip
def test_a_barcode_is_asked_about_by_its_label_number_and_told_as_itself(
    outside, make, number: str, label: str
) -> None:
    outside.post(LOGIN).respond(content=token())
    track = outside.post(TRACK).respond(content=answer(stage(), asked=""))
    one, client = make("carriers.dpd")

    (page,) = one.fetch(client, Parcels((Parcel("dpd", number),)))
    (report,) = one.normalize(Payload("a", "poll", page.parts, AT, {}))
    sent = decode_xml(track.calls[0].request.content)["Envelope"]["Body"]["getTrackingData"]
    assert (sent["parcelLabelNumber"], report.number) == (label, number)


@pytest.mark.parametrize(
    "encoded", [lambda body: body, lambda body: b'<?xml version="1.0" encoding="utf-16"?>'.decode().encode("utf-16") + body.decode().encode("utf-16")[2:]]
)  # fmt: skip
def test_which_number_was_asked_stands_in_what_is_kept(outside, make, encoded) -> None:
    outside.post(LOGIN).respond(content=token())
    outside.post(TRACK).respond(content=encoded(answer(stage(), asked="")))
    one, client = make("carriers.dpd")

    (page,) = one.fetch(client, Parcels((Parcel("dpd", NUMBER),)))
    (report,) = one.normalize(Payload("a", "poll", page.parts, AT, {}))

    assert (report.carrier, report.number, len(report.scans)) == ("dpd", NUMBER, 1)


def test_a_recorded_answer_is_read_and_that_nobody_says_whose_it_is_is_told() -> None:
    for stages, state in (((stage(),), "active"), ((), "not_found")):
        body = answer(*stages, asked="")
        (report,), (unread,) = read(body)
        (named,) = source().normalize(Payload("a", "poll", (body, beside([NUMBER])), AT, {}))

        assert (report.number, len(report.scans), str(report.tracking)) == (NOT_TOLD, len(stages), state)
        assert (unread.where, unread.lacks) == ("$", "all")
        assert (named.number, named.scans, named.tracking) == (NUMBER, report.scans, report.tracking)


def test_a_number_that_is_none_is_not_read() -> None:
    with pytest.raises(BadPayload, match=r"Envelope\.asked"):
        read(answer(stage(), asked="two words"))


@pytest.mark.parametrize("code", ["ERR_DELICOM_TOKEN_EXPIRED", "ERR_DELICOM_TOKEN_INCORRECT", "LOGIN_5"])
def test_a_token_that_ended_is_renewed_and_the_call_is_made_again(outside, make, code: str) -> None:
    login = outside.post(LOGIN).mock(side_effect=[httpx.Response(200, content=token(value)) for value in ("t1", "t2")])
    track = outside.post(TRACK).mock(
        side_effect=[
            httpx.Response(500, content=login_fault(code)),
            httpx.Response(200, content=answer(stage(), asked="")),
        ]
    )
    one, client = make("carriers.dpd")

    assert len(list(one.fetch(client, Parcels((Parcel("dpd", NUMBER),))))) == 1
    assert (len(login.calls), len(track.calls)) == (2, 2)
    assert b"<authToken>t2</authToken>" in track.calls[1].request.content


def test_a_token_ends_when_its_login_says_in_utc_or_a_day_later() -> None:
    class Client:
        def __init__(self, body: bytes) -> None:
            self.body = body

        def send(self, request: Any) -> Response:
            return Response(200, {}, self.body, AT)

        def now(self) -> datetime:
            return AT

    ends = {
        "2026-11-03T11:00:00.1234567": datetime(2026, 11, 3, 11, 0, 0, 123456, tzinfo=UTC),
        "2026-11-03T12:00:00+01:00": datetime(2026, 11, 3, 11, tzinfo=UTC),
        "": datetime(2026, 11, 3, 12, tzinfo=UTC), "soon": datetime(2026, 11, 3, 12, tzinfo=UTC),
    }  # fmt: skip
    for printed, at in ends.items():
        assert source()._grant(Client(token(ends=printed))).ends_at == at
    for body in (token(""), envelope(""), b"<a/>"):
        with pytest.raises(BadPayload):
            source()._grant(Client(body))


@pytest.mark.parametrize(
    ("status", "body", "raised", "said"),
    [
        (500, login_fault("DELICOM_ERR_AUTHENTICATION", "check delisId"), CredentialsRejected, "DELICOM_ERR_AUTHENTICATION: check delisId"),
        (200, login_fault("X"), CredentialsRejected, "X: no"), (500, fault("", "ERR_DELICOM_TOKEN_EXPIRED"), CredentialsRejected, "TOKEN_EXPIRED"),
        (500, login_fault("X", "Too many logins today"), RateLimited, "Too many logins"), (500, faults("1", "rate limit"), RateLimited, "rate limit"),
        (500, faults("ERR_PLC", "Parcel was not found"), NotFound, "not found"), (500, fault("", "No data available"), NotFound, "No data"),
        (200, faults("ERR_PLC", "parcelLabelNumber must have 14 digits"), Refused, "14 digits"), (500, faults("", "why"), Refused, "why"),
        (500, fault(""), Transient, "Server was unable"), (500, fault("<a>x</a>"), Transient, "Server was unable"),
        (500, fault("<faults><x/></faults>"), Transient, "Server was unable"), (500, b"", Transient, ""), (401, b"", CredentialsRejected, ""),
        (429, b"", RateLimited, ""), (200, b"<html></html>", Unavailable, ""), (200, b"{}", Transient, "no XML"),
    ],
)  # fmt: skip
def test_a_fault_means_what_its_detail_says(status: int, body: bytes, raised: type[Exception], said: str) -> None:
    with pytest.raises(raised, match=said or None) as told:
        source().raise_for_status(Response(status, {}, body, AT))
    assert isinstance(told.value, raised) and (raised is not Transient or not isinstance(told.value, RateLimited))


def test_the_words_of_a_number_that_is_not_known_are_the_accounts_own() -> None:
    body = faults("E1", "Onbekend pakket")

    with pytest.raises(Refused):
        source().raise_for_status(Response(500, {}, body, AT))
    with pytest.raises(NotFound):
        source(not_found=["onbekend", ""]).raise_for_status(Response(500, {}, body, AT))


def test_a_ping_believes_only_an_answer_about_a_number(outside, make) -> None:
    outside.post(LOGIN).respond(content=token())
    track = outside.post(TRACK)
    one, client = make("carriers.dpd")
    for status, body in (
        (200, answer(asked="")),
        (500, faults("1", "not found")),
        (500, faults("1", "must have 14 digits")),
    ):
        track.respond(status, content=body)
        one.ping(client)
    for status, body, raised in (
        (404, b"", Unavailable), (200, b"", BadPayload), (200, envelope("<getAuthResponse/>"), BadPayload), (200, token(), BadPayload),
        (500, fault(""), Transient), (400, b"<a/>", Refused),
    ):  # fmt: skip
        track.respond(status, content=body)
        with pytest.raises(raised):
            one.ping(client)


def test_an_account_without_credentials_reads_files_and_asks_nobody() -> None:
    files = source(delis_id="", password=None)

    assert (source().asks != frozenset(), files.asks, files.files) == (True, frozenset(), True)
    assert (source().token_lasts is not None, files.token_lasts) == (True, None), "nobody is told to keep tokens of it"
    with pytest.raises(Refused, match="files only"):
        files.ping(None)
    for half in ({"delis_id": ""}, {"password": None}, {"password": ""}):
        with pytest.raises(ValidationError, match="belong together"):
            source(**half)


# answers


def test_a_stage_that_lies_ahead_is_no_scan_and_either_flag_keeps_one() -> None:
    flags = [
        ("true", "true"),
        ("true", "false"),
        ("false", "true"),
        ("1", "0"),
        ("0", "1"),
        ("TRUE", ""),
        ("", "true"),
        ("false", "false"),
        ("0", ""),
        ("", "false"),
    ]
    (report,), unread = read(answer(*(stage(status=f"S{at}", reached=a, current=b) for at, (a, b) in enumerate(flags))))

    assert [scan.code.code for scan in report.scans] == ["S0", "S1", "S2", "S3", "S4", "S5", "S6"]
    assert not unread


def test_a_stage_of_which_nobody_says_whether_it_was_reached_is_told() -> None:
    (report,), unread = read(
        answer(
            stage(),
            stage(reached="", current=""),
            stage(reached="maybe", current="false"),
            stage(reached="<a/>", current=""),
        )
    )

    assert len(report.scans) == 1
    assert [(one.where.rpartition("statusInfo")[2], one.subject) for one in unread] == [
        ("[1].statusHasBeenReached", NUMBER), ("[2].statusHasBeenReached", NUMBER), ("[3].statusHasBeenReached", NUMBER),
    ]  # fmt: skip


def test_the_order_data_is_a_stage_where_its_date_is_printed() -> None:
    for date, codes in (("3/1/2026 8:00:00 AM", ["Courier", "SHIPMENT"]), ("", ["Courier"])):
        info = f"<shipmentInfo>{stage(date, status='SHIPMENT')}</shipmentInfo>"
        (report,), unread = read(answer(stage(), more=info))

        assert ([scan.code.code for scan in report.scans], unread) == (codes, [])


def test_a_parcel_of_which_only_the_future_is_told_is_known() -> None:
    (report,), unread = read(answer(stage(reached="false")))

    assert (report.scans, str(report.tracking), unread) == ((), "active", [])


@pytest.mark.parametrize(
    ("body", "state", "said"),
    [
        (answer(), "not_found", ""), (answer(more=" \n"), "not_found", ""),
        (answer(more="<shipmentInfo><errorItems><content><content>Kapot</content></content></errorItems></shipmentInfo>"), "error", "Kapot"),
        (answer(more="<shipmentInfo><errorItems/><errorItems><content/></errorItems></shipmentInfo>"), "not_found", ""),
    ],
)  # fmt: skip
def test_an_answer_without_a_stage_knows_nothing_of_the_number_or_says_what_is_wrong(body, state, said) -> None:
    (report,), unread = read(body)

    assert (str(report.tracking), report.said, unread) == (state, said, [])


@pytest.mark.parametrize("spelling", ["trackingresult", "trackingResult"])
def test_both_spellings_of_a_result_are_read_and_none_says_nothing(spelling: str) -> None:
    body = answer(stage()).replace(b"trackingresult", spelling.encode())

    assert len(read(body)[0][0].scans) == 1
    for wrong in (b"other", b"Envelope"):
        with pytest.raises(BadPayload):
            read(body.replace(spelling.encode(), wrong))


DATES = [
    # printed, language, dates -> local, problem
    ("18.03.2016, 10:02", "en_US", "auto", "2016-03-18 10:02:00 minute", ""),
    ("01/06/2012, 02:09", "nl_NL", "auto", "2012-06-01 02:09:00 minute", ""),
    ("7/30/2021 9:54:00 AM", "en_US", "auto", "2021-07-30 09:54:00 second", ""),
    ("7/6/2021 12:05:09 AM", "en_EN", "auto", "2021-07-06 00:05:09 second", ""),
    ("7/6/2021 12:05 p.m.", "en_US", "auto", "2021-07-06 12:05:00 minute", ""),
    ("7/30/2021 9:54:00 PM", "nl_BE", "auto", "2021-07-30 21:54:00 second", ""),  # no month has the number 30
    ("30/7/2021 21:54", "en_US", "auto", "2021-07-30 21:54:00 minute", ""),
    ("6/6/2021 9:54:00 AM", "nl_NL", "auto", "2021-06-06 09:54:00 second", ""),  # both ways the same
    ("18-03-2016 10:02", "nl_NL", "auto", "2016-03-18 10:02:00 minute", ""),
    ("18.03.2016", "de_DE", "auto", "2016-03-18 00:00:00 date", ""),
    ("01/06/2012, 02:09", "en_US", "auto", None, "two ways"), ("7/6/2021 9:54:00 AM", "nl_NL", "auto", None, "two ways"),
    ("01/06/2012, 02:09", "en_US", "day_first", "2012-06-01 02:09:00 minute", ""),
    ("7/6/2021 9:54:00 AM", "nl_NL", "month_first", "2021-07-06 09:54:00 second", ""),
    ("7/6/2021 9:54:00 AM", "en_US", "day_first", "2021-06-07 09:54:00 second", ""),
    ("13/13/2021 9:54", "en_US", "auto", None, "is no date and time"), ("7/6/2021 13:05:00 PM", "en_US", "auto", None, "is no date and time"),
    ("30.02.2021, 10:00", "de_DE", "auto", None, "is no date and time"), ("18.03.2016, 24:00", "de_DE", "auto", None, "is no date and time"),
    ("18.03.0000, 10:00", "de_DE", "auto", None, "is no date and time"), ("18.03.0001, 10:00", "de_DE", "auto", None, "is no date and time"), ("18.03/2016", "de_DE", "auto", None, "known to print"),
    ("\u0661\u0668.03.2016, 10:02", "de_DE", "auto", None, "known to print"), ("today", "nl_NL", "auto", None, "known to print"),
    ("2026-13-01 09:30:00", "nl_NL", "auto", None, "ISO 8601"), ("2026-12-01", "nl_NL", "auto", "2026-12-01 00:00:00 date", ""),
]  # fmt: skip


@pytest.mark.parametrize(("printed", "language", "dates", "local", "problem"), DATES)
def test_a_date_is_read_by_its_form_and_language_and_never_guessed(printed, language, dates, local, problem) -> None:
    (report,), unread = read(answer(stage(printed)), language=language, dates=dates)
    (scan,) = report.scans

    assert (f"{scan.local} {scan.precision}" if scan.local else None) == local
    assert [problem in one.problem for one in unread] == [True] * bool(problem)
    assert scan.occurred_at is None  # no zone is printed: the core places it, and marks it


def test_a_place_names_its_country_which_says_the_zone() -> None:
    (report,), _ = read(
        answer(stage("7/30/2021 9:54:00 AM", place="Leeds (GB)"), stage("7/30/2021 9:54:00 AM", place="Depot 7"))
    )

    assert [str(scan.place) for scan in report.scans] == ["Leeds, GB", "Depot 7"]
    placed = [place_in_time(scan, source().default_zone, AT) for scan in report.scans]
    assert [(f"{at:%H:%M}", str(how)) for at, how in placed] == [("08:54", "by_place"), ("07:54", "assumed")]


@pytest.mark.parametrize(
    ("code", "means"),
    [("Delivered", "delivered"), ("DELIVERED", "delivered"), ("delivered", "delivered"), ("AT_DELIVERY_DEPOT", "in_transit"), ("at_delivery_depot", "in_transit"), ("Nobody", None)],
)  # fmt: skip
def test_both_sets_of_statuses_are_known_however_they_are_spelt(code: str, means: str | None) -> None:
    one = source()
    (report,), _ = read(answer(stage(status=code)))
    meaning = one.meaning(report.scans[0].code)

    assert (meaning and str(meaning.status)) == means


def test_the_words_of_a_label_never_say_that_it_is_out_for_delivery() -> None:
    label = "<label><content>Parcel out for delivery</content></label>"
    (report,), _ = read(answer(stage(status="AT_DELIVERY_DEPOT") + label))

    assert (report.scans[0].code.text, str(source().meaning(report.scans[0].code).status)) == (
        "Parcel out for delivery",
        "in_transit",
    )


@pytest.mark.parametrize("service", ["DPD RETURN", "dpd shop return", "Uw dienst: DPD SHOP RETURN (klein)"])
def test_the_delivered_of_a_return_is_returned(service: str) -> None:
    info = f"<shipmentInfo><serviceDescription><content><content>x</content></content><content><content>{service}</content></content></serviceDescription></shipmentInfo>"
    reports, _ = read(answer(stage("3/9/2026 10:00:00 AM", status="Delivered", current="true"), more=info))

    assert ended(reports) == {NUMBER: ("returned", "received_by_sender")}
    assert {
        scan.leg
        for scan in read(answer(stage(), more=info.replace("RETURN", "HOME").replace("return", "home")))[0][0].scans
    } == {None}

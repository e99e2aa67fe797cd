"""DHL: conformance, requests, and what is its own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tracker.domain.errors import BadPayload, CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Code, Link, Parcel, Parcels, Payload, Proof, Refs, Report, Unread
from tracker.domain.vocabulary import Leg, ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT, for_carrier

TestConformance = for_carrier("carriers.dhl", fixtures=Path(__file__).parents[1] / "fixtures" / "dhl")
HOST = "https://api-eu.dhl.com"


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("dhl", n) for n in numbers))


def test_a_poll_sends_the_key_and_the_service_when_it_is_known(outside, make) -> None:
    track = outside.get(f"{HOST}/track/shipments").respond(json={"shipments": []})
    source, client = make("carriers.dhl", service="parcel-de")

    list(source.fetch(client, ask("JJD1")))

    sent = track.calls[0].request
    assert dict(sent.url.params) == {"trackingNumber": "JJD1", "language": "en", "service": "parcel-de"}
    assert sent.headers["dhl-api-key"] == "canary-api_key"


def test_not_found_is_not_an_exception_of_the_parcel(outside, make) -> None:
    outside.get(f"{HOST}/track/shipments").respond(404, json={"title": "No result found", "status": 404})
    source, client = make("carriers.dhl")

    with pytest.raises(NotFound):
        list(source.fetch(client, ask("JJD1")))
    source.ping(client)  # 404 proves the key


def test_a_wrong_key_fails_the_ping(outside, make) -> None:
    outside.get(f"{HOST}/track/shipments").respond(401)
    source, client = make("carriers.dhl")

    with pytest.raises(CredentialsRejected):
        source.ping(client)


def test_without_an_address_to_be_called_at_it_is_polled_only(outside, make) -> None:
    source, client = make("carriers.dhl")

    assert [a.their_ref for a in source.register(client, ask("A", "B"))] == [None, None]


def test_subscriptions_hold_ten_numbers_and_our_own_token(outside, make) -> None:
    made = outside.post(f"{HOST}/tracking/push/v1/subscription").respond(202, json={"subscriptionId": "s1"})
    source, client = make("carriers.dhl", callback_url="https://t.example/webhooks/dhl/x", service="express")

    answers = source.register(client, ask(*(f"N{i}" for i in range(12))))

    assert [len(json.loads(c.request.content)["shipmentIDs"]) for c in made.calls] == [10, 2]
    body = json.loads(made.calls[0].request.content)
    assert body["hook"]["authentication"] == {
        "type": "ApiKeyAuthentication", "header": "DHL-Hook-Token", "token": "new-secret-0123456789abcdef",
    }  # fmt: skip
    assert (body["service"], body["type"]) == ("express", "Shipment")
    assert {a.their_ref for a in answers} == {"s1"}


def test_the_handshake_is_answered_at_our_configured_host_with_their_secret(outside, make) -> None:
    confirm = outside.post(f"{HOST}/tracking/push/v1/subscription/4f1c-77").respond(200)
    source, client = make("carriers.dhl")

    assert source.register(client, Refs(("4f1c-77:hook-secret",))) == []
    assert confirm.calls[0].request.headers["dhl-api-hook-secret"] == "hook-secret"


@pytest.mark.parametrize("address", ["https://evil.example/x?y", "", "../../x y", None])
@pytest.mark.parametrize("secret", ["s", "s\r\nx: y", "gehe\u00efm", ""])
def test_a_handshake_that_names_no_subscription_is_a_bad_payload(make, address, secret) -> None:
    source, _ = make("carriers.dhl")
    body = {
        "scope": "subscription.validate",
        "self": address if secret == "s" else "https://x/4f1c-77",
        "secret": secret,
    }

    with pytest.raises(BadPayload):
        list(source.normalize(Payload("a", "webhook", (json.dumps(body).encode(),), AT, {})))


def test_a_status_of_a_service_we_do_not_know_falls_back_to_the_coarse_code(make) -> None:
    source, _ = make("carriers.dhl")

    meaning = source.meaning(Code("new-service/transit", "SOMETHING_NEW"))
    assert meaning.status is ShippingStatus.IN_TRANSIT
    assert source.meaning(Code("new-service/", "missing")) is None
    assert source.meaning(Code("parcel-nl/unknown", "unknown")).status is None


def _all(make, *shipments, kind="poll"):
    source, _ = make("carriers.dhl")
    body = {"shipments": list(shipments)}
    items = source.normalize(Payload("a", kind, (json.dumps(body).encode(),), AT, {}))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def _one(make, **shipment):
    (report,), unread = _all(make, {"id": "JJD1", "service": "express", **shipment})
    assert unread == []
    return report


def test_a_shipment_without_events_tells_its_status(make) -> None:
    report = _one(make, status={"statusCode": "transit", "status": "PU", "timestamp": "2024-01-02T03:04:05Z"})

    assert report.scans[0].code == Code("express", "PU", "PU")
    assert report.scans[0].occurred_at.isoformat() == "2024-01-02T03:04:05+00:00"
    assert not report.complete


def event(status: str, at: str, coarse: str = "transit") -> dict:
    return {"timestamp": at, "statusCode": coarse, "status": status}


@pytest.mark.parametrize(
    ("status", "codes"),
    [
        (event("OK", "2024-01-04T09:00:00Z", "delivered"), ["OK"]),  # only the head tells it
        (event("OH", "2024-01-03T09:00:00Z", "failure"), []),  # the newest event again
        ({**event("OH", "2024-01-03T09:00:00Z", "failure"), "remark": "x"}, []),  # with a word more
        (event("OH", "2024-01-02T09:00:00Z", "failure"), []),  # older than the newest event
        (event("WC", "2024-01-02T08:00:00Z"), []),  # an older event says the same
        (event("WC", "2024-01-04T08:00:00Z"), ["WC"]),  # out for delivery again: only the head tells it
        ({"statusCode": "failure", "status": "OH"}, []),  # the same, without a time
    ],
)
def test_a_status_at_the_head_becomes_a_scan_where_no_event_carries_it(make, status, codes) -> None:
    events = [event("OH", "2024-01-03T09:00:00Z", "failure"), event("WC", "2024-01-02T08:00:00Z")]

    report = _one(make, events=events, status=status)

    assert [scan.code.code for scan in report.scans] == ["OH", "WC", *codes]
    assert report.complete


def test_a_coarse_code_means_the_same_in_capitals(make) -> None:
    report = _one(make, service="parcel-uk", events=[event("OUT", "2024-01-03T09:00:00Z", "Transit")])

    assert [scan.code for scan in report.scans] == [Code("parcel-uk/transit", "OUT", "OUT")]


@pytest.mark.parametrize(
    ("printed", "city", "country"),
    [
        ("EAST MIDLANDS - UK", "EAST MIDLANDS", "GB"),  # a name in two capitals, and no code: it had no zone
        ("MACAU - MACAU SAR, CHINA", "MACAU", "MO"),
        ("ISTANBUL - TURKIYE", "ISTANBUL", "TR"),
        ("SYDNEY-AU", "SYDNEY", "AU"),
        ("WASHINGTON - XQ", "WASHINGTON - XQ", ""),  # no country: it belongs to the city
    ],
)
def test_what_stands_behind_the_dash_of_express_is_a_country(make, printed, city, country) -> None:
    where = {"location": {"address": {"addressLocality": printed}}}
    (scan,) = _one(make, events=[{**event("PL", "2024-01-03T09:00:00"), **where}]).scans

    assert (scan.place.city, scan.place.country) == (city, country)


def test_an_event_without_time_or_status_code_is_kept(make) -> None:
    report = _one(make, events=[{"description": "Gated out"}])

    assert report.scans[0].code == Code("express/", "missing", "Gated out")


def test_estimates_and_proof_are_read(make) -> None:
    frame = {"estimatedFrom": "2024-01-02T10:00:00Z", "estimatedThrough": "2024-01-02T12:00:00Z"}
    pod = {"proofOfDelivery": {"signatureUrl": "https://x"}}

    assert _one(make, estimatedDeliveryTimeFrame=frame).edd.ends.hour == 12
    assert _one(make, estimatedTimeOfDelivery="2024-01-02T10:00:00").edd.begins.hour == 10
    assert _one(make, estimatedTimeOfDelivery="2024-01-02T10:00:00").edd.ends.hour == 10
    assert _one(make, details=pod).proof.signed
    assert _one(make, details={}).proof is None


def test_midnight_in_an_estimate_is_the_day(make) -> None:
    edd = _one(make, estimatedTimeOfDelivery="2024-01-02T00:00:00+01:00").edd

    assert [at.isoformat() for at in (edd.begins, edd.ends)] == [
        "2024-01-02T00:00:00+01:00",
        "2024-01-03T00:00:00+01:00",
    ]


def test_each_odd_piece_of_a_shipment_costs_itself_only(make) -> None:
    odd = {
        "id": "JJD2", "service": 7, "status": "delivered",
        "events": [event("PU", "2024-01-02"), event("PU", "today"), {"status": [1], "timestamp": "2024-01-02"}, "moved",
                   {**event("PU", "2024-01-02"), "location": "Bonn"}, {**event("PU", "2024-01-02"), "location": {"address": 5}}],
        "details": {"proofOfDelivery": "yes"}, "estimatedDeliveryTimeFrame": {"estimatedFrom": "soon", "estimatedThrough": 1},
        "estimatedTimeOfDelivery": "later",
    }  # fmt: skip

    (first, second), unread = _all(
        make, {"id": "JJD1", "events": [event("PU", "2024-01-02T10:00:00Z")]}, odd, {"id": []}
    )

    assert (first.number, len(first.scans), first.complete) == ("JJD1", 1, True)
    assert [scan.code.code for scan in second.scans] == ["PU", "PU", "missing", "PU", "PU"]
    assert (second.edd, second.complete) == (None, False)
    at = "$.shipments[1]"
    assert [(one.where, one.subject, one.lacks) for one in unread] == [
        *((f"{at}.{name}", "JJD2", "") for name in (
            "service", "events[1].timestamp", "events[2].status", "events[3]", "events[4].location",
            "events[5].location.address", "status", "details.proofOfDelivery", "estimatedDeliveryTimeFrame.estimatedFrom",
            "estimatedDeliveryTimeFrame.estimatedThrough", "estimatedTimeOfDelivery",
        )),
        ("$.shipments[2].id", "", "all"),
    ]  # fmt: skip


def test_an_answer_without_shipments_names_its_path(make) -> None:
    source, _ = make("carriers.dhl")

    for body in (b"{}", b'{"shipments": null}', b'{"shipments": 7}', b'{"shipments": [7]}'):
        with pytest.raises(BadPayload, match=r"\$\.shipments"):
            list(source.normalize(Payload("a", "poll", (body,), AT, {})))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"status": 404, "title": "No result found"}', NotFound),
        (b'{"status": 429, "title": "Too Many Requests"}', RateLimited),
        (b'{"status": 429, "title": "Too Many Requests", "of": "shipments"}', RateLimited),
        (b'{"title": "Sorry", "status": "busy"}', Transient),
        (b"\xef\xbb\xbf <!DOCTYPE html><title>Sorry</title>", Transient),
    ],
)
def test_an_error_that_comes_with_200_is_an_error(make, body, error) -> None:
    source, _ = make("carriers.dhl")

    with pytest.raises(error):
        source.raise_for_status(Response(200, {}, body, AT))


@pytest.mark.parametrize("body", [b"", b"OK", b'{"shipments": [{"title": 1}]}', b'{"about": {"title": 1}}', b'{"title'])
def test_what_is_no_error_is_judged_good(make, body) -> None:
    source, _ = make("carriers.dhl")

    source.raise_for_status(Response(200, {}, body, AT))


def test_a_subscription_that_could_leave_its_place_is_never_called(make) -> None:
    source, client = make("carriers.dhl")

    for ref in ("..:secret", "4f1c-77:a\r\nb", "4f1c-77"):
        with pytest.raises(Refused):
            source.register(client, Refs((ref,)))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"message": "no Route matched"}', b"not JSON"])
def test_a_ping_believes_a_404_only_in_dhls_own_words(outside, make, body) -> None:
    outside.get(f"{HOST}/track/shipments").respond(404, content=body)
    source, client = make("carriers.dhl")

    with pytest.raises(Transient, match="base_url may lead elsewhere"):
        source.ping(client)


@pytest.mark.parametrize("body", [b"{}", b'{"status": "ok"}'])
def test_a_ping_believes_no_other_answer_with_200(outside, make, body) -> None:
    outside.get(f"{HOST}/track/shipments").respond(200, content=body)
    source, client = make("carriers.dhl")

    with pytest.raises(Transient, match="without shipments"):
        source.ping(client)


PDF = b"%PDF-1.4 pod"
POD = "https://webpod.dhl.com/webPOD/DHLePODRequest?hwb=1"


def _asked(outside, make, *shipments, **settings):
    outside.get(f"{HOST}/track/shipments").respond(200, json={"shipments": list(shipments)})
    return make("carriers.dhl", **settings)


def proven(service: str, **pod) -> dict:
    return {"id": "1", "service": service, "details": {"proofOfDelivery": pod}}


def test_the_document_of_a_delivery_is_fetched_without_our_key(outside, make) -> None:
    source, client = _asked(outside, make, proven("parcel-nl"), proven("Express", signatureUrl=POD), {"id": "1"})
    there = outside.get(POD).respond(200, content=PDF)

    document = source.proof(client, Parcel("dhl", "1"), "express")

    assert (document.content, document.kind) == (PDF, "application/pdf")
    assert "dhl-api-key" not in there.calls[0].request.headers


def test_the_whole_document_comes_before_the_signature(outside, make) -> None:
    source, client = _asked(outside, make, proven("express", signatureUrl=f"{POD}2", documentUrl=POD))
    outside.get(POD).respond(200, content=b"GIF89a")

    assert source.proof(client, Parcel("dhl", "1"), None).kind == "image/gif"


@pytest.mark.parametrize(
    "address",
    [
        "https://dhl.com.evil.example/pod", "http://webpod.dhl.com/pod", "https://evil.example/dhl.com/", "https://evildhl.com/x",
        "https://webpod.dhl.com@evil.example/", "https://webpod.dhl.com:8443/", "file:///etc/passwd", "//webpod.dhl.com/x",
        "https://webpod.dhl.com\\@evil.example/", "https://[::1", "pod",
    ],
)  # fmt: skip
def test_a_document_elsewhere_than_at_dhl_is_never_asked_for(outside, make, address) -> None:
    source, client = _asked(outside, make, proven("express", documentUrl=address))

    with pytest.raises(Refused, match="not at a host of DHL"):
        source.proof(client, Parcel("dhl", "1"), "express")
    assert len(outside.calls) == 1


@pytest.mark.parametrize(
    "pod", [{}, {"documentUrl": ""}, {"documentUrl": None}, {"documentUrl": 7, "signatureUrl": []}]
)
def test_a_delivery_without_a_document_has_none_yet(outside, make, pod) -> None:
    source, client = _asked(outside, make, proven("express", **pod), {"id": "1", "details": {"proofOfDelivery": POD}})

    with pytest.raises(NotFound, match="or none yet"):
        source.proof(client, Parcel("dhl", "1"), None)


def test_what_is_neither_an_image_nor_a_pdf_is_no_document(outside, make) -> None:
    source, client = _asked(outside, make, proven("express", documentUrl=POD))
    outside.get(POD).respond(200, content=b"see you later")

    with pytest.raises(BadPayload, match="neither an image nor a PDF"):
        source.proof(client, Parcel("dhl", "1"), "express")


def test_a_delivery_of_what_is_flagged_as_returned_is_on_the_way_back(make) -> None:
    events = [event("OK", "2024-01-04T09:00:00Z", "delivered"), event("WC", "2024-01-03T09:00:00Z")]

    for flag in (True, "true"):
        assert [scan.leg for scan in _one(make, events=events, returnFlag=flag).scans] == [Leg.RETURN_TO_SENDER, None]
    assert [scan.leg for scan in _one(make, events=events, returnFlag=False).scans] == [None, None]
    sent = {**event("The shipment was delivered to its sender", "2024-01-05T09:00:00Z", "delivered")}
    (scan,) = _one(make, service="parcel-uk", events=[sent], returnFlag=True).scans
    assert (scan.code.code, scan.leg) == ("delivered", Leg.RETURN_TO_SENDER)
    (report,), (left,) = _all(make, {"id": "1", "service": "express", "events": events, "returnFlag": "yes"})
    assert (report.scans[0].leg, left.where) == (None, "$.shipments[0].returnFlag")


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("express", "ok", ("express", "OK")), ("ecommerce", 600, ("ecommerce", "600")), ("EXPRESS", "OK", ("express", "OK")),
        ("ecommerce", "out for delivery", ("ecommerce", "OUT FOR DELIVERY")), ("express", "delivered", ("express/delivered", "delivered")),
        ("parcel-de", "The shipment has been successfully delivered", ("parcel-de", "ZU")), ("ecommerce", "A new wording", ("ecommerce/delivered", "delivered")),
        ("express", "XQ", ("express/delivered", "XQ")), ("express", "x" * 600, ("express/delivered", "delivered")),
    ],
)  # fmt: skip
def test_a_status_that_is_listed_is_its_own_name_and_any_other_stands_beside_the_coarse_code(
    make, service, status, code
) -> None:
    report = _one(make, service=service, events=[event(status, "2024-01-04T09:00:00Z", "delivered")])

    assert (report.scans[0].code.space, report.scans[0].code.code) == code
    assert report.piece == service.lower()


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        ("The shipment has been delivered to the sender", "", "to the sender"), ("", "Parcel returned to original shipper", "returned"),
        ("RETURNED_TO_SENDER", "", "RETURNED_TO_SENDER"), ("X9", "Delivered at ParcelShop", "X9 delivered at parcelshop"),
        ("Zustellung an den Absender", "", "absender"), ("X9", "Zurück beim Versender", "X9 zurück"),
        ("The recipient has picked up the shipment from the PACKSTATION", "", "delivered"), ("X9", "Delivered to neighbour", "X9"),
    ],
)  # fmt: skip
def test_a_coarse_delivered_that_its_own_words_contradict_means_nothing_and_is_seen(make, status, said, code) -> None:
    """`delivered` is printed of parcels that are back at the sender, or in a parcel shop."""
    printed = {**event(status, "2024-01-04T09:00:00Z", "delivered"), "description": said}
    (scan,) = _one(make, service="parcel-uk", events=[printed]).scans
    means = make("carriers.dhl")[0].meaning(scan.code)

    assert (scan.code.space, scan.code.code) == ("parcel-uk/delivered", code)
    true = code in ("delivered", "X9")
    assert (means.status if means else None) is (ShippingStatus.DELIVERED if true else None)


def test_an_answer_about_a_piece_is_that_of_its_shipment_and_one_about_others_says_so(outside, make) -> None:
    piece, other = "JD014600004444917061", "JD014600009999999999"
    shipment = {"id": 1234567890, "service": "express", "events": [event("OK", "2024-01-04T09:00:00Z", "delivered")]}
    shipment["details"] = {"pieceIds": [7, piece.lower()]}
    elsewhere = {"id": "3", "service": "express", "details": {"pieceIds": "none"}}
    source, client = make("carriers.dhl")
    for asked, shipments, numbers, problem in (
        ("1234567890", [shipment], ["1234567890"], ""), (piece, [elsewhere, shipment], ["3", piece], ""), (piece, [], [piece], ""),
        (other, [shipment], ["1234567890"], "tells nothing of the number that was asked about"),
    ):  # fmt: skip
        outside.get(f"{HOST}/track/shipments").respond(json={"shipments": shipments})
        (page,) = source.fetch(client, ask(asked))
        assert (len(page.parts) == 1) is (asked == "1234567890")
        items = source.normalize(Payload("a", "poll", page.parts, AT, {}))
        reports, unread = ([i for i in items if isinstance(i, kind)] for kind in (Report, Unread))
        assert [report.number for report in reports] == numbers
        assert [(one.problem, one.subject) for one in unread] == ([(problem, other)] if problem else [])
        if numbers[-1] == piece and shipments:
            assert reports[-1].links == (Link("1234567890", "dhl", "main"),)
        assert shipments or str(reports[0].tracking) == "not_found"


@pytest.mark.parametrize(
    ("service", "address", "place"),
    [
        ("express", {"addressLocality": "SYDNEY-AU"}, "SYDNEY, AU"), ("express", {"addressLocality": "MILAN - ITALY"}, "MILAN, IT"),
        ("express", {"addressLocality": "BADEN-BADEN", "countryCode": "de"}, "BADEN-BADEN, DE"), ("express", {"addressLocality": "X-ITALY", "countryCode": "SM"}, "X, SM"),
        ("parcel-de", {"addressLocality": "Germany"}, "DE"), ("parcel-de", {"addressLocality": "Bonn"}, "Bonn, DE"), ("parcel-de", {"addressLocality": "Wien, Austria"}, "Wien, AT"),
        ("parcel-de", {"addressLocality": "Vaduz, Ruritania"}, "Vaduz, Ruritania"), ("ecommerce", {"addressLocality": "Avenel, NJ, US", "countryCode": "US"}, "Avenel, NJ, US"),
        ("ecommerce", {"addressLocality": "Avenel", "countryCode": None}, "Avenel"), ("parcel-nl", {"addressLocality": "a" * 600}, "a" * 500 + ", NL"),
    ],
)  # fmt: skip
def test_a_place_is_read_with_the_country_that_it_names(make, service, address, place) -> None:
    at = {**event("PU", "2024-01-04T09:00:00"), "location": {"address": address}}

    assert str(_one(make, service=service, events=[at]).scans[0].place) == place


def test_references_are_one_or_several_and_only_those_of_another_carrier_are_links(make) -> None:
    one = {"number": "9241990198168201334143", "type": "local-tracking-number"}
    rest = [
        {"number": "JJD1", "type": "domestic-consignment-id"},
        {"type": "local-tracking-number"},
        {"number": "x", "type": "housebill"},
    ]

    assert [link.number for link in _one(make, details={"references": one}).links] == ["9241990198168201334143"]
    assert [link.number for link in _one(make, details={"references": [one, *rest]}).links] == [
        "9241990198168201334143"
    ]
    assert _one(make, details={"references": []}).links == ()


def test_a_proof_says_when_and_whether_somebody_signed(make) -> None:
    pod = {"timestamp": "2024-01-04T09:00:00+01:00"}

    assert _one(make, details={"proofOfDelivery": pod}).proof == Proof(datetime.fromisoformat(pod["timestamp"]))
    assert _one(make, details={"proofOfDeliverySignedAvailable": True}).proof == Proof(signed=True)
    assert _one(make, details={"proofOfDelivery": {"signed": {"name": "X"}}}).proof.signed


def test_an_estimate_without_an_offset_is_local_to_its_service_or_to_the_destination(make) -> None:
    frame = {"estimatedFrom": "2026-07-01T10:00:00", "estimatedThrough": "2026-07-01T13:00:00"}

    edd = _one(make, service="parcel-de", estimatedDeliveryTimeFrame=frame).edd
    assert [at.isoformat() for at in (edd.begins, edd.ends)] == [
        "2026-07-01T10:00:00+02:00",
        "2026-07-01T13:00:00+02:00",
    ]
    for service, country, begins in (
        ("parcel-nl", "DE", "10:00+02:00"), ("parcel-pl", "", "10:00+02:00"), ("express", "jp", "10:00+09:00"), ("express", "US", "10:00+00:00"),
    ):  # fmt: skip
        to = {"address": {"countryCode": country}}
        edd = _one(make, service=service, estimatedDeliveryTimeFrame=frame, destination=to).edd
        assert f"{edd.begins:%H:%M}{edd.begins.isoformat()[-6:]}" == begins
    day = _one(make, service="parcel-de", estimatedTimeOfDelivery="2026-07-01T00:00:00").edd
    assert day.ends - day.begins == timedelta(days=1)


@pytest.mark.parametrize("remark", ["", None, 7, "back to you", "JVGL1"])
def test_a_remark_that_is_no_number_of_a_return_is_no_link(make, remark) -> None:
    returned = {**event("RETURNED_TO_SHIPPER", "2024-01-04T09:00:00Z"), "remark": remark}

    assert _one(make, service="parcel-nl", events=[returned]).links == ()


@pytest.mark.parametrize("status", ["404", "429", "700", "x", None, [], True])
def test_the_status_of_an_error_with_200_may_be_a_text(make, status) -> None:
    source, _ = make("carriers.dhl")
    wanted = {"404": NotFound, "429": RateLimited}.get(str(status), Transient)

    with pytest.raises(wanted):
        source.raise_for_status(Response(200, {}, json.dumps({"title": "No", "status": status}).encode(), AT))


def test_pushes_need_our_address_and_a_token(make) -> None:
    assert (
        make("carriers.dhl", callback_url=None, webhook_secrets=())[0].webhooks_need()
        == "callback_url and webhook_secrets"
    )
    assert make("carriers.dhl", callback_url="https://t.example/x")[0].webhooks_need() == ""

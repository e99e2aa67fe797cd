"""What is CPU alone: parsers, also beside the peer's, and the domain."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import canada_post
from tests.bench.figures import RUNS, T0, cpu, row, side_by_side


def _ups(events: int) -> bytes:
    activity = {
        "location": {"address": {"city": "PARAMUS", "stateProvince": "NJ", "countryCode": "US", "country": "US"}, "slic": "0761"},
        "status": {"type": "I", "description": "Departed from Facility", "code": "DP", "statusCode": "005", "simplifiedTextDescription": "On the Way"},
        "date": "20220126", "time": "163000", "gmtDate": "20220126", "gmtTime": "213000", "gmtOffset": "-05:00",
    }  # fmt: skip
    package = {
        "trackingNumber": "1Z1442YY7229014688",
        "activity": [{**activity, "time": f"{i % 24:02}3000"} for i in range(events)],
    }
    return json.dumps(
        {"trackResponse": {"shipment": [{"inquiryNumber": "1Z1442YY7229014688", "package": [package]}]}}
    ).encode()


def _fedex(events: int) -> bytes:
    event = {
        "date": "2024-05-03T08:00:00-05:00", "eventType": "AR", "eventDescription": "Arrived at FedEx location", "exceptionCode": "", "exceptionDescription": "",
        "scanLocation": {"streetLines": [""], "city": "AUSTIN", "stateOrProvinceCode": "TX", "postalCode": "78701", "countryCode": "US", "residential": False, "countryName": "United States"},
        "locationId": "AUSA", "locationType": "FEDEX_FACILITY", "derivedStatusCode": "IT", "derivedStatus": "In transit", "delayDetail": {"type": "", "subType": ""},
    }  # fmt: skip
    result = {
        "trackingNumberInfo": {"trackingNumber": "123456789012"},
        "latestStatusDetail": {"code": "IT", "derivedCode": "IT", "statusByLocale": "In transit"},
        "scanEvents": [{**event, "date": f"2024-05-03T{i % 24:02}:00:00-05:00"} for i in range(events)],
    }
    return json.dumps(
        {"output": {"completeTrackResults": [{"trackingNumber": "123456789012", "trackResults": [result]}]}}
    ).encode()


def _dhl(events: int) -> bytes:
    event = {"timestamp": "2019-09-03T11:33:05+02:00", "location": {"address": {"addressLocality": "Börnicke", "countryCode": "DE"}}, "statusCode": "transit", "status": "EE", "description": "The shipment has been processed in the parcel center of origin"}  # fmt: skip
    return json.dumps(
        {"shipments": [{"id": "JJD1", "service": "parcel-de", "status": event, "events": [event] * events}]}
    ).encode()


def _dhl_express(events: int) -> bytes:
    event = {"date": "2023-08-09", "time": "13:56:21", "GMTOffset": "+10:00", "typeCode": "PU", "description": "Shipment picked up", "serviceArea": [{"code": "SYD", "description": "SYDNEY-AU"}]}  # fmt: skip
    shipment = {"shipmentTrackingNumber": "1234567890", "status": "Success", "events": [event] * events}
    return json.dumps({"shipments": [shipment]}).encode()


def _easypost(events: int) -> bytes:
    detail = {"object": "TrackingDetail", "message": "Arrived at FedEx location", "description": "Arrived at FedEx location", "status": "in_transit", "status_detail": "arrived_at_facility", "datetime": "2024-07-31T22:35:00Z", "source": "FedEx", "carrier_code": "AR", "tracking_location": {"object": "TrackingLocation", "city": "ORLANDO", "state": "FL", "country": "US", "zip": "32809"}}  # fmt: skip
    return json.dumps({"object": "Event", "id": "evt_1", "result": {"object": "Tracker", "tracking_code": "1", "carrier": "FedEx", "status": "in_transit", "updated_at": "2024-08-02T19:26:51Z", "tracking_details": [detail] * events}}).encode()  # fmt: skip


def _delhivery(events: int) -> bytes:
    detail = {"ScanType": "UD", "Scan": "In Transit", "ScannedLocation": "Jalandhar_QajiMandi_P (Punjab)", "StatusCode": "X-ILL1F", "Instructions": "Bag Received at Facility"}  # fmt: skip
    times = [f"2026-10-22T{i % 24:02}:25:10.124" for i in range(events)]
    scans = [{"ScanDetail": {"ScanDateTime": at, "StatusDateTime": at, **detail}} for at in times]
    return json.dumps({"ShipmentData": [{"Shipment": {"AWB": "26805710004126", "Scans": scans}}]}).encode()


def _hermes(events: int) -> bytes:
    unit = {"name": "Hermes Germany", "city": "Hückelhoven", "countryCode": "DEU"}
    said = {"code": "030-000-006", "description": "The shipment has been sorted in Hückelhoven.", "scanningUnit": unit}
    status = [{"timestamp": f"2026-10-20T{i % 24:02}:00:00+02:00", **said} for i in range(events)]
    return json.dumps({"shipmentinfo": [{"shipmentID": "H9746130018743501086", "status": status}]}).encode()


def _postnl(events: int) -> bytes:
    event = {"Code": "J01", "Description": "Shipment has been sorted", "DestinationLocationCode": "171967", "LocationCode": "171967", "RouteCode": "444", "RouteName": "0444 Spijkenisse 12"}  # fmt: skip
    shipment = {
        "MainBarcode": "3SDEVC288882229", "Barcode": "3SDEVC288882229", "Expectation": {"ETAFrom": "2022-11-08T14:50:00", "ETATo": "2022-11-08T16:50:00"},
        "Event": [{**event, "TimeStamp": f"08-11-2022 {i % 24:02}:58:11"} for i in range(events)],
        "Status": {"TimeStamp": "08-11-2022 17:58:11", "StatusCode": "5", "StatusDescription": "Shipment sorted", "PhaseCode": "2"},
    }  # fmt: skip
    return json.dumps({"CompleteStatus": {"Shipment": shipment}}).encode()


def _blue_dart(events: int) -> bytes:
    detail = {"Scan": "SHIPMENT ARRIVED", "ScanCode": "001", "ScanType": "UD", "ScanGroupType": "S", "ScannedLocation": "MUMBAI HUB", "ScannedLocationCode": "BOM"}  # fmt: skip
    scans = [
        {"ScanDetail": {**detail, "ScanDate": "07-Nov-2026", "ScanTime": f"{i % 24:02}:05"}} for i in range(events)
    ]
    head = {"Status": "SHIPMENT ARRIVED", "StatusType": "UD", "StatusDate": "07 November 2026", "StatusTime": "17:05"}
    return json.dumps({"ShipmentData": {"Shipment": {"WaybillNo": "44330038841", **head, "Scans": scans}}}).encode()


def _purolator(events: int) -> bytes:
    scan = "<Scan><ScanType>Other</ScanType><PIN><Value>329014521622</Value></PIN><Depot><Name>MONTREAL SORT CTR/CTR TRIE, PQ</Name></Depot><ScanDate>2024-01-12</ScanDate><ScanTime>083704</ScanTime><Description>Arrived at sort facility</Description><Comment/><SummaryScanIndicator>false</SummaryScanIndicator></Scan>"
    parcel = f"<TrackingInformation><PIN><Value>329014521622</Value></PIN><Scans>{scan * events}</Scans></TrackingInformation>"
    answer = f'<TrackPackagesByPinResponse xmlns="http://purolator.com/pws/datatypes/v1"><TrackingInformationList>{parcel}</TrackingInformationList></TrackPackagesByPinResponse>'
    return f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{answer}</s:Body></s:Envelope>'.encode()


def _dpd(events: int) -> bytes:
    def line(words: str) -> str:
        return f"<content>{words}</content><bold>true</bold><paragraph>false</paragraph>"

    told = "".join(
        f"<statusInfo><status>Courier</status><label>{line('Parcel out for delivery')}</label><description><content>{line('Object')}</content></description>"
        f"<statusHasBeenReached>true</statusHasBeenReached><isCurrentStatus>false</isCurrentStatus><showContactInfo>true</showContactInfo>"
        f"<location>{line('Leeds (GB)')}</location><date>{line(f'7/{1 + i % 30}/2021 {1 + i % 12}:50:11 AM')}</date></statusInfo>"
        for i in range(events)
    )
    answer = f'<getTrackingDataResponse xmlns="http://dpd.com/common/service/types/ParcelLifeCycleService/2.0"><trackingresult>{told}</trackingresult></getTrackingDataResponse>'
    return f'<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><asked>05222000000011</asked><soap:Body>{answer}</soap:Body></soap:Envelope>'.encode()


def _usps(events: int) -> bytes:
    event = {"eventType": "PROCESSED THROUGH USPS FACILITY", "eventTimestamp": "2026-11-19T21:40:00Z", "GMTTimestamp": "2026-11-20T02:40:00Z", "GMTOffset": "-05:00", "eventCountry": None, "eventCity": "BROCKTON", "eventState": "MA", "eventZIP": "02301", "firm": None, "name": None, "authorizedAgent": "false", "eventCode": "10", "actionCode": None, "reasonCode": None}  # fmt: skip
    head = {"trackingNumber": "9400111206206406260787", "mailClass": "PRIORITY_MAIL", "destinationState": "MA", "predictedDeliveryDate": "2026-11-20", "uniqueMailPieceId": "1CE2A2D0", "statusCategory": "In Transit"}  # fmt: skip
    listed = [{**event, "eventTimestamp": f"2026-11-19T{i % 24:02}:40:00Z"} for i in range(events)]
    return json.dumps({**head, "trackingEvents": listed}).encode()


def _shiprocket(events: int) -> bytes:
    activity = {"status": "X-PPOM", "activity": "In Transit - Shipment picked up, added in bag nxbg03894488", "location": "BLR/FC1, BANGALORE, KARNATAKA", "sr-status": "18", "sr-status-label": "IN TRANSIT"}  # fmt: skip
    track = {"id": 236612717, "awb_code": "141123221084922", "courier_company_id": 51, "shipment_id": 236612717, "order_id": 237157589, "pickup_date": "2022-07-18 20:28:00", "delivered_date": None, "weight": "0.30", "packages": 1, "current_status": "In Transit", "delivered_to": "Chittoor", "destination": "Chittoor", "consignee_name": "", "origin": "Banglore", "courier_agent_details": None, "courier_name": "Xpressbees Surface", "edd": None, "pod": "Not Available", "pod_status": ""}  # fmt: skip
    told = [{"date": f"2022-07-{18 + i // 24} {i % 24:02}:28:00", **activity} for i in range(events)]
    return json.dumps({"tracking_data": {"track_status": 1, "shipment_status": 18, "shipment_track": [track], "shipment_track_activities": told, "track_url": "https://shiprocket.co//tracking/141123221084922", "etd": "2022-07-20 19:28:00"}}).encode()  # fmt: skip


def _dhl_parcel_de(events: int) -> bytes:
    event = '<data name="piece-event" event-timestamp="{:02}.03.2016 11:21" event-status="The shipment has been posted by the sender at the PACKSTATION" event-text="The shipment has been posted by the sender at the PACKSTATION" event-short-status="Posting at PACKSTATION" ice="SHRCU" ric="PCKST" event-location="Bremen" event-country="Germany" standard-event-code="ES" ruecksendung="false" />'  # fmt: skip
    listed = "".join(event.format(day + 1) for day in range(events))
    piece = f'<data name="piece-shipment" error-status="0" piece-code="00340434161094042557" searched-piece-code="00340434161094042557" status-timestamp="18.03.2016 10:02" status="The shipment has been successfully delivered" delivery-event-flag="1" ice="DLVRD" ric="OTHER" standard-event-code="ZU" dest-country="DE" ruecksendung="false"><data name="piece-event-list">{listed}</data></data>'  # fmt: skip
    return f'<?xml version="1.0" encoding="UTF-8"?><data name="piece-shipment-list" code="0">{piece}</data>'.encode()


def _gls(events: int) -> bytes:
    event = {"code": "INBOUD.NORMAL", "city": "Kassel", "postalCode": "34117", "country": "DE", "description": "The parcel has reached the parcel center.", "eventDateTime": "2026-11-03T04:11:40+0100"}  # fmt: skip
    listed = [{**event, "eventDateTime": f"2026-11-03T{23 - i % 24:02}:11:40+0100"} for i in range(events)]
    head = {
        "requested": "36301917596",
        "unitno": "36301917596",
        "status": "INTRANSIT",
        "statusDateTime": listed[0]["eventDateTime"],
    }
    return json.dumps({"parcels": [{**head, "events": listed}]}).encode()


def _royal_mail(events: int) -> bytes:
    event = {"eventCode": "EVIMC", "eventName": "Item received at", "eventDateTime": "2026-10-19T21:30:00+01:00", "locationName": "North West Midlands MC"}  # fmt: skip
    listed = [{**event, "eventDateTime": f"2026-10-19T{23 - i % 24:02}:30:00+01:00"} for i in range(events)]
    summary = {"uniqueItemId": "090367574000000FE1E1B", "oneDBarcode": "FQ087430672GB", "productId": "SD2", "productName": "Special Delivery Guaranteed", "productDescription": "Our guaranteed next working day service with tracking and a signature on delivery", "destinationCountryCode": "GBR", "originCountryCode": "GBR", "lastEventCode": "EVIMC", "lastEventName": "Item received at", "lastEventDateTime": "2026-10-19T23:30:00+01:00", "lastEventLocationName": "North West Midlands MC", "statusDescription": "We have it", "statusCategory": "IN TRANSIT"}  # fmt: skip
    piece = {
        "mailPieceId": "FQ087430672GB",
        "carrierShortName": "RM",
        "carrierFullName": "Royal Mail Group Ltd",
        "summary": summary,
    }
    return json.dumps({"mailPieces": {**piece, "estimatedDelivery": {"date": "2026-10-20"}, "events": listed}}).encode()


def _australia_post(events: int) -> bytes:
    said = (
        "In transit to next facility in CALOUNDRA WEST QLD",
        "Item processed at facility",
        "Shipping information received by Australia Post",
    )
    listed = [
        {"location": "REDBANK MC QLD", "description": said[i % 3], "date": f"2026-11-17T{23 - i % 24:02}:56:01+11:00"}
        for i in range(events)
    ]
    item = {"article_id": "7XX1000634011427", "product_type": "eParcel", "status": "In transit", "events": listed}
    return json.dumps(
        {"tracking_results": [{"tracking_id": "7XX1000634011427", "status": "In transit", "trackable_items": [item]}]}
    ).encode()


def _evri(events: int) -> bytes:
    event = {"trackingStage": {"trackingStageCode": "3"}, "trackingPoint": {"trackingPointCode": "PROCESSING_HUB", "description": "It's at our hub"}, "eta": None}  # fmt: skip
    listed = [{**event, "dateTime": f"2026-11-03T{23 - i % 24:02}:31:07Z"} for i in range(events)]
    return json.dumps(
        {"results": [{"barcode": "H01ABCDEF1234567", "returnParcel": False, "trackingEvents": listed}]}
    ).encode()


def _parser(name: str, body: bytes) -> Callable[[], None]:
    """Make what reads these bytes as that carrier's, scans' meanings included."""
    from tracker.domain.facts import Payload
    from tracker.plugin.conformance import AT, example_settings, plugin_of

    plugin: Any = plugin_of(f"carriers.{name}")
    source = plugin("a", example_settings(plugin))
    payload = Payload("a", "poll", (body,), AT, {})

    def parse() -> None:
        for report in source.normalize(payload):
            for scan in report.scans:
                source.meaning(scan.code)

    return parse


def bench_normalize() -> list[dict[str, Any]]:
    """CPU of a parse against json.loads of the same bytes."""
    rows = []
    answers = {
        "ups": _ups,
        "canada_post": canada_post.as_json,
        "fedex": _fedex,
        "dhl": _dhl,
        "dhl_express": _dhl_express,
        "easypost": _easypost,
        "blue_dart": _blue_dart,
        "delhivery": _delhivery,
        "usps": _usps,
        "hermes_germany": _hermes,
        "postnl": _postnl,
        "shiprocket": _shiprocket,
        "gls": _gls,
        "royal_mail": _royal_mail,
        "australia_post": _australia_post,
        "evri": _evri,
    }
    for name, answer in answers.items():
        body = answer(18)
        parse = _parser(name, body)
        ours, floor = side_by_side(lambda parse=parse: cpu(parse), lambda body=body: cpu(lambda: json.loads(body)))
        rows.append(
            row(
                f"normalize {name}, 18 events, {len(body)} B",
                f"{ours:.0f} us",
                f"{floor:.0f} us json.loads",
                ours / floor,
                "<= 2.5",
            )
        )
    return [*rows, *_bench_xml()]


_XML = {
    "purolator": _purolator,
    "canada_post": canada_post.as_xml,
    "dhl_parcel_de": _dhl_parcel_de,
    "dpd": _dpd,
}


def _bench_xml() -> list[dict[str, Any]]:
    """XML: CPU of a parse against a bare one by lxml of the same bytes, whose tree nobody has looked into yet."""
    from lxml import etree

    rows, parser = [], etree.XMLParser(resolve_entities=False)
    for name, answer in _XML.items():
        body = answer(18)
        parse = _parser(name, body)
        ours, floor = side_by_side(
            lambda parse=parse: cpu(parse), lambda body=body: cpu(lambda: etree.fromstring(body, parser))
        )
        what = f"normalize {name} (XML), 18 events, {len(body)} B"
        rows.append(row(what, f"{ours:.0f} us", f"{floor:.0f} us lxml's tree", ours / floor, "<= 2.5"))
    return rows


def bench_domain() -> list[dict[str, Any]]:
    """summarize 50 scans; reconcile decisions a second."""
    from tests.domain.scans import told
    from tests.domain.test_reconcile import POLICY, order, shipment
    from tracker.domain.reconcile import reconcile
    from tracker.domain.timeline import summarize
    from tracker.domain.vocabulary import ShippingStatus

    scans = [told(ShippingStatus.IN_TRANSIT, i) for i in range(50)]

    def newest() -> None:
        latest = scans[0]
        for scan in scans:
            if scan.instant >= latest.instant:
                latest = scan

    once, bare = side_by_side(lambda: cpu(lambda: summarize(scans)), lambda: cpu(newest))
    one, parcels = order(), [shipment(ShippingStatus.IN_TRANSIT)]
    each = statistics.median(cpu(lambda: reconcile(one, parcels, POLICY, T0)) for _ in range(RUNS))
    return [
        row("summarize 50 scans", f"{once:.0f} us", "-", once, "<= 100 us"),
        row(
            "summarize 50 scans, as often as",
            f"{once:.1f} us",
            f"{bare:.1f} us a loop that finds the newest",
            once / bare,
            "<= 40",
        ),
        row("reconcile", f"{1e6 / each:,.0f}/s", "-", 1e6 / each, ">= 20,000 /s"),
    ]


def bench_peer() -> list[dict[str, Any]]:
    """Ours against the peer's `parse_tracking_response`, CPU of the same bytes, in turn; the peer in its own process and packages."""
    place = Path(".venv/peer")
    if not place.exists():
        print("  the peer is not installed (make bench does it); left out")
        return []
    rows = []
    for name, body in (("ups", _ups(18)), ("fedex", _fedex(18))):
        parse = _parser(name, body)

        def peer(name: str = name, body: bytes = body) -> float:
            done = subprocess.run(
                [sys.executable, "tests/peer.py", name], input=body, capture_output=True, check=True,
                env={**os.environ, "PYTHONPATH": str(place.resolve()), "PYTHONWARNINGS": "ignore"},
            )  # fmt: skip
            return float(done.stdout.split()[-1])

        ours, theirs = side_by_side(lambda parse=parse: cpu(parse), peer)
        rows.append(
            row(
                f"normalize {name} against the peer",
                f"{ours:.0f} us",
                f"{theirs:.0f} us karrio 2026.1.32",
                theirs / ours,
                ">= 12",
            )
        )
    return rows

"""What the tests of ShipRocket share: its addresses, and answers about one AWB."""

from __future__ import annotations

import json

from tracker.domain.facts import Parcel, Parcels, Payload, Report, Unread
from tracker.plugin.conformance import AT

HOST = "https://apiv2.shiprocket.in/v1/external"
LOGIN, AWBS, AWB = f"{HOST}/auth/login", f"{HOST}/courier/track/awbs", f"{HOST}/courier/track/awb/"
NOTHING = {"tracking_data": {"track_status": 0, "error": "Aahh! There is no activities found in our DB."}}


def ask(*numbers: str) -> Parcels:
    return Parcels(tuple(Parcel("delhivery", number) for number in numbers))


def read(source, body, kind: str = "poll", *more: bytes):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    items = list(source.normalize(Payload("a", kind, (body, *more), AT, {})))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def told(*scans, awb="A1", status=None, word="", **more):
    """An answer about one AWB: scans are (number, word[, date[, activity]])."""
    activities = [
        {
            "date": (*rest, "2026-11-02 10:00:00")[0], "status": "X", "activity": (*rest, "", "")[1] or "moved",
            "location": "Pune", "sr-status": number, "sr-status-label": label,
        }
        for number, label, *given in scans
        for rest in (tuple(given),)
    ]  # fmt: skip
    track = {"awb_code": awb, "current_status": word, "courier_name": "Delhivery Surface", **more.pop("track", {})}
    return {
        "tracking_data": {
            "track_status": 1, "shipment_status": status, "shipment_track": [track],
            "shipment_track_activities": activities, **more,
        }
    }  # fmt: skip

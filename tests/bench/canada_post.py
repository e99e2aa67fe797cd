"""Answers of Canada Post, of both its APIs, whose parsing is measured."""

from __future__ import annotations

import json
import re

_EVENT = {"eventIdentifier": "0174", "eventDate": "2026-11-18", "eventTime": "08:12:04", "eventTimeZone": "EST", "eventDescription": "Item out for delivery", "signatoryName": "", "eventSite": "MONTREAL", "eventProvince": "QC", "eventRetailLocationId": "", "eventRetailName": ""}  # fmt: skip


def as_json(events: int) -> bytes:
    """Make an answer of the developer portal."""
    listed = [{**_EVENT, "eventTime": f"{i % 24:02}:12:04"} for i in range(events)]
    head = {"pin": "7023210215628702", "expectedDeliveryDate": "2026-11-20", "destinationPostalId": "H2B"}
    return json.dumps({**head, "significantEvents": listed}).encode()


def as_xml(events: int) -> bytes:
    """Make the same of the XML of before."""
    listed = json.loads(as_json(events))["significantEvents"]
    spelt = {name: re.sub("([A-Z])", r"-\1", name).lower() for name in _EVENT}
    rows = ("".join(f"<{spelt[name]}>{said}</{spelt[name]}>" if said else f"<{spelt[name]}/>" for name, said in one.items()) for one in listed)  # fmt: skip
    head = "<pin>7023210215628702</pin><expected-delivery-date>2026-11-20</expected-delivery-date><destination-postal-id>H2B</destination-postal-id>"  # fmt: skip
    body = "".join(f"<occurrence>{row}</occurrence>" for row in rows)
    return f'<tracking-detail xmlns="http://www.canadapost.ca/ws/track">{head}<significant-events>{body}</significant-events></tracking-detail>'.encode()  # fmt: skip

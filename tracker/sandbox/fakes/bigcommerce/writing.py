"""What is written to a BigCommerce store: it refuses what the real one refuses, and complains of what nobody should write."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.base import as_json
from tracker.sandbox.fakes.bigcommerce.people import LABELS
from tracker.sandbox.fakes.bigcommerce.reading import MISSING, Reads

WRITABLE = {2, 3, 10}  # the others move stock and money, or are people's
MOST_NUMBER = 50  # characters of a tracking number
MOST_FIELDS = 250  # of an order and client
TEXTS = {"namespace": 64, "key": 64, "value": 65_535}
PERMISSIONS = {"app_only", "read", "write", "read_and_sf_access", "write_and_sf_access"}


class Writes(Reads):
    """Its answers to PUT and POST of orders."""

    async def _change(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if (found := self._find(request)) is None:
            return as_json(MISSING, 404, **self._rate())
        name, order = found
        body = orjson.loads(await request.body())
        if len(body) != 1 or not set(body) <= {"status_id", "staff_notes"}:
            self.complaints.append(
                f"order {name}: {', '.join(sorted(body))} written together: one of them changes money"
            )
        if "status_id" in body and body["status_id"] not in LABELS:
            return as_json([{"status": 400, "message": "The field 'status_id' is invalid."}], 400, **self._rate())
        if body.get("status_id", 2) not in WRITABLE:
            self.complaints.append(f"order {name}: set to {LABELS[body['status_id']]}")
        if self.faults.take("refuse_write"):
            return as_json([{"status": 422, "message": "The order cannot be changed."}], 422, **self._rate())
        if "status_id" in body:
            before, order["status_id"] = order["status_id"], body["status_id"]
            self._wrote(name, LABELS[body["status_id"]], None, was=LABELS[before])
        if "staff_notes" in body:
            if not body["staff_notes"].startswith(order["staff_notes"]):
                self.complaints.append(f"order {name}: the merchant's staff notes were written over")
            order["staff_notes"] = body["staff_notes"]
            self._wrote(name, "note", None, text=body["staff_notes"])
        self.touch(name, "store/order/statusUpdated" if "status_id" in body else "store/order/updated")
        return self._done(self._answer(self._show(order)))

    async def _make_field(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if (found := self._find(request)) is None:
            return as_json({"status": 404, "title": "The order was not found."}, 404, **self._rate())
        name, order = found
        body = orjson.loads(await request.body())
        if (odd := _odd(body)) or len(order["metafields"]) >= MOST_FIELDS:
            return as_json(
                {"status": 422, "title": "The metafield is not valid.", "errors": {odd or "limit": "no"}}, 422
            )
        if any((f["namespace"], f["key"]) == (body["namespace"], body["key"]) for f in order["metafields"]):
            return as_json(
                {"status": 409, "title": "The metafield conflicts with another metafield."}, 409, **self._rate()
            )
        made = {
            "id": next(self._ids) + 40_000,
            "resource_type": "order",
            "resource_id": order["id"],
            "description": "",
            **body,
        }
        order["metafields"].append(made)
        return self._shown(name, made)

    async def _change_field(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        found, ref = self._find(request), request.path_params["field"]
        field = next((f for f in found[1]["metafields"] if str(f["id"]) == ref), None) if found else None
        if found is None or field is None:
            return as_json({"status": 404, "title": "A metafield was not found with this query."}, 404, **self._rate())
        body = orjson.loads(await request.body())
        if odd := _odd(body):
            return as_json({"status": 422, "title": "The metafield is not valid.", "errors": {odd: "no"}}, 422)
        field |= body
        return self._shown(found[0], field)

    def _shown(self, name: str, field: dict[str, Any]) -> Response:
        field["date_modified"] = self.clock().isoformat()
        numbers = [one["tracking_number"] for one in self.orders[name]["shipments"] if one["tracking_number"]]
        self._wrote(name, f"{field['key']}={field['value']}", None, numbers=numbers)
        return self._done(self._answer({"data": field, "meta": {}}))

    async def _one_shipment(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        found, ref = self._find(request), request.path_params["shipment"]
        shipment = next((s for s in found[1]["shipments"] if str(s["id"]) == ref), None) if found else None
        if found is None or shipment is None:
            return as_json(MISSING, 404, **self._rate())
        name, order = found
        if request.method == "GET":
            return self._answer(self._shipment(order, shipment))
        body = orjson.loads(await request.body())
        if self.faults.take("refuse_write"):
            return as_json([{"status": 422, "message": "The shipment cannot be changed."}], 422, **self._rate())
        if len(body.get("tracking_number", "")) > MOST_NUMBER:
            return as_json([{"status": 400, "message": "The field 'tracking_number' is invalid."}], 400, **self._rate())
        shipment |= body
        self._wrote(name, f"number={shipment['tracking_number']}", None, numbers=[shipment["tracking_number"]])
        self.touch(name, "store/shipment/updated")
        return self._done(self._answer(self._shipment(order, shipment)))


def _odd(body: dict[str, Any]) -> str:
    """Name what of a metafield is not as the contract says; empty where all of it is."""
    if body.get("permission_set") not in PERMISSIONS:
        return "permission_set"
    texts = ((name, body.get(name)) for name in TEXTS)
    return next((n for n, text in texts if not isinstance(text, str) or not 0 < len(text) <= TEXTS[n]), "")

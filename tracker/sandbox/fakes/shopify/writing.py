"""What is written to a Shopify shop: fulfilment events, metafields and tags; and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tracker.sandbox.fakes.shopify.people import STORED, People

EVENTS = frozenset(
    [
        "LABEL_PURCHASED",
        "LABEL_PRINTED",
        "READY_FOR_PICKUP",
        "CONFIRMED",
        "CARRIER_PICKED_UP",
        "IN_TRANSIT",
        "OUT_FOR_DELIVERY",
        "ATTEMPTED_DELIVERY",
        "DELAYED",
        "DELIVERED",
        "FAILURE",
    ]
)


class Writes(People):
    """Answers to what writes."""

    def _refused(self, mutation: str, shown: str, problem: str) -> dict[str, Any]:
        return {mutation: {shown: None, "userErrors": [{"code": "INVALID", "field": ["id"], "message": problem}]}}

    def _setfield(self, variables: dict[str, Any]) -> dict[str, Any]:
        (field,) = variables["m"]
        order = self._by_id(field["ownerId"])
        if order is None or self.faults.take("refuse_write"):
            return self._refused("metafieldsSet", "metafields", "Value must be one of the definition's choices.")
        name = f"{field['namespace']}.{field['key']}"
        if order["metafields"].get(name) != field["value"]:
            order["metafields"][name] = field["value"]
            self._wrote(order["name"], f"{name}={field['value']}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        told = {key: field[key] for key in ("namespace", "key", "value")}
        return {"metafieldsSet": {"metafields": [told], "userErrors": []}}

    def _addtags(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["id"])
        if order is None or self.faults.take("refuse_write"):
            return self._refused("tagsAdd", "node", "Tags cannot be added to this order.")
        there = {tag.casefold() for tag in order["tags"]}
        if new := [tag for tag in variables["tags"] if tag.casefold() not in there]:
            order["tags"] += new
            for tag in new:
                self._wrote(order["name"], f"+{tag}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        return {"tagsAdd": {"node": {"id": order["id"], "tags": sorted(order["tags"])}, "userErrors": []}}

    def _removetags(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["id"])
        if order is None:
            return self._refused("tagsRemove", "node", "The order does not exist.")
        gone = {tag.casefold() for tag in variables["tags"]}
        for tag in [tag for tag in order["tags"] if tag.casefold() in gone]:
            order["tags"].remove(tag)
            self._wrote(order["name"], f"-{tag}", None, numbers=_numbers(order))
            self.touch(order["name"], "orders/updated")
        return {"tagsRemove": {"node": {"id": order["id"], "tags": sorted(order["tags"])}, "userErrors": []}}

    def _events(self, variables: dict[str, Any]) -> dict[str, Any]:
        found = self._fulfilment(variables["id"])
        if found is None:
            return {"fulfillment": None}
        events = sorted(found[1]["events"], key=lambda e: e["happenedAt"], reverse=True)[:20]
        return {"fulfillment": {"id": found[1]["id"], "status": found[1]["status"], "events": {"nodes": events}}}

    def _create(self, variables: dict[str, Any]) -> dict[str, Any]:
        event = variables["e"]
        found = self._fulfilment(event["fulfillmentId"])
        problem = None
        if found is None:
            problem = "Fulfillment does not exist."
        elif event["status"] not in EVENTS:
            problem = "Status is not included in the list"
        elif self.faults.take("refuse_write"):
            problem = "Fulfillment event could not be created."
        if problem is not None or found is None:
            errors = [{"field": ["fulfillmentEvent"], "message": problem}]
            return {"fulfillmentEventCreate": {"fulfillmentEvent": None, "userErrors": errors}}
        order, fulfilment = found
        happened = datetime.strptime(event["happenedAt"], STORED).replace(tzinfo=UTC)
        made = self._append(fulfilment, event["status"], happened)
        self._wrote(
            order["name"], event["status"], happened, fulfilment=fulfilment["id"],
            numbers=[p["number"] for p in fulfilment["trackingInfo"]], city=event.get("city"),
        )  # fmt: skip
        self.touch(order["name"], "fulfillment_events/create")
        return {"fulfillmentEventCreate": {"fulfillmentEvent": made, "userErrors": []}}

    def _note(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["id"])
        return {"order": order and {"id": order["id"], "note": order.get("note")}}

    def _addnote(self, variables: dict[str, Any]) -> dict[str, Any]:
        order = self._by_id(variables["i"]["id"])
        if order is None or self.faults.take("refuse_write"):
            return self._refused("orderUpdate", "order", "The order could not be updated.")
        order["note"] = variables["i"]["note"]
        self._wrote(order["name"], "note", None, text=order["note"])
        self.touch(order["name"], "orders/updated")
        return {"orderUpdate": {"order": {"id": order["id"], "note": order["note"]}, "userErrors": []}}

    def _tracking(self, variables: dict[str, Any]) -> dict[str, Any]:
        if (found := self._fulfilment(variables["id"])) is None:
            return {"fulfillment": None}
        rows = [
            {"company": one["company"], "number": one["number"], "url": one.get("url")}
            for one in found[1]["trackingInfo"]
        ]
        return {
            "fulfillment": {
                "id": found[1]["id"],
                "status": found[1]["status"],
                "trackingInfo": rows[: variables["most"]],
            }
        }

    def _retrack(self, variables: dict[str, Any]) -> dict[str, Any]:
        found, info, name = self._fulfilment(variables["id"]), variables["t"], "fulfillmentTrackingInfoUpdate"
        if variables["notify"]:
            self.complaints.append("a customer was mailed about a number")
        if found is None or self.faults.take("refuse_write"):
            return self._refused(name, "fulfillment", "Tracking information could not be updated.")
        order, fulfilment = found
        links = info.get("urls") or [None] * len(info["numbers"])
        rows = zip(info["numbers"], links, strict=True)
        fulfilment["trackingInfo"] = [{"company": info.get("company"), "number": one, "url": url} for one, url in rows]
        self._wrote(order["name"], f"numbers={','.join(info['numbers'])}", None, numbers=info["numbers"])
        self.touch(order["name"], "fulfillments/update")
        told = [{"number": one} for one in info["numbers"]]
        return {name: {"fulfillment": {"id": fulfilment["id"], "trackingInfo": told}, "userErrors": []}}


def _numbers(order: dict[str, Any]) -> list[str]:
    return [one["number"] for fulfilment in order["fulfillments"] for one in fulfilment["trackingInfo"]]

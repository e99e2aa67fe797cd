"""What people do in a BigCommerce store, and the hooks that tell of it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import orjson

from tracker.sandbox.base import Outgoing
from tracker.sandbox.scenario import Place
from tracker.sandbox.shop import StatusShop, items_of

LABELS = {
    0: "Incomplete", 1: "Pending", 2: "Shipped", 3: "Partially Shipped", 4: "Refunded", 5: "Cancelled", 6: "Declined",
    7: "Awaiting Payment", 8: "Awaiting Pickup", 9: "Awaiting Shipment", 10: "Completed", 11: "Awaiting Fulfillment",
    12: "Manual Verification Required", 13: "Disputed", 14: "Partially Refunded",
}  # fmt: skip


class People(StatusShop):
    """The store's orders, as its people, its customers and its own rules change them."""

    hooks: dict[int, dict[str, Any]]

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order: captured, awaiting fulfilment and of one item, unless it says more."""
        self.place(
            action.order, at, status=action.status or "11", payment=action.payment or "captured",
            items=items_of(action) or [{"ref": "item", "name": "", "ordered": 1, "cancelled": 0, "refunded": 0}],
            payment_method=action.pays_by, method=action.method,
        )  # fmt: skip

    def place(self, name: str, at: datetime, *, status: str, actor: str = "", **more: Any) -> None:
        """Place an order; `status` is a label or an id."""
        id_ = int(name.lstrip("#")) if name.lstrip("#").isdigit() else next(self._ids) + 100
        self.orders[name] = {
            "id": id_, "status_id": status_id(status), "payment_status": more.pop("payment", "captured"),
            "payment_method": more.pop("payment_method", "Credit Card"), "placed": at, "modified": at,
            "products": [
                {"id": 500 + n, "ref": i["ref"], "name": i["name"] or i["ref"], "quantity": i["ordered"],
                 "quantity_refunded": i["refunded"] + i["cancelled"], "quantity_shipped": 0,
                 "type": "physical" if i.get("shippable", True) else "digital"}
                for n, i in enumerate(more.get("items", ()))
            ],
            "shipments": [], "refunds": [], "metafields": [], "staff_notes": "", "country": more.get("country", "US"),
            "method": more.get("method", ""), "is_deleted": False,
        }  # fmt: skip
        self.touch(name, "store/order/created")

    def ship(
        self, name: str, at: datetime, parcels: list[dict[str, str]], *, items: dict[str, int], service: str = ""
    ) -> None:
        """Add a shipment for each number; the order moves to (Partially) Shipped by itself, as the real one does."""
        order = self.orders[name]
        for number, parcel in enumerate(parcels):
            pieces = []
            for product in order["products"]:
                left = product["quantity"] - product["quantity_refunded"] - product["quantity_shipped"]
                count = (items.get(product["ref"], 0) if items else left) if number == 0 else 0
                if count and product["type"] == "physical":
                    product["quantity_shipped"] += count
                    pieces.append({"order_product_id": product["id"], "quantity": count})
            order["shipments"].append(
                {"id": next(self._ids) + 9000, "at": at, "tracking_number": parcel["number"],
                 "tracking_carrier": parcel["company"].lower(), "shipping_provider": "", "items": pieces,
                 "shipping_method": service}
            )  # fmt: skip
        if order["status_id"] in (7, 8, 9, 11, 3):
            whole = all(
                p["quantity_shipped"] >= p["quantity"] - p["quantity_refunded"]
                for p in order["products"]
                if p["type"] == "physical"
            )
            order["status_id"] = 2 if whole else 3
        self.touch(name, "store/shipment/created")
        self.touch(name)

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order in the control panel."""
        order = self.orders[name]
        if "status" in values:
            order["status_id"] = status_id(str(values.pop("status")))
        if isinstance(payment := values.pop("payment", None), dict):
            order["payment_status"] = payment.get("status", order["payment_status"])
        order |= values
        self.touch(name, "store/order/archived" if values.get("is_deleted") else "store/order/statusUpdated")
        self.touch(name)

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        self.set(name, by, status="Cancelled")

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Refund pieces of an item: the only way to take them out here. Under `decline_refund` its payment is declined, and it counts in V2 all the same."""
        declined = self.faults.take("decline_refund")
        for row in self.orders[name]["products"]:
            if row["ref"] == item:
                many = row["quantity"] - row["quantity_refunded"] if quantity is None else quantity
                row["quantity_refunded"] += many
                self.orders[name]["refunds"].append(
                    {"id": next(self._ids) + 70, "order_id": self.orders[name]["id"], "user_id": 1, "reason": how, "total_amount": 1.0,
                     "total_tax": 0.0, "uses_merchant_override_values": False, "created": self.clock().isoformat(),
                     "items": [{"item_type": "PRODUCT", "item_id": row["id"], "quantity": many, "requested_amount": 1.0, "reason": how}],
                     "payments": [{"id": 1, "provider_id": "creditcard", "amount": 1.0, "offline": False, "is_declined": declined,
                                   "declined_message": "insufficient funds" if declined else ""}]}
                )  # fmt: skip
        self.touch(name, "store/order/refund/created")

    def retrack(self, name: str, parcels: list[dict[str, str]]) -> None:
        """Replace the tracking number of the newest shipment."""
        self.orders[name]["shipments"][-1] |= {
            "tracking_number": parcels[0]["number"], "tracking_carrier": parcels[0]["company"].lower(),
        }  # fmt: skip
        self.touch(name, "store/shipment/updated")

    def touch(self, name: str, scope: str = "store/order/updated") -> None:
        """Mark an order as changed now and tell by hook, unless the one of this scope was made by us and is off or gone."""
        order = self.orders[name]
        order["modified"] = self.clock()
        if not self._hooks or self._is_silent(scope):
            return
        data: dict[str, Any] = {"type": "order", "id": order["id"]}
        if scope.startswith("store/shipment"):
            data = {"type": "shipment", "id": 1, "orderId": order["id"]}
        body = {
            "scope": scope, "store_id": "1025646", "data": data, "hash": hashlib.sha1(scope.encode()).hexdigest(),  # noqa: S324
            "created_at": int(self.clock().timestamp()), "producer": "stores/sandbox",
        }  # fmt: skip
        self.outgoing.append(self.signed(orjson.dumps(body)))

    def _is_silent(self, scope: str) -> bool:
        """Say whether hooks were made and none of this scope is on; where none was ever made, somebody made them by hand."""
        alike = [hook for hook in self.hooks.values() if hook["scope"] == scope]
        return bool(self.hooks) and not any(hook["is_active"] for hook in alike)

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a hook, and give back the header that was asked for when it was made."""
        outgoing = super().signed(body, secret=secret)
        return Outgoing(self.account, body, {**outgoing.headers, "x-trackwright": secret or self.hook})


def status_id(status: str) -> int:
    """Return the id of a status that is a label or an id."""
    return int(status) if status.isdigit() else next(i for i, label in LABELS.items() if label == status)

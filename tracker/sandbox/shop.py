"""What fake shops share: their orders, a log of what we wrote, and what people do there."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, ClassVar

from starlette.responses import Response

from tracker.sandbox.base import Clock, Outgoing, Server, Spoilt
from tracker.sandbox.scenario import Cancel, Edit, Pay, Place, Refund, Ship
from tracker.sandbox.used import StoreUsed

Parcels = list[dict[str, str]]
AS_USUAL = StoreUsed()
MINUTE = 60.0
BUYER = "buyer@example.net"


def parcels(company: str, numbers: Iterable[str]) -> Parcels:
    """Return the parcels of a fulfilment as the shops keep them."""
    return [{"company": company, "number": number} for number in numbers]


class Shop(Server):
    """Orders by the number people know, and a log of what we wrote."""

    kind = "shop"
    knows = frozenset(
        f"fault {kind}" for kind in ("apply_then_fail", "refuse_write", "unreachable", "duplicate_hooks", "storm")
    )
    by_host: ClassVar[bool] = True  # whether only a hoster bounds how often it is called; else its own rule does
    resends: ClassVar[tuple[timedelta, ...]] = ()  # how long after each try it sends a hook again that was not taken
    parts: ClassVar[bool] = True  # whether a shipment there can hold some pieces of an order
    by_secret: ClassVar[bool] = True  # whether a secret in our YAML proves its hooks

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Open a shop without orders, as the scenario uses it."""
        super().__init__(account, clock, key=key, hook=hook)
        self.orders: dict[str, dict[str, Any]] = {}
        self.log: list[dict[str, Any]] = []
        self.grants = used.grants
        self.addresses: dict[str, str | None] = {}  # to whom the mails of orders go, by their names; else BUYER
        self.hides_addresses = False  # our credentials may not read them
        self._let_through: deque[float] = deque()  # when the hoster let the calls of the last minute through

    def settings(self, base_url: str, key: str, hook: str) -> dict[str, Any]:
        """Return the store's own settings in our YAML; `key` and `hook` are references to secrets."""
        raise NotImplementedError

    def address(self, name: str) -> str | None:
        """Return to whom the mails of an order go; None: it names nobody."""
        return self.addresses.get(name, BUYER)

    def trouble(self) -> Response | None:
        """Return an injected failure, or the hoster's refusal, if one is due."""
        return super().trouble() or (self._too_many() if self.by_host else None)

    def _too_many(self) -> Response | None:
        """Refuse more calls in a minute than the hoster lets through, where the scenario says how many."""
        if self.grants is None:
            return None
        now = self.elapsed()
        while self._let_through and now - self._let_through[0] >= MINUTE:
            self._let_through.popleft()
        if len(self._let_through) < self.grants:
            self._let_through.append(now)
            return None
        self.calls["throttled"] += 1
        wait = str(ceil(MINUTE - (now - self._let_through[0])))
        return Spoilt("Too Many Requests", 429, {"Retry-After": wait}, "text/html")

    def heard(self, outgoing: Outgoing, status: int) -> timedelta | None:
        """Send what was not taken again, as long as this platform does; then the hook itself is given up."""
        if 200 <= status < 300 or not self.resends:
            return None
        if outgoing.tries < len(self.resends):
            return self.resends[outgoing.tries]
        self.calls["hook given up"] += 1
        self.given_up(outgoing)
        return None

    def _done(self, given: Response) -> Response:
        """Answer what was done, or lose the answer."""
        return Spoilt("", 502) if self.faults.take("apply_then_fail") else given

    def given_up(self, outgoing: Outgoing) -> None:
        """Do to the hook whose message was never taken what the platform does."""

    def on_place(self, action: Place, at: datetime) -> None:
        """Place an order."""
        raise NotImplementedError

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Ship an order, or a part of it."""
        raise NotImplementedError

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change an order."""
        raise NotImplementedError

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel an order, or pieces of an item."""
        raise NotImplementedError

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Give money back."""
        raise NotImplementedError

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Change the payment."""
        raise NotImplementedError

    def _wrote(self, order: str, event: str, happened: datetime | None, **more: Any) -> None:
        self.log.append(
            {"at": self.clock(), "store": self.account, "order": order, "event": event, "numbers": [],
             "happened_at": happened or self.clock(), **more}
        )  # fmt: skip


class StatusShop(Shop):
    """A shop whose order status can be written, with items, and hooks signed by Standard Webhooks."""

    knows = Shop.knows | {"cancel.item", "refund.item"}

    def __init__(
        self, account: str, clock: Clock, *, key: str = "right", hook: str = "", used: StoreUsed = AS_USUAL
    ) -> None:
        """Send hooks unless the scenario says that it sends none."""
        super().__init__(account, clock, key=key, hook=hook, used=used)
        self._hooks = used.webhooks

    # what people do in the shop, in its own way

    def ship(self, name: str, at: datetime, parcels: Parcels, *, items: dict[str, int], service: str = "") -> None:
        """Ship pieces of an order."""
        raise NotImplementedError

    def set(self, name: str, by: str, **values: Any) -> None:
        """Change fields of an order."""
        raise NotImplementedError

    def cancel(self, name: str, by: str) -> None:
        """Cancel the whole order."""
        raise NotImplementedError

    def remove(self, name: str, item: str, quantity: int | None, how: str) -> None:
        """Cancel or refund pieces of an item, all that are left where no quantity is said."""
        raise NotImplementedError

    def retrack(self, name: str, parcels: Parcels) -> None:
        """Replace the tracking numbers of the newest fulfilment."""
        raise NotImplementedError

    # what a scenario says that they do

    def on_ship(self, action: Ship, at: datetime) -> None:
        """Ship, and set the status where the shipper does."""
        self.ship(action.order, at, parcels(action.company, action.numbers), items=action.items, service=action.service)
        if action.status is not None:
            self.set(action.order, action.by, status=action.status)

    def on_edit(self, action: Edit, at: datetime) -> None:
        """Change fields, then numbers."""
        if action.set:
            self.set(action.order, action.by, **action.set)
        if action.numbers is not None:
            self.retrack(action.order, parcels(action.company, action.numbers))

    def on_cancel(self, action: Cancel, at: datetime) -> None:
        """Cancel the order, or pieces of an item."""
        if action.item is not None:
            self.remove(action.order, action.item, action.quantity, "cancelled")
        else:
            self.cancel(action.order, action.by)

    def on_refund(self, action: Refund, at: datetime) -> None:
        """Take pieces of an item out; the payment changes where it is the order's, or where that is said."""
        if action.item is not None:
            self.remove(action.order, action.item, action.quantity, "refunded")
        if action.item is None or action.status is not None:
            self.set(action.order, action.by, payment={"status": action.status or "refunded"})

    def on_pay(self, action: Pay, at: datetime) -> None:
        """Change the payment."""
        self.set(action.order, "system", payment={"status": action.status or "paid"})

    def signed(self, body: bytes, *, secret: str | None = None) -> Outgoing:
        """Sign a hook by Standard Webhooks."""
        return self._proved(f"msg_{self.account}_{next(self._ids)}", body, secret or self.hook)

    def sent(self, outgoing: Outgoing) -> Outgoing:
        """Prove a hook again that is sent later: its id stays, its time is the try's."""
        again = self._proved(outgoing.headers["webhook-id"], outgoing.body, self.hook)
        return replace(outgoing, headers={**outgoing.headers, **again.headers})

    def _proved(self, id_: str, body: bytes, secret: str) -> Outgoing:
        stamp = str(int(self.clock().timestamp()))
        text = b".".join((id_.encode(), stamp.encode(), body))
        digest = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
        headers = {
            "content-type": "application/json", "webhook-id": id_, "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{digest}",
        }  # fmt: skip
        return Outgoing(self.account, body, headers)


def items_of(action: Place) -> list[dict[str, Any]]:
    """Return the lines of an order that is placed, nothing of them cancelled or refunded."""
    return [
        {"ref": i.ref, "name": i.name, "ordered": i.quantity, "cancelled": 0, "refunded": 0, "shippable": i.shippable,
         "in_stock": i.in_stock}
        for i in action.items
    ]  # fmt: skip

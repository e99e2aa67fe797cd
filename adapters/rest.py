"""A small order API that any in-house shop can implement in an afternoon: deploy/order-api.openapi.yaml (version 1).

List orders and abandoned checkouts by updated-since, read an order with the actor of its last status change, set a status,
attach a note; hooks signed by Standard Webhooks (standardwebhooks.com, read 2026-11) are hints. The shop keeps its own
status words: `statuses:` maps them, or `words: kingston | kartrocket | marketplace-guide` names a known list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Refused
from tracker.domain.facts import (
    Action,
    Ask,
    Checkout,
    Fulfilment,
    Hint,
    Item,
    Order,
    Page,
    Parcel,
    Payload,
    Receipt,
    Refs,
    Since,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.contracts import Answer, Client, Request, Secrets, judge_by_status
from tracker.plugin.payloads import decode, listing, mapping, moment, text, word
from tracker.plugin.signatures import standard_webhooks, whsec_key
from tracker.plugin.tracked import exactly
from tracker.plugin.tracked import parcels as typed_parcels

O, P = OrderStatus, PaymentStatus
OVERLAP = timedelta(minutes=10)
PAGE = "100"
NEVER_WRITTEN = frozenset({O.CANCELLED, O.ON_HOLD, O.UNKNOWN})

# A shop's own words (REQUIREMENTS WS-07 and the three lists it came from): word -> status, payment it says, reason.
# The first word of a status is the one that is written.
Words = Mapping[str, tuple[OrderStatus, PaymentStatus | None, str]]
KINGSTON: Words = {
    "Processing": (O.PROCESSING, None, ""),
    "Ready for Dispatch": (O.READY_FOR_DISPATCH, None, ""),
    "Dispatched/Shipped": (O.SHIPPED, None, ""),
    "Dispatched": (O.SHIPPED, None, ""),
    "Shipped": (O.SHIPPED, None, ""),
    "In Transit": (O.IN_TRANSIT, None, ""),
    "Out for Delivery": (O.OUT_FOR_DELIVERY, None, ""),
    "Delivered": (O.DELIVERED, None, ""),
    "Failed Delivery": (O.DELIVERY_FAILED, None, ""),
    "Returned": (O.RETURNED, None, ""),
    "Cancelled": (O.CANCELLED, None, ""),
}
KARTROCKET: Words = {
    "Pending": (O.AWAITING_CONFIRMATION, None, "unverified_payment"),
    "COD Confirmed": (O.CONFIRMED, None, ""),
    "ePayment Received": (O.CONFIRMED, P.PAID, ""),
    "ePayment Failed": (O.AWAITING_CONFIRMATION, P.FAILED, "unverified_payment"),
    "Ready for Dispatch": (O.READY_FOR_DISPATCH, None, ""),
    "Shipped": (O.SHIPPED, None, ""),
    "Delivered": (O.DELIVERED, None, ""),
    "Canceled": (O.CANCELLED, None, ""),
}
GUIDE: Words = {
    "Pending": (O.AWAITING_CONFIRMATION, None, "awaiting_seller"),
    "Confirmed": (O.CONFIRMED, None, ""),
    "Processing": (O.PROCESSING, None, ""),
    "Shipped": (O.SHIPPED, None, ""),
    "Delivered": (O.DELIVERED, None, ""),
    "Cancelled": (O.CANCELLED, None, ""),
}
KNOWN: Mapping[str, Words] = {"kingston": KINGSTON, "kartrocket": KARTROCKET, "marketplace-guide": GUIDE}
ADDRESSES = frozenset({"confirmed", "unconfirmed", "flagged", "missing"})


class Settings(contracts.Settings):
    """One shop that speaks the order API. `statuses` maps its words; they beat the list named by `words`."""

    base_url: str
    api_token: SecretStr
    webhook_secrets: Secrets = ()
    words: Literal["kingston", "kartrocket", "marketplace-guide"] | None = None
    statuses: Mapping[str, OrderStatus] = {}
    payments: Mapping[str, PaymentStatus] = {}
    carriers: Mapping[str, str] = {}


class Rest(contracts.Platform):
    """A shop that speaks the order API."""

    docs = "https://github.com/trackwright/trackwright/blob/main/deploy/order-api.openapi.yaml"
    asks = frozenset({Refs, Since})
    webhooks = True
    statuses: ClassVar[Mapping[str, OrderStatus]] = {str(status): status for status in OrderStatus}
    takes_notes = True
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind a shop and its words."""
        super().__init__(account, settings)
        known: Words = KNOWN.get(self.settings.words or "", {})
        if not known and not self.settings.statuses:
            known = {word: (status, None, "") for word, status in self.statuses.items()}
        self._words: dict[str, tuple[OrderStatus, PaymentStatus | None, str]] = {
            **{w: (s, None, "") for w, s in self.settings.statuses.items()},
            **{w: meaning for w, meaning in known.items() if w not in self.settings.statuses},
        }

    def words(self) -> Mapping[ShippingStatus, str]:
        """Show no shipping status: the order's own status is what this shop has."""
        return {}

    def order_words(self) -> Mapping[OrderStatus, str]:
        """Return the word in which each status is written: the first one listed."""
        found: dict[OrderStatus, str] = {}
        for spelt, (status, _, _) in self._words.items():
            if status not in NEVER_WRITTEN:
                found.setdefault(status, spelt)
        return found

    def says(self) -> frozenset[OrderStatus]:
        """Return what this shop's own words can say."""
        return frozenset(status for status, _, _ in self._words.values())

    def verify(self, payload: Payload) -> int:
        """Check the Standard Webhooks signature over id, time and raw body."""
        return standard_webhooks([whsec_key(secret) for secret in self.settings.webhook_secrets], payload)

    def dedupe_key(self, payload: Payload) -> str:
        """Use webhook-id: one delivery, the same over its retries."""
        return payload.headers.get("webhook-id") or super().dedupe_key(payload)

    def normalize(self, payload: Payload) -> Iterable[Order | Hint | Checkout]:
        """Read an answer as orders or checkouts; a hook only hints at an order."""
        return exactly(lambda decode: self._read(payload, decode(payload.body)))

    def _read(self, payload: Payload, body: dict[str, Any]) -> Iterable[Order | Hint | Checkout]:
        if payload.kind == "webhook":
            data = mapping(body.get("data"), "$.data")
            return (Hint(word(data.get("order"), "$.data.order")),)
        if "order" in body:
            return (self._order(mapping(body["order"], "$.order"), "$.order"),)
        if "checkouts" in body:
            rows = listing(body["checkouts"], "$.checkouts")
            return [self._checkout(mapping(r, f"$.checkouts[{i}]"), f"$.checkouts[{i}]") for i, r in enumerate(rows)]
        if "orders" not in body:
            raise BadPayload("$", "holds none of order, orders, checkouts")
        rows = listing(body["orders"], "$.orders")
        return [self._order(mapping(row, f"$.orders[{i}]"), f"$.orders[{i}]") for i, row in enumerate(rows)]

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """Read orders one by one, or all orders and then all checkouts that changed since the cursor."""
        if isinstance(ask, Refs):
            for ref in ask.refs:
                try:
                    yield Page((self._call(client, "GET", f"/orders/{quote(ref, safe='')}").body,))
                except NotFound:
                    continue  # not there any more; the others are
            return
        assert isinstance(ask, Since)
        mark, _, rest = (ask.cursor or "").partition("|")
        kind, _, page = rest.partition("|")
        kind = kind or "orders"
        latest = mark
        while True:
            params = {"limit": PAGE, "updated_since": _since(mark), "cursor": page}
            if ask.open_only:
                params["open"] = "true"
            body = self._call(client, "GET", f"/{kind}", {k: v for k, v in params.items() if v})
            answer = decode(body.body)
            for i, row in enumerate(listing(answer.get(kind), f"$.{kind}")):
                where = f"$.{kind}[{i}].updated_at"
                stamp = _aware(mapping(row, f"$.{kind}[{i}]").get("updated_at"), where).astimezone(UTC).isoformat()
                latest = max(latest, stamp)
            page = text(answer.get("next"))
            done = not page
            if done and kind == "orders":
                kind, done = "checkouts", False
            yield Page((body.body,), f"{latest}||" if done else f"{mark}|{kind}|{page}", _total(answer))
            if done:
                return

    def judge(self, answer: Answer) -> None:
        """Tell the shop's own words of a refusal."""
        if answer.status in (400, 409, 422):
            error = decode(answer.body).get("error") if answer.body.startswith(b"{") else None
            said = f"{text(error.get('code'))}: {text(error.get('message'))}" if isinstance(error, dict) else ""
            raise Refused(said or f"HTTP {answer.status}")
        judge_by_status(answer)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the status, or attach a note; `key` makes a repeated call the same call."""
        path = f"/orders/{quote(action.order, safe='')}"
        if action.kind == "order_note":
            made = decode(
                self._call(client, "POST", f"{path}/notes", body={"text": action.text, "key": action.key}).body
            )
            return Receipt(word(made.get("id"), "$.id"), proof="note")
        assert action.target is not None
        spelt = self.order_words()[action.target]
        if before.raw_status == spelt:
            return Receipt(before.ref, already_there=True, proof=spelt)
        body = {
            "status": spelt,
            "from": before.raw_status,
            "key": action.key,
            "happened_at": action.happened_at.astimezone(UTC).isoformat(),
            "reason": action.reason.sentence if action.reason else None,
            "place": str(action.place) or None,
            "tracking": [{"carrier": p.carrier or p.company, "number": p.number} for p in action.parcels],
            "estimated_delivery_at": action.edd.astimezone(UTC).isoformat() if action.edd else None,
        }
        answer = decode(self._call(client, "PUT", f"{path}/status", body={k: v for k, v in body.items() if v}).body)
        after = mapping(answer.get("order"), "$.order")
        return Receipt(word(after.get("ref"), "$.order.ref"), proof=text(after.get("status")))

    def ping(self, client: Client) -> None:
        """Ask whether it is there and knows us."""
        self._call(client, "GET", "/ping")

    def _call(
        self,
        client: Client,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        token = self.settings.api_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        url = f"{self.settings.base_url.rstrip('/')}{path}"
        # the key in each body makes a repeated write the same write
        return client.send(Request(method, url, params=params or {}, headers=headers, content=content))

    def _order(self, row: dict[str, Any], where: str) -> Order:
        raw = text(row.get("status"))
        status, implied, reason = self._words.get(raw, (O.UNKNOWN, None, ""))
        money = _part(row, "payment", where)
        raw_payment = text(money.get("status"))
        payment = self.settings.payments.get(raw_payment) or _PAYMENTS.get(raw_payment.lower())
        if implied is not None and payment in (None, P.PENDING):
            payment = implied
        delivery = _part(row, "delivery", where)
        address = text(delivery.get("address")).lower()
        tags = listing(row.get("tags"), f"{where}.tags")
        cancelled = _maybe(row.get("cancelled_at"), f"{where}.cancelled_at")
        set_at = _maybe(row.get("status_changed_at"), f"{where}.status_changed_at")
        return Order(
            store=self.account,
            ref=word(row.get("ref"), f"{where}.ref"),
            number=word(row.get("number"), f"{where}.number"),
            status=status,
            raw_status=raw,
            payment=payment or P.PENDING,
            raw_payment=raw_payment,
            placed_at=_aware(row.get("placed_at"), f"{where}.placed_at"),
            updated_at=_aware(row.get("updated_at"), f"{where}.updated_at"),
            cancelled_at=cancelled or (set_at if status is O.CANCELLED else None),
            owner=Owner.UNKNOWN,
            items=tuple(
                _item(mapping(item, f"{where}.items[{i}]"), f"{where}.items[{i}]")
                for i, item in enumerate(listing(row.get("items"), f"{where}.items"))
            ),
            fulfilments=tuple(
                self._fulfilment(mapping(f, f"{where}.fulfilments[{i}]"), f"{where}.fulfilments[{i}]")
                for i, f in enumerate(listing(row.get("fulfilments"), f"{where}.fulfilments"))
            ),
            actor=text(row.get("status_actor")).lower() or "unknown",
            status_at=set_at,
            status_reason=reason,
            method=text(delivery.get("method")),
            service=text(delivery.get("service")),
            location=text(delivery.get("location")),
            tags=tuple(text(tag) for tag in tags if text(tag)),
            pays_by=text(money.get("method")),
            address=address if address in ADDRESSES else "",
            ships_to=text(delivery.get("country")).upper()[:2],
            verified=row.get("verified") is True,
            locale=text(row.get("locale")),
        )

    def _fulfilment(self, row: dict[str, Any], where: str) -> Fulfilment:
        parcels: list[Parcel] = []
        unreadable: list[str] = []
        for told in listing(row.get("tracking"), f"{where}.tracking"):
            told = mapping(told, f"{where}.tracking")
            company = text(told.get("carrier"))
            carrier = self.settings.carriers.get(company) or _CARRIERS.get(company.lower())
            found, strange = typed_parcels(told.get("number"), carrier, company, f"{where}.tracking.number", [])
            parcels += found
            unreadable += strange
        quantities = []
        for i, item in enumerate(listing(row.get("items"), f"{where}.items")):
            item = mapping(item, f"{where}.items[{i}]")
            ref = word(item.get("ref"), f"{where}.items[{i}].ref")
            quantities.append((ref, _count(item.get("quantity"), f"{where}.items[{i}].quantity")))
        return Fulfilment(
            ref=word(row.get("ref"), f"{where}.ref"),
            status=text(row.get("status")),
            parcels=tuple(parcels),
            quantities=tuple(quantities),
            live=row.get("cancelled") is not True,
            shipped_at=_maybe(row.get("shipped_at"), f"{where}.shipped_at"),
            service=text(row.get("service")),
            unreadable=tuple(unreadable),
        )

    def _checkout(self, row: dict[str, Any], where: str) -> Checkout:
        return Checkout(
            store=self.account,
            ref=word(row.get("ref"), f"{where}.ref"),
            began_at=_aware(row.get("began_at"), f"{where}.began_at"),
            updated_at=_aware(row.get("updated_at"), f"{where}.updated_at"),
            contact=row.get("contact") is True,
            recovered=row.get("recovered") is True,
        )


_PAYMENTS = {
    **{str(status): status for status in PaymentStatus}, "unpaid": P.PENDING, "captured": P.PAID, "settled": P.PAID,
    "declined": P.FAILED, "chargeback": P.DISPUTED,
}  # fmt: skip
_CARRIERS = {
    "ups": "ups", "fedex": "fedex", "usps": "usps", "dhl": "dhl", "dhl express": "dhl", "delhivery": "delhivery",
    "bluedart": "bluedart", "royal mail": "royalmail", "canada post": "canadapost",
}  # fmt: skip


def _item(row: dict[str, Any], where: str) -> Item:
    removed = _count(row.get("cancelled", 0), f"{where}.cancelled") + _count(
        row.get("refunded", 0), f"{where}.refunded"
    )
    return Item(
        ref=word(row.get("ref"), f"{where}.ref"),
        ordered=_count(row.get("ordered"), f"{where}.ordered"),
        removed=removed,
        shippable=row.get("shippable") is not False,
        name=text(row.get("name")),
        short=row.get("in_stock") is False,
    )


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
        raise BadPayload(where, "must be a whole number of pieces")
    return value


def _part(row: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = row.get(key)
    return {} if value is None else mapping(value, f"{where}.{key}")


def _maybe(value: Any, where: str) -> datetime | None:
    return None if value is None else _aware(value, where)


def _aware(value: Any, where: str) -> datetime:
    at = moment(value, where)
    if at.tzinfo is None:
        raise BadPayload(where, "must carry an offset, such as Z")
    return at


def _since(mark: str) -> str:
    return (datetime.fromisoformat(mark) - OVERLAP).isoformat() if mark else ""


def _total(answer: dict[str, Any]) -> int | None:
    total = answer.get("total")
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None

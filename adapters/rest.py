"""A small order API that any in-house shop can implement in an afternoon: deploy/order-api.openapi.yaml (version 1).

List orders and abandoned checkouts by updated-since, read an order with the actor of its last status change, set a status,
attach a note; hooks signed by Standard Webhooks (standardwebhooks.com, read 2026-11) are change notices. The shop keeps its own
status words: `statuses:` maps them, or `words: kingston | kartrocket | marketplace-guide` names a known list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Refused, Transient, Unavailable
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Fulfilment,
    Item,
    Order,
    Page,
    Parcel,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_by_status, said_by
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.contracts import Secrets
from tracker.plugin.payloads import decode, mapping, optional, pieces, term, text, word
from tracker.plugin.signatures import standard_webhooks, whsec_key
from tracker.plugin.sweeps import believed, since, stamp
from tracker.plugin.tracked import (
    aware,
    count,
    country,
    each_alone,
    exactly,
    flag,
    money,
    order,
    orders,
    parcels,
    strict,
    tags,
    told,
)

O, P = OrderStatus, PaymentStatus
PAGE = "100"
MOST_CURSOR = 2000
NEVER_WRITTEN = frozenset({O.CANCELLED, O.ON_HOLD, O.UNKNOWN})

# A shop's own words (WS-07: one shared status, every word of a platform mapped to it): word -> status, payment it says, reason.
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
    tells_address = True
    address_needs = "an order API that answers `include=contact` (deploy/order-api.openapi.yaml)"
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

    def order_status_map(self) -> Mapping[OrderStatus, str]:
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

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        """Read an answer as orders or checkouts; a hook only says that an order changed."""
        return exactly(lambda decode: self._read(payload, decode(payload.body)))

    def _read(self, payload: Payload, body: dict[str, Any]) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        if payload.kind == "webhook":
            return _hints(body)
        unread: list[Unread] = []
        found: list[Order | ChangeNotice | Checkout] = []
        if "order" in body:
            one = order(body["order"], "$.order", self._order, "ref", unread)
            found += [one] if one else []
        elif "orders" in body:
            found += orders(_list(body, "orders"), "$.orders", self._order, "ref", unread)
        elif "checkouts" in body:  # no orders: nothing is written for them, and nothing is asked again
            found += pieces(_list(body, "checkouts"), "$.checkouts", self._checkout, unread, lacks="nothing")
        else:
            raise BadPayload("$", "holds none of order, orders, checkouts")
        return told(found, unread)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders one by one, or all orders and then all checkouts that changed since the cursor of each list."""
        if isinstance(query, Refs):
            yield from each_alone(query.refs, lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        cursor = _Cursor.of(query.cursor)
        while True:
            cursor = cursor.begin(client.now())
            kind, begins = cursor.kind, since(cursor.mark)
            params = {"limit": PAGE, "updated_since": begins.isoformat() if begins else "", "cursor": cursor.page}
            if query.open_only:
                params["open"] = "true"
            told = self._call(client, "GET", f"/{kind}", {k: v for k, v in params.items() if v})
            response = _answered(told)
            rows, page = response.get(kind), response.get("next")
            if not isinstance(rows, list):
                raise Unavailable(f"GET /{kind} answered without its list: {said_by(told.body)}")
            if not isinstance(page, str | int | None) or isinstance(page, bool) or len(str(page)) > MOST_CURSOR:
                raise Unavailable(f"GET /{kind} answered with a `next` that is no cursor")
            cursor = cursor.after(rows, "" if page is None else str(page))
            yield Page((told.body,), str(cursor), _total(response))
            if cursor.done:
                return

    def _one(self, client: Client, ref: str) -> Page | None:
        try:
            told = self._call(client, "GET", f"/orders/{segment(ref)}")
        except NotFound:
            return None  # not there any more; the others are
        if not isinstance(_answered(told).get("order"), dict):
            raise Transient(f"GET /orders/... answered without its order: {said_by(told.body)}")
        return Page((told.body,))

    def raise_for_status(self, response: Response) -> None:
        """Tell the shop's own words of a refusal."""
        not_html(response)
        if response.status in (400, 409, 422):
            raise Refused(said_by(response.body, f"HTTP {response.status}"))
        raise_by_status(response)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the status, or attach a note; `key` makes a repeated call the same call."""
        path = f"/orders/{segment(action.order)}"
        if action.kind == "order_note":
            told = self._call(client, "POST", f"{path}/notes", body={"text": action.text, "key": action.key})
            if "id" not in (made := _answered(told)):
                raise Transient(f"POST /orders/.../notes answered without an id: {said_by(told.body)}")
            return Receipt(word(made["id"], "$.id"), proof="note")
        assert action.target is not None
        spelt = self.order_status_map()[action.target]
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
        told = self._call(client, "PUT", f"{path}/status", body={k: v for k, v in body.items() if v})
        after = _answered(told).get("order")
        if not isinstance(after, dict):
            raise Transient(f"PUT /orders/.../status answered without its order: {said_by(told.body)}")
        return Receipt(word(after.get("ref"), "$.order.ref"), proof=text(after.get("status")))

    def mail_address(self, client: Client, ref: str) -> str:
        """Read the order with its contact, which is told only to who asks for it."""
        told = self._call(client, "GET", f"/orders/{segment(ref)}", {"include": "contact"})
        order = _answered(told).get("order")
        if not isinstance(order, dict):
            raise Transient("GET /orders/...?include=contact answered without its order")
        contact = order.get("contact")
        if not isinstance(contact, dict):
            raise Refused("GET /orders/...?include=contact answered without a contact")
        return text(contact.get("email"))

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
    ) -> Response:
        token = self.settings.api_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = orjson.dumps(body)
        url = f"{self.settings.base_url.rstrip('/')}{path}"
        # the key in each body makes a repeated write the same write
        return client.send(Request(method, url, params=params or {}, headers=headers, content=content))

    def _order(self, row: dict[str, Any], unread: list[Unread]) -> Order:
        """Read an order. It is not told without what a write depends on: its status, its money, whose it is, its times."""
        raw = word(row.get("status"), "$.status")
        status, implied, reason = self._words.get(raw, (O.UNKNOWN, None, ""))
        paying, delivery = _part(row, "payment"), _part(row, "delivery")
        raw_payment = strict(paying.get("status"), "$.payment.status")
        payment = self.settings.payments.get(raw_payment) or money(raw_payment.lower(), _PAYMENTS)
        if implied is not None and payment in (P.UNKNOWN, P.PENDING):
            payment = implied
        address = strict(delivery.get("address"), "$.delivery.address").lower()
        set_at = optional(aware, row.get("status_changed_at"), "$.status_changed_at", unread)
        cancelled_at = optional(aware, row.get("cancelled_at"), "$.cancelled_at", unread)
        return Order(
            store=self.account,
            ref=word(row.get("ref"), "$.ref"),
            number=word(row.get("number"), "$.number"),
            status=status,
            raw_status=raw,
            payment=payment,
            raw_payment=raw_payment,
            placed_at=aware(row.get("placed_at"), "$.placed_at"),
            updated_at=aware(row.get("updated_at"), "$.updated_at"),
            cancelled_at=cancelled_at or (set_at if status is O.CANCELLED else None),
            owner=Owner.UNKNOWN,
            items=tuple(pieces(row.get("items"), "$.items", _item, unread, lacks="line")),
            fulfilments=tuple(pieces(row.get("fulfilments"), "$.fulfilments", self._fulfilment, unread, lacks="line")),
            actor=strict(row.get("status_actor"), "$.status_actor").lower() or "unknown",
            status_at=set_at,
            status_reason=reason,
            method=strict(delivery.get("method"), "$.delivery.method"),
            service=strict(delivery.get("service"), "$.delivery.service"),
            location=strict(delivery.get("location"), "$.delivery.location"),
            tags=tags(row.get("tags"), unread),
            pays_by=strict(paying.get("method"), "$.payment.method"),
            address=address if address in ADDRESSES else "",
            ships_to=country(delivery.get("country"), "$.delivery.country", unread),
            verified=flag(row.get("verified"), "$.verified") is True,
            locale=term(row.get("locale"), "$.locale", unread),
        )

    def _fulfilment(self, row: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        unreadable: list[str] = []
        found = pieces(row.get("tracking"), "$.tracking", self._tracking, unread, unreadable, lacks="line")
        return Fulfilment(
            ref=word(row.get("ref"), "$.ref"),
            status=term(row.get("status"), "$.status", unread),
            parcels=tuple(parcel for parcels_ in found for parcel in parcels_),
            quantities=tuple(pieces(row.get("items"), "$.items", _quantity, unread, lacks="line")),
            live=flag(row.get("cancelled"), "$.cancelled") is not True,
            shipped_at=optional(aware, row.get("shipped_at"), "$.shipped_at", unread),
            service=term(row.get("service"), "$.service", unread),
            unreadable=tuple(unreadable),
        )

    def _tracking(self, row: dict[str, Any], unread: list[Unread], unreadable: list[str]) -> list[Parcel]:
        company = term(row.get("carrier"), "$.carrier", unread)
        found, strange = parcels(row.get("number"), self.carrier_of(company), company, "$.number", unread)
        unreadable += strange
        return found

    def _checkout(self, row: dict[str, Any], unread: list[Unread]) -> Checkout:
        return Checkout(
            store=self.account,
            ref=word(row.get("ref"), "$.ref"),
            began_at=aware(row.get("began_at"), "$.began_at"),
            updated_at=aware(row.get("updated_at"), "$.updated_at"),
            contact=flag(row.get("contact"), "$.contact") is True,
            recovered=flag(row.get("recovered"), "$.recovered") is True,
        )


_PAYMENTS = {
    **{str(status): status for status in PaymentStatus}, "unpaid": P.PENDING, "captured": P.PAID, "settled": P.PAID,
    "declined": P.FAILED, "chargeback": P.DISPUTED,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far a store was swept: each list has its own mark; `best` is the newest change of the list being read."""

    orders: str = ""
    checkouts: str = ""
    kind: str = "orders"
    page: str = ""
    best: str = ""
    began: str = ""  # when the list began to be read, by our clock: its mark never passes that

    @classmethod
    def of(cls, cursor: str | None) -> _Cursor:
        """Read a cursor, also of before each list had its own mark: `<mark>|<list>|<page>`."""
        if cursor and cursor.startswith("{"):
            return cls(**orjson.loads(cursor))
        mark, _, rest = (cursor or "").partition("|")
        kind, _, page = rest.partition("|")
        return cls(mark, mark, kind or "orders", page)

    def __str__(self) -> str:
        """As it is stored."""
        return orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode()

    @property
    def mark(self) -> str:
        """The mark of the list being read."""
        return self.orders if self.kind == "orders" else self.checkouts

    @property
    def done(self) -> bool:
        """Say whether the sweep is over."""
        return self.kind == "orders" and not self.began

    def begin(self, now: datetime) -> _Cursor:
        """Begin the list, unless it was begun. A mark ahead of our clock is not believed: the list is read from its start."""
        if self.began:
            return self
        return replace(self, began=now.astimezone(UTC).isoformat(), **{self.kind: believed(self.mark, now)})

    def after(self, rows: list[Any], page: str) -> _Cursor:
        """Return the cursor that follows a page; an odd row moves nothing."""
        best = max([self.best, *(stamp(row, "updated_at", aware) for row in rows)])
        if page:
            return replace(self, best=best, page=page)
        mark = min(max(self.mark, best), self.began)
        other = "checkouts" if self.kind == "orders" else "orders"
        return replace(self, kind=other, page="", best="", began="", **{self.kind: mark})


def _hints(body: dict[str, Any]) -> Iterable[ChangeNotice | Unread]:
    """Find the order a hook speaks of; a hook of another kind may name none."""
    kind, data = strict(body.get("type"), "$.type"), body.get("data")
    if kind and not kind.startswith("order") and not (isinstance(data, dict) and "order" in data):
        return (Unread("$.type", f"a hook of the type {kind!r:.60} names no order", lacks="nothing"),)
    return (ChangeNotice(word(mapping(data, "$.data").get("order"), "$.data.order")),)


def _item(row: dict[str, Any], unread: list[Unread]) -> Item:
    removed = count(row.get("cancelled", 0), "$.cancelled") + count(row.get("refunded", 0), "$.refunded")
    return Item(
        ref=word(row.get("ref"), "$.ref"),
        ordered=count(row.get("ordered"), "$.ordered"),
        removed=removed,
        shippable=flag(row.get("shippable"), "$.shippable") is not False,
        name=term(row.get("name"), "$.name", unread),
        short=optional(flag, row.get("in_stock"), "$.in_stock", unread) is False,
    )


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    return word(row.get("ref"), "$.ref"), count(row.get("quantity"), "$.quantity")


def _part(row: dict[str, Any], key: str) -> dict[str, Any]:
    value = row.get(key)
    return {} if value is None else mapping(value, f"$.{key}")


def _list(body: dict[str, Any], key: str) -> list[Any]:
    """Return the list of an answer. Raises BadPayload where there is none: that is never an empty one."""
    if not isinstance(body[key], list):
        raise BadPayload(f"$.{key}", "must be a list")
    found: list[Any] = body[key]
    return found


def _answered(response: Response) -> dict[str, Any]:
    """Decode an answer; what is no JSON object is empty: the caller misses what it asked for."""
    try:
        return decode(response.body)
    except BadPayload:
        return {}


def _total(response: dict[str, Any]) -> int | None:
    total = response.get("total")
    return total if isinstance(total, int) and not isinstance(total, bool) and total >= 0 else None

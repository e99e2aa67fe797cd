"""BigCommerce: orders V2 and thin V3 webhooks.

Sources: the official orders V2 contract (requests below validate against it in tests/contract), the webhook pages and
samples, rate-limit and authentication pages of docs.bigcommerce.com, read 2026-11.

A status is an id; its label may be renamed. There is no Delivered: 10 Completed is it only where the store says so
(`completed_is_delivered`). The API accepts any id after any other, so we guard: 11, 9, 8 -> 3 or 2; 3 -> 2; 2 -> 10.
An order is read in three parts (order, products, shipments); a sweep lists ids and hints at each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import (
    Action,
    Ask,
    Checkout,
    Fulfilment,
    Hint,
    Item,
    Order,
    Page,
    Payload,
    Receipt,
    Refs,
    Since,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin import contracts
from tracker.plugin.contracts import Answer, Client, Request, Secrets, judge_by_status, retry_after
from tracker.plugin.payloads import decode, mapping, text, word
from tracker.plugin.signatures import shared_secret, standard_webhooks
from tracker.plugin.tracked import exactly
from tracker.plugin.tracked import parcels as typed_parcels

O, P = OrderStatus, PaymentStatus
OVERLAP = timedelta(minutes=10)
PAGE = 50
RESERVE = 0.1  # of the quota is left to the store's other apps

LABELS = {
    0: "Incomplete", 1: "Pending", 2: "Shipped", 3: "Partially Shipped", 4: "Refunded", 5: "Cancelled", 6: "Declined",
    7: "Awaiting Payment", 8: "Awaiting Pickup", 9: "Awaiting Shipment", 10: "Completed", 11: "Awaiting Fulfillment",
    12: "Manual Verification Required", 13: "Disputed", 14: "Partially Refunded",
}  # fmt: skip
IDS = {label: id_ for id_, label in LABELS.items()}
# 4, 13 and 14 say something of the money; what was shipped says the rest
STATUSES = {
    1: O.AWAITING_CONFIRMATION, 2: O.SHIPPED, 3: O.PARTIALLY_SHIPPED, 5: O.CANCELLED, 6: O.CANCELLED,
    7: O.AWAITING_CONFIRMATION, 8: O.READY_FOR_DISPATCH, 9: O.READY_FOR_DISPATCH, 10: O.SHIPPED, 11: O.CONFIRMED,
    12: O.ON_HOLD,
}  # fmt: skip
MONEY = {4: P.REFUNDED, 6: P.FAILED, 13: P.DISPUTED, 14: P.PARTIALLY_REFUNDED}
PAYMENTS = {
    "authorized": P.AUTHORIZED, "captured": P.PAID, "paid": P.PAID, "declined": P.FAILED, "void": P.FAILED,
    "refunded": P.REFUNDED, "partially refunded": P.PARTIALLY_REFUNDED, "pending": P.PENDING, "capture pending": P.PENDING,
    "held for review": P.PENDING,
}  # fmt: skip
MAY_COME_FROM = {3: {11, 9, 8}, 2: {11, 9, 8, 3}, 10: {2}}
CARRIERS = {  # AfterShip slugs, as tracking_carrier and shipping_provider spell them
    "ups": "ups", "usps": "usps", "fedex": "fedex", "dhl": "dhl", "dhl-germany": "dhl", "royal-mail": "royalmail",
    "royalmail": "royalmail", "canada-post": "canadapost", "canadapost": "canadapost", "auspost": "australiapost",
    "australia-post": "australiapost", "delhivery": "delhivery", "postnl": "postnl",
}  # fmt: skip


class Settings(contracts.Settings):
    """One store. `webhook_secrets` are client secrets of the app; `hook_key` is the header given when hooks were made."""

    store_hash: str
    base_url: str = "https://api.bigcommerce.com"
    access_token: SecretStr
    webhook_secrets: Secrets = ()
    hook_header: str = "x-trackwright"
    hook_key: SecretStr | None = None
    require_signature: bool = True
    completed_is_delivered: bool = False
    first_sync_days: int = 60
    carriers: Mapping[str, str] = {}


class BigCommerce(contracts.Platform):
    """A BigCommerce store."""

    docs = "https://developer.bigcommerce.com/docs/rest-management/orders"
    asks = frozenset({Refs, Since})
    webhooks = True
    statuses: ClassVar[Mapping[str, OrderStatus]] = {LABELS[id_]: status for id_, status in STATUSES.items()}
    Settings = Settings

    def order_words(self) -> Mapping[OrderStatus, str]:
        """Return what may be written: Shipped, Partially Shipped, and Completed where it means delivered."""
        words = {O.SHIPPED: LABELS[2], O.PARTIALLY_SHIPPED: LABELS[3]}
        return {**words, O.DELIVERED: LABELS[10]} if self.settings.completed_is_delivered else words

    def verify(self, payload: Payload) -> int:
        """Check the header given when the hook was made, and the Standard Webhooks signature (key: the secret's bytes)."""
        settings, which = self.settings, 0
        if settings.hook_key is not None:
            name = settings.hook_header.lower()
            which = shared_secret([settings.hook_key], payload.headers.get(name), name=name)
        if settings.require_signature or settings.hook_key is None:
            which = standard_webhooks([s.get_secret_value().encode() for s in settings.webhook_secrets], payload)
        return which

    def dedupe_key(self, payload: Payload) -> str:
        """Use webhook-id; else scope, hash and time: `hash` alone repeats over scopes (official samples)."""
        if id_ := payload.headers.get("webhook-id"):
            return id_
        try:
            body = decode(payload.body)
        except BadPayload:
            return super().dedupe_key(payload)
        parts = [text(body.get("scope")), text(body.get("hash")), str(body.get("created_at"))]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()

    def normalize(self, payload: Payload) -> Iterable[Order | Hint | Checkout]:
        """Read an order of three parts; a page of a sweep and a webhook hint at orders."""
        if payload.kind == "webhook":
            data = mapping(decode(payload.body).get("data"), "$.data")
            ref = next((data[key] for key in ("orderId", "order_id", "id") if data.get(key) is not None), None)
            if str(data.get("type")) == "shipment" and "orderId" not in data and "order_id" not in data:
                raise BadPayload("$.data", "names no order")
            return (Hint(word(ref, "$.data.id")),)
        if payload.body[:1] == b"[":
            return [Hint(word(row.get("id"), "$[].id")) for row in _rows(payload.body)]
        products = _rows(payload.parts[1]) if len(payload.parts) > 1 else []
        return exactly(
            lambda decode: self._facts(
                decode(payload.body), products, _rows(payload.parts[2], decode) if len(payload.parts) > 2 else []
            )
        )

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """Read orders in three parts each, or list what was modified since the cursor (with an overlap), by id."""
        if isinstance(ask, Refs):
            for ref in ask.refs:
                try:
                    order = self._call(client, f"/orders/{ref}")
                    products = self._call(client, f"/orders/{ref}/products", {"limit": "250"})
                    shipments = self._call(client, f"/orders/{ref}/shipments", {"limit": "250"})
                except NotFound:
                    continue
                yield Page((order.body, products.body or b"[]", shipments.body or b"[]"))
            return
        assert isinstance(ask, Since)
        mark, _, rest = (ask.cursor or "").partition("|")
        best, _, page_ = rest.partition("|")
        page = int(page_ or 1)
        if not mark:
            mark = (client.now() - timedelta(days=self.settings.first_sync_days)).isoformat()
        since = datetime.fromisoformat(mark) - OVERLAP
        best = best or mark
        while True:
            params = {
                "min_date_modified": format_datetime(since.astimezone(UTC)), "sort": "id:asc", "page": str(page),
                "limit": str(PAGE),
            }  # fmt: skip
            answer = self._call(client, "/orders", params)
            rows = _rows(answer.body or b"[]")
            for row in rows:
                best = max(best, _date(row.get("date_modified"), "$[].date_modified").astimezone(UTC).isoformat())
            done = len(rows) < PAGE
            page += 1
            yield Page((answer.body or b"[]",), f"{best}||" if done else f"{mark}|{best}|{page}")
            if done:
                return

    def judge(self, answer: Answer) -> None:
        """429 says in its own headers how long to wait; a 429 without them is load of the platform."""
        if answer.status == 429:
            reset = _number(answer.headers.get("x-rate-limit-time-reset-ms"))
            after = timedelta(milliseconds=reset) if reset is not None else None
            told = _number(answer.headers.get("x-retry-after"))
            waits = [
                w for w in (after, timedelta(seconds=told) if told is not None else None, retry_after(answer)) if w
            ]
            raise RateLimited("HTTP 429", max(waits, default=None))
        if answer.status in (400, 409, 413, 422):
            raise Refused(f"HTTP {answer.status}: {_said(answer.body)}")
        if answer.status == 423:
            raise Transient("HTTP 423: the order is locked")
        judge_by_status(answer)

    def pace(self, answer: Answer) -> timedelta | None:
        """Rest until the window ends once only the reserve is left."""
        left = _number(answer.headers.get("x-rate-limit-requests-left"))
        quota = _number(answer.headers.get("x-rate-limit-requests-quota"))
        reset = _number(answer.headers.get("x-rate-limit-time-reset-ms"))
        if left is None or quota is None or reset is None or left > quota * RESERVE:
            return None
        return timedelta(milliseconds=min(reset, 60_000))

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the status id and nothing else: touching products or fees changes them. Delivered goes by way of Shipped."""
        if action.target is None:
            raise Refused("orders V2 has no place for a note that does not overwrite the others")
        wanted, here = IDS[self.order_words()[action.target]], IDS.get(before.raw_status)
        if here == wanted:
            return Receipt(before.ref, already_there=True, proof=before.raw_status)
        steps = [wanted] if here in MAY_COME_FROM[wanted] else [2, 10] if here in MAY_COME_FROM[2] else []
        if not steps or steps[-1] != wanted:
            raise Refused(f"{before.raw_status} is not left for {LABELS[wanted]}: only by hand")
        shown = ""
        for step in steps:
            answer = self._call(client, f"/orders/{before.ref}", body={"status_id": step})
            shown = text(decode(answer.body).get("status"))
        return Receipt(before.ref, proof=shown)

    def ping(self, client: Client) -> None:
        """Read the list of statuses."""
        self._call(client, "/order_statuses")

    def _call(
        self, client: Client, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        settings = self.settings
        headers = {"X-Auth-Token": settings.access_token.get_secret_value(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return client.send(
            Request(
                "PUT" if body is not None else "GET",
                f"{settings.base_url}/stores/{settings.store_hash}/v2{path}",
                params=params or {},
                headers=headers,
                content=orjson.dumps(body) if body is not None else None,
                idempotent=body is None,  # each write can mail a customer: look again before it is repeated
            )
        )

    def _facts(
        self, row: dict[str, Any], products: list[dict[str, Any]], shipments: list[dict[str, Any]]
    ) -> Iterable[Order | Checkout]:
        id_ = row.get("status_id")
        if isinstance(id_, bool) or not isinstance(id_, int):
            raise BadPayload("$.status_id", "must be a number")
        ref = word(row.get("id"), "$.id")
        placed, modified = (
            _date(row.get("date_created"), "$.date_created"),
            _date(row.get("date_modified"), "$.date_modified"),
        )
        if id_ == 0:  # a checkout that was left, or a failed payment: not an order yet
            return (Checkout(self.account, ref, placed, modified),)
        items = [_item(p, f"$[1][{i}]") for i, p in enumerate(products)]
        status = STATUSES.get(id_)
        if id_ == 10 and self.settings.completed_is_delivered:
            status = O.DELIVERED
        if id_ in (4, 13, 14):
            status = self._by_pieces(row)
        raw_payment = text(row.get("payment_status"))
        order = Order(
            store=self.account,
            ref=ref,
            number=f"#{ref}",
            status=status or O.UNKNOWN,
            raw_status=LABELS.get(id_, f"{id_} {text(row.get('status'))}".strip()),
            payment=MONEY.get(id_) or PAYMENTS.get(raw_payment.lower(), P.PENDING),
            raw_payment=raw_payment or LABELS.get(id_, ""),
            placed_at=placed,
            updated_at=modified,
            cancelled_at=modified if status is O.CANCELLED else None,
            owner=Owner.COURIER,
            items=tuple(items),
            fulfilments=tuple(self._fulfilment(s, f"$[2][{i}]") for i, s in enumerate(shipments)),
            pays_by=text(row.get("payment_method")).casefold(),
            ships_to=text(row.get("geoip_country_iso2")).upper()[:2],
            locale=text(row.get("customer_locale")),
        )
        return order, Checkout(self.account, ref, placed, modified, recovered=True)

    @staticmethod
    def _by_pieces(row: dict[str, Any]) -> OrderStatus:
        total, shipped = row.get("items_total"), row.get("items_shipped")
        if not isinstance(total, int) or not isinstance(shipped, int) or shipped <= 0:
            return O.CONFIRMED
        return O.SHIPPED if shipped >= total else O.PARTIALLY_SHIPPED

    def _fulfilment(self, row: dict[str, Any], where: str) -> Fulfilment:
        company = (
            text(row.get("tracking_carrier")) or text(row.get("shipping_provider")) or text(row.get("shipping_method"))
        )
        carrier = self.settings.carriers.get(company) or CARRIERS.get(company.lower())
        parcels, unreadable = typed_parcels(
            row.get("tracking_number"), carrier, company, f"{where}.tracking_number", []
        )
        quantities = []
        for i, item in enumerate(row.get("items") or []):
            item = mapping(item, f"{where}.items[{i}]")
            ref = word(item.get("order_product_id"), f"{where}.items[{i}].order_product_id")
            quantities.append((ref, _count(item.get("quantity"), f"{where}.items[{i}].quantity")))
        return Fulfilment(
            ref=word(row.get("id"), f"{where}.id"),
            status="shipped",
            parcels=tuple(parcels),
            quantities=tuple(quantities),
            shipped_at=_date(row.get("date_created"), f"{where}.date_created"),
            service=text(row.get("shipping_method")),
            unreadable=tuple(unreadable),
        )


def _item(row: dict[str, Any], where: str) -> Item:
    return Item(
        ref=word(row.get("id"), f"{where}.id"),
        ordered=_count(row.get("quantity"), f"{where}.quantity"),
        removed=_count(row.get("quantity_refunded") or 0, f"{where}.quantity_refunded"),
        shippable=row.get("type") in (None, "physical"),
        name=text(row.get("name")),
    )


def _rows(body: bytes, decode: Callable[[bytes], dict[str, Any]] = decode) -> list[dict[str, Any]]:
    """Decode a list of objects; V2 answers with bare lists, and with nothing (204) where there is none."""
    wrapped = decode(b'{"rows":' + body + b"}")
    rows = wrapped.get("rows")
    if not isinstance(rows, list):
        raise BadPayload("$", "must be a list")
    return [mapping(row, f"$[{i}]") for i, row in enumerate(rows)]


def _date(value: Any, where: str) -> datetime:
    """Read an RFC 2822 date, as V2 prints them."""
    if not isinstance(value, str):
        raise BadPayload(where, "must be a date")
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        raise BadPayload(where, "is no RFC 2822 date") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9 or value != int(value):
        raise BadPayload(where, "must be a whole number of pieces")
    return int(value)


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 12 else None


def _said(body: bytes) -> str:
    try:
        rows = _rows(body) if body[:1] == b"[" else [decode(body)]
    except BadPayload:
        return "no reason given"
    return text(rows[0].get("message") or rows[0].get("title")) if rows else "no reason given"

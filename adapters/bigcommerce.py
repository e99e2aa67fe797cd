"""BigCommerce: orders V2 and thin V3 webhooks.

Sources: the official orders V2 contract (requests below validate against it in tests/contract), the webhook pages and
samples, rate-limit and authentication pages of docs.bigcommerce.com, read 2026-11.

A status is an id; its label may be renamed. There is no Delivered: 10 Completed is it only where the store says so
(`completed_is_delivered`). The API accepts any id after any other, so we guard: 11, 9, 8 -> 3 or 2; 3 -> 2; 2 -> 10.
An order is read in parts (order, products, shipments); a sweep lists ids and gives a change notice for each. Archived (`is_deleted`) is gone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from itertools import zip_longest
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, RateLimited, Refused, Transient, Unavailable
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Fulfilment,
    Item,
    Order,
    Page,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, Trust
from tracker.plugin import contracts
from tracker.plugin.answers import holding, not_html, raise_by_status, retry_after, said_by
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.contracts import Secrets
from tracker.plugin.hooks import Hook
from tracker.plugin.payloads import BOM, decode, mapping, optional, piece, pieces, term, text, word
from tracker.plugin.signatures import shared_secret, standard_webhooks
from tracker.plugin.tracked import each_alone, exactly, flag, order, parcels, strict, told

O, P = OrderStatus, PaymentStatus
OVERLAP = timedelta(minutes=10)
PAGE = 50
MOST = 250  # of a list of an order, in one page
MOST_PAGES = 20
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
_CENTURY = re.compile(r" 00\d\d ")
NOT_SHIPPED = frozenset({"digital", "giftcertificate"})
SCOPES = (  # that tell all of an order's way: metafields, messages and transactions are no news of it
    "store/order/created", "store/order/updated", "store/order/archived", "store/order/refund/created",
    "store/shipment/created", "store/shipment/updated", "store/shipment/deleted",
)  # fmt: skip
MAY_COME_FROM = {3: {11, 9, 8}, 2: {11, 9, 8, 3}, 10: {2}}


class Settings(contracts.Settings):
    """One store. `webhook_secrets` are client secrets of the app; `hook_key` goes into the header `hook_header` of its hooks."""

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
    vocabulary = ("bigcommerce", "aftership")  # shipping_provider, and tracking_carrier
    hooks_need = "the default scope of an API account of this store, which is what hooks take"
    statuses: ClassVar[Mapping[str, OrderStatus]] = {LABELS[id_]: status for id_, status in STATUSES.items()}
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind a store. Without signatures a hook is proved by our header alone."""
        super().__init__(account, settings)
        if self.settings.hook_key is not None and not self.settings.require_signature:
            self.trust = Trust.SHARED

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Return what may be written: Shipped, Partially Shipped, and Completed where it means delivered."""
        words = {O.SHIPPED: LABELS[2], O.PARTIALLY_SHIPPED: LABELS[3]}
        return {**words, O.DELIVERED: LABELS[10]} if self.settings.completed_is_delivered else words

    def beside(self, kind: str, word: str) -> contracts.Beside | None:
        """Each status may mail: the store's settings say which (support.bigcommerce.com, Customer Order Notifications, 2026-11)."""
        if kind != "order_status":
            return None
        return contracts.Beside(f"mails the customer where the store's Settings > Order notifications ticks {word}")

    def webhooks_need(self) -> str:
        """Name what proves a hook: its signature, or the header given when it was made, where that is enough."""
        settings = self.settings
        proved = settings.webhook_secrets or (settings.hook_key and not settings.require_signature)
        return "" if proved else "webhook_secrets"

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

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        """Read an order of three parts or more (order, then products and shipments in turn); else give change notices."""
        if payload.kind == "webhook":
            return _hints(decode(payload.body))
        unread: list[Unread] = []
        if payload.body.removeprefix(BOM).lstrip()[:1] == b"[":
            rows = _rows(payload.body, decode)
            return told(
                pieces(rows, "$", lambda row, _: ChangeNotice(word(row.get("id"), "$.id")), unread, lacks="all"), unread
            )
        return exactly(lambda decode: self._read(decode(payload.body), [_rows(p, decode) for p in payload.parts[1:]]))

    def _read(self, row: dict[str, Any], lists: list[list[Any]]) -> Iterable[Order | Checkout | Unread]:
        unread: list[Unread] = []
        if row.get("status_id") == 0 and not isinstance(row["status_id"], bool):
            left = piece(row, "$", self._left, unread, lacks="nothing")
            return told([left] if left else [], unread)
        one = order(row, "$", lambda row, unread: self._order(row, unread, lists), "id", unread)
        if one is None:
            return told([], unread)
        taken_up = Checkout(self.account, one.ref, one.placed_at, one.updated_at, recovered=True)
        return told([one, taken_up], unread)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders in their parts, or list what was modified since the cursor (with an overlap), by id."""
        if isinstance(query, Refs):
            yield from each_alone(query.refs, lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        now = client.now()
        mark, best, page_, began_ = (*(query.cursor or "").split("|"), "", "", "")[:4]
        if not mark or datetime.fromisoformat(mark) > now + OVERLAP:  # a mark ahead of our clock is not believed
            mark, best, page_ = (now - timedelta(days=self.settings.first_sync_days)).isoformat(), "", ""
        since = datetime.fromisoformat(mark) - OVERLAP
        page, began = int(page_ or 1), began_ or now.astimezone(UTC).isoformat()
        while True:
            params = {
                "min_date_modified": format_datetime(since.astimezone(UTC)), "sort": "id:asc", "page": str(page),
                "limit": str(PAGE),
            }  # fmt: skip
            response = self._call(client, "/orders", params)
            rows = _list(response, Unavailable)
            best = max([best or mark, *filter(None, map(_stamp, rows))])
            done = len(rows) < PAGE
            page += 1
            cursor = f"{min(best, began)}||" if done else f"{mark}|{best}|{page}|{began}"
            yield Page((response.body or b"[]",), cursor)
            if done:
                return

    def _one(self, client: Client, ref: str) -> Page | None:
        """Read an order: its own part, then products and shipments in turn, page by page."""
        path = f"/orders/{segment(ref)}"
        try:
            response = self._call(client, path)
        except NotFound:
            return None  # not there any more; the others are
        if response.body.removeprefix(BOM).lstrip()[:1] != b"{":
            raise Transient("GET /orders/... answered without its order")
        lists = [self._pages(client, f"{path}/{name}") for name in ("products", "shipments")]
        return Page((response.body, *(part for pair in zip_longest(*lists, fillvalue=b"[]") for part in pair)))

    def _pages(self, client: Client, path: str) -> list[bytes]:
        """Read a list of an order to its end. What is full may go on, by whatever size the store cuts its pages."""
        pages: list[bytes] = []
        while len(pages) < MOST_PAGES:
            try:
                response = self._call(client, path, {"limit": str(MOST), "page": str(len(pages) + 1)})
            except NotFound:
                raise Transient(f"{path} is not there, though its order is") from None
            rows, body = _list(response, Transient), response.body or b"[]"
            if body in pages:
                break  # again the same: the parser sees that the last page is full
            pages.append(body)
            if not _is_full(rows):
                break
        return pages

    def raise_for_status(self, response: Response) -> None:
        """429 says in its own headers how long to wait; a 429 without them is load of the platform."""
        not_html(response)
        if response.status == 429:
            reset = _number(response.headers.get("x-rate-limit-time-reset-ms"))
            after = timedelta(milliseconds=reset) if reset is not None else None
            told = _number(response.headers.get("x-retry-after"))
            waits = [
                w for w in (after, timedelta(seconds=told) if told is not None else None, retry_after(response)) if w
            ]
            raise RateLimited("HTTP 429", max(waits, default=None))
        if response.status in (400, 409, 413, 422):
            raise Refused(f"HTTP {response.status}: {said_by(response.body)}")
        if response.status == 423:
            raise Transient("HTTP 423: the order is locked")
        raise_by_status(response)

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Rest until the window ends once only the reserve is left."""
        left = _number(response.headers.get("x-rate-limit-requests-left"))
        quota = _number(response.headers.get("x-rate-limit-requests-quota"))
        reset = _number(response.headers.get("x-rate-limit-time-reset-ms"))
        if left is None or quota is None or reset is None or left > quota * RESERVE:
            return None
        return timedelta(milliseconds=min(reset, 60_000))

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the status id and nothing else: touching products or fees changes them. Delivered goes by way of Shipped."""
        if action.target is None:
            raise Refused("orders V2 has no place for a note that does not overwrite the others")
        wanted, here = IDS[self.order_status_map()[action.target]], IDS.get(before.raw_status)
        if here == wanted:
            return Receipt(before.ref, already_there=True, proof=before.raw_status)
        steps = [wanted] if here in MAY_COME_FROM[wanted] else [2, 10] if here in MAY_COME_FROM[2] else []
        if not steps or steps[-1] != wanted:
            raise Refused(f"{before.raw_status} is not left for {LABELS[wanted]}: only by hand")
        shown = ""
        for step in steps:
            response = self._call(client, f"/orders/{segment(before.ref)}", body={"status_id": step})
            shown = text(decode(response.body).get("status"))
        return Receipt(before.ref, proof=shown)

    def ping(self, client: Client) -> None:
        """Read the list of statuses."""
        self._call(client, "/order_statuses")

    def hooks_wanted(self, address: str) -> Sequence[Hook]:
        """One hook a scope, with our header; a status that changes is an update. They are sent to port 443 only (webhooks v3)."""
        if urlsplit(address).port not in (None, 443):
            raise Refused("BigCommerce posts to port 443 only: web.public_url must name no other")
        key = self.settings.hook_key
        headers = {self.settings.hook_header: key.get_secret_value()} if key is not None else {}
        return [Hook(scope, address, headers) for scope in SCOPES]

    def hooks_there(self, client: Client) -> Sequence[Hook]:
        """GET /v3/hooks: those of our client id; after a change of the token's account the list is empty."""
        found: list[Hook] = []
        for page in range(1, MOST_PAGES + 1):
            params = {"limit": str(MOST), "page": str(page)}
            body = decode(holding(self._call(client, "/hooks", params, version="v3").body, "data"))
            rows = body.get("data")
            if not isinstance(rows, list):
                raise Transient("GET /hooks answered without its list")
            found += [_hook(mapping(row, "$.data[]")) for row in rows]
            pages = mapping(mapping(body.get("meta") or {}, "$.meta").get("pagination") or {}, "$.meta.pagination")
            if not rows or page >= (pages.get("total_pages") or 1):
                break
        return found

    def make_hook(self, client: Client, hook: Hook) -> str:
        """POST /v3/hooks."""
        body = {"scope": hook.topic, "destination": hook.address, "is_active": True, "headers": dict(hook.headers)}
        made = self._call(client, "/hooks", body=body, version="v3", method="POST")
        return word(mapping(decode(made.body).get("data"), "$.data").get("id"), "$.data.id")

    def mend_hook(self, client: Client, hook: Hook) -> None:
        """PUT /v3/hooks/{id}."""
        body = {"destination": hook.address, "is_active": True, "headers": dict(hook.headers)}
        self._call(client, f"/hooks/{segment(hook.ref)}", body=body, version="v3")

    def _call(
        self, client: Client, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None,
        *, version: str = "v2", method: str = "PUT",
    ) -> Response:  # fmt: skip
        settings = self.settings
        headers = {"X-Auth-Token": settings.access_token.get_secret_value(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return client.send(
            Request(
                method if body is not None else "GET",
                f"{settings.base_url}/stores/{segment(settings.store_hash)}/{version}{path}",
                params=params or {},
                headers=headers,
                content=orjson.dumps(body) if body is not None else None,
                idempotent=body is None,  # each write can mail a customer: look again before it is repeated
            )
        )

    def _left(self, row: dict[str, Any], _unread: list[Unread]) -> Checkout:
        """Read a checkout that was left, or a failed payment: not an order yet."""
        placed, modified = (
            _date(row.get("date_created"), "$.date_created"),
            _date(row.get("date_modified"), "$.date_modified"),
        )
        return Checkout(self.account, word(row.get("id"), "$.id"), placed, modified)

    def _order(self, row: dict[str, Any], unread: list[Unread], lists: list[list[Any]]) -> Order:
        """Read an order. It is not told without what a write depends on: its status, its money, its times."""
        id_ = row.get("status_id")
        if isinstance(id_, bool) or not isinstance(id_, int):
            raise BadPayload("$.status_id", "must be a number")
        ref = word(row.get("id"), "$.id")
        placed, modified = (
            _date(row.get("date_created"), "$.date_created"),
            _date(row.get("date_modified"), "$.date_modified"),
        )
        status = STATUSES.get(id_)
        if id_ == 10 and self.settings.completed_is_delivered:
            status = O.DELIVERED
        if id_ in (4, 13, 14):
            status = _by_pieces(row)
        raw_payment = strict(row.get("payment_status"), "$.payment_status")
        items: dict[str, Item] = {}
        fulfilments: dict[str, Fulfilment] = {}
        for at, rows in enumerate(lists, start=1):
            if at % 2:
                items |= {one.ref: one for one in pieces(rows, f"$[{at}]", _item, unread, lacks="line")}
            else:
                found = pieces(rows, f"$[{at}]", self._fulfilment, unread, lacks="line")
                fulfilments |= {one.ref: one for one in found}
            if _is_full(rows) and at + 2 > len(lists):
                unread.append(Unread(f"$[{at}]", f"incomplete: its last page is full ({len(rows)})", lacks="rest"))
        return Order(
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
            items=tuple(items.values()),
            fulfilments=tuple(fulfilments.values()),
            pays_by=strict(row.get("payment_method"), "$.payment_method").casefold(),
            ships_to=term(row.get("geoip_country_iso2"), "$.geoip_country_iso2", unread).upper()[:2],
            locale=term(row.get("customer_locale"), "$.customer_locale", unread),
            gone="deleted" if flag(row.get("is_deleted"), "$.is_deleted") else "",
        )

    def _fulfilment(self, row: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        names = [
            term(row.get(key), f"$.{key}", unread)
            for key in ("tracking_carrier", "shipping_provider", "shipping_method")
        ]
        company = next((name for name in names if name), "")
        carrier = self.carrier_of(company)
        found, unreadable = parcels(row.get("tracking_number"), carrier, company, "$.tracking_number", unread)
        return Fulfilment(
            ref=word(row.get("id"), "$.id"),
            status="shipped",
            parcels=tuple(found),
            quantities=tuple(pieces(row.get("items"), "$.items", _quantity, unread, lacks="line")),
            shipped_at=optional(_date, row.get("date_created"), "$.date_created", unread),
            service=names[2],
            unreadable=tuple(unreadable),
        )


def _hook(row: dict[str, Any]) -> Hook:
    headers = {name: text(value) for name, value in mapping(row.get("headers") or {}, "$.headers").items()}
    ref, topic = word(row.get("id"), "$.id"), word(row.get("scope"), "$.scope")
    return Hook(topic, text(row.get("destination")), headers, ref, row.get("is_active") is True)


def _hints(body: dict[str, Any]) -> Iterable[ChangeNotice | Unread]:
    """Find the order that a hook speaks of: by its own name, or by `id` where the hook is of an order."""
    data = mapping(body.get("data"), "$.data")
    kind = strict(data.get("type"), "$.data.type")
    named = [data[key] for key in ("orderId", "order_id") if data.get(key) is not None]
    if named or kind == "order":
        return (ChangeNotice(word(named[0] if named else data.get("id"), "$.data.id")),)
    if kind in ("", "shipment"):
        raise BadPayload("$.data", "names no order")
    return (Unread("$.data", f"a hook about a {kind!r:.60} names no order", lacks="nothing"),)


def _item(row: dict[str, Any], unread: list[Unread]) -> Item:
    return Item(
        ref=word(row.get("id"), "$.id"),
        ordered=_count(row.get("quantity"), "$.quantity"),
        removed=_count(row.get("quantity_refunded") or 0, "$.quantity_refunded"),
        shippable=strict(row.get("type"), "$.type") not in NOT_SHIPPED,
        name=term(row.get("name"), "$.name", unread),
    )


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    return word(row.get("order_product_id"), "$.order_product_id"), _count(row.get("quantity"), "$.quantity")


def _by_pieces(row: dict[str, Any]) -> OrderStatus:
    """Say what was shipped of an order whose status says something of its money."""
    total, shipped = (_count(row.get(key) or 0, f"$.{key}") for key in ("items_total", "items_shipped"))
    if not total or not shipped:
        return O.CONFIRMED
    return O.SHIPPED if shipped >= total else O.PARTIALLY_SHIPPED


def _rows(body: bytes, decode: Callable[[bytes], dict[str, Any]]) -> list[Any]:
    """Decode a list; V2 answers with bare lists, and with nothing (204) where there is none."""
    rows = decode(b'{"rows":' + body.removeprefix(BOM) + b"}").get("rows")
    if not isinstance(rows, list):
        raise BadPayload("$", "must be a list")
    return rows


def _list(response: Response, error: type[Transient]) -> list[Any]:
    """Return the list that was asked for. Raises `error` where something else came: that is never an empty one."""
    try:
        return _rows(b"[]" if response.status == 204 else response.body, decode)
    except BadPayload:
        raise error(f"HTTP {response.status} without its list: {said_by(response.body)}") from None


def _is_full(rows: list[Any]) -> bool:
    """Say whether a page may be full. A page is as long as was asked for, or 50, the default; all stores cut at fifties."""
    return bool(rows) and len(rows) % PAGE == 0


def _stamp(row: Any) -> str:
    """Return when an order changed; empty where that cannot be read."""
    try:
        at = _date(mapping(row, "$").get("date_modified"), "$.date_modified")
    except BadPayload:
        return ""
    return at.astimezone(UTC).isoformat()


def _date(value: Any, where: str) -> datetime:
    """Read an RFC 2822 date, as V2 prints them."""
    if not isinstance(value, str):
        raise BadPayload(where, "must be a date")
    try:
        at = parsedate_to_datetime(value)
        if not 1 < at.year < 9999 or _CENTURY.search(value):
            raise ValueError  # beyond what a clock can say beside an offset; 0001 is read as 2001
    except (TypeError, ValueError, IndexError, OverflowError):
        raise BadPayload(where, "is no RFC 2822 date") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9 or value != int(value):
        raise BadPayload(where, "must be a whole number of pieces")
    return int(value)


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 12 else None

"""Corner Shop shops (orders are swept, told of by webhooks, and read).

Corner Shop API v3: Orders, Webhooks; a platform that is made up, as a newcomer would write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, NotFound, Unavailable
from tracker.domain.facts import (
    Action,
    ChangeNotice,
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
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin import contracts
from tracker.plugin.answers import holding, said_by
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.contracts import Secrets
from tracker.plugin.payloads import decode, mapping, moment, pieces, term, text, word
from tracker.plugin.signatures import hmac_base64
from tracker.plugin.tracked import each_alone, exactly, flag, order, orders, parcels, told

OVERLAP = timedelta(minutes=10)


class Settings(contracts.Settings):
    """One shop. `base_url`: its API; `api_token` proves who asks, `webhook_secrets` who sends; `carriers`: its words for them."""

    base_url: str = "https://api.corner-shop.example"
    api_token: SecretStr
    webhook_secrets: Secrets = ()
    carriers: Mapping[str, str] = {}


class CornerShopPlatform(contracts.Platform):
    """A Corner Shop."""

    docs = "https://corner-shop.example/docs"
    contract = 2
    webhooks = True
    asks = frozenset({Refs, Since})
    statuses: ClassVar[Mapping[str, OrderStatus]] = {
        "picking": OrderStatus.PROCESSING,
        "on the road": OrderStatus.SHIPPED,
        "done": OrderStatus.DELIVERED,
        "cancelled": OrderStatus.CANCELLED,
    }
    Settings = Settings

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Return the words that may be written; never cancelled."""
        return {OrderStatus.SHIPPED: "on the road", OrderStatus.DELIVERED: "done"}

    def verify(self, payload: Payload) -> int:
        """Check the base64 HMAC of the body."""
        name = "x-corner-signature"
        return hmac_base64(self.settings.webhook_secrets, payload.body, payload.headers.get(name), name=name)

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Unread]:
        """Read an order, a page of them, or a webhook, which is a notice of a change."""
        if payload.kind == "webhook":
            return (ChangeNotice(word(decode(payload.body).get("order"), "$.order")),)
        return exactly(lambda decode: self._read(decode(payload.body)))

    def _read(self, body: dict[str, Any]) -> Iterable[Order | Unread]:
        unread: list[Unread] = []
        if "order" in body:
            one = order(body["order"], "$.order", self._order, "id", unread)
            return told([one] if one else [], unread)
        if not isinstance(body.get("orders"), list):
            raise BadPayload("$.orders", "must be a list")
        return told(orders(body["orders"], "$.orders", self._order, "id", unread), unread)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """GET /v3/orders/{ref} of each ref, or GET /v3/orders: what changed since a moment, page after page."""
        if isinstance(query, Refs):
            yield from each_alone(query.refs, lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        since, newest, began, page = [*(query.cursor or "").split("|", 3), "", "", ""][:4]
        began = began or client.now().astimezone(UTC).isoformat()  # when the list began to be read, by our clock
        since = since if since <= began else ""  # a mark ahead of our clock is not believed
        while True:
            params = {"since": _early(since), "page": page, "open": "true" if query.open_only else ""}
            response = self._call(client, "GET", "/v3/orders", {key: value for key, value in params.items() if value})
            body = _answered(response)
            if not isinstance(body.get("orders"), list):
                raise Unavailable(f"GET /v3/orders answered without its list: {said_by(response.body)}")
            newest = max([newest, *map(_changed, body["orders"])])  # by the shop's clock, which is not ours
            page = text(body.get("next"))
            mark = min(max(since, newest), began)
            yield Page((response.body,), f"{since}|{newest}|{began}|{page}" if page else mark)
            if not page:
                return

    def _one(self, client: Client, ref: str) -> Page | None:
        try:
            response = self._call(client, "GET", f"/v3/orders/{segment(ref)}")
        except NotFound:
            return None  # not there any more; the others are
        return Page((holding(response.body, "order"),))

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """PUT /v3/orders/{ref}/state, unless it stands there already."""
        assert action.target is not None
        spelt = self.order_status_map()[action.target]
        if before.raw_status == spelt:
            return Receipt(before.ref, already_there=True, proof=spelt)
        content = orjson.dumps({"state": spelt, "key": action.key})
        response = self._call(client, "PUT", f"/v3/orders/{segment(action.order)}/state", content=content)
        holding(response.body, "order")
        return Receipt(before.ref, proof=spelt)

    def ping(self, client: Client) -> None:
        """GET /v3/shop."""
        self._call(client, "GET", "/v3/shop")

    def _call(
        self,
        client: Client,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Response:
        headers = {"X-Corner-Token": self.settings.api_token.get_secret_value()}
        if content is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self.settings.base_url}{path}"
        return client.send(Request(method, url, params=params or {}, headers=headers, content=content))

    def _order(self, row: dict[str, Any], unread: list[Unread]) -> Order:
        """Read an order. It is not told without what a write depends on: its status, its money, whose it is, its times."""
        raw = word(row.get("state"), "$.state")
        paid = flag(row.get("paid"), "$.paid")
        return Order(
            store=self.account,
            ref=word(row.get("id"), "$.id"),
            number=word(row.get("code"), "$.code"),
            status=self.statuses.get(raw, OrderStatus.UNKNOWN),
            raw_status=raw,
            payment=PaymentStatus.PAID if paid else PaymentStatus.PENDING,
            raw_payment="" if paid is None else str(paid).lower(),
            placed_at=_aware(row.get("placed_at"), "$.placed_at"),
            updated_at=_aware(row.get("updated_at"), "$.updated_at"),
            items=tuple(pieces(row.get("lines"), "$.lines", _item, unread, lacks="line")),
            fulfilments=tuple(pieces(row.get("parcels"), "$.parcels", self._fulfilment, unread, lacks="line")),
        )

    def _fulfilment(self, row: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        company = term(row.get("carrier"), "$.carrier", unread)
        found, strange = parcels(row.get("number"), self.carrier_of(company), company, "$.number", unread)
        return Fulfilment(word(row.get("id"), "$.id"), "on the road", tuple(found), unreadable=tuple(strange))


def _item(row: dict[str, Any], unread: list[Unread]) -> Item:
    ordered = row.get("ordered")
    if isinstance(ordered, bool) or not isinstance(ordered, int) or not 0 <= ordered <= 10**9:
        raise BadPayload("$.ordered", "must be a whole number of pieces")
    return Item(word(row.get("id"), "$.id"), ordered, name=term(row.get("name"), "$.name", unread))


def _aware(value: Any, where: str) -> datetime:
    at = moment(value, where)
    if at.tzinfo is None:
        raise BadPayload(where, "must carry an offset, such as Z")
    return at


def _changed(row: Any) -> str:
    """Return when an order changed, as marks are compared; nothing where it cannot be read."""
    try:
        return _aware(mapping(row, "$").get("updated_at"), "$.updated_at").astimezone(UTC).isoformat()
    except BadPayload:
        return ""


def _early(mark: str) -> str:
    """Return a moment a little before a mark: what the shop lists may lag behind what it holds."""
    try:
        return (datetime.fromisoformat(mark) - OVERLAP).isoformat()
    except (ValueError, OverflowError):
        return ""


def _answered(response: Response) -> dict[str, Any]:
    """Decode an answer; what is no JSON object is empty: the caller misses what it asked for."""
    try:
        return decode(response.body)
    except BadPayload:
        return {}

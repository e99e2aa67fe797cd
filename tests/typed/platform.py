"""A made-up selling platform that uses all that a platform may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from pydantic import SecretStr

from tracker.domain.errors import RateLimited, Refused, SourceError, Transient
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
    Published,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.answers import not_html, raise_by_status, retry_after
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.contracts import Beside, Reply, Secrets
from tracker.plugin.hooks import Hook
from tracker.plugin.oauth import Tokens
from tracker.plugin.payloads import decode, moment, word
from tracker.plugin.signatures import hmac_hex

COMPANIES = {"acme parcels": "acme"}
STATUSES = {"open": OrderStatus.PROCESSING, "sent": OrderStatus.SHIPPED}


class CornerSettings(contracts.Settings):
    """What the YAML says of one shop."""

    shop: str
    token: SecretStr
    webhook_secrets: Secrets = ()
    carriers: Mapping[str, str] = {}


class Corner(contracts.Platform):
    """Orders of a corner shop."""

    docs = "https://corner.example/docs"
    contract = 2
    companies = COMPANIES
    vocabulary = ("aftership",)
    hooks_need = "the scope write_hooks"
    asks = frozenset({Refs, Since})
    webhooks = True
    statuses = STATUSES
    takes_notes = True
    takes_fields = True
    takes_numbers = False
    answer = Reply(b"{}", "application/json")
    looks_again = timedelta(minutes=1)
    Settings = CornerSettings
    settings: CornerSettings  # so that its keys are typed

    def __init__(self, account: str, settings: CornerSettings) -> None:
        super().__init__(account, settings)
        self.tokens = Tokens(self._grant)

    def verify(self, payload: Payload) -> int:
        return hmac_hex(self.settings.webhook_secrets, payload.body, payload.headers.get("x-corner"), name="x-corner")

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        for part in payload.parts:
            body = decode(part)
            assert_type(body, dict[str, Any])
            if payload.kind == "webhook":
                yield ChangeNotice(word(body.get("order"), "$.order"))
            elif body.get("left"):
                at = moment(body["left"], "$.left")
                yield Checkout(self.account, word(body.get("id"), "$.id"), at, at, contact=True)
            elif "status" in body:
                yield self._order(body, payload.received_at)
            else:
                yield Unread("$.status", "is missing", subject=word(body.get("id"), "$.id"), lacks="all")

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        if isinstance(query, Refs):
            for ref in query.refs:
                yield Page((client.send(self._request("GET", segment(ref))).body,))
        elif isinstance(query, Since):
            assert_type(query.cursor, str | None)
            response = client.send(self._request("GET", f"?since={query.cursor or ''}&open={query.open_only}"))
            yield Page((response.body,), next_cursor=client.now().isoformat(), total=1)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        if action.kind != "order_status" or action.target is None:
            raise Refused(f"the shop shows no {action.kind}")
        if before.status is action.target:
            return Receipt(before.ref, already_there=True)
        response = client.send(self._request("PUT", segment(action.order), b'{"status": "sent"}'))
        return Receipt(before.ref, proof=response.body.decode("utf-8", "replace"))

    def beside(self, kind: str, word: str) -> Beside | None:
        return Beside("mails the customer", asks=word == "sent") if kind == "order_status" else None

    def webhooks_need(self) -> str:
        return "" if self.settings.webhook_secrets else "webhook_secrets"

    def look_around(self, client: Client) -> Iterator[str]:
        """Say where its tracking is."""
        yield f"tracking is read from the order ({client.now():%Y})"

    def hooks_wanted(self, address: str) -> list[Hook]:
        return [Hook("order/updated", address, {"x-own": "k"})]

    def hooks_there(self, client: Client) -> list[Hook]:
        body = decode(client.send(self._request("GET", "hooks")).body)
        return [Hook("order/updated", "https://us.example", {}, word(body.get("id"), "$.id"), active=False)]

    def make_hook(self, client: Client, hook: Hook) -> str:
        return word(decode(client.send(self._request("POST", "hooks")).body).get("id"), "$.id")

    def mend_hook(self, client: Client, hook: Hook) -> None:
        client.send(self._request("PUT", segment(hook.ref)))

    def status_map(self) -> dict[ShippingStatus, str]:
        return {ShippingStatus.DELIVERED: "arrived"}

    def order_status_map(self) -> dict[OrderStatus, str]:
        return {OrderStatus.SHIPPED: "sent"}

    def says(self) -> frozenset[OrderStatus]:
        return super().says() | {OrderStatus.CANCELLED}

    def reads_back(self) -> timedelta | None:
        return timedelta(days=60)

    def raise_for_status(self, response: Response) -> None:
        not_html(response)
        if response.status == 420:
            raise RateLimited("HTTP 420", retry_after(response))
        raise_by_status(response)

    def _grant(self, client: Client) -> Token:
        response = client.send(Request("POST", f"https://{self.settings.shop}/token", idempotent=False))
        if not response.body:
            raise Transient("an answer without a token")
        return Token(response.body.decode(), response.received_at + timedelta(hours=1))

    def _request(self, method: str, path: str, content: bytes | None = None) -> Request:
        return Request(method, f"https://{self.settings.shop}/orders/{path}", content=content, idempotent=False)

    def _order(self, body: dict[str, Any], at: datetime) -> Order:
        raw = word(body.get("status"), "$.status")
        return Order(
            self.account, word(body.get("id"), "$.id"), "#1", self.statuses.get(raw, OrderStatus.UNKNOWN), raw,
            PaymentStatus.PAID, "paid", at, at, owner=Owner.COURIER, items=(Item("1", ordered=2),),
            fulfilments=(
                Fulfilment(
                    "f1", "sent", (Parcel("acme", "ACME1"),), (("1", 2),),
                    Published(ShippingStatus.DELIVERED, "arrived", at),
                ),
            ),
        )  # fmt: skip


def what_an_author_gets(response: Response, error: RateLimited) -> SourceError:
    corner = Corner("shop", CornerSettings(shop="corner.example", token=SecretStr("of nobody")))
    assert_type(corner.settings.token, SecretStr)
    assert_type(corner.carrier_of("Acme Parcels"), str | None)
    assert_type(corner.word_for("acme"), str | None)
    assert_type(corner.says(), frozenset[OrderStatus])
    assert_type(retry_after(response), timedelta | None)
    assert_type(error.after, timedelta | None)
    return error  # one of the tree


def what_must_stay_a_mistake(order: Order) -> None:
    order.status = OrderStatus.SHIPPED  # type: ignore[misc]  # what was read is not changed
    Since()  # type: ignore[call-arg]  # from the beginning is said: None
    Receipt(1)  # type: ignore[arg-type]  # an id is a text
    Order("shop", "1", "#1", "open", "open", PaymentStatus.PAID, "", order.placed_at, datetime.now(UTC))  # type: ignore[arg-type]
    Action("order_status", "k", "shop", "1", target=ShippingStatus.DELIVERED)  # type: ignore[arg-type]  # another fact
    contracts.Platform("shop", None)  # type: ignore[abstract]  # a platform without normalize, fetch and push


class Mistaken(contracts.Platform):
    """A platform whose methods are not those that are asked for."""

    def normalize(self, payload: Payload) -> list[dict[str, Any]]:  # type: ignore[override]  # bodies are not facts
        return [decode(payload.body)]

    def push(self, client: Client, action: Action) -> Receipt:  # type: ignore[override]  # without looking first
        return Receipt(action.order)

    def order_status_map(self) -> dict[ShippingStatus, str]:  # type: ignore[override]  # two vocabularies, never one
        return {ShippingStatus.DELIVERED: "arrived"}

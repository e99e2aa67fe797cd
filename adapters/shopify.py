"""Shopify Admin GraphQL, version 2026-04.

Sources: the Admin schema 2026-04 (every operation below validates against it in tests/contract), shopify.dev pages on
webhooks, rate limits and tokens, read 2026-11.

Shopify's order status cannot be written; what can be shown is one *fulfilment event* a shipping status. Events can be
neither edited nor deleted, so a doubtful DELIVERED is never sent. Webhook bodies may be stale: they are hints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from tracker.domain.errors import BadPayload, CredentialsRejected, RateLimited, Refused, Transient
from tracker.domain.facts import (
    Action,
    Ask,
    Fulfilment,
    Hint,
    Order,
    Page,
    Parcel,
    Payload,
    Published,
    Receipt,
    Refs,
    Since,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.contracts import Answer, Client, Request, Secrets, judge_by_status
from tracker.plugin.oauth import Token, Tokens, ask_token
from tracker.plugin.payloads import decode, listing, mapping, moment, text, word
from tracker.plugin.signatures import hmac_base64
from tracker.plugin.tracked import exactly
from tracker.plugin.tracked import parcels as typed_parcels

S, O, P = ShippingStatus, OrderStatus, PaymentStatus
OVERLAP = timedelta(minutes=10)  # the search index may lag behind the record
SAME = timedelta(minutes=5)  # an event of the same status this near is ours
PAGE = 10
REST = timedelta(seconds=1)
RESERVE = 60  # cost points kept for the largest operation of ours

FIELDS = """
  id name createdAt updatedAt cancelledAt displayFulfillmentStatus displayFinancialStatus
  fulfillments(first: 20) {
    id status createdAt
    trackingInfo(first: 20) { company number }
    events(first: 1, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } }
  }
"""
ORDERS = (
    "query Orders($first: Int!, $after: String, $q: String!) {"
    " orders(first: $first, after: $after, query: $q, sortKey: UPDATED_AT) {"
    " pageInfo { hasNextPage endCursor } nodes {" + FIELDS + "} } }"
)
READ = "query Read($ids: [ID!]!) { nodes(ids: $ids) { ... on Order {" + FIELDS + "} } }"
SHOP = "query Shop { shop { name } }"
EVENTS = (
    "query Events($id: ID!) { fulfillment(id: $id) { id status"
    " events(first: 20, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } } } }"
)
CREATE = (
    "mutation Create($e: FulfillmentEventInput!) { fulfillmentEventCreate(fulfillmentEvent: $e) {"
    " fulfillmentEvent { id status happenedAt } userErrors { field message } } }"
)

# What shows each shipping status (FulfillmentEventStatus 2026-04). on_hold and exception have no better word than
# IN_TRANSIT; returning, returned, lost and destroyed none but FAILURE. `words:` in the YAML overrides.
WORDS = {
    S.PRE_TRANSIT: "LABEL_PURCHASED",
    S.PICKED_UP: "CARRIER_PICKED_UP",
    S.IN_TRANSIT: "IN_TRANSIT",
    S.ON_HOLD: "IN_TRANSIT",
    S.EXCEPTION: "IN_TRANSIT",
    S.DELAYED: "DELAYED",
    S.OUT_FOR_DELIVERY: "OUT_FOR_DELIVERY",
    S.DELIVERY_ATTEMPTED: "ATTEMPTED_DELIVERY",
    S.AVAILABLE_FOR_PICKUP: "READY_FOR_PICKUP",
    S.DELIVERED: "DELIVERED",
    S.DELIVERY_FAILED: "FAILURE",
    S.RETURNING: "FAILURE",
    S.RETURNED: "FAILURE",
    S.LOST: "FAILURE",
    S.DESTROYED: "FAILURE",
}
READS = {
    "LABEL_PURCHASED": S.PRE_TRANSIT, "LABEL_PRINTED": S.PRE_TRANSIT, "CONFIRMED": S.PRE_TRANSIT,
    "CARRIER_PICKED_UP": S.PICKED_UP, "IN_TRANSIT": S.IN_TRANSIT, "DELAYED": S.DELAYED,
    "OUT_FOR_DELIVERY": S.OUT_FOR_DELIVERY, "ATTEMPTED_DELIVERY": S.DELIVERY_ATTEMPTED,
    "READY_FOR_PICKUP": S.AVAILABLE_FOR_PICKUP, "DELIVERED": S.DELIVERED, "FAILURE": S.DELIVERY_FAILED,
}  # fmt: skip
CARRIERS = {  # tracking companies as Shopify spells them, in lower case
    "ups": "ups", "fedex": "fedex", "usps": "usps", "dhl": "dhl", "dhl express": "dhl", "dhl ecommerce": "dhl",
    "dhl ecommerce asia": "dhl", "dhl paket": "dhl", "dhl parcel": "dhl", "canada post": "canadapost",
    "royal mail": "royalmail", "australia post": "australiapost", "postnl": "postnl", "evri": "evri", "gls": "gls",
    "dpd": "dpd", "purolator": "purolator", "delhivery": "delhivery", "bluedart": "bluedart",
}  # fmt: skip
PAYMENTS = {
    "PENDING": P.PENDING, "AUTHORIZED": P.AUTHORIZED, "PARTIALLY_PAID": P.PENDING, "PAID": P.PAID,
    "PARTIALLY_REFUNDED": P.PARTIALLY_REFUNDED, "REFUNDED": P.REFUNDED, "VOIDED": P.FAILED, "EXPIRED": P.FAILED,
}  # fmt: skip


class Settings(contracts.Settings):
    """One shop.

    Give `access_token` (an older custom app: it never ends), or `client_id` and `client_secret` (client credentials,
    24 h), or these and `refresh_token` (a public app: both tokens rotate and are kept in the vault).
    """

    shop: str
    base_url: str | None = None
    api_version: str = "2026-04"
    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    webhook_secrets: Secrets = ()
    words: Mapping[ShippingStatus, str | None] = {}
    carriers: Mapping[str, str] = {}


class Shopify(contracts.Platform):
    """A Shopify store."""

    docs = "https://shopify.dev/docs/api/admin-graphql/2026-04"
    asks = frozenset({Refs, Since})
    webhooks = True
    statuses: ClassVar[Mapping[str, OrderStatus]] = {
        "UNFULFILLED": O.CONFIRMED,
        "OPEN": O.CONFIRMED,
        "SCHEDULED": O.CONFIRMED,
        "REQUEST_DECLINED": O.CONFIRMED,
        "RESTOCKED": O.CONFIRMED,
        "IN_PROGRESS": O.PROCESSING,
        "PENDING_FULFILLMENT": O.PROCESSING,
        "ON_HOLD": O.ON_HOLD,
        "PARTIALLY_FULFILLED": O.PARTIALLY_SHIPPED,
        "FULFILLED": O.SHIPPED,
        "CANCELLED": O.CANCELLED,
    }
    Settings = Settings

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind a store."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)

    def words(self) -> Mapping[ShippingStatus, str]:
        """Return the fulfilment event that shows each status."""
        merged = {**WORDS, **self.settings.words}
        return {status: word for status, word in merged.items() if word}

    def verify(self, payload: Payload) -> int:
        """Check X-Shopify-Hmac-SHA256 over the raw body; after a rotation the old secret signs for up to an hour."""
        name = "x-shopify-hmac-sha256"
        return hmac_base64(self.settings.webhook_secrets, payload.body, payload.headers.get(name), name=name)

    def dedupe_key(self, payload: Payload) -> str:
        """Use X-Shopify-Webhook-Id: one delivery, the same over its retries."""
        return payload.headers.get("x-shopify-webhook-id") or super().dedupe_key(payload)

    def normalize(self, payload: Payload) -> Iterable[Order | Hint]:
        """Read an answer as orders; a webhook body only hints at one."""
        return exactly(lambda decode: self._read(payload, decode(payload.body)))

    def _read(self, payload: Payload, body: dict[str, Any]) -> Iterable[Order | Hint]:
        if payload.kind == "webhook":
            return _hints(body)
        data = mapping(body.get("data"), "$.data")
        if "nodes" in data:
            nodes, where = listing(data["nodes"], "$.data.nodes"), "$.data.nodes"
        else:
            orders = mapping(data.get("orders"), "$.data.orders")
            nodes, where = listing(orders.get("nodes"), "$.data.orders.nodes"), "$.data.orders.nodes"
        found = [(node, f"{where}[{i}]") for i, node in enumerate(nodes) if node]  # null: not there any more
        return [self._order(mapping(node, at), at) for node, at in found]

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """Read orders by id, or all that changed since the cursor (with an overlap), oldest change first."""
        if isinstance(ask, Refs):
            for start in range(0, len(ask.refs), 50):
                ids = list(ask.refs[start : start + 50])
                yield Page((self._call(client, READ, {"ids": ids}).body,))
            return
        assert isinstance(ask, Since)
        since, after = _cursor(ask.cursor)
        query = f"updated_at:>='{(since - OVERLAP).strftime('%Y-%m-%dT%H:%M:%SZ')}'" if since else ""
        if ask.open_only:
            query = f"{query} status:open".strip()
        latest = since
        while True:
            answer = self._call(client, ORDERS, {"first": PAGE, "after": after, "q": query})
            data = mapping(decode(answer.body).get("data"), "$.data")
            orders = mapping(data.get("orders"), "$.data.orders")
            nodes = listing(orders.get("nodes"), "$.data.orders.nodes")
            stamps = [moment(mapping(n, "$.data.orders.nodes").get("updatedAt"), "$.updatedAt") for n in nodes]
            latest = max([*stamps, *([latest] if latest else [])], default=None)
            info = mapping(orders.get("pageInfo"), "$.data.orders.pageInfo")
            after = word(info.get("endCursor"), "$.data.orders.pageInfo.endCursor") if info.get("hasNextPage") else None
            mark = since if after else latest
            yield Page((answer.body,), f"{mark.astimezone(UTC).isoformat() if mark else ''}|{after or ''}")
            if not after:
                return

    def judge(self, answer: Answer) -> None:
        """GraphQL tells its errors in HTTP 200."""
        judge_by_status(answer)
        if b'"errors"' not in answer.body:
            return
        errors = decode(answer.body).get("errors")
        if not isinstance(errors, list) or not errors:
            return
        first = errors[0] if isinstance(errors[0], dict) else {}
        extensions = first.get("extensions")
        code = text(extensions.get("code")) if isinstance(extensions, dict) else ""
        said = f"{code or 'GraphQL error'}: {text(first.get('message'))}"
        if code == "THROTTLED":
            raise RateLimited(said, max(self.pace(answer) or REST, REST))
        if code == "ACCESS_DENIED":
            raise CredentialsRejected(said)
        if code in ("INTERNAL_SERVER_ERROR", "TIMEOUT"):
            raise Transient(said)
        raise Refused(said)

    def pace(self, answer: Answer) -> timedelta | None:
        """Answer how long until the bucket holds our largest operation again (shopify.dev, rate limits)."""
        if b"throttleStatus" not in answer.body:
            return None
        try:
            status = decode(answer.body)["extensions"]["cost"]["throttleStatus"]
            missing = min(RESERVE, float(status["maximumAvailable"])) - float(status["currentlyAvailable"])
            return timedelta(seconds=missing / float(status["restoreRate"])) if missing > 0 else None
        except (BadPayload, KeyError, TypeError, ValueError, ZeroDivisionError):
            return None

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Create a fulfilment event, unless one of the same word and time stands there already."""
        if action.kind != "fulfilment_event":
            raise Refused("Shopify takes fulfilment events only: its order status cannot be written")
        word_ = self.words()[action.status]
        at = action.happened_at.astimezone(UTC)
        body = decode(self._call(client, EVENTS, {"id": action.fulfilment}).body)
        fulfilment = mapping(mapping(body.get("data"), "$.data").get("fulfillment"), "$.data.fulfillment")
        for node in listing(
            mapping(fulfilment.get("events"), "$.data.fulfillment.events").get("nodes"),
            "$.data.fulfillment.events.nodes",
        ):
            node = mapping(node, "$.data.fulfillment.events.nodes")
            if node.get("status") == word_ and abs(moment(node.get("happenedAt"), "$.happenedAt") - at) <= SAME:
                return Receipt(word(node.get("id"), "$.id"), already_there=True, proof=word_)
        event: dict[str, Any] = {
            "fulfillmentId": action.fulfilment,
            "status": word_,
            "happenedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "message": action.reason.sentence if action.reason else None,
            "city": action.place.city or None,
            "province": action.place.region or None,
            "country": action.place.country or None,
            "zip": action.place.postcode or None,
            "estimatedDeliveryAt": action.edd.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if action.edd else None,
        }
        variables = {"e": {name: value for name, value in event.items() if value is not None}}
        body = decode(self._call(client, CREATE, variables, idempotent=False).body)
        created = mapping(mapping(body.get("data"), "$.data").get("fulfillmentEventCreate"), "$.data.create")
        if refusals := created.get("userErrors"):
            raise Refused("; ".join(text(r.get("message")) for r in refusals if isinstance(r, dict)))
        made = mapping(created.get("fulfillmentEvent"), "$.data.fulfillmentEventCreate.fulfillmentEvent")
        return Receipt(word(made.get("id"), "$.fulfillmentEvent.id"), proof=text(made.get("status")))

    def ping(self, client: Client) -> None:
        """Ask for the shop's name."""
        self._call(client, SHOP, {})

    def _order(self, node: dict[str, Any], where: str) -> Order:
        raw = text(node.get("displayFulfillmentStatus"))
        paid = text(node.get("displayFinancialStatus"))
        cancelled = node.get("cancelledAt")
        raw = "CANCELLED" if cancelled else raw
        fulfilments = listing(node.get("fulfillments"), f"{where}.fulfillments")
        return Order(
            store=self.account,
            ref=word(node.get("id"), f"{where}.id"),
            number=word(node.get("name"), f"{where}.name"),
            status=self.statuses.get(raw, O.UNKNOWN),
            raw_status=raw,
            payment=PAYMENTS.get(paid, P.PENDING),
            raw_payment=paid,
            placed_at=moment(node.get("createdAt"), f"{where}.createdAt"),
            updated_at=moment(node.get("updatedAt"), f"{where}.updatedAt"),
            cancelled_at=moment(cancelled, f"{where}.cancelledAt") if cancelled else None,
            owner=Owner.COURIER,
            fulfilments=tuple(
                self._fulfilment(mapping(f, f"{where}.fulfillments[{i}]"), f"{where}.fulfillments[{i}]")
                for i, f in enumerate(fulfilments)
            ),
        )

    def _fulfilment(self, node: dict[str, Any], where: str) -> Fulfilment:
        status = text(node.get("status"))
        parcels: list[Parcel] = []
        unreadable: list[str] = []
        for told in listing(node.get("trackingInfo"), f"{where}.trackingInfo"):
            told = mapping(told, f"{where}.trackingInfo")
            company = text(told.get("company"))
            known = self.settings.carriers.get(company) or CARRIERS.get(company.lower())
            found, strange = typed_parcels(told.get("number"), known, company, f"{where}.trackingInfo.number", [])
            parcels += found
            unreadable += strange
        shown = None
        events = node.get("events")
        nodes = listing(events.get("nodes"), f"{where}.events.nodes") if isinstance(events, dict) else []
        for node_ in nodes:
            event = mapping(node_, f"{where}.events.nodes[0]")
            raw = word(event.get("status"), f"{where}.events.nodes[0].status")
            shown = Published(
                READS.get(raw), raw, moment(event.get("happenedAt"), f"{where}.events.nodes[0].happenedAt")
            )
        return Fulfilment(
            ref=word(node.get("id"), f"{where}.id"),
            status=status,
            parcels=tuple(parcels),
            published=shown,
            live=status not in ("CANCELLED", "ERROR", "FAILURE"),
            shipped_at=moment(node.get("createdAt"), f"{where}.createdAt"),
            unreadable=tuple(unreadable),
        )

    def _call(self, client: Client, query: str, variables: Mapping[str, Any], *, idempotent: bool = True) -> Answer:
        settings = self.settings
        base = settings.base_url or f"https://{settings.shop}"
        request = Request(
            "POST",
            f"{base}/admin/api/{settings.api_version}/graphql.json",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps({"query": query, "variables": variables}),
            idempotent=idempotent,
        )
        return self._tokens.send(client, request, lambda token: {"X-Shopify-Access-Token": token})

    def _grant(self, client: Client) -> Token:
        """Use the token that never ends, or ask for one.

        Client credentials are partly verified (ShopifySharp 6.30.0 notes). Rotation: shopify.dev, offline access tokens
        (read 2026-11): the old refresh token stays good until the new one is first used, so it is stored before use.
        """
        settings = self.settings
        if settings.access_token is not None:
            return Token(settings.access_token.get_secret_value(), None)
        if settings.client_id is None or settings.client_secret is None:
            raise CredentialsRejected("neither access_token nor client_id and client_secret are configured")
        base = settings.base_url or f"https://{settings.shop}"
        form = {
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
            "grant_type": "client_credentials",
        }
        if settings.refresh_token is not None:
            form["grant_type"] = "refresh_token"
            form["refresh_token"] = client.vault.load() or settings.refresh_token.get_secret_value()
        headers = {"Content-Type": "application/json"}
        token, answer = ask_token(
            client, Request("POST", f"{base}/admin/oauth/access_token", headers=headers, content=orjson.dumps(form))
        )
        if settings.refresh_token is not None:
            client.vault.store(word(answer.get("refresh_token"), "$.refresh_token"))
        return token


def _hints(body: dict[str, Any]) -> Iterable[Hint]:
    """Find the order a webhook speaks of: an order body by its own id, a fulfilment or event body by `order_id`."""
    ref = body.get("order_id")
    if ref is None:
        ref = body.get("id")
    if isinstance(ref, bool) or not isinstance(ref, int | str) or not str(ref).isascii() or not str(ref).isdigit():
        raise BadPayload("$.id", "names no order")
    return (Hint(f"gid://shopify/Order/{ref}"),)


def _cursor(cursor: str | None) -> tuple[datetime | None, str | None]:
    """Read `<high-water mark>|<page>`; the page is set while a sweep is under way."""
    if not cursor:
        return None, None
    mark, _, page = cursor.partition("|")
    return (datetime.fromisoformat(mark) if mark else None), page or None

"""Shopify Admin GraphQL, version 2026-04.

Sources: the Admin schema 2026-04 (every operation below validates against it in tests/contract), shopify.dev pages on
webhooks, rate limits and tokens, read 2026-11.

Shopify's order status cannot be written; what can be shown is one *fulfilment event* a shipping status. Events can be
neither edited nor deleted, so a doubtful DELIVERED is never sent. Webhook bodies may be stale: they are hints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    RateLimited,
    Refused,
    SourceError,
    Transient,
    Unavailable,
)
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
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.contracts import (
    AWAY,
    Answer,
    Client,
    Request,
    Secrets,
    judge_by_status,
    not_html,
    retry_after,
    said_by,
)
from tracker.plugin.oauth import Token, Tokens, ask_token
from tracker.plugin.payloads import decode, listing, mapping, moment, optional, piece, pieces, term, text, word
from tracker.plugin.signatures import hmac_base64
from tracker.plugin.tracked import each_alone, exactly, order, parcels, strict, told

S, O, P = ShippingStatus, OrderStatus, PaymentStatus
OVERLAP = timedelta(minutes=10)  # the search index may lag behind the record
SAME = timedelta(minutes=5)  # an event of the same status this near is ours
PAGE = 10
_NO_EVENTS: dict[str, Any] = {"nodes": []}
_GID = re.compile(r"gid://shopify/Order/[0-9]{1,20}")
REST = timedelta(seconds=1)
RESERVE = 60  # cost points kept for the largest operation of ours

MOST = (20, 100, 250)  # fulfilments of an order: at first, and asked on where that many came; it is no list of pages
FULFILLMENTS = """
  fulfillments(first: %s) {
    id status createdAt
    trackingInfo(first: %s) { company number }
    events(first: 1, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } }
  }
"""
FIELDS = " id name createdAt updatedAt cancelledAt displayFulfillmentStatus displayFinancialStatus" + FULFILLMENTS % (
    MOST[0],
    MOST[0],
)
ORDERS = (
    "query Orders($first: Int!, $after: String, $q: String!) {"
    " orders(first: $first, after: $after, query: $q, sortKey: UPDATED_AT) {"
    " pageInfo { hasNextPage endCursor } nodes {" + FIELDS + "} } }"
)
READ = "query Read($ids: [ID!]!) { nodes(ids: $ids) { ... on Order {" + FIELDS + "} } }"
WHOLE = "query Whole($id: ID!, $most: Int!) { order(id: $id) { id" + FULFILLMENTS % ("$most", "$most") + "} }"
SHOP = "query Shop { shop { name } }"
EVENTS = (
    "query Events($id: ID!) { fulfillment(id: $id) { id status"
    " events(first: 100, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } } } }"
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
    read_all_orders: bool = False  # granted to the app: orders older than 60 days can be read
    words: Mapping[ShippingStatus, str | None] = {}
    carriers: Mapping[str, str] = {}


class Shopify(contracts.Platform):
    """A Shopify store."""

    docs = "https://shopify.dev/docs/api/admin-graphql/2026-04"
    asks = frozenset({Refs, Since})
    webhooks = True
    companies: ClassVar[Mapping[str, str]] = {  # tracking companies as Shopify spells them, in lower case
        "ups": "ups", "fedex": "fedex", "usps": "usps", "dhl": "dhl", "dhl express": "dhl", "dhl ecommerce": "dhl",
        "dhl ecommerce asia": "dhl", "dhl paket": "dhl", "dhl parcel": "dhl", "canada post": "canadapost",
        "royal mail": "royalmail", "australia post": "australiapost", "postnl": "postnl", "evri": "evri", "gls": "gls",
        "dpd": "dpd", "purolator": "purolator", "delhivery": "delhivery", "bluedart": "bluedart",
    }  # fmt: skip
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

    def normalize(self, payload: Payload) -> Iterable[Order | Hint | Unread]:
        """Read an answer as orders; a webhook body only hints at one. Further parts hold the whole of an order's list."""
        return exactly(lambda decode: self._read(payload, list(map(decode, payload.parts))))

    def _read(self, payload: Payload, parts: list[dict[str, Any]]) -> Iterable[Order | Hint | Unread]:
        if payload.kind == "webhook":
            return _hints(parts[0], payload.headers.get("x-shopify-topic", "").strip().lower())
        data = mapping(parts[0].get("data"), "$.data")
        unread: list[Unread] = []
        where, nodes = _nodes(data)
        if "nodes" in data:  # by id: null, and an empty object for what is no order, is not there
            nodes = [node or None for node in nodes]
        more = _more(parts[1:])
        found: list[Order | Hint] = []
        for at, node in enumerate(nodes):
            if node is not None or "nodes" not in data:
                one = order(node, f"{where}[{at}]", lambda node, unread: self._order(node, unread, more), "id", unread)
                found += [one] if one else []
        if payload.kind == "sweep":
            found += [Hint(one.subject) for one in unread if one.lacks == "rest" and one.subject not in more]
        return told(found, unread)

    def fetch(self, client: Client, ask: Ask) -> Iterator[Page]:
        """Read orders by id, or all that changed since the cursor (with an overlap), oldest change first."""
        if isinstance(ask, Refs):
            ids = [ref for ref in ask.refs if _GID.fullmatch(ref)]  # one that is no id fails all of a call
            for start in range(0, len(ids), 50):
                yield from self._orders(client, ids[start : start + 50])
            return
        assert isinstance(ask, Since)
        began = client.now()
        since, after = _cursor(ask.cursor)
        if since is not None and since > began + OVERLAP:
            since, after = None, None  # a mark ahead of our clock is not believed: everything is read again
        query = f"updated_at:>='{(since - OVERLAP).strftime('%Y-%m-%dT%H:%M:%SZ')}'" if since else ""
        if ask.open_only:
            query = f"{query} status:open".strip()
        latest = since
        while True:
            answer = self._call(client, ORDERS, {"first": PAGE, "after": after, "q": query})
            data, nodes = _answered(answer, "orders")
            info = data["orders"].get("pageInfo")
            next_ = info.get("hasNextPage") if isinstance(info, dict) else None
            after = info.get("endCursor") if next_ else None
            if not isinstance(next_, bool) or (next_ and not (isinstance(after, str) and after)):
                raise Unavailable("GraphQL answered without what comes after this page")
            latest = max([*filter(None, map(_stamp, nodes)), *([latest] if latest else [])], default=None)
            mark = since if after else min(latest, began) if latest else None
            cursor = f"{mark.astimezone(UTC).isoformat() if mark else ''}|{after or ''}"
            yield Page((answer.body, *self._whole(client, nodes)), cursor)
            if not after:
                return

    def _orders(self, client: Client, ids: list[str]) -> Iterator[Page]:
        """Read some orders in one call; where that fails, one by one, so that an odd one takes nothing from the others."""
        try:
            answer = self._call(client, READ, {"ids": ids})
            _, nodes = _answered(answer, "nodes")
        except (RateLimited, Unavailable, CredentialsRejected):
            raise
        except SourceError:
            if len(ids) == 1:
                raise
            for page in each_alone(ids, lambda id_: [*self._orders(client, [id_])]):
                yield from page
            return
        yield Page((answer.body, *self._whole(client, nodes)))

    def _whole(self, client: Client, nodes: list[Any]) -> Iterator[bytes]:
        """Ask on for each order whose first page of fulfilments, or of a fulfilment's numbers, is full."""
        for node in nodes:
            ref = node.get("id") if isinstance(node, dict) and _is_full(node, MOST[0]) else None
            for most in MOST[1:] if isinstance(ref, str) else ():
                try:
                    answer = self._call(client, WHOLE, {"id": ref, "most": most})
                    data = mapping(decode(answer.body).get("data"), "$.data")
                except (RateLimited, Unavailable, CredentialsRejected):
                    raise
                except SourceError:
                    break  # what cannot be had whole is told by the parser
                yield answer.body
                if not _is_full(data.get("order"), most):
                    break

    def reads_back(self) -> timedelta | None:
        """60 days without the right to read all orders, which the app's owner must be granted (shopify.dev, Order)."""
        return None if self.settings.read_all_orders else timedelta(days=60)

    def judge(self, answer: Answer) -> None:
        """GraphQL tells its errors in HTTP 200; a frozen, locked or missing shop says so in HTTP (shopify.dev, status codes)."""
        not_html(answer)
        if answer.status in (402, 404, 423, 430):
            why = said_by(answer.body, AWAY.get(answer.status, "no shop answers there"))
            raise Unavailable(f"HTTP {answer.status}: {why}", retry_after(answer))
        judge_by_status(answer)
        if b'"errors"' not in answer.body:
            return
        try:
            errors = decode(answer.body).get("errors")
        except BadPayload:
            return  # an answer that cannot be read: told as such
        if not errors:
            return
        first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
        extensions = first.get("extensions")
        code = text(extensions.get("code")) if isinstance(extensions, dict) else ""
        said = f"{code or 'GraphQL error'}: {text(first.get('message')) or said_by(answer.body)}"
        if code == "THROTTLED":
            raise RateLimited(said, max(self.pace(answer) or REST, REST))
        if code == "ACCESS_DENIED":
            raise CredentialsRejected(said)
        if code == "SHOP_INACTIVE" or not first:
            raise Unavailable(said)
        if code in ("", "INTERNAL_SERVER_ERROR", "TIMEOUT"):
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
        data = mapping(body.get("data"), "$.data")
        if "fulfillment" in data and data["fulfillment"] is None:
            raise Transient("the fulfilment is not there")  # the next read says whether it is gone
        fulfilment = mapping(data.get("fulfillment"), "$.data.fulfillment")
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

    def _order(self, node: dict[str, Any], unread: list[Unread], more: Mapping[str, tuple[int, Any]]) -> Order:
        """Read an order. It is not told without what a write depends on: its status, its money, its times."""
        ref = word(node.get("id"), "$.id")
        raw = word(node.get("displayFulfillmentStatus"), "$.displayFulfillmentStatus")
        paid = strict(node.get("displayFinancialStatus"), "$.displayFinancialStatus")
        cancelled = node.get("cancelledAt")
        cancelled_at = moment(cancelled, "$.cancelledAt") if cancelled is not None else None
        raw = "CANCELLED" if cancelled_at else raw
        most, told_ = more.get(ref, (MOST[0], node.get("fulfillments")))
        if _is_full({"fulfillments": told_}, most):
            problem = f"incomplete: {most} fulfilments or numbers came, which is as many as may come at once"
            unread.append(Unread("$.fulfillments", problem, lacks="rest"))
        return Order(
            store=self.account,
            ref=ref,
            number=word(node.get("name"), "$.name"),
            status=self.statuses.get(raw, O.UNKNOWN),
            raw_status=raw,
            payment=PAYMENTS.get(paid, P.PENDING),
            raw_payment=paid,
            placed_at=moment(node.get("createdAt"), "$.createdAt"),
            updated_at=moment(node.get("updatedAt"), "$.updatedAt"),
            cancelled_at=cancelled_at,
            owner=Owner.COURIER,
            fulfilments=tuple(pieces(told_, "$.fulfillments", self._fulfilment, unread, lacks="line")),
        )

    def _fulfilment(self, node: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        """Read a fulfilment: never without whether it is live. Where what it shows cannot be read, nothing new is shown."""
        status = word(node.get("status"), "$.status")
        events = node.get("events")
        shown = None if events == _NO_EVENTS else piece(events, "$.events", _shown, unread, lacks="line")
        unreadable: list[str] = []
        found = pieces(node.get("trackingInfo"), "$.trackingInfo", self._tracking, unread, unreadable, lacks="line")
        return Fulfilment(
            ref=word(node.get("id"), "$.id"),
            status=status,
            parcels=tuple(parcel for parcels_ in found for parcel in parcels_),
            published=shown[0] if shown else None,
            live=status not in ("CANCELLED", "ERROR", "FAILURE"),
            shipped_at=optional(moment, node.get("createdAt"), "$.createdAt", unread),
            unreadable=tuple(unreadable),
        )

    def _tracking(self, row: dict[str, Any], unread: list[Unread], unreadable: list[str]) -> list[Parcel]:
        company = term(row.get("company"), "$.company", unread)
        found, strange = parcels(row.get("number"), self.carrier_of(company), company, "$.number", unread)
        unreadable += strange
        return found

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


# Where the body of a topic names its order (shopify.dev, webhook topics 2026-04); the first beginning that fits counts.
# A body without its topic is looked through in every place; one of another topic never by its own `id`.
TOPICS = {
    "orders/edited": ("order_edit.order_id",),
    "orders/": ("order_id", "id"),
    "fulfillments/": ("order_id",),
    "fulfillment_events/": ("order_id",),
    "refunds/": ("order_id",),
    "returns/": ("order.id", "order_id"),
    "": ("order_edit.order_id", "order_id", "order.id", "fulfillment_order.order_id"),
}


def _hints(body: dict[str, Any], topic: str) -> Iterable[Hint | Unread]:
    """Find the order that a webhook speaks of."""
    begins = next(begins for begins in TOPICS if topic.startswith(begins))
    for path in (*TOPICS[begins], *(() if topic else ("id",))):
        value: Any = body
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        ref = f"gid://shopify/Order/{value}" if isinstance(value, int) else value
        if isinstance(ref, str) and not isinstance(value, bool):
            ref = f"gid://shopify/Order/{ref}" if ref.isdecimal() else ref
            if _GID.fullmatch(ref):
                return (Hint(ref),)
    if topic and not begins:
        return (Unread("$", f"a webhook of the topic {topic!r:.60} names no order", lacks="nothing"),)
    raise BadPayload("$", f"names no order{f', as {topic} does' if topic else ''}")


def _shown(events: dict[str, Any], unread: list[Unread]) -> list[Published]:
    """Read the newest event of a fulfilment; the list is empty where there is none."""
    if not isinstance(events.get("nodes"), list):
        raise BadPayload("$.nodes", "must be a list")
    return pieces(events["nodes"], "$.nodes", _event, unread, lacks="line")


def _event(node: dict[str, Any], _unread: list[Unread]) -> Published:
    raw = word(node.get("status"), "$.status")
    return Published(READS.get(raw), raw, moment(node.get("happenedAt"), "$.happenedAt"))


def _nodes(data: dict[str, Any]) -> tuple[str, list[Any]]:
    """Return the orders of an answer, read by id or by page, and where they stand. Raises BadPayload where there is no list."""
    where, nodes = "$.data.nodes", data.get("nodes")
    if "nodes" not in data:
        where, nodes = "$.data.orders.nodes", mapping(data.get("orders"), "$.data.orders").get("nodes")
    if not isinstance(nodes, list):
        raise BadPayload(where, "must be a list")
    return where, nodes


def _answered(answer: Answer, name: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the data of an answer and its orders. Raises Unavailable where they are not there: that is never "no orders"."""
    try:
        data = mapping(decode(answer.body).get("data"), "$.data")
        if name in data:
            return data, _nodes(data)[1]
    except BadPayload:
        pass
    raise Unavailable("GraphQL answered without its orders")


def _more(parts: list[dict[str, Any]]) -> dict[str, tuple[int, Any]]:
    """Return the lists that were asked on: order -> how many may have come, and the list."""
    found: dict[str, tuple[int, Any]] = {}
    for part in parts:
        data = part.get("data")
        whole = data.get("order") if isinstance(data, dict) else None
        if isinstance(whole, dict) and isinstance(ref := whole.get("id"), str):
            found[ref] = (MOST[2] if ref in found else MOST[1], whole.get("fulfillments"))
    return found


def _is_full(order_: Any, most: int) -> bool:
    """Say whether a list of an order, or of its fulfilments, holds as many as were asked for: there may be more."""
    rows = order_.get("fulfillments") if isinstance(order_, dict) else None
    if not isinstance(rows, list) or len(rows) >= most:
        return isinstance(rows, list)
    for row in rows:
        told_ = row.get("trackingInfo") if isinstance(row, dict) else None
        if isinstance(told_, list) and len(told_) >= most:
            return True
    return False


def _stamp(node: Any) -> datetime | None:
    """Return when an order changed; None where it cannot be read."""
    try:
        at = moment(mapping(node, "$").get("updatedAt"), "$.updatedAt")
        return at.astimezone(UTC) if at.tzinfo else None
    except (BadPayload, OverflowError):
        return None


def _cursor(cursor: str | None) -> tuple[datetime | None, str | None]:
    """Read `<high-water mark>|<page>`; the page is set while a sweep is under way."""
    if not cursor:
        return None, None
    mark, _, page = cursor.partition("|")
    return (datetime.fromisoformat(mark) if mark else None), page or None

"""Saleor, a shop behind GraphQL (version 3.20 and later).

Sources: the official schema (every operation here validates against it in tests/contract); saleor/saleor core/jwt_manager.py and
docs.saleor.io on webhooks, payload signatures and events, read 2026-11. Not verified with a live shop: the codes of errors
(`extensions.exception.code`), and how large a page its query cost allows.

Its order status follows its fulfilments and is not written, and stock moves with a fulfilment, so none is made here. What is
written: notes, and the shipping status into public metadata of the order, under the name that the policy gives (`status_field`).
Hooks: a webhook of an app with this subscription, ids only. `issuedAt` tells two changes of one order apart, `issuingPrincipal` ours from others'.

    subscription { event { issuedAt issuingPrincipal { ... on App { id } }
      ... on OrderCreated { order { id } } ... on OrderUpdated { order { id } } ... on OrderCancelled { order { id } }
      ... on OrderFulfilled { order { id } } ... on FulfillmentCreated { order { id } } ... on FulfillmentCanceled { order { id } }
      ... on FulfillmentApproved { order { id } } ... on FulfillmentTrackingNumberUpdated { order { id } } } }
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import SecretStr

from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    Refused,
    Transient,
    Unavailable,
)
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
from tracker.plugin.answers import not_html, raise_by_status, said_by
from tracker.plugin.calls import Client, Request, Response
from tracker.plugin.contracts import Secrets
from tracker.plugin.graphql import Listed, data_of, first_error, sweep
from tracker.plugin.payloads import decode, listing, mapping, optional, pieces, term, text, word
from tracker.plugin.public_keys import detached_jws, read_jwks
from tracker.plugin.signatures import hmac_hex
from tracker.plugin.tracked import (
    aware,
    count,
    country,
    each_alone,
    exactly,
    flag,
    known,
    money,
    order,
    orders,
    parcels,
    renumbered,
    rows,
    strict,
    told,
)

O, P = OrderStatus, PaymentStatus
PAGE = 50
OVERLAP = timedelta(minutes=10)
FIRST = timedelta(days=90)  # a first sync: what nobody touched for so long is over

FIELDS = """
  id number created updatedAt status paymentStatus chargeStatus authorizeStatus shippingMethodName collectionPointName
  languageCodeEnum shippingAddress { country { code } }
  lines { id quantity isShippingRequired productName }
  fulfillments { id status trackingNumber created company: metafield(key: $company)
    lines { quantity orderLine { id } } }
  grantedRefunds { status lines { quantity orderLine { id } } }
  shown: metafield(key: $field)
"""
ORDERS = (
    "query Orders($first: Int!, $after: String, $filter: OrderFilterInput, $company: String!, $field: String!) {"
    " orders(first: $first, after: $after, filter: $filter, sortBy: {field: LAST_MODIFIED_AT, direction: ASC}) {"
    " pageInfo { hasNextPage endCursor } edges { node {" + FIELDS + "} } } }"
)
READ = "query Read($id: ID!, $company: String!, $field: String!) { order(id: $id) {" + FIELDS + "} }"
CONTACT = "query Contact($id: ID!) { order(id: $id) { id userEmail } }"
PING = "query Ping { orders(first: 1) { edges { node { id } } } }"
NOTES = "query Notes($id: ID!) { order(id: $id) { events { id type message } } }"
ADD_NOTE = (
    "mutation AddNote($id: ID!, $message: String!) { orderNoteAdd(order: $id, input: {message: $message}) {"
    " event { id } errors { code message } } }"
)
TRACKING = "query Tracking($id: ID!) { order(id: $id) { fulfillments { id status trackingNumber } } }"
RETRACK = (
    "mutation Retrack($id: ID!, $number: String!, $notify: Boolean!) {"
    " orderFulfillmentUpdateTracking(id: $id, input: {trackingNumber: $number, notifyCustomer: $notify}) {"
    " fulfillment { id trackingNumber } errors { code message } } }"
)
SET_FIELD = (
    "mutation SetField($id: ID!, $key: String!, $value: String!) {"
    " updateMetadata(id: $id, input: [{key: $key, value: $value}]) {"
    " item { metafield(key: $key) } errors { code message } } }"
)

PAYMENTS = {
    "NOT_CHARGED": P.PENDING, "PENDING": P.PENDING, "PARTIALLY_CHARGED": P.PENDING, "FULLY_CHARGED": P.PAID,
    "PARTIALLY_REFUNDED": P.PARTIALLY_REFUNDED, "FULLY_REFUNDED": P.REFUNDED, "REFUSED": P.FAILED, "CANCELLED": P.FAILED,
}  # fmt: skip
SUMS = frozenset(
    {"", "NONE", "PARTIAL", "FULL", "OVERCHARGED"}
)  # of OrderChargeStatusEnum and OrderAuthorizeStatusEnum
BACK = frozenset({"REFUNDED", "RETURNED", "REPLACED", "REFUNDED_AND_RETURNED"})  # its pieces are not wanted any more
DEAD = BACK | {"CANCELED"}


class Settings(contracts.Settings):
    """One shop. Without `webhook_secrets` its hooks are signed by its key pair, which is the better way.

    `base_url`: where it is, such as https://acme.saleor.cloud: `/graphql/` and `/.well-known/jwks.json` are asked there.
    `app_token`: of an app with the permission MANAGE_ORDERS. `app_id`: its id (`T...`), by which its own changes are known in hooks.
    `webhook_secrets`: the webhook's `secretKey`, where it has one (Saleor calls that deprecated).
    `company_key`: under which key of a fulfilment's public metadata the carrier's name stands; Saleor has no field for it.
    `carriers`: the words there, and which carrier each is.
    """

    base_url: str
    app_token: SecretStr
    app_id: str | None = None
    webhook_secrets: Secrets = ()
    company_key: str | None = None
    carriers: Mapping[str, str] = {}


class Saleor(contracts.Platform):
    """A Saleor shop."""

    docs = "https://docs.saleor.io/api-reference"
    asks = frozenset({Refs, Since})
    webhooks = True
    statuses: ClassVar[Mapping[str, OrderStatus]] = {
        "DRAFT": O.AWAITING_CONFIRMATION,
        "UNCONFIRMED": O.AWAITING_CONFIRMATION,
        "UNFULFILLED": O.CONFIRMED,
        "PARTIALLY_FULFILLED": O.PARTIALLY_SHIPPED,
        "FULFILLED": O.SHIPPED,
        "PARTIALLY_RETURNED": O.SHIPPED,
        "RETURNED": O.RETURNED,
        "CANCELED": O.CANCELLED,
        "EXPIRED": O.CANCELLED,
    }
    takes_notes = True
    takes_fields = True
    takes_numbers = True
    tells_address = True
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {"base_url": "https://acme.saleor.cloud", "company_key": "carrier"}

    def webhooks_need(self) -> str:
        """Need no secret: hooks are signed by the shop's key pair."""
        return ""

    def verify(self, payload: Payload) -> int:
        """Check Saleor-Signature: a detached JWS by the shop's own key; where the hook has a secretKey, the HMAC and nothing else."""
        name = "saleor-signature"
        given = payload.headers.get(name) or payload.headers.get(f"x-{name}")
        if self.settings.webhook_secrets:
            return hmac_hex(self.settings.webhook_secrets, payload.body, given, name=name)
        detached_jws(self.keys, payload.body, given, name=name)
        return 0

    def fetch_keys(self, client: Client, key_id: str) -> Mapping[str, str]:
        """Ask the shop for its key set: at the address in our settings, never at one that a header names."""
        return read_jwks(client.send(Request("GET", f"{self._base}/.well-known/jwks.json")).body)

    def dedupe_key(self, payload: Payload) -> str:
        """Use the body where it says when it was issued: a repeated delivery is the same. Without that, two changes look alike."""
        hashed = hashlib.sha256(payload.body).hexdigest()
        return hashed if b'"issuedAt"' in payload.body else f"{hashed[:40]}/{payload.received_at.isoformat()}"

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Unread]:
        """Read an answer as orders; a hook only says that one changed."""
        if payload.kind == "webhook":
            return self._notices(payload.body)
        return exactly(lambda decode: self._read(decode(payload.body)))

    def _notices(self, body: bytes) -> list[ChangeNotice | Unread]:
        """Find the order that a hook speaks of. A change that we made is read again anyway."""
        if not body.lstrip().startswith(b"["):
            return self._notice(decode(body), "$")
        told: list[ChangeNotice | Unread] = []  # a hook without a subscription posts a list, of one object as a rule
        for at, one in enumerate(rows(body, decode) or [None]):
            told += self._notice(mapping(one, f"$[{at}]"), f"$[{at}]")
        return told

    def _notice(self, event: Mapping[str, Any], where: str) -> list[ChangeNotice | Unread]:
        by = event.get("issuingPrincipal")
        if self.settings.app_id and isinstance(by, dict) and by.get("id") == self.settings.app_id:
            return []
        found = next(filter(_is_order, (_id(event.get("order")), event.get("id"))), None)
        if found is not None:
            return [ChangeNotice(found)]
        if "order" in event or "issuedAt" not in event:
            raise BadPayload(f"{where}.order", "names no order")
        return [Unread(where, "a hook of another kind, which names no order", lacks="nothing")]

    def _read(self, body: dict[str, Any]) -> Iterable[Order | Unread]:
        data = mapping(body.get("data"), "$.data")
        unread: list[Unread] = []
        if "order" in data:
            one = order(data["order"], "$.data.order", self._order, "id", unread) if data["order"] is not None else None
            return told([one] if one else [], unread)
        edges = mapping(data.get("orders"), "$.data.orders").get("edges")
        if not isinstance(edges, list):
            raise BadPayload("$.data.orders.edges", "must be a list")
        nodes = [edge.get("node") if isinstance(edge, dict) else edge for edge in edges]
        return told(orders(nodes, "$.data.orders.edges", self._order, "id", unread), unread)

    def _order(self, node: dict[str, Any], unread: list[Unread]) -> Order:
        """Read an order. It is not told without what a write depends on: its status, its money, its times."""
        raw = word(node.get("status"), "$.status")
        lines = listing(node.get("lines"), "$.lines")
        removed = _removed(node, unread)
        payment, raw_payment = _payment(node, unread)
        return Order(
            store=self.account,
            ref=word(node.get("id"), "$.id"),
            number=word(node.get("number"), "$.number"),
            status=self.statuses.get(raw, O.UNKNOWN),
            raw_status=raw,
            payment=payment,
            raw_payment=raw_payment,
            placed_at=aware(node.get("created"), "$.created"),
            updated_at=aware(node.get("updatedAt"), "$.updatedAt"),
            items=tuple(pieces(lines, "$.lines", _item, unread, removed, lacks="line")),
            fulfilments=tuple(
                pieces(node.get("fulfillments"), "$.fulfillments", self._fulfilment, unread, lacks="line")
            ),
            method=strict(node.get("shippingMethodName"), "$.shippingMethodName"),
            location=strict(node.get("collectionPointName"), "$.collectionPointName"),
            ships_to=_country(node, unread),
            locale=term(node.get("languageCodeEnum"), "$.languageCodeEnum", unread).replace("_", "-").lower(),
            shown=strict(node.get("shown"), "$.shown") if self.status_field else "",
        )

    def _fulfilment(self, node: dict[str, Any], unread: list[Unread]) -> Fulfilment:
        status = word(node.get("status"), "$.status")
        company = term(node.get("company"), "$.company", unread) if self.settings.company_key else ""
        carrier = self.carrier_of(company) if company else None
        found, strange = parcels(node.get("trackingNumber"), carrier, company, "$.trackingNumber", unread)
        return Fulfilment(
            ref=word(node.get("id"), "$.id"),
            status=status,
            parcels=tuple(found),
            quantities=tuple(pieces(node.get("lines"), "$.lines", _quantity, unread, lacks="line")),
            live=status not in DEAD,
            shipped_at=optional(aware, node.get("created"), "$.created", unread),
            unreadable=tuple(strange),
        )

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders one by one, or all that changed since the cursor; at first those of the last 90 days."""
        if isinstance(query, Refs):
            yield from each_alone(filter(_is_order, query.refs), lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)

        def ask(since: datetime | None, after: str | None) -> Listed:
            begins = since or (client.now() - FIRST if query.open_only else None)
            changed = {"updatedAt": {"gte": begins.astimezone(UTC).isoformat()}} if begins else {}
            response = self._call(client, ORDERS, {"first": PAGE, "after": after, "filter": changed, **self._keys()})
            connection = data_of(response, "orders").get("orders")
            edges = connection.get("edges") if isinstance(connection, dict) else None
            if not isinstance(connection, dict) or not isinstance(edges, list):
                raise Unavailable("GraphQL answered without its orders")
            return Listed(response.body, connection, [e.get("node") if isinstance(e, dict) else e for e in edges])

        for listed, cursor in sweep(query.cursor, client.now(), OVERLAP, ask):
            yield Page((listed.body,), cursor)

    def _one(self, client: Client, ref: str) -> Page | None:
        response = self._call(client, READ, {"id": ref, **self._keys()})
        return Page((response.body,)) if data_of(response, "order")["order"] is not None else None

    def _keys(self) -> dict[str, str]:
        """Return the names of metadata that are asked for; those that nobody named are asked for in vain."""
        return {"company": self.settings.company_key or "-", "field": self.status_field or "-"}

    def raise_for_status(self, response: Response) -> None:
        """GraphQL tells its errors in HTTP 200; their codes are those of exceptions (not verified with a live shop)."""
        not_html(response)
        raise_by_status(response)
        if (first := first_error(response)) is None:
            return
        code = _code(first)
        said = f"{code or 'GraphQL error'}: {text(first.get('message')) or said_by(response.body)}"
        if code in ("PermissionDenied", "InvalidTokenError", "ExpiredSignatureError", "JSONWebTokenError"):
            raise CredentialsRejected(said)
        if code in ("GraphQLError", "GraphQLSyntaxError", "QueryCostError", "ValidationError", "VariableCoercionError"):
            raise Refused(said)
        raise Transient(said) if first else Unavailable(said)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the metadata that shows the shipping status, or add a note; what stands there already is not written again."""
        if action.kind == "field":
            return self._set_field(client, action, before)
        if action.kind == "order_note":
            return self._add_note(client, action)
        if action.kind == "number":
            return self._retrack(client, action)
        raise Refused("Saleor takes notes, metadata and corrected numbers: its order status follows its fulfilments")

    def _set_field(self, client: Client, action: Action, before: Order) -> Receipt:
        if before.shown == action.text:
            return Receipt(action.field, already_there=True, proof=action.text)
        variables = {"id": action.order, "key": action.field, "value": action.text}
        made = _made(self._call(client, SET_FIELD, variables), "updateMetadata")
        item = made.get("item")
        if not isinstance(item, dict) or item.get("metafield") != action.text:
            raise Transient("the metadata was written, and the answer does not show it")
        return Receipt(action.field, proof=action.text)

    def _add_note(self, client: Client, action: Action) -> Receipt:
        """Add a note, unless one with the same words stands there: an answer may have been lost."""
        found = data_of(self._call(client, NOTES, {"id": action.order}), "order")["order"]
        if found is None:
            raise Refused("the order is not there")
        for event in listing(mapping(found, "$.data.order").get("events"), "$.data.order.events"):
            if isinstance(event, dict) and event.get("type") == "NOTE_ADDED" and event.get("message") == action.text:
                return Receipt(word(event.get("id"), "$.id"), already_there=True, proof="note")
        variables = {"id": action.order, "message": action.text}
        made = _made(self._call(client, ADD_NOTE, variables, idempotent=False), "orderNoteAdd")
        return Receipt(word(mapping(made.get("event"), "$.event").get("id"), "$.event.id"), proof="note")

    def _retrack(self, client: Client, action: Action) -> Receipt:
        """Put one number in the place of another; `notifyCustomer` is false, which is its default too."""
        found = data_of(self._call(client, TRACKING, {"id": action.order}), "order")["order"]
        parts = listing(mapping(found or {}, "$.data.order").get("fulfillments"), "$.data.order.fulfillments")
        part = next((one for one in parts if isinstance(one, dict) and one.get("id") == action.fulfilment), None)
        if part is None or part.get("status") in DEAD:
            raise Refused("the fulfilment is cancelled, or not there any more")
        new = action.parcels[1].number
        wanted = renumbered([strict(part.get("trackingNumber"), "$.trackingNumber")], action)
        if wanted is None:
            return Receipt(action.fulfilment, already_there=True, proof=new)
        variables = {"id": action.fulfilment, "number": wanted[0], "notify": False}
        made = _made(self._call(client, RETRACK, variables, idempotent=False), "orderFulfillmentUpdateTracking")
        if mapping(made.get("fulfillment") or {}, "$.fulfillment").get("trackingNumber") != wanted[0]:
            raise Transient("the number was written, and the answer does not show it")
        return Receipt(action.fulfilment, proof=new)

    def mail_address(self, client: Client, ref: str) -> str:
        """Ask for the order's e-mail; MANAGE_ORDERS is enough for it."""
        found = data_of(self._call(client, CONTACT, {"id": ref}), "order")["order"]
        if not isinstance(found, dict):
            raise NotFound("no such order")
        return text(found.get("userEmail"))

    def ping(self, client: Client) -> None:
        """Ask for one order: that needs the permission that all else needs."""
        data_of(self._call(client, PING, {}), "orders")

    @property
    def _base(self) -> str:
        base: str = self.settings.base_url
        return base.rstrip("/")

    def _call(self, client: Client, query: str, variables: Mapping[str, Any], *, idempotent: bool = True) -> Response:
        token = self.settings.app_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        content = orjson.dumps({"query": query, "variables": variables})
        url = f"{self._base}/graphql/"
        return client.send(Request("POST", url, headers=headers, content=content, idempotent=idempotent))


def _code(error: Mapping[str, Any]) -> str:
    extensions = error.get("extensions")
    exception = extensions.get("exception") if isinstance(extensions, dict) else None
    return text(exception.get("code")) if isinstance(exception, dict) else ""


def _made(response: Response, name: str) -> dict[str, Any]:
    """Return what a mutation made. Raises Refused where the shop refuses it, Transient where the answer shows nothing."""
    made = data_of(response, name)[name]
    if not isinstance(made, dict):
        raise Transient(f"{name} answered nothing")
    if refusals := made.get("errors"):
        said = [f"{text(r.get('code'))}: {text(r.get('message'))}" for r in refusals if isinstance(r, dict)]
        raise Refused("; ".join(said) or "refused")
    return made


def _id(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else None


def _is_order(ref: Any) -> bool:
    """Say whether a text is the global id of an order: base64 of `Order:` and its key."""
    try:
        return isinstance(ref, str) and len(ref) <= 200 and base64.b64decode(ref, validate=True).startswith(b"Order:")
    except (binascii.Error, ValueError):
        return False


def _payment(node: dict[str, Any], unread: list[Unread]) -> tuple[PaymentStatus, str]:
    """Read the money and its word: transactions tell it by what was charged and authorized, older payments by one word.

    A word that decides and that nobody knows is told.
    """
    raw = strict(node.get("paymentStatus"), "$.paymentStatus")
    paid = money(raw, PAYMENTS)
    sums = {name: strict(node.get(name), f"$.{name}") for name in ("chargeStatus", "authorizeStatus")}
    if paid in (P.PENDING, P.UNKNOWN) and sums["chargeStatus"] in ("FULL", "OVERCHARGED"):
        return P.PAID, raw
    if paid is not P.PENDING:
        return paid, known(raw, PAYMENTS, "$.paymentStatus", unread, P.UNKNOWN)
    strange = next((name for name, said in sums.items() if said not in SUMS), None)
    if strange is not None:
        return P.UNKNOWN, known(sums[strange], SUMS, f"$.{strange}", unread, P.UNKNOWN)
    return (P.AUTHORIZED if sums["authorizeStatus"] == "FULL" else paid), raw


def _removed(node: dict[str, Any], unread: list[Unread]) -> Counter[str]:
    """Count the pieces that are not wanted any more, by line: of fulfilments that came back, or of refunds that went through.

    A refund of a line that came back is told by both, so the larger count holds. One that cannot be read takes nothing off: more is waited for.
    """
    back: Counter[str] = Counter()
    given: Counter[str] = Counter()
    for part in listing(node.get("fulfillments"), "$.fulfillments"):
        if isinstance(part, dict) and text(part.get("status")) in BACK:
            for ref, some in pieces(
                part.get("lines"), "$.lines", _quantity, []
            ):  # what is odd is told with its fulfilment
                back[ref] += some
    for lines in pieces(node.get("grantedRefunds"), "$.grantedRefunds", _refund, unread):
        for ref, some in lines:
            given[ref] += some
    return back | given


def _refund(row: dict[str, Any], unread: list[Unread]) -> list[tuple[str, int]]:
    """Read the pieces of a refund that went through; one without lines is of money alone."""
    went_through = strict(row.get("status"), "$.status") == "SUCCESS"
    return list(pieces(row.get("lines"), "$.lines", _quantity, unread)) if went_through else []


def _item(row: dict[str, Any], unread: list[Unread], removed: Counter[str]) -> Item:
    ref, ordered = word(row.get("id"), "$.id"), count(row.get("quantity"), "$.quantity")
    return Item(
        ref=ref,
        ordered=ordered,
        removed=min(ordered, removed[ref]),
        shippable=flag(row.get("isShippingRequired"), "$.isShippingRequired") is not False,
        name=term(row.get("productName"), "$.productName", unread),
    )


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    line = mapping(row.get("orderLine"), "$.orderLine")
    return word(line.get("id"), "$.orderLine.id"), count(row.get("quantity"), "$.quantity")


def _country(node: dict[str, Any], unread: list[Unread]) -> str:
    address = node.get("shippingAddress")
    there = address.get("country") if isinstance(address, dict) else None
    code = there.get("code") if isinstance(there, dict) else None
    return country(code, "$.shippingAddress.country.code", unread)

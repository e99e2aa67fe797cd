"""A BigCommerce store as the core asks it: settings, signatures, hooks, and where each call goes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import Field, SecretStr

from adapters.bigcommerce import fetching, writing
from adapters.bigcommerce.answers import Forbidden, listed, raise_for, rest_of
from adapters.bigcommerce.reading import hints, read
from adapters.bigcommerce.words import LABELS, SCOPES, STATUSES
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Order,
    Page,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, Trust
from tracker.plugin import contracts
from tracker.plugin.calls import Client, Request, Response, segment
from tracker.plugin.contracts import Beside, Secrets
from tracker.plugin.hooks import Hook
from tracker.plugin.payloads import decode, mapping, text, word
from tracker.plugin.signatures import shared_secret, standard_webhooks
from tracker.plugin.tracked import each_alone

O = OrderStatus
READ, WRITE = (
    "store_v2_orders_read_only",
    "store_v2_orders",
)  # of orders, their shipments, statuses, refunds and metafields
GRAPHQL_HOOK = "bc/store/webhook/"  # begins the id of a hook that GraphQL manages; the number behind it is that of REST (not verified)


class Settings(contracts.Settings):
    """One store.

    `webhook_secrets` are client secrets of the app; `hook_key` goes into the header `hook_header` of its hooks. A metafield that the policy
    names stands in `metafield_namespace` (or `<namespace>.<key>` in the policy), for whom `metafield_permission` says. Orders that are paid
    by one of `test_gateways` try the shop and are never written. Staff notes hold `staff_notes_most` characters.
    """

    store_hash: str
    base_url: str = "https://api.bigcommerce.com"
    access_token: SecretStr
    webhook_secrets: Secrets = ()
    hook_header: str = "x-trackwright"
    hook_key: SecretStr | None = None
    require_signature: bool = True
    completed_is_delivered: bool = False
    metafield_namespace: Annotated[str, Field(min_length=1, max_length=writing.MOST_NAME)] = "trackwright"
    metafield_permission: Literal["app_only", "read", "write", "read_and_sf_access", "write_and_sf_access"] = "read"
    staff_notes_most: Annotated[int, Field(ge=1)] = 65_535  # not documented: what a text of a shipment holds
    test_gateways: tuple[str, ...] = ("Test Payment Gateway",)
    first_sync_days: int = 60
    carriers: Mapping[str, str] = {}


class BigCommerce(contracts.Platform):
    """A BigCommerce store."""

    docs = "https://developer.bigcommerce.com/docs/rest-management/orders"
    asks = frozenset({Refs, Since})
    webhooks = True
    unverified = (
        "whether every kind of account signs its webhooks: `require_signature`, `hook_key`",
        "that 250 rows are the most of a page",
        "how much staff notes hold: `staff_notes_most`",
        "whether a refund that was declined counts in quantity_refunded (either way it takes no piece off)",
        "whether a corrected number mails the customer (the command says so)",
    )
    takes_notes = True
    takes_fields = True
    takes_numbers = True
    tells_address = True
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

    def beside(self, kind: str, word: str) -> Beside | None:
        """Each status may mail: the store's settings say which (support.bigcommerce.com, Customer Order Notifications, 2026-11)."""
        if kind == "order_status":
            return Beside(f"mails the customer where the store's Settings > Order notifications ticks {word}")
        if kind == "number":
            return Beside("may mail the customer: whether a changed number does so is not documented")
        if kind == "field" and self.settings.metafield_permission.endswith("_sf_access"):
            return Beside("can be read by everybody, in the storefront")
        return None

    def webhooks_need(self) -> str:
        """Name what proves a hook: its signature, or the header given when it was made, where that is enough."""
        settings = self.settings
        proved = settings.webhook_secrets or (settings.hook_key and not settings.require_signature)
        return "" if proved else "webhook_secrets"

    def verify(self, payload: Payload) -> int:
        """Check the header given when the hook was made, the Standard Webhooks signature (key: the secret's bytes), and whose hook it is.

        The secret is the app's, for all stores that installed it: a hook of another store, which names itself in `producer`, is signed rightly too.
        """
        settings, which = self.settings, 0
        if settings.hook_key is not None:
            name = settings.hook_header.lower()
            which = shared_secret([settings.hook_key], payload.headers.get(name), name=name)
        if settings.require_signature or settings.hook_key is None:
            which = standard_webhooks([s.get_secret_value().encode() for s in settings.webhook_secrets], payload)
        try:
            producer = text(decode(payload.body).get("producer"))
        except BadPayload:
            return which  # it is theirs, and told as what cannot be read
        if producer and producer != f"stores/{settings.store_hash}":
            raise WebhookRejected(f"a hook of another store: {producer[:80]}")
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
        """Read an order of its parts, a page of ids as change notices, and what a hook speaks of."""
        return hints(decode(payload.body)) if payload.kind == "webhook" else read(self, payload)

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders in their parts, or list what was modified since the cursor (with an overlap), by id."""
        ask = partial(self._call, client)
        if isinstance(query, Refs):
            field = (
                writing.field_of(self.status_field, self.settings.metafield_namespace) if self.status_field else None
            )
            yield from each_alone(query.refs, lambda ref: fetching.one(ask, ref, field))
            return
        assert isinstance(query, Since)
        yield from fetching.sweep(ask, query, client.now(), timedelta(days=self.settings.first_sync_days))

    def raise_for_status(self, response: Response) -> None:
        """429 says in its own headers how long to wait; a 429 without them, and a 500, is load of the platform."""
        raise_for(response)

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Rest until the window ends once only the reserve is left."""
        return rest_of(response)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the order's status, add to its staff notes, set its metafield, or correct a tracking number; what stands there already is not written again."""
        ask, settings = partial(self._call, client), self.settings
        if action.kind == "order_status" and action.target is not None:
            return writing.set_status(ask, self.order_status_map(), action, before)
        if action.kind == "order_note":
            return writing.add_note(ask, action, before, settings.staff_notes_most)
        if action.kind == "field":
            return writing.set_field(ask, action, before, settings.metafield_namespace, settings.metafield_permission)
        if action.kind == "number":
            return writing.correct_number(ask, action, before)
        raise Refused("BigCommerce takes an order's status, staff notes, a metafield and a tracking number")

    def ping(self, client: Client) -> None:
        """Read the list of statuses."""
        listed(self._call(client, "/order_statuses"), Transient)

    def look_around(self, client: Client) -> Iterator[str]:
        """Tell which statuses the merchant renamed, which are decided by id all the same, and whether hooks may be made."""
        renamed = []
        for row in listed(self._call(client, "/order_statuses"), Transient):
            id_, label = (row.get("id"), text(row.get("custom_label"))) if isinstance(row, dict) else (None, "")
            if isinstance(id_, int) and label not in ("", LABELS.get(id_, label)):
                renamed.append(f"{LABELS[id_]} is called {label!r}")
        if renamed:
            yield f"{', '.join(renamed)}: renamed statuses are shown so, and decided by what they are"
        if not self.webhooks_need():
            try:
                self._call(client, "/hooks", {"limit": "1"}, version="v3")
            except Forbidden as error:
                yield f"its hooks cannot be listed or made ({error}): that needs {self.hooks_need}; until then sweeps tell"

    def hooks_wanted(self, address: str) -> Sequence[Hook]:
        """One hook a scope, with our header; a status that changes is an update. They are sent to port 443 only (webhooks v3)."""
        if urlsplit(address).port not in (None, 443):
            raise Refused("BigCommerce posts to port 443 only: web.public_url must name no other")
        key = self.settings.hook_key
        headers = {self.settings.hook_header: key.get_secret_value()} if key is not None else {}
        return [Hook(scope, address, headers) for scope in SCOPES]

    def hooks_there(self, client: Client) -> Sequence[Hook]:
        """GET /v3/hooks: those of our client id; after a change of the token's account the list is empty."""
        return [_hook(mapping(row, "$.data[]")) for row in fetching.hooks(partial(self._call, client))]

    def mail_address(self, client: Client, ref: str) -> str:
        """Read the e-mail of the order's billing address (GET /v2/orders/{id})."""
        told = decode(self._call(client, f"/orders/{segment(ref)}").body)
        if "billing_address" not in told:
            raise Transient("GET /orders/... answered without its billing address")
        return text(mapping(told["billing_address"] or {}, "$.billing_address").get("email"))

    def make_hook(self, client: Client, hook: Hook) -> str:
        """POST /v3/hooks."""
        body = {"scope": hook.topic, "destination": hook.address, "is_active": True, "headers": dict(hook.headers)}
        made = self._call(client, "/hooks", body=body, version="v3", method="POST")
        return word(mapping(decode(made.body).get("data"), "$.data").get("id"), "$.data.id")

    def mend_hook(self, client: Client, hook: Hook) -> None:
        """PUT /v3/hooks/{id}: it is switched on again, too, after BigCommerce gave up on it for two days of failures."""
        body = {"destination": hook.address, "is_active": True, "headers": dict(hook.headers)}
        self._call(client, f"/hooks/{segment(hook.ref.removeprefix(GRAPHQL_HOOK))}", body=body, version="v3")

    def _call(
        self, client: Client, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None,
        *, version: str = "v2", method: str = "PUT",
    ) -> Response:  # fmt: skip
        settings = self.settings
        headers = {"X-Auth-Token": settings.access_token.get_secret_value(), "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(
            method if body is not None else "GET",
            f"{settings.base_url}/stores/{segment(settings.store_hash)}/{version}{path}",
            params=params or {},
            headers=headers,
            content=orjson.dumps(body) if body is not None else None,
            idempotent=body is None,  # each write can mail a customer: look again before it is repeated
        )
        try:
            return client.send(request)
        except Forbidden as error:
            raise self._lacks(error, path, writes=body is not None) from None
        except CredentialsRejected as error:
            raise CredentialsRejected(f"{error}: access_token is none of store_hash {settings.store_hash!r}") from None
        except NotFound as error:
            if path.count("/") > 1:
                raise
            raise Unavailable(f"{error}: no store answers at store_hash {settings.store_hash!r}") from None

    def _lacks(self, error: Forbidden, path: str, *, writes: bool) -> CredentialsRejected | Refused:
        """Name the scope that is missing. A token that may read orders and not change them is none that is wrong: the write is refused."""
        if path.startswith("/hooks"):
            return error
        needs = f"the access_token lacks the scope {WRITE}" + ("" if writes else f" or {READ}")
        return Refused(f"{error}: {needs}") if writes else CredentialsRejected(f"{error}: {needs}")


def _hook(row: dict[str, Any]) -> Hook:
    headers = {name: text(value) for name, value in mapping(row.get("headers") or {}, "$.headers").items()}
    ref, topic = word(row.get("id"), "$.id"), word(row.get("scope"), "$.scope")
    return Hook(topic, text(row.get("destination")), headers, ref, row.get("is_active") is True)

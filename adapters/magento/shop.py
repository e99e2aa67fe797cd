"""A Magento store: its settings, three ways to prove who we are, sweeps, and what is written: comments, by which a status is set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import orjson
from pydantic import SecretStr, model_validator

from adapters.magento import answers, asking, events, reading, writing
from tracker.domain.errors import CredentialsRejected, NotFound, Refused, SourceError, Transient, Unavailable
from tracker.domain.facts import Action, ChangeNotice, Order, Page, Payload, Query, Receipt, Refs, Since, Unread
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin import contracts
from tracker.plugin.calls import Client, Request, Response, Token, segment
from tracker.plugin.contracts import Beside, Limits, Reply
from tracker.plugin.oauth import Tokens, ask_token, bearer, oauth1, token_call
from tracker.plugin.payloads import decode, mapping, text
from tracker.plugin.sweeps import since
from tracker.plugin.times import ZoneName
from tracker.plugin.tracked import each_alone, exactly, rows

O = OrderStatus
NEVER_WRITTEN = frozenset({O.CANCELLED, O.ON_HOLD, O.UNKNOWN, O.AWAITING_CONFIRMATION})
KINDS = ("order_status", "order_note", "number")
SCOPE = "openid,AdobeID,email,profile,additional_info.roles,additional_info.projectedProductContext,commerce.accs"
BEARER_HINT = (
    "; an integration's access token alone is taken only where the merchant enabled it (Stores > Configuration > Services > OAuth > "
    "Consumer Settings, oauth/consumer/enable_integration_as_bearer): else set consumer_key, consumer_secret and access_token_secret too"
)


class Settings(contracts.Settings):
    """One store. Who we are is proved in one of three ways.

    `base_url`: where it is, such as https://shop.example.com; of the Cloud Service https://{server}.api.commerce.adobe.com/{tenant}.
    `store_code`: whose REST address is used, `all` or a store view's code; the Cloud Service has none.
    `access_token`: of an integration. Alone it is a bearer token, which a merchant must have enabled; with `access_token_secret`,
    `consumer_key` and `consumer_secret` each request is signed (OAuth 1.0a), which always works.
    `client_id`, `client_secret`, `ims_org_id`: of a server-to-server credential of the Cloud Service; `ims_url` hands out its tokens for `ims_scope`.
    `statuses`: the merchant's own status codes, and what each means; those assigned to the states complete or processing can be written.
    `zone`: of the times in answers, which carry none.
    `first_sync_days`: how far back a first sync reads.
    `late_tracks_hours`: each sweep reads shipments anew that are younger, for numbers that are added by REST, which may move no time (0: none).
    `events_client_id`: of the project whose I/O events are taken; `events_keys_url` is where their keys are.
    `webhook_key`: the public key (PEM) of Adobe Commerce's own webhooks.
    `carriers`: carrier codes or titles of tracks, and which carrier each is.
    """

    base_url: str
    store_code: str = "all"
    access_token: SecretStr | None = None
    access_token_secret: SecretStr | None = None
    consumer_key: str | None = None
    consumer_secret: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    ims_org_id: str | None = None
    ims_url: str = "https://ims-na1.adobelogin.com/ims/token/v3"
    ims_scope: str = SCOPE
    statuses: Mapping[str, OrderStatus] = {}
    zone: ZoneName = "UTC"
    first_sync_days: int = 60
    late_tracks_hours: int = 0
    events_client_id: str | None = None
    events_keys_url: str = "https://static.adobeioevents.com"
    webhook_key: str | None = None
    carriers: Mapping[str, str] = {}

    @model_validator(mode="after")
    def _one_way_in(self) -> Settings:
        signing = (self.consumer_key, self.consumer_secret, self.access_token_secret)
        cloud = (self.client_id, self.client_secret, self.ims_org_id)
        if any(signing) and not (all(signing) and self.access_token):
            raise ValueError("OAuth 1.0a takes consumer_key, consumer_secret, access_token and access_token_secret")
        if any(cloud) and not all(cloud):
            raise ValueError("the Cloud Service takes client_id, client_secret and ims_org_id")
        if bool(self.access_token) is all(cloud):
            raise ValueError(
                "set access_token (with consumer_key and its secrets), or client_id, client_secret and ims_org_id"
            )
        return self


class Magento(contracts.Platform):
    """A Magento store."""

    docs = "https://developer.adobe.com/commerce/webapi/rest/"
    asks = frozenset({Refs, Since})
    webhooks = True
    unverified = (
        "that times are UTC: `zone`",
        "whether a number that another app adds by REST moves the time of its shipment: `late_tracks_hours`",
        "where Adobe's tokens are beside na1: `ims_url`",
        "how a batch of events is wrapped: both ways are read",
    )
    limits = Limits(side_by_side=4)  # the core has none of its own; a store is a web site that people buy in
    statuses: ClassVar[Mapping[str, OrderStatus]] = reading.STATUSES
    takes_notes = True
    takes_numbers = True
    tells_address = True
    answer = Reply(
        b'{"op":"success"}', "application/json"
    )  # a webhook that is answered otherwise stops the merchant's action
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {
        "base_url": "https://shop.example.com", "access_token_secret": None, "consumer_secret": None, "client_secret": None,
        "events_client_id": "0123456789abcdef0123456789abcdef", "statuses": {"shipped": "shipped", "delivered": "delivered"},
    }  # fmt: skip

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind a store. It hears nothing where it is swept only."""
        super().__init__(account, settings)
        self._tokens = Tokens(self._grant)
        self._cloud = self.settings.client_id is not None
        self._zone = ZoneInfo(self.settings.zone)
        self._late = timedelta(hours=self.settings.late_tracks_hours)
        self.webhooks = bool(self.settings.events_client_id or self.settings.webhook_key)
        self.token_lasts = timedelta(days=1) if self._cloud else None

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Return the merchant's own statuses: the first code of each meaning. Magento's own move by themselves."""
        found: dict[OrderStatus, str] = {}
        for code, status in self.settings.statuses.items():
            if status not in NEVER_WRITTEN and code not in reading.STATUSES:
                found.setdefault(status, code)
        return found

    def beside(self, kind: str, word: str) -> Beside | None:
        """Say what a comment does beside its effect: the customer is not told; the shop's own copies are sent where it wants them."""
        if kind not in ("order_status", "order_note"):
            return None
        return Beside(
            "adds a comment that only staff see, and mails it to the addresses that Sales Emails > Order Comments sends copies to"
        )

    # what it tells by itself

    def verify(self, payload: Payload) -> int:
        """Check a webhook by the key in our settings, or an I/O event by Adobe's keys and for our client id."""
        events.signed(payload, self.keys, self.settings.events_client_id, self.settings.webhook_key)
        return 0

    def fetch_keys(self, client: Client, key_id: str) -> Mapping[str, str]:
        """Ask for Adobe's keys by their paths on the host in our settings; any other path names none. What is there of two suffices."""
        found: dict[str, str] = {}
        failed: SourceError | None = None
        for path in filter(events.KEYS.fullmatch, key_id.split(events.BOTH)):
            try:
                body = client.send(Request("GET", f"{self.settings.events_keys_url.rstrip('/')}{path}")).body
            except NotFound:
                continue
            except SourceError as error:
                failed = error
                continue
            if b"-----BEGIN PUBLIC KEY-----" not in body:
                failed = Transient("the host of keys answered without one")
                continue
            found[path] = body.decode("ascii", "replace")
        if failed is not None and not found:
            raise failed
        return found

    def handshake(self, payload: Payload) -> Reply | None:
        """Answer the challenge of an event registration, which comes by GET."""
        challenge = payload.query.get("challenge", "")
        if payload.body or self.settings.events_client_id is None or not events.CHALLENGE.fullmatch(challenge):
            return None
        return Reply(challenge.encode())

    def dedupe_key(self, payload: Payload) -> str:
        """Use the body of an event, which holds its id; of a webhook, whose body may say the same twice, the moment too."""
        hashed = hashlib.sha256(payload.body).hexdigest()
        return hashed if b'"event_id"' in payload.body else f"{hashed[:40]}/{payload.received_at.isoformat()}"

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Unread]:
        """Read orders with their shipments beside them; what it tells by itself only says which order changed."""
        if payload.kind == "webhook":
            return list(events.notices(payload.body))
        words = reading.Words(self.settings.statuses, self._zone, self.carrier_of)
        return exactly(lambda decode: reading.read([decode(part) for part in payload.parts], self.account, words))

    # asking

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders one by one, or what changed: orders, then the orders of shipments that changed (a new track moves no order)."""
        if isinstance(query, Refs):
            yield from each_alone(filter(events.is_id, query.refs), lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        cursor = asking.Cursor.of(query.cursor)
        first = client.now() - timedelta(days=self.settings.first_sync_days) if query.open_only else None
        while True:
            cursor = cursor.begin(client.now(), first)
            begins = since(cursor.mark)
            changed = [("updated_at", "gteq", asking.printed(begins, self._zone))] if begins else []
            late = (
                [("created_at", "gteq", asking.printed(client.now() - self._late, self._zone))]
                if changed and self._late
                else []
            )
            either = late[0] if late and cursor.kind == "shipments" else None
            page = self._list(client, cursor.kind, *changed, after=cursor.after, either=either)
            parts = self._beside(client, cursor.kind, page)
            cursor = cursor.follow(page, self._zone)
            yield Page(tuple(parts), str(cursor))
            if cursor.done:
                return

    def _beside(self, client: Client, kind: str, page: asking.Listed) -> list[bytes]:
        """Return orders and all of their shipments: of a page of orders, or of those that a page of shipments names."""
        name = "entity_id" if kind == "orders" else "order_id"
        ids = sorted({row[name] for row in page.rows if type(row.get(name)) is int})
        if not ids:
            return [page.body]
        among = ",".join(map(str, ids))
        orders = [page.body] if kind == "orders" else self._all(client, "orders", ("entity_id", "in", among))
        return orders + self._all(client, "shipments", ("order_id", "in", among))

    def _one(self, client: Client, ref: str) -> Page | None:
        """Read an order and its shipments; the tracking numbers are theirs."""
        try:
            response = self._read(client, f"/orders/{segment(ref)}", {"fields": asking.ORDER})
        except NotFound:
            return None  # not there any more; the others are
        if b'"entity_id"' not in response.body:
            raise Transient("GET /orders/... answered without its order")
        return Page((response.body, *self._all(client, "shipments", ("order_id", "eq", ref))))

    def mail_address(self, client: Client, ref: str) -> str:
        """Read the customer's e-mail of an order, and nothing else of it."""
        told = decode(self._read(client, f"/orders/{segment(ref)}", {"fields": "entity_id,customer_email"}).body)
        if "entity_id" not in told:
            raise Transient("GET /orders/... answered without its order")
        return text(told.get("customer_email"))

    def _all(self, client: Client, what: str, *filters: asking.Filter) -> list[bytes]:
        """Read a list to its end; one of very many pages is cut, which its last page tells."""
        pages: list[bytes] = []
        after = 0
        while len(pages) < asking.MOST_PAGES:
            page = self._list(client, what, *filters, after=after)
            pages.append(page.body)
            after = page.last
            if page.ends:
                break
        return pages

    def _list(
        self, client: Client, what: str, *filters: asking.Filter, after: int, either: asking.Filter | None = None
    ) -> asking.Listed:  # fmt: skip
        try:
            response = self._read(client, f"/{what}", asking.criteria(what, *filters, after=after, either=either))
        except NotFound as error:
            raise Unavailable(
                f"there is no REST address GET {self._base}/{what} ({error}): base_url or store_code is wrong"
            ) from None
        return asking.listed(response.body, what, after)

    def _read(self, client: Client, path: str, params: Mapping[str, str]) -> Response:
        """Ask for orders or shipments: who may not read those can do nothing here."""
        try:
            return self._call(client, "GET", path, params)
        except answers.NotAllowed as error:
            raise CredentialsRejected(str(error)) from None

    def raise_for_status(self, response: Response) -> None:
        """Fill in Magento's messages, and name the rights that a refused call takes."""
        settings = self.settings
        answers.judge(response, BEARER_HINT if settings.access_token and not settings.consumer_key else "")

    def ping(self, client: Client) -> None:
        """Ask for one order and one shipment: these rights all else needs."""
        for what in ("orders", "shipments"):
            asking.listed(self._read(client, f"/{what}", asking.criteria(what, size=1)).body, what, 0)

    def look_around(self, client: Client) -> Iterator[str]:
        """Tell that it tells nothing by itself, where that is so; of the Cloud Service which statuses have no meaning, or cannot be set."""
        if not self.webhooks:
            yield "it tells nothing by itself, as Magento Open Source: its sweeps do (Adobe Commerce can post I/O events: `events_client_id`)"
        if not self._cloud:
            return  # elsewhere nobody can ask which statuses there are
        states: dict[str, list[str]] = {}
        for row in rows(self._call(client, "GET", "/order-statuses").body, decode):
            told = mapping(row, "$[]")
            states.setdefault(text(told.get("status")), []).extend(filter(None, [text(told.get("state"))]))
        for code in self.settings.statuses:
            if states.get(code):
                yield f"its status {code} can be set while an order is {' or '.join(states[code])}"
            else:
                why = "is assigned to no state" if code in states else "is not there"
                yield f"its status {code} {why}, so nothing is set to it: Stores > Settings > Order Status"
        for code in sorted(states.keys() - self.settings.statuses.keys() - reading.STATUSES.keys()):
            yield f"its status {code} has no meaning: such orders are read by their state until `statuses: {{{code}: ...}}` says one"

    # writing

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Add a comment, and by it set the status, unless one of this write is there; or correct a number. No mail, nothing that the customer sees."""
        if action.kind not in KINDS or not events.is_id(action.order):
            raise Refused("Magento takes comments, the merchant's own statuses by them, and corrected numbers")
        if action.kind == "number":
            return writing.renumber(partial(self._call, client), action)
        target = None if action.kind == "order_note" else action.target
        status = self.order_status_map()[target] if target is not None else None
        if status is not None and before.raw_status == status:
            return Receipt(before.ref, already_there=True, proof=status)
        if status is not None and before.status in (O.CANCELLED, O.ON_HOLD, O.UNKNOWN):
            raise Refused(f"the order is {before.raw_status}: it is left alone")
        return writing.comment(partial(self._call, client), action, status)

    # who we are

    @property
    def _base(self) -> str:
        base: str = self.settings.base_url.rstrip("/")
        return f"{base}/V1" if self._cloud else f"{base}/rest/{segment(self.settings.store_code)}/V1"

    def _call(
        self, client: Client, method: str, path: str, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Response:  # fmt: skip
        settings = self.settings
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = orjson.dumps(body) if body is not None else None
        request = Request(
            method, f"{self._base}{path}", params or {}, headers, content, idempotent=method == "GET"
        )  # each comment is one more: look again before it is repeated
        if self._cloud:
            return self._tokens.send(client, request, self._headers)
        token = settings.access_token.get_secret_value()
        if settings.consumer_key is None:
            return client.send(replace(request, headers={**headers, **bearer(token)}))
        consumer = settings.consumer_key, settings.consumer_secret.get_secret_value()
        return client.send(
            oauth1(request, consumer, (token, settings.access_token_secret.get_secret_value()), client.now())
        )

    def _headers(self, token: str) -> Mapping[str, str]:
        return {**bearer(token), "x-api-key": self.settings.client_id, "x-gw-ims-org-id": self.settings.ims_org_id}

    def _grant(self, client: Client) -> Token:
        """Ask Adobe IMS for a token (AdobeDocs/commerce-webapi, server-to-server.md)."""
        settings = self.settings
        form = {
            "client_id": settings.client_id, "client_secret": settings.client_secret.get_secret_value(),
            "grant_type": "client_credentials", "scope": settings.ims_scope,
        }  # fmt: skip
        return ask_token(client, token_call(settings.ims_url, form, headers={"Accept": "application/json"}))[0]

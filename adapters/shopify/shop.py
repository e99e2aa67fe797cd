"""A Shopify store: its settings and tokens; how it is read, written to, and what its answers mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from adapters.shopify import hooks, scopes
from adapters.shopify.answers import Denied, raise_for
from adapters.shopify.bulk import goes_on, pages
from adapters.shopify.fetching import Fetching, read
from adapters.shopify.pacing import Pace
from adapters.shopify.queries import CONTACT
from adapters.shopify.reads import BULK_FIELD, READ
from adapters.shopify.words import WORDS
from adapters.shopify.writing import field_of, write
from tracker.domain.errors import (
    CredentialsRejected,
    NotFound,
    Refused,
    WebhookRejected,
)
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Order,
    Page,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.calls import Client, Request, Response, Token
from tracker.plugin.contracts import Secrets
from tracker.plugin.graphql import data_of
from tracker.plugin.hooks import Hook
from tracker.plugin.oauth import Tokens, ask_token
from tracker.plugin.payloads import text, word
from tracker.plugin.signatures import hmac_base64
from tracker.plugin.tracked import exactly

O = OrderStatus
RESULTS = "storage.googleapis.com"  # where the results of bulk operations are (the guide's sample; seen in logs of 2023 to 2026)


class Settings(contracts.Settings):
    """One shop.

    Give `access_token` (an older custom app: it never ends), or `client_id` and `client_secret` (client credentials,
    24 h), or these and `refresh_token` (a public app: both tokens rotate and are kept in the vault). `hooks: app`: the app's TOML states
    its webhooks, which no API lists, so none are made or compared. `read_all_orders`: the app was granted to read old orders.
    """

    shop: str
    base_url: str | None = None
    api_version: str = "2026-04"
    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    webhook_secrets: Secrets = ()
    backfill: Literal["pages", "bulk"] = "pages"  # how open orders are read at first: bulk pays from some thousands on
    hooks: Literal["made", "app"] = (
        "made"  # who makes webhooks: we do, where web.public_url is set; or the app's TOML says them
    )
    read_all_orders: bool = False  # granted to the app: orders older than 60 days can be read
    words: Mapping[ShippingStatus, str | None] = {}
    carriers: Mapping[str, str] = {}


class Shopify(contracts.Platform):
    """A Shopify store."""

    docs = "https://shopify.dev/docs/api/admin-graphql/2026-04"
    asks = frozenset({Refs, Since})
    webhooks = True
    vocabulary = ("shopify",)
    hooks_need = "the scopes read_orders and read_fulfillments"
    actors = (
        "told of what was cancelled and of what was fulfilled, by the newest eight events of an order, from the first sync on; nobody is told who"
        " held an order, nor who wrote a fulfilment event: none of these is put back"
    )
    unverified = (
        "the host of bulk results, storage.googleapis.com, stands in samples only",
        "what a list in a list costs: what each answer says is left is obeyed",
        "that an event of neither a person nor an app is Shopify's own",
        "that an answer which refuses a field names it in its text, by which it is left out",
        "how long an order's note may be: what would be longer than 5,000 characters is refused",
    )
    takes_notes = True
    takes_fields = True
    takes_tags = True
    takes_numbers = True
    tells_address = True
    address_needs = (
        "the approval to use protected customer data with the field Email (Partner Dashboard > App > API access; an app of"
        " the shop's own: its admin)"
    )
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
        self._tokens, self._pace = Tokens(self._grant), Pace()
        self._fetching = Fetching()
        base = urlsplit(self.settings.base_url or "").hostname
        self.stream_hosts = (RESULTS, *([base] if base else []))
        self.token_lasts = timedelta(days=1) if self.settings.access_token is None else None

    def status_map(self) -> Mapping[ShippingStatus, str]:
        """Return the fulfilment event that shows each status."""
        merged = {**WORDS, **self.settings.words}
        return {status: word for status, word in merged.items() if word}

    def verify(self, payload: Payload) -> int:
        """Check X-Shopify-Hmac-SHA256 over the raw body; after a rotation the old secret signs for up to an hour."""
        name = "x-shopify-hmac-sha256"
        which = hmac_base64(self.settings.webhook_secrets, payload.body, payload.headers.get(name), name=name)
        said = payload.headers.get("x-shopify-shop-domain", "").strip().lower()
        if said and said != self.settings.shop.lower():  # the app's secret signs for every shop that has the app
            raise WebhookRejected(f"it is of another shop: {said!r:.80}")
        return which

    def dedupe_key(self, payload: Payload) -> str:
        """Use X-Shopify-Webhook-Id: one delivery, the same over its retries."""
        return payload.headers.get("x-shopify-webhook-id") or super().dedupe_key(payload)

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Unread]:
        """Read an answer as orders; a webhook body only says that one changed. Further parts hold what was asked on."""
        return exactly(lambda decode: read(payload, list(map(decode, payload.parts)), self))

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders by id, or all that changed since the cursor (with an overlap), oldest change first."""
        assert isinstance(query, Refs | Since)
        ask = partial(self._call, client)
        if isinstance(query, Since):
            begins = query.open_only and not query.cursor and self.settings.backfill == "bulk"
            if begins or goes_on(query.cursor):
                field = BULK_FIELD % field_of(self.status_field) if self.status_field else ""
                return pages(client, ask, query.cursor, field)
        return self._fetching.fetch(ask, client.now(), query, self.status_field)

    def reads_back(self) -> timedelta | None:
        """60 days without the right to read all orders, which the app's owner must be granted (shopify.dev, Order)."""
        return None if self.settings.read_all_orders else timedelta(days=60)

    def raise_for_status(self, response: Response) -> None:
        """GraphQL tells its errors in HTTP 200; a frozen, locked or missing shop says so in HTTP."""
        raise_for(response)

    def odd(self, headers: Mapping[str, str]) -> str | None:
        """Compare the version: one that is retired is answered in the oldest that is supported, without a word (shopify.dev, API versioning)."""
        said = headers.get("x-shopify-api-version", "").strip()
        if not said or said == self.settings.api_version:
            return "" if said else None
        return f"{self.settings.api_version} was asked for, and {said[:20]!r} came: set api_version to one that is supported and has what is read"

    def throttle_delay(self, response: Response) -> timedelta | None:
        """Remember how the bucket stands: each operation waits by itself until it holds what that costs."""
        self._pace.heard(response)
        return None

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Show a shipping status: by a fulfilment event, in a metafield, in a tag; what stands there already is not written again."""
        try:
            return write(partial(self._call, client, follows=True), self.status_map(), action, before)
        except Denied as error:  # a scope that is missing costs this write, and not the store
            raise Refused(str(error)) from None

    def mail_address(self, client: Client, ref: str) -> str:
        """Ask for the order's e-mail, which is protected customer data: an app that is not approved to use it is refused that field alone."""
        try:
            found = data_of(self._call(client, CONTACT, {"id": ref}), "order").get("order")
        except Denied as error:
            raise Refused(str(error)) from None
        if not isinstance(found, dict):
            raise NotFound("no such order")
        return text(found.get("email"))

    def ping(self, client: Client) -> None:
        """Ask for the shop's name, and what the app was granted: without a scope to read orders its token is good for nothing."""
        scopes.demand(scopes.granted(partial(self._call, client)))

    def look_around(self, client: Client) -> Iterator[str]:
        """Tell of each scope that is missing what is not done without it."""
        yield from scopes.missing(scopes.granted(partial(self._call, client)), all_orders=self.settings.read_all_orders)

    def hooks_wanted(self, address: str) -> Sequence[Hook]:
        """One hook a topic, unless the app's TOML states them."""
        return hooks.wanted(address) if self.settings.hooks == "made" else ()

    def hooks_there(self, client: Client) -> Sequence[Hook]:
        """List those that the app made in this shop."""
        return hooks.there(partial(self._call, client), self.settings.api_version)

    def make_hook(self, client: Client, hook: Hook) -> str:
        """Make one."""
        return hooks.make(partial(self._call, client), hook)

    def mend_hook(self, client: Client, hook: Hook) -> None:
        """Mend one."""
        hooks.mend(partial(self._call, client), hook)

    def _call(
        self,
        client: Client,
        query: str,
        variables: Mapping[str, Any],
        *,
        idempotent: bool = True,
        follows: bool = False,
    ) -> Response:
        settings = self.settings
        asked = (query, variables.get("first"), len(variables.get("ids", ())))
        self._pace.wait(asked, client.now(), begins=query == READ, follows=follows)
        base = settings.base_url or f"https://{settings.shop}"
        request = Request(
            "POST",
            f"{base}/admin/api/{settings.api_version}/graphql.json",
            headers={"Content-Type": "application/json"},
            content=orjson.dumps({"query": query, "variables": variables}),
            idempotent=idempotent,
        )
        if settings.access_token is not None:  # it never ends
            kept = _header(settings.access_token.get_secret_value())
            response = client.send(replace(request, headers={**request.headers, **kept}))
        else:
            response = self._tokens.send(client, request, _header)
        self._pace.took(asked, response, follows=follows)
        return response

    def _grant(self, client: Client) -> Token:
        """Ask for a token.

        Client credentials are partly verified (ShopifySharp 6.30.0 notes). Rotation: shopify.dev, offline access tokens
        (read 2026-11): the old refresh token stays good until the new one is first used, so it is stored before use.
        """
        settings = self.settings
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
        token, response = ask_token(
            client, Request("POST", f"{base}/admin/oauth/access_token", headers=headers, content=orjson.dumps(form))
        )
        if settings.refresh_token is not None:
            client.vault.store(word(response.get("refresh_token"), "$.refresh_token"))
        return token


def _header(token: str) -> dict[str, str]:
    return {"X-Shopify-Access-Token": token}

"""A WooCommerce shop: its settings, how it is read and heard, what its answers mean."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from adapters.woocommerce import hooks, writing
from adapters.woocommerce.calls import Api, NoRoute, raise_for_status
from adapters.woocommerce.reading import (
    DRAFT,
    NEVER_WRITTEN,
    STATUSES,
    change_notices,
    checkout_of,
    needs_more,
    order_of,
)
from adapters.woocommerce.tracking import (
    DEFAULTS,
    FULFILLMENTS,
    NAMES,
    Place,
    Reader,
    gmt,
    plugin_of,
)
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
    Meaning,
    Order,
    Page,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin import contracts
from tracker.plugin.answers import header_number
from tracker.plugin.calls import Client, Response, segment
from tracker.plugin.contracts import Limits, Remark, Reply, Secrets
from tracker.plugin.hooks import Hook
from tracker.plugin.payloads import BOM, decode, mapping, piece, text, word
from tracker.plugin.signatures import hmac_base64
from tracker.plugin.sweeps import Listed, by_id, stamp
from tracker.plugin.tracked import each_alone, exactly, listed, order, rows, told

PAGE = 100  # orders a page: the most there is
FOUND_FOR = timedelta(days=1)  # how long it is believed which places hold tracking
MOST_PAGES = 20  # of refunds of one order
_PING = re.compile(rb"webhook_id=\d{1,20}")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9A-Fa-f]{1,6}|\w{2,31});")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Settings(contracts.Settings):
    """One shop. A REST key acts as the user who made it, who must be a shop manager; to write it needs Read/Write.

    `base_url`: the site, such as https://acme.example: `/wp-json/` is asked for below it. `consumer_key`, `consumer_secret`: of
    WooCommerce > Settings > Advanced > REST API. `keys_in`: `query` where a server drops the header Authorization; then they stand in
    each address, and in the logs of that server.
    `webhook_secrets`: what hooks are signed with; long and random, the newest first. `hook_source`: the address that its hooks name as
    theirs, where it is not `base_url`.
    `statuses`: what the slugs of its statuses mean, those of plugins and `completed`; without `wc-`. The first of a status is written,
    `completed` last.
    `tracking`: which places hold tracking (fulfillments, shipment_tracking, ast), where that shall not be found out; `[]`: none but
    meta keys, and the list of orders is enough then. `number_key`, `carrier_key`: meta keys of another plugin, of the order or of its
    lines. `date_order`: how AST prints days: dmy or mdy, by the shop's own setting.
    `swept_statuses`: what sweeps ask for. `first_sync_days`: how far back the first sweep reads.
    `carriers`: the shop's own words for carriers, and which each is.
    """

    base_url: str
    consumer_key: SecretStr
    consumer_secret: SecretStr
    keys_in: Literal["header", "query"] = "header"
    webhook_secrets: Secrets = ()
    hook_source: str = ""
    statuses: Mapping[str, OrderStatus] = {}
    tracking: tuple[Literal["fulfillments", "shipment_tracking", "ast"], ...] | None = None
    number_key: str = ""
    carrier_key: str = ""
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    swept_statuses: tuple[str, ...] = ("any",)
    first_sync_days: int = 60
    carriers: Mapping[str, str] = {}


class WooCommerce(contracts.Platform):
    """A WooCommerce shop."""

    docs = "https://woocommerce.github.io/woocommerce-rest-api-docs/"
    asks = frozenset({Refs, Since})
    webhooks = True
    limits = Limits(side_by_side=2)  # it states none; hosts shut out who asks more at once
    vocabulary = ("woocommerce",)
    hooks_need = "a key with Read/Write of a user who may manage WooCommerce"
    statuses: ClassVar[Mapping[str, OrderStatus]] = STATUSES
    unverified = (
        "that status=any lists each registered status (`swept_statuses`)",
        "what AST and Shipment Tracking answer, and how AST prints days (`date_order`, `tracking`)",
        "what other plugins call their meta keys (`number_key`, `carrier_key`)",
    )
    takes_notes = True
    takes_fields = True
    takes_numbers = True
    tells_address = True
    looks_again = timedelta(minutes=1)  # an order that was read before our write may be saved after it (issue 35951)
    Settings = Settings
    example: ClassVar[Mapping[str, Any]] = {"base_url": "https://acme.example"}

    def __init__(self, account: str, settings: contracts.Settings) -> None:
        """Bind a shop and its words."""
        super().__init__(account, settings)
        own = self.settings
        self._words = {**STATUSES, **own.statuses}
        self._reader = Reader(self.carrier_of, own.date_order, own.number_key, own.carrier_key)
        self._api = Api(own)
        self._found: tuple[datetime, tuple[Place, ...]] | None = None

    def examine(self, read: Any, codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Say what cannot be: keys over plain http, which takes OAuth 1.0a; a slug with its prefix; a cancelled order that goes on."""
        address = urlsplit(self.settings.base_url)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            said = "must begin with https://: over plain http WooCommerce takes no key, and anybody would read it"
            yield Remark(("base_url",), said)
        for slug in self.settings.statuses:
            if slug.startswith("wc-"):
                yield Remark(("statuses", slug), f"the API says slugs without wc-: {slug[3:]}")
        if self._words["cancelled"] not in (OrderStatus.CANCELLED, OrderStatus.RETURNED):
            yield Remark(("statuses", "cancelled"), "what is cancelled in WooCommerce is cancelled or returned here")

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Return the merchant's own words, and `completed`; nothing that holds, unpays, cancels or refunds, nor a step back."""
        found: dict[OrderStatus, str] = {}
        last = {
            "completed": self._words["completed"]
        }  # it asks to be named, so another word of the same status goes before it
        for slug, status in {**{k: v for k, v in self.settings.statuses.items() if k not in last}, **last}.items():
            if (
                slug not in NEVER_WRITTEN
                and status.rank is not None
                and status.rank > (OrderStatus.PROCESSING.rank or 0)
            ):
                found.setdefault(status, slug)
        return found

    def says(self) -> frozenset[OrderStatus]:
        """Return what this shop's words can say."""
        return frozenset(self._words.values())

    def beside(self, kind: str, word: str) -> contracts.Beside | None:
        """`completed` mails the customer, and payments that are reserved are captured by it (mollie/WooCommerce 1252, read 2026-11)."""
        if kind != "order_status":
            return None
        if word == "completed":
            return contracts.Beside(
                "mails the customer, and payment plugins may capture the payment (pay later) by it", asks=True
            )
        return contracts.Beside("mails the customer where the plugin that brought the status does")

    # who sent it

    def verify(self, payload: Payload) -> int:
        """Check X-WC-Webhook-Signature, whose key is the secret with its HTML entities decoded, and whose shop sent it.

        A copy of the shop (staging) holds the same secret and other orders: it names its own address.
        """
        name = "x-wc-webhook-signature"
        keys = [SecretStr(_ENTITY.sub(_decoded, one.get_secret_value())) for one in self.settings.webhook_secrets]
        which = hmac_base64(keys, payload.body, payload.headers.get(name), name=name)
        source = payload.headers.get("x-wc-webhook-source", "")
        if payload.headers.get("x-wc-webhook-topic") and _site(source) != _site(
            self.settings.hook_source or self.settings.base_url
        ):
            raise WebhookRejected(
                "header x-wc-webhook-source names another shop: a copy of it, or `hook_source` is missing"
            )
        return which

    def handshake(self, payload: Payload) -> Reply | None:
        """Answer the ping of a hook that was just made: a form without signature, which tells nothing."""
        return Reply() if _PING.fullmatch(payload.body) else None

    def dedupe_key(self, payload: Payload) -> str:
        """Use order, time, status and body: X-WC-Webhook-Delivery-ID is the same for two hooks of one second, and another of a repeat.

        What tells no time (an order that was deleted) is told anew each time.
        """
        hashed = hashlib.sha256(payload.body).hexdigest()[:40]
        try:
            body = decode(payload.body)
        except BadPayload:
            body = {}
        changed = text(body.get("date_modified_gmt"))
        parts = [
            str(body.get("id"))[:40],
            changed or payload.received_at.isoformat(),
            text(body.get("status"))[:40],
            hashed,
        ]
        return "/".join(parts)

    # what it says

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        """Read an order of four parts or more (order, fulfilments, trackings, pages of refunds), or a list of orders."""
        if payload.kind == "webhook":
            return change_notices(payload)
        if payload.body.removeprefix(BOM).lstrip()[:1] == b"[":
            return exactly(lambda decode: self._listed(rows(payload.body, decode)))
        return exactly(
            lambda decode: self._read(decode(payload.body), [rows(part, decode) for part in payload.parts[1:]])
        )

    def _listed(self, found: list[Any]) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        """Read a page of the list: an order whose row does not tell all of it is only said to have changed."""
        unread: list[Unread] = []
        read: list[Order | ChangeNotice | Checkout] = []
        for at, row in enumerate(found):
            where = f"$[{at}]"
            if isinstance(row, dict) and row.get("status") == DRAFT:
                left = piece(row, where, lambda row, _: checkout_of(row, self.account), unread, lacks="nothing")
                read += [left] if left else []
            elif self.settings.tracking == () and isinstance(row, dict) and not needs_more(row):
                one = order(row, where, lambda row, unread: self._order(row, unread, []), "id", unread)
                read += [one] if one else []
            else:
                note = piece(row, where, lambda row, _: ChangeNotice(word(row.get("id"), "$.id")), unread, lacks="all")
                read += [note] if note else []
        return told(read, unread)

    def _read(self, row: dict[str, Any], lists: list[list[Any]]) -> Iterable[Order | Checkout | Unread]:
        unread: list[Unread] = []
        if row.get("status") == DRAFT:
            left = piece(row, "$", lambda row, _: checkout_of(row, self.account), unread, lacks="nothing")
            return told([left] if left else [], unread)
        one = order(row, "$", lambda row, unread: self._order(row, unread, lists), "id", unread)
        if one is None:
            return told([], unread)
        if one.channel != "store-api":  # of the block checkout, which stores what is left as a draft
            return told([one], unread)
        return told([one, Checkout(self.account, one.ref, one.placed_at, one.updated_at, recovered=True)], unread)

    def _order(self, row: dict[str, Any], unread: list[Unread], lists: list[list[Any]]) -> Order:
        parts = {
            "fulfillments": lists[0] if lists else [], "trackings": lists[1] if len(lists) > 1 else [],
            "refunds": [one for page in lists[2:] for one in page],
        }  # fmt: skip
        refunds = row.get("refunds")
        if isinstance(refunds, list) and len(parts["refunds"]) < len(refunds):
            unread.append(
                Unread("$.refunds", f"{len(refunds)} refunds, and the lines of {len(parts['refunds'])}", lacks="rest")
            )
        return order_of(row, unread, parts, self.account, self._words, self._reader, self.status_field)

    # asking

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders in their parts, or list what was modified since the cursor (with an overlap), by id."""
        if isinstance(query, Refs):
            yield from each_alone(filter(str.isdecimal, query.refs), lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        now = client.now()
        first = now - timedelta(days=self.settings.first_sync_days) if query.open_only else None
        yield from by_id(query.cursor, now, first, lambda since, page: self._modified(client, since, page))

    def _modified(self, client: Client, since: datetime | None, page: int) -> Listed:
        params = {
            "status": ",".join(self.settings.swept_statuses), "orderby": "id", "order": "asc", "per_page": str(PAGE), "page": str(page),
        }  # fmt: skip
        if since is not None:
            params |= {"modified_after": f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", "dates_are_gmt": "true"}
        response = self._api.get(client, "wc/v3/orders", params)
        found = listed(response, Unavailable)
        changed = [stamp(row, "date_modified_gmt", gmt) for row in found]
        total, pages = (header_number(response, name) for name in ("x-wp-total", "x-wp-totalpages"))
        ends = not found or (page >= pages if pages is not None else len(found) < PAGE)
        return Listed(response.body, changed, ends, total)

    def mail_address(self, client: Client, ref: str) -> str:
        """Read the e-mail of the order's billing address."""
        told = decode(self._api.get(client, f"wc/v3/orders/{segment(ref)}").body)
        if "billing" not in told:
            raise Transient("GET /orders/... answered without its billing address")
        return text(mapping(told["billing"] or {}, "$.billing").get("email"))

    def _one(self, client: Client, ref: str) -> Page | None:
        """Read an order: its own part, its tracking from each place that holds some, and its refunds."""
        try:
            response = self._api.get(client, f"wc/v3/orders/{segment(ref)}")
        except NotFound:
            return None  # not there any more; the others are
        if response.body.removeprefix(BOM).lstrip()[:1] != b"{":
            raise Transient("GET /orders/... answered without its order")
        places = self.places(client)
        core = next((one for one in places if one.name == FULFILLMENTS), None)
        plugin = next((one for one in places if one.name != FULFILLMENTS), None)
        parts = [self._tracked(client, place, ref) if place else b"[]" for place in (core, plugin)]
        return Page((response.body, *parts, *self._refunds(client, ref, response.body)))

    def _tracked(self, client: Client, place: Place, ref: str) -> bytes:
        try:
            response = self._api.get(client, place.path(segment(ref)))
        except NoRoute:
            self._found = None  # it was switched off: it is looked for again
            raise Transient(f"{NAMES[place.name]} does not answer any more: it is looked where tracking is") from None
        except NotFound:
            raise Transient(
                f"the tracking of an order ({NAMES[place.name]}) is not there, though the order is"
            ) from None
        listed(response, Transient)
        return response.body

    def _refunds(self, client: Client, ref: str, body: bytes) -> list[bytes]:
        """Read the refunds of an order that names some, to their end."""
        try:
            named = decode(body).get("refunds")
        except BadPayload:
            return []  # the parser tells
        pages: list[bytes] = []
        while named and len(pages) < MOST_PAGES:
            params = {"per_page": str(PAGE), "page": str(len(pages) + 1)}
            response = self._api.get(client, f"wc/v3/orders/{segment(ref)}/refunds", params)
            pages.append(response.body)
            if len(listed(response, Transient)) < PAGE:
                break
        return pages

    def places(self, client: Client) -> tuple[Place, ...]:
        """Return the places that hold tracking here: those of the settings, or those that were found, once a day."""
        if self.settings.tracking is not None:
            return tuple(place for place in DEFAULTS if place.name in self.settings.tracking)
        now = client.now()
        if self._found is None or not self._found[0] <= now < self._found[0] + FOUND_FOR:
            self._found = now, tuple(self._look_for_places(client))
        return self._found[1]

    def _look_for_places(self, client: Client) -> Iterator[Place]:
        """Ask for the list of an order that cannot be: only where the feature is off there is no such route."""
        core: Place | None = DEFAULTS[0]
        try:
            self._api.get(client, DEFAULTS[0].path("0"))
        except NoRoute:
            core = None
        except (NotFound, Refused):
            pass  # it is there, and there is no order 0
        try:
            index = self._api.get(client, "", {"_fields": "namespaces"})
            names = decode(index.body).get("namespaces")
        except (NotFound, Refused, CredentialsRejected, NoRoute, BadPayload):
            names = None
        if not isinstance(names, list):
            raise Unavailable(
                "the index /wp-json/ is closed, so where tracking is cannot be found out: say it under `tracking`"
            )
        yield from [core] if core else []
        plugin = plugin_of(names)
        yield from [plugin] if plugin else []

    def look_around(self, client: Client) -> Iterator[str]:
        """Tell where tracking is read, and which statuses have no meaning yet."""
        places = [f"{NAMES[one.name]} ({one.namespace})" for one in self.places(client)]
        places += [f"meta key {self.settings.number_key}"] if self.settings.number_key else []
        how = "as `tracking` says" if self.settings.tracking is not None else "found"
        yield (
            f"tracking is read from {', '.join(places)} ({how})"
            if places
            else (
                "no place holds tracking: say `number_key` where another plugin does; with `tracking: []` sweeps cost a request a page"
            )
        )
        for row in listed(self._api.get(client, "wc/v3/reports/orders/totals"), Transient):
            slug, name = (text(mapping(row, "$").get(key)) for key in ("slug", "name"))
            if slug and slug not in self._words and slug not in NEVER_WRITTEN:
                yield f"its status {slug} ({name}) has no meaning: orders in it are unknown until `statuses: {{{slug}: ...}}` says one"

    def ping(self, client: Client) -> None:
        """Read one order."""
        listed(self._api.get(client, "wc/v3/orders", {"per_page": "1"}), Transient)

    def raise_for_status(self, response: Response) -> None:
        """Judge an answer: see `calls.raise_for_status`."""
        raise_for_status(response)

    # hooks and writes

    def hooks_wanted(self, address: str) -> Sequence[Hook]:
        """One hook a topic, of our newest secret."""
        return hooks.wanted(address, self.settings.webhook_secrets)

    def hooks_there(self, client: Client) -> Sequence[Hook]:
        """GET /webhooks, whatever their status."""
        return hooks.there(self._api, client)

    def make_hook(self, client: Client, hook: Hook) -> str:
        """POST /webhooks; a ping comes to its address at once."""
        return hooks.make(self._api, client, hook, self.settings.webhook_secrets)

    def mend_hook(self, client: Client, hook: Hook) -> None:
        """PUT /webhooks/{id}; an address cannot be changed there, so that hook is made anew and the old one deleted."""
        hooks.mend(self._api, client, hook, self.settings.webhook_secrets)

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Set the status and nothing else, set a meta key, add a note that only the shop sees, or correct a number."""
        if action.kind == "order_note":
            return writing.add_note(self._api, client, action)
        if action.kind == "field":
            return writing.set_field(self._api, client, action, before)
        if action.kind == "number":
            return writing.renumber(self._api, client, action, self.places(client))
        if action.kind == "order_status" and action.target is not None:
            from_ = {*self.settings.statuses} - NEVER_WRITTEN | {"processing"}
            return writing.set_status(self._api, client, before, self.order_status_map()[action.target], from_)
        raise Refused("WooCommerce shows no shipping status of a fulfilment: name a meta key (`status_field`)")


def _decoded(entity: re.Match[str]) -> str:
    return html.unescape(entity[0])


def _site(address: str) -> str:
    """Return the host of a shop's address, without `www.`, and its folder: several shops may share a host."""
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return ""
    return f"{(parts.hostname or '').removeprefix('www.')}{parts.path.rstrip('/')}"

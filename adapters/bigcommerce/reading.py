"""Read what BigCommerce tells: an order from its parts, a page of ids, and the order that a hook speaks of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from adapters.bigcommerce.answers import Decode, is_object, rows
from adapters.bigcommerce.words import COMPLETED, INCOMPLETE, LABELS, MONEY, NOT_SHIPPED, PAYMENTS, REFUNDED, STATUSES
from tracker.domain.errors import BadPayload
from tracker.domain.facts import ChangeNotice, Checkout, Fulfilment, Item, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin.payloads import BOM, decode, listing, mapping, optional, piece, pieces, term, text, word
from tracker.plugin.tracked import country, exactly, flag, known, money, order, parcels, strict, told, with_lines

O, P = OrderStatus, PaymentStatus
PAGE = 50  # what a page holds unless it is asked for more
_CENTURY = re.compile(r" 00\d\d ")


class Store(Protocol):
    """What reading asks of a store."""

    account: str
    settings: Any
    status_field: str

    def carrier_of(self, word: str) -> str | None:
        """Return the carrier that a word means."""


@dataclass
class _Lists:
    """The further parts of an order: its products and shipments by turns, then what V3 told of it."""

    products: list[tuple[str, list[Any]]] = field(default_factory=list)
    shipments: list[tuple[str, list[Any]]] = field(default_factory=list)
    refunds: list[tuple[str, Any]] = field(default_factory=list)
    fields: list[tuple[str, Any]] = field(default_factory=list)


def read(store: Store, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
    """Read an order of three parts or more; a page of a sweep gives change notices."""
    unread: list[Unread] = []
    if payload.body.removeprefix(BOM).lstrip()[:1] == b"[":
        page = rows(payload.body, decode)
        return told(
            pieces(page, "$", lambda row, _: ChangeNotice(word(row.get("id"), "$.id")), unread, lacks="all"), unread
        )
    return exactly(lambda decode: _read(store, decode(payload.body), _lists(payload.parts, decode)))


def _lists(parts: Sequence[bytes], decode: Decode) -> _Lists:
    found = _Lists()
    plain = 0
    for at, part in enumerate(parts[1:], start=1):
        there = rows(part, decode)
        if not is_object(part):
            (found.shipments if plain % 2 else found.products).append((f"$[{at}]", there))
            plain += 1
        else:
            for i, row in enumerate(there):
                is_field = isinstance(row, dict) and "key" in row
                (found.fields if is_field else found.refunds).append((f"$[{at}].data[{i}]", row))
    return found


def _read(store: Store, row: dict[str, Any], lists: _Lists) -> Iterable[Order | Checkout | Unread]:
    unread: list[Unread] = []
    if row.get("status_id") == INCOMPLETE and not isinstance(row["status_id"], bool):
        left = piece(row, "$", lambda row, _: _left(store, row), unread, lacks="nothing")
        return told([left] if left else [], unread)
    one = order(row, "$", lambda row, unread: _order(store, row, unread, lists), "id", unread)
    if one is None:
        return told([], unread)
    taken_up = Checkout(store.account, one.ref, one.placed_at, one.updated_at, recovered=True)
    return told([one, taken_up], unread)


def _left(store: Store, row: dict[str, Any]) -> Checkout:
    """Read a checkout that was left, or a failed payment: not an order yet."""
    placed, modified = (
        date(row.get("date_created"), "$.date_created"),
        date(row.get("date_modified"), "$.date_modified"),
    )
    return Checkout(store.account, word(row.get("id"), "$.id"), placed, modified)


def _order(store: Store, row: dict[str, Any], unread: list[Unread], lists: _Lists) -> Order:
    """Read an order. It is not told without what a write depends on: its status, its money, its times."""
    id_ = row.get("status_id")
    if isinstance(id_, bool) or not isinstance(id_, int):
        raise BadPayload("$.status_id", "must be a number")
    ref = word(row.get("id"), "$.id")
    placed, modified = (
        date(row.get("date_created"), "$.date_created"),
        date(row.get("date_modified"), "$.date_modified"),
    )
    status = _by_pieces(row) if id_ in (*REFUNDED, 13) else STATUSES.get(id_)
    if id_ == COMPLETED and store.settings.completed_is_delivered:
        status = O.DELIVERED
    paid = strict(row.get("payment_status"), "$.payment_status")
    known(paid.lower(), PAYMENTS, "$.payment_status", unread, P.UNKNOWN)
    paid_by = strict(row.get("payment_method"), "$.payment_method")
    items, fulfilments = _items(lists, unread), _fulfilments(store, lists, unread)
    with_lines(items, fulfilments, unread)
    shipping, picked_up = _consignments(row, unread)
    return Order(
        store=store.account,
        ref=ref,
        number=f"#{ref}",
        status=status or O.UNKNOWN,
        raw_status=LABELS.get(id_, f"{id_} {text(row.get('status'))}".strip()),
        label=_label(row, id_, unread),
        payment=MONEY.get(id_) or money(paid.lower(), PAYMENTS),
        raw_payment=paid or LABELS.get(id_, ""),
        placed_at=placed,
        updated_at=modified,
        cancelled_at=modified if status is O.CANCELLED else None,
        owner=Owner.COURIER,
        items=items,
        fulfilments=fulfilments,
        method=next(
            filter(None, (term(one.get("shipping_method"), "$.shipping_method", unread) for one in shipping)), ""
        ),
        location=next(filter(None, (_place(one, unread) for one in picked_up)), ""),
        pays_by=paid_by.casefold(),
        address=_address(items, shipping, unread),
        ships_to=_country(row, lists, shipping, unread),
        locale=term(row.get("customer_locale"), "$.customer_locale", unread),
        shown=_shown(store, lists.fields, unread),
        test=paid_by in store.settings.test_gateways,
        channel=term(row.get("external_source"), "$.external_source", unread)
        or term(row.get("order_source"), "$.order_source", unread),
        gone="deleted" if flag(row.get("is_deleted"), "$.is_deleted") else "",
    )


def _label(row: dict[str, Any], id_: int, unread: list[Unread]) -> str:
    """Return what the merchant calls the status, where that is not what BigCommerce calls it. It is shown, and decides nothing.

    `custom_status` stands in answers and not in the contract of 2026; `status` follows it in some stores (not verified which).
    """
    told_ = (term(row.get(name), f"$.{name}", unread) for name in ("custom_status", "status"))
    return next((one for one in told_ if one and one != LABELS.get(id_, one)), "")


def _by_pieces(row: dict[str, Any]) -> OrderStatus:
    """Say what was shipped of an order whose status says something of its money."""
    total, shipped = (count(row.get(key) or 0, f"$.{key}") for key in ("items_total", "items_shipped"))
    if not total or not shipped:
        return O.CONFIRMED
    return O.SHIPPED if shipped >= total else O.PARTIALLY_SHIPPED


# its lines


def _items(lists: _Lists, unread: list[Unread]) -> tuple[Item, ...]:
    kept, declined = _refunds(lists.refunds, unread)
    found: dict[str, Item] = {}
    for where, there in lists.products:
        found |= {one.ref: one for one in pieces(there, where, _item, unread, kept, declined, lacks="line")}
    _tell_the_rest(lists.products, unread)
    return tuple(found.values())


def _item(row: dict[str, Any], unread: list[Unread], kept: Counter[str], declined: Counter[str]) -> Item:
    """Read a line. Digital ones, gift certificates and what is picked up go by no parcel.

    `quantity_refunded` may count a refund that every payment declined (not documented): that is taken off, never below those
    that went through. So an order is not whole sooner than it is. `refund_amount` is always 0 (orders V2).
    """
    ref, ordered = word(row.get("id"), "$.id"), count(row.get("quantity"), "$.quantity")
    refunded = count(row.get("quantity_refunded") or 0, "$.quantity_refunded")
    pickup = row.get("order_pickup_method_id")
    travels = not (isinstance(pickup, int) and pickup > 0)  # 0 is none; what is odd is waited for
    return Item(
        ref=ref,
        ordered=ordered,
        removed=max(refunded - declined[ref], min(kept[ref], ordered)),
        shippable=strict(row.get("type"), "$.type") not in NOT_SHIPPED and travels,
        name=term(row.get("name"), "$.name", unread),
    )


def _refunds(found: list[tuple[str, Any]], unread: list[Unread]) -> tuple[Counter[str], Counter[str]]:
    """Count the pieces of refunds by line: of those that went through or still may, and of those that every payment declined."""
    kept: Counter[str] = Counter()
    declined: Counter[str] = Counter()
    for where, row in found:
        one = piece(row, where, _refund, unread, lacks="line")
        if one is not None:
            did_not_happen, lines = one
            for ref, many in lines:
                (declined if did_not_happen else kept)[ref] += many
    return kept, declined


def _refund(row: dict[str, Any], unread: list[Unread]) -> tuple[bool, list[tuple[str, int]]]:
    """Read a refund (orders V3): whether none of its payments went through, and its lines; of taxes alone it has none."""
    paid = [mapping(one, "$.payments[]") for one in listing(row.get("payments"), "$.payments")]
    told_ = [flag(one.get("is_declined"), "$.payments[].is_declined") is True for one in paid]
    lines = pieces(row.get("items"), "$.items", _refunded, unread, lacks="line")
    return bool(told_) and all(told_), [one for one in lines if one[0]]


def _refunded(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    """Read a line of a refund; an empty one where it is of no product: of gift wrapping, shipping, handling, a fee or the order."""
    if strict(row.get("item_type"), "$.item_type") != "PRODUCT":
        return "", 0
    return word(row.get("item_id"), "$.item_id"), count(row.get("quantity"), "$.quantity")


def _fulfilments(store: Store, lists: _Lists, unread: list[Unread]) -> tuple[Fulfilment, ...]:
    found: dict[str, Fulfilment] = {}
    for where, there in lists.shipments:
        found |= {one.ref: one for one in pieces(there, where, _fulfilment, unread, store, lacks="line")}
    _tell_the_rest(lists.shipments, unread)
    return tuple(found.values())


def _fulfilment(row: dict[str, Any], unread: list[Unread], store: Store) -> Fulfilment:
    names = [
        term(row.get(key), f"$.{key}", unread) for key in ("tracking_carrier", "shipping_provider", "shipping_method")
    ]
    company = next((name for name in names if name), "")
    found, unreadable = parcels(
        row.get("tracking_number"), store.carrier_of(company), company, "$.tracking_number", unread
    )
    return Fulfilment(
        ref=word(row.get("id"), "$.id"),
        status="shipped",
        parcels=tuple(found),
        quantities=tuple(pieces(row.get("items"), "$.items", _quantity, unread, lacks="line")),
        shipped_at=optional(date, row.get("date_created"), "$.date_created", unread),
        service=names[2],
        unreadable=tuple(unreadable),
    )


def _quantity(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    return word(row.get("order_product_id"), "$.order_product_id"), count(row.get("quantity"), "$.quantity")


def _tell_the_rest(pages: list[tuple[str, list[Any]]], unread: list[Unread]) -> None:
    """Tell of a list whose last page is full: more of it was not had."""
    if pages and is_full(pages[-1][1]):
        where, there = pages[-1]
        unread.append(Unread(where, f"incomplete: its last page is full ({len(there)})", lacks="rest"))


def is_full(there: Sequence[Any]) -> bool:
    """Say whether a page may be full. A page is as long as was asked for, or 50, the default; all stores cut at fifties."""
    return bool(there) and len(there) % PAGE == 0


# where it goes


def _consignments(row: dict[str, Any], unread: list[Unread]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what is shipped and what is picked up, where the order came with its consignments; they tell no more than where."""
    told_ = row.get("consignments")
    if isinstance(told_, list):
        told_ = told_[0] if told_ else None
    if not isinstance(told_, Mapping):
        return [], []
    found = []
    for name in ("shipping", "pickups"):
        there = optional(listing, told_.get(name), f"$.consignments.{name}", unread) or []
        found.append([one for one in there if isinstance(one, dict)])
    return found[0], found[1]


def _place(one: dict[str, Any], unread: list[Unread]) -> str:
    location = one.get("location")
    name = location.get("name") if isinstance(location, dict) else None
    return term(name, "$.consignments.pickups[].location.name", unread)


def _address(items: Iterable[Item], shipping: list[dict[str, Any]], unread: list[Unread]) -> str:
    """Say `missing` where something goes by parcel and a place of it is not whole. What stands there is kept nowhere."""
    if not any(one.shippable for one in items):
        return ""
    for one in shipping:
        street, city, zip_, country = (
            term(one.get(name), f"$.consignments.shipping[].{name}", unread)
            for name in ("street_1", "city", "zip", "country_iso2")
        )
        if not street or not country or not (city or zip_):
            return "missing"
    return ""


def _country(row: dict[str, Any], lists: _Lists, shipping: list[dict[str, Any]], unread: list[Unread]) -> str:
    """Return the country it is shipped to: by its consignment, else by a shipment; else where the customer sat (`geoip`)."""
    there = [one.get("country_iso2") for one in shipping]
    for _, shipments in lists.shipments:
        addresses = (one.get("shipping_address") for one in shipments if isinstance(one, dict))
        there += [one.get("country_iso2") for one in addresses if isinstance(one, dict)]
    known = next(filter(None, there), None) or row.get("geoip_country_iso2")
    return country(known, "$.country_iso2", unread)


# what its metafield shows


def _shown(store: Store, found: list[tuple[str, Any]], unread: list[Unread]) -> str:
    """Return what the field shows that the policy names; of several apps' fields of that name the one that was changed last."""
    if not store.status_field:
        return ""
    told_ = []
    for where, row in found:
        one = piece(row, where, _field, unread)
        told_ += [one] if one else []
    return max(told_, default=("", ""))[1]


def _field(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, str]:
    return text(row.get("date_modified")), strict(row.get("value"), "$.value")


# hooks


def hints(body: dict[str, Any]) -> Iterable[ChangeNotice | Unread]:
    """Find the order that a hook speaks of: by its own name, or by `id` where the hook is of an order."""
    data = mapping(body.get("data"), "$.data")
    kind = strict(data.get("type"), "$.data.type")
    named = [data[key] for key in ("orderId", "order_id") if data.get(key) is not None]
    if named or kind == "order":
        return (ChangeNotice(word(named[0] if named else data.get("id"), "$.data.id")),)
    if kind in ("", "shipment"):
        raise BadPayload("$.data", "names no order")
    return (Unread("$.data", f"a hook about a {kind!r:.60} names no order", lacks="nothing"),)


# values


def date(value: Any, where: str) -> datetime:
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


def count(value: Any, where: str) -> int:
    """Read a number of pieces: V2 prints some as floats. Raises BadPayload for what is no whole number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9 or value != int(value):
        raise BadPayload(where, "must be a whole number of pieces")
    return int(value)

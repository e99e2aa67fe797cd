"""What WooCommerce tells: orders with their refunds and tracking, checkouts that are no orders yet, hooks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from adapters.woocommerce.tracking import META, PLUGIN, Reader, gmt, meta_of
from tracker.domain.errors import BadPayload
from tracker.domain.facts import ChangeNotice, Checkout, Item, Order, Payload, Unread
from tracker.domain.vocabulary import OrderStatus, Owner, PaymentStatus
from tracker.plugin.payloads import absent, decode, listing, mapping, optional, pieces, term, text, word
from tracker.plugin.tracked import count, country, flag, strict, with_lines

O, P = OrderStatus, PaymentStatus

# OrderStatus.php; of what plugins register the merchant says what it means (`statuses`)
STATUSES: Mapping[str, OrderStatus] = {
    "pending": O.AWAITING_CONFIRMATION,
    "failed": O.AWAITING_CONFIRMATION,
    "on-hold": O.ON_HOLD,
    "processing": O.PROCESSING,
    "ready-for-pickup": O.READY_FOR_DISPATCH,
    "completed": O.SHIPPED,
    "cancelled": O.CANCELLED,
}
REFUNDED = "refunded"  # says something of the money, and of the parcels nothing
DRAFT = "checkout-draft"  # the block checkout stores what is in it as an order
TRASH = "trash"
NEVER_WRITTEN = frozenset({*STATUSES, REFUNDED, DRAFT, TRASH, "auto-draft", "draft", "new"}) - {"completed"}
PICKED_UP = ("local_pickup", "pickup_location")  # method ids of the classic and of the block checkout
TOPICS = ("order.created", "order.updated", "order.deleted", "order.restored")


def order_of(
    row: dict[str, Any], unread: list[Unread], parts: Mapping[str, list[Any]], store: str, words: Mapping[str, OrderStatus],
    reader: Reader, field: str,
) -> Order:  # fmt: skip
    """Read an order. It is not told without what a write depends on: its status, its money, whose it is, its times."""
    raw = word(row.get("status"), "$.status")
    placed, modified = (gmt(row.get(key), f"$.{key}") for key in ("date_created_gmt", "date_modified_gmt"))
    payment, said = _payment(row, raw)
    kind, service, collected = _way(row, unread)
    travels = not collected and flag(row.get("needs_processing"), "$.needs_processing") is not False
    removed = _removed(parts["refunds"], unread)
    items = tuple(pieces(row.get("line_items"), "$.line_items", _item, unread, travels, removed, lacks="line"))
    completed = optional(gmt, row.get("date_completed_gmt"), "$.date_completed_gmt", unread)
    fulfilments = reader.all_of(row, parts["fulfillments"], parts["trackings"], unread)
    with_lines(items, (one for one in fulfilments if not one.ref.startswith((PLUGIN, META))), unread)
    status = words.get(raw, O.UNKNOWN)
    if raw == REFUNDED and raw not in words:
        status = O.SHIPPED if any(one.live and one.parcels for one in fulfilments) else O.CONFIRMED
    return Order(
        store=store,
        ref=word(row.get("id"), "$.id"),
        number=word(row.get("number"), "$.number"),
        status=status,
        raw_status=raw,
        payment=payment,
        raw_payment=said,
        placed_at=placed,
        updated_at=modified,
        cancelled_at=modified if status is O.CANCELLED else None,
        owner=Owner.SELLER if collected else Owner.UNKNOWN,
        items=items,
        fulfilments=fulfilments,
        status_at=completed if raw == "completed" else None,
        status_reason="unverified_payment" if raw in ("pending", "failed") else "",
        method=kind,
        service=service,
        pays_by=strict(row.get("payment_method"), "$.payment_method").casefold(),
        ships_to=_country(row, unread),
        channel=term(row.get("created_via"), "$.created_via", unread),
        shown=_shown(row, field) if field else "",
        gone="deleted" if raw == TRASH else "",
    )


def _way(row: dict[str, Any], unread: list[Unread]) -> tuple[str, str, bool]:
    """Return how an order goes, the service's name, and whether all of it is picked up: each package has its own line, and a parcel goes first."""
    where = "$.shipping_lines"
    told_ = [mapping(one, f"{where}[]") for one in listing(row.get("shipping_lines"), where)]
    ways = [(strict(one.get("method_id"), f"{where}[].method_id"), one.get("method_title")) for one in told_]
    by_parcel = [way for way in ways if way[0].partition(":")[0] not in PICKED_UP]
    kind, title = next(iter([*by_parcel, *ways]), ("", None))
    return kind, term(title, f"{where}[].method_title", unread), bool(ways) and not by_parcel


def checkout_of(row: dict[str, Any], store: str) -> Checkout:
    """Read a checkout that was left: not an order yet."""
    began, changed = (gmt(row.get(key), f"$.{key}") for key in ("date_created_gmt", "date_modified_gmt"))
    address = row.get("billing")
    contact = isinstance(address, dict) and bool(text(address.get("email")))
    return Checkout(store, word(row.get("id"), "$.id"), began, changed, contact)


def change_notices(payload: Payload) -> Iterable[ChangeNotice | Unread]:
    """Find the order that a hook speaks of; of what was deleted for good the body is its id alone."""
    topic = payload.headers.get("x-wc-webhook-topic", "")
    if topic and topic not in TOPICS:
        return (Unread("$", f"a hook of the topic {topic!r:.60} names no order", lacks="nothing"),)
    body = decode(payload.body)
    if not topic and not ("line_items" in body and "order_key" in body):
        raise BadPayload("$", "names no order: it came without the topic that says what its id is of")
    return (ChangeNotice(word(body.get("id"), "$.id")),)


def needs_more(row: Mapping[str, Any]) -> bool:
    """Say whether a row of the list does not tell all of its order: of refunds it tells no lines."""
    return row.get("refunds") not in (None, [])


def _payment(row: Mapping[str, Any], raw: str) -> tuple[PaymentStatus, str]:
    """Read the money: when it was paid, what was given back of the total, and what the status itself says."""
    given_back = sum(abs(_amount(mapping(one, "$.refunds[]").get("total"), "$.refunds[].total"))
                     for one in listing(row.get("refunds"), "$.refunds"))  # fmt: skip
    if raw == REFUNDED or (given_back and given_back >= _amount(row.get("total"), "$.total")):
        return P.REFUNDED, REFUNDED
    if given_back:
        return P.PARTIALLY_REFUNDED, "partially refunded"
    if not absent(row.get("date_paid_gmt")):
        gmt(row["date_paid_gmt"], "$.date_paid_gmt")
        return P.PAID, "paid"
    return (P.FAILED, "failed") if raw == "failed" else (P.PENDING, "not paid")


def _amount(value: Any, where: str) -> float:
    """Read an amount of money: WooCommerce prints texts. Raises BadPayload for what is none."""
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        return float(value)
    except ValueError:
        raise BadPayload(where, "must be an amount") from None


def _removed(refunds: list[Any], unread: list[Unread]) -> Counter[str]:
    """Count the pieces that were given back, by line. A refund without lines is of money alone."""
    found: Counter[str] = Counter()
    for lines in pieces(refunds, "$.refunds", _refund, unread, lacks="line"):
        for ref, some in lines:
            found[ref] += some
    return found


def _refund(row: dict[str, Any], unread: list[Unread]) -> list[tuple[str, int]]:
    return pieces(row.get("line_items"), "$.line_items", _refunded, unread, lacks="line")


def _refunded(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, int]:
    """Read a line of a refund: a negative count, and in its meta the line of the order that it is of."""
    of = meta_of(row.get("meta_data"), "$.meta_data").get("_refunded_item_id")
    given = row.get("quantity")
    less = -given if isinstance(given, int) and not isinstance(given, bool) and given < 0 else given
    return word(of, "$.meta_data._refunded_item_id"), count(less, "$.quantity")


def _item(row: dict[str, Any], unread: list[Unread], travels: bool, removed: Counter[str]) -> Item:
    ref, ordered = word(row.get("id"), "$.id"), count(row.get("quantity"), "$.quantity")
    name = term(row.get("name"), "$.name", unread)
    return Item(ref=ref, ordered=ordered, removed=min(ordered, removed[ref]), shippable=travels, name=name)


def _country(row: Mapping[str, Any], unread: list[Unread]) -> str:
    for name in ("shipping", "billing"):
        address = row.get(name)
        told = address.get("country") if isinstance(address, dict) else None
        if not absent(told):
            return country(told, f"$.{name}.country", unread)
    return ""


def _shown(row: Mapping[str, Any], field: str) -> str:
    return strict(meta_of(row.get("meta_data"), "$.meta_data").get(field), f"$.meta_data.{field}")

"""Read what Magento tells: orders, the shipments beside them, and whole pieces out of quantities with decimals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from adapters.magento.asking import MOST_PAGES, moment
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Fulfilment, Item, Order, Parcel, Unread
from tracker.domain.vocabulary import OrderStatus, PaymentStatus
from tracker.plugin.payloads import listing, optional, pieces, section, term, word
from tracker.plugin.tracked import country, order, parcels, strict, told, with_lines

O, P = OrderStatus, PaymentStatus

# the default statuses and the states they belong to (Sales/Setup/Patch/Data/InstallOrderStatusesAndInitialSalesConfig.php)
STATES: Mapping[str, OrderStatus] = {
    "new": O.AWAITING_CONFIRMATION, "pending_payment": O.AWAITING_CONFIRMATION, "processing": O.PROCESSING, "complete": O.SHIPPED,
    "closed": O.SHIPPED, "canceled": O.CANCELLED, "holded": O.ON_HOLD, "payment_review": O.ON_HOLD,
}  # fmt: skip
STATUSES: Mapping[str, OrderStatus] = {
    "pending": O.AWAITING_CONFIRMATION, "pending_payment": O.AWAITING_CONFIRMATION, "processing": O.PROCESSING, "fraud": O.ON_HOLD,
    "complete": O.SHIPPED, "closed": O.SHIPPED, "canceled": O.CANCELLED, "holded": O.ON_HOLD, "payment_review": O.ON_HOLD,
}  # fmt: skip
ENDED = frozenset({O.CANCELLED, O.RETURNED})  # what a merchant's status may say of an order that Magento ended
PLACES = 4  # decimals of a quantity: decimal(12,4)
ANY_CARRIER = "custom"  # a carrier_code that says nothing: the title does


@dataclass(frozen=True, slots=True)
class Words:
    """What a store says in its own way: statuses, the zone of its clock, carriers (`carrier_of`)."""

    statuses: Mapping[str, OrderStatus]
    zone: ZoneInfo
    carrier_of: Any


@dataclass(frozen=True, slots=True)
class _Line:
    ref: str
    parent: str
    bundle: bool  # of lines below it that may ship one by one
    name: str
    ordered: Decimal
    removed: Decimal
    shipped: Decimal
    ships: bool


@dataclass(frozen=True, slots=True)
class _Shipment:
    order: str
    fulfilment: Fulfilment
    lines: tuple[tuple[str, Decimal], ...]


@dataclass(slots=True)
class _Shipped:
    """The shipments of a payload by their orders, with what could not be read of them; `stray`: of nobody knows which order."""

    known: dict[str, list[_Shipment]] = field(default_factory=lambda: defaultdict(list))
    unread: dict[str, list[Unread]] = field(default_factory=lambda: defaultdict(list))
    stray: list[Unread] = field(default_factory=list)


def is_list(part: Mapping[str, Any]) -> bool:
    """Say whether a part is a list, and not an order, which has `items` too."""
    return "total_count" in part


def read(parts: list[dict[str, Any]], store: str, words: Words) -> Iterable[Order | Unread]:
    """Read orders with their shipments: an order, or lists of orders; beside them lists of shipments, whatever their number.

    A list is of shipments where a row of it names its order. Where we stopped before its end, that is told of each order.
    """
    unread: list[Unread] = []
    rows: list[tuple[str, Any]] = []
    shipments: list[tuple[int, dict[str, Any]]] = []
    for at, part in enumerate(parts):
        if not is_list(part):
            rows.append((f"$[{at}]" if at else "$", part))
        elif any(isinstance(row, dict) and ("order_id" in row or "tracks" in row) for row in _rows(part, at)):
            shipments.append((at, part))
        else:
            rows += [(f"$[{at}].items[{i}]", row) for i, row in enumerate(_rows(part, at))]
    shipped = _shipped(shipments, words)
    cut = len(shipments) >= MOST_PAGES and _cut(shipments[-1][1])
    found: list[Order] = []
    told_of: set[str] = set()
    for where, row in rows:
        one = order(
            row, where, lambda row, unread: _order(row, unread, store, words, shipped, cut), "entity_id", unread
        )
        told_of.add(_ref(row))
        found += [one] if one else []
    unread += shipped.stray
    lost = [ref for ref in shipped.known if ref not in told_of]
    unread += [Unread("$", "a shipment whose order is not in the answer", subject=ref) for ref in lost]
    return told(found, unread)


def _rows(part: Mapping[str, Any], at: int) -> list[Any]:
    return listing(part.get("items"), f"$[{at}].items")


def _cut(part: Mapping[str, Any]) -> bool:
    """Say whether more shipments are there than the last list holds."""
    total = part.get("total_count")
    return not isinstance(total, int) or total > len(_rows(part, 0))


def _ref(row: Any) -> str:
    try:
        return word(row.get("entity_id"), "$") if isinstance(row, dict) else ""
    except BadPayload:
        return ""


def _shipped(lists: Iterable[tuple[int, dict[str, Any]]], words: Words) -> _Shipped:
    found = _Shipped()
    for at, part in lists:
        for i, row in enumerate(_rows(part, at)):
            missed: list[Unread] = []
            one = next(iter(pieces([row], "$", _shipment, missed, words, lacks="line")), None)
            ref = one.order if one else _order_of(row)
            missed = [replace(m, where=f"$[{at}].items[{i}]{m.where.removeprefix('$[0]')}") for m in missed]
            if one:
                found.known[ref].append(one)
            if ref:
                found.unread[ref] += missed
            else:
                found.stray += [replace(m, lacks=m.lacks or "line") for m in missed]
    return found


def _order_of(row: Any) -> str:
    try:
        return word(row.get("order_id"), "$.order_id") if isinstance(row, dict) else ""
    except BadPayload:
        return ""


def _order(row: dict[str, Any], unread: list[Unread], store: str, words: Words, shipped: _Shipped, cut: bool) -> Order:
    """Read an order. It is not told without what a write depends on: its state, its status, its money, its times."""
    ref = word(row.get("entity_id"), "$.entity_id")
    state, raw = word(row.get("state"), "$.state"), word(row.get("status"), "$.status")
    payment, raw_payment = _money(row, state)
    if row.get("items") is None:
        unread.append(Unread("$.items", "is missing", lacks="line"))
    lines = pieces(row.get("items"), "$.items", _line, unread, lacks="line")
    unread += [replace(one, where=f"$.shipments{one.where}") for one in shipped.unread[ref]]
    if shipped.stray and _lacks_one(lines, shipped.known.get(ref, [])):
        unread.append(
            Unread("$.shipments", "more was shipped than they tell, and one of them cannot be read", lacks="line")
        )
    if cut:
        unread.append(Unread("$.shipments", "more of them are there than were told", lacks="rest"))
    items, fulfilments = _counted(lines, shipped.known.get(ref, []))
    with_lines(items, fulfilments, unread)
    status = _status(state, raw, words, lines, whole=not any(one.lacks for one in unread))
    if status is not None and raw not in words.statuses and raw not in STATUSES:
        said = f"the status {raw!r:.60} has no entry in `statuses`: it is read by its state {state}"
        unread.append(Unread("$.status", said))
    shipping = _shipping(row, unread)
    code = term(shipping.get("method"), "$.shipping.method", unread)
    return Order(
        store=store,
        ref=ref,
        number=word(row.get("increment_id"), "$.increment_id"),
        status=status or O.UNKNOWN,
        raw_status=raw if status is not None else f"{raw} (state {state})",
        payment=payment,
        raw_payment=raw_payment,
        placed_at=moment(row.get("created_at"), "$.created_at", words.zone),
        updated_at=moment(row.get("updated_at"), "$.updated_at", words.zone),
        items=tuple(items),
        fulfilments=tuple(fulfilments),
        method=strict(row.get("shipping_description"), "$.shipping_description") or code,
        service=code,
        location=_pickup(row, unread),
        pays_by=term(section(row.get("payment"), "$.payment", unread).get("method"), "$.payment.method", unread).casefold(),
        ships_to=country(section(shipping.get("address"), "$.shipping.address", unread).get("country_id"), "$.country_id", unread),
    )  # fmt: skip


def _shipping(row: Mapping[str, Any], unread: list[Unread]) -> dict[str, Any]:
    more = section(row.get("extension_attributes"), "$.extension_attributes", unread)
    first = next(
        iter(optional(listing, more.get("shipping_assignments"), "$.shipping_assignments", unread) or []), None
    )
    return section(section(first, "$.shipping_assignments[0]", unread).get("shipping"), "$.shipping", unread)


def _pickup(row: Mapping[str, Any], unread: list[Unread]) -> str:
    more = row.get("extension_attributes")
    code = more.get("pickup_location_code") if isinstance(more, dict) else None
    return term(code, "$.extension_attributes.pickup_location_code", unread)


def _status(state: str, raw: str, words: Words, lines: list[_Line], *, whole: bool) -> OrderStatus | None:
    """Say what an order is: its state decides, what the merchant says of its status fills in. None: nobody knows the state."""
    meant, mapped = STATES.get(state), words.statuses.get(raw)
    if meant is None:
        return None
    any_shipped = any(line.shipped for line in lines)
    if state == "canceled" or (state == "closed" and not any_shipped):
        return (
            mapped if mapped in ENDED else O.CANCELLED
        )  # closed: all was given back, and nothing can be shipped any more
    if state == "closed" or meant is O.ON_HOLD or state == "pending_payment":
        return mapped if mapped in (meant, O.RETURNED) else meant
    if mapped is not None:
        return mapped
    if raw in ("closed", "canceled"):
        return None  # a default status of another state: one of the two is wrong
    if STATUSES.get(raw) is O.ON_HOLD:  # whatever the state
        return O.ON_HOLD
    if state != "processing" or not any_shipped:
        return meant
    left = any(line.ships and line.ordered - line.removed > line.shipped for line in _counting(lines, set()))
    return O.PARTIALLY_SHIPPED if left or not whole else O.SHIPPED


def _money(row: Mapping[str, Any], state: str) -> tuple[PaymentStatus, str]:
    """Read the money by its sums: Magento has no word for it."""
    total, paid, due, back = (
        _amount(row.get(name), f"$.{name}") for name in ("grand_total", "total_paid", "total_due", "total_refunded")
    )
    held = row.get("payment")
    authorized = _amount(held.get("amount_authorized"), "$.payment.amount_authorized") if isinstance(held, dict) else 0
    raw = f"paid {paid:f} of {total:f}" + (f", refunded {back:f}" if back else "")
    if state == "closed" or (back and back >= paid):
        return P.REFUNDED, raw
    if back:
        return P.PARTIALLY_REFUNDED, raw
    if "grand_total" not in row or state == "pending_payment":
        return P.PENDING, raw
    if paid >= total or (due == 0 and "total_due" in row and state != "canceled"):
        return P.PAID, raw
    return (P.AUTHORIZED if authorized and authorized >= total else P.PENDING), raw


def _amount(value: Any, where: str) -> Decimal:
    """Return a sum of money; nothing where it is missing."""
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -(10**12) < value < 10**12:
        raise BadPayload(where, "must be a number")
    return round(Decimal(repr(value + 0.0)), 2).normalize()


def _quantity(value: Any, where: str) -> Decimal:
    """Return a quantity, which may have decimals. Raises BadPayload for anything else, and for more decimals than Magento keeps."""
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9:
        raise BadPayload(where, "must be a quantity")
    found = Decimal(repr(value + 0.0))
    if found != round(found, PLACES):
        raise BadPayload(where, f"has more than {PLACES} decimals")
    return found


def _sign(value: Any, where: str) -> bool:
    """Return a yes or no, which Magento tells as 0 or 1. Raises BadPayload for anything else."""
    if value not in (None, 0, 1):
        raise BadPayload(where, "must be 0 or 1")
    return bool(value)


def _line(row: dict[str, Any], unread: list[Unread]) -> _Line:
    if row.get("qty_ordered") is None:
        raise BadPayload("$.qty_ordered", "is missing")
    ordered, canceled, refunded, shipped = (
        _quantity(row.get(f"qty_{name}"), f"$.qty_{name}") for name in ("ordered", "canceled", "refunded", "shipped")
    )
    parent = row.get("parent_item_id")
    return _Line(
        ref=word(row.get("item_id"), "$.item_id"),
        parent=word(parent, "$.parent_item_id") if parent else "",
        bundle=strict(row.get("product_type"), "$.product_type") != "configurable",
        name=term(row.get("name"), "$.name", unread),
        ordered=ordered,
        removed=min(ordered, canceled + refunded),
        shipped=shipped,
        ships=not (
            _sign(row.get("is_virtual"), "$.is_virtual") or _sign(row.get("locked_do_ship"), "$.locked_do_ship")
        ),
    )


def _shipment(row: dict[str, Any], unread: list[Unread], words: Words) -> _Shipment:
    if not isinstance(row.get("tracks"), list | None):
        raise BadPayload("$.tracks", "must be a list")
    strange: list[str] = []
    tracks = pieces(row.get("tracks"), "$.tracks", _track, unread, words, strange, lacks="line")
    return _Shipment(
        word(row.get("order_id"), "$.order_id"),
        Fulfilment(
            ref=word(row.get("entity_id"), "$.entity_id"),
            status="shipped",
            parcels=tuple({parcel.number: parcel for some in tracks for parcel in some}.values()),
            shipped_at=optional(lambda v, w: moment(v, w, words.zone), row.get("created_at"), "$.created_at", unread),
            unreadable=tuple(strange),
        ),
        tuple(pieces(row.get("items"), "$.items", _shipped_line, unread, lacks="line")),
    )


def _shipped_line(row: dict[str, Any], _unread: list[Unread]) -> tuple[str, Decimal]:
    if row.get("qty") is None:
        raise BadPayload("$.qty", "is missing")
    return word(row.get("order_item_id"), "$.order_item_id"), _quantity(row.get("qty"), "$.qty")


def _track(row: dict[str, Any], unread: list[Unread], words: Words, strange: list[str]) -> list[Parcel]:
    """Read a track: whose it is says its carrier_code, where that is one; else its title."""
    code, title = (term(row.get(name), f"$.{name}", unread) for name in ("carrier_code", "title"))
    said = (None if code in ("", ANY_CARRIER) else words.carrier_of(code)) or (
        words.carrier_of(title) if title else None
    )
    company = title or ("" if code == ANY_CARRIER else code)
    found, unreadable = parcels(row.get("track_number"), said, company, "$.track_number", unread)
    strange += unreadable
    return found


def _counting(lines: Iterable[_Line], shipped: set[str]) -> list[_Line]:
    """Return the lines that travel, each once: not those below a configurable one, nor those below a bundle that ships as one.

    Magento's REST does not say how a bundle ships: its own lines are in the shipments, or counted as shipped, where it ships in parts.
    """
    lines = list(lines)
    by_ref = {line.ref: line for line in lines}
    parted = {
        line.parent for line in lines
        if line.parent in by_ref and by_ref[line.parent].bundle and (line.shipped or line.ref in shipped)
    }  # fmt: skip
    return [line for line in lines if line.ref not in parted and (line.parent not in by_ref or line.parent in parted)]


def _lacks_one(lines: list[_Line], shipments: list[_Shipment]) -> bool:
    """Say whether more was shipped of a line than its shipments tell."""
    told_of: dict[str, Decimal] = defaultdict(Decimal)
    for one in shipments:
        for ref, some in one.lines:
            told_of[ref] += some
    return any(line.shipped > told_of[line.ref] for line in lines)


def _counted(lines: list[_Line], shipments: list[_Shipment]) -> tuple[list[Item], list[Fulfilment]]:
    """Return items and fulfilments in whole pieces. A line with decimals is counted in its own finest step, which its name tells."""
    named = {ref for one in shipments for ref, some in one.lines if some}
    counting = {line.ref for line in _counting(lines, named)}
    steps: dict[str, int] = defaultdict(int)
    for ref, some in [
        *((line.ref, q) for line in lines for q in (line.ordered, line.removed)),
        *(pair for one in shipments for pair in one.lines),
    ]:
        steps[ref] = max(steps[ref], -int(some.normalize().as_tuple().exponent))

    def whole(ref: str, some: Decimal) -> int:
        return int(some.scaleb(steps[ref]))

    items = [
        Item(
            ref=line.ref, ordered=whole(line.ref, line.ordered), removed=whole(line.ref, line.removed),
            shippable=line.ships and line.ref in counting,
            name=line.name if not steps[line.ref] else f"{line.name} (in steps of {Decimal(1).scaleb(-steps[line.ref]):f})".strip(),
        )
        for line in lines
    ]  # fmt: skip
    here = {line.ref for line in lines}
    found = []
    for one in shipments:
        quantities = tuple(
            (ref, whole(ref, some)) for ref, some in one.lines if some and (ref in counting or ref not in here)
        )
        found.append(replace(one.fulfilment, quantities=quantities))
    return items, found

"""Which order a webhook of Shopify speaks of. Its body may be stale: the order is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from adapters.shopify.reading import GID
from tracker.domain.errors import BadPayload
from tracker.domain.facts import ChangeNotice, Unread

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


def change_notices(body: dict[str, Any], topic: str) -> Iterable[ChangeNotice | Unread]:
    """Find the order that a webhook speaks of."""
    begins = next(begins for begins in TOPICS if topic.startswith(begins))
    for path in (*TOPICS[begins], *(() if topic else ("id",))):
        value: Any = body
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        ref = f"gid://shopify/Order/{value}" if isinstance(value, int) else value
        if isinstance(ref, str) and not isinstance(value, bool):
            ref = f"gid://shopify/Order/{ref}" if ref.isdecimal() else ref
            if GID.fullmatch(ref):
                return (ChangeNotice(ref),)
    if topic and not begins:
        return (Unread("$", f"a webhook of the topic {topic!r:.60} names no order", lacks="nothing"),)
    raise BadPayload("$", f"names no order{f', as {topic} does' if topic else ''}")

"""What Adobe Commerce tells by itself: I/O events, and its synchronous webhooks. Open Source tells nothing: its store is swept.

I/O events (AdobeDocs/adobe-io-events, guides): two signatures of the raw body, one of which suffices, keys by a path on one fixed host, and
the client id that the event is for. The challenge of a registration is answered; the POST with a `validationUrl`, which comes only to who
does not answer it, is refused: what a stranger names is not called. Webhooks (AdobeDocs/commerce-extensibility, webhooks): RSA-SHA256 over the
base64 text of the body; the merchant's action waits for our answer.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tracker.domain.errors import BadPayload, KeyUnknown, WebhookRejected
from tracker.domain.facts import ChangeNotice, Payload, Unread
from tracker.plugin.payloads import document, mapping, text, word
from tracker.plugin.public_keys import rsa_sha256

KEYS = re.compile(r"/[a-z0-9-]{1,20}/keys/pub-key-[A-Za-z0-9-]{1,60}\.pem")
BOTH = ","  # between two paths where both keys are asked for
HOOK = "x-adobe-commerce-webhook-signature"
CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{1,200}")
MOST = 100  # events of a batch; Adobe sends up to 20
ORDERS: Mapping[str, str] = {  # what an event is of -> where its order is named; the first that its name holds
    "order_status_history": "parent_id", "shipment_track": "order_id", "shipment": "order_id", "invoice": "order_id",
    "creditmemo": "order_id", "order_item": "order_id", "sales_order": "entity_id",
}  # fmt: skip
OBJECTS: Mapping[str, str] = {  # the object in a webhook's body -> the same
    "order": "entity_id", "shipment": "order_id", "track": "order_id", "shipment_track": "order_id", "status_history": "parent_id",
    "invoice": "order_id", "creditmemo": "order_id",
}  # fmt: skip


def signed(payload: Payload, keys: Mapping[str, str], client_id: str | None, hook_key: str | None) -> None:
    """Prove a webhook by its key in the settings, or an I/O event by Adobe's keys. Raises WebhookRejected, or KeyUnknown."""
    headers = payload.headers
    if headers.get(HOOK) and hook_key is not None:
        rsa_sha256(hook_key, base64.b64encode(payload.body), headers.get(HOOK), name=HOOK)
        return
    if client_id is None:
        raise WebhookRejected("no event of this kind is taken: neither events_client_id nor webhook_key is set for it")
    _is_ours(payload.body, client_id)
    unknown: list[str] = []
    for which in "12":
        name, path = f"x-adobe-digital-signature-{which}", headers.get(f"x-adobe-public-key{which}-path") or ""
        if not KEYS.fullmatch(path) or not headers.get(name):
            continue
        if path not in keys:
            unknown.append(path)
            continue
        try:
            rsa_sha256(keys[path], payload.body, headers.get(name), name=name)
            return
        except WebhookRejected:
            continue
    if unknown:  # both at once: one of them may have been taken away, and the other suffices
        raise KeyUnknown(BOTH.join(dict.fromkeys(unknown)))
    raise WebhookRejected("neither of its two signatures matches")


def _is_ours(body: bytes, client_id: str) -> None:
    """Raise WebhookRejected unless every event says that it is for our client id: a genuine event for somebody else is none."""
    try:
        told = document(body)
    except BadPayload:
        raise WebhookRejected("is no JSON") from None
    whole, events = _events(told)
    for one in events:
        named = [
            part[name] for part in (one, whole) for name in ("recipientclientid", "recipient_client_id") if name in part
        ]
        if not named or any(name != client_id for name in named):
            raise WebhookRejected("is for another client id than events_client_id")


def _events(told: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what holds the events, and each of them: alone, in a list, or in `events`. Raises WebhookRejected for anything else."""
    whole = told if isinstance(told, dict) else {}
    events = whole.get("events", [told] if whole else told)
    if not isinstance(events, list) or not 0 < len(events) <= MOST or not all(isinstance(one, dict) for one in events):
        raise WebhookRejected("holds no events")
    return whole, events


def notices(body: bytes) -> Iterator[ChangeNotice | Unread]:
    """Find the orders that a webhook or events speak of, each once. Raises BadPayload where nothing can be read."""
    told = document(body)
    known: set[str] = set()
    try:
        _, events = _events(told)
    except WebhookRejected as error:
        raise BadPayload("$", str(error)) from None
    missed: list[Unread] = []
    for at, one in enumerate(events):
        where = "$" if one is told else f"$[{at}]"
        try:
            ref = _order(one)
        except BadPayload as error:
            missed.append(Unread(f"{where}{error.where[1:]}", error.problem, lacks="all"))
            continue
        if not ref:
            missed.append(Unread(where, "an event of another kind, which names no order", lacks="nothing"))
        elif ref not in known:
            known.add(ref)
            yield ChangeNotice(ref)
    if not known and all(one.lacks == "all" for one in missed):
        raise BadPayload(missed[0].where, missed[0].problem)
    yield from missed


def _order(one: dict[str, Any]) -> str:
    """Return the order that an event or a webhook names; empty for one of another kind. Raises BadPayload where its id is none."""
    event = one.get("event")
    event = event if isinstance(event, dict) else one
    kind = text(event.get("type")) or text(one.get("type"))
    if kind:
        of = next((name for name in ORDERS if name in kind), None)
        if of is None:
            return ""
        value = mapping(event.get("data"), "$.event.data").get("value")
        return _id(mapping(value, "$.event.data.value"), ORDERS[of], "$.event.data.value")
    inner = one.get("data")
    data: dict[str, Any] = inner if isinstance(inner, dict) else one
    of = next((name for name in OBJECTS if isinstance(data.get(name), dict)), None)
    if of is None:
        raise BadPayload("$", "names no order: a webhook must send order.entity_id or shipment.order_id")
    return _id(data[of], OBJECTS[of], f"$.{of}")


def _id(holder: Mapping[str, Any], name: str, where: str) -> str:
    found = word(holder.get(name), f"{where}.{name}")
    if not is_id(found):
        raise BadPayload(f"{where}.{name}", "is no id of an order")
    return found


def is_id(ref: Any) -> bool:
    """Say whether a text is an id of an order: `entity_id`, a number."""
    return isinstance(ref, str) and ref.isascii() and ref.isdigit() and len(ref) <= 12

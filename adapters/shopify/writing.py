"""Write to a shop: look first, then write, and prove it by what the answer shows. Twice equals once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any, Protocol

from adapters.shopify.queries import (
    ADD_NOTE,
    ADD_TAGS,
    CREATE,
    EVENTS,
    NOTE,
    REMOVE_TAGS,
    RETRACK,
    SET_FIELD,
    TRACKING,
)
from adapters.shopify.reads import MOST
from adapters.shopify.words import UNSHIPPED
from tracker.domain.errors import BadPayload, Refused, Transient
from tracker.domain.facts import Action, Order, Receipt
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.calls import Response
from tracker.plugin.payloads import decode, listing, mapping, text, word
from tracker.plugin.tracked import aware, renumbered

SAME = timedelta(minutes=5)  # an event of the same status this near is ours
LONGEST = 5_000  # characters of a note; not verified, the schema names no limit: what is longer is refused by us


class Ask(Protocol):
    """Sends an operation with its variables.

    One that is not `idempotent` is looked for again before it is repeated; one that `follows` stands in the midst of a piece of work.
    """

    def __call__(
        self, query: str, variables: Mapping[str, Any], *, idempotent: bool = True, follows: bool = False
    ) -> Response:
        """Return the answer. Raises from the error tree."""


def write(ask: Ask, words: Mapping[ShippingStatus, str], action: Action, before: Order) -> Receipt:
    """Do a write, unless it is done. `words` are the fulfilment events that show a status. Raises Refused for what Shopify does not take."""
    if action.kind == "field":
        return _set_field(ask, action, before)
    if action.kind == "tag":
        return _tag(ask, action, before)
    if action.kind == "order_note":
        return _add_note(ask, action)
    if action.kind == "number":
        return _retrack(ask, action)
    if action.kind != "fulfilment_event":
        raise Refused("Shopify takes fulfilment events, metafields, tags and notes: its order status cannot be written")
    return _add_event(ask, words[action.status], action)


def field_of(name: str) -> tuple[str, str]:
    """Return the namespace and the key of a metafield: `<namespace>.<key>`, in `custom`, the merchant's own, where no dot stands."""
    namespace, dot, key = name.partition(".")
    return (namespace, key) if dot else ("custom", name)


def _set_field(ask: Ask, action: Action, before: Order) -> Receipt:
    """Set a metafield of the order, as a single line of text: a definition of the merchant's of another type refuses it."""
    if before.shown == action.text:
        return Receipt(action.field, already_there=True, proof=action.text)
    namespace, key = field_of(action.field)
    value = {"namespace": namespace, "key": key, "value": action.text, "type": "single_line_text_field"}
    response = ask(SET_FIELD, {"m": [{"ownerId": action.order, **value}]})
    for field in listing(made_of(response, "metafieldsSet").get("metafields"), "$.metafields"):
        if isinstance(field, dict) and field.get("value") == action.text:
            return Receipt(action.field, proof=action.text)
    raise Transient("the metafield was written, and the answer does not show it")


def _tag(ask: Ask, action: Action, before: Order) -> Receipt:
    """Add the tag first, then take our former ones away: where a call fails, the order has one too many and never none.

    Tags are the same in any case (shopify.dev). What others tagged is not touched.
    """
    there, former = False, []
    for tag in before.shown_by(action.field):
        if tag.casefold() == action.text.casefold():
            there = True
        else:
            former.append(tag)
    if there and not former:
        return Receipt(action.text, already_there=True, proof=action.text)
    if not there and action.text.casefold() not in _tagged(ask, ADD_TAGS, "tagsAdd", action, [action.text]):
        raise Transient("the tag was added, and the answer does not show it")
    if former and set(map(str.casefold, former)) & _tagged(ask, REMOVE_TAGS, "tagsRemove", action, former):
        raise Transient("the former tag was taken away, and the answer shows it still")
    return Receipt(action.text, proof=action.text)


def _tagged(ask: Ask, query: str, name: str, action: Action, tags: list[str]) -> set[str]:
    """Add or take tags; returns those that the order has then, in lower case."""
    made = made_of(ask(query, {"id": action.order, "tags": tags}), name)
    node = mapping(made.get("node"), f"$.data.{name}.node")
    return {text(tag).casefold() for tag in listing(node.get("tags"), f"$.data.{name}.node.tags")}


def _add_note(ask: Ask, action: Action) -> Receipt:
    """Add a line to the order's note, below what the merchant and the buyer wrote: the mutation replaces all of it.

    The moment when a person said it stands before it, so that the same words said again are another line, and the same write twice
    is one. What somebody writes between our read and our write would be lost: there is no way to add alone, nor to compare.
    """
    line = f"[{action.happened_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z] {' '.join(action.text.split())}"
    order = mapping(decode(ask(NOTE, {"id": action.order}).body).get("data"), "$.data").get("order")
    if order is None:
        raise Refused("the order is not there")
    there = _note_of(order, "$.data.order")
    if line in there.splitlines():
        return Receipt(action.order, already_there=True, proof="note")
    whole = f"{there.rstrip()}\n{line}" if there.strip() else line
    if len(whole) > LONGEST:
        raise Refused(f"the note of the order would have {len(whole)} characters, and {LONGEST} is the most")
    answer = ask(ADD_NOTE, {"i": {"id": action.order, "note": whole}}, idempotent=False)
    after = mapping(made_of(answer, "orderUpdate").get("order"), "$.data.orderUpdate.order")
    if line not in _note_of(after, "$.data.orderUpdate.order").splitlines():
        raise Transient("the note was written, and the answer does not show it")
    return Receipt(action.order, proof="note")


def _note_of(order: Any, where: str) -> str:
    """Return an order's note, all of it: what is written back must not be a letter less."""
    note = mapping(order, where).get("note")
    if note is not None and not isinstance(note, str):
        raise BadPayload(f"{where}.note", "must be a text")
    return note or ""


def _retrack(ask: Ask, action: Action) -> Receipt:
    """Put one number in the place of another; the mutation replaces all of a fulfilment's, so all are sent, with their links.

    `notifyCustomer` is false: the shop would mail this change and later ones.
    """
    most, ref = MOST, action.fulfilment
    there = _fulfilment(ask(TRACKING, {"id": ref, "most": most}))
    if word(there.get("status"), "$.data.fulfillment.status") in UNSHIPPED:
        raise Refused("the fulfilment is cancelled")
    rows = [mapping(row, "$.trackingInfo[]") for row in listing(there.get("trackingInfo"), "$.trackingInfo")]
    if len(rows) >= most:
        raise Refused(f"the fulfilment has {most} numbers or more, and all would be replaced")
    numbers, new = [text(row.get("number")) for row in rows], action.parcels[1].number
    wanted = renumbered(numbers, action)
    if wanted is None:
        return Receipt(ref, already_there=True, proof=new)
    info: dict[str, Any] = {"numbers": wanted}
    if links := _links([text(row.get("url")) for row in rows], numbers, wanted):
        info["urls"] = links
    company = next((text(row.get("company")) for row in rows if row.get("company")), "")
    if company:
        info["company"] = company
    made = made_of(
        ask(RETRACK, {"id": ref, "t": info, "notify": False, "most": most}, idempotent=False),
        "fulfillmentTrackingInfoUpdate",
    )
    after = mapping(made.get("fulfillment"), "$.data.fulfillmentTrackingInfoUpdate.fulfillment")
    shown = [
        text(mapping(row, "$.trackingInfo[]").get("number"))
        for row in listing(after.get("trackingInfo"), "$.trackingInfo")
    ]
    if sorted(shown) != sorted(wanted):
        raise Transient("the numbers were written, and the answer does not show them")
    return Receipt(ref, proof=new)


def _links(links: list[str], numbers: list[str], wanted: list[str]) -> list[str]:
    """Return the links with the corrected number in them; empty where one has none or names none: Shopify makes them by its company."""
    rows = list(zip(links, numbers, wanted, strict=True))
    if any(not link or (was != now and was not in link) for link, was, now in rows):
        return []
    return [link.replace(was, now) if was != now else link for link, was, now in rows]


def _add_event(ask: Ask, word_: str, action: Action) -> Receipt:
    """Create a fulfilment event, unless one of the same word and time stands there already."""
    at = action.happened_at.astimezone(UTC)
    fulfilment = _fulfilment(ask(EVENTS, {"id": action.fulfilment}))
    for node in listing(
        mapping(fulfilment.get("events"), "$.data.fulfillment.events").get("nodes"),
        "$.data.fulfillment.events.nodes",
    ):
        node = mapping(node, "$.data.fulfillment.events.nodes")
        if node.get("status") == word_ and abs(aware(node.get("happenedAt"), "$.happenedAt") - at) <= SAME:
            return Receipt(word(node.get("id"), "$.id"), already_there=True, proof=word_)
    event: dict[str, Any] = {
        "fulfillmentId": action.fulfilment,
        "status": word_,
        "happenedAt": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "message": action.reason.sentence if action.reason else None,
        "city": action.place.city or None,
        "province": action.place.region or None,
        "country": action.place.country or None,
        "zip": action.place.postcode or None,
        "estimatedDeliveryAt": action.edd.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if action.edd else None,
    }
    variables = {"e": {name: value for name, value in event.items() if value is not None}}
    created = made_of(ask(CREATE, variables, idempotent=False), "fulfillmentEventCreate")
    made = mapping(created.get("fulfillmentEvent"), "$.data.fulfillmentEventCreate.fulfillmentEvent")
    return Receipt(word(made.get("id"), "$.fulfillmentEvent.id"), proof=text(made.get("status")))


def _fulfilment(response: Response) -> dict[str, Any]:
    """Return the fulfilment that was looked at. Raises Transient where it is not there."""
    data = mapping(decode(response.body).get("data"), "$.data")
    if "fulfillment" in data and data["fulfillment"] is None:
        raise Transient("the fulfilment is not there")  # the next read says whether it is gone
    return mapping(data.get("fulfillment"), "$.data.fulfillment")


def made_of(response: Response, name: str) -> dict[str, Any]:
    """Return what a mutation made. Raises Refused where the shop refuses it."""
    made = mapping(mapping(decode(response.body).get("data"), "$.data").get(name), f"$.data.{name}")
    if refusals := made.get("userErrors"):
        raise Refused("; ".join(text(r.get("message")) for r in refusals if isinstance(r, dict)))
    return made

"""What is written to a WooCommerce shop: a status, a note that only the shop sees, a meta key, a number that a person corrects."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

from adapters.woocommerce.calls import Api, told_by
from adapters.woocommerce.tracking import AST, DEFAULTS, FULFILLMENTS, META, PLUGIN, Place, meta_of
from tracker.domain.errors import NotFound, Refused, Transient
from tracker.domain.facts import Action, Order, Receipt
from tracker.plugin.calls import Client, segment
from tracker.plugin.payloads import absent, listing, mapping, text, word
from tracker.plugin.tracked import listed, renumbered

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def set_status(api: Api, client: Client, before: Order, slug: str, from_: Set[str]) -> Receipt:
    """Send the status and nothing else: lines and addresses would have the order calculated anew.

    WooCommerce takes any registered status after any other. Ours moves an order only from where it waits for its parcels.
    """
    if before.raw_status == slug:
        return Receipt(before.ref, already_there=True, proof=slug)
    if before.raw_status not in from_:
        hint = "; `statuses: {completed: shipped}` lets it be left" if before.raw_status == "completed" else ""
        raise Refused(f"{before.raw_status} is not left for {slug}: only {', '.join(sorted(from_))}{hint}")
    after = told_by(api.write(client, "PUT", f"wc/v3/orders/{segment(before.ref)}", {"status": slug}))
    if (now := text(after.get("status"))) != slug:
        raise Transient(f"the status was written, and the answer shows {now or 'none'}")
    return Receipt(word(after.get("id"), "$.id"), proof=now)


def add_note(api: Api, client: Client, action: Action) -> Receipt:
    """Add a note for the shop's own people, unless one with the same words stands there: an answer may have been lost."""
    path = f"wc/v3/orders/{segment(action.order)}/notes"
    for note in listed(api.get(client, path), Transient):
        if isinstance(note, dict) and text(note.get("note")) == text(action.text):
            return Receipt(word(note.get("id"), "$.id"), already_there=True, proof="note")
    body = {"note": action.text, "customer_note": False, "added_by_user": False}
    return Receipt(word(told_by(api.write(client, "POST", path, body)).get("id"), "$.id"), proof="note")


def set_field(api: Api, client: Client, action: Action, before: Order) -> Receipt:
    """Set a meta key of the order, in place where it stands there already: without its id it would be there twice."""
    if before.shown == action.text:
        return Receipt(action.field, already_there=True, proof=action.text)
    path = f"wc/v3/orders/{segment(action.order)}"
    there = listing(told_by(api.get(client, path)).get("meta_data"), "$.meta_data")
    ids = [row.get("id") for row in there if isinstance(row, dict) and row.get("key") == action.field]
    entry: dict[str, Any] = {"key": action.field, "value": action.text} | ({"id": ids[-1]} if ids else {})
    after = told_by(api.write(client, "PUT", path, {"meta_data": [entry]}))
    if meta_of(after.get("meta_data"), "$.meta_data").get(action.field) != action.text:
        raise Transient("the meta key was written, and the answer does not show it")
    return Receipt(action.field, proof=action.text)


def renumber(api: Api, client: Client, action: Action, places: Sequence[Place]) -> Receipt:
    """Put one tracking number in the place of another, where the fulfilment says that it stands; nobody is mailed."""
    ref = action.fulfilment
    if ref.startswith(META):
        raise Refused("the number stands in a meta key of another plugin: it is corrected there")
    plugin = next((place for place in places if place.name != FULFILLMENTS), None)
    if not ref.startswith(PLUGIN):
        return _in_fulfilment(api, client, action)
    if plugin is None:
        raise Refused("no tracking plugin answers here any more")
    return _in_plugin(api, client, action, plugin)


def _in_fulfilment(api: Api, client: Client, action: Action) -> Receipt:
    """Change a fulfilment of WooCommerce's own. All of its meta is sent: what is left out would be deleted.

    Builds answered that they stored what they did not (issue 63470), so it is read once more.
    """
    path = f"{DEFAULTS[0].path(segment(action.order))}/{segment(action.fulfilment)}"
    there = told_by(api.get(client, path))
    meta, new = _rows_of(there), action.parcels[1].number
    if not absent(there.get("date_deleted")):
        raise Refused("the fulfilment is deleted")
    held = {row["key"]: row["value"] for row in meta}
    if str(held.get("_is_locked") or "").lower() in ("1", "true", "yes"):
        raise Refused(f"the fulfilment is locked: {text(held.get('_lock_message')) or 'no reason given'}")
    number = text(held.get("_tracking_number"))
    if (wanted := renumbered([number], action)) is None:
        return Receipt(action.fulfilment, already_there=True, proof=new)
    for row in meta:
        if row["key"] == "_tracking_number":
            row["value"] = wanted[0]
        elif row["key"] == "_tracking_url" and isinstance(row["value"], str):
            row["value"] = row["value"].replace(action.parcels[0].number, new)
    body: dict[str, Any] = {"meta_data": meta}
    if there.get("status") in ("fulfilled", "unfulfilled"):
        body["status"] = there["status"]
    api.write(client, "PUT", path, body, {"notify_customer": "false"})
    if (
        text({row["key"]: row["value"] for row in _rows_of(told_by(api.get(client, path)))}.get("_tracking_number"))
        != wanted[0]
    ):
        raise Transient("the number was written, and the fulfilment does not show it")
    return Receipt(action.fulfilment, proof=new)


def _rows_of(there: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the meta of a fulfilment as it is sent back. Raises BadPayload for what could not be: it would be lost."""
    rows = [mapping(row, "$.meta_data[]") for row in listing(there.get("meta_data"), "$.meta_data")]
    return [
        {"id": row.get("id", 0), "key": word(row.get("key"), "$.meta_data[].key"), "value": row.get("value")}
        for row in rows
    ]


def _in_plugin(api: Api, client: Client, action: Action, place: Place) -> Receipt:
    """Add a tracking with the right number, then delete the other: these plugins change none.

    Where an answer was lost, the right one is there already and is not added again. AST is told not to set the order's status.
    """
    path, new = place.path(segment(action.order)), action.parcels[1].number
    rows = [row for row in listed(api.get(client, path), Transient) if isinstance(row, dict)]
    old = next((row for row in rows if f"{PLUGIN}{row.get('tracking_id')}" == action.fulfilment), None)
    added = any(row is not old and text(row.get("tracking_number")).upper() == new for row in rows)
    if old is None:
        if not added:
            raise Refused(f"{action.parcels[0].number} does not stand there any more")
        return Receipt(action.fulfilment, already_there=True, proof=new)
    if not added:
        wanted = renumbered([text(old.get("tracking_number"))], action)
        if wanted is None:
            return Receipt(action.fulfilment, already_there=True, proof=new)
        made = told_by(api.write(client, "POST", path, _tracking(old, wanted[0], action, place)))
        if text(made.get("tracking_number")) != wanted[0]:
            raise Transient("the tracking was added, and the answer does not show it")
    with suppress(NotFound):
        api.write(client, "DELETE", f"{path}/{segment(action.fulfilment.removeprefix(PLUGIN))}", None)
    return Receipt(action.fulfilment, proof=new)


def _tracking(old: dict[str, Any], number: str, action: Action, place: Place) -> dict[str, Any]:
    """Return a tracking like another one, with its own number."""
    body: dict[str, Any] = {"tracking_number": number}
    if custom := text(old.get("custom_tracking_provider")):
        link = text(old.get("custom_tracking_link")).replace(action.parcels[0].number, number)
        body |= {"custom_tracking_provider": custom, "custom_tracking_link": link}
    else:
        body["tracking_provider"] = text(old.get("tracking_provider"))
    if place.name == AST:  # it reads days in an order of its own, so none is said
        return {**body, "status_shipped": 0, "replace_tracking": 0}
    day = text(old.get("date_shipped"))
    return {**body, "date_shipped": day} if _DAY.fullmatch(day) else body

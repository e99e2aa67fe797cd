"""Write to BigCommerce: look first, write one thing alone, and prove it by what the answer shows. Twice equals once."""

from __future__ import annotations

from collections.abc import Mapping
from html import unescape

from adapters.bigcommerce.answers import collected
from adapters.bigcommerce.fetching import Ask
from adapters.bigcommerce.words import COMPLETED, IDS, LABELS, MAY_COME_FROM, SHIPPED
from tracker.domain.errors import BadPayload, Refused, Transient
from tracker.domain.facts import Action, Order, Receipt
from tracker.domain.vocabulary import OrderStatus
from tracker.plugin.calls import Response, segment
from tracker.plugin.payloads import decode, mapping, text, word
from tracker.plugin.tracked import renumbered

MOST_NUMBER = 50  # characters of a shipment's tracking number
MOST_NAME = 64  # of a metafield's namespace and key


def field_of(name: str, namespace: str) -> tuple[str, str]:
    """Return the namespace and the key of a metafield: `<namespace>.<key>`, in the store's own namespace where no dot stands."""
    before, dot, key = name.partition(".")
    return (before, key) if dot else (namespace, name)


def set_status(ask: Ask, words: Mapping[OrderStatus, str], action: Action, before: Order) -> Receipt:
    """Set the status id and nothing else: touching products or fees changes them. Delivered goes by way of Shipped."""
    assert action.target is not None
    wanted, here = IDS[words[action.target]], IDS.get(before.raw_status)
    if here == wanted:
        return Receipt(before.ref, already_there=True, proof=before.raw_status)
    steps = (
        [wanted] if here in MAY_COME_FROM[wanted] else [SHIPPED, COMPLETED] if here in MAY_COME_FROM[SHIPPED] else []
    )
    if not steps or steps[-1] != wanted:
        raise Refused(f"{before.raw_status} is not left for {LABELS[wanted]}: only by hand")
    for step in steps:
        row = decode(ask(_path(before), body={"status_id": step}).body)
        if row.get("status_id") != step:  # its own rules, or somebody who was faster: it is not written again
            shown = next((label for id_, label in LABELS.items() if id_ == row.get("status_id")), "")
            said = f"the order was set to {LABELS[step]}, and the answer shows {shown or 'no status'}"
            raise Refused(said) if shown else Transient(said)
    return Receipt(before.ref, proof=LABELS[wanted])


def add_note(ask: Ask, action: Action, before: Order, most: int) -> Receipt:
    """Add a line to the staff notes, which hold `most` characters. They are one text that is overwritten: it is read, and written back with ours behind it.

    What stands there already is not added again: an answer may have been lost. What somebody writes between the read and the
    write is lost: there is no way to say "only if it is unchanged".
    """
    there = _notes(ask(_path(before)))
    if _says(there, action.text):
        return Receipt(before.ref, already_there=True, proof="note")
    notes = f"{there.rstrip()}\n{action.text}" if there.strip() else action.text
    if len(notes) > most:
        raise Refused(f"the staff notes have no room: {most:,} characters at most, and nothing of them is cut")
    if not _says(_notes(ask(_path(before), body={"staff_notes": notes})), action.text):
        raise Transient("the staff notes were written, and the answer does not show them")
    return Receipt(before.ref, proof="note")


def set_field(ask: Ask, action: Action, before: Order, namespace: str, permission: str) -> Receipt:
    """Set a metafield of the order: made where it is not there, else changed; one that another process made meanwhile is changed too."""
    space, key = field_of(action.field, namespace)
    if max(len(space), len(key)) > MOST_NAME:
        raise Refused(f"a metafield's namespace and key have {MOST_NAME} characters each at most: {action.field}")
    ref, shown = _field(ask, before, space, key)
    if ref and shown == action.text:
        return Receipt(action.field, already_there=True, proof=action.text)
    value = {"permission_set": permission, "namespace": space, "key": key, "value": action.text}
    if not ref:
        try:
            return _shows(ask(f"{_path(before)}/metafields", body=value, version="v3", method="POST"), action)
        except Refused:  # 409, made meanwhile; whatever it was, what stands there now decides
            ref, shown = _field(ask, before, space, key)
            if not ref:
                raise
    return _shows(ask(f"{_path(before)}/metafields/{segment(ref)}", body=value, version="v3"), action)


def correct_number(ask: Ask, action: Action, before: Order) -> Receipt:
    """Correct the tracking number of a shipment, in its link too where the merchant gave one. Its pieces and its carrier are not touched.

    Whether the store mails a number that changed is not documented: no part of the call asks for it.
    """
    path = f"{_path(before)}/shipments/{segment(action.fulfilment)}"
    row, (old, new) = decode(ask(path).body), (parcel.number for parcel in action.parcels)
    typed = row.get("tracking_number")
    if isinstance(typed, bool) or not isinstance(typed, str | int):
        raise BadPayload("$.tracking_number", "must be a text")
    wanted = renumbered([str(typed)], action)
    if wanted is None:
        return Receipt(action.fulfilment, already_there=True, proof=new)
    if len(wanted[0]) > MOST_NUMBER:
        raise Refused(f"a tracking number has {MOST_NUMBER} characters at most: {wanted[0]}")
    body, link = {"tracking_number": wanted[0]}, text(row.get("tracking_link"))
    if old in link:
        body["tracking_link"] = link.replace(old, new)
    if decode(ask(path, body=body).body).get("tracking_number") != wanted[0]:
        raise Transient("the number was written, and the answer does not show it")
    return Receipt(action.fulfilment, proof=new)


def _path(order: Order) -> str:
    return f"/orders/{segment(order.ref)}"


def _notes(response: Response) -> str:
    """Return the staff notes of an answer. Raises BadPayload where they are no text: they would be written over."""
    row = decode(response.body)
    notes = row.get("staff_notes")
    if "id" not in row or not (notes is None or isinstance(notes, str)):
        raise BadPayload("$.staff_notes", "must be a text")
    return notes or ""


def _says(notes: str, said: str) -> bool:
    """Say whether a text stands in others, in lines of its own; shops print line ends and signs in their own way."""
    lines, wanted = ([line.strip() for line in unescape(one).split("\n")] for one in (notes, said.strip()))
    return any(lines[at : at + len(wanted)] == wanted for at in range(len(lines)))


def _field(ask: Ask, before: Order, namespace: str, key: str) -> tuple[str, str]:
    """Return the id and the value of a metafield, empty where there is none; of several apps' the one that was changed last."""
    params = {"namespace": namespace, "key": key}
    rows, _ = collected(ask(f"{_path(before)}/metafields", params, version="v3"), "the order's metafields")
    found = [mapping(row, "$.data[]") for row in rows]
    newest = max(found, key=lambda row: text(row.get("date_modified")), default=None)
    return (word(newest.get("id"), "$.data[].id"), text(newest.get("value"))) if newest is not None else ("", "")


def _shows(response: Response, action: Action) -> Receipt:
    if mapping(decode(response.body).get("data"), "$.data").get("value") != action.text:
        raise Transient("the metafield was written, and the answer does not show it")
    return Receipt(action.field, proof=action.text)

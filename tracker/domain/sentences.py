"""Every rule in one sentence: what stands in a decision's `because`, gates, drift, findings, and what became of a write.

Each names the order, what the shop says, what the carrier says and a moment; the rule's name stays beside it where it is
shown. A test finds the names in the code and holds the table complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from tracker.domain.performance import whole_day
from tracker.domain.texts import named
from tracker.domain.vocabulary import FindingKind, OrderStatus

BOTH = "the shop says {shop}, the carrier {carrier}, since {time}"

SENTENCES: Mapping[str, str] = MappingProxyType({
    # who dispatches, and what cannot be decided at all
    "owner": f"Who dispatches order {{order}} was read from the rule {{detail}}; {BOTH}.",
    "unknown_owner": f"Nobody knows who dispatches order {{order}}, so nothing is written; {BOTH}.",
    "unknown_order_status": f"The shop's word for order {{order}} has no translation, so nothing is written; {BOTH}.",
    "test_order": f"Order {{order}} was placed to try the shop, so nothing is ever written to it; {BOTH}.",
    "order_gone": f"The shop holds order {{order}} no more, so nothing is written to it; {BOTH}.",
    "order_out_of_sight": f"Order {{order}} is older than the shop lets us read, so nothing is written to it; {BOTH}.",
    "unmapped_scan_moves_nothing": "Parcel {detail} of order {order} has a scan whose code nobody has given a meaning, and it moves "
    "nothing; " + BOTH + ".",
    "unsure_scan_moves_nothing": "Parcel {detail} of order {order} has a scan that is not sure enough, and it moves nothing; "
    + BOTH + ".",
    # people
    "human_wins": f"Order {{order}} is {{decided}}, which people decide, so we write nothing; {BOTH}.",
    "corrected_by_person": f"A person set order {{order}} to what it is, after the carrier's news, so it stays so; {BOTH}.",
    "stated_by_person": f"A person stated what the carrier has not told of order {{order}}, so nobody is asked to look; {BOTH}.",
    "never_into_processing": f"Order {{order}} is never written into Processing, where the shop takes pieces off its stock; {BOTH}.",
    "no_restore_into_processing": f"Order {{order}} stood at Processing before somebody changed it; putting it back would take pieces "
    f"off the stock again, so it is left; {BOTH}.",
    "no_restore_before_processing": f"Order {{order}} had not begun to be prepared when somebody changed it, so it is left; {BOTH}.",
    "no_system_value_to_restore": f"Somebody changed order {{order}} and no status that the system set is known, so it is left; {BOTH}.",
    "unknown_actor_is_not_restored": f"Nobody knows who changed order {{order}}, so it is not put back; {BOTH}.",
    "edit_agrees_with_carrier": f"Somebody changed order {{order}} to what the carrier says too, so it stays; {BOTH}.",
    # where the parcels put the order
    "in_step": f"What is shown of order {{order}} is what its parcels say, so there is nothing to write; {BOTH}.",
    "no_step_back": f"Order {{order}} already stands further than its parcels say, and we take no status back; {BOTH}.",
    "no_tracked_parcel": f"Order {{order}} has no parcel with a number that somebody tracks, so nothing can be written; {BOTH}.",
    "nothing_known": f"Nobody has told anything usable of the parcel of order {{order}} yet; {BOTH}.",
    "not_handed_over": f"No carrier has taken over a parcel of order {{order}} yet; {BOTH}.",
    "waits_for_all": f"Not every piece of order {{order}} has come as far, and it is written for all of them at once; {BOTH}.",
    "mixed_ends": f"The parcels of order {{order}} ended in different ways, so a person must say what it is; {BOTH}.",
    "no_meaning": f"The policy says nothing of what an order is when its parcel is {{detail}}: order {{order}} stays; {BOTH}.",
    "partly_read": f"A part of order {{order}} could not be read, so nothing is said of the whole of it; {BOTH}.",
    "owner_sets_its_own_status": f"Whoever dispatches order {{order}} sets its status, so we do not; {BOTH}.",
    "nobody_asked_the_carrier": f"Nobody has asked the carrier about order {{order}}, so its silence says nothing; {BOTH}.",
    # why it is not written
    "waits_for_confirmation": f"Only a message that anybody who knows a password could send told it of order {{order}}; we wait until "
    f"the carrier confirms it; {BOTH}.",
    "waits_sources_disagree": f"What is told of a parcel of order {{order}} contradicts itself, so we wait; {BOTH}.",
    "worker_writes_it_not": f"The policy does not let us write {{to}} to order {{order}}: somebody else sets that in the shop; {BOTH}.",
    "status_not_expressible": f"The shop has no order status for {{detail}} that we may write to order {{order}}; {BOTH}.",
    "side_effect_not_named": f"Writing {{to}} to order {{order}} makes the shop do more, and the policy does not name that; {BOTH}.",
    "transition_not_named": f"The policy does not lead from what order {{order}} is to {{to}}, so it is not written; {BOTH}.",
    "before_connected": f"What happened to order {{order}} was before its store was connected or its news replayed, so it is not "
    f"written; {BOTH}.",
    "does_not_stay": f"What we wrote to order {{order}} did not stay in the shop, so we do not write it again for now; {BOTH}.",
    "no_word": f"The shop has no word for what the carrier says of order {{order}}, so nothing is shown; {BOTH}.",
    "fulfilment_cancelled": f"The part of order {{order}} that the parcel carries was cancelled, so nothing is shown; {BOTH}.",
    "never_back_from_delivered": f"The shop shows order {{order}} as delivered, and we never take that back by ourselves; {BOTH}.",
    "shop_is_newer": f"What the shop shows of order {{order}} is newer than what the carrier says, so it stays; {BOTH}.",
    # what is written, and why
    "publish": f"What the carrier says of a parcel of order {{order}} is shown at its fulfilment; {BOTH}.",
    "field": f"What the carriers say of order {{order}} is shown in its field {{detail}}; {BOTH}.",
    "tag": f"What the carriers say of order {{order}} is shown in its tag {{detail}}; {BOTH}.",
    "write:carrier": f"The carrier's news puts order {{order}} at {{to}}, so that is written; {BOTH}.",
    "write:carrier_correction": f"The carrier took back what it had told of order {{order}}, so {{to}} is written; {BOTH}.",
    "write:restore": f"Somebody changed order {{order}} who may not, so {{to}} is put back; {BOTH}.",
    "write:correction": f"A person ({{detail}}) asked for order {{order}} to be {{to}}, so that is written; {BOTH}.",
    # gates
    "already_there": f"Order {{order}} is {{to}} already; {BOTH}.",
    "open": f"Nothing stands against {{to}} for order {{order}}; {BOTH}.",
    "hold": f"Order {{order}} may be put on hold at any time; {BOTH}.",
    "cancel_open": f"Order {{order}} may still be cancelled; {BOTH}.",
    "no_such_status": f"That is no status that order {{order}} can have; {BOTH}.",
    "cancelled_is_final": f"Order {{order}} is cancelled and stays cancelled; {BOTH}.",
    "not_paid": f"Order {{order}} is not paid, and the policy wants the money before {{to}}; {BOTH}.",
    "payment_unknown": f"Whether order {{order}} is paid is not known, and the policy wants the money before {{to}}; {BOTH}.",
    "not_verified": f"Nobody has verified order {{order}}, and the policy wants that before {{to}}; {BOTH}.",
    "courier_and_waybill_missing": f"Order {{order}} has no courier and tracking number, which the policy wants before {{to}}; {BOTH}.",
    "tracking_missing": f"Order {{order}} has no carrier and tracking number, which the policy wants before {{to}}; {BOTH}.",
    "address_not_confirmed": f"The address of order {{order}} is not confirmed, and the policy wants that before {{to}}; {BOTH}.",
    "carrier_has_not_delivered": f"The carrier has not delivered each parcel of order {{order}}, so nobody says Delivered; {BOTH}.",
    "order_partly_read": f"A part of order {{order}} could not be read, so {{to}} may be wrong for the rest of it; {BOTH}.",
    "cancel_in_custody": f"A carrier has, or had, a parcel of order {{order}}, so it is not cancelled before that is back; {BOTH}.",
    "cancel_closed_at": f"Order {{order}} has come to {{detail}}, after which the policy lets nobody cancel it; {BOTH}.",
    "reason_required": f"Order {{order}} may be cancelled only with a reason; {BOTH}.",
    # how shop and carrier disagree
    "drift:shop_ahead": "The shop says more of order {order} than its carrier, since {time}: the shop {shop}, the carrier {carrier}.",
    "drift:shop_behind": "The carrier says more of order {order} than the shop, since {time}: the carrier {carrier}, the shop {shop}.",
    "drift:cancelled_but_moving": "Order {order} is {shop} in the shop while a carrier has, or had, a parcel of it, since {time}; the "
    "carrier says {carrier}.",
    "drift:withdrawn": "The carrier took its Delivered of order {order} back, since {time}: the shop says {shop}, the carrier {carrier}.",
    "drift:contradicted": "The carrier says {carrier} of order {order} and its own later scan speaks against that, since {time}; the "
    "shop says {shop}.",
    # what became of a write
    "outbox:pending": "We will write {to} to order {order}, wanted since {time} ({detail}), when the shop said {shop} and the carrier "
    "{carrier}.",
    "outbox:held": "Writing {to} to order {order} is held since {time}, because the carrier suddenly tells far more ends than usual "
    "and nobody has looked yet; the shop said {shop}, the carrier {carrier}.",
    "outbox:sent": "We wrote {to} to order {order} at {time}, when the shop said {shop} and the carrier {carrier}.",
    "outbox:restored": "We set order {order} back to {to} at {time}: the shop said {shop}, set by somebody who may not, and the carrier "
    "{carrier}.",
    "outbox:refused": "The shop refused our writing {to} to order {order} at {time} ({detail}), when it said {shop} and the carrier "
    "{carrier}.",
    "outbox:dead": "Our writing {to} to order {order} failed again and again and was given up at {time} ({detail}); the shop said "
    "{shop}, the carrier {carrier}.",
    "outbox:superseded": "Writing {to} to order {order} was dropped at {time} ({detail}), when the shop had said {shop} and the carrier "
    "{carrier}.",
    "outbox:observed": "We would have written {to} to order {order} since {time}, but its store is only observed; the shop said {shop}, "
    "the carrier {carrier}.",
})  # fmt: skip

# why a write that is tried again was not taken, by the error that its shop's answer was
WAITS: Mapping[str, str] = MappingProxyType({
    "SourceError": "the shop did not do what we asked for",
    "Transient": "the shop did not take it just now",
    "Unanswered": "it was handed over, and not answered",
    "RateLimited": "the shop asked us to slow down",
    "BudgetSpent": "our budget of calls to the shop is used up",
    "Resting": "the shop asked us to rest",
    "Unavailable": "the shop is away",
    "CredentialsRejected": "the shop refuses our credentials",
    "NotFound": "the shop does not find it",
    "BadPayload": "what the shop answered cannot be read",
    "Refused": "the shop refused it just now",
})  # fmt: skip

_NAMED_BY_MERCHANTS = frozenset({"owner", "field", "tag"})
_NAMELESS = "of another version"


@dataclass(frozen=True, slots=True)
class Fields:
    """What a sentence is filled with. Statuses are words of ours; what is empty is told as not known."""

    order: str
    shop: str = ""
    carrier: str = ""
    time: datetime | None = None
    to: str = ""
    detail: str = ""
    decided: str = ""  # what people decided about it: on hold, cancelled, refunded or disputed


def spoken(word: str) -> str:
    """Return a word of ours as people say it: `out for delivery`."""
    return word.replace("_", " ").strip()


def minute(at: datetime | None) -> str:
    """Write a moment as people read it here: `2026-11-02 08:00Z`."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at is not None else "a time that is not known"


def estimated(begins: datetime, ends: datetime) -> str:
    """Write for when a parcel is estimated (aware moments): the day or days, where no hour was told, else to the minute."""
    if day := whole_day(begins, ends):
        return f"{begins:%Y-%m-%d}" if day == begins.date() else f"{begins:%Y-%m-%d} to {day}"
    return minute(begins) if begins == ends else f"{minute(begins)} to {minute(ends)}"


def key_of(rule: str) -> tuple[str, str]:
    """Return under which name a rule stands in the table, and what it says beside it: `no_meaning:lost` is ("no_meaning", "lost")."""
    head, _, rest = rule.partition(":")
    if head == "gate":
        head, _, rest = rest.partition(":")
    elif head in ("write", "drift", "finding", "outbox"):
        name, _, rest = rest.partition(":")
        head = f"{head}:{name}"
    if head.startswith("cancel_closed_at_"):
        head, rest = "cancel_closed_at", head.removeprefix("cancel_closed_at_")
    return head, rest


def waits(said: str) -> str:
    """Return why a write waits, in plain words: errors stand there by their names, before what was said."""
    name = said.partition(":")[0]
    if name in WAITS:
        return WAITS[name]
    return "an error of ours" if name.isidentifier() and name.endswith("Error") else said


def say(rule: str, fields: Fields) -> str:
    """Return the sentence of a rule. Never raises: a rule that a newer or older version named is told as such."""
    key, detail = key_of(rule)
    if key.startswith("finding:"):
        return _of_finding(key.removeprefix("finding:"), fields)
    template = SENTENCES.get(key, f"A rule {_NAMELESS} ({spoken(key)}) spoke of order {{order}}; {BOTH}.")
    given = fields.detail or (spoken(detail) if key not in _NAMED_BY_MERCHANTS else f'"{spoken(detail)}"')
    return template.format_map({
        "order": named(fields.order) or "that is not known", "shop": fields.shop or "nothing that is known",
        "carrier": fields.carrier or "nothing yet", "time": minute(fields.time),
        "to": fields.to or _status_in(detail) or "the next status", "detail": given or "no more is known",
        "decided": fields.decided or "held, cancelled, refunded or disputed",
    })  # fmt: skip


def _of_finding(kind: str, fields: Fields) -> str:
    """Say a finding in one sentence; of an account, a store or a carrier, which has no statuses, `order` is what it is about."""
    known = [one for one in FindingKind if one == kind]
    said = (known[0].sentence if known else f"A finding {_NAMELESS}: {spoken(kind)}.").rstrip(".")
    if not fields.shop and not fields.carrier:
        return f"{named(fields.order)}: {said}, since {minute(fields.time)}."
    both = f"the shop says {fields.shop or 'nothing that is known'}, the carrier {fields.carrier or 'nothing yet'}"
    return f"Order {named(fields.order)}: {said}; {both}, since {minute(fields.time)}."


def _status_in(detail: str) -> str:
    return spoken(detail) if detail in set(OrderStatus) else ""

"""The shipping status that the shop shows: of a fulfilment, and in a field and a tag of the order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracker.domain.facts import Action, Finding, Fulfilment, Shipment
from tracker.domain.reconcile.case import WARNING, Case, K, S, estimate
from tracker.domain.reconcile.findings import finding
from tracker.domain.reconcile.orders import aggregate, covers
from tracker.domain.vocabulary import Act


def publish(case: Case, fulfilment: Fulfilment) -> Iterator[str | Action | Finding]:
    """Show the shipping status of one fulfilment in the shop, or say by rule why not."""
    parcel = aggregate(case.parcels_of(fulfilment))
    rule = "no_tracked_parcel" if parcel is None else _kept_back(case, fulfilment, parcel)
    yield f"{rule or 'publish'}:{fulfilment.ref}"
    if parcel is None:
        return
    order, summary, shown = case.order, parcel.summary, fulfilment.published
    if rule == "never_back_from_delivered" and shown is not None and not summary.corrected:
        # a corrected one is told as a correction, once
        evidence = {"shop": shown.raw, "carrier": summary.status}
        yield finding(case, K.ORDER_AHEAD, WARNING, Act.ACT, evidence, since=summary.since, parcel=parcel)
    if not rule and summary.since is not None:
        yield Action(
            kind="fulfilment_event",
            key=f"{order.store}/{order.ref}/{fulfilment.ref}/event/{summary.status}/{summary.run}",
            store=order.store,
            order=order.ref,
            fulfilment=fulfilment.ref,
            status=summary.status,
            reason=summary.reason,
            happened_at=summary.since,
            place=summary.run_place,
            edd=estimate(parcel),
            rules=(f"publish:{case.policy.name}",),
            number=order.number,
        )


def show_in_field(case: Case) -> Iterator[str | Action | Finding]:
    """Show the shipping status of all parcels together in the field that the policy names, or say by rule why not."""
    shown = (case.order.shown,) if case.order.shown else ()
    return _show_in_order(case, "field", case.policy.status_field, shown, "")


def show_in_tag(case: Case) -> Iterator[str | Action | Finding]:
    """Show the shipping status of all parcels together in a tag that begins as the policy says, or say by rule why not."""
    name = case.policy.status_tag
    shown = tuple(tag[len(name) + 1 :].casefold() for tag in case.order.shown_by(name))
    return _show_in_order(case, "tag", name, shown, f"{name}:")


def _show_in_order(
    case: Case, kind: str, name: str, shown: tuple[str, ...], prefix: str
) -> Iterator[str | Action | Finding]:
    """Show the status of all parcels in one place of the order: there stands `shown` now, and `prefix` before our word."""
    order = case.order
    live = [fulfilment for fulfilment in order.fulfilments if fulfilment.live]
    parcel = aggregate([p for fulfilment in live for p in case.parcels_of(fulfilment)])
    rule = "no_tracked_parcel" if parcel is None else _not_in_order(case, live, parcel, shown)
    yield f"{rule or kind}:{name}"
    if parcel is None:
        return
    summary = parcel.summary
    if rule == "never_back_from_delivered" and not summary.corrected:
        evidence = {"shop": ", ".join(shown), "carrier": summary.status}
        yield finding(case, K.ORDER_AHEAD, WARNING, Act.ACT, evidence, since=summary.since, parcel=parcel)
    if not rule and summary.since is not None:
        yield Action(
            kind=kind,
            key=f"{order.store}/{order.ref}/{kind}/{name}/{summary.status}/{summary.run}",
            store=order.store,
            order=order.ref,
            status=summary.status,
            reason=summary.reason,
            happened_at=summary.since,
            rules=(f"{kind}:{case.policy.name}",),
            number=order.number,
            field=name,
            text=f"{prefix}{summary.status}",
        )


def _not_in_order(case: Case, live: Sequence[Fulfilment], parcel: Shipment, shown: tuple[str, ...]) -> str:
    """Name the first rule that keeps the parcels' status from the order; empty where it is shown."""
    order, policy, summary = case.order, case.policy, parcel.summary
    if summary.since is None or summary.status is S.UNKNOWN:
        return "nothing_known"
    if shown == (summary.status,):
        return "in_step"
    if case.decided_by_people():
        return "human_wins"
    if not summary.confirmed and policy.wait_for_confirmation:
        return "waits_for_confirmation"
    if S.DELIVERED in shown and summary.status is not S.DELIVERED and not (summary.corrected and policy.corrections):
        return "never_back_from_delivered"
    if case.too_old(summary.since):
        return "before_connected"
    if summary.status is S.DELIVERED:
        if order.partial:
            return "partly_read"
        arrived = [
            f
            for f in live
            if (parcels := case.parcels_of(f)) and all(p.summary.status in (S.DELIVERED, S.CANCELLED) for p in parcels)
        ]
        if not covers(order, arrived):
            return "waits_for_all"
    return ""


def _kept_back(case: Case, fulfilment: Fulfilment, parcel: Shipment) -> str:
    """Name the first rule that keeps a parcel's status from being shown; empty where it is shown."""
    order, policy, summary, shown = case.order, case.policy, parcel.summary, fulfilment.published
    word, since = policy.words.get(summary.status), summary.since
    if since is None or summary.status is S.UNKNOWN:
        return "nothing_known"
    if not fulfilment.live:
        return "fulfilment_cancelled"
    if shown is not None and shown.raw == word:
        return "in_step"
    if case.decided_by_people():
        return "human_wins"
    if not summary.confirmed and policy.wait_for_confirmation:
        return "waits_for_confirmation"
    if word is None:
        return "no_word"
    if shown is not None and shown.status is S.DELIVERED:
        return "never_back_from_delivered"
    if case.too_old(since):
        return "before_connected"
    if order.partial and (summary.status is S.DELIVERED or shown is None):  # what is shown may be what was not read
        return "partly_read"
    if shown is not None and shown.happened_at > since and not summary.status.terminal:
        return "shop_is_newer"
    return ""

"""The ledger: shop and carriers disagree, or they do not, whatever the policy wants."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.domain.test_reconcile import WORDS
from tests.domain.whole import EXAMPLES, T0, D, H, cases, order, parcel, policy
from tracker.config.presets import presets
from tracker.domain.drift import AGREED, Drift, compare
from tracker.domain.facts import Fulfilment, Item, Order, Parcel, Published, Shipment, Statement
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import DriftKind, OrderStatus, Owner, ShippingStatus, StatementKind, TrackingState

S, O, K, W = ShippingStatus, OrderStatus, DriftKind, StatementKind
EARLY = (O.AWAITING_CONFIRMATION, O.CONFIRMED, O.PROCESSING, O.READY_FOR_DISPATCH, O.ON_HOLD)
NO_CUSTODY = {S.UNKNOWN, S.PRE_TRANSIT, S.ON_HOLD, S.DELAYED, S.EXCEPTION, S.CANCELLED}
NEAR = {S.OUT_FOR_DELIVERY, S.DELIVERY_ATTEMPTED, S.AVAILABLE_FOR_PICKUP}
OUT_OF_LINE = {S.DELIVERY_FAILED, S.RETURNING, S.LOST, S.DESTROYED}
# What agrees with each status of the shop, by meaning, where the shop has all our words and nothing writes finer ones.
AGREES: dict[O, set[S]] = {
    **dict.fromkeys(EARLY, NO_CUSTODY),
    O.PARTIALLY_SHIPPED: set(S),  # of more than one parcel
    O.SHIPPED: set(S) - {S.DELIVERED, S.RETURNED},
    O.IN_TRANSIT: set(S) - {S.DELIVERED, S.RETURNED},
    O.OUT_FOR_DELIVERY: NEAR | OUT_OF_LINE | {S.UNKNOWN},
    O.DELIVERY_FAILED: NEAR | OUT_OF_LINE | {S.UNKNOWN},
    O.DELIVERED: {S.DELIVERED, S.UNKNOWN},
    O.RETURNED: {S.RETURNED, S.DELIVERED, S.CANCELLED, S.UNKNOWN},
    O.CANCELLED: NO_CUSTODY | {S.RETURNED, S.LOST, S.DESTROYED},
    O.UNKNOWN: set(S),
}


def drifts(one: Order, parcels: list[Shipment], rules: Policy | None = None, now: datetime = T0 + D) -> list[Drift]:
    return list(compare(one, parcels, rules or policy("mirror"), now).drifts)


def kinds(*given: Any, **more: Any) -> list[K]:
    return [drift.kind for drift in drifts(*given, **more)]


def one(one: Order, parcels: list[Shipment], rules: Policy | None = None, now: datetime = T0 + D) -> Drift:
    (found,) = drifts(one, parcels, rules, now)
    return found


def said(kind: W, at: datetime, status: O | None = None) -> Statement:
    return Statement(kind, "looked at", "ann", at, status)


# meanings, over the whole space


@pytest.mark.parametrize("status", list(O))
def test_the_ledger_is_silent_exactly_where_the_statuses_agree_by_meaning(status: O) -> None:
    for told, preset, owner in itertools.product(S, presets(), Owner):
        rules = replace(policy(preset), writes={}, ahead_after=None)
        found = drifts(order(status, owner=owner), [parcel(told)], rules)

        assert (not found) is (told in AGREES[status]), (told, preset, found)
        for drift in found:
            assert (drift.shop, drift.carrier, drift.shop_said) == (status, told, str(status))
            assert (drift.kind is K.CANCELLED_BUT_MOVING) is (status is O.CANCELLED)


@given(cases())
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_the_ledger_is_pure_total_and_one_row_a_kind(case: tuple[Order, list[Shipment], Policy, datetime]) -> None:
    found = compare(*case)
    before, parcels, rules, now = case

    assert found == compare(*case)
    assert len({drift.kind for drift in found.drifts}) == len(found.drifts)
    assert found.look_again_at is None or found.look_again_at > now
    accepted = replace(before, statements=(said(W.ACCEPTED, T0 + 99 * D),))
    assert compare(accepted, parcels, rules, now).drifts == ()
    for later in (now + H, now + 30 * D):
        if found.look_again_at is None or later < found.look_again_at:
            assert compare(before, parcels, rules, later).drifts == found.drifts


@given(cases())
@settings(max_examples=EXAMPLES // 2, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_preset_wants_makes_no_difference(case: tuple[Order, list[Shipment], Policy, datetime]) -> None:
    before, parcels, rules, now = case
    same = {"words": rules.words, "says": rules.says, "writes": {}, "ahead_after": None, "ownership": rules.ownership}
    told = {compare(before, parcels, replace(policy(preset), **same), now).drifts for preset in presets()}

    assert len(told) == 1


@pytest.mark.parametrize("preset", ["mirror", "marketplace-guide", "kingston-courier", "kartrocket-autopilot"])
def test_delivered_over_a_picked_up_parcel_is_told_at_once_whatever_the_preset(preset: str) -> None:
    found = one(
        order(O.DELIVERED, actor="seller", before=((O.PROCESSING, "system"),)), [parcel(S.PICKED_UP)], policy(preset)
    )

    assert (found.kind, found.shop, found.carrier) == (K.SHOP_AHEAD, O.DELIVERED, S.PICKED_UP)
    assert (found.caused_by, found.since, found.wanted) == ("seller", T0, O.SHIPPED)


def says(*statuses: O) -> Policy:
    return replace(policy("mirror"), says=frozenset(statuses))


@pytest.mark.parametrize(
    ("words", "shop", "told", "wanted"),
    [
        # no word for Delivered: Shipped, its nearest earlier one, agrees
        ((O.PROCESSING, O.SHIPPED), O.SHIPPED, S.DELIVERED, None),
        ((O.PROCESSING, O.SHIPPED), O.PROCESSING, S.DELIVERED, O.SHIPPED),
        ((O.PROCESSING, O.SHIPPED, O.OUT_FOR_DELIVERY), O.SHIPPED, S.DELIVERED, O.OUT_FOR_DELIVERY),
        # none for Returned: nothing later than Shipped is meant, Delivered least of all
        ((O.PROCESSING, O.SHIPPED, O.DELIVERED), O.SHIPPED, S.RETURNED, None),
        ((O.PROCESSING, O.SHIPPED, O.RETURNED), O.SHIPPED, S.RETURNED, O.RETURNED),
        # none for Shipped
        ((O.PROCESSING, O.DELIVERED), O.PROCESSING, S.IN_TRANSIT, None),
        ((O.PROCESSING, O.DELIVERED), O.CONFIRMED, S.IN_TRANSIT, O.PROCESSING),
        ((), O.PROCESSING, S.DELIVERED, None),
    ],
)
def test_where_the_shop_has_no_word_its_nearest_earlier_one_agrees(
    words: tuple[O, ...], shop: O, told: S, wanted: O | None
) -> None:
    found = drifts(order(shop), [parcel(told)], says(*words))

    assert [drift.wanted for drift in found] == ([wanted] if wanted else [])
    assert all(drift.kind is K.SHOP_BEHIND for drift in found)


def test_finer_words_are_wanted_only_where_the_worker_writes_them() -> None:
    moving = [parcel(S.OUT_FOR_DELIVERY)]
    shipped = order(O.SHIPPED, owner=Owner.PLATFORM)

    assert one(shipped, moving, policy("kingston-dispatched")).wanted is O.OUT_FOR_DELIVERY
    assert drifts(shipped, moving, policy("kingston-courier")) == []
    assert drifts(order(O.SHIPPED, owner=Owner.COURIER), moving, policy("kingston-dispatched")) == []


# several parcels: all or nothing to be behind, one is enough to be ahead


def test_an_order_is_behind_only_when_every_piece_is_told_and_ahead_when_one_parcel_disproves_it() -> None:
    mixed = [parcel(S.DELIVERED), parcel(S.IN_TRANSIT, number="N2")]

    assert kinds(order(O.SHIPPED, numbers=("N1", "N2")), mixed) == []
    assert one(order(O.DELIVERED, numbers=("N1", "N2")), mixed).carrier is S.IN_TRANSIT
    assert one(order(O.PROCESSING, numbers=("N1", "N2")), mixed).wanted is O.SHIPPED


def test_a_part_in_custody_is_partially_shipped_where_the_shop_has_a_word_for_it() -> None:
    parcels = [parcel(S.PICKED_UP), parcel(S.PRE_TRANSIT, number="N2")]
    some = order(O.PROCESSING, numbers=("N1", "N2"))

    assert one(some, parcels).wanted is O.PARTIALLY_SHIPPED
    assert drifts(some, parcels, policy("kartrocket-autopilot"), T0 + H)[0].wanted is O.PARTIALLY_SHIPPED
    assert kinds(some, parcels, says(O.PROCESSING, O.SHIPPED)) == []
    assert kinds(order(O.ON_HOLD, numbers=("N1", "N2")), parcels) == []  # the rest of it is held


def test_pieces_that_are_not_shipped_yet_keep_an_order_from_being_behind() -> None:
    more = order(O.PARTIALLY_SHIPPED, items=(Item("a", 2),))
    more = replace(more, fulfilments=(Fulfilment("F1", "open", (Parcel("ups", "N1"),), (("a", 1),)),))

    assert kinds(more, [parcel(S.DELIVERED)]) == []
    assert one(replace(more, items=(Item("a", 2, removed=1),)), [parcel(S.DELIVERED)]).wanted is O.DELIVERED


def test_voided_labels_and_cancelled_fulfilments_say_nothing_unless_there_is_nothing_else() -> None:
    both = order(O.DELIVERED, numbers=("N1", "N2"))
    void = parcel(S.CANCELLED, number="N2")

    assert kinds(both, [parcel(S.DELIVERED), void]) == []
    assert kinds(order(O.DELIVERED, numbers=("N2",)), [void]) == [K.SHOP_AHEAD]
    cancelled = replace(both, fulfilments=(both.fulfilments[0], replace(both.fulfilments[1], live=False)))
    assert kinds(cancelled, [parcel(S.DELIVERED), parcel(S.IN_TRANSIT, number="N2")]) == []


# what nobody told is no difference


@pytest.mark.parametrize("state", list(TrackingState))
def test_a_parcel_of_which_nobody_who_was_asked_told_anything_disagrees_with_nobody(state: TrackingState) -> None:
    answered = (TrackingState.ACTIVE, TrackingState.NOT_FOUND, TrackingState.EXPIRED, TrackingState.FINAL)
    silent = replace(parcel(S.UNKNOWN), tracking=state)

    assert kinds(order(O.DELIVERED), [silent]) == ([K.SHOP_AHEAD] if state in answered else [])
    assert kinds(order(O.DELIVERED), [replace(silent, asked_until=None)]) == []


def test_an_order_that_was_read_in_part_is_not_behind_for_what_nobody_could_read() -> None:
    part = replace(order(O.PROCESSING), partial=True)
    assert kinds(part, [parcel(S.DELIVERED)]) == []
    assert kinds(replace(part, status=O.DELIVERED, raw_status="delivered"), [parcel(S.IN_TRANSIT)]) == [K.SHOP_AHEAD]
    bare = replace(shows(None), partial=True)
    rules = replace(policy("mirror"), words=WORDS)
    assert drifts(bare, [parcel(S.DELIVERED)], rules) == []
    assert drifts(replace(bare, partial=False), [parcel(S.DELIVERED)], rules) != []


def test_an_order_without_parcels_or_that_is_gone_disagrees_with_nobody() -> None:
    assert compare(order(O.DELIVERED), [], policy("mirror"), T0) is AGREED
    assert kinds(order(O.DELIVERED, gone="deleted"), [parcel(S.PICKED_UP)]) == []
    assert kinds(order(O.DELIVERED, fulfilments=()), [parcel(S.PICKED_UP)]) == []
    assert kinds(order(O.DELIVERED, test=True), [parcel(S.PICKED_UP)]) == []  # nobody waits for a test order


# a label


@pytest.mark.parametrize("status", [O.PARTIALLY_SHIPPED, O.SHIPPED, O.IN_TRANSIT])
def test_a_label_is_no_contradiction_of_shipped_before_its_time(status: O) -> None:
    labelled = parcel(S.PRE_TRANSIT)
    early = compare(order(status), [labelled], policy("mirror"), T0 + 7 * D - H)

    assert (early.drifts, early.look_again_at) == ((), T0 + 7 * D)
    assert kinds(order(status), [labelled], now=T0 + 7 * D) == [K.SHOP_AHEAD]
    handed = replace(order(status), statements=(said(W.HANDED_OVER, T0),))
    assert compare(handed, [labelled], policy("mirror"), T0 + 7 * D) is AGREED


def test_how_long_a_label_may_wait_is_the_merchants_own_measure() -> None:
    shipped, labelled = order(O.SHIPPED, owner=Owner.COURIER), parcel(S.PRE_TRANSIT)
    rules = policy("kingston-courier")  # ahead_after: 24h, from when the shop says Shipped
    since = shipped.history[-1].at

    assert kinds(shipped, [labelled], rules, since + D - H) == []
    assert kinds(shipped, [labelled], rules, since + D) == [K.SHOP_AHEAD]
    other = parcel(S.IN_TRANSIT, number="N2")  # one of two is on its way: the other waits as any label does
    both = order(O.SHIPPED, owner=Owner.COURIER, numbers=("N1", "N2"))
    assert kinds(both, [labelled, other], rules, since + 2 * D) == []
    assert one(both, [labelled, other], rules, T0 + 7 * D).parcel is labelled
    assert kinds(order(O.PARTIALLY_SHIPPED, numbers=("N1", "N2")), [labelled, other], rules, T0 + 7 * D) == []


# on the doorstep


@pytest.mark.parametrize("status", [O.OUT_FOR_DELIVERY, O.DELIVERY_FAILED])
def test_a_parcel_that_went_back_to_the_depot_is_daily_business(status: O) -> None:
    moving = [parcel(S.IN_TRANSIT)]

    assert kinds(order(status, actor="seller"), moving) == [K.SHOP_AHEAD]
    assert kinds(order(status, actor="trackwright"), moving) == []  # we wrote it: a scan said so
    assert kinds(order(status, actor="seller"), [parcel(S.IN_TRANSIT, neared=True)]) == []
    two = order(status, actor="seller", numbers=("N1", "N2"))
    assert kinds(two, [*moving, parcel(S.OUT_FOR_DELIVERY, number="N2")]) == []


# cancelled


def test_a_parcel_of_a_cancelled_order_is_told_since_both_were_so() -> None:
    cancelled = order(O.CANCELLED, actor="customer", cancelled_at=T0 + H)
    found = one(cancelled, [parcel(S.IN_TRANSIT)])

    assert (found.kind, found.since, found.caused_by) == (K.CANCELLED_BUT_MOVING, T0 + H, "customer")
    assert one(cancelled, [parcel(S.IN_TRANSIT, at=T0 + 5 * H)]).since == T0 + 5 * H
    assert one(order(O.CANCELLED), [parcel(S.DELIVERED)]).kind is K.CANCELLED_BUT_MOVING
    assert kinds(order(O.CANCELLED, cancelled_at=T0 + H), [parcel(S.DELIVERED)]) == []  # it arrived before
    two = [parcel(S.IN_TRANSIT), parcel(S.IN_TRANSIT, number="N2")]
    assert kinds(replace(cancelled, statements=(said(W.ACCEPTED, T0 + H),)), two) == []


# taken back


def test_a_delivered_that_was_taken_back_and_one_that_is_contradicted() -> None:
    delivered = order(O.DELIVERED)
    back = one(delivered, [parcel(S.OUT_FOR_DELIVERY, corrected=True)])
    against = one(delivered, [parcel(S.DELIVERED, disputed=True)])

    assert (back.kind, back.carrier, back.caused_by, back.wanted) == (K.WITHDRAWN, S.OUT_FOR_DELIVERY, "ups", O.SHIPPED)
    assert (against.kind, against.carrier, against.caused_by) == (K.CONTRADICTED, S.DELIVERED, "ups")
    assert one(order(O.SHIPPED), [parcel(S.DELIVERED, disputed=True)]).shop is O.SHIPPED
    assert kinds(order(O.SHIPPED), [parcel(S.OUT_FOR_DELIVERY, corrected=True)]) == []  # it was followed
    proved = replace(delivered, statements=(said(W.PROOF, T0),))
    assert kinds(proved, [parcel(S.DELIVERED, disputed=True)]) == []


# what people said


def test_a_proof_of_delivery_settles_it_unless_the_parcel_went_back_since() -> None:
    proved = order(O.DELIVERED, actor="seller", statements=(said(W.PROOF, T0),))

    assert kinds(proved, [parcel(S.OUT_FOR_DELIVERY, at=T0 + H)]) == []
    assert kinds(proved, [parcel(S.RETURNING, at=T0 + H)]) == [K.SHOP_AHEAD]
    assert kinds(proved, [parcel(S.RETURNING)]) == []
    older = replace(proved, statements=(said(W.PROOF, T0 - 2 * D),))  # of an earlier Delivered
    assert kinds(older, [parcel(S.OUT_FOR_DELIVERY)]) == [K.SHOP_AHEAD]


def test_an_inspection_settles_a_return_and_a_correction_is_a_persons_word() -> None:
    moving = [parcel(S.IN_TRANSIT)]

    assert kinds(order(O.RETURNED), moving) == [K.SHOP_AHEAD]
    assert kinds(order(O.RETURNED, statements=(said(W.INSPECTED, T0),)), moving) == []
    corrected = order(O.DELIVERED, statements=(said(W.CORRECTION, T0, O.DELIVERED),))
    assert kinds(corrected, moving) == []
    assert kinds(corrected, [parcel(S.IN_TRANSIT, at=T0 + H)]) == [K.SHOP_AHEAD]
    assert kinds(replace(corrected, statements=(said(W.CORRECTION, T0, O.SHIPPED),)), moving) == [K.SHOP_AHEAD]


def test_an_accepted_difference_comes_back_with_news() -> None:
    accepted = order(O.PROCESSING, statements=(said(W.ACCEPTED, T0),))

    assert kinds(accepted, [parcel(S.IN_TRANSIT)]) == []
    assert kinds(accepted, [parcel(S.DELIVERED, at=T0 + H)]) == [K.SHOP_BEHIND]
    label = replace(accepted, status=O.SHIPPED, statements=(said(W.ACCEPTED, T0 - D + H),))
    assert kinds(label, [parcel(S.PRE_TRANSIT)], now=T0 + 8 * D) == [K.SHOP_AHEAD]


# a shop that shows shipping statuses

SHOWS = replace(policy("mirror"), words=WORDS, says=frozenset({O.CONFIRMED, O.PARTIALLY_SHIPPED, O.SHIPPED}))
STAGES = {
    "label": {S.PRE_TRANSIT, S.CANCELLED},
    "moving": {S.PICKED_UP, S.IN_TRANSIT, S.ON_HOLD, S.DELAYED, S.EXCEPTION},
    "near": NEAR,
    "arrived": {S.DELIVERED},
    "back": OUT_OF_LINE | {S.RETURNED},
}


def shows(status: S | None, at: datetime = T0, raw: str | None = None) -> Order:
    shown = None
    if status is not None or raw is not None:
        shown = Published(status, raw or WORDS.get(status or S.UNKNOWN, "OTHER"), at)
    fulfilment = Fulfilment("F1", "SUCCESS", (Parcel("ups", "N1"),), published=shown)
    return order(O.SHIPPED, fulfilments=(fulfilment,), actor="unknown")


def stage(status: S) -> str:
    return next(name for name, among in STAGES.items() if status in among)


def test_shown_statuses_are_compared_by_how_far_they_say_a_parcel_is() -> None:
    known = set(S) - {S.UNKNOWN}
    for shown, told, later in itertools.product(known & set(WORDS), known, (T0 - H, T0 + H)):
        found = drifts(shows(shown, later), [parcel(told, custody_at=T0)], SHOWS)
        expected = stage(shown) != stage(told) and WORDS.get(told) != WORDS.get(shown)
        if told is S.DESTROYED and shown is not S.DELIVERED:
            expected = False  # no word for it
        assert bool(found) is expected, (shown, told, found)
        for drift in found:
            order_of = ["label", "moving", "near", "arrived"]
            newer = later >= T0 or shown is S.DELIVERED
            if stage(told) == "back":
                ahead = shown is S.DELIVERED
            elif stage(shown) == "back":
                ahead = newer
            else:
                ahead = order_of.index(stage(shown)) > order_of.index(stage(told)) and newer
            assert drift.kind is (K.SHOP_AHEAD if ahead else K.SHOP_BEHIND), (shown, told, later)
            assert (drift.fulfilment, drift.shop_said) == ("F1", WORDS[shown])
            assert drift.since == max(later, T0)


def test_what_the_shop_does_not_show_is_what_its_order_says_until_the_parcel_has_ended() -> None:
    for told in set(S) - {S.UNKNOWN}:
        found = drifts(shows(None), [parcel(told)], SHOWS, T0 + H)
        assert [d.wanted for d in found] == ([told] if stage(told) in ("arrived", "back") and told in WORDS else [])
    assert one(shows(None), [parcel(S.DELIVERED)], SHOWS).shop is O.SHIPPED


def test_a_shown_word_that_nobody_knows_and_the_very_word_are_no_difference() -> None:
    assert kinds(shows(None, raw="CUSTOM"), [parcel(S.DELIVERED)], SHOWS) == []
    own = replace(SHOWS, words={**WORDS, S.DELIVERED: "LABEL"})
    assert kinds(shows(S.PRE_TRANSIT), [parcel(S.DELIVERED)], own) == []


def test_a_shown_delivered_that_was_taken_back_contradicted_proved_or_accepted() -> None:
    delivered = shows(S.DELIVERED)

    (found,) = drifts(delivered, [parcel(S.OUT_FOR_DELIVERY, corrected=True, at=T0 + H)], SHOWS)
    assert (found.kind, found.shop, found.shop_said, found.since) == (K.WITHDRAWN, O.DELIVERED, "DELIVERED", T0 + H)
    assert kinds(delivered, [parcel(S.DELIVERED, disputed=True)], SHOWS) == [K.CONTRADICTED]
    moving = [parcel(S.IN_TRANSIT)]
    (found,) = drifts(delivered, moving, SHOWS)
    assert (found.kind, found.shop, found.caused_by) == (K.SHOP_AHEAD, O.DELIVERED, "unknown")
    for word in (W.PROOF, W.ACCEPTED):
        assert kinds(replace(delivered, statements=(said(word, T0),)), moving, SHOWS) == []
    assert kinds(replace(shows(None), statements=(said(W.ACCEPTED, T0),)), [parcel(S.LOST)], SHOWS) == []


def test_where_the_shop_can_show_no_later_status_the_last_it_can_agrees() -> None:
    few = replace(SHOWS, words={S.IN_TRANSIT: "MOVING"})

    assert kinds(shows(S.IN_TRANSIT), [parcel(S.DELIVERED)], few) == []
    assert kinds(shows(S.PRE_TRANSIT), [parcel(S.DELIVERED)], few) == [K.SHOP_BEHIND]
    assert kinds(shows(S.IN_TRANSIT), [parcel(S.LOST)], few) == []
    assert kinds(shows(S.PRE_TRANSIT), [parcel(S.OUT_FOR_DELIVERY)], replace(SHOWS, words={S.DELIVERED: "D"})) == []

"""Every rule that the code can name has one sentence; the answer about any order is whole sentences that claim nothing unknown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.whole import T0, D, H, O, P, S, cases, order, parcel, policy
from tracker.cli.queues import STATES
from tracker.domain import errors, gates
from tracker.domain.answer import Look, Standing, Subject, Write, answer, quoted, rules, where
from tracker.domain.drift import compare
from tracker.domain.errors import SourceError
from tracker.domain.facts import Action, Edd, Fulfilment, Order, Parcel, Published, Shipment, Statement
from tracker.domain.policy import Policy
from tracker.domain.reconcile import reconcile
from tracker.domain.sentences import SENTENCES, WAITS, Fields, estimated, key_of, say, waits
from tracker.domain.vocabulary import (
    DriftKind,
    FindingKind,
    NoticeClass,
    Reason,
    StatementKind,
    TrackingState,
)

DOMAIN = Path(gates.__file__).parent
TOLD = Fields("#1", "shipped", "in transit", T0, "delivered", "more of it")
SNAKE = re.compile(r"\w_\w")
NAMES = re.compile(r"[a-z]+(_[a-z]+)*")


class Named(ast.NodeVisitor):
    """The names that rules get in a module: what a part of a decision yields or returns as text, what a gate or a goal says."""

    def __init__(self, module: ast.Module) -> None:
        self.names: set[str] = set()
        self.constants = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.visit(module)

    def said(self, node: ast.expr | None, before: str = "") -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            self.names.add(before + node.value)
        elif isinstance(node, ast.Name) and node.id in self.constants:
            self.said(self.constants[node.id], before)
        elif isinstance(node, ast.JoinedStr):
            first = node.values[0]
            self.said(first.value if isinstance(first, ast.FormattedValue) else first, before)
        elif isinstance(node, ast.IfExp):
            self.said(node.body, before)
            self.said(node.orelse, before)
        elif isinstance(node, ast.BoolOp):
            for one in node.values:
                self.said(one, before)
        elif isinstance(node, ast.Tuple) and node.elts:
            self.said(node.elts[0], before)

    def visit_Yield(self, node: ast.Yield) -> None:
        self.said(node.value)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        self.said(node.value)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id == "rule" for target in node.targets):
            self.said(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called in ("Goal", "Gate"):
            self.said(node.args[1])
        elif called == "no" and not isinstance(node.args[0], ast.Starred):
            self.said(node.args[0])
        elif called == "_set":
            self.said(node.args[2], "write:")
        self.generic_visit(node)


def named() -> Iterator[tuple[str, str]]:
    """Give each name that the code gives a rule, and the module that does."""
    modules = [
        DOMAIN / "gates.py",
        *(DOMAIN / "reconcile" / f"{n}.py" for n in ("entry", "goal", "order_status", "shown")),
    ]
    for file in modules:
        for name in Named(ast.parse(file.read_text())).names:
            if NAMES.fullmatch(name.rstrip(":_").replace(":", "")):
                yield name.rstrip(":"), file.stem


# of a goal: by which news it is reached, which `write:carrier` says; of remedies and actions: words that are no rules
NO_RULES = {
    "delivered",
    "handed_over",
    "partly_handed_over",
    "refund",
    "resend",
    "write",
    "gate",
    "field",
    "tag",
    "order_status",
}


def test_each_rule_that_the_code_can_name_has_its_sentence() -> None:
    found = {name: module for name, module in named() if name not in NO_RULES}

    assert len(found) > 55
    assert {
        "unknown_owner",
        "transition_not_named",
        "write:restore",
        "shop_is_newer",
        "cancel_open",
        "mixed_ends",
    } <= set(found)
    keys = {key_of(name + ("shipped" if name.endswith("at_") else ""))[0] for name in found}
    assert {
        name: module for name, module in found.items() if key_of(name)[0] not in SENTENCES and not name.endswith("at_")
    } == {}
    wanted = (
        keys
        | {"owner", "field", "tag"}
        | {f"drift:{k}" for k in DriftKind}
        | {f"outbox:{s}" for s in (*STATES, "restored")}
    )
    assert set(SENTENCES) - wanted == set()  # none of what is no rule any more
    assert wanted - set(SENTENCES) == set()


@pytest.mark.parametrize(
    "rule", [*SENTENCES, *(f"finding:{kind}" for kind in FindingKind), "no_longer_there:x", "finding:gone_kind"]
)
def test_a_sentence_names_the_order_both_statuses_and_a_time_in_plain_words(rule: str) -> None:
    said = say(rule, TOLD)

    assert all(word in said for word in ("#1", "shipped", "in transit", "2026-11-02 08:00Z")), said
    assert not SNAKE.search(said), said
    assert said.endswith(".")
    empty = say(rule, Fields("#1"))
    assert "None" not in empty
    assert "{" not in empty
    assert "  " not in empty
    assert not SNAKE.search(empty), empty


def test_what_a_rule_says_beside_its_name_stands_in_its_sentence() -> None:
    none = Fields("#1", "shipped", "lost", T0)
    assert "when its parcel is out for delivery" in say("no_meaning:out_for_delivery", none)
    assert "no order status for partially shipped" in say("status_not_expressible:partially_shipped", none)
    assert 'the rule "told by shop"' in say("owner:told_by_shop", none)
    assert "has come to ready for dispatch" in say("gate:cancel_closed_at_ready_for_dispatch", none)
    assert "A person (ann)" in say("write:correction:ann", none)
    assert "the money before the next status" in say("gate:not_paid", none)
    assert "of another version (of tomorrow)" in say("of_tomorrow", none)


def subject(one: Order, parcels: list[Shipment], rules_: Policy, now: datetime, **more: object) -> Subject:
    connected = more.get("connected_at")
    decision = reconcile(one, parcels, rules_, now, connected_at=connected if isinstance(connected, datetime) else None)
    return Subject(one, parcels, rules_, decision, compare(one, parcels, rules_, now), Standing(now=now, **more))  # type: ignore[arg-type]


def unquoted(sentence: str) -> str:
    """Return it without what others wrote and what is to be typed."""
    return re.sub(r'"[^"]*"|`[^`]*`', "X", sentence)


def whole(sentences: tuple[str, ...]) -> tuple[str, ...]:
    for said in sentences:
        assert said.endswith("."), said
        assert not SNAKE.search(unquoted(said)), said
        for gap in ("None", "  ", "{", "}", " .", " ,", "()", '""'):
            assert gap not in unquoted(said), (gap, said)
    return sentences


@settings(max_examples=150)
@given(
    case=cases(), past=st.booleans(), mode=st.sampled_from(["write", "observe"]), state=st.sampled_from([None, *STATES])
)
def test_any_order_is_answered_in_whole_sentences(
    case: tuple[Order, list[Shipment], Policy, datetime], past: bool, mode: str, state: str | None
) -> None:
    one, parcels, rules_, now = case
    bare = subject(one, parcels, rules_, now)
    writes = [Write(action, state, now) for action in bare.decision.actions] if state is not None else []
    asked = subject(one, parcels, rules_, now, mode=mode, past=past, writes=writes)
    said = whole(answer(asked))

    assert one.number in said[0]
    assert any(word in said[0] for word in ("says", "said"))
    assert where(asked) == said[: len(where(asked))]
    told = rules(asked)
    whole(tuple(sentence for _, sentence in told))
    assert {rule for rule, _ in told} >= {*asked.decision.because, *(d.kind for d in asked.compared.drifts)}
    assert not any("another version" in sentence for _, sentence in told)


RULES = policy("kingston-courier")


def said(*parcels: Shipment, one: Order | None = None, rules_: Policy = RULES, **more: object) -> str:
    return "\n".join(whole(answer(subject(one or order(), list(parcels), rules_, T0 + D, **more))))


def test_the_shop_is_told_with_its_own_word_since_when_and_by_whom() -> None:
    assert 'is processing since 2026-11-01 08:00Z, set by "robot"; its payment is paid.' in said(
        one=replace(order(), status_at=T0 - D, actor="robot")
    )
    assert 'is "Wrapped", a word that we cannot translate, as we have seen since' in said(
        one=replace(order(O.UNKNOWN), raw_status="Wrapped")
    )
    assert "its payment is not known" in said(one=order(payment=P.UNKNOWN))
    assert "said that order #1 was processing" in said(past=True)
    gone = said(parcel(S.IN_TRANSIT), one=order(gone="not_found"), gone_at=T0)
    assert "no more since 2026-11-02 08:00Z: it was looked for twice" in gone
    assert "do not contradict" not in gone
    assert "A part of order #1 could not be read" in said(one=order(partial=True))
    assert quoted('a"\n\x00' * 200).count('"') == 2
    assert quoted(" \n") == "nothing"


def test_what_a_carrier_told_is_told_with_how_old_it_is_and_never_as_fine() -> None:
    asked = {("ups", "N1", 1): Look("ups", T0 + H, T0 + 2 * D, first_promise=Edd(T0, T0 + D))}
    moving = parcel(S.IN_TRANSIT, reason=Reason.MOVING, edd=Edd(T0 + 2 * D, T0 + 4 * D), confirmed=False, disputed=True)
    told = said(replace(moving, slow=True), looks=asked)
    assert (
        "is in transit (moving) since 2026-11-02 08:00Z; no news since 2026-11-02 08:00Z (asked 2026-11-02 09:00Z), and its carrier"
        in told
    )
    assert "arrives from 2026-11-04 to 2026-11-06 (at first on 2026-11-02)." in told
    assert "is not confirmed yet" in told
    assert "speaks against where" in told
    assert "ups is asked about it again at 2026-11-04 08:00Z." in told
    assert "on 2026-11-01, which has passed" in said(parcel(S.IN_TRANSIT, edd=Edd(T0 - D, T0)))
    midnight = T0.replace(hour=0, minute=0)
    today = Edd(midnight, midnight + D)  # it is not over where the parcel goes until hours after it is over in London
    assert "arrives on 2026-11-02." in said(parcel(S.IN_TRANSIT, edd=today))
    assert "on 2026-11-01, which has passed" in said(parcel(S.IN_TRANSIT, edd=Edd(midnight - D, midnight)))
    assert "from 2026-11-03 to 2026-11-05." in said(parcel(S.IN_TRANSIT, edd=Edd(midnight + D, midnight + 4 * D)))
    assert estimated(midnight, midnight + D) == "2026-11-02"
    assert estimated(midnight, midnight + 3 * D) == "2026-11-02 to 2026-11-04"
    assert estimated(T0, T0 + H) == "2026-11-02 08:00Z to 2026-11-02 09:00Z"
    assert estimated(T0, T0) == "2026-11-02 08:00Z"
    assert "was delivered at 2026-11-02 07:00Z, and took that back" in said(parcel(S.IN_TRANSIT, corrected=True))
    delivered = said(parcel(S.DELIVERED, reason=Reason.DELIVERED, edd=Edd(T0, T0)))
    assert "is delivered since" in delivered
    assert "no news" not in delivered
    assert "estimated" not in delivered
    nothing = parcel(S.UNKNOWN)
    assert "not asked yet" in said(nothing)
    assert "nobody has asked about it" in said(replace(nothing, asked_until=None))
    active = replace(nothing, tracking=TrackingState.ACTIVE)
    assert "it knows the number and has no scan that moves it, asked 2026-11-02 09:00Z" in said(active, looks=asked)
    unidentified = said(replace(nothing, carrier="unidentified:s/R1"))
    assert "Whose number N1 is nobody knows yet" in unidentified
    assert "unidentified" not in unidentified
    many = said(*(parcel(S.IN_TRANSIT, number=f"N{n}") for n in range(8)))
    assert "It has 3 more parcels; `tracker show` lists each." in many
    unread = replace(order(numbers=()), fulfilments=(Fulfilment("F", "open", unreadable=('see "mail"\x07',)),))
    assert "no carrier can tell anything of it: what stands there is" in said(one=unread)


def test_what_became_of_writes_is_told_with_what_holds_them() -> None:
    ready = order(O.SHIPPED, before=((O.PROCESSING, "system"), (O.SHIPPED, "seller")))
    rules_ = policy("kingston-dispatched")
    case = subject(order(), [parcel(S.PICKED_UP)], policy("kartrocket-autopilot"), T0 + D)
    write = next(a for a in case.decision.actions if a.kind == "order_status")
    auto = policy("kartrocket-autopilot")

    def of(state: str, **more: object) -> str:
        return said(
            parcel(S.PICKED_UP), rules_=auto, writes=[Write(write, state, T0, str(more.pop("why", "")))], **more
        )

    assert "We will write shipped to order #1, wanted since 2026-11-02 08:00Z (it waits for its turn)" in of("pending")
    assert "(its store is paused since 2026-11-02 07:00Z)" in of("pending", paused_at=T0 - H)
    assert "`tracker resume s` lets them go on" in of("pending", paused_at=T0 - H)
    assert '(it said "no such status")' in of("refused", why="no such status")
    assert "was given up at 2026-11-02 08:00Z (no more is known)" in of("dead")
    assert "suddenly tells far more ends than usual" in of("held")
    assert "(it was decided just now)" in said(parcel(S.PICKED_UP), rules_=auto)
    assert "but its store is only observed" in said(parcel(S.PICKED_UP), rules_=auto, mode="observe")
    assert "`mode: write` in its configuration" in said(parcel(S.PICKED_UP), rules_=auto, mode="observe")
    assert "We wrote shipped to order #1" in of("sent")
    assert "Order #1 (" not in said(one=ready, rules_=rules_)
    kinds = {
        "notice": replace(write, kind="notice", notice=NoticeClass.OUT_FOR_DELIVERY),
        "order_note": replace(write, kind="order_note"),
        "number": replace(write, kind="number", parcels=(Parcel("ups", "A"), Parcel("ups", "B"))),
        "field": replace(write, kind="field", target=None, status=S.IN_TRANSIT, field="shipping"),
        "tag": replace(write, kind="tag", target=None, status=S.IN_TRANSIT, before=None),
        "event": replace(write, kind="fulfilment_event", target=None, status=S.IN_TRANSIT, before=None),
    }
    words = [
        "the notice out for delivery",
        "a note",
        "the number B in the place of A",
        'in transit in the field "shipping"',
        "in transit as a tag",
        "the shipping status in transit",
    ]
    for action, word in zip(kinds.values(), words, strict=True):
        told = said(
            one=replace(order(), status=O.ON_HOLD), writes=[Write(replace(action, key=action.kind), "pending", T0)]
        )
        assert f"We will write {word} to order #1" in told


def test_a_restore_is_told_as_one_with_what_the_carrier_said_then() -> None:
    case = subject(order(), [parcel(S.PICKED_UP)], policy("kartrocket-autopilot"), T0 + D)
    write = next(a for a in case.decision.actions if a.kind == "order_status")
    back = replace(write, status=S.UNKNOWN, before=O.DELIVERED, rules=("restore",))

    def of(*parcels: Shipment, at: datetime = T0, action: Action = back) -> str:
        return said(*parcels, writes=[Write(action, "sent", at)])

    begins = "We set order #1 back to shipped at"
    assert f"{begins} 2026-11-03 08:00Z: the shop said delivered" in of(parcel(S.PICKED_UP), at=T0 + D)
    assert "set by somebody who may not, and the carrier picked up." in of(parcel(S.PICKED_UP), at=T0 + D)
    assert "and the carrier less than now." in of(parcel(S.PICKED_UP), at=T0 - 30 * D)
    assert "and the carrier nothing yet." in of()
    assert "We wrote" in of(action=replace(back, before=None)) and begins not in of(action=replace(back, rules=()))


def test_what_else_a_person_must_look_at_is_told_once() -> None:
    stood = said(parcel(S.PICKED_UP, at=T0 - 60 * D), one=replace(order(), status=O.CANCELLED))
    assert stood.count("is cancelled in the shop while a carrier has") == 1
    assert "The order is cancelled and a parcel of it is in custody" not in stood


def test_why_a_write_waits_is_told_without_the_name_of_an_error() -> None:
    def under(error: type[Exception]) -> set[str]:
        return {error.__name__}.union(*(under(one) for one in error.__subclasses__()))

    ours = {name for name in under(SourceError) if hasattr(errors, name)}
    assert ours == set(WAITS)
    assert not any(SNAKE.search(said) for said in WAITS.values())
    assert waits("Unavailable: HTTP 503") == "the shop is away"
    assert (waits("KeyError"), waits("write budget")) == ("an error of ours", "write budget")


def test_why_nothing_is_written_is_told_by_the_rule_that_kept_it() -> None:
    assert "Order #1 is on hold, which people decide, so we write nothing" in said(
        parcel(S.DELIVERED), one=order(O.ON_HOLD)
    )
    assert "Order #1 is disputed, which people decide" in said(parcel(S.DELIVERED), one=order(payment=P.DISPUTED))
    plain_ = replace(RULES, means={}, words={}, checks=frozenset())
    assert "writes nothing to order #1 and shows nothing of it" in said(parcel(S.DELIVERED), rules_=plain_)
    shows = replace(policy("mirror"), words={S.DELIVERED: "DELIVERED", S.IN_TRANSIT: "MOVING"})
    newer = Published(S.OUT_FOR_DELIVERY, "OFD", T0 + H)
    shown = replace(order(O.SHIPPED), fulfilments=(Fulfilment("F", "open", (Parcel("ups", "N1"),), published=newer),))
    told = said(parcel(S.IN_TRANSIT), one=shown, rules_=shows)
    assert (
        "newer than what the carrier says, so it stays; the shop says out for delivery, the carrier in transit" in told
    )
    strange = replace(shown, fulfilments=(replace(shown.fulfilments[0], published=Published(None, "Odd", T0 + H)),))
    assert "the shop says a word of its own" in said(parcel(S.IN_TRANSIT), one=strange, rules_=shows)
    quiet = replace(shows, means={})
    assert "what its parcels say, so there is nothing to write" in said(
        parcel(S.OUT_FOR_DELIVERY), one=shown, rules_=replace(quiet, words={S.OUT_FOR_DELIVERY: "OFD"})
    )


def test_what_people_said_and_what_is_not_known_is_told() -> None:
    accepted = Statement(StatementKind.ACCEPTED, "fine", "ann", T0)
    told = said(
        parcel(S.IN_TRANSIT), one=order(O.DELIVERED, statements=(accepted,)), unknown=("whether the shop answers",)
    )
    assert 'A person ("ann") took a difference of order #1 as it stands, at 2026-11-02 08:00Z.' in told
    assert "Not known: whether the shop answers." in told
    assert "do not contradict" not in told
    assert "Beside that, shop and carrier do not contradict each other about order #1" in said(
        parcel(S.IN_TRANSIT), one=order(O.SHIPPED, statements=(accepted,)), read_at=T0
    )
    assert "do not contradict each other about order #1, by what is known as of 2026-11-02 09:00Z." in said(
        parcel(S.IN_TRANSIT), one=order(O.SHIPPED), read_at=T0 + H
    )
    assert "by what was known then" in said(parcel(S.IN_TRANSIT), one=order(O.SHIPPED), past=True)
    assert "Come and see." in said(changes=("Come and see.",))


def test_each_rule_that_fired_is_told_with_its_name_and_of_its_own_parcel() -> None:
    ahead = order(O.DELIVERED, numbers=("N1", "N2"))
    told = dict(rules(subject(ahead, [parcel(S.IN_TRANSIT), parcel(S.DELIVERED, number="N2")], RULES, T0 + 9 * D)))

    assert "the carrier in transit" in told["stuck"]
    assert told["shop_ahead"].startswith("The shop says more of order #1 than its carrier, since ")
    assert "already stands further" in told["no_step_back"]

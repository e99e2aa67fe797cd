"""The answer about one order in sentences: what shop and carriers say, what we did or did not do and why, what would change it.

Pure; it never claims more than is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tracker.domain.drift import Compared
from tracker.domain.facts import UNIDENTIFIED, Action, Decision, Edd, Finding, Order, Shipment
from tracker.domain.gates import HELD, MONEY_BACK
from tracker.domain.performance import WEST, whole_day
from tracker.domain.policy import Policy
from tracker.domain.reconcile import US, aggregate, began
from tracker.domain.reconcile.case import Case
from tracker.domain.reconcile.goal import goal_of
from tracker.domain.sentences import Fields, key_of, minute, say, spoken, waits
from tracker.domain.texts import COMMAND, named, printable
from tracker.domain.vocabulary import OrderStatus, Reason, ShippingStatus, StatementKind, TrackingState

S = ShippingStatus
MOST_PARCELS = 5
MOST_TEXT = 120  # characters of what others wrote that a sentence holds
# rules that say who decides, or of one scan, and not what came of it
_ASIDE = frozenset({"owner", "unmapped_scan_moves_nothing", "unsure_scan_moves_nothing"})
_QUIET = frozenset(
    {"in_step", "no_tracked_parcel", "nothing_known", "no_word"}
)  # told of what is shown only where it is all there is
_BY = {
    US: "set by us", "system": "set by the shop itself", "unknown": "by whom it does not tell", "seller": "set by the seller",
    "admin": "set by its staff", "customer": "set by the customer",
}  # fmt: skip
_GONE = {
    "deleted": "it was deleted there", "not_found": "it was looked for twice and is not there",
    "out_of_sight": "it is older than the shop lets us read",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Write:
    """A write to the shop as it stands: `state` as in the outbox, `at` when that began, `why` what was said of it."""

    action: Action
    state: str
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of asking about a parcel: by whom, when last and next; why nobody does."""

    account: str = ""
    asked_at: datetime | None = None
    next_at: datetime | None = None
    said: str = ""
    first_promise: Edd | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands around an order: of which moment, under which mode, what holds its writes, and what is not known.

    `news_from`: a notice of what happened before is told to nobody any more. `changes`: what would change it, each a whole sentence. `looks`: by carrier, number and generation.
    """

    now: datetime
    mode: str = "write"
    past: bool = False
    read_at: datetime | None = None
    gone_at: datetime | None = None
    connected_at: datetime | None = None
    paused_at: datetime | None = None
    news_from: datetime | None = None
    writes: Sequence[Write] = ()
    unknown: Sequence[str] = ()
    changes: Sequence[str] = ()
    looks: Mapping[tuple[str, str, int], Look] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """An order with all that is decided of it."""

    order: Order
    shipments: Sequence[Shipment]
    policy: Policy
    decision: Decision
    compared: Compared
    standing: Standing

    def fields(self, part: str = "", parcel: Shipment | None = None) -> Fields:
        """Return what the sentence of a rule is filled with: of the order, of one fulfilment of it, or of a parcel."""
        shipments = self.shipments if parcel is None else [parcel]
        return fields_of(self.order, shipments, part=part, to=self.goal())

    def rule(self, rule: str) -> str:
        """Return the sentence of a rule that stands in the decision."""
        return say(rule, self.fields(rule.partition(":")[2]))

    def goal(self) -> str:
        """Return what the parcels make of the order, as people say it; empty where they make nothing of it."""
        case = Case.of(self.order, self.shipments, self.policy, self.standing.now, self.standing.connected_at)
        status = goal_of(case).status
        return spoken(status) if status is not None else ""


def fields_of(order: Order, shipments: Sequence[Shipment], *, part: str = "", to: str = "") -> Fields:
    """Return what a sentence about an order is filled with; `part`: the ref of a fulfilment that speaks for itself."""
    of = next((f for f in order.fulfilments if part and f.ref == part), None)
    mine = shipments if of is None else [s for s in shipments if s.number in {p.number for p in of.parcels}]
    told, shop, since = aggregate(mine), spoken(order.status), began(order)
    if of is not None and of.published is not None:
        shop = spoken(of.published.status) if of.published.status else "a word of its own"
    decided = _decided(order)
    if told is None or told.summary.since is None:
        return Fields(order.number, shop, "", since, to, decided=decided)
    return Fields(order.number, shop, spoken(told.summary.status), max(since, told.summary.since), to, decided=decided)


def _decided(order: Order) -> str:
    """Return what people decided about an order: it is on hold or cancelled, or its money goes back."""
    if order.status in HELD:
        return spoken(order.status)
    return spoken(order.payment) if order.payment in MONEY_BACK else ""


def where(subject: Subject) -> tuple[str, ...]:
    """Return where an order is, a sentence each: what the shop says, what the carriers say, whether they agree."""
    return _once(_shop(subject), _carriers(subject), _agreement(subject))


def answer(subject: Subject) -> tuple[str, ...]:
    """Return the whole answer, a sentence each: where the order is, what we did or did not do and why, what would change it."""
    return _once(where(subject), _to_look_at(subject), _done(subject), _changes(subject))


def _once(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentence for part in parts for sentence in part))


def rules(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Return each rule that fired with its sentence: of the decision, of how both sides differ, of what a person must look at."""
    told = [(rule, subject.rule(rule)) for rule in subject.decision.because]
    for one in subject.compared.drifts:
        told.append((str(one.kind), _drift(subject, one.kind, one.shop, one.carrier, one.since)))
    for found in subject.decision.findings:
        told.append((str(found.kind), _finding(subject, found)))
    return tuple(dict.fromkeys(told))


def _drift(subject: Subject, kind: str, shop: OrderStatus, carrier: ShippingStatus, since: datetime) -> str:
    return say(f"drift:{kind}", Fields(subject.order.number, spoken(shop), spoken(carrier), since))


# what the shop says


def _shop(subject: Subject) -> Iterator[str]:
    order, standing = subject.order, subject.standing
    since = (
        f"since {minute(order.status_at)}"
        if order.status_at is not None
        else f"as we have seen since {minute(began(order))}"
    )
    by = _BY.get(order.actor) or f"set by {quoted(order.actor)}"
    said, was = ("said", "was") if standing.past else ("says", "is")
    word = f"{was} {spoken(order.status)}"
    if order.status is OrderStatus.UNKNOWN:
        word = f"{was} {quoted(order.raw_status)}, a word that we cannot translate,"
    elif order.raw_status.casefold() != order.status:
        word += f" ({quoted(order.raw_status)})"
    yield f"The shop ({order.store}) {said} that order {order.number} {word} {since}, {by}; its payment {was} {_payment(order)}."
    if order.gone:
        yield f"The shop holds order {order.number} no more since {minute(standing.gone_at)}: {_GONE.get(order.gone, spoken(order.gone))}."
    if order.partial:
        yield f"A part of order {order.number} could not be read, so nothing is said of the whole of it; `tracker inbox --partly` tells what."


def _payment(order: Order) -> str:
    return "not known" if order.payment == "unknown" else spoken(order.payment)


def quoted(text: str) -> str:
    """Return what others wrote, in quotes: printable, no quote or command of its own, bounded; so that nobody takes it for our words."""
    shown = printable(text, but='"' + COMMAND)
    return f'"{shown[:MOST_TEXT].strip()}"' if shown.strip() else "nothing"


# what the carriers say


def _carriers(subject: Subject) -> Iterator[str]:
    order, shipments = subject.order, subject.shipments
    if not shipments:
        unread = [text for f in order.fulfilments if f.live for text in f.unreadable]
        named = f": what stands there is {quoted(unread[0])}" if unread else ""
        yield f"Order {order.number} has no parcel with a tracking number, so no carrier can tell anything of it{named}."
    for parcel in shipments[:MOST_PARCELS]:
        look = subject.standing.looks.get((parcel.carrier, parcel.number, parcel.generation), Look())
        yield from _parcel(parcel, look, subject.standing)
    if len(shipments) > MOST_PARCELS:
        yield f"It has {len(shipments) - MOST_PARCELS} more parcels; `tracker show` lists each."


def _parcel(parcel: Shipment, look: Look, standing: Standing) -> Iterator[str]:
    summary = parcel.summary
    unknown = parcel.carrier.startswith(UNIDENTIFIED)
    who = f"{parcel.carrier} {parcel.number}"
    if unknown:
        who = f"the parcel {parcel.number}"
        yield f"Whose number {parcel.number} is nobody knows yet: no carrier has told of it."
    if summary.since is None:
        if not unknown:
            yield f"The carrier has told nothing of {who} that says where it is: {_why_silent(parcel, look)}."
    else:
        reason = (
            f" ({spoken(summary.reason)})"
            if summary.reason is not None and not _same(summary.reason, summary.status)
            else ""
        )
        place = f", last seen in {plain(str(summary.place))}" if str(summary.place) else ""
        says, stands = ("said", "was") if standing.past else ("says", "is")
        yield f"The carrier {says} that {who} {stands} {spoken(summary.status)}{reason} since {minute(summary.since)}{place}{_news(parcel, look)}."
    if not summary.confirmed:
        yield f"That of {who} was told by a message which anybody who knows a password can send, and is not confirmed yet."
    if summary.disputed:
        yield f"A later scan of {who} speaks against where the carrier says that it ended."
    if summary.taken_back is not None:
        back = summary.taken_back
        yield f"The carrier had told of {who} that it was {spoken(back.status)} at {minute(back.told_at)}, and took that back."
    yield from _estimate(parcel, look, who, standing)


def _same(reason: Reason, status: ShippingStatus) -> bool:
    return str(reason) == str(status)


def plain(text: str) -> str:
    """Return a short text of others as one line of printable characters."""
    return named(text)[:MOST_TEXT].strip()


def _why_silent(parcel: Shipment, look: Look) -> str:
    if parcel.asked_until is None:
        return "nobody has asked about it"
    asked = f", asked {minute(look.asked_at)}" if look.asked_at is not None else ""
    if parcel.tracking is TrackingState.ACTIVE:
        return f"it knows the number and has no scan that moves it{asked}"
    return f"{parcel.tracking.sentence[0].lower()}{parcel.tracking.sentence[1:].rstrip('.')}{asked}"


def _news(parcel: Shipment, look: Look) -> str:
    """Say how old the newest word is, while the journey goes on: never that all is well."""
    summary = parcel.summary
    if summary.status.terminal or summary.last_scan_at is None:
        return ""
    asked = f" (asked {minute(look.asked_at)})" if look.asked_at is not None else ""
    slow = ", and its carrier is slow just now" if parcel.slow else ""
    return f"; no news since {minute(summary.last_scan_at)}{asked}{slow}"


def _estimate(parcel: Shipment, look: Look, who: str, standing: Standing) -> Iterator[str]:
    if parcel.edd is None or parcel.summary.status.terminal:
        return
    first = look.first_promise
    before = f" (at first {day_of(first)})" if first is not None and first != parcel.edd else ""
    over = parcel.edd.ends + (WEST if whole_day(parcel.edd.begins, parcel.edd.ends) else timedelta())
    passed = ", which has passed" if over < standing.now else ""
    yield f"It is estimated that {who} arrives {day_of(parcel.edd)}{before}{passed}."


def day_of(edd: Edd) -> str:
    """Say an estimate: the day, or from which day to which."""
    begins, ends = edd.begins, edd.ends
    if ends - begins <= timedelta(days=1):
        return f"on {begins:%Y-%m-%d}"
    return f"from {begins:%Y-%m-%d} to {whole_day(begins, ends) or ends:%Y-%m-%d}"


# whether both agree


def _agreement(subject: Subject) -> Iterator[str]:
    order, standing = subject.order, subject.standing
    for one in subject.compared.drifts:
        yield _drift(subject, one.kind, one.shop, one.carrier, one.since)
    accepted = [s for s in order.statements if s.kind is StatementKind.ACCEPTED]
    if accepted:
        said = accepted[-1]
        yield f"A person ({quoted(said.by)}) took a difference of order {order.number} as it stands, at {minute(said.at)}."
    for unknown in standing.unknown:
        yield f"Not known: {unknown}."
    compared = subject.shipments and not (order.gone or order.test) and order.status is not OrderStatus.UNKNOWN
    told = any(p.summary.since is not None for p in subject.shipments)
    if compared and told and not subject.compared.drifts and not standing.unknown:
        by = "by what was known then" if standing.past else f"by what is known as of {minute(standing.read_at)}"
        begins = "Beside that, shop" if accepted else "Shop"
        yield f"{begins} and carrier do not contradict each other about order {order.number}, {by}."


def _to_look_at(subject: Subject) -> Iterator[str]:
    """Say what else a person must look at: what both sides' difference does not say already."""
    differs = {str(one.kind) for one in subject.compared.drifts}
    for found in subject.decision.findings:
        if str(found.kind) not in differs:
            yield _finding(subject, found)


def _finding(subject: Subject, found: Finding) -> str:
    there = next((p for p in subject.shipments if found.subject.endswith(f"/{p.carrier}/{p.number}")), None)
    return say(f"finding:{found.kind}", subject.fields(parcel=there))


# what we did, or did not do, and why


def _done(subject: Subject) -> Iterator[str]:
    decision, standing = subject.decision, subject.standing
    writes = {write.action.key: write for write in reversed(standing.writes)}  # the newest of a key
    last = next((w for w in standing.writes if w.state == "sent" and w.action.kind != "notice"), None)
    if last is not None:
        yield _write(subject, last)
    wanted = [action.key for action in decision.actions]
    open_ = [w for key, w in writes.items() if w.state in ("pending", "held") or (key in wanted and w.state != "sent")]
    for write in open_:
        yield _write(subject, write)
    for action in decision.actions:
        if action.key not in writes and action.kind == "notice" and _is_old(standing, action):
            at = minute(action.happened_at)
            yield f"{_what(action).capitalize()} of order {subject.order.number} is not told any more: what it tells happened at {at}."
        elif action.key not in writes:
            mode = "observed" if standing.mode == "observe" else "pending"
            yield _write(subject, Write(action, mode, standing.now, "it was decided just now"))
    if not wanted:
        yield from _why_not(subject)
        if last is None and not open_:
            yield f"We have written nothing to order {subject.order.number}."


def _is_old(standing: Standing, action: Action) -> bool:
    return standing.news_from is not None and action.happened_at <= standing.news_from


def _write(subject: Subject, write: Write) -> str:
    action, order = write.action, subject.order
    if action.kind == "notice" and write.state == "observed" and subject.standing.mode == "write":
        takes = "its store has neither a file (`notices:`) nor mails nor an endpoint that takes it"
        return (
            f"{_what(action).capitalize()} of order {order.number} is told to nobody since {minute(write.at)}: {takes}."
        )
    shop = spoken(action.before) if action.before is not None else "nothing of it"
    carrier = spoken(action.status) if action.status is not S.UNKNOWN else _carrier_then(subject, write.at)
    why = plain(waits(write.why))
    if write.state == "pending" and subject.standing.paused_at is not None:
        why = f"its store is paused since {minute(subject.standing.paused_at)}"
    if write.state == "refused":
        why = f"it said {quoted(write.why)}"
    if write.state == "sent" and "restore" in {key_of(rule)[0] for rule in action.rules} and action.before is not None:
        return say("outbox:restored", Fields(order.number, shop, carrier, write.at, _what(action)))
    detail = why or ("it waits for its turn" if write.state == "pending" else "")
    return say(f"outbox:{write.state}", Fields(order.number, shop, carrier, write.at, _what(action), detail))


def _carrier_then(subject: Subject, at: datetime) -> str:
    """Return what the carrier said at a moment, where it says the same since: a restore shows no status of its own."""
    told = aggregate(subject.shipments)
    if told is None or told.summary.since is None:
        return ""
    return spoken(told.summary.status) if told.summary.since <= at else "less than now"


def _what(action: Action) -> str:
    """Say in words what a write does."""
    if action.kind == "notice":
        return f"the notice {spoken(action.notice or '')}"
    if action.kind == "order_note":
        return "a note"
    if action.kind == "number":
        return f"the number {' in the place of '.join(p.number for p in reversed(action.parcels))}"
    if action.kind == "fulfilment_event":
        return f"the shipping status {spoken(action.target or action.status)}"
    where = {"field": f" in the field {quoted(action.field)}", "tag": " as a tag"}.get(action.kind, "")
    return f"{spoken(action.target or action.status)}{where}"


def _why_not(subject: Subject) -> Iterator[str]:
    """Say by which rules nothing is to be written: the last one of the order's status, and what keeps it from being shown."""
    told = [rule for rule in subject.decision.because if key_of(rule)[0] not in _ASIDE]
    begins = next(
        (i for i, rule in enumerate(subject.decision.because) if rule.startswith("owner:")),
        len(subject.decision.because),
    )
    status = [rule for rule in subject.decision.because[begins:] if rule in told][-1:]
    shown = [rule for rule in subject.decision.because[:begins] if rule in told]
    loud = [rule for rule in shown if key_of(rule)[0] not in _QUIET]
    named: dict[str, str] = {}
    for rule in [*status, *(loud if status or loud else shown)]:
        named.setdefault(key_of(rule)[0], rule)
    yield from (subject.rule(rule) for rule in named.values())
    if not told and not subject.decision.because:
        yield f"The policy {subject.policy.name} writes nothing to order {subject.order.number} and shows nothing of it."


# what would change it


def _changes(subject: Subject) -> Iterator[str]:
    standing, order = subject.standing, subject.order
    if standing.past:
        yield f"All this is as of {minute(standing.now)}, by what was known then."
        return
    if standing.mode == "observe":
        yield f"The store {order.store} is only observed: `mode: write` in its configuration would have us write."
    if standing.paused_at is not None:
        yield f"All writes to {order.store} are paused since {minute(standing.paused_at)}: `tracker resume {order.store}` lets them go on."
    yield from standing.changes
    looks = [(look.next_at, look.account) for look in standing.looks.values() if look.next_at is not None]
    if looks:
        at, account = min(looks)
        yield f"{account} is asked about it again at {minute(max(at, standing.now))}."
    for (carrier, number, _), look in standing.looks.items():
        if look.said:
            which = number if carrier.startswith(UNIDENTIFIED) else f"{carrier} {number}"
            yield f"Nobody is asked about {which} now: {look.said}."
    if subject.decision.look_again_at is not None:
        yield f"If nothing else happens, time alone changes what is to be done at {minute(subject.decision.look_again_at)}."
    if not looks and subject.decision.look_again_at is None:
        yield f"News of the shop or of a carrier, or what a person says of order {order.number}, would change it; nothing else does."

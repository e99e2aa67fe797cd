"""Whether a notice is still to be mailed, as all is known now; and in which language, in whose name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tracker.config.mail import MailPart, quiet_of
from tracker.config.model import Account
from tracker.domain import gates
from tracker.domain.facts import Action, Order
from tracker.domain.mails import LANGUAGES, MAILED, capital
from tracker.domain.notices import estimate
from tracker.domain.reconcile import reconcile
from tracker.pipeline import brakes
from tracker.pipeline.brakes import On
from tracker.pipeline.decide import STALE_NEWS
from tracker.pipeline.read_again import Known
from tracker.store.tables import mails

if TYPE_CHECKING:
    from tracker.config.wording import Mail, Wording


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mail may be sent now. `why` it may not, in a sentence; `ends`: and never will be; `until`: quiet hours end then."""

    why: str = ""
    ends: bool = False
    until: datetime | None = None


def wanted(account: Account, about: Known, now: datetime) -> dict[str, Action]:
    """Return the notices that are true of an order now and that are mailed, by their keys."""
    decision = reconcile(about.order, about.parcels, account.policy, now, connected_at=about.quiet_before)
    return {action.key: action for action in decision.actions if action.kind == "notice" and action.notice in MAILED}


def judge(
    connection: Connection,
    mail: MailPart,
    account: Account,
    about: Known,
    action: Action,
    now: datetime,
    braked: Mapping[tuple[str, str], On],
) -> Verdict:
    """Say whether a notice may be mailed now (business time)."""
    if not account.mail.send:
        return Verdict(f"store {account.name} does not mail (its `mail: {{send: true}}`)", ends=True)
    if account.mode != "write":
        return Verdict(f"store {account.name} only observes (mode: write)", ends=True)
    if now - action.happened_at > STALE_NEWS:
        return Verdict(f"it happened at {action.happened_at:%Y-%m-%d %H:%M}Z, more than 48 hours ago", ends=True)
    if action.notice not in account.policy.notices:
        return Verdict(f"policy.notices of store {account.name} does not name {action.notice}", ends=True)
    there = wanted(account, about, now)
    if action.key not in there:
        return Verdict(_no_more(about, action), ends=True)
    if newer := _newer(connection, about.row.id, action, there):
        return Verdict(f"of this parcel `{newer}` is newer, and is what is told", ends=True)
    for brake in brakes.resting(connection, braked, [(about.row.id, action)]).values():
        return Verdict(brake.said)
    quiet = quiet_of(mail.quiet, account.mail.quiet, account.policy.calendar.zone)
    if quiet is not None and (until := quiet.until(now)) is not None:
        return Verdict(f"nobody is mailed before {until:%Y-%m-%d %H:%M}Z: quiet hours in {quiet.zone}", until=until)
    return Verdict()


def language_of(mail: MailPart, account: Account, order: Order) -> str:
    """Return in which language a customer is written to: the order's where we have it, else the store's."""
    told = order.locale.lower().replace("_", "-").partition("-")[0]
    own = account.mail.language or mail.language or account.policy.language
    return told if told in LANGUAGES else own


def words(wording: Wording, account: Account, action: Action, language: str) -> Mail:
    """Write what a mail says."""
    assert action.notice is not None
    parcel = action.parcels[0] if action.parcels else None
    told = capital(estimate(action.edd, language, account.policy.calendar.zone)) if action.edd is not None else ""
    values = {
        "order": action.number, "number": parcel.number if parcel else "", "estimate": told, "place": action.place.city,
        "carrier": (parcel.company or (parcel.carrier or "").upper()) if parcel else "",
        "shop": account.mail.brand or account.name,
    }  # fmt: skip
    return wording.write(action.notice, language, values)


def parcel_key(key: str) -> str:
    """Return the end of a notice's key that names its parcel: carrier, number and generation."""
    return "/".join(key.rsplit("/", 3)[1:])


def _newer(connection: Connection, order_id: int, action: Action, there: Mapping[str, Action]) -> str:
    """Return what is told of the same parcel later, and waits to be mailed too: of what piled up only the newest is told."""
    m = mails.c
    waits = sa.select(m.key).where(m.order_id == order_id, m.state == "pending", m.key != action.key)
    for key in connection.execute(waits).scalars():
        other = there.get(key)
        if other is not None and parcel_key(key) == parcel_key(action.key) and other.happened_at > action.happened_at:
            return str(other.notice)
    return ""


def _no_more(about: Known, action: Action) -> str:
    """Say why a notice is not true any more."""
    order = about.order
    if order.test:
        return "the order was placed to try the shop: nobody is told of it"
    if order.gone:
        return f"the shop shows the order no more ({order.gone.replace('_', ' ')})"
    if order.status in gates.HELD or order.payment in gates.MONEY_BACK:
        return f"the order is {str(order.status).replace('_', ' ')}, its payment {str(order.payment).replace('_', ' ')}: nobody is told"
    one = next((p for p in about.parcels if action.key.endswith(f"/{p.carrier}/{p.number}/{p.generation}")), None)
    if one is None:
        return "the order holds no such parcel any more"
    if one.summary.disputed:
        return "the carrier's own scans contradict each other about this parcel"
    return f"the parcel is {str(one.summary.status).replace('_', ' ')} now"

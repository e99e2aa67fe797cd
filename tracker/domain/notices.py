"""What a customer is told, in short templates of two languages. Pure: an action in, a text out.

A text says only what a stored scan or order change says (WS-10). It promises nothing and blames nobody (KE-17): every
date is an estimate and is labelled as one, by the one helper that renders dates.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tracker.domain.facts import Action
from tracker.domain.vocabulary import NoticeClass

N = NoticeClass
ESTIMATE = {
    "en": "estimated delivery: {date} (an estimate)",
    "de": "voraussichtliche Zustellung: {date} (eine Schätzung)",
}
TEMPLATES: Mapping[str, Mapping[NoticeClass, str]] = {
    "en": {
        N.PLACED: "We received your order {order}.",
        N.CONFIRMED: "Your order {order} is confirmed.",
        N.SHIPPED: "A parcel of your order {order} was handed to {carrier}, tracking number {number}{estimate}.",
        N.OUT_FOR_DELIVERY: "A parcel of your order {order} ({carrier} {number}) is out for delivery.",
        N.READY_FOR_PICKUP: "A parcel of your order {order} ({carrier} {number}) is ready to be collected.",
        N.ATTEMPTED: "{carrier} tried to deliver a parcel of your order {order} ({number}).",
        N.DELAYED: "A parcel of your order {order} ({carrier} {number}) takes longer than expected{estimate}.",
        N.PROBLEM: "{carrier} reports a problem with a parcel of your order {order} ({number}).",
        N.DELIVERED: "{carrier} reports a parcel of your order {order} ({number}) as delivered.",
        N.RETURNING: "{carrier} returns a parcel of your order {order} ({number}) to us.",
        N.REVIEW_REQUEST: "Your order {order} was delivered. How was it?",
    },
    "de": {
        N.PLACED: "Wir haben Ihre Bestellung {order} erhalten.",
        N.CONFIRMED: "Ihre Bestellung {order} ist bestätigt.",
        N.SHIPPED: "Ein Paket Ihrer Bestellung {order} wurde an {carrier} übergeben, Sendungsnummer {number}{estimate}.",
        N.OUT_FOR_DELIVERY: "Ein Paket Ihrer Bestellung {order} ({carrier} {number}) ist in der Zustellung.",
        N.READY_FOR_PICKUP: "Ein Paket Ihrer Bestellung {order} ({carrier} {number}) liegt zur Abholung bereit.",
        N.ATTEMPTED: "{carrier} wollte ein Paket Ihrer Bestellung {order} ({number}) zustellen.",
        N.DELAYED: "Ein Paket Ihrer Bestellung {order} ({carrier} {number}) braucht länger als erwartet{estimate}.",
        N.PROBLEM: "{carrier} meldet ein Problem mit einem Paket Ihrer Bestellung {order} ({number}).",
        N.DELIVERED: "{carrier} meldet ein Paket Ihrer Bestellung {order} ({number}) als zugestellt.",
        N.RETURNING: "{carrier} sendet ein Paket Ihrer Bestellung {order} ({number}) an uns zurück.",
        N.REVIEW_REQUEST: "Ihre Bestellung {order} wurde zugestellt. Wie war es?",
    },
}


def estimate(at: datetime, language: str, zone: str = "UTC") -> str:
    """Render a date as what it is: a labelled estimate. No other code renders a date for a customer.

    A day told without an hour ends at midnight UTC: its date is the day that ends there, in any zone.
    """
    whole_day = at.astimezone(UTC).time() == time()
    local = at.astimezone(UTC) - timedelta(seconds=1) if whole_day else at.astimezone(ZoneInfo(zone))
    date = local.strftime("%d.%m.%Y") if language == "de" else f"{local:%B} {local.day}, {local.year}"
    return ESTIMATE[language].format(date=date)


def render(action: Action, language: str = "en", zone: str = "UTC") -> str:
    """Return the text of a notice. `language`: en or de; `zone`: where the store is."""
    assert action.notice is not None
    parcel = action.parcels[0] if action.parcels else None
    told = f", {estimate(action.edd, language, zone)}" if action.edd is not None else ""
    return TEMPLATES[language][action.notice].format(
        order=action.number,
        carrier=(parcel.company or (parcel.carrier or "").upper()) if parcel else "",
        number=parcel.number if parcel else "",
        estimate=told,
    )

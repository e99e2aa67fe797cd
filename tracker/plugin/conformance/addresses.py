"""What is sent when something hostile stands where somebody else writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from tracker.domain.errors import SourceError
from tracker.domain.facts import Action, Fulfilment, Missed, Order, Parcel, Parcels, Published, Refs, Since
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus
from tracker.plugin.calls import Request
from tracker.plugin.conformance.given import AT, TOKEN, Recorder, example_settings
from tracker.plugin.contracts import Carrier, Platform, Source
from tracker.plugin.hooks import Hook

BENIGN = ("1001", "1Z1001", "gid://shopify/Order/1001")  # each says something to somebody
HOSTILE = (
    "../../x?a=b#c", "..", ".", "", " ", "%2e%2e", "%2E%2E%2fx", "a/b", "a\\b", "a\nb", "a\r\nHost: evil.example", "a\x00b", "a;b", "a?b",
    "a#b", "a b", "a@b", "//evil.example/x", "https://evil.example/x", "\u00e9\u202e", "\u0661", "a\u2028b", "a\ud800", "x" * 5000,
    "1001:a\r\nb", "gid://shopify/Order/1/../2", "../../x:secret", "1Z/../x?a=b#c",
)  # fmt: skip
ANSWERS = ((TOKEN,), (b"[]",), (TOKEN, b"[]"))  # so that more than the first call is made
_SAID = {value.casefold() for value in BENIGN}
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/%=@!$&'()*+,;]+")


def asks_of(plugin: type[Source], **settings: Any) -> dict[str, Callable[[Any, Recorder, str], Any]]:
    """Return each call that sends something: with a value that somebody else wrote in every place where one can stand.

    `settings`: of the account that is tried, beside the invented ones.
    """

    def parcels(value: str, **more: Any) -> Parcels:
        return Parcels((Parcel(None, value, value, **more),))

    def push(kind: str) -> Callable[[Any, Recorder, str], Any]:
        return lambda source, client, value: source.push(client, *_write(source, kind, value))

    found: dict[str, Callable[[Any, Recorder, str], Any]] = {}
    if Parcels in plugin.asks:
        found["fetch"] = lambda source, client, value: list(source.fetch(client, parcels(value)))
        found["fetch by their ref"] = lambda s, client, value: list(s.fetch(client, parcels("1Z1001", their_ref=value)))
    if Refs in plugin.asks:
        found["fetch refs"] = lambda source, client, value: list(source.fetch(client, Refs((value,))))
    if Since in plugin.asks:
        found["sweep"] = lambda source, client, value: _some(source.fetch(client, Since(value)))
        found["first sweep"] = lambda source, client, _: _some(source.fetch(client, Since(None, open_only=True)))
    if issubclass(plugin, Carrier) and plugin.proves:
        found["fetch a proof"] = lambda source, client, value: source.proof(client, Parcel(None, value), value)
    if issubclass(plugin, Carrier):
        callback = {"callback_url": "https://us.example/hook"} if "callback_url" in plugin.Settings.model_fields else {}
        bound = plugin("account", example_settings(plugin, **{**settings, **callback}))
        found["register"] = lambda _, client, value: bound.register(client, parcels(value))
        if bound.resends is not None:
            found["tell again"] = lambda source, client, value: _some(source.resend(client, Missed(AT, AT, value)))
        if plugin.stops:
            found["stop"] = lambda source, client, value: source.stop(client, parcels(value, their_ref=value))
            found["track again"] = lambda source, client, value: source.track_again(
                client, parcels(value, their_ref=value)
            )
        found["answer a handshake"] = lambda _, client, value: bound.register(client, Refs((f"{value}:secret",)))
    if plugin.mend_hook is not Source.mend_hook:
        found["mend a hook"] = lambda source, client, value: source.mend_hook(
            client, Hook("t", "https://us.example", ref=value)
        )
    if issubclass(plugin, Platform):
        kinds = (
            "fulfilment_event",
            "order_status",
            "order_note",
            *(["field"] if plugin.takes_fields else []),
            *(["number"] if plugin.takes_numbers else []),
            *(["tag"] if plugin.takes_tags else []),
        )
        found |= {f"push {kind}": push(kind) for kind in kinds}
    return found


def _some(pages: Iterator[Any]) -> None:
    """Take the first pages of a sweep."""
    for _ in zip(range(2), pages, strict=False):
        pass


def _write(source: Platform, kind: str, value: str) -> tuple[Action, Order]:
    parcel = Parcel(None, value, value)
    fulfilment = Fulfilment(value, "open", (parcel,), published=Published(None, value, AT))
    words = source.order_status_map()
    raw = words.get(OrderStatus.PROCESSING) or words.get(OrderStatus.PARTIALLY_SHIPPED, "processing")
    paid = PaymentStatus.PAID
    before = Order("s", value, value, OrderStatus.PROCESSING, raw, paid, "paid", AT, AT, fulfilments=(fulfilment,))
    action = Action(
        kind, value, "s", value, value, ShippingStatus.DELIVERED, happened_at=AT, target=OrderStatus.SHIPPED,
        parcels=(parcel, Parcel(None, "1Z1002")) if kind == "number" else (parcel,),
        number=value, text=value, field="shipping_status",
    )  # fmt: skip
    return action, before


def sent_by(plugin: Source, query: Callable[[Any, Recorder, str], Any], value: str) -> list[Request]:
    """Return what is sent. A source that cannot be asked so, or refuses the value, or an answer of ours, sends less."""
    sent: list[Request] = []
    for bodies in ANSWERS:
        client = Recorder(*bodies)
        fresh = type(plugin)("account", plugin.settings)  # without the token of another ask
        with suppress(SourceError, AssertionError, NotImplementedError, KeyError, ValueError, TypeError):
            query(fresh, client, value)
        sent += client.sent
    return sent


def only_a_segment_differs(hostile: Request, benign: Request) -> bool:
    """Say whether two requests go to the same place but for whole segments (an order's, its fulfilment's), each read as nothing else."""
    one, other = urlsplit(hostile.url), urlsplit(benign.url)
    ours, theirs = one.path.split("/"), other.path.split("/")
    differing = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    return (
        (one.scheme, one.netloc, one.query, one.fragment) == (other.scheme, other.netloc, "", "")
        and len(ours) == len(theirs)
        and all(unquote(b).casefold() in _SAID and unquote(a) not in ("", ".", "..") for a, b in differing)
        and _PLAIN.fullmatch(hostile.url) is not None
    )

"""The platform itself: what it asks, reads and writes by its description."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar

from adapters.generic.orders import Reader, texts
from adapters.generic.settings import NoteWrite, Settings, ShippingWrite, StatusWrite, Webhook
from adapters.generic.sweep import Cursor, next_page, said_as, stamp, this_page
from tracker.domain.errors import BadPayload, NotFound, Refused, SourceError, Transient, Unavailable
from tracker.domain.facts import (
    Action,
    ChangeNotice,
    Checkout,
    Meaning,
    Order,
    Page,
    Payload,
    Query,
    Receipt,
    Refs,
    Since,
    Unread,
)
from tracker.domain.vocabulary import OrderStatus, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.answers import raise_unless_json, said_by
from tracker.plugin.calls import Client, Response
from tracker.plugin.contracts import Remark
from tracker.plugin.described import DescribedSource, judge, once
from tracker.plugin.paths import Path, Reading
from tracker.plugin.payloads import decode, text, word
from tracker.plugin.samples import Asked, calls_are_filled, login_of_samples, never_told, sampled, unmatched
from tracker.plugin.tracked import each_alone, exactly, order, orders, told

WRITES: Mapping[str, tuple[str, ...]] = {
    "status": ("ref", "number", "word", "before", "once", "happened_at"),
    "shipping": ("ref", "number", "word", "fulfilment", "once", "happened_at"),
    "note": ("ref", "number", "text", "once"),
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "status": ("ref|number", "word"), "shipping": ("ref|fulfilment|number", "word"), "note": ("ref|number", "text"),
}  # fmt: skip
_KINDS = {"order_status": "status", "fulfilment_event": "shipping", "order_note": "note"}


class Generic(DescribedSource, contracts.Platform):
    """A selling platform by its description."""

    docs = "https://github.com/trackwright/trackwright/blob/main/deploy/examples/README.md"
    asks = frozenset({Refs, Since})
    takes_notes = True
    statuses: ClassVar[Mapping[str, OrderStatus]] = {
        str(status): status for status in OrderStatus
    }  # where it has no words
    example: ClassVar[Mapping[str, Any]] = {
        "base_url": "https://api.acme.example", "secrets": {"key": "canary-secrets"}, "headers": {"Authorization": "Bearer {key}"},
        "read": {"path": "/orders/{ref}", "order": "order", "sample": "order.json"},
        "sweep": {
            "path": "/orders", "query": {"since": "{since}", "cursor": "{page}"}, "orders": "orders", "sample": "orders.json",
            "pages": {"by": "cursor", "next": "next"},
        },
        "facts": {
            "ref": "ref", "number": "number", "status": "status", "payment": "payment", "placed": "placed", "updated": "updated",
            "tags": "tags", "country": "to.country", "method": "method", "status_at": "status_at", "actor": "by",
            "items": {"each": "items", "ref": "ref", "ordered": "count", "removed": "removed", "shippable": "ships", "name": "name"},
            "fulfilments": {
                "each": "parcels", "ref": "ref", "numbers": "numbers", "company": "carrier", "shipped": "at", "cancelled": "void",
                "items": {"each": "items", "ref": "ref", "quantity": "count"}, "shows": "shown.word", "shows_at": "shown.at",
            },
        },
        "statuses": {"new": "processing", "processing": "processing", "sent": "shipped", "done": "delivered"},
        "payments": {"paid": "paid"},
        "writes": {
            "status": {"path": "/orders/{ref}/status", "body": {"to": "{word}", "key": "{once}"}, "words": {"shipped": "sent"}, "done": "ok", "sample": "ok.json"},
            "shipping": {
                "path": "/orders/{ref}/parcels/{fulfilment}", "body": {"shows": "{word}"}, "words": {"delivered": "done"}, "done": "ok",
                "sample": "ok.json",
            },
            "note": {"path": "/orders/{ref}/notes", "headers": {"Idempotency-Key": "{once}"}, "body": {"text": "{text}"}, "done": "ok", "sample": "ok.json"},
        },
        "webhook": {"scheme": "standard", "id_header": "webhook-id", "ref": "order", "when": "type == 'order'", "sample": "hook.json"},
    }  # fmt: skip
    Settings = Settings

    def __init__(self, account: str, settings: Any) -> None:
        """Bind a description."""
        super().__init__(account, settings)
        self.takes_notes = settings.writes.note is not None
        self.tells_address = settings.facts.email is not None

    def status_map(self) -> Mapping[ShippingStatus, str]:
        """Return what the description shows of shipping statuses."""
        write: ShippingWrite | None = self.settings.writes.shipping
        return dict(write.words) if write is not None else {}

    def order_status_map(self) -> Mapping[OrderStatus, str]:
        """Return what the description writes of order statuses."""
        write: StatusWrite | None = self.settings.writes.status
        return dict(write.words) if write is not None else {}

    def says(self) -> frozenset[OrderStatus]:
        """Return what this shop's own words can say."""
        return frozenset((self.settings.statuses or self.statuses).values())

    def normalize(self, payload: Payload) -> Iterable[Order | ChangeNotice | Checkout | Unread]:
        """Read an order, a page of a sweep, or the ref that a hook names."""
        return exactly(lambda decoded: self._read(payload.kind, decoded(payload.body), Reading()))

    def _read(self, kind: str, body: dict[str, Any], reading: Reading) -> Iterable[Order | ChangeNotice | Unread]:
        settings: Settings = self.settings
        if kind == "webhook" and settings.webhook is not None:
            return _notice(settings.webhook, body, reading)
        unread: list[Unread] = []
        reader = Reader(self.account, settings, self.carrier_of, reading)
        if kind == "sweep":
            key = settings.facts.ref.first or "ref"
            lists = reading.lists(settings.sweep.orders, body, unread, "all")
            if not lists and not unread:
                raise BadPayload(settings.sweep.orders.where, "is missing")
            found: list[Order] = []
            for rows, where in lists:
                found += orders(rows if isinstance(rows, list) else [rows], where, reader.order, key, unread)
            return told(found, unread)
        row = reading.one(settings.read.order, body, unread)
        if row is None and not unread:
            raise BadPayload(settings.read.order.where, "is missing")
        one = order(row, settings.read.order.where, reader.order, settings.facts.ref.first or "ref", unread)
        return told([one] if one is not None else [], unread)

    def raise_for_status(self, response: Response) -> None:
        """As HTTP says, with the shop's own words of a refusal, and as the description does of an error with 200."""
        if response.status in (400, 409, 422) and response.body.lstrip()[:1] == b"{":
            raise Refused(self._says(response.body) or said_by(response.body, f"HTTP {response.status}"))
        raise_unless_json(response)
        judge(self.settings, response.body, Reading(), one=True)

    def _says(self, body: bytes) -> str:
        """Return what stands where the description says that errors do."""
        try:
            said = Reading().one(self.settings.error, decode(body), [])
        except BadPayload:
            return ""
        return next(iter(texts(said)), "")[:200]

    def fetch(self, client: Client, query: Query) -> Iterator[Page]:
        """Read orders one by one, or all that changed since the cursor."""
        if isinstance(query, Refs):
            yield from each_alone(query.refs, lambda ref: self._one(client, ref))
            return
        assert isinstance(query, Since)
        sweep = self.settings.sweep
        cursor = Cursor.of(query.cursor).begin(client.now())
        while True:
            response = self._page(client, cursor)
            rows = _rows(sweep.orders, response.body)
            changed = [stamp(self.settings, row) for row in rows]
            cursor = cursor.after(changed, next_page(self.settings, response, cursor, len(rows)))
            yield Page((response.body,), str(cursor))
            if cursor.done:
                return

    def _page(self, client: Client, cursor: Cursor) -> Response:
        sweep = self.settings.sweep
        page = this_page(self.settings, cursor)
        since = said_as(sweep.since_format, cursor.since)
        if sweep.pages.by == "link" and page:
            return self._caller.send_to(client, sweep, page)
        values = {"since": since, "page": page}
        epoch = said_as(sweep.since_format, datetime(1970, 1, 1, tzinfo=UTC))
        return self._caller.send(client, sweep, values, in_body={"since": since or epoch})

    def _one(self, client: Client, ref: str) -> Page | None:
        try:
            response = self._caller.send(client, self.settings.read, {"ref": ref})
        except NotFound:
            return None  # not there any more; the others are
        found = Reading().one(self.settings.read.order, _decoded(response), [])
        if not isinstance(found, dict) or Reading().one(self.settings.facts.ref, found, []) is None:
            raise Transient(f"the answer holds no order: {said_by(response.body)}")
        return Page((response.body,))

    def mail_address(self, client: Client, ref: str) -> str:
        """Read the order, and of it what the description says is the address."""
        path: Path | None = self.settings.facts.email
        if path is None:
            raise Refused("the description does not say where the mail address stands: facts.email")
        response = self._caller.send(client, self.settings.read, {"ref": ref})
        found = Reading().one(self.settings.read.order, _decoded(response), [])
        if not isinstance(found, dict) or Reading().one(self.settings.facts.ref, found, []) is None:
            raise Transient("the answer holds no order")
        return text(Reading().one(path, found, []))

    def push(self, client: Client, action: Action, before: Order) -> Receipt:
        """Look, then write as the description says. An answer that does not show that it is done is Transient."""
        write: StatusWrite | ShippingWrite | NoteWrite | None = getattr(self.settings.writes, _KINDS[action.kind])
        if write is None:
            raise Refused(f"the description says nothing of {action.kind}")
        spelt = ""
        if isinstance(write, StatusWrite):
            if before.status is OrderStatus.CANCELLED:
                raise Refused("a cancelled order stays cancelled: what is described has no guard of its own")
            spelt = write.words.get(action.target, "") if action.target is not None else ""
            there = before.raw_status == spelt
        elif isinstance(write, ShippingWrite):
            spelt = write.words.get(action.status, "")
            shown = [
                f.published.raw for f in before.fulfilments if f.ref == action.fulfilment and f.published is not None
            ]
            there = spelt in shown
        else:
            there = self._noted(client, write, action)
        if not isinstance(write, NoteWrite) and not spelt:
            raise Refused("the description has no word for it")
        if there:
            return Receipt(before.ref, already_there=True, proof=spelt or "note")
        values = {
            "ref": action.order, "number": action.number, "word": spelt, "before": before.raw_status, "text": action.text,
            "fulfilment": action.fulfilment, "once": once(action.key), "happened_at": action.happened_at.astimezone(UTC).isoformat(),
        }  # fmt: skip
        # without {once} nobody knows what became of half a write: the order is read again before it is tried again
        response = self._caller.send(client, write, values, idempotent=write.says("once"))
        if not Reading().holds(write.done, _decoded(response), []):
            raise Transient(f"the answer does not show that it is done: {said_by(response.body)}")
        return Receipt(before.ref, proof=spelt or "note")

    def _noted(self, client: Client, write: NoteWrite, action: Action) -> bool:
        """Look whether a note is there, where the description says where notes stand."""
        if write.there is None:
            return False
        response = self._caller.send(client, self.settings.read, {"ref": action.order})
        return action.text in texts(Reading().one(write.there, _decoded(response), []))

    def ping(self, client: Client) -> None:
        """Ask what changed just now."""
        self._page(client, Cursor(mark=client.now().astimezone(UTC).isoformat()))

    def examine(self, read: Callable[[str], bytes], codes: Mapping[tuple[str, str], Meaning]) -> Iterator[Remark]:
        """Read the samples with the description: each path must find something, and nothing may be left unread."""
        settings: Settings = self.settings
        writes = {name: write for name in WRITES if (write := getattr(settings.writes, name)) is not None}
        calls: dict[tuple[str, ...], Asked] = {
            ("read",): Asked(settings.read, ("ref",), ("ref",)),
            ("sweep",): Asked(
                settings.sweep, ("since", "page"), ("since", *(() if settings.sweep.pages.by == "link" else ("page",)))
            ),
        }
        calls |= {("writes", name): Asked(write, WRITES[name], NEEDS[name]) for name, write in writes.items()}
        yield from calls_are_filled(settings, calls)
        yield from login_of_samples(settings, read)
        yield from _words(settings, writes)
        judged, whole, words = Reading(), Reading(), set[tuple[str, str]]()
        readable = True
        for name in ("read", "sweep"):
            files, part = getattr(settings, name).sample, getattr(settings, name)
            if (yield from sampled((name,), files, read, partial(self._use, name, whole, judged, words))):
                yield from unmatched(part, (name,), files, whole)
            else:
                readable = False
        both = (*settings.read.sample, *settings.sweep.sample)
        if readable:
            yield from unmatched(settings.facts, ("facts",), both, whole)
        if settings.webhook is not None:
            hooked = Reading()
            use = partial(self._use, "webhook", hooked, judged, words)
            if (yield from sampled(("webhook",), settings.webhook.sample, read, use)):
                yield from unmatched(settings.webhook, ("webhook",), settings.webhook.sample, hooked)
        for name, write in writes.items():
            place = ("writes", name)
            after = Reading()
            readable = yield from sampled(place, write.sample, read, partial(_done, write.done, after))
            yield from _there(write, place, read, settings, after)
            if readable:
                yield from unmatched(write, place, write.sample, after)
        yield from never_told(settings, both, judged)
        for kind, said in sorted(words):
            yield Remark((kind,), f"the samples hold the word {said!r}, which means nothing yet", wrong=False)

    def _use(
        self, kind: str, reading: Reading, judged: Reading, words: set[tuple[str, str]], body: bytes
    ) -> Iterable[Unread]:
        if kind != "webhook":
            try:
                judge(self.settings, body, judged, one=True)
            except SourceError:
                return ()  # such an answer is not read
        answer = decode(body)
        items = list(self._read(kind, answer, reading))
        if kind == "read" and isinstance(row := reading.one(self.settings.read.order, answer, []), dict):
            reading.one(self.settings.facts.email, row, [])  # no order holds it, and its path must lead somewhere too
        if kind == "sweep":
            reading.one(self.settings.sweep.pages.next, answer, [])
        for item in items:
            if isinstance(item, Order):
                words |= {("statuses", item.raw_status)} if item.status is OrderStatus.UNKNOWN else set()
                words |= {("payments", item.raw_payment)} if item.raw_payment not in self.settings.payments else set()
        return [item for item in items if isinstance(item, Unread) and item.lacks != "nothing"]


def _notice(hook: Webhook, body: dict[str, Any], reading: Reading) -> Iterable[ChangeNotice | Unread]:
    """Read the ref that a hook names; one of another kind names none."""
    unread: list[Unread] = []
    if (other := hook.other(body, reading, unread)) is not None:
        return (*unread, other)
    ref = reading.one(hook.ref, body, unread)
    if ref is None and unread:
        raise BadPayload(unread[0].where, unread[0].problem)
    return (ChangeNotice(word(ref, hook.ref.where)), *unread)


def _rows(path: Path, body: bytes) -> list[Any]:
    """Return the orders of an answer. Raises Unavailable where it has no list: that is never an empty one."""
    try:
        lists = Reading().lists(path, decode(body), [], "all")
    except BadPayload:
        lists = []
    if not lists or any(not isinstance(rows, list) for rows, _ in lists):
        raise Unavailable(f"the answer is without its list: {said_by(body)}")
    return [row for rows, _ in lists for row in rows]


def _decoded(response: Response) -> dict[str, Any]:
    """Decode an answer; what is no JSON object is empty: the caller misses what it asked for."""
    try:
        return decode(response.body)
    except BadPayload:
        return {}


def _done(done: Path, reading: Reading, body: bytes) -> Iterable[Unread]:
    reading.holds(done, decode(body or b"{}"), [])
    return ()


def _there(
    write: Any, place: tuple[str, ...], read: Callable[[str], bytes], settings: Settings, reading: Reading
) -> Iterator[Remark]:
    """Tell of a note that would be written twice, and look for notes in the samples of `read`."""
    if not isinstance(write, NoteWrite):
        return
    if write.there is None and not write.says("once"):
        yield Remark(
            place, "a note could be written twice: `there` says where notes stand, or {once} makes it the same one"
        )
    if write.there is not None:
        yield from sampled(("read",), settings.read.sample, read, partial(_done, write.there, reading))


def _words(settings: Settings, writes: Mapping[str, Any]) -> Iterator[Remark]:
    """Tell of words that are written and would not be read back as what they were written for."""
    if (write := writes.get("status")) is None or not settings.statuses:
        return
    for status, spelt in write.words.items():
        if settings.statuses.get(spelt) is not status:
            yield Remark(
                ("writes", "status", "words", str(status)),
                f"{spelt!r} is read as {settings.statuses.get(spelt, 'unknown')}: statuses: must say {status}",
            )

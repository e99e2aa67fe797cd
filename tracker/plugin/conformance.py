"""The suite every plugin gets without being named.

A package of plugins of its own subscribes with two lines:

```python
from tracker.plugin.conformance import for_carrier
TestAcme = for_carrier("acme_tracking.acme", fixtures=Path(__file__).parent / "fixtures" / "acme")
```

Fixtures are `<case>.<webhook|poll|read|sweep>.<ending>` beside `<case>.<kind>.expected.json`, written by hand from the
vendor's documentation; `SOURCES.md` says where each is from. `<case>.<kind>.parts.json` is a list: each of its documents is
one part of the payload. A pair `<case>.webhook.*` and `<case>.poll.*` whose name begins with `same-` must hold one scan with
one fingerprint. A case whose name ends with `-three` holds three parcels or orders (where the format can hold several) of
three scans or lines each: of such a list one element is broken in every way, and the others must tell what they told.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import orjson
import pytest
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from tracker.domain.cadence import DEFAULT, next_poll
from tracker.domain.errors import BadPayload, SourceError, Transient, WebhookRejected
from tracker.domain.facts import (
    UNMAPPED,
    Action,
    Checkout,
    Fulfilment,
    Hint,
    Meaning,
    Order,
    Parcel,
    Parcels,
    Payload,
    Published,
    Refs,
    Report,
    Scan,
    Since,
    Summary,
    Told,
    Unread,
    fingerprint,
)
from tracker.domain.timeline import place_in_time, summarize
from tracker.domain.vocabulary import OrderStatus, PaymentStatus, ShippingStatus, Trust
from tracker.plugin import broken
from tracker.plugin.contracts import Answer, Carrier, Platform, Request, Source, Vault, holding
from tracker.plugin.payloads import BOM

AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
KINDS = ("webhook", "poll", "read", "sweep")
BAD_BODIES = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"12",
    "truncated": b'{"a": [',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a list nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "a 5,000 digit integer": b'{"a": ' + b"9" * 5000 + b"}",
    "NaN": b'{"a": NaN}',
    "a lone surrogate": b'{"a": "\\ud800"}',
    "html": b"<html><body>Service Unavailable</body></html>",
    "an empty object": b"{}",
}


TOKEN = b'{"access_token": "t", "expires_in": 3600}'
PAGES = (
    b"<!DOCTYPE html><html><body>Just a moment...</body></html>",
    b"\xef\xbb\xbf\n <HTML><head><title>Sorry</title></head></HTML>",
)


class Recorder:
    """A client that sends nothing: it keeps each request, and answers with one body after the other, the last for ever."""

    def __init__(self, *bodies: bytes) -> None:
        self.sent: list[Request] = []
        self.vault: Vault = _Forgetful()
        self._bodies = bodies or (TOKEN,)

    def send(self, request: Request) -> Answer:
        """Keep the request."""
        self.sent.append(request)
        return Answer(200, {}, self._bodies[min(len(self.sent), len(self._bodies)) - 1], AT)

    def now(self) -> datetime:
        """Return the moment that all fixtures are read at."""
        return AT


class Everywhere(dict[str, str]):
    """Headers that hold one value under every name, but for those that are set."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self._value = value

    def __missing__(self, name: str) -> str:
        return self._value

    def get(self, name: str, default: Any = None) -> Any:
        """Return what stands under a name: there is something under every one."""
        return self[name]


class _Forgetful:
    """A vault that holds nothing."""

    def load(self) -> str | None:
        return None

    def store(self, value: str) -> None:
        """Forget it."""


def plugin_of(module: str) -> type[Source]:
    """Return the one plugin class of a module. Raises AssertionError where there is not exactly one."""
    loaded = importlib.import_module(module)
    found = [
        value
        for value in vars(loaded).values()
        if inspect.isclass(value) and issubclass(value, Carrier | Platform) and value.__module__ == module
    ]
    assert len(found) == 1, f"{module} must define exactly one plugin, defines {found}"
    return found[0]


def example_settings(plugin: type[Source], **more: Any) -> BaseModel:
    """Make settings with an invented value for every field that needs one, and two webhook secrets."""
    values: dict[str, Any] = {}
    for name, field in plugin.Settings.model_fields.items():
        if name == "webhook_secrets":
            values[name] = ["new-secret-0123456789abcdef", "old-secret-0123456789abcdef"]
        elif field.is_required() or field.annotation in (SecretStr, SecretStr | None):
            values[name] = f"canary-{name}"
    return plugin.Settings(**{**values, **more})


def cases(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (case, kind, file) of the fixtures in a folder."""
    for file in sorted(folder.iterdir()) if folder.exists() else ():
        parts = file.name.split(".")
        if len(parts) >= 3 and parts[-3:-1] != ["expected"] and parts[1] in KINDS and "expected" not in parts:
            yield parts[0], parts[1], file


def payload_of(kind: str, file: Path) -> Payload:
    """Return the payload that a fixture is: one part, or those of a list."""
    body = file.read_bytes()
    if file.name.endswith(".parts.json"):
        return Payload("account", kind, tuple(json.dumps(part).encode() for part in json.loads(body)), AT, {})
    return Payload("account", kind, (body,), AT, {})


def facts(items: list[Report | Order | Hint | Checkout | Unread], plugin: Source) -> list[dict[str, Any]]:
    """Put facts into the plain form that expected files are written in: what is empty or default is left out."""
    found: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, Unread):
            said = {"unread": item.where, "problem": item.problem, "subject": item.subject, "lacks": item.lacks}
            found.append({name: value for name, value in said.items() if value})
        elif isinstance(item, Hint):
            found.append({"hint": item.ref})
        elif isinstance(item, Checkout):
            found.append({"checkout": item.ref, "contact": item.contact, "recovered": item.recovered})
        elif isinstance(item, Report):
            assert isinstance(plugin, Carrier)
            found.append(_report(item, plugin))
        else:
            found.append(_order(item))
    return found


def _report(report: Report, plugin: Carrier) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "carrier": report.carrier,
        "number": report.number,
        "scans": [_scan(scan, plugin) for scan in report.scans],
    }
    if report.tracking != "active":
        shown["tracking"] = str(report.tracking)
    if report.complete:
        shown["complete"] = True
    if report.edd:
        shown["edd"] = [report.edd.begins.isoformat(), report.edd.ends.isoformat()]
    if report.proof and (report.proof.signed or report.proof.photo):
        shown["proof"] = [name for name in ("signed", "photo") if getattr(report.proof, name)]
    if report.links:
        shown["links"] = [[link.relation, link.number] for link in report.links]
    if report.piece:
        shown["piece"] = report.piece
    return shown


def _scan(scan: Scan, plugin: Carrier) -> dict[str, Any]:
    meaning = plugin.meaning(scan.code)
    if meaning is None:
        said = "UNKNOWN"
    else:
        said = f"{meaning.status or '='}/{meaning.reason or '-'}"
    return {
        "code": f"{scan.code.space}:{scan.code.code}",
        "means": said,
        "at": scan.occurred_at.astimezone(UTC).isoformat() if scan.occurred_at else None,
        "local": scan.local.isoformat() if scan.local else None,
        "zone": str(scan.zone),
        "place": str(scan.place),
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order": order.number,
        "ref": order.ref,
        "status": str(order.status),
        "raw_status": order.raw_status,
        "payment": str(order.payment),
        "fulfilments": [
            {
                "ref": f.ref,
                "live": f.live,
                "parcels": [[p.carrier, p.number] for p in f.parcels],
                "shown": f.published.raw if f.published else None,
            }
            for f in order.fulfilments
        ],
    }


class _PluginSuite:
    """The facts that hold for every plugin."""

    module: ClassVar[str]
    fixtures: ClassVar[Path]

    @pytest.fixture
    def plugin(self) -> Source:
        """Return the plugin, bound to example settings."""
        found = plugin_of(self.module)
        return found("account", example_settings(found))

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("a pure method opened a socket")

        monkeypatch.setattr(socket.socket, "connect", refuse)

    def test_the_class_says_what_it_is(self, plugin: Source) -> None:
        assert plugin.docs.startswith("https://")
        assert plugin.asks
        assert all(isinstance(ask, type) for ask in plugin.asks)
        assert inspect.getdoc(importlib.import_module(self.module))
        assert not inspect.isabstract(type(plugin))

    def test_settings_refuse_what_they_do_not_know(self, plugin: Source) -> None:
        with pytest.raises(ValidationError, match="not_a_setting"):
            example_settings(type(plugin), not_a_setting=1)

    def test_secrets_do_not_show(self, plugin: Source) -> None:
        secrets = [
            name for name, field in type(plugin).Settings.model_fields.items() if "SecretStr" in str(field.annotation)
        ]
        shown = f"{plugin.settings!r} {plugin.settings} {plugin.settings.model_dump(mode='json')}"

        assert not [name for name in secrets if f"canary-{name}" in shown or "secret-0123456789" in shown]

    def test_an_unsigned_webhook_is_refused(self, plugin: Source) -> None:
        with pytest.raises(WebhookRejected):
            plugin.verify(Payload("account", "webhook", (b"{}",), AT, {}))

    @pytest.mark.parametrize("value", ["", "x", "=", ",", "v1", "v1,,", "t=1,v1=", "é", "\x00", "a" * 10_000, "\udcff"])
    def test_a_junk_signature_is_refused_and_nothing_else(self, plugin: Source, value: str) -> None:
        with pytest.raises(WebhookRejected):
            plugin.verify(Payload("account", "webhook", (b"{}",), AT, Everywhere(value)))

    def test_without_a_secret_nothing_verifies(self, plugin: Source) -> None:
        if "webhook_secrets" not in type(plugin).Settings.model_fields:
            return
        bare = type(plugin)("account", example_settings(type(plugin), webhook_secrets=[]))
        empty = type(plugin)("account", example_settings(type(plugin), webhook_secrets=[""]))
        for one in (bare, empty):
            with pytest.raises(WebhookRejected):
                one.verify(Payload("account", "webhook", (b"{}",), AT, {"authorization": ""}))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
    def test_an_unreadable_body_is_a_bad_payload_with_its_path(self, plugin: Source, body: bytes, kind: str) -> None:
        payload = Payload("account", kind, (body,), AT, {})
        try:
            items = list(plugin.normalize(payload))
        except BadPayload as error:
            assert error.where.startswith("$")
        else:
            assert items == [] or all(isinstance(i, Report) and not i.scans for i in items)
        assert isinstance(plugin.dedupe_key(payload), str)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503])
    def test_a_failure_becomes_an_error_of_the_tree(self, plugin: Source, status: int) -> None:
        with pytest.raises(SourceError):
            plugin.judge(Answer(status, {}, b"{}", AT))

    def test_a_good_answer_is_judged_good(self, plugin: Source) -> None:
        plugin.judge(Answer(200, {}, b"{}", AT))

    def test_every_fixture_reads_as_the_documentation_says(self, plugin: Source) -> None:
        found = list(cases(self.fixtures))
        assert found, f"{self.fixtures} holds no fixture"
        assert (self.fixtures / "SOURCES.md").exists()
        for case, kind, file in found:
            payload = payload_of(kind, file)
            expected = json.loads((self.fixtures / f"{case}.{kind}.expected.json").read_text(encoding="utf-8"))

            assert facts(list(plugin.normalize(payload)), plugin) == expected, file.name

    def test_reading_is_pure(self, plugin: Source) -> None:
        for _, kind, file in cases(self.fixtures):
            payload = payload_of(kind, file)

            assert list(plugin.normalize(payload)) == list(plugin.normalize(payload))

    def test_a_cut_or_changed_fixture_never_crashes(self, plugin: Source) -> None:
        for case, kind, file in cases(self.fixtures):
            first, *more = payload_of(kind, file).parts
            changed = [] if case.endswith("-three") else _twisted(first)  # those are broken in more ways, below
            for body in [first[: len(first) * i // 20] for i in range(20)] + changed:
                try:
                    items = list(plugin.normalize(Payload("account", kind, (body, *more), AT, {})))
                except BadPayload as error:
                    assert error.where
                else:
                    go_on(plugin, items)

    def test_a_byte_order_mark_changes_nothing(self, plugin: Source) -> None:
        for _, kind, file in cases(self.fixtures):
            payload = payload_of(kind, file)
            marked = Payload("account", kind, tuple(BOM + part for part in payload.parts), AT, {})

            assert list(plugin.normalize(marked)) == list(plugin.normalize(payload)), file.name

    def test_one_broken_element_of_a_list_takes_nothing_from_the_others(self, plugin: Source) -> None:
        found = [(kind, file) for case, kind, file in cases(self.fixtures) if case.endswith("-three")]
        assert found, f"{self.fixtures} holds no case of three parcels or orders: <case>-three.<kind>.<ending>"
        for kind, file in found:

            def read(parts: tuple[bytes, ...], kind: str = kind) -> list[Any]:
                return list(plugin.normalize(Payload("account", kind, parts, AT, {})))

            document = json.loads(file.read_bytes())
            parts = document if file.name.endswith(".parts.json") else [document]
            lists = broken.threes(parts)
            assert lists, f"{file.name} holds no list of three objects"
            whole = read(broken.bodies(parts))
            fine: set[Any] = set()  # facts that the core went on with: most are told again and again
            for three in lists:
                rest = read(broken.without(parts, three))
                for change in broken.changes(parts, three):
                    what = f"{file.name}, {change.where} is {change.how}"
                    try:
                        told = read(change.bodies)
                    except BadPayload as error:
                        assert not rest, f"{what}: {error}"
                        continue
                    assert broken.still_told(told, rest, whole) == [], what
                    if _size(told) < _size(whole) and change.how.startswith(("of another type", "absurd")):
                        assert any(isinstance(item, Unread) for item in told), f"{what}: left out in silence"
                    go_on(plugin, [item for item in told if item not in fine])
                    fine.update(told)

    def test_what_somebody_else_wrote_leaves_the_address_where_it_is(self, plugin: Source) -> None:
        asks = _asks(type(plugin))
        plain = [request for ask in asks.values() for value in BENIGN for request in _sent(plugin, ask, value)]
        assert plain, "no request was recorded: the test asks wrongly"
        for name, ask in asks.items():
            for hostile in HOSTILE:
                for one in _sent(plugin, ask, hostile):
                    what = f"{name} {hostile!r:.30}: {one.url!r:.200}"
                    assert any(_only_a_segment_differs(one, other) for other in plain), what
                    assert all(value.isprintable() and value.isascii() for value in one.headers.values()), what

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 422])
    @pytest.mark.parametrize("body", PAGES)
    def test_a_page_of_html_is_no_answer_whatever_its_status(self, plugin: Source, status: int, body: bytes) -> None:
        with pytest.raises(Transient):
            plugin.judge(Answer(status, {"content-type": "text/html"}, body, AT))


def _size(items: list[Any]) -> int:
    """Count what is told: orders and their lines, parcels and their scans."""
    told = [item for item in items if not isinstance(item, Unread)]
    return len(told) + sum(len(getattr(item, name, ())) for item in told for name in ("scans", "items", "fulfilments"))


def go_on(plugin: Source, items: list[Any]) -> None:
    """Do what the core does next with what a parser told. Raises nothing for facts that it can work with and store."""
    for item in items:
        if isinstance(item, Report):
            assert isinstance(plugin, Carrier)
            told = []
            for scan in item.scans:
                instant, zone = place_in_time(scan, plugin.default_zone, AT)
                assert instant.utcoffset() is not None
                meaning = plugin.meaning(scan.code) or UNMAPPED
                printed = fingerprint(scan, text_matters=plugin.text_matters)
                told.append(
                    Told(printed, scan.code.space, scan.code.code, meaning, instant, zone, scan.precision, scan.place)
                )
                _storable(instant.astimezone(UTC).isoformat())
            summary = summarize(told)
            next_poll(summary, item.tracking, DEFAULT, AT, number=item.number, began=AT, edd=item.edd)
            for at in (item.as_of, *([item.edd.begins, item.edd.ends] if item.edd else [])):
                assert at is None or at.astimezone(UTC)
            _storable(_SUMMARY.dump_python(summary, mode="json"))
        _storable(_ADAPTERS[type(item)].dump_python(item, mode="json"))


_SUMMARY: TypeAdapter[Summary] = TypeAdapter(Summary)
_ADAPTERS: dict[type, TypeAdapter[Any]] = {one: TypeAdapter(one) for one in (Report, Order, Hint, Checkout, Unread)}


def _storable(value: Any) -> None:
    """Demand what every database takes: no NUL, no half a character, no number of more than 64 bits."""
    assert b"\\u0000" not in orjson.dumps(value)


# addresses

BENIGN = ("1001", "1Z1001", "gid://shopify/Order/1001")  # each says something to somebody
HOSTILE = (
    "../../x?a=b#c", "..", ".", "", " ", "%2e%2e", "%2E%2E%2fx", "a/b", "a\\b", "a\nb", "a\r\nHost: evil.example", "a\x00b", "a;b", "a?b",
    "a#b", "a b", "a@b", "//evil.example/x", "https://evil.example/x", "\u00e9\u202e", "\u0661", "a\u2028b", "a\ud800", "x" * 5000,
    "1001:a\r\nb", "gid://shopify/Order/1/../2", "../../x:secret", "1Z/../x?a=b#c",
)  # fmt: skip
ANSWERS = ((TOKEN,), (b"[]",), (TOKEN, b"[]"))  # so that more than the first call is made
_SAID = {value.casefold() for value in BENIGN}
_PLAIN = re.compile(r"[A-Za-z0-9\-._~:/%=@!$&'()*+,;]+")


def _asks(plugin: type[Source]) -> dict[str, Callable[[Any, Recorder, str], Any]]:
    """Return each call that sends something: with a value that somebody else wrote in every place where one can stand."""

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
    if issubclass(plugin, Carrier):
        callback = {"callback_url": "https://us.example/hook"} if "callback_url" in plugin.Settings.model_fields else {}
        bound = plugin("account", example_settings(plugin, **callback))
        found["register"] = lambda _, client, value: bound.register(client, parcels(value))
        found["answer a handshake"] = lambda _, client, value: bound.register(client, Refs((f"{value}:secret",)))
    if issubclass(plugin, Platform):
        found |= {f"push {kind}": push(kind) for kind in ("fulfilment_event", "order_status", "order_note")}
    return found


def _some(pages: Iterator[Any]) -> None:
    """Take the first pages of a sweep."""
    for _ in zip(range(2), pages, strict=False):
        pass


def _write(source: Platform, kind: str, value: str) -> tuple[Action, Order]:
    parcel = Parcel(None, value, value)
    fulfilment = Fulfilment(value, "open", (parcel,), published=Published(None, value, AT))
    words = source.order_words()
    raw = words.get(OrderStatus.PROCESSING) or words.get(OrderStatus.PARTIALLY_SHIPPED, "processing")
    paid = PaymentStatus.PAID
    before = Order("s", value, value, OrderStatus.PROCESSING, raw, paid, "paid", AT, AT, fulfilments=(fulfilment,))
    action = Action(
        kind, value, "s", value, value, ShippingStatus.DELIVERED, happened_at=AT, target=OrderStatus.SHIPPED, parcels=(parcel,),
        number=value, text=value,
    )  # fmt: skip
    return action, before


def _sent(plugin: Source, ask: Callable[[Any, Recorder, str], Any], value: str) -> list[Request]:
    """Return what is sent. A source that cannot be asked so, or refuses the value, or an answer of ours, sends less."""
    sent: list[Request] = []
    for bodies in ANSWERS:
        client = Recorder(*bodies)
        fresh = type(plugin)("account", plugin.settings)  # without the token of another ask
        with suppress(SourceError, AssertionError, NotImplementedError, KeyError, ValueError, TypeError):
            ask(fresh, client, value)
        sent += client.sent
    return sent


def _only_a_segment_differs(hostile: Request, benign: Request) -> bool:
    """Say whether two requests go to the same place but for one segment, which nothing reads as anything else."""
    one, other = urlsplit(hostile.url), urlsplit(benign.url)
    ours, theirs = one.path.split("/"), other.path.split("/")
    differing = [(a, b) for a, b in zip(ours, theirs, strict=False) if a != b]
    return (
        (one.scheme, one.netloc, one.query, one.fragment) == (other.scheme, other.netloc, "", "")
        and len(ours) == len(theirs)
        and len(differing) <= 1
        and all(unquote(b).casefold() in _SAID and unquote(a) not in ("", ".", "..") for a, b in differing)
        and _PLAIN.fullmatch(hostile.url) is not None
    )


def _twisted(raw: bytes) -> list[bytes]:
    """Return the document with each value in turn replaced by one of the wrong type."""
    try:
        document = json.loads(raw)
    except ValueError:
        return []
    found: list[bytes] = []

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            value = node[key]
            wrongs: tuple[Any, ...] = (None, 7, "", [], {}, [None], True, "\u0000", "x" * 4096)
            for wrong in wrongs:
                if len(found) > 4000:
                    return
                node[key] = wrong
                found.append(json.dumps(document).encode())
            node[key] = value
            walk(value)

    walk(document)
    return found


class CarrierSuite(_PluginSuite):
    """The facts that hold for every carrier."""

    def test_its_codes_mean_something(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        assert bool(plugin.codes) != plugin.codes_from_yaml
        if plugin.codes_from_yaml:
            return
        assert all(isinstance(meaning, Meaning) for meaning in plugin.codes.values())
        assert any(m.status is ShippingStatus.DELIVERED for m in plugin.codes.values())

    def test_its_answers_hold_what_it_says_that_they_hold(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        for part in [
            part for _, kind, file in cases(self.fixtures) if kind == "poll" for part in payload_of(kind, file).parts
        ]:
            assert holding(part, *plugin.answer_keys) == part

    def test_a_code_nobody_knows_has_no_meaning(self, plugin: Source) -> None:
        from tracker.domain.facts import Code

        assert isinstance(plugin, Carrier)
        assert plugin.meaning(Code("no-such-space", "no-such-code")) is None

    def test_poll_and_webhook_of_one_scan_share_their_fingerprint(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        pairs: dict[str, set[str]] = {}
        for case, kind, file in cases(self.fixtures):
            if not case.startswith("same-"):
                continue
            payload = payload_of(kind, file)
            prints = {
                fingerprint(scan, text_matters=plugin.text_matters)
                for report in plugin.normalize(payload)
                if isinstance(report, Report)
                for scan in report.scans
            }
            pairs[case] = pairs[case] & prints if case in pairs else prints
        if plugin.webhooks:
            assert pairs, (
                "a carrier with both ways ships one pair of fixtures of the same scan: same-*.webhook, same-*.poll"
            )
        assert all(pairs.values())


class PlatformSuite(_PluginSuite):
    """The facts that hold for every platform."""

    def test_it_can_be_swept_and_read(self, plugin: Source) -> None:
        assert Since in plugin.asks
        assert isinstance(plugin, Platform)
        assert plugin.statuses

    def test_its_webhooks_are_signed(self, plugin: Source) -> None:
        assert plugin.trust in (Trust.SIGNED, Trust.SHARED)


def for_carrier(module: str, *, fixtures: Path) -> type[CarrierSuite]:
    """Return the suite of one carrier module, to be bound to a name that begins with Test."""
    return type("TestCarrier", (CarrierSuite,), {"module": module, "fixtures": fixtures})


def for_platform(module: str, *, fixtures: Path) -> type[PlatformSuite]:
    """Return the suite of one platform module, to be bound to a name that begins with Test."""
    return type("TestPlatform", (PlatformSuite,), {"module": module, "fixtures": fixtures})

"""The facts that hold for every plugin, every carrier and every platform."""

from __future__ import annotations

import importlib
import inspect
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from tracker.domain.errors import BadPayload, SourceError, Transient, WebhookRejected
from tracker.domain.facts import Code, Meaning, Payload, Report, Since, Unread, fingerprint
from tracker.domain.vocabulary import ShippingStatus, Trust
from tracker.plugin.answers import holding
from tracker.plugin.calls import Response
from tracker.plugin.conformance import broken, documents
from tracker.plugin.conformance.addresses import BENIGN, HOSTILE, asks_of, only_a_segment_differs, sent_by
from tracker.plugin.conformance.given import (
    AT,
    BAD_BODIES,
    KINDS,
    PAGES,
    Everywhere,
    cases,
    example_settings,
    parts_of,
    plugin_of,
    read_all,
)
from tracker.plugin.conformance.shops import ShopFacts
from tracker.plugin.conformance.shown import differences, facts, go_on, printed, size
from tracker.plugin.contracts import CONTRACT, Carrier, Platform, Reply, Source
from tracker.plugin.names import FILE, read_words
from tracker.plugin.payloads import BOM


class _PluginSuite:
    """The facts that hold for every plugin."""

    module: ClassVar[str]
    fixtures: ClassVar[Path]
    form: ClassVar[broken.Form] = broken.JSON  # of fixtures whose names do not end with .json
    settings: ClassVar[Mapping[str, Any]] = {}  # of an account, where invented values would not do

    @pytest.fixture
    def plugin(self) -> Source:
        """Return the plugin, bound to example settings."""
        found = plugin_of(self.module)
        return found("account", example_settings(found, **self.settings))

    @pytest.fixture(autouse=True)
    def _no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("a pure method opened a socket")

        monkeypatch.setattr(socket.socket, "connect", refuse)

    def test_the_class_says_what_it_is(self, plugin: Source) -> None:
        assert plugin.docs.startswith("https://")
        assert plugin.contract == CONTRACT
        assert plugin.asks or (isinstance(plugin, Carrier) and plugin.files)
        assert all(isinstance(query, type) for query in plugin.asks)
        assert inspect.getdoc(importlib.import_module(self.module))
        assert not inspect.isabstract(type(plugin))

    def test_settings_refuse_what_they_do_not_know(self, plugin: Source) -> None:
        with pytest.raises(ValidationError, match="not_a_setting"):
            example_settings(type(plugin), **self.settings, not_a_setting=1)

    def test_secrets_do_not_show(self, plugin: Source) -> None:
        secrets = [
            name for name, field in type(plugin).Settings.model_fields.items() if "SecretStr" in str(field.annotation)
        ]
        shown = f"{plugin.settings!r} {plugin.settings} {plugin.settings.model_dump(mode='json')}"

        assert not [name for name in secrets if f"canary-{name}" in shown or "secret-0123456789" in shown]

    def test_an_unsigned_webhook_is_refused(self, plugin: Source) -> None:
        with pytest.raises(WebhookRejected):
            plugin.verify(Payload("account", "webhook", (b"{}",), AT, {}))

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "x",
            "=",
            ",",
            "v1",
            "v1,,",
            "t=1,v1=",
            "é",
            "\x00",
            "a" * 10_000,
            "\udcff",
            "-1",
            "1e9",
            "9" * 40,
            "\u00b2",
            "\u0663",
        ],
    )
    def test_a_junk_signature_is_refused_and_nothing_else(self, plugin: Source, value: str) -> None:
        with pytest.raises(WebhookRejected):
            plugin.verify(Payload("account", "webhook", (b"{}",), AT, Everywhere(value)))

    @pytest.mark.parametrize("value", ["", "x", "\x00", "a" * 10_000, "\udcff"])
    def test_a_handshake_is_answered_or_none_whatever_it_holds(self, plugin: Source, value: str) -> None:
        body = value.encode("utf-8", "replace")
        for payload in (
            Payload("account", "webhook", (b"",), AT, {}, Everywhere(value)),
            Payload("account", "webhook", (body,), AT, Everywhere(value), Everywhere(value)),
        ):
            assert isinstance(plugin.handshake(payload), Reply | None)

    def test_news_is_no_handshake(self, plugin: Source) -> None:
        for kind, _, file in cases(self.fixtures):
            if kind == "webhook":
                assert plugin.handshake(Payload("account", kind, parts_of(file), AT, {})) is None, (
                    "a handshake is counted, and never read"
                )

    def test_without_a_secret_nothing_verifies(self, plugin: Source) -> None:
        if "webhook_secrets" not in type(plugin).Settings.model_fields:
            return
        for none in ([], [""]):
            settings = example_settings(type(plugin), **{**self.settings, "webhook_secrets": none})
            one = type(plugin)("account", settings)
            with pytest.raises(WebhookRejected):
                one.verify(Payload("account", "webhook", (b"{}",), AT, {"authorization": ""}))

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
    def test_an_unreadable_body_is_a_bad_payload_with_its_path(self, plugin: Source, body: bytes, kind: str) -> None:
        try:
            items = _read(plugin, kind, (body,), "this body")
        except BadPayload as error:
            assert error.where.startswith("$")
        else:
            assert items == [] or all(isinstance(i, Report) and not i.scans for i in items)
        assert isinstance(plugin.dedupe_key(Payload("account", kind, (body,), AT, {})), str)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 502, 503])
    def test_a_failure_becomes_an_error_of_the_tree(self, plugin: Source, status: int) -> None:
        with pytest.raises(SourceError):
            plugin.raise_for_status(Response(status, {}, b"{}", AT))

    def test_a_good_answer_is_judged_good(self, plugin: Source) -> None:
        answers = [part for _, kind, file in cases(self.fixtures) if kind == "poll" for part in parts_of(file)]
        xml = [answer for answer in answers if answer[:1] == b"<"]
        for answer in xml or [b"{}"]:
            plugin.raise_for_status(Response(200, {}, answer, AT))

    def test_every_fixture_reads_as_the_documentation_says(self, plugin: Source) -> None:
        found = list(cases(self.fixtures))
        assert found, f"{self.fixtures} holds no fixture"
        assert (self.fixtures / "SOURCES.md").exists()
        for case, kind, file in found:
            expected = json.loads((self.fixtures / f"{case}.{kind}.expected.json").read_text(encoding="utf-8"))

            wrong = differences(facts(read_all(plugin, kind, parts_of(file)), plugin), expected)
            assert not wrong, "\n".join([file.name, *wrong])

    def test_what_it_calls_carriers_is_understood(self, plugin: Source) -> None:
        for company, carrier in plugin.companies.items():
            assert plugin.carrier_of(company.upper()) == carrier
        for carrier, word in plugin.names.words.items():
            assert plugin.carrier_of(word) == carrier, f"it is called by {word!r} and means another"
        unheard = [one for one in plugin.vocabulary if not any(word.said_by == one for word in read_words())]
        assert not unheard, f"{FILE.name} holds no word of {unheard}"

    def test_reading_is_pure(self, plugin: Source) -> None:
        for _, kind, file in cases(self.fixtures):
            parts = parts_of(file)

            assert read_all(plugin, kind, parts) == read_all(plugin, kind, parts)

    def test_a_cut_or_changed_fixture_never_crashes(self, plugin: Source) -> None:
        for case, kind, file in cases(self.fixtures):
            first, *more = parts_of(file)
            changed = [] if case.endswith("-three") else _twisted(first)  # those are broken in more ways, below
            for body in [first[: len(first) * i // 20] for i in range(20)] + changed:
                try:
                    items = _read(plugin, kind, (body, *more), f"{file.name} as {body!r:.2000}")
                except BadPayload as error:
                    assert error.where
                else:
                    go_on(plugin, items)

    def test_a_byte_order_mark_changes_nothing(self, plugin: Source) -> None:
        for _, kind, file in cases(self.fixtures):
            parts = parts_of(file)
            marked = tuple(BOM + part for part in parts)

            assert read_all(plugin, kind, marked) == read_all(plugin, kind, parts), file.name

    def test_one_broken_element_of_a_list_takes_nothing_from_the_others(self, plugin: Source) -> None:
        found = [(kind, file) for case, kind, file in cases(self.fixtures) if case.endswith("-three")]
        assert found, f"{self.fixtures} holds no case of three parcels or orders: <case>-three.<kind>.<ending>"
        for kind, file in found:

            def read(parts: tuple[bytes, ...], what: str, kind: str = kind) -> list[Any]:
                return _read(plugin, kind, parts, what)

            form = broken.JSON if file.name.endswith((".json", ".xml")) else self.form
            document = form.load(file.read_bytes())
            parts = document if file.name.endswith(".parts.json") else [document]
            lists = broken.threes(parts)
            assert lists, f"{file.name} holds no list of three objects"
            whole = read(broken.bodies(parts, form), file.name)
            fine: set[Any] = set()  # facts that the core went on with: most are told again and again
            for three in lists:
                rest = read(broken.without(parts, three, form), f"{file.name} without one of three")
                for change in broken.changes(parts, three, form):
                    what = f"{file.name}, {change.where} is {change.how}"
                    try:
                        told = read(change.bodies, what)
                    except BadPayload as error:
                        assert not rest, f"{what}: {error}"
                        continue
                    assert broken.still_told(told, rest, whole) == [], what
                    assert not (odd := printed(told)), f"{what}: {odd} is what Python prints of it, and nobody's word"
                    if size(told) < size(whole) and change.how.startswith(("of another type", "absurd")):
                        assert any(isinstance(item, Unread) for item in told), f"{what}: left out in silence"
                    go_on(plugin, [item for item in told if item not in fine])
                    fine.update(told)

    def test_what_somebody_else_wrote_leaves_the_address_where_it_is(self, plugin: Source) -> None:
        asks = asks_of(type(plugin), **self.settings)
        plain = [request for query in asks.values() for value in BENIGN for request in sent_by(plugin, query, value)]
        assert plain or not plugin.asks, "no request was recorded: the test asks wrongly"
        for name, query in asks.items():
            for hostile in HOSTILE:
                for one in sent_by(plugin, query, hostile):
                    what = (
                        f"{name} {hostile!r:.30}: {one.url!r:.200}: it goes into a path by `segment`, or into `params`"
                    )
                    assert any(only_a_segment_differs(one, other) for other in plain), what
                    assert all(value.isprintable() and value.isascii() for value in one.headers.values()), what

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 409, 422])
    @pytest.mark.parametrize("body", PAGES)
    def test_a_page_of_html_is_no_answer_whatever_its_status(self, plugin: Source, status: int, body: bytes) -> None:
        with pytest.raises(Transient):
            plugin.raise_for_status(Response(status, {"content-type": "text/html"}, body, AT))


def _read(plugin: Source, kind: str, parts: tuple[bytes, ...], what: str) -> list[Any]:
    """Read a payload. Raises BadPayload as the plugin does; whatever else it raises fails the test, with what was read."""
    try:
        return read_all(plugin, kind, parts)
    except BadPayload:
        raise
    except Exception as error:
        said = f"{what}: {type(error).__name__}: {error}; nothing but BadPayload may leave `normalize` (tracker.plugin.payloads)"
        raise AssertionError(said) from error


def _twisted(raw: bytes) -> list[bytes]:
    """Return the document with each value in turn replaced by one of the wrong type."""
    try:
        document = documents.read(raw)
    except ValueError:
        return []
    found: list[bytes] = []
    wrongs: tuple[Any, ...] = (None, 7, "", [], {}, [None], True, "\u0000", "x" * 4096)
    if isinstance(document, documents.Xml):
        wrongs = ({"x": ["1", "2"]}, [None, ""], "x" * 4096)  # the three are broken in more ways

    def walk(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            value = node[key]
            for wrong in wrongs:
                if len(found) > 4000:
                    return
                if isinstance(wrong, str) or not str(key).startswith(("@", "#")):  # those are texts
                    node[key] = wrong
                    found.append(documents.printed(document))
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

    def test_what_it_registers_is_told_in_batches_of_its_own(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        assert plugin.register_batch > 0
        assert plugin.registers or not (plugin.registers_first or plugin.stops), "it registers nothing"
        for name in ("stop", "track_again"):
            assert plugin.stops == (getattr(type(plugin), name) is not getattr(Carrier, name)), f"stops, and {name}"
        assert (plugin.resends is not None) == (type(plugin).resend is not Carrier.resend), "resends, and resend"

    def test_what_it_says_of_its_feed_and_its_documents_is_there(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        if Since in plugin.asks:
            assert any(kind == "sweep" for _, kind, _ in cases(self.fixtures)), (
                "its feed has no fixture: <case>.sweep.*"
            )
            assert plugin.sweep_least <= plugin.sweep_every < plugin.reaches_back
        assert plugin.proves == (type(plugin).proof is not Carrier.proof), "proves, and proof"

    def test_its_words_for_carriers_are_of_those_that_it_speaks_for(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        assert not plugin.carriers or {*plugin.companies.values()} <= {*plugin.carriers}

    def test_its_answers_hold_what_it_says_that_they_hold(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        for part in [part for _, kind, file in cases(self.fixtures) if kind == "poll" for part in parts_of(file)]:
            assert holding(part, *plugin.response_keys) == part

    def test_a_code_nobody_knows_has_no_meaning(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        assert plugin.meaning(Code("no-such-space", "no-such-code")) is None

    def test_poll_and_webhook_of_one_scan_share_their_fingerprint(self, plugin: Source) -> None:
        assert isinstance(plugin, Carrier)
        pairs: dict[str, set[str]] = {}
        pushes = False
        for case, kind, file in cases(self.fixtures):
            prints = {
                fingerprint(scan, text_matters=plugin.text_matters)
                for report in read_all(plugin, kind, parts_of(file))
                if isinstance(report, Report)
                for scan in report.scans
            }
            pushes = pushes or (kind == "webhook" and bool(prints))
            if not case.startswith("same-"):
                continue
            pairs[case] = pairs[case] & prints if case in pairs else prints
        if plugin.webhooks and any(kind == "webhook" for _, kind, _ in cases(self.fixtures)):
            assert pushes == plugin.pushes_scans, "pushes_scans = False where its webhooks say only that there is news"
        if plugin.webhooks and pushes:
            assert pairs, (
                "a carrier with both ways ships one pair of fixtures of the same scan: same-*.webhook, same-*.poll"
            )
        apart = [case for case, prints in pairs.items() if not prints]
        assert not apart, (
            f"no scan of the poll has the fingerprint of one of the webhook: {', '.join(apart)}; it is made of the event id, else of code "
            "space, code, local time, city and country (`fingerprint` in tracker/domain/facts)"
        )


class PlatformReads(_PluginSuite):
    """The facts that hold for every platform, but for those of what it writes."""

    def test_it_can_be_swept_and_read(self, plugin: Source) -> None:
        assert Since in plugin.asks
        assert isinstance(plugin, Platform)
        assert plugin.statuses

    def test_a_stores_own_words_for_carriers_come_first(self, plugin: Source) -> None:
        store = type(plugin)("s", example_settings(type(plugin), **{**self.settings, "carriers": {"UPS": "acme"}}))

        assert (plugin.carrier_of("UPS"), store.carrier_of("UPS"), store.carrier_of("fed-ex")) == (
            "ups",
            "acme",
            "fedex",
        )
        assert store.carrier_of("what nobody is called") is None

    def test_its_webhooks_are_signed(self, plugin: Source) -> None:
        assert plugin.trust in (Trust.SIGNED, Trust.SHARED)


class PlatformSuite(ShopFacts, PlatformReads):
    """The facts that hold for every platform."""


def for_carrier(
    module: str, *, fixtures: Path, form: broken.Form = broken.JSON, settings: Mapping[str, Any] | None = None
) -> type[CarrierSuite]:
    """Return the suite of one carrier module, to be bound to a name that begins with Test.

    `form`: how those of its fixtures are written whose names do not end with `.json`. `settings`: of the account that is tried,
    where invented ones would not do.
    """
    told = {"module": module, "fixtures": fixtures, "form": form, "settings": settings or {}}
    return type("TestCarrier", (CarrierSuite,), told)


def for_platform(
    module: str, *, fixtures: Path, settings: Mapping[str, Any] | None = None, shop: bool = True
) -> type[PlatformReads]:
    """Return the suite of one platform module, to be bound to a name that begins with Test; `settings` as there.

    `shop`: whether what it writes is tried at its fake shop; not where that is another one's than the settings describe.
    """
    told = {"module": module, "fixtures": fixtures, "settings": settings or {}}
    return type("TestPlatform", (PlatformSuite if shop else PlatformReads,), told)

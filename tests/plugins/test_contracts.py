"""What the plugin package gives to every plugin."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tracker.config.plugins import names
from tracker.domain.errors import (
    BadPayload,
    CredentialsRejected,
    NotFound,
    RateLimited,
    Refused,
    Transient,
    Unavailable,
    WebhookRejected,
)
from tracker.domain.facts import Parcels, Payload, Refs, Since
from tracker.plugin import contracts
from tracker.plugin.answers import holding, raise_unless_json, retry_after, said_by
from tracker.plugin.calls import Response, segment
from tracker.plugin.codes import read_codes
from tracker.plugin.conformance import TOKEN, Recorder, example_settings, plugin_of
from tracker.plugin.signatures import hmac_hex, within

AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


class Bare(contracts.Carrier):
    """A carrier that overrides nothing."""

    docs = "https://example.com"
    Settings = contracts.Settings

    def normalize(self, payload):
        return ()

    def fetch(self, client, ask):
        yield from ()


class BareShop(contracts.Platform):
    """A platform that overrides nothing."""

    docs = "https://example.com"
    Settings = contracts.Settings

    def normalize(self, payload):
        return ()

    def fetch(self, client, ask):
        yield from ()

    def push(self, client, action, before):
        raise Refused("no")


def test_what_a_plugin_does_not_say_is_closed() -> None:
    bare = Bare("a", contracts.Settings())
    with pytest.raises(WebhookRejected, match="takes no webhooks"):
        bare.verify(Payload("a", "webhook", (b"",), AT))
    with pytest.raises(Refused, match="pinged"):
        bare.ping(None)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError):
        bare.register(None, Parcels(()))  # type: ignore[arg-type]
    assert bare.handshake(Payload("a", "webhook", (b"",), AT)) is None
    assert BareShop("s", contracts.Settings()).status_map() == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,1,x,in_transit,moving,doc\na,1,x,in_transit,moving,doc", "m.csv:3: ('a', '1') is there twice"),
        ("a,1,x,in_transit,moving,", "m.csv:2: ('a', '1') names no evidence"),
        ("a,1,x,on_the_moon,moving,doc", "m.csv:2: 'on_the_moon' is not a valid"),
        ("a,1,x,in_transit,because,doc", "m.csv:2: 'because' is not a valid"),
    ],
)
def test_a_wrong_code_table_names_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "m.csv").write_text("space,code,wording,status,reason,evidence\n" + row + "\n")
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace(")", r"\)")):
        read_codes(str(tmp_path / "m.py"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,1,x,deliverd,,doc", "'deliverd' is not a valid ShippingStatus: one of delivered, delivery_failed"),
        ("a,1,x,away,,doc", "'away' is not a valid ShippingStatus: one of unknown, pre_transit, picked_up, in_transit, "),
        ("a,1,x,delivered,deliverd,doc", "'deliverd' is not a valid Reason: one of delivered, "),
        ("a,1,x,delivered,xyz,doc", "'xyz' is not a valid Reason: tracker/domain/vocabulary.py says when each is used"),
        ("a,1,Weighed, and sorted,delivered,,doc", "('a', '1') has more or fewer columns than the head of the table"),
        ("a,1,x,delivered", "('a', '1') has more or fewer columns than the head of the table"),
    ],
)  # fmt: skip
def test_a_wrong_row_of_a_code_table_says_what_could_be_meant(tmp_path: Path, row: str, said: str) -> None:
    (tmp_path / "m.csv").write_text(f"space,code,wording,status,reason,evidence\n{row}\n")
    with pytest.raises(ValueError, match=f"^{re.escape(f'm.csv:2: {said}')}"):
        read_codes(str(tmp_path / "m.py"))


def test_all_wrong_rows_of_a_code_table_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "space,code,wording,status,reason,evidence\na,1,x,mars,,doc\na,2,x,delivered,,doc\na,3,x,delivered,,\n"
    )
    with pytest.raises(ValueError, match=r"^m\.csv:2: 'mars' [^\n]+\nm\.csv:4: \('a', '3'\) names no evidence$"):
        read_codes(str(tmp_path / "m.py"))


def test_a_signed_time_must_be_near_in_both_directions() -> None:
    within(AT, AT + timedelta(minutes=4))
    for away in (timedelta(minutes=6), timedelta(minutes=-6)):
        with pytest.raises(WebhookRejected):
            within(AT + away, AT)


def test_an_empty_secret_verifies_nothing() -> None:
    with pytest.raises(WebhookRejected, match="empty"):
        hmac_hex([SecretStr("")], b"", "x", name="h")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ("1Z999", "1Z999"), ("a/b?c#d=e", "a%2Fb%3Fc%23d=e"), ("%2e%2e", "%252e%252e"), ("a\\b;c", "a%5Cb%3Bc"), ("\n\x00", "%0A%00"), ("é", "%C3%A9"),
        (".", None), ("..", None), ("", None), ("a\ud800", None),
    ],
)  # fmt: skip
def test_what_somebody_else_wrote_is_one_segment_of_a_path_or_refused(value: str, encoded: str | None) -> None:
    if encoded is None:
        with pytest.raises(Refused):
            segment(value)
    else:
        assert segment(value) == encoded


PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><title>Just a moment</title>"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, PAGE, Unavailable), (404, PAGE, Transient), (403, b"<HTML></HTML>", Transient), (401, PAGE, CredentialsRejected),
        (429, PAGE, RateLimited), (503, PAGE, Transient), (404, b"{}", NotFound), (403, b"", CredentialsRejected),
        (200, b"", None), (204, b"", None), (200, b"<?xml version='1.0'?><a/>", None), (200, b'{"a": "<html>"}', None),
    ],
)  # fmt: skip
def test_a_page_of_html_is_no_answer_whatever_its_status(
    status: int, body: bytes, error: type[Exception] | None
) -> None:
    bare = Bare("a", contracts.Settings())
    if error is None:
        bare.raise_for_status(Response(status, {}, body, AT))
    else:
        with pytest.raises(error) as raised:
            bare.raise_for_status(Response(status, {}, body, AT))
        assert type(raised.value) is error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"Service Unavailable", "HTTP 200 with something that is no JSON"),
        (b"<a/>", "HTTP 200 with something that is no JSON"),
        (b'{"response": {"errors": [{"code": "7", "message": "busy"}]}}', "HTTP 200 with an error: 7: busy"),
        (b'{"response": {"errors": {"message": "busy"}}}', "HTTP 200 with an error: busy"),
        (b'{"response": {"errors": ["busy"]}}', "HTTP 200 with an error: busy"),
        (b'{"response": {"errors": 7}}', "HTTP 200 with an error: no reason given"),
        (b'{"response": {"errors": []}}', None),
        (b'{"response": []}', None),
        (b'{"response": {"errors": [', None),  # a cut answer: stored, and told by the parser
        (b'{"parcels": [{"errors": 1}]}', None),
        (b'\xef\xbb\xbf {"parcels": []}', None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_an_error_that_comes_with_200_is_transient(body: bytes, said: str | None) -> None:
    if said is None:
        raise_unless_json(Response(200, {}, body, AT), errors=("response", "errors"))
    else:
        with pytest.raises(Transient, match=said):
            raise_unless_json(Response(200, {}, body, AT), errors=("response", "errors"))
    raise_unless_json(Response(200, {}, b'{"errors": 1}', AT))


ELSE = (b"", b"{}", b"null", b"[]", b'{"message": "an error occurred"}', b'{"status": "error", "code": 500}')


@pytest.mark.parametrize("body", ELSE)
@pytest.mark.parametrize("name", [name for name in names("carriers") if plugin_of(f"carriers.{name}").asks])
def test_an_answer_without_what_every_answer_holds_is_a_failed_one(name: str, body: bytes) -> None:
    """It comes with a good status, and is neither "no news" nor a payload that nobody can read."""
    plugin: Any = plugin_of(f"carriers.{name}")
    with pytest.raises(Transient, match="an answer without "):
        holding(body, *plugin("account", example_settings(plugin)).response_keys)


@pytest.mark.parametrize("name", names("adapters"))
def test_an_answer_of_a_shop_without_its_orders_is_a_failed_one(name: str) -> None:
    plugin: Any = plugin_of(f"adapters.{name}")
    for body in ELSE:
        for ask in (Refs(("gid://shopify/Order/1001", "T3JkZXI6MQ==", "1001")), Since(None)):
            for answers in ((body,), (TOKEN, body)):
                fresh = plugin("account", example_settings(plugin))  # without the token of another ask
                if body != b"[]":  # a list of none, on BigCommerce and WooCommerce
                    with pytest.raises(Transient):
                        list(fresh.fetch(Recorder(*answers), ask))


@pytest.mark.parametrize("body", [body for body in ELSE if body != b"[]"])  # a list of none, as above
@pytest.mark.parametrize("name", ["bigcommerce", "magento", "saleor", "shopify", "woocommerce"])
def test_credentials_are_not_proved_by_an_answer_that_is_none(name: str, body: bytes) -> None:
    plugin: Any = plugin_of(f"adapters.{name}")
    for answers in ((body,) * 2, (TOKEN, *(body,) * 2)):
        with pytest.raises(Transient):
            plugin("account", example_settings(plugin)).ping(Recorder(*answers))


def test_half_a_json_is_kept_as_it_came_and_told_by_the_parser() -> None:
    for half in (b'{"shipments": [', b'{"shipm', b"what?"):
        assert holding(half, "shipments") == half
        assert said_by(half, "") == ""
    assert holding(b"{}") == b"{}"


def test_a_file_is_one_payload_unless_its_carrier_cuts_it_and_none_may_be_too_large() -> None:
    bare = Bare("bare", contracts.Settings())

    assert list(bare.cut(io.BytesIO(b"body"))) == [contracts.Cut((b"body",), 1, 1, 4)]
    assert list(bare.cut(io.BytesIO())) == []
    with pytest.raises(BadPayload, match=f"is larger than {bare.max_body} bytes"):
        list(bare.cut(io.BytesIO(bytes(bare.max_body + 1))))


def test_a_shop_lets_orders_of_any_age_be_read_unless_it_says_otherwise() -> None:
    assert BareShop("bare", contracts.Settings()).reads_back() is None


def test_a_reply_is_of_a_content_type_and_nothing_that_is_another_header() -> None:
    assert contracts.Reply(b"x", "text/xml; charset=utf-8").body == b"x"
    with pytest.raises(ValueError, match="a content type is"):
        contracts.Reply(b"x", "text/plain\r\nx-own: 1")


@pytest.mark.parametrize(
    ("value", "seconds"), [("Mon, 02 Nov 2026 12:00:07 GMT", 7), ("Mon, 02 Nov 2026 11:00:00 GMT", 0)]
)
def test_a_wait_until_a_date_is_counted_from_the_answer_and_never_negative(value: str, seconds: int) -> None:
    assert retry_after(Response(429, {"retry-after": value}, b"", AT)) == timedelta(seconds=seconds)

"""What the plugin package gives to every plugin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tracker.domain.errors import Refused, WebhookRejected
from tracker.domain.facts import Parcels, Payload
from tracker.plugin import contracts
from tracker.plugin.contracts import read_codes
from tracker.plugin.oauth import Token, Tokens
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
    assert bare.reply(Payload("a", "webhook", (b"",), AT)) is None
    assert BareShop("s", contracts.Settings()).words() == {}


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


def test_a_signed_time_must_be_near_in_both_directions() -> None:
    within(AT, AT + timedelta(minutes=4))
    for away in (timedelta(minutes=6), timedelta(minutes=-6)):
        with pytest.raises(WebhookRejected):
            within(AT + away, AT)


def test_an_empty_secret_verifies_nothing() -> None:
    with pytest.raises(WebhookRejected, match="empty"):
        hmac_hex([SecretStr("")], b"", "x", name="h")


class _Client:
    def now(self) -> datetime:
        return AT


def test_a_token_is_renewed_before_it_ends_and_forgotten_once() -> None:
    made: list[int] = []

    def grant(_client: object) -> Token:
        made.append(1)
        return Token(f"t{len(made)}", AT + timedelta(minutes=1))

    tokens = Tokens(grant)
    client = _Client()
    assert (tokens.get(client), tokens.get(client)) == ("t1", "t2")  # type: ignore[arg-type]
    tokens.forget("t1")  # another thread renewed it already
    tokens.forget("t2")
    tokens.forget("t2")
    assert tokens.get(client) == "t3"  # type: ignore[arg-type]

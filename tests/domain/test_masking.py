"""What may not be seen, and every way in which it could be."""

from __future__ import annotations

import base64
import gc
import html
import json
import re
from urllib.parse import quote, quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.domain.errors import BadPayload, ConfigError, Transient
from tracker.domain.masking import MASK, Hidden, hide, is_token, mask, mask_bytes

SECRETS = [
    "canary-7f3a9b2c5d",
    "p@ss/w%rd?#&+\" '<é>",
    "ein Geheimnis\nvon zwei Zeilen",
    "ключ-от-двери",
    "\\back\tslash\x07bell",
    "sk_live_51H8x",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_value_is_masked_in_every_spelling(secret: str) -> None:
    hidden = hide(secret)
    spelt = {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), re.sub("%..", lambda e: e[0].lower(), quote(secret)), json.dumps(secret),
        orjson.dumps(secret).decode(), repr(secret), repr(secret.encode()), html.escape(secret), f"x{secret}y", f"'{secret}'",
    }  # fmt: skip
    for text in spelt:
        assert MASK in mask(f"before {text} after"), text
        assert not any(part in mask(text) for part in secret.split() if len(part) > 7), text
    assert hidden


@pytest.mark.parametrize("user", ["", "u", "us", "use", "user"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_value_is_masked_inside_a_basic_credential(user: str, encode: object) -> None:
    hidden = hide("?>canary~~7f3a9b2c5d")
    told = encode(f"{user}:?>canary~~7f3a9b2c5d:more".encode()).decode()  # type: ignore[operator]

    seen = mask(told)
    assert MASK in seen
    assert all(len(part) < 12 for part in seen.split(MASK))
    assert hidden


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_any_value_is_masked_where_it_stands_alone(secret: str, before: str, after: str) -> None:
    hidden = hide(secret)
    told = mask(f"{before} {secret} {after}")

    assert MASK in told
    assert hidden


def test_a_short_value_is_masked_only_where_it_stands_alone() -> None:
    hidden = Hidden()
    assert hidden.add("hook")
    assert not hidden.add("key")

    assert (
        mask("hook, (hook) webhook hook_key dhl-hook hooks key")
        == f"{MASK}, ({MASK}) webhook hook_key dhl-hook hooks key"
    )


def test_of_two_values_that_begin_alike_the_longer_is_masked_whole() -> None:
    hidden = Hidden()
    hidden.add("canary-1234")
    hidden.add("canary-1234-5678")

    assert mask("canary-1234-5678 canary-1234") == f"{MASK} {MASK}"


def test_values_that_overlap_are_masked_whole_whoever_hid_them() -> None:
    """Masked one after the other, the first would break up the second, and its rest would be shown."""
    held = [hide("hook"), hide("canary-one"), hide("one-canary-two"), hide("two")]
    address = Hidden()
    address.add_url("https://h.example/canary/hook", path=True)

    assert mask("https://h.example/canary/hook") == f"https://h.example/{MASK}"
    assert mask("canary-one-canary-two, canary-one, two") == f"{MASK}, {MASK}, two"
    assert held


def test_what_nobody_holds_any_more_is_forgotten() -> None:
    hidden = hide("canary-forgotten")
    other = hide("canary-kept-on")
    assert mask("canary-forgotten") == MASK
    del hidden
    gc.collect()

    assert mask("canary-forgotten canary-kept-on") == f"canary-forgotten {MASK}"
    assert hide("another-canary") and other
    assert len([one for one in Hidden.live if one() is other]) == 1


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("postgresql://u:canary@h/x", f"postgresql://u:{MASK}@h/x"),
        ("redis://:canary@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("redis://:ca/na?ry#pw@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("https://u:ca@na@ry@h/x", f"https://u:{MASK}@h/x"),
        ("https://canary@h/x", f"https://{MASK}@h/x"),
        ("a://u:canary@h,b://v:canary@i", f"a://u:{MASK}@h,b://v:{MASK}@i"),
        ("https://h:8080/a@b", "https://h:8080/a@b"),
        ("https://h/track?mail=a@b.example", "https://h/track?mail=a@b.example"),
        ("a@b.example", "a@b.example"),
        ("://", "://"),
    ],
)
def test_the_password_of_any_url_is_masked_although_nobody_told_it(url: str, seen: str) -> None:
    assert mask(f"at {url}") == f"at {seen}"


def test_what_a_url_says_to_its_server_is_hidden_wherever_it_stands() -> None:
    hidden = Hidden()
    hidden.add("postgresql://u:canary%2Fone@h/x?sslmode=require&sslpassword=canary-two")
    hidden.add_url("https://h.example/v2/0a1b2c3d4e5f6a7b8c9d0e1f/shop?api_key=canary-three&page=canary-four")
    hidden.add_url("https://hooks.example/services/T0/B0/canary", path=True)
    hidden.add_url("https://alerts.example/trackwright?to=canary-five", path=True)
    hidden.add_url("https://plain.example/", path=True)
    hidden.add_url("no address")
    hidden.add_url("https://canary-six@h.example/")
    hidden.add_url("postgresql://somebody@h/x")

    told = mask(
        "canary/one canary%2Fone canary-two canary-three page=canary-four require 0a1b2c3d4e5f6a7b8c9d0e1f canary-five"
        " canary-six somebody"
    )
    assert told == f"{MASK} {MASK} {MASK} {MASK} page=canary-four require {MASK} {MASK} {MASK} somebody"
    assert mask("POST https://hooks.example/services/T0/B0/canary: 404") == f"POST https://hooks.example/{MASK}: 404"
    assert mask("https://alerts.example/trackwright?to=canary-five") == f"https://alerts.example/{MASK}"
    assert mask("var/trackwright.db https://plain.example/") == "var/trackwright.db https://plain.example/"


@pytest.mark.parametrize(
    ("text", "token"),
    [("0a1b2c3d4e5f6a7b8c9d0e", True), ("abcdefghijk_LMNOP-1234", True), ("0a1b2c3d4e5f", False), ("550e8400-e29b-41d4-a716-446655440000", True), ("test_that_all_is_well_0", False),
     ("TEST_THAT_ALL_IS_WELL_0", False), ("9400111206206406260787", False),
     ("marketplace-guide-and-so", False), ("a1.b2.c3.d4.e5.f6.g7.h8", False), ("é1b2c3d4e5f6a7b8c9d0e1f", False)],
)  # fmt: skip
def test_a_token_in_a_path_is_told_from_a_number_and_a_name(text: str, token: bool) -> None:
    assert is_token(text) is token


def test_bytes_are_masked_and_otherwise_left_as_they_came() -> None:
    hidden = hide("canary-7f3a9b2c5d")

    assert mask_bytes(b"\xff\x00canary-7f3a9b2c5d\xfe") == b"\xff\x00********\xfe"
    assert mask_bytes(b"\xff\xed\xa0\x80") == b"\xff\xed\xa0\x80"
    assert hidden


def test_no_error_of_ours_says_a_secret_however_it_is_shown() -> None:
    hidden = hide("canary-7f3a9b2c5d")
    for error in (
        Transient("h: canary-7f3a9b2c5d"), ConfigError("a: canary-7f3a9b2c5d"), BadPayload("$.canary-7f3a9b2c5d", "is no text"),
    ):  # fmt: skip
        assert "canary" not in f"{error} {error!r} {error!s}"
        assert MASK in str(error)
    assert hidden

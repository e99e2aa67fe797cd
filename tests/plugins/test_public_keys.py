"""Signatures by public keys: what proves, what does not, and that nothing but a rejection comes of what strangers write."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import key_pairs as pairs
from tests.key_pairs import detached, ebay_header, jwk, jwks, pair, pem
from tracker.domain.errors import BadPayload, KeyUnknown, WebhookRejected
from tracker.plugin.public_keys import detached_jws, ebay, jwt_body, key_of, read_jwks, rsa_sha256

BODY = '{"order": {"id": "T3JkZXI6MQ==", "note": "Grüße"}}'.encode()
AT = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
KEYS = read_jwks(jwks("a"))


def refused(given_: str | None, body: bytes = BODY, keys: dict[str, str] = KEYS) -> str:
    with pytest.raises(WebhookRejected) as caught:
        detached_jws(keys, body, given_, name="sig")
    assert not isinstance(caught.value, KeyUnknown)
    return str(caught.value)


def test_a_detached_jws_of_the_raw_body_proves() -> None:
    detached_jws(KEYS, BODY, detached(BODY, "a"), name="sig")


def test_a_body_that_changed_does_not() -> None:
    assert "does not match" in refused(detached(BODY, "a"), BODY + b" ")
    assert "does not match" in refused(detached(BODY, "a"), json.dumps(json.loads(BODY)).encode())


def test_an_unknown_key_is_told_by_its_id_and_never_by_what_can_be_none() -> None:
    with pytest.raises(KeyUnknown) as unknown:
        detached_jws(KEYS, BODY, detached(BODY, "b"), name="sig")
    assert unknown.value.key_id == "b"
    for odd in (None, 7, "", "a b", "a\0", "x" * 201, "é", ["a"]):
        with pytest.raises(WebhookRejected, match="names no key"):
            key_of({"a": "x"}, odd)


def test_signed_by_another_key_under_a_known_id_is_refused() -> None:
    assert "does not match" in refused(detached(BODY, "b", kid="a"))


def test_no_algorithm_is_refused() -> None:
    head, _, proof = detached(BODY, "a", alg="none").split(".")
    for signature in (proof, ""):
        assert "another algorithm" in refused(f"{head}..{signature}")


def test_a_public_key_is_no_secret_of_an_hmac() -> None:
    for alg in ("HS256", "HS512"):
        head = detached(BODY, "a", alg=alg).split(".")[0]
        for secret in (pem(pair("a")).encode(), KEYS["a"].encode()):
            proof = hmac.new(secret, head.encode() + b"." + BODY, hashlib.sha256).digest()
            assert "another algorithm" in refused(f"{head}..{base64.urlsafe_b64encode(proof).decode().rstrip('=')}")


@pytest.mark.parametrize(
    "brought",
    [
        {"jwk": jwk("b")}, {"jku": "https://evil.example/jwks.json"}, {"x5c": ["MIIB"]}, {"x5u": "https://evil.example/c"},
    ],
)  # fmt: skip
def test_a_key_that_the_message_brings_is_refused_though_it_fits(brought: dict[str, Any]) -> None:
    assert "brings its own key" in refused(detached(BODY, "b", kid="a", **brought))
    assert "brings its own key" in refused(detached(BODY, "a", **brought))


@pytest.mark.parametrize(
    "header",
    [
        {"b64": None}, {"b64": True}, {"crit": None}, {"crit": []}, {"crit": ["b64", "exp"]}, {"crit": "b64"}, {"b64": 0},
        {"alg": "RS512"}, {"alg": "PS256"}, {"alg": None}, {"alg": ["RS256"]},
    ],
)  # fmt: skip
def test_a_header_that_says_anything_else_is_refused(header: dict[str, Any]) -> None:
    refused(detached(BODY, "a", **header))


def test_a_signature_that_holds_its_payload_is_none_of_the_raw_body() -> None:
    head, _, proof = detached(BODY, "a").split(".")
    refused(f"{head}.{base64.urlsafe_b64encode(BODY).decode().rstrip('=')}.{proof}")
    refused(jwt.encode({"a": 1}, pair("a"), algorithm="RS256", headers={"kid": "a"}))


@given(
    st.text(max_size=80) | st.lists(st.sampled_from([".", "e30", "eyJhbGciOiJSUzI1NiJ9", "=", "\0", "é"])).map("".join)
)
def test_any_text_is_refused_and_nothing_else(text: str) -> None:
    for check in (
        lambda: detached_jws(KEYS, BODY, text, name="sig"), lambda: ebay(KEYS, BODY, text),
        lambda: jwt_body([pem(pair("a"))], text.encode("utf-8", "replace"), AT),
        lambda: rsa_sha256(pem(pair("a")), BODY, text, name="sig"),
    ):  # fmt: skip
        with pytest.raises(WebhookRejected):
            check()


def test_of_a_key_set_those_for_signatures_are_read_and_no_other() -> None:
    private = jwt.algorithms.RSAAlgorithm.to_jwk(pair("a"), as_dict=True)
    told = read_jwks(
        json.dumps(
            {
                "keys": [
                    jwk("a"), jwk("enc", use="enc"), jwk("ops", key_ops=["encrypt"]), jwk("ps", alg="PS256"),
                    jwk("short", bits=1024), {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AA", "y": "AA"},
                    {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}, jwk("no-n", n=None), jwk("odd-n", n=7),
                    jwk("odd-e", e="!"), jwk("kid", kid=None), {**private, "kid": "whole", "key_ops": ["verify"]}, "x", 7, None, [],
                ]
            }
        ).encode()
    )  # fmt: skip
    assert set(told) == {"a", "whole"}
    assert set(json.loads(told["whole"])) == {"kty", "n", "e"}  # what should never have been published is not kept


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', jwks(jwk("a", use="enc")), b'{"keys": [1]}',
        b'{"keys": [' + b"[" * 5000 + b"]}",
    ],
)  # fmt: skip
def test_an_answer_without_a_key_for_signatures_says_nothing_of_keys(body: bytes) -> None:
    with pytest.raises(BadPayload):
        read_jwks(body)


def test_a_key_of_another_kind_verifies_nothing() -> None:
    for key in (
        pem(pairs.curve("e")),
        "",
        "{}",
        "{",
        '{"kty": "oct", "k": "c2VjcmV0"}',
        "-----BEGIN CERTIFICATE-----",
        pem(pair("s", 1024)),
    ):
        refused(detached(BODY, "a"), keys={"a": key})


def test_a_body_that_is_a_token_is_read_by_a_fixed_key_of_two() -> None:
    claims = {"data": "{}", "exp": int((AT + timedelta(hours=1)).timestamp())}
    token = jwt.encode(claims, pair("a"), algorithm="RS256")
    based = base64.b64encode(pem(pair("a")).encode()).decode()

    for keys in ([pem(pair("a"))], [based], [pem(pair("b")), pem(pair("a"))]):
        assert jwt_body(keys, f"{token}\n".encode(), AT) == claims
    for keys, at in (([pem(pair("b"))], AT), ([], AT), ([pem(pair("a"))], AT + timedelta(hours=1))):
        with pytest.raises(WebhookRejected):
            jwt_body(keys, token.encode(), at)
    assert jwt_body([based], token.encode(), AT + timedelta(hours=1), leeway=timedelta(minutes=1)) == claims


@pytest.mark.parametrize("claims", [{"exp": "soon"}, {"exp": 1e300}, {"exp": True}, {"exp": -1}])
def test_a_token_whose_end_is_none_is_refused(claims: dict[str, Any]) -> None:
    token = jwt.PyJWS().encode(json.dumps(claims).encode(), pair("a"), algorithm="RS256")
    with pytest.raises(WebhookRejected):
        jwt_body([pem(pair("a"))], token.encode(), AT)


def test_a_token_that_holds_no_claims_is_refused() -> None:
    token = jwt.PyJWS().encode(b"[]", pair("a"), algorithm="RS256")
    with pytest.raises(WebhookRejected, match="no claims"):
        jwt_body([pem(pair("a"))], token.encode(), AT)


def test_a_plain_signature_is_of_its_message_and_its_key() -> None:
    given_ = base64.b64encode(pairs.signature(pair("a"), b"stamp." + BODY)).decode()
    rsa_sha256(KEYS["a"], b"stamp." + BODY, given_, name="sig")
    for key, message, proof in (
        (KEYS["a"], BODY, given_), (pem(pair("b")), b"stamp." + BODY, given_), (KEYS["a"], b"stamp." + BODY, None),
    ):  # fmt: skip
        with pytest.raises(WebhookRejected):
            rsa_sha256(key, message, proof, name="sig")


def test_a_signature_is_written_in_one_way_only() -> None:
    """The last letter of base64 holds bits that say nothing: changed, the same signature would stand in another text."""
    plain = base64.b64encode(pairs.signature(pair("a"), b"stamp." + BODY)).decode()
    jws = detached(BODY, "a")
    rsa_sha256(KEYS["a"], b"stamp." + BODY, plain, name="sig")
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    last = plain.rstrip("=")[-1]

    with pytest.raises(WebhookRejected, match="no base64"):
        rsa_sha256(
            KEYS["a"], b"stamp." + BODY, plain.rstrip("=")[:-1] + digits[digits.index(last) + 1] + "==", name="sig"
        )
    assert "no signature" in refused(jws[:-1] + digits[digits.index(jws[-1]) + 1])


def test_ebays_header_chooses_its_digest_of_two_and_nothing_else() -> None:
    keys = {"e": pem(pairs.curve("e")).replace("\n", "")}  # as it is delivered: without line breaks
    for digest in ("SHA1", "SHA256"):
        ebay(keys, BODY, ebay_header(BODY, "e", digest))
    for wrong in (
        ebay_header(BODY, "e", digest="MD5"), ebay_header(BODY, "e", alg="none"), ebay_header(BODY, "e", signature=7),
        ebay_header(BODY, "f", kid="e"), ebay_header(BODY + b" ", "e"), ebay_header(BODY, "e", kid="../../evil "),
    ):  # fmt: skip
        with pytest.raises(WebhookRejected):
            ebay(keys, BODY, wrong)
    with pytest.raises(KeyUnknown):
        ebay({}, BODY, ebay_header(BODY, "e"))
    with pytest.raises(WebhookRejected, match="elliptic"):
        ebay({"e": pem(pair("a"))}, BODY, ebay_header(BODY, "e"))
    with pytest.raises(WebhookRejected, match="cannot be read"):
        ebay({"e": "x"}, BODY, ebay_header(BODY, "e"))


@pytest.mark.parametrize(
    ("proof", "said"),
    [
        ("", "is missing"),
        ("é", "is no signature"),
        ("A" * 100_000, "is no signature"),
        ("A", "is no base64"),
        ("!", "is no base64"),
    ],
)
def test_a_plain_signature_that_is_none_is_refused_with_what_is_wrong_with_it(proof: str, said: str) -> None:
    with pytest.raises(WebhookRejected, match=f"^header sig {said}$"):
        rsa_sha256(KEYS["a"], BODY, proof, name="sig")

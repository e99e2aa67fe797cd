"""Handshakes and signatures by public keys against the vectors in ../shared: what must pass does, what must fail does not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tracker.domain.errors import KeyUnknown, WebhookRejected
from tracker.plugin.public_keys import detached_jws, ebay, jwt_body, key_of, read_jwks, rsa_sha256
from tracker.plugin.signatures import hashed_challenge

SHARED = Path(__file__).parents[3] / "shared"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared folder is not here")


def vector(id_: str, file: str = "platforms/specs/more-signature-vectors.json") -> Any:
    told = json.loads((SHARED / file).read_text())["vectors"]
    return next(one for one in told if id_ in (one.get("id"), one.get("name")))


def test_the_challenge_of_an_endpoint_is_hashed_as_the_vectors_say() -> None:
    told = vector("ebay-challenge-twins")
    answer = hashed_challenge(told["challenge_code"], SecretStr(told["key"]["secret"]), told["endpoint"])

    assert answer == told["answer"]["challengeResponse"]
    assert told["must_fail"]
    assert answer not in [wrong["answer"]["challengeResponse"] for wrong in told["must_fail"]]


def good(told: Any, wrong: Any) -> tuple[dict[str, str], bytes]:
    """Return headers (names in lower case) and body of a request of a vector, as one of its variants changes it."""
    told = {**told["request"], **wrong}
    return {name.lower(): value for name, value in told["headers"].items()}, told["body_utf8"].encode()


def test_saleors_detached_signature() -> None:
    told = vector("saleor-jws-detached")
    keys = read_jwks(json.dumps(told["key"]["jwks"]).encode())

    def check(wrong: Any) -> None:
        headers, body = good(told, wrong)
        detached_jws(keys, body, headers["saleor-signature"], name="saleor-signature")

    check({})
    assert len(told["must_fail"]) == 8
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected) as caught:
            check(wrong)
        assert isinstance(caught.value, KeyUnknown) == wrong["why"].startswith("kid not in the key set")


def test_wixs_token() -> None:
    told = vector("wix-jwt-rs256")

    def check(wrong: Any) -> Any:
        key = told["key"][wrong.get("key_field", "public_key_pem")]
        at = datetime.fromtimestamp(wrong.get("clock_epoch", told["clock_epoch"]), UTC)
        return jwt_body([key], good(told, wrong)[1], at)

    data = json.loads(check({})["data"])
    assert (data["eventType"], data["instanceId"]) == (told["decoded"]["eventType"], told["decoded"]["instanceId"])
    for right in told["must_pass"]:
        check(right)
    for wrong in told["must_fail"]:
        if "expect_instance" in wrong:  # the plugin's: the signature is good
            assert data["instanceId"] != wrong["expect_instance"]
            continue
        with pytest.raises(WebhookRejected):
            check(wrong)


@pytest.mark.parametrize("id_", ["ebay-official-sha1", "ebay-made-sha256"])
def test_ebays_signature(id_: str) -> None:
    told = vector(id_)
    key = told["key"]

    def check(wrong: Any) -> None:
        headers, body = good(told, wrong)
        keys = {} if "key_lookup" in wrong else {key["kid"]: key["public_key_as_delivered"]}
        given = headers["x-ebay-signature"]
        if "digest_forced" in wrong:
            header = {**json.loads(base64.b64decode(given)), "digest": wrong["digest_forced"]}
            given = base64.b64encode(json.dumps(header).encode()).decode()
        ebay(keys, body, given)

    check({})
    for right in told.get("must_pass", ()):
        check(right)
    assert told["must_fail"]
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)


def test_adobes_signatures() -> None:
    told = vector("adobe-commerce-webhook")

    def check(wrong: Any) -> None:
        headers, body = good(told, wrong)
        name = "x-adobe-commerce-webhook-signature"
        rsa_sha256(told["key"]["public_key_pem"], base64.b64encode(body), headers[name], name=name)

    check({})
    for wrong in told["must_fail"]:
        with pytest.raises(WebhookRejected):
            check(wrong)


def test_shipengines_signature() -> None:
    told = vector("shipengine-selfmade", "carriers/specs/aggregators/webhook-signature-vectors.json")
    keys = read_jwks(json.dumps(told["jwks"]).encode())
    headers, name = told["headers"], "x-shipengine-rsa-sha256-signature"
    key = key_of(keys, headers["x-shipengine-rsa-sha256-key-id"])
    message = f"{headers['x-shipengine-timestamp']}.{told['body']}".encode()

    rsa_sha256(key, message, headers[name], name=name)
    rsa_sha256(told["public_key_pem"], message, headers[name], name=name)
    for wrong in (message + b"\n", told["body"].encode(), message.replace(b"2024", b"2025")):
        with pytest.raises(WebhookRejected):
            rsa_sha256(key, wrong, headers[name], name=name)

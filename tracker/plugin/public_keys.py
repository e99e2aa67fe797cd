"""Prove who sent a webhook by a public key of its sender: JWS by PyJWT, other signatures by `cryptography`.

A plugin says where the keys are (`Source.fetch_keys`); the core keeps them and gives them (`Source.keys`). Here nothing is asked: a
key id that is not among them raises KeyUnknown. The algorithm is the scheme's, never the message's; a key that a message brings
along, or names the address of, is refused. Everything else raises WebhookRejected and nothing else, whatever the headers hold.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import jwt
import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tracker.domain.errors import BadPayload, KeyUnknown, WebhookRejected
from tracker.plugin.payloads import decode

LEAST_BITS = 2048  # of an RSA key (NIST SP 800-131A)
_ALG = "RS256"
_BROUGHT = ("jwk", "jku", "x5c", "x5u")  # RFC 7515 4.1: a key in the message, or where it says that one is
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
_DIGESTS: Mapping[str, hashes.HashAlgorithm] = {"SHA1": hashes.SHA1(), "SHA256": hashes.SHA256()}  # noqa: S303
_SIGNED_MOST = 16 << 10  # characters of a signature header


def read_jwks(body: bytes) -> dict[str, str]:
    """Return the RSA keys for signatures of a key set (RFC 7517 5), by id: each as the JSON of its public members.

    Others are passed over (for encryption, of another kind, too short, without an id): a message that names one is refused.
    Raises BadPayload where there is none at all: a page of HTML or an empty set says nothing of keys.
    """
    told = decode(body)
    keys = told.get("keys")
    if not isinstance(keys, list):
        raise BadPayload("$.keys", "is no list")
    found: dict[str, str] = {}
    for one in keys[:200]:
        if isinstance(one, dict) and isinstance(key_id := one.get("kid"), str) and (key := _for_signatures(one)):
            found.setdefault(key_id, key)
    if not found:
        raise BadPayload("$.keys", "holds no RSA key for signatures")
    return found


def _for_signatures(one: Mapping[str, Any]) -> str:
    """Return the public members of an RSA key for signatures, as JSON; empty for any other key."""
    ops, members = one.get("key_ops"), [one.get(name) for name in ("n", "e")]
    if one.get("kty") != "RSA" or one.get("use", "sig") != "sig" or one.get("alg", _ALG) != _ALG:
        return ""
    if (ops is not None and not (isinstance(ops, list) and "verify" in ops)) or not all(
        isinstance(m, str) for m in members
    ):
        return ""
    key = orjson.dumps({"kty": "RSA", "n": members[0], "e": members[1]}).decode()
    try:
        return key if _rsa(key) else ""
    except WebhookRejected:
        return ""


@lru_cache(maxsize=1000)
def _rsa(key: str) -> rsa.RSAPublicKey:
    """Read an RSA key: a PEM, the base64 of one, or a JWK. To read one takes five times as long as to check a signature by it."""
    try:
        read: Any = jwt.PyJWK.from_json(key, algorithm=_ALG).key if key.startswith("{") else _pem(key)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm, RecursionError):
        raise WebhookRejected("the key cannot be read") from None
    if not isinstance(read, rsa.RSAPublicKey) or read.key_size < LEAST_BITS:
        raise WebhookRejected(f"the key is no RSA key of {LEAST_BITS} bits")
    return read


def _pem(key: str) -> Any:
    """Read a PEM, also one without line breaks (eBay's), or the base64 of one (Wix's dashboard hands it out so)."""
    text = key if "-----" in key else base64.b64decode(key, validate=True).decode("ascii")
    if (found := _PEM.fullmatch(text.strip())) is None:
        raise ValueError("no PEM of a public key")
    middle = "".join(found[1].split())
    lines = "\n".join(middle[i : i + 64] for i in range(0, len(middle), 64))
    return load_pem_public_key(f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n".encode())


def key_of(keys: Mapping[str, str], key_id: object) -> str:
    """Return the key of an id. Raises KeyUnknown where it is not among them, WebhookRejected for what can be no id."""
    if not isinstance(key_id, str) or not KeyUnknown.can_be(key_id):
        raise WebhookRejected("the signature names no key")
    if key_id not in keys:
        raise KeyUnknown(key_id)
    return keys[key_id]


def detached_jws(keys: Mapping[str, str], body: bytes, given: str | None, *, name: str) -> None:
    """Check a detached JWS over the raw body: RS256, `b64: false` with `crit` (RFC 7797), its key by `kid`."""
    token = _text(given, name)
    header = _header(token, name)
    if header.get("b64") is not False or header.get("crit") != ["b64"]:
        raise WebhookRejected(f"header {name} is no signature of the raw body (b64, crit)")
    _jws(token, _rsa(key_of(keys, header.get("kid"))), name, body)


def jwt_body(keys: Sequence[str], body: bytes, now: datetime, leeway: timedelta = timedelta(0)) -> Mapping[str, Any]:
    """Return the claims of a body that is a JWT (RS256), by one of some fixed keys. Refused after its `exp`.

    Wix posts so (dev.wix.com, read 2026-11). `now` is when it came; a token without `exp` never ends.
    """
    token = _text(body.decode("latin-1").strip() or None, "body", most=len(body))
    _header(token, "body")
    for key in keys:
        try:
            claims = decode(_jws(token, _rsa(key), "body", None))
            break
        except WebhookRejected as error:
            problem = error
        except BadPayload:
            raise WebhookRejected("the body holds no claims") from None
    else:
        raise problem if keys else WebhookRejected("no key verifies nothing")
    ends = claims.get("exp")
    if ends is not None and (type(ends) not in (int, float) or now - leeway >= _moment(ends)):
        raise WebhookRejected("the token has expired")
    return claims


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise WebhookRejected("a time of the token is none") from None


def rsa_sha256(key: str, message: bytes, given: str | None, *, name: str) -> None:
    """Check a base64 signature of a message: RSA PKCS#1 v1.5 with SHA-256 (ShipEngine's, over `timestamp.body`; Adobe's)."""
    try:
        _rsa(key).verify(_base64(given, name), message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise WebhookRejected(f"header {name} does not match") from None


def ebay(keys: Mapping[str, str], body: bytes, given: str | None, *, name: str = "x-ebay-signature") -> None:
    """Check eBay's header: base64 of `{"alg": "ecdsa", "kid", "signature", "digest"}`, ECDSA over the body (their SDK, read 2026-11).

    The header chooses the digest, of those two that they use: the published vector says SHA1.
    """
    try:
        told = orjson.loads(_base64(given, name))
        alg, key_id, digest, signature = (told[part] for part in ("alg", "kid", "digest", "signature"))
        hashed = _DIGESTS[digest]
    except (ValueError, KeyError, TypeError):
        raise WebhookRejected(f"header {name} cannot be read") from None
    if str(alg).lower() != "ecdsa" or not isinstance(signature, str):
        raise WebhookRejected(f"header {name} has another algorithm")
    key = key_of(keys, key_id)
    try:
        read = _pem(key)
        if not isinstance(read, ec.EllipticCurvePublicKey):
            raise WebhookRejected("the key is none of an elliptic curve")
        read.verify(_base64(signature, name), body, ec.ECDSA(hashed))
    except InvalidSignature:
        raise WebhookRejected(f"header {name} does not match") from None
    except (ValueError, UnsupportedAlgorithm):
        raise WebhookRejected("the key cannot be read") from None


def _text(given: str | None, name: str, most: int = _SIGNED_MOST) -> str:
    if not given:
        raise WebhookRejected(f"header {name} is missing")
    if len(given) > most or not given.isascii():
        raise WebhookRejected(f"header {name} is no signature")
    return given.strip()


def _base64(given: str | None, name: str) -> bytes:
    """Decode base64 that is written in the one way that encoding gives: bits that say nothing could be changed otherwise."""
    text = _text(given, name)
    try:
        told = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise WebhookRejected(f"header {name} is no base64") from None
    if base64.b64encode(told).decode() != text:
        raise WebhookRejected(f"header {name} is no base64")
    return told


def _header(token: str, name: str) -> Mapping[str, Any]:
    """Return the header of a JWS, of our algorithm and without a key of its own."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise WebhookRejected(f"{name} is no signature") from None
    if header.get("alg") != _ALG:
        raise WebhookRejected(f"{name} has another algorithm than {_ALG}")
    if any(brought in header for brought in _BROUGHT):
        raise WebhookRejected(f"{name} brings its own key")
    return header


def _jws(token: str, key: rsa.RSAPublicKey, name: str, detached: bytes | None) -> bytes:
    try:
        told = jwt.PyJWS().decode_complete(token, key, algorithms=[_ALG], detached_payload=detached)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise WebhookRejected(f"{name} does not match") from None
    payload: bytes = told["payload"]
    return payload

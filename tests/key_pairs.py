"""Key pairs of made-up senders, made once a process: what they publish, and what they sign."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pair(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return the RSA key of a name."""
    return _pair(name, bits)


@cache
def _pair(_name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def curve(_name: str) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key of a name."""
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> str:
    """Return the public half as a PEM."""
    told: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return told.decode()


def jwk(name: str, bits: int = 2048, **more: Any) -> dict[str, Any]:
    """Return the public half as a JWK whose id is its name; a None takes a member away."""
    told = jwt.algorithms.RSAAlgorithm.to_jwk(pair(name, bits).public_key(), as_dict=True)
    told = {**told, "kid": name, "use": "sig", "alg": "RS256", **more}
    return {member: value for member, value in told.items() if value is not None}


def jwks(*keys: str | dict[str, Any]) -> bytes:
    """Return a key set."""
    return json.dumps({"keys": [jwk(key) if isinstance(key, str) else key for key in keys]}).encode()


def detached(body: bytes, name: str, **header: Any) -> str:
    """Return the detached JWS of a raw body, signed by the key of a name; `header` changes what it says of itself."""
    told = {"alg": "RS256", "b64": False, "crit": ["b64"], "kid": name, "typ": "JWT", **header}
    head = _b64(json.dumps({key: value for key, value in told.items() if value is not None}).encode())
    return f"{head}..{_b64(signature(pair(name), head.encode() + b'.' + body))}"


def signature(key: rsa.RSAPrivateKey, message: bytes) -> bytes:
    """Return an RSA PKCS#1 v1.5 signature with SHA-256."""
    return key.sign(message, padding.PKCS1v15(), hashes.SHA256())


def ebay_header(body: bytes, name: str, digest: str = "SHA256", **more: Any) -> str:
    """Return eBay's signature header of a body."""
    hashed = hashes.SHA1() if digest == "SHA1" else hashes.SHA256()
    proof = base64.b64encode(curve(name).sign(body, ec.ECDSA(hashed))).decode()
    told = {"alg": "ecdsa", "kid": name, "signature": proof, "digest": digest, **more}
    return base64.b64encode(json.dumps(told).encode()).decode()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

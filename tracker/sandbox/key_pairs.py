"""Key pairs by which fake servers sign; apart, as most sign by a secret."""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def key_pair(_which: int) -> rsa.RSAPrivateKey:
    """Make the key pair of a number, once a process: it takes a fifth of a second."""
    return rsa.generate_private_key(65537, 2048)

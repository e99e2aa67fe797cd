"""One way to hash data, so that equal data has equal hashes wherever it is hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import orjson

_SORTED = (
    orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)


def digest(value: Any) -> str:
    """Hash JSON data: 32 hexadecimal digits, independent of the order of keys. Raises TypeError on other data."""
    try:
        text = orjson.dumps(value, option=_SORTED)
    except TypeError:  # it takes no half of a pair of surrogates and no number beyond 64 bits
        text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(text).hexdigest()[:32]

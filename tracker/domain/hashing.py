"""One way to hash data, so that equal data has equal hashes wherever it is hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(value: Any) -> str:
    """Hash JSON data: 32 hexadecimal digits, independent of the order of keys. Raises TypeError on other data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]

"""What can name a person in what is kept: words that a person or a carrier wrote freely. By default none of them leaves us.

Names, addresses, phone numbers and mail addresses of customers are never stored: no plugin reads them. What may hold a name all the
same is free text: a carrier's words about a scan ("left with Mr Smith", "signed by JONES"), a person's note, who wrote it. Such
texts are shown to who asks about one order here; lists, logs, metrics, exports, boards and hooks leave them out unless they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERASED = "(erased)"  # stands where a text was that `tracker erase` took away

# the keys under which such texts stand, wherever we hand facts on: what is not named here is a code, a number, a time or a word of ours
FREE_TEXTS = frozenset({
    "text", "note", "said", "by", "closed_by", "closed_reason", "assigned_to", "signed_by", "received_by", "left_with", "typed",
    "mailbox",  # its domain may be a name, whatever is masked before it
})  # fmt: skip


def erased(told: Any) -> Any:
    """Return facts with ERASED in the place of each free text that is not empty; what else there is stays as it is."""
    if isinstance(told, Mapping):
        return {key: ERASED if key in FREE_TEXTS and value else erased(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [erased(value) for value in told]
    return told


def impersonal(told: Any) -> Any:
    """Return facts (mappings, lists, values) without the free texts that may name a person; what else there is stays as it is."""
    if isinstance(told, Mapping):
        return {key: impersonal(value) for key, value in told.items() if key not in FREE_TEXTS}
    if isinstance(told, list | tuple):
        return [impersonal(value) for value in told]
    return told

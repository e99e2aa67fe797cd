"""What a mail to a customer may be: which notices are mailed, when it is quiet, what no text may say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tracker.domain.texts import printable
from tracker.domain.vocabulary import NoticeClass

N = NoticeClass
LANGUAGES = ("en", "de")
# What is told of a parcel. That an order was placed or confirmed the shop tells itself; to ask for a review is advertising, for
# which a customer must have asked.
MAILED = frozenset(N) - {N.PLACED, N.CONFIRMED, N.REVIEW_REQUEST}
MOST_ADDRESS = 254  # octets (RFC 5321 4.5.3.1.3, with its brackets 256)
_LOCAL = re.compile(r"(?!.*=\?)[^\s\ufffd\x00-\x20\x7f-\x9f\"(),:;<>@\[\\\]]{1,64}")
_DOMAIN = re.compile(r"[^\W_](?:[\w-]*[^\W_])?(?:\.[^\W_](?:[\w-]*[^\W_])?)+")
_ANY_ADDRESS = re.compile(
    r"[^\s<>@,;:\"']{1,128}@[^\s<>@,;\"']+"
)  # bounded: a text without @ would be read again from each sign
# KE-17: nothing is guaranteed, and nobody is blamed.
FORBIDDEN = {
    "en": re.compile(
        r"\b(?:guarante\w*|promis\w*|will (?:be delivered|arrive)|certain(?:ly)?|definitely|on time|faults?|blam\w*|your mistake|"
        r"you (?:failed|forgot)|courier's|carrier's (?:mistake|error)|refund\w*|compensat\w*|at the latest|no later than)\b",
        re.IGNORECASE,
    ),
    "de": re.compile(
        r"\b(?:garant\w*|verspr[eio]ch\w*|sicher(?:lich)?|bestimmt|pünktlich\w*|schuld\w*|fehler\w*|versäum\w*|vergess\w*|"
        r"verzöger\w* durch|erstatt\w*|entschädig\w*|spätestens|wird (?:zugestellt|geliefert|ankommen))\b",
        re.IGNORECASE,
    ),
}


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of a day in which nobody is mailed, in a zone; they may go past midnight."""

    begins: time
    ends: time
    zone: str

    def until(self, now: datetime) -> datetime | None:
        """Return when the quiet ends that `now` (aware) lies in; None where it lies in none."""
        local = now.astimezone(ZoneInfo(self.zone))
        at = local.time()
        if self.begins < self.ends:
            quiet, days = self.begins <= at < self.ends, 0
        else:
            quiet, days = at >= self.begins or at < self.ends, 1 if at >= self.begins else 0
        if not quiet:
            return None
        day = local.date() + timedelta(days=days)
        return datetime.combine(day, self.ends, ZoneInfo(self.zone)).astimezone(now.tzinfo)


def is_address(text: str) -> bool:
    """Say whether a text is one mail address that may stand in a command: no space, no control sign, no comment, no route, nothing encoded or lost."""
    local, at, domain = text.rpartition("@")
    return bool(
        at
        and len(text.encode("utf-8", "replace")) <= MOST_ADDRESS
        and _LOCAL.fullmatch(local)
        and _DOMAIN.fullmatch(domain)
    )


def masked_address(address: str) -> str:
    """Return an address as a person may see it: its first letter and its domain, as in a***@example.com."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"


def without_addresses(said: str, address: str = "") -> str:
    """Return what somebody said, in one line of 200 signs without an address, nor the name before the @ of `address`."""
    local = address.rpartition("@")[0]
    for secret in (address, local if len(local) > 2 else ""):
        said = said.replace(secret, "***") if secret else said
    return printable(_ANY_ADDRESS.sub("***", said)).strip()[:200]


def forbidden(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Yield what no text to a customer may say (KE-17): the line, from 1, and the phrase."""
    for i, line in enumerate(text.splitlines(), 1):
        for found in FORBIDDEN[language].finditer(line):
            yield i, found[0]


def plain(text: str) -> str:
    """Return a text of others as one line: no control sign, no break, no sign that turns the direction of writing, 200 signs at most."""
    return " ".join(printable(text).split())[:200]


def capital(text: str) -> str:
    """Return a text with a capital first letter."""
    return text[:1].upper() + text[1:]

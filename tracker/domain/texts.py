"""Texts of others, as they can be shown beside ours; and commands, as a person copies them."""

from __future__ import annotations

import shlex

COMMAND = "`"  # in a sentence of ours stands on both sides of a command: texts of others there have none


def printable(text: str, *, but: str = "") -> str:
    """Return a text with a space for each sign that breaks a line, moves or hides letters, and for each of `but`."""
    return "".join(sign if sign.isprintable() and sign not in but else " " for sign in text)


def named(text: str) -> str:
    """Return a name that others gave, as it stands in a sentence of ours: printable, and no command."""
    return printable(text, but=COMMAND)


def command(*words: str) -> str:
    """Return a command as bash and zsh take it, whatever its words are: one line, printable, fit to stand between two COMMAND signs."""
    return " ".join(shlex.quote(word) if word == named(word) else _spelled(word) for word in words)


def _spelled(word: str) -> str:
    """Spell byte by byte what cannot be shown, or means something between these quotes."""
    told = (
        sign if sign == named(sign) and sign not in "\\'" else "".join(f"\\x{byte:02x}" for byte in sign.encode("utf-8", "replace"))
        for sign in word
    )  # fmt: skip
    return f"$'{''.join(told)}'"

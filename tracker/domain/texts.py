"""Texts of others, as they can be shown beside ours."""

from __future__ import annotations


def printable(text: str, *, but: str = "") -> str:
    """Return a text with a space for each sign that breaks a line, moves or hides letters, and for each of `but`."""
    return "".join(sign if sign.isprintable() and sign not in but else " " for sign in text)

"""Hooks that a source is asked to send: what each tells of, where it goes, and what proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook. `topic` is the source's own word, `headers` are those that it sends back to us; `ref` is its id there, empty of one that is wanted.

    `fields`: those of its body that are sent, all where it is empty; `only`: the filter that lets some of its news through, none where
    it is empty; `odd`: what is odd about one that is there and its maker cannot mend, such as the version it is sent in.
    """

    topic: str
    address: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ref: str = ""
    active: bool = True
    fields: tuple[str, ...] = ()
    only: str = ""
    odd: str = ""

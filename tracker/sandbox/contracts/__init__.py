"""What the platforms' official contracts take and answer: a sandbox shop is held against an extract of its platform's.

The extracts lie beside this module; `SOURCES.md` says from where, `tests/contract/extract.py` makes them. A request of ours
that a contract does not take is answered as the platform would, and is a difference of the play; so is an answer of the fake
shop that the platform would never give. Only the sandbox imports this: no worker does.
"""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

HERE = Path(__file__).parent
MOST = 3  # problems told of one call: the rest follow from the first, or wait behind it


class Contract(Protocol):
    """An extract of an official contract. `operation` is a method and a path of the fake's routes, such as `GET /v2/orders/{id}`."""

    def refuses(self, operation: str, request: Request, body: bytes) -> list[str]:
        """Say what of a request the platform does not take: where it stands, and what is wrong."""

    def judged(
        self, operation: str, body: bytes, response: Response, said: Container[str] = ()
    ) -> tuple[Response, list[str]]:
        """Return an answer as it is sent, and what of it the platform would not give to that request's body.

        `said`: the values that the scenario itself gave, as Python spells them. One of them that the contract does not know is its
        own business: a version to come may, and a shop that goes wrong is what it plays.
        """


@cache
def contract_of(name: str) -> Contract:
    """Return the contract of that name, read and compiled once a process. Raises FileNotFoundError where there is none."""
    if (schema := HERE / f"{name}.graphql").exists():
        from tracker.sandbox.contracts.graphql import GraphQLContract

        return GraphQLContract(schema.read_text(encoding="utf-8"))
    from tracker.sandbox.contracts.rest import RestContract

    return RestContract((HERE / f"{name}.json").read_bytes())

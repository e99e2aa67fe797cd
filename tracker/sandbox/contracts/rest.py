"""The extract of an OpenAPI contract, and what of a call it does not describe.

An extract is JSON: `operations`, by method and path of the fake's routes, each with `path`, `query`, `headers`, `body` and
`answers` by status; `schemas`, which those name by `$ref`; and `beyond`, the operations that no official contract describes,
each with the reason. Schemas are JSON Schema 2020-12. An object takes no other properties than the official contract names.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.contracts import MOST

_WHOLE = re.compile(r"-?\d+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class RestContract:
    """The operations of an OpenAPI extract."""

    def __init__(self, extract: bytes) -> None:
        """Read an extract; each schema is compiled when it is first needed."""
        document = orjson.loads(extract)
        self.operations: dict[str, dict[str, Any]] = document["operations"]
        self.beyond: dict[str, str] = document["beyond"]
        self._schemas = document["schemas"]
        self._validator = cache(self._made)

    def refuses(self, operation: str, request: Request, body: bytes) -> list[str]:
        """Say what of a request the platform does not take: its path, query, headers and body."""
        if operation in self.beyond:
            return []
        wanted = self.operations.get(operation)
        if wanted is None:
            return ["the official contract has no such operation"]
        found = [
            *self._named("path", wanted["path"], request.path_params.items(), operation),
            *self._named("query", wanted["query"], request.query_params.multi_items(), operation),
            *self._missing(wanted, request),
            *self._body(operation, wanted, body),
        ]
        return found[:MOST]

    def judged(
        self, operation: str, body: bytes, response: Response, said: Container[str] = ()
    ) -> tuple[Response, list[str]]:
        """Say what of an answer the platform would not give: a status of success that is not described, or another body."""
        return response, list(self._untrue(operation, response, said)) if operation in self.operations else []

    def _untrue(self, operation: str, response: Response, said: Container[str]) -> Iterator[str]:
        answers, status = self.operations[operation]["answers"], str(response.status_code)
        if status not in answers and response.status_code >= 400:
            status = "default"
        if status not in answers:
            if response.status_code < 400:
                yield f"status {status}"
        elif answers[status] is not None:
            for wrong in self._judge((operation, "answers", status), bytes(response.body), "$", said):
                yield f"{response.status_code}: {wrong}"
        elif response.body:
            yield f"{status}: a body, where there is none"

    def _made(self, where: tuple[str, ...]) -> Draft202012Validator:
        schema: Any = self.operations
        for step in where:
            schema = schema[step]
        return Draft202012Validator({"$ref": "#/it", "it": schema, "schemas": self._schemas})

    def _judge(self, where: tuple[str, ...], text: bytes, at: str, said: Container[str] = ()) -> list[str]:
        """Hold a JSON text against a schema."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return [f"{at}: is no JSON: {text[:40]!r}"]
        return list(islice(self._wrong(where, value, at, said), MOST))

    def _wrong(self, where: tuple[str, ...], value: Any, at: str, said: Container[str] = ()) -> Iterator[str]:
        for error in self._validator(where).iter_errors(value):
            if repr(error.instance) not in said:
                yield _said(error, at)

    def _body(self, operation: str, wanted: dict[str, Any], body: bytes) -> list[str]:
        if wanted["body"] is None:
            return ["body: there must be none"] if body else []
        if not body and not wanted["body_needed"]:
            return []
        return self._judge((operation, "body"), body, "body")

    def _named(
        self, kind: str, wanted: dict[str, Any], given: Iterable[tuple[str, Any]], operation: str
    ) -> Iterator[str]:
        """Judge values that stand as texts under their names."""
        by_name = {_name(name): name for name in wanted}
        for name, text in given:
            known = by_name.get(_name(name))
            if known is None:
                yield f"{kind}.{name}: the official contract has no such parameter"
                continue
            schema = wanted[known]
            value = _typed(str(text), schema.get("type"))
            if schema.get("type") == "array":
                value = [_typed(one, schema.get("items", {}).get("type")) for one in str(text).split(",")]
            yield from self._wrong((operation, kind, known), value, f"{kind}.{name}")

    def _missing(self, wanted: dict[str, Any], request: Request) -> Iterator[str]:
        for name in wanted["needs"]:
            if name not in request.query_params and name not in request.headers:
                yield f"{name}: is needed"


def _name(name: str) -> str:
    """Return a parameter's name for comparing: Magento's stand for any index, and in camel or snake case."""
    return re.sub(r"\[\d+\]", "[0]", name).replace("_", "").lower() if "[" in name else name


def _typed(text: str, kind: Any) -> Any:
    """Return the value that a text of a path or query stands for, the text itself where it is none of that kind."""
    if kind == "integer" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _said(error: ValidationError, at: str) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return f"{at}{path}: {error.message[:200]}"

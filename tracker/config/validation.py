"""Validate what somebody wrote against a model: every problem with its place, secrets by reference only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from tracker.config.yamlfile import MOST_QUOTED, Document, Path_

M = TypeVar("M", bound=BaseModel)
MOST_HINTS = 1_000  # a file in which more is wrong is another file


def validate(
    model: type[M], value: Any, path: Path_, document: Document, *, more: type[BaseModel] | None = None
) -> M | None:
    """Validate against a model; problems go to the document with the nearest valid key. `more`: a second set of keys."""
    _refuse_literals(model, value, path, document)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = {*model.model_fields, *(more.model_fields if more else ())}
        for problem in error.errors(include_url=False, include_input=False):
            at = (*path, *(part for part in problem["loc"] if not str(part).startswith("function")))
            at = tuple(part for part in at if part != "[key]")
            if problem["type"] == "extra_forbidden":
                choices = _fields_at(model, at[len(path) : -1]) or fields
                hinted = len(document.problems) < MOST_HINTS
                near = difflib.get_close_matches(str(at[-1])[:MOST_QUOTED], choices, 1, 0.5) if hinted else []
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(choices))}"
                document.problem(at, f"unknown key; {hint}")
            else:
                document.problem(at, _say(problem["msg"]))
        return None


def _say(message: str) -> str:
    return message.removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], inner: Iterable[str | int]) -> set[str]:
    current: Any = model
    for part in inner:
        field = current.model_fields.get(str(part)) if hasattr(current, "model_fields") else None
        if field is None:
            return set()
        current = _inner(field.annotation)
    return set(current.model_fields) if hasattr(current, "model_fields") else set()


def _refuse_literals(model: type[BaseModel], value: Any, path: Path_, document: Document) -> None:
    if not isinstance(value, dict):
        return
    parts, secrets = _secret_keys(model)
    for key, part, many in parts:
        if key in value and not many:
            _refuse_literals(part, value[key], (*path, key), document)
        elif isinstance(value.get(key), dict):
            for name, one in value[key].items():
                _refuse_literals(part, one, (*path, key, name), document)
    for key in secrets:
        if value.get(key) is None:
            continue
        given = value[key]
        named = given.items() if isinstance(given, dict) else enumerate(given if isinstance(given, list) else [given])
        for i, item in named:
            places = ((*path, key, i),) if isinstance(given, dict) else ((*path, key), (*path, key, i))
            document.secrets.update(places, map(document.origin, places))
            if isinstance(item, str) and not any(place in document.references for place in places):
                at = places[0]
                document.problem(at, "a secret must not stand in the file: use ${env:NAME} or ${file:PATH}")


@cache
def _secret_keys(model: type[BaseModel]) -> tuple[tuple[tuple[str, type[BaseModel], bool], ...], tuple[str, ...]]:
    """Return the keys of a model that are models themselves, or mappings of them by name, and those that hold a secret."""
    fields = [(key, _inner(field.annotation)) for key, field in model.model_fields.items()]
    inner = [
        (key, (get_args(one) or (one,))[-1] if get_origin(one) is Mapping else one, get_origin(one) is Mapping)
        for key, one in fields
    ]
    parts = tuple((key, one, many) for key, one, many in inner if isinstance(one, type) and issubclass(one, BaseModel))
    return parts, tuple(key for key, one in fields if _is_secret(one))


def _inner(annotation: Any) -> Any:
    """Return a model that may also be missing, as it is where it may not."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    return parts[0] if get_origin(annotation) in (Union, UnionType) and len(parts) == 1 else annotation


def _is_secret(annotation: Any) -> bool:
    if annotation is SecretStr:
        return True
    if get_origin(annotation) in (Union, UnionType, tuple, Mapping):
        return any(_is_secret(part) for part in get_args(annotation))
    return False


def plain(settings: BaseModel) -> dict[str, Any]:
    """Return settings with their secrets in clear, for hashing only."""

    def clear(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, tuple | list):
            return [clear(item) for item in value]
        if isinstance(value, dict):
            return {str(key): clear(item) for key, item in value.items()}
        if isinstance(value, BaseModel):
            return {key: clear(getattr(value, key)) for key in type(value).model_fields}
        return None if value is None else str(value)

    return {key: clear(getattr(settings, key)) for key in type(settings).model_fields}

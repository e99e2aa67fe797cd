"""Prune a GraphQL schema to what documents touch."""

from __future__ import annotations

import gzip
import importlib
import json
import pkgutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    parse,
)

BUILT_IN = frozenset({"Int", "Float", "String", "Boolean", "ID"})


def introspection(file: Path) -> dict[str, Any]:
    """Return the `__schema` of an introspection file."""
    told = json.loads(gzip.decompress(file.read_bytes()))
    schema: dict[str, Any] = told.get("data", told)["__schema"]
    return schema


def documents_of(package: str) -> list[DocumentNode]:
    """Return the documents that stand in a package as constants, those of its bulk queries without what is put in."""
    top = importlib.import_module(package)
    inside = [f"{package}.{one.name}" for one in pkgutil.iter_modules(getattr(top, "__path__", []))]
    texts = {
        text
        for name in [package, *inside]
        for text in vars(importlib.import_module(name)).values()
        if isinstance(text, str) and "{" in text
    }
    return [made for text in sorted(texts) if (made := _parsed(text)) is not None]


def _parsed(text: str) -> DocumentNode | None:
    try:
        made = parse(text.replace("%s", ""))
    except GraphQLSyntaxError:
        return None  # a part of a document, or no document
    return made if any(isinstance(one, OperationDefinitionNode) for one in made.definitions) else None


def pruned(schema: dict[str, Any], documents: Iterable[DocumentNode]) -> str:
    """Return the SDL of the types, fields and arguments that documents touch, sorted; input types and enumerations are whole."""
    made = _Pruned(schema)
    for document in documents:
        made.take(document)
    return made.sdl()


class _Pruned:
    def __init__(self, schema: dict[str, Any]) -> None:
        self._types = {one["name"]: one for one in schema["types"]}
        self._roots = {
            kind: schema[f"{kind}Type"]["name"] for kind in ("query", "mutation") if schema[f"{kind}Type"] is not None
        }
        self._fields: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))  # type, field: arguments
        self._whole: set[str] = set()

    def take(self, document: DocumentNode) -> None:
        """Take what a document touches. A field that the schema lacks is passed over: to validate is a test's."""
        named = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
        for one in document.definitions:
            if isinstance(one, OperationDefinitionNode):
                for variable in one.variable_definitions or ():
                    kind: Any = variable.type
                    while not hasattr(kind, "name"):
                        kind = kind.type
                    self._input(kind.name.value)
                self._select(self._roots[one.operation.value], one.selection_set, named)

    def _select(self, name: str, selected: Any, named: dict[str, Any]) -> None:
        told = {one["name"]: one for one in self._types[name]["fields"] or ()}
        self._fields[name]  # it is there, even where only its fragments are asked
        for node in selected.selections:
            if isinstance(node, FieldNode):
                if (field := told.get(node.name.value)) is None:
                    continue
                given = {one.name.value for one in node.arguments or ()}
                needed = {
                    one["name"]
                    for one in field["args"]
                    if one["type"]["kind"] == "NON_NULL" and one["defaultValue"] is None
                }
                self._fields[name][field["name"]] |= given | needed
                for one in field["args"]:
                    if one["name"] in given | needed:
                        self._input(_named(one["type"]))
                kind = _named(field["type"])
                if node.selection_set is not None:
                    self._select(kind, node.selection_set, named)
                else:
                    self._input(kind)
            else:
                part: Any = named[node.name.value] if isinstance(node, FragmentSpreadNode) else node
                on = part.type_condition.name.value if part.type_condition is not None else name
                if on in self._types:
                    self._select(on, part.selection_set, named)

    def _input(self, name: str) -> None:
        """Take a type of values whole: a scalar, an enumeration, an input object with what it holds."""
        if name in self._whole or name in BUILT_IN or name not in self._types:
            return
        self._whole.add(name)
        for field in self._types[name].get("inputFields") or ():
            self._input(_named(field["type"]))

    def sdl(self) -> str:
        """Return what was taken."""
        kept = self._with_what_interfaces_need()
        roots = " ".join(f"{kind}: {name}" for kind, name in self._roots.items() if name in kept)
        return "\n\n".join([f"schema {{ {roots} }}", *(self._type(name) for name in sorted(kept))]) + "\n"

    def _with_what_interfaces_need(self) -> set[str]:
        kept = {*self._fields, *self._whole}
        for name in self._fields:
            if not self._fields[name] and self._types[name].get(
                "fields"
            ):  # only its fragments are asked: a type has a field
                self._fields[name][self._types[name]["fields"][0]["name"]] |= set()
        for name in list(self._fields):
            for one in self._types[name].get("interfaces") or ():
                for field, args in self._fields.get(one["name"], {}).items():
                    self._fields[name][field] |= args
        return kept

    def _type(self, name: str) -> str:
        told = self._types[name]
        kind = told["kind"]
        if kind == "SCALAR":
            return f"scalar {name}"
        if kind == "ENUM":
            return _block(f"enum {name}", sorted(one["name"] for one in told["enumValues"]))
        if kind == "INPUT_OBJECT":
            one_of = " @oneOf" if told.get("isOneOf") else ""
            return _block(f"input {name}{one_of}", [_value(one) for one in _sorted(told["inputFields"])])
        if kind == "UNION":
            members = [one["name"] for one in told["possibleTypes"] if one["name"] in self._fields]
            return f"union {name} = {' | '.join(sorted(members))}"
        has = [one["name"] for one in told.get("interfaces") or () if one["name"] in self._fields]
        head = f"{'interface' if kind == 'INTERFACE' else 'type'} {name}"
        head += f" implements {' & '.join(sorted(has))}" if has else ""
        return _block(head, list(self._shown(name, told)))

    def _shown(self, name: str, told: dict[str, Any]) -> Iterator[str]:
        for field in _sorted(told["fields"]):
            if field["name"] in self._fields[name]:
                args = [
                    _value(one) for one in _sorted(field["args"]) if one["name"] in self._fields[name][field["name"]]
                ]
                yield f"{field['name']}{'(' + ', '.join(args) + ')' if args else ''}: {_spelt(field['type'])}"


def _sorted(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(told, key=lambda one: str(one["name"]))


def _block(head: str, lines: list[str]) -> str:
    return head + (" {\n" + "".join(f"  {line}\n" for line in lines) + "}" if lines else "")


def _value(told: dict[str, Any]) -> str:
    default = f" = {told['defaultValue']}" if told.get("defaultValue") is not None else ""
    return f"{told['name']}: {_spelt(told['type'])}{default}"


def _spelt(kind: dict[str, Any]) -> str:
    if kind["kind"] == "NON_NULL":
        return f"{_spelt(kind['ofType'])}!"
    if kind["kind"] == "LIST":
        return f"[{_spelt(kind['ofType'])}]"
    return str(kind["name"])


def _named(kind: dict[str, Any]) -> str:
    while kind["kind"] in ("NON_NULL", "LIST"):
        kind = kind["ofType"]
    return str(kind["name"])

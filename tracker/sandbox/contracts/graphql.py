"""The extract of a GraphQL schema, and what of a call it does not take or answer.

An extract is SDL with the types, fields and arguments that our documents touch. A document is validated by graphql-core and
its variables are coerced, as the platform does; an answer must have what the document asks for, each of its type, and has no more.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLAbstractType,
    GraphQLError,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    get_named_type,
    is_abstract_type,
    is_enum_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    parse,
    validate,
)
from graphql.execution.values import get_directive_values, get_variable_values
from graphql.type import GraphQLIncludeDirective, GraphQLSkipDirective
from starlette.requests import Request
from starlette.responses import Response

from tracker.sandbox.contracts import MOST

LINES = 300  # of a bulk operation's result are judged: a play of 100,000 orders is no slower
GID = "gid://shopify/"
_KINDS: dict[str, tuple[type, ...]] = {
    "Int": (int,), "Float": (int, float), "Boolean": (bool,), "JSON": (dict, list, str, int, float, bool),
    "JSONString": (str,), "Minute": (int,), "PositiveInt": (int,), "PositiveDecimal": (int, float), "Decimal": (str, int, float),
}  # fmt: skip


class GraphQLContract:
    """The types of a schema extract."""

    def __init__(self, sdl: str) -> None:
        """Read an extract."""
        self.schema: GraphQLSchema = build_schema(sdl, assume_valid=True)
        self._document = cache(self._parsed)

    def refuses(self, operation: str, request: Request, body: bytes) -> list[str]:
        """Say what of a request the platform does not take: its document, and its variables."""
        if not operation.startswith("POST ") or "graphql" not in operation:
            return []
        try:
            sent = orjson.loads(body)
            text, variables = sent["query"], sent.get("variables") or {}
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return ["body: is no JSON with a query"]
        document, problems = self._document(text)
        if problems or document is None:
            return problems[:MOST]
        asked = _operation(document)
        _, wrong = _variables(self.schema, asked, variables)
        return [_told(asked, one) for one in [*wrong, *self._nested(asked, variables)]][:MOST]

    def judged(
        self, operation: str, body: bytes, response: Response, said: Container[str] = ()
    ) -> tuple[Response, list[str]]:
        """Leave out of an answer what its document did not ask for, as GraphQL does, and say what else of it cannot be."""
        if not operation.startswith("POST ") or "graphql" not in operation or response.status_code != 200:
            return response, []
        sent, answer = orjson.loads(body), orjson.loads(response.body)
        document, problems = self._document(sent["query"])
        if problems or document is None or answer.get("data") is None:
            return response, [] if answer.get("errors") else ["an answer without data and without errors"]
        asked = _operation(document)
        root = self.schema.get_root_type(asked.operation)
        variables, _ = _variables(self.schema, asked, sent.get("variables") or {})
        failed = [one["path"] for one in answer.get("errors", ()) if one.get("path")]
        walk = _Walk(self.schema, document, variables, failed, said)
        assert root is not None
        found = [_told(asked, wrong) for wrong in walk.whole(root, answer["data"], [asked.selection_set], ())]
        if walk.more:
            for held, key in walk.more:
                held.pop(key, None)
            headers = {name: value for name, value in response.headers.items() if name != "content-length"}
            response = Response(orjson.dumps(answer), 200, headers)
        return response, found[:MOST]

    def untrue_lines(self, text: str, rows: Iterable[dict[str, Any]]) -> list[str]:
        """Say what of the lines of a bulk operation's result cannot be: each is a node of a connection that its document names.

        The first LINES are looked at. A connection of a node is no part of its line: its nodes are lines themselves.
        """
        document, problems = self._document(text)
        if document is None or problems:
            return problems[:MOST]
        root = self.schema.get_root_type(_operation(document).operation)
        walk = _Walk(self.schema, document, {}, [], (), flat=True)
        assert root is not None
        kinds = dict(walk.nodes(root, [_operation(document).selection_set]))
        found: list[str] = []
        for row in islice(rows, LINES):
            name = str(row.get("id", "")).removeprefix(GID).partition("/")[0]
            if name not in kinds:
                found.append(f"a line of {name or 'nothing'} was not asked for")
            else:
                found += [f"{name}: {wrong}" for wrong in walk.whole(kinds[name][0], row, kinds[name][1], ())]
        return list(dict.fromkeys(found))[:MOST]

    def _parsed(self, text: str) -> tuple[DocumentNode | None, list[str]]:
        try:
            document = parse(text)
        except GraphQLError as error:
            return None, [error.message]
        asked = _operation(document)
        return document, [_told(asked, error.message) for error in validate(self.schema, document)]

    def _nested(self, asked: OperationDefinitionNode, variables: dict[str, Any]) -> Iterator[str]:
        """Judge the document that a bulk operation runs, which stands in a variable."""
        names = {one.name.value for one in asked.selection_set.selections if isinstance(one, FieldNode)}
        if "bulkOperationRunQuery" in names:
            for text in variables.values():
                if isinstance(text, str) and "{" in text:
                    yield from self._document(text)[1]


class _Walk:
    """A walk through an answer, along what its document asks for."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode,
        variables: Any,
        failed: list[Any],
        said: Container[str],
        *,
        flat: bool = False,
    ) -> None:
        self._flat = flat  # connections are told elsewhere
        self._schema, self._variables, self._said = schema, variables, said
        self.more: list[tuple[dict[str, Any], str]] = []  # what nobody asked for, and in which object it stands
        self._failed = {tuple(path) for path in failed}  # where the answer itself says that it has nothing
        self._named = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}

    def whole(
        self, kind: GraphQLObjectType, value: dict[str, Any], sets: list[SelectionSetNode], at: tuple[Any, ...]
    ) -> Iterator[str]:
        """Judge an object: it has each field that was asked for; others are left out."""
        asked = self._collect(kind, sets)
        if self._flat:
            asked = {key: nodes for key, nodes in asked.items() if not _is_connection(kind, nodes[0])}
        self.more += [(value, key) for key in value if key not in asked]
        for key, nodes in asked.items():
            if key not in value:
                yield f"{_path((*at, key))}: was asked for and is missing"
                continue
            name = nodes[0].name.value
            if name == "__typename":
                continue
            inner = [node.selection_set for node in nodes if node.selection_set is not None]
            yield from self._value(kind.fields[name].type, value[key], inner, (*at, key))

    def nodes(
        self, kind: GraphQLObjectType, sets: list[SelectionSetNode]
    ) -> Iterator[tuple[str, tuple[GraphQLObjectType, list[SelectionSetNode]]]]:
        """Yield the types whose nodes a document asks for by connections, with what it asks of each."""
        for nodes in self._collect(kind, sets).values():
            inner: Any = (
                get_named_type(kind.fields[nodes[0].name.value].type) if nodes[0].name.value in kind.fields else None
            )
            held = [node.selection_set for node in nodes if node.selection_set is not None]
            if not is_object_type(inner):
                continue
            if _is_connection(kind, nodes[0]):
                edge: Any = get_named_type(inner.fields["edges"].type)
                edges = [one.selection_set for one in self._collect(inner, held)["edges"] if one.selection_set]
                held = [one.selection_set for one in self._collect(edge, edges)["node"] if one.selection_set]
                inner = get_named_type(edge.fields["node"].type)
                yield inner.name, (inner, held)
            yield from self.nodes(inner, held)

    def _collect(self, kind: GraphQLObjectType, sets: list[SelectionSetNode]) -> dict[str, list[FieldNode]]:
        found: dict[str, list[FieldNode]] = {}
        for node in (node for one in sets for node in one.selections):
            if self._left_out(node):
                continue
            if isinstance(node, FieldNode):
                found.setdefault((node.alias or node.name).value, []).append(node)
                continue
            part: Any = self._named[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            on = part.type_condition
            if on is None or self._is(kind, on.name.value):
                for key, nodes in self._collect(kind, [part.selection_set]).items():
                    found.setdefault(key, []).extend(nodes)
        return found

    def _left_out(self, node: FieldNode | FragmentSpreadNode | InlineFragmentNode | Any) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self._variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self._variables)
        return bool(skip and skip["if"]) or bool(include and not include["if"])

    def _is(self, kind: GraphQLObjectType, name: str) -> bool:
        on = self._schema.type_map[name]
        return on is kind or (is_abstract_type(on) and self._schema.is_sub_type(on, kind))

    def _value(self, kind: GraphQLType, value: Any, sets: list[SelectionSetNode], at: tuple[Any, ...]) -> Iterator[str]:
        wrong, needed = None, is_non_null_type(kind)
        if is_non_null_type(kind):
            kind = kind.of_type
        if value is None:
            fails = any(at[: len(path)] == path or path[: len(at)] == at for path in self._failed)
            wrong = "is null" if needed and not fails else None
        elif is_list_type(kind):
            if isinstance(value, list):
                for number, one in enumerate(value):
                    yield from self._value(kind.of_type, one, sets, (*at, number))
            else:
                wrong = f"is no list: {value!r:.60}"
        elif is_object_type(kind) or is_abstract_type(kind):
            if isinstance(value, dict):
                yield from self._object(kind, value, sets, at)
            else:
                wrong = f"is no object: {value!r:.60}"
        else:
            wrong = _leaf(kind, value)  # type: ignore[arg-type]
        if wrong is not None and repr(value) not in self._said:
            yield f"{_path(at)}: {wrong}"

    def _object(
        self,
        kind: GraphQLObjectType | GraphQLAbstractType,
        value: dict[str, Any],
        sets: list[SelectionSetNode],
        at: Any,
    ) -> Iterator[str]:
        """Judge an object, of an interface or union as whichever of its types it is by its id, or fits."""
        if is_object_type(kind):
            yield from self.whole(kind, value, sets, at)
            return
        may_be = self._schema.get_possible_types(kind)  # type: ignore[arg-type]
        told = value.get("__typename") or str(value.get("id", "")).removeprefix(GID).partition("/")[0]
        found = []
        for one in [one for one in may_be if one.name == told] or may_be:
            more = len(self.more)
            problems = list(self.whole(one, value, sets, at))
            found.append((len(problems), len(self.more) - more, problems, self.more[more:]))
            del self.more[more:]
        if found:
            _, _, problems, more_ = min(found, key=lambda one: one[:2])
            self.more += more_
            yield from problems


def _is_connection(kind: GraphQLObjectType, node: FieldNode) -> bool:
    told = kind.fields.get(node.name.value)
    return told is not None and get_named_type(told.type).name.endswith("Connection")


def _leaf(kind: GraphQLNamedType, value: Any) -> str | None:
    """Say what is wrong with a scalar or a word of an enumeration."""
    if is_enum_type(kind):
        return None if value in kind.values else f"{kind.name} has no {value!r:.60}"
    right = _KINDS.get(kind.name, (str,))
    if not isinstance(value, right) or (isinstance(value, bool) and bool not in right):
        return f"is no {kind.name}: {value!r:.60}"
    return None


def _variables(schema: GraphQLSchema, asked: OperationDefinitionNode, given: dict[str, Any]) -> tuple[Any, list[str]]:
    """Coerce variables as the platform does; a variable that the document does not declare is told too."""
    declared = {one.variable.name.value for one in asked.variable_definitions or ()}
    made = get_variable_values(schema, asked.variable_definitions or (), given)
    if isinstance(made, list):
        return {}, [error.message for error in made]
    return made, [f"variable ${name} is not declared" for name in given if name not in declared]


def _operation(document: DocumentNode) -> OperationDefinitionNode:
    return next(one for one in document.definitions if isinstance(one, OperationDefinitionNode))


def _told(asked: OperationDefinitionNode, said: str) -> str:
    return f"{asked.name.value}: {said}" if asked.name is not None else said


def _path(at: tuple[Any, ...]) -> str:
    return "data" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in at)

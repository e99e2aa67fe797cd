"""JMESPath (jmespath.org, read 2026-11) to what an answer holds: strict, with the place of what is odd, and bounded.

The library answers null for what is missing and for what is of another type alike. Here the second is told: a plain path
(`a.b[0]`, `a[].b[]`) is walked by us, so that its place has the index of each element; of any other expression the place is the
expression. Functions are those of the library. What an expression may do is bounded by the steps that it takes on a payload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar, TypeVarTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.visitor import TreeInterpreter
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from tracker.domain.facts import Unread
from tracker.plugin.payloads import MOST_TOLD, absent, kind, piece, pieces

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_EXPRESSION = 500  # characters
MOST_WORK = 1_000_000  # steps of all expressions on one payload: half a second
_EACH: Any = object()
_Node = Any  # of the library's tree: its type, its children, its value
_LISTS = frozenset({"flatten", "projection", "filter_projection"})  # whose first child must be a list


class Path:
    """A compiled JMESPath expression; it spells itself as it was written."""

    def __init__(self, text: str) -> None:
        """Compile it. Raises ValueError that says where it is no JMESPath."""
        self.text = text
        self.steps, self.tree, self.names = _compiled(text)
        inside = self.steps is not None and _EACH not in self.steps
        self.keys: tuple[str | int, ...] | None = tuple(self.steps or ()) if inside else None
        self.name = (
            next((key for key in self.keys if isinstance(key, str)), None)
            if self.keys and len(self.keys) == 1
            else None
        )
        self.where = f"${''.join(map(_printed, self.keys))}" if self.keys is not None else f"$.({text})"

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    @property
    def first(self) -> str | None:
        """Return the name that it begins with, None where it begins with something else."""
        first = self.steps[0] if self.steps else None
        return first if isinstance(first, str) else None

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a text of the YAML be one."""
        return core_schema.no_info_plain_validator_function(
            cls._of, serialization=core_schema.to_string_ser_schema(), json_schema_input_schema=core_schema.str_schema()
        )

    @classmethod
    def _of(cls, value: Any) -> Path:
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not value.strip():
            raise ValueError("must be a JMESPath, which is a text")
        return cls(value)


class Reading:
    """One payload being read: what may still be done, and which paths have found something in it."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.found: set[int] = set()  # of paths, by `id`
        self._strict = _Strict()

    def one(self, path: Path | None, value: Any, unread: list[Unread]) -> Any:
        """Return what stands at a path of an object, None where nothing does; what is in its way is told, from `$` on."""
        found = self._look(path, value, unread)
        if found is not None:
            self.found.add(id(path))
        return found

    def holds(self, path: Path | None, value: Any, unread: list[Unread]) -> bool:
        """Say whether there is something at a path: by JMESPath false, null and what is empty are nothing."""
        holds = self._look(path, value, unread) not in (None, False, "", [], {})
        if holds:
            self.found.add(id(path))
        return holds

    def _look(self, path: Path | None, value: Any, unread: list[Unread]) -> Any:
        if path is None:
            return None
        if path.name is not None and value.__class__ is dict:  # most paths are one name
            return value.get(path.name)
        return self._walk(path.keys, value, unread) if path.keys is not None else self._eval(path, value, unread, "")

    def each(
        self,
        path: Path,
        value: Any,
        read: Callable[[dict[str, Any], list[Unread], *Ts], T],
        unread: list[Unread],
        *more: *Ts,
        lacks: str = "",
    ) -> list[T] | None:
        """Read the objects of the lists that a path leads to, as `pieces` does; None: nothing stands there, and nothing is told.

        `@` is the one object that is being read.
        """
        if path.steps == []:
            self.found.add(id(path))
            one = piece(value, "$", read, unread, *more, lacks=lacks)
            return [one] if one is not None else []
        before = len(unread)
        lists = self.lists(path, value, unread, lacks)
        if not lists and len(unread) == before:
            return None
        return [one for rows, where in lists for one in pieces(rows, where, read, unread, *more, lacks=lacks)]

    def lists(self, path: Path, value: Any, unread: list[Unread], lacks: str) -> list[tuple[Any, str]]:
        """Return what stands where a path leads to, lists where all is well, each with its place; none: nothing stands there."""
        if path.steps is None:
            found = self._eval(path, value, unread, lacks)
            lists = [] if found is None else [(found, path.where)]
        else:
            lists = []
            steps = path.steps[:-1] if path.steps[-1:] == [_EACH] else path.steps  # the last one is the caller's
            _spread(steps, value, "$", unread, lacks, lists)
        if any(found not in ([], {}) for found, _ in lists):
            self.found.add(id(path))
        return lists

    def _walk(self, keys: Sequence[str | int], value: Any, unread: list[Unread]) -> Any:
        for at, key in enumerate(keys):
            if absent(value):
                return None
            wanted = dict if isinstance(key, str) else list
            if not isinstance(value, wanted):
                where, said = f"${''.join(map(_printed, keys[:at]))}", "an object" if wanted is dict else "a list"
                tell(unread, Unread(where, f"must be {said}, is {kind(value)}"))
                return None
            value = _below(value, key)
        return value

    def _eval(self, path: Path, value: Any, unread: list[Unread], lacks: str) -> Any:
        strict = self._strict
        strict.odd = []
        try:
            found = strict.visit(path.tree, value)
        except _TooMuchError:
            found, strict.odd = None, ["takes too many steps"]
        except (JMESPathError, ArithmeticError, ValueError, TypeError, AttributeError, RecursionError) as error:
            said = " ".join(str(error).split()) if isinstance(error, JMESPathError) else type(error).__name__
            found, strict.odd = None, [f"cannot be read: {said[:160]}"]
        for said in dict.fromkeys(strict.odd):
            tell(unread, Unread(path.where, said, lacks=lacks))
        return found


def tell(unread: list[Unread], one: Unread) -> None:
    """Tell of a piece that could not be read; of very many the first, and that there are more."""
    if len(unread) < MOST_TOLD:
        unread.append(one)
    elif len(unread) == MOST_TOLD:
        unread.append(Unread("$", "more pieces could not be read", lacks=one.lacks))


def _spread(
    steps: Sequence[Any], value: Any, where: str, unread: list[Unread], lacks: str, found: list[tuple[Any, str]]
) -> None:
    """Walk on from a value; where a step means each element of a list, walk on from each."""
    for at, step in enumerate(steps):
        if absent(value):
            return
        wanted = dict if isinstance(step, str) else list
        if not isinstance(value, wanted):
            said = f"must be {'an object' if wanted is dict else 'a list'}, is {kind(value)}"
            tell(unread, Unread(where, said, lacks=lacks))
            return
        if step is _EACH:
            for index, item in enumerate(value):
                _spread(steps[at + 1 :], item, f"{where}[{index}]", unread, lacks, found)
            return
        where += _printed(step)
        value = _below(value, step)
    if not absent(value):
        found.append((value, where))


def _below(value: Any, step: Any) -> Any:
    """Return what stands under a name of an object, or at a place of a list."""
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if -len(value) <= step < len(value) else None


def _printed(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"


def _steps(node: _Node) -> list[Any] | None:
    """Return a plain path step by step: names, indexes, and each element; None for any other expression."""
    told, children = node["type"], node["children"]
    if told in ("identity", "current"):
        return []
    if told == "field":
        return [node["value"]]
    if told == "index":
        return [node["value"]]
    parts: list[list[Any] | None]
    if told in ("subexpression", "index_expression"):
        parts = [_steps(child) for child in children]
    elif told == "projection":
        base = children[0]
        flat = base["type"] == "flatten"
        parts = [_steps(base["children"][0] if flat else base), [_EACH], _steps(children[1])]
    else:
        return None
    return None if None in parts else [step for part in parts for step in part or ()]


def _checked(node: _Node) -> _Node:
    """Return an expression whose lists and objects say so where something else stands in their place."""
    children = [_checked(child) if isinstance(child, dict) else child for child in node["children"]]
    if node["type"] in _LISTS:
        children[0] = {"type": "must_be", "value": list, "children": [children[0]]}
    elif node["type"] == "value_projection":
        children[0] = {"type": "must_be", "value": dict, "children": [children[0]]}
    return {**node, "children": children}


def _fields(node: _Node) -> Iterator[str]:
    """Yield the names that stand in an expression."""
    if node["type"] == "field":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _fields(child)


def _refuse_unknown_functions(node: _Node) -> None:
    if node["type"] == "function_expression" and node["value"] not in _Strict.known:
        raise ValueError(f"is no JMESPath: there is no function {node['value'][:60]}()")
    for child in node["children"]:
        if isinstance(child, dict):
            _refuse_unknown_functions(child)


@lru_cache(maxsize=1000)  # stores of one description say the same
def _compiled(text: str) -> tuple[list[Any] | None, _Node, frozenset[str]]:
    """Return the steps of an expression that is a plain path, its checked tree, and the names that stand in it. Raises ValueError."""
    if len(text) > MOST_EXPRESSION:
        raise ValueError(f"must be a JMESPath of {MOST_EXPRESSION} characters at most")
    try:
        tree = jmespath.compile(text).parsed
        _refuse_unknown_functions(tree)
        return _steps(tree), _checked(tree), frozenset(_fields(tree))
    except JMESPathError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"is no JMESPath: {said[:160]}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None


class _TooMuchError(Exception):
    """An expression did all that may be done on one payload."""


class _Strict(TreeInterpreter):
    """The library's interpreter, which tells what is of another type, and counts its steps."""

    known = frozenset(Functions.FUNCTION_TABLE)

    def __init__(self) -> None:
        super().__init__()
        self.odd: list[str] = []
        self.left = MOST_WORK

    def visit(self, node: _Node, *args: Any, **more: Any) -> Any:
        """Take a step."""
        self.left -= 1
        if self.left < 0:
            raise _TooMuchError
        return super().visit(node, *args, **more)

    def visit_field(self, node: _Node, value: Any) -> Any:
        """Return a value of an object."""
        if isinstance(value, dict):
            return value.get(node["value"])
        if not absent(value):
            self._tell(f"{node['value']}: must stand in an object, not in {kind(value)}")
        return None

    def visit_index(self, node: _Node, value: Any) -> Any:
        """Return an element of a list."""
        if not isinstance(value, list) and not absent(value):
            self._tell(f"[{node['value']}]: must stand in a list, not in {kind(value)}")
        return super().visit_index(node, value)

    def visit_slice(self, node: _Node, value: Any) -> Any:
        """Return a part of a list."""
        if not isinstance(value, list) and not absent(value):
            self._tell(f"a slice must be of a list, not of {kind(value)}")
        return self._weighed(super().visit_slice(node, value))

    def visit_must_be(self, node: _Node, value: Any) -> Any:
        """Return what must be a list, or an object."""
        found = self.visit(node["children"][0], value)
        if not isinstance(found, node["value"]) and not absent(found):
            self._tell(f"must be {'a list' if node['value'] is list else 'an object'}, is {kind(found)}")
        return self._weighed(found)

    def visit_comparator(self, node: _Node, value: Any) -> Any:
        """Compare; what is of another type is neither the same nor another in silence."""
        left, right = (self.visit(child, value) for child in node["children"])
        if (
            not absent(left)
            and not absent(right)
            and kind(left) != kind(right)
            and {kind(left), kind(right)} != _NUMBERS
        ):
            self._tell(f"compares {kind(left)} with {kind(right)}")
        literals = [{"type": "literal", "value": one, "children": []} for one in (left, right)]
        compared: _Node = {**node, "children": literals}
        return super().visit_comparator(compared, value)

    def visit_function_expression(self, node: _Node, value: Any) -> Any:
        """Call a function; what it is given and what it makes counts as steps."""
        given = [self._weighed(self.visit(child, value)) for child in node["children"]]
        return self._weighed(_FUNCTIONS.call_function(node["value"], given))

    def _weighed(self, value: Any) -> Any:
        if isinstance(value, list | dict):
            self.left -= len(value)
        elif isinstance(value, str):
            self.left -= len(value) >> 6
        if self.left < 0:
            raise _TooMuchError
        return value

    def _tell(self, said: str) -> None:
        if len(self.odd) < MOST_TOLD:
            self.odd.append(said)


_NUMBERS = {"an int", "a float"}
_FUNCTIONS: Any = Functions()

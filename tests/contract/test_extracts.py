"""The extracts that sandbox shops are held against are parts of the official contracts, and made from these files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from graphql import build_schema, get_named_type, is_enum_type, parse, print_ast, validate

from tests.contract import extract as made_by
from tests.contract.extract_graphql import documents_of, introspection
from tests.contract.test_shared import SHARED
from tracker.sandbox import find
from tracker.sandbox.contracts import HERE

needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
REST = [name for name in made_by.REST if name in find.fakes()]
BOTH = [*REST, *made_by.GRAPHQL]

official = cache(made_by.official)


@needs_shared
@pytest.mark.parametrize("name", BOTH)
def test_an_extract_is_what_the_script_makes_of_the_official_files(name: str) -> None:
    file, text = made_by.extract(name)

    assert file.read_text(encoding="utf-8") == text, f"python -m tests.contract.extract {name}"


@pytest.mark.parametrize("name", BOTH)
def test_each_extract_names_its_official_files_and_their_digests_in_sources(name: str) -> None:
    sources = (HERE / "SOURCES.md").read_text(encoding="utf-8")
    if name in REST:
        named = json.loads((HERE / f"{name}.json").read_bytes())["official"]
    else:
        head = (HERE / f"{name}.graphql").read_text(encoding="utf-8").split("\n")[0].split()
        named = {head[4].rstrip(","): head[6]}

    assert named
    for file, digest in named.items():
        (row,) = [line for line in sources.splitlines() if f"| {file} |" in line]
        assert row.startswith(f"| `{name}.") and row.endswith(f"| {digest} |")
    assert (HERE / f"LICENSE.{name}").exists() or "has no licence" in sources


@pytest.mark.parametrize("name", BOTH)
def test_the_fake_shop_of_each_extract_is_held_against_it(name: str) -> None:
    assert find.fakes()[name].contract == name


# a part of the official contract: read in another way than the script does


def parts(document: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what a schema is made of, its references followed."""
    if "$ref" in node:
        found: Any = document
        for step in node["$ref"][2:].split("/"):
            found = found[step.replace("~1", "/")]
        yield from parts(document, found)
        return
    for one in node.get("allOf", ()):
        yield from parts(document, one)
    yield node


def wrong(extract: dict[str, Any], document: dict[str, Any], mine: Any, theirs: Any, at: str, seen: set[Any]) -> Any:
    """Yield where a schema of ours says what the official one does not."""
    schema_name = ""
    while "$ref" in mine:
        if (key := (mine["$ref"], json.dumps(theirs, default=str)[:200])) in seen:
            return
        seen.add(key)
        schema_name = mine["$ref"].rsplit("/", 1)[1]
        mine = extract["schemas"][schema_name]
    there = ["schemas", schema_name, "properties"]
    changed = {one["where"][3] for one in extract["changes"] if one["where"][:3] == there}
    found = list(parts(document, theirs))
    if "type" in mine:
        kinds = {mine["type"]} if isinstance(mine["type"], str) else set(mine["type"])
        said = {part["type"] for part in found if "type" in part}
        may_be = said | ({"object"} if any("properties" in part for part in found) else set())
        if not kinds - {"null"} <= may_be or ("null" in kinds and not any(part.get("nullable") for part in found)):
            yield f"{at}: {mine['type']} is {said}"
    if "enum" in mine and not any(set(mine["enum"]) - {None} <= set(part.get("enum", ())) for part in found):
        yield f"{at}: other words"
    needed = {name for part in found for name in part.get("required") or ()}
    if not set(mine.get("required", ())) <= needed:
        yield f"{at}: {mine['required']} is {needed}"
    for name, schema in mine.get("properties", {}).items():
        if name in changed:
            continue
        named = [part["properties"][name] for part in found if name in (part.get("properties") or {})]
        if not named:
            yield f"{at}.{name}: is not there"
        else:
            yield from wrong(extract, document, schema, named[-1], f"{at}.{name}", seen)
    if isinstance(mine.get("items"), dict) and mine["items"]:
        (items,) = [part["items"] for part in found if "items" in part][:1]
        yield from wrong(extract, document, mine["items"], items, f"{at}[]", seen)
    for key in ("oneOf", "anyOf"):
        listed = next((part[key] for part in found if key in part), ())
        for number, (one, their) in enumerate(zip(mine.get(key, ()), listed, strict=bool(mine.get(key)))):
            yield from wrong(extract, document, one, their, f"{at}/{key}[{number}]", seen)


def undone(extract: dict[str, Any]) -> set[str]:
    """Return the places of an extract that differ from the official file on purpose, as operation and part."""
    return {"/".join(map(str, one["where"][:4])) for one in extract["changes"]}


@needs_shared
@pytest.mark.parametrize("name", REST)
def test_every_operation_and_schema_of_an_extract_is_in_the_official_contract(name: str) -> None:
    extract = json.loads((HERE / f"{name}.json").read_bytes())
    changed, found = undone(extract), []
    for operation, mine in extract["operations"].items():
        file, path = mine["official"].split(" ")
        document = official(file)
        told = document["paths"][path][operation.split()[0].lower()]
        given = [
            list(parts(document, one))[-1]
            for one in [*document["paths"][path].get("parameters", ()), *told.get("parameters", ())]
        ]
        queries = {one["name"]: one.get("schema", one) for one in given if one["in"] == "query"}
        for query, schema in mine["query"].items():
            if f"operations/{operation}/query/{query}" not in changed:
                found += wrong(extract, document, schema, queries[query], f"{operation} ?{query}", set())
        if mine["body"] is not None:
            asked = list(parts(document, told["requestBody"]))[-1] if "requestBody" in told else None
            theirs = asked["content"]["application/json"] if asked else next(p for p in given if p["in"] == "body")
            found += wrong(extract, document, mine["body"], theirs["schema"], f"{operation} body", set())
        for status, schema in mine["answers"].items():
            if schema is not None and f"operations/{operation}/answers/{status}" not in changed:
                told_of = {str(key): value for key, value in told["responses"].items()}
                answer = list(parts(document, told_of[status]))[-1]
                theirs = answer if "schema" in answer else answer["content"]["application/json"]
                found += wrong(extract, document, schema, theirs["schema"], f"{operation} {status}", set())

    assert found == []


@needs_shared
@pytest.mark.parametrize("name", made_by.GRAPHQL)
def test_every_field_of_a_graphql_extract_is_in_the_official_schema_and_takes_our_documents(name: str) -> None:
    file, package = made_by.GRAPHQL[name]
    types = {one["name"]: one for one in introspection(made_by.SPECS / file)["types"]}
    schema = build_schema((HERE / f"{name}.graphql").read_text(encoding="utf-8"))
    for kind, told in schema.type_map.items():
        if kind.startswith("__") or kind in ("Int", "Float", "String", "Boolean", "ID"):
            continue
        if is_enum_type(told):
            assert set(told.values) == {one["name"] for one in types[kind]["enumValues"]}, kind
        theirs = {one["name"]: one for one in [*(types[kind]["fields"] or ()), *(types[kind]["inputFields"] or ())]}
        for field, mine in getattr(told, "fields", {}).items():
            assert str(mine.type) == spelt(theirs[field]["type"]), f"{kind}.{field}"
            args = {one["name"]: spelt(one["type"]) for one in theirs[field].get("args", ())}
            assert {a: str(v.type) for a, v in getattr(mine, "args", {}).items()}.items() <= args.items()
            assert get_named_type(mine.type).name in types
    documents = documents_of(package)
    assert len(documents) >= 10
    for document in documents:
        assert validate(schema, parse(print_ast(document))) == []


def spelt(kind: dict[str, Any]) -> str:
    if kind["kind"] == "NON_NULL":
        return f"{spelt(kind['ofType'])}!"
    return f"[{spelt(kind['ofType'])}]" if kind["kind"] == "LIST" else str(kind["name"])

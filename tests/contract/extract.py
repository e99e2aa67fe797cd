"""Make the extracts of official contracts that sandbox shops are held against: `python -m tests.contract.extract [PLATFORM ...]`.

Of an OpenAPI file: the operations that the fake shop's routes answer, with the schemas that these need, in JSON Schema; names, types,
enumerations and what is required, no prose. Of a GraphQL schema: the types, fields and arguments that our documents touch. What the
official files say wrongly is in `exceptions.yaml`, with the reason. The same files give the same extract, byte for byte.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tests.contract.extract_graphql import documents_of, introspection, pruned
from tracker.sandbox import find
from tracker.sandbox.contracts import HERE

SPECS = Path(__file__).resolve().parents[3] / "shared" / "platforms" / "specs"
# the paths of a fake shop begin so, and go on as in these files
REST = {
    "bigcommerce": {
        r"/stores/\{\w+\}/v2": ("bigcommerce/orders.v2.oas2.yml",),
        r"/stores/\{\w+\}/v3": ("bigcommerce/orders.v3.yml", "bigcommerce/webhooks.v3.yml"),
    },
    "magento": {
        r"/rest/(\{\w+\}|all|default)": ("magento/admin-schema-2.4.9.yaml",),
        r"/\{tenant\}": ("magento/accs-schema.yaml.gz",),
    },
    "woocommerce": {
        r"/wp-json/wc/v3": (
            "woocommerce/wc-v3.openapi-3.0.generated-2021.yml",
            "woocommerce/order-fulfillments.derived.schema.json",
        )
    },
}
GRAPHQL = {"shopify": ("shopify/admin_2026-04.introspection.json.gz", "adapters.shopify")}
KEPT = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
)  # fmt: skip
TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
EXCEPTIONS: dict[str, Any] = yaml.safe_load((Path(__file__).with_name("exceptions.yaml")).read_text(encoding="utf-8"))


def main(names: list[str]) -> None:
    """Write the extracts of these platforms, of all that have a fake shop by default."""
    for name in names or [*REST, *GRAPHQL]:
        if name in find.fakes():
            file, text = extract(name)
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"{file.name}: {len(text)} bytes\n")


def extract(name: str) -> tuple[Path, str]:
    """Return the file of a platform's extract, and what it must hold."""
    if name in GRAPHQL:
        file, package = GRAPHQL[name]
        head = f"# An extract of {file}, sha256 {_sha(file)}\n# (see SOURCES.md; made by tests/contract/extract.py)\n"
        return HERE / f"{name}.graphql", head + pruned(introspection(SPECS / file), documents_of(package))
    return HERE / f"{name}.json", _dumped(rest(name))


def rest(name: str) -> dict[str, Any]:
    """Return the extract of a REST platform."""
    files = {file: official(file) for group in REST[name].values() for file in group}
    excepted = EXCEPTIONS.get(name, {})
    made = _Extract(files)
    beyond = {}
    for operation, params in operations(name):
        if operation in excepted.get("beyond", {}):
            beyond[operation] = excepted["beyond"][operation]
        else:
            made.add(operation, params, *_found(name, files, operation))
    for one in excepted.get("changes", ()):
        _change(made.document, one)
    return {
        "official": {file: _sha(file) for file in files},
        "changes": excepted.get("changes", []),
        "beyond": beyond,
        **made.document,
    }


def operations(name: str) -> Iterator[tuple[str, list[str]]]:
    """List the operations that a fake shop answers: method and path, and the names in the path."""
    fake = find.fakes()[name]("shop", lambda: datetime(2026, 11, 2, tzinfo=UTC))
    told = {(method, route.path) for route in fake.routes() for method in route.methods or {"GET"}}
    for method, path in sorted(told, key=lambda one: (one[1], one[0])):
        if method != "HEAD":
            yield f"{method} {path}", re.findall(r"\{(\w+)", path)


def official(file: str) -> dict[str, Any]:
    """Return an official file, as OpenAPI."""
    body = (SPECS / file).read_bytes()
    text = (gzip.decompress(body) if file.endswith(".gz") else body).decode()
    if file.endswith(".json"):
        return _fulfilments(json.loads(text))
    loaded: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def _fulfilments(derived: dict[str, Any]) -> dict[str, Any]:
    """Return what was derived of WooCommerce's fulfilments as OpenAPI: the routes that use its schemas."""
    schemas = json.loads(
        json.dumps(derived["$defs"]).replace("#/$defs/", "#/components/schemas/"), object_hook=_as_openapi
    )

    def body(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}

    def asked(name: str) -> dict[str, Any]:
        return {"required": True, **body(name)}

    listed = {"type": "array", "items": {"$ref": "#/components/schemas/fulfillment"}}
    answer, ids = body("fulfillment"), [{"name": n, "in": "path", "schema": {"type": "integer"}} for n in ("id", "fid")]
    notify = {"name": "notify_customer", "in": "query", "schema": {"type": "boolean"}}
    there = {"200": {"content": {"application/json": {"schema": listed}}}}
    paths = {
        "/orders/{id}/fulfillments": {
            "parameters": ids[:1],
            "get": {"responses": there},
            "post": {"parameters": [notify], "requestBody": asked("create"), "responses": {"201": answer}},
        },
        "/orders/{id}/fulfillments/{fid}": {
            "parameters": ids,
            "get": {"responses": {"200": answer}},
            "put": {"parameters": [notify], "requestBody": asked("update"), "responses": {"200": answer}},
        },
    }
    return {"paths": paths, "components": {"schemas": schemas}}


def _as_openapi(node: dict[str, Any]) -> dict[str, Any]:
    """Say several types as OpenAPI 3.0 does: one that may be null, or none where there are several."""
    if isinstance(kinds := node.get("type"), list):
        others = [kind for kind in kinds if kind != "null"]
        node = {key: value for key, value in node.items() if key != "type"} | {"nullable": "null" in kinds}
        node |= {"type": others[0]} if len(others) == 1 else {}
    return node


def _found(name: str, files: dict[str, Any], operation: str) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Find an operation in the official files: the file, its path there, what all of the path share, and the operation."""
    method, path = operation.split(" ")
    for begins, group in REST[name].items():
        if (begun := re.match(begins, path)) is None:
            continue
        wanted = _shape(path[begun.end() :])
        for file in group:
            for there, shared in files[file]["paths"].items():
                if _shape(there) == wanted and method.lower() in shared:
                    return file, there, shared, shared[method.lower()]
    raise SystemExit(f"{name}: {operation} is in no official file: say in exceptions.yaml why the fake answers it")


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


class _Extract:
    """The operations taken so far, and the schemas that they need."""

    def __init__(self, files: dict[str, dict[str, Any]]) -> None:
        self._files = files
        self.document: dict[str, Any] = {"operations": {}, "schemas": {}}

    def add(
        self, operation: str, params: list[str], file: str, path: str, shared: dict[str, Any], told: dict[str, Any]
    ) -> None:
        """Take an operation."""
        given = [self._resolved(file, one) for one in [*shared.get("parameters", ()), *told.get("parameters", ())]]
        ids = {p["name"]: self._schema(file, p.get("schema", p)) for p in given if p["in"] == "path"}
        there = re.findall(r"\{([^}]*)\}", path)
        ours = params[len(params) - len(there) :]
        body, needed = self._body(file, told, given)
        self.document["operations"][operation] = {
            "official": f"{file} {path}",
            "path": {
                **{name: {} for name in params},
                **{name: ids.get(official, {}) for name, official in zip(ours, there, strict=True)},
            },
            "query": {p["name"]: self._schema(file, p.get("schema", p)) for p in given if p["in"] == "query"},
            "needs": sorted(p["name"] for p in given if p["in"] in ("query", "header") and p.get("required")),
            "body": body,
            "body_needed": needed,
            "answers": dict(self._answers(file, told)),
        }

    def _body(self, file: str, told: dict[str, Any], given: list[dict[str, Any]]) -> tuple[Any, bool]:
        if "requestBody" in told:
            asked = self._resolved(file, told["requestBody"])
            return self._schema(file, asked["content"]["application/json"].get("schema", {})), asked.get(
                "required", False
            )
        for one in given:
            if one["in"] == "body":
                return self._schema(file, one["schema"]), one.get("required", False)
        return None, False

    def _answers(self, file: str, told: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield what a status answers, None where it has no body; a failure that is not described may have any."""
        for status, one in told["responses"].items():
            one = self._resolved(file, one)
            described = one if "schema" in one else one.get("content", {}).get("application/json", {})
            if "schema" in described:
                yield str(status), self._schema(file, described["schema"])
            elif str(status) < "4":
                yield str(status), None

    def _resolved(self, file: str, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            node = self._target(file, node["$ref"])
        return node

    def _target(self, file: str, ref: str) -> dict[str, Any]:
        found: Any = self._files[file]
        for step in ref.removeprefix("#/").split("/"):
            found = found[step.replace("~1", "/").replace("~0", "~").replace("%7B", "{").replace("%7D", "}")]
        return found

    def _schema(self, file: str, node: dict[str, Any]) -> dict[str, Any]:
        """Return a schema without its prose, strict about names; one that is named is kept once."""
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[1]
            if not re.match(r"#/(components/schemas|definitions)/[^/]+$", node["$ref"]):
                return self._schema(file, self._target(file, node["$ref"]))
            key = f"{name}@{Path(file).name.partition('.')[0]}" if len(self._files) > 1 else name
            if key not in self.document["schemas"]:
                self.document["schemas"][key] = {}  # it may hold itself
                self.document["schemas"][key] = self._schema(file, self._target(file, node["$ref"]))
            return {"$ref": f"#/schemas/{key}"}
        made: dict[str, Any] = {key: node[key] for key in KEPT if key in node}
        parts = [self._flat(file, part) for part in node.get("allOf", ())]
        properties = {k: v for part in [*parts, node] for k, v in (part.get("properties") or {}).items()}
        lists = [
            part["required"] for part in [*parts, node] if isinstance(part.get("required"), list)
        ]  # of a parameter it is a yes or no
        required = [name for names in lists for name in names if isinstance(name, str)]
        kind = node.get("type") or next((part["type"] for part in parts if "type" in part), None)
        for key in ("oneOf", "anyOf"):
            if key in node:
                made[key] = [self._schema(file, one) for one in node[key]]
        if properties:
            made |= {"type": "object", "properties": {k: self._schema(file, v) for k, v in properties.items()}}
            made["additionalProperties"] = "additionalProperties" in node and node["additionalProperties"] is not False
            if needed := sorted({name for name in required if name in properties}):
                made["required"] = needed
        elif kind in TYPES:
            made["type"] = kind
        if kind == "array":
            made["items"] = self._schema(file, node.get("items", {}))
        if "enum" in node and isinstance(node["enum"], list):
            made["enum"] = list(node["enum"])
        if node.get("nullable") and "type" in made:
            made["type"] = [made["type"], "null"]
            if "enum" in made:
                made["enum"] = [*made["enum"], None]
        return made

    def _flat(self, file: str, node: dict[str, Any]) -> dict[str, Any]:
        """Return a part of `allOf` with what it is made of in it."""
        node = self._resolved(file, node)
        parts = [self._flat(file, part) for part in node.get("allOf", ())]
        merged: dict[str, Any] = {"properties": {}, "required": []}
        for part in [*parts, node]:
            merged["properties"] |= part.get("properties") or {}
            merged["required"] = [*merged["required"], *(part.get("required") or ())]
        return merged | ({"type": node["type"]} if "type" in node else {})


def _change(document: dict[str, Any], one: dict[str, Any]) -> None:
    """Put right what an official file says wrongly; what is no longer wrong must leave the table."""
    place: Any = document
    for step in one["where"][:-1]:
        place = place[step]
    last = one["where"][-1]
    if last in place and place[last] == one.get("is"):
        raise SystemExit(f"exceptions.yaml: {one['where']} is so in the official file")
    if "is" in one:
        place[last] = one["is"]
    else:
        del place[last]


def _sha(file: str) -> str:
    return hashlib.sha256((SPECS / file).read_bytes()).hexdigest()


def _dumped(extract: dict[str, Any]) -> str:
    """Return an extract as JSON with one operation and one schema a line: a change of one is a line of a diff."""
    parts = []
    for key, value in extract.items():
        if isinstance(value, dict):
            rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value[name])}" for name in sorted(value))
            parts.append(f"{json.dumps(key)}: {{\n{rows}\n}}")
        else:
            rows = ",\n".join(json.dumps(one) for one in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])

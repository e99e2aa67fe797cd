"""Magento's lists: search criteria (all groups hold, of a group one), pages of which the last repeats, and `fields`."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from tracker.sandbox.base import as_json

MOST = 300
_FILTER = re.compile(r"searchCriteria\[filterGroups\]\[(\d+)\]\[filters\]\[(\d+)\]\[(field|value|conditionType)\]")


def found(rows: list[dict[str, Any]], query: Mapping[str, str]) -> Response:
    """Answer a search: `items`, `search_criteria`, `total_count`. A page past the end is the last page."""
    size = int(query.get("searchCriteria[pageSize]", 20))
    if size > MOST:
        return as_json({"message": "Maximum SearchCriteria pageSize is %max", "parameters": {"max": MOST}}, 400)
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for name, value in query.items():
        if met := _FILTER.fullmatch(name):
            groups.setdefault(met[1], {}).setdefault(met[2], {})[met[3]] = value
    for group in groups.values():
        if any(one["field"] not in (rows[0] if rows else one["field"]) for one in group.values()):
            return as_json(
                {"message": "Invalid attribute name: %1", "parameters": [next(iter(group.values()))["field"]]}, 400
            )
        rows = [row for row in rows if any(_holds(row, one) for one in group.values())]
    by = query.get("searchCriteria[sortOrders][0][field]", "entity_id")
    rows = sorted(
        rows, key=lambda row: row[by], reverse=query.get("searchCriteria[sortOrders][0][direction]") == "DESC"
    )
    pages = max(1, -(-len(rows) // size))
    page = min(int(query.get("searchCriteria[currentPage]", 1)), pages)
    told = {
        "items": rows[(page - 1) * size : page * size],
        "search_criteria": {"page_size": size},
        "total_count": len(rows),
    }
    return as_json(only(told, query.get("fields")))


def _holds(row: dict[str, Any], wanted: dict[str, str]) -> bool:
    has, value = row[wanted["field"]], wanted["value"]
    if wanted.get("conditionType", "eq") == "in":
        return str(has) in value.split(",")
    compared = type(has)(value)
    how = {"eq": operator.eq, "gt": operator.gt, "gteq": operator.ge, "lteq": operator.le}
    return bool(how[wanted.get("conditionType", "eq")](has, compared))


def only(told: Any, fields: str | None) -> Any:
    """Return what `fields` asks for, such as `items[entity_id,items[qty]],total_count`; all where nothing is asked."""
    return told if not fields else _only(told, _parsed(fields))


def _only(told: Any, wanted: dict[str, Any]) -> Any:
    if isinstance(told, list):
        return [_only(one, wanted) for one in told]
    if not isinstance(told, dict):
        return told
    return {name: _only(told[name], inner) if inner else told[name] for name, inner in wanted.items() if name in told}


def _parsed(fields: str) -> dict[str, Any]:
    wanted: list[dict[str, Any]] = [{}]
    name = ""
    for sign in re.findall(r"[\[\],]|[^\[\],]+", fields):
        if sign == "[":
            wanted.append(wanted[-1][name])
        elif sign == "]":
            wanted.pop()
        elif sign != ",":
            name = sign
            wanted[-1][name] = {}
    return wanted[0]

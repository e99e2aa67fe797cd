"""Fixtures that are tables: a head and lines, three of which are a parcel."""

from __future__ import annotations

from typing import Any

from tracker.plugin.conformance import Form


def _load(body: bytes) -> Any:
    head, *rest = body.decode().splitlines()
    names = head.split(";")
    rows = [dict(zip(names, row.split(";"), strict=True)) for row in rest]
    return {"head": names, "parcels": [{"lines": rows[i : i + 3]} for i in range(0, len(rows), 3)]}


def _dump(tree: Any) -> bytes:
    """Print a tree of lines again; what is no text is printed as no carrier prints it, and not as Python does."""

    def word(value: Any) -> str:
        return value if isinstance(value, str) else "" if value in (None, [], {}) else f"~{type(value).__name__}"

    printed = [";".join(tree["head"])]
    for parcel in tree["parcels"]:
        lines = parcel.get("lines") if isinstance(parcel, dict) else [parcel]
        for line in lines if isinstance(lines, list) else [lines]:
            printed.append(";".join(word(line.get(n)) for n in tree["head"]) if isinstance(line, dict) else word(line))
    return ("\n".join(printed) + "\n").encode("utf-8", "surrogatepass")


LINES = Form(_load, _dump)

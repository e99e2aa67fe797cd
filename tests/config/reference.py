"""A second reader of YAML: ruamel's, written in Python. Ours must say the same of every file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode

from tracker.config.yamlfile import MOST_NUMBER

Path_ = tuple[str | int, ...]


@dataclass
class Read:
    """What a file says, and where."""

    value: Any = None
    marks: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(text: str) -> Read:
    """Read a text that holds no reference. Raises what ruamel raises."""
    told = Read()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same anchor twice
        node = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    told.value = None if node is None else _value(node, (), told)
    return told


def _value(node: Any, path: Path_, told: Read) -> Any:
    told.marks.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                told.problems.append("a key must be a plain text")
                continue
            key = str(key_node.value)
            if key in found:
                told.problems.append(
                    f"{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}: the key is there twice"
                )
                continue
            told.marks[(*path, key)] = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            found[key] = _value(value_node, (*path, key), told)
        return found
    if not isinstance(node, ScalarNode):
        return [_value(item, (*path, i), told) for i, item in enumerate(node.value)]
    return _scalar(str(node.value), str(node.tag), told)


def _scalar(text: str, tag: str, told: Read) -> Any:
    kind = tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return text not in ("false", "False", "FALSE")
    try:
        if kind == "int":
            number = int(text.replace("_", ""), 0) if text.lstrip("+-").lower().startswith(("0x", "0o")) else int(text)
            return number if abs(number) < MOST_NUMBER else text
        if kind == "float":
            return float(text)
    except ValueError:
        return text
    if kind not in ("str", "timestamp"):
        told.problems.append(f"the tag {tag} is not allowed")
        return None
    return text

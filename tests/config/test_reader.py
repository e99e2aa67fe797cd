"""The reader of YAML is libyaml, in C; what it says of a file is what ruamel says, by the rules of YAML 1.2."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.config import reference
from tracker.config.yamlfile import _ODD, MOST_BYTES, Document, parse, read
from tracker.domain.errors import ConfigError

HERE = Path(__file__).parents[2]
FILES = sorted(
    path for path in HERE.rglob("*.y*ml") if not {".venv", ".git", "node_modules"} & set(path.relative_to(HERE).parts)
)
WORDS = [
    "no", "yes", "on", "Off", "y", "NO", "true", "False", "TRUE", "null", "~", "", "012", "0o14", "0x1f", "0b11", "1_000", "12:30", "12:30:45",
    "190:20:30.15", "1e3", "1.5", ".5", "-.inf", ".nan", "+7", "2026-01-01", "2026-01-01T00:00:00Z", "<<", "=", "a", "a b", "é", "a:b", "1.", "-",
    "- a", "#", "a #b", "'", '"', "%", "@a", "`", "!", "&a", "{", "[", ",", "?", "|", ">", "x" * 200, "a\nb", "a\n\nb\n", " a ", "\t", "\u2028",
]  # fmt: skip
SCALARS = st.sampled_from(WORDS) | st.text(max_size=12) | st.integers() | st.booleans() | st.none()
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=6), inner, max_size=4), max_leaves=15
)  # fmt: skip
PIECES = [
    "a", "b", "no", "012", "0o7", "1:30", "~", "1e3", "x y", ": ", ":", "- ", "-", "\n", "\n  ", "\n    ", "\n- ", "\na: ", "\n  b: ", "[", "]", "{", "}", ", ", ",",
    "'", '"', "''", '"q"', "'q'", " #c", "#", "|\n  ", ">\n  ", "|-\n  ", "\\n", "\\", "&a ", "!!str ", "!!int ", "!x ", "! ", "? ", "\n---\n", "\n...\n",
    "<<: ", "=", "\t", " ", "\ufeff", "é", "\u2028", "\x85", "%", "@", "`", "*a", "\r\n", "\r",
]  # fmt: skip
# such a bare word libyaml refuses in flow style, and names the place; it never reads it otherwise
COLON = re.compile(r"(?:^|\W):\S|:[^\w\s]")


def both(text: str) -> tuple[Document | None, reference.Read | None]:
    """Read a text by both; None where one refuses it."""
    try:
        ours: Document | None = parse(text.encode("utf-8", "replace"), "t", Path("/nowhere"))
    except ConfigError:
        ours = None
    try:
        theirs: reference.Read | None = reference.read(text.encode("utf-8", "replace").decode("utf-8-sig"))
    except (YAMLError, ValueError, NotImplementedError, AttributeError, AssertionError, IndexError, RecursionError):
        theirs = None
    return ours, theirs


def _at(value: Any, path: reference.Path_) -> Any:
    for part in path:
        value = value[part]
    return value


def same(ours: Document, theirs: reference.Read, *, tagged: bool = False) -> None:
    """Compare values, places and problems."""
    assert repr(ours.value) == repr(theirs.value)
    assert ours.marks.keys() == theirs.marks.keys()
    for (
        path,
        place,
    ) in ours.marks.items():  # where nothing stands, and where a tag and an anchor begin, is a matter of taste
        assert place[1:] == theirs.marks[path] or _at(ours.value, path) is None or tagged, path
    assert len(ours.problems) == len(theirs.problems)
    for said, wanted in zip(ours.problems, theirs.problems, strict=True):
        assert wanted.rpartition(": ")[2] in said and said.startswith(f"t:{wanted}"[:2]), (said, wanted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HERE)))
def test_every_yaml_file_of_ours_reads_as_it_did(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("${", "$(")
    ours, theirs = both(text)
    if ours is None:
        with pytest.raises(ConfigError, match="aliases" if theirs else ":"):
            parse(text.encode(), "t", HERE)
        return
    assert theirs is not None
    same(ours, theirs)


@given(tree=TREES, flow=st.booleans(), width=st.sampled_from([20, 4096]))
@example(tree=[":0"], flow=True, width=20)
def test_what_is_written_is_read_alike(tree: Any, flow: bool, width: int) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.allow_unicode = flow, width, True
    out = io.StringIO()
    yaml.dump(tree, out)
    text = out.getvalue().replace("${", "$(")
    ours, theirs = both(text)
    refused = bool(_ODD.search(text)) or (ours is None and flow and bool(COLON.search(text)))
    assert (ours is None) == (theirs is None or refused), text
    if ours is not None and theirs is not None:
        same(ours, theirs)


@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14))
def test_what_both_take_for_yaml_is_read_alike(pieces: list[str]) -> None:
    text = "".join(pieces)
    ours, theirs = both(text)
    if ours is not None and theirs is not None:
        same(ours, theirs, tagged="!" in text and "&" in text)


@pytest.mark.parametrize(
    ("head", "piece", "says"),
    [("", "- \n", "more than 500000 keys"), ("a: [", "1,", "more than 500000 keys"), ("", "[", "deeper than 20"), ("", "{a: ", "deeper than 20"),
     ("", "? ", "deeper than 20"), ("a: &a b\nc: [", "*a,", "aliases"), ("", "&", "not YAML"), ("a: ", "x" * 1024, "must be a mapping|larger")],
    ids=["dashes", "commas", "lists", "mappings", "keys", "aliases", "anchors", "letters"],
)  # fmt: skip
def test_a_hostile_file_of_the_largest_size_is_refused_in_a_second(
    head: str, piece: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(head + piece * ((MOST_BYTES - len(head)) // len(piece) + (len(piece) > 1000)))
    with pytest.raises(ConfigError, match=says):
        read(file)

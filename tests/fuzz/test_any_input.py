"""Any input is facts or an error of the tree: every parser, verifier, judge and the configuration, by Hypothesis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import MODULES, SOURCES, config, named, prove, raise_for_status, read, seeds, source_of
from tracker.domain.errors import Refused, WebhookRejected
from tracker.domain.facts import Payload
from tracker.domain.vocabulary import Trust
from tracker.plugin.conformance import AT, BAD_BODIES, KINDS, documents

pytestmark = pytest.mark.no_cover  # half of its time would be the tracing
EXAMPLES = settings().max_examples * 5 // 2  # 500 in the suite; `HYPOTHESIS_PROFILE=night` makes it 20,000

# any JSON, and what once hurt somebody's parser; three levels by hand: `st.recursive` takes twice as long to draw
HARD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, -1, 0, 2**53 + 1, 1e308, "", " ", "\x00", "\ufffe", "x" * 5000, "1\r\n2", "\x1b[31m", "../../etc/passwd", "' OR 1=1 --",
        "１２３", "\u202e1Z", "2026-02-29T00:00:00Z", "2026-03-08T02:30:00", "2026-11-01T01:30:00", "24:00", "240000", "0001-01-01", "9999-12-31T23:59:59+14:00",
        "20261102", "2026-11-02T12:00:00+99:99", "1762000000000", 1762000000000, [], {}, [[]], [None], {"": None}, "NaN", "-05:00", "+1400", "999999999999999999999",
    ]
)  # fmt: skip
LEAF = HARD | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.floats(allow_nan=False)
FLAT = LEAF | st.lists(LEAF, max_size=4) | st.dictionaries(st.text(max_size=10), LEAF, max_size=4)
ANY_JSON = FLAT | st.lists(FLAT, max_size=4) | st.dictionaries(st.text(max_size=10), FLAT, max_size=4)
ANY_CHANGE = st.tuples(st.integers(0, 2**32), ANY_JSON)  # of which place, and into what


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List the paths of every node of a document."""
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the document with another value in one place: what leads there is copied, the rest is shared."""
    if not path:
        return value
    step, *rest = path
    inner = document[step]  # of which there is none where another change took its place: an index is no key
    changed = copy(document)
    changed[step] = put(inner, tuple(rest), value)
    return changed


def printed(document: Any) -> bytes:
    """Print a document that was changed: as XML what XML can hold."""
    if not isinstance(document, documents.Xml):
        return json.dumps(document).encode("utf-8", "surrogatepass")
    try:
        return documents.printed(document)
    except Refused:  # a name or character that no document of XML can hold
        return repr(document).encode("utf-8", "surrogatepass")


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell with a failure which of the things that were tried it is of."""
    try:
        yield
    except Exception as error:
        error.add_note(what)
        raise


def answers(module: str) -> list[tuple[str, str, Any, list[tuple[Any, ...]]]]:
    """Return what real answers of a plugin there are as documents: kind, name, document, its places."""
    found = [
        (kind, file.name, documents.read(file.read_bytes()))
        for kind in KINDS
        for file in seeds(f"{named(module)}-{kind}")
        if file.suffix in (".json", ".xml")
    ]
    return [(kind, name, document, places(document)) for kind, name, document in found]


READ = [module for module in MODULES if answers(module)]
QUARTERS = [READ[at::4] for at in range(4)]  # which four processes can try side by side


# What is drawn is read by each plugin, as each kind, and put into each answer: drawing takes longer than reading.
@settings(max_examples=EXAMPLES)
@given(body=st.binary(max_size=400) | ANY_JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_any_bytes_are_facts_or_a_bad_payload(body: bytes) -> None:
    for module in MODULES:
        for kind in KINDS:
            with told(f"{module} as {kind}"):
                read(module, kind, body)


@pytest.mark.parametrize("modules", QUARTERS, ids=" ".join)
def test_anything_in_any_place_of_a_real_answer_is_facts_or_a_bad_payload(modules: list[str]) -> None:
    real = [(module, *answer) for module in modules for answer in answers(module)]

    @settings(max_examples=EXAMPLES)
    @given(st.lists(ANY_CHANGE, min_size=1, max_size=2))
    def mutated(changes: list[tuple[int, Any]]) -> None:
        for module, kind, name, document, paths in real:
            changed = document
            for which, value in changes:
                with suppress(KeyError, IndexError, TypeError):  # the first change took the place of the second away
                    changed = put(changed, paths[which % len(paths)], value)
            body = printed(changed)
            with told(f"{module}: {name} as {body!r:.2000}"):
                read(module, kind, body)

    mutated()


@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=300))
@example(data=b"\xff\xfe\n" + BAD_BODIES["a lone surrogate"])
def test_junk_proves_nothing_and_raises_nothing_else(data: bytes) -> None:
    for module in MODULES:
        with told(module):
            prove(module, data)


@settings(max_examples=EXAMPLES)
@given(status=st.integers(0, 499), header=st.text(max_size=30), body=st.binary(max_size=200))
def test_any_answer_is_judged_good_or_an_error_of_the_tree(status: int, header: str, body: bytes) -> None:
    answer = status.to_bytes(2, "big") + header.encode("latin-1", "ignore").replace(b"\n", b"") + b"\n" + body
    for module in MODULES:
        with told(module):
            raise_for_status(module, answer)


def module_of_tests(module: str) -> ModuleType:
    """Return the test of a plugin; of a carrier and a platform of one name each has its own."""
    room, _, name = module.partition(".")
    kind = {"carriers": "carrier", "adapters": "platform"}[room]
    found = find_spec(f"tests.plugins.test_{name}_{kind}") and f"_{kind}"
    return import_module(f"tests.plugins.test_{name}{found or ''}")


def signer(module: str) -> Callable[[bytes], dict[str, str]]:
    """Return what signs a body as the plugin's sender does: `signed` of its test."""
    found: Callable[[bytes], dict[str, str]] = module_of_tests(module).signed
    return found


def wrapper(module: str) -> Callable[[bytes], tuple[bytes, bytes, bytes]]:
    """Return what makes of any data a body of the sender: what is not signed before it, what is, and what is not behind it."""
    found: Callable[[bytes], tuple[bytes, bytes, bytes]] = getattr(
        module_of_tests(module), "wrapped", lambda data: (b"", data, b"")
    )
    return found


SIGN = {m: signer(m) for m in MODULES if SOURCES[m].webhooks and SOURCES[m].trust is Trust.SIGNED}
PROVED = {m: source_of(m, **getattr(module_of_tests(m), "SIGNS_WITH", {})) for m in SIGN}


@pytest.mark.parametrize("module", SIGN)
@settings(max_examples=EXAMPLES)
@given(body=st.binary(min_size=1, max_size=200), which=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_what_is_signed_passes_and_any_one_changed_bit_is_refused(
    module: str, body: bytes, which: int, bit: int
) -> None:
    before, inner, after = wrapper(module)(body)
    body = before + inner + after
    headers = SIGN[module](body)
    PROVED[module].verify(Payload("account", "webhook", (body,), AT, headers))

    changed, name = dict(headers), [None, *headers][which % (len(headers) + 1)]
    if name is None:
        at = len(before) + which % len(inner)
        body = body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :]
    else:
        text = headers[name].encode()
        at = which % len(text)
        changed[name] = (text[:at] + bytes([text[at] ^ (1 << bit)]) + text[at + 1 :]).decode("latin-1")
        if changed[name].strip() == headers[name] or (name == "webhook-signature" and at < 3):
            return  # white space around it is no change; another version than v1 is another test
    with pytest.raises(WebhookRejected):
        PROVED[module].verify(Payload("account", "webhook", (body,), AT, changed))


YAML_VALUES = st.sampled_from(
    ["NO", "01234", "12:30:45", "~", "{}", "[]", "[1, 2]", "'x'", "1e400", "-1", "&a x", "*a", "!!python/object:os.system x", "5m", "${env:CANARY}", "${file:/etc/passwd}", "2026-11-02", "|", "? x", "true", "'\\0'", "é", "\U0001f600"]
)  # fmt: skip


@settings(max_examples=EXAMPLES // 4)
@given(line=st.integers(0, 10**6), value=YAML_VALUES | st.text(max_size=15))
def test_the_example_with_anything_in_any_line_is_a_configuration_or_a_config_error(line: int, value: str) -> None:
    lines = seeds("config")[0].read_text(encoding="utf-8").splitlines()
    at = line % len(lines)
    key, colon, _ = lines[at].partition(":")
    lines[at] = f"{key}{colon} {value}"
    config("\n".join(lines).encode("utf-8", "surrogatepass"))

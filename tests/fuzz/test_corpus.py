"""What once hurt, and what each target starts from, is played at every run; the fuzzer itself is `make fuzz`."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.targets import TARGETS, seeds
from tracker.plugin.conformance import BAD_BODIES

pytestmark = pytest.mark.no_cover  # what it measures is not the tracing
HUGE = {
    "ten megabytes": b'{"a": "' + b"x" * (10 << 20) + b'"}',
    "a list of 250,000": b"[" + b"0," * 250_000 + b"0]",
    "200,000 aliases": b"a: &a [x]\nb: [" + b"*a," * 200_000 + b"]",
    "nine levels of aliases": b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c]\n" % (98 + i, 98 + i, 97 + i, 97 + i, 97 + i) for i in range(9)),
    "200,000 nested tags": b"<a>" * 200_000,
    "UTF-16 with a mark": '{"a": 1}'.encode("utf-16"),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_facts_or_an_error_of_the_tree(target: str) -> None:
    for data in [*(file.read_bytes() for file in seeds(target)), *BAD_BODIES.values()]:
        TARGETS[target](data)


@pytest.mark.parametrize("name", HUGE)
@pytest.mark.parametrize("target", TARGETS)
def test_a_huge_input_costs_no_more_than_seconds_of_work(target: str, name: str) -> None:
    began = time.process_time()
    TARGETS[target](HUGE[name])

    assert time.process_time() - began < 10.0  # a tenth of it here; what is quadratic takes minutes

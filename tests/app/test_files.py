"""The limit of open files is raised as far as it must and may be, and told where that does not suffice."""

from __future__ import annotations

import resource
from typing import Any

import pytest
import structlog

from tests.lab import Make
from tracker.app import daemon, files
from tracker.app.daemon import ROLES
from tracker.config.model import Root

ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "then", "told"),
    [
        (1024, 4096, None, False), (256, 4096, 860, False), (256, ANY, 860, False), (ANY, ANY, None, False),
        (256, 512, 512, True), (256, 256, 256, True),
    ],
)  # fmt: skip
def test_the_limit_is_raised_as_far_as_it_is_needed_and_allowed(soft: int, hard: int, then: Any, told: bool) -> None:
    taken: list[tuple[int, int]] = []
    said = files.settle_files(860, lambda _: (soft, hard), lambda _, limits: taken.append(limits))

    assert taken == ([] if then is None else [(then, hard)])
    assert (said is not None) is told
    if said is not None:
        assert f"may open {min(hard, 860)} files, and may need 860" in said


def test_a_system_that_refuses_to_raise_it_is_told_of() -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not allowed")

    said = files.settle_files(860, lambda _: (256, ANY), refuse)
    assert said is not None and "may open 256 files" in said


def test_each_role_needs_what_it_opens() -> None:
    root = Root()
    worker, web = files.needed(root, {"worker"}), files.needed(root, {"web"})

    assert worker > 256
    assert web > 2 * root.web.connections_per_address
    assert files.needed(root, {"scheduler"}) < min(worker, web)
    assert max(worker, web) < files.needed(root, ROLES) <= 1024, "what most systems give"


def test_a_limit_that_is_too_low_is_told_at_start_and_while_it_lasts(make_lab: Make, monkeypatch: Any) -> None:
    lab = make_lab()
    monkeypatch.setattr(daemon, "settle_files", lambda wanted: f"may need {wanted}")
    monkeypatch.setattr(lab.daemon, "roles", frozenset({"scheduler"}))
    with structlog.testing.capture_logs() as logs:
        lab.daemon.start()

    wanted = files.needed(lab.ctx.config.root, {"scheduler"})
    assert [line["said"] for line in logs if line["event"] == "few_files"] == [f"may need {wanted}"]
    assert f"may need {wanted}" in lab.daemon.not_ready()

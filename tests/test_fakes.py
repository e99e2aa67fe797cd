"""Fake servers are found by the plugin's name, and say themselves what only they know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracker.config import plugins
from tracker.daemon.play import load_scenario
from tracker.domain.errors import ConfigError
from tracker.sandbox import find, scenario

ACME = """
from tracker.sandbox.base import Carrier
class AcmeServer(Carrier):
    knows = frozenset({"fault refuse_number"})
    pushes = False
"""
PLAY = """
scenario: a package of its own
accounts: {acme: {uses: acme}, dhl: {uses: dhl}}
steps: [STEP]
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with a fake server in its module `acme_sandbox`; returns that file."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tracker.sandboxes]\nacme = acme_sandbox\n")
    (tmp_path / "acme_sandbox.py").write_text(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_sandbox", raising=False)
    for answer in (find.fakes, find.only):
        answer.cache_clear()
    yield tmp_path / "acme_sandbox.py"
    for answer in (find.fakes, find.only):
        answer.cache_clear()


def load(folder: Path, step: str) -> scenario.Scenario:
    (folder / "s.yaml").write_text(PLAY.replace("STEP", step))
    return load_scenario(folder / "s.yaml")


@pytest.mark.parametrize(("kind", "package"), [("carrier", "carriers"), ("shop", "adapters")])
def test_every_fake_has_the_name_of_a_plugin(kind: find.Kind, package: str) -> None:
    assert set(find.names(kind)) <= set(plugins.names(package))


def test_what_only_some_know_is_a_word_of_scenarios() -> None:
    said = set(scenario.Step.model_fields)
    for word in find.only():
        name, _, kind = word.partition(" ")
        action, _, field = name.partition(".")
        assert action in said, word
        if kind:
            assert kind in scenario.FaultKind.__args__, word
        if field:
            (model,) = (m for m in (scenario.Edit, scenario.Cancel, scenario.Refund) if m.__name__.lower() == action)
            assert field in model.model_fields, word


def test_a_fake_of_another_package_plays_and_says_what_only_it_knows(acme: Path) -> None:
    fault = "{at: +0h, fault: {server: SERVER, kind: refuse_number}}"
    assert load(acme.parent, fault.replace("SERVER", "acme")).accounts["acme"].uses == "acme"

    with pytest.raises(ConfigError, match=r"steps\.0\.fault\.kind: dhl does not know it: only acme, ups"):
        load(acme.parent, fault.replace("SERVER", "dhl"))
    with pytest.raises(ConfigError, match=r"steps\.0\.scan\.via: acme sends no webhooks: nobody would be told"):
        load(acme.parent, "{at: +0h, scan: {account: acme, number: '1', via: webhook}}")


def test_without_a_fake_a_plugin_cannot_be_played(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"s\.yaml:3:\d+: accounts\.acme\.uses: .*'dhl', 'easypost', 'fedex' or 'ups'"
    ):
        load(tmp_path, "{at: +0h, scan: {account: acme, number: '1'}}")


def test_a_module_with_two_fakes_is_refused(acme: Path) -> None:
    acme.write_text(ACME + ACME.replace("AcmeServer", "AnotherServer"))

    with pytest.raises(ConfigError, match="sandbox acme_sandbox: must define exactly one fake server, defines 2"):
        find.fakes()

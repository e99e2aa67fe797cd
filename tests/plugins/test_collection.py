"""Each plugin has what a plugin has, and nothing stands there for a plugin that is not."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins.collection import lacking, naming, orphans
from tracker.config.plugins import only_class
from tracker.plugin.asked import ASKED
from tracker.plugin.conformance import plugin_of
from tracker.plugin.contracts import Carrier

ROOT = Path(__file__).parents[2]
MODULE = "from tracker.plugin.contracts import Carrier, Platform\nfrom tracker.domain.vocabulary import OrderStatus\n"
CARRIER = MODULE + 'class Acme(Carrier):\n    codes = {("s", "c"): None}\n'
PLATFORM = MODULE + 'class Corner(Platform):\n    webhooks = True\n    statuses = {"new": OrderStatus.CONFIRMED}\n'
TEST = (
    "from pathlib import Path\nfrom tracker.plugin.conformance import for_carrier, for_platform\n"
    'TestConformance = {make}("{module}", fixtures=Path(__file__).parents[1] / "fixtures" / "{name}")\n'
    "def signed(body): ...\n"
)


def test_each_plugin_has_its_table_its_fixtures_and_its_conformance_test() -> None:
    assert lacking(ROOT) == []


def test_each_table_folder_of_fixtures_and_conformance_test_has_its_plugin() -> None:
    assert orphans(ROOT) == []


def test_adapters_and_aggregators_name_no_carriers() -> None:
    assert naming(ROOT) == []


@pytest.mark.parametrize("file", sorted((ROOT / "carriers").glob("*.py")), ids=lambda file: file.stem)
def test_who_keeps_beside_an_answer_whom_it_is_about_says_that_a_page_holds_that(file: Path) -> None:
    """Else each of its answers would be taken for one that lacks what every answer holds."""
    if "beside(" in file.read_text():
        assert ASKED in plugin_of(f"carriers.{file.stem}").response_keys


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a collection of one carrier and one platform, with everything they need."""
    for room, name, text in (("carriers", "acme", CARRIER), ("adapters", "corner", PLATFORM)):
        (tmp_path / room).mkdir()
        (tmp_path / room / f"{name}.py").write_text(text)
        fixtures = tmp_path / "tests" / "fixtures" / name
        fixtures.mkdir(parents=True)
        (fixtures / "SOURCES.md").write_text("invented")
        (fixtures / "one.poll.json").write_text("{}")
        test = tmp_path / "tests" / "plugins" / f"test_{name}.py"
        test.parent.mkdir(exist_ok=True)
        make = "for_carrier" if room == "carriers" else "for_platform"
        test.write_text(TEST.format(make=make, module=f"{room}.{name}", name=name))
    (tmp_path / "carriers" / "acme.csv").write_text("space,code\n")
    return tmp_path


def test_a_collection_that_is_whole_is_fine_and_a_plugin_may_be_a_package(root: Path) -> None:
    assert (lacking(root), orphans(root)) == ([], [])

    (root / "carriers" / "acme").mkdir()
    for file in ("acme.py", "acme.csv"):
        (root / "carriers" / file).rename(root / "carriers" / "acme" / file.replace("acme.py", "__init__.py"))
    assert (lacking(root), orphans(root)) == ([], [])


def test_a_package_is_a_plugin_whose_class_and_table_stand_in_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a_package").mkdir()
    (root / "a_package" / "read.py").write_text(
        "from carriers import ups\nfrom tracker.plugin.codes import read_codes\n"
        "class Acme(ups.UPS):\n    codes = read_codes(__file__.replace('read', '__init__'))\n"
    )
    (root / "a_package" / "__init__.py").write_text(
        "from carriers.ups import UPS\nfrom .read import Acme\nalso = Acme\n"
    )
    (root / "a_package" / "a_package.csv").write_text(
        "space,code,wording,status,reason,evidence\ns,c,Done,delivered,,invented\n"
    )
    monkeypatch.syspath_prepend(root)
    found = only_class(importlib.import_module("a_package"), Carrier)

    assert (found.__name__, list(found.codes)) == ("Acme", [("s", "c")])  # type: ignore[attr-defined]
    assert plugin_of("a_package") is found


def cut(file: str) -> Callable[[Path], None]:
    return lambda root: (root / file).unlink()


def change(file: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new))

    return edit


ACME = "tests/plugins/test_acme.py"
SUBSCRIBES = "a test that subscribes to conformance with its fixtures"
TABLE = "carriers.acme lacks a table of codes beside it, or codes_from_yaml = True (and not both)"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (cut("carriers/acme.csv"), TABLE),
        (change("carriers/acme.py", '{("s", "c"): None}', "{}"), TABLE),
        (change("carriers/acme.py", "codes =", "codes_from_yaml = True\n    codes ="), TABLE),
        (cut("tests/fixtures/acme/one.poll.json"), "carriers.acme lacks a fixture"),
        (cut("tests/fixtures/acme/SOURCES.md"), "carriers.acme lacks SOURCES.md beside its fixtures"),
        (cut(ACME), f"carriers.acme lacks {SUBSCRIBES}"),
        (change(ACME, "TestConf", "Conf"), f"carriers.acme lacks {SUBSCRIBES}"),  # pytest would not collect it
        (change(ACME, "for_carrier(", "for_platform("), f"carriers.acme lacks {SUBSCRIBES}"),
        (change(ACME, '/ "acme"', '/ "corner"'), f"carriers.acme lacks {SUBSCRIBES}"),
        (cut("tests/plugins/test_corner.py"), f"adapters.corner lacks {SUBSCRIBES}"),
        (change("adapters/corner.py", "OrderStatus.CONF", "OrderStatus.SHIPPED} and {} #"), "adapters.corner lacks statuses"),
        (
            change("tests/plugins/test_corner.py", "signed", "unsigned"),
            "adapters.corner lacks signed(body) in its test: the headers that a body of its sender comes with",
        ),
    ],
)  # fmt: skip
def test_a_plugin_without_one_of_them_is_told(root: Path, broken: Callable[[Path], None], said: str) -> None:
    broken(root)

    assert said in lacking(root)


def test_an_adapter_or_aggregator_that_names_a_carrier_is_told(root: Path) -> None:
    assert naming(root) == []

    change("adapters/corner.py", "webhooks = True", 'webhooks = True\n    words = {"Royal-Mail": 1}')(root)
    change("carriers/acme.py", 'codes = {("s"', 'companies = {"van": "van"}\n    codes = {("s"')(root)
    assert naming(root) == [
        "carriers.acme declares companies: they go to tracker/plugin/carriers.csv, said_by what it calls its vocabulary",
        "adapters/corner.py:5 names a carrier, 'Royal-Mail': what shops and aggregators call it is in tracker/plugin/carriers.csv",
    ]

    change("carriers/acme.py", "companies", 'carriers = ("van",)\n    companies')(root)
    assert len(naming(root)) == 1


def test_a_carrier_whose_codes_come_from_the_yaml_says_so_and_needs_no_table(root: Path) -> None:
    cut("carriers/acme.csv")(root)
    change("carriers/acme.py", 'codes = {("s", "c"): None}', "codes_from_yaml = True")(root)

    assert (lacking(root), orphans(root)) == ([], [])


def test_what_is_left_of_a_plugin_that_is_gone_is_told(root: Path) -> None:
    cut("carriers/acme.py")(root)
    shutil.rmtree(root / "carriers" / "__pycache__", ignore_errors=True)

    assert orphans(root) == [
        "carriers/acme.csv is the table of no plugin",
        "tests/fixtures/acme is the folder of no plugin",
        "tests/plugins/test_acme.py is the test of no plugin: carriers.acme",
    ]

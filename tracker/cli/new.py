"""`tracker new`: write the files that a new carrier or platform begins with."""

from __future__ import annotations

import importlib
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from tracker.config.plugins import GROUPS, names
from tracker.domain.errors import ConfigError
from tracker.sandbox.find import GROUP as SANDBOXES

TEMPLATES = Path(__file__).parent / "templates"
ROOMS = {"carrier": "carriers", "platform": "adapters"}
CHECKOUT = (  # folders that say: this is our repository
    "carriers", "adapters", "tests/plugins", "tests/fixtures", "tests/scenarios", "tracker/sandbox/fakes",
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WORD = re.compile(r"acme\.example|acme|Acme|HOST|KIND|GROUP|MODULE|FIXTURES|GUIDE|PLAY|FAKE|SANDBOX")

package_option = click.option(
    "--package",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a package of its own there, with its entry point, instead of into this checkout.",
)


@click.group()
def new() -> None:
    """Write the files that a new plugin begins with: they conform and play, and one failing test says what to do next."""


@new.command()
@click.argument("name")
@package_option
def carrier(name: str, folder: Path | None) -> None:
    """Write a carrier: module, table of codes, one pair of fixtures, test, a play of its first polls."""
    _new("carrier", name, folder)


@new.command()
@click.argument("name")
@package_option
def platform(name: str, folder: Path | None) -> None:
    """Write a selling platform: module, one pair of fixtures, test, a fake shop and a play on it."""
    _new("platform", name, folder)


@dataclass(frozen=True)
class _Place:
    """Where the files of a plugin go: in a folder of its own, or in the checkout that one stands in."""

    root: Path
    module: str
    code: Path
    fake: Path
    test: Path
    fixtures: Path
    play: Path


def _place(room: str, name: str, folder: Path | None) -> _Place:
    if folder is None:
        return _Place(
            Path(), f"{room}.{name}", Path(room) / f"{name}.py", Path("tracker/sandbox/fakes") / f"{name}.py",
            Path("tests/plugins") / f"test_{name}.py", Path("tests/fixtures") / name, Path("tests/scenarios") / f"{name}.yaml",
        )  # fmt: skip
    package = f"trackwright_{name}"
    code, tests = folder / package, folder / "tests"
    return _Place(
        folder, f"{package}.{name}", code / f"{name}.py", code / "sandbox.py", tests / f"test_{name}.py", tests / "fixtures",
        tests / "play.yaml",
    )  # fmt: skip


def _new(kind: str, name: str, folder: Path | None) -> None:
    """Write the files and say what to run. Raises ConfigError where nothing can be written."""
    room = ROOMS[kind]
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} can be no plugin's name: up to 40 letters of a to z, digits and _, such as acme")
    if any(name in names(taken) for taken in GROUPS):
        raise ConfigError(f"{name!r} is taken: `tracker plugins` lists what there is")
    if folder is None and not all(Path(part).is_dir() for part in CHECKOUT):
        raise ConfigError("this folder is no checkout of Trackwright: go to one, or say --package FOLDER")
    place = _place(room, name, folder)
    _write(_files(kind, name, place, package=folder is not None))
    click.echo("\nnow, where Trackwright is installed:")
    if folder is not None:
        click.echo(f"  pip install -e '{folder}[test]'")
    click.echo(f"  pytest {place.test}    the one test that fails says what to do next")
    click.echo(f"  tracker sandbox play {place.play} --check    it at work, on local servers")
    click.echo(f"how: {Path(next(iter(importlib.import_module(room).__path__))) / 'README.md'}")


def _files(kind: str, name: str, place: _Place, *, package: bool) -> dict[Path, str]:
    """Return the text of each file."""
    room, host = ROOMS[kind], name.replace("_", "-")
    fake = (
        f'\n[project.entry-points."{SANDBOXES}"]\n{name} = "trackwright_{name}.sandbox"\n' if kind == "platform" else ""
    )
    words = {
        "acme.example": f"{host}.example", "acme": name, "Acme": name.title().replace("_", ""), "HOST": host, "KIND": kind,
        "GROUP": GROUPS[room][0], "MODULE": place.module, "PLAY": place.play.relative_to(place.root).as_posix(),
        "FAKE": place.fake.relative_to(place.root).as_posix(), "SANDBOX": fake,
        "GUIDE": f"{room}/README.md" + (" of Trackwright" if package else ""),
        "FIXTURES": 'Path(__file__).parent / "fixtures"' if package else f'Path(__file__).parents[1] / "fixtures" / "{name}"',
    }  # fmt: skip
    found = {}
    if package:
        found[place.root / "pyproject.toml"] = _filled("package/pyproject.toml.txt", words)
        found[place.code.parent / "__init__.py"] = _filled("package/init.py.txt", words)
    found[place.code] = _filled(f"{kind}/module.py.txt", words)
    if kind == "carrier":
        found[place.code.with_suffix(".csv")] = _filled("carrier/codes.csv", words)
    else:
        found[place.fake] = _filled("platform/sandbox.py.txt", words)
    for file in sorted((TEMPLATES / kind / "fixtures").iterdir()):
        found[place.fixtures / file.name] = _filled(f"{kind}/fixtures/{file.name}", words)
    found[place.test] = _filled(f"{kind}/test.py.txt", words)
    found[place.play] = _filled(f"{kind}/play.yaml", words)
    return found


def _filled(template: str, words: Mapping[str, str]) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    return _WORD.sub(lambda found: words[found[0]], text)


def _write(files: Mapping[Path, str]) -> None:
    """Write all of the files, or none where one of them is there. Raises ConfigError then."""
    there = [str(path) for path in files if path.exists()]
    if there:
        raise ConfigError(f"nothing is written: {', '.join(there)} is there already")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        click.echo(f"wrote {path}")


COMMANDS = (new,)

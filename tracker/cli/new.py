"""`tracker new`: write the files that a new carrier or platform begins with."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path

import click

from tracker.config.plugins import GROUPS, names
from tracker.domain.errors import ConfigError

TEMPLATES = Path(__file__).parent / "templates"
ROOMS = {"carrier": "carriers", "platform": "adapters"}
CHECKOUT = ("carriers", "adapters", "tests/plugins", "tests/fixtures")  # folders that say: this is our repository
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WORD = re.compile(r"acme\.example|acme|Acme|HOST|KIND|GROUP|MODULE|FIXTURES|GUIDE")

package_option = click.option(
    "--package",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a package of its own there, with its entry point, instead of into this checkout.",
)


@click.group()
def new() -> None:
    """Write the files that a new plugin begins with: they conform, and one failing test says what to do next."""


@new.command()
@click.argument("name")
@package_option
def carrier(name: str, folder: Path | None) -> None:
    """Write a carrier: module, table of codes, one pair of fixtures, test."""
    _write(_files("carrier", name, folder))


@new.command()
@click.argument("name")
@package_option
def platform(name: str, folder: Path | None) -> None:
    """Write a selling platform: module, one pair of fixtures, test."""
    _write(_files("platform", name, folder))


def _files(kind: str, name: str, folder: Path | None) -> dict[Path, str]:
    """Return the text of each file. Raises ConfigError for a name that cannot be, is taken, or a folder that is not ours."""
    room, host = ROOMS[kind], name.replace("_", "-")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"{name!r} can be no plugin's name: up to 40 letters of a to z, digits and _, such as acme")
    if any(name in names(taken) for taken in GROUPS):
        raise ConfigError(f"{name!r} is taken: `tracker plugins` lists what there is")
    words = {
        "acme.example": f"{host}.example", "acme": name, "Acme": name.title().replace("_", ""), "HOST": host, "KIND": kind,
        "GROUP": GROUPS[room][0],
    }  # fmt: skip
    if folder is None:
        if not all(Path(part).is_dir() for part in CHECKOUT):
            raise ConfigError("this folder is no checkout of Trackwright: go to one, or say --package FOLDER")
        words |= {"MODULE": f"{room}.{name}", "FIXTURES": f'Path(__file__).parents[1] / "fixtures" / "{name}"'}
        module, tests, fixtures = Path(room), Path("tests/plugins"), Path("tests/fixtures") / name
        words["GUIDE"] = f"{room}/README.md"
        found = {}
    else:
        package = f"trackwright_{name}"
        words |= {"MODULE": f"{package}.{name}", "FIXTURES": 'Path(__file__).parent / "fixtures"'}
        module, tests, fixtures = folder / package, folder / "tests", folder / "tests" / "fixtures"
        words["GUIDE"] = f"{room}/README.md of Trackwright"
        found = {
            folder / "pyproject.toml": _filled("package/pyproject.toml.txt", words),
            module / "__init__.py": _filled("package/init.py.txt", words),
        }
    found[module / f"{name}.py"] = _filled(f"{kind}/module.py.txt", words)
    if kind == "carrier":
        found[module / f"{name}.csv"] = _filled("carrier/codes.csv", words)
    for file in sorted((TEMPLATES / kind / "fixtures").iterdir()):
        found[fixtures / file.name] = _filled(f"{kind}/fixtures/{file.name}", words)
    found[tests / f"test_{name}.py"] = _filled(f"{kind}/test.py.txt", words)
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
    click.echo(f"now run its tests: the one that fails says what to do next (pytest {path})")


COMMANDS = (new,)

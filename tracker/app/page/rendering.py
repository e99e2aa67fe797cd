"""How the page looks: its templates, and how values are shown in them. Every text is escaped; a name that is not given is a defect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tracker.app.page.picture import Picture
from tracker.domain.plan import span
from tracker.domain.sentences import estimated
from tracker.support.story import MOST_TEXT, cut, quoted, words


class Templates:
    """The templates, read once."""

    def __init__(self, environment: Environment) -> None:
        """Make what is drawn from them."""
        self._of = environment

    def page(self, name: str, values: Mapping[str, Any]) -> str:
        """Return a page as HTML."""
        return self._of.get_template(name).render(values)

    def picture(self, picture: Picture, *, title: str, desc: str, alone: bool, style: str = "") -> Markup:
        """Return a picture as SVG. `alone`: as a file of its own, with its `style`."""
        told = {"picture": picture, "title": title, "desc": desc, "alone": alone, "style": Markup(style)}  # noqa: S704 a file of ours
        return Markup(self._of.get_template("picture.svg").render(told))  # noqa: S704 all in it is escaped


def templates() -> Templates:
    """Read the templates."""
    environment = Environment(
        loader=PackageLoader("tracker.app.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=False,
        auto_reload=False,
    )
    environment.filters |= {
        "when": _when, "span": _span, "words": words, "plain": _plain, "number": _number, "query": urlencode, "without": _without,
        "commands": _commands, "quoted": quoted, "seconds": _seconds, "estimated": estimated,
    }  # fmt: skip
    return Templates(environment)


def _when(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M}"


def _span(value: timedelta) -> str:
    return span(value)


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value < 120 else span(timedelta(seconds=value))


def _number(value: float) -> str:
    return f"{value:,}"


def _plain(value: object) -> str:
    """Show a text of others: in one line, cut where it is long."""
    return cut(str(value))


def _without(query: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in query.items() if key != name}


def _commands(text: str) -> Markup:
    """Show what stands between backticks as a command that is copied whole."""
    parts = cut(text, 4 * MOST_TEXT).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )

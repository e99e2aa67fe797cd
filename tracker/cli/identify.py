"""`tracker identify`: of which carriers a number can be, why, and who would be asked about it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from sqlalchemy.exc import DBAPIError

from tracker.cli.common import cell as show
from tracker.cli.common import (
    close_context,
    config_option,
    json_option,
    open_context,
    out,
    print_json,
    read_config,
    show_table,
)
from tracker.config.model import Config
from tracker.config.plugins import carriers, words
from tracker.config.recognized import believed_for, may_be_asked, named_in, spoken
from tracker.domain.choice import Candidate
from tracker.domain.numbers import numbers_in
from tracker.domain.recognition import Guess, believed, recognize
from tracker.pipeline.whose import habit_of
from tracker.plugin.names import names, spelt

MOST = 1_000  # numbers at once


@click.command()
@click.argument("typed", metavar="NUMBER...", nargs=-1, required=True)
@config_option
@click.option(
    "--store", help="Whose parcels they are: its accounts and its habit count. Needed where there are several stores."
)
@click.option("--company", help="The shop's word for the carrier, as it stands beside the number.")
@click.option("--service", default="", help="The shop's word for the delivery, such as 'FedEx Ground Economy'.")
@click.option("--country", default="", help="Where the order goes, by two letters.")
@json_option
def identify(
    typed: Sequence[str], file: Path, store: str | None, company: str | None, service: str, country: str, as_json: bool
) -> None:
    """Say of which carriers each NUMBER can be, the likeliest first, why, and which account would be asked about it. - reads lines from standard input.

    Where the shop tells the carrier, that one is asked. Else a number that only one carrier can have is its; where several can, one
    account is asked at a time, until a scan says whose parcel it is.
    """
    given = click.get_current_context().get_parameter_source("file") is not ParameterSource.DEFAULT
    config = read_config(file) if given or file.exists() else None
    name = _store(config, store)
    lines = [line for one in typed for line in (filter(str.strip, sys.stdin) if one == "-" else [one])]
    texts = [line.strip() for line in lines] or [""]  # nothing at all holds no number either
    if len(texts) > MOST:
        raise click.UsageError(f"{len(texts):,} numbers at once: {MOST:,} at most")
    asked = Asked(config, name, company, service, country.upper(), _habit(config, name))
    told = [one for text in texts for one in asked.about(text)]
    if as_json:
        print_json(told)
    else:
        for one in told:
            _print(one, name)
    if any(one["believed"] is None and not any(row["possible"] for row in one["carriers"]) for one in told):
        click.get_current_context().exit(1)


def _store(config: Config | None, store: str | None) -> str | None:
    """Return the store whose parcels they are: the one that is named, or the only one. Raises UsageError for one that is not there."""
    there = sorted(config.store_names()) if config is not None else []
    if store is not None and store not in there:
        raise click.UsageError(f"no store {store!r}: {', '.join(there) or 'none is configured'}")
    return store if store is not None else there[0] if len(there) == 1 else None


def _habit(config: Config | None, store: str | None) -> dict[str, int]:
    """Count what the store ships with now, as far as the database can be asked."""
    if config is None or store is None:
        return {}
    ctx = open_context(config)
    try:
        if ctx.store.sqlite and not Path(ctx.store.url.database or "").exists():
            return {}
        with ctx.store.read() as connection:
            return habit_of(config, connection, store)
    except DBAPIError:
        click.echo("the database cannot be asked: what the store ships with now is not counted", err=True)
        return {}
    finally:
        close_context(ctx)


@dataclass(frozen=True)
class Asked:
    """What is asked about numbers: whose they are, and what the shop says beside them."""

    config: Config | None
    store: str | None
    company: str | None
    service: str
    country: str
    habit: Mapping[str, int]

    def about(self, text: str) -> list[dict[str, Any]]:
        """Return what each number of a text can be, and who would be asked; a text without one is told too."""
        told = self._told()
        typed = numbers_in(text, told)
        unread: list[dict[str, Any]] = [
            {
                "typed": one,
                "number": None,
                "believed": None,
                "carriers": [],
                "asked": [],
                "verdict": f"no number in it: {one[:80]!r}",
            }
            for one in typed.unreadable
        ]
        found = [self._one(number, text, told) for number in typed.numbers]
        return [*found, *unread] or [
            {"typed": text, "number": None, "believed": None, "carriers": [], "asked": [], "verdict": "no number in it"}
        ]

    def _told(self) -> str | None:
        """Return the carrier that the shop's word names. Raises UsageError for a word that nobody knows."""
        if not self.company:
            return None
        entry = self.config.account(self.store) if self.config is not None and self.store is not None else None
        meant = entry.source.carrier_of if entry is not None and entry.is_store else everybodys
        if (carrier := meant(self.company)) is None:
            raise click.UsageError(
                f"no carrier is called {self.company!r} (tracker plugins --words): a store names it by `carriers`"
            )
        return carrier

    def _one(self, number: str, text: str, told: str | None) -> dict[str, Any]:
        mine: Collection[str] = spoken(self.config, self.store or "") if self.config is not None else every_carrier()
        named = (
            named_in(self.config, self.store, self.service)
            if self.config is not None and self.store is not None
            else frozenset[str]()
        )
        guesses = recognize(number, country=self.country, spoken=mine, named=named, habit=self.habit)
        asked: Sequence[Candidate] = ()
        if self.config is None or self.store is None:
            sure = told or believed(number, country=self.country, spoken=mine)
        else:
            sure = told or believed_for(self.config, number, self.store, self.country)
            asked = may_be_asked(self.config, sure, number, self.store, self.country, self.service, self.habit)
        rows = [
            {"carrier": g.carrier, "format": g.shape, "check": g.check, "possible": g.possible, "why": list(g.why)}
            for g in guesses
        ]
        return {
            "typed": text, "number": number, "believed": sure, "carriers": rows if told is None else [*rows, *_by_word(rows, told)],
            "asked": [{"account": one.account, "why": one.why} for one in asked], "verdict": _verdict(guesses, told, sure),
        }  # fmt: skip


def everybodys(word: str) -> str | None:
    """Return the carrier that a word of everybody's means."""
    return names(words(), ()).known.get(spelt(word))


def every_carrier() -> frozenset[str]:
    """Return the carriers of all plugins: without a configuration nobody knows which of them a merchant ships with."""
    return frozenset(carrier for _, plugin in carriers() for carrier in plugin.carriers)


def _by_word(rows: Sequence[Mapping[str, Any]], told: str) -> list[dict[str, Any]]:
    """Return a row for the carrier that the shop's word names, where no format says so."""
    if any(row["carrier"] == told for row in rows):
        return []
    return [{"carrier": told, "format": None, "check": None, "possible": True, "why": ["the shop's word says so"]}]


def _verdict(guesses: Sequence[Guess], told: str | None, sure: str | None) -> str:
    """Say in one sentence what becomes of a number."""
    possible = [guess.carrier for guess in guesses if guess.possible]
    if told is not None:
        wrong = next((guess for guess in guesses if guess.carrier == told and not guess.possible), None)
        return f"of {told}, as the shop says" + ("; its check digit is wrong" if wrong is not None else "")
    if sure is not None:
        return f"of {sure}: no other carrier has such numbers"
    if possible:
        more = ", or of another of an account that tells of any carrier" if len(possible) == 1 else ""
        return f"could be of {', '.join(possible)}{more}: one is asked at a time, until a scan decides"
    if guesses:
        return f"of no carrier: it has the shape of {guesses[0].carrier}'s, and its check digit is wrong; the shop must say whose it is"
    return "of no carrier that is known by its numbers: the shop must say whose it is"


def _print(one: Mapping[str, Any], store: str | None) -> None:
    """Print what a number can be, and who would be asked for a store, as a person reads it."""
    said = show(one["number"]) if one["number"] else show(one["typed"]) if one["typed"] else "(nothing)"
    out.print(f"[bold]{said}[/]: {show(one['verdict'])}")
    if one["carriers"]:
        rows = [(row["carrier"], row["format"], row["check"], "; ".join(row["why"])) for row in one["carriers"]]
        show_table("carriers, the likeliest first", ("carrier", "format", "check digit", "why"), rows, empty="")
    if one["number"] and store is not None and not one["asked"]:
        out.print(f"  [yellow]asked: nobody[/]: no account of {show(store)} covers it")
    for place, asked in enumerate(one["asked"]):
        out.print(f"  {'asked' if place == 0 else 'then'}: {show(asked['account'])} ({show(asked['why'])})")


COMMANDS = (identify,)

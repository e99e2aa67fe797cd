"""The entries of `accounts:` and `stores:`: each bound to its plugin and, a store, to its policy; all at once, or when it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel

from tracker.config.addresses import check_addresses, texts_of
from tracker.config.cadences import written
from tracker.config.files import Unfit, read_bounded
from tracker.config.mail import check_store
from tracker.config.model import Account, Budget, BudgetPart, CarrierPart, StorePart, Suspended, held
from tracker.config.plugins import load, names, used, words
from tracker.config.presets import bind, examine, spell
from tracker.config.validation import MOST_HINTS, plain, validate
from tracker.config.yamlfile import MOST_QUOTED, Document, Path_, Problem, quoted
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Meaning, Since
from tracker.domain.vocabulary import Trust
from tracker.hashing import digest
from tracker.plugin.codes import meant
from tracker.plugin.contracts import CONTRACT, Carrier, Platform, Source, declared, fixed, spoken
from tracker.plugin.names import EVERYBODY, Names, Word, meanings, misspelt

SECTIONS: dict[str, tuple[str, type[CarrierPart] | type[StorePart]]] = {
    "accounts": ("carriers", CarrierPart),
    "stores": ("adapters", StorePart),
}
MOST_SAMPLE = 1 << 20  # of a file that a description names
SHORTEST_TOKEN = 22  # characters of base64url that hold 128 bit


class Shared:
    """What `defaults:` say of a section: an entry has it where it says nothing itself and its plugin knows the key.

    Where both are mappings (`policy`, `budget`, `codes`, a table of words), they are merged key by key, one level: a mapping
    inside of them is the entry's as a whole.
    """

    def __init__(self, section: str, given: Any, document: Document) -> None:
        """Find them; what is no mapping is told by the root's model."""
        found = given.get(section) if isinstance(given, dict) else None
        self.values: dict[str, Any] = found if isinstance(found, dict) else {}
        self.whole = True  # every entry's plugin was found
        self._place, self._document = ("defaults", section), document
        self._used = set(SECTIONS[section][1].model_fields)  # keys that every entry knows
        depth = len(self._place)
        self._references: dict[str, list[tuple[Path_, str]]] = {}
        for path, reference in list(document.references.items()) if self.values else ():
            if path[:depth] == self._place and len(path) > depth:
                self._references.setdefault(str(path[depth]), []).append((path[depth:], reference))

    def uses(self, entry: Mapping[str, Any], path: Path_) -> Any:
        """Return which plugin an entry uses."""
        if "uses" not in entry and "uses" in self.values:
            self._borrow(path, ("uses",))
        return entry.get("uses", self.values.get("uses"))

    def with_defaults(self, entry: dict[str, Any], path: Path_, known: set[str]) -> dict[str, Any]:
        """Return an entry with what it has of the defaults; `known`: the keys of its plugin."""
        if not self.values:
            return entry
        merged = dict(entry)
        for key, value in self.values.items():
            if key not in known:
                continue
            self._used.add(key)
            if key not in entry:
                merged[key] = value
                self._borrow(path, (key,))
            elif isinstance(value, dict) and isinstance(entry[key], dict):
                merged[key] = {**value, **entry[key]}
                for inner in value.keys() - entry[key].keys():
                    self._borrow(path, (key, inner))
        return merged

    def _borrow(self, path: Path_, rest: Path_) -> None:
        self._document.borrowed[(*path, *rest)] = (*self._place, *rest)
        for where, reference in self._references.get(str(rest[0]), ()):
            if where[: len(rest)] == rest:
                self._document.references[(*path, *where)] = reference

    def refuse_unused(self) -> None:
        """Refuse a key that no entry knows, once all were read."""
        for key in self.values if self.whole else ():
            if key not in self._used:
                self._document.problem((*self._place, key), f"unknown key; no entry of {self._place[1]}: knows it")


class Entries(Mapping[str, Account]):
    """The accounts and stores of a file by name. Each is read when it is asked for; what is wrong with it is raised then."""

    def __init__(self, value: Mapping[str, Any], document: Document) -> None:
        """Find the names, and those that are used twice."""
        self._document = document
        self._places: dict[str, tuple[str, Any]] = {}
        self._bound: dict[str, Account | None] = {}
        self._names: dict[type[Source], Names] = {}
        given = value.get("defaults")
        self._defaults = {section: Shared(section, given, document) for section in SECTIONS}
        self.root = dict(value)  # the file without the entries that are no mappings
        for section in SECTIONS:
            found = value.get(section)
            if not isinstance(found, dict):
                continue
            self.root[section] = {name: entry for name, entry in found.items() if isinstance(entry, dict)}
            for name, entry in found.items():
                if not name:
                    document.problem((section,), "an entry has no name")
                elif name in self._places:
                    document.problem(
                        (section, name), "the name is used twice: accounts and stores share one list of names"
                    )
                elif isinstance(entry, dict):
                    self._places[name] = section, entry
                else:
                    document.problem((section, name), "must be a mapping of settings")

    def __getitem__(self, name: str) -> Account:
        """Return an account. Raises KeyError where there is none of this name, ConfigError where something is wrong with it."""
        before = len(self._document.problems)
        account = self._bind(name)
        wrong = [
            problem
            for problem in self._document.problems[:before]
            if self.entry_of(problem) == (self._places[name][0], name)
        ]
        if account is None or wrong:
            raise ConfigError(*dict.fromkeys(wrong + self._document.problems[before:]))
        self.give_names(account)
        return account

    def __contains__(self, name: object) -> bool:
        """Say whether there is one of this name, without reading it."""
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def is_store(self, name: str) -> bool:
        """Tell a store from a carrier account, without reading it."""
        return self._places[name][0] == "stores"

    def file_of(self, name: str) -> str:
        """Return the file in which an entry stands."""
        return self._document.marks[(self._places[name][0], name)][0]

    def written_at(self, path: Path_) -> str:
        """Return where a value is written; what is merged of an entry's own and of `defaults:` has both places."""
        document, origin = self._document, self._document.origin(path)
        inner = next((there for here, there in document.borrowed.items() if here[:-1] == path), None)
        if origin not in document.marks:
            return "default"
        return document.at(path) + (f" and {document.at(inner[:-1])}" if inner else "")

    def place(self, name: str, key: str) -> str:
        """Return where an entry's value is written."""
        return self.written_at((self._places[name][0], name, key))

    def all(self) -> dict[str, Account]:
        """Read every one; problems go to the document."""
        found = {name: account for name in self._places if (account := self._bind(name)) is not None}
        for shared in self._defaults.values():
            shared.refuse_unused()
        return found

    @staticmethod
    def entry_of(problem: Problem) -> tuple[str, str] | None:
        """Return the section and the name of the entry that a problem is of; None: it is of anything else."""
        return (
            (str(problem.path[0]), str(problem.path[1]))
            if len(problem.path) > 1 and problem.path[0] in SECTIONS
            else None
        )

    def suspended(self) -> dict[str, Suspended]:
        """Return the entries that are wrong, once all were read."""
        found: dict[str, list[Problem]] = {}
        for problem in dict.fromkeys(self._document.problems):
            if (entry := self.entry_of(problem)) is not None:
                found.setdefault(entry[1], []).append(problem)
        return {
            name: Suspended(name, problems[0].path[0] == "stores", tuple(problems), self._receiver(name, problems))
            for name, problems in found.items()
        }

    def _receiver(self, name: str, problems: list[Problem]) -> Account | None:
        """Return what verifies an entry's webhooks, where nothing is wrong with what that takes: its plugin and its secrets."""
        section, entry = self._places.get(name, ("", {}))
        if not section:
            return None
        beside = set(SECTIONS[section][1].model_fields) - {"uses", "webhook_token"}
        if any(
            problem.path[0] != section or problem.path[2:3] == () or problem.path[2] not in beside
            for problem in problems
        ):
            return None
        before = len(self._document.problems)
        account = self._read(name, section, {key: value for key, value in entry.items() if key not in beside})
        del self._document.problems[before:]
        return account

    def _bind(self, name: str) -> Account | None:
        if self._bound.get(name) is None:
            self._bound[name] = self._read(name, *self._places[name])
        return self._bound[name]

    def _read(self, name: str, section: str, entry: dict[str, Any]) -> Account | None:
        package, part = SECTIONS[section]
        path = (section, name)
        try:
            account = _account(name, entry, path, package, part, self._document, self._defaults[section])
        except ConfigError:
            raise
        except Exception as error:  # of the plugin's making: it hurts who uses it
            self._document.problem((*path, "uses"), f"the plugin fails: {type(error).__name__}")
            return None
        if account is None:
            return None
        if account.is_store:
            known = self._known_accounts(account, (*path, "accounts"))
            return account if self._known_carriers(account, path) and known else None
        return account if self._known_carriers(account, path) else None

    def _known_accounts(self, store: Account, path: Path_) -> bool:
        """Say whether each account that a store names is a carrier account, and named once."""
        before = len(self._document.problems)
        named: set[str] = set()
        for i, name in enumerate(store.ships_with):
            section, _ = self._places.get(name, ("", None))
            if section == "stores":
                self._document.problem((*path, i), f"{quoted(name)} is a store, not a carrier account")
            elif not section:
                names = [known for known, (where, _) in self._places.items() if where == "accounts"]
                hinted = before < MOST_HINTS and len(names) < MOST_HINTS
                near = difflib.get_close_matches(name[:MOST_QUOTED], names, 1) if hinted else []
                hint = f"; did you mean {near[0]!r}?" if near else ""
                self._document.problem((*path, i), f"no carrier account {quoted(name)}{hint}")
            elif name in named:
                self._document.problem((*path, i), f"{quoted(name)} is named twice")
            named.add(name)
        return len(self._document.problems) == before

    def _known_carriers(self, account: Account, path: Path_) -> bool:
        """Say whether the carriers that an entry names itself, or means by a store's own words, are ids, and no other spelling of one."""
        named: list[tuple[str, tuple[str, ...]]]
        if account.is_store:
            named = [(one, ("carriers", said)) for said, one in account.platform.settings.carriers.items()]
        elif account.tracks is not None:
            named = [(one, ("tracks",)) for one in account.tracks]
        else:
            named = [(one, ("carrier",)) for one in (() if fixed(type(account.source)) else account.speaks)]
        wrong = [(one, at, id_) for one, at in named if (id_ := misspelt(self._table, one, own=account.is_store))]
        for one, at, id_ in wrong:
            self._document.problem((*path, *at), f"{quoted(one)} is a word for the carrier {id_}: write that")
        return not wrong

    def give_names(self, account: Account) -> None:
        """Tell a store or an aggregator what carriers are called. A carrier's own account speaks of its own parcels.

        What a plugin knows is shared by its accounts.
        """
        plugin = type(account.source)
        if fixed(plugin):
            return
        if plugin not in self._names:
            try:
                self._names[plugin] = spoken(plugin, meanings((*self._words.values(), *declared(plugin))))
            except ValueError as error:
                raise ConfigError(*str(error).splitlines()) from None
        account.source.names = self._names[plugin]

    @cached_property
    def _words(self) -> dict[tuple[str, str], Word]:
        return words(self._table.values(), self._named())

    @cached_property
    def _table(self) -> dict[tuple[str, str], Word]:
        return words()

    def _named(self) -> Iterator[Word]:
        """Return the words that used plugins declare, and the carriers that accounts name: what their entries describe, or what they track of all."""
        for name, (section, entry) in self._places.items():
            uses = self._defaults[section].values.get("uses") if "uses" not in entry else entry["uses"]
            if section != "accounts" or uses not in names("carriers"):
                continue
            if (plugin := used(str(uses))) is None or fixed(plugin):
                yield from declared(plugin) if plugin is not None else ()
                continue
            if ("tracks" in entry or "carrier" in plugin.Settings.model_fields) and (account := self._bind(name)):
                place = self._document.at((section, name))
                yield from (Word(carrier, EVERYBODY, carrier, place) for carrier in account.speaks)


def _account(
    name: str,
    entry: dict[str, Any],
    path: Path_,
    package: str,
    part: type[CarrierPart] | type[StorePart],
    document: Document,
    shared: Shared,
) -> Account | None:
    before = len(document.problems)
    check_addresses(texts_of(entry, path), document)
    plugin = _plugin(shared.uses(entry, path), path, package, document)
    if plugin is None:
        shared.whole = False
        return None
    alone, entry = entry, shared.with_defaults(entry, path, {*part.model_fields, *plugin.Settings.model_fields})
    check_addresses(texts_of({key: value for key, value in entry.items() if key not in alone}, path), document)
    common = {key: value for key, value in entry.items() if key in part.model_fields}
    own = {key: value for key, value in entry.items() if key not in part.model_fields}
    base: CarrierPart | StorePart | None = validate(part, _listed(part, common), path, document, more=plugin.Settings)
    settings = validate(plugin.Settings, _listed(plugin.Settings, own), path, document, more=part)
    if base is None or settings is None or len(document.problems) > before:
        _tell_the_rest(part, base, entry, path, document)
        return None
    source: Any = plugin(name, settings)
    _check_tokens(base, settings, source, path, document)
    _check_files(base, source, path, document)
    limits = _limits(base.budget, source, entry["uses"], path, document)
    if len(document.problems) > before:
        return None
    codes = _codes(base, path, document) if isinstance(base, CarrierPart) else {}
    _examine(source, codes, path, document)
    common_values: dict[str, Any] = {
        "name": name, "uses": entry["uses"], "source": source, "webhook_tokens": base.webhook_token, **limits,
        "credentials": digest(plain(settings) | ({"sftp": plain(base.sftp)} if isinstance(base, CarrierPart) and base.sftp else {})),
    }  # fmt: skip
    if isinstance(base, CarrierPart):
        own_keys = {
            "tracks": base.tracks, "codes": codes, "cadence": base.cadence, "folder": base.folder, "sftp": base.sftp,
            "cadence_sources": written(base.cadence, (*path, "cadence"), document),
            "sweep_every": _sweep_every(base, source, path, document, said="sweep_every" in alone),
        }  # fmt: skip
        return Account(**(common_values | own_keys)) if len(document.problems) == before else None
    assert isinstance(base, StorePart)
    given = entry.get("policy")
    bound = bind(given if isinstance(given, dict) else {}, source, (*path, "policy"), document)
    if len(document.problems) > before:
        return None
    check_store(base.mail, source, bound.policy, path, document)
    source.status_field = bound.policy.status_field
    return Account(
        **common_values, mode=base.mode, policy=bound.policy, policy_hash=bound.hash, policy_sources=bound.sources,
        sweep_every=base.sweep_every, writes_per_hour=base.writes_per_hour, keeps_proofs=base.keep_proofs, mail=base.mail,
        ships_with=base.accounts,
    )  # fmt: skip


def _tell_the_rest(
    part: type[BaseModel], base: BaseModel | None, entry: Mapping[str, Any], path: Path_, document: Document
) -> None:
    """Tell what is wrong with an entry beside what keeps it from being bound."""
    if part is StorePart:
        examine(entry.get("policy"), (*path, "policy"), document)
    elif isinstance(base, CarrierPart):
        _codes(base, path, document)


def _plugin(uses: Any, path: Path_, package: str, document: Document) -> type[Source] | None:
    """Find the plugin that an entry uses. None, and a problem, where there is none that loads or it was made for another contract."""
    known = names(package)
    if uses not in known:
        hinted = len(document.problems) < MOST_HINTS
        near = difflib.get_close_matches(str(uses)[:MOST_QUOTED], known, 1) if hinted else []
        hint = f"; did you mean {near[0]!r}?" if near else ""
        said = "is missing" if uses is None else f"no plugin {quoted(uses)}"
        document.problem((*path, "uses"), f"{said}: one of {', '.join(known)}{hint}")
        return None
    try:
        plugin = load(package, str(uses))
    except ConfigError as error:
        document.problem((*path, "uses"), str(error))
        return None
    if plugin.contract != CONTRACT:
        said = (
            f"plugin {quoted(uses)} was made for contract {plugin.contract!r}; this version speaks contract {CONTRACT}"
        )
        document.problem((*path, "uses"), said)
        return None
    return plugin


def _check_tokens(
    base: CarrierPart | StorePart, settings: BaseModel, source: Source, path: Path_, document: Document
) -> None:
    """Refuse a token of a webhook's address that can be guessed or that its sender shuns, and none where it does not sign."""
    for i, token in enumerate(base.webhook_token):
        if 0 < len(token.get_secret_value()) < SHORTEST_TOKEN:
            document.problem((*path, "webhook_token", i), f"must have {SHORTEST_TOKEN} or more random characters")
        elif held(source.shuns, token.get_secret_value()):
            document.problem(
                (*path, "webhook_token", i), f"no address may hold {', '.join(source.shuns)}: openssl rand -hex 16"
            )
    secrets = getattr(settings, "webhook_secrets", ())
    if source.webhooks and source.trust is Trust.SHARED and secrets and not base.webhook_token:
        document.problem(
            (*path, "webhook_token"), "is required: this sender does not sign, so its address must be secret too"
        )


def _examine(source: Source, codes: Mapping[tuple[str, str], Meaning], path: Path_, document: Document) -> None:
    """Have a plugin look at files that its settings name: they lie beside the file in which the entry stands."""
    folder = Path(document.marks.get(path, (document.file, 1, 1))[0]).parent

    def read(name: str) -> bytes:
        try:
            return read_bounded(folder / name, MOST_SAMPLE)
        except Unfit as error:
            raise OSError(str(error)) from None

    for place, said, wrong in source.examine(read, codes):
        if wrong:
            document.problem((*path, *place), said)
        else:
            document.notes.append(f"{'.'.join(map(str, (*path, *place)))}: {said}")


def _check_files(base: CarrierPart | StorePart, source: Source, path: Path_, document: Document) -> None:
    """Refuse a place for files where the plugin reads none."""
    if not isinstance(base, CarrierPart):
        return
    named = [key for key in ("folder", "sftp") if getattr(base, key) is not None]
    if named and not getattr(source, "files", False):
        document.problem((*path, named[0]), "this plugin reads no files; those that do: `tracker plugins`")
    elif len(named) > 1:
        document.problem((*path, named[1]), "beside folder: one of the two; an account for each")


def _codes(base: CarrierPart, path: Path_, document: Document) -> dict[tuple[str, str], Meaning]:
    """Read the merchant's own meanings of codes. Spaces and codes may hold slashes: which of them parts the two, the plugin knows."""
    codes = {}
    for key, meaning in base.codes.items():
        if "/" not in key:
            document.problem((*path, "codes", key), "must be space/code, as `tracker codes` prints it")
        for at in (i for i, sign in enumerate(key) if sign == "/"):
            codes[key[:at], key[at + 1 :]] = meant(meaning.status, meaning.reason)
    return codes


def _limits(
    given: BudgetPart | None, source: Carrier | Platform, uses: str, path: Path_, document: Document
) -> dict[str, Any]:
    """Return the limits of an account: what its plugin states, but for the keys that the file has."""
    own = given.model_dump(exclude_none=True) if given is not None else {}
    stated = {key: value for key in BudgetPart.model_fields if (value := getattr(source.limits, key)) is not None}
    values = {**stated, **own}
    if ("calls" in values) != ("per" in values):
        lacks = "per" if "calls" in values else "calls"
        document.problem((*path, "budget"), f"needs {lacks} too: plugin {quoted(uses)} states none")
        return {}
    shown = values.keys() - ({"tokens"} - own.keys())
    return {
        "budget": Budget(calls=values["calls"], per=values["per"]) if "calls" in values else None,
        "side_by_side": values.get("side_by_side"), "tokens": values["tokens"],
        "limit_sources": {
            key: document.at((*path, "budget", key)) if key in own else f"plugin {uses}" for key in sorted(shown)
        },
    }  # fmt: skip


def _sweep_every(base: CarrierPart, source: Carrier, path: Path_, document: Document, *, said: bool) -> timedelta:
    """Return how often a carrier's feed is read; a problem where it has none, or does not want to be asked so often.

    `said`: the entry itself says it; what `defaults:` say is of the accounts that have a feed.
    """
    every = base.sweep_every
    if every is None:
        return source.sweep_every
    if Since not in source.asks:
        if said:
            document.problem(
                (*path, "sweep_every"), f"{base.uses} has no feed that could be read: it is asked about parcels"
            )
    elif every < source.sweep_least:
        document.problem(
            (*path, "sweep_every"), f"must be {spell(source.sweep_least)} or more: {base.uses} is asked no oftener"
        )
    return every


def _listed(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Let one secret stand where several may: `webhook_secrets: ${env:X}`."""
    return {key: [value] if _is_list(model, key) and isinstance(value, str) else value for key, value in values.items()}


def _is_list(model: type[BaseModel], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is tuple

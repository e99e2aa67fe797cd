"""YAML file -> Config, with all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from tracker.config.addresses import Texts, check_addresses, texts_of
from tracker.config.cadences import plain
from tracker.config.entries import SECTIONS, SHORTEST_TOKEN, Entries
from tracker.config.files import changeable, loose
from tracker.config.include import read_all, with_included
from tracker.config.inside import Api
from tracker.config.mail import read_mail
from tracker.config.model import Account, Config, Root
from tracker.config.plugins import installed, words
from tracker.config.presets import policy_values, spell
from tracker.config.telling import unfit
from tracker.config.validation import validate
from tracker.config.yamlfile import Document, Path_, parse, quoted
from tracker.domain.errors import ConfigError
from tracker.domain.masking import LONG, MASK, Hidden, mask
from tracker.domain.vocabulary import ShippingStatus

SECRET_ADDRESSES = ("alert_url", "callback_url")  # who knows them can use them


def load_config(path: str | Path, instead: Mapping[str, Path] | None = None, *, partly: bool = False) -> Config:
    """Read a configuration file. Raises ConfigError with every problem: file:line:column: key: what to do.

    `instead`: a file in the place of one that it includes, by its real path. `partly`: an entry that is wrong is suspended, and
    the others may run.
    """
    return build(read_all(Path(path), instead), partly=partly)


def glance(path: str | Path, *, partly: bool = False) -> Config:
    """Read what a command needs that works with the database: the root, and every secret, so that it is masked.

    An account or a store is read when it is asked for; what is wrong with another is no business of the command's. `partly`: a secret
    of an entry may be missing, for a command that shows nothing of what may hold it.
    """
    return build(read_all(Path(path)), each=False, partly=partly)


def load_entries(path: str | Path) -> tuple[Entries, Hidden]:
    """Read nothing but the entries, each when it is asked for: what is wrong with anything else is not looked at.

    Raises ConfigError where the file is no YAML of sections.
    """
    document = read_all(Path(path))
    value = _sections(document)
    _hide_addresses(list(texts_of(value)), document)
    return Entries(value, document), document.hidden


def load_text(text: str, name: str = "<text>", *, partly: bool = False) -> Config:
    """Read a configuration from a text (tests, `tracker init`)."""
    return build(with_included(parse(text.encode(), name, Path.cwd()), Path.cwd(), {}), partly=partly)


def build(document: Document, *, each: bool = True, partly: bool = False) -> Config:
    """Validate a parsed document and bind its plugins; not `each`: those of an entry when it is asked for.

    `partly`: what is wrong with an entry suspends that entry. What is wrong with anything else refuses the whole, and so does a file
    of which no entry is right: then it is rather the place that is wrong, or the environment.
    """
    value = _sections(document)
    texts = list(texts_of(value))
    _hide_addresses(texts, document)
    accounts: Mapping[str, Account] = (entries := Entries(value, document))
    root = validate(Root, entries.root, (), document)
    if each:
        accounts = entries.all()
    wording = None
    if root is not None:
        _check_secrets(root, value.get("stores") or {}, document)
        wording = read_mail(root.mail, root.network.allow, document)
        for path, said in unfit(
            root.telling, root.network.allow, value.get("stores") or {}, mailed=root.mail is not None
        ):
            document.problem(path, said)
    check_addresses([one for one in texts if one[0][0] not in SECTIONS and (each or one[0][0] != "defaults")], document)
    suspended = entries.suspended() if partly and each else {}
    accounts = {name: accounts[name] for name in accounts if name not in suspended} if suspended else accounts
    refused = any(entries.entry_of(problem) is None for problem in document.problems)
    if root is None or refused or (document.problems and not (partly and (accounts or not each))):
        raise ConfigError(*dict.fromkeys(document.problems))
    if each:
        for account in (*accounts.values(), *(one.receiver for one in suspended.values() if one.receiver)):
            entries.give_names(account)
    return Config(
        root,
        accounts,
        root.cadence.places(document),
        document.file,
        document.hidden,
        document.references,
        (*_notes(texts, document), *dict.fromkeys(document.notes), *_carriers(root, accounts)) if each else (),
        tuple(document.files),
        suspended,
        wording=wording,
    )


def _sections(document: Document) -> dict[str, Any]:
    value = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        raise ConfigError(f"{document.file}:1:1: must be a mapping of sections such as accounts: and stores:")
    return value


def _check_secrets(root: Root, stores: Container[str], document: Document) -> None:
    """Refuse a key that is none, and a token that can be guessed."""
    for i, sealing in enumerate(root.vault_key):
        try:
            Fernet(sealing.get_secret_value().encode())
        except ValueError:
            if any(one.away and one.path in (("vault_key",), ("vault_key", i)) for one in document.problems):
                continue  # it is not there, which was told
            place: Path_ = ("vault_key", i) if len(root.vault_key) > 1 else ("vault_key",)
            document.problem(place, "is no Fernet key: 32 random bytes in base64url (`tracker init` prints one)")
    for key, part in (("api", root.api), ("page", root.page), ("mcp", root.mcp)):
        _check_tokens(key, part, stores, document)


def _check_tokens(key: str, part: Api, stores: Container[str], document: Document) -> None:
    """Refuse tokens that can be guessed or are the same, and stores that are none, of the part of the file at a key."""
    tokens: dict[Path_, SecretStr] = {(key, "token"): part.token} if part.token is not None else {}
    tokens |= {(key, "tokens", name, "token"): one.token for name, one in part.tokens.items()}
    said: dict[str, Path_] = {}
    for path, token in tokens.items():
        value = token.get_secret_value()
        if len(value) < SHORTEST_TOKEN:
            document.problem(path, f"must have {SHORTEST_TOKEN} or more random characters")
        elif value in said:
            document.problem(path, f"is the same as {'.'.join(map(str, said[value]))}: nobody could tell who asks")
        said.setdefault(value, path)
    for name, one in part.tokens.items():
        for i, store in enumerate(one.stores):
            if store not in stores:
                place: Path_ = (key, "tokens", name, "stores", i)
                document.problem(place, f"there is no store {quoted(store)}")


def _hide_addresses(texts: Texts, document: Document) -> None:
    """Hide the passwords of URLs, tokens in their paths, and all of an address that is a secret itself."""
    for path, text in texts:
        if "://" in text:
            document.hidden.add_url(text, path=path[-1] in SECRET_ADDRESSES)


def _notes(texts: Texts, document: Document) -> Iterator[str]:
    """Say what is allowed and worth knowing: secrets that can be guessed or seen, calls in clear."""
    for path, text in texts:
        where = ".".join(map(str, path))
        if path not in document.references:
            if "@" in text and mask(text) != text:
                yield f"{where}: holds a password in clear: let the whole URL be ${{env:NAME}} or ${{file:PATH}}"
        elif path not in document.secrets:
            yield f"{where}: comes from a reference, so it is masked wherever it would be shown"
        elif len(text) < LONG:
            yield f"{where}: a secret of fewer than {LONG} characters can be guessed, and is not masked inside a longer word"


def _carriers(root: Root, accounts: Mapping[str, Account]) -> Iterator[str]:
    """Say which carriers `cadence:` names that nobody knows: what it says of them is never used."""
    if not root.cadence.carriers:
        return
    known = {word.carrier for word in words().values()}
    for account in accounts.values():
        known |= {*getattr(account.source.settings, "carriers", {}).values()} if account.is_store else {*account.speaks}
    for carrier in root.cadence.carriers:
        if carrier not in known:
            near = difflib.get_close_matches(carrier, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"cadence.carriers.{carrier}: no parcel is of this carrier, so it is never used{hint}"


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors."""
    root = Root.model_json_schema()
    definitions = root.setdefault("$defs", {})
    for section, (package, part) in SECTIONS.items():
        variants = []
        for name, plugin in installed(package).plugins.items():
            whose = f"{package}.{name}."  # two plugins may call their parts the same
            own = plugin.Settings.model_json_schema(ref_template=f"#/$defs/{whose}{{model}}")
            own["$defs"] = {f"{whose}{inner}": told for inner, told in own.get("$defs", {}).items()}
            merged = _merge(part.model_json_schema(), own, definitions)
            merged["properties"]["uses"] = {"const": name}
            merged["title"] = f"{package}/{name}"
            variants.append(merged)
        root["properties"][section] = {
            "type": "object",
            "description": root["properties"][section].get("description", ""),
            "additionalProperties": {"anyOf": variants},
        }
        common: dict[str, list[Any]] = {}
        for variant in variants:
            for key, told in variant["properties"].items():
                common.setdefault(key, []).extend([told] if told not in common.get(key, []) else [])
        definitions["Defaults"]["properties"][section] = {
            "type": "object",
            "properties": {key: {"anyOf": told} for key, told in common.items()},
            "additionalProperties": False,
        }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root}


def _merge(common: dict[str, Any], own: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    for one in (common, own):
        definitions.update(one.pop("$defs", {}))
    properties = {**common["properties"], **own.get("properties", {})}
    for name, value in properties.items():  # one may stand where several may
        if value.get("type") == "array" and value.get("items", {}).get("type") == "string":
            properties[name] = {**value, "type": ["array", "string"]}
    return {
        "type": "object",
        "properties": properties,
        # nothing is required: it may stand in `defaults:`, which may be another file's
        "additionalProperties": False,
    }


def _spelt(value: Any) -> Any:
    """Write durations as the YAML takes them, all through a tree."""
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, time):
        return f"{value:%H:%M}"
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def masked(config: Config, names: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the effective configuration: what came from a reference is masked whole, passwords inside of URLs.

    `names`: of these accounts and stores only.
    """
    shown: dict[str, Any] = _spelt(config.root.model_dump(exclude={"accounts", "stores", "include", "defaults"}))
    shown["cadence"] = config.root.cadence.shown()
    for name in config.accounts if names is None else names:
        account = config.accounts[name]
        section = shown.setdefault("stores" if account.is_store else "accounts", {})
        section[account.name] = {"uses": account.uses, **account.source.settings.model_dump(mode="json")}
        section[account.name] |= {"budget": account.limits} if account.limits else {}
        section[account.name] |= {"cadence": plain(own)} if (own := account.cadence.said()) else {}
        if account.is_store:
            values, sources = policy_values(account.policy), account.policy_sources
            own = {key: values[key] for key, source in sources.items() if not source.startswith(("preset", "default"))}
            section[account.name] |= {"mode": account.mode, "policy": {"preset": account.policy.name, **own}}
            section[account.name] |= {"accounts": list(account.ships_with)} if account.ships_with else {}
            section[account.name] |= (
                {"mail": _spelt(account.mail.model_dump(exclude_defaults=True))} if account.mail.send else {}
            )
    masked_: dict[str, Any] = _masked(shown, (), config.references)
    return masked_


def _masked(value: Any, path: Path_, references: Container[Path_]) -> Any:
    if path in references or isinstance(value, SecretStr):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(item, (*path, key), references) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, (*path, i), references) for i, item in enumerate(value)]
    return mask(value) if isinstance(value, str) else value


def loose_files(config: Config) -> Iterator[tuple[str, bool]]:
    """Say which files of an installation others can read or change, each with whether that gives something away."""
    url = make_url(config.root.database)
    files = [
        Path(f"{url.database}{more}")
        for more in ("", "-wal", "-shm")
        if url.drivername.startswith("sqlite") and url.database
    ]
    if config.root.notices.file is not None:
        files.append(Path(config.root.notices.file))
    yield from loose(*files)
    for file in (config.file, *config.files):
        if changeable(Path(file)):
            yield f"{file} can be changed by others: chmod go-w {file}", True


def word_coverage(config: Config) -> dict[str, dict[str, str | None]]:
    """Return, by store, the word in which each shipping status is shown or written; None: there is none."""
    told: dict[str, dict[str, str | None]] = {}
    for account in config.store_accounts():
        rules = account.policy
        meant = {told_: status for table_ in rules.means.values() for told_, status in table_.items()}
        told[account.name] = {
            str(status): rules.words.get(status)
            or (rules.order_words.get(meant[status]) if status in meant else None)
            or (
                str(status)
                if (rules.status_field or rules.status_tag) and status is not ShippingStatus.UNKNOWN
                else None
            )
            for status in ShippingStatus
        }
    return told

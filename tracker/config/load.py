"""YAML file -> Config, with all problems at once."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import BaseModel, SecretStr, ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tracker.config.files import changeable, loose
from tracker.config.model import (
    Account,
    Budget,
    CarrierPart,
    Config,
    Root,
    StorePart,
)
from tracker.config.plugins import companies, installed, load, names
from tracker.config.presets import bind, policy_values, spell
from tracker.config.yamlfile import Document, Path_, parse, quoted, read
from tracker.domain.cadence import Cadence, looks_after
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Meaning
from tracker.domain.hashing import digest
from tracker.domain.masking import LONG, MASK, mask
from tracker.domain.vocabulary import ShippingStatus, Trust
from tracker.plugin.contracts import CONTRACT, Carrier, Platform, Source

SECTIONS: dict[str, tuple[str, type[CarrierPart] | type[StorePart]]] = {
    "accounts": ("carriers", CarrierPart),
    "stores": ("adapters", StorePart),
}
Texts = list[tuple[Path_, str]]
M = TypeVar("M", bound=BaseModel)
SECRET_ADDRESSES = ("alert_url", "callback_url")  # who knows them can use them
SHORTEST_TOKEN = 22  # characters of base64url that hold 128 bit


def load_config(path: str | Path) -> Config:
    """Read a configuration file. Raises ConfigError with every problem: file:line:column: key: what to do."""
    return build(read(Path(path)))


def load_text(text: str, name: str = "<text>") -> Config:
    """Read a configuration from a text (tests, `tracker init`)."""
    return build(parse(text.encode(), name, Path.cwd()))


def build(document: Document) -> Config:
    """Validate a parsed document and bind its plugins."""
    value = document.value if document.value is not None else {}
    if not isinstance(value, dict):
        raise ConfigError(f"{document.file}:1:1: must be a mapping of sections such as accounts: and stores:")
    texts = list(_texts(value))
    _hide_addresses(texts, document)
    root = _validate(Root, value, (), document)
    accounts: dict[str, Account] = {}
    for section, (package, part) in SECTIONS.items():
        entries = value.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            path: Path_ = (section, name)
            if name in accounts:
                document.problem(path, "the name is used twice: accounts and stores share one list of names")
            elif isinstance(entry, dict):
                account = _account(name, entry, path, package, part, document)
                if account is not None:
                    accounts[name] = account
    if root is not None and root.vault_key and root.vault_key.get_secret_value():
        try:
            Fernet(root.vault_key.get_secret_value().encode())
        except ValueError:
            document.problem(
                ("vault_key",), "is no Fernet key: 32 random bytes in base64url (`tracker init` prints one)"
            )
    if root is not None and root.api.token is not None and len(root.api.token.get_secret_value()) < SHORTEST_TOKEN:
        document.problem(("api", "token"), f"must have {SHORTEST_TOKEN} or more random characters")
    _check_addresses(texts, document)
    if document.problems or root is None:
        raise ConfigError(*dict.fromkeys(document.problems))
    if stores := [account.platform for account in accounts.values() if account.is_store]:
        called = companies()  # every carrier that is installed is loaded for this, so once for all stores
        for store in stores:
            store.known = called
    notes = tuple(_notes(texts, document))
    return Config(
        root,
        accounts,
        Cadence(aftercare=looks_after(root.aftercare)),
        document.file,
        document.hidden,
        document.references,
        notes,
    )


def _texts(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Walk all texts of a tree, each with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*path, key))


def _hide_addresses(texts: Texts, document: Document) -> None:
    """Hide the passwords of URLs, tokens in their paths, and all of an address that is a secret itself."""
    for path, text in texts:
        if "://" in text:
            document.hidden.add_url(text, path=path[-1] in SECRET_ADDRESSES)


def _check_addresses(texts: Texts, document: Document) -> None:
    """Refuse what is no URL, or another one than was meant: it would fail later, in an error that shows a part of it."""
    for path, text in texts:
        if path == ("database",):
            fits, example = _is_database(text), "such as sqlite:///var/trackwright.db or postgresql://user@host/name"
        elif path == ("broker",):
            fits, example = (
                text == "none" or _is_url(text, "redis", "rediss", "unix"),
                "such as redis://host:6379/0, or none",
            )
        elif str(path[-1]).endswith("_url"):
            fits, example = _is_url(text, "http", "https"), "such as https://host/path"
        else:
            continue
        if not fits:
            document.problem(
                path, f"must be a URL, {example}; write % / ? # @ : in a user or password as %25 %2F %3F %23 %40 %3A"
            )


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # what it says shows a part of a password
        return False
    named = parts.hostname or (parts.scheme == "unix" and parts.path)
    beside = parts.netloc.rpartition("@")[0] + parts.path + parts.query + parts.fragment
    return bool(
        parts.scheme in schemes and named and port != 0 and "@" not in beside and text.isprintable() and " " not in text
    )


def _is_database(text: str) -> bool:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        return False
    return url.drivername.partition("+")[0] in ("sqlite", "postgresql", "postgres") and "@" not in (url.host or "")


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


def _account(
    name: str,
    entry: dict[str, Any],
    path: Path_,
    package: str,
    part: type[CarrierPart] | type[StorePart],
    document: Document,
) -> Account | None:
    plugin = _plugin(entry.get("uses"), path, package, document)
    if plugin is None:
        return None
    common = {key: value for key, value in entry.items() if key in part.model_fields}
    own = {key: value for key, value in entry.items() if key not in part.model_fields}
    before = len(document.problems)
    base: CarrierPart | StorePart | None = _validate(part, _listed(part, common), path, document, more=plugin.Settings)
    settings = _validate(plugin.Settings, _listed(plugin.Settings, own), path, document, more=part)
    if base is None or settings is None or len(document.problems) > before:
        return None
    source: Any = plugin(name, settings)
    _check_tokens(base, settings, source, path, document)
    common_values: dict[str, Any] = {
        "name": name,
        "uses": entry["uses"],
        "source": source,
        "webhook_tokens": base.webhook_token,
        "budget": base.budget or _default_budget(source),
        "credentials": digest(_plain(settings)),
    }
    if isinstance(base, CarrierPart):
        return Account(**common_values, tracks=base.tracks, codes=_codes(base, path, document))
    assert isinstance(base, StorePart)
    given = entry.get("policy")
    bound = bind(given if isinstance(given, dict) else {}, source, (*path, "policy"), document)
    if len(document.problems) > before:
        return None
    return Account(
        **common_values,
        mode=base.mode,
        policy=bound.policy,
        policy_hash=bound.hash,
        policy_sources=bound.sources,
        sweep_every=base.sweep_every,
        writes_per_hour=base.writes_per_hour,
    )


def _plugin(uses: Any, path: Path_, package: str, document: Document) -> type[Source] | None:
    """Find the plugin that an entry uses. None, and a problem, where there is none that loads or it was made for another contract."""
    known = names(package)
    if uses not in known:
        near = difflib.get_close_matches(str(uses), known, 1)
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
    """Refuse a token of a webhook's address that can be guessed, and none where the sender does not sign."""
    for i, token in enumerate(base.webhook_token):
        if 0 < len(token.get_secret_value()) < SHORTEST_TOKEN:
            document.problem((*path, "webhook_token", i), f"must have {SHORTEST_TOKEN} or more random characters")
    secrets = getattr(settings, "webhook_secrets", ())
    if source.webhooks and source.trust is Trust.SHARED and secrets and not base.webhook_token:
        document.problem(
            (*path, "webhook_token"), "is required: this sender does not sign, so its address must be secret too"
        )


def _codes(base: CarrierPart, path: Path_, document: Document) -> dict[tuple[str, str], Meaning]:
    """Read the merchant's own meanings of codes."""
    codes = {}
    for key, meaning in base.codes.items():
        space, slash, code = key.rpartition("/")
        if not slash:
            document.problem((*path, "codes", key), "must be space/code, as `tracker codes` prints it")
        codes[space, code] = Meaning(meaning.status, meaning.reason)
    return codes


def _default_budget(source: Carrier | Platform) -> Budget | None:
    return Budget(calls=source.budget[0], per=source.budget[1]) if source.budget else None


def _listed(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Let one secret stand where several may: `webhook_secrets: ${env:X}`."""
    return {key: [value] if _is_list(model, key) and isinstance(value, str) else value for key, value in values.items()}


def _is_list(model: type[BaseModel], key: str) -> bool:
    field = model.model_fields.get(key)
    return field is not None and get_origin(field.annotation) is tuple


def _validate(
    model: type[M], value: Any, path: Path_, document: Document, *, more: type[BaseModel] | None = None
) -> M | None:
    """Validate against a model; problems go to the document with the nearest valid key. `more`: a second set of keys."""
    _refuse_literals(model, value, path, document)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = {*model.model_fields, *(more.model_fields if more else ())}
        for problem in error.errors(include_url=False, include_input=False):
            at = (*path, *(part for part in problem["loc"] if not str(part).startswith("function")))
            at = tuple(part for part in at if part != "[key]")
            if problem["type"] == "extra_forbidden":
                choices = _fields_at(model, at[len(path) : -1]) or fields
                near = difflib.get_close_matches(str(at[-1]), choices, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(choices))}"
                document.problem(at, f"unknown key; {hint}")
            else:
                document.problem(at, _say(problem["msg"]))
        return None


def _say(message: str) -> str:
    return message.removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], inner: Iterable[str | int]) -> set[str]:
    current: Any = model
    for part in inner:
        field = current.model_fields.get(str(part)) if hasattr(current, "model_fields") else None
        if field is None:
            return set()
        current = field.annotation
    return set(current.model_fields) if hasattr(current, "model_fields") else set()


def _refuse_literals(model: type[BaseModel], value: Any, path: Path_, document: Document) -> None:
    if not isinstance(value, dict):
        return
    parts, secrets = _secret_keys(model)
    for key, part in parts:
        if key in value:
            _refuse_literals(part, value[key], (*path, key), document)
    for key in secrets:
        if value.get(key) is None:
            continue
        items = value[key] if isinstance(value[key], list) else [value[key]]
        for i, item in enumerate(items):
            places = ((*path, key), (*path, key, i))
            document.secrets.update(places)
            if isinstance(item, str) and not any(place in document.references for place in places):
                document.problem((*path, key), "a secret must not stand in the file: use ${env:NAME} or ${file:PATH}")


@cache
def _secret_keys(model: type[BaseModel]) -> tuple[tuple[tuple[str, type[BaseModel]], ...], tuple[str, ...]]:
    """Return the keys of a model that are models themselves, and those that hold a secret."""
    fields = [(key, field.annotation) for key, field in model.model_fields.items()]
    parts = tuple((key, one) for key, one in fields if isinstance(one, type) and issubclass(one, BaseModel))
    return parts, tuple(key for key, one in fields if _is_secret(one))


def _is_secret(annotation: Any) -> bool:
    if annotation is SecretStr:
        return True
    if get_origin(annotation) in (Union, UnionType, tuple):
        return any(_is_secret(part) for part in get_args(annotation))
    return False


def _plain(settings: BaseModel) -> dict[str, Any]:
    """Return settings with their secrets in clear, for hashing only."""

    def clear(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, tuple | list):
            return [clear(item) for item in value]
        if isinstance(value, dict):
            return {str(key): clear(item) for key, item in value.items()}
        return None if value is None else str(value)

    return {key: clear(getattr(settings, key)) for key in type(settings).model_fields}


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, for editors."""
    root = Root.model_json_schema()
    definitions = root.setdefault("$defs", {})
    for section, (package, part) in SECTIONS.items():
        variants = []
        for name, plugin in installed(package).plugins.items():
            merged = _merge(part.model_json_schema(), plugin.Settings.model_json_schema(), definitions)
            merged["properties"]["uses"] = {"const": name}
            merged["title"] = f"{package}/{name}"
            variants.append(merged)
        root["properties"][section] = {
            "type": "object",
            "description": root["properties"][section].get("description", ""),
            "additionalProperties": {"oneOf": variants},
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
        "required": sorted({*common.get("required", ()), *own.get("required", ())}),
        "additionalProperties": False,
    }


def _spelt(value: Any) -> Any:
    """Write durations as the YAML takes them, all through a tree."""
    if isinstance(value, timedelta):
        return spell(value)
    if isinstance(value, dict):
        return {key: _spelt(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def masked(config: Config) -> dict[str, Any]:
    """Return the effective configuration: what came from a reference is masked whole, passwords inside of URLs."""
    shown: dict[str, Any] = _spelt(config.root.model_dump(exclude={"accounts", "stores"}))
    for account in config.accounts.values():
        section = shown.setdefault("stores" if account.is_store else "accounts", {})
        section[account.name] = {"uses": account.uses, **account.source.settings.model_dump(mode="json")}
        if account.is_store:
            values, sources = policy_values(account.policy), account.policy_sources
            own = {key: values[key] for key, source in sources.items() if not source.startswith(("preset", "default"))}
            section[account.name] |= {"mode": account.mode, "policy": {"preset": account.policy.name, **own}}
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
    if changeable(Path(config.file)):
        yield f"{config.file} can be changed by others: chmod go-w {config.file}", True


def coverage(config: Config) -> dict[str, dict[str, str | None]]:
    """Return, by store, the word in which each shipping status is shown or written; None: there is none."""
    told: dict[str, dict[str, str | None]] = {}
    for account in config.store_accounts():
        rules = account.policy
        meant = {told_: status for table_ in rules.means.values() for told_, status in table_.items()}
        told[account.name] = {
            str(status): rules.words.get(status) or (rules.order_words.get(meant[status]) if status in meant else None)
            for status in ShippingStatus
        }
    return told

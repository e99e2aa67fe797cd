"""The world around a play: fake servers, and a configuration of ours that points to them."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet

from tracker.clock import PlayClock
from tracker.config.yamlfile import parse
from tracker.domain.errors import ConfigError
from tracker.sandbox import find
from tracker.sandbox.base import Carrier
from tracker.sandbox.generic import GenericCarrier
from tracker.sandbox.scenario import Scenario
from tracker.sandbox.servers import FakeServers
from tracker.sandbox.shop import Shop
from tracker.sandbox.used import CarrierUsed, StoreUsed
from tracker.store.engine import Store
from tracker.store.migrate import migrate

_REFERENCE = re.compile(r"\$\{(?:env|file):[^${}]+\}")
_ANY_SECRET = "@any secret@"


@cache
def _migrated() -> bytes:
    """Return an empty database of today's schema: a process that plays a hundred scenarios migrates once."""
    with tempfile.TemporaryDirectory(prefix="trackwright-") as folder:
        store = Store(f"sqlite:///{folder}/empty.db")
        migrate(store)
        with store.engine.connect() as connection:
            held: Any = connection.connection.driver_connection
            made: bytes = held.serialize()
        store.close()
    return made


class Stage:
    """The fake servers of a scenario on a port of loopback, our YAML, and the folder of both."""

    def __init__(self, scenario: Scenario, clock: PlayClock, *, database: str | None, broker: str) -> None:
        """Put up the servers; nothing listens yet."""
        self._scenario, self._broker = scenario, broker
        self._temporary = tempfile.TemporaryDirectory(prefix="trackwright-")
        self.folder = Path(self._temporary.name)
        self.notices_file = self.folder / "notices.jsonl"
        self.path = self.folder / "tracker.yaml"
        self._database = database or f"sqlite:///{self.folder}/play.db"
        self.tokens = {name: secrets.token_hex(24) for name in (*scenario.accounts, *scenario.stores)}
        self.page_token: str | None = None  # of the page, where somebody will look at the play
        self._hooks = {name: secrets.token_urlsafe(24) for name in self.tokens}
        fakes = find.fakes()
        self.carriers: dict[str, Carrier] = {
            name: fakes[used.uses](name, clock, hook=self._hooks[name])
            if used.serves is None
            else GenericCarrier(name, clock, used.serves, hook=self._hooks[name])
            for name, used in scenario.accounts.items()
        }
        self.shops: dict[str, Shop] = {
            name: fakes[used.uses](name, clock, hook=self._hooks[name], used=used)
            for name, used in scenario.stores.items()
        }
        self.servers: dict[str, Carrier | Shop] = {**self.carriers, **self.shops}
        self._fake_servers = FakeServers([*self.carriers.values(), *self.shops.values()])

    def open(self) -> None:
        """Listen, and write our YAML."""
        if self._database == f"sqlite:///{self.folder}/play.db":
            (self.folder / "play.db").touch(mode=0o600)
            (self.folder / "play.db").write_bytes(_migrated())
        document = self._document(self._fake_servers.start())
        self.path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))  # JSON is YAML

    def close(self) -> None:
        """Stop listening; the folder is gone afterwards."""
        self._fake_servers.stop()
        self._temporary.cleanup()

    def platform_log(self) -> list[dict[str, Any]]:
        """Return what the shops were told, as they logged it, in their order."""
        return sorted((entry for shop in self.shops.values() for entry in shop.log), key=lambda e: e["at"])

    def _secret(self, name: str, value: str) -> str:
        """Put a secret into a file only we can read; returns the reference to it."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(value)
        return f"${{file:{path}}}"

    def _document(self, port: int) -> dict[str, Any]:
        base = f"http://127.0.0.1:{port}"
        return {
            "database": self._database,
            "database_wait": "2s",
            "broker": self._broker,
            "vault_key": self._secret("vault", Fernet.generate_key().decode()),
            "web": {"port": 0, "ops_port": 0, "public_url": "https://tracker.example"},
            "network": {"allow": ["127.0.0.1"]},
            "accounts": {name: self._account(name, f"{base}/{name}") for name in self.carriers},
            "stores": {name: self._store(name, f"{base}/{name}") for name in self.shops},
            "notices": {"file": str(self.notices_file)},
            **({"watch": self._scenario.watch} if self._scenario.watch else {}),
            **({"page": {"port": 0, "token": self._secret("page", self.page_token)}} if self.page_token else {}),
        }

    def _account(self, name: str, base_url: str) -> dict[str, Any]:
        """Return the section of a carrier in our YAML."""
        used, carrier = self._scenario.accounts[name], self.carriers[name]
        section: dict[str, Any] = {"uses": used.uses}
        key, hook = self._secret(f"{name}.key", used.secret), None
        if used.serves is not None and used.serves.entry:
            section |= self._entry(Path(used.serves.entry), "accounts", name, key)
        if carrier.pushes:
            section["webhook_token"] = self._secret(f"{name}.token", self.tokens[name])
            if used.webhooks:
                section["webhook_secrets"] = hook = self._secret(f"{name}.hook", self._hooks[name])
        if used.serves is not None and not used.serves.calls:
            section["folder"] = {"path": str(self.files_of(name)), "every": "30m"}
        return {**section, **carrier.settings(base_url, key, hook), **used.settings, **_budget(used)}

    def files_of(self, name: str) -> Path:
        """Return the folder into which a carrier that tells by files puts them."""
        folder = self.folder / f"{name}.files"
        folder.mkdir(exist_ok=True)
        return folder

    def _entry(self, file: Path, section: str, name: str, key: str) -> dict[str, Any]:
        """Return an entry of a file, its only one or that of this name, each of its secrets the play's key; what it names lies beside it."""
        text = _REFERENCE.sub(_ANY_SECRET, file.read_text(encoding="utf-8"))
        document = parse(text.encode(), str(file), file.parent)
        if document.problems:
            raise ConfigError(*document.problems)
        entries = document.value.get(section) or {}
        entry = next(iter(entries.values())) if len(entries) == 1 else entries.get(name)
        if not isinstance(entry, dict):
            raise ConfigError(f"{file}: has no entry {name} in {section}:")
        shutil.copytree(file.parent, self.folder, dirs_exist_ok=True)
        filled: dict[str, Any] = orjson.loads(orjson.dumps(entry).replace(_ANY_SECRET.encode(), key.encode()))
        return {name: value for name, value in filled.items() if name not in ("webhook_token", "webhook_secrets")}

    def _store(self, name: str, base_url: str) -> dict[str, Any]:
        """Return the section of a store in our YAML."""
        store, shop = self._scenario.stores[name], self.shops[name]
        key, hook = self._secret(f"{name}.key", store.secret), self._secret(f"{name}.hook", self._hooks[name])
        entry = self._entry(Path(store.entry), "stores", name, key) if store.entry else {}
        proof = {"webhook_token": self._secret(f"{name}.token", self.tokens[name])}
        if shop.by_secret:
            proof["webhook_secrets"] = hook
        return {
            **entry,
            "uses": store.uses,
            **(proof if shop.pushes else {}),
            **shop.settings(base_url, key, hook),
            **({"statuses": store.statuses} if store.statuses else {}),
            **store.settings,
            "mode": store.mode,
            "sweep_every": store.sweep_every,
            "writes_per_hour": store.writes_per_hour,
            **({"policy": store.policy} if store.policy else {}),
            **_budget(store),
        }


def _budget(used: CarrierUsed | StoreUsed) -> dict[str, Any]:
    """Return the budget of an account in our YAML, where the scenario gives it one."""
    if used.budget is None:
        return {}
    return {"budget": {"calls": used.budget.calls, "per": f"{round(used.budget.per.total_seconds())}s"}}

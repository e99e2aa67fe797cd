"""A canary in each setting of each plugin and of the file itself, looked for in every output: none of them may be said."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import yaml
from click.testing import CliRunner
from cryptography.fernet import Fernet
from pydantic import BaseModel, SecretStr

from tests.app.test_canaries import SECRET
from tests.conftest import free_port, wait_for
from tests.lab import UPS, Lab
from tracker.cli import main as main_
from tracker.config.load import SECTIONS, load_text, masked
from tracker.config.model import Root
from tracker.config.plugins import load, names
from tracker.domain.errors import ConfigError
from tracker.plugin.contracts import Secrets
from tracker.store import tables as t

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
AWAY = "127.0.0.1:1"  # nobody listens there
ADDRESSES = {"alert_url", "callback_url"}
NO_WORDS = {"delimiter", "quote", "zone", "language", "lookup_path", "parcels_path"}  # texts of which most are refused


class Canaries:
    """Makes a value that is said nowhere else for each setting, and the environment that refers to them."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self.environment: dict[str, str] = {}

    def value(self) -> str:
        self.all.append(f"canary{len(self.all):03}x{'7f3a9b2c5d' * 2}")
        return self.all[-1]

    def word(self) -> str:
        """Return a canary that looks like a name, not like a token."""
        self.all.append(f"canary-{''.join('abcdefghij'[int(digit)] for digit in f'{len(self.all):03}')}-kept-apart")
        return self.all[-1]

    def reference(self, value: str | None = None) -> str:
        name = f"CANARY_{len(self.environment)}"
        self.environment[name] = value or self.value()
        return f"${{env:{name}}}"

    def found(self, text: str) -> list[str]:
        return [canary for canary in self.all if canary in text]


def is_text(annotation: Any) -> bool:
    return annotation is str or set(get_args(annotation)) == {str, type(None)}


def setting(canaries: Canaries, key: str, annotation: Any) -> Any:
    """Return a value for a setting with a canary where it can hold one, None for what holds none."""
    if key in NO_WORDS:
        return None
    if key in ADDRESSES:
        return f"http://{AWAY}/{canaries.word()}/hook"
    if key.endswith("_url"):
        return f"http://u:{canaries.value()}@{AWAY}/x?api_key={canaries.value()}"
    if annotation == Secrets:
        return [canaries.reference(), canaries.reference()]
    if annotation is SecretStr or SecretStr in get_args(annotation) or is_text(annotation):
        return canaries.reference()
    return None


def settings(canaries: Canaries, model: type[BaseModel]) -> dict[str, Any]:
    made = {key: setting(canaries, key, field.annotation) for key, field in model.model_fields.items() if key != "uses"}
    return {key: value for key, value in made.items() if value is not None}


def described(canaries: Canaries, folder: Path, section: str, name: str) -> dict[str, Any]:
    """Return an entry of deploy/examples that describes an API, with its samples beside it; a canary for each reference."""
    shutil.copytree(EXAMPLES / name, folder / name)
    entry = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())[section][name]

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: changed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [changed(inner) for inner in value]
        return canaries.reference() if isinstance(value, str) and value.startswith("${env:") else value

    return {**changed(entry), "base_url": f"http://u:{canaries.value()}@{AWAY}/x?api_key={canaries.value()}"}


def whole(canaries: Canaries, folder: Path, **root: Any) -> dict[str, Any]:
    """Return a whole configuration: each plugin once, each of its settings with a canary."""
    made: dict[str, Any] = {
        "database": f"sqlite:///{folder}/db/x.db", "vault_key": canaries.reference(Fernet.generate_key().decode()),
        "network": {"allow": ["127.0.0.1"], "timeout": "2s"}, "api": {"token": canaries.reference()}, "page": {"token": canaries.reference()},
        "notices": {"alert_url": f"http://{AWAY}/{canaries.word()}", "alert_from": "info"},
        "mail": {"host": "127.0.0.1", "port": 1, "sender": "a@acme.example", "user": "acme", "password": canaries.reference()},
        "telling": told(canaries), **root,
    }  # fmt: skip
    canaries.all.append(canaries.environment["CANARY_0"])
    for section, (package, part) in SECTIONS.items():
        made[section] = {
            name: {
                "uses": name,
                **settings(canaries, part),
                **settings(canaries, load(package, name).Settings),
                **load(package, name).example,
            }
            for name in names(package)
            if name != "generic"
        }
    made["accounts"]["bring"] = described(canaries, folder, "accounts", "bring")
    made["stores"]["ecwid"] = described(canaries, folder, "stores", "ecwid")
    made["stores"]["shopify"].pop("refresh_token")  # with it, and without a vault, nothing else is asked
    # there is one way in, and its example leaves half of each
    for other in ("client_id", "client_secret", "ims_org_id"):
        made["stores"]["magento"].pop(other)
    for own in ("access_token_secret", "consumer_secret", "access_token", "consumer_key"):
        made["stores"]["magento"][own] = canaries.reference()
    return made


def told(canaries: Canaries) -> dict[str, Any]:
    """Return an endpoint and targets with a canary in each secret."""
    secrets = [f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (101, 103)]
    address, key = f"http://{AWAY}/{canaries.word()}", canaries.value()
    canaries.all += secrets
    return {
        "endpoints": {"erp": {"url": f"http://{AWAY}/x", "secrets": [canaries.reference(one) for one in secrets]}},
        "targets": {
            "ops": {"form": "slack", "url": canaries.reference(address), "least": "info"},
            "night": {"form": "pagerduty", "routing_key": canaries.reference(key), "url": canaries.reference(address), "least": "info"},
        },
    }  # fmt: skip


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


def written(canaries: Canaries, made: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in canaries.environment.items():
        monkeypatch.setenv(name, value)
    path.write_text(json.dumps(made))  # JSON is YAML
    return path


def test_every_setting_that_can_hold_a_secret_has_a_canary(canaries: Canaries, tmp_path: Path) -> None:
    made = whole(canaries, tmp_path)

    assert len(canaries.all) > 50
    assert {"base_url", "push_url", "callback_url", "api_key", "webhook_secrets", "webhook_token"} <= set(
        made["accounts"]["dhl"]
    )
    assert {"access_token", "client_secret", "hook_key"} <= {key for store in made["stores"].values() for key in store}


@pytest.mark.parametrize(
    "words", [["check"], ["check", "--json"], ["check", "--offline"], ["policy", "show", "rest"], ["plugins"]]
)
@pytest.mark.parametrize("away", [{}, {"broker": True, "database": True}])
def test_no_command_about_the_configuration_says_a_canary(
    canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], away: dict[str, bool]
) -> None:
    """Everybody is away, so every account, the database and the broker fail and are told."""
    root = {
        "broker": f"redis://:{canaries.value()}@{AWAY}/0",
        "database": f"postgresql://u:{canaries.value()}@{AWAY}/x",
    }
    made = whole(canaries, tmp_path, **{key: root[key] for key in away})
    path = written(canaries, made, tmp_path / "tracker.yaml", monkeypatch)
    done = CliRunner().invoke(main_.cli, [*words, *([] if words == ["plugins"] else ["-c", str(path)])])

    assert done.exit_code in (0, 1), done.output
    assert canaries.found(done.output + repr(done.exception)) == []
    if words == ["check"]:
        assert done.output.count("not reached") > 3
        assert "http://127.0.0.1:1/********" in done.output  # where we are told what went wrong, without the rest


def test_no_setting_says_what_stands_in_it_where_it_is_wrong(
    canaries: Canaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference in each setting of each kind, also where a number, a span, a word of a list or a mapping is wanted."""
    models: list[tuple[tuple[str, ...], type[BaseModel]]] = [((), Root)]
    models += [((key,), field.annotation) for key, field in Root.model_fields.items() if _is_model(field.annotation)]
    for section, (package, part) in SECTIONS.items():
        for name in names(package):
            models += [((section, name), part), ((section, name), load(package, name).Settings)]
    tried = 0
    for path, model in models:
        for key in model.model_fields:
            reference = canaries.reference()
            monkeypatch.setenv("CANARY_0", canaries.all[0])
            for value in (reference, [reference], {"a": reference}):
                inner: Any = {key: value, **({"uses": path[1]} if len(path) == 2 and key != "uses" else {})}
                for part_ in reversed(path):
                    inner = {part_: inner}
                try:
                    said = repr(masked(load_text(json.dumps(inner))))
                except ConfigError as error:
                    said = "\n".join(error.problems)
                assert canaries.found(said) == [], (path, key, value)
                tried += 1
            canaries.all.clear()
            canaries.environment.clear()
    assert tried > 300


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def looked(client: httpx.Client, page: str, token: str) -> list[str]:
    """Return what the page says to who guesses, and then in each view to who knows the token."""
    said = [client.post(f"{page}/login", data={"token": given}).text for given in ("wrong", token)]
    for view in ("", "drift", "findings", "accounts", "carriers", "codes", "find?q=x", "orders/1"):
        said.append(client.get(f"{page}/{view}").text)
        assert "Log out" in said[-1]
    return said


@pytest.mark.process
def test_no_log_and_no_answer_of_a_daemon_says_a_canary(
    canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process: started, asked, told to read a wrong file and a right one again, stopped."""
    ports = {"port": free_port(), "ops_port": free_port()}
    made = whole(canaries, tmp_path, web=ports)
    made["api"]["port"], made["page"]["port"] = free_port(), free_port()
    path = written(canaries, made, tmp_path / "tracker.yaml", monkeypatch)
    log = tmp_path / "log"
    with ExitStack() as stack:
        stream = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "tracker.cli", "up", "-c", str(path)], stdout=stream, stderr=stream,
            env={**os.environ, **canaries.environment},
        )  # fmt: skip
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_for(lambda: "started" in log.read_text() or process.poll() is not None)
        wait_for(lambda: any("account" in line and "_covered" not in line for line in log.read_text().splitlines()))
        wrong = {**made, "accounts": {"dhl": {"uses": "${env:CANARY_1}"}}}  # "no plugin '...'"
        path.write_text(json.dumps(wrong))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "config_reloaded" in log.read_text())
        assert "entry_wrong" in log.read_text()
        path.write_text(json.dumps({**wrong, "broker": "${env:CANARY_1}"}))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "config_kept" in log.read_text())
        answers = [f"http://127.0.0.1:{ports['port']}/readyz", f"http://127.0.0.1:{ports['ops_port']}/metrics"]
        with httpx.Client(trust_env=False, timeout=20) as client:
            said = [client.get(url).text for url in answers]
            token = canaries.environment["CANARY_1"]
            for part in (
                "drift",
                "findings",
                "knowledge",
                "inbox",
                "outbox",
                "freshness",
                "openapi.json",
                "nothing",
                "orders/a/b",
            ):
                for given in (token, "wrong"):
                    said.append(
                        client.get(
                            f"http://127.0.0.1:{made['api']['port']}/{part}",
                            headers={"Authorization": f"Bearer {given}"},
                        ).text
                    )
            said += looked(client, f"http://127.0.0.1:{made['page']['port']}", canaries.environment["CANARY_2"])
        path.write_text(json.dumps(made))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: log.read_text().count("config_reloaded") == 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(26) == 0

    assert "configuration not taken at" in said[0] and "account dhl is suspended" in said[0]
    assert canaries.found("\n".join(said)) == []
    assert canaries.found(log.read_text()) == []
    assert "Traceback" not in log.read_text()


def test_no_defect_says_a_canary(canaries: Canaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = whole(canaries, tmp_path)
    path = written(canaries, made, tmp_path / "tracker.yaml", monkeypatch)

    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError(f"{canaries.all[5]} at {made['notices']['alert_url']}")

    monkeypatch.setattr("tracker.cli.look.explanation", fails)
    monkeypatch.setattr(sys, "argv", ["tracker", "show", "1", "-c", str(path)])
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main_._run() == 70

    assert "ValueError" in err.getvalue()
    assert canaries.found(out.getvalue() + err.getvalue()) == []


@pytest.fixture
def echoed(make_lab: Any) -> Lab:
    """A shop and a carrier that say our own secrets back: in the text of a scan, in the body of a payload."""
    lab: Lab = make_lab(secret=SECRET)
    lab.work()
    lab.order("#1001", UPS, company="UPS")
    lab.work()
    lab.scan(lab.ups, UPS, "I", "038", text=f"Bearer {SECRET} is wrong")
    lab.later(7)
    return lab


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_others_say_back_is_masked_on_the_screen_and_in_the_evidence(
    echoed: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tracker.yaml").write_text(echoed.yaml)
    monkeypatch.chdir(tmp_path)
    row = next(row for row in echoed.rows(t.inbox) if SECRET.encode() in bytes(row.body or b""))
    for words in (
        ["show", "1001"],
        ["show", "1001", "--json"],
        ["explain", "1001", "--json"],
        ["inbox", "--body", str(row.id)],
    ):
        said = CliRunner().invoke(main_.cli, words)
        assert said.exit_code == 0, said.output
        assert SECRET not in said.output, words
        assert "********" in said.output, words
    assert CliRunner().invoke(main_.cli, ["evidence", "1001", "-o", "pack.zip"]).exit_code == 0
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name, body in files.items() if SECRET.encode() in body]
    told = json.loads(files["evidence.json"])["orders"][0]["payloads"]
    assert [payload["id"] for payload in told if payload.get("masked")] == [row.id]

"""The YAML: strict, every problem with its place, secrets by reference."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from tests.config.good import GOOD, problems
from tests.told import NEW
from tracker.config.load import load_config, load_text, masked, schema
from tracker.config.plugins import load, names
from tracker.config.presets import duration, policy_values, spell
from tracker.config.yamlfile import parse
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Meaning
from tracker.domain.vocabulary import ShippingStatus


def test_a_good_file_binds_plugins_policies_and_codes() -> None:
    config = load_text(GOOD)

    assert config.accounts["ups"].carrier.settings.client_id == "me"
    assert len(config.accounts["ups"].carrier.settings.webhook_secrets) == 2
    assert config.accounts["ups"].codes["status", "999"] == Meaning(ShippingStatus.IN_TRANSIT)
    assert {("no/slash", "999"), ("no", "slash/999")} <= config.accounts["ups"].codes.keys(), (
        "codes may hold slashes too"
    )
    shop = config.accounts["shop"]
    assert (shop.mode, shop.policy.stuck_after, shop.policy.expired_after) == (
        "observe",
        timedelta(days=2),
        timedelta(days=30),
    )
    assert shop.policy.words[ShippingStatus.DELIVERED] == "DELIVERED"


def test_an_empty_file_is_an_empty_installation() -> None:
    assert load_text("").accounts == {}
    assert load_text("accounts: {}").root.broker == "none"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("brocker: none", "t.yaml:1:1: brocker: unknown key; did you mean 'broker'?"),
        ("zzz: 1", "t.yaml:1:1: zzz: unknown key; known: accounts, api, broker, cadence"),
        ("web:\n  prot: 1", "t.yaml:2:3: web.prot: unknown key; did you mean 'port'?"),
        ("web: {public_url: 'http://t.example.com'}", "t.yaml:1:7: web.public_url: must be https://host[/path]: shops and carriers post to it"),
        ("web: {public_url: 'https://t.example.com/?a=b'}", "t.yaml:1:7: web.public_url: must be https://host[/path]: shops and carriers post to it"),
        ("web: {public_url: 'https://localhost'}", "t.yaml:1:7: web.public_url: localhost is no public host: shops and carriers cannot post to it"),
        ("web: {public_url: 'https://10.1.2.3:8443/x'}", "t.yaml:1:7: web.public_url: 10.1.2.3 is no public host: shops and carriers cannot post to it"),
        ("web: {public_url: 'https://trackwright.internal'}", "t.yaml:1:7: web.public_url: trackwright.internal is no public host: shops and carriers cannot post to it"),
        ("web: {port: 99999}", "t.yaml:1:7: web.port: Input should be less than or equal to 65535"),
        ("broker: none\nbroker: none", "t.yaml:2:1: broker: the key is there twice"),
        ("a: &x 1\nb: *x", "t.yaml:2:4: aliases (*) are not allowed"),
        ("a: [1", "t.yaml:1:6: not YAML"),
        ("a: [${env:X}]", "put references into quotes"),
        ("- 1", "t.yaml:1:1: must be a mapping"),
        ("vault_key: ${env:SECRET}", "t.yaml:1:1: vault_key: is no Fernet key"),
        ("? [a]\n: 1", "t.yaml:1:1: (file): a key must be a plain text"),
        ("a: !!python/object:os.system x", "a: the tag"),
        ("accounts: {a: {}}", "accounts.a.uses: is missing: one of {carriers}"),
        ("accounts: {a: {uses: fedx}}", "accounts.a.uses: no plugin 'fedx': one of {carriers}; did you mean 'fedex'?"),
        ("accounts: {a: {uses: easypost}}", "accounts.a.api_key: Field required"),
        ("accounts: {a: {uses: easypost, api_key: plain}}", "a secret must not stand in the file: use ${env:NAME} or ${file:PATH}"),
        ("accounts: {a: {uses: easypost, api_key: '${env:NOT_SET_AT_ALL}'}}", "the environment variable NOT_SET_AT_ALL is not set"),
        ("accounts: {a: {uses: easypost, api_key: 'x${env:SECRET}'}}", "a reference must be the whole value"),
        ("accounts: {a: {uses: easypost, api_key: '${file:/no/such}'}}", "the secret file /no/such cannot be read"),
        ("accounts: {a: {uses: easypost, api_key: '${env:SECRET}', budget: {calls: 1, per: 5 minutes}}}", "a.budget.per: must be a duration such as 30s"),
        ("accounts: {a: {uses: ups, client_id: x, client_secret: '${env:SECRET}', webhook_secrets: '${env:SECRET}'}}", "accounts.a.webhook_token: is required"),
        ("accounts: {a: {uses: easypost, api_key: '${env:SECRET}', webhook_token: '${env:SECRET}'}}", "must have 22 or more random characters"),
        ("accounts: {a: {uses: easypost, api_key: '${env:SECRET}', codes: {x: {status: delivered}}}}", "must be space/code"),
        ("accounts: {a: {uses: easypost, api_key: '${env:SECRET}', codes: {a/b: {status: deliverd}}}}", "codes.a/b.status"),
        ("stores: {a: {uses: shopify, shop: x, policy: {preset: miror}}}", "did you mean 'mirror'?"),
        ("stores: {a: {uses: shopify, shop: x, policy: {stuk_after: 1d}}}", "unknown key; did you mean 'stuck_after'?"),
        ("stores: {a: {uses: shopify, shop: x, mode: wrte}}", "stores.a.mode: Input should be 'observe' or 'write'"),
        ("accounts: {a: {uses: easypost, api_key: '${env:SECRET}'}}\nstores: {a: {uses: shopify, shop: x}}", "stores.a: the name is used twice"),
    ],
)  # fmt: skip
def test_each_problem_names_its_place_and_what_to_do(text: str, problem: str) -> None:
    problem = problem.replace("{carriers}", ", ".join(names("carriers")))
    assert any(problem in said for said in problems(text)), problems(text)


def test_all_problems_are_told_at_once_and_none_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        GOOD.replace("uses: ups", "uses: ups\n    extra: ${env:SECRET}\n    locale: [1]").replace("2d", "2x")
        + "zzz: ${env:OLD}\n"
    )
    said = problems(text)

    assert len(said) >= 4
    assert "canary" not in "\n".join(said)


def test_yaml_1_2_has_no_typing_traps() -> None:
    value = parse(
        b"a: NO\nb: 12:30:45\nc: 01234\nd: on\ne: 1.5\nf: ~\ng: true\nh: 0x10\ni: 1_0\nj: 2026-01-01", "t", Path()
    ).value

    assert value == {
        "a": "NO", "b": "12:30:45", "c": 1234, "d": "on", "e": 1.5, "f": None, "g": True, "h": 16, "i": value["i"], "j": "2026-01-01",
    }  # fmt: skip


def test_a_key_that_is_not_there_is_one_problem() -> None:
    (said,) = problems("vault_key: ${env:NOT_SET_AT_ALL}\n")
    assert said.endswith("vault_key: the environment variable NOT_SET_AT_ALL is not set")
    first, second = problems("vault_key: ['${env:NOT_SET_AT_ALL}', '${env:SECRET}']\n")
    assert "vault_key.0: the environment variable" in first and "vault_key.1: is no Fernet key" in second


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"a: " + b"[" * 200 + b"]" * 200,
        b"x" * (2 << 20),
        b"a: \x00",
        b"\xef\xbb\xbfa: {b: *c}",
        b"a:\n\t- b",
    ],
)
def test_a_hostile_file_is_a_config_error(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize(
    "uses", ["x" * 5000, "0x" + "f" * 5000, "9" * 5000, "\\0", "../ups", "[a]", "easypost.x", "1e999"]
)
def test_a_plugin_name_that_is_none_is_a_config_error(uses: str) -> None:
    said = problems(f'accounts: {{a: {{uses: "{uses}"}}}}\n') + problems(f"accounts: {{a: {{uses: {uses}}}}}\n")

    assert all("accounts.a.uses: no plugin" in one for one in said)
    assert all(len(one) < 500 for one in said)


@pytest.mark.parametrize(
    "text",
    [
        "stuck_after: 999999999999d", f"stuck_after: 1d{' ' * 9000}x", "threads: 0x" + "f" * 5000, "database: [1]", "database: {a: 1}",
        "database: nonsense", "database: mysql://u@h/x", "database: ''",
        "database: sqlite://var/x.db", "database: 'sqlite://'", "database: 'sqlite:///:memory:'", "broker: true", "broker: redis://", "broker: redis://h:x",
        "broker: http://h", "notices: {alert_url: [1]}", "notices: {alert_url: alerts}", "notices: {alert_url: 'https://'}",
        "accounts: {a: {uses: easypost, api_key: '${file:a\\0b}'}}", 'accounts: {a: {uses: easypost, api_key: "${file:a\\0b}"}}',
        "accounts: {a: {uses: dhl, callback_url: 5}}", "accounts: [a]", "accounts: {a: [b]}", "stores: {a: {uses: rest, base_url: }}",
        "network: {allow: {a: b}}", "web: {max_body: .inf}", "watch: {slow_share: .nan}", "? {a: b}\n: c",
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_what_once_raised_something_else_is_a_config_error(text: str) -> None:
    assert problems(text)


PASSWORD = "canary/with@signs#and?more%of"


@pytest.mark.parametrize(
    "text",
    ["database: postgresql://u:{}@h:5432/x", "database: postgresql://u:{}@h:x/y", "broker: redis://:{}@h:6379/0", "broker: rediss://u:{}@h",
     "notices: {{alert_url: 'https://u:{}@h/x'}}", "stores: {{a: {{uses: rest, base_url: 'https://u:{}@h/x', api_token: '${{env:SECRET}}'}}}}",
     "accounts: {{a: {{uses: dhl, callback_url: 'https://u:{}@h/x', api_key: '${{env:SECRET}}'}}}}"],
)  # fmt: skip
@pytest.mark.parametrize("password", [PASSWORD, *("canary" + sign + "pw" for sign in "/@#?%: ")])
def test_a_password_that_is_not_encoded_is_told_and_never_shown(text: str, password: str) -> None:
    """Whichever part of the URL a parser takes it for: it is refused, or taken as the password and masked."""
    try:
        shown = repr(masked(load_text(text.format(password))))
    except ConfigError as error:
        shown = str(error)
        assert "%2F" in shown
    assert "canary" not in shown
    assert "pw" not in shown.replace("pwd", "")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_configuration_or_a_config_error(raw: bytes) -> None:
    try:
        document = parse(raw, "t", Path("/nowhere"))
    except ConfigError:
        return
    assert document.file == "t"


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("canary-file\n")
    secret.chmod(0o644)
    text = f"accounts: {{a: {{uses: easypost, api_key: '${{file:{secret}}}'}}}}"
    assert any("chmod 600" in said for said in problems(text))

    secret.chmod(0o600)
    assert load_text(text).accounts["a"].source.settings.api_key.get_secret_value() == "canary-file"
    secret.write_text("")
    assert any("is empty" in said for said in problems(text))
    secret.write_bytes(b"\xff\xfe")
    assert any("UTF-8" in said for said in problems(text))


def test_the_effective_configuration_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT", "canaryAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    shown = json.dumps(masked(load_text(GOOD + "vault_key: ${env:VAULT}\n")))

    assert "canary" not in shown
    assert "0123456789012345678901" not in shown
    assert '"mode": "observe"' in shown
    assert '"bodies": "30d"' in shown


def test_the_example_is_complete_and_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(__file__).parents[2] / "deploy" / "tracker.example.yaml"
    text = path.read_text(encoding="utf-8")
    import re

    for name in re.findall(r"\$\{env:(\w+)\}", text):
        monkeypatch.setenv(name, "0123456789012345678901234567890123456789012=")
    monkeypatch.setenv("ERP_HOOK_SECRET", NEW)
    monkeypatch.setenv("SLACK_WEBHOOK", "https://hooks.example.com/services/x")
    config = load_text(text)
    for key in type(config.root).model_fields:
        assert f"{key}:" in text, f"{key} is not explained in the example"
    shown = {account.uses for account in config.accounts.values()}
    for room in ("carriers", "adapters"):
        for name in names(room):
            settings = load(room, name).Settings
            for key in settings.model_fields:  # a plugin that the example does not show explains its keys itself
                explained = f"{key}:" in text if name in shown else f"`{key}`" in str(settings.__doc__)
                assert explained, f"{name}: {key} is explained neither in the example nor by its Settings"


def test_the_schema_accepts_the_example_and_refuses_a_wrong_key() -> None:
    path = Path(__file__).parents[2] / "deploy" / "tracker.example.yaml"
    example = pyyaml.safe_load(path.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema())

    assert list(validator.iter_errors(example)) == []
    assert list(validator.iter_errors({**example, "brocker": "none"}))
    broken = {**example, "stores": {"s": {"uses": "shopify", "shop": "x", "colour": 1}}}
    assert list(validator.iter_errors(broken))


@given(st.integers(0, 10**7))
def test_a_duration_is_read_as_it_is_spelt(seconds: int) -> None:
    value = timedelta(seconds=seconds)

    assert duration(spell(value)) == value
    assert duration(value) is value


@pytest.mark.parametrize("text", ["", " ", "5", "1h1", "-1h", "1 hour", 5, None])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


def test_a_policy_is_shown_as_it_is_written() -> None:
    values = policy_values(load_text(GOOD).accounts["shop"].policy)

    assert values["stuck_after"] == "2d"
    assert values["preset"] == "mirror"

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

from tracker.config.load import load_config, load_text, masked, schema
from tracker.config.model import Budget
from tracker.config.plugins import guard_names, load, names, only_class
from tracker.config.presets import duration, policy_values, spell
from tracker.config.yamlfile import parse
from tracker.domain.errors import ConfigError
from tracker.domain.facts import Meaning
from tracker.domain.vocabulary import ShippingStatus
from tracker.plugin.contracts import CONTRACT, Carrier

GOOD = """
accounts:
  ups:
    uses: ups
    client_id: me
    client_secret: ${env:SECRET}
    webhook_secrets: ["${env:SECRET}", "${env:OLD}"]
    webhook_token: ${env:TOKEN}
    codes:
      status/999: {status: in_transit}
      no/slash/999: {reason: moving}
stores:
  shop: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}", policy: {stuck_after: 2d}}
"""


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary-secret")
    monkeypatch.setenv("OLD", "canary-old")
    monkeypatch.setenv("TOKEN", "0123456789012345678901")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_text(text, "t.yaml")
    return list(error.value.problems)


def test_a_good_file_binds_plugins_policies_and_codes() -> None:
    config = load_text(GOOD)

    assert config.accounts["ups"].carrier.settings.client_id == "me"
    assert len(config.accounts["ups"].carrier.settings.webhook_secrets) == 2
    assert config.accounts["ups"].codes["status", "999"] == Meaning(ShippingStatus.IN_TRANSIT)
    assert ("no/slash", "999") in config.accounts["ups"].codes
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
        ("zzz: 1", "t.yaml:1:1: zzz: unknown key; known: accounts, aftercare, api, broker"),
        ("web:\n  prot: 1", "t.yaml:2:3: web.prot: unknown key; did you mean 'port'?"),
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
        "database: nonsense", "database: mysql://u@h/x", "database: ''", "broker: true", "broker: redis://", "broker: redis://h:x",
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


def test_who_watches_a_parcel() -> None:
    config = load_text(GOOD + "  shop2: {uses: shopify, shop: b}\n" + "broker: none\n".replace("broker: none\n", ""))
    assert [a.name for a in config.watchers("ups")] == ["ups"]
    assert config.watchers("usps") == []
    both = load_text(
        "accounts: {e: {uses: easypost, api_key: '${env:SECRET}'}, d: {uses: dhl, api_key: '${env:SECRET}', tracks: [post_de]}}"
    )
    assert [a.name for a in both.watchers("post_de")] == ["d"]
    assert [a.name for a in both.watchers("ups")] == ["e"]
    assert [a.name for a in both.watchers(None)] == ["e"]


def test_a_policy_is_shown_as_it_is_written() -> None:
    values = policy_values(load_text(GOOD).accounts["shop"].policy)

    assert values["stuck_after"] == "2d"
    assert values["preset"] == "mirror"


# plugins


def test_plugins_are_found_by_module_name() -> None:
    folder = Path(__file__).parents[2] / "carriers"
    assert names("carriers") == tuple(sorted(file.stem for file in folder.glob("[!_]*.py")))
    assert issubclass(load("carriers", "ups"), Carrier)


def test_a_plugins_own_budget_holds_unless_the_file_says_another() -> None:
    dhl = "{uses: dhl, api_key: '${env:SECRET}'%s}"
    config = load_text(f"accounts: {{a: {dhl % ''}, b: {dhl % ', budget: {calls: 9, per: 1h}'}}}")

    assert config.accounts["a"].budget == Budget(calls=250, per=timedelta(days=1))
    assert config.accounts["b"].budget == Budget(calls=9, per=timedelta(hours=1))
    assert load("carriers", "ups").budget is None


def test_a_module_with_two_plugins_or_none_is_refused() -> None:
    import types

    module = types.ModuleType("m")
    with pytest.raises(ConfigError, match="exactly one"):
        only_class(module, Carrier)


def _wheel(folder: Path) -> Path:
    """Make the wheel of another package, with one carrier, its table and an entry point."""
    import zipfile

    wheel = folder / "acme_tracking-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("acme_tracking.py", ACME)
        info = "acme_tracking-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: acme-tracking\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[tracker.carriers]\nacme = acme_tracking\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def test_a_plugin_in_a_wheel_is_found_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(_wheel(tmp_path))
    names.cache_clear()
    load.cache_clear()
    try:
        config = load_text("accounts: {a: {uses: acme, colour: red}}")
        assert "acme" in names("carriers")
        assert config.accounts["a"].source.docs == "https://acme.example"
        assert config.watchers("acme")[0].name == "a"
    finally:
        monkeypatch.undo()
        names.cache_clear()
        load.cache_clear()


SHOPS = """
stores:
  rest: {uses: rest, base_url: "https://s.example", api_token: "${env:SECRET}", carriers: {Van: van}}
  shopify: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}"}
  big: {uses: bigcommerce, store_hash: x, access_token: "${env:SECRET}"}
"""
SPELT = {  # what each platform's shops write, and what nobody of them does
    "rest": {"UPS": "ups", "DHL Express": "dhl", "bluedart": "bluedart", "Royal Mail": "royalmail", "Van": "van", "evri": None, "royal-mail": None},
    "shopify": {"UPS": "ups", "DHL Paket": "dhl", "Evri": "evri", "PostNL": "postnl", "Van": None, "dhl-germany": None},
    "big": {"ups": "ups", "dhl-germany": "dhl", "auspost": "australiapost", "royal-mail": "royalmail", "evri": None, "royal mail": None, "bluedart": None},
}  # fmt: skip


def test_a_shops_words_for_carriers_are_the_stores_its_platforms_and_the_carriers_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read() -> dict[str, dict[str, str | None]]:
        stores = {name: account.source for name, account in load_text(SHOPS).accounts.items()}
        return {name: {word: stores[name].carrier_of(word) for word in words} for name, words in SPELT.items()}  # type: ignore[union-attr]

    assert read() == SPELT

    monkeypatch.setattr(load("carriers", "ups"), "companies", {"evri": "ups", "royal mail": "ups", "van": "ups"})
    now = read()
    assert {name: words["evri"] for name, words in now.items() if "evri" in words} == {"rest": "ups", "big": "ups"}
    assert (now["shopify"]["Evri"], now["rest"]["Royal Mail"], now["big"]["royal mail"]) == ("evri", "royalmail", "ups")
    assert (now["rest"]["Van"], now["shopify"]["Van"]) == ("van", "ups")


def test_a_word_that_means_two_carriers_is_refused_at_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load("carriers", "ups"), "companies", {"fedex": "ups"})
    said = "plugin ups: 'fedex' means the carrier ups, and fedex by the plugin fedex: one of the two must go"

    assert problems(SHOPS) == [said]


def test_a_plugin_made_for_another_contract_is_refused_with_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_wheel(tmp_path))
    names.cache_clear()
    load.cache_clear()
    try:
        monkeypatch.setattr(load("carriers", "acme"), "contract", 2)
        said = "t.yaml:1:16: accounts.a.uses: plugin 'acme' was made for contract 2; this version speaks contract 1"
        assert problems("accounts: {a: {uses: acme, colour: red}}") == [said]

        monkeypatch.setattr(load("carriers", "acme"), "contract", CONTRACT)
        assert load_text("accounts: {a: {uses: acme, colour: red}}").accounts["a"].uses == "acme"
    finally:
        monkeypatch.undo()
        names.cache_clear()
        load.cache_clear()


def test_a_plugin_in_a_wheel_passes_the_conformance_suite(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    (tmp_path / "none.ini").write_text("[pytest]\n")
    (fixtures / "SOURCES.md").write_text("invented")
    parcels = [{"number": name, "scans": [{"code": "done"}] * 3} for name in ("A1", "A2", "A3")]
    (fixtures / "all-three.poll.json").write_text(json.dumps({"parcels": parcels}))
    scan = {
        "code": "acme:done",
        "means": "delivered/delivered",
        "at": None,
        "local": None,
        "zone": "unknown",
        "place": "",
    }
    told = [{"carrier": "acme", "number": name, "scans": [scan] * 3} for name in ("A1", "A2", "A3")]
    (fixtures / "all-three.poll.expected.json").write_text(json.dumps(told))
    (tmp_path / "test_acme.py").write_text(
        "from pathlib import Path\nfrom tracker.plugin.conformance import for_carrier\n"
        'TestAcme = for_carrier("acme_tracking", fixtures=Path(__file__).parent / "fixtures")\n'
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_wheel(tmp_path)), str(root)])}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(tmp_path / "none.ini"), str(tmp_path / "test_acme.py")],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-2000:]


ACME = '''
"""Acme, of another package."""
from tracker.domain.errors import BadPayload
from tracker.domain.facts import Code, Meaning, Page, Parcels, Report, Scan
from tracker.domain.vocabulary import Reason, ShippingStatus
from tracker.plugin import contracts
from tracker.plugin.payloads import decode, number, pieces, word


class Settings(contracts.Settings):
    colour: str


class Acme(contracts.Carrier):
    """Acme parcels."""

    docs = "https://acme.example"
    asks = frozenset({Parcels})
    carriers = ("acme",)
    codes = {("acme", "done"): Meaning(ShippingStatus.DELIVERED, Reason.DELIVERED)}
    Settings = Settings

    def normalize(self, payload):
        body = decode(payload.body)
        if not isinstance(body.get("parcels"), list):
            raise BadPayload("$.parcels", "must be a list")
        unread = []
        return [*pieces(body["parcels"], "$.parcels", _parcel, unread), *unread]

    def fetch(self, client, ask):
        for parcel in ask.parcels:
            request = contracts.Request("GET", f"https://acme.example/parcels/{contracts.segment(parcel.number)}")
            yield Page((client.send(request).body,))


def _parcel(parcel, unread):
    mine = number(parcel.get("number"), "$.number")
    return Report("acme", mine, tuple(pieces(parcel.get("scans"), "$.scans", _scan, unread)))


def _scan(scan, unread):
    return Scan(Code("acme", word(scan.get("code"), "$.code")))
'''


@pytest.mark.parametrize("package", ["tracker", "carriers", "adapters"])
def test_no_other_distribution_may_own_our_names(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard_names()
    info = tmp_path / "other_parcels-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-parcels\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"my{package}/__init__.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    guard_names()
    (info / "RECORD").write_text(f"{package}/__init__.py,,\nother_parcels-1.0.dist-info/RECORD,,\n")
    with pytest.raises(ConfigError, match=rf"'{package}' belongs to another installed package \(other-parcels\)"):
        guard_names()

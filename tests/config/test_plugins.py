"""Plugins are found by module name or entry point, bound to their accounts, and refused where they are not fit."""

from __future__ import annotations

import inspect
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.config.good import problems
from tests.plugins.collection import forget_plugins
from tracker.config.load import load_text, masked
from tracker.config.model import Budget
from tracker.config.plugins import Installed, guard_names, load, names, only_class
from tracker.domain.errors import ConfigError
from tracker.plugin.contracts import CONTRACT, Carrier, Limits
from tracker.plugin.names import read_words


def test_plugins_are_found_by_module_name() -> None:
    folder = Path(__file__).parents[2] / "carriers"
    found = [*folder.glob("[!_]*.py"), *(file.parent for file in folder.glob("[!_]*/__init__.py"))]
    assert names("carriers") == tuple(sorted(file.stem for file in found))
    assert issubclass(load("carriers", "ups"), Carrier)


def test_a_plugins_own_budget_holds_unless_the_file_says_another() -> None:
    dhl = "{uses: dhl, api_key: '${env:SECRET}'%s}"
    config = load_text(f"accounts: {{a: {dhl % ''}, b: {dhl % ', budget: {calls: 9, per: 1h}'}}}")

    assert config.accounts["a"].budget == Budget(calls=250, per=timedelta(days=1))
    assert config.accounts["b"].budget == Budget(calls=9, per=timedelta(hours=1))
    assert load("carriers", "ups").limits == Limits()


@pytest.mark.parametrize(
    ("yaml", "limits"),
    [
        ("", "250 calls in 1d (plugin dhl)"),
        (", budget: {calls: 100}", "100 calls in 1d (<text>:1:66, plugin dhl)"),
        (", budget: {per: 12h}", "250 calls in 12h (plugin dhl, <text>:1:66)"),
        (", budget: {side_by_side: 2, tokens: free}", "250 calls in 1d, token requests are free (plugin dhl, <text>:1:83); 2 side by side in a process (<text>:1:66)"),
    ],
)  # fmt: skip
def test_each_limit_of_the_file_overrides_the_plugins_own_alone(yaml: str, limits: str) -> None:
    config = load_text(f"accounts: {{a: {{uses: dhl, api_key: '${{env:SECRET}}'{yaml}}}}}")
    account = config.accounts["a"]
    said = re.sub(r":1:\d+", ":1:*", account.limits or "")
    assert said == re.sub(r":1:\d+", ":1:*", limits)
    assert masked(config)["accounts"]["a"]["budget"] == account.limits


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("{calls: 5}", "needs per too: plugin 'ups' states none"),
        ("{per: 1h}", "needs calls too: plugin 'ups' states none"),
        ("{calls: 5, per: 0s}", "should be greater than"),
        ("{side_by_side: 0}", "greater than or equal to 1"),
        ("{tokens: some}", "'counted' or 'free'"),
        ("{side_by: 1}", "unknown key; did you mean 'side_by_side'?"),
    ],
)
def test_a_limit_that_is_none_is_refused_with_its_place(budget: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_text(f"accounts: {{a: {{uses: ups, client_id: a, client_secret: '${{env:SECRET}}', budget: {budget}}}}}")


def test_calls_side_by_side_may_be_limited_without_a_budget() -> None:
    yaml = "accounts: {a: {uses: ups, client_id: a, client_secret: '${env:SECRET}', budget: {side_by_side: 3}}}"
    account = load_text(yaml).accounts["a"]
    assert (account.budget, account.side_by_side, account.tokens) == (None, 3, "counted")


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
    forget_plugins()
    try:
        config = load_text("accounts: {a: {uses: acme, colour: red}}")
        assert "acme" in names("carriers")
        assert config.accounts["a"].source.docs == "https://acme.example"
        assert config.candidates("acme", "shop")[0].account == "a"
    finally:
        monkeypatch.undo()
        forget_plugins()


SHOPS = """
stores:
  rest: {uses: rest, base_url: "https://s.example", api_token: "${env:SECRET}", carriers: {Van: van}}
  shopify: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}"}
  big: {uses: bigcommerce, store_hash: x, access_token: "${env:SECRET}"}
"""
SPELT = {  # what each platform's shops write, and what nobody of them does
    "rest": {"UPS": "ups", "DHL Express": "dhl", "bluedart": "bluedart", "Royal-Mail": "royalmail", "Van": "van", "upsready": None, "van": None},
    "shopify": {"UPS": "ups", "DHL Paket": "dhl", "Evri": "evri", "Hermes": "hermes_germany", "Van": None, "dhl-pieceid": None},
    "big": {"ups": "ups", "upsready": "ups", "auspost": "australiapost", "royal mail": "royalmail", "hermes": "evri", "dhl-pieceid": "dhl"},
}  # fmt: skip


def _brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have UPS's plugin stand for one of another package, which declares its words itself."""
    brought = Installed({"ups": load("carriers", "ups")}, ())
    monkeypatch.setattr("tracker.config.plugins.packaged", lambda: brought)


def test_a_shops_words_for_carriers_are_the_stores_its_platforms_and_everybodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read() -> dict[str, dict[str, str | None]]:
        stores = {name: account.source for name, account in load_text(SHOPS).accounts.items()}
        return {name: {word: stores[name].carrier_of(word) for word in words} for name, words in SPELT.items()}

    assert read() == SPELT

    _brought(monkeypatch)
    monkeypatch.setattr(load("carriers", "ups"), "companies", {"hermes": "ups", "ups ready": "ups", "van": "ups"})
    now = (
        read()
    )  # what an installed carrier says is everybody's: a platform's own word comes first, and before it a store's
    assert now["rest"] == {**SPELT["rest"], "upsready": "ups", "van": "ups"}
    assert now["shopify"] == {**SPELT["shopify"], "Van": "ups"}
    assert now["big"] == SPELT["big"]


def test_an_aggregator_is_told_what_installed_carriers_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def account(
        file: str = "accounts: {e: {uses: easypost, api_key: '${env:SECRET}'}, d: {uses: dhl, api_key: '${env:SECRET}'}}",
    ):
        return load_text(file).accounts

    assert account()["e"].source.carrier_of("Brown Van") is None
    _brought(monkeypatch)
    monkeypatch.setattr(load("carriers", "ups"), "companies", {"brown van": "ups"})
    found = account()
    assert (found["e"].source.carrier_of("Brown Van"), found["e"].source.word_for("ups")) == ("ups", "UPS")
    assert "names" not in vars(found["d"].source)  # a carrier's own account speaks of its own parcels


def test_a_word_that_means_two_carriers_is_refused_at_load_with_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load("carriers", "ups")
    _brought(monkeypatch)
    monkeypatch.setattr(plugin, "companies", {"Fed-Ex": "ups"})
    at = inspect.getsourcelines(plugin)[1]
    row = next(word.place for word in read_words() if word.carrier == "fedex")

    assert problems(SHOPS) == [
        f"ups.py:{at}: 'Fed-Ex' means the carrier ups, and fedex at {row}: one of the two must go"
    ]


def test_a_plugin_made_for_another_contract_is_refused_with_its_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_wheel(tmp_path))
    forget_plugins()
    try:
        monkeypatch.setattr(load("carriers", "acme"), "contract", 1)
        said = "t.yaml:1:16: accounts.a.uses: plugin 'acme' was made for contract 1; this version speaks contract 2"
        assert problems("accounts: {a: {uses: acme, colour: red}}") == [said]

        monkeypatch.setattr(load("carriers", "acme"), "contract", CONTRACT)
        assert load_text("accounts: {a: {uses: acme, colour: red}}").accounts["a"].uses == "acme"
    finally:
        monkeypatch.undo()
        forget_plugins()


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
from tracker.plugin import calls, contracts
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
            request = calls.Request("GET", f"https://acme.example/parcels/{calls.segment(parcel.number)}")
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


NAMED = """
accounts:
  corner: {uses: csv, carrier: %s, columns: {number: No, code: Status, time: At}}
  all: {uses: easypost, api_key: "${env:SECRET}", tracks: [%s]}
stores:
  rest: {uses: rest, base_url: "https://s.example", api_token: "${env:SECRET}"}
"""


def test_a_stores_word_that_means_another_spelling_of_an_id_is_refused_as_nobody_would_be_asked() -> None:
    text = (NAMED % ("cornervan", "ups")).rstrip().removesuffix("}")
    (told,) = problems(text + ', carriers: {"Blue": blue_van, "R.M.": Royal Mail}}\n')
    assert told.endswith("stores.rest.carriers.R.M.: 'Royal Mail' is a word for the carrier royalmail: write that")


def test_what_an_account_describes_or_tracks_is_called_so_at_every_shop_and_another_spelling_of_an_id_is_refused() -> (
    None
):
    store = load_text(NAMED % ("cornervan", "ups, quickfox")).accounts["rest"].source
    assert (store.carrier_of("Corner Van"), store.carrier_of("Quick-Fox")) == ("cornervan", "quickfox")

    said = "is a word for the carrier royalmail: write that"
    assert problems(NAMED % ("RoyalMail", "ups, Royal Mail")) == [
        f"t.yaml:3:23: accounts.corner.carrier: 'RoyalMail' {said}", f"t.yaml:4:51: accounts.all.tracks: 'Royal Mail' {said}",
    ]  # fmt: skip

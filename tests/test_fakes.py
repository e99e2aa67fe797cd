"""Fake servers are found by the plugin's name, and say themselves what only they know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tracker.clock import PlayClock
from tracker.config import plugins
from tracker.domain.errors import ConfigError
from tracker.sandbox import find, scenario, used
from tracker.sandbox.generic import GenericCarrier
from tracker.sandbox.player.player import Player, load_scenario
from tracker.sandbox.servers import FakeServers

ACME = """
from tracker.sandbox.base import Carrier
class AcmeServer(Carrier):
    knows = frozenset({"fault refuse_number"})
    pushes = False
"""
PLAY = """
scenario: a package of its own
accounts: {acme: {uses: acme}, dhl: {uses: dhl}}
steps: [STEP]
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with a fake server in its module `acme_sandbox`; returns that file."""
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tracker.sandboxes]\nacme = acme_sandbox\n")
    (tmp_path / "acme_sandbox.py").write_text(ACME)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "acme_sandbox", raising=False)
    for answer in (find.fakes, find.only):
        answer.cache_clear()
    yield tmp_path / "acme_sandbox.py"
    for answer in (find.fakes, find.only):
        answer.cache_clear()


def load(folder: Path, step: str) -> scenario.Scenario:
    (folder / "s.yaml").write_text(PLAY.replace("STEP", step))
    return load_scenario(folder / "s.yaml")


@pytest.mark.parametrize(("kind", "package"), [("carrier", "carriers"), ("shop", "adapters")])
def test_every_fake_has_the_name_of_a_plugin(kind: find.Kind, package: str) -> None:
    assert set(find.fake_names(kind)) <= set(plugins.names(package))


def test_what_only_some_know_is_a_word_of_scenarios() -> None:
    said = set(scenario.Step.model_fields)
    for word in find.only():
        name, _, kind = word.partition(" ")
        action, _, field = name.partition(".")
        assert action in said, word
        if kind:
            assert kind in scenario.FaultKind.__args__, word
        if field:
            (model,) = (m for m in (scenario.Edit, scenario.Cancel, scenario.Refund) if m.__name__.lower() == action)
            assert field in model.model_fields, word


def test_a_fake_of_another_package_plays_and_says_what_only_it_knows(acme: Path) -> None:
    fault = "{at: +0h, fault: {server: SERVER, kind: refuse_number}}"
    assert load(acme.parent, fault.replace("SERVER", "acme")).accounts["acme"].uses == "acme"

    with pytest.raises(ConfigError, match=r"steps\.0\.fault\.kind: dhl does not know it: only acme, .*ups"):
        load(acme.parent, fault.replace("SERVER", "dhl"))
    with pytest.raises(ConfigError, match=r"steps\.0\.scan\.via: acme sends no webhooks: nobody would be told"):
        load(acme.parent, "{at: +0h, scan: {account: acme, number: '1', via: webhook}}")


def test_without_a_fake_a_plugin_cannot_be_played(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"s\.yaml:3:\d+: accounts\.acme\.uses: .*'dhl', .*'easypost', .* or 'u\w+'"):
        load(tmp_path, "{at: +0h, scan: {account: acme, number: '1'}}")


def test_a_whole_answer_is_nothing_for_a_fake_that_makes_its_own(acme: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"steps\.0\.scan\.body: a carrier that `serves` describes needs it, and only such"
    ):
        load(acme.parent, "{at: +0h, scan: {account: dhl, number: '1', body: {}}}")


def test_a_module_with_two_fakes_is_refused(acme: Path) -> None:
    acme.write_text(ACME + ACME.replace("AcmeServer", "AnotherServer"))

    with pytest.raises(ConfigError, match="sandbox acme_sandbox: must define exactly one fake server, defines 2"):
        find.fakes()


# a carrier without a fake of its own

ONE, TWO, NEW = "00340434161094042557", "00340434161094042588", "1"
PATH = {"path": "/v1/track/{number}", "unknown": {"error": "no {number}"}, "unknown_status": 404}
QUERY = {
    "path": "/v2/track",
    "number": "query.numbers",
    "batch": 2,
    "into": "out.parcels",
    "unknown": {"no": "{number}"},
}
BODY = {**QUERY, "path": "/v3/track", "method": "POST", "number": "body.asked.*.number"}
DESCRIBED = """
scenario: described
accounts: {dhl: {uses: dhl, serves: {settings: {base_url: "{url}", api_key: "{key}"}, calls: [CALL]}}}
steps:
  - {at: +0h, place: {order: "#1"}}
  - {at: +1h, ship: {order: "#1", company: DHL, numbers: ["00340434161094042557"]}}
  - {at: +1h, scan: {account: dhl, number: "00340434161094042557", SCAN}}
"""


@pytest.fixture
def described() -> Iterator[tuple[GenericCarrier, httpx.Client]]:
    serves = used.Serves(
        settings={}, headers={"x-key": "right"}, token="/token", calls=[used.Call(**call) for call in (PATH, QUERY, BODY)]
    )  # fmt: skip
    server = GenericCarrier("acme", PlayClock(datetime(2026, 11, 2, tzinfo=UTC)), serves)
    for number in (ONE, TWO):
        server.history[number] += [{"body": "old"}, {"body": {"parcel": number}}]
    fake_servers = FakeServers([server])
    with httpx.Client(base_url=f"http://127.0.0.1:{fake_servers.start()}/acme", trust_env=False) as client:
        token = client.post("/token", auth=("sandbox", "right")).json()["access_token"]
        client.headers = {"x-key": "right", "authorization": f"Bearer {token}"}
        yield server, client
    fake_servers.stop()


def test_a_described_carrier_gives_the_answer_that_the_scenario_holds(described) -> None:
    server, client = described
    assert client.get(f"/v1/track/{ONE}").json() == {"parcel": ONE}
    unknown = client.get(f"/v1/track/{NEW}")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "no 1"})
    both = {"out": {"parcels": [{"parcel": ONE}, {"no": NEW}]}}
    assert client.get(f"/v2/track?numbers={ONE},{NEW}").json() == both
    assert client.post("/v3/track", json={"asked": [{"number": ONE}, {"number": NEW}]}).json() == both
    assert server.calls["track"] == 4
    assert server.complaints == []


@pytest.mark.parametrize(
    ("method", "path", "json", "status", "said"),
    [
        ("GET", f"/v4/track/{ONE}", None, 404, f"GET /v4/track/{ONE} is no call that it serves"),
        ("POST", f"/v1/track/{ONE}", None, 404, f"POST /v1/track/{ONE} is no call that it serves"),
        ("GET", "/v2/track", None, 400, "GET /v2/track with 0 numbers, expected 1 to 2"),
        ("GET", "/v2/track?numbers=1,2,3", None, 400, "GET /v2/track with 3 numbers, expected 1 to 2"),
        ("POST", "/v3/track", {"asked": [{"number": "1"}] * 3}, 400, "POST /v3/track with 3 numbers, expected 1 to 2"),
        ("POST", "/v3/track", {"asked": {"number": "1"}}, 400, "POST /v3/track with 0 numbers, expected 1 to 2"),
        ("POST", "/v3/track", None, 400, "POST /v3/track with 0 numbers, expected 1 to 2"),
    ],
)  # fmt: skip
def test_a_described_carrier_refuses_another_path_method_or_batch_and_tells(
    described, method: str, path: str, json: object, status: int, said: str
) -> None:
    server, client = described
    assert [client.request(method, path, json=json).status_code for _ in range(2)] == [status] * 2

    assert server.complaints == [said]


def test_a_described_carrier_refuses_a_wrong_key_and_a_token_that_ended(described) -> None:
    server, client = described
    form = {"client_id": "sandbox", "client_secret": "right"}
    assert client.post("/token", auth=("sandbox", "wrong")).status_code == 401
    assert client.post("/token", data=form).status_code == 200
    assert client.get(f"/v1/track/{ONE}", headers={"x-key": "wrong"}).status_code == 401
    server.on_fault(scenario.Fault(server="acme", kind="expire_tokens"), server.clock())
    assert client.get(f"/v1/track/{ONE}").status_code == 401
    assert server.complaints == [], "a wrong key is a play's own business"


def test_a_call_that_is_not_described_is_a_difference_of_the_play(tmp_path: Path) -> None:
    text = DESCRIBED.replace("CALL", "{path: '/v9/{number}'}").replace("SCAN", "body: {}")
    (tmp_path / "s.yaml").write_text(text)

    (wrong,) = Player(load_scenario(tmp_path / "s.yaml")).play().differences
    assert wrong == "dhl refused a call: GET /track/shipments is no call that it serves"


@pytest.mark.parametrize(
    ("call", "scan", "said"),
    [
        (
            "{path: '/v9/{number}'}",
            "code: x",
            "scan.body: a carrier that `serves` describes needs it, and only such a one",
        ),
        ("{path: /v9}", "body: {}", "the number stands in the path as {number}, or `number` says where"),
        ("{path: /v9, number: query.n, batch: 2}", "body: {}", "several numbers need a list: `into` says where"),
        ("{path: '/v9/{number}'}", "body: {}, via: webhook", "scan.via: dhl sends no webhooks: nobody would be told"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_its_place(
    tmp_path: Path, call: str, scan: str, said: str
) -> None:
    (tmp_path / "s.yaml").write_text(DESCRIBED.replace("CALL", call).replace("SCAN", scan))

    with pytest.raises(ConfigError, match=r"s\.yaml:\d+:\d+: ") as refused:
        load_scenario(tmp_path / "s.yaml")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("uses", "settings", "said"),
    [
        ("dhl", "{base_url: '{url}'}", "the play's configuration: accounts.dhl.api_key: Field required"),
        ("dlh", "{}", "the play's configuration: accounts.dhl.uses: no plugin 'dlh': one of " + ", ".join(plugins.names("carriers")) + "; did you mean 'dhl'?"),
    ],
)  # fmt: skip
def test_settings_that_the_plugin_refuses_are_told_by_their_key_without_the_file_that_nobody_wrote(
    tmp_path: Path, uses: str, settings: str, said: str
) -> None:
    text = DESCRIBED.replace("uses: dhl", f"uses: {uses}").replace('{base_url: "{url}", api_key: "{key}"}', settings)
    (tmp_path / "s.yaml").write_text(text.replace("CALL", "{path: '/v9/{number}'}").replace("SCAN", "body: {}"))

    with pytest.raises(ConfigError) as refused:
        Player(load_scenario(tmp_path / "s.yaml")).play()
    assert str(refused.value) == said

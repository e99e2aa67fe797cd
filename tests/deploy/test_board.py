"""The alerts and the board: by Prometheus' own tool, and by a scrape of an installation where all of it happened. No Grafana ran them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import UPS, USPS, H, Lab
from tracker.app.presence import Presence
from tracker.app.telemetry import OF_INSTALLATION
from tracker.store import tables as t
from tracker.upkeep import maintenance

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
BOARD = json.loads((DEPLOY / "grafana/dashboards/trackwright.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TESTS = yaml.safe_load((DEPLOY / "prometheus/alerts_test.yaml").read_text())["tests"]
OF_PROMETHEUS = {"instance", "job", "le"}


def promtool(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run Prometheus' tool; skip where it is not installed."""
    if (path := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: Debian's package prometheus, or `make tools`")
    return subprocess.run([path, *words], input=given, capture_output=True, text=True, check=False)


def expressions() -> Iterator[tuple[str, str]]:
    """Give each expression of rules and board, with variables of the board filled in, and where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$account", ".*")


def names_of(expression: str) -> dict[str, set[str]]:
    """Return the metrics of an expression, each with the labels that are selected of it."""
    found: dict[str, set[str]] = {}
    for name, selected in re.findall(
        r"\b((?:tracker|process|up)\w*)(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', expression)
    ):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected))
    return found


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> dict[str, set[str]]:
    """Return the series of an installation where everything happened: each with its labels."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "db").mkdir(mode=0o700)
    shutil.copy(migrated_file, folder / "db/test.db")
    (folder / "key").write_text("k" * 30)
    (folder / "key").chmod(0o600)
    entry = f"{{uses: easypost, api_key: '${{file:{folder}/key}}', webhook_secrets: '${{file:{folder}/key}}', budget: {{calls: 9, per: 1h}}}}"
    with ExitStack() as stack:
        lab = Lab(f"sqlite:///{folder}/db/test.db", folder, stack, accounts=f"  budgeted: {entry}\n")
        _everything_happens(lab)
        text = lab.daemon.metrics.render(lab.daemon.gauges()).decode()
    found: dict[str, set[str]] = {"up": {"instance", "job"}}
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.M):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels), OF_PROMETHEUS - {"le"})
    return found


def _everything_happens(lab: Lab) -> None:
    a, count = t.accounts, lab.daemon.metrics.count
    lab.work()
    lab.order("#1001", USPS)
    lab.order("#1002", UPS, company="UPS")
    lab.work()
    lab.scan(lab.easypost, USPS, "in_transit", "departed_facility")
    lab.scan(lab.ups, UPS, "ZZ", "NO-SUCH-CODE")
    lab.post(lab.easypost.event(USPS))
    lab.later(7)
    lab.post_raw("easypost", b'{"x')
    lab.work()
    maintenance.heartbeat(lab.ctx, lab.clock())
    Presence(lab.daemon.store, ("web", "scheduler")).look()
    now = lab.clock()
    lab.change(a.update().where(a.c.name == "ups").values(failing_since=now - H, rests_until=now + H, quota_left=5))
    lab.change(a.update().where(a.c.name == "dhl").values(suspended_reason="HTTP 401", brakes={"dhl": {}}))
    lab.change(a.update().where(a.c.name == "budgeted").values(spent=[[int(now.timestamp() * 1000), 9, 0]]))
    lab.change(t.tokens.insert().values(account="ups", value="sealed", ends_at=now + H, attempts=1))
    # what counts these stands in tests of its own: here it is enough that they are there
    count("tracker_webhooks_total", account="easypost", result="rejected")
    count("tracker_drains_failed_total", queue="push")
    count("tracker_source_errors_total", account="ups", error="Transient")
    count("tracker_unread_total", account="shop")


def test_promtool_takes_the_rules_their_tests_and_the_configuration(tmp_path: Path) -> None:
    checked = promtool("check", "rules", str(DEPLOY / "prometheus/alerts.yaml"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tried = promtool("test", "rules", str(DEPLOY / "prometheus/alerts_test.yaml"))
    assert tried.returncode == 0, tried.stdout + tried.stderr
    shutil.copy(DEPLOY / "prometheus/alerts.yaml", tmp_path / "alerts.yaml")
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/etc/prometheus/alerts.yaml", "alerts.yaml"))
    configured = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert configured.returncode == 0, configured.stdout + configured.stderr


def test_each_alert_is_tried_where_it_must_fire_and_where_it_must_not() -> None:
    fires: dict[str, int] = {}
    quiet: dict[str, int] = {}
    for case in TESTS:
        for asked in case["alert_rule_test"]:
            counted = fires if asked.get("exp_alerts") else quiet
            counted[asked["alertname"]] = counted.get(asked["alertname"], 0) + 1
    names = {rule["alert"] for rule in RULES}
    assert len(names) == len(RULES)
    assert (set(fires), {name for name, many in quiet.items() if many >= 2}) == (names, names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert "for" in rule


def test_promtool_parses_every_expression_of_the_board(tmp_path: Path) -> None:
    rules = [{"record": f"board:{i}", "expr": expression} for i, (_, expression) in enumerate(expressions())]
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    checked = promtool("check", "rules", str(path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_metric_and_label_of_rules_and_board_is_in_a_scrape(scraped: dict[str, set[str]]) -> None:
    missing = []
    for where, expression in expressions():
        used = names_of(expression)
        assert used, where
        there = set().union(*(scraped.get(name, set()) for name in used)) | {"le", "revision"}
        missing += [(where, name) for name in used if name not in scraped]
        missing += [
            (where, name, labels - scraped[name] - OF_PROMETHEUS)
            for name, labels in used.items()
            if name in scraped and labels - scraped[name] - OF_PROMETHEUS
        ]
        grouped = {
            label for part in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in re.findall(r"\w+", part)
        }
        missing += [(where, "by", grouped - there)] if grouped - there else []
    assert missing == []


def test_the_board_is_whole_each_panel_says_what_it_shows_in_which_unit() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids)) and len(PANELS) > 20
    datasource = {"type": "prometheus", "uid": "${datasource}"}
    assert [one["type"] for one in BOARD["templating"]["list"]] == ["datasource", "query"]
    assert (BOARD["uid"], BOARD["editable"], BOARD["timezone"]) == ("trackwright", False, "utc")
    for panel in PANELS:
        assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"], (
            panel["title"]
        )
        assert panel["datasource"] == datasource and all(
            target["datasource"] == datasource for target in panel["targets"]
        )
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF")[: len(panel["targets"])]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert panel["type"] != "timeseries" or panel["options"]["legend"]["showLegend"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(places) == len(set(places)) and all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in BOARD["panels"])


def test_gauges_that_several_processes_say_are_never_added_up() -> None:
    several = "|".join(OF_INSTALLATION)
    for where, expression in expressions():
        assert not re.search(rf"\b(sum|count|avg)( by \([^)]*\))? ?\((?!max|label)({several})\b", expression), where
        for name in names_of(expression):
            if name in OF_INSTALLATION:
                assert re.search(r"\b(max|min|count|absent)\b", expression), where


def test_the_composition_brings_the_board_by_a_profile_of_its_own() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    board = {name: services[name] for name in ("prometheus", "grafana")}
    for name, service in board.items():
        assert service["profiles"] == ["board"] and service["cap_drop"] == ["ALL"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            assert not source.startswith("./") or source.startswith("./secrets/") or (DEPLOY / source).exists(), mount
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/trackwright.yaml").read_text())["providers"][0]
    assert any(mount.split(":")[1] == provider["options"]["path"] for mount in board["grafana"]["volumes"])
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"][
        0
    ]
    role: dict[str, Any] = services["worker"]
    assert set(scraped["names"]) <= set(services) and str(scraped["port"]) == role["environment"]["TRACKER_OPS_PORT"]

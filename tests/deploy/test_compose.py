"""The composition and its TLS proxy: read as data, for no engine runs here. What it starts is compared with the code in tests/test_deploy.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from carriers import blue_dart, fedex
from tracker.config.load import load_config
from tracker.config.model import Web

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def test_only_the_proxy_is_reached_from_outside(services: dict[str, Any]) -> None:
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    outside = {
        name
        for name, one in services.items()
        if any(not port.startswith("127.0.0.1:") for port in one.get("ports", []))
    }
    assert outside == {"proxy"}
    assert set(services["proxy"]["networks"]) & set(services["web"]["networks"]) >= {"edge"}
    for name in ("postgres", "redis"):
        assert services[name]["networks"] == ["data"] and whole["networks"]["data"]["internal"]
        assert "ports" not in services[name] and "data" not in services["proxy"]["networks"]
    used = {network for one in services.values() for network in one["networks"]}
    assert used == set(whole["networks"])


def test_every_image_that_is_not_ours_is_pinned_and_every_service_bounded(services: dict[str, Any]) -> None:
    for name, one in services.items():
        tag = one["image"].partition(":")[2]
        assert one["image"] == "trackwright" or re.search(r"\d+\.\d+|\d+-", tag), name
        assert "no-new-privileges:true" in one["security_opt"], name
        assert one["restart"], name


def test_each_service_may_do_what_its_image_does_at_its_start(services: dict[str, Any]) -> None:
    """Facts of the images' own entrypoints: redis 7 and postgres change from root to their user, which takes capabilities."""
    assert (services["redis"]["cap_drop"], services["redis"]["user"]) == (["ALL"], "redis")
    assert "cap_drop" not in services["postgres"]  # as root it reads the secret, and makes its folder its own
    owner = re.search(r"USER (\d+):", (DEPLOY / "Dockerfile").read_text())
    assert owner is not None and f"chown -R {owner[1]} secrets" in (DEPLOY / "README.md").read_text()
    assert (
        services["grafana"]["user"] == f"{owner[1]}:0"
    )  # it reads a secret of that owner; its folders are the group's 0
    probe = services["postgres"]["healthcheck"]["test"]
    assert (
        probe[probe.index("-h") + 1] == "127.0.0.1"
    )  # else it is healthy while its first database is made, and migrate fails


def test_the_proxy_leads_to_webhooks_and_to_nothing_else() -> None:
    file = re.sub(r"(?m)^\s*#.*\n", "", (DEPLOY / "Caddyfile").read_text())
    assert file.count("{") == file.count("}")
    (matched,) = re.findall(r"(?m)^\t@webhooks \{(.*?)\n\t\}", file, re.S)
    assert matched.split("\n\t\t")[1:] == ["method GET HEAD POST", "path /webhooks/*"]
    handles = re.findall(r"\thandle(.*?)\{(.*?)\n\t\}", file, re.S)
    assert [name.strip() for name, _ in handles] == ["@webhooks", ""]
    assert f"reverse_proxy web:{Web().port}" in handles[0][1] and handles[1][1].split() == ["respond", "404"]
    assert file.count("reverse_proxy") == 1
    assert "admin off" in file and "log" not in file.split()  # an address may hold a webhook's token
    (most,) = re.findall(r"max_size (\d+)MiB", file)
    assert int(most) << 20 >= max(blue_dart.BlueDart.max_body, fedex.FedEx.max_body, Web().max_body)


def test_the_first_configuration_of_the_composition_is_one_and_finds_its_secrets_where_they_are_mounted(
    tmp_path: Path,
) -> None:
    text = (DEPLOY / "tracker.compose.yaml").read_text()
    values = {"database_url": "postgresql://postgres:x@postgres/trackwright", "vault_key": "A" * 43 + "="}
    named = set(re.findall(r"\$\{file:([^}]+)\}", text))
    assert named and all(one.startswith("/run/secrets/") for one in named)
    for one in named:
        path = tmp_path / Path(one).name
        path.touch(mode=0o600)
        path.write_text(values.get(path.name, "secret-0123456789"))
        text = text.replace(one, str(path))
    (tmp_path / "tracker.yaml").write_text(text)
    root = load_config(tmp_path / "tracker.yaml").root
    assert (root.web.host, root.web.ops_host) == ("0.0.0.0", "0.0.0.0")
    page = (DEPLOY / "README.md").read_text()
    assert [Path(one).name for one in sorted(named) if Path(one).name not in page] == []

"""The units of systemd: read by systemd's own programs where they are there, and compared with the code."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from tracker.cli.main import cli
from tracker.config.yamlfile import HANDED

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
EXPOSED = 2.0  # of 10, as `systemd-analyze security` counts; 1.1 are reached

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")


class _Many(dict[str, Any]):
    """Keys that may stand several times are kept as lists."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and key in self:
            value = [*self[key], *value]
        super().__setitem__(key, value)


def said(unit: Path, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False, dict_type=_Many, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser[section])


@analyze
def test_systemd_reads_every_unit_and_finds_nothing_wrong(tmp_path: Path) -> None:
    for unit in [*SERVICES, UNITS / "trackwright.target"]:
        there = unit.read_text().replace("/opt/trackwright/bin/tracker", "/bin/true")  # it is not installed here
        (tmp_path / unit.name.replace("@.", "@1.")).write_text(there)
        (tmp_path / unit.name).write_text(there)
    units = sorted(str(one) for one in tmp_path.iterdir() if "@." not in one.name)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    ours = [line for line in told.stderr.splitlines() if "trackwright" in line]
    assert (told.returncode, ours) == (0, [])


@analyze
@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_a_unit_exposes_little(unit: Path) -> None:
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        f"--threshold={round(EXPOSED * 10)}",
        "--no-pager",
        str(unit),
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
    assert float(re.findall(r"Overall exposure level.*: ([0-9.]+)", told.stdout)[0]) <= EXPOSED


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_what_a_unit_starts_and_reloads_is_a_command_of_ours(unit: Path) -> None:
    service = said(unit, "Service")
    for key in ("ExecStart", "ExecReload"):
        if key in service:
            program, name, *options = service[key].split()
            assert program == "/opt/trackwright/bin/tracker"
            command = cli.get_command(click.Context(cli), name)
            assert command is not None and options == ["-c", "/etc/trackwright/tracker.yaml"]
    assert ("ExecReload" in service) == ("migrate" not in unit.name)


def test_a_unit_gives_the_roles_the_time_and_the_secrets_that_they_need() -> None:
    for unit in SERVICES:
        service = said(unit, "Service")
        assert service["User"] == "trackwright" and service["StateDirectoryMode"] == "0700"
        assert service["LoadCredential"] == "secrets:/etc/trackwright/secrets"
        if service["Type"] == "oneshot":
            continue
        assert int(service["TimeoutStopSec"]) > 25  # what is held is finished within 25 s
        assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
        assert int(service["LimitNOFILE"]) >= 4096
    page = (UNITS.parent / "README.md").read_text()
    assert f"${{file:{HANDED}secrets_" in page  # as systemd names what lies in a folder that LoadCredential= names
    target = said(UNITS / "trackwright.target", "Unit")
    wanted = set(target["Wants"].split())
    assert {re.sub(r"@\d+", "@", one) for one in wanted} | {"trackwright.service", "trackwright-migrate.service"} == {
        unit.name for unit in SERVICES
    }


@analyze
def test_system_calls_that_a_role_makes_are_allowed() -> None:
    """It asks for its limit of files, which glibc does by prlimit64: where that is refused it could not even look."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", "@default"], capture_output=True, text=True, check=True)
    assert "prlimit64" in told.stdout
    for unit in SERVICES:
        command = ["systemd-analyze", "security", "--offline=yes", "--json=short", str(unit)]
        rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
        left = {row["json_field"] for row in rows if not row["set"]}
        assert left <= {
            "RootDirectoryOrRootImage", "RestrictAddressFamilies_AF_UNIX", "RestrictAddressFamilies_AF_INET_INET6", "PrivateNetwork",
            "DeviceAllow", "IPAddressDeny",
        }  # fmt: skip

"""deploy/FIRST_STORE.md, followed line by line by a shell, with real processes, against the sandbox in the place of the shop and the carrier."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import free_port, wait_for
from tests.lab import USPS
from tracker.clock import system_now
from tracker.sandbox.fakes.easypost import EasyPostServer
from tracker.sandbox.fakes.shopify import ShopifyServer
from tracker.sandbox.servers import FakeServers

pytestmark = pytest.mark.process
PAGE = (Path(__file__).parents[2] / "deploy" / "FIRST_STORE.md").read_text()
BLOCKS = [re.findall(r"^\$ (.+)$", block, re.M) for block in re.findall(r"```console\n(.*?)```", PAGE, re.S)]
ENTERED = {
    "easypost_api_key": "k",
    "easypost_webhook_secret": "hook",
    "shopify_access_token": "k",
    "shopify_webhook_secret": "hook",
}
DIFFERS = ("tracker drift", "tracker status", "tracker hooks")  # what may end with 1: it tells a difference


class Typist:
    """A shell in a folder, and who types into it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        mine = {k: value for k, value in os.environ.items() if not k.startswith(("PYTHON", "COV", "TRACKER"))}
        started = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=mine | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, start_new_session=True,
        )  # fmt: skip
        self.shell, self.entered = stack.enter_context(started), dict(ENTERED)
        stack.callback(lambda: os.killpg(self.shell.pid, signal.SIGKILL))

    def types(self, line: str) -> tuple[int, str]:
        """Type a line, and wait until it ended. Returns its exit code and what it said."""
        assert self.shell.stdin is not None and self.shell.stdout is not None
        entered = re.fullmatch(r"cat > secrets/(\w+)", line)
        if entered is not None:
            line = f"printf '%s\\n' {self.entered.pop(entered[1])} | {line}"  # pasted, Enter, Ctrl-D
        self.shell.stdin.write(f'{line}\necho "the end: $?"\n')
        said = ""
        for told in self.shell.stdout:
            if ended := re.search(r"the end: (\d+)\n$", told):
                return int(ended[1]), said + told[: ended.start()]
            said += told
        raise AssertionError(f"the shell ended: {said}")


def test_the_page_leads_from_an_empty_folder_to_a_store_that_is_observed(tmp_path: Path) -> None:
    (install, *rest), port = BLOCKS, free_port()
    # tests/cli/test_newcomer.py installs the wheel
    assert [line.split()[0] for line in install] == ["python3", "~/trackwright/bin/pip", "export"]
    with ExitStack() as stack:
        shop = ShopifyServer("shop", system_now, key="k", hook="hook")
        servers = FakeServers([shop, EasyPostServer("easypost", system_now, key="k", hook="hook")])
        base = f"http://127.0.0.1:{servers.start()}"
        stack.callback(servers.stop)
        shop.place("#1001", system_now(), "PAID")
        shop.ship("#1001", system_now(), [{"company": "USPS", "number": USPS}], partly=False)
        typist = Typist(tmp_path, stack)
        said, log, database = {}, tmp_path / "my-shop" / "log", tmp_path / "my-shop" / "var" / "trackwright.db"
        for line in (one for block in rest for one in block):
            if line == "tracker check --offline":  # here the page speaks to the world: ours is on loopback
                _in_the_sandbox(tmp_path / "my-shop" / "tracker.yaml", base, port)
            if line.startswith("curl"):
                wait_for(lambda: log.exists() and '"started"' in log.read_text(), 60)
            if line == "tracker status":
                with closing(sqlite3.connect(database)) as connection:
                    wait_for(lambda: connection.execute("SELECT count(*) FROM shipments").fetchone()[0], 60)
            code, said[line] = typist.types(line.replace("8080", str(port)))
            assert code == 0 or (code == 1 and line in DIFFERS), f"{line}\n{said[line]}"

        assert typist.entered == {} and "tracker.yaml: fine" in said["tracker check"]
        assert (tmp_path / "my-shop" / "secrets" / "tracker_vault_key").stat().st_mode & 0o077 == 0
        assert USPS in said["tracker show '#1001'"]
        assert shop.log == []  # observed, and nothing written
        typist.types("kill %1; wait %1")


def _in_the_sandbox(file: Path, base: str, port: int) -> None:
    """Let the file say loopback where it says the world."""
    text = file.read_text()
    assert "CHANGE-ME" not in text and "${env:" not in text
    text = text.replace("uses: easypost ", f"base_url: {base}/easypost\n    uses: easypost ")
    text = text.replace("uses: shopify ", f"base_url: {base}/shop\n    uses: shopify ")
    file.write_text(f"{text}network: {{allow: [127.0.0.1]}}\nweb: {{port: {port}, ops_port: 0}}\n")


def test_what_the_page_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([\w./-]+)\)", PAGE):
        assert (Path(__file__).parents[2] / "deploy" / link).exists(), link

"""`tracker check` asks its accounts side by side, and tells of them in the order of the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

STORES = 12


@pytest.fixture
def port() -> Iterator[int]:
    """A shop that answers nobody before all have asked, and then refuses all."""
    all_ask = threading.Barrier(STORES)

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            all_ask.wait(60)
            self.send_response(401)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    server.request_queue_size = STORES
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_accounts_are_asked_side_by_side_and_told_in_order(tmp_path: Path, port: int) -> None:
    names = [f"s{(5 * i) % STORES}" for i in range(STORES)]
    stores = "".join(
        f"  {name}: {{uses: rest, base_url: 'http://127.0.0.1:{port}', api_token: '${{env:SECRET}}'}}\n"
        for name in names
    )
    (tmp_path / "tracker.yaml").write_text(
        f"database: sqlite:///{tmp_path}/x.db\nnetwork: {{allow: [127.0.0.1]}}\nstores:\n{stores}"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SECRET": "canarysecret7f3a9b2c5d",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "check", "--json"], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    said = [one for one in json.loads(done.stdout)["problems"] if "(rest)" in one]
    assert [one.partition(" ")[0] for one in said] == names
    assert all("CredentialsRejected" in one for one in said), said
    assert "canary" not in done.stdout + done.stderr
    assert done.stderr == ""  # no progress where nobody sees it

"""`tracker check` says of each BigCommerce store plainly what is wrong with its hash, its token, its scopes, or with who answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.cli.serving import serving

HTML = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"
STATUSES = [{"id": 2, "name": "Shipped", "custom_label": "Unterwegs"}]
ANSWERS = {  # by store hash: to the list of statuses, and to that of hooks
    "fine": ((200, STATUSES), (200, {"data": [], "meta": {}})),
    "hookless": ((200, []), (403, {"status": 403, "title": "You don't have a required scope to access the endpoint"})),
    "scopeless": ((403, {"status": 403, "title": "You don't have a required scope"}), (500, {})),
    "stranger": ((401, {"status": 401, "title": "Unauthorized"}), (500, {})),
    "nobody": ((404, {"status": 404, "title": "Not found"}), (500, {})),
    "proxied": ((200, HTML), (500, {})),
    "overloaded": ((429, {"status": 429}), (500, {})),
}
SAID = [
    "fine (bigcommerce): fine",
    "fine (bigcommerce): Shipped is called 'Unterwegs': renamed statuses are shown so, and decided by what they are",
    "hookless (bigcommerce): its hooks cannot be listed or made (HTTP 403: You don't have a required scope to access the endpoint): that needs the default scope",
    "scopeless (bigcommerce): CredentialsRejected: HTTP 403: You don't have a required scope: the access_token lacks the scope store_v2_orders or store_v2_orders_read_only",
    "stranger (bigcommerce): CredentialsRejected: HTTP 401: Unauthorized: access_token is none of store_hash 'stranger'",
    "nobody (bigcommerce): not reached: HTTP 404: no store answers at store_hash 'nobody'",
    "proxied (bigcommerce): not reached: HTTP 200 with a page of HTML instead of an answer",
    "overloaded (bigcommerce): not reached: HTTP 429",
]


@pytest.fixture
def port() -> Iterator[int]:
    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, _, name, version, *_ = self.path.split("/")
            status, body = ANSWERS[name][version == "v3"]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with serving(Api) as port:
        yield port


def test_what_is_wrong_with_a_store_is_told_in_words_and_ends_with_1(tmp_path: Path, port: int) -> None:
    common = f"uses: bigcommerce, base_url: 'http://127.0.0.1:{port}', access_token: '${{env:SECRET}}', webhook_secrets: '${{env:SECRET}}'"
    stores = "".join(f"  {name}: {{{common}, store_hash: {name}}}\n" for name in ANSWERS)
    (tmp_path / "tracker.yaml").write_text(
        f"database: sqlite:///{tmp_path}/x.db\nnetwork: {{allow: [127.0.0.1]}}\nstores:\n{stores}"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "SECRET": "canarysecret7f3a9b2c5d",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "check", "tracker.yaml"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    for said in SAID:
        assert said in done.stdout, said
    assert "5 problems" in done.stdout
    assert "canarysecret" not in done.stdout + done.stderr

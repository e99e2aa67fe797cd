"""`make fuzz`, the last part: schemathesis against our own HTTP, from the documents it publishes.

A whole installation on a fresh SQLite file, real sockets; the receiver with and without proof, the read API with its token. Exit 1
on any answer of 500 or more, or where the read API answers 200 to somebody without the token.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.lab import TOKEN, UPS, Lab
from tracker.app.api import openapi
from tracker.app.daemon import Daemon
from tracker.config.load import load_text
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate

ACCOUNTS = ("ups", "dhl", "easypost", "shop", "nobody")


def receiver() -> dict[str, Any]:
    """Describe the receiver: any body, any of the headers that prove somebody."""
    body = {
        "content": {kind: {"schema": {}} for kind in ("application/json", "text/plain", "application/octet-stream")}
    }
    names = ("x-hmac-signature", "x-shopify-hmac-sha256", "x-shopify-topic", "credential", "dhl-hook-token")
    headers = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]
    answers = {code: {"description": code} for code in ("200", "401", "404", "405", "408", "411", "413", "415", "503")}
    account = {"name": "account", "in": "path", "required": True, "schema": {"enum": [*ACCOUNTS]}}
    token = {
        "name": "token",
        "in": "path",
        "required": True,
        "schema": {"anyOf": [{"const": TOKEN}, {"type": "string", "minLength": 1}]},
    }
    post = {"requestBody": body, "responses": answers}
    return {
        "openapi": "3.1.0", "info": {"title": "the receiver", "version": "1"},
        "paths": {
            "/webhooks/{account}": {"post": {**post, "parameters": [account, *headers]}},
            "/webhooks/{account}/{token}": {"post": {**post, "parameters": [account, token, *headers]}},
            "/livez": {"get": {"responses": answers}}, "/readyz": {"get": {"responses": answers}},
        },
    }  # fmt: skip


def attack(
    document: dict[str, Any], port: int, folder: Path, examples: int, checks: str, *headers: str
) -> tuple[bool, str]:
    """Let schemathesis loose on one port; returns whether all held, and its summary."""
    file = folder / f"{port}.json"
    file.write_text(json.dumps(document))
    done = subprocess.run(
        ["schemathesis", "run", str(file), "--url", f"http://127.0.0.1:{port}", "--checks", checks,
         "--max-examples", str(examples), "--no-color", "--mode", "all", *headers],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return False, done.stdout[-6000:] + done.stderr[-2000:]
    return True, done.stdout[-1500:]


def main() -> int:
    """Attack the receiver and the read API."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200, help="of each operation and phase")
    options = parser.parse_args()
    sound = True
    with tempfile.TemporaryDirectory(prefix="trackwright-http-") as made, ExitStack() as stack:
        folder = Path(made)
        url = f"sqlite:///{folder}/db/x.db"
        store = Store(url)
        migrate(store)
        store.close()
        lab = Lab(
            url,
            folder,
            stack,
            yaml=f'api: {{port: 0, token: "${{file:{folder}/token}}"}}\nweb: {{port: 0, ops_port: 0, connections_per_address: 1000}}\n',
        )
        lab.work()
        lab.order("#1001", UPS, company="UPS")
        lab.work()
        daemon = Daemon(load_text(lab.yaml), frozenset({"web"}), now=lab.clock, notifier=lab.notifier)
        daemon.connect()
        daemon.start()
        stack.callback(daemon.stop)
        assert daemon.servers is not None
        port, ops, api = daemon.servers.ports()
        metrics = {
            "openapi": "3.1.0",
            "info": {"title": "ops", "version": "1"},
            "paths": {"/metrics": {"get": {"responses": {"200": {"description": "metrics"}}}}},
        }
        proved = ("-H", "credential: hook", "-H", "dhl-hook-token: hook")
        bearer = ("-H", f"Authorization: Bearer {TOKEN}")
        alive, guarded = "not_a_server_error", "not_a_server_error,ignored_auth"
        for name, document, at, checks, headers in (
            ("receiver", receiver(), port, alive, ()),
            ("receiver, proved", receiver(), port, alive, proved),
            ("ops", metrics, ops, alive, ()),
            ("read API", openapi(), api, guarded, bearer),
            ("read API, no token", openapi(), api, alive, ()),
        ):
            held, said = attack(document, at, folder, options.examples, checks, *headers)
            sound &= held
            print(f"-- {name}: {'sound' if held else 'BROKEN'}\n{said}", flush=True)
        lab.work("ingest")
        states = {state: len(lab.rows(t.inbox, t.inbox.c.state == state)) for state in ("done", "dead", "pending")}
        print(f"stored by the way: {states}")
        sound &= any(states.values())  # else nothing that was proved got through, and only the door was tried
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())

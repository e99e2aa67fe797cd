"""`tracker check` asks its accounts side by side, and tells of them in the order of the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from cryptography.fernet import Fernet

from tests.cli.serving import serving
from tracker.cli.main import cli
from tracker.clock import system_now
from tracker.domain.budget import Calls
from tracker.store.engine import Store
from tracker.store.migrate import migrate
from tracker.store.seal import Seal
from tracker.store.tables import accounts, tokens

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

    with serving(Shop, at_once=STORES) as port:
        yield port


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


SHOPIFY = "uses: shopify, shop: s.myshopify.com, access_token: '${env:S}', webhook_secrets: '${env:S}'"
IN_CLEAR = "uses: rest, base_url: 'http://x.example.com', api_token: '${env:S}'"  # is refused before anybody is called


def many(folder: Path, count: int, entry: str = SHOPIFY) -> Path:
    """Write a configuration of so many stores."""
    file = folder / "many.yaml"
    stores = "".join(f"  s{i:04}: {{{entry}}}\n" for i in range(count))
    file.write_text(f"database: sqlite:///{folder}/x.db\nstores:\n{stores}")
    file.chmod(0o600)
    return file


def test_of_many_stores_a_summary_is_told_and_each_with_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "short")
    tmp_path.chmod(0o700)
    lengths = []
    for count in (30, 300):
        file = str(many(tmp_path, count))
        told = CliRunner().invoke(cli, ["check", "--offline", file])
        assert told.exit_code == 0, told.output
        assert f"stores: {count} ({count} shopify; {count} observe)" in told.output
        assert f"{count}, such as s0000, s0001, s0002: shopify has no word for cancelled" in told.output
        assert f"stores.*.access_token: {count}, such as s0000, s0001, s0002: a secret of fewer than" in told.output
        lengths.append(len(told.output.splitlines()))
    assert lengths[0] == lengths[1] < 40

    every = CliRunner().invoke(cli, ["check", "--offline", "--all", file]).output
    assert all(f"\n  s{i:04}: uses=shopify" in every for i in range(300))
    assert "such as s0000" not in every
    config = json.loads(CliRunner().invoke(cli, ["check", "--offline", "--json", file]).output)["config"]
    assert len(config["stores"]) == 300
    few = CliRunner().invoke(cli, ["check", "--offline", str(many(tmp_path, 20))]).output
    assert all(f"\n  s{i:04}: uses=shopify" in few for i in range(20))


def test_of_many_stores_what_is_wrong_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "a-secret-of-some-length")
    tmp_path.chmod(0o700)
    file = many(tmp_path, 25, IN_CLEAR)
    told = CliRunner().invoke(cli, ["check", str(file)])

    assert told.exit_code == 1
    wrong = [line for line in told.output.splitlines() if line.startswith("  PROBLEM s")]
    assert len(wrong) == 25
    assert f"{file}: 25 problems" in told.output
    assert "\r" not in told.output  # progress is for a terminal


def test_an_account_that_reads_files_is_asked_too_where_it_has_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canarysecret7f3a9b2c5d")
    told = {
        "me": {"faultCode": "E1", "message": "No data"},
        "wrong": {"errorCode": "E2", "errorMessage": "check delisId"},
    }

    class Dpd(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["content-length"])).decode()
            who = "me" if ">me<" in asked else "wrong"
            body = "<getAuthResponse><return><authToken>t</authToken></return></getAuthResponse>"
            if "getTrackingData" in asked or who == "wrong":
                inner = "".join(f"<{name}>{value}</{name}>" for name, value in told[who].items())
                kind = "faults" if who == "me" else "authenticationFault"
                body = f"<Fault><faultcode>s:Server</faultcode><detail><{kind}>{inner}</{kind}></detail></Fault>"
            answer = f"<Envelope><Body>{body}</Body></Envelope>".encode()
            self.send_response(500 if "Fault" in body else 200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    (tmp_path / "in").mkdir(mode=0o700)
    with serving(Dpd) as port:
        own = f"base_url: 'http://127.0.0.1:{port}', password: '${{env:SECRET}}'"
        (tmp_path / "tracker.yaml").write_text(
            f"database: sqlite:///{tmp_path}/db/x.db\nnetwork: {{allow: [127.0.0.1]}}\naccounts:\n"
            f"  both: {{uses: dpd, delis_id: me, {own}, folder: {tmp_path}/in}}\n  wrong: {{uses: dpd, delis_id: other, {own}}}\n"
            f"  nothing: {{uses: dpd}}\n  folder: {{uses: dpd, folder: {tmp_path}/in}}\n"
        )
        said = CliRunner().invoke(cli, ["check", str(tmp_path / "tracker.yaml")]).output

    assert f"both (dpd): {tmp_path}/in: fine, 0 files lie there" in said and "both (dpd): fine" in said
    assert "PROBLEM wrong (dpd): CredentialsRejected: DPD says: E2: check delisId" in said
    assert "nothing (dpd): told by files only: tracker ingest --account nothing FILE..." in said
    assert f"folder (dpd): {tmp_path}/in: fine, 0 files lie there" in said and "folder (dpd): fine" not in said


def test_a_ping_is_taken_from_the_budget_and_a_spent_one_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canarysecret7f3a9b2c5d")
    file = tmp_path / "tracker.yaml"
    file.write_text(
        f"database: sqlite:///{tmp_path}/db/x.db\nnetwork: {{allow: [127.0.0.1]}}\naccounts:\n"
        "  d: {uses: dhl, base_url: 'http://127.0.0.1:9', api_key: '${env:SECRET}', budget: {calls: 1, per: 1h}}\n"
    )
    first = CliRunner().invoke(cli, ["check", "--json", str(file)])
    assert not (tmp_path / "db").exists()  # a look makes no database, and nobody counts yet
    assert "d (dhl): not reached" in first.output
    store = Store(f"sqlite:///{tmp_path}/db/x.db")
    migrate(store)
    spent = Calls(1, timedelta(hours=1), None, system_now()).take()
    with store.write() as connection:
        connection.execute(accounts.insert().values(name="d", kind="carrier", attempts=0, spent=spent))
    store.close()

    done = CliRunner().invoke(cli, ["check", "--json", str(file)])
    told = json.loads(done.stdout)
    assert any(one.startswith("d (dhl): not asked: the account's budget is spent until ") for one in told["notes"]), (
        told
    )
    assert not any("d (dhl)" in one for one in told["problems"])


def shipper(folder: Path, more: str = "") -> Path:
    """A configuration of two accounts that use access tokens, and one that does not."""
    (folder / "tracker.yaml").write_text(
        f"database: sqlite:///{folder}/x.db\n{more}accounts:\n"
        "  ups: {uses: ups, client_id: id, client_secret: '${env:SECRET}', budget: {calls: 60, per: 1h}}\n"
        "  fedex: {uses: fedex, client_id: id, client_secret: '${env:SECRET}'}\n"
        "  dhl: {uses: dhl, api_key: '${env:SECRET}'}\n"
    )
    return folder / "tracker.yaml"


def test_check_says_what_it_costs_that_access_tokens_are_not_shared(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "a-secret-of-a-shop")
    said = CliRunner().invoke(cli, ["check", str(shipper(tmp_path)), "--offline"])
    assert said.exit_code == 0
    assert (
        "no vault_key: each process, and each start of one, asks for its own access token of ups (6 a day and process, out of its 60 calls in 1h)"
        in said.output
    )
    assert (
        "access token of fedex (24 a day and process, out of its 1400 calls in 10s); with one it is asked for once for all"
        in said.output
    )
    assert "token of dhl" not in said.output

    monkeypatch.setenv("KEY", Fernet.generate_key().decode())
    file = shipper(tmp_path, "vault_key: '${env:KEY}'\n")
    assert "access token" not in CliRunner().invoke(cli, ["check", str(file), "--offline"]).output


def test_check_tells_which_tokens_another_vault_key_wrote(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "a-secret-of-a-shop")
    monkeypatch.setenv("KEY", Fernet.generate_key().decode())
    store = Store(f"sqlite:///{tmp_path}/x.db")
    migrate(store)
    with store.write() as connection:
        kept = Seal(Fernet.generate_key().decode()).close("canary")
        connection.execute(tokens.insert().values(account="ups", value=kept, again=False, attempts=1))
        mine = Seal(os.environ["KEY"]).close("canary")
        connection.execute(tokens.insert().values(account="fedex", value=mine, again=False, attempts=1))
    store.close()

    said = CliRunner().invoke(cli, ["check", str(shipper(tmp_path, "vault_key: '${env:KEY}'\n"))]).output
    assert "ups: the token that is kept was written with another vault_key: it is asked anew" in said
    assert "fedex: the token" not in said


def test_check_asks_with_the_refresh_token_that_is_kept_and_keeps_the_next_one(tmp_path: Path, monkeypatch) -> None:
    """It used that of the file, which rotation had spent."""
    asked: list[str] = []

    class Shop(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = {"data": {"shop": {"name": "x"}}}
            if self.path.endswith("/access_token"):
                asked.append(body["refresh_token"])
                answer = {"access_token": "t", "expires_in": 86399, "refresh_token": "r2"}
            said = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            return

    monkeypatch.setenv("SECRET", "a-secret-of-a-shop")
    monkeypatch.setenv("KEY", Fernet.generate_key().decode())
    seal = Seal(os.environ["KEY"])
    store = Store(f"sqlite:///{tmp_path}/x.db")
    migrate(store)
    with store.write() as connection:
        connection.execute(accounts.insert().values(name="shop", kind="store", attempts=0, token=seal.close("r1")))
    with serving(Shop) as port:
        (tmp_path / "tracker.yaml").write_text(
            f"database: sqlite:///{tmp_path}/x.db\nnetwork: {{allow: [127.0.0.1]}}\nvault_key: '${{env:KEY}}'\nstores:\n  shop: "
            f"{{uses: shopify, shop: x.myshopify.com, base_url: 'http://127.0.0.1:{port}', client_id: id, "
            "client_secret: '${env:SECRET}', refresh_token: '${env:SECRET}'}\n"
        )
        done = [CliRunner().invoke(cli, ["check", str(tmp_path / "tracker.yaml")]) for _ in range(2)]

    assert ["shop (shopify): fine" in one.output for one in done] == [True, True], done[0].output
    assert asked == ["r1"], "the second check has the access token that is kept"
    with store.read() as connection:
        assert seal.open(connection.execute(sa.select(accounts.c.token)).scalar_one()) == "r2"
    store.close()

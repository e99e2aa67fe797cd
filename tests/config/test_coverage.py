"""What is covered is one table: how news of each carrier comes by each account, what is read and written of each store, what is missing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tracker.app.daemon import Daemon
from tracker.app.telemetry import logs_to
from tracker.cli.main import cli
from tracker.config.coverage import FEW, coverage, together
from tracker.config.load import load_text
from tracker.plugin.contracts import Carrier

FILE = """
accounts:
  silent: {uses: dhl, api_key: '${env:SECRET}', callback_url: https://t.example/webhooks/silent}
  pushed: {uses: dhl, api_key: '${env:SECRET}', callback_url: https://t.example/w, webhook_secrets: '${env:SECRET}', webhook_token: '${env:TOKEN}'}
  many: {uses: easypost, api_key: '${env:SECRET}', webhook_secrets: '${env:SECRET}', tracks: [usps, royalmail]}
  any: {uses: easypost, api_key: '${env:SECRET}'}
  polled: {uses: fedex, client_id: x, client_secret: '${env:SECRET}', budget: {side_by_side: 3}}
  asked: {uses: purolator, key: '${env:SECRET}', password: '${env:SECRET}'}
  filed: {uses: csv, carrier: dpd, columns: {number: No, code: Status, time: At}, folder: {path: /var/spool/dpd}}
stores:
  looks: {uses: shopify, shop: s.myshopify.com, access_token: '${env:SECRET}', webhook_secrets: '${env:SECRET}'}
  shows: {uses: shopify, shop: s.myshopify.com, access_token: '${env:SECRET}', webhook_secrets: '${env:SECRET}', mode: write, sweep_every: 1h}
  sets: {uses: rest, base_url: 'https://x.example', api_token: '${env:SECRET}', mode: write, policy: {preset: kingston-courier}}
  held: {uses: rest, base_url: 'https://x.example', api_token: '${env:SECRET}', mode: write, writes_per_hour: 0}
  keyed: {uses: bigcommerce, store_hash: x, access_token: '${env:SECRET}', hook_key: '${env:SECRET}', require_signature: false}
  idle: {uses: bigcommerce, store_hash: x, access_token: '${env:SECRET}', mode: write, hook_key: '${env:SECRET}'}
"""
ACCOUNTS = [  # carrier, account, poll, push, signed, limit
    ("dhl", "silent", "by number", "none: webhook_secrets unset; polls only", "", "250 calls in 1d"),
    ("dhl", "pushed", "by number", "yes", "unsigned: address token", "250 calls in 1d"),
    ("usps", "many", "by number", "yes", "signed", "none stated"),
    ("royalmail", "many", "by number", "yes", "signed", "none stated"),
    ("any", "any", "by number", "none: webhook_secrets unset; polls only", "", "none stated"),
    ("fedex", "polled", "by number (30 a call)", "none: webhook_secrets unset; polls only", "", "1,400 calls in 10s, 3 side by side"),
    ("purolator", "asked", "by number (10 a call)", "none: polls only", "", "none stated"),
    ("dpd", "filed", "files of its folder", "none: files only", "", "none stated"),
]  # fmt: skip
STORES = [  # store, reads, hooks, writes
    ("looks", "sweep every 10m, order by id", "signed", "none (observe)"),
    ("shows", "sweep every 1h, order by id", "signed", "shipping status, notes, corrected numbers"),
    ("sets", "sweep every 10m, order by id", "none: webhook_secrets unset; sweeps only", "order status (delivered, shipped), notes"),
    ("held", "sweep every 10m, order by id", "none: webhook_secrets unset; sweeps only", "none (writes_per_hour is 0)"),
    ("keyed", "sweep every 10m, order by id", "unsigned: address token", "none (observe)"),
    ("idle", "sweep every 10m, order by id", "none: webhook_secrets unset; sweeps only", "notes, corrected numbers"),
]  # fmt: skip
COLUMNS = {
    "accounts": ("carrier", "account", "poll", "push", "signed", "limit"),
    "stores": ("store", "reads", "hooks", "writes"),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write the configuration where nobody else can look."""
    tmp_path.chmod(0o700)
    path = tmp_path / "tracker.yaml"
    path.write_text(f"database: sqlite:///{tmp_path}/x.db\n{FILE}")
    path.chmod(0o600)
    return path


def test_each_carrier_and_account_and_each_store_says_what_it_does_and_what_is_missing() -> None:
    covered = coverage(load_text(FILE))

    assert [tuple(row[column] for column in COLUMNS["accounts"]) for row in covered["accounts"]] == ACCOUNTS
    assert [tuple(row[column] for column in COLUMNS["stores"]) for row in covered["stores"]] == STORES


def test_an_account_that_is_fed_by_files_alone_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_text("accounts: {f: {uses: purolator, key: '${env:SECRET}', password: '${env:SECRET}'}}")
    source = config.accounts["f"].source
    assert isinstance(source, Carrier)
    monkeypatch.setattr(type(source), "asks", frozenset())

    [row] = coverage(config)["accounts"]
    assert (row["poll"], row["push"]) == ("no", "none: files only")


def test_check_prints_the_table_and_its_json_holds_it_without_a_secret(file: Path) -> None:
    shown = CliRunner().invoke(cli, ["check", "--offline", str(file)])
    told = json.loads(CliRunner().invoke(cli, ["check", "--offline", "--json", str(file)]).output)["coverage"]

    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    for title, rows in (("coverage of accounts", ACCOUNTS), ("coverage of stores", STORES)):
        begins = lines.index(title)
        assert lines[begins + 1] == " ".join(COLUMNS[title.rpartition(" ")[2]])
        assert lines[begins + 2 : begins + 2 + len(rows)] == [" ".join(value or "-" for value in row) for row in rows]
    assert [row["account"] for row in told["accounts"]] == [row[1] for row in ACCOUNTS]
    assert [row["writes"] for row in told["stores"]] == [row[3] for row in STORES]
    assert "t.example" not in json.dumps(told)
    assert told["side_effects"] == []  # their policies write nothing that does more
    assert "what writes do beside" not in shown.output


def test_a_start_logs_a_line_each(file: Path) -> None:
    written = io.StringIO()
    with logs_to(written):
        daemon = Daemon(load_text(file.read_text()), frozenset({"scheduler"}))
        daemon.connect()
        try:
            daemon.start()
        finally:
            daemon.stop()

    logs = [json.loads(line) for line in written.getvalue().splitlines()]
    accounts = [line for line in logs if line["event"] == "account_covered"]
    stores = [line for line in logs if line["event"] == "store_covered"]
    assert [tuple(line[column] for column in COLUMNS["accounts"]) for line in accounts] == ACCOUNTS
    assert [tuple(line[column] for column in COLUMNS["stores"]) for line in stores] == STORES


def test_a_start_in_which_nothing_is_configured_says_so(tmp_path: Path) -> None:
    written = io.StringIO()
    with logs_to(written):
        daemon = Daemon(load_text(f"database: sqlite:///{tmp_path}/x.db\n"), frozenset({"scheduler"}))
        daemon.connect()
        try:
            daemon.start()
        finally:
            daemon.stop()

    assert [
        line["level"]
        for line in map(json.loads, written.getvalue().splitlines())
        if line["event"] == "nothing_configured"
    ] == ["warning"]


def test_of_thousands_of_stores_alike_ones_are_one_line_and_a_few_are_a_line_each() -> None:
    rows = [{"store": f"s{i:04}", "hooks": "signed", "writes": "none (observe)"} for i in range(2_000)]
    rows[7] = {**rows[7], "writes": "notes"}

    assert list(together(rows, "store")) == [
        {"store": "s0000, s0001, s0002 and 1,996 more", "hooks": "signed", "writes": "none (observe)"},
        {"store": "s0007", "hooks": "signed", "writes": "notes"},
    ]
    assert list(together(rows[:FEW], "store")) == rows[:FEW]

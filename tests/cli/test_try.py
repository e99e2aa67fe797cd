"""`tracker try`: what a sample is read as, and what of it was not read. The installed command, as people start it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.plugins.test_easypost import signed
from tracker.cli.main import cli, main

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
TRACKER = Path(sys.executable).with_name("tracker")
CONFIG = """
database: postgresql://nobody@127.0.0.1:1/x
brocker: wrong
accounts:
  puro: {uses: purolator, key: "${env:TRIED}", password: "${env:TRIED}", codes: {"ScanType/Weighing": {status: in_transit}}}
  ups: {uses: ups, client_id: x, client_secret: "${env:TRIED}"}
  easypost: {uses: easypost, api_key: "${env:TRIED}", webhook_secrets: ["${env:TRIED_NEW}", "${env:TRIED}"]}
  postnl: {uses: postnl, api_key: "${env:TRIED}", customer_number: "1"}
  usps: {uses: usps, client_id: x, client_secret: "${env:TRIED}", webhook_secrets: "${env:TRIED}"}
  dpd: {uses: csv, carrier: dpd, columns: {number: PARCELNO, code: SCAN_CODE, time: AT}}
  no_secret: {uses: fedex, client_id: x, client_secret: "${env:NOWHERE}"}
  nobody: {uses: nobody}
stores:
  shop: {uses: shopify, shop: a.myshopify.com, access_token: "${env:TRIED}"}
  rest: {uses: rest, base_url: https://x.example, api_key: "${env:TRIED}", carriers: {Our van: ups}}
"""
SECRET = "canary-of-some-length-0123456789"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tracker.yaml").write_text(CONFIG)
    (tmp_path / "tracker.yaml").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIED", SECRET)
    monkeypatch.setenv("TRIED_NEW", "new-secret-0123456789abcdef")
    monkeypatch.delenv("TRACKER_CONFIG", raising=False)
    return tmp_path


def run(account: str, *words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["try", "--account", account, *map(str, words)])


def told(account: str, *words: str | Path) -> dict:
    return json.loads(run(account, "--json", *words).output)


def test_a_sample_is_read_with_the_words_of_its_account_whatever_is_wrong_elsewhere(folder: Path) -> None:
    done = subprocess.run(
        [TRACKER, "try", "--account", "puro", FIXTURES / "purolator" / "several.poll.xml"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (1, "")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[0] == "puro (purolator), read as poll"
    assert "purolator 329014521622: tracking active, proof: signed" in lines
    assert (
        "ScanType/OnDelivery out_for_delivery/on_vehicle 2022-01-28 08:37 2022-01-28 15:37 by_place CALGARY, AB, CA On vehicle for delivery"
        in lines
    )
    assert (
        "purolator KYV009956937: tracking not_found, it says: 2300003: No scanning details available; no scan" in lines
    )
    assert (
        "ScanType/Weighing in_transit/- 2022-01-27 2022-01-27 04:00 by_place HALIFAX, NS, CA Weighed" in lines
    )  # `codes:` of the account
    assert [line for line in lines if line.startswith("UNKNOWN")] == [
        "UNKNOWN: Undeliverable/a problem that nobody documents has no meaning: it moves nothing until `codes:` of puro gives it one"
    ]
    assert not (folder / "var").exists()
    assert SECRET not in done.stdout


def test_a_sample_of_which_all_is_read_and_known_ends_with_0(folder: Path) -> None:
    done = run("ups", FIXTURES / "ups" / "delivered-without-gmt.poll.json")

    assert done.exit_code == 0
    assert "assumed (America/New_York)" in done.output or "by_place" in done.output


def test_each_piece_that_was_not_read_is_told_with_its_path(folder: Path) -> None:
    body = (FIXTURES / "purolator" / "pins-three.poll.xml").read_text().replace("2026-03-04", "soon", 1)
    (folder / "odd.xml").write_text(body)
    done = run("puro", "odd.xml")
    said = told("puro", "odd.xml")

    assert done.exit_code == 1
    (left,) = said["unread"]
    assert left["where"].endswith(".TrackingInformation[0].Scans.Scan[0].ScanDate")
    assert (left["subject"], left["problem"]) == ("329014521622", "is no ISO 8601 date and time: 'soon'")
    assert "not read" in done.output
    assert "is no ISO 8601 date and time" in done.output
    scan = said["reports"][0]["scans"][0]
    assert (scan["local"], scan["at"], scan["zone"]) == (None, None, "unknown")


def test_json_tells_what_the_table_tells(folder: Path) -> None:
    said = told("puro", FIXTURES / "purolator" / "several.poll.xml")

    assert (said["account"], said["uses"], said["kind"]) == ("puro", "purolator", "poll")
    assert [one["tracking"] for one in said["reports"]][:3] == ["active", "not_found", "error"]
    assert said["reports"][0]["scans"][0] == {
        "code": "ScanType/Delivery", "means": "delivered/delivered", "text": "Shipment delivered to", "local": "2022-01-28T13:01:15",
        "at": "2022-01-28T20:01:15Z", "zone": "assumed", "precision": "second", "place": "", "leg": "outbound",
    }  # fmt: skip
    assert said["unknown"] == ["Undeliverable/a problem that nobody documents"]


def test_orders_are_told_with_their_facts(folder: Path) -> None:
    sample = next(f for f in sorted((FIXTURES / "shopify").glob("*-three.*.json")) if "expected" not in f.name)
    done = run("shop", sample)

    assert done.exit_code == 0
    assert "order #1001: shipped (FULFILLED), payment paid (PAID)" in done.output
    assert "parcels: dhl 3318810025; shown: DELIVERED" in done.output
    assert told("shop", sample)["orders"][0]["fulfilments"][0]["parcels"][0]["carrier"] == "ups"


def test_a_status_that_nobody_knows_is_unknown_of_orders_too(folder: Path) -> None:
    sample = next(f for f in sorted((FIXTURES / "shopify").glob("*-three.*.json")) if "expected" not in f.name)
    (folder / "odd.json").write_text(sample.read_text().replace('"FULFILLED"', '"TELEPORTED"'))
    done = run("shop", "odd.json")

    assert done.exit_code == 1
    assert "UNKNOWN: order status 'TELEPORTED' has no meaning: it moves nothing\n" in done.output


def test_a_webhook_is_a_notice_of_a_shop(folder: Path) -> None:
    sample = next(f for f in sorted((FIXTURES / "shopify").glob("*.webhook.json")) if "expected" not in f.name)
    done = run("shop", sample)

    assert "read as webhook" in done.output  # its name says so
    assert "notice: order " in done.output


def test_headers_are_verified_where_they_are_given_and_only_then(folder: Path) -> None:
    sample = next(f for f in sorted((FIXTURES / "easypost").glob("*.webhook.json")) if "expected" not in f.name)
    headers = signed(sample.read_bytes())  # by new-secret-...
    given = [word for name, value in headers.items() for word in ("--header", f"{name.title()}: {value}")]

    assert "proof" not in told("easypost", sample)
    assert told("easypost", sample, *given)["proof"] == "the newest of webhook_secrets"
    done = run("easypost", sample, "--header", "X-Hmac-Signature:junk")
    assert done.exit_code == 1
    assert "proved by: none: header x-hmac-signature does not match" in done.output
    assert run("easypost", sample, "--header", "junk").exit_code == 2


def test_several_files_are_the_parts_of_one_payload(folder: Path) -> None:
    for part in ("a", "b"):
        (folder / f"{part}.json").write_text("{}")
    (folder / "a.json").write_text((FIXTURES / "ups" / "delivered-without-gmt.poll.json").read_text())

    assert run("ups", "a.json", "b.json").exit_code == 0  # UPS answers in one part


def test_a_file_is_read_in_the_pieces_that_its_plugin_cuts_it_into(folder: Path) -> None:
    example = (ROOT / "deploy" / "examples" / "dpd-files.yaml").read_text()
    (folder / "tracker.yaml").write_text(example)
    said = told("dpd", FIXTURES / "csv" / "statusdata-odd-lines.file.csv")

    assert said["kind"] == "file"
    assert [one["where"] for one in said["unread"]] == ["$[3].EVENT_DATE_TIME", "$[4]", "$[5].PARCELNO"]
    assert said["reports"][0]["scans"][0]["zone"] == "assumed (Europe/Brussels)"  # which the entry says


def test_an_account_that_asks_and_reads_files_has_its_sample_taken_for_what_its_ending_says(folder: Path) -> None:
    settings = '{uses: dpd, delis_id: me, password: "${env:TRIED}"}'
    (folder / "tracker.yaml").write_text(f"accounts:\n  both: {settings}\n  files: {{uses: dpd}}\n")
    for source, name in (
        ("ahead.poll.xml", "a.xml"),
        ("scaninfo-three.file.csv", "SCANINFO_1"),
        ("scaninfo-three.file.csv", "b.xml"),
    ):
        (folder / name).write_bytes((FIXTURES / "dpd" / source).read_bytes())

    kinds = [
        told(account, name)["kind"] for account, name in (("both", "a.xml"), ("both", "SCANINFO_1"), ("files", "b.xml"))
    ]
    assert kinds == ["poll", "file", "file"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["nowhere", "ok.json"],
            "no account or store 'nowhere': puro, ups, easypost, postnl, usps, dpd, no_secret, nobody, shop, rest",
        ),
        (["puro", "none.json"], "'none.json' does not exist"),
        (["puro", "."], "'.' is a directory"),
        (["puro", "empty.xml"], "nothing of it can be read: $: not XML"),
        (["puro", "ok.json"], "nothing of it can be read: $: not XML"),
        (["ups", "empty.xml"], "nothing of it can be read: $: not JSON"),
        (["ups", "error.json"], "; as an answer it is an error: "),
        (["no_secret", "ok.json"], "NOWHERE"),
        (["nobody", "ok.json"], "nobody"),
        (["puro", "ok.json", "--as", "rumour"], "'rumour' is not one of"),
        (["puro", "ok.json", "-c", "none.yaml"], "`tracker init` writes a first one"),
        (["puro", "ok.json", "-c", "list.yaml"], "must be a mapping of sections"),
        (["puro"], "Missing argument 'FILE...'"),
    ],
)
def test_what_is_not_usable_ends_with_2_and_says_why(
    folder: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.xml").write_text("")
    (folder / "ok.json").write_text("{}")
    (folder / "error.json").write_text('{"response": {"errors": [{"code": "250003", "message": "no"}]}}')
    (folder / "list.yaml").write_text("[]")
    monkeypatch.setattr(sys, "argv", ["tracker", "try", "--account", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()

    assert (ended.value.code, told.out) == (2, "")
    assert said in told.err
    assert SECRET not in told.err


def test_a_plugin_that_fails_is_told_with_the_place_and_without_what_it_carries(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import carriers.ups

    monkeypatch.setattr(carriers.ups, "decode", lambda body: {}[body])
    (folder / "ok.json").write_text('{"name": "J. Doe"}')
    done = run("ups", "ok.json")

    assert done.exit_code == 2
    assert "the plugin fails on it: KeyError at carriers/ups.py:" in done.output
    assert "Doe" not in done.output
    assert "Usage:" not in done.output


def process(account: str, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [TRACKER, "try", "--account", account, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_sample_that_is_read_as_nothing_ends_with_1_and_says_what_it_is_taken_for(folder: Path) -> None:
    (folder / "no.poll.json").write_text(
        '{"CompleteStatus": {}, "Warnings": [{"Code": "2", "Message": "No shipment found"}]}'
    )
    (folder / "empty.csv").write_text("PARCELNO;SCAN_CODE;AT\n")
    nothing = "it says nothing: no scan, no order, no notice, and nothing was left unread"

    code, said = process("postnl", "no.poll.json")
    assert code == 1
    assert f"{nothing}; as an answer it is no error: not found: No shipment found" in " ".join(said.split())
    assert "not found" in json.loads(process("postnl", "no.poll.json", "--json")[1])["nothing"]
    code, said = process("dpd", "empty.csv")
    assert (code, nothing in said) == (1, True)


def test_a_handshake_is_told_as_one_and_ends_with_0(folder: Path) -> None:
    (folder / "hello.webhook.json").write_text('{"challenge": "abc"}')
    code, said = process("usps", "hello.webhook.json")
    assert (code, "it is a handshake" in said) == (0, True)


def test_a_line_whose_number_a_spreadsheet_rounded_is_told_and_ends_with_1(folder: Path) -> None:
    (folder / "spoilt.csv").write_text(
        "PARCELNO;SCAN_CODE;AT\n1.23457E+13;13;2026-11-26T13:45:09Z\n05301000000017;13;2026-11-26T13:45:09Z\n"
    )
    code, said = process("dpd", "spoilt.csv")
    assert (code, said.count("tracking active")) == (1, 1)
    assert "is a number that a spreadsheet rounded" in " ".join(said.split())

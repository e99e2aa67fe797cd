"""The commands, on a small installation."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from tests.lab import DHL, START, UPS, USPS, H, Lab
from tracker.cli import main as main_
from tracker.cli.common import cell, masked_output, print_json, show_table
from tracker.config.load import load_config
from tracker.domain.errors import ConfigError, TrackerError
from tracker.domain.masking import Hidden
from tracker.store import tables as t

Run = Callable[..., Result]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An order in transit, one cancelled, an unknown code, a payload that cannot be read, a loose parcel."""
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack)
        (tmp_path / "tracker.yaml").write_text(made.yaml)
        made.work()
        made.order("#1001", UPS, company="UPS")
        made.order("#1002", USPS)
        made.order("#1003", DHL, company="DHL")
        made.work()
        made.scan(made.ups, UPS, "I", "038", text="Picked up [bold]")
        made.scan(made.ups, UPS, "I", "999", hours=1)
        made.scan(made.easypost, USPS, "in_transit", "departed_facility")
        made.later(7)
        made.shop.set("#1002", cancelledAt="2026-11-02T15:00:00Z")
        made.post_raw("easypost", b"{broken")
        made.work()
        yield made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracker.cli.common.system_now", lambda: START + 8 * H)

    def invoke(*words: str, **more: Any) -> Result:
        return CliRunner().invoke(main_.cli, list(words), **more)

    return invoke


def ok(result: Result) -> str:
    assert result.exit_code == 0, f"{result.output} {result.exception!r}"
    return result.output


def test_every_command_explains_itself(run: Run) -> None:
    names = main_.cli.list_commands(click.Context(main_.cli))
    assert {"up", "show", "codes", "demo"} <= set(names)
    listed = ok(run("--help"))
    for name in names:
        assert len(ok(run(name, "--help"))) > 60, name
        assert f"\n  {name} " in listed
    assert "No such command 'shwo'" in run("shwo").output


def test_the_first_steps_stand_in_lines_of_their_own(run: Run) -> None:
    lines = [line.split() for line in ok(run("--help")).splitlines()]

    assert ["First", "steps:", "tracker", "demo", "see", "it", "work,", "on", "local", "servers"] in lines
    assert ["tracker", "up", "run", "everything", "in", "one", "process"] in lines


def test_show_and_explain_tell_where_an_order_stands_and_why(run: Run, lab: Lab) -> None:
    shown = ok(run("show", "1001"))
    for words in (
        "order #1001 at shop",
        "parcel ups",
        "picked_up",
        "status/038",
        "Picked up [bold]",
        "unmapped_code",
        "sent",
        "RENO",
    ):
        assert words in shown, words
    assert "in_step" in ok(run("explain", "#1001"))
    assert "human_wins" in ok(run("explain", USPS))

    told = json.loads(ok(run("explain", "1001", "--json")))
    assert told["orders"][0]["now"]["mode"] == "write"
    assert told["orders"][0]["versions"]
    assert (
        json.loads(ok(run("show", DHL, "--json")))["orders"][0]["parcels"][0]["watched_by"][0]["state"] == "not_found"
    )


def test_what_is_not_known_says_so(run: Run, lab: Lab) -> None:
    result = run("show", "1Z5R89390357567127")

    assert isinstance(result.exception, TrackerError)
    assert "could be of ups" in str(result.exception)


def test_a_parcel_without_an_order_is_shown_apart(run: Run, lab: Lab) -> None:
    from tests.lab import detail, tracker_body

    lab.post_raw("easypost", tracker_body("9400111206206406261005", detail("in_transit", "2026-11-02T08:00:00Z")))
    lab.work()

    assert "parcel without an order" in ok(run("show", "9400111206206406261005"))


def test_lists_read_at_a_glance_and_as_json(run: Run, lab: Lab) -> None:
    assert "cancelled_but_moving" in ok(run("findings"))
    assert json.loads(ok(run("findings", "--closed", "--json")))
    lab.change(t.findings.update().values(digest=True))
    assert "of what happened before its store was connected" in ok(run("findings"))
    assert "cancelled_but_moving" in ok(run("findings", "--digest"))
    assert "status/999" in ok(run("codes"))
    assert json.loads(ok(run("codes", "--json")))[0]["code"] == "999"
    assert "bad_payload: $: not JSON" in ok(run("inbox", "--state", "dead"))
    assert json.loads(ok(run("inbox", "--json", "--account", "ups", "--limit", "1")))
    assert "sent" in ok(run("outbox"))
    assert json.loads(ok(run("outbox", "--json", "--state", "sent")))
    assert ok(run("outbox", "--state", "dead")).strip() == "no such write"
    assert ok(run("inbox", "--account", "ups", "--state", "dead")).strip() == "no such payload"
    assert run("inbox", "--account", "nobody").exit_code == 2  # a typo is not "nothing came"
    plugins = {row["plugin"]: row for row in json.loads(ok(run("plugins", "--json")))}
    assert plugins["ups"]["trust"] == "shared"
    assert "easypost" in ok(run("plugins"))
    assert (plugins["easypost"]["vocabulary"], plugins["ups"]["carriers"], plugins["bigcommerce"]["makes_hooks"]) == (
        ["easypost"],
        ["ups"],
        True,
    )
    assert {"items", "ships to"} <= {*plugins["bigcommerce"]["reads"]} and "owner" not in plugins["rest"]["reads"]
    assert plugins["rest"]["writes"] == ["order status", "notes"]
    assert plugins["ups"]["reads"] is plugins["ups"]["writes"] is None
    assert "usps: unverified: how its pushes are asked for and proved" in ok(run("plugins"))
    called = json.loads(ok(run("plugins", "--words", "--json")))
    assert {"carrier": "royalmail", "said_by": "everybody", "word": "Royal Mail"}.items() <= next(
        w for w in called if w["carrier"] == "royalmail"
    ).items()
    assert "DHLExpress" in ok(run("plugins", "--words"))


def test_payloads_that_were_partly_read_are_listed_a_line_a_piece(run: Run, lab: Lab) -> None:
    assert ok(run("inbox", "--partly")).strip() == "every payload was read whole"
    here = lab.rows(t.inbox, t.inbox.c.account == "ups")[-1].id
    pieces = [["$.a[0].eta", "is no date: 'Pending'", UPS], ["...", "and 7 more", ""]]
    lab.change(t.inbox.update().where(t.inbox.c.id == here).values(unread=pieces))

    lines = ok(run("inbox", "--partly")).splitlines()
    assert [line.split()[0] for line in lines if "ups" in line] == [str(here)] * 2
    assert all(word in lines[2] for word in ("$.a[0].eta", "is no date: 'Pending'", UPS))
    assert "and 7 more" in lines[3]
    (row,) = json.loads(ok(run("inbox", "--partly", "--json", "--account", "ups")))
    assert row["unread"][0] == {"path": "$.a[0].eta", "problem": "is no date: 'Pending'", "subject": UPS}
    assert ok(run("inbox", "--partly", "--state", "dead")).strip() == "every payload was read whole"
    assert "1 payloads are due again" in ok(run("replay", "--partly", "--account", "ups", "--yes"))
    assert "0 payloads are due again" in ok(run("replay", "--partly", "--account", "dhl"))


def test_the_bytes_of_a_payload_can_be_seen(run: Run, lab: Lab) -> None:
    dead = lab.one(t.inbox, t.inbox.c.state == "dead")

    assert ok(run("inbox", "--body", str(dead.id))) == "{broken"
    assert isinstance(run("inbox", "--body", "99999").exception, TrackerError)


def test_pause_and_resume(run: Run, lab: Lab) -> None:
    assert "paused: shop" in ok(run("pause"))
    assert lab.one(t.accounts, t.accounts.c.name == "shop").paused_at is not None
    assert "resumed: shop" in ok(run("resume", "shop"))
    assert lab.one(t.accounts, t.accounts.c.name == "shop").paused_at is None
    Path("tracker.yaml").write_text(lab.yaml.replace("  shop: {uses", "  next: {uses"))  # and no reload yet
    said = ok(run("pause"))
    assert said.startswith("paused: shop;") and "not paused: next: not started yet; once it is" in said
    assert lab.one(t.accounts, t.accounts.c.name == "shop").paused_at is not None
    assert "resumed: shop" in ok(run("resume", "shop"))
    assert "paused: shop" in ok(run("pause", "shop"))
    assert (run("pause", "next").exit_code, "nothing to pause" in run("pause", "next").output) == (2, True)
    told = run("status", "--store", "shop")
    assert (told.exit_code, told.output.splitlines()[0][:53]) == (
        1,
        "WRONG, 2 things; first: shop is not in the configurat",
    )
    said = ok(run("explain", "1002"))
    assert (
        "The shop (shop) said that order #1002 was cancelled (" in said
        and f"The carrier says that usps {USPS} is in transit" in said
    )
    unknown = run("pause", "x")
    assert (unknown.exit_code, "no store or account 'x': ups, dhl" in unknown.output) == (2, True)


def test_replay_remap_and_heal_mark_rows(run: Run, lab: Lab) -> None:
    assert "1 payloads are due again" in ok(run("replay", "--state", "dead", "--yes"))
    assert run("replay").exit_code == 2
    assert "1 parcels are read again" in ok(run("remap", "ups", "--code", "status/999"))
    assert run("remap", "ups", "--code", "999").exit_code == 2
    assert run("remap", "nobody").exit_code == 2
    assert "1 stores and feeds will be swept now" in ok(run("heal"))
    assert "orders of shop" in ok(run("heal", "--backfill", "shop"))


def test_what_was_asked_for_by_id_and_not_there_ends_with_1(run: Run, lab: Lab) -> None:
    for words in (
        ["dismiss", "99999", "--reason", "x"],
        ["snooze", "99999"],
        ["replay", "99999"],
        ["outbox", "retry", "99999"],
    ):
        assert run(*words).exit_code == 1, words


def test_of_a_store_that_nobody_knows_nothing_is_fine(run: Run, lab: Lab) -> None:
    for words in (["drift"], ["findings"], ["stuck"], ["checkouts"], ["outbox"], ["outbox", "retry", "--all"]):
        unknown = run(*words, "--store", "nobody")
        assert (unknown.exit_code, "no store 'nobody': shop" in unknown.output) == (2, True), words


def test_migrate_says_what_it_did(run: Run, lab: Lab) -> None:
    assert ok(run("migrate")).strip() == "already at 0011"
    assert ok(run("migrate", "--show")).strip() == "0011"
    lab.change(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    told = "already at 0999, made by a newer version: this one has 0011, and works on it"
    assert ok(run("migrate")).strip() == told


def test_check_pings_everything_and_masks_secrets(run: Run, lab: Lab) -> None:
    shown = ok(run("check", "tracker.yaml"))
    for words in (
        "ups (ups): fine",
        "dhl (dhl): fine",
        "easypost (easypost): fine",
        "shop (shopify): fine",
        "fine",
        "127.0.0.1 may be private",
    ):
        assert words in shown, words
    assert "hook" not in shown.replace("webhook", "").replace("DHL-Hook", "").replace("hooks", "")

    lab.shop.key = "other"
    result = run("check")
    assert result.exit_code == 1
    assert "PROBLEM shop (shopify): CredentialsRejected" in result.output
    assert json.loads(run("check", "--json").output)["problems"]
    assert "has no word for" in ok(run("check", "--offline"))


def test_check_previews_the_first_writes_of_a_store_that_may_write_now(run: Run, tmp_path: Path) -> None:
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{tmp_path}/db/x.db", tmp_path, stack, store="mode: observe")
        made.work()
        made.order("#1001", USPS)
        made.work()
        made.scan(made.easypost, USPS, "in_transit", "departed_facility")
        made.later(7)
        (tmp_path / "tracker.yaml").write_text(made.yaml.replace("mode: observe", "mode: write"))
        shown = ok(run("check"))

        assert "shop would write 1 things first" in shown
        assert "order #1001: in_transit" in shown
        assert made.writes() == []


def test_check_says_what_is_wrong_with_database_and_broker(run: Run, lab: Lab, tmp_path: Path) -> None:
    text = lab.yaml.replace(f"sqlite:///{tmp_path}/db/x.db", "postgresql://nobody@127.0.0.1:1/x")
    (tmp_path / "tracker.yaml").write_text(text + "broker: redis://127.0.0.1:1/0\n")
    report = json.loads(run("check", "--json").output)

    assert any(p.startswith("database postgresql") for p in report["problems"])
    assert any(p.startswith("broker 127.0.0.1") for p in report["problems"])


def test_check_tells_files_that_others_can_read_and_secrets_that_are_none(run: Run, lab: Lab, tmp_path: Path) -> None:
    assert "PROBLEM" not in run("check", "--offline").output
    (tmp_path / "db" / "x.db").chmod(0o644)
    (tmp_path / "db").chmod(0o755)
    told = run("check", "--offline")
    assert told.exit_code == 1
    assert f"PROBLEM {tmp_path}/db/x.db can be read or changed by others: chmod 600" in told.output
    assert f"  the folder {tmp_path}/db can be looked into by others: chmod 700" in told.output

    (tmp_path / "tracker.yaml").write_text(
        lab.yaml.replace("client_id: id", 'client_id: "${file:hook}"')
        + "notices: {alert_url: 'https://u:geheim@alerts.example/x'}\n"
    )
    notes = json.loads(run("check", "--offline", "--json").output)["notes"]
    assert "accounts.ups.client_id: comes from a reference, so it is masked wherever it would be shown" in notes
    assert (
        "accounts.ups.client_secret: a secret of fewer than 8 characters can be guessed, and is not masked inside a longer word"
        in notes
    )
    assert "notices.alert_url: holds a password in clear: let the whole URL be ${env:NAME} or ${file:PATH}" in notes


@pytest.mark.parametrize("text", ["", "# later\n", "{}", "accounts: {}\nstores: {}\n", "database: sqlite:///x.db\n"])
def test_check_of_a_file_in_which_nothing_is_configured_is_a_problem(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "tracker.yaml").write_text(text)
    (tmp_path / "tracker.yaml").chmod(0o600)
    told = run("check", "--offline")

    assert told.exit_code == 1
    assert "PROBLEM nothing is configured: no carrier account and no store, so nothing would be tracked" in told.output
    assert "tracker.yaml: 1 problem\n" in told.output
    assert json.loads(run("check", "--offline", "--json").output)["problems"] == [
        "nothing is configured: no carrier account and no store, so nothing would be tracked"
    ]


def test_the_exit_codes_of_a_command_stand_in_lines_of_its_help(run: Run) -> None:
    assert ok(run("check", "--help")).endswith(
        "Exit codes:\n    0  fine\n    1  problems, each listed; a database that is away is one\n    2  wrong configuration or usage\n"
    )
    assert [line for line in ok(run("--help", terminal_width=80)).splitlines() if len(line) > 80] == []


def test_check_of_a_new_database_says_that_it_will_be_made(run: Run, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "tracker.yaml").write_text(lab.yaml.replace("db/x.db", "new/x.db"))
    assert "will be made" in ok(run("check"))


def test_init_writes_a_file_that_checks(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = ok(run("init", "-k", "ups", "-k", "easypost", "-s", "shopify"))
    for line in said.splitlines():
        if line.strip().startswith("export "):
            name = line.strip().removeprefix("export ").partition("=")[0]
            monkeypatch.setenv(name, "0123456789012345678901234567890123456789012=")
    config = load_config(tmp_path / "tracker.yaml")

    assert set(config.accounts) == {"ups", "easypost", "shop"}
    assert config.accounts["shop"].mode == "observe"
    assert isinstance(run("init").exception, ConfigError)
    ok(run("init", "--force"))
    assert isinstance(run("init", "--force", "-k", "nobody").exception, ConfigError)


def test_the_schema_of_both_files_is_printed(run: Run) -> None:
    assert "accounts" in json.loads(ok(run("config", "schema")))["properties"]
    assert "steps" in json.loads(ok(run("sandbox", "schema")))["properties"]


SCENARIO = """
scenario: one
accounts: {easypost: {uses: easypost}}
steps:
  - {at: +0h, place: {order: "#1"}}
  - {at: +1h, ship: {order: "#1", company: USPS, numbers: ["9400111206206406260787"]}}
  - {at: +2h, scan: {account: easypost, number: "9400111206206406260787", type: in_transit, code: departed_facility}}
expect:
  writes:
    - {order: "#1", event: IN_TRANSIT}
"""


def test_a_play_that_ends_as_it_must_exits_0_and_writes_the_platforms_log(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO)
    assert "as it must be" in ok(
        run("sandbox", "play", "s.yaml", "--check", "--platform-log", "log.json", "--log", "x.log")
    )
    assert json.loads((tmp_path / "log.json").read_text())[0]["event"] == "IN_TRANSIT"


def test_a_play_that_differs_exits_1_and_says_how(run: Run, tmp_path: Path) -> None:
    wrong = (
        SCENARIO
        + """
    - {order: "#1", event: DELIVERED}
  orders: {"#1": {status: delivered, payment: refunded, parcels: {"9400111206206406260787": {status: lost, scans: 9, place: MARS, tracking: stopped}, "NONE": {}}, rules: [nonsense]}, "#9": {}}
  unmatched: {"9400111206206406260787": {}, "X": {}}
  findings: [{kind: stuck, order: "#1"}]
  unmapped: [ups/status/999]
  rejected: 5
  calls: {easypost/track: 9999}
"""
    )
    (tmp_path / "s.yaml").write_text(wrong)
    result = run("sandbox", "play", "s.yaml", "--check", "--json")

    assert result.exit_code == 1
    differences = "\n".join(json.loads(result.output)["differences"])
    for words in (
        "write DELIVERED for order #1: the platform did not log it", "status is shipped, expected delivered", "payment is paid, expected refunded",
        "status is in_transit, expected lost", "1 scans, expected 9", "expected MARS", "expected stopped", "parcel NONE: not known",
        "rule nonsense did not fire", "order #9: not known", "is linked to an order", "parcel X: not known", "finding stuck of order #1, open: not there",
        "unmapped codes: ups/status/999 is not there", "webhooks rejected: 0, expected 5", "expected 9999 or more",
    ):  # fmt: skip
        assert words in differences, words


def test_an_unlisted_write_fails_the_play(run: Run, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SCENARIO.replace('    - {order: "#1", event: IN_TRANSIT}', "    []"))
    result = run("sandbox", "play", "s.yaml", "--check")

    assert result.exit_code == 1
    assert "write IN_TRANSIT for order #1" in result.output


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scenario: x\nsteps: [{at: soon, place: {order: '1'}}]", "s.yaml:2:10: steps.0.at: must be a time"),
        ("scenario: x\nsteps: [{at: +1h}]", "needs exactly one of"),
        ("scenario: x\nsteps: [{at: +1h, scan: {account: nobody, number: '1'}}]", "no account or store 'nobody'"),
        ("scenario: x\nstep: []", "steps"),
    ],
)
def test_a_wrong_scenario_names_its_place(run: Run, tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    result = run("sandbox", "play", "s.yaml")

    assert isinstance(result.exception, ConfigError)
    assert problem in str(result.exception)


BEYOND = [
    ["drift", "--after", "9" * 30], ["dismiss", "9" * 30, "--reason", "x"], ["snooze", "9" * 30], ["replay", "9" * 30],
    ["outbox", "retry", "9" * 30], ["inbox", "--body", "9" * 30], ["inbox", "--after", "-1"], ["show", "\udcff"],
    ["explain", "1001", "--at", "0001-01-01T00:00:00+14:00"], ["explain", "1001", "--at", "9999-12-31T23:59:59-14:00"],
    ["whatif", "--policy", "tracker.yaml", "--since", "999999999d"], ["snooze", "1", "--for", "99999999999d"],
    ["note", "1001", "a\ud800b"],
]  # fmt: skip


def test_what_no_database_and_no_calendar_takes_is_wrong_usage(run: Run, lab: Lab) -> None:
    for words in BEYOND:
        said = run(*words)
        assert (said.exit_code, type(said.exception)) == (2, SystemExit), (words, said.output)


def test_what_a_terminal_could_obey_is_not_printed() -> None:
    assert cell("a\x1b[31m\r\nb") == "a�\\[31m��b"
    assert cell(None) == "-"
    assert cell(START) == "2026-11-02 08:00"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "1", "-c", "none.yaml"], 2, "`tracker init` writes a first one"),
        (["nonsense"], 2, "No such command"),
        (["--version"], 0, "tracker, version"),
    ],
)
def test_errors_are_one_sentence_and_an_exit_code(tmp_path: Path, words: list[str], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_without_tables_is_told(tmp_path: Path) -> None:
    (tmp_path / "tracker.yaml").write_text(f"database: sqlite:///{tmp_path}/empty.db\n")
    done = subprocess.run(
        [sys.executable, "-m", "tracker.cli", "findings"], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 3
    assert "tracker migrate" in done.stderr


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "Łódź ******** x"), ("latin-1", "\\u0141ód\\u017a ******** x")]
)
def test_a_terminal_that_is_not_of_utf8_is_masked_too_and_gets_what_it_has_no_sign_for(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str
) -> None:
    hidden = Hidden()
    hidden.add("a-secret-of-ours")
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with masked_output():
        click.echo("Łódź a-secret-of-ours x")
        show_table("", ["place"], [["Łódź a-secret-of-ours x"]], empty="")
        print_json({"place": "Łódź"})
    stream.seek(0)
    said = stream.read()
    assert said.count(shown) == 2 and "secret" not in said
    assert json.loads(said[said.index("{") :]) == {"place": "Łódź"}

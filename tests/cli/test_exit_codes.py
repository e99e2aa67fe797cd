"""Every exit code that a command's help documents, proved by the installed command as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.exit_files import AWAY, files_of
from tests.conftest import once
from tests.lab import UPS, Lab
from tracker.cli.main import CODES, main
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
TRACKER = Path(sys.executable).with_name("tracker")
NONE = "none.yaml"


@dataclass(frozen=True)
class Case:
    """A command, the arguments it gets, and what must come of it. `own`: a process that imports everything itself."""

    command: str
    words: str
    code: int
    says: str = ""
    own: bool = False

    @property
    def line(self) -> list[str]:
        """Return the whole command line."""
        return [*self.command.split(), *self.words.split()]

    def __str__(self) -> str:
        return f"{self.command} {self.words} -> {self.code}"


def differs(command: str, words: str, says: str) -> Case:
    """Make a case of exit code 1: the installed command, started as people start it."""
    return Case(command, words, 1, says, own=True)


CASES = [
    # what differs, in a table and in JSON
    differs("show", "99", "nothing is known of '99'"),
    differs("show", "99 --json", '"parcels_without_order": []'),
    differs("explain", "99", "nothing is known of '99'"),
    differs("explain", "7 --at 2020-01-01 --json", '"orders": []'),
    differs("evidence", "99 -o none.zip", "nothing is known of '99'"),
    differs("plan", "99", "nothing is known of '99'"),
    differs("identify", "hello", "no number in it"),
    differs("identify", "1Z5R89390357567128 --json", '"check": "wrong"'),
    differs("plan", "-c poor.yaml", "parcels will be seen every 30 d instead of"),
    differs("check", "-c sick.yaml", "PROBLEM shop (shopify): not reached"),
    Case("check", "-c empty.yaml", 1, "PROBLEM nothing is configured"),
    differs("check", "-c away.yaml --json", '"problems": [\n    "database postgresql'),
    differs("drift", "", "shop_ahead"),
    differs("drift", "--json", "shop_ahead"),
    differs("drift", "--store shop", "shop: 0 orders since 2026-11-03 17:00Z: a sweep was due at "),
    differs("drift", "--store shop --json", "not known: 0"),
    differs("hooks", "big -c hooked.yaml", "compared at the next look"),
    differs("inbox", "--body 99999", "no body of payload 99999"),
    differs("may", "7 cancelled --reason size", "no: 7 to cancelled"),
    differs("may", "7 cancelled --reason size --json", '"allowed": false'),
    differs("may", "99 cancelled", "no order '99'"),
    differs("whatif", "--policy other.yaml --since 3650d", "order_behind"),
    differs("whatif", "--policy other.yaml --since 3650d --json", "order_behind"),
    differs("sandbox play", "differs.yaml --check", "differs: write IN_TRANSIT for order #1"),
    differs("sandbox play", "differs.yaml --check --json", '"differences": ['),
    differs("demo", "--scenario differs.yaml --log demo.log", "differs: write IN_TRANSIT for order #1"),
    differs("demo", "--scenario differs.yaml --json --log demo.log", '"differences": ['),
    Case("note", "99 x", 1, "no order '99'"),
    Case("note", "sh x --to-shop", 1, "no order 'sh'"),
    Case("record", "99 proof", 1, "no order '99'"),
    Case("correct", "7 shipped --reason x", 1, "no_step_back"),
    Case("correct-number", "7 A1 A2", 1, "kart: its platform takes no corrected numbers"),
    Case("dismiss", "99999 --reason x", 1, "0 of 1 findings dismissed"),
    Case("snooze", "99999", 1, "0 of 1 findings snoozed"),
    Case("replay", "99999", 1, "0 payloads are due again"),
    Case("outbox", "retry 99999", 1, "0 writes are due again"),
    Case("reload", "", 1, "no process runs"),
    Case("ingest", "--account ups odd.json", 1, "failed: nothing of it can be read"),
    Case("outages", "-c gap.yaml", 1, "easypost: 12 webhooks, 9"),
    Case("outages", "-c gap.yaml --json", 1, '"told": 12'),
    Case("try", "--account ups unknown.json", 1, "UNKNOWN: "),
    Case("try", "--account ups unknown.json --json", 1, '"unknown": ['),
    # what is fine
    Case("show", "7", 0, "order #7"),
    Case("show", "7 --json", 0, '"number": "#7"'),
    Case("explain", "7", 0, "decisions, newest first"),
    Case("evidence", "7 -o pack.zip", 0, "SHA256SUMS"),
    Case("plan", "", 0, "ups"),
    Case("plan", "7", 0, "quiet for days: every"),
    Case("plan", "ups --json", 0, '"why": "'),
    Case("plugins", "", 0, "easypost"),
    Case("identify", "1ZR589390357567121 --store shop", 0, "of ups: no other carrier has such numbers"),
    Case("identify", "9261290289999123456783 --store shop --json", 0, '"account": "dhl"'),
    Case("check", "", 0, "tracker.yaml: fine"),
    Case(
        "check",
        "-c poor.yaml",
        0,
        "ups: this cadence needs 3 calls a day, the budget gives 0.03: parcels will be seen every",
    ),
    Case("check", "--offline", 0, "tracker.yaml: fine"),
    Case("init", "-k ups -s shopify -o first.yaml", 0, "wrote first.yaml"),
    Case("config schema", "", 0, '"accounts"'),
    Case("config show", "", 0, "sqlite:///"),
    Case("drift", "-c empty.yaml", 0, "no drift: no order is known yet"),
    Case("findings", "", 0, "order_ahead"),
    Case("checkouts", "", 0, "C1"),
    Case("outages", "", 0, "no outage"),
    Case("stuck", "", 0),
    Case("freshness", "", 0, "open parcels"),
    Case("outbox", "", 0, "sent"),
    Case("hooks", "", 0, "no account has hooks that we made"),
    Case("hooks", "ups", 0, "web.public_url is not set: hooks are made by hand"),
    Case("outbox", "retry --all", 0, "0 writes are due again"),
    Case("inbox", "", 0, "done"),
    Case("inbox", "--body 1", 0),
    Case("codes", "", 0, "status/998"),
    Case("codes", "--accept status/998 -c accept.yaml", 0, "out_for_delivery"),
    Case("note", "7 called", 0, "noted at 7"),
    Case("record", "7 proof", 0, "recorded at 7"),
    Case("correct", "8 delivered --reason x --override", 0, "8: processing -> delivered"),
    Case("may", "8 cancelled --reason twice", 0, "yes: 8 to cancelled"),
    Case("snooze", "{finding}", 0, "1 of 1 findings snoozed"),
    Case("dismiss", "{finding} --reason known", 0, "1 of 1 findings dismissed"),
    Case("policy show", "kart", 0, "preset kingston-courier"),
    Case("policy show", "ups", 0, "cadence of ups"),
    Case("policy show", "ups --carrier ups", 0, "about parcels of ups"),
    Case("policy table", "", 0, "write Delivered"),
    Case("policy presets", "", 0, "mirror"),
    Case("policy coverage", "", 0, "out_for_delivery"),
    Case("whatif", "--policy tracker.yaml", 0, "nothing would change"),
    Case("pause", "kart", 0, "paused: kart"),
    Case("resume", "kart", 0, "resumed: kart"),
    Case("pause", "ups", 0, "paused: ups"),
    Case("plan", "", 0, "paused since"),
    Case("resume", "ups", 0, "resumed: ups"),
    Case("replay", "1", 0, "1 payloads are due again"),
    Case("replay", "--state dead", 0, "0 payloads are due again"),
    Case("remap", "ups", 0, "parcels are read again"),
    Case("ingest", "--account ups saved.json", 0, "1 payloads stored"),
    Case("files", "", 0, "saved.json"),
    Case("files", "retry 99999", 1, "0 files are read again"),
    Case("files", "retry", 2, "name files by id"),
    Case("files", "--account kart", 0, "no such file"),
    Case("files", "--account nobody", 2, "no store or account 'nobody': ups, dhl"),
    Case("inbox", "--account dhl", 0, "no such payload"),
    Case("inbox", "--account nobody", 2, "no store or account 'nobody': ups, dhl"),
    Case("inbox", "--account nobody --partly --json", 2, "no store or account 'nobody': ups, dhl"),
    Case("try", "--account ups saved.json -c wrong.yaml --json", 2, "no account or store 'ups'"),
    Case("try", "--account ups saved.json", 0, "ups (ups), read as poll"),
    Case("try", f"--account ups saved.json -c {AWAY}", 0, "ups (ups), read as poll"),  # no database is asked
    Case("heal", "", 0, "stores and feeds will be swept now"),
    Case("migrate", "", 0, "already at"),
    Case("demo", "--scenario fine.yaml --log demo.log", 0, "as it must be"),
    Case("sandbox play", "fine.yaml --check", 0, "as it must be"),
    Case("sandbox play", "differs.yaml", 0, "differs: write IN_TRANSIT"),
    Case("sandbox schema", "", 0, '"steps"'),
    Case("new carrier", "acme --package plugins/acme", 0, "wrote plugins/acme/trackwright_acme/acme.csv"),
    Case("new platform", "corner --package plugins/corner", 0, "wrote plugins/corner/tests/test_corner.py"),
    # wrong usage and wrong configuration
    Case("nonsense", "", 2, "No such command 'nonsense'", own=True),
    Case("show", "7 -c wrong.yaml", 2, "wrong.yaml:1:1: brocker: unknown key", own=True),
    Case("check", "wrong.yaml", 2, "did you mean 'broker'?", own=True),
    Case("explain", "7 --at yesterday", 2, "must be a moment"),
    Case("evidence", "7 -o none/pack.zip", 2, "none/pack.zip: No such file or directory"),
    Case("init", "-o tracker.yaml", 2, "is there already"),
    Case("init", "-o none/first.yaml", 2, "none/first.yaml: No such file or directory"),
    Case("identify", "1Z --store nobody", 2, "no store 'nobody': kart, shop"),
    Case("identify", "1Z --company Nobody", 2, "no carrier is called 'Nobody'"),
    Case("drift", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("findings", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("stuck", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("checkouts", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "--store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "retry --all --store nobody", 2, "no store 'nobody': kart, shop"),
    Case("outbox", "retry", 2, "name writes by id"),
    Case("hooks", "nobody", 2, "no store or account 'nobody'"),
    Case("hooks", "--mend", 2, "--mend needs a name"),
    Case("hooks", "ups --mend -c hooked.yaml", 2, "ups states no hooks: they are made by hand"),
    Case("codes", "--accept status/997", 2, "nothing suggests a meaning"),
    Case("policy show", "nobody", 2, "no store or carrier account 'nobody': ups, dhl"),
    Case("policy show", "kart --carrier ups", 2, "--carrier is for carrier accounts"),
    Case("config show", "nobody", 2, "no account or store 'nobody'"),
    Case("policy table", "nobody", 2, "no store 'nobody'"),
    Case("policy presets", "--nonsense", 2, "No such option"),
    Case("policy coverage", "-c none.yaml", 2, "`tracker init` writes a first one"),
    Case("whatif", "", 2, "say --policy FILE or --mapping FILE"),
    Case("pause", "nobody", 2, "no store or account 'nobody'"),
    Case("resume", "nobody", 2, "no store or account 'nobody'"),
    Case("heal", "--backfill nobody", 2, "no store 'nobody'"),
    Case("remap", "nobody", 2, "no account 'nobody'"),
    Case("replay", "", 2, "name payloads by id"),
    Case("ingest", "--account ups none.json", 2, "none.json: No such file or directory"),
    Case("try", "--account ups none.json", 2, "'none.json' does not exist"),
    Case("try", "--account ups odd.json", 2, "nothing of it can be read"),
    Case("plugins", "--nonsense", 2, "No such option"),
    Case("config schema", "--nonsense", 2, "No such option"),
    Case("sandbox schema", "--nonsense", 2, "No such option"),
    Case("new carrier", "acme", 2, "this folder is no checkout of Trackwright"),
    Case("new carrier", "shopify --package plugins/other", 2, "'shopify' is taken"),
    Case("new carrier", "acme --package tracker.yaml", 2, "is a file"),
    Case("new platform", "no-name --package plugins/other", 2, "'no-name' can be no plugin's name"),
    Case("new platform", "class --package plugins/other", 2, "'class' can be no plugin's name"),
    Case("sandbox play", "none.yaml --check", 2, "does not exist"),
    Case("sandbox play", "wrong.yaml --check", 2, "wrong.yaml"),
    Case("sandbox play", "fine.yaml --log none/play.log", 2, "none/play.log: No such file or directory"),
    Case("demo", "--scenario wrong.yaml --log demo.log", 2, "wrong.yaml"),
    Case("up", f"-c {NONE}", 2, "there is no such file"),
    Case("up", "-c taken.yaml", 2, "the receiver cannot listen on 127.0.0.1:", own=True),
    Case("worker", "", 2, "separate roles need a broker"),
    # the database is away, or is none
    Case("findings", "-c fresh.yaml", 3, "tracker migrate", own=True),
    Case("show", "7 -c broken.yaml", 3, "the database cannot be used: file is not a database", own=True),
    Case("up", f"-c {AWAY}", 3, "could not be reached for 0 s", own=True),
    Case("sandbox play", "fine.yaml --database postgresql://nobody@127.0.0.1:1/x", 3, "could not be reached"),
]
ARGUMENTS = {
    "show": "7", "explain": "7", "evidence": "7 -o x.zip", "proof": "7", "note": "7 x", "record": "7 proof", "may": "7 cancelled",
    "correct": "7 shipped --reason x", "correct-number": "7 A1 A2", "dismiss": "1 --reason x", "snooze": "1", "replay": "1", "remap": "ups", "ingest": "--account ups saved.json",
    "whatif": "--policy tracker.yaml",
}  # fmt: skip
ROLES = {"web": "away-roles.yaml", "worker": "away-roles.yaml", "scheduler": "away-roles.yaml"}
# each command that reads a configuration or a database says so, whatever else it does
for name, codes in CODES.items():
    if 3 in codes and name != "sandbox play":
        CASES.append(Case(name, f"{ARGUMENTS.get(name, '')} -c {NONE}".strip(), 2, "there is no such file"))
        CASES.append(
            Case(name, f"{ARGUMENTS.get(name, '')} -c {ROLES.get(name, AWAY)}".strip(), 3, "connection failed")
        )
# those that need a broker and PostgreSQL, or minutes, are proved where these are
ELSEWHERE = {
    **{("proof", code): "cli/test_proof.py::test_a_person_gets_the_document_in_a_file_only_they_can_read_and_nothing_of_it_is_kept" for code in (0, 1)},
    ("correct-number", 0): "cli/test_correct_number.py::test_a_correction_is_asked_for_by_a_process_and_written_by_the_worker",
    ("reload", 0): "app/test_reload.py::test_all_roles_take_a_new_configuration_that_somebody_asks_for",
    ("up", 0): "app/test_processes.py::test_SIGTERM_finishes_and_exits_with_0",
    **{(role, 0): "app/test_processes.py::test_F5_separate_roles_work_and_a_wiped_redis_loses_nothing"
       for role in ("web", "worker", "scheduler")},
    **{(role, 70): "chaos/test_drills_of_ours.py::test_F24_a_payload_that_kills_or_hangs_its_process_ends_dead_and_holds_back_nobody"
       for role in ("up", "web", "worker", "scheduler")},
}  # fmt: skip

PRESS = """
import json, os, sys
script = compile(open(sys.argv[1]).read(), sys.argv[1], "exec")
import psycopg, tracker.cli.main
from tracker.config.plugins import load, names
for room in ("carriers", "adapters"):
    for name in names(room):
        load(room, name)
tracker.cli.main.cli.list_commands(None)
for line in sys.stdin:
    words, out = json.loads(line)
    if (pid := os.fork()) == 0:
        for stream in (1, 2):
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
        sys.argv = ["tracker", *words]
        try:
            exec(script, {"__name__": "__main__"})
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)
        os._exit(99)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Kingston courier order whose seller set Delivered while it moves, one at Processing, files of every wrongness."""
    folder = tmp_path_factory.mktemp("exit")
    with ExitStack() as stack:
        made = Lab(f"sqlite:///{folder}/db/x.db", folder, stack, rest="{preset: kingston-courier}")
        made.work()
        made.rest.place("#7", made.clock(), status="Processing", delivery={"method": "courier", "address": "confirmed"})
        made.rest.place("#8", made.clock(), status="Processing", delivery={"method": "courier"})
        made.rest.checkout("C1", contact=True, recovered=False)
        made.rest.ship("#7", made.clock(), [{"company": "UPS", "number": UPS}], items={})
        made.work()
        made.later(1)
        made.scan(made.ups, UPS, "I", "038")
        made.scan(made.ups, UPS, "I", "998", text="Out for delivery by drone", hours=0.5)
        made.scan(made.ups, UPS, "I", "997", text="Zweites Zeichen", hours=0.6)
        made.later(6)
        made.rest.set("#7", "seller", status="Delivered")
        made.work()
        made.later(26)
        taken = stack.enter_context(__import__("socket").socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "db" / "broken.db").write_text("this is no database, and it is longer than a header of one " * 20)
        for name, text in files_of(made, folder, port).items():
            (folder / name).write_text(text)
        empty = Store(f"sqlite:///{folder}/db/empty.db")
        migrate(empty)
        empty.close()
        gap = Store(f"sqlite:///{folder}/db/gap.db")
        migrate(gap)
        _away(gap)
        gap.close()
        found = made.one(t.findings, t.findings.c.kind == "order_ahead")
        (folder / "finding").write_text(str(found.id))
        yield folder


def _away(store: Store) -> None:
    """Have been away: the sender was asked to tell again what it sent, and is not done."""
    left, back = datetime(2026, 11, 2, 8, tzinfo=UTC), datetime(2026, 11, 2, 16, tzinfo=UTC)
    evidence = {"from": left.isoformat(), "until": back.isoformat(), "asked": "3"}
    outage = {"subject": "outage/1", "kind": "outage", "severity": "warning", "act": "monitor", "evidence": evidence,
              "evidence_hash": "x", "opened_by": "watch", "opened_at": back}  # fmt: skip
    row = {"account": "easypost", "since": left, "until": back, "next_at": back, "told": 12, "new": 9}
    with store.write() as connection:
        connection.execute(t.findings.insert(), {"digest": False, **outage})
        connection.execute(t.resends.insert(), {"short": False, "attempts": 1, "failures": 0, **row})


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def ended(folder: Path, line: Sequence[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(TRACKER), *line], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True, check=False, timeout=120, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ends(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[int, str]]:
    """Run all cases, once in all processes of the suite: how each ended, and what it said. What people start is started as they start it, side by side;
    for the others one process has imported the command, and each is a child of it: a start costs 0.8 s, a child 0.1 s."""
    finding = (folder / "finding").read_text()
    starts: list[Future[tuple[int, str]]] = []

    def line(case: Case) -> list[str]:
        return [word.replace("{finding}", finding) for word in case.line]

    def own(case: Case) -> tuple[int, str]:
        done = ended(folder, line(case))
        return done.returncode, done.stdout

    def pressed(cases: Sequence[Case]) -> Iterator[tuple[int, str]]:
        with subprocess.Popen(
            [sys.executable, "-c", PRESS, str(TRACKER)], cwd=folder, env=environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        ) as press:  # fmt: skip
            assert press.stdin is not None
            assert press.stdout is not None
            for number, case in enumerate(cases):
                if case.command == "heal":  # it has every store swept now, and the others tell when they were due
                    wait(starts)
                out = folder / f"out-{number}"
                press.stdin.write(json.dumps([line(case), str(out)]) + "\n")
                press.stdin.flush()
                code = int(press.stdout.readline())
                yield code, out.read_text()
            press.stdin.close()

    def run() -> list[tuple[int, str]]:
        alone = [case for case in CASES if case.own]
        others = [case for case in CASES if not case.own]
        with ThreadPoolExecutor(3) as pool:
            starts.extend(pool.submit(own, case) for case in alone)
            found = dict(zip(others, pressed(others), strict=True))
            found |= {case: start.result() for case, start in zip(alone, starts, strict=True)}
        return [found[case] for case in CASES]

    return {case: (code, said) for case, (code, said) in zip(CASES, once(tmp_path_factory, "ends", run), strict=True)}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_command_ends_with_the_exit_code_that_its_help_documents(
    case: Case, ends: dict[Case, tuple[int, str]]
) -> None:
    code, said = ends[case]

    assert (code, case.says in said) == (case.code, True), said
    assert "Traceback" not in said
    assert "defect" not in said


def test_every_documented_code_of_every_command_is_proved() -> None:
    proved = {(case.command, case.code) for case in CASES} | set(ELSEWHERE)
    documented = {(name, code) for name, codes in CODES.items() for code in (0, *codes)}

    assert documented - proved == set()
    assert proved - documented == {("nonsense", 2)}
    for where in ELSEWHERE.values():
        file, _, name = where.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE), where


def test_make_run_fails_where_its_demo_differs(folder: Path) -> None:
    done = {
        name: subprocess.run(
            ["make", "run", f"ARGS=--scenario {folder}/{name}.yaml --log {folder}/make.log"], cwd=ROOT,
            env=environment(), capture_output=True, text=True, check=False,
        )
        for name in ("differs", "fine")
    }  # fmt: skip

    assert done["differs"].returncode == 2, "make says 2 where what it ran says 1"
    assert "Error 1" in done["differs"].stderr
    assert "differs: write IN_TRANSIT for order #1" in done["differs"].stdout
    assert done["fine"].returncode == 0


def heard() -> None:
    """Let Ctrl-C be heard: a suite that runs in the background of a shell hands down that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_with_130_and_one_word(folder: Path) -> None:
    process = subprocess.Popen(
        [str(TRACKER), "freshness", "--watch"], cwd=folder, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=heard,
    )  # fmt: skip
    assert process.stdout is not None
    assert "freshness" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert (process.returncode, said.strip()) == (130, "stopped")


@pytest.mark.parametrize("line", [["plugins"], ["plugins", "--json"], ["drift"], ["demo", "--help"]], ids=" ".join)
def test_an_output_that_nobody_reads_any_more_is_no_error_of_ours(folder: Path, line: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [str(TRACKER), *line], cwd=folder, env=environment(), stdout=writer, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


def test_an_output_that_is_closed_or_full_is_told_in_one_sentence(folder: Path) -> None:
    def shell(words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            f"'{TRACKER}' {words}", shell=True, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip

    closed, full = shell("show 7 >&-"), shell("show 7 >/dev/full")

    assert (closed.returncode, closed.stderr) == (0, "")
    assert (full.returncode, full.stderr.strip()) == (2, "it could not be done: No space left on device")


def test_a_defect_of_ours_is_no_answer_and_shows_no_value(folder: Path) -> None:
    (folder / "bad").mkdir(exist_ok=True)
    (folder / "bad" / "sitecustomize.py").write_text(
        "import tracker.support.explain as e\n\ndef overview(world, what):\n    raise ValueError(what * 2)\n\ne.overview = overview\n"
    )
    done = subprocess.run(
        [str(TRACKER), "show", "secret"], cwd=folder, env={**environment(), "PYTHONPATH": str(folder / "bad")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 70
    assert "a defect of ours (ValueError)" in done.stderr
    assert "sitecustomize.py" in done.stderr
    assert "secretsecret" not in done.stderr + done.stdout


def test_main_ends_with_what_the_command_returned(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["tracker", "show", "99", "--json"])
    with pytest.raises(SystemExit) as unknown:
        main()
    monkeypatch.setattr(sys, "argv", ["tracker", "may", "7", "cancelled"])
    with pytest.raises(SystemExit) as refused:
        main()

    assert (unknown.value.code, refused.value.code) == (1, 1)

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.exit_cases import CASES, ELSEWHERE, Case
from tests.cli.exit_files import files_of, messages
from tests.conftest import once
from tests.lab import UPS, H, Lab
from tests.told import receiver
from tracker.cli.main import CODES, main
from tracker.clock import system_now
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
TRACKER = Path(sys.executable).with_name("tracker")


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
        made.change(t.heartbeats.insert().values(name="scheduler", at=system_now() + H))  # fresh however long we ask
        taken = stack.enter_context(__import__("socket").socket())
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (folder / "db" / "broken.db").write_text("this is no database, and it is longer than a header of one " * 20)
        heard = stack.enter_context(receiver()).url
        messages(made, folder, heard)
        for name, text in files_of(made, folder, port, heard).items():
            (folder / name).write_text(text)
        empty = Store(f"sqlite:///{folder}/db/empty.db")
        migrate(empty)
        empty.close()
        gap = Store(f"sqlite:///{folder}/db/gap.db")
        migrate(gap)
        _away(gap)
        gap.close()
        counted = Store(f"sqlite:///{folder}/db/counted.db")
        migrate(counted)
        with counted.write() as connection:
            done = {"name": "parcels", "walked_to": 0, "walk_ends": 0, "rules": {}}
            connection.execute(t.report_state.insert(), done | {"whole_at": made.clock()})
        counted.close()
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
        "import tracker.support.explain as e\n\ndef overview(world, what, *more, **others):\n    raise ValueError(what * 2)\n\ne.overview = overview\n"
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

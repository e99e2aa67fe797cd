"""Commands that work with the database read no store that they do not need, and read the file once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import migrate

SECRET = "canarysecret7f3a9b2c5d"
FILE = """database: sqlite:///{folder}/x.db
accounts:
  ups: {{uses: ups, client_id: me, client_secret: "${{env:SECRET}}"}}
stores:
  broken: {{uses: shopfy, shop: x}}
  wrong: {{uses: rest, base_url: "https://x.example.com", api_token: "${{env:SECRET}}", policy: {{preset: miror}}}}
  fine: {{uses: rest, base_url: "https://x.example.com", api_token: "${{env:SECRET}}"}}
"""
SPY = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(1) if event == "open" and str(args[0]).endswith("tracker.yaml") else None)
from tracker.cli.main import cli
try:
    cli.main(sys.argv[1:], standalone_mode=False)
finally:
    loaded = sorted(name for name in sys.modules if name.startswith(("carriers.", "adapters.")))
    print("opened", len(opened), "loaded", ",".join(loaded))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database with a finding that says a secret, and a file of which two stores are wrong."""
    tmp_path.chmod(0o700)
    (tmp_path / "tracker.yaml").write_text(FILE.format(folder=tmp_path))
    store = Store(f"sqlite:///{tmp_path}/x.db")
    migrate(store)
    with store.write() as connection:
        connection.execute(
            t.findings.insert(),
            {"kind": "order_ahead", "subject": f"store/{SECRET}", "severity": "warning", "act": "act", "evidence": {"said": SECRET},
             "opened_at": datetime(2026, 11, 2, tzinfo=UTC), "opened_by": "ingest", "digest": False, "evidence_hash": "x"},
        )  # fmt: skip
    store.close()
    return tmp_path


def run(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, text=True, capture_output=True, check=False, timeout=120,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(Path(__file__).parents[2]), "SECRET": SECRET, **more},
    )  # fmt: skip


def tracker(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return run(folder, "-m", "tracker.cli", *words, **more)


@pytest.mark.parametrize(
    "words", [["findings"], ["findings", "--json"], ["stuck"], ["outages"], ["outbox"]], ids=" ".join
)
def test_the_file_is_opened_once_and_no_plugin_is_loaded(folder: Path, words: list[str]) -> None:
    done = run(folder, "-c", SPY, *words)

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("opened 1 loaded \n"), done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "********" in done.stdout or words[0] != "findings"


def test_a_store_that_is_wrong_is_told_by_check_and_by_what_asks_for_it(folder: Path) -> None:
    checked = tracker(folder, "check", "--offline")
    assert checked.returncode == 2
    assert "tracker.yaml:5:3: stores.broken.uses: no plugin 'shopfy'" not in checked.stdout
    for said in ("5:12: stores.broken.uses: no plugin 'shopfy'", "stores.wrong.policy.preset: no preset 'miror'"):
        assert said in checked.stderr

    shown = tracker(folder, "policy", "show", "wrong")
    assert shown.returncode == 2
    assert "stores.wrong.policy.preset: no preset 'miror'" in shown.stderr
    assert "shopfy" not in shown.stderr
    assert tracker(folder, "policy", "show", "fine").returncode == 0


def test_the_root_is_as_strict_as_ever_and_every_secret_must_be_known(folder: Path) -> None:
    missing = tracker(folder, "findings", SECRET="")
    assert missing.returncode == 2
    assert "the environment variable SECRET is empty" in missing.stderr

    (folder / "tracker.yaml").write_text(FILE.format(folder=folder) + "web: {prot: 1}\ndatabase: nonsense\n")
    wrong = tracker(folder, "findings")
    assert wrong.returncode == 2
    for said in ("web.prot: unknown key; did you mean 'port'?", "database: the key is there twice"):
        assert said in wrong.stderr

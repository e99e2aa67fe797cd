"""A plugin that does not conform is told in what, so that its author can mend it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tracker.plugin.conformance.shown import differences

ROOT = Path(__file__).parents[2]


def test_a_failure_names_the_value_that_differs_also_in_a_package_of_its_own(tmp_path: Path) -> None:
    fixtures = shutil.copytree(ROOT / "tests" / "fixtures" / "fedex", tmp_path / "fixtures")
    told = json.loads((fixtures / "exceptions.poll.expected.json").read_text())
    told[0]["scans"][-1]["place"], right = "Atlantis", told[0]["scans"][-1]["place"]
    (fixtures / "exceptions.poll.expected.json").write_text(json.dumps(told))
    (tmp_path / "acme.py").write_text(
        '"""Acme."""\nfrom carriers import fedex\n\nclass Acme(fedex.FedEx):\n    docs = "http://acme.example"\n'
    )
    (tmp_path / "test_acme.py").write_text(
        "from pathlib import Path\nfrom tracker.plugin.conformance import for_carrier\n"
        'TestAcme = for_carrier("acme", fixtures=Path(__file__).parent / "fixtures")\n'
    )
    (tmp_path / "none.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "none.ini", "-k", "class or fixture_reads"],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "CI": ""},
    )  # fmt: skip

    place = f"$[0].scans[{len(told[0]['scans']) - 1}].place"
    assert "2 failed" in done.stdout
    assert "AssertionError: exceptions.poll.json" in done.stdout
    assert f" {place}: read {right!r}, expected 'Atlantis'" in done.stdout
    assert "'http://acme.example'.startswith" in done.stdout  # pytest tells the parts of what is not so


def test_differences_are_told_value_by_value() -> None:
    assert differences([{"a": 1, "b": [1, 2]}], [{"a": 1, "b": [1, 2]}]) == []
    assert differences([{"a": 1, "b": [1, 2]}, 3], [{"b": [1, "2", None], "c": "x"}]) == [
        "$[0].a: read 1, expected nothing",
        "$[0].b[1]: read 2, expected '2'",
        "$[0].b[2]: read nothing, expected None",
        "$[0].c: read nothing, expected 'x'",
        "$[1]: read 3, expected nothing",
    ]
    assert differences({"a": []}, {"a": {}}) == ["$.a: read [], expected {}"]

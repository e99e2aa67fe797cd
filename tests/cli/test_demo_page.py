"""The demo that is kept can be looked at: the installed command prints where, and by which token."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.cli.test_exit_codes import TRACKER, environment, heard

SCENARIOS = Path(__file__).parents[1] / "scenarios"


@pytest.mark.process
def test_the_demo_that_is_kept_prints_its_page_and_the_token_to_look_at_it_until_ctrl_c(tmp_path: Path) -> None:
    line = [
        str(TRACKER),
        "demo",
        "--keep",
        "--seed",
        "5",
        "--scenario",
        str(SCENARIOS / "plain_journey.yaml"),
        "--log",
        "demo.log",
    ]
    process = subprocess.Popen(
        line,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heard,
    )
    assert process.stdout is not None
    try:
        said = next(
            (
                found
                for one in process.stdout
                if (found := re.fullmatch(r"look at it: (http://127\.0\.0\.1:\d+)/  with the token (\S+)\n", one))
            ),
            None,
        )
        assert said, process.communicate()
        with httpx.Client(base_url=said[1], trust_env=False, timeout=20, follow_redirects=True) as browser:
            assert "The token is wrong" in browser.post("/login", data={"token": "wrong"}).text
            status = browser.post("/login", data={"token": said[2]})
            assert status.url.path == "/"
            picture = browser.get("/orders/1").text
            assert picture.count('class="mark scan') >= 3
            assert said[2] not in status.text + picture
            environ = next(
                found
                for one in process.stdout
                if (found := re.search(r"export TRACKER_CONFIG=(\S+) TRACKER_PLAYED='(.+)'", one))
            )
            asked = {**environment(), "TRACKER_CONFIG": environ[1], "TRACKER_PLAYED": environ[2]}
            told = subprocess.run(
                [str(TRACKER), "status"], env=asked, capture_output=True, text=True, check=False, timeout=60
            )
            assert told.stdout.splitlines()[0].startswith("all is well"), told
            assert "all is well" in status.text, re.findall("<h1.*", status.text)
        assert said[2] not in (tmp_path / "demo.log").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "as it must be" in rest

"""What stands in deploy/: the image, the composition, the database roles; and what no code of ours may do with SQL."""

from __future__ import annotations

import ast
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import psycopg
import pytest
import sqlalchemy as sa
import yaml

from tests.lab import UPS, Lab
from tracker.domain.errors import ConfigError
from tracker.store import tables as t
from tracker.store.engine import Store
from tracker.store.migrate import current, head, migrate

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_runs_as_nobody_from_hashed_wheels_and_stops_softly() -> None:
    told = instructions()
    last_stage = told[max(i for i, (word, _) in enumerate(told) if word == "FROM") :]
    said = dict(last_stage)
    user = said["USER"].split(":")
    assert all(part.isdigit() and int(part) >= 10_000 for part in user) and len(user) == 2
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert "/livez" in said["HEALTHCHECK"]
    assert said["ENTRYPOINT"].startswith("[") and said["CMD"].startswith("[")  # no shell between the signal and us
    assert not [word for word, _ in last_stage if word in ("RUN", "ADD") and "pip" in _]
    assert not [
        rest for word, rest in told if word == "ADD" or re.search(r"curl|wget|sudo|chmod 777|--privileged", rest)
    ]
    installs = [rest for word, rest in told if "pip install" in rest]
    wanted = ("--require-hashes", "--no-deps", "--only-binary :all:")
    assert installs and all(option in rest for rest in installs for option in wanted)
    assert not [
        rest for word, rest in told if word in ("ENV", "ARG") and re.search(r"(?i)secret|password|token|key", rest)
    ]


def test_what_the_image_and_the_composition_start_is_a_command_of_ours() -> None:
    from tracker.cli.main import cli

    command = ast.literal_eval(dict(instructions())["CMD"])
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    ours = [command, *(services[name]["command"] for name in ("migrate", "web", "worker", "scheduler"))]
    for words in ours:
        found = cli.get_command(click.Context(cli), words[0])
        assert found is not None, words
        context = found.make_context(words[0], [*words[1:2], str(DEPLOY / "tracker.example.yaml")])
        assert context.params["file"]


def test_what_the_image_copies_is_there() -> None:
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    assert copied
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name


def test_the_image_installs_what_the_tests_ran_with_and_no_test_tool() -> None:
    def pins(path: Path) -> dict[str, str]:
        return dict(re.findall(r"^([a-z0-9._-]+)==([^ \\;]+)", path.read_text(), re.M))

    image, tested = pins(DEPLOY / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert image and image.items() <= tested.items()
    assert not image.keys() & {"pytest", "hypothesis", "mypy", "ruff", "respx"}
    import tomllib

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[\[<>=~ ]", one)[0].replace(".", "-") for one in wanted} <= image.keys()


def test_the_composition_takes_every_right_away_that_no_role_needs() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name in ("migrate", "web", "worker", "scheduler"):
        role = services[name]
        assert role["read_only"] and role["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in role["security_opt"]
        assert role["mem_limit"] and role["pids_limit"] and any(one.startswith("/tmp") for one in role["tmpfs"])
        assert int(role["stop_grace_period"].removesuffix("s")) > 25
        assert role["command"] == [name, "-c", "/etc/trackwright/tracker.yaml"]
        assert "ports" not in role  # the proxy alone is reached from outside (tests/deploy/test_compose.py)


@pytest.fixture
def two_roles(empty_postgres: str) -> Any:
    """Return the URLs of the schema's owner and of the runner, made by deploy/roles.sql itself."""
    with psycopg.connect(empty_postgres, autocommit=True) as connection:
        connection.execute((DEPLOY / "roles.sql").read_bytes())
    by = [str(sa.make_url(empty_postgres).set(username=name)) for name in ("trackwright_owner", "trackwright_run")]
    yield by
    with psycopg.connect(empty_postgres, autocommit=True) as connection:
        for name in ("trackwright_run", "trackwright_owner"):
            connection.execute(f"DROP OWNED BY {name}".encode())
            connection.execute(f"DROP ROLE {name}".encode())


def test_everything_runs_as_a_database_role_that_cannot_change_the_schema(two_roles: Any, tmp_path: Path) -> None:
    owner, runner = two_roles
    store = Store(owner)
    migrate(store)
    store.close()

    with ExitStack() as stack:
        lab = Lab(runner, tmp_path, stack)
        lab.work()
        lab.order("#1001", UPS, company="UPS")
        lab.work()
        lab.scan(lab.ups, UPS, "D", "011")
        lab.later(7)
        assert (lab.parcel(UPS).status, lab.rows(t.inbox, t.inbox.c.state == "dead")) == ("delivered", [])
        assert current(lab.daemon.store) == head()
        for statement in (
            "CREATE TABLE x (i int)",
            "DROP TABLE inbox",
            "ALTER TABLE inbox ADD x int",
            "TRUNCATE inbox",
        ):
            with pytest.raises(sa.exc.ProgrammingError, match=r"denied|must be owner"):
                lab.change(sa.text(statement))


def test_a_role_that_cannot_migrate_says_who_must(two_roles: Any, tmp_path: Path) -> None:
    with (
        ExitStack() as stack,
        pytest.raises(ConfigError, match="run `tracker migrate` as the role that owns the schema"),
    ):
        Lab(two_roles[1], tmp_path, stack)


def test_no_sql_is_made_of_texts() -> None:
    """`text(f"...")`, `execute("..." + x)`, `"...".format(x)`: values are bound, names are SQLAlchemy's."""
    found = []
    for room in ("tracker", "carriers", "adapters"):
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("execute", "exec_driver_sql", "executemany") or (
                    name == "text" and "sa" in ast.unparse(node.func)
                ):
                    made = node.args[0]
                    formatted = isinstance(made, ast.JoinedStr | ast.BinOp) or (
                        isinstance(made, ast.Call) and ast.unparse(made.func).endswith((".format", ".join"))
                    )
                    if formatted:
                        found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:80]}")
    assert found == []

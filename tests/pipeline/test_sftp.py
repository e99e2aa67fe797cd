"""`sftp:` of an account, against a real SSH server on loopback: whose key is known, and where nothing is touched unasked."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.lab import Lab
from tests.pipeline.test_files import HEAD, lines
from tests.pipeline.test_folders import look, names, problem, states
from tracker.app import sftp as sftp_
from tracker.app.sftp import open_server
from tracker.config.load import load_text
from tracker.config.places import SftpPart, fingerprint
from tracker.domain.errors import ConfigError, CredentialsRejected, Refused, Transient
from tracker.domain.masking import mask
from tracker.pipeline.files import watch
from tracker.store import tables as t
from tracker.support.lists import retry_files

PASSWORD = "a-very-secret-password-0815"
HOST_KEY, OTHER_KEY, OUR_KEY = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


class Server:
    """An SSH server with one user, in a thread of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.port, self.logins, self.hangs = root, 0, 0, False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self, key: asyncssh.SSHKey = HOST_KEY) -> None:
        if not self._thread.is_alive():
            self._thread.start()
        self._done(self._listen(key))

    def stop(self) -> None:
        self._done(self._close())

    def end(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _done(self, what: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)

    async def _close(self) -> None:
        self._acceptor.close()
        await self._acceptor.wait_closed()

    async def _listen(self, key: asyncssh.SSHKey) -> None:
        mine = self

        class Login(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                mine.logins += 1
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("dpd", PASSWORD)

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return username == "dpd" and key.get_fingerprint() == OUR_KEY.get_fingerprint()

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: Any) -> None:
                super().__init__(channel, chroot=str(mine.root))

            async def lstat(self, path: bytes) -> Any:
                if mine.hangs:
                    await asyncio.Event().wait()
                return super().lstat(path)

        self._acceptor = await asyncssh.listen(
            "127.0.0.1", self.port, server_host_keys=[key], server_factory=Login, sftp_factory=Files
        )
        self.port = self._acceptor.sockets[0].getsockname()[1]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "srv" / "out").mkdir(parents=True)
    made = Server(tmp_path / "srv")
    made.start()
    yield made
    made.end()


@pytest.fixture
def there(server: Server) -> Path:
    return server.root / "out"


def entry(
    server: Server, more: str = "", key: asyncssh.SSHKey = HOST_KEY, proof: str = 'password: "${file:FOLDER/pw}"'
) -> str:
    return f"""
  dpd: {{uses: csv, carrier: dpd, columns: {{number: N, code: C, time: T}},
        sftp: {{host: 127.0.0.1, port: {server.port}, path: /out, user: dpd, {proof}, every: 1m,
               host_key: "{key.get_fingerprint()}"{more}}}}}
"""


@pytest.fixture
def make(make_lab: Callable[..., Lab], server: Server, tmp_path: Path) -> Callable[..., Lab]:
    for name, text in (("pw", PASSWORD), ("id", OUR_KEY.export_private_key().decode()), ("bad", "wrong-password-4711")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)

    def made(*given: Any, **more: Any) -> Lab:
        return make_lab(accounts=entry(server, *given, **more).replace("FOLDER", str(tmp_path)))

    return made


def put(there: Path, name: str = "a.csv", count: int = 150, at: int = 1_700_000_000) -> None:
    import os

    (there / name).write_text(HEAD + lines(count))
    os.utime(there / name, (at, at))


def test_a_file_is_fetched_at_the_second_look_and_nothing_there_is_touched(
    make: Callable[..., Lab], there: Path
) -> None:
    lab = make()
    put(there)
    look(lab, 1)
    assert states(lab) == [("a.csv", "waiting")]
    look(lab, 3)
    lab.work("ingest")

    assert (states(lab), names(there), names(there, "done")) == ([("a.csv", "done")], ["a.csv"], [])
    assert (len(lab.rows(t.scans)), len(lab.rows(t.inbox)), problem(lab)) == (150, 2, {})
    (row,) = lab.rows(t.files)
    assert row.place == f"sftp://127.0.0.1:{lab.ctx.config.accounts['dpd'].sftp.port}/out"


def test_a_key_proves_us_as_a_password_does(make: Callable[..., Lab], there: Path) -> None:
    lab = make(proof='key: "${file:FOLDER/id}"')
    put(there, count=3)
    look(lab)

    assert states(lab) == [("a.csv", "done")]


@pytest.mark.parametrize(("after", "left", "moved"), [("delete", [], []), ("move to /kept", [], ["a.csv", "a.csv.1"])])
def test_what_was_read_is_moved_or_deleted_where_the_yaml_says_so_and_nothing_is_written_over(
    make: Callable[..., Lab], server: Server, there: Path, after: str, left: list[str], moved: list[str]
) -> None:
    (server.root / "kept").mkdir()
    lab = make(f', after: "{after}"')
    for at in (1_700_000_000, 1_700_000_100):
        put(there, at=at)
        look(lab)

    assert (names(there), names(server.root, "kept"), problem(lab)) == (left, moved, {})
    assert len(lab.rows(t.inbox)) == 2


def test_what_cannot_be_read_is_left_there_and_told_and_not_fetched_again(
    make: Callable[..., Lab], there: Path
) -> None:
    lab = make(", after: delete")
    (there / "a.csv").write_text("X;Y\n1;2\n")
    look(lab, 4)

    assert (names(there), states(lab)) == (["a.csv"], [("a.csv", "failed")])
    assert problem(lab)["problem"].startswith("$.head: has no column N")
    (row,) = lab.rows(t.files)
    assert (retry_files(lab.ctx, [row.id]), retry_files(lab.ctx, [row.id])) == (1, 0)
    look(lab)
    assert len(lab.rows(t.files)) == 1  # it is fetched again, and fails again


def test_another_host_key_is_refused_before_any_password_is_sent_and_suspends_the_account(
    make: Callable[..., Lab], server: Server, there: Path
) -> None:
    lab = make(key=OTHER_KEY)
    put(there)
    look(lab, 1)

    assert (server.logins, states(lab)) == (0, [])
    (finding,) = [f for f in lab.rows(t.findings) if f.kind == "account_parked"]
    assert HOST_KEY.get_fingerprint() in finding.evidence["said"]
    lab.clock.move_to(lab.clock() + timedelta(hours=1))
    lab.work("files")
    assert server.logins == 0  # it is asked nothing until its entry changes


def test_a_host_whose_key_changes_is_refused(make: Callable[..., Lab], server: Server, there: Path) -> None:
    lab = make()
    put(there)
    look(lab, 1)
    server.stop()
    server.start(OTHER_KEY)
    look(lab, 1)

    assert [f.kind for f in lab.rows(t.findings)] == ["account_parked"]
    assert lab.rows(t.inbox) == []


def test_a_refused_password_suspends_the_account_and_shows_nowhere(make: Callable[..., Lab], caplog: Any) -> None:
    lab = make(proof='password: "${file:FOLDER/bad}"')
    look(lab, 1)

    (finding,) = [f for f in lab.rows(t.findings) if f.kind == "account_parked"]
    assert finding.evidence["said"] == "127.0.0.1 refuses the user 'dpd'"
    assert "wrong-password-4711" not in repr(lab.rows(t.findings)) + repr(lab.rows(t.accounts)) + caplog.text
    assert "wrong-password-4711" not in mask(repr(lab.ctx.config.accounts["dpd"]))


def test_a_server_that_is_away_rests_ever_longer_with_one_finding_and_is_gone_on_with(
    make: Callable[..., Lab], server: Server, there: Path
) -> None:
    lab = make()
    put(there)
    server.stop()
    for _ in range(3):
        look(lab, 1)
        (account,) = [a for a in lab.rows(t.accounts) if a.name == "dpd"]
        assert account.blocked_until is not None  # by the database's clock
        assert lab.work("files") == 0
        lab.clock.move_to(lab.clock() + timedelta(minutes=5))
        lab.rested()
    assert [f.kind for f in lab.rows(t.findings)] == ["source_unavailable"]

    server.start()
    lab.rested()
    look(lab)
    assert states(lab) == [("a.csv", "done")]
    assert [f.closed_at is None for f in lab.rows(t.findings)] == [False]


def test_a_folder_that_is_not_there_is_a_finding_and_no_failure_of_the_account(
    make: Callable[..., Lab], there: Path
) -> None:
    there.rmdir()
    lab = make()
    look(lab, 1)

    assert problem(lab)["problem"] == "No such file or directory: make it, and have our user there read and write it"
    assert [a.failures for a in lab.rows(t.accounts) if a.name == "dpd"] == [None]
    there.mkdir()
    look(lab, 1)
    assert problem(lab) == {}


def test_links_and_large_files_are_left_and_told(make: Callable[..., Lab], there: Path, tmp_path: Path) -> None:
    lab = make(", largest: 100")
    (there / "link.csv").symlink_to("/etc/passwd")
    (there / "big.csv").write_bytes(b"x" * 101)
    (there / "folder.csv").mkdir()
    look(lab)

    assert problem(lab)["problem"] == (
        "big.csv: has 101 bytes, more than `largest` (100); folder.csv: is a folder: what lies in it is not read; "
        "link.csv: is a link: it is not followed"
    )


def test_a_file_that_is_left_half_way_is_fetched_again_and_gone_on_with(
    make: Callable[..., Lab], there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make()
    put(there, count=21_000)
    look(lab, 1)
    lab.ctx.stopping = lambda: len(lab.rows(t.inbox)) >= 100
    look(lab, 1)
    (row,) = lab.rows(t.files)
    assert (row.state, 0 < row.read_to < row.size) == ("reading", True)
    lab.ctx.stopping = lambda: False
    lab.change(t.files.update().values(claimed_until=None))
    look(lab, 1)

    assert states(lab) == [("a.csv", "done")]
    assert [int(r.headers["line"]) for r in lab.rows(t.inbox)] == list(range(2, 21_002, 100))


def test_check_says_whether_the_server_can_be_used(make: Callable[..., Lab], there: Path) -> None:
    put(there)
    lab = make()

    assert watch.prove(lab.ctx, lab.ctx.config.accounts["dpd"]) == "127.0.0.1: /out: fine, 1 files lie there"
    wrong = make(key=OTHER_KEY)
    with pytest.raises(CredentialsRejected, match=r"none of `sftp\.host_key`"):
        watch.prove(wrong.ctx, wrong.ctx.config.accounts["dpd"])


# the server alone


def part(server: Server, **more: Any) -> SftpPart:
    given = {"host": "127.0.0.1", "port": server.port, "path": "/out", "user": "dpd", "password": PASSWORD,
             "host_key": HOST_KEY.get_fingerprint()}  # fmt: skip
    return SftpPart.model_validate(given | more)


@pytest.mark.usefixtures("database")
def test_a_host_that_is_private_is_not_called_unless_it_is_allowed(server: Server) -> None:
    with (
        pytest.raises(Refused, match=r"127\.0\.0\.1, which is not public"),
        open_server(part(server), allow=(), timeout=5),
    ):
        pass
    assert server.logins == 0


@pytest.mark.usefixtures("database")
def test_a_step_that_hangs_ends_at_its_deadline(server: Server, there: Path) -> None:
    put(there)
    with open_server(part(server), allow=["127.0.0.1"], timeout=5) as place:
        (listed,) = place.entries()
        server.hangs, place._timeout = True, 0.2
        with pytest.raises(Transient, match="TimeoutError"):
            place.same(listed)


@pytest.mark.usefixtures("database")
def test_a_file_is_fetched_no_further_than_it_was_listed_and_gone_or_changed_ones_are_seen(
    server: Server, there: Path
) -> None:
    put(there)
    with open_server(part(server), allow=["127.0.0.1"], timeout=5) as place:
        (listed,) = place.entries()
        (there / "a.csv").write_bytes(b"x" * 100_000)
        with closing(place.open(listed)) as file:
            assert len(file.read()) == listed.size + 1
        assert not place.same(listed)
        place.after(listed, failed=False)
        (there / "a.csv").unlink()
        assert not place.same(listed)
        with pytest.raises(FileNotFoundError):
            place.open(listed)


@pytest.mark.usefixtures("database")
def test_more_files_than_can_be_looked_at_are_refused(
    server: Server, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp_, "MOST_LISTED", 2)
    for name in "abc":
        put(there, name)
    with (
        open_server(part(server), allow=["127.0.0.1"], timeout=5) as place,
        pytest.raises(Refused, match="more than 2"),
    ):
        place.entries()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"key": "not a key", "password": None}, "sftp.key is no private key"),
        ({"host": "nowhere.invalid"}, "nowhere.invalid cannot be resolved"),
    ],
)
def test_what_keeps_us_from_connecting_is_said_without_what_we_know(
    server: Server, more: dict[str, Any], said: str
) -> None:
    with (
        pytest.raises((CredentialsRejected, Transient)) as error,
        open_server(part(server, **more), allow=["127.0.0.1"], timeout=5),
    ):
        pass
    assert said in str(error.value)


@pytest.mark.usefixtures("database")
def test_a_host_key_is_named_by_its_fingerprint_or_a_line_of_ssh_keyscan() -> None:
    public = HOST_KEY.export_public_key().decode().strip()

    assert {fingerprint(one) for one in (public, f"host.example {public}", HOST_KEY.get_fingerprint())} == {
        HOST_KEY.get_fingerprint()
    }


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("sftp", "said"),
    [
        ("{host: h, user: u, password: '${env:X}'}", "host_key: Field required"),
        ("{host: h, user: u, host_key: ssh-ed25519}", "is no host key"),
        ("{host: h, user: u, password: '${env:X}', host_key: 'SHA256:short'}", "is no host key"),
        ("{host: h, user: u, host_key: 'KEY'}", "password or key says who we are"),
        ("{host: h, user: u, password: '${env:X}', key: '${env:X}', host_key: 'KEY'}", "password or key says who we are"),
        ("{host: h, user: u, password: literally, host_key: 'KEY'}", "a secret must not stand in the file"),
        ("{host: h, user: u, password: '${env:X}', host_key: 'KEY', after: rename}", "is leave, delete, or move to FOLDER"),
        ("{host: h, user: u, password: '${env:X}', host_key: 'KEY', hots: x}", "unknown key"),
        ("{host: h, user: u, password: '${env:X}', host_key: 'KEY'}, folder: /in", "one of the two"),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_meant_is_refused_at_load(
    sftp: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X", "secret-0123456789")
    csv = "uses: csv, carrier: dpd, columns: {number: N, code: C, time: T}"
    with pytest.raises(ConfigError, match=r"<text>:2:\d+: accounts") as error:
        load_text(f"accounts:\n  dpd: {{{csv}, sftp: {sftp.replace('KEY', HOST_KEY.get_fingerprint())}}}\n")

    assert said in str(error.value)


def test_a_folder_that_is_named_as_a_file_is_told_once_and_left(make: Callable[..., Lab], there: Path) -> None:
    (there / "b.csv").mkdir()
    (there / "deeper").mkdir()
    lab = make()
    look(lab, 3)

    assert (states(lab), problem(lab)["problem"]) == ([], "b.csv: is a folder: what lies in it is not read")
    assert len(lab.rows(t.findings)) == 1

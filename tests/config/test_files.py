"""Files: what is read must be a file, small and ours; what is written nobody else can read; what is loose is told."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tracker.config import files
from tracker.config.files import Unfit, loose, read_bounded, write_private
from tracker.config.load import load_config, load_text, loose_files
from tracker.domain.errors import ConfigError

KEY = "canary-in-a-file"


def secret(folder: Path, name: str = "key", mode: int = 0o600, body: bytes = KEY.encode()) -> Path:
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(body)
    path.chmod(mode)
    return path


def problem(path: Path | str) -> str:
    """Say what is wrong with a secret in that file."""
    with pytest.raises(ConfigError) as error:
        load_text(f"accounts: {{a: {{uses: easypost, api_key: '${{file:{path}}}'}}}}")
    (said,) = [one for one in error.value.problems if "secret file" in one or "not set" in one]
    assert "canary" not in said.replace(str(path), "")
    return said


def value(path: Path | str) -> str:
    found: Any = load_text(f"accounts: {{a: {{uses: easypost, api_key: '${{file:{path}}}'}}}}").accounts["a"]
    return str(found.source.settings.api_key.get_secret_value())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o601, 0o622])
def test_a_secret_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    assert "chmod 600" in problem(secret(tmp_path, mode=mode))
    assert value(secret(tmp_path, "own", 0o400)) == KEY
    assert value(secret(tmp_path, "windows", body=b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")) == KEY


@pytest.mark.parametrize("what", ["fifo", "directory", "/dev/zero", "/dev/full", "/dev/tty", "socket"])
def test_a_secret_that_is_no_regular_file_is_refused_before_it_is_read(tmp_path: Path, what: str) -> None:
    """A FIFO would make us wait for ever, an endless device costs all memory."""
    path = Path(what) if what.startswith("/") else tmp_path / what
    if what == "fifo":
        os.mkfifo(path, 0o600)
    elif what == "directory":
        path.mkdir(mode=0o700)
    elif what == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    assert "is no regular file" in problem(path)


def test_a_secret_of_more_than_64_kib_is_refused(tmp_path: Path) -> None:
    assert len(value(secret(tmp_path, "most", body=b"x" * (64 << 10)))) == 64 << 10
    assert "is larger than 65536 bytes" in problem(secret(tmp_path, "more", body=b"x" * ((64 << 10) + 1)))
    sparse = secret(tmp_path, "sparse", body=b"")
    os.truncate(sparse, 1 << 40)
    assert "is larger than 65536 bytes" in problem(sparse)


def test_what_the_kernel_makes_up_is_bounded_although_it_has_no_size() -> None:
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(Unfit, match="is larger than 10 bytes"):
        read_bounded(Path("/proc/self/maps"), 10)
    assert read_bounded(Path("/proc/self/maps"), 1 << 24)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o773])
def test_a_secret_in_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = secret(folder)
    folder.chmod(mode)
    assert "a folder that everybody can write to" in problem(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert "a folder that everybody can write to" in problem(link)
    folder.chmod(0o755)
    assert value(path) == value(link) == KEY


def test_a_secret_that_kubernetes_mounts_is_read_and_a_link_that_anybody_can_turn_is_not(tmp_path: Path) -> None:
    """A mounted secret is a link in a folder of mode 1777, by way of a link to a folder of a date."""
    mounted = tmp_path / "mounted"
    dated = mounted / "..2026_11_02"
    dated.mkdir(parents=True)
    secret(dated)
    (mounted / "..data").symlink_to(dated.name)
    (mounted / "key").symlink_to("..data/key")
    mounted.chmod(0o1777)
    assert value(mounted / "key") == KEY

    mounted.chmod(0o777)
    assert "a folder that everybody can write to" in problem(mounted / "key")


def test_a_secret_that_root_hands_to_our_group_is_read_and_no_other_of_that_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes (fsGroup) and systemd (LoadCredential, whose access list shows as the group's bits) give no other mode to who is not root."""
    told = list(os.stat(secret(tmp_path, mode=0o440)))

    def refused(mode: int, owner: int, us: int) -> bool:
        told[stat.ST_MODE], told[stat.ST_UID] = stat.S_IFREG | mode, owner
        monkeypatch.setattr(os, "geteuid", lambda: us)
        try:
            files._must_be_private(tmp_path / "key", os.stat_result(told))
        except Unfit:
            return True
        return False

    assert not refused(0o440, 0, 10001)
    assert refused(0o440, 10001, 10001)  # ours, and open to a group
    assert refused(0o440, 0, 0)
    assert refused(0o460, 0, 10001) and refused(0o444, 0, 10001)


def test_a_secret_of_a_unit_of_systemd_lies_where_it_was_handed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret(tmp_path, "secrets_key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert value("$CREDENTIALS_DIRECTORY/secrets_key") == KEY
    assert f"{tmp_path}/none cannot be read" in problem("$CREDENTIALS_DIRECTORY/none")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "CREDENTIALS_DIRECTORY is not set: the unit of systemd hands it to what it starts" in problem(
        "$CREDENTIALS_DIRECTORY/secrets_key"
    )


@pytest.mark.parametrize("name", ["none", "loop", "a\0b", "x" * 5000, "key/more"])
def test_a_secret_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    secret(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Unfit, match="cannot be read"):
        read_bounded(tmp_path / name, 10, secret=True)


def test_a_file_that_cannot_be_opened_or_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = secret(tmp_path)

    def fails(*_: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fails)
    with pytest.raises(Unfit, match="cannot be read: Input/output error"):
        read_bounded(path, 100)


@pytest.mark.parametrize("what", ["fifo", "directory", "/dev/zero"])
def test_a_configuration_that_is_no_regular_file_is_refused(tmp_path: Path, what: str) -> None:
    path = Path(what) if what.startswith("/") else tmp_path / what
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    with pytest.raises(ConfigError, match="is no regular file"):
        load_config(path)


# what we write


def test_what_is_written_nobody_else_can_read_even_where_it_was_open_before(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = tmp_path / "pack.zip"
        write_private(path, b"one")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o600)
        path.chmod(0o644)
        held = path.open("rb")
        write_private(path, b"two")
    finally:
        os.umask(old)

    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o600)
    assert held.read() == b"one"  # who had it open reads on what was there
    held.close()
    assert os.listdir(tmp_path) == ["pack.zip"]


def test_neither_a_device_nor_a_link_nor_a_folder_is_written_over(tmp_path: Path) -> None:
    mine = secret(tmp_path)
    (tmp_path / "link").symlink_to(mine)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("link", "fifo", "folder", "/dev/null", "/dev/stdout"):
        with pytest.raises(OSError, match="is no regular file") as error:
            write_private(tmp_path / name, b"x")
        assert error.value.filename == str(tmp_path / name)
    with pytest.raises(OSError, match="No such file") as error:
        write_private(tmp_path / "none" / "x", b"x")
    assert error.value.filename == f"{tmp_path}/none/x"

    assert mine.read_bytes() == KEY.encode()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pack.zip"
    write_private(path, b"one")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        write_private(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["pack.zip"]


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    threads = [threading.Thread(target=write_private, args=(path, b"%d" % n * 100_000)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(path.read_bytes()) == 100_000
    assert len(set(path.read_bytes())) == 1


# what is loose


@pytest.mark.parametrize(
    ("folder", "file", "said"),
    [
        (0o700, 0o600, []), (0o711, 0o600, [("looked into", False)]), (0o755, 0o600, [("looked into", False)]),
        (0o755, 0o644, [("read or changed", True), ("looked into", False)]), (0o777, 0o600, [("folder", True)]),
        (0o1777, 0o600, [("folder", True)]), (0o770, 0o640, [("read or changed", True), ("folder", True)]),
    ],
)  # fmt: skip
def test_a_file_or_folder_with_loose_modes_is_told(
    tmp_path: Path, folder: int, file: int, said: list[tuple[str, bool]]
) -> None:
    place = tmp_path / "db"
    place.mkdir()
    path = secret(place, "x.db", file)
    place.chmod(folder)
    told = list(loose(path, place / "none"))

    assert [serious for _, serious in told] == [serious for _, serious in said]
    assert all(words in one for (one, _), (words, _) in zip(told, said, strict=True))


def test_database_notices_and_configuration_are_looked_at(tmp_path: Path) -> None:
    for name in ("db", "db-wal", "notices"):
        secret(tmp_path, name, 0o644)
    path = secret(
        tmp_path, "tracker.yaml", 0o620,
        f"database: sqlite:///{tmp_path}/db\nnotices: {{file: {tmp_path}/notices}}\n".encode(),
    )  # fmt: skip
    told = [said for said, _ in loose_files(load_config(path))]

    assert [said.partition(" ")[0] for said in told] == [
        f"{tmp_path}/{n}" for n in ("db", "db-wal", "notices", "tracker.yaml")
    ]
    path.write_text("database: postgresql://h/x\n")
    path.chmod(0o644)
    assert list(loose_files(load_config(path))) == []
    assert list(loose_files(load_text(""))) == []  # no file

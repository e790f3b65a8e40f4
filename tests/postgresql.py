"""A real PostgreSQL for the tests: on a socket in a folder of its own, by a user that is not root."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest

ROLE = "postgres"
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# What a crash of the machine would cost, no test is about.
FAST = ("fsync=off", "full_page_writes=off", "max_connections=300", "shared_buffers=32MB")
START_S = 60


class PostgreSqlServer:
    """A cluster that can be stopped and started again, with a database for each who asks.

    Args:
        folder: Of the cluster and its socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Makes the cluster."""
        command = [
            "initdb",
            "-D",
            "data",
            "-U",
            ROLE,
            "--auth=trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(self._as_user(command), cwd=self._folder, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Lets it serve, and waits until it does."""
        options = [part for option in FAST for part in ("-c", option)]
        command = ["postgres", "-D", "data", "-k", str(self._folder), "-h", "", *options]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(self._as_user(command), cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                pytest.fail("PostgreSQL did not come up: " + (self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def stop(self) -> None:
        """Ends it, with every connection."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(START_S)
            self._process = None

    def new_url(self) -> str:
        """Makes an empty database and tells where it is."""
        name = f"t{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://{ROLE}@/{name}?host={self._folder}"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _as_user(self, command: list[str]) -> list[str]:
        program = [str(PROGRAMS[-1] / command[0]), *command[1:]]
        # It ends with the tests, however they end.
        drop = ["--reuid", ROLE, "--regid", ROLE, "--clear-groups"] if os.geteuid() == 0 else []
        return ["setpriv", *drop, "--pdeathsig", "INT", "--", *program]


@contextmanager
def postgresql_server() -> Iterator[PostgreSqlServer]:
    """Runs one, which is gone at the end."""
    if not PROGRAMS:
        lacking = "PostgreSQL is missing: run scripts/system-packages test"
        if os.environ.get("CI") or os.geteuid() == 0:
            pytest.fail(lacking)
        pytest.skip(lacking)
    # Short, as a socket's path must be, and open to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="lmspg-"))
    if os.geteuid() == 0:
        user = pwd.getpwnam(ROLE)
        os.chown(folder, user.pw_uid, user.pw_gid)
    server = PostgreSqlServer(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSqlServer]:
    """One for all tests of a worker; each takes a database of its own and none may stop it."""
    with postgresql_server() as server:
        yield server

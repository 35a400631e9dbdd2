"""A private PostgreSQL server for tests: own directory, a Unix socket, no TCP port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from infra.testbed.processes import stop

START_TIMEOUT_S = 60.0
USER = "pla"


class Unavailable(Exception):
    """The server cannot be had on this machine; says why, and what to install."""


class Cluster:
    """A running server in `directory`, which also holds its socket."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self._directory = directory
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        self._created = 0

    def create_database(self) -> str:
        """A new, empty database (7 MB); returns its SQLAlchemy URL."""
        name = self._create("DATABASE")
        return f"postgresql+psycopg://{USER}@/{name}?host={self._directory}"

    def create_schema(self) -> str:
        """A new, empty schema, much cheaper than a database; returns a URL that sees only it."""
        name = self._create("SCHEMA")
        where = f"host={self._directory}&options=-csearch_path%3D{name}"
        return f"postgresql+psycopg://{USER}@/postgres?{where}"

    def _create(self, what: str) -> str:
        self._created += 1
        name = f"test{self._created}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE {what} {name}".encode())
        return name

    def initialise(self) -> None:
        """Make the data directory. Raises CalledProcessError."""
        options = ["-U", USER, "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"]
        subprocess.run(
            [*self._unprivileged, self._programs / "initdb", "-D", self._data, *options],
            check=True,
            capture_output=True,
            cwd=self._directory,
        )

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            Unavailable: it ended, or did not answer in time; holds the end of its log.
        """
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._directory),
            "fsync": "off",
            "max_connections": "40",
            "shared_buffers": "16MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._unprivileged, self._programs / "postgres", "-D", self._data, *options],
                stdout=log,
                stderr=log,
                cwd=self._directory,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise Unavailable(f"PostgreSQL does not start: {self._log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server, if it runs: at once, for nobody needs its data any more."""
        if self._process is None:
            return
        stop(self._process, signal.SIGQUIT)
        self._process = None

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _unprivileged(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return []
        owner = self._directory.stat()
        return [
            "setpriv",
            f"--reuid={owner.st_uid}",
            f"--regid={owner.st_gid}",
            "--clear-groups",
        ]

    def _conninfo(self, database: str) -> str:
        return f"host={self._directory} user={USER} dbname={database} connect_timeout=5"

    def _answers(self) -> bool:
        try:
            psycopg.connect(self._conninfo("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def _log_tail(self) -> str:
        return (self._directory / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def server_programs() -> Path:
    """Directory of the newest installed server's programs.

    Raises:
        Unavailable: none is installed.
    """
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parent.parent.name),
    )
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    if on_path and (Path(on_path).parent / "initdb").exists():
        return Path(on_path).parent
    raise Unavailable("PostgreSQL's server is not installed: apt-get install postgresql")


@contextmanager
def private_cluster() -> Iterator[Cluster]:
    """A server that lives as long as the context. Raises Unavailable."""
    programs = server_programs()
    directory = Path(tempfile.mkdtemp(prefix="pla-postgres-"))
    try:
        if os.geteuid() == 0:
            owner = _unprivileged_user()
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        cluster = Cluster(directory, programs)
        try:
            cluster.initialise()
            cluster.start()
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"initdb failed: {error.stderr.decode()[-2000:]}") from error
        except OSError as error:
            raise Unavailable(f"PostgreSQL cannot be started: {error}") from error
        else:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory)


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unavailable("there is neither a user `postgres` nor `nobody` to run PostgreSQL as")

"""The programs that are recorded: where they are, and which package a missing one comes from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from infra.recorder.catalogue import Workload

PACKAGES = {
    "nginx": "nginx-light",
    "redis-server": "redis-server",
    "memcached": "memcached",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "pg_dump": "postgresql",
    "pgbench": "postgresql",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "gzip": "gzip",
    "xz": "xz-utils",
    "zstd": "zstd",
    "bzip2": "bzip2",
    "sort": "coreutils",
    "sqlite3": "sqlite3",
    "openssl": "openssl",
    "git": "git",
    "gcc": "gcc",
    "perl": "perl",
    "awk": "mawk",
    "sha256sum": "coreutils",
    "tar": "tar",
    "bash": "bash",
    "setpriv": "util-linux",
}


class RecorderError(RuntimeError):
    """Something a person must put right before recording; the message says what."""


def program(name: str) -> str:
    """The full path of a program (PostgreSQL's own folder included), or a RecorderError."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    path = f"{versions[-1]}:{os.environ.get('PATH', '')}" if versions else None
    found = shutil.which(name, path=path)
    if not found:
        raise RecorderError(_missing([name]))
    return found


def check_programs(chosen: tuple[Workload, ...]) -> None:
    """Fails early, and names everything that is missing at once."""
    needed = {"bash"} | {w.program for w in chosen if not w.program.startswith("python:")}
    needed |= (
        {"initdb", "pgbench", "setpriv"} if any(w.kind == "postgres" for w in chosen) else set()
    )
    needed |= {"javac"} if any(w.kind == "java" for w in chosen) else set()
    missing = []
    for name in sorted(needed):
        try:
            program(name)
        except RecorderError:
            missing.append(name)
    if missing:
        raise RecorderError(_missing(missing))


def _missing(names: list[str]) -> str:
    packages = " ".join(sorted({PACKAGES.get(name, name) for name in names}))
    cure = f"`apt-get install --no-install-recommends {packages}`, then record again"
    return f"not installed: {', '.join(names)}: {cure}"


def as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return command
    return [program("setpriv"), "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]

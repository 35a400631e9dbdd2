"""PostgreSQL servers: data folders with pgbench's tables, and the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.recorder.executables import as_postgres, program
from infra.recorder.sites import Site

SETTINGS = (
    "synchronous_commit=off",
    "max_connections=20",
    "autovacuum_naptime=10s",
    "max_wal_size=64MB",
    "min_wal_size=32MB",
    "checkpoint_timeout=60s",
)


def prepare_postgres(site: Site, scale: int) -> None:
    """Makes a data folder with pgbench's tables; initdb runs once per recording and is copied."""
    template = site.run / "postgres-template"
    if not template.is_dir():
        _own_folder(template)
        initdb = [program("initdb"), "-D", str(template), "-U", "postgres", "-A", "trust"]
        _run(as_postgres([*initdb, "--no-locale", "-E", "UTF8"]))
    _own_folder(site.folder)
    _run(as_postgres(["cp", "-a", str(template), str(site.data)]))
    control = [program("pg_ctl"), "-D", str(site.data), "-w", "-s"]
    flags = f"-c listen_addresses='' -c unix_socket_directories={site.folder} -c fsync=off"
    _run(as_postgres([*control, "-o", flags, "-l", str(site.folder / "init.log"), "start"]))
    try:
        connect = ["-h", str(site.folder), "-U", "postgres"]
        _run([program("pgbench"), *connect, "-i", "-q", "-s", str(scale), "postgres"])
    finally:
        _run(as_postgres([*control, "-m", "fast", "stop"]))


def _own_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def postgres_command(site: Site, options: Mapping[str, Any]) -> list[str]:
    """The server in the foreground; it listens on a socket in the workload's folder only."""
    own = (
        "listen_addresses=",
        f"unix_socket_directories={site.folder}",
        f"shared_buffers={options['shared_buffers_mb']}MB",
    )
    flags = [word for setting in (*own, *SETTINGS) for word in ("-c", setting)]
    return as_postgres([program("postgres"), "-D", str(site.data), *flags])

"""Programs out of Debian's packages, unpacked into a cache and not installed.

Installing would start services and needs no root here: a test needs the program, nothing else.
The cache is `PLA_TESTBED_CACHE`, or `pla-testbed` in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = "PLA_TESTBED_CACHE"


class Unavailable(Exception):
    """The program cannot be had on this machine; says why, and what to install."""


def program(package: str, name: str) -> Path:
    """The program `name` of Debian's `package`: installed, cached, or fetched now.

    Raises:
        Unavailable: it is not installed and cannot be fetched.
    """
    installed = shutil.which(name)
    if installed is not None:
        return Path(installed)
    root = cache() / package
    found = root / "usr" / "bin" / name
    if not found.exists():
        _fetch(package, root)
    if not found.exists():
        raise Unavailable(f"Debian's package {package} holds no /usr/bin/{name}")
    return found


def cache() -> Path:
    """The folder that outlives test runs, outside of any work tree; it exists."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    folder = Path(os.environ.get(CACHE) or Path(base) / "pla-testbed")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fetch(package: str, root: Path) -> None:
    """Download `package` and unpack it to `root`, once for all processes that want it."""
    with (cache() / f"{package}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if root.exists():
            return
        with tempfile.TemporaryDirectory(dir=cache(), prefix=f"{package}-") as name:
            folder = Path(name)
            download = ["apt-get", "download", "-q", package]
            try:
                _run(download, folder, package)
            except Unavailable:
                if os.geteuid() != 0:
                    raise
                # A fresh machine has no lists of packages yet.
                _run(["apt-get", "update", "-q"], folder, package)
                _run(download, folder, package)
            archives = list(folder.glob("*.deb"))
            if len(archives) != 1:
                raise Unavailable(f"apt-get download {package}: left {len(archives)} archives")
            _run(["dpkg", "-x", str(archives[0]), "root"], folder, package)
            # Renamed into place: nobody ever sees half a package.
            (folder / "root").rename(root)


def _run(command: list[str], folder: Path, package: str) -> None:
    cure = f"install it, e.g. with apt-get install {package}"
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{package}: {' '.join(command)}: {error}; {cure}") from error
    if done.returncode:
        raise Unavailable(f"{package}: {' '.join(command)}: {done.stderr.strip()[-500:]}; {cure}")

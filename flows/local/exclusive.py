"""One `pla up` per home."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from pla import home
from pla.home import Running


class AlreadyRunning(Exception):
    """Another `pla up` has this home. Says which, where its pages are, and since when."""


def hold(folder: Path) -> IO[str]:
    """Hold `folder` for as long as the returned file is open, and no longer than this process.

    Raises:
        AlreadyRunning: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "up.lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise AlreadyRunning(_describe(folder, home.running(folder))) from None
    # What a killed one left would send commands to servers that are gone.
    home.state_file(folder).unlink(missing_ok=True)
    return lock


def _describe(folder: Path, state: Running | None) -> str:
    if state is None:
        return f"pla up runs already in {folder}, and is just starting"
    since = datetime.fromtimestamp(state.since_s, UTC)
    lines = [
        f"pla up runs already in {folder}: pid {state.pid}, since {since:%Y-%m-%d %H:%M:%S} UTC",
        f"  Prefect  {state.prefect_api_url.removesuffix('/api')}",
        f"  MLflow   {state.mlflow_uri}",
    ]
    if state.simulator_url is not None:
        lines.append(f"  cluster  {state.simulator_url} (simulated)")
    lines.append("Stop it with Ctrl-C there, or set PLA_HOME to run a second one.")
    return "\n".join(lines)

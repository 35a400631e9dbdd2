"""`python -m flows.worker --config F`: the warm worker, a process that ticks.

It opens the runtime once, declares the deployments, cleans up after a dead predecessor, and runs
what Prefect schedules (`flows.warm`). While Prefect is away, ticks go on by its own timer.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from flows import environment
from flows.warm.host import Host, Runtime, open_exposed
from pla.clock import SystemClock
from pla.ports import ActuatorError, SourceError, StoreError
from pla.settings import ConfigError, Settings

log = logging.getLogger("pla.worker")

QUERY_S = 1.0
OpenRuntime = Callable[[Settings], Runtime]


def main(arguments: Sequence[str] | None = None, opener: OpenRuntime = open_exposed) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code (0 stopped, 1 failed, 2 bad config).

    `opener` connects the runtime: another one ticks something else in the very same way.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request
    if options.config is not None:
        os.environ[environment.CONFIG] = str(options.config.absolute())
    try:
        settings = environment.settings_in_force()
        settings.home.mkdir(parents=True, exist_ok=True)
        lock = _only_one(settings.home, options.name)
    except (ConfigError, OSError) as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    if lock is None:
        print(f"worker: {options.name!r} runs already in {settings.home}", file=sys.stderr)
        return 1
    with lock:
        environment.prepare(settings, QUERY_S)
        return _serve(settings, options.name, options.first_answer_within, opener)


def _serve(settings: Settings, name: str, patience_s: float, opener: OpenRuntime) -> int:
    # Here, because importing it imports Prefect.
    from flows.warm.service import serve

    try:
        runtime = opener(settings)
    except (StoreError, ActuatorError, SourceError) as error:
        print(f"worker: {error}", file=sys.stderr)
        return 1
    host = Host(runtime, SystemClock())
    try:
        asyncio.run(serve(settings, host, name, patience_s))
    finally:
        runtime.close()
    return 0


def _only_one(home: Path, name: str) -> IO[str] | None:
    """Hold the name in this home: a former worker of the same name is dead then. None if taken."""
    lock = (home / f"worker-{name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.worker", description=__doc__)
    parser.add_argument("--config", type=Path, help="pla.yaml; without it, the demo")
    parser.add_argument(
        "--name", default=socket.gethostname(), help="its name in Prefect (default: the host's)"
    )
    parser.add_argument(
        "--first-answer-within",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="so long no tick is made before Prefect has answered for the first time",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())

"""A server as a child process: started on a free loopback port, ready before it is used."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.testbed.debian import Unavailable

START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str | Path], log: Path, ready_url: str) -> Iterator[None]:
    """Run `command` until the context ends; it is entered when `ready_url` answers.

    Raises:
        Unavailable: it ended or did not become ready; holds the end of its log.
    """
    with log.open("ab") as output:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=output)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not _answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline_s:
                tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
                raise Unavailable(f"{command[0]} does not start: {tail}")
            time.sleep(0.03)
        yield
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any], number: signal.Signals = signal.SIGTERM) -> None:
    """Ask `process` to end by the signal `number`, and end it where it does not."""
    process.send_signal(number)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) == 200
    except urllib.error.HTTPError as error:
        # A server behind TLS or a password says so as soon as it is there.
        return error.code in (400, 401)
    except (urllib.error.URLError, OSError):
        return False

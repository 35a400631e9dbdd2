"""The audit journal: one JSON line per resize that took effect, numbered without gaps.

It is written by the platform's own process, so that a test can see from outside what really
happened, whatever became of the program that asked for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actuators.simulator.applied import AppliedResize

FILE_NAME = "resizes.jsonl"


class Journal:
    """Appends to `folder`/resizes.jsonl; goes on with the numbers of the lines already there.

    Line: `seq` (from 1), `at_s` (simulated time), `instance`, `workload`, `resource`, `from`,
    `to`, `version` (the precondition it was accepted under).
    """

    def __init__(self, folder: Path) -> None:
        """Open or create the journal.

        Raises:
            ValueError: the folder cannot be written, or a complete line is not a journal's.
        """
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._seq = _mend(self.path)
            self._file = self.path.open("ab")
        except OSError as error:
            raise ValueError(
                f"{self.path}: cannot be written ({error}); choose --journal"
            ) from None

    def __call__(self, applied: Sequence[AppliedResize]) -> None:
        """Write `applied`, and hand it to the operating system before returning."""
        lines = []
        for item in applied:
            self._seq += 1
            line = {
                "seq": self._seq,
                "at_s": item.at_s,
                "instance": item.instance,
                "workload": item.workload,
                "resource": item.resource,
                "from": item.current,
                "to": item.target,
                "version": item.version,
            }
            lines.append(json.dumps(line) + "\n")
        self._file.write("".join(lines).encode())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a journal, oldest first; a last line being written is left out."""
    text = path.read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def _mend(path: Path) -> int:
    """Cut off a last line that a crash left unfinished; returns the newest number, 0 = none."""
    if not path.exists():
        return 0
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    lines = text[:whole].splitlines()
    if not lines:
        return 0
    try:
        return int(json.loads(lines[-1])["seq"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: line {len(lines)} is no journal line; move the file") from None

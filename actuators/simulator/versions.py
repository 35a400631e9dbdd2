"""Write preconditions as the strings that the ports want, made anew only where they changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class VersionStrings:
    """Turns revision counters into version strings; most are the same as last time."""

    def __init__(self) -> None:
        self._revision: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._strings: list[str] = []
        self._tuple: tuple[str, ...] = ()

    def of(self, revision: NDArray[np.int64]) -> tuple[str, ...]:
        """Version strings of `revision` (instance,), in order."""
        if len(revision) != len(self._revision):
            self._strings = [str(number) for number in revision.tolist()]
        else:
            changed = np.flatnonzero(revision != self._revision)
            if not len(changed):
                return self._tuple
            for row, number in zip(changed.tolist(), revision[changed].tolist(), strict=True):
                self._strings[row] = str(number)
        self._revision = revision.copy()
        self._tuple = tuple(self._strings)
        return self._tuple

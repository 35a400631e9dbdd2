"""The usage of closed steps that the simulated platform's own metering remembers."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pla.core.fleet import Bools, UsageBlock

Singles = NDArray[np.float32]


class _Step(NamedTuple):
    used: Singles
    censored: NDArray[np.uint8]  # packed along the workloads
    killed: NDArray[np.uint8]


class History:
    """The newest `keep` steps of (resource, workload) cells.

    A step is kept in 4 bytes and a bit per cell; nothing is set aside for steps to come.
    """

    def __init__(self, keep: int, start_s: int, step_s: int, cells: tuple[int, int]) -> None:
        self._steps: deque[_Step] = deque(maxlen=keep)
        self._cells = cells
        self.end_s, self.step_s = start_s, step_s

    def append(self, used: Singles, censored: Bools, killed: Bools) -> None:
        """Add the next step: (resource, workload) twice, and (workload,)."""
        self._steps.append(_Step(used, np.packbits(censored, axis=-1), np.packbits(killed)))
        self.end_s += self.step_s

    def write(self, end_s: int, block: UsageBlock, index: int) -> None:
        """Copy the step that ended at `end_s` into `block[index]`; a forgotten one is a gap."""
        back = (self.end_s - end_s) // self.step_s
        if not 0 <= back < len(self._steps):
            block.values[index] = np.nan
            return
        step = self._steps[-1 - back]
        workloads = self._cells[1]
        block.values[index] = step.used
        block.censored[index] = np.unpackbits(step.censored, axis=-1, count=workloads)
        block.killed[index] = np.unpackbits(step.killed, count=workloads)

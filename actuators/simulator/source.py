"""`pla.ports.MetricsSource` for a simulated cluster in this process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actuators.simulator.cluster import SimulatedCluster
from pla.core.fleet import UsageBlock
from pla.core.resources import specs
from pla.ports import Clock, SourceError

Rows = NDArray[np.int64]


class Selector:
    """Picks the asked workloads and resources out of a whole cluster's block, in their order."""

    def __init__(self, workloads: tuple[str, ...], resources: tuple[str, ...]) -> None:
        self._workloads = workloads
        self._resources = resources
        self._asked: tuple[str, ...] = workloads
        self._rows: Rows | None = None

    def select(
        self, block: UsageBlock, workloads: Sequence[str], resources: Sequence[str]
    ) -> UsageBlock:
        """`block` for `workloads` and `resources`; what the cluster does not have is a gap."""
        rows = self._rows_of(tuple(workloads))
        if rows is None and tuple(resources) == self._resources:
            return block
        specs(resources)
        if rows is None:
            rows = np.arange(len(self._workloads))
        shape = (block.steps, len(resources), len(rows))
        values = np.full(shape, np.nan, dtype=np.float32)
        censored = np.zeros(shape, dtype=np.bool_)
        known = rows >= 0
        for column, name in enumerate(resources):
            if name in self._resources:
                own = self._resources.index(name)
                values[:, column, known] = block.values[:, own][:, rows[known]]
                censored[:, column, known] = block.censored[:, own][:, rows[known]]
        killed = np.zeros((block.steps, len(rows)), dtype=np.bool_)
        killed[:, known] = block.killed[:, rows[known]]
        return UsageBlock(values, censored, killed, block.end_s, block.step_s)

    def _rows_of(self, workloads: tuple[str, ...]) -> Rows | None:
        """Row of each workload, -1 = unknown; None: all in the cluster's own order."""
        if workloads != self._asked:
            row_of = {name: row for row, name in enumerate(self._workloads)}
            self._rows = np.array([row_of.get(name, -1) for name in workloads], dtype=np.int64)
            self._asked = workloads
            if workloads == self._workloads:
                self._rows = None
        return self._rows


def coarser(block: UsageBlock, step_s: int) -> UsageBlock:
    """`block` in steps of `step_s`: the largest usage, and anything that held it down in between.

    Only whole coarse steps are kept.

    Raises:
        SourceError: `step_s` is no multiple of the block's step.
    """
    if step_s % block.step_s:
        raise SourceError(
            f"sim: asked for steps of {step_s} s, but the simulation runs in steps of "
            f"{block.step_s} s: set tick.step_s to a multiple of it"
        )
    each = step_s // block.step_s
    if each == 1:
        return block
    end_s = block.end_s // step_s * step_s
    cut = block.steps - (block.end_s - end_s) // block.step_s
    steps = max(cut, 0) // each
    rows = slice(cut - steps * each, cut)
    values = block.values[rows].reshape(steps, each, *block.values.shape[1:])
    killed = block.killed[rows].reshape(steps, each, block.killed.shape[1])
    return UsageBlock(
        values=np.fmax.reduce(values, axis=1),
        censored=np.logical_or.reduce(block.censored[rows].reshape(values.shape), axis=1),
        killed=np.logical_or.reduce(killed, axis=1),
        end_s=end_s,
        step_s=step_s,
    )


class SimulatorSource:
    """Usage of `cluster`: the recorded trace before the simulation began, then what was used.

    With a `clock` the cluster moves on to the clock's time at every call.
    """

    def __init__(self, cluster: SimulatedCluster, clock: Clock | None = None) -> None:
        self._cluster = cluster
        self._clock = clock
        self._selector = Selector(cluster.workload_ids, cluster.resources)

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps that end in `(start_s, end_s]`; fewer if the newest are not closed yet.

        Raises:
            SourceError: `step_s` is no multiple of the cluster's step.
        """
        if self._clock is not None:
            self._cluster.advance(self._clock.now_s())
        start_s = start_s // step_s * step_s
        block = coarser(self._cluster.usage(start_s, end_s), step_s)
        return self._selector.select(block, workloads, resources)

"""Several metrics sources as one, each owning its workloads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pla.core.fleet import UsageBlock
from pla.ports import MetricsSource, SourceError


@dataclass(frozen=True, slots=True)
class Owner:
    """A source and what it owns.

    Attributes:
        name: as errors call it.
        source: answers for its workloads.
        prefixes: `SCHEME://` or `SCHEME://AUTHORITY` of its workloads; none = what nobody else
            owns.
    """

    name: str
    source: MetricsSource
    prefixes: tuple[str, ...] = ()


class SeveralSources:
    """`pla.ports.MetricsSource` that asks each workload's own source, all of them at once.

    A source that fails makes its own workloads unavailable, and no others.
    """

    def __init__(self, owners: Sequence[Owner]) -> None:
        """Raises ValueError if two own the same prefix, or two own what is left."""
        prefixes = [prefix for owner in owners for prefix in owner.prefixes or ("",)]
        for prefix in prefixes:
            if prefixes.count(prefix) > 1:
                what = prefix or "whatever nobody else owns"
                raise ValueError(f"two metrics sources own {what}; say which in `owns`")
            if prefix and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/]*", prefix):
                raise ValueError(f"{prefix!r} is no prefix of workloads; write k8s://CLUSTER")
        self._owners = tuple(owners)
        self._asked: tuple[str, ...] | None = None
        self._rows: list[list[int]] = []
        # Their waits add up otherwise, and a dead one would delay the living.
        self._pool = ThreadPoolExecutor(max(len(owners), 1), thread_name_prefix="source")

    def read(
        self,
        workloads: Sequence[str],
        resources: Sequence[str],
        start_s: int,
        end_s: int,
        step_s: int,
    ) -> UsageBlock:
        """Closed steps that end in `(start_s, end_s]`, up to the newest that any source has.

        Workloads that no source owns are gaps, and `unavailable` says so.

        Raises:
            SourceError: no source that was asked has answered.
        """
        self._route(tuple(workloads))
        futures = {
            number: self._pool.submit(
                owner.source.read,
                [workloads[row] for row in self._rows[number]],
                resources,
                start_s,
                end_s,
                step_s,
            )
            for number, owner in enumerate(self._owners)
            if self._rows[number]
        }
        parts, unavailable = self._collect(futures, (len(resources), step_s, end_s))
        for row in self._rows[-1]:
            unavailable[row] = f"{workloads[row]}: no metrics source owns it; see sources.owns"
        if futures and not parts:
            raise SourceError("; ".join(sorted(set(unavailable.values()))))
        return self._joined(parts, unavailable, (len(resources), len(workloads)), start_s, step_s)

    def close(self) -> None:
        """End the threads; the sources are their owners' to close."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- inside ----------------------------------------------------------------------------

    def _route(self, workloads: tuple[str, ...]) -> None:
        """Rows per owner, in the owners' order, and last those that nobody owns."""
        if workloads == self._asked:
            return
        known = {
            prefix: number for number, owner in enumerate(self._owners) for prefix in owner.prefixes
        }
        rest = next((n for n, owner in enumerate(self._owners) if not owner.prefixes), -1)
        rows: list[list[int]] = [[] for _ in range(len(self._owners) + 1)]
        for row, uri in enumerate(workloads):
            scheme, _, path = uri.partition("://")
            authority = f"{scheme}://{path.partition('/')[0]}"
            number = known.get(authority, known.get(f"{scheme}://", rest))
            rows[number].append(row)
        self._asked, self._rows = workloads, rows

    def _collect(
        self, futures: dict[int, Future[UsageBlock]], expected: tuple[int, int, int]
    ) -> tuple[dict[int, UsageBlock], dict[int, str]]:
        """Blocks per owner that answered, and words per row of those that did not."""
        resources, step_s, end_s = expected
        parts: dict[int, UsageBlock] = {}
        unavailable: dict[int, str] = {}
        for number, future in futures.items():
            rows, name = self._rows[number], self._owners[number].name
            try:
                block = future.result()
            except SourceError as error:
                unavailable |= dict.fromkeys(rows, str(error))
                continue
            except Exception as error:  # a defect of one source's code must not stop the others
                words = f"metrics source {name}: {type(error).__name__}: {error}"
                unavailable |= dict.fromkeys(rows, words)
                continue
            shape = (resources, len(rows))
            if block.values.shape[1:] != shape or block.step_s != step_s or block.end_s > end_s:
                words = f"metrics source {name}: answered other cells or steps than it was asked"
                unavailable |= dict.fromkeys(rows, words)
                continue
            parts[number] = block
            unavailable |= {rows[row]: words for row, words in block.unavailable.items()}
        return parts, unavailable

    def _joined(
        self,
        parts: dict[int, UsageBlock],
        unavailable: dict[int, str],
        cells: tuple[int, int],
        start_s: int,
        step_s: int,
    ) -> UsageBlock:
        """One block of all `parts`, as long as the longest; what a shorter one lacks are gaps."""
        before_s = start_s // step_s * step_s
        end_s = max((part.end_s for part in parts.values()), default=before_s)
        steps = max((end_s - before_s) // step_s, 0)
        block = UsageBlock(
            values=np.full((steps, *cells), np.nan, dtype=np.float32),
            censored=np.zeros((steps, *cells), dtype=np.bool_),
            killed=np.zeros((steps, cells[1]), dtype=np.bool_),
            end_s=before_s + steps * step_s,
            step_s=step_s,
            unavailable=unavailable,
            warnings=tuple(sorted({words for part in parts.values() for words in part.warnings})),
            partial=any(part.partial for part in parts.values()),
        )
        for number, part in parts.items():
            rows = self._rows[number]
            last = steps - (block.end_s - part.end_s) // step_s
            count = min(part.steps, last)
            if count > 0:
                where = slice(last - count, last)
                block.values[where, :, rows] = part.values[-count:]
                block.censored[where, :, rows] = part.censored[-count:]
                block.killed[where, rows] = part.killed[-count:]
        return block

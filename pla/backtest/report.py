"""Replays, scored side by side: the table that `pla backtest` prints, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pla.backtest.spec import Replayed, Spec, peaks_ahead
from pla.core import scoring
from pla.core.fleet import Bools, Floats
from pla.core.resources import BY_NAME
from pla.core.scoring import RATES, Score, Sweep
from pla.sources.trace import Trace

RESAMPLES = 200
STRATA = ("idle third", "middle third", "busy third")


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one resource.

    Attributes:
        policy, resource: names.
        score: as shipped.
        sweep: under every margin.
        coverage: per quantile, share of hold windows within the forecast; empty for baselines.
        group_coverage: the same per group of workloads that was asked for, by its name.
        quantile_loss: weighted quantile loss of the forecasts, NaN for baselines.
        mase: of the median forecast against persistence, NaN for baselines.
        strata: score per stratum of mean usage, by name.
    """

    policy: str
    resource: str
    score: Score
    sweep: Sweep
    coverage: Mapping[float, float]
    group_coverage: Mapping[str, Mapping[float, float]]
    quantile_loss: float
    mase: float
    strata: Mapping[str, Score]

    def excess(self, rate: float, share: float = scoring.SHARE) -> float:
        """Least excess at which the promise holds, margins swept; inf where none does."""
        return self.sweep.excess_at(rate, share)[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the sweep's counts, as plain numbers."""
        attained = {}
        for share in (scoring.SHARE, 0.99):
            for rate in RATES:
                excess, factor, constant = self.sweep.excess_at(rate, share)
                attained[f"{share:.0%} of workloads at {rate:.1%}"] = {
                    "excess": excess,
                    "factor": factor,
                    "constant": constant,
                }
        return {
            "policy": self.policy,
            "resource": self.resource,
            "as_shipped": {**asdict(self.score), "excess": self.score.excess},
            "excess_at_slo_attainment": attained,
            "coverage": {str(k): v for k, v in self.coverage.items()},
            "weighted_quantile_loss": self.quantile_loss,
            "mase": self.mase,
            "strata": {name: asdict(score) for name, score in self.strata.items()},
        }


def evaluate(
    replayed: Replayed,
    usage: NDArray[np.float32],
    spec: Spec,
    promise: float,
    groups: Mapping[str, Bools] | None = None,
) -> list[Result]:
    """`replayed` scored on `usage` (decision, resource, workload) with the tier's promise.

    `groups` are masks over the workloads for which coverage is given apart.
    """
    return [
        _evaluate_resource(replayed, usage[:, column], column, resource, spec, promise, groups)
        for column, resource in enumerate(spec.resources)
    ]


def _evaluate_resource(
    replayed: Replayed,
    usage: NDArray[np.float32],
    column: int,
    resource: str,
    spec: Spec,
    promise: float,
    groups: Mapping[str, Bools] | None,
) -> Result:
    used = usage.astype(np.float64)
    amount = replayed.amounts[:, column].astype(np.float64)
    changes = replayed.changes[column]
    forecast = _Forecasts.of(replayed, usage, column, spec)
    return Result(
        policy=replayed.policy,
        resource=resource,
        score=scoring.score(used, amount, promise, spec.tick_s, changes),
        sweep=scoring.sweep(used, amount, BY_NAME[resource].floor),
        coverage=forecast.coverage(slice(None)) if forecast else {},
        group_coverage={name: forecast.coverage(rows) for name, rows in (groups or {}).items()}
        if forecast
        else {},
        quantile_loss=forecast.quantile_loss() if forecast else float("nan"),
        mase=forecast.mase(used) if forecast else float("nan"),
        strata=_strata(used, amount, changes, promise, spec.tick_s),
    )


def _strata(
    used: Floats, amount: Floats, changes: NDArray[np.int64], promise: float, step_s: int
) -> dict[str, Score]:
    stratum = scoring.utilisation_strata(used)
    return {
        name: scoring.score(
            used[:, stratum == row],
            amount[:, stratum == row],
            promise,
            step_s,
            changes[stratum == row],
        )
        for row, name in enumerate(STRATA)
        if (stratum == row).any()
    }


@dataclass(frozen=True, slots=True)
class _Forecasts:
    """One resource's forecasts (decision, workload, quantile) and the peaks they were for."""

    peak: Floats
    quantiles: tuple[float, ...]
    values: Floats

    @staticmethod
    def of(
        replayed: Replayed, usage: NDArray[np.float32], column: int, spec: Spec
    ) -> _Forecasts | None:
        if replayed.forecasts is None:
            return None
        hold = spec.hold_s // spec.tick_s
        peak = peaks_ahead(usage, hold).astype(np.float64)
        # The last hold - 1 windows reach beyond the replayed period.
        peak[len(peak) - hold + 1 :] = np.nan
        values = replayed.forecasts[:, column].astype(np.float64)
        return _Forecasts(peak, replayed.quantiles, values)

    def coverage(self, rows: slice | Bools) -> dict[float, float]:
        covered = scoring.coverage(self.peak[:, rows], self.values[:, rows])
        return dict(zip(self.quantiles, covered.tolist(), strict=True))

    def quantile_loss(self) -> float:
        return scoring.weighted_quantile_loss(self.peak, self.values, self.quantiles)

    def mase(self, used: Floats) -> float:
        """Of the lowest quantile (the median) against persistence."""
        last = np.vstack([np.full((1, used.shape[1]), np.nan), used[:-1]])
        return scoring.mase(self.peak, self.values[..., 0], last)


def best_baseline(results: Sequence[Result], resource: str, rate: float) -> Result | None:
    """The cheapest policy at `rate`, margins tuned, that is neither PLA nor sees the future."""
    rivals = [
        r
        for r in results
        if r.resource == resource and not r.policy.startswith(("predictive", "oracle"))
    ]
    return min(rivals, key=lambda r: r.excess(rate), default=None)


def interval(ours: Result, other: Result, rate: float, seed: int = 0) -> tuple[float, float, float]:
    """(ratio, 5 %, 95 %) of the two excesses at `rate`, bootstrapped over workloads."""
    rows = np.flatnonzero(ours.sweep.samples > 0)
    drawn = np.random.default_rng(seed).choice(rows, (RESAMPLES, len(rows)))
    return scoring.ratio_interval(ours.sweep, other.sweep, rate, drawn)


def write_allocations(path: Path, replays: Sequence[Replayed], spec: Spec, trace: Trace) -> int:
    """The amounts in force, one row per workload, resource and effect time; returns the rows.

    Schema: `workload, resource, timestamp, allocated`, and `policy` where there are several.
    """
    tables = []
    for replayed in replays:
        step, column, row = np.nonzero(np.isfinite(replayed.amounts))
        columns = {
            "workload": pa.array(np.array(trace.workloads, dtype=object)[row], pa.string()),
            "resource": pa.array(np.array(spec.resources, dtype=object)[column], pa.string()),
            "timestamp": pa.array(spec.effect_times_s[step] * 1000, pa.timestamp("ms", tz="UTC")),
            "allocated": pa.array(replayed.amounts[step, column, row].astype(np.float64)),
        }
        if len(replays) > 1:
            columns["policy"] = pa.array([replayed.policy] * len(row), pa.string())
        tables.append(pa.table(columns))
    table = pa.concat_tables(tables).sort_by(
        [("workload", "ascending"), ("resource", "ascending"), ("timestamp", "ascending")]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    pq.write_table(table, beside, compression="zstd")
    beside.replace(path)
    return int(table.num_rows)

"""One replay scored: as shipped, under every margin, by kind of workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pla.backtest.spec import Replayed, Spec, peaks_ahead
from pla.core import scoring
from pla.core.fleet import Bools, Floats
from pla.core.resources import BY_NAME
from pla.core.scoring import RATES, Score, Sweep

UTILISATION = ("idle third", "middle third", "busy third")
DAILY = ("not daily", "daily")


@dataclass(frozen=True, slots=True)
class Stratum:
    """One kind of workload.

    Attributes:
        rows: its workloads, rows of the trace, shape (n,).
        score: of these alone, as shipped.
    """

    rows: NDArray[np.int64]
    score: Score


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
        strata: the kinds of workloads by name: terciles of mean usage, daily or not.
    """

    policy: str
    resource: str
    score: Score
    sweep: Sweep
    coverage: Mapping[float, float]
    group_coverage: Mapping[str, Mapping[float, float]]
    quantile_loss: float
    mase: float
    strata: Mapping[str, Stratum]

    def excess(
        self, rate: float, share: float = scoring.SHARE, stratum: str | None = None
    ) -> float:
        """Least excess at which the promise holds, margins swept; inf where none does.

        Of all workloads, or of one stratum with a margin of its own.
        """
        rows = None if stratum is None else self.strata[stratum].rows
        return self.sweep.excess_at(rate, share, rows)[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the sweep's counts, as plain numbers."""
        return {
            "policy": self.policy,
            "resource": self.resource,
            "as_shipped": _plain(self.score),
            "excess_at_slo_attainment": self._attained(),
            "coverage": {str(k): v for k, v in self.coverage.items()},
            "weighted_quantile_loss": self.quantile_loss,
            "mase": self.mase,
            "strata": {
                name: {
                    "workloads": len(stratum.rows),
                    "as_shipped": _plain(stratum.score),
                    "excess_at_slo_attainment": {
                        f"{rate:.1%}": self.excess(rate, stratum=name) for rate in RATES
                    },
                }
                for name, stratum in self.strata.items()
            },
        }

    def _attained(self) -> dict[str, dict[str, float]]:
        attained = {}
        for share in (scoring.SHARE, 0.99):
            for rate in RATES:
                excess, factor, constant = self.sweep.excess_at(rate, share)
                attained[f"{share:.0%} of workloads at {rate:.1%}"] = {
                    "excess": excess,
                    "factor": factor,
                    "constant": constant,
                    "median_excess": self.sweep.median_excess(factor, constant),
                }
        return attained


def _plain(score: Score) -> dict[str, float]:
    return {**asdict(score), "excess": score.excess}


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
    floor = BY_NAME[resource].floor
    forecast = _Forecasts.of(replayed, usage, column, spec)
    return Result(
        policy=replayed.policy,
        resource=resource,
        score=scoring.score(used, amount, promise, spec.tick_s, changes, floor),
        sweep=scoring.sweep(used, amount, floor),
        coverage=forecast.coverage(slice(None)) if forecast else {},
        group_coverage={name: forecast.coverage(rows) for name, rows in (groups or {}).items()}
        if forecast
        else {},
        quantile_loss=forecast.quantile_loss() if forecast else float("nan"),
        mase=forecast.mase(used) if forecast else float("nan"),
        strata=_strata(used, amount, changes, promise, spec.tick_s, floor),
    )


def _strata(
    used: Floats,
    amount: Floats,
    changes: NDArray[np.int64],
    promise: float,
    step_s: int,
    floor: float,
) -> dict[str, Stratum]:
    kinds = (
        (UTILISATION, scoring.utilisation_strata(used)),
        (DAILY, scoring.daily_strata(used, step_s)),
    )
    found = {}
    for names, kind in kinds:
        for value, name in enumerate(names):
            rows = np.flatnonzero(kind == value)
            if len(rows):
                score = scoring.score(
                    used[:, rows], amount[:, rows], promise, step_s, changes[rows], floor
                )
                found[name] = Stratum(rows, score)
    return found


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

"""What a retraining leaves in MLflow: parameters, metrics, tags, data range and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pla.backtest.evaluation import Result
from pla.forecasting.bundle import Bundle
from pla.registry import DataRange
from pla.settings import Settings
from pla.training import figures
from pla.training.dataset import Dataset
from pla.training.history import History
from pla.training.promotion import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_TAG = 4900


def metrics(results: Sequence[Result]) -> dict[str, float]:
    """The figures of DESIGN 8 as MLflow metrics: `policy/resource/name`, finite ones only."""
    found: dict[str, float] = {}
    for result in results:
        at = f"{result.policy.replace(':', '-')}/{result.resource}"
        found[f"{at}/violation_rate"] = result.score.violation_rate
        found[f"{at}/excess"] = result.score.excess
        found[f"{at}/attainment"] = result.score.attainment
        for rate in (0.05, 0.02, 0.01, 0.005):
            found[f"{at}/excess_at_{rate * 100:g}pct"] = result.excess(rate)
        for quantile, covered in result.coverage.items():
            found[f"{at}/coverage_p{quantile * 100:g}"] = covered
        found[f"{at}/weighted_quantile_loss"] = result.quantile_loss
        found[f"{at}/mase"] = result.mase
        found[f"{at}/resizes_per_workload_day"] = result.score.churn_p50
    return {name: value for name, value in found.items() if np.isfinite(value)}


def parameters(settings: Settings, bundle: Bundle) -> dict[str, Any]:
    """What the training was given."""
    return {
        **bundle.notes["parameters"],
        "quantiles": bundle.quantiles,
        "step_s": bundle.step_s,
        "lead_s": bundle.lead_s,
        "hold_s": bundle.hold_s,
        "holdout_days": settings.retrain.holdout_days,
        "features": len(bundle.feature_names),
    }


def tags(reason: str, bundle: Bundle, verdict: Verdict) -> dict[str, str]:
    """Why it was trained, and what the gate said."""
    return {
        "pla.reason": reason,
        "pla.gate": "promoted" if verdict.promote else "held back",
        "pla.gate_reasons": "; ".join(verdict.reasons)[:LONGEST_TAG],
        "pla.code_version": bundle.code_version,
    }


def data_range(settings: Settings, usage: History, dataset: Dataset) -> DataRange:
    """What was learnt from and judged on."""
    return DataRange(
        source=settings.simulator.url or "metrics source",
        start_s=float(usage.start_s),
        end_s=float(usage.block.end_s),
        workloads=len(usage.fleet.workloads),
        rows=sum(len(rows) for rows in dataset.rows.values()),
        sha256=dataset.checksum,
    )


def pictures(settings: Settings, bundle: Bundle, results: Sequence[Result]) -> dict[str, Figure]:
    """The backtest's curves, the coverage and the features' importance, by file name."""
    shares = {name: about["importance"] for name, about in bundle.notes["resources"].items()}
    drawn = {
        f"backtest-{name}.png": figures.backtest_curve(results, name) for name in settings.resources
    }
    ours = [result for result in results if result.policy == "challenger"]
    drawn["coverage.png"] = figures.coverage(ours)
    drawn["importance.png"] = figures.importance(shares)
    return drawn

"""The pictures that a retraining logs with its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pla.backtest.evaluation import Result
from pla.core.scoring import RATES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_FEATURES = 15


def backtest_curve(results: Sequence[Result], resource: str) -> Figure:
    """Excess over the violation rate that 95 % of the workloads keep, a line per policy."""
    figure, axes = _new()
    for result in (r for r in results if r.resource == resource):
        excess = np.array([result.excess(rate) for rate in RATES])
        known = np.isfinite(excess)
        ours = result.policy == "challenger"
        axes.plot(
            100 * np.array(RATES)[known],
            excess[known],
            marker="o",
            linewidth=2.5 if ours else 1,
            label=result.policy,
            zorder=3 if ours else 2,
        )
    axes.set_xscale("log")
    axes.set_xlabel("violation rate that 95 % of the workloads keep [% of steps]")
    axes.set_ylabel("excess: amount / usage - 1")
    axes.set_title(f"{resource}: what a promise costs, margins tuned for every policy")
    axes.legend(fontsize=8)
    return figure


def coverage(results: Sequence[Result]) -> Figure:
    """Realised against nominal miss rate of the forecast's quantiles, a line per resource."""
    figure, axes = _new()
    for result in (r for r in results if r.coverage):
        nominal = 1 - np.array(list(result.coverage))
        missed = 1 - np.array(list(result.coverage.values()))
        axes.plot(nominal, np.maximum(missed, 1e-5), marker="o", label=result.resource)
    span = np.array([5e-4, 0.6])
    axes.plot(span, span, color="grey", linestyle="--", label="as promised")
    axes.fill_between(span, 0.5 * span, 1.2 * span, color="grey", alpha=0.15)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("nominal miss rate (1 - quantile)")
    axes.set_ylabel("realised miss rate")
    axes.set_title("Coverage of the hold window's peak")
    axes.legend()
    return figure


def importance(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """The most important features by share of gain, a panel per resource."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * max(len(shares), 1), 5), layout="constrained")
    panels = figure.subplots(1, max(len(shares), 1), squeeze=False)[0]
    for axes, (resource, features) in zip(panels, shares.items(), strict=False):
        top = list(features.items())[:TOP_FEATURES][::-1]
        axes.barh([name for name, _ in top], [share for _, share in top])
        axes.set_title(f"{resource}: share of gain")
    return figure


def _new() -> tuple[Figure, Axes]:
    # Without pyplot: no global state, and safe in any thread.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes

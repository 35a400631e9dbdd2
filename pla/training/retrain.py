"""One retraining: history, challenger, backtest against champion and baselines, MLflow, gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pla import platforms as platforms_module
from pla.backtest import run as replays
from pla.backtest.evaluation import Result, evaluate
from pla.backtest.rivals import PolicyForecaster
from pla.backtest.spec import Spec
from pla.clock import SystemClock
from pla.core.fleet import Fleet
from pla.forecasting.bundle import Bundle
from pla.forecasting.forecaster import BundleForecaster
from pla.ports import Forecaster
from pla.registry import DataRange, MlflowRegistry
from pla.settings import Settings
from pla.training import figures, history
from pla.training.dataset import Dataset, build
from pla.training.fit import fit
from pla.training.history import History, TooLittleHistory
from pla.training.promotion import Candidate, Verdict, judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIVALS = ("max:10m", "max:1h", "max:3h", "max:24h", "seasonal", "autopilot")
"""Peers' policies that a challenger must beat under the same rules, besides the champion."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """What a retraining came to.

    Attributes:
        version: the registered model version.
        reason: why it was started.
        verdict: the gate's answer.
        champion: the champion before it, None before the first.
        metrics: as logged in MLflow.
    """

    version: str
    reason: str
    verdict: Verdict
    champion: str | None
    metrics: dict[str, float]

    def words(self) -> str:
        """One sentence for people."""
        outcome = "is the champion now" if self.verdict.promote else "was not promoted"
        return f"model {self.version} {outcome}: {'; '.join(self.verdict.reasons)}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "version": self.version,
            "reason": self.reason,
            "promoted": self.verdict.promote,
            "reasons": list(self.verdict.reasons),
            "former_champion": self.champion,
            "metrics": self.metrics,
        }


def run(settings: Settings, reason: str, progress: Report = print) -> RetrainReport:
    """Train a challenger, judge it on the most recent days, register it, promote it if it won.

    Raises:
        TooLittleHistory: there is not enough usage on record yet.
        SourceError, ActuatorError, RegistryError: a part does not answer; nothing was changed.
    """
    platforms = platforms_module.connect(settings)
    registry = MlflowRegistry(
        settings.mlflow_uri, settings.mlflow.model_name, cache=settings.home / "models"
    )
    champion_version = registry.champion_version()
    clock = platforms.clock or SystemClock()
    usage = history.read(settings, platforms, clock.now_s(), progress)
    spec = holdout_spec(usage, settings)
    dataset = build(
        usage.before(spec.train_until_s),
        settings.resources,
        settings.tick.lead_s,
        settings.hold_s,
        settings.retrain.max_rows,
        settings.retrain.seed,
    )
    progress(f"training on {sum(map(len, dataset.rows.values()))} rows")
    bundle = fit(
        dataset,
        rounds=settings.retrain.rounds,
        threads=settings.retrain.threads,
        seed=settings.retrain.seed,
        progress=_rounds_to(progress),
    )
    champion = None if champion_version is None else registry.load(champion_version)
    results = _backtest(usage, spec, settings, bundle, champion, progress)
    rate = 1 - settings.tiers[settings.default_tier].quantile
    verdict = _verdict(results, usage.fleet, champion, rate)
    metrics = _metrics(results)
    with tempfile.TemporaryDirectory(prefix="pla-bundle-") as folder:
        path = Path(folder) / "bundle"
        bundle.save(path)
        version = registry.register(
            path,
            params=_parameters(settings, bundle),
            metrics=metrics,
            data=_data_range(settings, usage, dataset),
            tags=_tags(reason, bundle, verdict),
            figures=_pictures(settings, bundle, results),
        )
    if verdict.promote:
        registry.promote(version, by=f"gate ({reason})")
    report = RetrainReport(version, reason, verdict, champion_version, metrics)
    progress(report.words())
    return report


def holdout_spec(usage: History, settings: Settings) -> Spec:
    """The most recent `holdout_days` as the period to be judged on, the rest to learn from.

    Raises:
        TooLittleHistory: nothing would be left to learn from.
    """
    step_s = usage.block.step_s
    tick_s = max(round(settings.clock_tick_s / step_s), 1) * step_s
    # A replay decides in whole ticks that divide an hour.
    tick_s = tick_s if 3600 % tick_s == 0 else step_s
    end_s = usage.block.end_s // tick_s * tick_s
    length_s = int(settings.retrain.holdout_days * 86_400) // tick_s * tick_s
    start_s = end_s - length_s
    if start_s - usage.start_s < length_s:
        raise TooLittleHistory(
            f"{(end_s - usage.start_s) / 86_400:.1f} days of usage are on record; to judge on the "
            f"last {settings.retrain.holdout_days:g} (retrain.holdout_days) at least twice that "
            "is needed; until then the baseline acts"
        )
    hold_s = max(-(-settings.hold_s // tick_s) * tick_s, tick_s)
    return Spec(
        resources=settings.resources,
        train_until_s=start_s,
        start_s=start_s,
        end_s=end_s,
        tick_s=tick_s,
        lead_s=-(-settings.tick.lead_s // tick_s) * tick_s,
        hold_s=hold_s,
        tier=settings.default_tier,
    )


def _rounds_to(progress: Report) -> Callable[[str, int, int], None]:
    def follow(resource: str, done: int, rounds: int) -> None:
        if done % 25 == 0 or done == rounds:
            progress(f"training {resource}: round {done} of at most {rounds}")

    return follow


def _backtest(
    usage: History,
    spec: Spec,
    settings: Settings,
    bundle: Bundle,
    champion: Forecaster | None,
    progress: Report,
) -> list[Result]:
    """Challenger, champion and baselines on the held-out period, through the same tick code.

    All workloads as of one tier: a peer's policy knows none, and would otherwise look cheap
    beside a model that serves critical workloads more generously.
    """
    trace = usage.trace()
    met = replays.actual(trace, spec)
    tiers = {tier.name: tier for tier in usage.fleet.tiers}
    promise = 1 - tiers[spec.tier].quantile
    rows = usage.fleet.workloads.tier
    groups = {tier.name: rows == row for row, tier in enumerate(usage.fleet.tiers)}
    models: list[tuple[str, Forecaster]] = [
        ("challenger", BundleForecaster(bundle, "challenger", settings.retrain.threads))
    ]
    if champion is not None:
        models.append(("champion", champion))
    request = replays.requests_before(trace, spec.start_s)
    for name in RIVALS:
        models.append((name, PolicyForecaster(name, request, trace.step_s)))
    results: list[Result] = []
    for name, forecaster in models:
        progress(f"backtest: {name}")
        replayed = replays.replay_predictive(trace, spec, forecaster, settings, name=name)
        results += evaluate(replayed, met, spec, promise, groups)
    return results


def _verdict(
    results: Sequence[Result], fleet: Fleet, champion: Forecaster | None, rate: float
) -> Verdict:
    """The gate, with costs compared at the violation rate `rate`."""
    names = dict.fromkeys(result.policy for result in results)
    candidates = {name: _candidate(name, results, fleet, rate) for name in names}
    counts = np.bincount(fleet.workloads.tier, minlength=len(fleet.tiers))
    decisions = int(results[0].sweep.samples.max())
    windows = {tier.name: int(counts[row]) * decisions for row, tier in enumerate(fleet.tiers)}
    return judge(
        candidates["challenger"],
        candidates.get("champion") if champion is not None else None,
        [candidates[name] for name in RIVALS],
        {tier.name: 1 - tier.quantile for tier in fleet.tiers},
        windows,
    )


def _candidate(name: str, results: Sequence[Result], fleet: Fleet, rate: float) -> Candidate:
    mine = [result for result in results if result.policy == name]
    misses = {}
    for result in mine:
        for tier in fleet.tiers:
            covered = result.group_coverage.get(tier.name, {}).get(tier.quantile)
            if covered is not None and np.isfinite(covered):
                misses[tier.name, result.resource] = 1 - covered
    return Candidate(name, {r.resource: r.excess(rate) for r in mine}, misses)


def _metrics(results: Sequence[Result]) -> dict[str, float]:
    """The figures of DESIGN 8 as MLflow metrics: `policy/resource/name`, finite ones only."""
    metrics: dict[str, float] = {}
    for result in results:
        at = f"{result.policy.replace(':', '-')}/{result.resource}"
        metrics[f"{at}/violation_rate"] = result.score.violation_rate
        metrics[f"{at}/excess"] = result.score.excess
        metrics[f"{at}/attainment"] = result.score.attainment
        for rate in (0.05, 0.02, 0.01, 0.005):
            metrics[f"{at}/excess_at_{rate * 100:g}pct"] = result.excess(rate)
        for quantile, covered in result.coverage.items():
            metrics[f"{at}/coverage_p{quantile * 100:g}"] = covered
        metrics[f"{at}/weighted_quantile_loss"] = result.quantile_loss
        metrics[f"{at}/mase"] = result.mase
        metrics[f"{at}/resizes_per_workload_day"] = result.score.churn_p50
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def _parameters(settings: Settings, bundle: Bundle) -> dict[str, Any]:
    return {
        **bundle.notes["parameters"],
        "quantiles": bundle.quantiles,
        "step_s": bundle.step_s,
        "lead_s": bundle.lead_s,
        "hold_s": bundle.hold_s,
        "holdout_days": settings.retrain.holdout_days,
        "features": len(bundle.feature_names),
    }


def _tags(reason: str, bundle: Bundle, verdict: Verdict) -> dict[str, str]:
    return {
        "pla.reason": reason,
        "pla.gate": "promoted" if verdict.promote else "held back",
        "pla.gate_reasons": "; ".join(verdict.reasons)[:4900],
        "pla.code_version": bundle.code_version,
    }


def _data_range(settings: Settings, usage: History, dataset: Dataset) -> DataRange:
    return DataRange(
        source=settings.simulator.url or "metrics source",
        start_s=float(usage.start_s),
        end_s=float(usage.block.end_s),
        workloads=len(usage.fleet.workloads),
        rows=sum(len(rows) for rows in dataset.rows.values()),
        sha256=dataset.checksum,
    )


def _pictures(settings: Settings, bundle: Bundle, results: Sequence[Result]) -> dict[str, Figure]:
    shares = {name: about["importance"] for name, about in bundle.notes["resources"].items()}
    pictures = {
        f"backtest-{name}.png": figures.backtest_curve(results, name) for name in settings.resources
    }
    ours = [result for result in results if result.policy == "challenger"]
    pictures["coverage.png"] = figures.coverage(ours)
    pictures["importance.png"] = figures.importance(shares)
    return pictures

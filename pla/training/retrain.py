"""One retraining: history, challenger, backtest against champion and baselines, MLflow, gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pla import platforms as platforms_module
from pla.backtest import run as replays
from pla.backtest.evaluation import Result, evaluate
from pla.backtest.rivals import PolicyForecaster
from pla.backtest.spec import Spec
from pla.champion import why_unfit
from pla.clock import SystemClock
from pla.core.fleet import Fleet
from pla.forecasting.bundle import Bundle
from pla.forecasting.forecaster import BundleForecaster
from pla.ports import Forecaster, RegistryError
from pla.registry import MlflowRegistry
from pla.settings import ConfigError, Settings
from pla.training import history, record
from pla.training.dataset import Dataset, build
from pla.training.errors import TooLittleHistory
from pla.training.fit import fit
from pla.training.history import History
from pla.training.promotion import Candidate, Verdict, judge

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


@dataclass(frozen=True, slots=True)
class Champion:
    """The model in force: its version, and what forecasts with it or why nothing can."""

    version: str | None = None
    forecaster: Forecaster | None = None
    unusable: str | None = None


def run(settings: Settings, reason: str, progress: Report = print) -> RetrainReport:
    """Train a challenger, judge it on the most recent days, register it, promote it if it won.

    A champion that cannot be used (damaged, or trained for another step or hold) is no rival: a
    retraining is its cure.

    Raises:
        TooLittleHistory: there is not enough usage on record yet.
        SourceError, ActuatorError, RegistryError: a part does not answer; nothing was changed.
    """
    platforms = platforms_module.connect(settings)
    registry = MlflowRegistry(
        settings.mlflow_uri,
        settings.mlflow.model_name,
        cache=settings.home / "models",
        experiment=settings.mlflow.experiment,
    )
    champion = champion_of(registry, settings)
    if champion.unusable is not None:
        progress(champion.unusable)
    clock = platforms.clock or SystemClock()
    usage = history.read(settings, platforms, clock.now_s(), progress)
    spec = holdout_spec(usage, settings)
    dataset, bundle = _challenger(usage, spec, settings, progress)
    results = _backtest(usage, spec, settings, bundle, champion.forecaster, progress)
    rate = 1 - settings.tiers[settings.default_tier].quantile
    verdict = _verdict(results, usage.fleet, champion.forecaster, rate)
    if champion.unusable is not None:
        verdict = replace(verdict, reasons=(*verdict.reasons, champion.unusable))
    metrics = record.metrics(results)
    with tempfile.TemporaryDirectory(prefix="pla-bundle-") as folder:
        path = Path(folder) / "bundle"
        bundle.save(path)
        version = registry.register(
            path,
            params=record.parameters(settings, bundle),
            metrics=metrics,
            data=record.data_range(settings, usage, dataset),
            tags=record.tags(reason, bundle, verdict),
            figures=record.pictures(settings, bundle, results),
        )
    if verdict.promote:
        registry.promote(version, by=f"gate ({reason})")
    report = RetrainReport(version, reason, verdict, champion.version, metrics)
    progress(report.words())
    return report


def champion_of(registry: MlflowRegistry, settings: Settings) -> Champion:
    """The champion, to be compared with, or why it cannot be.

    Raises:
        RegistryError: the registry does not answer.
    """
    version = registry.champion_version()
    if version is None:
        return Champion()
    try:
        forecaster = registry.load(version)
    except RegistryError as error:
        # Known to be registered: what fails now is this model, or the store of its files.
        return Champion(version, None, f"the champion was not compared with: {error}")
    unfit = why_unfit(forecaster, settings)
    if unfit is not None:
        return Champion(version, None, f"the champion was not compared with: {unfit}")
    return Champion(version, forecaster)


def holdout_spec(usage: History, settings: Settings) -> Spec:
    """The most recent `holdout_days` as the period to be judged on, the rest to learn from.

    A decision per step: what the models forecast is the same, however often ticks come.

    Raises:
        TooLittleHistory: nothing would be left to learn from.
        ConfigError: `retrain.holdout_days` is less than a step.
    """
    step_s = usage.block.step_s
    end_s = usage.block.end_s
    length_s = int(settings.retrain.holdout_days * 86_400) // step_s * step_s
    start_s = end_s - length_s
    if not length_s:
        raise ConfigError(
            f"retrain.holdout_days: {settings.retrain.holdout_days:g} days are less than a step "
            f"of {step_s} s; raise it"
        )
    if start_s - usage.start_s < length_s:
        raise TooLittleHistory(
            f"{(end_s - usage.start_s) / 86_400:.1f} days of usage are on record; to judge on the "
            f"last {settings.retrain.holdout_days:g} (retrain.holdout_days) at least twice that "
            "is needed; until then the baseline acts"
        )
    return Spec(
        resources=settings.resources,
        train_until_s=start_s,
        start_s=start_s,
        end_s=end_s,
        tick_s=step_s,
        lead_s=settings.tick.lead_s,
        hold_s=settings.hold_s,
        tier=settings.default_tier,
    )


def _challenger(
    usage: History, spec: Spec, settings: Settings, progress: Report
) -> tuple[Dataset, Bundle]:
    dataset = build(
        usage.before(spec.train_until_s),
        settings.resources,
        spec.lead_s,
        spec.hold_s,
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
    return dataset, bundle


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

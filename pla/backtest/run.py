"""Replays: the predictive policy through `run_tick`, the peers' policies beside it.

Every decision at time t is made from samples strictly before t: cutting the trace after t leaves
it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from pla.actuation import Fence
from pla.backtest.replay import FOREVER, ReplayActuator, ReplayClock, ReplayStore
from pla.backtest.spec import Replayed, Spec, peaks_ahead, resize_count
from pla.core import baselines
from pla.core.fleet import Bytes, Floats, tier_index
from pla.crew import Crew
from pla.ports import Forecaster
from pla.settings import Settings
from pla.sources.trace import Trace, TraceSource
from pla.tick import Ports, TickState, run_tick

PREDICTIVE = "predictive"
"""The name of PLA's own policy."""

Progress = Callable[[str, float], None]
"""Called with a policy's name and the share of it that is done."""


def silent(policy: str, share: float) -> None:
    """No progress shown."""


def replay_predictive(
    trace: Trace,
    spec: Spec,
    forecaster: Forecaster,
    settings: Settings,
    progress: Progress = silent,
    name: str = PREDICTIVE,
    tiers: Bytes | None = None,
) -> Replayed:
    """The amounts that the very tick of the live system puts in force.

    `tiers` (workload,) are rows of the settings' tiers; None = `spec.tier` for all.
    """
    cycle = spec.tick_settings(settings)
    actuator = ReplayActuator(
        trace.workloads,
        spec.resources,
        requests_before(trace, spec.start_s),
        _tiers(trace, spec, cycle) if tiers is None else tiers,
    )
    clock = ReplayClock(float(spec.start_s))
    ports = Ports(TraceSource(trace), (actuator,), ReplayStore(), Crew(clock), clock)
    calibration = forecaster.new_calibration(cycle.core_tiers(), spec.resources)
    state = TickState.fresh(spec.resources, spec.tick_s, float(spec.start_s), calibration)
    fence = Fence("replay", FOREVER)
    times = spec.decision_times_s
    shape = (len(times), len(spec.resources), len(trace.workloads))
    amounts = np.full(shape, np.nan, dtype=np.float32)
    forecasts = np.full((*shape, len(forecaster.quantiles)), np.nan, dtype=np.float32)
    for index, now_s in enumerate(times.tolist()):
        clock.now = float(now_s)
        report = run_tick(state, ports, forecaster, cycle, fence)
        if index == 0:
            actuator.start_with(report.recommendation.target)
        actuator.admit(report.recommendation.target)
        amounts[index] = actuator.amounts.T
        forecasts[index] = report.forecast.peak.transpose(1, 0, 2)
        progress(name, (index + 1) / len(times))
    return Replayed(name, amounts, actuator.changes.T, forecasts, forecaster.quantiles)


def _tiers(trace: Trace, spec: Spec, settings: Settings) -> Bytes:
    row = tier_index(settings.core_tiers(), spec.tier)
    return np.full(len(trace.workloads), row, dtype=np.int8)


def requests_before(trace: Trace, at_s: int) -> Floats:
    """The last amount in the trace's own allocation columns before `at_s`.

    Shape (workload, resource); NaN where the trace has none.
    """
    blank = np.full((len(trace.workloads), len(trace.resources)), np.nan)
    if trace.allocated is None:
        return blank
    steps = min(max((at_s - trace.start_s) // trace.step_s, 0), len(trace.allocated))
    for values in trace.allocated[:steps]:
        blank = np.where(np.isnan(values.T), blank, values.T)
    return blank


def replay_baseline(name: str, trace: Trace, spec: Spec, progress: Progress = silent) -> Replayed:
    """The amounts of the peer's policy `name`, followed at once and exactly as it states them.

    Where it has no opinion yet, the amount stays what the trace's owner wrote down.
    """
    request = requests_before(trace, spec.start_s)
    policy = baselines.make(name, spec.resources, len(trace.workloads), trace.step_s, request)
    first = (spec.start_s - trace.start_s) // trace.step_s
    last = (spec.end_s - trace.start_s) // trace.step_s
    stride = spec.tick_s // trace.step_s
    lead, hold = spec.lead_s // trace.step_s, spec.hold_s // trace.step_s
    future = peaks_ahead(trace.values, hold) if name == "oracle" else None
    decided = []
    for index in range(last):
        if index >= first and (index - first) % stride == 0:
            if future is not None and isinstance(policy, baselines.Oracle):
                policy.reveal(_row_or_nan(future, index + lead).T)
            target = policy.target()
            decided.append(np.where(np.isnan(target), request, target).T)
            progress(name, (index - first + stride) / (last - first))
        if 0 <= index < len(trace.values):
            policy.observe(trace.values[index], trace.start_s + (index + 1) * trace.step_s)
    amounts = np.array(decided)
    return Replayed(name, amounts.astype(np.float32), resize_count(amounts))


def _row_or_nan(values: np.ndarray, index: int) -> np.ndarray:
    if 0 <= index < len(values):
        return np.asarray(values[index], dtype=np.float64)
    return np.full(values.shape[1:], np.nan)


def actual(trace: Trace, spec: Spec) -> np.ndarray:
    """Usage that each decision's amount met, shape (decision, resource, workload).

    One row per decision: the largest sample from its effect until the next one's.
    """
    stride = spec.tick_s // trace.step_s
    block = trace.block(spec.start_s + spec.lead_s, spec.end_s + spec.lead_s)
    steps = block.values.reshape(-1, stride, *block.values.shape[1:])
    with np.errstate(invalid="ignore"):
        return np.asarray(np.fmax.reduce(steps, axis=1))


def policies_of(wanted: str) -> Iterable[str]:
    """`all`, a name, or several separated by commas, as names.

    Raises:
        ValueError: an unknown name (it lists those there are), or no such window.
    """
    if wanted == "all":
        return (PREDICTIVE, *baselines.NAMES)
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if name != PREDICTIVE:
            try:
                baselines.maker(name)
            except ValueError as error:
                raise ValueError(f"--policy: {error}; or {PREDICTIVE}, or all") from None
    return names

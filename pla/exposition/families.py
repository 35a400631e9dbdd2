"""What is published of one tick, as Prometheus' metric families.

Names end in their unit where all values of a metric have the same one. Amounts carry the labels
`resource` and `unit`, as those of kube-state-metrics do, because a CPU amount is cores and a
memory amount is bytes. A quantile's label is `level`: `quantile` belongs to summaries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from pla.core.fleet import Mode
from pla.core.plan import OutcomeStatus, Skip
from pla.core.resources import BY_NAME
from pla.exposition.overview import Cells, Overview
from pla.exposition.realised import Closed
from pla.exposition.tally import Tally
from pla.tick import TickReport

UNITS = {"cores": "core", "bytes": "byte", "bytes/s": "byte_per_second", "devices": "device"}
"""Values of the label `unit`, spelt as kube-state-metrics does."""

AMOUNTS = {
    "current": "Amount in force.",
    "target": "Amount recommended.",
    "usage": "Usage of the newest step, of the busiest copy.",
    "forecast": "Calibrated forecast of the coming peak, at the tier's quantile.",
    "idle": "What of the amount in force is not used, where both are known.",
}

Rows = Iterable[tuple[list[str], float]]


@dataclass(frozen=True)
class Published:
    """One tick, and what was counted until then; nothing of it changes any more.

    Attributes:
        ended_s: wall time of the machine when the tick was over [epoch s].
        elapsed_s: the same on the monotonic clock [s].
        champion_trouble: whether the registry's champion cannot be asked for, or not be used.
    """

    report: TickReport
    tally: Tally
    total: dict[float, Closed]
    newest: dict[float, Closed]
    ended_s: float
    elapsed_s: float
    champion_trouble: bool


def gauge(name: str, words: str, labels: list[str], rows: Rows) -> Metric:
    """A gauge with a value per row of label values."""
    family = GaugeMetricFamily(f"pla_{name}", words, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def counter(name: str, words: str, labels: list[str], rows: Rows) -> Metric:
    """A counter, whose name gets its `_total`, with a value per row of label values."""
    family = CounterMetricFamily(f"pla_{name}", words, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def table(rows: Iterable[str], columns: Iterable[str], values: NDArray[Any]) -> Rows:
    """Each cell of a matrix with the names of its row and column."""
    names = list(columns)
    for row, line in zip(rows, values.tolist(), strict=True):
        for column, value in zip(names, line, strict=True):
            yield [row, column], float(value)


def unit_of(resource: str) -> str:
    """The label `unit` of a resource's amounts."""
    unit = BY_NAME[resource].unit
    return UNITS.get(unit, unit)


# -- the process ---------------------------------------------------------------------------


def of_process(last_tick_s: float, interval_s: float, stale_after_s: float) -> Iterator[Metric]:
    """What there is even before the first tick."""
    yield gauge(
        "last_tick_timestamp_seconds",
        "When the last tick was over; before the first one, when this process began to tick.",
        [],
        [([], last_tick_s)],
    )
    yield gauge("tick_interval_seconds", "Time between two ticks.", [], [([], interval_s)])
    yield gauge(
        "stale_after_seconds", "Older samples never shrink anything.", [], [([], stale_after_s)]
    )


def of_counts(tally: Tally) -> Iterator[Metric]:
    """Counters and histograms."""
    counted = {
        "ticks": ("Ticks made.", tally.ticks),
        "ticks_with_errors": ("Ticks that had an error to report.", tally.ticks_with_errors),
        "tick_errors": ("Errors that ticks reported.", tally.error_lines),
        "store_failures": ("Store calls of a tick that failed.", tally.store_failures),
    }
    for name, (words, value) in counted.items():
        yield counter(name, words, [], [([], float(value))])
    outcomes = table((status.value for status in OutcomeStatus), tally.resources, tally.outcomes)
    yield counter("actions", "Changes by what became of them.", ["outcome", "resource"], outcomes)
    skipped = table((why.name.lower() for why in Skip), tally.resources, tally.skipped)
    yield counter(
        "skipped_changes", "Wanted changes that a tick did not make.", ["why", "resource"], skipped
    )
    tick = HistogramMetricFamily("pla_tick_duration_seconds", "Duration of whole ticks.", labels=[])
    tick.add_metric([], tally.tick.cumulative(), tally.tick.sum_s)
    yield tick
    steps = HistogramMetricFamily(
        "pla_tick_step_duration_seconds", "Duration of the steps of a tick.", labels=["step"]
    )
    for name, seconds in tally.steps.items():
        steps.add_metric([name], seconds.cumulative(), seconds.sum_s)
    yield steps


# -- the last tick -------------------------------------------------------------------------


def of_forecasts(published: Published) -> Iterator[Metric]:
    """Which model forecasts, and what its forecasts turned out to be."""
    report = published.report
    version = report.model_version
    kind = "baseline" if version.startswith("baseline:") else "champion"
    info: Rows = [([version, kind], 1.0)]
    yield gauge("model_info", "What makes the forecasts.", ["version", "kind"], info)
    trouble: Rows = [([], float(published.champion_trouble))]
    yield gauge("champion_trouble", "Whether the champion cannot be had or used.", [], trouble)
    nominal = [([repr(quantile)], 1.0 - quantile) for quantile in sorted(published.total)]
    words = "Share of peaks that may exceed the quantile."
    yield gauge("forecast_nominal_miss_ratio", words, ["level"], nominal)
    labels = ["tier", "resource", "level"]
    windows, misses = _closed(published, "windows"), _closed(published, "misses")
    words = "Hold windows that closed, by quantile of the calibrated forecast."
    yield counter("forecast_windows", words, labels, windows)
    words = "Closed hold windows whose peak exceeded the calibrated forecast."
    yield counter("forecast_misses", words, labels, misses)
    words = "Share of the hold windows that closed last whose peak the forecast covered."
    yield gauge("forecast_coverage_ratio", words, labels, _coverage(published))


def _closed(published: Published, what: str) -> Rows:
    fleet = published.report.fleet
    tiers = [tier.name for tier in fleet.tiers]
    for quantile, closed in sorted(published.total.items()):
        for names, value in table(tiers, fleet.resources, getattr(closed, what)):
            yield [*names, repr(quantile)], value


def _coverage(published: Published) -> Rows:
    fleet = published.report.fleet
    tiers = [tier.name for tier in fleet.tiers]
    for quantile, closed in sorted(published.newest.items()):
        misses = table(tiers, fleet.resources, closed.misses)
        windows = table(tiers, fleet.resources, closed.windows)
        for (names, missed), (_, count) in zip(misses, windows, strict=True):
            if count:
                yield [*names, repr(quantile)], 1.0 - missed / count


def of_fleet(report: TickReport, overview: Overview) -> Iterator[Metric]:
    """Sums over the fleet."""
    fleet = report.fleet
    tiers, resources = [tier.name for tier in fleet.tiers], fleet.resources
    yield gauge("leader", "Whether this process holds the lease.", [], [([], float(report.leader))])
    yield gauge("paused", "Whether all actuation is paused.", [], [([], float(report.paused))])
    modes = [mode.name.lower() for mode in Mode]
    counted = table(tiers, modes, overview.workloads)
    yield gauge("workloads", "Workloads seen.", ["tier", "mode"], counted)
    yield gauge("instances", "Instances seen.", [], [([], float(len(fleet.instances)))])
    yield gauge("nodes", "Nodes seen.", [], [([], float(len(fleet.nodes)))])
    for name, words in AMOUNTS.items():
        rows = table(tiers, resources, overview.amounts[name])
        with_unit = (([tier, resource, unit_of(resource)], v) for (tier, resource), v in rows)
        text = f"{words} Times live copies, over all workloads."
        yield gauge(f"fleet_{name}", text, ["tier", "resource", "unit"], with_unit)
    words = "Workloads that have less than forecast or used, or whose usage was held down."
    at_risk = table(tiers, resources, overview.at_risk)
    yield gauge("workloads_at_risk", words, ["tier", "resource"], at_risk)
    unmet = zip(resources, overview.unmet.tolist(), strict=True)
    rows = (([name, unit_of(name)], value) for name, value in unmet)
    yield gauge("unmet", "What targets want and nodes cannot give.", ["resource", "unit"], rows)
    for name, words, values in (
        ("short_nodes", "Nodes that cannot give what targets want.", overview.short_nodes),
        ("stale_workloads", "Workloads with samples too old to shrink by.", overview.stale),
        ("unseen_workloads", "Workloads that were never sampled.", overview.unseen),
        ("oldest_sample_age_seconds", "Of the workload longest without one.", overview.oldest_s),
    ):
        per_resource = zip(resources, values.tolist(), strict=True)
        rows = (([resource], float(value)) for resource, value in per_resource)
        yield gauge(name, words, ["resource"], (row for row in rows if row[1] == row[1]))


def of_workloads(report: TickReport, cells: Cells, shown: NDArray[Any]) -> Iterator[Metric]:
    """Series of single workloads, of the rows in `shown` only."""
    fleet = report.fleet
    names = [tier.name for tier in fleet.tiers]
    keys = [(fleet.workloads.ids[row], names[fleet.workloads.tier[row]]) for row in shown.tolist()]
    words = "Workloads that have series of their own, those at risk first (metrics.workloads)."
    yield gauge("shown_workloads", words, [], [([], float(len(keys)))])
    labels = ["workload", "tier", "resource", "unit"]
    units = [unit_of(resource) for resource in fleet.resources]
    for name in ("current", "target", "usage", "forecast"):
        values = getattr(cells, name)[shown]
        rows = (
            ([*key, resource, unit], value)
            for key, line in zip(keys, values.tolist(), strict=True)
            for resource, unit, value in zip(fleet.resources, units, line, strict=True)
            if value == value  # NaN: not known, or no such cell
        )
        yield gauge(f"workload_{name}", AMOUNTS[name], labels, rows)
    ages = zip(keys, cells.age_s[shown].tolist(), strict=True)
    aged = (
        ([*key, resource], age)
        for key, line in ages
        for resource, age in zip(fleet.resources, line, strict=True)
        if age < float("inf")
    )
    words = "Age of the newest sample."
    yield gauge("workload_sample_age_seconds", words, labels[:3], aged)

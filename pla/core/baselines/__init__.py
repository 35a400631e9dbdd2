"""The peers' policies, from their published formulas, fed one closed step at a time.

Each is columnar and stateful: `observe` takes the newest step, `target` says what the policy would
give now. Histories, cadences and what a rule cannot say are in each module's docstring. Resources
other than CPU and memory follow the CPU rule where they are compressible and the memory rule where
they are not (`pla.core.baselines.setting.rule_unit`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pla.core.baselines.autopilot import Autopilot
from pla.core.baselines.crane import CranePercentile
from pla.core.baselines.krr import Krr
from pla.core.baselines.rolling import Oracle, Persistence, RollingMax, Seasonal, StaticRequest
from pla.core.baselines.setting import Setting
from pla.core.baselines.vpa import Vpa
from pla.core.baselines.vpa_updater import VpaUpdater
from pla.core.fleet import Floats

__all__ = ["NAMES", "Baseline", "Oracle", "Setting", "make", "maker", "window_s"]


class Baseline(Protocol):
    """A policy without a model."""

    name: str

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Take in the step that ends at `end_s`: usage (resource, workload); NaN = gap.

        Steps come one after the other, without one left out: a step without samples is all gaps.
        """

    def target(self) -> Floats:
        """The amount for the coming time, (workload, resource) [unit]; NaN = no opinion yet."""


WINDOWS = ("10m", "30m", "1h", "2h", "3h", "6h", "12h", "24h", "7d")
"""Of the rolling maxima that `NAMES` lists."""

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def window_s(text: str) -> int:
    """`30m`, `6h`, `7d` as seconds.

    Raises:
        ValueError: it is no duration.
    """
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is no duration: write 10m, 6h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def _rolling_max(name: str, setting: Setting) -> Baseline:
    return RollingMax(name, setting, window_s(name.removeprefix("max:")))


def _seasonal(name: str, setting: Setting) -> Baseline:
    return Seasonal(name, setting, window_s(name.removeprefix("seasonal:")))


_MAKERS: dict[str, Callable[[str, Setting], Baseline]] = {
    "persistence": Persistence,
    **{f"max:{window}": _rolling_max for window in WINDOWS},
    "seasonal": Seasonal,
    "vpa": Vpa,
    "vpa-updater": VpaUpdater,
    "autopilot": lambda name, setting: Autopilot(name, setting, "p95", "p98"),
    "autopilot-p90": lambda name, setting: Autopilot(name, setting, "p90", "p98"),
    "autopilot-avg": lambda name, setting: Autopilot(name, setting, "avg", "mid"),
    "autopilot-max": lambda name, setting: Autopilot(name, setting, "max", "max"),
    "krr": lambda name, setting: Krr(name, setting, cpu_percentile=95.0),
    "krr-limit": lambda name, setting: Krr(name, setting, cpu_percentile=96.0),
    "crane": CranePercentile,
    "request": StaticRequest,
    "oracle": Oracle,
}

NAMES: tuple[str, ...] = tuple(_MAKERS)


def maker(name: str) -> Callable[[str, Setting], Baseline]:
    """What makes the policy called `name`.

    Besides `NAMES`, `max:WINDOW` takes any duration, and `seasonal:HOLD` covers more than one step.

    Raises:
        ValueError: there is no such policy (it lists those there are), or no such duration.
    """
    if name in _MAKERS:
        return _MAKERS[name]
    for prefix, make_it in (("max:", _rolling_max), ("seasonal:", _seasonal)):
        if name.startswith(prefix):
            window_s(name.removeprefix(prefix))
            return make_it
    raise ValueError(
        f"no policy {name!r}: there are {', '.join(NAMES)}, max:WINDOW and seasonal:HOLD"
    )


def make(
    name: str, resources: tuple[str, ...], workloads: int, step_s: int, request: Floats
) -> Baseline:
    """The policy called `name` for so many workloads, with `request` (workload, resource) [unit].

    Raises:
        ValueError: see `maker`.
    """
    return maker(name)(name, Setting(resources, workloads, step_s, request))

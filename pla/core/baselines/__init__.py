"""The peers' policies, from their published formulas, fed one closed step at a time.

Each is columnar and stateful: `observe` takes the newest step, `target` says what the policy would
give now. Resources other than CPU and memory follow the CPU rule where they are compressible and
the memory rule where they are not.
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
from pla.core.baselines.vpa import Vpa, VpaUpdater
from pla.core.fleet import Floats

__all__ = ["NAMES", "Baseline", "Oracle", "Setting", "make", "window_s"]


class Baseline(Protocol):
    """A policy without a model."""

    name: str

    def observe(self, values: NDArray[np.float32], end_s: int) -> None:
        """Take in the step that ends at `end_s`: usage (resource, workload); NaN = gap."""

    def target(self) -> Floats:
        """The amount for the coming time, (workload, resource) [unit]; NaN = no opinion yet."""


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


_MAKERS: dict[str, Callable[[str, Setting], Baseline]] = {
    "persistence": Persistence,
    **{
        f"max:{window}": lambda name, setting: RollingMax(
            name, setting, window_s(name.removeprefix("max:"))
        )
        for window in ("10m", "30m", "1h", "3h", "6h", "12h", "24h", "7d")
    },
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


def make(
    name: str, resources: tuple[str, ...], workloads: int, step_s: int, request: Floats
) -> Baseline:
    """The policy called `name`; `max:WINDOW` takes any duration.

    Raises:
        ValueError: there is no such policy; it lists those there are.
    """
    setting = Setting(resources, workloads, step_s, request)
    if name in _MAKERS:
        return _MAKERS[name](name, setting)
    if name.startswith("max:"):
        return RollingMax(name, setting, window_s(name.removeprefix("max:")))
    raise ValueError(f"no baseline {name!r}: there are {', '.join(NAMES)}, and max:WINDOW")

"""How good a policy's amounts are (DESIGN 8): each metric with its formula and source.

Arrays are per resource: `usage` and `amount` of shape (step, workload) [unit]; a step whose usage
is NaN is a gap and is never scored, a workload without samples is left out. An amount of NaN is no
amount: 0.
"""

from pla.core.scoring.forecasts import coverage, mase, pinball, weighted_quantile_loss
from pla.core.scoring.margins import (
    CAP,
    CAP_SAMPLES,
    CONSTANTS,
    FACTORS,
    RATES,
    SHARE,
    Sweep,
    ratio_interval,
    sweep,
)
from pla.core.scoring.shipped import Score, proactive, relative_slack, rises, score
from pla.core.scoring.strata import (
    daily_autocorrelation,
    daily_strata,
    utilisation_strata,
)

__all__ = [
    "CAP",
    "CAP_SAMPLES",
    "CONSTANTS",
    "FACTORS",
    "RATES",
    "SHARE",
    "Score",
    "Sweep",
    "coverage",
    "daily_autocorrelation",
    "daily_strata",
    "mase",
    "pinball",
    "proactive",
    "ratio_interval",
    "relative_slack",
    "rises",
    "score",
    "sweep",
    "utilisation_strata",
    "weighted_quantile_loss",
]

"""The names of the features, derived from the windows that they are made of.

`max_12` is the maximum of the newest 12 steps, `hourmax_24h` that of the open hour and the 23
closed ones before it, `day_ago_max_3` that of the coming hold window and 3 steps around it, a day
ago. A bundle keeps the names it was trained on, and is not loaded where they are others.
"""

from __future__ import annotations

WEEK_H = 168
"""Hours of a week."""

LAGS = (1, 2, 3, 5)
STEP_MAXIMA = (3, 6, 12, 24)
STEP_MEANS = (3, 12, 24)
STEP_SPREAD = 12
HOUR_MAXIMA = (3, 6, 24, 72, WEEK_H)
HOUR_MEANS = (6, 24, WEEK_H)
HOUR_SPREADS = (24, WEEK_H)
DAY_AROUND = (0, 3)
SAME_HOUR_DAYS = 7
SAME_MINUTE_HOURS = 6

ANCHORED: tuple[str, ...] = (
    *(f"lag_{n}" for n in LAGS),
    *(f"max_{n}" for n in STEP_MAXIMA),
    f"min_{STEP_SPREAD}",
    *(f"mean_{n}" for n in STEP_MEANS),
    *(f"hourmax_{n}h" for n in HOUR_MAXIMA),
    *(f"hourmean_{n}h" for n in HOUR_MEANS),
    "hour_ago_max_1",
    f"same_minute_max_{SAME_MINUTE_HOURS}h",
    *(f"day_ago_max_{n}" for n in DAY_AROUND),
    "day_ago_lag_0",
    "day_ago_hourmax",
    "week_ago_hourmax",
    f"same_hour_max_{SAME_HOUR_DAYS}d",
    f"same_hour_mean_{SAME_HOUR_DAYS}d",
)
"""Usages, counted from the level."""
SCALED: tuple[str, ...] = (
    "level",
    f"std_{STEP_SPREAD}",
    *(f"rise_{n}" for n in (STEP_MAXIMA[0], STEP_MAXIMA[-1])),
    *(f"hourspread_{n}h" for n in HOUR_SPREADS),
    f"hourmax_std_{WEEK_H}h",
)
"""Differences of usages, and the level itself."""
PLAIN: tuple[str, ...] = (
    "log_scale",
    f"seen_{WEEK_H}h",
    f"missing_{STEP_SPREAD}",
    f"censored_{STEP_SPREAD}",
    *(f"{wave}_of_{period}" for period in ("hour", "day", "week") for wave in ("sin", "cos")),
)
"""Everything that is no usage."""
NAMES: tuple[str, ...] = ANCHORED + SCALED + PLAIN

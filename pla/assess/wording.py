"""Figures in words: amounts, money and shares, the same in the table and on the page."""

from __future__ import annotations

import math

from pla.core.resources import BY_NAME

DASH = "–"


def amount(value: float, resource: str) -> str:
    """`0.250` cores, `1.5 GiB`; a dash where there is none."""
    if not math.isfinite(value):
        return DASH
    if BY_NAME[resource].unit != "bytes":
        return f"{value:.3f}" if value < 10 else f"{value:,.1f}"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def money(value: float, currency: str) -> str:
    """`1,234 USD`; small sums with cents."""
    if not math.isfinite(value):
        return DASH
    return f"{value:,.0f} {currency}" if abs(value) >= 100 else f"{value:,.2f} {currency}"


def share(value: float) -> str:
    """`0.52 %`; a dash where it is not known."""
    if not math.isfinite(value):
        return DASH
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.2%}"

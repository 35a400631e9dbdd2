"""Placeholders of query packs, and the durations they stand for.

| placeholder | stands for |
|---|---|
| `$step` | one step without its very beginning, so that a sample belongs to one step only |
| `$resolution` | how often a step is looked at: the spacing of samples, as a divisor of a step |
| `$window` | what a rate needs: three spacings, so that one missed sample makes no gap |
| `$span` | a step and one spacing before it: a counter's change within the step |
| `$kills_span` | the same by the spacing of what tells of kills |
| `$owner` | how long the owner of what has ended is remembered |
| `$match` | the source's own matchers, with a comma before them |
| `$ratio`, `$share` | usage/limit, and share of throttled or stolen time, that hold usage down |

A pack's own snippets (`define`) are placeholders as well. `$1` is left to `label_replace`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template

KNOWN = frozenset(
    {"step", "resolution", "window", "span", "kills_span", "owner", "match", "ratio", "share"}
)
OWNER_S = 300
"""Prometheus' own look-back: an owner is known as long as an instant query knows a metric."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the durations follow from: step, spacing of samples, and of those about kills [s]."""

    step_s: int
    scrape_s: float
    kills_scrape_s: float | None = None

    def placeholders(self) -> dict[str, str]:
        """The durations in PromQL."""
        step_ms = self.step_s * 1000
        scrape_ms = max(round(self.scrape_s * 1000), 1)
        kills_ms = max(round((self.kills_scrape_s or self.scrape_s) * 1000), 1)
        # Up to Prometheus 2 a range holds both of its ends, and a sample on the border of two
        # steps would count in both. Where samples are rarer than steps, the last one stands.
        look_ms = step_ms - 1 if scrape_ms <= step_ms else round(scrape_ms * 1.2)
        return {
            "step": _duration(look_ms),
            "resolution": _duration(_divisor(step_ms, scrape_ms)),
            "window": _duration(3 * scrape_ms),
            "span": _duration(step_ms + scrape_ms - 1),
            "kills_span": _duration(step_ms + kills_ms - 1),
            "owner": _duration(max(OWNER_S * 1000, step_ms)),
        }


def render(query: str, snippets: Mapping[str, str], values: Mapping[str, str]) -> str:
    """`query` with snippets and then placeholders filled in.

    Raises:
        ValueError: a placeholder that nobody knows is left.
    """
    text = query
    # A snippet may use others; as many rounds as there are snippets resolve any order.
    for _ in range(len(snippets) + 1):
        text = Template(text).safe_substitute(snippets)
    text = Template(text).safe_substitute(values)
    left = re.search(r"\$\{?([A-Za-z_]\w*)", text)
    if left:
        known = ", ".join(f"${name}" for name in sorted(KNOWN | set(snippets)))
        raise ValueError(f"unknown placeholder ${left[1]}: known are {known}")
    return " ".join(text.split())


def _divisor(step_ms: int, scrape_ms: int) -> int:
    """The largest divisor of a step that is not above the spacing: the last look is at its end."""
    looks = -(-step_ms // scrape_ms)
    while step_ms % looks:
        looks += 1
    return step_ms // looks


def _duration(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    if not rest:
        return f"{seconds}s"
    return f"{seconds}s{rest}ms" if seconds else f"{rest}ms"
